/* json_write.h - writes JSON straight into a cs_buf. PURE.
 *
 * The writer sets commas and quotes; nesting is at most CS_JW_DEPTH. Failures are the buffer's
 * (sticky). Misuse (a value where a key is due) is our own mistake and asserts. Strings are UTF-8;
 * bytes that are not valid UTF-8 come out as U+FFFD, control characters as escapes, so the output
 * is always valid JSON (RFC 8259).
 */
#ifndef CS_COMMON_JSON_WRITE_H
#define CS_COMMON_JSON_WRITE_H

#include "common/buf.h"
#include "common/json_slice.h"

#define CS_JW_DEPTH 32

struct cs_jw {
    struct cs_buf *buf; /* borrowed */
    uint32_t first;     /* bit d: nothing written yet at depth d */
    uint32_t is_object; /* bit d: depth d is an object */
    unsigned depth;
    bool have_key;
};

void cs_jw_init(struct cs_jw *jw, struct cs_buf *buf);
void cs_jw_object(struct cs_jw *jw);
void cs_jw_object_end(struct cs_jw *jw);
void cs_jw_array(struct cs_jw *jw);
void cs_jw_array_end(struct cs_jw *jw);
/** key must be a plain ASCII name that needs no escaping. */
void cs_jw_key(struct cs_jw *jw, const char *key);
/** A name that may be any text; escaped where it must be. */
void cs_jw_key_any(struct cs_jw *jw, const char *key);
/** s NULL writes null. */
void cs_jw_str(struct cs_jw *jw, const char *s);
void cs_jw_strn(struct cs_jw *jw, const char *s, size_t n);
void cs_jw_i64(struct cs_jw *jw, int64_t v);
void cs_jw_bool(struct cs_jw *jw, bool v);
void cs_jw_null(struct cs_jw *jw);
/** A value that is JSON already and has been checked (cs_js_check()); copied as it is. */
void cs_jw_raw(struct cs_jw *jw, const char *json, size_t n);
void cs_jw_slice(struct cs_jw *jw, struct cs_js v);

/* key and value in one call; the *_opt forms leave the member out when there is no value */
void cs_jw_kstr(struct cs_jw *jw, const char *key, const char *s);
void cs_jw_kstr_opt(struct cs_jw *jw, const char *key, const char *s);
/** As 16 hexadecimal digits; 0 writes nothing. */
void cs_jw_khash_opt(struct cs_jw *jw, const char *key, uint64_t hash);
void cs_jw_ki64(struct cs_jw *jw, const char *key, int64_t v);
void cs_jw_kbool(struct cs_jw *jw, const char *key, bool v);
void cs_jw_knull(struct cs_jw *jw, const char *key);
/** RFC 3339 UTC with milliseconds, e.g. 2026-01-02T03:04:05.678Z; CS_NEVER writes null. */
void cs_jw_ktime(struct cs_jw *jw, const char *key, int64_t utc_ms);

#endif
