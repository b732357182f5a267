/* truth.c - what a mailbox really holds, for tests to compare with. */
#include "control.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "letter.h"
#include "mail.h"
#ifdef SIM_HAS_CALENDAR
#include "calendar.h"
#endif

static void sha256_hex(const struct cs_buf *b, char out[65])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (EVP_Digest(b->data != NULL ? b->data : "", b->len, hash, &n, EVP_sha256(), NULL) != 1)
        n = 0;
    for (unsigned i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static void write_path(const struct sim_mail *mail, uint32_t folder, struct cs_buf *out)
{
    const struct sim_folder *f = &mail->folder[folder];

    if (f->parent != SIM_NONE && f->parent != SIM_F_ROOT) {
        write_path(mail, f->parent, out);
        cs_buf_addc(out, '/');
    }
    cs_buf_adds(out, f->name);
}

static void write_folders(struct sim_mailbox *mb, bool gone, struct sim_jw *w)
{
    struct sim_mail *mail = mb->mail;
    struct cs_buf path;
    char id[SIM_ID_MAX];

    cs_buf_init(&path, 0);
    sim_jw_open(w, '[');
    for (uint32_t i = 0; i < mail->n_folder; i++) {
        const struct sim_folder *f = &mail->folder[i];

        if (f->gone != gone)
            continue;
        sim_jw_open(w, '{');
        sim_folder_id(mb, i, id);
        sim_jw_kstr(w, "id", id);
        sim_jw_kstr(w, "displayName", f->name);
        cs_buf_reset(&path);
        write_path(mail, i, &path);
        sim_jw_kstr(w, "path", path.data);
        if (f->parent != SIM_NONE) {
            sim_folder_id(mb, f->parent, id);
            sim_jw_kstr(w, "parentFolderId", id);
        } else {
            sim_jw_knull(w, "parentFolderId");
        }
        sim_jw_kstr(w, "wellKnownName", f->well_known);
        sim_jw_kbool(w, "isHidden", f->hidden);
        sim_jw_kbool(w, "isSearchFolder", f->search);
        sim_jw_kint(w, "totalItemCount", (int64_t)f->n_members);
        sim_jw_kint(w, "unreadItemCount", f->unread);
        if (gone)
            sim_jw_ktime(w, "goneDateTime", f->gone_ms);
        sim_jw_close(w, '}');
    }
    sim_jw_close(w, ']');
    cs_buf_clear(&path);
}

static void write_ids(struct sim_mailbox *mb, uint32_t msg, struct sim_jw *w)
{
    const struct sim_msg *m = &mb->mail->msg[msg];
    char text[SIM_ID_MAX];

    sim_msg_id(mb, msg, true, text);
    sim_jw_kstr(w, "id", text);
    sim_change_key(mb, 'C', m->version, text);
    sim_jw_kstr(w, "changeKey", text);
    sim_folder_id(mb, m->folder, text);
    sim_jw_kstr(w, "parentFolderId", text);
}

static void write_message(struct sim_mailbox *mb, uint32_t msg, struct sim_jw *w)
{
    static const char *const importance[] = {"low", "normal", "high"};
    static const char *const flag[] = {"notFlagged", "flagged", "complete"};
    const struct sim_msg *m = &mb->mail->msg[msg];
    struct sim_letter letter;
    struct cs_buf b;
    char text[SIM_ID_MAX];

    cs_buf_init(&b, 0);
    sim_jw_open(w, '{');
    write_ids(mb, msg, w);
    sim_msg_id(mb, msg, false, text);
    sim_jw_kstr(w, "restId", text);
    sim_letter_head(mb, msg, &letter);
    sim_jw_kstr(w, "subject", letter.subject);
    sim_jw_kstr(w, "from", letter.has_from ? letter.from.address : NULL);
    sim_jw_key(w, "to");
    sim_jw_open(w, '[');
    for (size_t i = 0; i < letter.n_to; i++)
        sim_jw_str(w, letter.to[i].address);
    sim_jw_close(w, ']');
    sim_jw_key(w, "cc");
    sim_jw_open(w, '[');
    for (size_t i = 0; i < letter.n_cc; i++)
        sim_jw_str(w, letter.cc[i].address);
    sim_jw_close(w, ']');
    sim_letter_message_id(mb, msg, &b);
    sim_jw_kstr(w, "internetMessageId", b.data);
    cs_buf_reset(&b);
    if (m->over != NULL && m->over->in_reply_to != NULL) {
        sim_jw_kstr(w, "inReplyTo", m->over->in_reply_to);
    } else if (m->parent != SIM_NONE) {
        sim_letter_message_id(mb, m->parent, &b);
        sim_jw_kstr(w, "inReplyTo", b.data);
        cs_buf_reset(&b);
    } else {
        sim_jw_knull(w, "inReplyTo");
    }
    sim_jw_kbool(w, "isRead", m->is_read);
    sim_jw_kbool(w, "isDraft", m->is_draft);
    sim_jw_kstr(w, "flagStatus", flag[m->flagged % 3]);
    sim_jw_kstr(w, "importance", importance[m->importance % 3]);
    sim_jw_kint(w, "attachments", m->n_attachments);
    sim_jw_kint(w, "inlineAttachments", m->n_inline);
    sim_jw_kstr(w, "kind", m->kind == SIM_MAIL ? "message" : "eventMessage");
    sim_jw_ktime(w, "receivedDateTime", m->received_ms);
    sim_jw_ktime(w, "sentDateTime", m->sent_ms);
    sim_jw_ktime(w, "createdDateTime", m->created_ms);
    sim_jw_ktime(w, "lastModifiedDateTime", m->modified_ms);
    sim_letter_body(mb, msg, !(m->over != NULL && m->over->html_is_text), false, &b);
    sha256_hex(&b, text);
    sim_jw_kint(w, "bodyBytes", (int64_t)b.len);
    sim_jw_kstr(w, "bodySha256", text);
    sim_jw_kint(w, "version", (int64_t)m->version);
    sim_jw_close(w, '}');
    cs_buf_clear(&b);
}

/* What was accepted for delivery, each time that it was. */
static void write_sent(struct sim_mailbox *mb, struct sim_jw *w)
{
    const struct sim_mail *mail = mb->mail;
    char id[SIM_ID_MAX];

    sim_jw_open(w, '[');
    for (size_t i = 0; i < mail->n_sent; i++) {
        const struct sim_msg *m = &mail->msg[mail->sent[i].msg];

        sim_jw_open(w, '{');
        sim_msg_id(mb, mail->sent[i].msg, true, id);
        sim_jw_kstr(w, "id", id);
        sim_jw_ktime(w, "at", mail->sent[i].at_ms);
        sim_jw_kstr(w, "subject", m->over->subject);
        sim_jw_kint(w, "recipients", (int64_t)(m->over->n_to + m->over->n_cc + m->over->n_bcc));
        sim_jw_key(w, "properties");
        sim_jw_open(w, '{');
        for (size_t k = 0; k < m->over->n_props; k++)
            sim_jw_kstr(w, m->over->props[k].name, m->over->props[k].address);
        sim_jw_close(w, '}');
        sim_jw_close(w, '}');
    }
    sim_jw_close(w, ']');
}

static void write_gone(struct sim_mailbox *mb, struct sim_jw *w)
{
    sim_jw_open(w, '[');
    for (uint32_t i = 0; i < mb->mail->n_msg; i++) {
        if (mb->mail->msg[i].gone_ms == 0)
            continue;
        sim_jw_open(w, '{');
        write_ids(mb, i, w);
        sim_jw_ktime(w, "goneDateTime", mb->mail->msg[i].gone_ms);
        sim_jw_close(w, '}');
    }
    sim_jw_close(w, ']');
}

static void write_history(struct sim_mailbox *mb, struct sim_jw *w)
{
    static const char *const what[] = {"added", "changed", "removed"};
    char text[SIM_ID_MAX];

    sim_jw_open(w, '[');
    for (size_t i = 0; i < mb->mail->n_history; i++) {
        const struct sim_version *v = &mb->mail->history[i];

        sim_jw_open(w, '{');
        sim_msg_id(mb, v->msg, true, text);
        sim_jw_kstr(w, "id", text);
        sim_change_key(mb, 'C', v->version, text);
        sim_jw_kstr(w, "changeKey", text);
        sim_folder_id(mb, v->folder, text);
        sim_jw_kstr(w, "parentFolderId", text);
        sim_jw_kstr(w, "what", what[v->what % 3]);
        sim_jw_kbool(w, "isRead", v->is_read);
        sim_jw_ktime(w, "at", v->at_ms);
        sim_jw_kint(w, "version", (int64_t)v->version);
        sim_jw_close(w, '}');
    }
    sim_jw_close(w, ']');
}

void sim_truth_write(struct sim_mailbox *mb, bool history, struct sim_jw *w)
{
    pthread_mutex_lock(&mb->lock);
    sim_mail_settle(mb);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "address", mb->address);
    sim_jw_kstr(w, "id", mb->id);
    sim_jw_kint(w, "version", (int64_t)mb->seq);
    sim_jw_ktime(w, "now", sim_now_ms(mb->sim));
    sim_jw_key(w, "folders");
    write_folders(mb, false, w);
    sim_jw_key(w, "messages");
    sim_jw_open(w, '[');
    for (size_t i = 0; i < mb->mail->n_all; i++)
        write_message(mb, mb->mail->all[i], w);
    sim_jw_close(w, ']');
    sim_jw_key(w, "sent");
    write_sent(mb, w);
    if (history) {
        sim_jw_key(w, "gone");
        write_gone(mb, w);
        sim_jw_key(w, "gone_folders");
        write_folders(mb, true, w);
        sim_jw_key(w, "history");
        write_history(mb, w);
    }
#ifdef SIM_HAS_CALENDAR
    sim_calendar_truth(mb, history, w);
#endif
    sim_jw_close(w, '}');
    pthread_mutex_unlock(&mb->lock);
}
