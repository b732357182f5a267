#include "worker/address.h"

#include <string.h>

#include "common/tenant.h"
#include "tests/unit/cmocka_all.h"

static struct cs_address norm(const char *s)
{
    struct cs_address a;

    cs_address_normalize(s, strlen(s), &a);
    return a;
}

static void test_good_addresses(void **state)
{
    static const struct {
        const char *in, *text, *untagged;
    } cases[] = {
        {"ann@contoso.example", "ann@contoso.example", ""},
        {"  Ann.Weber@CONTOSO.Example\r\n", "Ann.Weber@contoso.example", ""},
        {"<ann@contoso.example>", "ann@contoso.example", ""},
        {"mailto:ann@contoso.example", "ann@contoso.example", ""},
        {"ann+news@contoso.example", "ann+news@contoso.example", "ann@contoso.example"},
        {"+tag@contoso.example", "+tag@contoso.example", ""},
        {"ann@b\xc3\xbc"
         "cher.example",
         "ann@xn--bcher-kva.example", ""},
        {"ann@B\xc3\x9c"
         "CHER.example",
         "ann@xn--bcher-kva.example", ""},
        {"ann@stra\xc3\x9f"
         "e.example",
         "ann@xn--strae-oqa.example", ""},
        {"j\xc3\xbcrgen@contoso.example", "j\xc3\xbcrgen@contoso.example", ""},
        {"ann@contoso.example.", "ann@contoso.example", ""},
        {"ann@[192.0.2.1]", "ann@[192.0.2.1]", ""},
        {"ann@[IPv6:2001:DB8::1]", "ann@[ipv6:2001:db8::1]", ""},
        {"\"ann, the first\"@contoso.example", "\"ann, the first\"@contoso.example", ""},
        {"o'neil!#$%&*/=?^_`{|}~-@x_y.example", "o'neil!#$%&*/=?^_`{|}~-@x_y.example", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cs_address a = norm(cases[i].in);

        assert_int_equal(a.problem, CS_ADDRESS_OK);
        assert_string_equal(a.text, cases[i].text);
        assert_string_equal(a.untagged, cases[i].untagged);
    }
}

static void test_broken_addresses_are_kept_and_flagged(void **state)
{
    static const struct {
        const char *in, *text;
        enum cs_address_problem problem;
    } cases[] = {
        {"", "", CS_ADDRESS_EMPTY},
        {" \t ", "", CS_ADDRESS_EMPTY},
        {"Ann", "Ann", CS_ADDRESS_NO_AT},
        {"@contoso.example", "@contoso.example", CS_ADDRESS_NO_AT},
        {"ann@", "ann@", CS_ADDRESS_NO_AT},
        {"/O=EXCHANGELABS/OU=X/CN=RECIPIENTS/CN=ABC", "/O=EXCHANGELABS/OU=X/CN=RECIPIENTS/CN=ABC",
         CS_ADDRESS_X500},
        {"/o=first/cn=ann@old", "/o=first/cn=ann@old", CS_ADDRESS_X500},
        {"IMCEAEX-_O=X_CN=ABC@contoso.example", "IMCEAEX-_O=X_CN=ABC@contoso.example",
         CS_ADDRESS_X500},
        {"undisclosed-recipients:;", "undisclosed-recipients:;", CS_ADDRESS_GROUP},
        {"Team: ann@x.example, bob@x.example;", "Team: ann@x.example, bob@x.example;",
         CS_ADDRESS_GROUP},
        {"ann@x.example, bob@x.example", "ann@x.example, bob@x.example", CS_ADDRESS_GROUP},
        {"a@b@c.example", "a@b@c.example", CS_ADDRESS_SYNTAX},
        {"ann weber@contoso.example", "ann weber@contoso.example", CS_ADDRESS_SYNTAX},
        {"ann@contoso.example\nBcc: x", "ann@contoso.example\nBcc: x", CS_ADDRESS_SYNTAX},
        {"ann@-contoso.example", "ann@-contoso.example", CS_ADDRESS_DOMAIN},
        {"ann@contoso-.example", "ann@contoso-.example", CS_ADDRESS_DOMAIN},
        {"ann@contoso..example", "ann@contoso..example", CS_ADDRESS_DOMAIN},
        {"ann@[]", "ann@[]", CS_ADDRESS_DOMAIN},
        {"ann@\xe2\x80\xae.example", "ann@\xe2\x80\xae.example", CS_ADDRESS_DOMAIN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cs_address a = norm(cases[i].in);

        assert_int_equal(a.problem, cases[i].problem);
        assert_string_equal(a.text, cases[i].text);
        assert_string_equal(a.untagged, "");
        assert_non_null(cs_address_problem_name(a.problem));
    }
    assert_null(cs_address_problem_name(CS_ADDRESS_OK));
}

static void test_too_long_is_cut_on_a_character(void **state)
{
    char s[2000];
    struct cs_address a;

    (void)state;
    s[0] = 'a';
    for (size_t i = 1; i + 1 < sizeof(s); i += 2)
        memcpy(s + i, "\xc3\xbc", 2);
    cs_address_normalize(s, sizeof(s) - 1, &a);
    assert_int_equal(a.problem, CS_ADDRESS_TOO_LONG);
    assert_int_equal(strlen(a.text), CS_ADDRESS_MAX - 1);
    cs_address_normalize(s + 1, sizeof(s) - 2, &a); /* now a character straddles the end */
    assert_int_equal(strlen(a.text), CS_ADDRESS_MAX - 2);
}

static void test_nul_is_bad_syntax(void **state)
{
    struct cs_address a;

    (void)state;
    cs_address_normalize("an\0n@contoso.example", 20, &a);
    assert_int_equal(a.problem, CS_ADDRESS_SYNTAX);
}

static void test_inside(void **state)
{
    char domain[] = "contoso.example", name[] = "t";
    char *domains[] = {domain};
    struct cs_tenant tenant = {.name = name, .own_domains = domains, .n_own_domains = 1};
    struct cs_address a;

    (void)state;
    a = norm("Ann@Contoso.Example");
    assert_true(cs_address_is_inside(&a, &tenant, "x@y.example"));
    a = norm("ann@sub.contoso.example");
    assert_false(cs_address_is_inside(&a, &tenant, "x@y.example"));
    a = norm("X@Y.example");
    assert_true(cs_address_is_inside(&a, &tenant, "x@y.example"));
    a = norm("/O=X/CN=Y");
    assert_true(cs_address_is_inside(&a, &tenant, "x@y.example"));
    a = norm("nobody");
    assert_false(cs_address_is_inside(&a, &tenant, "nobody"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_addresses),
        cmocka_unit_test(test_broken_addresses_are_kept_and_flagged),
        cmocka_unit_test(test_too_long_is_cut_on_a_character),
        cmocka_unit_test(test_nul_is_bad_syntax),
        cmocka_unit_test(test_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
