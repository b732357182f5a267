#include "producer/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/kafka_read.h"
#include "common/uuid.h"

#define INIT_MS 5000 /* one try; repeated until it works */
#define COMMIT_MS \
    12000 /* below transaction.timeout.ms, so that the broker does not abort under us */
#define RESTORE_MS 10000 /* one try without progress */
#define PAUSE_MS   200   /* between tries that fail at once */

enum request { REQUEST_NONE, REQUEST_COMMIT, REQUEST_RESTORE };

struct cs_ledger {
    struct cs_common_conf conf; /* borrowed strings */
    struct cs_kafka_in *in;     /* borrowed */
    struct cs_log *log;
    bool transactional;
    bool test_hooks; /* Graph is a simulator on this machine */
    int64_t transaction_timeout_ms;
    char txn_id[2][360];
    struct cs_kafka_out *out[2]; /* the thread's */
    unsigned turn;
    struct cs_kafka_read *reader; /* the thread's */

    pthread_t thread;
    bool started;
    int fd;
    pthread_mutex_t lock;
    pthread_cond_t wake;  /* the thread: a request, or stop */
    pthread_cond_t ended; /* the loop: an end */
    /* under lock */
    enum request request;
    const struct cs_ledger_batch *batch;
    const struct cs_kafka_group *group;
    int32_t *partitions;
    size_t n_partitions;
    struct cs_ledger_result result;
    bool has_result;
    bool stop;
    atomic_bool cancelled; /* also read without the lock, between two tries */
};

/* --- batches ----------------------------------------------------------------------------------- */

struct cs_ledger_batch *cs_ledger_batch_new(void)
{
    return calloc(1, sizeof(struct cs_ledger_batch));
}

void cs_ledger_batch_free(struct cs_ledger_batch *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->n; i++) {
        free(b->messages[i].key);
        free(b->messages[i].value);
        free(b->messages[i].job_id);
    }
    free(b->messages);
    cs_kafka_offsets_free(b->offsets, b->n_offsets);
    free(b);
}

static char *copy_bytes(const char *p, size_t n)
{
    char *copy = malloc(n + 1);

    if (copy != NULL) {
        memcpy(copy, p, n);
        copy[n] = '\0';
    }
    return copy;
}

int cs_ledger_batch_add(struct cs_ledger_batch *b, enum cs_topic topic, int32_t partition,
                        const char *key, const char *value, size_t len, const char *job_id,
                        int64_t utc_ms)
{
    struct cs_ledger_message *m;

    if (len > CS_KAFKA_RECORD_MAX)
        return -EMSGSIZE;
    if (b->n == b->cap) {
        size_t cap = b->cap == 0 ? 64 : b->cap * 2;
        struct cs_ledger_message *messages = realloc(b->messages, cap * sizeof(*messages));

        if (messages == NULL)
            return -ENOMEM;
        b->messages = messages;
        b->cap = cap;
    }
    m = &b->messages[b->n];
    *m = (struct cs_ledger_message){.topic = topic, .partition = partition, .utc_ms = utc_ms};
    m->key_len = strlen(key);
    m->key = copy_bytes(key, m->key_len);
    m->len = len;
    m->value = value != NULL ? copy_bytes(value, len) : NULL;
    m->job_id = job_id != NULL ? strdup(job_id) : NULL;
    if (m->key == NULL || (value != NULL && m->value == NULL) ||
        (job_id != NULL && m->job_id == NULL)) {
        free(m->key);
        free(m->value);
        free(m->job_id);
        return -ENOMEM;
    }
    b->bytes += len + m->key_len;
    b->n++;
    return 0;
}

int cs_ledger_batch_offset(struct cs_ledger_batch *b, enum cs_topic topic, int32_t partition,
                           int64_t offset, const char *metadata)
{
    struct cs_kafka_offset *offsets = realloc(b->offsets, (b->n_offsets + 1) * sizeof(*b->offsets));
    char *copy = strdup(metadata);

    if (offsets != NULL)
        b->offsets = offsets;
    if (offsets == NULL || copy == NULL) {
        free(copy);
        return -ENOMEM;
    }
    offsets[b->n_offsets++] = (struct cs_kafka_offset){topic, partition, offset, copy};
    return 0;
}

void cs_ledger_result_clear(struct cs_ledger_result *r)
{
    for (size_t i = 0; r->parts != NULL && i < r->n_parts; i++)
        cs_table_part_free(r->parts[i]);
    free(r->parts);
    cs_kafka_offsets_free(r->offsets, r->n_offsets);
    memset(r, 0, sizeof(*r));
}

/* --- producing --------------------------------------------------------------------------------- */

static bool is_cancelled(struct cs_ledger *l)
{
    return atomic_load(&l->cancelled);
}

static void pause_a_little(void)
{
    struct timespec t = {.tv_nsec = PAUSE_MS * 1000000L};

    (void)nanosleep(&t, NULL); /* cut short by a signal: the better */
}

static void note(struct cs_ledger_result *r, const struct cs_kafka_out *out)
{
    snprintf(r->error, sizeof(r->error), "%s", cs_kafka_out_error(out));
}

static void drop_handle(struct cs_ledger *l, unsigned which)
{
    cs_kafka_out_free(l->out[which]);
    l->out[which] = NULL;
}

/* A handle that is ready to produce; made anew where the last one had to be dropped. */
static enum cs_kafka_result ready_handle(struct cs_ledger *l, unsigned which,
                                         struct cs_ledger_result *ret)
{
    struct cs_conf_error err;
    enum cs_kafka_result r;

    if (l->out[which] != NULL)
        return CS_KAFKA_OK;
    if (cs_kafka_out_new(&l->conf, l->transactional ? l->txn_id[which] : NULL, l->log,
                         &l->out[which], &err) < 0) {
        snprintf(ret->error, sizeof(ret->error), "no handle");
        return CS_KAFKA_FATAL; /* checked at start: only memory can be missing */
    }
    do {
        r = cs_kafka_out_init(l->out[which], INIT_MS);
        note(ret, l->out[which]);
        if (r == CS_KAFKA_AGAIN && !is_cancelled(l))
            cs_log_warn(l->log, "kafka.waiting", CS_STR("for", "transaction coordinator"),
                        CS_STR("error", ret->error));
    } while (r == CS_KAFKA_AGAIN && !is_cancelled(l));
    if (r != CS_KAFKA_OK)
        drop_handle(l, which);
    return r;
}

/* W3C trace context of a job: its id is the trace, so that a worker's spans join it. */
static void trace_of(const char *job_id, char out[56])
{
    char hex[33] = "";
    size_t n = 0;

    for (const char *s = job_id; *s != '\0' && n < 32; s++)
        if (*s != '-')
            hex[n++] = *s;
    hex[n] = '\0';
    snprintf(out, 56, "00-%s-%.16s-01", hex, hex + (n == 32 ? 16 : 0));
}

static enum cs_kafka_result produce(struct cs_ledger *l, struct cs_kafka_out *out,
                                    const struct cs_ledger_message *m)
{
    struct cs_kafka_header headers[8];
    char time[CS_TIME_TEXT], trace[56];
    enum cs_kafka_result r;
    char *value = NULL;
    size_t n = 0;

    if (m->value != NULL) {
        value = copy_bytes(m->value, m->len);
        if (value == NULL)
            return CS_KAFKA_AGAIN;
        headers[n++] = (struct cs_kafka_header){"content-type", "application/json"};
    }
    if (m->job_id != NULL) {
        cs_time_format(m->utc_ms, time);
        trace_of(m->job_id, trace);
        headers[n++] = (struct cs_kafka_header){"ce_specversion", "1.0"};
        headers[n++] = (struct cs_kafka_header){"ce_id", m->job_id};
        headers[n++] = (struct cs_kafka_header){"ce_type", "crmsync.job.v1"};
        headers[n++] = (struct cs_kafka_header){"ce_source", "crmsync-producer"};
        headers[n++] = (struct cs_kafka_header){"ce_subject", m->key};
        headers[n++] = (struct cs_kafka_header){"ce_time", time};
        headers[n++] = (struct cs_kafka_header){"traceparent", trace};
    }
    do {
        r = cs_kafka_out_produce(out, m->topic, m->partition, m->key, m->key_len, value, m->len,
                                 headers, n);
    } while (r == CS_KAFKA_AGAIN &&
             !is_cancelled(l)); /* the call itself waits while the queue is full */
    if (r != CS_KAFKA_OK)
        free(value);
    return r;
}

/* Is this the n-th time that the point is passed which the variable names as "point:n"? */
static bool is_named(const char *variable, const char *point, long *passed)
{
    const char *at = getenv(variable);
    size_t n = strlen(point);

    return at != NULL && strncmp(at, point, n) == 0 && at[n] == ':' &&
           ++*passed >= strtol(at + n + 1, NULL, 10);
}

/* Where tests cut us off, and only while Graph is a simulator: CRMSYNC_TEST_CRASH_AT="point:n" ends the
 * process the n-th time that the point is passed, CRMSYNC_TEST_STOP_AT puts it to sleep once, all
 * messages delivered. */
static void test_hook(const struct cs_ledger *l, const char *point)
{
    static long crashes, stops; /* the ledger's thread alone passes points, and one is watched */
    static bool stopped;

    if (!l->test_hooks)
        return;
    if (is_named("CRMSYNC_TEST_CRASH_AT", point, &crashes))
        _exit(137);
    if (!stopped && is_named("CRMSYNC_TEST_STOP_AT", point, &stops)) {
        stopped = true;
        (void)cs_kafka_out_flush(l->out[l->turn],
                                 COMMIT_MS); /* so that nothing but the end is missing */
        (void)raise(SIGSTOP);                /* cannot fail */
    }
}

/* "commit_cut:ms" gives two of three commits up after 0 to ms milliseconds: their result is unknown. */
static int commit_ms(const struct cs_ledger *l)
{
    static const char name[] = "commit_cut:";
    static unsigned long commits;
    const char *at = l->test_hooks ? getenv("CRMSYNC_TEST_CRASH_AT") : NULL;

    if (at == NULL || strncmp(at, name, sizeof(name) - 1) != 0 || ++commits % 3 == 0)
        return COMMIT_MS;
    return (int)(commits % ((unsigned long)strtol(at + sizeof(name) - 1, NULL, 10) + 1));
}

/* One transaction, up to where its outcome is decided. */
static enum cs_kafka_result transact(struct cs_ledger *l, struct cs_kafka_out *out)
{
    enum cs_kafka_result r;

    test_hook(l, "before_begin");
    r = cs_kafka_out_begin(out);
    for (size_t i = 0; i < l->batch->n && r == CS_KAFKA_OK; i++) {
        r = produce(l, out, &l->batch->messages[i]);
        test_hook(l, "mid_produce");
    }
    if (r == CS_KAFKA_OK)
        r = cs_kafka_out_offsets(out, l->group, l->batch->offsets, l->batch->n_offsets, COMMIT_MS);
    test_hook(l, "after_offsets");
    if (r == CS_KAFKA_OK)
        r = cs_kafka_out_commit(out, commit_ms(l));
    test_hook(l, "after_commit");
    return r;
}

static bool has_own_id(const struct cs_ledger *l)
{
    return l->conf.instance_id != NULL && l->conf.instance_id[0] != '\0';
}

/* The coordinator fences a transaction that it has timed out in the same words as one whose id another process has
 * taken. Ids made at random are nobody else's, and a stop of ours (a debugger, a suspended machine) shows in the time. */
static bool is_fenced(const struct cs_ledger *l, int64_t begun_ms)
{
    return has_own_id(l) && cs_clock_mono_ms() - begun_ms < l->transaction_timeout_ms / 2;
}

static void commit_transaction(struct cs_ledger *l, struct cs_ledger_result *ret)
{
    unsigned which = l->turn;
    enum cs_kafka_result r = ready_handle(l, which, ret);
    int64_t begun_ms = cs_clock_mono_ms();
    bool begun = r == CS_KAFKA_OK;

    if (begun) {
        r = transact(l, l->out[which]);
        note(ret, l->out[which]);
    }
    if (r == CS_KAFKA_FENCED && !is_fenced(l, begun_ms))
        r = CS_KAFKA_UNKNOWN;
    switch (r) {
    case CS_KAFKA_OK:
        l->turn ^= 1u; /* the other one need not wait for this commit to settle */
        ret->end = CS_LEDGER_COMMITTED;
        return;
    case CS_KAFKA_FENCED: ret->end = CS_LEDGER_FENCED; return;
    case CS_KAFKA_UNKNOWN:
        drop_handle(l, which);
        ret->end = CS_LEDGER_UNKNOWN;
        return;
    case CS_KAFKA_TOO_LARGE:
    case CS_KAFKA_ABORT:
    case CS_KAFKA_AGAIN:
        /* nothing of it will be seen; the work is the loop's to hand over again */
        if (begun && cs_kafka_out_abort(l->out[which], COMMIT_MS) != CS_KAFKA_OK)
            drop_handle(l, which);
        ret->end = r == CS_KAFKA_TOO_LARGE ? CS_LEDGER_REFUSED : CS_LEDGER_NOT_DONE;
        return;
    case CS_KAFKA_FATAL:
        drop_handle(l, which);
        ret->end = CS_LEDGER_NOT_DONE;
        return;
    }
}

/* --- without transactions ---------------------------------------------------------------------- */

static enum cs_kafka_result produce_some(struct cs_ledger *l, bool state)
{
    enum cs_kafka_result r = CS_KAFKA_OK;

    for (size_t i = 0; i < l->batch->n && r == CS_KAFKA_OK; i++)
        if ((l->batch->messages[i].topic == CS_TOPIC_STATE) == state)
            r = produce(l, l->out[0], &l->batch->messages[i]);
    return r == CS_KAFKA_OK ? cs_kafka_out_flush(l->out[0], COMMIT_MS) : r;
}

static void commit_in_order(struct cs_ledger *l, struct cs_ledger_result *ret)
{
    enum cs_kafka_result r = ready_handle(l, 0, ret);
    bool made = r == CS_KAFKA_OK;
    int x = 0;

    if (r == CS_KAFKA_OK)
        r = produce_some(l, true);
    test_hook(l, "after_state");
    if (r == CS_KAFKA_OK)
        r = produce_some(l, false);
    test_hook(l, "before_offsets");
    if (made)
        note(ret, l->out[0]);
    if (r == CS_KAFKA_OK && l->batch->n_offsets > 0) {
        x = cs_kafka_in_commit(l->in, l->batch->offsets, l->batch->n_offsets);
        if (x < 0)
            snprintf(ret->error, sizeof(ret->error), "offsets: %s",
                     x == -ESTALE ? "not a member" : "not committed");
    }
    if (r == CS_KAFKA_OK && x == 0) {
        ret->end = CS_LEDGER_COMMITTED;
        return;
    }
    if (r == CS_KAFKA_TOO_LARGE) {
        ret->end = CS_LEDGER_REFUSED;
        return;
    }
    if (made && r != CS_KAFKA_OK)
        drop_handle(l, 0);
    /* handed over again, the same messages are written a second time: that is what at least once says */
    ret->end = CS_LEDGER_NOT_DONE;
}

/* --- restore ----------------------------------------------------------------------------------- */

static int read_parts(struct cs_ledger *l, struct cs_ledger_result *ret)
{
    for (; ret->n_parts < l->n_partitions; ret->n_parts++) {
        int r;

        if (is_cancelled(l))
            return -ECANCELED;
        r = cs_table_restore(l->reader, l->partitions[ret->n_parts], RESTORE_MS, l->log,
                             &ret->parts[ret->n_parts]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The order is what makes it safe against a dying predecessor: its offsets first, which waits for what
 * it has open; then the end of the state, as a reader of uncommitted data sees it; then up to there. */
static int restore_once(struct cs_ledger *l, struct cs_ledger_result *ret)
{
    int r = 0;

    if (l->n_partitions > 0)
        r = cs_kafka_in_committed(l->in, l->partitions, l->n_partitions, RESTORE_MS, &ret->offsets,
                                  &ret->n_offsets);
    if (r < 0)
        return r;
    ret->parts = calloc(l->n_partitions + 1, sizeof(struct cs_table_part *));
    return ret->parts == NULL ? -ENOMEM : read_parts(l, ret);
}

/* A handle of ours that was dropped may have left a transaction open, which committed offsets wait for:
 * a new one with the same id ends it. */
static bool end_orphans(struct cs_ledger *l, struct cs_ledger_result *ret)
{
    enum cs_kafka_result r = CS_KAFKA_OK;

    for (unsigned i = 0; i < 2 && l->transactional && r == CS_KAFKA_OK; i++)
        do {
            r = ready_handle(l, i, ret);
            if (r == CS_KAFKA_FENCED && !has_own_id(l))
                r = CS_KAFKA_FATAL;
            if (r == CS_KAFKA_FATAL)
                pause_a_little();
        } while (r == CS_KAFKA_FATAL && !is_cancelled(l));
    if (r == CS_KAFKA_FENCED)
        ret->end = CS_LEDGER_FENCED;
    else if (r != CS_KAFKA_OK)
        ret->end = CS_LEDGER_CANCELLED;
    return r == CS_KAFKA_OK;
}

static void restore(struct cs_ledger *l, struct cs_ledger_result *ret)
{
    if (!end_orphans(l, ret))
        return;
    for (;;) {
        int r = restore_once(l, ret);

        if (r == 0) {
            ret->end = CS_LEDGER_RESTORED;
            return;
        }
        cs_ledger_result_clear(ret);
        if (is_cancelled(l)) {
            ret->end = CS_LEDGER_CANCELLED;
            return;
        }
        cs_log_warn(l->log, "state.restore_again", CS_STR("error", strerror(-r)));
        pause_a_little();
    }
}

/* --- the thread -------------------------------------------------------------------------------- */

static void *run(void *user)
{
    struct cs_ledger *l = user;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct cs_ledger_result result = {0};
        int64_t start_ms;
        uint64_t one = 1;

        while (!l->stop && (l->request == REQUEST_NONE || l->has_result))
            pthread_cond_wait(&l->wake, &l->lock);
        if (l->stop)
            break;
        enum request request = l->request;
        pthread_mutex_unlock(&l->lock);

        start_ms = cs_clock_mono_ms();
        if (request == REQUEST_RESTORE)
            restore(l, &result);
        else if (l->transactional)
            commit_transaction(l, &result);
        else
            commit_in_order(l, &result);
        result.took_ms = cs_clock_mono_ms() - start_ms;

        pthread_mutex_lock(&l->lock);
        l->result = result;
        l->has_result = true;
        l->request = REQUEST_NONE;
        pthread_cond_signal(&l->ended);
        if (write(l->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
            cs_log_error(l->log, "ledger.wake_failed", CS_STR("error", strerror(errno)));
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Stable over the life of this process, so that a new handle puts an end to what the old one left. */
static int name_ids(struct cs_ledger *l)
{
    char random[CS_UUID_TEXT];
    const char *name = l->conf.instance_id;

    if (name == NULL || name[0] == '\0') {
        if (cs_uuid4(random) < 0)
            return -EIO;
        name = random;
    }
    for (int i = 0; i < 2; i++)
        snprintf(l->txn_id[i], sizeof(l->txn_id[i]), "%.200s%s-%.100s-%c", l->conf.kafka_prefix,
                 CS_GROUP_PRODUCER, name, 'a' + i);
    return 0;
}

int cs_ledger_new(const struct cs_common_conf *conf, struct cs_kafka_in *in, struct cs_log *log,
                  struct cs_ledger **ret, struct cs_conf_error *err)
{
    struct cs_ledger *l = calloc(1, sizeof(*l));
    int r;

    if (l == NULL)
        return -ENOMEM;
    l->fd = -1;
    l->conf = *conf;
    l->in = in;
    l->log = log;
    l->transactional = conf->kafka_delivery == CS_EXACTLY_ONCE;
    l->test_hooks = cs_url_is_loopback(conf->graph_base_url);
    l->transaction_timeout_ms = 15000; /* kafka_out.c's */
    for (size_t i = 0; i < conf->kafka_properties.n; i++)
        if (strcmp(conf->kafka_properties.keys[i], "transaction.timeout.ms") == 0)
            l->transaction_timeout_ms = strtoll(conf->kafka_properties.values[i], NULL, 10);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    {
        pthread_condattr_t attr;

        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&l->ended, &attr);
        pthread_condattr_destroy(&attr);
    }
    r = name_ids(l);
    if (r < 0)
        goto out;
    r = cs_kafka_read_new(conf, log, &l->reader, err);
    if (r < 0)
        goto out;
    /* both handles are made here, so that a refused property is told at start */
    for (int i = 0; i < (l->transactional ? 2 : 1); i++) {
        r = cs_kafka_out_new(conf, l->transactional ? l->txn_id[i] : NULL, log, &l->out[i], err);
        if (r < 0)
            goto out;
        cs_kafka_out_free(l->out[i]); /* the thread makes its own when it is first needed */
        l->out[i] = NULL;
    }
    l->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->fd < 0) {
        r = -errno;
        goto out;
    }
    if (pthread_create(&l->thread, NULL, run, l) != 0) {
        r = -EAGAIN;
        goto out;
    }
    l->started = true;
    *ret = l;
    l = NULL;
out:
    cs_ledger_free(l);
    return r;
}

void cs_ledger_free(struct cs_ledger *l)
{
    if (l == NULL)
        return;
    if (l->started) {
        atomic_store(&l->cancelled, true);
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    cs_ledger_result_clear(&l->result);
    for (unsigned i = 0; i < 2; i++)
        drop_handle(l, i);
    cs_kafka_read_free(l->reader);
    free(l->partitions);
    if (l->fd >= 0)
        close(l->fd);
    pthread_cond_destroy(&l->ended);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int cs_ledger_fd(const struct cs_ledger *l)
{
    return l->fd;
}

bool cs_ledger_is_busy(struct cs_ledger *l)
{
    bool busy;

    pthread_mutex_lock(&l->lock);
    busy = l->request != REQUEST_NONE || l->has_result;
    pthread_mutex_unlock(&l->lock);
    return busy;
}

void cs_ledger_commit(struct cs_ledger *l, const struct cs_ledger_batch *batch,
                      const struct cs_kafka_group *group)
{
    pthread_mutex_lock(&l->lock);
    l->batch = batch;
    l->group = group;
    l->request = REQUEST_COMMIT;
    atomic_store(&l->cancelled, false);
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

int cs_ledger_restore(struct cs_ledger *l, const int32_t *partitions, size_t n)
{
    int32_t *copy = malloc((n + 1) * sizeof(*copy));

    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, partitions, n * sizeof(*copy));
    pthread_mutex_lock(&l->lock);
    free(l->partitions);
    l->partitions = copy;
    l->n_partitions = n;
    l->request = REQUEST_RESTORE;
    atomic_store(&l->cancelled, false);
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    return 0;
}

void cs_ledger_cancel(struct cs_ledger *l)
{
    atomic_store(&l->cancelled, true);
}

void cs_ledger_next(struct cs_ledger *l, int timeout_ms, struct cs_ledger_result *ret)
{
    uint64_t count;

    memset(ret, 0, sizeof(*ret));
    if (read(l->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        cs_log_error(l->log, "ledger.wake_failed", CS_STR("error", strerror(errno)));
    pthread_mutex_lock(&l->lock);
    if (!l->has_result && l->request != REQUEST_NONE && timeout_ms > 0) {
        struct timespec until;
        int x = 0;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += timeout_ms / 1000;
        until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        while (!l->has_result && x == 0)
            x = pthread_cond_timedwait(&l->ended, &l->lock, &until);
    }
    if (l->has_result) {
        *ret = l->result;
        memset(&l->result, 0, sizeof(l->result));
        l->has_result = false;
    }
    pthread_mutex_unlock(&l->lock);
}
