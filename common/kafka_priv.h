/* kafka_priv.h - what the kafka_*.c files share; the only header that includes librdkafka. */
#ifndef CS_COMMON_KAFKA_PRIV_H
#define CS_COMMON_KAFKA_PRIV_H

#include <stdatomic.h>

#include <librdkafka/rdkafka.h>

#include "common/kafka.h"

/* First member of every handle's struct: librdkafka's opaque pointer leads here. */
struct cs_kafka_base {
    struct cs_log *log;
    atomic_bool all_down; /* set by the error callback, cleared when something answers */
    atomic_int fatal;     /* librdkafka's fatal error, 0 if none */
    atomic_llong
        fail_said_ms; /* monotonic time of the last warning of a failed connection, 0: none */
    /* consumers: monotonic time at which the membership was last seen steady */
    atomic_llong steady_ms;
};

struct cs_kafka_prop {
    const char *name;
    const char *value;
};

/**
 * A configuration: bootstrap servers and ours as defaults, then the operator's kafka.properties, then what must not
 * be changed (`fixed`; an operator's attempt is refused).
 *
 * @param defaults, fixed  end with a NULL name
 * @param[out] ret         taken by rd_kafka_new() on success, else rd_kafka_conf_destroy()
 * @return 0, -EINVAL (err names the property, never its value), -ENOMEM
 */
int cs_kafka_conf_make(const struct cs_common_conf *conf, const struct cs_kafka_prop *defaults,
                       const struct cs_kafka_prop *fixed, struct cs_kafka_base *base,
                       rd_kafka_conf_t **ret, struct cs_conf_error *err);
/** rd_kafka_new() that frees the configuration on failure. @return 0, -EINVAL */
int cs_kafka_handle_new(rd_kafka_type_t type, rd_kafka_conf_t *rkconf, rd_kafka_t **ret,
                        struct cs_conf_error *err);
/** Adds topic partitions of ours to a list; name built from the prefix. */
rd_kafka_topic_partition_t *cs_kafka_list_add(rd_kafka_topic_partition_list_t *list,
                                              const char *prefix, enum cs_topic t,
                                              int32_t partition);

struct cs_kafka_group; /* kafka_in.c */
const rd_kafka_consumer_group_metadata_t *cs_kafka_group_metadata(const struct cs_kafka_group *g);

#endif
