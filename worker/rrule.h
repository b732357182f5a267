/* rrule.h - Graph's patternedRecurrence to an RFC 5545 RRULE. PURE. */
#ifndef CS_WORKER_RRULE_H
#define CS_WORKER_RRULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/json_slice.h"

struct cs_zone; /* zone.h */

#define CS_RRULE_MAX 192

/* The first occurrence, which UNTIL depends on. */
struct cs_rrule_start {
    int64_t local_s; /* wall clock, as seconds since 1970 as if it were UTC */
    const struct cs_zone
        *zone;       /* of that wall clock; NULL: unknown, UNTIL is then written as local time */
    bool is_all_day; /* UNTIL is a date */
};

/**
 * "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=MO,WE;UNTIL=20260630T073000Z": the value without "RRULE:".
 * Six pattern types, three range types. UNTIL is in UTC where the start has a zone (RFC 5545, 3.3.10),
 * and covers the range's last day. Members that are absent or zero count as Graph's defaults.
 *
 * @param[out] out  written only on success
 * @return length; -EINVAL: a pattern or range that we do not know, or a member out of its bounds
 */
int cs_rrule_text(struct cs_js recurrence, const struct cs_rrule_start *start,
                  char out[CS_RRULE_MAX]);

#endif
