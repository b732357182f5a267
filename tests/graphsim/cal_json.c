/* cal_json.c - events and calendars as Graph writes them. */
#include "cal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "content.h"
#include "request.h"
#include "tz.h"

const char *const cal_response_names[6] = {"none",     "organizer", "tentativelyAccepted",
                                           "accepted", "declined",  "notResponded"};
const char *const cal_sensitivity_names[4] = {"normal", "personal", "private", "confidential"};
const char *const cal_show_names[6] = {"free", "tentative",        "busy",
                                       "oof",  "workingElsewhere", "unknown"};
const char *const cal_importance_names[3] = {"low", "normal", "high"};
const char *const cal_attendee_names[3] = {"required", "optional", "resource"};

static const char *const prop_names[CAL_P_N] = {
    [CAL_P_CREATED] = "createdDateTime",
    [CAL_P_MODIFIED] = "lastModifiedDateTime",
    [CAL_P_CHANGE_KEY] = "changeKey",
    [CAL_P_CATEGORIES] = "categories",
    [CAL_P_TRANSACTION] = "transactionId",
    [CAL_P_START_ZONE] = "originalStartTimeZone",
    [CAL_P_END_ZONE] = "originalEndTimeZone",
    [CAL_P_ICAL] = "iCalUId",
    [CAL_P_REMINDER] = "reminderMinutesBeforeStart",
    [CAL_P_REMINDER_ON] = "isReminderOn",
    [CAL_P_ATTACHMENTS] = "hasAttachments",
    [CAL_P_SUBJECT] = "subject",
    [CAL_P_PREVIEW] = "bodyPreview",
    [CAL_P_IMPORTANCE] = "importance",
    [CAL_P_SENSITIVITY] = "sensitivity",
    [CAL_P_ALL_DAY] = "isAllDay",
    [CAL_P_CANCELLED] = "isCancelled",
    [CAL_P_IS_ORGANIZER] = "isOrganizer",
    [CAL_P_RESPONSE_REQUESTED] = "responseRequested",
    [CAL_P_MASTER] = "seriesMasterId",
    [CAL_P_SHOW_AS] = "showAs",
    [CAL_P_TYPE] = "type",
    [CAL_P_WEB_LINK] = "webLink",
    [CAL_P_MEETING_URL] = "onlineMeetingUrl",
    [CAL_P_IS_ONLINE] = "isOnlineMeeting",
    [CAL_P_PROVIDER] = "onlineMeetingProvider",
    [CAL_P_PROPOSALS] = "allowNewTimeProposals",
    [CAL_P_DRAFT] = "isDraft",
    [CAL_P_HIDE] = "hideAttendees",
    [CAL_P_ORIGINAL_START] = "originalStart",
    [CAL_P_RESPONSE] = "responseStatus",
    [CAL_P_BODY] = "body",
    [CAL_P_START] = "start",
    [CAL_P_END] = "end",
    [CAL_P_LOCATION] = "location",
    [CAL_P_LOCATIONS] = "locations",
    [CAL_P_RECURRENCE] = "recurrence",
    [CAL_P_ATTENDEES] = "attendees",
    [CAL_P_ORGANIZER] = "organizer",
    [CAL_P_MEETING] = "onlineMeeting",
    [CAL_P_CANCELLED_OCCURRENCES] = "cancelledOccurrences",
};

#define CUSTOM_ZONE "tzone://Microsoft/Custom"

uint64_t cal_select(const char *text, bool *unknown)
{
    uint64_t bits = 0;
    *unknown = false;
    if (text == NULL || *text == '\0')
        return CAL_ALL;
    while (*text != '\0') {
        text += strspn(text, " ");
        size_t n = strcspn(text, ", ");
        size_t p = 0;
        while (p < CAL_P_N &&
               (strlen(prop_names[p]) != n || strncasecmp(prop_names[p], text, n) != 0))
            p++;
        if (p < CAL_P_N)
            bits |= CAL_BIT(p);
        else if (!(n == 2 && strncasecmp(text, "id", 2) == 0))
            *unknown = true;
        text += n;
        text += strspn(text, " ");
        text += *text == ',';
    }
    return bits;
}

/* ---- ids --------------------------------------------------------------------------------------- */

#define MOVES_SHIFT \
    24 /* the number's upper part: how often it changed its calendar, only in ids that are not immutable */

void cal_format_id(const struct sim_mailbox *mb, uint32_t event, const struct cal_version *v,
                   int32_t day, bool immutable, char out[SIM_ID_MAX])
{
    struct sim_id id = {.kind = SIM_ID_EVENT, .immutable = immutable, .num = event};
    if (!immutable)
        id.num |= (uint64_t)(v->moves & 0xffff) << MOVES_SHIFT;
    if (day != CAL_NO_DAY)
        id.sub = (uint64_t)day + 1;
    sim_id_format(mb, id, out);
}

int cal_parse_id(const struct sim_mailbox *mb, const char *text, uint32_t *event, int32_t *day)
{
    const struct sim_calendar *c = mb->calendar;
    struct sim_id id;
    int r = sim_id_parse(mb, text, &id);
    if (r < 0)
        return r;
    uint32_t num = (uint32_t)(id.num & ((1u << MOVES_SHIFT) - 1));
    if (id.kind != SIM_ID_EVENT || num >= c->n_events)
        return -ENOENT;
    const struct cal_version *v = cal_now(c, num);
    if (v->gone || (!id.immutable && (id.num >> MOVES_SHIFT) != (v->moves & 0xffff)))
        return -ENOENT;
    *event = num;
    *day = id.sub == 0 ? CAL_NO_DAY : (int32_t)(id.sub - 1);
    struct cal_instance i;
    if (*day != CAL_NO_DAY && !cal_instance_of(num, v, *day, &i))
        return -ENOENT;
    return 0;
}

void cal_calendar_id(const struct sim_mailbox *mb, uint32_t calendar, char out[SIM_ID_MAX])
{
    sim_id_format(mb, (struct sim_id){.kind = SIM_ID_CALENDAR, .num = calendar}, out);
}

uint32_t cal_find_calendar(const struct sim_mailbox *mb, const char *id_or_name)
{
    struct sim_id id;
    for (uint32_t i = 0; i < CAL_CALENDARS; i++) {
        if (strcmp(mb->calendar->calendar[i].name, id_or_name) == 0)
            return i;
    }
    if (sim_id_parse(mb, id_or_name, &id) == 0 && id.kind == SIM_ID_CALENDAR &&
        id.num < CAL_CALENDARS)
        return (uint32_t)id.num;
    return UINT32_MAX;
}

/* Exchange's global object id: class, date of the occurrence, creation time, and 16 bytes of its own. */
static void format_ical(const struct cal_event *e, int32_t day, char out[128])
{
    uint64_t filetime = ((uint64_t)e->created_ms + UINT64_C(11644473600000)) * 10000;
    uint64_t a = sim_hash(e->seed, 31), b = sim_hash(e->seed, 32);
    int y = 0, m = 0, d = 0;
    char time_text[17];

    if (day != CAL_NO_DAY)
        sim_day_split(day, &y, &m, &d);
    for (int i = 0; i < 8; i++)
        snprintf(time_text + 2 * i, 3, "%02X", (unsigned)(filetime >> (8 * i)) & 0xff);
    snprintf(out, 128,
             "040000008200E00074C5B7101A82E008%04X%02X%02X%s0000000000000000100000"
             "00%016llX%016llX",
             (unsigned)y, (unsigned)m, (unsigned)d, time_text, (unsigned long long)a,
             (unsigned long long)b);
}

/* ---- parts ------------------------------------------------------------------------------------- */

static void write_time_or_never(struct sim_jw *w, const char *key, int64_t utc_ms)
{
    if (utc_ms == CAL_NEVER_MS)
        sim_jw_kstr(w, key, "0001-01-01T00:00:00Z");
    else
        sim_jw_ktime(w, key, utc_ms);
}

static void write_dttz(struct sim_jw *w, const char *key, int64_t utc_s,
                       const struct cal_view *view)
{
    char text[40];
    sim_time_format(text, sim_tz_local_s(view->zone, utc_s), ".0000000", "");
    sim_jw_key(w, key);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "dateTime", text);
    sim_jw_kstr(w, "timeZone", view->zone_name);
    sim_jw_close(w, '}');
}

static void write_address(struct sim_jw *w, const struct cal_person *p)
{
    sim_jw_key(w, "emailAddress");
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "name", p->name);
    sim_jw_kstr(w, "address", p->address);
    sim_jw_close(w, '}');
}

static void write_status(struct sim_jw *w, const char *key, enum cal_response response,
                         int64_t at_ms)
{
    sim_jw_key(w, key);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "response", cal_response_names[response]);
    write_time_or_never(w, "time", at_ms);
    sim_jw_close(w, '}');
}

static void write_attendees(const struct cal_view *view, const struct cal_fields *f,
                            int64_t length_s, struct sim_jw *w)
{
    sim_jw_key(w, "attendees");
    sim_jw_open(w, '[');
    for (size_t i = 0; i < f->n_attendees; i++) {
        const struct cal_attendee *a = &f->attendee[i];
        sim_jw_open(w, '{');
        sim_jw_kstr(w, "type", cal_attendee_names[a->type]);
        write_status(w, "status", a->response, a->response_ms);
        if (a->proposed_s != 0) {
            sim_jw_key(w, "proposedNewTime");
            sim_jw_open(w, '{');
            write_dttz(w, "start", a->proposed_s, view);
            write_dttz(w, "end", a->proposed_s + length_s, view);
            sim_jw_close(w, '}');
        }
        write_address(w, &a->who);
        sim_jw_close(w, '}');
    }
    sim_jw_close(w, ']');
}

static void write_location_members(const struct cal_fields *f, bool in_list, struct sim_jw *w)
{
    sim_jw_kstr(w, "displayName", f->location);
    if (f->location_address != NULL)
        sim_jw_kstr(w, "locationUri", f->location_address);
    sim_jw_kstr(w, "locationType", f->location_address != NULL ? "conferenceRoom" : "default");
    if (*f->location != '\0') {
        sim_jw_kstr(w, "uniqueId", f->location_address != NULL ? f->location_address : f->location);
        sim_jw_kstr(w, "uniqueIdType", f->location_address != NULL ? "directory" : "private");
    } else if (!in_list) {
        sim_jw_kstr(w, "uniqueIdType", "unknown");
    }
    if (!in_list) {
        sim_jw_key(w, "address");
        sim_jw_raw(w, "{}");
        sim_jw_key(w, "coordinates");
        sim_jw_raw(w, "{}");
    } else if (f->location_address != NULL) {
        sim_jw_kstr(w, "locationEmailAddress", f->location_address);
    }
}

static void write_recurrence(const struct cal_version *v, struct sim_jw *w)
{
    const struct sim_recur *r = &v->recur;
    bool weekly = r->pattern == SIM_WEEKLY;
    bool relative = r->pattern == SIM_RELATIVE_MONTHLY || r->pattern == SIM_RELATIVE_YEARLY;
    bool absolute = r->pattern == SIM_ABSOLUTE_MONTHLY || r->pattern == SIM_ABSOLUTE_YEARLY;
    bool yearly = r->pattern == SIM_ABSOLUTE_YEARLY || r->pattern == SIM_RELATIVE_YEARLY;
    char text[40];

    sim_jw_key(w, "recurrence");
    if (!v->is_series) {
        sim_jw_null(w);
        return;
    }
    sim_jw_open(w, '{');
    sim_jw_key(w, "pattern");
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "type", sim_pattern_name(r->pattern));
    sim_jw_kint(w, "interval", r->interval);
    sim_jw_kint(w, "month", yearly ? r->month : 0);
    sim_jw_kint(w, "dayOfMonth", absolute ? r->month_day : 0);
    if (weekly || relative) {
        sim_jw_key(w, "daysOfWeek");
        sim_jw_open(w, '[');
        for (int d = 0; d < 7; d++) {
            if (r->week_days & (1u << d))
                sim_jw_str(w, sim_weekday_name(d));
        }
        sim_jw_close(w, ']');
    }
    sim_jw_kstr(w, "firstDayOfWeek", sim_weekday_name(weekly ? r->first_day : 0));
    sim_jw_kstr(w, "index", sim_index_name(relative ? r->index : 0));
    sim_jw_close(w, '}');
    sim_jw_key(w, "range");
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "type", sim_range_name(r->range));
    sim_time_format(text, (int64_t)r->start_day * 86400, "", "");
    text[10] = '\0';
    sim_jw_kstr(w, "startDate", text);
    if (r->range == SIM_END_DATE) {
        sim_time_format(text, (int64_t)r->end_day * 86400, "", "");
        text[10] = '\0';
    }
    sim_jw_kstr(w, "endDate", r->range == SIM_END_DATE ? text : "0001-01-01");
    sim_jw_kstr(w, "recurrenceTimeZone", v->custom_zone ? CUSTOM_ZONE : sim_tz_windows(v->zone));
    sim_jw_kint(w, "numberOfOccurrences", r->range == SIM_NUMBERED ? r->count : 0);
    sim_jw_close(w, '}');
    sim_jw_close(w, '}');
}

static void join_url(const struct cal_event *e, const struct cal_fields *f, char out[256])
{
    if (f->online_kind == 2)
        snprintf(out, 256, "https://meet.lync.example/contoso/%08llx",
                 (unsigned long long)(sim_hash(e->seed, 41) & 0xffffffff));
    else
        snprintf(
            out, 256,
            "https://teams.microsoft.com/l/meetup-join/19%%3ameeting_%016llx%016llx%%40thread.v2/"
            "0?context=%%7b%%22Tid%%22%%3a%%22%08llx%%22%%7d",
            (unsigned long long)sim_hash(e->seed, 42), (unsigned long long)sim_hash(e->seed, 43),
            (unsigned long long)(sim_hash(e->seed, 44) & 0xffffffff));
}

static void write_meeting(const struct cal_event *e, const struct cal_fields *f, struct sim_jw *w)
{
    char url[256], number[32];

    sim_jw_key(w, "onlineMeeting");
    if (!f->is_online) {
        sim_jw_null(w);
        return;
    }
    join_url(e, f, url);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "joinUrl", url);
    if (f->online_kind == 1) {
        snprintf(number, sizeof(number), "%09llu",
                 (unsigned long long)(sim_hash(e->seed, 45) % 1000000000));
        sim_jw_kstr(w, "conferenceId", number);
        sim_jw_kstr(w, "tollNumber", "+49 69 555 0100");
        sim_jw_key(w, "tollFreeNumbers");
        sim_jw_raw(w, "[\"+49 800 555 0100\"]");
        sim_jw_kstr(w, "quickDial", "+496955501001,,1");
        sim_jw_key(w, "phones");
        sim_jw_raw(w,
                   "[{\"number\":\"+49 69 555 "
                   "0100\",\"type\":\"business\",\"language\":\"de-DE\",\"region\":\"Hessen\"}]");
    }
    sim_jw_close(w, '}');
}

static void content_of(const struct sim_mailbox *mb, const struct cal_fields *f,
                       struct sim_content *c)
{
    *c = (struct sim_content){
        .thread = f->body_seed,
        .mean_bytes = 1500,
        .self = {f->body_seed, f->organizer.name, f->organizer.address, 0},
        .to = f->n_attendees > 0 ? f->attendee[0].who.name : "",
        .company = mb->sim->domain,
    };
}

/* Text out of HTML that a script gave: tags out, nothing clever. */
static void strip(const char *html, struct cs_buf *out)
{
    for (bool in_tag = false; *html != '\0'; html++) {
        if (*html == '<')
            in_tag = true;
        else if (*html == '>' && in_tag)
            in_tag = false;
        else if (!in_tag)
            cs_buf_addc(out, *html);
    }
}

void cal_write_body(const struct sim_mailbox *mb, const struct cal_fields *f, bool html,
                    struct cs_buf *out)
{
    struct sim_content c;
    if (f->html != NULL) {
        if (html || f->html_is_text)
            cs_buf_adds(out, f->html);
        else
            strip(f->html, out);
        return;
    }
    content_of(mb, f, &c);
    sim_content_body(&c, html, false, out);
}

static void write_preview(const struct sim_mailbox *mb, const struct cal_fields *f,
                          struct sim_jw *w)
{
    struct cs_buf text;
    size_t at = 0;

    cs_buf_init(&text, 0);
    if (f->html == NULL) {
        struct sim_content c;
        content_of(mb, f, &c);
        sim_content_preview(&c, &text);
        at = text.len;
    } else {
        cal_write_body(mb, f, false, &text);
        for (int chars = 0; at < text.len && chars < 255; chars++) {
            do
                at++;
            while (at < text.len && ((unsigned char)text.data[at] & 0xC0) == 0x80);
        }
    }
    sim_jw_key(w, "bodyPreview");
    sim_jw_strn(w, text.data != NULL ? text.data : "", at);
    cs_buf_clear(&text);
}

static void write_body_member(const struct cal_view *view, const struct cal_fields *f,
                              struct sim_jw *w)
{
    struct cs_buf text;
    bool html = !view->text_body && !f->html_is_text;

    cs_buf_init(&text, 0);
    cal_write_body(view->mb, f, html, &text);
    sim_jw_key(w, "body");
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "contentType", html ? "html" : "text");
    sim_jw_key(w, "content");
    sim_jw_strn(w, text.data != NULL ? text.data : "", text.len);
    sim_jw_close(w, '}');
    cs_buf_clear(&text);
}

const char *cal_type_name(const struct cal_version *v, const struct cal_exception *ex, int32_t day)
{
    if (!v->is_series)
        return "singleInstance";
    return day == CAL_NO_DAY ? "seriesMaster" : ex != NULL ? "exception" : "occurrence";
}

/* ---- an event ---------------------------------------------------------------------------------- */

static void write_etag(struct sim_jw *w, const char *change_key)
{
    char text[SIM_CHANGE_KEY_MAX + 8];
    snprintf(text, sizeof(text), "W/\"%s\"", change_key);
    sim_jw_kstr(w, "@odata.etag", text);
}

static void write_cancelled_days(const struct cal_view *view, const struct cal_instance *i,
                                 struct sim_jw *w)
{
    char text[SIM_ID_MAX + 64], id[SIM_ID_MAX], day[40];
    cal_format_id(view->mb, i->event, i->v, CAL_NO_DAY, view->immutable, id);
    sim_jw_key(w, "cancelledOccurrences");
    sim_jw_open(w, '[');
    for (size_t k = 0; k < i->v->n_cancelled; k++) {
        sim_time_format(day, (int64_t)i->v->cancelled[k] * 86400, "", "");
        day[10] = '\0';
        snprintf(text, sizeof(text), "OID.%s.%s", id, day);
        sim_jw_str(w, text);
    }
    sim_jw_close(w, ']');
}

static void write_exceptions(const struct cal_view *view, uint32_t event,
                             const struct cal_version *v, struct sim_jw *w)
{
    struct cal_view inner = *view;
    inner.expand_exceptions = false;
    sim_jw_key(w, "exceptionOccurrences");
    sim_jw_open(w, '[');
    for (size_t k = 0; k < v->n_ex; k++) {
        struct cal_instance i;
        if (cal_instance_of(event, v, v->ex[k].day, &i))
            cal_write_instance(&inner, &i, w);
    }
    sim_jw_close(w, ']');
}

void cal_write_instance(const struct cal_view *view, const struct cal_instance *i, struct sim_jw *w)
{
    const struct sim_mailbox *mb = view->mb;
    const struct cal_version *v = i->v;
    const struct cal_event *e = &mb->calendar->event[i->event];
    const struct cal_fields *f = i->ex != NULL ? &i->ex->f : &v->f;
    bool is_master = v->is_series && i->day == CAL_NO_DAY;
    char id[SIM_ID_MAX], key[SIM_CHANGE_KEY_MAX], text[SIM_ID_MAX * 3 + 128];

#define HAS(p) ((view->select & CAL_BIT(CAL_P_##p)) != 0)
    cal_format_id(mb, i->event, v, i->day, view->immutable, id);
    sim_change_key(mb, 'D', i->ex != NULL ? i->ex->seq : v->seq, key);
    sim_jw_open(w, '{');
    if (view->type_first)
        sim_jw_kstr(w, "@odata.type", "#microsoft.graph.event");
    write_etag(w, key);
    sim_jw_kstr(w, "id", id);
    if (HAS(CREATED))
        sim_jw_ktime(w, "createdDateTime", e->created_ms);
    if (HAS(MODIFIED))
        sim_jw_ktime(w, "lastModifiedDateTime", i->ex != NULL ? i->ex->modified_ms : v->at_ms);
    if (HAS(CHANGE_KEY))
        sim_jw_kstr(w, "changeKey", key);
    if (HAS(CATEGORIES)) {
        sim_jw_key(w, "categories");
        sim_jw_open(w, '[');
        for (size_t k = 0; k < f->n_categories; k++)
            sim_jw_str(w, f->category[k]);
        sim_jw_close(w, ']');
    }
    if (HAS(TRANSACTION)) {
        char guid[37];
        sim_guid(e->seed, 51, guid);
        sim_jw_kstr(w, "transactionId", e->has_transaction ? guid : NULL);
    }
    if (HAS(START_ZONE))
        sim_jw_kstr(w, "originalStartTimeZone",
                    v->custom_zone ? CUSTOM_ZONE : sim_tz_windows(v->zone));
    if (HAS(END_ZONE))
        sim_jw_kstr(w, "originalEndTimeZone",
                    v->custom_zone ? CUSTOM_ZONE : sim_tz_windows(v->end_zone));
    if (HAS(ICAL)) {
        if (e->ical != NULL && i->day != CAL_NO_DAY)
            snprintf(text, sizeof(text), "%.200s-%d", e->ical, i->day);
        else if (e->ical != NULL)
            snprintf(text, sizeof(text), "%.200s", e->ical);
        else
            format_ical(e, i->day, text);
        sim_jw_kstr(w, "iCalUId", text);
    }
    if (HAS(REMINDER))
        sim_jw_kint(w, "reminderMinutesBeforeStart", v->all_day ? 1080 : 15);
    if (HAS(REMINDER_ON))
        sim_jw_kbool(w, "isReminderOn", f->is_reminder);
    if (HAS(ATTACHMENTS))
        sim_jw_kbool(w, "hasAttachments", f->has_attachments);
    if (HAS(SUBJECT))
        sim_jw_kstr(w, "subject", f->subject);
    if (HAS(PREVIEW))
        write_preview(mb, f, w);
    if (HAS(IMPORTANCE))
        sim_jw_kstr(w, "importance", cal_importance_names[f->importance]);
    if (HAS(SENSITIVITY))
        sim_jw_kstr(w, "sensitivity", cal_sensitivity_names[f->sensitivity]);
    if (HAS(ALL_DAY))
        sim_jw_kbool(w, "isAllDay", v->all_day);
    if (HAS(CANCELLED))
        sim_jw_kbool(w, "isCancelled", f->is_cancelled);
    if (HAS(IS_ORGANIZER))
        sim_jw_kbool(w, "isOrganizer", f->is_organizer);
    if (HAS(RESPONSE_REQUESTED))
        sim_jw_kbool(w, "responseRequested", true);
    if (HAS(MASTER)) {
        if (i->day != CAL_NO_DAY) {
            cal_format_id(mb, i->event, v, CAL_NO_DAY, view->immutable, text);
            sim_jw_kstr(w, "seriesMasterId", text);
        } else {
            sim_jw_knull(w, "seriesMasterId");
        }
    }
    if (HAS(SHOW_AS))
        sim_jw_kstr(w, "showAs", cal_show_names[f->show]);
    if (HAS(TYPE))
        sim_jw_kstr(w, "type", cal_type_name(v, i->ex, i->day));
    if (HAS(WEB_LINK)) {
        struct cs_buf link;
        cs_buf_init(&link, 0);
        cs_buf_adds(&link, "https://outlook.office365.com/owa/?itemid=");
        sim_url_encode(&link, id);
        cs_buf_adds(&link, "&exvsurl=1&path=/calendar/item");
        sim_jw_kstr(w, "webLink", link.data);
        cs_buf_clear(&link);
    }
    if (HAS(MEETING_URL)) {
        join_url(e, f, text);
        sim_jw_kstr(w, "onlineMeetingUrl", f->is_online && f->online_kind == 2 ? text : NULL);
    }
    if (HAS(IS_ONLINE))
        sim_jw_kbool(w, "isOnlineMeeting", f->is_online);
    if (HAS(PROVIDER))
        sim_jw_kstr(w, "onlineMeetingProvider",
                    !f->is_online         ? "unknown"
                    : f->online_kind == 2 ? "skypeForBusiness"
                                          : "teamsForBusiness");
    if (HAS(PROPOSALS))
        sim_jw_kbool(w, "allowNewTimeProposals", true);
    if (HAS(DRAFT))
        sim_jw_kbool(w, "isDraft", false);
    if (HAS(HIDE))
        sim_jw_kbool(w, "hideAttendees", f->hide_attendees);
    if (HAS(ORIGINAL_START) && i->day != CAL_NO_DAY)
        sim_jw_ktime(w, "originalStart", i->original_s * 1000);
    if (HAS(RESPONSE))
        write_status(w, "responseStatus", f->response, f->response_ms);
    if (HAS(BODY))
        write_body_member(view, f, w);
    if (HAS(START))
        write_dttz(w, "start", i->start_s, view);
    if (HAS(END))
        write_dttz(w, "end", i->end_s, view);
    if (HAS(LOCATION)) {
        sim_jw_key(w, "location");
        sim_jw_open(w, '{');
        write_location_members(f, false, w);
        sim_jw_close(w, '}');
    }
    if (HAS(LOCATIONS)) {
        sim_jw_key(w, "locations");
        sim_jw_open(w, '[');
        if (*f->location != '\0') {
            sim_jw_open(w, '{');
            write_location_members(f, true, w);
            sim_jw_close(w, '}');
        }
        sim_jw_close(w, ']');
    }
    if (HAS(RECURRENCE)) {
        if (is_master)
            write_recurrence(v, w);
        else
            sim_jw_knull(w, "recurrence");
    }
    if (HAS(ATTENDEES))
        write_attendees(view, f, i->end_s - i->start_s, w);
    if (HAS(ORGANIZER)) {
        sim_jw_key(w, "organizer");
        sim_jw_open(w, '{');
        write_address(w, &f->organizer);
        sim_jw_close(w, '}');
    }
    if (HAS(MEETING))
        write_meeting(e, f, w);
    if (HAS(CANCELLED_OCCURRENCES) && is_master)
        write_cancelled_days(view, i, w);
    if (view->expand_exceptions && is_master)
        write_exceptions(view, i->event, v, w);
    sim_jw_close(w, '}');
#undef HAS
}

void cal_write_event(const struct cal_view *view, uint32_t event, const struct cal_version *v,
                     struct sim_jw *w)
{
    struct cal_instance i = {
        .event = event,
        .v = v,
        .day = CAL_NO_DAY,
        .start_s = sim_tz_utc_s(v->zone, v->start_s),
        .end_s = sim_tz_utc_s(v->end_zone, v->end_s),
    };
    if (i.end_s < i.start_s)
        i.end_s = i.start_s;
    cal_write_instance(view, &i, w);
}

void cal_write_stub(const struct cal_view *view, const struct cal_instance *i, struct sim_jw *w)
{
    char id[SIM_ID_MAX], key[SIM_CHANGE_KEY_MAX];

    sim_change_key(view->mb, 'D', i->v->seq, key);
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "@odata.type", "#microsoft.graph.event");
    write_etag(w, key);
    cal_format_id(view->mb, i->event, i->v, i->day, view->immutable, id);
    sim_jw_kstr(w, "id", id);
    cal_format_id(view->mb, i->event, i->v, CAL_NO_DAY, view->immutable, id);
    sim_jw_kstr(w, "seriesMasterId", id);
    sim_jw_kstr(w, "type", "occurrence");
    write_dttz(w, "start", i->start_s, view);
    write_dttz(w, "end", i->end_s, view);
    sim_jw_close(w, '}');
}
