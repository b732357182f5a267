/* mail_json.c - folders, messages and attachments as Graph writes them. */
#include "mail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "content.h"
#include "letter.h"

static const char *const prop_names[SIM_PROPS] = {
    [SIM_P_CREATED] = "createdDateTime",
    [SIM_P_MODIFIED] = "lastModifiedDateTime",
    [SIM_P_CHANGE_KEY] = "changeKey",
    [SIM_P_CATEGORIES] = "categories",
    [SIM_P_RECEIVED] = "receivedDateTime",
    [SIM_P_SENT] = "sentDateTime",
    [SIM_P_HAS_ATTACHMENTS] = "hasAttachments",
    [SIM_P_MESSAGE_ID] = "internetMessageId",
    [SIM_P_SUBJECT] = "subject",
    [SIM_P_PREVIEW] = "bodyPreview",
    [SIM_P_IMPORTANCE] = "importance",
    [SIM_P_PARENT] = "parentFolderId",
    [SIM_P_CONVERSATION_ID] = "conversationId",
    [SIM_P_CONVERSATION_INDEX] = "conversationIndex",
    [SIM_P_DELIVERY_RECEIPT] = "isDeliveryReceiptRequested",
    [SIM_P_READ_RECEIPT] = "isReadReceiptRequested",
    [SIM_P_IS_READ] = "isRead",
    [SIM_P_IS_DRAFT] = "isDraft",
    [SIM_P_WEB_LINK] = "webLink",
    [SIM_P_INFERENCE] = "inferenceClassification",
    [SIM_P_BODY] = "body",
    [SIM_P_SENDER] = "sender",
    [SIM_P_FROM] = "from",
    [SIM_P_TO] = "toRecipients",
    [SIM_P_CC] = "ccRecipients",
    [SIM_P_BCC] = "bccRecipients",
    [SIM_P_REPLY_TO] = "replyTo",
    [SIM_P_FLAG] = "flag",
    [SIM_P_MEETING] = "microsoft.graph.eventMessage/meetingMessageType",
    [SIM_P_HEADERS] = "internetMessageHeaders",
    [SIM_P_UNIQUE_BODY] = "uniqueBody",
};

uint64_t sim_select_parse(const char *select, unsigned *unknown)
{
    uint64_t mask = 0;

    if (unknown != NULL)
        *unknown = 0;
    if (select == NULL || *select == '\0')
        return SIM_P_DEFAULT;
    while (*select != '\0') {
        size_t n = strcspn(select, ","), skip = strspn(select, " ");
        int p;

        if (skip < n) {
            const char *name = select + skip;
            size_t len = n - skip;

            while (len > 0 && name[len - 1] == ' ')
                len--;
            for (p = 0; p < SIM_PROPS; p++)
                if (strlen(prop_names[p]) == len && strncasecmp(prop_names[p], name, len) == 0)
                    break;
            if (p < SIM_PROPS)
                mask |= SIM_BIT(p);
            else if (unknown != NULL && !(len == 2 && strncasecmp(name, "id", 2) == 0) &&
                     memchr(name, '.', len) == NULL && memchr(name, '/', len) == NULL)
                (*unknown)++;
        }
        select += n;
        if (*select == ',')
            select++;
    }
    return mask;
}

void sim_msg_id(const struct sim_mailbox *mb, uint32_t msg, bool immutable, char out[SIM_ID_MAX])
{
    struct sim_id id = {SIM_ID_MESSAGE, immutable, msg, mb->mail->msg[msg].moves};

    sim_id_format(mb, id, out);
}

void sim_folder_id(const struct sim_mailbox *mb, uint32_t folder, char out[SIM_ID_MAX])
{
    struct sim_id id = {SIM_ID_FOLDER, false, folder, 0};

    sim_id_format(mb, id, out);
}

/* ---- messages ---------------------------------------------------------------------------------- */

static void write_party(struct sim_jw *w, struct sim_party p)
{
    sim_jw_open(w, '{');
    sim_jw_key(w, "emailAddress");
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "name", p.name);
    sim_jw_kstr(w, "address", p.address);
    sim_jw_close(w, '}');
    sim_jw_close(w, '}');
}

static void write_parties(struct sim_jw *w, const char *key, const struct sim_party *p, size_t n)
{
    sim_jw_key(w, key);
    sim_jw_open(w, '[');
    for (size_t i = 0; i < n; i++)
        write_party(w, p[i]);
    sim_jw_close(w, ']');
}

static void write_refs(struct sim_jw *w, const char *key, const struct sim_person_ref *p, size_t n)
{
    sim_jw_key(w, key);
    sim_jw_open(w, '[');
    for (size_t i = 0; i < n; i++)
        write_party(w, (struct sim_party){p[i].name != NULL ? p[i].name : "", p[i].address});
    sim_jw_close(w, ']');
}

static void write_body(const struct sim_request *req, uint32_t msg, const char *key, bool unique,
                       struct sim_jw *w)
{
    const struct sim_over *o = req->mb->mail->msg[msg].over;
    bool html = !req->text_body && !(o != NULL && o->html_is_text);
    struct cs_buf text;

    cs_buf_init(&text, 0);
    sim_letter_body(req->mb, msg, html, unique, &text);
    sim_jw_key(w, key);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "contentType", html ? "html" : "text");
    sim_jw_key(w, "content");
    sim_jw_strn(w, text.data != NULL ? text.data : "", text.len);
    sim_jw_close(w, '}');
    cs_buf_clear(&text);
}

static void write_categories(const struct sim_msg *m, struct sim_jw *w)
{
    sim_jw_key(w, "categories");
    sim_jw_open(w, '[');
    if (m->over != NULL && m->over->categories != NULL) {
        for (size_t i = 0; i < m->over->n_categories; i++)
            sim_jw_str(w, m->over->categories[i]);
    } else if (m->category > 0) {
        sim_jw_str(w, sim_content_category(m->category));
    }
    sim_jw_close(w, ']');
}

static void write_flag(const struct sim_msg *m, struct sim_jw *w)
{
    static const char *const status[] = {"notFlagged", "flagged", "complete"};

    sim_jw_key(w, "flag");
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "flagStatus", status[m->flagged % 3]);
    if (m->flagged == 2) {
        sim_jw_key(w, "completedDateTime");
        sim_jw_raw(w, "{\"dateTime\":\"2025-03-01T00:00:00.0000000\",\"timeZone\":\"UTC\"}");
    }
    sim_jw_close(w, '}');
}

static void conversation_id(const struct sim_mailbox *mb, const struct sim_msg *m, char out[96])
{
    uint64_t h = sim_hash(mb->seed, 0x2000 + m->thread);

    snprintf(out, 96, "AAQkADIwMWJkLTRhZmUtNGQ1OS04ZDEwAQAQA%016llx%08x=", (unsigned long long)h,
             (unsigned)sim_hash(h, 1));
}

static void write_header(struct sim_jw *w, const char *name, const char *value)
{
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "name", name);
    sim_jw_kstr(w, "value", value);
    sim_jw_close(w, '}');
}

static void write_headers(const struct sim_request *req, uint32_t msg, const struct sim_letter *l,
                          struct sim_jw *w)
{
    const struct sim_mailbox *mb = req->mb;
    const struct sim_msg *m = &mb->mail->msg[msg];
    struct cs_buf b;

    cs_buf_init(&b, 0);
    sim_jw_key(w, "internetMessageHeaders");
    sim_jw_open(w, '[');
    cs_buf_addf(&b, "from mail.%s (2603:10a6::1) by mx.%s with HTTPS", mb->sim->domain,
                mb->sim->domain);
    write_header(w, "Received", b.data);
    cs_buf_reset(&b);
    sim_letter_message_id(mb, msg, &b);
    write_header(w, "Message-ID", b.data);
    cs_buf_reset(&b);
    if (m->over != NULL && m->over->in_reply_to != NULL) {
        write_header(w, "In-Reply-To", m->over->in_reply_to);
        write_header(w, "References", m->over->in_reply_to);
    } else if (m->parent != SIM_NONE) {
        uint32_t chain[16];
        size_t n = 0;

        for (uint32_t p = m->parent; p != SIM_NONE && n < 16; p = mb->mail->msg[p].parent)
            chain[n++] = p;
        sim_letter_message_id(mb, m->parent, &b);
        write_header(w, "In-Reply-To", b.data);
        cs_buf_reset(&b);
        while (n > 0) {
            sim_letter_message_id(mb, chain[--n], &b);
            cs_buf_adds(&b, n > 0 ? "\r\n " : "");
        }
        write_header(w, "References", b.data);
        cs_buf_reset(&b);
    }
    write_header(w, "Subject", l->subject);
    if (m->other && sim_hash(m->seed, 8) % 4 == 0) {
        write_header(w, "List-Unsubscribe", "<https://lists.example/u>");
        write_header(w, "Precedence", "bulk");
    }
    if (m->over != NULL)
        for (size_t i = 0; i < m->over->n_headers; i++)
            write_header(w, m->over->headers[i].name, m->over->headers[i].address);
    write_header(w, "Content-Type", "text/html; charset=\"utf-8\"");
    sim_jw_close(w, ']');
    cs_buf_clear(&b);
}

static const char *type_of(const struct sim_msg *m)
{
    switch (m->kind) {
    case SIM_MEETING_REQUEST: return "#microsoft.graph.eventMessageRequest";
    case SIM_MEETING_RESPONSE: return "#microsoft.graph.eventMessageResponse";
    case SIM_MEETING_CANCELLED: return "#microsoft.graph.eventMessage";
    default: return "#microsoft.graph.message";
    }
}

static void write_meeting(const struct sim_msg *m, struct sim_jw *w)
{
    static const char *const answers[] = {"meetingAccepted", "meetingTenativelyAccepted",
                                          "meetingDeclined"};
    char start[96];
    int64_t day = m->received_ms / 86400000 + 3;

    sim_jw_kstr(w, "meetingMessageType",
                m->kind == SIM_MEETING_REQUEST    ? "meetingRequest"
                : m->kind == SIM_MEETING_RESPONSE ? answers[m->seed % 3]
                                                  : "meetingCancelled");
    sim_jw_kstr(w, "type", "singleInstance");
    sim_jw_kbool(w, "isOutOfDate", false);
    sim_jw_kbool(w, "isAllDay", false);
    sim_jw_kbool(w, "isDelegated", false);
    sim_jw_knull(w, "recurrence");
    snprintf(start, sizeof(start),
             "{\"dateTime\":\"%04d-%02d-%02dT10:00:00.0000000\",\"timeZone\":\"UTC\"}",
             (int)(2020 + day % 8), (int)(1 + day % 12), (int)(1 + day % 28));
    sim_jw_key(w, "startDateTime");
    sim_jw_raw(w, start);
    sim_jw_key(w, "endDateTime");
    sim_jw_raw(w, start);
    sim_jw_key(w, "location");
    sim_jw_raw(w,
               "{\"displayName\":\"\",\"locationType\":\"default\",\"uniqueIdType\":\"unknown\"}");
    if (m->kind == SIM_MEETING_REQUEST) {
        sim_jw_kstr(w, "meetingRequestType", "newMeetingRequest");
        sim_jw_kbool(w, "responseRequested", true);
        sim_jw_kbool(w, "allowNewTimeProposals", true);
    } else if (m->kind == SIM_MEETING_RESPONSE) {
        sim_jw_knull(w, "proposedNewTime");
    }
}

/* $expand=singleValueExtendedProperties($filter=id eq '...') */
static void write_properties(const struct sim_request *req, const struct sim_msg *m,
                             struct sim_jw *w)
{
    const char *expand = sim_param(req, "$expand");
    bool any = false;

    if (expand == NULL || strncasecmp(expand, "singleValueExtendedProperties", 29) != 0 ||
        m->over == NULL)
        return;
    for (size_t i = 0; i < m->over->n_props; i++) {
        if (strstr(expand, m->over->props[i].name) == NULL)
            continue;
        if (!any) {
            sim_jw_key(w, "singleValueExtendedProperties");
            sim_jw_open(w, '[');
            any = true;
        }
        sim_jw_open(w, '{');
        sim_jw_kstr(w, "id", m->over->props[i].name);
        sim_jw_kstr(w, "value", m->over->props[i].address);
        sim_jw_close(w, '}');
    }
    if (any)
        sim_jw_close(w, ']');
}

#define HAS(p) ((select & SIM_BIT(p)) != 0)

void sim_msg_write(const struct sim_request *req, uint32_t msg, uint64_t select, bool delta,
                   struct sim_jw *w)
{
    static const char *const importance[] = {"low", "normal", "high"};
    const uint64_t people = SIM_BIT(SIM_P_SENDER) | SIM_BIT(SIM_P_FROM) | SIM_BIT(SIM_P_TO) |
                            SIM_BIT(SIM_P_CC) | SIM_BIT(SIM_P_BCC) | SIM_BIT(SIM_P_REPLY_TO) |
                            SIM_BIT(SIM_P_SUBJECT) | SIM_BIT(SIM_P_HEADERS);
    const struct sim_mailbox *mb = req->mb;
    const struct sim_msg *m = &mb->mail->msg[msg];
    char text[SIM_ID_MAX + 64], key[SIM_CHANGE_KEY_MAX];
    struct sim_letter letter;
    struct cs_buf b;

    cs_buf_init(&b, 0);
    /* not all of a letter is set: it is several kB */
    letter.has_from = false;
    letter.n_to = letter.n_cc = 0;
    letter.subject[0] = '\0';
    letter.from = letter.sender = (struct sim_party){"", ""};
    if (select & people)
        sim_letter_head(mb, msg, &letter);
    sim_jw_open(w, '{');
    if (delta || m->kind != SIM_MAIL)
        sim_jw_kstr(w, "@odata.type", type_of(m));
    sim_change_key(mb, 'C', m->version, key);
    snprintf(text, sizeof(text), "W/\"%s\"", key);
    sim_jw_kstr(w, "@odata.etag", text);
    sim_msg_id(mb, msg, req->immutable_ids, text);
    sim_jw_kstr(w, "id", text);
    if (HAS(SIM_P_CREATED))
        sim_jw_ktime(w, "createdDateTime", m->created_ms);
    if (HAS(SIM_P_MODIFIED))
        sim_jw_ktime(w, "lastModifiedDateTime", m->modified_ms);
    if (HAS(SIM_P_CHANGE_KEY))
        sim_jw_kstr(w, "changeKey", key);
    if (HAS(SIM_P_CATEGORIES))
        write_categories(m, w);
    if (HAS(SIM_P_RECEIVED))
        sim_jw_ktime(w, "receivedDateTime", m->received_ms);
    if (HAS(SIM_P_SENT))
        sim_jw_ktime(w, "sentDateTime", m->sent_ms);
    if (HAS(SIM_P_HAS_ATTACHMENTS))
        sim_jw_kbool(w, "hasAttachments", m->n_attachments > m->n_inline);
    if (HAS(SIM_P_MESSAGE_ID)) {
        sim_letter_message_id(mb, msg, &b);
        sim_jw_kstr(w, "internetMessageId", b.data);
        cs_buf_reset(&b);
    }
    if (HAS(SIM_P_SUBJECT))
        sim_jw_kstr(w, "subject", letter.subject);
    if (HAS(SIM_P_PREVIEW)) {
        sim_letter_preview(mb, msg, &b);
        sim_jw_key(w, "bodyPreview");
        sim_jw_strn(w, b.data != NULL ? b.data : "", b.len);
        cs_buf_reset(&b);
    }
    if (HAS(SIM_P_IMPORTANCE))
        sim_jw_kstr(w, "importance", importance[m->importance % 3]);
    if (HAS(SIM_P_PARENT)) {
        sim_folder_id(mb, m->folder, text);
        sim_jw_kstr(w, "parentFolderId", text);
    }
    if (HAS(SIM_P_CONVERSATION_ID)) {
        conversation_id(mb, m, text);
        sim_jw_kstr(w, "conversationId", text);
    }
    if (HAS(SIM_P_CONVERSATION_INDEX)) {
        snprintf(text, sizeof(text), "AQHY%012llx%04xAA==",
                 (unsigned long long)sim_hash(mb->seed, m->thread) & 0xffffffffffffU,
                 m->depth & 0xffffU);
        sim_jw_kstr(w, "conversationIndex", text);
    }
    /* these two are null on mail that came from outside, and absent never */
    if (HAS(SIM_P_DELIVERY_RECEIPT)) {
        sim_jw_key(w, "isDeliveryReceiptRequested");
        sim_jw_raw(w, m->outgoing || m->seed % 3 > 0 ? "false" : "null");
    }
    if (HAS(SIM_P_READ_RECEIPT))
        sim_jw_kbool(w, "isReadReceiptRequested", m->seed % 31 == 0);
    if (HAS(SIM_P_IS_READ))
        sim_jw_kbool(w, "isRead", m->is_read);
    if (HAS(SIM_P_IS_DRAFT))
        sim_jw_kbool(w, "isDraft", m->is_draft);
    if (HAS(SIM_P_WEB_LINK)) {
        char id[SIM_ID_MAX];

        sim_msg_id(mb, msg, req->immutable_ids, id);
        cs_buf_adds(&b, "https://outlook.office365.com/owa/?ItemID=");
        cs_buf_adds(&b, id);
        cs_buf_adds(&b, "&exvsurl=1&viewmodel=ReadMessageItem");
        sim_jw_kstr(w, "webLink", b.data);
        cs_buf_reset(&b);
    }
    if (HAS(SIM_P_INFERENCE))
        sim_jw_kstr(w, "inferenceClassification", m->other ? "other" : "focused");
    if (HAS(SIM_P_BODY))
        write_body(req, msg, "body", false, w);
    if (HAS(SIM_P_SENDER) && letter.has_from) {
        sim_jw_key(w, "sender");
        write_party(w, letter.sender);
    }
    if (HAS(SIM_P_FROM)) {
        if (letter.has_from) {
            sim_jw_key(w, "from");
            write_party(w, letter.from);
        } else if (m->seed % 2 == 0) {
            sim_jw_knull(w, "from");
        }
    }
    if (HAS(SIM_P_TO))
        write_parties(w, "toRecipients", letter.to, letter.n_to);
    if (HAS(SIM_P_CC))
        write_parties(w, "ccRecipients", letter.cc, letter.n_cc);
    if (HAS(SIM_P_BCC))
        write_refs(w, "bccRecipients", m->over != NULL ? m->over->bcc : NULL,
                   m->over != NULL ? m->over->n_bcc : 0);
    if (HAS(SIM_P_REPLY_TO) && m->over != NULL && m->over->n_reply_to > 0)
        write_refs(w, "replyTo", m->over->reply_to, m->over->n_reply_to);
    else if (HAS(SIM_P_REPLY_TO))
        write_parties(w, "replyTo", &letter.from, letter.has_from && m->seed % 16 == 0);
    if (m->kind != SIM_MAIL && HAS(SIM_P_MEETING))
        write_meeting(m, w);
    if (HAS(SIM_P_HEADERS))
        write_headers(req, msg, &letter, w);
    if (HAS(SIM_P_UNIQUE_BODY))
        write_body(req, msg, "uniqueBody", true, w);
    if (HAS(SIM_P_FLAG))
        write_flag(m, w);
    write_properties(req, m, w);
    sim_jw_close(w, '}');
    cs_buf_clear(&b);
}

/* ---- folders ----------------------------------------------------------------------------------- */

uint32_t sim_folder_children(const struct sim_mailbox *mb, uint32_t folder, bool hidden)
{
    uint32_t n = 0;

    for (size_t i = 0; i < mb->mail->n_folder; i++) {
        const struct sim_folder *f = &mb->mail->folder[i];

        n += f->parent == folder && !f->gone && (hidden || !f->hidden);
    }
    return n;
}

void sim_folder_write(const struct sim_request *req, uint32_t folder, bool delta, struct sim_jw *w)
{
    const struct sim_mailbox *mb = req->mb;
    const struct sim_folder *f = &mb->mail->folder[folder];
    char id[SIM_ID_MAX];

    sim_jw_open(w, '{');
    if (f->search)
        sim_jw_kstr(w, "@odata.type", "#microsoft.graph.mailSearchFolder");
    else if (delta)
        sim_jw_kstr(w, "@odata.type", "#microsoft.graph.mailFolder");
    sim_folder_id(mb, folder, id);
    sim_jw_kstr(w, "id", id);
    sim_jw_kstr(w, "displayName", f->name);
    sim_folder_id(mb, f->parent != SIM_NONE ? f->parent : UINT32_C(0xfffff0), id);
    sim_jw_kstr(w, "parentFolderId", id);
    sim_jw_kint(w, "childFolderCount", sim_folder_children(mb, folder, false));
    sim_jw_kint(w, "unreadItemCount", f->search ? mb->mail->folder[SIM_F_INBOX].unread : f->unread);
    sim_jw_kint(w, "totalItemCount",
                f->search ? mb->mail->folder[SIM_F_INBOX].unread : (int64_t)f->n_members);
    sim_jw_kint(w, "sizeInBytes", (int64_t)f->n_members * mb->mail->mean_body);
    sim_jw_kbool(w, "isHidden", f->hidden);
    if (f->search) {
        sim_jw_kbool(w, "isSupported", true);
        sim_jw_kbool(w, "includeNestedFolders", false);
        sim_jw_key(w, "sourceFolderIds");
        sim_jw_open(w, '[');
        sim_folder_id(mb, SIM_F_INBOX, id);
        sim_jw_str(w, id);
        sim_jw_close(w, ']');
        sim_jw_kstr(w, "filterQuery", "isRead eq false");
    }
    sim_jw_close(w, '}');
}

/* ---- attachments --------------------------------------------------------------------------------- */

char sim_attachment_kind(const struct sim_mailbox *mb, uint32_t msg, unsigned index)
{
    const struct sim_msg *m = &mb->mail->msg[msg];
    uint64_t roll = sim_hash(m->seed, 300 + index) % 20;

    if (index < m->n_inline || (m->over != NULL && m->over->n_files > 0))
        return 'f';
    return roll == 0 ? 'r' : roll == 1 ? 'i' : 'f';
}

void sim_attachment_bytes(const struct sim_mailbox *mb, uint32_t msg, unsigned index,
                          struct cs_buf *out)
{
    const struct sim_msg *m = &mb->mail->msg[msg];
    struct sim_rng rng = {sim_hash(m->seed, 500 + index)};
    const char *type;
    char name[96];
    size_t n;

    if (m->over != NULL && index < m->over->n_files) {
        cs_buf_add(out, m->over->files[index].bytes, m->over->files[index].size);
        return;
    }
    if (sim_attachment_kind(mb, msg, index) == 'i') {
        cs_buf_adds(out,
                    "From: someone@example.com\r\nSubject: forwarded\r\n\r\nAn attached mail.\r\n");
        return;
    }
    sim_content_file(sim_hash(m->seed, 600 + index), index < m->n_inline, name, &type, &n);
    for (; n >= 8; n -= 8) {
        uint64_t v = sim_rng_next(&rng);

        cs_buf_add(out, &v, sizeof(v));
    }
    for (; n > 0; n--)
        cs_buf_addc(out, (char)sim_rng_below(&rng, 256));
}

static void add_base64(struct cs_buf *out, const unsigned char *p, size_t n)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0);

        cs_buf_addc(out, set[v >> 18]);
        cs_buf_addc(out, set[(v >> 12) & 63]);
        cs_buf_addc(out, i + 1 < n ? set[(v >> 6) & 63] : '=');
        cs_buf_addc(out, i + 2 < n ? set[v & 63] : '=');
    }
}

static bool chosen(const char *select, const char *name)
{
    size_t len = strlen(name);

    if (select == NULL || *select == '\0')
        return true;
    while (*select != '\0') {
        size_t n = strcspn(select, ",");
        /* derived properties are named with their type: microsoft.graph.fileAttachment/contentId */
        const char *slash = memrchr(select, '/', n);
        const char *at = slash != NULL ? slash + 1 : select;

        if ((size_t)(select + n - at) == len && strncasecmp(at, name, len) == 0)
            return true;
        select += n + (select[n] == ',');
    }
    return false;
}

void sim_attachment_write(const struct sim_request *req, uint32_t msg, unsigned index,
                          const char *select, struct sim_jw *w)
{
    const struct sim_mailbox *mb = req->mb;
    const struct sim_msg *m = &mb->mail->msg[msg];
    struct sim_id aid = {SIM_ID_ATTACHMENT, req->immutable_ids, msg, index};
    char kind = sim_attachment_kind(mb, msg, index), text[SIM_ID_MAX];
    uint64_t h = sim_hash(m->seed, 600 + index);
    bool is_inline = index < m->n_inline;
    const struct sim_file *file =
        m->over != NULL && index < m->over->n_files ? &m->over->files[index] : NULL;
    struct cs_buf bytes, b64;
    const char *type;
    char name[256];
    size_t size;

    sim_content_file(h, is_inline, name, &type, &size);
    if (file != NULL) {
        snprintf(name, sizeof(name), "%s", file->name);
        type = file->type;
        size = file->size;
        is_inline = file->is_inline;
    }
    if (kind != 'f') {
        type = kind == 'i' ? NULL : "application/octet-stream";
        snprintf(name, sizeof(name), "%s", kind == 'i' ? "Re: earlier mail" : "shared folder");
        size = 2000;
    }
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "@odata.type",
                kind == 'f'   ? "#microsoft.graph.fileAttachment"
                : kind == 'i' ? "#microsoft.graph.itemAttachment"
                              : "#microsoft.graph.referenceAttachment");
    sim_jw_kstr(w, "@odata.mediaContentType", type != NULL ? type : "application/octet-stream");
    sim_id_format(mb, aid, text);
    sim_jw_kstr(w, "id", text);
    if (chosen(select, "lastModifiedDateTime"))
        sim_jw_ktime(w, "lastModifiedDateTime", m->created_ms);
    if (chosen(select, "name"))
        sim_jw_kstr(w, "name", name);
    if (chosen(select, "contentType"))
        sim_jw_kstr(w, "contentType", type);
    if (chosen(select, "size"))
        sim_jw_kint(w, "size", (int64_t)size * 4 / 3 + 300);
    if (chosen(select, "isInline"))
        sim_jw_kbool(w, "isInline", is_inline);
    if (kind == 'f' && chosen(select, "contentId")) {
        if (file != NULL) {
            sim_jw_kstr(w, "contentId", file->content_id);
        } else if (is_inline) {
            snprintf(text, sizeof(text), "image%03u.png@01D%05X.%08X", index + 1,
                     (unsigned)(h & 0xfffff), (unsigned)(h >> 32));
            sim_jw_kstr(w, "contentId", text);
        } else {
            sim_jw_knull(w, "contentId");
        }
    }
    if (kind == 'f' && chosen(select, "contentLocation"))
        sim_jw_knull(w, "contentLocation");
    if (kind == 'f' && chosen(select, "contentBytes")) {
        cs_buf_init(&bytes, 0);
        cs_buf_init(&b64, 0);
        sim_attachment_bytes(mb, msg, index, &bytes);
        add_base64(&b64, (const unsigned char *)bytes.data, bytes.len);
        sim_jw_kstr(w, "contentBytes", b64.data);
        cs_buf_clear(&bytes);
        cs_buf_clear(&b64);
    }
    sim_jw_close(w, '}');
}
