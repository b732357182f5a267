#include "tests/support/script_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define REQUESTS_MAX    256
#define REQUEST_BYTES   (256 * 1024)

struct connection {
    int fd;
    char *in;
    size_t len;
    bool hangs;
};

struct script_server {
    pthread_t thread;
    pthread_mutex_t lock;
    int listen_fd, stop_fd, port;
    const struct script_step *steps;
    size_t n_steps;
    const struct script_route *routes;
    struct connection conns[CONNECTIONS_MAX];
    size_t n_conns;
    char *requests[REQUESTS_MAX];
    unsigned n_requests, accepted, hung_up;
};

/* Bytes of the first whole request, 0 if it is not all there. */
static size_t whole_request(const char *p)
{
    const char *end = strstr(p, "\r\n\r\n"), *length = strcasestr(p, "\r\nContent-Length:");
    size_t body = 0;

    if (end == NULL)
        return 0;
    if (length != NULL && length < end)
        body = strtoul(length + 17, NULL, 10);
    return strlen(p) >= (size_t)(end - p) + 4 + body ? (size_t)(end - p) + 4 + body : 0;
}

static void drop(struct script_server *s, size_t i)
{
    close(s->conns[i].fd);
    free(s->conns[i].in);
    s->conns[i] = s->conns[--s->n_conns];
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

/* @return false: the connection is to be dropped */
static bool answer(struct script_server *s, struct connection *c, size_t n)
{
    const struct script_step *step;
    const struct script_route *route = NULL;
    unsigned i;

    if (s->routes != NULL) {
        char kept = c->in[n];

        c->in[n] = '\0';
        for (route = s->routes; strstr(c->in, route->match) == NULL; route++)
            ;
        c->in[n] = kept;
    }
    pthread_mutex_lock(&s->lock);
    i = s->n_requests;
    if (i < REQUESTS_MAX)
        s->requests[i] = strndup(c->in, n);
    s->n_requests++;
    pthread_mutex_unlock(&s->lock);
    memmove(c->in, c->in + n, c->len - n + 1);
    c->len -= n;
    if (route != NULL)
        return send_all(c->fd, route->bytes, strlen(route->bytes));
    if (i >= s->n_steps)
        return false;
    step = &s->steps[i];
    if (!send_all(c->fd, step->bytes, step->len > 0 ? step->len : strlen(step->bytes)))
        return false;
    switch (step->then) {
    case SCRIPT_KEEP: return true;
    case SCRIPT_CLOSE: return false;
    case SCRIPT_HANG: c->hangs = true; return true;
    case SCRIPT_RESET: {
        struct linger now = {.l_onoff = 1, .l_linger = 0};

        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        return false;
    }
    }
    return false;
}

static bool receive(struct script_server *s, struct connection *c)
{
    ssize_t k = recv(c->fd, c->in + c->len, REQUEST_BYTES - c->len - 1, 0);
    size_t n;

    if (k <= 0) {
        pthread_mutex_lock(&s->lock);
        s->hung_up++;
        pthread_mutex_unlock(&s->lock);
        return false;
    }
    c->len += (size_t)k;
    c->in[c->len] = '\0';
    while (!c->hangs && (n = whole_request(c->in)) > 0)
        if (!answer(s, c, n))
            return false;
    return true;
}

static void *run(void *user)
{
    struct script_server *s = user;

    for (;;) {
        struct pollfd fds[CONNECTIONS_MAX + 2] = {{.fd = s->stop_fd, .events = POLLIN},
                                                  {.fd = s->listen_fd, .events = POLLIN}};

        for (size_t i = 0; i < s->n_conns; i++)
            fds[i + 2] = (struct pollfd){.fd = s->conns[i].fd, .events = POLLIN};
        if (poll(fds, s->n_conns + 2, -1) < 0 || fds[0].revents != 0)
            break;
        for (size_t i = s->n_conns; i > 0; i--)
            if (fds[i + 1].revents != 0 && !receive(s, &s->conns[i - 1]))
                drop(s, i - 1);
        if (fds[1].revents != 0 && s->n_conns < CONNECTIONS_MAX) {
            int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
            char *in = malloc(REQUEST_BYTES);

            if (fd < 0 || in == NULL) {
                free(in);
                continue;
            }
            in[0] = '\0';
            s->conns[s->n_conns++] = (struct connection){.fd = fd, .in = in};
            pthread_mutex_lock(&s->lock);
            s->accepted++;
            pthread_mutex_unlock(&s->lock);
        }
    }
    while (s->n_conns > 0)
        drop(s, s->n_conns - 1);
    return NULL;
}

static struct script_server *start(const struct script_step *steps, size_t n,
                                   const struct script_route *routes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct script_server *s = calloc(1, sizeof(*s));
    socklen_t len = sizeof(at);

    if (s == NULL)
        return NULL;
    s->steps = steps;
    s->n_steps = n;
    s->routes = routes;
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&s->lock, NULL);
    if (s->stop_fd < 0 || s->listen_fd < 0 ||
        bind(s->listen_fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(s->listen_fd, 64) < 0 ||
        getsockname(s->listen_fd, (struct sockaddr *)&at, &len) < 0 ||
        pthread_create(&s->thread, NULL, run, s) != 0) {
        close(s->listen_fd);
        close(s->stop_fd);
        free(s);
        return NULL;
    }
    s->port = ntohs(at.sin_port);
    return s;
}

struct script_server *script_server_start(const struct script_step *steps, size_t n)
{
    return start(steps, n, NULL);
}

struct script_server *script_server_start_routes(const struct script_route *routes)
{
    return start(NULL, 0, routes);
}

void script_server_stop(struct script_server *s)
{
    eventfd_write(s->stop_fd, 1);
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < REQUESTS_MAX; i++)
        free(s->requests[i]);
    close(s->listen_fd);
    close(s->stop_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int script_server_port(const struct script_server *s)
{
    return s->port;
}

static unsigned locked(struct script_server *s, const unsigned *value)
{
    unsigned v;

    pthread_mutex_lock(&s->lock);
    v = *value;
    pthread_mutex_unlock(&s->lock);
    return v;
}

unsigned script_server_connections(struct script_server *s)
{
    return locked(s, &s->accepted);
}

unsigned script_server_requests(struct script_server *s)
{
    return locked(s, &s->n_requests);
}

unsigned script_server_hung_up(struct script_server *s)
{
    return locked(s, &s->hung_up);
}

char *script_server_request(struct script_server *s, unsigned i)
{
    char *text = NULL;

    pthread_mutex_lock(&s->lock);
    if (i < s->n_requests && i < REQUESTS_MAX && s->requests[i] != NULL)
        text = strdup(s->requests[i]);
    pthread_mutex_unlock(&s->lock);
    return text;
}
