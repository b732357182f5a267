#include "common/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "common/listen.h"

#define CONNECTIONS_MAX 32
#define IDLE_MAX_S      10
#define HEADER_MAX      16384              /* bytes of a request, and of what is read at a time */
#define BODY_MAX        (64 * 1024 * 1024) /* bytes of an answer */

struct cs_admin {
    struct cs_admin_params p;
    struct MHD_Daemon *daemon;
    uint16_t port;
    bool loopback;
};

/* --- what is asked ----------------------------------------------------------------------------- */

/* Is this Host header an address or localhost? While we listen on loopback, a name means that a web page
 * has had its own name point here (DNS rebinding) to read us through somebody's browser. */
static bool host_is_ours(const char *host)
{
    char name[64];
    struct in_addr v4;
    size_t n;

    if (host == NULL)
        return true; /* HTTP/1.0: no browser's */
    if (host[0] == '[')
        return true; /* an IPv6 address */
    n = strcspn(host, ":");
    if (n >= sizeof(name))
        return false;
    memcpy(name, host, n);
    name[n] = '\0';
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &v4) == 1;
}

static int call(cs_admin_fn fn, void *user, struct cs_buf *body, const char **type)
{
    if (fn != NULL)
        return fn(user, body, type);
    cs_buf_adds(body, "ok\n");
    return MHD_HTTP_OK;
}

/* The status, or 0: no such path. */
static int answer(const struct cs_admin *a, const char *path, struct cs_buf *body,
                  const char **type)
{
    if (strcmp(path, "/livez") == 0)
        return call(a->p.livez, a->p.user, body, type);
    if (strcmp(path, "/readyz") == 0)
        return call(a->p.readyz, a->p.user, body, type);
    if (strcmp(path, "/metrics") == 0 && a->p.metrics != NULL) {
        *type = "text/plain; version=0.0.4; charset=utf-8";
        cs_metrics_print(a->p.metrics, body);
        return MHD_HTTP_OK;
    }
    for (const struct cs_admin_route *r = a->p.routes; r != NULL && r->path != NULL; r++) {
        if (strcmp(path, r->path) == 0) {
            *type = "application/json";
            return r->fn(r->user, body, type);
        }
    }
    return 0;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    const struct cs_admin *a = user;
    const char *type = "text/plain; charset=utf-8";
    struct MHD_Response *response = NULL;
    enum MHD_Result r = MHD_NO;
    struct cs_buf body;
    bool reads =
        strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    int status;

    (void)version;
    (void)upload; /* nothing here takes a body: the answer goes out before one is read */
    (void)upload_size;
    (void)state;
    cs_buf_init(&body, BODY_MAX);
    if (a->loopback &&
        !host_is_ours(MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST))) {
        status = MHD_HTTP_MISDIRECTED_REQUEST;
        cs_buf_adds(&body, "ask by address\n");
    } else if (!reads) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
        cs_buf_adds(&body, "read-only\n");
    } else {
        status = answer(a, path, &body, &type);
        if (status == 0) {
            status = MHD_HTTP_NOT_FOUND;
            cs_buf_adds(&body, "no such page\n");
        }
    }
    if (cs_buf_failed(&body) != 0) {
        cs_buf_clear(&body);
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        type = "text/plain; charset=utf-8";
    }
    size_t n = body.len;
    char *data = cs_buf_steal(&body, NULL);
    if (data == NULL)
        return MHD_NO; /* no memory for anything: the connection is closed */
    response = MHD_create_response_from_buffer(n, data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(data);
        return MHD_NO;
    }
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
        (reads || MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES))
        r = MHD_queue_response(c, (unsigned)status, response);
    MHD_destroy_response(response); /* ours only: the queue has its own reference */
    return r;
}

/* --- listening --------------------------------------------------------------------------------- */

static int listen_on(union cs_listen_address *address, socklen_t len, int *ret_fd,
                     uint16_t *ret_port)
{
    int one = 1, r = 0;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    /* a restart must not wait for the old connections' last packets */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, &address->any, len) < 0 || listen(fd, CONNECTIONS_MAX) < 0 ||
        getsockname(fd, &address->any, &len) < 0) {
        r = -errno;
        (void)close(fd); /* nothing was done with it */
        return r;
    }
    *ret_port =
        ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
    *ret_fd = fd;
    return 0;
}

int cs_admin_new(const struct cs_admin_params *p, struct cs_admin **ret)
{
    union cs_listen_address address;
    socklen_t len = 0;
    int fd = -1, r;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL;
    struct cs_admin *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return -ENOMEM;
    a->p = *p;
    r = cs_listen_parse(p->listen, &address, &len, &a->loopback);
    if (r < 0)
        goto out;
    r = listen_on(&address, len, &fd, &a->port);
    if (r < 0)
        goto out;
    if (address.any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    a->daemon =
        MHD_start_daemon(flags, a->port, NULL, NULL, on_request, a, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_MAX_S,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_MAX, MHD_OPTION_END);
    if (a->daemon == NULL) {
        r = -ENOMEM; /* it says no more; threads and memory are all it needs now */
        goto out;
    }
    fd = -1; /* the daemon closes it */
    *ret = a;
    a = NULL;
out:
    if (fd >= 0)
        (void)close(fd); /* listening for nobody */
    free(a);
    return r;
}

uint16_t cs_admin_port(const struct cs_admin *a)
{
    return a->port;
}

void cs_admin_free(struct cs_admin *a)
{
    if (a == NULL)
        return;
    MHD_stop_daemon(a->daemon);
    free(a);
}
