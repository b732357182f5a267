/* http.h - the only owner of the curl multi handle: submit, cancel, completed.
 *
 * HTTP/1.1 keep-alive, gzip received as it is and inflated whole (libdeflate), TLS verified always, redirects never
 * followed, every size and time bounded. One thread: callbacks run inside cs_http_step() only.
 */
#ifndef CS_WORKER_HTTP_H
#define CS_WORKER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/metrics.h"
#include "common/secret.h"
#include "common/verdict.h"

#define CS_HTTP_HEADER_MAX 128

struct cs_http;
struct cs_http_request;

struct cs_http_params {
    const char *ca_file; /* "" or NULL: the system's */
    int64_t connect_timeout_ms;
    int64_t request_timeout_ms; /* connect to last byte */
    size_t max_body_bytes;      /* of an answer, inflated */
    unsigned max_connections;   /* in all */
    struct cs_metrics *metrics;
};

struct cs_http_answer {
    enum cs_net net; /* CS_NET_OK: status and body are whole */
    int status;
    char *
        body; /* decoded, NUL behind it; may be taken by setting it to NULL, else freed after the callback */
    size_t len;
    int64_t sent_mono_ms;
    char retry_after[CS_HTTP_HEADER_MAX]; /* "" if absent */
    char request_id[CS_HTTP_HEADER_MAX];
};

typedef void (*cs_http_fn)(void *user, struct cs_http_answer *answer);

struct cs_http_spec {
    const char *url;                /* whole; copied */
    const struct cs_secret *bearer; /* NULL: no Authorization. Copied into the request */
    const char *const *headers;     /* n lines "Name: value"; copied */
    size_t n_headers;
    const char *method; /* static; NULL: GET without a body, POST with one */
    const char *body;   /* NULL: none. Copied, wiped when done if body_is_secret */
    size_t body_len;
    bool body_is_secret;
    bool
        once; /* must not be carried out twice: on a connection of its own, since libcurl sends a request again when
                  a kept connection turns out to be closed without an answer */
    cs_http_fn fn;
    void *user;
};

/** @return 0, -ENOMEM, -EIO (libcurl would not start) */
int cs_http_new(const struct cs_http_params *p, struct cs_http **ret);
void cs_http_free(struct cs_http *h); /* open requests are cancelled without a callback */
/** @param[out] ret  valid until the callback or cs_http_cancel(). @return 0, -ENOMEM, -EIO */
int cs_http_submit(struct cs_http *h, const struct cs_http_spec *spec,
                   struct cs_http_request **ret);
/** Ends a request; its callback is not called. */
void cs_http_cancel(struct cs_http *h, struct cs_http_request *req);
/** Moves bytes and calls the callbacks of what is complete. */
void cs_http_step(struct cs_http *h);
/** The one call that blocks: until a transfer moves, one of the fds is readable, or timeout_ms. */
void cs_http_wait(struct cs_http *h, const int *fds, size_t n, int timeout_ms);
size_t cs_http_open(const struct cs_http *h);

/** PURE. gzip (one or more members, RFC 1952) to malloc'd bytes with a NUL behind. @return 0, -EBADMSG, -EMSGSIZE, -ENOMEM */
int cs_http_inflate(const char *p, size_t n, size_t max, char **ret, size_t *len);

#endif
