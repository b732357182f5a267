/* limits.h - the service's limits per app and mailbox, and the counters that tests read.
 *
 * Thread-safe. A slot is held from a request's arrival until its answer is complete, or until its client
 * has gone away: before anybody is refused, the holders' connections are looked at.
 */
#ifndef CS_GRAPHSIM_LIMITS_H
#define CS_GRAPHSIM_LIMITS_H

#include "sim.h"

enum sim_endpoint {
    SIM_E_FOLDERS,
    SIM_E_FOLDER_DELTA,
    SIM_E_MESSAGES,
    SIM_E_MESSAGE,
    SIM_E_MESSAGES_DELTA,
    SIM_E_ATTACHMENTS,
    SIM_E_CALENDAR,
    SIM_E_CALENDAR_DELTA,
    SIM_E_OTHER,
    SIM_ENDPOINTS
};

struct sim_slot {
    struct sim_mailbox *mb; /* NULL: none is held */
    uint64_t serial;
};

void sim_limits_init(struct sim *sim);
void sim_limits_clear(struct sim *sim);
/** Monotonic milliseconds, for arrived_ms. */
int64_t sim_limit_now_ms(void);
/**
 * Takes a slot. fd: the client's connection; arrived_ms: when its request was there (a batch's, for a member), since
 * nobody can heed a Retry-After that was said after he had asked. On false the answer is a 429.
 */
bool sim_limit_enter(struct sim_mailbox *mb, int fd, int64_t arrived_ms, enum sim_endpoint endpoint,
                     struct sim_answer *ans, struct sim_slot *slot);
void sim_limit_leave(struct sim_slot *slot);
/** Says that a client was asked to wait this long. status: counted when 429. */
void sim_limit_held(struct sim_mailbox *mb, int status, int64_t wait_ms);
/** Counts an answer of a mailbox. */
void sim_limit_answered(struct sim_mailbox *mb, int status, size_t items, size_t bytes);
/** Of /counters: an object, its members per mailbox address. */
void sim_limits_write(struct sim *sim, struct sim_jw *w);
void sim_limits_reset(struct sim *sim);
/** False if the other side has closed or reset the connection. Waits at most wait_ms. */
bool sim_client_wait(int fd, int64_t wait_ms);

#endif
