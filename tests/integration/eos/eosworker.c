/* eosworker - the worker's intake and checkpoint with an engine that asks nobody: each job ends after a random delay
 * with a fixed number of records. So that what becomes of them under kills and unknown commits can be counted.
 *
 *   eosworker CONFIG RECORDS MAX_DELAY_MS [BIG]
 *
 * A job whose reason is "big" leaves BIG bytes in its first record; one whose reason is "poison" kills the process when it
 * is due. SIGTERM ends it when all is committed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/kafka_admin.h"
#include "common/tenant.h"
#include "worker/checkpoint.h"
#include "worker/intake.h"
#include "worker/settings.h"

#define JOBS_MAX 1000

struct fake {
    bool used;
    struct cs_job job;
    void *tag;
    int64_t due_ms;
};

static struct fake fakes[JOBS_MAX];
static struct cs_intake *intake;
static size_t n_records;
static int64_t max_delay_ms;
static size_t big_bytes;
static uint64_t seed;

static int on_start(void *user, struct cs_job *job, void *tag)
{
    (void)user;
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (!fakes[i].used) {
            seed = cs_mix64(seed + 1);
            fakes[i] = (struct fake){true, *job, tag, 0};
            fakes[i].due_ms = cs_clock_mono_ms() + (int64_t)(seed % (uint64_t)(max_delay_ms + 1));
            return 0;
        }
    cs_job_clear(job);
    return -ENOMEM;
}

static void on_cancel(void *user, void *tag)
{
    (void)user;
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (fakes[i].used && fakes[i].tag == tag) {
            cs_job_clear(&fakes[i].job);
            fakes[i].used = false;
        }
}

static size_t on_bytes(void *user)
{
    (void)user;
    return 0;
}

static bool make_record(const struct cs_job *job, size_t i, struct cs_record *rec)
{
    struct cs_buf value;
    char text[CS_KEY_MAX];

    rec->kind = CS_KIND_EMAIL;
    rec->change = CS_UPSERTED;
    snprintf(text, sizeof(text), "%s-%zu", job->job_id, i);
    rec->item_id = strdup(text);
    snprintf(rec->ce_id, sizeof(rec->ce_id), "%s-%zu", job->job_id, i);
    snprintf(rec->change_key, sizeof(rec->change_key), "ck-%zu", i);
    rec->key_len = (size_t)cs_record_key(text, sizeof(text), job->tenant, job->mailbox, rec->kind,
                                         rec->item_id);
    rec->key = strdup(text);
    rec->received_utc_ms = job->created_utc_ms;
    cs_buf_init(&value, 0);
    cs_buf_addf(&value, "{\"job_id\":\"%s\",\"i\":%zu,\"pid\":%d,\"fill\":\"", job->job_id, i,
                (int)getpid());
    for (size_t k = 0; i == 0 && strcmp(job->reason, "big") == 0 && k < big_bytes; k++) {
        seed = cs_mix64(seed + 1); /* nothing that compresses away */
        cs_buf_addc(&value,
                    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[seed % 64]);
    }
    cs_buf_adds(&value, "\"}");
    rec->value = cs_buf_steal(&value, &rec->value_len);
    return rec->item_id != NULL && rec->key != NULL && rec->value != NULL;
}

static int finish(struct fake *f)
{
    struct cs_job_output *out = calloc(1, sizeof(*out));

    if (strcmp(f->job.reason, "poison") == 0)
        raise(SIGKILL);
    if (out == NULL || (out->records = calloc(n_records, sizeof(*out->records))) == NULL)
        abort();
    memcpy(out->feedback.job_id, f->job.job_id, sizeof(out->feedback.job_id));
    memcpy(out->feedback.tenant, f->job.tenant, sizeof(out->feedback.tenant));
    memcpy(out->feedback.mailbox, f->job.mailbox, sizeof(out->feedback.mailbox));
    out->feedback.type = f->job.type;
    out->feedback.lane = f->job.lane;
    out->feedback.attempt = f->job.attempt;
    out->feedback.retry_after_ms = -1;
    out->feedback.started_utc_ms = out->feedback.finished_utc_ms = cs_clock_utc_ms();
    for (; out->n_records < n_records; out->n_records++)
        if (!make_record(&f->job, out->n_records, &out->records[out->n_records]))
            abort();
    f->used = false;
    cs_job_clear(&f->job);
    return cs_intake_finished(intake, f->tag, out);
}

/* Ends what is due. @return when the next one is */
static int64_t run_fakes(int64_t now_ms)
{
    int64_t next_ms = CS_NEVER;

    for (size_t i = 0; i < JOBS_MAX; i++) {
        if (fakes[i].used && fakes[i].due_ms <= now_ms && finish(&fakes[i]) < 0)
            exit(70);
        if (fakes[i].used && fakes[i].due_ms < next_ms)
            next_ms = fakes[i].due_ms;
    }
    return next_ms;
}

static int32_t wait_for_topics(const struct cs_common_conf *conf, struct cs_log *log)
{
    struct cs_kafka_admin *admin = NULL;
    struct cs_conf_error err;
    int32_t counts[CS_TOPIC_COUNT_];
    int64_t until_ms = cs_clock_mono_ms() + 30000;

    if (cs_kafka_admin_new(conf, log, &admin, &err) < 0)
        return 0;
    do
        memset(counts, 0, sizeof(counts));
    while (cs_kafka_admin_partitions(admin, 2000, counts, NULL) < 0 &&
           cs_clock_mono_ms() < until_ms);
    cs_kafka_admin_free(admin);
    return counts[CS_TOPIC_JOBS];
}

static int signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
    static const enum cs_topic topics[] = {CS_TOPIC_JOBS};
    struct cs_worker_conf conf;
    struct cs_tenant_set *tenants = NULL;
    struct cs_conf_error err;
    struct cs_log *log = NULL;
    struct cs_metrics *metrics = NULL;
    struct cs_kafka_in *in = NULL;
    struct cs_checkpoint *checkpoint = NULL;
    int signal_fd = signals(), wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), r = 0;
    bool draining = false;

    if (argc < 4 || cs_worker_conf_load(argv[1], &conf, &tenants, &err) < 0) {
        fprintf(stderr, "eosworker: %s\n", argc < 4 ? "usage" : err.text);
        return 64;
    }
    n_records = (size_t)strtoul(argv[2], NULL, 10);
    max_delay_ms = strtol(argv[3], NULL, 10);
    big_bytes = argc > 4 ? (size_t)strtoul(argv[4], NULL, 10) : 0;
    seed = (uint64_t)getpid();
    if (cs_log_new("eosworker", STDERR_FILENO, CS_LOG_INFO, CS_LOG_JSON, &log) < 0 ||
        cs_metrics_new(&metrics) < 0)
        return 71;

    struct cs_checkpoint_params cp = {
        .conf = &conf.common,
        .log = log,
        .metrics = metrics,
        .wake_fd = wake_fd,
        .session_timeout_ms = cs_worker_property_ms(&conf.common, "session.timeout.ms", 15000),
        .transaction_timeout_ms =
            cs_worker_property_ms(&conf.common, "transaction.timeout.ms", 15000),
        .batch_bytes = (size_t)conf.work.batch_bytes,
        .test_hooks = true,
    };
    struct cs_intake_params ip = {
        .conf = &conf.common,
        .log = log,
        .metrics = metrics,
        .max_jobs = (size_t)conf.work.max_jobs,
        .max_bytes = (size_t)conf.work.max_bytes,
        .revoke_ms = (int)conf.work.revoke_ms,
        .n_partitions = wait_for_topics(&conf.common, log),
        .start = on_start,
        .cancel = on_cancel,
        .bytes = on_bytes,
    };
    if (cs_kafka_in_new(&conf.common, CS_GROUP_WORKER, topics, 1, log, &in, &err) < 0) {
        fprintf(stderr, "eosworker: %s\n", err.text);
        return 78;
    }
    cp.in = ip.in = in;
    if (ip.n_partitions == 0 || cs_checkpoint_new(&cp, &checkpoint) < 0)
        return 70;
    ip.checkpoint = checkpoint;
    if (cs_intake_new(&ip, &intake) < 0 || cs_kafka_in_subscribe(in) < 0)
        return 70;

    while (r == 0) {
        struct pollfd fds[] = {
            {signal_fd, POLLIN, 0}, {wake_fd, POLLIN, 0}, {cs_kafka_in_fd(in), POLLIN, 0}};
        int64_t now_ms = cs_clock_mono_ms(), next_ms = run_fakes(now_ms);
        struct signalfd_siginfo info;
        uint64_t count;

        r = cs_intake_step(intake);
        if (read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
            draining = true;
            cs_intake_drain(intake);
        }
        if (draining && cs_intake_inflight(intake, NULL) == 0)
            break;
        next_ms = next_ms - now_ms > 100 ? 100 : next_ms > now_ms ? next_ms - now_ms : 0;
        (void)poll(fds, 3, (int)next_ms);
        (void)!read(wake_fd, &count, sizeof(count)); /* looked at in any case */
    }
    if (r == 0)
        cs_intake_close(intake);
    cs_log_info(log, "eosworker.end", CS_I64("result", r));
    cs_checkpoint_free(checkpoint);
    cs_intake_free(intake);
    cs_kafka_in_free(in);
    cs_metrics_free(metrics);
    cs_log_free(log);
    cs_tenants_unref(tenants);
    cs_worker_conf_clear(&conf);
    return r == 0 ? 0 : r == -EPERM ? 78 : 70;
}
