#include "common/health.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/listen.h"

#define HEALTH_MS 3000

static void prefer_loopback(union cs_listen_address *address)
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

static int dial(const union cs_listen_address *address, socklen_t len, int64_t deadline_ms,
                int *ret)
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

int cs_health_ask(const char *listen, const char *path, int timeout_ms, char *answer, size_t size)
{
    static const char head[] = "HTTP/1.1 ";
    int64_t deadline_ms = cs_clock_mono_ms() + timeout_ms;
    char request[256], text[4096];
    const char *body;
    union cs_listen_address address;
    socklen_t len = 0;
    bool loopback;
    size_t got;
    int fd = -1, n, r;

    answer[0] = '\0';
    r = cs_listen_parse(listen, &address, &len, &loopback);
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

int cs_health_check(const char *listen, const char *path)
{
    char answer[512];
    int r = cs_health_ask(listen, path, HEALTH_MS, answer, sizeof(answer));

    if (r == 200)
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

static int help(const char *program, FILE *to, int code)
{
    fprintf(to,
            "usage: %s health [-c FILE] [--ready]\n\n"
            "Asks the daemon that runs here with this configuration for /livez on its admin port, "
            "which\n"
            "admin.listen must name; for health checks where there is no other HTTP client.\n\n"
            "  --ready  ask /readyz\n\n"
            "Exit 0: it answered 200; 69: another answer or none within 3 s; 78: configuration.\n",
            program);
    return code;
}

int cs_health_verb(const char *program, int argc, char **argv, const char *config,
                   int (*ask)(const char *config, const char *page))
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"ready", no_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *page = "/livez";
    int o;

    while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (o) {
        case 'c': config = optarg; break;
        case 'r': page = "/readyz"; break;
        case 'h': return help(program, stdout, 0);
        default: return help(program, stderr, EX_USAGE);
        }
    return optind < argc ? help(program, stderr, EX_USAGE) : ask(config, page);
}
