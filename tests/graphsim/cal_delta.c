/* cal_delta.c - calendarView/delta.
 *
 * A round first walks the calendar, then reads the log from where it stood when the walk began; later
 * rounds only read the log. All that a round needs is in its token, the window included; the service keeps
 * nothing. A series is written as a whole: its master, the exceptions in the window with all their
 * properties, and a stub for each other occurrence in the window; it is never split across pages.
 */
#include "cal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tz.h"

#define PAGE     10
#define PAGE_MAX 1000

struct token {
    int64_t from_s, to_s;
    uint64_t log_at;  /* next entry of the log */
    uint32_t walk_at; /* next event of the walk */
    uint32_t mailbox, calendar;
    uint32_t gen;
    uint32_t nonce;
    uint8_t what; /* 'V' */
    uint8_t walking;
    uint8_t is_delta;
    uint8_t was_empty;
};

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

/* How far the log has been replicated. */
static size_t visible(const struct sim_calendar *c, int64_t now_ms, size_t from)
{
    size_t n = from;
    while (n < c->n_log && c->log[n].visible_ms <= now_ms)
        n++;
    return n;
}

static bool first_token(struct sim_request *req, struct sim_answer *ans, uint32_t calendar,
                        struct token *t)
{
    static const char *const refused[] = {"$select", "$expand", "$filter", "$orderby", "$search"};
    const struct sim_calendar *c = req->mb->calendar;
    int64_t now_ms = sim_now_ms(req->sim);

    memset(t, 0, sizeof(*t));
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        if (sim_param(req, refused[i]) != NULL) {
            sim_answer_error(
                ans, 400, "ErrorInvalidUrlQuery",
                "The following parameters are not supported with change tracking over the "
                "'CalendarView' resource: '$orderby, $filter, $select, $expand, $search'.");
            return false;
        }
    }
    if (!cal_window(req, ans, &t->from_s, &t->to_s))
        return false;
    t->what = 'V';
    t->walking = 1;
    t->mailbox = req->mb->index;
    t->calendar = calendar;
    t->gen = req->mb->calendar_gen.current;
    t->log_at = c->n_log;
    /* what is not replicated yet will be told again by a later round */
    while (t->log_at > 0 && c->log[t->log_at - 1].visible_ms > now_ms)
        t->log_at--;
    return true;
}

static bool next_token(struct sim_request *req, struct sim_answer *ans, uint32_t calendar,
                       const char *text, struct token *t)
{
    static const char *const only_first[] = {"$select", "$filter",       "$orderby",   "$top",
                                             "$expand", "startDateTime", "endDateTime"};

    for (size_t i = 0; i < sizeof(only_first) / sizeof(*only_first); i++) {
        if (sim_param(req, only_first[i]) != NULL) {
            sim_answer_error(ans, 400, "BadRequest",
                             "Query options cannot be combined with a delta token.");
            return false;
        }
    }
    if (sim_token_open(req->sim, text, t, sizeof(*t)) != (int)sizeof(*t) || t->what != 'V' ||
        t->mailbox != req->mb->index || t->calendar != calendar ||
        t->log_at > req->mb->calendar->n_log) {
        sim_answer_error(ans, 400, "SyncStateInvalid", "The sync state is invalid.");
        return false;
    }
    return true;
}

/* ---- one unit: a single event or a series, with all that a client has to be told about it ------ */

static size_t write_removed(const struct cal_view *view, uint32_t event,
                            const struct cal_version *v, int32_t day, struct sim_jw *w)
{
    char id[SIM_ID_MAX];
    cal_format_id(view->mb, event, v, day, view->immutable, id);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "@odata.type", "#microsoft.graph.event");
    sim_jw_kstr(w, "id", id);
    sim_jw_key(w, "@removed");
    sim_jw_raw(w, "{\"reason\":\"deleted\"}");
    sim_jw_close(w, '}');
    return 1;
}

static bool in_calendar(const struct cal_version *v, const struct token *t)
{
    return v != NULL && !v->gone && v->calendar == t->calendar;
}

static size_t write_present(const struct cal_view *view, const struct token *t, uint32_t event,
                            const struct cal_version *v, struct sim_jw *w)
{
    struct cal_instances list = {0};
    /* the order inside a series is not promised: half of the masters come behind their occurrences */
    bool master_last = sim_hash(view->mb->seed, event) % 2 == 0;

    cal_collect(event, v, t->from_s, t->to_s, &list);
    if (v->is_series && !master_last)
        cal_write_event(view, event, v, w);
    for (size_t k = 0; k < list.n; k++) {
        const struct cal_instance *i = &list.at[k];
        if (i->day != CAL_NO_DAY && i->ex == NULL)
            cal_write_stub(view, i, w);
        else
            cal_write_instance(view, i, w);
    }
    if (v->is_series && master_last)
        cal_write_event(view, event, v, w);
    size_t n = list.n + (v->is_series ? 1 : 0);
    cal_instances_clear(&list);
    return n;
}

/* Occurrences that the client may have and that are no longer in the window. One that was moved out of it
 * is always told; one that was cancelled, or whose pattern changed, only in the variant that is not silent. */
static size_t write_lost(const struct cal_view *view, const struct token *t, uint32_t event,
                         const struct cal_version *old, const struct cal_version *v,
                         struct sim_jw *w)
{
    struct cal_instances had = {0};
    size_t n = 0;

    if (!in_calendar(old, t) || !old->is_series)
        return 0;
    cal_collect(event, old, t->from_s, t->to_s, &had);
    for (size_t k = 0; k < had.n; k++) {
        struct cal_instance i;
        bool alive = in_calendar(v, t) && cal_instance_of(event, v, had.at[k].day, &i);
        if (alive && cal_is_inside(&i, t->from_s, t->to_s))
            continue;
        if (!view->mb->sim->v.occurrence_delete_silent || (alive && i.ex != NULL))
            n += write_removed(view, event, in_calendar(v, t) ? v : old, had.at[k].day, w);
    }
    cal_instances_clear(&had);
    return n;
}

static size_t write_walk(struct sim_request *req, const struct cal_view *view, struct token *t,
                         size_t max, struct sim_jw *w)
{
    const struct sim_calendar *c = req->mb->calendar;
    size_t n = 0;

    while (t->walk_at < c->n_events && n < max) {
        const struct cal_version *v = cal_now(c, t->walk_at);
        if (in_calendar(v, t) && cal_overlaps(t->walk_at, v, t->from_s, t->to_s))
            n += write_present(view, t, t->walk_at, v, w);
        t->walk_at++;
    }
    if (t->walk_at == c->n_events)
        t->walking = 0;
    return n;
}

/* old: what a client has that was told everything up to the token. */
static size_t write_change(struct sim_request *req, const struct cal_view *view,
                           const struct token *t, uint32_t event, struct sim_jw *w)
{
    const struct sim_calendar *c = req->mb->calendar;
    const struct cal_version *old = cal_at(c, event, (size_t)t->log_at), *v = cal_now(c, event);
    size_t n = 0;

    if (in_calendar(v, t) && cal_overlaps(event, v, t->from_s, t->to_s)) {
        if (v->is_series)
            n += write_lost(view, t, event, old, v, w);
        return n + write_present(view, t, event, v, w);
    }
    if (!in_calendar(old, t) && !in_calendar(v, t)) {
        /* another calendar's, or it came and went between two rounds */
        bool was_here = v->calendar == t->calendar;
        if (!was_here || sim_hash(req->mb->seed ^ event, c->n_log) % 100 < req->sim->v.collapse)
            return 0;
    }
    n += write_lost(view, t, event, old, v, w);
    /* a move to another calendar changes the mutable id; the client knows the one that it had here */
    return n + write_removed(view, event, in_calendar(old, t) ? old : v, CAL_NO_DAY, w);
}

/* An event is written at its first entry that the page reaches; more of its entries say nothing new. */
static size_t write_log(struct sim_request *req, const struct cal_view *view, struct token *t,
                        size_t end, size_t max, struct sim_jw *w)
{
    const struct sim_calendar *c = req->mb->calendar;
    size_t begin = (size_t)t->log_at, n = 0;
    struct token before = *t; /* all units of a page compare with what was told before the page */

    while (t->log_at < end && n < max) {
        uint32_t event = c->log[t->log_at].event;
        bool done = false;
        for (size_t k = begin; k < t->log_at && !done; k++)
            done = c->log[k].event == event;
        if (!done || sim_rng_below(&req->rng, 100) < req->sim->v.repeat)
            n += write_change(req, view, &before, event, w);
        t->log_at++;
    }
    return n;
}

static size_t page_size(struct sim_request *req)
{
    size_t n = req->max_page > 0 ? req->max_page : PAGE;
    if (n > PAGE_MAX)
        n = PAGE_MAX;
    if (n > 1 && sim_rng_below(&req->rng, 100) < req->sim->v.short_page)
        n = n / 2 + sim_rng_below(&req->rng, n / 2 + 1);
    return n > 0 ? n : 1;
}

void cal_delta(struct sim_request *req, struct sim_answer *ans, uint32_t calendar, const char *path)
{
    struct sim_calendar *c = req->mb->calendar;
    const char *skip = sim_param(req, "$skiptoken"), *delta = sim_param(req, "$deltatoken");
    const char *text = skip != NULL && *skip != '\0' ? skip : delta;
    struct cal_view view;
    struct token t;
    struct sim_jw w;

    if (!cal_view_init(&view, req, ans))
        return;
    view.type_first = true;
    if (text != NULL && *text != '\0' ? !next_token(req, ans, calendar, text, &t)
                                      : !first_token(req, ans, calendar, &t))
        return;
    /* below the floor versions are gone that a round would have to compare with */
    uint32_t gen = t.log_at < c->log_floor && req->mb->calendar_gen.lowest > 0
                       ? req->mb->calendar_gen.lowest - 1
                       : t.gen;
    if (!sim_delta_alive(req, ans, &req->mb->calendar_gen, gen, path))
        return;
    t.gen = req->mb->calendar_gen.current;

    size_t end = visible(c, sim_now_ms(req->sim), (size_t)t.log_at), at_start = (size_t)t.log_at,
           page = page_size(req), n = 0;
    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    sim_jw_open(&w, '{');
    cs_buf_addf(&ans->body, "\"@odata.context\":\"%s/$metadata#Collection(event)\"", req->base);
    w.comma = true;
    sim_jw_key(&w, "value");
    sim_jw_open(&w, '[');
    if (!t.was_empty && (t.walking || end > at_start) &&
        sim_rng_below(&req->rng, 100) < req->sim->v.empty_page) {
        t.was_empty = 1; /* an empty page, and the next one is not */
    } else {
        t.was_empty = 0;
        if (t.walking)
            n = write_walk(req, &view, &t, page, &w);
        if (!t.walking && n < page)
            n += write_log(req, &view, &t, end, page - n, &w);
    }
    ans->items = n;
    sim_jw_close(&w, ']');
    bool was_delta = t.is_delta != 0;
    t.is_delta = !t.walking && t.log_at == end && !t.was_empty;
    if (was_delta && t.is_delta && at_start == end && delta != NULL &&
        sim_hash(req->mb->seed, t.log_at) % 100 < req->sim->v.same_link) {
        struct cs_buf url; /* the same link again, byte for byte */
        cs_buf_init(&url, 0);
        cs_buf_addf(&url, "%s%s?$deltatoken=%s", req->base, path, delta);
        sim_jw_kstr(&w, "@odata.deltaLink", url.data);
        cs_buf_clear(&url);
    } else {
        t.nonce = (uint32_t)sim_rng_next(&req->rng);
        write_link(req, path, &t, &w);
    }
    sim_jw_close(&w, '}');
    sim_answer_applied(ans, "odata.track-changes");
}
