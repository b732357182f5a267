/* watch.h - says when the mock cluster has dropped records.
 *
 * A thread of its own asks for each log's start with one ListOffsets request per broker and turn.
 */
#ifndef DEVBROKER_WATCH_H
#define DEVBROKER_WATCH_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stdint.h>

struct watch;

/** Called from the watcher's thread, once for each move. */
typedef void (*watch_fn)(void *user, const char *topic, int32_t partition, int64_t low);

/** Starts the thread. rk is borrowed until watch_stop(). @return 0 or -errno */
int watch_start(rd_kafka_t *rk, int interval_ms, watch_fn on_move, void *user, struct watch **ret);
/** Adds a topic; thread-safe. w NULL: nothing happens. */
void watch_add(struct watch *w, const char *topic, int partitions);
/** Ends the thread and frees w. @return false: it is stuck in a request and w is not freed; the caller
 * must leave the process without destroying rk. */
bool watch_stop(struct watch *w);

#endif
