/* metrics.h - counters, gauges and histograms in Prometheus text format.
 *
 * Registered once at start, then updated without locks from any thread (C11 atomics). Names have the
 * prefix crmsync_ and base units; counters end with _total. A mailbox is never a label.
 */
#ifndef CS_COMMON_METRICS_H
#define CS_COMMON_METRICS_H

#include <stdint.h>

#include "common/buf.h"

struct cs_metrics;
struct cs_metric; /* one time series */

int cs_metrics_new(struct cs_metrics **ret); /* 0, -ENOMEM */
void cs_metrics_free(struct cs_metrics *m);
/**
 * A time series. Series of one name share help and type. Borrowed from m until it is freed.
 * Asked for again, the same series comes back. All strings are copied.
 *
 * @param[in] labels  "outcome=\"done\",type=\"mail.delta\"", NULL or "" for none; values that are not
 *                    ours go through cs_metrics_label()
 * @return never NULL: without memory, over 5,000 series, or where the name has another type or other
 *         bounds already, a series that nobody sees
 */
struct cs_metric *cs_metrics_counter(struct cs_metrics *m, const char *name, const char *labels,
                                     const char *help);
struct cs_metric *cs_metrics_gauge(struct cs_metrics *m, const char *name, const char *labels,
                                   const char *help);
/** bounds: ascending upper bounds of the buckets in thousandths of the unit, n at most 16. */
struct cs_metric *cs_metrics_histogram(struct cs_metrics *m, const char *name, const char *labels,
                                       const char *help, const int64_t *bounds, unsigned n);
/** Appends one label to a text of labels, escaped, with a comma where one is needed. */
void cs_metrics_label(struct cs_buf *out, const char *name, const char *value);
void cs_metric_add(struct cs_metric *x, int64_t n); /* counter, gauge */
void cs_metric_set(struct cs_metric *x, int64_t v); /* gauge */
void cs_metric_observe_milli(struct cs_metric *x,
                             int64_t v); /* histogram: thousandths of the unit */
int64_t cs_metric_value(const struct cs_metric *x);
/** Prometheus text format 0.0.4, names sorted. */
void cs_metrics_print(struct cs_metrics *m, struct cs_buf *out);

#endif
