/* worker/index_table.c: the last value of a key counts, null takes it out, and what a walk lists is told apart. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/filter.h"
#include "worker/index_table.h"

static void put(struct cs_index_table *t, const char *id, const char *folder, const char *version)
{
    char key[256], value[256] = "";

    snprintf(key, sizeof(key), "acme/ann@contoso.example/email/%s", id);
    if (folder != NULL)
        snprintf(value, sizeof(value), "{\"v\":1,\"folder\":\"%s\",\"change_key\":%s%s%s}", folder,
                 version != NULL ? "\"" : "", version != NULL ? version : "null",
                 version != NULL ? "\"" : "");
    assert_int_equal(
        cs_index_table_put(t, key, strlen(key), folder != NULL ? value : NULL, strlen(value)), 0);
}

static struct cs_index_table *table(void)
{
    struct cs_index_table *t = NULL;

    assert_int_equal(cs_index_table_new("acme", "ann@contoso.example", &t), 0);
    return t;
}

static void test_the_last_value_counts(void **state)
{
    struct cs_index_table *t = table();

    (void)state;
    put(t, "a", "F1", "v1");
    put(t, "b", "F1", "v1");
    put(t, "c", "F1", "v1");
    put(t, "a", "F2", "v2");
    put(t, "b", NULL, NULL);
    put(t, "d", NULL, NULL); /* never there */
    put(t, "c", NULL, NULL);
    put(t, "c", "F1", "v3"); /* and back */
    assert_int_equal(cs_index_table_count(t), 2);
    assert_int_equal(cs_index_table_count_folder(t, "F1"), 1);
    assert_int_equal(cs_index_table_list(t, "a", "v2", "F2", 0, 0), CS_INDEX_SAME);
    assert_int_equal(cs_index_table_list(t, "a", "v1", "F2", 0, 0), CS_INDEX_OTHER);
    assert_int_equal(cs_index_table_list(t, "a", "v2", "F1", 0, 0), CS_INDEX_OTHER);
    assert_int_equal(cs_index_table_list(t, "b", "v1", "F1", 0, 0), CS_INDEX_ABSENT);
    assert_int_equal(cs_index_table_list(t, "c", "v3", "F1", 0, 0), CS_INDEX_SAME);
    assert_int_equal(cs_index_table_list(t, "d", "v1", "F1", 0, 0), CS_INDEX_ABSENT);
    cs_index_table_free(t);
}

static void test_an_entry_without_a_version_differs_from_every_one(void **state)
{
    struct cs_index_table *t = table();

    (void)state;
    put(t, "a", "F1", NULL);
    assert_int_equal(cs_index_table_list(t, "a", "v1", "F1", 0, 0), CS_INDEX_OTHER);
    assert_int_equal(cs_index_table_list(t, "a", "", "F1", 0, 0), CS_INDEX_OTHER);
    /* what cannot be read is out there all the same, in an unknown version */
    assert_int_equal(cs_index_table_put(t, "acme/ann@contoso.example/email/b", 32, "{", 1), 0);
    assert_int_equal(cs_index_table_list(t, "b", "v1", "F1", 0, 0), CS_INDEX_OTHER);
    cs_index_table_free(t);
}

/* What is held back is not out there; it is judged again when it changes, or when no rule that is on holds it. What is out
 * there is judged again when a rule is on that it has not passed. */
static void test_rules_of_the_whole_message(void **state)
{
    enum { P = CS_DEEP_PRIVATE, A = CS_DEEP_AUTOMATED };
    static const struct {
        const char *entry;
        const char *version, *folder;
        unsigned rules;
        enum cs_index_match want;
    } cases[] = {
        {"\"held\":\"automated\"", "v1", "F1", A, CS_INDEX_HELD},
        {"\"held\":\"automated\"", "v1", "F1", A | P, CS_INDEX_HELD},
        {"\"held\":\"automated\"", "v1", "F1", P, CS_INDEX_ABSENT},
        {"\"held\":\"automated\"", "v1", "F1", 0, CS_INDEX_ABSENT},
        {"\"held\":\"automated\"", "v2", "F1", A, CS_INDEX_ABSENT},
        {"\"held\":\"automated\"", "v1", "F2", A, CS_INDEX_ABSENT},
        {"\"held\":\"no rule of ours\"", "v1", "F1", 0, CS_INDEX_SAME},
        {"\"rules\":[\"private\"]", "v1", "F1", P, CS_INDEX_SAME},
        {"\"rules\":[\"private\"]", "v1", "F1", 0, CS_INDEX_SAME},
        {"\"rules\":[\"private\"]", "v1", "F1", P | A, CS_INDEX_UNJUDGED},
        {"\"rules\":[\"x\",7,\"automated\",\"private\"]", "v1", "F1", P | A, CS_INDEX_SAME},
        {"\"rules\":[\"private\"]", "v2", "F1", P | A, CS_INDEX_OTHER},
        {"\"rules\":null", "v1", "F1", A, CS_INDEX_UNJUDGED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *key = "acme/ann@contoso.example/email/a";
        struct cs_index_table *t = table();
        char value[200];
        size_t at = 0;
        int n = snprintf(value, sizeof(value), "{\"folder\":\"F1\",\"change_key\":\"v1\",%s}",
                         cases[i].entry);

        assert_int_equal(cs_index_table_put(t, key, strlen(key), value, (size_t)n), 0);
        assert_int_equal(cs_index_table_count_folder(t, "F1"),
                         strstr(value, "automated\"}") == NULL);
        assert_int_equal(
            cs_index_table_list(t, "a", cases[i].version, cases[i].folder, 0, cases[i].rules),
            cases[i].want);
        /* one that is held back and was not listed is looked into, too: it may have gone */
        assert_non_null(cs_index_table_next_missing(t, "F1", 1, &at));
        cs_index_table_free(t);
    }
}

static void test_others_are_passed_over(void **state)
{
    static const char *const keys[] = {
        "acme/ann@contoso.example/event/a",      "acme/ann@contoso.example/series/a",
        "acme/bob@contoso.example/email/a",      "other/ann@contoso.example/email/a",
        "acme/ann@contoso.example/email/",       "acme/ann@contoso.example/email",
        "acme/ann@contoso.example.evil/email/a", ""};
    struct cs_index_table *t = table();

    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_int_equal(cs_index_table_put(t, keys[i], strlen(keys[i]),
                                            "{\"folder\":\"F\",\"change_key\":\"v\"}", 33),
                         0);
    assert_int_equal(cs_index_table_count(t), 0);
    cs_index_table_free(t);
}

static void test_what_was_not_listed_is_missing(void **state)
{
    struct cs_index_table *t = table();
    const char *id;
    size_t at = 0, n = 0;

    (void)state;
    for (int i = 0; i < 5000; i++) { /* it grows */
        char name[16];

        snprintf(name, sizeof(name), "m%d", i);
        put(t, name, i % 2 == 0 ? "F1" : "F2", "v1");
    }
    for (int i = 0; i < 5000; i += 2) {
        char name[16];

        snprintf(name, sizeof(name), "m%d", i);
        if (i % 100 != 0)
            assert_int_equal(cs_index_table_list(t, name, "v1", "F1", 3, 0), CS_INDEX_SAME);
    }
    assert_int_equal(cs_index_table_list(t, "m200", "v1", "F2", 4, 0),
                     CS_INDEX_OTHER); /* moved: listed by another walk */
    while ((id = cs_index_table_next_missing(t, "F1", 3, &at)) != NULL) {
        assert_int_equal(strtol(id + 1, NULL, 10) % 100, 0);
        n++;
    }
    assert_int_equal(n, 50);
    at = n = 0;
    while (cs_index_table_next_missing(t, "F2", 9, &at) != NULL)
        n++;
    assert_int_equal(n, 2500);
    cs_index_table_free(t);
}

static void test_digests_do_not_depend_on_the_order(void **state)
{
    uint64_t one = cs_index_digest("a", "v1") ^ cs_index_digest("b", "v1"),
             two = cs_index_digest("b", "v1") ^ cs_index_digest("a", "v1");

    (void)state;
    assert_true(one == two);
    assert_true(one != (cs_index_digest("a", "v2") ^ cs_index_digest("b", "v1")));
    assert_true(cs_index_digest("a", "b") != cs_index_digest("b", "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_value_counts),
        cmocka_unit_test(test_an_entry_without_a_version_differs_from_every_one),
        cmocka_unit_test(test_rules_of_the_whole_message),
        cmocka_unit_test(test_others_are_passed_over),
        cmocka_unit_test(test_what_was_not_listed_is_missing),
        cmocka_unit_test(test_digests_do_not_depend_on_the_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
