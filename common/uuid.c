#include "common/uuid.h"

#include <errno.h>
#include <stddef.h>
#include <sys/random.h>

static int random_bytes(unsigned char *p, size_t n)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = getrandom(p + got, n - got, 0);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return -EIO;
        got += (size_t)r;
    }
    return 0;
}

static void print(unsigned char b[16], unsigned version, char out[CS_UUID_TEXT])
{
    static const char hex[] = "0123456789abcdef";

    b[6] = (unsigned char)((b[6] & 0x0F) | (version << 4));
    b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
    char *p = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = hex[b[i] >> 4];
        *p++ = hex[b[i] & 0xF];
    }
    *p = '\0';
}

int cs_uuid7(int64_t utc_ms, char out[CS_UUID_TEXT])
{
    unsigned char b[16];

    if (random_bytes(b + 6, 10) < 0)
        return -EIO;
    for (int i = 0; i < 6; i++) /* RFC 9562 5.7: 48 bits of Unix milliseconds, big-endian */
        b[i] = (unsigned char)((uint64_t)utc_ms >> (40 - 8 * i));
    print(b, 7, out);
    return 0;
}

int cs_uuid4(char out[CS_UUID_TEXT])
{
    unsigned char b[16];

    if (random_bytes(b, 16) < 0)
        return -EIO;
    print(b, 4, out);
    return 0;
}
