#include "producer/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/json_write.h"
#include "common/message.h"
#include "producer/orders.h"
#include "producer/sends.h"

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define ENTRY_BYTES (400 * 1024) /* a list is split into entries of about this */
#define ROW_STATES                   \
    {                                \
        "out", "unconfirmed", "owed" \
    }

static const char *const row_state_names[] = ROW_STATES;
/* reasons of jobs, so that a restored one points to static text */
static const char *const reason_names[] = {
    "first_sight",     "poll",   "anchor", "new_folder", "preview", "backfill", "second_look",
    "calendar_window", "parked", "resync", "proof",      "audit",   "replay"};
static const char *const phase_parked = "parked";

/* --- writing ----------------------------------------------------------------------------------- */

static void ktime(struct cs_jw *jw, const char *key, int64_t ms)
{
    if (ms != CS_TIME_NONE)
        cs_jw_ktime(jw, key, ms);
}

static void ki64(struct cs_jw *jw, const char *key, int64_t v)
{
    if (v != 0)
        cs_jw_ki64(jw, key, v);
}

static void print_fault(struct cs_jw *jw, const char *key, const struct cs_fault *fault)
{
    if (fault->code == CS_CODE_NONE)
        return;
    cs_jw_key(jw, key);
    cs_jw_object(jw);
    cs_jw_kstr(jw, "code", cs_code_name(fault->code));
    cs_jw_kstr(jw, "scope", cs_scope_name(fault->scope));
    if (fault->http_status > 0)
        cs_jw_ki64(jw, "http_status", fault->http_status);
    if (fault->service_code[0] != '\0')
        cs_jw_kstr(jw, "service_code", fault->service_code);
    if (fault->request_id[0] != '\0')
        cs_jw_kstr(jw, "request_id", fault->request_id);
    cs_jw_object_end(jw);
}

static void print_inflight_part(const struct cs_mailbox *m, const struct cs_box_part *part,
                                struct cs_jw *jw)
{
    char text[CS_STREAM_NAME_MAX + 8];
    const struct cs_box_folder *f =
        part->folder != 0 ? cs_mailbox_find_folder(m, part->folder) : NULL;

    cs_jw_object(jw);
    if (f != NULL) {
        snprintf(text, sizeof(text), "mail:%s", f->id);
        cs_jw_kstr(jw, "stream", text);
    } else {
        cs_jw_kstr(jw, "stream",
                   m->inflight->type == CS_JOB_CALENDAR_DELTA ? "cal:default" : "slices");
    }
    if (part->slice >= 0)
        cs_jw_ki64(jw, "slice", part->slice);
    cs_jw_ki64(jw, "generation", part->generation);
    cs_jw_kstr(jw, "mode", cs_mode_name(part->mode));
    cs_jw_object_end(jw);
}

static void print_inflight(const struct cs_mailbox *m, struct cs_jw *jw)
{
    const struct cs_box_inflight *in = m->inflight;
    const struct cs_box_look *look;
    size_t e = 0, i = 0;

    cs_jw_key(jw, "in_flight");
    cs_jw_object(jw);
    cs_jw_kstr(jw, "job_id", in->job_id);
    cs_jw_kstr(jw, "type", cs_job_type_name(in->type));
    cs_jw_kstr(jw, "lane", cs_lane_name(in->lane));
    cs_jw_ki64(jw, "attempt", in->attempt);
    cs_jw_kstr(jw, "reason", in->reason);
    cs_jw_ktime(jw, "created_at", in->created_ms);
    if (in->n_parts > 0) {
        cs_jw_key(jw, "parts");
        cs_jw_array(jw);
        for (size_t k = 0; k < in->n_parts; k++)
            print_inflight_part(m, &in->parts[k], jw);
        cs_jw_array_end(jw);
    }
    if (in->type == CS_JOB_MAIL_ITEMS && in->replay_id[0] == '\0') {
        cs_jw_key(jw, "items");
        cs_jw_array(jw);
        while ((look = cs_mailbox_next_look(m, &e, &i)) != NULL)
            if (look->asked)
                cs_jw_str(jw, look->look.id);
        cs_jw_array_end(jw);
    }
    ki64(jw, "rows", (int64_t)in->rows);
    if (in->replay_id[0] != '\0') {
        cs_jw_kstr(jw, "replay_id", in->replay_id);
        cs_jw_ki64(jw, "replay_seq", in->replay_seq);
        ki64(jw, "replay_items", (int64_t)in->replay_items);
    }
    cs_jw_object_end(jw);
}

static void print_mailbox(const struct cs_mailbox *m, struct cs_jw *jw)
{
    cs_jw_kstr(jw, "kind", "mailbox");
    cs_jw_kstr(jw, "phase",
               m->parked != CS_CODE_NONE ? phase_parked : cs_box_phase_names[m->phase]);
    if (m->parked != CS_CODE_NONE) {
        cs_jw_kstr(jw, "resume", cs_box_phase_names[m->phase]);
        cs_jw_kstr(jw, "parked_code", cs_code_name(m->parked));
        cs_jw_ktime(jw, "parked_at", m->parked_ms);
    }
    cs_jw_ktime(jw, "first_seen", m->first_seen_ms);
    if (m->depth_ms != INT64_MIN)
        cs_jw_ktime(jw, "depth", m->depth_ms);
    if (m->anchored_ms != CS_NEVER)
        cs_jw_ktime(jw, "anchored_at", m->anchored_ms);
    ktime(jw, "last_listing", m->last_listing_ms);
    ki64(jw, "listing_interval_ms", m->listing_interval_ms);
    ki64(jw, "failures", m->failures);
    ktime(jw, "retry_at", m->retry_ms);
    print_fault(jw, "error", &m->fault);
    ktime(jw, "last_success", m->last_success_ms);
    ktime(jw, "last_change", m->last_change_ms);
    ktime(jw, "slices_done", m->slices_done_ms);
    cs_jw_kstr(jw, "state", cs_box_state_names[m->state]);
    ktime(jw, "since", m->state_since_ms);
    cs_jw_ki64(jw, "map_entries", (int64_t)m->map_chunks);
    if (m->paused)
        cs_jw_kbool(jw, "paused", true);
    if (m->command_id[0] != '\0') {
        cs_jw_key(jw, "command");
        cs_jw_object(jw);
        cs_jw_kstr(jw, "command_id", m->command_id);
        cs_jw_ktime(jw, "at", m->command_ms);
        cs_jw_object_end(jw);
    }
    cs_jw_key(jw, "counters");
    cs_jw_object(jw);
    cs_jw_ki64(jw, "jobs", m->counters.jobs);
    cs_jw_ki64(jw, "items", m->counters.items);
    cs_jw_ki64(jw, "upserts", m->counters.upserts);
    cs_jw_ki64(jw, "moves", m->counters.moves);
    cs_jw_ki64(jw, "deletes", m->counters.deletes);
    cs_jw_ki64(jw, "left_scope", m->counters.left_scope);
    cs_jw_object_end(jw);
    if (m->inflight != NULL)
        print_inflight(m, jw);
}

static void print_mail(const struct cs_box_folder *f, struct cs_jw *jw)
{
    cs_jw_kstr(jw, "kind", "mail");
    cs_jw_kstr(jw, "phase", cs_stream_phase_names[f->phase]);
    cs_jw_ki64(jw, "generation", f->generation);
    cs_jw_kstr_opt(jw, "cursor", f->cursor);
    if (f->resync_owed)
        cs_jw_kbool(jw, "resync_owed", true);
    cs_jw_khash_opt(jw, "compare_after", f->compare_after);
    cs_jw_kstr_opt(jw, "compare_cursor", f->compare_cursor);
    ktime(jw, "round_start", f->round_start_ms);
    ktime(jw, "last_round", f->last_round_ms);
    cs_jw_ki64(jw, "rounds", f->rounds);
    ktime(jw, "last_poll", f->last_poll_ms);
    ki64(jw, "interval_ms", f->interval_ms);
    ki64(jw, "failures", f->failures);
    ktime(jw, "retry_at", f->retry_ms);
    ktime(jw, "compared_at", f->compared_ms);
}

static void print_slices(const struct cs_mailbox *m, struct cs_jw *jw)
{
    cs_jw_kstr(jw, "kind", "slices");
    cs_jw_key(jw, "slices");
    cs_jw_array(jw);
    for (size_t i = 0; i < m->n_slices; i++) {
        const struct cs_box_slice *s = &m->slices[i];

        cs_jw_object(jw);
        cs_jw_ki64(jw, "id", s->id);
        cs_jw_ktime(jw, "from", s->from_ms);
        cs_jw_ktime(jw, "to", s->to_ms);
        cs_jw_kstr_opt(jw, "cursor", s->cursor);
        cs_jw_kbool(jw, "done", s->done);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}

static void print_looks(const struct cs_box_looks *entry, struct cs_jw *jw)
{
    cs_jw_kstr(jw, "kind", "items");
    cs_jw_key(jw, "items");
    cs_jw_array(jw);
    for (size_t i = 0; i < entry->n; i++) {
        cs_jw_object(jw);
        cs_jw_ktime(jw, "owed_since", entry->at[i].owed_ms);
        cs_jw_key(jw, "look");
        cs_look_print(&entry->at[i].look, jw);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}

static void print_calendar(const struct cs_box_calendar *cal, struct cs_jw *jw)
{
    cs_jw_kstr(jw, "kind", "calendar");
    cs_jw_kstr(jw, "phase", cs_stream_phase_names[cal->phase]);
    cs_jw_ki64(jw, "generation", cal->generation);
    cs_jw_kstr_opt(jw, "cursor", cal->cursor);
    cs_jw_key(jw, "window");
    cs_jw_object(jw);
    cs_jw_ktime(jw, "from", cal->from_ms);
    cs_jw_ktime(jw, "to", cal->to_ms);
    cs_jw_object_end(jw);
    ktime(jw, "round_start", cal->round_start_ms);
    cs_jw_ki64(jw, "rounds", cal->rounds);
    ktime(jw, "last_poll", cal->last_poll_ms);
    ki64(jw, "interval_ms", cal->interval_ms);
    ki64(jw, "failures", cal->failures);
    ktime(jw, "retry_at", cal->retry_ms);
    if (cal->code != CS_CODE_NONE)
        cs_jw_kstr(jw, "code", cs_code_name(cal->code));
    cs_jw_ki64(jw, "table_entries", (int64_t)cal->chunks);
}

/* A list that is split over entries: begin, then add() each element, then end. */
struct list {
    cs_stream_fn fn;
    void *user;
    const char *stream; /* of the first entry */
    const char *kind;
    const char *member;
    unsigned first; /* number of the first entry: 0 has the plain name */
    unsigned n;     /* entries handed over */
    struct cs_buf buf;
    struct cs_jw jw;
    bool open;
};

static void entry_name(char *out, size_t size, const char *stream, unsigned number)
{
    if (number == 0)
        snprintf(out, size, "%s", stream);
    else
        snprintf(out, size, "%s/%u", stream, number);
}

static void list_open(struct list *l)
{
    cs_buf_reset(&l->buf);
    cs_jw_init(&l->jw, &l->buf);
    cs_jw_object(&l->jw);
    cs_jw_kstr(&l->jw, "kind", l->kind);
    cs_jw_key(&l->jw, l->member);
    cs_jw_array(&l->jw);
    l->open = true;
}

static int list_close(struct list *l)
{
    char name[64];

    cs_jw_array_end(&l->jw);
    cs_jw_object_end(&l->jw);
    l->open = false;
    if (cs_buf_failed(&l->buf) < 0)
        return cs_buf_failed(&l->buf);
    entry_name(name, sizeof(name), l->stream, l->first + l->n);
    l->n++;
    return l->fn(l->user, name, l->buf.data, l->buf.len);
}

/* Room for one more element: the entry so far is handed over when it is long enough. */
static int list_next(struct list *l)
{
    int r = 0;

    if (l->open && l->buf.len >= ENTRY_BYTES)
        r = list_close(l);
    if (r == 0 && !l->open)
        list_open(l);
    return r;
}

/* Entries of before that are not needed any more are deleted. */
static int list_end(struct list *l, size_t before)
{
    char name[64];
    int r = l->open ? list_close(l) : 0;

    for (size_t i = l->n; r == 0 && i < before; i++) {
        entry_name(name, sizeof(name), l->stream, l->first + (unsigned)i);
        r = l->fn(l->user, name, NULL, 0);
    }
    cs_buf_clear(&l->buf);
    return r;
}

static int flush_map(struct cs_mailbox *m, cs_stream_fn fn, void *user)
{
    struct list l = {.fn = fn,
                     .user = user,
                     .stream = "folders",
                     .kind = "folders",
                     .member = "folders",
                     .first = 1};
    int r = 0;

    for (size_t i = 0; i < m->n_folders && r == 0; i++) {
        const struct cs_box_folder *f = m->folders[i];

        if (!f->known)
            continue;
        r = list_next(&l);
        if (r < 0)
            break;
        cs_jw_object(&l.jw);
        cs_jw_kstr(&l.jw, "id", f->id);
        cs_jw_kstr_opt(&l.jw, "path", f->path);
        cs_jw_kstr_opt(&l.jw, "well_known", f->well_known);
        cs_jw_kbool(&l.jw, "in_scope", f->in_scope);
        cs_jw_kbool(&l.jw, "hidden", f->hidden);
        cs_jw_object_end(&l.jw);
    }
    if (r == 0)
        r = list_end(&l, m->map_chunks);
    else
        cs_buf_clear(&l.buf);
    if (r == 0 && m->map_chunks != l.n) {
        m->map_chunks = l.n;
        m->dirty = true;
    }
    m->map_dirty = false;
    return r;
}

static int flush_table(struct cs_box_calendar *cal, cs_stream_fn fn, void *user)
{
    struct list l = {.fn = fn,
                     .user = user,
                     .stream = "cal:default/table",
                     .kind = "calendar_table",
                     .member = "rows"};
    int r = 0;

    for (size_t i = 0; i < cal->n_rows && r == 0; i++) {
        r = list_next(&l);
        if (r < 0)
            break;
        cs_jw_object(&l.jw);
        cs_jw_kstr(&l.jw, "state", row_state_names[cal->rows[i].state]);
        cs_jw_key(&l.jw, "row");
        cs_cal_row_print(&cal->rows[i].row, &l.jw);
        cs_jw_object_end(&l.jw);
    }
    if (r == 0)
        r = list_end(&l, cal->chunks);
    else
        cs_buf_clear(&l.buf);
    if (r == 0 && cal->chunks != l.n) {
        cal->chunks = l.n;
        cal->dirty = true;
    }
    cal->table_dirty = false;
    return r;
}

/* One entry that is an object of its own. */
struct one {
    cs_stream_fn fn;
    void *user;
    struct cs_buf buf;
    struct cs_jw jw;
};

static struct cs_jw *one_open(struct one *o)
{
    cs_buf_reset(&o->buf);
    cs_jw_init(&o->jw, &o->buf);
    cs_jw_object(&o->jw);
    return &o->jw;
}

static int one_close(struct one *o, const char *stream)
{
    cs_jw_object_end(&o->jw);
    if (cs_buf_failed(&o->buf) < 0)
        return cs_buf_failed(&o->buf);
    return o->fn(o->user, stream, o->buf.data, o->buf.len);
}

static int flush_looks(struct cs_mailbox *m, struct one *o)
{
    char name[64];
    int r = 0;

    for (size_t e = 0; e < m->n_look_entries && r == 0; e++) {
        struct cs_box_looks *entry = &m->looks[e];

        if (!entry->dirty)
            continue;
        entry_name(name, sizeof(name), "items", (unsigned)e);
        if (entry->n == 0) {
            r = o->fn(o->user, name, NULL, 0);
        } else {
            print_looks(entry, one_open(o));
            r = one_close(o, name);
        }
        entry->dirty = false;
    }
    return r;
}

static int flush_mail(struct cs_mailbox *m, struct one *o)
{
    char name[CS_STREAM_NAME_MAX + 8];
    int r = 0;

    for (size_t i = 0; i < m->n_folders && r == 0; i++) {
        struct cs_box_folder *f = m->folders[i];

        if (!f->ended && (!f->has_stream || !f->dirty))
            continue;
        snprintf(name, sizeof(name), "mail:%s", f->id);
        if (f->ended) {
            f->ended = f->dirty = false;
            r = o->fn(o->user, name, NULL, 0);
            continue;
        }
        print_mail(f, one_open(o));
        r = one_close(o, name);
        f->dirty = false;
    }
    return r;
}

bool cs_stream_is_dirty(const struct cs_mailbox *m)
{
    if (m->dirty || m->map_dirty || m->slices_dirty || m->cal.dirty || m->cal.table_dirty)
        return true;
    for (size_t i = 0; i < m->n_folders; i++)
        if (m->folders[i]->ended || (m->folders[i]->has_stream && m->folders[i]->dirty))
            return true;
    for (size_t e = 0; e < m->n_look_entries; e++)
        if (m->looks[e].dirty)
            return true;
    return cs_orders_are_dirty(m) || cs_sends_are_dirty(m->sends);
}

int cs_stream_flush(struct cs_mailbox *m, cs_stream_fn fn, void *user)
{
    struct one o = {.fn = fn, .user = user};
    int r = 0;

    /* the lists first: how many entries they took stands in the entries after them */
    if (m->map_dirty)
        r = flush_map(m, fn, user);
    if (r == 0 && m->cal.table_dirty)
        r = flush_table(&m->cal, fn, user);
    if (r == 0)
        r = flush_looks(m, &o);
    if (r == 0)
        r = flush_mail(m, &o);
    if (r == 0 && m->slices_dirty) {
        print_slices(m, one_open(&o));
        r = one_close(&o, "slices");
        m->slices_dirty = false;
    }
    if (r == 0 && m->cal.dirty) {
        print_calendar(&m->cal, one_open(&o));
        r = one_close(&o, "cal:default");
        m->cal.dirty = false;
    }
    if (r == 0)
        r = cs_orders_flush(m, fn, user);
    if (r == 0 && m->sends != NULL)
        r = cs_sends_flush(m->sends, fn, user);
    if (r == 0 && m->dirty) {
        print_mailbox(m, one_open(&o));
        r = one_close(&o, "folders");
        m->dirty = false;
    }
    cs_buf_clear(&o.buf);
    return r;
}

/* --- reading ----------------------------------------------------------------------------------- */

static int64_t get_time(struct cs_msg *m, const char *name)
{
    return cs_msg_time(m, name, false, CS_TIME_NONE, name);
}

static enum cs_code get_code(struct cs_msg *m, const char *name, bool required)
{
    enum cs_code code = CS_CODE_NONE;
    const char *s = NULL;
    int r;

    if (m->error < 0)
        return CS_CODE_NONE;
    r = cs_json_str(m->obj, name, 64, &s);
    if (r < 0) {
        if (required || r != -ENOENT)
            cs_msg_fail(m, -EINVAL, name);
        return CS_CODE_NONE;
    }
    (void)cs_code_parse(s,
                        &code); /* a later version's code reads as internal, which is enough here */
    return code;
}

static void load_fault(struct cs_msg *m, struct cs_fault *ret)
{
    struct cs_msg f = {.obj = m->error == 0 ? cs_json_get(m->obj, "error") : NULL};
    static const char *const scopes[] = {"item", "stream", "mailbox", "tenant", "service"};
    char *s;

    if (f.obj == NULL)
        return;
    ret->code = get_code(&f, "code", true);
    ret->scope = (enum cs_scope)cs_msg_enum(&f, "scope", scopes, COUNT(scopes), "error.scope");
    ret->http_status = (int)cs_msg_i64(&f, "http_status", 0, 999, false, 0, "error.http_status");
    s = cs_msg_str(&f, "service_code", CS_GRAPH_CODE_MAX - 1, false, "error.service_code");
    if (s != NULL)
        snprintf(ret->service_code, sizeof(ret->service_code), "%s", s);
    free(s);
    s = cs_msg_str(&f, "request_id", CS_REQUEST_ID_MAX - 1, false, "error.request_id");
    if (s != NULL)
        snprintf(ret->request_id, sizeof(ret->request_id), "%s", s);
    free(s);
    cs_msg_join(m, &f);
}

static void load_inflight_part(struct cs_msg *m, cs_json_val v, struct cs_box_part *ret)
{
    const char *mode = NULL;
    struct cs_msg p = {.obj = v};
    char *stream = cs_msg_str(&p, "stream", CS_STREAM_NAME_MAX, true, "in_flight.parts[].stream");

    if (stream != NULL && strncmp(stream, "mail:", 5) == 0)
        ret->folder = cs_id_hash(stream + 5);
    free(stream);
    ret->slice = (int)cs_msg_i64(&p, "slice", 0, 1000000, false, -1, "in_flight.parts[].slice");
    ret->generation =
        cs_msg_i64(&p, "generation", 0, INT64_MAX, true, 0, "in_flight.parts[].generation");
    if (p.error == 0 &&
        (cs_json_str(v, "mode", 16, &mode) < 0 || cs_mode_parse(mode, &ret->mode) < 0))
        cs_msg_fail(&p, -EINVAL, "in_flight.parts[].mode");
    cs_msg_join(m, &p);
}

/* The looks that the job asks may be loaded later: their ids wait as bare looks marked asked. */
static void load_inflight_items(struct cs_mailbox *box, struct cs_msg *m)
{
    size_t n;
    cs_json_val arr = cs_msg_array(m, "items", CS_JOB_ITEMS_MAX, &n, "in_flight.items");

    if (arr == NULL)
        return;
    box->asked_ids = cs_msg_alloc(m, n, sizeof(*box->asked_ids));
    if (box->asked_ids == NULL)
        return;
    for (size_t i = 0; i < n && m->error == 0; i++) {
        const char *s = NULL;

        if (cs_json_val_str(cs_json_at(arr, i), CS_ID_MAX, &s) < 0)
            cs_msg_fail(m, -EINVAL, "in_flight.items");
        else if (cs_msg_dup(s, &box->asked_ids[box->n_asked_ids]) < 0)
            cs_msg_fail(m, -ENOMEM, "memory");
        else
            box->n_asked_ids++;
    }
}

static void load_inflight(struct cs_mailbox *box, struct cs_msg *m)
{
    struct cs_msg j = {.obj = m->error == 0 ? cs_json_get(m->obj, "in_flight") : NULL};
    struct cs_box_inflight *in;
    const char *s = NULL;
    cs_json_val arr;
    size_t n;

    if (j.obj == NULL)
        return;
    in = box->inflight = cs_msg_alloc(&j, 1, sizeof(*in));
    if (in == NULL) {
        cs_msg_join(m, &j);
        return;
    }
    cs_msg_str_into(&j, "job_id", in->job_id, sizeof(in->job_id), "in_flight.job_id");
    if (j.error == 0 &&
        (cs_json_str(j.obj, "type", 32, &s) < 0 || cs_job_type_parse(s, &in->type) < 0))
        cs_msg_fail(&j, -EINVAL, "in_flight.type");
    if (j.error == 0 && (cs_json_str(j.obj, "lane", 16, &s) < 0 || cs_lane_parse(s, &in->lane) < 0))
        cs_msg_fail(&j, -EINVAL, "in_flight.lane");
    in->attempt = cs_msg_i64(&j, "attempt", 1, INT32_MAX, true, 1, "in_flight.attempt");
    in->reason = reason_names[cs_msg_enum(&j, "reason", reason_names, COUNT(reason_names),
                                          "in_flight.reason")];
    in->created_ms = cs_msg_time(&j, "created_at", true, 0, "in_flight.created_at");
    arr = cs_msg_array(&j, "parts", CS_JOB_PARTS_MAX, &n, "in_flight.parts");
    for (; arr != NULL && in->n_parts < n && j.error == 0; in->n_parts++)
        load_inflight_part(&j, cs_json_at(arr, in->n_parts), &in->parts[in->n_parts]);
    load_inflight_items(box, &j);
    in->rows = (size_t)cs_msg_i64(&j, "rows", 0, CS_JOB_ROWS_MAX, false, 0, "in_flight.rows");
    if (j.error == 0 && cs_json_get(j.obj, "replay_id") != NULL) {
        cs_msg_str_into(&j, "replay_id", in->replay_id, sizeof(in->replay_id),
                        "in_flight.replay_id");
        in->replay_seq = cs_msg_i64(&j, "replay_seq", 1, 1000000, true, 0, "in_flight.replay_seq");
        in->replay_items = (size_t)cs_msg_i64(&j, "replay_items", 0, CS_JOB_ITEMS_MAX, false, 0,
                                              "in_flight.replay_items");
    }
    cs_msg_join(m, &j);
}

static void load_command(struct cs_mailbox *box, struct cs_msg *m)
{
    struct cs_msg c = {.obj = m->error == 0 ? cs_json_get(m->obj, "command") : NULL};

    if (c.obj == NULL)
        return;
    cs_msg_str_into(&c, "command_id", box->command_id, sizeof(box->command_id),
                    "command.command_id");
    box->command_ms = cs_msg_time(&c, "at", true, 0, "command.at");
    cs_msg_join(m, &c);
}

static void load_mailbox(struct cs_mailbox *box, struct cs_msg *m)
{
    struct cs_msg c = {0};
    const char *s = NULL;
    bool parked;

    if (m->error == 0 && cs_json_str(m->obj, "phase", 32, &s) < 0)
        cs_msg_fail(m, -EINVAL, "phase");
    parked = m->error == 0 && strcmp(s, phase_parked) == 0;
    box->phase = (enum cs_box_phase)cs_msg_enum(m, parked ? "resume" : "phase", cs_box_phase_names,
                                                COUNT(cs_box_phase_names), "phase");
    if (parked) {
        box->parked = get_code(m, "parked_code", true);
        box->parked_ms = cs_msg_time(m, "parked_at", true, 0, "parked_at");
    }
    box->first_seen_ms = cs_msg_time(m, "first_seen", true, 0, "first_seen");
    box->depth_ms = cs_msg_time(m, "depth", false, INT64_MIN, "depth");
    box->anchored_ms = cs_msg_time(m, "anchored_at", false, CS_NEVER, "anchored_at");
    box->last_listing_ms = get_time(m, "last_listing");
    box->listing_interval_ms =
        cs_msg_i64(m, "listing_interval_ms", 0, INT32_MAX, false, 0, "listing_interval_ms");
    box->failures = (unsigned)cs_msg_i64(m, "failures", 0, INT32_MAX, false, 0, "failures");
    box->retry_ms = get_time(m, "retry_at");
    load_fault(m, &box->fault);
    box->last_success_ms = get_time(m, "last_success");
    box->last_change_ms = get_time(m, "last_change");
    box->slices_done_ms = get_time(m, "slices_done");
    box->state = (enum cs_box_state)cs_msg_enum(m, "state", cs_box_state_names,
                                                COUNT(cs_box_state_names), "state");
    box->state_since_ms = get_time(m, "since");
    box->map_chunks = (size_t)cs_msg_i64(m, "map_entries", 0, 100000, true, 0, "map_entries");
    box->paused = cs_msg_bool(m, "paused", false, false, "paused");
    load_command(box, m);
    c.obj = m->error == 0 ? cs_json_get(m->obj, "counters") : NULL;
    if (m->error == 0 && c.obj == NULL)
        cs_msg_fail(m, -EINVAL, "counters");
    box->counters.jobs = cs_msg_i64(&c, "jobs", 0, INT64_MAX, false, 0, "counters");
    box->counters.items = cs_msg_i64(&c, "items", 0, INT64_MAX, false, 0, "counters");
    box->counters.upserts = cs_msg_i64(&c, "upserts", 0, INT64_MAX, false, 0, "counters");
    box->counters.moves = cs_msg_i64(&c, "moves", 0, INT64_MAX, false, 0, "counters");
    box->counters.deletes = cs_msg_i64(&c, "deletes", 0, INT64_MAX, false, 0, "counters");
    box->counters.left_scope = cs_msg_i64(&c, "left_scope", 0, INT64_MAX, false, 0, "counters");
    cs_msg_join(m, &c);
    load_inflight(box, m);
    box->loaded = true;
}

static void load_map(struct cs_mailbox *box, struct cs_msg *m)
{
    size_t n;
    cs_json_val arr = cs_msg_array(m, "folders", CS_JOB_FOLDERS_MAX, &n, "folders");

    for (size_t i = 0; arr != NULL && i < n && m->error == 0; i++) {
        struct cs_msg v = {.obj = cs_json_at(arr, i)};
        struct cs_box_folder *f = NULL;
        char *id = cs_msg_str(&v, "id", CS_ID_MAX, true, "folders[].id");

        if (id != NULL && cs_mailbox_add_folder(box, id, &f) < 0)
            cs_msg_fail(&v, -ENOMEM, "memory");
        free(id);
        if (f != NULL) {
            free(f->path); /* a folder stands in one entry; told twice, the last counts */
            free(f->well_known);
            f->path = cs_msg_str(&v, "path", CS_PATH_MAX, false, "folders[].path");
            f->well_known =
                cs_msg_str(&v, "well_known", CS_WELL_KNOWN_MAX, false, "folders[].well_known");
            f->in_scope = cs_msg_bool(&v, "in_scope", true, false, "folders[].in_scope");
            f->hidden = cs_msg_bool(&v, "hidden", true, false, "folders[].hidden");
            f->known = true;
        }
        cs_msg_join(m, &v);
    }
}

static void load_mail(struct cs_mailbox *box, const char *id, struct cs_msg *m)
{
    struct cs_box_folder *f = NULL;

    if (m->error == 0 && cs_mailbox_add_folder(box, id, &f) < 0)
        cs_msg_fail(m, -ENOMEM, "memory");
    if (f == NULL)
        return;
    f->has_stream = true;
    f->phase = (enum cs_stream_phase)cs_msg_enum(m, "phase", cs_stream_phase_names,
                                                 COUNT(cs_stream_phase_names), "phase");
    f->generation = cs_msg_i64(m, "generation", 0, INT64_MAX, true, 0, "generation");
    f->cursor = cs_msg_str(m, "cursor", CS_CURSOR_MAX, false, "cursor");
    f->resync_owed = cs_msg_bool(m, "resync_owed", false, false, "resync_owed");
    f->compare_after = cs_msg_khash(m, "compare_after", "compare_after");
    f->compare_cursor = cs_msg_str(m, "compare_cursor", CS_CURSOR_MAX, false, "compare_cursor");
    f->round_start_ms = get_time(m, "round_start");
    f->last_round_ms = get_time(m, "last_round");
    f->rounds = cs_msg_i64(m, "rounds", 0, INT64_MAX, true, 0, "rounds");
    f->last_poll_ms = get_time(m, "last_poll");
    f->interval_ms = cs_msg_i64(m, "interval_ms", 0, INT32_MAX, false, 0, "interval_ms");
    f->failures = (unsigned)cs_msg_i64(m, "failures", 0, INT32_MAX, false, 0, "failures");
    f->retry_ms = get_time(m, "retry_at");
    f->compared_ms = get_time(m, "compared_at");
}

static void load_slices(struct cs_mailbox *box, struct cs_msg *m)
{
    size_t n;
    cs_json_val arr = cs_msg_array(m, "slices", CS_BOX_SLICES_MAX, &n, "slices");

    box->slices = arr != NULL ? cs_msg_alloc(m, n, sizeof(*box->slices)) : NULL;
    for (; box->slices != NULL && box->n_slices < n && m->error == 0; box->n_slices++) {
        struct cs_msg v = {.obj = cs_json_at(arr, box->n_slices)};
        struct cs_box_slice *s = &box->slices[box->n_slices];

        s->id = (int)cs_msg_i64(&v, "id", 0, 1000000, true, 0, "slices[].id");
        s->from_ms = cs_msg_time(&v, "from", false, CS_NEVER, "slices[].from");
        s->to_ms = cs_msg_time(&v, "to", false, CS_NEVER, "slices[].to");
        s->cursor = cs_msg_str(&v, "cursor", CS_CURSOR_MAX, false, "slices[].cursor");
        s->done = cs_msg_bool(&v, "done", true, false, "slices[].done");
        cs_msg_join(m, &v);
    }
}

static void load_looks(struct cs_mailbox *box, size_t number, struct cs_msg *m)
{
    size_t n;
    cs_json_val arr = cs_msg_array(m, "items", CS_BOX_LOOKS_ENTRY, &n, "items");
    struct cs_box_looks *entry;

    if (m->error < 0 || arr == NULL)
        return;
    if (cs_mailbox_look_entry(box, number, n, &entry) < 0) {
        cs_msg_fail(m, -ENOMEM, "memory");
        return;
    }
    for (size_t i = 0; i < n && m->error == 0; i++) {
        struct cs_msg v = {.obj = cs_json_at(arr, i)};
        struct cs_look look = {0};
        const char *reason = "look";
        int64_t owed = cs_msg_time(&v, "owed_since", true, 0, "items[].owed_since");
        int r = v.error < 0 ? v.error : cs_look_parse(cs_json_get(v.obj, "look"), &look, &reason);

        if (r < 0)
            cs_msg_fail(m, r, reason);
        else
            cs_mailbox_put_look(entry, &look, owed);
    }
}

static void load_calendar(struct cs_mailbox *box, struct cs_msg *m)
{
    struct cs_box_calendar *cal = &box->cal;
    struct cs_msg w = {0};

    cal->phase = (enum cs_stream_phase)cs_msg_enum(m, "phase", cs_stream_phase_names,
                                                   COUNT(cs_stream_phase_names), "phase");
    cal->generation = cs_msg_i64(m, "generation", 1, INT64_MAX, true, 1, "generation");
    cal->cursor = cs_msg_str(m, "cursor", CS_CURSOR_MAX, false, "cursor");
    w.obj = m->error == 0 ? cs_json_get(m->obj, "window") : NULL;
    if (m->error == 0 && w.obj == NULL)
        cs_msg_fail(m, -EINVAL, "window");
    if (m->error == 0) {
        cal->from_ms = cs_msg_time(&w, "from", true, 0, "window.from");
        cal->to_ms = cs_msg_time(&w, "to", true, 0, "window.to");
        cs_msg_join(m, &w);
    }
    cal->round_start_ms = get_time(m, "round_start");
    cal->rounds = cs_msg_i64(m, "rounds", 0, INT64_MAX, true, 0, "rounds");
    cal->last_poll_ms = get_time(m, "last_poll");
    cal->interval_ms = cs_msg_i64(m, "interval_ms", 0, INT32_MAX, false, 0, "interval_ms");
    cal->failures = (unsigned)cs_msg_i64(m, "failures", 0, INT32_MAX, false, 0, "failures");
    cal->retry_ms = get_time(m, "retry_at");
    cal->code = get_code(m, "code", false);
    cal->chunks = (size_t)cs_msg_i64(m, "table_entries", 0, 100000, true, 0, "table_entries");
}

static void load_table(struct cs_mailbox *box, struct cs_msg *m)
{
    size_t n;
    cs_json_val arr = cs_msg_array(m, "rows", CS_BOX_ROWS_MAX, &n, "rows");

    for (size_t i = 0; arr != NULL && i < n && m->error == 0; i++) {
        struct cs_msg v = {.obj = cs_json_at(arr, i)};
        struct cs_cal_row row = {0};
        const char *reason = "rows[].row";
        int state =
            cs_msg_enum(&v, "state", row_state_names, COUNT(row_state_names), "rows[].state");
        int r = v.error < 0 ? v.error : cs_cal_row_parse(cs_json_get(v.obj, "row"), &row, &reason);

        if (r == 0) {
            r = cs_calendar_add_row(&box->cal, &row, (enum cs_row_state)state);
            cs_cal_row_clear(&row);
            reason = "rows";
        }
        if (r < 0)
            cs_msg_fail(m, r == -ENOMEM ? -ENOMEM : -EINVAL, reason);
    }
}

/* "items" is 0, "items/3" is 3; -1: not of this list. */
static long list_number(const char *stream, const char *name)
{
    size_t n = strlen(name);
    char *end = NULL;
    long v;

    if (strncmp(stream, name, n) != 0)
        return -1;
    if (stream[n] == '\0')
        return 0;
    if (stream[n] != '/' || stream[n + 1] < '1' || stream[n + 1] > '9')
        return -1;
    v = strtol(stream + n + 1, &end, 10);
    return *end == '\0' && v <= 100000 ? v : -1;
}

int cs_stream_load(struct cs_mailbox *box, const char *stream, size_t len, const char *value,
                   size_t n, const char **reason)
{
    char name[CS_STREAM_NAME_MAX + 8];
    struct cs_json *doc = NULL;
    struct cs_msg m = {0};
    int r;

    if (len >= sizeof(name)) {
        *reason = "stream";
        return -EINVAL;
    }
    memcpy(name, stream, len);
    name[len] = '\0';
    r = cs_json_parse(value, n, &doc, reason);
    if (r < 0)
        return r;
    m.obj = cs_json_root(doc);
    if (!cs_json_is_object(m.obj))
        cs_msg_fail(&m, -EINVAL, "not an object");
    if (strcmp(name, "folders") == 0)
        load_mailbox(box, &m);
    else if (list_number(name, "folders") > 0)
        load_map(box, &m);
    else if (strncmp(name, "mail:", 5) == 0 && name[5] != '\0')
        load_mail(box, name + 5, &m);
    else if (strcmp(name, "slices") == 0)
        load_slices(box, &m);
    else if (list_number(name, "items") >= 0)
        load_looks(box, (size_t)list_number(name, "items"), &m);
    else if (strcmp(name, "cal:default") == 0)
        load_calendar(box, &m);
    else if (list_number(name, "cal:default/table") >= 0)
        load_table(box, &m);
    else if (strncmp(name, "replay:", 7) == 0)
        cs_orders_load(box, &m);
    else if (strncmp(name, "send:", 5) == 0)
        cs_sends_load(box, name + 5, &m);
    else if (strcmp(name, "sends") == 0)
        cs_sends_load(box, NULL, &m);
    else
        cs_msg_fail(&m, -EINVAL, "stream");
    cs_json_free(doc);
    if (m.error < 0)
        *reason = m.where;
    return m.error;
}

int cs_stream_loaded(struct cs_mailbox *box, const char **reason)
{
    struct cs_box_inflight *in = box->inflight;

    if (!box->loaded) {
        *reason = "the entry of the mailbox itself is missing";
        return -EINVAL;
    }
    for (size_t k = 0; k < box->n_asked_ids; k++) {
        cs_mailbox_ask(box, box->asked_ids[k]);
        free(box->asked_ids[k]);
    }
    free(box->asked_ids);
    box->asked_ids = NULL;
    box->n_asked_ids = 0;
    for (size_t k = 0; in != NULL && k < in->n_parts; k++)
        if ((in->type == CS_JOB_MAIL_DELTA || in->type == CS_JOB_MAIL_RESYNC) &&
            cs_mailbox_find_folder(box, in->parts[k].folder) == NULL) {
            *reason = "a stream of the job in flight is missing";
            return -EINVAL;
        }
    if (in != NULL && in->replay_id[0] != '\0' && cs_replay_in_flight(box) == NULL) {
        *reason = "the replay of the job in flight is missing";
        return -EINVAL;
    }
    if (cs_sends_loaded(box) < 0) {
        *reason = "memory";
        return -ENOMEM;
    }
    return 0;
}
