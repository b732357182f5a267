#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/timers.h"

static void test_order_and_bounds(void **state)
{
    (void)state;
    struct cs_timers *t = NULL;
    struct cs_timer a = {0}, b = {0}, c = {0};
    assert_int_equal(cs_timers_new(&t), 0);
    assert_true(cs_timers_next_ms(t) == CS_NEVER);
    assert_null(cs_timers_next_due(t, INT64_MAX));
    cs_timer_cancel(t, &a);
    assert_int_equal(cs_timer_start(t, &a, 30), 0);
    assert_int_equal(cs_timer_start(t, &b, 10), 0);
    assert_int_equal(cs_timer_start(t, &c, 20), 0);
    assert_int_equal(cs_timers_count(t), 3);
    assert_true(cs_timers_next_ms(t) == 10);
    assert_null(cs_timers_next_due(t, 9));
    assert_ptr_equal(cs_timers_next_due(t, 10), &b);
    assert_false(cs_timer_is_started(&b));
    assert_int_equal(cs_timer_start(t, &a, 5), 0); /* moved, not added */
    assert_int_equal(cs_timers_count(t), 2);
    assert_ptr_equal(cs_timers_next_due(t, 100), &a);
    assert_ptr_equal(cs_timers_next_due(t, 100), &c);
    assert_null(cs_timers_next_due(t, 100));
    assert_int_equal(cs_timer_start(t, &a, 1), 0);
    cs_timers_free(t);
    assert_false(cs_timer_is_started(&a)); /* left stopped */
    cs_timers_free(NULL);
}

/* Against the simplest possible model: an array that is searched. */
static void test_random_operations_match_a_model(void **state)
{
    (void)state;
    enum { N = 300 };
    static struct cs_timer timers[N];
    static int64_t due[N];
    struct cs_timers *t = NULL;
    uint64_t seed = 42;

    memset(timers, 0, sizeof(timers));
    for (int i = 0; i < N; i++)
        due[i] = -1;
    assert_int_equal(cs_timers_new(&t), 0);
    for (int step = 0; step < 30000; step++) {
        uint64_t r = cs_mix64(seed++);
        size_t i = (size_t)(r >> 8) % N;
        int64_t when = (int64_t)((r >> 32) % 1000);
        if (r % 4 < 2) {
            assert_int_equal(cs_timer_start(t, &timers[i], when), 0);
            due[i] = when;
        } else if (r % 4 == 2) {
            cs_timer_cancel(t, &timers[i]);
            due[i] = -1;
        } else {
            int64_t min = INT64_MAX;
            for (int k = 0; k < N; k++)
                if (due[k] >= 0 && due[k] < min)
                    min = due[k];
            assert_true(cs_timers_next_ms(t) == (min == INT64_MAX ? CS_NEVER : min));
            struct cs_timer *got = cs_timers_next_due(t, when);
            if (min > when) {
                assert_null(got);
            } else {
                assert_non_null(got);
                assert_true(due[got - timers] == min);
                due[got - timers] = -1;
            }
        }
        size_t n = 0;
        for (int k = 0; k < N; k++)
            n += due[k] >= 0;
        assert_int_equal(cs_timers_count(t), n);
        assert_int_equal(cs_timer_is_started(&timers[i]), due[i] >= 0);
    }
    cs_timers_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_bounds),
        cmocka_unit_test(test_random_operations_match_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
