#include "worker/rrule.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/cmocka_all.h"
#include "worker/civil.h"
#include "worker/zone.h"

#define NO_END                                                                               \
    "\"range\":{\"type\":\"noEnd\",\"startDate\":\"2026-01-05\",\"endDate\":\"0001-01-01\"," \
    "\"numberOfOccurrences\":0}"
#define NUMBERED                                                                                \
    "\"range\":{\"type\":\"numbered\",\"startDate\":\"2026-01-05\",\"endDate\":\"0001-01-01\"," \
    "\"numberOfOccurrences\":10}"
#define END_DATE                                                                               \
    "\"range\":{\"type\":\"endDate\",\"startDate\":\"2026-01-05\",\"endDate\":\"2026-07-01\"," \
    "\"numberOfOccurrences\":0}"
#define UNUSED "\"month\":0,\"dayOfMonth\":0,\"firstDayOfWeek\":\"sunday\",\"index\":\"first\""

static int rule(const char *text, const struct cs_rrule_start *start, char out[CS_RRULE_MAX])
{
    struct cs_js v;

    assert_int_equal(cs_js_check(text, strlen(text), 16, &v, NULL), 0);
    return cs_rrule_text(v, start, out);
}

static void test_patterns_and_ranges(void **state)
{
    static const struct {
        const char *recurrence, *rrule;
    } cases[] = {
        {"{\"pattern\":{\"type\":\"daily\",\"interval\":1,\"daysOfWeek\":[]," UNUSED "}," NO_END
         "}",
         "FREQ=DAILY"},
        {"{\"pattern\":{\"type\":\"daily\",\"interval\":3}," NUMBERED "}",
         "FREQ=DAILY;INTERVAL=3;COUNT=10"},
        {"{\"pattern\":{\"type\":\"weekly\",\"interval\":2,\"daysOfWeek\":[\"wednesday\","
         "\"Monday\",\"sunday\"],\"firstDayOfWeek\":\"monday\"}," NO_END "}",
         "FREQ=WEEKLY;INTERVAL=2;WKST=MO;BYDAY=MO,WE,SU"},
        {"{\"pattern\":{\"type\":\"weekly\",\"interval\":1,\"daysOfWeek\":[\"friday\"]}," NO_END
         "}",
         "FREQ=WEEKLY;WKST=SU;BYDAY=FR"},
        {"{\"pattern\":{\"type\":\"absoluteMonthly\",\"interval\":1,\"dayOfMonth\":15,\"month\":0}"
         "," NO_END "}",
         "FREQ=MONTHLY;BYMONTHDAY=15"},
        {"{\"pattern\":{\"type\":\"absoluteMonthly\",\"interval\":1,\"dayOfMonth\":31}," NO_END "}",
         "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"},
        {"{\"pattern\":{\"type\":\"relativeMonthly\",\"interval\":1,\"daysOfWeek\":[\"tuesday\"],"
         "\"index\":\"second\"}," NO_END "}",
         "FREQ=MONTHLY;BYDAY=2TU"},
        {"{\"pattern\":{\"type\":\"relativeMonthly\",\"interval\":1,\"daysOfWeek\":[\"monday\","
         "\"tuesday\",\"wednesday\",\"thursday\",\"friday\"],\"index\":\"last\"}," NO_END "}",
         "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"},
        {"{\"pattern\":{\"type\":\"absoluteYearly\",\"interval\":1,\"dayOfMonth\":24,\"month\":12}"
         "," NO_END "}",
         "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24"},
        {"{\"pattern\":{\"type\":\"absoluteYearly\",\"interval\":1,\"dayOfMonth\":29,\"month\":2}"
         "," NO_END "}",
         "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28,29;BYSETPOS=-1"},
        {"{\"pattern\":{\"type\":\"relativeYearly\",\"interval\":1,\"daysOfWeek\":[\"thursday\"],"
         "\"month\":11,\"index\":\"fourth\"}," NO_END "}",
         "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH"},
        {"{\"pattern\":{\"type\":\"daily\",\"interval\":1},\"range\":{\"type\":\"endDate\","
         "\"endDate\":\"0001-01-01\"}}",
         "FREQ=DAILY"},
    };
    const struct cs_rrule_start start = {.local_s = 0};
    char out[CS_RRULE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(rule(cases[i].recurrence, &start, out), (int)strlen(cases[i].rrule));
        assert_string_equal(out, cases[i].rrule);
    }
}

/* UNTIL is the last day's wall clock time in UTC, across a change of clocks. */
static void test_until(void **state)
{
    const char *text = "{\"pattern\":{\"type\":\"daily\",\"interval\":1}," END_DATE "}";
    struct cs_rrule_start start = {.local_s =
                                       cs_civil_days(2026, 1, 5) * CS_DAY_S + 9 * 3600 + 1800};
    struct cs_zones *zones;
    char out[CS_RRULE_MAX];

    (void)state;
    assert_int_equal(cs_zones_open(NULL, &zones), 0);
    start.zone = cs_zones_find(zones, "Europe/Berlin");
    assert_true(rule(text, &start, out) > 0);
    assert_string_equal(out, "FREQ=DAILY;UNTIL=20260701T073000Z");
    start.zone = cs_zones_find(zones, "Pacific/Auckland");
    assert_true(rule(text, &start, out) > 0);
    assert_string_equal(out, "FREQ=DAILY;UNTIL=20260630T213000Z");
    start.zone = NULL;
    assert_true(rule(text, &start, out) > 0);
    assert_string_equal(out, "FREQ=DAILY;UNTIL=20260701T093000");
    start.is_all_day = true;
    assert_true(rule(text, &start, out) > 0);
    assert_string_equal(out, "FREQ=DAILY;UNTIL=20260701");
    cs_zones_close(zones);
}

static void test_what_is_not_understood(void **state)
{
    static const char *const bad[] = {
        "{}",
        "null",
        "{\"pattern\":{\"type\":\"lunar\",\"interval\":1}," NO_END "}",
        "{\"pattern\":{\"type\":\"daily\",\"interval\":-1}," NO_END "}",
        "{\"pattern\":{\"type\":\"daily\",\"interval\":1.5}," NO_END "}",
        "{\"pattern\":{\"type\":\"weekly\",\"interval\":1,\"daysOfWeek\":[]}," NO_END "}",
        "{\"pattern\":{\"type\":\"weekly\",\"interval\":1,\"daysOfWeek\":[\"funday\"]}," NO_END "}",
        "{\"pattern\":{\"type\":\"absoluteMonthly\",\"interval\":1,\"dayOfMonth\":0}," NO_END "}",
        "{\"pattern\":{\"type\":\"absoluteMonthly\",\"interval\":1,\"dayOfMonth\":32}," NO_END "}",
        "{\"pattern\":{\"type\":\"absoluteYearly\",\"interval\":1,\"dayOfMonth\":3,\"month\":13}"
        "," NO_END "}",
        "{\"pattern\":{\"type\":\"relativeMonthly\",\"interval\":1,\"daysOfWeek\":[\"monday\"],"
        "\"index\":\"fifth\"}," NO_END "}",
        "{\"pattern\":{\"type\":\"daily\",\"interval\":1},\"range\":{\"type\":\"sometimes\"}}",
        "{\"pattern\":{\"type\":\"daily\",\"interval\":1},\"range\":{\"type\":\"numbered\","
        "\"numberOfOccurrences\":0}}",
        "{\"pattern\":{\"type\":\"daily\",\"interval\":1},\"range\":{\"type\":\"endDate\","
        "\"endDate\":\"soon\"}}",
        "{\"pattern\":{\"type\":\"daily\",\"interval\":1},\"range\":{\"type\":\"endDate\","
        "\"endDate\":\"2026-13-01\"}}",
    };
    const struct cs_rrule_start start = {.local_s = 0};
    char out[CS_RRULE_MAX] = "untouched";

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(rule(bad[i], &start, out), -EINVAL);
        assert_string_equal(out, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns_and_ranges),
        cmocka_unit_test(test_until),
        cmocka_unit_test(test_what_is_not_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
