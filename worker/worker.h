/* worker.h - the daemon: takes jobs, asks Graph, makes what came of them durable; keeps no state.
 *
 * One loop thread owns everything here and blocks in one place (cs_http_wait()); the checkpoint (checkpoint.h) has a
 * thread for the Kafka calls that may block. Killing the process at any instruction loses nothing.
 */
#ifndef CS_WORKER_WORKER_H
#define CS_WORKER_WORKER_H

#include "common/log.h"
#include "common/tenant.h"
#include "worker/settings.h"

struct cs_worker;

struct cs_worker_params {
    const char *
        config_path; /* read again at SIGHUP, and when a job names a tenant that is not known; borrowed */
    struct cs_worker_conf *conf;   /* borrowed; what can be reloaded is replaced */
    struct cs_tenant_set *tenants; /* a reference is taken */
    struct cs_log *log;            /* borrowed */
    int signal_fd;                 /* signalfd with SIGTERM, SIGINT, SIGHUP; borrowed */
};

/**
 * Opens the admin port and the Kafka handles; nothing is consumed before cs_worker_run().
 *
 * @return 0; -EINVAL (err says which setting), -EADDRINUSE and other -errno of listening, -ENOENT (no time zones),
 *         -EIO, -ENOMEM
 */
int cs_worker_new(const struct cs_worker_params *params, struct cs_worker **ret,
                  struct cs_conf_error *err);
/** Leaves the group and frees. */
void cs_worker_free(struct cs_worker *w);
/**
 * Runs until SIGTERM or SIGINT: then takes no more jobs, lets those in hand finish for worker.drain_ms, commits what is
 * finished, drops the rest. A second signal ends it at once, and the log says what was dropped.
 * @return 0, or the exit code: EX_CONFIG (topics missing or of different partition counts; another process with the
 *         same instance_id), EX_SOFTWARE, EX_TEMPFAIL (a second signal)
 */
int cs_worker_run(struct cs_worker *w);
/** After a second signal: the process is to end without cs_worker_free(), which may wait for the broker. */
bool cs_worker_is_hurried(const struct cs_worker *w);

#endif
