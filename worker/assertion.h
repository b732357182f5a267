/* assertion.h - a signed client assertion for the token endpoint (RFC 7521, 7523), PS256 by certificate and key. */
#ifndef CS_WORKER_ASSERTION_H
#define CS_WORKER_ASSERTION_H

#include <stdint.h>

#include "common/buf.h"

/**
 * Appends a JWT: header {alg PS256, typ JWT, x5t#S256}, claims {aud, iss, sub, jti, nbf, iat, exp (10 minutes)}.
 *
 * @param certificate_file, key_file  PEM
 * @return 0, -EINVAL (a file is no certificate or no RSA key, or they do not belong together), -errno of opening one,
 *         -EIO (no random bytes), -ENOMEM
 */
int cs_assertion_make(const char *certificate_file, const char *key_file, const char *client_id,
                      const char *audience, int64_t utc_ms, struct cs_buf *ret);

#endif
