/* admin.h - the daemons' HTTP port (libmicrohttpd; the only file that includes it is admin.c).
 *
 * GET and HEAD of /livez, /readyz, /metrics and what the daemon adds; anything else is 404 or 405.
 * Loopback by default; read-only; no CORS. At most 32 connections, idle for at most 10 s. While listening
 * on loopback a Host header that is a name other than localhost is refused (421): else a web page could
 * read this port through a browser. Answers come from one thread of libmicrohttpd, so the callbacks must
 * be thread-safe and quick.
 */
#ifndef CS_COMMON_ADMIN_H
#define CS_COMMON_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/metrics.h"

struct cs_admin;

/** Writes a body; returns the HTTP status. content_type may be changed (static string); before the call it
 * is plain text for livez and readyz, JSON for routes. If the buffer fails the answer is 500. */
typedef int (*cs_admin_fn)(void *user, struct cs_buf *out, const char **content_type);

struct cs_admin_route {
    const char *path; /* "/status.json" */
    cs_admin_fn fn;
    void *user;
};

struct cs_admin_params {
    const char *listen;         /* "127.0.0.1:8080", "[::1]:0"; port 0: any free one */
    struct cs_metrics *metrics; /* borrowed, for /metrics */
    /* live: the loop turned lately; ready: partitions assigned, able to work. A short reason goes to out. */
    cs_admin_fn livez, readyz; /* NULL: always 200 */
    void *user;
    const struct cs_admin_route *routes; /* ends with a NULL path; may be NULL; borrowed */
};
/** p is copied, what it points to is borrowed. @return 0, -EINVAL (address not understood), -EADDRINUSE or another -errno of listening, -ENOMEM */
int cs_admin_new(const struct cs_admin_params *p, struct cs_admin **ret);
uint16_t cs_admin_port(const struct cs_admin *a);
void cs_admin_free(struct cs_admin *a); /* returns when no callback runs any more; NULL accepted */

#endif
