#include "worker/job_run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/uuid.h"
#include "worker/graph_url.h"
#include "worker/job_priv.h"

#define RETRY_BASE_MS 200
#define RETRY_CAP_MS  3000
#define SWEEP_MS      60000

static const struct cs_job_step *const steps_of[CS_JOB_TYPE_COUNT_] = {
    [CS_JOB_FOLDERS] = cs_job_folders_steps,
    [CS_JOB_MAIL_DELTA] = cs_job_mail_delta_steps,
    [CS_JOB_MAIL_SLICE] = cs_job_mail_slice_steps,
    [CS_JOB_MAIL_ITEMS] = cs_job_mail_items_steps,
    [CS_JOB_CALENDAR_DELTA] = cs_job_calendar_delta_steps,
    [CS_JOB_PROBE] = cs_job_probe_steps,
    [CS_JOB_MAIL_SEND] = cs_job_mail_send_steps,
    [CS_JOB_MAIL_RESYNC] = cs_job_mail_resync_steps,
};

void cs_job_output_free(struct cs_job_output *out)
{
    if (out == NULL)
        return;
    cs_feedback_clear(&out->feedback);
    for (size_t i = 0; i < out->n_records; i++)
        cs_record_clear(&out->records[i]);
    free(out->records);
    free(out);
}

int cs_jobs_new(const struct cs_jobs_params *p, struct cs_tenant_set *tenants, struct cs_jobs **ret)
{
    struct cs_jobs *jobs = calloc(1, sizeof(*jobs));

    if (jobs == NULL)
        return -ENOMEM;
    jobs->p = *p;
    jobs->tenants = cs_tenants_ref(tenants);
    jobs->next_ms = CS_NEVER;
    jobs->random = (uint64_t)cs_clock_utc_ms();
    jobs->waits_ms = cs_metrics_counter(p->metrics, "crmsync_graph_wait_milliseconds_total", NULL,
                                        "Time that jobs waited because Graph asked them to.");
    for (int i = 0; i < CS_HELD_COUNT_; i++) {
        char label[64];

        snprintf(label, sizeof(label), "reason=\"%s\"", cs_held_name((enum cs_held)i));
        jobs->held[i] =
            cs_metrics_counter(p->metrics, "crmsync_mail_held_total", label,
                               "Messages that the customer's rules kept out of the records.");
    }
    jobs->retries = cs_metrics_counter(p->metrics, "crmsync_graph_retries_total", NULL,
                                       "Requests sent again inside a job.");
    *ret = jobs;
    return 0;
}

static void call_free(struct cs_job_run *run, struct cs_call *call)
{
    if (call->request != NULL) {
        cs_http_cancel(run->jobs->p.http, call->request);
        if (call->url == NULL)
            cs_throttle_release(run->jobs->p.throttle, run->key, call->slots);
    }
    free(call->path);
    free(call->body);
    free(call->if_match);
    free(call->url);
    free(call->range);
    free(call);
}

static void drop_calls(struct cs_job_run *run)
{
    while (run->calls != NULL) {
        struct cs_call *call = run->calls;

        run->calls = call->next;
        call_free(run, call);
    }
    run->n_calls = 0;
}

static void run_free(struct cs_job_run *run)
{
    drop_calls(run);
    for (size_t i = 0; i < run->n_bodies; i++)
        free(run->bodies[i]);
    free(run->bodies);
    for (size_t i = 0; run->parts != NULL && i < run->job.n_parts; i++) {
        free(run->parts[i].cursor);
        free(run->parts[i].last_link);
        free(run->parts[i].known);
        free(run->parts[i].after);
    }
    free(run->parts);
    free(run->obs);
    for (size_t i = 0; i < run->n_failed_reads; i++)
        free(run->failed_reads[i]);
    free(run->failed_reads);
    cs_calendar_run_free(run->calendar);
    cs_index_drop(run->index_ask);
    cs_index_table_free(run->index);
    cs_send_run_free(run->send);
    cs_read_clear(&run->reads);
    free(run->read_obs);
    cs_map_free(run->map);
    cs_job_clear(&run->job);
    cs_job_output_free(run->out);
    cs_tenants_unref(run->set);
    free(run);
}

void cs_jobs_free(struct cs_jobs *jobs)
{
    if (jobs == NULL)
        return;
    while (jobs->runs != NULL) {
        struct cs_job_run *run = jobs->runs;

        jobs->runs = run->next;
        run_free(run);
    }
    cs_tenants_unref(jobs->tenants);
    free(jobs);
}

void cs_jobs_set_index(struct cs_jobs *jobs, struct cs_index_scan *index, int32_t n_partitions)
{
    jobs->index = index;
    jobs->n_partitions = n_partitions;
}

void cs_jobs_set_tenants(struct cs_jobs *jobs, struct cs_tenant_set *tenants)
{
    struct cs_tenant_set *old = jobs->tenants;

    jobs->tenants = cs_tenants_ref(tenants);
    cs_tenants_unref(old);
}

static int prepare(struct cs_job_run *run)
{
    int r;

    run->out = calloc(1, sizeof(*run->out));
    run->parts = calloc(run->job.n_parts > 0 ? run->job.n_parts : 1, sizeof(*run->parts));
    if (run->out == NULL || run->parts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < run->job.n_parts; i++) {
        run->parts[i].seen_down_to_ms = CS_NEVER;
        if (run->job.parts[i].cursor != NULL && run->job.type != CS_JOB_MAIL_RESYNC &&
            (run->parts[i].cursor = strdup(run->job.parts[i].cursor)) == NULL)
            return -ENOMEM;
    }
    r = cs_map_new(&run->job, &run->map);
    if (r < 0)
        return r;
    (void)cs_key_mailbox(run->key, sizeof(run->key), run->job.tenant, run->job.mailbox);
    return 0;
}

int cs_jobs_start(struct cs_jobs *jobs, struct cs_job *job, void *tag)
{
    struct cs_job_run *run = calloc(1, sizeof(*run));
    int r;

    if (run == NULL) {
        cs_job_clear(job);
        return -ENOMEM;
    }
    run->jobs = jobs;
    run->job = *job;
    memset(job, 0, sizeof(*job));
    run->tag = tag;
    run->set = cs_tenants_ref(jobs->tenants);
    run->tenant = cs_tenants_find(run->set, run->job.tenant);
    run->steps = steps_of[run->job.type];
    run->started_ms = cs_clock_utc_ms();
    run->deadline_ms = cs_clock_mono_ms() + jobs->p.limits.job_ms;
    r = prepare(run);
    if (r < 0) {
        run_free(run);
        return r;
    }
    if (run->tenant == NULL || !cs_tenant_has_mailbox(run->tenant, run->job.mailbox)) {
        /* configuration reaches workers at different times: no poison, but not ours to read either */
        cs_run_fail_code(run, CS_RETRY, CS_CODE_TENANT_UNKNOWN);
        run->why.scope = run->tenant == NULL ? CS_SCOPE_TENANT : CS_SCOPE_MAILBOX;
    }
    for (size_t i = 0; i < run->job.n_parts; i++)
        if (run->job.parts[i].cursor != NULL && run->job.type != CS_JOB_MAIL_SLICE &&
            !cs_cursor_is_ours(run->job.parts[i].cursor, run->job.mailbox))
            cs_run_fail_code(run, CS_REJECT, CS_CODE_CURSOR_REFUSED);
    run->next = jobs->runs;
    jobs->runs = run;
    jobs->n_runs++;
    jobs->next_ms = 0;
    return 0;
}

void cs_jobs_cancel(struct cs_jobs *jobs, void *tag)
{
    for (struct cs_job_run **at = &jobs->runs; *at != NULL; at = &(*at)->next)
        if ((*at)->tag == tag) {
            struct cs_job_run *run = *at;

            *at = run->next;
            jobs->n_runs--;
            run_free(run);
            return;
        }
}

size_t cs_jobs_count(const struct cs_jobs *jobs)
{
    return jobs->n_runs;
}

size_t cs_jobs_bytes(const struct cs_jobs *jobs)
{
    size_t bytes = 0;

    for (const struct cs_job_run *run = jobs->runs; run != NULL; run = run->next)
        bytes += run->bytes + run->out->bytes;
    return bytes;
}

int64_t cs_jobs_next_ms(const struct cs_jobs *jobs)
{
    return jobs->next_ms;
}

/* ---- for job types ---------------------------------------------------------------------------------- */

void cs_run_fail(struct cs_job_run *run, const struct cs_verdict *why)
{
    if (run->failed)
        return;
    run->failed = true;
    run->why = *why;
}

void cs_run_held(struct cs_job_run *run, const struct cs_verdict *why)
{
    int64_t wait_ms = why->retry_after_ms > 0 ? why->retry_after_ms : 0;
    int64_t until_ms = cs_clock_mono_ms() + wait_ms;

    if (run->held.code != CS_CODE_NONE && run->held_until_ms >= until_ms)
        return;
    run->held = *why;
    run->held_until_ms = until_ms;
}

void cs_run_fail_code(struct cs_job_run *run, enum cs_outcome outcome, enum cs_code code)
{
    const struct cs_verdict why = {
        .outcome = outcome, .code = code, .scope = CS_SCOPE_MAILBOX, .retry_after_ms = -1};

    cs_run_fail(run, &why);
}

static void out_of_memory(struct cs_job_run *run)
{
    cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
}

/* No other part of the mailbox can fare better. A throttled or unreachable service is not among these: what other parts
 * have walked already stays. */
static bool concerns_all(const struct cs_verdict *why)
{
    return why->code == CS_CODE_MAILBOX_DENIED || why->code == CS_CODE_MAILBOX_MISSING ||
           why->scope == CS_SCOPE_TENANT;
}

void cs_part_end(struct cs_job_run *run, size_t i, enum cs_outcome outcome,
                 const struct cs_verdict *why)
{
    struct cs_part_run *part = &run->parts[i];

    if (why != NULL && outcome != CS_DONE && part->pages == 0 && concerns_all(why)) {
        cs_run_fail(run, why);
        return;
    }
    if (outcome == CS_REJECT && why != NULL && why->code == CS_CODE_FOLDER_GONE)
        outcome = CS_RETRY; /* no fault of the job: the producer reads the tree again */
    if (outcome == CS_RETRY && part->pages > 0 && run->job.type != CS_JOB_MAIL_RESYNC)
        outcome = CS_MORE; /* the pages before the failure are whole; the next job begins at it */
    part->ended = true;
    part->outcome = outcome;
    if (why != NULL)
        part->why = *why;
}

char *cs_run_path(const struct cs_job_run *run, const char *fmt, ...)
{
    char rest[4096];
    struct cs_buf path;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(rest, sizeof(rest), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(rest))
        return NULL;
    cs_buf_init(&path, 0);
    cs_graph_user_path(&path, run->job.mailbox);
    cs_buf_adds(&path, rest);
    return cs_buf_steal(&path, NULL);
}

struct cs_call *cs_run_call(struct cs_job_run *run, char *path, enum cs_asked asked, cs_reply_fn fn,
                            size_t index)
{
    struct cs_call *call = path != NULL ? calloc(1, sizeof(*call)) : NULL;
    struct cs_call **end = &run->calls;

    if (call == NULL) {
        free(path);
        out_of_memory(run);
        return NULL;
    }
    call->run = run;
    call->path = path;
    call->asked = asked;
    call->fn = fn;
    call->index = index;
    call->slots = 1;
    while (*end != NULL)
        end = &(*end)->next;
    *end = call;
    run->n_calls++;
    return call;
}

int cs_run_keep(struct cs_job_run *run, struct cs_reply *reply)
{
    if (reply->body == NULL)
        return 0;
    if (run->n_bodies == run->cap_bodies) {
        size_t cap = run->cap_bodies > 0 ? run->cap_bodies * 2 : 16;
        char **bodies = realloc(run->bodies, cap * sizeof(*bodies));

        if (bodies == NULL) {
            out_of_memory(run);
            return -ENOMEM;
        }
        run->bodies = bodies;
        run->cap_bodies = cap;
    }
    run->bodies[run->n_bodies++] = reply->body;
    run->bytes += reply->len;
    reply->body = NULL;
    return 0;
}

bool cs_run_has_room(const struct cs_job_run *run, const struct cs_part_run *part)
{
    const struct cs_job_limits *l = &run->jobs->p.limits;

    return part->pages < l->pages && run->n_obs < l->items && run->bytes < l->bytes &&
           cs_clock_mono_ms() < run->deadline_ms;
}

struct cs_obs *cs_run_observe(struct cs_job_run *run, const char *id, enum cs_obs_kind kind,
                              int source, const struct cs_reply *reply)
{
    struct cs_obs *obs;

    if (run->n_obs == run->cap_obs) {
        size_t cap = run->cap_obs > 0 ? run->cap_obs * 2 : 64;

        obs = realloc(run->obs, cap * sizeof(*obs));
        if (obs == NULL) {
            out_of_memory(run);
            return NULL;
        }
        run->obs = obs;
        run->cap_obs = cap;
    }
    obs = &run->obs[run->n_obs++];
    memset(obs, 0, sizeof(*obs));
    snprintf(obs->env.id, sizeof(obs->env.id), "%s", id);
    obs->kind = kind;
    obs->source = source;
    obs->order = reply->order;
    obs->seq = run->n_obs;
    obs->sent_ms = reply->sent_ms;
    return obs;
}

static int compare_obs(const void *a, const void *b)
{
    const struct cs_obs *x = a, *y = b;
    int c = strcmp(x->env.id, y->env.id);

    if (c != 0)
        return c;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq; /* entries of one page */
}

void cs_run_group(struct cs_job_run *run)
{
    if (run->n_obs > 0)
        qsort(run->obs, run->n_obs, sizeof(*run->obs), compare_obs);
}

bool cs_run_next_view(struct cs_job_run *run, size_t *i, struct cs_item_view *ret)
{
    size_t end = *i;

    if (*i >= run->n_obs)
        return false;
    memset(ret, 0, sizeof(*ret));
    ret->first = &run->obs[*i];
    while (end < run->n_obs && strcmp(run->obs[end].env.id, ret->first->env.id) == 0)
        end++;
    ret->n = end - *i;
    for (size_t k = 0; k < ret->n; k++) {
        struct cs_obs *o = &ret->first[k];
        bool replaced = false;

        /* the same folder, later in its walk, replaces what it said before */
        for (size_t later = k + 1; later < ret->n && o->source >= 0 && !replaced; later++)
            replaced = ret->first[later].source == o->source;
        if (replaced)
            continue;
        if (o->kind == CS_OBS_REMOVED) {
            ret->removed = true;
            ret->removed_source = o->source;
            continue;
        }
        ret->told = ret->told || (o->kind == CS_OBS_ITEM && o->told);
        ret->last = o;
    }
    *i = end;
    return true;
}

void cs_run_leave(struct cs_job_run *run, const char *id, enum cs_why why, enum cs_seen seen,
                  const char *folder, const char *change_key, const char *from_folder)
{
    struct cs_feedback *f = &run->out->feedback;
    struct cs_look look = {.why = why, .seen = seen}, *left;
    char *parts[4] = {NULL, NULL, NULL, NULL};
    const char *const from[4] = {
        id, folder, change_key != NULL && change_key[0] != '\0' ? change_key : NULL, from_folder};
    bool ok = true;

    if (f->n_left ==
        CS_FEEDBACK_LEFT_MAX) { /* more than a feedback can say: nothing of the job counts */
        if (run->held.code != CS_CODE_NONE)
            cs_run_fail(run, &run->held);
        else
            cs_run_fail_code(run, CS_RETRY, CS_CODE_PAGE_TOO_LARGE);
        return;
    }
    for (size_t i = 0; i < 4; i++)
        if (from[i] != NULL && (parts[i] = strdup(from[i])) == NULL)
            ok = false;
    left = ok ? realloc(f->left, (f->n_left + 1) * sizeof(*left)) : NULL;
    if (left == NULL) {
        for (size_t i = 0; i < 4; i++)
            free(parts[i]);
        out_of_memory(run);
        return;
    }
    look.id = parts[0];
    look.folder = parts[1];
    look.change_key = parts[2];
    look.from_folder = parts[3];
    f->left = left;
    f->left[f->n_left++] = look;
}

struct cs_record *cs_run_record(struct cs_job_run *run)
{
    struct cs_job_output *out = run->out;

    if ((out->n_records & (out->n_records + 1)) == 0 ||
        out->records == NULL) { /* 0, 1, 3, 7, ...: room for twice as many */
        size_t cap = (out->n_records + 1) * 2;
        struct cs_record *records = realloc(out->records, cap * sizeof(*records));

        if (records == NULL) {
            out_of_memory(run);
            return NULL;
        }
        out->records = records;
    }
    memset(&out->records[out->n_records], 0, sizeof(*out->records));
    return &out->records[out->n_records];
}

void cs_run_record_added(struct cs_job_run *run)
{
    struct cs_job_output *out = run->out;
    const struct cs_record *rec = &out->records[out->n_records++];

    out->bytes += rec->value_len;
    switch (rec->change) {
    case CS_UPSERTED: out->feedback.counts.upserts++; break;
    case CS_MOVED: out->feedback.counts.moves++; break;
    case CS_DELETED: out->feedback.counts.deletes++; break;
    case CS_LEFT_SCOPE: out->feedback.counts.left_scope++; break;
    case CS_NOTED: break;
    }
}

void cs_run_context(const struct cs_job_run *run, int64_t sent_ms, struct cs_record_ctx *ret)
{
    *ret = (struct cs_record_ctx){
        .tenant = run->tenant,
        .mailbox = run->job.mailbox,
        .job_id = run->job.job_id,
        .lane = cs_lane_name(run->job.lane),
        .observed_utc_ms = sent_ms,
        .max_bytes = run->jobs->p.record_max_bytes,
        .zones = run->jobs->p.zones,
    };
}

bool cs_run_takes(const struct cs_job_run *run, struct cs_js entries)
{
    return run->n_obs + cs_js_count(entries) <= CS_FEEDBACK_LEFT_MAX;
}

bool cs_part_follow(struct cs_job_run *run, size_t i, struct cs_js link, bool is_next)
{
    struct cs_part_run *part = &run->parts[i];
    struct cs_verdict why = {.outcome = CS_RETRY,
                             .code = CS_CODE_BAD_ANSWER,
                             .scope = CS_SCOPE_STREAM,
                             .retry_after_ms = -1};
    char *text = cs_js_strdup(link, CS_CURSOR_MAX);
    struct cs_buf cursor;
    int r;

    cs_buf_init(&cursor, 0);
    r = text != NULL ? cs_cursor_of_link(text, run->jobs->p.base_url, run->job.mailbox, &cursor)
                     : -EPERM;
    free(text);
    if (r == 0 && is_next &&
        ((part->cursor != NULL && strcmp(part->cursor, cursor.data) == 0) ||
         (part->last_link != NULL && strcmp(part->last_link, cursor.data) == 0)))
        r = -ELOOP; /* the page that was just read, or the one before it */
    if (r == 0 && cs_buf_failed(&cursor) != 0)
        r = -ENOMEM;
    if (r < 0) {
        cs_buf_clear(&cursor);
        if (r == -EPERM)
            why.code = CS_CODE_CURSOR_REFUSED;
        cs_part_end(run, i, CS_RETRY, &why);
        return false;
    }
    free(part->last_link);
    part->last_link = part->cursor;
    part->cursor = cs_buf_steal(&cursor, NULL);
    return true;
}

struct cs_feedback *cs_run_feedback(struct cs_job_run *run)
{
    return &run->out->feedback;
}

int cs_run_add_string(struct cs_job_run *run, char ***list, size_t *n, const char *s)
{
    char **grown = realloc(*list, (*n + 1) * sizeof(*grown));

    if (grown != NULL) {
        *list = grown;
        grown[*n] = strdup(s);
    }
    if (grown == NULL || grown[*n] == NULL) {
        out_of_memory(run);
        return -ENOMEM;
    }
    (*n)++;
    return 0;
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void unlink_call(struct cs_job_run *run, struct cs_call *call)
{
    struct cs_call **at = &run->calls;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    call->next = NULL;
    run->n_calls--;
}

/* Should the engine send it again itself? What only reads, always; a write only if it was turned away unread. */
static bool try_again(struct cs_job_run *run, struct cs_call *call, const struct cs_verdict *v,
                      int64_t now_ms)
{
    const struct cs_job_limits *l = &run->jobs->p.limits;
    int64_t wait_ms;

    if (v->fresh_token && !call->fresh_token_tried) {
        call->fresh_token_tried = true;
        cs_tokens_refused(run->jobs->p.tokens, run->job.tenant, call->sent_ms);
        call->not_before_ms = now_ms;
        return true;
    }
    if (v->retry_after_ms > 0)
        cs_throttle_hold(run->jobs->p.throttle, run->key, now_ms + v->retry_after_ms);
    if (v->outcome != CS_RETRY || v->code == CS_CODE_MAILBOX_DENIED ||
        v->code == CS_CODE_MAILBOX_MISSING || v->code == CS_CODE_TOKEN_REFUSED ||
        v->code == CS_CODE_PAGE_TOO_LARGE || call->tries >= l->tries ||
        (call->writes && v->http_status != 429))
        return false;
    wait_ms = v->retry_after_ms;
    if (wait_ms < 0) {
        run->jobs->random = cs_mix64(run->jobs->random + 1);
        wait_ms = cs_backoff_ms(call->tries, RETRY_BASE_MS, RETRY_CAP_MS, run->jobs->random);
    }
    if (wait_ms > l->short_wait_ms)
        return false;
    call->not_before_ms = now_ms + wait_ms;
    run->out->feedback.counts.wait_ms += wait_ms;
    cs_metric_add(run->jobs->waits_ms, wait_ms);
    cs_metric_add(run->jobs->retries, 1);
    return true;
}

static void on_answer(void *user, struct cs_http_answer *answer)
{
    struct cs_call *call = user;
    struct cs_job_run *run = call->run;
    int64_t now_ms = cs_clock_mono_ms();
    struct cs_reply reply = {.order = call->order,
                             .sent_ms = cs_clock_utc_ms() - (now_ms - call->sent_ms)};
    char code[CS_ERROR_CODE_MAX] = "";

    call->request = NULL;
    if (call->url == NULL)
        cs_throttle_release(run->jobs->p.throttle, run->key, call->slots);
    run->jobs->next_ms = 0;
    run->out->feedback.counts.requests++;
    if (answer->net != CS_NET_OK) {
        cs_verdict_of_net(answer->net, &reply.verdict);
    } else if (call->url != NULL) {
        reply.ok = answer->status >= 200 && answer->status < 300;
        reply.verdict = (struct cs_verdict){
            .outcome = answer->status >= 500 ? CS_RETRY : CS_REJECT,
            .code = answer->status >= 500 ? CS_CODE_SERVICE_UNAVAILABLE : CS_CODE_BAD_REQUEST,
            .scope = CS_SCOPE_STREAM,
            .retry_after_ms = -1,
            .http_status = answer->status};
    } else if (answer->status >= 200 && answer->status < 300) {
        run->out->feedback.counts.bytes += (int64_t)answer->len;
        /* 202 and 204 have no body */
        reply.ok = (call->writes && answer->len == 0) ||
                   (cs_page_open(answer->body, answer->len, &reply.page, NULL) == 0 &&
                    !reply.page.is_error);
        if (!reply.ok)
            reply.verdict = (struct cs_verdict){.outcome = CS_RETRY,
                                                .code = CS_CODE_BAD_ANSWER,
                                                .scope = CS_SCOPE_STREAM,
                                                .retry_after_ms = -1,
                                                .http_status = answer->status};
    } else {
        cs_graph_error_code(answer->body, answer->len, code);
        cs_verdict_of_graph(answer->status, code,
                            answer->retry_after[0] != '\0' ? answer->retry_after : NULL,
                            call->asked, cs_clock_utc_ms(), &reply.verdict);
    }
    snprintf(reply.verdict.request_id, sizeof(reply.verdict.request_id), "%.*s",
             (int)strspn(answer->request_id,
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"),
             answer->request_id);
    if (!reply.ok && !run->failed && try_again(run, call, &reply.verdict, now_ms))
        return;
    unlink_call(run, call);
    if (!run->failed) {
        reply.body = answer->body;
        reply.len = answer->len;
        call->fn(run, call, &reply);
        answer->body = reply.body; /* NULL if the run keeps it */
    }
    call_free(run, call);
}

/* The mailbox is held for longer than a job waits: the call gets that for an answer. */
static void answer_held(struct cs_job_run *run, struct cs_call *call, int64_t wait_ms)
{
    struct cs_reply reply = {.verdict = {.outcome = CS_RETRY,
                                         .code = CS_CODE_THROTTLED,
                                         .scope = CS_SCOPE_MAILBOX,
                                         .retry_after_ms = wait_ms}};

    unlink_call(run, call);
    call->fn(run, call, &reply);
    call_free(run, call);
    run->jobs->next_ms = 0;
}

/* A call that is not for Graph: whatever it is, our token is not for it. */
static int send_elsewhere(struct cs_job_run *run, struct cs_call *call, int64_t now_ms)
{
    const char *headers[3];
    struct cs_http_spec spec = {.headers = headers, .fn = on_answer, .user = call};

    if (call->body != NULL)
        headers[spec.n_headers++] = "Content-Type: application/octet-stream";
    headers[spec.n_headers++] = "User-Agent: crmsync/" CS_VERSION;
    if (call->range != NULL)
        headers[spec.n_headers++] = call->range;
    spec.url = call->url;
    spec.method = call->method;
    spec.once = call->writes;
    spec.body = call->body;
    spec.body_len = call->body_len;
    call->tries++;
    call->order = ++run->orders;
    call->sent_ms = now_ms;
    if (cs_http_submit(run->jobs->p.http, &spec, &call->request) < 0) {
        out_of_memory(run);
        return -ECANCELED;
    }
    return 0;
}

/* @return 0; -EAGAIN (not now; *next_ms lowered if a time is known); -EBUSY (not for long: the call has been answered and
 * is gone); -ECANCELED (the run has failed) */
static int send(struct cs_job_run *run, struct cs_call *call, int64_t now_ms, int64_t *next_ms)
{
    struct cs_jobs *jobs = run->jobs;
    const struct cs_secret *token = NULL;
    char request_id[CS_UUID_TEXT], id_line[CS_UUID_TEXT + 32], page_line[80];
    char if_match_line[CS_ID_MAX + 32];
    const char *headers[10];
    struct cs_http_spec spec = {.headers = headers, .fn = on_answer, .user = call};
    struct cs_verdict why;
    struct cs_buf url;
    int64_t wait_ms = 0;
    size_t n = 0, base_len = strlen(jobs->p.base_url);
    int r;

    if (call->not_before_ms > now_ms) {
        if (call->not_before_ms < *next_ms)
            *next_ms = call->not_before_ms;
        return -EAGAIN;
    }
    if (call->url != NULL)
        return send_elsewhere(run, call, now_ms);
    r = cs_tokens_get(jobs->p.tokens, run->set, run->tenant, now_ms, &token, &why);
    if (r == -EACCES) {
        cs_run_fail(run, &why);
        return -ECANCELED;
    }
    if (r < 0)
        return -EAGAIN; /* the token's answer wakes the loop */
    r = cs_throttle_take(jobs->p.throttle, run->key, call->slots, now_ms, &wait_ms);
    if (r == -EAGAIN) {
        if (wait_ms != CS_NEVER && now_ms + wait_ms < *next_ms)
            *next_ms = now_ms + wait_ms;
        if (wait_ms != CS_NEVER && wait_ms > jobs->p.limits.short_wait_ms) {
            answer_held(run, call, wait_ms);
            *next_ms = 0;
            return run->failed ? -ECANCELED : -EBUSY;
        }
        return -EAGAIN;
    }
    if (r < 0) {
        out_of_memory(run);
        return -ECANCELED;
    }
    while (base_len > 0 && jobs->p.base_url[base_len - 1] == '/')
        base_len--;
    cs_buf_init(&url, 0);
    cs_buf_add(&url, jobs->p.base_url, base_len);
    cs_buf_adds(&url, call->path);
    headers[n++] = "Accept: application/json";
    headers[n++] = "User-Agent: crmsync/" CS_VERSION;
    headers[n++] = "Prefer: IdType=\"ImmutableId\"";
    if (call->page_size > 0) {
        snprintf(page_line, sizeof(page_line), "Prefer: odata.maxpagesize=%u", call->page_size);
        headers[n++] = page_line;
    }
    if (call->want_text)
        headers[n++] = "Prefer: outlook.body-content-type=\"text\"";
    if (call->want_utc)
        headers[n++] = "Prefer: outlook.timezone=\"UTC\"";
    if (call->body != NULL)
        headers[n++] = "Content-Type: application/json";
    if (call->if_match != NULL) {
        snprintf(if_match_line, sizeof(if_match_line), "If-Match: W/\"%s\"", call->if_match);
        headers[n++] = if_match_line;
    }
    if (cs_uuid4(request_id) == 0) {
        snprintf(id_line, sizeof(id_line), "client-request-id: %s", request_id);
        headers[n++] = id_line;
    }
    spec.url = url.data;
    spec.bearer = token;
    spec.n_headers = n;
    spec.method = call->method;
    spec.once = call->writes;
    spec.body = call->body;
    spec.body_len = call->body != NULL ? strlen(call->body) : 0;
    call->tries++;
    call->order = ++run->orders;
    call->sent_ms = now_ms;
    r = cs_buf_failed(&url) == 0 ? cs_http_submit(jobs->p.http, &spec, &call->request) : -ENOMEM;
    cs_buf_clear(&url);
    if (r < 0) {
        cs_throttle_release(jobs->p.throttle, run->key, call->slots);
        out_of_memory(run);
        return -ECANCELED;
    }
    return 0;
}

/* ---- steps and the end -------------------------------------------------------------------------------- */

static void fault_of(const struct cs_verdict *v, struct cs_fault *ret)
{
    ret->code = v->code;
    ret->scope = v->scope;
    ret->http_status = v->http_status;
    memcpy(ret->service_code, v->service_code, sizeof(ret->service_code));
    memcpy(ret->request_id, v->request_id, sizeof(ret->request_id));
}

static int rank(enum cs_outcome o)
{
    switch (o) {
    case CS_DONE: return 0;
    case CS_MORE: return 1;
    case CS_RESYNC: return 2;
    case CS_RETRY: return 3;
    case CS_REJECT: return 4;
    case CS_FATAL: break;
    }
    return 5;
}

/* The mailbox must wait, although the job counts: said by every part, so that none is asked before. */
static void say_held(struct cs_job_run *run)
{
    struct cs_feedback *f = &run->out->feedback;
    int64_t wait_ms = -1;

    if (run->failed || run->held.code == CS_CODE_NONE)
        return;
    if (run->held.retry_after_ms >= 0) {
        wait_ms = run->held_until_ms - cs_clock_mono_ms();
        wait_ms = wait_ms > 0 ? wait_ms : 0;
    }
    for (size_t i = 0; i < f->n_parts; i++)
        if (f->parts[i].fault.code == CS_CODE_NONE) {
            fault_of(&run->held, &f->parts[i].fault);
            f->parts[i].retry_after_ms = wait_ms;
        }
    if (f->n_parts == 0) {
        fault_of(&run->held, &f->fault);
        f->retry_after_ms = wait_ms;
    }
}

static int fill_feedback(struct cs_job_run *run)
{
    struct cs_feedback *f = &run->out->feedback;
    size_t n = run->job.n_parts;

    memcpy(f->job_id, run->job.job_id, sizeof(f->job_id));
    f->type = run->job.type;
    memcpy(f->tenant, run->job.tenant, sizeof(f->tenant));
    memcpy(f->mailbox, run->job.mailbox, sizeof(f->mailbox));
    f->lane = run->job.lane;
    f->attempt = run->job.attempt;
    f->started_utc_ms = run->started_ms;
    f->finished_utc_ms = cs_clock_utc_ms();
    f->retry_after_ms = -1;
    f->outcome = CS_DONE;
    if (run->failed) {
        f->outcome = run->why.outcome;
        f->retry_after_ms = run->why.retry_after_ms;
        fault_of(&run->why, &f->fault);
    }
    f->parts = calloc(n > 0 ? n : 1, sizeof(*f->parts));
    if (f->parts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct cs_feedback_part *fp = &f->parts[i];
        struct cs_part_run *part = &run->parts[i];

        f->n_parts++;
        fp->retry_after_ms = -1;
        fp->generation = run->job.parts[i].generation;
        fp->stream = run->job.parts[i].stream;
        run->job.parts[i].stream = NULL;
        fp->slice_id = run->job.parts[i].slice_id;
        run->job.parts[i].slice_id = NULL;
        fp->outcome = run->failed ? run->why.outcome : part->outcome;
        if (run->failed)
            continue;
        fp->changes = part->changes;
        fp->has_compared = run->job.type == CS_JOB_MAIL_RESYNC;
        fp->compared = part->compared;
        fp->after = part->outcome == CS_MORE && fp->has_compared ? run->told_to : 0;
        if (part->outcome == CS_DONE || part->outcome == CS_MORE) {
            fp->cursor = part->cursor;
            part->cursor = NULL;
        }
        if (part->why.code != CS_CODE_NONE && part->outcome != CS_DONE) {
            fault_of(&part->why, &fp->fault);
            fp->retry_after_ms = part->why.retry_after_ms;
        }
        if (rank(fp->outcome) > rank(f->outcome)) {
            f->outcome = fp->outcome;
            f->retry_after_ms = fp->outcome == CS_RETRY ? fp->retry_after_ms : f->retry_after_ms;
        }
    }
    say_held(run);
    return 0;
}

static void drop_output(struct cs_job_run *run)
{
    struct cs_job_output *out = run->out;
    struct cs_counts counts = out->feedback.counts;

    for (size_t i = 0; i < out->n_records; i++)
        cs_record_clear(&out->records[i]);
    free(out->records);
    cs_feedback_clear(&out->feedback);
    memset(out, 0, sizeof(*out));
    counts.upserts = counts.moves = counts.deletes = counts.left_scope = 0;
    memset(counts.held, 0, sizeof(counts.held));
    out->feedback.counts = counts;
}

static void finish(struct cs_job_run *run)
{
    struct cs_jobs *jobs = run->jobs;
    struct cs_job_output *out;
    void *tag = run->tag;

    drop_calls(run);
    if (run->failed)
        drop_output(run);
    if (fill_feedback(run) <
        0) { /* nothing can be said without memory: the offset stays, another tries */
        cs_log_error(jobs->p.log, "job.no_memory", CS_STR("job", run->job.job_id));
        run_free(run);
        jobs->p.on_finished(jobs->p.user, tag, NULL);
        return;
    }
    out = run->out;
    run->out = NULL;
    if (out->feedback.outcome == CS_REJECT)
        out->reject_reason =
            cs_code_name(out->feedback.fault.code != CS_CODE_NONE ? out->feedback.fault.code
                                                                  : CS_CODE_BAD_REQUEST);
    run_free(run);
    jobs->p.on_finished(jobs->p.user, tag, out);
}

/* Advances as far as it goes without an answer. True: finished. */
static bool advance(struct cs_job_run *run)
{
    while (!run->failed && run->n_calls == 0) {
        enum cs_step s;

        if (run->waits != NULL && run->waits(run))
            return run->failed;
        run->waits = NULL;

        if (run->steps[run->step].fn == NULL)
            return true;
        s = run->steps[run->step].fn(run);
        if (s == CS_STEP_END)
            return true;
        if (s == CS_STEP_NEXT)
            run->step++;
        else if (run->n_calls == 0 && run->waits == NULL)
            cs_run_fail_code(
                run, CS_RETRY,
                CS_CODE_INTERNAL); /* a step that waits for nothing would turn for ever */
    }
    return run->failed;
}

void cs_jobs_step(struct cs_jobs *jobs, int64_t now_ms)
{
    int64_t next_ms = CS_NEVER;

    for (struct cs_job_run **at = &jobs->runs; *at != NULL;) {
        struct cs_job_run *run = *at;
        bool done = advance(run);

        for (struct cs_call *call = run->calls, *next; !done && call != NULL; call = next) {
            next = call->next;
            if (call->request == NULL && send(run, call, now_ms, &next_ms) == -ECANCELED)
                done = true;
        }
        if (!done) {
            at = &run->next;
            continue;
        }
        *at = run->next;
        jobs->n_runs--;
        finish(run);
    }
    if (now_ms - jobs->swept_ms > SWEEP_MS) {
        cs_throttle_sweep(jobs->p.throttle, now_ms);
        jobs->swept_ms = now_ms;
    }
    jobs->next_ms = next_ms;
}
