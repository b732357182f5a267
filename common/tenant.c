#include "common/tenant.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Conversation History stays in: people mail from it. */
const char *const cs_default_excludes[] = {
    "deleteditems",
    "junkemail",
    "drafts",
    "outbox",
    "syncissues",
    "conflicts",
    "localfailures",
    "serverfailures",
    "recoverableitemsdeletions",
    NULL,
};

/* Microsoft Graph: mailFolder resource type, well-known folder names. */
static const char *const well_known[] = {
    "archive",       "clutter",       "conflicts", "conversationhistory",
    "deleteditems",  "drafts",        "inbox",     "junkemail",
    "localfailures", "msgfolderroot", "outbox",    "recoverableitemsdeletions",
    "scheduled",     "searchfolders", "sentitems", "serverfailures",
    "syncissues",
};

static void free_strings(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

void cs_tenant_free(struct cs_tenant *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_credentials; i++) {
        free(t->credentials[i].secret_file);
        free(t->credentials[i].secret_env);
        free(t->credentials[i].certificate_file);
        free(t->credentials[i].key_file);
    }
    free(t->credentials);
    free_strings(t->mailboxes, t->n_mailboxes);
    free_strings(t->own_domains, t->n_own_domains);
    free_strings(t->attachment_hosts, t->n_attachment_hosts);
    free_strings(t->exclude_folders, t->n_exclude_folders);
    free_strings(t->mail.never_log, t->mail.n_never_log);
    for (size_t i = 0; i < t->n_mailbox_rules; i++) {
        free_strings(t->mailbox_rules[i].mail.never_log, t->mailbox_rules[i].mail.n_never_log);
        free(t->mailbox_rules[i].mailbox);
    }
    free(t->mailbox_rules);
    free_strings(t->automated_senders, t->n_automated_senders);
    free_strings(t->contacts, t->n_contacts);
    free(t->contacts_file);
    free(t->mailboxes_file);
    free(t->client_id);
    free(t->tenant_id);
    free(t->name);
    free(t);
}

struct cs_tenant_set *cs_tenants_ref(struct cs_tenant_set *set)
{
    (void)__atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED); /* only the last one's end matters */
    return set;
}

void cs_tenants_unref(struct cs_tenant_set *set)
{
    if (set == NULL || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    for (size_t i = 0; i < set->n; i++)
        cs_tenant_free(set->tenants[i]);
    free(set->tenants);
    free(set);
}

const struct cs_tenant *cs_tenants_find(const struct cs_tenant_set *set, const char *name)
{
    size_t low = 0, high = set->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(set->tenants[mid]->name, name);
        if (c == 0)
            return set->tenants[mid];
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static bool in_sorted(char *const *list, size_t n, const char *s)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(list[mid], s);
        if (c == 0)
            return true;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

bool cs_tenant_has_mailbox(const struct cs_tenant *t, const char *mailbox)
{
    return in_sorted(t->mailboxes, t->n_mailboxes, mailbox);
}

bool cs_tenant_has_contact(const struct cs_tenant *t, const char *contact)
{
    return in_sorted(t->contacts, t->n_contacts, contact);
}

const struct cs_mail_rules *cs_tenant_mail_rules(const struct cs_tenant *t, const char *mailbox)
{
    for (size_t i = 0; i < t->n_mailbox_rules; i++)
        if (strcmp(t->mailbox_rules[i].mailbox, mailbox) == 0)
            return &t->mailbox_rules[i].mail;
    return &t->mail;
}

bool cs_wildcard_matches(const char *pattern, const char *text)
{
    const char *star = NULL,
               *from = text; /* the last '*', and the text that it leaves to the rest */

    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1; /* the star takes one more; earlier stars need not */
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool cs_tenant_owns_address(const struct cs_tenant *t, const char *address)
{
    const char *at = strrchr(address, '@'); /* a quoted local part may hold one too */

    for (size_t i = 0; at != NULL && i < t->n_own_domains; i++)
        if (strcasecmp(at + 1, t->own_domains[i]) == 0)
            return true;
    return false;
}

static bool is_well_known(const char *entry)
{
    for (size_t i = 0; i < sizeof(well_known) / sizeof(well_known[0]); i++)
        if (strcmp(entry, well_known[i]) == 0)
            return true;
    return false;
}

bool cs_tenant_folder_in_scope(const struct cs_tenant *t, const struct cs_folder_facts *f,
                               bool ancestors_in)
{
    if (!ancestors_in || f->hidden || f->search_folder)
        return false;
    for (size_t i = 0; i < t->n_exclude_folders; i++) {
        const char *entry = t->exclude_folders[i];
        size_t n = strlen(entry);
        if (f->well_known != NULL && f->well_known[0] != '\0' &&
            strcasecmp(entry, f->well_known) == 0)
            return false;
        if (strchr(entry, '*') != NULL) {
            if (f->path != NULL && cs_wildcard_matches(entry, f->path))
                return false;
            continue; /* what lies below it has its ancestors out */
        }
        if (f->path != NULL && strncmp(f->path, entry, n) == 0 &&
            (f->path[n] == '\0' || f->path[n] == '/') && !is_well_known(entry))
            return false;
    }
    return true;
}
