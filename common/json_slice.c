#include "common/json_slice.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_scan.h"
#include "common/utf8.h"

static inline bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int h = hex_value(p[i]);
        if (h < 0)
            return -1;
        v = v * 16 + h;
    }
    return v;
}

/* --- check ------------------------------------------------------------------------------------- */

struct check {
    const char *at; /* where it stopped */
    const char *reason;
};

/* From p, which is between two characters of a string. Returns the byte behind the closing quote, or NULL. */
static const char *check_rest(const char *p, const char *end, struct check *c)
{
    for (;;) {
        p = cs_scan_plain(p, end);
        c->at = p;
        if (p == end) {
            c->reason = "string without an end";
            return NULL;
        }
        if (*p == '"')
            return p + 1;
        if (*p == '\\') {
            if (end - p < 2) {
                c->reason = "string without an end";
                return NULL;
            }
            switch (p[1]) {
            case '"':
            case '\\':
            case '/':
            case 'b':
            case 'f':
            case 'n':
            case 'r':
            case 't': p += 2; break;
            case 'u':
                if (hex4(p + 2, end) < 0) {
                    c->reason = "bad \\u escape";
                    return NULL;
                }
                p += 6;
                break;
            default: c->reason = "unknown escape"; return NULL;
            }
        } else if ((unsigned char)*p >= 0x80) {
            size_t n = cs_utf8_len(p, (size_t)(end - p));
            if (n == 0) {
                c->reason = "bad UTF-8";
                return NULL;
            }
            p += n;
        } else {
            c->reason = "raw control character in a string";
            return NULL;
        }
    }
}

#if CS_SCAN_BLOCKS
/* The characters behind backslashes: is each an escape? */
static bool escapes_ok(const char *block, const char *end, uint64_t escaped)
{
    static const bool simple[256] = {['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
                                     ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true};
    for (; escaped != 0; escaped &= escaped - 1) {
        const char *p = block + __builtin_ctzll(escaped);
        if (!simple[(unsigned char)*p] && (*p != 'u' || hex4(p + 1, end) < 0))
            return false;
    }
    return true;
}
#endif

/* p is behind the opening quote. Returns the byte behind the closing one, or NULL. */
static const char *check_string(const char *p, const char *end, struct check *c)
{
#if CS_SCAN_BLOCKS
    const char *const first = p;
    uint64_t carry = 0;
    unsigned done = 0; /* bytes of this block that belong to a sequence begun in the one before */

    if (end - p >= 16) { /* most strings are short: one look is enough */
        unsigned odd = cs_scan_odd16(p);
        if (odd != 0 && p[__builtin_ctz(odd)] == '"')
            return p + __builtin_ctz(odd) + 1;
    }
    for (; end - p >= 64; p += 64) {
        struct cs_scan_block b = cs_scan_block(p);
        uint64_t escaped = cs_scan_escaped(b.backslash, &carry);
        uint64_t closing = b.quote & ~escaped;
        uint64_t inside = closing != 0 ? (closing & (0 - closing)) - 1 : ~UINT64_C(0);
        uint64_t high = b.high & inside & ~((UINT64_C(1) << done) - 1);

        done = 0;
        if ((b.low & ~b.high & inside) != 0 || !escapes_ok(p, end, escaped & inside))
            return check_rest(first, end, c); /* finds it again, and says where and what */
        while (high != 0) {
            unsigned at = (unsigned)__builtin_ctzll(high);
            unsigned k = (unsigned)cs_utf8_len(p + at, (size_t)(end - p) - at);
            if (k == 0)
                return check_rest(first, end, c);
            if (at + k >= 64) {
                done = at + k - 64;
                break;
            }
            high &= ~UINT64_C(0) << (at + k);
        }
        if (closing != 0)
            return p + __builtin_ctzll(closing) + 1;
    }
    p += done;
    if (carry != 0)
        p--; /* the backslash again */
#endif
    return check_rest(p, end, c);
}

/* RFC 8259 section 6. p is at '-' or a digit. */
static const char *check_number(const char *p, const char *end, struct check *c)
{
    if (*p == '-')
        p++;
    if (p < end && *p == '0') {
        p++;
    } else {
        const char *digits = p;
        while (p < end && is_digit(*p))
            p++;
        if (p == digits)
            goto bad;
    }
    if (p < end && *p == '.') {
        const char *digits = ++p;
        while (p < end && is_digit(*p))
            p++;
        if (p == digits)
            goto bad;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        const char *digits = p;
        while (p < end && is_digit(*p))
            p++;
        if (p == digits)
            goto bad;
    }
    return p;
bad:
    c->at = p;
    c->reason = "bad number";
    return NULL;
}

static const char *check_word(const char *p, const char *end, const char *word, struct check *c)
{
    size_t n = strlen(word);
    if ((size_t)(end - p) < n || memcmp(p, word, n) != 0) {
        c->at = p;
        c->reason = "unknown word";
        return NULL;
    }
    return p + n;
}

int cs_js_check(const char *text, size_t n, unsigned max_depth, struct cs_js *ret,
                struct cs_js_error *err)
{
    const char *const end = text + n;
    const char *p = skip_space(text, end);
    const char *first = p;
    struct check c = {.at = p, .reason = NULL};
    uint64_t objects = 0; /* bit d: the container at depth d+1 is an object */
    unsigned depth = 0;
    int r = -EBADMSG;

    if (max_depth > CS_JS_MAX_DEPTH)
        max_depth = CS_JS_MAX_DEPTH;

value:
    p = skip_space(p, end);
    c.at = p;
    if (p == end) {
        c.reason = "cut off: a value is missing";
        goto fail;
    }
    switch (*p) {
    case '{':
    case '[':
        if (depth == max_depth) {
            c.reason = "nested too deeply";
            r = -E2BIG;
            goto fail;
        }
        if (*p == '{')
            objects |= UINT64_C(1) << depth;
        else
            objects &= ~(UINT64_C(1) << depth);
        depth++;
        p = skip_space(p + 1, end);
        if (objects & (UINT64_C(1) << (depth - 1))) {
            if (p < end && *p == '}')
                goto close;
            goto name;
        }
        if (p < end && *p == ']')
            goto close;
        goto value;
    case '"': p = check_string(p + 1, end, &c); break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': p = check_number(p, end, &c); break;
    case 't': p = check_word(p, end, "true", &c); break;
    case 'f': p = check_word(p, end, "false", &c); break;
    case 'n': p = check_word(p, end, "null", &c); break;
    default: c.reason = "a value is missing"; goto fail;
    }
    if (p == NULL)
        goto fail;

after:
    if (depth == 0)
        goto done;
    p = skip_space(p, end);
    c.at = p;
    if (p == end) {
        c.reason = "cut off inside an object or array";
        goto fail;
    }
    if (objects & (UINT64_C(1) << (depth - 1))) {
        if (*p == '}')
            goto close;
        if (*p != ',') {
            c.reason = "',' or '}' expected";
            goto fail;
        }
        p = skip_space(p + 1, end);
        goto name;
    }
    if (*p == ']')
        goto close;
    if (*p != ',') {
        c.reason = "',' or ']' expected";
        goto fail;
    }
    p++;
    goto value;

name:
    c.at = p;
    if (p == end || *p != '"') {
        c.reason = p == end ? "cut off inside an object or array" : "a name in quotes expected";
        goto fail;
    }
    p = check_string(p + 1, end, &c);
    if (p == NULL)
        goto fail;
    p = skip_space(p, end);
    c.at = p;
    if (p == end || *p != ':') {
        c.reason = "':' expected";
        goto fail;
    }
    p++;
    goto value;

close:
    p++;
    depth--;
    goto after;

done:
    c.at = skip_space(p, end);
    if (c.at != end) {
        c.reason = "more text behind the value";
        goto fail;
    }
    if (ret != NULL)
        *ret = (struct cs_js){.p = first, .n = (size_t)(p - first)};
    return 0;

fail:
    if (err != NULL)
        *err = (struct cs_js_error){.offset = (size_t)(c.at - text), .reason = c.reason};
    return r;
}

/* --- walk: relies on a checked text, but stays inside the slice whatever it holds --------------- */

/* p is behind the opening quote; returns the byte behind the closing one (or end). */
static inline const char *walk_string(const char *p, const char *end)
{
#if CS_SCAN_BLOCKS
    uint64_t carry = 0;

    if (end - p >= 16) {
        unsigned odd = cs_scan_odd16(p);
        if (odd != 0 && p[__builtin_ctz(odd)] == '"')
            return p + __builtin_ctz(odd) + 1;
    }
    for (; end - p >= 64; p += 64) {
        struct cs_scan_block b = cs_scan_block(p);
        uint64_t closing = b.quote & ~cs_scan_escaped(b.backslash, &carry);
        if (closing != 0)
            return p + __builtin_ctzll(closing) + 1;
    }
    if (carry != 0)
        p++; /* its backslash was in the last block */
#endif
    for (;;) {
        p = cs_scan_quote(p, end);
        if (p >= end)
            return end;
        if (*p == '"')
            return p + 1;
        if (end - p < 2)
            return end;
        p += 2; /* the escaped character cannot end the string */
    }
}

/* Skips one value at p; returns the byte behind it. */
static const char *walk_value(const char *p, const char *end)
{
    unsigned depth = 0;

    while (p < end) {
        switch (*p) {
        case '"':
            p = walk_string(p + 1, end);
            if (depth == 0)
                return p;
            break;
        case '{':
        case '[':
            depth++;
            p++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return p; /* the end of what encloses the value */
            p++;
            if (--depth == 0)
                return p;
            break;
        case ',':
        case ':':
        case ' ':
        case '\t':
        case '\n':
        case '\r':
            if (depth == 0)
                return p;
            p++;
            break;
        default: p++; break;
        }
    }
    return end;
}

enum cs_js_type cs_js_type(struct cs_js v)
{
    if (v.p == NULL || v.n == 0)
        return CS_JS_NONE;
    switch (v.p[0]) {
    case '{': return CS_JS_OBJECT;
    case '[': return CS_JS_ARRAY;
    case '"': return CS_JS_STRING;
    case 't':
    case 'f': return CS_JS_BOOL;
    case 'n': return CS_JS_NULL;
    default: return CS_JS_NUMBER;
    }
}

bool cs_js_has(struct cs_js v)
{
    enum cs_js_type t = cs_js_type(v);
    return t != CS_JS_NONE && t != CS_JS_NULL;
}

/* Moves to the next element or name, over one comma. False at the end. */
static bool step(struct cs_js v, enum cs_js_type type, struct cs_js_iter *it)
{
    if (!it->started) {
        if (cs_js_type(v) != type || v.n < 2)
            return false;
        it->started = true;
        it->at = v.p + 1;
        it->end = v.p + v.n - 1; /* the closing bracket */
    }
    const char *p = skip_space(it->at, it->end);
    if (p < it->end && *p == ',')
        p = skip_space(p + 1, it->end);
    it->at = p;
    return p < it->end;
}

bool cs_js_next_element(struct cs_js arr, struct cs_js_iter *it, struct cs_js *value)
{
    if (!step(arr, CS_JS_ARRAY, it))
        return false;
    const char *p = it->at;
    it->at = walk_value(p, it->end);
    *value = (struct cs_js){.p = p, .n = (size_t)(it->at - p)};
    if (it->at == p)
        it->at = it->end; /* only in text that was never checked: no step means no end */
    return true;
}

bool cs_js_next_member(struct cs_js obj, struct cs_js_iter *it, struct cs_js *name,
                       struct cs_js *value)
{
    if (!step(obj, CS_JS_OBJECT, it) || *it->at != '"')
        return false;
    const char *p = it->at;
    const char *q = walk_string(p + 1, it->end);
    *name = (struct cs_js){.p = p, .n = (size_t)(q - p)};
    q = skip_space(q, it->end);
    if (q < it->end && *q == ':')
        q = skip_space(q + 1, it->end);
    it->at = walk_value(q, it->end);
    *value = (struct cs_js){.p = q, .n = (size_t)(it->at - q)};
    return true;
}

static inline bool is_named(struct cs_js key, const char *name, size_t n)
{
    if (key.n == n + 2)
        return memcmp(key.p + 1, name, n) == 0 && memchr(name, '\\', n) == NULL;
    /* a name with escapes is longer than what it stands for */
    return key.n > n + 2 && memchr(key.p, '\\', key.n) != NULL && cs_js_str_is(key, name);
}

struct cs_js cs_js_get(struct cs_js obj, const char *name)
{
    struct cs_js found = {0}, key, value;
    struct cs_js_iter it = {0};
    size_t n = strlen(name);

    if (obj.index != NULL) {
        for (size_t i = obj.index->n; i > 0; i--) /* of equal names the last wins */
            if (is_named(obj.index->names[i - 1], name, n))
                return obj.index->values[i - 1];
        return found;
    }
    while (cs_js_next_member(obj, &it, &key, &value))
        if (is_named(key, name, n))
            found = value;
    return found;
}

struct cs_js cs_js_indexed(struct cs_js obj, struct cs_js_index *index)
{
    struct cs_js_iter it = {0};
    struct cs_js name, value;

    obj.index = NULL;
    index->n = 0;
    while (cs_js_next_member(obj, &it, &name, &value)) {
        if (index->n == CS_JS_INDEX_MAX)
            return obj; /* without: cs_js_get() walks */
        index->names[index->n] = name;
        index->values[index->n++] = value;
    }
    if (cs_js_type(obj) == CS_JS_OBJECT)
        obj.index = index;
    return obj;
}

struct cs_js cs_js_path(struct cs_js obj, ...)
{
    va_list ap;
    const char *name;

    va_start(ap, obj);
    while ((name = va_arg(ap, const char *)) != NULL)
        obj = cs_js_get(obj, name);
    va_end(ap);
    return obj;
}

size_t cs_js_count(struct cs_js arr)
{
    struct cs_js_iter it = {0};
    struct cs_js value;
    size_t n = 0;

    while (cs_js_next_element(arr, &it, &value))
        n++;
    return n;
}

/* --- strings ----------------------------------------------------------------------------------- */

bool cs_js_str_raw(struct cs_js v, const char **p, size_t *n)
{
    if (cs_js_type(v) != CS_JS_STRING || v.n < 2)
        return false;
    *p = v.p + 1;
    *n = v.n - 2;
    return true;
}

/* Takes one escape apart. *p is at the backslash and moves behind it; out gets 1 to 4 bytes.
 * Returns their number. A lone surrogate gives U+FFFD and sets *lone. */
static size_t take_escape(const char **p, const char *end, char out[4], bool *lone)
{
    const char *s = *p;
    char e = end - s >= 2 ? s[1] : '\\';

    *p = end - s >= 2 ? s + 2 : end;
    switch (e) {
    case 'b': out[0] = '\b'; return 1;
    case 'f': out[0] = '\f'; return 1;
    case 'n': out[0] = '\n'; return 1;
    case 'r': out[0] = '\r'; return 1;
    case 't': out[0] = '\t'; return 1;
    case 'u': break;
    default: out[0] = e; return 1;
    }
    int32_t c = hex4(s + 2, end);
    if (c < 0) { /* only in text that was never checked */
        *p = end;
        return cs_utf8_put(0xFFFD, out);
    }
    *p = s + 6;
    if (c >= 0xD800 && c <= 0xDBFF && end - s >= 12 && s[6] == '\\' && s[7] == 'u') {
        int32_t low = hex4(s + 8, end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *p = s + 12;
            return cs_utf8_put((uint32_t)(0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00)), out);
        }
    }
    if (c >= 0xD800 && c <= 0xDFFF) {
        *lone = true;
        c = 0xFFFD;
    }
    return cs_utf8_put((uint32_t)c, out);
}

int cs_js_str(struct cs_js v, struct cs_buf *out)
{
    const char *p;
    size_t n;
    bool lone = false;

    if (!cs_js_str_raw(v, &p, &n))
        return -EINVAL;
    const char *end = p + n;
    (void)cs_buf_reserve(
        out, 0); /* so that an empty string is a text too; a failure is returned below */
    while (p < end) {
        const char *q = memchr(p, '\\', (size_t)(end - p));
        if (q == NULL)
            q = end;
        cs_buf_add(out, p, (size_t)(q - p));
        p = q;
        while (p < end && *p == '\\') {
            char c[4];
            size_t k = take_escape(&p, end, c, &lone);
            cs_buf_add(out, c, k);
        }
    }
    return cs_buf_failed(out);
}

int cs_js_str_into(struct cs_js v, char *out, size_t size)
{
    const char *p;
    size_t n, len = 0;
    bool lone = false;

    if (size > 0)
        out[0] = '\0';
    if (!cs_js_str_raw(v, &p, &n))
        return -EINVAL;
    const char *end = p + n;
    while (p < end) {
        char c[4];
        size_t k = 1;
        if (*p == '\\')
            k = take_escape(&p, end, c, &lone);
        else
            c[0] = *p++;
        if (c[0] == '\0') {
            if (size > 0)
                out[0] = '\0';
            return -EINVAL;
        }
        if (len + k >= size || len + k > INT_MAX) {
            if (size > 0)
                out[0] = '\0';
            return -EMSGSIZE;
        }
        memcpy(out + len, c, k);
        len += k;
    }
    if (size == 0)
        return -EMSGSIZE;
    out[len] = '\0';
    return (int)len;
}

char *cs_js_strdup(struct cs_js v, size_t max)
{
    struct cs_buf b;
    size_t n;

    cs_buf_init(&b, 0);
    const char *raw;
    /* an escape stands for at least a sixth of its bytes, a NUL for none that is allowed */
    if (!cs_js_str_raw(v, &raw, &n) || n / 6 > max || cs_js_str(v, &b) < 0 || b.len > max ||
        (b.len > 0 && memchr(b.data, '\0', b.len) != NULL)) {
        cs_buf_clear(&b);
        return NULL;
    }
    return cs_buf_steal(&b, NULL);
}

bool cs_js_str_has_lone_surrogate(struct cs_js v)
{
    const char *p;
    size_t n;
    bool lone = false;
    char c[4];

    if (!cs_js_str_raw(v, &p, &n))
        return false;
    const char *end = p + n;
    while (!lone && p < end && (p = memchr(p, '\\', (size_t)(end - p))) != NULL)
        (void)take_escape(&p, end, c, &lone); /* only the flag matters */
    return lone;
}

static inline char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool str_equals(struct cs_js v, const char *text, bool nocase)
{
    const char *p;
    size_t n, want = strlen(text), at = 0;
    bool lone = false;

    if (!cs_js_str_raw(v, &p, &n))
        return false;
    const char *end = p + n;
    while (p < end) {
        char c[4];
        size_t k = 1;
        if (*p == '\\')
            k = take_escape(&p, end, c, &lone);
        else
            c[0] = *p++;
        if (k > want - at)
            return false;
        for (size_t i = 0; i < k; i++, at++)
            if (c[i] != text[at] && !(nocase && lower(c[i]) == lower(text[at])))
                return false;
    }
    return at == want;
}

bool cs_js_str_is(struct cs_js v, const char *text)
{
    return str_equals(v, text, false);
}

bool cs_js_str_is_nocase(struct cs_js v, const char *text)
{
    return str_equals(v, text, true);
}

/* --- numbers and booleans ---------------------------------------------------------------------- */

int cs_js_i64(struct cs_js v, int64_t *ret)
{
    if (cs_js_type(v) != CS_JS_NUMBER)
        return -EINVAL;
    const char *p = v.p, *end = v.p + v.n;
    bool negative = *p == '-';
    uint64_t limit = negative ? UINT64_C(1) << 63 : INT64_MAX, u = 0;

    if (negative)
        p++;
    if (p == end)
        return -EINVAL;
    for (; p < end; p++) {
        if (!is_digit(*p))
            return -EINVAL;
        unsigned d = (unsigned)(*p - '0');
        if (u > (limit - d) / 10)
            return -EINVAL;
        u = u * 10 + d;
    }
    if (negative)
        *ret = u == limit ? INT64_MIN : -(int64_t)u;
    else
        *ret = (int64_t)u;
    return 0;
}

int cs_js_bool(struct cs_js v, bool *ret)
{
    enum cs_js_type t = cs_js_type(v);

    if (t != CS_JS_BOOL && t != CS_JS_STRING)
        return -EINVAL;
    if (t == CS_JS_BOOL)
        *ret = v.p[0] == 't';
    else if (cs_js_str_is(v, "true"))
        *ret = true;
    else if (cs_js_str_is(v, "false"))
        *ret = false;
    else
        return -EINVAL;
    return 0;
}
