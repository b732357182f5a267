#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/kafka_admin.h"
#include "producer/commands.h"
#include "producer/settings.h"

#define TIMEOUT_MS 30000

static int help(FILE *to, int code)
{
    fputs(
        "usage: crmsync-producer topics [-c FILE] [--apply] [--partitions N] [--replication N]\n\n"
        "Says which topics there are, every setting that differs from what it should be, and the "
        "ACLs\n"
        "that each program needs. Changes nothing without --apply, which creates the topics that "
        "are\n"
        "missing; settings of existing topics are never changed.\n\n"
        "  --partitions N   of topics created (24); all topics must have as many, for good: it is "
        "the\n"
        "                   ceiling on workers, and a mailbox's partition follows from it\n"
        "  --replication N  of topics created (3, or the number of brokers if that is less)\n\n"
        "Exit 0: all is as it should be; 1: something is missing or differs; 69: no broker "
        "answers.\n",
        to);
    return code;
}

struct diffs {
    const char *prefix;
    size_t n;
};

static void on_diff(void *user, enum cs_topic topic, const char *setting, const char *have,
                    const char *want)
{
    struct diffs *d = user;

    printf("  differs  %s%s: %s is %s, should be %s\n", d->prefix, cs_topic_name(topic), setting,
           have, want);
    d->n++;
}

static int parse_number(const char *text, long max, long *ret)
{
    char *end = NULL;
    long v = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || v < 1 || v > max)
        return -EINVAL;
    *ret = v;
    return 0;
}

static void print_acls(const char *prefix)
{
    printf(
        "\nACLs (prefix %s):\n"
        "  crmsync-producer  Read, Describe          topics %sfeedback.v1 %scommands.v1 "
        "%soutbox.v1 %sstate.v1\n"
        "                    Write, Describe         topics %sjobs.v1 %sstate.v1 %sstatus.v1 "
        "%sdlq.v1\n"
        "                    Describe                topics %srecords.v1 %sindex.v1 %scontacts.v1\n"
        "                    Read                    group %s%s\n"
        "                    Write, Describe         transactional ids, prefixed %s%s\n",
        prefix, prefix, prefix, prefix, prefix, prefix, prefix, prefix, prefix, prefix, prefix,
        prefix, prefix, CS_GROUP_PRODUCER, prefix, CS_GROUP_PRODUCER);
    printf("  crmsync-worker    Read, Describe          topics %sjobs.v1 %sindex.v1 %scontacts.v1\n"
           "                    Write, Describe         topics %srecords.v1 %sindex.v1 "
           "%sfeedback.v1 %sdlq.v1\n"
           "                    Read                    group %s%s\n"
           "                    Write, Describe         transactional ids, prefixed %s%s\n",
           prefix, prefix, prefix, prefix, prefix, prefix, prefix, prefix, CS_GROUP_WORKER, prefix,
           CS_GROUP_WORKER);
    printf("  the CRM           Read, Describe          topics %srecords.v1 %sstatus.v1\n"
           "                    Write, Describe         topics %soutbox.v1 (the right to send as "
           "anyone)\n"
           "                                            %scontacts.v1\n",
           prefix, prefix, prefix, prefix);
    printf(
        "  operators         Write, Describe         topics %scommands.v1 (pause, resync, replay)\n"
        "                    Read, Describe          topics %sstate.v1 %sstatus.v1 %sjobs.v1 "
        "%sfeedback.v1 %srecords.v1\n"
        "  topics --apply    Create, DescribeConfigs topics, prefixed %s\n",
        prefix, prefix, prefix, prefix, prefix, prefix, prefix);
}

/* Creates what is missing with as many partitions as the others have. @return how many could not be */
static size_t create_missing(struct cs_kafka_admin *admin, const char *prefix, int32_t counts[],
                             int32_t partitions, int16_t replication)
{
    struct cs_conf_error err;
    size_t failed = 0;

    for (int i = 0; i < CS_TOPIC_COUNT_; i++) {
        int r;

        if (counts[i] > 0)
            continue;
        err.text[0] = '\0';
        r = cs_kafka_admin_create(admin, (enum cs_topic)i, partitions, replication, TIMEOUT_MS,
                                  &err);
        if (r == 0 || r == -EEXIST) {
            printf("  created  %s%s: %d partitions, replication %d\n", prefix,
                   cs_topic_name((enum cs_topic)i), partitions, replication);
            counts[i] = partitions;
        } else {
            fprintf(stderr, "%s%s: %s\n", prefix, cs_topic_name((enum cs_topic)i),
                    err.text[0] != '\0' ? err.text : strerror(-r));
            failed++;
        }
    }
    return failed;
}

/* Creation is answered before every broker tells of the topic; programs started next want to see it. */
static void wait_until_told(struct cs_kafka_admin *admin)
{
    int64_t until_ms = cs_clock_mono_ms() + TIMEOUT_MS;
    int32_t counts[CS_TOPIC_COUNT_];
    int brokers;

    while (cs_clock_mono_ms() < until_ms) {
        bool all = cs_kafka_admin_partitions(admin, TIMEOUT_MS, counts, &brokers) == 0;

        for (int i = 0; i < CS_TOPIC_COUNT_ && all; i++)
            all = counts[i] > 0;
        if (all)
            return;
        (void)poll(NULL, 0, 50);
    }
}

/* What the existing topics agree on; 0: there are none, -1: they differ. */
static int32_t common_count(const int32_t counts[])
{
    int32_t common = 0;

    for (int i = 0; i < CS_TOPIC_COUNT_; i++) {
        if (counts[i] == 0)
            continue;
        if (common > 0 && counts[i] != common)
            return -1;
        common = counts[i];
    }
    return common;
}

static int examine(struct cs_kafka_admin *admin, const char *prefix, bool apply, long partitions,
                   long replication)
{
    int32_t counts[CS_TOPIC_COUNT_] = {0};
    struct diffs d = {prefix, 0};
    int brokers = 0, r = cs_kafka_admin_partitions(admin, TIMEOUT_MS, counts, &brokers);
    size_t wrong = 0;
    int32_t common;

    if (r < 0) {
        fprintf(stderr, "no broker answers: %s\n", strerror(-r));
        return EX_UNAVAILABLE;
    }
    common = common_count(counts);
    if (common > 0 && partitions > 0 && common != partitions) {
        fprintf(
            stderr,
            "the topics that are there have %d partitions; another count needs another prefix\n",
            common);
        return EX_USAGE;
    }
    if (replication == 0)
        replication = brokers < 3 ? (brokers > 0 ? brokers : 1) : 3;
    if (apply && common >= 0) {
        wrong += create_missing(admin, prefix, counts,
                                common > 0       ? common
                                : partitions > 0 ? (int32_t)partitions
                                                 : 24,
                                (int16_t)replication);
        if (wrong == 0)
            wait_until_told(admin);
    }
    r = cs_kafka_admin_diff(admin, TIMEOUT_MS, on_diff, &d);
    if (r < 0) {
        fprintf(stderr, "the settings cannot be read: %s\n", strerror(-r));
        wrong++;
    }
    for (int i = 0; i < CS_TOPIC_COUNT_; i++) {
        if (counts[i] == 0)
            printf("  missing  %s%s\n", prefix, cs_topic_name((enum cs_topic)i));
        else
            printf("  there    %s%s: %d partitions\n", prefix, cs_topic_name((enum cs_topic)i),
                   counts[i]);
        wrong += counts[i] == 0 && !apply;
    }
    if (common_count(counts) < 0) {
        printf("  differs  the partition counts: all topics must have as many\n");
        wrong++;
    }
    return wrong + d.n > 0 ? 1 : 0;
}

int cs_cmd_topics(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"apply", no_argument, NULL, 'a'},
                                            {"partitions", required_argument, NULL, 'p'},
                                            {"replication", required_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = CS_DEFAULT_CONFIG;
    long partitions = 0, replication = 0;
    struct cs_kafka_admin *admin = NULL;
    struct cs_producer_conf conf;
    struct cs_conf_error err;
    bool apply = false;
    int o, code;

    while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (o) {
        case 'c': path = optarg; break;
        case 'a': apply = true; break;
        case 'p':
            if (parse_number(optarg, 10000, &partitions) < 0)
                return help(stderr, EX_USAGE);
            break;
        case 'r':
            if (parse_number(optarg, 100, &replication) < 0)
                return help(stderr, EX_USAGE);
            break;
        case 'h': return help(stdout, 0);
        default: return help(stderr, EX_USAGE);
        }
    if (optind < argc)
        return help(stderr, EX_USAGE);
    if (cs_producer_conf_load(path, &conf, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return EX_CONFIG;
    }
    if (cs_kafka_admin_new(&conf.common, NULL, &admin, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        code = EX_CONFIG;
    } else {
        code = examine(admin, conf.common.kafka_prefix, apply, partitions, replication);
        if (code != EX_UNAVAILABLE && code != EX_USAGE)
            print_acls(conf.common.kafka_prefix);
    }
    cs_kafka_admin_free(admin);
    cs_producer_conf_clear(&conf);
    return code;
}
