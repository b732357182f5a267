#include "producer/schedule.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"

/* The ready mailboxes of one tenant in one lane of one partition. While it has any it is in the
 * lane's ring; it is kept when it empties, since it fills again with the next poll. */
struct cs_sched_queue {
    struct cs_timers *due;
    struct cs_sched_queue *next, *prev; /* the ring; NULL: not in it */
};

struct lane {
    struct cs_sched_queue **queues; /* by tenant number; grown on demand */
    size_t n_queues;
    struct cs_sched_queue *head; /* whose turn it is */
};

struct partition {
    struct lane lanes[CS_LANE_COUNT_];
    unsigned out;        /* all lanes */
    unsigned out_behind; /* backfill, replay, audit */
    size_t ready;
};

struct cs_schedule {
    struct partition *partitions;
    int32_t n;
    int32_t turn; /* the partition that is asked first */
    unsigned places;
    struct cs_timers *wake;
    size_t ready[CS_LANE_COUNT_];
    size_t out[CS_LANE_COUNT_];
};

#define ENTRY_OF(timer, member) \
    ((struct cs_sched_entry *)(void *)((char *)(timer)-offsetof(struct cs_sched_entry, member)))

int cs_schedule_new(int32_t partitions, struct cs_schedule **ret)
{
    struct cs_schedule *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->partitions = calloc((size_t)partitions, sizeof(*s->partitions));
    if (s->partitions == NULL || cs_timers_new(&s->wake) < 0) {
        free(s->partitions);
        free(s);
        return -ENOMEM;
    }
    s->n = partitions;
    s->places = 8;
    *ret = s;
    return 0;
}

void cs_schedule_free(struct cs_schedule *s)
{
    if (s == NULL)
        return;
    for (int32_t p = 0; p < s->n; p++)
        for (int l = 0; l < CS_LANE_COUNT_; l++) {
            struct lane *lane = &s->partitions[p].lanes[l];

            for (size_t i = 0; i < lane->n_queues; i++)
                if (lane->queues[i] != NULL) {
                    cs_timers_free(lane->queues[i]->due);
                    free(lane->queues[i]);
                }
            free(lane->queues);
        }
    cs_timers_free(s->wake);
    free(s->partitions);
    free(s);
}

void cs_schedule_set_places(struct cs_schedule *s, unsigned per_partition)
{
    s->places = per_partition > 0 ? per_partition : 1;
}

static bool is_behind(enum cs_lane lane)
{
    return lane > CS_LANE_LIVE;
}

/* How many places the lanes behind live may have: with one place there is none to keep. */
static unsigned places_behind(const struct cs_schedule *s)
{
    unsigned kept = s->places / 4 > 0 ? s->places / 4 : 1;

    return s->places > 1 ? s->places - kept : 1;
}

static void ring_add(struct lane *lane, struct cs_sched_queue *q)
{
    if (q->next != NULL)
        return;
    if (lane->head == NULL) {
        q->next = q->prev = q;
        lane->head = q;
        return;
    }
    q->next = lane->head; /* behind everyone else: its turn comes last */
    q->prev = lane->head->prev;
    q->prev->next = q;
    lane->head->prev = q;
}

static void ring_remove(struct lane *lane, struct cs_sched_queue *q)
{
    if (q->next == NULL)
        return;
    if (q->next == q) {
        lane->head = NULL;
    } else {
        q->prev->next = q->next;
        q->next->prev = q->prev;
        if (lane->head == q)
            lane->head = q->next;
    }
    q->next = q->prev = NULL;
}

static struct cs_sched_queue *queue_of(struct lane *lane, uint32_t tenant)
{
    struct cs_sched_queue *q;

    if (tenant >= lane->n_queues) {
        size_t n = lane->n_queues * 2 > tenant + 8 ? lane->n_queues * 2 : (size_t)tenant + 8;
        struct cs_sched_queue **queues = realloc(lane->queues, n * sizeof(*queues));

        if (queues == NULL)
            return NULL;
        for (size_t i = lane->n_queues; i < n; i++)
            queues[i] = NULL;
        lane->queues = queues;
        lane->n_queues = n;
    }
    q = lane->queues[tenant];
    if (q != NULL)
        return q;
    q = calloc(1, sizeof(*q));
    if (q == NULL || cs_timers_new(&q->due) < 0) {
        free(q);
        return NULL;
    }
    lane->queues[tenant] = q;
    return q;
}

/* Out of the ready queue, wherever else it stands. */
static void unready(struct cs_schedule *s, struct cs_sched_entry *e)
{
    struct partition *p = &s->partitions[e->partition];

    if (e->place != CS_SCHED_READY)
        return;
    cs_timer_cancel(e->queue->due, &e->ready);
    if (cs_timers_count(e->queue->due) == 0)
        ring_remove(&p->lanes[e->lane], e->queue);
    e->queue = NULL;
    p->ready--;
    s->ready[e->lane]--;
    e->place = CS_SCHED_IDLE;
}

static void release(struct cs_schedule *s, struct cs_sched_entry *e)
{
    struct partition *p = &s->partitions[e->partition];

    if (e->place != CS_SCHED_OUT)
        return;
    p->out--;
    if (is_behind(e->lane))
        p->out_behind--;
    s->out[e->lane]--;
    e->place = CS_SCHED_IDLE;
}

void cs_schedule_remove(struct cs_schedule *s, struct cs_sched_entry *e)
{
    unready(s, e);
    release(s, e);
    cs_timer_cancel(s->wake, &e->wake);
    e->place = CS_SCHED_IDLE;
}

int cs_schedule_wait(struct cs_schedule *s, struct cs_sched_entry *e, int64_t wake_ms)
{
    if (wake_ms != CS_NEVER && cs_timer_start(s->wake, &e->wake, wake_ms) < 0)
        return -ENOMEM;
    if (wake_ms == CS_NEVER)
        cs_timer_cancel(s->wake, &e->wake);
    unready(s, e);
    if (e->place != CS_SCHED_OUT) /* the outstanding one keeps its place while it is watched */
        e->place = wake_ms == CS_NEVER ? CS_SCHED_IDLE : CS_SCHED_WAITING;
    return 0;
}

int cs_schedule_ready(struct cs_schedule *s, struct cs_sched_entry *e, enum cs_lane lane,
                      int64_t due_ms, int64_t wake_ms)
{
    struct partition *p = &s->partitions[e->partition];
    struct cs_sched_queue *q = queue_of(&p->lanes[lane], e->tenant);
    bool had_wake = cs_timer_is_started(&e->wake);
    int64_t wake_before = e->wake.due_ms;

    assert(e->place != CS_SCHED_OUT);
    if (q == NULL || (wake_ms != CS_NEVER && cs_timer_start(s->wake, &e->wake, wake_ms) < 0))
        return -ENOMEM;
    if (e->place == CS_SCHED_READY && e->queue == q) {
        (void)cs_timer_start(q->due, &e->ready, due_ms); /* started: moving cannot fail */
    } else {
        struct cs_timer ready = {0};

        /* room first, so that a failure leaves the entry where it is */
        if (cs_timer_start(q->due, &ready, due_ms) < 0) {
            if (had_wake)
                (void)cs_timer_start(s->wake, &e->wake, wake_before);
            else
                cs_timer_cancel(s->wake, &e->wake);
            return -ENOMEM;
        }
        cs_timer_cancel(q->due, &ready);
        unready(s, e);
        (void)cs_timer_start(q->due, &e->ready, due_ms); /* a place was just given back */
        ring_add(&p->lanes[lane], q);
        e->queue = q;
        e->lane = lane;
        e->place = CS_SCHED_READY;
        p->ready++;
        s->ready[lane]++;
    }
    if (wake_ms == CS_NEVER)
        cs_timer_cancel(s->wake, &e->wake);
    return 0;
}

void cs_schedule_out(struct cs_schedule *s, struct cs_sched_entry *e, enum cs_lane lane)
{
    struct partition *p = &s->partitions[e->partition];

    unready(s, e);
    release(s, e);
    cs_timer_cancel(s->wake, &e->wake);
    e->lane = lane;
    e->place = CS_SCHED_OUT;
    p->out++;
    if (is_behind(lane))
        p->out_behind++;
    s->out[lane]++;
}

void cs_schedule_back(struct cs_schedule *s, struct cs_sched_entry *e)
{
    release(s, e);
    cs_timer_cancel(s->wake, &e->wake);
}

struct cs_sched_entry *cs_schedule_next_due(struct cs_schedule *s, int64_t now_ms)
{
    struct cs_timer *timer = cs_timers_next_due(s->wake, now_ms);
    struct cs_sched_entry *e;

    if (timer == NULL)
        return NULL;
    e = ENTRY_OF(timer, wake);
    if (e->place == CS_SCHED_WAITING)
        e->place = CS_SCHED_IDLE;
    return e;
}

int64_t cs_schedule_next_ms(const struct cs_schedule *s)
{
    return cs_timers_next_ms(s->wake);
}

static struct cs_sched_entry *take(struct cs_schedule *s, struct partition *p)
{
    bool behind_full = p->out_behind >= places_behind(s);

    if (p->ready == 0 || p->out >= s->places)
        return NULL;
    for (int l = 0; l < CS_LANE_COUNT_; l++) {
        struct lane *lane = &p->lanes[l];
        struct cs_sched_queue *q = lane->head;
        struct cs_sched_entry *e;

        if (q == NULL || (is_behind((enum cs_lane)l) && behind_full))
            continue;
        lane->head = q->next; /* the next tenant's turn */
        e = ENTRY_OF(cs_timers_next_due(q->due, CS_NEVER), ready);
        if (cs_timers_count(q->due) == 0)
            ring_remove(lane, q);
        e->queue = NULL;
        e->place = CS_SCHED_IDLE;
        p->ready--;
        s->ready[l]--;
        cs_timer_cancel(s->wake, &e->wake);
        return e;
    }
    return NULL;
}

struct cs_sched_entry *cs_schedule_next_ready(struct cs_schedule *s)
{
    for (int32_t i = 0; i < s->n; i++) {
        int32_t at = (s->turn + i) % s->n;
        struct cs_sched_entry *e = take(s, &s->partitions[at]);

        if (e != NULL) {
            s->turn = (at + 1) % s->n;
            return e;
        }
    }
    return NULL;
}

size_t cs_schedule_count_ready(const struct cs_schedule *s, enum cs_lane lane)
{
    return s->ready[lane];
}

size_t cs_schedule_count_out(const struct cs_schedule *s, enum cs_lane lane)
{
    return s->out[lane];
}

unsigned cs_schedule_count_partition(const struct cs_schedule *s, int32_t partition)
{
    return s->partitions[partition].out;
}
