/* filter.h - is this published, and how much of it? PURE.
 *
 * One decision per item, with its reason; reasons are static names for metrics and feedback and hold
 * no content. Folders are not decided here: they come with the job's folder map.
 */
#ifndef CS_WORKER_FILTER_H
#define CS_WORKER_FILTER_H

#include "common/json_slice.h"

struct cs_tenant; /* common/tenant.h */

enum cs_publish {
    CS_PUBLISH_FULL,
    CS_PUBLISH_BUSY_ONLY, /* times and show-as, nothing else */
    CS_PUBLISH_HOLD,      /* not at all; what is out already is taken back as left_scope */
};

struct cs_decision {
    enum cs_publish publish;
    const char *reason; /* static: "private"; NULL for CS_PUBLISH_FULL */
};

/** A message, on its envelope or whole. */
struct cs_decision cs_filter_email(const struct cs_tenant *tenant, struct cs_js message);
/**
 * An event; with its master ({NULL,0}: none) the stricter of the two counts. Private and
 * confidential events follow private_events; a sensitivity that we do not know, or that nobody told
 * (a stub without its master), counts as private.
 */
struct cs_decision cs_filter_event(const struct cs_tenant *tenant, struct cs_js event,
                                   struct cs_js master);

#endif
