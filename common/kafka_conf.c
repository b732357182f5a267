#include "common/kafka_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka_out.h"

#define FAIL_AGAIN_MS (10 * 60 * 1000)

static const char *const topic_names[CS_TOPIC_COUNT_] = {
    [CS_TOPIC_JOBS] = "jobs.v1",         [CS_TOPIC_FEEDBACK] = "feedback.v1",
    [CS_TOPIC_COMMANDS] = "commands.v1", [CS_TOPIC_OUTBOX] = "outbox.v1",
    [CS_TOPIC_STATE] = "state.v1",       [CS_TOPIC_STATUS] = "status.v1",
    [CS_TOPIC_RECORDS] = "records.v1",   [CS_TOPIC_INDEX] = "index.v1",
    [CS_TOPIC_CONTACTS] = "contacts.v1", [CS_TOPIC_DLQ] = "dlq.v1",
};

const char *cs_topic_name(enum cs_topic t)
{
    return (unsigned)t < CS_TOPIC_COUNT_ ? topic_names[t] : "unknown";
}

void cs_topic_full(const char *prefix, enum cs_topic t, char out[CS_TOPIC_NAME_MAX])
{
    snprintf(out, CS_TOPIC_NAME_MAX, "%s%s", prefix, cs_topic_name(t));
}

bool cs_topic_parse(const char *prefix, const char *full, enum cs_topic *ret)
{
    size_t n = strlen(prefix);

    if (strncmp(full, prefix, n) != 0)
        return false;
    for (int i = 0; i < CS_TOPIC_COUNT_; i++)
        if (strcmp(full + n, topic_names[i]) == 0) {
            *ret = (enum cs_topic)i;
            return true;
        }
    return false;
}

const char *cs_kafka_result_name(enum cs_kafka_result r)
{
    switch (r) {
    case CS_KAFKA_OK: return "ok";
    case CS_KAFKA_AGAIN: return "again";
    case CS_KAFKA_ABORT: return "abort";
    case CS_KAFKA_UNKNOWN: return "unknown";
    case CS_KAFKA_FENCED: return "fenced";
    case CS_KAFKA_FATAL: return "fatal";
    case CS_KAFKA_TOO_LARGE: return "too_large";
    }
    return "?";
}

/* A broker that is away is told of by each handle for each try to connect; the daemons say it once (kafka.down), and the
 * reason is wanted once. */
static bool is_repeated_failure(struct cs_kafka_base *base, const char *fac)
{
    long long now_ms = cs_clock_mono_ms(), last_ms = atomic_load(&base->fail_said_ms);

    if (strcmp(fac, "FAIL") != 0 && strcmp(fac, "ERROR") != 0)
        return false;
    if (last_ms != 0 && now_ms - last_ms < FAIL_AGAIN_MS)
        return true;
    /* the library logs from several threads: one of them says it */
    return !atomic_compare_exchange_strong(&base->fail_said_ms, &last_ms, now_ms);
}

/* librdkafka's lines name brokers, topics and errors; never keys or payloads. */
static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *buf)
{
    struct cs_kafka_base *base = rd_kafka_opaque(rk);

    if (base == NULL || base->log == NULL)
        return;
    if (level <= 3 && !is_repeated_failure(base, fac))
        cs_log_warn(base->log, "kafka.library", CS_STR("facility", fac), CS_STR("text", buf));
    else
        cs_log_debug(base->log, "kafka.library", CS_STR("facility", fac), CS_STR("text", buf));
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct cs_kafka_base *base = opaque;
    char text[256];

    (void)reason; /* the log callback has it */
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        atomic_store(&base->all_down, true);
    if (err == RD_KAFKA_RESP_ERR__FATAL)
        atomic_store(&base->fatal, (int)rd_kafka_fatal_error(rk, text, sizeof(text)));
}

static int set(rd_kafka_conf_t *rkconf, const char *name, const char *value,
               struct cs_conf_error *err)
{
    char errstr[256];

    if (rd_kafka_conf_set(rkconf, name, value, errstr, sizeof(errstr)) == RD_KAFKA_CONF_OK)
        return 0;
    /* errstr quotes the value, which may be a password */
    if (err != NULL)
        snprintf(err->text, sizeof(err->text),
                 "kafka.properties: %.200s: librdkafka does not know it or refuses its value",
                 name);
    return -EINVAL;
}

int cs_kafka_conf_make(const struct cs_common_conf *conf, const struct cs_kafka_prop *defaults,
                       const struct cs_kafka_prop *fixed, struct cs_kafka_base *base,
                       rd_kafka_conf_t **ret, struct cs_conf_error *err)
{
    static const struct cs_kafka_prop common[] = {
        {"client.id", "crmsync"},
        {"socket.nagle.disable", "true"},
        {"socket.keepalive.enable", "true"},
        {"socket.connection.setup.timeout.ms", "10000"},
        {"socket.timeout.ms", "15000"}, /* not above transaction.timeout.ms */
        {"reconnect.backoff.max.ms", "2000"},
        {"topic.metadata.refresh.interval.ms", "60000"},
        {"log.connection.close", "false"},
        {"log.thread.name", "false"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *rkconf = rd_kafka_conf_new();
    int r;

    r = set(rkconf, "bootstrap.servers", conf->kafka_bootstrap, err);
    for (const struct cs_kafka_prop *p = common; r == 0 && p->name != NULL; p++)
        r = set(rkconf, p->name, p->value, err);
    for (const struct cs_kafka_prop *p = defaults; r == 0 && p->name != NULL; p++)
        r = set(rkconf, p->name, p->value, err);
    for (size_t i = 0; r == 0 && i < conf->kafka_properties.n; i++) {
        const char *name = conf->kafka_properties.keys[i];

        for (const struct cs_kafka_prop *p = fixed; p->name != NULL; p++)
            if (strcmp(p->name, name) == 0) {
                if (err != NULL)
                    snprintf(err->text, sizeof(err->text),
                             "kafka.properties: %.200s is set by the program", name);
                r = -EINVAL;
            }
        if (r == 0)
            r = set(rkconf, name, conf->kafka_properties.values[i], err);
    }
    for (const struct cs_kafka_prop *p = fixed; r == 0 && p->name != NULL; p++)
        r = set(rkconf, p->name, p->value, err);
    if (r < 0) {
        rd_kafka_conf_destroy(rkconf);
        return r;
    }
    rd_kafka_conf_set_opaque(rkconf, base);
    rd_kafka_conf_set_log_cb(rkconf, on_log);
    rd_kafka_conf_set_error_cb(rkconf, on_error);
    *ret = rkconf;
    return 0;
}

int cs_kafka_handle_new(rd_kafka_type_t type, rd_kafka_conf_t *rkconf, rd_kafka_t **ret,
                        struct cs_conf_error *err)
{
    char errstr[256];
    rd_kafka_t *rk = rd_kafka_new(type, rkconf, errstr, sizeof(errstr));

    if (rk == NULL) {
        if (err != NULL)
            snprintf(err->text, sizeof(err->text), "kafka: %s", errstr);
        rd_kafka_conf_destroy(rkconf); /* still ours: rd_kafka_new() failed */
        return -EINVAL;
    }
    *ret = rk;
    return 0;
}

rd_kafka_topic_partition_t *cs_kafka_list_add(rd_kafka_topic_partition_list_t *list,
                                              const char *prefix, enum cs_topic t,
                                              int32_t partition)
{
    char name[CS_TOPIC_NAME_MAX];

    cs_topic_full(prefix, t, name);
    return rd_kafka_topic_partition_list_add(list, name, partition);
}
