#include "producer/sends.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/backoff.h"
#include "common/json_write.h"
#include "common/message.h"

#define KEEP_MS (INT64_C(86400000) * CS_OUTBOX_DAYS)

static const char *const phase_names[CS_SENDING_PHASE_COUNT_] = {
    [CS_SENDING_QUEUED] = "queued",
    [CS_SENDING_DRAFTED] = "drafted",
    [CS_SENDING_LOOK] = "look",
    [CS_SENDING_OVER] = "over",
};
static const char *const step_names[] = {
    [CS_SEND_DRAFT] = "draft",
    [CS_SEND_SEND] = "send",
    [CS_SEND_LOOK] = "look",
    [CS_SEND_SWEEP] = "sweep",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void send_free(struct cs_send *d)
{
    if (d == NULL)
        return;
    free(d->request);
    free(d->draft_id);
    free(d->change_key);
    free(d->message_id);
    free(d);
}

void cs_sends_free(struct cs_sends *s)
{
    struct cs_send *d;
    size_t i = 0;

    if (s == NULL)
        return;
    while ((d = cs_strmap_next(&s->by_id, &i, NULL)) != NULL)
        send_free(d);
    cs_strmap_clear(&s->by_id);
    free(s->pending);
    free(s);
}

static void mark(struct cs_sends *s, struct cs_send *d)
{
    d->dirty = true;
    s->some_dirty = true;
}

static struct cs_sends *sends_of(struct cs_mailbox *m)
{
    struct cs_sends *s = m->sends;

    if (s != NULL)
        return s;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->box = m;
    s->parked_ms = s->sweep_ms = s->last_over_ms = CS_TIME_NONE;
    s->over_end = &s->over;
    s->sched.of_sends = true;
    s->sched.tenant = m->sched.tenant;
    s->sched.partition = m->partition;
    m->sends = s;
    return s;
}

static int put_pending(struct cs_sends *s, struct cs_send *d)
{
    if (s->n_pending == s->cap_pending) {
        size_t cap = s->cap_pending > 0 ? s->cap_pending * 2 : 8;
        struct cs_send **pending = realloc(s->pending, cap * sizeof(*pending));

        if (pending == NULL)
            return -ENOMEM;
        s->pending = pending;
        s->cap_pending = cap;
    }
    s->pending[s->n_pending++] = d;
    s->bytes += d->request != NULL ? strlen(d->request) : 0;
    return 0;
}

static void put_over(struct cs_sends *s, struct cs_send *d)
{
    d->next_over = NULL;
    *s->over_end = d;
    s->over_end = &d->next_over;
    if (s->last_over_ms < d->over_ms)
        s->last_over_ms = d->over_ms;
}

int cs_sends_take(struct cs_mailbox *m, const char *request_id, int64_t not_after_ms,
                  const char *refuse, const char *request, size_t n, int64_t now_ms)
{
    struct cs_sends *s = sends_of(m);
    struct cs_send *d;
    void *old;

    if (s == NULL)
        return -ENOMEM;
    if (cs_strmap_get(&s->by_id, request_id, strlen(request_id)) != NULL)
        return -EEXIST;
    if (s->n_pending >= CS_SENDS_PENDING_MAX || s->bytes + n > CS_SENDS_PENDING_BYTES)
        return -E2BIG;
    d = calloc(1, sizeof(*d));
    if (d == NULL || (d->request = strndup(request, n)) == NULL) {
        send_free(d);
        return -ENOMEM;
    }
    snprintf(d->request_id, sizeof(d->request_id), "%s", request_id);
    snprintf(d->refuse, sizeof(d->refuse), "%s", refuse != NULL ? refuse : "");
    d->taken_ms = d->not_before_ms = now_ms;
    d->not_after_ms = not_after_ms;
    mark(s, d);
    if (cs_strmap_put(&s->by_id, request_id, strlen(request_id), d, &old) < 0) {
        send_free(d);
        return -ENOMEM;
    }
    if (put_pending(s, d) < 0) {
        send_free(cs_strmap_remove(&s->by_id, request_id, strlen(request_id)));
        return -ENOMEM;
    }
    m->dirty = true; /* the mailbox's own entry has to be there before its others are of use */
    return 0;
}

size_t cs_sends_count_pending(const struct cs_mailbox *m)
{
    return m->sends != NULL ? m->sends->n_pending : 0;
}

/* ---- what is due ------------------------------------------------------------------------------------------ */

/* Marked here, deleted when the mark has been written. */
static void forget_old(struct cs_sends *s, int64_t now_ms)
{
    while (s->over != NULL && (s->over->over_ms <= now_ms - KEEP_MS)) {
        struct cs_send *d = s->over;

        s->over = d->next_over;
        if (s->over == NULL)
            s->over_end = &s->over;
        d->forget = true;
        mark(s, d);
    }
}

static enum cs_send_step step_of(const struct cs_send *d)
{
    return d->phase == CS_SENDING_QUEUED    ? CS_SEND_DRAFT
           : d->phase == CS_SENDING_DRAFTED ? CS_SEND_SEND
                                            : CS_SEND_LOOK;
}

void cs_sends_due(struct cs_sends *s, int64_t now_ms, struct cs_send_due *ret)
{
    int64_t wake_ms = s->over != NULL ? s->over->over_ms + KEEP_MS : CS_NEVER;

    *ret = (struct cs_send_due){.due_ms = CS_NEVER};
    if (s->job_id[0] != '\0' || s->box->conf == NULL || s->box->broken)
        return;
    forget_old(s, now_ms);
    for (size_t i = 0; i < s->n_pending; i++) {
        struct cs_send *d = s->pending[i];
        /* a look sends nothing unless it has to, but it may: the quota counts for it too */
        int64_t at = d->not_before_ms;

        if (s->parked_ms != CS_TIME_NONE && at < s->parked_ms)
            at = s->parked_ms;
        if (at <= now_ms) {
            *ret = (struct cs_send_due){true, step_of(d), d, at};
            return;
        }
        wake_ms = at < wake_ms ? at : wake_ms;
    }
    if (s->sweep_ms != CS_TIME_NONE && s->sweep_ms <= now_ms && s->n_pending <= CS_SEND_KEEP_MAX) {
        *ret = (struct cs_send_due){true, CS_SEND_SWEEP, NULL, s->sweep_ms};
        return;
    }
    if (s->sweep_ms != CS_TIME_NONE && s->sweep_ms > now_ms && s->sweep_ms < wake_ms)
        wake_ms = s->sweep_ms;
    ret->due_ms = wake_ms;
}

void cs_sends_issue(struct cs_sends *s, const struct cs_send_due *due, const char *job_id,
                    int64_t now_ms)
{
    snprintf(s->job_id, sizeof(s->job_id), "%s", job_id);
    snprintf(s->in_request, sizeof(s->in_request), "%s",
             due->send != NULL ? due->send->request_id : "");
    s->step = due->step;
    s->job_created_ms = now_ms;
    s->attempt = due->send != NULL ? (int64_t)due->send->attempts + 1 : 1;
    s->job_due_out = true;
    s->dirty = true;
}

static struct cs_send *in_flight(const struct cs_sends *s)
{
    return cs_strmap_get(&s->by_id, s->in_request, strlen(s->in_request));
}

static int fill(const struct cs_sends *s, const struct cs_send *d, struct cs_job_send *ret)
{
    ret->step = s->step;
    if (d == NULL) {
        ret->keep = calloc(s->n_pending + 1, sizeof(*ret->keep));
        if (ret->keep == NULL)
            return -ENOMEM;
        for (; ret->n_keep < s->n_pending && ret->n_keep < CS_SEND_KEEP_MAX; ret->n_keep++)
            if (cs_msg_dup(s->pending[ret->n_keep]->request_id, &ret->keep[ret->n_keep]) < 0)
                return -ENOMEM;
        return 0;
    }
    snprintf(ret->request_id, sizeof(ret->request_id), "%s", d->request_id);
    ret->looks = d->looks;
    snprintf(ret->refuse, sizeof(ret->refuse), "%s", d->refuse);
    ret->expired = d->not_after_ms != CS_NEVER && s->job_created_ms > d->not_after_ms;
    if (s->step == CS_SEND_DRAFT)
        return cs_msg_dup(d->request, &ret->request);
    if (cs_msg_dup(d->draft_id, &ret->draft_id) < 0 ||
        cs_msg_dup(d->change_key, &ret->change_key) < 0)
        return -ENOMEM;
    return cs_msg_dup(d->message_id, &ret->message_id);
}

int cs_sends_job(const struct cs_sends *s, struct cs_job *ret)
{
    const struct cs_send *d = in_flight(s);
    struct cs_job job = {0};
    char stream[CS_REQUEST_ID_LEN + 8];

    if (s->job_id[0] == '\0' || (d == NULL && s->step != CS_SEND_SWEEP))
        return -ENOENT;
    memcpy(job.job_id, s->job_id, sizeof(job.job_id));
    job.type = CS_JOB_MAIL_SEND;
    snprintf(job.tenant, sizeof(job.tenant), "%s", s->box->tenant);
    snprintf(job.mailbox, sizeof(job.mailbox), "%s", s->box->name);
    job.lane = CS_LANE_SEND;
    job.attempt = s->attempt;
    job.created_utc_ms = s->job_created_ms;
    job.not_after_utc_ms = job.anchored_utc_ms = CS_NEVER;
    job.depth_utc_ms = INT64_MIN;
    job.parts = calloc(1, sizeof(*job.parts));
    job.send = calloc(1, sizeof(*job.send));
    snprintf(stream, sizeof(stream), "send:%s", d != NULL ? d->request_id : "");
    if (job.parts == NULL || job.send == NULL || cs_msg_dup("outbox", &job.reason) < 0)
        goto no_memory;
    job.n_parts = 1;
    job.parts[0].generation = 1;
    job.parts[0].from_utc_ms = job.parts[0].to_utc_ms = CS_NEVER;
    if (cs_msg_dup(stream, &job.parts[0].stream) < 0 || fill(s, d, job.send) < 0)
        goto no_memory;
    *ret = job;
    return 0;
no_memory:
    cs_job_clear(&job);
    return -ENOMEM;
}

/* ---- feedback --------------------------------------------------------------------------------------------- */

static void end_job(struct cs_sends *s)
{
    s->job_id[0] = '\0';
    s->job_due_out = false;
    s->dirty = true;
}

static int replace(char **at, const char *value)
{
    char *copy;

    if (value == NULL)
        return 0;
    copy = strdup(value);
    if (copy == NULL)
        return -ENOMEM;
    free(*at);
    *at = copy;
    return 0;
}

static void drop_request(struct cs_sends *s, struct cs_send *d)
{
    if (d->request == NULL)
        return;
    s->bytes -= strlen(d->request);
    free(d->request);
    d->request = NULL;
}

static void end_send(struct cs_sends *s, const struct cs_schedule_conf *c, struct cs_send *d,
                     int64_t now_ms)
{
    size_t i = 0;

    drop_request(s, d);
    free(d->draft_id);
    free(d->change_key);
    free(d->message_id);
    d->draft_id = d->change_key = d->message_id = NULL;
    d->phase = CS_SENDING_OVER;
    d->over_ms = now_ms;
    while (s->pending[i] != d)
        i++;
    s->n_pending--;
    memmove(&s->pending[i], &s->pending[i + 1], (s->n_pending - i) * sizeof(s->pending[0]));
    put_over(s, d);
    if (s->sweep_ms == CS_TIME_NONE)
        s->sweep_ms = now_ms + c->send_sweep_ms;
}

/* What Exchange says when a mailbox has sent too much (Exchange Online limits); it passes in hours. */
static bool is_quota(const struct cs_fault *f)
{
    static const char *const codes[] = {"ErrorExceededMessageLimit",
                                        "ErrorMessageSubmissionBlocked",
                                        "ErrorSubmissionQuotaExceeded", "ErrorAccountSuspend"};

    for (size_t i = 0; i < COUNT(codes); i++)
        if (strcasecmp(f->service_code, codes[i]) == 0)
            return true;
    return false;
}

/* A draft can be searched for only some time after it was made. So a sweep is the last one only if every request had been
 * over for long enough when it was asked for. */
static int64_t next_sweep(const struct cs_sends *s, const struct cs_schedule_conf *c,
                          const struct cs_feedback *f, int64_t now_ms)
{
    if (f->outcome == CS_MORE)
        return now_ms;
    if (f->send.state != CS_SENT_SWEPT)
        return now_ms + c->send_sweep_ms;
    if (s->last_over_ms != CS_TIME_NONE && s->last_over_ms + c->send_sweep_ms > s->job_created_ms)
        return s->last_over_ms + c->send_sweep_ms;
    return CS_TIME_NONE;
}

int cs_sends_apply(struct cs_sends *s, const struct cs_schedule_conf *c,
                   const struct cs_feedback *f, int64_t now_ms, uint64_t random)
{
    const struct cs_feedback_part *part = f->n_parts > 0 ? &f->parts[0] : NULL;
    const struct cs_fault *fault =
        f->fault.code == CS_CODE_NONE && part != NULL ? &part->fault : &f->fault;
    int64_t wait_ms = f->retry_after_ms >= 0 ? f->retry_after_ms : -1;
    enum cs_send_step step = s->step;
    struct cs_send *d;
    unsigned tries;

    if (s->job_id[0] == '\0' || strcmp(s->job_id, f->job_id) != 0)
        return -ENOENT;
    d = in_flight(s);
    end_job(s);
    if (part != NULL && part->retry_after_ms > wait_ms)
        wait_ms = part->retry_after_ms;
    if (step == CS_SEND_SWEEP || d == NULL) {
        s->sweep_ms = next_sweep(s, c, f, now_ms);
        return 0;
    }
    mark(s, d);
    if (f->send.state == CS_SENT_DONE) {
        end_send(s, c, d, now_ms);
        return 0;
    }
    if (replace(&d->draft_id, f->send.draft_id) < 0 ||
        replace(&d->change_key, f->send.change_key) < 0 ||
        replace(&d->message_id, f->send.message_id) < 0)
        return -ENOMEM;
    if (f->send.state == CS_SENT_DRAFTED) {
        drop_request(s, d);
        d->phase = CS_SENDING_DRAFTED;
        d->attempts = 0;
        d->not_before_ms = now_ms;
        return 0;
    }
    tries = ++d->attempts;
    if (is_quota(fault))
        s->parked_ms = now_ms + c->send_quota_wait_ms;
    if (wait_ms < 0)
        wait_ms = cs_backoff_ms(tries > 16 ? 16 : tries, c->retry_min_ms, c->retry_max_ms, random);
    if (f->send.state == CS_SENT_UNCERTAIN || f->send.state == CS_SENT_MISSING) {
        d->phase = CS_SENDING_LOOK;
        d->looks += f->send.state == CS_SENT_MISSING;
        wait_ms = c->send_look_ms;
    } else if (f->send.state == CS_SENT_CLAIMED) {
        d->phase = CS_SENDING_DRAFTED;
    }
    d->not_before_ms = now_ms + wait_ms;
    return 0;
}

void cs_sends_lost(struct cs_sends *s, int64_t now_ms)
{
    struct cs_send *d = in_flight(s);

    if (s->job_id[0] == '\0')
        return;
    end_job(s);
    if (d == NULL)
        return;
    if (d->phase == CS_SENDING_DRAFTED)
        d->phase = CS_SENDING_LOOK;
    d->attempts++;
    d->not_before_ms = now_ms;
    mark(s, d);
}

/* ---- the state topic -------------------------------------------------------------------------------------- */

bool cs_sends_are_dirty(const struct cs_sends *s)
{
    return s != NULL && (s->dirty || s->some_dirty);
}

static void ktime(struct cs_jw *jw, const char *key, int64_t ms)
{
    if (ms != CS_TIME_NONE && ms != CS_NEVER)
        cs_jw_ktime(jw, key, ms);
}

static void print_send(const struct cs_send *d, struct cs_buf *out)
{
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "kind", "send");
    cs_jw_kstr(&jw, "phase", phase_names[d->phase]);
    cs_jw_ktime(&jw, "taken_at", d->taken_ms);
    if (d->phase == CS_SENDING_OVER) {
        cs_jw_ktime(&jw, "over_at", d->over_ms);
    } else {
        ktime(&jw, "not_after", d->not_after_ms);
        cs_jw_ktime(&jw, "not_before", d->not_before_ms);
        if (d->looks > 0)
            cs_jw_ki64(&jw, "looks", d->looks);
        if (d->attempts > 0)
            cs_jw_ki64(&jw, "attempts", d->attempts);
        cs_jw_kstr_opt(&jw, "draft_id", d->draft_id);
        cs_jw_kstr_opt(&jw, "change_key", d->change_key);
        cs_jw_kstr_opt(&jw, "message_id", d->message_id);
        if (d->refuse[0] != '\0')
            cs_jw_kstr(&jw, "refuse", d->refuse);
        if (d->request != NULL) {
            cs_jw_key(&jw, "request");
            cs_jw_raw(&jw, d->request, strlen(d->request));
        }
    }
    cs_jw_object_end(&jw);
}

static void print_sends(const struct cs_sends *s, struct cs_buf *out)
{
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "kind", "sends");
    ktime(&jw, "parked_until", s->parked_ms);
    ktime(&jw, "sweep_at", s->sweep_ms);
    if (s->job_id[0] != '\0') {
        cs_jw_key(&jw, "in_flight");
        cs_jw_object(&jw);
        cs_jw_kstr(&jw, "job_id", s->job_id);
        cs_jw_kstr(&jw, "step", step_names[s->step]);
        if (s->in_request[0] != '\0')
            cs_jw_kstr(&jw, "request_id", s->in_request);
        cs_jw_ki64(&jw, "attempt", s->attempt);
        cs_jw_ktime(&jw, "created_at", s->job_created_ms);
        cs_jw_object_end(&jw);
    }
    cs_jw_object_end(&jw);
}

static int flush_one(struct cs_sends *s, struct cs_send *d, struct cs_buf *buf,
                     int (*fn)(void *, const char *, const char *, size_t), void *user)
{
    char stream[CS_REQUEST_ID_LEN + 8];
    int r;

    snprintf(stream, sizeof(stream), "send:%s", d->request_id);
    d->dirty = false;
    if (d->forget) {
        r = fn(user, stream, NULL, 0);
        send_free(cs_strmap_remove(&s->by_id, d->request_id, strlen(d->request_id)));
        return r;
    }
    cs_buf_reset(buf);
    print_send(d, buf);
    r = cs_buf_failed(buf);
    return r < 0 ? r : fn(user, stream, buf->data, buf->len);
}

int cs_sends_flush(struct cs_sends *s, int (*fn)(void *, const char *, const char *, size_t),
                   void *user)
{
    struct cs_send **dirty, *d;
    size_t i = 0, n = 0;
    struct cs_buf buf;
    int r = 0;

    if (!cs_sends_are_dirty(s))
        return 0;
    dirty = calloc(s->by_id.n + 1, sizeof(struct cs_send *));
    if (dirty == NULL)
        return -ENOMEM;
    while ((d = cs_strmap_next(&s->by_id, &i, NULL)) != NULL)
        if (d->dirty)
            dirty[n++] = d;
    cs_buf_init(&buf, 0);
    s->some_dirty = false;
    for (i = 0; r == 0 && i < n; i++)
        r = flush_one(s, dirty[i], &buf, fn, user);
    if (r == 0 && s->dirty) {
        cs_buf_reset(&buf);
        print_sends(s, &buf);
        r = cs_buf_failed(&buf);
        if (r == 0)
            r = fn(user, "sends", buf.data, buf.len);
        s->dirty = false;
    }
    cs_buf_clear(&buf);
    free(dirty);
    return r;
}

static void load_box(struct cs_sends *s, struct cs_msg *m)
{
    struct cs_msg in = {0};
    char *id;

    s->parked_ms = cs_msg_time(m, "parked_until", false, CS_TIME_NONE, "parked_until");
    s->sweep_ms = cs_msg_time(m, "sweep_at", false, CS_TIME_NONE, "sweep_at");
    in.obj = m->error == 0 ? cs_json_get(m->obj, "in_flight") : NULL;
    if (in.obj == NULL)
        return;
    cs_msg_str_into(&in, "job_id", s->job_id, sizeof(s->job_id), "in_flight.job_id");
    s->step = (enum cs_send_step)cs_msg_enum(&in, "step", step_names, COUNT(step_names),
                                             "in_flight.step");
    id = cs_msg_str(&in, "request_id", CS_REQUEST_ID_LEN, s->step != CS_SEND_SWEEP,
                    "in_flight.request_id");
    snprintf(s->in_request, sizeof(s->in_request), "%s", id != NULL ? id : "");
    free(id);
    s->attempt = cs_msg_i64(&in, "attempt", 1, INT32_MAX, true, 1, "in_flight.attempt");
    s->job_created_ms = cs_msg_time(&in, "created_at", true, 0, "in_flight.created_at");
    cs_msg_join(m, &in);
}

static char *raw(struct cs_msg *m, const char *name)
{
    cs_json_val v = m->error == 0 ? cs_json_get(m->obj, name) : NULL;
    struct cs_buf text;

    if (v == NULL)
        return NULL;
    cs_buf_init(&text, 0);
    if (cs_json_print(v, &text) < 0) {
        cs_buf_clear(&text);
        cs_msg_fail(m, -ENOMEM, name);
        return NULL;
    }
    return cs_buf_steal(&text, NULL);
}

void cs_sends_load(struct cs_mailbox *box, const char *request_id, struct cs_msg *m)
{
    struct cs_sends *s = sends_of(box);
    struct cs_send *d;
    char *text;
    void *old;

    if (s == NULL) {
        cs_msg_fail(m, -ENOMEM, "memory");
        return;
    }
    if (request_id == NULL) {
        load_box(s, m);
        return;
    }
    if (!cs_request_id_ok(request_id)) {
        cs_msg_fail(m, -EINVAL, "stream");
        return;
    }
    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        cs_msg_fail(m, -ENOMEM, "memory");
        return;
    }
    snprintf(d->request_id, sizeof(d->request_id), "%s", request_id);
    d->phase =
        (enum cs_send_phase)cs_msg_enum(m, "phase", phase_names, COUNT(phase_names), "phase");
    d->taken_ms = cs_msg_time(m, "taken_at", true, 0, "taken_at");
    d->over_ms = cs_msg_time(m, "over_at", d->phase == CS_SENDING_OVER, 0, "over_at");
    d->not_after_ms = cs_msg_time(m, "not_after", false, CS_NEVER, "not_after");
    d->not_before_ms = cs_msg_time(m, "not_before", d->phase != CS_SENDING_OVER, 0, "not_before");
    d->looks = cs_msg_i64(m, "looks", 0, INT32_MAX, false, 0, "looks");
    d->attempts = (unsigned)cs_msg_i64(m, "attempts", 0, INT32_MAX, false, 0, "attempts");
    d->draft_id = cs_msg_str(m, "draft_id", CS_ID_MAX, false, "draft_id");
    d->change_key = cs_msg_str(m, "change_key", CS_ID_MAX, false, "change_key");
    d->message_id = cs_msg_str(m, "message_id", 1000, false, "message_id");
    d->request = raw(m, "request");
    text = cs_msg_str(m, "refuse", CS_SEND_REFUSE_MAX, false, "refuse");
    snprintf(d->refuse, sizeof(d->refuse), "%s", text != NULL ? text : "");
    free(text);
    if (m->error == 0 && ((d->phase == CS_SENDING_QUEUED && d->request == NULL) ||
                          ((d->phase == CS_SENDING_DRAFTED || d->phase == CS_SENDING_LOOK) &&
                           (d->draft_id == NULL || d->change_key == NULL))))
        cs_msg_fail(m, -EINVAL, "phase");
    if (m->error == 0 && cs_strmap_put(&s->by_id, request_id, strlen(request_id), d, &old) < 0)
        cs_msg_fail(m, -ENOMEM, "memory");
    if (m->error < 0)
        send_free(d);
}

static int by_taken(const void *a, const void *b)
{
    const struct cs_send *const *x = a, *const *y = b;

    if ((*x)->taken_ms != (*y)->taken_ms)
        return (*x)->taken_ms < (*y)->taken_ms ? -1 : 1;
    return strcmp((*x)->request_id, (*y)->request_id);
}

static int by_over(const void *a, const void *b)
{
    const struct cs_send *const *x = a, *const *y = b;

    return (*x)->over_ms < (*y)->over_ms ? -1 : (*x)->over_ms > (*y)->over_ms;
}

int cs_sends_loaded(struct cs_mailbox *m)
{
    struct cs_sends *s = m->sends;
    struct cs_send **over, *d;
    size_t i = 0, n = 0;

    if (s == NULL)
        return 0;
    over = calloc(s->by_id.n + 1, sizeof(struct cs_send *));
    if (over == NULL)
        return -ENOMEM;
    while ((d = cs_strmap_next(&s->by_id, &i, NULL)) != NULL) {
        if (d->phase == CS_SENDING_OVER) {
            over[n++] = d;
        } else if (put_pending(s, d) < 0) {
            free(over);
            return -ENOMEM;
        }
    }
    if (n > 1)
        qsort(over, n, sizeof(struct cs_send *), by_over);
    for (i = 0; i < n; i++)
        put_over(s, over[i]);
    free(over);
    if (s->n_pending > 1)
        qsort(s->pending, s->n_pending, sizeof(struct cs_send *), by_taken);
    if (s->step != CS_SEND_SWEEP && s->job_id[0] != '\0' && in_flight(s) == NULL)
        end_job(s); /* its request is not known any more: nobody waits for it */
    return 0;
}
