#include "worker/token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/backoff.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json_slice.h"
#include "worker/assertion.h"
#include "worker/graph_url.h"

#define EARLY_MS   (5 * 60 * 1000) /* before the end of a token's life */
#define AADSTS_MAX 8

struct token_entry {
    struct token_entry *next;
    struct cs_tokens *t;
    char *tenant;
    struct cs_secret *token;
    int64_t got_mono_ms;
    int64_t renew_mono_ms;   /* from here on a new one is fetched */
    int64_t expires_mono_ms; /* from here on it is not used */
    struct cs_http_request *request;
    size_t credential;     /* the one in use */
    size_t tried;          /* in this round */
    unsigned failures;     /* rounds in a row */
    int64_t retry_mono_ms; /* not asked before; 0: no failure */
    struct cs_verdict why; /* of the failure */
    uint64_t files_stamp;  /* of the credential files when it failed; 0: no failure, or no files */
    struct cs_tenant_set *set;      /* held while a request runs */
    const struct cs_tenant *asking; /* of that set */
};

struct cs_tokens {
    struct cs_http *http;
    const char *login_url;
    const char *graph_base_url;
    struct cs_log *log;
    int64_t fail_wait_ms;
    struct token_entry *entries;
    int64_t ahead_ms; /* of the caller's clock before ours, which answers are timed by */
    struct cs_metric *fetched, *failed;
};

int cs_tokens_new(struct cs_http *http, const char *login_url, const char *graph_base_url,
                  int64_t fail_wait_ms, struct cs_log *log, struct cs_metrics *metrics,
                  struct cs_tokens **ret)
{
    struct cs_tokens *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return -ENOMEM;
    t->http = http;
    t->login_url = login_url;
    t->graph_base_url = graph_base_url;
    t->fail_wait_ms = fail_wait_ms;
    t->log = log;
    t->fetched =
        cs_metrics_counter(metrics, "crmsync_tokens_total", "result=\"ok\"", "Token requests.");
    t->failed =
        cs_metrics_counter(metrics, "crmsync_tokens_total", "result=\"failed\"", "Token requests.");
    *ret = t;
    return 0;
}

void cs_tokens_free(struct cs_tokens *t)
{
    if (t == NULL)
        return;
    while (t->entries != NULL) {
        struct token_entry *e = t->entries;

        t->entries = e->next;
        cs_http_cancel(t->http, e->request);
        cs_tenants_unref(e->set);
        cs_secret_free(e->token);
        free(e->tenant);
        free(e);
    }
    free(t);
}

static struct token_entry *find(struct cs_tokens *t, const char *tenant)
{
    struct token_entry *e = t->entries;

    while (e != NULL && strcmp(e->tenant, tenant) != 0)
        e = e->next;
    return e;
}

static struct token_entry *find_or_add(struct cs_tokens *t, const char *tenant)
{
    struct token_entry *e = find(t, tenant);

    if (e != NULL)
        return e;
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return NULL;
    e->tenant = strdup(tenant);
    if (e->tenant == NULL) {
        free(e);
        return NULL;
    }
    e->t = t;
    e->next = t->entries;
    t->entries = e;
    return e;
}

/* Changes whenever one of the credential files does. */
static uint64_t stamp_of(const struct cs_tenant *tenant)
{
    uint64_t stamp = 0;

    for (size_t i = 0; i < tenant->n_credentials; i++) {
        const struct cs_credential *c = &tenant->credentials[i];
        const char *const files[] = {c->secret_file, c->certificate_file, c->key_file};

        for (size_t k = 0; k < 3; k++) {
            struct stat st;

            if (files[k] == NULL || stat(files[k], &st) < 0)
                continue;
            stamp = cs_mix64(stamp + (uint64_t)st.st_mtim.tv_sec * 1000000000 +
                             (uint64_t)st.st_mtim.tv_nsec);
            stamp = cs_mix64(stamp + (uint64_t)st.st_ino + (uint64_t)st.st_size);
        }
    }
    return stamp;
}

static void give_up(struct token_entry *e, const struct cs_tenant *tenant,
                    const struct cs_verdict *why)
{
    int64_t wait_ms = e->t->fail_wait_ms; /* a shorter Retry-After asks for no haste */

    if (why->retry_after_ms > wait_ms)
        wait_ms = why->retry_after_ms;
    e->failures++;
    e->why = *why;
    e->retry_mono_ms = cs_clock_mono_ms() + e->t->ahead_ms + wait_ms;
    e->files_stamp = tenant != NULL ? stamp_of(tenant) : 0;
    e->tried = 0;
    cs_metric_add(e->t->failed, 1);
    cs_log_warn(e->t->log, "token.failed", CS_STR("tenant", e->tenant),
                CS_STR("code", cs_code_name(why->code)), CS_I64("status", why->http_status),
                CS_STR("service_code", why->service_code), CS_I64("wait_ms", wait_ms));
}

static int start(struct token_entry *e, struct cs_tenant_set *set, const struct cs_tenant *tenant);

/* Nothing that the endpoint sends is logged but its error name and AADSTS numbers. */
static void read_refusal(const struct cs_http_answer *answer, struct cs_verdict *ret)
{
    int64_t numbers[AADSTS_MAX];
    struct cs_js root = {0}, value = {0};
    struct cs_js_iter it = {0};
    char error[CS_GRAPH_CODE_MAX] = "";
    size_t n = 0;

    if (cs_js_check(answer->body, answer->len, 8, &root, NULL) == 0) {
        (void)cs_js_str_into(cs_js_get(root, "error"), error, sizeof(error));
        while (n < AADSTS_MAX && cs_js_next_element(cs_js_get(root, "error_codes"), &it, &value))
            if (cs_js_i64(value, &numbers[n]) == 0)
                n++;
    }
    cs_verdict_of_token(answer->status, error, numbers, n, answer->retry_after, cs_clock_utc_ms(),
                        ret);
}

static bool take_token(struct token_entry *e, const struct cs_http_answer *answer)
{
    struct cs_js root = {0};
    struct cs_buf text;
    int64_t life_s = 0, refresh_s = 0, now_ms = answer->sent_mono_ms + e->t->ahead_ms;
    bool ok = false;

    if (cs_js_check(answer->body, answer->len, 8, &root, NULL) < 0)
        return false;
    cs_buf_init(&text, CS_SECRET_MAX);
    if (cs_js_str(cs_js_get(root, "access_token"), &text) == 0 && text.len > 0 &&
        strcspn(text.data, "\r\n ") == text.len &&
        cs_js_i64(cs_js_get(root, "expires_in"), &life_s) == 0 && life_s > 0) {
        struct cs_secret *token = NULL;

        if (life_s > 7 * 86400)
            life_s = 7 * 86400;
        if (cs_secret_new(text.data, text.len, &token) == 0) {
            cs_secret_free(e->token);
            e->token = token;
            e->got_mono_ms = cs_clock_mono_ms();
            e->expires_mono_ms = now_ms + life_s * 1000 - 1000;
            e->renew_mono_ms = life_s * 1000 > 2 * EARLY_MS ? now_ms + life_s * 1000 - EARLY_MS
                                                            : now_ms + life_s * 500;
            if (cs_js_i64(cs_js_get(root, "refresh_in"), &refresh_s) == 0 && refresh_s > 0 &&
                refresh_s < life_s)
                e->renew_mono_ms = now_ms + refresh_s * 1000;
            ok = true;
        }
    }
    if (text.data != NULL)
        cs_wipe(text.data, text.len);
    cs_buf_clear(&text);
    return ok;
}

static void handle(struct token_entry *e, struct cs_tenant_set *set, const struct cs_tenant *tenant,
                   struct cs_http_answer *answer)
{
    struct cs_verdict why;

    if (answer->net == CS_NET_OK && answer->status == 200) {
        bool ok = take_token(e, answer);

        cs_wipe(answer->body, answer->len);
        if (ok) {
            e->retry_mono_ms = 0;
            e->failures = 0;
            e->files_stamp = 0;
            e->tried = 0;
            cs_metric_add(e->t->fetched, 1);
            cs_log_info(e->t->log, "token.fetched", CS_STR("tenant", e->tenant),
                        CS_I64("credential", e->credential));
            return;
        }
    }
    if (answer->net == CS_NET_OK && answer->status != 200) {
        read_refusal(answer, &why);
        e->tried++;
        /* all of them at first; while they fail each has its minute */
        while (why.code == CS_CODE_CREDENTIALS_REFUSED &&
               (e->tried < tenant->n_credentials || e->failures > 0)) {
            e->credential = (e->credential + 1) % tenant->n_credentials;
            if (e->failures > 0)
                break;
            if (start(e, set, tenant) == 0)
                return;
            e->tried++;
        }
    } else {
        cs_verdict_of_net(answer->net != CS_NET_OK ? answer->net : CS_NET_ENCODING, &why);
        if (why.code != CS_CODE_TLS)
            why.code = CS_CODE_TOKEN_UNAVAILABLE;
        why.scope = CS_SCOPE_TENANT;
    }
    give_up(e, tenant, &why);
}

static void on_answer(void *user, struct cs_http_answer *answer)
{
    struct token_entry *e = user;
    struct cs_tenant_set *set = e->set;

    e->request = NULL;
    e->set = NULL;
    handle(e, set, e->asking, answer);
    cs_tenants_unref(set);
}

static void add_field(struct cs_buf *form, const char *name, const char *value)
{
    if (form->len > 0)
        cs_buf_addc(form, '&');
    cs_buf_adds(form, name);
    cs_buf_addc(form, '=');
    cs_url_escape(form, value);
}

static int add_credential(struct token_entry *e, const struct cs_tenant *tenant, const char *url,
                          struct cs_buf *form)
{
    const struct cs_credential *c = &tenant->credentials[e->credential % tenant->n_credentials];
    struct cs_secret *secret = NULL;
    const char *text;
    int r = 0;

    if (c->certificate_file != NULL) {
        struct cs_buf jwt;

        cs_buf_init(&jwt, CS_SECRET_MAX);
        r = cs_assertion_make(c->certificate_file, c->key_file, tenant->client_id, url,
                              cs_clock_utc_ms(), &jwt);
        if (r == 0) {
            add_field(form, "client_assertion_type",
                      "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            add_field(form, "client_assertion", jwt.data);
        }
        if (jwt.data != NULL)
            cs_wipe(jwt.data, jwt.len);
        cs_buf_clear(&jwt);
        return r;
    }
    if (c->secret_file != NULL) {
        r = cs_secret_from_file(c->secret_file, &secret);
        if (r == 0)
            add_field(form, "client_secret", cs_secret_reveal(secret));
        cs_secret_free(secret);
        return r;
    }
    text = c->secret_env != NULL ? getenv(c->secret_env) : NULL;
    if (text == NULL || text[0] == '\0')
        return -ENOENT;
    add_field(form, "client_secret", text);
    return 0;
}

static int start(struct token_entry *e, struct cs_tenant_set *set, const struct cs_tenant *tenant)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded",
                                          "Accept: application/json"};
    struct cs_http_spec spec = {
        .headers = headers, .n_headers = 2, .body_is_secret = true, .fn = on_answer, .user = e};
    struct cs_buf url, form, scope;
    size_t n = strlen(e->t->login_url);
    int r;

    while (n > 0 && e->t->login_url[n - 1] == '/')
        n--;
    cs_buf_init(&url, 0);
    cs_buf_init(&form, 0);
    cs_buf_init(&scope, 0);
    cs_buf_add(&url, e->t->login_url, n);
    cs_buf_addc(&url, '/');
    cs_url_escape(&url, tenant->tenant_id);
    cs_buf_adds(&url, "/oauth2/v2.0/token");
    cs_buf_adds(&scope, e->t->graph_base_url);
    while (scope.len > 0 && scope.data[scope.len - 1] == '/')
        cs_buf_truncate(&scope, scope.len - 1);
    cs_buf_adds(&scope, "/.default");
    add_field(&form, "client_id", tenant->client_id);
    add_field(&form, "grant_type", "client_credentials");
    r = cs_buf_failed(&scope) != 0 || cs_buf_failed(&url) != 0 ? -ENOMEM : 0;
    if (r == 0) {
        add_field(&form, "scope", scope.data);
        r = add_credential(e, tenant, url.data, &form);
    }
    if (r == 0)
        r = cs_buf_failed(&form);
    if (r == 0) {
        spec.url = url.data;
        spec.body = form.data;
        spec.body_len = form.len;
        r = cs_http_submit(e->t->http, &spec, &e->request);
    }
    if (r == 0) {
        e->asking = tenant;
        e->set = cs_tenants_ref(set);
    }
    if (form.data != NULL)
        cs_wipe(form.data, form.len);
    cs_buf_clear(&form);
    cs_buf_clear(&url);
    cs_buf_clear(&scope);
    return r;
}

/* Starts a round; a credential that cannot even be read counts as refused. */
static void fetch(struct token_entry *e, struct cs_tenant_set *set, const struct cs_tenant *tenant)
{
    struct cs_verdict why = {.outcome = CS_RETRY,
                             .code = CS_CODE_CREDENTIALS_REFUSED,
                             .scope = CS_SCOPE_TENANT,
                             .retry_after_ms = -1};
    size_t n = tenant->n_credentials;

    for (size_t i = 0; i < n; i++) {
        int r = start(e, set, tenant);

        if (r == 0)
            return;
        cs_log_warn(e->t->log, "token.credential_unreadable", CS_STR("tenant", e->tenant),
                    CS_I64("credential", e->credential % n), CS_STR("reason", strerror(-r)));
        e->credential = (e->credential + 1) % n;
        e->tried++;
    }
    give_up(e, tenant, &why);
}

int cs_tokens_get(struct cs_tokens *t, struct cs_tenant_set *set, const struct cs_tenant *tenant,
                  int64_t now_ms, const struct cs_secret **ret, struct cs_verdict *verdict)
{
    struct token_entry *e = find_or_add(t, tenant->name);
    bool usable, due, changed;

    if (e == NULL) {
        *verdict = (struct cs_verdict){.outcome = CS_RETRY,
                                       .code = CS_CODE_INTERNAL,
                                       .scope = CS_SCOPE_TENANT,
                                       .retry_after_ms = 1000};
        return -EACCES;
    }
    t->ahead_ms = now_ms - cs_clock_mono_ms();
    usable = e->token != NULL && now_ms < e->expires_mono_ms;
    due = e->token == NULL || now_ms >= e->renew_mono_ms;
    if (due && e->request == NULL) {
        changed = e->files_stamp != 0 && stamp_of(tenant) != e->files_stamp;
        if (changed)
            e->failures = 0; /* another set of credentials: all of them at once */
        if (changed || e->retry_mono_ms == 0 || now_ms >= e->retry_mono_ms)
            fetch(e, set, tenant);
    }
    if (usable) {
        *ret = e->token;
        return 0;
    }
    if (e->request != NULL)
        return -EAGAIN;
    *verdict = e->why;
    verdict->retry_after_ms = e->retry_mono_ms > now_ms ? e->retry_mono_ms - now_ms : 1000;
    return -EACCES;
}

void cs_tokens_refused(struct cs_tokens *t, const char *tenant, int64_t sent_mono_ms)
{
    struct token_entry *e = find(t, tenant);

    if (e == NULL || e->token == NULL || e->got_mono_ms > sent_mono_ms)
        return;
    cs_secret_free(e->token);
    e->token = NULL;
}
