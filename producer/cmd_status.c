#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/kafka_admin.h"
#include "common/kafka_read.h"
#include "producer/commands.h"
#include "producer/settings.h"
#include "producer/strmap.h"

#define TIMEOUT_MS 15000

static int help(FILE *to, int code)
{
    fputs(
        "usage: crmsync-producer status [-c FILE] [--json] [MAILBOX...]\n\n"
        "How every mailbox is doing, as its producer wrote it last: state, since when, last "
        "success, next\n"
        "run, and what to do where something is wrong. MAILBOX is a mailbox or tenant/mailbox.\n\n"
        "  --json  one JSON object a line, as on the topic status.v1\n\n"
        "Exit 0; 1: a mailbox that was asked for has no status; 69: no broker answers; 78: "
        "configuration, or\n"
        "the topic is not there.\n",
        to);
    return code;
}

static int on_message(void *user, const struct cs_kafka_msg *msg)
{
    struct cs_strmap *map = user;
    void *old = NULL;
    char *copy;

    if (msg->key == NULL)
        return 0;
    if (msg->value == NULL) {
        free(cs_strmap_remove(map, msg->key, msg->key_len));
        return 0;
    }
    copy = strndup(msg->value, msg->value_len);
    if (copy == NULL || cs_strmap_put(map, msg->key, msg->key_len, copy, &old) < 0) {
        free(copy);
        return -ENOMEM;
    }
    free(old);
    return 0;
}

static int read_all(const struct cs_producer_conf *conf, struct cs_strmap *map)
{
    struct cs_kafka_admin *admin = NULL;
    struct cs_kafka_read *reader = NULL;
    int32_t counts[CS_TOPIC_COUNT_] = {0};
    struct cs_conf_error err = {""};
    int brokers, r;

    r = cs_kafka_admin_new(&conf->common, NULL, &admin, &err);
    if (r == 0)
        r = cs_kafka_read_new(&conf->common, NULL, &reader, &err);
    if (r < 0) {
        fprintf(stderr, "%s\n", err.text);
        r = -EINVAL;
        goto out;
    }
    r = cs_kafka_admin_partitions(admin, TIMEOUT_MS, counts, &brokers);
    for (int32_t p = 0; p < counts[CS_TOPIC_STATUS] && r == 0; p++)
        r = cs_kafka_read_to_end(reader, CS_TOPIC_STATUS, p, -1, TIMEOUT_MS, on_message, map);
    if (r < 0) {
        fprintf(stderr, "%s%s cannot be read: %s\n", conf->common.kafka_prefix,
                cs_topic_name(CS_TOPIC_STATUS), strerror(-r));
    } else if (counts[CS_TOPIC_STATUS] == 0) {
        fprintf(stderr, "%s%s is not there: crmsync-producer topics --apply\n",
                conf->common.kafka_prefix, cs_topic_name(CS_TOPIC_STATUS));
        r = -EINVAL;
    }
out:
    cs_kafka_read_free(reader);
    cs_kafka_admin_free(admin);
    return r;
}

struct row {
    const char *key; /* tenant/mailbox */
    const char *value;
};

static int by_key(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return strcmp(x->key, y->key);
}

static bool is_wanted(const char *key, char **names, int n)
{
    const char *slash = strchr(key, '/');

    for (int i = 0; i < n; i++)
        if (strcasecmp(names[i], key) == 0 ||
            (slash != NULL && strcasecmp(names[i], slash + 1) == 0))
            return true;
    return n == 0;
}

static const char *text_of(cs_json_val v, const char *name)
{
    const char *s = NULL;

    return cs_json_str(v, name, 4096, &s) == 0 ? s : "";
}

/* "3 min ago", "in 20 s" */
static void relative(cs_json_val v, const char *name, int64_t now_ms, char out[32])
{
    int64_t at, d;
    const char *unit = "s";

    if (cs_json_time(v, name, &at) < 0) {
        snprintf(out, 32, "-");
        return;
    }
    d = (at > now_ms ? at - now_ms : now_ms - at) / 1000;
    if (d >= 172800) {
        d /= 86400;
        unit = "d";
    } else if (d >= 7200) {
        d /= 3600;
        unit = "h";
    } else if (d >= 120) {
        d /= 60;
        unit = "min";
    }
    if (d == 0)
        snprintf(out, 32, "now");
    else
        snprintf(out, 32, at > now_ms ? "in %lld %s" : "%lld %s ago", (long long)d, unit);
}

static void print_row(const struct row *row, int width, int64_t now_ms, bool colour)
{
    struct cs_json *doc = NULL;
    const char *reason, *state, *code, *advice, *paint = "";
    char shown[32], since[32], success[32], next[32];
    int64_t percent = 0, owed = 0;
    cs_json_val v;

    if (cs_json_parse(row->value, strlen(row->value), &doc, &reason) < 0) {
        printf("%-*s  unreadable: %s\n", width, row->key, reason);
        return;
    }
    v = cs_json_root(doc);
    state = text_of(v, "state");
    snprintf(shown, sizeof(shown), "%s", state);
    if (strcmp(state, "backfill") == 0 && cs_json_i64(v, "backfill_percent", 0, 100, &percent) == 0)
        snprintf(shown, sizeof(shown), "backfill %d %%", (int)percent);
    relative(v, "since", now_ms, since);
    relative(v, "last_success", now_ms, success);
    relative(v, "next_run", now_ms, next);
    if (colour)
        paint = strcmp(state, "needs_admin") == 0 || strcmp(state, "error") == 0 ? "\x1b[31m"
                : strcmp(state, "delayed") == 0                                  ? "\x1b[33m"
                                                                                 : "\x1b[32m";
    printf("%-*s  %s%-14s%s  %-11s  %-11s  %-11s", width, row->key, paint, shown,
           colour ? "\x1b[0m" : "", since, success, next);
    code = text_of(v, "code");
    advice = text_of(v, "advice");
    if (*code != '\0')
        printf("  %s", code);
    if (cs_json_i64(v, "resync_owed", 0, INT32_MAX, &owed) == 0 && owed > 0)
        printf("  %d resync owed", (int)owed);
    if (*advice != '\0')
        printf("  %s", advice);
    printf("\n");
    cs_json_free(doc);
}

static int print_all(const struct cs_strmap *map, char **names, int n_names, bool json)
{
    struct row *rows = calloc(map->n + 1, sizeof(*rows));
    const char *key, *no_colour = getenv("NO_COLOR");
    size_t n = 0, slot = 0;
    int width = 7;
    char *value;

    if (rows == NULL)
        return EX_OSERR;
    while ((value = cs_strmap_next(map, &slot, &key)) != NULL)
        if (is_wanted(key, names, n_names)) {
            rows[n++] = (struct row){key, value};
            width = (int)strlen(key) > width ? (int)strlen(key) : width;
        }
    qsort(rows, n, sizeof(*rows), by_key);
    if (width > 60)
        width = 60;
    if (!json)
        printf("%-*s  %-14s  %-11s  %-11s  %-11s  %s\n", width, "MAILBOX", "STATE", "SINCE",
               "SUCCESS", "NEXT", "REASON");
    for (size_t i = 0; i < n; i++) {
        if (json)
            printf("%s\n", rows[i].value);
        else
            print_row(&rows[i], width, cs_clock_utc_ms(),
                      isatty(STDOUT_FILENO) && (no_colour == NULL || *no_colour == '\0'));
    }
    free(rows);
    return n_names > 0 && n < (size_t)n_names ? 1 : 0;
}

int cs_cmd_status(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = CS_DEFAULT_CONFIG;
    struct cs_producer_conf conf;
    struct cs_conf_error err;
    struct cs_strmap map = {0};
    bool json = false;
    size_t slot = 0;
    void *value;
    int o, r, code;

    while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (o) {
        case 'c': path = optarg; break;
        case 'j': json = true; break;
        case 'h': return help(stdout, 0);
        default: return help(stderr, EX_USAGE);
        }
    if (cs_producer_conf_load(path, &conf, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return EX_CONFIG;
    }
    r = read_all(&conf, &map);
    code = r == -EINVAL ? EX_CONFIG
           : r < 0      ? EX_UNAVAILABLE
                        : print_all(&map, argv + optind, argc - optind, json);
    while ((value = cs_strmap_next(&map, &slot, NULL)) != NULL)
        free(value);
    cs_strmap_clear(&map);
    cs_producer_conf_clear(&conf);
    return code;
}
