/* kafka_admin.h - topics: how many partitions, with which settings, and making them. */
#ifndef CS_COMMON_KAFKA_ADMIN_H
#define CS_COMMON_KAFKA_ADMIN_H

#include "common/kafka.h"

struct cs_kafka_admin;

int cs_kafka_admin_new(const struct cs_common_conf *conf, struct cs_log *log,
                       struct cs_kafka_admin **ret, struct cs_conf_error *err);
void cs_kafka_admin_free(struct cs_kafka_admin *a);

/** Partition count of each topic (0: not there), by enum cs_topic. @return 0, -ETIMEDOUT, -EIO */
int cs_kafka_admin_partitions(struct cs_kafka_admin *a, int timeout_ms,
                              int32_t counts[CS_TOPIC_COUNT_], int *brokers);

struct cs_topic_setting {
    const char *name;  /* "cleanup.policy" */
    const char *value; /* "compact" */
};
/** The settings that this topic is to have, ending with a NULL name. */
const struct cs_topic_setting *cs_topic_settings(enum cs_topic t);

/** One difference between what a topic has and what it should have. */
typedef void (*cs_topic_diff_fn)(void *user, enum cs_topic topic, const char *setting,
                                 const char *have, const char *want);
/** Compares every existing topic's settings. @return 0, -ETIMEDOUT, -EIO, -EACCES */
int cs_kafka_admin_diff(struct cs_kafka_admin *a, int timeout_ms, cs_topic_diff_fn fn, void *user);
/** Creates one topic with its settings. @return 0, -EEXIST, -EACCES, -ETIMEDOUT, -EIO (err has the text) */
int cs_kafka_admin_create(struct cs_kafka_admin *a, enum cs_topic t, int32_t partitions,
                          int16_t replication, int timeout_ms, struct cs_conf_error *err);

#endif
