/* recur.h - Graph's patternedRecurrence, expanded to days. PURE.
 *
 * Six patterns, three ranges (Microsoft Graph: recurrencePattern, recurrenceRange), as Exchange reads
 * them: dayOfMonth beyond a month's end means its last day (also 29 February); of several daysOfWeek in
 * a relative pattern the index counts the days that are any of them ("first weekday of the month").
 * Only dates recur. The time of day is the caller's, in recurrenceTimeZone (tz.h turns it to UTC).
 */
#ifndef CS_GRAPHSIM_RECUR_H
#define CS_GRAPHSIM_RECUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sim_pattern {
    SIM_DAILY,
    SIM_WEEKLY,
    SIM_ABSOLUTE_MONTHLY,
    SIM_RELATIVE_MONTHLY,
    SIM_ABSOLUTE_YEARLY,
    SIM_RELATIVE_YEARLY,
};

enum sim_range { SIM_END_DATE, SIM_NO_END, SIM_NUMBERED };

#define SIM_INDEX_LAST    4     /* 0 .. 3: first .. fourth */
#define SIM_RECUR_MAX_DAY 47846 /* 2100-12-31: nothing is expanded beyond it */
#define SIM_RECUR_COUNT   999   /* most occurrences of a numbered range */

struct sim_recur {
    enum sim_pattern pattern;
    int interval;       /* 1 .. 99 */
    unsigned week_days; /* bit 0 = Sunday; weekly and relative patterns */
    int first_day;      /* weekly: day on which weeks begin, 0 = Sunday */
    int month_day;      /* absolute patterns, 1 .. 31 */
    int month;          /* yearly patterns, 1 .. 12 */
    int index;          /* relative patterns, 0 .. SIM_INDEX_LAST */
    enum sim_range range;
    int32_t
        start_day; /* days since 1970-01-01; the first occurrence is the first match from here on */
    int32_t end_day; /* SIM_END_DATE: last day, included */
    int count;       /* SIM_NUMBERED: 1 .. SIM_RECUR_COUNT */
};

/** True if every member is inside the bounds above. */
bool sim_recur_is_valid(const struct sim_recur *r);

/* Walks the days in order. Embedded, nothing to free; r is borrowed while it is used. */
struct sim_recur_iter {
    const struct sim_recur *r;
    int32_t period; /* day, week, month or year in work, counted in intervals from the start */
    int week_pos;   /* weekly: next day of the week in work */
    int given;
};

/** r must be valid. */
void sim_recur_begin(struct sim_recur_iter *it, const struct sim_recur *r);
/** @return false after the last one, or at SIM_RECUR_MAX_DAY */
bool sim_recur_next(struct sim_recur_iter *it, int32_t *day);
/** Is this day one of the series' days (exceptions and cancellations do not count here)? */
bool sim_recur_has(const struct sim_recur *r, int32_t day);
/**
 * Days inside [from, to], in order.
 * @return how many there are; only the first max are written
 */
size_t sim_recur_days(const struct sim_recur *r, int32_t from, int32_t to, int32_t *days,
                      size_t max);

const char *sim_pattern_name(enum sim_pattern p); /* as Graph spells it */
const char *sim_range_name(enum sim_range r);
const char *sim_index_name(int index);
const char *sim_weekday_name(int weekday); /* "sunday" */
/* The reverse, case-insensitive; -1: unknown. */
int sim_pattern_find(const char *name);
int sim_range_find(const char *name);
int sim_index_find(const char *name);
int sim_weekday_find(const char *name);

#endif
