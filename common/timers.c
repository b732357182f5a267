#include "common/timers.h"

#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"

struct cs_timers {
    struct cs_timer **heap; /* a binary heap, 1-based: heap[0] is not used */
    size_t n;
    size_t cap; /* places, heap[0] included */
};

int cs_timers_new(struct cs_timers **ret)
{
    struct cs_timers *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    *ret = t;
    return 0;
}

void cs_timers_free(struct cs_timers *t)
{
    if (t == NULL)
        return;
    for (size_t i = 1; i <= t->n; i++)
        t->heap[i]->index = 0;
    free(t->heap);
    free(t);
}

static void put(struct cs_timers *t, size_t i, struct cs_timer *timer)
{
    t->heap[i] = timer;
    timer->index = i;
}

/* Moves a timer from place i to where its due time belongs. */
static void settle(struct cs_timers *t, size_t i, struct cs_timer *timer)
{
    while (i > 1 && t->heap[i / 2]->due_ms > timer->due_ms) {
        put(t, i, t->heap[i / 2]);
        i /= 2;
    }
    for (;;) {
        size_t child = i * 2;
        if (child > t->n)
            break;
        if (child < t->n && t->heap[child + 1]->due_ms < t->heap[child]->due_ms)
            child++;
        if (t->heap[child]->due_ms >= timer->due_ms)
            break;
        put(t, i, t->heap[child]);
        i = child;
    }
    put(t, i, timer);
}

int cs_timer_start(struct cs_timers *t, struct cs_timer *timer, int64_t due_ms)
{
    if (timer->index == 0) {
        if (t->n + 1 >= t->cap) {
            size_t cap = t->cap == 0 ? 64 : t->cap * 2;
            struct cs_timer **heap = realloc(t->heap, cap * sizeof(*heap));
            if (heap == NULL)
                return -ENOMEM;
            t->heap = heap;
            t->cap = cap;
        }
        put(t, ++t->n, timer);
    }
    timer->due_ms = due_ms;
    settle(t, timer->index, timer);
    return 0;
}

void cs_timer_cancel(struct cs_timers *t, struct cs_timer *timer)
{
    size_t i = timer->index;

    if (i == 0)
        return;
    timer->index = 0;
    struct cs_timer *last = t->heap[t->n--];
    if (last != timer)
        settle(t, i, last);
}

bool cs_timer_is_started(const struct cs_timer *timer)
{
    return timer->index != 0;
}

struct cs_timer *cs_timers_next_due(struct cs_timers *t, int64_t now_ms)
{
    if (t->n == 0 || t->heap[1]->due_ms > now_ms)
        return NULL;
    struct cs_timer *timer = t->heap[1];
    cs_timer_cancel(t, timer);
    return timer;
}

int64_t cs_timers_next_ms(const struct cs_timers *t)
{
    return t->n == 0 ? CS_NEVER : t->heap[1]->due_ms;
}

size_t cs_timers_count(const struct cs_timers *t)
{
    return t->n;
}
