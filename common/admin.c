#include "common/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <microhttpd.h>

#include "common/clock.h"

#define CONNECTIONS_MAX 32
#define IDLE_MAX_S      10
#define HEADER_MAX      16384              /* bytes of a request, and of what is read at a time */
#define BODY_MAX        (64 * 1024 * 1024) /* bytes of an answer */
#define HEALTH_MS       3000

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

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* "127.0.0.1:8080", "[::1]:0", "localhost:8080" */
static int parse_listen(const char *s, union address *ret, socklen_t *len, bool *loopback)
{
    const char *colon = strrchr(s, ':');
    char host[64];
    unsigned long port = 0;
    size_t n;

    if (colon == NULL || colon[1] == '\0' || strlen(colon + 1) > 5 ||
        colon[1 + strspn(colon + 1, "0123456789")] != '\0')
        return -EINVAL;
    port = strtoul(colon + 1, NULL, 10);
    n = (size_t)(colon - s);
    if (port > 65535 || n == 0 || n >= sizeof(host))
        return -EINVAL;
    memcpy(host, s, n);
    host[n] = '\0';
    memset(ret, 0, sizeof(*ret));
    if (host[0] == '[') {
        if (host[n - 1] != ']')
            return -EINVAL;
        host[n - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &ret->v6.sin6_addr) != 1)
            return -EINVAL;
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons((uint16_t)port);
        *len = sizeof(ret->v6);
        *loopback = IN6_IS_ADDR_LOOPBACK(&ret->v6.sin6_addr);
        return 0;
    }
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                  &ret->v4.sin_addr) != 1)
        return -EINVAL;
    ret->v4.sin_family = AF_INET;
    ret->v4.sin_port = htons((uint16_t)port);
    *len = sizeof(ret->v4);
    *loopback = ntohl(ret->v4.sin_addr.s_addr) >> 24 == 127;
    return 0;
}

static int listen_on(union address *address, socklen_t len, int *ret_fd, uint16_t *ret_port)
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
    union address address;
    socklen_t len = 0;
    int fd = -1, r;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL;
    struct cs_admin *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return -ENOMEM;
    a->p = *p;
    r = parse_listen(p->listen, &address, &len, &a->loopback);
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

/* --- asking ------------------------------------------------------------------------------------ */

static void prefer_loopback(union address *address)
{
    if (address->any.sa_family == AF_INET && address->v4.sin_addr.s_addr == htonl(INADDR_ANY))
        address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr))
        address->v6.sin6_addr = in6addr_loopback;
}

static int wait_for(int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = deadline_ms - cs_clock_mono_ms();
    int r = left <= 0 ? 0 : poll(&p, 1, (int)left);

    return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

static int dial(const union address *address, socklen_t len, int64_t deadline_ms, int *ret)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = 0, error = 0;
    socklen_t n = sizeof(error);

    if (fd < 0)
        return -errno;
    if (connect(fd, &address->any, len) < 0) {
        r = errno == EINPROGRESS ? wait_for(fd, POLLOUT, deadline_ms) : -errno;
        if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
            r = -errno;
        if (r == 0)
            r = -error;
    }
    if (r < 0) {
        (void)close(fd); /* nothing was sent */
        return r;
    }
    *ret = fd;
    return 0;
}

/* Reads to the end, or until out is full: what is behind that is not asked for. */
static int read_answer(int fd, int64_t deadline_ms, char *out, size_t size, size_t *ret)
{
    size_t n = 0;

    while (n < size - 1) {
        int r = wait_for(fd, POLLIN, deadline_ms);
        ssize_t k;

        if (r < 0)
            return r;
        k = recv(fd, out + n, size - 1 - n, 0);
        if (k < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (k == 0)
            break;
        if (k > 0)
            n += (size_t)k;
    }
    out[n] = '\0';
    *ret = n;
    return 0;
}

int cs_admin_ask(const char *listen, const char *path, int timeout_ms, char *answer, size_t size)
{
    static const char head[] = "HTTP/1.1 ";
    int64_t deadline_ms = cs_clock_mono_ms() + timeout_ms;
    char request[256], text[4096];
    const char *body;
    union address address;
    socklen_t len = 0;
    bool loopback;
    size_t got;
    int fd = -1, n, r;

    answer[0] = '\0';
    r = parse_listen(listen, &address, &len, &loopback);
    if (r < 0)
        return r;
    if ((address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port) == 0)
        return -EINVAL;
    prefer_loopback(&address);
    n = snprintf(request, sizeof(request),
                 "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path);
    if (n < 0 || (size_t)n >= sizeof(request))
        return -EINVAL;
    r = dial(&address, len, deadline_ms, &fd);
    if (r < 0)
        return r;
    /* so few bytes fit into the socket's buffer at once */
    if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        r = -EPROTO;
    if (r == 0)
        r = read_answer(fd, deadline_ms, text, sizeof(text), &got);
    (void)close(fd); /* all that is wanted has been read */
    if (r < 0)
        return r;
    body = strstr(text, "\r\n\r\n");
    if (strncmp(text, head, strlen(head)) != 0 || body == NULL)
        return -EPROTO;
    snprintf(answer, size, "%s", body + 4);
    n = atoi(text + strlen(head));
    return n >= 100 && n <= 599 ? n : -EPROTO;
}

int cs_admin_health(const char *listen, const char *path)
{
    char answer[512];
    int r = cs_admin_ask(listen, path, HEALTH_MS, answer, sizeof(answer));

    if (r == MHD_HTTP_OK)
        return 0;
    if (r == -EINVAL) {
        fprintf(stderr, "admin.listen: \"%s\" names no port that could be asked\n", listen);
        return EX_CONFIG;
    }
    answer[strcspn(answer, "\r\n")] = '\0';
    if (r > 0)
        fprintf(stderr, "%s: %d %s\n", path, r, answer);
    else
        fprintf(stderr, "%s: no answer: %s\n", path, strerror(-r));
    return EX_UNAVAILABLE;
}
