/* mock_kafka.h - librdkafka's mock cluster in this process, for tests that inject a broker's errors. */
#ifndef CS_TESTS_MOCK_KAFKA_H
#define CS_TESTS_MOCK_KAFKA_H

#include <librdkafka/rdkafka.h>

#include <librdkafka/rdkafka_mock.h>

#include "common/conf.h"

struct mock_kafka {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
    struct cs_common_conf conf; /* leads to the cluster; prefix "t." */
    char *keys[8], *values[8];
};

/* Kafka's numbers of requests. */
enum {
    MOCK_PRODUCE = 0,
    MOCK_OFFSET_COMMIT = 8,
    MOCK_OFFSET_FETCH = 9,
    MOCK_HEARTBEAT = 12,
    MOCK_INIT_PRODUCER_ID = 22,
    MOCK_ADD_PARTITIONS = 24,
    MOCK_ADD_OFFSETS = 25,
    MOCK_END_TXN = 26,
    MOCK_TXN_OFFSET_COMMIT = 28,
};

/** All topics with `partitions` each. Ends the test program on failure. */
void mock_kafka_open(struct mock_kafka *m, int brokers, int partitions);
void mock_kafka_close(struct mock_kafka *m);
/** A property of kafka.properties for handles made from now on; up to 8. */
void mock_kafka_property(struct mock_kafka *m, const char *name, const char *value);
/** The next n requests of this kind are answered with err. RD_KAFKA_RESP_ERR__TRANSPORT: the connection is cut. */
void mock_kafka_push(struct mock_kafka *m, int16_t request, rd_kafka_resp_err_t err, int n);
void mock_kafka_forget(struct mock_kafka *m); /* errors pushed and not used */

#endif
