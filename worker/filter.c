#include "worker/filter.h"

#include <stdbool.h>

#include "common/tenant.h"

struct cs_decision cs_filter_email(const struct cs_tenant *tenant, struct cs_js message)
{
    /* messages have no sensitivity in Graph v1.0; the folder was decided by the job's map */
    (void)tenant;
    (void)message;
    return (struct cs_decision){CS_PUBLISH_FULL, NULL};
}

enum sight { OPEN, PRIVATE, UNSAID };

static enum sight sensitivity(struct cs_js item)
{
    struct cs_js v = cs_js_get(item, "sensitivity");

    if (!cs_js_has(v))
        return UNSAID;
    if (cs_js_str_is_nocase(v, "normal") || cs_js_str_is_nocase(v, "personal"))
        return OPEN;
    return PRIVATE; /* private, confidential, and what we do not know */
}

struct cs_decision cs_filter_event(const struct cs_tenant *tenant, struct cs_js event,
                                   struct cs_js master)
{
    enum sight own = sensitivity(event), series = sensitivity(master);

    if (own == OPEN ? series != PRIVATE : own == UNSAID && series == OPEN)
        return (struct cs_decision){CS_PUBLISH_FULL, NULL};
    switch (tenant->private_events) {
    case CS_PRIVATE_FULL: return (struct cs_decision){CS_PUBLISH_FULL, NULL};
    case CS_PRIVATE_SKIP: return (struct cs_decision){CS_PUBLISH_HOLD, "private"};
    case CS_PRIVATE_BUSY_ONLY: break;
    }
    return (struct cs_decision){CS_PUBLISH_BUSY_ONLY, "private"};
}
