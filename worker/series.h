/* series.h - a series master as a record of kind series. PURE. */
#ifndef CS_WORKER_SERIES_H
#define CS_WORKER_SERIES_H

#include "worker/event.h"

struct cs_series_exception {
    const char *item_id; /* as in its event record's key */
    int64_t original_start_utc_ms;
    int64_t start_utc_ms;
    int64_t end_utc_ms;
    bool is_cancelled;
};

/* What the calendar shows of a series beside its master; all borrowed, may be empty. */
struct cs_series_parts {
    const char *const *occurrences; /* item ids of its occurrences and exceptions in the window */
    size_t n_occurrences;
    const struct cs_series_exception *exceptions;
    size_t n_exceptions;
};

/**
 * Cancelled dates come from the master's own cancelledOccurrences.
 *
 * @param[out] ret  overwritten (not cleared first); zeroed on failure
 * @return as cs_event_record(); -EINVAL also for an event that is no master
 */
int cs_series_record(const struct cs_record_ctx *ctx, const struct cs_folder_ref *calendar,
                     struct cs_js master, const struct cs_series_parts *parts,
                     enum cs_change change, struct cs_record *ret);

#endif
