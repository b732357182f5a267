#include "worker/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <libdeflate.h>

#include "common/buf.h"
#include "common/clock.h"

struct cs_http_request {
    struct cs_http_request *next, **link;
    struct cs_http *h;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    size_t body_len;
    bool body_is_secret;
    struct cs_buf in;
    bool gzip;
    bool too_large;
    struct cs_http_answer answer;
    cs_http_fn fn;
    void *user;
};

struct cs_http {
    CURLM *multi;
    struct cs_http_params p;
    char *ca_file;
    struct cs_http_request *requests;
    size_t open;
    struct libdeflate_decompressor *inflater;
    struct cs_metric *by_class[6], *failed, *bytes, *connections, *seconds;
};

int cs_http_new(const struct cs_http_params *p, struct cs_http **ret)
{
    static const int64_t bounds[] = {10, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000};
    static const char *const classes[] = {"class=\"none\"", "class=\"1xx\"", "class=\"2xx\"",
                                          "class=\"3xx\"",  "class=\"4xx\"", "class=\"5xx\""};
    struct cs_http *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return -ENOMEM;
    h->p = *p;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(h);
        return -EIO;
    }
    h->ca_file = strdup(p->ca_file != NULL ? p->ca_file : "");
    h->multi = curl_multi_init();
    h->inflater = libdeflate_alloc_decompressor();
    if (h->ca_file == NULL || h->multi == NULL || h->inflater == NULL) {
        cs_http_free(h);
        return -ENOMEM;
    }
    curl_multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)p->max_connections);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)p->max_connections);
    curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        h->by_class[i] =
            cs_metrics_counter(p->metrics, "crmsync_http_requests_total", classes[i],
                               "HTTP requests by class of status; none: no whole answer.");
    h->bytes = cs_metrics_counter(p->metrics, "crmsync_http_received_bytes_total", NULL,
                                  "Bytes of answers' bodies on the wire.");
    h->connections = cs_metrics_counter(p->metrics, "crmsync_http_connections_total", NULL,
                                        "Connections opened.");
    h->seconds = cs_metrics_histogram(p->metrics, "crmsync_http_request_seconds", NULL,
                                      "Request sent to answer whole.", bounds,
                                      sizeof(bounds) / sizeof(bounds[0]));
    *ret = h;
    return 0;
}

static void request_free(struct cs_http_request *req)
{
    if (req->easy != NULL)
        curl_easy_cleanup(req->easy);
    curl_slist_free_all(
        req->headers); /* the Authorization line was wiped by whoever ends the request */
    if (req->body_is_secret && req->body != NULL)
        cs_wipe(req->body, req->body_len);
    free(req->body);
    free(req->answer.body);
    cs_buf_clear(&req->in);
    free(req);
}

static void unlink_request(struct cs_http_request *req)
{
    *req->link = req->next;
    if (req->next != NULL)
        req->next->link = req->link;
    req->h->open--;
    if (req->easy != NULL)
        curl_multi_remove_handle(req->h->multi, req->easy);
    for (struct curl_slist *s = req->headers; s != NULL; s = s->next)
        if (strncasecmp(s->data, "Authorization:", 14) == 0)
            cs_wipe(s->data, strlen(s->data));
}

void cs_http_cancel(struct cs_http *h, struct cs_http_request *req)
{
    (void)h;
    if (req == NULL)
        return;
    unlink_request(req);
    request_free(req);
}

void cs_http_free(struct cs_http *h)
{
    if (h == NULL)
        return;
    while (h->requests != NULL)
        cs_http_cancel(h, h->requests);
    if (h->multi != NULL)
        curl_multi_cleanup(h->multi);
    if (h->inflater != NULL)
        libdeflate_free_decompressor(h->inflater);
    free(h->ca_file);
    free(h);
    curl_global_cleanup();
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
    struct cs_http_request *req = user;

    cs_buf_add(&req->in, p, size * n);
    cs_metric_add(req->h->bytes, (int64_t)(size * n));
    if (cs_buf_failed(&req->in) != 0) {
        req->too_large = true;
        return 0;
    }
    return size * n;
}

static void keep_header(const char *line, size_t n, const char *name, char out[CS_HTTP_HEADER_MAX])
{
    size_t k = strlen(name);

    if (n <= k || line[k] != ':' || strncasecmp(line, name, k) != 0)
        return;
    line += k + 1;
    n -= k + 1;
    while (n > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        n--;
    }
    while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
        n--;
    if (n >= CS_HTTP_HEADER_MAX)
        return; /* no value of ours is that long */
    memcpy(out, line, n);
    out[n] = '\0';
}

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
    struct cs_http_request *req = user;
    char encoding[CS_HTTP_HEADER_MAX] = "";

    n *= size;
    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0) { /* an interim answer's headers do not count */
        req->answer.retry_after[0] = '\0';
        req->answer.request_id[0] = '\0';
        req->gzip = false;
    }
    keep_header(p, n, "Retry-After", req->answer.retry_after);
    keep_header(p, n, "request-id", req->answer.request_id);
    keep_header(p, n, "Content-Encoding", encoding);
    if (encoding[0] != '\0')
        req->gzip = strcasecmp(encoding, "gzip") == 0 || strcasecmp(encoding, "x-gzip") == 0;
    return n;
}

static int add_header(struct cs_http_request *req, const char *line)
{
    struct curl_slist *list = curl_slist_append(req->headers, line);

    if (list == NULL)
        return -ENOMEM;
    req->headers = list;
    return 0;
}

static int set_up(struct cs_http_request *req, const struct cs_http_spec *spec)
{
    CURL *e = req->easy;
    int r = 0;

    for (size_t i = 0; r == 0 && i < spec->n_headers; i++)
        r = add_header(req, spec->headers[i]);
    if (r == 0)
        r = add_header(req, "Accept-Encoding: gzip");
    if (r == 0 && spec->bearer != NULL) {
        struct cs_buf line;

        cs_buf_init(&line, 0);
        cs_buf_adds(&line, "Authorization: Bearer ");
        cs_buf_add(&line, cs_secret_reveal(spec->bearer), cs_secret_len(spec->bearer));
        r = cs_buf_failed(&line) == 0 ? add_header(req, line.data) : -ENOMEM;
        if (line.data != NULL)
            cs_wipe(line.data, line.len);
        cs_buf_clear(&line);
    }
    if (r == 0 && spec->body != NULL) {
        r = add_header(req, "Expect:"); /* no 100-continue round trip */
        req->body = malloc(spec->body_len > 0 ? spec->body_len : 1);
        if (req->body == NULL)
            return -ENOMEM;
        memcpy(req->body, spec->body, spec->body_len);
        req->body_len = spec->body_len;
        req->body_is_secret = spec->body_is_secret;
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body_len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, req->body);
    }
    if (r < 0)
        return r;
    if (spec->method != NULL)
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, spec->method);
    if (spec->once)
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, req->headers);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR,
                     "http,https"); /* which of the two, the configuration has checked */
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (req->h->ca_file[0] != '\0')
        curl_easy_setopt(e, CURLOPT_CAINFO, req->h->ca_file);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)req->h->p.connect_timeout_ms);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)req->h->p.request_timeout_ms);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, req);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, req);
    curl_easy_setopt(e, CURLOPT_PRIVATE, req);
    return curl_easy_setopt(e, CURLOPT_URL, spec->url) == CURLE_OK ? 0 : -ENOMEM;
}

int cs_http_submit(struct cs_http *h, const struct cs_http_spec *spec, struct cs_http_request **ret)
{
    struct cs_http_request *req = calloc(1, sizeof(*req));
    int r;

    if (req == NULL)
        return -ENOMEM;
    req->h = h;
    req->fn = spec->fn;
    req->user = spec->user;
    cs_buf_init(&req->in, h->p.max_body_bytes);
    req->easy = curl_easy_init();
    r = req->easy != NULL ? set_up(req, spec) : -ENOMEM;
    if (r == 0 && curl_multi_add_handle(h->multi, req->easy) != CURLM_OK)
        r = -EIO;
    if (r < 0) {
        request_free(req);
        return r;
    }
    req->answer.sent_mono_ms = cs_clock_mono_ms();
    req->next = h->requests;
    req->link = &h->requests;
    if (req->next != NULL)
        req->next->link = &req->next;
    h->requests = req;
    h->open++;
    *ret = req;
    return 0;
}

static enum cs_net net_of(CURLcode code, bool too_large)
{
    switch (code) {
    case CURLE_OK: return CS_NET_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT: return CS_NET_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER: return CS_NET_TLS;
    case CURLE_OPERATION_TIMEDOUT: return CS_NET_TIMEOUT;
    case CURLE_WRITE_ERROR: return too_large ? CS_NET_TOO_LARGE : CS_NET_RESET;
    default: return CS_NET_RESET;
    }
}

static int inflate_with(struct libdeflate_decompressor *d, const char *p, size_t n, size_t max,
                        char **ret, size_t *len)
{
    size_t cap = n < 1024 ? 8192 : n * 6, used = 0;
    char *out;

    if (cap > max)
        cap = max;
    out = malloc(cap + 1);
    if (out == NULL)
        return -ENOMEM;
    while (n > 0) {
        size_t in = 0, got = 0;
        enum libdeflate_result r =
            libdeflate_gzip_decompress_ex(d, p, n, out + used, cap - used, &in, &got);

        if (r == LIBDEFLATE_SUCCESS) {
            used += got;
            p += in;
            n -= in;
        } else if (r == LIBDEFLATE_INSUFFICIENT_SPACE && cap < max) {
            size_t grown = cap > max / 2 ? max : cap * 2;
            char *bigger = realloc(out, grown + 1);

            if (bigger == NULL) {
                free(out);
                return -ENOMEM;
            }
            out = bigger;
            cap = grown;
        } else {
            free(out);
            return r == LIBDEFLATE_INSUFFICIENT_SPACE ? -EMSGSIZE : -EBADMSG;
        }
    }
    out[used] = '\0';
    *ret = out;
    *len = used;
    return 0;
}

int cs_http_inflate(const char *p, size_t n, size_t max, char **ret, size_t *len)
{
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    int r = d != NULL ? inflate_with(d, p, n, max, ret, len) : -ENOMEM;

    if (d != NULL)
        libdeflate_free_decompressor(d);
    return r;
}

static void complete(struct cs_http *h, struct cs_http_request *req, CURLcode code)
{
    long status = 0, connects = 0;
    curl_off_t total_us = 0;
    int r = 0;

    curl_easy_getinfo(req->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(req->easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(req->easy, CURLINFO_TOTAL_TIME_T, &total_us);
    cs_metric_add(h->connections, connects);
    req->answer.net = net_of(code, req->too_large);
    req->answer.status = (int)status;
    if (req->answer.net == CS_NET_OK && req->gzip) {
        r = inflate_with(h->inflater, req->in.data != NULL ? req->in.data : "", req->in.len,
                         h->p.max_body_bytes, &req->answer.body, &req->answer.len);
        if (r < 0)
            req->answer.net = r == -EMSGSIZE ? CS_NET_TOO_LARGE : CS_NET_ENCODING;
    } else if (req->answer.net == CS_NET_OK) {
        cs_buf_add(&req->in, "", 0); /* an empty body is "" */
        req->answer.body = cs_buf_steal(&req->in, &req->answer.len);
        if (req->answer.body == NULL)
            req->answer.net = CS_NET_RESET;
    }
    cs_metric_add(
        h->by_class[req->answer.net == CS_NET_OK && status >= 100 && status < 600 ? status / 100
                                                                                  : 0],
        1);
    cs_metric_observe_milli(h->seconds, total_us / 1000);
    unlink_request(req);
    req->fn(req->user, &req->answer);
    request_free(req);
}

void cs_http_step(struct cs_http *h)
{
    int running = 0, left = 0;
    CURLMsg *msg;

    curl_multi_perform(h->multi, &running);
    while ((msg = curl_multi_info_read(h->multi, &left)) != NULL)
        if (msg->msg == CURLMSG_DONE) {
            struct cs_http_request *req = NULL;

            curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&req);
            complete(h, req, msg->data.result);
        }
}

void cs_http_wait(struct cs_http *h, const int *fds, size_t n, int timeout_ms)
{
    struct curl_waitfd extra[8];

    for (size_t i = 0; i < n && i < 8; i++)
        extra[i] = (struct curl_waitfd){.fd = fds[i], .events = CURL_WAIT_POLLIN};
    curl_multi_poll(h->multi, extra, (unsigned)(n < 8 ? n : 8), timeout_ms, NULL);
}

size_t cs_http_open(const struct cs_http *h)
{
    return h->open;
}
