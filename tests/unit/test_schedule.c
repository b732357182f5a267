/* producer/schedule.c: places, lanes, turns, and that a fleet is cheap. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/clock.h"
#include "producer/schedule.h"

static struct cs_schedule *make(int32_t partitions, unsigned places)
{
    struct cs_schedule *s = NULL;

    assert_int_equal(cs_schedule_new(partitions, &s), 0);
    cs_schedule_set_places(s, places);
    return s;
}

static struct cs_sched_entry entry(uint32_t tenant, int32_t partition)
{
    return (struct cs_sched_entry){.tenant = tenant, .partition = partition};
}

/* What waits comes back when its time has come, not before, and once. */
static void test_waits_until_its_time(void **state)
{
    struct cs_schedule *s = make(1, 4);
    struct cs_sched_entry a = entry(0, 0), b = entry(0, 0);

    (void)state;
    assert_int_equal(cs_schedule_next_ms(s), CS_NEVER);
    assert_int_equal(cs_schedule_wait(s, &a, 200), 0);
    assert_int_equal(cs_schedule_wait(s, &b, 100), 0);
    assert_int_equal(cs_schedule_next_ms(s), 100);
    assert_null(cs_schedule_next_due(s, 99));
    assert_ptr_equal(cs_schedule_next_due(s, 150), &b);
    assert_null(cs_schedule_next_due(s, 150));
    assert_int_equal(b.place, CS_SCHED_IDLE);
    assert_int_equal(cs_schedule_wait(s, &a, CS_NEVER), 0);
    assert_null(cs_schedule_next_due(s, 1000));
    cs_schedule_remove(s, &a);
    cs_schedule_remove(s, &b);
    cs_schedule_free(s);
}

/* The highest lane goes first; inside it and a tenant the most overdue. */
static void test_lane_then_most_overdue(void **state)
{
    struct cs_schedule *s = make(1, 8);
    struct cs_sched_entry e[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        e[i] = entry(0, 0);
    assert_int_equal(cs_schedule_ready(s, &e[0], CS_LANE_BACKFILL, 1, CS_NEVER), 0);
    assert_int_equal(cs_schedule_ready(s, &e[1], CS_LANE_LIVE, 50, CS_NEVER), 0);
    assert_int_equal(cs_schedule_ready(s, &e[2], CS_LANE_LIVE, 40, CS_NEVER), 0);
    assert_int_equal(cs_schedule_ready(s, &e[3], CS_LANE_SEND, 60, CS_NEVER), 0);
    assert_int_equal(cs_schedule_count_ready(s, CS_LANE_LIVE), 2);
    assert_ptr_equal(cs_schedule_next_ready(s), &e[3]);
    assert_ptr_equal(cs_schedule_next_ready(s), &e[2]);
    assert_ptr_equal(cs_schedule_next_ready(s), &e[1]);
    assert_ptr_equal(cs_schedule_next_ready(s), &e[0]);
    assert_null(cs_schedule_next_ready(s));
    cs_schedule_free(s);
}

/* Places of a partition are counted; a quarter, at least one, is kept for send and live. */
static void test_backfill_never_takes_the_last_places(void **state)
{
    struct cs_schedule *s = make(2, 8);
    struct cs_sched_entry e[10], live[3], other = entry(0, 1), *got;

    (void)state;
    for (int i = 0; i < 10; i++) {
        e[i] = entry(0, 0);
        assert_int_equal(cs_schedule_ready(s, &e[i], CS_LANE_BACKFILL, i, CS_NEVER), 0);
    }
    for (int i = 0; i < 6; i++) {
        got = cs_schedule_next_ready(s);
        assert_ptr_equal(got, &e[i]);
        cs_schedule_out(s, got, CS_LANE_BACKFILL);
    }
    assert_null(cs_schedule_next_ready(s)); /* two places are kept */
    for (int i = 0; i < 3; i++) {
        live[i] = entry(0, 0);
        assert_int_equal(cs_schedule_ready(s, &live[i], CS_LANE_LIVE, i, CS_NEVER), 0);
    }
    for (int i = 0; i < 2; i++) {
        got = cs_schedule_next_ready(s);
        assert_ptr_equal(got, &live[i]);
        cs_schedule_out(s, got, CS_LANE_LIVE);
    }
    assert_null(cs_schedule_next_ready(s)); /* full */
    assert_int_equal(cs_schedule_count_partition(s, 0), 8);
    /* another partition has its own places */
    assert_int_equal(cs_schedule_ready(s, &other, CS_LANE_BACKFILL, 5, CS_NEVER), 0);
    assert_ptr_equal(cs_schedule_next_ready(s), &other);
    /* a place that frees goes to live first, though backfill waits longer */
    cs_schedule_back(s, &e[0]);
    assert_ptr_equal(cs_schedule_next_ready(s), &live[2]);
    cs_schedule_out(s, &live[2], CS_LANE_LIVE);
    cs_schedule_back(s, &live[0]);
    assert_ptr_equal(cs_schedule_next_ready(s), &e[6]);
    for (int i = 0; i < 10; i++)
        cs_schedule_remove(s, &e[i]);
    for (int i = 0; i < 3; i++)
        cs_schedule_remove(s, &live[i]);
    assert_int_equal(cs_schedule_count_partition(s, 0), 0);
    cs_schedule_free(s);
}

/* One place: nothing can be kept, everything must still get its turn. */
static void test_one_place_serves_every_lane(void **state)
{
    struct cs_schedule *s = make(1, 1);
    struct cs_sched_entry a = entry(0, 0);

    (void)state;
    assert_int_equal(cs_schedule_ready(s, &a, CS_LANE_AUDIT, 0, CS_NEVER), 0);
    assert_ptr_equal(cs_schedule_next_ready(s), &a);
    cs_schedule_free(s);
}

/* A tenant with very many mailboxes does not keep a small one waiting. */
static void test_tenants_take_turns(void **state)
{
    struct cs_schedule *s = make(1, 100);
    struct cs_sched_entry many[20], few[3];
    int large = 0, small = 0;

    (void)state;
    for (int i = 0; i < 20; i++) {
        many[i] = entry(7, 0);
        assert_int_equal(cs_schedule_ready(s, &many[i], CS_LANE_LIVE, i, CS_NEVER), 0);
    }
    for (int i = 0; i < 3; i++) {
        few[i] = entry(2, 0);
        assert_int_equal(cs_schedule_ready(s, &few[i], CS_LANE_LIVE, 1000 + i, CS_NEVER), 0);
    }
    for (int i = 0; i < 6; i++) {
        struct cs_sched_entry *e = cs_schedule_next_ready(s);

        *(e->tenant == 7 ? &large : &small) += 1;
    }
    assert_int_equal(large, 3);
    assert_int_equal(small, 3);
    for (int i = 0; i < 20; i++)
        cs_schedule_remove(s, &many[i]);
    cs_schedule_free(s);
}

/* A ready one whose time to be asked again comes stays ready meanwhile, and can change its lane. */
static void test_ready_and_woken(void **state)
{
    struct cs_schedule *s = make(1, 4);
    struct cs_sched_entry a = entry(0, 0);

    (void)state;
    assert_int_equal(cs_schedule_ready(s, &a, CS_LANE_BACKFILL, 10, 20), 0);
    assert_ptr_equal(cs_schedule_next_due(s, 25), &a);
    assert_int_equal(a.place, CS_SCHED_READY);
    assert_int_equal(cs_schedule_ready(s, &a, CS_LANE_LIVE, 20, CS_NEVER), 0);
    assert_int_equal(cs_schedule_count_ready(s, CS_LANE_BACKFILL), 0);
    assert_int_equal(cs_schedule_count_ready(s, CS_LANE_LIVE), 1);
    assert_ptr_equal(cs_schedule_next_ready(s), &a);
    cs_schedule_out(s, &a, CS_LANE_LIVE);
    /* an outstanding one may be watched without giving up its place */
    assert_int_equal(cs_schedule_wait(s, &a, 50), 0);
    assert_int_equal(a.place, CS_SCHED_OUT);
    assert_ptr_equal(cs_schedule_next_due(s, 60), &a);
    assert_int_equal(cs_schedule_count_out(s, CS_LANE_LIVE), 1);
    cs_schedule_back(s, &a);
    assert_int_equal(cs_schedule_count_out(s, CS_LANE_LIVE), 0);
    cs_schedule_free(s);
}

/* Random operations keep the sums right: what is out is what was taken, no partition over its places. */
static void test_sums_stay_right(void **state)
{
    enum { N = 300, P = 5, PLACES = 4 };
    struct cs_schedule *s = make(P, PLACES);
    struct cs_sched_entry *e = calloc(N, sizeof(*e));
    uint64_t seed = 42;

    (void)state;
    assert_non_null(e);
    for (int i = 0; i < N; i++)
        e[i] = entry((uint32_t)(i % 7), i % P);
    for (int step = 0; step < 20000; step++) {
        uint64_t x = cs_mix64(seed++);
        struct cs_sched_entry *one = &e[x % N];
        size_t out = 0, ready = 0;
        struct cs_sched_entry *got;

        switch (x / N % 5) {
        case 0:
            if (one->place != CS_SCHED_OUT)
                assert_int_equal(cs_schedule_ready(s, one, (enum cs_lane)(x >> 40) % CS_LANE_COUNT_,
                                                   (int64_t)(x >> 50), CS_NEVER),
                                 0);
            break;
        case 1:
            if (one->place == CS_SCHED_OUT)
                cs_schedule_back(s, one);
            break;
        case 2: assert_int_equal(cs_schedule_wait(s, one, (int64_t)(x >> 45)), 0); break;
        case 3: cs_schedule_remove(s, one); break;
        default:
            got = cs_schedule_next_ready(s);
            if (got != NULL)
                cs_schedule_out(s, got, got->lane);
        }
        if (step % 100 != 0)
            continue;
        for (int i = 0; i < N; i++) {
            out += e[i].place == CS_SCHED_OUT;
            ready += e[i].place == CS_SCHED_READY;
        }
        for (int l = 0; l < CS_LANE_COUNT_; l++) {
            out -= cs_schedule_count_out(s, (enum cs_lane)l);
            ready -= cs_schedule_count_ready(s, (enum cs_lane)l);
        }
        assert_int_equal(out, 0);
        assert_int_equal(ready, 0);
        for (int p = 0; p < P; p++)
            assert_in_range(cs_schedule_count_partition(s, p), 0, PLACES);
    }
    for (int i = 0; i < N; i++)
        cs_schedule_remove(s, &e[i]);
    free(e);
    cs_schedule_free(s);
}

/* 100,000 mailboxes: a whole round of wait, due, ready, out and back costs microseconds each. */
static void test_a_fleet_is_cheap(void **state)
{
    enum { N = 100000, P = 24 };
    struct cs_schedule *s = make(P, 8);
    struct cs_sched_entry *e = calloc(N, sizeof(*e)), *got;
    int64_t start_ms = cs_clock_mono_ms();
    size_t done = 0;

    (void)state;
    assert_non_null(e);
    for (int i = 0; i < N; i++) {
        e[i] = entry((uint32_t)(i % 1000), i % P);
        assert_int_equal(cs_schedule_wait(s, &e[i], (int64_t)(cs_mix64((uint64_t)i) % 300000)), 0);
    }
    while ((got = cs_schedule_next_due(s, 300000)) != NULL)
        assert_int_equal(cs_schedule_ready(s, got, CS_LANE_LIVE, (int64_t)done++, CS_NEVER), 0);
    assert_int_equal(done, N);
    for (done = 0; (got = cs_schedule_next_ready(s)) != NULL; done++) {
        cs_schedule_out(s, got, CS_LANE_LIVE);
        cs_schedule_back(s, got);
    }
    assert_int_equal(done, N);
    print_message("%d mailboxes through the schedule in %d ms\n", N,
                  (int)(cs_clock_mono_ms() - start_ms));
    free(e);
    cs_schedule_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_until_its_time),
        cmocka_unit_test(test_lane_then_most_overdue),
        cmocka_unit_test(test_backfill_never_takes_the_last_places),
        cmocka_unit_test(test_one_place_serves_every_lane),
        cmocka_unit_test(test_tenants_take_turns),
        cmocka_unit_test(test_ready_and_woken),
        cmocka_unit_test(test_sums_stay_right),
        cmocka_unit_test(test_a_fleet_is_cheap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
