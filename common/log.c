#include "common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json_write.h"
#include "common/utf8.h"

#define LINE_MAX_BYTES 4096 /* PIPE_BUF: longer writes to a pipe may be torn */
#define TAIL_ROOM      96   /* for what closes a line: "cut", "repeats", "lost" */
#define VALUE_MAX      1024 /* bytes of one text; the rest is cut off */
#define EVENTS_MAX     64   /* events counted at a time; the one unseen for longest makes room */

const char *const cs_log_level_names[] = {"error", "warn", "info", "debug", NULL};
const char *const cs_log_format_names[] = {"auto", "json", "text", NULL};

struct seen {
    const char *event; /* NULL: free */
    enum cs_log_level level;
    int64_t window_ms; /* when its window began */
    int64_t last_ms;
    unsigned written;  /* in this window */
    uint64_t left_out; /* since the last line that got through */
};

struct cs_log {
    pthread_mutex_t lock; /* line, seen, lost */
    _Atomic int level;
    int fd;
    bool text;
    bool colour;
    char *program;
    struct cs_buf line; /* its memory is taken at once: logging must work when there is none left */
    struct seen seen[EVENTS_MAX];
    uint64_t lost; /* lines that fd did not take */
};

int cs_log_level_parse(const char *s, enum cs_log_level *ret)
{
    for (int i = 0; s != NULL && cs_log_level_names[i] != NULL; i++) {
        if (strcmp(s, cs_log_level_names[i]) == 0) {
            *ret = (enum cs_log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

int cs_log_new(const char *program, int fd, enum cs_log_level level, enum cs_log_format format,
               struct cs_log **ret)
{
    struct cs_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return -ENOMEM;
    int r = -pthread_mutex_init(&log->lock, NULL);
    if (r < 0) {
        free(log);
        return r;
    }
    log->level = (int)level;
    log->fd = fd;
    log->text = format == CS_LOG_TEXT || (format == CS_LOG_AUTO && isatty(fd));
    const char *no_color = getenv("NO_COLOR");
    log->colour = log->text && isatty(fd) && (no_color == NULL || no_color[0] == '\0');
    log->program = strdup(program);
    cs_buf_init(&log->line, LINE_MAX_BYTES);
    if (log->program == NULL || cs_buf_reserve(&log->line, LINE_MAX_BYTES) < 0) {
        cs_log_free(log);
        return -ENOMEM;
    }
    *ret = log;
    return 0;
}

void cs_log_set_level(struct cs_log *log, enum cs_log_level level)
{
    if (log != NULL)
        atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

bool cs_log_is_on(const struct cs_log *log, enum cs_log_level level)
{
    return log != NULL && (int)level <= atomic_load_explicit(&log->level, memory_order_relaxed);
}

/* --- a line ------------------------------------------------------------------------------------ */

/* Length of the text that is shown: whole characters, at most VALUE_MAX bytes. */
static size_t shown_length(const char *s)
{
    size_t n = strnlen(s, VALUE_MAX + 1);
    if (n <= VALUE_MAX)
        return n;
    n = VALUE_MAX;
    while (n > VALUE_MAX - 4 && ((unsigned char)s[n] & 0xC0) == 0x80)
        n--;
    return n;
}

/* A text for a person's terminal: bare where that is unambiguous, else in quotes. Nothing that could
 * move the cursor gets through: neither C0 and DEL nor C1 (U+0080 to U+009F). */
static void text_value(struct cs_buf *b, const char *s, size_t n)
{
    bool bare = n > 0;
    for (size_t i = 0; i < n; i++)
        bare = bare && s[i] > ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '=' && s[i] != '\\';
    if (bare) {
        cs_buf_add(b, s, n);
        return;
    }
    cs_buf_addc(b, '"');
    for (size_t i = 0; i < n;) {
        size_t k = cs_utf8_len(s + i, n - i);
        unsigned char c = (unsigned char)s[i];
        if (k == 0) {
            cs_buf_addf(b, "\\x%02x", c);
            i++;
            continue;
        }
        if (c < ' ' || c == 0x7f)
            cs_buf_addf(b, "\\x%02x", c);
        else if (c == 0xC2 && (unsigned char)s[i + 1] < 0xA0)
            cs_buf_addf(b, "\\u00%02x", (unsigned char)s[i + 1]);
        else if (c == '"' || c == '\\')
            cs_buf_addf(b, "\\%c", c);
        else
            cs_buf_add(b, s + i, k);
        i += k;
    }
    cs_buf_addc(b, '"');
}

static void write_field(struct cs_log *log, struct cs_jw *jw, const struct cs_field *f)
{
    struct cs_buf *b = &log->line;
    const char *s = f->s != NULL ? f->s : "";

    if (!log->text) {
        cs_jw_key(jw, f->name);
        if (f->type == CS_F_I64)
            cs_jw_i64(jw, f->i);
        else if (f->type == CS_F_BOOL)
            cs_jw_bool(jw, f->i != 0);
        else if (f->s == NULL)
            cs_jw_null(jw);
        else
            cs_jw_strn(jw, s, shown_length(s));
        return;
    }
    cs_buf_addc(b, ' ');
    cs_buf_adds(b, f->name);
    cs_buf_addc(b, '=');
    if (f->type == CS_F_I64)
        cs_buf_addf(b, "%" PRId64, f->i);
    else if (f->type == CS_F_BOOL)
        cs_buf_adds(b, f->i != 0 ? "true" : "false");
    else
        text_value(b, s, shown_length(s));
}

static void write_head(struct cs_log *log, struct cs_jw *jw, enum cs_log_level level,
                       const char *event)
{
    static const char *const colours[] = {"\033[31m", "\033[33m", "", "\033[2m"};
    char time[CS_TIME_TEXT];

    cs_time_format(cs_clock_utc_ms(), time);
    if (log->text) {
        const char *on = log->colour ? colours[level] : "";
        cs_buf_addf(&log->line, "%.12s %s%-5s %s%s", time + 11, on, cs_log_level_names[level],
                    event, on[0] != '\0' ? "\033[0m" : "");
        return;
    }
    cs_jw_init(jw, &log->line);
    cs_jw_object(jw);
    cs_jw_kstr(jw, "time", time);
    cs_jw_kstr(jw, "level", cs_log_level_names[level]);
    cs_jw_kstr(jw, "program", log->program);
    cs_jw_ki64(jw, "pid", getpid());
    cs_jw_kstr(jw, "event", event);
}

static bool write_line(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return false;
        p += k; /* a short write happens on a full disk or a signal; the rest is tried once more */
        n -= (size_t)k;
    }
    return true;
}

/* Called with the lock held. */
static void put_line(struct cs_log *log, enum cs_log_level level, const char *event,
                     const struct cs_field *fields, uint64_t repeats)
{
    struct cs_buf *b = &log->line;
    struct cs_jw jw = {0};
    bool cut = false;

    cs_buf_reset(b);
    b->limit = LINE_MAX_BYTES - TAIL_ROOM;
    write_head(log, &jw, level, event);
    for (const struct cs_field *f = fields; f != NULL && f->type != CS_F_END; f++) {
        size_t len = b->len;
        struct cs_jw before = jw;
        write_field(log, &jw, f);
        if (cs_buf_failed(b) != 0) {
            cs_buf_truncate(b, len);
            b->failed = 0; /* the field is undone, the line goes on without it */
            jw = before;
            cut = true;
        }
    }
    b->limit = LINE_MAX_BYTES;
    if (cut)
        write_field(log, &jw, &CS_BOOL("cut", true));
    if (repeats > 0)
        write_field(log, &jw, &CS_I64("repeats", repeats));
    if (log->lost > 0)
        write_field(log, &jw, &CS_I64("lost", log->lost));
    if (!log->text)
        cs_jw_object_end(&jw);
    cs_buf_addc(b, '\n');
    if (cs_buf_failed(b) != 0 || !write_line(log->fd, b->data, b->len))
        log->lost++;
    else
        log->lost = 0;
}

static struct seen *find_seen(struct cs_log *log, enum cs_log_level level, const char *event,
                              int64_t now_ms)
{
    struct seen *oldest = &log->seen[0];

    for (size_t i = 0; i < EVENTS_MAX; i++) {
        struct seen *s = &log->seen[i];
        if (s->event != NULL && s->level == level && strcmp(s->event, event) == 0)
            return s;
        if (s->event == NULL || (oldest->event != NULL && s->last_ms < oldest->last_ms))
            oldest = s;
    }
    if (oldest->event != NULL && oldest->left_out > 0)
        put_line(log, oldest->level, oldest->event, NULL, oldest->left_out);
    *oldest = (struct seen){.event = event, .level = level, .window_ms = now_ms};
    return oldest;
}

void cs_log_write(struct cs_log *log, enum cs_log_level level, const char *event,
                  const struct cs_field *fields)
{
    if (!cs_log_is_on(log, level))
        return;
    (void)pthread_mutex_lock(&log->lock); /* a plain mutex fails on misuse only */
    uint64_t repeats = 0;
    if (level <= CS_LOG_WARN) {
        int64_t now_ms = cs_clock_mono_ms();
        struct seen *s = find_seen(log, level, event, now_ms);
        s->last_ms = now_ms;
        if (now_ms - s->window_ms >= CS_LOG_WINDOW_MS) {
            s->window_ms = now_ms;
            s->written = 0;
        }
        if (s->written >= CS_LOG_BURST) {
            s->left_out++;
            goto out;
        }
        s->written++;
        repeats = s->left_out;
        s->left_out = 0;
    }
    put_line(log, level, event, fields, repeats);
out:
    (void)pthread_mutex_unlock(&log->lock);
}

void cs_log_free(struct cs_log *log)
{
    if (log == NULL)
        return;
    for (size_t i = 0; i < EVENTS_MAX; i++)
        if (log->seen[i].event != NULL && log->seen[i].left_out > 0)
            put_line(log, log->seen[i].level, log->seen[i].event, NULL, log->seen[i].left_out);
    cs_buf_clear(&log->line);
    (void)pthread_mutex_destroy(&log->lock);
    free(log->program);
    free(log);
}
