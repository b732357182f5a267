/* The mail protocol as a whole: a mailbox that changes in every way, whose folders tell it late, each on its own
 * and as they like; a worker that reads it with the real decisions of worker/look.c; and the producer's pure code,
 * its state written and read back, both killed now and then. After the changes end, what is published must become
 * what the mailbox holds: nothing lost, nothing left over, nothing deleted that exists (but for an item that is in
 * transit, and so answers 404, at both looks: seen once in tens of thousands of runs).
 *
 * CRMSYNC_PROTOCOL_SEEDS says how many runs, CRMSYNC_PROTOCOL_SEED which single one with a trace.
 */
#include "cmocka_all.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/feedback.h"
#include "producer/apply.h"
#include "producer/decide.h"
#include "producer/stream.h"
#include "producer/table.h"
#include "worker/look.h"

#define STEP_MS   1000
#define T0        INT64_C(1764000000000)
#define DAY       INT64_C(86400000)
#define ITEMS     40
#define FOLDERS   8
#define LOG_MAX   400
#define TOKENS    40000
#define DELAY_MAX 6 /* steps that a folder's log may lag; below the look's margin */

/* --- the world --------------------------------------------------------------------------------- */

struct item {
    bool used, alive, transit;
    int folder; /* -1 in transit */
    int dest;
    int ver;
    int64_t recv_ms, modified_ms;
    int64_t until_ms;
    unsigned was_in; /* folders, a bit each */
};
struct folder {
    bool alive, excluded;
    int log[LOG_MAX];
    int n_log;
    struct {
        int64_t due_ms;
        int item;
    } pend[LOG_MAX];
    int n_pend, first_pend;
};
struct token {
    int folder, pos;
    bool init;
    int last; /* init: the last item listed */
    uint64_t known;
};
struct published {
    bool there;
    int folder, ver;
};

struct rules {
    bool dead_cursors, folders_go, trace;
    int mutations;
};

struct world {
    uint64_t seed;
    struct rules rules;
    bool collapse, quiet;
    int64_t now_ms, quiet_ms;
    struct item items[ITEMS];
    int n_items;
    struct folder folders[FOLDERS];
    int n_folders; /* folder 0 is the bin */
    struct token tokens[TOKENS];
    int n_tokens;
    int page;
    struct published out[ITEMS];
    int false_deletes;
    /* Kafka */
    struct cs_strmap state;
    char *job;      /* the one published and not answered: text */
    char *feedback; /* written and not applied by a commit yet */
    int kills;
};

static uint64_t draw(struct world *w)
{
    return cs_mix64(w->seed++);
}
static int pick(struct world *w, int n)
{
    return (int)(draw(w) % (uint64_t)n);
}
static bool chance(struct world *w, int percent)
{
    return pick(w, 100) < percent;
}

#define SAY(w, ...)                                             \
    do {                                                        \
        if ((w)->rules.trace) {                                 \
            printf("%6" PRId64 " ", ((w)->now_ms - T0) / 1000); \
            printf(__VA_ARGS__);                                \
            printf("\n");                                       \
        }                                                       \
    } while (0)

static void tell(struct world *w, int f, int i)
{
    struct folder *folder = &w->folders[f];
    int64_t due = w->now_ms + (chance(w, 40) ? pick(w, DELAY_MAX + 1) * STEP_MS : 0);

    if (folder->n_pend > folder->first_pend && folder->pend[folder->n_pend - 1].due_ms > due)
        due = folder->pend[folder->n_pend - 1].due_ms;
    assert_in_range(folder->n_pend, 0, LOG_MAX - 1);
    folder->pend[folder->n_pend].due_ms = due;
    folder->pend[folder->n_pend++].item = i;
}

static void land(struct world *w, struct item *m)
{
    m->transit = false;
    if (!w->folders[m->dest].alive) {
        m->alive = false;
        return;
    }
    m->folder = m->dest;
    m->was_in |= 1u << m->folder;
    tell(w, m->folder, (int)(m - w->items));
    SAY(w, "USER m%d landed in f%d", (int)(m - w->items), m->folder);
}

static void pass_time(struct world *w)
{
    w->now_ms += STEP_MS;
    for (int f = 0; f < w->n_folders; f++) {
        struct folder *folder = &w->folders[f];

        while (folder->first_pend < folder->n_pend &&
               folder->pend[folder->first_pend].due_ms <= w->now_ms)
            folder->log[folder->n_log++] = folder->pend[folder->first_pend++].item;
    }
    for (int i = 0; i < w->n_items; i++)
        if (w->items[i].transit && w->items[i].until_ms <= w->now_ms)
            land(w, &w->items[i]);
}

static int some_folder(struct world *w, bool with_bin)
{
    for (;;) {
        int f = pick(w, w->n_folders);

        if (w->folders[f].alive && (with_bin || f != 0))
            return f;
    }
}

static void arrive(struct world *w, int folder, bool old)
{
    struct item *m;

    if (w->n_items == ITEMS)
        return;
    m = &w->items[w->n_items];
    *m = (struct item){.used = true, .alive = true, .folder = folder, .ver = 1};
    /* a moment of its own for each, so that a page's edge is a moment */
    m->recv_ms = old || chance(w, 25) ? T0 - pick(w, 40) * DAY - w->n_items * 7000
                 : chance(w, 15)      ? w->now_ms + 400 * DAY + w->n_items * 7000
                                      : w->now_ms + w->n_items;
    m->modified_ms = old ? m->recv_ms : w->now_ms;
    m->was_in = 1u << folder;
    tell(w, folder, w->n_items);
    SAY(w, "USER m%d arrives in f%d", w->n_items, folder);
    w->n_items++;
}

static void move(struct world *w, int i, int to)
{
    struct item *m = &w->items[i];

    if (to == m->folder)
        return;
    SAY(w, "USER m%d moves f%d -> f%d", i, m->folder, to);
    tell(w, m->folder, i);
    m->modified_ms = w->now_ms;
    if (chance(w, 50))
        m->ver++;
    if (chance(w, 30)) {
        m->transit = true;
        m->folder = -1;
        m->dest = to;
        m->until_ms = w->now_ms + (1 + pick(w, 8)) * STEP_MS;
        return;
    }
    m->folder = to;
    m->was_in |= 1u << to;
    tell(w, to, i);
}

static void folder_change(struct world *w)
{
    int f = pick(w, w->n_folders);

    if (f < 2 || !w->folders[f].alive)
        return; /* the bin and the inbox stay */
    if (chance(w, 50)) {
        w->folders[f].excluded = !w->folders[f].excluded;
        SAY(w, "USER f%d %s the bin", f, w->folders[f].excluded ? "into" : "out of");
        return;
    }
    w->folders[f].alive = false;
    SAY(w, "USER f%d deleted", f);
    for (int i = 0; i < w->n_items; i++)
        if (w->items[i].folder == f)
            w->items[i].alive = false;
}

static void mutate(struct world *w)
{
    int i = pick(w, w->n_items), what = pick(w, 16);
    struct item *m = &w->items[i];

    if (what < 2) {
        arrive(w, some_folder(w, true), false);
        return;
    }
    if (what == 2 && w->n_folders < FOLDERS) {
        w->folders[w->n_folders] = (struct folder){.alive = true};
        SAY(w, "USER new folder f%d", w->n_folders);
        w->n_folders++;
        if (m->alive && !m->transit && chance(w, 70))
            move(w, i, w->n_folders - 1);
        else
            arrive(w, w->n_folders - 1, false);
        return;
    }
    if (what == 3 && w->rules.folders_go) {
        folder_change(w);
        return;
    }
    if (!m->alive || m->transit)
        return;
    if (what < 6) {
        m->ver++;
        m->modified_ms = w->now_ms;
        tell(w, m->folder, i);
        SAY(w, "USER m%d flagged, v%d", i, m->ver);
    } else if (what < 9) {
        move(w, i, some_folder(w, true));
    } else if (what < 11) { /* there and back */
        int back = m->folder;

        move(w, i, some_folder(w, true));
        if (!m->transit && w->folders[back].alive)
            move(w, i, back);
    } else if (what < 13) {
        move(w, i, 0);
    } else if (what < 14 && m->folder == 0) {
        move(w, i, some_folder(w, false));
    } else if (what >= 14) {
        m->alive = false;
        tell(w, m->folder, i);
        SAY(w, "USER m%d deleted for good", i);
    }
}

static bool in_scope(const struct world *w, int f)
{
    return f > 0 && w->folders[f].alive && !w->folders[f].excluded;
}

/* --- the worker -------------------------------------------------------------------------------- */

struct seen {
    int item;
    enum { TOLD, REMOVED, READ, GONE } what;
    int source; /* folder of the walk; -1: a list or a read */
    int folder, ver;
    int64_t recv_ms, modified_ms;
};
struct run {
    struct world *w;
    struct cs_job job;
    struct cs_map *map;
    struct seen seen[ITEMS * 12];
    int n;
    bool failed_read[ITEMS];
    struct cs_feedback f;
    struct published out[ITEMS];
    bool touched[ITEMS];
    int false_deletes;
};

static char *text(const char *prefix, int n)
{
    char *s = NULL;

    assert_true(asprintf(&s, "%s%d", prefix, n) >= 0);
    return s;
}

static int number(const char *s)
{
    return (int)strtol(s + 1, NULL, 10);
}

/* Between two requests of a job the world goes on. */
static void between(struct run *r)
{
    for (int k = pick(r->w, 3); k > 0; k--) {
        pass_time(r->w);
        if (!r->w->quiet && r->w->rules.mutations > 0 && chance(r->w, 15)) {
            r->w->rules.mutations--;
            mutate(r->w);
        }
    }
}

static void see(struct run *r, int i, int what, int source)
{
    const struct item *m = &r->w->items[i];

    if (source >= 0) { /* the same folder, later in its walk: replaces what it told before */
        int kept = 0;

        for (int k = 0; k < r->n; k++)
            if (r->seen[k].item != i || r->seen[k].source != source)
                r->seen[kept++] = r->seen[k];
        r->n = kept;
    }
    assert_in_range(r->n, 0, ITEMS * 12 - 1);
    r->seen[r->n++] = (struct seen){i, what, source, m->folder, m->ver, m->recv_ms, m->modified_ms};
}

static int new_token(struct world *w, struct token t)
{
    assert_in_range(w->n_tokens, 0, TOKENS - 1);
    w->tokens[w->n_tokens] = t;
    return w->n_tokens++;
}

/* One page of a folder's delta. @return outcome DONE (whole), MORE, RESYNC, or RETRY for a 404 */
static enum cs_outcome delta_page(struct run *r, struct token *t, bool publish)
{
    struct world *w = r->w;
    struct folder *f = &w->folders[t->folder];
    int n = 0;

    if (!f->alive)
        return CS_RETRY;
    if (!t->init && w->rules.dead_cursors && !w->quiet && chance(w, 3))
        return CS_RESYNC;
    if (t->init) {
        for (int i = t->last + 1; i < w->n_items; i++) {
            if (!w->items[i].alive || w->items[i].folder != t->folder)
                continue;
            if (n++ == w->page)
                return CS_MORE;
            if (publish)
                see(r, i, TOLD, t->folder);
            t->known |= UINT64_C(1) << i;
            t->last = i;
        }
        t->init = false;
        return CS_DONE;
    }
    for (; t->pos < f->n_log && n < w->page; n++) {
        int i = f->log[t->pos++];

        if (w->items[i].alive && w->items[i].folder == t->folder) {
            see(r, i, TOLD, t->folder);
            t->known |= UINT64_C(1) << i;
        } else {
            /* what came and went between two rounds need not be mentioned at all */
            if ((t->known >> i & 1) != 0 || !w->collapse)
                see(r, i, REMOVED, t->folder);
            t->known &= ~(UINT64_C(1) << i);
        }
    }
    return t->pos >= f->n_log ? CS_DONE : CS_MORE;
}

static void add_part(struct run *r, const struct cs_job_part *p, enum cs_outcome outcome,
                     char *cursor, enum cs_code code, int changes)
{
    struct cs_feedback_part *part = &r->f.parts[r->f.n_parts++];

    *part = (struct cs_feedback_part){.stream = strdup(p->stream),
                                      .generation = p->generation,
                                      .outcome = outcome,
                                      .cursor = cursor,
                                      .retry_after_ms = -1,
                                      .slice_id = p->slice_id != NULL ? strdup(p->slice_id) : NULL,
                                      .changes = changes};
    part->fault.code = code;
    part->fault.scope = CS_SCOPE_STREAM;
    if (outcome == CS_MORE && r->f.outcome == CS_DONE)
        r->f.outcome = CS_MORE;
    if (outcome == CS_RESYNC || outcome == CS_RETRY)
        r->f.outcome = outcome;
}

static void walk(struct run *r, const struct cs_job_part *p)
{
    struct world *w = r->w;
    struct token t = {.folder = number(p->folder.id), .init = true, .last = -1};
    enum cs_outcome outcome = CS_MORE;
    char *cursor = NULL;
    int before = r->n;

    if (p->cursor != NULL)
        t = w->tokens[strtol(strrchr(p->cursor, '/') + 1, NULL, 10)];
    else
        t.pos = w->folders[t.folder].n_log; /* what is told from here on */
    for (int pages = 1 + pick(w, 3); pages > 0 && outcome == CS_MORE; pages--) {
        between(r);
        outcome = delta_page(r, &t, p->mode != CS_MODE_ANCHOR);
    }
    if (outcome == CS_DONE || outcome == CS_MORE)
        assert_true(asprintf(&cursor, "/v1.0/users/x/%d", new_token(w, t)) > 0);
    add_part(r, p, outcome, cursor,
             outcome == CS_RETRY    ? CS_CODE_FOLDER_GONE
             : outcome == CS_RESYNC ? CS_CODE_CURSOR_DEAD
                                    : CS_CODE_NONE,
             r->n > before ? r->n - before : 0);
}

/* A folder beside what is out there: worker/job_mail_resync.c in short. */
static void compare(struct run *r, const struct cs_job_part *p)
{
    struct world *w = r->w;
    struct token t = {.folder = number(p->folder.id), .init = true, .last = -1};
    enum cs_outcome outcome = p->mode == CS_MODE_GONE ? CS_DONE : CS_MORE;
    struct published out[ITEMS];
    char *cursor = NULL;
    int before = r->n;

    memcpy(out, w->out, sizeof(out)); /* the index is read first */
    t.pos = w->folders[t.folder].n_log;
    while (outcome == CS_MORE) {
        between(r);
        outcome = delta_page(r, &t, true);
    }
    if (outcome == CS_DONE) {
        uint64_t listed = t.known;
        int kept = before;

        for (int k = before; k < r->n; k++) {
            const struct published *o = &out[r->seen[k].item];

            if (!o->there || o->ver != r->seen[k].ver || o->folder != r->seen[k].folder)
                r->seen[kept++] = r->seen[k];
        }
        r->n = kept;
        for (int i = 0; i < w->n_items; i++)
            if (out[i].there && out[i].folder == t.folder &&
                (p->mode == CS_MODE_GONE || (listed >> i & 1) == 0))
                see(r, i, REMOVED, t.folder);
        if (p->mode != CS_MODE_GONE)
            assert_true(asprintf(&cursor, "/v1.0/users/x/%d", new_token(w, t)) > 0);
    }
    add_part(r, p, outcome, cursor, outcome == CS_RETRY ? CS_CODE_FOLDER_GONE : CS_CODE_NONE,
             r->n > before ? r->n - before : 0);
}

/* A page of a list: newest first, by key. */
static void slice(struct run *r, const struct cs_job_part *p)
{
    struct world *w = r->w;
    int64_t below = p->to_utc_ms, from = p->from_utc_ms == CS_NEVER ? INT64_MIN : p->from_utc_ms;
    enum cs_outcome outcome = CS_MORE;
    char time[CS_TIME_TEXT];

    if (p->cursor != NULL) {
        assert_int_equal(cs_time_parse(p->cursor, strlen(p->cursor), &below), 0);
        below++;
    }
    for (int pages = 1 + pick(w, 2); pages > 0 && outcome == CS_MORE; pages--) {
        int n = 0;

        between(r);
        for (;; n++) {
            int best = -1;

            for (int i = 0; i < w->n_items; i++) {
                const struct item *m = &w->items[i];

                if (m->alive && !m->transit && m->recv_ms >= from && m->recv_ms < below &&
                    (best < 0 || m->recv_ms > w->items[best].recv_ms))
                    best = i;
            }
            if (best < 0) {
                outcome = CS_DONE;
                break;
            }
            if (n == w->page + 1)
                break;
            see(r, best, TOLD, -1);
            below = w->items[best].recv_ms;
        }
        if (p->mode == CS_MODE_PREVIEW)
            outcome = CS_DONE;
        if (outcome == CS_MORE)
            below++; /* the next page overlaps by the last one seen */
    }
    cs_time_format(below - 1, time);
    add_part(r, p, outcome, outcome == CS_MORE ? strdup(time) : NULL, CS_CODE_NONE, 0);
}

static void read_item(struct run *r, int i)
{
    const struct item *m = &r->w->items[i];

    if (!r->w->quiet && chance(r->w, 4)) {
        r->failed_read[i] = true;
        return;
    }
    r->failed_read[i] = false;
    see(r, i, m->alive && !m->transit ? READ : GONE, -1);
}

static void leave(struct run *r, int i, enum cs_why why, enum cs_seen seen, const struct seen *last,
                  int from)
{
    struct cs_look *look;

    r->f.left = realloc(r->f.left, (r->f.n_left + 1) * sizeof(*r->f.left));
    assert_non_null(r->f.left);
    look = &r->f.left[r->f.n_left++];
    *look = (struct cs_look){.id = text("m", i), .why = why, .seen = seen};
    if (seen == CS_SEEN_AT) {
        look->folder = text("f", last->folder);
        look->change_key = text("v", last->ver);
    }
    if (from >= 0)
        look->from_folder = text("f", from);
}

static const struct cs_look *asked_of(const struct run *r, int i)
{
    for (size_t k = 0; k < r->job.n_items; k++)
        if (number(r->job.items[k].id) == i)
            return &r->job.items[k];
    return NULL;
}

/* What follows for one item: worker/job_mail.c in short, on the real decision. */
static void settle(struct run *r, int i)
{
    const struct cs_look *asked = asked_of(r, i);
    const struct seen *last = NULL;
    struct cs_sight s = {.asked = asked, .is_slice = r->job.type == CS_JOB_MAIL_SLICE};
    struct cs_ruling d;
    int removed_from = -1;
    char folder[16], from[16], key[16];

    for (int k = 0; k < r->n; k++) {
        if (r->seen[k].item != i)
            continue;
        if (r->seen[k].what == TOLD)
            s.told = true;
        if (r->seen[k].what == REMOVED) {
            s.removed = true;
            removed_from = r->seen[k].source;
        } else {
            last = &r->seen[k];
        }
    }
    if (last == NULL || r->failed_read[i]) {
        if (asked != NULL) {
            r->f.left = realloc(r->f.left, (r->f.n_left + 1) * sizeof(*r->f.left));
            assert_int_equal(cs_look_copy(asked, &r->f.left[r->f.n_left++]), 0);
        } else if (s.told) {
            leave(r, i, CS_WHY_LEFTOVER, CS_SEEN_NOTHING, NULL, -1);
        } else if (s.removed) {
            leave(r, i, CS_WHY_LOOK, CS_SEEN_NOTHING, NULL, removed_from);
        }
        return;
    }
    s.gone = last->what == GONE;
    if (s.removed) {
        snprintf(from, sizeof(from), "f%d", removed_from);
        s.removed_from = from;
    }
    if (!s.gone) {
        snprintf(folder, sizeof(folder), "f%d", last->folder);
        snprintf(key, sizeof(key), "v%d", last->ver);
        s.folder = folder;
        s.change_key = key;
        s.place = cs_map_place(r->map, folder);
        s.too_old = last->recv_ms < r->job.depth_utc_ms;
        s.unsettled = s.is_slice && (r->job.anchored_utc_ms == CS_NEVER ||
                                     last->modified_ms >= r->job.anchored_utc_ms - 120000);
        for (int k = 0; k < r->n; k++)
            if (r->seen[k].item == i && r->seen[k].what == TOLD &&
                r->seen[k].source == last->folder)
                s.told_by_folder = true;
    }
    cs_look_decide(&s, &d);
    if (d.act != CS_ACT_NOTHING) {
        bool up = d.act == CS_ACT_UPSERT || d.act == CS_ACT_MOVED;

        r->touched[i] = true;
        r->out[i] = (struct published){up, last->folder, last->ver};
        if (d.act == CS_ACT_DELETED && r->w->items[i].alive && !r->w->items[i].transit)
            r->false_deletes++;
    }
    if (d.look_again)
        leave(r, i, CS_WHY_LOOK, d.seen, last, removed_from);
}

static void find_folders(struct run *r)
{
    struct world *w = r->w;

    r->f.has_folders = true;
    r->f.folders = calloc((size_t)w->n_folders, sizeof(*r->f.folders));
    for (int f = 0; f < w->n_folders; f++) {
        struct cs_folder_found *found = &r->f.folders[r->f.n_folders];

        if (!w->folders[f].alive)
            continue;
        r->f.n_folders++;
        *found = (struct cs_folder_found){.id = text("f", f), .name = text("Folder ", f)};
        if (f == 0)
            found->well_known = strdup("deleteditems");
        if (w->folders[f].excluded)
            found->parent_id = strdup("f0");
        for (int i = 0; i < w->n_items; i++)
            found->total += w->items[i].alive && w->items[i].folder == f;
    }
}

static void work(struct run *r)
{
    bool wanted[ITEMS] = {false};

    r->f.parts = calloc(CS_JOB_PARTS_MAX, sizeof(*r->f.parts));
    if (r->job.type == CS_JOB_FOLDERS)
        find_folders(r);
    for (size_t p = 0; p < r->job.n_parts; p++) {
        if (r->job.type == CS_JOB_MAIL_DELTA)
            walk(r, &r->job.parts[p]);
        else if (r->job.type == CS_JOB_MAIL_RESYNC)
            compare(r, &r->job.parts[p]);
        else if (r->job.type == CS_JOB_MAIL_SLICE)
            slice(r, &r->job.parts[p]);
    }
    if (r->job.type == CS_JOB_CALENDAR_DELTA)
        add_part(r, &r->job.parts[0], CS_DONE, strdup("/v1.0/users/x/calendar"), CS_CODE_NONE, 0);
    for (int k = 0; k < r->n; k++) { /* delta entries are envelopes: all are read */
        if ((r->job.type == CS_JOB_MAIL_DELTA || r->job.type == CS_JOB_MAIL_RESYNC) &&
            (r->seen[k].what != TOLD || r->seen[k].recv_ms >= r->job.depth_utc_ms))
            wanted[r->seen[k].item] = true;
    }
    for (size_t k = 0; k < r->job.n_items; k++)
        wanted[number(r->job.items[k].id)] = true;
    for (int i = 0; i < ITEMS; i++)
        if (wanted[i]) {
            between(r);
            read_item(r, i);
        }
    for (int i = 0; i < ITEMS; i++) {
        bool any = asked_of(r, i) != NULL;

        for (int k = 0; k < r->n && !any; k++)
            any = r->seen[k].item == i;
        if (any)
            settle(r, i);
    }
}

/* Does the job that is out, whole; killed workers begin it again. */
static void do_job(struct world *w)
{
    const char *reason = NULL;
    struct cs_buf out;

    for (;;) {
        struct run *r = calloc(1, sizeof(*r));

        assert_non_null(r);
        r->w = w;
        assert_int_equal(cs_job_parse(w->job, strlen(w->job), &r->job, &reason), 0);
        assert_int_equal(cs_map_new(&r->job, &r->map), 0);
        snprintf(r->f.job_id, sizeof(r->f.job_id), "%s", r->job.job_id);
        snprintf(r->f.tenant, sizeof(r->f.tenant), "%s", r->job.tenant);
        snprintf(r->f.mailbox, sizeof(r->f.mailbox), "%s", r->job.mailbox);
        r->f.type = r->job.type;
        r->f.lane = r->job.lane;
        r->f.attempt = r->job.attempt;
        r->f.retry_after_ms = -1;
        work(r);
        bool killed = !w->quiet && chance(w, 3);
        if (!killed) {
            for (int i = 0; i < ITEMS; i++)
                if (r->touched[i]) {
                    w->out[i] = r->out[i];
                    SAY(w, "  m%d: %s f%d v%d", i, r->out[i].there ? "published" : "taken back",
                        r->out[i].folder, r->out[i].ver);
                }
            w->false_deletes += r->false_deletes;
            cs_buf_init(&out, 0);
            cs_feedback_print(&r->f, &out);
            w->feedback = cs_buf_steal(&out, NULL);
            SAY(w, "%s: %s, %d left", cs_job_type_name(r->job.type), cs_outcome_name(r->f.outcome),
                (int)r->f.n_left);
        }
        cs_feedback_clear(&r->f);
        cs_map_free(r->map);
        cs_job_clear(&r->job);
        free(r);
        if (!killed)
            break;
        SAY(w, "WORKER killed");
    }
    free(w->job);
    w->job = NULL;
}

/* --- the producer ------------------------------------------------------------------------------ */

static char *excluded[] = {(char *)(uintptr_t) "deleteditems"};
static const struct cs_tenant tenant = {.backfill_days = 30,
                                        .exclude_folders = excluded,
                                        .n_exclude_folders = 1,
                                        .calendar_past_days = 1,
                                        .calendar_future_days = 365};
static const struct cs_schedule_conf conf = {.poll_min_ms = 5000,
                                             .poll_max_ms = 20000,
                                             .folders_interval_ms = 15000,
                                             .second_look_ms = 30000,
                                             .probe_min_ms = 5000,
                                             .probe_max_ms = 10000,
                                             .retry_min_ms = 1000,
                                             .retry_max_ms = 8000,
                                             .jobs_per_partition = 8,
                                             .delta_folders = 3,
                                             .slice_parts = 3,
                                             .slice_items = 3,
                                             .resync_gather_ms = 60000,
                                             .status_interval_ms = 60000,
                                             .job_lost_ms = 10 * DAY};

static int keep(void *user, const char *stream, const char *value, size_t len)
{
    struct world *w = user;
    void *old = NULL;

    if (value == NULL) {
        free(cs_strmap_remove(&w->state, stream, strlen(stream)));
        return 0;
    }
    assert_int_equal(cs_strmap_put(&w->state, stream, strlen(stream), strndup(value, len), &old),
                     0);
    free(old);
    return 0;
}

static struct cs_mailbox *restore(struct world *w)
{
    const char *stream, *reason = NULL;
    struct cs_mailbox *m;
    size_t slot = 0;
    char *value;

    assert_int_equal(cs_mailbox_new("acme", "ann@contoso.example", 0, &m), 0);
    while ((value = cs_strmap_next(&w->state, &slot, &stream)) != NULL)
        if (cs_stream_load(m, stream, strlen(stream), value, strlen(value), &reason) != 0)
            fail_msg("%s: %s: %s", stream, reason, value);
    if (w->state.n > 0) {
        assert_int_equal(cs_stream_loaded(m, &reason), 0);
        cs_apply_restored(m, w->now_ms);
    }
    cs_mailbox_configure(m, &tenant, w->now_ms);
    return m;
}

/* One turn of the producer: apply, decide, commit. Killed before the commit it starts from the topic. */
static struct cs_mailbox *turn(struct world *w, struct cs_mailbox *m)
{
    const char *reason = NULL;
    char *job = NULL;

    if (w->feedback != NULL) {
        struct cs_feedback f;
        struct cs_effect effect;

        assert_int_equal(cs_feedback_parse(w->feedback, strlen(w->feedback), &f, &reason), 0);
        assert_int_equal(cs_apply_feedback(m, &conf, &f, w->now_ms, draw(w), &effect), 0);
        assert_false(effect.stale);
        cs_feedback_clear(&f);
    }
    if (w->job == NULL && m->inflight == NULL) {
        struct cs_due due;

        cs_decide(m, &conf, w->now_ms, &due);
        if (due.now) {
            char id[CS_UUID_TEXT];
            struct cs_job made;
            struct cs_buf out;

            snprintf(id, sizeof(id), "00000000-0000-7000-8000-%012" PRIx64, draw(w) >> 16);
            assert_int_equal(cs_decide_issue(m, &conf, w->now_ms, &due, id), 0);
            assert_int_equal(cs_decide_job(m, &made), 0);
            cs_buf_init(&out, 0);
            cs_job_print(&made, &out);
            job = cs_buf_steal(&out, NULL);
            SAY(w, "PRODUCER %s %s, %d parts, %d items", cs_job_type_name(made.type),
                made.n_parts > 0 ? cs_mode_name(made.parts[0].mode) : "", (int)made.n_parts,
                (int)made.n_items);
            cs_job_clear(&made);
        }
    }
    if (!w->quiet && chance(w, 3)) {
        SAY(w, "PRODUCER killed");
        w->kills++;
        free(job);
        cs_mailbox_free(m);
        return restore(w);
    }
    assert_int_equal(cs_stream_flush(m, keep, w), 0);
    assert_false(cs_stream_is_dirty(m));
    free(w->feedback);
    w->feedback = NULL;
    if (job != NULL)
        w->job = job;
    return m;
}

static bool is_settled(const struct world *w, const struct cs_mailbox *m)
{
    if (m->phase != CS_BOX_LIVE || m->inflight != NULL || w->feedback != NULL ||
        cs_mailbox_count_looks(m) > 0 || m->last_listing_ms <= w->quiet_ms)
        return false;
    for (size_t i = 0; i < m->n_folders; i++) {
        const struct cs_box_folder *f = m->folders[i];

        if (f->has_stream && f->phase == CS_STREAM_LIVE &&
            (f->rounds < 1 || f->last_round_ms <= w->quiet_ms))
            return false;
        if (f->has_stream && (f->phase != CS_STREAM_LIVE || f->resync_owed))
            return false;
    }
    return true;
}

struct result {
    int lost, phantom, stuck, false_deletes, kills;
};

static void run_one(uint64_t seed, struct rules rules, struct result *sum)
{
    struct world *w = calloc(1, sizeof(*w));
    struct cs_mailbox *m;
    int start, steps = 0;
    size_t slot = 0;
    void *value;

    assert_non_null(w);
    w->seed = cs_mix64(seed);
    w->rules = rules;
    w->now_ms = T0;
    w->collapse = chance(w, 50);
    w->page = 1 + pick(w, 3);
    w->n_folders = 2 + pick(w, 3);
    for (int f = 0; f < w->n_folders; f++)
        w->folders[f].alive = true;
    for (int k = 3 + pick(w, 8); k > 0; k--)
        arrive(w, chance(w, 85) ? some_folder(w, false) : 0, true);
    m = restore(w);
    start = pick(w, 120);
    while (++steps < 8000) {
        pass_time(w);
        if (!w->quiet && w->rules.mutations > 0 && steps > start && chance(w, 12)) {
            w->rules.mutations--;
            mutate(w);
        }
        if (!w->quiet && w->rules.mutations == 0 && chance(w, 5)) {
            w->quiet = true;
            w->quiet_ms =
                w->now_ms +
                20 * STEP_MS; /* what was told late has been told, what moved has landed */
            SAY(w, "---- quiet");
        }
        if (chance(w, 60))
            m = turn(w, m);
        if (w->job != NULL && w->feedback == NULL && chance(w, 50))
            do_job(w);
        if (w->quiet && w->now_ms > w->quiet_ms && is_settled(w, m))
            break;
    }
    if (steps >= 8000) {
        sum->stuck++;
        print_message("seed %" PRIu64 ": stuck in phase %s with %zu looks\n", seed,
                      cs_box_phase_names[m->phase], cs_mailbox_count_looks(m));
        for (size_t i = 0; i < m->n_folders; i++)
            print_message("  %s %s: %" PRId64 " rounds, last %" PRId64
                          " s after the quiet, listed %" PRId64 " s\n",
                          m->folders[i]->id, cs_stream_phase_names[m->folders[i]->phase],
                          m->folders[i]->rounds,
                          (m->folders[i]->last_round_ms - w->quiet_ms) / 1000,
                          (m->last_listing_ms - w->quiet_ms) / 1000);
    }
    for (int i = 0; i < w->n_items; i++) {
        const struct item *item = &w->items[i];
        bool want = item->alive && in_scope(w, item->folder) && item->recv_ms >= m->depth_ms;
        const struct published *p = &w->out[i];
        bool lost = want && (!p->there || p->folder != item->folder || p->ver != item->ver);
        bool phantom = !want && p->there;

        if (lost || phantom)
            print_message("seed %" PRIu64 ": m%d %s: alive %d f%d v%d, published %d f%d v%d\n",
                          seed, i, lost ? "lost" : "phantom", item->alive, item->folder, item->ver,
                          p->there, p->folder, p->ver);
        sum->lost += lost;
        sum->phantom += phantom;
    }
    if (w->false_deletes >
        0) /* in transit at both looks: the one kind that is accepted, and seldom */
        print_message("seed %" PRIu64 ": %d deletions of items in transit, since healed\n", seed,
                      w->false_deletes);
    sum->false_deletes += w->false_deletes;
    sum->kills += w->kills;
    cs_mailbox_free(m);
    while ((value = cs_strmap_next(&w->state, &slot, NULL)) != NULL)
        free(value);
    cs_strmap_clear(&w->state);
    free(w->job);
    free(w->feedback);
    free(w);
}

static void run_many(uint64_t first, int n, struct rules rules, struct result *sum)
{
    const char *one = getenv("CRMSYNC_PROTOCOL_SEED"), *many = getenv("CRMSYNC_PROTOCOL_SEEDS");

    memset(sum, 0, sizeof(*sum));
    if (one != NULL) {
        rules.trace = true;
        run_one(strtoull(one, NULL, 10), rules, sum);
        return;
    }
    if (many != NULL)
        n = (int)strtol(many, NULL, 10);
    for (int i = 0; i < n; i++)
        run_one(first + (uint64_t)i, rules, sum);
    print_message("%d runs, %d kills of the producer\n", n, sum->kills);
}

/* Arrivals, flags, moves, there-and-backs, deletions, new folders; logs that lag; kills. */
static void test_what_is_published_becomes_what_is_there(void **state)
{
    struct result sum;

    (void)state;
    run_many(1, 800, (struct rules){.mutations = 14}, &sum);
    assert_int_equal(sum.stuck, 0);
    assert_int_equal(sum.lost, 0);
    assert_int_equal(sum.phantom, 0);
    assert_in_range(sum.false_deletes, 0, 1);
}

/* Cursors die, and folders go and come back. */
static void test_dead_cursors_and_folders_that_go(void **state)
{
    struct result sum;

    (void)state;
    run_many(1000001, 400,
             (struct rules){.mutations = 14, .dead_cursors = true, .folders_go = true}, &sum);
    assert_int_equal(sum.stuck, 0);
    assert_int_equal(sum.lost, 0);
    assert_int_equal(sum.phantom, 0);
    assert_in_range(sum.false_deletes, 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_published_becomes_what_is_there),
        cmocka_unit_test(test_dead_cursors_and_folders_that_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
