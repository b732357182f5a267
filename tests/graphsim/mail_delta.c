/* mail_delta.c - messages/delta of a folder, and mailFolders/delta.
 *
 * A round first walks the folder from new to old, then reads the folder's log from where it stood when
 * the walk began; later rounds only read the log. All that a round needs is in its token; the service
 * keeps nothing. An item is written as it is now, at its first entry of the page.
 */
#include "mail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "request.h"
#include "tz.h"

#define PAGE         10   /* when nothing was asked for */
#define PAGE_MAX     1000 /* the service's own bound */
#define FILTERED_MAX 5000 /* items of a round with $filter */
#define TYPE_CREATED 1
#define TYPE_UPDATED 2
#define TYPE_DELETED 4

struct token {
    uint64_t select;
    int64_t from_ms;     /* $filter; INT64_MIN: none */
    int64_t received_ms; /* walk: everything from here on (newest first) was told */
    uint64_t log_at;     /* next entry of the log */
    uint64_t
        walked_to; /* end of the log when the walk ended: it may have told what these entries say */
    uint32_t msg;  /* walk */
    uint32_t mailbox, folder;
    uint32_t gen;
    uint32_t told;  /* items of this round */
    uint32_t nonce; /* no two tokens are equal by accident */
    uint32_t top;   /* 0: none */
    uint8_t what;   /* 'M'essages, 'F'olders */
    uint8_t walking;
    uint8_t is_delta;
    uint8_t types; /* TYPE_*, of later rounds; 0: all */
    uint8_t was_empty;
    uint8_t first_round;
    uint8_t pad[2];
};

static size_t page_size(const struct sim_request *req, struct sim_rng *rng)
{
    size_t n = req->max_page > 0 ? req->max_page : PAGE;

    if (n > PAGE_MAX)
        n = PAGE_MAX;
    if (n > 1 && sim_rng_below(rng, 100) < req->sim->v.short_page)
        n = n / 2 + sim_rng_below(rng, n / 2 + 1);
    return n > 0 ? n : 1;
}

static void write_link(const struct sim_request *req, const char *path, const struct token *t,
                       struct sim_jw *w)
{
    struct cs_buf url;

    cs_buf_init(&url, 0);
    cs_buf_addf(&url, "%s%s?%s=", req->base, path, t->is_delta ? "$deltatoken" : "$skiptoken");
    sim_token_seal(req->sim, t, sizeof(*t), &url);
    sim_jw_kstr(w, t->is_delta ? "@odata.deltaLink" : "@odata.nextLink", url.data);
    cs_buf_clear(&url);
}

/* The same link again, byte for byte. */
static void write_same(const struct sim_request *req, const char *path, struct sim_jw *w)
{
    const char *text = sim_param(req, "$deltatoken");
    struct cs_buf url;

    cs_buf_init(&url, 0);
    cs_buf_addf(&url, "%s%s?$deltatoken=%s", req->base, path, text);
    sim_jw_kstr(w, "@odata.deltaLink", url.data);
    cs_buf_clear(&url);
}

/* Links name the mailbox as it was asked for, or by its object id. */
static void begin_path(const struct sim_request *req, struct cs_buf *path)
{
    cs_buf_adds(path, "/users('");
    sim_url_encode(path,
                   req->sim->v.quirks != 0 && req->mb->seed % 2 == 0 ? req->mb->id : req->seg[1]);
    cs_buf_adds(path, "')");
}

static void bad_request(struct sim_answer *ans, const char *message)
{
    sim_answer_error(ans, 400, "BadRequest", message);
}

/* ---- first request -------------------------------------------------------------------------------- */

static bool parse_since(const char *filter, int64_t *ret)
{
    char value[64];
    int64_t s;
    size_t n;
    bool after;

    if (strncasecmp(filter, "receivedDateTime ", 17) != 0)
        return false;
    filter += 17 + strspn(filter + 17, " ");
    after = strncasecmp(filter, "gt ", 3) == 0;
    if (!after && strncasecmp(filter, "ge ", 3) != 0)
        return false;
    filter += 3 + strspn(filter + 3, " ");
    n = strcspn(filter, " ");
    if (n >= sizeof(value) || filter[n] != '\0')
        return false;
    memcpy(value, filter, n + 1);
    if (sim_time_parse(value, &s) < 0)
        return false;
    *ret = s * 1000 + after;
    return true;
}

static bool parse_types(const char *text, uint8_t *ret)
{
    *ret = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, ",");

        if (n == 7 && strncasecmp(text, "created", n) == 0)
            *ret |= TYPE_CREATED;
        else if (n == 7 && strncasecmp(text, "updated", n) == 0)
            *ret |= TYPE_UPDATED;
        else if (n == 7 && strncasecmp(text, "deleted", n) == 0)
            *ret |= TYPE_DELETED;
        else
            return false;
        text += n + (text[n] == ',');
    }
    return true;
}

/* How far the log has been replicated. */
static size_t visible(const struct sim_folder *f, int64_t now_ms, size_t from)
{
    size_t n = from;

    while (n < f->n_log && f->log[n].visible_ms <= now_ms)
        n++;
    return n;
}

static bool first_token(struct sim_request *req, struct sim_answer *ans, uint32_t folder,
                        struct token *t)
{
    const char *filter = sim_param(req, "$filter"), *types = sim_param(req, "changeType");
    const char *orderby = sim_param(req, "$orderby"), *top = sim_param(req, "$top");
    const struct sim_folder *f = &req->mb->mail->folder[folder];
    unsigned unknown;

    memset(t, 0, sizeof(*t));
    t->what = 'M';
    t->walking = 1;
    t->first_round = 1;
    t->mailbox = req->mb->index;
    t->folder = folder;
    t->gen = f->gen.current;
    t->from_ms = INT64_MIN;
    t->received_ms = INT64_MAX;
    t->msg = UINT32_MAX;
    t->select = sim_select_parse(sim_param(req, "$select"), &unknown) & ~SIM_BIT(SIM_P_HEADERS);
    t->log_at = f->n_log;
    /* what is not replicated yet will be told again by a later round */
    while (t->log_at > 0 && f->log[t->log_at - 1].visible_ms > sim_now_ms(req->sim))
        t->log_at--;
    if (unknown > 0) {
        sim_answer_error(ans, 400, "RequestBroker--ParseUri",
                         "Could not find a property named in $select.");
        return false;
    }
    if (filter != NULL && !parse_since(filter, &t->from_ms)) {
        sim_answer_error(ans, 400, "ErrorInvalidUrlQuery",
                         "The $filter is not supported with change tracking.");
        return false;
    }
    if (orderby != NULL && strcasecmp(orderby, "receivedDateTime desc") != 0) {
        sim_answer_error(ans, 400, "ErrorInvalidUrlQuery",
                         "The $orderby is not supported with change tracking.");
        return false;
    }
    if (types != NULL && !parse_types(types, &t->types)) {
        bad_request(ans, "changeType is invalid.");
        return false;
    }
    if (sim_param(req, "$search") != NULL || sim_param(req, "$skip") != NULL) {
        sim_answer_error(ans, 400, "ErrorInvalidUrlQuery",
                         "The query option is not supported with change tracking.");
        return false;
    }
    if (top != NULL)
        t->top = (uint32_t)strtoul(top, NULL, 10);
    return true;
}

/* Options of the first request belong to the token; with a token they are refused. */
static bool next_token(struct sim_request *req, struct sim_answer *ans, uint8_t what,
                       const char *text, struct token *t)
{
    static const char *const only_first[] = {"$select", "$filter", "$orderby",
                                             "$top",    "$expand", "changeType"};

    for (size_t i = 0; i < sizeof(only_first) / sizeof(*only_first); i++) {
        if (sim_param(req, only_first[i]) != NULL) {
            bad_request(ans, "Query options cannot be combined with a delta token.");
            return false;
        }
    }
    if (sim_token_open(req->sim, text, t, sizeof(*t)) != (int)sizeof(*t) || t->what != what ||
        t->mailbox != req->mb->index) {
        sim_answer_error(ans, 400, "SyncStateInvalid", "The sync state is invalid.");
        return false;
    }
    return true;
}

/* ---- a page ----------------------------------------------------------------------------------------- */

static void write_removed(const struct sim_request *req, uint32_t msg, struct sim_jw *w)
{
    char id[SIM_ID_MAX];

    sim_msg_id(req->mb, msg, req->immutable_ids, id);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "@odata.type", "#microsoft.graph.message");
    sim_jw_kstr(w, "id", id);
    sim_jw_key(w, "@removed");
    sim_jw_raw(w, "{\"reason\":\"deleted\"}");
    sim_jw_close(w, '}');
}

/* What the rest of the log, as far as it is visible, says of one message. */
struct seen {
    uint32_t msg;     /* SIM_NONE: free */
    bool began_added; /* unknown to the reader before */
    bool is_removed, has_added, any_removed;
    bool done;
    uint64_t mask;
};

struct seen_table {
    struct seen *slot;
    size_t size; /* a power of two */
};

static struct seen *seen_of(struct seen_table *s, uint32_t msg)
{
    size_t i = (size_t)sim_hash(msg, 3) & (s->size - 1);

    while (s->slot[i].msg != SIM_NONE && s->slot[i].msg != msg)
        i = (i + 1) & (s->size - 1);
    return &s->slot[i];
}

static void read_log(const struct sim_folder *f, const struct token *t, size_t to,
                     struct seen_table *s)
{
    size_t from = (size_t)t->log_at;

    s->size = 16;
    while (s->size < (to - from) * 2)
        s->size *= 2;
    s->slot = sim_alloc(s->size, sizeof(*s->slot));
    for (size_t i = 0; i < s->size; i++)
        s->slot[i].msg = SIM_NONE;
    for (size_t i = from; i < to; i++) {
        const struct sim_entry *e = &f->log[i];
        struct seen *m = seen_of(s, e->msg);

        if (m->msg == SIM_NONE) {
            m->msg = e->msg;
            m->began_added = e->kind == SIM_ADDED && i >= t->walked_to;
        }
        m->is_removed = e->kind == SIM_REMOVED;
        m->has_added |= e->kind == SIM_ADDED;
        m->any_removed |= e->kind == SIM_REMOVED;
        m->mask |= e->mask;
    }
}

static bool wanted(const struct token *t, uint8_t type)
{
    return t->types == 0 || t->first_round || (t->types & type) != 0;
}

static size_t write_entry(struct sim_request *req, const struct token *t, struct seen *m,
                          struct sim_jw *w)
{
    const struct sim_msg *msg = &req->mb->mail->msg[m->msg];
    const struct sim_folder *f = &req->mb->mail->folder[t->folder];
    uint64_t roll = sim_hash(req->mb->seed ^ m->msg, f->n_log);
    bool here = msg->gone_ms == 0 && msg->folder == t->folder;

    if (m->is_removed) {
        if ((m->began_added && roll % 100 < req->sim->v.collapse) || !wanted(t, TYPE_DELETED))
            return 0;
        write_removed(req, m->msg, w);
        return 1;
    }
    if (!here || msg->received_ms < t->from_ms)
        return 0; /* it left again; the log will say so when it has come that far */
    if (!wanted(t, m->has_added ? TYPE_CREATED : TYPE_UPDATED))
        return 0;
    if (!m->has_added && (roll >> 8) % 100 < req->sim->v.partial)
        sim_msg_write(req, m->msg, t->select & m->mask, true, w);
    else
        sim_msg_write(req, m->msg, t->select, true, w);
    return 1;
}

static size_t write_log(struct sim_request *req, struct token *t, size_t end, size_t max,
                        struct sim_jw *w)
{
    const struct sim_folder *f = &req->mb->mail->folder[t->folder];
    struct seen_table seen;
    size_t n = 0;

    read_log(f, t, end, &seen);
    while (t->log_at < end && n < max) {
        struct seen *m = seen_of(&seen, f->log[t->log_at].msg);
        bool again = m->done && sim_rng_below(&req->rng, 100) < req->sim->v.repeat;

        if (!m->done || again)
            n += write_entry(req, t, m, w);
        m->done = true;
        t->log_at++;
    }
    free(seen.slot);
    return n;
}

static size_t write_walk(struct sim_request *req, struct token *t, size_t max, struct sim_jw *w)
{
    struct sim_mail *mail = req->mb->mail;
    const struct sim_folder *f = &mail->folder[t->folder];
    size_t at = sim_members_from(mail, f->members, f->n_members, t->received_ms, t->msg), n = 0;
    uint32_t bound = t->top > 0 ? t->top : t->from_ms != INT64_MIN ? FILTERED_MAX : UINT32_MAX;

    while (at > 0 && n < max && t->told < bound) {
        uint32_t msg = f->members[--at];

        if (mail->msg[msg].received_ms < t->from_ms) {
            at = 0;
            break;
        }
        sim_msg_write(req, msg, t->select, true, w);
        t->received_ms = mail->msg[msg].received_ms;
        t->msg = msg;
        t->told++;
        n++;
    }
    if (at == 0 || t->told >= bound)
        t->walking = 0;
    t->walked_to = f->n_log;
    return n;
}

void sim_mail_delta(struct sim_request *req, struct sim_answer *ans, uint32_t folder)
{
    struct sim_folder *f = &req->mb->mail->folder[folder];
    const char *skip = sim_param(req, "$skiptoken"), *delta = sim_param(req, "$deltatoken");
    bool has_token = (skip != NULL && *skip != '\0') || (delta != NULL && *delta != '\0');
    struct cs_buf path;
    struct token t;
    struct sim_jw w;
    size_t page, end, at_start, n = 0;

    if (f->search) {
        bad_request(ans, "Change tracking is not supported against a search folder.");
        return;
    }
    cs_buf_init(&path, 0);
    begin_path(req, &path);
    cs_buf_adds(&path, "/mailFolders('");
    sim_url_encode(&path, req->seg[3]);
    cs_buf_adds(&path, "')/messages/delta");
    if (has_token ? !next_token(req, ans, 'M', skip != NULL && *skip != '\0' ? skip : delta, &t)
                  : !first_token(req, ans, folder, &t))
        goto out;
    if (t.folder != folder) {
        sim_answer_error(ans, 400, "SyncStateInvalid", "The sync state is of another folder.");
        goto out;
    }
    if (!sim_delta_alive(req, ans, &f->gen, t.gen, path.data))
        goto out;
    if (t.is_delta)
        t.first_round = 0;
    t.gen = f->gen.current;
    end = visible(f, sim_now_ms(req->sim), (size_t)t.log_at);
    page = page_size(req, &req->rng);
    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    sim_jw_open(&w, '{');
    cs_buf_addf(&ans->body, "\"@odata.context\":\"%s/$metadata#Collection(message)\"", req->base);
    w.comma = true;
    sim_jw_key(&w, "value");
    sim_jw_open(&w, '[');
    at_start = (size_t)t.log_at;
    if (!t.was_empty && (t.walking || end > at_start) &&
        sim_rng_below(&req->rng, 100) < req->sim->v.empty_page) {
        t.was_empty = 1; /* an empty page, and the next one is not */
    } else {
        t.was_empty = 0;
        if (t.walking)
            n = write_walk(req, &t, page, &w);
        if (!t.walking && n < page)
            n += write_log(req, &t, end, page - n, &w);
    }
    ans->items = n;
    sim_jw_close(&w, ']');
    if (t.is_delta && delta != NULL && t.log_at == at_start && !t.was_empty &&
        sim_hash(req->mb->seed, t.log_at) % 100 < req->sim->v.same_link) {
        write_same(req, path.data, &w);
    } else {
        t.is_delta = !t.walking && t.log_at == end && !t.was_empty;
        if (t.is_delta)
            t.told = 0;
        t.nonce = (uint32_t)sim_rng_next(&req->rng);
        write_link(req, path.data, &t, &w);
    }
    sim_jw_close(&w, '}');
    sim_answer_applied(ans, "odata.track-changes");
out:
    cs_buf_clear(&path);
}

/* ---- folders ------------------------------------------------------------------------------------------ */

/* The folder tree of the user: what hangs below the root, at any depth. */
static bool in_tree(const struct sim_mail *mail, uint32_t folder)
{
    uint32_t f = folder;

    if (folder == SIM_F_ROOT || folder == SIM_NONE)
        return false;
    while (f != SIM_NONE && f != SIM_F_ROOT)
        f = mail->folder[f].parent;
    return f == SIM_F_ROOT;
}

static void write_folder_removed(const struct sim_request *req, uint32_t folder, struct sim_jw *w)
{
    char id[SIM_ID_MAX];

    sim_folder_id(req->mb, folder, id);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "@odata.type", "#microsoft.graph.mailFolder");
    sim_jw_kstr(w, "id", id);
    sim_jw_key(w, "@removed");
    sim_jw_raw(w, "{\"reason\":\"deleted\"}");
    sim_jw_close(w, '}');
}

void sim_folder_delta(struct sim_request *req, struct sim_answer *ans)
{
    struct sim_mail *mail = req->mb->mail;
    const char *skip = sim_param(req, "$skiptoken"), *delta = sim_param(req, "$deltatoken");
    bool has_token = (skip != NULL && *skip != '\0') || (delta != NULL && *delta != '\0');
    int64_t now = sim_now_ms(req->sim);
    struct cs_buf path;
    struct token t;
    struct sim_jw w;
    size_t page = page_size(req, &req->rng), n = 0, start;

    cs_buf_init(&path, 0);
    begin_path(req, &path);
    cs_buf_adds(&path, "/mailFolders/delta");
    if (has_token) {
        if (!next_token(req, ans, 'F', skip != NULL && *skip != '\0' ? skip : delta, &t))
            goto out;
    } else {
        memset(&t, 0, sizeof(t));
        t.what = 'F';
        t.walking = 1;
        t.mailbox = req->mb->index;
        t.gen = mail->folder_gen.current;
        t.log_at = mail->n_folder_log;
        while (t.log_at > 0 && mail->folder_log[t.log_at - 1].visible_ms > now)
            t.log_at--;
    }
    if (!sim_delta_alive(req, ans, &mail->folder_gen, t.gen, path.data))
        goto out;
    t.gen = mail->folder_gen.current;
    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    sim_jw_open(&w, '{');
    cs_buf_addf(&ans->body, "\"@odata.context\":\"%s/$metadata#Collection(mailFolder)\"",
                req->base);
    w.comma = true;
    sim_jw_key(&w, "value");
    sim_jw_open(&w, '[');
    while (t.walking && n < page && t.folder < mail->n_folder) {
        if (!mail->folder[t.folder].gone && in_tree(mail, t.folder)) {
            sim_folder_write(req, t.folder, true, &w);
            n++;
        }
        t.folder++;
    }
    if (t.folder >= mail->n_folder)
        t.walking = 0;
    start = (size_t)t.log_at;
    while (!t.walking && n < page && t.log_at < mail->n_folder_log &&
           mail->folder_log[t.log_at].visible_ms <= now) {
        const struct sim_folder_entry *e = &mail->folder_log[t.log_at++];

        if (mail->folder[e->folder].gone)
            write_folder_removed(req, e->folder, &w);
        else if (in_tree(mail, e->folder))
            sim_folder_write(req, e->folder, true, &w);
        else
            continue;
        n++;
    }
    sim_jw_close(&w, ']');
    ans->items = n;
    if (t.is_delta && delta != NULL && t.log_at == start &&
        sim_hash(req->mb->seed, t.log_at) % 100 < req->sim->v.same_link) {
        write_same(req, path.data, &w);
    } else {
        t.is_delta = !t.walking && (t.log_at == mail->n_folder_log ||
                                    mail->folder_log[t.log_at].visible_ms > now);
        t.nonce = (uint32_t)sim_rng_next(&req->rng);
        write_link(req, path.data, &t, &w);
    }
    sim_jw_close(&w, '}');
    sim_answer_applied(ans, "odata.track-changes");
out:
    cs_buf_clear(&path);
}
