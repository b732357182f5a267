#include "worker/email.h"

#include <errno.h>

#include "tests/unit/graph_sample.h"

static const struct cs_js none;

static struct cs_js person(struct cs_js list, size_t n)
{
    struct cs_js_iter it = {0};
    struct cs_js one = {0};

    for (size_t i = 0; i <= n; i++)
        assert_true(cs_js_next_element(list, &it, &one));
    return one;
}

static void test_whole_message(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "message.json");
    const struct cs_folder_ref inbox = {"AQMkAGInbox0001", "Inbox", "inbox"};
    struct cs_record rec;
    struct cs_js v, who;

    assert_int_equal(cs_email_record(&s->ctx, page.root, &inbox, CS_UPSERTED, NULL, none, &rec), 0);
    v = sample_value(&rec);
    assert_string_equal(rec.key,
                        "acme/ann@contoso.example/email/"
                        "AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0AeKT6zUqr0Eq1hPeaqPpVPgAAAAAB4QAA");
    assert_int_equal(rec.key_len, strlen(rec.key));
    assert_string_equal(rec.folder_id, "AQMkAGInbox0001");
    assert_string_equal(rec.change_key, "CQAAABYAAADHcgC8Hl9tRZ/hc1wEUs1TAAAwR4Hg");
    assert_int_equal(rec.received_utc_ms, 1770110099123);
    assert_false(rec.truncated);
    assert_str(cs_js_get(v, "key"), rec.key);
    assert_str(cs_js_get(v, "kind"), "email");
    assert_str(cs_js_get(v, "change"), "upserted");
    assert_str(cs_js_get(v, "tenant"), "acme");
    assert_str(cs_js_get(v, "mailbox"), "ann@contoso.example");
    assert_str(cs_js_get(v, "item_id"), rec.item_id);
    assert_str(cs_js_get(v, "graph_id"), rec.item_id);
    assert_str(cs_js_get(v, "lane"), "live");
    assert_str(cs_js_get(v, "observed_at"), "2026-02-02T02:40:00.000Z");
    assert_str(cs_js_path(v, "version", "change_key", NULL), rec.change_key);
    assert_str(cs_js_path(v, "version", "last_modified_at", NULL), "2026-02-03T09:16:04.500Z");
    assert_str(cs_js_get(v, "subject"), "Re: Angebot f\xc3\xbcr die neue Halle 3");
    assert_str(cs_js_get(v, "message_id"), "<CAF=1a2b3c@Mail.Fabrikam.Example>");
    assert_str(cs_js_get(v, "in_reply_to"), "<first.7@contoso.example>");
    assert_int_equal(cs_js_count(cs_js_get(v, "references")), 2);
    assert_str(person(cs_js_get(v, "references"), 1), "<first.7@contoso.example>");
    assert_str(cs_js_get(v, "direction"), "inbound");
    assert_str(cs_js_path(v, "from", "address", NULL), "Bob.Miller+sales@fabrikam.example");
    assert_str(cs_js_path(v, "from", "untagged", NULL), "Bob.Miller@fabrikam.example");
    assert_int_equal(cs_js_count(cs_js_get(v, "to")), 2);
    assert_str(cs_js_get(person(cs_js_get(v, "to"), 1), "address"),
               "juergen@xn--bcher-kva.example");
    assert_int_equal(cs_js_count(cs_js_get(v, "cc")), 2);
    assert_str(cs_js_get(person(cs_js_get(v, "cc"), 1), "problem"), "x500");
    assert_int_equal(cs_js_count(cs_js_get(v, "bcc")), 0);
    assert_str(cs_js_get(v, "received_at"), "2026-02-03T09:14:59.123Z");
    assert_str(cs_js_get(v, "sent_at"), "2026-02-03T09:14:41.000Z");
    assert_str(cs_js_path(v, "folder", "id", NULL), "AQMkAGInbox0001");
    assert_str(cs_js_path(v, "folder", "path", NULL), "Inbox");
    assert_str(cs_js_path(v, "folder", "well_known", NULL), "inbox");
    assert_null(cs_js_get(v, "moved_from").p);
    assert_bool(cs_js_get(v, "is_read"), false);
    assert_bool(cs_js_get(v, "is_draft"), false);
    assert_str(cs_js_path(v, "flag", "status", NULL), "flagged");
    assert_str(cs_js_path(v, "flag", "due_at", NULL), "2026-02-06T00:00:00.000Z");
    assert_int_equal(cs_js_count(cs_js_get(v, "categories")), 2);
    assert_int_equal(cs_js_count(cs_js_get(v, "attachments")), 3);
    who = person(cs_js_get(v, "attachments"), 1);
    assert_str(cs_js_get(who, "kind"), "file");
    assert_str(cs_js_get(who, "content_id"), "logo@fabrikam");
    assert_bool(cs_js_get(who, "is_inline"), true);
    assert_int_equal(cs_js_type(cs_js_get(v, "meeting")), CS_JS_NULL);
    assert_str(cs_js_path(v, "headers", "list_id", NULL), "offers.fabrikam.example");
    assert_str(cs_js_path(v, "body", "type", NULL), "html");
    assert_bool(cs_js_path(v, "body", "truncated", NULL), false);
    assert_str(cs_js_path(v, "body", "content", NULL),
               "<html><body><p>Hello Ann,</p>\r\n<p>please find the revised offer attached "
               "\xf0\x9f\x98\x80. <img src=\"cid:logo@fabrikam\"></p></body></html>");
    cs_record_clear(&rec);
}

/* One person in several roles is one participant, whatever the case of the address. */
static void test_participants_are_joined(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "message.json");
    struct cs_record rec;
    struct cs_js list, ann, bob;

    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    list = cs_js_get(sample_value(&rec), "participants");
    assert_int_equal(cs_js_count(list), 5);
    bob = person(list, 0);
    assert_int_equal(cs_js_count(cs_js_get(bob, "roles")), 2); /* from and sender */
    assert_bool(cs_js_get(bob, "internal"), false);
    ann = person(list, 2);
    assert_str(cs_js_get(ann, "address"), "ann@contoso.example");
    assert_str(cs_js_get(ann, "name"), "Ann Weber");
    assert_str(person(cs_js_get(ann, "roles"), 0), "to");
    assert_str(person(cs_js_get(ann, "roles"), 1), "cc");
    assert_bool(cs_js_get(ann, "internal"), true);
    cs_record_clear(&rec);
}

static void test_moved_names_both_folders(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "message.json");
    const struct cs_folder_ref to = {"B", "Inbox/Done", NULL}, from = {"A", NULL, "inbox"};
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_email_record(&s->ctx, page.root, &to, CS_MOVED, &from, none, &rec), 0);
    v = sample_value(&rec);
    assert_str(cs_js_get(v, "change"), "moved");
    assert_str(cs_js_path(v, "folder", "id", NULL), "B");
    assert_str(cs_js_path(v, "folder", "well_known", NULL), NULL);
    assert_str(cs_js_path(v, "moved_from", "id", NULL), "A");
    assert_str(cs_js_path(v, "moved_from", "path", NULL), NULL);
    assert_string_equal(cs_record_ce_type(rec.kind, rec.change), "crmsync.email.moved.v1");
    cs_record_clear(&rec);
    assert_int_equal(cs_email_record(&s->ctx, page.root, &to, CS_MOVED, NULL, none, &rec), 0);
    assert_int_equal(cs_js_type(cs_js_get(sample_value(&rec), "moved_from")), CS_JS_NULL);
    cs_record_clear(&rec);
}

/* Year 1, null people, a boolean that came as a string: nothing is invented. */
static void test_absent_is_null(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "messages_page.json");
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(
        cs_email_record(&s->ctx, sample_item(&page, 0), NULL, CS_UPSERTED, NULL, none, &rec), 0);
    v = sample_value(&rec);
    assert_str(cs_js_get(v, "subject"), NULL);
    assert_str(cs_js_get(v, "sent_at"), NULL);
    assert_str(cs_js_get(v, "message_id"), NULL);
    assert_str(cs_js_get(v, "dedup_key"), NULL);
    assert_int_equal(cs_js_type(cs_js_get(v, "from")), CS_JS_NULL);
    assert_str(cs_js_get(v, "direction"), NULL);
    assert_int_equal(cs_js_type(cs_js_get(v, "attachments")), CS_JS_NULL);
    assert_bool(cs_js_get(v, "is_read"), true);
    assert_str(cs_js_path(v, "folder", "id", NULL), "AQMkAGSent0001");
    assert_str(cs_js_path(v, "body", "type", NULL), "text");
    assert_str(cs_js_path(v, "body", "content", NULL), "");
    cs_record_clear(&rec);
}

/* contract: fact.12.tenatively mail.meeting */
static void test_invitation(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "messages_page.json");
    struct cs_envelope e;
    struct cs_record rec;
    struct cs_js meeting;

    assert_int_equal(cs_envelope_read(sample_item(&page, 1), &e), 0);
    assert_true(e.is_event_message);
    assert_int_equal(
        cs_email_record(&s->ctx, sample_item(&page, 1), NULL, CS_UPSERTED, NULL, none, &rec), 0);
    meeting = cs_js_get(sample_value(&rec), "meeting");
    assert_str(cs_js_get(meeting, "type"), "meetingRequest");
    assert_str(cs_js_get(meeting, "request_type"), "newMeetingRequest");
    assert_str(cs_js_get(meeting, "event_id"), "AAkALgEvent01");
    assert_str(cs_js_get(meeting, "start_at"), "2026-01-28T08:00:00.000Z");
    assert_str(cs_js_get(sample_value(&rec), "direction"), "internal");
    cs_record_clear(&rec);
}

/* Lone surrogates, NUL, marks and line ends come out as valid JSON with their meaning kept. */
/* contract: json.odd */
static void test_hostile_text(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "message_hostile.json");
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    v = sample_value(&rec);
    assert_false(has_bytes(&rec, "\\u0000"));
    assert_false(has_bytes(&rec, "\\ud83d pair"));
    assert_false(has_bytes(&rec, "\n"));
    assert_str(
        cs_js_get(v, "subject"),
        "half \xef\xbf\xbd pair and \xe2\x80\xaeright-to-left\xe2\x80\xac\r\nX-Injected: yes");
    assert_str(cs_js_path(v, "from", "problem", NULL), "group");
    assert_str(cs_js_path(v, "from", "name", NULL), "\xe2\x80\xa8\"quoted\" \\ name");
    assert_str(cs_js_get(v, "sent_at"), "2026-04-01T00:00:00.000Z");
    assert_str(cs_js_get(v, "importance"), "veryHigh");
    assert_int_equal(cs_js_count(cs_js_get(v, "to")), 5); /* without name and address: nobody */
    assert_str(cs_js_get(person(cs_js_get(v, "to"), 0), "address"), NULL);
    assert_str(cs_js_get(person(cs_js_get(v, "to"), 0), "problem"), "empty");
    assert_str(cs_js_get(person(cs_js_get(v, "to"), 4), "address"), "Mailto@trim.example");
    assert_str(cs_js_path(v, "body", "type", NULL), "text");
    assert_str(cs_js_path(v, "body", "content", NULL),
               "tail \xef\xbf\xbd\xf0\x9f\x98\x80 end \xc3\xa4 / \\");
    {
        int64_t bytes;

        assert_int_equal(cs_js_i64(cs_js_path(v, "body", "original_bytes", NULL), &bytes), 0);
        assert_int_equal(bytes, (int)strlen("tail \xef\xbf\xbd\xf0\x9f\x98\x80 end \xc3\xa4 / \\"));
    }
    cs_record_clear(&rec);
}

static void test_envelopes_of_a_delta(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "messages_delta.json");
    struct cs_envelope e;

    assert_int_equal(cs_envelope_read(sample_item(&page, 0), &e), 0);
    assert_string_equal(e.id, "AAkALgDelta01");
    assert_string_equal(e.change_key, "CQAAABYAAAD01");
    assert_string_equal(e.parent_folder_id, "AQMkAGInbox0001");
    assert_false(e.is_partial);
    assert_false(e.has_body);
    assert_int_equal(cs_envelope_read(sample_item(&page, 1), &e), 0);
    assert_true(e.is_partial);
    assert_string_equal(e.change_key, "CQAAABYAAAD02"); /* from the etag */
    assert_int_equal(e.received_utc_ms, CS_NEVER);
    assert_int_equal(cs_envelope_read(sample_item(&page, 2), &e), 0);
    assert_true(e.is_removed);
    assert_string_equal(e.change_key, "");
    page = sample_file(s, "message.json");
    assert_int_equal(cs_envelope_read(page.root, &e), 0);
    assert_true(e.has_attachments && e.wants_attachments && e.has_body);
    page = sample_text(
        s, "{\"id\":\"x\",\"hasAttachments\":false,\"body\":{\"content\":\"<img src='cid:1'>\"}}");
    assert_int_equal(cs_envelope_read(page.root, &e), 0);
    assert_true(!e.has_attachments && e.wants_attachments);
}

static void test_bad_ids_are_refused(void **state)
{
    static const char *const bad[] = {"{}",
                                      "{\"id\":null}",
                                      "{\"id\":\"\"}",
                                      "{\"id\":7}",
                                      "{\"id\":\"a b\"}",
                                      "{\"id\":\"a\\u0000b\"}",
                                      "{\"id\":\"a\\nb\"}"};
    struct sample *s = *state;
    struct cs_envelope e;
    struct cs_record rec;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cs_page page = sample_text(s, bad[i]);

        assert_int_equal(cs_envelope_read(page.root, &e), -EINVAL);
        assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec),
                         -EINVAL);
        assert_null(rec.value);
    }
}

static const char *direction_of(struct sample *s, const char *text,
                                const struct cs_folder_ref *folder, char out[16])
{
    struct cs_page page = sample_text(s, text);
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_email_record(&s->ctx, page.root, folder, CS_UPSERTED, NULL, none, &rec), 0);
    v = cs_js_get(sample_value(&rec), "direction");
    if (cs_js_str_into(v, out, 16) < 0)
        strcpy(out, "null");
    cs_record_clear(&rec);
    return out;
}

#define FROM(a) "\"from\":{\"emailAddress\":{\"address\":\"" a "\"}}"
#define TO(a)   "\"toRecipients\":[{\"emailAddress\":{\"address\":\"" a "\"}}]"

static void test_directions(void **state)
{
    const struct cs_folder_ref sent = {"S", NULL, "sentitems"};
    struct sample *s = *state;
    char out[16];

    assert_string_equal(
        direction_of(
            s, "{\"id\":\"1\"," FROM("bob@fabrikam.example") "," TO("ann@contoso.example") "}",
            NULL, out),
        "inbound");
    assert_string_equal(
        direction_of(
            s, "{\"id\":\"1\"," FROM("ann@contoso.example") "," TO("bob@fabrikam.example") "}",
            NULL, out),
        "outbound");
    assert_string_equal(
        direction_of(s,
                     "{\"id\":\"1\"," FROM("Ann@contoso.example") "," TO("dan@CONTOSO.example") "}",
                     NULL, out),
        "internal");
    assert_string_equal(
        direction_of(s, "{\"id\":\"1\"," FROM("ann@contoso.example") ",\"toRecipients\":[]}", NULL,
                     out),
        "outbound");
    assert_string_equal(
        direction_of(s, "{\"id\":\"1\",\"isDraft\":true," TO("bob@fabrikam.example") "}", NULL,
                     out),
        "outbound");
    /* an object id for a mailbox, no own domains: only the folder tells */
    s->tenant.n_own_domains = 0;
    s->ctx.mailbox = "2f6c0d51-0000-4000-8000-000000000001";
    assert_string_equal(
        direction_of(
            s, "{\"id\":\"1\"," FROM("ann@contoso.example") "," TO("bob@fabrikam.example") "}",
            NULL, out),
        "null");
    assert_string_equal(
        direction_of(
            s, "{\"id\":\"1\"," FROM("ann@contoso.example") "," TO("bob@fabrikam.example") "}",
            &sent, out),
        "outbound");
}

/* Copies in two mailboxes have one dedup_key; another message has another. */
static void test_dedup_key(void **state)
{
    static const char *const texts[] = {
        "{\"id\":\"1\",\"internetMessageId\":\"<a.1@Host.Example>\"}",
        "{\"id\":\"2\",\"internetMessageId\":\" <a.1@host.example>\\r\\n\"}",
        "{\"id\":\"3\",\"internetMessageId\":\"<A.1@host.example>\"}"};
    struct sample *s = *state;
    char keys[3][80];

    for (size_t i = 0; i < 3; i++) {
        struct cs_page page = sample_text(s, texts[i]);
        struct cs_record rec;

        assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec),
                         0);
        assert_int_equal(cs_js_str_into(cs_js_get(sample_value(&rec), "dedup_key"), keys[i], 80),
                         64);
        cs_record_clear(&rec);
    }
    assert_string_equal(keys[0], keys[1]);
    assert_string_not_equal(keys[0], keys[2]);
}

static void test_bodies_can_be_switched_off(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_file(s, "message.json");
    struct cs_record rec;

    s->tenant.body = CS_BODY_NONE;
    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    assert_int_equal(cs_js_type(cs_js_get(sample_value(&rec), "body")), CS_JS_NULL);
    assert_false(has_bytes(&rec, "cid:"));
    cs_record_clear(&rec);
}

static void test_headers_from_extended_properties(void **state)
{
    struct sample *s = *state;
    struct cs_page page = sample_text(s, "{\"id\":\"1\",\"singleValueExtendedProperties\":[{\"id\":"
                                         "\"String 0x1039\",\"value\":\"<a@x> <b@x>junk<c\"},"
                                         "{\"id\":\"String 0x1042\",\"value\":\"<b@x>\"}]}");
    struct cs_record rec;
    struct cs_js v;

    assert_int_equal(cs_email_record(&s->ctx, page.root, NULL, CS_UPSERTED, NULL, none, &rec), 0);
    v = sample_value(&rec);
    assert_str(cs_js_get(v, "in_reply_to"), "<b@x>");
    assert_int_equal(cs_js_count(cs_js_get(v, "references")), 2);
    assert_null(cs_js_get(v, "headers").p);
    cs_record_clear(&rec);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, sample_setup, sample_teardown)
    const struct CMUnitTest tests[] = {
        T(test_whole_message),
        T(test_participants_are_joined),
        T(test_moved_names_both_folders),
        T(test_absent_is_null),
        T(test_invitation),
        T(test_hostile_text),
        T(test_envelopes_of_a_delta),
        T(test_bad_ids_are_refused),
        T(test_directions),
        T(test_dedup_key),
        T(test_bodies_can_be_switched_off),
        T(test_headers_from_extended_properties),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
