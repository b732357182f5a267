#include "tz.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum at { WALL, UTC };

/* When a change happens: the first `weekday` on or after day `from` of the month; from 0: the month's
 * last one. second may be 86400, which is the end of that day. */
struct rule {
    unsigned char month;
    unsigned char weekday; /* 0 = Sunday */
    unsigned char from;
    enum at at;
    int32_t second;
};

struct zone {
    const char *windows;
    const char *iana;
    int32_t offset_s;  /* standard time */
    int32_t save_s;    /* added in summer; 0: no daylight saving time, the rules do not count */
    struct rule begin; /* to summer time */
    struct rule end;   /* to standard time */
};

#define H 3600
#define NO_DST \
    0, {0},    \
    {          \
        0      \
    }
#define EU                \
    H, {3, 0, 0, UTC, H}, \
    {                     \
        10, 0, 0, UTC, H  \
    }
#define US                     \
    H, {3, 0, 8, WALL, 2 * H}, \
    {                          \
        11, 0, 1, WALL, 2 * H  \
    }

static const struct zone zones[] = {
    {"UTC", "Etc/UTC", 0, NO_DST},
    {"Hawaiian Standard Time", "Pacific/Honolulu", -10 * H, NO_DST},
    {"Pacific Standard Time", "America/Los_Angeles", -8 * H, US},
    {"US Mountain Standard Time", "America/Phoenix", -7 * H, NO_DST},
    {"Mountain Standard Time", "America/Denver", -7 * H, US},
    {"Central Standard Time", "America/Chicago", -6 * H, US},
    {"Eastern Standard Time", "America/New_York", -5 * H, US},
    {"Newfoundland Standard Time", "America/St_Johns", -(3 * H + 1800), US},
    {"Pacific SA Standard Time",
     "America/Santiago",
     -4 * H,
     H,
     {9, 0, 2, UTC, 4 * H},
     {4, 0, 2, UTC, 3 * H}},
    {"E. South America Standard Time", "America/Sao_Paulo", -3 * H, NO_DST},
    {"GMT Standard Time", "Europe/London", 0, EU},
    {"W. Europe Standard Time", "Europe/Berlin", H, EU},
    {"Romance Standard Time", "Europe/Paris", H, EU},
    {"Central European Standard Time", "Europe/Warsaw", H, EU},
    {"FLE Standard Time", "Europe/Kyiv", 2 * H, EU},
    {"GTB Standard Time", "Europe/Bucharest", 2 * H, EU},
    {"Egypt Standard Time", "Africa/Cairo", 2 * H, H, {4, 5, 0, WALL, 0}, {10, 4, 0, WALL, 24 * H}},
    {"Israel Standard Time",
     "Asia/Jerusalem",
     2 * H,
     H,
     {3, 5, 23, WALL, 2 * H},
     {10, 0, 0, WALL, 2 * H}},
    {"South Africa Standard Time", "Africa/Johannesburg", 2 * H, NO_DST},
    {"Turkey Standard Time", "Europe/Istanbul", 3 * H, NO_DST},
    {"Russian Standard Time", "Europe/Moscow", 3 * H, NO_DST},
    {"Arabian Standard Time", "Asia/Dubai", 4 * H, NO_DST},
    {"India Standard Time", "Asia/Kolkata", 5 * H + 1800, NO_DST},
    {"Nepal Standard Time", "Asia/Kathmandu", 5 * H + 2700, NO_DST},
    {"China Standard Time", "Asia/Shanghai", 8 * H, NO_DST},
    {"Singapore Standard Time", "Asia/Singapore", 8 * H, NO_DST},
    {"Tokyo Standard Time", "Asia/Tokyo", 9 * H, NO_DST},
    {"AUS Eastern Standard Time",
     "Australia/Sydney",
     10 * H,
     H,
     {10, 0, 1, WALL, 2 * H},
     {4, 0, 1, WALL, 3 * H}},
    {"Lord Howe Standard Time",
     "Australia/Lord_Howe",
     10 * H + 1800,
     1800,
     {10, 0, 1, WALL, 2 * H},
     {4, 0, 1, WALL, 2 * H}},
    {"New Zealand Standard Time",
     "Pacific/Auckland",
     12 * H,
     H,
     {9, 0, 0, WALL, 2 * H},
     {4, 0, 1, WALL, 3 * H}},
};

/* IANA names that are links to a zone of the table */
static const struct {
    const char *name;
    const char *windows;
} aliases[] = {
    {"Etc/GMT", "UTC"},
    {"GMT", "UTC"},
    {"tzone://Microsoft/Utc", "UTC"},
    {"Europe/Kiev", "FLE Standard Time"},
    {"Europe/Rome", "W. Europe Standard Time"},
    {"Europe/Madrid", "Romance Standard Time"},
    {"Asia/Calcutta", "India Standard Time"},
    {"Asia/Katmandu", "Nepal Standard Time"},
    {"Australia/Melbourne", "AUS Eastern Standard Time"},
};

#define N_ZONES   (int)(sizeof(zones) / sizeof(zones[0]))
#define N_ALIASES (sizeof(aliases) / sizeof(aliases[0]))

int sim_tz_count(void)
{
    return N_ZONES;
}

int sim_tz_find(const char *name)
{
    for (size_t i = 0; i < N_ALIASES; i++) {
        if (strcasecmp(name, aliases[i].name) == 0) {
            name = aliases[i].windows;
            break;
        }
    }
    for (int z = 0; z < N_ZONES; z++) {
        if (strcasecmp(name, zones[z].windows) == 0 || strcasecmp(name, zones[z].iana) == 0)
            return z;
    }
    return -1;
}

const char *sim_tz_windows(int zone)
{
    return zones[zone].windows;
}

const char *sim_tz_iana(int zone)
{
    return zones[zone].iana;
}

bool sim_tz_has_dst(int zone)
{
    return zones[zone].save_s != 0;
}

/* The instant of a change in one year; before_s is the offset that counts until then. */
static int64_t rule_utc_s(const struct rule *r, int year, int32_t before_s)
{
    int32_t day;
    if (r->from != 0) {
        day = sim_day_of(year, r->month, r->from);
        day += (r->weekday - sim_day_weekday(day) + 7) % 7;
    } else {
        day = sim_day_of(year, r->month, sim_days_in_month(year, r->month));
        day -= (sim_day_weekday(day) - r->weekday + 7) % 7;
    }
    int64_t s = (int64_t)day * 86400 + r->second;
    return r->at == UTC ? s : s - before_s;
}

int32_t sim_tz_offset_s(int zone, int64_t utc_s)
{
    const struct zone *z = &zones[zone];
    if (z->save_s == 0)
        return z->offset_s;
    int year;
    sim_day_split(sim_day_of_s(utc_s + z->offset_s), &year, NULL, NULL);
    int64_t begin = rule_utc_s(&z->begin, year, z->offset_s);
    int64_t end = rule_utc_s(&z->end, year, z->offset_s + z->save_s);
    bool summer;
    if (begin < end) /* north */
        summer = utc_s >= begin && utc_s < end;
    else /* south: summer runs over the turn of the year */
        summer = utc_s >= begin || utc_s < end;
    return summer ? z->offset_s + z->save_s : z->offset_s;
}

int64_t sim_tz_local_s(int zone, int64_t utc_s)
{
    return utc_s + sim_tz_offset_s(zone, utc_s);
}

int64_t sim_tz_utc_s(int zone, int64_t local_s)
{
    const struct zone *z = &zones[zone];
    int64_t summer = local_s - z->offset_s - z->save_s;
    int64_t winter = local_s - z->offset_s;
    /* the larger offset gives the earlier instant: it comes first where both are right */
    if (sim_tz_offset_s(zone, summer) == z->offset_s + z->save_s)
        return summer;
    if (sim_tz_offset_s(zone, winter) == z->offset_s)
        return winter;
    return winter; /* a gap always begins in standard time, so that is the offset before it */
}

int32_t sim_day_of_s(int64_t s)
{
    return (int32_t)(s >= 0 ? s / 86400 : -((86399 - s) / 86400));
}

/* Howard Hinnant's days_from_civil: years start in March, eras are 400 years */
int32_t sim_day_of(int year, int month, int day)
{
    int y = month <= 2 ? year - 1 : year;
    int era = (y >= 0 ? y : y - 399) / 400;
    int yoe = y - era * 400;
    int doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

void sim_day_split(int32_t day, int *year, int *month, int *mday)
{
    int32_t z = day + 719468;
    int32_t era = (z >= 0 ? z : z - 146096) / 146097;
    int32_t doe = z - era * 146097;
    int32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int32_t mp = (5 * doy + 2) / 153;
    int m = mp < 10 ? mp + 3 : mp - 9;
    if (mday != NULL)
        *mday = doy - (153 * mp + 2) / 5 + 1;
    if (month != NULL)
        *month = m;
    if (year != NULL)
        *year = yoe + era * 400 + (m <= 2);
}

int sim_day_weekday(int32_t day)
{
    int w = (day + 4) % 7; /* 1970-01-01 was a Thursday */
    return w < 0 ? w + 7 : w;
}

int sim_days_in_month(int year, int month)
{
    static const unsigned char n[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : n[month - 1];
}

int sim_time_format(char out[40], int64_t s, const char *fraction, const char *suffix)
{
    int y, m, d;
    int32_t day = sim_day_of_s(s);
    int left = (int)(s - (int64_t)day * 86400);
    sim_day_split(day, &y, &m, &d);
    return snprintf(out, 40, "%04d-%02d-%02dT%02d:%02d:%02d%s%s", y, m, d, left / 3600,
                    left / 60 % 60, left % 60, fraction, suffix);
}

/* Exactly n digits; -1 if there are fewer. */
static int digits(const char **p, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        char c = **p;
        if (c < '0' || c > '9')
            return -1;
        v = v * 10 + (c - '0');
        (*p)++;
    }
    return v;
}

static bool take(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

int sim_time_parse(const char *text, int64_t *utc_s)
{
    const char *p = text;
    int y = digits(&p, 4);
    if (y < 1 || !take(&p, '-'))
        return -EINVAL;
    int mo = digits(&p, 2);
    if (mo < 1 || mo > 12 || !take(&p, '-'))
        return -EINVAL;
    int d = digits(&p, 2);
    if (d < 1 || d > sim_days_in_month(y, mo))
        return -EINVAL;
    int h = 0, mi = 0, s = 0, shift = 0;
    if (take(&p, 'T') || take(&p, 't')) {
        h = digits(&p, 2);
        if (h < 0 || h > 23 || !take(&p, ':'))
            return -EINVAL;
        mi = digits(&p, 2);
        if (mi < 0 || mi > 59)
            return -EINVAL;
        if (take(&p, ':')) {
            s = digits(&p, 2);
            if (s < 0 || s > 59)
                return -EINVAL;
            if (take(&p, '.')) {
                int n = 0;
                while (digits(&p, 1) >= 0)
                    n++;
                if (n < 1 || n > 12)
                    return -EINVAL;
            }
        }
        if (*p == '+' || *p == '-') {
            int sign = *p++ == '-' ? -1 : 1;
            int oh = digits(&p, 2);
            if (oh < 0 || oh > 14 || !take(&p, ':'))
                return -EINVAL;
            int om = digits(&p, 2);
            if (om < 0 || om > 59)
                return -EINVAL;
            shift = sign * (oh * 3600 + om * 60);
        } else if (!take(&p, 'Z')) {
            (void)take(&p, 'z'); /* no suffix at all is UTC too */
        }
    }
    if (*p != '\0')
        return -EINVAL;
    *utc_s = (int64_t)sim_day_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + s - shift;
    return 0;
}
