/* request.c - URLs, Prefer headers, and what all answers share. */
#include "request.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tz.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *sim_url_decode(const char *p, size_t n, bool plus)
{
    char *out = sim_alloc(n + 1, 1);
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        if (p[i] == '%') {
            int h = i + 2 < n ? hex(p[i + 1]) : -1;
            int l = h >= 0 ? hex(p[i + 2]) : -1;

            if (l < 0 || (h == 0 && l == 0)) {
                free(out);
                return NULL;
            }
            out[len++] = (char)(h << 4 | l);
            i += 2;
        } else {
            out[len++] = plus && p[i] == '+' ? ' ' : p[i];
        }
    }
    return out;
}

void sim_url_encode(struct cs_buf *b, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (isalnum(*p) || strchr("-._~=$,()':*", *p) != NULL)
            cs_buf_addc(b, (char)*p);
        else
            cs_buf_addf(b, "%%%02X", *p);
    }
}

static int add_segment(struct sim_request *req, char *seg)
{
    if (req->n_seg == SIM_SEGS) {
        free(seg);
        return -EINVAL;
    }
    req->seg[req->n_seg++] = seg;
    return 0;
}

/* "mailFolders('inbox')" is two segments; a quote inside is doubled. */
static int add_call_form(struct sim_request *req, char *seg)
{
    size_t len = strlen(seg);
    char *open = strstr(seg, "('");
    char *arg;
    size_t n = 0;
    int r;

    if (open == NULL || len < 4 || strcmp(seg + len - 2, "')") != 0)
        return add_segment(req, seg);
    *open = '\0';
    arg = sim_strdup(open + 2);
    arg[strlen(arg) - 2] = '\0';
    for (size_t i = 0; arg[i] != '\0'; i++) {
        if (arg[i] == '\'' && arg[i + 1] == '\'')
            i++;
        arg[n++] = arg[i];
    }
    arg[n] = '\0';
    r = add_segment(req, seg);
    if (r < 0) {
        free(arg);
        return r;
    }
    return add_segment(req, arg);
}

static int split_path(struct sim_request *req, const char *path, size_t n)
{
    size_t at = 0;

    while (at < n) {
        size_t end = at;
        char *seg;

        while (end < n && path[end] != '/')
            end++;
        if (end > at) {
            seg = sim_url_decode(path + at, end - at, false);
            if (seg == NULL || add_call_form(req, seg) < 0)
                return -EINVAL;
        }
        at = end + 1;
    }
    return 0;
}

static int split_query(struct sim_request *req, const char *q)
{
    while (*q != '\0') {
        size_t n = strcspn(q, "&");
        const char *eq = memchr(q, '=', n);
        size_t name_len = eq != NULL ? (size_t)(eq - q) : n;
        struct sim_param *p;

        if (n > 0) {
            if (req->n_params == SIM_PARAMS)
                return -EINVAL;
            p = &req->param[req->n_params++];
            p->name = sim_url_decode(q, name_len, true);
            p->value = eq != NULL ? sim_url_decode(eq + 1, n - name_len - 1, true) : sim_strdup("");
            if (p->name == NULL || p->value == NULL)
                return -EINVAL;
        }
        q += n;
        if (*q == '&')
            q++;
    }
    return 0;
}

int sim_request_init(struct sim_request *req, struct sim *sim, const char *method, const char *url)
{
    const char *mark = strchr(url, '?');
    size_t n = mark != NULL ? (size_t)(mark - url) : strlen(url);

    memset(req, 0, sizeof(*req));
    req->sim = sim;
    req->method = method;
    req->query = mark != NULL ? mark + 1 : "";
    req->base = "";
    if (split_path(req, url, n) < 0)
        return -EINVAL;
    return split_query(req, req->query);
}

void sim_request_clear(struct sim_request *req)
{
    for (size_t i = 0; i < req->n_seg; i++)
        free(req->seg[i]);
    for (size_t i = 0; i < req->n_params; i++) {
        free(req->param[i].name);
        free(req->param[i].value);
    }
    /* a copy made by sim_request_prefer() */
    union {
        const char *c;
        char *p;
    } zone = {req->timezone};
    free(zone.p);
    memset(req, 0, sizeof(*req));
}

/* Value of name=value or name="value" at p; the length of the whole preference. */
static size_t preference(const char *p, char *name, size_t name_max, char *value, size_t value_max)
{
    size_t i = 0, n = 0;

    while (p[i] != '\0' && p[i] != '=' && p[i] != ',') {
        if (!isspace((unsigned char)p[i]) && n + 1 < name_max)
            name[n++] = p[i];
        i++;
    }
    name[n] = '\0';
    n = 0;
    if (p[i] == '=') {
        bool quoted = false;

        for (i++; p[i] != '\0' && (quoted || p[i] != ','); i++) {
            if (p[i] == '"')
                quoted = !quoted;
            else if ((quoted || !isspace((unsigned char)p[i])) && n + 1 < value_max)
                value[n++] = p[i];
        }
    }
    value[n] = '\0';
    return p[i] == ',' ? i + 1 : i;
}

void sim_request_prefer(struct sim_request *req, const char *header)
{
    char name[64], value[128];

    while (*header != '\0') {
        header += preference(header, name, sizeof(name), value, sizeof(value));
        if (strcasecmp(name, "IdType") == 0) {
            req->immutable_ids = strcasecmp(value, "ImmutableId") == 0;
        } else if (strcasecmp(name, "outlook.body-content-type") == 0) {
            req->text_body = strcasecmp(value, "text") == 0;
        } else if (strcasecmp(name, "odata.maxpagesize") == 0) {
            long n = strtol(value, NULL, 10);

            req->max_page = n > 0 && n < 1000000 ? (unsigned)n : 0;
        } else if (strcasecmp(name, "outlook.timezone") == 0 && req->timezone == NULL) {
            req->timezone = sim_strdup(value);
        }
    }
}

const char *sim_param(const struct sim_request *req, const char *name)
{
    for (size_t i = 0; i < req->n_params; i++)
        if (strcasecmp(req->param[i].name, name) == 0)
            return req->param[i].value;
    return NULL;
}

void sim_answer_init(struct sim_answer *ans)
{
    memset(ans, 0, sizeof(*ans));
    ans->status = 200;
    cs_buf_init(&ans->body, 0);
}

void sim_answer_clear(struct sim_answer *ans)
{
    for (size_t i = 0; i < ans->n_headers; i++)
        free(ans->header[i].value);
    ans->n_headers = 0;
    cs_buf_clear(&ans->body);
}

void sim_answer_header(struct sim_answer *ans, const char *name, const char *value)
{
    if (ans->n_headers == SIM_HEADERS)
        return; /* a fault may ask for more than any answer of the service has */
    ans->header[ans->n_headers].name = name;
    ans->header[ans->n_headers++].value = sim_strdup(value);
}

const char *sim_answer_find(const struct sim_answer *ans, const char *name)
{
    for (size_t i = 0; i < ans->n_headers; i++)
        if (strcasecmp(ans->header[i].name, name) == 0)
            return ans->header[i].value;
    return NULL;
}

void sim_answer_applied(struct sim_answer *ans, const char *preference_text)
{
    sim_answer_header(ans, "Preference-Applied", preference_text);
}

void sim_answer_error(struct sim_answer *ans, int status, const char *code, const char *message)
{
    struct sim_jw w;
    char date[40], id[37];
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    sim_time_format(date, ts.tv_sec, "", "");
    sim_guid((uint64_t)ts.tv_nsec, (uint64_t)ts.tv_sec, id);
    cs_buf_reset(&ans->body);
    ans->status = status;
    ans->content_type = NULL;
    ans->items = 0;
    sim_jw_init(&w, &ans->body, 0);
    sim_jw_open(&w, '{');
    sim_jw_key(&w, "error");
    sim_jw_open(&w, '{');
    sim_jw_kstr(&w, "code", code);
    sim_jw_kstr(&w, "message", message);
    /* both casings are seen, and now and then none at all */
    if (ts.tv_nsec / 1000 % 10 != 0) {
        sim_jw_key(&w, ts.tv_nsec / 1000 % 3 == 0 ? "innererror" : "innerError");
        sim_jw_open(&w, '{');
        sim_jw_kstr(&w, "date", date);
        sim_jw_kstr(&w, "request-id", id);
        sim_jw_kstr(&w, "client-request-id", id);
        sim_jw_close(&w, '}');
    }
    sim_jw_close(&w, '}');
    sim_jw_close(&w, '}');
}

void sim_delta_evict(struct sim_gen *gen)
{
    gen->lowest = ++gen->current;
}

bool sim_delta_alive(const struct sim_request *req, struct sim_answer *ans,
                     const struct sim_gen *gen, uint32_t token, const char *initial)
{
    unsigned form = req->sim->v.gone_form;
    char text[160];

    if (token >= gen->lowest)
        return true;
    if (form == 0)
        form = 1 + gen->current % 3;
    snprintf(text, sizeof(text),
             "The sync state generation is not found; generation=%u;[highest=%u][%u][%u].", token,
             gen->current, gen->current, gen->lowest);
    if (form == 1) {
        sim_answer_error(ans, 410, "SyncStateNotFound", text);
    } else if (form == 2) {
        struct cs_buf url;

        cs_buf_init(&url, 0);
        cs_buf_addf(&url, "%s%s?$deltatoken=", req->base, initial);
        sim_answer_error(ans, 410, "resyncRequired",
                         "Resync required. Replace any local items with the server's version.");
        sim_answer_header(ans, "Location", url.data);
        cs_buf_clear(&url);
    } else {
        sim_answer_error(ans, 400, "syncStateNotFound", text);
    }
    return false;
}
