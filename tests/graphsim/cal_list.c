/* cal_list.c - lists: events, calendarView, instances; and what all requests of the calendar share. */
#include "cal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "request.h"
#include "tz.h"

#define PAGE     10
#define PAGE_MAX 1000

bool cal_view_init(struct cal_view *view, struct sim_request *req, struct sim_answer *ans)
{
    const char *name = req->timezone != NULL && *req->timezone != '\0' ? req->timezone : "UTC";
    int zone = sim_tz_find(name);
    *view = (struct cal_view){
        .mb = req->mb,
        .immutable = req->immutable_ids,
        .text_body = req->text_body,
        .zone = zone,
        .zone_name = name,
        .select = CAL_ALL,
    };
    if (zone < 0) {
        sim_answer_error(ans, 400, "ErrorInvalidTimeZone",
                         "The time zone of Prefer: outlook.timezone is not known.");
        return false;
    }
    if (req->timezone != NULL) {
        char applied[160];
        snprintf(applied, sizeof(applied), "outlook.timezone=\"%.100s\"", name);
        sim_answer_applied(ans, applied);
    }
    if (req->text_body)
        sim_answer_applied(ans, "outlook.body-content-type=\"text\"");
    return true;
}

bool cal_window(const struct sim_request *req, struct sim_answer *ans, int64_t *from_s,
                int64_t *to_s)
{
    const char *from = sim_param(req, "startDateTime"), *to = sim_param(req, "endDateTime");
    if (from == NULL || to == NULL) {
        sim_answer_error(ans, 400, "ErrorInvalidParameter",
                         "This request requires a time window specified by the query string "
                         "parameters StartDateTime and EndDateTime.");
        return false;
    }
    if (sim_time_parse(from, from_s) < 0 || sim_time_parse(to, to_s) < 0) {
        sim_answer_error(ans, 400, "ErrorInvalidParameter",
                         "The value of StartDateTime or EndDateTime is invalid.");
        return false;
    }
    if (*from_s > *to_s) {
        sim_answer_error(ans, 400, "ErrorInvalidParameter", "The end is before the start.");
        return false;
    }
    if (*to_s - *from_s > (int64_t)CAL_WINDOW_DAYS * 86400) {
        sim_answer_error(ans, 400, "ErrorCalendarViewRangeTooBig",
                         "The requested time duration specified for calendar view is too long.");
        return false;
    }
    return true;
}

/* ---- $filter ----------------------------------------------------------------------------------- */

#define CONDITIONS 6

enum what { W_START, W_END, W_TYPE, W_ICAL, W_SUBJECT, W_CANCELLED };

struct condition {
    enum what what;
    bool lt, eq, gt; /* which outcomes of the comparison do */
    char text[256];
    int64_t s;
};

struct query {
    struct condition cond[CONDITIONS];
    size_t n_cond;
    int order; /* 0: as stored, 1: start, 2: modified, 3: subject */
    bool descending;
    size_t skip, top;
};

static const char *word(const char *p, char *out, size_t size)
{
    size_t n = 0;
    p += strspn(p, " ");
    bool quoted = *p == '\'';
    if (quoted)
        p++;
    while (*p != '\0') {
        if (quoted && *p == '\'') {
            if (p[1] != '\'')
                break;
            p++; /* a doubled quote is one */
        } else if (!quoted && *p == ' ') {
            break;
        }
        if (n + 1 >= size)
            return NULL;
        out[n++] = *p++;
    }
    out[n] = '\0';
    if (quoted) {
        if (*p != '\'')
            return NULL;
        p++;
    }
    return p;
}

static const char *parse_condition(const char *p, struct condition *c)
{
    static const char *const names[] = {"start/dateTime", "end/dateTime", "type",
                                        "iCalUId",        "subject",      "isCancelled"};
    char name[32], op[8];
    int what = 0;

    memset(c, 0, sizeof(*c));
    p = word(p, name, sizeof(name));
    p = p != NULL ? word(p, op, sizeof(op)) : NULL;
    p = p != NULL ? word(p, c->text, sizeof(c->text)) : NULL;
    if (p == NULL)
        return NULL;
    while (what < 6 && strcasecmp(names[what], name) != 0)
        what++;
    if (what == 6)
        return NULL;
    c->what = (enum what)what;
    c->eq = strcmp(op, "eq") == 0 || strcmp(op, "ge") == 0 || strcmp(op, "le") == 0;
    c->gt = strcmp(op, "gt") == 0 || strcmp(op, "ge") == 0 || strcmp(op, "ne") == 0;
    c->lt = strcmp(op, "lt") == 0 || strcmp(op, "le") == 0 || strcmp(op, "ne") == 0;
    if (!c->eq && !c->gt && !c->lt)
        return NULL;
    if (c->what <= W_END && sim_time_parse(c->text, &c->s) < 0)
        return NULL;
    return p;
}

static bool parse_filter(const char *p, struct query *q)
{
    char joint[8];
    for (;;) {
        if (q->n_cond == CONDITIONS)
            return false;
        p = parse_condition(p, &q->cond[q->n_cond]);
        if (p == NULL)
            return false;
        q->n_cond++;
        p += strspn(p, " ");
        if (*p == '\0')
            return true;
        p = word(p, joint, sizeof(joint));
        if (p == NULL || strcasecmp(joint, "and") != 0)
            return false;
    }
}

static bool parse_order(const char *text, struct query *q)
{
    static const char *const names[] = {"start/dateTime", "lastModifiedDateTime", "subject"};
    char name[32], way[8] = "";
    const char *p = word(text, name, sizeof(name));
    p = p != NULL ? word(p, way, sizeof(way)) : NULL;
    if (p == NULL || *p != '\0' ||
        (*way != '\0' && strcasecmp(way, "asc") != 0 && strcasecmp(way, "desc") != 0))
        return false;
    for (int i = 0; i < 3; i++) {
        if (strcasecmp(names[i], name) == 0)
            q->order = i + 1;
    }
    q->descending = strcasecmp(way, "desc") == 0;
    return q->order != 0;
}

static bool fits(const struct query *q, const struct sim_mailbox *mb, const struct cal_instance *i)
{
    const struct cal_fields *f = i->ex != NULL ? &i->ex->f : &i->v->f;
    for (size_t k = 0; k < q->n_cond; k++) {
        const struct condition *c = &q->cond[k];
        int64_t diff = 0;
        switch (c->what) {
        case W_START: diff = i->start_s - c->s; break;
        case W_END: diff = i->end_s - c->s; break;
        case W_TYPE: diff = strcasecmp(cal_type_name(i->v, i->ex, i->day), c->text); break;
        case W_SUBJECT: diff = strcmp(f->subject, c->text); break;
        case W_CANCELLED: diff = strcasecmp(f->is_cancelled ? "true" : "false", c->text); break;
        case W_ICAL: {
            struct cs_buf b;
            struct sim_jw w;
            struct cal_view view = {.mb = mb, .zone_name = "UTC", .select = CAL_BIT(CAL_P_ICAL)};
            char needle[300];
            cs_buf_init(&b, 0);
            sim_jw_init(&w, &b, 0);
            cal_write_instance(&view, i, &w);
            snprintf(needle, sizeof(needle), "\"iCalUId\":\"%.200s\"", c->text);
            diff = strstr(b.data, needle) == NULL;
            cs_buf_clear(&b);
            break;
        }
        }
        if (!(diff < 0 ? c->lt : diff > 0 ? c->gt : c->eq))
            return false;
    }
    return true;
}

/* ---- a list ------------------------------------------------------------------------------------ */

struct row {
    struct cal_instance i;
    int64_t key;
    const char *text;
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int r = x->text != NULL ? strcmp(x->text, y->text) : x->key < y->key ? -1 : x->key > y->key;
    if (r != 0)
        return r;
    if (x->i.event != y->i.event)
        return x->i.event < y->i.event ? -1 : 1;
    return x->i.day < y->i.day ? -1 : x->i.day > y->i.day;
}

static bool read_query(struct sim_request *req, struct sim_answer *ans, struct cal_view *view,
                       struct query *q)
{
    const char *text;
    bool unknown;

    memset(q, 0, sizeof(*q));
    if (!cal_view_init(view, req, ans))
        return false;
    view->select = cal_select(sim_param(req, "$select"), &unknown);
    if (unknown) {
        sim_answer_error(ans, 400, "RequestBroker--ParseUri",
                         "Could not find a property named in $select.");
        return false;
    }
    text = sim_param(req, "$filter");
    if (text != NULL && !parse_filter(text, q)) {
        sim_answer_error(ans, 400, "ErrorInvalidUrlQuery", "The $filter is not supported.");
        return false;
    }
    text = sim_param(req, "$orderby");
    if (text != NULL && !parse_order(text, q)) {
        sim_answer_error(ans, 400, "ErrorInvalidUrlQuery", "The $orderby is not supported.");
        return false;
    }
    text = sim_param(req, "$expand");
    view->expand_exceptions = text != NULL && strcasecmp(text, "exceptionOccurrences") == 0;
    text = sim_param(req, "$skip");
    q->skip = text != NULL ? (size_t)strtoul(text, NULL, 10) : 0;
    text = sim_param(req, "$top");
    q->top = text != NULL        ? (size_t)strtoul(text, NULL, 10)
             : req->max_page > 0 ? req->max_page
                                 : PAGE;
    if (q->top < 1 || q->top > PAGE_MAX) {
        if (text != NULL) {
            sim_answer_error(ans, 400, "ErrorInvalidUrlQueryOption",
                             "The value of $top is out of range.");
            return false;
        }
        q->top = PAGE_MAX;
    }
    return true;
}

/* The same query with another $skip. */
static void write_next(const struct sim_request *req, const char *path, size_t skip,
                       struct sim_jw *w)
{
    struct cs_buf url;
    char mark = '?';

    cs_buf_init(&url, 0);
    cs_buf_addf(&url, "%s%s", req->base, path);
    for (size_t i = 0; i < req->n_params; i++) {
        if (strcasecmp(req->param[i].name, "$skip") == 0)
            continue;
        cs_buf_addc(&url, mark);
        sim_url_encode(&url, req->param[i].name);
        cs_buf_addc(&url, '=');
        sim_url_encode(&url, req->param[i].value);
        mark = '&';
    }
    cs_buf_addf(&url, "%c$skip=%zu", mark, skip);
    sim_jw_kstr(w, "@odata.nextLink", url.data);
    cs_buf_clear(&url);
}

static void answer_list(struct sim_request *req, struct sim_answer *ans,
                        const struct cal_view *view, const struct query *q,
                        struct cal_instances *list, int order, const char *path)
{
    struct row *row = sim_alloc(list->n, sizeof(*row));
    size_t n = 0, at;
    struct sim_jw w;

    for (size_t k = 0; k < list->n; k++) {
        const struct cal_instance *i = &list->at[k];
        if (!fits(q, req->mb, i))
            continue;
        row[n].i = *i;
        row[n].key = order == 1   ? i->start_s
                     : order == 2 ? (i->ex != NULL ? i->ex->modified_ms : i->v->at_ms)
                                  : (int64_t)k;
        row[n].text = order == 3 ? (i->ex != NULL ? i->ex->f.subject : i->v->f.subject) : NULL;
        n++;
    }
    qsort(row, n, sizeof(*row), compare_rows);
    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    sim_jw_open(&w, '{');
    cs_buf_addf(&ans->body, "\"@odata.context\":\"%s/$metadata#users('%s')/events\"", req->base,
                req->mb->id);
    w.comma = true;
    sim_jw_key(&w, "value");
    sim_jw_open(&w, '[');
    for (at = q->skip; at < n && ans->items < q->top; at++) {
        cal_write_instance(view, &row[q->descending ? n - 1 - at : at].i, &w);
        ans->items++;
    }
    sim_jw_close(&w, ']');
    if (at < n)
        write_next(req, path, at, &w);
    sim_jw_close(&w, '}');
    free(row);
}

void cal_list_events(struct sim_request *req, struct sim_answer *ans, uint32_t calendar,
                     const char *path)
{
    const struct sim_calendar *c = req->mb->calendar;
    struct cal_instances list = {0};
    struct cal_view view;
    struct query q;

    if (!read_query(req, ans, &view, &q))
        return;
    for (uint32_t e = 0; e < c->n_events; e++) {
        const struct cal_version *v = cal_now(c, e);
        if (v->gone || v->calendar != calendar)
            continue;
        SIM_PUSH(list.at, list.n, list.cap);
        list.at[list.n++] = (struct cal_instance){.event = e,
                                                  .v = v,
                                                  .day = CAL_NO_DAY,
                                                  .start_s = sim_tz_utc_s(v->zone, v->start_s),
                                                  .end_s = sim_tz_utc_s(v->end_zone, v->end_s)};
    }
    answer_list(req, ans, &view, &q, &list, q.order, path);
    cal_instances_clear(&list);
}

void cal_list_view(struct sim_request *req, struct sim_answer *ans, uint32_t calendar,
                   const char *path)
{
    const struct sim_calendar *c = req->mb->calendar;
    struct cal_instances list = {0};
    struct cal_view view;
    struct query q;
    int64_t from_s, to_s;

    if (!cal_window(req, ans, &from_s, &to_s) || !read_query(req, ans, &view, &q))
        return;
    if (sim_param(req, "$select") != NULL) /* not supported there: left out without a word */
        view.select &= ~(CAL_BIT(CAL_P_CREATED) | CAL_BIT(CAL_P_MODIFIED));
    for (uint32_t e = 0; e < c->n_events; e++) {
        const struct cal_version *v = cal_now(c, e);
        if (v->calendar == calendar)
            cal_collect(e, v, from_s, to_s, &list);
    }
    answer_list(req, ans, &view, &q, &list, q.order != 0 ? q.order : 1, path);
    cal_instances_clear(&list);
}

void cal_list_instances(struct sim_request *req, struct sim_answer *ans, uint32_t event,
                        const char *path)
{
    struct cal_instances list = {0};
    struct cal_view view;
    struct query q;
    int64_t from_s, to_s;
    const struct cal_version *v = cal_now(req->mb->calendar, event);

    if (!cal_window(req, ans, &from_s, &to_s) || !read_query(req, ans, &view, &q))
        return;
    if (!v->is_series) {
        sim_answer_error(ans, 400, "ErrorInvalidRequest",
                         "Your request can't be completed. Only a recurring master has instances.");
        return;
    }
    cal_collect(event, v, from_s, to_s, &list);
    answer_list(req, ans, &view, &q, &list, q.order != 0 ? q.order : 1, path);
    cal_instances_clear(&list);
}
