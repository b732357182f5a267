#include "worker/settings.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/tenant.h"

#define AT(field) offsetof(struct cs_worker_conf, work.field)
#define MINUTE    60000
#define MIB       (INT64_C(1) << 20)

const struct cs_setting cs_worker_settings[] = {
    {"worker.max_jobs", CS_CONF_INT, AT(max_jobs), "64", 1, 1000, CS_CONF_RELOAD,
     "Jobs that a worker has in hand at most, those whose commit is under way included.", NULL},
    {"worker.max_bytes", CS_CONF_BYTES, AT(max_bytes), "268435456", MIB, 1024 * 1024 * MIB,
     CS_CONF_RELOAD, "With more than this of answers and output in memory no further job is taken.",
     NULL},
    {"worker.batch_bytes", CS_CONF_BYTES, AT(batch_bytes), "8388608", 65536, 256 * MIB, 0,
     "Finished jobs committed in one transaction have about this much output at most.", NULL},
    {"worker.drain_ms", CS_CONF_MS, AT(drain_ms), "10000", 0, 10 * MINUTE, CS_CONF_RELOAD,
     "After SIGTERM jobs may finish for this long; the others are dropped and done by another "
     "worker.",
     NULL},
    {"worker.revoke_ms", CS_CONF_MS, AT(revoke_ms), "5000", 0, MINUTE, 0,
     "When partitions move, what is finished may be committed for this long before they go.", NULL},
    {"worker.topics_wait_ms", CS_CONF_MS, AT(topics_wait_ms), "30000", 0, 60 * MINUTE, 0,
     "A worker that starts waits this long for topics that are not there yet.", NULL},
    {"worker.job_ms", CS_CONF_MS, AT(job_ms), "20000", 100, 10 * MINUTE, 0,
     "After this a job asks for no further page; the rest is another job.", NULL},
    {"worker.job_pages", CS_CONF_INT, AT(job_pages), "20", 1, 1000, 0,
     "Pages of one folder, slice or calendar in one job.", NULL},
    {"worker.job_items", CS_CONF_INT, AT(job_items), "500", 20, 100000, 0,
     "Items read by their id in one job.", NULL},
    {"worker.job_bytes", CS_CONF_BYTES, AT(job_bytes), "16777216", MIB, 1024 * MIB, 0,
     "With more than this of answers in memory a job asks for no further page.", NULL},
    {"worker.delta_page", CS_CONF_INT, AT(delta_page), "200", 1, 1000, 0,
     "Envelopes asked for at a time when a folder's changes are followed.", NULL},
    {"worker.slice_page", CS_CONF_INT, AT(slice_page), "50", 1, 1000, 0,
     "Whole mails asked for at a time; halved where Graph finds that too much.", NULL},
    {"worker.short_wait_ms", CS_CONF_MS, AT(short_wait_ms), "5000", 0, MINUTE, 0,
     "A Retry-After up to this is waited out inside the job; a longer one ends it.", NULL},
    {"worker.request_tries", CS_CONF_INT, AT(request_tries), "3", 1, 10, 0,
     "A request is sent so often at most inside one job.", NULL},
    {"worker.connect_timeout_ms", CS_CONF_MS, AT(connect_timeout_ms), "10000", 100, MINUTE, 0,
     "For a connection to Graph, TLS included.", NULL},
    {"worker.request_timeout_ms", CS_CONF_MS, AT(request_timeout_ms), "60000", 1000, 10 * MINUTE, 0,
     "For a whole request, connect to last byte.", NULL},
    {"worker.answer_max_bytes", CS_CONF_BYTES, AT(answer_max_bytes), "67108864", MIB, 1024 * MIB, 0,
     "A longer answer of Graph is refused.", NULL},
    {"worker.max_connections", CS_CONF_INT, AT(max_connections), "128", 1, 4096, 0,
     "Connections to Graph in all.", NULL},
    {"worker.token_retry_ms", CS_CONF_MS, AT(token_retry_ms), "60000", 100, 60 * MINUTE, 0,
     "A tenant whose credentials or token endpoint fail is asked for a token no more often.", NULL},
    {"schedule", CS_CONF_OTHER, 0, "", 0, 0, 0, "The producer's.", NULL},
    {0},
};

struct cs_setting *cs_worker_table(void)
{
    return cs_conf_join(cs_worker_settings, cs_common_settings,
                        offsetof(struct cs_worker_conf, common));
}

void cs_worker_conf_clear(struct cs_worker_conf *conf)
{
    struct cs_setting *table = cs_worker_table();

    if (table == NULL)
        return; /* leaked rather than half freed: memory has run out */
    cs_conf_clear(table, conf);
    free(table);
}

int64_t cs_worker_property_ms(const struct cs_common_conf *conf, const char *name, int64_t ours_ms)
{
    const char *text = cs_conf_map_get(&conf->kafka_properties, name);
    char *end = NULL;
    long long value;

    if (text == NULL)
        return ours_ms;
    value = strtoll(text, &end, 10);
    return end != text && *end == '\0' && value > 0
               ? value
               : ours_ms; /* librdkafka refuses what is no number */
}

static int check(const char *path, const struct cs_worker_conf *conf, struct cs_conf_error *err)
{
    struct cs_conf_error common;

    if (cs_common_conf_check(&conf->common, &common) < 0) {
        snprintf(err->text, sizeof(err->text), "%.180s: %.320s", path, common.text);
        return -EINVAL;
    }
    /* libcurl would find out at the first request of every mailbox */
    if (conf->common.graph_ca_file[0] != '\0' && access(conf->common.graph_ca_file, R_OK) < 0) {
        snprintf(err->text, sizeof(err->text), "%.180s: graph.ca_file: %s", path, strerror(errno));
        return -EINVAL;
    }
    return 0;
}

int cs_worker_conf_load(const char *path, struct cs_worker_conf *ret,
                        struct cs_tenant_set **tenants, struct cs_conf_error *err)
{
    struct cs_setting *table = cs_worker_table();
    struct cs_worker_conf conf;
    struct cs_tenant_set *set = NULL;
    int r;

    err->text[0] = '\0';
    if (table == NULL) {
        snprintf(err->text, sizeof(err->text), "%.180s: no memory", path);
        return -ENOMEM;
    }
    memset(&conf, 0, sizeof(conf));
    r = cs_conf_load(path, table, &conf, tenants != NULL ? &set : NULL, err);
    if (r == 0)
        r = check(path, &conf, err);
    if (r < 0) {
        cs_conf_clear(table, &conf);
        cs_tenants_unref(set);
        free(table);
        return r;
    }
    free(table);
    *ret = conf;
    if (tenants != NULL)
        *tenants = set;
    return 0;
}
