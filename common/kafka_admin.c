#include "common/kafka_admin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kafka_priv.h"

struct cs_kafka_admin {
    struct cs_kafka_base base; /* first: librdkafka's opaque */
    rd_kafka_t *rk;
    char *prefix;
};

#define DAY_MS    "86400000"
#define WEEK_MS   "604800000"
#define MONTH_MS  "2592000000"
#define MAX_BYTES "2097152"

static const struct cs_topic_setting kept_a_week[] = {{"cleanup.policy", "delete"},
                                                      {"retention.ms", WEEK_MS},
                                                      {"max.message.bytes", MAX_BYTES},
                                                      {NULL, NULL}};
static const struct cs_topic_setting kept_a_month[] = {{"cleanup.policy", "delete"},
                                                       {"retention.ms", MONTH_MS},
                                                       {"max.message.bytes", MAX_BYTES},
                                                       {NULL, NULL}};
/* the active segment is never compacted, so it is closed once a day; a restore that takes long must still see
 * tombstones */
static const struct cs_topic_setting compacted[] = {
    {"cleanup.policy", "compact"},    {"min.cleanable.dirty.ratio", "0.3"}, {"segment.ms", DAY_MS},
    {"delete.retention.ms", WEEK_MS}, {"max.message.bytes", MAX_BYTES},     {NULL, NULL}};

const struct cs_topic_setting *cs_topic_settings(enum cs_topic t)
{
    switch (t) {
    case CS_TOPIC_STATE:
    case CS_TOPIC_STATUS:
    case CS_TOPIC_INDEX:
    case CS_TOPIC_CONTACTS: return compacted;
    case CS_TOPIC_RECORDS: return kept_a_month;
    case CS_TOPIC_JOBS:
    case CS_TOPIC_FEEDBACK:
    case CS_TOPIC_COMMANDS:
    case CS_TOPIC_OUTBOX:
    case CS_TOPIC_DLQ:
    case CS_TOPIC_COUNT_: break;
    }
    return kept_a_week;
}

int cs_kafka_admin_new(const struct cs_common_conf *conf, struct cs_log *log,
                       struct cs_kafka_admin **ret, struct cs_conf_error *err)
{
    static const struct cs_kafka_prop none[] = {{NULL, NULL}};
    struct cs_kafka_admin *a = calloc(1, sizeof(*a));
    rd_kafka_conf_t *rkconf = NULL;
    int r;

    if (a == NULL)
        return -ENOMEM;
    a->base.log = log;
    a->prefix = strdup(conf->kafka_prefix);
    r = a->prefix != NULL ? cs_kafka_conf_make(conf, none, none, &a->base, &rkconf, err) : -ENOMEM;
    if (r == 0)
        r = cs_kafka_handle_new(RD_KAFKA_PRODUCER, rkconf, &a->rk, err);
    if (r < 0) {
        cs_kafka_admin_free(a);
        return r;
    }
    *ret = a;
    return 0;
}

void cs_kafka_admin_free(struct cs_kafka_admin *a)
{
    if (a == NULL)
        return;
    if (a->rk != NULL)
        rd_kafka_destroy(a->rk);
    free(a->prefix);
    free(a);
}

int cs_kafka_admin_partitions(struct cs_kafka_admin *a, int timeout_ms,
                              int32_t counts[CS_TOPIC_COUNT_], int *brokers)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t err;

    memset(counts, 0, CS_TOPIC_COUNT_ * sizeof(*counts));
    /* all topics: asking for one by name may create it where the broker allows that */
    err = rd_kafka_metadata(a->rk, 1, NULL, &md, timeout_ms);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT
                   ? -ETIMEDOUT
                   : -EIO;
    if (brokers != NULL)
        *brokers = md->broker_cnt;
    for (int i = 0; i < md->topic_cnt; i++) {
        enum cs_topic t;

        if (cs_topic_parse(a->prefix, md->topics[i].topic, &t) &&
            md->topics[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            counts[t] = md->topics[i].partition_cnt;
    }
    rd_kafka_metadata_destroy(md);
    return 0;
}

static int errno_of(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return 0;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS: return -EEXIST;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: return -EACCES;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT: return -ETIMEDOUT;
    default: return -EIO;
    }
}

/* Waits for the one event of an admin request. NULL: timed out. */
static rd_kafka_event_t *await(rd_kafka_queue_t *q, rd_kafka_event_type_t type, int timeout_ms)
{
    rd_kafka_event_t *ev;

    while ((ev = rd_kafka_queue_poll(q, timeout_ms)) != NULL && rd_kafka_event_type(ev) != type)
        rd_kafka_event_destroy(ev);
    return ev;
}

static int diff_one(const rd_kafka_ConfigResource_t *res, enum cs_topic t, cs_topic_diff_fn fn,
                    void *user)
{
    size_t n = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(res, &n);

    for (const struct cs_topic_setting *s = cs_topic_settings(t); s->name != NULL; s++) {
        const char *have = NULL;

        for (size_t i = 0; i < n; i++)
            if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), s->name) == 0)
                have = rd_kafka_ConfigEntry_value(entries[i]);
        if (have == NULL || strcmp(have, s->value) != 0)
            fn(user, t, s->name, have != NULL ? have : "", s->value);
    }
    return 0;
}

int cs_kafka_admin_diff(struct cs_kafka_admin *a, int timeout_ms, cs_topic_diff_fn fn, void *user)
{
    rd_kafka_ConfigResource_t *resources[CS_TOPIC_COUNT_];
    rd_kafka_queue_t *q = NULL;
    rd_kafka_event_t *ev = NULL;
    int32_t counts[CS_TOPIC_COUNT_];
    size_t n = 0;
    int r;

    r = cs_kafka_admin_partitions(a, timeout_ms, counts, NULL);
    if (r < 0)
        return r;
    for (int i = 0; i < CS_TOPIC_COUNT_; i++) {
        char name[CS_TOPIC_NAME_MAX];

        if (counts[i] == 0)
            continue;
        cs_topic_full(a->prefix, (enum cs_topic)i, name);
        resources[n++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    }
    if (n == 0)
        return 0;
    q = rd_kafka_queue_new(a->rk);
    rd_kafka_DescribeConfigs(a->rk, resources, n, NULL, q);
    ev = await(q, RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT, timeout_ms);
    if (ev == NULL) {
        r = -ETIMEDOUT;
        goto out;
    }
    r = errno_of(rd_kafka_event_error(ev));
    if (r == 0) {
        size_t cnt = 0;
        const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(ev), &cnt);

        for (size_t i = 0; r == 0 && i < cnt; i++) {
            enum cs_topic t;

            r = errno_of(rd_kafka_ConfigResource_error(found[i]));
            if (r == 0 && cs_topic_parse(a->prefix, rd_kafka_ConfigResource_name(found[i]), &t))
                r = diff_one(found[i], t, fn, user);
        }
    }
out:
    if (ev != NULL)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_ConfigResource_destroy_array(resources, n);
    return r;
}

int cs_kafka_admin_create(struct cs_kafka_admin *a, enum cs_topic t, int32_t partitions,
                          int16_t replication, int timeout_ms, struct cs_conf_error *err)
{
    char name[CS_TOPIC_NAME_MAX], errstr[256];
    rd_kafka_AdminOptions_t *options = NULL;
    rd_kafka_NewTopic_t *topic;
    rd_kafka_queue_t *q = NULL;
    rd_kafka_event_t *ev = NULL;
    int r = 0;

    cs_topic_full(a->prefix, t, name);
    topic = rd_kafka_NewTopic_new(name, partitions, replication, errstr, sizeof(errstr));
    if (topic == NULL) {
        snprintf(err->text, sizeof(err->text), "%s: %s", name, errstr);
        return -EIO;
    }
    for (const struct cs_topic_setting *s = cs_topic_settings(t); s->name != NULL; s++)
        rd_kafka_NewTopic_set_config(topic, s->name, s->value);
    options = rd_kafka_AdminOptions_new(a->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, errstr, sizeof(errstr));
    q = rd_kafka_queue_new(a->rk);
    rd_kafka_CreateTopics(a->rk, &topic, 1, options, q);
    ev = await(q, RD_KAFKA_EVENT_CREATETOPICS_RESULT, timeout_ms + 1000);
    if (ev == NULL) {
        snprintf(err->text, sizeof(err->text), "%s: no answer", name);
        r = -ETIMEDOUT;
    } else if (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(err->text, sizeof(err->text), "%s: %s", name, rd_kafka_event_error_string(ev));
        r = errno_of(rd_kafka_event_error(ev));
    } else {
        size_t cnt = 0;
        const rd_kafka_topic_result_t **found =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &cnt);

        for (size_t i = 0; i < cnt; i++)
            if (rd_kafka_topic_result_error(found[i]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
                const char *text = rd_kafka_topic_result_error_string(found[i]);

                snprintf(err->text, sizeof(err->text), "%s: %s", name,
                         text != NULL ? text
                                      : rd_kafka_err2str(rd_kafka_topic_result_error(found[i])));
                r = errno_of(rd_kafka_topic_result_error(found[i]));
            }
    }
    if (ev != NULL)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(topic);
    return r;
}
