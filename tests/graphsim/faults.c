/* faults.c - fault injection by rule. */
#include "faults.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "auth.h"
#include "common/json.h"
#include "limits.h"
#include "request.h"

#define RULES 256

struct rule {
    bool has_regex;
    regex_t regex;
    char *contains, *method, *mailbox; /* NULL: any */
    int64_t times;                     /* -1: for ever */
    int64_t after;                     /* matches that pass first */
    double probability;
    int64_t fired, seen;
    struct sim_action action;
};

struct sim_faults {
    pthread_mutex_t lock;
    struct rule *rule[RULES];
    size_t n;
    struct sim_rng rng;
};

void sim_faults_init(struct sim *sim)
{
    sim->faults = sim_alloc(1, sizeof(*sim->faults));
    pthread_mutex_init(&sim->faults->lock, NULL);
    sim->faults->rng.s = sim->seed;
}

static void rule_free(struct rule *r)
{
    if (r == NULL)
        return;
    if (r->has_regex)
        regfree(&r->regex);
    free(r->contains);
    free(r->method);
    free(r->mailbox);
    free(r);
}

void sim_faults_drop_all(struct sim *sim)
{
    struct sim_faults *f = sim->faults;

    pthread_mutex_lock(&f->lock);
    while (f->n > 0)
        rule_free(f->rule[--f->n]);
    pthread_mutex_unlock(&f->lock);
}

void sim_faults_clear(struct sim *sim)
{
    if (sim->faults == NULL)
        return;
    sim_faults_drop_all(sim);
    pthread_mutex_destroy(&sim->faults->lock);
    free(sim->faults);
    sim->faults = NULL;
}

static bool text_matches(const struct rule *r, const char *url)
{
    if (r->contains != NULL && strcasestr(url, r->contains) == NULL)
        return false;
    return !r->has_regex || regexec(&r->regex, url, 0, NULL, 0) == 0;
}

static bool applies(const struct rule *r, const char *method, const char *url, const char *decoded,
                    const struct sim_mailbox *mb)
{
    if (r->times == 0 || (r->method != NULL && strcasecmp(r->method, method) != 0))
        return false;
    if (r->mailbox != NULL && (mb == NULL || (strcasecmp(r->mailbox, mb->address) != 0 &&
                                              strcasecmp(r->mailbox, mb->id) != 0)))
        return false;
    return text_matches(r, url) || (decoded != NULL && text_matches(r, decoded));
}

bool sim_faults_match(struct sim *sim, const char *method, const char *url,
                      const struct sim_mailbox *mailbox, struct sim_action *ret)
{
    struct sim_faults *f = sim->faults;
    char *decoded = NULL;
    bool found = false;

    pthread_mutex_lock(&f->lock);
    if (f->n > 0)
        decoded = sim_url_decode(url, strlen(url), false);
    for (size_t i = 0; i < f->n && !found; i++) {
        struct rule *r = f->rule[i];

        if (!applies(r, method, url, decoded, mailbox))
            continue;
        if (r->seen++ < r->after || !sim_rng_chance(&f->rng, r->probability))
            continue;
        if (r->times > 0)
            r->times--;
        r->fired++;
        *ret = r->action;
        found = true;
    }
    pthread_mutex_unlock(&f->lock);
    free(decoded);
    return found;
}

void sim_action_answer(const struct sim_action *a, struct sim_mailbox *mb, struct sim_answer *ans)
{
    char text[64];

    if (a->aadsts != 0) {
        sim_auth_error(ans, a->aadsts);
        if (a->status != 0)
            ans->status = a->status;
    } else {
        sim_answer_error(ans, a->status, a->code, a->message);
    }
    if (a->redirect[0] != '\0')
        sim_answer_header(ans, "Location", a->redirect);
    if (a->www_authenticate[0] != '\0')
        sim_answer_header(ans, "WWW-Authenticate", a->www_authenticate);
    if (a->body == SIM_BODY_EMPTY) {
        cs_buf_reset(&ans->body);
        ans->content_type = "text/plain";
    } else if (a->body == SIM_BODY_HTML) {
        cs_buf_reset(&ans->body);
        cs_buf_addf(
            &ans->body,
            "<html><head><title>%d</title></head><body><h1>Gateway error</h1></body></html>",
            a->status);
        ans->content_type = "text/html";
    }
    if (a->retry == SIM_RETRY_SECONDS) {
        snprintf(text, sizeof(text), "%lld", (long long)a->retry_s);
        sim_answer_header(ans, "Retry-After", text);
    } else if (a->retry == SIM_RETRY_DATE) {
        time_t at = time(NULL) + a->retry_s;
        struct tm tm;

        gmtime_r(&at, &tm);
        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        sim_answer_header(ans, "Retry-After", text);
    }
    if (mb != NULL && (ans->status == 429 || a->retry != SIM_RETRY_NONE))
        /* a date has whole seconds: up to one less than asked for */
        sim_limit_held(mb, ans->status,
                       a->retry == SIM_RETRY_NONE
                           ? 0
                           : a->retry_s * 1000 - (a->retry == SIM_RETRY_DATE ? 1000 : 0));
}

/* ---- control ----------------------------------------------------------------------------------- */

static void copy_text(cs_json_val v, const char *name, char *out, size_t max)
{
    const char *text;

    if (cs_json_str(v, name, max - 1, &text) == 0)
        snprintf(out, max, "%s", text);
}

static const char *read_retry(cs_json_val v, struct sim_action *a)
{
    const char *text;
    int64_t n;
    char *end;

    if (cs_json_i64(v, "retry_after", 0, 86400, &n) == 0) {
        a->retry = SIM_RETRY_SECONDS;
        a->retry_s = n;
        return NULL;
    }
    if (cs_json_str(v, "retry_after", 40, &text) < 0)
        return NULL;
    /* "http-date" or "http-date:SECONDS": that far from now */
    if (strncmp(text, "http-date", 9) == 0) {
        a->retry = SIM_RETRY_DATE;
        a->retry_s = text[9] == ':' ? strtol(text + 10, NULL, 10) : 5;
        return NULL;
    }
    a->retry = SIM_RETRY_SECONDS;
    a->retry_s = strtol(text, &end, 10);
    return *end == '\0' && end != text ? NULL : "retry_after is seconds or http-date";
}

static const char *read_action(cs_json_val v, struct sim_action *a)
{
    static const char *const bodies[] = {"json", "empty", "html"};
    const char *text;
    int64_t n;

    memset(a, 0, sizeof(*a));
    a->reset_at = a->truncate_at = -1;
    if (!cs_json_is_object(v))
        return "action is missing";
    if (cs_json_i64(v, "status", 100, 599, &n) == 0)
        a->status = (int)n;
    if (cs_json_i64(v, "aadsts", 1, 99999999, &n) == 0)
        a->aadsts = (unsigned)n;
    snprintf(a->code, sizeof(a->code), "%s",
             a->status == 429   ? "ApplicationThrottled"
             : a->status == 401 ? "InvalidAuthenticationToken"
                                : "UnknownError");
    snprintf(a->message, sizeof(a->message), "%s",
             a->status == 429 ? "Application is over its MailboxConcurrency limit."
                              : "Injected fault.");
    copy_text(v, "code", a->code, sizeof(a->code));
    copy_text(v, "message", a->message, sizeof(a->message));
    copy_text(v, "redirect", a->redirect, sizeof(a->redirect));
    copy_text(v, "www_authenticate", a->www_authenticate, sizeof(a->www_authenticate));
    if (a->redirect[0] != '\0' && a->status == 0)
        a->status = 307;
    if (cs_json_str(v, "body", 10, &text) == 0) {
        size_t i = 0;

        while (i < 3 && strcmp(bodies[i], text) != 0)
            i++;
        if (i == 3)
            return "body is json, empty or html";
        a->body = (enum sim_fault_body)i;
    }
    (void)cs_json_i64(v, "reset_mid_body", 0, INT64_C(1) << 40,
                      &a->reset_at); /* absent: -1 stays */
    (void)cs_json_i64(v, "truncate", 0, INT64_C(1) << 40, &a->truncate_at);
    (void)cs_json_i64(v, "delay_ms", 0, 3600000, &a->delay_ms);
    (void)cs_json_bool(v, "gzip_corrupt", &a->gzip_corrupt);
    (void)cs_json_bool(v, "drop", &a->drop);
    (void)cs_json_bool(v, "served", &a->served);
    if (a->served && a->status == 0)
        return "served needs a status";
    return read_retry(v, a);
}

static char *optional(cs_json_val v, const char *name)
{
    const char *text;

    return cs_json_str(v, name, 500, &text) == 0 ? sim_strdup(text) : NULL;
}

static double probability_of(cs_json_val v)
{
    struct cs_buf b;
    double p = 1;

    if (cs_json_get(v, "probability") == NULL)
        return 1;
    cs_buf_init(&b, 0);
    if (cs_json_print(cs_json_get(v, "probability"), &b) == 0)
        p = strtod(b.data, NULL);
    cs_buf_clear(&b);
    return p;
}

static struct rule *read_rule(cs_json_val v, const char **why)
{
    struct rule *r = sim_alloc(1, sizeof(*r));
    cs_json_val match = cs_json_get(v, "match");
    const char *regex;

    r->times = 1;
    r->probability = probability_of(v);
    r->contains = optional(match, "path_contains");
    r->method = optional(match, "method");
    r->mailbox = optional(match, "mailbox");
    (void)cs_json_i64(v, "times", -1, INT64_MAX, &r->times); /* absent: once */
    (void)cs_json_i64(v, "after", 0, INT64_MAX, &r->after);
    *why = read_action(cs_json_get(v, "action"), &r->action);
    if (*why == NULL && cs_json_str(match, "path_regex", 500, &regex) == 0) {
        r->has_regex = regcomp(&r->regex, regex, REG_EXTENDED | REG_ICASE | REG_NOSUB) == 0;
        if (!r->has_regex)
            *why = "path_regex is not a POSIX extended regular expression";
    }
    if (*why == NULL)
        return r;
    rule_free(r);
    return NULL;
}

int sim_faults_add(struct sim *sim, const void *json_array, const char **why)
{
    struct sim_faults *f = sim->faults;
    size_t n = cs_json_len(json_array);

    if (n == 0) {
        *why = "an array of rules is needed";
        return -EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        struct rule *r = read_rule(cs_json_at(json_array, i), why);

        if (r == NULL)
            return -EINVAL;
        pthread_mutex_lock(&f->lock);
        if (f->n < RULES) {
            f->rule[f->n++] = r;
            r = NULL;
        }
        pthread_mutex_unlock(&f->lock);
        if (r != NULL) {
            rule_free(r);
            *why = "too many rules";
            return -EINVAL;
        }
    }
    return (int)n;
}

void sim_faults_write(struct sim *sim, struct sim_jw *w)
{
    struct sim_faults *f = sim->faults;

    sim_jw_open(w, '[');
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n; i++) {
        sim_jw_open(w, '{');
        sim_jw_kint(w, "status", f->rule[i]->action.status);
        sim_jw_kint(w, "times", f->rule[i]->times);
        sim_jw_kint(w, "fired", f->rule[i]->fired);
        sim_jw_kint(w, "seen", f->rule[i]->seen);
        sim_jw_close(w, '}');
    }
    pthread_mutex_unlock(&f->lock);
    sim_jw_close(w, ']');
}
