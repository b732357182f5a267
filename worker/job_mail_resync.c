/* job_mail_resync.c - folders beside what is out there of them: exactly what differs is published.
 *
 * First the index is read, then each folder's delta is walked from its start. A listed item that is out there in the same
 * version and folder is passed over; any other is as if the walk had told it. What is out there in the folder and was not
 * listed is as if the walk had told its removal. From there on it is a delta job: bodies are read by id, the look sent last
 * wins, removals are resolved and looked at a second time. A folder that is gone or out of scope has no walk.
 *
 * More differences than a job may leave are dealt with in several, in the order of the ids' hashes: each walks and compares
 * anew and goes on behind the hash where the one before ended. What changes meanwhile is no matter of theirs: the cursor
 * that is handed over in the end is the first walk's, and from there the delta tells it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/key.h"
#include "worker/job_priv.h"

/* each may be owed a look; the rest of a feedback's room is for what reads find, and for ids of one hash */
#define TOLD_MAX (CS_FEEDBACK_LEFT_MAX - 100)

static bool wait_for_index(struct cs_job_run *run)
{
    int r = cs_index_take(run->index_ask, &run->index);

    if (r == -EAGAIN)
        return true;
    if (r < 0)
        cs_run_fail_code(run, CS_RETRY, r == -E2BIG ? CS_CODE_PAGE_TOO_LARGE : CS_CODE_INTERNAL);
    cs_index_drop(run->index_ask);
    run->index_ask = NULL;
    return false;
}

static enum cs_step ask_index(struct cs_job_run *run)
{
    const struct cs_jobs *jobs = run->jobs;

    if (jobs->index != NULL)
        run->index_ask = cs_index_ask(
            jobs->index, cs_key_partition(run->job.tenant, run->job.mailbox, jobs->n_partitions),
            run->job.tenant, run->job.mailbox);
    if (run->index_ask == NULL) {
        cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
        return CS_STEP_END;
    }
    run->waits = wait_for_index;
    return CS_STEP_NEXT;
}

/* By its people; an entry that does not name them is read. */
static bool is_held(struct cs_job_run *run, struct cs_js item)
{
    struct cs_decision d;

    if (!cs_filter_asks_people(run->tenant, run->job.mailbox) ||
        cs_js_get(item, "from").p == NULL || cs_js_get(item, "toRecipients").p == NULL)
        return false;
    if (cs_filter_email(run->tenant, run->job.mailbox, item, &d) == 0)
        return d.publish == CS_PUBLISH_HOLD;
    cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    return false;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static size_t told_max(const struct cs_job_run *run)
{
    return run->jobs->p.limits.items < TOLD_MAX ? run->jobs->p.limits.items : TOLD_MAX;
}

/* Keeps as many as the job may tell, those with the smallest hashes, and what shares the last one; the others are a next
 * job's. */
static void let_go(struct cs_job_run *run)
{
    size_t n = 0, max = told_max(run);
    uint64_t *hashes;

    if (run->n_obs <= max)
        return;
    hashes = calloc(run->n_obs, sizeof(*hashes));
    if (hashes == NULL) {
        cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
        return;
    }
    for (size_t i = 0; i < run->n_obs; i++)
        hashes[i] = cs_index_id_hash(run->obs[i].env.id);
    qsort(hashes, run->n_obs, sizeof(*hashes), by_value);
    run->told_to = hashes[max - 1];
    free(hashes);
    for (size_t i = 0; i < run->n_obs; i++) {
        if (cs_index_id_hash(run->obs[i].env.id) > run->told_to)
            run->parts[run->obs[i].source].overflow = true;
        else
            run->obs[n++] = run->obs[i];
    }
    run->n_obs = n;
}

/* Is this difference this job's to tell? */
static bool is_told(struct cs_job_run *run, size_t part, const char *id)
{
    uint64_t hash = cs_index_id_hash(id);

    if (hash <= run->job.parts[part].after)
        return false; /* an earlier job's */
    if (run->n_obs >= 2 * told_max(run))
        let_go(run);
    if (run->told_to == 0 || hash <= run->told_to)
        return true;
    run->parts[part].overflow = true;
    return false;
}

bool cs_resync_differs(struct cs_job_run *run, size_t part, const struct cs_envelope *env,
                       struct cs_js item, enum cs_out_there *out_there)
{
    struct cs_part_run *p = &run->parts[part];
    const char *folder =
        env->parent_folder_id[0] != '\0' ? env->parent_folder_id : run->job.parts[part].folder.id;
    enum cs_index_match match;
    bool held;

    match = cs_index_table_list(run->index, env->id, env->change_key, folder, (int)part,
                                cs_filter_deep_rules(run->tenant, run->job.mailbox));
    if (env->received_utc_ms != CS_NEVER && env->received_utc_ms < run->job.depth_utc_ms)
        return false;
    held = is_held(run, item);
    if (match == CS_INDEX_HELD || (held && match == CS_INDEX_ABSENT))
        return false;
    p->compared.listed++;
    p->compared.digest ^= cs_index_digest(env->id, env->change_key);
    p->compared.missing += match == CS_INDEX_ABSENT;
    p->compared.stale +=
        match == CS_INDEX_OTHER || match == CS_INDEX_UNJUDGED || (match == CS_INDEX_SAME && held);
    if ((match == CS_INDEX_SAME && !held) || run->job.parts[part].mode == CS_MODE_AUDIT)
        return false;
    *out_there = match == CS_INDEX_ABSENT     ? CS_OUT_UNKNOWN
                 : match == CS_INDEX_UNJUDGED ? CS_OUT_SAME
                                              : CS_OUT_SOME;
    return is_told(run, part, env->id);
}

/* What the index has in a folder that was walked to its end, or is gone, and that was not there. */
static void find_missing(struct cs_job_run *run, size_t i)
{
    struct cs_part_run *part = &run->parts[i];
    const struct cs_job_part *spec = &run->job.parts[i];
    const struct cs_reply now = {.order = run->orders, .sent_ms = cs_clock_utc_ms()};
    const char *id;
    size_t at = 0;

    while (!run->failed &&
           (id = cs_index_table_next_missing(run->index, spec->folder.id, (int)i, &at)) != NULL) {
        part->compared.extra++;
        if (spec->mode == CS_MODE_AUDIT)
            continue;
        if (is_told(run, i, id))
            (void)cs_run_observe(run, id, CS_OBS_REMOVED, (int)i, &now);
    }
}

/* What a part that is done, or is to go on, hands over as its cursor. */
static void leave_cursor(struct cs_job_run *run, size_t i)
{
    struct cs_part_run *part = &run->parts[i];
    const struct cs_job_part *spec = &run->job.parts[i];

    if (spec->mode != CS_MODE_RESYNC) {
        free(part->cursor);
        part->cursor = NULL;
    } else if (spec->cursor != NULL) { /* the first walk's */
        free(part->cursor);
        part->cursor = strdup(spec->cursor);
        if (part->cursor == NULL)
            cs_run_fail_code(run, CS_RETRY, CS_CODE_INTERNAL);
    }
}

static enum cs_step compare(struct cs_job_run *run)
{
    for (size_t i = 0; i < run->job.n_parts && !run->failed; i++) {
        struct cs_part_run *part = &run->parts[i];

        part->changes = 0;
        if (part->outcome != CS_DONE)
            continue;
        part->compared.indexed =
            (int64_t)cs_index_table_count_folder(run->index, run->job.parts[i].folder.id);
        find_missing(run, i);
        part->changes = part->compared.missing + part->compared.stale + part->compared.extra;
    }
    if (!run->failed)
        let_go(run);
    for (size_t i = 0; i < run->job.n_parts && !run->failed; i++) {
        if (run->parts[i].outcome != CS_DONE)
            continue;
        if (run->parts[i].overflow)
            run->parts[i].outcome = CS_MORE;
        leave_cursor(run, i);
    }
    cs_index_table_free(run->index);
    run->index = NULL;
    return CS_STEP_NEXT;
}

const struct cs_job_step cs_job_mail_resync_steps[] = {
    {"index", ask_index},
    {"walk", cs_mail_walk_step},
    {"compare", compare},
    {"read", cs_mail_read_step},
    {"attachments", cs_mail_attachments_step},
    {"publish", cs_mail_publish_step},
    {NULL, NULL},
};
