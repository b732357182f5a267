#include "common/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_CAP 256

void cs_buf_init(struct cs_buf *b, size_t limit)
{
    *b = (struct cs_buf){.limit = limit};
}

void cs_buf_clear(struct cs_buf *b)
{
    if (b == NULL)
        return;
    free(b->data);
    *b = (struct cs_buf){.limit = b->limit};
}

void cs_buf_reset(struct cs_buf *b)
{
    b->len = 0;
    b->failed = 0;
    if (b->data != NULL)
        b->data[0] = '\0';
}

int cs_buf_reserve(struct cs_buf *b, size_t n)
{
    if (b->failed != 0)
        return b->failed;
    if (n < b->cap - b->len) /* cap is 0 or above len; one byte is kept for the NUL */
        return 0;
    if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) {
        b->failed = -ENOMEM;
        return b->failed;
    }
    if (b->limit != 0 && b->len + n > b->limit) {
        b->failed = -EMSGSIZE;
        return b->failed;
    }
    size_t cap = b->cap * 2;
    if (cap < MIN_CAP)
        cap = MIN_CAP;
    if (cap < b->len + n + 1)
        cap = b->len + n + 1;
    if (b->limit != 0 && cap > b->limit + 1)
        cap = b->limit + 1;
    char *data = realloc(b->data, cap);
    if (data == NULL) {
        b->failed = -ENOMEM;
        return b->failed;
    }
    if (b->data == NULL)
        data[0] = '\0';
    b->data = data;
    b->cap = cap;
    return 0;
}

void cs_buf_add(struct cs_buf *b, const void *p, size_t n)
{
    if (cs_buf_reserve(b, n) < 0 || n == 0)
        return;
    memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void cs_buf_adds(struct cs_buf *b, const char *s)
{
    cs_buf_add(b, s, strlen(s));
}

void cs_buf_addc(struct cs_buf *b, char c)
{
    cs_buf_add(b, &c, 1);
}

void cs_buf_addf(struct cs_buf *b, const char *fmt, ...)
{
    va_list ap;

    /* Two tries: into the room there is, then into the room that the first said it needs. */
    for (int round = 0; round < 2 && b->failed == 0; round++) {
        size_t room = b->cap - b->len;
        va_start(ap, fmt);
        int n = vsnprintf(room > 0 ? b->data + b->len : NULL, room, fmt, ap);
        va_end(ap);
        if (n < 0) {
            b->failed = -ENOMEM;
            break;
        }
        if ((size_t)n < room) {
            b->len += (size_t)n;
            return;
        }
        (void)cs_buf_reserve(b, (size_t)n); /* a failure ends the loop */
    }
    if (b->data != NULL)
        b->data[b->len] = '\0'; /* nothing of what did not fit is left behind */
}

void cs_buf_truncate(struct cs_buf *b, size_t n)
{
    if (n >= b->len)
        return;
    b->len = n;
    b->data[n] = '\0';
}

char *cs_buf_steal(struct cs_buf *b, size_t *len)
{
    if (b->data == NULL)
        (void)cs_buf_reserve(b, 1); /* an empty text is a text too; a failure is asked for below */
    if (b->failed != 0) {
        cs_buf_clear(b);
        return NULL;
    }
    char *data = b->data;
    if (len != NULL)
        *len = b->len;
    *b = (struct cs_buf){.limit = b->limit};
    return data;
}
