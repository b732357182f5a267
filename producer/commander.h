/* commander.h - what the command line shares: it writes commands and follows the state that they change.
 *
 * Not part of the daemon: no group is joined and nothing is committed.
 */
#ifndef CS_PRODUCER_COMMANDER_H
#define CS_PRODUCER_COMMANDER_H

#include "common/command.h"
#include "common/kafka_read.h"
#include "producer/settings.h"

#define CS_COMMANDER_MS 15000 /* without an answer of the broker */

struct cs_commander;

/**
 * Reads the configuration and finds the topics. What is wrong is printed to stderr.
 * @param[in] interrupted  looked at while it waits: it returns soon after it has become non-zero
 * @return 0, or the exit code
 */
int cs_commander_open(const char *config, const volatile int *interrupted,
                      struct cs_commander **ret);
void cs_commander_close(struct cs_commander *c);

const struct cs_producer_conf *cs_commander_conf(const struct cs_commander *c);
const struct cs_tenant_set *cs_commander_tenants(const struct cs_commander *c);
struct cs_kafka_read *cs_commander_reader(struct cs_commander *c);
int32_t cs_commander_partitions(const struct cs_commander *c);

/** Writes one. @return 0, -EIO, -ENOMEM */
int cs_commander_write(struct cs_commander *c, const char *tenant, const char *mailbox,
                       const struct cs_command *command);
/** All that was written is acknowledged by the broker. @return 0, -EIO */
int cs_commander_flush(struct cs_commander *c);
/** What is written to the state from now on is what follow() gives. @return 0, -EIO */
int cs_commander_mark(struct cs_commander *c);
/** The same from the beginning of the state. */
void cs_commander_rewind(struct cs_commander *c);
/** Every entry of the state that has come since, key and value. @return 0, what fn returned, -EIO, -ETIMEDOUT */
int cs_commander_follow(struct cs_commander *c, cs_kafka_read_fn fn, void *user);

/** Calls fn for each configured mailbox of these; NULL: of all. An unknown one is printed. @return 0, or the exit code */
int cs_commander_each(const struct cs_commander *c, const char *tenant, const char *mailbox,
                      int (*fn)(void *user, const char *tenant, const char *mailbox), void *user);

#endif
