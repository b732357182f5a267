/* json_slice.h - read JSON as slices of the input, without a tree. PURE.
 *
 * This is the only way in which Graph's answers are read: split a page into items, find a field,
 * read a string, number, boolean, array or object. A slice points into the caller's bytes and
 * lives as long as they do; nothing is copied until a string is decoded.
 *
 * Order of use: cs_js_check() once over the whole answer (strict RFC 8259: no trailing comma, no
 * NaN, no raw control characters, valid UTF-8, bounded depth), then everything else, which relies
 * on it and never reads outside the slice.
 */
#ifndef CS_COMMON_JSON_SLICE_H
#define CS_COMMON_JSON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define CS_JS_MAX_DEPTH 64

struct cs_js_index;
struct cs_js {
    const char *p; /* first byte of the value, no white space around; NULL: no value */
    size_t n;
    const struct cs_js_index *index; /* NULL, or an object's members: see cs_js_indexed() */
};

enum cs_js_type {
    CS_JS_NONE = 0, /* no value: p is NULL */
    CS_JS_NULL,
    CS_JS_BOOL,
    CS_JS_NUMBER,
    CS_JS_STRING,
    CS_JS_ARRAY,
    CS_JS_OBJECT,
};

struct cs_js_error {
    size_t offset;      /* of the offending byte */
    const char *reason; /* static text without any content of the input */
};

/**
 * Is this one JSON text, strictly?
 *
 * @param[in]  max_depth  nesting allowed, at most CS_JS_MAX_DEPTH
 * @param[out] ret        the text as a slice (white space trimmed); written only on success
 * @param[out] err        may be NULL; written only on failure
 * @return 0; -EBADMSG (not JSON, bad UTF-8, bad escape, raw control character, cut off), -E2BIG (too deep)
 */
int cs_js_check(const char *p, size_t n, unsigned max_depth, struct cs_js *ret,
                struct cs_js_error *err);

enum cs_js_type cs_js_type(struct cs_js v);
/** True for a value that is there and is not null. */
bool cs_js_has(struct cs_js v);

/** A member of an object; of equal names the last wins. No such member, or not an object: {NULL,0}. */
struct cs_js cs_js_get(struct cs_js obj, const char *name);
/**
 * The same object with its members at hand, so that cs_js_get() need not walk it each time: for an item of
 * which many fields are read (a message of 30 KB has some 40). An object of more than CS_JS_INDEX_MAX members
 * comes back as it was, and works too.
 *
 * @param[out] index  need not be initialized; borrowed by the result and its copies
 */
#define CS_JS_INDEX_MAX 96
struct cs_js_index {
    size_t n;
    struct cs_js names[CS_JS_INDEX_MAX];
    struct cs_js values[CS_JS_INDEX_MAX];
};
struct cs_js cs_js_indexed(struct cs_js obj, struct cs_js_index *index);
/** cs_js_get() along a path of names ending in NULL. */
struct cs_js cs_js_path(struct cs_js obj, ...) __attribute__((sentinel));

/** Iterate: *it starts as {0}. True while there is a member or element. Names come decoded only if
 * they have escapes; compare with cs_js_str_is(). */
struct cs_js_iter {
    const char *at;
    const char *end;
    bool started;
};
bool cs_js_next_member(struct cs_js obj, struct cs_js_iter *it, struct cs_js *name,
                       struct cs_js *value);
bool cs_js_next_element(struct cs_js arr, struct cs_js_iter *it, struct cs_js *value);
/** Elements of an array; 0 for anything else. */
size_t cs_js_count(struct cs_js arr);

/** Equal to this text after decoding escapes? False for anything but a string. */
bool cs_js_str_is(struct cs_js v, const char *text);
/** The same, ASCII case ignored (Graph's enums). */
bool cs_js_str_is_nocase(struct cs_js v, const char *text);
/** The bytes between the quotes, still escaped. False for anything but a string. */
bool cs_js_str_raw(struct cs_js v, const char **p, size_t *n);
/**
 * Appends the decoded string as UTF-8. A lone surrogate becomes U+FFFD; \u0000 becomes a NUL byte
 * (so trust the length, not strlen()).
 * @return 0, -EINVAL (not a string), or the buffer's failure
 */
int cs_js_str(struct cs_js v, struct cs_buf *out);
/**
 * Decoded into a fixed array, always NUL-terminated.
 * @return length; -EINVAL (not a string, or it holds a NUL); -EMSGSIZE (does not fit; out is empty)
 */
int cs_js_str_into(struct cs_js v, char *out, size_t size);
/** malloc'd, NUL-terminated, at most max bytes; NULL: not a string, holds a NUL, too long or no memory. */
char *cs_js_strdup(struct cs_js v, size_t max);
/** True if the string has a lone surrogate escape (legal JSON that breaks strict readers). */
bool cs_js_str_has_lone_surrogate(struct cs_js v);

/** 0, or -EINVAL: not an integer, or outside int64. */
int cs_js_i64(struct cs_js v, int64_t *ret);
/** 0, or -EINVAL. Accepts the strings "true" and "false" too (seen in Graph's own samples). */
int cs_js_bool(struct cs_js v, bool *ret);

#endif
