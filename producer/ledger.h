/* ledger.h - state + status + jobs + consumed offsets become durable together, or not at all.
 *
 * A thread of its own does every Kafka call that may block: transactions, and the restore of newly
 * assigned partitions. The loop hands over one request at a time and learns of its end through
 * cs_ledger_fd(). Two transactional producers take turns, since back-to-back transactions of one wait
 * for the coordinator; the next begins only after the one before has certainly committed.
 *
 * Without transactions (at_least_once) the order of writing is what counts: state, flushed; then jobs,
 * status and dead letters, flushed; then offsets. A job that got lost in between stands in the state,
 * and is published again after a restart.
 */
#ifndef CS_PRODUCER_LEDGER_H
#define CS_PRODUCER_LEDGER_H

#include "common/kafka_in.h"
#include "common/kafka_out.h"
#include "producer/table.h"

struct cs_ledger;

struct cs_ledger_message {
    enum cs_topic topic;
    int32_t partition;
    char *key;
    size_t key_len;
    char *value; /* NULL: a tombstone */
    size_t len;
    char *job_id; /* jobs: for the headers; else NULL */
    int64_t utc_ms;
};

/* What is to become durable together. The loop fills it, the ledger reads it, the loop frees it. */
struct cs_ledger_batch {
    struct cs_ledger_message *messages;
    size_t n;
    size_t cap;
    size_t bytes;
    struct cs_kafka_offset *offsets; /* at least one of every partition written for */
    size_t n_offsets;
};
struct cs_ledger_batch *cs_ledger_batch_new(void); /* NULL: no memory */
void cs_ledger_batch_free(struct cs_ledger_batch *b);
/** Everything is copied. @return 0, -ENOMEM, -EMSGSIZE (value longer than CS_KAFKA_RECORD_MAX) */
int cs_ledger_batch_add(struct cs_ledger_batch *b, enum cs_topic topic, int32_t partition,
                        const char *key, const char *value, size_t len, const char *job_id,
                        int64_t utc_ms);
/** @return 0, -ENOMEM */
int cs_ledger_batch_offset(struct cs_ledger_batch *b, enum cs_topic topic, int32_t partition,
                           int64_t offset, const char *metadata);

enum cs_ledger_end {
    CS_LEDGER_NONE = 0,  /* nothing has ended */
    CS_LEDGER_COMMITTED, /* durable */
    CS_LEDGER_NOT_DONE, /* certainly not durable: hand it over again, unless the partitions are gone */
    CS_LEDGER_UNKNOWN,   /* may be durable: restore the partitions, forget what is in memory */
    CS_LEDGER_FENCED,    /* another process has our transactional id: exit */
    CS_LEDGER_REFUSED,   /* a message that the broker will never take: our mistake, exit */
    CS_LEDGER_RESTORED,  /* parts and offsets are there */
    CS_LEDGER_CANCELLED, /* the restore was given up */
};

/* The end of a request. */
struct cs_ledger_result {
    enum cs_ledger_end end;
    char error[64]; /* librdkafka's name of what went wrong, "" if nothing did */
    int64_t took_ms;
    struct cs_table_part **parts; /* RESTORED: one for each partition asked for; the caller's */
    size_t n_parts;
    struct cs_kafka_offset *offsets; /* RESTORED: the caller's, cs_kafka_offsets_free() */
    size_t n_offsets;
};
void cs_ledger_result_clear(struct cs_ledger_result *r); /* frees what was not taken */

/**
 * @param[in] in    borrowed; of it only the calls that another thread may make are used
 * @return 0, -EINVAL (a property is refused; err), -ENOMEM, -EAGAIN (no thread)
 */
int cs_ledger_new(const struct cs_common_conf *conf, struct cs_kafka_in *in, struct cs_log *log,
                  struct cs_ledger **ret, struct cs_conf_error *err);
/** Ends the thread: what is under way is finished or given up within a few seconds. */
void cs_ledger_free(struct cs_ledger *l);
/** Readable when a request has ended. */
int cs_ledger_fd(const struct cs_ledger *l);
bool cs_ledger_is_busy(struct cs_ledger *l);

/**
 * Commits a batch. The ledger must not be busy.
 *
 * @param[in] batch  borrowed until the request ends
 * @param[in] group  borrowed until the request ends; NULL in at_least_once
 */
void cs_ledger_commit(struct cs_ledger *l, const struct cs_ledger_batch *batch,
                      const struct cs_kafka_group *group);
/** Reads committed offsets (require-stable) and then the state of these partitions, until it works or
 * is cancelled. @return 0, -ENOMEM */
int cs_ledger_restore(struct cs_ledger *l, const int32_t *partitions, size_t n);
/** Gives a restore up as soon as it may; its end comes all the same. */
void cs_ledger_cancel(struct cs_ledger *l);
/**
 * The end of the request, waiting at most timeout_ms for it.
 * @param[out] ret  end CS_LEDGER_NONE: nothing has ended
 */
void cs_ledger_next(struct cs_ledger *l, int timeout_ms, struct cs_ledger_result *ret);

#endif
