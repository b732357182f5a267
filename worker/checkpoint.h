/* checkpoint.h - records, feedback and job offsets become durable together, or not at all.
 *
 * One thread owns the transactional producers (two that take turns: the next transaction need not wait for the
 * markers of the last) and every Kafka call that may block. It takes whatever finished jobs wait and commits them
 * in one transaction; while it commits, the next batch gathers (group commit).
 *
 * It also keeps what is known of jobs that kill their workers (poison.h): before a job starts, the loop has it marked.
 *
 * All functions are called by the loop thread. A unit is handed over by submit() and comes back exactly once by
 * next_done(): committed, refused (the broker will never take it, even alone), or dropped (its partition went, or
 * may have gone, to another).
 */
#ifndef CS_WORKER_CHECKPOINT_H
#define CS_WORKER_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/kafka_in.h"
#include "common/metrics.h"
#include "worker/unit.h"

struct cs_checkpoint;

struct cs_checkpoint_params {
    const struct cs_common_conf *conf; /* borrowed */
    struct cs_kafka_in *in; /* borrowed; for committed offsets and, without transactions, commits */
    struct cs_log *log;
    struct cs_metrics *metrics;
    int wake_fd; /* an eventfd: written when a unit or an assignment is done */
    int64_t
        session_timeout_ms; /* without transactions nothing is produced with a membership older than half of it */
    int64_t transaction_timeout_ms;
    size_t batch_bytes; /* 0: 8 MiB */
    size_t batch_units; /* 0: 1,000 */
    bool test_hooks;    /* CRMSYNC_TEST_CRASH_AT is honoured */
};

int cs_checkpoint_new(const struct cs_checkpoint_params *p, struct cs_checkpoint **ret);
/** Ends the thread, at once: units that wait are dropped. */
void cs_checkpoint_free(struct cs_checkpoint *c);

/** Taken. */
void cs_checkpoint_submit(struct cs_checkpoint *c, struct cs_unit *u);
/** A unit that is committed, refused or dropped, the caller's again; NULL: none. */
struct cs_unit *cs_checkpoint_next_done(struct cs_checkpoint *c);
/** Units handed over and not back. */
size_t cs_checkpoint_pending(struct cs_checkpoint *c);
/** Bytes of those. */
size_t cs_checkpoint_pending_bytes(struct cs_checkpoint *c);

/**
 * New partitions: their committed offsets and maps are read (that may wait for an orphan's transaction), then
 * cs_checkpoint_next_assigned() gives where to start. partitions are copied, group is taken.
 * @return 0, -ENOMEM (nothing is looked up)
 */
int cs_checkpoint_assign(struct cs_checkpoint *c, const int32_t *partitions, size_t n,
                         struct cs_kafka_group *group);
/** @return true once per assign: *ret (malloc'd, cs_kafka_offsets_free()) says where to start */
bool cs_checkpoint_next_assigned(struct cs_checkpoint *c, struct cs_kafka_offset **ret, size_t *n);
/**
 * The partitions are going. Waits at most timeout_ms for what is finished to be committed and for the partitions to be
 * marked as given back in order (not when they are lost already), then forgets them all: what is not committed comes
 * back dropped.
 */
void cs_checkpoint_revoke(struct cs_checkpoint *c, bool lost, int timeout_ms);
/** Grows with every assign and revoke. A unit of another epoch is never committed. */
uint64_t cs_checkpoint_epoch(struct cs_checkpoint *c);

/** As cs_completion_deliver(); -ESTALE: not our partition. */
int cs_checkpoint_deliver(struct cs_checkpoint *c, int32_t partition, int64_t offset);
/** Does this job still have to be done? False if another has finished it or the partition is not ours. */
bool cs_checkpoint_is_owed(struct cs_checkpoint *c, int32_t partition, int64_t offset);
/** How may this job start? */
enum cs_permit {
    CS_PERMIT_START,   /* at once */
    CS_PERMIT_OPEN,    /* after a unit with CS_MARK_OPEN was committed */
    CS_PERMIT_SUSPECT, /* alone, after a unit with CS_MARK_CLAIM was committed */
    CS_PERMIT_GUILTY,  /* never again */
};
/** Of one that is owed. */
enum cs_permit cs_checkpoint_permit(struct cs_checkpoint *c, int32_t partition, int64_t offset);
/** True while no new job must be taken because a completion map is nearly full. */
bool cs_checkpoint_is_full(struct cs_checkpoint *c);
/** CS_KAFKA_OK, or CS_KAFKA_FENCED: another process has our transactional id, and this one must end. */
enum cs_kafka_result cs_checkpoint_state(struct cs_checkpoint *c);

#endif
