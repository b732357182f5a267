/* mail_http.c - which mail request is meant. */
#include "mail.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "letter.h"
#include "request.h"

#define FOLDER_PAGE 10

static bool is(const struct sim_request *req, size_t i, const char *name)
{
    return i < req->n_seg && strcasecmp(req->seg[i], name) == 0;
}

static void not_found(struct sim_answer *ans)
{
    sim_answer_error(ans, 404, "ErrorItemNotFound",
                     "The specified object was not found in the store.");
}

static void unknown_path(struct sim_answer *ans)
{
    sim_answer_error(ans, 404, "ResourceNotFound", "Resource could not be discovered.");
}

static void bad_id(struct sim_answer *ans, int64_t error)
{
    if (error == -EINVAL)
        sim_answer_error(ans, 400, "ErrorInvalidIdMalformed", "Id is malformed.");
    else
        not_found(ans);
}

static size_t number_or(const char *text, size_t max, size_t other)
{
    unsigned long n = 0;

    if (text == NULL)
        return other;
    for (; *text >= '0' && *text <= '9' && n <= max; text++)
        n = n * 10 + (unsigned long)(*text - '0');
    return n <= max ? n : max;
}

/* Direct children, ten at a time. */
static void list_folders(struct sim_request *req, struct sim_answer *ans, uint32_t parent)
{
    struct sim_mail *mail = req->mb->mail;
    const char *hidden_text = sim_param(req, "includeHiddenFolders");
    bool hidden = hidden_text != NULL && strcasecmp(hidden_text, "true") == 0;
    size_t top = number_or(sim_param(req, "$top"), 1000, FOLDER_PAGE),
           skip = number_or(sim_param(req, "$skip"), 1000000, 0);
    size_t at = 0;
    bool more = false;
    struct sim_jw w;

    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    sim_jw_open(&w, '{');
    cs_buf_addf(&ans->body, "\"@odata.context\":\"%s/$metadata#users('%s')/mailFolders\"",
                req->base, req->mb->id);
    w.comma = true;
    sim_jw_key(&w, "value");
    sim_jw_open(&w, '[');
    for (uint32_t i = 0; i < mail->n_folder; i++) {
        const struct sim_folder *f = &mail->folder[i];

        if (f->gone || f->parent != parent || (f->hidden && !hidden))
            continue;
        if (at >= skip + top) {
            more = true;
            break;
        }
        if (at >= skip)
            sim_folder_write(req, i, false, &w);
        at++;
    }
    sim_jw_close(&w, ']');
    if (more) {
        struct cs_buf url;

        cs_buf_init(&url, 0);
        cs_buf_addf(&url, "%s/users('%s')/mailFolders", req->base, req->mb->id);
        if (parent != SIM_F_ROOT || req->n_seg > 3) {
            char id[SIM_ID_MAX];

            sim_folder_id(req->mb, parent, id);
            cs_buf_addf(&url, "('%s')/childFolders", id);
        }
        cs_buf_addf(&url, "?%%24top=%zu&%%24skip=%zu%s", top, skip + top,
                    hidden ? "&includeHiddenFolders=true" : "");
        sim_jw_kstr(&w, "@odata.nextLink", url.data);
        cs_buf_clear(&url);
    }
    sim_jw_close(&w, '}');
}

/* An object alone gets its context as first member. */
static void splice_context(struct sim_answer *ans, size_t at, const char *base, const char *what)
{
    struct cs_buf head;

    cs_buf_init(&head, 0);
    cs_buf_addf(&head, "{\"@odata.context\":\"%s/$metadata#%s/$entity\",", base, what);
    cs_buf_add(&head, ans->body.data + at + 1, ans->body.len - at - 1);
    cs_buf_truncate(&ans->body, at);
    cs_buf_add(&ans->body, head.data, head.len);
    cs_buf_clear(&head);
}

static void list_attachments(struct sim_request *req, struct sim_answer *ans, uint32_t msg)
{
    struct sim_jw w;

    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    sim_jw_open(&w, '{');
    cs_buf_addf(&ans->body,
                "\"@odata.context\":\"%s/$metadata#users('%s')/messages('x')/attachments\"",
                req->base, req->mb->id);
    w.comma = true;
    sim_jw_key(&w, "value");
    sim_jw_open(&w, '[');
    for (unsigned i = 0; i < req->mb->mail->msg[msg].n_attachments; i++)
        sim_attachment_write(req, msg, i, sim_param(req, "$select"), &w);
    sim_jw_close(&w, ']');
    sim_jw_close(&w, '}');
}

static void one_attachment(struct sim_request *req, struct sim_answer *ans, uint32_t msg,
                           const char *text, bool value)
{
    struct sim_id id;
    struct sim_jw w;
    int r = sim_id_parse(req->mb, text, &id);

    if (r < 0) {
        bad_id(ans, r);
    } else if (id.kind != SIM_ID_ATTACHMENT || id.num != msg ||
               id.sub >= req->mb->mail->msg[msg].n_attachments) {
        not_found(ans);
    } else if (!value) {
        sim_jw_init(&w, &ans->body, req->sim->v.quirks);
        sim_attachment_write(req, msg, (unsigned)id.sub, sim_param(req, "$select"), &w);
        splice_context(ans, 0, req->base, "attachments");
    } else if (sim_attachment_kind(req->mb, msg, (unsigned)id.sub) == 'r') {
        sim_answer_error(ans, 405, "ErrorInvalidRequest",
                         "$value is not supported for reference attachments.");
    } else {
        ans->content_type = "application/octet-stream";
        sim_attachment_bytes(req->mb, msg, (unsigned)id.sub, &ans->body);
    }
}

/* The message as MIME, written again from its parts as Exchange does. */
static void mime(struct sim_request *req, struct sim_answer *ans, uint32_t msg)
{
    struct sim_letter letter;

    sim_letter_head(req->mb, msg, &letter);
    ans->content_type = "text/plain";
    cs_buf_addf(&ans->body, "From: %s <%s>\r\n", letter.from.name, letter.from.address);
    for (size_t i = 0; i < letter.n_to; i++)
        cs_buf_addf(&ans->body, "%s%s <%s>\r\n", i == 0 ? "To: " : "\t, ", letter.to[i].name,
                    letter.to[i].address);
    cs_buf_addf(&ans->body, "Subject: %s\r\nMessage-ID: ", letter.subject);
    sim_letter_message_id(req->mb, msg, &ans->body);
    cs_buf_adds(&ans->body,
                "\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=\"utf-8\"\r\n"
                "Content-Transfer-Encoding: 8bit\r\n\r\n");
    sim_letter_body(req->mb, msg, true, false, &ans->body);
}

/* at: index of the segment that is the message's id */
static void one_message(struct sim_request *req, struct sim_answer *ans, size_t at, uint32_t folder)
{
    int64_t msg = sim_msg_find(req->mb, req->seg[at]);
    unsigned unknown;
    uint64_t select = sim_select_parse(sim_param(req, "$select"), &unknown);
    struct sim_jw w;

    if (msg >= 0 && req->mb->mail->msg[msg].in_transit)
        msg = -ENOENT;
    if (msg < 0) {
        bad_id(ans, msg);
        return;
    }
    if (folder != SIM_NONE && req->mb->mail->msg[msg].folder != folder &&
        !req->mb->mail->folder[folder].search) {
        not_found(ans);
        return;
    }
    if (req->n_seg == at + 1) {
        if (unknown > 0) {
            sim_answer_error(ans, 400, "RequestBroker--ParseUri",
                             "Could not find a property named in $select.");
            return;
        }
        sim_jw_init(&w, &ans->body, req->sim->v.quirks);
        sim_msg_write(req, (uint32_t)msg, select, false, &w);
        splice_context(ans, 0, req->base, "users('x')/messages");
        ans->items = 1;
    } else if (is(req, at + 1, "$value") && req->n_seg == at + 2) {
        mime(req, ans, (uint32_t)msg);
    } else if (is(req, at + 1, "attachments") && req->n_seg == at + 2) {
        list_attachments(req, ans, (uint32_t)msg);
    } else if (is(req, at + 1, "attachments") &&
               (req->n_seg == at + 3 || (req->n_seg == at + 4 && is(req, at + 3, "$value")))) {
        one_attachment(req, ans, (uint32_t)msg, req->seg[at + 2], req->n_seg == at + 4);
    } else {
        unknown_path(ans);
    }
}

static void in_folder(struct sim_request *req, struct sim_answer *ans)
{
    int64_t folder = sim_folder_find(req->mb, req->seg[3]);
    struct sim_jw w;

    if (folder < 0) {
        bad_id(ans, folder);
    } else if (req->n_seg == 4) {
        sim_jw_init(&w, &ans->body, req->sim->v.quirks);
        sim_folder_write(req, (uint32_t)folder, false, &w);
        splice_context(ans, 0, req->base, "users('x')/mailFolders");
    } else if (is(req, 4, "childFolders") && req->n_seg == 5) {
        list_folders(req, ans, (uint32_t)folder);
    } else if (is(req, 4, "messages") && req->n_seg == 5) {
        sim_mail_list(req, ans, (uint32_t)folder);
    } else if (is(req, 4, "messages") && is(req, 5, "delta") && req->n_seg == 6) {
        sim_mail_delta(req, ans, (uint32_t)folder);
    } else if (is(req, 4, "messages")) {
        one_message(req, ans, 5, (uint32_t)folder);
    } else {
        unknown_path(ans);
    }
}

void sim_mail_handle(struct sim_request *req, struct sim_answer *ans)
{
    if (strcmp(req->method, "GET") != 0) {
        sim_mail_write(req, ans);
    } else if (is(req, 2, "mailFolders")) {
        if (req->n_seg == 3)
            list_folders(req, ans, SIM_F_ROOT);
        else if (is(req, 3, "delta") && req->n_seg == 4)
            sim_folder_delta(req, ans);
        else
            in_folder(req, ans);
    } else if (req->n_seg == 3) {
        sim_mail_list(req, ans, SIM_NONE);
    } else if (is(req, 3, "delta") && req->n_seg == 4) {
        sim_answer_error(ans, 400, "BadRequest",
                         "Unsupported request: Change tracking is not supported against "
                         "'microsoft.graph.message'.");
    } else {
        one_message(req, ans, 3, SIM_NONE);
    }
    if (ans->status == 200 && req->text_body)
        sim_answer_applied(ans, "outlook.body-content-type=\"text\"");
}
