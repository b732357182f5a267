#include "producer/decide.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "producer/orders.h"

#define DAY_MS           INT64_C(86400000)
#define HOUR_MS          INT64_C(3600000)
#define REPAIR_GATHER_MS 3000

/* A time that was written by a clock ahead of ours must not stop anything. */
static int64_t past(int64_t t_ms, int64_t now_ms)
{
    return t_ms > now_ms ? now_ms : t_ms;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t cs_decide_next_poll(const struct cs_mailbox *m, int64_t last_ms, int64_t interval_ms)
{
    uint64_t phase;
    int64_t t;

    if (last_ms == CS_TIME_NONE)
        return CS_TIME_NONE;
    if (interval_ms < 1)
        return last_ms;
    phase = cs_mix64(cs_murmur2(m->name, strlen(m->name)) ^
                     (uint64_t)cs_murmur2(m->tenant, strlen(m->tenant)) << 32) %
            (uint64_t)interval_ms;
    t = last_ms + interval_ms;
    t -= (int64_t)(((uint64_t)t - phase) % (uint64_t)interval_ms);
    return t <= last_ms + interval_ms / 2 ? t + interval_ms : t;
}

/* --- looks ------------------------------------------------------------------------------------- */

/* A delta may tell a change some seconds after it: a round begun within this after a look might not
 * have seen what the look saw. */
static int64_t margin_ms(const struct cs_schedule_conf *c)
{
    return c->second_look_ms / 4;
}

/* A left-over was not looked at at all: it waits for nothing but a short pause. */
static int64_t leftover_wait_ms(const struct cs_schedule_conf *c)
{
    return earlier(c->second_look_ms, 5000);
}

static bool looks_count(const struct cs_mailbox *m)
{
    return m->phase == CS_BOX_BACKFILL || m->phase == CS_BOX_LIVE;
}

/* Since when the oldest second look is owed; CS_NEVER: none. */
static int64_t oldest_look(const struct cs_mailbox *m, int64_t now_ms)
{
    const struct cs_box_look *look;
    int64_t oldest = CS_NEVER;
    size_t e = 0, i = 0;

    while ((look = cs_mailbox_next_look(m, &e, &i)) != NULL)
        if (look->look.why == CS_WHY_LOOK)
            oldest = earlier(oldest, past(look->owed_ms, now_ms));
    return oldest;
}

/* What was seen before this time has been overtaken by a round of every folder and by a listing. */
static int64_t looks_settled_before(const struct cs_mailbox *m, const struct cs_schedule_conf *c)
{
    int64_t before = m->last_listing_ms;

    for (size_t i = 0; i < m->n_folders; i++) {
        const struct cs_box_folder *f = m->folders[i];
        int64_t round;

        if (!f->has_stream)
            continue;
        if (f->phase != CS_STREAM_LIVE || f->last_round_ms == CS_TIME_NONE)
            return CS_TIME_NONE;
        round = f->last_round_ms - margin_ms(c);
        before = earlier(before, round);
    }
    return before;
}

/* When this look may be asked again; CS_NEVER while a round or a listing is missing. */
static int64_t look_due(const struct cs_box_look *look, const struct cs_schedule_conf *c,
                        int64_t settled_before_ms, int64_t now_ms)
{
    int64_t owed = past(look->owed_ms, now_ms);

    if (look->look.why == CS_WHY_LEFTOVER)
        return owed + leftover_wait_ms(c);
    return owed < settled_before_ms ? owed + c->second_look_ms : CS_NEVER;
}

static int64_t items_due(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                         int64_t now_ms)
{
    int64_t due = CS_NEVER, settled;
    const struct cs_box_look *look;
    size_t e = 0, i = 0;

    if (!looks_count(m) || m->n_look_entries == 0)
        return CS_NEVER;
    settled = looks_settled_before(m, c);
    while ((look = cs_mailbox_next_look(m, &e, &i)) != NULL)
        due = earlier(due, look_due(look, c, settled, now_ms));
    return due;
}

/* --- polls ------------------------------------------------------------------------------------- */

/* When a folder's delta is to be asked; CS_NEVER for one that no delta job may touch now. */
static int64_t folder_due(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                          const struct cs_box_folder *f, int64_t oldest_look_ms, int64_t now_ms)
{
    int64_t due;

    if (!f->has_stream)
        return CS_NEVER;
    if (f->phase == CS_STREAM_ANCHOR || f->phase == CS_STREAM_FIRST)
        due = m->first_seen_ms;
    else if (f->phase != CS_STREAM_LIVE || !looks_count(m))
        return CS_NEVER; /* until every folder is anchored no folder is polled */
    else if (f->round_start_ms != CS_TIME_NONE || f->asked_by_counts)
        due = past(f->last_poll_ms, now_ms);
    else
        due = cs_decide_next_poll(m, past(f->last_poll_ms, now_ms),
                                  f->interval_ms > 0 ? f->interval_ms : c->poll_min_ms);
    /* a look waits for a round that begins after it: half way, so that several share the round */
    if (f->phase == CS_STREAM_LIVE && oldest_look_ms != CS_NEVER &&
        (f->last_round_ms == CS_TIME_NONE ||
         past(f->last_round_ms, now_ms) <= oldest_look_ms + margin_ms(c)))
        due = earlier(due, oldest_look_ms + c->second_look_ms / 2);
    if (f->retry_ms != CS_TIME_NONE && due < f->retry_ms)
        due = earlier(f->retry_ms, now_ms + DAY_MS);
    return due;
}

/* When a folder is to be compared with the index since something is wrong with it; CS_NEVER: nothing is. */
static int64_t repair_due(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                          const struct cs_box_folder *f, int64_t now_ms)
{
    /* where one cursor is dead the others are too, as a rule: a moment, so that they share a reading of the index */
    int64_t due =
        f->last_poll_ms != CS_TIME_NONE
            ? past(f->last_poll_ms, now_ms) + earlier(c->resync_gather_ms, REPAIR_GATHER_MS)
            : m->first_seen_ms;

    if (!f->has_stream ||
        (f->phase != CS_STREAM_RESYNC_PENDING && f->phase != CS_STREAM_GONE_PENDING))
        return CS_NEVER;
    if (f->retry_ms != CS_TIME_NONE && due < f->retry_ms)
        due = earlier(f->retry_ms, now_ms + DAY_MS);
    return due;
}

/* When a folder is to be compared as the proof of its backfill. The folders of a partition are due at the same times, so
 * that one reading of the index serves many. */
static int64_t proof_due(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                         const struct cs_box_folder *f, int64_t now_ms)
{
    int64_t gather = c->resync_gather_ms > 0 ? c->resync_gather_ms : 1, phase, due;

    if (!f->has_stream || !f->resync_owed || f->phase != CS_STREAM_LIVE || m->phase != CS_BOX_LIVE)
        return CS_NEVER;
    phase = (int64_t)(cs_mix64((uint64_t)m->partition + 1) % (uint64_t)gather);
    due = past(m->slices_done_ms != CS_TIME_NONE ? m->slices_done_ms : now_ms, now_ms);
    if (f->compared_ms != CS_TIME_NONE && f->compared_ms > due)
        due = past(f->compared_ms, now_ms); /* after an audit */
    due +=
        gather - (int64_t)(((uint64_t)due + (uint64_t)gather - (uint64_t)phase) % (uint64_t)gather);
    if (f->retry_ms != CS_TIME_NONE && due < f->retry_ms)
        due = earlier(f->retry_ms, now_ms + DAY_MS);
    return due;
}

/* When a folder's turn comes to be compared though nothing is known to be wrong. Spread over the fleet by name. */
static int64_t audit_due(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                         const struct cs_box_folder *f, int64_t now_ms)
{
    int64_t last = f->compared_ms != CS_TIME_NONE ? f->compared_ms : m->slices_done_ms, due;

    if (c->audit_every_ms == 0 || !f->has_stream || f->resync_owed || f->phase != CS_STREAM_LIVE ||
        m->phase != CS_BOX_LIVE || last == CS_TIME_NONE)
        return CS_NEVER;
    due = cs_decide_next_poll(m, past(last, now_ms), c->audit_every_ms);
    if (f->retry_ms != CS_TIME_NONE && due < f->retry_ms)
        due = earlier(f->retry_ms, now_ms + DAY_MS);
    return due;
}

static int64_t listing_due(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                           int64_t oldest_look_ms, int64_t now_ms)
{
    int64_t last = past(m->last_listing_ms, now_ms);
    int64_t due = cs_decide_next_poll(
        m, last, m->listing_interval_ms > 0 ? m->listing_interval_ms : c->folders_interval_ms);

    if (m->listing_asked)
        due = earlier(due, last + c->folders_interval_ms / 4);
    if (looks_count(m) && oldest_look_ms != CS_NEVER && last <= oldest_look_ms)
        due = earlier(due, oldest_look_ms + c->second_look_ms / 2);
    return due;
}

static int64_t calendar_due(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                            int64_t now_ms)
{
    const struct cs_box_calendar *cal = &m->cal;
    int64_t due;

    if (cal->phase == CS_STREAM_RESYNC_PENDING || cal->to_ms <= cal->from_ms)
        return CS_NEVER;
    if (cal->phase == CS_STREAM_FIRST)
        due = m->first_seen_ms;
    else if (cal->round_start_ms != CS_TIME_NONE || cs_calendar_count_owed(cal) > 0)
        due = past(cal->last_poll_ms, now_ms);
    else
        due = cs_decide_next_poll(m, past(cal->last_poll_ms, now_ms),
                                  cal->interval_ms > 0 ? cal->interval_ms : c->poll_min_ms);
    if (cal->retry_ms != CS_TIME_NONE && due < cal->retry_ms)
        due = earlier(cal->retry_ms, now_ms + DAY_MS);
    return due;
}

/* --- what is due ------------------------------------------------------------------------------- */

struct candidate {
    enum cs_job_type type;
    enum cs_mode mode;
    int64_t due_ms; /* CS_NEVER: none */
};

static void better(struct candidate *best, enum cs_job_type type, enum cs_mode mode, int64_t due_ms)
{
    if (due_ms < best->due_ms)
        *best = (struct candidate){type, mode, due_ms};
}

static struct candidate live_work(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                                  int64_t now_ms)
{
    struct candidate best = {.due_ms = CS_NEVER};
    int64_t oldest = oldest_look(m, now_ms);

    better(&best, CS_JOB_FOLDERS, CS_MODE_NONE, listing_due(m, c, oldest, now_ms));
    for (size_t i = 0; i < m->n_folders; i++) {
        const struct cs_box_folder *f = m->folders[i];

        if (f->has_stream && f->phase == CS_STREAM_LIVE)
            better(&best, CS_JOB_MAIL_DELTA, CS_MODE_LIVE, folder_due(m, c, f, oldest, now_ms));
        else if (f->has_stream && f->phase == CS_STREAM_FIRST && looks_count(m))
            better(&best, CS_JOB_MAIL_DELTA, CS_MODE_FIRST, folder_due(m, c, f, oldest, now_ms));
        better(&best, CS_JOB_MAIL_RESYNC, CS_MODE_RESYNC, repair_due(m, c, f, now_ms));
    }
    better(&best, CS_JOB_MAIL_ITEMS, CS_MODE_NONE, items_due(m, c, now_ms));
    if (m->cal.phase == CS_STREAM_LIVE)
        better(&best, CS_JOB_CALENDAR_DELTA, CS_MODE_LIVE, calendar_due(m, c, now_ms));
    return best;
}

static bool slice_waits(const struct cs_mailbox *m)
{
    for (size_t i = 0; m->phase == CS_BOX_BACKFILL && i < m->n_slices; i++)
        if (!m->slices[i].done)
            return true;
    return false;
}

/* Anchors, slices and the calendar's first walk take turns. */
static struct candidate backfill_work(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                                      int64_t now_ms)
{
    struct candidate mail = {.due_ms = CS_NEVER}, cal = {.due_ms = CS_NEVER};

    for (size_t i = 0; i < m->n_folders; i++)
        if (m->folders[i]->has_stream && m->folders[i]->phase == CS_STREAM_ANCHOR)
            better(&mail, CS_JOB_MAIL_DELTA, CS_MODE_ANCHOR,
                   folder_due(m, c, m->folders[i], CS_NEVER, now_ms));
    if (mail.due_ms > now_ms && slice_waits(m))
        better(&mail, CS_JOB_MAIL_SLICE, CS_MODE_SLICE,
               m->last_success_ms == CS_TIME_NONE ? now_ms : past(m->last_success_ms, now_ms));
    for (size_t i = 0; i < m->n_folders; i++)
        better(&mail, CS_JOB_MAIL_RESYNC, CS_MODE_LIVE, proof_due(m, c, m->folders[i], now_ms));
    if (m->cal.phase == CS_STREAM_FIRST)
        better(&cal, CS_JOB_CALENDAR_DELTA, CS_MODE_FIRST, calendar_due(m, c, now_ms));
    if (mail.due_ms <= now_ms && cal.due_ms <= now_ms)
        return m->turn % 2 == 0 ? mail : cal;
    return mail.due_ms <= cal.due_ms ? mail : cal;
}

static void say(struct cs_due *ret, enum cs_job_type type, enum cs_mode mode, enum cs_lane lane,
                int64_t due_ms)
{
    *ret = (struct cs_due){.now = true,
                           .type = type,
                           .mode = mode,
                           .lane = lane,
                           .due_ms = due_ms,
                           .since_ms = due_ms,
                           .wake_ms = CS_NEVER};
}

void cs_decide(struct cs_mailbox *m, const struct cs_schedule_conf *c, int64_t now_ms,
               struct cs_due *ret)
{
    struct candidate live, back;
    int64_t first = m->first_seen_ms;

    *ret = (struct cs_due){.wake_ms = CS_NEVER};
    if (m->conf == NULL || m->broken || m->inflight != NULL || m->paused)
        return;
    if (m->retry_ms != CS_TIME_NONE && m->retry_ms > now_ms) {
        ret->wake_ms = earlier(m->retry_ms, now_ms + DAY_MS);
        return;
    }
    if (m->parked != CS_CODE_NONE) {
        say(ret, CS_JOB_PROBE, CS_MODE_NONE, CS_LANE_LIVE, now_ms);
        return;
    }
    /* a new mailbox goes before the slices of others in its tenant: something is to be seen soon */
    if (m->phase == CS_BOX_NEW) {
        say(ret, CS_JOB_FOLDERS, CS_MODE_NONE, CS_LANE_BACKFILL, first - HOUR_MS);
        ret->since_ms = past(m->retry_ms != CS_TIME_NONE ? m->retry_ms : first, now_ms);
        return;
    }
    if (m->phase == CS_BOX_PREVIEW) {
        say(ret, CS_JOB_MAIL_SLICE, CS_MODE_PREVIEW, CS_LANE_BACKFILL, first - HOUR_MS);
        ret->since_ms = past(m->retry_ms != CS_TIME_NONE ? m->retry_ms : first, now_ms);
        return;
    }
    live = live_work(m, c, now_ms);
    back = backfill_work(m, c, now_ms);
    if (live.due_ms > now_ms && back.due_ms > now_ms) {
        struct candidate audit = {.due_ms = CS_NEVER};
        int64_t replay_ms = m->phase == CS_BOX_LIVE ? cs_replay_due_ms(m, now_ms) : CS_NEVER;

        if (replay_ms <= now_ms) {
            say(ret, cs_replay_type(m, now_ms), CS_MODE_NONE, CS_LANE_REPLAY, replay_ms);
            ret->wake_ms = earlier(live.due_ms, back.due_ms);
            return;
        }
        for (size_t i = 0; i < m->n_folders; i++)
            better(&audit, CS_JOB_MAIL_RESYNC, CS_MODE_AUDIT,
                   audit_due(m, c, m->folders[i], now_ms));
        if (audit.due_ms <= now_ms)
            say(ret, audit.type, audit.mode, CS_LANE_AUDIT, audit.due_ms);
        ret->wake_ms = earlier(earlier(live.due_ms, back.due_ms), replay_ms);
        if (audit.due_ms > now_ms)
            ret->wake_ms = earlier(ret->wake_ms, audit.due_ms);
        return;
    }
    if (live.due_ms <= now_ms && (back.due_ms > now_ms || m->live_run == 0)) {
        say(ret, live.type, live.mode, CS_LANE_LIVE, live.due_ms);
        return;
    }
    if (live.due_ms <= now_ms) {
        /* The backfill's turn; but where it gets no place within a second, live work goes on. */
        if (m->yield_until_ms == CS_TIME_NONE)
            m->yield_until_ms = now_ms + 1000;
        if (m->yield_until_ms <= now_ms || m->yield_until_ms > now_ms + 1000) {
            say(ret, live.type, live.mode, CS_LANE_LIVE, live.due_ms);
            return;
        }
        say(ret, back.type, back.mode, CS_LANE_BACKFILL, back.due_ms);
        ret->wake_ms = m->yield_until_ms;
        return;
    }
    say(ret, back.type, back.mode, CS_LANE_BACKFILL, back.due_ms);
    ret->wake_ms = live.due_ms;
}

/* --- issuing ----------------------------------------------------------------------------------- */

struct pick {
    struct cs_box_folder *f;
    int64_t due_ms;
};

/* The most overdue folders of one phase, up to max; they stay sorted. Those that will be due soon come
 * along: one job for several folders is cheaper, and a move between two of them is seen whole. */
static size_t pick_folders(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                           enum cs_stream_phase phase, int64_t now_ms, struct pick *ret, size_t max)
{
    int64_t oldest = oldest_look(m, now_ms);
    size_t n = 0;

    for (size_t i = 0; i < m->n_folders; i++) {
        struct cs_box_folder *f = m->folders[i];
        int64_t due, soon = f->interval_ms / 4;
        size_t at;

        if (!f->has_stream || f->phase != phase)
            continue;
        due = folder_due(m, c, f, oldest, now_ms);
        if (due > now_ms + soon || (f->retry_ms != CS_TIME_NONE && f->retry_ms > now_ms))
            continue;
        for (at = n; at > 0 && ret[at - 1].due_ms > due; at--)
            if (at < max)
                ret[at] = ret[at - 1];
        if (at < max)
            ret[at] = (struct pick){f, due};
        if (n < max)
            n++;
    }
    return n;
}

static void issue_delta(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                        struct cs_box_inflight *in, enum cs_mode mode, int64_t now_ms)
{
    enum cs_stream_phase phase = mode == CS_MODE_ANCHOR  ? CS_STREAM_ANCHOR
                                 : mode == CS_MODE_FIRST ? CS_STREAM_FIRST
                                                         : CS_STREAM_LIVE;
    size_t max =
        (size_t)c->delta_folders < CS_JOB_PARTS_MAX ? (size_t)c->delta_folders : CS_JOB_PARTS_MAX;
    struct pick picks[CS_JOB_PARTS_MAX];

    in->n_parts = pick_folders(m, c, phase, now_ms, picks, max);
    for (size_t i = 0; i < in->n_parts; i++) {
        struct cs_box_folder *f = picks[i].f;

        in->parts[i] = (struct cs_box_part){f->hash, -1, f->generation, mode};
        if (f->round_start_ms == CS_TIME_NONE)
            f->round_start_ms = now_ms;
        f->asked_by_counts = false;
    }
    in->reason = mode == CS_MODE_LIVE ? "poll" : mode == CS_MODE_ANCHOR ? "anchor" : "new_folder";
}

/* Folders to be compared with the index: broken ones (mode RESYNC), those owed a proof (LIVE), or those whose turn it is
 * (AUDIT). Several in a job: one reading of the index serves them all, and a move between two is seen whole. */
static void issue_resync(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                         struct cs_box_inflight *in, enum cs_mode why, int64_t now_ms)
{
    int64_t soon =
        why == CS_MODE_RESYNC ? REPAIR_GATHER_MS : 0; /* what will be due in a moment comes along */

    for (size_t i = 0; i < m->n_folders && in->n_parts < CS_JOB_PARTS_MAX; i++) {
        const struct cs_box_folder *f = m->folders[i];
        int64_t due = why == CS_MODE_RESYNC ? repair_due(m, c, f, now_ms)
                      : why == CS_MODE_LIVE ? proof_due(m, c, f, now_ms)
                                            : audit_due(m, c, f, now_ms);

        if (due <= now_ms + soon)
            in->parts[in->n_parts++] =
                (struct cs_box_part){f->hash, -1, f->generation,
                                     f->phase == CS_STREAM_GONE_PENDING ? CS_MODE_GONE
                                     : why == CS_MODE_AUDIT             ? CS_MODE_AUDIT
                                                                        : CS_MODE_RESYNC};
    }
    in->reason = why == CS_MODE_RESYNC ? "resync" : why == CS_MODE_LIVE ? "proof" : "audit";
}

static void issue_slices(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                         struct cs_box_inflight *in, enum cs_mode mode)
{
    if (mode == CS_MODE_PREVIEW) {
        in->n_parts = 1;
        in->parts[0] = (struct cs_box_part){0, -1, 1, CS_MODE_PREVIEW};
        in->reason = "preview";
        return;
    }
    for (size_t i = 0;
         i < m->n_slices && in->n_parts < (size_t)c->slice_parts && in->n_parts < CS_JOB_PARTS_MAX;
         i++)
        if (!m->slices[i].done) /* they stand newest first */
            in->parts[in->n_parts++] = (struct cs_box_part){0, m->slices[i].id, 1, CS_MODE_SLICE};
    in->reason = "backfill";
}

static size_t issue_items(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                          struct cs_box_inflight *in, int64_t now_ms)
{
    int64_t settled = looks_settled_before(m, c);
    struct cs_box_look *look;
    size_t e = 0, i = 0, n = 0;

    while (n < CS_JOB_ITEMS_MAX && (look = cs_mailbox_next_look(m, &e, &i)) != NULL)
        if (look_due(look, c, settled, now_ms) <= now_ms) {
            look->asked = true;
            n++;
        }
    in->reason = "second_look";
    return n;
}

static void issue_calendar(struct cs_mailbox *m, struct cs_box_inflight *in, enum cs_mode mode,
                           int64_t now_ms)
{
    size_t owed = cs_calendar_count_owed(&m->cal);

    in->n_parts = 1;
    in->parts[0] = (struct cs_box_part){0, -1, m->cal.generation, mode};
    in->rows =
        mode == CS_MODE_LIVE && owed > 0 ? (owed < CS_JOB_ITEMS_MAX ? owed : CS_JOB_ITEMS_MAX) : 0;
    if (m->cal.round_start_ms == CS_TIME_NONE)
        m->cal.round_start_ms = now_ms;
    in->reason = mode == CS_MODE_FIRST ? "calendar_window" : in->rows > 0 ? "second_look" : "poll";
}

int cs_decide_issue(struct cs_mailbox *m, const struct cs_schedule_conf *c, int64_t now_ms,
                    const struct cs_due *due, const char *job_id)
{
    struct cs_box_inflight *in = calloc(1, sizeof(*in));
    size_t n_items = 0;

    if (in == NULL)
        return -ENOMEM;
    snprintf(in->job_id, sizeof(in->job_id), "%s", job_id);
    in->type = due->type;
    in->lane = due->lane;
    in->attempt = (int64_t)m->failures + 1;
    in->created_ms = now_ms;
    if (due->lane == CS_LANE_REPLAY) {
        if (cs_replay_issue(m, c, in, now_ms) == 0) {
            free(in);
            return -ENOENT;
        }
        m->inflight = in;
        m->dirty = true;
        return 0;
    }
    switch (due->type) {
    case CS_JOB_FOLDERS:
        m->listing_asked = false;
        in->reason = m->phase == CS_BOX_NEW ? "first_sight" : "poll";
        break;
    case CS_JOB_MAIL_DELTA: issue_delta(m, c, in, due->mode, now_ms); break;
    case CS_JOB_MAIL_SLICE: issue_slices(m, c, in, due->mode); break;
    case CS_JOB_MAIL_ITEMS: n_items = issue_items(m, c, in, now_ms); break;
    case CS_JOB_CALENDAR_DELTA: issue_calendar(m, in, due->mode, now_ms); break;
    case CS_JOB_PROBE: in->reason = "parked"; break;
    case CS_JOB_MAIL_RESYNC: issue_resync(m, c, in, due->mode, now_ms); break;
    case CS_JOB_MAIL_SEND: /* beside the sync jobs, by sends.c */
    case CS_JOB_TYPE_COUNT_: break;
    }
    if (in->n_parts + n_items == 0 && due->type != CS_JOB_FOLDERS && due->type != CS_JOB_PROBE) {
        free(in);
        return -ENOENT;
    }
    if (due->lane == CS_LANE_LIVE) {
        m->live_run++;
    } else {
        m->live_run = 0;
        m->turn++;
    }
    m->yield_until_ms = CS_TIME_NONE;
    m->inflight = in;
    m->dirty = true;
    return 0;
}
