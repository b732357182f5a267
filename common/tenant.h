/* tenant.h - the customers: who they are, which mailboxes, which rules.
 *
 * Read with the configuration (conf.h), immutable afterwards, shared by reference: a reload makes a new
 * set while jobs in flight keep the old one.
 *
 * In the files: name, tenant_id, client_id, credentials = ( { secret_file | secret_env |
 * certificate_file + key_file }, ... ), mailboxes = [ "ann@contoso.example", ... ], mailboxes_file,
 * own_domains, backfill_days (or "all"), calendar_past_days, calendar_future_days, private_events, body,
 * exclude_folders, send, attachment_hosts; what mail is held back: internal_mail, automated_mail, private_mail,
 * unknown_mail, never_log, automated_senders, contacts, contacts_file, and mailbox_rules for single mailboxes.
 * A name that comes twice, no credential or no mailbox is refused.
 */
#ifndef CS_COMMON_TENANT_H
#define CS_COMMON_TENANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/secret.h"

#define CS_TENANTS_MAX       10000
#define CS_MAILBOXES_MAX     200000 /* per tenant */
#define CS_CREDENTIALS_MAX   8
#define CS_DOMAINS_MAX       1000
#define CS_EXCLUDES_MAX      1000
#define CS_PATTERNS_MAX      10000  /* never_log, automated_senders */
#define CS_CONTACTS_MAX      500000 /* per tenant */
#define CS_CALENDAR_DAYS_MAX 1825   /* past and future together: Graph refuses wider windows */

struct cs_credential {      /* exactly one kind */
    char *secret_file;      /* re-read when it changes */
    char *secret_env;       /* name of an environment variable */
    char *certificate_file; /* PEM; with key_file */
    char *key_file;
};

enum cs_private_rule { CS_PRIVATE_BUSY_ONLY = 0, CS_PRIVATE_SKIP, CS_PRIVATE_FULL };

/* What mail is not published. An address pattern is in lower case, its domain in IDNA form: an address
 * ("ann@x.example"), a domain ("x.example", without its subdomains), or either with '*' for any characters. */
struct cs_mail_rules {
    bool skip_internal;  /* nobody but the tenant's own people in it */
    bool skip_automated; /* machines and mailing lists */
    bool skip_private;   /* sensitivity private or confidential */
    bool skip_unknown;   /* nobody in it is a contact */
    char **never_log;    /* address patterns: no mail with any of these people */
    size_t n_never_log;
};
struct cs_mailbox_rules {
    char *mailbox;
    struct cs_mail_rules
        mail; /* with the tenant's where it says nothing; never_log in addition to the tenant's */
};

struct cs_tenant {
    char *name;      /* [a-z0-9-]{1,40}: part of every key */
    char *tenant_id; /* directory id: GUID or verified domain */
    char *client_id; /* GUID */
    struct cs_credential *credentials;
    size_t n_credentials;
    char **mailboxes; /* lower-cased, sorted, no duplicates */
    size_t n_mailboxes;
    char *mailboxes_file; /* NULL, or one id a line, # for comments; read with the configuration */
    char **own_domains;   /* lower-case, IDNA */
    size_t n_own_domains;
    int64_t backfill_days;        /* -1: all; default 365 */
    int64_t calendar_past_days;   /* 0..1000; default 90 */
    int64_t calendar_future_days; /* 0..1000; default 365 */
    enum cs_private_rule private_events;
    int body; /* enum cs_body_rule */
    char **
        exclude_folders; /* well-known names or paths; default deleteditems, junkemail, drafts, outbox and the sync issues */
    size_t n_exclude_folders;
    char **
        attachment_hosts; /* "host" or "host:port": where attachments may be fetched from, by https */
    size_t n_attachment_hosts;
    struct cs_mail_rules mail;
    struct cs_mailbox_rules *mailbox_rules; /* as in the file */
    size_t n_mailbox_rules;
    char **automated_senders; /* address patterns, in addition to the usual ones */
    size_t n_automated_senders;
    char *
        contacts_file; /* NULL, or one contact a line, # for comments; read with the configuration */
    char **contacts;   /* addresses and domains, sorted, no duplicates; no wildcards */
    size_t n_contacts;
    bool send; /* may the CRM send from its mailboxes? Off unless said */
};
enum cs_body_rule { CS_BODY_HTML = 0, CS_BODY_TEXT, CS_BODY_NONE };

struct cs_tenant_set {
    struct cs_tenant **tenants; /* sorted by name */
    size_t n;
    unsigned refs; /* atomic */
};

/** Both from any thread. */
struct cs_tenant_set *cs_tenants_ref(struct cs_tenant_set *set);
void cs_tenants_unref(struct cs_tenant_set *set); /* NULL accepted */
const struct cs_tenant *cs_tenants_find(const struct cs_tenant_set *set, const char *name);
bool cs_tenant_has_mailbox(const struct cs_tenant *t, const char *mailbox);
/** Is the address's domain one of the tenant's own? Exact (a subdomain is not), case-insensitive; the
 * address has its domain in IDNA form already. */
bool cs_tenant_owns_address(const struct cs_tenant *t, const char *address);

/** Is it one of the tenant's contacts? An address or a domain, in lower case. */
bool cs_tenant_has_contact(const struct cs_tenant *t, const char *contact);
/** The rules of this mailbox: its own, or the tenant's. */
const struct cs_mail_rules *cs_tenant_mail_rules(const struct cs_tenant *t, const char *mailbox);
/** PURE. Does the text match, '*' in the pattern standing for any characters, none included? Case-sensitive. */
bool cs_wildcard_matches(const char *pattern, const char *text);

extern const char *const cs_default_excludes[]; /* ends with NULL */
/** Frees a tenant that is in no set (conf_tenant.c). NULL accepted. */
void cs_tenant_free(struct cs_tenant *t);

struct cs_folder_facts {
    const char *id;
    const char
        *path; /* "Inbox/Projects", display names joined by '/', each '/' in a name as '%2F' */
    const char *well_known; /* "" if none */
    bool hidden;
    bool search_folder; /* mailSearchFolder: its messages are duplicates */
};
/**
 * PURE. Is this folder synchronized for this tenant?
 *
 * Never: hidden folders, search folders, and what lies in a folder that is not. Else not, if an entry of
 * exclude_folders names it: by its well-known name (case-insensitive), or by its path or the path of a
 * folder above it (whole components, case-sensitive, "Inbox/Projects"). An entry that is one of Graph's
 * well-known names in lower case is never taken for a path. An entry with '*' is a pattern of a path, where '*'
 * stands for any characters, '/' included.
 *
 * @param[in] ancestors_in  are all folders above it in scope?
 */
bool cs_tenant_folder_in_scope(const struct cs_tenant *t, const struct cs_folder_facts *f,
                               bool ancestors_in);

#endif
