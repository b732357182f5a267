/* commands.h - the commands of the command line besides `run`; each has a file of its own.
 *
 * argv[0] is the verb. They print to stdout, errors to stderr, and return the exit code (sysexits.h).
 */
#ifndef CS_PRODUCER_COMMANDS_H
#define CS_PRODUCER_COMMANDS_H

int cs_cmd_check_config(int argc, char **argv);
int cs_cmd_health(int argc, char **argv);
int cs_cmd_topics(int argc, char **argv);
int cs_cmd_status(int argc, char **argv);
int cs_cmd_order(int argc, char **argv); /* pause, resume, sync-now, resync: argv[0] says which */
int cs_cmd_replay(int argc, char **argv);

#define CS_DEFAULT_CONFIG "/etc/crmsync/crmsync.cfg"

#endif
