/* dlq.h - a dead letter: which message could not be used, and why. PURE.
 *
 * Topic dlq.v1, schema schemas/dlq.v1.schema.json; the message key is the original's, the content of the original is
 * never repeated: it stands at its own topic, partition and offset. Written in the transaction of that offset.
 */
#ifndef CS_COMMON_DLQ_H
#define CS_COMMON_DLQ_H

#include <stdint.h>

#include "common/buf.h"
#include "common/kafka.h"

/* Reasons, for programs; others are names of enum cs_code. */
#define CS_DLQ_JOB_INVALID      "job_invalid"
#define CS_DLQ_WRONG_PARTITION  "wrong_partition" /* not where its key belongs */
#define CS_DLQ_WRONG_KEY        "wrong_key" /* the key names another mailbox than the message, or none */
#define CS_DLQ_POISON           "poison" /* killed its worker again and again while nothing else ran */
#define CS_DLQ_OUTPUT_TOO_LARGE "output_too_large" /* the broker takes no message of this size */

struct cs_dlq {
    enum cs_topic topic; /* of the original */
    int32_t partition;
    int64_t offset;
    const char *reason; /* static: stable, for programs */
    const char
        *detail; /* static: which field, in our words; NULL: none. Never content of the message */
    const char *job_id; /* NULL: could not be read */
    int64_t written_utc_ms;
};

/** Appends the JSON text. Failures are the buffer's. */
void cs_dlq_print(const struct cs_dlq *d, struct cs_buf *out);

#endif
