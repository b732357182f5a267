#include "worker/assertion.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "common/json_write.h"
#include "common/uuid.h"

#define LIFE_S 600 /* Entra's own libraries use it */

static void add_base64url(struct cs_buf *out, const unsigned char *p, size_t n)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)p[i] << 16;

        if (i + 1 < n)
            v |= (unsigned)p[i + 1] << 8;
        if (i + 2 < n)
            v |= p[i + 2];
        cs_buf_addc(out, set[v >> 18 & 63]);
        cs_buf_addc(out, set[v >> 12 & 63]);
        if (i + 1 < n)
            cs_buf_addc(out, set[v >> 6 & 63]);
        if (i + 2 < n)
            cs_buf_addc(out, set[v & 63]);
    }
}

static int read_pem(const char *certificate_file, const char *key_file, X509 **cert, EVP_PKEY **key)
{
    FILE *f = fopen(certificate_file, "re");
    int r = f != NULL ? 0 : -errno;

    if (f != NULL) {
        *cert = PEM_read_X509(f, NULL, NULL, NULL);
        fclose(f);
    }
    if (r == 0) {
        f = fopen(key_file, "re");
        r = f != NULL ? 0 : -errno;
    }
    if (r == 0) {
        *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
        fclose(f);
    }
    if (r == 0 && (*cert == NULL || *key == NULL || EVP_PKEY_get_base_id(*key) != EVP_PKEY_RSA ||
                   X509_check_private_key(*cert, *key) != 1))
        r = -EINVAL;
    return r;
}

static int sign(EVP_PKEY *key, const char *p, size_t n, struct cs_buf *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    unsigned char sig[1024]; /* RSA up to 8,192 bits */
    size_t len = sizeof(sig);
    int r = -EINVAL;

    if (ctx == NULL)
        return -ENOMEM;
    if (EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, key) == 1 &&
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1 &&
        (size_t)EVP_PKEY_get_size(key) <= sizeof(sig) &&
        EVP_DigestSign(ctx, sig, &len, (const unsigned char *)p, n) == 1) {
        add_base64url(out, sig, len);
        r = 0;
    }
    EVP_MD_CTX_free(ctx);
    return r;
}

int cs_assertion_make(const char *certificate_file, const char *key_file, const char *client_id,
                      const char *audience, int64_t utc_ms, struct cs_buf *ret)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    char jti[CS_UUID_TEXT];
    struct cs_buf json, thumb;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    size_t begin = ret->len;
    struct cs_jw jw;
    int r;

    cs_buf_init(&json, 0);
    cs_buf_init(&thumb, 0);
    r = read_pem(certificate_file, key_file, &cert, &key);
    if (r < 0)
        goto out;
    r = cs_uuid4(jti);
    if (r < 0)
        goto out;
    if (X509_digest(cert, EVP_sha256(), digest, &digest_len) != 1) {
        r = -EINVAL;
        goto out;
    }
    add_base64url(&thumb, digest, digest_len);
    cs_jw_init(&jw, &json);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "alg", "PS256");
    cs_jw_kstr(&jw, "typ", "JWT");
    cs_jw_kstr(&jw, "x5t#S256", thumb.data);
    cs_jw_object_end(&jw);
    add_base64url(ret, (const unsigned char *)json.data, json.len);
    cs_buf_addc(ret, '.');
    cs_buf_reset(&json);
    cs_jw_init(&jw, &json);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "aud", audience);
    cs_jw_kstr(&jw, "iss", client_id);
    cs_jw_kstr(&jw, "sub", client_id);
    cs_jw_kstr(&jw, "jti", jti);
    cs_jw_ki64(&jw, "nbf", utc_ms / 1000);
    cs_jw_ki64(&jw, "iat", utc_ms / 1000);
    cs_jw_ki64(&jw, "exp", utc_ms / 1000 + LIFE_S);
    cs_jw_object_end(&jw);
    add_base64url(ret, (const unsigned char *)json.data, json.len);
    if (cs_buf_failed(ret) != 0 || cs_buf_failed(&json) != 0) {
        r = -ENOMEM;
        goto out;
    }
    thumb.len = 0;
    r = sign(key, ret->data + begin, ret->len - begin, &thumb);
    if (r == 0) {
        cs_buf_addc(ret, '.');
        cs_buf_add(ret, thumb.data, thumb.len);
        r = cs_buf_failed(ret);
    }
out:
    cs_buf_clear(&json);
    cs_buf_clear(&thumb);
    EVP_PKEY_free(key);
    X509_free(cert);
    return r;
}
