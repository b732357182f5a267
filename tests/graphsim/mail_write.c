/* mail_write.c - writes of mail: drafts, replies, attachments, upload sessions, sending. */
#include "mail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "letter.h"
#include "request.h"

#define TEXT_MAX       (16U << 20)
#define RECIPIENTS_MAX 500
#define PROPS_MAX      16
#define INLINE_MAX     (3U << 20) /* of an attachment in one POST */
#define UPLOAD_MAX     (150U << 20)
#define CHUNK_MAX      (4U << 20)

static bool is(const struct sim_request *req, size_t i, const char *name)
{
    return i < req->n_seg && strcasecmp(req->seg[i], name) == 0;
}

static void bad_request(struct sim_answer *ans, const char *message)
{
    sim_answer_error(ans, 400, "ErrorInvalidRequest", message);
}

static void bad_id(struct sim_answer *ans, int64_t error)
{
    if (error == -EINVAL)
        sim_answer_error(ans, 400, "ErrorInvalidIdMalformed", "Id is malformed.");
    else
        sim_answer_error(ans, 404, "ErrorItemNotFound",
                         "The specified object was not found in the store.");
}

static char *copy(cs_json_val v, const char *name)
{
    const char *text;

    return cs_json_str(v, name, TEXT_MAX, &text) == 0 ? sim_strdup(text) : NULL;
}

static void replace(char **at, char *text)
{
    if (text == NULL)
        return;
    free(*at);
    *at = text;
}

/* ---- base64 ----------------------------------------------------------------------------------------- */

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool decode(const char *text, struct cs_buf *out)
{
    uint32_t v = 0;
    unsigned bits = 0;

    for (; *text != '\0' && *text != '='; text++) {
        int d = digit(*text);

        if (d < 0)
            return false;
        v = v << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            cs_buf_addc(out, (char)(v >> bits));
        }
    }
    return true;
}

/* ---- what a draft is given -------------------------------------------------------------------------------- */

/* toRecipients and its kin: [{"emailAddress": {"name", "address"}}]. @return false: refused */
static bool set_people(cs_json_val v, const char *name, struct sim_person_ref **ret, size_t *n,
                       bool *set)
{
    cs_json_val list = cs_json_get(v, name);
    size_t len = cs_json_len(list);

    if (!cs_json_is_array(list))
        return true;
    sim_people_free(*ret, *n);
    *ret = sim_alloc(len > 0 ? len : 1, sizeof(**ret));
    *n = len;
    if (set != NULL)
        *set = true;
    for (size_t i = 0; i < len; i++) {
        cs_json_val mail = cs_json_get(cs_json_at(list, i), "emailAddress");

        (*ret)[i].name = copy(mail, "name");
        (*ret)[i].address = copy(mail, "address");
        if ((*ret)[i].address == NULL)
            return false;
    }
    return true;
}

static bool add_file(struct sim_mailbox *mb, uint32_t msg, char *name, char *type, char *cid,
                     bool is_inline, struct cs_buf *bytes)
{
    struct sim_msg *m = &mb->mail->msg[msg];
    struct sim_over *o = sim_mail_over(m);
    struct sim_file *f;

    if (o->n_files == UINT8_MAX)
        return false;
    o->files = sim_grow(o->files, o->n_files + 1, sizeof(*o->files));
    f = &o->files[o->n_files++];
    memset(f, 0, sizeof(*f));
    f->name = name;
    f->type = type;
    f->content_id = cid;
    f->is_inline = is_inline;
    f->size = bytes->len;
    f->bytes = cs_buf_steal(bytes, NULL);
    m->n_attachments = (uint8_t)o->n_files;
    m->n_inline = 0;
    for (size_t i = 0; i < o->n_files; i++)
        m->n_inline = (uint8_t)(m->n_inline + o->files[i].is_inline);
    return true;
}

static const char *attach(struct sim_mailbox *mb, uint32_t msg, cs_json_val v)
{
    const char *type, *b64;
    struct cs_buf bytes;
    bool is_inline = false, ok;

    if (cs_json_str(v, "@odata.type", 100, &type) < 0 ||
        strcmp(type, "#microsoft.graph.fileAttachment") != 0)
        return "The type of the attachment is missing.";
    if (cs_json_str(v, "contentBytes", TEXT_MAX, &b64) < 0 || cs_json_get(v, "name") == NULL)
        return "The property 'name' or 'contentBytes' is required.";
    cs_buf_init(&bytes, 0);
    ok = decode(b64, &bytes);
    if (ok && bytes.len >= INLINE_MAX) {
        cs_buf_clear(&bytes);
        return "The attachment is too large for this request.";
    }
    (void)cs_json_bool(v, "isInline", &is_inline); /* absent: not */
    ok = ok && add_file(mb, msg, copy(v, "name"), copy(v, "contentType"), copy(v, "contentId"),
                        is_inline, &bytes);
    cs_buf_clear(&bytes);
    return ok ? NULL : "Invalid base64 string.";
}

static const char *set_props(struct sim_over *o, cs_json_val list)
{
    for (size_t i = 0; i < cs_json_len(list); i++) {
        char *id = copy(cs_json_at(list, i), "id"), *value = copy(cs_json_at(list, i), "value");
        size_t k = 0;

        if (id == NULL || value == NULL || o->n_props == PROPS_MAX) {
            free(id);
            free(value);
            return "An extended property needs id and value.";
        }
        while (k < o->n_props && strcmp(o->props[k].name, id) != 0)
            k++;
        if (k == o->n_props) {
            o->props = sim_grow(o->props, o->n_props + 1, sizeof(*o->props));
            o->props[o->n_props++] = (struct sim_person_ref){NULL, NULL};
        }
        replace(&o->props[k].name, id);
        replace(&o->props[k].address, value);
    }
    return NULL;
}

/* @return NULL, or why not */
static const char *apply(struct sim_mailbox *mb, uint32_t msg, cs_json_val v)
{
    struct sim_msg *m = &mb->mail->msg[msg];
    struct sim_over *o = sim_mail_over(m);
    cs_json_val body = cs_json_get(v, "body"), list;
    const char *text, *why;
    bool read;

    replace(&o->subject, copy(v, "subject"));
    replace(&o->message_id, copy(v, "internetMessageId"));
    if (cs_json_is_object(body)) {
        replace(&o->html, copy(body, "content"));
        o->html_is_text =
            cs_json_str(body, "contentType", 10, &text) == 0 && strcasecmp(text, "text") == 0;
    }
    if (cs_json_str(v, "importance", 10, &text) == 0)
        m->importance = text[0] == 'l' || text[0] == 'L'   ? 0
                        : text[0] == 'h' || text[0] == 'H' ? 2
                                                           : 1;
    if (!set_people(v, "toRecipients", &o->to, &o->n_to, &o->to_set) ||
        !set_people(v, "ccRecipients", &o->cc, &o->n_cc, &o->cc_set) ||
        !set_people(v, "bccRecipients", &o->bcc, &o->n_bcc, NULL) ||
        !set_people(v, "replyTo", &o->reply_to, &o->n_reply_to, NULL))
        return "A recipient has no address.";
    list = cs_json_get(cs_json_get(v, "from"), "emailAddress");
    if (cs_json_is_object(list)) {
        replace(&o->from_address, copy(list, "address"));
        replace(&o->from_name, copy(list, "name"));
    }
    if (cs_json_bool(v, "isRead", &read) == 0)
        sim_mail_set_read(mb, msg, read);
    list = cs_json_get(v, "internetMessageHeaders");
    for (size_t i = 0; i < cs_json_len(list); i++) {
        char *name = copy(cs_json_at(list, i), "name"), *value = copy(cs_json_at(list, i), "value");

        if (name == NULL || value == NULL || strncasecmp(name, "x-", 2) != 0) {
            free(name);
            free(value);
            return "The internet message header name should start with 'x-' or 'X-'.";
        }
        o->headers = sim_grow(o->headers, o->n_headers + 1, sizeof(*o->headers));
        o->headers[o->n_headers++] = (struct sim_person_ref){name, value};
    }
    why = set_props(o, cs_json_get(v, "singleValueExtendedProperties"));
    list = cs_json_get(v, "attachments");
    for (size_t i = 0; why == NULL && i < cs_json_len(list); i++)
        why = attach(mb, msg, cs_json_at(list, i));
    return why;
}

/* ---- drafts ----------------------------------------------------------------------------------------------- */

static void write_message(struct sim_request *req, struct sim_answer *ans, int status, uint32_t msg)
{
    struct sim_jw w;

    ans->status = status;
    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    sim_msg_write(req, msg, SIM_P_DEFAULT, false, &w);
    ans->items = 1;
}

static uint32_t new_draft(struct sim_mailbox *mb, uint32_t folder, uint32_t parent)
{
    struct sim_rng rng = {sim_hash(mb->seed, mb->seq + 0x7000)};
    struct sim_msg m = sim_mail_invent(mb, &rng, sim_now_ms(mb->sim));
    struct sim_over *o;

    m.folder = folder;
    m.is_draft = m.is_read = m.outgoing = true;
    m.kind = SIM_MAIL;
    m.n_attachments = m.n_inline = 0;
    m.flagged = m.category = 0;
    m.importance = 1;
    m.other = false;
    m.parent = parent;
    m.depth = 0;
    if (parent != SIM_NONE) {
        m.thread = mb->mail->msg[parent].thread;
        m.depth = (uint8_t)(mb->mail->msg[parent].depth + 1);
    } else {
        m.thread = mb->mail->n_threads++;
    }
    /* nothing of it is invented */
    o = sim_mail_over(&m);
    o->to_set = o->cc_set = true;
    o->to = sim_alloc(1, sizeof(*o->to));
    o->cc = sim_alloc(1, sizeof(*o->cc));
    o->subject = sim_strdup("");
    o->html = sim_strdup("");
    o->from_address = sim_strdup(mb->address);
    o->from_name = sim_strdup(mb->name);
    return sim_mail_add(mb, &m);
}

static void create(struct sim_request *req, struct sim_answer *ans, cs_json_val root,
                   uint32_t folder)
{
    uint32_t msg = new_draft(req->mb, folder, SIM_NONE);
    const char *why = apply(req->mb, msg, root);

    if (why != NULL) {
        sim_mail_remove(req->mb, msg);
        bad_request(ans, why);
        return;
    }
    write_message(req, ans, 201, msg);
}

static void create_answer(struct sim_request *req, struct sim_answer *ans, cs_json_val root,
                          uint32_t to, bool all, bool forward)
{
    struct sim_mailbox *mb = req->mb;
    cs_json_val message = cs_json_get(root, "message");
    struct sim_letter letter;
    struct sim_over *o;
    char subject[600];
    uint32_t msg = new_draft(mb, SIM_F_DRAFTS, to);
    const char *why;

    o = sim_mail_over(&mb->mail->msg[msg]);
    sim_letter_head(mb, to, &letter);
    snprintf(subject, sizeof(subject), "%s: %s", forward ? "FW" : "RE", letter.subject);
    replace(&o->subject, sim_strdup(subject));
    if (!forward) {
        o->to = sim_grow(o->to, 1 + (all ? letter.n_to : 0), sizeof(*o->to));
        o->to[o->n_to++] =
            (struct sim_person_ref){sim_strdup(letter.from.name), sim_strdup(letter.from.address)};
        for (size_t i = 0; all && i < letter.n_to; i++)
            if (strcasecmp(letter.to[i].address, mb->address) != 0)
                o->to[o->n_to++] = (struct sim_person_ref){sim_strdup(letter.to[i].name),
                                                           sim_strdup(letter.to[i].address)};
    }
    if (cs_json_get(root, "comment") != NULL && cs_json_get(message, "body") != NULL)
        why = "A comment and a body are given.";
    else
        why = cs_json_is_object(message) ? apply(mb, msg, message) : NULL;
    if (why != NULL) {
        sim_mail_remove(mb, msg);
        bad_request(ans, why);
        return;
    }
    write_message(req, ans, 201, msg);
}

/* ---- sending ------------------------------------------------------------------------------------------------ */

static bool has_bad_address(const struct sim_person_ref *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strchr(p[i].address, '@') == NULL || strchr(p[i].address, ' ') != NULL)
            return true;
    return false;
}

/* What leaves the house is counted here: the truth of "once". */
static void note_sent(struct sim_mailbox *mb, uint32_t msg)
{
    struct sim_mail *mail = mb->mail;

    SIM_PUSH(mail->sent, mail->n_sent, mail->cap_sent);
    mail->sent[mail->n_sent++] = (struct sim_sent){sim_now_ms(mb->sim), msg};
}

void sim_mail_settle(struct sim_mailbox *mb)
{
    struct sim_mail *mail = mb->mail;
    int64_t now_ms = sim_now_ms(mb->sim);

    for (size_t i = 0; i < mail->n_transit;) {
        struct sim_transit t = mail->transit[i];

        if (t.until_ms > now_ms) {
            i++;
            continue;
        }
        mail->transit[i] = mail->transit[--mail->n_transit];
        mail->msg[t.msg].in_transit = false;
        mail->msg[t.msg].is_draft = false;
        sim_mail_move(mb, t.msg, SIM_F_SENT);
    }
}

static void send_draft(struct sim_request *req, struct sim_answer *ans, uint32_t msg)
{
    struct sim_mailbox *mb = req->mb;
    struct sim_msg *m = &mb->mail->msg[msg];
    const struct sim_over *o = sim_mail_over(m);
    size_t n = o->n_to + o->n_cc + o->n_bcc;

    if (!m->is_draft) {
        bad_request(ans, "The item is not a draft.");
        return;
    }
    if (n == 0 || n > RECIPIENTS_MAX || has_bad_address(o->to, o->n_to) ||
        has_bad_address(o->cc, o->n_cc) || has_bad_address(o->bcc, o->n_bcc)) {
        sim_answer_error(ans, 400, "ErrorInvalidRecipients",
                         "At least one recipient isn't valid, or there are none or too many.");
        return;
    }
    if (strcasecmp(o->from_address, mb->address) != 0) {
        sim_answer_error(ans, 403, "ErrorSendAsDenied",
                         "The user account which was used to submit this request does not have "
                         "the right to send mail on behalf of the specified sending account.");
        return;
    }
    note_sent(mb, msg);
    m->sent_ms = sim_now_ms(mb->sim);
    if (req->sim->v.transit_ms > 0) {
        /* for a moment it is nowhere to be found, and what can be found says that it is a draft still */
        SIM_PUSH(mb->mail->transit, mb->mail->n_transit, mb->mail->cap_transit);
        mb->mail->transit[mb->mail->n_transit++] =
            (struct sim_transit){sim_now_ms(mb->sim) + req->sim->v.transit_ms, msg};
        m->in_transit = true;
    } else {
        m->is_draft = false;
        sim_mail_move(mb, msg, SIM_F_SENT);
    }
    ans->status = 202;
    ans->content_type = "text/plain";
}

static void send_mail(struct sim_request *req, struct sim_answer *ans, cs_json_val root)
{
    uint32_t msg = new_draft(req->mb, SIM_F_DRAFTS, SIM_NONE);
    const char *why = apply(req->mb, msg, cs_json_get(root, "message"));

    if (why != NULL)
        bad_request(ans, why);
    else
        send_draft(req, ans, msg);
    if (ans->status != 202)
        sim_mail_remove(req->mb, msg);
}

/* ---- upload sessions ---------------------------------------------------------------------------------------- */

static void open_session(struct sim_request *req, struct sim_answer *ans, cs_json_val root,
                         uint32_t msg)
{
    struct sim_mail *mail = req->mb->mail;
    cs_json_val item = cs_json_get(root, "AttachmentItem");
    struct sim_upload *u;
    char url[400];
    int64_t size;
    struct sim_jw w;

    if (cs_json_get(item, "name") == NULL || cs_json_i64(item, "size", 1, UPLOAD_MAX, &size) < 0) {
        bad_request(ans, "AttachmentItem needs name and size.");
        return;
    }
    SIM_PUSH(mail->upload, mail->n_upload, mail->cap_upload);
    u = &mail->upload[mail->n_upload];
    memset(u, 0, sizeof(*u));
    u->msg = msg;
    u->size = (size_t)size;
    u->secret = sim_hash(req->mb->seed ^ req->sim->key, mail->n_upload + 1);
    u->name = copy(item, "name");
    u->type = copy(item, "contentType");
    u->content_id = copy(item, "contentId");
    (void)cs_json_bool(item, "isInline", &u->is_inline); /* absent: not */
    cs_buf_init(&u->bytes, 0);
    snprintf(url, sizeof(url), "%.*s/upload/%u/%zu/%016llx",
             (int)(strlen(req->base) - strlen("/v1.0")), req->base, req->mb->index, mail->n_upload,
             (unsigned long long)u->secret);
    mail->n_upload++;
    ans->status = 201;
    sim_jw_init(&w, &ans->body, 0);
    sim_jw_open(&w, '{');
    sim_jw_kstr(&w, "uploadUrl", url);
    sim_jw_ktime(&w, "expirationDateTime", sim_now_ms(req->sim) + 3600000);
    sim_jw_key(&w, "nextExpectedRanges");
    sim_jw_raw(&w, "[\"0-\"]");
    sim_jw_close(&w, '}');
}

static void take_range(struct sim_mailbox *mb, struct sim_upload *u, const char *range,
                       const char *body, size_t n, struct sim_answer *ans)
{
    unsigned long long first, last, total;
    char text[32];
    struct sim_jw w;

    if (range == NULL || sscanf(range, "bytes %llu-%llu/%llu", &first, &last, &total) != 3 ||
        total != u->size || first != u->bytes.len || last + 1 - first != n || n > CHUNK_MAX ||
        last >= u->size) {
        sim_answer_error(ans, 416, "ErrorInvalidRange", "The range is not the expected one.");
        return;
    }
    cs_buf_add(&u->bytes, body, n);
    if (u->bytes.len == u->size) {
        u->done = true;
        if (add_file(mb, u->msg, u->name, u->type, u->content_id, u->is_inline, &u->bytes)) {
            u->name = u->type = u->content_id = NULL;
            sim_mail_touch(mb, u->msg, SIM_BIT(SIM_P_HAS_ATTACHMENTS));
        }
        ans->status = 201;
        return;
    }
    sim_jw_init(&w, &ans->body, 0);
    sim_jw_open(&w, '{');
    sim_jw_key(&w, "NextExpectedRanges");
    sim_jw_open(&w, '[');
    snprintf(text, sizeof(text), "%zu-", u->bytes.len);
    sim_jw_str(&w, text);
    sim_jw_close(&w, ']');
    sim_jw_close(&w, '}');
}

void sim_mail_upload(struct sim *sim, const char *method, const char *path, bool authorized,
                     const char *range, const char *body, size_t n, struct sim_answer *ans)
{
    unsigned long long box, number, secret;
    struct sim_mailbox *mb;
    struct sim_mail *mail;

    if (sscanf(path, "/upload/%llu/%llu/%llx", &box, &number, &secret) != 3 ||
        box >= sim->n_mailboxes) {
        sim_answer_error(ans, 404, "ErrorItemNotFound", "No such session.");
        return;
    }
    if (authorized) { /* the URL is the right; a bearer token has no business there */
        sim_answer_error(ans, 401, "InvalidAuthenticationToken", "Authorization is not accepted.");
        return;
    }
    mb = &sim->mailboxes[box];
    pthread_mutex_lock(&mb->lock);
    mail = mb->mail;
    if (number >= mail->n_upload || mail->upload[number].secret != secret ||
        mail->upload[number].done || mail->msg[mail->upload[number].msg].gone_ms != 0) {
        sim_answer_error(ans, 404, "ErrorItemNotFound", "No such session.");
    } else if (strcmp(method, "DELETE") == 0) {
        mail->upload[number].done = true;
        ans->status = 204;
    } else if (strcmp(method, "PUT") == 0) {
        take_range(mb, &mail->upload[number], range, body, n, ans);
    } else {
        sim_answer_error(ans, 405, "ErrorInvalidRequest", "PUT or DELETE.");
    }
    pthread_mutex_unlock(&mb->lock);
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

/* If-Match: the version has to be the one that the client saw. */
static bool version_matches(const struct sim_request *req, uint32_t msg, struct sim_answer *ans)
{
    char key[SIM_CHANGE_KEY_MAX];

    if (req->if_match == NULL || strcmp(req->if_match, "*") == 0)
        return true;
    sim_change_key(req->mb, 'C', req->mb->mail->msg[msg].version, key);
    if (strstr(req->if_match, key) != NULL)
        return true;
    sim_answer_error(ans, 412, "ErrorIrresolvableConflict",
                     "The send or update operation could not be performed because the change key "
                     "passed in the request does not match the current change key for the item.");
    return false;
}

static void patch(struct sim_request *req, struct sim_answer *ans, cs_json_val root, uint32_t msg)
{
    const char *why;

    if (!version_matches(req, msg, ans))
        return;
    if (!req->mb->mail->msg[msg].is_draft &&
        (cs_json_get(root, "subject") != NULL || cs_json_get(root, "body") != NULL ||
         cs_json_get(root, "toRecipients") != NULL)) {
        bad_request(ans, "The item is not a draft.");
        return;
    }
    why = apply(req->mb, msg, root);
    if (why != NULL) {
        bad_request(ans, why);
        return;
    }
    sim_mail_touch(req->mb, msg, SIM_P_DEFAULT);
    write_message(req, ans, 200, msg);
}

static void on_message(struct sim_request *req, struct sim_answer *ans, cs_json_val root, size_t at)
{
    int64_t found = sim_msg_find(req->mb, req->seg[at]);
    bool post = strcmp(req->method, "POST") == 0;
    uint32_t msg;
    const char *why;

    if (found < 0 || req->mb->mail->msg[found].in_transit) {
        bad_id(ans, found < 0 ? found : -ENOENT);
        return;
    }
    msg = (uint32_t)found;
    if (req->n_seg == at + 1 && strcmp(req->method, "PATCH") == 0) {
        patch(req, ans, root, msg);
    } else if (req->n_seg == at + 1 && strcmp(req->method, "DELETE") == 0) {
        if (!version_matches(req, msg, ans))
            return;
        if (req->mb->mail->msg[msg].folder == SIM_F_DELETED)
            sim_mail_remove(req->mb, msg);
        else
            sim_mail_move(req->mb, msg, SIM_F_DELETED);
        ans->status = 204;
    } else if (post && req->n_seg == at + 2 && is(req, at + 1, "send")) {
        send_draft(req, ans, msg);
    } else if (post && req->n_seg == at + 2 && is(req, at + 1, "createReply")) {
        create_answer(req, ans, root, msg, false, false);
    } else if (post && req->n_seg == at + 2 && is(req, at + 1, "createReplyAll")) {
        create_answer(req, ans, root, msg, true, false);
    } else if (post && req->n_seg == at + 2 && is(req, at + 1, "createForward")) {
        create_answer(req, ans, root, msg, false, true);
    } else if (post && req->n_seg == at + 2 && is(req, at + 1, "attachments")) {
        why = attach(req->mb, msg, root);
        if (why != NULL) {
            bad_request(ans, why);
            return;
        }
        sim_mail_touch(req->mb, msg, SIM_BIT(SIM_P_HAS_ATTACHMENTS));
        ans->status = 201;
        cs_buf_adds(&ans->body, "{\"@odata.type\":\"#microsoft.graph.fileAttachment\"}");
    } else if (post && req->n_seg == at + 3 && is(req, at + 1, "attachments") &&
               is(req, at + 2, "createUploadSession")) {
        open_session(req, ans, root, msg);
    } else {
        sim_answer_error(ans, 405, "ErrorInvalidRequest", "Not simulated.");
    }
}

void sim_mail_write(struct sim_request *req, struct sim_answer *ans)
{
    bool post = strcmp(req->method, "POST") == 0;
    struct cs_json *doc = NULL;
    const char *reason = NULL;
    cs_json_val root = NULL;

    if (req->body_len > 0) {
        if (cs_json_parse(req->body, req->body_len, &doc, &reason) < 0) {
            sim_answer_error(ans, 400, "BadRequest", "Unable to read JSON request payload.");
            return;
        }
        root = cs_json_root(doc);
    }
    if (post && req->n_seg == 3 && is(req, 2, "sendMail")) {
        send_mail(req, ans, root);
    } else if (post && req->n_seg == 3 && is(req, 2, "messages")) {
        create(req, ans, root, SIM_F_DRAFTS);
    } else if (req->n_seg > 3 && is(req, 2, "messages")) {
        on_message(req, ans, root, 3);
    } else if (is(req, 2, "mailFolders") && req->n_seg >= 5 && is(req, 4, "messages")) {
        int64_t folder = sim_folder_find(req->mb, req->seg[3]);

        if (folder < 0)
            bad_id(ans, folder);
        else if (post && req->n_seg == 5)
            create(req, ans, root, (uint32_t)folder);
        else if (req->n_seg > 5)
            on_message(req, ans, root, 5);
        else
            sim_answer_error(ans, 405, "ErrorInvalidRequest", "Not simulated.");
    } else {
        sim_answer_error(ans, 405, "ErrorInvalidRequest", "Not simulated.");
    }
    cs_json_free(doc);
}
