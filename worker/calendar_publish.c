/* calendar_publish.c - a calendar job's records, the rows of what is out there now, and what is no longer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker/calendar_priv.h"
#include "worker/series.h"

/* A long series repeats its body in each occurrence. Beyond so many bytes of records in one job bodies are cut to what the
 * smallest record holds, and say so: the series' own record has it whole. */
#define RECORDS_BYTES ((size_t)64 * 1024 * 1024)

/* What is published of one series, for its own record. */
struct told {
    const struct cs_cal_item *item;
    bool is_out; /* its record was made */
};

struct publisher {
    struct cs_job_run *run;
    struct cs_calendar_run *c;
    const struct cs_job_part *part;
    struct cs_folder_ref calendar; /* id NULL: the default one, whose id is not at hand */
    struct told *told;
    size_t n_told;
    size_t cap_rows;
};

static void out_of_memory(struct publisher *p)
{
    cs_run_fail_code(p->run, CS_RETRY, CS_CODE_INTERNAL);
}

static bool is_row(const struct publisher *p, const char *id)
{
    for (size_t i = 0; i < p->run->job.n_rows; i++)
        if (strcmp(p->run->job.rows[i].id, id) == 0)
            return true;
    return false;
}

static void add_settled(struct publisher *p, const char *item_id)
{
    struct cs_feedback *f = cs_run_feedback(p->run);

    (void)cs_run_add_string(p->run, &f->settled, &f->n_settled, item_id);
}

static void add_removed(struct publisher *p, const char *id)
{
    struct cs_feedback *f = cs_run_feedback(p->run);

    if (f->n_removed < CS_FEEDBACK_ROWS_MAX)
        (void)cs_run_add_string(p->run, &f->removed, &f->n_removed, id);
}

static void add_row(struct publisher *p, const struct cs_event_facts *f,
                    const struct cs_record *rec)
{
    static const char types[] = {[CS_EVENT_SINGLE] = 's',
                                 [CS_EVENT_OCCURRENCE] = 'o',
                                 [CS_EVENT_EXCEPTION] = 'e',
                                 [CS_EVENT_MASTER] = 'm'};
    struct cs_feedback *fb = cs_run_feedback(p->run);
    struct cs_cal_row *row;

    if (fb->n_rows == p->cap_rows) {
        size_t cap = p->cap_rows > 0 ? p->cap_rows * 2 : 64;

        row = realloc(fb->rows, cap * sizeof(*row));
        if (row == NULL) {
            out_of_memory(p);
            return;
        }
        fb->rows = row;
        p->cap_rows = cap;
    }
    row = &fb->rows[fb->n_rows++];
    memset(row, 0, sizeof(*row));
    row->type = types[f->type];
    row->start_utc_ms = f->start_utc_ms != CS_NEVER ? f->start_utc_ms : p->part->from_utc_ms;
    row->end_utc_ms = f->end_utc_ms != CS_NEVER ? f->end_utc_ms : p->part->to_utc_ms;
    row->id = strdup(f->id);
    row->item_id = strdup(f->item_id);
    row->series = f->series_id[0] != '\0' ? strdup(f->series_id) : NULL;
    row->change_key = rec->change_key[0] != '\0' ? strdup(rec->change_key) : NULL;
    if (row->id == NULL || row->item_id == NULL ||
        (row->series == NULL && f->series_id[0] != '\0') ||
        (row->change_key == NULL && rec->change_key[0] != '\0'))
        out_of_memory(p);
}

static void context(const struct publisher *p, int64_t sent_ms, struct cs_record_ctx *ret)
{
    cs_run_context(p->run, sent_ms, ret);
    if (p->run->out->bytes > RECORDS_BYTES)
        ret->max_bytes = CS_RECORD_MIN_BYTES;
}

/* A deletion or departure; the row goes with it. */
static void publish_end(struct publisher *p, enum cs_kind kind, enum cs_change change,
                        const char *item_id, const char *graph_id, int64_t sent_ms)
{
    struct cs_record *rec = cs_run_record(p->run);
    struct cs_record_ctx ctx;

    if (rec == NULL)
        return;
    context(p, sent_ms, &ctx);
    if (cs_record_removed(&ctx, kind, change, item_id, graph_id, rec) < 0) {
        out_of_memory(p);
        return;
    }
    cs_run_record_added(p->run);
    add_settled(p, item_id);
}

/* ---- rows that were owed a look ------------------------------------------------------------------------- */

/* Is it outside because somebody moved it? What is out there would show it at its old time. */
static bool has_changed(const struct cs_cal_row *row, const struct cs_event_facts *f)
{
    if (f->type == CS_EVENT_MASTER)
        return row->change_key == NULL || strcmp(row->change_key, f->change_key) != 0;
    return f->start_utc_ms != row->start_utc_ms || f->end_utc_ms != row->end_utc_ms;
}

static void settle_row(struct publisher *p, size_t i)
{
    const struct cs_cal_row *row = &p->run->job.rows[i];
    struct cs_cal_item *item = cs_cal_find(p->c, row->id);
    const enum cs_kind kind = row->type == 'm' ? CS_KIND_SERIES : CS_KIND_EVENT;
    const struct cs_cal_found *found = &p->c->found[i];
    bool is_series, is_in;

    if (item == NULL || item->facts.is_removed || (item->incomplete && !item->gone))
        return; /* could not be read: it stays as it is */
    if (item->gone) {
        publish_end(p, kind, CS_DELETED, row->item_id, row->id, item->sent_ms);
        return;
    }
    is_series = item->facts.type == CS_EVENT_MASTER;
    is_in = item->reported ||
            (!found->is_elsewhere &&
             (is_series ? !found->is_empty : cs_cal_in_window(p->part, &item->facts)));
    item->wanted = is_in && !is_series;
    if (is_series != (row->type == 'm') || strcmp(item->facts.item_id, row->item_id) != 0)
        publish_end(p, kind, CS_DELETED, row->item_id, row->id,
                    item->sent_ms); /* the id means another thing now */
    else if (!is_in && (found->is_elsewhere || has_changed(row, &item->facts)))
        publish_end(p, kind, CS_LEFT_SCOPE, row->item_id, row->id, item->sent_ms);
    else if (!is_in)
        add_settled(p, row->item_id); /* the window went on, it did not: no news */
}

/* ---- events --------------------------------------------------------------------------------------------- */

/* What the filters hold back is taken back, where it may be out: not at the very beginning. */
static void hold_back(struct publisher *p, const struct cs_cal_item *item, enum cs_kind kind)
{
    if (p->part->mode == CS_MODE_LIVE || p->part->cursor != NULL || is_row(p, item->facts.id))
        publish_end(p, kind, CS_LEFT_SCOPE, item->facts.item_id, item->facts.id, item->sent_ms);
}

#define EDGE_MS INT64_C(172800000) /* all-day events are placed at the edges by zones of others */

/* Told as in the window, and read when it had been moved far out of it: its removal need not be told any more. */
static bool has_moved_away(const struct cs_job_part *part, const struct cs_event_facts *f)
{
    struct cs_job_part wide = {.from_utc_ms = part->from_utc_ms - EDGE_MS,
                               .to_utc_ms = part->to_utc_ms + EDGE_MS};

    return part->from_utc_ms != CS_NEVER && part->to_utc_ms != CS_NEVER &&
           !cs_cal_in_window(&wide, f);
}

/* @return true: published, or held back; false: it cannot be without its master, which is gone */
static bool publish_event(struct publisher *p, const struct cs_cal_item *item, bool *is_out)
{
    const struct cs_cal_item *master =
        item->facts.series_id[0] != '\0' ? cs_cal_find(p->c, item->facts.series_id) : NULL;
    struct cs_js series = {0};
    struct cs_record_ctx ctx;
    struct cs_record *rec;
    int r;

    *is_out = false;
    if (has_moved_away(p->part, &item->facts)) {
        hold_back(p, item, CS_KIND_EVENT);
        return true;
    }
    if (master != NULL && !master->gone && master->facts.type == CS_EVENT_MASTER)
        series = master->event;
    if (item->facts.is_stub && series.p == NULL) {
        if (master != NULL)
            return false;
        if (p->c->master_failed.code != CS_CODE_NONE) {
            struct cs_verdict why = p->c->master_failed;

            why.outcome = CS_RETRY; /* refused for good, they say; but its occurrences are there */
            cs_run_fail(p->run, &why);
        } else {
            cs_run_fail_code(p->run, CS_RETRY, CS_CODE_BAD_ANSWER);
        }
        return true;
    }
    rec = cs_run_record(p->run);
    if (rec == NULL)
        return true;
    context(p, item->sent_ms, &ctx);
    r = cs_event_record(&ctx, p->calendar.id != NULL ? &p->calendar : NULL, item->event, series,
                        CS_UPSERTED, rec);
    switch (r) {
    case 0:
        cs_run_record_added(p->run);
        add_row(p, &item->facts, &p->run->out->records[p->run->out->n_records - 1]);
        *is_out = true;
        break;
    case -EACCES: hold_back(p, item, CS_KIND_EVENT); break;
    case -EINVAL:
    case -ENODATA:
        cs_log_warn(p->run->jobs->p.log, "calendar.event_without_times",
                    CS_STR("job", p->run->job.job_id), CS_STR("event", item->facts.id));
        break;
    default: out_of_memory(p); break;
    }
    return true;
}

/* By the record's key; of one key the last sight comes last. */
static int compare_keys(const void *a, const void *b)
{
    const struct cs_cal_item *x = ((const struct told *)a)->item,
                             *y = ((const struct told *)b)->item;
    int d = strcmp(x->facts.item_id, y->facts.item_id);

    if (d != 0)
        return d;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void publish_events(struct publisher *p)
{
    size_t kept = 0;

    for (size_t i = 0; i < p->c->n; i++) {
        const struct cs_cal_item *item = &p->c->items[i];

        if (item->gone || item->facts.is_removed) {
            /* Told, and gone when read; or removed, and not among what this job has read. A first walk takes many jobs,
             * and what an earlier one told may be removed in a later one. */
            if (item->reported && !is_row(p, item->facts.id))
                add_removed(p, item->facts.id);
            continue;
        }
        if (item->facts.type == CS_EVENT_MASTER || (!item->reported && !item->wanted))
            continue;
        if (item->facts.item_id[0] == '\0') {
            cs_log_warn(p->run->jobs->p.log, "calendar.event_without_key",
                        CS_STR("job", p->run->job.job_id), CS_STR("event", item->facts.id));
            continue;
        }
        p->told[p->n_told++].item = item;
    }
    if (p->n_told > 0)
        qsort(p->told, p->n_told, sizeof(*p->told), compare_keys);
    for (size_t i = 0; i < p->n_told && !p->run->failed; i++) {
        const struct cs_cal_item *item = p->told[i].item;

        if (i + 1 < p->n_told &&
            strcmp(item->facts.item_id, p->told[i + 1].item->facts.item_id) == 0)
            continue; /* the same occurrence under two ids: one record of it */
        p->told[kept] = p->told[i];
        if (!publish_event(p, item, &p->told[kept].is_out))
            add_removed(
                p, item->facts.series_id); /* the series has just gone: its rows are owed a look */
        kept++;
    }
    p->n_told = kept;
}

/* ---- series --------------------------------------------------------------------------------------------- */

/* told is sorted by key, and an occurrence's key begins with its master's id. */
static size_t first_of_series(const struct publisher *p, const char *id)
{
    size_t lo = 0, hi = p->n_told, n = strlen(id);

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (strncmp(p->told[mid].item->facts.item_id, id, n) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void publish_series(struct publisher *p, const struct cs_cal_item *master)
{
    size_t first = first_of_series(p, master->facts.id), len = strlen(master->facts.id), n = 0,
           n_exceptions = 0;
    size_t max = 0;
    struct cs_series_exception *exceptions;
    struct cs_record_ctx ctx;
    struct cs_record *rec;
    const char **occurrences;
    int r;

    while (first + max < p->n_told &&
           strncmp(p->told[first + max].item->facts.item_id, master->facts.id, len) == 0)
        max++;
    occurrences = calloc(max + 1, sizeof(*occurrences));
    exceptions = calloc(max + 1, sizeof(*exceptions));
    rec = occurrences != NULL && exceptions != NULL ? cs_run_record(p->run) : NULL;
    if (rec == NULL) {
        out_of_memory(p);
        goto out;
    }
    for (size_t i = first; i < first + max; i++) {
        const struct cs_event_facts *f = &p->told[i].item->facts;

        if (!p->told[i].is_out || strcmp(f->series_id, master->facts.id) != 0)
            continue;
        occurrences[n++] = f->item_id;
        if (f->type == CS_EVENT_EXCEPTION)
            exceptions[n_exceptions++] = (struct cs_series_exception){
                .item_id = f->item_id,
                .original_start_utc_ms = f->original_start_utc_ms,
                .start_utc_ms = f->start_utc_ms,
                .end_utc_ms = f->end_utc_ms,
                .is_cancelled = f->is_cancelled,
            };
    }
    context(p, master->sent_ms, &ctx);
    r = cs_series_record(&ctx, p->calendar.id != NULL ? &p->calendar : NULL, master->event,
                         &(struct cs_series_parts){occurrences, n, exceptions, n_exceptions},
                         CS_UPSERTED, rec);
    if (r == 0) {
        cs_run_record_added(p->run);
        add_row(p, &master->facts, &p->run->out->records[p->run->out->n_records - 1]);
    } else if (r == -EACCES) {
        hold_back(p, master, CS_KIND_SERIES);
    } else {
        out_of_memory(p);
    }
    if (!p->run->failed) {
        struct cs_feedback *f = cs_run_feedback(p->run);

        (void)cs_run_add_string(p->run, &f->series_whole, &f->n_series_whole, master->facts.id);
    }
out:
    free(occurrences);
    free(exceptions);
}

enum cs_step cs_calendar_publish_step(struct cs_job_run *run)
{
    struct publisher p = {.run = run, .c = run->calendar, .part = &run->job.parts[0]};

    p.calendar.id = p.part->folder.id;
    cs_cal_settle(p.c);
    p.told = calloc(p.c->n + 1, sizeof(*p.told));
    if (p.told == NULL) {
        out_of_memory(&p);
        return CS_STEP_END;
    }
    for (size_t i = 0; i < run->job.n_rows && !run->failed; i++)
        settle_row(&p, i);
    if (!run->failed)
        publish_events(&p);
    for (size_t i = 0; i < p.c->n && !run->failed; i++) {
        const struct cs_cal_item *item = &p.c->items[i];

        if (item->reported && !item->gone && !item->facts.is_removed && !item->incomplete &&
            item->facts.type == CS_EVENT_MASTER)
            publish_series(&p, item);
    }
    free(p.told);
    return CS_STEP_END;
}
