#include "cmocka_all.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/admin.h"
#include "common/health.h"

static struct cs_metrics *metrics;
static struct cs_admin *admin;
static char answer[1 << 16];

static int not_ready(void *user, struct cs_buf *out, const char **content_type)
{
    (void)content_type;
    cs_buf_adds(out, user);
    return 503;
}

static int status_json(void *user, struct cs_buf *out, const char **content_type)
{
    (void)user;
    (void)content_type;
    cs_buf_adds(out, "{}");
    return 200;
}

static int too_much(void *user, struct cs_buf *out, const char **content_type)
{
    (void)user;
    (void)content_type;
    out->failed = -ENOMEM;
    return 200;
}

static const struct cs_admin_route routes[] = {
    {"/status.json", status_json, NULL}, {"/too-much", too_much, NULL}, {NULL, NULL, NULL}};

static int set_up(void **state)
{
    (void)state;
    static char reason[] = "no partitions\n";
    if (cs_metrics_new(&metrics) != 0)
        return -1;
    cs_metric_add(cs_metrics_counter(metrics, "crmsync_x_total", "", "X."), 5);
    struct cs_admin_params p = {.listen = "127.0.0.1:0",
                                .metrics = metrics,
                                .readyz = not_ready,
                                .user = reason,
                                .routes = routes};
    return cs_admin_new(&p, &admin);
}

static int tear_down(void **state)
{
    (void)state;
    cs_admin_free(admin);
    cs_metrics_free(metrics);
    cs_admin_free(NULL);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(cs_admin_port(admin)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Sends a request and reads until the other side closes. */
static const char *ask(const char *request)
{
    int fd = dial();
    size_t n = 0;
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 10000), 1);
        ssize_t k = recv(fd, answer + n, sizeof(answer) - 1 - n, 0);
        assert_true(k >= 0);
        if (k == 0)
            break;
        n += (size_t)k;
    }
    answer[n] = '\0';
    assert_int_equal(close(fd), 0);
    return answer;
}

#define REQUEST(method, path) \
    method " " path " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

static void check_answer(const char *request, int status, const char *type, const char *body)
{
    char line[32];
    const char *a = ask(request);
    (void)snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    if (strncmp(a, line, strlen(line)) != 0)
        fail_msg("%s\n%s", request, a);
    assert_non_null(strstr(a, "X-Content-Type-Options: nosniff\r\n"));
    assert_null(strstr(a, "Access-Control"));
    if (type != NULL && strstr(a, type) == NULL)
        fail_msg("%s", a);
    assert_string_equal(strstr(a, "\r\n\r\n") + 4, body);
}

static void test_pages(void **state)
{
    (void)state;
    check_answer(REQUEST("GET", "/livez"), 200, "text/plain", "ok\n");
    check_answer(REQUEST("GET", "/readyz"), 503, "text/plain", "no partitions\n");
    check_answer(REQUEST("GET", "/readyz?verbose"), 503, NULL, "no partitions\n");
    check_answer(REQUEST("GET", "/metrics"), 200, "text/plain; version=0.0.4",
                 "# HELP crmsync_x_total X.\n# TYPE crmsync_x_total counter\ncrmsync_x_total 5\n");
    check_answer(REQUEST("GET", "/status.json"), 200, "application/json", "{}");
    check_answer(REQUEST("HEAD", "/livez"), 200, "Content-Length: 3", "");
    check_answer(REQUEST("GET", "/too-much"), 500, "text/plain", "");
}

static void test_nothing_else(void **state)
{
    (void)state;
    check_answer(REQUEST("GET", "/"), 404, NULL, "no such page\n");
    check_answer(REQUEST("GET", "/metrics/"), 404, NULL, "no such page\n");
    check_answer(REQUEST("GET", "/../etc/passwd"), 404, NULL, "no such page\n");
    check_answer(REQUEST("DELETE", "/metrics"), 405, "Allow: GET, HEAD\r\n", "read-only\n");
    check_answer(REQUEST("OPTIONS", "/metrics"), 405, NULL, "read-only\n");
    check_answer("POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: "
                 "close\r\n\r\nabc",
                 405, NULL, "read-only\n");
}

/* A page that has its own name point to loopback gets nothing. */
static void test_foreign_host_names(void **state)
{
    (void)state;
    check_answer("GET /metrics HTTP/1.1\r\nHost: evil.example:80\r\nConnection: close\r\n\r\n", 421,
                 NULL, "ask by address\n");
    check_answer("GET /livez HTTP/1.1\r\nHost: localhost:80\r\nConnection: close\r\n\r\n", 200,
                 NULL, "ok\n");
    check_answer("GET /livez HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n", 200, NULL,
                 "ok\n");
}

static void test_too_many_connections_leave_it_alive(void **state)
{
    (void)state;
    int fds[64];
    for (int i = 0; i < 64; i++)
        fds[i] = dial();
    for (int i = 0; i < 64; i++)
        assert_int_equal(close(fds[i]), 0);
    check_answer(REQUEST("GET", "/livez"), 200, NULL, "ok\n");
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "127.0.0.1",       "127.0.0.1:",   ":80",
                                      "host:80", "127.0.0.1:65536", "127.0.0.1:8x", "[::1:80",
                                      "::1:80",  "[x]:80",          "127.0.0.1:-1"};
    struct cs_admin *a = NULL;
    struct cs_admin_params p = {.listen = NULL};
    char text[32];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        p.listen = bad[i];
        if (cs_admin_new(&p, &a) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
    }
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", cs_admin_port(admin));
    p.listen = text;
    assert_int_equal(cs_admin_new(&p, &a), -EADDRINUSE);
    p.listen = "localhost:0";
    assert_int_equal(cs_admin_new(&p, &a), 0);
    assert_int_not_equal(cs_admin_port(a), 0);
    cs_admin_free(a);
    p.listen = "[::1]:0";
    int r = cs_admin_new(&p, &a);
    if (r == 0)
        cs_admin_free(a);
    else
        assert_true(r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT); /* a machine without IPv6 */
}

/* --- asking: what a health check does ---------------------------------------------------------- */

static uint16_t port_of(int fd)
{
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

/* A listener that says nothing, or this. */
static int listener(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static int ask_port(const char *host, unsigned port, const char *path, int timeout_ms, char *out,
                    size_t size)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "%s:%u", host, port);
    return cs_health_ask(text, path, timeout_ms, out, size);
}

static void test_asking(void **state)
{
    (void)state;
    char out[64], cut[4], text[64], big[300];
    unsigned port = cs_admin_port(admin);
    assert_int_equal(ask_port("127.0.0.1", port, "/livez", 60000, out, sizeof(out)), 200);
    assert_string_equal(out, "ok\n");
    assert_int_equal(ask_port("0.0.0.0", port, "/readyz", 60000, out, sizeof(out)), 503);
    assert_string_equal(out, "no partitions\n");
    assert_int_equal(ask_port("localhost", port, "/readyz", 60000, cut, sizeof(cut)), 503);
    assert_string_equal(cut, "no ");
    assert_int_equal(cs_health_ask("127.0.0.1:0", "/livez", 60000, out, sizeof(out)), -EINVAL);
    assert_int_equal(cs_health_ask("", "/livez", 60000, out, sizeof(out)), -EINVAL);
    memset(big, '/', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(ask_port("127.0.0.1", port, big, 60000, out, sizeof(out)), -EINVAL);
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    assert_int_equal(cs_health_check(text, "/livez"), 0);
    assert_int_equal(cs_health_check(text, "/readyz"), 69);
    assert_int_equal(cs_health_check("127.0.0.1:0", "/livez"), 78);
}

static void test_asking_who_does_not_answer(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n\r\n\r\n",
                                        "HTTP/1.1 007 Bond\r\n\r\n"};
    char out[64] = "old";
    int fd = listener();
    unsigned port = port_of(fd);
    assert_int_equal(ask_port("127.0.0.1", port, "/livez", 50, out, sizeof(out)), -ETIMEDOUT);
    assert_string_equal(out, "");
    int unheard = accept(fd, NULL, NULL);
    assert_true(unheard >= 0);
    assert_int_equal(close(unheard), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) { /* the other side, once */
            char in[512];
            int c = accept(fd, NULL, NULL);
            ssize_t n = c < 0 ? -1 : recv(c, in, sizeof(in), 0);
            _exit(n > 0 && send(c, wrong[i], strlen(wrong[i]), MSG_NOSIGNAL) >= 0 ? 0 : 1);
        }
        int r = ask_port("127.0.0.1", port, "/livez", 60000, out, sizeof(out)), status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        if (r != -EPROTO)
            fail_msg("%d for: %s", r, wrong[i]);
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(ask_port("127.0.0.1", port, "/livez", 60000, out, sizeof(out)), -ECONNREFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_nothing_else),
        cmocka_unit_test(test_foreign_host_names),
        cmocka_unit_test(test_too_many_connections_leave_it_alive),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_asking),
        cmocka_unit_test(test_asking_who_does_not_answer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
