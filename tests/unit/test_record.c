#include "worker/filter.h"
#include "worker/record.h"

#include <errno.h>

#include "tests/unit/graph_sample.h"
#include "worker/email.h"
#include "worker/text.h"

static const struct cs_js none;

/* ---- text ------------------------------------------------------------------------------------ */

static void test_scan(void **state)
{
    static const struct {
        const char *raw;
        bool clean;
        size_t bytes;
    } cases[] = {
        {"", true, 0},
        {"abc", true, 3},
        {"a\\n\\u00e9\\u20ac", true, 1 + 1 + 2 + 3},
        {"\\ud83d\\ude00", true, 4},
        {"\\uD83D\\uDE00x", true, 5},
        {"\\\\u0000", true, 6},
        {"\\u0000a", false, 1},
        {"\\ud83d", false, 3},
        {"\\ude00\\ud83d", false, 6},
        {"\\ud83d\\u0041", false, 4},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cs_text_facts f = cs_text_scan(cases[i].raw, strlen(cases[i].raw));

        assert_int_equal(f.is_clean, cases[i].clean);
        assert_int_equal(f.decoded_bytes, cases[i].bytes);
    }
}

/* Wherever it is cut, what remains is a valid string and as long as can be. */
static void test_cut_splits_nothing(void **state)
{
    static const char raw[] =
        "a\\\"\\\\\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\\u00e9\\ud83d\\ude00\\nz";
    size_t n = sizeof(raw) - 1, last = 0;

    (void)state;
    for (size_t max = 0; max <= n + 2; max++) {
        size_t cut = cs_text_cut(raw, n, max);
        char text[64];
        struct cs_js v;

        assert_true(cut <= max && cut <= n && cut >= last && max - cut < 12 + (max > n ? 3 : 0));
        (void)snprintf(text, sizeof(text), "\"%.*s\"", (int)cut, raw);
        assert_int_equal(cs_js_check(text, cut + 2, 2, &v, NULL), 0);
        assert_false(cs_js_str_has_lone_surrogate(v));
        last = cut;
    }
    assert_int_equal(last, n);
}

static void test_html_is_not_cut_in_a_tag(void **state)
{
    (void)state;
    assert_int_equal(cs_text_cut_html("<p>one</p><a hr", 15), 10);
    assert_int_equal(cs_text_cut_html("<p>one two", 10), 10);
    assert_int_equal(cs_text_cut_html("<p>one &am", 10), 7);
    assert_int_equal(cs_text_cut_html("<p>a&b c d", 10), 10);
    assert_int_equal(cs_text_cut_html("", 0), 0);
}

/* ---- records --------------------------------------------------------------------------------- */

static void test_removed_carries_ids_only(void **state)
{
    struct sample *s = *state;
    struct cs_record rec;
    char *index = (char *)1;
    size_t len = 1;
    struct cs_js v;

    assert_int_equal(
        cs_record_removed(&s->ctx, CS_KIND_EVENT, CS_DELETED, "m_20260329T233000Z", NULL, &rec), 0);
    assert_string_equal(rec.key, "acme/ann@contoso.example/event/m_20260329T233000Z");
    assert_string_equal(cs_record_ce_type(rec.kind, rec.change), "crmsync.event.deleted.v1");
    v = sample_value(&rec);
    assert_str(cs_js_get(v, "change"), "deleted");
    assert_str(cs_js_get(v, "graph_id"), NULL);
    assert_null(cs_js_get(v, "subject").p);
    assert_int_equal(cs_index_entry(&rec, true, &index, &len), 0);
    assert_null(index);
    assert_int_equal(len, 0);
    cs_record_clear(&rec);
    assert_int_equal(cs_record_removed(&s->ctx, CS_KIND_EMAIL, CS_LEFT_SCOPE, "", "x", &rec),
                     -EINVAL);
    assert_null(rec.key);
}

static void test_index_entry(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "message.json");
    struct cs_record rec;
    struct cs_js v;
    char *index;
    size_t len;

    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    assert_int_equal(cs_index_entry(&rec, true, &index, &len), 0);
    assert_int_equal(cs_js_check(index, len, 4, &v, NULL), 0);
    assert_str(cs_js_get(v, "key"), rec.key);
    assert_str(cs_js_get(v, "kind"), "email");
    assert_str(cs_js_get(v, "folder"), "AQMkAGInbox0001");
    assert_str(cs_js_get(v, "change_key"), rec.change_key);
    assert_str(cs_js_get(v, "received_at"), "2026-02-03T09:14:59.123Z");
    free(index);
    assert_int_equal(cs_index_entry(&rec, false, &index, &len), 0);
    assert_int_equal(cs_js_check(index, len, 4, &v, NULL), 0);
    assert_str(cs_js_get(v, "change_key"), NULL);
    assert_null(cs_js_get(v, "rules").p);
    free(index);
    rec.rules = CS_DEEP_AUTOMATED;
    assert_int_equal(cs_index_entry(&rec, true, &index, &len), 0);
    assert_non_null(strstr(index, "\"rules\":[\"automated\"]"));
    free(index);
    cs_record_clear(&rec);
}

/* What the filters hold back is in the index and says so, whether a record says that it is out of scope or none does. */
static void test_what_is_held_is_noted(void **state)
{
    static const enum cs_change changes[] = {CS_NOTED, CS_LEFT_SCOPE};
    struct sample *s = *state;

    for (size_t i = 0; i < 2; i++) {
        struct cs_record rec;
        struct cs_js v;
        char *index;
        size_t len;

        assert_int_equal(
            cs_record_noted(&s->ctx, CS_KIND_EMAIL, changes[i], "m1", "F1", "v1", &rec), 0);
        assert_int_equal(rec.value != NULL, changes[i] == CS_LEFT_SCOPE);
        rec.held = "private";
        rec.rules = CS_DEEP_PRIVATE;
        assert_int_equal(cs_index_entry(&rec, true, &index, &len), 0);
        assert_int_equal(cs_js_check(index, len, 4, &v, NULL), 0);
        assert_str(cs_js_get(v, "key"), "acme/ann@contoso.example/email/m1");
        assert_str(cs_js_get(v, "folder"), "F1");
        assert_str(cs_js_get(v, "change_key"), "v1");
        assert_str(cs_js_get(v, "held"), "private");
        assert_null(cs_js_get(v, "rules").p);
        free(index);
        cs_record_clear(&rec);
    }
}

/* The CloudEvent's id is the same for the same attempt, and another for another job, change or version. */
static void test_ce_id(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "message.json");
    char first[65];
    struct cs_record rec;

    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    assert_int_equal(strlen(rec.ce_id), 64);
    strcpy(first, rec.ce_id);
    cs_record_clear(&rec);
    s->ctx.observed_utc_ms += 5000;
    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    assert_string_equal(rec.ce_id, first);
    cs_record_clear(&rec);
    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_MOVED, NULL, none, &rec), 0);
    assert_string_not_equal(rec.ce_id, first);
    cs_record_clear(&rec);
    s->ctx.job_id = "0190a0b0-0000-7000-8000-000000000002";
    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    assert_string_not_equal(rec.ce_id, first);
    cs_record_clear(&rec);
}

static char *big_message(size_t body, size_t people)
{
    struct cs_buf b;

    cs_buf_init(&b, 0);
    cs_buf_adds(&b, "{\"id\":\"big\",\"changeKey\":\"1\",\"subject\":\"s\",\"body\":{"
                    "\"contentType\":\"html\",\"content\":\"<p>");
    for (size_t i = 0; i < body / 8; i++)
        cs_buf_adds(&b, "\\u00e9\xc3\xa9");
    cs_buf_adds(&b, "</p>\"},\"toRecipients\":[");
    for (size_t i = 0; i < people; i++)
        cs_buf_addf(&b,
                    "%s{\"emailAddress\":{\"name\":\"Person "
                    "%zu\",\"address\":\"person%zu@fabrikam.example\"}}",
                    i == 0 ? "" : ",", i, i);
    cs_buf_adds(&b, "]}");
    return cs_buf_steal(&b, NULL);
}

/* Too large for the topic: the body is cut, says so, and keeps its size. */
static void test_body_is_cut_to_fit(void **state)
{
    struct sample *s = *state;
    char *text = big_message(400000, 3);
    struct cs_page page;
    struct cs_record rec;
    struct cs_js v;
    int64_t bytes;

    s->ctx.max_bytes = 50000;
    assert_int_equal(cs_page_open(text, strlen(text), &page, NULL), 0);
    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    assert_true(rec.truncated);
    assert_true(rec.value_len <= 50000 && rec.value_len > 49000);
    v = sample_value(&rec);
    assert_bool(cs_js_path(v, "body", "truncated", NULL), true);
    assert_int_equal(cs_js_i64(cs_js_path(v, "body", "original_bytes", NULL), &bytes), 0);
    assert_int_equal(bytes, 7 + 50000 * 4);
    assert_int_equal(cs_js_count(cs_js_get(v, "to")), 3);
    assert_null(cs_js_get(v, "shortened").p);
    cs_record_clear(&rec);
    free(text);
}

/* Lists give way before the record does. */
static void test_lists_are_cut_to_fit(void **state)
{
    struct sample *s = *state;
    char *text = big_message(80, 5000);
    struct cs_page page;
    struct cs_record rec;
    struct cs_js v;

    s->ctx.max_bytes = CS_RECORD_MIN_BYTES;
    assert_int_equal(cs_page_open(text, strlen(text), &page, NULL), 0);
    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    assert_true(rec.truncated);
    assert_true(rec.value_len <= CS_RECORD_MIN_BYTES);
    v = sample_value(&rec);
    assert_bool(cs_js_get(v, "shortened"), true);
    assert_int_equal(cs_js_count(cs_js_get(v, "to")), 100);
    assert_bool(cs_js_path(v, "body", "truncated", NULL), false);
    cs_record_clear(&rec);
    s->ctx.max_bytes = 2000000;
    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    assert_false(rec.truncated);
    v = sample_value(&rec);
    assert_int_equal(cs_js_count(cs_js_get(v, "to")), 5000);
    assert_int_equal(cs_js_count(cs_js_get(v, "participants")), 5000);
    cs_record_clear(&rec);
    free(text);
}

static void test_outside_a_job(void **state)
{
    struct sample *s = *state;
    struct cs_record rec;
    struct cs_js v;

    s->ctx.job_id = NULL;
    s->ctx.lane = NULL;
    assert_int_equal(cs_record_removed(&s->ctx, CS_KIND_SERIES, CS_LEFT_SCOPE, "m", "m", &rec), 0);
    v = sample_value(&rec);
    assert_str(cs_js_get(v, "job_id"), NULL);
    assert_str(cs_js_get(v, "lane"), NULL);
    cs_record_clear(&rec);
}

static void test_kinds_by_name(void **state)
{
    enum cs_kind k = CS_KIND_EMAIL;

    (void)state;
    assert_int_equal(cs_kind_parse("series", 6, &k), 0);
    assert_int_equal(k, CS_KIND_SERIES);
    assert_int_equal(cs_kind_parse("serie", 5, &k), -EINVAL);
    assert_int_equal(cs_kind_parse("", 0, &k), -EINVAL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, sample_setup, sample_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_cut_splits_nothing),
        cmocka_unit_test(test_html_is_not_cut_in_a_tag),
        T(test_removed_carries_ids_only),
        T(test_index_entry),
        T(test_what_is_held_is_noted),
        T(test_ce_id),
        T(test_body_is_cut_to_fit),
        T(test_lists_are_cut_to_fit),
        T(test_outside_a_job),
        T(test_kinds_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
