/* Tokens: fetched once for all who wait, renewed early, kept while renewal fails; the next credential where one is refused;
 * a tenant that fails is asked seldom, and at once when its secret changes. The endpoint is a script. */
#include "worker/token.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "common/clock.h"
#include "common/json_slice.h"
#include "tests/support/script_server.h"
#include "worker/assertion.h"

#define MINUTE 60000
#define HOUR   (60 * MINUTE)

#define ANSWER(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body
#define TOKEN(t, more) \
    ANSWER("200 OK",   \
           "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"" t "\"" more "}")
#define REFUSED(n)                                                                     \
    ANSWER("401 No", "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS" #n \
                     ": secret text\",\"error_codes\":[" #n "]}")

struct bed {
    char folder[64], files[2][96], login[64];
    struct cs_metrics *metrics;
    struct cs_http *http;
    struct cs_tokens *tokens;
    struct script_server *server;
    struct cs_credential credentials[2];
    struct cs_tenant tenant;
    struct cs_tenant *list[1];
    struct cs_tenant_set set;
};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void open_bed(struct bed *b, const struct script_step *steps, size_t n, size_t credentials)
{
    static char name[] = "acme", id[] = "11111111-1111-1111-1111-111111111111",
                client[] = "a client/+";
    struct cs_http_params p = {.connect_timeout_ms = 5000,
                               .request_timeout_ms = 5000,
                               .max_body_bytes = 100000,
                               .max_connections = 4};

    memset(b, 0, sizeof(*b));
    strcpy(b->folder, "/tmp/test_token.XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    b->server = script_server_start(steps, n);
    assert_non_null(b->server);
    snprintf(b->login, sizeof(b->login), "http://127.0.0.1:%d/", script_server_port(b->server));
    for (size_t i = 0; i < credentials; i++) {
        snprintf(b->files[i], sizeof(b->files[i]), "%s/secret%zu", b->folder, i);
        write_file(b->files[i], i == 0 ? "first~+/= secret\n" : "second\n");
        b->credentials[i].secret_file = b->files[i];
    }
    b->tenant = (struct cs_tenant){.name = name,
                                   .tenant_id = id,
                                   .client_id = client,
                                   .credentials = b->credentials,
                                   .n_credentials = credentials};
    b->list[0] = &b->tenant;
    b->set = (struct cs_tenant_set){.tenants = b->list, .n = 1, .refs = 1};
    assert_int_equal(cs_metrics_new(&b->metrics), 0);
    p.metrics = b->metrics;
    assert_int_equal(cs_http_new(&p, &b->http), 0);
    assert_int_equal(cs_tokens_new(b->http, b->login, "https://graph.example/", 60000, NULL,
                                   b->metrics, &b->tokens),
                     0);
}

static void close_bed(struct bed *b)
{
    cs_tokens_free(b->tokens);
    cs_http_free(b->http);
    script_server_stop(b->server);
    cs_metrics_free(b->metrics);
    assert_int_equal(b->set.refs, 1); /* nobody holds the tenants any longer */
    for (size_t i = 0; i < 2; i++)
        if (b->files[i][0] != '\0')
            unlink(b->files[i]);
    assert_int_equal(rmdir(b->folder), 0);
}

static int get(struct bed *b, int64_t now_ms, const struct cs_secret **token,
               struct cs_verdict *why)
{
    return cs_tokens_get(b->tokens, &b->set, &b->tenant, now_ms, token, why);
}

/* Until there is an answer, whatever it is. */
static int fetch(struct bed *b, int64_t now_ms, const struct cs_secret **token,
                 struct cs_verdict *why)
{
    int64_t until = cs_clock_mono_ms() + 10000;
    int r;

    while ((r = get(b, now_ms, token, why)) == -EAGAIN) {
        assert_true(cs_clock_mono_ms() < until);
        cs_http_wait(b->http, NULL, 0, 100);
        cs_http_step(b->http);
    }
    return r;
}

static void settle(struct bed *b) /* whatever is under way ends */
{
    int64_t until = cs_clock_mono_ms() + 10000;

    while (cs_http_open(b->http) > 0) {
        assert_true(cs_clock_mono_ms() < until);
        cs_http_wait(b->http, NULL, 0, 100);
        cs_http_step(b->http);
    }
}

/* contract: token.single_flight */
static void test_one_request_for_all_who_wait(void **state)
{
    struct script_step steps[] = {{TOKEN("t1", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();
    char *text;

    (void)state;
    open_bed(&b, steps, 1, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(get(&b, now_ms, &token, &why), -EAGAIN);
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    assert_string_equal(cs_secret_reveal(token), "t1");
    assert_int_equal(get(&b, now_ms + 10 * MINUTE, &token, &why), 0);
    assert_int_equal(script_server_requests(b.server), 1);
    text = script_server_request(b.server, 0);
    assert_memory_equal(
        text, "POST /11111111-1111-1111-1111-111111111111/oauth2/v2.0/token HTTP/1.1\r\n", 70);
    assert_non_null(strstr(text, "\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
    assert_non_null(strstr(text, "client_id=a%20client%2F%2B&"));
    assert_non_null(strstr(text, "&grant_type=client_credentials"));
    assert_non_null(strstr(text, "&scope=https%3A%2F%2Fgraph.example%2F.default"));
    assert_non_null(strstr(text, "&client_secret=first~%2B%2F%3D%20secret"));
    assert_null(strstr(text, "Authorization"));
    free(text);
    close_bed(&b);
}

/* contract: token.kept token.life */
static void test_renewed_early_and_kept_while_renewal_fails(void **state)
{
    struct script_step steps[] = {{TOKEN("t1", ""), 0, SCRIPT_CLOSE},
                                  {ANSWER("503 Busy", ""), 0, SCRIPT_CLOSE},
                                  {TOKEN("t2", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();

    (void)state;
    open_bed(&b, steps, 3, 1);
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    assert_int_equal(get(&b, now_ms + 54 * MINUTE, &token, &why), 0);
    assert_int_equal(cs_http_open(b.http), 0);
    /* five minutes before its end the next is fetched, and the old one is still given */
    assert_int_equal(get(&b, now_ms + 55 * MINUTE, &token, &why), 0);
    assert_int_equal(cs_http_open(b.http), 1);
    settle(&b);
    assert_int_equal(get(&b, now_ms + 30000, &token, &why), 0);
    assert_string_equal(cs_secret_reveal(token), "t1");
    assert_int_equal(cs_http_open(b.http), 0);
    assert_int_equal(get(&b, now_ms + 57 * MINUTE, &token, &why),
                     0); /* a minute after the failure: again */
    settle(&b);
    assert_int_equal(get(&b, now_ms + 57 * MINUTE, &token, &why), 0);
    assert_string_equal(cs_secret_reveal(token), "t2");
    assert_int_equal(script_server_requests(b.server), 3);
    close_bed(&b);
}

static void test_an_expired_token_is_not_given(void **state)
{
    struct script_step steps[] = {{TOKEN("t1", ""), 0, SCRIPT_CLOSE},
                                  {ANSWER("503 Busy", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();

    (void)state;
    open_bed(&b, steps, 2, 1);
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    assert_int_equal(fetch(&b, now_ms + HOUR, &token, &why), -EACCES);
    assert_int_equal(why.code, CS_CODE_TOKEN_UNAVAILABLE);
    assert_int_equal(why.scope, CS_SCOPE_TENANT);
    close_bed(&b);
}

/* contract: token.refresh_in */
static void test_refresh_in_is_kept_to(void **state)
{
    struct script_step steps[] = {{TOKEN("t1", ",\"refresh_in\":600"), 0, SCRIPT_CLOSE},
                                  {TOKEN("t2", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();

    (void)state;
    open_bed(&b, steps, 2, 1);
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    assert_int_equal(get(&b, now_ms + 9 * MINUTE, &token, &why), 0);
    assert_int_equal(cs_http_open(b.http), 0);
    assert_int_equal(get(&b, now_ms + 11 * MINUTE, &token, &why), 0);
    assert_int_equal(cs_http_open(b.http), 1);
    settle(&b);
    close_bed(&b);
}

/* contract: token.rotation */
static void test_the_next_credential_is_tried(void **state)
{
    struct script_step steps[] = {{REFUSED(7000222), 0, SCRIPT_CLOSE},
                                  {TOKEN("t2", ""), 0, SCRIPT_CLOSE},
                                  {TOKEN("t3", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();
    char *text;

    (void)state;
    open_bed(&b, steps, 3, 2);
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    assert_string_equal(cs_secret_reveal(token), "t2");
    assert_int_equal(fetch(&b, now_ms + HOUR, &token, &why),
                     0); /* the one that works is asked first from now on */
    text = script_server_request(b.server, 2);
    assert_non_null(strstr(text, "&client_secret=second"));
    free(text);
    assert_int_equal(script_server_requests(b.server), 3);
    close_bed(&b);
}

static void test_a_credential_that_cannot_be_read_is_passed_over(void **state)
{
    struct script_step steps[] = {{TOKEN("t1", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();

    (void)state;
    open_bed(&b, steps, 1, 2);
    assert_int_equal(unlink(b.files[0]), 0);
    b.files[0][0] = '\0';
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    assert_string_equal(cs_secret_reveal(token), "t1");
    close_bed(&b);
}

/* contract: token.once_a_minute */
static void test_a_refused_tenant_is_asked_once_a_minute_or_when_its_secret_changes(void **state)
{
    struct script_step steps[] = {{REFUSED(7000215), 0, SCRIPT_CLOSE},
                                  {REFUSED(7000215), 0, SCRIPT_CLOSE},
                                  {TOKEN("t1", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();

    (void)state;
    open_bed(&b, steps, 3, 1);
    assert_int_equal(fetch(&b, now_ms, &token, &why), -EACCES);
    assert_int_equal(why.code, CS_CODE_CREDENTIALS_REFUSED);
    assert_int_equal(why.outcome, CS_RETRY);
    assert_string_equal(why.service_code, "AADSTS7000215"); /* and not a word of the description */
    assert_in_range(why.retry_after_ms, 1, MINUTE + 10000); /* from when it failed */
    for (int i = 0; i < 50; i++)
        assert_int_equal(get(&b, now_ms + i * 1000, &token, &why), -EACCES);
    assert_int_equal(script_server_requests(b.server), 1);
    assert_int_equal(fetch(&b, now_ms + 2 * MINUTE, &token, &why), -EACCES);
    assert_int_equal(script_server_requests(b.server), 2);
    write_file(b.files[0], "a new secret\n");
    assert_int_equal(fetch(&b, now_ms + 2 * MINUTE, &token, &why), 0);
    assert_int_equal(script_server_requests(b.server), 3);
    close_bed(&b);
}

/* contract: token.once_a_minute token.proxy_answer */
static void test_trouble_is_tried_again_after_a_minute(void **state)
{
    struct script_step steps[] = {
        {ANSWER("503 Busy", ""), 0, SCRIPT_CLOSE},
        {"", 0, SCRIPT_RESET},
        {"HTTP/1.1 429 Slow\r\nRetry-After: 2\r\nConnection: close\r\n\r\n{}", 0, SCRIPT_CLOSE},
        {TOKEN("t1", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();

    (void)state;
    open_bed(&b, steps, 4, 1);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(fetch(&b, now_ms, &token, &why), -EACCES);
        assert_int_equal(why.code, CS_CODE_TOKEN_UNAVAILABLE);
        for (int s = 0; s < 60; s++)
            assert_int_equal(get(&b, now_ms + s * 1000, &token, &why), -EACCES);
        assert_int_equal(script_server_requests(b.server), i);
        now_ms += 2 * MINUTE;
    }
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    close_bed(&b);
}

/* contract: token.once_a_minute token.rotation */
static void test_while_all_are_refused_each_credential_has_its_minute(void **state)
{
    struct script_step steps[] = {
        {REFUSED(7000215), 0, SCRIPT_CLOSE}, {REFUSED(7000222), 0, SCRIPT_CLOSE},
        {REFUSED(7000215), 0, SCRIPT_CLOSE}, {REFUSED(7000215), 0, SCRIPT_CLOSE},
        {REFUSED(7000215), 0, SCRIPT_CLOSE}, {TOKEN("t1", ""), 0, SCRIPT_CLOSE}};
    static const char *const asked[] = {"first", "second", "second", "first", "second", "first"};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();

    (void)state;
    open_bed(&b, steps, 6, 2);
    assert_int_equal(fetch(&b, now_ms, &token, &why), -EACCES);
    assert_int_equal(script_server_requests(b.server), 2); /* a rotation must not cost a minute */
    for (unsigned i = 3; i <= 4; i++) {
        now_ms += 2 * MINUTE;
        assert_int_equal(fetch(&b, now_ms, &token, &why), -EACCES);
        assert_int_equal(script_server_requests(b.server), i);
    }
    write_file(b.files[1], "second, mended\n");
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    for (unsigned i = 0; i < 6; i++) {
        char *text = script_server_request(b.server, i);
        bool second = strstr(text, "client_secret=second") != NULL;

        if (second != (strcmp(asked[i], "second") == 0))
            fail_msg("request %u has the other secret", i);
        free(text);
    }
    close_bed(&b);
}

/* contract: token.once_a_minute */
static void test_retry_after_is_kept_to(void **state)
{
    struct script_step steps[] = {
        {"HTTP/1.1 429 Slow\r\nRetry-After: 300\r\nConnection: close\r\n\r\n{}", 0, SCRIPT_CLOSE},
        {TOKEN("t1", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms();

    (void)state;
    open_bed(&b, steps, 2, 1);
    assert_int_equal(fetch(&b, now_ms, &token, &why), -EACCES);
    assert_int_equal(why.code, CS_CODE_TOKEN_UNAVAILABLE);
    assert_in_range(why.retry_after_ms, 290000, 301000);
    assert_int_equal(get(&b, now_ms + 290000, &token, &why), -EACCES);
    assert_int_equal(script_server_requests(b.server), 1);
    assert_int_equal(fetch(&b, now_ms + 302000, &token, &why), 0);
    close_bed(&b);
}

static void test_what_is_no_token_is_none(void **state)
{
    static const char *const bodies[] = {
        ANSWER("200 OK", ""),
        ANSWER("200 OK", "<html>"),
        ANSWER("200 OK", "{}"),
        ANSWER("200 OK", "{\"access_token\":\"\",\"expires_in\":9}"),
        ANSWER("200 OK", "{\"access_token\":\"a b\",\"expires_in\":9}"),
        ANSWER("200 OK", "{\"access_token\":\"a\\r\\nX: y\",\"expires_in\":9}"),
        ANSWER("200 OK", "{\"access_token\":\"a\"}"),
        ANSWER("200 OK", "{\"access_token\":\"a\",\"expires_in\":-1}"),
        ANSWER("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
        ANSWER("500 Oops", "<html>"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct script_step steps[] = {{bodies[i], 0, SCRIPT_CLOSE}};
        const struct cs_secret *token = NULL;
        struct cs_verdict why;
        struct bed b;

        open_bed(&b, steps, 1, 1);
        if (fetch(&b, cs_clock_mono_ms(), &token, &why) != -EACCES ||
            why.code != CS_CODE_TOKEN_UNAVAILABLE)
            fail_msg("taken: %s", bodies[i]);
        close_bed(&b);
    }
}

/* Graph's 401: another token, once for all requests that had the old one. */
static void test_a_refused_token_is_replaced_once(void **state)
{
    struct script_step steps[] = {{TOKEN("t1", ""), 0, SCRIPT_CLOSE},
                                  {TOKEN("t2", ""), 0, SCRIPT_CLOSE}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;
    int64_t now_ms = cs_clock_mono_ms(), sent_ms;

    (void)state;
    open_bed(&b, steps, 2, 1);
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    sent_ms = cs_clock_mono_ms();
    cs_tokens_refused(b.tokens, "acme", sent_ms);
    cs_tokens_refused(b.tokens, "acme", sent_ms);
    cs_tokens_refused(b.tokens, "unknown", sent_ms);
    assert_int_equal(fetch(&b, now_ms, &token, &why), 0);
    assert_string_equal(cs_secret_reveal(token), "t2");
    cs_tokens_refused(b.tokens, "acme", sent_ms - 1000); /* sent with the old one */
    assert_int_equal(get(&b, now_ms, &token, &why), 0);
    assert_int_equal(script_server_requests(b.server), 2);
    close_bed(&b);
}

static void test_freed_while_a_request_runs(void **state)
{
    struct script_step steps[] = {{"", 0, SCRIPT_HANG}};
    const struct cs_secret *token = NULL;
    struct cs_verdict why;
    struct bed b;

    (void)state;
    open_bed(&b, steps, 1, 1);
    assert_int_equal(get(&b, cs_clock_mono_ms(), &token, &why), -EAGAIN);
    cs_http_step(b.http);
    assert_int_equal(b.set.refs, 2);
    close_bed(&b);
}

/* ---- assertions ---------------------------------------------------------------------------------------- */

static size_t from_base64url(const char *p, size_t n, unsigned char *out)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0, have = 0;
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        const char *at = strchr(set, p[i]);

        assert_non_null(at);
        bits = (bits << 6 | (unsigned)(at - set)) & 0xffffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[len++] = (unsigned char)(bits >> have);
        }
    }
    return len;
}

static void make_pair(const char *cert_file, const char *key_file, EVP_PKEY **key, X509 **cert)
{
    FILE *f;

    *key = EVP_RSA_gen(2048);
    *cert = X509_new();
    assert_non_null(*key);
    assert_non_null(*cert);
    ASN1_INTEGER_set(X509_get_serialNumber(*cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(*cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(*cert), 3600);
    assert_int_equal(X509_set_pubkey(*cert, *key), 1);
    assert_true(X509_sign(*cert, *key, EVP_sha256()) > 0);
    f = fopen(cert_file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, *cert), 1);
    fclose(f);
    f = fopen(key_file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, *key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

static bool signature_is_good(EVP_PKEY *key, const char *text, size_t n, const unsigned char *sig,
                              size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool good = EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, key) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 32) == 1 &&
                EVP_DigestVerify(ctx, sig, len, (const unsigned char *)text, n) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

/* contract: token.assertion */
static void test_an_assertion_is_signed_and_says_who(void **state)
{
    char folder[] = "/tmp/test_token.XXXXXX", cert_file[64], key_file[64], text[512], claim[128];
    unsigned char part[2048], digest[EVP_MAX_MD_SIZE], thumb[64];
    unsigned digest_len;
    struct cs_js root = {0};
    const char *dot1, *dot2;
    struct cs_buf jwt;
    EVP_PKEY *key;
    X509 *cert;
    int64_t v;
    size_t n;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(cert_file, sizeof(cert_file), "%s/cert", folder);
    snprintf(key_file, sizeof(key_file), "%s/key", folder);
    make_pair(cert_file, key_file, &key, &cert);
    cs_buf_init(&jwt, 0);
    assert_int_equal(cs_assertion_make(cert_file, key_file, "client", "https://login/t/token",
                                       INT64_C(1700000000999), &jwt),
                     0);
    dot1 = strchr(jwt.data, '.');
    assert_non_null(dot1);
    dot2 = strchr(dot1 + 1, '.');
    assert_non_null(dot2);

    n = from_base64url(jwt.data, (size_t)(dot1 - jwt.data), part);
    assert_int_equal(cs_js_check((char *)part, n, 4, &root, NULL), 0);
    assert_true(cs_js_str_is(cs_js_get(root, "alg"), "PS256"));
    assert_true(cs_js_str_is(cs_js_get(root, "typ"), "JWT"));
    assert_true(cs_js_str_into(cs_js_get(root, "x5t#S256"), text, sizeof(text)) == 43);
    assert_int_equal(from_base64url(text, 43, thumb), 32);
    assert_int_equal(X509_digest(cert, EVP_sha256(), digest, &digest_len), 1);
    assert_memory_equal(thumb, digest, 32);

    n = from_base64url(dot1 + 1, (size_t)(dot2 - dot1 - 1), part);
    assert_int_equal(cs_js_check((char *)part, n, 4, &root, NULL), 0);
    assert_true(cs_js_str_is(cs_js_get(root, "aud"), "https://login/t/token"));
    assert_true(cs_js_str_is(cs_js_get(root, "iss"), "client"));
    assert_true(cs_js_str_is(cs_js_get(root, "sub"), "client"));
    assert_int_equal(cs_js_str_into(cs_js_get(root, "jti"), claim, sizeof(claim)), 36);
    assert_int_equal(cs_js_i64(cs_js_get(root, "nbf"), &v), 0);
    assert_int_equal(v, 1700000000);
    assert_int_equal(cs_js_i64(cs_js_get(root, "exp"), &v), 0);
    assert_int_equal(v, 1700000600);

    n = from_base64url(dot2 + 1, strlen(dot2 + 1), part);
    assert_true(signature_is_good(key, jwt.data, (size_t)(dot2 - jwt.data), part, n));
    part[5] ^= 1;
    assert_false(signature_is_good(key, jwt.data, (size_t)(dot2 - jwt.data), part, n));
    cs_buf_clear(&jwt);
    EVP_PKEY_free(key);
    X509_free(cert);

    /* a key of another certificate, and files that are neither */
    make_pair(cert_file, "/dev/null", &key, &cert);
    assert_int_equal(cs_assertion_make(cert_file, key_file, "client", "x", 0, &jwt), -EINVAL);
    assert_int_equal(cs_assertion_make(key_file, key_file, "client", "x", 0, &jwt), -EINVAL);
    assert_int_equal(cs_assertion_make(cert_file, cert_file, "client", "x", 0, &jwt), -EINVAL);
    assert_int_equal(unlink(key_file), 0);
    assert_int_equal(cs_assertion_make(cert_file, key_file, "client", "x", 0, &jwt), -ENOENT);
    cs_buf_clear(&jwt);
    EVP_PKEY_free(key);
    X509_free(cert);
    assert_int_equal(unlink(cert_file), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_request_for_all_who_wait),
        cmocka_unit_test(test_renewed_early_and_kept_while_renewal_fails),
        cmocka_unit_test(test_an_expired_token_is_not_given),
        cmocka_unit_test(test_refresh_in_is_kept_to),
        cmocka_unit_test(test_the_next_credential_is_tried),
        cmocka_unit_test(test_a_credential_that_cannot_be_read_is_passed_over),
        cmocka_unit_test(test_a_refused_tenant_is_asked_once_a_minute_or_when_its_secret_changes),
        cmocka_unit_test(test_trouble_is_tried_again_after_a_minute),
        cmocka_unit_test(test_while_all_are_refused_each_credential_has_its_minute),
        cmocka_unit_test(test_retry_after_is_kept_to),
        cmocka_unit_test(test_what_is_no_token_is_none),
        cmocka_unit_test(test_a_refused_token_is_replaced_once),
        cmocka_unit_test(test_freed_while_a_request_runs),
        cmocka_unit_test(test_an_assertion_is_signed_and_says_who),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
