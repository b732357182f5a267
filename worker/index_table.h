/* index_table.h - what is out there of one mailbox's mail, as index.v1 says it. PURE.
 *
 * Filled from the messages of a partition in offset order (the last of a key counts, null takes it out), then compared with
 * what a folder's walk lists. 70 to 150 bytes an item and its id: a million with ids of 148 characters took 244 MB.
 * Bounded by CS_INDEX_ENTRIES_MAX.
 */
#ifndef CS_WORKER_INDEX_TABLE_H
#define CS_WORKER_INDEX_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CS_INDEX_ENTRIES_MAX 4000000

struct cs_index_table;

/** @param[in] tenant, mailbox  whose: entries of others are passed over. @return 0, -ENOMEM */
int cs_index_table_new(const char *tenant, const char *mailbox, struct cs_index_table **ret);
void cs_index_table_free(struct cs_index_table *t);
/**
 * One message of index.v1.
 * @param[in] value  NULL: the item is gone
 * @return 0 (also for what concerns others, and for what cannot be read: it counts as an item without a version);
 *         -ENOMEM; -E2BIG (more than CS_INDEX_ENTRIES_MAX)
 */
int cs_index_table_put(struct cs_index_table *t, const char *key, size_t key_len, const char *value,
                       size_t len);
size_t cs_index_table_count(const struct cs_index_table *t);

enum cs_index_match {
    CS_INDEX_SAME,     /* out there, in this version and folder */
    CS_INDEX_ABSENT,   /* not out there */
    CS_INDEX_OTHER,    /* another version or none, or in another folder */
    CS_INDEX_HELD,     /* held back in this version and folder, by a rule that is on */
    CS_INDEX_UNJUDGED, /* the same, but a rule is on that it has not passed */
};
/**
 * A walk of a folder lists an item; remembered as listed by it.
 * @param rules  CS_DEEP_... (filter.h) that are on
 */
enum cs_index_match cs_index_table_list(struct cs_index_table *t, const char *id,
                                        const char *change_key, const char *folder, int walk,
                                        unsigned rules);
/** Items out there, or held back, in this folder that this walk did not list. *i starts at 0; NULL at the end; borrowed. */
const char *cs_index_table_next_missing(const struct cs_index_table *t, const char *folder,
                                        int walk, size_t *i);
/** How many items are out there in this folder; what is held back is not. */
size_t cs_index_table_count_folder(const struct cs_index_table *t, const char *folder);
/** Of an id, never 0: the order in which a comparison of several jobs goes through what differs. */
uint64_t cs_index_id_hash(const char *id);
/** Order-independent digest of an id and its version; digests of many are combined by XOR. */
uint64_t cs_index_digest(const char *id, const char *change_key);

#endif
