/* event.h - a Graph event as a record of kind event. PURE.
 *
 * Single instances, occurrences and exceptions become events; a master becomes a series (series.h).
 * calendarView delta gives occurrences as stubs (ids, start, end): everything else is their master's.
 * The item must have passed cs_js_check().
 */
#ifndef CS_WORKER_EVENT_H
#define CS_WORKER_EVENT_H

#include "worker/record.h"

enum cs_event_type { CS_EVENT_SINGLE, CS_EVENT_OCCURRENCE, CS_EVENT_EXCEPTION, CS_EVENT_MASTER };

struct cs_event_facts {
    enum cs_event_type type;
    char id[CS_ID_MAX + 1];
    char item_id[CS_ITEM_ID_MAX +
                 1]; /* single, master: id. Occurrence, exception: master id, "_" and the
                                         original start in UTC (20260329T233000Z). "" if that cannot be
                                         told (an exception without originalStart): read it by id */
    char series_id[CS_ID_MAX + 1];      /* master's id of an occurrence or exception; else "" */
    char change_key[CS_CHANGE_KEY_MAX]; /* "" for a stub: its version is its master's */
    int64_t start_utc_ms;               /* CS_NEVER: absent, or in a zone that nobody knows */
    int64_t end_utc_ms;
    int64_t
        original_start_utc_ms; /* occurrence (its start if not given) and exception; else CS_NEVER */
    bool is_cancelled;
    bool is_removed; /* has @removed: only id is set then */
    bool is_stub;    /* has no fields of its own: the record needs the master */
};

/**
 * @param zones     for starts that are not in UTC
 * @param[out] ret  written only on success
 * @return 0, -EINVAL: not an object, no usable id, or an occurrence without its master's id
 */
int cs_event_facts_read(struct cs_js item, const struct cs_zones *zones,
                        struct cs_event_facts *ret);
/** master id + "_" + time, as in item_id. @return length or -EMSGSIZE */
int cs_occurrence_id(char *out, size_t size, const char *master_id, int64_t original_start_utc_ms);

/**
 * The tenant's rule for private events (filter.h) is applied here as well, so nothing private can
 * get out by a forgotten call: busy_only makes a record with times and show-as only.
 *
 * @param calendar  NULL: not known
 * @param master    {NULL,0}: none at hand; needed by a stub. An item's own members win over it
 * @param change    CS_UPSERTED or CS_MOVED
 * @param[out] ret  overwritten (not cleared first); zeroed on failure
 * @return 0; -EINVAL (no usable id, a master, no times); -ENODATA (a stub without its master, or
 *         item_id cannot be told: read it by id); -EACCES (the filters hold it back); -ENOMEM; -EMSGSIZE
 */
int cs_event_record(const struct cs_record_ctx *ctx, const struct cs_folder_ref *calendar,
                    struct cs_js event, struct cs_js master, enum cs_change change,
                    struct cs_record *ret);

/* ---- shared with series.c -------------------------------------------------------------------- */

/* An event's members as event and series records both have them. */
struct cs_event_view {
    const struct cs_record_ctx *ctx;
    const struct cs_folder_ref *calendar;
    const struct cs_event_facts *facts;
    struct cs_js event;
    struct cs_js master; /* {NULL,0}: none */
    bool busy_only;
};
/** The item's own member if it has one (null counts), else the master's. */
struct cs_js cs_event_pick(const struct cs_event_view *view, const char *name);
/** All members between the envelope and the body; the kinds' own differences are in facts->type. */
void cs_event_write_members(struct cs_jw *jw, const struct cs_fit *fit,
                            const struct cs_event_view *view);
/** SHA-256 hex of the meeting's id and its start; equal in every attendee's calendar.
 * @return 1; 0: it has no iCalUId or no start; -ENOMEM */
int cs_event_dedup_key(const struct cs_event_view *view, char out[65]);
/** A dateTimeTimeZone to UTC. @return 0; -EINVAL (absent, unreadable, Graph's "never", or an unknown zone) */
int cs_event_time_utc(struct cs_js dttz, const struct cs_zones *zones, int64_t *ret_utc_ms);

#endif
