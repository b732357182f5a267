#include "producer/apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "producer/decide.h"
#include "producer/orders.h"

#define DAY_MS     INT64_C(86400000)
#define GONE_TRIES 5 /* a folder that the tree has and its delta does not */

bool cs_apply_is_tenant_code(enum cs_code code)
{
    return code == CS_CODE_CREDENTIALS_REFUSED || code == CS_CODE_TENANT_REFUSED;
}

static bool is_mailbox_code(enum cs_code code)
{
    return code == CS_CODE_MAILBOX_DENIED || code == CS_CODE_MAILBOX_MISSING;
}

/* When to try again after the n-th failure in a row: as the service asked, and a little later so that
 * not everybody it told the same comes back at once; else with back-off. */
static int64_t retry_at(const struct cs_schedule_conf *c, int64_t retry_after_ms, unsigned failures,
                        int64_t now_ms, uint64_t random)
{
    if (retry_after_ms > DAY_MS)
        retry_after_ms = DAY_MS;
    if (retry_after_ms >= 0)
        return now_ms + retry_after_ms + (int64_t)(random % (uint64_t)(retry_after_ms / 20 + 50));
    return now_ms + cs_backoff_ms(failures, c->retry_min_ms, c->retry_max_ms, random);
}

static int64_t probe_at(const struct cs_schedule_conf *c, int64_t now_ms, uint64_t random)
{
    int64_t range = c->probe_max_ms - c->probe_min_ms;

    return now_ms + c->probe_min_ms + (int64_t)(random % (uint64_t)(range > 0 ? range + 1 : 1));
}

/* Shorter while it changes, longer while it sleeps. */
static int64_t adapt(int64_t interval_ms, bool changed, int64_t min_ms, int64_t max_ms)
{
    if (changed || interval_ms <= min_ms / 2) /* it may be of before a reload */
        return min_ms;
    return interval_ms > max_ms / 2 ? max_ms : interval_ms * 2;
}

/* --- parts ------------------------------------------------------------------------------------- */

/* Whose affair is it that this part did not get on? */
static bool is_mailbox_affair(const struct cs_fault *fault)
{
    switch (fault->code) {
    case CS_CODE_NONE: return false;
    case CS_CODE_THROTTLED: /* the service counts by mailbox, whatever was asked */
    case CS_CODE_TLS:
    case CS_CODE_TOKEN_REFUSED: return true;
    default:
        return fault->scope == CS_SCOPE_MAILBOX || fault->scope == CS_SCOPE_TENANT ||
               fault->scope == CS_SCOPE_SERVICE;
    }
}

void cs_apply_drop_cursor(struct cs_box_folder *f, enum cs_stream_phase phase, int64_t now_ms)
{
    f->phase = phase;
    f->last_poll_ms = now_ms;
    free(f->cursor);
    f->cursor = NULL;
    cs_folder_forget_comparison(f);
    f->round_start_ms = CS_TIME_NONE;
    f->dirty = true;
}

static void hold_folder(struct cs_box_folder *f, const struct cs_schedule_conf *c,
                        const struct cs_feedback_part *part, int64_t now_ms, uint64_t random)
{
    f->failures++;
    f->retry_ms = retry_at(c, part->retry_after_ms, f->failures, now_ms, random);
    f->dirty = true;
}

static void round_done(struct cs_box_folder *f)
{
    f->rounds++;
    f->last_round_ms = f->round_start_ms;
    f->round_start_ms = CS_TIME_NONE;
    if (f->phase == CS_STREAM_ANCHOR || f->phase == CS_STREAM_FIRST) {
        /* the walk that made the token proves nothing about changes: only rounds after it do */
        f->phase = CS_STREAM_LIVE;
        f->rounds = 0;
        f->last_round_ms = CS_TIME_NONE;
    }
}

static int apply_mail_part(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                           const struct cs_feedback_part *part, struct cs_box_folder *f,
                           int64_t now_ms, uint64_t random)
{
    bool was_live = f->phase == CS_STREAM_LIVE;

    switch (part->outcome) {
    case CS_DONE:
    case CS_MORE:
        if (part->cursor != NULL && cs_mailbox_set_cursor(&f->cursor, part->cursor) < 0)
            return -ENOMEM;
        f->failures = 0;
        f->retry_ms = CS_TIME_NONE;
        f->last_poll_ms = now_ms;
        f->dirty = true;
        if (part->outcome == CS_DONE) {
            f->interval_ms = adapt(was_live ? f->interval_ms : 0, part->changes > 0, c->poll_min_ms,
                                   c->poll_max_ms);
            round_done(f);
        }
        if (was_live && part->changes > 0)
            m->last_change_ms = now_ms;
        return 0;
    case CS_RESYNC:
        /* An anchor has published nothing: it begins again. Anything else has, so that only a
         * comparison with what is out there (mail.resync) can go on from here. */
        if (f->phase == CS_STREAM_ANCHOR) {
            cs_apply_drop_cursor(f, CS_STREAM_ANCHOR, now_ms);
            hold_folder(f, c, part, now_ms, random); /* never in a tight circle */
        } else {
            cs_apply_drop_cursor(f, CS_STREAM_RESYNC_PENDING, now_ms);
            /* where one is dead the others are, as a rule: they are asked at once, to be compared together */
            for (size_t i = 0; i < m->n_folders; i++)
                m->folders[i]->asked_by_counts =
                    m->folders[i]->asked_by_counts || m->folders[i]->phase == CS_STREAM_LIVE;
        }
        return 0;
    case CS_REJECT:
    case CS_RETRY:
        if (is_mailbox_affair(&part->fault))
            return 0; /* decided with the whole job */
        hold_folder(f, c, part, now_ms, random);
        if (part->fault.code == CS_CODE_CURSOR_REFUSED) {
            cs_apply_drop_cursor(
                f, f->phase == CS_STREAM_ANCHOR ? CS_STREAM_ANCHOR : CS_STREAM_RESYNC_PENDING,
                now_ms);
        } else if (part->fault.code == CS_CODE_FOLDER_GONE) {
            /* The tree says whether it is gone; where the tree has it again and again, what is asked
             * for its content knows better. */
            m->listing_asked = true;
            if (f->failures >= GONE_TRIES) {
                cs_apply_drop_cursor(f, CS_STREAM_GONE_PENDING, now_ms);
                f->resync_owed = false;
            }
        }
        return 0;
    case CS_FATAL: break;
    }
    return 0;
}

/* A folder beside what is out there of it. */
static int apply_resync_part(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                             const struct cs_feedback_part *part, struct cs_box_folder *f,
                             enum cs_mode mode, int64_t now_ms, uint64_t random)
{
    bool differs = part->compared.missing + part->compared.stale + part->compared.extra > 0;

    f->dirty = true;
    switch (part->outcome) {
    case CS_MORE: /* more differences than one job may leave: it goes on where this one ended */
        f->failures = 0;
        f->retry_ms = CS_TIME_NONE;
        if (part->after == 0) { /* a listing that did not come to its end compares nothing: anew */
            cs_folder_forget_comparison(f);
            return 0;
        }
        f->compare_after = part->after;
        return part->cursor != NULL ? cs_mailbox_set_cursor(&f->compare_cursor, part->cursor) : 0;
    case CS_DONE:
        f->failures = 0;
        f->retry_ms = CS_TIME_NONE;
        f->compared_ms = now_ms;
        if (mode == CS_MODE_GONE) {
            f->has_stream = false;
            f->ended = true;
            return 0;
        }
        if (mode == CS_MODE_AUDIT) {
            f->resync_owed = f->resync_owed || differs;
            return 0;
        }
        /* one of several jobs has the cursor of its first walk: a folder that stayed live has got further meanwhile */
        if (part->cursor != NULL && (f->compare_after == 0 || f->cursor == NULL) &&
            cs_mailbox_set_cursor(&f->cursor, part->cursor) < 0)
            return -ENOMEM;
        cs_folder_forget_comparison(f);
        if (part->cursor == NULL)
            return 0;
        /* like the walk that makes a first token it proves nothing about changes: only rounds after it do */
        f->phase = CS_STREAM_LIVE;
        f->resync_owed = false;
        f->round_start_ms = f->last_round_ms = CS_TIME_NONE;
        f->rounds = 0;
        f->last_poll_ms = now_ms;
        f->interval_ms = adapt(0, true, c->poll_min_ms, c->poll_max_ms);
        if (differs)
            m->last_change_ms = now_ms;
        return 0;
    case CS_RESYNC: /* the token died during its own walk */
    case CS_REJECT:
    case CS_RETRY:
        if (is_mailbox_affair(&part->fault))
            return 0; /* decided with the whole job */
        hold_folder(f, c, part, now_ms, random);
        if (part->fault.code == CS_CODE_FOLDER_GONE && mode == CS_MODE_RESYNC) {
            m->listing_asked = true;
            if (f->failures >= GONE_TRIES)
                cs_apply_drop_cursor(f, CS_STREAM_GONE_PENDING, now_ms);
        }
        return 0;
    case CS_FATAL: break;
    }
    return 0;
}

static int apply_slice_part(struct cs_mailbox *m, const struct cs_feedback_part *part,
                            struct cs_box_slice *s)
{
    if (part->outcome != CS_DONE && part->outcome != CS_MORE)
        return 0; /* the mailbox waits as a whole */
    if (part->cursor != NULL && cs_mailbox_set_cursor(&s->cursor, part->cursor) < 0)
        return -ENOMEM;
    if (part->outcome == CS_DONE) {
        s->done = true;
        free(s->cursor);
        s->cursor = NULL;
    }
    m->slices_dirty = true;
    return 0;
}

static int apply_calendar(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                          const struct cs_feedback *f, const struct cs_feedback_part *part,
                          int64_t now_ms, uint64_t random, struct cs_effect *effect)
{
    struct cs_box_calendar *cal = &m->cal;
    bool first = cal->phase == CS_STREAM_FIRST;
    int r;

    cal->dirty = true;
    switch (part->outcome) {
    case CS_DONE:
    case CS_MORE:
        if (part->cursor != NULL && cs_mailbox_set_cursor(&cal->cursor, part->cursor) < 0)
            return -ENOMEM;
        r = cs_calendar_apply(cal, f, m->inflight->rows, first && part->outcome == CS_DONE);
        if (r == -E2BIG) {
            /* rows beyond the bound are not known: deletions of them can only be found by a resync */
            cal->phase = CS_STREAM_RESYNC_PENDING;
            effect->overflow = true;
            return 0;
        }
        if (r < 0)
            return r;
        cal->failures = 0;
        cal->retry_ms = CS_TIME_NONE;
        cal->code = CS_CODE_NONE;
        cal->last_poll_ms = now_ms;
        if (part->outcome == CS_DONE) {
            cal->interval_ms = adapt(first ? 0 : cal->interval_ms, part->changes > 0,
                                     c->poll_min_ms, c->poll_max_ms);
            cal->rounds++;
            cal->round_start_ms = CS_TIME_NONE;
            cal->phase = CS_STREAM_LIVE;
            if (!first && part->changes > 0)
                m->last_change_ms = now_ms;
        }
        return 0;
    case CS_RESYNC:
        if (m->conf != NULL) {
            /* walked anew: what its walk does not tell of the table is looked up by id */
            cs_calendar_roll(cal, m->conf, now_ms);
            cal->failures++;
            cal->retry_ms = retry_at(c, part->retry_after_ms, cal->failures, now_ms, random);
        } else {
            cal->phase = CS_STREAM_RESYNC_PENDING;
            free(cal->cursor);
            cal->cursor = NULL;
            cal->round_start_ms = CS_TIME_NONE;
        }
        return 0;
    case CS_RETRY:
    case CS_REJECT:
        if (is_mailbox_affair(&part->fault))
            return 0; /* decided with the whole job */
        cal->code = part->fault.code;
        cal->failures++;
        cal->retry_ms = part->outcome == CS_REJECT
                            ? probe_at(c, now_ms, random)
                            : retry_at(c, part->retry_after_ms, cal->failures, now_ms, random);
        return 0;
    case CS_FATAL: break;
    }
    return 0;
}

static enum cs_mode mode_of(const struct cs_box_inflight *in, uint64_t folder)
{
    for (size_t i = 0; i < in->n_parts; i++)
        if (in->parts[i].folder == folder)
            return in->parts[i].mode;
    return CS_MODE_NONE;
}

static int apply_parts(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                       const struct cs_feedback *f, int64_t now_ms, uint64_t random,
                       struct cs_effect *effect)
{
    const struct cs_box_inflight *in = m->inflight;

    if (is_mailbox_affair(&f->fault))
        return 0; /* nothing was done; no part is to blame */
    for (size_t p = 0; p < f->n_parts; p++) {
        const struct cs_feedback_part *part = &f->parts[p];
        int r = 0;

        if ((in->type == CS_JOB_MAIL_DELTA || in->type == CS_JOB_MAIL_RESYNC) &&
            strncmp(part->stream, "mail:", 5) == 0) {
            struct cs_box_folder *folder = cs_mailbox_find_folder(m, cs_id_hash(part->stream + 5));

            if (folder != NULL && folder->has_stream && folder->generation == part->generation)
                r = in->type == CS_JOB_MAIL_DELTA
                        ? apply_mail_part(m, c, part, folder, now_ms, cs_mix64(random + p))
                        : apply_resync_part(m, c, part, folder, mode_of(in, folder->hash), now_ms,
                                            cs_mix64(random + p));
        } else if (in->type == CS_JOB_MAIL_SLICE && part->slice_id != NULL) {
            long id = strtol(part->slice_id, NULL, 10);

            for (size_t i = 0; i < m->n_slices && r == 0; i++)
                if (m->slices[i].id == id && !m->slices[i].done)
                    r = apply_slice_part(m, part, &m->slices[i]);
        } else if (in->type == CS_JOB_CALENDAR_DELTA && part->generation == m->cal.generation) {
            r = apply_calendar(m, c, f, part, now_ms, random, effect);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- the whole job ----------------------------------------------------------------------------- */

/* The fault that decides about the mailbox: the job's own, else the first of a part that is the
 * mailbox's affair. */
static const struct cs_fault *fault_of(const struct cs_feedback *f, int64_t *retry_after_ms)
{
    *retry_after_ms = f->retry_after_ms;
    if (f->fault.code != CS_CODE_NONE)
        return &f->fault;
    for (size_t i = 0; i < f->n_parts; i++)
        if (is_mailbox_affair(&f->parts[i].fault)) {
            if (*retry_after_ms < 0)
                *retry_after_ms = f->parts[i].retry_after_ms;
            return &f->parts[i].fault;
        }
    return NULL;
}

static bool got_on(const struct cs_feedback *f)
{
    if (f->outcome == CS_DONE || f->outcome == CS_MORE)
        return true;
    for (size_t i = 0; i < f->n_parts; i++)
        if (f->parts[i].outcome == CS_DONE || f->parts[i].outcome == CS_MORE)
            return true;
    return false;
}

/* Delta and calendar jobs have parts that wait on their own; whatever else goes wrong holds the whole
 * mailbox for a while. */
static bool mailbox_waits(const struct cs_feedback *f, const struct cs_fault *fault, bool ok)
{
    if (fault != NULL && is_mailbox_affair(fault))
        return true;
    if (ok)
        return false;
    return f->n_parts == 0 || (f->type != CS_JOB_MAIL_DELTA && f->type != CS_JOB_MAIL_RESYNC &&
                               f->type != CS_JOB_CALENDAR_DELTA);
}

static void succeed(struct cs_mailbox *m, int64_t now_ms, struct cs_effect *effect)
{
    m->failures = 0;
    m->retry_ms = CS_TIME_NONE;
    m->parked = CS_CODE_NONE;
    memset(&m->fault, 0, sizeof(m->fault));
    m->last_success_ms = now_ms;
    effect->tenant_works = true;
}

static void fail(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                 const struct cs_feedback *f, const struct cs_fault *fault, int64_t retry_after_ms,
                 int64_t now_ms, uint64_t random, struct cs_effect *effect)
{
    static const struct cs_fault unnamed = {.code = CS_CODE_INTERNAL, .scope = CS_SCOPE_MAILBOX};
    bool calendar = m->inflight->type == CS_JOB_CALENDAR_DELTA;

    if (fault != NULL && is_mailbox_code(fault->code) && calendar) {
        /* calendars may be denied where mail is not: the calendar waits, mail goes on */
        m->cal.code = fault->code;
        m->cal.failures++;
        m->cal.retry_ms = probe_at(c, now_ms, random);
        m->cal.dirty = true;
        effect->tenant_works = true;
        return;
    }
    m->fault = fault != NULL ? *fault : unnamed;
    m->failures++;
    if (cs_apply_is_tenant_code(m->fault.code) || is_mailbox_code(m->fault.code)) {
        if (m->parked != m->fault.code)
            m->parked_ms = now_ms;
        m->parked = m->fault.code;
        m->retry_ms = probe_at(c, now_ms, random);
        if (cs_apply_is_tenant_code(m->fault.code)) {
            effect->tenant_refused = true;
            effect->code = m->fault.code;
        } else {
            effect->tenant_works = true; /* the service knew the app and said no to the mailbox */
        }
        return;
    }
    /* What a worker refuses as malformed or Graph as a bad request comes back the same: seldom. */
    if (f->outcome == CS_REJECT && m->fault.code != CS_CODE_EXPIRED)
        m->retry_ms = probe_at(c, now_ms, random);
    else
        m->retry_ms = retry_at(c, retry_after_ms, m->failures, now_ms, random);
}

static int take_left(struct cs_mailbox *m, const struct cs_feedback *f, int64_t now_ms,
                     struct cs_effect *effect)
{
    for (size_t i = 0; i < f->n_left; i++) {
        int r = cs_mailbox_owe(m, &f->left[i], now_ms);

        if (r == -ENOMEM)
            return r;
        if (r == -E2BIG)
            effect->overflow = true;
    }
    if (effect->overflow)
        for (size_t i = 0; i < m->n_folders; i++)
            if (m->folders[i]->has_stream && m->folders[i]->phase == CS_STREAM_LIVE) {
                m->folders[i]->resync_owed = true;
                m->folders[i]->dirty = true;
            }
    return 0;
}

static void count(struct cs_mailbox *m, const struct cs_feedback *f)
{
    m->counters.jobs++;
    m->counters.items += f->counts.items;
    m->counters.upserts += f->counts.upserts;
    m->counters.moves += f->counts.moves;
    m->counters.deletes += f->counts.deletes;
    m->counters.left_scope += f->counts.left_scope;
}

static int apply_listing(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                         const struct cs_feedback *f)
{
    bool changed = false;
    int64_t max_ms = c->folders_interval_ms * 4;
    int r = cs_folders_apply(m, f->folders, f->n_folders);

    if (r < 0)
        return r;
    for (size_t i = 0; i < m->n_folders; i++)
        changed = changed || m->folders[i]->asked_by_counts;
    m->last_listing_ms = m->inflight->created_ms;
    m->listing_interval_ms =
        adapt(m->listing_interval_ms, changed, c->folders_interval_ms,
              max_ms < c->poll_max_ms                   ? max_ms
              : c->poll_max_ms > c->folders_interval_ms ? c->poll_max_ms
                                                        : c->folders_interval_ms);
    if (m->phase == CS_BOX_NEW)
        m->phase = CS_BOX_PREVIEW;
    return 0;
}

/* Where mail may be read and calendars may not, a replay of the calendar waits alone. */
static bool is_calendar_denied(const struct cs_box_inflight *in, const struct cs_fault *fault)
{
    return in->type == CS_JOB_CALENDAR_DELTA && is_mailbox_code(fault->code);
}

int cs_apply_feedback(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                      const struct cs_feedback *f, int64_t now_ms, uint64_t random,
                      struct cs_effect *ret)
{
    const struct cs_fault *fault;
    struct cs_box_inflight *in = m->inflight;
    bool replay = in != NULL && in->replay_id[0] != '\0', held, ok;
    int64_t retry_after_ms;
    int r = 0;

    memset(ret, 0, sizeof(*ret));
    if (in == NULL || strcmp(in->job_id, f->job_id) != 0 || in->type != f->type) {
        ret->stale = true;
        return 0;
    }
    m->dirty = true;
    count(m, f);
    ok = got_on(f);
    if (in->type == CS_JOB_FOLDERS && !f->has_folders)
        ok = false; /* done without a tree is no listing */
    if (in->type == CS_JOB_MAIL_ITEMS) {
        if (ok)
            cs_mailbox_drop_asked(m);
        else
            cs_mailbox_unask(m);
    }
    fault = fault_of(f, &retry_after_ms);
    /* of a replay: does the whole mailbox wait? What concerns the replay alone waits alone */
    held = replay && fault != NULL && is_mailbox_affair(fault) && !is_calendar_denied(in, fault);
    r = take_left(m, f, now_ms, ret);
    if (r == 0)
        r = replay ? cs_replay_apply(m, f, held, now_ms, random)
                   : apply_parts(m, c, f, now_ms, random, ret);
    if (r == 0 && in->type == CS_JOB_FOLDERS && ok)
        r = apply_listing(m, c, f);
    if (r < 0)
        return r;

    if (ok)
        succeed(m, now_ms, ret);
    /* a job of which one part got on and another met a throttled mailbox is both */
    if (replay ? held : mailbox_waits(f, fault, ok))
        fail(m, c, f, fault, retry_after_ms, now_ms, random, ret);
    /* the preview is a courtesy: whatever came of it, unless the mailbox waits, the first sync goes on */
    if (in->type == CS_JOB_MAIL_SLICE && in->n_parts == 1 && in->parts[0].mode == CS_MODE_PREVIEW &&
        (ok || f->outcome == CS_REJECT) && m->phase == CS_BOX_PREVIEW &&
        m->parked == CS_CODE_NONE) {
        m->phase = CS_BOX_ANCHOR;
        m->anchored_ms = now_ms;
        m->retry_ms = ok ? m->retry_ms : CS_TIME_NONE;
    }
    if (m->conf != NULL && m->cal.phase == CS_STREAM_LIVE &&
        cs_calendar_must_roll(&m->cal, m->conf, now_ms))
        cs_calendar_roll(&m->cal, m->conf, now_ms);
    m->inflight = NULL;
    free(in);
    return cs_decide_advance(m, c, now_ms);
}

void cs_apply_lost(struct cs_mailbox *m, int64_t now_ms)
{
    if (m->inflight == NULL)
        return;
    cs_mailbox_unask(m);
    free(m->inflight);
    m->inflight = NULL;
    m->failures++;
    m->retry_ms = now_ms;
    m->dirty = true;
}

void cs_apply_tenant_works(struct cs_mailbox *m)
{
    if (!cs_apply_is_tenant_code(m->parked))
        return;
    m->parked = CS_CODE_NONE;
    m->retry_ms = CS_TIME_NONE;
    m->failures = 0;
    m->dirty = true;
}

void cs_apply_tenant_probe(struct cs_mailbox *m, enum cs_code code, int64_t now_ms,
                           int64_t retry_ms)
{
    if (m->parked == CS_CODE_NONE)
        m->parked_ms = now_ms;
    m->parked = code;
    m->retry_ms = retry_ms;
    m->dirty = true;
}

void cs_apply_restored(struct cs_mailbox *m, int64_t now_ms)
{
    if (cs_mailbox_count_looks(m) > 0) {
        struct cs_box_look *look;
        size_t e = 0, i = 0;

        m->last_listing_ms = CS_TIME_NONE;
        for (size_t k = 0; k < m->n_folders; k++)
            m->folders[k]->last_round_ms = CS_TIME_NONE;
        while ((look = cs_mailbox_next_look(m, &e, &i)) != NULL)
            if (look->owed_ms > now_ms)
                look->owed_ms = now_ms;
    }
    /* a round under way was begun by another clock: it goes on, and counts as begun long ago */
    for (size_t k = 0; k < m->n_folders; k++)
        if (m->folders[k]->round_start_ms != CS_TIME_NONE)
            m->folders[k]->round_start_ms = 0;
}
