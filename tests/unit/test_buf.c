#include "cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

static void test_appends_and_keeps_a_nul(void **state)
{
    (void)state;
    struct cs_buf b;
    cs_buf_init(&b, 0);
    assert_null(b.data);
    cs_buf_adds(&b, "one");
    cs_buf_addc(&b, ' ');
    cs_buf_add(&b, "tw\0", 3);
    cs_buf_addf(&b, "%d", 42);
    assert_int_equal(b.len, 9);
    assert_memory_equal(b.data,
                        "one tw\0"
                        "42",
                        10);
    assert_int_equal(cs_buf_failed(&b), 0);
    cs_buf_truncate(&b, 3);
    assert_string_equal(b.data, "one");
    cs_buf_add(&b, NULL, 0);
    assert_int_equal(b.len, 3);
    cs_buf_clear(&b);
    assert_null(b.data);
    cs_buf_adds(&b, "again");
    assert_string_equal(b.data, "again");
    cs_buf_clear(&b);
    cs_buf_clear(NULL);
}

static void test_formats_longer_than_the_room(void **state)
{
    (void)state;
    struct cs_buf b;
    cs_buf_init(&b, 0);
    for (int i = 0; i < 3; i++)
        cs_buf_addf(&b, "%1000d|", i);
    assert_int_equal(b.len, 3003);
    assert_int_equal(strlen(b.data), 3003);
    assert_int_equal(b.data[2000], '1');
    cs_buf_clear(&b);
}

/* The limit is exact, an append that passes it leaves nothing of itself, and the failure stays. */
static void test_limit_is_exact_and_sticky(void **state)
{
    (void)state;
    struct cs_buf b;
    cs_buf_init(&b, 5);
    cs_buf_adds(&b, "12345");
    assert_int_equal(cs_buf_failed(&b), 0);
    assert_int_equal(b.len, 5);
    cs_buf_addf(&b, "%s", "6");
    assert_int_equal(cs_buf_failed(&b), -EMSGSIZE);
    assert_string_equal(b.data, "12345");
    cs_buf_truncate(&b, 0);
    cs_buf_adds(&b, "1");
    assert_int_equal(cs_buf_failed(&b), -EMSGSIZE);
    assert_int_equal(b.len, 0);
    cs_buf_reset(&b);
    cs_buf_adds(&b, "ab");
    assert_string_equal(b.data, "ab");
    assert_int_equal(cs_buf_failed(&b), 0);
    cs_buf_clear(&b);
}

static void test_absurd_sizes_fail(void **state)
{
    (void)state;
    struct cs_buf b;
    cs_buf_init(&b, 0);
    assert_int_equal(cs_buf_reserve(&b, SIZE_MAX), -ENOMEM);
    assert_int_equal(cs_buf_failed(&b), -ENOMEM);
    assert_null(cs_buf_steal(&b, NULL));
    assert_int_equal(cs_buf_failed(&b), 0);
    cs_buf_clear(&b);
}

static void test_steal_gives_the_bytes_away(void **state)
{
    (void)state;
    struct cs_buf b;
    size_t len = 99;
    cs_buf_init(&b, 100);
    char *empty = cs_buf_steal(&b, &len);
    assert_string_equal(empty, "");
    assert_int_equal(len, 0);
    free(empty);
    cs_buf_adds(&b, "x");
    char *x = cs_buf_steal(&b, &len);
    assert_string_equal(x, "x");
    assert_int_equal(len, 1);
    assert_null(b.data);
    assert_int_equal(b.limit, 100);
    free(x);
    cs_buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_and_keeps_a_nul),
        cmocka_unit_test(test_formats_longer_than_the_room),
        cmocka_unit_test(test_limit_is_exact_and_sticky),
        cmocka_unit_test(test_absurd_sizes_fail),
        cmocka_unit_test(test_steal_gives_the_bytes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
