/* batch.c - reads by id, 20 to a request; a member that fails is read again alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json_write.h"
#include "worker/job_priv.h"

#define BATCH_MAX 20

int cs_read_add(struct cs_read_list *list, char *path)
{
    if (path == NULL)
        return -ENOMEM;
    if (list->n == list->cap) {
        size_t cap = list->cap > 0 ? list->cap * 2 : 32;
        char **paths = realloc(list->paths, cap * sizeof(*paths));

        if (paths == NULL) {
            free(path);
            return -ENOMEM;
        }
        list->paths = paths;
        list->cap = cap;
    }
    list->paths[list->n++] = path;
    return 0;
}

void cs_read_clear(struct cs_read_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->paths[i]);
    free(list->paths);
    memset(list, 0, sizeof(*list));
}

static void on_alone(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_read_list *list = call->user;

    if (reply->ok) {
        list->fn(run, call->index, 200, reply->page.root, NULL, reply);
    } else if (reply->verdict.scope >= CS_SCOPE_TENANT) {
        cs_run_fail(run, &reply->verdict);
    } else {
        list->fn(run, call->index, reply->verdict.http_status, (struct cs_js){0}, &reply->verdict,
                 reply);
    }
}

static void read_alone(struct cs_job_run *run, struct cs_read_list *list, size_t member)
{
    char *path = NULL;
    struct cs_call *call;

    if (asprintf(&path, "/v1.0%s", list->paths[member]) < 0)
        path = NULL;
    call = cs_run_call(run, path, list->asked, on_alone, member);
    if (call == NULL)
        return;
    call->user = list;
    call->want_text = list->want_text;
    call->want_utc = list->want_utc;
}

static void on_member(struct cs_job_run *run, struct cs_read_list *list, size_t member,
                      const struct cs_batch_part *part, struct cs_reply *reply)
{
    char code[CS_ERROR_CODE_MAX] = "", retry_after[64] = "";
    struct cs_verdict why;

    if (part->status >= 200 && part->status < 300) {
        list->fn(run, member, part->status, part->body, NULL, reply);
        return;
    }
    cs_graph_error_code_of(part->body, code);
    (void)cs_batch_header(part->headers, "Retry-After", retry_after, sizeof(retry_after));
    cs_verdict_of_graph(part->status, code, retry_after[0] != '\0' ? retry_after : NULL,
                        list->asked, cs_clock_utc_ms(), &why);
    if (why.retry_after_ms > 0)
        cs_throttle_hold(run->jobs->p.throttle, run->key, cs_clock_mono_ms() + why.retry_after_ms);
    if (why.scope >= CS_SCOPE_MAILBOX &&
        (why.code == CS_CODE_MAILBOX_DENIED || why.code == CS_CODE_MAILBOX_MISSING))
        cs_run_fail(run, &why);
    else if (why.outcome == CS_RETRY)
        read_alone(run, list, member); /* with the engine's own tries and waits */
    else
        list->fn(run, member, part->status, part->body, &why, reply);
}

static void on_batch(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_read_list *list = call->user;
    size_t first = call->index, n = list->n - first < BATCH_MAX ? list->n - first : BATCH_MAX;
    bool answered[BATCH_MAX] = {false};
    struct cs_js_iter it = {0};
    struct cs_batch_part part;

    if (!reply->ok) {
        if (reply->verdict.scope >= CS_SCOPE_TENANT) {
            cs_run_fail(run, &reply->verdict);
            return;
        }
        for (size_t i = 0; i < n && !run->failed; i++) {
            if (reply->verdict.code == CS_CODE_THROTTLED) /* none will be read now */
                list->fn(run, first + i, reply->verdict.http_status, (struct cs_js){0},
                         &reply->verdict, reply);
            else
                read_alone(run, list, first + i);
        }
        return;
    }
    while (!run->failed && cs_batch_next(&reply->page, &it, &part)) {
        char *end = NULL;
        unsigned long member = strtoul(part.id, &end, 10);

        if (part.id[0] == '\0' || *end != '\0' || member >= n || answered[member])
            continue;
        answered[member] = true;
        on_member(run, list, first + member, &part, reply);
    }
    for (size_t i = 0; i < n && !run->failed; i++)
        if (!answered[i])
            read_alone(run, list, first + i);
}

static char *batch_body(const struct cs_read_list *list, size_t first, size_t n)
{
    char prefer[160];
    struct cs_buf out;
    struct cs_jw jw;

    snprintf(prefer, sizeof(prefer), "IdType=\"ImmutableId\"%s%s",
             list->want_text ? ", outlook.body-content-type=\"text\"" : "",
             list->want_utc ? ", outlook.timezone=\"UTC\"" : "");
    cs_buf_init(&out, 0);
    cs_jw_init(&jw, &out);
    cs_jw_object(&jw);
    cs_jw_key(&jw, "requests");
    cs_jw_array(&jw);
    for (size_t i = 0; i < n; i++) {
        char id[24];

        snprintf(id, sizeof(id), "%zu", i);
        cs_jw_object(&jw);
        cs_jw_kstr(&jw, "id", id);
        cs_jw_kstr(&jw, "method", "GET");
        cs_jw_kstr(&jw, "url", list->paths[first + i]);
        cs_jw_key(&jw, "headers");
        cs_jw_object(&jw);
        cs_jw_kstr(&jw, "Prefer", prefer);
        cs_jw_object_end(&jw);
        cs_jw_object_end(&jw);
    }
    cs_jw_array_end(&jw);
    cs_jw_object_end(&jw);
    return cs_buf_steal(&out, NULL);
}

void cs_read_start(struct cs_job_run *run, struct cs_read_list *list)
{
    for (size_t first = 0; first < list->n && !run->failed; first += BATCH_MAX) {
        size_t n = list->n - first < BATCH_MAX ? list->n - first : BATCH_MAX;
        struct cs_call *call;

        if (n == 1) {
            read_alone(run, list, first);
            continue;
        }
        call = cs_run_call(run, strdup("/v1.0/$batch"), CS_ASKED_BATCH, on_batch, first);
        if (call == NULL)
            return;
        call->user = list;
        /* the service runs up to 4 members of an unordered batch at a time */
        call->slots = n < CS_THROTTLE_SLOTS ? (unsigned)n : CS_THROTTLE_SLOTS;
        call->body = batch_body(list, first, n);
        if (call->body == NULL)
            cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    }
}
