/* cal_ops.c - scripted changes: exact situations for tests. */
#include "cal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "tz.h"

#define TEXT_MAX (4U << 20)

static int find_name(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcasecmp(name, names[i]) == 0)
            return i;
    }
    return -1;
}

/* ---- members of "event" ------------------------------------------------------------------------ */

/* An enum member. Absent: nothing happens. @return false: unknown name */
static bool read_enum(cs_json_val v, const char *member, const char *const *names, int n, int *ret)
{
    const char *text;
    int r = cs_json_str(v, member, 64, &text);
    if (r == -ENOENT)
        return true;
    int found = r == 0 ? find_name(text, names, n) : -1;
    if (found >= 0)
        *ret = found;
    return found >= 0;
}

static bool read_bool(cs_json_val v, const char *member, bool *ret)
{
    int r = cs_json_bool(v, member, ret);
    return r == 0 || r == -ENOENT;
}

/* {"emailAddress":{"name","address"}} or {"name","address"} or "address" */
static bool read_person(cs_json_val v, const char **name, const char **address)
{
    cs_json_val inner = cs_json_get(v, "emailAddress");
    if (cs_json_val_str(v, 300, address) == 0) {
        *name = *address;
        return true;
    }
    if (inner != NULL)
        v = inner;
    if (cs_json_str(v, "address", 300, address) < 0)
        return false;
    if (cs_json_str(v, "name", 300, name) < 0)
        *name = *address;
    return true;
}

/* "0001-01-01T00:00:00Z" is a value like any other. */
static int64_t read_response_time(cs_json_val status)
{
    const char *text;
    int64_t s;
    if (cs_json_str(status, "time", 64, &text) < 0 || sim_time_parse(text, &s) < 0 || s < 0)
        return CAL_NEVER_MS;
    return s * 1000;
}

static const char *read_attendees(cs_json_val list, struct cal_fields *f)
{
    for (size_t i = 0; i < f->n_attendees; i++) {
        cal_set(&f->attendee[i].who.name, NULL);
        cal_set(&f->attendee[i].who.address, NULL);
    }
    f->n_attendees = 0;
    if (cs_json_len(list) > CAL_ATTENDEES)
        return "more than 500 attendees";
    for (size_t i = 0; i < cs_json_len(list); i++) {
        cs_json_val a = cs_json_at(list, i), status = cs_json_get(a, "status");
        const char *name, *address;
        int type = CAL_REQUIRED, response = CAL_NONE;
        if (!read_person(a, &name, &address))
            return "an attendee needs an address";
        if (!read_enum(a, "type", cal_attendee_names, 3, &type) ||
            !read_enum(status, "response", cal_response_names, 6, &response))
            return "unknown type or response of an attendee";
        cal_add_attendee(f, name, address, (enum cal_attendee_type)type,
                         (enum cal_response)response, read_response_time(status));
    }
    return NULL;
}

static const char *read_fields(cs_json_val e, struct cal_fields *f)
{
    cs_json_val v;
    const char *text, *name;
    int n;

    if (cs_json_str(e, "subject", TEXT_MAX, &text) == 0)
        cal_set(&f->subject, text);
    if ((v = cs_json_get(e, "body")) != NULL) {
        if (cs_json_str(v, "content", TEXT_MAX, &text) < 0)
            return "body needs content";
        cal_set(&f->html, text);
        f->html_is_text =
            cs_json_str(v, "contentType", 16, &text) == 0 && strcasecmp(text, "text") == 0;
    }
    if ((v = cs_json_get(e, "location")) != NULL) {
        cal_set(&f->location, cs_json_str(v, "displayName", 1000, &text) == 0 ? text : "");
        cal_set(&f->location_address,
                cs_json_str(v, "locationEmailAddress", 300, &text) == 0 ? text : NULL);
    }
    if ((v = cs_json_get(e, "organizer")) != NULL) {
        if (!read_person(v, &name, &text))
            return "the organizer needs an address";
        cal_set(&f->organizer.name, name);
        cal_set(&f->organizer.address, text);
    }
    if ((v = cs_json_get(e, "responseStatus")) != NULL) {
        n = f->response;
        if (!read_enum(v, "response", cal_response_names, 6, &n))
            return "unknown response";
        f->response = (enum cal_response)n;
        f->response_ms = read_response_time(v);
    }
    if ((v = cs_json_get(e, "categories")) != NULL) {
        for (size_t i = 0; i < f->n_categories; i++)
            cal_set(&f->category[i], NULL);
        f->n_categories = 0;
        for (size_t i = 0; i < cs_json_len(v) && i < 100; i++) {
            if (cs_json_val_str(cs_json_at(v, i), 255, &text) == 0)
                cal_add_category(f, text);
        }
    }
    n = f->sensitivity;
    if (!read_enum(e, "sensitivity", cal_sensitivity_names, 4, &n))
        return "unknown sensitivity";
    f->sensitivity = (enum cal_sensitivity)n;
    n = f->show;
    if (!read_enum(e, "showAs", cal_show_names, 6, &n))
        return "unknown showAs";
    f->show = (enum cal_show)n;
    n = f->importance;
    if (!read_enum(e, "importance", cal_importance_names, 3, &n))
        return "unknown importance";
    f->importance = (uint8_t)n;
    if (!read_bool(e, "isCancelled", &f->is_cancelled) ||
        !read_bool(e, "isOrganizer", &f->is_organizer) ||
        !read_bool(e, "isReminderOn", &f->is_reminder) ||
        !read_bool(e, "hasAttachments", &f->has_attachments) ||
        !read_bool(e, "hideAttendees", &f->hide_attendees) ||
        !read_bool(e, "isOnlineMeeting", &f->is_online))
        return "a member that must be true or false is not";
    return cs_json_get(e, "attendees") != NULL ? read_attendees(cs_json_get(e, "attendees"), f)
                                               : NULL;
}

/* A dateTimeTimeZone. *custom: the zone's name was a custom one; the time is then in zone_before. */
static const char *read_time(cs_json_val v, int zone_before, int *zone, bool *custom,
                             int64_t *local_s)
{
    const char *text, *name;
    if (cs_json_str(v, "dateTime", 64, &text) < 0 || sim_time_parse(text, local_s) < 0)
        return "start and end need a dateTime";
    *zone = zone_before;
    if (cs_json_str(v, "timeZone", 100, &name) < 0)
        return NULL;
    if (strncasecmp(name, "tzone://Microsoft/Custom", 24) == 0) {
        *custom = true;
        return NULL;
    }
    *zone = sim_tz_find(name);
    return *zone < 0 ? "unknown time zone" : NULL;
}

static bool read_day(cs_json_val v, const char *member, int32_t *ret)
{
    const char *text;
    int64_t s;
    if (cs_json_str(v, member, 32, &text) < 0 || sim_time_parse(text, &s) < 0)
        return false;
    *ret = sim_day_of_s(s);
    return true;
}

static const char *read_recurrence(cs_json_val v, int32_t first_day, struct sim_recur *r)
{
    cs_json_val pattern = cs_json_get(v, "pattern"), range = cs_json_get(v, "range"),
                days = cs_json_get(pattern, "daysOfWeek");
    const char *text;
    int64_t n;

    memset(r, 0, sizeof(*r));
    int p = cs_json_str(pattern, "type", 32, &text) == 0 ? sim_pattern_find(text) : -1;
    if (p < 0)
        return "unknown pattern type";
    r->pattern = (enum sim_pattern)p;
    r->interval = cs_json_i64(pattern, "interval", 1, 99, &n) == 0 ? (int)n : 1;
    r->month_day = cs_json_i64(pattern, "dayOfMonth", 0, 31, &n) == 0 ? (int)n : 0;
    r->month = cs_json_i64(pattern, "month", 0, 12, &n) == 0 ? (int)n : 0;
    r->index = cs_json_str(pattern, "index", 16, &text) == 0 ? sim_index_find(text) : 0;
    r->first_day =
        cs_json_str(pattern, "firstDayOfWeek", 16, &text) == 0 ? sim_weekday_find(text) : 0;
    for (size_t i = 0; i < cs_json_len(days); i++) {
        int d = cs_json_val_str(cs_json_at(days, i), 16, &text) == 0 ? sim_weekday_find(text) : -1;
        if (d < 0)
            return "unknown day of the week";
        r->week_days |= 1u << d;
    }
    p = cs_json_str(range, "type", 16, &text) == 0 ? sim_range_find(text) : -1;
    if (p < 0)
        return "unknown range type";
    r->range = (enum sim_range)p;
    if (!read_day(range, "startDate", &r->start_day))
        r->start_day = first_day;
    if (r->range == SIM_END_DATE && !read_day(range, "endDate", &r->end_day))
        return "the range needs endDate";
    r->count = cs_json_i64(range, "numberOfOccurrences", 0, SIM_RECUR_COUNT, &n) == 0 ? (int)n : 0;
    if (!sim_recur_is_valid(r))
        return "the recurrence is not valid";
    struct sim_recur_iter it;
    sim_recur_begin(&it, r);
    if (!sim_recur_next(
            &it, &r->start_day)) /* the first occurrence counts as the start, as in Exchange */
        return "the recurrence has no occurrence";
    return NULL;
}

/* Times and recurrence of a single event or a master. */
static const char *read_times(cs_json_val e, struct cal_version *v)
{
    cs_json_val start = cs_json_get(e, "start"), end = cs_json_get(e, "end"),
                recurrence = cs_json_get(e, "recurrence");
    const char *why = NULL;
    int64_t len = v->end_s - v->start_s;

    if (start != NULL || end != NULL)
        v->custom_zone = false;
    if (start != NULL)
        why = read_time(start, v->zone, &v->zone, &v->custom_zone, &v->start_s);
    if (why == NULL && start != NULL && end == NULL)
        v->end_s = v->start_s + len;
    if (why == NULL && end != NULL)
        why = read_time(end, v->end_zone, &v->end_zone, &v->custom_zone, &v->end_s);
    if (why != NULL)
        return why;
    if (!read_bool(e, "isAllDay", &v->all_day))
        return "isAllDay is true or false";
    if (v->start_s < 0 || sim_day_of_s(v->end_s) > SIM_RECUR_MAX_DAY ||
        v->end_s - v->start_s > 366 * INT64_C(86400))
        return "start and end lie between 1970 and 2100, at most a year apart";
    if (sim_tz_utc_s(v->end_zone, v->end_s) < sim_tz_utc_s(v->zone, v->start_s))
        return "the end is before the start";
    if (v->all_day && (v->start_s % 86400 != 0 || v->end_s % 86400 != 0 || v->end_s <= v->start_s))
        return "an event of whole days begins and ends at midnight";
    if (recurrence != NULL) {
        v->is_series = true;
        why = read_recurrence(recurrence, sim_day_of_s(v->start_s), &v->recur);
        if (why != NULL)
            return why;
    }
    if (v->is_series && (start != NULL || recurrence != NULL || end != NULL)) {
        if (v->end_zone != v->zone)
            return "a series has one zone";
        cal_drop_exceptions(v);
        /* the first occurrence is where the pattern says */
        len = v->end_s - v->start_s;
        v->start_s += (v->recur.start_day - sim_day_of_s(v->start_s)) * INT64_C(86400);
        v->end_s = v->start_s + len;
    }
    return NULL;
}

static const char *read_exception_times(cs_json_val e, const struct cal_version *v,
                                        struct cal_exception *ex)
{
    static const char *const names[] = {"start", "end"};
    int64_t *where[] = {&ex->start_s, &ex->end_s};
    int64_t len = ex->end_s - ex->start_s;

    for (int i = 0; i < 2; i++) {
        cs_json_val t = cs_json_get(e, names[i]);
        int zone;
        bool custom;
        int64_t local_s;
        if (t == NULL)
            continue;
        const char *why = read_time(t, v->zone, &zone, &custom, &local_s);
        if (why != NULL)
            return why;
        *where[i] =
            zone == v->zone ? local_s : sim_tz_local_s(v->zone, sim_tz_utc_s(zone, local_s));
        if (i == 0)
            ex->end_s = ex->start_s + len;
    }
    return ex->end_s < ex->start_s ? "the end is before the start" : NULL;
}

/* ---- operations -------------------------------------------------------------------------------- */

static void write_result(struct sim_mailbox *mb, uint32_t event, int32_t day, struct sim_jw *w)
{
    const struct cal_version *v = cal_now(mb->calendar, event);
    const struct cal_exception *ex = cal_find_exception(v, day);
    char text[SIM_ID_MAX];

    cal_format_id(mb, event, v, day, true, text);
    sim_jw_kstr(w, "id", text);
    cal_format_id(mb, event, v, day, false, text);
    sim_jw_kstr(w, "restId", text);
    sim_change_key(mb, 'D', ex != NULL ? ex->seq : v->seq, text);
    sim_jw_kstr(w, "changeKey", text);
    if (v->is_series && day != CAL_NO_DAY) {
        cal_format_id(mb, event, v, CAL_NO_DAY, true, text);
        sim_jw_kstr(w, "seriesMasterId", text);
    }
}

static const char *do_create(struct sim_mailbox *mb, cs_json_val op, uint32_t *event)
{
    cs_json_val e = cs_json_get(op, "event");
    const char *text, *why;

    if (!cs_json_is_object(e) || cs_json_get(e, "start") == NULL || cs_json_get(e, "end") == NULL)
        return "event_create wants event with start and end";
    struct cal_version *v =
        cal_draft_new(mb, sim_hash(mb->calendar->seed, 0x10000 + mb->calendar->n_events), event);
    cal_set(&v->f.html, "");
    why = read_times(e, v);
    if (why == NULL)
        why = read_fields(e, &v->f);
    if (why == NULL && cs_json_str(op, "calendar", 300, &text) == 0) {
        v->calendar = cal_find_calendar(mb, text);
        if (v->calendar == UINT32_MAX)
            why = "no such calendar";
    }
    if (why != NULL) {
        cal_abandon(mb, *event);
        return why;
    }
    if (cs_json_str(e, "iCalUId", 200, &text) == 0)
        cal_set(&mb->calendar->event[*event].ical, text);
    mb->calendar->event[*event].has_transaction = cs_json_get(e, "transactionId") != NULL;
    cal_commit(mb, *event, CAL_NO_DAY, "create");
    return NULL;
}

static const char *do_patch(struct sim_mailbox *mb, cs_json_val e, uint32_t event, int32_t day,
                            const char *op)
{
    struct cal_version *v = cal_draft(mb, event);
    const char *why = cs_json_is_object(e) ? NULL : "event is missing";
    struct cal_exception *ex;

    if (why == NULL && day == CAL_NO_DAY) {
        why = read_times(e, v);
        if (why == NULL)
            why = read_fields(e, &v->f);
    } else if (why == NULL) {
        ex = cal_need_exception(v, day, 0, 0);
        if (ex == NULL)
            why = "no such occurrence";
        if (why == NULL)
            why = read_exception_times(e, v, ex);
        if (why == NULL)
            why = read_fields(e, &ex->f);
    }
    if (why != NULL)
        cal_abandon(mb, event);
    else
        cal_commit(mb, event, day, op);
    return why;
}

static const char *do_delete(struct sim_mailbox *mb, uint32_t event, int32_t day)
{
    struct cal_version *v = cal_draft(mb, event);
    if (day != CAL_NO_DAY) {
        if (!cal_cancel_day(v, day)) {
            cal_abandon(mb, event);
            return "no such occurrence";
        }
        cal_commit(mb, event, day, "occurrence_delete");
        return NULL;
    }
    v->gone = true;
    cal_commit(mb, event, CAL_NO_DAY, "delete");
    return NULL;
}

/* The organizer cancelled: this copy says so and stays. */
static const char *do_cancel(struct sim_mailbox *mb, uint32_t event, int32_t day)
{
    struct cal_version *v = cal_draft(mb, event);
    struct cal_exception *ex = day != CAL_NO_DAY ? cal_need_exception(v, day, 0, 0) : NULL;
    if (day != CAL_NO_DAY && ex == NULL) {
        cal_abandon(mb, event);
        return "no such occurrence";
    }
    struct cal_fields *f = ex != NULL ? &ex->f : &v->f;
    struct cs_buf subject;
    cs_buf_init(&subject, 0);
    cs_buf_addf(&subject, "Canceled: %s", f->subject);
    cal_set(&f->subject, subject.data);
    cs_buf_clear(&subject);
    f->is_cancelled = true;
    f->show = CAL_FREE;
    cal_commit(mb, event, day, "cancel");
    return NULL;
}

static const char *do_respond(struct sim_mailbox *mb, cs_json_val op, uint32_t event)
{
    int response = CAL_ACCEPTED;
    if (!read_enum(op, "response", cal_response_names, 6, &response))
        return "unknown response";
    struct cal_version *v = cal_draft(mb, event);
    v->f.response = (enum cal_response)response;
    v->f.response_ms = sim_now_ms(mb->sim) / 1000 * 1000;
    for (size_t i = 0; i < v->f.n_attendees; i++) {
        if (strcasecmp(v->f.attendee[i].who.address, mb->address) == 0) {
            v->f.attendee[i].response = v->f.response;
            v->f.attendee[i].response_ms = v->f.response_ms;
        }
    }
    cal_commit(mb, event, CAL_NO_DAY, "respond");
    return NULL;
}

static const char *do_move_calendar(struct sim_mailbox *mb, cs_json_val op, uint32_t event)
{
    const char *text;
    uint32_t calendar =
        cs_json_str(op, "calendar", 300, &text) == 0 ? cal_find_calendar(mb, text) : UINT32_MAX;
    if (calendar == UINT32_MAX)
        return "no such calendar";
    struct cal_version *v = cal_draft(mb, event);
    if (v->calendar != calendar) {
        v->calendar = calendar;
        v->moves++;
    }
    cal_commit(mb, event, CAL_NO_DAY, "move_calendar");
    return NULL;
}

/* Operations on one item that exists. @return false: unknown name */
static bool on_item(struct sim_mailbox *mb, const char *name, cs_json_val op, uint32_t event,
                    int32_t *day, const char **why)
{
    bool of_date =
        strcmp(name, "event_cancel_occurrence") == 0 || strcmp(name, "event_move_occurrence") == 0;

    if (of_date && !read_day(op, "date", day)) {
        *why = "date is missing";
        return true;
    }
    if (strcmp(name, "event_patch") == 0) {
        *why = do_patch(mb, cs_json_get(op, "event"), event, *day, "edit");
    } else if (strcmp(name, "event_move_occurrence") == 0) {
        *why = cs_json_get(op, "start") != NULL ? do_patch(mb, op, event, *day, "occurrence_move")
                                                : "start is missing";
    } else if (strcmp(name, "event_delete") == 0 || of_date) {
        *why = do_delete(mb, event, *day);
    } else if (strcmp(name, "event_cancel") == 0) {
        *why = do_cancel(mb, event, *day);
    } else if (strcmp(name, "event_respond") == 0) {
        *why = do_respond(mb, op, event);
    } else if (strcmp(name, "event_move_calendar") == 0) {
        *why = do_move_calendar(mb, op, event);
    } else if (strcmp(name, "event_touch") == 0) {
        (void)cal_draft(mb, event); /* it exists, so there is one */
        cal_commit(mb, event, CAL_NO_DAY, "touch");
    } else {
        return false;
    }
    return true;
}

bool sim_calendar_op(struct sim_mailbox *mb, const void *json_object, struct sim_jw *w)
{
    cs_json_val op = json_object;
    const char *name, *id, *why = NULL;
    uint32_t event;
    int32_t day = CAL_NO_DAY;

    if (cs_json_str(op, "op", 40, &name) < 0)
        return false;
    if (strcmp(name, "event_evict") == 0) {
        sim_delta_evict(&mb->calendar_gen);
        return true;
    }
    if (strcmp(name, "event_create") == 0) {
        why = do_create(mb, op, &event);
    } else if (cs_json_str(op, "id", 400, &id) < 0 || cal_parse_id(mb, id, &event, &day) < 0) {
        why = "no such event";
    } else if (!on_item(mb, name, op, event, &day, &why)) {
        return false;
    }
    if (why != NULL)
        sim_jw_kstr(w, "error", why);
    else
        write_result(mb, event, day, w);
    return true;
}
