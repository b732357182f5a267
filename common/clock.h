/* clock.h - the two clocks, and the one place that reads them.
 *
 * Monotonic milliseconds order what happens inside a process; UTC milliseconds (since 1970) are for
 * messages. Tests shift UTC by CRMSYNC_TEST_CLOCK_OFFSET_MS, which main.c honours only while
 * graph.base_url is loopback (cs_clock_set_utc_offset()).
 */
#ifndef CS_COMMON_CLOCK_H
#define CS_COMMON_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CS_NEVER INT64_MAX /* "no time": later than every time */

int64_t cs_clock_mono_ms(void);
int64_t cs_clock_utc_ms(void);
void cs_clock_set_utc_offset(int64_t offset_ms);

#define CS_TIME_TEXT 32 /* room for cs_time_format(), NUL included */

/** PURE. RFC 3339 UTC with milliseconds: 2026-01-02T03:04:05.678Z. Years 0001 to 9999. */
void cs_time_format(int64_t utc_ms, char out[CS_TIME_TEXT]);
/** PURE. The same with whole seconds and no fraction, as Graph's $filter takes it. */
void cs_time_format_s(int64_t utc_ms, char out[CS_TIME_TEXT]);
/**
 * PURE. RFC 3339 with 0 to 12 fraction digits (cut to milliseconds) and Z or an offset; also Graph's
 * form without any offset, taken as UTC. n bytes, need not be NUL-terminated.
 * @return 0, -EINVAL. Year 0001 (Graph's "never") is returned like any time.
 */
int cs_time_parse(const char *s, size_t n, int64_t *ret_utc_ms);
/** True for Graph's sentinel: a time in year 1. */
bool cs_time_is_never(int64_t utc_ms);

#endif
