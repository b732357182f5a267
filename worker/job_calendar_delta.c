/* job_calendar_delta.c - one calendar, one window, by its delta.
 *
 * The delta tells occurrences as stubs that have times only: everything else is their master's, which is read by id in any
 * case, since cancelledOccurrences is given only where it is selected. Rows of the producer's table that are owed a look
 * (removed, or vanished from their series) are read by id: only what is really gone becomes a deletion, since the delta
 * reports as removed also what left the window or never was in it (event: delta).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/calendar_priv.h"
#include "worker/graph_url.h"

#define PAGE_EVENTS  50   /* asked for; the service packs whole series, so many more may come */
#define ENTRIES_AIM  2500 /* no further page above it */
#define LINKS_MAX    1000
#define DEFAULT_NAME "default"

#define MASTER_SELECT                                                                       \
    "?$select=id,changeKey,iCalUId,type,seriesMasterId,subject,bodyPreview,body,start,end," \
    "originalStart,"                                                                        \
    "originalStartTimeZone,originalEndTimeZone,isAllDay,isCancelled,isOrganizer,organizer," \
    "attendees,responseStatus,"                                                             \
    "responseRequested,recurrence,cancelledOccurrences,location,locations,isOnlineMeeting," \
    "onlineMeeting,"                                                                        \
    "onlineMeetingProvider,onlineMeetingUrl,sensitivity,importance,showAs,categories,"      \
    "hasAttachments,isDraft,"                                                               \
    "createdDateTime,lastModifiedDateTime,webLink"

void cs_calendar_run_free(struct cs_calendar_run *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n_asked; i++)
        free(c->asked[i].id);
    free(c->asked);
    free(c->items);
    free(c->links);
    free(c->found);
    free(c);
}

static void out_of_memory(struct cs_job_run *run)
{
    cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
}

/* ---- what was seen ---------------------------------------------------------------------------------- */

struct cs_cal_item *cs_cal_add(struct cs_job_run *run, const struct cs_reply *reply)
{
    struct cs_calendar_run *c = run->calendar;
    struct cs_cal_item *item;

    if (c->n == c->cap) {
        size_t cap = c->cap > 0 ? c->cap * 2 : 64;

        item = realloc(c->items, cap * sizeof(*item));
        if (item == NULL) {
            out_of_memory(run);
            return NULL;
        }
        c->items = item;
        c->cap = cap;
    }
    item = &c->items[c->n];
    memset(item, 0, sizeof(*item));
    item->order = reply->order;
    item->seq = c->n++;
    item->sent_ms = reply->sent_ms;
    return item;
}

static int compare_items(const void *a, const void *b)
{
    const struct cs_cal_item *x = a, *y = b;
    int d = strcmp(x->facts.id, y->facts.id);

    if (d != 0)
        return d;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

void cs_cal_settle(struct cs_calendar_run *c)
{
    size_t kept = 0;

    if (c->n == 0)
        return;
    qsort(c->items, c->n, sizeof(*c->items), compare_items);
    for (size_t i = 0; i < c->n; i++) {
        struct cs_cal_item *last = kept > 0 ? &c->items[kept - 1] : NULL;

        if (last == NULL || strcmp(last->facts.id, c->items[i].facts.id) != 0) {
            c->items[kept++] = c->items[i];
            continue;
        }
        c->items[i].reported = c->items[i].reported || last->reported;
        *last = c->items[i];
    }
    c->n = kept;
}

struct cs_cal_item *cs_cal_find(const struct cs_calendar_run *c, const char *id)
{
    size_t lo = 0, hi = c->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = strcmp(c->items[mid].facts.id, id);

        if (d == 0)
            return &c->items[mid];
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

bool cs_cal_in_window(const struct cs_job_part *part, const struct cs_event_facts *f)
{
    if (f->start_utc_ms == CS_NEVER || f->end_utc_ms == CS_NEVER)
        return true; /* in a zone that nobody knows: rather kept than taken for moved away */
    if (f->end_utc_ms <= f->start_utc_ms) /* a reminder without length */
        return f->start_utc_ms >= part->from_utc_ms && f->start_utc_ms < part->to_utc_ms;
    return f->end_utc_ms > part->from_utc_ms && f->start_utc_ms < part->to_utc_ms;
}

/* ---- the walk ----------------------------------------------------------------------------------------- */

static void on_page(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply);

static void add_calendar(struct cs_buf *path, const struct cs_job_part *spec)
{
    if (spec->folder.id == NULL || strcmp(spec->folder.id, DEFAULT_NAME) == 0)
        return; /* what names no calendar means the default one */
    cs_buf_adds(path, "/calendars/");
    cs_url_escape(path, spec->folder.id);
}

static void ask_page(struct cs_job_run *run)
{
    const struct cs_job_part *spec = &run->job.parts[0];
    const char *cursor = run->parts[0].cursor;
    struct cs_call *call;
    char text[CS_TIME_TEXT];
    struct cs_buf path;

    cs_buf_init(&path, 0);
    if (cursor != NULL) {
        cs_buf_adds(&path, cursor);
    } else {
        cs_graph_user_path(&path, run->job.mailbox);
        add_calendar(&path, spec);
        cs_time_format_s(spec->from_utc_ms, text);
        cs_buf_addf(&path, "/calendarView/delta?startDateTime=%s", text);
        cs_time_format_s(spec->to_utc_ms, text);
        cs_buf_addf(&path, "&endDateTime=%s", text);
    }
    call = cs_run_call(run, cs_buf_steal(&path, NULL),
                       cursor != NULL ? CS_ASKED_CURSOR : CS_ASKED_FOLDER, on_page, 0);
    if (call == NULL)
        return;
    call->page_size = run->calendar->page_size;
    call->want_utc = true;
    call->want_text = run->tenant->body == CS_BODY_TEXT;
}

static void bad_answer(struct cs_job_run *run, enum cs_code code)
{
    const struct cs_verdict why = {
        .outcome = CS_RETRY, .code = code, .scope = CS_SCOPE_STREAM, .retry_after_ms = -1};

    cs_part_end(run, 0, CS_RETRY, &why);
}

static void ask_for_fewer(struct cs_job_run *run, const struct cs_verdict *why)
{
    struct cs_calendar_run *c = run->calendar;

    if (c->page_size > 1) {
        c->page_size /= 2;
        ask_page(run);
    } else if (why != NULL) {
        cs_part_end(run, 0, CS_RETRY, why);
    } else {
        bad_answer(run, CS_CODE_PAGE_TOO_LARGE);
    }
}

/* Next links in a loop are on record for this delta: pages come again and again, and the round never ends. */
static bool is_loop(struct cs_job_run *run)
{
    struct cs_calendar_run *c = run->calendar;
    uint64_t hash = cs_id_hash(run->parts[0].cursor), *links;

    for (size_t i = 0; i < c->n_links; i++)
        if (c->links[i] == hash)
            return true;
    if (c->n_links == LINKS_MAX)
        return true;
    links = realloc(c->links, (c->n_links + 1) * sizeof(*links));
    if (links == NULL) {
        out_of_memory(run);
        return true;
    }
    c->links = links;
    c->links[c->n_links++] = hash;
    return false;
}

static void observe_page(struct cs_job_run *run, struct cs_reply *reply)
{
    struct cs_calendar_run *c = run->calendar;
    const struct cs_zones *zones = run->jobs->p.zones;
    struct cs_js_iter it = {0};
    struct cs_js event;

    while (!run->failed && cs_page_next(&reply->page, &it, &event, NULL)) {
        struct cs_cal_item *item;

        run->out->feedback.counts.items++;
        run->parts[0].changes++;
        item = cs_cal_add(run, reply);
        if (item == NULL)
            return;
        item->reported = true;
        item->event = event;
        if (cs_event_facts_read(event, zones, &item->facts) < 0) {
            /* an occurrence that does not say whose, say: by its id it can be read */
            item->incomplete = true;
            if (cs_js_str_into(cs_js_get(event, "id"), item->facts.id, sizeof(item->facts.id)) <= 0)
                c->n--; /* nothing to be called by */
        } else if (!item->facts.is_removed &&
                   (item->facts.item_id[0] == '\0' || !cs_js_has(cs_js_get(event, "start")) ||
                    !cs_js_has(cs_js_get(event, "end")))) {
            item->incomplete = true;
        }
    }
    (void)cs_run_keep(run, reply);
}

static bool has_room(const struct cs_job_run *run)
{
    return run->calendar->entries < ENTRIES_AIM && cs_run_has_room(run, &run->parts[0]);
}

static void on_page(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    struct cs_calendar_run *c = run->calendar;
    struct cs_part_run *part = &run->parts[0];
    bool last = cs_js_has(reply->page.delta_link);
    size_t entries, max = CS_FEEDBACK_ROWS_MAX - run->job.n_rows;

    (void)call;
    if (!reply->ok) {
        if (reply->verdict.code == CS_CODE_PAGE_TOO_LARGE)
            ask_for_fewer(run, &reply->verdict);
        else
            cs_part_end(run, 0, reply->verdict.outcome, &reply->verdict);
        return;
    }
    if (!reply->page.is_collection || (!last && !cs_js_has(reply->page.next_link))) {
        bad_answer(run, CS_CODE_BAD_ANSWER);
        return;
    }
    entries = cs_js_count(reply->page.value);
    if (c->entries + entries >
        max) { /* more than a feedback holds: this page is the next job's, or must be smaller */
        if (c->entries > 0)
            cs_part_end(run, 0, CS_MORE, NULL);
        else
            ask_for_fewer(run, NULL);
        return;
    }
    run->out->feedback.counts.pages++;
    if (!cs_part_follow(run, 0, last ? reply->page.delta_link : reply->page.next_link, !last))
        return;
    if (!last && is_loop(run)) {
        if (!run->failed) {
            part->pages = 0; /* not `more`: the same would come again */
            bad_answer(run, CS_CODE_BAD_ANSWER);
        }
        return;
    }
    part->pages++;
    c->entries += entries;
    observe_page(run, reply);
    if (last)
        cs_part_end(run, 0, CS_DONE, NULL);
    else if (has_room(run))
        ask_page(run);
    else
        cs_part_end(run, 0, CS_MORE, NULL);
}

static enum cs_step walk(struct cs_job_run *run)
{
    const struct cs_job_part *spec = run->job.parts;

    if (run->job.n_parts != 1 || spec->from_utc_ms == CS_NEVER || spec->to_utc_ms == CS_NEVER ||
        spec->from_utc_ms >= spec->to_utc_ms) {
        cs_run_fail_code(run, CS_REJECT, CS_CODE_JOB_INVALID);
        return CS_STEP_END;
    }
    run->calendar = calloc(1, sizeof(*run->calendar));
    if (run->calendar == NULL) {
        out_of_memory(run);
        return CS_STEP_END;
    }
    run->calendar->page_size = PAGE_EVENTS;
    ask_page(run);
    return CS_STEP_NEXT;
}

/* ---- reads by id -------------------------------------------------------------------------------------- */

static void new_reads(struct cs_job_run *run, cs_member_fn fn)
{
    struct cs_calendar_run *c = run->calendar;

    for (size_t i = 0; i < c->n_asked; i++)
        free(c->asked[i].id);
    c->n_asked = 0;
    cs_read_clear(&run->reads);
    run->reads.asked = CS_ASKED_ITEM;
    run->reads.fn = fn;
    run->reads.want_utc = true;
    run->reads.want_text = run->tenant->body == CS_BODY_TEXT;
}

/* path is what lies behind the mailbox; its memory is taken. */
static void add_path(struct cs_job_run *run, const char *id, size_t row, struct cs_buf *rest)
{
    struct cs_calendar_run *c = run->calendar;
    char *path = NULL, *copy = strdup(id);
    struct cs_buf b;

    if (copy != NULL && c->n_asked == c->cap_asked) {
        size_t cap = c->cap_asked > 0 ? c->cap_asked * 2 : 32;
        struct cs_cal_ask *asked = realloc(c->asked, cap * sizeof(*asked));

        if (asked != NULL) {
            c->asked = asked;
            c->cap_asked = cap;
        } else {
            free(copy);
            copy = NULL;
        }
    }
    if (copy == NULL || cs_buf_failed(rest) != 0) {
        free(copy);
        cs_buf_clear(rest);
        out_of_memory(run);
        return;
    }
    c->asked[c->n_asked++] = (struct cs_cal_ask){copy, row};
    cs_buf_init(&b, 0);
    cs_graph_user_path(&b, run->job.mailbox);
    cs_buf_add(&b, rest->data, rest->len);
    cs_buf_clear(rest);
    path = cs_buf_steal(&b, NULL);
    if (path != NULL)
        memmove(path, path + 5, strlen(path + 5) + 1); /* a list's paths are behind /v1.0 */
    if (cs_read_add(&run->reads, path) < 0)
        out_of_memory(run);
}

static void add_read(struct cs_job_run *run, const char *id, size_t row, const char *rest)
{
    struct cs_buf path;

    cs_buf_init(&path, 0);
    cs_buf_adds(&path, "/events/");
    cs_url_escape(&path, id);
    cs_buf_adds(&path, rest);
    add_path(run, id, row, &path);
}

/* A read answered. Gone is an answer too. NULL: it gave no sight (the run has failed, or *refused is set). */
static struct cs_cal_item *take_read(struct cs_job_run *run, size_t member, struct cs_js body,
                                     const struct cs_verdict *why, struct cs_reply *reply,
                                     bool *refused)
{
    const char *id = run->calendar->asked[member].id;
    struct cs_event_facts facts;
    struct cs_cal_item *item;

    *refused = false;
    if (why != NULL && why->code != CS_CODE_ITEM_GONE) {
        if (why->outcome == CS_RETRY)
            cs_run_fail(run, why); /* nothing of this job counts, and all of it comes again */
        *refused = true;
        return NULL;
    }
    if (why == NULL && (cs_event_facts_read(body, run->jobs->p.zones, &facts) < 0 ||
                        strcmp(facts.id, id) != 0 || facts.is_removed)) {
        cs_run_fail_code(run, CS_RETRY, CS_CODE_BAD_ANSWER);
        return NULL;
    }
    item = cs_cal_add(run, reply);
    if (item == NULL)
        return NULL;
    if (why != NULL) {
        item->gone = true;
        snprintf(item->facts.id, sizeof(item->facts.id), "%s", id);
        return item;
    }
    item->event = body;
    item->facts = facts;
    item->incomplete = facts.item_id[0] == '\0';
    (void)cs_run_keep(run, reply);
    return item;
}

static void on_event(struct cs_job_run *run, size_t member, int status, struct cs_js body,
                     const struct cs_verdict *why, struct cs_reply *reply)
{
    bool refused;

    (void)status;
    /* refused for good is neither gone nor there: the row stays, a told item is not published without its fields */
    (void)take_read(run, member, body, why, reply, &refused);
}

/* Owed rows that the walk did not tell, and what it told too little of. */
static enum cs_step read_events(struct cs_job_run *run)
{
    struct cs_calendar_run *c = run->calendar;

    if (run->parts[0].outcome == CS_RETRY || run->parts[0].outcome == CS_RESYNC ||
        run->parts[0].outcome == CS_REJECT)
        return CS_STEP_END; /* the producer would not take the rows of such a job */
    cs_cal_settle(c);
    new_reads(run, on_event);
    for (size_t i = 0; i < run->job.n_rows && !run->failed; i++) {
        const struct cs_cal_item *item = cs_cal_find(c, run->job.rows[i].id);

        if (item == NULL || item->facts.is_removed || item->incomplete)
            add_read(run, run->job.rows[i].id, i,
                     run->job.rows[i].type == 'm' ? MASTER_SELECT : "");
    }
    for (size_t i = 0; i < c->n && !run->failed; i++) {
        bool is_row = false;

        for (size_t k = 0; k < run->job.n_rows && c->items[i].incomplete && !is_row; k++)
            is_row = strcmp(run->job.rows[k].id, c->items[i].facts.id) == 0;
        if (c->items[i].incomplete && !is_row)
            add_read(run, c->items[i].facts.id, 0, "");
    }
    cs_read_start(run, &run->reads);
    return CS_STEP_NEXT;
}

static void on_master(struct cs_job_run *run, size_t member, int status, struct cs_js body,
                      const struct cs_verdict *why, struct cs_reply *reply)
{
    bool refused;

    (void)status;
    (void)take_read(run, member, body, why, reply, &refused);
    if (refused)
        run->calendar->master_failed =
            *why; /* the walk's own entry may do; else the records' step fails by this */
}

static int compare_ids(const void *a, const void *b)
{
    const char *x, *y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return strcmp(x, y);
}

/* Every master that was told or that something told belongs to, once. */
static enum cs_step read_masters(struct cs_job_run *run)
{
    struct cs_calendar_run *c = run->calendar;
    const char **ids;
    size_t n = 0;

    cs_cal_settle(c);
    new_reads(run, on_master);
    ids = calloc(c->n + 1, sizeof(*ids));
    if (ids == NULL) {
        out_of_memory(run);
        return CS_STEP_END;
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct cs_cal_item *item = &c->items[i];

        if (item->gone || item->facts.is_removed || item->incomplete)
            continue;
        if (item->facts.type == CS_EVENT_MASTER)
            ids[n++] = item->facts.id;
        else if (item->facts.series_id[0] != '\0')
            ids[n++] = item->facts.series_id;
    }
    qsort(ids, n, sizeof(*ids), compare_ids);
    for (size_t i = 0; i < n && !run->failed; i++) {
        const struct cs_cal_item *known;

        if (i > 0 && strcmp(ids[i], ids[i - 1]) == 0)
            continue;
        known = cs_cal_find(c, ids[i]);
        if (known == NULL ||
            (known->reported && cs_js_get(known->event, "cancelledOccurrences").p == NULL))
            add_read(run, ids[i], 0, MASTER_SELECT);
    }
    free(ids);
    cs_read_start(run, &run->reads);
    return CS_STEP_NEXT;
}

/* ---- rows that are still there: where? -------------------------------------------------------------------- */

static void on_instances(struct cs_job_run *run, size_t member, int status, struct cs_js body,
                         const struct cs_verdict *why, struct cs_reply *reply)
{
    struct cs_cal_found *found = &run->calendar->found[run->calendar->asked[member].row];
    struct cs_js value = cs_js_get(body, "value"), first = {0};
    struct cs_js_iter it = {0};
    struct cs_event_facts facts;

    (void)status;
    (void)reply;
    if (why != NULL && why->outcome == CS_RETRY)
        cs_run_fail(run, why);
    if (why != NULL || cs_js_type(value) != CS_JS_ARRAY)
        return; /* it cannot be told: the row stays */
    if (!cs_js_next_element(value, &it, &first)) {
        found->is_empty = !cs_js_has(cs_js_get(body, "@odata.nextLink"));
        return;
    }
    if (cs_event_facts_read(first, run->jobs->p.zones, &facts) < 0 ||
        facts.start_utc_ms == CS_NEVER || facts.end_utc_ms == CS_NEVER)
        return;
    memcpy(found->instance, facts.id, sizeof(found->instance));
    found->start_utc_ms = facts.start_utc_ms;
    found->end_utc_ms = facts.end_utc_ms;
}

/* A row's event that was read and that the walk did not tell. NULL: none such. */
static const struct cs_cal_item *still_there(const struct cs_job_run *run, size_t row)
{
    const struct cs_cal_item *item = cs_cal_find(run->calendar, run->job.rows[row].id);

    return item != NULL && !item->gone && !item->facts.is_removed && !item->incomplete &&
                   !item->reported
               ? item
               : NULL;
}

/* A series begins where it likes: whether it still touches the window is for its instances to say. */
static enum cs_step read_instances(struct cs_job_run *run)
{
    struct cs_calendar_run *c = run->calendar;
    char from[CS_TIME_TEXT], to[CS_TIME_TEXT], rest[200];

    cs_cal_settle(c);
    new_reads(run, on_instances);
    if (run->job.n_rows == 0)
        return CS_STEP_NEXT;
    c->found = calloc(run->job.n_rows, sizeof(*c->found));
    if (c->found == NULL) {
        out_of_memory(run);
        return CS_STEP_END;
    }
    cs_time_format_s(run->job.parts[0].from_utc_ms, from);
    cs_time_format_s(run->job.parts[0].to_utc_ms, to);
    snprintf(rest, sizeof(rest),
             "/instances?startDateTime=%s&endDateTime=%s&$select=id,seriesMasterId,type,start,end&$"
             "top=1",
             from, to);
    for (size_t i = 0; i < run->job.n_rows && !run->failed; i++) {
        const struct cs_cal_item *item = still_there(run, i);

        if (item != NULL && item->facts.type == CS_EVENT_MASTER)
            add_read(run, run->job.rows[i].id, i, rest);
    }
    cs_read_start(run, &run->reads);
    return CS_STEP_NEXT;
}

static void on_view(struct cs_job_run *run, size_t member, int status, struct cs_js body,
                    const struct cs_verdict *why, struct cs_reply *reply)
{
    const struct cs_cal_ask *ask = &run->calendar->asked[member];
    struct cs_js value = cs_js_get(body, "value"), one;
    struct cs_js_iter it = {0};

    (void)status;
    (void)reply;
    if (why != NULL && why->outcome == CS_RETRY)
        cs_run_fail(run, why);
    if (why != NULL || cs_js_type(value) != CS_JS_ARRAY ||
        cs_js_has(cs_js_get(body, "@odata.nextLink")))
        return; /* it cannot be told */
    while (cs_js_next_element(value, &it, &one))
        if (cs_js_str_is(cs_js_get(one, "id"), ask->id))
            return;
    run->calendar->found[ask->row].is_elsewhere = true;
}

static void ask_view(struct cs_job_run *run, size_t row, const char *id, int64_t start_ms,
                     int64_t end_ms)
{
    const struct cs_job_part *spec = &run->job.parts[0];
    char text[CS_TIME_TEXT];
    struct cs_buf path;

    cs_buf_init(&path, 0);
    add_calendar(&path, spec);
    cs_time_format_s(start_ms, text);
    cs_buf_addf(&path, "/calendarView?startDateTime=%s", text);
    cs_time_format_s((end_ms > start_ms ? end_ms : start_ms) + 1000, text);
    cs_buf_addf(&path, "&endDateTime=%s&$select=id&$top=500", text);
    add_path(run, id, row, &path);
}

/* An event by its id may lie in any of the mailbox's calendars: this one's view at its time says whether it is in this. */
static enum cs_step read_views(struct cs_job_run *run)
{
    new_reads(run, on_view);
    for (size_t i = 0; i < run->job.n_rows && !run->failed; i++) {
        const struct cs_cal_item *item = still_there(run, i);
        const struct cs_cal_found *found = &run->calendar->found[i];

        if (item == NULL)
            continue;
        if (item->facts.type == CS_EVENT_MASTER && found->instance[0] != '\0')
            ask_view(run, i, found->instance, found->start_utc_ms, found->end_utc_ms);
        else if (item->facts.type != CS_EVENT_MASTER &&
                 cs_cal_in_window(&run->job.parts[0], &item->facts) &&
                 item->facts.start_utc_ms != CS_NEVER && item->facts.end_utc_ms != CS_NEVER)
            ask_view(run, i, item->facts.id, item->facts.start_utc_ms, item->facts.end_utc_ms);
    }
    cs_read_start(run, &run->reads);
    return CS_STEP_NEXT;
}

const struct cs_job_step cs_job_calendar_delta_steps[] = {
    {"walk", walk},
    {"read", read_events},
    {"masters", read_masters},
    {"instances", read_instances},
    {"views", read_views},
    {"publish", cs_calendar_publish_step},
    {NULL, NULL},
};
