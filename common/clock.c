#include "common/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define MS_PER_DAY 86400000
/* 0001-01-01T00:00:00.000Z, 0002-01-01 and 9999-12-31T23:59:59.999Z */
#define YEAR_1_MS    INT64_C(-62135596800000)
#define YEAR_2_MS    INT64_C(-62104060800000)
#define YEAR_LAST_MS INT64_C(253402300799999)

static _Atomic int64_t utc_offset_ms;

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    (void)clock_gettime(id, &ts); /* fails for clocks that do not exist only */
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t cs_clock_mono_ms(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t cs_clock_utc_ms(void)
{
    return read_clock(CLOCK_REALTIME) + atomic_load_explicit(&utc_offset_ms, memory_order_relaxed);
}

void cs_clock_set_utc_offset(int64_t offset_ms)
{
    atomic_store_explicit(&utc_offset_ms, offset_ms, memory_order_relaxed);
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar, and back: eras of 400 years that begin
 * in March, so that the leap day is a year's last. */
static int64_t days_of_date(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void date_of_days(int64_t days, int *y, int *m, int *d)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

static void put_digits(char *p, int n, int v)
{
    for (int i = n - 1; i >= 0; i--, v /= 10)
        p[i] = (char)('0' + v % 10);
}

/* Writes up to the seconds: 19 characters. Returns the milliseconds. */
static int format(int64_t utc_ms, char out[CS_TIME_TEXT])
{
    if (utc_ms < YEAR_1_MS)
        utc_ms = YEAR_1_MS;
    if (utc_ms > YEAR_LAST_MS)
        utc_ms = YEAR_LAST_MS;
    int64_t days = (utc_ms - YEAR_1_MS) / MS_PER_DAY;
    int ms = (int)(utc_ms - YEAR_1_MS - days * MS_PER_DAY);
    int y, m, d;

    date_of_days(days + YEAR_1_MS / MS_PER_DAY, &y, &m, &d);
    put_digits(out, 4, y);
    out[4] = '-';
    put_digits(out + 5, 2, m);
    out[7] = '-';
    put_digits(out + 8, 2, d);
    out[10] = 'T';
    put_digits(out + 11, 2, ms / 3600000);
    out[13] = ':';
    put_digits(out + 14, 2, ms / 60000 % 60);
    out[16] = ':';
    put_digits(out + 17, 2, ms / 1000 % 60);
    return ms % 1000;
}

void cs_time_format(int64_t utc_ms, char out[CS_TIME_TEXT])
{
    int ms = format(utc_ms, out);
    out[19] = '.';
    put_digits(out + 20, 3, ms);
    out[23] = 'Z';
    out[24] = '\0';
}

void cs_time_format_s(int64_t utc_ms, char out[CS_TIME_TEXT])
{
    (void)format(utc_ms, out); /* whole seconds: the milliseconds are cut on purpose */
    out[19] = 'Z';
    out[20] = '\0';
}

/* n digits at s, or -1. */
static int take_digits(const char *s, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

static int days_in_month(int y, int m)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return days[m - 1] + (m == 2 && leap);
}

int cs_time_parse(const char *s, size_t n, int64_t *ret_utc_ms)
{
    if (s == NULL || n < 19 || s[4] != '-' || s[7] != '-' || (s[10] != 'T' && s[10] != 't') ||
        s[13] != ':' || s[16] != ':')
        return -EINVAL;
    int y = take_digits(s, 4), mon = take_digits(s + 5, 2), d = take_digits(s + 8, 2);
    int h = take_digits(s + 11, 2), min = take_digits(s + 14, 2), sec = take_digits(s + 17, 2);
    /* a leap second (60) is the next minute's first: RFC 3339 5.6 allows it, our milliseconds do not know it */
    if (y < 1 || mon < 1 || mon > 12 || d < 1 || d > days_in_month(y, mon) || h < 0 || h > 23 ||
        min < 0 || min > 59 || sec < 0 || sec > 60)
        return -EINVAL;

    size_t at = 19;
    int ms = 0;
    if (at < n && s[at] == '.') {
        size_t first = ++at;
        int scale = 100;
        while (at < n && s[at] >= '0' && s[at] <= '9') {
            ms += (s[at] - '0') * scale;
            scale /= 10;
            at++;
        }
        if (at - first > 12)
            return -EINVAL;
    }

    int offset_min = 0;
    if (at < n && (s[at] == 'Z' || s[at] == 'z')) {
        at++;
    } else if (at < n && (s[at] == '+' || s[at] == '-')) {
        if (n - at < 6 || s[at + 3] != ':')
            return -EINVAL;
        int oh = take_digits(s + at + 1, 2), om = take_digits(s + at + 4, 2);
        if (oh < 0 || oh > 23 || om < 0 || om > 59)
            return -EINVAL;
        offset_min = (oh * 60 + om) * (s[at] == '-' ? -1 : 1);
        at += 6;
    }
    if (at != n)
        return -EINVAL;
    int64_t t = days_of_date(y, mon, d) * MS_PER_DAY +
                ((h * 60 + min - offset_min) * INT64_C(60) + sec) * 1000 + ms;
    if (t > YEAR_LAST_MS)
        return -EINVAL;
    *ret_utc_ms = t;
    return 0;
}

bool cs_time_is_never(int64_t utc_ms)
{
    return utc_ms < YEAR_2_MS; /* with an offset the sentinel may even fall into the year before */
}
