#include "producer/orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/json.h"
#include "common/json_write.h"
#include "common/message.h"
#include "producer/apply.h"

#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))
#define DAY_MS       INT64_C(86400000)
#define RETRY_MS     2000
#define RETRY_MAX_MS 900000

static const char *const state_names[CS_REPLAY_COUNT_] = {
    [CS_REPLAY_RUNNING] = "running", [CS_REPLAY_STOPPED] = "stopped", [CS_REPLAY_DONE] = "done"};

/* --- the list ---------------------------------------------------------------------------------- */

static void replay_free(struct cs_replay *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->n_slices; i++)
        free(r->slices[i].cursor);
    free(r->slices);
    for (size_t i = 0; i < r->n_items; i++)
        free(r->items[i]);
    free(r->items);
    free(r->calendar_cursor);
    free(r);
}

void cs_orders_free(struct cs_mailbox *m)
{
    for (size_t i = 0; i < m->n_replays; i++)
        replay_free(m->replays[i]);
    free(m->replays);
    m->replays = NULL;
    m->n_replays = 0;
}

static struct cs_replay *find(const struct cs_mailbox *m, const char *id, int64_t seq)
{
    for (size_t i = 0; i < m->n_replays; i++)
        if (m->replays[i]->seq == seq && strcmp(m->replays[i]->id, id) == 0)
            return m->replays[i];
    return NULL;
}

/* @param[in] r  taken, also on failure */
static int add(struct cs_mailbox *m, struct cs_replay *r)
{
    struct cs_replay **list = realloc(m->replays, (m->n_replays + 1) * sizeof(struct cs_replay *));

    if (list == NULL) {
        replay_free(r);
        return -ENOMEM;
    }
    m->replays = list;
    list[m->n_replays++] = r;
    return 0;
}

static void settle(struct cs_replay *r, int64_t now_ms)
{
    bool over = r->n_items == 0 && (!r->calendar || r->calendar_done);

    for (size_t i = 0; i < r->n_slices; i++)
        over = over && r->slices[i].done;
    if (!over)
        return;
    r->state = CS_REPLAY_DONE;
    r->ended_ms = now_ms;
}

static void forget_old(struct cs_mailbox *m, int64_t now_ms)
{
    for (size_t i = 0; i < m->n_replays; i++) {
        struct cs_replay *r = m->replays[i];

        if (r->state == CS_REPLAY_DONE && r->ended_ms < now_ms - CS_REPLAY_DAYS * DAY_MS)
            r->forget = r->dirty = true;
    }
}

/* --- commands ---------------------------------------------------------------------------------- */

static int take_replay(struct cs_mailbox *m, const struct cs_command *c, int64_t now_ms)
{
    struct cs_replay *r;

    forget_old(m, now_ms);
    if (find(m, c->replay_id, c->seq) != NULL)
        return 0;
    if (m->n_replays >= CS_REPLAYS_MAX)
        return -E2BIG;
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return -ENOMEM;
    memcpy(r->id, c->replay_id, sizeof(r->id));
    r->seq = c->seq;
    r->total = c->total;
    r->calendar = c->calendar;
    r->created_ms = now_ms;
    r->ended_ms = r->retry_ms = CS_TIME_NONE;
    r->dirty = true;
    r->slices = calloc(c->n_slices + 1, sizeof(*r->slices));
    r->items = calloc(c->n_items + 1, sizeof(*r->items));
    if (r->slices == NULL || r->items == NULL) {
        replay_free(r);
        return -ENOMEM;
    }
    for (; r->n_slices < c->n_slices; r->n_slices++)
        r->slices[r->n_slices] = (struct cs_replay_slice){
            c->slices[r->n_slices].from_ms, c->slices[r->n_slices].to_ms, NULL, false};
    for (; r->n_items < c->n_items; r->n_items++)
        if ((r->items[r->n_items] = strdup(c->items[r->n_items])) == NULL) {
            replay_free(r);
            return -ENOMEM;
        }
    settle(r, now_ms);
    return add(m, r);
}

static void set_replays(struct cs_mailbox *m, const char *id, enum cs_replay_state from,
                        enum cs_replay_state to)
{
    for (size_t i = 0; i < m->n_replays; i++) {
        struct cs_replay *r = m->replays[i];

        if (r->state != from || strcmp(r->id, id) != 0)
            continue;
        r->state = to;
        r->retry_ms = CS_TIME_NONE;
        r->failures = 0;
        r->dirty = true;
    }
}

static void ask_all_now(struct cs_mailbox *m, int64_t now_ms)
{
    m->listing_asked = true;
    if (m->retry_ms != CS_TIME_NONE)
        m->retry_ms = now_ms;
    for (size_t i = 0; i < m->n_folders; i++) {
        m->folders[i]->asked_by_counts = true;
        m->folders[i]->retry_ms = CS_TIME_NONE;
    }
    m->cal.last_poll_ms = CS_TIME_NONE;
    m->cal.retry_ms = CS_TIME_NONE;
}

static void compare_all(struct cs_mailbox *m, int64_t now_ms)
{
    for (size_t i = 0; i < m->n_folders; i++)
        if (m->folders[i]->has_stream && m->folders[i]->phase == CS_STREAM_LIVE)
            cs_apply_drop_cursor(m->folders[i], CS_STREAM_RESYNC_PENDING, now_ms);
    if (m->conf != NULL && m->cal.phase == CS_STREAM_LIVE)
        cs_calendar_roll(&m->cal, m->conf, now_ms);
}

/* Everything is published again: as if it were seen for the first time, but for its depth, what is owed, and folders that
 * are on their way out. */
static void begin_anew(struct cs_mailbox *m, int64_t now_ms)
{
    m->phase = CS_BOX_NEW;
    m->anchored_ms = CS_NEVER;
    m->slices_done_ms = CS_TIME_NONE;
    m->retry_ms = m->parked == CS_CODE_NONE ? CS_TIME_NONE : now_ms;
    for (size_t i = 0; i < m->n_slices; i++)
        free(m->slices[i].cursor);
    m->n_slices = 0;
    m->slices_dirty = true;
    for (size_t i = 0; i < m->n_folders; i++)
        if (m->folders[i]->has_stream && m->folders[i]->phase != CS_STREAM_GONE_PENDING)
            cs_folder_start(m->folders[i], CS_STREAM_ANCHOR);
    if (m->conf != NULL)
        cs_calendar_roll(&m->cal, m->conf, now_ms);
}

int cs_orders_take(struct cs_mailbox *m, const struct cs_command *c, int64_t now_ms)
{
    int r = 0;

    if (strcmp(m->command_id, c->id) == 0)
        return 0;
    switch (c->type) {
    case CS_COMMAND_PAUSE: m->paused = true; break;
    case CS_COMMAND_RESUME: m->paused = false; break;
    case CS_COMMAND_SYNC_NOW: ask_all_now(m, now_ms); break;
    case CS_COMMAND_RESYNC: compare_all(m, now_ms); break;
    case CS_COMMAND_REBUILD: begin_anew(m, now_ms); break;
    case CS_COMMAND_REPLAY: r = take_replay(m, c, now_ms); break;
    case CS_COMMAND_REPLAY_STOP:
        set_replays(m, c->replay_id, CS_REPLAY_RUNNING, CS_REPLAY_STOPPED);
        break;
    case CS_COMMAND_REPLAY_RESUME:
        set_replays(m, c->replay_id, CS_REPLAY_STOPPED, CS_REPLAY_RUNNING);
        break;
    case CS_COMMAND_COUNT_: break;
    }
    if (r < 0)
        return r;
    memcpy(m->command_id, c->id, sizeof(m->command_id));
    m->command_ms = now_ms;
    m->dirty = true;
    return 0;
}

/* --- jobs -------------------------------------------------------------------------------------- */

static struct cs_replay *next_of(const struct cs_mailbox *m, int64_t now_ms, int64_t *due_ms)
{
    *due_ms = CS_NEVER;
    for (size_t i = 0; i < m->n_replays; i++) {
        struct cs_replay *r = m->replays[i];
        int64_t due = r->retry_ms != CS_TIME_NONE ? r->retry_ms : r->created_ms;

        if (r->state != CS_REPLAY_RUNNING)
            continue;
        if (due > now_ms + RETRY_MAX_MS)
            due = now_ms; /* written by a clock ahead of ours */
        if (due < *due_ms)
            *due_ms = due;
        if (due <= now_ms)
            return r; /* the one that came first */
    }
    return NULL;
}

int64_t cs_replay_due_ms(const struct cs_mailbox *m, int64_t now_ms)
{
    int64_t due_ms;

    (void)next_of(m, now_ms, &due_ms);
    return due_ms;
}

static enum cs_job_type type_of(const struct cs_replay *r)
{
    for (size_t i = 0; i < r->n_slices; i++)
        if (!r->slices[i].done)
            return CS_JOB_MAIL_SLICE;
    return r->n_items > 0 ? CS_JOB_MAIL_ITEMS : CS_JOB_CALENDAR_DELTA;
}

enum cs_job_type cs_replay_type(const struct cs_mailbox *m, int64_t now_ms)
{
    int64_t due_ms;
    const struct cs_replay *r = next_of(m, now_ms, &due_ms);

    return r != NULL ? type_of(r) : CS_JOB_TYPE_COUNT_;
}

size_t cs_replay_issue(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                       struct cs_box_inflight *in, int64_t now_ms)
{
    int64_t due_ms;
    struct cs_replay *r = next_of(m, now_ms, &due_ms);

    if (r == NULL || type_of(r) != in->type)
        return 0;
    memcpy(in->replay_id, r->id, sizeof(in->replay_id));
    in->replay_seq = r->seq;
    in->reason = "replay";
    in->attempt = (int64_t)r->failures + 1;
    if (in->type == CS_JOB_MAIL_ITEMS) {
        in->replay_items = r->n_items < CS_JOB_ITEMS_MAX ? r->n_items : CS_JOB_ITEMS_MAX;
        return in->replay_items;
    }
    if (in->type == CS_JOB_CALENDAR_DELTA)
        in->parts[in->n_parts++] = (struct cs_box_part){0, -1, m->cal.generation, CS_MODE_FIRST};
    for (size_t i = 0; in->type == CS_JOB_MAIL_SLICE && i < r->n_slices &&
                       in->n_parts < (size_t)c->slice_parts && in->n_parts < CS_JOB_PARTS_MAX;
         i++)
        if (!r->slices[i].done)
            in->parts[in->n_parts++] = (struct cs_box_part){0, (int)i, 1, CS_MODE_SLICE};
    return in->n_parts;
}

struct cs_replay *cs_replay_in_flight(const struct cs_mailbox *m)
{
    return m->inflight != NULL && m->inflight->replay_id[0] != '\0'
               ? find(m, m->inflight->replay_id, m->inflight->replay_seq)
               : NULL;
}

/* --- feedback ---------------------------------------------------------------------------------- */

static bool got_on(enum cs_outcome outcome)
{
    return outcome == CS_DONE || outcome == CS_MORE;
}

static int apply_slice(struct cs_replay_slice *s, const struct cs_feedback_part *part)
{
    if (part->outcome == CS_DONE) {
        s->done = true;
        free(s->cursor);
        s->cursor = NULL;
        return 0;
    }
    return part->cursor != NULL ? cs_mailbox_set_cursor(&s->cursor, part->cursor) : 0;
}

static int apply_calendar(struct cs_mailbox *m, struct cs_replay *r, const struct cs_feedback *f,
                          const struct cs_feedback_part *part)
{
    int x;

    if (part->outcome == CS_RESYNC) { /* its cursor died amid the walk, which begins anew */
        free(r->calendar_cursor);
        r->calendar_cursor = NULL;
    }
    if (!got_on(part->outcome))
        return 0;
    if (part->cursor != NULL && cs_mailbox_set_cursor(&r->calendar_cursor, part->cursor) < 0)
        return -ENOMEM;
    r->calendar_done = part->outcome == CS_DONE;
    m->cal.dirty = true;
    x = cs_calendar_apply(&m->cal, f, 0, false); /* what it published is out there */
    if (x == -E2BIG)
        m->cal.phase = CS_STREAM_RESYNC_PENDING;
    return x == -E2BIG ? 0 : x;
}

static void drop_items(struct cs_replay *r, size_t n)
{
    if (n > r->n_items)
        n = r->n_items;
    for (size_t i = 0; i < n; i++)
        free(r->items[i]);
    memmove(r->items, r->items + n, (r->n_items - n) * sizeof(*r->items));
    r->n_items -= n;
    r->items_done += (int64_t)n;
}

int cs_replay_apply(struct cs_mailbox *m, const struct cs_feedback *f, int64_t now_ms,
                    uint64_t random)
{
    struct cs_replay *r = cs_replay_in_flight(m);
    const struct cs_box_inflight *in = m->inflight;
    bool ok = got_on(f->outcome);
    int x = 0;

    if (r == NULL)
        return 0;
    r->dirty = true;
    r->jobs++;
    r->records += f->counts.upserts + f->counts.moves + f->counts.deletes + f->counts.left_scope;
    r->requests += f->counts.requests;
    for (size_t p = 0; p < f->n_parts && x == 0; p++) {
        const struct cs_feedback_part *part = &f->parts[p];
        size_t i = part->slice_id != NULL ? (size_t)strtoul(part->slice_id, NULL, 10) : 0;

        ok = ok || got_on(part->outcome);
        if (in->type == CS_JOB_CALENDAR_DELTA)
            x = apply_calendar(m, r, f, part);
        else if (in->type == CS_JOB_MAIL_SLICE && i < r->n_slices && got_on(part->outcome))
            x = apply_slice(&r->slices[i], part);
    }
    if (in->type == CS_JOB_MAIL_ITEMS && ok)
        drop_items(r, in->replay_items);
    if (ok) {
        r->failures = 0;
        r->retry_ms = CS_TIME_NONE;
        r->code = CS_CODE_NONE;
    } else {
        r->failures++;
        r->code = f->fault.code;
        for (size_t p = 0; p < f->n_parts && r->code == CS_CODE_NONE; p++)
            r->code = f->parts[p].fault.code;
        if (r->failures >= CS_REPLAY_TRIES)
            r->state = CS_REPLAY_STOPPED;
        r->retry_ms = now_ms + cs_backoff_ms(r->failures > 20 ? 20 : r->failures, RETRY_MS,
                                             RETRY_MAX_MS, random);
    }
    settle(r, now_ms);
    return x;
}

/* --- the state topic --------------------------------------------------------------------------- */

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
            replay_free(r);
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
        replay_free(r);
    else if (add(box, r) < 0)
        cs_msg_fail(m, -ENOMEM, "memory");
}
