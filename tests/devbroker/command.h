/* command.h - one line of text in, one call to the mock cluster, one line of JSON out. */
#ifndef DEVBROKER_COMMAND_H
#define DEVBROKER_COMMAND_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "watch.h"

#define COMMAND_LINE_MAX 1024
#define COMMAND_ARGS_MAX 8
#define BROKERS_MAX      16
#define PARTITIONS_MAX   1024
#define TOPICS_MAX       1000
#define TOPIC_NAME_MAX   249
#define API_MAX          100

struct devbroker {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster; /* belongs to rk */
    struct watch *watch;              /* NULL: nobody looks */
    int brokers;                      /* ids are 1 to this */
    int topics;
    bool broker_errors[API_MAX + 1]; /* this API's errors are queued broker by broker */
};

/** Creates a topic and has it watched. @return NULL, or what was wrong (static) */
const char *devbroker_create_topic(struct devbroker *b, const char *name, int partitions);

/**
 * Runs one command.
 *
 * @param[in] line  NUL-terminated, without the newline; cut into words in place
 * @param[in] out   gets exactly one line
 * @return false after `quit`
 */
bool devbroker_command(struct devbroker *b, char *line, FILE *out);

/** A decimal number from min to max and nothing else. */
bool devbroker_parse_int(const char *text, int min, int max, int *ret);

#endif
