/* graph_sample.h - a tenant, a context and the invented Graph answers of tests/data/graph, for tests. */
#ifndef CS_TESTS_GRAPH_SAMPLE_H
#define CS_TESTS_GRAPH_SAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tenant.h"
#include "tests/unit/cmocka_all.h"
#include "worker/graph_page.h"
#include "worker/record.h"
#include "worker/zone.h"

struct sample {
    struct cs_tenant tenant;
    struct cs_record_ctx ctx;
    struct cs_zones *zones;
    char *texts[16]; /* answers in use, freed at the end */
    size_t n_texts;
    char name[8], domain[16];
    char *domains[1];
};

static inline int sample_setup(void **state)
{
    struct sample *s = calloc(1, sizeof(*s));

    if (s == NULL || cs_zones_open(NULL, &s->zones) < 0)
        return -1;
    strcpy(s->name, "acme");
    strcpy(s->domain, "contoso.example");
    s->domains[0] = s->domain;
    s->tenant = (struct cs_tenant){.name = s->name, .own_domains = s->domains, .n_own_domains = 1};
    s->ctx = (struct cs_record_ctx){.tenant = &s->tenant,
                                    .mailbox = "ann@contoso.example",
                                    .job_id = "0190a0b0-0000-7000-8000-000000000001",
                                    .lane = "live",
                                    .observed_utc_ms = 1770000000000,
                                    .max_bytes = 1000000,
                                    .zones = s->zones};
    *state = s;
    return 0;
}

static inline int sample_teardown(void **state)
{
    struct sample *s = *state;

    for (size_t i = 0; i < s->n_texts; i++)
        free(s->texts[i]);
    cs_zones_close(s->zones);
    free(s);
    return 0;
}

/* Parses a text that stays alive to the end of the test. */
static inline struct cs_page sample_text(struct sample *s, const char *text)
{
    struct cs_page page;
    char *copy = strdup(text);

    assert_non_null(copy);
    assert_true(s->n_texts < 16);
    s->texts[s->n_texts++] = copy;
    assert_int_equal(cs_page_open(copy, strlen(copy), &page, NULL), 0);
    return page;
}

static inline struct cs_page sample_file(struct sample *s, const char *name)
{
    char path[512];
    char *text = calloc(1, 65536);
    FILE *f;
    struct cs_page page;

    assert_non_null(text);
    (void)snprintf(path, sizeof(path), "%s/graph/%s", CS_TEST_DATA, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_true(fread(text, 1, 65535, f) > 0);
    (void)fclose(f);
    page = sample_text(s, text);
    free(text);
    return page;
}

/* The n-th item of a page. */
static inline struct cs_js sample_item(const struct cs_page *page, size_t n)
{
    struct cs_js_iter it = {0};
    struct cs_js item = {0};

    for (size_t i = 0; i <= n; i++)
        assert_true(cs_page_next(page, &it, &item, NULL));
    return item;
}

/* A record's value, checked as strictly as an input. */
static inline struct cs_js sample_value(const struct cs_record *rec)
{
    struct cs_js v;

    assert_int_equal(cs_js_check(rec->value, rec->value_len, 32, &v, NULL), 0);
    return v;
}

static inline void assert_str(struct cs_js v, const char *want)
{
    struct cs_buf buf;

    cs_buf_init(&buf, 0);
    if (want == NULL) {
        assert_int_equal(cs_js_type(v), CS_JS_NULL);
        return;
    }
    assert_int_equal(cs_js_str(v, &buf), 0);
    assert_int_equal(buf.len, strlen(want));
    if (buf.len > 0)
        assert_memory_equal(buf.data, want, buf.len);
    cs_buf_clear(&buf);
}

static inline void assert_bool(struct cs_js v, bool want)
{
    assert_int_equal(cs_js_type(v), CS_JS_BOOL);
    assert_int_equal(v.n, want ? 4 : 5);
}

/* Does this text occur anywhere in the value's bytes? */
static inline bool has_bytes(const struct cs_record *rec, const char *text)
{
    return memmem(rec->value, rec->value_len, text, strlen(text)) != NULL;
}

#endif
