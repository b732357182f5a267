/* mailbox.h - everything the producer knows about one mailbox. PURE.
 *
 * A mailbox is its streams: the folder tree, one mail stream per folder, the slices of the backfill,
 * the looks that are owed, one calendar. apply.h changes it by feedback, decide.h asks what is due,
 * stream.h turns it into entries of the state topic and back. Times are UTC milliseconds, passed in.
 *
 * What changes is marked (the dirty fields); cs_stream_flush() writes what is marked and nothing else.
 */
#ifndef CS_PRODUCER_MAILBOX_H
#define CS_PRODUCER_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/command.h"
#include "common/feedback.h"
#include "common/job.h"
#include "common/tenant.h"
#include "producer/schedule.h"

#define CS_TIME_NONE INT64_MIN /* "not yet" */

#define CS_BOX_LOOKS_ENTRY 1000  /* looks in one entry of the state topic */
#define CS_BOX_LOOKS_MAX   20000 /* beyond: dropped, and every live folder is owed a resync */
#define CS_BOX_SLICES_MAX  64
#define CS_BOX_ROWS_MAX    20000 /* of a calendar's table; beyond: the calendar is owed a resync */

/* How far the first sync of a mailbox has come. Parking is a matter beside it. */
enum cs_box_phase {
    CS_BOX_NEW,      /* the folder tree is not known yet */
    CS_BOX_PREVIEW,  /* one page of the newest mail */
    CS_BOX_ANCHOR,   /* every folder's delta is walked to its end, publishing nothing */
    CS_BOX_BACKFILL, /* slices, and live deltas in turns with them */
    CS_BOX_LIVE,
    CS_BOX_PHASE_COUNT_
};

enum cs_stream_phase {
    CS_STREAM_ANCHOR,
    CS_STREAM_FIRST, /* a first walk that publishes: a folder that came late, a calendar */
    CS_STREAM_LIVE,
    CS_STREAM_RESYNC_PENDING, /* its cursor died or it came back into scope: waits for a resync */
    CS_STREAM_GONE_PENDING,   /* folder gone or out of scope: its items wait to be resolved by id */
    CS_STREAM_PHASE_COUNT_
};

/* One folder: its place in the map and, once it was in scope, its mail stream. */
struct cs_box_folder {
    char *id;
    char *path;       /* "Inbox/Projects"; NULL until a listing says it */
    char *well_known; /* NULL: none */
    uint64_t hash;    /* cs_id_hash(id) */
    bool known;       /* in the last listing */
    bool in_scope;
    bool hidden;
    bool counted;         /* total and unread were seen by this process */
    bool asked_by_counts; /* they changed since its last poll: ask at once */
    int64_t total;
    int64_t unread;

    bool has_stream; /* what follows means something */
    bool dirty;
    bool ended; /* its stream is over: the entry is to be deleted */
    bool
        resync_owed; /* live, and owed a comparison with what is out there: the proof of the backfill, or after an audit */
    enum cs_stream_phase phase;
    int64_t generation;     /* 1, 2, ...: goes on counting when the folder leaves and comes back */
    char *cursor;           /* NULL: from the start */
    int64_t round_start_ms; /* CS_TIME_NONE: no round is under way */
    int64_t last_round_ms;  /* when the last finished round began; CS_TIME_NONE */
    int64_t rounds;
    int64_t last_poll_ms;
    int64_t interval_ms; /* 0: not set yet */
    int64_t retry_ms;    /* not before; CS_TIME_NONE */
    int64_t compared_ms; /* the last comparison with the index; CS_TIME_NONE */
    uint64_t
        compare_after; /* one with more differences than a job may leave goes on behind this hash; 0: none is under way */
    char *
        compare_cursor; /* what its first walk ended with; NULL: there was none (the folder is gone) */
    unsigned failures; /* in a row */
};

struct cs_box_slice {
    int id;
    int64_t from_ms; /* CS_NEVER: open */
    int64_t to_ms;   /* CS_NEVER: open */
    char *cursor;    /* NULL: from its upper end */
    bool done;
};

/* A look that is owed to an item. */
struct cs_box_look {
    struct cs_look look;
    int64_t owed_ms; /* since when: the look before was at or before this */
    uint32_t hash;   /* of the id */
    bool asked;      /* in the job in flight */
};
struct cs_box_looks { /* one entry of the state topic */
    struct cs_box_look *at;
    size_t n;
    size_t cap;
    bool dirty;
};

enum cs_row_state {
    CS_ROW_OUT,         /* published, nothing owed */
    CS_ROW_UNCONFIRMED, /* of the window before: the walk under way has not told it yet */
    CS_ROW_OWED,        /* removed or vanished, says Graph: to be read by id */
};
struct cs_box_row {
    struct cs_cal_row row;
    enum cs_row_state state;
};

struct cs_box_calendar {
    bool dirty;
    bool table_dirty;
    enum cs_stream_phase phase; /* FIRST, LIVE or RESYNC_PENDING */
    int64_t generation;
    char *cursor;
    int64_t from_ms; /* window [from, to) */
    int64_t to_ms;
    int64_t round_start_ms;
    int64_t rounds;
    int64_t last_poll_ms;
    int64_t interval_ms;
    int64_t retry_ms;
    unsigned failures;
    enum cs_code code; /* why it waits; CS_CODE_NONE */
    struct cs_box_row *rows;
    size_t n_rows;
    size_t cap_rows;
    size_t chunks; /* entries of the table on the state topic */
};

/* One part of the job in flight. The job itself is rendered from this and the mailbox, which does not
 * change while a job is in flight but by its feedback. */
struct cs_box_part {
    uint64_t folder; /* cs_id_hash(); 0 where it is no folder */
    int slice;       /* -1 where it is no slice */
    int64_t generation;
    enum cs_mode mode;
};
struct cs_box_inflight {
    char job_id[CS_UUID_TEXT];
    enum cs_job_type type;
    enum cs_lane lane;
    int64_t attempt;
    const char *reason; /* static */
    int64_t created_ms;
    size_t n_parts;
    struct cs_box_part parts[CS_JOB_PARTS_MAX];
    size_t rows; /* calendar.delta: how many of the rows that are owed it carries, from the first */
    char replay_id[CS_COMMAND_ID_LEN +
                   1]; /* of a replay (orders.h); "": it is the mailbox's usual work */
    int64_t replay_seq;
    size_t replay_items; /* mail.items: how many of the replay's, from the first */
};

/* What status.v1 says of a mailbox; kept so that "since" survives a restart. */
enum cs_box_state {
    CS_STATE_NEW,
    CS_STATE_BACKFILL,
    CS_STATE_ON_TIME,
    CS_STATE_ON_TRACK,
    CS_STATE_DELAYED,
    CS_STATE_ERROR,
    CS_STATE_NEEDS_ADMIN,
    CS_STATE_PAUSED,
    CS_STATE_COUNT_
};

struct cs_box_counters {
    int64_t jobs;
    int64_t items; /* entries seen */
    int64_t upserts, moves, deletes, left_scope;
};

struct cs_mailbox {
    char *tenant;
    char *name;
    const struct cs_tenant *conf; /* borrowed; NULL: no longer configured, so nothing is due */
    int32_t partition;
    bool broken; /* its state could not be read: nothing is due, nothing is written */
    bool dirty;  /* the mailbox's own entry */
    bool map_dirty;
    bool slices_dirty;
    bool listing_asked;  /* list the folders at once */
    bool job_due_out;    /* the job in flight has still to be published */
    bool status_pending; /* changed since its status was written */
    bool loaded;         /* stream.h: its own entry was read */

    enum cs_box_phase phase;
    enum cs_code parked; /* CS_CODE_NONE: not parked */
    int64_t parked_ms;   /* since */
    int64_t first_seen_ms;
    int64_t depth_ms;    /* INT64_MIN: all. Fixed at first sight */
    int64_t anchored_ms; /* when the anchors began; CS_NEVER: not yet. Slices carry it */

    struct cs_box_inflight *inflight;
    int64_t last_listing_ms; /* when the last finished listing was issued */
    int64_t listing_interval_ms;

    struct cs_fault fault; /* the last one; code CS_CODE_NONE after a success */
    unsigned failures;     /* in a row, of the mailbox as a whole */
    int64_t retry_ms;      /* nothing before; CS_TIME_NONE */
    int64_t last_success_ms;
    int64_t last_change_ms;
    int64_t slices_done_ms; /* the last slice was done; CS_TIME_NONE */
    struct cs_box_counters counters;
    enum cs_box_state state;
    enum cs_code status_code; /* as last written */
    int64_t state_since_ms;
    int64_t status_written_ms;

    unsigned live_run;      /* live jobs since the last one of the backfill */
    unsigned turn;          /* alternates backfill work */
    int64_t yield_until_ms; /* until then a slice goes before live work; CS_TIME_NONE */

    struct cs_box_folder **folders; /* sorted by hash */
    size_t n_folders;
    size_t cap_folders;
    size_t map_chunks; /* entries of the map on the state topic */

    struct cs_box_slice *slices;
    size_t n_slices;

    struct cs_box_looks *looks; /* by entry number */
    size_t n_look_entries;

    struct cs_box_calendar cal;
    struct cs_sends *sends; /* sends.h; NULL: the CRM has sent nothing from here */

    bool paused;                            /* by an operator; sending goes on */
    char command_id[CS_COMMAND_ID_LEN + 1]; /* the last command that was taken; "": none */
    int64_t command_ms;
    struct cs_replay **replays; /* orders.h, in the order taken */
    size_t n_replays;

    /* while it is being read back from the state topic (stream.h) */
    char **asked_ids;
    size_t n_asked_ids;

    /* the daemon's: where this mailbox is kept; not touched by PURE code */
    struct cs_sched_entry sched;
    struct cs_mailbox *next_dirty, *prev_dirty;
    struct cs_dirty_list *in_dirty; /* NULL: in none */
    int64_t next_run_ms; /* when something is due next, for the status; CS_NEVER: not known */
};

/**
 * A mailbox seen for the first time: phase new.
 *
 * @param[in] tenant, name  copied
 * @return 0, -ENOMEM
 */
int cs_mailbox_new(const char *tenant, const char *name, int32_t partition,
                   struct cs_mailbox **ret);
void cs_mailbox_free(struct cs_mailbox *m);
/** It is configured: fixes the depth and the calendar's window if this is the first sight. */
void cs_mailbox_configure(struct cs_mailbox *m, const struct cs_tenant *conf, int64_t now_ms);

struct cs_box_folder *cs_mailbox_find_folder(const struct cs_mailbox *m, uint64_t hash);
/** Finds or adds. @return 0, -ENOMEM */
int cs_mailbox_add_folder(struct cs_mailbox *m, const char *id, struct cs_box_folder **ret);
void cs_folder_free(struct cs_box_folder *f);
/** A comparison begins anew. */
void cs_folder_forget_comparison(struct cs_box_folder *f);
/** A cursor of a stream is replaced. @return 0, -ENOMEM (the old one stays) */
int cs_mailbox_set_cursor(char **cursor, const char *value);

/** A look is owed from now on; one of the same item is replaced, but a left-over by nothing less. @return 0, -ENOMEM, -E2BIG (the bound) */
int cs_mailbox_owe(struct cs_mailbox *m, const struct cs_look *look, int64_t now_ms);
size_t cs_mailbox_count_looks(const struct cs_mailbox *m);
/** The numbered entry with room for n looks. @return 0, -ENOMEM */
int cs_mailbox_look_entry(struct cs_mailbox *m, size_t number, size_t n, struct cs_box_looks **ret);
/** Adds to an entry that has room; the look is taken. */
void cs_mailbox_put_look(struct cs_box_looks *entry, struct cs_look *look, int64_t owed_ms);
/** Marks the look of this item as asked by the job in flight, if there is one. */
void cs_mailbox_ask(struct cs_mailbox *m, const char *id);
/** Drops the looks that the job in flight asked. */
void cs_mailbox_drop_asked(struct cs_mailbox *m);
/** They were not answered: they stay owed as before. */
void cs_mailbox_unask(struct cs_mailbox *m);
/** Iterates: *entry and *i start at 0; NULL at the end. */
struct cs_box_look *cs_mailbox_next_look(const struct cs_mailbox *m, size_t *entry, size_t *i);

/** How many folders (and calendar) are owed a resync or the resolution of a gone folder. */
size_t cs_mailbox_count_resync_owed(const struct cs_mailbox *m);
/** Percent of the backfill that is done, 0 to 100. */
int cs_mailbox_backfill_percent(const struct cs_mailbox *m);

/* calendar.c */
/** Sets the window that is due now: [today - past, today + future) of the tenant's days. */
void cs_calendar_open_window(struct cs_box_calendar *cal, const struct cs_tenant *conf,
                             int64_t now_ms);
/** Is the end of the window so near that a new one is due? */
bool cs_calendar_must_roll(const struct cs_box_calendar *cal, const struct cs_tenant *conf,
                           int64_t now_ms);
/** A new generation over the window that is due now. Rows outside it are dropped without a word, the
 * others are unconfirmed until the walk tells them. */
void cs_calendar_roll(struct cs_box_calendar *cal, const struct cs_tenant *conf, int64_t now_ms);
size_t cs_calendar_count_owed(const struct cs_box_calendar *cal);
/** Takes in what a calendar.delta job found. @return 0, -ENOMEM, -E2BIG (the bound on rows) */
int cs_calendar_apply(struct cs_box_calendar *cal, const struct cs_feedback *f, size_t carried,
                      bool walk_done);
int cs_calendar_add_row(struct cs_box_calendar *cal, const struct cs_cal_row *row,
                        enum cs_row_state state);

extern const char *const cs_box_phase_names[CS_BOX_PHASE_COUNT_];
extern const char *const cs_stream_phase_names[CS_STREAM_PHASE_COUNT_];
extern const char *const cs_box_state_names[CS_STATE_COUNT_];

#endif
