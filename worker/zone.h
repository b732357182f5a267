/* zone.h - time zones by IANA name, from the system's tz database (TZif, RFC 8536).
 *
 * The C library knows one zone at a time, through the environment; events need any of them, so the
 * compiled files are read here, all of them once, at start. Afterwards the set is immutable and every
 * lookup is PURE and thread-safe. Beyond a file's last transition its footer (a POSIX TZ rule) counts.
 * Needs Debian's package tzdata.
 */
#ifndef CS_WORKER_ZONE_H
#define CS_WORKER_ZONE_H

#include <stddef.h>
#include <stdint.h>

struct cs_zones;
struct cs_zone;

#define CS_ZONE_NAME_MAX 64

/**
 * Reads every zone under a folder (a megabyte or two in memory). Files that are no TZif are passed over.
 *
 * @param dir  NULL: the environment's TZDIR, or /usr/share/zoneinfo
 * @return 0; -errno of opening the folder; -ENOENT (no zone in it); -ENOMEM
 */
int cs_zones_open(const char *dir, struct cs_zones **ret);
void cs_zones_close(struct cs_zones *z); /* NULL accepted */
/** Borrowed until cs_zones_close(), NULL if unknown. "UTC" is always known. Case matters, as in the database. */
const struct cs_zone *cs_zones_find(const struct cs_zones *z, const char *name);
/**
 * A name as Graph gives it: a Windows name (CLDR table, winzone.h), an IANA name, tzone://Microsoft/Utc.
 * @param[out] iana  may be NULL; static or borrowed name as records carry it
 * @return the zone; NULL: custom or unknown
 */
const struct cs_zone *cs_zones_find_graph(const struct cs_zones *z, const char *name,
                                          const char **iana);

/** Seconds east of UTC at this instant. */
int32_t cs_zone_offset_s(const struct cs_zone *zone, int64_t utc_s);
/** Wall clock of the zone at this instant, as seconds since 1970 as if it were UTC. */
int64_t cs_zone_local_s(const struct cs_zone *zone, int64_t utc_s);
/**
 * The instant of a wall clock time. In a gap the offset before it counts, of two instants the first
 * is taken (RFC 5545, 3.3.5).
 */
int64_t cs_zone_utc_s(const struct cs_zone *zone, int64_t local_s);

/** One zone from the bytes of a TZif file, for tests and fuzzing. @return 0, -EBADMSG, -ENOMEM */
int cs_zone_parse(const void *p, size_t n, struct cs_zone **ret);
void cs_zone_free(struct cs_zone *zone); /* only of cs_zone_parse(); NULL accepted */

#endif
