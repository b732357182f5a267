/* test_hooks.h - where tests cut the worker off; nothing happens without CRMSYNC_TEST_CRASH_AT.
 *
 * CRMSYNC_TEST_CRASH_AT="point:n" ends the process without a word (_exit(137)) the n-th time that the point is passed.
 * "commit_cut:ms" gives two of three commits up after 0 to ms milliseconds, so that their result is unknown.
 * Honoured only while graph.base_url is loopback.
 */
#ifndef CS_WORKER_TEST_HOOKS_H
#define CS_WORKER_TEST_HOOKS_H

#include <stdbool.h>

void cs_test_hook(bool on, const char *point);
/** True the n-th time: the caller ends the process itself. */
bool cs_test_due(bool on, const char *point);
/** How long a commit may take: normal_ms, or what "commit_cut:<ms>" says. */
int cs_test_commit_ms(bool on, int normal_ms);

#endif
