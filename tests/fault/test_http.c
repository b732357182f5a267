/* The HTTP layer against a server that misbehaves in every way that matters: each becomes one word, nothing is
 * followed, nothing grows without bound, and a request that was cancelled is never heard of again. */
#include "worker/http.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>

#include "common/clock.h"
#include "tests/support/script_server.h"

#define DEADLINE_MS 10000
#define OK(len)     "HTTP/1.1 200 OK\r\nContent-Length: " len "\r\n\r\n"

struct bed {
    struct cs_metrics *metrics;
    struct cs_http *http;
    struct script_server *server;
};

struct seen {
    unsigned calls;
    enum cs_net net;
    int status;
    char body[256];
    size_t len;
    char retry_after[CS_HTTP_HEADER_MAX];
    char request_id[CS_HTTP_HEADER_MAX];
};

static void open_bed(struct bed *b, const struct script_step *steps, size_t n, int64_t timeout_ms,
                     size_t max_body)
{
    struct cs_http_params p = {.connect_timeout_ms = 5000,
                               .request_timeout_ms = timeout_ms,
                               .max_body_bytes = max_body,
                               .max_connections = 8};

    assert_int_equal(cs_metrics_new(&b->metrics), 0);
    p.metrics = b->metrics;
    assert_int_equal(cs_http_new(&p, &b->http), 0);
    b->server = script_server_start(steps, n);
    assert_non_null(b->server);
}

static void close_bed(struct bed *b)
{
    cs_http_free(b->http);
    script_server_stop(b->server);
    cs_metrics_free(b->metrics);
}

static void on_answer(void *user, struct cs_http_answer *answer)
{
    struct seen *seen = user;

    seen->calls++;
    seen->net = answer->net;
    seen->status = answer->status;
    seen->len = answer->len;
    if (answer->net == CS_NET_OK) {
        assert_non_null(answer->body);
        assert_int_equal(answer->body[answer->len], '\0');
        memcpy(seen->body, answer->body, answer->len < 255 ? answer->len : 255);
    }
    memcpy(seen->retry_after, answer->retry_after, CS_HTTP_HEADER_MAX);
    memcpy(seen->request_id, answer->request_id, CS_HTTP_HEADER_MAX);
}

static struct cs_http_request *submit(struct bed *b, const char *scheme, struct cs_http_spec *spec,
                                      struct seen *seen)
{
    struct cs_http_request *req = NULL;
    char url[64];

    memset(seen, 0, sizeof(*seen));
    snprintf(url, sizeof(url), "%s://127.0.0.1:%d/v1.0/x", scheme, script_server_port(b->server));
    spec->url = url;
    spec->fn = on_answer;
    spec->user = seen;
    assert_int_equal(cs_http_submit(b->http, spec, &req), 0);
    return req;
}

static void finish(struct bed *b, const struct seen *seen)
{
    int64_t until = cs_clock_mono_ms() + DEADLINE_MS;

    while (seen->calls == 0) {
        assert_true(cs_clock_mono_ms() < until);
        cs_http_step(b->http);
        if (seen->calls == 0)
            cs_http_wait(b->http, NULL, 0, 100);
    }
    assert_int_equal(seen->calls, 1);
}

static void get(struct bed *b, struct seen *seen)
{
    struct cs_http_spec spec = {0};

    submit(b, "http", &spec, seen);
    finish(b, seen);
}

/* One request against one step. */
static void once(const char *bytes, size_t len, enum script_then then, struct seen *seen)
{
    struct script_step steps[] = {{bytes, len, then}};
    struct bed b;

    open_bed(&b, steps, 1, then == SCRIPT_HANG ? 300 : 5000, 1000000);
    get(&b, seen);
    assert_int_equal(cs_http_open(b.http), 0);
    close_bed(&b);
}

static void test_an_answer_comes_whole_with_its_headers(void **state)
{
    struct seen seen;

    (void)state;
    once("HTTP/1.1 429 Too Many Requests\r\nretry-after:  17 \r\nRequest-Id: "
         "abc-1\r\nContent-Length: 5\r\n\r\nhello",
         0, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.net, CS_NET_OK);
    assert_int_equal(seen.status, 429);
    assert_string_equal(seen.body, "hello");
    assert_string_equal(seen.retry_after, "17");
    assert_string_equal(seen.request_id, "abc-1");

    once("HTTP/1.1 503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: "
         "0\r\n\r\n",
         0, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.status, 503);
    assert_string_equal(seen.retry_after, "Fri, 31 Dec 1999 23:59:59 GMT");
    assert_int_equal(seen.len, 0);

    once("HTTP/1.1 410 Gone\r\nTransfer-Encoding: "
         "chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n",
         0, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.status, 410);
    assert_string_equal(seen.body, "{\"a\":1}");
}

static void test_an_interim_answer_does_not_count(void **state)
{
    struct seen seen;

    (void)state;
    once("HTTP/1.1 103 Early Hints\r\nRetry-After: 99\r\nrequest-id: wrong\r\nContent-Encoding: "
         "gzip\r\n\r\n" OK("2") "{}",
         0, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.net, CS_NET_OK);
    assert_int_equal(seen.status, 200);
    assert_string_equal(seen.body, "{}");
    assert_string_equal(seen.retry_after, "");
    assert_string_equal(seen.request_id, "");
}

static void test_an_overlong_header_value_is_left_out(void **state)
{
    struct seen seen;
    char text[600];

    (void)state;
    snprintf(text, sizeof(text),
             "HTTP/1.1 200 OK\r\nrequest-id: %0200d\r\nContent-Length: 2\r\n\r\n{}", 7);
    once(text, 0, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.net, CS_NET_OK);
    assert_string_equal(seen.request_id, "");
}

/* contract: error.broken_transfer */
static void test_what_breaks_off_is_no_answer(void **state)
{
    struct seen seen;

    (void)state;
    once(OK("100") "half a bo", 0, SCRIPT_CLOSE, &seen);
    assert_int_equal(seen.net, CS_NET_RESET);
    once(OK("100") "half a bo", 0, SCRIPT_RESET, &seen);
    assert_int_equal(seen.net, CS_NET_RESET);
    once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf", 0, SCRIPT_CLOSE, &seen);
    assert_int_equal(seen.net, CS_NET_RESET);
    once("HTTP/1.1 200 OK\r\nContent-", 0, SCRIPT_CLOSE, &seen);
    assert_true(seen.net == CS_NET_RESET || (seen.net == CS_NET_OK && seen.len == 0));
    once("", 0, SCRIPT_CLOSE, &seen);
    assert_int_equal(seen.net, CS_NET_RESET);
    once("", 0, SCRIPT_RESET, &seen);
    assert_int_equal(seen.net, CS_NET_RESET);
    once("hello, I am no HTTP server\r\n\r\n", 0, SCRIPT_CLOSE, &seen);
    assert_int_equal(seen.net, CS_NET_RESET);
}

static void test_silence_ends_at_the_time_limit(void **state)
{
    struct seen seen;

    (void)state;
    once("", 0, SCRIPT_HANG, &seen);
    assert_int_equal(seen.net, CS_NET_TIMEOUT);
    once(OK("100") "half a bo", 0, SCRIPT_HANG, &seen);
    assert_int_equal(seen.net, CS_NET_TIMEOUT);
}

/* contract: link.elsewhere */
static void test_a_redirect_is_an_answer_and_is_not_followed(void **state)
{
    struct script_server *trap = script_server_start(NULL, 0);
    struct seen seen;
    char text[200];

    (void)state;
    assert_non_null(trap);
    for (int status = 301; status <= 308; status++) {
        snprintf(text, sizeof(text),
                 "HTTP/1.1 %d Elsewhere\r\nLocation: http://127.0.0.1:%d/v1.0/x\r\nContent-Length: "
                 "0\r\n\r\n",
                 status, script_server_port(trap));
        once(text, 0, SCRIPT_KEEP, &seen);
        assert_int_equal(seen.net, CS_NET_OK);
        assert_int_equal(seen.status, status);
    }
    assert_int_equal(script_server_connections(trap), 0);
    script_server_stop(trap);
}

static void test_a_proxy_of_the_environment_is_not_used(void **state)
{
    struct script_server *trap = script_server_start(NULL, 0);
    struct seen seen;
    char url[64];

    (void)state;
    assert_non_null(trap);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", script_server_port(trap));
    assert_int_equal(setenv("http_proxy", url, 1), 0);
    assert_int_equal(setenv("ALL_PROXY", url, 1), 0);
    once(OK("2") "{}", 0, SCRIPT_KEEP, &seen);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("ALL_PROXY"), 0);
    assert_int_equal(seen.status, 200);
    assert_int_equal(script_server_connections(trap), 0);
    script_server_stop(trap);
}

static void test_a_body_over_the_bound_is_refused(void **state)
{
    static char big[3000];
    struct script_step steps[] = {{big, 0, SCRIPT_HANG}};
    struct seen seen;
    struct bed b;

    (void)state;
    /* no length said: until the close, which never comes */
    snprintf(big, sizeof(big), "HTTP/1.1 200 OK\r\n\r\n%02800d", 0);
    open_bed(&b, steps, 1, 5000, 1000);
    get(&b, &seen);
    assert_int_equal(seen.net, CS_NET_TOO_LARGE);
    close_bed(&b);
}

static size_t gzip_of(const char *p, size_t n, char *out, size_t size)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    size_t k;

    assert_non_null(c);
    k = libdeflate_gzip_compress(c, p, n, out, size);
    assert_true(k > 0);
    libdeflate_free_compressor(c);
    return k;
}

static size_t gzip_answer(const char *p, size_t n, char *out, size_t size)
{
    char packed[70000];
    size_t k = gzip_of(p, n, packed, sizeof(packed));
    int head = snprintf(
        out, size, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", k);

    assert_true((size_t)head + k < size);
    memcpy(out + head, packed, k);
    return (size_t)head + k;
}

static void test_gzip_is_undone_and_broken_gzip_is_no_answer(void **state)
{
    static char text[50000], answer[80000];
    struct seen seen;
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + (i * i / 7) % 26);
    n = gzip_answer(text, sizeof(text), answer, sizeof(answer));
    once(answer, n, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.net, CS_NET_OK);
    assert_int_equal(seen.len, sizeof(text));
    assert_memory_equal(seen.body, text, 255);
    answer[n - 5] ^= 1; /* the checksum */
    once(answer, n, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.net, CS_NET_ENCODING);
    answer[n - 5] ^= 1;
    answer[n / 2] ^= 0x55;
    once(answer, n, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.net, CS_NET_ENCODING);
    once("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 0, SCRIPT_KEEP,
         &seen);
    assert_int_equal(seen.net, CS_NET_ENCODING);
}

static void test_a_gzip_bomb_is_refused(void **state)
{
    static char zeros[3000000], answer[80000];
    struct seen seen;
    size_t n;

    (void)state;
    n = gzip_answer(zeros, sizeof(zeros), answer, sizeof(answer)); /* once() allows 1,000,000 */
    once(answer, n, SCRIPT_KEEP, &seen);
    assert_int_equal(seen.net, CS_NET_TOO_LARGE);
}

static void test_inflate_takes_members_in_a_row(void **state)
{
    char packed[400], *out;
    size_t n, len;

    (void)state;
    n = gzip_of("{\"a\":", 5, packed, sizeof(packed));
    n += gzip_of("1}", 2, packed + n, sizeof(packed) - n);
    assert_int_equal(cs_http_inflate(packed, n, 7, &out, &len), 0);
    assert_int_equal(len, 7);
    assert_string_equal(out, "{\"a\":1}");
    free(out);
    assert_int_equal(cs_http_inflate(packed, n, 6, &out, &len), -EMSGSIZE);
    assert_int_equal(cs_http_inflate(packed, n - 1, 7, &out, &len), -EBADMSG);
    assert_int_equal(cs_http_inflate("x", 1, 7, &out, &len), -EBADMSG);
}

static void test_connections_are_used_again(void **state)
{
    struct script_step steps[] = {{OK("2") "{}", 0, SCRIPT_KEEP},
                                  {OK("2") "{}", 0, SCRIPT_KEEP},
                                  {OK("2") "{}", 0, SCRIPT_KEEP}};
    struct seen seen;
    struct bed b;

    (void)state;
    open_bed(&b, steps, 3, 5000, 1000);
    for (int i = 0; i < 3; i++) {
        get(&b, &seen);
        assert_int_equal(seen.status, 200);
    }
    assert_int_equal(script_server_connections(b.server), 1);
    close_bed(&b);
}

/* A kept connection that the server drops before it answers is no error: the GET goes out again on a new one. */
static void test_a_stale_connection_is_replaced(void **state)
{
    struct script_step steps[] = {
        {OK("2") "{}", 0, SCRIPT_KEEP}, {"", 0, SCRIPT_CLOSE}, {OK("2") "[]", 0, SCRIPT_KEEP}};
    struct seen seen;
    struct bed b;

    (void)state;
    open_bed(&b, steps, 3, 5000, 1000);
    get(&b, &seen);
    get(&b, &seen);
    assert_int_equal(seen.net, CS_NET_OK);
    assert_string_equal(seen.body, "[]");
    assert_int_equal(script_server_requests(b.server), 3);
    close_bed(&b);
}

static void test_a_fresh_connection_that_breaks_is_reported_at_once(void **state)
{
    struct script_step steps[] = {{"", 0, SCRIPT_RESET}, {OK("2") "{}", 0, SCRIPT_KEEP}};
    struct cs_http_spec spec = {.body = "{}", .body_len = 2};
    struct seen seen;
    struct bed b;

    (void)state;
    open_bed(&b, steps, 2, 5000, 1000);
    submit(&b, "http", &spec, &seen);
    finish(&b, &seen);
    assert_int_equal(seen.net, CS_NET_RESET);
    assert_int_equal(script_server_requests(b.server), 1);
    close_bed(&b);
}

static void test_nobody_listens(void **state)
{
    struct cs_http_spec spec = {0};
    struct cs_http_request *req;
    struct script_server *gone = script_server_start(NULL, 0);
    struct seen seen = {0};
    struct bed b;
    char url[64];

    (void)state;
    assert_non_null(gone);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", script_server_port(gone));
    script_server_stop(gone);
    open_bed(&b, NULL, 0, 5000, 1000);
    spec.url = url;
    spec.fn = on_answer;
    spec.user = &seen;
    assert_int_equal(cs_http_submit(b.http, &spec, &req), 0);
    finish(&b, &seen);
    assert_int_equal(seen.net, CS_NET_CONNECT);
    assert_int_equal(seen.status, 0);
    close_bed(&b);
}

static void test_tls_with_somebody_who_has_none(void **state)
{
    struct cs_http_spec spec = {0};
    struct seen seen;
    struct bed b;

    (void)state;
    open_bed(&b, NULL, 0, 1000, 1000); /* never answers: a ClientHello is no HTTP request */
    submit(&b, "https", &spec, &seen);
    finish(&b, &seen);
    assert_true(seen.net == CS_NET_TIMEOUT || seen.net == CS_NET_TLS);
    close_bed(&b);
}

static void test_the_token_goes_with_its_request_only(void **state)
{
    static const char *const headers[] = {"Prefer: IdType=\"ImmutableId\"", "client-request-id: 1"};
    struct script_step steps[] = {{OK("2") "{}", 0, SCRIPT_KEEP}, {OK("2") "{}", 0, SCRIPT_KEEP}};
    struct cs_http_spec with = {.headers = headers, .n_headers = 2},
                        without = {.body = "a=b", .body_len = 3, .body_is_secret = true};
    struct cs_secret *token;
    struct seen seen;
    struct bed b;
    char *text;

    (void)state;
    assert_int_equal(cs_secret_new("t0ken", 5, &token), 0);
    open_bed(&b, steps, 2, 5000, 1000);
    with.bearer = token;
    submit(&b, "http", &with, &seen);
    finish(&b, &seen);
    submit(&b, "http", &without, &seen);
    finish(&b, &seen);
    text = script_server_request(b.server, 0);
    assert_non_null(text);
    assert_memory_equal(text, "GET /v1.0/x HTTP/1.1\r\n", 22);
    assert_non_null(strstr(text, "\r\nAuthorization: Bearer t0ken\r\n"));
    assert_non_null(strstr(text, "\r\nPrefer: IdType=\"ImmutableId\"\r\n"));
    assert_non_null(strstr(text, "\r\nAccept-Encoding: gzip\r\n"));
    free(text);
    text = script_server_request(b.server, 1);
    assert_non_null(text);
    assert_memory_equal(text, "POST /v1.0/x HTTP/1.1\r\n", 23);
    assert_null(strstr(text, "Authorization"));
    assert_null(strstr(text, "Expect"));
    assert_non_null(strstr(text, "\r\n\r\na=b"));
    free(text);
    cs_secret_free(token);
    close_bed(&b);
}

static void test_a_cancelled_request_is_never_heard_of(void **state)
{
    struct script_step steps[] = {{OK("100") "half", 0, SCRIPT_HANG},
                                  {OK("2") "{}", 0, SCRIPT_KEEP}};
    struct cs_http_spec spec = {0};
    struct cs_http_request *req;
    struct seen first, second;
    struct bed b;
    int64_t until = cs_clock_mono_ms() + DEADLINE_MS;

    (void)state;
    open_bed(&b, steps, 2, 5000, 1000);
    req = submit(&b, "http", &spec, &first);
    while (script_server_requests(b.server) == 0) {
        assert_true(cs_clock_mono_ms() < until);
        cs_http_step(b.http);
        cs_http_wait(b.http, NULL, 0, 10);
    }
    cs_http_cancel(b.http, req);
    assert_int_equal(cs_http_open(b.http), 0);
    get(&b, &second);
    assert_int_equal(second.status, 200);
    assert_int_equal(first.calls, 0);
    while (script_server_hung_up(b.server) ==
           0) { /* the connection with half an answer on it is not used again */
        assert_true(cs_clock_mono_ms() < until);
        cs_http_step(b.http);
        cs_http_wait(b.http, NULL, 0, 10);
    }
    close_bed(&b);
}

static void test_open_requests_are_dropped_with_the_owner(void **state)
{
    struct script_step steps[] = {{"", 0, SCRIPT_HANG}, {"", 0, SCRIPT_HANG}};
    struct cs_http_spec spec = {0};
    struct seen seen[2];
    struct bed b;

    (void)state;
    open_bed(&b, steps, 2, 5000, 1000);
    submit(&b, "http", &spec, &seen[0]);
    submit(&b, "http", &spec, &seen[1]);
    cs_http_step(b.http);
    assert_int_equal(cs_http_open(b.http), 2);
    close_bed(&b);
    assert_int_equal(seen[0].calls + seen[1].calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_comes_whole_with_its_headers),
        cmocka_unit_test(test_an_interim_answer_does_not_count),
        cmocka_unit_test(test_an_overlong_header_value_is_left_out),
        cmocka_unit_test(test_what_breaks_off_is_no_answer),
        cmocka_unit_test(test_silence_ends_at_the_time_limit),
        cmocka_unit_test(test_a_redirect_is_an_answer_and_is_not_followed),
        cmocka_unit_test(test_a_proxy_of_the_environment_is_not_used),
        cmocka_unit_test(test_a_body_over_the_bound_is_refused),
        cmocka_unit_test(test_gzip_is_undone_and_broken_gzip_is_no_answer),
        cmocka_unit_test(test_a_gzip_bomb_is_refused),
        cmocka_unit_test(test_inflate_takes_members_in_a_row),
        cmocka_unit_test(test_connections_are_used_again),
        cmocka_unit_test(test_a_stale_connection_is_replaced),
        cmocka_unit_test(test_a_fresh_connection_that_breaks_is_reported_at_once),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_tls_with_somebody_who_has_none),
        cmocka_unit_test(test_the_token_goes_with_its_request_only),
        cmocka_unit_test(test_a_cancelled_request_is_never_heard_of),
        cmocka_unit_test(test_open_requests_are_dropped_with_the_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
