/* calendar.c - which request goes where, and the small answers about calendars and groups. */
#include "cal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "content.h"
#include "request.h"

#define ATTACHMENTS_FROM (1u << 30) /* mail's attachments have the numbers below */

static void not_found(struct sim_answer *ans)
{
    sim_answer_error(ans, 404, "ResourceNotFound", "Resource could not be discovered.");
}

static void item_not_found(struct sim_answer *ans, int r)
{
    if (r == -EINVAL)
        sim_answer_error(ans, 400, "ErrorInvalidIdMalformed", "Id is malformed.");
    else
        sim_answer_error(ans, 404, "ErrorItemNotFound",
                         "The specified object was not found in the store.");
}

static bool is(const struct sim_request *req, size_t seg, const char *name)
{
    return req->n_seg > seg && strcasecmp(req->seg[seg], name) == 0;
}

/* ---- calendars and groups ---------------------------------------------------------------------- */

static void write_calendar(const struct sim_request *req, uint32_t calendar, struct sim_jw *w)
{
    const struct sim_mailbox *mb = req->mb;
    const struct cal_calendar *c = &mb->calendar->calendar[calendar];
    char text[SIM_ID_MAX];

    sim_jw_open(w, '{');
    cal_calendar_id(mb, calendar, text);
    sim_jw_kstr(w, "id", text);
    sim_jw_kstr(w, "name", c->name);
    sim_jw_kstr(w, "color", c->color);
    sim_jw_kstr(w, "hexColor", "");
    sim_change_key(mb, 'D', calendar + 1, text);
    sim_jw_kstr(w, "changeKey", text);
    sim_jw_kbool(w, "isDefaultCalendar", calendar == 0);
    sim_jw_kbool(w, "isTallyingResponses", calendar == 0);
    sim_jw_kbool(w, "isRemovable", calendar != 0);
    sim_jw_kbool(w, "canShare", true);
    sim_jw_kbool(w, "canViewPrivateItems", true);
    sim_jw_kbool(w, "canEdit", true);
    sim_jw_key(w, "allowedOnlineMeetingProviders");
    sim_jw_raw(w, "[\"teamsForBusiness\"]");
    sim_jw_kstr(w, "defaultOnlineMeetingProvider", "teamsForBusiness");
    sim_jw_key(w, "owner");
    sim_jw_open(w, '{');
    sim_jw_kstr(w, "name", mb->name);
    sim_jw_kstr(w, "address", mb->address);
    sim_jw_close(w, '}');
    sim_jw_close(w, '}');
}

static void open_list(struct sim_request *req, struct sim_answer *ans, const char *context,
                      struct sim_jw *w)
{
    sim_jw_init(w, &ans->body, req->sim->v.quirks);
    sim_jw_open(w, '{');
    cs_buf_addf(&ans->body, "\"@odata.context\":\"%s/$metadata#users('%s')/%s\"", req->base,
                req->mb->id, context);
    w->comma = true;
    sim_jw_key(w, "value");
    sim_jw_open(w, '[');
}

static void close_list(struct sim_jw *w)
{
    sim_jw_close(w, ']');
    sim_jw_close(w, '}');
}

/* group UINT32_MAX: all */
static void list_calendars(struct sim_request *req, struct sim_answer *ans, uint32_t group)
{
    struct sim_jw w;
    open_list(req, ans, "calendars", &w);
    for (uint32_t i = 0; i < CAL_CALENDARS; i++) {
        if (group != UINT32_MAX && req->mb->calendar->calendar[i].group != group)
            continue;
        write_calendar(req, i, &w);
        ans->items++;
    }
    close_list(&w);
}

#define GROUP_ID 100 /* groups' ids are those of calendars that do not exist */

static void list_groups(struct sim_request *req, struct sim_answer *ans)
{
    static const char *const names[CAL_GROUPS] = {"My Calendars", "Other Calendars"};
    struct sim_jw w;
    char text[SIM_ID_MAX];

    open_list(req, ans, "calendarGroups", &w);
    for (unsigned i = 0; i < CAL_GROUPS; i++) {
        sim_jw_open(&w, '{');
        sim_jw_kstr(&w, "name", names[i]);
        sim_guid(req->mb->seed, 0x6700 + i, text);
        sim_jw_kstr(&w, "classId", text);
        cal_calendar_id(req->mb, GROUP_ID + i, text);
        sim_jw_kstr(&w, "id", text);
        sim_jw_close(&w, '}');
        ans->items++;
    }
    close_list(&w);
}

static void one_calendar(struct sim_request *req, struct sim_answer *ans, uint32_t calendar)
{
    struct sim_jw w;
    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    write_calendar(req, calendar, &w);
    ans->items = 1;
}

static void groups(struct sim_request *req, struct sim_answer *ans)
{
    struct sim_id id;

    if (req->n_seg == 3) {
        list_groups(req, ans);
        return;
    }
    if (sim_id_parse(req->mb, req->seg[3], &id) < 0 || id.kind != SIM_ID_CALENDAR ||
        id.num < GROUP_ID || id.num >= GROUP_ID + CAL_GROUPS)
        item_not_found(ans, -ENOENT);
    else if (req->n_seg == 5 && is(req, 4, "calendars"))
        list_calendars(req, ans, (uint32_t)(id.num - GROUP_ID));
    else
        not_found(ans);
}

/* ---- events ------------------------------------------------------------------------------------ */

static void one_event(struct sim_request *req, struct sim_answer *ans, uint32_t event, int32_t day)
{
    const struct cal_version *v = cal_now(req->mb->calendar, event);
    const char *expand = sim_param(req, "$expand");
    struct cal_view view;
    struct cal_instance i;
    struct sim_jw w;
    bool unknown;

    if (!cal_view_init(&view, req, ans))
        return;
    view.select = cal_select(sim_param(req, "$select"), &unknown);
    if (unknown) {
        sim_answer_error(ans, 400, "RequestBroker--ParseUri",
                         "Could not find a property named in $select.");
        return;
    }
    view.expand_exceptions = expand != NULL && strcasecmp(expand, "exceptionOccurrences") == 0;
    sim_jw_init(&w, &ans->body, req->sim->v.quirks);
    if (day == CAL_NO_DAY)
        cal_write_event(&view, event, v, &w);
    else if (cal_instance_of(event, v, day, &i))
        cal_write_instance(&view, &i, &w);
    else
        item_not_found(ans, -ENOENT);
    ans->items = 1;
}

/* Metadata; the calendar's files have no content that one could fetch. */
static void list_attachments(struct sim_request *req, struct sim_answer *ans, uint32_t event,
                             int32_t day)
{
    const struct cal_version *v = cal_now(req->mb->calendar, event);
    const struct cal_exception *ex = cal_find_exception(v, day);
    const struct cal_fields *f = ex != NULL ? &ex->f : &v->f;
    const char *type;
    char id[SIM_ID_MAX], name[96];
    size_t bytes;
    struct sim_jw w;

    open_list(req, ans, "events/attachments", &w);
    if (f->has_attachments) {
        sim_content_file(f->body_seed, false, name, &type, &bytes);
        sim_id_format(req->mb,
                      (struct sim_id){.kind = SIM_ID_ATTACHMENT,
                                      .immutable = req->immutable_ids,
                                      .num = event + ATTACHMENTS_FROM},
                      id);
        sim_jw_open(&w, '{');
        sim_jw_kstr(&w, "@odata.type", "#microsoft.graph.fileAttachment");
        sim_jw_kstr(&w, "id", id);
        sim_jw_ktime(&w, "lastModifiedDateTime", v->at_ms);
        sim_jw_kstr(&w, "name", name);
        sim_jw_kstr(&w, "contentType", type);
        sim_jw_kint(&w, "size", (int64_t)bytes);
        sim_jw_kbool(&w, "isInline", false);
        sim_jw_close(&w, '}');
        ans->items = 1;
    }
    close_list(&w);
}

/* events/{id}... with the id in segment at */
static void event_path(struct sim_request *req, struct sim_answer *ans, size_t at, const char *path)
{
    uint32_t event;
    int32_t day;
    int r = cal_parse_id(req->mb, req->seg[at], &event, &day);

    if (r < 0) {
        item_not_found(ans, r);
    } else if (req->n_seg == at + 1) {
        one_event(req, ans, event, day);
    } else if (req->n_seg == at + 2 && is(req, at + 1, "instances")) {
        cal_list_instances(req, ans, event, path);
    } else if (req->n_seg == at + 2 && is(req, at + 1, "attachments")) {
        list_attachments(req, ans, event, day);
    } else {
        not_found(ans);
    }
}

/* What is below a calendar, from segment at on: events..., calendarView, calendarView/delta. */
static void below_calendar(struct sim_request *req, struct sim_answer *ans, uint32_t calendar,
                           size_t at, const char *path)
{
    if (is(req, at, "events") && req->n_seg == at + 1)
        cal_list_events(req, ans, calendar, path);
    else if (is(req, at, "events"))
        event_path(req, ans, at + 1, path);
    else if (is(req, at, "calendarView") && req->n_seg == at + 1)
        cal_list_view(req, ans, calendar, path);
    else if (is(req, at, "calendarView") && req->n_seg == at + 2 && is(req, at + 1, "delta"))
        cal_delta(req, ans, calendar, path);
    else
        not_found(ans);
}

/* The path as returned links have it: users('x')/calendars('y')/calendarView/delta. */
static void write_path(const struct sim_request *req, struct cs_buf *out)
{
    for (size_t i = 0; i < req->n_seg; i++) {
        /* the segment behind one of these is a key */
        bool keyed = i + 1 < req->n_seg && (is(req, i, "users") || is(req, i, "calendars") ||
                                            is(req, i, "calendarGroups") || is(req, i, "events"));
        cs_buf_addc(out, '/');
        cs_buf_adds(out, req->seg[i]);
        if (keyed) {
            cs_buf_adds(out, "('");
            sim_url_encode(out, req->seg[++i]);
            cs_buf_adds(out, "')");
        }
    }
}

static void dispatch(struct sim_request *req, struct sim_answer *ans, const char *path)
{
    uint32_t calendar;

    if (is(req, 2, "calendar") && req->n_seg == 3) {
        one_calendar(req, ans, 0);
    } else if (is(req, 2, "calendar")) {
        below_calendar(req, ans, 0, 3, path);
    } else if (is(req, 2, "calendarView") || is(req, 2, "events")) {
        below_calendar(req, ans, 0, 2, path);
    } else if (is(req, 2, "calendarGroups")) {
        groups(req, ans);
    } else if (is(req, 2, "calendars") && req->n_seg == 3) {
        list_calendars(req, ans, UINT32_MAX);
    } else if (is(req, 2, "calendars")) {
        struct sim_id id;
        int r = sim_id_parse(req->mb, req->seg[3], &id);
        calendar = r == 0 && id.kind == SIM_ID_CALENDAR && id.num < CAL_CALENDARS ? (uint32_t)id.num
                                                                                  : UINT32_MAX;
        if (calendar == UINT32_MAX)
            item_not_found(ans, r == -EINVAL ? r : -ENOENT);
        else if (req->n_seg == 4)
            one_calendar(req, ans, calendar);
        else
            below_calendar(req, ans, calendar, 4, path);
    } else {
        not_found(ans);
    }
}

void sim_calendar_handle(struct sim_request *req, struct sim_answer *ans)
{
    struct cs_buf path;

    if (strcmp(req->method, "GET") != 0) {
        /* the application has Calendars.Read, nothing more */
        sim_answer_error(ans, 403, "ErrorAccessDenied",
                         "Access is denied. Check credentials and try again.");
        return;
    }
    cs_buf_init(&path, 0);
    write_path(req, &path);
    dispatch(req, ans, path.data);
    cs_buf_clear(&path);
}
