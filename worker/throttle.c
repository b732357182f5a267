#include "worker/throttle.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

struct box {
    char *mailbox;
    unsigned used;
    int64_t hold_until_ms; /* 0: none */
};

struct cs_throttle {
    void *root; /* tsearch(3) tree of struct box */
    struct box **all;
    size_t n, cap;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct box *)a)->mailbox, ((const struct box *)b)->mailbox);
}

int cs_throttle_new(struct cs_throttle **ret)
{
    *ret = calloc(1, sizeof(**ret));
    return *ret != NULL ? 0 : -ENOMEM;
}

static void drop(struct cs_throttle *t, size_t i)
{
    struct box *e = t->all[i];

    tdelete(e, &t->root, compare);
    t->all[i] = t->all[--t->n];
    free(e->mailbox);
    free(e);
}

void cs_throttle_free(struct cs_throttle *t)
{
    if (t == NULL)
        return;
    while (t->n > 0)
        drop(t, t->n - 1);
    free(t->all);
    free(t);
}

static struct box *find(struct cs_throttle *t, const char *mailbox)
{
    union {
        const char *in;
        char *out;
    } key = {.in = mailbox};
    struct box probe = {.mailbox = key.out};
    void *node = tfind(&probe, &t->root, compare);

    return node != NULL ? *(struct box **)node : NULL;
}

static struct box *find_or_add(struct cs_throttle *t, const char *mailbox)
{
    struct box *e = find(t, mailbox);

    if (e != NULL)
        return e;
    if (t->n == t->cap) {
        size_t cap = t->cap > 0 ? t->cap * 2 : 64;
        struct box **all = realloc(t->all, cap * sizeof(*all));

        if (all == NULL)
            return NULL;
        t->all = all;
        t->cap = cap;
    }
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return NULL;
    e->mailbox = strdup(mailbox);
    if (e->mailbox == NULL || tsearch(e, &t->root, compare) == NULL) {
        free(e->mailbox);
        free(e);
        return NULL;
    }
    t->all[t->n++] = e;
    return e;
}

int cs_throttle_take(struct cs_throttle *t, const char *mailbox, unsigned slots, int64_t now_ms,
                     int64_t *wait_ms)
{
    struct box *e;

    if (slots == 0 || slots > CS_THROTTLE_SLOTS)
        return -EINVAL;
    e = find_or_add(t, mailbox);
    if (e == NULL)
        return -ENOMEM;
    if (e->hold_until_ms > now_ms) {
        *wait_ms = e->hold_until_ms - now_ms;
        return -EAGAIN;
    }
    if (e->used + slots > CS_THROTTLE_SLOTS) {
        *wait_ms = CS_NEVER;
        return -EAGAIN;
    }
    e->used += slots;
    return 0;
}

void cs_throttle_release(struct cs_throttle *t, const char *mailbox, unsigned slots)
{
    struct box *e = find(t, mailbox);

    assert(e != NULL && e->used >= slots);
    e->used -= slots;
}

void cs_throttle_hold(struct cs_throttle *t, const char *mailbox, int64_t until_ms)
{
    struct box *e = find_or_add(t, mailbox);

    if (e != NULL && e->hold_until_ms < until_ms)
        e->hold_until_ms = until_ms;
}

void cs_throttle_sweep(struct cs_throttle *t, int64_t now_ms)
{
    for (size_t i = t->n; i > 0; i--)
        if (t->all[i - 1]->used == 0 && t->all[i - 1]->hold_until_ms <= now_ms)
            drop(t, i - 1);
}

size_t cs_throttle_count(const struct cs_throttle *t)
{
    return t->n;
}
