/* kafka_in.h - a member of a consumer group (eager, range), driven by one thread.
 *
 * Rebalances are told by events, not by callbacks: after CS_KAFKA_EV_ASSIGN the owner looks up where
 * to start (cs_kafka_in_committed() may wait for an orphan's transaction, so on another thread) and
 * then calls cs_kafka_in_assign(); after CS_KAFKA_EV_REVOKE it finishes what it may and calls
 * cs_kafka_in_unassign(). Until then the group waits, so both must come within seconds.
 */
#ifndef CS_COMMON_KAFKA_IN_H
#define CS_COMMON_KAFKA_IN_H

#include "common/kafka.h"

struct cs_kafka_in;
struct cs_kafka_group;

enum cs_kafka_event {
    CS_KAFKA_EV_NONE = 0, /* nothing now */
    CS_KAFKA_EV_MESSAGE,
    CS_KAFKA_EV_ASSIGN, /* partitions: cs_kafka_in_partitions() */
    CS_KAFKA_EV_REVOKE, /* lost: the session ended, nothing may be committed for them */
    CS_KAFKA_EV_FENCED, /* another process has our instance id: exit */
    CS_KAFKA_EV_ERROR,  /* fatal for this handle */
    CS_KAFKA_EV_DOWN,   /* all brokers down (said once) */
    CS_KAFKA_EV_UP,     /* a broker is back */
};

/** @param[in] topics n of them, all with the same partition count. @return 0, -EINVAL, -ENOMEM */
int cs_kafka_in_new(const struct cs_common_conf *conf, const char *group,
                    const enum cs_topic *topics, size_t n, struct cs_log *log,
                    struct cs_kafka_in **ret, struct cs_conf_error *err);
/** Joins the group. @return 0, -EIO */
int cs_kafka_in_subscribe(struct cs_kafka_in *in);
/** Readable while events wait; give it to poll(2) or curl_multi_poll(). Drained by next(). */
int cs_kafka_in_fd(const struct cs_kafka_in *in);
/**
 * The next event, waiting at most timeout_ms (0: not at all). Must be called every second or so,
 * also when no message is wanted: pass want_messages = false then, and only the others come
 * (librdkafka's prefetch is bounded; never pause and resume).
 * @param[out] msg   filled for MESSAGE; borrowed until the next call
 * @param[out] lost  filled for REVOKE
 */
enum cs_kafka_event cs_kafka_in_next(struct cs_kafka_in *in, bool want_messages, int timeout_ms,
                                     struct cs_kafka_msg *msg, bool *lost);
/** The partition numbers of the last ASSIGN or REVOKE (the same for all topics). Borrowed until the next event. */
size_t cs_kafka_in_partitions(const struct cs_kafka_in *in, const int32_t **ret);
/** Membership to commit with; taken at ASSIGN time, fixed until the next rebalance. The caller frees it. */
struct cs_kafka_group *cs_kafka_in_group(struct cs_kafka_in *in);
void cs_kafka_group_free(struct cs_kafka_group *g);
/**
 * Committed offsets (require-stable) with their metadata, for all topics of the handle and these
 * partitions. May block up to timeout_ms; callable from any one other thread.
 * @param[out] ret  malloc'd array, free with cs_kafka_offsets_free()
 * @return 0, -ETIMEDOUT, -EIO
 */
int cs_kafka_in_committed(struct cs_kafka_in *in, const int32_t *partitions, size_t n,
                          int timeout_ms, struct cs_kafka_offset **ret, size_t *ret_n);
void cs_kafka_offsets_free(struct cs_kafka_offset *offsets, size_t n);
/**
 * The end of a partition as a reader gets it now. As blocking as the above.
 * @return 0, -ETIMEDOUT, -EIO
 */
int cs_kafka_in_end(struct cs_kafka_in *in, enum cs_topic topic, int32_t partition, int timeout_ms,
                    int64_t *ret);
/** Starts reading; an offset of -1 means the beginning. @return 0, -EIO, -EPERM (another process has our instance id) */
int cs_kafka_in_assign(struct cs_kafka_in *in, const struct cs_kafka_offset *offsets, size_t n);
int cs_kafka_in_unassign(struct cs_kafka_in *in);
/** Plain commit, waits. For at_least_once. @return 0, -ESTALE (no longer a member), -EIO, -ETIMEDOUT */
int cs_kafka_in_commit(struct cs_kafka_in *in, const struct cs_kafka_offset *offsets, size_t n);
/** Milliseconds since the membership was last known to be good (a heartbeat or join answered). */
int64_t cs_kafka_in_session_age_ms(const struct cs_kafka_in *in);
/** Leaves (a static member does not) and frees. Never waits longer than 5 s. */
void cs_kafka_in_free(struct cs_kafka_in *in);

#endif
