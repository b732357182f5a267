#include "worker/graph_page.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Nested innerError objects that are looked into. */
#define INNER_MAX 8

static bool only_digits(const char *s)
{
    return s[strspn(s, "0123456789")] == '\0';
}

/* A member by name, case ignored. */
static struct cs_js get_nocase(struct cs_js obj, const char *name)
{
    struct cs_js_iter it = {0};
    struct cs_js key, value, found = {0};

    while (cs_js_next_member(obj, &it, &key, &value)) {
        if (cs_js_str_is_nocase(key, name))
            found = value;
    }
    return found;
}

void cs_graph_error_code_of(struct cs_js root, char out[CS_ERROR_CODE_MAX])
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    struct cs_js error = cs_js_get(root, "error");

    out[0] = '\0';
    for (int depth = 0; depth < INNER_MAX && cs_js_type(error) == CS_JS_OBJECT; depth++) {
        char code[256];
        int n = cs_js_str_into(cs_js_get(error, "code"), code, sizeof(code));

        /* a code is a name; one with anything else in it might be content */
        if (n > 0 && !only_digits(code) && code[strspn(code, name)] == '\0')
            (void)snprintf(out, CS_ERROR_CODE_MAX, "%.*s", CS_ERROR_CODE_MAX - 1, code);
        error = get_nocase(error, "innerError");
    }
}

void cs_graph_error_code(const char *p, size_t n, char out[CS_ERROR_CODE_MAX])
{
    struct cs_js root;

    out[0] = '\0';
    if (cs_js_check(p, n, CS_PAGE_DEPTH, &root, NULL) == 0)
        cs_graph_error_code_of(root, out);
}

static int refuse(struct cs_js_error *err, const char *start, struct cs_js v, const char *reason)
{
    if (err != NULL) {
        err->offset = (size_t)(v.p - start);
        err->reason = reason;
    }
    return -EINVAL;
}

int cs_page_open(const char *p, size_t n, struct cs_page *ret, struct cs_js_error *err)
{
    struct cs_page page = {.is_collection = false};
    struct cs_js value;
    int r = cs_js_check(p, n, CS_PAGE_DEPTH, &page.root, err);

    if (r < 0)
        return r;
    if (cs_js_type(page.root) != CS_JS_OBJECT)
        return refuse(err, p, page.root, "not an object");
    value = cs_js_get(page.root, "value");
    page.next_link = cs_js_get(page.root, "@odata.nextLink");
    page.delta_link = cs_js_get(page.root, "@odata.deltaLink");
    if (cs_js_has(page.next_link) && cs_js_type(page.next_link) != CS_JS_STRING)
        return refuse(err, p, page.next_link, "next link is no string");
    if (cs_js_has(page.delta_link) && cs_js_type(page.delta_link) != CS_JS_STRING)
        return refuse(err, p, page.delta_link, "delta link is no string");
    if (!cs_js_has(page.next_link))
        page.next_link = (struct cs_js){0};
    if (!cs_js_has(page.delta_link))
        page.delta_link = (struct cs_js){0};
    if (value.p != NULL) {
        if (cs_js_type(value) != CS_JS_ARRAY)
            return refuse(err, p, value, "value is no array");
        page.is_collection = true;
        page.value = value;
    }
    page.is_error = cs_js_type(cs_js_get(page.root, "error")) == CS_JS_OBJECT;
    cs_graph_error_code_of(page.root, page.error_code);
    *ret = page;
    return 0;
}

bool cs_page_next(const struct cs_page *page, struct cs_js_iter *it, struct cs_js *item,
                  size_t *odd)
{
    while (cs_js_next_element(page->value, it, item)) {
        if (cs_js_type(*item) == CS_JS_OBJECT)
            return true;
        if (odd != NULL)
            (*odd)++;
    }
    return false;
}

bool cs_batch_next(const struct cs_page *page, struct cs_js_iter *it, struct cs_batch_part *ret)
{
    struct cs_batch_part part = {.status = 0};
    struct cs_js one, v;
    int64_t status;

    do {
        if (!cs_js_next_element(cs_js_get(page->root, "responses"), it, &one))
            return false;
    } while (cs_js_type(one) != CS_JS_OBJECT);
    v = cs_js_get(one, "id");
    if (cs_js_str_into(v, part.id, sizeof(part.id)) < 0)
        part.id[0] = '\0';
    if (cs_js_i64(cs_js_get(one, "status"), &status) == 0 && status >= 100 && status <= 599)
        part.status = (int)status;
    v = cs_js_get(one, "headers");
    if (cs_js_type(v) == CS_JS_OBJECT)
        part.headers = v;
    v = cs_js_get(one, "body");
    if (cs_js_has(v))
        part.body = v;
    *ret = part;
    return true;
}

int cs_batch_header(struct cs_js headers, const char *name, char *out, size_t size)
{
    struct cs_js_iter it = {0};
    struct cs_js key, value;

    while (cs_js_next_member(headers, &it, &key, &value)) {
        int n;

        if (!cs_js_str_is_nocase(key, name))
            continue;
        n = cs_js_str_into(value, out, size);
        return n < 0 ? -EMSGSIZE : n;
    }
    return -ENOENT;
}
