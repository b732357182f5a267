/* jw.c - JSON out, with the spellings that real services use now and then. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#include "tz.h"

void sim_jw_init(struct sim_jw *w, struct cs_buf *b, unsigned quirk)
{
    w->b = b;
    w->comma = false;
    w->quirk = quirk;
}

static void separate(struct sim_jw *w)
{
    if (w->comma)
        cs_buf_addc(w->b, ',');
    w->comma = true;
}

void sim_jw_open(struct sim_jw *w, char bracket)
{
    separate(w);
    cs_buf_addc(w->b, bracket);
    w->comma = false;
}

void sim_jw_close(struct sim_jw *w, char bracket)
{
    cs_buf_addc(w->b, bracket);
    w->comma = true;
}

void sim_jw_key(struct sim_jw *w, const char *key)
{
    separate(w);
    cs_buf_addc(w->b, '"');
    cs_buf_adds(w->b, key);
    cs_buf_add(w->b, "\":", 2);
    w->comma = false;
}

/* The code point of a valid UTF-8 sequence; *n: its bytes. */
static uint32_t code_point(const unsigned char *p, size_t left, size_t *n)
{
    *n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (*n > left) {
        *n = left;
        return 0xfffd;
    }
    if (*n == 2)
        return (uint32_t)(p[0] & 31) << 6 | (p[1] & 63);
    if (*n == 3)
        return (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6 | (p[2] & 63);
    return (uint32_t)(p[0] & 7) << 18 | (uint32_t)(p[1] & 63) << 12 | (uint32_t)(p[2] & 63) << 6 |
           (p[3] & 63);
}

static void add_unicode(struct cs_buf *b, uint32_t c)
{
    if (c >= 0x10000) {
        c -= 0x10000;
        cs_buf_addf(b, "\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
    } else {
        cs_buf_addf(b, "\\u%04x", c);
    }
}

static void escape(struct cs_buf *b, unsigned char c)
{
    switch (c) {
    case '"': cs_buf_add(b, "\\\"", 2); break;
    case '\\': cs_buf_add(b, "\\\\", 2); break;
    case '\n': cs_buf_add(b, "\\n", 2); break;
    case '\r': cs_buf_add(b, "\\r", 2); break;
    case '\t': cs_buf_add(b, "\\t", 2); break;
    default: cs_buf_addf(b, "\\u%04x", c);
    }
}

void sim_jw_strn(struct sim_jw *w, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t run = 0;
    /* bit 0: "\/", bit 1: non-ASCII as \u; which strings get them depends on their content only */
    unsigned odd = w->quirk == 0 || n == 0 ? 0 : (unsigned)(sim_hash(n, p[n - 1]) >> 8) % 16;
    bool slash = odd == 1 || odd == 3, wide = odd == 2 || odd == 3;

    separate(w);
    cs_buf_addc(w->b, '"');
    for (size_t i = 0; i < n;) {
        unsigned char c = p[i];

        if (c >= 0x20 && c != '"' && c != '\\' && !(slash && c == '/') && !(wide && c >= 0x80)) {
            i++;
            continue;
        }
        cs_buf_add(w->b, s + run, i - run);
        if (c >= 0x80) {
            size_t len;
            uint32_t point = code_point(p + i, n - i, &len);

            add_unicode(w->b, point);
            i += len;
        } else if (c == '/') {
            cs_buf_add(w->b, "\\/", 2);
            i++;
        } else {
            escape(w->b, c);
            i++;
        }
        run = i;
    }
    cs_buf_add(w->b, s + run, n - run);
    cs_buf_addc(w->b, '"');
}

void sim_jw_str(struct sim_jw *w, const char *s)
{
    if (s == NULL)
        sim_jw_null(w);
    else
        sim_jw_strn(w, s, strlen(s));
}

void sim_jw_raw(struct sim_jw *w, const char *json)
{
    separate(w);
    cs_buf_adds(w->b, json);
}

void sim_jw_int(struct sim_jw *w, int64_t v)
{
    separate(w);
    cs_buf_addf(w->b, "%lld", (long long)v);
}

void sim_jw_bool(struct sim_jw *w, bool v)
{
    sim_jw_raw(w, v ? "true" : "false");
}

void sim_jw_null(struct sim_jw *w)
{
    sim_jw_raw(w, "null");
}

void sim_jw_kstr(struct sim_jw *w, const char *key, const char *s)
{
    sim_jw_key(w, key);
    sim_jw_str(w, s);
}

void sim_jw_kint(struct sim_jw *w, const char *key, int64_t v)
{
    sim_jw_key(w, key);
    sim_jw_int(w, v);
}

void sim_jw_kbool(struct sim_jw *w, const char *key, bool v)
{
    sim_jw_key(w, key);
    sim_jw_bool(w, v);
}

void sim_jw_knull(struct sim_jw *w, const char *key)
{
    sim_jw_key(w, key);
    sim_jw_null(w);
}

void sim_jw_time(struct sim_jw *w, int64_t utc_ms)
{
    char text[40], fraction[12] = "";
    int64_t s = utc_ms >= 0 ? utc_ms / 1000 : (utc_ms - 999) / 1000;
    int ms = (int)(utc_ms - s * 1000);

    if (ms != 0) {
        int digits = w->quirk != 0 && s % 2 == 0 ? 7 : 3;

        snprintf(fraction, sizeof(fraction), ".%03d%.*s", ms, digits - 3, "0000");
        /* shorter where nothing is lost */
        if (w->quirk != 0 && s % 5 == 0)
            for (size_t i = strlen(fraction); i > 1 && fraction[i - 1] == '0'; i--)
                fraction[i - 1] = '\0';
    } else if (w->quirk != 0 && s % 7 == 0) {
        snprintf(fraction, sizeof(fraction), ".%.*s", 1 + (int)(s % 3) * 3, "0000000");
    }
    sim_time_format(text, s, fraction, "Z");
    sim_jw_str(w, text);
}

void sim_jw_ktime(struct sim_jw *w, const char *key, int64_t utc_ms)
{
    sim_jw_key(w, key);
    sim_jw_time(w, utc_ms);
}
