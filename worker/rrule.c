#include "worker/rrule.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "worker/civil.h"
#include "worker/zone.h"

struct text {
    char s[CS_RRULE_MAX];
    size_t n;
    int failed;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (t->failed)
        return;
    va_start(ap, fmt);
    n = vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(t->s) - t->n)
        t->failed = -EINVAL;
    else
        t->n += (size_t)n;
}

static const char *const days_long[] = {"sunday",   "monday", "tuesday", "wednesday",
                                        "thursday", "friday", "saturday"};
static const char *const days_short[] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};

static int day_index(struct cs_js v)
{
    for (int i = 0; i < 7; i++) {
        if (cs_js_str_is_nocase(v, days_long[i]))
            return i;
    }
    return -1;
}

/* Absent counts as 0, Graph's value for what a pattern does not use. */
static int number(struct cs_js pattern, const char *name, int64_t max, int64_t *ret)
{
    struct cs_js v = cs_js_get(pattern, name);

    *ret = 0;
    if (!cs_js_has(v))
        return 0;
    return cs_js_i64(v, ret) < 0 || *ret < 0 || *ret > max ? -EINVAL : 0;
}

/* BYDAY list in the week's order, Monday first; a bit for each day in *mask. */
static int read_days(struct cs_js pattern, unsigned *mask)
{
    struct cs_js list = cs_js_get(pattern, "daysOfWeek"), one;
    struct cs_js_iter it = {0};

    *mask = 0;
    while (cs_js_next_element(list, &it, &one)) {
        int day = day_index(one);

        if (day < 0)
            return -EINVAL;
        *mask |= 1u << day;
    }
    return *mask == 0 ? -EINVAL : 0;
}

static void add_days(struct text *t, unsigned mask, int ordinal)
{
    const char *comma = "";

    add(t, ";BYDAY=");
    for (int i = 1; i <= 7; i++) {
        int day = i % 7;

        if ((mask & 1u << day) == 0)
            continue;
        if (ordinal != 0)
            add(t, "%s%d%s", comma, ordinal, days_short[day]);
        else
            add(t, "%s%s", comma, days_short[day]);
        comma = ",";
    }
}

static int read_ordinal(struct cs_js pattern, int *ret)
{
    static const char *const names[] = {"first", "second", "third", "fourth"};
    struct cs_js v = cs_js_get(pattern, "index");

    *ret = 1;
    if (!cs_js_has(v))
        return 0;
    for (int i = 0; i < 4; i++) {
        if (cs_js_str_is_nocase(v, names[i])) {
            *ret = i + 1;
            return 0;
        }
    }
    *ret = -1;
    return cs_js_str_is_nocase(v, "last") ? 0 : -EINVAL;
}

/* The n-th day of a set: with one day in it "2MO", else the set and its n-th member by BYSETPOS, since
 * "first weekday" is one day and 1MO,1TU,... would be five. */
static int add_relative(struct text *t, struct cs_js pattern)
{
    unsigned mask;
    int ordinal;

    if (read_days(pattern, &mask) < 0 || read_ordinal(pattern, &ordinal) < 0)
        return -EINVAL;
    if ((mask & (mask - 1)) == 0) {
        add_days(t, mask, ordinal);
    } else {
        add_days(t, mask, 0);
        add(t, ";BYSETPOS=%d", ordinal);
    }
    return 0;
}

/* Exchange puts an occurrence on the month's last day where the month is too short (31 means the last
 * day); RFC 5545 would skip such months. */
static void add_month_day(struct text *t, int64_t day)
{
    if (day <= 28) {
        add(t, ";BYMONTHDAY=%d", (int)day);
        return;
    }
    add(t, ";BYMONTHDAY=28");
    for (int d = 29; d <= day; d++)
        add(t, ",%d", d);
    add(t, ";BYSETPOS=-1");
}

static int add_pattern(struct text *t, struct cs_js p)
{
    struct cs_js type = cs_js_get(p, "type"), first = cs_js_get(p, "firstDayOfWeek");
    int64_t interval, day, month;
    unsigned mask;
    const char *every = "";
    char interval_text[32];

    if (number(p, "interval", 9999, &interval) < 0 || number(p, "dayOfMonth", 31, &day) < 0 ||
        number(p, "month", 12, &month) < 0)
        return -EINVAL;
    if (interval > 1) {
        (void)snprintf(interval_text, sizeof(interval_text), ";INTERVAL=%d", (int)interval);
        every = interval_text;
    }
    if (cs_js_str_is_nocase(type, "daily")) {
        add(t, "FREQ=DAILY%s", every);
        return 0;
    }
    if (cs_js_str_is_nocase(type, "weekly")) {
        int week_start = cs_js_has(first) ? day_index(first) : 0;

        if (week_start < 0 || read_days(p, &mask) < 0)
            return -EINVAL;
        add(t, "FREQ=WEEKLY%s;WKST=%s", every, days_short[week_start]);
        add_days(t, mask, 0);
        return 0;
    }
    if (cs_js_str_is_nocase(type, "absoluteMonthly")) {
        if (day < 1)
            return -EINVAL;
        add(t, "FREQ=MONTHLY%s", every);
        add_month_day(t, day);
        return 0;
    }
    if (cs_js_str_is_nocase(type, "relativeMonthly")) {
        add(t, "FREQ=MONTHLY%s", every);
        return add_relative(t, p);
    }
    if (cs_js_str_is_nocase(type, "absoluteYearly")) {
        if (day < 1 || month < 1)
            return -EINVAL;
        add(t, "FREQ=YEARLY%s;BYMONTH=%d", every, (int)month);
        add_month_day(t, day);
        return 0;
    }
    if (cs_js_str_is_nocase(type, "relativeYearly")) {
        if (month < 1)
            return -EINVAL;
        add(t, "FREQ=YEARLY%s;BYMONTH=%d", every, (int)month);
        return add_relative(t, p);
    }
    return -EINVAL;
}

static int read_date(struct cs_js v, int64_t *ret_days)
{
    char text[32];
    int y, m, d, end = 0;
    int n = cs_js_str_into(v, text, sizeof(text));

    // NOLINTNEXTLINE(cert-err34-c): four and two digits at most do not overflow
    if (n < 10 || sscanf(text, "%4d-%2d-%2d%n", &y, &m, &d, &end) != 3 || end != 10 || m < 1 ||
        m > 12 || d < 1 || d > 31)
        return -EINVAL;
    if (y <= 1) /* Graph's "no end" */
        return -ENOENT;
    *ret_days = cs_civil_days(y, m, d);
    return 0;
}

static int add_range(struct text *t, struct cs_js range, const struct cs_rrule_start *start)
{
    struct cs_js type = cs_js_get(range, "type");
    int64_t count, days, until;
    struct cs_civil c;
    int r;

    if (cs_js_str_is_nocase(type, "noEnd"))
        return 0;
    if (cs_js_str_is_nocase(type, "numbered")) {
        if (number(range, "numberOfOccurrences", 100000, &count) < 0 || count < 1)
            return -EINVAL;
        add(t, ";COUNT=%d", (int)count);
        return 0;
    }
    if (!cs_js_str_is_nocase(type, "endDate"))
        return -EINVAL;
    r = read_date(cs_js_get(range, "endDate"), &days);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (start->is_all_day) {
        c = cs_civil_of(days * CS_DAY_S);
        add(t, ";UNTIL=%04d%02d%02d", (int)c.year, c.month, c.day);
        return 0;
    }
    /* the last occurrence there can be: on that day, at the start's time of day */
    until = days * CS_DAY_S + (start->local_s - cs_floor_div(start->local_s, CS_DAY_S) * CS_DAY_S);
    if (start->zone != NULL)
        until = cs_zone_utc_s(start->zone, until);
    if (until > CS_CIVIL_MAX_S)
        until = CS_CIVIL_MAX_S;
    c = cs_civil_of(until);
    add(t, ";UNTIL=%04d%02d%02dT%02d%02d%02d%s", (int)c.year, c.month, c.day, c.hour, c.minute,
        c.second, start->zone != NULL ? "Z" : "");
    return 0;
}

int cs_rrule_text(struct cs_js recurrence, const struct cs_rrule_start *start,
                  char out[CS_RRULE_MAX])
{
    struct text t = {.n = 0};

    if (add_pattern(&t, cs_js_get(recurrence, "pattern")) < 0 ||
        add_range(&t, cs_js_get(recurrence, "range"), start) < 0 || t.failed)
        return -EINVAL;
    memcpy(out, t.s, t.n + 1);
    return (int)t.n;
}
