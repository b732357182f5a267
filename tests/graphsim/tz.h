/* tz.h - a simulated tenant's time zones. PURE.
 *
 * About thirty zones by Windows and IANA name with today's rules, written by hand from the tz database
 * (2025b) so that the simulator shares neither code nor data with the product that it tests. Today's
 * rules are used for every year; they are right from 2023 on for all zones of the table.
 *
 * Local times are "wall clock seconds": seconds since 1970-01-01T00:00 as if the wall clock were UTC.
 *
 * Convention (RFC 5545, 3.3.5): a wall clock time inside a gap is read with the offset before the gap;
 * of a time that happens twice the first one is meant.
 */
#ifndef CS_GRAPHSIM_TZ_H
#define CS_GRAPHSIM_TZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_TZ_UTC 0 /* index of UTC */

/** Number of zones; indices are 0 .. count-1 and never change for a build. */
int sim_tz_count(void);
/** Index of a Windows or IANA name, case-insensitive; also "tzone://Microsoft/Utc". -1: unknown. */
int sim_tz_find(const char *name);
const char *sim_tz_windows(int zone);
const char *sim_tz_iana(int zone);
/** Has daylight saving time. */
bool sim_tz_has_dst(int zone);
/** Seconds east of UTC at this instant. */
int32_t sim_tz_offset_s(int zone, int64_t utc_s);
int64_t sim_tz_local_s(int zone, int64_t utc_s);
int64_t sim_tz_utc_s(int zone, int64_t local_s);

/* ---- proleptic Gregorian calendar, years 1 to 9999 ------------------------------------------- */

/** Days since 1970-01-01; month 1-12; day may run over its month. */
int32_t sim_day_of(int year, int month, int day);
/** The reverse; any pointer may be NULL. */
void sim_day_split(int32_t day, int *year, int *month, int *mday);
/** 0 = Sunday. */
int sim_day_weekday(int32_t day);
int sim_days_in_month(int year, int month);
/** Floor division of seconds to days. */
int32_t sim_day_of_s(int64_t s);

/** "2026-03-29T02:30:00" + fraction ("" or ".0000000") + suffix ("" or "Z"); returns bytes, at most 39. */
int sim_time_format(char out[40], int64_t s, const char *fraction, const char *suffix);
/**
 * ISO 8601 date or date and time; "Z", "+hh:mm" or nothing (UTC) behind it; up to 12 fraction digits,
 * which are dropped. Local times of a zone are parsed as such by giving no suffix.
 * @param[out] utc_s  written only on success
 * @return 0, -EINVAL
 */
int sim_time_parse(const char *text, int64_t *utc_s);

#endif
