/* job_mail.c - what the mail jobs share: reading full messages, listing attachments, publishing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/filter.h"
#include "worker/graph_url.h"
#include "worker/job_priv.h"

#define ANCHOR_SKEW_MS \
    (2 * 60 * 1000) /* clocks differ, and the service's times have a grain of a second */
#define FULL                                                                                  \
    "id,changeKey,parentFolderId,conversationId,conversationIndex,internetMessageId,subject," \
    "bodyPreview,body,from,sender,"                                                           \
    "toRecipients,ccRecipients,bccRecipients,replyTo,receivedDateTime,sentDateTime,"          \
    "createdDateTime,"                                                                        \
    "lastModifiedDateTime,hasAttachments,importance,isRead,isDraft,categories,flag,"          \
    "inferenceClassification,webLink"

const char cs_mail_select_envelope[] = "id,changeKey,parentFolderId,receivedDateTime";
const char cs_mail_select_full[] =
    FULL ",internetMessageHeaders"; /* headers only in a GET of one message */
const char cs_mail_select_list[] = FULL;
const char cs_mail_select_people[] =
    "id,changeKey,parentFolderId,receivedDateTime,lastModifiedDateTime,isDraft,from,sender,"
    "toRecipients,ccRecipients,bccRecipients,replyTo";

#define SENSITIVITY "&$expand=singleValueExtendedProperties($filter=id%20eq%20'Integer%200x36')"

/* A new list of reads; the last step's is over. */
static struct cs_read_list *new_reads(struct cs_job_run *run, enum cs_asked asked, cs_member_fn fn)
{
    cs_read_clear(&run->reads);
    run->reads.asked = asked;
    run->reads.fn = fn;
    return &run->reads;
}

static int add_read(struct cs_job_run *run, struct cs_read_list *list, const char *id,
                    const char *rest)
{
    struct cs_buf path;
    char *text;
    int r;

    cs_buf_init(&path, 0);
    cs_graph_user_path(&path, run->job.mailbox);
    cs_buf_adds(&path, "/messages/");
    cs_url_escape(&path, id);
    cs_buf_adds(&path, rest);
    text = cs_buf_steal(&path, NULL);
    if (text != NULL)
        memmove(text, text + 5, strlen(text + 5) + 1); /* a list's paths are behind /v1.0 */
    r = cs_read_add(list, text);
    if (r < 0)
        cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    return r;
}

/* ---- full messages ------------------------------------------------------------------------------------ */

/* The id that a member asked for stands in its path: ".../messages/<id>?...". */
static bool member_id(const struct cs_read_list *list, size_t member, char out[CS_ID_MAX + 1])
{
    const char *p = strstr(list->paths[member], "/messages/");
    size_t n = 0;

    for (p += 10; *p != '\0' && *p != '?' && *p != '/' && n < CS_ID_MAX; p++) {
        if (*p == '%') { /* cs_url_escape() wrote it: two digits follow */
            const char hex[3] = {p[1], p[2], '\0'};

            out[n++] = (char)strtoul(hex, NULL, 16);
            p += 2;
        } else {
            out[n++] = *p;
        }
    }
    out[n] = '\0';
    return n > 0;
}

static void failed_read(struct cs_job_run *run, const char *id)
{
    (void)cs_run_add_string(run, &run->failed_reads, &run->n_failed_reads, id);
}

/* What was not read is handed back. That the mailbox must wait takes nothing back either, unless the job is a list of items
 * of which none was read: then all of it comes again as it was. */
static void not_read(struct cs_job_run *run, const char *id, const struct cs_verdict *why)
{
    bool held = why->code == CS_CODE_THROTTLED;

    if (held ? run->job.type == CS_JOB_MAIL_ITEMS && run->n_obs == 0
             : why->scope >= CS_SCOPE_MAILBOX && why->code != CS_CODE_NETWORK &&
                   why->code != CS_CODE_SERVICE_UNAVAILABLE) {
        cs_run_fail(run, why);
        return;
    }
    if (held)
        cs_run_held(run, why);
    failed_read(run, id);
}

static void on_message(struct cs_job_run *run, size_t member, int status, struct cs_js body,
                       const struct cs_verdict *why, struct cs_reply *reply)
{
    struct cs_envelope env;
    char id[CS_ID_MAX + 1];
    struct cs_obs *obs;

    (void)status;
    if (!member_id(&run->reads, member, id)) {
        cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
        return;
    }
    if (why != NULL && why->code == CS_CODE_ITEM_GONE) {
        (void)cs_run_observe(run, id, CS_OBS_GONE, CS_SRC_READ, reply);
        return;
    }
    if (why != NULL) {
        not_read(run, id, why);
        return;
    }
    if (cs_envelope_read(body, &env) < 0 || strcmp(env.id, id) != 0) {
        failed_read(run, id);
        return;
    }
    obs = cs_run_observe(run, id, CS_OBS_ITEM, CS_SRC_READ, reply);
    if (obs == NULL)
        return;
    obs->env = env;
    obs->item = body;
    (void)cs_run_keep(run, reply);
}

/* What a slice listed as envelopes and the filters do not hold back by them is read whole. */
enum cs_step cs_mail_sieve_step(struct cs_job_run *run)
{
    if (!cs_filter_envelopes_first(run->tenant, run->job.mailbox))
        return CS_STEP_NEXT;
    for (size_t i = 0; i < run->n_obs; i++) {
        struct cs_decision d;

        if (run->obs[i].item.p == NULL)
            continue;
        if (cs_filter_email(run->tenant, run->job.mailbox, run->obs[i].item, &d) < 0) {
            cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
            return CS_STEP_END;
        }
        if (d.publish == CS_PUBLISH_FULL)
            run->obs[i].item = (struct cs_js){0};
    }
    return CS_STEP_NEXT;
}

/* Which items need their full message read: what was told (a walk has envelopes only), and what was said to have left a
 * folder and was told by no other. */
enum cs_step cs_mail_read_step(struct cs_job_run *run)
{
    struct cs_read_list *reads = new_reads(run, CS_ASKED_ITEM, on_message);
    char select[1024];
    struct cs_item_view view;
    size_t i = 0;

    reads->want_text = run->tenant->body == CS_BODY_TEXT;
    snprintf(select, sizeof(select), "?$select=%s%s", cs_mail_select_full,
             cs_tenant_mail_rules(run->tenant, run->job.mailbox)->skip_private ? SENSITIVITY : "");
    cs_run_group(run);
    while (!run->failed && cs_run_next_view(run, &i, &view)) {
        bool old = view.last != NULL && view.last->kind == CS_OBS_ITEM &&
                   view.last->env.received_utc_ms != CS_NEVER &&
                   view.last->env.received_utc_ms < run->job.depth_utc_ms;

        if ((view.told && !old && view.last != NULL && view.last->item.p == NULL) ||
            (view.removed && !view.told))
            (void)add_read(run, reads, view.first->env.id, select);
    }
    if (run->job.type == CS_JOB_MAIL_ITEMS)
        for (size_t k = 0; !run->failed && k < run->job.n_items; k++)
            (void)add_read(run, reads, run->job.items[k].id, select);
    cs_read_start(run, reads);
    return CS_STEP_NEXT;
}

/* ---- the decision ------------------------------------------------------------------------------------- */

static const struct cs_look *asked_of(const struct cs_job_run *run, const char *id)
{
    for (size_t i = 0; run->job.type == CS_JOB_MAIL_ITEMS && i < run->job.n_items; i++)
        if (strcmp(run->job.items[i].id, id) == 0)
            return &run->job.items[i];
    return NULL;
}

static bool read_failed(const struct cs_job_run *run, const char *id)
{
    for (size_t i = 0; i < run->n_failed_reads; i++)
        if (strcmp(run->failed_reads[i], id) == 0)
            return true;
    return false;
}

static const char *source_folder(const struct cs_job_run *run, int source)
{
    return source >= 0 ? run->job.parts[source].folder.id : NULL;
}

/* Seen by a list, and new or changed since the anchors began, or listed before there were any (preview). Graph need not
 * mention an item that comes and goes between an anchor and the first round, so such an item is looked at again. */
bool cs_mail_is_unsettled(const struct cs_job_run *run, const struct cs_obs *o)
{
    char text[64];
    int64_t modified_ms = 0;
    int n;

    if (run->job.type != CS_JOB_MAIL_SLICE || o->item.p == NULL)
        return false;
    if (run->job.anchored_utc_ms == CS_NEVER)
        return true;
    n = cs_js_str_into(cs_js_get(o->item, "lastModifiedDateTime"), text, sizeof(text));
    return n <= 0 || cs_time_parse(text, (size_t)n, &modified_ms) < 0 ||
           modified_ms >= run->job.anchored_utc_ms - ANCHOR_SKEW_MS;
}

static void sight_of(const struct cs_job_run *run, const struct cs_item_view *view,
                     struct cs_sight *ret)
{
    const struct cs_obs *last = view->last;

    memset(ret, 0, sizeof(*ret));
    ret->asked = asked_of(run, view->first->env.id);
    ret->is_slice = run->job.type == CS_JOB_MAIL_SLICE;
    ret->told = view->told;
    ret->removed = view->removed;
    ret->removed_from = view->removed ? source_folder(run, view->removed_source) : NULL;
    ret->gone = last->kind == CS_OBS_GONE;
    if (ret->gone)
        return;
    ret->folder = last->env.parent_folder_id;
    ret->change_key = last->env.change_key;
    ret->place = cs_map_place(run->map, ret->folder);
    ret->unsettled = cs_mail_is_unsettled(run, last);
    ret->too_old =
        last->env.received_utc_ms != CS_NEVER && last->env.received_utc_ms < run->job.depth_utc_ms;
    for (size_t k = 0; k < view->n; k++) {
        const struct cs_obs *o = &view->first[k];
        const char *folder = source_folder(run, o->source);

        if (o->told && folder != NULL && strcmp(folder, ret->folder) == 0)
            ret->told_by_folder = true;
    }
}

/* Do the filters hold back what would be published? *ret says why. */
static bool is_held(struct cs_job_run *run, const struct cs_item_view *view,
                    struct cs_decision *ret)
{
    if (cs_filter_email(run->tenant, run->job.mailbox, view->last->item, ret) == 0)
        return ret->publish == CS_PUBLISH_HOLD;
    cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    return true;
}

/* True if the item is to be published and could be decided. */
static bool will_publish(struct cs_job_run *run, const struct cs_item_view *view)
{
    struct cs_decision held;
    struct cs_ruling d;
    struct cs_sight s;

    if (view->last == NULL || view->last->item.p == NULL)
        return false;
    sight_of(run, view, &s);
    cs_look_decide(&s, &d);
    return (d.act == CS_ACT_UPSERT || d.act == CS_ACT_MOVED) && !is_held(run, view, &held);
}

/* ---- attachments -------------------------------------------------------------------------------------- */

static void on_attachments(struct cs_job_run *run, size_t member, int status, struct cs_js body,
                           const struct cs_verdict *why, struct cs_reply *reply)
{
    struct cs_obs *obs = &run->obs[run->read_obs[member]];

    (void)status;
    if (why != NULL && why->code == CS_CODE_ITEM_GONE)
        return; /* it left since: published as read, its folder's next round says so */
    if (why != NULL) {
        not_read(run, obs->env.id, why);
        return;
    }
    if (cs_js_type(cs_js_get(body, "value")) != CS_JS_ARRAY) {
        failed_read(run, obs->env.id);
        return;
    }
    obs->attachments = cs_js_get(body, "value");
    (void)cs_run_keep(run, reply);
}

enum cs_step cs_mail_attachments_step(struct cs_job_run *run)
{
    struct cs_read_list *reads = new_reads(run, CS_ASKED_ITEM, on_attachments);
    struct cs_item_view view;
    size_t i = 0, cap = 0;

    cs_run_group(run);
    while (!run->failed && cs_run_next_view(run, &i, &view)) {
        if (!will_publish(run, &view) || !view.last->env.wants_attachments)
            continue;
        if (reads->n == cap) {
            size_t *obs;

            cap = cap > 0 ? cap * 2 : 32;
            obs = realloc(run->read_obs, cap * sizeof(*obs));
            if (obs == NULL) {
                cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
                return CS_STEP_END;
            }
            run->read_obs = obs;
        }
        run->read_obs[reads->n] = (size_t)(view.last - run->obs);
        /* without $select the contents would come too */
        (void)add_read(run, reads, view.last->env.id,
                       "/attachments?$select=id,name,contentType,size,isInline");
    }
    cs_read_start(run, reads);
    return CS_STEP_NEXT;
}

/* ---- records ------------------------------------------------------------------------------------------ */

/* The record just made; r says whether it could be. */
static void add_record(struct cs_job_run *run, int r)
{
    if (r < 0)
        cs_run_fail_code(run, r == -ENOMEM ? CS_RETRY : CS_REJECT,
                         r == -ENOMEM ? CS_CODE_INTERNAL : CS_CODE_BAD_ANSWER);
    else
        cs_run_record_added(run);
}

static void publish(struct cs_job_run *run, const struct cs_item_view *view,
                    const struct cs_sight *s, enum cs_act act)
{
    const struct cs_folder *in = s->folder != NULL ? cs_map_folder(run->map, s->folder) : NULL;
    struct cs_folder_ref folder = {.id = s->folder}, from = {.id = s->removed_from};
    struct cs_record_ctx ctx;
    struct cs_record *rec = cs_run_record(run);
    int r;

    if (rec == NULL)
        return;
    cs_run_context(run, view->last->sent_ms, &ctx);
    if (act == CS_ACT_DELETED || act == CS_ACT_LEFT_SCOPE) {
        r = cs_record_removed(&ctx, CS_KIND_EMAIL,
                              act == CS_ACT_DELETED ? CS_DELETED : CS_LEFT_SCOPE,
                              view->first->env.id, view->first->env.id, rec);
    } else {
        const struct cs_folder *old =
            s->removed_from != NULL ? cs_map_folder(run->map, s->removed_from) : NULL;

        if (in != NULL) {
            folder.path = in->path;
            folder.well_known = in->well_known;
        }
        if (old != NULL) {
            from.path = old->path;
            from.well_known = old->well_known;
        }
        r = cs_email_record(&ctx, view->last->item, &folder,
                            act == CS_ACT_MOVED ? CS_MOVED : CS_UPSERTED,
                            act == CS_ACT_MOVED ? &from : NULL, view->last->attachments, rec);
        rec->rules = cs_filter_deep_rules(run->tenant, run->job.mailbox);
    }
    add_record(run, r);
}

/* Of what was judged by the whole message and is not published the index says so: a comparison need not read it again. */
static void note(struct cs_job_run *run, const struct cs_item_view *view, enum cs_change change,
                 const char *held)
{
    const struct cs_envelope *env = &view->last->env;
    struct cs_record *rec = cs_run_record(run);
    struct cs_record_ctx ctx;
    int r;

    if (rec == NULL)
        return;
    cs_run_context(run, view->last->sent_ms, &ctx);
    r = cs_record_noted(&ctx, CS_KIND_EMAIL, change, env->id, env->parent_folder_id,
                        env->change_key, rec);
    rec->held = held;
    rec->rules = cs_filter_deep_rules(run->tenant, run->job.mailbox);
    rec->received_utc_ms = env->received_utc_ms;
    add_record(run, r);
}

/* What the job's comparison knows of this item. */
static enum cs_out_there out_there(const struct cs_item_view *view)
{
    for (size_t i = 0; i < view->n; i++) {
        const struct cs_obs *o = &view->first[i];

        if (o->out_there == CS_OUT_SAME &&
            strcmp(o->env.change_key, view->last->env.change_key) != 0)
            return CS_OUT_SOME; /* changed since */
        if (o->out_there != CS_OUT_UNKNOWN)
            return o->out_there;
    }
    return CS_OUT_UNKNOWN;
}

/* The filters hold back what would have been published. */
static void hold(struct cs_job_run *run, const struct cs_item_view *view, const struct cs_sight *s,
                 const struct cs_decision *held)
{
    /* what is being seen for the first time is not out there */
    bool may_be_out = (held->may_have_changed && run->job.type != CS_JOB_MAIL_SLICE) ||
                      out_there(view) != CS_OUT_UNKNOWN;

    run->out->feedback.counts.held[held->held]++;
    cs_metric_add(run->jobs->held[held->held], 1);
    if (held->is_deep)
        note(run, view, may_be_out ? CS_LEFT_SCOPE : CS_NOTED, held->reason);
    else if (may_be_out)
        publish(run, view, s, CS_ACT_LEFT_SCOPE);
}

static void settle(struct cs_job_run *run, const struct cs_item_view *view)
{
    const char *id = view->first->env.id;
    const struct cs_look *asked = asked_of(run, id);
    struct cs_decision held;
    struct cs_ruling d;
    struct cs_sight s;

    if (view->last == NULL || read_failed(run, id)) {
        /* not read: handed back as it came, or as a first look or left-over of ours */
        if (asked != NULL)
            cs_run_leave(run, id, asked->why, asked->seen, asked->folder, asked->change_key,
                         asked->from_folder);
        else if (view->told)
            cs_run_leave(run, id, CS_WHY_LEFTOVER, CS_SEEN_NOTHING, NULL, NULL, NULL);
        else if (view->removed)
            cs_run_leave(run, id, CS_WHY_LOOK, CS_SEEN_NOTHING, NULL, NULL,
                         source_folder(run, view->removed_source));
        return;
    }
    sight_of(run, view, &s);
    cs_look_decide(&s, &d);
    if ((d.act == CS_ACT_UPSERT || d.act == CS_ACT_MOVED) && view->last->item.p == NULL)
        d.act = CS_ACT_NOTHING;
    if ((d.act == CS_ACT_UPSERT || d.act == CS_ACT_MOVED) && is_held(run, view, &held)) {
        if (!run->failed)
            hold(run, view, &s, &held);
    } else if (d.act == CS_ACT_UPSERT && out_there(view) == CS_OUT_SAME) {
        note(run, view, CS_NOTED, NULL);
    } else if (d.act != CS_ACT_NOTHING) {
        publish(run, view, &s, d.act);
    }
    if (run->failed)
        return;
    if (d.look_again)
        cs_run_leave(run, id, CS_WHY_LOOK, d.seen, d.seen == CS_SEEN_AT ? s.folder : NULL,
                     d.seen == CS_SEEN_AT ? s.change_key : NULL,
                     s.removed_from != NULL ? s.removed_from
                     : asked != NULL        ? asked->from_folder
                                            : NULL);
}

enum cs_step cs_mail_publish_step(struct cs_job_run *run)
{
    struct cs_item_view view;
    size_t i = 0;

    cs_run_group(run);
    while (!run->failed && cs_run_next_view(run, &i, &view))
        settle(run, &view);
    /* asked for and neither seen nor gone: its read failed before there was anything to see */
    for (size_t k = 0; !run->failed && k < run->n_failed_reads; k++) {
        const char *id = run->failed_reads[k];
        const struct cs_look *asked = asked_of(run, id);
        bool seen = false;

        for (size_t o = 0; o < run->n_obs && !seen; o++)
            seen = strcmp(run->obs[o].env.id, id) == 0;
        if (!seen && asked != NULL)
            cs_run_leave(run, id, asked->why, asked->seen, asked->folder, asked->change_key,
                         asked->from_folder);
    }
    return CS_STEP_END;
}
