/* slices.c - cutting the time of a mailbox into slices, and the steps of the first sync. PURE. */
#include <errno.h>
#include <stdlib.h>

#include "producer/decide.h"

#define DAY_MS     INT64_C(86400000)
#define FIRST_MS   (7 * DAY_MS)    /* shortest: the newest week */
#define LONGEST_MS (180 * DAY_MS)  /* so that enough slices are left to go side by side */
#define HORIZON_MS (3650 * DAY_MS) /* without a depth: how far back slices have two ends */

/* Mails in scope by the folders' counts, which include what is no mail. */
static int64_t count_mails(const struct cs_mailbox *m)
{
    int64_t n = 0;

    for (size_t i = 0; i < m->n_folders; i++)
        if (m->folders[i]->known && m->folders[i]->in_scope)
            n += m->folders[i]->total;
    return n;
}

/* Length of the newest slice so that n doubling ones cover the span. */
static int64_t first_length(int64_t span_ms, int64_t n)
{
    int64_t length = n > 20 ? FIRST_MS : span_ms / ((INT64_C(1) << n) - 1);

    return length < FIRST_MS ? FIRST_MS : length;
}

int cs_decide_slices(struct cs_mailbox *m, const struct cs_schedule_conf *c)
{
    bool all = m->depth_ms == INT64_MIN;
    int64_t span = all ? HORIZON_MS : m->first_seen_ms - m->depth_ms;
    int64_t wanted = count_mails(m) / (c->slice_items > 0 ? c->slice_items : 1) + 1;
    int64_t length = first_length(span > 0 ? span : 1, wanted);
    int64_t to = CS_NEVER; /* dates may lie in the future: the newest slice is open */
    int64_t edge = m->first_seen_ms;
    struct cs_box_slice *slices = calloc(CS_BOX_SLICES_MAX, sizeof(*slices));
    size_t n = 0;

    if (slices == NULL)
        return -ENOMEM;
    for (; n < CS_BOX_SLICES_MAX; n++) {
        int64_t end = all ? m->first_seen_ms - HORIZON_MS : m->depth_ms;
        bool last = wanted == 1 || edge - length <= end || n + 1 == CS_BOX_SLICES_MAX;
        int64_t from = last ? (all ? CS_NEVER : m->depth_ms) : edge - length;

        slices[n] = (struct cs_box_slice){.id = (int)n, .from_ms = from, .to_ms = to};
        if (last) {
            n++;
            break;
        }
        edge = to = from;
        length = length * 2 < LONGEST_MS ? length * 2 : length > LONGEST_MS ? length : LONGEST_MS;
    }
    for (size_t i = 0; i < m->n_slices; i++)
        free(m->slices[i].cursor);
    free(m->slices);
    m->slices = slices;
    m->n_slices = n;
    m->slices_dirty = true;
    return 0;
}

int cs_decide_advance(struct cs_mailbox *m, const struct cs_schedule_conf *c, int64_t now_ms)
{
    if (m->phase == CS_BOX_ANCHOR) {
        for (size_t i = 0; i < m->n_folders; i++)
            if (m->folders[i]->has_stream && (m->folders[i]->phase == CS_STREAM_ANCHOR ||
                                              m->folders[i]->phase == CS_STREAM_RESYNC_PENDING ||
                                              m->folders[i]->phase == CS_STREAM_GONE_PENDING))
                return 0;
        if (cs_decide_slices(m, c) < 0)
            return -ENOMEM;
        m->phase = CS_BOX_BACKFILL;
        m->dirty = true;
    }
    if (m->phase == CS_BOX_BACKFILL) {
        for (size_t i = 0; i < m->n_slices; i++)
            if (!m->slices[i].done)
                return 0;
        m->phase = CS_BOX_LIVE;
        m->slices_done_ms = now_ms;
        m->dirty = true;
        /* The proof of the backfill is owed: Graph need not mention an item that a slice saw and that
         * left before its folder's next round. Meanwhile the mailbox is live. */
        for (size_t i = 0; i < m->n_folders; i++) {
            struct cs_box_folder *f = m->folders[i];

            if (f->has_stream && (f->phase == CS_STREAM_LIVE || f->phase == CS_STREAM_FIRST)) {
                f->resync_owed = true;
                f->dirty = true;
            }
        }
    }
    return 0;
}
