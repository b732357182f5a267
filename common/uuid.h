/* uuid.h - UUIDv7 (RFC 9562): time-ordered ids of jobs, and v4 for client-request-id. */
#ifndef CS_COMMON_UUID_H
#define CS_COMMON_UUID_H

#include <stdint.h>

#define CS_UUID_TEXT 37 /* 36 characters and NUL */

/** @return 0, or -EIO when the system gives no random bytes */
int cs_uuid7(int64_t utc_ms, char out[CS_UUID_TEXT]);
int cs_uuid4(char out[CS_UUID_TEXT]);

#endif
