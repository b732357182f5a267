/* cal_store.c - events as versions, and what of them takes place when. */
#include "cal.h"

#include <stdlib.h>
#include <string.h>

#include "tz.h"

/* ---- fields ------------------------------------------------------------------------------------ */

void cal_set(char **where, const char *text)
{
    char *copy = text != NULL ? sim_strdup(text) : NULL;
    free(*where);
    *where = copy;
}

void cal_fields_clear(struct cal_fields *f)
{
    free(f->subject);
    free(f->html);
    free(f->location);
    free(f->location_address);
    free(f->organizer.name);
    free(f->organizer.address);
    for (size_t i = 0; i < f->n_attendees; i++) {
        free(f->attendee[i].who.name);
        free(f->attendee[i].who.address);
    }
    free(f->attendee);
    for (size_t i = 0; i < f->n_categories; i++)
        free(f->category[i]);
    free(f->category);
    memset(f, 0, sizeof(*f));
}

static char *copy_of(const char *s)
{
    return s != NULL ? sim_strdup(s) : NULL;
}

void cal_fields_copy(struct cal_fields *to, const struct cal_fields *from)
{
    *to = *from;
    to->subject = copy_of(from->subject);
    to->html = copy_of(from->html);
    to->location = copy_of(from->location);
    to->location_address = copy_of(from->location_address);
    to->organizer.name = copy_of(from->organizer.name);
    to->organizer.address = copy_of(from->organizer.address);
    to->attendee = sim_alloc(from->n_attendees, sizeof(*to->attendee));
    for (size_t i = 0; i < from->n_attendees; i++) {
        to->attendee[i] = from->attendee[i];
        to->attendee[i].who.name = copy_of(from->attendee[i].who.name);
        to->attendee[i].who.address = copy_of(from->attendee[i].who.address);
    }
    to->category = sim_alloc(from->n_categories, sizeof(*to->category));
    for (size_t i = 0; i < from->n_categories; i++)
        to->category[i] = copy_of(from->category[i]);
}

void cal_add_attendee(struct cal_fields *f, const char *name, const char *address,
                      enum cal_attendee_type type, enum cal_response response, int64_t response_ms)
{
    if (f->n_attendees == CAL_ATTENDEES)
        return;
    f->attendee = sim_grow(f->attendee, f->n_attendees + 1, sizeof(*f->attendee));
    f->attendee[f->n_attendees++] =
        (struct cal_attendee){.who = {sim_strdup(name), sim_strdup(address)},
                              .type = type,
                              .response = response,
                              .response_ms = response_ms};
}

void cal_add_category(struct cal_fields *f, const char *name)
{
    f->category = sim_grow(f->category, f->n_categories + 1, sizeof(*f->category));
    f->category[f->n_categories++] = sim_strdup(name);
}

/* ---- versions ---------------------------------------------------------------------------------- */

static void version_clear(struct cal_version *v)
{
    cal_fields_clear(&v->f);
    cal_drop_exceptions(v);
}

void cal_drop_exceptions(struct cal_version *v)
{
    for (size_t i = 0; i < v->n_ex; i++)
        cal_fields_clear(&v->ex[i].f);
    free(v->ex);
    free(v->cancelled);
    v->ex = NULL;
    v->cancelled = NULL;
    v->n_ex = v->n_cancelled = 0;
}

static void version_copy(struct cal_version *to, const struct cal_version *from)
{
    *to = *from;
    cal_fields_copy(&to->f, &from->f);
    to->cancelled = sim_alloc(from->n_cancelled, sizeof(*to->cancelled));
    if (from->n_cancelled > 0)
        memcpy(to->cancelled, from->cancelled, from->n_cancelled * sizeof(*to->cancelled));
    to->ex = sim_alloc(from->n_ex, sizeof(*to->ex));
    for (size_t i = 0; i < from->n_ex; i++) {
        to->ex[i] = from->ex[i];
        cal_fields_copy(&to->ex[i].f, &from->ex[i].f);
    }
}

static struct cal_version *push_version(struct cal_event *e)
{
    if (e->n_ver == e->cap_ver) { /* most events never have a second one */
        e->cap_ver = e->cap_ver == 0 ? 1 : e->cap_ver * 2;
        e->ver = sim_grow(e->ver, e->cap_ver, sizeof(*e->ver));
    }
    struct cal_version *v = &e->ver[e->n_ver++];
    memset(v, 0, sizeof(*v));
    return v;
}

struct cal_version *cal_draft_new(struct sim_mailbox *mb, uint64_t seed, uint32_t *event)
{
    struct sim_calendar *c = mb->calendar;
    SIM_PUSH(c->event, c->n_events, c->cap_events);
    *event = (uint32_t)c->n_events;
    struct cal_event *e = &c->event[c->n_events++];
    memset(e, 0, sizeof(*e));
    e->seed = seed;
    e->created_ms = sim_now_ms(mb->sim);
    struct cal_version *v = push_version(e);
    v->zone = v->end_zone = c->home_zone;
    v->f.subject = sim_strdup("");
    v->f.location = sim_strdup("");
    v->f.organizer.name = sim_strdup(mb->name);
    v->f.organizer.address = sim_strdup(mb->address);
    v->f.importance = 1;
    v->f.show = CAL_BUSY;
    v->f.is_organizer = true;
    v->f.is_reminder = true;
    v->f.response = CAL_ORGANIZER;
    v->f.response_ms = CAL_NEVER_MS;
    v->f.body_seed = seed;
    return v;
}

struct cal_version *cal_draft(struct sim_mailbox *mb, uint32_t event)
{
    struct cal_event *e = &mb->calendar->event[event];
    if (e->ver[e->n_ver - 1].gone)
        return NULL;
    struct cal_version *v = push_version(e);
    version_copy(v, &e->ver[e->n_ver - 2]);
    return v;
}

void cal_abandon(struct sim_mailbox *mb, uint32_t event)
{
    struct sim_calendar *c = mb->calendar;
    struct cal_event *e = &c->event[event];
    version_clear(&e->ver[--e->n_ver]);
    if (e->n_ver == 0) { /* it was a new one */
        free(e->ver);
        free(e->ical);
        c->n_events--;
    }
}

/* Old versions are only for delta rounds; tokens from before the oldest one kept are dead. */
static void drop_oldest(struct sim_calendar *c, struct cal_event *e)
{
    version_clear(&e->ver[0]);
    memmove(&e->ver[0], &e->ver[1], (e->n_ver - 1) * sizeof(*e->ver));
    e->n_ver--;
    if (e->ver[0].log_at > c->log_floor)
        c->log_floor = e->ver[0].log_at;
}

void cal_commit(struct sim_mailbox *mb, uint32_t event, int32_t day, const char *op)
{
    struct sim_calendar *c = mb->calendar;
    struct cal_event *e = &c->event[event];
    struct cal_version *v = &e->ver[e->n_ver - 1];
    int64_t late_ms = mb->sim->v.replica_ms;

    v->seq = sim_next_seq(mb);
    v->at_ms = sim_now_ms(mb->sim);
    SIM_PUSH(c->log, c->n_log, c->cap_log);
    c->log[c->n_log++] = (struct cal_entry){
        .seq = v->seq,
        .at_ms = v->at_ms,
        .visible_ms = v->at_ms +
                      (late_ms > 0 ? (int64_t)(sim_hash(mb->seed, v->seq) % (uint64_t)late_ms) : 0),
        .event = event,
        .day = day,
        .op = op,
    };
    v->log_at = c->n_log;
    struct cal_exception *ex = day != CAL_NO_DAY ? cal_find_exception(v, day) : NULL;
    if (ex != NULL) {
        ex->seq = v->seq;
        ex->modified_ms = v->at_ms;
    }
    if (e->n_ver > CAL_VERSIONS)
        drop_oldest(c, e);
}

void cal_commit_initial(struct sim_mailbox *mb, uint32_t event, int64_t at_ms)
{
    struct cal_event *e = &mb->calendar->event[event];
    struct cal_version *v = &e->ver[e->n_ver - 1];
    v->seq = sim_next_seq(mb);
    v->at_ms = at_ms;
    for (size_t i = 0; i < v->n_ex; i++) {
        v->ex[i].seq = v->seq;
        v->ex[i].modified_ms = at_ms;
    }
}

const struct cal_version *cal_now(const struct sim_calendar *c, uint32_t event)
{
    const struct cal_event *e = &c->event[event];
    return &e->ver[e->n_ver - 1];
}

const struct cal_version *cal_at(const struct sim_calendar *c, uint32_t event, size_t log_at)
{
    const struct cal_event *e = &c->event[event];
    for (size_t i = e->n_ver; i-- > 0;) {
        if (e->ver[i].log_at <= log_at)
            return &e->ver[i];
    }
    return NULL;
}

/* ---- exceptions -------------------------------------------------------------------------------- */

struct cal_exception *cal_find_exception(const struct cal_version *v, int32_t day)
{
    for (size_t i = 0; i < v->n_ex; i++) {
        if (v->ex[i].day == day)
            return &v->ex[i];
    }
    return NULL;
}

bool cal_is_cancelled_day(const struct cal_version *v, int32_t day)
{
    for (size_t i = 0; i < v->n_cancelled; i++) {
        if (v->cancelled[i] == day)
            return true;
    }
    return false;
}

/* Start and end of a day's occurrence, as wall clock. The end is a wall clock time as well: a meeting
 * over a change of the clocks is an hour longer or shorter (MS-OXOCAL, StartTimeOffset and EndTimeOffset). */
static int64_t day_start_s(const struct cal_version *v, int32_t day)
{
    int64_t of_day = v->start_s - (int64_t)sim_day_of_s(v->start_s) * 86400;
    return (int64_t)day * 86400 + of_day;
}

struct cal_exception *cal_need_exception(struct cal_version *v, int32_t day, uint64_t seq,
                                         int64_t now_ms)
{
    struct cal_exception *found = cal_find_exception(v, day);
    size_t at = 0;
    if (found != NULL)
        return found;
    if (!v->is_series || cal_is_cancelled_day(v, day) || !sim_recur_has(&v->recur, day) ||
        v->n_ex == CAL_EXCEPTIONS)
        return NULL;
    v->ex = sim_grow(v->ex, v->n_ex + 1, sizeof(*v->ex));
    while (at < v->n_ex && v->ex[at].day < day)
        at++;
    memmove(&v->ex[at + 1], &v->ex[at], (v->n_ex - at) * sizeof(*v->ex));
    v->n_ex++;
    struct cal_exception *ex = &v->ex[at];
    ex->day = day;
    ex->start_s = day_start_s(v, day);
    ex->end_s = ex->start_s + (v->end_s - v->start_s);
    ex->seq = seq;
    ex->modified_ms = now_ms;
    cal_fields_copy(&ex->f, &v->f);
    return ex;
}

bool cal_cancel_day(struct cal_version *v, int32_t day)
{
    size_t at = 0;
    if (!v->is_series || cal_is_cancelled_day(v, day) || !sim_recur_has(&v->recur, day) ||
        v->n_cancelled == CAL_EXCEPTIONS)
        return false;
    struct cal_exception *ex = cal_find_exception(v, day);
    if (ex != NULL) {
        size_t i = (size_t)(ex - v->ex);
        cal_fields_clear(&ex->f);
        memmove(&v->ex[i], &v->ex[i + 1], (v->n_ex - i - 1) * sizeof(*v->ex));
        v->n_ex--;
    }
    v->cancelled = sim_grow(v->cancelled, v->n_cancelled + 1, sizeof(*v->cancelled));
    while (at < v->n_cancelled && v->cancelled[at] < day)
        at++;
    memmove(&v->cancelled[at + 1], &v->cancelled[at],
            (v->n_cancelled - at) * sizeof(*v->cancelled));
    v->cancelled[at] = day;
    v->n_cancelled++;
    return true;
}

/* ---- instances --------------------------------------------------------------------------------- */

void cal_instances_clear(struct cal_instances *list)
{
    free(list->at);
    memset(list, 0, sizeof(*list));
}

/* Both ends open; what has no length counts by its start. */
bool cal_is_inside(const struct cal_instance *i, int64_t from_s, int64_t to_s)
{
    return i->start_s < to_s && (i->end_s > from_s || i->start_s >= from_s);
}

static void single_instance(uint32_t event, const struct cal_version *v, struct cal_instance *ret)
{
    *ret = (struct cal_instance){
        .event = event,
        .v = v,
        .day = CAL_NO_DAY,
        .start_s = sim_tz_utc_s(v->zone, v->start_s),
        .end_s = sim_tz_utc_s(v->end_zone, v->end_s),
    };
    if (ret->end_s < ret->start_s) /* only where a start in a gap was put behind its end */
        ret->end_s = ret->start_s;
}

static void series_instance(uint32_t event, const struct cal_version *v, int32_t day,
                            const struct cal_exception *ex, struct cal_instance *ret)
{
    int64_t original = day_start_s(v, day);
    int64_t start = ex != NULL ? ex->start_s : original;
    int64_t end = ex != NULL ? ex->end_s : original + (v->end_s - v->start_s);
    *ret = (struct cal_instance){
        .event = event,
        .v = v,
        .ex = ex,
        .day = day,
        .start_s = sim_tz_utc_s(v->zone, start),
        .end_s = sim_tz_utc_s(v->zone, end),
        .original_s = sim_tz_utc_s(v->zone, original),
    };
    if (ret->end_s < ret->start_s)
        ret->end_s = ret->start_s;
}

bool cal_instance_of(uint32_t event, const struct cal_version *v, int32_t day,
                     struct cal_instance *ret)
{
    if (!v->is_series || cal_is_cancelled_day(v, day) || !sim_recur_has(&v->recur, day))
        return false;
    series_instance(event, v, day, cal_find_exception(v, day), ret);
    return true;
}

/* Walks what is inside the window; stops at the first if out is NULL. */
static bool walk(uint32_t event, const struct cal_version *v, int64_t from_s, int64_t to_s,
                 struct cal_instances *out)
{
    struct cal_instance i;
    bool any = false;

    if (v->gone)
        return false;
    if (!v->is_series) {
        single_instance(event, v, &i);
        if (!cal_is_inside(&i, from_s, to_s))
            return false;
        if (out != NULL) {
            SIM_PUSH(out->at, out->n, out->cap);
            out->at[out->n++] = i;
        }
        return true;
    }
    struct sim_recur_iter it;
    int32_t day;
    size_t next_ex = 0;
    /* an exception may lie anywhere, so days beyond the window are walked as long as exceptions follow */
    sim_recur_begin(&it, &v->recur);
    while (sim_recur_next(&it, &day)) {
        while (next_ex < v->n_ex && v->ex[next_ex].day < day)
            next_ex++;
        const struct cal_exception *ex =
            next_ex < v->n_ex && v->ex[next_ex].day == day ? &v->ex[next_ex] : NULL;
        if (ex == NULL && next_ex == v->n_ex && (int64_t)(day - 2) * 86400 > to_s)
            break;
        if (ex == NULL && (int64_t)(day + 2) * 86400 + (v->end_s - v->start_s) < from_s)
            continue;
        if (cal_is_cancelled_day(v, day))
            continue;
        series_instance(event, v, day, ex, &i);
        if (!cal_is_inside(&i, from_s, to_s))
            continue;
        any = true;
        if (out == NULL)
            break;
        SIM_PUSH(out->at, out->n, out->cap);
        out->at[out->n++] = i;
    }
    return any;
}

void cal_collect(uint32_t event, const struct cal_version *v, int64_t from_s, int64_t to_s,
                 struct cal_instances *out)
{
    (void)walk(event, v, from_s, to_s, out); /* the answer is in the list */
}

bool cal_overlaps(uint32_t event, const struct cal_version *v, int64_t from_s, int64_t to_s)
{
    return walk(event, v, from_s, to_s, NULL);
}

/* ---- life -------------------------------------------------------------------------------------- */

void sim_calendar_init(struct sim_mailbox *mb, uint64_t seed, unsigned n_events)
{
    static const char *const homes[] = {"W. Europe Standard Time",   "Pacific Standard Time",
                                        "GMT Standard Time",         "Tokyo Standard Time",
                                        "Eastern Standard Time",     "India Standard Time",
                                        "AUS Eastern Standard Time", "Romance Standard Time"};
    struct sim_calendar *c = sim_alloc(1, sizeof(*c));
    mb->calendar = c;
    c->seed = seed;
    c->home_zone = sim_tz_find(homes[sim_hash(seed, 1) % 8]);
    c->calendar[0] = (struct cal_calendar){"Calendar", "auto", 0};
    c->calendar[1] = (struct cal_calendar){"Projekt Süd", "lightBlue", 0};
    c->calendar[2] = (struct cal_calendar){"Team holidays", "lightOrange", 1};
    cal_generate(mb, n_events);
}

void sim_calendar_clear(struct sim_mailbox *mb)
{
    struct sim_calendar *c = mb->calendar;
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n_events; i++) {
        for (size_t k = 0; k < c->event[i].n_ver; k++)
            version_clear(&c->event[i].ver[k]);
        free(c->event[i].ver);
        free(c->event[i].ical);
    }
    free(c->event);
    free(c->log);
    free(c);
    mb->calendar = NULL;
}
