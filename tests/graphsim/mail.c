/* mail.c - folders and messages, their order, and the log of every change. */
#include "mail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *well_known, *name;
    uint32_t parent;
    bool hidden;
} standard[SIM_F_USER] = {
    [SIM_F_ROOT] = {"msgfolderroot", "Top of Information Store", SIM_NONE, false},
    [SIM_F_INBOX] = {"inbox", "Inbox", SIM_F_ROOT, false},
    [SIM_F_DRAFTS] = {"drafts", "Drafts", SIM_F_ROOT, false},
    [SIM_F_SENT] = {"sentitems", "Sent Items", SIM_F_ROOT, false},
    [SIM_F_DELETED] = {"deleteditems", "Deleted Items", SIM_F_ROOT, false},
    [SIM_F_ARCHIVE] = {"archive", "Archive", SIM_F_ROOT, false},
    [SIM_F_JUNK] = {"junkemail", "Junk Email", SIM_F_ROOT, false},
    [SIM_F_OUTBOX] = {"outbox", "Outbox", SIM_F_ROOT, false},
    [SIM_F_CONVERSATIONS] = {"conversationhistory", "Conversation History", SIM_F_ROOT, false},
    [SIM_F_SYNC_ISSUES] = {"syncissues", "Sync Issues", SIM_F_ROOT, true},
    [SIM_F_CONFLICTS] = {"conflicts", "Conflicts", SIM_F_SYNC_ISSUES, true},
    [SIM_F_LOCAL_FAILURES] = {"localfailures", "Local Failures", SIM_F_SYNC_ISSUES, true},
    [SIM_F_SERVER_FAILURES] = {"serverfailures", "Server Failures", SIM_F_SYNC_ISSUES, true},
    [SIM_F_RECOVERABLE] = {"recoverableitemsdeletions", "Deletions", SIM_NONE, true},
    [SIM_F_SEARCH] = {"searchfolders", "Finder", SIM_NONE, true},
    [SIM_F_SEARCH_UNREAD] = {NULL, "Unread Mail", SIM_F_ROOT, false},
};

/* Localised display names, so that nobody tells a folder by its name: the mailbox's language. */
static const char *const localised[][SIM_F_ARCHIVE + 1] = {
    {NULL, "Inbox", "Drafts", "Sent Items", "Deleted Items", "Archive"},
    {NULL, "Posteingang", "Entw\xc3\xbcrfe", "Gesendete Elemente", "Gel\xc3\xb6schte Elemente",
     "Archiv"},
    {NULL, "\xe5\x8f\x97\xe4\xbf\xa1\xe3\x83\x88\xe3\x83\xac\xe3\x82\xa4",
     "\xe4\xb8\x8b\xe6\x9b\xb8\xe3\x81\x8d",
     "\xe9\x80\x81\xe4\xbf\xa1\xe6\xb8\x88\xe3\x81\xbf\xe3\x82\xa2\xe3\x82\xa4\xe3\x83\x86\xe3\x83"
     "\xa0",
     "\xe5\x89\x8a\xe9\x99\xa4\xe6\xb8\x88\xe3\x81\xbf\xe3\x82\xa2\xe3\x82\xa4\xe3\x83\x86\xe3\x83"
     "\xa0",
     "\xe3\x82\xa2\xe3\x83\xbc\xe3\x82\xab\xe3\x82\xa4\xe3\x83\x96"},
};

static int64_t visible_at(struct sim_mailbox *mb)
{
    int64_t late = mb->sim->v.replica_ms;

    if (late > 0)
        late = (int64_t)(sim_hash(mb->seed, mb->seq) % (uint64_t)(late + 1));
    return sim_now_ms(mb->sim) + late;
}

/* ---- order ------------------------------------------------------------------------------------- */

static int compare(const struct sim_mail *mail, uint32_t a, int64_t received_ms, uint32_t b)
{
    int64_t ra = mail->msg[a].received_ms;

    if (ra != received_ms)
        return ra < received_ms ? -1 : 1;
    return a < b ? -1 : a > b;
}

size_t sim_members_from(const struct sim_mail *mail, const uint32_t *members, size_t n,
                        int64_t received_ms, uint32_t msg)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (compare(mail, members[mid], received_ms, msg) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void insert(struct sim_mail *mail, uint32_t **members, size_t *n, size_t *cap, uint32_t msg)
{
    size_t at = sim_members_from(mail, *members, *n, mail->msg[msg].received_ms, msg);

    SIM_PUSH(*members, *n, *cap);
    memmove(*members + at + 1, *members + at, (*n - at) * sizeof(**members));
    (*members)[at] = msg;
    (*n)++;
}

static void take_out(struct sim_mail *mail, uint32_t *members, size_t *n, uint32_t msg)
{
    size_t at = sim_members_from(mail, members, *n, mail->msg[msg].received_ms, msg);

    if (at < *n && members[at] == msg) {
        (*n)--;
        memmove(members + at, members + at + 1, (*n - at) * sizeof(*members));
    }
}

static int by_received(const void *pa, const void *pb, void *user)
{
    const uint32_t *a = pa, *b = pb;
    const struct sim_mail *mail = user;

    return compare(mail, *a, mail->msg[*b].received_ms, *b);
}

void sim_mail_sort(struct sim_mailbox *mb)
{
    struct sim_mail *mail = mb->mail;

    if (mail->n_all > 1)
        qsort_r(mail->all, mail->n_all, sizeof(*mail->all), by_received, mail);
    for (size_t i = 0; i < mail->n_folder; i++)
        if (mail->folder[i].n_members > 1)
            qsort_r(mail->folder[i].members, mail->folder[i].n_members, sizeof(uint32_t),
                    by_received, mail);
}

/* ---- logs -------------------------------------------------------------------------------------- */

static void log_message(struct sim_mailbox *mb, uint32_t folder, uint32_t msg, enum sim_change kind,
                        uint64_t mask)
{
    struct sim_folder *f = &mb->mail->folder[folder];
    struct sim_entry *e;

    SIM_PUSH(f->log, f->n_log, f->cap_log);
    e = &f->log[f->n_log++];
    memset(e, 0, sizeof(*e));
    e->visible_ms = visible_at(mb);
    e->msg = msg;
    e->kind = (uint8_t)kind;
    e->mask = mask;
}

static void log_folder(struct sim_mailbox *mb, uint32_t folder, enum sim_change kind)
{
    struct sim_mail *mail = mb->mail;
    struct sim_folder_entry *e;

    mail->folder[folder].version = sim_next_seq(mb);
    SIM_PUSH(mail->folder_log, mail->n_folder_log, mail->cap_folder_log);
    e = &mail->folder_log[mail->n_folder_log++];
    memset(e, 0, sizeof(*e));
    e->visible_ms = visible_at(mb);
    e->folder = folder;
    e->kind = (uint8_t)kind;
}

static void new_version(struct sim_mailbox *mb, uint32_t msg, enum sim_change what)
{
    struct sim_mail *mail = mb->mail;
    struct sim_msg *m = &mail->msg[msg];
    struct sim_version *v;

    m->version = sim_next_seq(mb);
    m->modified_ms = sim_now_ms(mb->sim);
    SIM_PUSH(mail->history, mail->n_history, mail->cap_history);
    v = &mail->history[mail->n_history++];
    memset(v, 0, sizeof(*v));
    v->version = m->version;
    v->at_ms = m->modified_ms;
    v->msg = msg;
    v->folder = m->folder;
    v->what = (uint8_t)what;
    v->is_read = m->is_read;
}

/* ---- messages ---------------------------------------------------------------------------------- */

uint32_t sim_mail_put(struct sim_mailbox *mb, const struct sim_msg *m)
{
    struct sim_mail *mail = mb->mail;
    struct sim_folder *f = &mail->folder[m->folder];
    uint32_t msg = (uint32_t)mail->n_msg;

    SIM_PUSH(mail->msg, mail->n_msg, mail->cap_msg);
    mail->msg[mail->n_msg++] = *m;
    mail->msg[msg].version = sim_next_seq(mb);
    SIM_PUSH(mail->all, mail->n_all, mail->cap_all);
    mail->all[mail->n_all++] = msg;
    SIM_PUSH(f->members, f->n_members, f->cap_members);
    f->members[f->n_members++] = msg;
    f->unread += !m->is_read;
    return msg;
}

uint32_t sim_mail_add(struct sim_mailbox *mb, const struct sim_msg *m)
{
    struct sim_mail *mail = mb->mail;
    struct sim_folder *f = &mail->folder[m->folder];
    uint32_t msg = (uint32_t)mail->n_msg;

    SIM_PUSH(mail->msg, mail->n_msg, mail->cap_msg);
    mail->msg[mail->n_msg++] = *m;
    insert(mail, &mail->all, &mail->n_all, &mail->cap_all, msg);
    insert(mail, &f->members, &f->n_members, &f->cap_members, msg);
    f->unread += !m->is_read;
    new_version(mb, msg, SIM_ADDED);
    log_message(mb, m->folder, msg, SIM_ADDED, SIM_P_ALL);
    return msg;
}

void sim_mail_move(struct sim_mailbox *mb, uint32_t msg, uint32_t folder)
{
    struct sim_mail *mail = mb->mail;
    struct sim_msg *m = &mail->msg[msg];
    struct sim_folder *from = &mail->folder[m->folder], *to = &mail->folder[folder];

    if (m->gone_ms != 0 || m->folder == folder)
        return;
    take_out(mail, from->members, &from->n_members, msg);
    from->unread -= !m->is_read;
    insert(mail, &to->members, &to->n_members, &to->cap_members, msg);
    to->unread += !m->is_read;
    log_message(mb, m->folder, msg, SIM_REMOVED, 0);
    m->folder = folder;
    m->moves++;
    new_version(mb, msg, SIM_CHANGED);
    log_message(mb, folder, msg, SIM_ADDED, SIM_P_ALL);
}

void sim_mail_remove(struct sim_mailbox *mb, uint32_t msg)
{
    struct sim_mail *mail = mb->mail;
    struct sim_msg *m = &mail->msg[msg];
    struct sim_folder *f = &mail->folder[m->folder];

    if (m->gone_ms != 0)
        return;
    take_out(mail, f->members, &f->n_members, msg);
    take_out(mail, mail->all, &mail->n_all, msg);
    f->unread -= !m->is_read;
    new_version(mb, msg, SIM_REMOVED);
    m->gone_ms = m->modified_ms;
    log_message(mb, m->folder, msg, SIM_REMOVED, 0);
}

void sim_mail_touch(struct sim_mailbox *mb, uint32_t msg, uint64_t mask)
{
    struct sim_msg *m = &mb->mail->msg[msg];

    if (m->gone_ms != 0)
        return;
    new_version(mb, msg, SIM_CHANGED);
    log_message(mb, m->folder, msg, SIM_CHANGED, mask);
}

void sim_mail_set_read(struct sim_mailbox *mb, uint32_t msg, bool is_read)
{
    struct sim_msg *m = &mb->mail->msg[msg];
    struct sim_folder *f = &mb->mail->folder[m->folder];

    if (m->gone_ms != 0 || m->is_read == is_read)
        return;
    m->is_read = is_read;
    f->unread += is_read ? UINT32_MAX : 1; /* modulo 2^32: minus one */
    sim_mail_touch(mb, msg, SIM_BIT(SIM_P_IS_READ));
}

struct sim_over *sim_mail_over(struct sim_msg *m)
{
    if (m->over == NULL)
        m->over = sim_alloc(1, sizeof(*m->over));
    return m->over;
}

int64_t sim_msg_find(struct sim_mailbox *mb, const char *text)
{
    struct sim_id id;
    int r = sim_id_parse(mb, text, &id);

    if (r < 0)
        return r;
    if (id.kind != SIM_ID_MESSAGE || id.num >= mb->mail->n_msg ||
        mb->mail->msg[id.num].gone_ms != 0)
        return -ENOENT;
    if (!id.immutable && id.sub != mb->mail->msg[id.num].moves)
        return -ENOENT; /* it moved, and its id with it */
    return (int64_t)id.num;
}

/* ---- folders ----------------------------------------------------------------------------------- */

uint32_t sim_folder_add(struct sim_mailbox *mb, uint32_t parent, const char *name, bool hidden)
{
    struct sim_mail *mail = mb->mail;
    uint32_t folder = (uint32_t)mail->n_folder;
    struct sim_folder *f;

    SIM_PUSH(mail->folder, mail->n_folder, mail->cap_folder);
    f = &mail->folder[mail->n_folder++];
    memset(f, 0, sizeof(*f));
    f->name = sim_strdup(name);
    f->parent = parent;
    f->hidden = hidden;
    f->gen.current = f->gen.lowest = (uint32_t)(100 + sim_hash(mb->seed, folder) % 100);
    log_folder(mb, folder, SIM_ADDED);
    return folder;
}

void sim_folder_rename(struct sim_mailbox *mb, uint32_t folder, const char *name)
{
    struct sim_folder *f = &mb->mail->folder[folder];

    free(f->name);
    f->name = sim_strdup(name);
    log_folder(mb, folder, SIM_CHANGED);
}

static bool is_below(const struct sim_mail *mail, uint32_t folder, uint32_t ancestor)
{
    for (uint32_t f = folder; f != SIM_NONE; f = mail->folder[f].parent)
        if (f == ancestor)
            return true;
    return false;
}

int sim_folder_move(struct sim_mailbox *mb, uint32_t folder, uint32_t parent)
{
    if (is_below(mb->mail, parent, folder))
        return -EINVAL;
    mb->mail->folder[folder].parent = parent;
    log_folder(mb, folder, SIM_CHANGED);
    return 0;
}

void sim_folder_remove(struct sim_mailbox *mb, uint32_t folder)
{
    struct sim_mail *mail = mb->mail;
    struct sim_folder *f = &mail->folder[folder];

    if (f->gone)
        return;
    for (uint32_t i = 0; i < mail->n_folder; i++)
        if (mail->folder[i].parent == folder)
            sim_folder_remove(mb, i);
    while (f->n_members > 0)
        sim_mail_remove(mb, f->members[f->n_members - 1]);
    f->gone = true;
    f->gone_ms = sim_now_ms(mb->sim);
    log_folder(mb, folder, SIM_REMOVED);
}

int64_t sim_folder_find(struct sim_mailbox *mb, const char *text)
{
    struct sim_id id;
    int r;

    for (uint32_t i = 0; i < SIM_F_USER; i++)
        if (standard[i].well_known != NULL && strcasecmp(standard[i].well_known, text) == 0)
            return i;
    /* names that this mailbox simply does not have */
    if (strcasecmp(text, "clutter") == 0 || strcasecmp(text, "scheduled") == 0)
        return -ENOENT;
    r = sim_id_parse(mb, text, &id);
    if (r < 0)
        return r;
    if (id.kind != SIM_ID_FOLDER || id.num >= mb->mail->n_folder || mb->mail->folder[id.num].gone)
        return -ENOENT;
    return (int64_t)id.num;
}

void sim_mail_init(struct sim_mailbox *mb, unsigned mean_body)
{
    size_t language = sim_hash(mb->seed, 5) % 4; /* half are English */

    mb->mail = sim_alloc(1, sizeof(*mb->mail));
    mb->mail->mean_body = mean_body;
    mb->mail->folder_gen.current = mb->mail->folder_gen.lowest = 40;
    for (uint32_t i = 0; i < SIM_F_USER; i++) {
        const char *name = standard[i].name;

        if (language < 3 && i <= SIM_F_ARCHIVE && localised[language][i] != NULL)
            name = localised[language][i];
        sim_folder_add(mb, standard[i].parent, name, standard[i].hidden);
        mb->mail->folder[i].well_known = standard[i].well_known;
    }
    mb->mail->folder[SIM_F_SEARCH_UNREAD].search = true;
}

void sim_people_free(struct sim_person_ref *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(p[i].name);
        free(p[i].address);
    }
    free(p);
}

static void over_free(struct sim_over *o)
{
    if (o == NULL)
        return;
    sim_people_free(o->to, o->n_to);
    sim_people_free(o->cc, o->n_cc);
    sim_people_free(o->bcc, o->n_bcc);
    sim_people_free(o->reply_to, o->n_reply_to);
    sim_people_free(o->headers, o->n_headers);
    sim_people_free(o->props, o->n_props);
    for (size_t i = 0; i < o->n_files; i++) {
        free(o->files[i].name);
        free(o->files[i].type);
        free(o->files[i].content_id);
        free(o->files[i].bytes);
    }
    free(o->files);
    for (size_t i = 0; i < o->n_categories; i++)
        free(o->categories[i]);
    free(o->categories);
    free(o->subject);
    free(o->html);
    free(o->message_id);
    free(o->in_reply_to);
    free(o->from_name);
    free(o->from_address);
    free(o);
}

void sim_mail_clear(struct sim_mailbox *mb)
{
    struct sim_mail *mail = mb->mail;

    if (mail == NULL)
        return;
    for (size_t i = 0; i < mail->n_msg; i++)
        over_free(mail->msg[i].over);
    for (size_t i = 0; i < mail->n_folder; i++) {
        free(mail->folder[i].name);
        free(mail->folder[i].members);
        free(mail->folder[i].log);
    }
    free(mail->msg);
    free(mail->all);
    free(mail->folder);
    free(mail->folder_log);
    free(mail->history);
    free(mail->sent);
    free(mail->transit);
    for (size_t i = 0; i < mail->n_upload; i++) {
        cs_buf_clear(&mail->upload[i].bytes);
        free(mail->upload[i].name);
        free(mail->upload[i].type);
        free(mail->upload[i].content_id);
    }
    free(mail->upload);
    free(mail);
    mb->mail = NULL;
}
