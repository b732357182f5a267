/* The slice reader against json-c's own.
 *
 * What cs_js_check() accepts, json-c (strict) accepts with the same values, but for its own faults, which are named
 * below. What it refuses, json-c may accept: it is laxer (single quotes, NaN, raw control characters, bad UTF-8).
 * cs_json_parse(), whose trees are made from slices, agrees with the slices without exception. Then what was read is
 * written and read again.
 */
#include "fuzz.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <json-c/json.h>

#include "common/json.h"
#include "common/json_slice.h"
#include "common/json_write.h"

static bool is_integer(struct cs_js v)
{
    return memchr(v.p, '.', v.n) == NULL && memchr(v.p, 'e', v.n) == NULL &&
           memchr(v.p, 'E', v.n) == NULL;
}

/* json-c 0.16 makes U+FFFD of some escaped pairs (\\ud837\\ude00). */
static bool may_be_wrong(struct cs_js v, const struct cs_buf *decoded)
{
    bool high = false;
    for (size_t i = 0; i < decoded->len; i++)
        high = high || (unsigned char)decoded->data[i] >= 0xF0;
    return high && memchr(v.p, '\\', v.n) != NULL;
}

/* json-c ends names at a NUL, and its halves of surrogates are its own affair. */
static bool name_is_plain(struct cs_js name, struct cs_buf *out)
{
    cs_buf_reset(out);
    FUZZ_CHECK(cs_js_str(name, out) == 0);
    return !cs_js_str_has_lone_surrogate(name) &&
           memchr(out->data, '\0', out->len + 1) == out->data + out->len;
}

static void compare(struct cs_js v, struct json_object *o)
{
    struct cs_js_iter it = {0};
    struct cs_js name, value;
    struct cs_buf b;
    int64_t i;
    bool flag;
    size_t n = 0;

    cs_buf_init(&b, 0);
    FUZZ_CHECK(cs_js_check(v.p, v.n, CS_JS_MAX_DEPTH, &value, NULL) ==
               0); /* a slice is a text by itself */
    FUZZ_CHECK(value.p == v.p && value.n == v.n);
    switch (cs_js_type(v)) {
    case CS_JS_OBJECT:
        FUZZ_CHECK(json_object_is_type(o, json_type_object));
        while (cs_js_next_member(v, &it, &name, &value)) {
            struct json_object *member = NULL;
            if (!name_is_plain(name, &b) || may_be_wrong(name, &b))
                continue;
            FUZZ_CHECK(cs_js_str_is(name, b.data));
            struct cs_js last = cs_js_get(v, b.data); /* of equal names the last wins, in both */
            FUZZ_CHECK(last.p != NULL && last.p >= value.p);
            FUZZ_CHECK(json_object_object_get_ex(o, b.data, &member));
            if (last.p == value.p)
                compare(value, member);
        }
        break;
    case CS_JS_ARRAY:
        FUZZ_CHECK(json_object_is_type(o, json_type_array));
        while (cs_js_next_element(v, &it, &value))
            compare(value, json_object_array_get_idx(o, n++));
        FUZZ_CHECK(n == json_object_array_length(o) && n == cs_js_count(v));
        break;
    case CS_JS_STRING:
        FUZZ_CHECK(json_object_is_type(o, json_type_string));
        FUZZ_CHECK(cs_js_str(v, &b) == 0);
        if (!cs_js_str_has_lone_surrogate(v) && !may_be_wrong(v, &b)) {
            FUZZ_CHECK((size_t)json_object_get_string_len(o) == b.len);
            FUZZ_CHECK(memcmp(json_object_get_string(o), b.data, b.len) == 0);
        }
        break;
    case CS_JS_NUMBER:
        if (!is_integer(v)) {
            FUZZ_CHECK(json_object_is_type(o, json_type_double));
            FUZZ_CHECK(cs_js_i64(v, &i) != 0);
        } else if (cs_js_i64(v, &i) == 0) { /* beyond 64 bits json-c answers with a limit */
            FUZZ_CHECK(json_object_is_type(o, json_type_int) && json_object_get_int64(o) == i);
        }
        break;
    case CS_JS_BOOL:
        FUZZ_CHECK(json_object_is_type(o, json_type_boolean));
        FUZZ_CHECK(cs_js_bool(v, &flag) == 0 && flag == (json_object_get_boolean(o) != 0));
        break;
    default: FUZZ_CHECK(o == NULL && cs_js_type(v) == CS_JS_NULL); break;
    }
    cs_buf_clear(&b);
}

/* The tree of cs_json_parse() is what the text says, without exception. */
static void compare_doc(struct cs_js v, cs_json_val o)
{
    struct cs_js_iter it = {0};
    struct cs_js name, value;
    struct cs_buf b;
    const char *s = NULL;
    size_t n = 0;

    cs_buf_init(&b, 0);
    switch (cs_js_type(v)) {
    case CS_JS_OBJECT:
        FUZZ_CHECK(cs_json_is_object(o));
        while (cs_js_next_member(v, &it, &name, &value)) {
            cs_buf_reset(&b);
            FUZZ_CHECK(cs_js_str(name, &b) == 0);
            compare_doc(value, cs_json_get(o, b.data));
        }
        break;
    case CS_JS_ARRAY:
        FUZZ_CHECK(cs_json_is_array(o));
        while (cs_js_next_element(v, &it, &value))
            compare_doc(value, cs_json_at(o, n++));
        FUZZ_CHECK(n == cs_json_len(o));
        break;
    case CS_JS_STRING:
        FUZZ_CHECK(cs_js_str(v, &b) == 0);
        if (memchr(b.data, '\0', b.len) != NULL)
            FUZZ_CHECK(cs_json_val_str(o, SIZE_MAX, &s) == -EINVAL);
        else
            FUZZ_CHECK(cs_json_val_str(o, SIZE_MAX, &s) == 0 && strcmp(s, b.data) == 0);
        break;
    case CS_JS_NULL: FUZZ_CHECK(o == NULL); break;
    default: FUZZ_CHECK(o != NULL); break;
    }
    cs_buf_clear(&b);
}

/* A name with a NUL in it makes json-c lose or mix up members: nothing to compare with. */
static bool has_escaped_nul(const char *p, size_t n)
{
    return memmem(p, n, "\\u0000", 6) != NULL;
}

/* What was read, written anew, is read as the same. */
static void write_again(struct cs_js v, struct cs_jw *jw)
{
    struct cs_js_iter it = {0};
    struct cs_js name, value;
    struct cs_buf b;
    int64_t i;
    bool flag = false;

    cs_buf_init(&b, 0);
    switch (cs_js_type(v)) {
    case CS_JS_OBJECT:
        cs_jw_object(jw);
        while (cs_js_next_member(v, &it, &name, &value)) {
            if (name_is_plain(name, &b))
                cs_jw_key_any(jw, b.data);
            else
                cs_jw_key(jw, "odd");
            write_again(value, jw);
        }
        cs_jw_object_end(jw);
        break;
    case CS_JS_ARRAY:
        cs_jw_array(jw);
        while (cs_js_next_element(v, &it, &value))
            write_again(value, jw);
        cs_jw_array_end(jw);
        break;
    case CS_JS_STRING:
        FUZZ_CHECK(cs_js_str(v, &b) == 0);
        cs_jw_strn(jw, b.data, b.len);
        break;
    case CS_JS_BOOL:
        FUZZ_CHECK(cs_js_bool(v, &flag) == 0);
        cs_jw_bool(jw, flag);
        break;
    case CS_JS_NUMBER:
        if (cs_js_i64(v, &i) == 0)
            cs_jw_i64(jw, i);
        else
            cs_jw_slice(jw, v);
        break;
    default: cs_jw_null(jw); break;
    }
    cs_buf_clear(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    struct cs_js v = {0}, again = {0}, ignored;
    struct cs_js_error err = {0, NULL};
    struct cs_json *doc = NULL;
    const char *reason = NULL;
    struct cs_buf b;

    if (size > INT_MAX / 2)
        return 0;
    int r = cs_js_check(p, size, CS_JW_DEPTH, &v, &err);
    int strict = cs_json_parse(p, size, &doc, &reason);
    if (r != 0) {
        FUZZ_CHECK(err.reason != NULL && err.offset <= size && v.p == NULL);
        FUZZ_CHECK(strict != 0 && reason != NULL);
        /* the walkers stay inside and end also on what was refused */
        struct cs_js all = {.p = p, .n = size};
        struct cs_js_iter it = {0};
        for (size_t i = 0; cs_js_next_element(all, &it, &ignored); i++)
            FUZZ_CHECK(i <= size && ignored.p >= p && ignored.p + ignored.n <= p + size);
        (void)cs_js_get(all, "value"); /* only that it ends, inside */
        return 0;
    }

    struct json_tokener *tok = json_tokener_new_ex(CS_JW_DEPTH + 2);
    FUZZ_CHECK(tok != NULL);
    /* from 0.18 on, strict takes every byte above 0x7f in a text for a control character */
    if (json_c_version_num() < 18 << 8)
        json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
    struct json_object *o = json_tokener_parse_ex(tok, v.p, (int)v.n);
    if (o == NULL && json_tokener_get_error(tok) == json_tokener_continue)
        o = json_tokener_parse_ex(tok, "", 1);
    FUZZ_CHECK(json_tokener_get_error(tok) == json_tokener_success);
    if (!has_escaped_nul(v.p, v.n))
        compare(v, o);
    json_tokener_free(tok);
    (void)json_object_put(o); /* the only reference */

    cs_buf_init(&b, 0);
    struct cs_jw jw;
    cs_jw_init(&jw, &b);
    write_again(v, &jw);
    FUZZ_CHECK(cs_buf_failed(&b) == 0);
    FUZZ_CHECK(cs_js_check(b.data, b.len, CS_JW_DEPTH, &again, NULL) == 0);
    FUZZ_CHECK(cs_js_type(again) == cs_js_type(v) && cs_js_count(again) == cs_js_count(v));

    if (strict == 0) {
        compare_doc(v, cs_json_root(doc));
        cs_buf_reset(&b);
        FUZZ_CHECK(cs_json_print(cs_json_root(doc), &b) == 0);
        FUZZ_CHECK(cs_js_check(b.data, b.len, CS_JW_DEPTH, &again, NULL) == 0);
        cs_json_free(doc);
    } else {
        FUZZ_CHECK(strict == -EBADMSG && reason != NULL);
    }
    cs_buf_clear(&b);
    return 0;
}
