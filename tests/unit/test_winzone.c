#include "worker/winzone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/cmocka_all.h"
#include "worker/civil.h"
#include "worker/zone.h"

static int open_zones(void **state)
{
    struct cs_zones *z;

    if (cs_zones_open(NULL, &z) < 0)
        return -1;
    *state = z;
    return 0;
}

static int close_zones(void **state)
{
    cs_zones_close(*state);
    return 0;
}

static int64_t at(int y, int mo, int d, int h, int mi)
{
    return cs_civil_days(y, mo, d) * CS_DAY_S + h * 3600 + mi * 60;
}

static void test_names_of_windows(void **state)
{
    (void)state;
    assert_string_equal(cs_winzone_iana("W. Europe Standard Time"), "Europe/Berlin");
    assert_string_equal(cs_winzone_iana("pacific standard time"), "America/Los_Angeles");
    assert_string_equal(cs_winzone_iana("India Standard Time"), "Asia/Kolkata");
    assert_string_equal(cs_winzone_iana("UTC"), "Etc/UTC");
    assert_string_equal(cs_winzone_iana("Afghanistan Standard Time"), "Asia/Kabul");
    assert_string_equal(cs_winzone_iana("Yukon Standard Time"), "America/Whitehorse");
    assert_null(cs_winzone_iana("Customized Time Zone"));
    assert_null(cs_winzone_iana(""));
    assert_null(cs_winzone_iana("Zzz"));
}

/* Sorted, without doubles, and every target is in the system's database. */
static void test_table_is_whole(void **state)
{
    const char *windows, *iana, *last = "";
    size_t i;

    for (i = 0; cs_winzone_row(i, &windows, &iana); i++) {
        assert_true(strcasecmp(last, windows) < 0);
        assert_string_equal(cs_winzone_iana(windows), iana);
        assert_non_null(cs_zones_find(*state, iana));
        last = windows;
    }
    assert_true(i >= 130);
    assert_true(strlen(cs_winzone_cldr) > 0);
}

static void test_names_of_graph(void **state)
{
    const char *iana = NULL;

    assert_non_null(cs_zones_find_graph(*state, "Tokyo Standard Time", &iana));
    assert_string_equal(iana, "Asia/Tokyo");
    assert_non_null(cs_zones_find_graph(*state, "Europe/Amsterdam", &iana));
    assert_string_equal(iana, "Europe/Amsterdam");
    assert_non_null(cs_zones_find_graph(*state, "tzone://Microsoft/Utc", &iana));
    assert_string_equal(iana, "Etc/UTC");
    assert_null(cs_zones_find_graph(*state, "tzone://Microsoft/Custom", &iana));
    assert_null(cs_zones_find_graph(*state, "../../etc/passwd", &iana));
    assert_null(cs_zones_find_graph(*state, "posix/Europe/Berlin", &iana));
}

static void test_summer_time(void **state)
{
    const struct cs_zone *berlin = cs_zones_find(*state, "Europe/Berlin");

    assert_int_equal(cs_zone_offset_s(berlin, at(2026, 3, 29, 0, 59)), 3600);
    assert_int_equal(cs_zone_offset_s(berlin, at(2026, 3, 29, 1, 0)), 7200);
    assert_int_equal(cs_zone_offset_s(berlin, at(2026, 10, 25, 0, 59)), 7200);
    assert_int_equal(cs_zone_offset_s(berlin, at(2026, 10, 25, 1, 0)), 3600);
}

/* In a gap the offset before it counts; of two instants the first is taken. */
static void test_local_times_that_are_not_one_instant(void **state)
{
    const struct cs_zone *berlin = cs_zones_find(*state, "Europe/Berlin");
    const struct cs_zone *apia = cs_zones_find(*state, "Pacific/Apia");

    assert_int_equal(cs_zone_utc_s(berlin, at(2026, 3, 29, 2, 30)), at(2026, 3, 29, 1, 30));
    assert_int_equal(cs_zone_utc_s(berlin, at(2026, 3, 29, 3, 0)), at(2026, 3, 29, 1, 0));
    assert_int_equal(cs_zone_utc_s(berlin, at(2026, 10, 25, 2, 30)), at(2026, 10, 25, 0, 30));
    assert_int_equal(cs_zone_utc_s(berlin, at(2026, 10, 25, 3, 0)), at(2026, 10, 25, 2, 0));
    /* Samoa skipped 30 December 2011 */
    assert_int_equal(cs_zone_utc_s(apia, at(2011, 12, 29, 23, 0)), at(2011, 12, 30, 9, 0));
    assert_int_equal(cs_zone_utc_s(apia, at(2011, 12, 31, 1, 0)), at(2011, 12, 30, 11, 0));
}

/* The C library reads the same files: it is the oracle, past the end of the table too. */
static void test_equals_the_c_library(void **state)
{
    static const char *const names[] = {
        "Europe/Berlin",    "Europe/Dublin",    "America/New_York",   "America/Sao_Paulo",
        "Asia/Kolkata",     "Asia/Kathmandu",   "Australia/Adelaide", "Australia/Lord_Howe",
        "Africa/Cairo",     "Asia/Gaza",        "Asia/Jerusalem",     "America/Nuuk",
        "America/Santiago", "Pacific/Chatham",  "Africa/Casablanca",  "Asia/Tehran",
        "Pacific/Apia",     "America/St_Johns", "Etc/GMT+12",         "Atlantic/Azores"};
    size_t checked = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct cs_zone *zone = cs_zones_find(*state, names[i]);

        assert_non_null(zone);
        assert_int_equal(setenv("TZ", names[i], 1), 0);
        tzset();
        for (int64_t t = at(1971, 1, 1, 0, 0); t < at(2060, 1, 1, 0, 0); t += 6 * 3600 + 1777) {
            time_t clock = (time_t)t;
            struct tm tm;

            assert_non_null(localtime_r(&clock, &tm));
            if (cs_zone_offset_s(zone, t) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, not %ld", names[i], (long long)t,
                         (int)cs_zone_offset_s(zone, t), tm.tm_gmtoff);
            checked++;
        }
    }
    assert_true(checked > 2000000);
}

/* Every instant comes back by way of its wall clock, except the second of a doubled hour. */
static void test_round_trip(void **state)
{
    const struct cs_zone *zone = cs_zones_find(*state, "Australia/Lord_Howe");
    size_t doubled = 0;

    for (int64_t t = at(2020, 1, 1, 0, 0); t < at(2045, 1, 1, 0, 0); t += 900) {
        int64_t back = cs_zone_utc_s(zone, cs_zone_local_s(zone, t));

        assert_true(back == t || back == t - 1800);
        doubled += back != t;
    }
    assert_int_equal(doubled, 25 * 2); /* half an hour a year, in quarters */
}

static void test_files_that_are_no_zones(void **state)
{
    static const char head[] = "TZif2";
    unsigned char bytes[200] = {0};
    struct cs_zone *zone;
    char *big = calloc(1, 65536);
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
    size_t n;

    (void)state;
    assert_int_equal(cs_zone_parse("", 0, &zone), -EBADMSG);
    assert_int_equal(cs_zone_parse("TZif", 4, &zone), -EBADMSG);
    memcpy(bytes, head, 5);
    assert_int_equal(cs_zone_parse(bytes, sizeof(bytes), &zone), -EBADMSG);
    memset(bytes + 20, 0xff, 24); /* counts beyond the file */
    assert_int_equal(cs_zone_parse(bytes, sizeof(bytes), &zone), -EBADMSG);
    /* cut off anywhere it is refused */
    assert_non_null(f);
    n = fread(big, 1, 65536, f);
    (void)fclose(f);
    assert_int_equal(cs_zone_parse(big, n, &zone), 0);
    cs_zone_free(zone);
    for (size_t cut = 0; cut < n; cut++) {
        char *exact = malloc(cut + 1); /* so that a sanitizer sees the end */

        memcpy(exact, big, cut);
        assert_int_equal(cs_zone_parse(exact, cut, &zone), -EBADMSG);
        free(exact);
    }
    free(big);
}

static void test_no_database(void **state)
{
    char empty[] = "/tmp/crmsync-zones-XXXXXX";
    struct cs_zones *z;

    (void)state;
    assert_int_equal(cs_zones_open("/nonexistent", &z), -ENOENT);
    assert_int_equal(cs_zones_open("/usr/share/zoneinfo/zone.tab", &z), -ENOTDIR);
    assert_non_null(mkdtemp(empty));
    assert_int_equal(cs_zones_open(empty, &z), -ENOENT);
    assert_int_equal(rmdir(empty), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_windows),
        cmocka_unit_test(test_table_is_whole),
        cmocka_unit_test(test_names_of_graph),
        cmocka_unit_test(test_summer_time),
        cmocka_unit_test(test_local_times_that_are_not_one_instant),
        cmocka_unit_test(test_equals_the_c_library),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_files_that_are_no_zones),
        cmocka_unit_test(test_no_database),
    };

    return cmocka_run_group_tests(tests, open_zones, close_zones);
}
