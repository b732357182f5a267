/* ops.c - operations of a script: exact situations for tests. */
#include "ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "mail.h"
#ifdef SIM_HAS_CALENDAR
#include "calendar.h"
#endif

#define TEXT_MAX  (4U << 20)
#define LIST_MAX  500
#define COUNT_MAX 10000

static void fail(struct sim_jw *w, const char *why)
{
    sim_jw_kstr(w, "error", why);
}

static void write_msg(struct sim_mailbox *mb, uint32_t msg, struct sim_jw *w)
{
    char text[SIM_ID_MAX];

    sim_msg_id(mb, msg, true, text);
    sim_jw_kstr(w, "id", text);
    sim_msg_id(mb, msg, false, text);
    sim_jw_kstr(w, "restId", text);
    sim_change_key(mb, 'C', mb->mail->msg[msg].version, text);
    sim_jw_kstr(w, "changeKey", text);
    sim_folder_id(mb, mb->mail->msg[msg].folder, text);
    sim_jw_kstr(w, "parentFolderId", text);
}

/* Folder by id, well-known name or path ("Inbox/Customers", from the root). */
static int64_t folder_of(struct sim_mailbox *mb, cs_json_val op, const char *name)
{
    const char *text, *part;
    int64_t at;

    if (cs_json_str(op, name, 1000, &text) < 0)
        return -ENOENT;
    at = sim_folder_find(mb, text);
    if (at >= 0)
        return at;
    at = SIM_F_ROOT;
    for (part = text; *part != '\0';) {
        size_t n = strcspn(part, "/");
        int64_t next = -ENOENT;

        for (uint32_t i = 0; i < mb->mail->n_folder; i++) {
            const struct sim_folder *f = &mb->mail->folder[i];

            if (!f->gone && f->parent == (uint32_t)at && strlen(f->name) == n &&
                strncmp(f->name, part, n) == 0)
                next = i;
        }
        if (next < 0)
            return next;
        at = next;
        part += n + (part[n] == '/');
    }
    return at;
}

static int64_t msg_of(struct sim_mailbox *mb, cs_json_val op)
{
    const char *text;

    return cs_json_str(op, "id", 400, &text) == 0 ? sim_msg_find(mb, text) : -ENOENT;
}

/* ---- properties ----------------------------------------------------------------------------------------- */

static char *copy(cs_json_val v, const char *name)
{
    const char *text;

    return cs_json_str(v, name, TEXT_MAX, &text) == 0 ? sim_strdup(text) : NULL;
}

static void replace(char **at, cs_json_val v, const char *name)
{
    char *text = copy(v, name);

    if (text != NULL) {
        free(*at);
        *at = text;
    }
}

static void people(cs_json_val list, struct sim_person_ref **ret, size_t *n)
{
    size_t len = cs_json_len(list) < LIST_MAX ? cs_json_len(list) : LIST_MAX;

    sim_people_free(*ret, *n);
    *ret = sim_alloc(len, sizeof(**ret));
    *n = len;
    for (size_t i = 0; i < len; i++) {
        (*ret)[i].name = copy(cs_json_at(list, i), "name");
        (*ret)[i].address = copy(cs_json_at(list, i), "address");
    }
}

/* Reads what a message may be given. @return the properties that were named */
static uint64_t apply(struct sim_msg *m, cs_json_val v)
{
    static const char *const importance[] = {"low", "normal", "high"}, *const flags[] = {
                                                                           "notFlagged", "flagged",
                                                                           "complete"};
    uint64_t mask = 0;
    const char *text;
    int64_t n;
    bool yes;

    if (cs_json_get(v, "subject") != NULL) {
        replace(&sim_mail_over(m)->subject, v, "subject");
        mask |= SIM_BIT(SIM_P_SUBJECT);
    }
    if (cs_json_get(v, "body") != NULL) {
        replace(&sim_mail_over(m)->html, v, "body");
        mask |= SIM_BIT(SIM_P_BODY) | SIM_BIT(SIM_P_PREVIEW);
    }
    if (cs_json_str(v, "bodyType", 10, &text) == 0)
        sim_mail_over(m)->html_is_text = strcmp(text, "text") == 0;
    if (cs_json_get(v, "internetMessageId") != NULL)
        replace(&sim_mail_over(m)->message_id, v, "internetMessageId");
    if (cs_json_get(v, "inReplyTo") != NULL)
        replace(&sim_mail_over(m)->in_reply_to, v, "inReplyTo");
    if (cs_json_is_object(cs_json_get(v, "from"))) {
        replace(&sim_mail_over(m)->from_name, cs_json_get(v, "from"), "name");
        replace(&sim_mail_over(m)->from_address, cs_json_get(v, "from"), "address");
        mask |= SIM_BIT(SIM_P_FROM) | SIM_BIT(SIM_P_SENDER);
    }
    if (cs_json_is_array(cs_json_get(v, "to"))) {
        people(cs_json_get(v, "to"), &sim_mail_over(m)->to, &sim_mail_over(m)->n_to);
        sim_mail_over(m)->to_set = true;
        mask |= SIM_BIT(SIM_P_TO);
    }
    if (cs_json_is_array(cs_json_get(v, "cc"))) {
        people(cs_json_get(v, "cc"), &sim_mail_over(m)->cc, &sim_mail_over(m)->n_cc);
        sim_mail_over(m)->cc_set = true;
        mask |= SIM_BIT(SIM_P_CC);
    }
    if (cs_json_is_array(cs_json_get(v, "headers"))) {
        cs_json_val list = cs_json_get(v, "headers");
        struct sim_over *o = sim_mail_over(m);

        people(list, &o->headers, &o->n_headers);
        for (size_t i = 0; i < o->n_headers; i++)
            replace(&o->headers[i].address, cs_json_at(list, i), "value");
    }
    if (cs_json_is_array(cs_json_get(v, "categories"))) {
        cs_json_val list = cs_json_get(v, "categories");
        struct sim_over *o = sim_mail_over(m);

        for (size_t i = 0; i < o->n_categories; i++)
            free(o->categories[i]);
        free(o->categories);
        o->n_categories = 0;
        o->categories = sim_alloc(cs_json_len(list), sizeof(*o->categories));
        for (size_t i = 0; i < cs_json_len(list); i++)
            if (cs_json_val_str(cs_json_at(list, i), 255, &text) == 0)
                o->categories[o->n_categories++] = sim_strdup(text);
        mask |= SIM_BIT(SIM_P_CATEGORIES);
    }
    if (cs_json_str(v, "importance", 10, &text) == 0)
        for (uint8_t i = 0; i < 3; i++)
            if (strcmp(text, importance[i]) == 0) {
                m->importance = i;
                mask |= SIM_BIT(SIM_P_IMPORTANCE);
            }
    if (cs_json_str(v, "flag", 12, &text) == 0)
        for (uint8_t i = 0; i < 3; i++)
            if (strcmp(text, flags[i]) == 0) {
                m->flagged = i;
                mask |= SIM_BIT(SIM_P_FLAG);
            }
    if (cs_json_time(v, "receivedDateTime", &n) == 0) {
        m->received_ms = m->created_ms = n;
        m->sent_ms = n - 2000;
        mask |= SIM_BIT(SIM_P_RECEIVED);
    }
    if (cs_json_time(v, "sentDateTime", &n) == 0)
        m->sent_ms = n;
    if (cs_json_i64(v, "attachments", 0, 50, &n) == 0) {
        m->n_attachments = (uint8_t)n;
        mask |= SIM_BIT(SIM_P_HAS_ATTACHMENTS);
    }
    if (cs_json_i64(v, "inlineAttachments", 0, 50, &n) == 0)
        m->n_inline = (uint8_t)(n <= m->n_attachments ? n : m->n_attachments);
    if (cs_json_bool(v, "isDraft", &yes) == 0)
        m->is_draft = yes;
    return mask;
}

/* ---- operations ------------------------------------------------------------------------------------------- */

static void op_arrive(struct sim_mailbox *mb, cs_json_val op, struct sim_jw *w)
{
    int64_t folder = cs_json_get(op, "folder") != NULL ? folder_of(mb, op, "folder") : SIM_F_INBOX,
            count = 1;
    struct sim_rng rng = {sim_hash(mb->seed, mb->seq + 0x5000)};
    const char *text;
    bool read;

    if (folder < 0) {
        fail(w, "no such folder");
        return;
    }
    (void)cs_json_i64(op, "count", 1, COUNT_MAX, &count); /* absent: one */
    sim_jw_key(w, "ids");
    sim_jw_open(w, '[');
    for (int64_t i = 0; i < count; i++) {
        struct sim_msg m = sim_mail_invent(mb, &rng, sim_now_ms(mb->sim));
        char id[SIM_ID_MAX];
        uint32_t msg;

        m.outgoing = folder == SIM_F_SENT;
        m.is_read = m.outgoing;
        m.folder = (uint32_t)folder;
        if (cs_json_bool(op, "isRead", &read) == 0)
            m.is_read = read;
        if (cs_json_get(op, "plain") != NULL) { /* nothing by chance but the text */
            m.kind = SIM_MAIL;
            m.n_attachments = m.n_inline = 0;
            m.flagged = m.category = 0;
            m.importance = 1;
        }
        if (cs_json_str(op, "reply_to", 400, &text) == 0) {
            int64_t parent = sim_msg_find(mb, text);

            if (parent >= 0) {
                m.parent = (uint32_t)parent;
                m.thread = mb->mail->msg[parent].thread;
                m.depth = (uint8_t)(mb->mail->msg[parent].depth + 1);
            }
        }
        (void)apply(&m, op); /* all of it is new */
        msg = sim_mail_add(mb, &m);
        sim_msg_id(mb, msg, true, id);
        sim_jw_str(w, id);
    }
    sim_jw_close(w, ']');
    write_msg(mb, (uint32_t)mb->mail->n_msg - 1, w);
}

static void op_patch(struct sim_mailbox *mb, cs_json_val op, struct sim_jw *w)
{
    int64_t msg = msg_of(mb, op);
    cs_json_val set = cs_json_get(op, "set");
    uint64_t mask;
    bool read;

    if (msg < 0 || !cs_json_is_object(set)) {
        fail(w, msg < 0 ? "no such message" : "\"set\" is missing");
        return;
    }
    if (cs_json_get(set, "receivedDateTime") != NULL) {
        fail(w, "receivedDateTime never changes");
        return;
    }
    mask = apply(&mb->mail->msg[msg], set);
    if (cs_json_bool(set, "isRead", &read) == 0)
        sim_mail_set_read(mb, (uint32_t)msg, read);
    if (mask != 0)
        sim_mail_touch(mb, (uint32_t)msg, mask);
    write_msg(mb, (uint32_t)msg, w);
}

static void op_evict(struct sim_mailbox *mb, cs_json_val op, struct sim_jw *w)
{
    const char *what;

    if (cs_json_str(op, "what", 20, &what) < 0)
        what = cs_json_get(op, "folder") != NULL ? "folder" : "all";
    if (strcmp(what, "folder") == 0) {
        int64_t folder = folder_of(mb, op, "folder");

        if (folder < 0)
            fail(w, "no such folder");
        else
            sim_delta_evict(&mb->mail->folder[folder].gen);
        return;
    }
    if (strcmp(what, "all") == 0 || strcmp(what, "folders") == 0)
        sim_delta_evict(&mb->mail->folder_gen);
    if (strcmp(what, "all") == 0 || strcmp(what, "messages") == 0)
        for (size_t i = 0; i < mb->mail->n_folder; i++)
            sim_delta_evict(&mb->mail->folder[i].gen);
    if (strcmp(what, "all") == 0 || strcmp(what, "calendar") == 0)
        sim_delta_evict(&mb->calendar_gen);
}

static void op_folder(struct sim_mailbox *mb, const char *name, cs_json_val op, struct sim_jw *w)
{
    int64_t folder = folder_of(mb, op, "folder"),
            parent = cs_json_get(op, "parent") != NULL ? folder_of(mb, op, "parent") : SIM_F_ROOT;
    const char *text = NULL;
    char id[SIM_ID_MAX];
    bool hidden = false;

    (void)cs_json_str(op, "name", 255, &text);
    (void)cs_json_bool(op, "hidden", &hidden);
    if (strcmp(name, "folder_create") == 0) {
        if (parent < 0 || text == NULL) {
            fail(w, "folder_create wants name and an existing parent");
            return;
        }
        folder = sim_folder_add(mb, (uint32_t)parent, text, hidden);
    } else if (folder < SIM_F_USER) {
        fail(w, folder < 0 ? "no such folder" : "not of a well-known folder");
        return;
    } else if (strcmp(name, "folder_rename") == 0 && text != NULL) {
        sim_folder_rename(mb, (uint32_t)folder, text);
    } else if (strcmp(name, "folder_move") == 0 && parent >= 0) {
        if (sim_folder_move(mb, (uint32_t)folder, (uint32_t)parent) < 0)
            fail(w, "a folder cannot move into itself");
    } else if (strcmp(name, "folder_delete") == 0) {
        sim_folder_remove(mb, (uint32_t)folder);
    } else {
        fail(w, "unknown or incomplete operation");
        return;
    }
    sim_folder_id(mb, (uint32_t)folder, id);
    sim_jw_kstr(w, "id", id);
}

void sim_op(struct sim_mailbox *mb, const void *json_object, struct sim_jw *w)
{
    cs_json_val op = json_object;
    const char *name;
    int64_t msg, to;

    if (cs_json_str(op, "op", 40, &name) < 0) {
        fail(w, "\"op\" is missing");
    } else if (strcmp(name, "arrive") == 0) {
        op_arrive(mb, op, w);
    } else if (strcmp(name, "move") == 0 || strcmp(name, "delete") == 0 ||
               strcmp(name, "soft_delete") == 0) {
        msg = msg_of(mb, op);
        to = name[0] == 'm' ? folder_of(mb, op, "to") : SIM_F_DELETED;
        if (msg < 0 || to < 0) {
            fail(w, msg < 0 ? "no such message" : "no such folder");
        } else if (name[0] == 'd') {
            sim_mail_remove(mb, (uint32_t)msg);
        } else {
            sim_mail_move(mb, (uint32_t)msg, (uint32_t)to);
            write_msg(mb, (uint32_t)msg, w);
        }
    } else if (strcmp(name, "patch") == 0) {
        op_patch(mb, op, w);
    } else if (strcmp(name, "touch") ==
               0) { /* a change that no property shows, as of an attachment */
        msg = msg_of(mb, op);
        if (msg < 0) {
            fail(w, "no such message");
        } else {
            sim_mail_touch(mb, (uint32_t)msg, SIM_BIT(SIM_P_MODIFIED) | SIM_BIT(SIM_P_CHANGE_KEY));
            write_msg(mb, (uint32_t)msg, w);
        }
    } else if (strcmp(name, "evict_deltas") == 0) {
        op_evict(mb, op, w);
    } else if (strncmp(name, "folder_", 7) == 0) {
        op_folder(mb, name, op, w);
#ifdef SIM_HAS_CALENDAR
    } else if (strncmp(name, "event_", 6) == 0 && sim_calendar_op(mb, op, w)) {
        ;
#endif
    } else {
        fail(w, "unknown operation");
    }
}
