/* replay_plan.h - which scopes a range of jobs stands for. PURE.
 *
 * Fed with the messages of the range: first jobs.v1, then feedback.v1 and records.v1 from the range's start on; then
 * cs_plan_finish(). A slice stands for itself; a job that published single mails stands for those that records.v1 carries
 * under its id, and where these are not all there any more, for the mailbox's mail to its depth; a calendar job for its
 * calendar. Listings, probes, audits, sends and earlier replays stand for nothing.
 */
#ifndef CS_PRODUCER_REPLAY_PLAN_H
#define CS_PRODUCER_REPLAY_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/command.h"
#include "common/kafka.h"
#include "producer/strmap.h"

struct cs_plan_filter {
    const char *tenant, *mailbox; /* NULL: all */
    bool mail, events;
};

/* What is to be done in one mailbox. */
struct cs_plan_box {
    char *tenant, *mailbox;
    struct cs_command_slice *slices; /* after finish(): disjoint, newest first */
    size_t n_slices, cap_slices;
    struct cs_strmap items; /* Graph id -> the id again */
    bool calendar;
    bool whole;       /* records are gone: all of its mail, from */
    int64_t depth_ms; /* here on; CS_NEVER: all */
};

struct cs_plan {
    struct cs_plan_filter filter;
    struct cs_strmap boxes;    /* tenant/mailbox -> struct cs_plan_box */
    struct cs_strmap jobs;     /* job id -> its numbers */
    int64_t first_ms, last_ms; /* of the jobs in the range; CS_NEVER and INT64_MIN: none */
    int64_t n_slice_jobs, n_item_jobs, n_calendar_jobs;
    int64_t n_gone; /* jobs whose records are not all there, or cannot be known to be */
    int64_t
        answered_before_ms; /* the caller's: a job of before this without feedback has lost it */
    int64_t n_unreadable;
    int64_t requests; /* that the slices and calendars took; an estimate of what they will take */
    /* after finish() */
    int64_t n_slices, n_items, n_calendars;
};

/** A job of the range. @return 0, -ENOMEM */
int cs_plan_job(struct cs_plan *p, const struct cs_kafka_msg *msg);
/** @return 0, -ENOMEM */
int cs_plan_feedback(struct cs_plan *p, const struct cs_kafka_msg *msg);
/** @return 0, -ENOMEM */
int cs_plan_record(struct cs_plan *p, const struct cs_kafka_msg *msg);
/** All is in. @return 0, -ENOMEM */
int cs_plan_finish(struct cs_plan *p);
void cs_plan_clear(struct cs_plan *p);
/** After finish(): this mailbox is left out. */
void cs_plan_drop(struct cs_plan *p, struct cs_plan_box *box);
/** Sorts slices newest first and joins those that touch or overlap. @return how many are left */
size_t cs_plan_join(struct cs_command_slice *slices, size_t n);

#endif
