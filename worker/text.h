/* text.h - strings of a Graph item into a record without decoding them. PURE.
 *
 * The bytes between a JSON string's quotes are the same string in any other JSON text (RFC 8259), so
 * they are copied as they are. Two things are mended on the way, since readers break on them: NUL
 * characters are dropped and lone surrogates become U+FFFD. What is too long is cut on the boundary of
 * a character and of an escape.
 */
#ifndef CS_WORKER_TEXT_H
#define CS_WORKER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/json_slice.h"
#include "common/json_write.h"

struct cs_text_facts {
    bool is_clean;        /* neither NUL nor lone surrogate: may be copied as it is */
    size_t decoded_bytes; /* UTF-8 bytes of the text once mended */
};

/** Of the raw bytes between the quotes; they have passed cs_js_check(). */
struct cs_text_facts cs_text_scan(const char *raw, size_t n);
/** Longest prefix of at most max raw bytes that splits no escape, surrogate pair or UTF-8 sequence. */
size_t cs_text_cut(const char *raw, size_t n, size_t max);
/**
 * Shortens a cut of HTML so that it does not end inside a tag or a character reference; looks back 512
 * bytes at most and leaves the cut alone if nothing is found there.
 */
size_t cs_text_cut_html(const char *raw, size_t cut);

/** Writes the string as a value, mended, at most max raw bytes; *cut is set if that cut something
 * (may be NULL, else left alone). Anything but a string is written as null. */
void cs_text_write(struct cs_jw *jw, struct cs_js v, size_t max, bool *cut);
/** The same with a key before it. */
void cs_text_kwrite(struct cs_jw *jw, const char *key, struct cs_js v, size_t max, bool *cut);
/** A member that is left out if the value is no string or an empty one. */
void cs_text_kwrite_opt(struct cs_jw *jw, const char *key, struct cs_js v, size_t max, bool *cut);
/** true, false, or null for anything that is no boolean. */
void cs_text_kbool(struct cs_jw *jw, const char *key, struct cs_js v);

/**
 * A string of Graph's as a body: {"type","content","truncated","original_bytes"}, or null if there is
 * no content. @param max  raw bytes of the content at most. @return true if it was cut
 */
bool cs_text_write_body(struct cs_jw *jw, struct cs_js item_body, size_t max);

/** A DateTimeOffset. CS_NEVER if it is absent, unreadable, or Graph's "never" (year 1). */
int64_t cs_text_time(struct cs_js v);

#endif
