#include "producer/orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/message.h"
#include "producer/apply.h"

#define DAY_MS   INT64_C(86400000)
#define RETRY_MS 2000
/* what a replayed slice lists and changed within this may be gone before its folder's delta tells it: it is owed a look */
#define LOOKS_MS     INT64_C(3600000)
#define RETRY_MAX_MS 900000
#define ASKED_MAX_MS INT64_C(3600000) /* of a Retry-After */

/* --- the list ---------------------------------------------------------------------------------- */

void cs_replay_free(struct cs_replay *r)
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
        cs_replay_free(m->replays[i]);
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

int cs_replay_add(struct cs_mailbox *m, struct cs_replay *r)
{
    struct cs_replay **list = realloc(m->replays, (m->n_replays + 1) * sizeof(struct cs_replay *));

    if (list == NULL) {
        cs_replay_free(r);
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
        cs_replay_free(r);
        return -ENOMEM;
    }
    for (; r->n_slices < c->n_slices; r->n_slices++)
        r->slices[r->n_slices] = (struct cs_replay_slice){
            c->slices[r->n_slices].from_ms, c->slices[r->n_slices].to_ms, NULL, false};
    for (; r->n_items < c->n_items; r->n_items++)
        if ((r->items[r->n_items] = strdup(c->items[r->n_items])) == NULL) {
            cs_replay_free(r);
            return -ENOMEM;
        }
    settle(r, now_ms);
    return cs_replay_add(m, r);
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

static int make_items(const struct cs_replay *r, size_t n, struct cs_job *job)
{
    job->items = calloc(n + 1, sizeof(*job->items));
    if (job->items == NULL)
        return -ENOMEM;
    for (; job->n_items < n && job->n_items < r->n_items; job->n_items++) {
        const struct cs_look again = {
            .id = r->items[job->n_items], .why = CS_WHY_LEFTOVER, .seen = CS_SEEN_NOTHING};

        if (cs_look_copy(&again, &job->items[job->n_items]) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int make_slice(const struct cs_replay *r, int number, struct cs_job_part *ret)
{
    const struct cs_replay_slice *s;
    char id[16];

    if (number < 0 || (size_t)number >= r->n_slices)
        return -ENOENT;
    s = &r->slices[number];
    ret->generation = 1;
    ret->from_utc_ms = s->from_ms;
    ret->to_utc_ms = s->to_ms;
    snprintf(id, sizeof(id), "%d", number);
    return cs_msg_dup("slices", &ret->stream) < 0 || cs_msg_dup(id, &ret->slice_id) < 0
               ? -ENOMEM
               : cs_msg_dup(s->cursor, &ret->cursor);
}

static int make_calendar(const struct cs_mailbox *m, const struct cs_replay *r,
                         struct cs_job_part *ret)
{
    ret->generation = m->cal.generation;
    ret->from_utc_ms = m->cal.from_ms;
    ret->to_utc_ms = m->cal.to_ms;
    return cs_msg_dup("cal:default", &ret->stream) < 0
               ? -ENOMEM
               : cs_msg_dup(r->calendar_cursor, &ret->cursor);
}

int cs_replay_make(const struct cs_mailbox *m, struct cs_job *job)
{
    const struct cs_box_inflight *in = m->inflight;
    const struct cs_replay *r = cs_replay_in_flight(m);
    int x = 0;

    if (r == NULL)
        return -ENOENT;
    if (in->type == CS_JOB_MAIL_ITEMS)
        return make_items(r, in->replay_items, job);
    if (in->type == CS_JOB_MAIL_SLICE)
        job->anchored_utc_ms = in->created_ms - LOOKS_MS;
    job->parts = calloc(in->n_parts + 1, sizeof(*job->parts));
    if (job->parts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < in->n_parts && x == 0; i++) {
        job->n_parts = i + 1; /* so that a half-made one is cleared too */
        job->parts[i].mode = in->parts[i].mode;
        x = in->type == CS_JOB_MAIL_SLICE ? make_slice(r, in->parts[i].slice, &job->parts[i])
                                          : make_calendar(m, r, &job->parts[i]);
    }
    return x;
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
    if (part->generation != m->cal.generation)
        return 0; /* its window has moved on, and is walked anew */
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

/* The longest that the service asked for, as far as it is believed. */
static int64_t asked_wait_ms(const struct cs_feedback *f)
{
    int64_t wait_ms = f->retry_after_ms;

    for (size_t p = 0; p < f->n_parts; p++)
        if (f->parts[p].retry_after_ms > wait_ms)
            wait_ms = f->parts[p].retry_after_ms;
    return wait_ms < 0 ? 0 : wait_ms > ASKED_MAX_MS ? ASKED_MAX_MS : wait_ms;
}

static void fail(struct cs_replay *r, const struct cs_feedback *f, int64_t now_ms, uint64_t random)
{
    int64_t wait_ms, asked_ms = asked_wait_ms(f);

    r->failures++;
    r->code = f->fault.code;
    for (size_t p = 0; p < f->n_parts && r->code == CS_CODE_NONE; p++)
        r->code = f->parts[p].fault.code;
    if (r->failures >= CS_REPLAY_TRIES)
        r->state = CS_REPLAY_STOPPED;
    wait_ms = cs_backoff_ms(r->failures, RETRY_MS, RETRY_MAX_MS, random);
    r->retry_ms = now_ms + (wait_ms > asked_ms ? wait_ms : asked_ms);
}

int cs_replay_apply(struct cs_mailbox *m, const struct cs_feedback *f, bool held, int64_t now_ms,
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
    } else if (!held) {
        fail(r, f, now_ms, random);
    }
    settle(r, now_ms);
    return x;
}
