#include "recur.h"

#include <strings.h>

#include "tz.h"

static const char *const pattern_names[] = {
    "daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly",
};
static const char *const range_names[] = {"endDate", "noEnd", "numbered"};
static const char *const index_names[] = {"first", "second", "third", "fourth", "last"};
static const char *const weekday_names[] = {
    "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
};

static bool is_relative(const struct sim_recur *r)
{
    return r->pattern == SIM_RELATIVE_MONTHLY || r->pattern == SIM_RELATIVE_YEARLY;
}

static bool is_yearly(const struct sim_recur *r)
{
    return r->pattern == SIM_ABSOLUTE_YEARLY || r->pattern == SIM_RELATIVE_YEARLY;
}

bool sim_recur_is_valid(const struct sim_recur *r)
{
    if (r->interval < 1 || r->interval > 99)
        return false;
    if (r->week_days > 0x7F || r->first_day < 0 || r->first_day > 6)
        return false;
    if ((r->pattern == SIM_WEEKLY || is_relative(r)) && r->week_days == 0)
        return false;
    if (is_relative(r) && (r->index < 0 || r->index > SIM_INDEX_LAST))
        return false;
    if ((r->pattern == SIM_ABSOLUTE_MONTHLY || r->pattern == SIM_ABSOLUTE_YEARLY) &&
        (r->month_day < 1 || r->month_day > 31))
        return false;
    if (is_yearly(r) && (r->month < 1 || r->month > 12))
        return false;
    if (r->start_day < 0 || r->start_day > SIM_RECUR_MAX_DAY)
        return false;
    if (r->range == SIM_END_DATE)
        return r->end_day >= r->start_day;
    return r->range != SIM_NUMBERED || (r->count >= 1 && r->count <= SIM_RECUR_COUNT);
}

/* The pattern's day in one month. Fewer than four members of a set do not occur in a month, except
 * that "fourth" is always there: every weekday comes at least four times. */
static int32_t day_in_month(const struct sim_recur *r, int year, int month)
{
    int n = sim_days_in_month(year, month);
    if (!is_relative(r))
        return sim_day_of(year, month, r->month_day < n ? r->month_day : n);
    int32_t first = sim_day_of(year, month, 1);
    if (r->index == SIM_INDEX_LAST) {
        for (int32_t d = first + n - 1;; d--) {
            if (r->week_days & (1u << sim_day_weekday(d)))
                return d;
        }
    }
    int left = r->index;
    for (int32_t d = first;; d++) {
        if ((r->week_days & (1u << sim_day_weekday(d))) && left-- == 0)
            return d;
    }
}

void sim_recur_begin(struct sim_recur_iter *it, const struct sim_recur *r)
{
    it->r = r;
    it->period = 0;
    it->week_pos = 0;
    it->given = 0;
}

/* The next day of the pattern, from before start_day on, without the range's end. */
static int32_t next_match(struct sim_recur_iter *it)
{
    const struct sim_recur *r = it->r;
    int year, month;

    switch (r->pattern) {
    case SIM_DAILY: return r->start_day + r->interval * it->period++;
    case SIM_WEEKLY:
        for (;;) {
            int32_t week = r->start_day - (sim_day_weekday(r->start_day) - r->first_day + 7) % 7 +
                           7 * r->interval * it->period;
            while (it->week_pos < 7) {
                int32_t d = week + it->week_pos++;
                if (r->week_days & (1u << sim_day_weekday(d)))
                    return d;
            }
            it->week_pos = 0;
            it->period++;
        }
    case SIM_ABSOLUTE_MONTHLY:
    case SIM_RELATIVE_MONTHLY:
        sim_day_split(r->start_day, &year, &month, NULL);
        month += r->interval * it->period++ - 1; /* months from January of the start's year */
        return day_in_month(r, year + month / 12, month % 12 + 1);
    case SIM_ABSOLUTE_YEARLY:
    case SIM_RELATIVE_YEARLY:
        sim_day_split(r->start_day, &year, NULL, NULL);
        return day_in_month(r, year + r->interval * it->period++, r->month);
    }
    return INT32_MAX;
}

bool sim_recur_next(struct sim_recur_iter *it, int32_t *day)
{
    const struct sim_recur *r = it->r;
    int32_t d;
    if (r->range == SIM_NUMBERED && it->given >= r->count)
        return false;
    do
        d = next_match(it);
    while (d < r->start_day);
    if (d > SIM_RECUR_MAX_DAY || (r->range == SIM_END_DATE && d > r->end_day))
        return false;
    it->given++;
    *day = d;
    return true;
}

bool sim_recur_has(const struct sim_recur *r, int32_t day)
{
    struct sim_recur_iter it;
    int32_t d;
    sim_recur_begin(&it, r);
    while (sim_recur_next(&it, &d)) {
        if (d >= day)
            return d == day;
    }
    return false;
}

size_t sim_recur_days(const struct sim_recur *r, int32_t from, int32_t to, int32_t *days,
                      size_t max)
{
    struct sim_recur_iter it;
    int32_t d;
    size_t n = 0;
    sim_recur_begin(&it, r);
    while (sim_recur_next(&it, &d) && d <= to) {
        if (d < from)
            continue;
        if (n < max)
            days[n] = d;
        n++;
    }
    return n;
}

static int find(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcasecmp(name, names[i]) == 0)
            return i;
    }
    return -1;
}

const char *sim_pattern_name(enum sim_pattern p)
{
    return pattern_names[p];
}

const char *sim_range_name(enum sim_range r)
{
    return range_names[r];
}

const char *sim_index_name(int index)
{
    return index_names[index];
}

const char *sim_weekday_name(int weekday)
{
    return weekday_names[weekday];
}

int sim_pattern_find(const char *name)
{
    return find(name, pattern_names, 6);
}

int sim_range_find(const char *name)
{
    return find(name, range_names, 3);
}

int sim_index_find(const char *name)
{
    return find(name, index_names, 5);
}

int sim_weekday_find(const char *name)
{
    return find(name, weekday_names, 7);
}
