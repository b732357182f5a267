/* orders.h - what operators want of a mailbox: pause, a fresh look, replays on their way. PURE.
 *
 * A replay is a list of scopes that are read and published again in the lowest lanes, beside the mailbox's usual work: mail by
 * time (slices), single mails by id, the calendar's window. It moves no live cursor. What it reads and cannot settle is owed a
 * look like any other. Entries of the state topic: `replay:<replay id>/<seq>`, one for each message of the command, kept for
 * CS_REPLAY_DAYS after their end so that the writer can see what came of them.
 */
#ifndef CS_PRODUCER_ORDERS_H
#define CS_PRODUCER_ORDERS_H

#include "common/command.h"
#include "producer/mailbox.h"
#include "producer/settings.h"

#define CS_REPLAYS_MAX 200 /* messages of replays of one mailbox, ended ones included */
#define CS_REPLAY_DAYS 7
#define CS_REPLAY_TRIES \
    10 /* in a row without success: stopped, with its code, until somebody has it go on */

enum cs_replay_state { CS_REPLAY_RUNNING, CS_REPLAY_STOPPED, CS_REPLAY_DONE, CS_REPLAY_COUNT_ };

struct cs_replay_slice {
    int64_t from_ms, to_ms; /* CS_NEVER: open */
    char *cursor;           /* NULL: from its upper end */
    bool done;
};

struct cs_replay {
    char id[CS_COMMAND_ID_LEN + 1];
    int64_t seq;
    int64_t total; /* messages of it for all mailboxes; 0: not known */
    enum cs_replay_state state;
    struct cs_replay_slice *slices;
    size_t n_slices;
    char **items; /* those that are left */
    size_t n_items;
    int64_t items_done;
    bool calendar, calendar_done;
    char *calendar_cursor;
    int64_t created_ms;
    int64_t ended_ms; /* CS_TIME_NONE */
    int64_t retry_ms; /* not before; CS_TIME_NONE */
    unsigned failures;
    enum cs_code code; /* of the last failure; CS_CODE_NONE after a success */
    int64_t jobs, records, requests;
    bool dirty, forget;
};

/**
 * Does what the command says, and notes its id. One that came before does nothing.
 * @return 0; -E2BIG (more replays than the bound); -ENOMEM (restore the mailbox)
 */
int cs_orders_take(struct cs_mailbox *m, const struct cs_command *c, int64_t now_ms);
void cs_orders_free(struct cs_mailbox *m);
void cs_replay_free(struct cs_replay *r); /* NULL accepted */
/** @param[in] r  taken, also on failure. @return 0, -ENOMEM */
int cs_replay_add(struct cs_mailbox *m, struct cs_replay *r);

/** When the next job of a replay is due; CS_NEVER: none is on its way. */
int64_t cs_replay_due_ms(const struct cs_mailbox *m, int64_t now_ms);
/** Of which type it is, once one is due. */
enum cs_job_type cs_replay_type(const struct cs_mailbox *m, int64_t now_ms);
/** Puts it in flight. @return how many parts and items it has */
size_t cs_replay_issue(struct cs_mailbox *m, const struct cs_schedule_conf *c,
                       struct cs_box_inflight *in, int64_t now_ms);
/** The replay of the job in flight; NULL: it is none's. */
struct cs_replay *cs_replay_in_flight(const struct cs_mailbox *m);
/**
 * Its part of the job in flight: parts or items, and since when what it lists is owed a look.
 * @return 0, -ENOENT (the replay is not there any more), -ENOMEM
 */
int cs_replay_make(const struct cs_mailbox *m, struct cs_job *job);
/**
 * What came of its job; the looks that are owed are taken in elsewhere.
 * @param[in] held  the mailbox as a whole waits (throttled, denied): no failure of the replay
 * @return 0, -ENOMEM
 */
int cs_replay_apply(struct cs_mailbox *m, const struct cs_feedback *f, bool held, int64_t now_ms,
                    uint64_t random);

/* for stream.c */
bool cs_orders_are_dirty(const struct cs_mailbox *m);
int cs_orders_flush(struct cs_mailbox *m, int (*fn)(void *, const char *, const char *, size_t),
                    void *user);
struct cs_msg;
/** An entry `replay:<name>`. Failures are the message's. */
void cs_orders_load(struct cs_mailbox *m, struct cs_msg *msg);

#endif
