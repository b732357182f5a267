/* kafka_out.h - a Kafka producer, transactional or not.
 *
 * One thread owns an object; every call may block up to the timeout it names. Values handed over are
 * not copied: they are freed with free() once the broker has them.
 */
#ifndef CS_COMMON_KAFKA_OUT_H
#define CS_COMMON_KAFKA_OUT_H

#include "common/kafka.h"

struct cs_kafka_out;
struct cs_kafka_group; /* a consumer group's membership at one moment (kafka_in.h) */

/**
 * @param[in] txn_id  transactional.id, NULL for a plain producer (acks=all, idempotent)
 * @param[in] log     borrowed; librdkafka's own log lines go there without payloads
 * @return 0, -EINVAL (a property is refused; err says which), -ENOMEM
 */
int cs_kafka_out_new(const struct cs_common_conf *conf, const char *txn_id, struct cs_log *log,
                     struct cs_kafka_out **ret, struct cs_conf_error *err);
/** Drops what is queued. Never waits longer than 5 s. */
void cs_kafka_out_free(struct cs_kafka_out *out);

/** init_transactions; AGAIN after timeout_ms without an answer. Fetches the topics' metadata too, so
 * that the first transaction does not wait for it. */
enum cs_kafka_result cs_kafka_out_init(struct cs_kafka_out *out, int timeout_ms);
enum cs_kafka_result cs_kafka_out_begin(struct cs_kafka_out *out);
/**
 * Queues one message.
 *
 * @param[in] value    malloc'd; taken on OK, still the caller's on any other result. NULL: a tombstone
 * @param[in] headers  n pairs, copied
 * @return OK, AGAIN (queue full), TOO_LARGE, FATAL, FENCED
 */
enum cs_kafka_result cs_kafka_out_produce(struct cs_kafka_out *out, enum cs_topic topic,
                                          int32_t partition, const char *key, size_t key_len,
                                          char *value, size_t value_len,
                                          const struct cs_kafka_header *headers, size_t n);
/**
 * The same without handing the value over: borrowed until the transaction has ended (committed or aborted), the flush has
 * returned OK, or the handle is freed. Nothing is copied, and a transaction that is aborted can be produced again.
 */
enum cs_kafka_result cs_kafka_out_produce_borrowed(struct cs_kafka_out *out, enum cs_topic topic,
                                                   int32_t partition, const char *key,
                                                   size_t key_len, const char *value,
                                                   size_t value_len,
                                                   const struct cs_kafka_header *headers, size_t n);
/** send_offsets_to_transaction. group is borrowed; offsets must not be empty (an empty list would not
 * fence). Retries retriable errors itself until timeout_ms, then ABORT. */
enum cs_kafka_result cs_kafka_out_offsets(struct cs_kafka_out *out,
                                          const struct cs_kafka_group *group,
                                          const struct cs_kafka_offset *offsets, size_t n,
                                          int timeout_ms);
/** OK, ABORT (certainly not committed), TOO_LARGE (the same, and a message of it will never be taken: drop the handle,
 * since its next transaction would fail too), UNKNOWN, FENCED. offsets() gives TOO_LARGE as well. */
enum cs_kafka_result cs_kafka_out_commit(struct cs_kafka_out *out, int timeout_ms);
/** Until it is done or timeout_ms is over (then FATAL: drop the handle). */
enum cs_kafka_result cs_kafka_out_abort(struct cs_kafka_out *out, int timeout_ms);
/** Without transactions: waits until every message is acknowledged. OK, or FATAL if any was not
 * (the caller then repeats the whole batch), TOO_LARGE if one never will be. */
enum cs_kafka_result cs_kafka_out_flush(struct cs_kafka_out *out, int timeout_ms);
const char *cs_kafka_result_name(enum cs_kafka_result r);
/** librdkafka's name of the last error, for the log; "" if none. */
const char *cs_kafka_out_error(const struct cs_kafka_out *out);

#endif
