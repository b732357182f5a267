#include "cmocka_all.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"

static void test_formats(void **state)
{
    (void)state;
    char t[CS_TIME_TEXT];
    cs_time_format(0, t);
    assert_string_equal(t, "1970-01-01T00:00:00.000Z");
    cs_time_format(-1, t);
    assert_string_equal(t, "1969-12-31T23:59:59.999Z");
    cs_time_format(INT64_C(1767323045678), t);
    assert_string_equal(t, "2026-01-02T03:04:05.678Z");
    cs_time_format_s(INT64_C(1767323045678), t);
    assert_string_equal(t, "2026-01-02T03:04:05Z");
    cs_time_format(INT64_MIN, t);
    assert_string_equal(t, "0001-01-01T00:00:00.000Z");
    cs_time_format(INT64_MAX, t);
    assert_string_equal(t, "9999-12-31T23:59:59.999Z");
}

static void test_parses(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        int64_t ms;
    } good[] = {
        {"2026-01-02T03:04:05Z", INT64_C(1767323045000)},
        {"2026-01-02T03:04:05.678Z", INT64_C(1767323045678)},
        {"2026-01-02t03:04:05.6z", INT64_C(1767323045600)},
        {"2026-01-02T03:04:05.6789999Z", INT64_C(1767323045678)},
        {"2026-01-02T03:04:05.123456789012Z", INT64_C(1767323045123)},
        {"2026-01-02T03:04:05.Z", INT64_C(1767323045000)},
        {"2026-01-02T03:04:05.0000000", INT64_C(1767323045000)},
        {"2026-01-02T08:34:05+05:30", INT64_C(1767323045000)},
        {"2026-01-01T19:04:05-08:00", INT64_C(1767323045000)},
        {"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800000)},
        {"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t ms = 1;
        if (cs_time_parse(good[i].s, strlen(good[i].s), &ms) != 0 || ms != good[i].ms)
            fail_msg("%s gave %lld", good[i].s, (long long)ms);
    }
    static const char *const bad[] = {
        "",
        "2026-01-02",
        "2026-01-02 03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-02-29T03:04:05Z",
        "2100-02-29T00:00:00Z",
        "2026-01-32T03:04:05Z",
        "2026-01-00T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:61Z",
        "2026-01-02T03:04:05X",
        "2026-01-02T03:04:05Zx",
        "2026-01-02T03:04:05.1234567890123Z",
        "2026-01-02T03:04:05+0530",
        "2026-01-02T03:04:05+05",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+05:60",
        "0000-01-01T00:00:00Z",
        "+026-01-02T03:04:05Z",
        "2026-1-02T03:04:05Z ",
        "9999-12-31T23:59:59-01:00",
        "2026-01-02T-3:04:05Z",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ms = 77;
        if (cs_time_parse(bad[i], strlen(bad[i]), &ms) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
        assert_true(ms == 77);
    }
    assert_int_equal(cs_time_parse(NULL, 0, &(int64_t){0}), -EINVAL);
}

/* Against the C library's calendar, over every century's turn and leap rule. */
static void test_agrees_with_gmtime(void **state)
{
    (void)state;
    for (int64_t s = INT64_C(-62135596800); s < INT64_C(253402300800);
         s += INT64_C(86400) * 97 + 3607) {
        struct tm tm;
        time_t t = (time_t)s;
        char want[64], got[CS_TIME_TEXT];
        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(want, sizeof(want), "-%m-%dT%H:%M:%SZ", &tm) > 0);
        cs_time_format_s(s * 1000, got);
        assert_string_equal(got + 4, want);
        int64_t back = 0;
        assert_int_equal(cs_time_parse(got, strlen(got), &back), 0);
        assert_true(back == s * 1000);
    }
}

static void test_knows_graphs_never(void **state)
{
    (void)state;
    int64_t ms;
    assert_int_equal(cs_time_parse("0001-01-01T00:00:00Z", 20, &ms), 0);
    assert_true(cs_time_is_never(ms));
    assert_int_equal(cs_time_parse("0001-01-01T00:00:00+05:00", 25, &ms), 0);
    assert_true(cs_time_is_never(ms));
    assert_int_equal(cs_time_parse("0002-01-01T00:00:00Z", 20, &ms), 0);
    assert_false(cs_time_is_never(ms));
}

static void test_clocks(void **state)
{
    (void)state;
    int64_t a = cs_clock_mono_ms();
    assert_true(cs_clock_mono_ms() >= a);
    int64_t utc = cs_clock_utc_ms();
    assert_true(utc > INT64_C(1600000000000));
    cs_clock_set_utc_offset(-INT64_C(86400000) * 365);
    assert_true(cs_clock_utc_ms() < utc);
    cs_clock_set_utc_offset(0);
    assert_true(cs_clock_utc_ms() >= utc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_parses),
        cmocka_unit_test(test_agrees_with_gmtime),
        cmocka_unit_test(test_knows_graphs_never),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
