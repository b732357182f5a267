#include "worker/filter.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/tenant.h"
#include "worker/address.h"

static const char *const held_names[CS_HELD_COUNT_] = {"never_log", "private", "internal",
                                                       "automated", "unknown"};

const char *cs_held_name(enum cs_held held)
{
    return held_names[held];
}

static const struct cs_decision FULL = {.publish = CS_PUBLISH_FULL};

static struct cs_decision held(enum cs_publish publish, enum cs_held why, bool may_have_changed)
{
    return (struct cs_decision){.publish = publish,
                                .reason = held_names[why],
                                .held = why,
                                .may_have_changed = may_have_changed};
}

/* ---- mail ------------------------------------------------------------------------------------- */

/* Mail that no person writes or answers, whoever's domain it is. */
static const char *const machines[] = {
    "noreply@*",       "no-reply@*",   "no_reply@*", "donotreply@*", "do-not-reply@*",
    "mailer-daemon@*", "postmaster@*", "bounces@*",  "*-bounces@*",
};

/* What the people of a message say. */
struct company {
    bool never;       /* one of them is never logged */
    bool has_author;  /* a from or sender with an address */
    bool has_outside; /* an author or recipient who is not one of the tenant's */
    bool is_machine;  /* the author */
    bool is_known;    /* one of them is a contact */
};

static bool matches(const char *pattern, const char *address)
{
    const char *at = strrchr(address, '@');

    if (strchr(pattern, '@') == NULL && strcmp(pattern, "*") != 0)
        return at != NULL && cs_wildcard_matches(pattern, at + 1);
    return cs_wildcard_matches(pattern, address);
}

static bool matches_any(char *const *patterns, size_t n, const char *address)
{
    for (size_t i = 0; i < n; i++)
        if (matches(patterns[i], address))
            return true;
    return false;
}

static bool is_machine(const struct cs_tenant *tenant, const char *address)
{
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
        if (matches(machines[i], address))
            return true;
    return matches_any(tenant->automated_senders, tenant->n_automated_senders, address);
}

static void fold(char *s)
{
    for (; *s != '\0'; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + 32);
}

static int look_at(struct company *c, const struct cs_tenant *tenant, const char *mailbox,
                   struct cs_js recipient, bool author, bool counts)
{
    const struct cs_mail_rules *rules = cs_tenant_mail_rules(tenant, mailbox);
    struct cs_address a;
    struct cs_js name;
    const char *at;
    int r = cs_address_read(cs_js_get(recipient, "emailAddress"), &a, &name);

    if (r <= 0 || a.problem == CS_ADDRESS_EMPTY)
        return r < 0 ? r : 0;
    fold(a.untagged); /* "" without a tag: matches nothing but "*" */
    /* a tag makes nobody another person */
    c->never =
        c->never || matches_any(tenant->mail.never_log, tenant->mail.n_never_log, a.fold) ||
        matches_any(tenant->mail.never_log, tenant->mail.n_never_log, a.untagged) ||
        (rules != &tenant->mail && (matches_any(rules->never_log, rules->n_never_log, a.fold) ||
                                    matches_any(rules->never_log, rules->n_never_log, a.untagged)));
    at = strrchr(a.fold, '@');
    c->is_known = c->is_known || cs_tenant_has_contact(tenant, a.fold) ||
                  cs_tenant_has_contact(tenant, a.untagged) ||
                  (at != NULL && cs_tenant_has_contact(tenant, at + 1));
    if (author) {
        c->has_author = true;
        c->is_machine = c->is_machine || is_machine(tenant, a.fold);
    }
    if (counts && !cs_address_is_inside(&a, tenant, mailbox))
        c->has_outside = true;
    return 0;
}

static int read_company(const struct cs_tenant *tenant, const char *mailbox, struct cs_js message,
                        struct company *c)
{
    static const struct {
        const char *name;
        bool author, counts;
    } lists[] = {{"from", true, true},           {"sender", true, true},
                 {"toRecipients", false, true},  {"ccRecipients", false, true},
                 {"bccRecipients", false, true}, {"replyTo", false, false}};
    int r = 0;

    memset(c, 0, sizeof(*c));
    for (size_t i = 0; r == 0 && i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct cs_js v = cs_js_get(message, lists[i].name), one;
        struct cs_js_iter it = {0};

        if (cs_js_type(v) == CS_JS_OBJECT)
            r = look_at(c, tenant, mailbox, v, lists[i].author, lists[i].counts);
        while (r == 0 && cs_js_next_element(v, &it, &one))
            r = look_at(c, tenant, mailbox, one, lists[i].author, lists[i].counts);
    }
    return r;
}

/* Header lines that machines and lists write: RFC 3834 5, RFC 2919, and what is usual. */
static bool has_machine_header(struct cs_js message)
{
    struct cs_js headers = cs_js_get(message, "internetMessageHeaders"), one;
    struct cs_js_iter it = {0};

    while (cs_js_next_element(headers, &it, &one)) {
        struct cs_js name = cs_js_get(one, "name"), value = cs_js_get(one, "value");

        if (cs_js_str_is_nocase(name, "List-Id"))
            return true;
        if ((cs_js_str_is_nocase(name, "Auto-Submitted") && !cs_js_str_is_nocase(value, "no")) ||
            (cs_js_str_is_nocase(name, "X-Auto-Response-Suppress") &&
             !cs_js_str_is_nocase(value, "none")))
            return true;
        if (cs_js_str_is_nocase(name, "Precedence") &&
            (cs_js_str_is_nocase(value, "bulk") || cs_js_str_is_nocase(value, "junk") ||
             cs_js_str_is_nocase(value, "list") || cs_js_str_is_nocase(value, "auto_reply")))
            return true;
    }
    return false;
}

static bool is_private_mail(struct cs_js message)
{
    struct cs_js properties = cs_js_get(message, "singleValueExtendedProperties"), one;
    struct cs_js_iter it = {0};

    while (cs_js_next_element(properties, &it, &one)) {
        struct cs_js value = cs_js_get(one, "value");

        if (cs_js_str_is_nocase(cs_js_get(one, "id"), CS_SENSITIVITY_PROPERTY))
            return !cs_js_str_is_nocase(value, "0") && !cs_js_str_is_nocase(value, "1");
    }
    return false; /* Exchange leaves it out of mail that is not marked */
}

int cs_filter_email(const struct cs_tenant *tenant, const char *mailbox, struct cs_js message,
                    struct cs_decision *ret)
{
    const struct cs_mail_rules *rules = cs_tenant_mail_rules(tenant, mailbox);
    bool is_draft = false;
    struct company c;
    int r;

    *ret = FULL;
    r = read_company(tenant, mailbox, message, &c);
    if (r < 0)
        return r;
    (void)cs_js_bool(cs_js_get(message, "isDraft"), &is_draft); /* people change in drafts only */
    if (c.never) {
        *ret = held(CS_PUBLISH_HOLD, CS_HELD_NEVER_LOG, is_draft);
    } else if (rules->skip_private && is_private_mail(message)) {
        *ret = held(CS_PUBLISH_HOLD, CS_HELD_PRIVATE, true);
        ret->is_deep = true;
    } else if (rules->skip_internal && c.has_author && !c.has_outside) {
        *ret = held(CS_PUBLISH_HOLD, CS_HELD_INTERNAL, is_draft);
    } else if (rules->skip_automated && (c.is_machine || has_machine_header(message))) {
        *ret = held(CS_PUBLISH_HOLD, CS_HELD_AUTOMATED, is_draft);
        ret->is_deep = !c.is_machine;
    } else if (rules->skip_unknown && !c.is_known) {
        *ret = held(CS_PUBLISH_HOLD, CS_HELD_UNKNOWN, is_draft);
    }
    return 0;
}

unsigned cs_filter_deep_rules(const struct cs_tenant *tenant, const char *mailbox)
{
    const struct cs_mail_rules *rules = cs_tenant_mail_rules(tenant, mailbox);

    return (rules->skip_private ? CS_DEEP_PRIVATE : 0) |
           (rules->skip_automated ? CS_DEEP_AUTOMATED : 0);
}

bool cs_filter_asks_people(const struct cs_tenant *tenant, const char *mailbox)
{
    const struct cs_mail_rules *rules = cs_tenant_mail_rules(tenant, mailbox);

    return rules->skip_internal || rules->skip_automated || rules->skip_unknown ||
           rules->n_never_log > 0 || tenant->mail.n_never_log > 0;
}

bool cs_filter_envelopes_first(const struct cs_tenant *tenant, const char *mailbox)
{
    const struct cs_mail_rules *rules = cs_tenant_mail_rules(tenant, mailbox);

    return rules->skip_private || rules->skip_automated || rules->skip_unknown;
}

/* ---- events ----------------------------------------------------------------------------------- */

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
        return FULL;
    switch (tenant->private_events) {
    case CS_PRIVATE_FULL: return FULL;
    case CS_PRIVATE_SKIP: return held(CS_PUBLISH_HOLD, CS_HELD_PRIVATE, true);
    case CS_PRIVATE_BUSY_ONLY: break;
    }
    return held(CS_PUBLISH_BUSY_ONLY, CS_HELD_PRIVATE, true);
}
