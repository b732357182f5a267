/* jobrun - the worker's job engine without Kafka: jobs in, records and feedback out.
 *
 *   jobrun -c FILE
 *
 * FILE is a configuration of the daemons (graph.*, log.*, tenants); kafka.bootstrap_servers must be there and is not used.
 * limits.* set the engine's bounds. Standard input: one job a line (the JSON of the jobs topic). Jobs run side by side.
 * Standard output, one JSON line for each job that ended:
 *   {"feedback": {...}, "reject": reason or null, "records": [{"key", "ce_type", "ce_id", "value": {...}, "index": {...} or null}]}
 * or {"invalid": reason} for a line that is no job. Ends with 0 at the end of input, once all jobs have ended; with 0 at
 * SIGTERM at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/json_write.h"
#include "common/log.h"
#include "worker/job_run.h"
#include "worker/zone.h"

#define LINE_MAX_BYTES (4 * 1024 * 1024)

struct settings {
    struct cs_common_conf common;
    int64_t job_ms, pages, items, bytes, delta_page, slice_page, short_wait_ms, tries,
        request_timeout_ms, record_max_bytes, token_retry_ms;
};

#define AT(field) offsetof(struct settings, field)
static const struct cs_setting own[] = {
    {"limits.job_ms", CS_CONF_MS, AT(job_ms), "60000", 1, 600000, 0, "One job.", NULL},
    {"limits.pages", CS_CONF_INT, AT(pages), "20", 1, 10000, 0, "Of one part.", NULL},
    {"limits.items", CS_CONF_INT, AT(items), "1000", 1, 100000, 0, "Items of one job.", NULL},
    {"limits.bytes", CS_CONF_BYTES, AT(bytes), "33554432", 1, 1073741824, 0, "Answers kept.", NULL},
    {"limits.delta_page", CS_CONF_INT, AT(delta_page), "100", 1, 1000, 0, "Envelopes of a page.",
     NULL},
    {"limits.slice_page", CS_CONF_INT, AT(slice_page), "50", 1, 1000, 0, "Messages of a page.",
     NULL},
    {"limits.short_wait_ms", CS_CONF_MS, AT(short_wait_ms), "5000", 0, 600000, 0, "Waited out.",
     NULL},
    {"limits.tries", CS_CONF_INT, AT(tries), "3", 1, 100, 0, "Of one request.", NULL},
    {"limits.request_timeout_ms", CS_CONF_MS, AT(request_timeout_ms), "20000", 1, 600000, 0,
     "One request.", NULL},
    {"limits.record_max_bytes", CS_CONF_BYTES, AT(record_max_bytes), "1900000", CS_RECORD_MIN_BYTES,
     1900000, 0, "Of a record.", NULL},
    {"limits.token_retry_ms", CS_CONF_MS, AT(token_retry_ms), "60000", 1, 600000, 0,
     "Between requests for a token that fail.", NULL},
    {0},
};

struct program {
    struct settings settings;
    struct cs_tenant_set *tenants;
    struct cs_log *log;
    struct cs_metrics *metrics;
    struct cs_http *http;
    struct cs_tokens *tokens;
    struct cs_throttle *throttle;
    struct cs_zones *zones;
    struct cs_jobs *jobs;
    struct cs_buf in;
    bool eof;
    int failed;
};

static void print_line(struct program *p, struct cs_buf *line)
{
    cs_buf_addc(line, '\n');
    if (cs_buf_failed(line) != 0 || fwrite(line->data, 1, line->len, stdout) != line->len ||
        fflush(stdout) != 0)
        p->failed = -EIO;
}

static void write_record(struct cs_jw *jw, const struct cs_record *rec)
{
    char *index = NULL;
    size_t len = 0;

    cs_jw_object(jw);
    cs_jw_kstr(jw, "key", rec->key);
    if (rec->change != CS_NOTED) {
        cs_jw_kstr(jw, "ce_type", cs_record_ce_type(rec->kind, rec->change));
        cs_jw_kstr(jw, "ce_id", rec->ce_id);
        cs_jw_key(jw, "value");
        cs_jw_raw(jw, rec->value, rec->value_len);
    }
    cs_jw_key(jw, "index");
    if (rec->kind != CS_KIND_SEND_RESULT && cs_index_entry(rec, true, &index, &len) == 0 &&
        index != NULL)
        cs_jw_raw(jw, index, len);
    else
        cs_jw_null(jw);
    free(index);
    cs_jw_object_end(jw);
}

static void on_finished(void *user, void *tag, struct cs_job_output *out)
{
    struct program *p = user;
    struct cs_buf line, feedback;
    struct cs_jw jw;

    (void)tag;
    if (out == NULL) {
        p->failed = -ENOMEM;
        return;
    }
    cs_buf_init(&line, 0);
    cs_buf_init(&feedback, 0);
    cs_feedback_print(&out->feedback, &feedback);
    cs_jw_init(&jw, &line);
    cs_jw_object(&jw);
    cs_jw_key(&jw, "feedback");
    cs_jw_raw(&jw, feedback.data, feedback.len);
    cs_jw_kstr(&jw, "reject", out->reject_reason);
    cs_jw_key(&jw, "records");
    cs_jw_array(&jw);
    for (size_t i = 0; i < out->n_records; i++)
        if (out->records[i].change != CS_NOTED)
            write_record(&jw, &out->records[i]);
    cs_jw_array_end(&jw);
    cs_jw_key(&jw, "noted"); /* index entries that go with no record */
    cs_jw_array(&jw);
    for (size_t i = 0; i < out->n_records; i++)
        if (out->records[i].change == CS_NOTED)
            write_record(&jw, &out->records[i]);
    cs_jw_array_end(&jw);
    cs_jw_object_end(&jw);
    print_line(p, &line);
    cs_buf_clear(&line);
    cs_buf_clear(&feedback);
    cs_job_output_free(out);
}

static void invalid(struct program *p, const char *reason)
{
    struct cs_buf line;
    struct cs_jw jw;

    cs_buf_init(&line, 0);
    cs_jw_init(&jw, &line);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "invalid", reason);
    cs_jw_object_end(&jw);
    print_line(p, &line);
    cs_buf_clear(&line);
}

static void take_line(struct program *p, const char *text, size_t n)
{
    const char *reason = "";
    struct cs_job job;

    if (n == 0)
        return;
    if (cs_job_parse(text, n, &job, &reason) < 0) {
        invalid(p, reason);
        return;
    }
    if (cs_jobs_start(p->jobs, &job, NULL) < 0)
        p->failed = -ENOMEM;
}

static void read_input(struct program *p)
{
    char chunk[65536];
    ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
    char *end;

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        p->eof = true;
    if (n <= 0)
        return;
    cs_buf_add(&p->in, chunk, (size_t)n);
    if (cs_buf_failed(&p->in) != 0) {
        p->failed = cs_buf_failed(&p->in);
        return;
    }
    while ((end = memchr(p->in.data, '\n', p->in.len)) != NULL) {
        size_t used = (size_t)(end - p->in.data) + 1;

        take_line(p, p->in.data, used - 1);
        memmove(p->in.data, end + 1, p->in.len - used + 1);
        p->in.len -= used;
    }
}

static int set_up(struct program *p, const char *file)
{
    struct cs_setting *table =
        cs_conf_join(own, cs_common_settings, offsetof(struct settings, common));
    struct settings *s = &p->settings;
    struct cs_conf_error err = {0};
    struct cs_http_params http = {0};
    struct cs_jobs_params jobs = {0};
    int r = table != NULL ? cs_conf_load(file, table, s, &p->tenants, &err) : -ENOMEM;

    free(table);
    if (r < 0) {
        fprintf(stderr, "%s\n", err.text);
        return r;
    }
    if ((r = cs_log_new("jobrun", STDERR_FILENO, (enum cs_log_level)s->common.log_level,
                        (enum cs_log_format)s->common.log_format, &p->log)) < 0 ||
        (r = cs_metrics_new(&p->metrics)) < 0 || (r = cs_throttle_new(&p->throttle)) < 0 ||
        (r = cs_zones_open(NULL, &p->zones)) < 0)
        return r;
    http.ca_file = s->common.graph_ca_file;
    http.connect_timeout_ms = 10000;
    http.request_timeout_ms = s->request_timeout_ms;
    http.max_body_bytes = 64 * 1024 * 1024;
    http.max_connections = 16;
    http.metrics = p->metrics;
    r = cs_http_new(&http, &p->http);
    if (r == 0)
        r = cs_tokens_new(p->http, s->common.graph_login_url, s->common.graph_base_url,
                          s->token_retry_ms, p->log, p->metrics, &p->tokens);
    if (r < 0)
        return r;
    jobs.http = p->http;
    jobs.tokens = p->tokens;
    jobs.throttle = p->throttle;
    jobs.base_url = s->common.graph_base_url;
    jobs.zones = p->zones;
    jobs.limits.job_ms = s->job_ms;
    jobs.limits.pages = (size_t)s->pages;
    jobs.limits.items = (size_t)s->items;
    jobs.limits.bytes = (size_t)s->bytes;
    jobs.limits.delta_page = (unsigned)s->delta_page;
    jobs.limits.slice_page = (unsigned)s->slice_page;
    jobs.limits.short_wait_ms = s->short_wait_ms;
    jobs.limits.tries = (unsigned)s->tries;
    jobs.record_max_bytes = (size_t)s->record_max_bytes;
    jobs.metrics = p->metrics;
    jobs.log = p->log;
    jobs.on_finished = on_finished;
    jobs.user = p;
    return cs_jobs_new(&jobs, p->tenants, &p->jobs);
}

static void tear_down(struct program *p)
{
    struct cs_setting *table =
        cs_conf_join(own, cs_common_settings, offsetof(struct settings, common));

    cs_jobs_free(p->jobs);
    cs_tokens_free(p->tokens);
    cs_http_free(p->http);
    cs_throttle_free(p->throttle);
    cs_zones_close(p->zones);
    cs_metrics_free(p->metrics);
    cs_log_free(p->log);
    cs_tenants_unref(p->tenants);
    cs_buf_clear(&p->in);
    if (table != NULL)
        cs_conf_clear(table, &p->settings);
    free(table);
}

static int64_t wait_ms(const struct program *p, int64_t now_ms)
{
    int64_t next_ms = cs_jobs_next_ms(p->jobs);

    if (next_ms == CS_NEVER)
        return 60000;
    next_ms -= now_ms;
    return next_ms < 0 ? 0 : next_ms > 60000 ? 60000 : next_ms;
}

int main(int argc, char **argv)
{
    static struct program p;
    sigset_t set;
    int fds[2];
    int r;

    if (argc != 3 || strcmp(argv[1], "-c") != 0) {
        fprintf(stderr, "usage: jobrun -c FILE\n");
        return 64;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    fds[0] = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    fds[1] = STDIN_FILENO;
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    cs_buf_init(&p.in, LINE_MAX_BYTES);
    r = set_up(&p, argv[2]);
    while (r == 0 && p.failed == 0 && !(p.eof && cs_jobs_count(p.jobs) == 0)) {
        struct signalfd_siginfo info;

        if (read(fds[0], &info, sizeof(info)) > 0)
            break;
        if (!p.eof)
            read_input(&p);
        cs_http_step(p.http);
        cs_jobs_step(p.jobs, cs_clock_mono_ms());
        if (!(p.eof && cs_jobs_count(p.jobs) == 0))
            cs_http_wait(p.http, fds, p.eof ? 1 : 2, (int)wait_ms(&p, cs_clock_mono_ms()));
    }
    if (r == 0)
        r = p.failed;
    if (r < 0)
        fprintf(stderr, "jobrun: %s\n", strerror(-r));
    tear_down(&p);
    close(fds[0]);
    return r < 0 ? 1 : 0;
}
