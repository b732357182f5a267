/* timers.h - many due times, one question: what is due, and when is the next?
 *
 * Intrusive: a struct cs_timer is embedded in its object (zero it before first use). Pure bookkeeping
 * on times that are passed in. start, cancel and reschedule cost O(log n). Not thread-safe.
 */
#ifndef CS_COMMON_TIMERS_H
#define CS_COMMON_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cs_timer {
    int64_t due_ms;
    size_t index; /* 1-based place in the heap; 0: not started */
};
struct cs_timers;

int cs_timers_new(struct cs_timers **ret); /* 0, -ENOMEM */
void cs_timers_free(struct cs_timers *t);  /* timers are the callers'; they are left stopped */
/** Starts or moves. @return 0, -ENOMEM (a started timer never fails to move) */
int cs_timer_start(struct cs_timers *t, struct cs_timer *timer, int64_t due_ms);
void cs_timer_cancel(struct cs_timers *t, struct cs_timer *timer); /* not started: nothing */
bool cs_timer_is_started(const struct cs_timer *timer);
/** The next timer that is due at now_ms, stopped and returned; NULL if none. */
struct cs_timer *cs_timers_next_due(struct cs_timers *t, int64_t now_ms);
/** Earliest due time, CS_NEVER if none. */
int64_t cs_timers_next_ms(const struct cs_timers *t);
size_t cs_timers_count(const struct cs_timers *t);

#endif
