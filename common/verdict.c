#include "common/verdict.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"

#define RETRY_AFTER_MAX_MS INT64_C(86400000)

/* --- names ------------------------------------------------------------------------------------- */

static const char *const outcome_names[] = {"done", "more", "retry", "resync", "reject", "fatal"};
static const char *const scope_names[] = {"item", "stream", "mailbox", "tenant", "service"};
static const char *const code_names[CS_CODE_COUNT_] = {
    [CS_CODE_NONE] = "none",
    [CS_CODE_THROTTLED] = "throttled",
    [CS_CODE_SERVICE_UNAVAILABLE] = "service_unavailable",
    [CS_CODE_NETWORK] = "network",
    [CS_CODE_TLS] = "tls",
    [CS_CODE_BAD_ANSWER] = "bad_answer",
    [CS_CODE_BAD_REQUEST] = "bad_request",
    [CS_CODE_TOKEN_REFUSED] = "token_refused",
    [CS_CODE_MAILBOX_DENIED] = "mailbox_denied",
    [CS_CODE_MAILBOX_MISSING] = "mailbox_missing",
    [CS_CODE_FOLDER_GONE] = "folder_gone",
    [CS_CODE_ITEM_GONE] = "item_gone",
    [CS_CODE_CURSOR_DEAD] = "cursor_dead",
    [CS_CODE_CURSOR_REFUSED] = "cursor_refused",
    [CS_CODE_PAGE_TOO_LARGE] = "page_too_large",
    [CS_CODE_CREDENTIALS_REFUSED] = "credentials_refused",
    [CS_CODE_TENANT_REFUSED] = "tenant_refused",
    [CS_CODE_TOKEN_UNAVAILABLE] = "token_unavailable",
    [CS_CODE_TENANT_UNKNOWN] = "tenant_unknown",
    [CS_CODE_JOB_INVALID] = "job_invalid",
    [CS_CODE_WRONG_PARTITION] = "wrong_partition",
    [CS_CODE_EXPIRED] = "expired",
    [CS_CODE_INTERNAL] = "internal",
};

const char *cs_outcome_name(enum cs_outcome o)
{
    return (unsigned)o <= CS_FATAL ? outcome_names[o] : "fatal";
}

int cs_outcome_parse(const char *s, enum cs_outcome *ret)
{
    for (unsigned i = 0; s != NULL && i < CS_FATAL; i++) {
        if (strcmp(s, outcome_names[i]) == 0) {
            *ret = (enum cs_outcome)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *cs_code_name(enum cs_code c)
{
    return (unsigned)c < CS_CODE_COUNT_ ? code_names[c] : code_names[CS_CODE_INTERNAL];
}

int cs_code_parse(const char *s, enum cs_code *ret)
{
    for (unsigned i = 0; s != NULL && i < CS_CODE_COUNT_; i++) {
        if (strcmp(s, code_names[i]) == 0) {
            *ret = (enum cs_code)i;
            return 0;
        }
    }
    *ret = CS_CODE_INTERNAL;
    return -EINVAL;
}

const char *cs_scope_name(enum cs_scope s)
{
    return (unsigned)s <= CS_SCOPE_SERVICE ? scope_names[s] : scope_names[CS_SCOPE_SERVICE];
}

int cs_scope_parse(const char *s, enum cs_scope *ret)
{
    for (unsigned i = 0; s != NULL && i <= CS_SCOPE_SERVICE; i++) {
        if (strcmp(s, scope_names[i]) == 0) {
            *ret = (enum cs_scope)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* --- Retry-After ------------------------------------------------------------------------------- */

/* Up to max digits, or spaces before them; NULL stays NULL. @return behind them, NULL: there are none */
static const char *take_number(const char *p, int max, int *ret)
{
    int n = 0, used = 0;

    for (; p != NULL && used < max && *p == ' '; p++)
        used++;
    if (p == NULL || *p < '0' || *p > '9')
        return NULL;
    for (; used < max && *p >= '0' && *p <= '9'; p++, used++)
        n = n * 10 + (*p - '0');
    *ret = n;
    return p;
}

static const char *take_text(const char *p, const char *text)
{
    size_t n = strlen(text);

    return p != NULL && strncmp(p, text, n) == 0 ? p + n : NULL;
}

/* @return behind the month, NULL: it is none; *ret 1 to 12 */
static const char *take_month(const char *p, int *ret)
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

    for (int i = 0; p != NULL && i < 12; i++)
        if (strncmp(p, months[i], 3) == 0) {
            *ret = i + 1;
            return p + 3;
        }
    return NULL;
}

static const char *take_day_time(const char *p, int *h, int *m, int *sec)
{
    p = take_text(take_number(p, 2, h), ":");
    p = take_text(take_number(p, 2, m), ":");
    return take_number(p, 2, sec);
}

/* The three date forms of RFC 9110 5.6.7, told by what follows the name of the day. */
static int parse_http_date(const char *s, int64_t *ret_utc_ms)
{
    char text[40];
    int day = 0, month = 0, year = 0, h = 0, m = 0, sec = 0;
    const char *p = s;

    while ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z'))
        p++;
    if (p == s)
        return -EINVAL;
    if (*p == ',') {
        bool old;

        p = take_number(p + 1, 3, &day);
        old = p != NULL && *p == '-';
        p = take_month(take_text(p, old ? "-" : " "), &month);
        p = take_number(take_text(p, old ? "-" : " "), old ? 2 : 4, &year);
        p = take_day_time(take_text(p, " "), &h, &m, &sec);
        p = take_text(p, " GMT");
        if (old) /* Sunday, 06-Nov-94 08:49:37 GMT; else Sun, 06 Nov 1994 08:49:37 GMT */
            year += year < 70 ? 2000 : 1900;
    } else { /* Sun Nov  6 08:49:37 1994 */
        p = take_month(take_text(p, " "), &month);
        p = take_number(take_text(p, " "), 2, &day);
        p = take_day_time(take_text(p, " "), &h, &m, &sec);
        p = take_number(take_text(p, " "), 4, &year);
    }
    if (p == NULL || p[strspn(p, " \t")] != '\0')
        return -EINVAL;
    int n =
        snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, day, h, m, sec);
    return cs_time_parse(text, (size_t)n, ret_utc_ms);
}

int64_t cs_retry_after_ms(const char *value, int64_t utc_ms)
{
    int64_t ms = 0, then_ms;

    if (value == NULL)
        return -1;
    value += strspn(value, " \t");
    /* dates first: none begins with a digit, but the check costs nothing and the order is then safe */
    if (parse_http_date(value, &then_ms) == 0) {
        ms = then_ms - utc_ms;
    } else {
        const char *p = value;
        if (*p < '0' || *p > '9')
            return -1;
        for (; *p >= '0' && *p <= '9'; p++)
            if (ms <= RETRY_AFTER_MAX_MS)
                ms = ms * 10 + (*p - '0') * 1000;
        if (*p == '.') { /* a fraction is not allowed there, but its meaning is clear: round up */
            p++;
            if (*p >= '0' && *p <= '9')
                ms += 1000;
            p += strspn(p, "0123456789");
        }
        if (p[strspn(p, " \t")] != '\0')
            return -1;
    }
    if (ms < 0)
        ms = 0;
    return ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : ms;
}

/* --- Graph ------------------------------------------------------------------------------------- */

#define BIT(asked)  (1u << (asked))
#define LISTING     (BIT(CS_ASKED_MAILBOX) | BIT(CS_ASKED_FOLDER) | BIT(CS_ASKED_CURSOR))
#define STREAM      (BIT(CS_ASKED_FOLDER) | BIT(CS_ASKED_CURSOR))
#define ITEM        BIT(CS_ASKED_ITEM)
#define ANY         (LISTING | ITEM | BIT(CS_ASKED_BATCH))
#define SCOPE_ASKED (-1) /* by what was asked */

/* Codes of one meaning; compared without case. */
static const char *const resync_codes[] = {"syncStateNotFound",       "syncStateInvalid",
                                           "resyncRequired",          "resyncApplyDifferences",
                                           "resyncUploadDifferences", NULL};
static const char *const gone_codes[] = {"ErrorItemNotFound", "itemNotFound", "ErrorFolderNotFound",
                                         NULL};
static const char *const no_mailbox_codes[] = {"MailboxNotEnabledForRESTAPI",
                                               "MailboxNotSupportedForRESTAPI",
                                               "ErrorInvalidUser",
                                               "ResourceNotFound",
                                               "Request_ResourceNotFound",
                                               "ErrorNonExistentMailbox",
                                               NULL};
static const char *const send_quota_codes[] = {
    "ErrorExceededMessageLimit", "ErrorMessageSubmissionBlocked", "ErrorSubmissionQuotaExceeded",
    "ErrorAccountSuspend", NULL};
static const char *const throttle_codes[] = {"ApplicationThrottled", "TooManyRequests",
                                             "activityLimitReached", "throttledRequest",
                                             "quotaLimitReached",    NULL};
static const char *const mailbox_busy_codes[] = {"ErrorMailboxStoreUnavailable",
                                                 "ResourceUnhealthy", "ErrorServerBusy",
                                                 "ErrorMailboxMoveInProgress", NULL};

/* First match wins: so the special stand above the general. */
struct rule {
    int from, to;             /* HTTP status, both inclusive */
    const char *const *codes; /* NULL: any, or none */
    unsigned asked;
    enum cs_outcome outcome;
    enum cs_code code;
    int scope;
};
static const struct rule rules[] = {
    {200, 299, NULL, ANY, CS_DONE, CS_CODE_NONE, SCOPE_ASKED},

    /* a token's end has many spellings: 410 is the usual, "40X with codes such as syncStateNotFound" is
     * documented (Microsoft Graph: delta query overview) */
    {400, 499, resync_codes, STREAM, CS_RESYNC, CS_CODE_CURSOR_DEAD, CS_SCOPE_STREAM},
    {410, 410, NULL, STREAM, CS_RESYNC, CS_CODE_CURSOR_DEAD, CS_SCOPE_STREAM},

    {401, 401, NULL, ANY, CS_RETRY, CS_CODE_TOKEN_REFUSED, CS_SCOPE_TENANT},
    /* the mailbox's quota for sending is reported as any of these; it passes by itself, in hours */
    {400, 400, send_quota_codes, ANY, CS_RETRY, CS_CODE_THROTTLED, CS_SCOPE_MAILBOX},
    {403, 403, send_quota_codes, ANY, CS_RETRY, CS_CODE_THROTTLED, CS_SCOPE_MAILBOX},
    {403, 403, throttle_codes, ANY, CS_RETRY, CS_CODE_THROTTLED, CS_SCOPE_MAILBOX},
    /* access scoping: it may flip either way for hours, so it is never the end of a mailbox */
    {403, 403, NULL, ANY, CS_RETRY, CS_CODE_MAILBOX_DENIED, CS_SCOPE_MAILBOX},

    {404, 404, no_mailbox_codes, ANY, CS_RETRY, CS_CODE_MAILBOX_MISSING, CS_SCOPE_MAILBOX},
    {404, 404, gone_codes, STREAM, CS_REJECT, CS_CODE_FOLDER_GONE, CS_SCOPE_STREAM},
    {404, 404, gone_codes, ITEM, CS_REJECT, CS_CODE_ITEM_GONE, CS_SCOPE_ITEM},
    {404, 404, NULL, BIT(CS_ASKED_MAILBOX), CS_RETRY, CS_CODE_MAILBOX_MISSING, CS_SCOPE_MAILBOX},
    {404, 404, NULL, ANY, CS_RETRY, CS_CODE_BAD_ANSWER, SCOPE_ASKED},
    {410, 410, NULL, ANY, CS_RETRY, CS_CODE_BAD_ANSWER, SCOPE_ASKED},

    {408, 408, NULL, ANY, CS_RETRY, CS_CODE_SERVICE_UNAVAILABLE, SCOPE_ASKED},
    /* conflicts of a write, a locked or full mailbox, a prerequisite in a batch: they pass */
    {409, 409, NULL, ANY, CS_RETRY, CS_CODE_SERVICE_UNAVAILABLE, SCOPE_ASKED},
    {412, 412, NULL, ANY, CS_RETRY, CS_CODE_SERVICE_UNAVAILABLE, SCOPE_ASKED},
    {423, 424, NULL, ANY, CS_RETRY, CS_CODE_SERVICE_UNAVAILABLE, SCOPE_ASKED},
    {429, 429, NULL, ANY, CS_RETRY, CS_CODE_THROTTLED, CS_SCOPE_MAILBOX},
    {400, 499, NULL, ANY, CS_REJECT, CS_CODE_BAD_REQUEST, SCOPE_ASKED},

    {501, 501, NULL, ANY, CS_REJECT, CS_CODE_BAD_REQUEST, SCOPE_ASKED},
    {504, 504, NULL, LISTING, CS_RETRY, CS_CODE_PAGE_TOO_LARGE, SCOPE_ASKED},
    {507, 507, NULL, ANY, CS_RETRY, CS_CODE_SERVICE_UNAVAILABLE, CS_SCOPE_MAILBOX},
    {509, 509, NULL, ANY, CS_RETRY, CS_CODE_THROTTLED, CS_SCOPE_MAILBOX},
    {500, 599, mailbox_busy_codes, ANY, CS_RETRY, CS_CODE_SERVICE_UNAVAILABLE, CS_SCOPE_MAILBOX},
    {500, 599, NULL, ANY, CS_RETRY, CS_CODE_SERVICE_UNAVAILABLE, SCOPE_ASKED},
};
/* No redirect is followed, and nothing else is a status of HTTP. */
static const struct rule no_rule = {0, 0, NULL, 0, CS_RETRY, CS_CODE_BAD_ANSWER, SCOPE_ASKED};

static bool is_one_of(const char *code, const char *const *codes)
{
    for (; *codes != NULL; codes++)
        if (strcasecmp(code, *codes) == 0)
            return true;
    return false;
}

static enum cs_scope scope_of(enum cs_asked asked)
{
    switch (asked) {
    case CS_ASKED_ITEM: return CS_SCOPE_ITEM;
    case CS_ASKED_FOLDER:
    case CS_ASKED_CURSOR: return CS_SCOPE_STREAM;
    default: return CS_SCOPE_MAILBOX;
    }
}

/* A code is kept if it is a name; anything else might be content. */
static void keep_code(const char *code, char out[CS_GRAPH_CODE_MAX])
{
    size_t n = 0;
    for (; code[n] != '\0' && n < CS_GRAPH_CODE_MAX; n++) {
        char c = code[n];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '.' || c == '-'))
            break;
    }
    bool whole = code[n] == '\0' && n < CS_GRAPH_CODE_MAX;
    memcpy(out, code, whole ? n : 0);
    out[whole ? n : 0] = '\0';
}

static void fill(struct cs_verdict *ret, enum cs_outcome outcome, enum cs_code code,
                 enum cs_scope scope)
{
    *ret =
        (struct cs_verdict){.outcome = outcome, .code = code, .scope = scope, .retry_after_ms = -1};
}

void cs_verdict_of_graph(int http_status, const char *code, const char *retry_after,
                         enum cs_asked asked, int64_t utc_ms, struct cs_verdict *ret)
{
    const struct rule *rule = &no_rule;

    if (code == NULL)
        code = "";
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *r = &rules[i];
        if (http_status >= r->from && http_status <= r->to && (r->asked & BIT(asked)) != 0 &&
            (r->codes == NULL || is_one_of(code, r->codes))) {
            rule = r;
            break;
        }
    }
    fill(ret, rule->outcome, rule->code,
         rule->scope == SCOPE_ASKED ? scope_of(asked) : (enum cs_scope)rule->scope);
    ret->http_status = http_status;
    ret->fresh_token = rule->code == CS_CODE_TOKEN_REFUSED;
    if (rule->outcome == CS_RETRY)
        ret->retry_after_ms = cs_retry_after_ms(retry_after, utc_ms);
    keep_code(code, ret->service_code);
}

void cs_verdict_of_net(enum cs_net net, struct cs_verdict *ret)
{
    static const struct {
        enum cs_outcome outcome;
        enum cs_code code;
        enum cs_scope scope;
    } of[] = {
        [CS_NET_OK] = {CS_DONE, CS_CODE_NONE, CS_SCOPE_STREAM},
        [CS_NET_CONNECT] = {CS_RETRY, CS_CODE_NETWORK, CS_SCOPE_SERVICE},
        [CS_NET_TLS] = {CS_RETRY, CS_CODE_TLS, CS_SCOPE_SERVICE},
        /* one answer that breaks off or never ends may be one mailbox's trouble: it parks nobody else */
        [CS_NET_RESET] = {CS_RETRY, CS_CODE_NETWORK, CS_SCOPE_MAILBOX},
        [CS_NET_TIMEOUT] = {CS_RETRY, CS_CODE_NETWORK, CS_SCOPE_MAILBOX},
        [CS_NET_TOO_LARGE] = {CS_RETRY, CS_CODE_PAGE_TOO_LARGE, CS_SCOPE_STREAM},
        [CS_NET_ENCODING] = {CS_RETRY, CS_CODE_BAD_ANSWER, CS_SCOPE_STREAM},
        [CS_NET_CANCELLED] = {CS_RETRY, CS_CODE_NONE, CS_SCOPE_STREAM},
    };

    if ((unsigned)net < sizeof(of) / sizeof(of[0]))
        fill(ret, of[net].outcome, of[net].code, of[net].scope);
    else
        fill(ret, CS_RETRY, CS_CODE_INTERNAL, CS_SCOPE_STREAM);
}

/* --- the token endpoint ------------------------------------------------------------------------ */

static const struct {
    int64_t number;
    enum cs_code code;
} aadsts_codes[] = {
    {7000215,
     CS_CODE_CREDENTIALS_REFUSED}, /* wrong secret, or the secret's id instead of its value */
    {7000222, CS_CODE_CREDENTIALS_REFUSED}, /* secret expired */
    {7000218, CS_CODE_CREDENTIALS_REFUSED}, /* neither secret nor assertion arrived */
    {700027, CS_CODE_CREDENTIALS_REFUSED},  /* certificate not registered, or bad signature */
    {700024, CS_CODE_CREDENTIALS_REFUSED},  /* assertion outside its time: a clock is wrong */
    {50012, CS_CODE_CREDENTIALS_REFUSED},   /* assertion refused */
    {700016, CS_CODE_TENANT_REFUSED},       /* app not in that tenant */
    {7000112, CS_CODE_TENANT_REFUSED},      /* app disabled */
    {700011, CS_CODE_TENANT_REFUSED},
    {70001, CS_CODE_TENANT_REFUSED},
    {90002, CS_CODE_TENANT_REFUSED},   /* no such tenant, or another cloud */
    {900023, CS_CODE_TENANT_REFUSED},  /* tenant id malformed */
    {9001023, CS_CODE_TENANT_REFUSED}, /* common is no tenant */
    {90038, CS_CODE_TENANT_REFUSED},   /* another national cloud */
    {70011, CS_CODE_TENANT_REFUSED},   /* scope */
    {28002, CS_CODE_TENANT_REFUSED},
    {1002012, CS_CODE_TENANT_REFUSED},
    {700022, CS_CODE_TENANT_REFUSED},
    {500011, CS_CODE_TENANT_REFUSED}, /* Graph is not there, or not enabled for the app */
    {50001, CS_CODE_TENANT_REFUSED},
    {650052, CS_CODE_TENANT_REFUSED},
    {650057, CS_CODE_TENANT_REFUSED},
    {900144, CS_CODE_TENANT_REFUSED}, /* a form field is missing: an empty setting */
    {90014, CS_CODE_TENANT_REFUSED},
    {53003, CS_CODE_TENANT_REFUSED}, /* Conditional Access */
    {530032, CS_CODE_TENANT_REFUSED},
    {50034, CS_CODE_TENANT_REFUSED},    /* seen without a user it means a wrong tenant */
    {50196, CS_CODE_TOKEN_UNAVAILABLE}, /* asked too often */
    {90006, CS_CODE_TOKEN_UNAVAILABLE},
    {90012, CS_CODE_TOKEN_UNAVAILABLE},
    {90024, CS_CODE_TOKEN_UNAVAILABLE},
    {90033, CS_CODE_TOKEN_UNAVAILABLE},
    {50000, CS_CODE_TOKEN_UNAVAILABLE},
    {90055, CS_CODE_TOKEN_UNAVAILABLE}, /* tenant throttled */
};

static const struct {
    const char *error;
    enum cs_code code;
} oauth_codes[] = {
    {"invalid_client", CS_CODE_CREDENTIALS_REFUSED},
    {"unauthorized_client", CS_CODE_TENANT_REFUSED},
    {"invalid_request", CS_CODE_TENANT_REFUSED},
    {"invalid_scope", CS_CODE_TENANT_REFUSED},
    {"invalid_resource", CS_CODE_TENANT_REFUSED},
    {"invalid_grant", CS_CODE_TENANT_REFUSED},
    {"access_denied", CS_CODE_TENANT_REFUSED},
    {"unsupported_grant_type", CS_CODE_TENANT_REFUSED},
};

static enum cs_code token_code(int http_status, const char *error, const int64_t *aadsts, size_t n)
{
    if (http_status < 400 || http_status > 499 || http_status == 429 || http_status == 408 ||
        strcasecmp(error, "temporarily_unavailable") == 0 || strcasecmp(error, "server_error") == 0)
        return CS_CODE_TOKEN_UNAVAILABLE;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof(aadsts_codes) / sizeof(aadsts_codes[0]); k++)
            if (aadsts[i] == aadsts_codes[k].number)
                return aadsts_codes[k].code;
    for (size_t k = 0; k < sizeof(oauth_codes) / sizeof(oauth_codes[0]); k++)
        if (strcasecmp(error, oauth_codes[k].error) == 0)
            return oauth_codes[k].code;
    /* an error name that we do not know is still a refusal; none at all is not the endpoint speaking */
    return error[0] != '\0' ? CS_CODE_TENANT_REFUSED : CS_CODE_TOKEN_UNAVAILABLE;
}

void cs_verdict_of_token(int http_status, const char *error, const int64_t *aadsts, size_t n,
                         const char *retry_after, int64_t utc_ms, struct cs_verdict *ret)
{
    if (error == NULL)
        error = "";
    fill(ret, CS_RETRY, token_code(http_status, error, aadsts, n), CS_SCOPE_TENANT);
    ret->http_status = http_status;
    ret->retry_after_ms = cs_retry_after_ms(retry_after, utc_ms);
    if (n > 0 && aadsts[0] >= 0)
        (void)snprintf(ret->service_code, sizeof(ret->service_code), "AADSTS%lld",
                       (long long)aadsts[0]);
    else
        keep_code(error, ret->service_code);
}
