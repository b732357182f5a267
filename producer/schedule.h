/* schedule.h - which mailbox's job goes out next. PURE.
 *
 * The jobs topic stays shallow: at most `places` jobs of a partition are outstanding, a quarter of
 * them (at least one) kept for send and live. When a place frees, the highest lane goes first; inside
 * a lane tenants take turns; inside a tenant the most overdue goes first. What is not due waits in one
 * timer structure. Every operation is O(log n).
 *
 * An entry is in one of four places: idle (nothing known to be due), waiting for its time, ready
 * (due, waits for a place), out (its job is outstanding). Not thread-safe.
 */
#ifndef CS_PRODUCER_SCHEDULE_H
#define CS_PRODUCER_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/job.h"
#include "common/timers.h"

struct cs_schedule;
struct cs_sched_queue;

enum cs_sched_place { CS_SCHED_IDLE = 0, CS_SCHED_WAITING, CS_SCHED_READY, CS_SCHED_OUT };

/* Embedded in a mailbox; zeroed, then tenant and partition set before first use. */
struct cs_sched_entry {
    struct cs_timer wake;  /* asks again at this time; also beside READY */
    struct cs_timer ready; /* key in its queue: since when it is due */
    struct cs_sched_queue *queue;
    uint32_t tenant; /* small number of the tenant, from 0 */
    int32_t partition;
    enum cs_sched_place place;
    enum cs_lane lane; /* READY, OUT */
    bool of_sends;     /* of the mailbox's sends (sends.h), which run beside its sync jobs */
};

/** @param[in] partitions count of the topics @return 0, -ENOMEM */
int cs_schedule_new(int32_t partitions, struct cs_schedule **ret);
/** Entries must have been removed. */
void cs_schedule_free(struct cs_schedule *s);
void cs_schedule_set_places(struct cs_schedule *s, unsigned per_partition);

/** Nothing is due before wake_ms (CS_NEVER: idle). @return 0, -ENOMEM (then as it was) */
int cs_schedule_wait(struct cs_schedule *s, struct cs_sched_entry *e, int64_t wake_ms);
/**
 * Due since due_ms in this lane; wake_ms: when to ask again though no place came (CS_NEVER: never).
 * @return 0, -ENOMEM (then as it was)
 */
int cs_schedule_ready(struct cs_schedule *s, struct cs_sched_entry *e, enum cs_lane lane,
                      int64_t due_ms, int64_t wake_ms);
/** Its job goes out: takes a place of the partition. Also for a restored job that is out already. */
void cs_schedule_out(struct cs_schedule *s, struct cs_sched_entry *e, enum cs_lane lane);
/** The job came back (or was given up): the place is free, the entry idle. */
void cs_schedule_back(struct cs_schedule *s, struct cs_sched_entry *e);
/** Forgets the entry, wherever it is. */
void cs_schedule_remove(struct cs_schedule *s, struct cs_sched_entry *e);

/** An entry whose time has come; it is idle then (a READY one stays ready). NULL: none. */
struct cs_sched_entry *cs_schedule_next_due(struct cs_schedule *s, int64_t now_ms);
/** When the next time comes; CS_NEVER: none. */
int64_t cs_schedule_next_ms(const struct cs_schedule *s);
/**
 * A ready entry of a partition that has a free place for its lane; it is taken out of its queue and
 * idle. The caller calls cs_schedule_out(), _wait() or _ready() for it. NULL: none in any partition.
 */
struct cs_sched_entry *cs_schedule_next_ready(struct cs_schedule *s);

size_t cs_schedule_count_ready(const struct cs_schedule *s, enum cs_lane lane);
size_t cs_schedule_count_out(const struct cs_schedule *s, enum cs_lane lane);
unsigned cs_schedule_count_partition(const struct cs_schedule *s, int32_t partition);

#endif
