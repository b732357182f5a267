/* json.h - our own messages as a tree, strictly (on json-c; the only file that includes it is json.c).
 *
 * For jobs, feedback, state and commands: small, ours, validated field by field. Graph's answers are
 * not read this way, see json_slice.h. Input passes cs_js_check() first; refused are further integers
 * beyond 64 bits, duplicate names, lone surrogates, a NUL in a name, and nesting deeper than the writer
 * can write (CS_JW_DEPTH). json-c's own reader is not used: in strict mode it still takes single quotes,
 * NaN and raw control characters, caps integers silently, and does not survive a lack of memory.
 *
 * Getters return 0; -ENOENT (absent or null); -EINVAL (another type, or an integer out of [min,max],
 * or a string that holds a NUL or is longer than max). Values are borrowed from the document.
 */
#ifndef CS_COMMON_JSON_H
#define CS_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cs_json;                  /* a document; ours until cs_json_free() */
typedef const void *cs_json_val; /* a value inside a document, borrowed; NULL: no value */

/** @return 0, -EBADMSG (not strict JSON; *reason is a static text), -ENOMEM */
int cs_json_parse(const char *p, size_t n, struct cs_json **ret, const char **reason);
void cs_json_free(struct cs_json *doc);
cs_json_val cs_json_root(const struct cs_json *doc); /* NULL if the text is null */

bool cs_json_is_object(cs_json_val v);
bool cs_json_is_array(cs_json_val v);
cs_json_val cs_json_get(cs_json_val obj, const char *name); /* NULL if absent or null */
size_t cs_json_len(cs_json_val arr);                        /* 0 for anything but an array */
cs_json_val cs_json_at(cs_json_val arr, size_t i);

int cs_json_str(cs_json_val obj, const char *name, size_t max, const char **ret);
int cs_json_i64(cs_json_val obj, const char *name, int64_t min, int64_t max, int64_t *ret);
int cs_json_bool(cs_json_val obj, const char *name, bool *ret);
/** RFC 3339 to UTC milliseconds. */
int cs_json_time(cs_json_val obj, const char *name, int64_t *ret_utc_ms);
/** An element that is itself a string. */
int cs_json_val_str(cs_json_val v, size_t max, const char **ret);
/**
 * The value as JSON text, appended; for keeping a part of a message as it came. NULL writes null.
 * @return 0 or the buffer's failure
 */
struct cs_buf;
int cs_json_print(cs_json_val v, struct cs_buf *out);
/** Iterates an object in the order of the text: *i starts at 0; false at the end, and for anything but an
 * object. O(1) a step. A null value is NULL. */
bool cs_json_next(cs_json_val obj, size_t *i, const char **name, cs_json_val *value);

#endif
