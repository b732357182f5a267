/* limits.c - four at a time, ten thousand in ten minutes; and who kept to it. */
#include "limits.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf.h"

#define SLOTS   64
#define BUCKETS 60
/* A request that was under way when its neighbour was told to wait is not an early one. */
#define EARLY_GRACE_MS 250

struct holder {
    uint64_t serial; /* 0: free */
    int fd;
};

struct sim_limit {
    struct holder holder[SLOTS];
    unsigned active, peak;
    uint64_t bucket[BUCKETS];
    int64_t bucket_no; /* number of the newest bucket */
    uint64_t in_window;
    int64_t hold_from_ms, hold_until_ms; /* monotonic */
    uint64_t requests, throttled, early, items, bytes, by_endpoint[SIM_ENDPOINTS], by_class[6];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t next_serial = 1;

static const char *const endpoint_names[SIM_ENDPOINTS] = {
    "folders",     "folder_delta", "messages",       "message", "messages_delta",
    "attachments", "calendar",     "calendar_delta", "other"};

static int64_t mono_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t sim_limit_now_ms(void)
{
    return mono_ms();
}

void sim_limits_init(struct sim *sim)
{
    for (size_t i = 0; i < sim->n_mailboxes; i++)
        sim->mailboxes[i].limit = sim_alloc(1, sizeof(struct sim_limit));
}

void sim_limits_clear(struct sim *sim)
{
    for (size_t i = 0; i < sim->n_mailboxes; i++)
        free(sim->mailboxes[i].limit);
}

bool sim_client_wait(int fd, int64_t wait_ms)
{
    int64_t until = mono_ms() + wait_ms;
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};

    for (;;) {
        int64_t left = until - mono_ms();
        int r;

        if (fd < 0 && left <= 0)
            return true;
        r = poll(&p, 1, left > 0 ? (int)left : 0);
        if (r > 0 && fd >= 0)
            return (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) == 0;
        if (left <= 0)
            return true;
    }
}

/* Slots of clients that are gone come back. */
static void reap(struct sim_limit *l)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (l->holder[i].serial != 0 && l->holder[i].fd >= 0 &&
            !sim_client_wait(l->holder[i].fd, 0)) {
            l->holder[i].serial = 0;
            l->active--;
        }
    }
}

static void advance(struct sim_limit *l, int64_t bucket_no)
{
    if (bucket_no - l->bucket_no > BUCKETS)
        l->bucket_no = bucket_no - BUCKETS;
    while (l->bucket_no < bucket_no) {
        uint64_t *b = &l->bucket[++l->bucket_no % BUCKETS];

        l->in_window -= *b;
        *b = 0;
    }
}

/* Seconds until enough of the window has passed. */
static unsigned window_wait_s(const struct sim_limit *l, const struct sim_conf *conf)
{
    uint64_t left = l->in_window;
    int64_t width = conf->limit_window_ms / BUCKETS > 0 ? conf->limit_window_ms / BUCKETS : 1;

    for (int64_t i = 1; i <= BUCKETS; i++) {
        left -= l->bucket[(l->bucket_no + i) % BUCKETS];
        if (left < conf->limit_requests)
            return (unsigned)(i * width / 1000 + 1);
    }
    return (unsigned)(conf->limit_window_ms / 1000 + 1);
}

static void refuse(struct sim_limit *l, struct sim_answer *ans, const char *message,
                   unsigned wait_s, int64_t now)
{
    char text[16];

    sim_answer_error(ans, 429, "ApplicationThrottled", message);
    snprintf(text, sizeof(text), "%u", wait_s);
    sim_answer_header(ans, "Retry-After", text);
    l->throttled++;
    if (now + (int64_t)wait_s * 1000 > l->hold_until_ms) {
        l->hold_from_ms = now;
        l->hold_until_ms = now + (int64_t)wait_s * 1000;
    }
}

bool sim_limit_enter(struct sim_mailbox *mb, int fd, int64_t arrived_ms, enum sim_endpoint endpoint,
                     struct sim_answer *ans, struct sim_slot *slot)
{
    const struct sim_conf *conf = mb->sim->conf;
    struct sim_limit *l = mb->limit;
    int64_t now = mono_ms(),
            width = conf->limit_window_ms / BUCKETS > 0 ? conf->limit_window_ms / BUCKETS : 1;
    bool ok = false;

    slot->mb = NULL;
    pthread_mutex_lock(&lock);
    l->requests++;
    l->by_endpoint[endpoint]++;
    if (arrived_ms < l->hold_until_ms && arrived_ms > l->hold_from_ms + EARLY_GRACE_MS)
        l->early++;
    advance(l, now / width);
    l->bucket[l->bucket_no % BUCKETS]++; /* refused requests count as well */
    l->in_window++;
    if (l->active >= conf->limit_concurrency)
        reap(l);
    if (l->in_window > conf->limit_requests) {
        refuse(l, ans, "Application is over its MailboxRequests limit.", window_wait_s(l, conf),
               now);
        goto out;
    }
    if (l->active >= conf->limit_concurrency || l->active == SLOTS) {
        /* the refused one is there too: that is what tests want to see */
        if (l->active + 1 > l->peak)
            l->peak = l->active + 1;
        refuse(l, ans, "Application is over its MailboxConcurrency limit.", conf->retry_after_s,
               now);
        goto out;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        if (l->holder[i].serial == 0) {
            l->holder[i].serial = slot->serial = next_serial++;
            l->holder[i].fd = fd;
            slot->mb = mb;
            break;
        }
    }
    if (++l->active > l->peak)
        l->peak = l->active;
    ok = true;
out:
    pthread_mutex_unlock(&lock);
    return ok;
}

void sim_limit_leave(struct sim_slot *slot)
{
    struct sim_limit *l;

    if (slot->mb == NULL)
        return;
    l = slot->mb->limit;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < SLOTS; i++) {
        if (l->holder[i].serial == slot->serial) {
            l->holder[i].serial = 0;
            l->active--;
        }
    }
    pthread_mutex_unlock(&lock);
    slot->mb = NULL;
}

void sim_limit_held(struct sim_mailbox *mb, int status, int64_t wait_ms)
{
    struct sim_limit *l = mb->limit;
    int64_t now = mono_ms();

    pthread_mutex_lock(&lock);
    if (status == 429)
        l->throttled++;
    if (now + wait_ms > l->hold_until_ms) {
        l->hold_from_ms = now;
        l->hold_until_ms = now + wait_ms;
    }
    pthread_mutex_unlock(&lock);
}

void sim_limit_answered(struct sim_mailbox *mb, int status, size_t items, size_t bytes)
{
    struct sim_limit *l = mb->limit;

    pthread_mutex_lock(&lock);
    l->by_class[status / 100 % 6]++;
    l->items += items;
    l->bytes += bytes;
    pthread_mutex_unlock(&lock);
}

void sim_limits_write(struct sim *sim, struct sim_jw *w)
{
    sim_jw_key(w, "mailboxes");
    sim_jw_open(w, '{');
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < sim->n_mailboxes; i++) {
        const struct sim_limit *l = sim->mailboxes[i].limit;

        sim_jw_key(w, sim->mailboxes[i].address);
        sim_jw_open(w, '{');
        sim_jw_kint(w, "requests", (int64_t)l->requests);
        sim_jw_kint(w, "active", l->active);
        sim_jw_kint(w, "peak_concurrency", l->peak);
        sim_jw_kint(w, "throttled", (int64_t)l->throttled);
        sim_jw_kint(w, "early_requests", (int64_t)l->early);
        sim_jw_kint(w, "items", (int64_t)l->items);
        sim_jw_kint(w, "bytes", (int64_t)l->bytes);
        sim_jw_key(w, "by_endpoint");
        sim_jw_open(w, '{');
        for (int e = 0; e < SIM_ENDPOINTS; e++)
            sim_jw_kint(w, endpoint_names[e], (int64_t)l->by_endpoint[e]);
        sim_jw_close(w, '}');
        sim_jw_key(w, "by_status");
        sim_jw_open(w, '{');
        sim_jw_kint(w, "2xx", (int64_t)l->by_class[2]);
        sim_jw_kint(w, "3xx", (int64_t)l->by_class[3]);
        sim_jw_kint(w, "4xx", (int64_t)l->by_class[4]);
        sim_jw_kint(w, "5xx", (int64_t)l->by_class[5]);
        sim_jw_close(w, '}');
        sim_jw_close(w, '}');
    }
    pthread_mutex_unlock(&lock);
    sim_jw_close(w, '}');
}

void sim_limits_reset(struct sim *sim)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < sim->n_mailboxes; i++) {
        struct sim_limit *l = sim->mailboxes[i].limit;

        l->requests = l->throttled = l->early = l->items = l->bytes = 0;
        l->peak = l->active;
        memset(l->by_endpoint, 0, sizeof(l->by_endpoint));
        memset(l->by_class, 0, sizeof(l->by_class));
        memset(l->bucket, 0, sizeof(l->bucket));
        l->in_window = 0;
        l->hold_from_ms = l->hold_until_ms = 0;
    }
    pthread_mutex_unlock(&lock);
}
