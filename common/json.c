#include "common/json.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "common/clock.h"
#include "common/json_slice.h"
#include "common/json_write.h"

struct cs_json {
    struct json_object *root;
};

/* json-c takes no const; the getters change nothing. */
static struct json_object *object_of(cs_json_val v)
{
    return (struct json_object *)(uintptr_t)v;
}

/* The text that a number with a fraction or exponent was made of, see build(). */
static const char *double_text(struct json_object *o)
{
    return json_object_get_userdata(o);
}

/* The decoded text, with a NUL behind it, in scratch. */
static int decode(struct cs_js text, struct cs_buf *scratch, const char **reason)
{
    cs_buf_reset(scratch);
    int r = cs_js_str(text, scratch);
    if (r < 0)
        return r;
    if (cs_js_str_has_lone_surrogate(text)) {
        *reason = "a lone surrogate";
        return -EBADMSG;
    }
    return 0;
}

/* The tree is made here, out of slices, and not by json-c's own reader: 0.16 crashes or loses parts without
 * a word when memory runs out, makes U+FFFD of escaped pairs such as \ud837\ude00, and cuts a name at its
 * first NUL. The depth is bounded by cs_js_check(), so this may recurse. */
static int build(struct cs_js text, struct cs_buf *scratch, struct json_object **ret,
                 const char **reason);

static int build_members(struct cs_js text, struct json_object *o, struct cs_buf *scratch,
                         const char **reason)
{
    struct cs_js_iter it = {0};
    struct cs_js name, value;

    while (cs_js_next_member(text, &it, &name, &value)) {
        struct json_object *member = NULL;
        int r = build(value, scratch, &member, reason);
        if (r == 0)
            r = decode(name, scratch, reason);
        if (r == 0 && memchr(scratch->data, '\0', scratch->len) != NULL) {
            *reason = "a NUL in a name";
            r = -EBADMSG;
        }
        if (r == 0 && json_object_object_get_ex(o, scratch->data, NULL)) {
            *reason = "a name comes twice";
            r = -EBADMSG;
        }
        if (r == 0 &&
            json_object_object_add_ex(o, scratch->data, member, JSON_C_OBJECT_ADD_KEY_IS_NEW) != 0)
            r = -ENOMEM;
        if (r < 0) {
            (void)json_object_put(member); /* not taken: ours, and its only reference */
            return r;
        }
    }
    return 0;
}

static int build_elements(struct cs_js text, struct json_object *o, struct cs_buf *scratch,
                          const char **reason)
{
    struct cs_js_iter it = {0};
    struct cs_js value;

    while (cs_js_next_element(text, &it, &value)) {
        struct json_object *element = NULL;
        int r = build(value, scratch, &element, reason);
        if (r == 0 && json_object_array_add(o, element) != 0)
            r = -ENOMEM;
        if (r < 0) {
            (void)json_object_put(element); /* not taken */
            return r;
        }
    }
    return 0;
}

static bool is_integer(struct cs_js v)
{
    return memchr(v.p, '.', v.n) == NULL && memchr(v.p, 'e', v.n) == NULL &&
           memchr(v.p, 'E', v.n) == NULL;
}

static int build(struct cs_js text, struct cs_buf *scratch, struct json_object **ret,
                 const char **reason)
{
    struct json_object *o = NULL;
    bool flag = false;
    int64_t i = 0;
    int r = 0;

    switch (cs_js_type(text)) {
    case CS_JS_OBJECT:
        o = json_object_new_object();
        if (o != NULL)
            r = build_members(text, o, scratch, reason);
        break;
    case CS_JS_ARRAY:
        o = json_object_new_array();
        if (o != NULL)
            r = build_elements(text, o, scratch, reason);
        break;
    case CS_JS_STRING:
        r = decode(text, scratch, reason);
        if (r == 0)
            o = json_object_new_string_len(scratch->data, (int)scratch->len);
        break;
    case CS_JS_NUMBER:
        if (!is_integer(text)) {
            cs_buf_reset(scratch);
            cs_buf_add(scratch, text.p, text.n);
            r = cs_buf_failed(scratch);
            if (r == 0) /* with its text, so that it is printed as it came */
                o = json_object_new_double_s(strtod(scratch->data, NULL), scratch->data);
        } else if (cs_js_i64(text, &i) < 0) {
            *reason = "an integer beyond 64 bits";
            r = -EBADMSG;
        } else {
            o = json_object_new_int64(i);
        }
        break;
    case CS_JS_BOOL:
        (void)cs_js_bool(text, &flag); /* it is one */
        o = json_object_new_boolean(flag);
        break;
    default: /* null is NULL */ return 0;
    }
    if (r == 0 && o == NULL)
        r = -ENOMEM;
    if (r < 0) {
        (void)json_object_put(o); /* half-built, and its only reference */
        return r;
    }
    *ret = o;
    return 0;
}

int cs_json_parse(const char *p, size_t n, struct cs_json **ret, const char **reason)
{
    struct cs_js text;
    struct cs_js_error err;
    struct cs_buf scratch;
    struct cs_json *doc;
    int r;

    if (cs_js_check(p, n, CS_JW_DEPTH, &text, &err) < 0) {
        *reason = err.reason;
        return -EBADMSG;
    }
    if (text.n >= INT_MAX) { /* json-c counts with int */
        *reason = "too long";
        return -EBADMSG;
    }
    doc = calloc(1, sizeof(*doc));
    if (doc == NULL)
        return -ENOMEM;
    cs_buf_init(&scratch, 0);
    r = build(text, &scratch, &doc->root, reason);
    cs_buf_clear(&scratch);
    if (r < 0) {
        cs_json_free(doc);
        return r;
    }
    *ret = doc;
    return 0;
}

void cs_json_free(struct cs_json *doc)
{
    if (doc == NULL)
        return;
    (void)json_object_put(doc->root); /* says whether it was the last reference: it was */
    free(doc);
}

cs_json_val cs_json_root(const struct cs_json *doc)
{
    return doc->root;
}

bool cs_json_is_object(cs_json_val v)
{
    return json_object_is_type(object_of(v), json_type_object) != 0;
}

bool cs_json_is_array(cs_json_val v)
{
    return json_object_is_type(object_of(v), json_type_array) != 0;
}

cs_json_val cs_json_get(cs_json_val obj, const char *name)
{
    struct json_object *value = NULL;

    if (!cs_json_is_object(obj) || !json_object_object_get_ex(object_of(obj), name, &value))
        return NULL;
    return value;
}

size_t cs_json_len(cs_json_val arr)
{
    return cs_json_is_array(arr) ? json_object_array_length(object_of(arr)) : 0;
}

cs_json_val cs_json_at(cs_json_val arr, size_t i)
{
    return i < cs_json_len(arr) ? json_object_array_get_idx(object_of(arr), i) : NULL;
}

int cs_json_val_str(cs_json_val v, size_t max, const char **ret)
{
    if (v == NULL)
        return -ENOENT;
    struct json_object *o = object_of(v);
    if (!json_object_is_type(o, json_type_string))
        return -EINVAL;
    const char *s = json_object_get_string(o);
    size_t n = (size_t)json_object_get_string_len(o);
    if (n > max || strlen(s) != n)
        return -EINVAL;
    *ret = s;
    return 0;
}

int cs_json_str(cs_json_val obj, const char *name, size_t max, const char **ret)
{
    return cs_json_val_str(cs_json_get(obj, name), max, ret);
}

int cs_json_i64(cs_json_val obj, const char *name, int64_t min, int64_t max, int64_t *ret)
{
    cs_json_val v = cs_json_get(obj, name);

    if (v == NULL)
        return -ENOENT;
    if (!json_object_is_type(object_of(v), json_type_int))
        return -EINVAL;
    int64_t i = json_object_get_int64(object_of(v));
    if (i < min || i > max)
        return -EINVAL;
    *ret = i;
    return 0;
}

int cs_json_bool(cs_json_val obj, const char *name, bool *ret)
{
    cs_json_val v = cs_json_get(obj, name);

    if (v == NULL)
        return -ENOENT;
    if (!json_object_is_type(object_of(v), json_type_boolean))
        return -EINVAL;
    *ret = json_object_get_boolean(object_of(v)) != 0;
    return 0;
}

int cs_json_time(cs_json_val obj, const char *name, int64_t *ret_utc_ms)
{
    const char *s;
    int r = cs_json_str(obj, name, CS_TIME_TEXT * 2, &s);

    return r < 0 ? r : cs_time_parse(s, strlen(s), ret_utc_ms);
}

bool cs_json_next(cs_json_val obj, size_t *i, const char **name, cs_json_val *value)
{
    if (!cs_json_is_object(obj))
        return false;
    /* *i is the entry that was given last: entries do not move while nothing is added */
    const struct lh_entry *last = (const struct lh_entry *)(uintptr_t)*i;
    const struct lh_entry *e =
        last == NULL ? lh_table_head(json_object_get_object(object_of(obj))) : lh_entry_next(last);
    if (e == NULL)
        return false;
    *i = (size_t)(uintptr_t)e;
    *name = lh_entry_k(e);
    *value = lh_entry_v(e);
    return true;
}

static void print(struct json_object *o, struct cs_jw *jw)
{
    size_t i = 0;
    const char *name;
    cs_json_val value;

    switch (json_object_get_type(o)) {
    case json_type_object:
        cs_jw_object(jw);
        while (cs_json_next(o, &i, &name, &value)) {
            cs_jw_key_any(jw, name);
            print(object_of(value), jw);
        }
        cs_jw_object_end(jw);
        break;
    case json_type_array:
        cs_jw_array(jw);
        for (; i < json_object_array_length(o); i++)
            print(json_object_array_get_idx(o, i), jw);
        cs_jw_array_end(jw);
        break;
    case json_type_string:
        cs_jw_strn(jw, json_object_get_string(o), (size_t)json_object_get_string_len(o));
        break;
    case json_type_int: cs_jw_i64(jw, json_object_get_int64(o)); break;
    case json_type_double: cs_jw_raw(jw, double_text(o), strlen(double_text(o))); break;
    case json_type_boolean: cs_jw_bool(jw, json_object_get_boolean(o) != 0); break;
    default: cs_jw_null(jw); break;
    }
}

int cs_json_print(cs_json_val v, struct cs_buf *out)
{
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    print(object_of(v), &jw);
    return cs_buf_failed(out);
}
