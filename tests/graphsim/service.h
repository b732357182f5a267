/* service.h - one HTTP request of the Graph port, from its arrival to its answer. */
#ifndef CS_GRAPHSIM_SERVICE_H
#define CS_GRAPHSIM_SERVICE_H

#include "faults.h"
#include "limits.h"
#include "reqlog.h"
#include "request.h"

#define SIM_PREFERS 8

/* What arrived; borrowed. */
struct sim_call {
    struct sim *sim;
    int fd; /* the connection, to see when the client goes away; -1: unknown */
    const char *method;
    const char *url;    /* path and query as they came, "/v1.0/users/..." */
    const char *origin; /* "http://127.0.0.1:1234", as the client calls us */
    const char *authorization;
    const char *prefer[SIM_PREFERS];
    size_t n_prefer;
    const char *client_request_id;        /* or NULL */
    const char *if_match, *content_range; /* or NULL */
    const char *body;
    size_t body_len;
    int64_t arrived_ms; /* sim_limit_now_ms() when it was there */
};

/* How the answer goes out. */
struct sim_transfer {
    int64_t reset_at, truncate_at; /* bytes; -1: not */
    bool gzip_corrupt;
    bool drop; /* no answer at all: the connection is closed */
};

/** Serves a request; blocks for the simulated time. out->drop also when the client went away. */
void sim_serve(const struct sim_call *call, struct sim_answer *ans, struct sim_transfer *out);

/* ---- one call of a mailbox, alone or as a member of a batch --------------------------------------- */

struct sim_member {
    const struct sim_call *call;
    struct sim_request req;
    struct sim_answer ans;
    struct sim_slot slot;
    struct sim_action fault;
    struct sim_log_line line;
    const char *url; /* behind /v1.0 */
    bool has_fault, ready, in_batch;
};

/**
 * Parses, applies faults, finds the mailbox, takes a slot. ready false: the answer is there already.
 * url is borrowed until sim_member_end().
 */
void sim_member_begin(struct sim_member *m, const struct sim_call *call, const char *method,
                      const char *url, const char *base, bool in_batch);
void sim_member_run(struct sim_member *m);
/** Simulated time of the whole, in milliseconds. */
int64_t sim_member_latency(const struct sim_member *m);
/** Gives the slot back and counts. served false: the client is gone. The answer stays until _clear. */
void sim_member_end(struct sim_member *m, bool served);
void sim_member_clear(struct sim_member *m);

/** POST /$batch. @return false: the client went away */
bool sim_batch(const struct sim_call *call, const char *base, struct sim_answer *ans);

#endif
