#include "common/kafka_read.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka_priv.h"

struct cs_kafka_read {
    struct cs_kafka_base base; /* first: librdkafka's opaque */
    rd_kafka_t *rk;            /* read_committed: reads */
    struct cs_kafka_base ends_base;
    rd_kafka_t *
        ends; /* read_uncommitted: a read_committed handle gives the last stable offset as the end */
    char *prefix;
    atomic_bool cancelled;
};

static int make(const struct cs_common_conf *conf, const char *isolation,
                struct cs_kafka_base *base, rd_kafka_t **ret, struct cs_conf_error *err)
{
    static const struct cs_kafka_prop defaults[] = {
        {"fetch.wait.max.ms", "50"},
        {"queued.min.messages", "10000"},
        {"queued.max.messages.kbytes", "32768"},
        {NULL, NULL},
    };
    char group_id[CS_TOPIC_NAME_MAX];
    const struct cs_kafka_prop fixed[] = {
        {"group.id", group_id}, /* never joined and never committed to */
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"enable.partition.eof", "true"},
        {"isolation.level", isolation},
        {"auto.offset.reset", "earliest"},
        {"allow.auto.create.topics", "false"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *rkconf = NULL;
    int r;

    snprintf(group_id, sizeof(group_id), "%s%s", conf->kafka_prefix, CS_GROUP_PRODUCER);
    r = cs_kafka_conf_make(conf, defaults, fixed, base, &rkconf, err);
    if (r < 0)
        return r;
    return cs_kafka_handle_new(RD_KAFKA_CONSUMER, rkconf, ret, err);
}

int cs_kafka_read_new(const struct cs_common_conf *conf, struct cs_log *log,
                      struct cs_kafka_read **ret, struct cs_conf_error *err)
{
    struct cs_kafka_read *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL)
        return -ENOMEM;
    r->base.log = log;
    r->ends_base.log = log;
    r->prefix = strdup(conf->kafka_prefix);
    rc = r->prefix != NULL ? make(conf, "read_committed", &r->base, &r->rk, err) : -ENOMEM;
    if (rc == 0)
        rc = make(conf, "read_uncommitted", &r->ends_base, &r->ends, err);
    if (rc < 0) {
        cs_kafka_read_free(r);
        return rc;
    }
    rd_kafka_poll_set_consumer(r->rk);
    *ret = r;
    return 0;
}

void cs_kafka_read_free(struct cs_kafka_read *r)
{
    if (r == NULL)
        return;
    if (r->rk != NULL) {
        rd_kafka_consumer_close(r->rk);
        rd_kafka_destroy(r->rk);
    }
    if (r->ends != NULL) {
        rd_kafka_consumer_close(r->ends);
        rd_kafka_destroy(r->ends);
    }
    free(r->prefix);
    free(r);
}

static int deliver(const struct cs_kafka_read *r, const rd_kafka_message_t *m, cs_kafka_read_fn fn,
                   void *user)
{
    struct cs_kafka_msg msg = {
        .partition = m->partition,
        .offset = m->offset,
        .timestamp_ms = rd_kafka_message_timestamp(m, NULL),
        .key = m->key,
        .key_len = m->key_len,
        .value = m->payload,
        .value_len = m->len,
    };

    if (!cs_topic_parse(r->prefix, rd_kafka_topic_name(m->rkt), &msg.topic))
        return 0;
    return fn(user, &msg);
}

/* Where reading stands, markers and aborted batches counted as far as the library knows. */
static int64_t position(const struct cs_kafka_read *r, enum cs_topic topic, int32_t partition)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *tp = cs_kafka_list_add(list, r->prefix, topic, partition);
    int64_t at = -1;

    if (rd_kafka_position(r->rk, list) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        tp->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        at = tp->offset;
    rd_kafka_topic_partition_list_destroy(list);
    return at;
}

void cs_kafka_read_cancel(struct cs_kafka_read *r)
{
    atomic_store(&r->cancelled, true);
}

int cs_kafka_read_ends(struct cs_kafka_read *r, enum cs_topic topic, int32_t partition,
                       int timeout_ms, int64_t *first, int64_t *next)
{
    int64_t begun_ms = cs_clock_mono_ms();
    char name[CS_TOPIC_NAME_MAX];
    rd_kafka_resp_err_t err;

    cs_topic_full(r->prefix, topic, name);
    do /* in short turns, so that it can be cancelled */
        err = rd_kafka_query_watermark_offsets(r->ends, name, partition, first, next,
                                               timeout_ms < 1000 ? timeout_ms : 1000);
    while (err == RD_KAFKA_RESP_ERR__TIMED_OUT && !atomic_load(&r->cancelled) &&
           cs_clock_mono_ms() - begun_ms < timeout_ms);
    if (atomic_load(&r->cancelled))
        return -ECANCELED;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return err == RD_KAFKA_RESP_ERR__TIMED_OUT ? -ETIMEDOUT : -EIO;
    return 0;
}

int cs_kafka_read_offset_at(struct cs_kafka_read *r, enum cs_topic topic, int32_t partition,
                            int64_t utc_ms, int timeout_ms, int64_t *ret)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *tp = cs_kafka_list_add(list, r->prefix, topic, partition);
    rd_kafka_resp_err_t err;
    int64_t first, next, at;
    int rc = 0;

    tp->offset = utc_ms;
    err = rd_kafka_offsets_for_times(r->ends, list, timeout_ms);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        err = tp->err;
    at = tp->offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return err == RD_KAFKA_RESP_ERR__TIMED_OUT ? -ETIMEDOUT : -EIO;
    if (at < 0) { /* RD_KAFKA_OFFSET_END */
        rc = cs_kafka_read_ends(r, topic, partition, timeout_ms, &first, &next);
        at = next;
    }
    if (rc == 0)
        *ret = at;
    return rc;
}

int cs_kafka_read_to_end(struct cs_kafka_read *r, enum cs_topic topic, int32_t partition,
                         int64_t from, int timeout_ms, cs_kafka_read_fn fn, void *user)
{
    return cs_kafka_read_on(r, topic, partition, &from, timeout_ms, fn, user);
}

int cs_kafka_read_on(struct cs_kafka_read *r, enum cs_topic topic, int32_t partition, int64_t *at,
                     int timeout_ms, cs_kafka_read_fn fn, void *user)
{
    rd_kafka_topic_partition_list_t *list;
    int64_t low = 0, high = 0, progress_ms = cs_clock_mono_ms(), reached = -1, from = *at;
    rd_kafka_resp_err_t err;
    int rc = cs_kafka_read_ends(r, topic, partition, timeout_ms, &low, &high);

    if (rc < 0)
        return rc;
    if (from < low)
        from = low;
    if (from >= high) {
        *at = from;
        return 0;
    }
    list = rd_kafka_topic_partition_list_new(1);
    cs_kafka_list_add(list, r->prefix, topic, partition)->offset = from;
    err = rd_kafka_assign(r->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return -EIO;
    while (rc == 0 && reached < high) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(r->rk, 100);

        if (m == NULL) {
            int64_t now = position(r, topic, partition);

            if (now > reached)
                reached = now;
        } else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            /* its offset is where the next fetch begins: behind markers and aborted batches */
            if (m->offset > reached) {
                reached = m->offset;
                progress_ms = cs_clock_mono_ms();
            }
        } else if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            progress_ms = cs_clock_mono_ms();
            reached = m->offset + 1;
            if (m->offset < high) /* what came after the mark is the owner's own business */
                rc = deliver(r, m, fn, user);
        } else if (m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                   m->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
            rc = -EIO;
        }
        if (m != NULL)
            rd_kafka_message_destroy(m);
        if (rc == 0 && atomic_load(&r->cancelled))
            rc = -ECANCELED;
        if (rc == 0 && reached < high && cs_clock_mono_ms() - progress_ms > timeout_ms)
            rc = -ETIMEDOUT;
    }
    rd_kafka_assign(r->rk, NULL);
    if (rc == 0)
        *at = high;
    return rc;
}
