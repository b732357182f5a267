/* log.h - structured log lines on stderr: JSON, or text on a terminal.
 *
 * An event name ("graph.throttled") and typed fields. Thread-safe; a line is one write(2). Ids only:
 * never a token, an address, a subject or a body, also at debug. The one name allowed is the mailbox
 * as configured. A field made of a struct cs_secret does not compile.
 *
 * A JSON line is {"time","level","program","pid","event", fields...}. It is at most 4,096 bytes, so
 * that a write to a pipe is whole (PIPE_BUF); fields that do not fit are left out and "cut":true says so.
 *
 * An error or a warning of the same event is written at most CS_LOG_BURST times a window; what was
 * left out is counted and said with the next one as "repeats" (or when the log is freed). Info and
 * debug are never left out: each line there stands for a piece of work that was done.
 */
#ifndef CS_COMMON_LOG_H
#define CS_COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CS_LOG_BURST     20
#define CS_LOG_WINDOW_MS 10000

enum cs_log_level { CS_LOG_ERROR, CS_LOG_WARN, CS_LOG_INFO, CS_LOG_DEBUG };

enum cs_field_type { CS_F_END = 0, CS_F_STR, CS_F_I64, CS_F_BOOL };
struct cs_field {
    const char *name;
    enum cs_field_type type;
    const char *s;
    int64_t i;
};
#define CS_STR(n, v)  ((struct cs_field){(n), CS_F_STR, (v), 0})
#define CS_I64(n, v)  ((struct cs_field){(n), CS_F_I64, NULL, (int64_t)(v)})
#define CS_BOOL(n, v) ((struct cs_field){(n), CS_F_BOOL, NULL, (v) ? 1 : 0})

struct cs_log;

enum cs_log_format { CS_LOG_AUTO, CS_LOG_JSON, CS_LOG_TEXT };

/**
 * @param[in] program  copied; in every line
 * @param[in] fd       borrowed. A line that it does not take at once (EAGAIN) or at all is lost; the
 *                     next one that gets through says how many as "lost"
 * @param[in] format   CS_LOG_AUTO: text if fd is a terminal, else JSON. Text is coloured on a terminal
 *                     unless NO_COLOR is set
 * @return 0, -ENOMEM
 */
int cs_log_new(const char *program, int fd, enum cs_log_level level, enum cs_log_format format,
               struct cs_log **ret);
void cs_log_free(struct cs_log *log); /* says what repeats are still unsaid */
void cs_log_set_level(struct cs_log *log, enum cs_log_level level);
bool cs_log_is_on(const struct cs_log *log, enum cs_log_level level);

/** event is a static name: it is kept by address for counting. fields ends with a CS_F_END element. log NULL: nothing is written (tests). */
void cs_log_write(struct cs_log *log, enum cs_log_level level, const char *event,
                  const struct cs_field *fields);
/* cs_log_warn(log, "graph.throttled", CS_STR("job", id), CS_I64("wait_ms", wait_ms)); no field is fine too */
#define CS_FIELD_END ((struct cs_field){NULL, CS_F_END, NULL, 0})
#define CS_LOG_(log, level, event, ...) \
    cs_log_write((log), (level), (event), (const struct cs_field[]){__VA_ARGS__})
#define cs_log_error(log, ...) CS_LOG_(log, CS_LOG_ERROR, __VA_ARGS__, CS_FIELD_END)
#define cs_log_warn(log, ...)  CS_LOG_(log, CS_LOG_WARN, __VA_ARGS__, CS_FIELD_END)
#define cs_log_info(log, ...)  CS_LOG_(log, CS_LOG_INFO, __VA_ARGS__, CS_FIELD_END)
#define cs_log_debug(log, ...) CS_LOG_(log, CS_LOG_DEBUG, __VA_ARGS__, CS_FIELD_END)

/** "error", "warn", "info", "debug". @return 0, -EINVAL */
int cs_log_level_parse(const char *s, enum cs_log_level *ret);
extern const char *const cs_log_level_names[];  /* end with NULL: choices of a setting */
extern const char *const cs_log_format_names[]; /* "auto", "json", "text" */

#endif
