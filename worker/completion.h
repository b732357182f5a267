/* completion.h - which jobs of a partition are finished, so that a slow one holds up nobody. PURE.
 *
 * Jobs of a partition finish in any order. What is committed is the first unfinished offset, and, in the
 * commit's metadata, the map of the finished ones above it; on assignment the map is read back and those are
 * skipped. Transaction markers leave gaps between offsets, so only delivered offsets are tracked; a run in
 * the map covers the gaps inside it.
 *
 * The map is text, "1" (its version) followed by runs: ";" gap "," length, both in hexadecimal, counted from
 * the committed offset. The broker refuses metadata over 4,096 bytes, whole transaction included, so the
 * intake stops pulling at CS_COMPLETION_MAP_FULL. What stands behind a "!" is another's (poison.h).
 */
#ifndef CS_WORKER_COMPLETION_H
#define CS_WORKER_COMPLETION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define CS_COMPLETION_MAP_FULL 3072 /* bytes; above it no new job is taken */
#define CS_COMPLETION_MAP_MAX \
    4000 /* bytes; never exceeded: finished jobs wait for the first unfinished one */

struct cs_completion;

/**
 * @param committed  the next offset to read, -1: nothing committed yet
 * @param map        commit metadata, NULL or "" for none. One that is not understood (another version, cut by a
 *                   tool) is taken as empty: its jobs are done again
 * @return 0, -ENOMEM
 */
int cs_completion_new(int64_t committed, const char *map, struct cs_completion **ret);
void cs_completion_free(struct cs_completion *c);

/**
 * A message came.
 * @return 0: do it; -EALREADY: it is finished or below what is committed, skip it; -EINPROGRESS: delivered
 *         before and not finished (a redelivery after a rebalance); -ENOMEM
 */
int cs_completion_deliver(struct cs_completion *c, int64_t offset);
/** Its job is finished and may be in the next commit; or, after a commit that failed, it is not after all.
 * Unknown offsets are ignored. */
void cs_completion_mark(struct cs_completion *c, int64_t offset, bool finished);
/**
 * What to commit for the marks as they are. Changes nothing: call cs_completion_settle() when it has been committed.
 * @param[out] map  appended; its failure is the buffer's. At most CS_COMPLETION_MAP_MAX bytes: what does not fit is
 *                  left out and would be done again after a restart
 * @return the first unfinished offset; -1 if nothing was ever delivered or committed
 */
int64_t cs_completion_commit(const struct cs_completion *c, struct cs_buf *map);
/** The last commit is durable. */
void cs_completion_settle(struct cs_completion *c);
/** The first unfinished offset as it was settled last, or read; -1: none */
int64_t cs_completion_committed(const struct cs_completion *c);
/** Is offset finished as far as this map knows? For looking up after a commit of unknown result. */
bool cs_completion_is_finished(const struct cs_completion *c, int64_t offset);
/** Bytes that the map would take now. */
size_t cs_completion_map_bytes(const struct cs_completion *c);
/**
 * Must no new job be taken? True at CS_COMPLETION_MAP_FULL, and before the jobs that are under way could, finishing in
 * the worst order, make the map longer than CS_COMPLETION_MAP_MAX: what did not fit would be done twice after a restart.
 * False while none is under way, since only the next one can make the map shorter.
 */
bool cs_completion_is_full(const struct cs_completion *c);
/** Delivered and not finished. */
size_t cs_completion_unfinished(const struct cs_completion *c);

#endif
