#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cs_secret {
    size_t n;
    char bytes[]; /* n bytes and a NUL */
};

void cs_wipe(void *p, size_t n)
{
    if (n > 0)
        explicit_bzero(p, n);
}

int cs_secret_new(const char *p, size_t n, struct cs_secret **ret)
{
    if (n > CS_SECRET_MAX)
        return -EMSGSIZE;
    if (n == 0 || memchr(p, '\0', n) != NULL)
        return -EINVAL;
    struct cs_secret *s = malloc(sizeof(*s) + n + 1);
    if (s == NULL)
        return -ENOMEM;
    s->n = n;
    memcpy(s->bytes, p, n);
    s->bytes[n] = '\0';
    *ret = s;
    return 0;
}

int cs_secret_from_file(const char *path, struct cs_secret **ret)
{
    char bytes[CS_SECRET_MAX + 3]; /* a line end, and one byte more to see that it is too long */
    size_t n = 0;
    int r = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    while (n < sizeof(bytes)) {
        ssize_t got = read(fd, bytes + n, sizeof(bytes) - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            r = -errno;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    (void)close(fd); /* only read from */
    if (n > 0 && n < sizeof(bytes) && bytes[n - 1] == '\n') {
        n--;
        if (n > 0 && bytes[n - 1] == '\r')
            n--;
    }
    if (r == 0)
        r = cs_secret_new(bytes, n, ret);
    cs_wipe(bytes, sizeof(bytes));
    return r;
}

void cs_secret_free(struct cs_secret *s)
{
    if (s == NULL)
        return;
    cs_wipe(s->bytes, s->n);
    free(s);
}

const char *cs_secret_reveal(const struct cs_secret *s)
{
    return s->bytes;
}

size_t cs_secret_len(const struct cs_secret *s)
{
    return s->n;
}

bool cs_secret_equal(const struct cs_secret *a, const struct cs_secret *b)
{
    volatile unsigned char diff = 0; /* so that the loop is not left at the first difference */

    if (a->n != b->n)
        return false; /* a length is no secret */
    for (size_t i = 0; i < a->n; i++)
        diff = (unsigned char)(diff | (unsigned char)(a->bytes[i] ^ b->bytes[i]));
    return diff == 0;
}
