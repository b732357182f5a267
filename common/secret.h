/* secret.h - strings that are wiped when freed and that no printer takes.
 *
 * The bytes are reached only through cs_secret_reveal(), so every use can be found by grep.
 */
#ifndef CS_COMMON_SECRET_H
#define CS_COMMON_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#define CS_SECRET_MAX 16384 /* bytes; a token with many roles has some 4 KB */

struct cs_secret;

/** Copies n bytes. @return 0, -ENOMEM, -EMSGSIZE (over CS_SECRET_MAX), -EINVAL (n is 0) */
int cs_secret_new(const char *p, size_t n, struct cs_secret **ret);
/** The file's content without the trailing line end. @return as above, or -errno of open/read */
int cs_secret_from_file(const char *path, struct cs_secret **ret);
void cs_secret_free(struct cs_secret *s); /* wipes; NULL accepted */
/** Borrowed, NUL-terminated, until the secret is freed. Never log it, never put it on a topic. */
const char *cs_secret_reveal(const struct cs_secret *s);
size_t cs_secret_len(const struct cs_secret *s);
bool cs_secret_equal(const struct cs_secret *a, const struct cs_secret *b); /* constant time */
/** Overwrites memory in a way that the compiler keeps. */
void cs_wipe(void *p, size_t n);

#endif
