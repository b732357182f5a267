/* job_mail_delta.c - folders of one mailbox, each by its delta: what changed is published, a removal is looked into.
 *
 * A walk carries envelopes only (message: delta, $select); bodies are read in batches for what will be published, after all
 * pages of the job, so that a read is always the look that was sent last. A page's entries and the link behind it belong
 * together: the part's cursor moves with every whole page.
 */
#include <stdlib.h>
#include <string.h>

#include "worker/graph_url.h"
#include "worker/job_priv.h"

#define RESYNC_PAGES_MAX 100000

static void on_page(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply);

static void ask_page(struct cs_job_run *run, size_t i)
{
    const struct cs_job_part *spec = &run->job.parts[i];
    struct cs_part_run *part = &run->parts[i];
    struct cs_call *call;
    struct cs_buf path;

    cs_buf_init(&path, 0);
    if (part->cursor != NULL) {
        cs_buf_adds(&path, part->cursor);
    } else {
        cs_graph_user_path(&path, run->job.mailbox);
        cs_buf_adds(&path, "/mailFolders/");
        cs_url_escape(&path, spec->folder.id);
        cs_buf_adds(&path, "/messages/delta?$select=");
        cs_buf_adds(&path, run->job.type == CS_JOB_MAIL_RESYNC ? cs_mail_select_people
                                                               : cs_mail_select_envelope);
    }
    call = cs_run_call(run, cs_buf_steal(&path, NULL),
                       part->cursor != NULL ? CS_ASKED_CURSOR : CS_ASKED_FOLDER, on_page, i);
    if (call != NULL)
        call->page_size = part->page_size;
}

static void observe_page(struct cs_job_run *run, size_t i, const struct cs_reply *reply)
{
    const struct cs_job_part *spec = &run->job.parts[i];
    struct cs_js_iter it = {0};
    struct cs_js item;

    while (!run->failed && cs_page_next(&reply->page, &it, &item, NULL)) {
        enum cs_out_there out_there = CS_OUT_UNKNOWN;
        struct cs_envelope env;
        struct cs_obs *obs;

        run->out->feedback.counts.items++;
        run->parts[i].changes++;
        if (spec->mode == CS_MODE_ANCHOR || cs_envelope_read(item, &env) < 0)
            continue; /* an anchor publishes nothing: it only gets to the end of the delta */
        if (run->job.type == CS_JOB_MAIL_RESYNC &&
            (env.is_removed || !cs_resync_differs(run, i, &env, item, &out_there)))
            continue; /* a walk from the start tells what is there */
        obs = cs_run_observe(run, env.id, env.is_removed ? CS_OBS_REMOVED : CS_OBS_ITEM, (int)i,
                             reply);
        if (obs == NULL)
            return;
        obs->env = env;
        obs->told = !env.is_removed;
        obs->out_there = out_there;
        if (obs->env.parent_folder_id[0] == '\0' &&
            !env.is_removed) /* partial: it is in the folder that tells it */
            memcpy(obs->env.parent_folder_id, spec->folder.id, strlen(spec->folder.id) + 1);
    }
}

static void on_page(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    size_t i = call->index;
    struct cs_part_run *part = &run->parts[i];

    if (!reply->ok && reply->verdict.code == CS_CODE_PAGE_TOO_LARGE && part->page_size > 1) {
        part->page_size /= 2;
        ask_page(run, i);
        return;
    }
    if (!reply->ok) {
        cs_part_end(run, i, reply->verdict.outcome, &reply->verdict);
        return;
    }
    if (!reply->page.is_collection ||
        (!cs_js_has(reply->page.next_link) && !cs_js_has(reply->page.delta_link))) {
        const struct cs_verdict why = {.outcome = CS_RETRY,
                                       .code = CS_CODE_BAD_ANSWER,
                                       .scope = CS_SCOPE_STREAM,
                                       .retry_after_ms = -1};

        cs_part_end(run, i, CS_RETRY, &why);
        return;
    }
    if (run->job.parts[i].mode != CS_MODE_ANCHOR && run->job.type != CS_JOB_MAIL_RESYNC &&
        !cs_run_takes(run, reply->page.value)) {
        if (run->n_obs > 0) { /* the page is the next job's */
            cs_part_end(run, i, CS_MORE, NULL);
            return;
        }
        if (part->page_size > 1) {
            part->page_size /= 2;
            ask_page(run, i);
            return;
        }
    }
    run->out->feedback.counts.pages++;
    if (cs_js_has(reply->page.delta_link)) {
        if (!cs_part_follow(run, i, reply->page.delta_link, false))
            return;
        observe_page(run, i, reply);
        part->pages++;
        cs_part_end(run, i, CS_DONE, NULL);
        return;
    }
    if (!cs_part_follow(run, i, reply->page.next_link, true))
        return;
    observe_page(run, i, reply);
    part->pages++;
    /* a comparison needs the whole listing: it is one job, however long */
    if (run->job.type == CS_JOB_MAIL_RESYNC ? part->pages < RESYNC_PAGES_MAX
                                            : cs_run_has_room(run, part))
        ask_page(run, i);
    else
        cs_part_end(run, i, CS_MORE, NULL);
}

enum cs_step cs_mail_walk_step(struct cs_job_run *run)
{
    for (size_t i = 0; i < run->job.n_parts; i++) {
        if (run->job.parts[i].mode == CS_MODE_GONE) {
            cs_part_end(run, i, CS_DONE, NULL); /* there is nothing to walk */
            continue;
        }
        run->parts[i].page_size = run->jobs->p.limits.delta_page;
        ask_page(run, i);
    }
    return CS_STEP_NEXT;
}

const struct cs_job_step cs_job_mail_delta_steps[] = {
    {"walk", cs_mail_walk_step},
    {"read", cs_mail_read_step},
    {"attachments", cs_mail_attachments_step},
    {"publish", cs_mail_publish_step},
    {NULL, NULL},
};
