/* service.c - gateway, mailbox states, and who answers what. */
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "auth.h"
#include "conf.h"
#include "mail.h"
#ifdef SIM_HAS_CALENDAR
#include "calendar.h"
#endif

#define VERSION "/v1.0"

static enum sim_endpoint endpoint_of(const struct sim_request *req)
{
    const char *what = req->n_seg > 2 ? req->seg[2] : "",
               *last = req->n_seg > 0 ? req->seg[req->n_seg - 1] : "";
    bool delta = strcasecmp(last, "delta") == 0;

    for (size_t i = 2; i < req->n_seg; i++)
        if (strcasecmp(req->seg[i], "attachments") == 0)
            return SIM_E_ATTACHMENTS;
    if (strcasecmp(what, "mailFolders") == 0) {
        if (req->n_seg > 4 && strcasecmp(req->seg[4], "messages") == 0)
            return delta ? SIM_E_MESSAGES_DELTA : req->n_seg == 5 ? SIM_E_MESSAGES : SIM_E_MESSAGE;
        return delta ? SIM_E_FOLDER_DELTA : SIM_E_FOLDERS;
    }
    if (strcasecmp(what, "messages") == 0)
        return req->n_seg == 3 ? SIM_E_MESSAGES : SIM_E_MESSAGE;
    if (strncasecmp(what, "calendar", 8) == 0 || strcasecmp(what, "events") == 0)
        return delta ? SIM_E_CALENDAR_DELTA : SIM_E_CALENDAR;
    return SIM_E_OTHER;
}

/* @return true: the mailbox can be used */
static bool state_ok(struct sim_mailbox *mb, struct sim_answer *ans)
{
    char text[200];
    enum sim_state state;

    pthread_mutex_lock(&mb->lock);
    state = mb->state;
    pthread_mutex_unlock(&mb->lock);
    switch (state) {
    case SIM_DENIED:
        sim_answer_error(ans, 403, "ErrorAccessDenied",
                         sim_now_ms(mb->sim) % 2
                             ? "Access to OData is disabled."
                             : "Access is denied. Check credentials and try again.");
        return false;
    case SIM_NOT_ENABLED:
        sim_answer_error(ans, 404, "MailboxNotEnabledForRESTAPI",
                         "The mailbox is either inactive, soft-deleted, or is hosted on-premise.");
        return false;
    case SIM_INVALID_USER:
        snprintf(text, sizeof(text), "The requested user '%s' is invalid.", mb->address);
        sim_answer_error(ans, 404, "ErrorInvalidUser", text);
        return false;
    case SIM_NOT_FOUND:
        sim_answer_error(ans, 404, "ResourceNotFound", "Resource could not be discovered.");
        return false;
    case SIM_UNAVAILABLE:
        sim_answer_error(ans, 503, "ErrorMailboxStoreUnavailable",
                         "The mailbox database is temporarily unavailable.");
        return false;
    default: return true;
    }
}

static void dispatch(struct sim_request *req, struct sim_answer *ans)
{
    const char *what = req->n_seg > 2 ? req->seg[2] : "";

    sim_mail_settle(req->mb);
    if (strcasecmp(what, "mailFolders") == 0 || strcasecmp(what, "messages") == 0 ||
        strcasecmp(what, "sendMail") == 0) {
        sim_mail_handle(req, ans);
    } else if (strncasecmp(what, "calendar", 8) == 0 || strcasecmp(what, "events") == 0) {
#ifdef SIM_HAS_CALENDAR
        sim_calendar_handle(req, ans);
#else
        sim_answer_error(ans, 501, "NotImplemented", "No calendar here.");
#endif
    } else if (req->n_seg == 2) {
        sim_answer_error(ans, 403, "Authorization_RequestDenied",
                         "Insufficient privileges to complete the operation.");
    } else if (strcasecmp(what, "mailboxSettings") == 0) {
        sim_answer_error(ans, 403, "ErrorAccessDenied",
                         "Access is denied. Check credentials and try again.");
    } else {
        sim_answer_error(ans, 404, "ResourceNotFound", "Resource could not be discovered.");
    }
}

static void find_mailbox(struct sim_member *m)
{
    struct sim_request *req = &m->req;

    if (req->n_seg >= 2 && strcasecmp(req->seg[0], "users") == 0) {
        req->mb = sim_find_mailbox(req->sim, req->seg[1]);
        if (req->mb != NULL)
            snprintf(m->line.mailbox, sizeof(m->line.mailbox), "%s", req->mb->address);
    }
}

void sim_member_begin(struct sim_member *m, const struct sim_call *call, const char *method,
                      const char *url, const char *base, bool in_batch)
{
    struct sim *sim = call->sim;
    struct timespec ts;
    char text[300];

    memset(m, 0, sizeof(*m));
    sim_answer_init(&m->ans);
    m->call = call;
    m->url = url;
    m->in_batch = in_batch;
    m->line.start_ms = sim_now_ms(sim);
    m->line.in_batch = in_batch;
    snprintf(m->line.method, sizeof(m->line.method), "%s", method);
    snprintf(m->line.url, sizeof(m->line.url), "%s", url);
    snprintf(m->line.client_request_id, sizeof(m->line.client_request_id), "%s",
             call->client_request_id != NULL ? call->client_request_id : "");
    clock_gettime(CLOCK_REALTIME, &ts);
    if (sim_request_init(&m->req, sim, method, url) < 0) {
        sim_answer_error(&m->ans, 400, "RequestBroker--ParseUri", "The URL is malformed.");
        return;
    }
    m->req.base = base;
    m->req.rng.s = sim_hash(sim->seed ^ (uint64_t)ts.tv_nsec, (uint64_t)ts.tv_sec);
    find_mailbox(m);
    if (m->req.mb != NULL && !sim_limit_enter(m->req.mb, call->fd, call->arrived_ms,
                                              endpoint_of(&m->req), &m->ans, &m->slot))
        return;
    /* only now: a rule is not used up by a request that is refused anyway */
    m->has_fault = sim_faults_match(sim, method, url, m->req.mb, &m->fault);
    if (m->has_fault && !m->fault.served && (m->fault.status != 0 || m->fault.aadsts != 0)) {
        m->ready = m->fault.delay_ms > 0; /* it takes its time, holding the slot */
        sim_action_answer(&m->fault, m->req.mb, &m->ans);
        return;
    }
    if (m->req.mb == NULL) {
        if (m->req.n_seg >= 2 && strcasecmp(m->req.seg[0], "users") == 0) {
            snprintf(text, sizeof(text), "The requested user '%.200s' is invalid.", m->req.seg[1]);
            sim_answer_error(&m->ans, 404, "ErrorInvalidUser", text);
        } else if (m->req.n_seg >= 1 && strcasecmp(m->req.seg[0], "groups") == 0) {
            sim_answer_error(&m->ans, 403, "Authorization_RequestDenied",
                             "Insufficient privileges to complete the operation.");
        } else {
            sim_answer_error(&m->ans, 404, "ResourceNotFound", "Resource could not be discovered.");
        }
        return;
    }
    m->ready = state_ok(m->req.mb, &m->ans);
}

void sim_member_run(struct sim_member *m)
{
    if (!m->ready || m->ans.status != 200 || m->req.mb == NULL)
        return;
    pthread_mutex_lock(&m->req.mb->lock);
    m->line.immutable_ids = m->req.immutable_ids;
    dispatch(&m->req, &m->ans);
    pthread_mutex_unlock(&m->req.mb->lock);
    if (m->has_fault && m->fault.served)
        sim_action_answer(&m->fault, m->req.mb, &m->ans);
}

int64_t sim_member_latency(const struct sim_member *m)
{
    const struct sim_conf *conf = m->call->sim->conf;

    if (!m->ready)
        return 0;
    return (m->has_fault ? m->fault.delay_ms : 0) + conf->latency_ms +
           (int64_t)m->ans.items * conf->latency_item_us / 1000;
}

void sim_member_end(struct sim_member *m, bool served)
{
    sim_limit_leave(&m->slot);
    m->line.end_ms = sim_now_ms(m->call->sim);
    m->line.status = served ? m->ans.status : 0;
    m->line.items = m->ans.items;
    m->line.bytes = m->ans.body.len;
    if (m->req.mb != NULL)
        sim_limit_answered(m->req.mb, m->line.status, m->ans.items, m->ans.body.len);
    sim_log_add(m->call->sim, &m->line);
}

void sim_member_clear(struct sim_member *m)
{
    sim_request_clear(&m->req);
    sim_answer_clear(&m->ans);
}

static void log_simple(const struct sim_call *call, int64_t start_ms, const struct sim_answer *ans)
{
    struct sim_log_line line;

    memset(&line, 0, sizeof(line));
    line.start_ms = start_ms;
    line.end_ms = sim_now_ms(call->sim);
    line.status = ans->status;
    line.bytes = ans->body.len;
    snprintf(line.method, sizeof(line.method), "%s", call->method);
    snprintf(line.url, sizeof(line.url), "%s", call->url);
    sim_log_add(call->sim, &line);
}

static void serve_one(const struct sim_call *call, const char *base, struct sim_answer *ans,
                      struct sim_transfer *out)
{
    struct sim_member m;
    int64_t early;
    bool alive = true;

    sim_member_begin(&m, call, call->method, call->url + strlen(VERSION), base, false);
    for (size_t i = 0; i < call->n_prefer; i++)
        sim_request_prefer(&m.req, call->prefer[i]);
    m.req.if_match = call->if_match;
    m.req.body = call->body;
    m.req.body_len = call->body_len;
    /* half of the time passes before the answer is made: it is neither of the start nor of the end */
    early = sim_member_latency(&m) / 2;
    if (early > 0)
        alive = sim_client_wait(call->fd, early);
    if (alive) {
        sim_member_run(&m);
        if (sim_member_latency(&m) > early)
            alive = sim_client_wait(call->fd, sim_member_latency(&m) - early);
    }
    if (m.has_fault) {
        out->reset_at = m.fault.reset_at;
        out->truncate_at = m.fault.truncate_at;
        out->gzip_corrupt = m.fault.gzip_corrupt;
        out->drop = m.fault.drop;
    }
    out->drop |= !alive;
    sim_member_end(&m, alive && !out->drop);
    sim_answer_clear(ans);
    *ans = m.ans;
    sim_answer_init(&m.ans);
    sim_member_clear(&m);
}

/* Faults of requests that belong to no mailbox: token endpoint, $batch as a whole. */
static bool outer_fault(const struct sim_call *call, const char *url, struct sim_answer *ans,
                        struct sim_transfer *out, bool *answered)
{
    struct sim_action a;

    *answered = false;
    if (!sim_faults_match(call->sim, call->method, url, NULL, &a))
        return true;
    out->reset_at = a.reset_at;
    out->truncate_at = a.truncate_at;
    out->gzip_corrupt = a.gzip_corrupt;
    out->drop = a.drop;
    if (a.delay_ms > 0 && !sim_client_wait(call->fd, a.delay_ms)) {
        out->drop = true;
        return false;
    }
    if (a.status != 0 || a.aadsts != 0) {
        sim_action_answer(&a, NULL, ans);
        *answered = true;
    }
    return !a.drop;
}

static bool is_token_path(const char *url)
{
    const char *at = strstr(url, "/oauth2/v2.0/token");

    return at != NULL && at > url && memchr(url + 1, '/', (size_t)(at - url - 1)) == NULL &&
           strcmp(at, "/oauth2/v2.0/token") == 0;
}

static void serve_token(const struct sim_call *call, struct sim_answer *ans,
                        struct sim_transfer *out)
{
    bool answered;

    if (!outer_fault(call, call->url, ans, out, &answered) || answered)
        return;
    if (strcmp(call->method, "POST") != 0) {
        sim_auth_error(ans, 900144);
        return;
    }
    sim_auth_token(call->sim, call->url, call->authorization, call->origin, call->body,
                   call->body_len, ans);
}

static void serve_batch(const struct sim_call *call, const char *base, struct sim_answer *ans,
                        struct sim_transfer *out)
{
    bool answered;

    if (!outer_fault(call, call->url + strlen(VERSION), ans, out, &answered) || answered)
        return;
    if (strcmp(call->method, "POST") != 0)
        sim_answer_error(ans, 405, "BadRequest", "A batch is posted.");
    else if (!sim_batch(call, base, ans))
        out->drop = true;
}

void sim_serve(const struct sim_call *call, struct sim_answer *ans, struct sim_transfer *out)
{
    char base[300];
    int64_t start_ms = sim_now_ms(call->sim);

    *out = (struct sim_transfer){-1, -1, false, false};
    snprintf(base, sizeof(base), "%s%s", call->origin, VERSION);
    if (is_token_path(call->url)) {
        serve_token(call, ans, out);
        log_simple(call, start_ms, ans);
        return;
    }
    if (strncmp(call->url, "/upload/", 8) == 0) {
        bool answered;

        if (outer_fault(call, call->url, ans, out, &answered) && !answered)
            sim_mail_upload(call->sim, call->method, call->url, call->authorization != NULL,
                            call->content_range, call->body, call->body_len, ans);
        log_simple(call, start_ms, ans);
        return;
    }
    if (strncmp(call->url, VERSION "/", strlen(VERSION) + 1) != 0) {
        sim_answer_error(ans, 404, "BadRequest", "Invalid version");
        log_simple(call, start_ms, ans);
        return;
    }
    if (!sim_auth_check(call->sim, call->authorization, ans)) {
        log_simple(call, start_ms, ans);
        return;
    }
    if (strcasecmp(call->url + strlen(VERSION), "/$batch") == 0 ||
        strcasecmp(call->url + strlen(VERSION), "/%24batch") == 0) {
        serve_batch(call, base, ans, out);
        log_simple(call, start_ms, ans);
    } else {
        serve_one(call, base, ans, out);
    }
}
