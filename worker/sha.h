/* sha.h - SHA-256 of a list of texts, as hex. PURE. */
#ifndef CS_WORKER_SHA_H
#define CS_WORKER_SHA_H

#include <stddef.h>

#define CS_SHA_HEX 65 /* 64 digits and NUL */

struct cs_sha {
    void *md; /* the library's context */
    int failed;
};

void cs_sha_init(struct cs_sha *s);
/** Adds n bytes as they are. */
void cs_sha_add(struct cs_sha *s, const void *p, size_t n);
/** Adds a text and a NUL behind it, so that "ab","c" differs from "a","bc". */
void cs_sha_str(struct cs_sha *s, const char *text);
/** Ends it, in any case. @return 0, -ENOMEM (out is "" then) */
int cs_sha_hex(struct cs_sha *s, char out[CS_SHA_HEX]);

#endif
