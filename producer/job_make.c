/* job_make.c - the job in flight, whole, from its descriptor and the mailbox. PURE. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/message.h"
#include "producer/decide.h"
#include "producer/orders.h"

static int mail_stream(char **ret, const char *id)
{
    if (asprintf(ret, "mail:%s", id) < 0) {
        *ret = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* May this folder's items be published by this kind of job? A slice sees a folder as in scope only
 * once that folder has a token: what changes before would be told by nobody. */
static bool is_in(const struct cs_box_folder *f, enum cs_job_type type, enum cs_mode mode)
{
    if (!f->known || !f->in_scope)
        return false;
    if (type == CS_JOB_MAIL_SLICE && mode == CS_MODE_SLICE)
        return f->has_stream && f->phase == CS_STREAM_LIVE;
    return true;
}

static int make_map(const struct cs_mailbox *m, enum cs_mode mode, struct cs_job *job)
{
    job->folders = calloc(m->n_folders + 1, sizeof(*job->folders));
    job->folders_out = calloc(m->n_folders + 1, sizeof(*job->folders_out));
    if (job->folders == NULL || job->folders_out == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_folders; i++) {
        const struct cs_box_folder *f = m->folders[i];
        const struct cs_folder as = {f->id, f->path, f->well_known};

        if (is_in(f, job->type, mode)) {
            if (job->n_folders == CS_JOB_FOLDERS_MAX)
                continue; /* unknown to the job: nothing of it is published by mistake */
            if (cs_folder_copy(&as, &job->folders[job->n_folders]) < 0)
                return -ENOMEM;
            job->n_folders++;
        } else if (f->known && !f->in_scope && job->n_folders_out < CS_JOB_FOLDERS_MAX) {
            job->folders_out[job->n_folders_out++] = f->hash;
        }
    }
    return 0;
}

static int make_mail_part(const struct cs_mailbox *m, const struct cs_box_part *part,
                          struct cs_job_part *ret)
{
    const struct cs_box_folder *f = cs_mailbox_find_folder(m, part->folder);
    struct cs_folder as;

    if (f == NULL)
        return -ENOENT;
    as = (struct cs_folder){f->id, f->path, f->well_known};
    ret->generation = part->generation;
    ret->from_utc_ms = ret->to_utc_ms = CS_NEVER;
    if (mail_stream(&ret->stream, f->id) < 0 || cs_folder_copy(&as, &ret->folder) < 0)
        return -ENOMEM;
    /* a comparison walks from the start, and leaves the cursor where it is until it is done */
    if (part->mode == CS_MODE_AUDIT)
        return 0;
    if (part->mode == CS_MODE_RESYNC || part->mode == CS_MODE_GONE) {
        ret->after = f->compare_after;
        return cs_msg_dup(f->compare_cursor, &ret->cursor);
    }
    return cs_msg_dup(f->cursor, &ret->cursor);
}

static int make_slice_part(const struct cs_mailbox *m, const struct cs_box_part *part,
                           struct cs_job_part *ret)
{
    char id[16];

    ret->generation = part->generation;
    ret->from_utc_ms = m->depth_ms == INT64_MIN ? CS_NEVER : m->depth_ms;
    ret->to_utc_ms = CS_NEVER;
    if (cs_msg_dup("slices", &ret->stream) < 0)
        return -ENOMEM;
    if (part->mode == CS_MODE_PREVIEW)
        return 0;
    for (size_t i = 0; i < m->n_slices; i++) {
        const struct cs_box_slice *s = &m->slices[i];

        if (s->id != part->slice)
            continue;
        ret->from_utc_ms = s->from_ms;
        ret->to_utc_ms = s->to_ms;
        snprintf(id, sizeof(id), "%d", s->id);
        if (cs_msg_dup(id, &ret->slice_id) < 0)
            return -ENOMEM;
        return cs_msg_dup(s->cursor, &ret->cursor);
    }
    return -ENOENT;
}

static int make_calendar_part(const struct cs_mailbox *m, struct cs_job *job,
                              struct cs_job_part *ret)
{
    size_t left = m->inflight->rows;

    ret->generation = m->cal.generation;
    ret->from_utc_ms = m->cal.from_ms;
    ret->to_utc_ms = m->cal.to_ms;
    if (cs_msg_dup("cal:default", &ret->stream) < 0 || cs_msg_dup(m->cal.cursor, &ret->cursor) < 0)
        return -ENOMEM;
    if (left == 0 || job->rows != NULL)
        return 0;
    job->rows = calloc(left, sizeof(*job->rows));
    if (job->rows == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < m->cal.n_rows && job->n_rows < left; i++) {
        if (m->cal.rows[i].state != CS_ROW_OWED)
            continue;
        if (cs_cal_row_copy(&m->cal.rows[i].row, &job->rows[job->n_rows]) < 0)
            return -ENOMEM;
        job->n_rows++;
    }
    return 0;
}

static int make_parts(const struct cs_mailbox *m, struct cs_job *job)
{
    const struct cs_box_inflight *in = m->inflight;

    if (in->n_parts == 0)
        return 0;
    job->parts = calloc(in->n_parts, sizeof(*job->parts));
    if (job->parts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < in->n_parts; i++) {
        struct cs_job_part *part = &job->parts[i];
        int r;

        job->n_parts = i + 1; /* so that a half-made one is cleared too */
        part->mode = in->parts[i].mode;
        if (in->type == CS_JOB_MAIL_DELTA || in->type == CS_JOB_MAIL_RESYNC)
            r = make_mail_part(m, &in->parts[i], part);
        else if (in->type == CS_JOB_MAIL_SLICE)
            r = make_slice_part(m, &in->parts[i], part);
        else
            r = make_calendar_part(m, job, part);
        if (r < 0)
            return r;
    }
    return 0;
}

static int make_items(const struct cs_mailbox *m, struct cs_job *job)
{
    const struct cs_box_look *look;
    size_t e = 0, i = 0;

    job->items = calloc(CS_JOB_ITEMS_MAX, sizeof(*job->items));
    if (job->items == NULL)
        return -ENOMEM;
    while ((look = cs_mailbox_next_look(m, &e, &i)) != NULL) {
        if (!look->asked || job->n_items == CS_JOB_ITEMS_MAX)
            continue;
        if (cs_look_copy(&look->look, &job->items[job->n_items]) < 0)
            return -ENOMEM;
        job->n_items++;
    }
    return 0;
}

int cs_decide_job(const struct cs_mailbox *m, struct cs_job *ret)
{
    const struct cs_box_inflight *in = m->inflight;
    struct cs_job job = {0};
    int r;

    if (in == NULL)
        return -ENOENT;
    memcpy(job.job_id, in->job_id, sizeof(job.job_id));
    job.type = in->type;
    snprintf(job.tenant, sizeof(job.tenant), "%s", m->tenant);
    snprintf(job.mailbox, sizeof(job.mailbox), "%s", m->name);
    job.lane = in->lane;
    job.attempt = in->attempt;
    job.created_utc_ms = in->created_ms;
    job.not_after_utc_ms = CS_NEVER;
    job.depth_utc_ms = m->depth_ms;
    job.anchored_utc_ms = in->type == CS_JOB_MAIL_SLICE ? m->anchored_ms : CS_NEVER;
    r = cs_msg_dup(in->reason, &job.reason);
    if (r == 0 && in->replay_id[0] != '\0')
        r = cs_replay_make(m, &job);
    else if (r == 0)
        r = in->type == CS_JOB_MAIL_ITEMS ? make_items(m, &job) : make_parts(m, &job);
    if (r == 0 && (in->type == CS_JOB_MAIL_DELTA || in->type == CS_JOB_MAIL_SLICE ||
                   in->type == CS_JOB_MAIL_ITEMS || in->type == CS_JOB_MAIL_RESYNC))
        r = make_map(m, in->n_parts > 0 ? in->parts[0].mode : CS_MODE_NONE, &job);
    if (r < 0) {
        cs_job_clear(&job);
        return r;
    }
    *ret = job;
    return 0;
}
