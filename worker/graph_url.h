/* graph_url.h - builds and checks URLs of Graph. PURE.
 *
 * A bearer token goes only where our own configuration points. So a cursor is stored as path and query, never with a
 * host; it is checked before use (a job's cursor is input from outside); and of a link in an answer only what lies
 * behind the mailbox is kept, put behind our own host and the job's own mailbox.
 */
#ifndef CS_WORKER_GRAPH_URL_H
#define CS_WORKER_GRAPH_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

/** Appends s percent-encoded for one path segment or query value (RFC 3986 unreserved characters stay). */
void cs_url_escape(struct cs_buf *out, const char *s);
/** Appends "/v1.0/users/<mailbox>". */
void cs_graph_user_path(struct cs_buf *out, const char *mailbox);
/**
 * May this cursor of a job be used? It must be "/v1.0/users/<mailbox>/..." (or users('<mailbox>')) of this very mailbox,
 * without dot segments, encoded slashes, backslashes, user part, fragment, control characters or spaces.
 */
bool cs_cursor_is_ours(const char *cursor, const char *mailbox);
/**
 * A next or delta link out of an answer, to a cursor.
 *
 * @param base_url  the configured root; scheme, host and port of the link must be the same
 * @param[out] ret  appended: "/v1.0/users/<mailbox>/..."; nothing on failure
 * @return 0; -EPERM (another place, or a form that is not accepted); -EMSGSIZE (over CS_CURSOR_MAX)
 */
int cs_cursor_of_link(const char *link, const char *base_url, const char *mailbox,
                      struct cs_buf *ret);

/**
 * Where a file is fetched from, or handed to: "host" or "host:port" of an absolute URL in lower case.
 *
 * @param allow_http  also http (tests on loopback); else https only
 * @return 0; -EPERM (another scheme, a user part, or anything unclear)
 */
int cs_url_authority(const char *url, bool allow_http, char *out, size_t size);
/**
 * May a file go there? An upload session's URL is the service's own: the place that we ask anyway, or one of those that
 * Microsoft documents for Outlook's upload sessions (Microsoft Graph: attach large files to Outlook messages), in any cloud.
 */
bool cs_upload_url_is_ours(const char *url, const char *base_url);

#endif
