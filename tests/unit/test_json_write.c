#include "cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/json_write.h"

static void test_sets_commas_and_nesting(void **state)
{
    (void)state;
    struct cs_buf b;
    struct cs_jw jw;
    cs_buf_init(&b, 0);
    cs_jw_init(&jw, &b);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "s", "x");
    cs_jw_kstr_opt(&jw, "left_out", NULL);
    cs_jw_kstr(&jw, "none", NULL);
    cs_jw_ki64(&jw, "i", INT64_MIN);
    cs_jw_kbool(&jw, "t", true);
    cs_jw_knull(&jw, "n");
    cs_jw_key(&jw, "a");
    cs_jw_array(&jw);
    cs_jw_i64(&jw, 1);
    cs_jw_array(&jw);
    cs_jw_array_end(&jw);
    cs_jw_object(&jw);
    cs_jw_object_end(&jw);
    cs_jw_object(&jw);
    cs_jw_key(&jw, "raw");
    cs_jw_raw(&jw, "{\"k\":[1]}", 9);
    cs_jw_key(&jw, "slice");
    cs_jw_slice(&jw, (struct cs_js){.p = "\"q\"", .n = 3});
    cs_jw_key(&jw, "no");
    cs_jw_slice(&jw, (struct cs_js){0});
    cs_jw_object_end(&jw);
    cs_jw_bool(&jw, false);
    cs_jw_null(&jw);
    cs_jw_strn(&jw, "abc", 2);
    cs_jw_array_end(&jw);
    cs_jw_ktime(&jw, "at", 0);
    cs_jw_ktime(&jw, "never", CS_NEVER);
    cs_jw_object_end(&jw);
    assert_int_equal(cs_buf_failed(&b), 0);
    assert_string_equal(
        b.data,
        "{\"s\":\"x\",\"none\":null,\"i\":-9223372036854775808,\"t\":true,\"n\":null,"
        "\"a\":[1,[],{},{\"raw\":{\"k\":[1]},\"slice\":\"q\",\"no\":null},false,null,\"ab\"],"
        "\"at\":\"1970-01-01T00:00:00.000Z\",\"never\":null}");
    assert_int_equal(cs_js_check(b.data, b.len, CS_JS_MAX_DEPTH, NULL, NULL), 0);
    cs_buf_clear(&b);
}

static void check_written(const char *in, size_t n, const char *out)
{
    struct cs_buf b;
    struct cs_jw jw;
    cs_buf_init(&b, 0);
    cs_jw_init(&jw, &b);
    cs_jw_strn(&jw, in, n);
    assert_string_equal(b.data, out);
    assert_int_equal(cs_js_check(b.data, b.len, 0, NULL, NULL), 0);
    cs_buf_clear(&b);
}

static void test_strings_are_always_valid(void **state)
{
    (void)state;
    check_written("", 0, "\"\"");
    check_written("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    check_written("\b\t\n\f\r\x01\x1f\x7f", 8, "\"\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\"");
    check_written("a\0b", 3, "\"a\\u0000b\"");
    check_written("\xC3\xA9\xF0\x9F\x98\x80", 6, "\"\xC3\xA9\xF0\x9F\x98\x80\"");
    check_written("0123456789\xFFz", 12, "\"0123456789\xEF\xBF\xBDz\"");
    check_written("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    check_written("\xC3", 1, "\"\xEF\xBF\xBD\"");
}

/* What was written comes back byte for byte, for every byte value and at every offset of a word. */
static void test_round_trip(void **state)
{
    (void)state;
    char in[40], out[64];
    for (int c = 1; c < 128; c++) {
        for (size_t at = 0; at < 20; at++) {
            struct cs_buf b;
            struct cs_jw jw;
            memset(in, 'x', sizeof(in));
            in[at] = (char)c;
            in[20] = '\0';
            cs_buf_init(&b, 0);
            cs_jw_init(&jw, &b);
            cs_jw_str(&jw, in);
            struct cs_js v;
            assert_int_equal(cs_js_check(b.data, b.len, 0, &v, NULL), 0);
            assert_int_equal(cs_js_str_into(v, out, sizeof(out)), 20);
            assert_string_equal(out, in);
            cs_buf_clear(&b);
        }
    }
}

static void test_failure_is_the_buffers(void **state)
{
    (void)state;
    struct cs_buf b;
    struct cs_jw jw;
    cs_buf_init(&b, 10);
    cs_jw_init(&jw, &b);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "key", "too long for ten bytes");
    cs_jw_ki64(&jw, "k", 1);
    cs_jw_object_end(&jw);
    assert_int_equal(cs_buf_failed(&b), -EMSGSIZE);
    assert_true(b.len <= 10);
    cs_buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets_commas_and_nesting),
        cmocka_unit_test(test_strings_are_always_valid),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_failure_is_the_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
