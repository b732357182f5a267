#include "worker/checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/kafka_out.h"
#include "common/uuid.h"
#include "worker/completion.h"
#include "worker/poison.h"
#include "worker/test_hooks.h"

#define PRODUCERS    2
#define INIT_MS      30000
#define COMMIT_MS    20000
#define OFFSETS_MS   10000
#define ABORT_MS     10000
#define LOOKUP_MS    20000
#define FLUSH_MS     30000
#define POISON_TRIES 3

struct partition {
    int32_t number;
    struct cs_completion *done;
    int64_t committed; /* -1: nothing yet */
    struct cs_poison poison;
};

struct cs_checkpoint {
    struct cs_checkpoint_params p;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t change; /* any of the guarded fields changed; CLOCK_MONOTONIC */

    /* guarded by lock */
    bool stop;
    struct cs_unit *waiting, **waiting_tail;
    struct cs_unit *done, **done_tail;
    size_t pending, pending_bytes;
    bool busy; /* the thread has a batch in hand */
    uint64_t epoch;
    struct partition *partitions;
    size_t n_partitions;
    struct cs_kafka_group *group;
    int32_t *asked; /* an assign that the thread has not looked up yet */
    size_t n_asked;
    bool has_asked;
    struct cs_kafka_offset *found;
    size_t n_found;
    bool has_found;
    enum cs_kafka_result state;

    /* the thread's own */
    struct cs_kafka_out *out[PRODUCERS];
    char txn_id[PRODUCERS][360];
    unsigned turn;
    unsigned failures; /* in a row, for the back-off */
    uint64_t random;

    struct cs_metric *transactions, *aborts, *unknowns, *commit_s, *batch_units, *batch_bytes;
};

static void wake(struct cs_checkpoint *c)
{
    const uint64_t one = 1;

    /* a full counter is awake already */
    (void)!write(c->p.wake_fd, &one, sizeof(one));
}

static void wait_until(struct cs_checkpoint *c, int64_t deadline_ms)
{
    struct timespec ts = {.tv_sec = deadline_ms / 1000, .tv_nsec = (deadline_ms % 1000) * 1000000};

    pthread_cond_timedwait(&c->change, &c->lock, &ts);
}

/* ---- the loop's side ------------------------------------------------------------------------------- */

/* Lock held. */
static void add_waiting(struct cs_checkpoint *c, struct cs_unit *u)
{
    u->next = NULL;
    *c->waiting_tail = u;
    c->waiting_tail = &u->next;
    c->pending++;
    c->pending_bytes += u->bytes;
    pthread_cond_broadcast(&c->change);
}

void cs_checkpoint_submit(struct cs_checkpoint *c, struct cs_unit *u)
{
    pthread_mutex_lock(&c->lock);
    add_waiting(c, u);
    pthread_mutex_unlock(&c->lock);
}

struct cs_unit *cs_checkpoint_next_done(struct cs_checkpoint *c)
{
    struct cs_unit *u;

    pthread_mutex_lock(&c->lock);
    u = c->done;
    if (u != NULL) {
        c->done = u->next;
        if (c->done == NULL)
            c->done_tail = &c->done;
        c->pending--;
        c->pending_bytes -= u->bytes;
    }
    pthread_mutex_unlock(&c->lock);
    return u;
}

size_t cs_checkpoint_pending(struct cs_checkpoint *c)
{
    size_t n;

    pthread_mutex_lock(&c->lock);
    n = c->pending;
    pthread_mutex_unlock(&c->lock);
    return n;
}

size_t cs_checkpoint_pending_bytes(struct cs_checkpoint *c)
{
    size_t n;

    pthread_mutex_lock(&c->lock);
    n = c->pending_bytes;
    pthread_mutex_unlock(&c->lock);
    return n;
}

static void forget_partitions(struct cs_checkpoint *c)
{
    for (size_t i = 0; i < c->n_partitions; i++)
        cs_completion_free(c->partitions[i].done);
    free(c->partitions);
    c->partitions = NULL;
    c->n_partitions = 0;
    cs_kafka_offsets_free(c->found, c->n_found);
    c->found = NULL;
    c->n_found = 0;
    c->has_found = false;
    free(c->asked);
    c->asked = NULL;
    c->n_asked = 0;
    c->has_asked = false;
    cs_kafka_group_free(c->group);
    c->group = NULL;
}

enum end { DROPPED, COMMITTED, REFUSED };

/* Moves a list to the loop's side. Lock held. */
static void give_back(struct cs_checkpoint *c, struct cs_unit *list, enum end end)
{
    while (list != NULL) {
        struct cs_unit *u = list;

        list = u->next;
        u->next = NULL;
        u->committed = end == COMMITTED;
        u->refused = end == REFUSED;
        *c->done_tail = u;
        c->done_tail = &u->next;
    }
    wake(c);
}

static void drop_waiting(struct cs_checkpoint *c)
{
    struct cs_unit *list = c->waiting;

    c->waiting = NULL;
    c->waiting_tail = &c->waiting;
    give_back(c, list, DROPPED);
}

int cs_checkpoint_assign(struct cs_checkpoint *c, const int32_t *partitions, size_t n,
                         struct cs_kafka_group *group)
{
    int32_t *asked = calloc(n > 0 ? n : 1, sizeof(*asked));

    if (asked == NULL) {
        cs_kafka_group_free(group);
        return -ENOMEM;
    }
    if (n > 0)
        memcpy(asked, partitions, n * sizeof(*partitions));
    pthread_mutex_lock(&c->lock);
    c->epoch++;
    forget_partitions(c);
    c->group = group;
    c->asked = asked;
    c->n_asked = n;
    c->has_asked = true;
    pthread_cond_broadcast(&c->change);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

bool cs_checkpoint_next_assigned(struct cs_checkpoint *c, struct cs_kafka_offset **ret, size_t *n)
{
    bool has;

    pthread_mutex_lock(&c->lock);
    has = c->has_found;
    if (has) {
        *ret = c->found;
        *n = c->n_found;
        c->found = NULL;
        c->n_found = 0;
        c->has_found = false;
    }
    pthread_mutex_unlock(&c->lock);
    return has;
}

/* Gives back in order what was opened. Without memory it looks like a death, of which one harms nobody. Lock held. */
static void submit_closings(struct cs_checkpoint *c)
{
    for (size_t i = 0; i < c->n_partitions; i++) {
        const struct partition *p = &c->partitions[i];
        struct cs_unit *u =
            p->poison.open ? cs_unit_new_mark(p->number, p->committed, CS_MARK_CLOSE) : NULL;

        if (u == NULL)
            continue;
        u->epoch = c->epoch;
        add_waiting(c, u);
    }
}

void cs_checkpoint_revoke(struct cs_checkpoint *c, bool lost, int timeout_ms)
{
    int64_t deadline_ms = cs_clock_mono_ms() + timeout_ms;

    pthread_mutex_lock(&c->lock);
    if (!lost && c->state == CS_KAFKA_OK)
        submit_closings(c);
    while (!lost && (c->waiting != NULL || c->busy) && c->state == CS_KAFKA_OK &&
           cs_clock_mono_ms() < deadline_ms)
        wait_until(c, deadline_ms);
    c->epoch++;
    drop_waiting(c);
    forget_partitions(c);
    pthread_cond_broadcast(&c->change);
    pthread_mutex_unlock(&c->lock);
}

uint64_t cs_checkpoint_epoch(struct cs_checkpoint *c)
{
    uint64_t epoch;

    pthread_mutex_lock(&c->lock);
    epoch = c->epoch;
    pthread_mutex_unlock(&c->lock);
    return epoch;
}

static struct partition *find_partition(struct cs_checkpoint *c, int32_t number)
{
    for (size_t i = 0; i < c->n_partitions; i++)
        if (c->partitions[i].number == number)
            return &c->partitions[i];
    return NULL;
}

int cs_checkpoint_deliver(struct cs_checkpoint *c, int32_t partition, int64_t offset)
{
    struct partition *p;
    int r;

    pthread_mutex_lock(&c->lock);
    p = find_partition(c, partition);
    r = p != NULL ? cs_completion_deliver(p->done, offset) : -ESTALE;
    pthread_mutex_unlock(&c->lock);
    return r;
}

bool cs_checkpoint_is_owed(struct cs_checkpoint *c, int32_t partition, int64_t offset)
{
    struct partition *p;
    bool owed;

    pthread_mutex_lock(&c->lock);
    p = find_partition(c, partition);
    owed = p != NULL && !cs_completion_is_finished(p->done, offset);
    pthread_mutex_unlock(&c->lock);
    return owed;
}

enum cs_permit cs_checkpoint_permit(struct cs_checkpoint *c, int32_t partition, int64_t offset)
{
    enum cs_permit permit = CS_PERMIT_OPEN;
    const struct partition *p;

    pthread_mutex_lock(&c->lock);
    p = find_partition(c, partition);
    if (p != NULL)
        permit = cs_poison_is_guilty(&p->poison, offset)    ? CS_PERMIT_GUILTY
                 : cs_poison_is_suspect(&p->poison, offset) ? CS_PERMIT_SUSPECT
                 : p->poison.open                           ? CS_PERMIT_START
                                                            : CS_PERMIT_OPEN;
    pthread_mutex_unlock(&c->lock);
    return permit;
}

bool cs_checkpoint_is_full(struct cs_checkpoint *c)
{
    bool full = false;

    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n_partitions && !full; i++)
        full = cs_completion_is_full(c->partitions[i].done);
    pthread_mutex_unlock(&c->lock);
    return full;
}

enum cs_kafka_result cs_checkpoint_state(struct cs_checkpoint *c)
{
    enum cs_kafka_result state;

    pthread_mutex_lock(&c->lock);
    state = c->state;
    pthread_mutex_unlock(&c->lock);
    return state;
}

/* What goes on failing is said a few times, then about once a minute. */
#define warn_some(c, ...)                                                                          \
    CS_LOG_((c)->p.log, (c)->failures < 3 || (c)->failures % 20 == 0 ? CS_LOG_WARN : CS_LOG_DEBUG, \
            __VA_ARGS__, CS_FIELD_END)

/* ---- the thread's side ----------------------------------------------------------------------------- */

static bool is_transactional(const struct cs_checkpoint *c)
{
    return c->p.conf->kafka_delivery == CS_EXACTLY_ONCE;
}

/* Waits a back-off, or until the epoch moves or the end. */
static void pause_after_failure(struct cs_checkpoint *c, uint64_t epoch)
{
    int64_t deadline_ms;

    c->random = cs_mix64(c->random + 1);
    c->failures++;
    deadline_ms = cs_clock_mono_ms() +
                  cs_backoff_ms(c->failures > 16 ? 16 : c->failures, 50, 3000, c->random);
    pthread_mutex_lock(&c->lock);
    while (!c->stop && c->epoch == epoch && cs_clock_mono_ms() < deadline_ms)
        wait_until(c, deadline_ms);
    pthread_mutex_unlock(&c->lock);
}

static bool is_current(struct cs_checkpoint *c, uint64_t epoch)
{
    bool current;

    pthread_mutex_lock(&c->lock);
    current = !c->stop && c->epoch == epoch && c->state == CS_KAFKA_OK;
    pthread_mutex_unlock(&c->lock);
    return current;
}

static void set_fenced(struct cs_checkpoint *c)
{
    pthread_mutex_lock(&c->lock);
    c->state = CS_KAFKA_FENCED;
    pthread_cond_broadcast(&c->change);
    pthread_mutex_unlock(&c->lock);
    wake(c);
}

static void drop_producer(struct cs_checkpoint *c, unsigned i)
{
    cs_kafka_out_free(c->out[i]);
    c->out[i] = NULL;
}

/* A ready producer, or NULL after a failed try. */
static struct cs_kafka_out *producer(struct cs_checkpoint *c, unsigned i)
{
    struct cs_conf_error err;
    enum cs_kafka_result r;
    int rc;

    if (c->out[i] != NULL)
        return c->out[i];
    rc = cs_kafka_out_new(c->p.conf, is_transactional(c) ? c->txn_id[i] : NULL, c->p.log,
                          &c->out[i], &err);
    if (rc < 0) {
        cs_log_error(c->p.log, "kafka.producer_refused",
                     CS_STR("reason", rc == -EINVAL ? err.text : strerror(-rc)));
        return NULL;
    }
    r = cs_kafka_out_init(c->out[i], INIT_MS);
    if (r == CS_KAFKA_OK)
        return c->out[i];
    warn_some(c, "kafka.producer_not_ready", CS_STR("result", cs_kafka_result_name(r)),
              CS_STR("error", cs_kafka_out_error(c->out[i])));
    if (r == CS_KAFKA_FENCED)
        set_fenced(c);
    drop_producer(c, i);
    return NULL;
}

static void trace_parent(const char *job_id, const char *ce_id, char out[64])
{
    char hex[33];
    size_t n = 0;

    for (const char *p = job_id; *p != '\0' && n < 32; p++)
        if (*p != '-')
            hex[n++] = *p;
    hex[n] = '\0';
    if (n == 32 && strlen(ce_id) >= 16)
        snprintf(out, 64, "00-%s-%.16s-01", hex, ce_id);
    else
        out[0] = '\0';
}

/* A dead letter has its original's key, whatever that was. */
static bool is_printable(const char *key, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (key[i] < 0x20 || key[i] == 0x7f)
            return false;
    return n > 0;
}

/* One message. Nothing is copied: the unit outlives the transaction. */
static enum cs_kafka_result produce(struct cs_checkpoint *c, struct cs_kafka_out *out,
                                    const struct cs_unit *u, const struct cs_outbound *m)
{
    char time[CS_TIME_TEXT], trace[64];
    struct cs_kafka_header headers[8];
    enum cs_kafka_result r;
    size_t n = 0;

    cs_time_format(cs_clock_utc_ms(), time);
    trace_parent(u->trace, m->ce_id, trace);
    headers[n++] = (struct cs_kafka_header){"ce_specversion", "1.0"};
    headers[n++] = (struct cs_kafka_header){"ce_id", m->ce_id};
    headers[n++] = (struct cs_kafka_header){"ce_type", m->ce_type};
    headers[n++] = (struct cs_kafka_header){"ce_source", "crmsync-worker"};
    if (is_printable(m->key, m->key_len))
        headers[n++] = (struct cs_kafka_header){"ce_subject", m->key};
    headers[n++] = (struct cs_kafka_header){"ce_time", time};
    headers[n++] = (struct cs_kafka_header){"content-type", "application/json"};
    if (trace[0] != '\0')
        headers[n++] = (struct cs_kafka_header){"traceparent", trace};
    do
        r = cs_kafka_out_produce_borrowed(out, m->topic, u->partition, m->key, m->key_len, m->value,
                                          m->value_len, headers, n);
    while (r == CS_KAFKA_AGAIN && is_current(c, u->epoch));
    return r == CS_KAFKA_AGAIN ? CS_KAFKA_ABORT : r;
}

static enum cs_kafka_result produce_stage(struct cs_checkpoint *c, struct cs_kafka_out *out,
                                          const struct cs_unit *batch, int stage)
{
    for (const struct cs_unit *u = batch; u != NULL; u = u->next)
        for (size_t i = 0; i < u->n[stage]; i++) {
            enum cs_kafka_result r = produce(c, out, u, &u->messages[stage][i]);

            if (r != CS_KAFKA_OK)
                return r;
        }
    return CS_KAFKA_OK;
}

/* Marks the batch finished (or takes that back) in the maps. Lock held. */
static void mark(struct cs_checkpoint *c, const struct cs_unit *batch, bool finished)
{
    for (const struct cs_unit *u = batch; u != NULL; u = u->next) {
        struct partition *p = find_partition(c, u->partition);

        if (p != NULL && u->mark == CS_MARK_NONE)
            cs_completion_mark(p->done, u->offset, finished);
    }
}

static bool touches(const struct cs_unit *batch, const struct partition *p)
{
    for (const struct cs_unit *u = batch; u != NULL; u = u->next)
        if (u->partition == p->number)
            return true;
    return false;
}

/* The evidence as it is with this batch, whose offset is committed. The same each time, as long as the batch is not
 * settled: it may be written again after a commit of unknown result. */
static struct cs_poison with_batch(const struct partition *p, const struct cs_unit *batch,
                                   int64_t committed)
{
    struct cs_poison next = p->poison;

    cs_poison_committed(&next, p->committed, committed,
                        next.claimed >= 0 && cs_completion_is_finished(p->done, next.claimed));
    for (const struct cs_unit *u = batch; u != NULL; u = u->next) {
        if (u->partition != p->number)
            continue;
        switch (u->mark) {
        case CS_MARK_NONE: break;
        case CS_MARK_OPEN: cs_poison_open(&next); break;
        case CS_MARK_CLAIM: cs_poison_claim(&next, u->offset); break;
        case CS_MARK_CLOSE: cs_poison_close(&next); break;
        }
    }
    return next;
}

/* Offsets and maps of the partitions that the batch touches, as they will be when it is committed. */
static int collect_offsets(struct cs_checkpoint *c, const struct cs_unit *batch,
                           struct cs_kafka_offset **ret, size_t *ret_n)
{
    struct cs_kafka_offset *offsets;
    size_t n = 0;
    int r = 0;

    pthread_mutex_lock(&c->lock);
    offsets = calloc(c->n_partitions > 0 ? c->n_partitions : 1, sizeof(*offsets));
    if (offsets == NULL || c->epoch != batch->epoch) {
        pthread_mutex_unlock(&c->lock);
        free(offsets);
        return offsets == NULL ? -ENOMEM : -ESTALE;
    }
    mark(c, batch, true);
    for (size_t i = 0; i < c->n_partitions && r == 0; i++) {
        const struct partition *p = &c->partitions[i];
        struct cs_poison poison;
        struct cs_buf map;

        if (!touches(batch, p))
            continue;
        cs_buf_init(&map, 0);
        offsets[n].topic = CS_TOPIC_JOBS;
        offsets[n].partition = p->number;
        offsets[n].offset = cs_completion_commit(p->done, &map);
        poison = with_batch(p, batch, offsets[n].offset);
        cs_poison_print(&poison, &map);
        offsets[n].metadata = cs_buf_steal(&map, NULL);
        if (offsets[n].metadata == NULL)
            r = -ENOMEM;
        n++;
    }
    if (r < 0)
        mark(c, batch, false);
    pthread_mutex_unlock(&c->lock);
    if (r < 0 || n == 0) {
        cs_kafka_offsets_free(offsets, n);
        return r < 0 ? r : -ESTALE;
    }
    *ret = offsets;
    *ret_n = n;
    return 0;
}

static void unmark(struct cs_checkpoint *c, const struct cs_unit *batch)
{
    pthread_mutex_lock(&c->lock);
    if (c->epoch == batch->epoch)
        mark(c, batch, false);
    pthread_mutex_unlock(&c->lock);
}

/* After a commit of unknown result: what do the committed offsets say of this batch? A transaction commits whole, so
 * its first finished job speaks for all.
 * @return 1 committed, 0 not committed, negative: could not be read */
static int look_up(struct cs_checkpoint *c, const struct cs_unit *batch)
{
    struct cs_kafka_offset *offsets = NULL;
    struct cs_completion *done = NULL;
    size_t n = 0;
    int r;

    while (batch->mark != CS_MARK_NONE)
        batch = batch->next;
    r = cs_kafka_in_committed(c->p.in, &batch->partition, 1, LOOKUP_MS, &offsets, &n);
    if (r < 0)
        return r;
    r = n == 1 ? cs_completion_new(offsets[0].offset, offsets[0].metadata, &done) : -EIO;
    if (r == 0)
        r = cs_completion_is_finished(done, batch->offset) ? 1 : 0;
    cs_completion_free(done);
    cs_kafka_offsets_free(offsets, n);
    return r;
}

static void settle(struct cs_checkpoint *c, const struct cs_unit *batch)
{
    pthread_mutex_lock(&c->lock);
    if (c->epoch == batch->epoch)
        for (size_t i = 0; i < c->n_partitions; i++) {
            struct partition *p = &c->partitions[i];

            if (!touches(batch, p))
                continue;
            cs_completion_settle(p->done);
            p->poison = with_batch(p, batch, cs_completion_committed(p->done));
            p->committed = cs_completion_committed(p->done);
        }
    pthread_mutex_unlock(&c->lock);
}

/* The coordinator fences a transaction that it has timed out in the same words as one whose id another process has
 * taken. Ids made at random are nobody else's, and a stop of ours (a debugger, a suspended machine) shows in the time. */
static bool is_fenced(const struct cs_checkpoint *c, int64_t begun_ms)
{
    const char *id = c->p.conf->instance_id;

    return id != NULL && id[0] != '\0' &&
           cs_clock_mono_ms() - begun_ms < c->p.transaction_timeout_ms / 2;
}

/* OK, ABORT (try again), TOO_LARGE (never), or FENCED. */
static enum cs_kafka_result transact(struct cs_checkpoint *c, struct cs_unit *batch)
{
    struct cs_kafka_offset *offsets = NULL;
    struct cs_kafka_group *group;
    struct cs_kafka_out *out = producer(c, c->turn);
    unsigned turn = c->turn;
    int64_t begun_ms = cs_clock_mono_ms();
    enum cs_kafka_result r;
    size_t n = 0;
    int rc, committed;

    if (out == NULL)
        return c->state == CS_KAFKA_FENCED ? CS_KAFKA_FENCED : CS_KAFKA_ABORT;
    cs_test_hook(c->p.test_hooks, "before_begin");
    r = cs_kafka_out_begin(out);
    if (r != CS_KAFKA_OK)
        goto failed;
    cs_test_hook(c->p.test_hooks, "after_begin");
    for (int stage = CS_STAGE_RECORDS; r == CS_KAFKA_OK && stage < CS_STAGE_COUNT_; stage++) {
        r = produce_stage(c, out, batch, stage);
        cs_test_hook(c->p.test_hooks, "mid_produce");
    }
    if (r != CS_KAFKA_OK)
        goto failed;
    rc = collect_offsets(c, batch, &offsets, &n);
    if (rc < 0) {
        r = CS_KAFKA_ABORT;
        goto failed;
    }
    /* the group object is the loop's to replace, and only after the epoch has moved: the broker then refuses it */
    pthread_mutex_lock(&c->lock);
    group = c->epoch == batch->epoch ? c->group : NULL;
    c->group = group != NULL ? NULL : c->group; /* borrowed while the call runs */
    pthread_mutex_unlock(&c->lock);
    r = group != NULL ? cs_kafka_out_offsets(out, group, offsets, n, OFFSETS_MS) : CS_KAFKA_ABORT;
    pthread_mutex_lock(&c->lock);
    if (group != NULL && c->epoch == batch->epoch && c->group == NULL)
        c->group = group;
    else
        cs_kafka_group_free(group);
    pthread_mutex_unlock(&c->lock);
    cs_kafka_offsets_free(offsets, n);
    if (r != CS_KAFKA_OK) {
        unmark(c, batch);
        goto failed;
    }
    cs_test_hook(c->p.test_hooks, "after_offsets");
    if (cs_test_due(c->p.test_hooks, "in_commit"))
        (void)cs_kafka_out_commit(out, 2), _exit(137); /* cut off half way: whatever became of it */
    r = cs_kafka_out_commit(out, cs_test_commit_ms(c->p.test_hooks, COMMIT_MS));
    cs_test_hook(c->p.test_hooks, "after_commit");
    if (r == CS_KAFKA_OK) {
        cs_metric_add(c->transactions, 1);
        settle(c, batch);
        c->turn = (turn + 1) % PRODUCERS;
        return CS_KAFKA_OK;
    }
    if (r == CS_KAFKA_FENCED && !is_fenced(c, begun_ms))
        r = CS_KAFKA_UNKNOWN;
    if (r != CS_KAFKA_UNKNOWN) {
        unmark(c, batch);
        goto failed;
    }
    /* It may have committed. A new producer under the same id ends what hangs, then the offsets tell. */
    cs_metric_add(c->unknowns, 1);
    cs_log_warn(c->p.log, "checkpoint.commit_unknown", CS_STR("error", cs_kafka_out_error(out)));
    drop_producer(c, turn);
    while (producer(c, turn) == NULL) {
        if (!is_current(c, batch->epoch))
            return c->state == CS_KAFKA_FENCED ? CS_KAFKA_FENCED : CS_KAFKA_ABORT;
        pause_after_failure(c, batch->epoch);
    }
    while ((committed = look_up(c, batch)) < 0 && is_current(c, batch->epoch))
        pause_after_failure(c, batch->epoch);
    cs_log_info(c->p.log, "checkpoint.commit_found", CS_BOOL("committed", committed == 1));
    if (committed == 1) {
        settle(c, batch);
        return CS_KAFKA_OK;
    }
    unmark(c, batch);
    return CS_KAFKA_ABORT;

failed:
    if (r == CS_KAFKA_FENCED && is_fenced(c, begun_ms)) {
        set_fenced(c);
        drop_producer(c, turn);
        return r;
    }
    cs_metric_add(c->aborts, 1);
    warn_some(c, "checkpoint.aborted", CS_STR("result", cs_kafka_result_name(r)),
              CS_STR("error", cs_kafka_out_error(out)));
    /* after an abort for a refused message the next transaction of this handle fails too, so it is replaced */
    if (r != CS_KAFKA_ABORT || cs_kafka_out_abort(out, ABORT_MS) != CS_KAFKA_OK)
        drop_producer(c, turn);
    return r == CS_KAFKA_TOO_LARGE ? r : CS_KAFKA_ABORT;
}

/* Half the session time is for a message that librdkafka still tries to deliver (message.timeout.ms); after the other
 * half without an answer of the coordinator another may own the partitions. */
static bool is_member(const struct cs_checkpoint *c)
{
    return cs_kafka_in_session_age_ms(c->p.in) <= c->p.session_timeout_ms / 2;
}

/* Outside a transaction. */
static enum cs_kafka_result commit_offsets(struct cs_checkpoint *c, struct cs_unit *batch)
{
    struct cs_kafka_offset *offsets = NULL;
    size_t n = 0;
    int r = collect_offsets(c, batch, &offsets, &n);

    if (r == 0) {
        r = cs_kafka_in_commit(c->p.in, offsets, n);
        cs_kafka_offsets_free(offsets, n);
        if (r < 0)
            unmark(c, batch);
    }
    if (r < 0) {
        warn_some(c, "checkpoint.offset_not_committed", CS_STR("reason", strerror(-r)));
        return CS_KAFKA_ABORT;
    }
    settle(c, batch);
    return CS_KAFKA_OK;
}

/* Without transactions: each stage durable before the next, the offset last. */
static enum cs_kafka_result write_through(struct cs_checkpoint *c, struct cs_unit *batch)
{
    struct cs_kafka_out *out;
    enum cs_kafka_result r = CS_KAFKA_OK;

    out = producer(c, 0);
    if (out == NULL)
        return CS_KAFKA_ABORT;
    for (int stage = 0; r == CS_KAFKA_OK && stage < CS_STAGE_COUNT_; stage++) {
        if (!is_member(c)) {
            warn_some(c, "checkpoint.membership_unsure",
                      CS_I64("age_ms", cs_kafka_in_session_age_ms(c->p.in)));
            return CS_KAFKA_ABORT;
        }
        r = produce_stage(c, out, batch, stage);
        cs_test_hook(c->p.test_hooks, "mid_produce");
        if (r == CS_KAFKA_OK)
            r = cs_kafka_out_flush(out, FLUSH_MS);
    }
    if (r != CS_KAFKA_OK) {
        warn_some(c, "checkpoint.write_failed", CS_STR("error", cs_kafka_out_error(out)));
        drop_producer(c, 0);
        return r == CS_KAFKA_TOO_LARGE ? r : CS_KAFKA_ABORT;
    }
    cs_test_hook(c->p.test_hooks, "after_offsets");
    r = commit_offsets(c, batch);
    cs_test_hook(c->p.test_hooks, "after_commit");
    if (r == CS_KAFKA_OK)
        cs_metric_add(c->transactions, 1);
    return r;
}

/* Marks alone need no transaction: nothing is written with them, and a commit that is not ours to make is refused by its
 * generation. The coordinator takes them in the order in which they come, also behind a transaction whose end it has not
 * heard of yet. */
static bool has_jobs(const struct cs_unit *batch)
{
    while (batch != NULL && batch->mark != CS_MARK_NONE)
        batch = batch->next;
    return batch != NULL;
}

static enum cs_kafka_result write_batch(struct cs_checkpoint *c, struct cs_unit *batch)
{
    int64_t started_ms = cs_clock_mono_ms();
    bool jobs = has_jobs(batch);
    enum cs_kafka_result r = !jobs                 ? commit_offsets(c, batch)
                             : is_transactional(c) ? transact(c, batch)
                                                   : write_through(c, batch);

    if (r == CS_KAFKA_OK)
        c->failures = 0;
    if (r == CS_KAFKA_OK && jobs)
        cs_metric_observe_milli(c->commit_s, cs_clock_mono_ms() - started_ms);
    return r;
}

static void finish(struct cs_checkpoint *c, struct cs_unit *list, enum end end)
{
    pthread_mutex_lock(&c->lock);
    give_back(c, list, end);
    pthread_mutex_unlock(&c->lock);
}

/* One unit until it is committed, refused, or no longer ours. */
static void write_alone(struct cs_checkpoint *c, struct cs_unit *u)
{
    unsigned tries = 0;

    u->next = NULL;
    while (is_current(c, u->epoch)) {
        enum cs_kafka_result r = write_batch(c, u);

        if (r == CS_KAFKA_OK) {
            finish(c, u, COMMITTED);
            return;
        }
        if (r == CS_KAFKA_TOO_LARGE && ++tries >= POISON_TRIES) {
            finish(c, u, REFUSED);
            return;
        }
        pause_after_failure(c, u->epoch);
    }
    finish(c, u, DROPPED);
}

static void write_all(struct cs_checkpoint *c, struct cs_unit *batch)
{
    uint64_t epoch = batch->epoch;
    bool alone = false;

    while (!alone && is_current(c, epoch)) {
        enum cs_kafka_result r = write_batch(c, batch);

        if (r == CS_KAFKA_OK) {
            finish(c, batch, COMMITTED);
            return;
        }
        /* one unit that is refused must not take the others with it */
        alone = r == CS_KAFKA_TOO_LARGE;
        if (!alone)
            pause_after_failure(c, epoch);
    }
    if (!alone) {
        finish(c, batch, DROPPED);
        return;
    }
    while (batch != NULL) {
        struct cs_unit *u = batch;

        batch = u->next;
        write_alone(c, u);
    }
}

/* The waiting units of the oldest one's epoch, within the bounds. Lock held. */
static struct cs_unit *take_batch(struct cs_checkpoint *c)
{
    struct cs_unit *batch = c->waiting, **end = &c->waiting;
    size_t units = 0, bytes = 0;

    while (*end != NULL && (*end)->epoch == batch->epoch && units < c->p.batch_units &&
           (units == 0 || bytes + (*end)->bytes <= c->p.batch_bytes)) {
        bytes += (*end)->bytes;
        units++;
        end = &(*end)->next;
    }
    c->waiting = *end;
    if (c->waiting == NULL)
        c->waiting_tail = &c->waiting;
    *end = NULL;
    cs_metric_observe_milli(c->batch_units, (int64_t)units * 1000);
    cs_metric_observe_milli(c->batch_bytes, (int64_t)bytes * 1000);
    return batch;
}

/* What those before us left of evidence. @return 0, -ESTALE */
static int weigh(struct cs_checkpoint *c, struct partition *p, const char *metadata, uint64_t epoch)
{
    int64_t end = p->committed;
    int r;

    cs_poison_parse(metadata, &p->poison);
    while (p->poison.open &&
           (r = cs_kafka_in_end(c->p.in, CS_TOPIC_JOBS, p->number, LOOKUP_MS, &end)) < 0) {
        if (!is_current(c, epoch))
            return -ESTALE;
        warn_some(c, "kafka.end_offset_wait", CS_STR("reason", strerror(-r)));
        pause_after_failure(c, epoch);
    }
    if (cs_poison_assigned(&p->poison, p->committed, end))
        cs_log_warn(c->p.log, "jobs.one_at_a_time", CS_I64("partition", p->number),
                    CS_I64("from", p->committed), CS_I64("until", p->poison.until),
                    CS_STR("why", "workers ended there again and again"));
    return 0;
}

/* Reads where the new partitions start. */
static void answer_assign(struct cs_checkpoint *c, const int32_t *numbers, size_t n, uint64_t epoch)
{
    struct cs_kafka_offset *offsets = NULL;
    struct partition *partitions = NULL;
    size_t found = 0;
    int r = -EIO;

    while (is_current(c, epoch)) {
        r = n > 0 ? cs_kafka_in_committed(c->p.in, numbers, n, LOOKUP_MS, &offsets, &found) : 0;
        if (r == 0)
            break;
        warn_some(c, "kafka.committed_offsets_wait", CS_STR("reason", strerror(-r)));
        pause_after_failure(c, epoch);
    }
    if (r == 0 && (partitions = calloc(found > 0 ? found : 1, sizeof(*partitions))) == NULL)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < found; i++) {
        partitions[i].number = offsets[i].partition;
        partitions[i].committed = offsets[i].offset;
        r = cs_completion_new(offsets[i].offset, offsets[i].metadata, &partitions[i].done);
        if (r == 0)
            r = weigh(c, &partitions[i], offsets[i].metadata, epoch);
    }
    pthread_mutex_lock(&c->lock);
    if (r == 0 && c->epoch == epoch) {
        c->partitions = partitions;
        c->n_partitions = found;
        c->found = offsets;
        c->n_found = found;
        c->has_found = true;
        partitions = NULL;
        offsets = NULL;
        c->failures = 0;
    }
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; partitions != NULL && i < found; i++)
        cs_completion_free(partitions[i].done);
    free(partitions);
    cs_kafka_offsets_free(offsets, found);
    wake(c);
}

static void *run(void *arg)
{
    struct cs_checkpoint *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        if (c->has_asked) {
            int32_t *asked = c->asked;
            size_t n = c->n_asked;
            uint64_t epoch = c->epoch;

            c->asked = NULL;
            c->n_asked = 0;
            c->has_asked = false;
            pthread_mutex_unlock(&c->lock);
            /* the first transaction should not wait for the producers */
            for (unsigned i = 0; i < (is_transactional(c) ? PRODUCERS : 1); i++)
                (void)producer(c, i);
            answer_assign(c, asked, n, epoch);
            free(asked);
            pthread_mutex_lock(&c->lock);
        } else if (c->waiting != NULL && c->state == CS_KAFKA_OK) {
            struct cs_unit *batch = take_batch(c);
            bool current = batch->epoch == c->epoch;

            c->busy = true;
            pthread_mutex_unlock(&c->lock);
            if (current)
                write_all(c, batch);
            else
                finish(c, batch, DROPPED);
            pthread_mutex_lock(&c->lock);
            c->busy = false;
            pthread_cond_broadcast(&c->change);
        } else {
            pthread_cond_wait(&c->change, &c->lock);
        }
    }
    drop_waiting(c);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < PRODUCERS; i++)
        drop_producer(c, i);
    return NULL;
}

static int make_ids(struct cs_checkpoint *c)
{
    const char *id = c->p.conf->instance_id;
    char random[CS_UUID_TEXT];

    if (id == NULL || id[0] == '\0') {
        if (cs_uuid4(random) < 0)
            return -EIO;
        id = random;
    }
    for (unsigned i = 0; i < PRODUCERS; i++)
        snprintf(c->txn_id[i], sizeof(c->txn_id[i]), "%.200sworker-%.100s-%c",
                 c->p.conf->kafka_prefix, id, 'a' + (int)i);
    return 0;
}

int cs_checkpoint_new(const struct cs_checkpoint_params *p, struct cs_checkpoint **ret)
{
    static const int64_t seconds[] = {5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20000};
    static const int64_t units[] = {1000, 2000, 5000, 10000, 50000, 100000, 1000000};
    static const int64_t bytes[] = {1000000, 10000000, 100000000, 1000000000, 10000000000};
    struct cs_checkpoint *c = calloc(1, sizeof(*c));
    pthread_condattr_t attr;
    int r;

    if (c == NULL)
        return -ENOMEM;
    c->p = *p;
    if (c->p.batch_bytes == 0)
        c->p.batch_bytes = 8 * 1024 * 1024;
    if (c->p.batch_units == 0)
        c->p.batch_units = 1000;
    c->waiting_tail = &c->waiting;
    c->done_tail = &c->done;
    c->random = (uint64_t)cs_clock_utc_ms() ^ (uint64_t)getpid();
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->change, &attr);
    pthread_condattr_destroy(&attr);
    c->transactions = cs_metrics_counter(p->metrics, "crmsync_checkpoint_commits_total", NULL,
                                         "Batches of finished jobs made durable.");
    c->aborts = cs_metrics_counter(p->metrics, "crmsync_checkpoint_aborts_total", NULL,
                                   "Transactions that were aborted and tried again.");
    c->unknowns = cs_metrics_counter(p->metrics, "crmsync_checkpoint_unknown_total", NULL,
                                     "Commits whose result was unknown and was looked up.");
    c->commit_s =
        cs_metrics_histogram(p->metrics, "crmsync_checkpoint_commit_seconds", NULL,
                             "Begin to committed.", seconds, sizeof(seconds) / sizeof(seconds[0]));
    c->batch_units =
        cs_metrics_histogram(p->metrics, "crmsync_checkpoint_batch_jobs", NULL,
                             "Jobs in one commit.", units, sizeof(units) / sizeof(units[0]));
    c->batch_bytes = cs_metrics_histogram(p->metrics, "crmsync_checkpoint_batch_bytes", NULL,
                                          "Bytes of values in one commit.", bytes,
                                          sizeof(bytes) / sizeof(bytes[0]));
    r = make_ids(c);
    if (r == 0)
        r = -pthread_create(&c->thread, NULL, run, c);
    if (r < 0) {
        cs_checkpoint_free(c);
        return r;
    }
    c->started = true;
    *ret = c;
    return 0;
}

void cs_checkpoint_free(struct cs_checkpoint *c)
{
    struct cs_unit *u;

    if (c == NULL)
        return;
    if (c->started) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_broadcast(&c->change);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->thread, NULL);
    }
    while ((u = c->done) != NULL) {
        c->done = u->next;
        cs_unit_free(u);
    }
    forget_partitions(c);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->change);
    free(c);
}
