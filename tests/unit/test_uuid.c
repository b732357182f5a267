#include "cmocka_all.h"

#include <string.h>

#include "common/uuid.h"

static void check_form(const char *u, char version)
{
    assert_int_equal(strlen(u), 36);
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(u[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", u[i]));
    }
    assert_int_equal(u[14], version);
    assert_non_null(strchr("89ab", u[19]));
}

static void test_v7_begins_with_the_time(void **state)
{
    (void)state;
    char a[CS_UUID_TEXT], b[CS_UUID_TEXT];
    /* RFC 9562 A.6 */
    assert_int_equal(cs_uuid7(INT64_C(0x017F22E279B0), a), 0);
    check_form(a, '7');
    assert_memory_equal(a, "017f22e2-79b0-7", 15);
    assert_int_equal(cs_uuid7(INT64_C(0x017F22E279B0), b), 0);
    assert_string_not_equal(a, b);
    assert_int_equal(cs_uuid7(INT64_C(0x017F22E279B1), b), 0);
    assert_true(strcmp(a, b) < 0);
}

static void test_v4(void **state)
{
    (void)state;
    char a[CS_UUID_TEXT], b[CS_UUID_TEXT];
    assert_int_equal(cs_uuid4(a), 0);
    assert_int_equal(cs_uuid4(b), 0);
    check_form(a, '4');
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v7_begins_with_the_time),
        cmocka_unit_test(test_v4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
