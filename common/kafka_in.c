#include "common/kafka_in.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kafka_priv.h"

#define STATS_MS 1000

struct cs_kafka_group {
    rd_kafka_consumer_group_metadata_t *md;
};

struct cs_kafka_in {
    struct cs_kafka_base base; /* first: librdkafka's opaque */
    rd_kafka_t *rk;
    rd_kafka_queue_t *events; /* rebalances and errors */
    rd_kafka_queue_t *
        messages; /* the partitions' queues are forwarded here, so that messages and events are pulled
                                   apart and nothing needs to be paused */
    int fd;
    char *prefix;
    enum cs_topic topics[CS_TOPIC_COUNT_];
    size_t n_topics;
    rd_kafka_message_t *current; /* the message last handed out */

    /* set by the rebalance callback, which runs inside cs_kafka_in_next() */
    enum cs_kafka_event pending;
    bool lost;
    bool closing;
    rd_kafka_consumer_group_metadata_t *md; /* as of the last ASSIGN */
    int32_t *partitions;
    size_t n_partitions;
    bool *owned; /* by partition number, up to owned_n */
    int32_t owned_n;
    bool said_down;
    int64_t down_ms; /* when it was said */
};

const rd_kafka_consumer_group_metadata_t *cs_kafka_group_metadata(const struct cs_kafka_group *g)
{
    return g->md;
}

void cs_kafka_group_free(struct cs_kafka_group *g)
{
    if (g == NULL)
        return;
    if (g->md != NULL)
        rd_kafka_consumer_group_metadata_destroy(g->md);
    free(g);
}

static int compare_i32(const void *a, const void *b)
{
    int32_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

/* The partition numbers of our first topic: range gives the same ones of every topic to one member. */
static int note_partitions(struct cs_kafka_in *in, const rd_kafka_topic_partition_list_t *list)
{
    char name[CS_TOPIC_NAME_MAX];
    int32_t *numbers = calloc(list->cnt > 0 ? (size_t)list->cnt : 1, sizeof(*numbers));
    size_t n = 0;

    if (numbers == NULL)
        return -ENOMEM;
    cs_topic_full(in->prefix, in->topics[0], name);
    for (int i = 0; i < list->cnt; i++)
        if (strcmp(list->elems[i].topic, name) == 0)
            numbers[n++] = list->elems[i].partition;
    qsort(numbers, n, sizeof(*numbers), compare_i32);
    free(in->partitions);
    in->partitions = numbers;
    in->n_partitions = n;
    return 0;
}

/* Only notes what happened: the owner answers with cs_kafka_in_assign() or cs_kafka_in_unassign() later, and the group
 * waits for that. */
static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct cs_kafka_in *in = opaque;

    if (in->closing || note_partitions(in, list) < 0) {
        rd_kafka_assign(rk, NULL);
        return;
    }
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        if (in->md != NULL)
            rd_kafka_consumer_group_metadata_destroy(in->md);
        in->md = rd_kafka_consumer_group_metadata(rk);
        in->pending = CS_KAFKA_EV_ASSIGN;
    } else {
        in->lost = rd_kafka_assignment_lost(rk) != 0;
        in->pending = CS_KAFKA_EV_REVOKE;
    }
}

/* The value of a member of the statistics, behind the colon and blanks; NULL: not there. */
static const char *member(const char *json, const char *name)
{
    const char *p = json != NULL ? strstr(json, name) : NULL;

    if (p == NULL)
        return NULL;
    p += strlen(name);
    return p + strspn(p, " \t");
}

static bool is_text(const char *value, const char *text)
{
    size_t n = strlen(text);

    return value != NULL && value[0] == '"' && strncmp(value + 1, text, n) == 0 &&
           value[n + 1] == '"';
}

/* librdkafka tells of heartbeats only here: how long ago the group's coordinator last answered anything, and whether
 * the answers were such that the member is still steady. */
static int on_stats(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
    struct cs_kafka_in *in = opaque;
    const char *coordinator = member(json, "\"GroupCoordinator\":");
    const char *idle_us = member(coordinator, "\"rxidle\":");

    (void)rk;
    (void)len;
    if (idle_us != NULL && is_text(member(coordinator, "\"state\":"), "UP") &&
        is_text(member(member(json, "\"cgrp\":"), "\"join_state\":"), "steady")) {
        long long us = strtoll(idle_us, NULL, 10);

        if (us >= 0)
            atomic_store(&in->base.steady_ms, cs_clock_mono_ms() - us / 1000);
    }
    return 0; /* json stays librdkafka's */
}

int cs_kafka_in_new(const struct cs_common_conf *conf, const char *group,
                    const enum cs_topic *topics, size_t n, struct cs_log *log,
                    struct cs_kafka_in **ret, struct cs_conf_error *err)
{
    static const struct cs_kafka_prop defaults[] = {
        {"session.timeout.ms", "15000"},
        {"heartbeat.interval.ms", "3000"},
        {"max.poll.interval.ms", "120000"},
        {"fetch.wait.max.ms", "100"},
        {"queued.min.messages", "500"},
        {"queued.max.messages.kbytes", "16384"},
        {"check.crcs", "true"},
        {NULL, NULL},
    };
    char group_id[CS_TOPIC_NAME_MAX], stats[16];
    const struct cs_kafka_prop fixed[] = {
        {"group.id", group_id},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"isolation.level", "read_committed"},
        {"auto.offset.reset", "earliest"},
        {"partition.assignment.strategy", "range"},
        {"allow.auto.create.topics", "false"},
        {"statistics.interval.ms", stats},
        {conf->instance_id != NULL && conf->instance_id[0] != '\0' ? "group.instance.id" : NULL,
         conf->instance_id},
        {NULL, NULL},
    };
    struct cs_kafka_in *in = calloc(1, sizeof(*in));
    rd_kafka_conf_t *rkconf = NULL;
    int r;

    if (in == NULL)
        return -ENOMEM;
    in->fd = -1;
    in->base.log = log;
    in->n_topics = n;
    memcpy(in->topics, topics, n * sizeof(*topics));
    snprintf(group_id, sizeof(group_id), "%s%s", conf->kafka_prefix, group);
    snprintf(stats, sizeof(stats), "%d", STATS_MS);
    in->prefix = strdup(conf->kafka_prefix);
    if (in->prefix == NULL) {
        r = -ENOMEM;
        goto out;
    }
    r = cs_kafka_conf_make(conf, defaults, fixed, &in->base, &rkconf, err);
    if (r < 0)
        goto out;
    rd_kafka_conf_set_rebalance_cb(rkconf, on_rebalance);
    rd_kafka_conf_set_stats_cb(rkconf, on_stats);
    r = cs_kafka_handle_new(RD_KAFKA_CONSUMER, rkconf, &in->rk, err);
    if (r < 0)
        goto out;
    in->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (in->fd < 0) {
        r = -errno;
        goto out;
    }
    rd_kafka_poll_set_consumer(in->rk); /* errors and statistics come through the same queue */
    in->events = rd_kafka_queue_get_consumer(in->rk);
    in->messages = rd_kafka_queue_new(in->rk);
    rd_kafka_queue_io_event_enable(in->events, in->fd, "\1\0\0\0\0\0\0\0", 8);
    rd_kafka_queue_io_event_enable(in->messages, in->fd, "\1\0\0\0\0\0\0\0", 8);
    *ret = in;
    in = NULL;
out:
    cs_kafka_in_free(in);
    return r;
}

int cs_kafka_in_subscribe(struct cs_kafka_in *in)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)in->n_topics);
    rd_kafka_resp_err_t err;

    for (size_t i = 0; i < in->n_topics; i++)
        cs_kafka_list_add(list, in->prefix, in->topics[i], RD_KAFKA_PARTITION_UA);
    err = rd_kafka_subscribe(in->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : -EIO;
}

int cs_kafka_in_fd(const struct cs_kafka_in *in)
{
    return in->fd;
}

static void release_current(struct cs_kafka_in *in)
{
    if (in->current != NULL) {
        rd_kafka_message_destroy(in->current);
        in->current = NULL;
    }
}

static enum cs_kafka_event take_pending(struct cs_kafka_in *in, bool *lost)
{
    enum cs_kafka_event event = in->pending;

    in->pending = CS_KAFKA_EV_NONE;
    if (event == CS_KAFKA_EV_REVOKE && lost != NULL)
        *lost = in->lost;
    return event;
}

static enum cs_kafka_event of_error(struct cs_kafka_in *in, rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID: return CS_KAFKA_EV_FENCED;
    case RD_KAFKA_RESP_ERR__FATAL: {
        char text[256];

        return rd_kafka_fatal_error(in->rk, text, sizeof(text)) ==
                       RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
                   ? CS_KAFKA_EV_FENCED
                   : CS_KAFKA_EV_ERROR;
    }
    default: return CS_KAFKA_EV_NONE; /* passing troubles, the library goes on by itself */
    }
}

static bool is_owned(const struct cs_kafka_in *in, int32_t partition)
{
    return partition >= 0 && partition < in->owned_n && in->owned[partition];
}

static enum cs_kafka_event next_message(struct cs_kafka_in *in, int timeout_ms,
                                        struct cs_kafka_msg *msg)
{
    for (;;) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(in->messages, timeout_ms);
        enum cs_topic topic;

        if (m == NULL)
            return CS_KAFKA_EV_NONE;
        if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            enum cs_kafka_event event = of_error(in, m->err);

            rd_kafka_message_destroy(m);
            if (event != CS_KAFKA_EV_NONE)
                return event;
            timeout_ms = 0;
            continue;
        }
        if (!is_owned(in, m->partition) ||
            !cs_topic_parse(in->prefix, rd_kafka_topic_name(m->rkt), &topic)) {
            rd_kafka_message_destroy(m); /* left over from before a rebalance */
            continue;
        }
        in->current = m;
        msg->topic = topic;
        msg->partition = m->partition;
        msg->offset = m->offset;
        msg->timestamp_ms = rd_kafka_message_timestamp(m, NULL);
        msg->key = m->key;
        msg->key_len = m->key_len;
        msg->value = m->payload;
        msg->value_len = m->len;
        return CS_KAFKA_EV_MESSAGE;
    }
}

enum cs_kafka_event cs_kafka_in_next(struct cs_kafka_in *in, bool want_messages, int timeout_ms,
                                     struct cs_kafka_msg *msg, bool *lost)
{
    int64_t deadline_ms = cs_clock_mono_ms() + timeout_ms;
    enum cs_kafka_event event;
    uint64_t count;

    release_current(in);
    if (read(in->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return CS_KAFKA_EV_ERROR;
    for (;;) {
        rd_kafka_message_t *m;
        int64_t left;

        /* rebalances and errors first; this is also what tells the library that we live */
        while ((m = rd_kafka_consumer_poll(in->rk, 0)) != NULL) {
            event = m->err != RD_KAFKA_RESP_ERR_NO_ERROR ? of_error(in, m->err) : CS_KAFKA_EV_NONE;
            rd_kafka_message_destroy(m);
            if (event != CS_KAFKA_EV_NONE)
                return event;
        }
        event = take_pending(in, lost);
        if (event != CS_KAFKA_EV_NONE)
            return event;
        if (atomic_load(&in->base.fatal) != 0)
            return of_error(in, RD_KAFKA_RESP_ERR__FATAL);
        if (atomic_load(&in->base.all_down) && !in->said_down) {
            in->said_down = true;
            in->down_ms = cs_clock_mono_ms();
            return CS_KAFKA_EV_DOWN;
        }
        if (in->said_down && atomic_load(&in->base.steady_ms) > in->down_ms) {
            in->said_down = false;
            atomic_store(&in->base.all_down, false);
            return CS_KAFKA_EV_UP;
        }
        left = deadline_ms - cs_clock_mono_ms();
        if (left < 0)
            left = 0;
        if (want_messages) {
            /* short turns, so that a rebalance is not kept waiting by a quiet topic */
            event = next_message(in, (int)(left > 50 ? 50 : left), msg);
            if (event != CS_KAFKA_EV_NONE)
                return event;
        } else if (left > 0) {
            m = rd_kafka_consumer_poll(in->rk, (int)(left > 50 ? 50 : left));
            if (m != NULL) {
                event =
                    m->err != RD_KAFKA_RESP_ERR_NO_ERROR ? of_error(in, m->err) : CS_KAFKA_EV_NONE;
                rd_kafka_message_destroy(m);
                if (event != CS_KAFKA_EV_NONE)
                    return event;
            }
        }
        event = take_pending(in, lost);
        if (event != CS_KAFKA_EV_NONE)
            return event;
        if (cs_clock_mono_ms() >= deadline_ms)
            return CS_KAFKA_EV_NONE;
    }
}

size_t cs_kafka_in_partitions(const struct cs_kafka_in *in, const int32_t **ret)
{
    *ret = in->partitions;
    return in->n_partitions;
}

struct cs_kafka_group *cs_kafka_in_group(struct cs_kafka_in *in)
{
    struct cs_kafka_group *g = calloc(1, sizeof(*g));
    void *bytes = NULL;
    size_t n = 0;
    rd_kafka_error_t *err;

    if (g == NULL || in->md == NULL) {
        free(g);
        return NULL;
    }
    /* the library's way to copy one */
    err = rd_kafka_consumer_group_metadata_write(in->md, &bytes, &n);
    if (err == NULL)
        err = rd_kafka_consumer_group_metadata_read(&g->md, bytes, n);
    rd_kafka_mem_free(NULL, bytes);
    if (err != NULL) {
        rd_kafka_error_destroy(err);
        free(g);
        return NULL;
    }
    return g;
}

void cs_kafka_offsets_free(struct cs_kafka_offset *offsets, size_t n)
{
    for (size_t i = 0; offsets != NULL && i < n; i++)
        free(offsets[i].metadata);
    free(offsets);
}

int cs_kafka_in_end(struct cs_kafka_in *in, enum cs_topic topic, int32_t partition, int timeout_ms,
                    int64_t *ret)
{
    char name[CS_TOPIC_NAME_MAX];
    int64_t begin = 0, end = 0;
    rd_kafka_resp_err_t err;

    cs_topic_full(in->prefix, topic, name);
    err = rd_kafka_query_watermark_offsets(in->rk, name, partition, &begin, &end, timeout_ms);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return err == RD_KAFKA_RESP_ERR__TIMED_OUT ? -ETIMEDOUT : -EIO;
    *ret = end;
    return 0;
}

int cs_kafka_in_committed(struct cs_kafka_in *in, const int32_t *partitions, size_t n,
                          int timeout_ms, struct cs_kafka_offset **ret, size_t *ret_n)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)(n * in->n_topics));
    struct cs_kafka_offset *offsets = NULL;
    rd_kafka_resp_err_t err;
    int r = 0;

    for (size_t t = 0; t < in->n_topics; t++)
        for (size_t i = 0; i < n; i++)
            cs_kafka_list_add(list, in->prefix, in->topics[t], partitions[i]);
    if (list->cnt > 0) {
        err = rd_kafka_committed(in->rk, list, timeout_ms);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            r = err == RD_KAFKA_RESP_ERR__TIMED_OUT ? -ETIMEDOUT : -EIO;
            goto out;
        }
    }
    offsets = calloc(list->cnt > 0 ? (size_t)list->cnt : 1, sizeof(*offsets));
    if (offsets == NULL) {
        r = -ENOMEM;
        goto out;
    }
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *tp = &list->elems[i];

        if (tp->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            r = -EIO;
            goto out;
        }
        offsets[i].topic = in->topics[n > 0 ? (size_t)i / n : 0];
        offsets[i].partition = tp->partition;
        offsets[i].offset = tp->offset >= 0 ? tp->offset : -1;
        if (tp->metadata != NULL && tp->metadata_size > 0) {
            offsets[i].metadata = strndup(tp->metadata, tp->metadata_size);
            if (offsets[i].metadata == NULL) {
                r = -ENOMEM;
                goto out;
            }
        }
    }
    *ret = offsets;
    *ret_n = (size_t)list->cnt;
    offsets = NULL;
out:
    cs_kafka_offsets_free(offsets, offsets != NULL ? (size_t)list->cnt : 0);
    rd_kafka_topic_partition_list_destroy(list);
    return r;
}

int cs_kafka_in_assign(struct cs_kafka_in *in, const struct cs_kafka_offset *offsets, size_t n)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    rd_kafka_resp_err_t err;
    bool *owned;
    int32_t max = 0;

    for (size_t i = 0; i < n; i++)
        max = offsets[i].partition >= max ? offsets[i].partition + 1 : max;
    owned = calloc((size_t)max + 1, sizeof(*owned));
    if (owned == NULL) {
        rd_kafka_topic_partition_list_destroy(list);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        rd_kafka_topic_partition_t *tp =
            cs_kafka_list_add(list, in->prefix, offsets[i].topic, offsets[i].partition);
        rd_kafka_queue_t *q = rd_kafka_queue_get_partition(in->rk, tp->topic, tp->partition);

        tp->offset = offsets[i].offset >= 0 ? offsets[i].offset : RD_KAFKA_OFFSET_BEGINNING;
        owned[offsets[i].partition] = true;
        if (q != NULL) {
            rd_kafka_queue_forward(q, in->messages);
            rd_kafka_queue_destroy(q);
        }
    }
    free(in->owned);
    in->owned = owned;
    in->owned_n = max;
    err = rd_kafka_assign(in->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR         ? 0
           : of_error(in, err) == CS_KAFKA_EV_FENCED ? -EPERM
                                                     : -EIO;
}

int cs_kafka_in_unassign(struct cs_kafka_in *in)
{
    free(in->owned);
    in->owned = NULL;
    in->owned_n = 0;
    return rd_kafka_assign(in->rk, NULL) == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : -EIO;
}

int cs_kafka_in_commit(struct cs_kafka_in *in, const struct cs_kafka_offset *offsets, size_t n)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    rd_kafka_resp_err_t err;

    for (size_t i = 0; i < n; i++) {
        rd_kafka_topic_partition_t *tp =
            cs_kafka_list_add(list, in->prefix, offsets[i].topic, offsets[i].partition);

        tp->offset = offsets[i].offset;
        if (offsets[i].metadata != NULL) {
            tp->metadata = strdup(offsets[i].metadata); /* freed with the list */
            tp->metadata_size = tp->metadata != NULL ? strlen(offsets[i].metadata) : 0;
        }
    }
    err = rd_kafka_commit(in->rk, list, 0);
    rd_kafka_topic_partition_list_destroy(list);
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return 0;
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST: return -ESTALE;
    case RD_KAFKA_RESP_ERR__TIMED_OUT: return -ETIMEDOUT;
    default: return -EIO;
    }
}

int64_t cs_kafka_in_session_age_ms(const struct cs_kafka_in *in)
{
    return cs_clock_mono_ms() - atomic_load(&in->base.steady_ms);
}

void cs_kafka_in_free(struct cs_kafka_in *in)
{
    if (in == NULL)
        return;
    release_current(in);
    if (in->rk != NULL) {
        in->closing = true;
        if (in->events != NULL) {
            rd_kafka_queue_io_event_enable(in->events, -1, NULL, 0);
            rd_kafka_queue_io_event_enable(in->messages, -1, NULL, 0);
        }
        rd_kafka_consumer_close(in->rk);
        if (in->messages != NULL)
            rd_kafka_queue_destroy(in->messages);
        if (in->events != NULL)
            rd_kafka_queue_destroy(in->events);
        if (in->md != NULL)
            rd_kafka_consumer_group_metadata_destroy(in->md);
        rd_kafka_destroy(in->rk);
    }
    if (in->fd >= 0)
        close(in->fd);
    free(in->owned);
    free(in->partitions);
    free(in->prefix);
    free(in);
}
