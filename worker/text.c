#include "worker/text.h"

#include <string.h>

#include "common/clock.h"

static unsigned hex4(const char *p)
{
    unsigned v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];

        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

/* Raw length of the escape at p (n bytes left): 2, 6, or 12 for a pair. *unit gets the code unit, or
 * -1 for a short escape; *lone says that a surrogate stands alone. */
static size_t escape_size(const char *p, size_t n, int *unit, bool *lone)
{
    unsigned u;

    *unit = -1;
    *lone = false;
    if (n < 6 || p[1] != 'u')
        return 2;
    u = hex4(p + 2);
    *unit = (int)u;
    if (u < 0xd800 || u > 0xdfff)
        return 6;
    if (u < 0xdc00 && n >= 12 && p[6] == '\\' && p[7] == 'u') {
        unsigned low = hex4(p + 8);

        if (low >= 0xdc00 && low <= 0xdfff)
            return 12;
    }
    *lone = true;
    return 6;
}

struct cs_text_facts cs_text_scan(const char *raw, size_t n)
{
    struct cs_text_facts facts = {.is_clean = true, .decoded_bytes = n};
    const char *p = raw, *end = raw + n;

    while (p < end && (p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        int unit;
        bool lone;
        size_t size = escape_size(p, (size_t)(end - p), &unit, &lone);
        size_t bytes = 1;

        if (size == 12)
            bytes = 4;
        else if (unit == 0)
            bytes = 0;
        else if (unit >= 0x800)
            bytes = 3;
        else if (unit >= 0x80)
            bytes = 2;
        if (unit == 0 || lone)
            facts.is_clean = false;
        facts.decoded_bytes -= size - bytes;
        p += size;
    }
    return facts;
}

size_t cs_text_cut(const char *raw, size_t n, size_t max)
{
    size_t pos = 0, cut = max;

    if (n <= max)
        return n;
    while (pos < max) {
        const char *esc = memchr(raw + pos, '\\', max - pos);
        size_t at, size;
        int unit;
        bool lone;

        if (esc == NULL)
            break;
        at = (size_t)(esc - raw);
        size = escape_size(esc, n - at, &unit, &lone);
        if (at + size > max)
            return at;
        pos = at + size;
    }
    while (cut > pos && ((unsigned char)raw[cut] & 0xc0) == 0x80)
        cut--;
    return cut;
}

size_t cs_text_cut_html(const char *raw, size_t cut)
{
    size_t low = cut > 512 ? cut - 512 : 0;

    for (size_t i = cut; i > low; i--) {
        char c = raw[i - 1];

        if (c == '>')
            break;
        if (c == '<')
            return i - 1;
    }
    low = cut > 12 ? cut - 12 : 0; /* the longest references in use, as &thetasym; */
    for (size_t i = cut; i > low; i--) {
        char c = raw[i - 1];

        if (c == ';' || c == ' ' || c == '>')
            break;
        if (c == '&')
            return i - 1;
    }
    return cut;
}

/* The string with its quotes, mended; tmp holds the bytes if they had to be written anew. */
static bool mended(struct cs_js v, struct cs_buf *tmp, const char **raw, size_t *n)
{
    struct cs_buf text;
    struct cs_jw jw;
    size_t kept = 0;

    if (!cs_js_str_raw(v, raw, n))
        return false;
    if (cs_text_scan(*raw, *n).is_clean)
        return true;
    cs_buf_init(&text, 0);
    if (cs_js_str(v, &text) < 0) {
        tmp->failed = text.failed;
        cs_buf_clear(&text);
        *n = 0;
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '\0')
            text.data[kept++] = text.data[i];
    }
    cs_jw_init(&jw, tmp);
    cs_jw_strn(&jw, kept == 0 ? "" : text.data, kept);
    cs_buf_clear(&text);
    *raw = tmp->failed ? "" : tmp->data + 1;
    *n = tmp->failed ? 0 : tmp->len - 2;
    return true;
}

static void write_raw(struct cs_jw *jw, const char *raw, size_t n)
{
    if (n == 0) {
        cs_jw_strn(jw, "", 0);
        return;
    }
    /* the writer sets the comma; the quotes are set here, since a cut has none behind it */
    cs_jw_raw(jw, "\"", 1);
    cs_buf_add(jw->buf, raw, n);
    cs_buf_addc(jw->buf, '"');
}

void cs_text_write(struct cs_jw *jw, struct cs_js v, size_t max, bool *cut)
{
    struct cs_buf tmp;
    const char *raw;
    size_t n, kept;

    cs_buf_init(&tmp, 0);
    if (!mended(v, &tmp, &raw, &n)) {
        cs_jw_null(jw);
        return;
    }
    kept = cs_text_cut(raw, n, max);
    if (kept < n && cut != NULL)
        *cut = true;
    write_raw(jw, raw, kept);
    if (tmp.failed && !jw->buf->failed)
        jw->buf->failed = tmp.failed;
    cs_buf_clear(&tmp);
}

void cs_text_kwrite(struct cs_jw *jw, const char *key, struct cs_js v, size_t max, bool *cut)
{
    cs_jw_key(jw, key);
    cs_text_write(jw, v, max, cut);
}

void cs_text_kwrite_opt(struct cs_jw *jw, const char *key, struct cs_js v, size_t max, bool *cut)
{
    if (cs_js_type(v) == CS_JS_STRING && v.n > 2)
        cs_text_kwrite(jw, key, v, max, cut);
}

void cs_text_kbool(struct cs_jw *jw, const char *key, struct cs_js v)
{
    bool b;

    if (cs_js_bool(v, &b) == 0)
        cs_jw_kbool(jw, key, b);
    else
        cs_jw_knull(jw, key);
}

bool cs_text_write_body(struct cs_jw *jw, struct cs_js item_body, size_t max)
{
    struct cs_js_index index;
    struct cs_js indexed = cs_js_indexed(item_body, &index); /* one walk over the body, not two */
    struct cs_js content = cs_js_get(indexed, "content");
    struct cs_js type = cs_js_get(indexed, "contentType");
    struct cs_buf tmp;
    const char *raw, *mine;
    size_t n, mine_n, kept, decoded;
    bool cut, html;

    cs_buf_init(&tmp, 0);
    if (!cs_js_str_raw(content, &raw, &n)) {
        cs_jw_null(jw);
        return false;
    }
    decoded = cs_text_scan(raw, n).decoded_bytes;
    (void)mended(content, &tmp, &mine, &mine_n); /* it is a string: seen above */
    html = !cs_js_str_is_nocase(type, "text");
    kept = cs_text_cut(mine, mine_n, max);
    cut = kept < mine_n;
    if (cut && html)
        kept = cs_text_cut_html(mine, kept);

    cs_jw_object(jw);
    cs_jw_kstr(jw, "type", html ? "html" : "text");
    cs_jw_key(jw, "content");
    write_raw(jw, mine, kept);
    cs_jw_kbool(jw, "truncated", cut);
    cs_jw_ki64(jw, "original_bytes", (int64_t)decoded);
    cs_jw_object_end(jw);
    if (tmp.failed && !jw->buf->failed)
        jw->buf->failed = tmp.failed;
    cs_buf_clear(&tmp);
    return cut;
}

int64_t cs_text_time(struct cs_js v)
{
    char text[64]; /* a time with all its digits and an offset has 38 */
    int n = cs_js_str_into(v, text, sizeof(text));
    int64_t utc_ms;

    if (n <= 0 || cs_time_parse(text, (size_t)n, &utc_ms) < 0 || cs_time_is_never(utc_ms))
        return CS_NEVER;
    return utc_ms;
}
