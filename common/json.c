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

/* The text that a number with a fraction or exponent was made of; json-c keeps it. */
static const char *double_text(struct json_object *o)
{
    return json_object_get_userdata(o);
}

/* json-c 0.16 turns some escaped pairs into U+FFFD: it looks at the low bits of what it has put together as
 * if that were a surrogate still (\ud837\ude00). Raw UTF-8 it gets right. */
static bool has_escaped_pair(struct cs_js text, const struct cs_buf *decoded)
{
    if (memchr(text.p, '\\', text.n) == NULL)
        return false;
    for (size_t i = 0; i < decoded->len; i++)
        if ((unsigned char)decoded->data[i] >= 0xF0)
            return true;
    return false;
}

/* Decoded into scratch; a NUL is fine in a value, not in a name. */
static int decode(struct cs_js text, bool is_name, struct cs_buf *scratch, const char **reason)
{
    cs_buf_reset(scratch);
    int r = cs_js_str(text, scratch);
    if (r < 0)
        return r;
    if (cs_js_str_has_lone_surrogate(text)) {
        *reason = "a lone surrogate";
        return -EBADMSG;
    }
    if (is_name && memchr(scratch->data, '\0', scratch->len) != NULL) {
        *reason = "a NUL in a name";
        return -EBADMSG;
    }
    if (is_name && has_escaped_pair(text, scratch)) {
        *reason = "a name with an escaped surrogate pair";
        return -EBADMSG;
    }
    return 0;
}

/* A string that json-c got wrong is set right, see has_escaped_pair(). */
static int compare_string(struct cs_js text, struct json_object *o, const struct cs_buf *decoded)
{
    if (!json_object_is_type(o, json_type_string) || decoded->len > INT_MAX)
        return -ENOMEM;
    for (int times = 0; times < 2; times++) {
        if ((size_t)json_object_get_string_len(o) == decoded->len &&
            memcmp(json_object_get_string(o), decoded->data, decoded->len) == 0)
            return 0;
        if (!has_escaped_pair(text, decoded) ||
            json_object_set_string_len(o, decoded->data, (int)decoded->len) == 0)
            return -ENOMEM;
    }
    return -ENOMEM;
}

/* Is the tree what the text says? -EBADMSG: the text has something that we refuse and json-c takes.
 * -ENOMEM: the tree lacks something, which happens only when json-c ran out of memory. The depth is
 * bounded by cs_js_check(), so it may recurse. */
static int compare(struct cs_js text, struct json_object *o, struct cs_buf *scratch,
                   const char **reason)
{
    struct cs_js_iter it = {0};
    struct cs_js name, value;
    int64_t i;
    size_t n = 0;
    int r;

    switch (cs_js_type(text)) {
    case CS_JS_OBJECT:
        /* names first: with one twice, the tree has only its last value */
        while (cs_js_next_member(text, &it, &name, &value)) {
            r = decode(name, true, scratch, reason);
            if (r < 0)
                return r;
            n++;
        }
        if (!json_object_is_type(o, json_type_object))
            return -ENOMEM;
        it = (struct cs_js_iter){0};
        if ((size_t)json_object_object_length(o) != n) {
            /* fewer: is it a name that comes twice, or one that was lost? */
            while (cs_js_next_member(text, &it, &name, &value)) {
                r = decode(name, true, scratch, reason);
                if (r < 0)
                    return r;
                if (!json_object_object_get_ex(o, scratch->data, NULL))
                    return -ENOMEM;
            }
            *reason = "a name comes twice";
            return -EBADMSG;
        }
        while (cs_js_next_member(text, &it, &name, &value)) {
            struct json_object *member = NULL;
            r = decode(name, true, scratch, reason);
            if (r < 0)
                return r;
            if (!json_object_object_get_ex(o, scratch->data, &member))
                return -ENOMEM;
            r = compare(value, member, scratch, reason);
            if (r < 0)
                return r;
        }
        return 0;
    case CS_JS_ARRAY:
        if (!json_object_is_type(o, json_type_array))
            return -ENOMEM;
        for (; cs_js_next_element(text, &it, &value); n++) {
            if (n >= json_object_array_length(o))
                return -ENOMEM;
            r = compare(value, json_object_array_get_idx(o, n), scratch, reason);
            if (r < 0)
                return r;
        }
        return 0;
    case CS_JS_STRING:
        r = decode(text, false, scratch, reason);
        if (r < 0)
            return r;
        return compare_string(text, o, scratch);
    case CS_JS_NUMBER:
        if (memchr(text.p, '.', text.n) != NULL || memchr(text.p, 'e', text.n) != NULL ||
            memchr(text.p, 'E', text.n) != NULL) {
            const char *s = json_object_is_type(o, json_type_double) ? double_text(o) : NULL;
            return s != NULL && strlen(s) == text.n && memcmp(s, text.p, text.n) == 0 ? 0 : -ENOMEM;
        }
        if (cs_js_i64(text, &i) < 0) {
            *reason = "an integer beyond 64 bits";
            return -EBADMSG;
        }
        return json_object_is_type(o, json_type_int) && json_object_get_int64(o) == i ? 0 : -ENOMEM;
    case CS_JS_BOOL:
        return json_object_is_type(o, json_type_boolean) ? 0 : -ENOMEM;
    default:
        return o == NULL ? 0 : -ENOMEM;
    }
}

int cs_json_parse(const char *p, size_t n, struct cs_json **ret, const char **reason)
{
    struct cs_js text;
    struct cs_js_error err;
    struct cs_json *doc = NULL;
    struct json_tokener *tok = NULL;
    struct cs_buf scratch;
    int r;

    cs_buf_init(&scratch, 0);
    if (cs_js_check(p, n, CS_JW_DEPTH, &text, &err) < 0) {
        *reason = err.reason;
        return -EBADMSG;
    }
    if (text.n >= INT_MAX) { /* json-c counts with int */
        *reason = "too long";
        return -EBADMSG;
    }
    doc = calloc(1, sizeof(*doc));
    tok = json_tokener_new_ex(CS_JW_DEPTH + 2);
    if (doc == NULL || tok == NULL) {
        r = -ENOMEM;
        goto out;
    }
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
    doc->root = json_tokener_parse_ex(tok, text.p, (int)text.n);
    if (doc->root == NULL && json_tokener_get_error(tok) == json_tokener_continue)
        doc->root = json_tokener_parse_ex(tok, "", 1); /* a number at the end: the NUL ends it */
    r = compare(text, doc->root, &scratch, reason);
    if (r < 0)
        goto out;
    *ret = doc;
    doc = NULL;
out:
    cs_buf_clear(&scratch);
    if (tok != NULL)
        json_tokener_free(tok);
    cs_json_free(doc);
    return r;
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
    const struct lh_entry *e = last == NULL ? lh_table_head(json_object_get_object(object_of(obj)))
                                            : lh_entry_next(last);
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
    case json_type_int:
        cs_jw_i64(jw, json_object_get_int64(o));
        break;
    case json_type_double:
        cs_jw_raw(jw, double_text(o), strlen(double_text(o))); /* there: compare() has seen it */
        break;
    case json_type_boolean:
        cs_jw_bool(jw, json_object_get_boolean(o) != 0);
        break;
    default:
        cs_jw_null(jw);
        break;
    }
}

int cs_json_print(cs_json_val v, struct cs_buf *out)
{
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    print(object_of(v), &jw);
    return cs_buf_failed(out);
}
