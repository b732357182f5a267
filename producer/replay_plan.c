#include "producer/replay_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/feedback.h"
#include "common/json_slice.h"
#include "common/key.h"

/* What a job of the range said that it published, and what of it is there. */
struct plan_job {
    struct cs_plan_box *box;
    bool items; /* single mails */
    bool answered;
    int64_t created_ms;
    int64_t told, found;
};

static struct cs_plan_box *box_of(struct cs_plan *p, const struct cs_job *job)
{
    char key[CS_KEY_MAX];
    struct cs_plan_box *box;
    void *old;

    if (cs_key_mailbox(key, sizeof(key), job->tenant, job->mailbox) < 0)
        return NULL;
    box = cs_strmap_get(&p->boxes, key, strlen(key));
    if (box != NULL)
        return box;
    box = calloc(1, sizeof(*box));
    if (box == NULL)
        return NULL;
    box->depth_ms = CS_NEVER;
    box->tenant = strdup(job->tenant);
    box->mailbox = strdup(job->mailbox);
    if (box->tenant == NULL || box->mailbox == NULL ||
        cs_strmap_put(&p->boxes, key, strlen(key), box, &old) < 0) {
        free(box->tenant);
        free(box->mailbox);
        free(box);
        return NULL;
    }
    return box;
}

static int add_slice(struct cs_plan_box *box, int64_t from_ms, int64_t to_ms)
{
    if (box->n_slices == box->cap_slices) {
        size_t cap = box->cap_slices > 0 ? box->cap_slices * 2 : 8;
        struct cs_command_slice *slices = realloc(box->slices, cap * sizeof(*slices));

        if (slices == NULL)
            return -ENOMEM;
        box->slices = slices;
        box->cap_slices = cap;
    }
    box->slices[box->n_slices++] = (struct cs_command_slice){from_ms, to_ms};
    return 0;
}

static int watch(struct cs_plan *p, const struct cs_job *job, struct cs_plan_box *box, bool items)
{
    struct plan_job *j = calloc(1, sizeof(*j));
    void *old = NULL;

    if (j == NULL)
        return -ENOMEM;
    *j = (struct plan_job){.box = box, .items = items, .created_ms = job->created_utc_ms};
    if (cs_strmap_put(&p->jobs, job->job_id, strlen(job->job_id), j, &old) < 0) {
        free(j);
        return -ENOMEM;
    }
    free(old); /* the same job twice, without transactions */
    return 0;
}

static bool is_of_items(const struct cs_job *job)
{
    if (job->type == CS_JOB_MAIL_ITEMS)
        return true;
    for (size_t i = 0;
         (job->type == CS_JOB_MAIL_DELTA || job->type == CS_JOB_MAIL_RESYNC) && i < job->n_parts;
         i++)
        if (job->parts[i].mode != CS_MODE_ANCHOR && job->parts[i].mode != CS_MODE_AUDIT)
            return true;
    return false;
}

static int take_job(struct cs_plan *p, const struct cs_job *job)
{
    bool calendar = job->type == CS_JOB_CALENDAR_DELTA, items = is_of_items(job);
    bool slice =
        job->type == CS_JOB_MAIL_SLICE && job->n_parts > 0 && job->parts[0].mode == CS_MODE_SLICE;
    struct cs_plan_box *box;
    int r = 0;

    if (job->lane == CS_LANE_REPLAY || (calendar ? !p->filter.events : !p->filter.mail) ||
        (!calendar && !items && !slice) ||
        (p->filter.tenant != NULL && strcmp(p->filter.tenant, job->tenant) != 0) ||
        (p->filter.mailbox != NULL && strcasecmp(p->filter.mailbox, job->mailbox) != 0))
        return 0;
    box = box_of(p, job);
    if (box == NULL)
        return -ENOMEM;
    if (job->created_utc_ms < p->first_ms)
        p->first_ms = job->created_utc_ms;
    if (job->created_utc_ms > p->last_ms)
        p->last_ms = job->created_utc_ms;
    p->n_slice_jobs += slice;
    p->n_item_jobs += items;
    p->n_calendar_jobs += calendar;
    box->calendar = box->calendar || calendar;
    box->depth_ms = job->depth_utc_ms == INT64_MIN ? CS_NEVER : job->depth_utc_ms;
    for (size_t i = 0; slice && i < job->n_parts && r == 0; i++)
        r = add_slice(box, job->parts[i].from_utc_ms, job->parts[i].to_utc_ms);
    return r == 0 ? watch(p, job, box, items) : r;
}

int cs_plan_job(struct cs_plan *p, const struct cs_kafka_msg *msg)
{
    const char *reason;
    struct cs_job job;
    int r;

    if (msg->value == NULL)
        return 0;
    r = cs_job_parse(msg->value, msg->value_len, &job, &reason);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        p->n_unreadable++;
        return 0;
    }
    r = take_job(p, &job);
    cs_job_clear(&job);
    return r;
}

int cs_plan_feedback(struct cs_plan *p, const struct cs_kafka_msg *msg)
{
    struct cs_feedback f;
    struct plan_job *j;
    const char *reason;
    int r;

    if (msg->value == NULL)
        return 0;
    r = cs_feedback_parse(msg->value, msg->value_len, &f, &reason);
    if (r < 0)
        return r == -ENOMEM ? r : 0; /* the producer has dead-lettered it */
    j = cs_strmap_get(&p->jobs, f.job_id, strlen(f.job_id));
    if (j != NULL) {
        j->answered = true;
        j->told = f.counts.upserts + f.counts.moves + f.counts.deletes + f.counts.left_scope;
        if (!j->items)
            p->requests += f.counts.requests;
    }
    cs_feedback_clear(&f);
    return 0;
}

int cs_plan_record(struct cs_plan *p, const struct cs_kafka_msg *msg)
{
    char job_id[CS_UUID_TEXT], kind[16], id[CS_ID_MAX + 1], *copy;
    struct plan_job *j;
    struct cs_js root;
    void *old = NULL;

    if (msg->value == NULL ||
        cs_js_check(msg->value, msg->value_len, CS_JS_MAX_DEPTH, &root, NULL) < 0 ||
        cs_js_str_into(cs_js_get(root, "job_id"), job_id, sizeof(job_id)) <= 0)
        return 0;
    j = cs_strmap_get(&p->jobs, job_id, strlen(job_id));
    if (j == NULL || !j->items ||
        cs_js_str_into(cs_js_get(root, "kind"), kind, sizeof(kind)) <= 0 ||
        strcmp(kind, "email") != 0 ||
        cs_js_str_into(cs_js_get(root, "graph_id"), id, sizeof(id)) <= 0)
        return 0;
    j->found++;
    copy = strdup(id);
    if (copy == NULL || cs_strmap_put(&j->box->items, id, strlen(id), copy, &old) < 0) {
        free(copy);
        return -ENOMEM;
    }
    free(old);
    return 0;
}

/* An open upper end is the newest. */
static int newest_first(const void *a, const void *b)
{
    const struct cs_command_slice *x = a, *y = b;

    return x->to_ms == y->to_ms ? 0 : x->to_ms > y->to_ms ? -1 : 1;
}

static int64_t low_of(const struct cs_command_slice *s)
{
    return s->from_ms == CS_NEVER ? INT64_MIN : s->from_ms;
}

size_t cs_plan_join(struct cs_command_slice *slices, size_t n)
{
    size_t kept = 0;

    if (n == 0)
        return 0;
    qsort(slices, n, sizeof(*slices), newest_first);
    for (size_t i = 1; i < n; i++) {
        if (slices[i].to_ms < low_of(&slices[kept]))
            slices[++kept] = slices[i];
        else if (low_of(&slices[i]) < low_of(&slices[kept]))
            slices[kept].from_ms = slices[i].from_ms;
    }
    return kept + 1;
}

int cs_plan_finish(struct cs_plan *p)
{
    const struct plan_job *j;
    struct cs_plan_box *box;
    size_t slot = 0;

    while ((j = cs_strmap_next(&p->jobs, &slot, NULL)) != NULL)
        if (j->items &&
            (j->answered ? j->found < j->told : j->created_ms < p->answered_before_ms)) {
            p->n_gone++;
            j->box->whole = true;
        }
    for (slot = 0; (box = cs_strmap_next(&p->boxes, &slot, NULL)) != NULL;) {
        if (box->whole && add_slice(box, box->depth_ms, CS_NEVER) < 0)
            return -ENOMEM;
        box->n_slices = cs_plan_join(box->slices, box->n_slices);
        p->n_slices += (int64_t)box->n_slices;
        p->n_items += (int64_t)box->items.n;
        p->n_calendars += box->calendar;
    }
    return 0;
}

static void box_free(struct cs_plan_box *box)
{
    size_t slot = 0;
    void *value;

    while ((value = cs_strmap_next(&box->items, &slot, NULL)) != NULL)
        free(value);
    cs_strmap_clear(&box->items);
    free(box->slices);
    free(box->tenant);
    free(box->mailbox);
    free(box);
}

void cs_plan_drop(struct cs_plan *p, struct cs_plan_box *box)
{
    char key[CS_KEY_MAX];

    p->n_slices -= (int64_t)box->n_slices;
    p->n_items -= (int64_t)box->items.n;
    p->n_calendars -= box->calendar;
    (void)cs_key_mailbox(key, sizeof(key), box->tenant, box->mailbox); /* it was its key before */
    (void)cs_strmap_remove(&p->boxes, key, strlen(key));
    box_free(box);
}

void cs_plan_clear(struct cs_plan *p)
{
    struct cs_plan_box *box;
    size_t slot = 0;
    void *value;

    while ((box = cs_strmap_next(&p->boxes, &slot, NULL)) != NULL)
        box_free(box);
    cs_strmap_clear(&p->boxes);
    for (slot = 0; (value = cs_strmap_next(&p->jobs, &slot, NULL)) != NULL;)
        free(value);
    cs_strmap_clear(&p->jobs);
}
