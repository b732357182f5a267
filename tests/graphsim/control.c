/* control.c - what tests and users may ask and set while the service runs. */
#include "control.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth.h"
#include "common/json.h"
#include "conf.h"
#include "faults.h"
#include "limits.h"
#include "mail.h"
#include "ops.h"
#include "reqlog.h"

static const char *const state_names[SIM_STATES] = {"ok",           "denied",    "not_enabled",
                                                    "invalid_user", "not_found", "unavailable"};

static void bad(struct sim_answer *ans, const char *why)
{
    struct sim_jw w;

    cs_buf_reset(&ans->body);
    ans->status = 400;
    sim_jw_init(&w, &ans->body, 0);
    sim_jw_open(&w, '{');
    sim_jw_kstr(&w, "error", why);
    sim_jw_close(&w, '}');
}

static bool is(const struct sim_request *req, const char *method, const char *a)
{
    return strcmp(req->method, method) == 0 && req->n_seg == 1 && strcmp(req->seg[0], a) == 0;
}

static void write_mailboxes(struct sim *sim, struct sim_jw *w)
{
    sim_jw_open(w, '[');
    for (size_t i = 0; i < sim->n_mailboxes; i++) {
        struct sim_mailbox *mb = &sim->mailboxes[i];

        pthread_mutex_lock(&mb->lock);
        sim_jw_open(w, '{');
        sim_jw_kstr(w, "address", mb->address);
        sim_jw_kstr(w, "id", mb->id);
        sim_jw_kstr(w, "name", mb->name);
        sim_jw_kstr(w, "state", state_names[mb->state]);
        sim_jw_kint(w, "messages", (int64_t)mb->mail->n_all);
        sim_jw_kint(w, "version", (int64_t)mb->seq);
        sim_jw_close(w, '}');
        pthread_mutex_unlock(&mb->lock);
    }
    sim_jw_close(w, ']');
}

/* {"partial":100,...}: the variants of the command line, changed while it runs */
static const char *set_variants(struct sim *sim, cs_json_val v)
{
    struct {
        const char *name;
        unsigned *at;
        int64_t max;
    } list[] = {
        {"partial", &sim->v.partial, 100},
        {"repeat", &sim->v.repeat, 100},
        {"empty_page", &sim->v.empty_page, 99},
        {"short_page", &sim->v.short_page, 100},
        {"collapse", &sim->v.collapse, 100},
        {"same_link", &sim->v.same_link, 100},
        {"transit_ms", &sim->v.transit_ms, 600000},
        {"search_lag_ms", &sim->v.search_lag_ms, 600000},
        {"gone_form", &sim->v.gone_form, 3},
        {"quirks", &sim->v.quirks, 1},
        {"latency_ms", &sim->conf->latency_ms, 600000},
        {"latency_item_us", &sim->conf->latency_item_us, 10000000},
        {"limit_concurrency", &sim->conf->limit_concurrency, 1000},
        {"limit_requests", &sim->conf->limit_requests, 1000000000},
        {"retry_after", &sim->conf->retry_after_s, 3600},
        {"token_lifetime", &sim->conf->token_lifetime_s, 100000},
    };
    size_t i = 0;
    const char *name;
    cs_json_val value;

    while (cs_json_next(v, &i, &name, &value)) {
        size_t k = 0, n = sizeof(list) / sizeof(*list);
        int64_t number;
        bool yes;

        if (strcmp(name, "replica_ms") == 0) {
            if (cs_json_i64(v, name, 0, 600000, &sim->v.replica_ms) < 0)
                return "replica_ms is an integer";
            continue;
        }
        if (strcmp(name, "occurrence_delete_silent") == 0) {
            if (cs_json_bool(v, name, &yes) < 0)
                return "occurrence_delete_silent is true or false";
            sim->v.occurrence_delete_silent = yes;
            continue;
        }
        while (k < n && strcmp(list[k].name, name) != 0)
            k++;
        if (k == n)
            return "unknown variant";
        if (cs_json_i64(v, name, 0, list[k].max, &number) < 0)
            return "value out of range";
        *list[k].at = (unsigned)number;
    }
    return NULL;
}

static void run_ops(struct sim_mailbox *mb, cs_json_val root, struct sim_jw *w)
{
    size_t n = cs_json_is_array(root) ? cs_json_len(root) : 1;

    sim_jw_key(w, "results");
    sim_jw_open(w, '[');
    pthread_mutex_lock(&mb->lock);
    for (size_t i = 0; i < n; i++) {
        sim_jw_open(w, '{');
        sim_op(mb, cs_json_is_array(root) ? cs_json_at(root, i) : root, w);
        sim_jw_kint(w, "version", (int64_t)mb->seq);
        sim_jw_close(w, '}');
    }
    pthread_mutex_unlock(&mb->lock);
    sim_jw_close(w, ']');
}

static bool set_state(struct sim_mailbox *mb, cs_json_val root)
{
    const char *text;

    if (cs_json_str(root, "state", 30, &text) < 0)
        return false;
    for (int i = 0; i < SIM_STATES; i++) {
        if (strcmp(state_names[i], text) == 0) {
            pthread_mutex_lock(&mb->lock);
            mb->state = (enum sim_state)i;
            pthread_mutex_unlock(&mb->lock);
            return true;
        }
    }
    return false;
}

static void of_mailbox(struct sim_request *req, struct sim_answer *ans, cs_json_val root,
                       struct sim_jw *w)
{
    struct sim_mailbox *mb = sim_find_mailbox(req->sim, req->seg[1]);
    const char *history = sim_param(req, "history");
    bool get = strcmp(req->method, "GET") == 0, post = strcmp(req->method, "POST") == 0;

    if (mb == NULL) {
        bad(ans, "no such mailbox");
        ans->status = 404;
    } else if (get && strcmp(req->seg[2], "truth") == 0) {
        sim_truth_write(mb, history != NULL && strcmp(history, "0") != 0, w);
    } else if (post && strcmp(req->seg[2], "ops") == 0) {
        sim_jw_open(w, '{');
        run_ops(mb, root, w);
        sim_jw_close(w, '}');
        /* a script that did not do what it says is an error of the test */
        if (strstr(ans->body.data, "\"error\":") != NULL)
            ans->status = 400;
    } else if (post && strcmp(req->seg[2], "state") == 0) {
        if (!set_state(mb, root))
            bad(ans, "state is ok, denied, not_enabled, invalid_user, not_found or unavailable");
    } else {
        bad(ans, "unknown path");
        ans->status = 404;
    }
}

static void handle(struct sim_request *req, struct sim_answer *ans, cs_json_val root,
                   struct sim_jw *w)
{
    struct sim *sim = req->sim;
    const char *why = NULL, *last = sim_param(req, "last"), *since = sim_param(req, "since");

    if (is(req, "POST", "faults")) {
        int n = sim_faults_add(sim, root, &why);

        if (n >= 0) {
            sim_jw_open(w, '{');
            sim_jw_kint(w, "added", n);
            sim_jw_close(w, '}');
        }
    } else if (is(req, "DELETE", "faults")) {
        sim_faults_drop_all(sim);
    } else if (is(req, "GET", "faults")) {
        sim_faults_write(sim, w);
    } else if (is(req, "GET", "counters")) {
        sim_jw_open(w, '{');
        sim_limits_write(sim, w);
        sim_auth_write(sim, w);
        sim_jw_close(w, '}');
    } else if (strcmp(req->method, "POST") == 0 && req->n_seg == 2 &&
               strcmp(req->seg[0], "counters") == 0) {
        sim_limits_reset(sim);
    } else if (is(req, "GET", "requests")) {
        sim_log_write(sim, last != NULL ? strtoul(last, NULL, 10) : 100,
                      since != NULL ? strtoull(since, NULL, 10) : 0, w);
    } else if (is(req, "POST", "mutator")) {
        why = sim_mutator_set(sim, root);
        if (why == NULL)
            sim_mutator_write(sim, w);
    } else if (is(req, "GET", "mutator")) {
        sim_mutator_write(sim, w);
    } else if (is(req, "GET", "mailboxes")) {
        write_mailboxes(sim, w);
    } else if (is(req, "POST", "variants")) {
        why = set_variants(sim, root);
    } else if (is(req, "POST", "secrets")) {
        if (sim_auth_set_secrets(sim, root) < 0)
            why = "an array of 1 to 8 texts in the form of --secret is needed";
    } else if (strcmp(req->method, "POST") == 0 && req->n_seg == 2 &&
               strcmp(req->seg[0], "tokens") == 0 && strcmp(req->seg[1], "revoke") == 0) {
        sim_auth_revoke(sim);
    } else if (req->n_seg == 3 && strcmp(req->seg[0], "mailboxes") == 0) {
        of_mailbox(req, ans, root, w);
    } else {
        bad(ans, "unknown path");
        ans->status = 404;
    }
    if (why != NULL)
        bad(ans, why);
}

void sim_control_handle(struct sim_request *req, struct sim_answer *ans)
{
    struct cs_json *doc = NULL;
    const char *reason = NULL;
    struct sim_jw w;

    if (req->body_len > 0 && cs_json_parse(req->body, req->body_len, &doc, &reason) < 0) {
        bad(ans, "the body is not valid JSON");
        return;
    }
    sim_jw_init(&w, &ans->body, 0);
    handle(req, ans, doc != NULL ? cs_json_root(doc) : NULL, &w);
    if (ans->body.len == 0 && ans->status == 200)
        cs_buf_adds(&ans->body, "{}");
    cs_json_free(doc);
}
