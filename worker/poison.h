/* poison.h - which job kills its worker: the evidence, kept in the commit metadata of a partition. PURE.
 *
 * A worker keeps no state, so a job that kills it takes what was known of it along. What stays is what was committed before:
 *
 * - A partition is marked open before the first of its jobs starts, and closed when it is given back in order. Who finds it
 *   open knows that its owner died. After CS_POISON_DEATHS of them at the same first unfinished offset, what may have been
 *   under way (from there to the end of the topic as it is then, CS_POISON_WINDOW offsets at most) is suspect.
 * - A suspect runs alone in its worker, and only after its offset was committed as claimed. Whoever finds the partition open
 *   and a claim in it knows that the worker died while this job ran and nothing else did. After CS_POISON_CLAIMS of those in a
 *   row the job is not run again.
 *
 * So a rebalance, a stop in order, an idle partition count for nothing, and an operator's kill -9, a lost node or a neighbour
 * that takes all memory blames nobody, unless it strikes at the same first unfinished job twice, and then the same job
 * three more times while it is alone.
 *
 * The text stands behind the completion map: "!" open "," deaths "," until "," claimed "," claims, in hexadecimal, offsets plus
 * one so that none is 0.
 */
#ifndef CS_WORKER_POISON_H
#define CS_WORKER_POISON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

#define CS_POISON_DEATHS 2
#define CS_POISON_CLAIMS 3
#define CS_POISON_WINDOW 32
#define CS_POISON_TEXT   64 /* bytes that the text takes at most */

struct cs_poison {
    bool open;
    unsigned deaths; /* while open, since the first unfinished offset moved */
    int64_t until;   /* offsets below it are suspect; -1: none is */
    int64_t claimed; /* ran alone, or does; -1: none */
    unsigned claims; /* of that one, in a row */
    bool ours;       /* the last claim is of this assignment; not in the text */
};

/** From commit metadata. NULL, without evidence, or not understood: none. */
void cs_poison_parse(const char *metadata, struct cs_poison *ret);
/** Appends it, CS_POISON_TEXT bytes at most; nothing if there is nothing to say. */
void cs_poison_print(const struct cs_poison *p, struct cs_buf *out);

/**
 * The partition is ours from now on.
 * @param[in] committed  the first unfinished offset
 * @param[in] end        of the topic, as it is now
 * @return true if suspects were found only now, which is worth a line in the log
 */
bool cs_poison_assigned(struct cs_poison *p, int64_t committed, int64_t end);
/**
 * A commit.
 * @param[in] before, committed  the first unfinished offset, until now and from now on
 * @param[in] claimed_is_done    is the job that is claimed finished?
 */
void cs_poison_committed(struct cs_poison *p, int64_t before, int64_t committed,
                         bool claimed_is_done);
/** A job is about to start. */
void cs_poison_open(struct cs_poison *p);
/** A suspect is about to start, alone. */
void cs_poison_claim(struct cs_poison *p, int64_t offset);
/** The partition is given back in order: a claim of ours that is still there ended in no death. */
void cs_poison_close(struct cs_poison *p);

bool cs_poison_is_suspect(const struct cs_poison *p, int64_t offset);
/** Must it not be run again? */
bool cs_poison_is_guilty(const struct cs_poison *p, int64_t offset);

#endif
