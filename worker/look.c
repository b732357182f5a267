#include "worker/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct cs_map {
    const struct cs_folder **in; /* sorted by id */
    size_t n_in;
    uint64_t *out; /* sorted */
    size_t n_out;
};

static int compare_folders(const void *a, const void *b)
{
    const struct cs_folder *x, *y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return strcmp(x->id, y->id);
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

int cs_map_new(const struct cs_job *job, struct cs_map **ret)
{
    struct cs_map *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return -ENOMEM;
    m->in = calloc(job->n_folders + job->n_parts + 1, sizeof(*m->in));
    m->out = calloc(job->n_folders_out + 1, sizeof(*m->out));
    if (m->in == NULL || m->out == NULL) {
        cs_map_free(m);
        return -ENOMEM;
    }
    for (size_t i = 0; i < job->n_folders; i++)
        m->in[m->n_in++] = &job->folders[i];
    qsort(m->in, m->n_in, sizeof(*m->in), compare_folders);
    for (size_t i = 0; i < job->n_folders_out; i++)
        m->out[m->n_out++] = job->folders_out[i];
    qsort(m->out, m->n_out, sizeof(*m->out), compare_hashes);
    *ret = m;
    return 0;
}

void cs_map_free(struct cs_map *m)
{
    if (m == NULL)
        return;
    free(m->in);
    free(m->out);
    free(m);
}

const struct cs_folder *cs_map_folder(const struct cs_map *m, const char *folder_id)
{
    size_t lo = 0, hi = m->n_in;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(m->in[mid]->id, folder_id);

        if (c == 0)
            return m->in[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

enum cs_place cs_map_place(const struct cs_map *m, const char *folder_id)
{
    uint64_t hash;

    if (cs_map_folder(m, folder_id) != NULL)
        return CS_PLACE_IN;
    hash = cs_id_hash(folder_id);
    return bsearch(&hash, m->out, m->n_out, sizeof(*m->out), compare_hashes) != NULL
               ? CS_PLACE_OUT
               : CS_PLACE_UNKNOWN;
}

static bool same_as_asked(const struct cs_sight *s)
{
    const struct cs_look *asked = s->asked;

    return asked->seen == CS_SEEN_AT && asked->folder != NULL &&
           strcmp(asked->folder, s->folder) == 0 &&
           (asked->change_key == NULL || s->change_key == NULL ||
            strcmp(asked->change_key, s->change_key) == 0);
}

static void look_again(struct cs_ruling *ret, enum cs_seen seen)
{
    ret->look_again = true;
    ret->seen = seen;
}

static void decide_gone(const struct cs_sight *s, struct cs_ruling *ret)
{
    /* one 404 proves nothing: an item in transit has it for a moment */
    if (s->asked != NULL && s->asked->seen == CS_SEEN_GONE)
        ret->act = CS_ACT_DELETED;
    else if (s->asked != NULL || s->removed || s->told)
        look_again(ret, CS_SEEN_GONE);
}

void cs_look_decide(const struct cs_sight *s, struct cs_ruling *ret)
{
    const bool look = s->asked != NULL && s->asked->why == CS_WHY_LOOK;

    memset(ret, 0, sizeof(*ret));
    if (s->gone) {
        decide_gone(s, ret);
        return;
    }
    if (s->too_old)
        return;
    switch (s->place) {
    case CS_PLACE_UNKNOWN:
        /* the first walk of that folder will publish it; only who was told that it left must make sure */
        if (s->removed || s->asked != NULL)
            look_again(ret, CS_SEEN_UNKNOWN);
        return;
    case CS_PLACE_OUT:
        if (!s->removed && s->asked == NULL)
            return;
        if (look && s->asked->seen == CS_SEEN_EXCLUDED)
            return; /* the same answer settles it */
        ret->act = CS_ACT_LEFT_SCOPE;
        look_again(ret, CS_SEEN_EXCLUDED);
        return;
    case CS_PLACE_IN: break;
    }
    if (s->told) {
        ret->act = s->removed && s->removed_from != NULL && strcmp(s->removed_from, s->folder) != 0
                       ? CS_ACT_MOVED
                       : CS_ACT_UPSERT;
        /* told by one folder, found in another that did not tell it: that one may never report it */
        if (s->is_slice ? s->unsettled : !s->told_by_folder)
            look_again(ret, CS_SEEN_AT);
        return;
    }
    if (s->asked != NULL && s->asked->why == CS_WHY_LEFTOVER) {
        ret->act = CS_ACT_UPSERT; /* its read failed when it was told */
        look_again(ret, CS_SEEN_AT);
        return;
    }
    if (look) {
        if (!same_as_asked(s))
            look_again(ret, CS_SEEN_AT);
        return; /* in scope: the delta of that folder speaks */
    }
    if (s->removed)
        look_again(ret, CS_SEEN_AT);
}
