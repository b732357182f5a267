#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_slice.h"

static struct cs_js must(const char *text)
{
    struct cs_js v = {0};
    struct cs_js_error err = {0, "none"};
    if (cs_js_check(text, strlen(text), CS_JS_MAX_DEPTH, &v, &err) != 0)
        fail_msg("refused at %zu: %s: %s", err.offset, err.reason, text);
    return v;
}

/* Checked in an exact-size heap copy, so that a sanitizer sees any byte read behind the text. */
static int check(const char *text, size_t n, struct cs_js_error *err)
{
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    int r = cs_js_check(copy, n, CS_JS_MAX_DEPTH, NULL, err);
    free(copy);
    return r;
}

static void test_accepts_what_rfc_8259_allows(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0",
        "-0",
        "1.5e+10",
        "-12.25E-3",
        "1e0",
        "\"\"",
        "\"a\"",
        "null",
        "true",
        "false",
        "[]",
        "{}",
        " \t\r\n[ 1 , 2 ]\n",
        "{\"a\":{\"b\":[]}}",
        "{ \"a\" : 1 , \"a\" : 2 }",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\"\\b\\f\\n\\r\\t\\/\\\\\\\"\"",
        "\"\x7f\"",
        "\"\xC2\x80\"",
        "\"\xE0\xA0\x80\"",
        "\"\xED\x9F\xBF\"",
        "\"\xEE\x80\x80\"",
        "\"\xF0\x90\x80\x80\"",
        "\"\xF4\x8F\xBF\xBF\"",
        "\"0123456789abcdef0123456789\"",
        "123456789012345678901234567890",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct cs_js_error err = {0, "none"};
        if (check(good[i], strlen(good[i]), &err) != 0)
            fail_msg("%s: %s at %zu", good[i], err.reason, err.offset);
    }
}

static void test_refuses_everything_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t offset;
    } bad[] = {
        {"", 0},
        {"  ", 2},
        {"01", 1},
        {"-", 1},
        {"+1", 0},
        {".5", 0},
        {"1.", 2},
        {"1e", 2},
        {"1e+", 3},
        {"0x10", 1},
        {"NaN", 0},
        {"Infinity", 0},
        {"-Infinity", 1},
        {"tru", 0},
        {"truex", 4},
        {"nul", 0},
        {"True", 0},
        {"'a'", 0},
        {"\"a", 2},
        {"\"a\\", 2},
        {"\"\\x\"", 1},
        {"\"\\u12\"", 1},
        {"\"\\u12g4\"", 1},
        {"\"\t\"", 1},
        {"\"a\nb\"", 2},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1 2]", 3},
        {"[1", 2},
        {"[", 1},
        {"]", 0},
        {"{", 1},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{\"a\":1,}", 7},
        {"{a:1}", 1},
        {"{\"a\" 1}", 5},
        {"{\"a\":1]", 6},
        {"[1}", 2},
        {"1 2", 2},
        {"[] x", 3},
        {"// c\n1", 0},
        {"[1/**/]", 2},
        {"\xEF\xBB\xBF{}", 0},
        /* UTF-8: stray, cut off, overlong, surrogate, above U+10FFFF */
        {"\"\x80\"", 1},
        {"\"\xC3\"", 1},
        {"\"\xC0\xAF\"", 1},
        {"\"\xC1\xBF\"", 1},
        {"\"\xE0\x80\xAF\"", 1},
        {"\"\xE0\x9F\xBF\"", 1},
        {"\"\xED\xA0\x80\"", 1},
        {"\"\xED\xBF\xBF\"", 1},
        {"\"\xF0\x8F\xBF\xBF\"", 1},
        {"\"\xF4\x90\x80\x80\"", 1},
        {"\"\xF5\x80\x80\x80\"", 1},
        {"\"\xFE\"", 1},
        {"\"\xE2\x82\"", 1},
        {"\"\xF0\x9F\x98\"", 1},
        /* found behind eight plain bytes at a time too */
        {"\"01234567890123\x01\"", 15},
        {"\"0123456789\xFF...........\"", 11},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cs_js_error err = {999, NULL};
        if (check(bad[i].text, strlen(bad[i].text), &err) != -EBADMSG)
            fail_msg("accepted: %s", bad[i].text);
        assert_non_null(err.reason);
        if (err.offset != bad[i].offset)
            fail_msg("%s: offset %zu, not %zu (%s)", bad[i].text, err.offset, bad[i].offset,
                     err.reason);
    }
    /* a NUL is a control character wherever it is */
    assert_int_equal(check("1\0", 2, NULL), -EBADMSG);
    assert_int_equal(check("\"\0\"", 3, NULL), -EBADMSG);
}

/* Every cut of a valid text is refused: nothing half-received is taken for whole. */
static void test_refuses_every_prefix(void **state)
{
    (void)state;
    const char *text =
        "{\"value\":[{\"id\":\"A\\u00e9\\ud83d\\ude00\xC3\xA9\",\"n\":-1.5e3,\"t\":true,"
        "\"x\":null}],\"@odata.nextLink\":\"https://x/\\\"\"}";
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(check(text, i, NULL), -EBADMSG);
    assert_int_equal(check(text, n, NULL), 0);
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    char text[2 * CS_JS_MAX_DEPTH + 4];
    struct cs_js v;
    memset(text, '[', CS_JS_MAX_DEPTH + 1);
    memset(text + CS_JS_MAX_DEPTH + 1, ']', CS_JS_MAX_DEPTH + 1);
    assert_int_equal(cs_js_check(text, 2 * CS_JS_MAX_DEPTH + 2, 1000, &v, NULL), -E2BIG);
    assert_int_equal(cs_js_check(text + 1, 2 * CS_JS_MAX_DEPTH, CS_JS_MAX_DEPTH, &v, NULL), 0);
    assert_int_equal(cs_js_check("[[1]]", 5, 1, &v, NULL), -E2BIG);
    assert_int_equal(cs_js_check("[1]", 3, 1, &v, NULL), 0);
    assert_int_equal(cs_js_check("1", 1, 0, &v, NULL), 0);
}

static void test_finds_members_and_types(void **state)
{
    (void)state;
    struct cs_js v =
        must(" {\"a\": 1 ,\"b\":[ 1, \"x\\\"]\" ,{\"c\":null} ],\"s\":\"q\\\"}\", \"a\":\"last\","
             "\"\\u0064\":true,\"n\":null, \"o\":{\"p\":{\"q\":7}},\"f\":false} ");
    assert_int_equal(cs_js_type(v), CS_JS_OBJECT);
    assert_true(cs_js_str_is(cs_js_get(v, "a"), "last"));
    assert_int_equal(cs_js_type(cs_js_get(v, "d")), CS_JS_BOOL);
    assert_int_equal(cs_js_type(cs_js_get(v, "n")), CS_JS_NULL);
    assert_false(cs_js_has(cs_js_get(v, "n")));
    assert_false(cs_js_has(cs_js_get(v, "nothing")));
    assert_int_equal(cs_js_type(cs_js_get(v, "nothing")), CS_JS_NONE);
    assert_null(cs_js_get(cs_js_get(v, "b"), "a").p);
    assert_true(cs_js_str_is(cs_js_get(v, "s"), "q\"}"));

    int64_t i = 0;
    assert_int_equal(cs_js_i64(cs_js_path(v, "o", "p", "q", NULL), &i), 0);
    assert_int_equal(i, 7);
    assert_null(cs_js_path(v, "o", "x", "q", NULL).p);

    struct cs_js b = cs_js_get(v, "b"), e;
    struct cs_js_iter it = {0};
    assert_int_equal(cs_js_count(b), 3);
    assert_true(cs_js_next_element(b, &it, &e));
    assert_int_equal(e.n, 1);
    assert_true(cs_js_next_element(b, &it, &e));
    assert_true(cs_js_str_is(e, "x\"]"));
    assert_true(cs_js_next_element(b, &it, &e));
    assert_int_equal(e.n, strlen("{\"c\":null}"));
    assert_memory_equal(e.p, "{\"c\":null}", e.n);
    assert_false(cs_js_next_element(b, &it, &e));
    assert_false(cs_js_next_element(b, &it, &e));

    struct cs_js name;
    struct cs_js_iter mt = {0};
    size_t members = 0;
    while (cs_js_next_member(v, &mt, &name, &e))
        members++;
    assert_int_equal(members, 8);
    assert_int_equal(cs_js_count(must("[]")), 0);
    assert_int_equal(cs_js_count(must("[ ]")), 0);
    assert_int_equal(cs_js_count(v), 0);
    mt = (struct cs_js_iter){0};
    assert_false(cs_js_next_member(must("{ }"), &mt, &name, &e));
}

static void test_decodes_strings(void **state)
{
    (void)state;
    struct cs_buf b;
    cs_buf_init(&b, 0);
    struct cs_js v = must("\"a\\n\\u00e9\\u20ac\\ud83d\\ude00\\\\ \xC3\xA9\\/\"");
    assert_int_equal(cs_js_str(v, &b), 0);
    assert_string_equal(b.data, "a\n\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\\ \xC3\xA9/");
    assert_false(cs_js_str_has_lone_surrogate(v));
    cs_buf_reset(&b);

    v = must("\"x\\u0000y\"");
    assert_int_equal(cs_js_str(v, &b), 0);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "x\0y", 3);
    assert_null(cs_js_strdup(v, 100));
    char small[8];
    assert_int_equal(cs_js_str_into(v, small, sizeof(small)), -EINVAL);
    assert_string_equal(small, "");
    cs_buf_reset(&b);

    static const char *const lone[] = {"\"\\ud800\"",
                                       "\"\\udc00\"",
                                       "\"\\ud800x\"",
                                       "\"\\ud800\\n\"",
                                       "\"\\uDBFF\\ud83d\\ude00\"",
                                       "\"\\ude00\\ud83d\""};
    for (size_t i = 0; i < sizeof(lone) / sizeof(lone[0]); i++)
        assert_true(cs_js_str_has_lone_surrogate(must(lone[i])));
    assert_int_equal(cs_js_str(must("\"\\uDBFF\\ud83d\\ude00\""), &b), 0);
    assert_string_equal(b.data, "\xEF\xBF\xBD\xF0\x9F\x98\x80");
    cs_buf_reset(&b);
    assert_int_equal(cs_js_str(must("\"\""), &b), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(cs_js_str(must("1"), &b), -EINVAL);
    cs_buf_clear(&b);
    assert_int_equal(cs_js_str((struct cs_js){0}, &b), -EINVAL);
}

static void test_fixed_arrays_never_overflow(void **state)
{
    (void)state;
    char out[5];
    assert_int_equal(cs_js_str_into(must("\"abcd\""), out, sizeof(out)), 4);
    assert_string_equal(out, "abcd");
    assert_int_equal(cs_js_str_into(must("\"abcde\""), out, sizeof(out)), -EMSGSIZE);
    assert_string_equal(out, "");
    assert_int_equal(cs_js_str_into(must("\"ab\\ud83d\\ude00\""), out, sizeof(out)), -EMSGSIZE);
    assert_int_equal(cs_js_str_into(must("\"\\ud83d\\ude00\""), out, sizeof(out)), 4);
    assert_int_equal(cs_js_str_into(must("\"\""), out, 0), -EMSGSIZE);
    assert_int_equal(cs_js_str_into(must("7"), out, sizeof(out)), -EINVAL);

    char *s = cs_js_strdup(must("\"abcde\""), 5);
    assert_string_equal(s, "abcde");
    free(s);
    assert_null(cs_js_strdup(must("\"abcde\""), 4));
    assert_null(cs_js_strdup(must("{}"), 4));
    s = cs_js_strdup(must("\"\""), 0);
    assert_string_equal(s, "");
    free(s);
    s = cs_js_strdup(must("\"\\u0041\\u0042\""), 2);
    assert_string_equal(s, "AB");
    free(s);
}

static void test_compares_decoded(void **state)
{
    (void)state;
    assert_true(cs_js_str_is(must("\"a\\u0062c\""), "abc"));
    assert_false(cs_js_str_is(must("\"abc\""), "ab"));
    assert_false(cs_js_str_is(must("\"ab\""), "abc"));
    assert_false(cs_js_str_is(must("\"ABC\""), "abc"));
    assert_true(cs_js_str_is_nocase(must("\"AbC\""), "aBc"));
    assert_false(cs_js_str_is_nocase(must("\"a[\""), "a{"));
    assert_false(cs_js_str_is(must("null"), "null"));
    const char *p;
    size_t n;
    assert_true(cs_js_str_raw(must("\"a\\n\""), &p, &n));
    assert_int_equal(n, 3);
    assert_false(cs_js_str_raw(must("1"), &p, &n));
}

static void test_reads_numbers_and_booleans(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int r;
        int64_t v;
    } t[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"42", 0, 42},
        {"-42", 0, -42},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", -EINVAL, 0},
        {"-9223372036854775809", -EINVAL, 0},
        {"18446744073709551616", -EINVAL, 0},
        {"100000000000000000000", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"\"1\"", -EINVAL, 0},
        {"null", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        int64_t v = 1234;
        assert_int_equal(cs_js_i64(must(t[i].text), &v), t[i].r);
        assert_true(v == (t[i].r == 0 ? t[i].v : 1234));
    }
    bool b = false;
    assert_int_equal(cs_js_bool(must("true"), &b), 0);
    assert_true(b);
    assert_int_equal(cs_js_bool(must("\"false\""), &b), 0);
    assert_false(b);
    assert_int_equal(cs_js_bool(must("\"true\""), &b), 0);
    assert_true(b);
    assert_int_equal(cs_js_bool(must("\"yes\""), &b), -EINVAL);
    assert_int_equal(cs_js_bool(must("1"), &b), -EINVAL);
    assert_int_equal(cs_js_i64((struct cs_js){0}, &(int64_t){0}), -EINVAL);
}

/* The walkers are for checked text; on any other they may answer nonsense, but stay inside and end. */
static void test_walkers_stay_inside_unchecked_text(void **state)
{
    (void)state;
    static const char *const odd[] = {"{\"a",          "{\"a\\", "[\"\\",  "{\"a\":", "[}", "[1}",
                                      "{]}",           "[[[",    "\"\\u1", "\"",      "{",  "[",
                                      "{\"\\ud800\\u", "[,,,]",  "{,}",    "[:]",     "-"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        size_t n = strlen(odd[i]);
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, odd[i], n);
        struct cs_js v = {.p = copy, .n = n}, name, value;
        struct cs_js_iter it = {0};
        size_t steps = 0;
        while (cs_js_next_element(v, &it, &value) && steps < 100)
            steps++;
        it = (struct cs_js_iter){0};
        while (cs_js_next_member(v, &it, &name, &value) && steps < 100)
            steps++;
        assert_true(steps < 100);
        struct cs_buf b;
        cs_buf_init(&b, 0);
        (void)cs_js_str(v, &b); /* only that it ends */
        cs_buf_clear(&b);
        (void)cs_js_get(v, "a");
        (void)cs_js_str_has_lone_surrogate(v);
        int64_t num = 0;
        (void)cs_js_i64(v, &num);
        free(copy);
    }
}

/* The same answers with an index as without, at and over its size. */
static void test_index(void **state)
{
    (void)state;
    struct cs_js_index index;
    char text[4096] = "{\"a\":1,\"\\u0062\":2,\"a\":3,\"c\":{\"d\":4}}", name[16];
    struct cs_js v = must(text), ix = cs_js_indexed(v, &index);
    static const char *const names[] = {"a", "b", "c", "d", "\\u0062", ""};
    assert_non_null(ix.index);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_ptr_equal(cs_js_get(ix, names[i]).p, cs_js_get(v, names[i]).p);
        assert_int_equal(cs_js_get(ix, names[i]).n, cs_js_get(v, names[i]).n);
    }
    assert_true(cs_js_has(cs_js_path(ix, "c", "d", NULL)));
    assert_null(cs_js_get(ix, "c").index);
    assert_null(cs_js_indexed(must("[1]"), &index).index);
    assert_null(cs_js_get(cs_js_indexed((struct cs_js){0}, &index), "a").p);
    for (int n = CS_JS_INDEX_MAX; n <= CS_JS_INDEX_MAX + 1; n++) {
        strcpy(text, "{");
        for (int i = 0; i < n; i++)
            (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s\"n%d\":%d",
                           i > 0 ? "," : "", i, i);
        strcat(text, "}");
        ix = cs_js_indexed(must(text), &index);
        assert_int_equal(ix.index != NULL, n == CS_JS_INDEX_MAX);
        for (int i = 0; i < n; i++) {
            int64_t got = -1;
            (void)snprintf(name, sizeof(name), "n%d", i);
            assert_int_equal(cs_js_i64(cs_js_get(ix, name), &got), 0);
            assert_int_equal(got, i);
        }
    }
}

/* Long strings are read in blocks of 64 bytes: every kind of byte at every place around the edges of two blocks. */
static void test_long_strings_at_every_place(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool good;
    } t[] = {
        {"x", true},
        {"\\\"", true},
        {"\\\\", true},
        {"\\\\\\\\\\\"", true},
        {"\\u00e9", true},
        {"\\ud83d\\ude00", true},
        {"\xC3\xA9", true},
        {"\xE2\x82\xAC", true},
        {"\xF0\x9F\x98\x80", true},
        {"\xF0\x9F\x98\x80\xC3\xA9\\n", true},
        {"\x01", false},
        {"\n", false},
        {"\\x", false},
        {"\\u00g0", false},
        {"\\\\\\x", false},
        {"\x80", false},
        {"\xC3", false},
        {"\xF0\x9F\x98", false},
        {"\xE2\x82\xAC\x80", false},
        {"\xED\xA0\x80", false},
        {"\\\n", false},
    };
    char text[256];
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        size_t n = strlen(t[i].in);
        for (size_t at = 1; at < 160; at++) {
            for (size_t len = 161; len < 200; len += 19) {
                memset(text, 'x', sizeof(text));
                text[0] = '"';
                memcpy(text + at, t[i].in, n);
                text[len + n] = '"';
                struct cs_js_error err = {0, "none"};
                int r = check(text, len + n + 1, &err);
                if (r != (t[i].good ? 0 : -EBADMSG))
                    fail_msg("case %zu at %zu of %zu: %s", i, at, len, err.reason);
                if (!t[i].good) {
                    assert_true(err.offset >= at && err.offset <= at + n);
                    continue;
                }
                struct cs_js arr, v, w;
                struct cs_js_iter it = {0};
                char whole[300];
                int k = snprintf(whole, sizeof(whole), "[%.*s,7]", (int)(len + n + 1), text);
                assert_int_equal(cs_js_check(whole, (size_t)k, 1, &arr, NULL), 0);
                assert_true(cs_js_next_element(arr, &it, &v));
                assert_int_equal(v.n, len + n + 1);
                assert_true(cs_js_next_element(arr, &it, &w));
                assert_int_equal(w.n, 1);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_what_rfc_8259_allows),
        cmocka_unit_test(test_refuses_everything_else),
        cmocka_unit_test(test_refuses_every_prefix),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_finds_members_and_types),
        cmocka_unit_test(test_decodes_strings),
        cmocka_unit_test(test_fixed_arrays_never_overflow),
        cmocka_unit_test(test_compares_decoded),
        cmocka_unit_test(test_reads_numbers_and_booleans),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_long_strings_at_every_place),
        cmocka_unit_test(test_walkers_stay_inside_unchecked_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
