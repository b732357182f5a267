/* intake.h - the job topic: takes jobs, bounds what is in flight, follows rebalances, settles what is finished.
 *
 * Owned by the loop thread. A job that is taken has an entry here until its offset is committed or the job is another
 * worker's; the entry is also the tag under which the engine runs it. What is in flight is bounded by jobs, by bytes
 * and by the completion maps; at a bound no message is pulled (never paused: that would throw the prefetched away).
 *
 * At a rebalance what runs goes on: a job whose partition comes back is kept, with its result, and what has gone to
 * another is dropped. Jobs of one mailbox run one after another, in the order of the topic.
 *
 * Before the first job of a partition starts, the partition is marked as open; where workers have died of a job, those that
 * may have done it run one at a time, and the one that did is refused (poison.h).
 */
#ifndef CS_WORKER_INTAKE_H
#define CS_WORKER_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/kafka_in.h"
#include "common/metrics.h"
#include "worker/checkpoint.h"
#include "worker/job_run.h"

struct cs_intake;

struct cs_intake_params {
    const struct cs_common_conf *conf; /* borrowed */
    struct cs_kafka_in *in;            /* borrowed, not subscribed yet */
    struct cs_checkpoint *checkpoint;  /* borrowed */
    struct cs_log *log;
    struct cs_metrics *metrics;
    int32_t n_partitions; /* of every topic */
    size_t max_jobs;
    size_t max_bytes; /* of answers and output in memory; above it no job is taken */
    int revoke_ms;    /* how long a rebalance may wait for finished jobs to be committed */

    /* the engine */
    int (*start)(void *user, struct cs_job *job, void *tag); /* as cs_jobs_start() */
    void (*cancel)(void *user, void *tag);                   /* as cs_jobs_cancel() */
    size_t (*bytes)(void *user);                             /* as cs_jobs_bytes() */
    void *user;
};

/** @return 0, -ENOMEM */
int cs_intake_new(const struct cs_intake_params *p, struct cs_intake **ret);
/** What is in flight is dropped without a word. */
void cs_intake_free(struct cs_intake *t);

/**
 * Takes what has come: rebalances, new jobs as long as there is room, ends of commits. Never blocks, but for up to
 * revoke_ms at a rebalance.
 * @return 0; -EPERM (another process has our instance id or transactional id); -EIO (the consumer is dead);
 *         -ENOMEM
 */
int cs_intake_step(struct cs_intake *t);
/**
 * A job has ended in the engine: its output becomes durable.
 * @param[in] tag     as given to start()
 * @param[in] output  taken; NULL: the engine had no memory
 * @return 0; -ENOMEM (nothing can be said of the job: this process should end, another does it again)
 */
int cs_intake_finished(struct cs_intake *t, void *tag, struct cs_job_output *output);

/** No new jobs from now on. Those that wait for their mailbox are given back. */
void cs_intake_drain(struct cs_intake *t);
/** Ends what still runs and gives it up; what is finished goes on to be committed. Each is logged. */
void cs_intake_drop_running(struct cs_intake *t);
/** Nothing more is wanted: if all is settled, the partitions are given back in order. Waits up to revoke_ms. */
void cs_intake_close(struct cs_intake *t);
/** Jobs taken and not settled; of those running: in the engine or waiting for their mailbox. */
size_t cs_intake_inflight(const struct cs_intake *t, size_t *running);
void cs_intake_set_bounds(struct cs_intake *t, size_t max_jobs, size_t max_bytes);
/** Member of the group, its partitions (maybe none) assigned, a broker there. From any thread. */
bool cs_intake_is_ready(const struct cs_intake *t, const char **why_not);

#endif
