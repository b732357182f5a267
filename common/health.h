/* health.h - asks a daemon on this machine how it is: the verb `health` of both programs. */
#ifndef CS_COMMON_HEALTH_H
#define CS_COMMON_HEALTH_H

#include <stddef.h>

/**
 * Asks the admin port of a daemon on this machine for a page, as a health check in a container does.
 * An address that means "all of this machine" is asked on loopback.
 *
 * @param[in]  listen      as the daemon was given it, with its port
 * @param[in]  path        "/livez": no blanks or control characters
 * @param[in]  timeout_ms  for everything together
 * @param[out] answer      what came behind the headers, cut to size - 1 bytes, NUL-terminated; "" on failure
 * @return the HTTP status; -EINVAL (address not understood, or port 0), -ETIMEDOUT, -EPROTO (no HTTP answer),
 *         or another -errno of connecting and reading
 */
int cs_health_ask(const char *listen, const char *path, int timeout_ms, char *answer, size_t size);
/** Asks for path, 3 s at most, prints what is wrong to stderr.
 * @return exit code: 0 answered 200; 69 no or another answer; 78 listen names no port */
int cs_health_check(const char *listen, const char *path);
/**
 * The verb, but for the program's own configuration.
 * @param[in] config  the file where none is named
 * @param[in] ask     reads it and calls cs_health_check(). Prints what is wrong. @return the exit code
 */
int cs_health_verb(const char *program, int argc, char **argv, const char *config,
                   int (*ask)(const char *config, const char *page));

#endif
