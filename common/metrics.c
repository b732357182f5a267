#include "common/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX 5000
#define BOUNDS_MAX 16

enum kind { COUNTER, GAUGE, HISTOGRAM };
static const char *const kind_names[] = {"counter", "gauge", "histogram"};

struct cs_metric {
    char *name;
    char *labels; /* "" for none */
    char *help;
    enum kind kind;
    unsigned n_bounds;
    int64_t bounds[BOUNDS_MAX];
    _Atomic int64_t buckets[BOUNDS_MAX + 1]; /* the last: above all bounds. Not cumulative */
    _Atomic int64_t value;                   /* of a histogram: sum in thousandths */
};

struct cs_metrics {
    pthread_mutex_t lock;      /* series, n, cap; values have none */
    struct cs_metric **series; /* sorted by name, then labels */
    size_t n;
    size_t cap;
};

/* Where updates of a series go that could not be made: seen by nobody. */
static struct cs_metric nowhere = {.kind = COUNTER};

int cs_metrics_new(struct cs_metrics **ret)
{
    struct cs_metrics *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return -ENOMEM;
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m);
        return -ENOMEM;
    }
    *ret = m;
    return 0;
}

static void free_metric(struct cs_metric *x)
{
    if (x == NULL)
        return;
    free(x->name);
    free(x->labels);
    free(x->help);
    free(x);
}

void cs_metrics_free(struct cs_metrics *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->n; i++)
        free_metric(m->series[i]);
    free(m->series);
    (void)pthread_mutex_destroy(&m->lock); /* fails while locked only */
    free(m);
}

static int compare(const struct cs_metric *x, const char *name, const char *labels)
{
    int c = strcmp(x->name, name);
    return c != 0 ? c : strcmp(x->labels, labels);
}

/* Called with the lock held. Place of the first series that is not below. */
static size_t find(const struct cs_metrics *m, const char *name, const char *labels)
{
    size_t low = 0, high = m->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare(m->series[mid], name, labels) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool same_bounds(const struct cs_metric *x, const int64_t *bounds, unsigned n)
{
    return x->n_bounds == n && (n == 0 || memcmp(x->bounds, bounds, n * sizeof(*bounds)) == 0);
}

static struct cs_metric *add(struct cs_metrics *m, enum kind kind, const char *name,
                             const char *labels, const char *help, const int64_t *bounds,
                             unsigned n)
{
    struct cs_metric *x = &nowhere, *made = NULL;

    if (labels == NULL)
        labels = "";
    if (n > BOUNDS_MAX)
        n = BOUNDS_MAX;
    (void)pthread_mutex_lock(&m->lock); /* a plain mutex fails on misuse only */
    size_t at = find(m, name, labels);
    if (at < m->n && compare(m->series[at], name, labels) == 0) {
        if (m->series[at]->kind == kind && same_bounds(m->series[at], bounds, n))
            x = m->series[at];
        goto out;
    }
    /* series of one name stand together: a neighbour of the name says its type */
    for (size_t k = at > 0 ? at - 1 : 0; k < m->n && k <= at; k++)
        if (strcmp(m->series[k]->name, name) == 0 && m->series[k]->kind != kind)
            goto out;
    if (m->n == SERIES_MAX)
        goto out;
    if (m->n == m->cap) {
        size_t cap = m->cap == 0 ? 64 : m->cap * 2;
        struct cs_metric **series = realloc(m->series, cap * sizeof(*series));
        if (series == NULL)
            goto out;
        m->series = series;
        m->cap = cap;
    }
    made = calloc(1, sizeof(*made));
    if (made == NULL)
        goto out;
    made->kind = kind;
    made->name = strdup(name);
    made->labels = strdup(labels);
    made->help = strdup(help);
    if (made->name == NULL || made->labels == NULL || made->help == NULL)
        goto out;
    made->n_bounds = n;
    for (unsigned i = 0; i < n; i++)
        made->bounds[i] = bounds[i];
    memmove(&m->series[at + 1], &m->series[at], (m->n - at) * sizeof(m->series[0]));
    m->series[at] = made;
    m->n++;
    x = made;
    made = NULL;
out:
    (void)pthread_mutex_unlock(&m->lock);
    free_metric(made);
    return x;
}

struct cs_metric *cs_metrics_counter(struct cs_metrics *m, const char *name, const char *labels,
                                     const char *help)
{
    return add(m, COUNTER, name, labels, help, NULL, 0);
}

struct cs_metric *cs_metrics_gauge(struct cs_metrics *m, const char *name, const char *labels,
                                   const char *help)
{
    return add(m, GAUGE, name, labels, help, NULL, 0);
}

struct cs_metric *cs_metrics_histogram(struct cs_metrics *m, const char *name, const char *labels,
                                       const char *help, const int64_t *bounds, unsigned n)
{
    return add(m, HISTOGRAM, name, labels, help, bounds, n);
}

void cs_metric_add(struct cs_metric *x, int64_t n)
{
    atomic_fetch_add_explicit(&x->value, n, memory_order_relaxed);
}

void cs_metric_set(struct cs_metric *x, int64_t v)
{
    atomic_store_explicit(&x->value, v, memory_order_relaxed);
}

void cs_metric_observe_milli(struct cs_metric *x, int64_t v)
{
    unsigned i = 0;

    while (i < x->n_bounds && v > x->bounds[i])
        i++;
    atomic_fetch_add_explicit(&x->value, v, memory_order_relaxed);
    atomic_fetch_add_explicit(&x->buckets[i], 1, memory_order_relaxed);
}

int64_t cs_metric_value(const struct cs_metric *x)
{
    return atomic_load_explicit(&x->value, memory_order_relaxed);
}

/* --- text -------------------------------------------------------------------------------------- */

void cs_metrics_label(struct cs_buf *out, const char *name, const char *value)
{
    cs_buf_addf(out, "%s%s=\"", out->len > 0 ? "," : "", name);
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            cs_buf_addf(out, "\\%c", *value);
        else if (*value == '\n')
            cs_buf_adds(out, "\\n");
        else
            cs_buf_addc(out, *value);
    }
    cs_buf_addc(out, '"');
}

/* Thousandths as a decimal number without needless zeros. */
static void add_milli(struct cs_buf *out, int64_t v)
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    unsigned part = (unsigned)(u % 1000);

    cs_buf_addf(out, "%s%" PRIu64, v < 0 ? "-" : "", u / 1000);
    if (part == 0)
        return;
    int digits = 3;
    while (part % 10 == 0) {
        part /= 10;
        digits--;
    }
    cs_buf_addf(out, ".%0*u", digits, part);
}

/* name, suffix, {labels,extra} and a space */
static void add_head(struct cs_buf *out, const struct cs_metric *x, const char *suffix)
{
    cs_buf_addf(out, "%s%s", x->name, suffix);
    if (x->labels[0] != '\0')
        cs_buf_addf(out, "{%s}", x->labels);
    cs_buf_addc(out, ' ');
}

static void print_histogram(struct cs_buf *out, const struct cs_metric *x)
{
    int64_t sum = cs_metric_value(x), count = 0;
    const char *comma = x->labels[0] != '\0' ? "," : "";

    for (unsigned i = 0; i <= x->n_bounds; i++) {
        count += atomic_load_explicit(&x->buckets[i], memory_order_relaxed);
        cs_buf_addf(out, "%s_bucket{%s%sle=\"", x->name, x->labels, comma);
        if (i < x->n_bounds)
            add_milli(out, x->bounds[i]);
        else
            cs_buf_adds(out, "+Inf");
        cs_buf_addf(out, "\"} %" PRId64 "\n", count);
    }
    add_head(out, x, "_sum");
    add_milli(out, sum);
    cs_buf_addc(out, '\n');
    /* the same number as the last bucket, whatever was observed meanwhile */
    add_head(out, x, "_count");
    cs_buf_addf(out, "%" PRId64 "\n", count);
}

void cs_metrics_print(struct cs_metrics *m, struct cs_buf *out)
{
    const char *last = "";

    (void)pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++) {
        const struct cs_metric *x = m->series[i];
        if (strcmp(x->name, last) != 0) {
            cs_buf_addf(out, "# HELP %s ", x->name);
            for (const char *p = x->help; *p != '\0'; p++) {
                if (*p == '\\')
                    cs_buf_adds(out, "\\\\");
                else if (*p == '\n')
                    cs_buf_adds(out, "\\n");
                else
                    cs_buf_addc(out, *p);
            }
            cs_buf_addf(out, "\n# TYPE %s %s\n", x->name, kind_names[x->kind]);
            last = x->name;
        }
        if (x->kind == HISTOGRAM) {
            print_histogram(out, x);
        } else {
            add_head(out, x, "");
            cs_buf_addf(out, "%" PRId64 "\n", cs_metric_value(x));
        }
    }
    (void)pthread_mutex_unlock(&m->lock);
}
