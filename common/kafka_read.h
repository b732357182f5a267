/* kafka_read.h - read partitions without a group: restore a compacted topic, tail, look at a range. */
#ifndef CS_COMMON_KAFKA_READ_H
#define CS_COMMON_KAFKA_READ_H

#include "common/kafka.h"

struct cs_kafka_read;

/** read_committed. @return 0, -EINVAL, -ENOMEM */
int cs_kafka_read_new(const struct cs_common_conf *conf, struct cs_log *log,
                      struct cs_kafka_read **ret, struct cs_conf_error *err);
void cs_kafka_read_free(struct cs_kafka_read *r);

/** From another thread: a reading that is under way ends with -ECANCELED within a second, and so does every later one. */
void cs_kafka_read_cancel(struct cs_kafka_read *r);

/** Called for each message in offset order. A non-zero return stops the reading and is passed on. */
typedef int (*cs_kafka_read_fn)(void *user, const struct cs_kafka_msg *msg);

/**
 * Reads one partition from `from` (-1: beginning) up to its end as a read_uncommitted handle gives it
 * at the start of the call, so everything a dying predecessor may still commit below it is waited for
 * (the position counts, so markers and aborted batches end the read too).
 * @return 0, what fn returned, -ECANCELED, -ETIMEDOUT (no progress for timeout_ms), -EIO
 */
int cs_kafka_read_to_end(struct cs_kafka_read *r, enum cs_topic topic, int32_t partition,
                         int64_t from, int timeout_ms, cs_kafka_read_fn fn, void *user);
/** The same again and again: reads from *at, and moves it to the end that was reached. */
int cs_kafka_read_on(struct cs_kafka_read *r, enum cs_topic topic, int32_t partition, int64_t *at,
                     int timeout_ms, cs_kafka_read_fn fn, void *user);
/** First and next offset of a partition, open transactions included. @return 0, -ETIMEDOUT, -EIO */
int cs_kafka_read_ends(struct cs_kafka_read *r, enum cs_topic topic, int32_t partition,
                       int timeout_ms, int64_t *first, int64_t *next);
/** The first offset whose message is not older than utc_ms; the end if all are. @return 0, -ETIMEDOUT, -EIO */
int cs_kafka_read_offset_at(struct cs_kafka_read *r, enum cs_topic topic, int32_t partition,
                            int64_t utc_ms, int timeout_ms, int64_t *ret);

#endif
