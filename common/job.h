/* job.h - one unit of work for one mailbox, published by the producer, done by a worker. PURE.
 *
 * Topic jobs.v1, key tenant/mailbox, schema schemas/job.v1.schema.json. A job says everything that a
 * worker needs besides the tenant's configuration, so that workers keep no state.
 */
#ifndef CS_COMMON_JOB_H
#define CS_COMMON_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/key.h"
#include "common/uuid.h"

enum cs_job_type {
    CS_JOB_FOLDERS,        /* "folders": the folder tree afresh */
    CS_JOB_MAIL_DELTA,     /* "mail.delta": some folders, each with its cursor */
    CS_JOB_MAIL_SLICE,     /* "mail.slice": time slices over the mailbox; also the preview page */
    CS_JOB_MAIL_ITEMS,     /* "mail.items": items by id: second looks, left-overs */
    CS_JOB_CALENDAR_DELTA, /* "calendar.delta": one calendar, one window */
    CS_JOB_PROBE,          /* "probe": can this mailbox be read? */
    CS_JOB_MAIL_SEND,      /* "mail.send": one step of an outbox request */
    CS_JOB_MAIL_RESYNC,    /* "mail.resync": some folders, each compared with what is out there */
    CS_JOB_TYPE_COUNT_
};

enum cs_lane {
    CS_LANE_SEND,
    CS_LANE_LIVE,
    CS_LANE_BACKFILL,
    CS_LANE_REPLAY,
    CS_LANE_AUDIT,
    CS_LANE_COUNT_
};

/* How a part is walked. */
enum cs_mode {
    CS_MODE_NONE = 0,
    CS_MODE_ANCHOR, /* "anchor": to the end of the delta, publishing nothing */
    CS_MODE_FIRST, /* "first": a first walk that publishes (a folder that appeared late, a calendar) */
    CS_MODE_LIVE,   /* "live": what changed since the cursor */
    CS_MODE_SLICE,  /* "slice": list a time window */
    CS_MODE_RESYNC, /* "resync": walk the folder anew and publish what differs from the index */
    CS_MODE_GONE, /* "gone": the folder is gone or out of scope: resolve what the index has in it */
    CS_MODE_AUDIT,   /* "audit": the comparison, reported and not published */
    CS_MODE_PREVIEW, /* "preview": one page of the newest mail, so that a person sees something */
};

#define CS_JOB_PARTS_MAX   32
#define CS_JOB_ITEMS_MAX   200
#define CS_JOB_FOLDERS_MAX 5000
#define CS_JOB_ROWS_MAX    2000
#define CS_CURSOR_MAX      16384
#define CS_PATH_MAX        2048 /* bytes of a folder's path */
#define CS_WELL_KNOWN_MAX  64

/* A folder as jobs and feedback name it. Strings are owned by the message that holds the struct. */
struct cs_folder {
    char *id;
    char *path;       /* display names from the top, '/' between; NULL: unknown */
    char *well_known; /* NULL: none */
};

/* Why an item is read by id. */
enum cs_why {
    CS_WHY_LOOK,     /* "look": the second look that a removal or a surprise is owed */
    CS_WHY_LEFTOVER, /* "leftover": its read failed in an earlier job; publish what is there */
};

/* What the look before saw; the same again settles a second look. */
enum cs_seen {
    CS_SEEN_NOTHING,  /* "nothing": there was none (left-over) */
    CS_SEEN_GONE,     /* "gone": 404 */
    CS_SEEN_EXCLUDED, /* "excluded": in a folder out of scope */
    CS_SEEN_UNKNOWN,  /* "unknown": in a folder not in the map */
    CS_SEEN_AT,       /* "at": in `folder` with `change_key` */
};

/* An item that is owed a look: in a job's items, in feedback's left, in the producer's state. */
struct cs_look {
    char *id;
    enum cs_why why;
    enum cs_seen seen;
    char *folder;      /* CS_SEEN_AT: its folder id then; else NULL */
    char *change_key;  /* CS_SEEN_AT: its version then; else NULL */
    char *from_folder; /* the folder that it was reported to have left; NULL: none */
};

struct cs_job_part {
    char *stream; /* "mail:<folder id>", "slices", "cal:<calendar id>" */
    int64_t generation;
    enum cs_mode mode;
    struct cs_folder
        folder;     /* mail.delta; id NULL elsewhere. For a calendar id is the calendar's */
    char *cursor;   /* path and query under the mailbox, "/v1.0/users/..."; NULL: from the start.
                                For a slice: the receivedDateTime (RFC 3339) to go on from, downwards.
                                For mail.resync, with after: what the first walk of this comparison ended with */
    uint64_t after; /* mail.resync: only what has a greater hash, cs_index_id_hash(); 0: all */
    int64_t from_utc_ms; /* window [from, to); CS_NEVER: open at that end */
    int64_t to_utc_ms;
    char *slice_id; /* slices: which one; NULL elsewhere */
};

/* One row of a calendar's table: what is out there. */
struct cs_cal_row {
    char *id;         /* Graph id */
    char *item_id;    /* last part of the record's key */
    char *series;     /* master's id; NULL for a single instance or a master */
    char *change_key; /* version published; NULL if none came */
    char type;        /* 's' single instance, 'o' occurrence, 'e' exception, 'm' master */
    int64_t start_utc_ms;
    int64_t end_utc_ms;
};

/* A request is sent in two committed steps, so that a death between any two instructions sends nothing twice. */
enum cs_send_step {
    CS_SEND_DRAFT, /* "draft": makes the draft and ends with its id */
    CS_SEND_SEND,  /* "send": claims the draft's version and sends it */
    CS_SEND_LOOK,  /* "look": a send is of unknown result, and some time has passed: did it go? */
    CS_SEND_SWEEP, /* "sweep": removes drafts that a death left behind */
};

#define CS_SEND_KEEP_MAX 1000

#define CS_SEND_REFUSE_MAX 31

struct cs_job_send {
    enum cs_send_step step;
    char request_id[65];                 /* "" for a sweep */
    char *request;                       /* draft: the outbox message, JSON as it came */
    char refuse[CS_SEND_REFUSE_MAX + 1]; /* draft: why it is to be refused unread; "": it is not */
    char *draft_id;                      /* send, look */
    char *change_key;                    /* send: the version that may be sent */
    char *message_id;                    /* send, look: Message-ID of the draft */
    int64_t looks;                       /* look: how many there have been */
    bool expired; /* send, look: too late to send it; removed if it is a draft yet */
    char **keep;  /* sweep: request ids whose drafts are needed yet */
    size_t n_keep;
};

struct cs_job {
    char job_id[CS_UUID_TEXT];
    enum cs_job_type type;
    char tenant[CS_TENANT_MAX + 1];
    char mailbox[CS_MAILBOX_MAX + 1];
    enum cs_lane lane;
    int64_t attempt; /* 1, 2, ... */
    char *reason;    /* short code for people: "poll", "backfill", "second_look" */
    int64_t created_utc_ms;
    int64_t not_after_utc_ms; /* CS_NEVER: none */
    int64_t depth_utc_ms;     /* mail older than this is not published; INT64_MIN: all */
    int64_t
        anchored_utc_ms; /* mail.slice: when the folders' anchors began; CS_NEVER: unknown. What changed since is
                                 owed a look: it may leave again before its folder's first round, unmentioned */

    struct cs_job_part *parts;
    size_t n_parts;
    struct cs_look *items; /* mail.items */
    size_t n_items;
    /* The folder map. In: in scope, and for slices only those that have a token. Out: known and
     * excluded. What is in neither is unknown. */
    struct cs_folder
        *folders; /* mail.slice, mail.items, mail.delta: those in scope. path may be NULL */
    size_t n_folders;
    uint64_t *folders_out; /* cs_id_hash() of the excluded ones */
    size_t n_folders_out;
    struct cs_cal_row *
        rows; /* calendar.delta: rows to settle by reading their id (removed, or vanished from their series) */
    size_t n_rows;
    struct cs_job_send *send; /* mail.send; else NULL */
};

void cs_job_clear(struct cs_job *job); /* frees what it holds; a zeroed struct is fine */
/**
 * @param[out] ret     zeroed and filled; to be cleared by the caller on success only
 * @param[out] reason  static text: what is wrong ("parts[].stream: missing"); written on -EINVAL, -EBADMSG
 * @return 0, -EBADMSG (not strict JSON), -EINVAL (missing or ill-typed field, a bound), -ENOMEM
 */
int cs_job_parse(const char *p, size_t n, struct cs_job *ret, const char **reason);
/** Appends the JSON text. Failures are the buffer's. */
void cs_job_print(const struct cs_job *job, struct cs_buf *out);

/* Parts of messages that feedback and the producer's state have too. */
struct cs_jw;
void cs_look_clear(struct cs_look *look);
int cs_look_parse(const void *json_val, struct cs_look *ret, const char **reason);
void cs_look_print(const struct cs_look *look, struct cs_jw *jw);
int cs_look_copy(const struct cs_look *look, struct cs_look *ret);
void cs_cal_row_clear(struct cs_cal_row *row);
int cs_cal_row_parse(const void *json_val, struct cs_cal_row *ret, const char **reason);
void cs_cal_row_print(const struct cs_cal_row *row, struct cs_jw *jw);
int cs_cal_row_copy(const struct cs_cal_row *row, struct cs_cal_row *ret);
void cs_folder_clear(struct cs_folder *f);
int cs_folder_copy(const struct cs_folder *f, struct cs_folder *ret);

const char *cs_job_type_name(enum cs_job_type t);
int cs_job_type_parse(const char *s, enum cs_job_type *ret);
const char *cs_lane_name(enum cs_lane l);
int cs_lane_parse(const char *s, enum cs_lane *ret);
const char *cs_mode_name(enum cs_mode m);
int cs_mode_parse(const char *s, enum cs_mode *ret);

#endif
