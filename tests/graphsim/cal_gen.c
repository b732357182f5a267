/* cal_gen.c - the events that a mailbox holds when the service begins, and changes by chance. */
#include "cal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "people.h"
#include "tz.h"

#define DAY_S INT64_C(86400)

static const char *const join_places[] = {"",
                                          "Microsoft Teams Meeting",
                                          "Kunde vor Ort, Köln",
                                          "Phone",
                                          "東京オフィス",
                                          "Café \"Zur Post\" & Co.",
                                          "",
                                          "https://conf.example/r/4711"};

/* ---- parts ------------------------------------------------------------------------------------- */

static void set_subject(struct cal_fields *f, uint64_t seed)
{
    char text[SIM_SUBJECT_MAX];
    sim_content_meeting(seed, text);
    cal_set(&f->subject, text);
}

static enum cal_response any_response(struct sim_rng *rng)
{
    uint64_t roll = sim_rng_below(rng, 100);
    return roll < 55   ? CAL_ACCEPTED
           : roll < 65 ? CAL_TENTATIVE
           : roll < 75 ? CAL_DECLINED
           : roll < 92 ? CAL_NOT_RESPONDED
                       : CAL_NONE;
}

/* What nobody answered has no time; nor, often, what an organizer's own copy says. */
static int64_t response_time(enum cal_response r, struct sim_rng *rng, int64_t created_ms)
{
    if (r == CAL_NONE || r == CAL_NOT_RESPONDED || r == CAL_ORGANIZER || sim_rng_below(rng, 4) == 0)
        return CAL_NEVER_MS;
    return created_ms + (int64_t)sim_rng_below(rng, 3 * 86400) * 1000;
}

static void add_people(struct sim_mailbox *mb, struct cal_fields *f, struct sim_rng *rng,
                       int64_t created_ms)
{
    uint64_t roll = sim_rng_below(rng, 1000);
    uint64_t n = roll < 250   ? 0
                 : roll < 850 ? 1 + sim_rng_below(rng, 4)
                 : roll < 995 ? 5 + sim_rng_below(rng, 12)
                              : 100 + sim_rng_below(rng, 200);
    struct sim_person p;

    if (n == 0)
        return;
    f->is_organizer = sim_rng_below(rng, 100) < 55;
    if (!f->is_organizer) {
        sim_person_get(mb->sim->seed, mb->sim->domain, sim_person_pick(sim_rng_next(rng)), &p);
        cal_set(&f->organizer.name, p.name);
        cal_set(&f->organizer.address, p.address);
        f->response = any_response(rng);
        if (f->response == CAL_DECLINED) /* it would not be here */
            f->response = CAL_TENTATIVE;
        f->response_ms = response_time(f->response, rng, created_ms);
        f->show = f->response == CAL_ACCEPTED ? CAL_BUSY : CAL_SHOW_TENTATIVE;
        cal_add_attendee(f, mb->name, mb->address, CAL_REQUIRED, f->response, f->response_ms);
    }
    for (uint64_t i = 0; i < n; i++) {
        enum cal_response r = any_response(rng);
        sim_person_get(mb->sim->seed, mb->sim->domain, sim_person_pick(sim_rng_next(rng)), &p);
        cal_add_attendee(f, p.name, p.address,
                         sim_rng_below(rng, 5) == 0 ? CAL_OPTIONAL : CAL_REQUIRED, r,
                         response_time(r, rng, created_ms));
    }
    if (sim_rng_below(rng, 12) == 0) {
        sim_person_get(mb->sim->seed, mb->sim->domain,
                       SIM_PEOPLE_LIST + (uint32_t)sim_rng_below(rng, SIM_PEOPLE_LISTS), &p);
        cal_add_attendee(f, p.name, p.address, CAL_REQUIRED, CAL_NONE, CAL_NEVER_MS);
    }
    if (sim_rng_below(rng, 4) == 0) {
        sim_person_get(mb->sim->seed, mb->sim->domain,
                       SIM_PEOPLE_ROOM + (uint32_t)sim_rng_below(rng, SIM_PEOPLE_ROOMS), &p);
        cal_add_attendee(f, p.name, p.address, CAL_RESOURCE, CAL_ACCEPTED, CAL_NEVER_MS);
        cal_set(&f->location, p.name);
        cal_set(&f->location_address, p.address);
    }
}

static void make_fields(struct sim_mailbox *mb, struct cal_fields *f, struct sim_rng *rng,
                        int64_t created_ms)
{
    uint64_t roll;

    set_subject(f, f->body_seed);
    cal_set(&f->location, join_places[sim_rng_below(rng, 8)]);
    add_people(mb, f, rng, created_ms);
    roll = sim_rng_below(rng, 100);
    f->sensitivity = roll < 86   ? CAL_NORMAL
                     : roll < 94 ? CAL_PRIVATE
                     : roll < 97 ? CAL_PERSONAL
                                 : CAL_CONFIDENTIAL;
    roll = sim_rng_below(rng, 100);
    f->importance = roll < 6 ? 2 : roll < 8 ? 0 : 1;
    if (f->n_attendees == 0) {
        roll = sim_rng_below(rng, 20);
        f->show = roll == 0   ? CAL_FREE
                  : roll == 1 ? CAL_OOF
                  : roll == 2 ? CAL_ELSEWHERE
                  : roll == 3 ? CAL_SHOW_TENTATIVE
                              : CAL_BUSY;
    }
    f->is_reminder = sim_rng_below(rng, 10) != 0;
    f->has_attachments = sim_rng_below(rng, 12) == 0;
    f->hide_attendees = sim_rng_below(rng, 30) == 0;
    if (f->n_attendees > 0 && sim_rng_below(rng, 2) == 0) {
        f->is_online = true;
        roll = sim_rng_below(rng, 20);
        f->online_kind = roll == 0 ? 2 : roll < 5 ? 1 : 0;
        if (f->location_address == NULL)
            cal_set(&f->location,
                    f->online_kind == 2 ? "Skype Meeting" : "Microsoft Teams Meeting");
    }
    if (sim_rng_below(rng, 10) == 0)
        cal_add_category(f, sim_content_category((unsigned)sim_rng_below(rng, 8)));
    if (sim_rng_below(rng, 50) == 0)
        cal_add_category(f, sim_content_category((unsigned)sim_rng_below(rng, 8)));
    for (size_t i = 0; i < f->n_attendees; i++) {
        if (f->attendee[i].response == CAL_TENTATIVE && sim_rng_below(rng, 6) == 0)
            f->attendee[i].proposed_s = created_ms / 1000 / 1800 * 1800 + 7 * DAY_S;
    }
}

static void cancel_fields(struct cal_fields *f)
{
    char text[SIM_SUBJECT_MAX];
    if (f->is_cancelled)
        return;
    f->is_cancelled = true;
    f->show = CAL_FREE;
    f->is_reminder = false;
    snprintf(text, sizeof(text), "%s%.480s",
             sim_hash(f->body_seed, 61) % 3 == 0 ? "Abgesagt: " : "Canceled: ", f->subject);
    cal_set(&f->subject, text);
}

static int any_zone(const struct sim_calendar *c, struct sim_rng *rng)
{
    uint64_t roll = sim_rng_below(rng, 100);
    if (roll < 70)
        return c->home_zone;
    return roll < 75 ? SIM_TZ_UTC : (int)sim_rng_below(rng, (uint64_t)sim_tz_count());
}

/* ---- times ------------------------------------------------------------------------------------- */

/* A start of the working day on a grid of quarters, mostly. */
static int64_t time_of_day(struct sim_rng *rng)
{
    uint64_t roll = sim_rng_below(rng, 100);
    if (roll < 88)
        return 8 * 3600 + (int64_t)sim_rng_below(rng, 40) * 900;
    if (roll < 92) /* where clocks change */
        return 3600 + (int64_t)sim_rng_below(rng, 9) * 900;
    return (int64_t)sim_rng_below(rng, 96) * 900;
}

static int64_t length(struct sim_rng *rng)
{
    static const int minutes[] = {15, 25, 30, 30, 30, 45, 50, 60, 60, 60, 90, 120, 240, 480};
    return 60 * minutes[sim_rng_below(rng, sizeof(minutes) / sizeof(*minutes))];
}

static void single_times(struct cal_version *v, struct sim_rng *rng, int32_t day)
{
    uint64_t roll = sim_rng_below(rng, 100);
    int64_t midnight = day * DAY_S;

    if (roll < 10) {
        v->all_day = true;
        v->start_s = midnight;
        v->end_s = midnight + (roll < 7 ? 1 : 2 + (int64_t)sim_rng_below(rng, 14)) * DAY_S;
        v->f.show = roll < 4 ? CAL_FREE : CAL_OOF;
        return;
    }
    v->start_s = midnight + time_of_day(rng);
    if (roll < 13) /* more than a day */
        v->end_s = v->start_s + DAY_S + (int64_t)sim_rng_below(rng, 72) * 3600;
    else if (roll < 16) /* over midnight */
        v->end_s = (v->start_s = midnight + 22 * 3600) + 4 * 3600;
    else if (roll < 18)
        v->end_s = v->start_s; /* no length */
    else
        v->end_s = v->start_s + length(rng);
    if (roll >= 18 && roll < 20) { /* a flight: it ends in another zone, 7 hours later */
        v->end_zone = (int)sim_rng_below(rng, (uint64_t)sim_tz_count());
        int64_t end = sim_tz_utc_s(v->zone, v->start_s) + 7 * 3600;
        v->end_s = sim_tz_local_s(v->end_zone, end);
    }
}

static void fix_start(struct sim_recur *r)
{
    struct sim_recur_iter it;
    int32_t day;
    sim_recur_begin(&it, r);
    if (sim_recur_next(&it, &day))
        r->start_day = day;
}

static void make_pattern(struct sim_recur *r, struct sim_rng *rng, enum sim_pattern pattern,
                         int32_t day)
{
    static const unsigned sets[] = {0x02, 0x04, 0x08, 0x10, 0x20, 0x0A, 0x14, 0x3E, 0x41, 0x2A};
    uint64_t roll;
    int y, m, d;

    memset(r, 0, sizeof(*r));
    sim_day_split(day, &y, &m, &d);
    r->pattern = pattern;
    r->start_day = day;
    r->interval = sim_rng_below(rng, 3) != 0 ? 1 : 2 + (int)sim_rng_below(rng, 3);
    switch (pattern) {
    case SIM_DAILY: break;
    case SIM_WEEKLY:
        r->week_days = sets[sim_rng_below(rng, 10)];
        r->first_day = (int)sim_rng_below(rng, 2);
        break;
    case SIM_ABSOLUTE_YEARLY:
    case SIM_ABSOLUTE_MONTHLY:
        roll = sim_rng_below(rng, 10);
        r->month_day = roll == 0 ? 31 : roll == 1 ? 30 : roll == 2 ? 29 : d;
        r->month = m;
        break;
    case SIM_RELATIVE_YEARLY:
    case SIM_RELATIVE_MONTHLY:
        roll = sim_rng_below(rng, 10);
        r->week_days = roll == 0   ? 0x3E
                       : roll == 1 ? 0x41
                       : roll == 2 ? 0x7F
                                   : 1u << (1 + sim_rng_below(rng, 5));
        r->index = (int)sim_rng_below(rng, 5);
        r->month = m;
        break;
    }
    if (pattern == SIM_ABSOLUTE_YEARLY || pattern == SIM_RELATIVE_YEARLY)
        r->interval = 1;
    r->range = SIM_NO_END;
    fix_start(r);
    roll = sim_rng_below(rng, 10);
    if (roll < 5) {
        r->range = SIM_END_DATE;
        r->end_day = r->start_day + 60 + (int32_t)sim_rng_below(rng, 500);
    } else if (roll < 8) {
        r->range = SIM_NUMBERED;
        r->count = 2 + (int)sim_rng_below(rng, pattern <= SIM_WEEKLY ? 60 : 12);
    }
}

/* A time for one occurrence that does not overtake its neighbours, as Exchange asks for. */
static void shift_exception(struct cal_exception *ex, struct sim_rng *rng, bool all_day)
{
    if (all_day) {
        ex->end_s += DAY_S;
        return;
    }
    int64_t quarters = (int64_t)sim_rng_below(rng, 13) - 6;
    ex->start_s += quarters * 1800;
    ex->end_s += quarters * 1800;
    if (sim_rng_below(rng, 3) == 0)
        ex->end_s += 900 * (1 + (int64_t)sim_rng_below(rng, 4));
}

static void change_exception(struct cal_exception *ex, struct sim_rng *rng, bool all_day)
{
    uint64_t roll = sim_rng_below(rng, 10);
    if (roll < 5) {
        shift_exception(ex, rng, all_day);
    } else if (roll < 8) {
        ex->f.body_seed = sim_rng_next(rng);
        set_subject(&ex->f, ex->f.body_seed);
    } else if (roll < 9) {
        cal_set(&ex->f.location, join_places[1 + sim_rng_below(rng, 5)]);
        cal_set(&ex->f.location_address, NULL);
    } else {
        cancel_fields(&ex->f);
    }
}

/* Picks a day of the series that still takes place; CAL_NO_DAY: none. */
static int32_t pick_day(const struct cal_version *v, struct sim_rng *rng, int32_t around)
{
    int32_t days[64];
    size_t n = sim_recur_days(&v->recur, around - 120, around + 240, days, 64);
    n = n < 64 ? n : 64;
    if (n == 0) {
        n = sim_recur_days(&v->recur, 0, SIM_RECUR_MAX_DAY, days, 64);
        n = n < 64 ? n : 64;
    }
    for (int tries = 0; n > 0 && tries < 10; tries++) {
        int32_t d = days[sim_rng_below(rng, n)];
        if (!cal_is_cancelled_day(v, d))
            return d;
    }
    return CAL_NO_DAY;
}

static void make_series(struct cal_version *v, struct sim_rng *rng, enum sim_pattern pattern,
                        int32_t day, int32_t today)
{
    v->is_series = true;
    make_pattern(&v->recur, rng, pattern, day);
    int64_t midnight = v->recur.start_day * DAY_S;
    if (sim_rng_below(rng, 10) == 0) {
        v->all_day = true;
        v->start_s = midnight;
        v->end_s = midnight + DAY_S;
    } else {
        v->start_s = midnight + time_of_day(rng);
        v->end_s = v->start_s + length(rng);
        if (v->recur.pattern == SIM_DAILY && v->end_s - v->start_s > 4 * 3600)
            v->end_s = v->start_s + 3600;
    }
    v->end_zone = v->zone;
    if (sim_rng_below(rng, 10) < 4) {
        for (uint64_t n = 1 + sim_rng_below(rng, 4); n > 0; n--) {
            int32_t d = pick_day(v, rng, today);
            struct cal_exception *ex = d != CAL_NO_DAY ? cal_need_exception(v, d, 0, 0) : NULL;
            if (ex != NULL)
                change_exception(ex, rng, v->all_day);
        }
    }
    if (sim_rng_below(rng, 10) < 3) {
        for (uint64_t n = 1 + sim_rng_below(rng, 3); n > 0; n--) {
            int32_t d = pick_day(v, rng, today);
            if (d != CAL_NO_DAY)
                (void)cal_cancel_day(v, d); /* false only when it is cancelled already */
        }
    }
}

/* ---- events ------------------------------------------------------------------------------------ */

/* A draft with everything in it. pattern -1: a single event. */
static uint32_t invent(struct sim_mailbox *mb, struct sim_rng *rng, int pattern, int32_t day,
                       int32_t today, int64_t created_ms)
{
    struct sim_calendar *c = mb->calendar;
    uint32_t event;
    struct cal_version *v = cal_draft_new(mb, sim_rng_next(rng), &event);

    c->event[event].created_ms = created_ms;
    c->event[event].has_transaction = sim_rng_below(rng, 4) == 0;
    v->zone = v->end_zone = any_zone(c, rng);
    v->custom_zone = sim_rng_below(rng, 40) == 0;
    make_fields(mb, &v->f, rng, created_ms);
    if (pattern < 0) {
        single_times(v, rng, day);
        uint64_t roll = sim_rng_below(rng, 100);
        if (roll < 4 && v->f.n_attendees > 0)
            cancel_fields(&v->f);
        v->calendar = roll < 90 ? 0 : roll < 97 ? 1 : 2;
    } else {
        make_series(v, rng, (enum sim_pattern)pattern, day, today);
        v->calendar = sim_rng_below(rng, 20) == 0 ? 1 : 0;
    }
    return event;
}

void cal_generate(struct sim_mailbox *mb, unsigned n)
{
    struct sim_rng rng = {sim_hash(mb->calendar->seed, 2)};
    int64_t now_ms = sim_now_ms(mb->sim) / 60000 * 60000;
    int32_t today = sim_day_of_s(now_ms / 1000);
    int32_t back = mb->sim->years * 365;

    for (unsigned i = 0; i < n; i++) {
        /* every third is a series; all patterns come in turn, so that few events have them all */
        int pattern = i % 3 == 1 ? (int)(i / 3 % 6) : -1;
        int32_t day;
        if (pattern < 0) /* half in the quarter year around now */
            day = sim_rng_below(&rng, 2) == 0
                      ? today - 45 + (int32_t)sim_rng_below(&rng, 91)
                      : today - back + (int32_t)sim_rng_below(&rng, (uint64_t)back + 300);
        else
            day = today - (int32_t)sim_rng_below(&rng, (uint64_t)(back > 300 ? 300 : back) + 1) +
                  (int32_t)sim_rng_below(&rng, 60);
        if (day < 0)
            day = 0;
        int64_t created_ms =
            ((int64_t)day * DAY_S - (int64_t)sim_rng_below(&rng, 40 * 86400)) * 1000;
        if (created_ms > now_ms - 60000)
            created_ms = now_ms - 60000 - (int64_t)sim_rng_below(&rng, 5 * 86400) * 1000;
        uint32_t event = invent(mb, &rng, pattern, day, today, created_ms);
        int64_t modified_ms = created_ms + (int64_t)sim_rng_below(&rng, 86400) * 1000;
        cal_commit_initial(mb, event, modified_ms < now_ms ? modified_ms : now_ms);
    }
}

/* ---- changes ----------------------------------------------------------------------------------- */

static const char *mutate_new(struct sim_mailbox *mb, struct sim_rng *rng, int32_t today)
{
    int pattern = sim_rng_below(rng, 4) == 0 ? (int)sim_rng_below(rng, 6) : -1;
    int32_t day = today - 3 + (int32_t)sim_rng_below(rng, 90);
    uint32_t event = invent(mb, rng, pattern, day, today, sim_now_ms(mb->sim));
    cal_commit(mb, event, CAL_NO_DAY, "create");
    return "create";
}

static const char *mutate_edit(struct sim_mailbox *mb, struct sim_rng *rng, uint32_t event)
{
    struct cal_version *v = cal_draft(mb, event);
    v->f.body_seed = sim_rng_next(rng);
    set_subject(&v->f, v->f.body_seed);
    /* exceptions are copies here: they keep what they had */
    if (sim_rng_below(rng, 3) == 0)
        v->f.sensitivity = v->f.sensitivity == CAL_NORMAL ? CAL_PRIVATE : CAL_NORMAL;
    if (sim_rng_below(rng, 3) == 0)
        cal_set(&v->f.location, join_places[sim_rng_below(rng, 8)]);
    cal_commit(mb, event, CAL_NO_DAY, "edit");
    return "edit";
}

static const char *mutate_time(struct sim_mailbox *mb, struct sim_rng *rng, uint32_t event)
{
    struct cal_version *v = cal_draft(mb, event);
    int64_t shift = ((int64_t)sim_rng_below(rng, 17) - 8) * (v->all_day ? DAY_S : 1800);
    if (v->is_series) {
        /* another time of day; the pattern's days stay */
        int64_t midnight = sim_day_of_s(v->start_s) * DAY_S;
        int64_t len = v->end_s - v->start_s;
        if (!v->all_day)
            v->start_s = midnight + time_of_day(rng);
        v->end_s = v->start_s + len;
        cal_drop_exceptions(v);
    } else {
        /* now and then far away: out of every window, or back into it */
        if (sim_rng_below(rng, 5) == 0)
            shift = ((int64_t)sim_rng_below(rng, 1600) - 800) * DAY_S;
        if (v->start_s + shift > 0) {
            v->start_s += shift;
            v->end_s += shift;
        }
    }
    cal_commit(mb, event, CAL_NO_DAY, "move");
    return "move";
}

static const char *mutate_pattern(struct sim_mailbox *mb, struct sim_rng *rng, uint32_t event,
                                  int32_t today)
{
    struct cal_version *v = cal_draft(mb, event);
    int64_t of_day = v->start_s - sim_day_of_s(v->start_s) * DAY_S, len = v->end_s - v->start_s;
    cal_drop_exceptions(v);
    make_pattern(&v->recur, rng, (enum sim_pattern)sim_rng_below(rng, 6),
                 today - 30 + (int32_t)sim_rng_below(rng, 60));
    v->start_s = v->recur.start_day * DAY_S + of_day;
    v->end_s = v->start_s + len;
    cal_commit(mb, event, CAL_NO_DAY, "pattern");
    return "pattern";
}

static const char *mutate_occurrence(struct sim_mailbox *mb, struct sim_rng *rng, uint32_t event,
                                     int32_t today)
{
    struct cal_version *v = cal_draft(mb, event);
    int32_t day = pick_day(v, rng, today);
    struct cal_exception *ex = day != CAL_NO_DAY ? cal_need_exception(v, day, 0, 0) : NULL;
    if (ex == NULL) {
        cal_abandon(mb, event);
        return NULL;
    }
    change_exception(ex, rng, v->all_day);
    cal_commit(mb, event, day, "occurrence_change");
    return "occurrence_change";
}

static const char *mutate_cancel_occurrence(struct sim_mailbox *mb, struct sim_rng *rng,
                                            uint32_t event, int32_t today)
{
    struct cal_version *v = cal_draft(mb, event);
    int32_t day = pick_day(v, rng, today);
    if (day == CAL_NO_DAY || !cal_cancel_day(v, day)) {
        cal_abandon(mb, event);
        return NULL;
    }
    cal_commit(mb, event, day, "occurrence_delete");
    return "occurrence_delete";
}

static const char *mutate_respond(struct sim_mailbox *mb, struct sim_rng *rng, uint32_t event)
{
    struct cal_version *v = cal_draft(mb, event);
    if (v->f.n_attendees == 0) {
        cal_abandon(mb, event);
        return NULL;
    }
    struct cal_attendee *a = &v->f.attendee[sim_rng_below(rng, v->f.n_attendees)];
    a->response = (enum cal_response)(CAL_TENTATIVE + sim_rng_below(rng, 3));
    a->response_ms = sim_now_ms(mb->sim) / 1000 * 1000;
    if (strcmp(a->who.address, mb->address) == 0) {
        v->f.response = a->response;
        v->f.response_ms = a->response_ms;
    }
    cal_commit(mb, event, CAL_NO_DAY, "respond");
    return "respond";
}

static uint32_t pick_event(const struct sim_calendar *c, struct sim_rng *rng, bool series)
{
    for (int tries = 0; c->n_events > 0 && tries < 60; tries++) {
        uint32_t e = (uint32_t)sim_rng_below(rng, c->n_events);
        const struct cal_version *v = cal_now(c, e);
        if (!v->gone && (v->is_series || !series))
            return e;
    }
    return UINT32_MAX;
}

const char *sim_calendar_mutate(struct sim_mailbox *mb, struct sim_rng *rng)
{
    struct sim_calendar *c = mb->calendar;
    int32_t today = sim_day_of_s(sim_now_ms(mb->sim) / 1000);
    uint64_t roll = sim_rng_below(rng, 100);
    uint32_t event;

    if (roll < 18)
        return mutate_new(mb, rng, today);
    event = pick_event(c, rng, (roll >= 50 && roll < 80) || (roll >= 98));
    if (event == UINT32_MAX)
        return NULL;
    if (roll < 32)
        return mutate_edit(mb, rng, event);
    if (roll < 50)
        return mutate_time(mb, rng, event);
    if (roll < 68)
        return mutate_occurrence(mb, rng, event, today);
    if (roll < 80)
        return mutate_cancel_occurrence(mb, rng, event, today);
    if (roll < 86)
        return mutate_respond(mb, rng, event);
    if (roll < 97) {
        struct cal_version *v = cal_draft(mb, event);
        const char *op = "delete";
        if (roll < 90 && !v->f.is_cancelled) {
            cancel_fields(&v->f);
            op = "cancel";
        } else {
            v->gone = true;
        }
        cal_commit(mb, event, CAL_NO_DAY, op);
        return op;
    }
    if (roll < 98) {
        struct cal_version *v = cal_draft(mb, event);
        v->calendar = (v->calendar + 1) % CAL_CALENDARS;
        v->moves++;
        cal_commit(mb, event, CAL_NO_DAY, "move_calendar");
        return "move_calendar";
    }
    return mutate_pattern(mb, rng, event, today);
}
