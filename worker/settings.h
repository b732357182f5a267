/* settings.h - what the worker can be told in its configuration. */
#ifndef CS_WORKER_SETTINGS_H
#define CS_WORKER_SETTINGS_H

#include <stdint.h>

#include "common/conf.h"

/* worker.*: how much at a time, and how long. */
struct cs_work_conf {
    int64_t max_jobs;       /* taken and not committed */
    int64_t max_bytes;      /* of answers and output in memory */
    int64_t batch_bytes;    /* of values in one transaction */
    int64_t drain_ms;       /* after SIGTERM: for jobs to finish and be committed */
    int64_t revoke_ms;      /* a rebalance waits this long for finished jobs to be committed */
    int64_t topics_wait_ms; /* at start: for topics that are not there yet */
    int64_t job_ms;         /* a job asks for no new page after it */
    int64_t job_pages;      /* of one part */
    int64_t job_items;      /* read by id */
    int64_t job_bytes;      /* of answers kept */
    int64_t delta_page;     /* envelopes asked for at a time */
    int64_t slice_page;     /* whole mails asked for at a time */
    int64_t short_wait_ms;  /* a Retry-After up to this is waited out inside the job */
    int64_t request_tries;
    int64_t connect_timeout_ms;
    int64_t request_timeout_ms; /* connect to last byte */
    int64_t answer_max_bytes;   /* inflated */
    int64_t max_connections;
    int64_t token_retry_ms; /* between token requests of a tenant that fails */
};

struct cs_worker_conf {
    struct cs_common_conf common;
    struct cs_work_conf work;
};

extern const struct cs_setting cs_worker_settings[]; /* worker.*; ends with a NULL key */
/** The whole table: common and worker, malloc'd. NULL: no memory. */
struct cs_setting *cs_worker_table(void);
/**
 * Reads the configuration and checks what goes over one key's range.
 *
 * @param[out] ret, tenants  to be cleared with cs_worker_conf_clear(), cs_tenants_unref() on success
 * @return as cs_conf_load()
 */
int cs_worker_conf_load(const char *path, struct cs_worker_conf *ret,
                        struct cs_tenant_set **tenants, struct cs_conf_error *err);
void cs_worker_conf_clear(struct cs_worker_conf *conf);
/** A property of librdkafka in milliseconds, or what we set ourselves. */
int64_t cs_worker_property_ms(const struct cs_common_conf *conf, const char *name, int64_t ours_ms);

#endif
