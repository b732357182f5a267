/* test_calendar.c - the calendar's store and views without a server: what a client that folds delta rounds
 * has equals what calendarView shows, whatever changes in between. */
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cal.h"
#include "common/json.h"
#include "request.h"
#include "tz.h"

static struct sim sim;
static struct sim_mailbox box;

static int set_up(void **state)
{
    (void)state;
    memset(&sim, 0, sizeof(sim));
    memset(&box, 0, sizeof(box));
    sim.seed = 7;
    sim.key = 99;
    sim.domain = "contoso.example";
    sim.years = 2;
    sim.mailboxes = &box;
    sim.n_mailboxes = 1;
    sim.v.gone_form = 1;
    sim.v.occurrence_delete_silent = true;
    box.sim = &sim;
    box.seed = 1234;
    box.address = sim_strdup("ann@contoso.example");
    box.name = sim_strdup("Ann");
    box.calendar_gen = (struct sim_gen){60, 60};
    sim_guid(1, 2, box.id);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sim_calendar_clear(&box);
    free(box.address);
    free(box.name);
    return 0;
}

/* ---- a client ---------------------------------------------------------------------------------- */

static struct sim_rng client_rng = {5};

/* GET; url behind /v1.0 or absolute. The document is the caller's. */
static struct cs_json *get_status(const char *url, const char *prefer, int *status)
{
    struct sim_request req;
    struct sim_answer ans;
    struct cs_json *doc;
    const char *reason = "";

    if (strncmp(url, "http://sim/v1.0", 15) == 0)
        url += 15;
    assert_int_equal(sim_request_init(&req, &sim, "GET", url), 0);
    req.mb = &box;
    req.base = "http://sim/v1.0";
    req.rng.s = sim_rng_next(&client_rng);
    sim_request_prefer(&req, prefer);
    sim_answer_init(&ans);
    sim_calendar_handle(&req, &ans);
    *status = ans.status;
    if (cs_json_parse(ans.body.data, ans.body.len, &doc, &reason) != 0)
        fail_msg("%s: %s\n%.2000s", url, reason, ans.body.data);
    sim_answer_clear(&ans);
    sim_request_clear(&req);
    return doc;
}

#define IMMUTABLE "IdType=\"ImmutableId\""
#define USER      "/users/ann@contoso.example"

static struct cs_json *get(const char *url)
{
    int status;
    struct cs_json *doc = get_status(url, IMMUTABLE ", odata.maxpagesize=7", &status);
    assert_int_equal(status, 200);
    return doc;
}

static char *str(cs_json_val v, const char *name)
{
    const char *text;
    return cs_json_str(v, name, 1 << 20, &text) == 0 ? sim_strdup(text) : NULL;
}

/* id, and of an occurrence or exception its master */
struct held {
    char *id, *master, *start, *end, *subject;
    unsigned round;
};

struct model {
    struct held *at;
    size_t n, cap;
    char *link;
    unsigned round;
    size_t removed, unknown_removed, pages, stubs, masters;
};

static void held_clear(struct held *h)
{
    free(h->id);
    free(h->master);
    free(h->start);
    free(h->end);
    free(h->subject);
}

static void model_clear(struct model *m)
{
    for (size_t i = 0; i < m->n; i++)
        held_clear(&m->at[i]);
    free(m->at);
    free(m->link);
    memset(m, 0, sizeof(*m));
}

static void drop(struct model *m, size_t i)
{
    held_clear(&m->at[i]);
    m->at[i] = m->at[--m->n];
}

static bool drop_id(struct model *m, const char *id)
{
    bool any = false;
    for (size_t i = m->n; i-- > 0;) {
        bool is_it = strcmp(m->at[i].id, id) == 0,
             is_child = m->at[i].master != NULL && strcmp(m->at[i].master, id) == 0;
        if (is_it || is_child) {
            any = true;
            drop(m, i);
        }
    }
    return any;
}

static struct held *held_of(struct model *m, const char *id)
{
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(m->at[i].id, id) == 0)
            return &m->at[i];
    }
    return NULL;
}

static char *time_of(cs_json_val item, const char *member)
{
    cs_json_val t = cs_json_get(item, member);
    return t != NULL ? str(t, "dateTime") : NULL;
}

static void fold(struct model *m, cs_json_val item)
{
    char *id = str(item, "id"), *type = str(item, "type");
    assert_non_null(id);
    if (cs_json_get(item, "@removed") != NULL) {
        m->removed++;
        if (!drop_id(m, id))
            m->unknown_removed++;
    } else {
        assert_non_null(type);
        struct held *h = held_of(m, id);
        if (h == NULL) {
            SIM_PUSH(m->at, m->n, m->cap);
            h = &m->at[m->n++];
            memset(h, 0, sizeof(*h));
            h->id = sim_strdup(id);
        }
        free(h->master);
        free(h->start);
        free(h->end);
        free(h->subject);
        h->master = str(item, "seriesMasterId");
        h->start = time_of(item, "start");
        h->end = time_of(item, "end");
        h->subject = str(item, "subject");
        h->round = m->round;
        if (strcmp(type, "occurrence") == 0) {
            assert_null(h->subject); /* a stub */
            assert_null(cs_json_get(item, "attendees"));
            m->stubs++;
        }
        if (strcmp(type, "seriesMaster") == 0)
            m->masters++;
    }
    free(id);
    free(type);
}

/* A reported master stands for all its occurrences in the window. */
static void end_round(struct model *m)
{
    for (size_t i = m->n; i-- > 0;) {
        if (m->at[i].master == NULL)
            continue;
        const struct held *master = held_of(m, m->at[i].master);
        if (master != NULL && master->round == m->round && m->at[i].round != m->round)
            drop(m, i);
    }
}

static void run_round(struct model *m, const char *initial)
{
    char *url = m->link != NULL ? m->link : sim_strdup(initial);
    m->link = NULL;
    m->round++;
    for (;;) {
        struct cs_json *doc = get(url);
        cs_json_val root = cs_json_root(doc), value = cs_json_get(root, "value");
        char *next = str(root, "@odata.nextLink"), *delta = str(root, "@odata.deltaLink");
        assert_true(cs_json_is_array(value));
        for (size_t i = 0; i < cs_json_len(value); i++)
            fold(m, cs_json_at(value, i));
        cs_json_free(doc);
        free(url);
        m->pages++;
        assert_true((next != NULL) != (delta != NULL));
        assert_true(m->pages < 100000);
        url = next;
        if (delta != NULL) {
            m->link = delta;
            break;
        }
    }
    end_round(m);
}

static void window_query(char out[160], int64_t from_s, int64_t to_s)
{
    char from[40], to[40];
    sim_time_format(from, from_s, "", "Z");
    sim_time_format(to, to_s, "", "Z");
    snprintf(out, 160, "startDateTime=%s&endDateTime=%s", from, to);
}

/* Everything that calendarView shows is in the model with the same times, and nothing else is. */
static void compare(struct model *m, const char *query)
{
    char *url;
    size_t shown = 0, instances = 0;

    assert_true(asprintf(&url, USER "/calendarView?%s&$top=50&$select=id,start,end,subject,type",
                         query) > 0);
    while (url != NULL) {
        struct cs_json *doc = get(url);
        cs_json_val root = cs_json_root(doc), value = cs_json_get(root, "value");
        for (size_t i = 0; i < cs_json_len(value); i++) {
            cs_json_val item = cs_json_at(value, i);
            char *id = str(item, "id"), *start = time_of(item, "start"),
                 *end = time_of(item, "end"), *subject = str(item, "subject"),
                 *type = str(item, "type");
            struct held *h = held_of(m, id);
            assert_non_null(h);
            assert_string_equal(h->start, start);
            assert_string_equal(h->end, end);
            /* an occurrence has its subject from its master, which is in the model as well */
            if (h->subject != NULL) {
                assert_string_equal(h->subject, subject);
            } else {
                assert_string_equal(type, "occurrence");
                assert_non_null(held_of(m, h->master));
                assert_string_equal(held_of(m, h->master)->subject, subject);
            }
            shown++;
            free(id);
            free(start);
            free(end);
            free(subject);
            free(type);
        }
        free(url);
        url = str(root, "@odata.nextLink");
        cs_json_free(doc);
    }
    for (size_t i = 0; i < m->n; i++) {
        bool is_master = false;
        uint32_t event;
        int32_t day;
        assert_int_equal(cal_parse_id(&box, m->at[i].id, &event, &day), 0);
        is_master = day == CAL_NO_DAY && cal_now(box.calendar, event)->is_series;
        instances += !is_master;
    }
    assert_int_equal(instances, shown);
}

static void fold_while_it_changes(uint64_t seed, bool silent)
{
    struct sim_rng rng = {seed};
    struct model m = {0};
    char query[160], initial[256];
    int64_t now_s = sim_now_ms(&sim) / 1000;
    size_t changes = 0;

    sim.v.occurrence_delete_silent = silent;
    sim.v.empty_page = 20;
    sim.v.short_page = 20;
    sim.v.repeat = 20;
    sim.v.collapse = 50;
    sim.v.same_link = 50;
    sim_calendar_init(&box, seed, 40);
    window_query(query, now_s - 60 * 86400, now_s + 120 * 86400);
    snprintf(initial, sizeof(initial), USER "/calendarView/delta?%s", query);
    run_round(&m, initial);
    compare(&m, query);
    assert_true(m.stubs > 0 && m.masters > 0);
    for (int round = 0; round < 25; round++) {
        for (uint64_t k = sim_rng_below(&rng, 12); k > 0; k--)
            changes += sim_calendar_mutate(&box, &rng) != NULL;
        run_round(&m, initial);
        compare(&m, query);
    }
    assert_true(changes > 50);
    assert_true(m.unknown_removed > 0); /* of events outside the window */
    model_clear(&m);
    sim_calendar_clear(&box);
}

static void test_folded_rounds_equal_the_view(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        fold_while_it_changes(seed, true);
    for (uint64_t seed = 5; seed <= 8; seed++)
        fold_while_it_changes(seed, false);
}

/* ---- exact situations --------------------------------------------------------------------------- */

/* Runs one scripted operation; the result's id is the caller's. */
static char *op(const char *json)
{
    struct cs_json *doc, *result;
    struct cs_buf b;
    struct sim_jw w;
    const char *reason = "";

    if (cs_json_parse(json, strlen(json), &doc, &reason) != 0)
        fail_msg("%s: %s", json, reason);
    cs_buf_init(&b, 0);
    sim_jw_init(&w, &b, 0);
    sim_jw_open(&w, '{');
    assert_true(sim_calendar_op(&box, cs_json_root(doc), &w));
    sim_jw_close(&w, '}');
    assert_int_equal(cs_json_parse(b.data, b.len, &result, &reason), 0);
    char *id = str(cs_json_root(result), "id");
    if (cs_json_get(cs_json_root(result), "error") != NULL)
        fail_msg("%s: %s", json, b.data);
    cs_json_free(result);
    cs_json_free(doc);
    cs_buf_clear(&b);
    return id;
}

static char *op_and_free(char *json)
{
    char *id = op(json);
    free(json);
    return id;
}

static char *text_of(const char *format, const char *id)
{
    struct cs_buf b;
    const char *mark = strstr(format, "%s");
    cs_buf_init(&b, 0);
    cs_buf_add(&b, format, (size_t)(mark - format));
    cs_buf_adds(&b, id);
    cs_buf_adds(&b, mark + 2);
    return cs_buf_steal(&b, NULL);
}

/** An operation with an id in the place of its %s. */
static char *opf(const char *format, const char *id)
{
    return op_and_free(text_of(format, id));
}

#define WINDOW  "startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-05-01T00:00:00Z"
#define INITIAL USER "/calendarView/delta?" WINDOW

/* Weekly on Tuesdays at 09:00 in Berlin, over the change of the clocks on 29 March. */
static char *make_weekly(void)
{
    return op("{\"op\":\"event_create\",\"event\":{\"subject\":\"weekly\",\"start\":{\"dateTime\":"
              "\"2026-03-03T09:00:00\",\"timeZone\":\"W. Europe Standard Time\"},"
              "\"end\":{\"dateTime\":\"2026-03-03T10:00:00\",\"timeZone\":\"W. Europe Standard "
              "Time\"},\"recurrence\":{\"pattern\":{\"type\":\"weekly\",\"interval\":1,"
              "\"daysOfWeek\":[\"tuesday\"],\"firstDayOfWeek\":\"monday\"},\"range\":{\"type\":"
              "\"noEnd\",\"startDate\":\"2026-03-03\"}}}}");
}

/* contract: calendar.occurrence_deleted */
static void test_cancelled_occurrence_is_silent_or_not(void **state)
{
    (void)state;
    for (int silent = 0; silent < 2; silent++) {
        struct model m = {0};
        sim.v.occurrence_delete_silent = silent;
        sim_calendar_init(&box, 3, 0);
        char *id = make_weekly();
        run_round(&m, INITIAL);
        assert_int_equal(m.stubs, 9); /* 3 March to 28 April */
        assert_int_equal(m.n, 10);
        free(opf("{\"op\":\"event_cancel_occurrence\",\"id\":\"%s\",\"date\":\"2026-03-17\"}", id));
        m.stubs = 0;
        run_round(&m, INITIAL);
        assert_int_equal(m.removed, silent ? 0 : 1);
        assert_int_equal(m.stubs, 8); /* the series comes again as a whole */
        assert_int_equal(m.n, 9);
        compare(&m, WINDOW);
        free(id);
        model_clear(&m);
        sim_calendar_clear(&box);
    }
}

/* contract: calendar.window_frozen calendar.removed_outside */
static void test_moves_in_and_out_of_the_window(void **state)
{
    (void)state;
    struct model m = {0};
    sim_calendar_init(&box, 3, 0);
    char *id = make_weekly();
    char *single = op("{\"op\":\"event_create\",\"event\":{\"subject\":\"s\",\"start\":{"
                      "\"dateTime\":\"2026-03-10T09:00:00\",\"timeZone\":\"UTC\"},"
                      "\"end\":{\"dateTime\":\"2026-03-10T09:30:00\",\"timeZone\":\"UTC\"}}}");
    run_round(&m, INITIAL);
    assert_int_equal(m.n, 11);

    /* an occurrence out: told, also where deleting one is silent */
    free(opf("{\"op\":\"event_move_occurrence\",\"id\":\"%s\",\"date\":\"2026-04-28\",\"start\":{"
             "\"dateTime\":\"2026-05-02T09:00:00\",\"timeZone\":\"UTC\"}}",
             id));
    run_round(&m, INITIAL);
    assert_int_equal(m.removed, 1);
    assert_int_equal(m.n, 10);
    compare(&m, WINDOW);

    /* an occurrence in, from far behind the window's end */
    free(opf("{\"op\":\"event_move_occurrence\",\"id\":\"%s\",\"date\":\"2026-07-14\",\"start\":{"
             "\"dateTime\":\"2026-04-30T09:00:00\",\"timeZone\":\"UTC\"}}",
             id));
    run_round(&m, INITIAL);
    assert_int_equal(m.n, 11);
    compare(&m, WINDOW);
    free(opf("{\"op\":\"event_move_occurrence\",\"id\":\"%s\",\"date\":\"2026-07-14\",\"start\":{"
             "\"dateTime\":\"2026-07-14T09:00:00\",\"timeZone\":\"UTC\"}}",
             id));
    run_round(&m, INITIAL);
    assert_int_equal(m.removed, 2);
    assert_int_equal(m.n, 10);

    /* a single event out, changed there, and in again */
    free(opf("{\"op\":\"event_patch\",\"id\":\"%s\",\"event\":{\"start\":{\"dateTime\":\"2027-03-"
             "10T09:00:00\",\"timeZone\":\"UTC\"}}}",
             single));
    run_round(&m, INITIAL);
    assert_int_equal(m.removed, 3);
    free(opf("{\"op\":\"event_patch\",\"id\":\"%s\",\"event\":{\"subject\":\"t\"}}", single));
    run_round(&m, INITIAL);
    assert_int_equal(m.removed, 4); /* outside the window, but changed */
    assert_int_equal(m.unknown_removed, 1);
    free(opf("{\"op\":\"event_patch\",\"id\":\"%s\",\"event\":{\"start\":{\"dateTime\":\"2026-04-"
             "10T09:00:00\",\"timeZone\":\"UTC\"}}}",
             single));
    run_round(&m, INITIAL);
    assert_int_equal(m.removed, 4);
    assert_string_equal(held_of(&m, single)->subject, "t");
    compare(&m, WINDOW);

    /* the series goes: in the silent variant only its master is told */
    free(opf("{\"op\":\"event_delete\",\"id\":\"%s\"}", id));
    run_round(&m, INITIAL);
    assert_int_equal(m.removed, 5);
    assert_int_equal(m.n, 1);
    free(id);
    free(single);
    model_clear(&m);
}

static void test_occurrences_keep_their_wall_clock(void **state)
{
    (void)state;
    char url[700];
    sim_calendar_init(&box, 3, 0);
    char *id = make_weekly();
    snprintf(
        url, sizeof(url),
        USER
        "/events/%s/instances?startDateTime=2026-03-20T00:00:00Z&endDateTime=2026-04-05T00:00:00Z",
        id);
    struct cs_json *doc = get(url);
    cs_json_val value = cs_json_get(cs_json_root(doc), "value");
    assert_int_equal(cs_json_len(value), 2);
    char *winter = time_of(cs_json_at(value, 0), "start"),
         *summer = time_of(cs_json_at(value, 1), "start");
    assert_string_equal(winter, "2026-03-24T08:00:00.0000000");
    assert_string_equal(summer, "2026-03-31T07:00:00.0000000");
    free(winter);
    free(summer);
    cs_json_free(doc);
    free(id);
}

static void test_occurrence_id_answers_in_full(void **state)
{
    (void)state;
    char url[700];
    int status;
    sim_calendar_init(&box, 3, 0);
    char *id = make_weekly();
    char *moved = opf("{\"op\":\"event_move_occurrence\",\"id\":\"%s\",\"date\":\"2026-03-10\","
                      "\"start\":{\"dateTime\":\"2026-03-11T08:00:00\",\"timeZone\":\"UTC\"}}",
                      id);
    snprintf(url, sizeof(url), USER "/events/%s", moved);
    struct cs_json *doc =
        get_status(url, IMMUTABLE ", outlook.timezone=\"Tokyo Standard Time\"", &status);
    assert_int_equal(status, 200);
    char *type = str(cs_json_root(doc), "type"),
         *original = str(cs_json_root(doc), "originalStart"),
         *start = time_of(cs_json_root(doc), "start"),
         *master = str(cs_json_root(doc), "seriesMasterId");
    assert_string_equal(type, "exception");
    assert_string_equal(original, "2026-03-10T08:00:00Z");
    assert_string_equal(start, "2026-03-11T17:00:00.0000000");
    assert_string_equal(master, id);
    cs_json_free(doc);

    free(opf("{\"op\":\"event_delete\",\"id\":\"%s\"}", moved));
    doc = get_status(url, IMMUTABLE, &status);
    assert_int_equal(status, 404);
    cs_json_free(doc);

    snprintf(url, sizeof(url),
             USER "/events/%s?$select=subject,cancelledOccurrences&$expand=exceptionOccurrences",
             id);
    doc = get(url);
    assert_int_equal(cs_json_len(cs_json_get(cs_json_root(doc), "cancelledOccurrences")), 1);
    assert_int_equal(cs_json_len(cs_json_get(cs_json_root(doc), "exceptionOccurrences")), 0);
    cs_json_free(doc);
    free(type);
    free(original);
    free(start);
    free(master);
    free(moved);
    free(id);
}

static void test_ids_that_are_not_immutable_change_with_the_calendar(void **state)
{
    (void)state;
    char url[700], rest[SIM_ID_MAX], other[SIM_ID_MAX];
    struct model m = {0};
    int status;
    sim_calendar_init(&box, 3, 0);
    char *id = make_weekly();
    run_round(&m, INITIAL);
    cal_format_id(&box, 0, cal_now(box.calendar, 0), CAL_NO_DAY, false, rest);
    free(opf("{\"op\":\"event_move_calendar\",\"id\":\"%s\",\"calendar\":\"Team holidays\"}", id));
    snprintf(url, sizeof(url), USER "/events/%s", rest);
    struct cs_json *doc = get_status(url, "", &status);
    assert_int_equal(status, 404);
    cs_json_free(doc);
    snprintf(url, sizeof(url), USER "/events/%s", id);
    doc = get(url);
    cs_json_free(doc);
    cal_format_id(&box, 0, cal_now(box.calendar, 0), CAL_NO_DAY, false, other);
    assert_string_not_equal(rest, other);
    run_round(&m, INITIAL); /* of the default calendar: it has left */
    assert_int_equal(m.n, 0);
    model_clear(&m);
    cal_calendar_id(&box, 2, other);
    snprintf(url, sizeof(url), USER "/calendars/%s/calendarView/delta?" WINDOW, other);
    run_round(&m, url);
    assert_int_equal(m.n, 10);
    model_clear(&m);
    free(id);
}

static void expect_error(const char *url, int want, const char *code)
{
    int status;
    struct cs_json *doc = get_status(url, IMMUTABLE, &status);
    char *got = str(cs_json_get(cs_json_root(doc), "error"), "code");
    assert_int_equal(status, want);
    assert_string_equal(got, code);
    free(got);
    cs_json_free(doc);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct model m = {0};
    char *link;
    sim_calendar_init(&box, 3, 6);
    expect_error(INITIAL "&$select=subject", 400, "ErrorInvalidUrlQuery");
    expect_error(USER "/calendarView/delta?startDateTime=2026-01-01T00:00:00Z", 400,
                 "ErrorInvalidParameter");
    expect_error(
        USER
        "/calendarView/delta?startDateTime=2021-01-01T00:00:00Z&endDateTime=2026-06-01T00:00:00Z",
        400, "ErrorCalendarViewRangeTooBig");
    expect_error(USER "/events/AAMkAGI1", 400, "ErrorInvalidIdMalformed");
    expect_error(USER "/events/delta", 400,
                 "ErrorInvalidIdMalformed"); /* not in v1.0: "delta" reads as an id */
    run_round(&m, INITIAL);
    link = sim_strdup(m.link);
    run_round(&m, INITIAL); /* the old link stays good until it is evicted */
    struct cs_json *doc = get(link);
    cs_json_free(doc);
    free(op("{\"op\":\"event_evict\"}"));
    expect_error(link, 410, "SyncStateNotFound");
    free(link);
    model_clear(&m);
}

static void test_many_changes_of_one_event_end_old_tokens(void **state)
{
    (void)state;
    struct model m = {0};
    sim_calendar_init(&box, 3, 0);
    char *id = make_weekly();
    run_round(&m, INITIAL);
    for (int i = 0; i < 2 * CAL_VERSIONS; i++)
        free(opf("{\"op\":\"event_touch\",\"id\":\"%s\"}", id));
    expect_error(m.link, 410, "SyncStateNotFound");
    model_clear(&m);
    run_round(&m, INITIAL);
    assert_int_equal(m.n, 10);
    model_clear(&m);
    free(id);
}

static void test_scripts_with_mistakes_change_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"op\":\"event_create\",\"event\":{\"start\":{\"dateTime\":\"2026-03-03T09:00:00\","
        "\"timeZone\":\"Mars\"},\"end\":{\"dateTime\":\"2026-03-03T09:00:00\"}}}",
        "{\"op\":\"event_create\",\"event\":{\"start\":{\"dateTime\":\"2026-03-03T09:00:00\"},"
        "\"end\":{\"dateTime\":\"2026-03-03T08:00:00\"}}}",
        "{\"op\":\"event_create\",\"event\":{\"isAllDay\":true,\"start\":{\"dateTime\":\"2026-03-"
        "03T09:00:00\"},\"end\":{\"dateTime\":\"2026-03-04T09:00:00\"}}}",
        "{\"op\":\"event_create\",\"event\":{\"showAs\":\"asleep\",\"start\":{\"dateTime\":\"2026-"
        "03-03T09:00:00\"},\"end\":{\"dateTime\":\"2026-03-03T10:00:00\"}}}",
        "{\"op\":\"event_create\",\"calendar\":\"none\",\"event\":{\"start\":{\"dateTime\":\"2026-"
        "03-03T09:00:00\"},\"end\":{\"dateTime\":\"2026-03-03T10:00:00\"}}}",
        "{\"op\":\"event_create\",\"event\":{\"start\":{\"dateTime\":\"2026-03-03T09:00:00\"},"
        "\"end\":{\"dateTime\":\"2026-03-03T10:00:00\"},\"recurrence\":{\"pattern\":{\"type\":"
        "\"weekly\"},\"range\":{\"type\":\"noEnd\"}}}}",
        "{\"op\":\"event_patch\",\"id\":\"x\",\"event\":{}}",
    };
    sim_calendar_init(&box, 3, 5);
    uint64_t seq = box.seq;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct cs_json *doc;
        struct cs_buf b;
        struct sim_jw w;
        const char *reason;
        assert_int_equal(cs_json_parse(bad[i], strlen(bad[i]), &doc, &reason), 0);
        cs_buf_init(&b, 0);
        sim_jw_init(&w, &b, 0);
        assert_true(sim_calendar_op(&box, cs_json_root(doc), &w));
        assert_non_null(strstr(b.data, "\"error\""));
        cs_buf_clear(&b);
        cs_json_free(doc);
    }
    assert_int_equal(box.seq, seq);
    assert_int_equal(box.calendar->n_events, 5);
}

static void test_the_same_seed_gives_the_same(void **state)
{
    (void)state;
    struct cs_buf a[2];
    sim.clock_offset_ms = INT64_C(1780000000000) - sim_now_ms(&sim);
    for (int i = 0; i < 2; i++) {
        struct sim_jw w;
        box.seq = 0;
        sim_calendar_init(&box, 11, 60);
        cs_buf_init(&a[i], 0);
        sim_jw_init(&w, &a[i], 0);
        sim_jw_open(&w, '{');
        sim_calendar_truth(&box, false, &w);
        sim_jw_close(&w, '}');
        sim_calendar_clear(&box);
    }
    assert_int_equal(a[0].len, a[1].len);
    assert_memory_equal(a[0].data, a[1].data, a[0].len);

    /* and it has everything that matters */
    static const char *const wanted[] = {
        "\"type\":\"seriesMaster\"",
        "\"type\":\"occurrence\"",
        "\"type\":\"exception\"",
        "\"type\":\"singleInstance\"",
        "\"daily\"",
        "\"weekly\"",
        "\"absoluteMonthly\"",
        "\"relativeMonthly\"",
        "\"absoluteYearly\"",
        "\"relativeYearly\"",
        "\"endDate\":\"0001-01-01\"",
        "\"isAllDay\":true",
        "\"isCancelled\":true",
        "\"sensitivity\":\"private\"",
        "\"onlineMeetingUrl\":null,\"isOnlineMeeting\":true",
        "\"time\":\"0001-01-01T00:00:00Z\"",
        "\"type\":\"resource\"",
        "\"cancelledOccurrences\":[\"OID.",
        "\"isOrganizer\":false",
        "\"response\":\"notResponded\"",
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        if (strstr(a[0].data, wanted[i]) == NULL)
            fail_msg("no %s among 60 events", wanted[i]);
    }
    cs_buf_clear(&a[0]);
    cs_buf_clear(&a[1]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_folded_rounds_equal_the_view),
        TEST(test_cancelled_occurrence_is_silent_or_not),
        TEST(test_moves_in_and_out_of_the_window),
        TEST(test_occurrences_keep_their_wall_clock),
        TEST(test_occurrence_id_answers_in_full),
        TEST(test_ids_that_are_not_immutable_change_with_the_calendar),
        TEST(test_what_is_refused),
        TEST(test_many_changes_of_one_event_end_old_tokens),
        TEST(test_scripts_with_mistakes_change_nothing),
        TEST(test_the_same_seed_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
