/* replay_progress.h - how far a replay has come, by the state that its producers write; and waiting for its end. */
#ifndef CS_PRODUCER_REPLAY_PROGRESS_H
#define CS_PRODUCER_REPLAY_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/kafka.h"
#include "producer/commander.h"
#include "producer/strmap.h"

/* One entry of the state: the scopes of one message. */
struct cs_progress_entry {
    char *tenant, *mailbox;
    double total, done;
    int64_t jobs, records, requests;
    bool ended, stopped;
    char code[64];
};

struct cs_progress {
    const char *prefix; /* of replay ids that are looked for */
    size_t prefix_len;
    int64_t newest;           /* number of the newest replay of that name; 0: none */
    size_t total;             /* messages that it was written as; 0: not known */
    struct cs_strmap entries; /* its entries, by key */
};

struct cs_progress_sum {
    double total, done;
    int64_t jobs, records, requests;
    size_t ended, stopped, waiting;
    const char *code;
};

void cs_progress_clear(struct cs_progress *p); /* its entries */
/** One entry of the state topic, whatever it is of: a cs_kafka_read_fn. @return 0, -ENOMEM */
int cs_progress_take(void *user, const struct cs_kafka_msg *msg);
struct cs_progress_sum cs_progress_sum(const struct cs_progress *p);
/**
 * Until all of it is done, or interrupted; shows a bar on a terminal, else a line now and then.
 *
 * @param[in] expected  entries that are to come in all
 * @return 0; -EAGAIN (some are not taken, or were stopped after too many failures: printed); -EIO, -ETIMEDOUT
 */
int cs_progress_follow(struct cs_commander *c, struct cs_progress *p, size_t expected, bool quiet,
                       const volatile int *interrupted);

#endif
