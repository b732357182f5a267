#include "worker/filter.h"

#include <string.h>

#include "common/tenant.h"
#include "tests/unit/cmocka_all.h"

static struct cs_js js(const char *text)
{
    struct cs_js v = {0};

    if (text != NULL)
        assert_int_equal(cs_js_check(text, strlen(text), 8, &v, NULL), 0);
    return v;
}

static void test_private_events(void **state)
{
    static const struct {
        const char *event, *master;
        bool is_private;
    } cases[] = {
        {"{\"sensitivity\":\"normal\"}", NULL, false},
        {"{\"sensitivity\":\"Personal\"}", NULL, false},
        {"{\"sensitivity\":\"private\"}", NULL, true},
        {"{\"sensitivity\":\"Confidential\"}", NULL, true},
        {"{\"sensitivity\":\"unknownFutureValue\"}", NULL, true},
        {"{\"sensitivity\":null}", NULL, true},
        {"{\"sensitivity\":5}", NULL, true},
        {"{}", NULL, true},
        {"{}", "{\"sensitivity\":\"normal\"}", false},
        {"{}", "{\"sensitivity\":\"private\"}", true},
        {"{}", "{}", true},
        {"{\"sensitivity\":\"normal\"}", "{\"sensitivity\":\"private\"}", true},
        {"{\"sensitivity\":\"private\"}", "{\"sensitivity\":\"normal\"}", true},
        {"{\"sensitivity\":\"normal\"}", "{}", false},
    };
    static const struct {
        enum cs_private_rule rule;
        enum cs_publish publish;
    } rules[] = {{CS_PRIVATE_BUSY_ONLY, CS_PUBLISH_BUSY_ONLY},
                 {CS_PRIVATE_SKIP, CS_PUBLISH_HOLD},
                 {CS_PRIVATE_FULL, CS_PUBLISH_FULL}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < 3; k++) {
            struct cs_tenant tenant = {.private_events = rules[k].rule};
            struct cs_decision d =
                cs_filter_event(&tenant, js(cases[i].event), js(cases[i].master));
            enum cs_publish want = cases[i].is_private ? rules[k].publish : CS_PUBLISH_FULL;

            assert_int_equal(d.publish, want);
            if (want == CS_PUBLISH_FULL)
                assert_null(d.reason);
            else
                assert_string_equal(d.reason, "private");
        }
    }
}

#define P(a)         "{\"emailAddress\":{\"address\":\"" a "\"}}"
#define FROM(a)      "\"from\":" P(a) ",\"sender\":" P(a)
#define TO(a)        "\"toRecipients\":[" P(a) "]"
#define CC(a)        "\"ccRecipients\":[" P(a) "]"
#define HEADER(n, v) "\"internetMessageHeaders\":[{\"name\":\"" n "\",\"value\":\"" v "\"}]"
#define SENSITIVITY(v) \
    "\"singleValueExtendedProperties\":[{\"id\":\"Integer 0x36\",\"value\":\"" v "\"}]"
#define ANN "ann@contoso.example"
#define BOB "Bob@Contoso.example"
#define EVE "eve@fabrikam.example"

static void test_mail(void **state)
{
    enum { NEVER = 1, PRIVATE = 2, INTERNAL = 4, AUTOMATED = 8, UNKNOWN = 16 };
    char *never[] = {(char[]){"lawyer.example"}, (char[]){"*.court.example"}, (char[]){"union@*"},
                     (char[]){"max@fabrikam.example"}};
    char *senders[] = {(char[]){"*@alerts.example"}};
    char *own[] = {(char[]){"contoso.example"}};
    char *contacts[] = {(char[]){"eve@fabrikam.example"}, (char[]){"known.example"}};
    static const struct {
        const char *message;
        int held; /* the rules that hold it, each alone */
    } cases[] = {
        {"{" FROM(EVE) "," TO(ANN) "}", 0},
        {"{" FROM(BOB) "," TO(ANN) "}", INTERNAL | UNKNOWN},
        {"{" FROM(BOB) "," TO(ANN) "," CC(EVE) "}", 0},
        {"{" FROM(BOB) "}", INTERNAL | UNKNOWN}, /* all of them in bcc */
        {"{" FROM(BOB) ",\"bccRecipients\":[" P(EVE) "]}", 0},
        {"{" FROM(EVE) "}", 0},
        {"{" TO(ANN) "}", UNKNOWN}, /* nobody knows from whom */
        {"{" FROM("/O=EX/CN=BOB") "," TO(ANN) "}", INTERNAL | UNKNOWN},
        {"{" FROM("a@LAWYER.example") "," TO(ANN) "}", NEVER | UNKNOWN},
        {"{" FROM("a@sub.lawyer.example") "," TO(ANN) "}", UNKNOWN},
        {"{" FROM("a@x.court.example") "," TO(ANN) "}", NEVER | UNKNOWN},
        {"{" FROM("a@court.example") "," TO(ANN) "}", UNKNOWN},
        {"{" FROM(EVE) "," TO(ANN) "," CC("union@a.example") "}", NEVER},
        {"{" FROM("Max+news@fabrikam.example") "," TO(ANN) "}", NEVER | UNKNOWN},
        {"{" FROM(EVE) ",\"replyTo\":[" P("max@fabrikam.example") "]," TO(ANN) "}", NEVER},
        {"{" FROM("max@lawyer.example.evil") "," TO(ANN) "}", UNKNOWN},
        {"{" FROM("eve+crm@fabrikam.example") "," TO(ANN) "}", 0},
        {"{" FROM("any@known.example") "," TO(ANN) "}", 0},
        {"{" FROM("any@not-known.example") "," TO(ANN) "}", UNKNOWN},
        {"{" FROM("NoReply@known.example") "," TO(ANN) "}", AUTOMATED},
        {"{" FROM("x@alerts.example") "," TO(ANN) "}", AUTOMATED | UNKNOWN},
        {"{" FROM(EVE) "," TO("noreply@fabrikam.example") "}", 0},
        {"{" FROM(EVE) "," HEADER("list-id", "<a.b>") "}", AUTOMATED},
        {"{" FROM(EVE) "," HEADER("Auto-Submitted", "auto-replied") "}", AUTOMATED},
        {"{" FROM(EVE) "," HEADER("Auto-Submitted", "No") "}", 0},
        {"{" FROM(EVE) "," HEADER("Precedence", "Bulk") "}", AUTOMATED},
        {"{" FROM(EVE) "," HEADER("Precedence", "first-class") "}", 0},
        {"{" FROM(EVE) "," HEADER("X-Auto-Response-Suppress", "All") "}", AUTOMATED},
        {"{" FROM(EVE) "," SENSITIVITY("2") "}", PRIVATE},
        {"{" FROM(EVE) "," SENSITIVITY("3") "}", PRIVATE},
        {"{" FROM(EVE) "," SENSITIVITY("9") "}", PRIVATE}, /* what we do not know */
        {"{" FROM(EVE) "," SENSITIVITY("1") "}", 0},
        {"{" FROM(EVE) "," SENSITIVITY("0") "}", 0},
    };
    static const struct {
        int rule;
        const char *reason;
    } rules[] = {{NEVER, "never_log"},
                 {PRIVATE, "private"},
                 {INTERNAL, "internal"},
                 {AUTOMATED, "automated"},
                 {UNKNOWN, "unknown"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < 10; k++) {
            int rule = rules[k % 5].rule;
            const struct cs_mail_rules mail = {
                .skip_private = rule == PRIVATE,
                .skip_internal = rule == INTERNAL,
                .skip_automated = rule == AUTOMATED,
                .skip_unknown = rule == UNKNOWN,
                .never_log = never,
                .n_never_log = rule == NEVER ? 4 : 0,
            };
            struct cs_mailbox_rules single = {.mailbox = (char[]){ANN}, .mail = mail};
            struct cs_tenant t = {.own_domains = own,
                                  .n_own_domains = 1,
                                  .contacts = contacts,
                                  .n_contacts = 2,
                                  .automated_senders = senders,
                                  .n_automated_senders = 1};
            struct cs_decision d;

            if (k < 5) { /* of the tenant */
                t.mail = mail;
            } else { /* of the mailbox alone */
                t.mailbox_rules = &single;
                t.n_mailbox_rules = 1;
                assert_int_equal(
                    cs_filter_email(&t, "bob@contoso.example", js(cases[i].message), &d), 0);
                assert_int_equal(d.publish, CS_PUBLISH_FULL);
            }
            assert_int_equal(cs_filter_email(&t, ANN, js(cases[i].message), &d), 0);
            if ((d.publish == CS_PUBLISH_HOLD) != ((cases[i].held & rule) != 0))
                fail_msg("%s: %s", rules[k % 5].reason, cases[i].message);
            if (d.publish == CS_PUBLISH_HOLD) {
                assert_string_equal(d.reason, rules[k % 5].reason);
                assert_string_equal(cs_held_name(d.held), d.reason);
                assert_int_equal(d.may_have_changed, rule == PRIVATE);
            }
        }
    }
}

/* What a change may have caused is taken back: people change in drafts only. */
static void test_a_draft_may_be_out(void **state)
{
    char *never[] = {(char[]){"*@fabrikam.example"}};
    const struct cs_tenant t = {.mail = {.never_log = never, .n_never_log = 1}};
    struct cs_decision d;

    (void)state;
    assert_int_equal(
        cs_filter_email(&t, ANN, js("{\"isDraft\":true," FROM(ANN) "," TO(EVE) "}"), &d), 0);
    assert_int_equal(d.publish, CS_PUBLISH_HOLD);
    assert_true(d.may_have_changed);
}

static void test_mail_passes(void **state)
{
    const struct cs_tenant tenant = {.private_events = CS_PRIVATE_SKIP};
    struct cs_decision d;

    (void)state;
    assert_int_equal(cs_filter_email(&tenant, ANN, js("{\"id\":\"1\"}"), &d), 0);
    assert_int_equal(d.publish, CS_PUBLISH_FULL);
    assert_null(d.reason);
    assert_false(cs_filter_envelopes_first(&tenant, ANN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_private_events),
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_a_draft_may_be_out),
        cmocka_unit_test(test_mail_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
