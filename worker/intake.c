#include "worker/intake.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/decode.h"

#define PULL_MAX 200 /* events of one turn, so that the loop turns */

enum entry_state {
    ENTRY_QUEUED, /* an earlier job of its mailbox is under way, or it must run alone and another runs */
    ENTRY_MARKING,   /* about to start: being said in the partition's metadata */
    ENTRY_RUNNING,   /* in the engine */
    ENTRY_HELD,      /* finished while its partition was in the air: held holds what it leaves */
    ENTRY_SUBMITTED, /* with the checkpoint */
};

struct entry {
    struct entry *next; /* in the order taken */
    enum entry_state state;
    int32_t partition;
    int64_t offset;
    uint64_t epoch;
    struct cs_job job; /* QUEUED */
    struct cs_unit *held;
    size_t bytes; /* of what it leaves; 0 while it runs */
    bool suspect; /* may have killed its worker: runs alone */
    bool alone;   /* does so, and was claimed */

    /* what is said of it in the end */
    bool is_job; /* not a message that was refused */
    char key[CS_TENANT_MAX + CS_MAILBOX_MAX + 2];
    char job_id[CS_UUID_TEXT];
    enum cs_job_type type;
    char tenant[CS_TENANT_MAX + 1];
    char mailbox[CS_MAILBOX_MAX + 1];
    enum cs_lane lane;
    int64_t attempt;
    int64_t created_utc_ms;
    int64_t taken_ms, started_ms, finished_ms;
    enum cs_outcome outcome;
    struct cs_fault fault;
    struct cs_counts counts;
    size_t n_records;
    const char *dead; /* reason of its dead letter; NULL: none */
};

struct cs_intake {
    struct cs_intake_params p;
    struct entry *entries, **tail;
    size_t n;
    size_t held_bytes; /* of entries HELD and SUBMITTED */
    bool assigned;     /* messages may come */
    bool draining;
    bool claim;        /* without transactions */
    size_t n_suspects; /* of entries that are not finished: nothing else starts */
    int failure;
    atomic_bool ready, down; /* for other threads */

    struct cs_metric *jobs[CS_JOB_TYPE_COUNT_][CS_REJECT + 1];
    struct cs_metric *seconds[CS_JOB_TYPE_COUNT_];
    struct cs_metric *records[CS_KIND_SEND_RESULT + 1][CS_LEFT_SCOPE + 1];
    struct cs_metric *dead, *dropped, *inflight, *bytes, *partitions, *skipped;
};

/* ---- metrics ------------------------------------------------------------------------------------------ */

static void make_metrics(struct cs_intake *t)
{
    static const int64_t seconds[] = {50,   100,   250,   500,   1000,  2500,
                                      5000, 10000, 30000, 60000, 120000};
    struct cs_metrics *m = t->p.metrics;
    char labels[128];

    for (int i = 0; i < CS_JOB_TYPE_COUNT_; i++) {
        for (int o = 0; o <= CS_REJECT; o++) {
            snprintf(labels, sizeof(labels), "type=\"%s\",outcome=\"%s\"",
                     cs_job_type_name((enum cs_job_type)i), cs_outcome_name((enum cs_outcome)o));
            t->jobs[i][o] =
                cs_metrics_counter(m, "crmsync_jobs_total", labels, "Jobs finished and committed.");
        }
        snprintf(labels, sizeof(labels), "type=\"%s\"", cs_job_type_name((enum cs_job_type)i));
        t->seconds[i] = cs_metrics_histogram(m, "crmsync_job_seconds", labels,
                                             "From start to finished, without the commit.", seconds,
                                             sizeof(seconds) / sizeof(seconds[0]));
    }
    for (int k = 0; k <= CS_KIND_SEND_RESULT; k++)
        for (int c = 0; c <= CS_LEFT_SCOPE; c++) {
            snprintf(labels, sizeof(labels), "kind=\"%s\",change=\"%s\"",
                     cs_kind_name((enum cs_kind)k), cs_change_name((enum cs_change)c));
            t->records[k][c] =
                cs_metrics_counter(m, "crmsync_records_total", labels,
                                   "Records of finished jobs, handed on to be committed.");
        }
    t->dead = cs_metrics_counter(m, "crmsync_dead_letters_total", NULL,
                                 "Messages put on the dead-letter topic.");
    t->dropped =
        cs_metrics_counter(m, "crmsync_jobs_dropped_total", NULL,
                           "Jobs given up unfinished: a rebalance, or the end of the process.");
    t->skipped = cs_metrics_counter(m, "crmsync_jobs_skipped_total", NULL,
                                    "Messages read again that were finished already.");
    t->inflight =
        cs_metrics_gauge(m, "crmsync_jobs_inflight", NULL, "Jobs taken and not committed yet.");
    t->bytes =
        cs_metrics_gauge(m, "crmsync_inflight_bytes", NULL, "Answers and output held in memory.");
    t->partitions =
        cs_metrics_gauge(m, "crmsync_partitions_assigned", NULL, "Partitions of the jobs topic.");
}

/* ---- entries ------------------------------------------------------------------------------------------ */

static struct entry *add_entry(struct cs_intake *t, const struct cs_kafka_msg *msg)
{
    struct entry *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return NULL;
    e->partition = msg->partition;
    e->offset = msg->offset;
    e->epoch = cs_checkpoint_epoch(t->p.checkpoint);
    e->taken_ms = cs_clock_mono_ms();
    *t->tail = e;
    t->tail = &e->next;
    t->n++;
    return e;
}

static struct entry *find_entry(const struct cs_intake *t, int32_t partition, int64_t offset)
{
    for (struct entry *e = t->entries; e != NULL; e = e->next)
        if (e->partition == partition && e->offset == offset)
            return e;
    return NULL;
}

static void remove_entry(struct cs_intake *t, struct entry *e)
{
    struct entry **at = &t->entries;

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    if (t->tail == &e->next)
        t->tail = at;
    t->n--;
    t->held_bytes -= e->bytes;
    cs_unit_free(e->held);
    cs_job_clear(&e->job);
    free(e);
}

static bool is_unfinished(const struct entry *e)
{
    return e->state <= ENTRY_RUNNING;
}

static bool mailbox_is_busy(const struct cs_intake *t, const struct entry *waiting)
{
    for (const struct entry *e = t->entries; e != NULL && e != waiting; e = e->next)
        /* a send runs beside the mailbox's sync job, and after its other sends */
        if (is_unfinished(e) &&
            (e->type == CS_JOB_MAIL_SEND) == (waiting->type == CS_JOB_MAIL_SEND) &&
            strcmp(e->key, waiting->key) == 0)
            return true;
    return false;
}

static void fail(struct cs_intake *t, int r)
{
    if (t->failure == 0)
        t->failure = r;
}

static void start(struct cs_intake *t, struct entry *e)
{
    int r;

    e->state = ENTRY_RUNNING;
    e->started_ms = cs_clock_mono_ms();
    r = t->p.start(t->p.user, &e->job, e);
    memset(&e->job, 0, sizeof(e->job)); /* taken, also on failure */
    if (r < 0)
        fail(t, r);
}

static bool is_current(const struct cs_intake *t, const struct entry *e)
{
    return t->assigned && e->epoch == cs_checkpoint_epoch(t->p.checkpoint);
}

static int submit_mark(struct cs_intake *t, const struct entry *e, enum cs_mark mark)
{
    struct cs_unit *u = cs_unit_new_mark(e->partition, e->offset, mark);

    if (u == NULL)
        return -ENOMEM;
    u->epoch = e->epoch;
    cs_checkpoint_submit(t->p.checkpoint, u);
    return 0;
}

static void mark_and_start(struct cs_intake *t, struct entry *e, enum cs_mark mark)
{
    e->state = ENTRY_MARKING;
    if (submit_mark(t, e, mark) < 0)
        fail(t, -ENOMEM);
}

static bool is_idle(const struct cs_intake *t)
{
    for (const struct entry *e = t->entries; e != NULL; e = e->next)
        if (e->state == ENTRY_RUNNING || e->state == ENTRY_MARKING)
            return false;
    return true;
}

static void refuse_poison(struct cs_intake *t, struct entry *e);

/* Of one that is queued. What is not current waits for its redelivery. */
static void try_start(struct cs_intake *t, struct entry *e)
{
    if (!is_current(t, e) || mailbox_is_busy(t, e) ||
        (t->n_suspects > 0 && (!e->suspect || !is_idle(t))))
        return;
    switch (cs_checkpoint_permit(t->p.checkpoint, e->partition, e->offset)) {
    case CS_PERMIT_START: start(t, e); return;
    case CS_PERMIT_OPEN: mark_and_start(t, e, CS_MARK_OPEN); return;
    case CS_PERMIT_SUSPECT: mark_and_start(t, e, CS_MARK_CLAIM); return;
    case CS_PERMIT_GUILTY: refuse_poison(t, e); return;
    }
}

/* An entry has left the engine: others may begin. */
static void start_waiting(struct cs_intake *t)
{
    struct entry *next;

    for (struct entry *e = t->entries; e != NULL && !t->draining; e = next) {
        next = e->next;
        if (e->state == ENTRY_QUEUED)
            try_start(t, e);
    }
}

static void weigh_suspicion(struct cs_intake *t, struct entry *e)
{
    enum cs_permit permit = cs_checkpoint_permit(t->p.checkpoint, e->partition, e->offset);
    bool suspect = permit == CS_PERMIT_SUSPECT || permit == CS_PERMIT_GUILTY;

    t->n_suspects += (size_t)suspect;
    t->n_suspects -= (size_t)e->suspect;
    e->suspect = suspect;
}

static void clear_suspicion(struct cs_intake *t, struct entry *e)
{
    t->n_suspects -= (size_t)e->suspect;
    e->suspect = false;
}

static void give_up(struct cs_intake *t, struct entry *e, const char *why)
{
    cs_metric_add(t->dropped, 1);
    cs_log_info(t->p.log, "job.dropped", CS_STR("job", e->job_id),
                CS_STR("type", cs_job_type_name(e->type)), CS_STR("tenant", e->tenant),
                CS_STR("mailbox", e->mailbox), CS_I64("partition", e->partition),
                CS_I64("offset", e->offset), CS_BOOL("finished", e->state == ENTRY_HELD),
                CS_STR("why", why));
    if (e->state == ENTRY_RUNNING)
        t->p.cancel(t->p.user, e);
    clear_suspicion(t, e);
    remove_entry(t, e);
}

/* ---- what an entry leaves ------------------------------------------------------------------------------ */

/* The unit is the checkpoint's from here on, or held until the partition's fate is known. */
static void hand_over(struct cs_intake *t, struct entry *e, struct cs_unit *u)
{
    clear_suspicion(t, e);
    t->held_bytes += u->bytes - e->bytes;
    e->bytes = u->bytes;
    u->user = e;
    u->epoch = e->epoch;
    if (!is_current(t, e)) {
        e->state = ENTRY_HELD;
        e->held = u;
        return;
    }
    e->state = ENTRY_SUBMITTED;
    cs_checkpoint_submit(t->p.checkpoint, u);
}

static int add_dead_letter(struct cs_intake *t, struct entry *e, struct cs_unit *u,
                           const char *reason, const char *detail, const char *key, size_t key_len)
{
    struct cs_dlq d = {
        .topic = CS_TOPIC_JOBS,
        .partition = e->partition,
        .offset = e->offset,
        .reason = reason,
        .detail = detail,
        .job_id = e->job_id[0] != '\0' ? e->job_id : NULL,
        .written_utc_ms = cs_clock_utc_ms(),
    };

    e->dead = reason;
    cs_log_warn(t->p.log, "message.dead_lettered", CS_STR("topic", cs_topic_name(d.topic)),
                CS_I64("partition", d.partition), CS_I64("offset", d.offset),
                CS_STR("reason", reason), CS_STR("detail", detail != NULL ? detail : ""),
                CS_STR("job", e->job_id));
    return cs_unit_add_dead_letter(u, &d, key, key_len);
}

static void note_identity(struct entry *e, const struct cs_feedback *f)
{
    e->is_job = true;
    memcpy(e->job_id, f->job_id, sizeof(e->job_id));
    memcpy(e->tenant, f->tenant, sizeof(e->tenant));
    memcpy(e->mailbox, f->mailbox, sizeof(e->mailbox));
    e->type = f->type;
    e->lane = f->lane;
    e->attempt = f->attempt;
}

static void note_result(struct entry *e, const struct cs_feedback *f)
{
    e->outcome = f->outcome;
    e->fault = f->fault;
    for (size_t i = 0; i < f->n_parts && e->fault.code == CS_CODE_NONE; i++)
        e->fault = f->parts[i].fault;
    e->counts = f->counts;
    e->finished_ms = cs_clock_mono_ms();
}

/* A message that is no job, or comes too late. */
static int take_refused(struct cs_intake *t, const struct cs_kafka_msg *msg,
                        const struct cs_refusal *why)
{
    struct entry *e = add_entry(t, msg);
    struct cs_unit *u = cs_unit_new(msg->partition, msg->offset);
    int r = e != NULL && u != NULL ? 0 : -ENOMEM;

    if (r == 0 && why->has_feedback) {
        note_identity(e, &why->feedback);
        note_result(e, &why->feedback);
        r = cs_unit_add_feedback(u, &why->feedback);
    }
    if (r == 0 && why->reason != NULL)
        r = add_dead_letter(t, e, u, why->reason, why->detail, msg->key, msg->key_len);
    if (r < 0) {
        cs_unit_free(u);
        return r; /* the entry stays until the end, which is near */
    }
    e->started_ms = e->finished_ms = e->taken_ms;
    hand_over(t, e, u);
    return 0;
}

static int take_job(struct cs_intake *t, const struct cs_kafka_msg *msg, struct cs_job *job)
{
    struct entry *e = add_entry(t, msg);

    if (e == NULL) {
        cs_job_clear(job);
        return -ENOMEM;
    }
    e->is_job = true;
    memcpy(e->job_id, job->job_id, sizeof(e->job_id));
    memcpy(e->tenant, job->tenant, sizeof(e->tenant));
    memcpy(e->mailbox, job->mailbox, sizeof(e->mailbox));
    snprintf(e->key, sizeof(e->key), "%s/%s", job->tenant, job->mailbox);
    e->type = job->type;
    e->lane = job->lane;
    e->attempt = job->attempt;
    e->created_utc_ms = job->created_utc_ms;
    e->job = *job;
    e->state = ENTRY_QUEUED;
    weigh_suspicion(t, e);
    try_start(t, e);
    return 0;
}

/* A partition came back and with it a job that was never let go. */
static void keep(struct cs_intake *t, struct entry *e)
{
    e->epoch = cs_checkpoint_epoch(t->p.checkpoint);
    if (e->state == ENTRY_HELD) {
        struct cs_unit *u = e->held;

        e->held = NULL;
        hand_over(t, e, u);
        return;
    }
    if (!is_unfinished(e))
        return;
    weigh_suspicion(t, e);
    if (e->state == ENTRY_QUEUED)
        try_start(t, e);
    else if (e->state == ENTRY_RUNNING &&
             submit_mark(t, e, e->suspect && e->alone ? CS_MARK_CLAIM : CS_MARK_OPEN) < 0)
        fail(t, -ENOMEM);
}

static void take_message(struct cs_intake *t, const struct cs_kafka_msg *msg)
{
    int r = cs_checkpoint_deliver(t->p.checkpoint, msg->partition, msg->offset);
    struct cs_refusal why = {0};
    struct cs_job job;
    struct entry *e;

    if (r == -EALREADY)
        cs_metric_add(t->skipped, 1);
    if (r == -EALREADY || r == -ESTALE || r == -EINPROGRESS)
        return;
    if (r == 0 && (e = find_entry(t, msg->partition, msg->offset)) != NULL) {
        keep(t, e);
        return;
    }
    if (r == 0)
        r = cs_decode_job(msg, t->p.n_partitions, cs_clock_utc_ms(), &job, &why);
    if (r == 0)
        r = take_job(t, msg, &job);
    else if (r == -EINVAL || r == -ETIME)
        r = take_refused(t, msg, &why);
    if (r < 0)
        fail(t, r);
}

/* The job is refused, and nothing of its records is published. */
static void refuse(struct cs_intake *t, struct entry *e, struct cs_unit *u, const char *reason)
{
    struct cs_feedback f = {.type = e->type,
                            .lane = e->lane,
                            .attempt = e->attempt,
                            .outcome = CS_REJECT,
                            .retry_after_ms = -1};
    int r;

    memcpy(f.job_id, e->job_id, sizeof(f.job_id));
    memcpy(f.tenant, e->tenant, sizeof(f.tenant));
    memcpy(f.mailbox, e->mailbox, sizeof(f.mailbox));
    f.fault.code = CS_CODE_INTERNAL;
    f.fault.scope = CS_SCOPE_STREAM;
    f.started_utc_ms = f.finished_utc_ms = cs_clock_utc_ms();
    cs_unit_clear(u);
    note_result(e, &f);
    e->n_records = 0;
    r = e->is_job ? cs_unit_add_feedback(u, &f) : 0;
    if (r == 0)
        r = add_dead_letter(t, e, u, reason, NULL, e->key[0] != '\0' ? e->key : NULL,
                            strlen(e->key));
    if (r < 0) {
        cs_unit_free(u);
        fail(t, r);
        return;
    }
    hand_over(t, e, u);
}

/* The broker takes no message of such a size. */
static void refuse_output(struct cs_intake *t, struct entry *e, struct cs_unit *u)
{
    if (e->dead == NULL || strcmp(e->dead, CS_DLQ_OUTPUT_TOO_LARGE) != 0) {
        refuse(t, e, u, CS_DLQ_OUTPUT_TOO_LARGE);
        return;
    }
    cs_unit_free(u);
    fail(t, -EIO); /* not even that: the topics refuse everything */
}

/* It has killed its workers while nothing else ran: nobody runs it again. */
static void refuse_poison(struct cs_intake *t, struct entry *e)
{
    struct cs_unit *u = cs_unit_new(e->partition, e->offset);

    if (u == NULL) {
        fail(t, -ENOMEM);
        return;
    }
    e->started_ms = cs_clock_mono_ms();
    refuse(t, e, u, CS_DLQ_POISON);
}

int cs_intake_finished(struct cs_intake *t, void *tag, struct cs_job_output *output)
{
    struct entry *e = tag;
    struct cs_unit *u = NULL;
    int r = output != NULL ? 0 : -ENOMEM;

    assert(e->state == ENTRY_RUNNING);
    if (r == 0 && (u = cs_unit_new(e->partition, e->offset)) == NULL)
        r = -ENOMEM;
    if (r < 0)
        goto out;
    note_result(e, &output->feedback);
    e->n_records = output->n_records;
    for (size_t i = 0; i < output->n_records; i++)
        if (output->records[i].change != CS_NOTED)
            cs_metric_add(t->records[output->records[i].kind][output->records[i].change], 1);
    r = cs_unit_add_records(u, output->records, output->n_records, t->claim);
    if (r == 0)
        r = cs_unit_add_feedback(u, &output->feedback);
    if (r == 0 && output->reject_reason != NULL)
        r = add_dead_letter(t, e, u, output->reject_reason, NULL, e->key, strlen(e->key));
out:
    cs_job_output_free(output);
    if (r == -EMSGSIZE) {
        refuse_output(t, e, u);
    } else if (r < 0) {
        cs_unit_free(u);
        fail(t, r);
    } else {
        hand_over(t, e, u);
    }
    start_waiting(t);
    return t->failure;
}

static void settle(struct cs_intake *t, struct entry *e)
{
    int64_t now_ms = cs_clock_mono_ms();

    if (e->dead != NULL)
        cs_metric_add(t->dead, 1);
    if (e->is_job) {
        cs_metric_add(t->jobs[e->type][e->outcome], 1);
        cs_metric_observe_milli(t->seconds[e->type], e->finished_ms - e->started_ms);
        cs_log_info(
            t->p.log, "job.finished", CS_STR("job", e->job_id),
            CS_STR("type", cs_job_type_name(e->type)), CS_STR("tenant", e->tenant),
            CS_STR("mailbox", e->mailbox), CS_STR("lane", cs_lane_name(e->lane)),
            CS_I64("attempt", e->attempt), CS_STR("outcome", cs_outcome_name(e->outcome)),
            CS_STR("code", e->fault.code != CS_CODE_NONE ? cs_code_name(e->fault.code) : ""),
            CS_I64("http_status", e->fault.http_status), CS_STR("request_id", e->fault.request_id),
            CS_I64("items", e->counts.items), CS_I64("records", e->n_records),
            CS_I64("deletes", e->counts.deletes), CS_I64("pages", e->counts.pages),
            CS_I64("requests", e->counts.requests), CS_I64("bytes", e->counts.bytes),
            CS_I64("wait_ms", e->counts.wait_ms), CS_I64("queued_ms", e->started_ms - e->taken_ms),
            CS_I64("run_ms", e->finished_ms - e->started_ms),
            CS_I64("commit_ms", now_ms - e->finished_ms), CS_I64("partition", e->partition),
            CS_I64("offset", e->offset));
    }
    remove_entry(t, e);
}

/* What has been marked may start. */
static void take_marked(struct cs_intake *t, struct cs_unit *u)
{
    struct entry *e = find_entry(t, u->partition, u->offset);

    if (e != NULL && e->state == ENTRY_MARKING && e->epoch == u->epoch) {
        e->state = ENTRY_QUEUED; /* one that was not marked waits for its redelivery */
        e->alone = u->mark == CS_MARK_CLAIM;
        if (u->committed && is_current(t, e) && !t->draining)
            start(t, e);
    }
    cs_unit_free(u);
}

static void take_done(struct cs_intake *t)
{
    struct cs_unit *u;

    while ((u = cs_checkpoint_next_done(t->p.checkpoint)) != NULL) {
        struct entry *e = u->user;

        if (u->mark != CS_MARK_NONE) {
            take_marked(t, u);
        } else if (u->committed) {
            cs_unit_free(u);
            settle(t, e);
        } else if (u->refused) {
            refuse_output(t, e, u);
        } else {
            e->state = ENTRY_HELD;
            e->held = u;
            /* given back although nothing has changed for it: the partition's return is awaited */
        }
    }
}

/* ---- rebalances ----------------------------------------------------------------------------------------- */

static void on_assign(struct cs_intake *t)
{
    const int32_t *partitions = NULL;
    size_t n = cs_kafka_in_partitions(t->p.in, &partitions);
    struct cs_kafka_group *group = cs_kafka_in_group(t->p.in);

    if (group == NULL) {
        fail(t, -ENOMEM);
        return;
    }
    cs_log_info(t->p.log, "partitions.assigned", CS_I64("partitions", n), CS_I64("inflight", t->n));
    if (cs_checkpoint_assign(t->p.checkpoint, partitions, n, group) < 0)
        fail(t, -ENOMEM);
}

static void on_revoke(struct cs_intake *t, bool lost)
{
    struct entry *next;

    cs_log_info(t->p.log, "partitions.revoked", CS_BOOL("lost", lost), CS_I64("inflight", t->n));
    cs_checkpoint_revoke(t->p.checkpoint, lost, t->p.revoke_ms);
    t->assigned = false;
    atomic_store(&t->ready, false);
    cs_metric_set(t->partitions, 0);
    take_done(t);
    /* lost: another has them already, and would ask Graph beside us */
    for (struct entry *e = t->entries; lost && e != NULL; e = next) {
        next = e->next;
        if (e->state != ENTRY_SUBMITTED)
            give_up(t, e, "partition_lost");
    }
    if (cs_kafka_in_unassign(t->p.in) < 0)
        cs_log_warn(t->p.log, "kafka.unassign_failed");
}

/* Where to start is known: so is what of the old work is still ours. */
static void on_found(struct cs_intake *t, const struct cs_kafka_offset *offsets, size_t n)
{
    struct entry *next;
    int r;

    take_done(t); /* units of before the rebalance are all back by now */
    for (struct entry *e = t->entries; e != NULL; e = next) {
        next = e->next;
        if (!cs_checkpoint_is_owed(t->p.checkpoint, e->partition, e->offset))
            give_up(t, e, "partition_gone");
    }
    r = cs_kafka_in_assign(t->p.in, offsets, n);
    if (r < 0) {
        fail(t, r);
        return;
    }
    t->assigned = true;
    atomic_store(&t->ready, true);
    cs_metric_set(t->partitions, (int64_t)n);
    if (n == 0) /* ready all the same: it steps in as soon as another goes */
        cs_log_info(t->p.log, "worker.idle", CS_I64("partitions_of_the_topic", t->p.n_partitions),
                    CS_STR("why", "there are more workers than partitions"));
    start_waiting(t);
}

static void on_event(struct cs_intake *t, enum cs_kafka_event event, const struct cs_kafka_msg *msg,
                     bool lost)
{
    switch (event) {
    case CS_KAFKA_EV_NONE: return;
    case CS_KAFKA_EV_MESSAGE: take_message(t, msg); return;
    case CS_KAFKA_EV_ASSIGN: on_assign(t); return;
    case CS_KAFKA_EV_REVOKE: on_revoke(t, lost); return;
    case CS_KAFKA_EV_FENCED: fail(t, -EPERM); return;
    case CS_KAFKA_EV_ERROR: fail(t, -EIO); return;
    case CS_KAFKA_EV_DOWN:
        atomic_store(&t->down, true);
        cs_log_warn(t->p.log, "kafka.down", CS_I64("inflight", t->n));
        return;
    case CS_KAFKA_EV_UP:
        atomic_store(&t->down, false);
        cs_log_info(t->p.log, "kafka.up");
        return;
    }
}

/* ---- the loop's side ------------------------------------------------------------------------------------ */

/* Jobs kept over a rebalance count from their redelivery on: it has to be pulled before they can be settled. */
static size_t count_current(const struct cs_intake *t)
{
    uint64_t epoch = cs_checkpoint_epoch(t->p.checkpoint);
    size_t n = 0;

    for (const struct entry *e = t->entries; e != NULL; e = e->next)
        n += e->epoch == epoch;
    return n;
}

static bool has_room(const struct cs_intake *t)
{
    return t->assigned && !t->draining && t->failure == 0 && count_current(t) < t->p.max_jobs &&
           t->held_bytes + t->p.bytes(t->p.user) < t->p.max_bytes &&
           !cs_checkpoint_is_full(t->p.checkpoint);
}

/* What is held for a redelivery must not be what keeps it from being pulled. */
static void make_room(struct cs_intake *t)
{
    struct entry *next;

    if (!t->assigned || t->held_bytes + t->p.bytes(t->p.user) < t->p.max_bytes)
        return;
    for (struct entry *e = t->entries; e != NULL; e = next) {
        next = e->next;
        if (e->state == ENTRY_HELD)
            give_up(t, e, "no_room");
    }
}

/* Nothing is pulled any more once draining, so a job whose partition has moved waits for a redelivery in vain. */
static void drop_uncurrent(struct cs_intake *t)
{
    struct entry *next;

    for (struct entry *e = t->entries; e != NULL; e = next) {
        next = e->next;
        if (e->state < ENTRY_RUNNING || (e->state != ENTRY_SUBMITTED && !is_current(t, e)))
            give_up(t, e, "stopping");
    }
}

int cs_intake_step(struct cs_intake *t)
{
    struct cs_kafka_offset *offsets = NULL;
    size_t n = 0;

    if (cs_checkpoint_state(t->p.checkpoint) == CS_KAFKA_FENCED)
        fail(t, -EPERM);
    take_done(t);
    if (cs_checkpoint_next_assigned(t->p.checkpoint, &offsets, &n)) {
        on_found(t, offsets, n);
        cs_kafka_offsets_free(offsets, n);
    }
    make_room(t);
    for (int i = 0; i < PULL_MAX && t->failure == 0; i++) {
        struct cs_kafka_msg msg;
        bool lost = false;
        enum cs_kafka_event event = cs_kafka_in_next(t->p.in, has_room(t), 0, &msg, &lost);

        if (event == CS_KAFKA_EV_NONE)
            break;
        on_event(t, event, &msg, lost);
    }
    if (t->draining)
        drop_uncurrent(t);
    cs_metric_set(t->inflight, (int64_t)t->n);
    cs_metric_set(t->bytes, (int64_t)(t->held_bytes + t->p.bytes(t->p.user)));
    return t->failure;
}

void cs_intake_drain(struct cs_intake *t)
{
    t->draining = true;
    drop_uncurrent(t);
}

void cs_intake_drop_running(struct cs_intake *t)
{
    struct entry *next;

    t->draining = true;
    for (struct entry *e = t->entries; e != NULL; e = next) {
        next = e->next;
        if (e->state != ENTRY_SUBMITTED)
            give_up(t, e, "stopping");
    }
}

void cs_intake_close(struct cs_intake *t)
{
    if (!t->assigned || atomic_load(&t->down) || t->n > 0)
        return; /* a broker that did not take the last commit in time takes no mark either */
    cs_checkpoint_revoke(t->p.checkpoint, false, t->p.revoke_ms);
    t->assigned = false;
    atomic_store(&t->ready, false);
    take_done(t);
}

size_t cs_intake_inflight(const struct cs_intake *t, size_t *running)
{
    size_t n = 0;

    for (const struct entry *e = t->entries; e != NULL; e = e->next)
        n += is_unfinished(e);
    if (running != NULL)
        *running = n;
    return t->n;
}

void cs_intake_set_bounds(struct cs_intake *t, size_t max_jobs, size_t max_bytes)
{
    t->p.max_jobs = max_jobs;
    t->p.max_bytes = max_bytes;
}

bool cs_intake_is_ready(const struct cs_intake *t, const char **why_not)
{
    *why_not = atomic_load(&t->down)     ? "no broker"
               : !atomic_load(&t->ready) ? "no partitions yet"
                                         : NULL;
    return *why_not == NULL;
}

int cs_intake_new(const struct cs_intake_params *p, struct cs_intake **ret)
{
    struct cs_intake *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return -ENOMEM;
    t->p = *p;
    t->tail = &t->entries;
    t->claim = p->conf->kafka_delivery != CS_EXACTLY_ONCE;
    make_metrics(t);
    *ret = t;
    return 0;
}

void cs_intake_free(struct cs_intake *t)
{
    if (t == NULL)
        return;
    while (t->entries != NULL)
        remove_entry(t, t->entries);
    free(t);
}
