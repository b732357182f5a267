/* producer.h - the daemon: a member of the producers' group that owns some partitions.
 *
 * One loop thread owns everything here and blocks in one place; the ledger (ledger.h) has a thread for
 * what may block. For each partition owned it restores the mailboxes from the state topic, adds those
 * configured, and then loops: apply feedback, decide what is due, make both durable together.
 */
#ifndef CS_PRODUCER_PRODUCER_H
#define CS_PRODUCER_PRODUCER_H

#include "common/log.h"
#include "common/tenant.h"
#include "producer/settings.h"

struct cs_producer;

struct cs_producer_params {
    const char *config_path;       /* read again at SIGHUP; borrowed */
    struct cs_producer_conf *conf; /* borrowed; schedule.* and log.level are replaced by a reload */
    struct cs_tenant_set *tenants; /* a reference is taken */
    struct cs_log *log;            /* borrowed */
    int signal_fd;                 /* signalfd with SIGTERM, SIGINT, SIGHUP; borrowed */
};

/**
 * Opens the admin port and the Kafka handles; nothing is consumed before cs_producer_run().
 *
 * @return 0; -EINVAL (err says which setting), -EADDRINUSE and other -errno of listening, -ENOMEM
 */
int cs_producer_new(const struct cs_producer_params *params, struct cs_producer **ret,
                    struct cs_conf_error *err);
/** Leaves the group and frees; what was not committed is done again by the next owner. */
void cs_producer_free(struct cs_producer *p);
/**
 * Runs until SIGTERM or SIGINT.
 * @return 0, or the exit code: EX_CONFIG (topics missing or of different partition counts; fenced by
 * a process of the same name), EX_SOFTWARE
 */
int cs_producer_run(struct cs_producer *p);

#endif
