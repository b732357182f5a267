/* unit.h - what a finished job leaves, as messages in the order in which they must become durable.
 *
 * A unit belongs to one message of the jobs topic: its offset is committed together with what the unit holds. It is
 * built by the loop and handed to the checkpoint (checkpoint.h) as a whole.
 */
#ifndef CS_WORKER_UNIT_H
#define CS_WORKER_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dlq.h"
#include "common/feedback.h"
#include "common/kafka.h"
#include "worker/record.h"

/* A message to be written. Owns its strings; Kafka reads them where they are. */
struct cs_outbound {
    enum cs_topic topic;
    char *key; /* NULL: none */
    size_t key_len;
    char *value; /* NULL: a tombstone */
    size_t value_len;
    const char *ce_type; /* static */
    char ce_id[65];
};

enum cs_stage { /* order of writing where there are no transactions; a flush lies between */
                CS_STAGE_CLAIM, /* index entries without a version: whatever is in doubt later differs from them */
                CS_STAGE_RECORDS,  /* records */
                CS_STAGE_INDEX,    /* full index entries */
                CS_STAGE_FEEDBACK, /* feedback and dead letters, last before the offset */
                CS_STAGE_COUNT_
};

/* What is said in the partition's commit metadata about a job that is about to start, or about none any more: poison.h. */
enum cs_mark { CS_MARK_NONE = 0, CS_MARK_OPEN, CS_MARK_CLAIM, CS_MARK_CLOSE };

struct cs_unit {
    int32_t partition;
    int64_t offset;
    enum cs_mark
        mark; /* other than NONE: no job has finished, there are no messages, and the offset does not move */
    uint64_t epoch;           /* cs_checkpoint_epoch() when the message was taken */
    char trace[CS_UUID_TEXT]; /* job id, for traceparent; "" if there is none */
    struct cs_outbound *messages[CS_STAGE_COUNT_];
    size_t n[CS_STAGE_COUNT_];
    size_t bytes; /* of keys and values */
    void *user;   /* the owner's */

    /* set when it comes back from the checkpoint */
    bool committed;
    bool refused;         /* not committed: the broker will never take one of its messages */
    struct cs_unit *next; /* the checkpoint's */
};

/** An empty unit for the message at this place. @return NULL: no memory */
struct cs_unit *cs_unit_new(int32_t partition, int64_t offset);
/** One that only marks. @return NULL: no memory */
struct cs_unit *cs_unit_new_mark(int32_t partition, int64_t offset, enum cs_mark mark);
/** Frees the unit and its messages; user is not touched. */
void cs_unit_free(struct cs_unit *u);

/**
 * Records with their index entries.
 *
 * @param[in] records   n of them; keys and values are moved out, what is left is still to be cleared. On failure
 *                      some may have been moved already
 * @param[in] claim     without transactions: index entries without a version go first (upserts only)
 * @return 0, -ENOMEM
 */
int cs_unit_add_records(struct cs_unit *u, struct cs_record *records, size_t n, bool claim);
/** @return 0, -ENOMEM; -EMSGSIZE: the feedback is longer than a message may be */
int cs_unit_add_feedback(struct cs_unit *u, const struct cs_feedback *f);
/** key: of the original, key_len bytes, NULL if it had none. @return 0, -ENOMEM */
int cs_unit_add_dead_letter(struct cs_unit *u, const struct cs_dlq *d, const char *key,
                            size_t key_len);
/** Drops all messages, to begin again. */
void cs_unit_clear(struct cs_unit *u);

#endif
