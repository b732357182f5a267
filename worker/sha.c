#include "worker/sha.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

void cs_sha_init(struct cs_sha *s)
{
    s->md = EVP_MD_CTX_new();
    s->failed = s->md == NULL || EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) != 1;
}

void cs_sha_add(struct cs_sha *s, const void *p, size_t n)
{
    if (!s->failed && n > 0 && EVP_DigestUpdate(s->md, p, n) != 1)
        s->failed = 1;
}

void cs_sha_str(struct cs_sha *s, const char *text)
{
    cs_sha_add(s, text, strlen(text) + 1);
}

int cs_sha_hex(struct cs_sha *s, char out[CS_SHA_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    out[0] = '\0';
    if (!s->failed && EVP_DigestFinal_ex(s->md, md, &n) != 1)
        s->failed = 1;
    EVP_MD_CTX_free(s->md);
    s->md = NULL;
    if (s->failed)
        return -ENOMEM;
    for (unsigned i = 0; i < n && i < 32; i++) {
        out[i * 2] = digits[md[i] >> 4];
        out[i * 2 + 1] = digits[md[i] & 15];
    }
    out[64] = '\0';
    return 0;
}
