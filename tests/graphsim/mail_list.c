/* mail_list.c - lists of messages: $filter, $orderby, $top, $skip. */
#include "mail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "letter.h"
#include "request.h"
#include "tz.h"

#define CLAUSES   12
#define SORT_KEYS 4
#define MAX_TOP   1000
#define PAGE      10

enum field {
    F_RECEIVED,
    F_SENT,
    F_MODIFIED,
    F_CREATED,
    F_MESSAGE_ID,
    F_PARENT,
    F_READ,
    F_DRAFT,
    F_ATTACHMENTS,
    F_SUBJECT,
    F_FROM,
    F_CONVERSATION,
    F_NONE
};
enum op { OP_EQ, OP_NE, OP_GE, OP_GT, OP_LE, OP_LT };

static const char *const field_names[F_NONE] = {
    [F_RECEIVED] = "receivedDateTime",
    [F_SENT] = "sentDateTime",
    [F_MODIFIED] = "lastModifiedDateTime",
    [F_CREATED] = "createdDateTime",
    [F_MESSAGE_ID] = "internetMessageId",
    [F_PARENT] = "parentFolderId",
    [F_READ] = "isRead",
    [F_DRAFT] = "isDraft",
    [F_ATTACHMENTS] = "hasAttachments",
    [F_SUBJECT] = "subject",
    [F_FROM] = "from/emailAddress/address",
    [F_CONVERSATION] = "conversationId",
};

struct clause {
    enum field field;
    enum op op;
    char text[512];
    int64_t ms;
    bool yes;
};

struct sort_key {
    enum field field;
    bool desc;
};

struct list {
    struct sim_mailbox *mb;
    char prop_id[200], prop_value[200]; /* of an extended property; "": not asked */
    bool prop_prefix;
    struct clause clause[CLAUSES];
    size_t n_clauses;
    struct sort_key key[SORT_KEYS];
    size_t n_keys;
};

static enum field find_field(const char *p, size_t n)
{
    for (int f = 0; f < F_NONE; f++)
        if (strlen(field_names[f]) == n && strncasecmp(field_names[f], p, n) == 0)
            return (enum field)f;
    return F_NONE;
}

static bool is_time(enum field f)
{
    return f <= F_CREATED;
}

static int64_t time_of(const struct sim_msg *m, enum field f)
{
    return f == F_RECEIVED   ? m->received_ms
           : f == F_SENT     ? m->sent_ms
           : f == F_MODIFIED ? m->modified_ms
                             : m->created_ms;
}

/* One "field op value"; *p moves behind it. */
static int parse_clause(const char **p, struct clause *c)
{
    static const char *const ops[] = {"eq", "ne", "ge", "gt", "le", "lt"};
    const char *s = *p + strspn(*p, " ");
    size_t n = strcspn(s, " "), len = 0;
    int op;

    c->field = find_field(s, n);
    if (c->field == F_NONE)
        return -EINVAL;
    s += n;
    s += strspn(s, " ");
    for (op = 0; op < 6; op++)
        if (strncasecmp(s, ops[op], 2) == 0 && s[2] == ' ')
            break;
    if (op == 6)
        return -EINVAL;
    c->op = (enum op)op;
    s += 2;
    s += strspn(s, " ");
    if (*s == '\'') {
        for (s++; *s != '\0' && (*s != '\'' || s[1] == '\''); s++) {
            if (*s == '\'')
                s++;
            if (len + 1 >= sizeof(c->text))
                return -EINVAL;
            c->text[len++] = *s;
        }
        if (*s != '\'')
            return -EINVAL;
        s++;
    } else {
        for (; *s != '\0' && *s != ' ' && len + 1 < sizeof(c->text); s++)
            c->text[len++] = *s;
    }
    c->text[len] = '\0';
    *p = s;
    if (is_time(c->field)) {
        int64_t utc_s;
        const char *dot = strchr(c->text, '.');

        if (sim_time_parse(c->text, &utc_s) < 0)
            return -EINVAL;
        c->ms = utc_s * 1000;
        /* milliseconds, from the first three fraction digits */
        for (int i = 1, scale = 100; dot != NULL && dot[i] >= '0' && dot[i] <= '9' && scale > 0;
             i++, scale /= 10)
            c->ms += (dot[i] - '0') * scale;
    } else if (c->field == F_READ || c->field == F_DRAFT || c->field == F_ATTACHMENTS) {
        c->yes = strcasecmp(c->text, "true") == 0;
        if (!c->yes && strcasecmp(c->text, "false") != 0)
            return -EINVAL;
    }
    return 0;
}

static bool quoted(const char **p, char *out, size_t max)
{
    size_t n = 0;

    if (*(*p)++ != '\'')
        return false;
    for (; **p != '\0' && **p != '\''; (*p)++) {
        if (n + 1 == max)
            return false;
        out[n++] = **p;
    }
    out[n] = '\0';
    return *(*p)++ == '\'';
}

static bool expect(const char **p, const char *text)
{
    size_t n = strlen(text);

    if (strncasecmp(*p, text, n) != 0)
        return false;
    *p += n;
    return true;
}

/* singleValueExtendedProperties/Any(ep: ep/id eq 'I' and ep/value eq 'V'), or startswith(ep/value, 'V') */
static int parse_property(struct list *l, const char **p)
{
    if (!expect(p, "(ep: ep/id eq ") || !quoted(p, l->prop_id, sizeof(l->prop_id)) ||
        !expect(p, " and "))
        return -EINVAL;
    l->prop_prefix = expect(p, "startswith(ep/value,");
    if (!l->prop_prefix && !expect(p, "ep/value eq "))
        return -EINVAL;
    *p += strspn(*p, " ");
    if (!quoted(p, l->prop_value, sizeof(l->prop_value)) || (l->prop_prefix && !expect(p, ")")))
        return -EINVAL;
    return expect(p, ")") ? 0 : -EINVAL;
}

static int parse_filter(struct list *l, const char *text)
{
    const char *p = text;

    for (;;) {
        if (expect(&p, "singleValueExtendedProperties/any")) {
            if (parse_property(l, &p) < 0)
                return -EINVAL;
            if (*p == '\0')
                return 0;
            if (!expect(&p, " and "))
                return -EINVAL;
        }
        if (l->n_clauses == CLAUSES || parse_clause(&p, &l->clause[l->n_clauses]) < 0)
            return -EINVAL;
        l->n_clauses++;
        p += strspn(p, " ");
        if (*p == '\0')
            return 0;
        if (strncasecmp(p, "and ", 4) != 0)
            return -EINVAL;
        p += 4;
    }
}

static int parse_orderby(struct list *l, const char *text)
{
    while (*text != '\0') {
        size_t n;
        struct sort_key *k;

        text += strspn(text, " ,");
        if (*text == '\0')
            break;
        if (l->n_keys == SORT_KEYS)
            return -EINVAL;
        k = &l->key[l->n_keys++];
        n = strcspn(text, " ,");
        k->field = find_field(text, n);
        if (k->field == F_NONE)
            return -EINVAL;
        text += n;
        text += strspn(text, " ");
        k->desc = strncasecmp(text, "desc", 4) == 0;
        text += strcspn(text, ",");
    }
    return 0;
}

/* Every property of $orderby must be in $filter, in the same order and before all others. */
static bool is_efficient(const struct list *l)
{
    size_t seen = 0;

    if (l->n_clauses == 0 || l->n_keys == 0)
        return true;
    for (size_t i = 0; i < l->n_clauses && seen < l->n_keys; i++) {
        if (l->clause[i].field == l->key[seen].field)
            seen++;
        else if (seen == 0 || l->clause[i].field != l->key[seen - 1].field)
            return false;
    }
    return seen == l->n_keys;
}

static bool compare_ok(int order, enum op op)
{
    switch (op) {
    case OP_EQ: return order == 0;
    case OP_NE: return order != 0;
    case OP_GE: return order >= 0;
    case OP_GT: return order > 0;
    case OP_LE: return order <= 0;
    default: return order < 0;
    }
}

static int text_order(struct list *l, uint32_t msg, enum field f, const char *text)
{
    struct sim_mailbox *mb = l->mb;
    struct sim_letter letter;
    char id[SIM_ID_MAX];
    struct cs_buf b;
    int order;

    if (f == F_PARENT) {
        sim_folder_id(mb, mb->mail->msg[msg].folder, id);
        return strcmp(id, text);
    }
    if (f == F_MESSAGE_ID) {
        cs_buf_init(&b, 0);
        sim_letter_message_id(mb, msg, &b);
        order = strcmp(b.data, text);
        cs_buf_clear(&b);
        return order;
    }
    sim_letter_head(mb, msg, &letter);
    return strcasecmp(f == F_SUBJECT ? letter.subject : letter.from.address, text);
}

static bool has_property(const struct list *l, const struct sim_msg *m)
{
    /* the index of searches is written later than the item */
    if (m->over == NULL || m->created_ms + l->mb->sim->v.search_lag_ms > sim_now_ms(l->mb->sim))
        return false;
    for (size_t i = 0; i < m->over->n_props; i++)
        if (strcmp(m->over->props[i].name, l->prop_id) == 0 &&
            (l->prop_prefix
                 ? strncasecmp(m->over->props[i].address, l->prop_value, strlen(l->prop_value))
                 : strcasecmp(m->over->props[i].address, l->prop_value)) == 0)
            return true;
    return false;
}

static bool matches(struct list *l, uint32_t msg)
{
    const struct sim_msg *m = &l->mb->mail->msg[msg];

    if (m->in_transit || (l->prop_id[0] != '\0' && !has_property(l, m)))
        return false;
    for (size_t i = 0; i < l->n_clauses; i++) {
        const struct clause *c = &l->clause[i];
        int order;

        if (is_time(c->field)) {
            int64_t t = time_of(m, c->field);

            order = t < c->ms ? -1 : t > c->ms;
        } else if (c->field == F_READ || c->field == F_DRAFT || c->field == F_ATTACHMENTS) {
            bool v = c->field == F_READ    ? m->is_read
                     : c->field == F_DRAFT ? m->is_draft
                                           : m->n_attachments > m->n_inline;

            order = v != c->yes;
        } else {
            order = text_order(l, msg, c->field, c->text);
        }
        if (!compare_ok(order, c->op))
            return false;
    }
    return true;
}

static int by_keys(const void *pa, const void *pb, void *user)
{
    const uint32_t *a = pa, *b = pb;
    struct list *l = user;

    for (size_t i = 0; i < l->n_keys; i++) {
        const struct sort_key *k = &l->key[i];
        int order = 0;

        if (is_time(k->field)) {
            int64_t x = time_of(&l->mb->mail->msg[*a], k->field),
                    y = time_of(&l->mb->mail->msg[*b], k->field);

            order = x < y ? -1 : x > y;
        } else if (k->field == F_READ) {
            order = l->mb->mail->msg[*a].is_read - l->mb->mail->msg[*b].is_read;
        } else {
            struct sim_letter la;

            sim_letter_head(l->mb, *a, &la);
            order = -text_order(l, *b, F_SUBJECT, la.subject);
        }
        if (order != 0)
            return k->desc ? -order : order;
    }
    return *a < *b ? -1 : *a > *b;
}

/* The candidates in the order of the list; malloc'd. Bounds on receivedDateTime cut by binary search. */
static uint32_t *candidates(struct list *l, const uint32_t *members, size_t n, size_t *ret_n)
{
    size_t lo = 0, hi = n, len = 0;
    bool newest_first = l->n_keys == 0 || l->key[0].desc;
    uint32_t *out;

    for (size_t i = 0; i < l->n_clauses; i++) {
        const struct clause *c = &l->clause[i];

        if (c->field != F_RECEIVED)
            continue;
        if (c->op == OP_GE || c->op == OP_GT || c->op == OP_EQ) {
            size_t at = sim_members_from(l->mb->mail, members, n, c->ms, 0);

            lo = at > lo ? at : lo;
        }
        if (c->op == OP_LE || c->op == OP_LT || c->op == OP_EQ) {
            size_t at = sim_members_from(l->mb->mail, members, n, c->ms, UINT32_MAX);

            hi = at < hi ? at : hi;
        }
    }
    out = sim_alloc(hi > lo ? hi - lo : 1, sizeof(*out));
    for (size_t i = lo; i < hi; i++) {
        uint32_t msg = newest_first ? members[hi - 1 - (i - lo)] : members[i];

        if (matches(l, msg))
            out[len++] = msg;
    }
    if (l->n_keys > 1 || (l->n_keys == 1 && l->key[0].field != F_RECEIVED))
        qsort_r(out, len, sizeof(*out), by_keys, l);
    *ret_n = len;
    return out;
}

/* The query again, but for $skip. */
static void write_next(const struct sim_request *req, size_t skip, struct sim_jw *w)
{
    struct cs_buf url;
    bool first = true;

    cs_buf_init(&url, 0);
    cs_buf_adds(&url, req->base);
    for (size_t i = 0; i < req->n_seg; i++) {
        cs_buf_addc(&url, '/');
        sim_url_encode(&url, req->seg[i]);
    }
    for (size_t i = 0; i < req->n_params; i++) {
        if (strcasecmp(req->param[i].name, "$skip") == 0)
            continue;
        cs_buf_addc(&url, first ? '?' : '&');
        sim_url_encode(&url, req->param[i].name);
        cs_buf_addc(&url, '=');
        for (const char *p = req->param[i].value; *p != '\0'; p++) {
            char one[2] = {*p, '\0'};

            /* these would end or change a query value */
            if (strchr("=$+&", *p) != NULL)
                cs_buf_addf(&url, "%%%02X", (unsigned)(unsigned char)*p);
            else
                sim_url_encode(&url, one);
        }
        first = false;
    }
    cs_buf_addf(&url, "%c%%24skip=%zu", first ? '?' : '&', skip);
    sim_jw_kstr(w, "@odata.nextLink", url.data);
    cs_buf_clear(&url);
}

static bool number(const char *text, long max, size_t *ret)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n < 0 || n > max)
        return false;
    *ret = (size_t)n;
    return true;
}

void sim_mail_list(struct sim_request *req, struct sim_answer *ans, uint32_t folder)
{
    struct sim_mail *mail = req->mb->mail;
    const char *filter = sim_param(req, "$filter"), *orderby = sim_param(req, "$orderby");
    const char *top_text = sim_param(req, "$top"), *skip_text = sim_param(req, "$skip");
    size_t top = req->max_page > 0 && req->max_page < MAX_TOP ? req->max_page : PAGE, skip = 0, n;
    const uint32_t *members = folder == SIM_NONE ? mail->all : mail->folder[folder].members;
    size_t n_members = folder == SIM_NONE ? mail->n_all : mail->folder[folder].n_members;
    struct list l;
    unsigned unknown;
    uint64_t select = sim_select_parse(sim_param(req, "$select"), &unknown);
    uint32_t *found;
    struct sim_jw w;

    memset(&l, 0, sizeof(l));
    l.mb = req->mb;
    select &= ~SIM_BIT(SIM_P_HEADERS); /* of one message only */
    if (unknown > 0) {
        sim_answer_error(ans, 400, "RequestBroker--ParseUri",
                         "Could not find a property named in $select on type "
                         "'Microsoft.OutlookServices.Message'.");
        return;
    }
    if ((top_text != NULL && (!number(top_text, MAX_TOP, &top) || top == 0)) ||
        (skip_text != NULL && !number(skip_text, 100000000, &skip)) ||
        sim_param(req, "$search") != NULL || (filter != NULL && parse_filter(&l, filter) < 0) ||
        (orderby != NULL && parse_orderby(&l, orderby) < 0)) {
        sim_answer_error(ans, 400, "ErrorInvalidUrlQuery", "The OData request is not supported.");
        return;
    }
    if (!is_efficient(&l)) {
        sim_answer_error(ans, 400, "InefficientFilter",
                         "The restriction or sort order is too complex for this operation.");
        return;
    }
    if (folder != SIM_NONE && mail->folder[folder].search) {
        /* the only search folder: unread mail of the Inbox */
        members = mail->folder[SIM_F_INBOX].members;
        n_members = mail->folder[SIM_F_INBOX].n_members;
        if (l.n_clauses < CLAUSES)
            l.clause[l.n_clauses++] = (struct clause){.field = F_READ, .op = OP_EQ, .yes = false};
    }
    found = candidates(&l, members, n_members, &n);
    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    sim_jw_open(&w, '{');
    cs_buf_addf(&ans->body, "\"@odata.context\":\"%s/$metadata#users('%s')/messages\"", req->base,
                req->mb->id);
    w.comma = true;
    sim_jw_key(&w, "value");
    sim_jw_open(&w, '[');
    for (size_t i = skip; i < n && i < skip + top; i++) {
        sim_msg_write(req, found[i], select, false, &w);
        ans->items++;
    }
    sim_jw_close(&w, ']');
    if (skip + top < n)
        write_next(req, skip + top, &w);
    sim_jw_close(&w, '}');
    free(found);
}
