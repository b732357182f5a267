/* batch.c - $batch: up to twenty requests, four at a time, answered in any order. */
#include "service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"

#define BATCH_MAX 20
#define WAVE      4

struct part {
    const char *id, *method, *url;
    cs_json_val depends;
    char *prefer; /* value of its Prefer header */
    struct sim_member m;
    bool done;
};

static void bad(struct sim_answer *ans, const char *message)
{
    sim_answer_error(ans, 400, "BadRequest", message);
}

/* @return NULL, or why the batch as a whole is refused */
static const char *read_part(struct part *p, cs_json_val v, const struct part *before, size_t n)
{
    size_t i = 0;
    const char *name;
    cs_json_val value;

    if (cs_json_str(v, "id", 100, &p->id) < 0 || cs_json_str(v, "method", 10, &p->method) < 0 ||
        cs_json_str(v, "url", 16384, &p->url) < 0)
        return "Each request needs id, method and url.";
    if (p->url[0] != '/')
        return "The url of a request must be relative.";
    for (size_t k = 0; k < n; k++)
        if (strcasecmp(before[k].id, p->id) == 0)
            return "Request ids must be unique.";
    if (strncasecmp(p->url, "/$batch", 7) == 0)
        return "A batch cannot hold a batch.";
    p->depends = cs_json_get(v, "dependsOn");
    while (cs_json_next(cs_json_get(v, "headers"), &i, &name, &value)) {
        const char *text;

        if (strcasecmp(name, "Prefer") == 0 && p->prefer == NULL &&
            cs_json_val_str(value, 500, &text) == 0)
            p->prefer = sim_strdup(text);
    }
    return NULL;
}

static struct part *find_part(struct part *parts, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(parts[i].id, id) == 0)
            return &parts[i];
    return NULL;
}

/* 0: not yet; 1: it can run; -1: one that it depends on failed or does not exist */
static int can_run(struct part *parts, size_t n, const struct part *p)
{
    for (size_t i = 0; i < cs_json_len(p->depends); i++) {
        const char *id;
        const struct part *q;

        if (cs_json_val_str(cs_json_at(p->depends, i), 100, &id) < 0)
            return -1;
        q = find_part(parts, n, id);
        if (q == NULL || q == p)
            return -1;
        if (!q->done)
            return 0;
        if (q->m.ans.status >= 300)
            return -1;
    }
    return 1;
}

static void begin(struct part *p, const struct sim_call *call, const char *base)
{
    sim_member_begin(&p->m, call, p->method, p->url, base, true);
    if (p->prefer != NULL)
        sim_request_prefer(&p->m.req, p->prefer);
}

/* Runs up to four together. @return false: the client is gone */
static bool run_wave(struct part **wave, size_t n, const struct sim_call *call, const char *base)
{
    int64_t early = 0, whole = 0;
    bool alive;

    for (size_t i = 0; i < n; i++) {
        begin(wave[i], call, base);
        if (sim_member_latency(&wave[i]->m) / 2 > early)
            early = sim_member_latency(&wave[i]->m) / 2;
    }
    alive = early == 0 || sim_client_wait(call->fd, early);
    for (size_t i = 0; i < n && alive; i++) {
        sim_member_run(&wave[i]->m);
        if (sim_member_latency(&wave[i]->m) > whole)
            whole = sim_member_latency(&wave[i]->m);
    }
    if (alive && whole > early)
        alive = sim_client_wait(call->fd, whole - early);
    for (size_t i = 0; i < n; i++) {
        sim_member_end(&wave[i]->m, alive);
        wave[i]->done = true;
    }
    return alive;
}

static void fail_dependent(struct part *p, const struct sim_call *call)
{
    memset(&p->m, 0, sizeof(p->m));
    p->m.call = call;
    sim_answer_init(&p->m.ans);
    sim_answer_error(&p->m.ans, 424, "FailedDependency",
                     "A request that this one depends on failed.");
    p->done = true;
}

static bool run_all(struct part *parts, size_t n, const struct sim_call *call, const char *base)
{
    size_t left = n;

    while (left > 0) {
        struct part *wave[WAVE];
        size_t len = 0, failed = 0;

        for (size_t i = 0; i < n && len < WAVE; i++) {
            int can = parts[i].done ? 0 : can_run(parts, n, &parts[i]);

            if (can > 0) {
                wave[len++] = &parts[i];
                if (cs_json_len(parts[i].depends) > 0)
                    break; /* with dependencies one at a time */
            } else if (can < 0) {
                fail_dependent(&parts[i], call);
                failed++;
            }
        }
        if (len > 0 && !run_wave(wave, len, call, base))
            return false;
        if (len + failed == 0) { /* a circle */
            for (size_t i = 0; i < n; i++)
                if (!parts[i].done)
                    fail_dependent(&parts[i], call);
            break;
        }
        left -= len + failed;
    }
    return true;
}

static void write_base64(struct sim_jw *w, const char *p, size_t n)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *u = (const unsigned char *)p;
    struct cs_buf b;

    cs_buf_init(&b, 0);
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)u[i] << 16 | (i + 1 < n ? (uint32_t)u[i + 1] << 8 : 0) |
                     (i + 2 < n ? u[i + 2] : 0);

        cs_buf_addc(&b, set[v >> 18]);
        cs_buf_addc(&b, set[(v >> 12) & 63]);
        cs_buf_addc(&b, i + 1 < n ? set[(v >> 6) & 63] : '=');
        cs_buf_addc(&b, i + 2 < n ? set[v & 63] : '=');
    }
    sim_jw_str(w, b.data != NULL ? b.data : "");
    cs_buf_clear(&b);
}

static void write_part(const struct part *p, struct sim_jw *w)
{
    const struct sim_answer *ans = &p->m.ans;

    sim_jw_open(w, '{');
    sim_jw_kstr(w, "id", p->id);
    sim_jw_kint(w, "status", ans->status);
    sim_jw_key(w, "headers");
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "Cache-Control", "private");
    sim_jw_kstr(w, "Content-Type",
                ans->content_type != NULL
                    ? ans->content_type
                    : "application/json; odata.metadata=minimal; odata.streaming=true; "
                      "IEEE754Compatible=false; charset=utf-8");
    for (size_t i = 0; i < ans->n_headers; i++)
        sim_jw_kstr(w, ans->header[i].name, ans->header[i].value);
    sim_jw_close(w, '}');
    if (ans->body.len == 0) {
        if (p->id[0] % 2)
            sim_jw_knull(w, "body");
    } else if (ans->content_type != NULL) {
        sim_jw_key(w, "body");
        write_base64(w, ans->body.data, ans->body.len);
    } else {
        sim_jw_key(w, "body");
        sim_jw_raw(w, ans->body.data);
    }
    sim_jw_close(w, '}');
}

bool sim_batch(const struct sim_call *call, const char *base, struct sim_answer *ans)
{
    struct cs_json *doc = NULL;
    const char *reason = NULL, *why = NULL;
    struct part *parts = NULL;
    cs_json_val list;
    size_t n, order[BATCH_MAX];
    struct sim_rng rng = {sim_hash((uint64_t)sim_now_ms(call->sim), call->sim->seed)};
    struct sim_jw w;
    bool alive = true;

    if (cs_json_parse(call->body, call->body_len, &doc, &reason) < 0) {
        bad(ans, "The batch is not valid JSON.");
        return true;
    }
    list = cs_json_get(cs_json_root(doc), "requests");
    n = cs_json_len(list);
    if (n == 0 || n > BATCH_MAX) {
        bad(ans, n == 0 ? "Empty batch." : "The number of requests exceeds the maximum of 20.");
        cs_json_free(doc);
        return true;
    }
    parts = sim_alloc(n, sizeof(*parts));
    for (size_t i = 0; i < n && why == NULL; i++)
        why = read_part(&parts[i], cs_json_at(list, i), parts, i);
    if (why != NULL) {
        bad(ans, why);
        goto out;
    }
    alive = run_all(parts, n, call, base);
    for (size_t i = 0; i < n; i++) {
        size_t k = (size_t)sim_rng_below(&rng, i + 1);

        if (k != i)
            order[i] = order[k];
        order[k] = i;
    }
    sim_jw_init(&w, &ans->body, 0);
    sim_jw_open(&w, '{');
    sim_jw_key(&w, "responses");
    sim_jw_open(&w, '[');
    for (size_t i = 0; i < n && alive; i++)
        write_part(&parts[order[i]], &w);
    sim_jw_close(&w, ']');
    sim_jw_close(&w, '}');
out:
    for (size_t i = 0; i < n; i++) {
        if (parts[i].done)
            sim_member_clear(&parts[i].m);
        free(parts[i].prefer);
    }
    free(parts);
    cs_json_free(doc);
    return alive;
}
