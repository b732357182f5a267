/* decode.h - a message of the jobs topic: a job, or the reason why it is none. PURE. */
#ifndef CS_WORKER_DECODE_H
#define CS_WORKER_DECODE_H

#include <stdint.h>

#include "common/dlq.h"
#include "common/feedback.h"
#include "common/job.h"

#define CS_DECODE_SKEW_MS 60000 /* a job is late only when it is later than clocks may differ */

/* Why it is not to be done. */
struct cs_refusal {
    const char
        *reason; /* static, for the dead letter; NULL: no dead letter is owed (it came too late) */
    const char *detail;          /* static; NULL: none */
    bool has_feedback;           /* whose job it is could be read: the producer is told */
    struct cs_feedback feedback; /* a reject; holds no memory */
};

/**
 * @param[in]  n_partitions  of every topic
 * @param[out] job           filled on 0 only, then the caller's to clear
 * @param[out] why           filled on -EINVAL, -ETIME
 * @return 0; -EINVAL (not a job, or not where it belongs); -ETIME (past its not_after); -ENOMEM
 */
int cs_decode_job(const struct cs_kafka_msg *msg, int32_t n_partitions, int64_t utc_ms,
                  struct cs_job *job, struct cs_refusal *why);

#endif
