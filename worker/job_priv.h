/* job_priv.h - what the engine (job_run.c) and the job types (job_*.c) share. */
#ifndef CS_WORKER_JOB_PRIV_H
#define CS_WORKER_JOB_PRIV_H

#include "worker/email.h"
#include "worker/graph_page.h"
#include "worker/graph_url.h"
#include "worker/index_scan.h"
#include "worker/filter.h"
#include "worker/job_run.h"
#include "worker/look.h"

struct cs_job_run;
struct cs_call;

/* An answer, as a job type sees it. */
struct cs_reply {
    bool ok;                   /* 2xx and strict JSON: page is open */
    struct cs_verdict verdict; /* of a failure that the engine will not try again */
    struct cs_page page;
    char *body; /* freed after the callback unless cs_run_keep() has taken it */
    size_t len;
    int64_t sent_ms;
    unsigned order; /* of sending, unique in the job: the higher was sent last */
};
typedef void (*cs_reply_fn)(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply);

struct cs_call {
    struct cs_call *next;
    struct cs_job_run *run;
    struct cs_http_request *request; /* NULL while it waits */
    char *path;                      /* path and query */
    char *
        url; /* elsewhere than Graph: no token, no slot of the mailbox, none of Graph's headers; else NULL */
    char *range;        /* a header line of such a call; NULL: none */
    size_t body_len;    /* of such a call; a body for Graph is text */
    char *body;         /* NULL: none */
    const char *method; /* static; NULL: GET without a body, POST with one */
    char *if_match;     /* version that a write is for; NULL: any */
    bool
        writes; /* sent again by the engine only after an answer that says that it was not carried out */
    unsigned slots;
    unsigned page_size; /* Prefer: odata.maxpagesize; 0: none */
    bool want_text;     /* Prefer: outlook.body-content-type="text" */
    bool want_utc;      /* Prefer: outlook.timezone="UTC" */
    enum cs_asked asked;
    cs_reply_fn fn;
    size_t index; /* the job type's: a part, a chunk */
    void *user;   /* the job type's */
    unsigned tries;
    bool fresh_token_tried;
    unsigned order;
    int64_t sent_ms;
    int64_t not_before_ms;
};

enum cs_step { CS_STEP_NEXT, CS_STEP_AGAIN, CS_STEP_END };
struct cs_job_step {
    const char *name;
    enum cs_step (*fn)(struct cs_job_run *run);
};

/* A folder's walk, a slice's list, a calendar's round. */
struct cs_part_run {
    char *cursor; /* where to go on; the job's at first */
    enum cs_outcome outcome;
    struct cs_verdict why;
    bool ended;
    size_t pages;
    int64_t changes;
    char *last_link;    /* the same twice is a loop */
    unsigned page_size; /* slices: adapts */
    /* resyncs */
    struct cs_compared compared;
    bool overflow; /* more differences than one job may leave: it goes on behind run->told_to */
    /* slices: walking down by key */
    int64_t seen_down_to_ms; /* received time of the last item of the page before; CS_NEVER: none */
    bool below;              /* that moment is done with: go on strictly below it */
    bool advanced;           /* the cursor this job would leave is another than it came with */
    bool dense;              /* inside one moment with more items than a page */
    size_t fresh;            /* dense: items that this walk brought and no other before */
    unsigned walks;          /* dense: begun */
    char *after; /* of that moment what comes after this id, the rest is done; NULL: all of it */
    uint64_t *known; /* dense: hashes of what was seen, a table with open addresses; 0: free */
    size_t n_known, cap_known;
};

enum cs_obs_kind { CS_OBS_ITEM, CS_OBS_REMOVED, CS_OBS_GONE };
#define CS_SRC_READ (-1)
#define CS_SRC_LIST (-2)

/* What a comparison knows of an item. */
enum cs_out_there {
    CS_OUT_UNKNOWN, /* there was no comparison, or it is not out there */
    CS_OUT_SOME,    /* some version of it */
    CS_OUT_SAME,    /* this version, and there is no need to say it again */
};

/* One observation of an item. */
struct cs_obs {
    struct cs_envelope env; /* env.id is set for every kind */
    enum cs_obs_kind kind;
    unsigned order; /* of the request's sending */
    size_t seq;     /* of being added */
    int64_t sent_ms;
    int source; /* part index of a folder's walk, CS_SRC_READ, CS_SRC_LIST */
    bool told;  /* the walk publishes */
    enum cs_out_there out_there;
    struct cs_js item;        /* full message, or {0} */
    struct cs_js attachments; /* array, or {0} */
};

/* All observations of one item, found by cs_run_group(). */
struct cs_item_view {
    struct cs_obs *first; /* n of them, by order of sending */
    size_t n;
    struct cs_obs *last; /* the deciding one: an item or a 404; NULL: only removals */
    bool told, removed;
    int removed_source;
};

typedef void (*cs_member_fn)(struct cs_job_run *run, size_t member, int status, struct cs_js body,
                             const struct cs_verdict *why, struct cs_reply *reply);
struct cs_read_list { /* what to read; paths behind /v1.0 */
    char **paths;
    size_t n, cap;
    enum cs_asked asked;
    bool want_text, want_utc;
    cs_member_fn fn; /* once for each member; why is NULL on success */
};

struct cs_job_run {
    struct cs_job_run *next;
    struct cs_jobs *jobs;
    struct cs_job job;
    void *tag;
    struct cs_tenant_set *set;
    const struct cs_tenant *tenant;
    char key[CS_TENANT_MAX + CS_MAILBOX_MAX + 2];
    struct cs_map *map;
    const struct cs_job_step *steps;
    size_t step;
    bool step_started, again;
    bool finished, cancelled;
    bool failed; /* why is the whole job's */
    struct cs_verdict why;
    struct cs_verdict
        held; /* the mailbox is to wait, and what was read counts; no code: it is not */
    int64_t held_until_ms;

    struct cs_call *calls; /* waiting and open */
    size_t n_calls;
    unsigned orders;
    char **bodies;
    size_t n_bodies, cap_bodies;
    size_t bytes; /* kept */
    int64_t deadline_ms;
    int64_t started_ms;

    struct cs_part_run *parts;
    struct cs_obs *obs;
    size_t n_obs, cap_obs;
    char **failed_reads; /* ids whose read failed: handed back */
    size_t n_failed_reads, cap_failed_reads;
    struct cs_calendar_run *calendar; /* job_calendar_delta.c */
    struct cs_index_ask *index_ask;   /* job_mail_resync.c */
    struct cs_index_table *index;
    uint64_t told_to; /* differences with greater hashes are not this job's; 0: all are */
    bool (*waits)(struct cs_job_run *run); /* NULL: the step waits for calls only */
    struct cs_send_run *send;              /* job_mail_send.c */
    struct cs_read_list reads;             /* one step's at a time */
    size_t *read_obs;                      /* attachments: which observation a member belongs to */
    struct cs_job_output *out;
};

struct cs_jobs {
    struct cs_jobs_params p;
    struct cs_index_scan *index;
    int32_t n_partitions;
    struct cs_tenant_set *tenants;
    struct cs_job_run *runs;
    size_t n_runs;
    int64_t next_ms;
    int64_t swept_ms;
    uint64_t random;
    struct cs_metric *waits_ms, *retries;
    struct cs_metric *held[CS_HELD_COUNT_]; /* messages, by reason */
};

/* ---- for job types ---------------------------------------------------------------------------------- */

/** A call; path is taken (NULL: no memory, the job fails). Set more fields before returning to the loop. NULL: failed. */
struct cs_call *cs_run_call(struct cs_job_run *run, char *path, enum cs_asked asked, cs_reply_fn fn,
                            size_t index);
/** The whole job ends with this verdict; no records. The first one counts. */
void cs_run_fail(struct cs_job_run *run, const struct cs_verdict *why);
/** The service wants the mailbox to wait longer than a job does: no failure, what has been read counts. The feedback
 * says for how long; what was not read the job type leaves (cs_run_leave()). */
void cs_run_held(struct cs_job_run *run, const struct cs_verdict *why);
void cs_run_fail_code(struct cs_job_run *run, enum cs_outcome outcome, enum cs_code code);
/** Ends a part. A failure of the mailbox or wider ends the job. */
void cs_part_end(struct cs_job_run *run, size_t i, enum cs_outcome outcome,
                 const struct cs_verdict *why);
/** Keeps the reply's bytes until the job ends. Only in its callback. 0, -ENOMEM (the job has failed) */
int cs_run_keep(struct cs_job_run *run, struct cs_reply *reply);
/** May another page be asked for? */
bool cs_run_has_room(const struct cs_job_run *run, const struct cs_part_run *part);
/** Observation added; borrowed until the next one. NULL: no memory, the job has failed. */
struct cs_obs *cs_run_observe(struct cs_job_run *run, const char *id, enum cs_obs_kind kind,
                              int source, const struct cs_reply *reply);
/** Sorts the observations by item. Walk the views with *i starting at 0. A walk's later word replaces its earlier. */
void cs_run_group(struct cs_job_run *run);
bool cs_run_next_view(struct cs_job_run *run, size_t *i, struct cs_item_view *ret);
/** Left for a later look. */
void cs_run_leave(struct cs_job_run *run, const char *id, enum cs_why why, enum cs_seen seen,
                  const char *folder, const char *change_key, const char *from_folder);
/** Next free record; NULL: no memory, the job has failed. Call cs_run_record_added() when it has been filled. */
struct cs_record *cs_run_record(struct cs_job_run *run);
void cs_run_record_added(struct cs_job_run *run);
void cs_run_context(const struct cs_job_run *run, int64_t sent_ms, struct cs_record_ctx *ret);
/** "/v1.0/users/<mailbox>" plus the formatted rest; NULL: no memory. */
char *cs_run_path(const struct cs_job_run *run, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/** Room for a page's entries? Each may be owed a look, and a feedback holds CS_FEEDBACK_LEFT_MAX of them. */
bool cs_run_takes(const struct cs_job_run *run, struct cs_js entries);
/**
 * Follows a link of an answer: the part's new cursor. False: refused or a loop (the part has been ended).
 * @param is_next  a next link; a delta link may be the one that was asked
 */
bool cs_part_follow(struct cs_job_run *run, size_t i, struct cs_js link, bool is_next);
struct cs_feedback *cs_run_feedback(struct cs_job_run *run);
/** Adds a copy to a list of strings of the feedback. 0, -ENOMEM (the job has failed) */
int cs_run_add_string(struct cs_job_run *run, char ***list, size_t *n, const char *s);

/* batch.c: reads by id, 20 a request */

int cs_read_add(struct cs_read_list *list, char *path /* taken */);
void cs_read_clear(struct cs_read_list *list);
/** Starts the batches. list must live until all calls have been answered. */
void cs_read_start(struct cs_job_run *run, struct cs_read_list *list);

/* the types' tables */
extern const struct cs_job_step cs_job_folders_steps[];
extern const struct cs_job_step cs_job_mail_delta_steps[];
extern const struct cs_job_step cs_job_mail_slice_steps[];
extern const struct cs_job_step cs_job_mail_items_steps[];
extern const struct cs_job_step cs_job_calendar_delta_steps[];
extern const struct cs_job_step cs_job_probe_steps[];
extern const struct cs_job_step cs_job_mail_send_steps[];

/* job_mail.c: what the mail types share, as steps */
enum cs_step cs_mail_sieve_step(struct cs_job_run *run);
enum cs_step cs_mail_read_step(struct cs_job_run *run); /* full messages of what is told or left */
enum cs_step
cs_mail_attachments_step(struct cs_job_run *run); /* attachment lists of what will be published */
enum cs_step cs_mail_publish_step(struct cs_job_run *run); /* records and looks */
/** Will a look at this item of a list be owed, although the list told all of it? */
bool cs_mail_is_unsettled(const struct cs_job_run *run, const struct cs_obs *o);
extern const char cs_mail_select_envelope[];
extern const char cs_mail_select_full[];
extern const char cs_mail_select_list[];
extern const char cs_mail_select_people[]; /* what the filters need to know first */

/* job_mail_delta.c */
enum cs_step cs_mail_walk_step(struct cs_job_run *run);

/* job_mail_resync.c */
extern const struct cs_job_step cs_job_mail_resync_steps[];
/** A walk lists an item: is it to be told? (mail.resync) What is not out there since the filters hold it back is as it
 * should be; what is out there and they hold back is not. */
bool cs_resync_differs(struct cs_job_run *run, size_t part, const struct cs_envelope *env,
                       struct cs_js item, enum cs_out_there *out_there);

/* job_mail_send.c */
void cs_send_run_free(struct cs_send_run *s);

/* job_calendar_delta.c */
void cs_calendar_run_free(struct cs_calendar_run *c);

#endif
