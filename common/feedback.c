#include "common/feedback.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/json_write.h"
#include "common/message.h"

static const char *const scope_names[] = {
    [CS_SCOPE_ITEM] = "item",     [CS_SCOPE_STREAM] = "stream",   [CS_SCOPE_MAILBOX] = "mailbox",
    [CS_SCOPE_TENANT] = "tenant", [CS_SCOPE_SERVICE] = "service",
};
static const char *const send_names[] = {
    [CS_SENT_NOTHING] = "nothing",     [CS_SENT_DRAFTED] = "drafted", [CS_SENT_CLAIMED] = "claimed",
    [CS_SENT_UNCERTAIN] = "uncertain", [CS_SENT_MISSING] = "missing", [CS_SENT_DONE] = "done",
    [CS_SENT_SWEPT] = "swept",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void part_clear(struct cs_feedback_part *part)
{
    free(part->stream);
    free(part->slice_id);
    free(part->cursor);
}

static void found_clear(struct cs_folder_found *f)
{
    free(f->id);
    free(f->parent_id);
    free(f->name);
    free(f->well_known);
}

static void strings_clear(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

void cs_feedback_clear(struct cs_feedback *f)
{
    for (size_t i = 0; i < f->n_parts; i++)
        part_clear(&f->parts[i]);
    free(f->parts);
    for (size_t i = 0; i < f->n_folders; i++)
        found_clear(&f->folders[i]);
    free(f->folders);
    for (size_t i = 0; i < f->n_left; i++)
        cs_look_clear(&f->left[i]);
    free(f->left);
    for (size_t i = 0; i < f->n_rows; i++)
        cs_cal_row_clear(&f->rows[i]);
    free(f->rows);
    strings_clear(f->series_whole, f->n_series_whole);
    strings_clear(f->removed, f->n_removed);
    strings_clear(f->settled, f->n_settled);
    free(f->send.draft_id);
    free(f->send.change_key);
    free(f->send.message_id);
    memset(f, 0, sizeof(*f));
}

static enum cs_outcome outcome_get(struct cs_msg *m, const char *where)
{
    enum cs_outcome outcome = CS_DONE;
    const char *s = NULL;

    if (m->error == 0 &&
        (cs_json_str(m->obj, "outcome", 16, &s) < 0 || cs_outcome_parse(s, &outcome) < 0))
        cs_msg_fail(m, -EINVAL, where);
    return outcome;
}

/* Service codes and request ids come from outside: kept only while they are plain tokens. */
static void token_into(struct cs_msg *m, const char *name, char *out, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const char *s = NULL;

    out[0] = '\0';
    if (m->error == 0 && cs_json_str(m->obj, name, size - 1, &s) == 0 &&
        s[strspn(s, plain)] == '\0')
        memcpy(out, s, strlen(s) + 1);
}

static void fault_parse(struct cs_msg *m, struct cs_fault *ret)
{
    struct cs_msg f = {.obj = m->error == 0 ? cs_json_get(m->obj, "error") : NULL};
    const char *s = NULL;

    memset(ret, 0, sizeof(*ret));
    if (f.obj == NULL)
        return;
    if (cs_json_str(f.obj, "code", 64, &s) < 0)
        cs_msg_fail(&f, -EINVAL, "error.code");
    else if (cs_code_parse(s, &ret->code) < 0)
        ret->code = CS_CODE_INTERNAL; /* a newer worker's word: known to be an error, no more */
    ret->scope =
        (enum cs_scope)cs_msg_enum(&f, "scope", scope_names, COUNT(scope_names), "error.scope");
    ret->http_status = (int)cs_msg_i64(&f, "http_status", 0, 999, false, 0, "error.http_status");
    token_into(&f, "service_code", ret->service_code, sizeof(ret->service_code));
    token_into(&f, "request_id", ret->request_id, sizeof(ret->request_id));
    cs_msg_join(m, &f);
}

static void fault_print(const struct cs_fault *fault, struct cs_jw *jw)
{
    if (fault->code == CS_CODE_NONE)
        return;
    cs_jw_key(jw, "error");
    cs_jw_object(jw);
    cs_jw_kstr(jw, "code", cs_code_name(fault->code));
    cs_jw_kstr(jw, "scope", scope_names[fault->scope]);
    if (fault->http_status > 0)
        cs_jw_ki64(jw, "http_status", fault->http_status);
    if (fault->service_code[0] != '\0')
        cs_jw_kstr(jw, "service_code", fault->service_code);
    if (fault->request_id[0] != '\0')
        cs_jw_kstr(jw, "request_id", fault->request_id);
    cs_jw_object_end(jw);
}

static void compared_parse(struct cs_msg *m, struct cs_feedback_part *ret)
{
    struct cs_msg c = {.obj = m->error == 0 ? cs_json_get(m->obj, "compared") : NULL};

    if (c.obj == NULL)
        return;
    ret->has_compared = true;
    ret->compared.listed = cs_msg_i64(&c, "listed", 0, INT64_MAX, true, 0, "compared.listed");
    ret->compared.indexed = cs_msg_i64(&c, "indexed", 0, INT64_MAX, true, 0, "compared.indexed");
    ret->compared.missing = cs_msg_i64(&c, "missing", 0, INT64_MAX, true, 0, "compared.missing");
    ret->compared.stale = cs_msg_i64(&c, "stale", 0, INT64_MAX, true, 0, "compared.stale");
    ret->compared.extra = cs_msg_i64(&c, "extra", 0, INT64_MAX, true, 0, "compared.extra");
    if (c.error == 0)
        ret->compared.digest = cs_msg_hash(&c, cs_json_get(c.obj, "digest"), "compared.digest");
    cs_msg_join(m, &c);
}

static void compared_print(const struct cs_compared *c, struct cs_jw *jw)
{
    char hex[17];

    snprintf(hex, sizeof(hex), "%016" PRIx64, c->digest);
    cs_jw_key(jw, "compared");
    cs_jw_object(jw);
    cs_jw_ki64(jw, "listed", c->listed);
    cs_jw_ki64(jw, "indexed", c->indexed);
    cs_jw_ki64(jw, "missing", c->missing);
    cs_jw_ki64(jw, "stale", c->stale);
    cs_jw_ki64(jw, "extra", c->extra);
    cs_jw_kstr(jw, "digest", hex);
    cs_jw_object_end(jw);
}

static void part_parse(struct cs_msg *m, cs_json_val v, struct cs_feedback_part *ret)
{
    struct cs_msg p = {.obj = v};

    ret->stream = cs_msg_str(&p, "stream", CS_STREAM_MAX + 16, true, "parts[].stream");
    ret->generation = cs_msg_i64(&p, "generation", 0, INT64_MAX, true, 0, "parts[].generation");
    ret->slice_id = cs_msg_str(&p, "slice_id", 64, false, "parts[].slice_id");
    ret->outcome = outcome_get(&p, "parts[].outcome");
    ret->cursor = cs_msg_str(&p, "cursor", CS_CURSOR_MAX, false, "parts[].cursor");
    ret->after = cs_msg_khash(&p, "after", "parts[].after");
    ret->retry_after_ms =
        cs_msg_i64(&p, "retry_after_ms", 0, INT64_MAX, false, -1, "parts[].retry_after_ms");
    ret->changes = cs_msg_i64(&p, "changes", 0, INT64_MAX, false, 0, "parts[].changes");
    compared_parse(&p, ret);
    fault_parse(&p, &ret->fault);
    cs_msg_join(m, &p);
}

static void part_print(const struct cs_feedback_part *part, struct cs_jw *jw)
{
    cs_jw_object(jw);
    cs_jw_kstr(jw, "stream", part->stream);
    cs_jw_ki64(jw, "generation", part->generation);
    cs_jw_kstr_opt(jw, "slice_id", part->slice_id);
    cs_jw_kstr(jw, "outcome", cs_outcome_name(part->outcome));
    cs_jw_kstr_opt(jw, "cursor", part->cursor);
    cs_jw_khash_opt(jw, "after", part->after);
    if (part->retry_after_ms >= 0)
        cs_jw_ki64(jw, "retry_after_ms", part->retry_after_ms);
    cs_jw_ki64(jw, "changes", part->changes);
    if (part->has_compared)
        compared_print(&part->compared, jw);
    fault_print(&part->fault, jw);
    cs_jw_object_end(jw);
}

static void found_parse(struct cs_msg *m, cs_json_val v, struct cs_folder_found *ret)
{
    struct cs_msg f = {.obj = v};

    ret->id = cs_msg_str(&f, "id", CS_ID_MAX, true, "folders[].id");
    ret->parent_id = cs_msg_str(&f, "parent_id", CS_ID_MAX, false, "folders[].parent_id");
    ret->name = cs_msg_str(&f, "name", CS_PATH_MAX, true, "folders[].name");
    ret->well_known =
        cs_msg_str(&f, "well_known", CS_WELL_KNOWN_MAX, false, "folders[].well_known");
    ret->hidden = cs_msg_bool(&f, "hidden", false, false, "folders[].hidden");
    ret->search_folder = cs_msg_bool(&f, "search_folder", false, false, "folders[].search_folder");
    ret->total = cs_msg_i64(&f, "total", 0, INT64_MAX, false, 0, "folders[].total");
    ret->unread = cs_msg_i64(&f, "unread", 0, INT64_MAX, false, 0, "folders[].unread");
    cs_msg_join(m, &f);
}

static void found_print(const struct cs_folder_found *f, struct cs_jw *jw)
{
    cs_jw_object(jw);
    cs_jw_kstr(jw, "id", f->id);
    cs_jw_kstr_opt(jw, "parent_id", f->parent_id);
    cs_jw_kstr(jw, "name", f->name);
    cs_jw_kstr_opt(jw, "well_known", f->well_known);
    cs_jw_kbool(jw, "hidden", f->hidden);
    cs_jw_kbool(jw, "search_folder", f->search_folder);
    cs_jw_ki64(jw, "total", f->total);
    cs_jw_ki64(jw, "unread", f->unread);
    cs_jw_object_end(jw);
}

static void strings_parse(struct cs_msg *m, const char *name, size_t max, const char *where,
                          char ***ret, size_t *ret_n)
{
    size_t count;
    cs_json_val arr = cs_msg_array(m, name, max, &count, where);

    if (arr == NULL || (*ret = cs_msg_alloc(m, count, sizeof(**ret))) == NULL)
        return;
    for (; m->error == 0 && *ret_n < count; (*ret_n)++) {
        const char *s = NULL;

        if (cs_json_val_str(cs_json_at(arr, *ret_n), CS_ID_MAX + 64, &s) < 0)
            cs_msg_fail(m, -EINVAL, where);
        else if (cs_msg_dup(s, &(*ret)[*ret_n]) < 0)
            cs_msg_fail(m, -ENOMEM, where);
    }
}

static void strings_print(struct cs_jw *jw, const char *name, char **list, size_t n)
{
    if (n == 0)
        return;
    cs_jw_key(jw, name);
    cs_jw_array(jw);
    for (size_t i = 0; i < n; i++)
        cs_jw_str(jw, list[i]);
    cs_jw_array_end(jw);
}

static void send_parse(struct cs_msg *m, struct cs_feedback_send *ret)
{
    struct cs_msg s = {.obj = m->error == 0 ? cs_json_get(m->obj, "send") : NULL};

    if (s.obj == NULL)
        return;
    ret->state =
        (enum cs_send_state)cs_msg_enum(&s, "state", send_names, COUNT(send_names), "send.state");
    ret->draft_id = cs_msg_str(&s, "draft_id", CS_ID_MAX, false, "send.draft_id");
    ret->change_key = cs_msg_str(&s, "change_key", CS_ID_MAX, false, "send.change_key");
    ret->message_id = cs_msg_str(&s, "message_id", 1000, false, "send.message_id");
    if (s.error == 0 && ret->state == CS_SENT_DRAFTED && ret->draft_id == NULL)
        cs_msg_fail(&s, -EINVAL, "send.draft_id");
    if (s.error == 0 && (ret->state == CS_SENT_DRAFTED || ret->state == CS_SENT_CLAIMED) &&
        ret->change_key == NULL)
        cs_msg_fail(&s, -EINVAL, "send.change_key");
    cs_msg_join(m, &s);
}

static void send_print(struct cs_jw *jw, const struct cs_feedback_send *s)
{
    cs_jw_key(jw, "send");
    cs_jw_object(jw);
    cs_jw_kstr(jw, "state", send_names[s->state]);
    cs_jw_kstr_opt(jw, "draft_id", s->draft_id);
    cs_jw_kstr_opt(jw, "change_key", s->change_key);
    cs_jw_kstr_opt(jw, "message_id", s->message_id);
    cs_jw_object_end(jw);
}

static const struct {
    const char *name;
    size_t offset;
} count_fields[] = {
    {"items", offsetof(struct cs_counts, items)},
    {"upserts", offsetof(struct cs_counts, upserts)},
    {"moves", offsetof(struct cs_counts, moves)},
    {"deletes", offsetof(struct cs_counts, deletes)},
    {"left_scope", offsetof(struct cs_counts, left_scope)},
    {"pages", offsetof(struct cs_counts, pages)},
    {"requests", offsetof(struct cs_counts, requests)},
    {"bytes", offsetof(struct cs_counts, bytes)},
    {"held_never_log", offsetof(struct cs_counts, held[0])},
    {"held_private", offsetof(struct cs_counts, held[1])},
    {"held_internal", offsetof(struct cs_counts, held[2])},
    {"held_automated", offsetof(struct cs_counts, held[3])},
    {"held_unknown", offsetof(struct cs_counts, held[4])},
    {"wait_ms", offsetof(struct cs_counts, wait_ms)},
};

static int64_t *count_at(struct cs_counts *c, size_t i)
{
    return (int64_t *)(void *)((char *)c + count_fields[i].offset);
}

int cs_feedback_parse(const char *p, size_t n, struct cs_feedback *ret, const char **reason)
{
    struct cs_feedback f = {0};
    struct cs_json *doc = NULL;
    struct cs_msg m = {0}, c = {0};
    enum cs_job_type type = CS_JOB_FOLDERS;
    const char *s = NULL;
    cs_json_val arr;
    size_t count;
    int r;

    r = cs_json_parse(p, n, &doc, reason);
    if (r < 0)
        return r;
    m.obj = cs_json_root(doc);
    cs_msg_str_into(&m, "job_id", f.job_id, sizeof(f.job_id), "job_id");
    if (m.error == 0 && (cs_json_str(m.obj, "type", 32, &s) < 0 || cs_job_type_parse(s, &type) < 0))
        cs_msg_fail(&m, -EINVAL, "type");
    f.type = type;
    cs_msg_str_into(&m, "tenant", f.tenant, sizeof(f.tenant), "tenant");
    cs_msg_str_into(&m, "mailbox", f.mailbox, sizeof(f.mailbox), "mailbox");
    if (m.error == 0 && (cs_json_str(m.obj, "lane", 16, &s) < 0 || cs_lane_parse(s, &f.lane) < 0))
        cs_msg_fail(&m, -EINVAL, "lane");
    f.attempt = cs_msg_i64(&m, "attempt", 1, INT32_MAX, true, 1, "attempt");
    f.outcome = outcome_get(&m, "outcome");
    f.retry_after_ms = cs_msg_i64(&m, "retry_after_ms", 0, INT64_MAX, false, -1, "retry_after_ms");
    fault_parse(&m, &f.fault);
    f.started_utc_ms = cs_msg_time(&m, "started_at", true, 0, "started_at");
    f.finished_utc_ms = cs_msg_time(&m, "finished_at", true, 0, "finished_at");

    c.obj = m.error == 0 ? cs_json_get(m.obj, "counts") : NULL;
    if (m.error == 0 && !cs_json_is_object(c.obj))
        cs_msg_fail(&m, -EINVAL, "counts");
    for (size_t i = 0; m.error == 0 && i < COUNT(count_fields); i++)
        *count_at(&f.counts, i) =
            cs_msg_i64(&c, count_fields[i].name, 0, INT64_MAX, false, 0, "counts");
    cs_msg_join(&m, &c);

    if ((arr = cs_msg_array(&m, "parts", CS_JOB_PARTS_MAX, &count, "parts")) != NULL &&
        (f.parts = cs_msg_alloc(&m, count, sizeof(*f.parts))) != NULL)
        for (; m.error == 0 && f.n_parts < count; f.n_parts++)
            part_parse(&m, cs_json_at(arr, f.n_parts), &f.parts[f.n_parts]);
    f.has_folders = m.error == 0 && cs_json_get(m.obj, "folders") != NULL;
    if ((arr = cs_msg_array(&m, "folders", CS_FEEDBACK_FOLDERS_MAX, &count, "folders")) != NULL &&
        (f.folders = cs_msg_alloc(&m, count, sizeof(*f.folders))) != NULL)
        for (; m.error == 0 && f.n_folders < count; f.n_folders++)
            found_parse(&m, cs_json_at(arr, f.n_folders), &f.folders[f.n_folders]);
    if ((arr = cs_msg_array(&m, "left", CS_FEEDBACK_LEFT_MAX, &count, "left")) != NULL &&
        (f.left = cs_msg_alloc(&m, count, sizeof(*f.left))) != NULL)
        for (; m.error == 0 && f.n_left < count; f.n_left++) {
            r = cs_look_parse(cs_json_at(arr, f.n_left), &f.left[f.n_left], reason);
            if (r < 0) {
                cs_msg_fail(&m, r, *reason);
                break;
            }
        }
    if ((arr = cs_msg_array(&m, "rows", CS_FEEDBACK_ROWS_MAX, &count, "rows")) != NULL &&
        (f.rows = cs_msg_alloc(&m, count, sizeof(*f.rows))) != NULL)
        for (; m.error == 0 && f.n_rows < count; f.n_rows++) {
            r = cs_cal_row_parse(cs_json_at(arr, f.n_rows), &f.rows[f.n_rows], reason);
            if (r < 0) {
                cs_msg_fail(&m, r, *reason);
                break;
            }
        }
    strings_parse(&m, "series_whole", CS_FEEDBACK_ROWS_MAX, "series_whole", &f.series_whole,
                  &f.n_series_whole);
    strings_parse(&m, "removed", CS_FEEDBACK_ROWS_MAX, "removed", &f.removed, &f.n_removed);
    strings_parse(&m, "settled", CS_FEEDBACK_ROWS_MAX, "settled", &f.settled, &f.n_settled);
    send_parse(&m, &f.send);
    cs_json_free(doc);
    if (m.error < 0) {
        *reason = m.where;
        cs_feedback_clear(&f);
        return m.error;
    }
    *ret = f;
    return 0;
}

void cs_feedback_print(const struct cs_feedback *f, struct cs_buf *out)
{
    struct cs_counts counts = f->counts;
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "job_id", f->job_id);
    cs_jw_kstr(&jw, "type", cs_job_type_name(f->type));
    cs_jw_kstr(&jw, "tenant", f->tenant);
    cs_jw_kstr(&jw, "mailbox", f->mailbox);
    cs_jw_kstr(&jw, "lane", cs_lane_name(f->lane));
    cs_jw_ki64(&jw, "attempt", f->attempt);
    cs_jw_kstr(&jw, "outcome", cs_outcome_name(f->outcome));
    if (f->retry_after_ms >= 0)
        cs_jw_ki64(&jw, "retry_after_ms", f->retry_after_ms);
    fault_print(&f->fault, &jw);
    if (f->n_parts > 0) {
        cs_jw_key(&jw, "parts");
        cs_jw_array(&jw);
        for (size_t i = 0; i < f->n_parts; i++)
            part_print(&f->parts[i], &jw);
        cs_jw_array_end(&jw);
    }
    cs_jw_key(&jw, "counts");
    cs_jw_object(&jw);
    for (size_t i = 0; i < COUNT(count_fields); i++)
        cs_jw_ki64(&jw, count_fields[i].name, *count_at(&counts, i));
    cs_jw_object_end(&jw);
    if (f->has_folders) {
        cs_jw_key(&jw, "folders");
        cs_jw_array(&jw);
        for (size_t i = 0; i < f->n_folders; i++)
            found_print(&f->folders[i], &jw);
        cs_jw_array_end(&jw);
    }
    if (f->n_left > 0) {
        cs_jw_key(&jw, "left");
        cs_jw_array(&jw);
        for (size_t i = 0; i < f->n_left; i++)
            cs_look_print(&f->left[i], &jw);
        cs_jw_array_end(&jw);
    }
    if (f->n_rows > 0) {
        cs_jw_key(&jw, "rows");
        cs_jw_array(&jw);
        for (size_t i = 0; i < f->n_rows; i++)
            cs_cal_row_print(&f->rows[i], &jw);
        cs_jw_array_end(&jw);
    }
    strings_print(&jw, "series_whole", f->series_whole, f->n_series_whole);
    strings_print(&jw, "removed", f->removed, f->n_removed);
    strings_print(&jw, "settled", f->settled, f->n_settled);
    if (f->type == CS_JOB_MAIL_SEND)
        send_print(&jw, &f->send);
    cs_jw_ktime(&jw, "started_at", f->started_utc_ms);
    cs_jw_ktime(&jw, "finished_at", f->finished_utc_ms);
    cs_jw_object_end(&jw);
}
