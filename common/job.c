#include "common/job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/json_write.h"
#include "common/message.h"

static const char *const type_names[CS_JOB_TYPE_COUNT_] = {
    [CS_JOB_FOLDERS] = "folders",
    [CS_JOB_MAIL_DELTA] = "mail.delta",
    [CS_JOB_MAIL_SLICE] = "mail.slice",
    [CS_JOB_MAIL_ITEMS] = "mail.items",
    [CS_JOB_CALENDAR_DELTA] = "calendar.delta",
    [CS_JOB_PROBE] = "probe",
    [CS_JOB_MAIL_SEND] = "mail.send",
    [CS_JOB_MAIL_RESYNC] = "mail.resync",
};
static const char *const lane_names[CS_LANE_COUNT_] = {
    [CS_LANE_SEND] = "send",     [CS_LANE_LIVE] = "live",   [CS_LANE_BACKFILL] = "backfill",
    [CS_LANE_REPLAY] = "replay", [CS_LANE_AUDIT] = "audit",
};
static const char *const mode_names[] = {
    [CS_MODE_NONE] = "none",     [CS_MODE_ANCHOR] = "anchor", [CS_MODE_FIRST] = "first",
    [CS_MODE_LIVE] = "live",     [CS_MODE_SLICE] = "slice",   [CS_MODE_PREVIEW] = "preview",
    [CS_MODE_RESYNC] = "resync", [CS_MODE_GONE] = "gone",     [CS_MODE_AUDIT] = "audit",
};
static const char *const why_names[] = {
    [CS_WHY_LOOK] = "look",
    [CS_WHY_LEFTOVER] = "leftover",
};
static const char *const seen_names[] = {
    [CS_SEEN_NOTHING] = "nothing", [CS_SEEN_GONE] = "gone", [CS_SEEN_EXCLUDED] = "excluded",
    [CS_SEEN_UNKNOWN] = "unknown", [CS_SEEN_AT] = "at",
};
static const char *const step_names[] = {
    [CS_SEND_DRAFT] = "draft",
    [CS_SEND_SEND] = "send",
    [CS_SEND_LOOK] = "look",
    [CS_SEND_SWEEP] = "sweep",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *cs_job_type_name(enum cs_job_type t)
{
    return (unsigned)t < COUNT(type_names) ? type_names[t] : "unknown";
}

int cs_job_type_parse(const char *s, enum cs_job_type *ret)
{
    int i = cs_msg_name_index(type_names, COUNT(type_names), s);

    if (i < 0)
        return -EINVAL;
    *ret = (enum cs_job_type)i;
    return 0;
}

const char *cs_lane_name(enum cs_lane l)
{
    return (unsigned)l < COUNT(lane_names) ? lane_names[l] : "unknown";
}

int cs_lane_parse(const char *s, enum cs_lane *ret)
{
    int i = cs_msg_name_index(lane_names, COUNT(lane_names), s);

    if (i < 0)
        return -EINVAL;
    *ret = (enum cs_lane)i;
    return 0;
}

const char *cs_mode_name(enum cs_mode m)
{
    return (unsigned)m < COUNT(mode_names) ? mode_names[m] : "unknown";
}

int cs_mode_parse(const char *s, enum cs_mode *ret)
{
    int i = cs_msg_name_index(mode_names, COUNT(mode_names), s);

    if (i < 0)
        return -EINVAL;
    *ret = (enum cs_mode)i;
    return 0;
}

void cs_folder_clear(struct cs_folder *f)
{
    free(f->id);
    free(f->path);
    free(f->well_known);
    memset(f, 0, sizeof(*f));
}

int cs_folder_copy(const struct cs_folder *f, struct cs_folder *ret)
{
    struct cs_folder copy = {0};

    if (cs_msg_dup(f->id, &copy.id) < 0 || cs_msg_dup(f->path, &copy.path) < 0 ||
        cs_msg_dup(f->well_known, &copy.well_known) < 0) {
        cs_folder_clear(&copy);
        return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

void cs_look_clear(struct cs_look *look)
{
    free(look->id);
    free(look->folder);
    free(look->change_key);
    free(look->from_folder);
    memset(look, 0, sizeof(*look));
}

int cs_look_copy(const struct cs_look *look, struct cs_look *ret)
{
    struct cs_look copy = {.why = look->why, .seen = look->seen};

    if (cs_msg_dup(look->id, &copy.id) < 0 || cs_msg_dup(look->folder, &copy.folder) < 0 ||
        cs_msg_dup(look->change_key, &copy.change_key) < 0 ||
        cs_msg_dup(look->from_folder, &copy.from_folder) < 0) {
        cs_look_clear(&copy);
        return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

int cs_look_parse(const void *json_val, struct cs_look *ret, const char **reason)
{
    struct cs_msg m = {.obj = json_val};
    struct cs_look look = {0};

    look.id = cs_msg_str(&m, "id", CS_ID_MAX, true, "look.id");
    look.why = (enum cs_why)cs_msg_enum(&m, "why", why_names, COUNT(why_names), "look.why");
    look.seen = (enum cs_seen)cs_msg_enum(&m, "seen", seen_names, COUNT(seen_names), "look.seen");
    look.folder = cs_msg_str(&m, "folder", CS_ID_MAX, false, "look.folder");
    look.change_key = cs_msg_str(&m, "change_key", CS_ID_MAX, false, "look.change_key");
    look.from_folder = cs_msg_str(&m, "from_folder", CS_ID_MAX, false, "look.from_folder");
    if (m.error == 0 && look.seen == CS_SEEN_AT && look.folder == NULL)
        cs_msg_fail(&m, -EINVAL, "look.folder");
    if (m.error < 0) {
        *reason = m.where;
        cs_look_clear(&look);
        return m.error;
    }
    *ret = look;
    return 0;
}

void cs_look_print(const struct cs_look *look, struct cs_jw *jw)
{
    cs_jw_object(jw);
    cs_jw_kstr(jw, "id", look->id);
    cs_jw_kstr(jw, "why", why_names[look->why]);
    cs_jw_kstr(jw, "seen", seen_names[look->seen]);
    cs_jw_kstr_opt(jw, "folder", look->folder);
    cs_jw_kstr_opt(jw, "change_key", look->change_key);
    cs_jw_kstr_opt(jw, "from_folder", look->from_folder);
    cs_jw_object_end(jw);
}

void cs_cal_row_clear(struct cs_cal_row *row)
{
    free(row->id);
    free(row->item_id);
    free(row->series);
    free(row->change_key);
    memset(row, 0, sizeof(*row));
}

int cs_cal_row_copy(const struct cs_cal_row *row, struct cs_cal_row *ret)
{
    struct cs_cal_row copy = {
        .type = row->type, .start_utc_ms = row->start_utc_ms, .end_utc_ms = row->end_utc_ms};

    if (cs_msg_dup(row->id, &copy.id) < 0 || cs_msg_dup(row->item_id, &copy.item_id) < 0 ||
        cs_msg_dup(row->series, &copy.series) < 0 ||
        cs_msg_dup(row->change_key, &copy.change_key) < 0) {
        cs_cal_row_clear(&copy);
        return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

static const char *const row_types[] = {"single", "occurrence", "exception", "master"};
static const char row_letters[] = "soem";

int cs_cal_row_parse(const void *json_val, struct cs_cal_row *ret, const char **reason)
{
    struct cs_msg m = {.obj = json_val};
    struct cs_cal_row row = {0};

    row.id = cs_msg_str(&m, "id", CS_ID_MAX, true, "row.id");
    row.item_id = cs_msg_str(&m, "item_id", CS_ID_MAX + 64, true, "row.item_id");
    row.series = cs_msg_str(&m, "series", CS_ID_MAX, false, "row.series");
    row.change_key = cs_msg_str(&m, "change_key", CS_ID_MAX, false, "row.change_key");
    row.type = row_letters[cs_msg_enum(&m, "type", row_types, COUNT(row_types), "row.type")];
    row.start_utc_ms = cs_msg_time(&m, "start", true, 0, "row.start");
    row.end_utc_ms = cs_msg_time(&m, "end", true, 0, "row.end");
    if (m.error < 0) {
        *reason = m.where;
        cs_cal_row_clear(&row);
        return m.error;
    }
    *ret = row;
    return 0;
}

void cs_cal_row_print(const struct cs_cal_row *row, struct cs_jw *jw)
{
    const char *letter = strchr(row_letters, row->type);

    cs_jw_object(jw);
    cs_jw_kstr(jw, "id", row->id);
    cs_jw_kstr(jw, "item_id", row->item_id);
    cs_jw_kstr_opt(jw, "series", row->series);
    cs_jw_kstr_opt(jw, "change_key", row->change_key);
    cs_jw_kstr(jw, "type", row_types[letter != NULL && *letter != '\0' ? letter - row_letters : 0]);
    cs_jw_ktime(jw, "start", row->start_utc_ms);
    cs_jw_ktime(jw, "end", row->end_utc_ms);
    cs_jw_object_end(jw);
}

static void part_clear(struct cs_job_part *part)
{
    free(part->stream);
    free(part->cursor);
    free(part->slice_id);
    cs_folder_clear(&part->folder);
}

static void send_free(struct cs_job_send *s)
{
    if (s == NULL)
        return;
    free(s->request);
    free(s->draft_id);
    free(s->change_key);
    free(s->message_id);
    for (size_t i = 0; i < s->n_keep; i++)
        free(s->keep[i]);
    free(s->keep);
    free(s);
}

/* A part of the message as text, to be read by whoever carries it out. */
static char *raw_text(struct cs_msg *m, const char *name, const char *where)
{
    cs_json_val v = m->error == 0 ? cs_json_get(m->obj, name) : NULL;
    struct cs_buf text;

    if (v == NULL)
        return NULL;
    cs_buf_init(&text, 0);
    if (cs_json_print(v, &text) < 0) {
        cs_buf_clear(&text);
        cs_msg_fail(m, -ENOMEM, where);
        return NULL;
    }
    return cs_buf_steal(&text, NULL);
}

static void send_parse(struct cs_msg *m, struct cs_job *job)
{
    struct cs_msg p = {.obj = m->error == 0 ? cs_json_get(m->obj, "send") : NULL};
    struct cs_job_send *s;
    cs_json_val arr;
    size_t count;
    char *id;

    if (p.obj == NULL || (s = cs_msg_alloc(m, 1, sizeof(*s))) == NULL)
        return;
    job->send = s;
    s->step =
        (enum cs_send_step)cs_msg_enum(&p, "step", step_names, COUNT(step_names), "send.step");
    id = cs_msg_str(&p, "request_id", sizeof(s->request_id) - 1, s->step != CS_SEND_SWEEP,
                    "send.request_id");
    if (id != NULL)
        memcpy(s->request_id, id, strlen(id) + 1);
    free(id);
    s->request = raw_text(&p, "request", "send.request");
    id = cs_msg_str(&p, "refuse", CS_SEND_REFUSE_MAX, false, "send.refuse");
    if (id != NULL)
        memcpy(s->refuse, id, strlen(id) + 1);
    free(id);
    s->draft_id = cs_msg_str(&p, "draft_id", CS_ID_MAX, false, "send.draft_id");
    s->change_key = cs_msg_str(&p, "change_key", CS_ID_MAX, false, "send.change_key");
    s->message_id = cs_msg_str(&p, "message_id", 1000, false, "send.message_id");
    s->expired = cs_msg_bool(&p, "expired", false, false, "send.expired");
    s->looks = cs_msg_i64(&p, "looks", 0, INT32_MAX, false, 0, "send.looks");
    if ((arr = cs_msg_array(&p, "keep", CS_SEND_KEEP_MAX, &count, "send.keep")) != NULL &&
        (s->keep = cs_msg_alloc(&p, count, sizeof(*s->keep))) != NULL)
        for (; p.error == 0 && s->n_keep < count; s->n_keep++) {
            const char *text;

            if (cs_json_val_str(cs_json_at(arr, s->n_keep), 64, &text) < 0) {
                cs_msg_fail(&p, -EINVAL, "send.keep");
                break;
            }
            if (cs_msg_dup(text, &s->keep[s->n_keep]) < 0) {
                cs_msg_fail(&p, -ENOMEM, "send.keep");
                break;
            }
        }
    cs_msg_join(m, &p);
}

static void send_print(const struct cs_job_send *s, struct cs_jw *jw)
{
    cs_jw_key(jw, "send");
    cs_jw_object(jw);
    cs_jw_kstr(jw, "step", step_names[s->step]);
    if (s->request_id[0] != '\0')
        cs_jw_kstr(jw, "request_id", s->request_id);
    if (s->request != NULL) {
        cs_jw_key(jw, "request");
        cs_jw_raw(jw, s->request, strlen(s->request));
    }
    if (s->refuse[0] != '\0')
        cs_jw_kstr(jw, "refuse", s->refuse);
    cs_jw_kstr_opt(jw, "draft_id", s->draft_id);
    cs_jw_kstr_opt(jw, "change_key", s->change_key);
    cs_jw_kstr_opt(jw, "message_id", s->message_id);
    if (s->expired)
        cs_jw_kbool(jw, "expired", true);
    if (s->looks > 0)
        cs_jw_ki64(jw, "looks", s->looks);
    if (s->n_keep > 0) {
        cs_jw_key(jw, "keep");
        cs_jw_array(jw);
        for (size_t i = 0; i < s->n_keep; i++)
            cs_jw_str(jw, s->keep[i]);
        cs_jw_array_end(jw);
    }
    cs_jw_object_end(jw);
}

static void check_send(struct cs_msg *m, const struct cs_job *job)
{
    const struct cs_job_send *s = job->send;

    if (s == NULL)
        cs_msg_fail(m, -EINVAL, "send");
    else if (s->step == CS_SEND_DRAFT && s->request == NULL)
        cs_msg_fail(m, -EINVAL, "send.request");
    else if ((s->step == CS_SEND_SEND || s->step == CS_SEND_LOOK) && s->draft_id == NULL)
        cs_msg_fail(m, -EINVAL, "send.draft_id");
    else if (s->step == CS_SEND_SEND && s->change_key == NULL)
        cs_msg_fail(m, -EINVAL, "send.change_key");
    else if (job->n_parts != 1)
        cs_msg_fail(m, -EINVAL, "parts");
}

void cs_job_clear(struct cs_job *job)
{
    free(job->reason);
    for (size_t i = 0; i < job->n_parts; i++)
        part_clear(&job->parts[i]);
    free(job->parts);
    for (size_t i = 0; i < job->n_items; i++)
        cs_look_clear(&job->items[i]);
    free(job->items);
    for (size_t i = 0; i < job->n_folders; i++)
        cs_folder_clear(&job->folders[i]);
    free(job->folders);
    free(job->folders_out);
    for (size_t i = 0; i < job->n_rows; i++)
        cs_cal_row_clear(&job->rows[i]);
    free(job->rows);
    send_free(job->send);
    memset(job, 0, sizeof(*job));
}

static void folder_parse(struct cs_msg *m, cs_json_val v, bool id_required, struct cs_folder *ret)
{
    struct cs_msg f = {.obj = v};

    ret->id = cs_msg_str(&f, "id", CS_ID_MAX, id_required, "folder.id");
    ret->path = cs_msg_str(&f, "path", CS_PATH_MAX, false, "folder.path");
    ret->well_known = cs_msg_str(&f, "well_known", CS_WELL_KNOWN_MAX, false, "folder.well_known");
    cs_msg_join(m, &f);
}

static void folder_print(const struct cs_folder *f, struct cs_jw *jw)
{
    cs_jw_object(jw);
    cs_jw_kstr(jw, "id", f->id);
    cs_jw_kstr_opt(jw, "path", f->path);
    cs_jw_kstr_opt(jw, "well_known", f->well_known);
    cs_jw_object_end(jw);
}

static void part_parse(struct cs_msg *m, cs_json_val v, struct cs_job_part *ret)
{
    struct cs_msg p = {.obj = v};
    cs_json_val window, folder;

    ret->stream = cs_msg_str(&p, "stream", CS_STREAM_MAX + 16, true, "parts[].stream");
    ret->generation = cs_msg_i64(&p, "generation", 0, INT64_MAX, true, 0, "parts[].generation");
    ret->mode =
        (enum cs_mode)cs_msg_enum(&p, "mode", mode_names, COUNT(mode_names), "parts[].mode");
    ret->cursor = cs_msg_str(&p, "cursor", CS_CURSOR_MAX, false, "parts[].cursor");
    ret->after = cs_msg_khash(&p, "after", "parts[].after");
    ret->slice_id = cs_msg_str(&p, "slice_id", 64, false, "parts[].slice_id");
    ret->from_utc_ms = ret->to_utc_ms = CS_NEVER;
    window = p.error == 0 ? cs_json_get(v, "window") : NULL;
    if (window != NULL) {
        struct cs_msg w = {.obj = window};

        ret->from_utc_ms = cs_msg_time(&w, "from", false, CS_NEVER, "parts[].window.from");
        ret->to_utc_ms = cs_msg_time(&w, "to", false, CS_NEVER, "parts[].window.to");
        cs_msg_join(&p, &w);
    }
    folder = p.error == 0 ? cs_json_get(v, "folder") : NULL;
    if (folder != NULL)
        folder_parse(&p, folder, true, &ret->folder);
    cs_msg_join(m, &p);
}

static void part_print(const struct cs_job_part *part, struct cs_jw *jw)
{
    cs_jw_object(jw);
    cs_jw_kstr(jw, "stream", part->stream);
    cs_jw_ki64(jw, "generation", part->generation);
    cs_jw_kstr(jw, "mode", cs_mode_name(part->mode));
    if (part->folder.id != NULL) {
        cs_jw_key(jw, "folder");
        folder_print(&part->folder, jw);
    }
    cs_jw_kstr_opt(jw, "cursor", part->cursor);
    cs_jw_khash_opt(jw, "after", part->after);
    if (part->from_utc_ms != CS_NEVER || part->to_utc_ms != CS_NEVER) {
        cs_jw_key(jw, "window");
        cs_jw_object(jw);
        cs_jw_ktime(jw, "from", part->from_utc_ms);
        cs_jw_ktime(jw, "to", part->to_utc_ms);
        cs_jw_object_end(jw);
    }
    cs_jw_kstr_opt(jw, "slice_id", part->slice_id);
    cs_jw_object_end(jw);
}

/* What each type must have besides the common fields; a job that lacks it can never be done. */
static void check_shape(struct cs_msg *m, const struct cs_job *job)
{
    if (m->error < 0)
        return;
    switch (job->type) {
    case CS_JOB_MAIL_DELTA:
        if (job->n_parts == 0)
            cs_msg_fail(m, -EINVAL, "parts");
        for (size_t i = 0; i < job->n_parts; i++) {
            enum cs_mode mode = job->parts[i].mode;

            if (job->parts[i].folder.id == NULL)
                cs_msg_fail(m, -EINVAL, "parts[].folder");
            if (mode != CS_MODE_ANCHOR && mode != CS_MODE_FIRST && mode != CS_MODE_LIVE)
                cs_msg_fail(m, -EINVAL, "parts[].mode");
        }
        break;
    case CS_JOB_MAIL_RESYNC:
        if (job->n_parts == 0)
            cs_msg_fail(m, -EINVAL, "parts");
        for (size_t i = 0; i < job->n_parts; i++) {
            enum cs_mode mode = job->parts[i].mode;

            if (job->parts[i].folder.id == NULL)
                cs_msg_fail(m, -EINVAL, "parts[].folder");
            if (mode != CS_MODE_RESYNC && mode != CS_MODE_GONE && mode != CS_MODE_AUDIT)
                cs_msg_fail(m, -EINVAL, "parts[].mode");
            if (job->parts[i].cursor != NULL && job->parts[i].after == 0)
                cs_msg_fail(m, -EINVAL, "parts[].cursor");
        }
        break;
    case CS_JOB_MAIL_SLICE:
        if (job->n_parts == 0)
            cs_msg_fail(m, -EINVAL, "parts");
        for (size_t i = 0; i < job->n_parts; i++) {
            enum cs_mode mode = job->parts[i].mode;

            if (mode != CS_MODE_SLICE && mode != CS_MODE_PREVIEW)
                cs_msg_fail(m, -EINVAL, "parts[].mode");
            if (mode == CS_MODE_SLICE && job->parts[i].slice_id == NULL)
                cs_msg_fail(m, -EINVAL, "parts[].slice_id");
        }
        break;
    case CS_JOB_MAIL_ITEMS:
        if (job->n_items == 0)
            cs_msg_fail(m, -EINVAL, "items");
        break;
    case CS_JOB_CALENDAR_DELTA:
        if (job->n_parts != 1)
            cs_msg_fail(m, -EINVAL, "parts");
        else if (job->parts[0].mode != CS_MODE_FIRST && job->parts[0].mode != CS_MODE_LIVE)
            cs_msg_fail(m, -EINVAL, "parts[].mode");
        else if (job->parts[0].from_utc_ms == CS_NEVER || job->parts[0].to_utc_ms == CS_NEVER ||
                 job->parts[0].from_utc_ms >= job->parts[0].to_utc_ms)
            cs_msg_fail(m, -EINVAL, "parts[].window");
        break;
    case CS_JOB_MAIL_SEND: check_send(m, job); break;
    case CS_JOB_FOLDERS:
    case CS_JOB_PROBE:
    case CS_JOB_TYPE_COUNT_: break;
    }
}

int cs_job_parse(const char *p, size_t n, struct cs_job *ret, const char **reason)
{
    struct cs_job job = {0};
    struct cs_json *doc = NULL;
    struct cs_msg m = {0};
    cs_json_val arr;
    size_t count;
    int r;

    r = cs_json_parse(p, n, &doc, reason);
    if (r < 0)
        return r;
    m.obj = cs_json_root(doc);
    cs_msg_str_into(&m, "job_id", job.job_id, sizeof(job.job_id), "job_id");
    job.type = (enum cs_job_type)cs_msg_enum(&m, "type", type_names, COUNT(type_names), "type");
    cs_msg_str_into(&m, "tenant", job.tenant, sizeof(job.tenant), "tenant");
    cs_msg_str_into(&m, "mailbox", job.mailbox, sizeof(job.mailbox), "mailbox");
    if (m.error == 0 && !cs_tenant_name_ok(job.tenant))
        cs_msg_fail(&m, -EINVAL, "tenant");
    if (m.error == 0 && !cs_mailbox_name_ok(job.mailbox))
        cs_msg_fail(&m, -EINVAL, "mailbox");
    job.lane = (enum cs_lane)cs_msg_enum(&m, "lane", lane_names, COUNT(lane_names), "lane");
    job.attempt = cs_msg_i64(&m, "attempt", 1, INT32_MAX, true, 1, "attempt");
    job.reason = cs_msg_str(&m, "reason", 64, true, "reason");
    job.created_utc_ms = cs_msg_time(&m, "created_at", true, 0, "created_at");
    job.not_after_utc_ms = cs_msg_time(&m, "not_after", false, CS_NEVER, "not_after");
    job.depth_utc_ms = cs_msg_time(&m, "depth", false, INT64_MIN, "depth");
    job.anchored_utc_ms = cs_msg_time(&m, "anchored_at", false, CS_NEVER, "anchored_at");

    if ((arr = cs_msg_array(&m, "parts", CS_JOB_PARTS_MAX, &count, "parts")) != NULL &&
        (job.parts = cs_msg_alloc(&m, count, sizeof(*job.parts))) != NULL)
        for (; m.error == 0 && job.n_parts < count; job.n_parts++)
            part_parse(&m, cs_json_at(arr, job.n_parts), &job.parts[job.n_parts]);
    if ((arr = cs_msg_array(&m, "items", CS_JOB_ITEMS_MAX, &count, "items")) != NULL &&
        (job.items = cs_msg_alloc(&m, count, sizeof(*job.items))) != NULL)
        for (; m.error == 0 && job.n_items < count; job.n_items++) {
            r = cs_look_parse(cs_json_at(arr, job.n_items), &job.items[job.n_items], reason);
            if (r < 0) {
                cs_msg_fail(&m, r, *reason);
                break;
            }
        }
    if ((arr = cs_msg_array(&m, "folders", CS_JOB_FOLDERS_MAX, &count, "folders")) != NULL &&
        (job.folders = cs_msg_alloc(&m, count, sizeof(*job.folders))) != NULL)
        for (; m.error == 0 && job.n_folders < count; job.n_folders++)
            folder_parse(&m, cs_json_at(arr, job.n_folders), true, &job.folders[job.n_folders]);
    if ((arr = cs_msg_array(&m, "folders_out", CS_JOB_FOLDERS_MAX, &count, "folders_out")) !=
            NULL &&
        (job.folders_out = cs_msg_alloc(&m, count, sizeof(*job.folders_out))) != NULL)
        for (; m.error == 0 && job.n_folders_out < count; job.n_folders_out++)
            job.folders_out[job.n_folders_out] =
                cs_msg_hash(&m, cs_json_at(arr, job.n_folders_out), "folders_out");
    if ((arr = cs_msg_array(&m, "rows", CS_JOB_ROWS_MAX, &count, "rows")) != NULL &&
        (job.rows = cs_msg_alloc(&m, count, sizeof(*job.rows))) != NULL)
        for (; m.error == 0 && job.n_rows < count; job.n_rows++) {
            r = cs_cal_row_parse(cs_json_at(arr, job.n_rows), &job.rows[job.n_rows], reason);
            if (r < 0) {
                cs_msg_fail(&m, r, *reason);
                break;
            }
        }
    send_parse(&m, &job);
    check_shape(&m, &job);
    cs_json_free(doc);
    if (m.error < 0) {
        *reason = m.where;
        cs_job_clear(&job);
        return m.error;
    }
    *ret = job;
    return 0;
}

void cs_job_print(const struct cs_job *job, struct cs_buf *out)
{
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "job_id", job->job_id);
    cs_jw_kstr(&jw, "type", cs_job_type_name(job->type));
    cs_jw_kstr(&jw, "tenant", job->tenant);
    cs_jw_kstr(&jw, "mailbox", job->mailbox);
    cs_jw_kstr(&jw, "lane", cs_lane_name(job->lane));
    cs_jw_ki64(&jw, "attempt", job->attempt);
    cs_jw_kstr(&jw, "reason", job->reason != NULL ? job->reason : "");
    cs_jw_ktime(&jw, "created_at", job->created_utc_ms);
    if (job->not_after_utc_ms != CS_NEVER)
        cs_jw_ktime(&jw, "not_after", job->not_after_utc_ms);
    if (job->depth_utc_ms != INT64_MIN)
        cs_jw_ktime(&jw, "depth", job->depth_utc_ms);
    if (job->anchored_utc_ms != CS_NEVER && job->type == CS_JOB_MAIL_SLICE)
        cs_jw_ktime(&jw, "anchored_at", job->anchored_utc_ms);
    if (job->n_parts > 0) {
        cs_jw_key(&jw, "parts");
        cs_jw_array(&jw);
        for (size_t i = 0; i < job->n_parts; i++)
            part_print(&job->parts[i], &jw);
        cs_jw_array_end(&jw);
    }
    if (job->n_items > 0) {
        cs_jw_key(&jw, "items");
        cs_jw_array(&jw);
        for (size_t i = 0; i < job->n_items; i++)
            cs_look_print(&job->items[i], &jw);
        cs_jw_array_end(&jw);
    }
    if (job->n_folders > 0) {
        cs_jw_key(&jw, "folders");
        cs_jw_array(&jw);
        for (size_t i = 0; i < job->n_folders; i++)
            folder_print(&job->folders[i], &jw);
        cs_jw_array_end(&jw);
    }
    if (job->n_folders_out > 0) {
        cs_jw_key(&jw, "folders_out");
        cs_jw_array(&jw);
        for (size_t i = 0; i < job->n_folders_out; i++) {
            char hex[17];

            snprintf(hex, sizeof(hex), "%016" PRIx64, job->folders_out[i]);
            cs_jw_str(&jw, hex);
        }
        cs_jw_array_end(&jw);
    }
    if (job->n_rows > 0) {
        cs_jw_key(&jw, "rows");
        cs_jw_array(&jw);
        for (size_t i = 0; i < job->n_rows; i++)
            cs_cal_row_print(&job->rows[i], &jw);
        cs_jw_array_end(&jw);
    }
    if (job->send != NULL)
        send_print(job->send, &jw);
    cs_jw_object_end(&jw);
}
