/* The completion map: what is committed, what is skipped after a restart, and that no offset is ever lost. */
#include "worker/completion.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"

static void deliver(struct cs_completion *c, int64_t first, int64_t last)
{
    for (int64_t i = first; i <= last; i++)
        assert_int_equal(cs_completion_deliver(c, i), 0);
}

static int64_t commit(struct cs_completion *c, char *map, size_t size)
{
    struct cs_buf b;
    int64_t offset;

    cs_buf_init(&b, 0);
    offset = cs_completion_commit(c, &b);
    cs_completion_settle(c);
    assert_int_equal(cs_buf_failed(&b), 0);
    assert_true(b.len < size);
    memcpy(map, b.data != NULL ? b.data : "", b.len + (b.data != NULL));
    if (b.data == NULL)
        map[0] = '\0';
    cs_buf_clear(&b);
    return offset;
}

static void test_a_slow_job_does_not_hide_the_finished_ones(void **state)
{
    struct cs_completion *c, *next;
    char map[5000];

    (void)state;
    assert_int_equal(cs_completion_new(100, NULL, &c), 0);
    deliver(c, 100, 109);
    for (int64_t i = 101; i <= 109; i++)
        if (i != 105)
            cs_completion_mark(c, i, true);
    assert_int_equal(commit(c, map, sizeof(map)), 100);
    assert_string_equal(map, "1;1,4;1,4");

    assert_int_equal(cs_completion_new(100, map, &next), 0);
    assert_int_equal(cs_completion_deliver(next, 100), 0);
    for (int64_t i = 101; i <= 109; i++)
        assert_int_equal(cs_completion_deliver(next, i), i == 105 ? 0 : -EALREADY);
    assert_int_equal(cs_completion_deliver(next, 110), 0);
    cs_completion_free(c);
    cs_completion_free(next);
}

static void test_all_finished_commits_behind_the_last(void **state)
{
    struct cs_completion *c;
    char map[5000];

    (void)state;
    assert_int_equal(cs_completion_new(-1, NULL, &c), 0);
    assert_int_equal(commit(c, map, sizeof(map)), -1);
    assert_int_equal(cs_completion_deliver(c, 7), 0);
    assert_int_equal(cs_completion_deliver(c, 9), 0); /* 8 is a transaction's marker */
    assert_int_equal(commit(c, map, sizeof(map)), 7);
    cs_completion_mark(c, 9, true);
    cs_completion_mark(c, 7, true);
    assert_int_equal(commit(c, map, sizeof(map)), 10);
    assert_string_equal(map, "1");
    assert_int_equal(cs_completion_deliver(c, 9), -EALREADY);
    cs_completion_free(c);
}

/* The map that was read stays in force until the jobs it names have been delivered again. */
static void test_an_early_commit_keeps_what_the_map_said(void **state)
{
    struct cs_completion *c;
    char map[5000];

    (void)state;
    assert_int_equal(cs_completion_new(50, "1;5,3", &c), 0); /* 55, 56, 57 */
    deliver(c, 50, 51);
    cs_completion_mark(c, 50, true);
    assert_int_equal(commit(c, map, sizeof(map)), 51);
    assert_string_equal(map, "1;4,3");
    assert_true(cs_completion_is_finished(c, 56));
    assert_false(cs_completion_is_finished(c, 58));
    assert_false(cs_completion_is_finished(c, 51));
    cs_completion_free(c);
}

static void test_a_map_that_is_not_ours_is_empty(void **state)
{
    static const char *const maps[] = {"",         "2;1,1",         "garbage",
                                       "1;",       "1;x,1",         "1;1",
                                       "1;1,0",    "1;1,1trailing", "1;fffffffffffffffff,1",
                                       "{\"a\":1}"};

    (void)state;
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        struct cs_completion *c;

        assert_int_equal(cs_completion_new(10, maps[i], &c), 0);
        assert_int_equal(cs_completion_deliver(c, 10), 0);
        assert_int_equal(cs_completion_deliver(c, 11), 0);
        assert_int_equal(cs_completion_deliver(c, 12), 0);
        cs_completion_free(c);
    }
}

static void test_a_redelivery_is_told_from_a_new_message(void **state)
{
    struct cs_completion *c;

    (void)state;
    assert_int_equal(cs_completion_new(0, NULL, &c), 0);
    deliver(c, 0, 2);
    cs_completion_mark(c, 1, true);
    assert_int_equal(cs_completion_deliver(c, 0), -EINPROGRESS);
    assert_int_equal(cs_completion_deliver(c, 1), -EALREADY);
    assert_int_equal(cs_completion_unfinished(c), 2);
    cs_completion_free(c);
}

/* A transaction that was aborted must leave no trace in the next commit. */
static void test_a_mark_can_be_taken_back(void **state)
{
    struct cs_completion *c;
    struct cs_buf b;
    char map[5000];

    (void)state;
    cs_buf_init(&b, 0);
    assert_int_equal(cs_completion_new(0, NULL, &c), 0);
    deliver(c, 0, 2);
    cs_completion_mark(c, 0, true);
    assert_int_equal(cs_completion_commit(c, &b), 1);
    cs_completion_mark(c, 0, false);
    cs_completion_mark(c, 2, true);
    assert_int_equal(commit(c, map, sizeof(map)), 0);
    assert_string_equal(map, "1;2,1");
    assert_false(cs_completion_is_finished(c, 0));
    cs_buf_clear(&b);
    cs_completion_free(c);
}

/* Random deliveries, completions, commits and restarts: every message is done at least once, and none that a commit
 * covered is done again. */
static void test_random_runs_lose_and_repeat_nothing(void **state)
{
    enum { N = 400 };

    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct cs_completion *c;
        bool durable[N] = {false}, running[N] = {false}, finished[N] = {false}, exists[N];
        int64_t committed = -1, at = 0;
        char map[5000] = "";
        uint64_t rnd = seed;
        int restarts = 0;

        for (int i = 0; i < N; i++)
            exists[i] =
                i == 0 || cs_mix64(seed * 1000 + (uint64_t)i) % 5 != 0; /* the rest are markers */
        assert_int_equal(cs_completion_new(-1, NULL, &c), 0);
        for (int step = 0; step < 5000; step++) {
            uint64_t what = (rnd = cs_mix64(rnd)) % 100;

            if (what < 40 && at < N) {
                if (exists[at]) {
                    int r = cs_completion_deliver(c, at);

                    if (r == 0) {
                        assert_false(durable[at]); /* a commit covered it: it must not come again */
                        running[at] = true;
                    } else {
                        assert_int_equal(r, -EALREADY);
                        assert_true(durable[at]);
                    }
                }
                at++;
            } else if (what < 80) {
                int64_t i = (int64_t)((rnd >> 8) % N);

                if (running[i] && !finished[i]) {
                    cs_completion_mark(c, i, true);
                    finished[i] = true;
                }
            } else if (what < 97) {
                committed = commit(c, map, sizeof(map));
                for (int i = 0; i < N; i++)
                    durable[i] = durable[i] || finished[i];
            } else if (restarts < 20) {
                restarts++;
                cs_completion_free(c);
                assert_int_equal(cs_completion_new(committed, map, &c), 0);
                at = committed >= 0 ? committed : 0;
                for (int i = 0; i < N; i++)
                    running[i] = finished[i] = false;
            }
        }
        for (; at < N; at++)
            if (exists[at] && cs_completion_deliver(c, at) == 0)
                running[at] = true;
        for (int i = 0; i < N; i++)
            if (exists[i])
                assert_true(durable[i] || running[i]);
        cs_completion_free(c);
    }
}

static void test_the_map_is_bounded(void **state)
{
    struct cs_completion *c, *next;
    char map[5000];

    (void)state;
    assert_int_equal(cs_completion_new(0, NULL, &c), 0);
    deliver(c, 0, 9999);
    for (int64_t i = 1; i < 10000; i += 2)
        cs_completion_mark(c, i, true);
    assert_true(cs_completion_map_bytes(c) > CS_COMPLETION_MAP_FULL);
    assert_int_equal(commit(c, map, sizeof(map)), 0);
    assert_true(strlen(map) <= CS_COMPLETION_MAP_MAX);
    assert_int_equal(cs_completion_new(0, map, &next), 0);
    assert_int_equal(cs_completion_deliver(next, 0), 0);
    assert_int_equal(cs_completion_deliver(next, 1), -EALREADY);
    cs_completion_free(c);
    cs_completion_free(next);
}

/* An intake that asks cs_completion_is_full() before each job, with jobs that finish in the worst order. */
static void test_who_stops_when_full_never_loses_a_mark(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        enum { IN_HAND = 1000 };
        struct cs_completion *c;
        int64_t in_hand[IN_HAND], at = 0;
        size_t n = 0, fullest = 0;
        uint64_t rnd = seed;

        assert_int_equal(cs_completion_new(0, NULL, &c), 0);
        for (int step = 0; step < 3000; step++) {
            struct cs_buf map;

            while (n < IN_HAND && !cs_completion_is_full(c)) {
                rnd = cs_mix64(rnd);
                at += 1 + (int64_t)(rnd %
                                    (seed % 2 != 0
                                         ? 3
                                         : 100000)); /* markers of small and of huge transactions */
                assert_int_equal(cs_completion_deliver(c, at), 0);
                in_hand[n++] = at;
            }
            /* the first job of all never ends, old ones seldom: the map gets as long as it can */
            rnd = cs_mix64(rnd);
            if (n > 1) {
                size_t i = rnd % 8 == 0 ? 1 + (size_t)(rnd % (n - 1))
                                        : 1 + (n - 1) / 2 + (size_t)(rnd % (n - n / 2 - (n > 2)));

                i = i < n ? i : n - 1;

                cs_completion_mark(c, in_hand[i], true);
                in_hand[i] = in_hand[--n];
            }
            cs_buf_init(&map, 0);
            (void)cs_completion_commit(c, &map);
            if (map.len > fullest)
                fullest = map.len;
            assert_true(map.len + 20 < CS_COMPLETION_MAP_MAX); /* nothing had to be left out */
            cs_buf_clear(&map);
            cs_completion_settle(c);
            if (n == 1 && cs_completion_is_full(c))
                break;
        }
        assert_true(fullest > 500);
        cs_completion_free(c);
    }
}

static void test_full_with_nothing_under_way_takes_the_next(void **state)
{
    struct cs_buf map;
    struct cs_completion *c;

    (void)state;
    cs_buf_init(&map, 0);
    cs_buf_adds(&map, "1");
    while (map.len < 3500)
        cs_buf_adds(&map, ";1,1");
    assert_int_equal(cs_completion_new(0, map.data, &c), 0);
    assert_false(cs_completion_is_full(c)); /* the job at 0 is the one that makes it shorter */
    assert_int_equal(cs_completion_deliver(c, 0), 0);
    assert_true(cs_completion_is_full(c));
    cs_completion_mark(c, 0, true);
    cs_completion_settle(c);
    assert_false(cs_completion_is_full(c));
    cs_completion_free(c);
    cs_buf_clear(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_job_does_not_hide_the_finished_ones),
        cmocka_unit_test(test_all_finished_commits_behind_the_last),
        cmocka_unit_test(test_an_early_commit_keeps_what_the_map_said),
        cmocka_unit_test(test_a_map_that_is_not_ours_is_empty),
        cmocka_unit_test(test_a_redelivery_is_told_from_a_new_message),
        cmocka_unit_test(test_a_mark_can_be_taken_back),
        cmocka_unit_test(test_random_runs_lose_and_repeat_nothing),
        cmocka_unit_test(test_the_map_is_bounded),
        cmocka_unit_test(test_who_stops_when_full_never_loses_a_mark),
        cmocka_unit_test(test_full_with_nothing_under_way_takes_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
