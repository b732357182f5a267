#include "worker/zone.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/civil.h"
#include "worker/winzone.h"

#define FILE_MAX_BYTES  65536 /* the largest today has some 4 KB */
#define ZONES_MAX       4096
#define DIR_DEPTH_MAX   4
#define TRANSITIONS_MAX 10000

enum day_form { DAY_MONTH_WEEK, DAY_JULIAN, DAY_ZERO };

/* One change of a POSIX TZ rule (POSIX, Environment Variables, TZ; hours to 167 by RFC 8536, 3.3.1). */
struct rule_day {
    enum day_form form;
    int month, week, weekday; /* DAY_MONTH_WEEK */
    int day;                  /* DAY_JULIAN 1..365 without 29 February, DAY_ZERO 0..365 with it */
    int32_t time_s;
};

struct rule {
    bool is_set;
    bool has_dst;
    int32_t std_s, dst_s; /* east of UTC */
    struct rule_day start, end;
};

struct cs_zone {
    size_t n;
    int64_t *at;      /* instants, ascending */
    int32_t *offset;  /* from at[i] on */
    int32_t before_s; /* before at[0] */
    struct rule rule; /* from the last transition on */
};

struct entry {
    char name[CS_ZONE_NAME_MAX];
    struct cs_zone *zone;
};

struct cs_zones {
    struct entry *entries; /* sorted by name */
    size_t n, cap;
};

/* ---- POSIX TZ rule --------------------------------------------------------------------------- */

static bool read_name(const char **p)
{
    const char *s = *p;

    if (*s == '<') {
        s = strchr(s, '>');
        if (s == NULL)
            return false;
        *p = s + 1;
        return true;
    }
    while (isalpha((unsigned char)*s))
        s++;
    if (s - *p < 3)
        return false;
    *p = s;
    return true;
}

static bool read_number(const char **p, int max, int *ret)
{
    int v = 0;

    if (!isdigit((unsigned char)**p))
        return false;
    while (isdigit((unsigned char)**p)) {
        v = v * 10 + (**p - '0');
        if (v > max)
            return false;
        (*p)++;
    }
    *ret = v;
    return true;
}

/* [+-]hh[:mm[:ss]] */
static bool read_hms(const char **p, int hours_max, int32_t *ret)
{
    int h = 0, m = 0, s = 0, sign = 1;

    if (**p == '+' || **p == '-') {
        sign = **p == '-' ? -1 : 1;
        (*p)++;
    }
    if (!read_number(p, hours_max, &h))
        return false;
    if (**p == ':') {
        (*p)++;
        if (!read_number(p, 59, &m))
            return false;
        if (**p == ':') {
            (*p)++;
            if (!read_number(p, 59, &s))
                return false;
        }
    }
    *ret = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool read_day(const char **p, struct rule_day *d)
{
    if (*(*p)++ != ',')
        return false;
    if (**p == 'M') {
        d->form = DAY_MONTH_WEEK;
        (*p)++;
        if (!read_number(p, 12, &d->month) || d->month < 1 || *(*p)++ != '.' ||
            !read_number(p, 5, &d->week) || d->week < 1 || *(*p)++ != '.' ||
            !read_number(p, 6, &d->weekday))
            return false;
    } else if (**p == 'J') {
        d->form = DAY_JULIAN;
        (*p)++;
        if (!read_number(p, 365, &d->day) || d->day < 1)
            return false;
    } else {
        d->form = DAY_ZERO;
        if (!read_number(p, 365, &d->day))
            return false;
    }
    d->time_s = 7200;
    if (**p == '/') {
        (*p)++;
        return read_hms(p, 167, &d->time_s);
    }
    return true;
}

/* An empty footer says that nothing is known beyond the table. */
static bool read_rule(const char *p, struct rule *r)
{
    int32_t west;

    memset(r, 0, sizeof(*r));
    if (*p == '\0')
        return true;
    if (!read_name(&p) || !read_hms(&p, 24, &west))
        return false;
    r->std_s = -west;
    r->is_set = true;
    if (*p == '\0')
        return true;
    r->has_dst = true;
    if (!read_name(&p))
        return false;
    r->dst_s = r->std_s + 3600;
    if (*p != ',') {
        if (!read_hms(&p, 24, &west))
            return false;
        r->dst_s = -west;
    }
    return read_day(&p, &r->start) && read_day(&p, &r->end) && *p == '\0';
}

/* Wall clock second at which the change happens in this year. */
static int64_t day_in_year(const struct rule_day *d, int64_t year)
{
    int64_t days;

    if (d->form == DAY_MONTH_WEEK) {
        int64_t first = cs_civil_days(year, d->month, 1);
        int64_t next =
            d->month == 12 ? cs_civil_days(year + 1, 1, 1) : cs_civil_days(year, d->month + 1, 1);

        days = first + (d->weekday - cs_civil_weekday(first) + 7) % 7 + (d->week - 1) * 7;
        if (days >= next)
            days -= 7; /* week 5 is the last one */
    } else if (d->form == DAY_JULIAN) {
        bool leap = cs_civil_days(year, 3, 1) - cs_civil_days(year, 2, 28) == 2;

        days = cs_civil_days(year, 1, 1) + d->day - 1 + (leap && d->day >= 60);
    } else {
        days = cs_civil_days(year, 1, 1) + d->day;
    }
    return days * CS_DAY_S + d->time_s;
}

static int32_t rule_offset(const struct rule *r, int64_t utc_s)
{
    int64_t year, start, end;
    bool dst;

    if (!r->has_dst)
        return r->std_s;
    year = cs_civil_of(utc_s + r->std_s).year;
    start = day_in_year(&r->start, year) - r->std_s;
    end = day_in_year(&r->end, year) - r->dst_s;
    dst = start < end ? utc_s >= start && utc_s < end : !(utc_s >= end && utc_s < start);
    return dst ? r->dst_s : r->std_s;
}

/* ---- TZif ------------------------------------------------------------------------------------ */

struct header {
    uint32_t isut, isstd, leap, times, types, chars;
};

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool read_header(const unsigned char *p, size_t n, struct header *h)
{
    if (n < 44 || memcmp(p, "TZif", 4) != 0)
        return false;
    h->isut = be32(p + 20);
    h->isstd = be32(p + 24);
    h->leap = be32(p + 28);
    h->times = be32(p + 32);
    h->types = be32(p + 36);
    h->chars = be32(p + 40);
    return h->times <= TRANSITIONS_MAX && h->types >= 1 && h->types <= 256 && h->chars <= 4096 &&
           h->leap <= 4096 && h->isut <= 256 && h->isstd <= 256;
}

static size_t block_size(const struct header *h, size_t time_size)
{
    return h->times * time_size + h->times + h->types * 6 + h->chars + h->leap * (time_size + 4) +
           h->isstd + h->isut;
}

void cs_zone_free(struct cs_zone *zone)
{
    if (zone == NULL)
        return;
    free(zone->at);
    free(zone->offset);
    free(zone);
}

int cs_zone_parse(const void *bytes, size_t n, struct cs_zone **ret)
{
    const unsigned char *p = bytes, *times, *index, *types;
    struct cs_zone *zone;
    struct header h;
    char footer[128];
    size_t size;
    int r = -EBADMSG;

    if (!read_header(p, n, &h))
        return -EBADMSG;
    if (p[4] < '2') /* version 1 has 32-bit times and no rule: nothing ships it any more */
        return -EBADMSG;
    size = 44 + block_size(&h, 4);
    if (size > n)
        return -EBADMSG;
    p += size;
    n -= size;
    if (!read_header(p, n, &h))
        return -EBADMSG;
    size = 44 + block_size(&h, 8);
    if (size > n)
        return -EBADMSG;
    times = p + 44;
    index = times + (size_t)h.times * 8;
    types = index + h.times;
    p += size;
    n -= size;

    zone = calloc(1, sizeof(*zone));
    if (zone == NULL)
        return -ENOMEM;
    zone->n = h.times;
    if (zone->n > 0) {
        zone->at = calloc(zone->n, sizeof(*zone->at));
        zone->offset = calloc(zone->n, sizeof(*zone->offset));
        if (zone->at == NULL || zone->offset == NULL) {
            r = -ENOMEM;
            goto fail;
        }
    }
    for (size_t i = 0; i < zone->n; i++) {
        uint64_t at = (uint64_t)be32(times + i * 8) << 32 | be32(times + i * 8 + 4);

        if (index[i] >= h.types)
            goto fail;
        zone->at[i] = (int64_t)at;
        zone->offset[i] = (int32_t)be32(types + (size_t)index[i] * 6);
        if (zone->offset[i] < -93599 || zone->offset[i] > 93599 || /* RFC 8536, 3.2 */
            (i > 0 && zone->at[i] <= zone->at[i - 1]))
            goto fail;
    }
    zone->before_s = (int32_t)be32(types);
    if (zone->before_s < -93599 || zone->before_s > 93599)
        goto fail;
    if (n < 2 || p[0] != '\n')
        goto fail;
    size = 0;
    for (p++, n--; n > 0 && *p != '\n' && size < sizeof(footer) - 1; p++, n--)
        footer[size++] = (char)*p;
    footer[size] = '\0';
    if (n == 0 || *p != '\n' || !read_rule(footer, &zone->rule))
        goto fail;
    *ret = zone;
    return 0;
fail:
    cs_zone_free(zone);
    return r;
}

/* ---- the set --------------------------------------------------------------------------------- */

static int read_zone_file(int dirfd, const char *name, struct cs_zone **ret)
{
    unsigned char *data = NULL;
    size_t n = 0;
    int r = 0, fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    data = malloc(FILE_MAX_BYTES);
    if (data == NULL) {
        r = -ENOMEM;
        goto out;
    }
    while (n < FILE_MAX_BYTES) {
        ssize_t got = read(fd, data + n, FILE_MAX_BYTES - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            r = -errno;
            goto out;
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    r = cs_zone_parse(data, n, ret);
out:
    free(data);
    (void)close(fd); /* read only */
    return r;
}

static int add_zone(struct cs_zones *z, const char *name, struct cs_zone *zone)
{
    if (z->n == z->cap) {
        size_t cap = z->cap == 0 ? 512 : z->cap * 2;
        struct entry *grown;

        if (cap > ZONES_MAX)
            return -E2BIG;
        grown = realloc(z->entries, cap * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        z->entries = grown;
        z->cap = cap;
    }
    (void)snprintf(z->entries[z->n].name, CS_ZONE_NAME_MAX, "%s", name); /* the caller checked it */
    z->entries[z->n++].zone = zone;
    return 0;
}

static int read_dir(struct cs_zones *z, int fd, const char *prefix, unsigned depth)
{
    DIR *dir = fdopendir(fd);
    struct dirent *de;
    int r = 0;

    if (dir == NULL) {
        r = -errno;
        (void)close(fd);
        return r;
    }
    while (r == 0 && (de = readdir(dir)) != NULL) {
        char name[CS_ZONE_NAME_MAX];
        struct cs_zone *zone = NULL;
        struct stat st;
        int len;

        /* right/ counts leap seconds, posix/ is the same again */
        if (de->d_name[0] == '.' ||
            (depth == 0 && (strcmp(de->d_name, "right") == 0 || strcmp(de->d_name, "posix") == 0)))
            continue;
        len =
            snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix == '\0' ? "" : "/", de->d_name);
        if (len < 0 || (size_t)len >= sizeof(name) || fstatat(dirfd(dir), de->d_name, &st, 0) < 0)
            continue; /* no zone has such a name; a dangling link is no zone either */
        if (S_ISDIR(st.st_mode)) {
            int sub = depth < DIR_DEPTH_MAX
                          ? openat(dirfd(dir), de->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                          : -1;

            if (sub >= 0)
                r = read_dir(z, sub, name, depth + 1);
            continue;
        }
        if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES)
            continue;
        r = read_zone_file(dirfd(dir), de->d_name, &zone);
        if (r == 0)
            r = add_zone(z, name, zone);
        else if (r != -ENOMEM)
            r = 0; /* the tables and lists that lie beside the zones */
        if (r < 0)
            cs_zone_free(zone);
    }
    (void)closedir(dir);
    return r;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

int cs_zones_open(const char *dir, struct cs_zones **ret)
{
    struct cs_zones *z;
    int fd, r;

    if (dir == NULL) {
        dir = getenv("TZDIR");
        if (dir == NULL || *dir == '\0')
            dir = "/usr/share/zoneinfo";
    }
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    z = calloc(1, sizeof(*z));
    if (z == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    r = read_dir(z, fd, "", 0); /* takes fd */
    if (r == 0 && z->n == 0)
        r = -ENOENT;
    if (r == 0) {
        qsort(z->entries, z->n, sizeof(*z->entries), by_name);
        if (cs_zones_find(z, "UTC") == NULL) {
            struct cs_zone *utc = calloc(1, sizeof(*utc));

            r = utc == NULL ? -ENOMEM : add_zone(z, "UTC", utc);
            if (r < 0)
                cs_zone_free(utc);
            else
                qsort(z->entries, z->n, sizeof(*z->entries), by_name);
        }
    }
    if (r < 0) {
        cs_zones_close(z);
        return r;
    }
    *ret = z;
    return 0;
}

void cs_zones_close(struct cs_zones *z)
{
    if (z == NULL)
        return;
    for (size_t i = 0; i < z->n; i++)
        cs_zone_free(z->entries[i].zone);
    free(z->entries);
    free(z);
}

static const struct entry *find_entry(const struct cs_zones *z, const char *name)
{
    struct entry want;

    if (strlen(name) >= sizeof(want.name))
        return NULL;
    memcpy(want.name, name, strlen(name) + 1);
    return bsearch(&want, z->entries, z->n, sizeof(want), by_name);
}

const struct cs_zone *cs_zones_find(const struct cs_zones *z, const char *name)
{
    const struct entry *e = find_entry(z, name);

    return e == NULL ? NULL : e->zone;
}

const struct cs_zone *cs_zones_find_graph(const struct cs_zones *z, const char *name,
                                          const char **iana)
{
    const struct entry *e = NULL;
    const char *mapped = cs_winzone_iana(name);

    if (mapped == NULL && strcasecmp(name, "tzone://Microsoft/Utc") == 0)
        mapped = "Etc/UTC";
    /* the table first: "UTC" is a Windows name too, and a name with a blank is never an IANA one */
    e = find_entry(z, mapped != NULL ? mapped : name);
    if (e == NULL)
        return NULL;
    if (iana != NULL)
        *iana = e->name;
    return e->zone;
}

int32_t cs_zone_offset_s(const struct cs_zone *zone, int64_t utc_s)
{
    size_t lo = 0, hi = zone->n;

    if (zone->n == 0)
        return zone->rule.is_set ? rule_offset(&zone->rule, utc_s) : zone->before_s;
    if (utc_s < zone->at[0])
        return zone->before_s;
    if (utc_s >= zone->at[zone->n - 1])
        return zone->rule.is_set ? rule_offset(&zone->rule, utc_s) : zone->offset[zone->n - 1];
    while (hi - lo > 1) { /* at[lo] <= utc_s < at[hi] */
        size_t mid = lo + (hi - lo) / 2;

        if (zone->at[mid] <= utc_s)
            lo = mid;
        else
            hi = mid;
    }
    return zone->offset[lo];
}

int64_t cs_zone_local_s(const struct cs_zone *zone, int64_t utc_s)
{
    return utc_s + cs_zone_offset_s(zone, utc_s);
}

int64_t cs_zone_utc_s(const struct cs_zone *zone, int64_t local_s)
{
    /* the offsets a day to either side; no zone changes twice within two days */
    int32_t before = cs_zone_offset_s(zone, local_s - CS_DAY_S);
    int32_t after = cs_zone_offset_s(zone, local_s + CS_DAY_S);

    if (before == after || cs_zone_offset_s(zone, local_s - before) == before)
        return local_s - before;
    if (cs_zone_offset_s(zone, local_s - after) == after)
        return local_s - after;
    return local_s - before; /* a gap */
}
