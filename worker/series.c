#include "worker/series.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/tenant.h"
#include "worker/civil.h"
#include "worker/filter.h"
#include "worker/item.h"
#include "worker/rrule.h"
#include "worker/sha.h"
#include "worker/text.h"
#include "worker/zone.h"

struct series {
    struct cs_event_view view;
    const struct cs_series_parts *parts;
    char rrule[CS_RRULE_MAX]; /* "": a recurrence that we cannot say */
    struct cs_js zone_name;   /* of the recurrence, as given */
    const char *zone_iana;
    const struct cs_zone *zone;
    struct cs_rrule_start start;
};

/* The zone in which the series recurs: its own, or else the author's. */
static void read_zone(struct series *s)
{
    char name[256];

    s->zone_name = cs_js_path(s->view.event, "recurrence", "range", "recurrenceTimeZone", NULL);
    if (cs_js_str_into(s->zone_name, name, sizeof(name)) <= 0) {
        s->zone_name = cs_js_get(s->view.event, "originalStartTimeZone");
        if (cs_js_str_into(s->zone_name, name, sizeof(name)) <= 0)
            return;
    }
    s->zone = cs_zones_find_graph(s->view.ctx->zones, name, &s->zone_iana);
}

static void read_rule(struct series *s)
{
    int64_t utc_s = s->view.facts->start_utc_ms == CS_NEVER
                        ? 0
                        : cs_floor_div(s->view.facts->start_utc_ms, 1000);

    (void)cs_js_bool(cs_js_get(s->view.event, "isAllDay"), &s->start.is_all_day);
    s->start.zone = s->zone;
    s->start.local_s = s->zone == NULL ? utc_s : cs_zone_local_s(s->zone, utc_s);
    if (cs_rrule_text(cs_js_get(s->view.event, "recurrence"), &s->start, s->rrule) < 0)
        s->rrule[0] = '\0';
}

/* The date at the end of "OID.<master id>.2026-04-01". */
static bool cancelled_date(struct cs_js v, char out[11], int64_t *days)
{
    char text[CS_ID_MAX + 64];
    int n = cs_js_str_into(v, text, sizeof(text));
    int y, m, d, end = 0;

    // NOLINTNEXTLINE(cert-err34-c): four and two digits at most do not overflow
    if (n < 10 || sscanf(text + n - 10, "%4d-%2d-%2d%n", &y, &m, &d, &end) != 3 || end != 10 ||
        y < 2 || m < 1 || m > 12 || d < 1 || d > 31)
        return false;
    *days = cs_civil_days(y, m, d);
    memcpy(out, text + n - 10, 11);
    return true;
}

static void write_cancelled(struct cs_jw *jw, const struct cs_fit *fit, const struct series *s)
{
    struct cs_js list = cs_js_get(s->view.event, "cancelledOccurrences"), one;
    struct cs_js_iter it = {0};
    size_t written = 0;
    int64_t time_of_day = s->start.local_s - cs_floor_div(s->start.local_s, CS_DAY_S) * CS_DAY_S;

    cs_jw_key(jw, "cancelled_dates");
    cs_jw_array(jw);
    while (cs_js_next_element(list, &it, &one)) {
        char date[11];
        int64_t days, at;

        if (!cancelled_date(one, date, &days))
            continue;
        if (written++ >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        at = days * CS_DAY_S + time_of_day;
        if (s->zone != NULL)
            at = cs_zone_utc_s(s->zone, at);
        if (at > CS_CIVIL_MAX_S)
            at = CS_CIVIL_MAX_S;
        cs_jw_object(jw);
        cs_jw_kstr(jw, "date", date);
        cs_jw_ktime(jw, "original_start", at * 1000);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}

static void write_exceptions(struct cs_jw *jw, const struct cs_fit *fit, const struct series *s)
{
    cs_jw_key(jw, "exceptions");
    cs_jw_array(jw);
    for (size_t i = 0; i < s->parts->n_exceptions; i++) {
        const struct cs_series_exception *e = &s->parts->exceptions[i];

        if (i >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        cs_jw_object(jw);
        cs_jw_kstr(jw, "item_id", e->item_id);
        cs_jw_ktime(jw, "original_start", e->original_start_utc_ms);
        cs_jw_ktime(jw, "start_at", e->start_utc_ms);
        cs_jw_ktime(jw, "end_at", e->end_utc_ms);
        cs_jw_kbool(jw, "is_cancelled", e->is_cancelled);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}

static void write_occurrences(struct cs_jw *jw, const struct cs_fit *fit, const struct series *s)
{
    const struct cs_record_ctx *ctx = s->view.ctx;

    cs_jw_key(jw, "occurrences");
    cs_jw_array(jw);
    for (size_t i = 0; i < s->parts->n_occurrences; i++) {
        char key[CS_KEY_MAX + 1];

        if (i >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        if (cs_record_key(key, sizeof(key), ctx->tenant->name, ctx->mailbox, CS_KIND_EVENT,
                          s->parts->occurrences[i]) > 0)
            cs_jw_str(jw, key);
    }
    cs_jw_array_end(jw);
}

static void write_members(struct cs_jw *jw, const struct cs_fit *fit, const void *user)
{
    const struct series *s = user;

    cs_event_write_members(jw, fit, &s->view);
    cs_jw_key(jw, "recurrence");
    cs_jw_object(jw);
    cs_jw_kstr(jw, "rrule", s->rrule[0] == '\0' ? NULL : s->rrule);
    cs_jw_kstr(jw, "time_zone", s->zone_iana);
    cs_text_kwrite(jw, "original_time_zone", s->zone_name, 256, NULL);
    cs_jw_object_end(jw);
    write_cancelled(jw, fit, s);
    write_exceptions(jw, fit, s);
    write_occurrences(jw, fit, s);
}

int cs_series_record(const struct cs_record_ctx *ctx, const struct cs_folder_ref *calendar,
                     struct cs_js master, const struct cs_series_parts *parts,
                     enum cs_change change, struct cs_record *ret)
{
    struct cs_js_index index;
    struct cs_event_facts facts;
    struct series s = {.parts = parts};
    struct cs_record_head head = {.kind = CS_KIND_SERIES, .change = change};
    struct cs_decision decision;
    struct cs_js body = {0};
    char dedup[CS_SHA_HEX];
    int r;

    memset(ret, 0, sizeof(*ret));
    master = cs_js_indexed(master, &index);
    r = cs_event_facts_read(master, ctx->zones, &facts);
    if (r < 0)
        return r;
    if (facts.is_removed || facts.type != CS_EVENT_MASTER)
        return -EINVAL;
    decision = cs_filter_event(ctx->tenant, master, (struct cs_js){0});
    if (decision.publish == CS_PUBLISH_HOLD)
        return -EACCES;
    s.view = (struct cs_event_view){.ctx = ctx,
                                    .calendar = calendar,
                                    .facts = &facts,
                                    .event = master,
                                    .busy_only = decision.publish == CS_PUBLISH_BUSY_ONLY};
    read_zone(&s);
    read_rule(&s);
    if (!s.view.busy_only && ctx->tenant->body != CS_BODY_NONE)
        body = cs_js_get(master, "body");
    head.item_id = facts.item_id;
    head.graph_id = facts.id;
    head.change_key = facts.change_key;
    head.last_modified_utc_ms = cs_text_time(cs_js_get(master, "lastModifiedDateTime"));
    r = s.view.busy_only ? 0 : cs_event_dedup_key(&s.view, dedup);
    if (r < 0)
        return r;
    head.dedup_key = r > 0 ? dedup : NULL;
    r = cs_record_build(ctx, &head, write_members, &s, body, true, ret);
    if (r < 0)
        return r;
    return cs_record_set_folder(ret, calendar == NULL ? NULL : calendar->id);
}
