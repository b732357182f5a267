/* filter.h - is this published, and how much of it? PURE.
 *
 * One decision per item, with its reason; reasons are static names for metrics and feedback and hold
 * no content. Folders are not decided here: they come with the job's folder map.
 */
#ifndef CS_WORKER_FILTER_H
#define CS_WORKER_FILTER_H

#include <stdbool.h>

#include "common/json_slice.h"

struct cs_tenant; /* common/tenant.h */

enum cs_publish {
    CS_PUBLISH_FULL,
    CS_PUBLISH_BUSY_ONLY, /* times and show-as, nothing else */
    CS_PUBLISH_HOLD,      /* not at all; what is out already is taken back as left_scope */
};

enum cs_held {
    CS_HELD_NEVER_LOG, /* "never_log" */
    CS_HELD_PRIVATE,   /* "private" */
    CS_HELD_INTERNAL,  /* "internal" */
    CS_HELD_AUTOMATED, /* "automated" */
    CS_HELD_UNKNOWN,   /* "unknown" */
    CS_HELD_COUNT_
};
const char *cs_held_name(enum cs_held held);

struct cs_decision {
    enum cs_publish publish;
    const char *reason; /* static, below; NULL for CS_PUBLISH_FULL */
    enum cs_held held;  /* the same as a number; not looked at for CS_PUBLISH_FULL */
    bool
        may_have_changed; /* a change of the item may have caused it, so that it may be out there */
    bool is_deep;         /* its envelope alone does not show it */
};

/* What only the whole message shows, as bits; index entries say which of them a message has passed. */
#define CS_DEEP_PRIVATE   1u
#define CS_DEEP_AUTOMATED 2u
/** PURE. The deep rules that are on. */
unsigned cs_filter_deep_rules(const struct cs_tenant *tenant, const char *mailbox);
/** PURE. May the people of a message alone hold it back? */
bool cs_filter_asks_people(const struct cs_tenant *tenant, const char *mailbox);

/**
 * A message. On its envelope (people only) the answer CS_PUBLISH_HOLD is final; whether it is automated
 * or private is known of the whole message only, with its header lines and with the property
 * CS_SENSITIVITY_PROPERTY among its singleValueExtendedProperties.
 *
 * @param[in] mailbox  as in keys
 * @return 0, -ENOMEM
 */
int cs_filter_email(const struct cs_tenant *tenant, const char *mailbox, struct cs_js message,
                    struct cs_decision *ret);
/** Is a list's entry too little for the rules, or most of what is listed held back? Then envelopes come first. */
bool cs_filter_envelopes_first(const struct cs_tenant *tenant, const char *mailbox);
#define CS_SENSITIVITY_PROPERTY "Integer 0x36" /* PidTagSensitivity: 2 private, 3 confidential */
/**
 * An event; with its master ({NULL,0}: none) the stricter of the two counts. Private and
 * confidential events follow private_events; a sensitivity that we do not know, or that nobody told
 * (a stub without its master), counts as private.
 */
struct cs_decision cs_filter_event(const struct cs_tenant *tenant, struct cs_js event,
                                   struct cs_js master);

#endif
