/* common/command.c, producer/orders.c, producer/replay_plan.c: what is a command, what it changes, what a range stands for. */
#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/feedback.h"
#include "producer/apply.h"
#include "producer/decide.h"
#include "producer/orders.h"
#include "producer/replay_plan.h"
#include "producer/stream.h"

#define T INT64_C(1764000000000)

static const struct cs_tenant tenant = {.backfill_days = 30, .calendar_future_days = 10};
static const struct cs_schedule_conf conf = {.poll_min_ms = 3600000,
                                             .poll_max_ms = 3600000,
                                             .folders_interval_ms = 3600000,
                                             .retry_min_ms = 1000,
                                             .retry_max_ms = 60000,
                                             .slice_parts = 3,
                                             .delta_folders = 8,
                                             .second_look_ms = 30000,
                                             .resync_gather_ms = 3600000};

static void test_shape(void **state)
{
    static const struct {
        const char *text;
        const char *reason; /* NULL: is a command */
    } rows[] = {
        {"{\"command_id\":\"a\",\"type\":\"pause\"}", NULL},
        {"{\"command_id\":\"a\",\"type\":\"resync\",\"later\":1}", NULL},
        {"{\"command_id\":\"a\",\"type\":\"replay\",\"replay_id\":\"r\",\"seq\":1,\"slices\":[{}],"
         "\"items\":[\"x\"],\"calendar\":true}",
         NULL},
        {"[]", "not an object"},
        {"{}", "command_id"},
        {"{\"command_id\":\"a b\",\"type\":\"pause\"}", "command_id"},
        {"{\"command_id\":\"a\"}", "type"},
        {"{\"command_id\":\"a\",\"type\":\"destroy\"}", "type"},
        {"{\"command_id\":\"a\",\"type\":\"replay\"}", "replay_id"},
        {"{\"command_id\":\"a\",\"type\":\"replay_stop\",\"replay_id\":\"a/b\"}", "replay_id"},
        {"{\"command_id\":\"a\",\"type\":\"replay\",\"replay_id\":\"r\"}", "seq"},
        {"{\"command_id\":\"a\",\"type\":\"replay\",\"replay_id\":\"r\",\"seq\":1,\"slices\":[{"
         "\"from\":\"x\"}]}",
         "slices[].from"},
        {"{\"command_id\":\"a\",\"type\":\"replay\",\"replay_id\":\"r\",\"seq\":1,\"items\":[7]}",
         "items[]"},
        {"{\"command_id\":\"a\",\"type\":\"replay\",\"replay_id\":\"r\",\"seq\":1,\"items\":[\"\"]"
         "}",
         "items[]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cs_command c, again;
        struct cs_buf text;
        const char *reason = "";
        int r = cs_command_parse(rows[i].text, strlen(rows[i].text), &c, &reason);

        if (rows[i].reason != NULL) {
            assert_int_equal(r, -EINVAL);
            assert_string_equal(reason, rows[i].reason);
            continue;
        }
        assert_int_equal(r, 0);
        cs_buf_init(&text, 0);
        cs_command_print(&c, &text);
        assert_int_equal(cs_command_parse(text.data, text.len, &again, &reason), 0);
        assert_int_equal(again.type, c.type);
        assert_int_equal(again.n_slices, c.n_slices);
        assert_int_equal(again.n_items, c.n_items);
        assert_int_equal(again.calendar, c.calendar);
        cs_buf_clear(&text);
        cs_command_clear(&again);
        cs_command_clear(&c);
    }
}

static struct cs_mailbox *live_box(void)
{
    struct cs_mailbox *m = NULL;

    assert_int_equal(cs_mailbox_new("acme", "ann@contoso.example", 0, &m), 0);
    cs_mailbox_configure(m, &tenant, T);
    m->phase = CS_BOX_LIVE;
    m->last_listing_ms = T;
    m->listing_interval_ms = 3600000;
    m->cal.phase = CS_STREAM_LIVE;
    m->cal.generation = 1;
    m->cal.last_poll_ms = T;
    m->cal.interval_ms = 3600000;
    return m;
}

static void give(struct cs_mailbox *m, enum cs_command_type type, const char *id, int64_t seq,
                 size_t items)
{
    char names[3][8] = {"x1", "x2", "x3"}, *list[3] = {names[0], names[1], names[2]};
    struct cs_command_slice slices[] = {{T - 2000, T - 1000}, {CS_NEVER, T - 5000}};
    struct cs_command c = {.type = type, .seq = seq};
    static int n;

    snprintf(c.id, sizeof(c.id), "c%d", ++n);
    snprintf(c.replay_id, sizeof(c.replay_id), "%s", id);
    if (type == CS_COMMAND_REPLAY) {
        c.slices = slices;
        c.n_slices = 2;
        c.items = list;
        c.n_items = items;
        c.calendar = true;
    }
    assert_int_equal(cs_orders_take(m, &c, T), 0);
    assert_string_equal(m->command_id, c.id);
    assert_int_equal(cs_orders_take(m, &c, T), 0); /* the same again does nothing */
}

/* The job that is due now, put in flight; answered with this outcome. @return its type */
static enum cs_job_type turn(struct cs_mailbox *m, int64_t now_ms, enum cs_outcome outcome,
                             struct cs_job *job)
{
    struct cs_feedback f = {.outcome = outcome, .retry_after_ms = -1};
    struct cs_feedback_part parts[4] = {0};
    struct cs_effect effect;
    struct cs_due due;
    char slice_ids[4][16];
    enum cs_job_type type;

    cs_decide(m, &conf, now_ms, &due);
    if (!due.now)
        return CS_JOB_TYPE_COUNT_;
    assert_int_equal(due.lane, CS_LANE_REPLAY);
    assert_int_equal(
        cs_decide_issue(m, &conf, now_ms, &due, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d41"), 0);
    assert_int_equal(cs_decide_job(m, job), 0);
    type = job->type;
    f.type = type;
    memcpy(f.job_id, job->job_id, sizeof(f.job_id));
    f.parts = parts;
    f.n_parts = job->n_parts;
    for (size_t i = 0; i < job->n_parts; i++) {
        parts[i] = (struct cs_feedback_part){.stream = job->parts[i].stream,
                                             .generation = job->parts[i].generation,
                                             .outcome = outcome,
                                             .retry_after_ms = -1};
        if (job->parts[i].slice_id != NULL) {
            snprintf(slice_ids[i], sizeof(slice_ids[i]), "%s", job->parts[i].slice_id);
            parts[i].slice_id = slice_ids[i];
        }
        if (outcome == CS_RETRY)
            parts[i].fault =
                (struct cs_fault){.code = CS_CODE_PAGE_TOO_LARGE, .scope = CS_SCOPE_STREAM};
    }
    assert_int_equal(cs_apply_feedback(m, &conf, &f, now_ms, 7, &effect), 0);
    assert_false(effect.stale);
    return type;
}

static void test_a_replay_goes_scope_by_scope(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_job job;

    (void)state;
    give(m, CS_COMMAND_REPLAY, "r", 1, 3);
    assert_int_equal(m->n_replays, 1);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_MAIL_SLICE);
    assert_int_equal(job.n_parts, 2);
    assert_int_equal(job.parts[0].from_utc_ms, T - 2000);
    assert_int_equal(job.parts[1].from_utc_ms, CS_NEVER);
    cs_job_clear(&job);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_MAIL_ITEMS);
    assert_int_equal(job.n_items, 3);
    assert_int_equal(job.items[0].why, CS_WHY_LEFTOVER);
    cs_job_clear(&job);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_CALENDAR_DELTA);
    assert_null(job.parts[0].cursor);
    cs_job_clear(&job);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_TYPE_COUNT_);
    assert_int_equal(m->replays[0]->state, CS_REPLAY_DONE);
    assert_int_equal(m->replays[0]->jobs, 3);
    give(m, CS_COMMAND_REPLAY, "r", 1, 3); /* under another command id: the replay is known */
    assert_int_equal(m->n_replays, 1);
    cs_mailbox_free(m);
}

/* @return how the feedback of the job in flight left the replay */
static void answer(struct cs_mailbox *m, int64_t now_ms, enum cs_code code, enum cs_scope scope,
                   int64_t retry_after_ms)
{
    char stream[] = "slices", slice[] = "0";
    struct cs_feedback_part part = {.stream = stream,
                                    .slice_id = slice,
                                    .generation = 1,
                                    .outcome = CS_RETRY,
                                    .retry_after_ms = retry_after_ms,
                                    .fault = {.code = code, .scope = scope}};
    struct cs_feedback f = {.type = CS_JOB_MAIL_SLICE,
                            .outcome = CS_RETRY,
                            .retry_after_ms = -1,
                            .parts = &part,
                            .n_parts = 1};
    struct cs_effect effect;
    struct cs_due due;

    cs_decide(m, &conf, now_ms, &due);
    assert_true(due.now && due.lane == CS_LANE_REPLAY);
    assert_int_equal(
        cs_decide_issue(m, &conf, now_ms, &due, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43"), 0);
    memcpy(f.job_id, m->inflight->job_id, sizeof(f.job_id));
    assert_int_equal(cs_apply_feedback(m, &conf, &f, now_ms, 7, &effect), 0);
}

static void test_failures_without_end_have_one(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_job job;
    int64_t now_ms = T;

    (void)state;
    give(m, CS_COMMAND_REPLAY, "r", 1, 0);
    for (int i = 1; i <= CS_REPLAY_TRIES; i++) {
        assert_int_equal(m->replays[0]->state, CS_REPLAY_RUNNING);
        answer(m, now_ms, CS_CODE_PAGE_TOO_LARGE, CS_SCOPE_STREAM, -1);
        assert_int_equal(m->replays[0]->failures, i);
        now_ms = m->replays[0]->retry_ms;
        m->last_listing_ms = m->cal.last_poll_ms = now_ms; /* nothing else is due */
    }
    assert_int_equal(m->replays[0]->state, CS_REPLAY_STOPPED);
    assert_int_equal(m->replays[0]->code, CS_CODE_PAGE_TOO_LARGE);
    assert_int_equal(turn(m, now_ms, CS_DONE, &job), CS_JOB_TYPE_COUNT_);
    give(m, CS_COMMAND_REPLAY_RESUME, "r", 0, 0);
    assert_int_equal(turn(m, now_ms, CS_DONE, &job), CS_JOB_MAIL_SLICE);
    cs_job_clear(&job);
    cs_mailbox_free(m);
}

static void test_a_mailbox_that_waits_is_no_failure_of_its_replay(void **state)
{
    struct cs_mailbox *m = live_box();

    (void)state;
    give(m, CS_COMMAND_REPLAY, "r", 1, 0);
    answer(m, T, CS_CODE_THROTTLED, CS_SCOPE_MAILBOX, 5000);
    assert_int_equal(m->replays[0]->failures, 0);
    assert_true(m->retry_ms >= T + 5000);
    cs_mailbox_free(m);
    m = live_box();
    give(m, CS_COMMAND_REPLAY, "r", 1, 0);
    answer(m, T, CS_CODE_PAGE_TOO_LARGE, CS_SCOPE_STREAM, 50000); /* its own wait, as asked for */
    assert_int_equal(m->retry_ms, CS_TIME_NONE);
    assert_int_equal(m->replays[0]->retry_ms, T + 50000);
    cs_mailbox_free(m);
}

static void test_a_failure_waits_and_harms_nothing_else(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_job job;
    struct cs_due due;

    (void)state;
    give(m, CS_COMMAND_REPLAY, "r", 1, 0);
    assert_int_equal(turn(m, T, CS_RETRY, &job), CS_JOB_MAIL_SLICE);
    cs_job_clear(&job);
    assert_int_equal(m->replays[0]->failures, 1);
    assert_int_equal(m->replays[0]->code, CS_CODE_PAGE_TOO_LARGE);
    assert_int_equal(m->retry_ms, CS_TIME_NONE); /* the mailbox goes on */
    cs_decide(m, &conf, T, &due);
    assert_false(due.now);
    assert_true(due.wake_ms > T && due.wake_ms < T + 60000);
    assert_int_equal(turn(m, T + 60000, CS_DONE, &job), CS_JOB_MAIL_SLICE);
    cs_job_clear(&job);
    assert_int_equal(m->replays[0]->failures, 0);
    cs_mailbox_free(m);
}

static void test_stopped_and_paused(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_job job;

    (void)state;
    give(m, CS_COMMAND_REPLAY, "r", 1, 3);
    give(m, CS_COMMAND_REPLAY_STOP, "r", 0, 0);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_TYPE_COUNT_);
    give(m, CS_COMMAND_REPLAY_RESUME, "other", 0, 0);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_TYPE_COUNT_);
    give(m, CS_COMMAND_REPLAY_RESUME, "r", 0, 0);
    give(m, CS_COMMAND_PAUSE, "", 0, 0);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_TYPE_COUNT_);
    give(m, CS_COMMAND_RESUME, "", 0, 0);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_MAIL_SLICE);
    cs_job_clear(&job);
    cs_mailbox_free(m);
}

/* One more than a message may hold. */
static void test_messages_are_bounded(void **state)
{
    static const struct {
        const char *list, *element;
        int max;
    } rows[] = {{"slices", "{}", CS_COMMAND_SLICES_MAX}, {"items", "\"x\"", CS_COMMAND_ITEMS_MAX}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int more = 0; more <= 1; more++) {
            struct cs_command c;
            struct cs_buf text;
            const char *reason = "";
            int r;

            cs_buf_init(&text, 0);
            cs_buf_addf(&text,
                        "{\"command_id\":\"a\",\"type\":\"replay\",\"replay_id\":\"r\",\"seq\":1,"
                        "\"%s\":[%s",
                        rows[i].list, rows[i].element);
            for (int k = 1; k < rows[i].max + more; k++)
                cs_buf_addf(&text, ",%s", rows[i].element);
            cs_buf_adds(&text, "]}");
            assert_int_equal(cs_buf_failed(&text), 0);
            r = cs_command_parse(text.data, text.len, &c, &reason);
            assert_int_equal(r, more ? -EINVAL : 0);
            if (r == 0)
                cs_command_clear(&c);
            else
                assert_string_equal(reason, rows[i].list);
            cs_buf_clear(&text);
        }
}

static void test_replays_are_bounded(void **state)
{
    struct cs_mailbox *m = live_box();
    struct cs_command c = {.type = CS_COMMAND_REPLAY, .calendar = true};

    (void)state;
    memcpy(c.replay_id, "r", 2);
    for (c.seq = 1; c.seq <= CS_REPLAYS_MAX; c.seq++) {
        snprintf(c.id, sizeof(c.id), "c%d", (int)c.seq);
        assert_int_equal(cs_orders_take(m, &c, T), 0);
    }
    snprintf(c.id, sizeof(c.id), "one more");
    assert_int_equal(cs_orders_take(m, &c, T), -E2BIG);
    assert_string_not_equal(m->command_id, "one more");
    cs_mailbox_free(m);
}

/* --- the state topic --- */

struct entries {
    char *names[16], *values[16];
    size_t n;
};

static int keep(void *user, const char *stream, const char *value, size_t len)
{
    struct entries *e = user;

    assert_true(e->n < 16);
    e->names[e->n] = strdup(stream);
    e->values[e->n++] = value != NULL ? strndup(value, len) : NULL;
    return 0;
}

static void test_it_survives_a_restart(void **state)
{
    struct cs_mailbox *m = live_box(), *again = NULL;
    struct entries e = {0};
    struct cs_due due;
    struct cs_job job, same;
    const char *reason = "";

    (void)state;
    give(m, CS_COMMAND_REPLAY, "r", 1, 3);
    assert_int_equal(turn(m, T, CS_DONE, &job), CS_JOB_MAIL_SLICE);
    cs_job_clear(&job);
    cs_decide(m, &conf, T, &due);
    assert_int_equal(cs_decide_issue(m, &conf, T, &due, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42"), 0);
    m->dirty = m->cal.dirty = true;
    assert_int_equal(cs_stream_flush(m, keep, &e), 0);
    assert_false(cs_stream_is_dirty(m));
    assert_int_equal(cs_mailbox_new("acme", "ann@contoso.example", 0, &again), 0);
    for (size_t i = 0; i < e.n; i++) {
        if (e.values[i] != NULL)
            assert_int_equal(cs_stream_load(again, e.names[i], strlen(e.names[i]), e.values[i],
                                            strlen(e.values[i]), &reason),
                             0);
        free(e.names[i]);
        free(e.values[i]);
    }
    assert_int_equal(cs_stream_loaded(again, &reason), 0);
    assert_int_equal(again->n_replays, 1);
    assert_string_equal(again->command_id, m->command_id);
    assert_int_equal(cs_decide_job(m, &job), 0);
    assert_int_equal(cs_decide_job(again, &same), 0);
    assert_int_equal(same.type, CS_JOB_MAIL_ITEMS);
    assert_int_equal(same.n_items, job.n_items);
    assert_string_equal(same.items[2].id, job.items[2].id);
    cs_job_clear(&job);
    cs_job_clear(&same);
    cs_mailbox_free(m);
    cs_mailbox_free(again);
}

/* --- the plan --- */

static void test_slices_are_joined(void **state)
{
    static const struct {
        struct cs_command_slice in[4], out[4];
        size_t n, left;
    } rows[] = {
        {{{1, 5}}, {{1, 5}}, 1, 1},
        {{{1, 5}, {7, 9}}, {{7, 9}, {1, 5}}, 2, 2},
        {{{1, 5}, {5, 9}}, {{1, 9}}, 2, 1},
        {{{1, 9}, {2, 3}, {8, 12}}, {{1, 12}}, 3, 1},
        {{{5, CS_NEVER}, {CS_NEVER, 3}}, {{5, CS_NEVER}, {CS_NEVER, 3}}, 2, 2},
        {{{5, CS_NEVER}, {CS_NEVER, 6}, {7, 8}}, {{CS_NEVER, CS_NEVER}}, 3, 1},
    };

    (void)state;
    assert_int_equal(cs_plan_join(NULL, 0), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cs_command_slice s[4];

        memcpy(s, rows[i].in, sizeof(s));
        assert_int_equal(cs_plan_join(s, rows[i].n), rows[i].left);
        for (size_t k = 0; k < rows[i].left; k++) {
            assert_int_equal(s[k].from_ms, rows[i].out[k].from_ms);
            assert_int_equal(s[k].to_ms, rows[i].out[k].to_ms);
        }
    }
}

static void feed(int (*fn)(struct cs_plan *, const struct cs_kafka_msg *), struct cs_plan *p,
                 const char *text)
{
    const struct cs_kafka_msg msg = {.value = text, .value_len = strlen(text)};

    assert_int_equal(fn(p, &msg), 0);
}

#define JOB(id, type, lane, more)                                                 \
    "{\"job_id\":\"01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d" id "\",\"type\":\"" type   \
    "\",\"tenant\":\"acme\",\"mailbox\":\"ann@contoso.example\",\"lane\":\"" lane \
    "\",\"attempt\":1,\"reason\":\"poll\",\"created_at\":\"2026-11-25T08:00:00.000Z\"," more "}"
#define DELTA                                                                                  \
    "\"parts\":[{\"stream\":\"mail:f\",\"generation\":1,\"mode\":\"live\",\"folder\":{\"id\":" \
    "\"f\"}}],\"depth\":\"2026-01-01T00:00:00.000Z\""

static void test_what_a_range_stands_for(void **state)
{
    struct cs_plan p = {
        .filter = {.mail = true, .events = true}, .first_ms = CS_NEVER, .last_ms = INT64_MIN};
    const struct cs_plan_box *box;

    (void)state;
    feed(cs_plan_job, &p, JOB("41", "mail.delta", "live", DELTA));
    feed(cs_plan_job, &p, JOB("42", "mail.delta", "live", DELTA));
    feed(cs_plan_job, &p, JOB("43", "folders", "live", "\"depth\":null"));
    feed(cs_plan_job, &p, JOB("44", "mail.delta", "replay", DELTA));
    feed(cs_plan_job, &p, "{");
    assert_int_equal(p.n_item_jobs, 2);
    assert_int_equal(p.n_unreadable, 1);
    feed(cs_plan_feedback, &p,
         "{\"job_id\":\"01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d41\",\"type\":\"mail.delta\",\"tenant\":"
         "\"acme\",\"mailbox\":"
         "\"ann@contoso.example\",\"lane\":\"live\",\"attempt\":1,\"outcome\":\"done\",\"counts\":{"
         "\"upserts\":1,\"deletes\":1},"
         "\"started_at\":\"2026-11-25T08:00:00.000Z\",\"finished_at\":\"2026-11-25T08:00:00."
         "000Z\"}");
    feed(cs_plan_record, &p,
         "{\"job_id\":\"01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d41\",\"kind\":\"email\",\"graph_id\":"
         "\"a\"}");
    feed(cs_plan_record, &p,
         "{\"job_id\":\"01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d49\",\"kind\":\"email\",\"graph_id\":"
         "\"z\"}");
    feed(cs_plan_record, &p, "no JSON");
    assert_int_equal(cs_plan_finish(&p), 0);
    box = cs_strmap_get(&p.boxes, "acme/ann@contoso.example", 24);
    assert_non_null(box);
    /* one of two records of the first job is not there any more: the mailbox to its depth, besides the one that is */
    assert_int_equal(p.n_gone, 1);
    assert_int_equal(box->items.n, 1);
    assert_int_equal(box->n_slices, 1);
    assert_int_equal(box->slices[0].to_ms, CS_NEVER);
    assert_true(box->slices[0].from_ms != CS_NEVER);
    assert_false(box->calendar);
    cs_plan_drop(&p, cs_strmap_get(&p.boxes, "acme/ann@contoso.example", 24));
    assert_int_equal(p.boxes.n, 0);
    assert_int_equal(p.n_slices + p.n_items + p.n_calendars, 0);
    cs_plan_clear(&p);
}

/* A job whose feedback is not there any more may have published anything; one that is new has not been answered yet. */
static void test_feedback_that_is_lost_is_no_nothing(void **state)
{
    const int64_t created_ms = INT64_C(1795593600000); /* 2026-11-25T08:00:00Z, as in JOB() */

    (void)state;
    for (int late = 0; late <= 1; late++) {
        struct cs_plan p = {.filter = {.mail = true},
                            .first_ms = CS_NEVER,
                            .last_ms = INT64_MIN,
                            .answered_before_ms = created_ms + late};

        feed(cs_plan_job, &p, JOB("41", "mail.delta", "live", DELTA));
        assert_int_equal(cs_plan_finish(&p), 0);
        assert_int_equal(p.n_gone, late);
        assert_int_equal(p.n_slices, late);
        cs_plan_clear(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_a_replay_goes_scope_by_scope),
        cmocka_unit_test(test_a_failure_waits_and_harms_nothing_else),
        cmocka_unit_test(test_stopped_and_paused),
        cmocka_unit_test(test_failures_without_end_have_one),
        cmocka_unit_test(test_a_mailbox_that_waits_is_no_failure_of_its_replay),
        cmocka_unit_test(test_messages_are_bounded),
        cmocka_unit_test(test_replays_are_bounded),
        cmocka_unit_test(test_it_survives_a_restart),
        cmocka_unit_test(test_slices_are_joined),
        cmocka_unit_test(test_what_a_range_stands_for),
        cmocka_unit_test(test_feedback_that_is_lost_is_no_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
