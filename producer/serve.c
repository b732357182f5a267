/* serve.c - the daemon's work on the partitions it owns: feedback in, decisions, batches out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backoff.h"
#include "common/dlq.h"
#include "common/key.h"
#include "common/uuid.h"
#include "producer/apply.h"
#include "producer/decide.h"
#include "producer/orders.h"
#include "producer/producer_priv.h"
#include "producer/sends.h"
#include "producer/stream.h"

static const enum cs_topic consumed[CS_PRODUCER_TOPICS] = {CS_TOPIC_FEEDBACK, CS_TOPIC_COMMANDS,
                                                           CS_TOPIC_OUTBOX};

#define LATER_MAX \
    2000 /* mailboxes of the `later` list in one batch, so that no transaction is long */

static void unlink_dirty(struct cs_mailbox *m)
{
    struct cs_dirty_list *list = m->in_dirty;

    if (list == NULL)
        return;
    *(m->prev_dirty != NULL ? &m->prev_dirty->next_dirty : &list->first) = m->next_dirty;
    *(m->next_dirty != NULL ? &m->next_dirty->prev_dirty : &list->last) = m->prev_dirty;
    m->next_dirty = m->prev_dirty = NULL;
    m->in_dirty = NULL;
    list->n--;
}

static void link_dirty(struct cs_dirty_list *list, struct cs_mailbox *m)
{
    m->prev_dirty = list->last;
    m->next_dirty = NULL;
    *(list->last != NULL ? &list->last->next_dirty : &list->first) = m;
    list->last = m;
    list->n++;
    m->in_dirty = list;
}

void cs_producer_touch(struct cs_producer *p, struct cs_mailbox *m)
{
    if (m->in_dirty == &p->dirty)
        return;
    unlink_dirty(m);
    link_dirty(&p->dirty, m);
}

void cs_producer_touch_later(struct cs_producer *p, struct cs_mailbox *m)
{
    if (m->in_dirty == NULL)
        link_dirty(&p->later, m);
}

/* --- tenants ----------------------------------------------------------------------------------- */

static struct cs_producer_tenant *tenant_named(struct cs_producer *p, const char *name)
{
    struct cs_producer_tenant *t = cs_strmap_get(&p->by_tenant, name, strlen(name));
    void *old;

    if (t != NULL)
        return t;
    t = calloc(1, sizeof(*t));
    if (t == NULL || (t->name = strdup(name)) == NULL ||
        cs_strmap_put(&p->by_tenant, name, strlen(name), t, &old) < 0) {
        if (t != NULL)
            free(t->name);
        free(t);
        return NULL;
    }
    t->number = p->n_tenants++;
    return t;
}

static struct cs_producer_tenant *tenant_of(struct cs_producer *p, const struct cs_mailbox *m)
{
    return cs_strmap_get(&p->by_tenant, m->tenant, strlen(m->tenant));
}

#define DENIED_ENOUGH 20 /* so many and none that is not: all of them are */

/* Is each mailbox of this one's tenant denied, as far as they are here? One alone says nothing about the app. */
static bool all_are_denied(const struct cs_producer *p, const struct cs_mailbox *m)
{
    size_t n = 0;

    for (int32_t i = 0; i < p->n_partitions; i++) {
        const struct cs_mailbox *other;
        size_t slot = 0;

        if (p->owned[i].part == NULL)
            continue;
        while ((other = cs_strmap_next(&p->owned[i].part->mailboxes, &slot, NULL)) != NULL) {
            if (other->conf == NULL || strcmp(other->tenant, m->tenant) != 0)
                continue;
            if (other->parked != CS_CODE_MAILBOX_DENIED)
                return false;
            if (++n == DENIED_ENOUGH)
                return true;
        }
    }
    return n > 1;
}

enum cs_code cs_producer_tenant_code(struct cs_producer *p, const struct cs_mailbox *m)
{
    const struct cs_producer_tenant *t = tenant_of(p, m);

    if (t != NULL && t->parked != CS_CODE_NONE)
        return t->parked;
    return m->parked == CS_CODE_MAILBOX_DENIED && all_are_denied(p, m) ? CS_CODE_MAILBOX_DENIED
                                                                       : CS_CODE_NONE;
}

static const struct cs_tenant *conf_of(const struct cs_tenant_set *set, const struct cs_mailbox *m)
{
    const struct cs_tenant *t = cs_tenants_find(set, m->tenant);

    return t != NULL && cs_tenant_has_mailbox(t, m->name) ? t : NULL;
}

/* --- when -------------------------------------------------------------------------------------- */

/* What the CRM sends from a mailbox has a place of its own: it waits for no sync job. */
static int evaluate_sends(struct cs_producer *p, struct cs_mailbox *m)
{
    const struct cs_producer_tenant *t = tenant_of(p, m);
    struct cs_sends *s = m->sends;
    struct cs_send_due due;

    if (s == NULL)
        return 0;
    if (s->job_id[0] != '\0') {
        if (s->sched.place != CS_SCHED_OUT)
            cs_schedule_out(p->schedule, &s->sched, CS_LANE_SEND);
        return cs_schedule_wait(p->schedule, &s->sched,
                                s->job_created_ms + p->conf->schedule.job_lost_ms);
    }
    if (t != NULL && t->parked != CS_CODE_NONE)
        return cs_schedule_wait(p->schedule, &s->sched, CS_NEVER);
    cs_sends_due(s, p->now_ms, &due);
    if (cs_sends_are_dirty(s))
        cs_producer_touch_later(p, m); /* old ones have been forgotten */
    return due.now ? cs_schedule_ready(p->schedule, &s->sched, CS_LANE_SEND, due.due_ms, CS_NEVER)
                   : cs_schedule_wait(p->schedule, &s->sched, due.due_ms);
}

/* Puts the mailbox where its next job, or the time to ask again, will find it. */
static int evaluate(struct cs_producer *p, struct cs_mailbox *m)
{
    struct cs_producer_tenant *t = tenant_of(p, m);
    struct cs_due due;

    m->next_run_ms = CS_NEVER;
    if (m->inflight != NULL) {
        if (m->sched.place != CS_SCHED_OUT)
            cs_schedule_out(p->schedule, &m->sched, m->inflight->lane);
        return cs_schedule_wait(p->schedule, &m->sched,
                                m->inflight->created_ms + p->conf->schedule.job_lost_ms);
    }
    if (t != NULL && t->parked != CS_CODE_NONE && m->conf != NULL && !m->broken) {
        if (t->prober == NULL) {
            t->prober = m;
            cs_apply_tenant_probe(m, t->parked, p->now_ms, p->now_ms);
            cs_producer_touch(p, m);
        }
        if (t->prober != m) {
            m->next_run_ms = t->prober->next_run_ms;
            return cs_schedule_wait(p->schedule, &m->sched, CS_NEVER);
        }
    }
    cs_decide(m, &p->conf->schedule, p->now_ms, &due);
    m->next_run_ms = due.now ? p->now_ms : due.wake_ms;
    return due.now ? cs_schedule_ready(p->schedule, &m->sched, due.lane, due.due_ms, due.wake_ms)
                   : cs_schedule_wait(p->schedule, &m->sched, due.wake_ms);
}

/* Runs fn's effect over all mailboxes of one tenant, or of all where tenant is NULL. */
static int evaluate_tenant(struct cs_producer *p, const char *tenant, bool works)
{
    for (int32_t i = 0; i < p->n_partitions; i++) {
        struct cs_mailbox *m;
        size_t slot = 0;

        if (p->owned[i].part == NULL)
            continue;
        while ((m = cs_strmap_next(&p->owned[i].part->mailboxes, &slot, NULL)) != NULL) {
            if (tenant != NULL && strcmp(m->tenant, tenant) != 0)
                continue;
            if (works)
                cs_apply_tenant_works(m);
            if (tenant != NULL || cs_stream_is_dirty(m))
                cs_producer_touch_later(p, m); /* its status changes with its tenant's */
            if (evaluate(p, m) < 0 || evaluate_sends(p, m) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

static int take_effect(struct cs_producer *p, struct cs_mailbox *m, const struct cs_effect *effect)
{
    struct cs_producer_tenant *t = tenant_of(p, m);

    if (effect->overflow)
        cs_log_warn(p->log, "mailbox.bound_reached", CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name));
    if (t == NULL)
        return 0;
    if (effect->tenant_refused && t->parked == CS_CODE_NONE) {
        t->parked = effect->code;
        t->prober = m;
        cs_log_error(p->log, "tenant.parked", CS_STR("tenant", t->name),
                     CS_STR("code", cs_code_name(t->parked)));
        return evaluate_tenant(p, t->name, false);
    }
    if (effect->tenant_works && t->parked != CS_CODE_NONE) {
        cs_log_info(p->log, "tenant.works_again", CS_STR("tenant", t->name));
        t->parked = CS_CODE_NONE;
        t->prober = NULL;
        return evaluate_tenant(p, t->name, true);
    }
    return 0;
}

/* Every parked tenant has a prober among the mailboxes that are here. */
static int find_probers(struct cs_producer *p)
{
    for (int32_t i = 0; i < p->n_partitions; i++) {
        struct cs_mailbox *m;
        size_t slot = 0;

        if (p->owned[i].part == NULL)
            continue;
        while ((m = cs_strmap_next(&p->owned[i].part->mailboxes, &slot, NULL)) != NULL) {
            struct cs_producer_tenant *t = tenant_of(p, m);

            if (t == NULL || m->conf == NULL || m->broken)
                continue;
            if (cs_apply_is_tenant_code(m->parked) && t->parked == CS_CODE_NONE) {
                t->parked = m->parked; /* known from before a restart */
                t->prober = m;
            }
        }
    }
    return evaluate_tenant(p, NULL, false);
}

/* --- partitions -------------------------------------------------------------------------------- */

static int admit(struct cs_producer *p, struct cs_mailbox *m)
{
    struct cs_producer_tenant *t = tenant_named(p, m->tenant);

    if (t == NULL)
        return -ENOMEM;
    m->sched.tenant = t->number;
    m->sched.partition = m->partition;
    if (m->sends != NULL)
        m->sends->sched.tenant = t->number;
    cs_mailbox_configure(m, conf_of(p->tenants, m), p->now_ms);
    return 0;
}

static int add_configured(struct cs_producer *p)
{
    size_t added = 0;

    for (size_t i = 0; i < p->tenants->n; i++) {
        const struct cs_tenant *t = p->tenants->tenants[i];

        for (size_t k = 0; k < t->n_mailboxes; k++) {
            int32_t at = cs_key_partition(t->name, t->mailboxes[k], p->n_partitions);
            struct cs_table_part *part = p->owned[at].part;
            struct cs_mailbox *m;

            if (part == NULL || cs_table_part_find(part, t->name, t->mailboxes[k]) != NULL)
                continue;
            if (cs_table_part_add(part, t->name, t->mailboxes[k], &m) < 0 || admit(p, m) < 0)
                return -ENOMEM;
            cs_log_debug(p->log, "mailbox.new", CS_STR("tenant", m->tenant),
                         CS_STR("mailbox", m->name));
            cs_producer_touch_later(p, m);
            added++;
        }
    }
    if (added > 0)
        cs_log_info(p->log, "mailboxes.new", CS_I64("mailboxes", added));
    return 0;
}

static int consumed_index(enum cs_topic topic)
{
    for (int i = 0; i < CS_PRODUCER_TOPICS; i++)
        if (consumed[i] == topic)
            return i;
    return -1;
}

int cs_producer_take_parts(struct cs_producer *p, struct cs_ledger_result *r)
{
    size_t mailboxes = 0;

    for (size_t i = 0; i < r->n_parts; i++) {
        struct cs_table_part *part = r->parts[i];
        struct cs_mailbox *m;
        size_t slot = 0;

        r->parts[i] = NULL;
        p->owned[part->partition].part = part;
        for (int k = 0; k < CS_PRODUCER_TOPICS; k++)
            p->owned[part->partition].next[k] = -1;
        while ((m = cs_strmap_next(&part->mailboxes, &slot, NULL)) != NULL) {
            cs_apply_restored(m, p->now_ms);
            if (admit(p, m) < 0)
                return -ENOMEM;
            /* without transactions the job of the state may not have got out */
            m->job_due_out = !p->exactly_once && m->inflight != NULL;
            if (m->sends != NULL)
                m->sends->job_due_out = !p->exactly_once && m->sends->job_id[0] != '\0';
            if (m->job_due_out || (m->sends != NULL && m->sends->job_due_out) ||
                cs_stream_is_dirty(m))
                cs_producer_touch_later(p, m);
            mailboxes++;
        }
    }
    for (size_t i = 0; i < r->n_offsets; i++) {
        int k = consumed_index(r->offsets[i].topic);

        if (k >= 0)
            p->owned[r->offsets[i].partition].next[k] = r->offsets[i].offset;
    }
    cs_log_info(p->log, "partitions.restored", CS_I64("partitions", r->n_parts),
                CS_I64("mailboxes", mailboxes), CS_I64("took_ms", r->took_ms));
    if (add_configured(p) < 0)
        return -ENOMEM;
    return find_probers(p);
}

void cs_producer_drop_parts(struct cs_producer *p)
{
    struct cs_producer_tenant *t;
    size_t slot = 0;

    for (int32_t i = 0; i < p->n_partitions; i++) {
        struct cs_table_part *part = p->owned[i].part;
        struct cs_mailbox *m;
        size_t k = 0;

        if (part == NULL)
            continue;
        while ((m = cs_strmap_next(&part->mailboxes, &k, NULL)) != NULL) {
            cs_schedule_remove(p->schedule, &m->sched);
            if (m->sends != NULL)
                cs_schedule_remove(p->schedule, &m->sends->sched);
        }
        cs_table_part_free(part);
        memset(&p->owned[i], 0, sizeof(p->owned[i]));
    }
    while ((t = cs_strmap_next(&p->by_tenant, &slot, NULL)) != NULL) {
        t->parked = CS_CODE_NONE; /* the state says it again */
        t->prober = NULL;
    }
    memset(&p->dirty, 0, sizeof(p->dirty));
    memset(&p->later, 0, sizeof(p->later));
    for (size_t i = 0; i < p->n_dead; i++)
        free(p->dead[i].key);
    p->n_dead = 0;
    cs_producer_sweep_reset(p);
}

int cs_producer_set_tenants(struct cs_producer *p, struct cs_tenant_set *tenants)
{
    struct cs_tenant_set *old = p->tenants;

    p->tenants = cs_tenants_ref(tenants);
    for (int32_t i = 0; i < p->n_partitions; i++) {
        struct cs_mailbox *m;
        size_t slot = 0;

        if (p->owned[i].part == NULL)
            continue;
        while ((m = cs_strmap_next(&p->owned[i].part->mailboxes, &slot, NULL)) != NULL) {
            struct cs_producer_tenant *t = tenant_of(p, m);

            cs_mailbox_configure(m, conf_of(tenants, m), p->now_ms);
            if (t != NULL && t->prober == m && m->conf == NULL)
                t->prober = NULL; /* another one takes over below */
            if (m->parked != CS_CODE_NONE && m->conf != NULL && m->inflight == NULL)
                m->retry_ms =
                    p->now_ms; /* somebody may have mended it: do not wait for the next probe */
        }
    }
    cs_tenants_unref(old);
    if (add_configured(p) < 0)
        return -ENOMEM;
    return find_probers(p);
}

/* --- in ---------------------------------------------------------------------------------------- */

static int bury(struct cs_producer *p, const struct cs_kafka_msg *msg, const char *reason,
                const char *detail)
{
    struct cs_dead_letter *d;

    if (p->n_dead == p->cap_dead) {
        size_t cap = p->cap_dead == 0 ? 16 : p->cap_dead * 2;
        struct cs_dead_letter *dead = realloc(p->dead, cap * sizeof(*dead));

        if (dead == NULL)
            return -ENOMEM;
        p->dead = dead;
        p->cap_dead = cap;
    }
    d = &p->dead[p->n_dead];
    *d = (struct cs_dead_letter){.topic = msg->topic,
                                 .partition = msg->partition,
                                 .offset = msg->offset,
                                 .reason = reason,
                                 .detail = detail};
    d->key = malloc(msg->key_len + 1);
    if (d->key == NULL)
        return -ENOMEM;
    if (msg->key_len > 0)
        memcpy(d->key, msg->key, msg->key_len);
    d->key[msg->key_len] = '\0';
    d->key_len = msg->key_len;
    p->n_dead++;
    cs_metric_add(p->m.dead, 1);
    cs_log_warn(p->log, "message.dead_lettered", CS_STR("topic", cs_topic_name(msg->topic)),
                CS_I64("partition", msg->partition), CS_I64("offset", msg->offset),
                CS_STR("reason", reason), CS_STR("detail", detail != NULL ? detail : ""));
    return 0;
}

static void say_parked(struct cs_producer *p, const struct cs_mailbox *m, enum cs_code before)
{
    if (m->parked == before)
        return;
    if (m->parked != CS_CODE_NONE)
        cs_log_warn(p->log, "mailbox.parked", CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name), CS_STR("code", cs_code_name(m->parked)));
    else
        cs_log_info(p->log, "mailbox.works_again", CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name));
}

/* An end of a step of an outbox request. */
static int take_send_feedback(struct cs_producer *p, struct cs_mailbox *m,
                              const struct cs_feedback *f, const struct cs_kafka_msg *msg)
{
    const struct cs_fault *fault =
        f->fault.code == CS_CODE_NONE && f->n_parts > 0 ? &f->parts[0].fault : &f->fault;
    int r = m->sends == NULL
                ? -ENOENT
                : cs_sends_apply(m->sends, &p->conf->schedule, f, p->now_ms,
                                 cs_mix64((uint64_t)msg->offset ^ (uint64_t)p->now_ms << 20));

    if (r == -ENOENT) {
        cs_metric_add(p->m.stale, 1);
        return 0;
    }
    if (r < 0)
        return r;
    if (fault->code != CS_CODE_NONE || f->outcome == CS_REJECT)
        cs_log_warn(p->log, "job.failed", CS_STR("job", f->job_id),
                    CS_STR("type", cs_job_type_name(f->type)), CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name), CS_STR("outcome", cs_outcome_name(f->outcome)),
                    CS_STR("code", cs_code_name(fault->code)),
                    CS_I64("http_status", fault->http_status),
                    CS_STR("request_id", fault->request_id));
    cs_schedule_back(p->schedule, &m->sends->sched);
    cs_producer_touch(p, m);
    return evaluate_sends(p, m);
}

static int take_feedback(struct cs_producer *p, const struct cs_feedback *f,
                         const struct cs_kafka_msg *msg)
{
    struct cs_mailbox *m = cs_table_part_find(p->owned[msg->partition].part, f->tenant, f->mailbox);
    struct cs_effect effect;
    enum cs_box_phase phase;
    enum cs_code parked;
    size_t owed;
    int r;

    cs_metric_add(p->m.feedback[f->outcome], 1);
    if (m == NULL || m->broken) {
        cs_metric_add(p->m.stale, 1); /* nobody waits for it */
        return 0;
    }
    if (f->type == CS_JOB_MAIL_SEND)
        return take_send_feedback(p, m, f, msg);
    phase = m->phase;
    parked = m->parked;
    owed = cs_mailbox_count_resync_owed(m);
    r = cs_apply_feedback(m, &p->conf->schedule, f, p->now_ms,
                          cs_mix64((uint64_t)msg->offset ^ (uint64_t)p->now_ms << 20), &effect);
    if (r < 0)
        return r;
    if (effect.stale) {
        cs_metric_add(p->m.stale, 1);
        cs_log_info(p->log, "feedback.stale", CS_STR("job", f->job_id), CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name));
        return 0;
    }
    if (f->fault.code != CS_CODE_NONE || f->outcome == CS_REJECT)
        cs_log_warn(p->log, "job.failed", CS_STR("job", f->job_id),
                    CS_STR("type", cs_job_type_name(f->type)), CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name), CS_STR("outcome", cs_outcome_name(f->outcome)),
                    CS_STR("code", cs_code_name(f->fault.code)),
                    CS_I64("http_status", f->fault.http_status),
                    CS_STR("request_id", f->fault.request_id), CS_I64("failures", m->failures));
    if (m->phase != phase)
        cs_log_info(p->log, "mailbox.phase", CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name), CS_STR("phase", cs_box_phase_names[m->phase]));
    if (cs_mailbox_count_resync_owed(m) > owed)
        cs_log_warn(p->log, "mailbox.resync_owed", CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name), CS_I64("streams", cs_mailbox_count_resync_owed(m)));
    say_parked(p, m, parked);
    cs_schedule_back(p->schedule, &m->sched);
    cs_producer_touch(p, m);
    r = take_effect(p, m, &effect);
    return r < 0 ? r : evaluate(p, m);
}

/* The mailbox that a request or a command is for. NULL: it is none of ours, and why it is to be buried. */
static struct cs_mailbox *addressee(struct cs_producer *p, const struct cs_kafka_msg *msg,
                                    const char *invalid, const char **reason, const char **detail)
{
    char tenant[CS_TENANT_MAX + 1], mailbox[CS_MAILBOX_MAX + 1];
    struct cs_mailbox *m;
    const char *rest;
    size_t rest_len;

    *reason = invalid;
    *detail = "key";
    if (msg->key == NULL ||
        cs_key_split(msg->key, msg->key_len, tenant, mailbox, &rest, &rest_len) < 0 || rest_len > 0)
        return NULL;
    *detail = NULL;
    *reason = CS_DLQ_WRONG_PARTITION;
    if (cs_key_partition(tenant, mailbox, p->n_partitions) != msg->partition)
        return NULL;
    m = cs_table_part_find(p->owned[msg->partition].part, tenant, mailbox);
    *reason = m == NULL || m->conf == NULL ? "mailbox_unknown" : "mailbox_unreadable";
    if (m == NULL || m->conf == NULL || m->broken)
        return NULL;
    *reason = invalid;
    *detail = "no value";
    return msg->value != NULL ? m : NULL;
}

/* What an operator wants. Taken in with its offset, so that it counts once. */
static int take_command(struct cs_producer *p, const struct cs_kafka_msg *msg)
{
    const char *reason, *detail;
    struct cs_mailbox *m = addressee(p, msg, "command_invalid", &reason, &detail);
    struct cs_command c;
    int r;

    if (m == NULL)
        return bury(p, msg, reason, detail);
    r = cs_command_parse(msg->value, msg->value_len, &c, &detail);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return bury(p, msg, "command_invalid", detail);
    r = cs_orders_take(m, &c, p->now_ms);
    if (r == 0) {
        cs_log_info(p->log, "command.taken", CS_STR("command", c.id),
                    CS_STR("type", cs_command_type_name(c.type)), CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name));
        cs_producer_touch(p, m);
        r = evaluate(p, m);
    } else if (r == -E2BIG) {
        r = bury(p, msg, "replays_full", NULL);
    }
    cs_command_clear(&c);
    return r;
}

/* A mail to be sent. What names no mailbox of ours, or is no request, has nobody to be answered to. */
static int take_request(struct cs_producer *p, const struct cs_kafka_msg *msg)
{
    const char *reason, *detail, *refuse = NULL;
    struct cs_mailbox *m = addressee(p, msg, "request_invalid", &reason, &detail);
    struct cs_outbox request = {0};
    struct cs_json *doc = NULL;
    int r;

    if (m == NULL)
        return bury(p, msg, reason, detail);
    reason = "not JSON";
    r = cs_json_parse(msg->value, msg->value_len, &doc, &reason);
    if (r == 0)
        r = cs_outbox_parse(cs_json_root(doc), &request, &reason);
    cs_json_free(doc);
    if (r < 0)
        return r == -ENOMEM ? r : bury(p, msg, "request_invalid", reason);
    if (msg->value_len > CS_OUTBOX_MAX)
        refuse = "too_large";
    r = cs_sends_take(m, request.request_id, request.not_after_utc_ms, refuse,
                      refuse != NULL ? "{}" : msg->value, refuse != NULL ? 2 : msg->value_len,
                      p->now_ms);
    cs_outbox_clear(&request);
    if (r == -E2BIG)
        return bury(p, msg, "outbox_full", NULL);
    if (r == -EEXIST) {
        cs_metric_add(p->m.repeated, 1);
        return 0;
    }
    if (r < 0)
        return r;
    cs_metric_add(p->m.requests, 1);
    cs_producer_touch(p, m);
    return evaluate_sends(p, m);
}

static int hold(struct cs_producer *p, const struct cs_kafka_msg *msg)
{
    struct cs_producer_held *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return -ENOMEM;
    h->topic = msg->topic;
    h->partition = msg->partition;
    h->offset = msg->offset;
    h->key_len = msg->key != NULL ? msg->key_len : 0;
    h->value_len = msg->value_len;
    h->key = malloc(h->key_len + 1);
    h->value = msg->value != NULL ? malloc(msg->value_len + 1) : NULL;
    if (h->key == NULL || (msg->value != NULL && h->value == NULL)) {
        free(h->key);
        free(h->value);
        free(h);
        return -ENOMEM;
    }
    if (h->key_len > 0)
        memcpy(h->key, msg->key, h->key_len);
    if (h->value != NULL)
        memcpy(h->value, msg->value, msg->value_len);
    *p->held.end = h;
    p->held.end = &h->next;
    return 0;
}

static void init_list(struct cs_producer_held_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void drop_list(struct cs_producer_held_list *list)
{
    while (list->first != NULL) {
        struct cs_producer_held *h = list->first;

        list->first = h->next;
        free(h->key);
        free(h->value);
        free(h);
    }
    init_list(list);
}

/* Moves all of one list behind the other. */
static void append_list(struct cs_producer_held_list *to, struct cs_producer_held_list *from)
{
    if (from->first == NULL)
        return;
    *to->end = from->first;
    to->end = from->end;
    init_list(from);
}

void cs_producer_init_held(struct cs_producer *p)
{
    init_list(&p->held_batch);
    init_list(&p->held);
}

void cs_producer_forget_held(struct cs_producer *p)
{
    drop_list(&p->held_batch);
}

void cs_producer_drop_held(struct cs_producer *p)
{
    drop_list(&p->held_batch);
    drop_list(&p->held);
}

int cs_producer_take_held(struct cs_producer *p)
{
    struct cs_producer_held_list again;
    int r = 0;

    init_list(&again);
    append_list(&again, &p->held_batch);
    append_list(&again, &p->held);
    for (const struct cs_producer_held *h = again.first; h != NULL && r == 0; h = h->next) {
        const struct cs_kafka_msg msg = {.topic = h->topic,
                                         .partition = h->partition,
                                         .offset = h->offset,
                                         .key = h->key,
                                         .key_len = h->key_len,
                                         .value = h->value,
                                         .value_len = h->value_len};

        r = cs_producer_take_message(p,
                                     &msg); /* what was committed after all is below the offset */
    }
    drop_list(&again);
    return r;
}

int cs_producer_take_message(struct cs_producer *p, const struct cs_kafka_msg *msg)
{
    struct cs_producer_owned *o;
    struct cs_feedback f;
    const char *reason = "not JSON";
    int k = consumed_index(msg->topic), r;

    if (k < 0 || msg->partition < 0 || msg->partition >= p->n_partitions ||
        p->owned[msg->partition].part == NULL)
        return 0; /* of an assignment that is over */
    o = &p->owned[msg->partition];
    if (o->next[k] >= 0 && msg->offset < o->next[k])
        return 0; /* read again after a new assignment: done already */
    if (hold(p, msg) < 0)
        return -ENOMEM;
    o->next[k] = msg->offset + 1;
    o->moved[k] = true;
    if (msg->topic == CS_TOPIC_OUTBOX)
        return take_request(p, msg);
    if (msg->topic == CS_TOPIC_COMMANDS)
        return take_command(p, msg);
    if (msg->value == NULL)
        return bury(p, msg, "feedback_invalid", "no value");
    r = cs_feedback_parse(msg->value, msg->value_len, &f, &reason);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return bury(p, msg, "feedback_invalid", reason);
    if (cs_key_partition(f.tenant, f.mailbox, p->n_partitions) != msg->partition)
        r = bury(p, msg, CS_DLQ_WRONG_PARTITION, NULL);
    else
        r = take_feedback(p, &f, msg);
    cs_feedback_clear(&f);
    return r;
}

/* --- decisions --------------------------------------------------------------------------------- */

static struct cs_sends *sends_of(struct cs_sched_entry *e)
{
    return (struct cs_sends *)(void *)((char *)e - offsetof(struct cs_sends, sched));
}

static int wake_sends(struct cs_producer *p, struct cs_sends *s)
{
    if (s->job_id[0] != '\0' && p->now_ms - s->job_created_ms >= p->conf->schedule.job_lost_ms) {
        cs_log_warn(p->log, "job.lost", CS_STR("job", s->job_id), CS_STR("tenant", s->box->tenant),
                    CS_STR("mailbox", s->box->name));
        cs_metric_add(p->m.lost, 1);
        cs_sends_lost(s, p->now_ms);
        cs_schedule_back(p->schedule, &s->sched);
        cs_producer_touch(p, s->box);
    }
    return evaluate_sends(p, s->box);
}

static int issue_send(struct cs_producer *p, struct cs_sends *s)
{
    const struct cs_producer_tenant *t = tenant_of(p, s->box);
    char job_id[CS_UUID_TEXT];
    struct cs_send_due due;

    cs_sends_due(s, p->now_ms, &due);
    if (!due.now || (t != NULL && t->parked != CS_CODE_NONE))
        return evaluate_sends(p, s->box);
    if (cs_uuid7(p->now_ms, job_id) < 0)
        return -EIO;
    cs_sends_issue(s, &due, job_id, p->now_ms);
    cs_metric_add(p->m.issued[CS_JOB_MAIL_SEND], 1);
    if (p->now_ms > due.due_ms)
        cs_metric_observe_milli(p->m.overdue_seconds, p->now_ms - due.due_ms);
    cs_producer_touch(p, s->box);
    return evaluate_sends(p, s->box); /* takes the place */
}

static struct cs_mailbox *mailbox_of(struct cs_sched_entry *e)
{
    return (struct cs_mailbox *)(void *)((char *)e - offsetof(struct cs_mailbox, sched));
}

static int wake(struct cs_producer *p, struct cs_mailbox *m)
{
    if (m->inflight != NULL &&
        p->now_ms - m->inflight->created_ms >= p->conf->schedule.job_lost_ms) {
        cs_log_warn(p->log, "job.lost", CS_STR("job", m->inflight->job_id),
                    CS_STR("tenant", m->tenant), CS_STR("mailbox", m->name));
        cs_metric_add(p->m.lost, 1);
        cs_apply_lost(m, p->now_ms);
        cs_schedule_back(p->schedule, &m->sched);
        cs_producer_touch(p, m);
    }
    return evaluate(p, m);
}

static int issue_one(struct cs_producer *p, struct cs_mailbox *m, enum cs_lane granted)
{
    struct cs_producer_tenant *t = tenant_of(p, m);
    char job_id[CS_UUID_TEXT];
    struct cs_due due;
    int r;

    if (t != NULL && t->parked != CS_CODE_NONE && t->prober != m)
        return evaluate(p, m);
    /* asked again: since it became ready something more urgent may have come up */
    cs_decide(m, &p->conf->schedule, p->now_ms, &due);
    if (!due.now || due.lane > granted)
        return evaluate(p, m); /* the place was granted for a higher lane than it has now */
    if (cs_uuid7(p->now_ms, job_id) < 0)
        return -EIO;
    r = cs_decide_issue(m, &p->conf->schedule, p->now_ms, &due, job_id);
    if (r == -ENOENT) {
        cs_log_error(p->log, "job.not_due", CS_STR("type", cs_job_type_name(due.type)),
                     CS_STR("tenant", m->tenant), CS_STR("mailbox", m->name));
        return cs_schedule_wait(p->schedule, &m->sched, p->now_ms + 1000);
    }
    if (r < 0)
        return r;
    cs_metric_add(p->m.issued[due.type], 1);
    if (p->now_ms > due.since_ms && due.since_ms > 0)
        cs_metric_observe_milli(p->m.overdue_seconds, p->now_ms - due.since_ms);
    m->job_due_out = true;
    cs_producer_touch(p, m);
    return evaluate(p, m); /* takes the place */
}

int cs_producer_issue(struct cs_producer *p)
{
    struct cs_sched_entry *e;
    int r = 0;

    while (r == 0 && (e = cs_schedule_next_due(p->schedule, p->now_ms)) != NULL)
        r = e->of_sends ? wake_sends(p, sends_of(e)) : wake(p, mailbox_of(e));
    while (r == 0 && (e = cs_schedule_next_ready(p->schedule)) != NULL)
        r = e->of_sends ? issue_send(p, sends_of(e)) : issue_one(p, mailbox_of(e), e->lane);
    return r;
}

/* --- out --------------------------------------------------------------------------------------- */

struct adding {
    struct cs_ledger_batch *batch;
    struct cs_mailbox *m;
    int64_t now_ms;
};

static int add_state(void *user, const char *stream, const char *value, size_t len)
{
    struct adding *a = user;
    char key[CS_KEY_MAX];
    int n = cs_key_stream(key, sizeof(key), a->m->tenant, a->m->name, stream);

    if (n < 0)
        return n;
    return cs_ledger_batch_add(a->batch, CS_TOPIC_STATE, a->m->partition, key, value, len, NULL,
                               a->now_ms);
}

/* The status is written on a change of state, else not more often than asked for. */
static int add_status(struct cs_producer *p, struct cs_ledger_batch *batch, struct cs_mailbox *m)
{
    struct cs_status st;
    struct cs_buf text;
    char key[CS_KEY_MAX];
    int r;

    cs_status_of(m, &p->conf->schedule, cs_producer_tenant_code(p, m), p->now_ms, &st);
    if (st.state == m->state && m->state_since_ms != CS_TIME_NONE && st.code == m->status_code &&
        m->status_written_ms != CS_TIME_NONE &&
        p->now_ms - m->status_written_ms < p->conf->schedule.status_interval_ms &&
        m->status_written_ms <= p->now_ms) {
        m->status_pending = true;
        return 0;
    }
    if (st.state != m->state || m->state_since_ms == CS_TIME_NONE) {
        m->state = st.state;
        m->state_since_ms = p->now_ms;
        m->dirty = !m->broken;
    }
    m->status_code = st.code;
    m->status_written_ms = p->now_ms;
    m->status_pending = false;
    r = cs_key_mailbox(key, sizeof(key), m->tenant, m->name);
    if (r < 0)
        return r;
    cs_buf_init(&text, 0);
    cs_status_print(m, &st, p->now_ms, &text);
    r = cs_buf_failed(&text);
    if (r == 0)
        r = cs_ledger_batch_add(batch, CS_TOPIC_STATUS, m->partition, key, text.data, text.len,
                                NULL, p->now_ms);
    cs_buf_clear(&text);
    return r;
}

/* Paths only help people and rules of thumb; a map too long for one message goes without. */
static void drop_paths(struct cs_job *job)
{
    for (size_t i = 0; i < job->n_folders; i++) {
        free(job->folders[i].path);
        job->folders[i].path = NULL;
    }
}

/* @param[in] job  taken */
static int add_job(struct cs_producer *p, struct cs_ledger_batch *batch, struct cs_mailbox *m,
                   struct cs_job job)
{
    struct cs_buf text;
    char key[CS_KEY_MAX];
    int r = cs_key_mailbox(key, sizeof(key), m->tenant, m->name);

    if (r < 0) {
        cs_job_clear(&job);
        return r;
    }
    cs_buf_init(&text, 0);
    cs_job_print(&job, &text);
    if (cs_buf_failed(&text) == 0 && text.len > CS_KAFKA_RECORD_MAX) {
        cs_log_warn(p->log, "job.without_paths", CS_STR("tenant", m->tenant),
                    CS_STR("mailbox", m->name), CS_I64("bytes", text.len));
        drop_paths(&job);
        cs_buf_reset(&text);
        cs_job_print(&job, &text);
    }
    r = cs_buf_failed(&text);
    if (r == 0)
        r = cs_ledger_batch_add(batch, CS_TOPIC_JOBS, m->partition, key, text.data, text.len,
                                job.job_id, p->now_ms);
    cs_buf_clear(&text);
    cs_job_clear(&job);
    return r;
}

static int add_mailbox(struct cs_producer *p, struct cs_ledger_batch *batch, struct cs_mailbox *m)
{
    struct adding a = {batch, m, p->now_ms};
    struct cs_job job;
    size_t before = batch->n;
    int r = add_status(p, batch, m); /* first: a change of state is part of the state written */

    if (r == 0 && !m->broken)
        r = cs_stream_flush(m, add_state, &a);
    if (r == 0 && m->job_due_out && m->inflight != NULL) {
        r = cs_decide_job(m, &job);
        if (r == 0)
            r = add_job(p, batch, m, job);
    }
    m->job_due_out = false;
    if (r == 0 && m->sends != NULL && m->sends->job_due_out) {
        r = cs_sends_job(m->sends, &job);
        if (r == 0)
            r = add_job(p, batch, m, job);
        m->sends->job_due_out = false;
    }
    if (batch->n > before)
        p->owned[m->partition].written = true;
    if (r == -EMSGSIZE)
        cs_log_error(p->log, "mailbox.too_large", CS_STR("tenant", m->tenant),
                     CS_STR("mailbox", m->name));
    return r;
}

static int add_dead(struct cs_producer *p, struct cs_ledger_batch *batch)
{
    int r = 0;

    for (size_t i = 0; i < p->n_dead && r == 0; i++) {
        struct cs_dead_letter *d = &p->dead[i];
        struct cs_buf text;

        cs_buf_init(&text, 0);
        cs_dlq_print(&(struct cs_dlq){.topic = d->topic,
                                      .partition = d->partition,
                                      .offset = d->offset,
                                      .reason = d->reason,
                                      .detail = d->detail,
                                      .written_utc_ms = p->now_ms},
                     &text);
        r = cs_buf_failed(&text);
        if (r == 0)
            r = cs_ledger_batch_add(batch, CS_TOPIC_DLQ, d->partition, d->key, text.data, text.len,
                                    NULL, p->now_ms);
        cs_buf_clear(&text);
        free(d->key);
        d->key = NULL;
        p->owned[d->partition].written = true;
    }
    p->n_dead = 0;
    return r;
}

/* Offsets of every partition that is written for, also where none is new: they are what the broker
 * checks our membership by. The nonce tells a later reader whether this batch was the last. */
static int add_offsets(struct cs_producer *p, struct cs_ledger_batch *batch)
{
    char nonce[CS_UUID_TEXT + 24];
    int r = 0;

    snprintf(nonce, sizeof(nonce), "%s/%llu", p->nonce, (unsigned long long)++p->batches);
    for (int32_t i = 0; i < p->n_partitions && r == 0; i++) {
        struct cs_producer_owned *o = &p->owned[i];

        for (int k = 0; k < CS_PRODUCER_TOPICS && r == 0; k++) {
            bool fence = k == 0 && o->written && p->exactly_once;

            if (o->part == NULL || (!o->moved[k] && !fence))
                continue;
            r = cs_ledger_batch_offset(batch, consumed[k], i, o->next[k] >= 0 ? o->next[k] : 0,
                                       nonce);
            o->moved[k] = false;
        }
        o->written = false;
    }
    return r;
}

static struct cs_mailbox *take_first(struct cs_dirty_list *list)
{
    struct cs_mailbox *m = list->first;

    unlink_dirty(m);
    return m;
}

int cs_producer_make_batch(struct cs_producer *p, struct cs_ledger_batch **ret)
{
    struct cs_ledger_batch *batch = cs_ledger_batch_new();
    int r = batch != NULL ? 0 : -ENOMEM;

    *ret = NULL;
    while (r == 0 && p->dirty.first != NULL)
        r = add_mailbox(p, batch, take_first(&p->dirty));
    for (int i = 0; r == 0 && p->later.first != NULL && i < LATER_MAX; i++)
        r = add_mailbox(p, batch, take_first(&p->later));
    if (r == 0)
        r = add_dead(p, batch);
    if (r == 0)
        r = add_offsets(p, batch);
    if (r < 0 || (batch->n == 0 && batch->n_offsets == 0)) {
        cs_ledger_batch_free(batch);
        return r;
    }
    append_list(&p->held_batch, &p->held);
    *ret = batch;
    return 0;
}
