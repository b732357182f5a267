#include "producer/replay_progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/job.h"
#include "common/json.h"
#include "common/key.h"

#define BAR_WIDTH 30
#define TAKEN_MS  120000 /* for producers to take what was written */

static void entry_free(struct cs_progress_entry *e)
{
    free(e->tenant);
    free(e->mailbox);
    free(e);
}

void cs_progress_clear(struct cs_progress *p)
{
    size_t slot = 0;
    struct cs_progress_entry *e;

    while ((e = cs_strmap_next(&p->entries, &slot, NULL)) != NULL)
        entry_free(e);
    cs_strmap_clear(&p->entries);
}

/* How much of a slice is done, by the time that its cursor has come down to. */
static double slice_done(cs_json_val s)
{
    const char *cursor = NULL;
    int64_t from = 0, to = cs_clock_utc_ms(), at;
    bool done = false;

    if (cs_json_bool(s, "done", &done) == 0 && done)
        return 1;
    if (cs_json_time(s, "from", &from) < 0 ||
        cs_json_str(s, "cursor", CS_CURSOR_MAX, &cursor) < 0 ||
        cs_time_parse(cursor, strcspn(cursor, ">"), &at) < 0)
        return 0;
    (void)cs_json_time(s, "to", &to); /* absent: open */
    return to > from && at < to && at > from ? (double)(to - at) / (double)(to - from) : 0;
}

static void fill_entry(struct cs_progress_entry *e, cs_json_val v)
{
    cs_json_val slices = cs_json_get(v, "slices");
    const char *state = "", *code = "";
    int64_t items_done = 0;
    size_t items = cs_json_len(cs_json_get(v, "items"));
    bool calendar_done = false;

    (void)cs_json_str(v, "state", 16, &state);
    e->ended = strcmp(state, "done") == 0;
    e->stopped = strcmp(state, "stopped") == 0;
    (void)cs_json_i64(v, "items_done", 0, INT64_MAX, &items_done);
    (void)cs_json_i64(v, "jobs", 0, INT64_MAX, &e->jobs);
    (void)cs_json_i64(v, "records", 0, INT64_MAX, &e->records);
    (void)cs_json_i64(v, "requests", 0, INT64_MAX, &e->requests);
    e->code[0] = '\0';
    if (cs_json_str(v, "code", sizeof(e->code) - 1, &code) == 0)
        snprintf(e->code, sizeof(e->code), "%s", code);
    /* a slice and a calendar weigh as much as 100 mails */
    e->total = (double)items / 100 + (double)items_done / 100 + (double)cs_json_len(slices);
    e->done = (double)items_done / 100;
    for (size_t i = 0; i < cs_json_len(slices); i++)
        e->done += slice_done(cs_json_at(slices, i));
    if (cs_json_bool(v, "calendar_done", &calendar_done) == 0) {
        e->total += 1;
        e->done += calendar_done;
    }
}

static int take_entry(struct cs_progress *p, const struct cs_kafka_msg *msg, const char *tenant,
                      const char *mailbox)
{
    struct cs_json *doc = NULL;
    const char *reason;
    struct cs_progress_entry *e = cs_strmap_get(&p->entries, msg->key, msg->key_len);
    int64_t total;
    void *old;

    if (cs_json_parse(msg->value, msg->value_len, &doc, &reason) < 0)
        return 0;
    if (e == NULL) {
        e = calloc(1, sizeof(*e));
        if (e != NULL) {
            e->tenant = strdup(tenant);
            e->mailbox = strdup(mailbox);
        }
        if (e == NULL || e->tenant == NULL || e->mailbox == NULL ||
            cs_strmap_put(&p->entries, msg->key, msg->key_len, e, &old) < 0) {
            if (e != NULL)
                entry_free(e);
            cs_json_free(doc);
            return -ENOMEM;
        }
    }
    fill_entry(e, cs_json_root(doc));
    if (cs_json_i64(cs_json_root(doc), "total", 1, INT32_MAX, &total) == 0)
        p->total = (size_t)total;
    cs_json_free(doc);
    return 0;
}

/* tenant/mailbox/replay:NAME-NUMBER/SEQ */
int cs_progress_take(void *user, const struct cs_kafka_msg *msg)
{
    static const char stream[] = "replay:";
    char tenant[CS_TENANT_MAX + 1], mailbox[CS_MAILBOX_MAX + 1], rest_text[160], *end = NULL;
    struct cs_progress *p = user;
    const char *rest;
    size_t rest_len;
    long number;

    if (msg->value == NULL || msg->key == NULL ||
        cs_key_split(msg->key, msg->key_len, tenant, mailbox, &rest, &rest_len) < 0 ||
        rest_len >= sizeof(rest_text) || rest_len < sizeof(stream) + p->prefix_len ||
        memcmp(rest, stream, sizeof(stream) - 1) != 0 ||
        memcmp(rest + sizeof(stream) - 1, p->prefix, p->prefix_len) != 0)
        return 0;
    memcpy(rest_text, rest, rest_len);
    rest_text[rest_len] = '\0';
    number = strtol(rest_text + sizeof(stream) - 1 + p->prefix_len, &end, 10);
    if (*end != '/' || number < p->newest)
        return 0;
    if (number > p->newest) {
        cs_progress_clear(p);
        p->total = 0;
    }
    p->newest = number;
    return take_entry(p, msg, tenant, mailbox);
}

struct cs_progress_sum cs_progress_sum(const struct cs_progress *p)
{
    struct cs_progress_sum s = {0};
    const struct cs_progress_entry *e;
    size_t slot = 0;

    while ((e = cs_strmap_next(&p->entries, &slot, NULL)) != NULL) {
        s.total += e->total;
        s.done += e->ended ? e->total : e->done;
        s.jobs += e->jobs;
        s.records += e->records;
        s.requests += e->requests;
        s.ended += e->ended;
        s.stopped += e->stopped;
        s.waiting += e->code[0] != '\0';
        s.code = e->code[0] != '\0' ? e->code : s.code;
    }
    return s;
}

static void show_progress(const struct cs_progress_sum *s, int64_t elapsed_ms, double begun_at,
                          bool terminal)
{
    double share = s->total > 0 ? s->done / s->total : 0;
    char eta[32] = "";
    int full = (int)(share * BAR_WIDTH);

    if (s->done > begun_at && elapsed_ms > 1000)
        snprintf(eta, sizeof(eta), ", %.0f s left",
                 (s->total - s->done) / (s->done - begun_at) * (double)elapsed_ms / 1000);
    if (terminal)
        fprintf(stderr, "\r[%.*s%*s] ", full, "##############################", BAR_WIDTH - full,
                "");
    fprintf(stderr, "%3.0f %%  %" PRId64 " jobs, %" PRId64 " records, %" PRId64 " requests%s",
            share * 100, s->jobs, s->records, s->requests, eta);
    if (s->waiting > 0)
        fprintf(stderr, ", %zu wait (%s)", s->waiting, s->code);
    fputs(terminal ? "   " : "\n", stderr);
}

int cs_progress_follow(struct cs_commander *c, struct cs_progress *p, size_t expected, bool quiet,
                       const volatile int *interrupted)
{
    const struct timespec pause = {.tv_nsec = 300000000};
    int64_t begun_ms = cs_clock_mono_ms(), shown_ms = INT64_MIN, moved_ms = begun_ms;
    size_t seen = 0;
    bool terminal = isatty(STDERR_FILENO) != 0;
    double begun_at = -1;
    int r = 0;

    for (;;) {
        struct cs_progress_sum s;

        r = cs_commander_follow(c, cs_progress_take, p);
        if (r < 0 || *interrupted)
            break;
        s = cs_progress_sum(p);
        if (begun_at < 0)
            begun_at = s.done;
        if (!quiet &&
            (shown_ms == INT64_MIN || cs_clock_mono_ms() - shown_ms >= (terminal ? 300 : 5000))) {
            show_progress(&s, cs_clock_mono_ms() - begun_ms, begun_at, terminal);
            shown_ms = cs_clock_mono_ms();
        }
        if (p->entries.n >= expected && s.ended == p->entries.n) {
            if (!quiet && terminal)
                show_progress(&s, cs_clock_mono_ms() - begun_ms, begun_at, terminal);
            break;
        }
        if (p->entries.n > seen || (p->entries.n >= expected && s.ended + s.stopped < p->entries.n))
            moved_ms = cs_clock_mono_ms(); /* something is under way */
        seen = p->entries.n;
        if (cs_clock_mono_ms() - moved_ms > TAKEN_MS) {
            fprintf(stderr, "%s%zu of %zu messages are taken, %zu stopped%s%s\n",
                    terminal ? "\n" : "", p->entries.n, expected, s.stopped,
                    s.code != NULL ? " after failures: " : "", s.code != NULL ? s.code : "");
            return -EAGAIN;
        }
        (void)nanosleep(&pause, NULL); /* cut short by a signal: the better */
    }
    if (!quiet && terminal)
        fputc('\n', stderr);
    return r;
}
