/* job_run.h - runs jobs: the engine that the loop drives.
 *
 * A job is a table of steps; a step starts calls to Graph and the next begins when all have been answered. Nothing is
 * published here: a finished job hands over its records and its feedback, and whoever called makes them durable together.
 * One thread.
 */
#ifndef CS_WORKER_JOB_RUN_H
#define CS_WORKER_JOB_RUN_H

#include "common/feedback.h"
#include "common/job.h"
#include "common/log.h"
#include "common/tenant.h"
#include "worker/http.h"
#include "worker/record.h"
#include "worker/throttle.h"
#include "worker/token.h"

struct cs_jobs;

/* What a job may take before it ends as `more`. */
struct cs_job_limits {
    int64_t job_ms;        /* no new page after it */
    size_t pages;          /* of one part */
    size_t items;          /* read by id in one job */
    size_t bytes;          /* of answers kept */
    unsigned delta_page;   /* odata.maxpagesize of envelopes */
    unsigned slice_page;   /* $top of full messages, halved when too large */
    int64_t short_wait_ms; /* a Retry-After up to this is waited out inside the job */
    unsigned tries;        /* of one request */
};

/* What a job leaves. */
struct cs_job_output {
    struct cs_feedback feedback;
    struct cs_record *records;
    size_t n_records;
    size_t bytes;              /* of the records' values */
    const char *reject_reason; /* static; NULL unless the job is to be dead-lettered */
};
void cs_job_output_free(struct cs_job_output *out);

/** Called inside cs_jobs_step(). The output is the callee's. */
typedef void (*cs_job_finished_fn)(void *user, void *tag, struct cs_job_output *out);

struct cs_index_scan; /* index_scan.h */

struct cs_jobs_params {
    struct cs_http *http;
    struct cs_tokens *tokens;
    struct cs_throttle *throttle;
    const char *base_url;
    const struct cs_zones *zones;
    struct cs_job_limits limits;
    size_t record_max_bytes;
    struct cs_metrics *metrics;
    struct cs_log *log;
    cs_job_finished_fn on_finished;
    void *user;
};

int cs_jobs_new(const struct cs_jobs_params *p, struct cs_tenant_set *tenants,
                struct cs_jobs **ret);
void cs_jobs_free(struct cs_jobs *jobs); /* running jobs are dropped */
/** Where jobs find what is out there; without it a mail.resync ends as `retry`. */
void cs_jobs_set_index(struct cs_jobs *jobs, struct cs_index_scan *index, int32_t n_partitions);
/** A new set for jobs that start from now on. */
void cs_jobs_set_tenants(struct cs_jobs *jobs, struct cs_tenant_set *tenants);
/**
 * @param[in] job  taken, also on failure
 * @param[in] tag  the caller's, given back with the output
 * @return 0, -ENOMEM
 */
int cs_jobs_start(struct cs_jobs *jobs, struct cs_job *job, void *tag);
/** Drops a job: its requests are cancelled, on_finished is not called. */
void cs_jobs_cancel(struct cs_jobs *jobs, void *tag);
size_t cs_jobs_count(const struct cs_jobs *jobs);
size_t cs_jobs_bytes(const struct cs_jobs *jobs); /* answers held in memory */
/** Sends what may be sent, moves steps, finishes jobs. Call it after cs_http_step(). */
void cs_jobs_step(struct cs_jobs *jobs, int64_t now_ms);
/** When cs_jobs_step() is due again without an answer coming; CS_NEVER: not. */
int64_t cs_jobs_next_ms(const struct cs_jobs *jobs);

#endif
