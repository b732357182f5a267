/* reqlog.h - the last requests of the Graph port, for tests. Thread-safe. */
#ifndef CS_GRAPHSIM_REQLOG_H
#define CS_GRAPHSIM_REQLOG_H

#include "sim.h"

struct sim_log_line {
    int64_t start_ms, end_ms; /* simulated UTC */
    uint64_t no;              /* from 1, in order of completion */
    int status;               /* 0: the client went away, or the connection was dropped */
    size_t items, bytes;
    bool in_batch, immutable_ids;
    char method[8];
    char mailbox[80];
    char url[400]; /* path and query; cut */
    char client_request_id[40];
};

void sim_log_init(struct sim *sim);
void sim_log_clear(struct sim *sim);
void sim_log_add(struct sim *sim, const struct sim_log_line *line);
/** An array of the last ones, oldest first; of those with no > since. */
void sim_log_write(struct sim *sim, size_t last, uint64_t since, struct sim_jw *w);

#endif
