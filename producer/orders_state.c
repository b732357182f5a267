/* orders_state.c - replays as entries of the state topic, both ways. PURE. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/json_write.h"
#include "common/message.h"
#include "producer/orders.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const state_names[CS_REPLAY_COUNT_] = {
    [CS_REPLAY_RUNNING] = "running", [CS_REPLAY_STOPPED] = "stopped", [CS_REPLAY_DONE] = "done"};

static void end_print(struct cs_jw *jw, const char *key, int64_t ms)
{
    if (ms != CS_NEVER)
        cs_jw_ktime(jw, key, ms);
}

static void print(const struct cs_replay *r, struct cs_jw *jw)
{
    cs_jw_object(jw);
    cs_jw_kstr(jw, "kind", "replay");
    cs_jw_kstr(jw, "replay_id", r->id);
    cs_jw_ki64(jw, "seq", r->seq);
    if (r->total > 0)
        cs_jw_ki64(jw, "total", r->total);
    cs_jw_kstr(jw, "state", state_names[r->state]);
    cs_jw_ktime(jw, "created_at", r->created_ms);
    if (r->ended_ms != CS_TIME_NONE)
        cs_jw_ktime(jw, "ended_at", r->ended_ms);
    if (r->retry_ms != CS_TIME_NONE)
        cs_jw_ktime(jw, "retry_at", r->retry_ms);
    if (r->failures > 0)
        cs_jw_ki64(jw, "failures", r->failures);
    if (r->code != CS_CODE_NONE)
        cs_jw_kstr(jw, "code", cs_code_name(r->code));
    cs_jw_key(jw, "slices");
    cs_jw_array(jw);
    for (size_t i = 0; i < r->n_slices; i++) {
        cs_jw_object(jw);
        end_print(jw, "from", r->slices[i].from_ms);
        end_print(jw, "to", r->slices[i].to_ms);
        cs_jw_kstr_opt(jw, "cursor", r->slices[i].cursor);
        cs_jw_kbool(jw, "done", r->slices[i].done);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
    cs_jw_key(jw, "items");
    cs_jw_array(jw);
    for (size_t i = 0; i < r->n_items; i++)
        cs_jw_str(jw, r->items[i]);
    cs_jw_array_end(jw);
    cs_jw_ki64(jw, "items_done", r->items_done);
    if (r->calendar) {
        cs_jw_kbool(jw, "calendar_done", r->calendar_done);
        cs_jw_kstr_opt(jw, "calendar_cursor", r->calendar_cursor);
    }
    cs_jw_ki64(jw, "jobs", r->jobs);
    cs_jw_ki64(jw, "records", r->records);
    cs_jw_ki64(jw, "requests", r->requests);
    cs_jw_object_end(jw);
}

bool cs_orders_are_dirty(const struct cs_mailbox *m)
{
    for (size_t i = 0; i < m->n_replays; i++)
        if (m->replays[i]->dirty)
            return true;
    return false;
}

int cs_orders_flush(struct cs_mailbox *m, int (*fn)(void *, const char *, const char *, size_t),
                    void *user)
{
    char name[CS_COMMAND_ID_LEN + 40];
    size_t kept = 0;
    int x = 0;

    for (size_t i = 0; i < m->n_replays; i++) {
        struct cs_replay *r = m->replays[i];
        struct cs_buf text;
        struct cs_jw jw;

        m->replays[kept++] = r;
        if (!r->dirty || x < 0)
            continue;
        snprintf(name, sizeof(name), "replay:%s/%lld", r->id, (long long)r->seq);
        r->dirty = false;
        if (r->forget) {
            x = fn(user, name, NULL, 0);
            cs_replay_free(r);
            kept--;
            continue;
        }
        cs_buf_init(&text, 0);
        cs_jw_init(&jw, &text);
        print(r, &jw);
        x = cs_buf_failed(&text);
        if (x == 0)
            x = fn(user, name, text.data, text.len);
        cs_buf_clear(&text);
    }
    m->n_replays = kept;
    return x;
}

static void load_lists(struct cs_msg *m, struct cs_replay *r)
{
    size_t n = 0;
    cs_json_val arr = cs_msg_array(m, "slices", CS_COMMAND_SLICES_MAX, &n, "slices");

    r->slices = cs_msg_alloc(m, n, sizeof(*r->slices));
    for (size_t i = 0; arr != NULL && i < n && m->error == 0; i++, r->n_slices++) {
        struct cs_msg s = {.obj = cs_json_at(arr, i)};

        r->slices[i].from_ms = cs_msg_time(&s, "from", false, CS_NEVER, "slices[].from");
        r->slices[i].to_ms = cs_msg_time(&s, "to", false, CS_NEVER, "slices[].to");
        r->slices[i].cursor = cs_msg_str(&s, "cursor", CS_CURSOR_MAX, false, "slices[].cursor");
        r->slices[i].done = cs_msg_bool(&s, "done", true, false, "slices[].done");
        cs_msg_join(m, &s);
    }
    arr = cs_msg_array(m, "items", CS_COMMAND_ITEMS_MAX, &n, "items");
    r->items = cs_msg_alloc(m, n, sizeof(*r->items));
    for (size_t i = 0; arr != NULL && i < n && m->error == 0; i++, r->n_items++) {
        const char *id = NULL;

        if (cs_json_val_str(cs_json_at(arr, i), CS_ID_MAX, &id) < 0)
            cs_msg_fail(m, -EINVAL, "items[]");
        else if ((r->items[i] = strdup(id)) == NULL)
            cs_msg_fail(m, -ENOMEM, "memory");
    }
}

void cs_orders_load(struct cs_mailbox *box, struct cs_msg *m)
{
    struct cs_replay *r = calloc(1, sizeof(*r));
    const char *code = NULL;

    if (r == NULL) {
        cs_msg_fail(m, -ENOMEM, "memory");
        return;
    }
    cs_msg_str_into(m, "replay_id", r->id, sizeof(r->id), "replay_id");
    r->seq = cs_msg_i64(m, "seq", 1, 1000000, true, 0, "seq");
    r->total = cs_msg_i64(m, "total", 1, INT32_MAX, false, 0, "total");
    r->state =
        (enum cs_replay_state)cs_msg_enum(m, "state", state_names, COUNT(state_names), "state");
    r->created_ms = cs_msg_time(m, "created_at", true, 0, "created_at");
    r->ended_ms = cs_msg_time(m, "ended_at", false, CS_TIME_NONE, "ended_at");
    r->retry_ms = cs_msg_time(m, "retry_at", false, CS_TIME_NONE, "retry_at");
    r->failures = (unsigned)cs_msg_i64(m, "failures", 0, INT32_MAX, false, 0, "failures");
    if (m->error == 0 && cs_json_str(m->obj, "code", 64, &code) == 0)
        (void)cs_code_parse(code, &r->code); /* a later version's reads as internal */
    load_lists(m, r);
    r->items_done = cs_msg_i64(m, "items_done", 0, INT64_MAX, true, 0, "items_done");
    r->calendar = m->error == 0 && cs_json_get(m->obj, "calendar_done") != NULL;
    r->calendar_done = cs_msg_bool(m, "calendar_done", false, false, "calendar_done");
    r->calendar_cursor = cs_msg_str(m, "calendar_cursor", CS_CURSOR_MAX, false, "calendar_cursor");
    r->jobs = cs_msg_i64(m, "jobs", 0, INT64_MAX, true, 0, "jobs");
    r->records = cs_msg_i64(m, "records", 0, INT64_MAX, true, 0, "records");
    r->requests = cs_msg_i64(m, "requests", 0, INT64_MAX, true, 0, "requests");
    if (m->error < 0)
        cs_replay_free(r);
    else if (cs_replay_add(box, r) < 0)
        cs_msg_fail(m, -ENOMEM, "memory");
}
