#include "worker/graph_page.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/cmocka_all.h"

static int open_text(const char *text, struct cs_page *page, struct cs_js_error *err)
{
    return cs_page_open(text, strlen(text), page, err);
}

static void test_page_gives_items_and_link(void **state)
{
    const char *text = "{\"@odata.nextLink\":\"https:\\/\\/x\\/"
                       "y?a=1\",\"value\":[{\"id\":\"a\"},7,{\"id\":\"b\"}]}";
    struct cs_js_iter it = {0};
    struct cs_page page;
    struct cs_js item;
    size_t odd = 0;
    char link[64];

    (void)state;
    assert_int_equal(open_text(text, &page, NULL), 0);
    assert_true(page.is_collection);
    assert_false(page.is_error);
    assert_int_equal(cs_js_str_into(page.next_link, link, sizeof(link)), 15);
    assert_string_equal(link, "https://x/y?a=1");
    assert_null(page.delta_link.p);
    assert_true(cs_page_next(&page, &it, &item, &odd));
    assert_true(cs_js_str_is(cs_js_get(item, "id"), "a"));
    assert_true(cs_page_next(&page, &it, &item, &odd));
    assert_true(cs_js_str_is(cs_js_get(item, "id"), "b"));
    assert_false(cs_page_next(&page, &it, &item, &odd));
    assert_int_equal(odd, 1);
}

/* A page may be empty and still go on. */
/* contract: fact.05.same_link_empty_pages */
static void test_empty_page_keeps_its_link(void **state)
{
    struct cs_js_iter it = {0};
    struct cs_page page;
    struct cs_js item;

    (void)state;
    assert_int_equal(open_text("{\"value\":[],\"@odata.deltaLink\":\"d\",\"@odata.nextLink\":null}",
                               &page, NULL),
                     0);
    assert_true(page.is_collection);
    assert_null(page.next_link.p);
    assert_non_null(page.delta_link.p);
    assert_false(cs_page_next(&page, &it, &item, NULL));
}

static void test_single_item_is_no_collection(void **state)
{
    struct cs_page page;

    (void)state;
    assert_int_equal(open_text(" {\"id\":\"a\"} ", &page, NULL), 0);
    assert_false(page.is_collection);
    assert_true(cs_js_str_is(cs_js_get(page.root, "id"), "a"));
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *text;
        int r;
        size_t offset;
    } bad[] = {
        {"", -EBADMSG, 0},
        {"<html>", -EBADMSG, 0},
        {"{\"value\":[{\"id\":\"a\"}", -EBADMSG, 20},
        {"{\"value\":{}}", -EINVAL, 9},
        {"{\"value\":null}", -EINVAL, 9},
        {"[1]", -EINVAL, 0},
        {"{\"value\":[],\"@odata.nextLink\":5}", -EINVAL, 30},
        {"{\"value\":[],\"@odata.deltaLink\":{}}", -EINVAL, 31},
        {"{\"value\":[],}", -EBADMSG, 12},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cs_js_error err = {.offset = 999};
        struct cs_page page;

        assert_int_equal(open_text(bad[i].text, &page, &err), bad[i].r);
        assert_int_equal(err.offset, bad[i].offset);
        assert_non_null(err.reason);
    }
}

static void test_too_deep_is_refused(void **state)
{
    char text[400] = "";
    struct cs_page page;

    (void)state;
    for (int i = 0; i < 60; i++)
        strcat(text, "{\"a\":");
    strcat(text, "1");
    for (int i = 0; i < 60; i++)
        strcat(text, "}");
    assert_int_equal(open_text(text, &page, NULL), -E2BIG);
}

/* The innermost name counts, a number that repeats the status does not, and content never comes out. */
/* contract: error.nested_code fact.25.error_bodies */
static void test_error_codes(void **state)
{
    static const struct {
        const char *text, *code;
    } cases[] = {
        {"{\"error\":{\"code\":\"ErrorItemNotFound\",\"message\":\"m\"}}", "ErrorItemNotFound"},
        {"{\"error\":{\"code\":\"UnknownError\",\"innererror\":{\"code\":\"SyncStateNotFound\"}}}",
         "SyncStateNotFound"},
        {"{\"error\":{\"code\":\"A\",\"innerError\":{\"innerError\":{\"code\":\"B\"}}}}", "B"},
        {"{\"error\":{\"code\":\"TooManyRequests\",\"innerError\":{\"code\":\"429\",\"status\":"
         "\"429\"}}}",
         "TooManyRequests"},
        {"{\"error\":{\"code\":\"\",\"message\":\"\"}}", ""},
        {"{\"error\":{\"code\":\"a b<c>\\n\\\"d\"}}", ""},
        {"{\"error\":{\"code\":\"Outer\",\"innerError\":{\"code\":\"No ann@contoso.example\"}}}",
         "Outer"},
        {"{\"error\":\"text\"}", ""},
        {"{\"error\":{\"code\":7}}", ""},
        {"<html><body>502 Bad Gateway</body></html>", ""},
        {"", ""},
    };
    char code[CS_ERROR_CODE_MAX];
    char text[512], name[300];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cs_graph_error_code(cases[i].text, strlen(cases[i].text), code);
        assert_string_equal(code, cases[i].code);
    }
    memset(name, 'x', 200);
    name[200] = '\0';
    (void)snprintf(text, sizeof(text), "{\"error\":{\"code\":\"%s\"}}", name);
    cs_graph_error_code(text, strlen(text), code);
    assert_int_equal(strlen(code), CS_ERROR_CODE_MAX - 1);
}

/* contract: batch.any_order fact.15.batch_members */
static void test_batch_members_by_id(void **state)
{
    const char *text =
        "{\"responses\":[{\"id\":\"2\",\"status\":429,\"headers\":{\"rEtRy-AfTeR\":\"7\"},"
        "\"body\":{\"error\":{\"code\":\"ApplicationThrottled\"}}},"
        "{\"id\":\"1\",\"status\":200,\"body\":{\"id\":\"x\"}},3,{\"id\":\"3\",\"status\":204,"
        "\"headers\":null,\"body\":null},"
        "{\"status\":\"200\"}]}";
    struct cs_js_iter it = {0};
    struct cs_batch_part part;
    struct cs_page page;
    char code[CS_ERROR_CODE_MAX], value[8];

    (void)state;
    assert_int_equal(open_text(text, &page, NULL), 0);
    assert_true(cs_batch_next(&page, &it, &part));
    assert_string_equal(part.id, "2");
    assert_int_equal(part.status, 429);
    assert_int_equal(cs_batch_header(part.headers, "Retry-After", value, sizeof(value)), 1);
    assert_string_equal(value, "7");
    assert_int_equal(cs_batch_header(part.headers, "ETag", value, sizeof(value)), -ENOENT);
    assert_int_equal(cs_batch_header(part.headers, "Retry-After", value, 1), -EMSGSIZE);
    cs_graph_error_code_of(part.body, code);
    assert_string_equal(code, "ApplicationThrottled");
    assert_true(cs_batch_next(&page, &it, &part));
    assert_string_equal(part.id, "1");
    assert_true(cs_js_str_is(cs_js_get(part.body, "id"), "x"));
    assert_null(part.headers.p);
    assert_true(cs_batch_next(&page, &it, &part));
    assert_string_equal(part.id, "3");
    assert_null(part.body.p);
    assert_null(part.headers.p);
    assert_true(cs_batch_next(&page, &it, &part));
    assert_string_equal(part.id, "");
    assert_int_equal(part.status, 0);
    assert_false(cs_batch_next(&page, &it, &part));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_gives_items_and_link),
        cmocka_unit_test(test_empty_page_keeps_its_link),
        cmocka_unit_test(test_single_item_is_no_collection),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_too_deep_is_refused),
        cmocka_unit_test(test_error_codes),
        cmocka_unit_test(test_batch_members_by_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
