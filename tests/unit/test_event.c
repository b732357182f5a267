#include "worker/event.h"

#include <errno.h>

#include "tests/unit/graph_sample.h"
#include "worker/series.h"

static const struct cs_js none;

static struct cs_js element(struct cs_js list, size_t n)
{
    struct cs_js_iter it = {0};
    struct cs_js one = {0};

    for (size_t i = 0; i <= n; i++)
        assert_true(cs_js_next_element(list, &it, &one));
    return one;
}

/* contract: fact.10.year_one calendar.cancelled */
static void test_single_instance(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "event.json");
    const struct cs_folder_ref calendar = {"CAL1", NULL, NULL};
    struct cs_record rec;
    struct cs_js v, who;

    assert_int_equal(cs_event_record(&s->ctx, &calendar, page.root, none, CS_UPSERTED, &rec), 0);
    v = sample_value(&rec);
    assert_string_equal(rec.key, "acme/ann@contoso.example/event/AAkALgSingle01");
    assert_string_equal(rec.change_key, "DwAAABYAAAE01");
    assert_string_equal(rec.folder_id, "CAL1");
    assert_str(cs_js_get(v, "kind"), "event");
    assert_str(cs_js_get(v, "type"), "single");
    assert_str(cs_js_get(v, "detail"), "full");
    assert_str(cs_js_get(v, "subject"), "Kick-off Halle 3");
    assert_str(cs_js_get(v, "series_id"), NULL);
    assert_str(cs_js_get(v, "original_start"), NULL);
    assert_str(cs_js_path(v, "calendar", "id", NULL), "CAL1");
    /* across the change to summer time: one hour long, 01:30 to 03:30 on the wall */
    assert_str(cs_js_path(v, "start", "utc", NULL), "2026-03-29T00:30:00.000Z");
    assert_str(cs_js_path(v, "start", "local", NULL), "2026-03-29T01:30:00");
    assert_str(cs_js_path(v, "start", "time_zone", NULL), "Europe/Berlin");
    assert_str(cs_js_path(v, "start", "original_time_zone", NULL), "W. Europe Standard Time");
    assert_null(cs_js_path(v, "start", "date", NULL).p);
    assert_str(cs_js_path(v, "end", "utc", NULL), "2026-03-29T01:30:00.000Z");
    assert_str(cs_js_path(v, "end", "local", NULL), "2026-03-29T03:30:00");
    assert_bool(cs_js_get(v, "is_cancelled"), false);
    assert_str(cs_js_path(v, "organizer", "address", NULL), "carla@contoso.example");
    assert_bool(cs_js_path(v, "organizer", "internal", NULL), true);
    assert_int_equal(cs_js_count(cs_js_get(v, "attendees")), 3);
    who = element(cs_js_get(v, "attendees"), 1);
    assert_str(cs_js_get(who, "type"), "optional");
    assert_str(cs_js_get(who, "response"), "none");
    assert_str(cs_js_get(who, "responded_at"), NULL); /* year 1 */
    assert_bool(cs_js_get(who, "internal"), false);
    assert_str(cs_js_path(who, "proposed", "start_at", NULL), "2026-03-30T08:00:00.000Z");
    assert_str(cs_js_get(v, "response"), "tentativelyAccepted");
    assert_str(cs_js_get(v, "responded_at"), "2026-01-11T07:59:00.000Z");
    assert_int_equal(cs_js_count(cs_js_get(v, "locations")), 2);
    assert_str(cs_js_path(element(cs_js_get(v, "locations"), 0), "address", "city", NULL),
               "K\xc3\xb6ln");
    assert_true(has_bytes(&rec, "\"latitude\":50.938,"));
    assert_str(cs_js_get(v, "join_url"),
               "https://teams.microsoft.com/l/meetup-join/19%3ameeting_x/0?context=y");
    assert_str(cs_js_path(v, "online_meeting", "conference_id", NULL), "123456789");
    assert_str(cs_js_get(v, "show_as"), "tentative");
    assert_str(cs_js_path(v, "body", "content", NULL),
               "<html><body>Agenda: 1, 2 &amp; 3</body></html>");
    cs_record_clear(&rec);
}

static void test_facts(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "calendar_delta.json");
    struct cs_event_facts f;

    assert_int_equal(cs_event_facts_read(sample_item(&page, 0), s->zones, &f), 0);
    assert_int_equal(f.type, CS_EVENT_OCCURRENCE);
    assert_true(f.is_stub);
    assert_string_equal(f.item_id, "AAkALgMaster01_20260323T080000Z");
    assert_string_equal(f.series_id, "AAkALgMaster01");
    assert_string_equal(f.change_key, "");
    assert_int_equal(f.end_utc_ms - f.start_utc_ms, 1800000);
    assert_int_equal(f.original_start_utc_ms, f.start_utc_ms);
    assert_int_equal(cs_event_facts_read(sample_item(&page, 1), s->zones, &f), 0);
    assert_int_equal(f.type, CS_EVENT_MASTER);
    assert_string_equal(f.item_id, "AAkALgMaster01");
    assert_string_equal(f.series_id, "");
    assert_int_equal(cs_event_facts_read(sample_item(&page, 3), s->zones, &f), 0);
    assert_int_equal(f.type, CS_EVENT_EXCEPTION);
    assert_false(f.is_stub);
    assert_string_equal(f.item_id,
                        "AAkALgMaster01_20260406T070000Z"); /* where it was, not where it is */
    assert_string_equal(f.change_key, "DwAAABYAAAX01");
    assert_int_equal(cs_event_facts_read(sample_item(&page, 4), s->zones, &f), 0);
    assert_true(f.is_removed);
    assert_string_equal(f.item_id, "");
}

static void test_facts_that_are_refused(void **state)
{
    struct sample *s = *state;
    struct cs_event_facts f;
    struct cs_page page;

    page = sample_text(s, "{\"type\":\"occurrence\",\"id\":\"1\"}");
    assert_int_equal(cs_event_facts_read(page.root, s->zones, &f), -EINVAL);
    page = sample_text(s, "{\"type\":\"singleInstance\"}");
    assert_int_equal(cs_event_facts_read(page.root, s->zones, &f), -EINVAL);
    /* an exception that does not say where it was: its key cannot be told */
    page = sample_text(s, "{\"type\":\"exception\",\"id\":\"1\",\"seriesMasterId\":\"m\","
                          "\"subject\":\"x\",\"showAs\":\"busy\","
                          "\"start\":{\"dateTime\":\"2026-01-01T00:00:00\",\"timeZone\":\"UTC\"},"
                          "\"end\":{\"dateTime\":\"2026-01-01T00:00:00\",\"timeZone\":\"UTC\"},"
                          "\"originalStart\":\"0001-01-01T00:00:00Z\"}");
    assert_int_equal(cs_event_facts_read(page.root, s->zones, &f), 0);
    assert_string_equal(f.item_id, "");
    {
        struct cs_record rec;

        assert_int_equal(cs_event_record(&s->ctx, NULL, page.root, none, CS_UPSERTED, &rec),
                         -ENODATA);
        assert_null(rec.value);
    }
}

/* A stub joined with its master is complete in itself; without it nothing is published. */
/* contract: fact.09.calendar_stubs */
static void test_occurrence_stub(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "calendar_delta.json");
    struct cs_js master = sample_item(&page, 1);
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 2), none, CS_UPSERTED, &rec),
                     -ENODATA);
    assert_int_equal(
        cs_event_record(&s->ctx, NULL, sample_item(&page, 2), master, CS_UPSERTED, &rec), 0);
    v = sample_value(&rec);
    assert_str(cs_js_get(v, "item_id"), "AAkALgMaster01_20260330T070000Z");
    assert_str(cs_js_get(v, "graph_id"), "AAkALgOcc02");
    assert_str(cs_js_get(v, "type"), "occurrence");
    assert_str(cs_js_get(v, "series_id"), "AAkALgMaster01");
    assert_str(cs_js_get(v, "original_start"), "2026-03-30T07:00:00.000Z");
    assert_str(cs_js_get(v, "subject"), "Weekly stand-up");
    assert_str(cs_js_path(v, "organizer", "address", NULL), "ann@contoso.example");
    assert_int_equal(cs_js_count(cs_js_get(v, "attendees")), 1);
    assert_str(cs_js_path(v, "body", "content", NULL), "<p>Round</p>");
    assert_str(cs_js_path(v, "start", "local", NULL), "2026-03-30T09:00:00");
    assert_str(cs_js_path(v, "start", "time_zone", NULL), "Europe/Berlin");
    assert_str(cs_js_get(v, "join_url"), "https://fabrikam.zoom.us/j/99887766?pwd=abc");
    assert_string_equal(rec.change_key, "DwAAABYAAAM01"); /* its version is the series' */
    cs_record_clear(&rec);
}

/* contract: calendar.exception */
static void test_exception_keeps_its_own(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "calendar_delta.json");
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 3), sample_item(&page, 1),
                                     CS_UPSERTED, &rec),
                     0);
    v = sample_value(&rec);
    assert_str(cs_js_get(v, "subject"), "Weekly stand-up (Tuesday this time)");
    assert_str(cs_js_get(v, "original_start"), "2026-04-06T07:00:00.000Z");
    assert_str(cs_js_path(v, "start", "utc", NULL), "2026-04-07T07:00:00.000Z");
    assert_int_equal(cs_js_count(cs_js_get(v, "attendees")), 0);
    assert_str(cs_js_path(v, "body", "content", NULL), "");
    assert_string_equal(rec.change_key, "DwAAABYAAAX01");
    assert_str(cs_js_get(v, "join_url"), NULL); /* the exception has another, empty place */
    cs_record_clear(&rec);
    /* without the master it is as good */
    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 3), none, CS_UPSERTED, &rec),
                     0);
    cs_record_clear(&rec);
    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 1), none, CS_UPSERTED, &rec),
                     -EINVAL);
    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 4), none, CS_UPSERTED, &rec),
                     -EINVAL);
}

static void test_series(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "calendar_delta.json");
    const char *const occurrences[] = {"AAkALgMaster01_20260323T080000Z",
                                       "AAkALgMaster01_20260406T070000Z"};
    const struct cs_series_exception exceptions[] = {
        {"AAkALgMaster01_20260406T070000Z", 1775458800000, 1775545200000, 1775547000000, false}};
    const struct cs_series_parts parts = {occurrences, 2, exceptions, 1};
    struct cs_record rec;
    struct cs_js v, one;

    assert_int_equal(
        cs_series_record(&s->ctx, NULL, sample_item(&page, 1), &parts, CS_UPSERTED, &rec), 0);
    v = sample_value(&rec);
    assert_string_equal(rec.key, "acme/ann@contoso.example/series/AAkALgMaster01");
    assert_str(cs_js_get(v, "kind"), "series");
    assert_str(cs_js_get(v, "series_id"), "AAkALgMaster01");
    assert_str(cs_js_get(v, "original_start"), NULL);
    assert_str(cs_js_get(v, "subject"), "Weekly stand-up");
    assert_str(cs_js_path(v, "recurrence", "rrule", NULL),
               "FREQ=WEEKLY;WKST=SU;BYDAY=MO;UNTIL=20260413T070000Z");
    assert_str(cs_js_path(v, "recurrence", "time_zone", NULL), "Europe/Berlin");
    assert_int_equal(cs_js_count(cs_js_get(v, "cancelled_dates")), 1);
    one = element(cs_js_get(v, "cancelled_dates"), 0);
    assert_str(cs_js_get(one, "date"), "2026-04-13");
    assert_str(cs_js_get(one, "original_start"), "2026-04-13T07:00:00.000Z");
    one = element(cs_js_get(v, "exceptions"), 0);
    assert_str(cs_js_get(one, "original_start"), "2026-04-06T07:00:00.000Z");
    assert_str(cs_js_get(one, "start_at"), "2026-04-07T07:00:00.000Z");
    assert_int_equal(cs_js_count(cs_js_get(v, "occurrences")), 2);
    assert_str(element(cs_js_get(v, "occurrences"), 0),
               "acme/ann@contoso.example/event/AAkALgMaster01_20260323T080000Z");
    assert_string_equal(cs_record_ce_type(rec.kind, rec.change), "crmsync.series.upserted.v1");
    cs_record_clear(&rec);
    assert_int_equal(
        cs_series_record(&s->ctx, NULL, sample_item(&page, 0), &parts, CS_UPSERTED, &rec), -EINVAL);
}

/* The date is the one of the event's own zone, whether Graph shifted the midnight or not. */
static void test_all_day_events_are_dates(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "events_special.json");
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 0), none, CS_UPSERTED, &rec),
                     0);
    v = sample_value(&rec);
    assert_bool(cs_js_get(v, "is_all_day"), true);
    assert_str(cs_js_path(v, "start", "date", NULL), "2026-05-05");
    assert_str(cs_js_path(v, "end", "date", NULL), "2026-05-07");
    assert_str(cs_js_path(v, "start", "utc", NULL), "2026-05-04T15:00:00.000Z");
    assert_str(cs_js_path(v, "start", "local", NULL), "2026-05-05T00:00:00");
    assert_str(cs_js_path(v, "start", "time_zone", NULL), "Asia/Tokyo");
    cs_record_clear(&rec);
    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 1), none, CS_UPSERTED, &rec),
                     0);
    v = sample_value(&rec);
    assert_str(cs_js_path(v, "start", "date", NULL), "2026-05-05");
    assert_str(cs_js_path(v, "end", "date", NULL), "2026-05-06");
    cs_record_clear(&rec);
}

/* Shifted into UTC from a zone that nobody knows: the nearest midnight. Clocks that change at midnight too. */
static void test_all_day_in_odd_zones(void **state)
{
    static const struct {
        const char *zone, *given, *date;
    } cases[] = {
        {"tzone://Microsoft/Custom", "2026-05-04T22:00:00", "2026-05-05"},
        {"tzone://Microsoft/Custom", "2026-05-05T05:00:00", "2026-05-05"},
        {"Egypt Standard Time", "2026-04-23T22:00:00", "2026-04-24"}, /* 00:00 does not exist */
        {"Line Islands Standard Time", "2026-05-04T10:00:00", "2026-05-05"},
        {"Dateline Standard Time", "2026-05-05T12:00:00", "2026-05-05"}};
    struct sample *s = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        struct cs_page page;
        struct cs_record rec;

        (void)snprintf(text, sizeof(text),
                       "{\"id\":\"1\",\"type\":\"singleInstance\",\"sensitivity\":\"normal\","
                       "\"isAllDay\":true,\"originalStartTimeZone\":\"%s\","
                       "\"start\":{\"dateTime\":\"%s\",\"timeZone\":\"UTC\"},\"end\":{\"dateTime\":"
                       "\"%s\",\"timeZone\":\"UTC\"}}",
                       cases[i].zone, cases[i].given, cases[i].given);
        page = sample_text(s, text);
        assert_int_equal(cs_event_record(&s->ctx, NULL, page.root, none, CS_UPSERTED, &rec), 0);
        assert_str(cs_js_path(sample_value(&rec), "start", "date", NULL), cases[i].date);
        cs_record_clear(&rec);
    }
}

/* contract: calendar.zones */
static void test_custom_zone_is_kept(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "events_special.json");
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 2), none, CS_UPSERTED, &rec),
                     0);
    v = sample_value(&rec);
    assert_str(cs_js_path(v, "start", "time_zone", NULL), NULL);
    assert_str(cs_js_path(v, "start", "local", NULL), NULL);
    assert_str(cs_js_path(v, "start", "original_time_zone", NULL), "tzone://Microsoft/Custom");
    assert_str(cs_js_path(v, "end", "utc", NULL), "2026-05-05T10:00:00.000Z");
    assert_bool(cs_js_get(v, "is_cancelled"), true);
    assert_int_equal(cs_js_type(cs_js_get(v, "organizer")), CS_JS_NULL);
    cs_record_clear(&rec);
}

/* A page that was asked for in another zone: the doubled hour's first, and an IANA name. */
static void test_times_that_are_not_utc(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "events_special.json");
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 4), none, CS_UPSERTED, &rec),
                     0);
    v = sample_value(&rec);
    assert_str(cs_js_path(v, "start", "utc", NULL), "2026-10-25T00:30:00.000Z");
    assert_str(cs_js_path(v, "start", "local", NULL), "2026-10-25T02:30:00");
    assert_str(cs_js_path(v, "start", "time_zone", NULL), "Europe/Paris");
    assert_str(cs_js_path(v, "end", "utc", NULL), "2026-10-25T02:30:00.000Z");
    assert_str(cs_js_path(v, "end", "original_time_zone", NULL), "Europe/Paris");
    assert_str(cs_js_get(v, "show_as"), "workingElsewhere");
    cs_record_clear(&rec);
}

/* Nothing of a private event but its times and show-as gets into the record. */
/* contract: calendar.private */
static void test_busy_only_leaks_nothing(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "events_special.json");
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 3), none, CS_UPSERTED, &rec),
                     0);
    v = sample_value(&rec);
    assert_false(has_bytes(&rec, "CANARY"));
    assert_false(has_bytes(&rec, "canary"));
    assert_str(cs_js_get(v, "detail"), "busy_only");
    assert_str(cs_js_get(v, "show_as"), "busy");
    assert_str(cs_js_path(v, "start", "utc", NULL), "2026-07-05T10:00:00.000Z");
    assert_str(cs_js_path(v, "start", "local", NULL), "2026-07-05T11:00:00");
    assert_str(cs_js_get(v, "subject"), NULL);
    assert_str(cs_js_get(v, "dedup_key"), NULL); /* would join it with a colleague's open copy */
    assert_null(cs_js_get(v, "attendees").p);
    cs_record_clear(&rec);

    s->tenant.private_events = CS_PRIVATE_SKIP;
    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 3), none, CS_UPSERTED, &rec),
                     -EACCES);
    s->tenant.private_events = CS_PRIVATE_FULL;
    assert_int_equal(cs_event_record(&s->ctx, NULL, sample_item(&page, 3), none, CS_UPSERTED, &rec),
                     0);
    assert_true(has_bytes(&rec, "CANARY body"));
    cs_record_clear(&rec);
}

static void test_private_series_leaks_nothing(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_text(
        s, "{\"id\":\"m\",\"type\":\"seriesMaster\",\"sensitivity\":\"confidential\",\"subject\":"
           "\"CANARY\",\"iCalUId\":\"CANARY\",\"showAs\":\"busy\","
           "\"body\":{\"contentType\":\"text\",\"content\":\"CANARY\"},\"recurrence\":{\"pattern\":"
           "{\"type\":\"daily\",\"interval\":1},\"range\":{\"type\":\"noEnd\"}},"
           "\"start\":{\"dateTime\":\"2026-01-01T08:00:00\",\"timeZone\":\"UTC\"},\"end\":{"
           "\"dateTime\":\"2026-01-01T09:00:00\",\"timeZone\":\"UTC\"}}");
    struct cs_page stub =
        sample_text(s, "{\"id\":\"o\",\"type\":\"occurrence\",\"seriesMasterId\":\"m\",\"start\":{"
                       "\"dateTime\":\"2026-01-02T08:00:00\",\"timeZone\":\"UTC\"},"
                       "\"end\":{\"dateTime\":\"2026-01-02T09:00:00\",\"timeZone\":\"UTC\"}}");
    const struct cs_series_parts parts = {0};
    struct cs_record rec;

    assert_int_equal(cs_series_record(&s->ctx, NULL, page.root, &parts, CS_UPSERTED, &rec), 0);
    assert_false(has_bytes(&rec, "CANARY"));
    assert_str(cs_js_path(sample_value(&rec), "recurrence", "rrule", NULL), "FREQ=DAILY");
    cs_record_clear(&rec);
    assert_int_equal(cs_event_record(&s->ctx, NULL, stub.root, page.root, CS_UPSERTED, &rec), 0);
    assert_false(has_bytes(&rec, "CANARY"));
    assert_str(cs_js_get(sample_value(&rec), "detail"), "busy_only");
    cs_record_clear(&rec);
}

/* An occurrence that only has its master's id and an exception with its own are one meeting. */
static void test_dedup_key_is_the_meetings(void **state)
{
    static const char format[] =
        "{\"id\":\"%s\",\"type\":\"exception\",\"seriesMasterId\":\"%s\",\"subject\":\"x\","
        "\"showAs\":\"busy\",\"sensitivity\":\"normal\",\"iCalUId\":\"%s\","
        "\"originalStart\":\"2026-04-06T07:00:00Z\",\"start\":{\"dateTime\":\"2026-04-07T07:00:"
        "00\",\"timeZone\":\"UTC\"},\"end\":{\"dateTime\":\"2026-04-07T07:30:00\",\"timeZone\":"
        "\"UTC\"}}";
    struct sample *s = *state;
    char keys[3][80], text[1024];
    const char *const uids[] = {"040000008200E00074C5B7101A82E00800000000AA",
                                "040000008200E00074C5B7101A82E00807EA0406AA",
                                "040000008200E00074C5B7101A82E00807EA0406BB"};

    for (size_t i = 0; i < 3; i++) {
        struct cs_page page;
        struct cs_record rec;

        (void)snprintf(text, sizeof(text), format, i == 0 ? "a" : "b", i == 0 ? "ma" : "mb",
                       uids[i]);
        page = sample_text(s, text);
        assert_int_equal(cs_event_record(&s->ctx, NULL, page.root, none, CS_UPSERTED, &rec), 0);
        assert_int_equal(cs_js_str_into(cs_js_get(sample_value(&rec), "dedup_key"), keys[i], 80),
                         64);
        cs_record_clear(&rec);
    }
    assert_string_equal(keys[0], keys[1]);
    assert_string_not_equal(keys[0], keys[2]);
}

/* contract: fact.23.join_url */
static void test_join_links_in_places(void **state)
{
    static const struct {
        const char *place, *url;
    } cases[] = {
        {"Room 1", NULL},
        {"https://maps.example/room1", NULL},
        {"see https://maps.example/x or https://meet.google.com/abc-defg-hij.",
         "https://meet.google.com/abc-defg-hij."},
        {"<https://us02web.zoom.us/j/1?pwd=2>", "https://us02web.zoom.us/j/1?pwd=2"},
        {"https://evilzoom.us/j/1", NULL},
        {"https://zoom.us.evil.example/j/1", NULL},
        {"https://", NULL},
    };
    struct sample *s = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        struct cs_page page;
        struct cs_record rec;

        (void)snprintf(text, sizeof(text),
                       "{\"id\":\"1\",\"type\":\"singleInstance\",\"sensitivity\":\"normal\","
                       "\"location\":{\"displayName\":\"%s\"},"
                       "\"start\":{\"dateTime\":\"2026-01-02T08:00:00\",\"timeZone\":\"UTC\"},"
                       "\"end\":{\"dateTime\":\"2026-01-02T09:00:00\",\"timeZone\":\"UTC\"}}",
                       cases[i].place);
        page = sample_text(s, text);
        assert_int_equal(cs_event_record(&s->ctx, NULL, page.root, none, CS_UPSERTED, &rec), 0);
        assert_str(cs_js_get(sample_value(&rec), "join_url"), cases[i].url);
        cs_record_clear(&rec);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, sample_setup, sample_teardown)
    const struct CMUnitTest tests[] = {
        T(test_single_instance),           T(test_facts),
        T(test_facts_that_are_refused),    T(test_occurrence_stub),
        T(test_exception_keeps_its_own),   T(test_series),
        T(test_all_day_events_are_dates),  T(test_all_day_in_odd_zones),
        T(test_custom_zone_is_kept),       T(test_times_that_are_not_utc),
        T(test_busy_only_leaks_nothing),   T(test_private_series_leaks_nothing),
        T(test_dedup_key_is_the_meetings), T(test_join_links_in_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
