/* main.c - arguments, signals, exit code; builds the objects, runs the loop, nothing else. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "producer/commands.h"
#include "producer/producer.h"

#define STOP_S 15 /* an exit that takes longer is cut short: nothing is lost by it */

static int usage(FILE *to, int code)
{
    fputs("usage: crmsync-producer VERB [OPTIONS]\n\n"
          "  run           decide what is due, publish jobs, keep the state of every mailbox\n"
          "  check-config  read the configuration, name what is wrong with it\n"
          "  health        ask the one that runs here whether it lives\n"
          "  topics        show, check or create the topics; list the ACLs that are needed\n"
          "  status        how every mailbox is doing\n"
          "  pause, resume stop synchronizing mailboxes, and go on\n"
          "  sync-now      ask everything at once\n"
          "  resync        compare mailboxes with what is out there, or publish all of it again\n"
          "  replay        read and publish again what a range of jobs stood for\n\n"
          "  VERB --help says more. --version prints the version.\n"
          "  -c FILE is the configuration (" CS_DEFAULT_CONFIG ").\n",
          to);
    return code;
}

static int run_help(FILE *to, int code)
{
    fputs("usage: crmsync-producer run [-c FILE] [--print-config]\n\n"
          "Runs in the foreground and logs to stderr. SIGTERM, SIGINT: stop; SIGHUP: read the "
          "tenants and\n"
          "schedule.* again.\n\n"
          "  --print-config  print the settings in force, secrets hidden, and exit\n\n"
          "Exit 0 after a signal; 64 usage; 70 failed; 78 configuration, topics, or another "
          "process with\n"
          "the same instance_id.\n",
          to);
    return code;
}

static volatile sig_atomic_t
    cut_short_code; /* what the run ended with, when closing is cut short */

static void on_alarm(int signal)
{
    static const char text[] =
        "crmsync-producer: stopping took too long, cut short; nothing is lost\n";

    (void)signal;
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        _exit(EX_SOFTWARE);
    _exit(cut_short_code);
}

/* Signals come through a descriptor; the threads of the libraries must not take them. */
static int open_signals(void)
{
    struct sigaction alarm_action = {.sa_handler = on_alarm};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigaction(SIGALRM, &alarm_action, NULL) < 0 || sigaction(SIGPIPE, &ignore, NULL) < 0 ||
        pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* From here on a second SIGTERM or SIGINT ends the process at once. */
static void unblock_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* cannot fail with a valid set */
}

/* Tests shift the wall clock, and only while Graph is a simulator on this machine. */
static void shift_clock(const struct cs_producer_conf *conf)
{
    const char *offset = getenv("CRMSYNC_TEST_CLOCK_OFFSET_MS");

    if (offset != NULL && cs_url_is_loopback(conf->common.graph_base_url))
        cs_clock_set_utc_offset(strtoll(offset, NULL, 10));
}

static int print_config(const struct cs_producer_conf *conf)
{
    struct cs_setting *table = cs_producer_table();
    struct cs_buf out;
    int code = EX_OSERR;

    cs_buf_init(&out, 0);
    if (table != NULL) {
        cs_conf_print(table, conf, &out);
        if (cs_buf_failed(&out) == 0 && fwrite(out.data, 1, out.len, stdout) == out.len)
            code = 0;
    }
    cs_buf_clear(&out);
    free(table);
    return code;
}

static int run_daemon(const char *path, struct cs_producer_conf *conf,
                      struct cs_tenant_set *tenants)
{
    struct cs_producer_params params = {.config_path = path, .conf = conf, .tenants = tenants};
    struct cs_producer *p = NULL;
    struct cs_log *log = NULL;
    struct cs_conf_error err;
    int code = EX_OSERR;

    params.signal_fd = open_signals();
    if (params.signal_fd < 0 ||
        cs_log_new("crmsync-producer", STDERR_FILENO, (enum cs_log_level)conf->common.log_level,
                   (enum cs_log_format)conf->common.log_format, &log) < 0) {
        fprintf(stderr, "crmsync-producer: cannot start: %s\n", strerror(errno));
        goto out;
    }
    params.log = log;
    cs_log_info(log, "producer.starting", CS_STR("version", CS_VERSION),
                CS_STR("delivery", cs_delivery_names[conf->common.kafka_delivery]));
    if (cs_producer_new(&params, &p, &err) < 0) {
        cs_log_error(log, "config.refused", CS_STR("error", err.text));
        code = EX_CONFIG;
        goto out;
    }
    code = cs_producer_run(p);
    cut_short_code = code;
    alarm(STOP_S);
    unblock_signals();
    cs_producer_free(p);
out:
    cs_log_free(log);
    if (params.signal_fd >= 0)
        close(params.signal_fd);
    return code;
}

static int cmd_run(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"print-config", no_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = CS_DEFAULT_CONFIG;
    struct cs_tenant_set *tenants = NULL;
    struct cs_producer_conf conf;
    struct cs_conf_error err;
    int print = 0, o, code;

    while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (o) {
        case 'c': path = optarg; break;
        case 'p': print = 1; break;
        case 'h': return run_help(stdout, 0);
        default: return run_help(stderr, EX_USAGE);
        }
    if (optind < argc)
        return run_help(stderr, EX_USAGE);
    if (cs_producer_conf_load(path, &conf, &tenants, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return EX_CONFIG;
    }
    shift_clock(&conf);
    code = print ? print_config(&conf) : run_daemon(path, &conf, tenants);
    cs_tenants_unref(tenants);
    cs_producer_conf_clear(&conf);
    return code;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *verb;
        int (*fn)(int argc, char **argv);
    } verbs[] = {
        {"run", cmd_run},          {"check-config", cs_cmd_check_config},
        {"health", cs_cmd_health}, {"topics", cs_cmd_topics},
        {"status", cs_cmd_status}, {"pause", cs_cmd_order},
        {"resume", cs_cmd_order},  {"sync-now", cs_cmd_order},
        {"resync", cs_cmd_order},  {"replay", cs_cmd_replay},
    };

    if (argc < 2)
        return usage(stderr, EX_USAGE);
    if (strcmp(argv[1], "--version") == 0) {
        printf("crmsync-producer %s\n", CS_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return usage(stdout, 0);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[1], verbs[i].verb) == 0)
            return verbs[i].fn(argc - 1, argv + 1);
    fprintf(stderr, "crmsync-producer: no such verb: %s\n", argv[1]);
    return usage(stderr, EX_USAGE);
}
