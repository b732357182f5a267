#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WATERMARK_TIMEOUT_MS 5000
#define RTT_MAX_MS           600000
#define ERROR_COUNT_MAX      10000

static const struct {
    const char *name;
    int16_t key;
} apis[] = {
    {"Produce", 0},          {"Fetch", 1},
    {"ListOffsets", 2},      {"Metadata", 3},
    {"OffsetCommit", 8},     {"OffsetFetch", 9},
    {"FindCoordinator", 10}, {"JoinGroup", 11},
    {"Heartbeat", 12},       {"LeaveGroup", 13},
    {"SyncGroup", 14},       {"ApiVersions", 18},
    {"InitProducerId", 22},  {"AddPartitionsToTxn", 24},
    {"AddOffsetsToTxn", 25}, {"EndTxn", 26},
    {"TxnOffsetCommit", 28},
};
#define N_APIS (sizeof(apis) / sizeof(apis[0]))

bool devbroker_parse_int(const char *text, int min, int max, int *ret)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < min || n > max)
        return false;
    *ret = (int)n;
    return true;
}

/* Kafka's own rule; it also keeps names free of what JSON would have to escape. */
static bool is_topic_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return s[n] == '\0' && n > 0 && n <= TOPIC_NAME_MAX && strcmp(s, ".") != 0 &&
           strcmp(s, "..") != 0;
}

const char *devbroker_create_topic(struct devbroker *b, const char *name, int partitions)
{
    rd_kafka_resp_err_t err;

    if (!is_topic_name(name))
        return "not a topic name";
    if (b->topics >= TOPICS_MAX)
        return "too many topics";
    err = rd_kafka_mock_topic_create(b->cluster, name, partitions, b->brokers < 3 ? b->brokers : 3);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return rd_kafka_err2name(err);
    b->topics++;
    watch_add(b->watch, name, partitions);
    return NULL;
}

static const char *finish(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_NO_ERROR ? NULL : rd_kafka_err2name(err);
}

static bool parse_broker(const struct devbroker *b, const char *text, bool all_ok, int *ret)
{
    if (all_ok && strcmp(text, "all") == 0) {
        *ret = -1;
        return true;
    }
    return devbroker_parse_int(text, 1, b->brokers, ret);
}

static bool parse_api(const char *text, int16_t *ret)
{
    int n;
    size_t i;

    for (i = 0; i < N_APIS; i++) {
        if (strcasecmp(text, apis[i].name) == 0) {
            *ret = apis[i].key;
            return true;
        }
    }
    if (!devbroker_parse_int(text, 0, API_MAX, &n))
        return false;
    *ret = (int16_t)n;
    return true;
}

static bool parse_error(const char *text, rd_kafka_resp_err_t *ret)
{
    const struct rd_kafka_err_desc *descs;
    size_t count, i;
    int n;

    rd_kafka_get_err_descs(&descs, &count);
    for (i = 0; i < count; i++) {
        if (descs[i].name != NULL && strcasecmp(text, descs[i].name) == 0) {
            *ret = descs[i].code;
            return true;
        }
    }
    if (!devbroker_parse_int(text, -200, 200, &n))
        return false;
    *ret = (rd_kafka_resp_err_t)n;
    return true;
}

static const char *do_topic(struct devbroker *b, char **arg, int n, FILE *extra)
{
    int partitions;

    (void)extra;
    if (n != 2 || !devbroker_parse_int(arg[1], 1, PARTITIONS_MAX, &partitions))
        return "usage: topic NAME PARTITIONS";
    return devbroker_create_topic(b, arg[0], partitions);
}

static const char *do_down(struct devbroker *b, char **arg, int n, FILE *extra)
{
    int id;

    (void)extra;
    if (n != 1 || !parse_broker(b, arg[0], true, &id))
        return "usage: down ID|all";
    return finish(rd_kafka_mock_broker_set_down(b->cluster, id));
}

static const char *do_up(struct devbroker *b, char **arg, int n, FILE *extra)
{
    int id;

    (void)extra;
    if (n != 1 || !parse_broker(b, arg[0], true, &id))
        return "usage: up ID|all";
    return finish(rd_kafka_mock_broker_set_up(b->cluster, id));
}

static const char *do_rtt(struct devbroker *b, char **arg, int n, FILE *extra)
{
    int id, ms;

    (void)extra;
    if (n != 2 || !parse_broker(b, arg[0], true, &id) ||
        !devbroker_parse_int(arg[1], 0, RTT_MAX_MS, &ms))
        return "usage: rtt ID|all MS";
    return finish(rd_kafka_mock_broker_set_rtt(b->cluster, id, ms));
}

static const char *do_leader(struct devbroker *b, char **arg, int n, FILE *extra)
{
    int partition, id;

    (void)extra;
    if (n != 3 || !is_topic_name(arg[0]) ||
        !devbroker_parse_int(arg[1], 0, PARTITIONS_MAX - 1, &partition) ||
        !parse_broker(b, arg[2], false, &id))
        return "usage: leader TOPIC PARTITION ID";
    return finish(rd_kafka_mock_partition_set_leader(b->cluster, arg[0], partition, id));
}

static const char *do_coord(struct devbroker *b, char **arg, int n, FILE *extra)
{
    int id;

    (void)extra;
    if (n != 3 || (strcmp(arg[0], "group") != 0 && strcmp(arg[0], "transaction") != 0) ||
        !parse_broker(b, arg[2], false, &id))
        return "usage: coord group|transaction KEY ID";
    return finish(rd_kafka_mock_coordinator_set(b->cluster, arg[0], arg[1], id));
}

static const char *do_error(struct devbroker *b, char **arg, int n, FILE *extra)
{
    rd_kafka_resp_err_t err, *errs;
    int16_t api;
    int count, rtt_ms = 0, id = -1, i, k;

    (void)extra;
    if (n < 3 || n > 5 || !parse_api(arg[0], &api) ||
        !devbroker_parse_int(arg[1], 1, ERROR_COUNT_MAX, &count) || !parse_error(arg[2], &err) ||
        (n > 3 && !devbroker_parse_int(arg[3], 0, RTT_MAX_MS, &rtt_ms)) ||
        (n > 4 && !parse_broker(b, arg[4], true, &id)))
        return "usage: error API COUNT ERROR [RTT_MS [ID|all]]";
    if (n == 3 && b->broker_errors[api]) {
        if (b->brokers > 1)
            return "this API has had errors with RTT_MS: give RTT_MS (0) and ID";
        rtt_ms = 0; /* of one broker, its own queue is the cluster's */
    } else if (n == 3) {
        errs = calloc((size_t)count, sizeof(*errs));
        if (errs == NULL)
            return "out of memory";
        for (i = 0; i < count; i++)
            errs[i] = err;
        rd_kafka_mock_push_request_errors_array(b->cluster, api, (size_t)count, errs);
        free(errs);
        return NULL;
    }
    /* with a delay the library takes them broker by broker only, and from then on looks at the
     * broker's own queue alone, even when it is empty */
    b->broker_errors[api] = true;
    for (i = 1; i <= b->brokers; i++) {
        if (id != -1 && i != id)
            continue;
        for (k = 0; k < count; k++) {
            rd_kafka_resp_err_t r = rd_kafka_mock_broker_push_request_error_rtts(
                b->cluster, i, api, (size_t)1, err, rtt_ms);
            if (r != RD_KAFKA_RESP_ERR_NO_ERROR)
                return rd_kafka_err2name(r);
        }
    }
    return NULL;
}

static const char *do_clear(struct devbroker *b, char **arg, int n, FILE *extra)
{
    int16_t api;

    (void)arg;
    (void)extra;
    if (n != 0)
        return "usage: clear";
    /* by number as well as by name: error takes both */
    for (api = 0; api <= API_MAX; api++)
        rd_kafka_mock_clear_request_errors(b->cluster, api);
    return NULL;
}

static const char *do_watermarks(struct devbroker *b, char **arg, int n, FILE *extra)
{
    const struct rd_kafka_metadata *md = NULL;
    const char *error = NULL;
    rd_kafka_resp_err_t err;
    rd_kafka_topic_t *topic;
    int i;

    if (n != 1 || !is_topic_name(arg[0]))
        return "usage: watermarks TOPIC";
    topic = rd_kafka_topic_new(b->rk, arg[0], NULL);
    if (topic == NULL)
        return rd_kafka_err2name(rd_kafka_last_error());
    err = rd_kafka_metadata(b->rk, 0, topic, &md, WATERMARK_TIMEOUT_MS);
    rd_kafka_topic_destroy(topic);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return rd_kafka_err2name(err);
    if (md->topic_cnt != 1 || md->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
        error = "UNKNOWN_TOPIC_OR_PART";
    fputs(",\"partitions\":[", extra);
    for (i = 0; error == NULL && i < md->topics[0].partition_cnt; i++) {
        int64_t low = 0, high = 0;
        int32_t p = md->topics[0].partitions[i].id;

        err = rd_kafka_query_watermark_offsets(b->rk, arg[0], p, &low, &high, WATERMARK_TIMEOUT_MS);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
            error = rd_kafka_err2name(err);
        fprintf(extra, "%s{\"partition\":%d,\"low\":%lld,\"high\":%lld}", i > 0 ? "," : "", (int)p,
                (long long)low, (long long)high);
    }
    fputs("]", extra);
    rd_kafka_metadata_destroy(md);
    return error;
}

/* args after the verb; extra gets further members of the answer, each with a comma before it.
 * Returns NULL or what was wrong (static). */
static const struct {
    const char *verb;
    const char *(*fn)(struct devbroker *b, char **arg, int n, FILE *extra);
} commands[] = {
    {"topic", do_topic}, {"down", do_down},     {"up", do_up},
    {"rtt", do_rtt},     {"leader", do_leader}, {"coord", do_coord},
    {"error", do_error}, {"clear", do_clear},   {"watermarks", do_watermarks},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

bool devbroker_command(struct devbroker *b, char *line, FILE *out)
{
    char *arg[COMMAND_ARGS_MAX], *save = NULL, *word, *text = NULL;
    const char *error = "unknown command";
    size_t size = 0, i;
    FILE *extra;
    int n = 0;

    for (word = strtok_r(line, " \t\r", &save); word != NULL;
         word = strtok_r(NULL, " \t\r", &save)) {
        if (n == COMMAND_ARGS_MAX) {
            fputs("{\"ok\":false,\"error\":\"too many words\"}\n", out);
            return true;
        }
        arg[n++] = word;
    }
    if (n == 0) {
        fputs("{\"ok\":false,\"error\":\"empty line\"}\n", out);
        return true;
    }
    if (strcmp(arg[0], "quit") == 0 && n == 1) {
        fputs("{\"ok\":true}\n", out);
        return false;
    }
    extra = open_memstream(&text, &size);
    if (extra == NULL) {
        fputs("{\"ok\":false,\"error\":\"out of memory\"}\n", out);
        return true;
    }
    for (i = 0; i < N_COMMANDS; i++) {
        if (strcmp(arg[0], commands[i].verb) == 0) {
            error = commands[i].fn(b, arg + 1, n - 1, extra);
            break;
        }
    }
    if (fclose(extra) != 0)
        error = "out of memory";
    if (error != NULL)
        fprintf(out, "{\"ok\":false,\"error\":\"%s\"}\n", error);
    else
        fprintf(out, "{\"ok\":true%s}\n", text);
    free(text);
    return true;
}
