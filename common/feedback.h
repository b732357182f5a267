/* feedback.h - what came of a job: a worker's message to the producer. PURE.
 *
 * Topic feedback.v1, key tenant/mailbox, schema schemas/feedback.v1.schema.json. Written in the
 * transaction that carries the job's records and its offset, so a job never vanishes.
 */
#ifndef CS_COMMON_FEEDBACK_H
#define CS_COMMON_FEEDBACK_H

#include "common/job.h"
#include "common/verdict.h"

#define CS_FEEDBACK_LEFT_MAX    1000
#define CS_FEEDBACK_FOLDERS_MAX 5000
#define CS_FEEDBACK_ROWS_MAX    5000

struct cs_counts {
    int64_t items;                               /* entries seen */
    int64_t upserts, moves, deletes, left_scope; /* records */
    int64_t pages, requests, bytes;              /* bytes: of answers, decoded */
    int64_t held[5]; /* messages held back: never_log, private, internal, automated, unknown */
    int64_t wait_ms; /* spent on Retry-After inside the job */
};

struct cs_fault {      /* an error without content */
    enum cs_code code; /* CS_CODE_NONE: none */
    enum cs_scope scope;
    int http_status;
    char service_code[CS_GRAPH_CODE_MAX];
    char request_id[CS_REQUEST_ID_MAX];
};

/* What a comparison with the index found; of an audit, and of a resync before it published. */
struct cs_compared {
    int64_t listed;  /* in the folder, as deep as the mailbox is synchronized */
    int64_t indexed; /* out there in the folder */
    int64_t missing; /* listed and not out there */
    int64_t stale;   /* out there in another version or folder */
    int64_t extra;   /* out there in the folder and not listed */
    uint64_t digest; /* of ids and versions listed, independent of their order */
};

struct cs_feedback_part {
    char *stream;
    int64_t generation;
    char *slice_id;
    enum cs_outcome outcome; /* done, more, retry, resync, reject */
    char *
        cursor; /* the next cursor (path and query; a slice: the time to go on from). For done and more; NULL: unchanged or none */
    uint64_t
        after; /* mail.resync and more: where the comparison goes on, as in the job; 0: nowhere */
    int64_t retry_after_ms; /* -1: none given */
    bool has_compared;      /* mail.resync */
    struct cs_compared compared;
    int64_t changes; /* entries in this part's listing: does it change or sleep? */
    struct cs_fault fault;
};

/* A folder of the tree as the folders job found it. */
struct cs_folder_found {
    char *id;
    char *parent_id;  /* NULL for a top folder (child of msgfolderroot) */
    char *name;       /* display name */
    char *well_known; /* NULL: none */
    bool hidden;
    bool search_folder;
    int64_t total; /* items, non-mail ones included */
    int64_t unread;
};

/* What became of a step of an outbox request. */
enum cs_send_state {
    CS_SENT_NOTHING,   /* "nothing": the step did nothing; the same again */
    CS_SENT_DRAFTED,   /* "drafted": there is a draft */
    CS_SENT_CLAIMED,   /* "claimed": not sent, and nobody else can have: send the version given */
    CS_SENT_UNCERTAIN, /* "uncertain": it may have gone; look after a while */
    CS_SENT_MISSING,   /* "missing": the draft is nowhere; look again after a while */
    CS_SENT_DONE,      /* "done": sent, refused or unknown: the record says which */
    CS_SENT_SWEPT,     /* "swept" */
};

struct cs_feedback_send {
    enum cs_send_state state;
    char *draft_id, *change_key, *message_id; /* drafted, claimed */
};

struct cs_feedback {
    char job_id[CS_UUID_TEXT];
    enum cs_job_type type;
    char tenant[CS_TENANT_MAX + 1];
    char mailbox[CS_MAILBOX_MAX + 1];
    enum cs_lane lane;
    int64_t attempt;
    enum cs_outcome
        outcome; /* the worst of the parts: reject, retry, resync, more, done in that order */
    int64_t retry_after_ms; /* -1: none */
    struct cs_fault fault;  /* of the whole job (token, mailbox); parts have their own */
    struct cs_feedback_part *parts;
    size_t n_parts;
    struct cs_counts counts;

    bool has_folders; /* folders: the tree is complete */
    struct cs_folder_found *folders;
    size_t n_folders;

    struct cs_look *left; /* looks owed to these items */
    size_t n_left;

    /* calendar.delta */
    struct cs_cal_row *rows; /* rows now out there: add or replace by item_id */
    size_t n_rows;
    char *
        *series_whole; /* masters whose occurrences in the window are all among rows: other rows of
                            these series have vanished and are owed a look */
    size_t n_series_whole;
    char **removed; /* Graph ids reported as removed: those with a row are owed a look */
    size_t n_removed;
    char **settled; /* item_ids of job.rows that are no longer out there: drop the row */
    size_t n_settled;

    struct cs_feedback_send send; /* mail.send */

    int64_t started_utc_ms;
    int64_t finished_utc_ms;
};

void cs_feedback_clear(struct cs_feedback *f);
/** As cs_job_parse(). */
int cs_feedback_parse(const char *p, size_t n, struct cs_feedback *ret, const char **reason);
void cs_feedback_print(const struct cs_feedback *f, struct cs_buf *out);

#endif
