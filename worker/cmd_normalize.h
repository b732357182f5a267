/* cmd_normalize.h - `crmsync-worker normalize`: Graph JSON in, records out; no network, no Kafka. */
#ifndef CS_WORKER_CMD_NORMALIZE_H
#define CS_WORKER_CMD_NORMALIZE_H

#define CS_NORMALIZE_MAX_BYTES (64u << 20) /* of standard input */

/**
 * Reads one item, a page or a delta page from standard input and prints a record a line. What gives no
 * record (removals, partial entries, events held back) is counted on standard error.
 *
 * @param argv  argv[0] is "normalize", its options follow
 * @return exit code: 0; 64 usage; 65 input that is not Graph JSON; 71, 74 system and output errors;
 *         78 configuration
 */
int cs_cmd_normalize(int argc, char **argv);

#endif
