/* test_recur.c - recurrence against libical, zones against the system's tz database. */
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "recur.h"
#include "sim.h"
#include "tz.h"

#ifdef SIM_HAVE_ICAL
#include <libical/ical.h>
#endif

/* ---- zones --------------------------------------------------------------------------------------- */

static void test_offsets_are_those_of_the_system(void **state)
{
    (void)state;
    if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) != 0)
        skip();
    for (int z = 0; z < sim_tz_count(); z++) {
        assert_int_equal(setenv("TZ", sim_tz_iana(z), 1), 0);
        tzset();
        size_t changes = 0;
        int32_t before = 0;
        for (int64_t s = (int64_t)sim_day_of(2023, 6, 1) * 86400;
             s < (int64_t)sim_day_of(2031, 1, 1) * 86400; s += 1800) {
            time_t t = (time_t)s;
            struct tm tm;
            assert_non_null(localtime_r(&t, &tm));
            if (sim_tz_offset_s(z, s) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, the system has %ld", sim_tz_iana(z), (long long)s,
                         sim_tz_offset_s(z, s), tm.tm_gmtoff);
            changes +=
                s != (int64_t)sim_day_of(2023, 6, 1) * 86400 && before != sim_tz_offset_s(z, s);
            before = sim_tz_offset_s(z, s);
        }
        assert_true(sim_tz_has_dst(z) ? changes >= 14 : changes == 0);
    }
    unsetenv("TZ");
    tzset();
}

static int64_t local(int y, int m, int d, int h, int mi)
{
    return (int64_t)sim_day_of(y, m, d) * 86400 + h * 3600 + mi * 60;
}

static void test_gap_and_overlap(void **state)
{
    (void)state;
    int berlin = sim_tz_find("W. Europe Standard Time"), howe = sim_tz_find("Australia/Lord_Howe");
    /* 02:30 does not exist: the offset before the gap gives 03:30 summer time */
    assert_int_equal(sim_tz_utc_s(berlin, local(2026, 3, 29, 2, 30)), local(2026, 3, 29, 1, 30));
    assert_int_equal(sim_tz_local_s(berlin, local(2026, 3, 29, 1, 30)), local(2026, 3, 29, 3, 30));
    assert_int_equal(sim_tz_utc_s(berlin, local(2026, 3, 29, 2, 0)), local(2026, 3, 29, 1, 0));
    assert_int_equal(sim_tz_utc_s(berlin, local(2026, 3, 29, 3, 0)), local(2026, 3, 29, 1, 0));
    assert_int_equal(sim_tz_utc_s(berlin, local(2026, 10, 25, 2, 0)), local(2026, 10, 25, 0, 0));
    assert_int_equal(sim_tz_utc_s(berlin, local(2026, 10, 25, 3, 0)), local(2026, 10, 25, 2, 0));
    /* 02:30 comes twice: the first one, in summer time */
    assert_int_equal(sim_tz_utc_s(berlin, local(2026, 10, 25, 2, 30)), local(2026, 10, 25, 0, 30));
    /* half an hour of summer time, south */
    assert_int_equal(sim_tz_utc_s(howe, local(2026, 4, 5, 1, 45)), local(2026, 4, 4, 14, 45));
    assert_int_equal(sim_tz_utc_s(howe, local(2026, 10, 4, 2, 15)), local(2026, 10, 3, 15, 45));
}

static void test_local_and_back(void **state)
{
    (void)state;
    struct sim_rng rng = {4};
    for (int i = 0; i < 200000; i++) {
        int z = (int)sim_rng_below(&rng, (uint64_t)sim_tz_count());
        int64_t s =
            local(2020, 1, 1, 0, 0) + (int64_t)sim_rng_below(&rng, UINT64_C(15) * 366 * 86400);
        int64_t back = sim_tz_utc_s(z, sim_tz_local_s(z, s));
        assert_true(back == s || back == s - 3600 ||
                    back == s - 1800); /* in an overlap the first one */
        assert_int_equal(sim_tz_local_s(z, back), sim_tz_local_s(z, s));
    }
}

static void test_days(void **state)
{
    (void)state;
    int y = 1970, m = 1, d = 1;
    for (int32_t day = 0; day < 60000; day++) {
        int gy, gm, gd;
        sim_day_split(day, &gy, &gm, &gd);
        assert_true(gy == y && gm == m && gd == d);
        assert_int_equal(sim_day_of(y, m, d), day);
        assert_int_equal(sim_day_weekday(day), (day + 4) % 7);
        if (++d > sim_days_in_month(y, m)) {
            d = 1;
            if (++m > 12) {
                m = 1;
                y++;
            }
        }
    }
    sim_day_split(sim_day_of(1, 1, 1), &y, &m, &d);
    assert_true(y == 1 && m == 1 && d == 1);
}

static void test_times_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = {
        {"1970-01-02T00:00:00Z", 86400},
        {"1970-01-02", 86400},
        {"1970-01-02T00:00:00.0000000", 86400},
        {"1970-01-02T02:00:00+02:00", 86400},
        {"1970-01-01T18:30:00-05:30", 86400},
        {"1970-01-01T00:01", 60},
        {"1970-02-29T00:00:00Z", -1},
        {"1970-01-02T24:00:00Z", -1},
        {"1970-01-02T00:00:00.Z", -1},
        {"1970-01-02T00:00:00 02:00", -1},
        {"19700102", -1},
        {"", -1},
        {"1970-01-02T00:00:00.0000000000001", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int64_t s = -1;
        assert_int_equal(sim_time_parse(cases[i].text, &s), cases[i].want < 0 ? -EINVAL : 0);
        assert_int_equal(s, cases[i].want);
    }
    char text[40];
    sim_time_format(text, local(2026, 3, 29, 2, 5), ".0000000", "Z");
    assert_string_equal(text, "2026-03-29T02:05:00.0000000Z");
    sim_time_format(text, local(1, 1, 1, 0, 0), "", "Z");
    assert_string_equal(text, "0001-01-01T00:00:00Z");
}

/* ---- recurrence ------------------------------------------------------------------------------------ */

static void expect_days(const struct sim_recur *r, size_t n, const int (*want)[3])
{
    int32_t days[32];
    assert_true(sim_recur_is_valid(r));
    assert_true(sim_recur_days(r, 0, SIM_RECUR_MAX_DAY, days, 32) >= n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(days[i], sim_day_of(want[i][0], want[i][1], want[i][2]));
}

static void test_month_ends(void **state)
{
    (void)state;
    struct sim_recur r = {.pattern = SIM_ABSOLUTE_MONTHLY,
                          .interval = 1,
                          .month_day = 31,
                          .range = SIM_NO_END,
                          .start_day = sim_day_of(2026, 1, 31)};
    static const int monthly[][3] = {{2026, 1, 31}, {2026, 2, 28}, {2026, 3, 31}, {2026, 4, 30}};
    expect_days(&r, 4, monthly);
    r = (struct sim_recur){.pattern = SIM_ABSOLUTE_YEARLY,
                           .interval = 1,
                           .month_day = 29,
                           .month = 2,
                           .range = SIM_NO_END,
                           .start_day = sim_day_of(2024, 2, 29)};
    static const int yearly[][3] = {
        {2024, 2, 29}, {2025, 2, 28}, {2026, 2, 28}, {2027, 2, 28}, {2028, 2, 29}};
    expect_days(&r, 5, yearly);
}

static void test_weeks_begin_on_their_day(void **state)
{
    (void)state;
    /* every second week on Sunday and Monday from Monday 5 January: where the week begins decides (RFC 5545, 3.3.10, WKST) */
    struct sim_recur r = {.pattern = SIM_WEEKLY,
                          .interval = 2,
                          .week_days = 0x03,
                          .first_day = 0,
                          .range = SIM_NO_END,
                          .start_day = sim_day_of(2026, 1, 5)};
    static const int sunday[][3] = {{2026, 1, 5}, {2026, 1, 18}, {2026, 1, 19}, {2026, 2, 1}};
    expect_days(&r, 4, sunday);
    r.first_day = 1;
    static const int monday[][3] = {{2026, 1, 5}, {2026, 1, 11}, {2026, 1, 19}, {2026, 1, 25}};
    expect_days(&r, 4, monday);
}

/* Whatever day weeks begin on: a day is in if its week is a multiple of the interval away from the start's. */
static void test_weekly_by_counting_weeks(void **state)
{
    (void)state;
    struct sim_rng rng = {12};
    for (int round = 0; round < 2000; round++) {
        struct sim_recur r = {.pattern = SIM_WEEKLY,
                              .interval = 1 + (int)sim_rng_below(&rng, 5),
                              .week_days = 1 + (unsigned)sim_rng_below(&rng, 127),
                              .first_day = (int)sim_rng_below(&rng, 7),
                              .range = SIM_NO_END,
                              .start_day = 20000 + (int32_t)sim_rng_below(&rng, 50)};
        struct sim_recur_iter it;
        int32_t got;
        int32_t week_of_start = r.start_day; /* back to the day on which its week begins */
        while (sim_day_weekday(week_of_start) != r.first_day)
            week_of_start--;
        sim_recur_begin(&it, &r);
        for (int32_t day = r.start_day; day < r.start_day + 300; day++) {
            bool in = (r.week_days >> sim_day_weekday(day) & 1) != 0 &&
                      (day - week_of_start) / 7 % r.interval == 0;
            if (in) {
                assert_true(sim_recur_next(&it, &got));
                assert_int_equal(got, day);
            }
        }
    }
}

static void test_relative_sets(void **state)
{
    (void)state;
    struct sim_recur r = {.pattern = SIM_RELATIVE_MONTHLY,
                          .interval = 1,
                          .week_days = 0x3E,
                          .index = SIM_INDEX_LAST,
                          .range = SIM_NUMBERED,
                          .count = 3,
                          .start_day = sim_day_of(2026, 1, 1)};
    static const int last_weekday[][3] = {{2026, 1, 30}, {2026, 2, 27}, {2026, 3, 31}};
    int32_t days[8];
    expect_days(&r, 3, last_weekday);
    assert_int_equal(sim_recur_days(&r, 0, SIM_RECUR_MAX_DAY, days, 8), 3);
    assert_true(sim_recur_has(&r, days[1]));
    assert_false(sim_recur_has(&r, days[1] + 1));
}

static void test_invalid_recurrences(void **state)
{
    (void)state;
    struct sim_recur r = {.pattern = SIM_WEEKLY, .interval = 1, .range = SIM_NO_END};
    assert_false(sim_recur_is_valid(&r)); /* no days */
    r = (struct sim_recur){.pattern = SIM_DAILY, .interval = 0, .range = SIM_NO_END};
    assert_false(sim_recur_is_valid(&r));
    r = (struct sim_recur){
        .pattern = SIM_DAILY, .interval = 1, .range = SIM_END_DATE, .start_day = 10, .end_day = 9};
    assert_false(sim_recur_is_valid(&r));
    r = (struct sim_recur){.pattern = SIM_ABSOLUTE_YEARLY,
                           .interval = 1,
                           .month_day = 3,
                           .month = 13,
                           .range = SIM_NO_END};
    assert_false(sim_recur_is_valid(&r));
    r = (struct sim_recur){.pattern = SIM_DAILY, .interval = 1, .range = SIM_NUMBERED};
    assert_false(sim_recur_is_valid(&r));
}

#ifdef SIM_HAVE_ICAL

static void rrule(const struct sim_recur *r, char out[200])
{
    static const char *const days[] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};
    char set[40] = "", part[96] = "";
    int n = 0;

    for (int d = 0; d < 7; d++) {
        if (r->week_days & (1u << d))
            n += snprintf(set + n, sizeof(set) - (size_t)n, "%s%s", n > 0 ? "," : "", days[d]);
    }
    int position = r->index == SIM_INDEX_LAST ? -1 : r->index + 1;
    const char *frequency = "DAILY";
    switch (r->pattern) {
    case SIM_DAILY: break;
    case SIM_WEEKLY:
        frequency = "WEEKLY";
        snprintf(part, sizeof(part), ";WKST=%s;BYDAY=%s", days[r->first_day], set);
        break;
    case SIM_ABSOLUTE_MONTHLY:
    case SIM_ABSOLUTE_YEARLY:
        frequency = r->pattern == SIM_ABSOLUTE_MONTHLY ? "MONTHLY" : "YEARLY";
        n = r->pattern == SIM_ABSOLUTE_YEARLY
                ? snprintf(part, sizeof(part), ";BYMONTH=%d", r->month)
                : 0;
        if (r->month_day <= 28) /* beyond it: the last day that there is */
            snprintf(part + n, sizeof(part) - (size_t)n, ";BYMONTHDAY=%d", r->month_day);
        else
            snprintf(part + n, sizeof(part) - (size_t)n, ";BYMONTHDAY=28%s%s%s;BYSETPOS=-1", ",29",
                     r->month_day > 29 ? ",30" : "", r->month_day > 30 ? ",31" : "");
        break;
    case SIM_RELATIVE_MONTHLY:
        frequency = "MONTHLY";
        snprintf(part, sizeof(part), ";BYDAY=%s;BYSETPOS=%d", set, position);
        break;
    case SIM_RELATIVE_YEARLY:
        frequency = "YEARLY";
        snprintf(part, sizeof(part), ";BYMONTH=%d;BYDAY=%s;BYSETPOS=%d", r->month, set, position);
        break;
    }
    snprintf(out, 200, "FREQ=%s;INTERVAL=%d%s", frequency, r->interval, part);
}

static struct sim_recur any_recurrence(struct sim_rng *rng)
{
    struct sim_recur r = {
        .pattern = (enum sim_pattern)sim_rng_below(rng, 6),
        .interval = 1 + (int)sim_rng_below(rng, 4),
        .week_days = 1 + (unsigned)sim_rng_below(rng, 127),
        .first_day = (int)sim_rng_below(rng, 7) %
                     2, /* libical 3.0 misses days where weeks begin on Saturday */
        .month_day = 1 + (int)sim_rng_below(rng, 31),
        .month = 1 + (int)sim_rng_below(rng, 12),
        .index = (int)sim_rng_below(rng, 5),
        .range = (enum sim_range)sim_rng_below(rng, 3),
        .start_day = sim_day_of(2023, 6, 1) + (int32_t)sim_rng_below(rng, 1500),
        .count = 1 + (int)sim_rng_below(rng, 200),
    };
    struct sim_recur_iter it;
    r.end_day = SIM_RECUR_MAX_DAY;
    sim_recur_begin(&it, &r);
    assert_true(sim_recur_next(&it, &r.start_day)); /* RFC 5545: DTSTART is the first instance */
    r.end_day = r.start_day + (int32_t)sim_rng_below(rng, 1000);
    return r;
}

/* Six patterns, three ranges, every zone: the instants of five years are those of libical. */
static void test_occurrences_are_those_of_libical(void **state)
{
    (void)state;
    struct sim_rng rng = {20260329};
    size_t compared = 0, other = 0;

    for (int round = 0; round < 1500; round++) {
        int zone = round % sim_tz_count();
        struct sim_recur r = any_recurrence(&rng);
        int64_t of_day = (int64_t)sim_rng_below(&rng, 96) * 900,
                until = (int64_t)(r.start_day + 5 * 366) * 86400;
        icaltimezone *tz = icaltimezone_get_builtin_timezone(sim_tz_iana(zone));
        struct sim_recur_iter it;
        char text[200];
        int y, m, d;
        int32_t day;

        assert_true(sim_recur_is_valid(&r));
        if (zone != SIM_TZ_UTC && tz == NULL)
            fail_msg("libical does not know %s", sim_tz_iana(zone));
        if (tz == NULL)
            tz = icaltimezone_get_utc_timezone();
        rrule(&r, text);
        struct icalrecurrencetype rule = icalrecurrencetype_from_string(text);
        if (r.range == SIM_NUMBERED)
            rule.count = r.count;
        sim_day_split(r.start_day, &y, &m, &d);
        struct icaltimetype start = {.year = y,
                                     .month = m,
                                     .day = d,
                                     .hour = (int)(of_day / 3600),
                                     .minute = (int)(of_day / 60 % 60)};
        if (r.range == SIM_END_DATE) {
            sim_day_split(r.end_day, &y, &m, &d);
            rule.until = (struct icaltimetype){
                .year = y, .month = m, .day = d, .hour = 23, .minute = 59, .second = 59};
        }
        icalrecur_iterator *ical = icalrecur_iterator_new(rule, start);
        assert_non_null(ical);
        sim_recur_begin(&it, &r);
        for (;;) {
            struct icaltimetype t = icalrecur_iterator_next(ical);
            bool more = sim_recur_next(&it, &day);
            bool theirs = !icaltime_is_null_time(t) &&
                          (int64_t)sim_day_of(t.year, t.month, t.day) * 86400 < until;
            more = more && (int64_t)day * 86400 < until;
            if (more != theirs || (more && day != sim_day_of(t.year, t.month, t.day)))
                fail_msg("%s from day %d: ours %d, libical %04d-%02d-%02d", text, r.start_day,
                         more ? day : -1, t.year, t.month, t.day);
            if (!more)
                break;
            int64_t utc = sim_tz_utc_s(zone, (int64_t)day * 86400 + of_day);
            t.zone = tz;
            int64_t want = (int64_t)icaltime_as_timet_with_zone(t, tz);
            /* libical 3.0 is not of one mind at the very edges of gaps and of hours that come twice; what counts
             * there is checked by hand above */
            bool in_gap = sim_tz_local_s(zone, utc) != (int64_t)day * 86400 + of_day;
            bool twice = utc < want && sim_tz_local_s(zone, utc) == sim_tz_local_s(zone, want);
            other += utc != want;
            if (utc != want && !twice && !in_gap)
                fail_msg("%s %s %04d-%02d-%02d %lld: ours %lld, libical %lld", sim_tz_iana(zone),
                         text, t.year, t.month, t.day, (long long)of_day, (long long)utc,
                         (long long)want);
            compared++;
        }
        icalrecur_iterator_free(ical);
    }
    icaltimezone_free_builtin_timezones();
    assert_true(compared > 50000);
    assert_true(other < compared / 1000);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offsets_are_those_of_the_system),
        cmocka_unit_test(test_gap_and_overlap),
        cmocka_unit_test(test_local_and_back),
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_times_as_text),
        cmocka_unit_test(test_month_ends),
        cmocka_unit_test(test_weeks_begin_on_their_day),
        cmocka_unit_test(test_weekly_by_counting_weeks),
        cmocka_unit_test(test_relative_sets),
        cmocka_unit_test(test_invalid_recurrences),
#ifdef SIM_HAVE_ICAL
        cmocka_unit_test(test_occurrences_are_those_of_libical),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
