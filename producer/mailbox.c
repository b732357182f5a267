#include "producer/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/message.h"
#include "producer/orders.h"
#include "producer/sends.h"

#define DAY_MS INT64_C(86400000)

const char *const cs_box_phase_names[CS_BOX_PHASE_COUNT_] = {
    [CS_BOX_NEW] = "new",           [CS_BOX_PREVIEW] = "preview", [CS_BOX_ANCHOR] = "anchor",
    [CS_BOX_BACKFILL] = "backfill", [CS_BOX_LIVE] = "live",
};
const char *const cs_stream_phase_names[CS_STREAM_PHASE_COUNT_] = {
    [CS_STREAM_ANCHOR] = "anchor",
    [CS_STREAM_FIRST] = "first",
    [CS_STREAM_LIVE] = "live",
    [CS_STREAM_RESYNC_PENDING] = "resync_pending",
    [CS_STREAM_GONE_PENDING] = "gone_pending",
};
const char *const cs_box_state_names[CS_STATE_COUNT_] = {
    [CS_STATE_NEW] = "new",
    [CS_STATE_BACKFILL] = "backfill",
    [CS_STATE_ON_TIME] = "on_time",
    [CS_STATE_ON_TRACK] = "on_track",
    [CS_STATE_DELAYED] = "delayed",
    [CS_STATE_ERROR] = "error",
    [CS_STATE_NEEDS_ADMIN] = "needs_admin",
    [CS_STATE_PAUSED] = "paused",
};

int cs_mailbox_new(const char *tenant, const char *name, int32_t partition, struct cs_mailbox **ret)
{
    struct cs_mailbox *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return -ENOMEM;
    m->tenant = strdup(tenant);
    m->name = strdup(name);
    if (m->tenant == NULL || m->name == NULL) {
        cs_mailbox_free(m);
        return -ENOMEM;
    }
    m->partition = partition;
    m->phase = CS_BOX_NEW;
    m->first_seen_ms = CS_TIME_NONE;
    m->depth_ms = INT64_MIN;
    m->anchored_ms = CS_NEVER;
    m->last_listing_ms = CS_TIME_NONE;
    m->retry_ms = CS_TIME_NONE;
    m->last_success_ms = CS_TIME_NONE;
    m->last_change_ms = CS_TIME_NONE;
    m->slices_done_ms = CS_TIME_NONE;
    m->yield_until_ms = CS_TIME_NONE;
    m->status_written_ms = CS_TIME_NONE;
    m->state_since_ms = CS_TIME_NONE;
    m->next_run_ms = CS_NEVER;
    m->cal.phase = CS_STREAM_FIRST;
    m->cal.round_start_ms = CS_TIME_NONE;
    m->cal.last_poll_ms = CS_TIME_NONE;
    m->cal.retry_ms = CS_TIME_NONE;
    *ret = m;
    return 0;
}

void cs_folder_free(struct cs_box_folder *f)
{
    if (f == NULL)
        return;
    free(f->id);
    free(f->path);
    free(f->well_known);
    free(f->cursor);
    free(f->compare_cursor);
    free(f);
}

void cs_mailbox_free(struct cs_mailbox *m)
{
    if (m == NULL)
        return;
    cs_sends_free(m->sends);
    cs_orders_free(m);
    for (size_t i = 0; i < m->n_folders; i++)
        cs_folder_free(m->folders[i]);
    free(m->folders);
    for (size_t i = 0; i < m->n_slices; i++)
        free(m->slices[i].cursor);
    free(m->slices);
    for (size_t e = 0; e < m->n_look_entries; e++) {
        for (size_t i = 0; i < m->looks[e].n; i++)
            cs_look_clear(&m->looks[e].at[i].look);
        free(m->looks[e].at);
    }
    free(m->looks);
    for (size_t i = 0; i < m->cal.n_rows; i++)
        cs_cal_row_clear(&m->cal.rows[i].row);
    free(m->cal.rows);
    free(m->cal.cursor);
    free(m->inflight);
    for (size_t i = 0; i < m->n_asked_ids; i++)
        free(m->asked_ids[i]);
    free(m->asked_ids);
    free(m->tenant);
    free(m->name);
    free(m);
}

void cs_mailbox_configure(struct cs_mailbox *m, const struct cs_tenant *conf, int64_t now_ms)
{
    m->conf = conf;
    if (conf == NULL)
        return;
    if (m->first_seen_ms == CS_TIME_NONE) {
        m->first_seen_ms = now_ms;
        m->depth_ms = conf->backfill_days < 0 ? INT64_MIN : now_ms - conf->backfill_days * DAY_MS;
        m->dirty = true;
    }
    if (m->cal.generation == 0) {
        m->cal.generation = 1;
        cs_calendar_open_window(&m->cal, conf, now_ms);
        m->cal.dirty = true;
    }
}

/* Index of the first folder whose hash is not below. */
static size_t folder_place(const struct cs_mailbox *m, uint64_t hash)
{
    size_t lo = 0, hi = m->n_folders;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (m->folders[mid]->hash < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct cs_box_folder *cs_mailbox_find_folder(const struct cs_mailbox *m, uint64_t hash)
{
    size_t i = folder_place(m, hash);

    return i < m->n_folders && m->folders[i]->hash == hash ? m->folders[i] : NULL;
}

int cs_mailbox_add_folder(struct cs_mailbox *m, const char *id, struct cs_box_folder **ret)
{
    uint64_t hash = cs_id_hash(id);
    size_t i = folder_place(m, hash);
    struct cs_box_folder *f;

    if (i < m->n_folders && m->folders[i]->hash == hash) {
        *ret = m->folders[i];
        return 0;
    }
    if (m->n_folders == m->cap_folders) {
        size_t cap = m->cap_folders == 0 ? 16 : m->cap_folders * 2;
        struct cs_box_folder **folders = realloc(m->folders, cap * sizeof(*folders));

        if (folders == NULL)
            return -ENOMEM;
        m->folders = folders;
        m->cap_folders = cap;
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL || (f->id = strdup(id)) == NULL) {
        free(f);
        return -ENOMEM;
    }
    f->hash = hash;
    f->round_start_ms = CS_TIME_NONE;
    f->last_round_ms = CS_TIME_NONE;
    f->last_poll_ms = CS_TIME_NONE;
    f->retry_ms = CS_TIME_NONE;
    f->compared_ms = CS_TIME_NONE;
    memmove(&m->folders[i + 1], &m->folders[i],
            (m->n_folders - i) * sizeof(struct cs_box_folder *));
    m->folders[i] = f;
    m->n_folders++;
    *ret = f;
    return 0;
}

void cs_folder_forget_comparison(struct cs_box_folder *f)
{
    free(f->compare_cursor);
    f->compare_cursor = NULL;
    f->compare_after = 0;
}

int cs_mailbox_set_cursor(char **cursor, const char *value)
{
    char *copy;

    if (cs_msg_dup(value, &copy) < 0)
        return -ENOMEM;
    free(*cursor);
    *cursor = copy;
    return 0;
}

/* --- looks ------------------------------------------------------------------------------------- */

static uint32_t look_hash(const char *id)
{
    uint32_t h = 2166136261u; /* FNV-1a: only saves comparisons */

    for (; *id != '\0'; id++)
        h = (h ^ (unsigned char)*id) * 16777619u;
    return h;
}

struct cs_box_look *cs_mailbox_next_look(const struct cs_mailbox *m, size_t *entry, size_t *i)
{
    while (*entry < m->n_look_entries) {
        if (*i < m->looks[*entry].n)
            return &m->looks[*entry].at[(*i)++];
        (*entry)++;
        *i = 0;
    }
    return NULL;
}

size_t cs_mailbox_count_looks(const struct cs_mailbox *m)
{
    size_t n = 0;

    for (size_t e = 0; e < m->n_look_entries; e++)
        n += m->looks[e].n;
    return n;
}

static struct cs_box_look *find_look(const struct cs_mailbox *m, const char *id,
                                     struct cs_box_looks **entry)
{
    uint32_t hash = look_hash(id);

    for (size_t e = 0; e < m->n_look_entries; e++)
        for (size_t i = 0; i < m->looks[e].n; i++)
            if (m->looks[e].at[i].hash == hash && strcmp(m->looks[e].at[i].look.id, id) == 0) {
                *entry = &m->looks[e];
                return &m->looks[e].at[i];
            }
    return NULL;
}

int cs_mailbox_look_entry(struct cs_mailbox *m, size_t number, size_t n, struct cs_box_looks **ret)
{
    struct cs_box_looks *entry;

    if (number >= m->n_look_entries) {
        struct cs_box_looks *looks = realloc(m->looks, (number + 1) * sizeof(*m->looks));

        if (looks == NULL)
            return -ENOMEM;
        memset(&looks[m->n_look_entries], 0, (number + 1 - m->n_look_entries) * sizeof(*looks));
        m->looks = looks;
        m->n_look_entries = number + 1;
    }
    entry = &m->looks[number];
    if (entry->n + n > entry->cap) {
        size_t cap = entry->cap * 2 > entry->n + n ? entry->cap * 2 : entry->n + n;
        struct cs_box_look *at = realloc(entry->at, cap * sizeof(*at));

        if (at == NULL)
            return -ENOMEM;
        entry->at = at;
        entry->cap = cap;
    }
    *ret = entry;
    return 0;
}

void cs_mailbox_put_look(struct cs_box_looks *entry, struct cs_look *look, int64_t owed_ms)
{
    entry->at[entry->n++] =
        (struct cs_box_look){.look = *look, .owed_ms = owed_ms, .hash = look_hash(look->id)};
    memset(look, 0, sizeof(*look));
}

void cs_mailbox_ask(struct cs_mailbox *m, const char *id)
{
    struct cs_box_looks *entry;
    struct cs_box_look *look = find_look(m, id, &entry);

    if (look != NULL)
        look->asked = true;
}

int cs_mailbox_owe(struct cs_mailbox *m, const struct cs_look *look, int64_t now_ms)
{
    struct cs_box_looks *entry = NULL;
    struct cs_box_look *old = find_look(m, look->id, &entry);
    struct cs_look copy;
    size_t number = 0;

    if (old == NULL && cs_mailbox_count_looks(m) >= CS_BOX_LOOKS_MAX)
        return -E2BIG;
    /* A left-over was told and never published: its folder will not tell it again. A second look would
     * settle it silently, so the left-over stays what is owed (and is followed by a look of its own). */
    if (old != NULL && old->look.why == CS_WHY_LEFTOVER && look->why == CS_WHY_LOOK)
        return 0;
    if (cs_look_copy(look, &copy) < 0)
        return -ENOMEM;
    if (old != NULL) {
        cs_look_clear(&old->look);
        *old = (struct cs_box_look){.look = copy, .owed_ms = now_ms, .hash = old->hash};
        entry->dirty = true;
        return 0;
    }
    /* the first entry with room, so that few exist */
    while (number < m->n_look_entries && m->looks[number].n >= CS_BOX_LOOKS_ENTRY)
        number++;
    if (cs_mailbox_look_entry(m, number, 1, &entry) < 0) {
        cs_look_clear(&copy);
        return -ENOMEM;
    }
    cs_mailbox_put_look(entry, &copy, now_ms);
    entry->dirty = true;
    return 0;
}

void cs_mailbox_drop_asked(struct cs_mailbox *m)
{
    for (size_t e = 0; e < m->n_look_entries; e++) {
        struct cs_box_looks *entry = &m->looks[e];
        size_t kept = 0;

        for (size_t i = 0; i < entry->n; i++) {
            if (entry->at[i].asked)
                cs_look_clear(&entry->at[i].look);
            else
                entry->at[kept++] = entry->at[i];
        }
        if (kept != entry->n)
            entry->dirty = true;
        entry->n = kept;
    }
}

void cs_mailbox_unask(struct cs_mailbox *m)
{
    struct cs_box_look *look;
    size_t e = 0, i = 0;

    while ((look = cs_mailbox_next_look(m, &e, &i)) != NULL)
        look->asked = false;
}

/* --- summaries --------------------------------------------------------------------------------- */

size_t cs_mailbox_count_resync_owed(const struct cs_mailbox *m)
{
    size_t n = m->cal.phase == CS_STREAM_RESYNC_PENDING;

    for (size_t i = 0; i < m->n_folders; i++) {
        const struct cs_box_folder *f = m->folders[i];

        if (f->has_stream && (f->resync_owed || f->phase == CS_STREAM_RESYNC_PENDING ||
                              f->phase == CS_STREAM_GONE_PENDING))
            n++;
    }
    return n;
}

/* How far down one slice is, in percent of its length. Open ends are taken as long as the rest is
 * short: a start for a bar, not a promise. */
static int slice_percent(const struct cs_mailbox *m, const struct cs_box_slice *s)
{
    int64_t to = s->to_ms == CS_NEVER ? m->first_seen_ms : s->to_ms;
    int64_t from = s->from_ms == CS_NEVER ? to - 3650 * DAY_MS : s->from_ms;
    int64_t at;

    if (s->done)
        return 100;
    if (s->cursor == NULL || to <= from || cs_time_parse(s->cursor, strlen(s->cursor), &at) < 0 ||
        at >= to)
        return 0;
    return at <= from ? 99 : (int)((to - at) * 99 / (to - from));
}

int cs_mailbox_backfill_percent(const struct cs_mailbox *m)
{
    int64_t sum = 0;

    if (m->phase == CS_BOX_LIVE)
        return 100;
    if (m->phase != CS_BOX_BACKFILL || m->n_slices == 0)
        return 0;
    for (size_t i = 0; i < m->n_slices; i++)
        sum += slice_percent(m, &m->slices[i]);
    return (int)(sum / (int64_t)m->n_slices);
}
