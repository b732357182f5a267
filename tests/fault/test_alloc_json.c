/* A tree is whole or there is none, whichever allocation fails, those inside json-c among them. */
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "tests/support/fail_alloc.h"

static const char text[] = "{\"a\":[1,2.5,\"x\xC3\xA9\",{\"b\":null,\"c\":true,\"d\":{},\"e\":[]}],"
                           "\"i\":-9223372036854775808,"
                           "\"a name that is longer than the first piece of "
                           "memory\":\"0123456789012345678901234567890123456789"
                           "0123456789\\n\\t\\u00e9\",\"pair\":\"\\ud837\\ude00\",\"p01\":1,"
                           "\"p02\":2,\"p03\":3,\"p04\":4,\"p05\":5,\"p06\":6,"
                           "\"p07\":7,\"p08\":8,\"p09\":9,\"p10\":10,\"p11\":11,\"p12\":12,\"p13\":"
                           "13,\"p14\":14,\"p15\":15,\"p16\":16,"
                           "\"l\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,"
                           "25,26,27,28,29,30,31,32,33,34,35]}";

static void test_every_allocation(void **state)
{
    (void)state;
    struct cs_buf want, got;
    struct cs_json *doc = NULL;
    const char *reason = NULL;
    unsigned n = 1, failed = 0;

    cs_buf_init(&want, 0);
    cs_buf_init(&got, 0);
    assert_int_equal(cs_json_parse(text, sizeof(text) - 1, &doc, &reason), 0);
    assert_int_equal(cs_json_print(cs_json_root(doc), &want), 0);
    cs_json_free(doc);
    for (;; n++) {
        assert_true(n < 5000);
        doc = NULL;
        fail_alloc_at(n);
        int r = cs_json_parse(text, sizeof(text) - 1, &doc, &reason);
        bool hit = fail_alloc_hit();
        fail_alloc_at(0);
        if (r == 0) { /* whole, or not at all */
            cs_buf_reset(&got);
            assert_int_equal(cs_json_print(cs_json_root(doc), &got), 0);
            assert_string_equal(got.data, want.data);
            cs_json_free(doc);
        } else {
            if (r != -ENOMEM)
                fail_msg("allocation %u: %d %s", n, r, reason);
            failed++;
        }
        if (!hit)
            break;
    }
    assert_true(failed > 50);
    cs_buf_clear(&want);
    cs_buf_clear(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
