/* producer/decide.c, apply.c, folders.c, slices.c, calendar.c, status.c: what is due, and what feedback changes. */
#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/apply.h"
#include "producer/decide.h"
#include "producer/status.h"

#define T       INT64_C(1764000000000)
#define DAY     INT64_C(86400000)
#define TEXT(s) ((char *)(uintptr_t)(s))

static char *bin[] = {TEXT("deleteditems")};
static const struct cs_tenant tenant = {.backfill_days = 730,
                                        .exclude_folders = bin,
                                        .n_exclude_folders = 1,
                                        .calendar_past_days = 30,
                                        .calendar_future_days = 365};
static const struct cs_schedule_conf conf = {.poll_min_ms = 10000,
                                             .poll_max_ms = 80000,
                                             .folders_interval_ms = 20000,
                                             .second_look_ms = 30000,
                                             .probe_min_ms = 60000,
                                             .probe_max_ms = 120000,
                                             .retry_min_ms = 1000,
                                             .retry_max_ms = 64000,
                                             .jobs_per_partition = 8,
                                             .delta_folders = 8,
                                             .slice_parts = 3,
                                             .slice_items = 100,
                                             .resync_gather_ms = 3600000,
                                             .audit_every_ms = 7 * DAY,
                                             .status_interval_ms = 60000,
                                             .job_lost_ms = 8 * DAY};

static struct cs_folder_found tree[] = {
    {.id = TEXT("inbox"), .name = TEXT("Inbox"), .well_known = TEXT("inbox"), .total = 300},
    {.id = TEXT("proj"), .parent_id = TEXT("inbox"), .name = TEXT("A/B"), .total = 200},
    {.id = TEXT("bin"), .name = TEXT("Bin"), .well_known = TEXT("deleteditems")},
    {.id = TEXT("old"), .parent_id = TEXT("bin"), .name = TEXT("Old")},
    {.id = TEXT("secret"), .name = TEXT("Hidden"), .hidden = true},
};
#define N_TREE (sizeof(tree) / sizeof(tree[0]))

static struct cs_mailbox *new_box(void)
{
    struct cs_mailbox *m = NULL;

    assert_int_equal(cs_mailbox_new("acme", "ann@contoso.example", 0, &m), 0);
    cs_mailbox_configure(m, &tenant, T);
    return m;
}

static struct cs_box_folder *folder(struct cs_mailbox *m, const char *id)
{
    struct cs_box_folder *f = cs_mailbox_find_folder(m, cs_id_hash(id));

    assert_non_null(f);
    return f;
}

/* What is due now, put in flight. */
static enum cs_job_type issue(struct cs_mailbox *m, int64_t now_ms, struct cs_due *due)
{
    cs_decide(m, &conf, now_ms, due);
    assert_true(due->now);
    assert_int_equal(cs_decide_issue(m, &conf, now_ms, due, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d3f"),
                     0);
    return due->type;
}

/* Feedback for the job in flight: every part `outcome`. */
static struct cs_feedback answer(const struct cs_mailbox *m, enum cs_outcome outcome)
{
    struct cs_feedback f = {.type = m->inflight->type,
                            .lane = m->inflight->lane,
                            .attempt = 1,
                            .outcome = outcome,
                            .retry_after_ms = -1};
    struct cs_job job;

    assert_int_equal(cs_decide_job(m, &job), 0);
    memcpy(f.job_id, job.job_id, sizeof(f.job_id));
    f.parts = calloc(job.n_parts + 1, sizeof(*f.parts));
    f.n_parts = job.n_parts;
    for (size_t i = 0; i < job.n_parts; i++) {
        f.parts[i] = (struct cs_feedback_part){
            .stream = strdup(job.parts[i].stream),
            .generation = job.parts[i].generation,
            .slice_id = job.parts[i].slice_id != NULL ? strdup(job.parts[i].slice_id) : NULL,
            .outcome = outcome,
            .retry_after_ms = -1};
        if (outcome == CS_DONE || outcome == CS_MORE)
            f.parts[i].cursor = strdup(job.type == CS_JOB_MAIL_SLICE ? "2025-06-01T00:00:00Z"
                                                                     : "/v1.0/users/ann/c");
    }
    cs_job_clear(&job);
    return f;
}

static struct cs_effect apply(struct cs_mailbox *m, struct cs_feedback *f, int64_t now_ms)
{
    struct cs_effect effect;

    assert_int_equal(cs_apply_feedback(m, &conf, f, now_ms, 7, &effect), 0);
    if (f->folders == tree) {
        f->folders = NULL;
        f->n_folders = 0;
    }
    cs_feedback_clear(f);
    return effect;
}

static void list_folders(struct cs_mailbox *m, int64_t now_ms, const struct cs_folder_found *found,
                         size_t n)
{
    struct cs_feedback f;
    struct cs_effect effect;

    f = answer(m, CS_DONE);
    f.has_folders = true;
    f.folders = (struct cs_folder_found *)(uintptr_t)found;
    f.n_folders = n;
    assert_int_equal(cs_apply_feedback(m, &conf, &f, now_ms, 7, &effect), 0);
    assert_false(effect.stale);
    f.folders = NULL;
    f.n_folders = 0;
    cs_feedback_clear(&f);
}

static void finish(struct cs_mailbox *m, int64_t now_ms)
{
    struct cs_feedback f = answer(m, CS_DONE);

    assert_false(apply(m, &f, now_ms).stale);
}

/* A mailbox whose first sync is over, at T. */
static struct cs_mailbox *live_box(void)
{
    struct cs_mailbox *m = new_box();
    struct cs_due due;

    assert_int_equal(issue(m, T, &due), CS_JOB_FOLDERS);
    list_folders(m, T, tree, N_TREE);
    for (int guard = 0; m->phase != CS_BOX_LIVE || m->cal.phase != CS_STREAM_LIVE; guard++) {
        assert_in_range(guard, 0, 20);
        if (issue(m, T, &due) == CS_JOB_FOLDERS)
            list_folders(m, T, tree, N_TREE);
        else
            finish(m, T);
    }
    return m;
}

/* New: the tree, one page, anchors of what is in scope; then slices that know the folders. */
static void test_first_sync(void **state)
{
    struct cs_mailbox *m = new_box();
    struct cs_due due;
    struct cs_job job;

    (void)state;
    assert_int_equal(issue(m, T, &due), CS_JOB_FOLDERS);
    assert_int_equal(due.lane, CS_LANE_BACKFILL);
    cs_decide(m, &conf, T + DAY, &due); /* one job at a time */
    assert_false(due.now);
    assert_int_equal(due.wake_ms, CS_NEVER);
    list_folders(m, T, tree, N_TREE);
    assert_string_equal(folder(m, "proj")->path, "Inbox/A%2FB");
    assert_false(folder(m, "old")->in_scope);
    assert_false(folder(m, "secret")->in_scope);
    assert_int_equal(issue(m, T, &due), CS_JOB_MAIL_SLICE);
    assert_int_equal(due.mode, CS_MODE_PREVIEW);
    finish(m, T + 5);
    assert_int_equal(m->phase, CS_BOX_ANCHOR);
    assert_int_equal(m->anchored_ms, T + 5);
    assert_int_equal(issue(m, T + 5, &due), CS_JOB_MAIL_DELTA);
    assert_int_equal(due.mode, CS_MODE_ANCHOR);
    assert_int_equal(m->inflight->n_parts, 2);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_int_equal(job.n_folders, 2);
    assert_int_equal(job.n_folders_out, 3);
    assert_int_equal(job.depth_utc_ms, T - 730 * DAY);
    cs_job_clear(&job);
    finish(m, T + 5);
    assert_int_equal(m->phase, CS_BOX_BACKFILL);
    assert_int_equal(issue(m, T + 5, &due), CS_JOB_CALENDAR_DELTA); /* its turn */
    assert_int_equal(due.mode, CS_MODE_FIRST);
    finish(m, T + 5);
    assert_int_equal(issue(m, T + 5, &due), CS_JOB_MAIL_SLICE);
    assert_int_equal(m->inflight->n_parts, 3);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_int_equal(job.anchored_utc_ms, T + 5);
    assert_int_equal(job.n_folders, 2);
    cs_job_clear(&job);
    cs_mailbox_free(m);
}

/* 500 mails by 100: about five slices; whatever the depth, they cover it all without gap or overlap. */
static void test_slices_cover_the_time(void **state)
{
    static const int64_t days[] = {-1, 0, 1, 6, 7, 8, 30, 365, 730, 3650, 36500};
    static const int64_t totals[] = {0, 1, 99, 100, 101, 5000, 2000000};

    (void)state;
    for (size_t d = 0; d < sizeof(days) / sizeof(days[0]); d++)
        for (size_t t = 0; t < sizeof(totals) / sizeof(totals[0]); t++) {
            struct cs_tenant rules = tenant;
            struct cs_folder_found one = tree[0];
            struct cs_mailbox *m = NULL;

            rules.backfill_days = days[d];
            one.total = totals[t];
            assert_int_equal(cs_mailbox_new("acme", "x", 0, &m), 0);
            cs_mailbox_configure(m, &rules, T);
            assert_int_equal(cs_folders_apply(m, &one, 1), 0);
            assert_int_equal(cs_decide_slices(m, &conf), 0);
            assert_in_range(m->n_slices, 1, CS_BOX_SLICES_MAX);
            assert_int_equal(m->slices[0].to_ms, CS_NEVER);
            for (size_t i = 1; i < m->n_slices; i++) {
                assert_int_equal(m->slices[i].to_ms, m->slices[i - 1].from_ms);
                assert_true(m->slices[i].from_ms == CS_NEVER ||
                            m->slices[i].from_ms < m->slices[i].to_ms);
            }
            assert_int_equal(m->slices[m->n_slices - 1].from_ms,
                             days[d] < 0 ? CS_NEVER : T - days[d] * DAY);
            if (totals[t] < 100)
                assert_int_equal(m->n_slices, 1);
            cs_mailbox_free(m);
        }
}

/* A folder that changes is asked soon, one that sleeps seldom; counts that changed ask at once. */
static void test_polling_adapts(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_box_folder *inbox = folder(m, "inbox");
    struct cs_folder_found more[N_TREE];
    struct cs_due due;
    struct cs_feedback f;
    int64_t now = T;

    (void)state;
    assert_int_equal(inbox->interval_ms, 10000);
    for (int k = 0; k < 40; k++) {
        cs_decide(m, &conf, now, &due);
        if (!due.now) {
            assert_true(due.wake_ms > now && due.wake_ms <= now + 130000);
            now = due.wake_ms;
            continue;
        }
        if (issue(m, now, &due) == CS_JOB_FOLDERS)
            list_folders(m, now, tree, N_TREE);
        else
            finish(m, now);
    }
    assert_int_equal(inbox->interval_ms, 80000);
    assert_int_equal(m->listing_interval_ms, 80000);
    memcpy(more, tree, sizeof(tree));
    more[0].unread++;
    for (;;) {
        cs_decide(m, &conf, now, &due);
        if (!due.now) {
            now = due.wake_ms;
            continue;
        }
        if (issue(m, now, &due) == CS_JOB_FOLDERS)
            break;
        finish(m, now);
    }
    list_folders(m, now, more, N_TREE);
    assert_true(inbox->asked_by_counts);
    assert_false(folder(m, "proj")->asked_by_counts);
    assert_int_equal(m->listing_interval_ms, 20000);
    assert_int_equal(issue(m, now, &due), CS_JOB_MAIL_DELTA);
    assert_int_equal(m->inflight->parts[0].folder, inbox->hash);
    f = answer(m, CS_DONE);
    f.parts[0].changes = 3;
    apply(m, &f, now);
    assert_int_equal(inbox->interval_ms, 10000);
    assert_int_equal(m->last_change_ms, now);
    assert_false(inbox->asked_by_counts);
    cs_mailbox_free(m);
}

/* The phase of the polls is the mailbox's own: spread over the interval, and the same after a restart. */
static void test_polls_are_spread(void **state)
{
    int hits[10] = {0};

    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct cs_mailbox *m = NULL;
        char name[32];
        int64_t next;

        snprintf(name, sizeof(name), "user%d@contoso.example", i);
        assert_int_equal(cs_mailbox_new("acme", name, 0, &m), 0);
        next = cs_decide_next_poll(m, T, 10000);
        assert_true(next > T + 5000 && next <= T + 15000);
        assert_int_equal((cs_decide_next_poll(m, T + 123456, 10000) - next) % 10000, 0);
        hits[next % 10000 / 1000]++;
        cs_mailbox_free(m);
    }
    for (int k = 0; k < 10; k++)
        assert_in_range(hits[k], 140, 260);
}

/* Backfill and live work take turns; what gets no place for a second gives its turn back. */
static void test_turns(void **state)
{
    struct cs_mailbox *m = new_box();
    struct cs_due due;
    int64_t now = T;
    bool last_live = false;

    (void)state;
    issue(m, now, &due);
    list_folders(m, now, tree, N_TREE);
    while (m->phase != CS_BOX_BACKFILL || m->cal.phase != CS_STREAM_LIVE) {
        if (issue(m, now, &due) == CS_JOB_FOLDERS)
            list_folders(m, now, tree, N_TREE);
        else
            finish(m, now);
    }
    for (int k = 0; k < 6; k++) {
        bool live;

        now += 50000; /* everything is due */
        live = issue(m, now, &due) != CS_JOB_MAIL_SLICE;
        assert_int_equal(due.lane, live ? CS_LANE_LIVE : CS_LANE_BACKFILL);
        if (k > 0)
            assert_int_not_equal(live, last_live);
        last_live = live;
        if (m->inflight->type == CS_JOB_FOLDERS) {
            list_folders(m, now, tree, N_TREE);
        } else {
            struct cs_feedback f =
                answer(m, m->inflight->type == CS_JOB_MAIL_SLICE ? CS_MORE : CS_DONE);

            apply(m, &f, now);
        }
    }
    now += 50000;
    if (last_live) {
        cs_decide(m, &conf, now, &due);
        assert_int_equal(due.type, CS_JOB_MAIL_SLICE);
        assert_int_equal(due.wake_ms, now + 1000);
        cs_decide(m, &conf, now + 999, &due);
        assert_int_equal(due.type, CS_JOB_MAIL_SLICE);
        cs_decide(m, &conf, now + 1000, &due);
        assert_int_equal(due.lane, CS_LANE_LIVE);
    } else {
        cs_decide(m, &conf, now, &due);
        assert_int_equal(due.lane, CS_LANE_LIVE);
    }
    cs_mailbox_free(m);
}

/* Retry-After holds the whole mailbox for that long; without one waits double up to the bound. */
static void test_throttled(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_due due;
    struct cs_feedback f;
    int64_t now = T + 50000, last = 0;

    (void)state;
    issue(m, now, &due);
    f = answer(m, CS_RETRY);
    f.fault =
        (struct cs_fault){.code = CS_CODE_THROTTLED, .scope = CS_SCOPE_MAILBOX, .http_status = 429};
    f.retry_after_ms = 30000;
    apply(m, &f, now);
    cs_decide(m, &conf, now + 29999, &due);
    assert_false(due.now);
    assert_true(due.wake_ms >= now + 30000 && due.wake_ms < now + 32000);
    now = due.wake_ms;
    for (int k = 1; k < 12; k++) {
        issue(m, now, &due);
        assert_int_equal(m->inflight->attempt, k + 1);
        f = answer(m, CS_RETRY);
        f.fault = (struct cs_fault){.code = CS_CODE_NETWORK, .scope = CS_SCOPE_SERVICE};
        apply(m, &f, now);
        assert_in_range(m->retry_ms - now, 500, 64000);
        last = m->retry_ms - now;
        now = m->retry_ms;
    }
    assert_true(last >= 32000);
    issue(m, now, &due);
    if (m->inflight->type == CS_JOB_FOLDERS)
        list_folders(m, now, tree, N_TREE);
    else
        finish(m, now);
    assert_int_equal(m->failures, 0);
    assert_int_equal(m->fault.code, CS_CODE_NONE);
    cs_mailbox_free(m);
}

/* Issues jobs until one of this kind is in flight. */
static int64_t until(struct cs_mailbox *m, enum cs_job_type type, int64_t now)
{
    struct cs_due due;

    for (int guard = 0;; guard++) {
        assert_in_range(guard, 0, 200);
        cs_decide(m, &conf, now, &due);
        if (!due.now) {
            now = due.wake_ms;
            continue;
        }
        if (issue(m, now, &due) == type)
            return now;
        if (due.type == CS_JOB_FOLDERS)
            list_folders(m, now, tree, N_TREE);
        else
            finish(m, now);
    }
}

/* One part got on, the other met a throttled mailbox: the cursor moves and the mailbox waits. */
static void test_half_throttled(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_feedback f;
    int64_t now = until(m, CS_JOB_MAIL_DELTA, T + 50000);

    (void)state;
    assert_int_equal(m->inflight->n_parts, 2);
    f = answer(m, CS_DONE);
    f.outcome = CS_RETRY;
    f.parts[1].outcome = CS_RETRY;
    f.parts[1].fault =
        (struct cs_fault){.code = CS_CODE_THROTTLED, .scope = CS_SCOPE_STREAM, .http_status = 429};
    f.parts[1].retry_after_ms = 9000;
    free(f.parts[0].cursor);
    f.parts[0].cursor = strdup("/v1.0/users/ann/next");
    apply(m, &f, now);
    assert_true(m->retry_ms >= now + 9000);
    assert_int_equal(strcmp(folder(m, "inbox")->cursor, "/v1.0/users/ann/next") == 0 ||
                         strcmp(folder(m, "proj")->cursor, "/v1.0/users/ann/next") == 0,
                     1);
    cs_mailbox_free(m);
}

/* 403: parked and probed; a probe that works lets it go on where it was. */
/* contract: mailbox.probe mailbox.denied */
static void test_denied_mailbox(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_due due;
    struct cs_effect effect;
    struct cs_feedback f;
    struct cs_status st;
    int64_t now = until(m, CS_JOB_MAIL_DELTA, T + 50000);

    (void)state;
    f = answer(m, CS_RETRY);
    f.fault = (struct cs_fault){
        .code = CS_CODE_MAILBOX_DENIED, .scope = CS_SCOPE_MAILBOX, .http_status = 403};
    effect = apply(m, &f, now);
    assert_false(effect.tenant_refused);
    assert_int_equal(m->parked, CS_CODE_MAILBOX_DENIED);
    cs_decide(m, &conf, now + 59999, &due);
    assert_false(due.now);
    assert_in_range(due.wake_ms - now, 60000, 120000);
    cs_status_of(m, &conf, CS_CODE_NONE, now, &st);
    assert_int_equal(st.state, CS_STATE_NEEDS_ADMIN);
    assert_false(st.heals_itself);
    assert_non_null(st.advice);
    now = due.wake_ms;
    assert_int_equal(issue(m, now, &due), CS_JOB_PROBE);
    finish(m, now);
    assert_int_equal(m->parked, CS_CODE_NONE);
    assert_int_equal(m->phase, CS_BOX_LIVE);
    assert_non_null(folder(m, "inbox")->cursor);
    cs_mailbox_free(m);
}

/* A calendar that is denied waits alone. */
/* contract: calendar.denied */
static void test_denied_calendar(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_due due;
    struct cs_feedback f;
    struct cs_status st;
    int64_t now = until(m, CS_JOB_CALENDAR_DELTA, T + 50000);

    (void)state;
    f = answer(m, CS_RETRY);
    f.fault = (struct cs_fault){
        .code = CS_CODE_MAILBOX_DENIED, .scope = CS_SCOPE_MAILBOX, .http_status = 403};
    apply(m, &f, now);
    assert_int_equal(m->parked, CS_CODE_NONE);
    assert_true(m->cal.retry_ms >= now + 60000);
    cs_status_of(m, &conf, CS_CODE_NONE, now, &st);
    assert_int_equal(st.state, CS_STATE_ON_TRACK);
    assert_non_null(strstr(st.advice, "Calendars.Read"));
    for (int64_t end = m->cal.retry_ms; now < end;) {
        cs_decide(m, &conf, now, &due);
        if (!due.now) {
            now = due.wake_ms;
            continue;
        }
        assert_int_not_equal(issue(m, now, &due), CS_JOB_CALENDAR_DELTA);
        if (due.type == CS_JOB_FOLDERS)
            list_folders(m, now, tree, N_TREE);
        else
            finish(m, now);
    }
    cs_mailbox_free(m);
}

/* A refused secret is told upwards, and undone for the whole tenant. */
static void test_refused_tenant(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_effect effect;
    struct cs_feedback f;
    int64_t now = until(m, CS_JOB_FOLDERS, T + 50000);

    (void)state;
    f = answer(m, CS_RETRY);
    f.fault = (struct cs_fault){
        .code = CS_CODE_CREDENTIALS_REFUSED, .scope = CS_SCOPE_TENANT, .http_status = 401};
    effect = apply(m, &f, now);
    assert_true(effect.tenant_refused);
    assert_int_equal(effect.code, CS_CODE_CREDENTIALS_REFUSED);
    cs_apply_tenant_works(m);
    assert_int_equal(m->parked, CS_CODE_NONE);
    assert_int_equal(m->retry_ms, CS_TIME_NONE);
    cs_mailbox_free(m);
}

/* Feedback nobody waits for changes nothing; a part of another generation neither. */
static void test_stale_feedback(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_feedback f;
    int64_t now = until(m, CS_JOB_MAIL_DELTA, T + 50000);

    (void)state;
    f = answer(m, CS_DONE);
    f.job_id[0] = 'f';
    assert_true(apply(m, &f, now).stale);
    assert_non_null(m->inflight);
    f = answer(m, CS_DONE);
    for (size_t i = 0; i < f.n_parts; i++) {
        f.parts[i].generation += 1;
        free(f.parts[i].cursor);
        f.parts[i].cursor = strdup("/v1.0/users/ann/wrong");
    }
    assert_false(apply(m, &f, now).stale);
    assert_string_equal(folder(m, "inbox")->cursor, "/v1.0/users/ann/c");
    assert_null(m->inflight);
    f = (struct cs_feedback){.type = CS_JOB_MAIL_DELTA};
    assert_true(apply(m, &f, now).stale);
    cs_mailbox_free(m);
}

/* A dead cursor sends a live folder through a comparison; an anchor, which has published nothing, begins again. */
/* contract: fact.08.dead_cursor mailbox.moved */
static void test_dead_cursors(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_feedback f;
    struct cs_due due;
    struct cs_job job;
    int64_t now = until(m, CS_JOB_MAIL_DELTA, T + 50000),
            generation = folder(m, "inbox")->generation;

    (void)state;
    assert_int_equal(cs_mailbox_count_resync_owed(m),
                     2); /* the proof of the backfill, for both folders */
    f = answer(m, CS_RESYNC);
    apply(m, &f, now);
    assert_int_equal(folder(m, "inbox")->phase, CS_STREAM_RESYNC_PENDING);
    assert_null(folder(m, "inbox")->cursor);
    assert_int_equal(folder(m, "inbox")->generation, generation);
    assert_int_equal(cs_mailbox_count_resync_owed(m), 2);
    now = until(m, CS_JOB_MAIL_RESYNC, now);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_int_equal(job.lane, CS_LANE_LIVE);
    assert_int_equal(job.n_parts, 2);
    assert_int_equal(job.parts[0].mode, CS_MODE_RESYNC);
    assert_null(job.parts[0].cursor);
    assert_int_equal(job.n_folders, 2);
    cs_job_clear(&job);
    /* a listing that did not come to its end: anew, and nothing of it is kept */
    f = answer(m, CS_MORE);
    apply(m, &f, now);
    assert_int_equal(issue(m, now, &due), CS_JOB_MAIL_RESYNC);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_null(job.parts[0].cursor);
    cs_job_clear(&job);
    /* more differences than one job may leave: at once, behind where it ended, with what its walk ended with */
    f = answer(m, CS_MORE);
    for (size_t i = 0; i < f.n_parts; i++)
        f.parts[i].after = 77;
    apply(m, &f, now);
    assert_int_equal(folder(m, "inbox")->phase, CS_STREAM_RESYNC_PENDING);
    assert_null(folder(m, "inbox")->cursor);
    assert_int_equal(issue(m, now, &due), CS_JOB_MAIL_RESYNC);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_string_equal(job.parts[0].cursor, "/v1.0/users/ann/c");
    assert_int_equal(job.parts[0].after, 77);
    cs_job_clear(&job);
    finish(m, now);
    assert_int_equal(folder(m, "inbox")->phase, CS_STREAM_LIVE);
    assert_string_equal(folder(m, "inbox")->cursor, "/v1.0/users/ann/c");
    assert_int_equal(folder(m, "inbox")->compare_after, 0);
    assert_null(folder(m, "inbox")->compare_cursor);
    assert_int_equal(folder(m, "inbox")->last_round_ms,
                     CS_TIME_NONE); /* it proves nothing about changes */
    assert_int_equal(cs_mailbox_count_resync_owed(m), 0);
    cs_mailbox_free(m);

    m = new_box();
    issue(m, T, &due);
    list_folders(m, T, tree, N_TREE);
    issue(m, T, &due);
    finish(m, T);
    issue(m, T, &due);
    f = answer(m, CS_RESYNC);
    apply(m, &f, T);
    assert_int_equal(m->phase, CS_BOX_ANCHOR);
    assert_int_equal(folder(m, "inbox")->phase, CS_STREAM_ANCHOR);
    assert_true(folder(m, "inbox")->retry_ms > T);
    cs_mailbox_free(m);
}

/* The proof of the backfill comes at the same times for all of a partition, and behind what is due live. */
static void test_the_proof_gathers(void **state)
{
    struct cs_mailbox *m = live_box();
    int64_t now = until(m, CS_JOB_MAIL_RESYNC, T);
    struct cs_job job;

    (void)state;
    assert_in_range(now, T + 1, T + conf.resync_gather_ms);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_int_equal(job.lane, CS_LANE_BACKFILL);
    assert_string_equal(job.reason, "proof");
    assert_int_equal(job.n_parts, 2);
    assert_null(job.parts[0].cursor);
    cs_job_clear(&job);
    finish(m, now);
    assert_int_equal(cs_mailbox_count_resync_owed(m), 0);
    assert_int_equal(folder(m, "inbox")->compared_ms, now);
    for (int32_t partition = 1; partition < 3; partition++) {
        int64_t first = 0;

        for (int k = 0; k < 3; k++) {
            struct cs_mailbox *other = live_box();
            int64_t when;

            other->partition = partition;
            when = until(other, CS_JOB_MAIL_RESYNC, T + k * 1000);
            assert_true(first == 0 ||
                        when - first < 1000 * 60); /* behind what was due live by then */
            first = first == 0 ? when : first;
            cs_mailbox_free(other);
        }
    }
    cs_mailbox_free(m);
}

/* A folder is compared now and then though nothing is known to be wrong; a difference makes it owed a resync. */
static void test_audits(void **state)
{
    struct cs_mailbox *m = live_box();
    int64_t now = until(m, CS_JOB_MAIL_RESYNC, T), audited;
    struct cs_feedback f;
    struct cs_job job;

    (void)state;
    finish(m, now); /* the proof */
    audited = until(m, CS_JOB_MAIL_RESYNC, now + 2 * conf.audit_every_ms);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_int_equal(job.lane, CS_LANE_AUDIT);
    assert_int_equal(job.parts[0].mode, CS_MODE_AUDIT);
    cs_job_clear(&job);
    f = answer(m, CS_DONE);
    for (size_t i = 0; i < f.n_parts; i++) {
        free(f.parts[i].cursor);
        f.parts[i].cursor = NULL;
    }
    f.parts[0].compared.extra = 1;
    apply(m, &f, audited);
    assert_string_equal(folder(m, "inbox")->cursor,
                        "/v1.0/users/ann/c"); /* an audit leaves it alone */
    assert_int_equal(cs_mailbox_count_resync_owed(m), 1);
    now = until(m, CS_JOB_MAIL_RESYNC, audited);
    assert_in_range(now, audited, audited + 2 * conf.resync_gather_ms);
    assert_int_equal(m->inflight->n_parts, 1);
    assert_int_equal(m->inflight->parts[0].mode, CS_MODE_RESYNC);
    cs_mailbox_free(m);
}

/* What was published of a folder that is gone is resolved; then its stream ends. */
static void test_a_folder_that_is_gone_ends(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_folder_found left[N_TREE];
    struct cs_feedback f;
    int64_t now;

    (void)state;
    memcpy(left, tree, sizeof(tree));
    left[1] = tree[0];
    left[1].id = TEXT("other");
    assert_int_equal(cs_folders_apply(m, left, N_TREE), 0); /* "proj" is not in the tree any more */
    now = T + 1000;
    while (issue(m, now, &(struct cs_due){0}) != CS_JOB_MAIL_RESYNC)
        finish(m, now);
    assert_int_equal(m->inflight->n_parts, 1);
    assert_int_equal(m->inflight->parts[0].mode, CS_MODE_GONE);
    f = answer(m, CS_DONE);
    apply(m, &f, now);
    assert_false(folder(m, "proj")->has_stream);
    assert_true(folder(m, "proj")->ended); /* its entry of the state topic is to be deleted */
    cs_mailbox_free(m);
}

/* Folders come and go: a late one publishes on its first walk, one that was out waits for a resync. */
static void test_folders_come_and_go(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_folder_found now_there[N_TREE + 1];
    int64_t generation;

    (void)state;
    memcpy(now_there, tree, sizeof(tree));
    now_there[N_TREE] = (struct cs_folder_found){.id = TEXT("late"), .name = TEXT("Late")};
    assert_int_equal(cs_folders_apply(m, now_there, N_TREE + 1), 0);
    assert_int_equal(folder(m, "late")->phase, CS_STREAM_FIRST);

    now_there[1].parent_id = TEXT("bin"); /* into the bin */
    generation = folder(m, "proj")->generation;
    assert_int_equal(cs_folders_apply(m, now_there, N_TREE + 1), 0);
    assert_int_equal(folder(m, "proj")->phase, CS_STREAM_GONE_PENDING);
    assert_false(folder(m, "proj")->in_scope);
    assert_string_equal(folder(m, "proj")->path, "Bin/A%2FB");
    now_there[1].parent_id = TEXT("inbox"); /* and back */
    assert_int_equal(cs_folders_apply(m, now_there, N_TREE + 1), 0);
    assert_int_equal(folder(m, "proj")->phase, CS_STREAM_RESYNC_PENDING);
    assert_int_equal(folder(m, "proj")->generation, generation + 2);

    now_there[3].parent_id = TEXT("inbox"); /* never in scope so far, but known */
    assert_int_equal(cs_folders_apply(m, now_there, N_TREE + 1), 0);
    assert_int_equal(folder(m, "old")->phase, CS_STREAM_RESYNC_PENDING);

    assert_int_equal(cs_folders_apply(m, now_there, N_TREE),
                     0); /* "late" is not in the tree any more */
    assert_int_equal(folder(m, "late")->phase, CS_STREAM_GONE_PENDING);
    assert_false(folder(m, "late")->known);
    now_there[0].parent_id = TEXT("proj"); /* a circle: neither is in scope, and it ends */
    assert_int_equal(cs_folders_apply(m, now_there, N_TREE), 0);
    assert_false(folder(m, "inbox")->in_scope);
    cs_mailbox_free(m);
}

/* A folder's 404 asks for the tree; where the tree keeps having it, the fifth one is believed. */
static void test_folder_that_is_gone(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_due due;
    int64_t now = T + 50000;
    int asked = 0;

    (void)state;
    for (int guard = 0; folder(m, "inbox")->phase == CS_STREAM_LIVE; guard++) {
        assert_in_range(guard, 0, 300);
        cs_decide(m, &conf, now, &due);
        if (!due.now) {
            now = due.wake_ms;
            continue;
        }
        if (issue(m, now, &due) == CS_JOB_FOLDERS) {
            list_folders(m, now, tree, N_TREE);
        } else if (due.type == CS_JOB_MAIL_DELTA) {
            struct cs_feedback f = answer(m, CS_DONE);

            for (size_t i = 0; i < f.n_parts; i++)
                if (strcmp(f.parts[i].stream, "mail:inbox") == 0) {
                    f.parts[i].outcome = f.outcome = CS_RETRY;
                    f.parts[i].fault =
                        (struct cs_fault){.code = CS_CODE_FOLDER_GONE, .scope = CS_SCOPE_STREAM};
                    asked++;
                }
            apply(m, &f, now);
            assert_int_equal(m->retry_ms, CS_TIME_NONE); /* the other folder goes on */
        } else {
            finish(m, now);
        }
    }
    assert_int_equal(folder(m, "inbox")->phase, CS_STREAM_GONE_PENDING);
    assert_int_equal(asked, 5);
    cs_mailbox_free(m);
}

/* A look waits for its time, a listing and a round of every live folder, begun after it. */
static void test_looks_wait(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_feedback f;
    int64_t now = until(m, CS_JOB_MAIL_DELTA, T + 50000), owed;
    struct cs_due due;
    bool rounds = false, listing = false;

    (void)state;
    f = answer(m, CS_DONE);
    f.left = calloc(1, sizeof(*f.left));
    f.n_left = 1;
    f.left[0] = (struct cs_look){.id = strdup("m-1"), .why = CS_WHY_LOOK, .seen = CS_SEEN_GONE};
    apply(m, &f, now);
    owed = now;
    for (;;) {
        cs_decide(m, &conf, now, &due);
        if (!due.now) {
            now = due.wake_ms;
            continue;
        }
        if (issue(m, now, &due) == CS_JOB_MAIL_ITEMS)
            break;
        if (due.type == CS_JOB_FOLDERS) {
            listing = true;
            list_folders(m, now, tree, N_TREE);
        } else {
            rounds = rounds || (due.type == CS_JOB_MAIL_DELTA && m->inflight->n_parts == 2);
            finish(m, now);
        }
    }
    assert_true(rounds);
    assert_true(listing);
    assert_true(now >= owed + conf.second_look_ms);
    assert_true(now <= owed + 2 * conf.second_look_ms); /* and not for ever */
    f = answer(m, CS_RETRY); /* the job fails: the look stays owed, as old as it was */
    f.fault = (struct cs_fault){.code = CS_CODE_NETWORK, .scope = CS_SCOPE_SERVICE};
    apply(m, &f, now);
    assert_int_equal(cs_mailbox_count_looks(m), 1);
    assert_int_equal(m->looks[0].at[0].owed_ms, owed);
    now = until(m, CS_JOB_MAIL_ITEMS, m->retry_ms);
    finish(m, now);
    assert_int_equal(cs_mailbox_count_looks(m), 0);
    cs_mailbox_free(m);
}

static struct cs_cal_row row_of(const char *id, const char *series)
{
    return (struct cs_cal_row){.id = TEXT(id),
                               .item_id = TEXT(id),
                               .series = TEXT(series),
                               .type = series != NULL ? 'o' : 's',
                               .start_utc_ms = T,
                               .end_utc_ms = T + 1000};
}

static enum cs_row_state state_of(const struct cs_mailbox *m, const char *id)
{
    for (size_t i = 0; i < m->cal.n_rows; i++)
        if (strcmp(m->cal.rows[i].row.item_id, id) == 0)
            return m->cal.rows[i].state;
    fail_msg("no row %s", id);
    return CS_ROW_OUT;
}

/* Rows are added and replaced; what vanished from its series or was removed is owed a look; settled goes. */
static void test_calendar_table(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_cal_row rows[] = {row_of("single", NULL), row_of("o1", "master"),
                                row_of("o2", "master"), row_of("o3", "master")};
    char *whole[] = {TEXT("master")}, *removed[] = {TEXT("single"), TEXT("never-seen")},
         *settled[] = {TEXT("o3")};
    struct cs_feedback f = {.rows = rows, .n_rows = 4};
    struct cs_job job;

    (void)state;
    assert_int_equal(cs_calendar_apply(&m->cal, &f, 0, false), 0);
    assert_int_equal(m->cal.n_rows, 4);
    f = (struct cs_feedback){.rows = rows + 1,
                             .n_rows = 1,
                             .series_whole = whole,
                             .n_series_whole = 1,
                             .removed = removed,
                             .n_removed = 2};
    assert_int_equal(cs_calendar_apply(&m->cal, &f, 0, false), 0);
    assert_int_equal(state_of(m, "single"), CS_ROW_OWED);
    assert_int_equal(state_of(m, "o1"), CS_ROW_OUT);
    assert_int_equal(state_of(m, "o2"), CS_ROW_OWED);
    assert_int_equal(state_of(m, "o3"), CS_ROW_OWED);
    /* they are carried at once */
    assert_int_equal(until(m, CS_JOB_CALENDAR_DELTA, T + 50000) > T, 1);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_int_equal(job.n_rows, 3);
    cs_job_clear(&job);
    f = answer(m, CS_DONE);
    f.settled = calloc(1, sizeof(*f.settled));
    f.settled[0] = strdup(settled[0]);
    f.n_settled = 1;
    apply(m, &f, T + 60000);
    assert_int_equal(m->cal.n_rows, 3);
    assert_int_equal(cs_calendar_count_owed(&m->cal), 0);
    assert_int_equal(state_of(m, "single"), CS_ROW_OUT); /* read, and still there */
    cs_mailbox_free(m);
}

/* Before the window runs out a new one begins: what slid out goes without a word, the rest is confirmed or looked at. */
/* contract: calendar.window_frozen */
static void test_calendar_window_rolls(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_cal_row rows[] = {row_of("past", NULL), row_of("told", NULL), row_of("silent", NULL)};
    struct cs_feedback f = {.rows = rows, .n_rows = 3};
    int64_t now = T + 40 * DAY, generation = m->cal.generation;
    struct cs_job job;
    struct cs_due due;

    (void)state;
    rows[0].start_utc_ms = T - 20 * DAY;
    rows[0].end_utc_ms = T - 20 * DAY + 1000;
    rows[1].start_utc_ms = rows[2].start_utc_ms = T + 50 * DAY;
    rows[1].end_utc_ms = rows[2].end_utc_ms = T + 50 * DAY + 1000;
    assert_int_equal(cs_calendar_apply(&m->cal, &f, 0, false), 0);
    assert_false(cs_calendar_must_roll(&m->cal, &tenant, T + 29 * DAY));
    assert_true(cs_calendar_must_roll(&m->cal, &tenant, now));
    if (issue(m, now, &due) == CS_JOB_FOLDERS) /* whatever is answered next */
        list_folders(m, now, tree, N_TREE);
    else
        finish(m, now);
    assert_int_equal(m->cal.phase, CS_STREAM_FIRST);
    assert_int_equal(m->cal.generation, generation + 1);
    assert_int_equal(m->cal.n_rows, 2);
    now = until(m, CS_JOB_CALENDAR_DELTA, now);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_int_equal(job.parts[0].mode, CS_MODE_FIRST);
    assert_null(job.parts[0].cursor);
    assert_true(job.parts[0].to_utc_ms > now + 364 * DAY);
    cs_job_clear(&job);
    f = answer(m, CS_DONE);
    f.rows = calloc(1, sizeof(*f.rows));
    assert_int_equal(cs_cal_row_copy(&rows[1], &f.rows[0]), 0);
    f.n_rows = 1;
    apply(m, &f, now);
    assert_int_equal(m->cal.phase, CS_STREAM_LIVE);
    assert_int_equal(state_of(m, "told"), CS_ROW_OUT);
    assert_int_equal(state_of(m, "silent"), CS_ROW_OWED);
    cs_mailbox_free(m);
}

/* Not configured: nothing is due; configured again it goes on, the depth as it was. */
static void test_left_out_of_the_configuration(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_tenant other = tenant;
    struct cs_status st;
    struct cs_due due;
    int64_t depth = m->depth_ms;

    (void)state;
    cs_mailbox_configure(m, NULL, T);
    cs_decide(m, &conf, T + DAY, &due);
    assert_false(due.now);
    assert_int_equal(due.wake_ms, CS_NEVER);
    cs_status_of(m, &conf, CS_CODE_NONE, T, &st);
    assert_int_equal(st.state, CS_STATE_PAUSED);
    other.backfill_days = 3;
    cs_mailbox_configure(m, &other, T + DAY);
    assert_int_equal(m->depth_ms, depth);
    cs_decide(m, &conf, T + DAY, &due);
    assert_true(due.now);
    cs_mailbox_free(m);
}

/* A job that was lost with its topic's oldest days is issued anew. */
static void test_lost_job(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_due due;
    int64_t now = until(m, CS_JOB_MAIL_DELTA, T + 50000);

    (void)state;
    cs_apply_lost(m, now + 9 * DAY);
    assert_null(m->inflight);
    cs_decide(m, &conf, now + 9 * DAY, &due);
    assert_true(due.now);
    cs_mailbox_free(m);
}

/* States of a status: by schedule, by code, and what is asked of people. */
/* contract: mailbox.all_of_them */
static void test_status(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_status st;

    (void)state;
    cs_status_of(m, &conf, CS_CODE_NONE, T + 1000, &st);
    assert_int_equal(st.state, CS_STATE_ON_TIME);
    assert_null(st.cause);
    cs_status_of(m, &conf, CS_CODE_NONE, T + 3 * 80000 + 1, &st);
    assert_int_equal(st.state, CS_STATE_DELAYED);
    assert_string_equal(st.cause, "service");
    cs_status_of(m, &conf, CS_CODE_CREDENTIALS_REFUSED, T, &st);
    assert_int_equal(st.state, CS_STATE_NEEDS_ADMIN);
    assert_string_equal(st.cause, "tenant");
    m->parked = CS_CODE_MAILBOX_DENIED;
    cs_status_of(m, &conf, CS_CODE_NONE, T, &st);
    assert_string_equal(st.cause, "mailbox");
    cs_status_of(m, &conf, CS_CODE_MAILBOX_DENIED, T, &st); /* and every other of its tenant */
    assert_int_equal(st.code, CS_CODE_MAILBOX_DENIED);
    assert_string_equal(st.cause, "tenant");
    assert_non_null(strstr(st.advice, "consent"));
    m->parked = CS_CODE_NONE;
    m->failures = 1;
    m->fault = (struct cs_fault){.code = CS_CODE_SERVICE_UNAVAILABLE, .scope = CS_SCOPE_SERVICE};
    cs_status_of(m, &conf, CS_CODE_NONE, T + 1000, &st);
    assert_int_equal(st.state, CS_STATE_ON_TRACK);
    assert_true(st.heals_itself);
    m->fault.code = CS_CODE_BAD_REQUEST;
    cs_status_of(m, &conf, CS_CODE_NONE, T + 1000, &st);
    assert_int_equal(st.state, CS_STATE_ERROR);
    assert_false(st.heals_itself);
    m->broken = true;
    cs_status_of(m, &conf, CS_CODE_NONE, T, &st);
    assert_int_equal(st.state, CS_STATE_ERROR);
    for (int c = 0; c < CS_CODE_COUNT_;
         c++) { /* every code that can hold a mailbox says what to do */
        m->broken = false;
        m->fault.code = (enum cs_code)c;
        cs_status_of(m, &conf, CS_CODE_NONE, T, &st);
        if (c != CS_CODE_NONE && c != CS_CODE_FOLDER_GONE && c != CS_CODE_ITEM_GONE &&
            c != CS_CODE_CURSOR_DEAD && c != CS_CODE_PAGE_TOO_LARGE && c != CS_CODE_EXPIRED)
            assert_non_null(st.advice);
    }
    cs_mailbox_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_sync),
        cmocka_unit_test(test_slices_cover_the_time),
        cmocka_unit_test(test_polling_adapts),
        cmocka_unit_test(test_polls_are_spread),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_throttled),
        cmocka_unit_test(test_half_throttled),
        cmocka_unit_test(test_denied_mailbox),
        cmocka_unit_test(test_denied_calendar),
        cmocka_unit_test(test_refused_tenant),
        cmocka_unit_test(test_stale_feedback),
        cmocka_unit_test(test_dead_cursors),
        cmocka_unit_test(test_the_proof_gathers),
        cmocka_unit_test(test_audits),
        cmocka_unit_test(test_a_folder_that_is_gone_ends),
        cmocka_unit_test(test_folders_come_and_go),
        cmocka_unit_test(test_folder_that_is_gone),
        cmocka_unit_test(test_looks_wait),
        cmocka_unit_test(test_calendar_table),
        cmocka_unit_test(test_calendar_window_rolls),
        cmocka_unit_test(test_left_out_of_the_configuration),
        cmocka_unit_test(test_lost_job),
        cmocka_unit_test(test_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
