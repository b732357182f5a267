#include "worker/index_scan.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kafka_read.h"

#define GATHER_MS   200   /* the first one waits so long for others of its partition */
#define PROGRESS_MS 60000 /* without a message or a step of the position */

struct cs_index_ask {
    struct cs_index_ask *next;
    struct cs_index_scan *scan;
    int32_t partition;
    int64_t asked_ms;
    struct cs_index_table *table; /* the thread's while reading */
    bool reading, done, dropped;
    int result;
};

struct cs_index_scan {
    const struct cs_common_conf *conf;
    struct cs_log *log;
    int wake_fd;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool stop;
    struct cs_kafka_read *reader; /* NULL: not reading */
    struct cs_index_ask *asks;    /* all that are not dropped, or dropped while being read */
    struct cs_metric *scans, *entries, *seconds;
};

static void wake(struct cs_index_scan *s)
{
    const uint64_t one = 1;

    (void)!write(s->wake_fd, &one, sizeof(one)); /* a full counter is awake already */
}

static void ask_free(struct cs_index_ask *a)
{
    cs_index_table_free(a->table);
    free(a);
}

/* Lock held. */
static void unlink_ask(struct cs_index_ask *a)
{
    struct cs_index_ask **at = &a->scan->asks;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
}

struct cs_index_ask *cs_index_ask(struct cs_index_scan *s, int32_t partition, const char *tenant,
                                  const char *mailbox)
{
    struct cs_index_ask *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return NULL;
    if (cs_index_table_new(tenant, mailbox, &a->table) < 0) {
        free(a);
        return NULL;
    }
    a->scan = s;
    a->partition = partition;
    a->asked_ms = cs_clock_mono_ms();
    pthread_mutex_lock(&s->lock);
    a->next = s->asks;
    s->asks = a;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    return a;
}

int cs_index_take(struct cs_index_ask *a, struct cs_index_table **ret)
{
    struct cs_index_scan *s = a->scan;
    int r = -EAGAIN;

    pthread_mutex_lock(&s->lock);
    if (a->done)
        r = a->result;
    if (r == 0) {
        *ret = a->table;
        a->table = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

void cs_index_drop(struct cs_index_ask *a)
{
    struct cs_index_scan *s;
    bool now;

    if (a == NULL)
        return;
    s = a->scan;
    pthread_mutex_lock(&s->lock);
    now = !a->reading;
    a->dropped = true;
    if (now)
        unlink_ask(a);
    pthread_mutex_unlock(&s->lock);
    if (now)
        ask_free(a);
}

/* ---- the thread ------------------------------------------------------------------------------------------- */

struct reading {
    struct cs_index_scan *scan;
    int32_t partition;
    int64_t entries;
    struct cs_index_ask **asks;
    size_t n;
};

static bool is_unwanted(const struct reading *r)
{
    bool wanted = false;

    pthread_mutex_lock(&r->scan->lock);
    for (size_t i = 0; i < r->n; i++)
        wanted = wanted || !r->asks[i]->dropped;
    pthread_mutex_unlock(&r->scan->lock);
    return !wanted;
}

static int on_message(void *user, const struct cs_kafka_msg *msg)
{
    struct reading *r = user;

    if ((++r->entries & 1023) == 0 && is_unwanted(r))
        return -ECANCELED;
    for (size_t i = 0; i < r->n; i++) {
        struct cs_index_ask *a = r->asks[i];

        if (a->result == 0)
            a->result =
                cs_index_table_put(a->table, msg->key, msg->key_len, msg->value, msg->value_len);
    }
    return 0;
}

/* Takes all asks of one partition whose first has waited long enough. Lock held. @return how many */
static size_t gather(struct cs_index_scan *s, struct reading *r, int64_t now_ms, int64_t *wait_ms)
{
    struct cs_index_ask *oldest = NULL;
    size_t n = 0;

    for (struct cs_index_ask *a = s->asks; a != NULL; a = a->next)
        if (!a->done && !a->reading && (oldest == NULL || a->asked_ms < oldest->asked_ms))
            oldest = a;
    *wait_ms = oldest == NULL ? -1 : oldest->asked_ms + GATHER_MS - now_ms;
    if (oldest == NULL || *wait_ms > 0)
        return 0;
    for (struct cs_index_ask *a = s->asks; a != NULL; a = a->next)
        n += !a->done && !a->reading && a->partition == oldest->partition;
    r->asks = calloc(n, sizeof(struct cs_index_ask *));
    if (r->asks == NULL) {
        oldest->done = true;
        oldest->result = -ENOMEM;
        wake(s);
        return 0;
    }
    r->partition = oldest->partition;
    for (struct cs_index_ask *a = s->asks; a != NULL; a = a->next)
        if (!a->done && !a->reading && a->partition == r->partition) {
            a->reading = true;
            r->asks[r->n++] = a;
        }
    return r->n;
}

static void finish(struct cs_index_scan *s, struct reading *r, int result)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < r->n; i++) {
        struct cs_index_ask *a = r->asks[i];

        a->reading = false;
        a->done = true;
        if (a->result == 0)
            a->result = result;
        if (a->dropped) {
            unlink_ask(a);
            ask_free(a);
        }
    }
    pthread_mutex_unlock(&s->lock);
    free(r->asks);
    wake(s);
}

static int read_partition(struct cs_index_scan *s, struct reading *r)
{
    struct cs_kafka_read *reader = NULL;
    struct cs_conf_error err;
    int64_t started_ms = cs_clock_mono_ms();
    int rc = cs_kafka_read_new(s->conf, s->log, &reader, &err);

    pthread_mutex_lock(&s->lock);
    s->reader = rc == 0 ? reader : NULL;
    if (rc == 0 && s->stop)
        cs_kafka_read_cancel(reader);
    pthread_mutex_unlock(&s->lock);
    if (rc == 0)
        rc = cs_kafka_read_to_end(reader, CS_TOPIC_INDEX, r->partition, -1, PROGRESS_MS, on_message,
                                  r);
    pthread_mutex_lock(&s->lock);
    s->reader = NULL;
    pthread_mutex_unlock(&s->lock);
    cs_kafka_read_free(reader);
    cs_metric_add(s->scans, 1);
    cs_metric_add(s->entries, r->entries);
    cs_metric_observe_milli(s->seconds, cs_clock_mono_ms() - started_ms);
    cs_log_info(s->log, "index.scanned", CS_I64("partition", r->partition), CS_I64("jobs", r->n),
                CS_I64("entries", r->entries), CS_I64("took_ms", cs_clock_mono_ms() - started_ms),
                CS_STR("result", rc == 0 ? "ok" : strerror(-rc)));
    return rc;
}

static void *run(void *arg)
{
    struct cs_index_scan *s = arg;

    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        struct reading r = {.scan = s};
        int64_t wait_ms;

        if (gather(s, &r, cs_clock_mono_ms(), &wait_ms) > 0) {
            int rc;

            pthread_mutex_unlock(&s->lock);
            rc = read_partition(s, &r);
            finish(s, &r, rc == -ECANCELED ? -EIO : rc);
            pthread_mutex_lock(&s->lock);
        } else if (wait_ms > 0) {
            int64_t until_ms = cs_clock_mono_ms() + wait_ms;
            struct timespec ts = {.tv_sec = until_ms / 1000,
                                  .tv_nsec = (until_ms % 1000) * 1000000};

            pthread_cond_timedwait(&s->change, &s->lock, &ts);
        } else if (wait_ms < 0) {
            pthread_cond_wait(&s->change, &s->lock);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int cs_index_scan_new(const struct cs_common_conf *conf, struct cs_log *log,
                      struct cs_metrics *metrics, int wake_fd, struct cs_index_scan **ret)
{
    static const int64_t seconds[] = {100, 500, 1000, 5000, 10000, 30000, 60000, 300000};
    struct cs_index_scan *s = calloc(1, sizeof(*s));
    pthread_condattr_t attr;
    int r;

    if (s == NULL)
        return -ENOMEM;
    s->conf = conf;
    s->log = log;
    s->wake_fd = wake_fd;
    s->scans = cs_metrics_counter(metrics, "crmsync_index_scans_total", NULL,
                                  "Partitions of the index read to compare folders with.");
    s->entries = cs_metrics_counter(metrics, "crmsync_index_entries_total", NULL,
                                    "Index entries read for that.");
    s->seconds =
        cs_metrics_histogram(metrics, "crmsync_index_scan_seconds", NULL, "One such reading.",
                             seconds, sizeof(seconds) / sizeof(seconds[0]));
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->change, &attr);
    pthread_condattr_destroy(&attr);
    r = -pthread_create(&s->thread, NULL, run, s);
    if (r < 0) {
        cs_index_scan_free(s);
        return r;
    }
    s->started = true;
    *ret = s;
    return 0;
}

void cs_index_scan_free(struct cs_index_scan *s)
{
    if (s == NULL)
        return;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->stop = true;
        if (s->reader != NULL)
            cs_kafka_read_cancel(s->reader);
        pthread_cond_broadcast(&s->change);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    while (s->asks != NULL) {
        struct cs_index_ask *a = s->asks;

        s->asks = a->next;
        ask_free(a);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->change);
    free(s);
}
