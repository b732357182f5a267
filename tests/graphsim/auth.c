/* auth.c - client credentials: secrets, signed assertions, bearer tokens. */
#include "auth.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "conf.h"
#include "request.h"
#include "tz.h"

#define FORM_MAX   16
#define SKEW_S     300
#define ASSERT_MAX 16384

struct cert {
    EVP_PKEY *key;
    char sha1[64], sha256[64]; /* base64url of the DER's hash */
};

struct secret {
    char *value;
    int64_t expires_ms;
};

struct sim_auth {
    pthread_mutex_t lock;
    struct cert cert[SIM_CERTS];
    size_t n_certs;
    struct secret secret[SIM_SECRETS];
    size_t n_secrets;
    uint64_t epoch, serial;
    uint64_t requests, issued, refused, unauthorized;
};

/* What a bearer token seals. */
struct bearer {
    int64_t expires_ms;
    uint64_t epoch, serial;
    char what[8]; /* "bearer" */
};

static const struct {
    unsigned aadsts;
    int status;
    const char *error, *text;
} errors[] = {
    {7000215, 401, "invalid_client",
     "Invalid client secret provided. Ensure the secret being sent in the request is the client "
     "secret value, not the client secret ID, for a secret added to app."},
    {7000222, 401, "invalid_client", "The provided client secret keys for app are expired."},
    {7000218, 401, "invalid_client",
     "The request body must contain the following parameter: 'client_assertion' or "
     "'client_secret'."},
    {700027, 401, "invalid_client",
     "The certificate with identifier used to sign the client assertion is not registered on "
     "application. [Reason - The key was not found.]"},
    {700024, 401, "invalid_client", "Client assertion is not within its valid time range."},
    {50012, 401, "invalid_client", "Client assertion contains an invalid signature."},
    {700016, 400, "unauthorized_client", "Application was not found in the directory."},
    {7000112, 400, "unauthorized_client", "Application is disabled."},
    {700011, 400, "unauthorized_client", "Application was not found in the directory."},
    {70001, 400, "unauthorized_client", "The application is disabled or does not exist."},
    {90002, 400, "invalid_request",
     "Tenant not found. Check to make sure you have the correct tenant ID and are signing into the "
     "correct cloud."},
    {900023, 400, "invalid_request",
     "Specified tenant identifier is neither a valid DNS name, nor a valid external domain."},
    {9001023, 400, "invalid_request",
     "The grant type is not supported over the /common or /consumers endpoints. Please use the "
     "/organizations or tenant-specific endpoint."},
    {90038, 400, "invalid_request", "Tenant is not in this national cloud."},
    {70011, 400, "invalid_scope",
     "The provided request must include a 'scope' input parameter. The provided value for the "
     "input parameter 'scope' is not valid."},
    {28002, 400, "invalid_scope",
     "Provided value for the input parameter scope is not valid because it contains an empty "
     "scope."},
    {1002012, 400, "invalid_scope",
     "The provided value for scope is not valid. Client credential flows must have a scope value "
     "with /.default suffixed to the resource identifier (application ID URI)."},
    {700022, 400, "invalid_scope",
     "The provided value for the input parameter scope is not valid because it contains more than "
     "one resource."},
    {500011, 400, "invalid_resource", "The resource principal was not found in the tenant."},
    {50001, 400, "invalid_resource", "The resource is disabled or does not exist."},
    {650052, 400, "invalid_client",
     "The app is trying to access a service that your organization lacks a service principal for."},
    {650057, 400, "invalid_resource",
     "Invalid resource. The client has requested access to a resource which is not listed in the "
     "requested permissions."},
    {900144, 400, "invalid_request", "The request body must contain a required parameter."},
    {90014, 400, "invalid_request", "The required field is missing from the credential."},
    {53003, 400, "access_denied",
     "Access has been blocked by Conditional Access policies. The access policy does not allow "
     "token issuance."},
    {530032, 400, "invalid_grant", "Blocked by security policy."},
    {50034, 400, "invalid_grant", "The user account does not exist in the directory."},
    {50196, 400, "invalid_grant",
     "The server terminated an operation because it encountered a client request loop."},
    {90006, 503, "temporarily_unavailable",
     "The service is temporarily unavailable. Please retry later."},
    {90012, 504, "temporarily_unavailable", "The service request timed out."},
    {90024, 503, "temporarily_unavailable",
     "RequestBudgetExceededError - A transient error has occurred."},
    {90033, 503, "temporarily_unavailable", "A transient error has occurred. Please try again."},
    {50000, 500, "temporarily_unavailable",
     "There was an error issuing a token or an issue with our sign-in service."},
    {90055, 429, "temporarily_unavailable",
     "The tenant is throttled because there are too many requests."},
};

void sim_auth_error(struct sim_answer *ans, unsigned aadsts)
{
    size_t i = 0, n = sizeof(errors) / sizeof(*errors);
    char text[700], id[37], date[40];
    struct timespec ts;
    struct sim_jw w;

    while (i < n && errors[i].aadsts != aadsts)
        i++;
    clock_gettime(CLOCK_REALTIME, &ts);
    sim_guid((uint64_t)ts.tv_nsec, (uint64_t)ts.tv_sec, id);
    sim_time_format(date, ts.tv_sec, "", "Z");
    date[10] = ' ';
    snprintf(text, sizeof(text), "AADSTS%u: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
             aadsts, i < n ? errors[i].text : "Error.", id, id, date);
    cs_buf_reset(&ans->body);
    ans->status = i < n ? errors[i].status : 400;
    sim_jw_init(&w, &ans->body, 0);
    sim_jw_open(&w, '{');
    sim_jw_kstr(&w, "error", i < n ? errors[i].error : "invalid_request");
    sim_jw_kstr(&w, "error_description", text);
    sim_jw_key(&w, "error_codes");
    sim_jw_open(&w, '[');
    sim_jw_int(&w, aadsts);
    sim_jw_close(&w, ']');
    sim_jw_kstr(&w, "timestamp", date);
    sim_jw_kstr(&w, "trace_id", id);
    sim_jw_kstr(&w, "correlation_id", id);
    snprintf(text, sizeof(text), "https://login.microsoftonline.com/error?code=%u", aadsts);
    sim_jw_kstr(&w, "error_uri", text);
    sim_jw_close(&w, '}');
    if (ans->status == 429)
        sim_answer_header(ans, "Retry-After", "2");
}

/* ---- certificates ---------------------------------------------------------------------------------- */

static void base64url(const unsigned char *p, size_t n, char out[64])
{
    unsigned char text[72];

    EVP_EncodeBlock(text, p, (int)n);
    for (size_t i = 0; i < 63; i++) {
        unsigned char c = text[i];

        out[i] = c == '+' ? '-' : c == '/' ? '_' : c == '=' ? '\0' : (char)c;
        if (out[i] == '\0')
            break;
    }
    out[63] = '\0';
}

/* @return bytes, malloc'd; NULL: malformed */
static unsigned char *from_base64url(const char *p, size_t n, size_t *len)
{
    size_t padded = (n + 3) / 4 * 4;
    unsigned char *text, *out;
    int got;

    if (n == 0 || n > ASSERT_MAX)
        return NULL;
    text = sim_alloc(padded + 1, 1);
    out = sim_alloc(padded, 1);
    for (size_t i = 0; i < padded; i++)
        text[i] = (unsigned char)(i >= n ? '=' : p[i] == '-' ? '+' : p[i] == '_' ? '/' : p[i]);
    got = EVP_DecodeBlock(out, text, (int)padded);
    free(text);
    if (got < 0) {
        free(out);
        return NULL;
    }
    *len = (size_t)got - (padded - n);
    return out;
}

static int load_cert(struct cert *c, const char *path)
{
    FILE *f = fopen(path, "r");
    X509 *x = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n;

    if (f != NULL)
        fclose(f);
    if (x == NULL) {
        fprintf(stderr, "graphsim: %s: not a PEM certificate\n", path);
        return -EINVAL;
    }
    c->key = X509_get_pubkey(x);
    X509_digest(x, EVP_sha1(), hash, &n);
    base64url(hash, n, c->sha1);
    X509_digest(x, EVP_sha256(), hash, &n);
    base64url(hash, n, c->sha256);
    X509_free(x);
    return c->key != NULL ? 0 : -EINVAL;
}

static bool signature_ok(EVP_PKEY *key, bool pss, const char *text, size_t n,
                         const unsigned char *sig, size_t sig_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok = ctx != NULL && EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, key) == 1;

    if (ok && pss)
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 32) == 1;
    ok = ok && EVP_DigestVerify(ctx, sig, sig_len, (const unsigned char *)text, n) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static const struct cert *find_cert(const struct sim_auth *a, cs_json_val header, bool *pss)
{
    const char *alg, *thumb;

    if (cs_json_str(header, "alg", 10, &alg) < 0)
        return NULL;
    *pss = strcmp(alg, "PS256") == 0;
    if (!*pss && strcmp(alg, "RS256") != 0)
        return NULL;
    for (size_t i = 0; i < a->n_certs; i++) {
        if (cs_json_str(header, "x5t#S256", 100, &thumb) == 0 &&
            strcmp(thumb, a->cert[i].sha256) == 0)
            return &a->cert[i];
        if (cs_json_str(header, "x5t", 100, &thumb) == 0 && strcmp(thumb, a->cert[i].sha1) == 0)
            return &a->cert[i];
    }
    return NULL;
}

static unsigned check_claims(struct sim *sim, cs_json_val claims, const char *audience)
{
    const char *aud, *iss, *sub, *jti;
    int64_t exp, nbf, now_s = sim_now_ms(sim) / 1000;

    if (cs_json_str(claims, "aud", 1000, &aud) < 0 || cs_json_str(claims, "iss", 100, &iss) < 0 ||
        cs_json_str(claims, "sub", 100, &sub) < 0 || cs_json_str(claims, "jti", 100, &jti) < 0 ||
        cs_json_i64(claims, "exp", 0, INT64_MAX, &exp) < 0)
        return 50012;
    if (strcasecmp(aud, audience) != 0 || strcasecmp(iss, sim->conf->client_id) != 0 ||
        strcmp(iss, sub) != 0)
        return 50012;
    if (now_s > exp + SKEW_S ||
        (cs_json_i64(claims, "nbf", 0, INT64_MAX, &nbf) == 0 && nbf > now_s + SKEW_S))
        return 700024;
    return 0;
}

/* @return 0 or an AADSTS number */
static unsigned check_assertion(struct sim *sim, const char *jwt, const char *audience)
{
    const char *dot1 = strchr(jwt, '.'), *dot2 = dot1 != NULL ? strchr(dot1 + 1, '.') : NULL,
               *reason;
    struct cs_json *header = NULL, *claims = NULL;
    unsigned char *head = NULL, *body = NULL, *sig = NULL;
    size_t head_len, body_len, sig_len;
    const struct cert *cert;
    unsigned code = 50012;
    bool pss = false;

    if (dot2 == NULL)
        return 50012;
    head = from_base64url(jwt, (size_t)(dot1 - jwt), &head_len);
    body = from_base64url(dot1 + 1, (size_t)(dot2 - dot1 - 1), &body_len);
    sig = from_base64url(dot2 + 1, strlen(dot2 + 1), &sig_len);
    if (head == NULL || body == NULL || sig == NULL ||
        cs_json_parse((const char *)head, head_len, &header, &reason) < 0 ||
        cs_json_parse((const char *)body, body_len, &claims, &reason) < 0)
        goto out;
    cert = find_cert(sim->auth, cs_json_root(header), &pss);
    if (cert == NULL || !signature_ok(cert->key, pss, jwt, (size_t)(dot2 - jwt), sig, sig_len)) {
        code = 700027;
        goto out;
    }
    code = check_claims(sim, cs_json_root(claims), audience);
out:
    cs_json_free(header);
    cs_json_free(claims);
    free(head);
    free(body);
    free(sig);
    return code;
}

/* ---- token endpoint -------------------------------------------------------------------------------- */

struct form {
    char *name[FORM_MAX], *value[FORM_MAX];
    size_t n;
};

static const char *form_get(const struct form *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->name[i] != NULL && strcmp(f->name[i], name) == 0)
            return f->value[i];
    return NULL;
}

static void form_read(struct form *f, const char *body, size_t len)
{
    size_t at = 0;

    memset(f, 0, sizeof(*f));
    while (at < len && f->n < FORM_MAX) {
        const char *p = body + at, *amp = memchr(p, '&', len - at);
        size_t n = amp != NULL ? (size_t)(amp - p) : len - at;
        const char *eq = memchr(p, '=', n);

        if (eq != NULL) {
            f->name[f->n] = sim_url_decode(p, (size_t)(eq - p), true);
            f->value[f->n] = sim_url_decode(eq + 1, n - (size_t)(eq - p) - 1, true);
            f->n++;
        }
        at += n + 1;
    }
}

static void form_clear(struct form *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->name[i]);
        free(f->value[i]);
    }
}

static unsigned check_secret(struct sim *sim, const char *secret)
{
    struct sim_auth *a = sim->auth;
    unsigned code = 7000215;

    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->n_secrets; i++)
        if (strcmp(a->secret[i].value, secret) == 0)
            code = a->secret[i].expires_ms <= sim_now_ms(sim) ? 7000222 : 0;
    pthread_mutex_unlock(&a->lock);
    return code;
}

static bool is_guid(const char *s)
{
    size_t n = strspn(s, "0123456789abcdefABCDEF-");

    return n == 36 && s[36] == '\0';
}

static unsigned check_scope(const char *scope)
{
    size_t n;

    if (scope == NULL)
        return 900144;
    n = strlen(scope);
    if (strchr(scope, ' ') != NULL)
        return 700022;
    if (n < 10 || strcmp(scope + n - 9, "/.default") != 0)
        return 1002012;
    return 0;
}

/* HTTP Basic with client id and secret, both form-encoded (RFC 6749, 2.3.1). */
static void basic(const char *authorization, char **id, char **secret)
{
    size_t len;
    unsigned char *text;
    const char *colon;

    if (authorization == NULL || strncasecmp(authorization, "Basic ", 6) != 0)
        return;
    authorization += 6;
    text = from_base64url(authorization, strcspn(authorization, "="), &len);
    if (text == NULL)
        return;
    colon = memchr(text, ':', len);
    if (colon != NULL) {
        size_t n = (size_t)(colon - (const char *)text);

        *id = sim_url_decode((const char *)text, n, true);
        *secret = sim_url_decode(colon + 1, len - n - 1, true);
    }
    free(text);
}

static unsigned judge(struct sim *sim, const char *tenant, const struct form *f,
                      const char *authorization, const char *audience)
{
    const struct sim_conf *conf = sim->conf;
    const char *grant = form_get(f, "grant_type"), *id = form_get(f, "client_id"),
               *secret = form_get(f, "client_secret");
    const char *assertion = form_get(f, "client_assertion"),
               *type = form_get(f, "client_assertion_type");
    char *basic_id = NULL, *basic_secret = NULL;
    unsigned code;

    basic(authorization, &basic_id, &basic_secret);
    id = id != NULL ? id : basic_id;
    secret = secret != NULL ? secret : basic_secret;
    if (strcasecmp(tenant, "common") == 0 || strcasecmp(tenant, "consumers") == 0)
        code = 9001023;
    else if (!is_guid(tenant) && strchr(tenant, '.') == NULL)
        code = 900023;
    else if (strcasecmp(tenant, conf->tenant) != 0 && strcasecmp(tenant, conf->domain) != 0)
        code = 90002;
    else if (id == NULL || grant == NULL)
        code = 900144;
    else if (strcmp(grant, "client_credentials") != 0)
        code = 70003;
    else if (strcasecmp(id, conf->client_id) != 0)
        code = 700016;
    else if ((code = check_scope(form_get(f, "scope"))) != 0)
        ;
    else if (assertion != NULL)
        code = type != NULL &&
                       strcmp(type, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer") == 0
                   ? check_assertion(sim, assertion, audience)
                   : 900144;
    else if (secret != NULL)
        code = check_secret(sim, secret);
    else
        code = 7000218;
    free(basic_id);
    free(basic_secret);
    return code;
}

void sim_auth_token(struct sim *sim, const char *path, const char *authorization,
                    const char *login_base, const char *body, size_t len, struct sim_answer *ans)
{
    struct sim_auth *a = sim->auth;
    size_t n = strcspn(path + 1, "/");
    char *tenant = sim_url_decode(path + 1, n, false);
    struct bearer b;
    struct form f;
    struct cs_buf audience, token;
    struct sim_jw w;
    unsigned code;

    cs_buf_init(&audience, 0);
    cs_buf_init(&token, 0);
    form_read(&f, body, len);
    cs_buf_addf(&audience, "%s%s", login_base, path);
    code = tenant != NULL ? judge(sim, tenant, &f, authorization, audience.data) : 900023;
    memset(&b, 0, sizeof(b));
    pthread_mutex_lock(&a->lock);
    a->requests++;
    if (code != 0)
        a->refused++;
    else
        a->issued++;
    b.epoch = a->epoch;
    b.serial = ++a->serial;
    pthread_mutex_unlock(&a->lock);
    if (code != 0) {
        sim_auth_error(ans, code);
    } else {
        b.expires_ms = sim_now_ms(sim) + (int64_t)sim->conf->token_lifetime_s * 1000;
        strcpy(b.what, "bearer");
        cs_buf_adds(&token, "EwB");
        sim_token_seal(sim, &b, sizeof(b), &token);
        sim_jw_init(&w, &ans->body, 0);
        sim_jw_open(&w, '{');
        sim_jw_kstr(&w, "token_type", "Bearer");
        sim_jw_kint(&w, "expires_in", sim->conf->token_lifetime_s);
        sim_jw_kint(&w, "ext_expires_in", sim->conf->token_lifetime_s);
        if (sim->conf->token_lifetime_s > 7200)
            sim_jw_kint(&w, "refresh_in", sim->conf->token_lifetime_s / 2);
        sim_jw_kstr(&w, "access_token", token.data);
        sim_jw_close(&w, '}');
    }
    sim_answer_header(ans, "Cache-Control", "no-store, no-cache");
    cs_buf_clear(&token);
    cs_buf_clear(&audience);
    form_clear(&f);
    free(tenant);
}

bool sim_auth_check(struct sim *sim, const char *authorization, struct sim_answer *ans)
{
    struct sim_auth *a = sim->auth;
    struct bearer b;
    const char *why = NULL;
    uint64_t epoch;

    memset(&b, 0, sizeof(b));
    pthread_mutex_lock(&a->lock);
    epoch = a->epoch;
    pthread_mutex_unlock(&a->lock);
    if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0 ||
        authorization[7] == '\0')
        why = "Access token is empty.";
    else if (strncmp(authorization + 7, "EwB", 3) != 0 ||
             sim_token_open(sim, authorization + 10, &b, sizeof(b)) != (int)sizeof(b) ||
             strcmp(b.what, "bearer") != 0)
        why = "CompactToken parsing failed with error code: 80049217";
    else if (b.expires_ms <= sim_now_ms(sim))
        why = "Lifetime validation failed, the token is expired.";
    else if (b.epoch != epoch)
        why = "Access token has expired or is not yet valid.";
    if (why == NULL)
        return true;
    pthread_mutex_lock(&a->lock);
    a->unauthorized++;
    pthread_mutex_unlock(&a->lock);
    sim_answer_error(ans, 401, "InvalidAuthenticationToken", why);
    sim_answer_header(
        ans, "WWW-Authenticate",
        "Bearer realm=\"\", "
        "authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\"");
    return false;
}

void sim_auth_revoke(struct sim *sim)
{
    pthread_mutex_lock(&sim->auth->lock);
    sim->auth->epoch++;
    pthread_mutex_unlock(&sim->auth->lock);
}

static void set_secrets(struct sim_auth *a, const struct sim_secret *secret, size_t n)
{
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->n_secrets; i++)
        free(a->secret[i].value);
    a->n_secrets = n;
    for (size_t i = 0; i < n; i++)
        a->secret[i] = (struct secret){sim_strdup(secret[i].value), secret[i].expires_ms};
    pthread_mutex_unlock(&a->lock);
}

int sim_auth_set_secrets(struct sim *sim, const void *json_array)
{
    struct sim_conf conf;
    const char *text;
    size_t n = cs_json_len(json_array);
    int r = 0;

    memset(&conf, 0, sizeof(conf));
    if (n == 0 || n > SIM_SECRETS)
        return -EINVAL;
    for (size_t i = 0; i < n && r == 0; i++) {
        r = cs_json_val_str(cs_json_at(json_array, i), 1000, &text);
        if (r == 0)
            r = sim_conf_secret(&conf, text);
    }
    if (r == 0)
        set_secrets(sim->auth, conf.secret, conf.n_secrets);
    sim_conf_clear(&conf);
    return r < 0 ? -EINVAL : 0;
}

int sim_auth_init(struct sim *sim)
{
    struct sim_auth *a = sim_alloc(1, sizeof(*a));

    sim->auth = a;
    pthread_mutex_init(&a->lock, NULL);
    set_secrets(a, sim->conf->secret, sim->conf->n_secrets);
    for (size_t i = 0; i < sim->conf->n_certs; i++) {
        if (load_cert(&a->cert[i], sim->conf->cert[i]) < 0)
            return -EINVAL;
        a->n_certs++;
    }
    return 0;
}

void sim_auth_clear(struct sim *sim)
{
    struct sim_auth *a = sim->auth;

    if (a == NULL)
        return;
    set_secrets(a, NULL, 0);
    for (size_t i = 0; i < a->n_certs; i++)
        EVP_PKEY_free(a->cert[i].key);
    pthread_mutex_destroy(&a->lock);
    free(a);
    sim->auth = NULL;
}

void sim_auth_write(struct sim *sim, struct sim_jw *w)
{
    struct sim_auth *a = sim->auth;

    pthread_mutex_lock(&a->lock);
    sim_jw_kint(w, "token_requests", (int64_t)a->requests);
    sim_jw_kint(w, "tokens_issued", (int64_t)a->issued);
    sim_jw_kint(w, "tokens_refused", (int64_t)a->refused);
    sim_jw_kint(w, "unauthorized", (int64_t)a->unauthorized);
    pthread_mutex_unlock(&a->lock);
}
