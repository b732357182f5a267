/* view.c - what is seen of the daemon: metrics, /livez, /readyz, /status.json, statuses that age. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_write.h"
#include "producer/producer_priv.h"

#define PASS_MS  5000 /* one sweep over all mailboxes */
#define STEP_MS  200
#define LIVE_MS  90000 /* a turn may wait for the ledger at a rebalance, not longer than this */
#define LIST_MAX 500   /* mailboxes named in /status.json */

static const int64_t seconds_bounds[] = {5,    10,   20,   50,    100,   200,   500,
                                         1000, 2000, 5000, 10000, 30000, 60000, 300000};
#define N_BOUNDS (sizeof(seconds_bounds) / sizeof(seconds_bounds[0]))

static struct cs_metric *labelled(struct cs_metrics *m, bool gauge, const char *name,
                                  const char *label, const char *value, const char *help)
{
    char labels[96];

    snprintf(labels, sizeof(labels), "%s=\"%s\"", label, value);
    return gauge ? cs_metrics_gauge(m, name, labels, help)
                 : cs_metrics_counter(m, name, labels, help);
}

void cs_producer_make_metrics(struct cs_producer *p)
{
    static const char *const ends[4] = {"committed", "not_done", "unknown", "fenced"};
    struct cs_producer_metrics *m = &p->m;
    struct cs_metrics *all = p->metrics;

    for (int i = 0; i < CS_LANE_COUNT_; i++) {
        m->ready[i] =
            labelled(all, true, "crmsync_jobs_overdue", "lane", cs_lane_name((enum cs_lane)i),
                     "Jobs that are due and wait for a place.");
        m->out[i] = labelled(all, true, "crmsync_jobs_outstanding", "lane",
                             cs_lane_name((enum cs_lane)i), "Jobs published and not answered yet.");
    }
    for (int i = 0; i < CS_JOB_TYPE_COUNT_; i++)
        m->issued[i] = labelled(all, false, "crmsync_jobs_issued_total", "type",
                                cs_job_type_name((enum cs_job_type)i), "Jobs put in flight.");
    for (int i = 0; i < CS_FATAL; i++)
        m->feedback[i] = labelled(all, false, "crmsync_feedback_total", "outcome",
                                  cs_outcome_name((enum cs_outcome)i), "Feedback read.");
    m->feedback[CS_FATAL] = m->feedback[CS_REJECT]; /* never on a topic */
    for (int i = 0; i < CS_STREAM_PHASE_COUNT_; i++)
        m->streams[i] = labelled(all, true, "crmsync_streams", "phase", cs_stream_phase_names[i],
                                 "Mail and calendar streams by phase.");
    for (int i = 0; i < CS_STATE_COUNT_; i++)
        m->states[i] = labelled(all, true, "crmsync_mailboxes_by_state", "state",
                                cs_box_state_names[i], "Mailboxes by the state of their status.");
    for (int i = 0; i < 4; i++)
        m->commits[i] = labelled(all, false, "crmsync_producer_commits_total", "result", ends[i],
                                 "Batches handed to Kafka, by how they ended.");
    m->stale = cs_metrics_counter(all, "crmsync_feedback_stale_total", NULL,
                                  "Feedback that no job in flight waits for.");
    m->dead = cs_metrics_counter(all, "crmsync_dead_letters_total", NULL,
                                 "Messages put on the dead-letter topic.");
    m->lost = cs_metrics_counter(all, "crmsync_jobs_lost_total", NULL,
                                 "Jobs issued anew after longer than the topics keep one.");
    m->requests =
        cs_metrics_counter(all, "crmsync_outbox_requests_total", NULL, "Outbox requests taken in.");
    m->repeated = cs_metrics_counter(all, "crmsync_outbox_repeated_total", NULL,
                                     "Outbox requests whose id had come before.");
    m->mailboxes =
        cs_metrics_gauge(all, "crmsync_mailboxes", NULL, "Mailboxes of owned partitions.");
    m->partitions =
        cs_metrics_gauge(all, "crmsync_partitions_assigned", NULL, "Partitions assigned.");
    m->restored = cs_metrics_gauge(all, "crmsync_partitions_restored", NULL,
                                   "Partitions restored and served.");
    m->broken = cs_metrics_gauge(all, "crmsync_mailboxes_unreadable", NULL,
                                 "Mailboxes whose state could not be read.");
    m->tenants_parked = cs_metrics_gauge(all, "crmsync_tenants_parked", NULL,
                                         "Tenants whose credentials or app are refused.");
    m->resync_owed =
        cs_metrics_gauge(all, "crmsync_resync_owed", NULL, "Streams that are owed a resync.");
    m->looks =
        cs_metrics_gauge(all, "crmsync_looks_owed", NULL, "Items that are owed another look.");
    m->commit_seconds =
        cs_metrics_histogram(all, "crmsync_producer_commit_seconds", NULL,
                             "From handing a batch over to its end.", seconds_bounds, N_BOUNDS);
    m->restore_seconds =
        cs_metrics_histogram(all, "crmsync_restore_seconds", NULL,
                             "Restore of the partitions assigned.", seconds_bounds, N_BOUNDS);
    m->overdue_seconds = cs_metrics_histogram(all, "crmsync_job_overdue_seconds", NULL,
                                              "How long a job was due before it was issued.",
                                              seconds_bounds, N_BOUNDS);
    m->reloads = cs_metrics_counter(all, "crmsync_config_reloads_total", NULL,
                                    "Configurations taken after SIGHUP.");
    m->reload_errors =
        cs_metrics_counter(all, "crmsync_config_reload_errors_total", NULL,
                           "Configurations refused after SIGHUP; the old one stays.");
    m->up = cs_metrics_gauge(all, "crmsync_kafka_up", NULL, "0 while no broker answers.");
    cs_metric_set(m->up, 1);
}

/* --- the sweep --------------------------------------------------------------------------------- */

static void forget_sums(struct cs_producer_sweep *s)
{
    memset(s->streams, 0, sizeof(s->streams));
    memset(s->states, 0, sizeof(s->states));
    s->resync_owed = s->looks = s->mailboxes = 0;
    s->listed = 0;
    cs_buf_reset(&s->list);
}

void cs_producer_sweep_reset(struct cs_producer *p)
{
    p->sweep.partition = 0;
    p->sweep.slot = 0;
    p->sweep.started_mono_ms = p->mono_ms;
    forget_sums(&p->sweep);
}

static void count_mailbox(struct cs_producer_sweep *s, const struct cs_mailbox *m,
                          const struct cs_status *st)
{
    s->mailboxes++;
    s->states[st->state]++;
    s->resync_owed += (int64_t)cs_mailbox_count_resync_owed(m);
    s->looks += (int64_t)cs_mailbox_count_looks(m);
    s->streams[m->cal.phase]++;
    for (size_t i = 0; i < m->n_folders; i++)
        if (m->folders[i]->has_stream)
            s->streams[m->folders[i]->phase]++;
}

static void list_mailbox(struct cs_producer *p, const struct cs_mailbox *m,
                         const struct cs_status *st)
{
    struct cs_producer_sweep *s = &p->sweep;

    if (st->state == CS_STATE_ON_TIME || s->listed >= LIST_MAX)
        return;
    if (s->listed++ > 0)
        cs_buf_addc(&s->list, ',');
    cs_status_print(m, st, p->now_ms, &s->list);
}

static void visit(struct cs_producer *p, struct cs_mailbox *m)
{
    struct cs_status st;

    cs_status_of(m, &p->conf->schedule, cs_producer_tenant_code(p, m), p->now_ms, &st);
    count_mailbox(&p->sweep, m, &st);
    list_mailbox(p, m, &st);
    if (st.state != m->state || st.code != m->status_code ||
        (m->status_pending &&
         p->now_ms - m->status_written_ms >= p->conf->schedule.status_interval_ms))
        cs_producer_touch_later(p, m);
}

static void publish(struct cs_producer *p)
{
    struct cs_producer_sweep *s = &p->sweep;
    struct cs_producer_tenant *t;
    struct cs_buf out;
    struct cs_jw jw;
    size_t slot = 0, parked = 0;

    for (int i = 0; i < CS_STREAM_PHASE_COUNT_; i++)
        cs_metric_set(p->m.streams[i], s->streams[i]);
    for (int i = 0; i < CS_STATE_COUNT_; i++)
        cs_metric_set(p->m.states[i], s->states[i]);
    cs_metric_set(p->m.resync_owed, s->resync_owed);
    cs_metric_set(p->m.looks, s->looks);
    cs_metric_set(p->m.mailboxes, s->mailboxes);

    cs_buf_init(&out, 0);
    cs_jw_init(&jw, &out);
    cs_jw_object(&jw);
    cs_jw_ktime(&jw, "at", p->now_ms);
    cs_jw_ki64(&jw, "mailboxes", s->mailboxes);
    cs_jw_key(&jw, "states");
    cs_jw_object(&jw);
    for (int i = 0; i < CS_STATE_COUNT_; i++)
        cs_jw_ki64(&jw, cs_box_state_names[i], s->states[i]);
    cs_jw_object_end(&jw);
    cs_jw_ki64(&jw, "resync_owed", s->resync_owed);
    cs_jw_ki64(&jw, "looks_owed", s->looks);
    cs_jw_key(&jw, "tenants_parked");
    cs_jw_array(&jw);
    while ((t = cs_strmap_next(&p->by_tenant, &slot, NULL)) != NULL)
        if (t->parked != CS_CODE_NONE) {
            parked++;
            cs_jw_object(&jw);
            cs_jw_kstr(&jw, "tenant", t->name);
            cs_jw_kstr(&jw, "code", cs_code_name(t->parked));
            cs_jw_object_end(&jw);
        }
    cs_jw_array_end(&jw);
    cs_metric_set(p->m.tenants_parked, (int64_t)parked);
    cs_jw_key(&jw, "not_on_time"); /* at most LIST_MAX of them */
    cs_jw_array(&jw);
    if (s->list.len > 0)
        cs_jw_raw(&jw, s->list.data, s->list.len);
    cs_jw_array_end(&jw);
    cs_jw_object_end(&jw);
    if (cs_buf_failed(&out) == 0 && cs_buf_failed(&s->list) == 0) {
        pthread_mutex_lock(&p->view_lock);
        cs_buf_clear(&p->view);
        p->view = out;
        pthread_mutex_unlock(&p->view_lock);
    } else {
        cs_buf_clear(&out); /* without memory the view stays as old as it says it is */
    }
}

/* How many mailboxes a step takes, so that a pass takes about PASS_MS. */
static size_t step_size(const struct cs_producer *p)
{
    size_t n = 0;

    for (int32_t i = 0; i < p->n_partitions; i++)
        if (p->owned[i].part != NULL)
            n += p->owned[i].part->mailboxes.n;
    return n * STEP_MS / PASS_MS + 1;
}

void cs_producer_sweep(struct cs_producer *p)
{
    struct cs_producer_sweep *s = &p->sweep;
    size_t left;

    for (int i = 0; i < CS_LANE_COUNT_; i++) {
        cs_metric_set(p->m.ready[i],
                      (int64_t)cs_schedule_count_ready(p->schedule, (enum cs_lane)i));
        cs_metric_set(p->m.out[i], (int64_t)cs_schedule_count_out(p->schedule, (enum cs_lane)i));
    }
    if (atomic_load(&p->mode) != CS_PRODUCER_SERVING || p->mono_ms - s->last_mono_ms < STEP_MS)
        return;
    s->last_mono_ms = p->mono_ms;
    left = step_size(p);
    while (left > 0 && s->partition < p->n_partitions) {
        const struct cs_table_part *part = p->owned[s->partition].part;
        struct cs_mailbox *m =
            part != NULL ? cs_strmap_next(&part->mailboxes, &s->slot, NULL) : NULL;

        if (m == NULL) {
            s->partition++;
            s->slot = 0;
            continue;
        }
        visit(p, m);
        left--;
    }
    if (s->partition < p->n_partitions)
        return;
    publish(p);
    cs_producer_sweep_reset(p);
}

int64_t cs_producer_sweep_wait_ms(const struct cs_producer *p)
{
    int64_t left = p->sweep.last_mono_ms + STEP_MS - p->mono_ms;

    if (atomic_load(&p->mode) != CS_PRODUCER_SERVING)
        return 500;
    return left > 0 ? left : 0;
}

/* --- the admin port's thread ------------------------------------------------------------------- */

int cs_producer_livez(void *user, struct cs_buf *out, const char **content_type)
{
    struct cs_producer *p = user;
    int64_t age = cs_clock_mono_ms() - atomic_load(&p->turned_mono_ms);

    (void)content_type; /* plain text is the default */
    if (age > LIVE_MS) {
        cs_buf_addf(out, "the loop has not turned for %lld ms\n", (long long)age);
        return 503;
    }
    cs_buf_adds(out, "live\n");
    return 200;
}

int cs_producer_readyz(void *user, struct cs_buf *out, const char **content_type)
{
    struct cs_producer *p = user;
    int mode = atomic_load(&p->mode);

    (void)content_type; /* plain text is the default */
    if (atomic_load(&p->down)) {
        cs_buf_adds(out, "no broker answers\n");
        return 503;
    }
    if (mode != CS_PRODUCER_SERVING) {
        cs_buf_adds(out, mode == CS_PRODUCER_IDLE ? "no partitions assigned yet\n"
                                                  : "restoring partitions\n");
        return 503;
    }
    cs_buf_adds(out, "ready\n");
    return 200;
}

int cs_producer_status_json(void *user, struct cs_buf *out, const char **content_type)
{
    struct cs_producer *p = user;
    int status = 200;

    *content_type = "application/json";
    pthread_mutex_lock(&p->view_lock);
    if (p->view.len > 0)
        cs_buf_add(out, p->view.data, p->view.len);
    else
        status = 503; /* nothing is served yet */
    pthread_mutex_unlock(&p->view_lock);
    return status;
}
