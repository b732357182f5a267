/* common/outbox.c, producer/sends.c: what is a request, what can never be sent, and the order of its steps. */
#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/sends.h"
#include "producer/stream.h"

#define T INT64_C(1764000000000)

static const struct cs_tenant tenant = {.backfill_days = 30, .calendar_future_days = 10};
static const struct cs_schedule_conf conf = {.retry_min_ms = 1000,
                                             .retry_max_ms = 60000,
                                             .send_look_ms = 30000,
                                             .send_quota_wait_ms = 3600000,
                                             .send_sweep_ms = 600000};

/* ---- requests ----------------------------------------------------------------------------------------------- */

static int parse(const char *text, struct cs_outbox *ret, const char **reason)
{
    struct cs_json *doc = NULL;
    int r = cs_json_parse(text, strlen(text), &doc, reason);

    if (r == 0)
        r = cs_outbox_parse(cs_json_root(doc), ret, reason);
    cs_json_free(doc);
    return r;
}

static void test_shape(void **state)
{
    static const struct {
        const char *text;
        const char *reason; /* NULL: is a request */
    } rows[] = {
        {"{\"request_id\":\"a\"}", NULL},
        {"{\"request_id\":\"a\",\"to\":[{\"address\":\"x@y.example\"}],\"later\":1}", NULL},
        {"[]", "not an object"},
        {"{}", "request_id"},
        {"{\"request_id\":\"\"}", "request_id"},
        {"{\"request_id\":\"a b\"}", "request_id"},
        {"{\"request_id\":\"a/b\"}", "request_id"},
        {"{\"request_id\":7}", "request_id"},
        {"{\"request_id\":\"a\",\"to\":{}}", "to"},
        {"{\"request_id\":\"a\",\"to\":[{\"name\":\"x\"}]}", "address"},
        {"{\"request_id\":\"a\",\"body\":{\"type\":\"rtf\",\"content\":\"\"}}", "body.type"},
        {"{\"request_id\":\"a\",\"answers\":{\"how\":\"reply\"}}", "answers.graph_id"},
        {"{\"request_id\":\"a\",\"attachments\":[{\"name\":\"x\"}]}", "attachments[].content"},
        {"{\"request_id\":\"a\",\"not_after\":\"tomorrow\"}", "not_after"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cs_outbox o;
        const char *reason = "";
        int r = parse(rows[i].text, &o, &reason);

        if (rows[i].reason == NULL) {
            assert_int_equal(r, 0);
            cs_outbox_clear(&o);
        } else {
            assert_int_equal(r, -EINVAL);
            assert_string_equal(reason, rows[i].reason);
        }
    }
}

static void test_refusals(void **state)
{
    static const struct {
        const char *members;
        const char *reason; /* NULL: can be sent */
    } rows[] = {
        {"\"to\":[{\"address\":\"x@y.example\"}]", NULL},
        {"\"bcc\":[{\"address\":\"x+tag@y.example\"}]", NULL},
        {"\"subject\":\"x\"", "no_recipient"},
        {"\"answers\":{\"how\":\"reply\",\"graph_id\":\"A\"}", NULL},
        {"\"answers\":{\"how\":\"forward\",\"graph_id\":\"A\"}", "no_recipient"},
        {"\"to\":[{\"address\":\"x\"}]", "bad_address"},
        {"\"to\":[{\"address\":\"@y.example\"}]", "bad_address"},
        {"\"to\":[{\"address\":\"x@\"}]", "bad_address"},
        {"\"to\":[{\"address\":\"a@b@c\"}]", "bad_address"},
        {"\"to\":[{\"address\":\"x@y.example\\r\\nBcc: z@y.example\"}]", "bad_address"},
        {"\"to\":[{\"address\":\"x@y.example, z@y.example\"}]", "bad_address"},
        {"\"to\":[{\"address\":\"x@y.example\"}],\"reply_to\":[{\"address\":\"no\"}]",
         "bad_address"},
        {"\"to\":[{\"address\":\"x@y.example\"}],\"attachments\":[{\"name\":\"a\",\"content\":"
         "\"QUI=\"}]",
         NULL},
        {"\"to\":[{\"address\":\"x@y.example\"}],\"attachments\":[{\"name\":\"a\",\"content\":"
         "\"QUI\"}]",
         "bad_attachment"},
        {"\"to\":[{\"address\":\"x@y.example\"}],\"attachments\":[{\"name\":\"a\",\"content\":"
         "\"Q=I=\"}]",
         "bad_attachment"},
        {"\"to\":[{\"address\":\"x@y.example\"}],\"not_after\":\"2020-01-01T00:00:00Z\"",
         "expired"},
        {"\"to\":[{\"address\":\"x@y.example\"}],\"not_after\":\"2040-01-01T00:00:00Z\"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[1024];
        struct cs_outbox o;
        const char *reason = NULL, *got;

        snprintf(text, sizeof(text), "{\"request_id\":\"a\",%s}", rows[i].members);
        assert_int_equal(parse(text, &o, &reason), 0);
        got = cs_outbox_refusal(&o, T);
        if (rows[i].reason == NULL)
            assert_null(got);
        else
            assert_string_equal(got, rows[i].reason);
        cs_outbox_clear(&o);
    }
}

static void test_recipients_are_counted_over_all_roles(void **state)
{
    struct cs_buf text;

    (void)state;
    for (int n = 499; n <= 501; n++) {
        struct cs_outbox o;
        const char *reason = NULL, *got;

        cs_buf_init(&text, 0);
        cs_buf_adds(&text, "{\"request_id\":\"a\",\"cc\":[{\"address\":\"c@y.example\"}],\"to\":[");
        for (int i = 1; i < n; i++)
            cs_buf_addf(&text, "%s{\"address\":\"p%d@y.example\"}", i > 1 ? "," : "", i);
        cs_buf_adds(&text, "]}");
        assert_int_equal(parse(text.data, &o, &reason), 0);
        got = cs_outbox_refusal(&o, T);
        if (n <= CS_RECIPIENTS_MAX)
            assert_null(got);
        else
            assert_string_equal(got, "too_many_recipients");
        cs_outbox_clear(&o);
        cs_buf_clear(&text);
    }
}

/* ---- steps -------------------------------------------------------------------------------------------------- */

#define REQUEST "{\"request_id\":\"r1\",\"to\":[{\"address\":\"x@y.example\"}]}"

static struct cs_mailbox *box(void)
{
    struct cs_mailbox *m = NULL;

    assert_int_equal(cs_mailbox_new("acme", "ann@contoso.example", 3, &m), 0);
    cs_mailbox_configure(m, &tenant, T);
    return m;
}

static void take(struct cs_mailbox *m, const char *id, int64_t now_ms)
{
    assert_int_equal(cs_sends_take(m, id, CS_NEVER, NULL, REQUEST, strlen(REQUEST), now_ms), 0);
}

/* What is due at a time, put in flight. */
static enum cs_send_step issue(struct cs_mailbox *m, int64_t now_ms, const char *job_id)
{
    struct cs_send_due due;

    cs_sends_due(m->sends, now_ms, &due);
    assert_true(due.now);
    cs_sends_issue(m->sends, &due, job_id, now_ms);
    return due.step;
}

static int answer_with(struct cs_mailbox *m, const char *job_id, enum cs_send_state what,
                       const char *draft, const char *version, const char *service_code,
                       int64_t retry_after_ms, int64_t now_ms)
{
    struct cs_feedback f = {.type = CS_JOB_MAIL_SEND,
                            .outcome = what == CS_SENT_DONE      ? CS_DONE
                                       : what == CS_SENT_DRAFTED ? CS_MORE
                                                                 : CS_RETRY,
                            .retry_after_ms = retry_after_ms};

    snprintf(f.job_id, sizeof(f.job_id), "%s", job_id);
    f.send.state = what;
    f.send.draft_id = draft != NULL ? strdup(draft) : NULL;
    f.send.change_key = version != NULL ? strdup(version) : NULL;
    if (service_code != NULL) {
        f.fault.code = CS_CODE_THROTTLED;
        snprintf(f.fault.service_code, sizeof(f.fault.service_code), "%s", service_code);
    }
    int r = cs_sends_apply(m->sends, &conf, &f, now_ms, 1);
    free(f.send.draft_id);
    free(f.send.change_key);
    return r;
}

static int answer(struct cs_mailbox *m, const char *job_id, enum cs_send_state what,
                  const char *draft, const char *version, int64_t now_ms)
{
    return answer_with(m, job_id, what, draft, version, NULL, -1, now_ms);
}

static bool is_due(struct cs_mailbox *m, int64_t now_ms, int64_t *when)
{
    struct cs_send_due due;

    cs_sends_due(m->sends, now_ms, &due);
    *when = due.due_ms;
    return due.now;
}

static int keep_last(void *user, const char *stream, const char *value, size_t len)
{
    struct cs_mailbox *copy = user;
    const char *reason = NULL;

    if (value != NULL && (strncmp(stream, "send", 4) == 0 || strcmp(stream, "folders") == 0))
        assert_int_equal(cs_stream_load(copy, stream, strlen(stream), value, len, &reason), 0);
    return 0;
}

/* Written to the state topic and read back by another process. */
static struct cs_mailbox *reborn(struct cs_mailbox *m)
{
    struct cs_mailbox *copy = NULL;
    const char *reason = NULL;

    /* everything is written anew, as it stands in a compacted topic */
    m->dirty = true;
    if (m->sends != NULL) {
        struct cs_send *d;
        size_t i = 0;

        m->sends->dirty = m->sends->some_dirty = true;
        while ((d = cs_strmap_next(&m->sends->by_id, &i, NULL)) != NULL)
            d->dirty = true;
    }
    assert_int_equal(cs_mailbox_new("acme", "ann@contoso.example", 3, &copy), 0);
    assert_int_equal(cs_stream_flush(m, keep_last, copy), 0);
    assert_int_equal(cs_stream_loaded(copy, &reason), 0);
    cs_mailbox_configure(copy, &tenant, T);
    cs_mailbox_free(m);
    return copy;
}

static void test_two_steps(void **state)
{
    struct cs_mailbox *m = box();
    struct cs_job job;
    int64_t when;

    (void)state;
    take(m, "r1", T);
    assert_int_equal(cs_sends_take(m, "r1", CS_NEVER, NULL, REQUEST, strlen(REQUEST), T), -EEXIST);
    assert_int_equal(issue(m, T, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43"), CS_SEND_DRAFT);
    assert_false(is_due(m, T + 1, &when)); /* one at a time */
    assert_int_equal(cs_sends_job(m->sends, &job), 0);
    assert_string_equal(job.send->request, REQUEST);
    assert_string_equal(job.parts[0].stream, "send:r1");
    cs_job_clear(&job);
    assert_int_equal(answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d44", CS_SENT_DONE, NULL, NULL, T),
                     -ENOENT); /* another's */
    m = reborn(m);
    assert_int_equal(
        answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43", CS_SENT_DRAFTED, "D", "V1", T + 50), 0);
    assert_int_equal(m->sends->bytes, 0); /* the request itself is not needed any more */
    m = reborn(m);
    assert_int_equal(issue(m, T + 50, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d45"), CS_SEND_SEND);
    assert_int_equal(cs_sends_job(m->sends, &job), 0);
    assert_string_equal(job.send->draft_id, "D");
    assert_string_equal(job.send->change_key, "V1");
    assert_null(job.send->request);
    cs_job_clear(&job);
    assert_int_equal(
        answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d45", CS_SENT_DONE, NULL, NULL, T + 99), 0);
    m = reborn(m);
    assert_int_equal(cs_sends_count_pending(m), 0);
    assert_int_equal(cs_sends_take(m, "r1", CS_NEVER, NULL, REQUEST, strlen(REQUEST), T + 100),
                     -EEXIST); /* it counts once, restart or not */
    /* the sweep, then nothing until the id is forgotten */
    assert_false(is_due(m, T + 99, &when));
    assert_int_equal(when, T + 99 + conf.send_sweep_ms);
    assert_int_equal(issue(m, when, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d46"), CS_SEND_SWEEP);
    assert_int_equal(
        answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d46", CS_SENT_SWEPT, NULL, NULL, when + 5), 0);
    assert_false(is_due(m, when + 5, &when));
    assert_int_equal(when, T + 99 + CS_OUTBOX_DAYS * INT64_C(86400000));
    assert_false(is_due(m, when, &when));
    m = reborn(m);
    take(m, "r1", when);
    cs_mailbox_free(m);
}

/* After each end of a step: which step comes next, and when. */
static void test_what_follows(void **state)
{
    static const struct {
        enum cs_send_phase before;
        enum cs_send_state end;
        int64_t retry_after_ms;
        enum cs_send_step next;
        int64_t wait_ms; /* -1: a back-off */
    } rows[] = {
        {CS_SENDING_QUEUED, CS_SENT_NOTHING, -1, CS_SEND_DRAFT, -1},
        {CS_SENDING_QUEUED, CS_SENT_NOTHING, 7000, CS_SEND_DRAFT, 7000},
        {CS_SENDING_QUEUED, CS_SENT_DRAFTED, -1, CS_SEND_SEND, 0},
        {CS_SENDING_DRAFTED, CS_SENT_NOTHING, 5000, CS_SEND_SEND, 5000},
        {CS_SENDING_DRAFTED, CS_SENT_CLAIMED, 9000, CS_SEND_SEND, 9000},
        {CS_SENDING_DRAFTED, CS_SENT_UNCERTAIN, -1, CS_SEND_LOOK, 30000},
        {CS_SENDING_DRAFTED, CS_SENT_MISSING, -1, CS_SEND_LOOK, 30000},
        {CS_SENDING_LOOK, CS_SENT_NOTHING, 5000, CS_SEND_LOOK, 5000},
        {CS_SENDING_LOOK, CS_SENT_CLAIMED, 5000, CS_SEND_SEND, 5000},
        {CS_SENDING_LOOK, CS_SENT_UNCERTAIN, -1, CS_SEND_LOOK, 30000},
        {CS_SENDING_LOOK, CS_SENT_MISSING, -1, CS_SEND_LOOK, 30000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cs_mailbox *m = box();
        int64_t when;

        take(m, "r1", T);
        m->sends->pending[0]->phase = rows[i].before;
        m->sends->pending[0]->draft_id = strdup("D");
        m->sends->pending[0]->change_key = strdup("V1");
        (void)issue(m, T, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43");
        assert_int_equal(answer_with(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43", rows[i].end, "D",
                                     "V2", NULL, rows[i].retry_after_ms, T),
                         0);
        if (rows[i].wait_ms == 0) {
            assert_true(is_due(m, T, &when));
        } else {
            assert_false(is_due(m, T, &when));
            assert_true(when > T);
            if (rows[i].wait_ms > 0)
                assert_int_equal(when, T + rows[i].wait_ms);
            assert_false(is_due(m, when - 1, &when));
        }
        assert_int_equal(issue(m, when, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d44"), rows[i].next);
        assert_string_equal(m->sends->pending[0]->change_key, "V2");
        assert_int_equal(m->sends->pending[0]->looks, rows[i].end == CS_SENT_MISSING);
        cs_mailbox_free(m);
    }
}

/* What was made just before a sweep cannot be found by it. */
static void test_the_last_sweep_comes_long_after_the_last_end(void **state)
{
    struct cs_mailbox *m = box();
    int64_t when;

    (void)state;
    for (int i = 0; i < 2; i++) {
        char id[16];

        snprintf(id, sizeof(id), "r%d", i);
        take(m, id, T + i * 599999);
        (void)issue(m, T + i * 599999, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43");
        assert_int_equal(answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43", CS_SENT_DONE, NULL, NULL,
                                T + i * 599999),
                         0);
    }
    assert_int_equal(issue(m, T + 600000, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d44"), CS_SEND_SWEEP);
    assert_int_equal(
        answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d44", CS_SENT_SWEPT, NULL, NULL, T + 600001),
        0);
    assert_false(is_due(m, T + 600001, &when));
    assert_int_equal(when, T + 599999 + conf.send_sweep_ms);
    m = reborn(m);
    assert_int_equal(issue(m, when, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d45"), CS_SEND_SWEEP);
    assert_int_equal(
        answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d45", CS_SENT_SWEPT, NULL, NULL, when + 1), 0);
    assert_int_equal(m->sends->sweep_ms, CS_TIME_NONE);
    cs_mailbox_free(m);
}

static void test_a_lost_job_is_looked_at(void **state)
{
    struct cs_mailbox *m = box();

    (void)state;
    take(m, "r1", T);
    (void)issue(m, T, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43");
    cs_sends_lost(m->sends, T + 1);
    assert_int_equal(issue(m, T + 1, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d44"), CS_SEND_DRAFT);
    assert_int_equal(
        answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d44", CS_SENT_DRAFTED, "D", "V1", T + 2), 0);
    (void)issue(m, T + 2, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d45");
    cs_sends_lost(m->sends, T + 3);
    assert_int_equal(issue(m, T + 3, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d46"), CS_SEND_LOOK);
    cs_mailbox_free(m);
}

static void test_a_quota_parks_the_mailbox(void **state)
{
    struct cs_mailbox *m = box();
    int64_t when;

    (void)state;
    take(m, "r1", T);
    take(m, "r2", T + 1);
    (void)issue(m, T + 1, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43");
    assert_int_equal(answer_with(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43", CS_SENT_NOTHING, NULL,
                                 NULL, "ErrorExceededMessageLimit", -1, T + 2),
                     0);
    m = reborn(m);
    assert_false(is_due(m, T + 3, &when)); /* the other one too */
    assert_int_equal(when, T + 2 + conf.send_quota_wait_ms);
    assert_true(is_due(m, when, &when));
    cs_mailbox_free(m);
}

static void test_the_first_asked_is_the_first_sent(void **state)
{
    struct cs_mailbox *m = box();

    (void)state;
    take(m, "r2", T);
    take(m, "r1", T + 1);
    m = reborn(m);
    (void)issue(m, T + 5, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43");
    assert_string_equal(m->sends->in_request, "r2");
    cs_mailbox_free(m);
}

static void test_bounds(void **state)
{
    struct cs_mailbox *m = box();

    (void)state;
    for (int i = 0; i < CS_SENDS_PENDING_MAX; i++) {
        char id[16];

        snprintf(id, sizeof(id), "r%d", i);
        take(m, id, T);
    }
    assert_int_equal(cs_sends_take(m, "more", CS_NEVER, NULL, REQUEST, strlen(REQUEST), T), -E2BIG);
    cs_mailbox_free(m);
}

static void test_late_ones_say_so(void **state)
{
    struct cs_mailbox *m = box();
    struct cs_job job;

    (void)state;
    assert_int_equal(cs_sends_take(m, "r1", T + 1000, NULL, REQUEST, strlen(REQUEST), T), 0);
    (void)issue(m, T, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43");
    assert_int_equal(
        answer(m, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d43", CS_SENT_DRAFTED, "D", "V1", T + 2), 0);
    m = reborn(m);
    (void)issue(m, T + 1001, "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d44");
    assert_int_equal(cs_sends_job(m->sends, &job), 0);
    assert_true(job.send->expired);
    cs_job_clear(&job);
    cs_mailbox_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_recipients_are_counted_over_all_roles),
        cmocka_unit_test(test_two_steps),
        cmocka_unit_test(test_what_follows),
        cmocka_unit_test(test_the_last_sweep_comes_long_after_the_last_end),
        cmocka_unit_test(test_a_lost_job_is_looked_at),
        cmocka_unit_test(test_a_quota_parks_the_mailbox),
        cmocka_unit_test(test_the_first_asked_is_the_first_sent),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_late_ones_say_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
