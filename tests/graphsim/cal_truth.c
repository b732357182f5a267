/* cal_truth.c - what the calendars really hold, for tests to compare with. */
#include "cal.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "tz.h"

static void write_utc(struct sim_jw *w, const char *key, int64_t utc_s)
{
    char text[40];
    sim_time_format(text, utc_s, "", "Z");
    sim_jw_kstr(w, key, text);
}

static void write_hash(const struct sim_mailbox *mb, const struct cal_fields *f, struct sim_jw *w)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    struct cs_buf b;
    unsigned n = 0;

    cs_buf_init(&b, 0);
    cal_write_body(mb, f, true, &b);
    if (EVP_Digest(b.data != NULL ? b.data : "", b.len, hash, &n, EVP_sha256(), NULL) != 1)
        n = 0;
    for (unsigned i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    sim_jw_kstr(w, "bodySha256", hex);
    cs_buf_clear(&b);
}

static void write_occurrences(const struct cal_view *view, uint32_t event,
                              const struct cal_version *v, int64_t from_s, int64_t to_s,
                              struct sim_jw *w)
{
    struct cal_instances list = {0};
    char text[SIM_ID_MAX];

    cal_collect(event, v, from_s, to_s, &list);
    sim_jw_key(w, "occurrences");
    sim_jw_open(w, '[');
    for (size_t k = 0; k < list.n; k++) {
        const struct cal_instance *i = &list.at[k];
        sim_jw_open(w, '{');
        cal_format_id(view->mb, event, v, i->day, true, text);
        sim_jw_kstr(w, "id", text);
        sim_jw_kstr(w, "type", cal_type_name(v, i->ex, i->day));
        sim_change_key(view->mb, 'D', i->ex != NULL ? i->ex->seq : v->seq, text);
        sim_jw_kstr(w, "changeKey", text);
        write_utc(w, "originalStartUtc", i->original_s);
        write_utc(w, "startUtc", i->start_s);
        write_utc(w, "endUtc", i->end_s);
        if (i->ex != NULL) {
            write_hash(view->mb, &i->ex->f, w);
            sim_jw_key(w, "event");
            cal_write_instance(view, i, w);
        }
        sim_jw_close(w, '}');
    }
    sim_jw_close(w, ']');
    cal_instances_clear(&list);
}

static void write_event(const struct cal_view *view, uint32_t event, const struct cal_version *v,
                        int64_t from_s, int64_t to_s, struct sim_jw *w)
{
    char text[SIM_ID_MAX];

    sim_jw_open(w, '{');
    cal_format_id(view->mb, event, v, CAL_NO_DAY, true, text);
    sim_jw_kstr(w, "id", text);
    cal_format_id(view->mb, event, v, CAL_NO_DAY, false, text);
    sim_jw_kstr(w, "restId", text);
    sim_change_key(view->mb, 'D', v->seq, text);
    sim_jw_kstr(w, "changeKey", text);
    cal_calendar_id(view->mb, v->calendar, text);
    sim_jw_kstr(w, "calendarId", text);
    sim_jw_kstr(w, "type", cal_type_name(v, NULL, CAL_NO_DAY));
    write_utc(w, "startUtc", sim_tz_utc_s(v->zone, v->start_s));
    write_utc(w, "endUtc", sim_tz_utc_s(v->end_zone, v->end_s));
    if (v->gone)
        sim_jw_ktime(w, "goneDateTime", v->at_ms);
    write_hash(view->mb, &v->f, w);
    sim_jw_key(w, "event");
    cal_write_event(view, event, v, w);
    if (v->is_series && !v->gone)
        write_occurrences(view, event, v, from_s, to_s, w);
    sim_jw_close(w, '}');
}

static void write_events(const struct cal_view *view, bool gone, int64_t from_s, int64_t to_s,
                         struct sim_jw *w)
{
    const struct sim_calendar *c = view->mb->calendar;
    sim_jw_open(w, '[');
    for (uint32_t e = 0; e < c->n_events; e++) {
        const struct cal_version *v = cal_now(c, e);
        if (v->gone == gone)
            write_event(view, e, v, from_s, to_s, w);
    }
    sim_jw_close(w, ']');
}

static void write_history(const struct cal_view *view, struct sim_jw *w)
{
    const struct sim_calendar *c = view->mb->calendar;
    char text[SIM_ID_MAX];

    sim_jw_open(w, '[');
    for (size_t k = 0; k < c->n_log; k++) {
        const struct cal_entry *l = &c->log[k];
        sim_jw_open(w, '{');
        sim_jw_kint(w, "version", (int64_t)l->seq);
        sim_jw_ktime(w, "at", l->at_ms);
        sim_jw_kstr(w, "op", l->op);
        cal_format_id(view->mb, l->event, cal_now(c, l->event), CAL_NO_DAY, true, text);
        sim_jw_kstr(w, "id", text);
        sim_change_key(view->mb, 'D', l->seq, text);
        sim_jw_kstr(w, "changeKey", text);
        if (l->day != CAL_NO_DAY) {
            sim_time_format(text, (int64_t)l->day * 86400, "", "");
            text[10] = '\0';
            sim_jw_kstr(w, "day", text);
        }
        sim_jw_close(w, '}');
    }
    sim_jw_close(w, ']');
}

void sim_calendar_truth(struct sim_mailbox *mb, bool history, struct sim_jw *w)
{
    const struct sim_calendar *c = mb->calendar;
    struct cal_view view = {.mb = mb,
                            .immutable = true,
                            .zone = SIM_TZ_UTC,
                            .zone_name = "UTC",
                            .select = CAL_ALL | CAL_BIT(CAL_P_CANCELLED_OCCURRENCES)};
    int64_t now_s = sim_now_ms(mb->sim) / 86400000 * 86400;
    int64_t from_s = now_s - (mb->sim->years + 1) * INT64_C(365) * 86400,
            to_s = now_s + INT64_C(730) * 86400;
    char text[SIM_ID_MAX];

    sim_jw_key(w, "calendars");
    sim_jw_open(w, '[');
    for (uint32_t i = 0; i < CAL_CALENDARS; i++) {
        sim_jw_open(w, '{');
        cal_calendar_id(mb, i, text);
        sim_jw_kstr(w, "id", text);
        sim_jw_kstr(w, "name", c->calendar[i].name);
        sim_jw_kbool(w, "isDefaultCalendar", i == 0);
        sim_jw_close(w, '}');
    }
    sim_jw_close(w, ']');
    sim_jw_key(w, "events_window");
    sim_jw_open(w, '{');
    write_utc(w, "start", from_s);
    write_utc(w, "end", to_s);
    sim_jw_close(w, '}');
    sim_jw_key(w, "events");
    write_events(&view, false, from_s, to_s, w);
    if (history) {
        sim_jw_key(w, "gone_events");
        write_events(&view, true, from_s, to_s, w);
        sim_jw_key(w, "event_history");
        write_history(&view, w);
    }
}
