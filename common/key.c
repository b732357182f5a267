/* SHA256_Init() and its two companions need no memory and cannot fail, unlike the EVP calls. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/key.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

uint32_t cs_murmur2(const void *data, size_t n)
{
    const unsigned char *p = data;
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)n; /* the seed of Kafka's Java client */

    for (; n >= 4; p += 4, n -= 4) {
        uint32_t k =
            (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h *= m;
        h ^= k;
    }
    switch (n) {
    case 3: h ^= (uint32_t)p[2] << 16; /* fall through */
    case 2: h ^= (uint32_t)p[1] << 8;  /* fall through */
    case 1:
        h ^= (uint32_t)p[0];
        h *= m;
        break;
    default: break;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h;
}

int32_t cs_key_partition(const char *tenant, const char *mailbox, int32_t partitions)
{
    char key[CS_TENANT_MAX + 1 + CS_MAILBOX_MAX + 1];
    int n = cs_key_mailbox(key, sizeof(key), tenant, mailbox);

    if (n < 0 || partitions < 1)
        return -EINVAL;
    return (int32_t)((cs_murmur2(key, (size_t)n) & 0x7fffffff) % (uint32_t)partitions);
}

/* What snprintf() said, as the functions here say it. */
static int fitted(int n, char *out, size_t size)
{
    if (n >= 0 && (size_t)n < size)
        return n;
    if (size > 0)
        out[0] = '\0';
    return -EMSGSIZE;
}

int cs_key_mailbox(char *out, size_t size, const char *tenant, const char *mailbox)
{
    return fitted(snprintf(out, size, "%s/%s", tenant, mailbox), out, size);
}

int cs_key_stream(char *out, size_t size, const char *tenant, const char *mailbox,
                  const char *stream)
{
    return fitted(snprintf(out, size, "%s/%s/%s", tenant, mailbox, stream), out, size);
}

static bool tenant_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

bool cs_tenant_name_ok(const char *name)
{
    size_t n = 0;

    while (n <= CS_TENANT_MAX && tenant_char(name[n]))
        n++;
    return n > 0 && n <= CS_TENANT_MAX && name[n] == '\0';
}

static bool mailbox_char(char c)
{
    return (unsigned char)c > ' ' && c != 0x7f && c != '/' && !(c >= 'A' && c <= 'Z');
}

bool cs_mailbox_name_ok(const char *name)
{
    size_t n = 0;

    while (n <= CS_MAILBOX_MAX && mailbox_char(name[n]))
        n++;
    return n > 0 && n <= CS_MAILBOX_MAX && name[n] == '\0';
}

int cs_key_split(const char *key, size_t n, char tenant[CS_TENANT_MAX + 1],
                 char mailbox[CS_MAILBOX_MAX + 1], const char **rest, size_t *rest_len)
{
    const char *end = key + n;
    const char *slash = n > 0 ? memchr(key, '/', n) : NULL;

    if (slash == NULL || slash - key > CS_TENANT_MAX)
        return -EINVAL;
    const char *mbox = slash + 1;
    const char *mbox_end = mbox < end ? memchr(mbox, '/', (size_t)(end - mbox)) : NULL;
    bool has_rest = mbox_end != NULL;
    if (!has_rest)
        mbox_end = end;
    if (mbox_end - mbox > CS_MAILBOX_MAX || (has_rest && mbox_end + 1 == end))
        return -EINVAL;

    memcpy(tenant, key, (size_t)(slash - key));
    tenant[slash - key] = '\0';
    memcpy(mailbox, mbox, (size_t)(mbox_end - mbox));
    mailbox[mbox_end - mbox] = '\0';
    /* a NUL inside a part would make it look shorter than it is */
    if (strlen(tenant) != (size_t)(slash - key) || strlen(mailbox) != (size_t)(mbox_end - mbox) ||
        !cs_tenant_name_ok(tenant) || !cs_mailbox_name_ok(mailbox))
        return -EINVAL;
    if (rest != NULL)
        *rest = has_rest ? mbox_end + 1 : "";
    if (rest_len != NULL)
        *rest_len = has_rest ? (size_t)(end - mbox_end - 1) : 0;
    return 0;
}

uint64_t cs_id_hash(const char *id)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX ctx;
    uint64_t h = 0;

    (void)SHA256_Init(&ctx); /* cannot fail */
    (void)SHA256_Update(&ctx, id, strlen(id));
    (void)SHA256_Final(digest, &ctx);
    for (int i = 0; i < 8; i++)
        h = h << 8 | digest[i];
    return h;
}
