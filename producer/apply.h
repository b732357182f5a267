/* apply.h - feedback of a worker + mailbox -> the mailbox's new state. PURE. */
#ifndef CS_PRODUCER_APPLY_H
#define CS_PRODUCER_APPLY_H

#include "producer/mailbox.h"
#include "producer/settings.h"

/* What came of it besides the mailbox's own state. */
struct cs_effect {
    bool stale;          /* not the feedback of the job in flight: counted, nothing changed */
    bool tenant_refused; /* every mailbox of the tenant waits; code says why */
    bool tenant_works;   /* the tenant's credentials were accepted */
    enum cs_code code;
    bool overflow; /* a bound was reached: a resync is owed instead */
};

/**
 * Applies the feedback of the job in flight, which is not in flight any more afterwards.
 *
 * A part that comes back `resync` makes its stream resync_pending, a folder that is gone its stream
 * gone_pending. Both wait for a job that compares them with what is published (mail.resync).
 *
 * @param[in] now_ms  UTC
 * @param[in] random  64 random bits, for jitter
 * @return 0, -ENOMEM (the mailbox must be restored from the state topic: it may be half changed)
 */
int cs_apply_feedback(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                      const struct cs_feedback *f, int64_t now_ms, uint64_t random,
                      struct cs_effect *ret);
/** A folder's cursor is of no more use. */
void cs_apply_drop_cursor(struct cs_box_folder *f, enum cs_stream_phase phase, int64_t now_ms);
/** The job in flight will never be answered (older than its topic's retention): gives it up. */
void cs_apply_lost(struct cs_mailbox *m, int64_t now_ms);
/** The tenant works again: its mailboxes that were parked for its sake go on. */
void cs_apply_tenant_works(struct cs_mailbox *m);
/** Parks a mailbox for its tenant's sake, as the one that probes. */
void cs_apply_tenant_probe(struct cs_mailbox *m, enum cs_code code, int64_t now_ms,
                           int64_t retry_ms);
/** Is this the code of a tenant as a whole that only a person can mend? */
bool cs_apply_is_tenant_code(enum cs_code code);
/** What restored clocks cannot be trusted with is forgotten: rounds begun and listings made before do
 * not count for looks, since another process's clock timed them. */
void cs_apply_restored(struct cs_mailbox *m, int64_t now_ms);

/* folders.c */
/** The tree as a folders job found it. @return 0, -ENOMEM */
int cs_folders_apply(struct cs_mailbox *m, const struct cs_folder_found *found, size_t n);
/** The stream of a folder begins, or begins again: a new generation without a cursor. */
void cs_folder_start(struct cs_box_folder *f, enum cs_stream_phase phase);

#endif
