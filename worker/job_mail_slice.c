/* job_mail_slice.c - time slices of a mailbox, listed newest first and published; also the preview page.
 *
 * Pages go by key, never by the service's next link, which skips by count: an item deleted meanwhile would pull another
 * over the page's edge unseen. The next page is "received at or before the last one seen", so it overlaps by the items of
 * that moment, and whatever was there all the while is listed. Only inside one moment with more items than a page are
 * links followed, and that walk is repeated until one brings nothing new. Such a moment is not divided between jobs: it
 * gets one that begins at it, whose usual bounds wait for its end, since a job that stopped inside would leave the cursor
 * that it came with. Its own bounds are MOMENT_ITEMS, MOMENT_BYTES and MOMENT_WALKS.
 *
 * A millisecond is added to the moment, because times may have more digits than we keep.
 *
 * A moment of which more looks are owed than a feedback holds (mails that changed since the anchors) is the exception: it is
 * taken in the order of ids, a feedback's worth a job, each of which walks all of it. What arrives in it meanwhile before
 * that id is its folder's delta's to tell.
 *
 * The cursor is the time that the walk has come to, with "<" before it where that moment is done, with ">" and an id
 * behind it where it is done as far as that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/clock.h"
#include "worker/filter.h"
#include "worker/graph_url.h"
#include "worker/job_priv.h"

#define PREVIEW_ITEMS 25
#define PAGE_MAX      1000              /* $top's upper limit (user-list-messages) */
#define PAGE_BYTES    (4 * 1024 * 1024) /* of an answer; above it the next page is smaller */
#define BEGINNING     "1900-01-01T00:00:00Z"
#define MOMENT_ITEMS  10000
#define MOMENT_BYTES  (128 * 1024 * 1024) /* of answers kept */
#define MOMENT_WALKS  20

static void on_page(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply);

static unsigned page_size(const struct cs_job_run *run, size_t i)
{
    if (run->job.parts[i].mode == CS_MODE_PREVIEW)
        return PREVIEW_ITEMS;
    return run->parts[i].page_size;
}

static void add_time(struct cs_buf *out, const char *op, int64_t utc_ms)
{
    char text[CS_TIME_TEXT];

    cs_time_format(utc_ms, text);
    cs_buf_addf(out, "%s%%20%s", op, text);
}

/* "receivedDateTime ge FROM and receivedDateTime lt TO", or "le" where the walk has come to. $orderby's property must be
 * in $filter too, so there always is a lower bound. */
static void ask_page(struct cs_job_run *run, size_t i)
{
    const struct cs_job_part *spec = &run->job.parts[i];
    struct cs_part_run *part = &run->parts[i];
    struct cs_call *call;
    struct cs_buf path;

    cs_buf_init(&path, 0);
    cs_graph_user_path(&path, run->job.mailbox);
    cs_buf_adds(&path, "/messages?$filter=receivedDateTime%20");
    if (part->dense)
        add_time(&path, "ge", part->seen_down_to_ms);
    else if (spec->from_utc_ms != CS_NEVER)
        add_time(&path, "ge", spec->from_utc_ms);
    else
        cs_buf_adds(&path, "ge%20" BEGINNING);
    if (part->seen_down_to_ms != CS_NEVER) {
        cs_buf_adds(&path, "%20and%20receivedDateTime%20");
        add_time(&path, part->below ? "lt" : "le", part->seen_down_to_ms + (part->below ? 0 : 1));
    } else if (spec->to_utc_ms != CS_NEVER) {
        cs_buf_adds(&path, "%20and%20receivedDateTime%20");
        add_time(&path, "lt", spec->to_utc_ms);
    }
    cs_buf_addf(&path, "&$orderby=receivedDateTime%%20desc&$top=%u&$select=%s", page_size(run, i),
                cs_filter_envelopes_first(run->tenant, run->job.mailbox) ? cs_mail_select_people
                                                                         : cs_mail_select_list);
    call = cs_run_call(run, cs_buf_steal(&path, NULL), CS_ASKED_MAILBOX, on_page, i);
    if (call != NULL)
        call->want_text = run->tenant->body == CS_BODY_TEXT;
}

static void ask_link(struct cs_job_run *run, size_t i)
{
    struct cs_call *call =
        cs_run_call(run, strdup(run->parts[i].cursor), CS_ASKED_MAILBOX, on_page, i);

    if (call != NULL)
        call->want_text = run->tenant->body == CS_BODY_TEXT;
}

static uint64_t hash_of(const struct cs_envelope *env)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (const char *p = env->id; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    h = cs_mix64(h);
    for (const char *p = env->change_key; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    h = cs_mix64(h);
    return h != 0 ? h : 1;
}

/* Where the hash is, or the free place for it. */
static uint64_t *place(uint64_t *table, size_t cap, uint64_t h)
{
    size_t at = (size_t)h & (cap - 1);

    while (table[at] != 0 && table[at] != h)
        at = (at + 1) & (cap - 1);
    return &table[at];
}

/* Has a walk of this moment seen this version of the item? From now on one has. @return 1, 0, -ENOMEM */
static int know(struct cs_part_run *part, const struct cs_envelope *env)
{
    uint64_t h = hash_of(env), *at;

    if ((part->n_known + 1) * 2 > part->cap_known) {
        size_t cap = part->cap_known > 0 ? part->cap_known * 2 : 1024;
        uint64_t *table = calloc(cap, sizeof(*table));

        if (table == NULL)
            return -ENOMEM;
        for (size_t i = 0; i < part->cap_known; i++)
            if (part->known[i] != 0)
                *place(table, cap, part->known[i]) = part->known[i];
        free(part->known);
        part->known = table;
        part->cap_known = cap;
    }
    at = place(part->known, part->cap_known, h);
    if (*at == h)
        return 1;
    *at = h;
    part->n_known++;
    return 0;
}

/* Observes the page's items. @return items; *last_ms: received time of the last one (CS_NEVER: none). */
static size_t observe_page(struct cs_job_run *run, size_t i, const struct cs_reply *reply,
                           int64_t *last_ms)
{
    struct cs_part_run *part = &run->parts[i];
    struct cs_js_iter it = {0};
    struct cs_js item;
    size_t n = 0;

    *last_ms = CS_NEVER;
    while (!run->failed && cs_page_next(&reply->page, &it, &item, NULL)) {
        struct cs_envelope env;
        struct cs_obs *obs;

        n++;
        run->out->feedback.counts.items++;
        if (cs_envelope_read(item, &env) < 0 || env.is_removed)
            continue;
        if (env.received_utc_ms != CS_NEVER)
            *last_ms = env.received_utc_ms;
        if (part->dense) {
            int known = know(part, &env);

            if (known < 0)
                cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
            if (known != 0)
                continue;
            part->fresh++;
        }
        obs = cs_run_observe(run, env.id, CS_OBS_ITEM, CS_SRC_LIST, reply);
        if (obs == NULL)
            break;
        obs->env = env;
        obs->told = true;
        obs->item = item;
        part->changes++;
    }
    return n;
}

/* The cursor: where another job goes on. Before the first item it is what the job came with, not a link. */
static bool set_cursor(struct cs_job_run *run, size_t i)
{
    struct cs_part_run *part = &run->parts[i];
    char time[CS_TIME_TEXT];
    struct cs_buf text;

    free(part->cursor);
    part->cursor = NULL;
    if (part->seen_down_to_ms == CS_NEVER) /* the job came without one too */
        return true;
    cs_time_format(part->seen_down_to_ms, time);
    cs_buf_init(&text, 0);
    cs_buf_addf(&text, "%s%s%s%s", part->below ? "<" : "", time, part->after != NULL ? ">" : "",
                part->after != NULL ? part->after : "");
    part->cursor = cs_buf_steal(&text, NULL);
    if (part->cursor == NULL)
        cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    return part->cursor != NULL;
}

static void go_on(struct cs_job_run *run, size_t i)
{
    struct cs_part_run *part = &run->parts[i];

    if (cs_run_has_room(run, part))
        ask_page(run, i);
    else if (set_cursor(run, i))
        cs_part_end(run, i, CS_MORE, NULL);
}

static void begin_walk(struct cs_job_run *run, size_t i)
{
    struct cs_part_run *part = &run->parts[i];

    free(part->cursor); /* the links of another walk are no loop */
    free(part->last_link);
    part->cursor = NULL;
    part->last_link = NULL;
    part->fresh = 0;
    part->walks++;
    ask_page(run, i);
}

/* A moment with more items than a page: in a job that begins at it. */
static void begin_moment(struct cs_job_run *run, size_t i)
{
    struct cs_part_run *part = &run->parts[i];

    if (part->advanced) {
        if (set_cursor(run, i))
            cs_part_end(run, i, CS_MORE, NULL);
        return;
    }
    part->dense = true;
    if (part->page_size <= PAGE_MAX / 4)
        part->page_size *= 4;
    begin_walk(run, i);
}

static bool is_of_moment(const struct cs_part_run *part, const struct cs_obs *o)
{
    return o->env.received_utc_ms >= part->seen_down_to_ms &&
           o->env.received_utc_ms <= part->seen_down_to_ms + 1;
}

/* Keeps of the moment what no job before this one has told, in the order of ids as far as its looks fit a feedback.
 * @return false: not all of it, part->after is where to go on, or the run has failed */
static bool take_moment(struct cs_job_run *run, struct cs_part_run *part)
{
    size_t room = CS_FEEDBACK_LEFT_MAX, kept = 0, end;
    char last[CS_ID_MAX + 1] = "";
    bool whole = true;

    cs_run_group(run);
    for (size_t k = 0; k < run->n_obs; k++) /* of slices beside this one: a look each at most */
        if (!is_of_moment(part, &run->obs[k]))
            room -= room > 0;
    for (size_t k = 0; k < run->n_obs; k = end) {
        bool unsettled = false;

        for (end = k; end < run->n_obs && strcmp(run->obs[end].env.id, run->obs[k].env.id) == 0;
             end++)
            unsettled = unsettled || cs_mail_is_unsettled(run, &run->obs[end]);
        if (is_of_moment(part, &run->obs[k])) {
            if (part->after != NULL && strcmp(run->obs[k].env.id, part->after) <= 0)
                continue;
            whole = whole && (!unsettled || room > 0);
            if (!whole)
                continue;
            room -= unsettled;
            memcpy(last, run->obs[k].env.id, sizeof(last));
        }
        memmove(&run->obs[kept], &run->obs[k], (end - k) * sizeof(*run->obs));
        kept += end - k;
    }
    run->n_obs = kept;
    if (whole || last[0] == '\0')
        return whole;
    free(part->after);
    part->after = strdup(last);
    if (part->after == NULL)
        cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    return false;
}

/* The end of a walk inside one moment. */
static void end_walk(struct cs_job_run *run, size_t i)
{
    struct cs_part_run *part = &run->parts[i];

    if (part->fresh > 0) { /* the first walk, or something shifted under the links: walk again */
        begin_walk(run, i);
        return;
    }
    if (!take_moment(run, part)) {
        if (!run->failed && set_cursor(run, i))
            cs_part_end(run, i, CS_MORE, NULL);
        return;
    }
    part->dense = false;
    free(part->after);
    part->after = NULL;
    part->below = true; /* the moment is done */
    part->advanced = true;
    go_on(run, i);
}

/* Half a moment cannot be left behind: where it does not fit, nothing of the job counts. */
static bool moment_fits(struct cs_job_run *run, const struct cs_part_run *part)
{
    if (part->n_known <= MOMENT_ITEMS && run->bytes <= MOMENT_BYTES && part->walks <= MOMENT_WALKS)
        return true;
    cs_run_fail_code(run, CS_RETRY, CS_CODE_PAGE_TOO_LARGE);
    return false;
}

static void shrink(struct cs_job_run *run, size_t i, const struct cs_verdict *why)
{
    struct cs_part_run *part = &run->parts[i];

    if (part->page_size <= 1) {
        if (part->dense)
            cs_run_fail(run, why);
        else if (set_cursor(run, i))
            cs_part_end(run, i, CS_RETRY, why);
        return;
    }
    part->page_size /= 2;
    if (part->dense)
        begin_walk(run, i);
    else
        ask_page(run, i);
}

static void on_page(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    size_t i = call->index, items;
    struct cs_part_run *part = &run->parts[i];
    size_t observed = run->n_obs;
    bool has_next, moved;
    int64_t last_ms;

    if (!reply->ok && reply->verdict.code == CS_CODE_PAGE_TOO_LARGE) {
        shrink(run, i, &reply->verdict);
        return;
    }
    if (!reply->ok || !reply->page.is_collection) {
        const struct cs_verdict bad = {.outcome = CS_RETRY,
                                       .code = CS_CODE_BAD_ANSWER,
                                       .scope = CS_SCOPE_STREAM,
                                       .retry_after_ms = -1};

        if (part->dense)
            cs_run_fail(run, reply->ok ? &bad : &reply->verdict);
        else if (set_cursor(run, i)) /* after a page cs_part_end() makes it `more` */
            cs_part_end(run, i, reply->ok ? CS_RETRY : reply->verdict.outcome,
                        reply->ok ? &bad : &reply->verdict);
        return;
    }
    if (!part->dense && run->n_obs > 0 &&
        !cs_run_takes(run, reply->page.value)) { /* the page is the next job's */
        if (set_cursor(run, i))
            cs_part_end(run, i, CS_MORE, NULL);
        return;
    }
    run->out->feedback.counts.pages++;
    part->pages++;
    has_next = cs_js_has(reply->page.next_link);
    items = observe_page(run, i, reply, &last_ms);
    if (run->job.parts[i].mode == CS_MODE_PREVIEW || (!has_next && !part->dense)) {
        (void)cs_run_keep(run, reply);
        cs_part_end(run, i, CS_DONE, NULL);
        return;
    }
    if (part->dense) {
        /* inside one moment links are followed; a page size may not change on the way */
        bool follow = has_next && cs_part_follow(run, i, reply->page.next_link, true);

        if (run->n_obs > observed)
            (void)cs_run_keep(run, reply);
        if (part->ended) /* a link that leads nowhere */
            cs_run_fail(run, &part->why);
        if (run->failed || !moment_fits(run, part))
            return;
        if (follow)
            ask_link(run, i);
        else
            end_walk(run, i);
        return;
    }
    if (reply->len > PAGE_BYTES && part->page_size > 1)
        part->page_size /= 2;
    else if (reply->len < PAGE_BYTES / 4 && part->page_size < run->jobs->p.limits.slice_page)
        part->page_size *= 2;
    if (items > 0 && cs_run_keep(run, reply) < 0)
        return;
    if (items == 0) { /* an empty page in the middle: only its link knows where it was */
        if (cs_part_follow(run, i, reply->page.next_link, true))
            ask_link(run, i);
        return;
    }
    moved = last_ms != CS_NEVER &&
            (part->seen_down_to_ms == CS_NEVER || part->below || last_ms < part->seen_down_to_ms);
    if (moved) {
        part->seen_down_to_ms = last_ms;
        part->below = false;
        free(part->after); /* a moment of which only a page is left: told again */
        part->after = NULL;
        part->advanced = true;
        go_on(run, i);
    } else if (part->seen_down_to_ms != CS_NEVER) {
        begin_moment(run, i);
    } else {
        const struct cs_verdict bad = {.outcome = CS_RETRY,
                                       .code = CS_CODE_BAD_ANSWER,
                                       .scope = CS_SCOPE_STREAM,
                                       .retry_after_ms = -1};

        cs_part_end(run, i, CS_RETRY,
                    &bad); /* items without a received time: there is no key to go on by */
    }
}

static enum cs_step list(struct cs_job_run *run)
{
    for (size_t i = 0; i < run->job.n_parts; i++) {
        struct cs_part_run *part = &run->parts[i];

        const char *at = part->cursor, *after = NULL;

        part->page_size = run->jobs->p.limits.slice_page;
        part->below = at != NULL && at[0] == '<';
        if (part->below)
            at++;
        if (at != NULL && (after = strchr(at, '>')) != NULL && after[1] != '\0' &&
            (part->after = strdup(after + 1)) == NULL) {
            cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
            return CS_STEP_END;
        }
        if (at != NULL && cs_time_parse(at, part->after != NULL ? (size_t)(after - at) : strlen(at),
                                        &part->seen_down_to_ms) < 0) {
            cs_run_fail_code(run, CS_REJECT, CS_CODE_CURSOR_REFUSED);
            return CS_STEP_END;
        }
        ask_page(run, i);
    }
    return CS_STEP_NEXT;
}

const struct cs_job_step cs_job_mail_slice_steps[] = {
    {"list", list},
    {"sieve", cs_mail_sieve_step},
    {"read", cs_mail_read_step},
    {"attachments", cs_mail_attachments_step},
    {"publish", cs_mail_publish_step},
    {NULL, NULL},
};
