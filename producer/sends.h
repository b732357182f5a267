/* sends.h - what the CRM wants sent from a mailbox: outbox requests on their way, and those that are over. PURE.
 *
 * A request counts once: its id is kept, in the state topic, for CS_OUTBOX_DAYS after its end. On its way it takes two
 * jobs at least, each committed: one makes the draft, one sends it. One job of a mailbox at a time; it runs beside the
 * mailbox's sync jobs. Entries of the state topic: `send:<request id>`, and `sends` for the mailbox as a whole.
 */
#ifndef CS_PRODUCER_SENDS_H
#define CS_PRODUCER_SENDS_H

#include "common/outbox.h"
#include "producer/mailbox.h"
#include "producer/settings.h"
#include "producer/strmap.h"

#define CS_SENDS_PENDING_MAX   2000     /* requests of one mailbox on their way */
#define CS_SENDS_PENDING_BYTES 67108864 /* and bytes of these */

enum cs_send_phase {
    CS_SENDING_QUEUED,  /* no draft yet */
    CS_SENDING_DRAFTED, /* there is a draft, and its version has certainly not been sent */
    CS_SENDING_LOOK,    /* it may have gone: to be looked at */
    CS_SENDING_OVER,    /* there is a result */
    CS_SENDING_PHASE_COUNT_
};

struct cs_send {
    char request_id[CS_REQUEST_ID_LEN + 1];
    enum cs_send_phase phase;
    char *request;                       /* QUEUED: the outbox message, JSON */
    char refuse[CS_SEND_REFUSE_MAX + 1]; /* QUEUED: why it is to be refused unread; "": it is not */
    char *draft_id, *change_key, *message_id;
    int64_t taken_ms;
    int64_t not_after_ms;  /* the CRM's; CS_NEVER: none */
    int64_t not_before_ms; /* of its next step */
    int64_t over_ms;
    int64_t looks;
    unsigned attempts; /* in a row, of the same step */
    bool dirty;
    bool forget; /* its entry is to be deleted */
    struct cs_send *next_over;
};

struct cs_sends {
    struct cs_mailbox *box;      /* whose */
    struct cs_sched_entry sched; /* the daemon's */
    struct cs_strmap by_id;
    struct cs_send **pending; /* in the order taken */
    size_t n_pending, cap_pending;
    size_t bytes; /* of pending requests */
    struct cs_send *over, **over_end;
    int64_t parked_ms;    /* refused for its quota: nothing before; CS_TIME_NONE */
    int64_t sweep_ms;     /* drafts left behind are looked for then; CS_TIME_NONE */
    int64_t last_over_ms; /* of the requests that are over; CS_TIME_NONE */
    bool dirty;           /* its own entry */
    bool some_dirty;      /* entries of requests */
    /* the job in flight */
    char job_id[CS_UUID_TEXT]; /* "": none */
    enum cs_send_step step;
    char in_request[CS_REQUEST_ID_LEN + 1]; /* "" for a sweep */
    int64_t job_created_ms;
    int64_t attempt;
    bool job_due_out; /* has still to be published */
};

void cs_sends_free(struct cs_sends *s);
/**
 * A request comes in.
 * @param[in] refuse   why it is to be refused unread ("too_large"); NULL: it is not
 * @param[in] request  JSON, whose request id and not_after have been read; one to be refused may be left empty
 * @return 0; -EEXIST (this id has come before: nothing to do); -E2BIG (more pending than the bounds allow); -ENOMEM
 */
int cs_sends_take(struct cs_mailbox *m, const char *request_id, int64_t not_after_ms,
                  const char *refuse, const char *request, size_t n, int64_t now_ms);
size_t cs_sends_count_pending(const struct cs_mailbox *m);

struct cs_send_due {
    bool now;
    enum cs_send_step step;
    struct cs_send *send; /* NULL: a sweep */
    int64_t due_ms;       /* since when; or when to ask again (CS_NEVER: not) */
};
/** What is due. Forgets requests that have been over for long enough. */
void cs_sends_due(struct cs_sends *s, int64_t now_ms, struct cs_send_due *ret);
/** Puts it in flight. */
void cs_sends_issue(struct cs_sends *s, const struct cs_send_due *due, const char *job_id,
                    int64_t now_ms);
/** The job in flight, whole. @return 0, -ENOENT, -ENOMEM */
int cs_sends_job(const struct cs_sends *s, struct cs_job *ret);
/** @return 0; -ENOENT (not the job in flight); -ENOMEM (restore the mailbox) */
int cs_sends_apply(struct cs_sends *s, const struct cs_schedule_conf *c,
                   const struct cs_feedback *f, int64_t now_ms, uint64_t random);
/** Too old to be answered: the step is done again, as one whose end is not known. */
void cs_sends_lost(struct cs_sends *s, int64_t now_ms);

/* for stream.c */
bool cs_sends_are_dirty(const struct cs_sends *s);
int cs_sends_flush(struct cs_sends *s, int (*fn)(void *, const char *, const char *, size_t),
                   void *user);
struct cs_msg;
/** An entry `send:<request id>`, or with id NULL the entry `sends`. Failures are the message's. */
void cs_sends_load(struct cs_mailbox *m, const char *request_id, struct cs_msg *msg);
/** All are in. @return 0, -ENOMEM */
int cs_sends_loaded(struct cs_mailbox *m);

#endif
