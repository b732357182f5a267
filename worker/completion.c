#include "worker/completion.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    int64_t offset;
    bool finished;
};

struct run {
    int64_t first;
    int64_t last;
};

struct cs_completion {
    int64_t committed;     /* -1: none */
    int64_t delivered;     /* highest delivered, -1: none */
    struct entry *entries; /* delivered, ascending; those before head are done with */
    size_t head, n, cap;
    struct run *runs; /* finished according to the map that was read, ascending */
    size_t n_runs;
};

/* Reads ";gap,length" at *s. */
static bool parse_run(const char **s, int64_t *gap, int64_t *length)
{
    char *end = NULL;
    uint64_t value;

    if (**s != ';')
        return false;
    value = strtoull(*s + 1, &end, 16);
    if (end == *s + 1 || *end != ',' || value > INT32_MAX)
        return false;
    *gap = (int64_t)value;
    *s = end + 1;
    value = strtoull(*s, &end, 16);
    if (end == *s || value == 0 || value > INT32_MAX)
        return false;
    *length = (int64_t)value;
    *s = end;
    return true;
}

static int load(struct cs_completion *c, const char *map)
{
    const char *s = map;
    size_t max = 0, n = 0;
    int64_t at = c->committed;

    if (map == NULL || map[0] != '1' || c->committed < 0)
        return 0;
    for (const char *p = map; *p != '\0'; p++)
        max += *p == ';';
    c->runs = calloc(max > 0 ? max : 1, sizeof(*c->runs));
    if (c->runs == NULL)
        return -ENOMEM;
    for (s = map + 1; *s != '\0' && *s != '!'; n++) {
        int64_t gap = 0, length = 0;

        if (!parse_run(&s, &gap, &length))
            return 0; /* not a map of ours: n_runs stays 0 */
        c->runs[n].first = at + gap;
        c->runs[n].last = at + gap + length - 1;
        at = c->runs[n].last + 1;
    }
    c->n_runs = n;
    return 0;
}

int cs_completion_new(int64_t committed, const char *map, struct cs_completion **ret)
{
    struct cs_completion *c = calloc(1, sizeof(*c));
    int r;

    if (c == NULL)
        return -ENOMEM;
    c->committed = committed;
    c->delivered = -1;
    r = load(c, map);
    if (r < 0) {
        cs_completion_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void cs_completion_free(struct cs_completion *c)
{
    if (c == NULL)
        return;
    free(c->entries);
    free(c->runs);
    free(c);
}

static bool in_runs(const struct cs_completion *c, int64_t offset)
{
    for (size_t i = 0; i < c->n_runs; i++)
        if (offset >= c->runs[i].first && offset <= c->runs[i].last)
            return true;
    return false;
}

static struct entry *find(const struct cs_completion *c, int64_t offset)
{
    size_t lo = c->head, hi = c->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (c->entries[mid].offset < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < c->n && c->entries[lo].offset == offset ? &c->entries[lo] : NULL;
}

int cs_completion_deliver(struct cs_completion *c, int64_t offset)
{
    const struct entry *known;
    bool finished;

    if (offset < c->committed)
        return -EALREADY;
    if (offset <= c->delivered) {
        known = find(c, offset);
        if (known == NULL)
            return -EALREADY;
        return known->finished ? -EALREADY : -EINPROGRESS;
    }
    finished = in_runs(c, offset);
    if (c->head > 0 && c->head == c->n)
        c->head = c->n = 0;
    if (c->n == c->cap) {
        if (c->head > c->cap / 2) {
            memmove(c->entries, c->entries + c->head, (c->n - c->head) * sizeof(*c->entries));
            c->n -= c->head;
            c->head = 0;
        } else {
            size_t cap = c->cap > 0 ? c->cap * 2 : 64;
            struct entry *entries = realloc(c->entries, cap * sizeof(*entries));

            if (entries == NULL)
                return -ENOMEM;
            c->entries = entries;
            c->cap = cap;
        }
    }
    c->entries[c->n++] = (struct entry){.offset = offset, .finished = finished};
    c->delivered = offset;
    return finished ? -EALREADY : 0;
}

void cs_completion_mark(struct cs_completion *c, int64_t offset, bool finished)
{
    struct entry *e = find(c, offset);

    if (e != NULL)
        e->finished = finished;
}

static void add_run(struct cs_buf *map, int64_t *at, int64_t first, int64_t last, size_t limit)
{
    char text[48];
    int n = snprintf(text, sizeof(text), ";%" PRIx64 ",%" PRIx64, (uint64_t)(first - *at),
                     (uint64_t)(last - first + 1));

    if (map->len + (size_t)n > limit)
        return; /* what does not fit is done again after a restart: never wrong, only slower */
    cs_buf_add(map, text, (size_t)n);
    *at = last + 1;
}

/* Where the first unfinished entry stands; n if there is none. */
static size_t first_unfinished(const struct cs_completion *c)
{
    size_t i = c->head;

    while (i < c->n && c->entries[i].finished)
        i++;
    return i;
}

static int64_t offset_at(const struct cs_completion *c, size_t i)
{
    if (i < c->n)
        return c->entries[i].offset;
    return c->delivered >= 0 ? c->delivered + 1 : c->committed;
}

void cs_completion_settle(struct cs_completion *c)
{
    c->head = first_unfinished(c);
    c->committed = offset_at(c, c->head);
}

int64_t cs_completion_committed(const struct cs_completion *c)
{
    return c->committed;
}

int64_t cs_completion_commit(const struct cs_completion *c, struct cs_buf *map)
{
    size_t limit = map->len + CS_COMPLETION_MAP_MAX, head = first_unfinished(c);
    int64_t committed = offset_at(c, head), at = committed;

    if (at < 0)
        return at;
    cs_buf_addc(map, '1');
    for (size_t i = head; i < c->n;) {
        size_t j = i;

        if (!c->entries[i].finished) {
            i++;
            continue;
        }
        while (j + 1 < c->n && c->entries[j + 1].finished)
            j++;
        add_run(map, &at, c->entries[i].offset, c->entries[j].offset, limit);
        i = j + 1;
    }
    /* finished before our time and not delivered to us yet */
    for (size_t i = 0; i < c->n_runs; i++) {
        int64_t first = c->runs[i].first;

        if (first <= c->delivered)
            first = c->delivered + 1;
        if (first < at)
            first = at;
        if (first <= c->runs[i].last)
            add_run(map, &at, first, c->runs[i].last, limit);
    }
    return committed;
}

bool cs_completion_is_finished(const struct cs_completion *c, int64_t offset)
{
    const struct entry *e;

    if (offset < c->committed)
        return true;
    e = find(c, offset);
    return e != NULL ? e->finished : in_runs(c, offset);
}

size_t cs_completion_map_bytes(const struct cs_completion *c)
{
    struct cs_buf map;
    size_t n;

    cs_buf_init(&map, 0);
    (void)cs_completion_commit(c, &map); /* for its length only */
    n = map.len;
    cs_buf_clear(&map);
    return n;
}

bool cs_completion_is_full(const struct cs_completion *c)
{
    /* a job that finishes adds one run at most: two numbers of up to eight digits each with a mark before them */
    size_t growth = cs_completion_unfinished(c) * 18, runs = c->n_runs, bytes;

    if (growth == 0)
        return false; /* nothing under way would ever make it shorter: the next job is the one that does */
    /* cheap first: nearly always there is hardly any run */
    for (size_t i = c->head; i < c->n; i++)
        runs += c->entries[i].finished && (i == c->head || !c->entries[i - 1].finished);
    if (1 + runs * 18 + growth < CS_COMPLETION_MAP_FULL)
        return false;
    bytes = cs_completion_map_bytes(c);
    return bytes >= CS_COMPLETION_MAP_FULL || bytes + growth > CS_COMPLETION_MAP_MAX;
}

size_t cs_completion_unfinished(const struct cs_completion *c)
{
    size_t n = 0;

    for (size_t i = c->head; i < c->n; i++)
        n += !c->entries[i].finished;
    return n;
}
