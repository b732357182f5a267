#include "worker/email.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/tenant.h"
#include "worker/event.h"
#include "worker/item.h"
#include "worker/people.h"
#include "worker/sha.h"
#include "worker/text.h"

/* Everything that is worked out once, however often the record is written to make it fit. */
struct mail {
    const struct cs_record_ctx *ctx;
    struct cs_js message;
    struct cs_js attachments;
    const struct cs_folder_ref *folder;
    const struct cs_folder_ref *moved_from;
    enum cs_change change;
    struct cs_people people;
    struct cs_buf references;     /* decoded text of the header */
    const char *direction;        /* NULL: cannot be told */
    const char *parent_folder_id; /* "": not known */
    int64_t received_utc_ms;
};

static bool is_event_message(struct cs_js message)
{
    struct cs_js type = cs_js_get(message, "meetingMessageType");
    char odata[64];

    if (cs_js_str_into(cs_js_get(message, "@odata.type"), odata, sizeof(odata)) > 0 &&
        strcasestr(odata, "eventMessage") != NULL)
        return true;
    return cs_js_has(type) && !cs_js_str_is_nocase(type, "none");
}

/* with_body: look into the body too, which costs a walk over it */
static int read_envelope(struct cs_js item, bool with_body, struct cs_envelope *ret)
{
    struct cs_envelope e = {.received_utc_ms = CS_NEVER};
    const char *raw;
    size_t n;
    int r;

    r = cs_item_id(item, e.id);
    if (r < 0)
        return r;
    e.is_removed = cs_js_has(cs_js_get(item, "@removed"));
    if (!e.is_removed) {
        cs_item_change_key(item, e.change_key);
        (void)cs_item_id_value(cs_js_get(item, "parentFolderId"), e.parent_folder_id); /* "" then */
        e.received_utc_ms = cs_text_time(cs_js_get(item, "receivedDateTime"));
        (void)cs_js_bool(cs_js_get(item, "hasAttachments"), &e.has_attachments);
        (void)cs_js_bool(cs_js_get(item, "isDraft"), &e.is_draft); /* both stay false if absent */
        e.has_body =
            with_body && cs_js_str_raw(cs_js_path(item, "body", "content", NULL), &raw, &n);
        e.wants_attachments =
            e.has_attachments || (e.has_body && (memmem(raw, n, "cid:", 4) != NULL ||
                                                 memmem(raw, n, "CID:", 4) != NULL));
        e.is_event_message = is_event_message(item);
        /* absent, not null: a changed entry of a delta may carry only what changed */
        e.is_partial = cs_js_get(item, "subject").p == NULL ||
                       cs_js_get(item, "receivedDateTime").p == NULL ||
                       cs_js_get(item, "toRecipients").p == NULL || e.parent_folder_id[0] == '\0' ||
                       e.change_key[0] == '\0';
    }
    *ret = e;
    return 0;
}

int cs_envelope_read(struct cs_js item, struct cs_envelope *ret)
{
    struct cs_js_index index;

    return read_envelope(cs_js_indexed(item, &index), true, ret);
}

/* ---- threading headers ----------------------------------------------------------------------- */

/* A header of internetMessageHeaders, else the MAPI property that Exchange keeps it in. */
static struct cs_js header(struct cs_js message, const char *name, const char *property)
{
    struct cs_js value, one;
    struct cs_js_iter it = {0};

    value = cs_js_get(message, "internetMessageHeaders");
    while (cs_js_next_element(value, &it, &one)) {
        if (cs_js_str_is_nocase(cs_js_get(one, "name"), name))
            return cs_js_get(one, "value");
    }
    it = (struct cs_js_iter){0};
    value = cs_js_get(message, "singleValueExtendedProperties");
    while (property != NULL && cs_js_next_element(value, &it, &one)) {
        if (cs_js_str_is_nocase(cs_js_get(one, "id"), property))
            return cs_js_get(one, "value");
    }
    return (struct cs_js){0};
}

/* PidTagInReplyToId, PidTagInternetReferences */
#define IN_REPLY_TO "String 0x1042"
#define REFERENCES  "String 0x1039"

/* Message-IDs of a References header: each from '<' to '>'; folding white space lies between them. */
static void write_references(struct cs_jw *jw, const struct cs_fit *fit, const struct cs_buf *text)
{
    const char *p = text->data, *end = p + text->len;
    size_t written = 0;

    cs_jw_key(jw, "references");
    cs_jw_array(jw);
    while (p < end && (p = memchr(p, '<', (size_t)(end - p))) != NULL) {
        const char *close = memchr(p, '>', (size_t)(end - p));

        if (close == NULL)
            break;
        if (written++ >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        cs_jw_strn(jw, p, (size_t)(close - p) + 1);
        p = close + 1;
    }
    cs_jw_array_end(jw);
}

/* The same in every mailbox that holds a copy: of the id trimmed, without brackets, domain in lower case.
 * 1; 0: there is no id; -ENOMEM */
static int dedup_key(struct cs_js message, char out[CS_SHA_HEX])
{
    char id[1024];
    char *s = id, *at;
    struct cs_sha sha;
    int n = cs_js_str_into(cs_js_get(message, "internetMessageId"), id, sizeof(id)), r;

    while (n > 0 && strchr(" \t\r\n<", *s) != NULL) {
        s++;
        n--;
    }
    while (n > 0 && strchr(" \t\r\n>", s[n - 1]) != NULL)
        s[--n] = '\0';
    if (n <= 0)
        return 0;
    at = strrchr(s, '@');
    for (; at != NULL && *at != '\0'; at++) {
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at + 32);
    }
    cs_sha_init(&sha);
    cs_sha_str(&sha, "email");
    cs_sha_str(&sha, s);
    r = cs_sha_hex(&sha, out);
    return r < 0 ? r : 1;
}

/* ---- direction ------------------------------------------------------------------------------- */

static bool is_sent_folder(const struct cs_folder_ref *folder)
{
    return folder != NULL && folder->well_known != NULL &&
           (strcmp(folder->well_known, "sentitems") == 0 ||
            strcmp(folder->well_known, "drafts") == 0 || strcmp(folder->well_known, "outbox") == 0);
}

static const char *direction(const struct mail *m)
{
    struct cs_people_counts c = cs_people_count(&m->people);
    bool draft = false;
    bool ours;

    (void)cs_js_bool(cs_js_get(m->message, "isDraft"), &draft);
    if (c.has_author)
        ours = c.author_inside || draft;
    else if (draft || is_sent_folder(m->folder))
        ours = true;
    else
        return NULL;
    /* without own domains and with an object id for a mailbox nobody counts as inside */
    if (!ours && m->ctx->tenant->n_own_domains == 0 && strchr(m->ctx->mailbox, '@') == NULL)
        return is_sent_folder(m->folder) ? "outbound" : NULL;
    if (!ours)
        return "inbound";
    return c.recipients > 0 && c.recipients_inside == c.recipients ? "internal" : "outbound";
}

/* ---- writing --------------------------------------------------------------------------------- */

/* id: used where there is no folder; "": not known */
static void write_folder(struct cs_jw *jw, const char *key, const struct cs_folder_ref *folder,
                         const char *id)
{
    cs_jw_key(jw, key);
    if (folder == NULL && *id == '\0') {
        cs_jw_null(jw);
        return;
    }
    cs_jw_object(jw);
    cs_jw_kstr(jw, "id", folder != NULL ? folder->id : id);
    cs_jw_kstr(jw, "path", folder == NULL ? NULL : folder->path);
    cs_jw_kstr(jw, "well_known", folder == NULL ? NULL : folder->well_known);
    cs_jw_object_end(jw);
}

static void write_flag(struct cs_jw *jw, const struct cs_fit *fit, struct cs_js flag,
                       const struct cs_zones *zones)
{
    static const struct {
        const char *key, *name;
    } times[] = {{"start_at", "startDateTime"},
                 {"due_at", "dueDateTime"},
                 {"completed_at", "completedDateTime"}};

    cs_jw_key(jw, "flag");
    if (cs_js_type(flag) != CS_JS_OBJECT) {
        cs_jw_null(jw);
        return;
    }
    cs_jw_object(jw);
    cs_text_kwrite(jw, "status", cs_js_get(flag, "flagStatus"), fit->text_max, fit->cut);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        int64_t utc_ms;

        if (cs_event_time_utc(cs_js_get(flag, times[i].name), zones, &utc_ms) == 0)
            cs_jw_ktime(jw, times[i].key, utc_ms);
        else
            cs_jw_knull(jw, times[i].key);
    }
    cs_jw_object_end(jw);
}

static void write_meeting(struct cs_jw *jw, const struct cs_fit *fit, const struct mail *m)
{
    struct cs_js msg = m->message;
    struct cs_js event = cs_js_get(msg, "event");

    cs_jw_key(jw, "meeting");
    if (!is_event_message(msg)) {
        cs_jw_null(jw);
        return;
    }
    cs_jw_object(jw);
    cs_text_kwrite(jw, "type", cs_js_get(msg, "meetingMessageType"), fit->text_max, fit->cut);
    cs_text_kwrite(jw, "request_type", cs_js_get(msg, "meetingRequestType"), fit->text_max,
                   fit->cut);
    cs_text_kwrite(jw, "response_type", cs_js_get(msg, "responseType"), fit->text_max, fit->cut);
    cs_text_kwrite(jw, "event_id", cs_js_get(event, "id"), CS_ID_MAX, fit->cut);
    cs_text_kwrite(jw, "ical_uid", cs_js_get(event, "iCalUId"), fit->text_max, fit->cut);
    for (int i = 0; i < 2; i++) {
        int64_t utc_ms;

        cs_jw_key(jw, i == 0 ? "start_at" : "end_at");
        if (cs_event_time_utc(cs_js_get(msg, i == 0 ? "startDateTime" : "endDateTime"),
                              m->ctx->zones, &utc_ms) == 0) {
            char text[CS_TIME_TEXT];

            cs_time_format(utc_ms, text);
            cs_jw_str(jw, text);
        } else {
            cs_jw_null(jw);
        }
    }
    cs_text_kbool(jw, "is_out_of_date", cs_js_get(msg, "isOutOfDate"));
    cs_jw_object_end(jw);
}

/* What tells mail that a machine sent; only there when the headers were asked for. */
static void write_headers(struct cs_jw *jw, const struct cs_fit *fit, struct cs_js message)
{
    static const struct {
        const char *key, *name;
    } headers[] = {{"list_id", "List-Id"},
                   {"auto_submitted", "Auto-Submitted"},
                   {"precedence", "Precedence"},
                   {"auto_response_suppress", "X-Auto-Response-Suppress"}};

    if (cs_js_type(cs_js_get(message, "internetMessageHeaders")) != CS_JS_ARRAY)
        return;
    cs_jw_key(jw, "headers");
    cs_jw_object(jw);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        cs_text_kwrite_opt(jw, headers[i].key, header(message, headers[i].name, NULL),
                           fit->text_max, fit->cut);
    cs_jw_object_end(jw);
}

static void write_members(struct cs_jw *jw, const struct cs_fit *fit, const void *user)
{
    const struct mail *m = user;
    struct cs_js msg = m->message;

    cs_text_kwrite(jw, "subject", cs_js_get(msg, "subject"), fit->text_max, fit->cut);
    cs_text_kwrite(jw, "message_id", cs_js_get(msg, "internetMessageId"), fit->text_max, fit->cut);
    cs_text_kwrite(jw, "in_reply_to", header(msg, "In-Reply-To", IN_REPLY_TO), fit->text_max,
                   fit->cut);
    write_references(jw, fit, &m->references);
    cs_text_kwrite(jw, "conversation_id", cs_js_get(msg, "conversationId"), fit->text_max,
                   fit->cut);
    cs_jw_kstr(jw, "direction", m->direction);
    cs_people_write_one(jw, "from", fit, &m->people, CS_ROLE_FROM);
    cs_people_write_one(jw, "sender", fit, &m->people, CS_ROLE_SENDER);
    cs_people_write_list(jw, "reply_to", fit, &m->people, CS_ROLE_REPLY_TO);
    cs_people_write_list(jw, "to", fit, &m->people, CS_ROLE_TO);
    cs_people_write_list(jw, "cc", fit, &m->people, CS_ROLE_CC);
    cs_people_write_list(jw, "bcc", fit, &m->people, CS_ROLE_BCC);
    cs_people_write_participants(jw, "participants", fit, &m->people);
    cs_jw_ktime(jw, "received_at", m->received_utc_ms);
    cs_jw_ktime(jw, "sent_at", cs_text_time(cs_js_get(msg, "sentDateTime")));
    cs_jw_ktime(jw, "created_at", cs_text_time(cs_js_get(msg, "createdDateTime")));
    write_folder(jw, "folder", m->folder, m->parent_folder_id);
    if (m->change == CS_MOVED)
        write_folder(jw, "moved_from", m->moved_from, "");
    cs_text_kbool(jw, "is_read", cs_js_get(msg, "isRead"));
    cs_text_kbool(jw, "is_draft", cs_js_get(msg, "isDraft"));
    cs_text_kwrite(jw, "importance", cs_js_get(msg, "importance"), fit->text_max, fit->cut);
    write_flag(jw, fit, cs_js_get(msg, "flag"), m->ctx->zones);
    cs_item_write_texts(jw, "categories", fit, cs_js_get(msg, "categories"));
    cs_text_kwrite(jw, "preview", cs_js_get(msg, "bodyPreview"), fit->text_max, fit->cut);
    cs_text_kbool(jw, "has_attachments", cs_js_get(msg, "hasAttachments"));
    cs_item_write_attachments(jw, fit, m->attachments);
    write_meeting(jw, fit, m);
    write_headers(jw, fit, msg);
    cs_text_kwrite(jw, "web_link", cs_js_get(msg, "webLink"), fit->text_max, fit->cut);
    if (cs_js_type(cs_js_get(msg, "uniqueBody")) == CS_JS_OBJECT) {
        cs_jw_key(jw, "unique_body");
        if (cs_text_write_body(jw, cs_js_get(msg, "uniqueBody"), fit->text_max))
            *fit->cut = true;
    }
}

static int add_people(struct mail *m)
{
    static const struct {
        const char *name;
        enum cs_role role;
    } lists[] = {{"from", CS_ROLE_FROM},        {"sender", CS_ROLE_SENDER},
                 {"replyTo", CS_ROLE_REPLY_TO}, {"toRecipients", CS_ROLE_TO},
                 {"ccRecipients", CS_ROLE_CC},  {"bccRecipients", CS_ROLE_BCC}};
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(lists) / sizeof(lists[0]); i++)
        r = cs_people_add(&m->people, cs_js_get(m->message, lists[i].name), lists[i].role, m->ctx);
    return r;
}

int cs_email_record(const struct cs_record_ctx *ctx, struct cs_js message,
                    const struct cs_folder_ref *folder, enum cs_change change,
                    const struct cs_folder_ref *moved_from, struct cs_js attachments,
                    struct cs_record *ret)
{
    struct cs_js_index index;
    struct mail m = {.ctx = ctx,
                     .message = message = cs_js_indexed(message, &index),
                     .attachments = attachments,
                     .folder = folder,
                     .moved_from = moved_from,
                     .change = change};
    struct cs_record_head head = {.kind = CS_KIND_EMAIL, .change = change};
    struct cs_js body = {0};
    struct cs_envelope e;
    char dedup[CS_SHA_HEX];
    int r;

    memset(ret, 0, sizeof(*ret));
    r = read_envelope(message, false, &e);
    if (r < 0)
        return r;
    if (e.is_removed)
        return -EINVAL;
    cs_people_init(&m.people);
    cs_buf_init(&m.references, 65536);
    r = add_people(&m);
    if (r < 0)
        goto out;
    r = cs_js_str(header(message, "References", REFERENCES), &m.references);
    if (r == -ENOMEM)
        goto out;
    if (r < 0) /* none, or longer than any server lets pass */
        cs_buf_reset(&m.references);
    if (cs_js_type(attachments) != CS_JS_ARRAY)
        m.attachments = cs_js_get(message, "attachments");
    m.direction = direction(&m);
    m.received_utc_ms = e.received_utc_ms;
    m.parent_folder_id = e.parent_folder_id;
    if (ctx->tenant->body != CS_BODY_NONE)
        body = cs_js_get(message, "body");
    head.item_id = e.id;
    head.graph_id = e.id;
    head.change_key = e.change_key;
    head.last_modified_utc_ms = cs_text_time(cs_js_get(message, "lastModifiedDateTime"));
    r = dedup_key(message, dedup);
    if (r < 0)
        goto out;
    head.dedup_key = r > 0 ? dedup : NULL;
    r = cs_record_build(ctx, &head, write_members, &m, body, true, ret);
    if (r < 0)
        goto out;
    ret->received_utc_ms = e.received_utc_ms;
    r = cs_record_set_folder(ret, folder != NULL ? folder->id : e.parent_folder_id);
out:
    cs_buf_clear(&m.references);
    cs_people_clear(&m.people);
    return r;
}
