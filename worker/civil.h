/* civil.h - days and wall clock fields of the proleptic Gregorian calendar. PURE, no zones. */
#ifndef CS_WORKER_CIVIL_H
#define CS_WORKER_CIVIL_H

#include <stdint.h>

#define CS_DAY_S 86400
/* 9999-12-31T23:59:59, the last second that four digits of a year can say. */
#define CS_CIVIL_MAX_S INT64_C(253402300799)

struct cs_civil {
    int64_t year;
    int month; /* 1..12 */
    int day;   /* 1..31 */
    int hour, minute, second;
};

/** Days since 1970-01-01; month 1..12, day may run over. */
static inline int64_t cs_civil_days(int64_t year, int month, int day)
{
    /* years start in March, so the leap day is the last of its year */
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static inline int64_t cs_floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/** Seconds since 1970, read as a wall clock. */
static inline struct cs_civil cs_civil_of(int64_t s)
{
    int64_t days = cs_floor_div(s, CS_DAY_S);
    int tod = (int)(s - days * CS_DAY_S);
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    struct cs_civil c;

    c.day = (int)(doy - (153 * mp + 2) / 5 + 1);
    c.month = (int)(mp < 10 ? mp + 3 : mp - 9);
    c.year = yoe + era * 400 + (c.month <= 2);
    c.hour = tod / 3600;
    c.minute = tod / 60 % 60;
    c.second = tod % 60;
    return c;
}

/** 0 Sunday to 6 Saturday. */
static inline int cs_civil_weekday(int64_t days)
{
    int64_t w = (days + 4) % 7;

    return (int)(w < 0 ? w + 7 : w);
}

#endif
