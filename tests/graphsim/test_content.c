/* test_content.c - people and texts: the same every time, well-formed, of the sizes that were asked for. */
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "common/utf8.h"
#include "content.h"
#include "people.h"
#include "sim.h"

#define N 3000

static struct sim_person people[4];
static struct sim_author quotes[3];

static struct sim_content letter(uint64_t i)
{
    uint64_t seed = sim_hash(5, i);
    for (unsigned k = 0; k < 4; k++)
        sim_person_get(1, "contoso.example", sim_person_pick(sim_hash(seed, k)), &people[k]);
    for (unsigned k = 0; k < 3; k++)
        quotes[k] = (struct sim_author){sim_hash(seed, 10 + k), people[k].name, people[k].address,
                                        INT64_C(1700000000000)};
    return (struct sim_content){
        .thread = sim_hash(seed, 9),
        .mean_bytes = 4096,
        .self = {seed, people[3].name, people[3].address, INT64_C(1700000000000)},
        .to = people[0].name,
        .company = "Fab & Co",
        .quote = quotes,
        .n_quotes = i % 4,
    };
}

static void check_text(const char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = cs_utf8_len(p + i, n - i);
        assert_true(len > 0);
        if (len == 1 && (unsigned char)p[i] < 0x20)
            assert_true(p[i] == '\r' || p[i] == '\n' || p[i] == '\t');
        i += len;
    }
}

static void test_texts_are_valid_and_repeat(void **state)
{
    (void)state;
    struct cs_buf a, b;
    cs_buf_init(&a, 0);
    cs_buf_init(&b, 0);
    for (uint64_t i = 0; i < N; i++) {
        struct sim_content c = letter(i);
        for (int form = 0; form < 4; form++) {
            cs_buf_reset(&a);
            cs_buf_reset(&b);
            sim_content_body(&c, form & 1, form & 2, &a);
            sim_content_body(&c, form & 1, form & 2, &b);
            check_text(a.data, a.len);
            assert_int_equal(a.len, b.len);
            assert_memory_equal(a.data, b.data, a.len);
        }
    }
    cs_buf_clear(&a);
    cs_buf_clear(&b);
}

static void test_sizes_have_the_mean_and_a_long_tail(void **state)
{
    (void)state;
    struct cs_buf b;
    size_t sum = 0, large = 0, small = 0;
    cs_buf_init(&b, 0);
    for (uint64_t i = 0; i < N; i++) {
        struct sim_content c = letter(i);
        cs_buf_reset(&b);
        sim_content_body(&c, true, false, &b);
        sum += b.len;
        large += b.len > 3 * 4096;
        small += b.len < 2048;
    }
    assert_in_range(sum / N, 4096 * 3 / 4, 4096 * 4 / 3);
    assert_true(large > N / 100);
    assert_true(small > N / 10);
    cs_buf_clear(&b);
}

/* The preview is the beginning of the text, 255 characters of it, and the text has no markup left. */
static void test_preview_and_text_belong_together(void **state)
{
    (void)state;
    struct cs_buf text, preview;
    cs_buf_init(&text, 0);
    cs_buf_init(&preview, 0);
    for (uint64_t i = 0; i < N; i++) {
        struct sim_content c = letter(i);
        size_t chars = 0;
        cs_buf_reset(&text);
        cs_buf_reset(&preview);
        sim_content_body(&c, false, false, &text);
        sim_content_preview(&c, &preview);
        assert_true(preview.len <= text.len);
        assert_memory_equal(preview.data, text.data, preview.len);
        for (size_t k = 0; k < preview.len; k++)
            chars += ((unsigned char)preview.data[k] & 0xC0) != 0x80;
        assert_true(chars == 255 || (chars < 255 && preview.len == text.len));
        assert_null(strstr(text.data, "<div"));
        assert_null(strstr(text.data, "&nbsp;"));
    }
    cs_buf_clear(&text);
    cs_buf_clear(&preview);
}

/* A reply quotes what the letter before said. */
static void test_quotes_begin_like_the_original(void **state)
{
    (void)state;
    struct cs_buf first, reply;
    cs_buf_init(&first, 0);
    cs_buf_init(&reply, 0);
    for (uint64_t i = 0; i < 50; i++) {
        struct sim_content c = letter(4 * i); /* without quotes */
        struct sim_author before = c.self;
        struct sim_content r = c;
        char line[200];
        r.self.seed = sim_hash(c.self.seed, 77);
        r.quote = &before;
        r.n_quotes = 1;
        cs_buf_reset(&first);
        cs_buf_reset(&reply);
        sim_content_body(&c, false, false, &first);
        sim_content_body(&r, false, false, &reply);
        /* the first line behind the greeting, without a closing reference that markup may cut */
        const char *start = strstr(first.data, "\r\n") + 2;
        snprintf(line, sizeof(line), "%.*s",
                 (int)(strcspn(start, "\r") < 60 ? strcspn(start, "\r") : 60), start);
        assert_non_null(strstr(reply.data, line));
        sim_content_body(&r, false, true, &first);
    }
    cs_buf_clear(&first);
    cs_buf_clear(&reply);
}

static void test_subjects(void **state)
{
    (void)state;
    size_t empty = 0, wide = 0, prefixed = 0;
    for (uint64_t i = 0; i < N; i++) {
        char plain[SIM_SUBJECT_MAX], reply[SIM_SUBJECT_MAX];
        sim_content_subject(sim_hash(3, i), i, 0, plain);
        sim_content_subject(sim_hash(3, i), i, 2, reply);
        check_text(plain, strlen(plain));
        check_text(reply, strlen(reply));
        empty += *plain == '\0';
        for (const char *p = plain; *p != '\0'; p++)
            wide += ((unsigned char)*p & 0xF8) == 0xF0;
        prefixed += strlen(reply) > strlen(plain) &&
                    strncmp(reply + strlen(reply) - strlen(plain), plain, strlen(plain)) == 0;
    }
    assert_in_range(empty, 1, N / 20);
    assert_true(wide > 0);
    assert_true(prefixed > N * 9 / 10);
}

static void test_people(void **state)
{
    (void)state;
    size_t wide = 0, outside = 0;
    struct sim_person p, q;
    for (uint32_t n = 0; n < SIM_PEOPLE_COLLEAGUES; n++) {
        sim_person_get(1, "contoso.example", n, &p);
        assert_non_null(strstr(p.address, "@contoso.example"));
        for (uint32_t k = 0; k < n; k++) { /* nobody shares an address */
            sim_person_get(1, "contoso.example", k, &q);
            assert_string_not_equal(p.address, q.address);
        }
    }
    for (uint64_t i = 0; i < N; i++) {
        uint32_t n = sim_person_pick(sim_hash(8, i));
        sim_person_get(1, "contoso.example", n, &p);
        sim_person_get(1, "contoso.example", n, &q);
        assert_string_equal(p.name, q.name);
        assert_string_equal(p.address, q.address);
        check_text(p.name, strlen(p.name));
        for (const char *c = p.address; *c != '\0'; c++)
            assert_in_range((unsigned char)*c, 0x21, 0x7e);
        for (const char *c = p.name; *c != '\0'; c++)
            wide += ((unsigned char)*c & 0x80) != 0;
        outside += strstr(p.address, "@contoso.example") == NULL;
    }
    assert_true(wide > N);
    assert_in_range(outside, N / 3, N * 2 / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_valid_and_repeat),
        cmocka_unit_test(test_sizes_have_the_mean_and_a_long_tail),
        cmocka_unit_test(test_preview_and_text_belong_together),
        cmocka_unit_test(test_quotes_begin_like_the_original),
        cmocka_unit_test(test_subjects),
        cmocka_unit_test(test_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
