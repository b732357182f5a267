#include "worker/filter.h"

#include <string.h>

#include "common/tenant.h"
#include "tests/unit/cmocka_all.h"

static struct cs_js js(const char *text)
{
    struct cs_js v = {0};

    if (text != NULL)
        assert_int_equal(cs_js_check(text, strlen(text), 8, &v, NULL), 0);
    return v;
}

static void test_private_events(void **state)
{
    static const struct {
        const char *event, *master;
        bool is_private;
    } cases[] = {
        {"{\"sensitivity\":\"normal\"}", NULL, false},
        {"{\"sensitivity\":\"Personal\"}", NULL, false},
        {"{\"sensitivity\":\"private\"}", NULL, true},
        {"{\"sensitivity\":\"Confidential\"}", NULL, true},
        {"{\"sensitivity\":\"unknownFutureValue\"}", NULL, true},
        {"{\"sensitivity\":null}", NULL, true},
        {"{\"sensitivity\":5}", NULL, true},
        {"{}", NULL, true},
        {"{}", "{\"sensitivity\":\"normal\"}", false},
        {"{}", "{\"sensitivity\":\"private\"}", true},
        {"{}", "{}", true},
        {"{\"sensitivity\":\"normal\"}", "{\"sensitivity\":\"private\"}", true},
        {"{\"sensitivity\":\"private\"}", "{\"sensitivity\":\"normal\"}", true},
        {"{\"sensitivity\":\"normal\"}", "{}", false},
    };
    static const struct {
        enum cs_private_rule rule;
        enum cs_publish publish;
    } rules[] = {{CS_PRIVATE_BUSY_ONLY, CS_PUBLISH_BUSY_ONLY},
                 {CS_PRIVATE_SKIP, CS_PUBLISH_HOLD},
                 {CS_PRIVATE_FULL, CS_PUBLISH_FULL}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < 3; k++) {
            struct cs_tenant tenant = {.private_events = rules[k].rule};
            struct cs_decision d =
                cs_filter_event(&tenant, js(cases[i].event), js(cases[i].master));
            enum cs_publish want = cases[i].is_private ? rules[k].publish : CS_PUBLISH_FULL;

            assert_int_equal(d.publish, want);
            if (want == CS_PUBLISH_FULL)
                assert_null(d.reason);
            else
                assert_string_equal(d.reason, "private");
        }
    }
}

static void test_mail_passes(void **state)
{
    struct cs_tenant tenant = {.private_events = CS_PRIVATE_SKIP};
    struct cs_decision d = cs_filter_email(&tenant, js("{\"id\":\"1\"}"));

    (void)state;
    assert_int_equal(d.publish, CS_PUBLISH_FULL);
    assert_null(d.reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_private_events),
        cmocka_unit_test(test_mail_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
