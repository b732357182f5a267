/* index_scan.h - reads index.v1 for jobs that compare a folder with what is out there.
 *
 * One thread. It reads one partition at a time from its beginning to the end that it has when the reading begins; every job
 * that waits for this partition by then is served by the same reading. Index entries of a mailbox change with its sync jobs
 * only, of which one runs at a time, and those before this one were committed before it was issued: so what the table says
 * stays true while the job runs.
 */
#ifndef CS_WORKER_INDEX_SCAN_H
#define CS_WORKER_INDEX_SCAN_H

#include "common/conf.h"
#include "common/log.h"
#include "common/metrics.h"
#include "worker/index_table.h"

struct cs_index_scan;
struct cs_index_ask;

/**
 * @param[in] wake_fd  eventfd that is written when an answer is there
 * @return 0, -ENOMEM, -errno of pthread_create
 */
int cs_index_scan_new(const struct cs_common_conf *conf, struct cs_log *log,
                      struct cs_metrics *metrics, int wake_fd, struct cs_index_scan **ret);
/** Ends the thread; no ask may be left. NULL accepted. */
void cs_index_scan_free(struct cs_index_scan *s);

/** @return the ask, to be given back with cs_index_drop(); NULL: no memory */
struct cs_index_ask *cs_index_ask(struct cs_index_scan *s, int32_t partition, const char *tenant,
                                  const char *mailbox);
/**
 * @param[out] ret  the table; the caller's from here on
 * @return 0; -EAGAIN (not yet); -ETIMEDOUT, -EIO (the broker did not give it); -E2BIG; -ENOMEM
 */
int cs_index_take(struct cs_index_ask *a, struct cs_index_table **ret);
/** Forgets it, answered or not. NULL accepted. */
void cs_index_drop(struct cs_index_ask *a);

#endif
