#include "producer/producer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/backoff.h"
#include "common/kafka_admin.h"
#include "common/uuid.h"
#include "producer/producer_priv.h"

#define PULL_MAX   2000  /* messages of one turn, so that the loop turns */
#define REVOKE_MS  30000 /* longest wait for the ledger at a rebalance */
#define TOPICS_MS  2000  /* one try to learn the topics */
#define MISSING_MS 5000  /* topics just created may be told late */
#define WHY_MAX    (CS_TOPIC_NAME_MAX + 160)

static void fail(struct cs_producer *p, int code, const char *event, const char *why)
{
    if (p->failed)
        return;
    cs_log_error(p->log, event, CS_STR("reason", why));
    p->failed = true;
    p->exit_code = code;
}

static void fail_fenced(struct cs_producer *p)
{
    fail(p, EX_CONFIG, "producer.fenced",
         "another process runs with this instance_id: give each its own");
}

/* Memory has run out, or the like: what is in memory can no longer be trusted, what is on the topics
 * can. Another process, or this one started again, goes on from there. */
static void fail_errno(struct cs_producer *p, int r)
{
    if (r == -EPERM)
        fail_fenced(p);
    else
        fail(p, EX_SOFTWARE, "producer.failed", strerror(-r));
}

/* --- configuration ----------------------------------------------------------------------------- */

static void reload(struct cs_producer *p)
{
    struct cs_producer_conf conf;
    struct cs_tenant_set *tenants = NULL;
    struct cs_conf_error err;
    int r;

    if (cs_producer_conf_load(p->config_path, &conf, &tenants, &err) < 0) {
        cs_metric_add(p->m.reload_errors, 1);
        cs_log_error(p->log, "config.refused", CS_STR("error", err.text));
        return;
    }
    p->conf->schedule = conf.schedule;
    p->conf->common.log_level = conf.common.log_level;
    cs_log_set_level(p->log, (enum cs_log_level)conf.common.log_level);
    cs_schedule_set_places(p->schedule, (unsigned)conf.schedule.jobs_per_partition);
    cs_producer_conf_clear(&conf);
    r = cs_producer_set_tenants(p, tenants);
    cs_tenants_unref(tenants);
    if (r < 0) {
        fail_errno(p, r);
        return;
    }
    cs_metric_add(p->m.reloads, 1);
    cs_log_info(p->log, "config.reloaded", CS_I64("tenants", p->tenants->n));
}

static void take_signals(struct cs_producer *p)
{
    struct signalfd_siginfo info;

    while (read(p->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP) {
            reload(p);
        } else {
            cs_log_info(p->log, "producer.stopping", CS_I64("signal", info.ssi_signo));
            p->stopping = true;
        }
    }
}

/* --- topics ------------------------------------------------------------------------------------ */

static bool are_there(const int32_t counts[])
{
    for (int i = 0; i < CS_TOPIC_COUNT_; i++)
        if (counts[i] == 0)
            return false;
    return true;
}

static void missing_text(const struct cs_producer *p, enum cs_topic t, char *out, size_t size)
{
    snprintf(out, size, "topic %s%s is not there: crmsync-producer topics --apply",
             p->conf->common.kafka_prefix, cs_topic_name(t));
}

static void say_missing(struct cs_producer *p, const int32_t counts[])
{
    char why[WHY_MAX];

    for (int i = 0; i < CS_TOPIC_COUNT_; i++)
        if (counts[i] == 0) {
            missing_text(p, (enum cs_topic)i, why, sizeof(why));
            cs_log_warn(p->log, "topics.waiting", CS_STR("for", why));
            return;
        }
}

/* Waits for a broker and checks the topics: every mailbox has the same partition number in each. */
static int learn_topics(struct cs_producer *p)
{
    struct cs_kafka_admin *admin = NULL;
    struct cs_conf_error err = {""};
    int32_t counts[CS_TOPIC_COUNT_];
    int64_t missing_until_ms = CS_NEVER;
    bool said = false, said_missing = false;
    int r = cs_kafka_admin_new(&p->conf->common, p->log, &admin, &err);

    if (r < 0) {
        fail(p, EX_CONFIG, "config.refused", err.text);
        return r;
    }
    for (;;) {
        int brokers = 0;

        r = cs_kafka_admin_partitions(admin, TOPICS_MS, counts, &brokers);
        take_signals(p);
        atomic_store(&p->turned_mono_ms, cs_clock_mono_ms());
        if (p->stopping || p->failed)
            break;
        if (r == 0 && missing_until_ms == CS_NEVER)
            missing_until_ms = cs_clock_mono_ms() + MISSING_MS;
        if (r == 0 && (are_there(counts) || cs_clock_mono_ms() >= missing_until_ms))
            break;
        if (r == 0) {
            if (!said_missing)
                say_missing(p, counts);
            said_missing = true;
            (void)poll(&(struct pollfd){.fd = p->signal_fd, .events = POLLIN}, 1, 200);
            continue;
        }
        atomic_store(&p->down, true);
        cs_metric_set(p->m.up, 0);
        if (!said)
            cs_log_warn(p->log, "kafka.waiting", CS_STR("for", "a broker"));
        said = true;
        if (r != -ETIMEDOUT)
            (void)poll(&(struct pollfd){.fd = p->signal_fd, .events = POLLIN}, 1, 500);
    }
    cs_kafka_admin_free(admin);
    atomic_store(&p->down, false);
    cs_metric_set(p->m.up, 1);
    if (r < 0 || p->stopping || p->failed)
        return r < 0 ? r : -ECANCELED;
    for (int i = 0; i < CS_TOPIC_COUNT_; i++) {
        char why[WHY_MAX];

        if (counts[i] == counts[CS_TOPIC_FEEDBACK] && counts[i] > 0)
            continue;
        if (counts[i] == 0)
            missing_text(p, (enum cs_topic)i, why, sizeof(why));
        else
            snprintf(why, sizeof(why),
                     "topic %s%s has %d partitions, feedback.v1 has %d: all must have as many",
                     p->conf->common.kafka_prefix, cs_topic_name((enum cs_topic)i), counts[i],
                     counts[CS_TOPIC_FEEDBACK]);
        fail(p, EX_CONFIG, "topics.refused", why);
        return -EINVAL;
    }
    p->n_partitions = counts[CS_TOPIC_FEEDBACK];
    p->owned = calloc((size_t)p->n_partitions, sizeof(*p->owned));
    if (p->owned == NULL || cs_schedule_new(p->n_partitions, &p->schedule) < 0) {
        fail_errno(p, -ENOMEM);
        return -ENOMEM;
    }
    cs_schedule_set_places(p->schedule, (unsigned)p->conf->schedule.jobs_per_partition);
    return 0;
}

/* --- rebalances -------------------------------------------------------------------------------- */

static void set_mode(struct cs_producer *p, enum cs_producer_mode mode)
{
    atomic_store(&p->mode, (int)mode);
    cs_metric_set(p->m.partitions, mode == CS_PRODUCER_IDLE ? 0 : (int64_t)p->n_assigned);
    cs_metric_set(p->m.restored, mode == CS_PRODUCER_SERVING ? (int64_t)p->n_assigned : 0);
}

static void drop_batch(struct cs_producer *p)
{
    cs_ledger_batch_free(p->batch);
    p->batch = NULL;
    p->batch_again_mono_ms = CS_NEVER;
    p->batch_tries = 0;
}

static void begin_restore(struct cs_producer *p)
{
    set_mode(p, CS_PRODUCER_RESTORING);
    if (cs_ledger_restore(p->ledger, p->assigned, p->n_assigned) < 0)
        fail_errno(p, -ENOMEM);
}

static void on_assign(struct cs_producer *p)
{
    const int32_t *partitions;
    size_t n = cs_kafka_in_partitions(p->in, &partitions);

    free(p->assigned);
    p->assigned = malloc((n + 1) * sizeof(*p->assigned));
    cs_kafka_group_free(p->group);
    p->group = cs_kafka_in_group(p->in);
    if (p->assigned == NULL || p->group == NULL) {
        fail_errno(p, -ENOMEM);
        return;
    }
    memcpy(p->assigned, partitions, n * sizeof(*partitions));
    p->n_assigned = n;
    cs_log_info(p->log, "partitions.assigned", CS_I64("partitions", n));
    begin_restore(p);
}

/* The ledger has to be done with whatever it does for the partitions that go. */
static void quiet_ledger(struct cs_producer *p)
{
    struct cs_ledger_result result;

    if (!cs_ledger_is_busy(p->ledger))
        return;
    cs_ledger_cancel(p->ledger);
    cs_ledger_next(p->ledger, REVOKE_MS, &result);
    if (result.end == CS_LEDGER_NONE)
        fail(p, EX_SOFTWARE, "producer.failed", "the ledger did not come to an end");
    else if (result.end == CS_LEDGER_FENCED)
        fail(p, EX_CONFIG, "producer.fenced", result.error);
    cs_ledger_result_clear(&result);
}

static void on_revoke(struct cs_producer *p, bool lost)
{
    cs_log_info(p->log, "partitions.revoked", CS_I64("partitions", p->n_assigned),
                CS_BOOL("lost", lost));
    quiet_ledger(p);
    drop_batch(p);
    cs_producer_drop_held(p);
    p->consuming = false;
    /* what was applied and not committed is not lost: its offsets are not committed either */
    cs_producer_drop_parts(p);
    p->n_assigned = 0;
    set_mode(p, CS_PRODUCER_IDLE);
    if (cs_kafka_in_unassign(p->in) < 0)
        cs_log_warn(p->log, "kafka.unassign_failed");
}

static void on_restored(struct cs_producer *p, struct cs_ledger_result *result)
{
    int r = cs_producer_take_parts(p, result);

    /* After a commit of unknown result the consumer goes on where it is: what it gave us since the last
     * commit that is certain was kept. */
    if (r == 0 && p->consuming)
        r = cs_producer_take_held(p);
    else if (r == 0)
        r = cs_kafka_in_assign(p->in, result->offsets, result->n_offsets);
    p->consuming = true;
    if (r < 0) {
        fail_errno(p, r);
        return;
    }
    cs_metric_observe_milli(p->m.restore_seconds, result->took_ms);
    set_mode(p, CS_PRODUCER_SERVING);
}

/* --- the ledger -------------------------------------------------------------------------------- */

static void hand_over(struct cs_producer *p)
{
    p->batch_again_mono_ms = CS_NEVER;
    cs_ledger_commit(p->ledger, p->batch, p->group);
}

static void on_unknown(struct cs_producer *p, const char *error)
{
    cs_log_warn(p->log, "commit.unknown", CS_STR("error", error));
    drop_batch(p);
    cs_producer_drop_parts(p);
    begin_restore(p);
}

static void on_end(struct cs_producer *p, struct cs_ledger_result *result)
{
    switch (result->end) {
    case CS_LEDGER_NONE: return;
    case CS_LEDGER_COMMITTED:
        cs_metric_add(p->m.commits[0], 1);
        cs_metric_observe_milli(p->m.commit_seconds, result->took_ms);
        if (p->batch_tries > 0)
            cs_log_info(p->log, "commit.works_again", CS_I64("tries", p->batch_tries + 1));
        cs_producer_forget_held(p);
        drop_batch(p);
        return;
    case CS_LEDGER_NOT_DONE:
        cs_metric_add(p->m.commits[1], 1);
        cs_log_warn(p->log, "commit.again", CS_STR("error", result->error),
                    CS_I64("tries", p->batch_tries + 1));
        p->batch_tries++;
        p->batch_again_mono_ms =
            p->mono_ms + cs_backoff_ms(p->batch_tries, 100, 5000, (uint64_t)p->now_ms);
        return;
    case CS_LEDGER_UNKNOWN:
        cs_metric_add(p->m.commits[2], 1);
        on_unknown(p, result->error);
        return;
    case CS_LEDGER_FENCED:
        cs_metric_add(p->m.commits[3], 1);
        fail(p, EX_CONFIG, "producer.fenced",
             "another process runs with this instance_id: give each its own");
        return;
    case CS_LEDGER_REFUSED:
        fail(p, EX_SOFTWARE, "producer.failed", "the broker refuses a message as too large");
        return;
    case CS_LEDGER_RESTORED: on_restored(p, result); return;
    case CS_LEDGER_CANCELLED: return; /* a revocation follows or has come */
    }
}

static void step_ledger(struct cs_producer *p)
{
    struct cs_ledger_result result;
    int r;

    cs_ledger_next(p->ledger, 0, &result);
    on_end(p, &result);
    cs_ledger_result_clear(&result);
    if (p->failed || atomic_load(&p->mode) != CS_PRODUCER_SERVING || cs_ledger_is_busy(p->ledger))
        return;
    if (p->batch != NULL) {
        if (p->batch_again_mono_ms <= p->mono_ms)
            hand_over(p);
        return;
    }
    r = cs_producer_make_batch(p, &p->batch);
    if (r < 0)
        fail_errno(p, r);
    else if (p->batch != NULL)
        hand_over(p);
}

/* --- the loop ---------------------------------------------------------------------------------- */

static void on_event(struct cs_producer *p, enum cs_kafka_event event, bool lost)
{
    switch (event) {
    case CS_KAFKA_EV_ASSIGN: on_assign(p); return;
    case CS_KAFKA_EV_REVOKE: on_revoke(p, lost); return;
    case CS_KAFKA_EV_FENCED: fail_fenced(p); return;
    case CS_KAFKA_EV_ERROR: fail(p, EX_SOFTWARE, "producer.failed", "Kafka consumer"); return;
    case CS_KAFKA_EV_DOWN:
        atomic_store(&p->down, true);
        cs_metric_set(p->m.up, 0);
        cs_log_warn(p->log, "kafka.down");
        return;
    case CS_KAFKA_EV_UP:
        atomic_store(&p->down, false);
        cs_metric_set(p->m.up, 1);
        cs_log_info(p->log, "kafka.up");
        return;
    case CS_KAFKA_EV_NONE:
    case CS_KAFKA_EV_MESSAGE: return;
    }
}

/* Takes what has come, up to a bound. While a batch cannot be committed nothing more is taken in than
 * one turn's worth, so memory stays flat when the broker is away. */
static void pull(struct cs_producer *p)
{
    for (int i = 0; i < PULL_MAX && !p->failed; i++) {
        bool want = atomic_load(&p->mode) == CS_PRODUCER_SERVING && p->batch_tries == 0 &&
                    p->dirty.n < PULL_MAX;
        struct cs_kafka_msg msg;
        bool lost = false;
        enum cs_kafka_event event = cs_kafka_in_next(p->in, want, 0, &msg, &lost);
        int r;

        if (event == CS_KAFKA_EV_NONE)
            return;
        if (event != CS_KAFKA_EV_MESSAGE) {
            on_event(p, event, lost);
            continue;
        }
        r = cs_producer_take_message(p, &msg);
        if (r < 0)
            fail_errno(p, r);
    }
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void wait_for_work(struct cs_producer *p)
{
    struct pollfd fds[] = {
        {.fd = p->signal_fd, .events = POLLIN},
        {.fd = cs_kafka_in_fd(p->in), .events = POLLIN},
        {.fd = cs_ledger_fd(p->ledger), .events = POLLIN},
    };
    int64_t next_ms = cs_schedule_next_ms(p->schedule);
    int64_t wait_ms =
        lesser(500, cs_producer_sweep_wait_ms(p)); /* the consumer wants to be asked */

    /* while a batch is tried again nothing is issued: what is due then would make the loop spin */
    if (next_ms != CS_NEVER && p->batch_tries == 0)
        wait_ms = lesser(wait_ms, next_ms > p->now_ms ? next_ms - p->now_ms : 0);
    if (p->batch_again_mono_ms != CS_NEVER)
        wait_ms = lesser(
            wait_ms, p->batch_again_mono_ms > p->mono_ms ? p->batch_again_mono_ms - p->mono_ms : 0);
    if (poll(fds, sizeof(fds) / sizeof(fds[0]), (int)wait_ms) < 0 && errno != EINTR)
        fail_errno(p, -errno);
}

static void turn(struct cs_producer *p)
{
    int r;

    p->now_ms = cs_clock_utc_ms();
    p->mono_ms = cs_clock_mono_ms();
    atomic_store(&p->turned_mono_ms, p->mono_ms);
    take_signals(p);
    pull(p);
    if (atomic_load(&p->mode) == CS_PRODUCER_SERVING && !p->failed && p->batch_tries == 0) {
        r = cs_producer_issue(p);
        if (r < 0)
            fail_errno(p, r);
    }
    cs_producer_sweep(p);
    if (!p->failed)
        step_ledger(p);
}

/* A batch that is with the ledger is waited for, what came after it is made durable too. */
static void drain(struct cs_producer *p)
{
    int64_t until_ms = cs_clock_mono_ms() + 5000;

    while (!p->failed && atomic_load(&p->mode) == CS_PRODUCER_SERVING &&
           cs_clock_mono_ms() < until_ms) {
        struct cs_ledger_result result;

        p->mono_ms = cs_clock_mono_ms();
        if (cs_ledger_is_busy(p->ledger)) {
            cs_ledger_next(p->ledger, 1000, &result);
            on_end(p, &result);
            cs_ledger_result_clear(&result);
            continue;
        }
        if (p->batch != NULL || (p->dirty.n == 0 && p->n_dead == 0))
            return; /* it would not be taken, or there is nothing more */
        step_ledger(p);
    }
}

int cs_producer_run(struct cs_producer *p)
{
    if (learn_topics(p) < 0)
        return p->exit_code; /* 0 when a signal ended the wait */
    if (cs_kafka_in_subscribe(p->in) < 0)
        fail(p, EX_SOFTWARE, "producer.failed", "cannot subscribe");
    while (!p->stopping && !p->failed) {
        turn(p);
        if (!p->failed && !p->stopping)
            wait_for_work(p);
    }
    drain(p);
    cs_log_info(p->log, "producer.stopped", CS_I64("code", p->exit_code));
    return p->exit_code;
}

/* --- life -------------------------------------------------------------------------------------- */

static int open_admin(struct cs_producer *p, struct cs_conf_error *err)
{
    static struct cs_admin_route routes[] = {{"/status.json", cs_producer_status_json, NULL},
                                             {NULL, NULL, NULL}};
    struct cs_admin_params params = {
        .listen = p->conf->common.admin_listen,
        .metrics = p->metrics,
        .livez = cs_producer_livez,
        .readyz = cs_producer_readyz,
        .user = p,
        .routes = routes,
    };
    int r;

    if (params.listen == NULL || params.listen[0] == '\0')
        return 0;
    routes[0].user = p;
    r = cs_admin_new(&params, &p->admin);
    if (r < 0) {
        snprintf(err->text, sizeof(err->text), "admin.listen: %s", strerror(-r));
        return r;
    }
    cs_log_info(p->log, "admin.listening", CS_I64("port", cs_admin_port(p->admin)));
    return 0;
}

int cs_producer_new(const struct cs_producer_params *params, struct cs_producer **ret,
                    struct cs_conf_error *err)
{
    static const enum cs_topic topics[] = {CS_TOPIC_FEEDBACK, CS_TOPIC_COMMANDS, CS_TOPIC_OUTBOX};
    struct cs_producer *p = calloc(1, sizeof(*p));
    int r;

    err->text[0] = '\0';
    if (p == NULL)
        return -ENOMEM;
    p->config_path = params->config_path;
    p->conf = params->conf;
    p->tenants = cs_tenants_ref(params->tenants);
    p->log = params->log;
    p->signal_fd = params->signal_fd;
    p->exactly_once = p->conf->common.kafka_delivery == CS_EXACTLY_ONCE;
    p->batch_again_mono_ms = CS_NEVER;
    cs_producer_init_held(p);
    pthread_mutex_init(&p->view_lock, NULL);
    cs_buf_init(&p->view, 0);
    cs_buf_init(&p->sweep.list, 0);
    atomic_store(&p->turned_mono_ms, cs_clock_mono_ms());
    r = cs_metrics_new(&p->metrics);
    if (r < 0)
        goto out;
    cs_producer_make_metrics(p);
    if (cs_uuid4(p->nonce) < 0) {
        r = -EIO;
        goto out;
    }
    r = open_admin(p, err);
    if (r < 0)
        goto out;
    r = cs_kafka_in_new(&p->conf->common, CS_GROUP_PRODUCER, topics,
                        sizeof(topics) / sizeof(topics[0]), p->log, &p->in, err);
    if (r < 0)
        goto out;
    r = cs_ledger_new(&p->conf->common, p->in, p->log, &p->ledger, err);
    if (r < 0)
        goto out;
    *ret = p;
    p = NULL;
out:
    cs_producer_free(p);
    return r;
}

void cs_producer_free(struct cs_producer *p)
{
    struct cs_producer_tenant *t;
    size_t slot = 0;

    if (p == NULL)
        return;
    cs_admin_free(p->admin); /* its thread looks at the rest */
    if (p->schedule != NULL)
        cs_producer_drop_parts(p);
    cs_ledger_free(p->ledger);
    cs_kafka_group_free(p->group);
    cs_kafka_in_free(p->in);
    drop_batch(p);
    cs_producer_drop_held(p);
    cs_schedule_free(p->schedule);
    while ((t = cs_strmap_next(&p->by_tenant, &slot, NULL)) != NULL) {
        free(t->name);
        free(t);
    }
    cs_strmap_clear(&p->by_tenant);
    free(p->owned);
    free(p->assigned);
    free(p->dead);
    cs_metrics_free(p->metrics);
    cs_tenants_unref(p->tenants);
    cs_buf_clear(&p->view);
    cs_buf_clear(&p->sweep.list);
    pthread_mutex_destroy(&p->view_lock);
    free(p);
}
