#include "worker/event.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/tenant.h"
#include "worker/address.h"
#include "worker/civil.h"
#include "worker/filter.h"
#include "worker/item.h"
#include "worker/sha.h"
#include "worker/text.h"
#include "worker/zone.h"

#define ZONE_TEXT_MAX 256 /* a zone's name as given */

/* ---- time ------------------------------------------------------------------------------------ */

/* A wall clock as Graph gives it; -EINVAL if absent or "never". */
static int wall_clock(struct cs_js dttz, int64_t *ret_ms, bool *has_offset)
{
    char text[64];
    int n = cs_js_str_into(cs_js_get(dttz, "dateTime"), text, sizeof(text));
    const char *t;

    if (n <= 0 || cs_time_parse(text, (size_t)n, ret_ms) < 0 || cs_time_is_never(*ret_ms))
        return -EINVAL;
    t = strpbrk(text, "Tt");
    *has_offset = t != NULL && strpbrk(t, "Zz+-") != NULL;
    return 0;
}

static bool is_utc_name(const char *name)
{
    return *name == '\0' || strcasecmp(name, "UTC") == 0 || strcasecmp(name, "Etc/UTC") == 0 ||
           strcasecmp(name, "Etc/GMT") == 0 || strcasecmp(name, "tzone://Microsoft/Utc") == 0;
}

int cs_event_time_utc(struct cs_js dttz, const struct cs_zones *zones, int64_t *ret_utc_ms)
{
    char name[ZONE_TEXT_MAX];
    const struct cs_zone *zone;
    bool has_offset;
    int64_t ms, s;

    if (wall_clock(dttz, &ms, &has_offset) < 0)
        return -EINVAL;
    if (!cs_js_has(cs_js_get(dttz, "timeZone")))
        name[0] = '\0';
    else if (cs_js_str_into(cs_js_get(dttz, "timeZone"), name, sizeof(name)) < 0)
        return -EINVAL;
    if (has_offset || is_utc_name(name)) {
        *ret_utc_ms = ms;
        return 0;
    }
    zone = zones == NULL ? NULL : cs_zones_find_graph(zones, name, NULL);
    if (zone == NULL)
        return -EINVAL;
    s = cs_floor_div(ms, 1000);
    ms = cs_zone_utc_s(zone, s) * 1000 + (ms - s * 1000);
    if (ms > CS_CIVIL_MAX_S * 1000)
        return -EINVAL;
    *ret_utc_ms = ms;
    return 0;
}

static void format_local(int64_t local_s, bool date_only, char out[CS_TIME_TEXT])
{
    /* a zone may carry the last second of year 9999 into a year that has five digits */
    struct cs_civil c = cs_civil_of(local_s < CS_CIVIL_MAX_S ? local_s : CS_CIVIL_MAX_S);
    int n = snprintf(out, CS_TIME_TEXT, "%04d-%02d-%02d", (int)c.year, c.month, c.day);

    if (!date_only && n > 0 && n < CS_TIME_TEXT)
        (void)snprintf(out + n, CS_TIME_TEXT - (size_t)n, "T%02d:%02d:%02d", c.hour, c.minute,
                       c.second);
}

/*
 * The day on which an all-day event begins or ends (exclusive), whatever zone the answer used: it is
 * midnight in the event's own zone, either shifted into the answer's zone or not.
 */
static int64_t all_day_date(int64_t given_s, int64_t utc_s, const struct cs_zone *zone)
{
    int64_t day;

    if (zone != NULL) {
        day = cs_floor_div(cs_zone_local_s(zone, utc_s), CS_DAY_S);
        /* by way of the zone, since a day may begin at 01:00 where clocks change at midnight */
        if (cs_zone_utc_s(zone, day * CS_DAY_S) == utc_s)
            return day * CS_DAY_S;
    }
    /* not shifted, or in a zone that we do not know: the nearest midnight is the one meant */
    return cs_floor_div(given_s + CS_DAY_S / 2, CS_DAY_S) * CS_DAY_S;
}

static void write_time(struct cs_jw *jw, const struct cs_event_view *view, const char *key,
                       const char *name, const char *zone_name, bool all_day)
{
    struct cs_js dttz = cs_event_pick(view, name);
    struct cs_js original = cs_event_pick(view, zone_name);
    const struct cs_zone *zone = NULL;
    const char *iana = NULL;
    char given_zone[ZONE_TEXT_MAX] = "", text[CS_TIME_TEXT];
    bool has_offset;
    int64_t ms, utc_ms = CS_NEVER, utc_s;

    cs_jw_key(jw, key);
    if (wall_clock(dttz, &ms, &has_offset) < 0) {
        cs_jw_null(jw);
        return;
    }
    if (cs_js_str_into(original, given_zone, sizeof(given_zone)) <= 0) {
        original = cs_js_get(dttz, "timeZone");
        if (cs_js_str_into(original, given_zone, sizeof(given_zone)) < 0)
            given_zone[0] = '\0';
    }
    if (given_zone[0] != '\0')
        zone = cs_zones_find_graph(view->ctx->zones, given_zone, &iana);
    (void)cs_event_time_utc(dttz, view->ctx->zones, &utc_ms); /* CS_NEVER: a zone nobody knows */
    utc_s = utc_ms == CS_NEVER ? 0 : cs_floor_div(utc_ms, 1000);

    cs_jw_object(jw);
    cs_jw_ktime(jw, "utc", utc_ms);
    if (all_day) {
        int64_t day = all_day_date(cs_floor_div(ms, 1000), utc_s, utc_ms == CS_NEVER ? NULL : zone);

        format_local(day, true, text);
        cs_jw_kstr(jw, "date", text);
        format_local(day, false, text);
        cs_jw_kstr(jw, "local", text);
    } else if (zone != NULL && utc_ms != CS_NEVER) {
        format_local(cs_zone_local_s(zone, utc_s), false, text);
        cs_jw_kstr(jw, "local", text);
    } else if (utc_ms == CS_NEVER) {
        format_local(cs_floor_div(ms, 1000), false, text); /* at least what was written */
        cs_jw_kstr(jw, "local", text);
    } else {
        cs_jw_knull(jw, "local");
    }
    cs_jw_kstr(jw, "time_zone", iana);
    cs_text_kwrite(jw, "original_time_zone", original, ZONE_TEXT_MAX, NULL);
    cs_jw_object_end(jw);
}

/* ---- facts ----------------------------------------------------------------------------------- */

static enum cs_event_type event_type(struct cs_js item)
{
    static const struct {
        const char *name;
        enum cs_event_type type;
    } types[] = {{"singleInstance", CS_EVENT_SINGLE},
                 {"occurrence", CS_EVENT_OCCURRENCE},
                 {"exception", CS_EVENT_EXCEPTION},
                 {"seriesMaster", CS_EVENT_MASTER}};
    struct cs_js v = cs_js_get(item, "type");

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (cs_js_str_is_nocase(v, types[i].name))
            return types[i].type;
    }
    if (cs_js_has(cs_js_get(item, "seriesMasterId")))
        return CS_EVENT_OCCURRENCE;
    return cs_js_has(cs_js_get(item, "recurrence")) ? CS_EVENT_MASTER : CS_EVENT_SINGLE;
}

int cs_occurrence_id(char *out, size_t size, const char *master_id, int64_t original_start_utc_ms)
{
    struct cs_civil c = cs_civil_of(cs_floor_div(original_start_utc_ms, 1000));
    int n = snprintf(out, size, "%s_%04d%02d%02dT%02d%02d%02dZ", master_id, (int)c.year, c.month,
                     c.day, c.hour, c.minute, c.second);

    return n < 0 || (size_t)n >= size ? -EMSGSIZE : n;
}

int cs_event_facts_read(struct cs_js item, const struct cs_zones *zones, struct cs_event_facts *ret)
{
    struct cs_event_facts f = {.type = CS_EVENT_SINGLE,
                               .start_utc_ms = CS_NEVER,
                               .end_utc_ms = CS_NEVER,
                               .original_start_utc_ms = CS_NEVER};
    struct cs_js_index index;
    int r;

    if (item.index == NULL)
        item = cs_js_indexed(item, &index);
    r = cs_item_id(item, f.id);
    if (r < 0)
        return r;
    f.is_removed = cs_js_has(cs_js_get(item, "@removed"));
    if (f.is_removed) {
        *ret = f;
        return 0;
    }
    f.type = event_type(item);
    if (cs_event_time_utc(cs_js_get(item, "start"), zones, &f.start_utc_ms) < 0)
        f.start_utc_ms = CS_NEVER;
    if (cs_event_time_utc(cs_js_get(item, "end"), zones, &f.end_utc_ms) < 0)
        f.end_utc_ms = CS_NEVER;
    (void)cs_js_bool(cs_js_get(item, "isCancelled"), &f.is_cancelled); /* false if absent */
    if (f.type == CS_EVENT_SINGLE || f.type == CS_EVENT_MASTER) {
        cs_item_change_key(item, f.change_key);
        memcpy(f.item_id, f.id, sizeof(f.id));
        *ret = f;
        return 0;
    }
    r = cs_item_id_value(cs_js_get(item, "seriesMasterId"), f.series_id);
    if (r < 0)
        return r;
    /* absent, not null: a stub has a handful of members only */
    f.is_stub = cs_js_get(item, "subject").p == NULL || cs_js_get(item, "showAs").p == NULL;
    if (!f.is_stub)
        cs_item_change_key(item, f.change_key);
    f.original_start_utc_ms = cs_text_time(cs_js_get(item, "originalStart"));
    if (f.original_start_utc_ms == CS_NEVER && f.type == CS_EVENT_OCCURRENCE)
        f.original_start_utc_ms = f.start_utc_ms; /* an occurrence is where its series put it */
    if (f.original_start_utc_ms != CS_NEVER &&
        cs_occurrence_id(f.item_id, sizeof(f.item_id), f.series_id, f.original_start_utc_ms) < 0)
        f.item_id[0] = '\0';
    *ret = f;
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct cs_js cs_event_pick(const struct cs_event_view *view, const char *name)
{
    struct cs_js v = cs_js_get(view->event, name);

    return v.p != NULL ? v : cs_js_get(view->master, name);
}

/* The part of a meeting's id that all its occurrences share: Exchange writes an occurrence's date into
 * bytes 16 to 19 of its GlobalObjectId (MS-OXOCAL, 2.2.1.27). */
static void clean_uid(char *uid)
{
    static const char prefix[] = "040000008200E00074C5B7101A82E008";

    if (strlen(uid) > 40 && strncasecmp(uid, prefix, sizeof(prefix) - 1) == 0)
        memcpy(uid + 32, "00000000", 8);
}

int cs_event_dedup_key(const struct cs_event_view *view, char out[65])
{
    const struct cs_event_facts *f = view->facts;
    char uid[1024], text[CS_TIME_TEXT] = "series";
    int64_t start =
        f->original_start_utc_ms != CS_NEVER ? f->original_start_utc_ms : f->start_utc_ms;
    struct cs_sha sha;
    int r;

    if (cs_js_str_into(cs_event_pick(view, "iCalUId"), uid, sizeof(uid)) <= 0)
        return 0;
    clean_uid(uid);
    if (f->type != CS_EVENT_MASTER) {
        if (start == CS_NEVER)
            return 0;
        cs_time_format(start, text);
    }
    cs_sha_init(&sha);
    cs_sha_str(&sha, "event");
    cs_sha_str(&sha, uid);
    cs_sha_str(&sha, text);
    r = cs_sha_hex(&sha, out);
    return r < 0 ? r : 1;
}

/* Makes a failure the record's. */
static void lose(struct cs_jw *jw, int r)
{
    if (jw->buf->failed == 0)
        jw->buf->failed = r;
}

static void write_person(struct cs_jw *jw, const struct cs_fit *fit,
                         const struct cs_event_view *view, struct cs_js email_address)
{
    struct cs_address a;
    struct cs_js name;

    int r = cs_address_read(email_address, &a, &name);

    if (r < 0)
        lose(jw, r);
    if (r <= 0) {
        cs_address_normalize("", 0, &a);
        name = (struct cs_js){0};
    }
    cs_address_write(jw, &a, name, fit->text_max, fit->cut);
    cs_jw_kbool(jw, "internal", cs_address_is_inside(&a, view->ctx->tenant, view->ctx->mailbox));
}

static void write_organizer(struct cs_jw *jw, const struct cs_fit *fit,
                            const struct cs_event_view *view)
{
    struct cs_js address = cs_js_get(cs_event_pick(view, "organizer"), "emailAddress");

    cs_jw_key(jw, "organizer");
    if (cs_js_type(address) != CS_JS_OBJECT) {
        cs_jw_null(jw);
        return;
    }
    cs_jw_object(jw);
    write_person(jw, fit, view, address);
    cs_jw_object_end(jw);
}

static void write_utc(struct cs_jw *jw, const char *key, struct cs_js dttz,
                      const struct cs_zones *zones)
{
    int64_t utc_ms;

    cs_jw_ktime(jw, key, cs_event_time_utc(dttz, zones, &utc_ms) == 0 ? utc_ms : CS_NEVER);
}

static void write_attendees(struct cs_jw *jw, const struct cs_fit *fit,
                            const struct cs_event_view *view)
{
    struct cs_js list = cs_event_pick(view, "attendees"), one;
    struct cs_js_iter it = {0};
    size_t written = 0;

    cs_jw_key(jw, "attendees");
    cs_jw_array(jw);
    while (cs_js_next_element(list, &it, &one)) {
        struct cs_js status = cs_js_get(one, "status"),
                     proposed = cs_js_get(one, "proposedNewTime");

        if (cs_js_type(one) != CS_JS_OBJECT)
            continue;
        if (written++ >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        cs_jw_object(jw);
        write_person(jw, fit, view, cs_js_get(one, "emailAddress"));
        cs_text_kwrite(jw, "type", cs_js_get(one, "type"), fit->text_max, fit->cut);
        cs_text_kwrite(jw, "response", cs_js_get(status, "response"), fit->text_max, fit->cut);
        cs_jw_ktime(jw, "responded_at", cs_text_time(cs_js_get(status, "time")));
        if (cs_js_type(proposed) == CS_JS_OBJECT) {
            cs_jw_key(jw, "proposed");
            cs_jw_object(jw);
            write_utc(jw, "start_at", cs_js_get(proposed, "start"), view->ctx->zones);
            write_utc(jw, "end_at", cs_js_get(proposed, "end"), view->ctx->zones);
            cs_jw_object_end(jw);
        }
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}

/* A number that is passed through as it is written. */
static void write_number(struct cs_jw *jw, const char *key, struct cs_js v)
{
    cs_jw_key(jw, key);
    if (cs_js_type(v) == CS_JS_NUMBER)
        cs_jw_slice(jw, v);
    else
        cs_jw_null(jw);
}

static void write_location(struct cs_jw *jw, const struct cs_fit *fit, struct cs_js location)
{
    static const struct {
        const char *key, *name;
    } parts[] = {{"street", "street"},
                 {"city", "city"},
                 {"state", "state"},
                 {"country", "countryOrRegion"},
                 {"postal_code", "postalCode"}};
    struct cs_js address = cs_js_get(location, "address");
    struct cs_js coordinates = cs_js_get(location, "coordinates");

    cs_jw_object(jw);
    cs_text_kwrite(jw, "name", cs_js_get(location, "displayName"), fit->text_max, fit->cut);
    cs_text_kwrite_opt(jw, "uri", cs_js_get(location, "locationUri"), fit->text_max, fit->cut);
    cs_text_kwrite_opt(jw, "email", cs_js_get(location, "locationEmailAddress"), fit->text_max,
                       fit->cut);
    if (cs_js_type(address) == CS_JS_OBJECT && address.n > 2) {
        cs_jw_key(jw, "address");
        cs_jw_object(jw);
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
            cs_text_kwrite_opt(jw, parts[i].key, cs_js_get(address, parts[i].name), fit->text_max,
                               fit->cut);
        cs_jw_object_end(jw);
    }
    if (cs_js_type(cs_js_get(coordinates, "latitude")) == CS_JS_NUMBER) {
        cs_jw_key(jw, "coordinates");
        cs_jw_object(jw);
        write_number(jw, "latitude", cs_js_get(coordinates, "latitude"));
        write_number(jw, "longitude", cs_js_get(coordinates, "longitude"));
        cs_jw_object_end(jw);
    }
    cs_jw_object_end(jw);
}

static void write_locations(struct cs_jw *jw, const struct cs_fit *fit,
                            const struct cs_event_view *view)
{
    struct cs_js list = cs_event_pick(view, "locations"), one;
    struct cs_js single = cs_event_pick(view, "location");
    struct cs_js name = cs_js_get(single, "displayName");
    struct cs_js_iter it = {0};
    size_t written = 0;

    cs_jw_key(jw, "locations");
    cs_jw_array(jw);
    while (cs_js_next_element(list, &it, &one)) {
        if (cs_js_type(one) != CS_JS_OBJECT)
            continue;
        if (written++ >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        write_location(jw, fit, one);
    }
    if (written == 0 && cs_js_type(name) == CS_JS_STRING && name.n > 2)
        write_location(jw, fit, single);
    cs_jw_array_end(jw);
}

/* Hosts whose links are meetings: a link in a location may as well be a map. */
static bool is_meeting_link(const char *url, size_t n)
{
    static const char *const hosts[] = {
        "teams.microsoft.com", "teams.live.com",  "teams.microsoft.us", "zoom.us",
        "zoomgov.com",         "meet.google.com", "webex.com",          "gotomeeting.com",
        "gotomeet.me",         "goto.com",        "whereby.com",        "meet.jit.si",
        "chime.aws",           "bluejeans.com",   "ringcentral.com",    "lync.com"};
    const char *host = url + strlen("https://");
    size_t host_len = 0;

    while (host + host_len < url + n && strchr("/?#:", host[host_len]) == NULL)
        host_len++;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        size_t len = strlen(hosts[i]);

        if (host_len >= len && strncasecmp(host + host_len - len, hosts[i], len) == 0 &&
            (host_len == len || host[host_len - len - 1] == '.'))
            return true;
    }
    return false;
}

/* The first meeting link in a text. */
static bool find_link(struct cs_jw *jw, struct cs_js text, struct cs_buf *out)
{
    const char *p, *end;
    bool found = false;
    int r;

    cs_buf_reset(out);
    r = cs_js_str(text, out);
    if (r == -ENOMEM)
        lose(jw, r);
    if (r < 0 || out->len == 0)
        return false;
    p = out->data;
    end = p + out->len;
    while (!found && (p = memmem(p, (size_t)(end - p), "https://", 8)) != NULL) {
        size_t n = 8;

        while (p + n < end && (unsigned char)p[n] > ' ' && strchr("<>\"';,)", p[n]) == NULL)
            n++;
        found = is_meeting_link(p, n);
        if (found) {
            memmove(out->data, p, n);
            cs_buf_truncate(out, n);
        } else {
            p += n;
        }
    }
    return found;
}

static void write_join_url(struct cs_jw *jw, const struct cs_fit *fit,
                           const struct cs_event_view *view)
{
    struct cs_js link = cs_js_get(cs_event_pick(view, "onlineMeeting"), "joinUrl");
    struct cs_js list = cs_event_pick(view, "locations"), one;
    struct cs_js_iter it = {0};
    struct cs_buf text;
    bool found;

    if (cs_js_type(link) != CS_JS_STRING || link.n == 2)
        link = cs_event_pick(view, "onlineMeetingUrl");
    if (cs_js_type(link) == CS_JS_STRING && link.n > 2) {
        cs_text_kwrite(jw, "join_url", link, fit->text_max, fit->cut);
        return;
    }
    cs_buf_init(&text, 65536);
    one = cs_event_pick(view, "location");
    found = find_link(jw, cs_js_get(one, "displayName"), &text) ||
            find_link(jw, cs_js_get(one, "locationUri"), &text);
    while (!found && cs_js_next_element(list, &it, &one))
        found = find_link(jw, cs_js_get(one, "displayName"), &text) ||
                find_link(jw, cs_js_get(one, "locationUri"), &text);
    cs_jw_key(jw, "join_url");
    if (found && text.len <= fit->text_max)
        cs_jw_strn(jw, text.data, text.len);
    else
        cs_jw_null(jw);
    cs_buf_clear(&text);
}

static void write_online_meeting(struct cs_jw *jw, const struct cs_fit *fit,
                                 const struct cs_event_view *view)
{
    struct cs_js meeting = cs_event_pick(view, "onlineMeeting");
    bool is_online = false;

    write_join_url(jw, fit, view);
    (void)cs_js_bool(cs_event_pick(view, "isOnlineMeeting"), &is_online); /* false if absent */
    cs_jw_key(jw, "online_meeting");
    if (!is_online && cs_js_type(meeting) != CS_JS_OBJECT) {
        cs_jw_null(jw);
        return;
    }
    cs_jw_object(jw);
    cs_text_kwrite(jw, "provider", cs_event_pick(view, "onlineMeetingProvider"), fit->text_max,
                   fit->cut);
    cs_text_kwrite_opt(jw, "conference_id", cs_js_get(meeting, "conferenceId"), fit->text_max,
                       fit->cut);
    cs_text_kwrite_opt(jw, "quick_dial", cs_js_get(meeting, "quickDial"), fit->text_max, fit->cut);
    cs_text_kwrite_opt(jw, "toll_number", cs_js_get(meeting, "tollNumber"), fit->text_max,
                       fit->cut);
    cs_jw_object_end(jw);
}

static const char *type_name(enum cs_event_type t)
{
    static const char *const names[] = {"single", "occurrence", "exception", "master"};

    return names[t];
}

/* Times, and what the mailbox shows to everybody: the whole of a busy_only record. */
static void write_times(struct cs_jw *jw, const struct cs_fit *fit,
                        const struct cs_event_view *view)
{
    const struct cs_event_facts *f = view->facts;
    bool all_day = false, cancelled = false;

    (void)cs_js_bool(cs_event_pick(view, "isAllDay"), &all_day);
    (void)cs_js_bool(cs_event_pick(view, "isCancelled"), &cancelled); /* both false if absent */
    cs_jw_kstr(jw, "detail", view->busy_only ? "busy_only" : "full");
    if (f->type != CS_EVENT_MASTER)
        cs_jw_kstr(jw, "type", type_name(f->type));
    cs_jw_kstr(jw, "series_id",
               f->type == CS_EVENT_MASTER ? f->id
               : f->series_id[0] == '\0'  ? NULL
                                          : f->series_id);
    cs_jw_ktime(jw, "original_start", f->original_start_utc_ms);
    write_time(jw, view, "start", "start", "originalStartTimeZone", all_day);
    write_time(jw, view, "end", "end", "originalEndTimeZone", all_day);
    cs_jw_kbool(jw, "is_all_day", all_day);
    cs_jw_kbool(jw, "is_cancelled", cancelled);
    cs_text_kwrite(jw, "show_as", cs_event_pick(view, "showAs"), fit->text_max, fit->cut);
    cs_jw_key(jw, "calendar");
    if (view->calendar == NULL) {
        cs_jw_null(jw);
    } else {
        cs_jw_object(jw);
        cs_jw_kstr(jw, "id", view->calendar->id);
        cs_jw_object_end(jw);
    }
}

void cs_event_write_members(struct cs_jw *jw, const struct cs_fit *fit,
                            const struct cs_event_view *view)
{
    struct cs_js response = cs_event_pick(view, "responseStatus");

    write_times(jw, fit, view);
    if (view->busy_only) {
        cs_jw_knull(jw, "subject");
        cs_jw_knull(jw, "ical_uid");
        return;
    }
    cs_text_kwrite(jw, "subject", cs_event_pick(view, "subject"), fit->text_max, fit->cut);
    cs_text_kwrite(jw, "ical_uid", cs_event_pick(view, "iCalUId"), fit->text_max, fit->cut);
    write_organizer(jw, fit, view);
    cs_text_kbool(jw, "is_organizer", cs_event_pick(view, "isOrganizer"));
    write_attendees(jw, fit, view);
    cs_text_kwrite(jw, "response", cs_js_get(response, "response"), fit->text_max, fit->cut);
    cs_jw_ktime(jw, "responded_at", cs_text_time(cs_js_get(response, "time")));
    cs_text_kbool(jw, "response_requested", cs_event_pick(view, "responseRequested"));
    write_locations(jw, fit, view);
    write_online_meeting(jw, fit, view);
    cs_text_kwrite(jw, "sensitivity", cs_event_pick(view, "sensitivity"), fit->text_max, fit->cut);
    cs_text_kwrite(jw, "importance", cs_event_pick(view, "importance"), fit->text_max, fit->cut);
    cs_item_write_texts(jw, "categories", fit, cs_event_pick(view, "categories"));
    cs_text_kwrite(jw, "preview", cs_event_pick(view, "bodyPreview"), fit->text_max, fit->cut);
    cs_text_kbool(jw, "is_draft", cs_event_pick(view, "isDraft"));
    cs_text_kbool(jw, "has_attachments", cs_event_pick(view, "hasAttachments"));
    cs_item_write_attachments(jw, fit, cs_event_pick(view, "attachments"));
    cs_jw_ktime(jw, "created_at", cs_text_time(cs_event_pick(view, "createdDateTime")));
    cs_text_kwrite(jw, "web_link", cs_event_pick(view, "webLink"), fit->text_max, fit->cut);
}

static void write_members(struct cs_jw *jw, const struct cs_fit *fit, const void *user)
{
    cs_event_write_members(jw, fit, user);
}

int cs_event_record(const struct cs_record_ctx *ctx, const struct cs_folder_ref *calendar,
                    struct cs_js event, struct cs_js master, enum cs_change change,
                    struct cs_record *ret)
{
    /* some fifty fields are read of each: one walk instead of fifty over bodies of many KB */
    struct cs_js_index event_index, master_index;
    struct cs_event_facts facts;
    struct cs_event_view view = {.ctx = ctx,
                                 .calendar = calendar,
                                 .facts = &facts,
                                 .event = event = cs_js_indexed(event, &event_index),
                                 .master = master = cs_js_indexed(master, &master_index)};
    struct cs_record_head head = {.kind = CS_KIND_EVENT, .change = change};
    struct cs_decision decision;
    struct cs_js body = {0};
    char dedup[CS_SHA_HEX];
    int r;

    memset(ret, 0, sizeof(*ret));
    r = cs_event_facts_read(event, ctx->zones, &facts);
    if (r < 0)
        return r;
    if (facts.is_removed || facts.type == CS_EVENT_MASTER ||
        !cs_js_has(cs_event_pick(&view, "start")) || !cs_js_has(cs_event_pick(&view, "end")))
        return -EINVAL;
    if (facts.item_id[0] == '\0' || (facts.is_stub && cs_js_type(master) != CS_JS_OBJECT))
        return -ENODATA;
    decision = cs_filter_event(ctx->tenant, event, master);
    if (decision.publish == CS_PUBLISH_HOLD)
        return -EACCES;
    view.busy_only = decision.publish == CS_PUBLISH_BUSY_ONLY;
    if (facts.is_stub) /* the master changes, so does its occurrence */
        cs_item_change_key(master, facts.change_key);
    if (!view.busy_only && ctx->tenant->body != CS_BODY_NONE)
        body = cs_event_pick(&view, "body");
    head.item_id = facts.item_id;
    head.graph_id = facts.id;
    head.change_key = facts.change_key;
    head.last_modified_utc_ms = cs_text_time(cs_event_pick(&view, "lastModifiedDateTime"));
    r = view.busy_only ? 0 : cs_event_dedup_key(&view, dedup);
    if (r < 0)
        return r;
    head.dedup_key = r > 0 ? dedup : NULL;
    r = cs_record_build(ctx, &head, write_members, &view, body, true, ret);
    if (r < 0)
        return r;
    return cs_record_set_folder(ret, calendar == NULL ? NULL : calendar->id);
}
