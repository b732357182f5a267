#include "cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"

static struct cs_json *parse(const char *text)
{
    struct cs_json *doc = NULL;
    const char *reason = "none";
    int r = cs_json_parse(text, strlen(text), &doc, &reason);
    if (r != 0)
        fail_msg("%d %s: %s", r, reason, text);
    return doc;
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{'a':1}",
        "NaN",
        "[Infinity]",
        "{\"a\":1}{",
        "{\"a\":\"\t\"}",
        "[1,]",
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"x\":[{\"a\":{},\"b\":1,\"a\":[]}]}",
        "9223372036854775808",
        "[-9223372036854775809]",
        "{\"a\":18446744073709551615}",
        "{\"a\\u0000b\":1}",
        "\"\\ud800\"",
        "{\"\\udc00\":1}",
        "\"\xff\"",
        "// c\n1",
        "[0x1]",
        "[01]",
        "[1.]",
        "{\"\":1,\"\":2}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cs_json *doc = NULL;
        const char *reason = NULL;
        if (cs_json_parse(bad[i], strlen(bad[i]), &doc, &reason) != -EBADMSG)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(reason);
        assert_null(doc);
    }
    char deep[80];
    const char *reason = NULL;
    struct cs_json *doc = NULL;
    memset(deep, '[', 40);
    memset(deep + 40, ']', 40);
    assert_int_equal(cs_json_parse(deep, 80, &doc, &reason), -EBADMSG);
    assert_int_equal(cs_json_parse(deep + 8, 64, &doc, &reason), 0);
    cs_json_free(doc);
}

static void test_getters(void **state)
{
    (void)state;
    struct cs_json *doc =
        parse("{\"s\":\"text\",\"nul\":\"a\\u0000b\",\"i\":-5,\"big\":9223372036854775807,"
              "\"d\":1.5,\"t\":true,\"n\":null,\"a\":[\"x\",2],\"o\":{},"
              "\"at\":\"2026-01-02T03:04:05.678Z\",\"e\":\"\"}");
    cs_json_val v = cs_json_root(doc), a;
    const char *s = NULL;
    int64_t i = 0;
    bool b = false;
    assert_true(cs_json_is_object(v));
    assert_int_equal(cs_json_str(v, "s", 4, &s), 0);
    assert_string_equal(s, "text");
    assert_int_equal(cs_json_str(v, "s", 3, &s), -EINVAL);
    assert_int_equal(cs_json_str(v, "e", 0, &s), 0);
    assert_int_equal(cs_json_str(v, "nul", 100, &s), -EINVAL);
    assert_int_equal(cs_json_str(v, "i", 100, &s), -EINVAL);
    assert_int_equal(cs_json_str(v, "n", 100, &s), -ENOENT);
    assert_int_equal(cs_json_str(v, "absent", 100, &s), -ENOENT);
    assert_int_equal(cs_json_str(NULL, "s", 100, &s), -ENOENT);
    assert_int_equal(cs_json_i64(v, "i", -5, 0, &i), 0);
    assert_int_equal(i, -5);
    assert_int_equal(cs_json_i64(v, "i", -4, 0, &i), -EINVAL);
    assert_int_equal(cs_json_i64(v, "big", 0, INT64_MAX, &i), 0);
    assert_true(i == INT64_MAX);
    assert_int_equal(cs_json_i64(v, "d", 0, 10, &i), -EINVAL);
    assert_int_equal(cs_json_i64(v, "s", 0, 10, &i), -EINVAL);
    assert_int_equal(cs_json_i64(v, "n", 0, 10, &i), -ENOENT);
    assert_int_equal(cs_json_bool(v, "t", &b), 0);
    assert_true(b);
    assert_int_equal(cs_json_bool(v, "i", &b), -EINVAL);
    assert_int_equal(cs_json_bool(v, "x", &b), -ENOENT);
    assert_int_equal(cs_json_time(v, "at", &i), 0);
    assert_true(i == INT64_C(1767323045678));
    assert_int_equal(cs_json_time(v, "s", &i), -EINVAL);
    assert_null(cs_json_get(v, "n"));
    a = cs_json_get(v, "a");
    assert_true(cs_json_is_array(a));
    assert_int_equal(cs_json_len(a), 2);
    assert_int_equal(cs_json_len(v), 0);
    assert_null(cs_json_at(a, 2));
    assert_int_equal(cs_json_val_str(cs_json_at(a, 0), 5, &s), 0);
    assert_string_equal(s, "x");
    assert_int_equal(cs_json_val_str(cs_json_at(a, 1), 5, &s), -EINVAL);
    assert_int_equal(cs_json_val_str(NULL, 5, &s), -ENOENT);

    size_t at = 0, n = 0;
    const char *name;
    cs_json_val value;
    while (cs_json_next(v, &at, &name, &value)) {
        if (n == 0)
            assert_string_equal(name, "s");
        n++;
    }
    assert_int_equal(n, 11);
    assert_false(cs_json_next(v, &at, &name, &value));
    at = 0;
    assert_false(cs_json_next(cs_json_get(v, "o"), &at, &name, &value));
    assert_false(cs_json_next(a, &at, &name, &value));
    cs_json_free(doc);
    cs_json_free(NULL);
}

/* json-c makes U+FFFD of these: code points whose low 16 bits look like a surrogate. */
static void test_escaped_pairs(void **state)
{
    (void)state;
    struct cs_json *doc =
        parse("[\"\\ud837\\ude00\",\"\\ud836\\udc00x\",\"\\ud83d\\ude00\",\"\xF0\x9D\xB8\x80\"]");
    static const char *const want[] = {"\xF0\x9D\xB8\x80", "\xF0\x9D\xA0\x80x", "\xF0\x9F\x98\x80",
                                       "\xF0\x9D\xB8\x80"};
    for (size_t i = 0; i < 4; i++) {
        const char *s = NULL;
        assert_int_equal(cs_json_val_str(cs_json_at(cs_json_root(doc), i), 10, &s), 0);
        assert_string_equal(s, want[i]);
    }
    cs_json_free(doc);
}

static void test_prints_what_came(void **state)
{
    (void)state;
    static const char *const t[] = {
        // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one text on two lines
        "{\"b\":1,\"a\":[true,false,null,{},[]],\"d\":1.50,\"e\":-1e+999,\"s\":\"q\\\"/"
        "\xC3\xA9\\u0001\\n\"}",
        "null",
        "7",
        "-9223372036854775808",
        "\"\"",
        "1.0",
        "{\"a\\\"b\":{\"\":0}}",
        "\"a\\u0000b\"",
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct cs_json *doc = parse(t[i]);
        struct cs_buf b;
        cs_buf_init(&b, 0);
        assert_int_equal(cs_json_print(cs_json_root(doc), &b), 0);
        assert_string_equal(b.data, t[i]);
        cs_buf_clear(&b);
        cs_buf_init(&b, 1);
        assert_int_equal(cs_json_print(cs_json_root(doc), &b), strlen(t[i]) > 1 ? -EMSGSIZE : 0);
        cs_buf_clear(&b);
        cs_json_free(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_escaped_pairs),
        cmocka_unit_test(test_prints_what_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
