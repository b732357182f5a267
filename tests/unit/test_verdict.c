#include "cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "common/verdict.h"

#define NOW INT64_C(784111777000) /* Sun, 06 Nov 1994 08:49:37 GMT */

struct graph_case {
    int status;
    const char *code;
    enum cs_asked asked;
    enum cs_outcome outcome;
    enum cs_code want;
    enum cs_scope scope;
};

static void check_graph(const struct graph_case *c)
{
    struct cs_verdict v;
    memset(&v, 0x5a, sizeof(v));
    cs_verdict_of_graph(c->status, c->code, NULL, c->asked, NOW, &v);
    if (v.outcome != c->outcome || v.code != c->want || v.scope != c->scope)
        fail_msg("%d %s asked %d: %s %s %s", c->status, c->code, c->asked,
                 cs_outcome_name(v.outcome), cs_code_name(v.code), cs_scope_name(v.scope));
    assert_int_equal(v.http_status, c->status);
    assert_int_equal(v.fresh_token, c->want == CS_CODE_TOKEN_REFUSED);
    assert_true(v.retry_after_ms == -1);
    assert_string_equal(v.service_code, c->code);
    assert_string_equal(v.request_id, "");
}

#define M                   CS_ASKED_MAILBOX
#define F                   CS_ASKED_FOLDER
#define C                   CS_ASKED_CURSOR
#define I                   CS_ASKED_ITEM
#define B                   CS_ASKED_BATCH
#define RETRY(code, scope)  CS_RETRY, CS_CODE_##code, CS_SCOPE_##scope
#define REJECT(code, scope) CS_REJECT, CS_CODE_##code, CS_SCOPE_##scope
#define RESYNC              CS_RESYNC, CS_CODE_CURSOR_DEAD, CS_SCOPE_STREAM

/* contract: error.code_is_a_name error.403.odata_disabled */
static void test_table_of_graph(void **state)
{
    (void)state;
    static const struct graph_case t[] = {
        {200, "", C, CS_DONE, CS_CODE_NONE, CS_SCOPE_STREAM},
        {204, "", I, CS_DONE, CS_CODE_NONE, CS_SCOPE_ITEM},
        {302, "", C, RETRY(BAD_ANSWER, STREAM)},
        {0, "", M, RETRY(BAD_ANSWER, MAILBOX)},
        {999, "", M, RETRY(BAD_ANSWER, MAILBOX)},
        /* tokens */
        {401, "InvalidAuthenticationToken", M, RETRY(TOKEN_REFUSED, TENANT)},
        {401, "Unauthorized", I, RETRY(TOKEN_REFUSED, TENANT)},
        {401, "", B, RETRY(TOKEN_REFUSED, TENANT)},
        /* scoping */
        {403, "ErrorAccessDenied", M, RETRY(MAILBOX_DENIED, MAILBOX)},
        {403, "ErrorAccessDenied", I, RETRY(MAILBOX_DENIED, MAILBOX)},
        {403, "Authorization_RequestDenied", M, RETRY(MAILBOX_DENIED, MAILBOX)},
        {403, "ErrorSendAsDenied", I, RETRY(MAILBOX_DENIED, MAILBOX)},
        {403, "extensionError", C, RETRY(MAILBOX_DENIED, MAILBOX)},
        {403, "", F, RETRY(MAILBOX_DENIED, MAILBOX)},
        /* quota for sending, whatever its status */
        {403, "ErrorExceededMessageLimit", I, RETRY(THROTTLED, MAILBOX)},
        {400, "ErrorMessageSubmissionBlocked", I, RETRY(THROTTLED, MAILBOX)},
        {429, "ErrorSubmissionQuotaExceeded", I, RETRY(THROTTLED, MAILBOX)},
        {403, "ErrorAccountSuspend", I, RETRY(THROTTLED, MAILBOX)},
        {403, "activityLimitReached", M, RETRY(THROTTLED, MAILBOX)},
        /* no mailbox: the same whatever was asked */
        {404, "MailboxNotEnabledForRESTAPI", C, RETRY(MAILBOX_MISSING, MAILBOX)},
        {404, "MailboxNotSupportedForRESTAPI", M, RETRY(MAILBOX_MISSING, MAILBOX)},
        {404, "ErrorInvalidUser", F, RETRY(MAILBOX_MISSING, MAILBOX)},
        {404, "ResourceNotFound", I, RETRY(MAILBOX_MISSING, MAILBOX)},
        {404, "Request_ResourceNotFound", B, RETRY(MAILBOX_MISSING, MAILBOX)},
        {404, "ErrorNonExistentMailbox", M, RETRY(MAILBOX_MISSING, MAILBOX)},
        {404, "mailboxnotenabledforrestapi", I, RETRY(MAILBOX_MISSING, MAILBOX)},
        /* gone */
        {404, "ErrorItemNotFound", I, REJECT(ITEM_GONE, ITEM)},
        {404, "erroritemnotfound", I, REJECT(ITEM_GONE, ITEM)},
        {404, "itemNotFound", F, REJECT(FOLDER_GONE, STREAM)},
        {404, "ErrorItemNotFound", C, REJECT(FOLDER_GONE, STREAM)},
        {404, "ErrorItemNotFound", M, RETRY(MAILBOX_MISSING, MAILBOX)},
        /* a 404 that Graph did not explain proves nothing */
        {404, "", I, RETRY(BAD_ANSWER, ITEM)},
        {404, "", C, RETRY(BAD_ANSWER, STREAM)},
        {404, "UnknownError", F, RETRY(BAD_ANSWER, STREAM)},
        {404, "", B, RETRY(BAD_ANSWER, MAILBOX)},
        {404, "", M, RETRY(MAILBOX_MISSING, MAILBOX)},
        /* dead cursors */
        {410, "", C, RESYNC},
        {410, "SyncStateNotFound", C, RESYNC},
        {410, "SyncStateInvalid", C, RESYNC},
        {410, "resyncRequired", F, RESYNC},
        {400, "syncStateNotFound", C, RESYNC},
        {404, "SYNCSTATENOTFOUND", C, RESYNC},
        {409, "resyncApplyDifferences", C, RESYNC},
        {400, "resyncUploadDifferences", C, RESYNC},
        {410, "anything", F, RESYNC},
        {410, "", I, RETRY(BAD_ANSWER, ITEM)},
        {410, "", M, RETRY(BAD_ANSWER, MAILBOX)},
        {400, "syncStateNotFound", I, REJECT(BAD_REQUEST, ITEM)},
        /* our mistakes */
        {400, "ErrorInvalidIdMalformed", I, REJECT(BAD_REQUEST, ITEM)},
        {400, "RequestBroker--ParseUri", C, REJECT(BAD_REQUEST, STREAM)},
        {400, "InefficientFilter", F, REJECT(BAD_REQUEST, STREAM)},
        {400, "BadRequest", B, REJECT(BAD_REQUEST, MAILBOX)},
        {402, "", M, REJECT(BAD_REQUEST, MAILBOX)},
        {405, "", I, REJECT(BAD_REQUEST, ITEM)},
        {406, "", I, REJECT(BAD_REQUEST, ITEM)},
        {411, "", I, REJECT(BAD_REQUEST, ITEM)},
        {413, "RequestEntityTooLarge", I, REJECT(BAD_REQUEST, ITEM)},
        {415, "", I, REJECT(BAD_REQUEST, ITEM)},
        {416, "", I, REJECT(BAD_REQUEST, ITEM)},
        {422, "", I, REJECT(BAD_REQUEST, ITEM)},
        {501, "NotImplemented", C, REJECT(BAD_REQUEST, STREAM)},
        /* what passes */
        {408, "", C, RETRY(SERVICE_UNAVAILABLE, STREAM)},
        {409, "ErrorIrresolvableConflict", I, RETRY(SERVICE_UNAVAILABLE, ITEM)},
        {412, "ErrorIrresolvableConflict", I, RETRY(SERVICE_UNAVAILABLE, ITEM)},
        {423, "ErrorQuotaExceeded", I, RETRY(SERVICE_UNAVAILABLE, ITEM)},
        {424, "", I, RETRY(SERVICE_UNAVAILABLE, ITEM)},
        {429, "ApplicationThrottled", I, RETRY(THROTTLED, MAILBOX)},
        {429, "", B, RETRY(THROTTLED, MAILBOX)},
        {509, "", C, RETRY(THROTTLED, MAILBOX)},
        {500, "ErrorInternalServerError", I, RETRY(SERVICE_UNAVAILABLE, ITEM)},
        {500, "", C, RETRY(SERVICE_UNAVAILABLE, STREAM)},
        {502, "", M, RETRY(SERVICE_UNAVAILABLE, MAILBOX)},
        {503, "ErrorMailboxStoreUnavailable", I, RETRY(SERVICE_UNAVAILABLE, MAILBOX)},
        {503, "ErrorServerBusy", C, RETRY(SERVICE_UNAVAILABLE, MAILBOX)},
        {503, "ResourceUnhealthy", C, RETRY(SERVICE_UNAVAILABLE, MAILBOX)},
        {503, "serviceNotAvailable", C, RETRY(SERVICE_UNAVAILABLE, STREAM)},
        {507, "ErrorQuotaExceeded", I, RETRY(SERVICE_UNAVAILABLE, MAILBOX)},
        {504, "UnknownError", C, RETRY(PAGE_TOO_LARGE, STREAM)},
        {504, "", F, RETRY(PAGE_TOO_LARGE, STREAM)},
        {504, "", M, RETRY(PAGE_TOO_LARGE, MAILBOX)},
        {504, "", I, RETRY(SERVICE_UNAVAILABLE, ITEM)},
        {504, "", B, RETRY(SERVICE_UNAVAILABLE, MAILBOX)},
        {599, "", C, RETRY(SERVICE_UNAVAILABLE, STREAM)},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        check_graph(&t[i]);
}

/* For every status and everything asked there is an answer, and no error is ever taken for success. */
static void test_every_status_has_a_verdict(void **state)
{
    (void)state;
    for (int status = -1; status < 700; status++) {
        for (int asked = M; asked <= (int)B; asked++) {
            struct cs_verdict v;
            cs_verdict_of_graph(status, NULL, NULL, (enum cs_asked)asked, NOW, &v);
            bool ok = status >= 200 && status <= 299;
            assert_int_equal(v.outcome == CS_DONE, ok);
            assert_int_equal(v.code == CS_CODE_NONE, ok);
            assert_true(v.outcome != CS_FATAL && v.outcome != CS_MORE);
            /* nothing is said to be gone without Graph's word */
            assert_true(v.code != CS_CODE_ITEM_GONE && v.code != CS_CODE_FOLDER_GONE);
        }
    }
}

/* contract: throttle.retry_after_date throttle.retry_after_seconds throttle.retry_after_absent */
static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t ms;
    } t[] = {
        {NULL, -1},
        {"", -1},
        {"10", 10000},
        {"0", 0},
        {" 7 ", 7000},
        {"-5", -1},
        {"abc", -1},
        {"10x", -1},
        {"1.5", 2000},
        {"1.", 1000},
        {"86400", 86400000},
        {"86401", 86400000},
        {"99999999999999999999", 86400000},
        {"Sun, 06 Nov 1994 08:49:47 GMT", 10000},
        {"Sunday, 06-Nov-94 08:49:47 GMT", 10000},
        {"Sun Nov  6 08:49:47 1994", 10000},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1993 08:49:37 GMT", 0},
        {"Sun, 06 Nov 2094 08:49:37 GMT", 86400000},
        {"Sun, 06 Nov 1994 08:49:47 CET", -1},
        {"Sun, 06 Xxx 1994 08:49:47 GMT", -1},
        {"Sun, 31 Feb 1994 08:49:47 GMT", -1},
        {"Sun, 06 Nov 1994", -1},
        {"Sun, 06 Nov 1994 08:49:47 GMT x", -1},
        {"Sun, 06 anF 1994 08:49:47 GMT", -1},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        if (cs_retry_after_ms(t[i].value, NOW) != t[i].ms)
            fail_msg("%s gave %lld", t[i].value, (long long)cs_retry_after_ms(t[i].value, NOW));

    struct cs_verdict v;
    cs_verdict_of_graph(429, "x", "3", C, NOW, &v);
    assert_true(v.retry_after_ms == 3000);
    cs_verdict_of_graph(503, "x", "Sun, 06 Nov 1994 08:49:47 GMT", C, NOW, &v);
    assert_true(v.retry_after_ms == 10000);
    cs_verdict_of_graph(400, "x", "3", C, NOW, &v);
    assert_true(v.retry_after_ms == -1); /* nothing to wait for */
}

/* Graph's code is kept when it is a name, never when it could be content. */
/* contract: error.code_is_a_name */
static void test_service_code_is_a_name(void **state)
{
    (void)state;
    struct cs_verdict v;
    char text[CS_GRAPH_CODE_MAX + 1];
    cs_verdict_of_graph(400, "ann@contoso.example", NULL, M, NOW, &v);
    assert_string_equal(v.service_code, "");
    cs_verdict_of_graph(400, "Bad Request", NULL, M, NOW, &v);
    assert_string_equal(v.service_code, "");
    memset(text, 'a', sizeof(text));
    text[CS_GRAPH_CODE_MAX] = '\0';
    cs_verdict_of_graph(400, text, NULL, M, NOW, &v);
    assert_string_equal(v.service_code, "");
    text[CS_GRAPH_CODE_MAX - 1] = '\0';
    cs_verdict_of_graph(400, text, NULL, M, NOW, &v);
    assert_string_equal(v.service_code, text);
}

/* contract: error.broken_transfer page.too_large */
static void test_table_of_net(void **state)
{
    (void)state;
    static const struct {
        enum cs_net net;
        enum cs_outcome outcome;
        enum cs_code code;
        enum cs_scope scope;
    } t[] = {
        {CS_NET_OK, CS_DONE, CS_CODE_NONE, CS_SCOPE_STREAM},
        {CS_NET_CONNECT, RETRY(NETWORK, SERVICE)},
        {CS_NET_TLS, RETRY(TLS, SERVICE)},
        {CS_NET_RESET, RETRY(NETWORK, MAILBOX)},
        {CS_NET_TIMEOUT, RETRY(NETWORK, MAILBOX)},
        {CS_NET_TOO_LARGE, RETRY(PAGE_TOO_LARGE, STREAM)},
        {CS_NET_ENCODING, RETRY(BAD_ANSWER, STREAM)},
        {CS_NET_CANCELLED, RETRY(NONE, STREAM)},
        {(enum cs_net)77, RETRY(INTERNAL, STREAM)},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct cs_verdict v;
        cs_verdict_of_net(t[i].net, &v);
        assert_int_equal(v.outcome, t[i].outcome);
        assert_int_equal(v.code, t[i].code);
        assert_int_equal(v.scope, t[i].scope);
        assert_int_equal(v.http_status, 0);
        assert_true(v.retry_after_ms == -1);
    }
}

/* contract: aadsts.7000215 aadsts.7000222 aadsts.7000218 aadsts.700027 aadsts.700024 aadsts.50012 */
/* contract: aadsts.700016 aadsts.7000112 aadsts.700011 aadsts.70001 aadsts.90002 aadsts.900023 */
/* contract: aadsts.9001023 aadsts.90038 aadsts.70011 aadsts.28002 aadsts.1002012 aadsts.700022 */
/* contract: aadsts.500011 aadsts.50001 aadsts.650052 aadsts.650057 aadsts.900144 aadsts.90014 */
/* contract: aadsts.53003 aadsts.530032 aadsts.50034 aadsts.50196 aadsts.90006 aadsts.90012 */
/* contract: aadsts.90024 aadsts.90033 aadsts.50000 aadsts.90055 token.proxy_answer */
static void test_table_of_token(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *error;
        int64_t number; /* 0: none */
        enum cs_code code;
        const char *service_code;
    } t[] = {
        {401, "invalid_client", 7000215, CS_CODE_CREDENTIALS_REFUSED, "AADSTS7000215"},
        {401, "invalid_client", 7000222, CS_CODE_CREDENTIALS_REFUSED, "AADSTS7000222"},
        {401, "invalid_client", 7000218, CS_CODE_CREDENTIALS_REFUSED, "AADSTS7000218"},
        {401, "invalid_client", 700027, CS_CODE_CREDENTIALS_REFUSED, "AADSTS700027"},
        {401, "invalid_client", 700024, CS_CODE_CREDENTIALS_REFUSED, "AADSTS700024"},
        {401, "invalid_client", 50012, CS_CODE_CREDENTIALS_REFUSED, "AADSTS50012"},
        {401, "invalid_client", 0, CS_CODE_CREDENTIALS_REFUSED, "invalid_client"},
        {401, "invalid_client", 123456, CS_CODE_CREDENTIALS_REFUSED, "AADSTS123456"},
        {401, "invalid_client", 650052, CS_CODE_TENANT_REFUSED, "AADSTS650052"},
        {400, "unauthorized_client", 700016, CS_CODE_TENANT_REFUSED, "AADSTS700016"},
        {401, "unauthorized_client", 7000112, CS_CODE_TENANT_REFUSED, "AADSTS7000112"},
        {400, "unauthorized_client", 700011, CS_CODE_TENANT_REFUSED, "AADSTS700011"},
        {400, "unauthorized_client", 70001, CS_CODE_TENANT_REFUSED, "AADSTS70001"},
        {400, "invalid_request", 90002, CS_CODE_TENANT_REFUSED, "AADSTS90002"},
        {400, "invalid_request", 900023, CS_CODE_TENANT_REFUSED, "AADSTS900023"},
        {400, "", 90038, CS_CODE_TENANT_REFUSED, "AADSTS90038"},
        {400, "invalid_scope", 70011, CS_CODE_TENANT_REFUSED, "AADSTS70011"},
        {400, "invalid_scope", 28002, CS_CODE_TENANT_REFUSED, "AADSTS28002"},
        {400, "invalid_scope", 1002012, CS_CODE_TENANT_REFUSED, "AADSTS1002012"},
        {400, "invalid_scope", 700022, CS_CODE_TENANT_REFUSED, "AADSTS700022"},
        {400, "invalid_resource", 50001, CS_CODE_TENANT_REFUSED, "AADSTS50001"},
        {400, "invalid_resource", 650057, CS_CODE_TENANT_REFUSED, "AADSTS650057"},
        {400, "invalid_request", 90014, CS_CODE_TENANT_REFUSED, "AADSTS90014"},
        {400, "invalid_request", 9001023, CS_CODE_TENANT_REFUSED, "AADSTS9001023"},
        {400, "invalid_resource", 500011, CS_CODE_TENANT_REFUSED, "AADSTS500011"},
        {400, "invalid_request", 900144, CS_CODE_TENANT_REFUSED, "AADSTS900144"},
        {400, "access_denied", 53003, CS_CODE_TENANT_REFUSED, "AADSTS53003"},
        {400, "invalid_grant", 530032, CS_CODE_TENANT_REFUSED, "AADSTS530032"},
        {400, "invalid_grant", 50034, CS_CODE_TENANT_REFUSED, "AADSTS50034"},
        {400, "something_new", 0, CS_CODE_TENANT_REFUSED, "something_new"},
        {400, "invalid_request", 50196, CS_CODE_TOKEN_UNAVAILABLE, "AADSTS50196"},
        {400, "temporarily_unavailable", 90006, CS_CODE_TOKEN_UNAVAILABLE, "AADSTS90006"},
        {400, "temporarily_unavailable", 7000215, CS_CODE_TOKEN_UNAVAILABLE, "AADSTS7000215"},
        {400, "x", 90012, CS_CODE_TOKEN_UNAVAILABLE, "AADSTS90012"},
        {400, "x", 90024, CS_CODE_TOKEN_UNAVAILABLE, "AADSTS90024"},
        {400, "x", 90033, CS_CODE_TOKEN_UNAVAILABLE, "AADSTS90033"},
        {500, "server_error", 50000, CS_CODE_TOKEN_UNAVAILABLE, "AADSTS50000"},
        {429, "", 90055, CS_CODE_TOKEN_UNAVAILABLE, "AADSTS90055"},
        {429, "invalid_client", 0, CS_CODE_TOKEN_UNAVAILABLE, "invalid_client"},
        {408, "", 0, CS_CODE_TOKEN_UNAVAILABLE, ""},
        {503, "", 0, CS_CODE_TOKEN_UNAVAILABLE, ""},
        {403, "", 0, CS_CODE_TOKEN_UNAVAILABLE, ""}, /* a proxy's word, not the endpoint's */
        {200, "", 0, CS_CODE_TOKEN_UNAVAILABLE, ""},
        {0, NULL, 0, CS_CODE_TOKEN_UNAVAILABLE, ""},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct cs_verdict v;
        cs_verdict_of_token(t[i].status, t[i].error, &t[i].number, t[i].number != 0, "4", NOW, &v);
        if (v.code != t[i].code)
            fail_msg("%d %s %lld: %s", t[i].status, t[i].error, (long long)t[i].number,
                     cs_code_name(v.code));
        assert_int_equal(v.outcome, CS_RETRY);
        assert_int_equal(v.scope, CS_SCOPE_TENANT);
        assert_int_equal(v.http_status, t[i].status);
        assert_true(v.retry_after_ms == 4000);
        assert_false(v.fresh_token);
        assert_string_equal(v.service_code, t[i].service_code);
    }
    /* any of several numbers counts */
    struct cs_verdict v;
    cs_verdict_of_token(400, "x", (const int64_t[]){1, 7000222}, 2, NULL, NOW, &v);
    assert_int_equal(v.code, CS_CODE_CREDENTIALS_REFUSED);
}

static void test_names_go_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < CS_FATAL; i++) {
        enum cs_outcome o = CS_FATAL;
        assert_int_equal(cs_outcome_parse(cs_outcome_name((enum cs_outcome)i), &o), 0);
        assert_int_equal(o, i);
    }
    enum cs_outcome o = CS_DONE;
    assert_int_equal(cs_outcome_parse("fatal", &o), -EINVAL);
    assert_int_equal(cs_outcome_parse(NULL, &o), -EINVAL);
    assert_string_equal(cs_outcome_name(CS_FATAL), "fatal");
    for (int i = 0; i < CS_CODE_COUNT_; i++) {
        enum cs_code c = CS_CODE_INTERNAL;
        assert_non_null(cs_code_name((enum cs_code)i));
        assert_int_equal(cs_code_parse(cs_code_name((enum cs_code)i), &c), 0);
        assert_int_equal(c, i);
    }
    enum cs_code c = CS_CODE_NONE;
    assert_int_equal(cs_code_parse("from_the_future", &c), -EINVAL);
    assert_int_equal(c, CS_CODE_INTERNAL);
    assert_string_equal(cs_code_name(CS_CODE_COUNT_), "internal");
    for (int i = 0; i <= (int)CS_SCOPE_SERVICE; i++) {
        enum cs_scope s = CS_SCOPE_ITEM;
        assert_int_equal(cs_scope_parse(cs_scope_name((enum cs_scope)i), &s), 0);
        assert_int_equal(s, i);
    }
    assert_int_equal(cs_scope_parse("x", &(enum cs_scope){CS_SCOPE_ITEM}), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_of_graph),
        cmocka_unit_test(test_every_status_has_a_verdict),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_service_code_is_a_name),
        cmocka_unit_test(test_table_of_net),
        cmocka_unit_test(test_table_of_token),
        cmocka_unit_test(test_names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
