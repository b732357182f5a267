/* The evidence against a job that kills its worker: what counts, what does not, and its text. */
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "worker/completion.h"
#include "worker/poison.h"

static const struct cs_poison none = {.until = -1, .claimed = -1};

static void check_text(const struct cs_poison *p, const char *want)
{
    struct cs_poison read;
    struct cs_buf text;

    cs_buf_init(&text, 0);
    cs_buf_adds(&text, "1;2,3");
    cs_poison_print(p, &text);
    cs_buf_addc(&text, '\0');
    assert_false(text.failed);
    assert_string_equal(text.data + 5, want);
    assert_true(strlen(want) < CS_POISON_TEXT);
    cs_poison_parse(text.data, &read);
    assert_int_equal(read.open, p->open);
    assert_int_equal(read.deaths, p->deaths);
    assert_int_equal(read.until, p->until);
    assert_int_equal(read.claimed, p->claimed);
    assert_int_equal(read.claims, p->claims);
    cs_buf_clear(&text);
}

static void text_goes_both_ways(void **state)
{
    const struct cs_poison all = {true, 2, 0x1f, 0, 3, false};
    const struct cs_poison most = {true, 0xffff, INT64_MAX - 1, INT64_MAX - 1, 0xffff, false};

    (void)state;
    check_text(&none, "");
    check_text(&all, "!1,2,20,1,3");
    check_text(&most, "!1,ffff,7fffffffffffffff,7fffffffffffffff,ffff");
}

static void what_is_not_understood_is_no_evidence(void **state)
{
    static const char *const texts[] = {"",
                                        "1",
                                        "1!",
                                        "1!1",
                                        "1!1,2,3,4",
                                        "1!1,2,3,4,5,6",
                                        "1!2,2,20,1,3",
                                        "1!1,2,20,0,3",
                                        "1!1,2,20,1,0",
                                        "1!-1,2,20,1,3",
                                        "1!1, 2,20,1,3",
                                        "1!1,10000,20,1,3",
                                        "1!1,2,ffffffffffffffff,1,3",
                                        "1!1,2,20,1,3x"};
    struct cs_poison p;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cs_poison_parse(texts[i], &p);
        assert_memory_equal(&p, &none, sizeof(p));
    }
    cs_poison_parse(NULL, &p);
    assert_memory_equal(&p, &none, sizeof(p));
}

/* An owner that opens and dies. @return true: suspects were found by the next */
static bool die(struct cs_poison *p, int64_t committed, int64_t end)
{
    cs_poison_open(p);
    return cs_poison_assigned(p, committed, end);
}

static void two_deaths_without_progress_make_suspects(void **state)
{
    struct cs_poison p = none;

    (void)state;
    assert_false(cs_poison_assigned(&p, 10, 20)); /* nobody had opened it */
    assert_false(die(&p, 10, 20));
    assert_false(cs_poison_is_suspect(&p, 10));
    assert_true(die(&p, 10, 20));
    assert_true(cs_poison_is_suspect(&p, 10));
    assert_true(cs_poison_is_suspect(&p, 19));
    assert_false(cs_poison_is_suspect(&p, 20));
    assert_false(die(&p, 10, 21)); /* known already */
    cs_poison_committed(&p, 10, 21, false);
    assert_false(cs_poison_is_suspect(&p, 21));
    assert_int_equal(p.deaths, 0);
}

static void suspects_are_bounded(void **state)
{
    struct cs_poison p = none;

    (void)state;
    die(&p, 10, 100000);
    die(&p, 10, 100000);
    assert_true(cs_poison_is_suspect(&p, 10 + CS_POISON_WINDOW - 1));
    assert_false(cs_poison_is_suspect(&p, 10 + CS_POISON_WINDOW));
}

static void progress_and_order_count_for_nothing(void **state)
{
    struct cs_poison p = none;

    (void)state;
    for (int64_t at = 10; at < 40;
         at++) { /* killed each time, and the first unfinished one moves */
        assert_false(die(&p, at, 50));
        cs_poison_open(&p);
        cs_poison_committed(&p, at, at + 1, false);
    }
    p = none;
    for (int i = 0; i < 30; i++) { /* given back in order */
        cs_poison_open(&p);
        cs_poison_close(&p);
        assert_false(cs_poison_assigned(&p, 10, 50));
    }
    assert_memory_equal(&p, &none, sizeof(p));
}

static void three_deaths_alone_are_the_proof(void **state)
{
    struct cs_poison p = none;

    (void)state;
    die(&p, 10, 20);
    die(&p, 10, 20);
    for (int i = 0; i < CS_POISON_CLAIMS; i++) {
        assert_false(cs_poison_is_guilty(&p, 10));
        cs_poison_claim(&p, 10);
        assert_false(cs_poison_is_guilty(&p, 10)); /* it runs */
        cs_poison_assigned(&p, 10, 20);
    }
    assert_true(cs_poison_is_guilty(&p, 10));
    assert_false(cs_poison_is_guilty(&p, 11));
    cs_poison_committed(&p, 10, 11, true);
    assert_false(cs_poison_is_guilty(&p, 10));
    assert_true(
        cs_poison_is_suspect(&p, 11)); /* the rest goes on alone, to the end of the window */
}

static void a_claim_given_back_in_order_is_none(void **state)
{
    struct cs_poison p = none;

    (void)state;
    die(&p, 10, 20);
    die(&p, 10, 20);
    cs_poison_claim(&p, 10);
    cs_poison_assigned(&p, 10, 20);
    assert_int_equal(p.claims, 1);
    for (int i = 0; i < 10; i++) {
        cs_poison_claim(&p, 10);
        cs_poison_claim(&p, 10); /* kept over a rebalance: the same run */
        assert_int_equal(p.claims, 2);
        cs_poison_close(&p);
        cs_poison_assigned(&p, 10, 20);
        assert_int_equal(p.claims, 1);
    }
    cs_poison_claim(&p, 11); /* another: 10 has ended well */
    assert_int_equal(p.claims, 1);
    cs_poison_close(&p);
    assert_int_equal(p.claimed, -1);
}

static void the_map_is_read_before_it(void **state)
{
    struct cs_completion *c = NULL;

    (void)state;
    assert_int_equal(cs_completion_new(100, "1;2,3!1,2,20,1,3", &c), 0);
    assert_false(cs_completion_is_finished(c, 101));
    assert_true(cs_completion_is_finished(c, 102));
    assert_true(cs_completion_is_finished(c, 104));
    assert_false(cs_completion_is_finished(c, 105));
    cs_completion_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_goes_both_ways),
        cmocka_unit_test(what_is_not_understood_is_no_evidence),
        cmocka_unit_test(two_deaths_without_progress_make_suspects),
        cmocka_unit_test(suspects_are_bounded),
        cmocka_unit_test(progress_and_order_count_for_nothing),
        cmocka_unit_test(three_deaths_alone_are_the_proof),
        cmocka_unit_test(a_claim_given_back_in_order_is_none),
        cmocka_unit_test(the_map_is_read_before_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
