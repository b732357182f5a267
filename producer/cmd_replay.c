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
#include "producer/replay_progress.h"

#define ANSWERED_MS 3600000 /* a job that is older has its feedback, or has lost it */

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
        "A mailbox that is paused, waits, or has not ended its first sync is read after that: "
        "`status` says why.\n"
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
    bool emptied;     /* all that a partition had in the range is gone */
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
    if (x == 0 && first > 0 && (a->from.partition >= 0 ? from < first : from <= first))
        x = cs_kafka_read_to_end(reader, CS_TOPIC_JOBS, partition, first, CS_COMMANDER_MS, on_first,
                                 r);
    r->emptied = r->emptied || (first > 0 && first == next && from <= first);
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
    } else if (r.emptied) {
        fprintf(stderr, "older jobs are not kept any more\n");
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

/* --- to the end ------------------------------------------------------------------------------- */

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
static int tell_all(struct cs_commander *c, const struct cs_progress *p, const char *replay_id,
                    enum cs_command_type type)
{
    struct cs_command command = {.type = type};
    const struct cs_progress_entry *e;
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
static int finish(struct cs_commander *c, const struct args *a, struct cs_progress *p,
                  const char *replay_id, size_t expected, const struct cs_plan *plan)
{
    int r = cs_progress_follow(c, p, expected, a->json, &interrupted);
    struct cs_progress_sum s = cs_progress_sum(p);
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

static int begin(struct cs_commander *c, const struct args *a, struct cs_progress *p,
                 const char *name)
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
    cs_progress_clear(p);
    if (a->detach && !interrupted)
        printf("%s goes on by itself\n", replay_id);
    else
        r = finish(c, a, p, replay_id, expected, &plan);
out:
    cs_plan_clear(&plan);
    return r;
}

/* One that was cut off while it was being written is stopped, and all of it begins anew. */
static int begin_again(struct cs_commander *c, const struct args *a, struct cs_progress *p,
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
static int go_on(struct cs_commander *c, const struct args *a, struct cs_progress *p,
                 const char *name)
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

static int count_one(void *user, const char *tenant, const char *mailbox)
{
    (void)user;
    (void)tenant;
    (void)mailbox;
    return 0; /* that it is there is all that is asked */
}

int cs_cmd_replay(int argc, char **argv)
{
    struct cs_commander *c = NULL;
    struct cs_progress p = {0};
    struct args a;
    char name[40];
    int code = 0, r;

    if (!parse_args(argc, argv, &a, &code))
        return code;
    if (!install_signals())
        return EX_OSERR;
    name_of(&a, name);
    r = cs_commander_open(a.config, &interrupted, &c);
    if (r == 0)
        r = cs_commander_each(c, a.filter.tenant, a.filter.mailbox, count_one, NULL);
    if (r == 0) {
        char prefix[48];
        struct cs_progress_sum s;

        snprintf(prefix, sizeof(prefix), "%s-", name);
        p.prefix = prefix;
        p.prefix_len = strlen(prefix);
        cs_commander_rewind(c);
        if (cs_commander_follow(c, cs_progress_take, &p) < 0) {
            fprintf(stderr, "the state cannot be read\n");
            r = EX_UNAVAILABLE;
        }
        s = cs_progress_sum(&p);
        if (r == 0)
            r = interrupted                                ? EX_TEMPFAIL
                : a.dry_run                                ? begin(c, &a, &p, name)
                : p.entries.n > 0 && p.total > p.entries.n ? begin_again(c, &a, &p, name)
                : s.ended < p.entries.n                    ? go_on(c, &a, &p, name)
                                                           : begin(c, &a, &p, name);
    }
    cs_progress_clear(&p);
    cs_commander_close(c);
    return r;
}
