/* buf.h - a growing byte buffer with a sticky failure.
 *
 * Appends never return an error: the first one that fails (no memory, or the limit) marks the
 * buffer, later ones do nothing, and the caller asks once at the end with cs_buf_failed(). Not
 * thread-safe. The bytes are always followed by a NUL that is not counted in len.
 */
#ifndef CS_COMMON_BUF_H
#define CS_COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cs_buf {
    char *data;   /* NULL until the first append; ours */
    size_t len;   /* bytes in use, without the NUL */
    size_t cap;   /* bytes allocated */
    size_t limit; /* 0: none; else len never passes it and the buffer fails */
    int failed;   /* 0, -ENOMEM or -EMSGSIZE; sticky until cs_buf_reset() */
};

/** An empty buffer; limit in bytes, 0 for none. Cannot fail: memory is taken by the first append. */
void cs_buf_init(struct cs_buf *b, size_t limit);
/** Frees the bytes; the buffer may be used again as after cs_buf_init(). NULL is accepted. */
void cs_buf_clear(struct cs_buf *b);
/** Forgets the content and the failure, keeps the memory. */
void cs_buf_reset(struct cs_buf *b);
/** Makes room for n more bytes. Returns 0 or the buffer's failure. */
int cs_buf_reserve(struct cs_buf *b, size_t n);
void cs_buf_add(struct cs_buf *b, const void *p, size_t n);
void cs_buf_adds(struct cs_buf *b, const char *s);
void cs_buf_addc(struct cs_buf *b, char c);
void cs_buf_addf(struct cs_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Cuts back to an earlier length (n <= len); used to undo a half-written part. A failure stays. */
void cs_buf_truncate(struct cs_buf *b, size_t n);
/**
 * Hands the bytes to the caller, who frees them with free(); the buffer is empty afterwards.
 * @param[out] len  may be NULL
 * @return malloc'd bytes with a NUL behind them, or NULL if the buffer had failed (it is cleared)
 */
char *cs_buf_steal(struct cs_buf *b, size_t *len);
/** 0, or the first failure: -ENOMEM, -EMSGSIZE (the limit). */
static inline int cs_buf_failed(const struct cs_buf *b)
{
    return b->failed;
}

#endif
