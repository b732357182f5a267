/* throttle.h - may this mailbox send a request now?
 *
 * Pure bookkeeping: no I/O, no clock, no logging. Graph allows 4 concurrent requests per app and mailbox and tells by
 * Retry-After when it has had enough (throttling-limits). The caller passes the time in and does the waiting. Not
 * thread-safe; owned by the worker's loop.
 */
#ifndef CS_WORKER_THROTTLE_H
#define CS_WORKER_THROTTLE_H

#include <stddef.h>
#include <stdint.h>

#define CS_THROTTLE_SLOTS 4

struct cs_throttle;

int cs_throttle_new(struct cs_throttle **ret); /* 0, -ENOMEM */
void cs_throttle_free(struct cs_throttle *t);
/**
 * Takes slots of a mailbox: 1 for a request, 4 for a batch (the service runs up to 4 of its members at a time).
 *
 * @param[in]  mailbox  key, borrowed for the call only
 * @param[in]  now_ms   monotonic milliseconds, never below an earlier call's value
 * @param[out] wait_ms  written only on -EAGAIN: until a new try can succeed, or CS_NEVER when slots must come back first
 * @return 0 (give the slots back with cs_throttle_release()), -EAGAIN, -ENOMEM, -EINVAL (more than there are)
 */
int cs_throttle_take(struct cs_throttle *t, const char *mailbox, unsigned slots, int64_t now_ms,
                     int64_t *wait_ms);
void cs_throttle_release(struct cs_throttle *t, const char *mailbox, unsigned slots);
/** Nothing is sent for the mailbox before until_ms; an earlier hold is never shortened. */
void cs_throttle_hold(struct cs_throttle *t, const char *mailbox, int64_t until_ms);
/** Forgets mailboxes without slots in use and holds that are over. */
void cs_throttle_sweep(struct cs_throttle *t, int64_t now_ms);
size_t cs_throttle_count(const struct cs_throttle *t);

#endif
