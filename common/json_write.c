#include "common/json_write.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json_scan.h"
#include "common/utf8.h"

void cs_jw_init(struct cs_jw *jw, struct cs_buf *buf)
{
    *jw = (struct cs_jw){.buf = buf, .first = 1};
}

static bool in_object(const struct cs_jw *jw)
{
    return jw->depth > 0 && (jw->is_object >> (jw->depth - 1) & 1u) != 0;
}

/* Before any value: the comma that an array needs; in an object the key has set it. */
static void before_value(struct cs_jw *jw)
{
    if (in_object(jw)) {
        assert(jw->have_key);
        jw->have_key = false;
        return;
    }
    uint32_t bit = jw->depth > 0 ? UINT32_C(1) << (jw->depth - 1) : 0;
    if (bit == 0)
        return;
    if ((jw->first & bit) == 0)
        cs_buf_addc(jw->buf, ',');
    jw->first &= ~bit;
}

static void open_container(struct cs_jw *jw, bool object)
{
    before_value(jw);
    assert(jw->depth < CS_JW_DEPTH);
    uint32_t bit = UINT32_C(1) << jw->depth;
    jw->first |= bit;
    jw->is_object = object ? jw->is_object | bit : jw->is_object & ~bit;
    jw->depth++;
    cs_buf_addc(jw->buf, object ? '{' : '[');
}

static void close_container(struct cs_jw *jw, bool object)
{
    assert(jw->depth > 0 && in_object(jw) == object && !jw->have_key);
    jw->depth--;
    cs_buf_addc(jw->buf, object ? '}' : ']');
}

void cs_jw_object(struct cs_jw *jw)
{
    open_container(jw, true);
}

void cs_jw_object_end(struct cs_jw *jw)
{
    close_container(jw, true);
}

void cs_jw_array(struct cs_jw *jw)
{
    open_container(jw, false);
}

void cs_jw_array_end(struct cs_jw *jw)
{
    close_container(jw, false);
}

void cs_jw_key(struct cs_jw *jw, const char *key)
{
    assert(in_object(jw) && !jw->have_key);
    uint32_t bit = UINT32_C(1) << (jw->depth - 1);
    size_t n = strlen(key);

    if (cs_buf_reserve(jw->buf, n + 4) == 0) { /* a failure is the buffer's and stays there */
        if ((jw->first & bit) == 0)
            cs_buf_addc(jw->buf, ',');
        cs_buf_addc(jw->buf, '"');
        cs_buf_add(jw->buf, key, n);
        cs_buf_add(jw->buf, "\":", 2);
    }
    jw->first &= ~bit;
    jw->have_key = true;
}

static void add_escape(struct cs_buf *b, char c)
{
    static const char hex[] = "0123456789abcdef";
    char e[6] = {'\\', 'u', '0', '0', 0, 0};
    size_t n = 2;

    switch (c) {
    case '\b': e[1] = 'b'; break;
    case '\t': e[1] = 't'; break;
    case '\n': e[1] = 'n'; break;
    case '\f': e[1] = 'f'; break;
    case '\r': e[1] = 'r'; break;
    case '"':
    case '\\': e[1] = c; break;
    default:
        e[4] = hex[(unsigned char)c >> 4];
        e[5] = hex[c & 0xF];
        n = 6;
        break;
    }
    cs_buf_add(b, e, n);
}

static void add_string(struct cs_buf *b, const char *s, size_t n)
{
    const char *end = s + n, *run = s;

    cs_buf_addc(b, '"');
    for (;;) {
        s = cs_scan_plain(s, end);
        if (s == end)
            break;
        bool high = (unsigned char)*s >= 0x80;
        size_t k = high ? cs_utf8_len(s, (size_t)(end - s)) : 0;
        if (k > 0) {
            s += k;
            continue;
        }
        cs_buf_add(b, run, (size_t)(s - run));
        if (high)
            cs_buf_add(b, "\xEF\xBF\xBD", 3); /* U+FFFD, one for each byte that fits nowhere */
        else
            add_escape(b, *s);
        run = ++s;
    }
    cs_buf_add(b, run, (size_t)(s - run));
    cs_buf_addc(b, '"');
}

void cs_jw_key_any(struct cs_jw *jw, const char *key)
{
    assert(in_object(jw) && !jw->have_key);
    uint32_t bit = UINT32_C(1) << (jw->depth - 1);

    if ((jw->first & bit) == 0)
        cs_buf_addc(jw->buf, ',');
    add_string(jw->buf, key, strlen(key));
    cs_buf_addc(jw->buf, ':');
    jw->first &= ~bit;
    jw->have_key = true;
}

void cs_jw_strn(struct cs_jw *jw, const char *s, size_t n)
{
    if (s == NULL) {
        cs_jw_null(jw);
        return;
    }
    before_value(jw);
    add_string(jw->buf, s, n);
}

void cs_jw_str(struct cs_jw *jw, const char *s)
{
    cs_jw_strn(jw, s, s != NULL ? strlen(s) : 0);
}

void cs_jw_i64(struct cs_jw *jw, int64_t v)
{
    before_value(jw);
    cs_buf_addf(jw->buf, "%" PRId64, v);
}

void cs_jw_bool(struct cs_jw *jw, bool v)
{
    before_value(jw);
    cs_buf_adds(jw->buf, v ? "true" : "false");
}

void cs_jw_null(struct cs_jw *jw)
{
    before_value(jw);
    cs_buf_add(jw->buf, "null", 4);
}

void cs_jw_raw(struct cs_jw *jw, const char *json, size_t n)
{
    assert(json != NULL && n > 0);
    before_value(jw);
    cs_buf_add(jw->buf, json, n);
}

void cs_jw_slice(struct cs_jw *jw, struct cs_js v)
{
    if (cs_js_type(v) == CS_JS_NONE)
        cs_jw_null(jw);
    else
        cs_jw_raw(jw, v.p, v.n);
}

void cs_jw_kstr(struct cs_jw *jw, const char *key, const char *s)
{
    cs_jw_key(jw, key);
    cs_jw_str(jw, s);
}

void cs_jw_kstr_opt(struct cs_jw *jw, const char *key, const char *s)
{
    if (s != NULL)
        cs_jw_kstr(jw, key, s);
}

void cs_jw_khash_opt(struct cs_jw *jw, const char *key, uint64_t hash)
{
    char hex[17];

    if (hash == 0)
        return;
    snprintf(hex, sizeof(hex), "%016" PRIx64, hash);
    cs_jw_kstr(jw, key, hex);
}

void cs_jw_ki64(struct cs_jw *jw, const char *key, int64_t v)
{
    cs_jw_key(jw, key);
    cs_jw_i64(jw, v);
}

void cs_jw_kbool(struct cs_jw *jw, const char *key, bool v)
{
    cs_jw_key(jw, key);
    cs_jw_bool(jw, v);
}

void cs_jw_knull(struct cs_jw *jw, const char *key)
{
    cs_jw_key(jw, key);
    cs_jw_null(jw);
}

void cs_jw_ktime(struct cs_jw *jw, const char *key, int64_t utc_ms)
{
    char text[CS_TIME_TEXT];

    cs_jw_key(jw, key);
    if (utc_ms == CS_NEVER) {
        cs_jw_null(jw);
        return;
    }
    cs_time_format(utc_ms, text);
    cs_jw_str(jw, text);
}
