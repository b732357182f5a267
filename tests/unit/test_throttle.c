/* Slots and holds per mailbox. */
#include "worker/throttle.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_four_slots_and_no_fifth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_batch_waits_for_all_four, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hold_is_per_mailbox, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_hold_is_never_shortened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slots_in_use_survive_a_hold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sweep_forgets_what_is_idle_only, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
