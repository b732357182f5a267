/* table.h - the mailboxes of the partitions that this process owns.
 *
 * A partition is restored from the state topic as a whole (cs_table_part, built by the ledger's
 * thread), then handed to the loop and put into the table. cs_table_restore() does I/O; the rest is
 * bookkeeping. Not thread-safe; a part belongs to one thread at a time.
 */
#ifndef CS_PRODUCER_TABLE_H
#define CS_PRODUCER_TABLE_H

#include "common/kafka_read.h"
#include "producer/mailbox.h"
#include "producer/strmap.h"

struct cs_table_part {
    int32_t partition;
    struct cs_strmap mailboxes; /* "tenant/mailbox" -> struct cs_mailbox */
    size_t broken;              /* mailboxes whose state could not be read */
};

int cs_table_part_new(int32_t partition, struct cs_table_part **ret); /* 0, -ENOMEM */
void cs_table_part_free(struct cs_table_part *part);                  /* with its mailboxes */
/** Borrowed; NULL: not there. */
struct cs_mailbox *cs_table_part_find(const struct cs_table_part *part, const char *tenant,
                                      const char *mailbox);
/** A mailbox that is not there yet. @return 0, -ENOMEM, -EMSGSIZE */
int cs_table_part_add(struct cs_table_part *part, const char *tenant, const char *mailbox,
                      struct cs_mailbox **ret);

/* PURE: rebuilding a partition from the entries of the state topic, in offset order. */
struct cs_restore;
int cs_restore_new(int32_t partition, struct cs_restore **ret); /* 0, -ENOMEM */
void cs_restore_free(struct cs_restore *r);
/** value NULL: deleted. @return 0, -ENOMEM */
int cs_restore_entry(struct cs_restore *r, const char *key, size_t key_len, const char *value,
                     size_t len);
/** Told for each entry that cannot be used: its key, and why. */
typedef void (*cs_restore_bad_fn)(void *user, const char *key, const char *reason);
/**
 * All entries are in. A mailbox with an entry that cannot be read is kept as broken: nothing is
 * decided for it and nothing of it is written over.
 * @return 0, -ENOMEM
 */
int cs_restore_finish(struct cs_restore *r, cs_restore_bad_fn bad, void *user,
                      struct cs_table_part **ret);

/**
 * Reads a partition of the state topic to its end and rebuilds it.
 *
 * @param[in] timeout_ms  without any progress
 * @return 0, -ENOMEM, -ETIMEDOUT, -EIO
 */
int cs_table_restore(struct cs_kafka_read *reader, int32_t partition, int timeout_ms,
                     struct cs_log *log, struct cs_table_part **ret);

#endif
