#include "worker/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/admin.h"
#include "common/clock.h"
#include "common/kafka_admin.h"
#include "worker/checkpoint.h"
#include "worker/index_scan.h"
#include "worker/intake.h"
#include "worker/job_run.h"
#include "worker/zone.h"

#define TURN_MS   250   /* the consumer wants to be asked this often */
#define STUCK_MS  60000 /* a loop that has not turned for so long is not alive */
#define TOPICS_MS 2000  /* one try to learn the topics */
#define FLUSH_MS  4000  /* after the drain, for the last commit */
#define REREAD_MS 10000 /* between two readings of the configuration because of an unknown tenant */

struct cs_worker {
    const char *config_path;
    struct cs_worker_conf *conf;
    struct cs_tenant_set *tenants;
    struct cs_log *log;
    int signal_fd;
    struct cs_index_scan *index;
    int wake_fd; /* written by the threads of the checkpoint and of the index */

    struct cs_metrics *metrics;
    struct cs_admin *admin;
    struct cs_zones *zones;
    struct cs_http *http;
    struct cs_tokens *tokens;
    struct cs_throttle *throttle;
    struct cs_jobs *jobs;
    struct cs_kafka_in *in;
    struct cs_checkpoint *checkpoint;
    _Atomic(struct cs_intake *) intake; /* the admin thread asks it */
    atomic_llong turned_ms;

    bool draining;
    bool hurried;
    bool failed;
    int exit_code;
    int64_t drain_until_ms;
    int64_t reread_ms; /* when the configuration was read last because of an unknown tenant */
    struct cs_metric *reloads, *reload_errors;
};

static void fail(struct cs_worker *w, int code, const char *event, const char *why)
{
    if (w->failed)
        return;
    cs_log_error(w->log, event, CS_STR("reason", why));
    w->failed = true;
    w->exit_code = code;
}

static void fail_errno(struct cs_worker *w, int r)
{
    if (r == -EPERM)
        fail(w, EX_CONFIG, "worker.fenced",
             "another process runs with this instance_id: give each its own");
    else
        fail(w, EX_SOFTWARE, "worker.failed", strerror(-r));
}

/* ---- configuration -------------------------------------------------------------------------------------- */

static void reload(struct cs_worker *w, const char *why)
{
    struct cs_work_conf *work = &w->conf->work;
    struct cs_intake *intake = atomic_load(&w->intake);
    struct cs_tenant_set *tenants = NULL;
    struct cs_worker_conf conf;
    struct cs_conf_error err;

    if (cs_worker_conf_load(w->config_path, &conf, &tenants, &err) < 0) {
        cs_metric_add(w->reload_errors, 1);
        cs_log_error(w->log, "config.refused", CS_STR("error", err.text));
        return;
    }
    work->max_jobs = conf.work.max_jobs;
    work->max_bytes = conf.work.max_bytes;
    work->drain_ms = conf.work.drain_ms;
    w->conf->common.log_level = conf.common.log_level;
    cs_worker_conf_clear(&conf);
    cs_log_set_level(w->log, (enum cs_log_level)w->conf->common.log_level);
    if (intake != NULL)
        cs_intake_set_bounds(intake, (size_t)work->max_jobs, (size_t)work->max_bytes);
    cs_jobs_set_tenants(w->jobs, tenants);
    cs_tenants_unref(w->tenants);
    w->tenants = tenants;
    cs_metric_add(w->reloads, 1);
    cs_log_info(w->log, "config.reloaded", CS_STR("why", why), CS_I64("tenants", tenants->n));
}

/* ---- signals -------------------------------------------------------------------------------------------- */

static void begin_drain(struct cs_worker *w, unsigned signal)
{
    struct cs_intake *intake = atomic_load(&w->intake);
    size_t running = 0;

    w->draining = true;
    w->drain_until_ms = cs_clock_mono_ms() + w->conf->work.drain_ms;
    if (intake != NULL) {
        cs_intake_drain(intake);
        (void)cs_intake_inflight(intake, &running);
    }
    cs_log_info(w->log, "worker.draining", CS_I64("signal", signal), CS_I64("running", running),
                CS_I64("at_most_ms", w->conf->work.drain_ms));
}

static void end_at_once(struct cs_worker *w)
{
    struct cs_intake *intake = atomic_load(&w->intake);
    size_t running = 0, all = 0;

    if (intake != NULL) {
        all = cs_intake_inflight(intake, &running);
        cs_intake_drop_running(intake);
    }
    cs_log_warn(w->log, "worker.dropped", CS_I64("running", running),
                CS_I64("uncommitted", all - running), CS_STR("why", "second signal"));
    w->hurried = true;
    w->exit_code = EX_TEMPFAIL;
}

static void take_signals(struct cs_worker *w)
{
    struct signalfd_siginfo info;

    while (read(w->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            reload(w, "SIGHUP");
        else if (!w->draining)
            begin_drain(w, info.ssi_signo);
        else if (!w->hurried)
            end_at_once(w);
    }
}

/* ---- topics --------------------------------------------------------------------------------------------- */

/* What is wrong with the topics; "" if nothing is. *missing: it may only be a matter of time. */
static void judge_topics(const struct cs_worker *w, const int32_t counts[], bool *missing,
                         char why[250])
{
    why[0] = '\0';
    *missing = false;
    for (int i = 0; i < CS_TOPIC_COUNT_; i++) {
        if (counts[i] == 0) {
            *missing = true;
            snprintf(why, 250, "topic %.180s%s is not there: crmsync-producer topics --apply",
                     w->conf->common.kafka_prefix, cs_topic_name((enum cs_topic)i));
            return;
        }
        if (counts[i] != counts[CS_TOPIC_JOBS] && counts[CS_TOPIC_JOBS] > 0)
            snprintf(why, 250,
                     "topic %.120s%s has %d partitions, jobs.v1 has %d: all must have as many",
                     w->conf->common.kafka_prefix, cs_topic_name((enum cs_topic)i), counts[i],
                     counts[CS_TOPIC_JOBS]);
    }
}

/* Waits for a broker, and for a while for the topics. @return their partition count, 0: no (exit_code says why) */
static int32_t learn_topics(struct cs_worker *w)
{
    int64_t until_ms = CS_NEVER;
    struct cs_kafka_admin *admin = NULL;
    struct cs_conf_error err = {""};
    int32_t counts[CS_TOPIC_COUNT_], n = 0;
    const char *said = NULL;
    int r = cs_kafka_admin_new(&w->conf->common, w->log, &admin, &err);

    if (r < 0) {
        fail(w, EX_CONFIG, "config.refused", r == -EINVAL ? err.text : strerror(-r));
        return 0;
    }
    while (n == 0 && !w->failed && !w->draining) {
        char why[250] = "a broker";
        const char *event = "kafka.waiting";
        bool missing = false;

        r = cs_kafka_admin_partitions(admin, TOPICS_MS, counts, NULL);
        if (r == 0) {
            event = "topics.waiting";
            judge_topics(w, counts, &missing, why);
            if (why[0] == '\0') {
                n = counts[CS_TOPIC_JOBS];
                break;
            }
            if (until_ms == CS_NEVER)
                until_ms = cs_clock_mono_ms() + w->conf->work.topics_wait_ms;
            if (!missing || cs_clock_mono_ms() >= until_ms) {
                fail(w, EX_CONFIG, "topics.refused", why);
                break;
            }
        }
        if (said != event)
            cs_log_warn(w->log, event, CS_STR("for", why));
        said = event;
        (void)poll(&(struct pollfd){.fd = w->signal_fd, .events = POLLIN}, 1, 500);
        take_signals(w);
        atomic_store(&w->turned_ms, cs_clock_mono_ms());
    }
    cs_kafka_admin_free(admin);
    return n;
}

/* ---- the engine ------------------------------------------------------------------------------------------- */

static int start_job(void *user, struct cs_job *job, void *tag)
{
    struct cs_worker *w = user;
    const struct cs_tenant *tenant = cs_tenants_find(w->tenants, job->tenant);
    int64_t now_ms = cs_clock_mono_ms();

    /* configuration reaches producers and workers at different times */
    if ((tenant == NULL || !cs_tenant_has_mailbox(tenant, job->mailbox)) &&
        now_ms - w->reread_ms >= REREAD_MS) {
        w->reread_ms = now_ms;
        reload(w, "a job names a tenant or mailbox that is not known");
    }
    return cs_jobs_start(w->jobs, job, tag);
}

static void cancel_job(void *user, void *tag)
{
    struct cs_worker *w = user;

    cs_jobs_cancel(w->jobs, tag);
}

static size_t job_bytes(void *user)
{
    const struct cs_worker *w = user;

    return cs_jobs_bytes(w->jobs);
}

static void on_job_finished(void *user, void *tag, struct cs_job_output *out)
{
    struct cs_worker *w = user;
    int r = cs_intake_finished(atomic_load(&w->intake), tag, out);

    if (r < 0)
        fail_errno(w, r);
}

/* ---- the loop ----------------------------------------------------------------------------------------------- */

static bool is_drained(struct cs_worker *w, int64_t now_ms)
{
    struct cs_intake *intake = atomic_load(&w->intake);
    size_t running = 0, all = cs_intake_inflight(intake, &running);

    if (all == 0)
        return true;
    if (now_ms >= w->drain_until_ms) {
        cs_intake_drop_running(intake);
        all = cs_intake_inflight(intake, &running);
    }
    if (all > 0 && now_ms >= w->drain_until_ms + FLUSH_MS) {
        cs_log_warn(w->log, "worker.dropped", CS_I64("running", running),
                    CS_I64("uncommitted", all - running),
                    CS_STR("why", "the broker did not take the last commit in time"));
        return true;
    }
    return all == 0;
}

static void wait_for_work(struct cs_worker *w)
{
    const int fds[] = {w->signal_fd, w->wake_fd, cs_kafka_in_fd(w->in)};
    int64_t next_ms = cs_jobs_next_ms(w->jobs), now_ms = cs_clock_mono_ms(), wait_ms = TURN_MS;
    uint64_t count;

    if (next_ms != CS_NEVER && next_ms - now_ms < wait_ms)
        wait_ms = next_ms > now_ms ? next_ms - now_ms : 0;
    cs_http_wait(w->http, fds, sizeof(fds) / sizeof(fds[0]), (int)wait_ms);
    /* what it announces is looked at in the next turn in any case */
    if (read(w->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        fail_errno(w, -errno);
}

static void turn(struct cs_worker *w)
{
    int64_t now_ms = cs_clock_mono_ms();
    int r;

    atomic_store(&w->turned_ms, now_ms);
    take_signals(w);
    cs_http_step(w->http);
    cs_jobs_step(w->jobs, now_ms); /* finished work is handed over before new work is taken */
    r = cs_intake_step(atomic_load(&w->intake));
    if (r < 0)
        fail_errno(w, r);
}

static int open_intake(struct cs_worker *w, int32_t n_partitions)
{
    const struct cs_common_conf *common = &w->conf->common;
    const struct cs_work_conf *work = &w->conf->work;
    struct cs_checkpoint_params cp = {
        .conf = common,
        .in = w->in,
        .log = w->log,
        .metrics = w->metrics,
        .wake_fd = w->wake_fd,
        .session_timeout_ms = cs_worker_property_ms(common, "session.timeout.ms", 15000),
        .transaction_timeout_ms = cs_worker_property_ms(common, "transaction.timeout.ms", 15000),
        .batch_bytes = (size_t)work->batch_bytes,
        .test_hooks = cs_url_is_loopback(common->graph_base_url),
    };
    struct cs_intake_params ip = {
        .conf = common,
        .in = w->in,
        .log = w->log,
        .metrics = w->metrics,
        .n_partitions = n_partitions,
        .max_jobs = (size_t)work->max_jobs,
        .max_bytes = (size_t)work->max_bytes,
        .revoke_ms = (int)work->revoke_ms,
        .start = start_job,
        .cancel = cancel_job,
        .bytes = job_bytes,
        .user = w,
    };
    struct cs_intake *intake = NULL;
    int r = cs_index_scan_new(common, w->log, w->metrics, w->wake_fd, &w->index);

    if (r == 0) {
        cs_jobs_set_index(w->jobs, w->index, n_partitions);
        r = cs_checkpoint_new(&cp, &w->checkpoint);
    }
    if (r == 0) {
        ip.checkpoint = w->checkpoint;
        r = cs_intake_new(&ip, &intake);
    }
    if (r == 0) {
        atomic_store(&w->intake, intake);
        r = cs_kafka_in_subscribe(w->in);
    }
    return r;
}

int cs_worker_run(struct cs_worker *w)
{
    int32_t n_partitions = learn_topics(w);
    int r;

    if (n_partitions == 0)
        return w->exit_code; /* 0 when a signal ended the wait */
    r = open_intake(w, n_partitions);
    if (r < 0)
        fail_errno(w, r);
    else
        cs_log_info(w->log, "worker.started", CS_I64("partitions", n_partitions));
    while (!w->failed && !w->hurried) {
        turn(w);
        if (w->failed || w->hurried || (w->draining && is_drained(w, cs_clock_mono_ms())))
            break;
        wait_for_work(w);
    }
    if (!w->failed && !w->hurried)
        cs_intake_close(atomic_load(&w->intake));
    cs_log_info(w->log, "worker.stopped", CS_I64("code", w->exit_code));
    return w->exit_code;
}

bool cs_worker_is_hurried(const struct cs_worker *w)
{
    return w->hurried;
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static int livez(void *user, struct cs_buf *out, const char **content_type)
{
    struct cs_worker *w = user;
    bool alive = cs_clock_mono_ms() - atomic_load(&w->turned_ms) < STUCK_MS;

    (void)content_type;
    cs_buf_adds(out, alive ? "alive\n" : "the loop does not turn\n");
    return alive ? 200 : 503;
}

static int readyz(void *user, struct cs_buf *out, const char **content_type)
{
    struct cs_worker *w = user;
    const struct cs_intake *intake = atomic_load(&w->intake);
    const char *why = "topics are not known yet";
    bool ready = intake != NULL && cs_intake_is_ready(intake, &why);

    (void)content_type;
    cs_buf_addf(out, "%s\n", ready ? "ready" : why);
    return ready ? 200 : 503;
}

static int open_admin(struct cs_worker *w, struct cs_conf_error *err)
{
    struct cs_admin_params params = {.listen = w->conf->common.admin_listen,
                                     .metrics = w->metrics,
                                     .livez = livez,
                                     .readyz = readyz,
                                     .user = w};
    int r;

    if (params.listen == NULL || params.listen[0] == '\0')
        return 0;
    r = cs_admin_new(&params, &w->admin);
    if (r < 0) {
        snprintf(err->text, sizeof(err->text), "admin.listen: %s", strerror(-r));
        return r;
    }
    cs_log_info(w->log, "admin.listening", CS_I64("port", cs_admin_port(w->admin)));
    return 0;
}

static int open_engine(struct cs_worker *w)
{
    const struct cs_work_conf *work = &w->conf->work;
    const struct cs_common_conf *common = &w->conf->common;
    struct cs_http_params hp = {
        .ca_file = common->graph_ca_file,
        .connect_timeout_ms = work->connect_timeout_ms,
        .request_timeout_ms = work->request_timeout_ms,
        .max_body_bytes = (size_t)work->answer_max_bytes,
        .max_connections = (unsigned)work->max_connections,
        .metrics = w->metrics,
    };
    struct cs_jobs_params jp = {
        .base_url = common->graph_base_url,
        .limits = {.job_ms = work->job_ms,
                   .pages = (size_t)work->job_pages,
                   .items = (size_t)work->job_items,
                   .bytes = (size_t)work->job_bytes,
                   .delta_page = (unsigned)work->delta_page,
                   .slice_page = (unsigned)work->slice_page,
                   .short_wait_ms = work->short_wait_ms,
                   .tries = (unsigned)work->request_tries},
        .record_max_bytes = CS_RECORD_DEFAULT_BYTES,
        .metrics = w->metrics,
        .log = w->log,
        .on_finished = on_job_finished,
        .user = w,
    };
    int r = cs_http_new(&hp, &w->http);

    if (r == 0)
        r = cs_throttle_new(&w->throttle);
    if (r == 0)
        r = cs_tokens_new(w->http, common->graph_login_url, common->graph_base_url,
                          w->conf->work.token_retry_ms, w->log, w->metrics, &w->tokens);
    if (r < 0)
        return r;
    jp.http = w->http;
    jp.throttle = w->throttle;
    jp.tokens = w->tokens;
    jp.zones = w->zones;
    return cs_jobs_new(&jp, w->tenants, &w->jobs);
}

int cs_worker_new(const struct cs_worker_params *params, struct cs_worker **ret,
                  struct cs_conf_error *err)
{
    static const enum cs_topic topics[] = {CS_TOPIC_JOBS};
    struct cs_worker *w = calloc(1, sizeof(*w));
    int r;

    err->text[0] = '\0';
    if (w == NULL)
        return -ENOMEM;
    w->config_path = params->config_path;
    w->conf = params->conf;
    w->tenants = cs_tenants_ref(params->tenants);
    w->log = params->log;
    w->signal_fd = params->signal_fd;
    w->reread_ms = cs_clock_mono_ms();
    atomic_store(&w->turned_ms, cs_clock_mono_ms());
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r = w->wake_fd < 0 ? -errno : cs_metrics_new(&w->metrics);
    if (r < 0)
        goto out;
    w->reloads = cs_metrics_counter(w->metrics, "crmsync_config_reloads_total", NULL,
                                    "Configuration read again.");
    w->reload_errors =
        cs_metrics_counter(w->metrics, "crmsync_config_reload_errors_total", NULL,
                           "Configuration read again and refused; the old one is kept.");
    r = cs_zones_open(NULL, &w->zones);
    if (r < 0) {
        snprintf(err->text, sizeof(err->text), "time zones: %s (package tzdata)", strerror(-r));
        goto out;
    }
    r = open_engine(w);
    if (r == 0)
        r = cs_kafka_in_new(&w->conf->common, CS_GROUP_WORKER, topics, 1, w->log, &w->in, err);
    if (r == 0)
        r = open_admin(w, err);
    if (r < 0)
        goto out;
    *ret = w;
    w = NULL;
out:
    if (r < 0 && err->text[0] == '\0')
        snprintf(err->text, sizeof(err->text), "%s", strerror(-r));
    cs_worker_free(w);
    return r;
}

void cs_worker_free(struct cs_worker *w)
{
    if (w == NULL)
        return;
    cs_admin_free(w->admin); /* its thread looks at the rest */
    cs_jobs_free(w->jobs);   /* drops its requests */
    cs_index_scan_free(w->index);
    cs_checkpoint_free(w->checkpoint); /* uses the consumer */
    cs_intake_free(atomic_load(&w->intake));
    cs_kafka_in_free(w->in);
    cs_tokens_free(w->tokens);
    cs_throttle_free(w->throttle);
    cs_http_free(w->http);
    cs_zones_close(w->zones);
    cs_metrics_free(w->metrics);
    cs_tenants_unref(w->tenants);
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    free(w);
}
