/* producer_priv.h - the daemon object, for producer.c (loop), serve.c (work) and view.c (what is seen). */
#ifndef CS_PRODUCER_PRODUCER_PRIV_H
#define CS_PRODUCER_PRODUCER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/admin.h"
#include "common/kafka_in.h"
#include "common/metrics.h"
#include "producer/ledger.h"
#include "producer/producer.h"
#include "producer/status.h"
#include "producer/table.h"

#define CS_PRODUCER_TOPICS 3 /* consumed: feedback, commands, outbox */

enum cs_producer_mode {
    CS_PRODUCER_IDLE,      /* no assignment */
    CS_PRODUCER_RESTORING, /* the ledger reads the state of what was assigned */
    CS_PRODUCER_SERVING,
};

/* A tenant as long as the process lives; its configuration may come and go. */
struct cs_producer_tenant {
    char *name;
    uint32_t number;
    enum cs_code parked;       /* why all its mailboxes wait; CS_CODE_NONE */
    struct cs_mailbox *prober; /* the one that asks again meanwhile */
};

struct cs_producer_owned {
    struct cs_table_part *part;       /* NULL: not owned */
    int64_t next[CS_PRODUCER_TOPICS]; /* offset to commit */
    bool moved[CS_PRODUCER_TOPICS];   /* since the last batch */
    bool written;                     /* the batch being made writes for it */
};

struct cs_dead_letter {
    enum cs_topic topic;
    int32_t partition;
    int64_t offset;
    char *key;
    size_t key_len;
    const char *reason; /* static */
    const char *detail; /* static, or NULL */
};

/* A message taken in and not durably consumed yet: should a commit's result be unknown, it is taken in
 * again on top of the state as it is restored. */
struct cs_producer_held {
    enum cs_topic topic;
    int32_t partition;
    int64_t offset;
    size_t key_len, value_len;
    char *key;
    char *value; /* NULL: none */
    struct cs_producer_held *next;
};
struct cs_producer_held_list {
    struct cs_producer_held *first;
    struct cs_producer_held **end;
};

struct cs_dirty_list {
    struct cs_mailbox *first, *last;
    size_t n;
};

struct cs_producer_metrics {
    struct cs_metric *ready[CS_LANE_COUNT_], *out[CS_LANE_COUNT_];
    struct cs_metric *issued[CS_JOB_TYPE_COUNT_];
    struct cs_metric *feedback[CS_FATAL + 1];
    struct cs_metric *stale, *dead, *lost, *requests, *repeated;
    struct cs_metric *streams[CS_STREAM_PHASE_COUNT_], *states[CS_STATE_COUNT_];
    struct cs_metric *mailboxes, *partitions, *restored, *broken, *tenants_parked, *resync_owed,
        *looks;
    struct cs_metric *commits[4]; /* by end */
    struct cs_metric *commit_seconds, *restore_seconds, *overdue_seconds;
    struct cs_metric *reloads, *reload_errors, *up;
};

/* One pass over the table, in small steps: statuses that are due, and the sums that are shown. */
struct cs_producer_sweep {
    int32_t partition;
    size_t slot;
    int64_t started_mono_ms;
    int64_t last_mono_ms;
    int64_t streams[CS_STREAM_PHASE_COUNT_];
    int64_t states[CS_STATE_COUNT_];
    int64_t resync_owed, looks, mailboxes, oldest_due_ms;
    struct cs_buf list; /* mailboxes that are not well, for /status.json */
    size_t listed;
};

struct cs_producer {
    const char *config_path;
    struct cs_producer_conf *conf;
    struct cs_tenant_set *tenants;
    struct cs_log *log;
    int signal_fd;
    int exit_code;
    bool exactly_once;
    bool stopping;
    bool failed;    /* leave the loop with exit_code */
    bool consuming; /* the consumer reads what was assigned */

    struct cs_metrics *metrics;
    struct cs_producer_metrics m;
    struct cs_admin *admin;

    struct cs_kafka_in *in;
    struct cs_kafka_group *group;
    struct cs_ledger *ledger;
    struct cs_ledger_batch *batch; /* with the ledger, or waiting to be handed over again */
    int64_t batch_again_mono_ms;   /* when; CS_NEVER: it is with the ledger */
    uint64_t batches;
    unsigned batch_tries;
    char nonce[CS_UUID_TEXT];

    int32_t n_partitions;
    struct cs_schedule *schedule;
    struct cs_producer_owned *owned; /* by partition number */
    int32_t *assigned;               /* of the last assignment */
    size_t n_assigned;
    struct cs_strmap by_tenant; /* name -> struct cs_producer_tenant */
    uint32_t n_tenants;
    struct cs_dirty_list dirty; /* what the next batch must write: it goes with offsets and jobs */
    struct cs_dirty_list later; /* what may wait for a batch with room: new mailboxes, statuses */
    struct cs_dead_letter *dead;
    size_t n_dead, cap_dead;
    struct cs_producer_held_list held_batch; /* what the batch with the ledger consumes */
    struct cs_producer_held_list held;       /* taken in after it was made */
    struct cs_producer_sweep sweep;

    int64_t now_ms; /* UTC, of this turn */
    int64_t mono_ms;

    /* read by the admin port's thread */
    atomic_int mode;
    atomic_bool down;
    atomic_llong turned_mono_ms;
    pthread_mutex_t view_lock;
    struct cs_buf view; /* /status.json */
};

/* serve.c */
/** Owned partitions were restored: puts the mailboxes in, adds those configured. @return 0, -ENOMEM */
int cs_producer_take_parts(struct cs_producer *p, struct cs_ledger_result *r);
/** Nothing is owned any more. */
void cs_producer_drop_parts(struct cs_producer *p);
/** One message consumed. @return 0, -ENOMEM */
int cs_producer_take_message(struct cs_producer *p, const struct cs_kafka_msg *msg);
/** What is due by now is decided and put in flight. @return 0, -ENOMEM, -EIO */
int cs_producer_issue(struct cs_producer *p);
/** Makes a batch of everything that changed. *ret NULL: nothing did. @return 0, -ENOMEM */
int cs_producer_make_batch(struct cs_producer *p, struct cs_ledger_batch **ret);
/** What a batch consumed is durable. */
void cs_producer_forget_held(struct cs_producer *p);
/** Takes in again what was taken in and is not durable, after a restore. @return 0, -ENOMEM */
int cs_producer_take_held(struct cs_producer *p);
void cs_producer_init_held(struct cs_producer *p);
/** Forgets all of it: the partitions are somebody else's. */
void cs_producer_drop_held(struct cs_producer *p);
/** Another configuration: mailboxes come, go, or are told of it. @return 0, -ENOMEM */
int cs_producer_set_tenants(struct cs_producer *p, struct cs_tenant_set *tenants);
/** The next batch writes it. */
void cs_producer_touch(struct cs_producer *p, struct cs_mailbox *m);
/** A batch with room writes it. */
void cs_producer_touch_later(struct cs_producer *p, struct cs_mailbox *m);
enum cs_code cs_producer_tenant_code(struct cs_producer *p, const struct cs_mailbox *m);

/* view.c */
void cs_producer_make_metrics(struct cs_producer *p);
/** The next step of the sweep; cheap. */
void cs_producer_sweep(struct cs_producer *p);
void cs_producer_sweep_reset(struct cs_producer *p);
/** How long the loop may wait for the next step. */
int64_t cs_producer_sweep_wait_ms(const struct cs_producer *p);
int cs_producer_livez(void *user, struct cs_buf *out, const char **content_type);
int cs_producer_readyz(void *user, struct cs_buf *out, const char **content_type);
int cs_producer_status_json(void *user, struct cs_buf *out, const char **content_type);

#endif
