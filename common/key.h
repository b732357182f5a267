/* key.h - message keys and the partition of a mailbox. PURE.
 *
 * tenant/mailbox is the key of jobs, feedback, commands, outbox and status; a state key adds
 * /stream, a record key adds /kind/item. Whatever the key, the partition is the mailbox's:
 * (murmur2(tenant "/" mailbox) & 0x7fffffff) mod P, which is what Kafka's Java client does with the
 * key tenant/mailbox. Test vector: "acme/ann@contoso.example" (see tests/unit/test_key.c).
 */
#ifndef CS_COMMON_KEY_H
#define CS_COMMON_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CS_TENANT_MAX  40  /* [a-z0-9-]{1,40} */
#define CS_MAILBOX_MAX 320 /* an address (RFC 5321: 64 + 1 + 255) or an object id */
#define CS_STREAM_MAX  512
#define CS_ID_MAX      512 /* a Graph id */
#define CS_KEY_MAX     (CS_TENANT_MAX + 1 + CS_MAILBOX_MAX + 1 + 16 + 1 + CS_ID_MAX + 64)

uint32_t cs_murmur2(const void *data, size_t n);
int32_t cs_key_partition(const char *tenant, const char *mailbox, int32_t partitions);
/** "tenant/mailbox"; -EMSGSIZE if it does not fit. Returns the length. */
int cs_key_mailbox(char *out, size_t size, const char *tenant, const char *mailbox);
/** "tenant/mailbox/rest". Returns the length or -EMSGSIZE. */
int cs_key_stream(char *out, size_t size, const char *tenant, const char *mailbox,
                  const char *stream);
/**
 * Takes a key apart. rest may be NULL when none is wanted; *rest is "" for a plain mailbox key and
 * points into key. @return 0, -EINVAL (no slash, a part empty, too long, or a bad tenant name)
 */
int cs_key_split(const char *key, size_t n, char tenant[CS_TENANT_MAX + 1],
                 char mailbox[CS_MAILBOX_MAX + 1], const char **rest, size_t *rest_len);
bool cs_tenant_name_ok(const char *name);
bool cs_mailbox_name_ok(
    const char
        *name); /* 1 to CS_MAILBOX_MAX bytes, no '/', no control characters or spaces, lower case */
/** First 8 bytes of SHA-256 of a folder id, as a number; its text form is 16 hex digits. */
uint64_t cs_id_hash(const char *id);

#endif
