#include "common/kafka_out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka_priv.h"

struct cs_kafka_out {
    struct cs_kafka_base base; /* first: librdkafka's opaque */
    rd_kafka_t *rk;
    char *prefix;
    rd_kafka_topic_t
        *topics[CS_TOPIC_COUNT_]; /* known ahead, so that no produce waits for metadata */
    bool transactional;
    unsigned
        failed; /* deliveries that failed since the last flush; delivery reports run in our calls */
    bool refused; /* one of them for good: the broker will never take that message */
    char error[64];
};

/* What a message's size or content is answered with, whoever asks and whenever. */
static bool is_refusal(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || err == RD_KAFKA_RESP_ERR_INVALID_RECORD ||
           err == RD_KAFKA_RESP_ERR_POLICY_VIOLATION;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque)
{
    struct cs_kafka_out *out = opaque;

    (void)rk;
    if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        out->failed++;
        if (out->refused)
            return; /* the purged ones that follow it are its consequence */
        out->refused = is_refusal(msg->err);
        snprintf(out->error, sizeof(out->error), "%s", rd_kafka_err2name(msg->err));
    }
}

int cs_kafka_out_new(const struct cs_common_conf *conf, const char *txn_id, struct cs_log *log,
                     struct cs_kafka_out **ret, struct cs_conf_error *err)
{
    const struct cs_kafka_prop defaults[] = {
        {"linger.ms", "5"},
        {"batch.size", "1000000"},
        {"queue.buffering.max.messages", "100000"},
        {"queue.buffering.max.kbytes", "262144"},
        {"compression.codec", "zstd"}, /* the one codec that old clients and new brokers agree on */
        {"transaction.timeout.ms", "15000"},
        {"retry.backoff.ms",
         "20"}, /* back-to-back transactions wait for this, see CONCURRENT_TRANSACTIONS */
        /* without transactions nothing may arrive long after the membership was last known to be good */
        {txn_id == NULL ? "message.timeout.ms" : NULL, "6000"},
        {NULL, NULL},
    };
    const struct cs_kafka_prop fixed[] = {
        {"enable.idempotence", "true"},
        {"message.max.bytes", "2097152"},
        {"partitioner", "murmur2_random"},
        {txn_id != NULL ? "transactional.id" : NULL, txn_id},
        {NULL, NULL},
    };
    struct cs_kafka_out *out = calloc(1, sizeof(*out));
    rd_kafka_conf_t *rkconf = NULL;
    int r;

    if (out == NULL)
        return -ENOMEM;
    out->base.log = log;
    out->transactional = txn_id != NULL;
    out->prefix = strdup(conf->kafka_prefix);
    if (out->prefix == NULL) {
        r = -ENOMEM;
        goto out;
    }
    r = cs_kafka_conf_make(conf, defaults, fixed, &out->base, &rkconf, err);
    if (r < 0)
        goto out;
    rd_kafka_conf_set_dr_msg_cb(rkconf, on_delivery);
    r = cs_kafka_handle_new(RD_KAFKA_PRODUCER, rkconf, &out->rk, err);
    if (r < 0)
        goto out;
    *ret = out;
    out = NULL;
out:
    cs_kafka_out_free(out);
    return r;
}

void cs_kafka_out_free(struct cs_kafka_out *out)
{
    if (out == NULL)
        return;
    if (out->rk != NULL) {
        (void)rd_kafka_purge(out->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                          RD_KAFKA_PURGE_F_NON_BLOCKING);
        rd_kafka_poll(out->rk, 0);
        (void)rd_kafka_flush(
            out->rk, 1000); /* serves the purged messages' reports; what is left is dropped */
        for (int i = 0; i < CS_TOPIC_COUNT_; i++)
            if (out->topics[i] != NULL)
                rd_kafka_topic_destroy(out->topics[i]);
        rd_kafka_destroy_flags(out->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    free(out->prefix);
    free(out);
}

/* Takes err. */
static enum cs_kafka_result classify(struct cs_kafka_out *out, rd_kafka_error_t *err,
                                     enum cs_kafka_result on_fatal)
{
    enum cs_kafka_result r;

    if (err == NULL)
        return CS_KAFKA_OK;
    snprintf(out->error, sizeof(out->error), "%s", rd_kafka_error_name(err));
    if (rd_kafka_error_code(err) == RD_KAFKA_RESP_ERR__FENCED)
        r = CS_KAFKA_FENCED;
    else if (!rd_kafka_error_is_fatal(err) && rd_kafka_error_txn_requires_abort(err))
        r = CS_KAFKA_ABORT;
    else if (!rd_kafka_error_is_fatal(err) && rd_kafka_error_is_retriable(err))
        r = CS_KAFKA_AGAIN;
    else
        r = on_fatal; /* none of the three: the library says to treat it as fatal for the handle */
    rd_kafka_error_destroy(err);
    return r;
}

static int left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - cs_clock_mono_ms();

    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* The leader of a topic asked for the first time costs up to a second inside produce(). */
static enum cs_kafka_result warm(struct cs_kafka_out *out, int timeout_ms)
{
    for (int i = 0; i < CS_TOPIC_COUNT_; i++) {
        const struct rd_kafka_metadata *md = NULL;
        char name[CS_TOPIC_NAME_MAX];

        if (out->topics[i] != NULL)
            continue;
        cs_topic_full(out->prefix, (enum cs_topic)i, name);
        out->topics[i] = rd_kafka_topic_new(out->rk, name, NULL);
        if (out->topics[i] == NULL)
            return CS_KAFKA_FATAL;
        if (rd_kafka_metadata(out->rk, 0, out->topics[i], &md, timeout_ms) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_topic_destroy(out->topics[i]);
            out->topics[i] = NULL;
            return CS_KAFKA_AGAIN;
        }
        rd_kafka_metadata_destroy(md);
    }
    return CS_KAFKA_OK;
}

enum cs_kafka_result cs_kafka_out_init(struct cs_kafka_out *out, int timeout_ms)
{
    int64_t deadline_ms = cs_clock_mono_ms() + timeout_ms;
    enum cs_kafka_result r = CS_KAFKA_OK;

    if (out->transactional)
        do {
            r = classify(out, rd_kafka_init_transactions(out->rk, left_ms(deadline_ms)),
                         CS_KAFKA_FATAL);
        } while (r == CS_KAFKA_AGAIN && left_ms(deadline_ms) > 0);
    if (r == CS_KAFKA_ABORT)
        r = CS_KAFKA_FATAL;
    if (r != CS_KAFKA_OK)
        return r;
    return warm(out, left_ms(deadline_ms) + 1000);
}

enum cs_kafka_result cs_kafka_out_begin(struct cs_kafka_out *out)
{
    out->failed = 0;
    out->refused = false;
    out->error[0] = '\0';
    return classify(out, rd_kafka_begin_transaction(out->rk), CS_KAFKA_FATAL);
}

static enum cs_kafka_result produce(struct cs_kafka_out *out, enum cs_topic topic,
                                    int32_t partition, const char *key, size_t key_len, void *value,
                                    size_t value_len, int flags,
                                    const struct cs_kafka_header *headers, size_t n)
{
    rd_kafka_headers_t *hdrs = rd_kafka_headers_new(n);
    char name[CS_TOPIC_NAME_MAX];
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

    for (size_t i = 0; i < n && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        err = rd_kafka_header_add(hdrs, headers[i].name, -1, headers[i].value, -1);
    cs_topic_full(out->prefix, topic, name);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        err = rd_kafka_producev(out->rk, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(partition),
                                RD_KAFKA_V_MSGFLAGS(flags), RD_KAFKA_V_KEY(key, key_len),
                                RD_KAFKA_V_VALUE(value, value_len), RD_KAFKA_V_HEADERS(hdrs),
                                RD_KAFKA_V_END);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return CS_KAFKA_OK;
    rd_kafka_headers_destroy(hdrs); /* ours again: produce failed */
    snprintf(out->error, sizeof(out->error), "%s", rd_kafka_err2name(err));
    switch (err) {
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: rd_kafka_poll(out->rk, 20); return CS_KAFKA_AGAIN;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return CS_KAFKA_TOO_LARGE;
    case RD_KAFKA_RESP_ERR__FENCED: return CS_KAFKA_FENCED;
    default: return CS_KAFKA_FATAL;
    }
}

enum cs_kafka_result cs_kafka_out_produce(struct cs_kafka_out *out, enum cs_topic topic,
                                          int32_t partition, const char *key, size_t key_len,
                                          char *value, size_t value_len,
                                          const struct cs_kafka_header *headers, size_t n)
{
    return produce(out, topic, partition, key, key_len, value, value_len,
                   value != NULL ? RD_KAFKA_MSG_F_FREE : 0, headers, n);
}

enum cs_kafka_result cs_kafka_out_produce_borrowed(struct cs_kafka_out *out, enum cs_topic topic,
                                                   int32_t partition, const char *key,
                                                   size_t key_len, const char *value,
                                                   size_t value_len,
                                                   const struct cs_kafka_header *headers, size_t n)
{
    void *payload;

    /* librdkafka's payload is a plain pointer, but it only reads it */
    memcpy(&payload, &value, sizeof(payload));
    return produce(out, topic, partition, key, key_len, payload, value_len, 0, headers, n);
}

/* A refused message fails the transaction before its report reaches on_delivery(): wait for what tells the two apart. */
static enum cs_kafka_result abort_or_refusal(struct cs_kafka_out *out)
{
    int64_t deadline_ms = cs_clock_mono_ms() + 200;

    while (out->failed == 0 && left_ms(deadline_ms) > 0)
        (void)rd_kafka_poll(out->rk, left_ms(deadline_ms));
    return out->refused ? CS_KAFKA_TOO_LARGE : CS_KAFKA_ABORT;
}

enum cs_kafka_result cs_kafka_out_offsets(struct cs_kafka_out *out,
                                          const struct cs_kafka_group *group,
                                          const struct cs_kafka_offset *offsets, size_t n,
                                          int timeout_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    int64_t deadline_ms = cs_clock_mono_ms() + timeout_ms;
    enum cs_kafka_result r;

    for (size_t i = 0; i < n; i++) {
        rd_kafka_topic_partition_t *tp =
            cs_kafka_list_add(list, out->prefix, offsets[i].topic, offsets[i].partition);

        tp->offset = offsets[i].offset;
        if (offsets[i].metadata != NULL) {
            tp->metadata = strdup(offsets[i].metadata); /* freed with the list */
            tp->metadata_size = tp->metadata != NULL ? strlen(offsets[i].metadata) : 0;
            if (tp->metadata == NULL) {
                rd_kafka_topic_partition_list_destroy(list);
                return CS_KAFKA_ABORT;
            }
        }
    }
    do {
        r = classify(out,
                     rd_kafka_send_offsets_to_transaction(
                         out->rk, list, cs_kafka_group_metadata(group), left_ms(deadline_ms)),
                     CS_KAFKA_FATAL);
    } while (r == CS_KAFKA_AGAIN && left_ms(deadline_ms) > 0);
    rd_kafka_topic_partition_list_destroy(list);
    if (r == CS_KAFKA_AGAIN)
        r = CS_KAFKA_ABORT;
    return r == CS_KAFKA_ABORT ? abort_or_refusal(out) : r;
}

/* Answers to EndTxn that leave open whether the coordinator has written the commit. */
static bool is_in_doubt(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS: return true;
    default: return false;
    }
}

enum cs_kafka_result cs_kafka_out_commit(struct cs_kafka_out *out, int timeout_ms)
{
    int64_t deadline_ms = cs_clock_mono_ms() + timeout_ms;

    for (;;) {
        rd_kafka_error_t *err = rd_kafka_commit_transaction(out->rk, left_ms(deadline_ms));
        rd_kafka_resp_err_t code = rd_kafka_error_code(err);
        enum cs_kafka_result r = classify(out, err, CS_KAFKA_UNKNOWN);

        if (r == CS_KAFKA_AGAIN && left_ms(deadline_ms) > 0)
            continue;
        if (r == CS_KAFKA_AGAIN || (r == CS_KAFKA_ABORT && is_in_doubt(code)))
            return CS_KAFKA_UNKNOWN;
        /* a message that was refused ends the transaction before EndTxn is sent */
        return r == CS_KAFKA_ABORT ? abort_or_refusal(out) : r;
    }
}

enum cs_kafka_result cs_kafka_out_abort(struct cs_kafka_out *out, int timeout_ms)
{
    int64_t deadline_ms = cs_clock_mono_ms() + timeout_ms;
    enum cs_kafka_result r;

    do {
        /* "abort again" is an answer to an abort too: it means the same as a retriable error */
        r = classify(out, rd_kafka_abort_transaction(out->rk, left_ms(deadline_ms)),
                     CS_KAFKA_FATAL);
    } while ((r == CS_KAFKA_AGAIN || r == CS_KAFKA_ABORT) && left_ms(deadline_ms) > 0);
    return r == CS_KAFKA_AGAIN || r == CS_KAFKA_ABORT ? CS_KAFKA_FATAL : r;
}

enum cs_kafka_result cs_kafka_out_flush(struct cs_kafka_out *out, int timeout_ms)
{
    rd_kafka_resp_err_t err = rd_kafka_flush(out->rk, timeout_ms);
    unsigned failed = out->failed;
    bool refused = out->refused;

    out->failed = 0;
    out->refused = false;
    if (refused)
        return CS_KAFKA_TOO_LARGE;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(out->error, sizeof(out->error), "%s", rd_kafka_err2name(err));
        return CS_KAFKA_FATAL;
    }
    return failed > 0 ? CS_KAFKA_FATAL : CS_KAFKA_OK;
}

const char *cs_kafka_out_error(const struct cs_kafka_out *out)
{
    return out->error;
}
