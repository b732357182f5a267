#include "tests/support/mock_kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kafka.h"

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "mock_kafka: %s\n", what);
    exit(99);
}

void mock_kafka_open(struct mock_kafka *m, int brokers, int partitions)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char errstr[256];

    memset(m, 0, sizeof(*m));
    check(rd_kafka_conf_set(conf, "log_level", "0", errstr, sizeof(errstr)) == RD_KAFKA_CONF_OK,
          errstr);
    m->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
    check(m->rk != NULL, errstr);
    m->cluster = rd_kafka_mock_cluster_new(m->rk, brokers);
    check(m->cluster != NULL, "no cluster");
    m->conf.kafka_bootstrap = strdup(rd_kafka_mock_cluster_bootstraps(m->cluster));
    m->conf.kafka_prefix = strdup("t.");
    m->conf.instance_id = strdup("");
    m->conf.kafka_properties.keys = m->keys;
    m->conf.kafka_properties.values = m->values;
    for (int i = 0; i < CS_TOPIC_COUNT_; i++) {
        char name[CS_TOPIC_NAME_MAX];

        cs_topic_full("t.", (enum cs_topic)i, name);
        check(rd_kafka_mock_topic_create(m->cluster, name, partitions, brokers) ==
                  RD_KAFKA_RESP_ERR_NO_ERROR,
              "no topic");
    }
}

void mock_kafka_close(struct mock_kafka *m)
{
    rd_kafka_mock_cluster_destroy(m->cluster);
    rd_kafka_destroy(m->rk);
    free(m->conf.kafka_bootstrap);
    free(m->conf.kafka_prefix);
    free(m->conf.instance_id);
    for (size_t i = 0; i < m->conf.kafka_properties.n; i++) {
        free(m->keys[i]);
        free(m->values[i]);
    }
}

void mock_kafka_property(struct mock_kafka *m, const char *name, const char *value)
{
    size_t i = m->conf.kafka_properties.n;

    check(i < sizeof(m->keys) / sizeof(m->keys[0]), "too many properties");
    m->keys[i] = strdup(name);
    m->values[i] = strdup(value);
    m->conf.kafka_properties.n++;
}

void mock_kafka_push(struct mock_kafka *m, int16_t request, rd_kafka_resp_err_t err, int n)
{
    rd_kafka_resp_err_t errs[64];

    check(n <= 64, "too many errors");
    for (int i = 0; i < n; i++)
        errs[i] = err;
    rd_kafka_mock_push_request_errors_array(m->cluster, request, (size_t)n, errs);
}

void mock_kafka_forget(struct mock_kafka *m)
{
    static const int16_t all[] = {MOCK_PRODUCE,     MOCK_OFFSET_COMMIT,    MOCK_OFFSET_FETCH,
                                  MOCK_HEARTBEAT,   MOCK_INIT_PRODUCER_ID, MOCK_ADD_PARTITIONS,
                                  MOCK_ADD_OFFSETS, MOCK_END_TXN,          MOCK_TXN_OFFSET_COMMIT};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        rd_kafka_mock_clear_request_errors(m->cluster, all[i]);
}
