/* calendar.c - the window of a calendar and the table of what of it is out there. PURE. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "producer/mailbox.h"
#include "producer/strmap.h"

#define DAY_MS INT64_C(86400000)

static int64_t midnight(int64_t now_ms)
{
    int64_t rest = now_ms % DAY_MS;

    return now_ms - (rest < 0 ? rest + DAY_MS : rest);
}

void cs_calendar_open_window(struct cs_box_calendar *cal, const struct cs_tenant *conf,
                             int64_t now_ms)
{
    int64_t today = midnight(now_ms);

    cal->from_ms = today - conf->calendar_past_days * DAY_MS;
    cal->to_ms = today + (conf->calendar_future_days + 1) * DAY_MS;
}

bool cs_calendar_must_roll(const struct cs_box_calendar *cal, const struct cs_tenant *conf,
                           int64_t now_ms)
{
    /* a twelfth of the days ahead, so that a new walk comes about monthly for a year's window */
    int64_t slack = conf->calendar_future_days / 12;

    if (slack < 1)
        slack = 1;
    if (slack > 30)
        slack = 30;
    return midnight(now_ms) + (conf->calendar_future_days + 1) * DAY_MS - cal->to_ms >
           slack * DAY_MS;
}

void cs_calendar_roll(struct cs_box_calendar *cal, const struct cs_tenant *conf, int64_t now_ms)
{
    size_t kept = 0;

    cs_calendar_open_window(cal, conf, now_ms);
    cal->generation++;
    free(cal->cursor);
    cal->cursor = NULL;
    cal->phase = CS_STREAM_FIRST;
    cal->round_start_ms = CS_TIME_NONE;
    for (size_t i = 0; i < cal->n_rows; i++) {
        struct cs_box_row *row = &cal->rows[i];

        /* a master has the window of its series, which may begin years ago: it is kept and asked */
        if (row->row.type != 'm' &&
            (row->row.end_utc_ms <= cal->from_ms || row->row.start_utc_ms >= cal->to_ms)) {
            cs_cal_row_clear(&row->row); /* it slid out of the window: no deletion */
            continue;
        }
        if (row->state == CS_ROW_OUT)
            row->state = CS_ROW_UNCONFIRMED;
        cal->rows[kept++] = *row;
    }
    cal->n_rows = kept;
    cal->dirty = true;
    cal->table_dirty = true;
}

size_t cs_calendar_count_owed(const struct cs_box_calendar *cal)
{
    size_t n = 0;

    for (size_t i = 0; i < cal->n_rows; i++)
        n += cal->rows[i].state == CS_ROW_OWED;
    return n;
}

int cs_calendar_add_row(struct cs_box_calendar *cal, const struct cs_cal_row *row,
                        enum cs_row_state state)
{
    struct cs_cal_row copy;

    if (cal->n_rows >= CS_BOX_ROWS_MAX)
        return -E2BIG;
    if (cal->n_rows == cal->cap_rows) {
        size_t cap = cal->cap_rows == 0 ? 32 : cal->cap_rows * 2;
        struct cs_box_row *rows = realloc(cal->rows, cap * sizeof(*rows));

        if (rows == NULL)
            return -ENOMEM;
        cal->rows = rows;
        cal->cap_rows = cap;
    }
    if (cs_cal_row_copy(row, &copy) < 0)
        return -ENOMEM;
    cal->rows[cal->n_rows++] = (struct cs_box_row){copy, state};
    return 0;
}

/* What a feedback names, looked up by name: calendars may have thousands of rows. */
struct named {
    struct cs_strmap rows; /* item_id of the table -> its place + 1 */
    struct cs_strmap told, settled, removed, whole;
};

static void named_clear(struct named *x)
{
    cs_strmap_clear(&x->rows);
    cs_strmap_clear(&x->told);
    cs_strmap_clear(&x->settled);
    cs_strmap_clear(&x->removed);
    cs_strmap_clear(&x->whole);
}

static int name(struct cs_strmap *map, const char *s, size_t place)
{
    void *old;

    return cs_strmap_put(map, s, strlen(s), (void *)(uintptr_t)(place + 1), &old);
}

static int name_all(struct cs_strmap *map, char *const *list, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++)
        r = name(map, list[i], i);
    return r;
}

static int name_feedback(struct named *x, const struct cs_feedback *f)
{
    int r = name_all(&x->settled, f->settled, f->n_settled);

    if (r == 0)
        r = name_all(&x->removed, f->removed, f->n_removed);
    if (r == 0)
        r = name_all(&x->whole, f->series_whole, f->n_series_whole);
    for (size_t i = 0; i < f->n_rows && r == 0; i++)
        r = name(&x->told, f->rows[i].item_id, i);
    return r;
}

static bool has(const struct cs_strmap *map, const char *s)
{
    return s != NULL && cs_strmap_get(map, s, strlen(s)) != NULL;
}

static void drop_settled(struct cs_box_calendar *cal, const struct named *x)
{
    size_t kept = 0;

    if (x->settled.n == 0)
        return;
    for (size_t i = 0; i < cal->n_rows; i++) {
        const char *id = cal->rows[i].row.item_id;

        if (has(&x->settled, id) && !has(&x->told, id)) {
            cs_cal_row_clear(&cal->rows[i].row);
            cal->table_dirty = true;
        } else {
            cal->rows[kept++] = cal->rows[i];
        }
    }
    cal->n_rows = kept;
}

static int take_rows(struct cs_box_calendar *cal, const struct cs_feedback *f, struct named *x)
{
    for (size_t i = 0; i < cal->n_rows; i++)
        if (name(&x->rows, cal->rows[i].row.item_id, i) < 0)
            return -ENOMEM;
    for (size_t i = 0; i < f->n_rows; i++) {
        const char *id = f->rows[i].item_id;
        size_t place = (size_t)(uintptr_t)cs_strmap_get(&x->rows, id, strlen(id));
        struct cs_box_row *old;
        struct cs_cal_row copy;
        int r;

        cal->table_dirty = true;
        if (place == 0) {
            r = cs_calendar_add_row(cal, &f->rows[i], CS_ROW_OUT);
            if (r == 0)
                r = name(&x->rows, id, cal->n_rows - 1);
            if (r < 0)
                return r;
            continue;
        }
        if (cs_cal_row_copy(&f->rows[i], &copy) < 0)
            return -ENOMEM;
        old = &cal->rows[place - 1];
        cs_cal_row_clear(&old->row);
        old->row = copy;
        old->state = CS_ROW_OUT;
    }
    return 0;
}

int cs_calendar_apply(struct cs_box_calendar *cal, const struct cs_feedback *f, size_t carried,
                      bool walk_done)
{
    struct named x = {0};
    int r = name_feedback(&x, f);

    if (r < 0)
        goto out;
    /* first the answers to what the job carried: they are older than what its walk told after */
    for (size_t i = 0; i < cal->n_rows && carried > 0; i++)
        if (cal->rows[i].state == CS_ROW_OWED) {
            cal->rows[i].state = CS_ROW_OUT; /* read: neither gone nor settled means still there */
            cal->table_dirty = true;
            carried--;
        }
    drop_settled(cal, &x);
    r = take_rows(cal, f, &x);
    if (r < 0)
        goto out;
    for (size_t i = 0; i < cal->n_rows; i++) {
        struct cs_box_row *row = &cal->rows[i];
        bool series_went = has(&x.removed, row->row.series);
        bool vanished = has(&x.whole, row->row.series) && row->state != CS_ROW_OWED &&
                        !has(&x.told, row->row.item_id);

        if (!vanished && !series_went && !has(&x.removed, row->row.id) &&
            !(walk_done && row->state == CS_ROW_UNCONFIRMED))
            continue;
        row->state = CS_ROW_OWED;
        cal->table_dirty = true;
    }
out:
    named_clear(&x);
    return r;
}
