/* http.c - HTTP and TLS. */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libdeflate.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "conf.h"
#include "control.h"
#include "limits.h"
#include "service.h"

#define BODY_MAX    (8U << 20)
#define GZIP_FROM   600 /* bytes: below it compression gains nothing */
#define CONNECTIONS 512
#define GRAPH_JSON \
    "application/" \
    "json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"

struct sim_http;

/* Which of the two ports a request came to. */
struct port_ref {
    struct sim_http *h;
    bool is_control;
};

struct sim_http {
    struct sim *sim;
    struct port_ref ref[2];
    struct MHD_Daemon *graph, *control;
    const char *scheme;
    char *cert, *key; /* PEM text */
    unsigned port;
};

/* A request while it arrives. */
struct arrival {
    char *url;
    struct cs_buf body;
    bool too_large, started;
};

/* A body that ends early with a reset. */
struct broken {
    char *data;
    size_t len;
    size_t reset_at;
    int fd;
};

static void *on_uri(void *user, const char *uri, struct MHD_Connection *connection)
{
    struct arrival *a = sim_alloc(1, sizeof(*a));

    (void)user;
    (void)connection;
    a->url = sim_strdup(uri);
    cs_buf_init(&a->body, 0);
    return a;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct arrival *a = *con_cls;

    (void)user;
    (void)connection;
    (void)code;
    if (a == NULL)
        return;
    free(a->url);
    cs_buf_clear(&a->body);
    free(a);
    *con_cls = NULL;
}

static int fd_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    return info != NULL ? info->connect_fd : -1;
}

/* ---- answers ----------------------------------------------------------------------------------------- */

/* @return true: the body is compressed now */
static bool compress_body(const struct sim *sim, struct cs_buf *body)
{
    struct libdeflate_compressor *c;
    char *out;
    size_t n;

    if (sim->conf->gzip_level == 0 || body->len < GZIP_FROM)
        return false;
    c = libdeflate_alloc_compressor((int)sim->conf->gzip_level);
    if (c == NULL)
        return false;
    out = sim_alloc(1, body->len);
    n = libdeflate_gzip_compress(c, body->data, body->len, out, body->len);
    libdeflate_free_compressor(c);
    if (n > 0) {
        cs_buf_reset(body);
        cs_buf_add(body, out, n);
    }
    free(out);
    return n > 0;
}

static ssize_t read_broken(void *user, uint64_t at, char *buf, size_t max)
{
    struct broken *b = user;
    size_t n;

    if (at >= b->reset_at) {
        struct linger hard = {1, 0};

        /* a reset, not an orderly end: what is in flight is lost as well */
        (void)setsockopt(b->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    n = b->reset_at - (size_t)at;
    n = n < max ? n : max;
    memcpy(buf, b->data + at, n);
    return (ssize_t)n;
}

static void free_broken(void *user)
{
    struct broken *b = user;

    free(b->data);
    free(b);
}

static struct MHD_Response *make_response(struct cs_buf *body, const struct sim_transfer *t, int fd)
{
    size_t len = body->len;
    char *data = cs_buf_steal(body, NULL);

    if (t != NULL && t->truncate_at >= 0 && (size_t)t->truncate_at < len)
        len = (size_t)t->truncate_at;
    if (t != NULL && t->reset_at >= 0 && (size_t)t->reset_at < len) {
        struct broken *b = sim_alloc(1, sizeof(*b));

        *b = (struct broken){data, len, (size_t)t->reset_at, fd};
        return MHD_create_response_from_callback(len, 32768, read_broken, b, free_broken);
    }
    if (data == NULL)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    return MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result send_answer(struct sim_http *h, struct MHD_Connection *connection,
                                   struct sim_answer *ans, const struct sim_transfer *t,
                                   const char *client_request_id)
{
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept-Encoding");
    bool gzip = t != NULL && accept != NULL && strcasestr(accept, "gzip") != NULL &&
                compress_body(h->sim, &ans->body);
    struct MHD_Response *r;
    enum MHD_Result result;
    struct timespec ts;
    char id[37];

    if (gzip && t->gzip_corrupt)
        for (size_t i = ans->body.len / 2; i < ans->body.len && i < ans->body.len / 2 + 16; i++)
            ans->body.data[i] = (char)(ans->body.data[i] ^ 0x5a);
    clock_gettime(CLOCK_REALTIME, &ts);
    sim_guid((uint64_t)ts.tv_nsec, (uint64_t)ts.tv_sec, id);
    r = make_response(&ans->body, t, fd_of(connection));
    if (r == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(r, "Content-Type",
                                  ans->content_type != NULL ? ans->content_type
                                  : t != NULL               ? GRAPH_JSON
                                                            : "application/json");
    if (gzip)
        (void)MHD_add_response_header(r, "Content-Encoding", "gzip");
    if (t != NULL) {
        (void)MHD_add_response_header(r, "Vary", "Accept-Encoding");
        (void)MHD_add_response_header(r, "request-id", id);
        (void)MHD_add_response_header(r, "client-request-id",
                                      client_request_id != NULL ? client_request_id : id);
        (void)MHD_add_response_header(
            r, "x-ms-ags-diagnostic",
            "{\"ServerInfo\":{\"DataCenter\":\"Simulated\",\"Slice\":\"E\",\"Ring\":\"1\","
            "\"ScaleUnit\":\"001\",\"RoleInstance\":\"SIM0000\"}}");
    }
    for (size_t i = 0; i < ans->n_headers; i++)
        (void)MHD_add_response_header(r, ans->header[i].name, ans->header[i].value);
    result = MHD_queue_response(connection, (unsigned)ans->status, r);
    MHD_destroy_response(r);
    return result;
}

/* ---- Graph port ------------------------------------------------------------------------------------------ */

struct prefers {
    struct sim_call *call;
};

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    struct sim_call *call = ((struct prefers *)user)->call;

    (void)kind;
    if (strcasecmp(key, "Prefer") == 0 && value != NULL && call->n_prefer < SIM_PREFERS)
        call->prefer[call->n_prefer++] = value;
    return MHD_YES;
}

static enum MHD_Result graph_request(struct sim_http *h, struct MHD_Connection *connection,
                                     const char *method, struct arrival *a)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    char origin[256];
    struct sim_answer ans;
    struct sim_transfer transfer = {-1, -1, false, false};
    struct sim_call call;
    struct prefers prefers = {&call};
    enum MHD_Result result = MHD_NO;

    memset(&call, 0, sizeof(call));
    if (host != NULL && strlen(host) < 200)
        snprintf(origin, sizeof(origin), "%s://%s", h->scheme, host);
    else
        snprintf(origin, sizeof(origin), "%s://127.0.0.1:%u", h->scheme, h->port);
    call.sim = h->sim;
    call.arrived_ms = sim_limit_now_ms();
    call.fd = fd_of(connection);
    call.method = method;
    call.url = a->url;
    call.origin = origin;
    call.authorization = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    call.client_request_id =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "client-request-id");
    call.if_match = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-Match");
    call.content_range = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Range");
    call.body = a->body.data != NULL ? a->body.data : "";
    call.body_len = a->body.len;
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, on_header, &prefers);
    sim_answer_init(&ans);
    if (a->too_large)
        sim_answer_error(&ans, 413, "RequestEntityTooLarge", "The request is too large.");
    else
        sim_serve(&call, &ans, &transfer);
    if (!transfer.drop)
        result = send_answer(h, connection, &ans, &transfer, call.client_request_id);
    sim_answer_clear(&ans);
    return result;
}

static enum MHD_Result control_request(struct sim_http *h, struct MHD_Connection *connection,
                                       const char *method, struct arrival *a)
{
    struct sim_request req;
    struct sim_answer ans;
    enum MHD_Result result;

    sim_answer_init(&ans);
    if (a->too_large || sim_request_init(&req, h->sim, method, a->url) < 0) {
        sim_answer_error(&ans, 400, "BadRequest", "malformed");
        memset(&req, 0, sizeof(req));
    } else {
        req.body = a->body.data != NULL ? a->body.data : "";
        req.body_len = a->body.len;
        sim_control_handle(&req, &ans);
    }
    result = send_answer(h, connection, &ans, NULL, NULL);
    sim_answer_clear(&ans);
    sim_request_clear(&req);
    return result;
}

/* Called for the headers, for each piece of the body, and once more at its end. */
static enum MHD_Result on_access(void *user, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **con_cls)
{
    const struct port_ref *ref = user;
    struct arrival *a = *con_cls;

    (void)url;
    (void)version;
    if (!a->started) {
        a->started = true;
        return MHD_YES;
    }
    if (*size > 0) {
        if (a->body.len + *size > BODY_MAX)
            a->too_large = true;
        else
            cs_buf_add(&a->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (ref->is_control)
        return control_request(ref->h, connection, method, a);
    return graph_request(ref->h, connection, method, a);
}

/* ---- start and stop ---------------------------------------------------------------------------------------- */

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "r");
    struct cs_buf b;
    char part[4096];
    size_t n;

    cs_buf_init(&b, 1U << 20);
    if (f == NULL) {
        fprintf(stderr, "graphsim: %s: %s\n", path, strerror(errno));
        return NULL;
    }
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        cs_buf_add(&b, part, n);
    fclose(f);
    return cs_buf_steal(&b, NULL);
}

static struct MHD_Daemon *start(struct sim_http *h, const char *address, unsigned port,
                                bool is_control, unsigned *bound)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct MHD_OptionItem extra[4] = {{MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ITC;
    struct MHD_Daemon *d;
    const union MHD_DaemonInfo *info;

    if (inet_pton(AF_INET, address, &sa.sin_addr) != 1) {
        fprintf(stderr, "graphsim: listen: not an IPv4 address: %s\n", address);
        return NULL;
    }
    h->ref[is_control] = (struct port_ref){h, is_control};
    if (h->cert != NULL && !is_control) {
        flags |= MHD_USE_TLS;
        extra[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, h->cert};
        extra[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, h->key};
        extra[2] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    d = MHD_start_daemon(
        flags, (uint16_t)port, NULL, NULL, on_access, &h->ref[is_control], MHD_OPTION_SOCK_ADDR,
        &sa, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)(256 * 1024), MHD_OPTION_CONNECTION_TIMEOUT, 240U, MHD_OPTION_LISTEN_BACKLOG_SIZE,
        256U, MHD_OPTION_ARRAY, extra, MHD_OPTION_END);
    if (d == NULL) {
        fprintf(stderr, "graphsim: cannot listen on %s:%u\n", address, port);
        return NULL;
    }
    info = MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT);
    *bound = info != NULL ? info->port : port;
    return d;
}

struct sim_http *sim_http_start(struct sim *sim, unsigned *port, unsigned *control_port)
{
    const struct sim_conf *conf = sim->conf;
    struct sim_http *h = sim_alloc(1, sizeof(*h));

    h->sim = sim;
    h->scheme = conf->tls_cert != NULL ? "https" : "http";
    if (conf->tls_cert != NULL) {
        h->cert = read_text(conf->tls_cert);
        h->key = read_text(conf->tls_key);
        if (h->cert == NULL || h->key == NULL)
            goto fail;
    }
    h->control = start(h, "127.0.0.1", conf->control_port, true, control_port);
    if (h->control == NULL)
        goto fail;
    h->graph = start(h, conf->listen, conf->port, false, &h->port);
    if (h->graph == NULL)
        goto fail;
    *port = h->port;
    return h;
fail:
    sim_http_stop(h);
    return NULL;
}

void sim_http_stop(struct sim_http *h)
{
    if (h == NULL)
        return;
    if (h->graph != NULL)
        MHD_stop_daemon(h->graph);
    if (h->control != NULL)
        MHD_stop_daemon(h->control);
    free(h->cert);
    free(h->key);
    free(h);
}
