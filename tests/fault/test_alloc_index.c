/* The n-th allocation fails while the index's table is made and filled past its first growth: for every n the call says
 * -ENOMEM, what was put before is still there, and the same entry can be put once there is memory again. */
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/fail_alloc.h"
#include "worker/index_table.h"

#define ENTRIES         700 /* the table starts with room for fewer */
#define ALLOCATIONS_MAX 2000

static int put(struct cs_index_table *t, unsigned i)
{
    static const char value[] = "{\"v\":1,\"folder\":\"F\",\"change_key\":\"v1\"}";
    char key[64];

    snprintf(key, sizeof(key), "acme/ann@contoso.example/email/m%u", i);
    return cs_index_table_put(t, key, strlen(key), value, sizeof(value) - 1);
}

static void is_whole(struct cs_index_table *t)
{
    size_t at = 0;

    assert_int_equal(cs_index_table_count(t), ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++) {
        char id[16];

        snprintf(id, sizeof(id), "m%u", i);
        assert_int_equal(cs_index_table_list(t, id, "v1", "F", 0, 0), CS_INDEX_SAME);
    }
    assert_null(cs_index_table_next_missing(t, "F", 0, &at));
}

/* @return whether an allocation failed */
static bool fill_with_failure(unsigned n)
{
    struct cs_index_table *t = NULL;
    unsigned failures = 0;
    int r;

    fail_alloc_at(n);
    r = cs_index_table_new("acme", "ann@contoso.example", &t);
    if (r < 0) {
        assert_int_equal(r, -ENOMEM);
        assert_true(fail_alloc_hit());
        assert_null(t);
        fail_alloc_at(0);
        return true;
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        r = put(t, i);
        if (r == 0)
            continue;
        assert_int_equal(r, -ENOMEM);
        assert_true(fail_alloc_hit());
        fail_alloc_at(0);
        failures++;
        assert_int_equal(cs_index_table_count(t), i);
        assert_int_equal(put(t, i), 0);
    }
    if (failures == 0)
        assert_false(fail_alloc_hit());
    fail_alloc_at(0);
    assert_true(failures <= 1);
    is_whole(t);
    cs_index_table_free(t);
    return failures != 0;
}

static void test_every_allocation_of_the_table(void **state)
{
    unsigned n = 1;

    (void)state;
    while (fill_with_failure(n)) {
        n++;
        assert_true(n < ALLOCATIONS_MAX);
    }
    assert_true(n > ENTRIES); /* one for each entry, and the table's own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation_of_the_table)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
