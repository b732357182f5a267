/* kafka.h - what the Kafka modules share: connection settings, topics, headers, results.
 *
 * kafka_out (produce), kafka_in (a consumer group), kafka_read (a range of partitions, no group) and
 * kafka_admin (topics). librdkafka is included by the kafka_*.c files only.
 */
#ifndef CS_COMMON_KAFKA_H
#define CS_COMMON_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/log.h"

/* Topics, without the prefix. */
enum cs_topic {
    CS_TOPIC_JOBS,
    CS_TOPIC_FEEDBACK,
    CS_TOPIC_COMMANDS,
    CS_TOPIC_OUTBOX,
    CS_TOPIC_STATE,
    CS_TOPIC_STATUS,
    CS_TOPIC_RECORDS,
    CS_TOPIC_INDEX,
    CS_TOPIC_CONTACTS,
    CS_TOPIC_DLQ,
    CS_TOPIC_COUNT_
};
const char *cs_topic_name(enum cs_topic t); /* "jobs.v1" */
/** prefix + name into out (250 bytes are always enough for a valid prefix). */
#define CS_TOPIC_NAME_MAX 250
void cs_topic_full(const char *prefix, enum cs_topic t, char out[CS_TOPIC_NAME_MAX]);
bool cs_topic_parse(const char *prefix, const char *full, enum cs_topic *ret);

#define CS_GROUP_WORKER   "crmsync-worker" /* group.id is the topic prefix + this */
#define CS_GROUP_PRODUCER "crmsync-producer"

#define CS_KAFKA_MESSAGE_MAX (2 * 1024 * 1024) /* bytes: max.message.bytes of every topic */
#define CS_KAFKA_RECORD_MAX  (CS_KAFKA_MESSAGE_MAX - 64 * 1024) /* what we let a value have */

struct cs_kafka_header {
    const char *name;
    const char *value; /* UTF-8 text */
};

/* A message read. All borrowed until the next call that says so. */
struct cs_kafka_msg {
    enum cs_topic topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    const char *key;
    size_t key_len;
    const char *value; /* NULL: a tombstone */
    size_t value_len;
};

struct cs_kafka_offset {
    enum cs_topic topic;
    int32_t partition;
    int64_t offset; /* the next one to read; -1: none committed */
    char *metadata; /* commit metadata, NUL-terminated or NULL */
};

/* The way a transactional call ended: decides what may be done next. */
enum cs_kafka_result {
    CS_KAFKA_OK = 0,
    CS_KAFKA_AGAIN, /* not done, nothing lost: call again (a full queue: poll and try again) */
    CS_KAFKA_ABORT, /* the transaction must be aborted; its work may be tried again */
    CS_KAFKA_UNKNOWN, /* may have committed: drop this handle, read the committed offsets, then decide */
    CS_KAFKA_FENCED,    /* another process has our transactional id: exit */
    CS_KAFKA_FATAL,     /* this handle is dead: make a new one */
    CS_KAFKA_TOO_LARGE, /* the message can never be produced */
};

#endif
