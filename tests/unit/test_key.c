#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/key.h"

/* Values of Kafka's own Java test (UtilsTest.testMurmur2). */
static void test_murmur2_is_kafkas(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        int32_t h;
    } t[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        assert_int_equal((int32_t)cs_murmur2(t[i].s, strlen(t[i].s)), t[i].h);
}

/* The vector for writers in other languages, as librdkafka's murmur2 partitioner gives it too. */
static void test_partition_vector(void **state)
{
    (void)state;
    assert_int_equal(cs_murmur2("acme/ann@contoso.example", 24) & 0x7fffffff, 81113201);
    assert_int_equal(cs_key_partition("acme", "ann@contoso.example", 24), 17);
    assert_int_equal(cs_key_partition("acme", "ann@contoso.example", 7), 1);
    assert_int_equal(cs_key_partition("acme", "ann@contoso.example", 1), 0);
    assert_int_equal(cs_key_partition("acme", "ann@contoso.example", 0), -EINVAL);
}

static void test_builds_keys(void **state)
{
    (void)state;
    char k[CS_KEY_MAX];
    assert_int_equal(cs_key_mailbox(k, sizeof(k), "acme", "ann@x"), 10);
    assert_string_equal(k, "acme/ann@x");
    assert_int_equal(cs_key_mailbox(k, 11, "acme", "ann@x"), 10);
    assert_int_equal(cs_key_mailbox(k, 10, "acme", "ann@x"), -EMSGSIZE);
    assert_string_equal(k, "");
    assert_int_equal(cs_key_stream(k, sizeof(k), "acme", "ann@x", "mail:a/b"), 19);
    assert_string_equal(k, "acme/ann@x/mail:a/b");
    assert_int_equal(cs_key_stream(k, 19, "acme", "ann@x", "mail:a/b"), -EMSGSIZE);
}

static int split(const char *key, char *tenant, char *mailbox, const char **rest, size_t *n)
{
    return cs_key_split(key, strlen(key), tenant, mailbox, rest, n);
}

static void test_takes_keys_apart(void **state)
{
    (void)state;
    char tenant[CS_TENANT_MAX + 1], mailbox[CS_MAILBOX_MAX + 1], key[CS_KEY_MAX];
    const char *rest = NULL;
    size_t n = 9;
    assert_int_equal(split("acme/ann@x", tenant, mailbox, &rest, &n), 0);
    assert_string_equal(tenant, "acme");
    assert_string_equal(mailbox, "ann@x");
    assert_string_equal(rest, "");
    assert_int_equal(n, 0);
    assert_int_equal(split("acme/ann@x/cal:a/table", tenant, mailbox, &rest, &n), 0);
    assert_string_equal(rest, "cal:a/table");
    assert_int_equal(n, 11);
    assert_int_equal(split("acme/ann@x/y", tenant, mailbox, NULL, NULL), 0);

    static const char *const bad[] = {"",         "acme",        "/ann",      "acme/",
                                      "acme//x",  "acme/ann@x/", "Acme/ann",  "a_b/ann",
                                      "acme/Ann", "acme/a b",    "acme/a\tb", "acme/a\x7f"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (split(bad[i], tenant, mailbox, &rest, &n) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(cs_key_split("acme/an\0n", 9, tenant, mailbox, NULL, NULL), -EINVAL);
    assert_int_equal(cs_key_split("ac\0e/ann", 8, tenant, mailbox, NULL, NULL), -EINVAL);

    memset(key, 'a', sizeof(key));
    key[CS_TENANT_MAX] = '/';
    assert_int_equal(
        cs_key_split(key, CS_TENANT_MAX + 1 + CS_MAILBOX_MAX, tenant, mailbox, NULL, NULL), 0);
    assert_int_equal(
        cs_key_split(key, CS_TENANT_MAX + 2 + CS_MAILBOX_MAX, tenant, mailbox, NULL, NULL),
        -EINVAL);
    key[CS_TENANT_MAX] = 'a';
    key[CS_TENANT_MAX + 1] = '/';
    assert_int_equal(cs_key_split(key, CS_TENANT_MAX + 10, tenant, mailbox, NULL, NULL), -EINVAL);
}

static void test_names(void **state)
{
    (void)state;
    char name[CS_MAILBOX_MAX + 2];
    assert_true(cs_tenant_name_ok("a-1"));
    assert_false(cs_tenant_name_ok(""));
    assert_false(cs_tenant_name_ok("a/b"));
    memset(name, 'a', sizeof(name));
    name[CS_TENANT_MAX] = '\0';
    assert_true(cs_tenant_name_ok(name));
    name[CS_TENANT_MAX] = 'a';
    name[CS_TENANT_MAX + 1] = '\0';
    assert_false(cs_tenant_name_ok(name));
    name[CS_TENANT_MAX + 1] = 'a';
    name[CS_MAILBOX_MAX] = '\0';
    assert_true(cs_mailbox_name_ok(name));
    name[CS_MAILBOX_MAX] = 'a';
    name[CS_MAILBOX_MAX + 1] = '\0';
    assert_false(cs_mailbox_name_ok(name));
    assert_true(cs_mailbox_name_ok("j\xC3\xB6rg#ext#@contoso.example"));
    assert_false(cs_mailbox_name_ok(""));
    assert_false(cs_mailbox_name_ok("a/b"));
}

static void test_id_hash(void **state)
{
    (void)state;
    assert_true(cs_id_hash("AAMkInbox") == UINT64_C(0x3e43d8b3dc68cfd1));
    assert_true(cs_id_hash("") == UINT64_C(0xe3b0c44298fc1c14));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_murmur2_is_kafkas),
        cmocka_unit_test(test_partition_vector),
        cmocka_unit_test(test_builds_keys),
        cmocka_unit_test(test_takes_keys_apart),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_id_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
