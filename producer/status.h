/* status.h - how a mailbox is doing, in words that a person can act on. PURE.
 *
 * Topic status.v1, key tenant/mailbox, schema schemas/status.v1.schema.json: written on a change of
 * state, else at most once a minute (schedule.status_interval_ms).
 */
#ifndef CS_PRODUCER_STATUS_H
#define CS_PRODUCER_STATUS_H

#include "common/buf.h"
#include "producer/mailbox.h"
#include "producer/settings.h"

struct cs_status {
    enum cs_box_state state;
    enum cs_code code; /* CS_CODE_NONE: nothing is wrong */
    const char *cause; /* "mailbox", "tenant", "service"; NULL: nothing is wrong */
    bool heals_itself;
    const char *advice; /* one sentence; NULL: nothing to do */
};

/**
 * @param[in] tenant_code  why the whole tenant waits; CS_CODE_NONE: it does not. CS_CODE_MAILBOX_DENIED: each of its
 *                         mailboxes is denied, which is hardly an affair of this one
 * @param[in] now_ms       UTC
 */
void cs_status_of(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                  enum cs_code tenant_code, int64_t now_ms, struct cs_status *ret);
/** The value of status.v1. m->state and state_since_ms must be those of st. */
void cs_status_print(const struct cs_mailbox *m, const struct cs_status *st, int64_t now_ms,
                     struct cs_buf *out);

#endif
