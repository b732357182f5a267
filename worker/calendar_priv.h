/* calendar_priv.h - what the calendar job has gathered, shared by its walk (job_calendar_delta.c) and its records
 * (calendar_publish.c). */
#ifndef CS_WORKER_CALENDAR_PRIV_H
#define CS_WORKER_CALENDAR_PRIV_H

#include "worker/event.h"
#include "worker/job_priv.h"

/* One event as this job saw it last. */
struct cs_cal_item {
    struct cs_js event; /* its bytes are kept by the run; {NULL,0} if removed or gone */
    struct cs_event_facts facts;
    unsigned order; /* of the request's sending */
    size_t seq;
    int64_t sent_ms;
    bool gone;       /* read by id: 404 */
    bool reported;   /* the walk told it */
    bool incomplete; /* the walk's entry is not enough for a record: read by id */
    bool
        wanted; /* to be published although the walk did not tell it: a row that was owed a look, and is there */
};

struct cs_cal_ask {
    char *id;   /* what is looked for */
    size_t row; /* of the job, where it is about one */
};

/* What is known of a row that is still there. */
struct cs_cal_found {
    bool is_empty;                /* a master without anything in the window */
    bool is_elsewhere;            /* in the window, but not in this calendar */
    char instance[CS_ID_MAX + 1]; /* a master: one of its instances in the window, and when */
    int64_t start_utc_ms, end_utc_ms;
};

struct cs_calendar_run {
    struct cs_cal_item *items; /* after cs_cal_settle(): one for each id, sorted by id */
    size_t n, cap;
    size_t entries; /* of the walk */
    unsigned page_size;
    uint64_t *links; /* cs_id_hash() of next links followed */
    size_t n_links;
    struct cs_cal_ask *asked; /* the reads under way, by member */
    size_t n_asked, cap_asked;
    struct cs_verdict master_failed; /* a master that could not be read, and why */
    struct cs_cal_found *found;      /* by job row */
};

/** Another sight. NULL: no memory, the run has failed. */
struct cs_cal_item *cs_cal_add(struct cs_job_run *run, const struct cs_reply *reply);
/** Of each id the last sight stays; reported and the like are joined. */
void cs_cal_settle(struct cs_calendar_run *c);
/** After cs_cal_settle(). NULL: not seen. */
struct cs_cal_item *cs_cal_find(const struct cs_calendar_run *c, const char *id);
/** Does it touch [from, to)? */
bool cs_cal_in_window(const struct cs_job_part *part, const struct cs_event_facts *f);

/* calendar_publish.c: records, rows, what vanished. A step. */
enum cs_step cs_calendar_publish_step(struct cs_job_run *run);

#endif
