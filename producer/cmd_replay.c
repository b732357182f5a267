/* cmd_replay.c - replay: reads a range of the jobs topic and has the same scopes read and published again.
 *
 * The scopes go to the producers as commands, under an id that is made of the arguments: so the same command line finds its
 * replay again, after a stop, a crash or on another machine, and goes on with it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/job.h"
#include "common/json.h"
#include "common/key.h"
#include "common/tenant.h"
#include "common/uuid.h"
#include "producer/commander.h"
#include "producer/commands.h"
#include "producer/orders.h"
#include "producer/replay_plan.h"

#define BAR_WIDTH   30
#define ANSWERED_MS 3600000 /* a job that is older has its feedback, or has lost it */
#define TAKEN_MS    120000  /* for producers to take what was written */

static volatile int interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* --- arguments --------------------------------------------------------------------------------- */

/* TIME, or PARTITION:OFFSET */
struct bound {
    const char *text;  /* NULL: not given */
    int32_t partition; /* -1: a time */
    int64_t at;
};

struct args {
    const char *config, *kind;
    struct bound from, to;
    struct cs_plan_filter filter;
    bool dry_run, json, detach;
};

static int usage(FILE *to, int code)
{
    fputs(
        "usage: crmsync-producer replay [-c FILE] --from TIME|P:OFFSET [--to TIME|P:OFFSET]\n"
        "                               [--tenant T] [--mailbox M] [--kind email|event]\n"
        "                               [--dry-run] [--detach] [--json]\n\n"
        "Reads the jobs of that range and has what they stood for read from Microsoft 365 and "
        "published\n"
        "again: slices of mail by time, single mails by id, calendars as a whole. Live cursors do "
        "not move,\n"
        "nothing is sent, and live changes go first.\n\n"
        "  --from, --to  RFC 3339 (2026-11-25T08:00:00Z), or a partition and an offset of the jobs "
        "topic\n"
        "  --kind        only mail, or only events\n"
        "  --dry-run     say what would be done\n"
        "  --detach      do not wait for the end\n"
        "  --json        one JSON object\n\n"
        "Ctrl-C stops it; the same command goes on. Exit 0 done; 65: nothing in that range; 69: no "
        "broker;\n"
        "75: stopped, or not done; 78: configuration.\n",
        to);
    return code;
}

static bool parse_bound(const char *text, struct bound *ret)
{
    char *end = NULL;
    long partition;

    ret->text = text;
    ret->partition = -1;
    if (cs_time_parse(text, strlen(text), &ret->at) == 0)
        return true;
    errno = 0;
    partition = strtol(text, &end, 10);
    if (end == text || *end != ':' || partition < 0 || partition > 100000)
        return false;
    ret->partition = (int32_t)partition;
    text = end + 1;
    ret->at = strtoll(text, &end, 10);
    return end != text && *end == '\0' && ret->at >= 0 && errno == 0;
}

static bool parse_args(int argc, char **argv, struct args *a, int *code)
{
    enum { FROM = 1000, TO, TENANT, MAILBOX, KIND, DRY_RUN, DETACH, JSON };
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"from", required_argument, NULL, FROM},
                                            {"to", required_argument, NULL, TO},
                                            {"tenant", required_argument, NULL, TENANT},
                                            {"mailbox", required_argument, NULL, MAILBOX},
                                            {"kind", required_argument, NULL, KIND},
                                            {"dry-run", no_argument, NULL, DRY_RUN},
                                            {"detach", no_argument, NULL, DETACH},
                                            {"json", no_argument, NULL, JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool ok = true;
    int x;

    *a = (struct args){
        .config = CS_DEFAULT_CONFIG, .kind = "", .filter = {.mail = true, .events = true}};
    while (ok && (x = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (x) {
        case 'c': a->config = optarg; break;
        case FROM: ok = parse_bound(optarg, &a->from); break;
        case TO: ok = parse_bound(optarg, &a->to); break;
        case TENANT: a->filter.tenant = optarg; break;
        case MAILBOX: a->filter.mailbox = optarg; break;
        case KIND:
            a->kind = optarg;
            a->filter.mail = strcmp(optarg, "email") == 0;
            a->filter.events = strcmp(optarg, "event") == 0;
            ok = a->filter.mail || a->filter.events;
            break;
        case DRY_RUN: a->dry_run = true; break;
        case DETACH: a->detach = true; break;
        case JSON: a->json = true; break;
        case 'h': *code = usage(stdout, 0); return false;
        default: ok = false;
        }
    ok = ok && optind == argc && a->from.text != NULL &&
         (a->to.text == NULL || a->to.partition == a->from.partition);
    if (!ok)
        *code = usage(stderr, EX_USAGE);
    return ok;
}

/* The same arguments give the same name. */
static void name_of(const struct args *a, char out[40])
{
    const char *const parts[] = {a->from.text, a->to.text, a->filter.tenant, a->filter.mailbox,
                                 a->kind};
    uint64_t h = 1;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const char *s = parts[i] != NULL ? parts[i] : "";

        h = cs_mix64(h ^ cs_murmur2(s, strlen(s)) ^ (uint64_t)strlen(s) << 40);
    }
    snprintf(out, 40, "replay-%016" PRIx64, h);
}

/* --- the range --------------------------------------------------------------------------------- */

struct reading {
    struct cs_plan *plan;
    int64_t until;    /* offset */
    int64_t first_ms; /* of the first message there is; CS_NEVER: none */
};

static int on_job(void *user, const struct cs_kafka_msg *msg)
{
    struct reading *r = user;

    return msg->offset < r->until ? cs_plan_job(r->plan, msg) : 1;
}

static int on_first(void *user, const struct cs_kafka_msg *msg)
{
    struct reading *r = user;

    if (msg->timestamp_ms < r->first_ms)
        r->first_ms = msg->timestamp_ms;
    return 1;
}

static int on_feedback(void *user, const struct cs_kafka_msg *msg)
{
    return cs_plan_feedback(((struct reading *)user)->plan, msg);
}

static int on_record(void *user, const struct cs_kafka_msg *msg)
{
    return cs_plan_record(((struct reading *)user)->plan, msg);
}

static int offset_of(struct cs_kafka_read *reader, const struct bound *b, int32_t partition,
                     int64_t none, int64_t *ret)
{
    *ret = none;
    if (b->text == NULL)
        return 0;
    if (b->partition >= 0) {
        *ret = b->at;
        return 0;
    }
    return cs_kafka_read_offset_at(reader, CS_TOPIC_JOBS, partition, b->at, CS_COMMANDER_MS, ret);
}

/* Feedback and records of a job come after it. */
static int read_after(struct cs_kafka_read *reader, enum cs_topic topic, int32_t partition,
                      int64_t since_ms, cs_kafka_read_fn fn, struct reading *r)
{
    int64_t from = 0;
    int x = cs_kafka_read_offset_at(reader, topic, partition, since_ms, CS_COMMANDER_MS, &from);

    return x < 0 ? x : cs_kafka_read_to_end(reader, topic, partition, from, CS_COMMANDER_MS, fn, r);
}

static int read_partition(struct cs_commander *c, const struct args *a, int32_t partition,
                          struct reading *r)
{
    struct cs_kafka_read *reader = cs_commander_reader(c);
    int64_t first = 0, next = 0, from = 0, since_ms;
    int x = cs_kafka_read_ends(reader, CS_TOPIC_JOBS, partition, CS_COMMANDER_MS, &first, &next);

    if (x == 0)
        x = offset_of(reader, &a->from, partition, first, &from);
    if (x == 0)
        x = offset_of(reader, &a->to, partition, next, &r->until);
    /* is the range older than what is kept? */
    if (x == 0 && first > 0 && from <= first)
        x = cs_kafka_read_to_end(reader, CS_TOPIC_JOBS, partition, first, CS_COMMANDER_MS, on_first,
                                 r);
    if (x == 0 || x == 1)
        x = from < r->until ? cs_kafka_read_to_end(reader, CS_TOPIC_JOBS, partition, from,
                                                   CS_COMMANDER_MS, on_job, r)
                            : 0;
    if (x < 0 || r->plan->jobs.n == 0)
        return x < 0 ? x : 0;
    since_ms = r->plan->first_ms - 1000;
    x = read_after(reader, CS_TOPIC_FEEDBACK, partition, since_ms, on_feedback, r);
    return x < 0 ? x : read_after(reader, CS_TOPIC_RECORDS, partition, since_ms, on_record, r);
}

static int make_plan(struct cs_commander *c, const struct args *a, struct cs_plan *plan)
{
    struct reading r = {.plan = plan, .first_ms = CS_NEVER};
    char text[CS_TIME_TEXT];
    int x = 0;

    if (a->from.partition >= cs_commander_partitions(c)) {
        fprintf(stderr, "there are %d partitions\n", (int)cs_commander_partitions(c));
        return EX_DATAERR;
    }
    *plan = (struct cs_plan){.filter = a->filter,
                             .first_ms = CS_NEVER,
                             .last_ms = INT64_MIN,
                             .answered_before_ms = cs_clock_utc_ms() - ANSWERED_MS};
    for (int32_t p = 0; p < cs_commander_partitions(c) && x >= 0 && !interrupted; p++)
        if (a->from.partition < 0 || a->from.partition == p)
            x = read_partition(c, a, p, &r);
    if (interrupted)
        return EX_TEMPFAIL;
    if (x == 0)
        x = cs_plan_finish(plan);
    if (x < 0) {
        fprintf(stderr, "the topics cannot be read: %s\n", strerror(-x));
        return EX_UNAVAILABLE;
    }
    if (r.first_ms != CS_NEVER && (a->from.partition >= 0 || a->from.at < r.first_ms)) {
        cs_time_format(r.first_ms, text);
        fprintf(stderr, "older jobs are not kept any more: the first there is, is of %s\n", text);
    }
    return 0;
}

static int64_t request_estimate(const struct cs_plan *p)
{
    /* a batch of 20 for the bodies, and about as many again for what they lead to */
    return p->requests + (p->n_items + 9) / 10;
}

static void show_plan(const struct args *a, const struct cs_plan *p, const char *id)
{
    char first[CS_TIME_TEXT], last[CS_TIME_TEXT];

    cs_time_format(p->first_ms, first);
    cs_time_format(p->last_ms, last);
    if (a->json) {
        printf("{\"replay_id\":%s%s%s,\"jobs\":%" PRId64 ",\"mailboxes\":%zu,\"slices\":%" PRId64
               ",\"items\":%" PRId64 ",\"calendars\":%" PRId64 ",\"jobs_without_records\":%" PRId64
               ",\"requests_estimated\":%" PRId64 ",\"first\":\"%s\",\"last\":\"%s\"}\n",
               id != NULL ? "\"" : "", id != NULL ? id : "null", id != NULL ? "\"" : "",
               p->n_slice_jobs + p->n_item_jobs + p->n_calendar_jobs, p->boxes.n, p->n_slices,
               p->n_items, p->n_calendars, p->n_gone, request_estimate(p), first, last);
        return;
    }
    printf("jobs in the range  %" PRId64 " of %zu mailboxes, from %s to %s\n",
           p->n_slice_jobs + p->n_item_jobs + p->n_calendar_jobs, p->boxes.n, first, last);
    printf("to be read again   %" PRId64 " slices of mail, %" PRId64 " single mails, %" PRId64
           " calendars\n",
           p->n_slices, p->n_items, p->n_calendars);
    if (p->n_gone > 0)
        printf("records gone       of %" PRId64
               " jobs: the mail of their mailboxes is read to its depth\n",
               p->n_gone);
    printf("requests, about    %" PRId64 "\n", request_estimate(p));
}

/* --- commands ---------------------------------------------------------------------------------- */

/* How many messages one mailbox's scopes take. */
static size_t messages_of(const struct cs_plan_box *box)
{
    size_t slices = (box->n_slices + CS_COMMAND_SLICES_MAX - 1) / CS_COMMAND_SLICES_MAX;
    size_t items = (box->items.n + CS_COMMAND_ITEMS_MAX - 1) / CS_COMMAND_ITEMS_MAX;
    size_t n = slices > items ? slices : items;

    return n == 0 && box->calendar ? 1 : n;
}

/* @param[in] total  messages for all mailboxes. @return 0, -EIO, -ENOMEM */
static int write_box(struct cs_commander *c, const struct cs_plan_box *box, const char *replay_id,
                     size_t total)
{
    char *items[CS_COMMAND_ITEMS_MAX];
    size_t slot = 0, slices = 0;
    int r = 0;

    for (size_t i = 0; i < messages_of(box) && r == 0; i++) {
        struct cs_command command = {.type = CS_COMMAND_REPLAY,
                                     .seq = (int64_t)i + 1,
                                     .total = (int64_t)total,
                                     .items = items};
        char *id = NULL;

        snprintf(command.replay_id, sizeof(command.replay_id), "%s", replay_id);
        if (cs_uuid7(cs_clock_utc_ms(), command.id) < 0)
            return -EIO;
        command.slices = box->slices + slices;
        command.n_slices = box->n_slices - slices < CS_COMMAND_SLICES_MAX ? box->n_slices - slices
                                                                          : CS_COMMAND_SLICES_MAX;
        slices += command.n_slices;
        while (command.n_items < CS_COMMAND_ITEMS_MAX &&
               (id = cs_strmap_next(&box->items, &slot, NULL)) != NULL)
            items[command.n_items++] = id;
        command.calendar = i == 0 && box->calendar;
        r = cs_commander_write(c, box->tenant, box->mailbox, &command);
    }
    return r;
}

/* --- progress ---------------------------------------------------------------------------------- */

/* One entry of the state: the scopes of one message. */
struct entry {
    char *tenant, *mailbox;
    double total, done;
    int64_t jobs, records, requests;
    bool ended, stopped;
    char code[64];
};

struct progress {
    const char *prefix; /* of replay ids that are looked for */
    size_t prefix_len;
    int64_t newest;           /* number of the newest replay of that name; 0: none */
    size_t total;             /* messages that it was written as; 0: not known */
    struct cs_strmap entries; /* its entries, by key */
};

static void entry_free(struct entry *e)
{
    free(e->tenant);
    free(e->mailbox);
    free(e);
}

static void forget_entries(struct progress *p)
{
    size_t slot = 0;
    struct entry *e;

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

static void fill_entry(struct entry *e, cs_json_val v)
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

static int take_entry(struct progress *p, const struct cs_kafka_msg *msg, const char *tenant,
                      const char *mailbox)
{
    struct cs_json *doc = NULL;
    const char *reason;
    struct entry *e = cs_strmap_get(&p->entries, msg->key, msg->key_len);
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
static int on_state(void *user, const struct cs_kafka_msg *msg)
{
    static const char stream[] = "replay:";
    char tenant[CS_TENANT_MAX + 1], mailbox[CS_MAILBOX_MAX + 1], rest_text[160], *end = NULL;
    struct progress *p = user;
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
        forget_entries(p);
        p->total = 0;
    }
    p->newest = number;
    return take_entry(p, msg, tenant, mailbox);
}

struct sum {
    double total, done;
    int64_t jobs, records, requests;
    size_t ended, stopped, waiting;
    const char *code;
};

static struct sum add_up(const struct progress *p)
{
    struct sum s = {0};
    const struct entry *e;
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

static void show_progress(const struct sum *s, int64_t elapsed_ms, double begun_at, bool terminal)
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

/* Until all of it is done. expected: entries that are to come.
 * @return 0; -EAGAIN (some are not taken, or were stopped after too many failures); -EIO, -ETIMEDOUT */
static int follow(struct cs_commander *c, struct progress *p, size_t expected, bool quiet)
{
    const struct timespec pause = {.tv_nsec = 300000000};
    int64_t begun_ms = cs_clock_mono_ms(), shown_ms = INT64_MIN, moved_ms = begun_ms;
    size_t seen = 0;
    bool terminal = isatty(STDERR_FILENO) != 0;
    double begun_at = -1;
    int r = 0;

    for (;;) {
        struct sum s;

        r = cs_commander_follow(c, on_state, p);
        if (r < 0 || interrupted)
            break;
        s = add_up(p);
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

/* From here on a second one ends the process. */
static void let_go_of_signals(void)
{
    interrupted = 0;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* To every mailbox of the plan: some may not have taken it yet, and take this right after it. */
static int stop_plan(struct cs_commander *c, const struct cs_plan *plan, const char *replay_id)
{
    struct cs_command command = {.type = CS_COMMAND_REPLAY_STOP};
    const struct cs_plan_box *box;
    size_t slot = 0;
    int r = 0;

    let_go_of_signals();
    snprintf(command.replay_id, sizeof(command.replay_id), "%s", replay_id);
    while (r == 0 && (box = cs_strmap_next(&plan->boxes, &slot, NULL)) != NULL)
        r = cs_uuid7(cs_clock_utc_ms(), command.id) < 0
                ? -EIO
                : cs_commander_write(c, box->tenant, box->mailbox, &command);
    return r < 0 ? r : cs_commander_flush(c);
}

/* To every mailbox of the replay that is known to have taken it: stop, or go on. */
static int tell_all(struct cs_commander *c, const struct progress *p, const char *replay_id,
                    enum cs_command_type type)
{
    struct cs_command command = {.type = type};
    const struct entry *e;
    size_t slot = 0;
    int r = 0;

    let_go_of_signals();
    snprintf(command.replay_id, sizeof(command.replay_id), "%s", replay_id);
    while (r == 0 && (e = cs_strmap_next(&p->entries, &slot, NULL)) != NULL)
        r = e->ended ? 0
            : cs_uuid7(cs_clock_utc_ms(), command.id) < 0
                ? -EIO
                : cs_commander_write(c, e->tenant, e->mailbox, &command);
    return r < 0 ? r : cs_commander_flush(c);
}

static bool install_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal};

    return sigaction(SIGINT, &action, NULL) == 0 && sigaction(SIGTERM, &action, NULL) == 0;
}

/* @param[in] plan  NULL: every entry has been seen */
static int finish(struct cs_commander *c, const struct args *a, struct progress *p,
                  const char *replay_id, size_t expected, const struct cs_plan *plan)
{
    int r = follow(c, p, expected, a->json);
    struct sum s = add_up(p);
    bool done = r == 0 && !interrupted;

    if (r == 0 && interrupted) {
        r = plan != NULL ? stop_plan(c, plan, replay_id)
                         : tell_all(c, p, replay_id, CS_COMMAND_REPLAY_STOP);
        if (r == 0 && !a->json)
            fprintf(stderr, "stopped; the same command goes on\n");
    }
    if (r == -EAGAIN)
        return EX_TEMPFAIL;
    if (r < 0) {
        fprintf(stderr, "the broker does not answer; the replay goes on by itself\n");
        return EX_UNAVAILABLE;
    }
    if (a->json)
        printf("{\"replay_id\":\"%s\",\"done\":%s,\"jobs\":%" PRId64 ",\"records\":%" PRId64
               ",\"requests\":%" PRId64 "}\n",
               replay_id, done ? "true" : "false", s.jobs, s.records, s.requests);
    else if (done)
        printf("done: %" PRId64 " jobs, %" PRId64 " records, %" PRId64 " requests\n", s.jobs,
               s.records, s.requests);
    return done ? 0 : EX_TEMPFAIL;
}

/* --- the verb ---------------------------------------------------------------------------------- */

/* Nobody would take their commands. */
static void drop_unusable(const struct cs_commander *c, struct cs_plan *plan)
{
    struct cs_plan_box *box;
    size_t slot = 0;

    while ((box = cs_strmap_next(&plan->boxes, &slot, NULL)) != NULL) {
        const struct cs_tenant *t = cs_tenants_find(cs_commander_tenants(c), box->tenant);
        bool configured = t != NULL && cs_tenant_has_mailbox(t, box->mailbox);

        if (configured && messages_of(box) <= CS_REPLAYS_MAX)
            continue;
        fprintf(stderr, "left out: %s/%s %s\n", box->tenant, box->mailbox,
                configured ? "has too much in that range for one replay"
                           : "is not configured any more");
        cs_plan_drop(plan, box);
        slot = 0; /* the map has changed */
    }
}

static int begin(struct cs_commander *c, const struct args *a, struct progress *p, const char *name)
{
    char replay_id[CS_COMMAND_ID_LEN + 1];
    const struct cs_plan_box *box;
    struct cs_plan plan;
    size_t slot = 0, expected = 0;
    int r = make_plan(c, a, &plan), n = 0;

    if (r == 0)
        drop_unusable(c, &plan);
    /* never a number that was used: messages of one that was cut off may still be on their way */
    p->newest = p->newest >= cs_clock_utc_ms() ? p->newest + 1 : cs_clock_utc_ms();
    snprintf(replay_id, sizeof(replay_id), "%s-%" PRId64, name, p->newest);
    if (r == 0 && plan.boxes.n == 0) {
        fprintf(stderr, "there are no jobs in that range\n");
        r = EX_DATAERR;
    }
    if (r == 0 && (a->dry_run || !a->json))
        show_plan(a, &plan, a->dry_run ? NULL : replay_id);
    if (r != 0 || a->dry_run)
        goto out;
    while ((box = cs_strmap_next(&plan.boxes, &slot, NULL)) != NULL)
        expected += messages_of(box);
    for (slot = 0;
         n == 0 && !interrupted && (box = cs_strmap_next(&plan.boxes, &slot, NULL)) != NULL;)
        n = write_box(c, box, replay_id, expected);
    if (n < 0 || cs_commander_flush(c) < 0) {
        fprintf(stderr, "the broker did not take it\n");
        r = EX_UNAVAILABLE;
        goto out;
    }
    forget_entries(p);
    if (a->detach && !interrupted)
        printf("%s goes on by itself\n", replay_id);
    else
        r = finish(c, a, p, replay_id, expected, &plan);
out:
    cs_plan_clear(&plan);
    return r;
}

/* One that was cut off while it was being written is stopped, and all of it begins anew. */
static int begin_again(struct cs_commander *c, const struct args *a, struct progress *p,
                       const char *name)
{
    char replay_id[CS_COMMAND_ID_LEN + 1];

    snprintf(replay_id, sizeof(replay_id), "%s-%" PRId64, name, p->newest);
    fprintf(stderr,
            "%s was cut off while it was being written: it is stopped, and all of it begins anew\n",
            replay_id);
    if (tell_all(c, p, replay_id, CS_COMMAND_REPLAY_STOP) < 0 || !install_signals())
        return EX_UNAVAILABLE;
    return begin(c, a, p, name);
}

/* One of the same arguments that has not come to its end. */
static int go_on(struct cs_commander *c, const struct args *a, struct progress *p, const char *name)
{
    char replay_id[CS_COMMAND_ID_LEN + 1];

    snprintf(replay_id, sizeof(replay_id), "%s-%" PRId64, name, p->newest);
    if (!a->json)
        fprintf(stderr, "%s goes on where it was\n", replay_id);
    if (tell_all(c, p, replay_id, CS_COMMAND_REPLAY_RESUME) < 0 || !install_signals())
        return EX_UNAVAILABLE;
    if (a->detach)
        return 0;
    return finish(c, a, p, replay_id, p->entries.n, NULL);
}

int cs_cmd_replay(int argc, char **argv)
{
    struct cs_commander *c = NULL;
    struct progress p = {0};
    struct args a;
    char name[40];
    int code = 0, r;

    if (!parse_args(argc, argv, &a, &code))
        return code;
    if (!install_signals())
        return EX_OSERR;
    name_of(&a, name);
    r = cs_commander_open(a.config, &interrupted, &c);
    if (r == 0) {
        char prefix[48];
        struct sum s;

        snprintf(prefix, sizeof(prefix), "%s-", name);
        p.prefix = prefix;
        p.prefix_len = strlen(prefix);
        cs_commander_rewind(c);
        if (cs_commander_follow(c, on_state, &p) < 0) {
            fprintf(stderr, "the state cannot be read\n");
            r = EX_UNAVAILABLE;
        }
        s = add_up(&p);
        if (r == 0)
            r = interrupted                                ? EX_TEMPFAIL
                : a.dry_run                                ? begin(c, &a, &p, name)
                : p.entries.n > 0 && p.total > p.entries.n ? begin_again(c, &a, &p, name)
                : s.ended < p.entries.n                    ? go_on(c, &a, &p, name)
                                                           : begin(c, &a, &p, name);
    }
    forget_entries(&p);
    cs_commander_close(c);
    return r;
}
