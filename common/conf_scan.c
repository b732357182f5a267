#include "common/conf_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

struct scan {
    const char *p, *end;
    unsigned line;
    struct {
        const char *p;
        size_t n;
    } names[CS_CONF_DEPTH + 1]; /* names[d]: the last name seen at depth d */
    unsigned depth;
};

static bool is_name(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*' ||
           (!first && ((c >= '0' && c <= '9') || c == '-' || c == '_'));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The names around this place, joined with dots. */
static int fail(const struct scan *s, struct cs_conf_scan_error *err, const char *reason)
{
    size_t len = 0;

    err->line = s->line;
    err->reason = reason;
    err->key[0] = '\0';
    for (unsigned d = 0; d <= s->depth && d <= CS_CONF_DEPTH; d++) {
        if (s->names[d].n == 0)
            continue;
        size_t room = sizeof(err->key) - len;
        int n = snprintf(err->key + len, room, "%s%.*s", len > 0 ? "." : "", (int)s->names[d].n,
                         s->names[d].p);
        if (n < 0 || (size_t)n >= room)
            break;
        len += (size_t)n;
    }
    return -EINVAL;
}

static void skip_line(struct scan *s)
{
    while (s->p < s->end && *s->p != '\n')
        s->p++;
}

/* Is this run of characters an integer, and does it fit? Anything else is left to libconfig. */
static const char *check_number(const char *p, size_t n)
{
    const char *end = p + n;
    bool negative = *p == '-', hex;
    uint64_t v = 0, limit;
    unsigned base = 10;
    bool over = false;

    if (*p == '-' || *p == '+')
        p++;
    hex = end - p > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
    if (hex) {
        p += 2;
        base = 16;
    }
    if (p == end || !(hex ? is_hex(*p) : is_digit(*p)))
        return NULL;
    for (; p < end && (hex ? is_hex(*p) : is_digit(*p)); p++) {
        unsigned d = is_digit(*p) ? (unsigned)(*p - '0') : (unsigned)((*p | 0x20) - 'a' + 10);
        over = over || v > (UINT64_MAX - d) / base;
        v = v * base + d;
    }
    size_t suffix = (size_t)(end - p);
    if (suffix > 2 || (suffix > 0 && p[0] != 'L') || (suffix > 1 && p[1] != 'L'))
        return NULL; /* a fraction, an exponent, or no number at all */
    limit = suffix > 0 ? (uint64_t)INT64_MAX : (uint64_t)INT32_MAX;
    if (negative)
        limit++;
    if (!over && v <= limit)
        return NULL;
    return suffix > 0 ? "integer does not fit 64 bits"
                      : "integer does not fit 32 bits; write it with an L behind it";
}

static int scan_string(struct scan *s, struct cs_conf_scan_error *err)
{
    for (s->p++; s->p < s->end; s->p++) {
        if (*s->p == '"') {
            s->p++;
            return 0;
        }
        if (*s->p == '\n')
            return fail(s, err, "text goes over the end of the line");
        if (*s->p != '\\' || s->end - s->p < 2)
            continue;
        s->p++;
        if (*s->p == 'x' && s->end - s->p > 2 && s->p[1] == '0' && s->p[2] == '0')
            return fail(s, err, "\\x00 in a text");
    }
    return fail(s, err, "text without its closing quote");
}

int cs_conf_scan(const char *text, size_t n, struct cs_conf_scan_error *err)
{
    struct scan s = {.p = text, .end = text + n, .line = 1};

    while (s.p < s.end) {
        char c = *s.p;
        if (c == '\n') {
            s.line++;
            s.p++;
        } else if (c == '\0') {
            return fail(&s, err, "a NUL byte");
        } else if (c == '#' || (c == '/' && s.end - s.p > 1 && s.p[1] == '/')) {
            skip_line(&s);
        } else if (c == '/' && s.end - s.p > 1 && s.p[1] == '*') {
            unsigned first = s.line;
            for (s.p += 2; s.end - s.p >= 2 && !(s.p[0] == '*' && s.p[1] == '/'); s.p++)
                if (*s.p == '\n')
                    s.line++;
            if (s.end - s.p < 2) {
                s.line = first;
                return fail(&s, err, "comment without its end");
            }
            s.p += 2;
        } else if (c == '"') {
            int r = scan_string(&s, err);
            if (r < 0)
                return r;
        } else if (c == ';') {
            s.names[s.depth].n = 0;
            s.p++;
        } else if (c == '@') {
            return fail(&s, err,
                        "@include is not supported: tenants have their own files in tenants.d");
        } else if (c == '{' || c == '(' || c == '[') {
            if (s.depth == CS_CONF_DEPTH)
                return fail(&s, err, "nested too deeply");
            s.depth++;
            s.names[s.depth].n = 0;
            s.p++;
        } else if (c == '}' || c == ')' || c == ']') {
            if (s.depth > 0) /* too many of them is libconfig's to refuse */
                s.depth--;
            s.p++;
        } else if (is_name(c, true)) {
            const char *first = s.p;
            while (s.p < s.end && is_name(*s.p, false))
                s.p++;
            const char *after = s.p;
            while (after < s.end && (*after == ' ' || *after == '\t'))
                after++;
            if (after < s.end && (*after == '=' || *after == ':')) {
                s.names[s.depth].p = first;
                s.names[s.depth].n = (size_t)(s.p - first);
            }
        } else if (is_digit(c) || c == '-' || c == '+' || c == '.') {
            const char *first = s.p;
            while (s.p < s.end && (is_name(*s.p, false) || *s.p == '.' || *s.p == '+'))
                s.p++;
            const char *reason = check_number(first, (size_t)(s.p - first));
            if (reason != NULL)
                return fail(&s, err, reason);
        } else {
            size_t k = cs_utf8_len(s.p, (size_t)(s.end - s.p));
            if (k == 0)
                return fail(&s, err, "bad UTF-8");
            s.p += k;
        }
    }
    return 0;
}
