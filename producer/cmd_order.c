/* cmd_order.c - pause, resume, sync-now, resync: one command for each mailbox, and its acknowledgement. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/key.h"
#include "common/uuid.h"
#include "producer/commander.h"
#include "producer/commands.h"
#include "producer/strmap.h"

#define WAIT_S 60

static volatile int interrupted;

struct order {
    struct cs_commander *commander;
    struct cs_command command;
    struct cs_strmap waiting; /* tenant/mailbox -> the key again, until it is acknowledged */
    size_t n, answered;
};

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static int usage(const char *verb, FILE *to, int code)
{
    const char *what =
        strcmp(verb, "pause") == 0
            ? "Stops synchronizing mailboxes until `resume`; sending goes on."
        : strcmp(verb, "resume") == 0 ? "Goes on with mailboxes that were paused."
        : strcmp(verb, "sync-now") == 0
            ? "Asks every folder and the calendar at once, and mailboxes that wait after an error."
            : "Compares every folder with what is out there and publishes what differs; walks the\n"
              "calendar anew.";

    fprintf(
        to,
        "usage: crmsync-producer %s [-c FILE] (--tenant T [--mailbox M] | --mailbox M | --all)%s "
        "[--json]\n\n%s\n\n"
        "  --tenant T    all mailboxes of one customer\n"
        "  --mailbox M   one mailbox\n"
        "  --all         %s\n"
        "%s"
        "  --wait S      how long to wait for the producers' acknowledgement (%d)\n"
        "  --json        one JSON object\n\n"
        "Exit 0 when every mailbox has it; 65: no such mailbox; 69: no broker; 75: not "
        "acknowledged in time\n"
        "(it is written and will be done); 78: configuration.\n",
        verb, strcmp(verb, "resync") == 0 ? " [--rebuild]" : "", what,
        "every mailbox that is configured",
        strcmp(verb, "resync") == 0
            ? "  --rebuild     the first sync again: everything is published, for a records topic "
              "that was lost\n"
            : "",
        WAIT_S);
    return code;
}

static int write_one(void *user, const char *tenant, const char *mailbox)
{
    struct order *o = user;
    char key[CS_KEY_MAX], *copy;
    void *old = NULL;

    if (cs_key_mailbox(key, sizeof(key), tenant, mailbox) < 0 || (copy = strdup(key)) == NULL)
        return EX_OSERR;
    if (cs_strmap_put(&o->waiting, key, strlen(key), copy, &old) < 0) {
        free(copy);
        return EX_OSERR;
    }
    free(old);
    o->n++;
    return cs_commander_write(o->commander, tenant, mailbox, &o->command) < 0 ? EX_UNAVAILABLE : 0;
}

/* state.v1, stream folders: the last command that its owner took. */
static int on_state(void *user, const struct cs_kafka_msg *msg)
{
    static const char stream[] = "/folders";
    struct order *o = user;
    struct cs_json *doc = NULL;
    const char *reason, *id = NULL;
    size_t n = msg->key_len - (sizeof(stream) - 1);

    if (msg->value == NULL || msg->key == NULL || msg->key_len <= sizeof(stream) - 1 ||
        memcmp(msg->key + n, stream, sizeof(stream) - 1) != 0 ||
        cs_json_parse(msg->value, msg->value_len, &doc, &reason) < 0)
        return 0;
    if (cs_json_str(cs_json_get(cs_json_root(doc), "command"), "command_id", CS_COMMAND_ID_LEN,
                    &id) == 0 &&
        strcmp(id, o->command.id) == 0) {
        void *found = cs_strmap_remove(&o->waiting, msg->key, n);

        o->answered += found != NULL;
        free(found);
    }
    cs_json_free(doc);
    return 0;
}

static int wait_for_answers(struct order *o, int64_t wait_ms)
{
    int64_t until_ms = cs_clock_mono_ms() + wait_ms;
    const struct timespec pause = {.tv_nsec = 200000000};
    int r = 0;

    while (r == 0 && o->answered < o->n && !interrupted && cs_clock_mono_ms() < until_ms) {
        r = cs_commander_follow(o->commander, on_state, o);
        if (r == 0 && o->answered < o->n)
            (void)nanosleep(&pause, NULL); /* cut short by a signal: the better */
    }
    return r;
}

static int give(struct order *o, const char *tenant, const char *mailbox, int64_t wait_ms,
                bool json)
{
    int r = cs_commander_mark(o->commander) < 0 ? EX_UNAVAILABLE : 0;

    if (r == 0)
        r = cs_commander_each(o->commander, tenant, mailbox, write_one, o);
    if (r == 0 && cs_commander_flush(o->commander) < 0)
        r = EX_UNAVAILABLE;
    if (r == 0 && wait_for_answers(o, wait_ms) < 0)
        r = EX_UNAVAILABLE;
    if (r == EX_UNAVAILABLE)
        fprintf(stderr, "the broker did not take it\n");
    if (r != 0)
        return r;
    if (json)
        printf("{\"command_id\":\"%s\",\"type\":\"%s\",\"mailboxes\":%zu,\"acknowledged\":%zu}\n",
               o->command.id, cs_command_type_name(o->command.type), o->n, o->answered);
    else
        printf("%s: %zu of %zu mailboxes have it\n", cs_command_type_name(o->command.type),
               o->answered, o->n);
    return o->answered == o->n ? 0 : EX_TEMPFAIL;
}

static enum cs_command_type type_of(const char *verb, bool rebuild)
{
    return strcmp(verb, "pause") == 0      ? CS_COMMAND_PAUSE
           : strcmp(verb, "resume") == 0   ? CS_COMMAND_RESUME
           : strcmp(verb, "sync-now") == 0 ? CS_COMMAND_SYNC_NOW
           : rebuild                       ? CS_COMMAND_REBUILD
                                           : CS_COMMAND_RESYNC;
}

int cs_cmd_order(int argc, char **argv)
{
    enum { TENANT = 1000, MAILBOX, ALL, REBUILD, WAIT, JSON };
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"tenant", required_argument, NULL, TENANT},
                                            {"mailbox", required_argument, NULL, MAILBOX},
                                            {"all", no_argument, NULL, ALL},
                                            {"rebuild", no_argument, NULL, REBUILD},
                                            {"wait", required_argument, NULL, WAIT},
                                            {"json", no_argument, NULL, JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const struct sigaction action = {.sa_handler = on_signal};
    const char *path = CS_DEFAULT_CONFIG, *tenant = NULL, *mailbox = NULL, *verb = argv[0];
    bool all = false, rebuild = false, json = false;
    struct order o = {0};
    long wait_s = WAIT_S;
    char *end = NULL;
    size_t slot = 0;
    void *key;
    int x, r;

    while ((x = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (x) {
        case 'c': path = optarg; break;
        case TENANT: tenant = optarg; break;
        case MAILBOX: mailbox = optarg; break;
        case ALL: all = true; break;
        case REBUILD: rebuild = true; break;
        case WAIT:
            wait_s = strtol(optarg, &end, 10);
            if (*optarg == '\0' || *end != '\0' || wait_s < 0 || wait_s > 86400)
                return usage(verb, stderr, EX_USAGE);
            break;
        case JSON: json = true; break;
        case 'h': return usage(verb, stdout, 0);
        default: return usage(verb, stderr, EX_USAGE);
        }
    if (optind != argc || (rebuild && strcmp(verb, "resync") != 0) ||
        all == (tenant != NULL || mailbox != NULL))
        return usage(verb, stderr, EX_USAGE);
    o.command.type = type_of(verb, rebuild);
    if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ||
        cs_uuid7(cs_clock_utc_ms(), o.command.id) < 0)
        return EX_OSERR;
    r = cs_commander_open(path, &interrupted, &o.commander);
    if (r == 0)
        r = give(&o, tenant, mailbox, wait_s * 1000, json);
    while ((key = cs_strmap_next(&o.waiting, &slot, NULL)) != NULL)
        free(key);
    cs_strmap_clear(&o.waiting);
    cs_commander_close(o.commander);
    return r;
}
