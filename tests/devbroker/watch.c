#include "watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define REQUEST_TIMEOUT_MS 1000
#define STOP_TIMEOUT_S     3

struct watch {
    rd_kafka_t *rk; /* borrowed */
    int interval_ms;
    watch_fn on_move;
    void *user;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    bool stopping;
    rd_kafka_topic_partition_list_t *known; /* offset: the start last seen */
};

static void deadline(clockid_t clock, int64_t ms, struct timespec *ret)
{
    (void)clock_gettime(clock, ret); /* cannot fail for a clock that exists */
    ret->tv_sec += ms / 1000;
    ret->tv_nsec += (ms % 1000) * 1000000;
    if (ret->tv_nsec >= 1000000000) {
        ret->tv_sec++;
        ret->tv_nsec -= 1000000000;
    }
}

/* Keeps the highest start seen, says what is new. */
static void note(struct watch *w, const rd_kafka_topic_partition_t *seen)
{
    rd_kafka_topic_partition_t *have;
    bool moved = false;

    pthread_mutex_lock(&w->lock);
    have = rd_kafka_topic_partition_list_find(w->known, seen->topic, seen->partition);
    if (have != NULL && seen->offset > have->offset) {
        have->offset = seen->offset;
        moved = true;
    }
    pthread_mutex_unlock(&w->lock);
    if (moved)
        w->on_move(w->user, seen->topic, seen->partition, seen->offset);
}

static void look(struct watch *w)
{
    rd_kafka_topic_partition_list_t *ask;
    int i;

    pthread_mutex_lock(&w->lock);
    ask = rd_kafka_topic_partition_list_copy(w->known);
    pthread_mutex_unlock(&w->lock);
    /* "the offset at time -2" is the log's start; the call asks each leader once for all of them */
    for (i = 0; i < ask->cnt; i++)
        ask->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
    /* an error is a broker that a test took down, or a leader that just moved: the next turn asks again */
    if (ask->cnt > 0 &&
        rd_kafka_offsets_for_times(w->rk, ask, REQUEST_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (i = 0; i < ask->cnt; i++) {
            if (ask->elems[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
                note(w, &ask->elems[i]);
        }
    }
    rd_kafka_topic_partition_list_destroy(ask);
}

static void *run(void *arg)
{
    struct watch *w = arg;
    struct timespec until;
    bool stopping = false;

    while (!stopping) {
        look(w);
        deadline(CLOCK_MONOTONIC, w->interval_ms, &until);
        pthread_mutex_lock(&w->lock);
        while (!w->stopping && pthread_cond_timedwait(&w->wake, &w->lock, &until) != ETIMEDOUT)
            ;
        stopping = w->stopping;
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

static void watch_free(struct watch *w)
{
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    rd_kafka_topic_partition_list_destroy(w->known);
    free(w);
}

int watch_start(rd_kafka_t *rk, int interval_ms, watch_fn on_move, void *user, struct watch **ret)
{
    struct watch *w = calloc(1, sizeof(*w));
    pthread_condattr_t attr;
    int err;

    if (w == NULL)
        return -ENOMEM;
    w->rk = rk;
    w->interval_ms = interval_ms;
    w->on_move = on_move;
    w->user = user;
    w->known = rd_kafka_topic_partition_list_new(64);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    err = pthread_create(&w->thread, NULL, run, w);
    if (err != 0) {
        watch_free(w);
        return -err;
    }
    *ret = w;
    return 0;
}

void watch_add(struct watch *w, const char *topic, int partitions)
{
    int32_t p;

    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    for (p = 0; p < partitions; p++)
        rd_kafka_topic_partition_list_add(w->known, topic, p)->offset = 0;
    pthread_mutex_unlock(&w->lock);
}

bool watch_stop(struct watch *w)
{
    struct timespec until;

    if (w == NULL)
        return true;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    /* with every broker down librdkafka may overrun the time it was given */
    deadline(CLOCK_REALTIME, STOP_TIMEOUT_S * 1000, &until);
    if (pthread_timedjoin_np(w->thread, NULL, &until) != 0)
        return false;
    watch_free(w);
    return true;
}
