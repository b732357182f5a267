/* look.h - what a job has seen of an item, and what follows from it. PURE.
 *
 * A folder's delta says "left this folder"; a list says "is here now"; a read by id says where the item is. In a job the
 * look whose request was sent last wins, whatever order the answers came in. From it, and from what was told of the item
 * by whom, follows one record at most and one look at most that is still owed.
 */
#ifndef CS_WORKER_LOOK_H
#define CS_WORKER_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/job.h"

/* Where a folder stands for this job. */
enum cs_place {
    CS_PLACE_IN,      /* in the job's map: in scope */
    CS_PLACE_OUT,     /* known and excluded */
    CS_PLACE_UNKNOWN, /* in neither list: its first walk will speak */
};

struct cs_map; /* the job's folder map with an index */
int cs_map_new(const struct cs_job *job, struct cs_map **ret); /* job is borrowed; 0, -ENOMEM */
void cs_map_free(struct cs_map *m);
enum cs_place cs_map_place(const struct cs_map *m, const char *folder_id);
/** NULL unless it is in scope. */
const struct cs_folder *cs_map_folder(const struct cs_map *m, const char *folder_id);

/* The item as the winning look saw it, and what the job was told. */
struct cs_sight {
    bool gone;           /* 404 */
    enum cs_place place; /* of its folder; not looked at when gone */
    const char *folder;  /* its folder id; not looked at when gone */
    const char *change_key;
    bool too_old; /* below the job's depth */
    bool told;    /* a walk that publishes, or a list, showed it */
    bool
        told_by_folder; /* ... and the one that showed it is the walk of the folder that it is in now */
    bool removed;       /* a live walk said that it left the walked folder */
    const char *removed_from;
    bool is_slice; /* the job is a slice or preview: lists know no folder of their own */
    bool
        unsettled; /* a list showed it, and no anchor had: it may be gone before its folder's delta can say so */
    const struct cs_look *asked; /* mail.items: why it is looked at; else NULL */
};

enum cs_act {
    CS_ACT_NOTHING,
    CS_ACT_UPSERT,
    CS_ACT_MOVED, /* complete, from removed_from */
    CS_ACT_DELETED,
    CS_ACT_LEFT_SCOPE,
};

struct cs_ruling {
    enum cs_act act;
    bool look_again; /* owed a look, with what was seen now: */
    enum cs_seen seen;
};

void cs_look_decide(const struct cs_sight *s, struct cs_ruling *ret);

#endif
