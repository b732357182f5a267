#include "cmocka_all.h"

#include "common/backoff.h"

static void test_doubles_up_to_the_cap(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 100; n++) {
        int64_t top = n > 6 ? 60000 : INT64_C(1000) << (n - 1);
        if (top > 60000)
            top = 60000;
        int64_t low = INT64_MAX, high = 0;
        for (uint64_t i = 0; i < 2000; i++) {
            int64_t w = cs_backoff_ms(n, 1000, 60000, cs_mix64(i));
            assert_in_range(w, top / 2, top);
            low = w < low ? w : low;
            high = w > high ? w : high;
        }
        assert_true(low < top / 2 + top / 20 && high > top - top / 20); /* the whole half is used */
    }
}

static void test_edges(void **state)
{
    (void)state;
    assert_int_equal(cs_backoff_ms(5, 1000, 60000, 7), cs_backoff_ms(5, 1000, 60000, 7));
    assert_in_range(cs_backoff_ms(0, 1000, 60000, UINT64_MAX), 500, 1000);
    assert_true(cs_backoff_ms(4000000000u, 1000, INT64_MAX, 3) > 0);
    assert_true(cs_backoff_ms(64, INT64_MAX, INT64_MAX, UINT64_MAX) > 0);
    assert_in_range(cs_backoff_ms(3, 0, 0, 1), 0, 1);
    assert_in_range(cs_backoff_ms(3, 1000, 10, 1), 500,
                    1000); /* a cap below the base counts as the base */
}

static void test_mix_is_splitmix64(void **state)
{
    (void)state;
    /* first two outputs of the reference generator for seed 0 */
    assert_true(cs_mix64(0) == UINT64_C(0xE220A8397B1DCDAF));
    assert_true(cs_mix64(UINT64_C(0x9E3779B97F4A7C15)) == UINT64_C(0x6E789E6AA1B965F4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_up_to_the_cap),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_mix_is_splitmix64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
