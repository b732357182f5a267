/* decide.h - what is due for a mailbox, and the job that does it. PURE.
 *
 * The rules that keep mail right although Graph tells changes late, folder by folder and in any order:
 * one sync job of a mailbox at a time; folders are anchored before anything is listed; a slice counts
 * a folder as in scope only once it has a delta token; a look is owed for every item that vanished or
 * surprised, not before second_look_ms have passed, every live folder has finished a round begun
 * after the look before, and the folder tree was listed after it.
 */
#ifndef CS_PRODUCER_DECIDE_H
#define CS_PRODUCER_DECIDE_H

#include "producer/mailbox.h"
#include "producer/settings.h"

struct cs_due {
    bool now; /* a job is due; else nothing before wake_ms */
    enum cs_job_type type;
    enum cs_mode mode; /* mail.slice: SLICE or PREVIEW; mail.delta: ANCHOR, FIRST or LIVE */
    enum cs_lane lane;
    int64_t due_ms; /* the order among mailboxes of a tenant: since when, or earlier to go first */
    int64_t since_ms; /* since when it is due, for metrics */
    int64_t wake_ms;  /* ask again then: with now, when something more urgent comes. CS_NEVER */
};

/**
 * What is due? Changes nothing but the turns that live work and backfill take.
 *
 * @param[in] now_ms  UTC
 */
void cs_decide(struct cs_mailbox *m, const struct cs_schedule_conf *c, int64_t now_ms,
               struct cs_due *ret);
/**
 * Puts the job that cs_decide() just named in flight.
 *
 * @param[in] job_id  UUIDv7, copied
 * @return 0, -ENOMEM, -ENOENT (nothing is due any more: asked with another time); nothing changed then
 */
int cs_decide_issue(struct cs_mailbox *m, const struct cs_schedule_conf *c, int64_t now_ms,
                    const struct cs_due *due, const char *job_id);
/**
 * The whole job in flight, as it goes to the jobs topic: the same however often it is asked for.
 *
 * @param[out] ret  the caller's: cs_job_clear()
 * @return 0, -ENOMEM, -ENOENT (none in flight)
 */
int cs_decide_job(const struct cs_mailbox *m, struct cs_job *ret);
/** Makes the slices of a backfill, newest first. @return 0, -ENOMEM */
int cs_decide_slices(struct cs_mailbox *m, const struct cs_schedule_conf *c);
/** Moves the first sync on where its step is done: anchor to backfill to live. @return 0, -ENOMEM */
int cs_decide_advance(struct cs_mailbox *m, const struct cs_schedule_conf *c, int64_t now_ms);
/** A round's or a listing's poll interval is over at this time: the mailbox's own phase of the
 * interval, so that a fleet is spread evenly and stays so over restarts. */
int64_t cs_decide_next_poll(const struct cs_mailbox *m, int64_t last_ms, int64_t interval_ms);

#endif
