#include "common/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json_write.h"
#include "common/key.h"
#include "common/message.h"

#define ADDRESS_MAX 320 /* RFC 5321: 64 + 1 + 255 */
#define NAME_MAX_   512
#define SUBJECT_MAX 2000
#define TEXT_MAX_ \
    (4U << 20) /* no message of a topic is larger: what is too large is refused with a reason */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const answer_names[] = {
    [CS_ANSWERS_NOTHING] = "nothing",
    [CS_ANSWERS_REPLY] = "reply",
    [CS_ANSWERS_REPLY_ALL] = "reply_all",
    [CS_ANSWERS_FORWARD] = "forward",
};
static const char *const body_names[] = {"text", "html"};

bool cs_request_id_ok(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return n > 0 && n <= CS_REQUEST_ID_LEN && s[n] == '\0';
}

static void people_clear(struct cs_outbox_people *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->at[i].address);
        free(p->at[i].name);
    }
    free(p->at);
}

void cs_outbox_clear(struct cs_outbox *o)
{
    people_clear(&o->to);
    people_clear(&o->cc);
    people_clear(&o->bcc);
    people_clear(&o->reply_to);
    for (size_t i = 0; i < o->n_files; i++) {
        free(o->files[i].name);
        free(o->files[i].content_type);
        free(o->files[i].content_id);
        free(o->files[i].content);
        free(o->files[i].url);
    }
    free(o->files);
    free(o->subject);
    free(o->body);
    free(o->answered_id);
    memset(o, 0, sizeof(*o));
}

/* The bound is far above what is sent: a longer list is refused with a reason, not dead-lettered. */
static void people_parse(struct cs_msg *m, const char *name, struct cs_outbox_people *ret)
{
    size_t count;
    cs_json_val arr = cs_msg_array(m, name, 20 * CS_RECIPIENTS_MAX, &count, name);

    if (arr == NULL || (ret->at = cs_msg_alloc(m, count, sizeof(*ret->at))) == NULL)
        return;
    for (; m->error == 0 && ret->n < count; ret->n++) {
        struct cs_msg p = {.obj = cs_json_at(arr, ret->n)};

        ret->at[ret->n].address = cs_msg_str(&p, "address", NAME_MAX_, true, "address");
        ret->at[ret->n].name = cs_msg_str(&p, "name", NAME_MAX_, false, "name");
        cs_msg_join(m, &p);
    }
}

static void files_parse(struct cs_msg *m, struct cs_outbox *o)
{
    size_t count;
    cs_json_val arr = cs_msg_array(m, "attachments", CS_OUTBOX_FILES_MAX, &count, "attachments");

    if (arr == NULL || (o->files = cs_msg_alloc(m, count, sizeof(*o->files))) == NULL)
        return;
    for (; m->error == 0 && o->n_files < count; o->n_files++) {
        struct cs_msg f = {.obj = cs_json_at(arr, o->n_files)};
        struct cs_outbox_file *file = &o->files[o->n_files];

        file->name = cs_msg_str(&f, "name", 255, true, "attachments[].name");
        file->content_type =
            cs_msg_str(&f, "content_type", 255, false, "attachments[].content_type");
        file->content_id = cs_msg_str(&f, "content_id", 255, false, "attachments[].content_id");
        file->is_inline = cs_msg_bool(&f, "inline", false, false, "attachments[].inline");
        file->content = cs_msg_str(&f, "content", TEXT_MAX_, false, "attachments[].content");
        file->url = cs_msg_str(&f, "url", CS_OUTBOX_URL_MAX, false, "attachments[].url");
        file->size =
            cs_msg_i64(&f, "size", 1, INT64_MAX, file->url != NULL, 0, "attachments[].size");
        if (f.error == 0 && (file->content == NULL) == (file->url == NULL))
            cs_msg_fail(&f, -EINVAL, "attachments[].content");
        cs_msg_join(m, &f);
    }
}

int cs_outbox_parse(cs_json_val v, struct cs_outbox *ret, const char **reason)
{
    struct cs_outbox o = {.not_after_utc_ms = CS_NEVER};
    struct cs_msg m = {.obj = v};
    cs_json_val part;

    if (!cs_json_is_object(v)) {
        *reason = "not an object";
        return -EINVAL;
    }
    cs_msg_str_into(&m, "request_id", o.request_id, sizeof(o.request_id), "request_id");
    if (m.error == 0 && !cs_request_id_ok(o.request_id))
        cs_msg_fail(&m, -EINVAL, "request_id");
    people_parse(&m, "to", &o.to);
    people_parse(&m, "cc", &o.cc);
    people_parse(&m, "bcc", &o.bcc);
    people_parse(&m, "reply_to", &o.reply_to);
    o.subject = cs_msg_str(&m, "subject", SUBJECT_MAX, false, "subject");
    part = m.error == 0 ? cs_json_get(v, "body") : NULL;
    if (part != NULL) {
        struct cs_msg b = {.obj = part};

        o.body_is_html = cs_msg_enum(&b, "type", body_names, COUNT(body_names), "body.type") == 1;
        o.body = cs_msg_str(&b, "content", TEXT_MAX_, true, "body.content");
        cs_msg_join(&m, &b);
    }
    part = m.error == 0 ? cs_json_get(v, "answers") : NULL;
    if (part != NULL) {
        struct cs_msg a = {.obj = part};

        o.answers = (enum cs_answers)cs_msg_enum(&a, "how", answer_names, COUNT(answer_names),
                                                 "answers.how");
        o.answered_id = cs_msg_str(&a, "graph_id", CS_ID_MAX, true, "answers.graph_id");
        cs_msg_join(&m, &a);
    }
    files_parse(&m, &o);
    o.not_after_utc_ms = cs_msg_time(&m, "not_after", false, CS_NEVER, "not_after");
    if (m.error < 0) {
        *reason = m.where;
        cs_outbox_clear(&o);
        return m.error;
    }
    *ret = o;
    return 0;
}

/* Enough to spare Graph what it would refuse: one @ with something before it and a domain behind, nothing that could
 * end a header. Exchange has the last word. */
static bool address_ok(const char *s)
{
    const char *at = strrchr(s, '@');

    if (at == NULL || at == s || at[1] == '\0' || at[1] == '.' || strlen(s) > ADDRESS_MAX)
        return false;
    for (const char *p = s; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("<>,;\"()", *p) != NULL ||
            (*p == '@' && p != at))
            return false;
    return true;
}

static bool all_ok(const struct cs_outbox_people *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (!address_ok(p->at[i].address))
            return false;
    return true;
}

/* RFC 4648 4, padded; nothing else in it. */
static bool base64_ok(const char *s)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strspn(s, set), len = strlen(s), pad = len - n;

    return len > 0 && len % 4 == 0 && pad <= 2 && strspn(s + n, "=") == pad;
}

const char *cs_outbox_refusal(const struct cs_outbox *o, int64_t utc_ms)
{
    size_t n = o->to.n + o->cc.n + o->bcc.n;

    if (o->not_after_utc_ms != CS_NEVER && utc_ms > o->not_after_utc_ms)
        return "expired";
    /* a reply finds its recipients in the original */
    if (n == 0 && o->answers != CS_ANSWERS_REPLY && o->answers != CS_ANSWERS_REPLY_ALL)
        return "no_recipient";
    if (n > CS_RECIPIENTS_MAX)
        return "too_many_recipients";
    if (!all_ok(&o->to) || !all_ok(&o->cc) || !all_ok(&o->bcc) || !all_ok(&o->reply_to))
        return "bad_address";
    for (size_t i = 0; i < o->n_files; i++)
        if (o->files[i].content != NULL ? !base64_ok(o->files[i].content)
                                        : o->files[i].size > CS_OUTBOX_FILE_MAX)
            return "bad_attachment";
    return NULL;
}

static void write_people(struct cs_jw *jw, const char *key, const struct cs_outbox_people *p)
{
    if (p->n == 0)
        return;
    cs_jw_key(jw, key);
    cs_jw_array(jw);
    for (size_t i = 0; i < p->n; i++) {
        cs_jw_object(jw);
        cs_jw_key(jw, "emailAddress");
        cs_jw_object(jw);
        cs_jw_kstr(jw, "address", p->at[i].address);
        cs_jw_kstr_opt(jw, "name", p->at[i].name);
        cs_jw_object_end(jw);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}

void cs_outbox_message(const struct cs_outbox *o, const char *mark_id, const char *mark_value,
                       struct cs_buf *out)
{
    size_t inside = 0;
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    cs_jw_object(&jw);
    cs_jw_kstr_opt(&jw, "subject", o->subject);
    if (o->body != NULL) {
        cs_jw_key(&jw, "body");
        cs_jw_object(&jw);
        cs_jw_kstr(&jw, "contentType", o->body_is_html ? "html" : "text");
        cs_jw_kstr(&jw, "content", o->body);
        cs_jw_object_end(&jw);
    }
    write_people(&jw, "toRecipients", &o->to);
    write_people(&jw, "ccRecipients", &o->cc);
    write_people(&jw, "bccRecipients", &o->bcc);
    write_people(&jw, "replyTo", &o->reply_to);
    for (size_t i = 0; i < o->n_files; i++)
        inside += o->files[i].content != NULL;
    if (inside > 0) {
        cs_jw_key(&jw, "attachments");
        cs_jw_array(&jw);
        for (size_t i = 0; i < o->n_files; i++) {
            const struct cs_outbox_file *f = &o->files[i];

            if (f->content == NULL)
                continue; /* follows in pieces, once there is a draft */
            cs_jw_object(&jw);
            cs_jw_key_any(&jw, "@odata.type");
            cs_jw_str(&jw, "#microsoft.graph.fileAttachment");
            cs_jw_kstr(&jw, "name", f->name);
            cs_jw_kstr_opt(&jw, "contentType", f->content_type);
            cs_jw_kstr_opt(&jw, "contentId", f->content_id);
            cs_jw_kbool(&jw, "isInline", f->is_inline);
            cs_jw_kstr(&jw, "contentBytes", f->content);
            cs_jw_object_end(&jw);
        }
        cs_jw_array_end(&jw);
    }
    cs_jw_key(&jw, "singleValueExtendedProperties");
    cs_jw_array(&jw);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "id", mark_id);
    cs_jw_kstr(&jw, "value", mark_value);
    cs_jw_object_end(&jw);
    cs_jw_array_end(&jw);
    cs_jw_object_end(&jw);
}
