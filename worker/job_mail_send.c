/* job_mail_send.c - sends for the CRM, a step at a time.
 *
 * Graph has no idempotency key, so what is at stake is a mail that goes twice. Two rules prevent it:
 *
 * 1. Only a draft whose id has been committed is ever sent. Whatever dies before that leaves a draft that nobody will
 *    send; the sweep removes it by its mark.
 * 2. Before a draft is sent, its version is claimed: a PATCH with If-Match of the version that was committed. Of two
 *    workers with the same job (a killed one's and its successor's, or one that slept and does not know that it has
 *    been replaced) one only gets the claim; the other is told 412 and ends without having sent. The send follows the
 *    claim at once.
 *
 * After a claim without a known end (no answer, 5xx, or 412 because a predecessor claimed it) nothing is sent again until
 * a look, some time later, finds the item still to be a draft; it is then claimed anew in the version that was seen. An
 * item that is no draft has gone. One that is nowhere after several looks is "unknown": said, never guessed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/outbox.h"
#include "common/tenant.h"
#include "worker/job_priv.h"

/* Named properties of our own (Microsoft Graph: singleValueLegacyExtendedProperty). */
#define SPACE_      "{5d8a2b1e-93c4-4f0e-8a57-2e6f1c0b7d34}"
#define MARK_       "String " SPACE_ " Name crmsync-request"
#define CLAIM_      "String " SPACE_ " Name crmsync-claim"
#define PIECE_BYTES INT64_C(3932160) /* of an upload: below 4 MB, a multiple of 320 KiB */
#define FETCH_TRIES 8 /* jobs, with a back-off between them, for a store that does not answer */
#define LOOKS_MAX   6 /* an item that is nowhere so many times */
#define SWEEP_TOP   "50"

struct cs_send_run {
    struct cs_outbox request;
    bool has_request;
    const char *result; /* static: "sent", "refused", "unknown"; NULL: not over */
    const char *reason; /* static or in reason_text; NULL: none */
    char reason_text[96];
    char *draft_id, *change_key, *message_id;
    int64_t sent_ms; /* when the deciding request was sent */
    size_t file;     /* which one is under way */
    int64_t at;      /* how many bytes of it are there */
    char *upload_url;
    size_t swept;
};

void cs_send_run_free(struct cs_send_run *s)
{
    if (s == NULL)
        return;
    if (s->has_request)
        cs_outbox_clear(&s->request);
    free(s->draft_id);
    free(s->change_key);
    free(s->message_id);
    free(s->upload_url);
    free(s);
}

/* ---- ends ----------------------------------------------------------------------------------------------- */

static void end(struct cs_job_run *run, enum cs_send_state state, enum cs_outcome outcome,
                const struct cs_verdict *why)
{
    struct cs_part_run *part = &run->parts[0];

    /* not cs_part_end(): what has been claimed has to be said even if the mailbox is refused meanwhile */
    part->ended = true;
    part->outcome = outcome;
    if (why != NULL)
        part->why = *why;
    cs_run_feedback(run)->send.state = state;
}

static void end_result(struct cs_job_run *run, const char *result, const char *reason)
{
    run->send->result = result;
    run->send->reason = reason;
    end(run, CS_SENT_DONE, CS_DONE, NULL);
}

static void end_wait(struct cs_job_run *run, enum cs_send_state state, const struct cs_verdict *why)
{
    struct cs_verdict v = *why;

    v.outcome = CS_RETRY;
    if (v.code == CS_CODE_NONE)
        v.code = CS_CODE_SERVICE_UNAVAILABLE;
    end(run, state, CS_RETRY, &v);
}

static bool no_memory(struct cs_job_run *run)
{
    cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    return false;
}

/* Id, version and Message-ID of the message that was answered with. */
static bool note_draft(struct cs_job_run *run, const struct cs_reply *reply)
{
    struct cs_send_run *s = run->send;
    struct cs_js root = reply->page.root;
    char *id = cs_js_strdup(cs_js_get(root, "id"), CS_ID_MAX);
    char *key = cs_js_strdup(cs_js_get(root, "changeKey"), CS_CHANGE_KEY_MAX - 1);
    char *message_id = cs_js_strdup(cs_js_get(root, "internetMessageId"), 998);

    if (id == NULL || key == NULL) {
        free(id);
        free(key);
        free(message_id);
        return false;
    }
    free(s->draft_id);
    free(s->change_key);
    s->draft_id = id;
    s->change_key = key;
    if (message_id != NULL) {
        free(s->message_id);
        s->message_id = message_id;
    }
    return true;
}

/* What the producer keeps for the next step. */
static void tell_draft(struct cs_job_run *run)
{
    struct cs_feedback_send *f = &cs_run_feedback(run)->send;
    const struct cs_send_run *s = run->send;

    f->draft_id = s->draft_id != NULL ? strdup(s->draft_id) : NULL;
    f->change_key = s->change_key != NULL ? strdup(s->change_key) : NULL;
    f->message_id = s->message_id != NULL ? strdup(s->message_id) : NULL;
    if ((s->draft_id != NULL && f->draft_id == NULL) ||
        (s->change_key != NULL && f->change_key == NULL) ||
        (s->message_id != NULL && f->message_id == NULL))
        (void)no_memory(run);
}

/* Was it turned away for good, whatever the number of tries? Then say so to who asked. */
static const char *refusal_of(struct cs_send_run *s, const struct cs_verdict *v)
{
    if (strcasecmp(v->service_code, "ErrorSendAsDenied") == 0)
        return "send_as_denied";
    if (strcasecmp(v->service_code, "ErrorInvalidRecipients") == 0)
        return "recipients_refused";
    if (v->code != CS_CODE_BAD_REQUEST)
        return NULL;
    snprintf(s->reason_text, sizeof(s->reason_text), "service_refused%s%s",
             v->service_code[0] != '\0' ? ":" : "", v->service_code);
    return s->reason_text;
}

static char *message_path(const struct cs_job_run *run, const char *id, const char *rest)
{
    struct cs_buf path;

    cs_buf_init(&path, 0);
    cs_graph_user_path(&path, run->job.mailbox);
    cs_buf_adds(&path, "/messages/");
    cs_url_escape(&path, id);
    cs_buf_adds(&path, rest);
    return cs_buf_steal(&path, NULL);
}

static struct cs_call *write_call(struct cs_job_run *run, const char *method, char *path,
                                  cs_reply_fn fn, char *body)
{
    struct cs_call *call =
        path != NULL && body != NULL ? cs_run_call(run, path, CS_ASKED_ITEM, fn, 0) : NULL;

    if (call == NULL) {
        if (path == NULL || body == NULL) {
            free(path);
            (void)no_memory(run);
        }
        free(body);
        return NULL;
    }
    call->method = method;
    call->writes = true;
    call->body = body;
    return call;
}

/* ---- files that are fetched ------------------------------------------------------------------------------ */

static void next_file(struct cs_job_run *run);
static void next_piece(struct cs_job_run *run);
static void remove_draft(struct cs_job_run *run);

static bool may_fetch(const struct cs_job_run *run, const char *url)
{
    bool http = strncmp(run->jobs->p.base_url, "http://", 7) == 0; /* then Graph is on loopback */
    char host[300];

    if (cs_url_authority(url, http, host, sizeof(host)) < 0)
        return false;
    for (size_t i = 0; i < run->tenant->n_attachment_hosts; i++)
        if (strcmp(host, run->tenant->attachment_hosts[i]) == 0)
            return true;
    return false;
}

static void refuse_file(struct cs_job_run *run, const char *reason)
{
    end_result(run, "refused", reason);
    remove_draft(run);
}

/* A call to another place than Graph; url and body are taken. */
static struct cs_call *elsewhere(struct cs_job_run *run, const char *method, char *url,
                                 cs_reply_fn fn)
{
    char *path = strdup("");
    struct cs_call *call =
        url != NULL && path != NULL ? cs_run_call(run, path, CS_ASKED_ITEM, fn, 0) : NULL;

    if (call == NULL) {
        if (url == NULL || path == NULL) {
            free(path);
            (void)no_memory(run);
        }
        free(url);
        return NULL;
    }
    call->url = url;
    call->method = method;
    return call;
}

static void on_piece_put(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_send_run *s = run->send;

    if (!reply->ok) {
        /* begun anew with another draft: this one is swept */
        end_wait(run, CS_SENT_NOTHING, &reply->verdict);
        return;
    }
    s->at += (int64_t)call->body_len;
    next_piece(run);
}

static void on_piece(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_send_run *s = run->send;
    const struct cs_outbox_file *f = &s->request.files[s->file];
    int64_t want = f->size - s->at < PIECE_BYTES ? f->size - s->at : PIECE_BYTES;
    struct cs_call *put;

    (void)call;
    if (!reply->ok) {
        if (reply->verdict.outcome == CS_REJECT || run->job.attempt >= FETCH_TRIES)
            refuse_file(run, "attachment_unavailable");
        else
            end_wait(run, CS_SENT_NOTHING, &reply->verdict);
        return;
    }
    /* a store without ranges answers with all of it, which is the same if that is one piece */
    if ((int64_t)reply->len != want) {
        refuse_file(run, "attachment_size");
        return;
    }
    put = elsewhere(run, "PUT", strdup(s->upload_url), on_piece_put);
    if (put == NULL)
        return;
    put->writes = true;
    put->body = reply->body;
    put->body_len = reply->len;
    reply->body = NULL;
    if (asprintf(&put->range, "Content-Range: bytes %" PRId64 "-%" PRId64 "/%" PRId64, s->at,
                 s->at + want - 1, f->size) < 0) {
        put->range = NULL;
        (void)no_memory(run);
    }
}

static void next_piece(struct cs_job_run *run)
{
    struct cs_send_run *s = run->send;
    const struct cs_outbox_file *f = &s->request.files[s->file];
    struct cs_call *get;

    if (s->at == f->size) {
        free(s->upload_url);
        s->upload_url = NULL;
        s->file++;
        s->at = 0;
        next_file(run);
        return;
    }
    get = elsewhere(run, NULL, strdup(f->url), on_piece);
    if (get != NULL &&
        asprintf(&get->range, "Range: bytes=%" PRId64 "-%" PRId64, s->at,
                 (f->size - s->at < PIECE_BYTES ? f->size : s->at + PIECE_BYTES) - 1) < 0) {
        get->range = NULL;
        (void)no_memory(run);
    }
}

static void on_session(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_send_run *s = run->send;
    struct cs_verdict odd = {.outcome = CS_RETRY,
                             .code = CS_CODE_BAD_ANSWER,
                             .scope = CS_SCOPE_MAILBOX,
                             .retry_after_ms = -1};
    const char *why;

    (void)call;
    if (!reply->ok) {
        why = refusal_of(s, &reply->verdict);
        if (why != NULL)
            refuse_file(run, why);
        else
            end_wait(run, CS_SENT_NOTHING, &reply->verdict);
        return;
    }
    s->upload_url = cs_js_strdup(cs_js_get(reply->page.root, "uploadUrl"), CS_OUTBOX_URL_MAX);
    if (s->upload_url == NULL || !cs_upload_url_is_ours(s->upload_url, run->jobs->p.base_url))
        end_wait(run, CS_SENT_NOTHING, &odd); /* a customer's file goes to no place but Outlook's */
    else
        next_piece(run);
}

static void on_whole_draft(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    (void)call;
    if (!reply->ok || !note_draft(run, reply)) {
        end_wait(run, CS_SENT_NOTHING, &reply->verdict);
        return;
    }
    tell_draft(run);
    end(run, CS_SENT_DRAFTED, CS_MORE, NULL);
}

static void next_file(struct cs_job_run *run)
{
    struct cs_send_run *s = run->send;
    const struct cs_outbox_file *f;
    struct cs_buf body;
    struct cs_jw jw;

    while (s->file < s->request.n_files && s->request.files[s->file].url == NULL)
        s->file++;
    if (s->file == s->request.n_files) {
        /* each file has made a new version of the draft */
        (void)cs_run_call(run,
                          message_path(run, s->draft_id, "?$select=id,changeKey,internetMessageId"),
                          CS_ASKED_ITEM, on_whole_draft, 0);
        return;
    }
    f = &s->request.files[s->file];
    cs_buf_init(&body, 0);
    cs_jw_init(&jw, &body);
    cs_jw_object(&jw);
    cs_jw_key(&jw, "AttachmentItem");
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "attachmentType", "file");
    cs_jw_kstr(&jw, "name", f->name);
    cs_jw_ki64(&jw, "size", f->size);
    cs_jw_kstr_opt(&jw, "contentType", f->content_type);
    cs_jw_kstr_opt(&jw, "contentId", f->content_id);
    cs_jw_kbool(&jw, "isInline", f->is_inline);
    cs_jw_object_end(&jw);
    cs_jw_object_end(&jw);
    (void)write_call(run, "POST",
                     message_path(run, s->draft_id, "/attachments/createUploadSession"), on_session,
                     cs_buf_steal(&body, NULL));
}

static bool has_files_to_fetch(const struct cs_outbox *o)
{
    for (size_t i = 0; i < o->n_files; i++)
        if (o->files[i].url != NULL)
            return true;
    return false;
}

/* ---- draft ------------------------------------------------------------------------------------------------ */

static void on_draft(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    const struct cs_verdict *v = &reply->verdict;
    const char *why;

    (void)call;
    if (reply->ok && note_draft(run, reply)) {
        if (has_files_to_fetch(&run->send->request)) {
            next_file(run);
        } else {
            tell_draft(run);
            end(run, CS_SENT_DRAFTED, CS_MORE, NULL);
        }
    } else if (!reply->ok && v->code == CS_CODE_ITEM_GONE) {
        end_result(run, "refused", "original_missing");
    } else if (!reply->ok && (why = refusal_of(run->send, v)) != NULL) {
        end_result(run, "refused", why);
    } else {
        /* whatever was made without our knowing is never sent, and swept */
        end_wait(run, CS_SENT_NOTHING, v);
    }
}

static void make_draft(struct cs_job_run *run)
{
    static const char *const actions[] = {
        [CS_ANSWERS_REPLY] = "createReply",
        [CS_ANSWERS_REPLY_ALL] = "createReplyAll",
        [CS_ANSWERS_FORWARD] = "createForward",
    };
    const struct cs_outbox *o = &run->send->request;
    char mark[CS_TENANT_MAX + CS_REQUEST_ID_LEN + 2];
    struct cs_buf body, path;

    snprintf(mark, sizeof(mark), "%s/%s", run->job.tenant, o->request_id);
    cs_buf_init(&body, 0);
    cs_buf_init(&path, 0);
    cs_graph_user_path(&path, run->job.mailbox);
    cs_buf_adds(&path, "/messages");
    if (o->answers != CS_ANSWERS_NOTHING) {
        cs_buf_addc(&path, '/');
        cs_url_escape(&path, o->answered_id);
        cs_buf_addf(&path, "/%s", actions[o->answers]);
        cs_buf_adds(&body, "{\"message\":");
    }
    cs_outbox_message(o, MARK_, mark, &body);
    if (o->answers != CS_ANSWERS_NOTHING)
        cs_buf_addc(&body, '}');
    (void)write_call(run, "POST", cs_buf_steal(&path, NULL), on_draft, cs_buf_steal(&body, NULL));
}

static void draft(struct cs_job_run *run)
{
    const struct cs_job_send *job = run->job.send;
    struct cs_send_run *s = run->send;
    struct cs_json *doc = NULL;
    const char *reason = NULL, *why;
    int r;

    if (job->refuse[0] != '\0') {
        end_result(run, "refused", job->refuse);
        return;
    }
    r = cs_json_parse(job->request, strlen(job->request), &doc, &reason);
    if (r == 0)
        r = cs_outbox_parse(cs_json_root(doc), &s->request, &reason);
    cs_json_free(doc);
    s->has_request = r == 0;
    if (r == -ENOMEM) {
        (void)no_memory(run);
        return;
    }
    if (r < 0 || strcmp(s->request.request_id, job->request_id) != 0) {
        end_result(run, "refused", "malformed");
        return;
    }
    why = !run->tenant->send ? "sending_off" : cs_outbox_refusal(&s->request, cs_clock_utc_ms());
    for (size_t i = 0; why == NULL && i < s->request.n_files; i++)
        if (s->request.files[i].url != NULL && !may_fetch(run, s->request.files[i].url))
            why = "attachment_host";
    if (why != NULL)
        end_result(run, "refused", why);
    else
        make_draft(run);
}

/* ---- claim and send ----------------------------------------------------------------------------------------- */

static void on_removed(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    (void)run;
    (void)call;
    (void)reply; /* a draft that stays is swept later */
}

static void remove_draft(struct cs_job_run *run)
{
    (void)write_call(run, "DELETE", message_path(run, run->send->draft_id, ""), on_removed,
                     strdup(""));
}

static void on_sent(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_send_run *s = run->send;
    const struct cs_verdict *v = &reply->verdict;
    const char *why;

    (void)call;
    s->sent_ms = reply->sent_ms;
    if (reply->ok) {
        end_result(run, "sent", NULL);
        return;
    }
    why = v->http_status == 400 && strcasecmp(v->service_code, "ErrorInvalidRecipients") != 0
              ? NULL /* "not a draft", perhaps: look */
              : refusal_of(s, v);
    if (why != NULL) {
        end_result(run, "refused", why);
        remove_draft(run);
        return;
    }
    if (v->code == CS_CODE_THROTTLED || v->code == CS_CODE_MAILBOX_DENIED ||
        v->code == CS_CODE_TOKEN_REFUSED) {
        tell_draft(run); /* turned away before anything was done */
        end_wait(run, CS_SENT_CLAIMED, v);
        return;
    }
    end_wait(run, CS_SENT_UNCERTAIN, v);
}

static void on_claimed(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    const struct cs_verdict *v = &reply->verdict;

    (void)call;
    if (!reply->ok) {
        /* 412: another has claimed it. No answer: we may have, but have not sent. Either way the next look tells. */
        if (v->code == CS_CODE_ITEM_GONE)
            end_wait(run, CS_SENT_MISSING, v);
        else if (v->code == CS_CODE_THROTTLED || v->code == CS_CODE_MAILBOX_DENIED ||
                 v->code == CS_CODE_TOKEN_REFUSED)
            end_wait(run, CS_SENT_NOTHING, v);
        else
            end_wait(run, CS_SENT_UNCERTAIN, v);
        return;
    }
    if (!note_draft(run, reply)) {
        end_wait(run, CS_SENT_UNCERTAIN, v);
        return;
    }
    if (run->job.send->expired) {
        end_result(run, "refused", "expired");
        remove_draft(run);
        return;
    }
    (void)write_call(run, "POST", message_path(run, run->send->draft_id, "/send"), on_sent,
                     strdup(""));
}

static void claim(struct cs_job_run *run)
{
    struct cs_send_run *s = run->send;
    struct cs_call *call;
    struct cs_buf body;

    cs_buf_init(&body, 0);
    cs_buf_addf(&body, "{\"singleValueExtendedProperties\":[{\"id\":\"%s\",\"value\":\"%s\"}]}",
                CLAIM_, run->job.job_id);
    call = write_call(run, "PATCH", message_path(run, s->draft_id, ""), on_claimed,
                      cs_buf_steal(&body, NULL));
    if (call != NULL && (call->if_match = strdup(s->change_key)) == NULL)
        (void)no_memory(run);
}

/* ---- look ------------------------------------------------------------------------------------------------- */

static void on_look(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_send_run *s = run->send;
    struct cs_verdict v = reply->verdict;
    bool is_draft = false;

    (void)call;
    s->sent_ms = reply->sent_ms;
    if (!reply->ok && v.code != CS_CODE_ITEM_GONE) {
        end_wait(run, CS_SENT_NOTHING, &v);
        return;
    }
    if (!reply->ok) {
        if (run->job.send->looks + 1 >= LOOKS_MAX)
            end_result(run, "unknown", "draft_missing");
        else
            end_wait(run, CS_SENT_MISSING, &v);
        return;
    }
    if (cs_js_bool(cs_js_get(reply->page.root, "isDraft"), &is_draft) < 0 ||
        !note_draft(run, reply)) {
        v.code = CS_CODE_BAD_ANSWER;
        end_wait(run, CS_SENT_NOTHING, &v);
    } else if (!is_draft) {
        end_result(run, "sent", NULL);
    } else {
        claim(run);
    }
}

static void look(struct cs_job_run *run)
{
    (void)cs_run_call(
        run,
        message_path(run, run->send->draft_id,
                     "?$select=id,changeKey,isDraft,parentFolderId,internetMessageId"),
        CS_ASKED_ITEM, on_look, 0);
}

/* ---- sweep ------------------------------------------------------------------------------------------------ */

static bool is_kept(const struct cs_job_send *job, const char *request_id)
{
    for (size_t i = 0; i < job->n_keep; i++)
        if (strcmp(job->keep[i], request_id) == 0)
            return true;
    return false;
}

/* The request whose draft this is; false: not ours. */
static bool request_of(const struct cs_job_run *run, struct cs_js item, char *out, size_t size)
{
    size_t prefix = strlen(run->job.tenant) + 1;
    struct cs_js_iter it = {0};
    struct cs_js prop;
    char value[CS_TENANT_MAX + CS_REQUEST_ID_LEN + 2];

    while (cs_js_next_element(cs_js_get(item, "singleValueExtendedProperties"), &it, &prop)) {
        if (!cs_js_str_is_nocase(cs_js_get(prop, "id"), MARK_) ||
            cs_js_str_into(cs_js_get(prop, "value"), value, sizeof(value)) < 0)
            continue;
        if (strncmp(value, run->job.tenant, prefix - 1) != 0 || value[prefix - 1] != '/')
            return false;
        snprintf(out, size, "%s", value + prefix);
        return true;
    }
    return false;
}

static void on_swept(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    (void)call;
    if (reply->ok)
        run->send->swept++;
    else if (reply->verdict.code != CS_CODE_ITEM_GONE && run->parts[0].outcome == CS_DONE)
        end_wait(run, CS_SENT_NOTHING, &reply->verdict);
}

static void on_drafts(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_js_iter it = {0};
    struct cs_js item;

    (void)call;
    if (!reply->ok) {
        end_wait(run, CS_SENT_NOTHING, &reply->verdict);
        return;
    }
    end(run, CS_SENT_SWEPT, cs_js_has(reply->page.next_link) ? CS_MORE : CS_DONE, NULL);
    while (cs_page_next(&reply->page, &it, &item, NULL)) {
        char request_id[CS_REQUEST_ID_LEN + 1];
        bool is_draft = false;
        char *id;

        if (cs_js_bool(cs_js_get(item, "isDraft"), &is_draft) < 0 || !is_draft ||
            !request_of(run, item, request_id, sizeof(request_id)) ||
            is_kept(run->job.send, request_id))
            continue;
        id = cs_js_strdup(cs_js_get(item, "id"), CS_ID_MAX);
        if (id != NULL)
            (void)write_call(run, "DELETE", message_path(run, id, ""), on_swept, strdup(""));
        free(id);
    }
}

static void sweep(struct cs_job_run *run)
{
    struct cs_buf path;

    cs_buf_init(&path, 0);
    cs_graph_user_path(&path, run->job.mailbox);
    cs_buf_adds(&path,
                "/mailFolders/drafts/messages?$select=id,isDraft&$top=" SWEEP_TOP "&$filter=");
    cs_url_escape(&path, "singleValueExtendedProperties/Any(ep: ep/id eq '" MARK_
                         "' and startswith(ep/value,'");
    cs_url_escape(&path, run->job.tenant);
    cs_url_escape(&path, "/'))");
    cs_buf_adds(&path, "&$expand=");
    cs_url_escape(&path, "singleValueExtendedProperties($filter=id eq '" MARK_ "')");
    (void)cs_run_call(run, cs_buf_steal(&path, NULL), CS_ASKED_FOLDER, on_drafts, 0);
}

/* ---- steps ------------------------------------------------------------------------------------------------- */

static enum cs_step act(struct cs_job_run *run)
{
    const struct cs_job_send *job = run->job.send;
    struct cs_send_run *s = calloc(1, sizeof(*s));

    run->send = s;
    if (s == NULL || (job->draft_id != NULL && (s->draft_id = strdup(job->draft_id)) == NULL) ||
        (job->change_key != NULL && (s->change_key = strdup(job->change_key)) == NULL) ||
        (job->message_id != NULL && (s->message_id = strdup(job->message_id)) == NULL)) {
        (void)no_memory(run);
        return CS_STEP_END;
    }
    s->sent_ms = cs_clock_utc_ms();
    switch (job->step) {
    case CS_SEND_DRAFT: draft(run); break;
    case CS_SEND_SEND: claim(run); break;
    case CS_SEND_LOOK: look(run); break;
    case CS_SEND_SWEEP: sweep(run); break;
    }
    return CS_STEP_NEXT;
}

static void write_result(struct cs_jw *jw, const struct cs_fit *fit, const void *user)
{
    const struct cs_job_run *run = user;
    const struct cs_send_run *s = run->send;

    (void)fit;
    cs_jw_kstr(jw, "request_id", run->job.send->request_id);
    cs_jw_kstr(jw, "result", s->result);
    cs_jw_kstr(jw, "reason", s->reason);
    cs_jw_kstr(jw, "advice",
               strcmp(s->result, "unknown") == 0
                   ? "The mail may have gone. Look for its Message-ID in Sent Items before the "
                     "request is made again."
                   : NULL);
    cs_jw_kstr(jw, "message_id", s->message_id);
}

static enum cs_step publish(struct cs_job_run *run)
{
    const struct cs_send_run *s = run->send;
    struct cs_record_head head = {.kind = CS_KIND_SEND_RESULT,
                                  .change = CS_UPSERTED,
                                  .item_id = run->job.send->request_id,
                                  .graph_id = s->draft_id,
                                  .last_modified_utc_ms = CS_NEVER};
    struct cs_record_ctx ctx;
    struct cs_record *rec;

    if (s->result == NULL)
        return CS_STEP_NEXT;
    rec = cs_run_record(run);
    if (rec == NULL)
        return CS_STEP_NEXT;
    cs_run_context(run, s->sent_ms, &ctx);
    if (cs_record_build(&ctx, &head, write_result, run, (struct cs_js){0}, false, rec) < 0) {
        (void)no_memory(run);
        return CS_STEP_NEXT;
    }
    cs_run_record_added(run);
    return CS_STEP_NEXT;
}

const struct cs_job_step cs_job_mail_send_steps[] = {
    {"act", act},
    {"publish", publish},
    {NULL, NULL},
};
