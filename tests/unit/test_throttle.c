/* Slots and holds per mailbox. */
#include "worker/throttle.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

static int set_up(void **state)
{
    struct cs_throttle *t;

    if (cs_throttle_new(&t) < 0)
        return -1;
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    cs_throttle_free(*state);
    return 0;
}

/* contract: fact.14.four_at_a_time */
static void test_four_slots_and_no_fifth(void **state)
{
    struct cs_throttle *t = *state;
    int64_t wait_ms = 0;

    for (int i = 0; i < CS_THROTTLE_SLOTS; i++)
        assert_int_equal(cs_throttle_take(t, "ann", 1, 1000, &wait_ms), 0);
    assert_int_equal(cs_throttle_take(t, "ann", 1, 1000, &wait_ms), -EAGAIN);
    assert_int_equal(wait_ms, CS_NEVER);
    assert_int_equal(cs_throttle_take(t, "bob", 1, 1000, &wait_ms), 0);
    cs_throttle_release(t, "ann", 1);
    assert_int_equal(cs_throttle_take(t, "ann", 1, 1000, &wait_ms), 0);
}

/* contract: fact.14.four_at_a_time */
static void test_a_batch_waits_for_all_four(void **state)
{
    struct cs_throttle *t = *state;
    int64_t wait_ms = 0;

    assert_int_equal(cs_throttle_take(t, "ann", 1, 0, &wait_ms), 0);
    assert_int_equal(cs_throttle_take(t, "ann", 4, 0, &wait_ms), -EAGAIN);
    assert_int_equal(wait_ms, CS_NEVER);
    cs_throttle_release(t, "ann", 1);
    assert_int_equal(cs_throttle_take(t, "ann", 4, 0, &wait_ms), 0);
    assert_int_equal(cs_throttle_take(t, "ann", 1, 0, &wait_ms), -EAGAIN);
    cs_throttle_release(t, "ann", 4);
    assert_int_equal(cs_throttle_take(t, "ann", 5, 0, &wait_ms), -EINVAL);
    assert_int_equal(cs_throttle_take(t, "ann", 0, 0, &wait_ms), -EINVAL);
}

/* A Retry-After stops one mailbox and leaves its neighbour alone. */
/* contract: throttle.per_mailbox */
static void test_hold_is_per_mailbox(void **state)
{
    struct cs_throttle *t = *state;
    int64_t wait_ms = 0;

    cs_throttle_hold(t, "ann", 5000);
    assert_int_equal(cs_throttle_take(t, "ann", 1, 2000, &wait_ms), -EAGAIN);
    assert_int_equal(wait_ms, 3000);
    assert_int_equal(cs_throttle_take(t, "bob", 1, 2000, &wait_ms), 0);
    assert_int_equal(cs_throttle_take(t, "ann", 1, 4999, &wait_ms), -EAGAIN);
    assert_int_equal(wait_ms, 1);
    assert_int_equal(cs_throttle_take(t, "ann", 1, 5000, &wait_ms), 0);
}

static void test_a_hold_is_never_shortened(void **state)
{
    struct cs_throttle *t = *state;
    int64_t wait_ms = 0;

    cs_throttle_hold(t, "ann", 5000);
    cs_throttle_hold(t, "ann", 2000);
    assert_int_equal(cs_throttle_take(t, "ann", 1, 3000, &wait_ms), -EAGAIN);
    assert_int_equal(wait_ms, 2000);
    cs_throttle_hold(t, "ann", 9000);
    assert_int_equal(cs_throttle_take(t, "ann", 1, 5000, &wait_ms), -EAGAIN);
    assert_int_equal(wait_ms, 4000);
}

/* A hold does not take back what runs: those requests end and give their slots back. */
static void test_slots_in_use_survive_a_hold(void **state)
{
    struct cs_throttle *t = *state;
    int64_t wait_ms = 0;

    assert_int_equal(cs_throttle_take(t, "ann", 3, 0, &wait_ms), 0);
    cs_throttle_hold(t, "ann", 100);
    cs_throttle_sweep(t, 200);
    assert_int_equal(cs_throttle_take(t, "ann", 2, 200, &wait_ms), -EAGAIN);
    cs_throttle_release(t, "ann", 3);
    assert_int_equal(cs_throttle_take(t, "ann", 4, 200, &wait_ms), 0);
}

static void test_sweep_forgets_what_is_idle_only(void **state)
{
    struct cs_throttle *t = *state;
    int64_t wait_ms = 0;
    char name[32];

    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_int_equal(cs_throttle_take(t, name, 1, 0, &wait_ms), 0);
        if (i >= 2)
            cs_throttle_release(t, name, 1);
    }
    cs_throttle_hold(t, "held", 1000);
    assert_int_equal(cs_throttle_count(t), 501);
    cs_throttle_sweep(t, 999);
    assert_int_equal(cs_throttle_count(t), 3); /* two with a slot in use, one held */
    cs_throttle_sweep(t, 1000);
    assert_int_equal(cs_throttle_count(t), 2);
    cs_throttle_release(t, "m0", 1);
    cs_throttle_release(t, "m1", 1);
    cs_throttle_sweep(t, 1000);
    assert_int_equal(cs_throttle_count(t), 0);
}

struct play {
    unsigned granted; /* answered, but for the first mailbox's */
    unsigned refused; /* the first mailbox's */
};

/* A minute of so many mailboxes, each with as many requests as it may send, a tick of 10 ms each, 200 ms a request. The
 * answers of the first are refused if retry_after_ms is not negative, and what it is told is kept to. */
static struct play play_minute(unsigned mailboxes, int64_t retry_after_ms)
{
    enum { TICKS = 6000, LATENCY = 20 };
    static unsigned ends[LATENCY + 1][64]; /* requests of a mailbox that end in so many ticks */
    struct cs_throttle *t;
    struct play p = {0, 0};
    char name[16];

    memset(ends, 0, sizeof(ends));
    assert_int_equal(cs_throttle_new(&t), 0);
    for (int tick = 0; tick < TICKS; tick++) {
        int64_t now_ms = tick * 10, wait_ms = 0;

        for (unsigned m = 0; m < mailboxes; m++) {
            unsigned done = ends[0][m];

            snprintf(name, sizeof(name), "m%u", m);
            if (done > 0)
                cs_throttle_release(t, name, done);
            if (m > 0)
                p.granted += done;
            else if (retry_after_ms >= 0)
                p.refused += done;
            if (done > 0 && m == 0 && retry_after_ms >= 0)
                cs_throttle_hold(t, name, now_ms + retry_after_ms);
        }
        memmove(ends[0], ends[1], LATENCY * sizeof(ends[0]));
        memset(ends[LATENCY], 0, sizeof(ends[0]));
        for (unsigned m = 0; m < mailboxes; m++) {
            snprintf(name, sizeof(name), "m%u", m);
            while (cs_throttle_take(t, name, 1, now_ms, &wait_ms) == 0)
                ends[LATENCY - 1][m]++;
            assert_true(wait_ms == CS_NEVER || (m == 0 && wait_ms <= retry_after_ms));
        }
        if (tick % 100 == 0)
            cs_throttle_sweep(t, now_ms);
    }
    for (unsigned m = 0; m < mailboxes; m++) {
        snprintf(name, sizeof(name), "m%u", m);
        for (unsigned i = 0; i <= LATENCY; i++)
            if (ends[i][m] > 0)
                cs_throttle_release(t, name, ends[i][m]);
    }
    cs_throttle_free(t);
    return p;
}

/* contract: throttle.per_mailbox throttle.requests_count */
static void test_one_that_is_always_refused_costs_the_others_nothing(void **state)
{
    static const struct {
        int64_t retry_after_ms;
        unsigned refused; /* four at a time, then the wait */
    } t[] = {{0, 1196}, {1000, 200}, {5000, 48}, {30000, 8}, {120000, 4}};
    struct play calm = play_minute(50, -1);

    (void)state;
    assert_true(calm.granted > 49 * 4 * 290); /* 20 requests a second each */
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct play storm = play_minute(50, t[i].retry_after_ms);

        assert_int_equal(storm.granted, calm.granted);
        if (storm.refused > t[i].refused || storm.refused + 4 < t[i].refused)
            fail_msg("%lld ms: %u refused", (long long)t[i].retry_after_ms, storm.refused);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_four_slots_and_no_fifth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_batch_waits_for_all_four, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hold_is_per_mailbox, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_hold_is_never_shortened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slots_in_use_survive_a_hold, set_up, tear_down),
        cmocka_unit_test(test_one_that_is_always_refused_costs_the_others_nothing),
        cmocka_unit_test_setup_teardown(test_sweep_forgets_what_is_idle_only, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
