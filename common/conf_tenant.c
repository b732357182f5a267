#include "common/conf_tenant.h"

#include <dirent.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <idn2.h>

#include "common/job.h"
#include "common/key.h"
#include "common/utf8.h"

#define FILES_MAX CS_TENANTS_MAX

/* One tenant being read. */
struct reader {
    const char *path; /* the file that says it */
    const struct cs_node *group;
    struct cs_tenant *t;
    struct cs_conf_error *err;
};

static int refuse(const struct reader *r, const struct cs_node *node, const char *key,
                  const char *why)
{
    return cs_conf_fail(r->err, r->path, node != NULL ? node->line : r->group->line, key, "%s",
                        why);
}

static int no_memory(const struct reader *r)
{
    (void)refuse(r, NULL, NULL, "out of memory");
    return -ENOMEM;
}

static void lower(char *s)
{
    for (; *s != '\0'; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + 32);
}

static bool plain_text(const char *s)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n;) {
        size_t k = cs_utf8_len(s + i, n - i);
        if (k == 0 || (unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return false;
        i += k;
    }
    return n > 0;
}

/* --- fields ------------------------------------------------------------------------------------ */

/* Absent: *ret stays NULL and it is no error. */
static int read_text(const struct reader *r, const struct cs_node *group, const char *key,
                     size_t max, char **ret)
{
    const struct cs_node *node = cs_node_find(group, key);

    if (node == NULL)
        return 0;
    if (node->type != CS_NODE_STR)
        return refuse(r, node, key, "must be a text in quotes");
    if (strlen(node->s) > max || !plain_text(node->s))
        return refuse(r, node, key, "is empty, too long, or has control characters");
    *ret = strdup(node->s);
    return *ret != NULL ? 0 : no_memory(r);
}

/* A file's name, taken from the folder of the file that says it. */
static int read_path(const struct reader *r, const struct cs_node *group, const char *key,
                     char **ret)
{
    char *name = NULL, path[PATH_MAX];
    int result = read_text(r, group, key, PATH_MAX - 1, &name);
    const char *slash = strrchr(r->path, '/');

    if (result < 0 || name == NULL || name[0] == '/' || slash == NULL) {
        *ret = name;
        return result;
    }
    int n = snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - r->path), r->path, name);
    free(name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return refuse(r, cs_node_find(group, key), key, "the file's name is too long");
    *ret = strdup(path);
    return *ret != NULL ? 0 : no_memory(r);
}

static int read_number(const struct reader *r, const char *key, int64_t max, const char *word,
                       int64_t word_value, int64_t *ret)
{
    const struct cs_node *node = cs_node_find(r->group, key);

    if (node == NULL)
        return 0;
    if (word != NULL && node->type == CS_NODE_STR && strcmp(node->s, word) == 0) {
        *ret = word_value;
        return 0;
    }
    if (node->type != CS_NODE_INT || node->i < 0 || node->i > max)
        return cs_conf_fail(
            r->err, r->path, node->line, key, "must be a whole number from 0 to %" PRId64 "%s%s%s",
            max, word != NULL ? " or \"" : "", word != NULL ? word : "", word != NULL ? "\"" : "");
    *ret = node->i;
    return 0;
}

static int read_switch(const struct reader *r, const char *key, bool *ret)
{
    const struct cs_node *node = cs_node_find(r->group, key);

    if (node == NULL)
        return 0;
    if (node->type != CS_NODE_BOOL)
        return refuse(r, node, key, "must be true or false");
    *ret = node->i != 0;
    return 0;
}

static int read_choice(const struct reader *r, const char *key, const char *const *names,
                       const char *list, int *ret)
{
    const struct cs_node *node = cs_node_find(r->group, key);

    if (node == NULL)
        return 0;
    for (int i = 0; node->type == CS_NODE_STR && names[i] != NULL; i++) {
        if (strcmp(node->s, names[i]) == 0) {
            *ret = i;
            return 0;
        }
    }
    return cs_conf_fail(r->err, r->path, node->line, key, "must be one of %s", list);
}

/* What an element of a list becomes: a copy, or NULL with a reason. */
typedef char *(*element_fn)(const char *s, const char **why);

static char *copy_of(const char *s, const char **why)
{
    char *copy = strdup(s);
    if (copy == NULL)
        *why = NULL; /* memory */
    return copy;
}

static char *mailbox_of(const char *s, const char **why)
{
    char *copy = copy_of(s, why);

    if (copy == NULL)
        return NULL;
    lower(copy);
    if (!cs_mailbox_name_ok(copy)) {
        *why = "not a mailbox: an address or an object id, without spaces and slashes";
        free(copy);
        return NULL;
    }
    return copy;
}

static char *host_of(const char *s, const char **why)
{
    char *copy;

    *why = "not a host, or host:port";
    if (s[0] == '\0' || strlen(s) > 255 ||
        s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:")] != '\0')
        return NULL;
    copy = strdup(s);
    if (copy == NULL)
        *why = NULL;
    else
        lower(copy);
    return copy;
}

static char *domain_of(const char *s, const char **why)
{
    char *ascii = NULL;
    int rc = idn2_to_ascii_8z(s, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);

    *why = "not a domain's name";
    if (rc == IDN2_MALLOC) {
        *why = NULL;
        return NULL;
    }
    if (rc != IDN2_OK)
        return NULL;
    char *copy = strdup(ascii); /* free() is right for it whatever libidn2 allocates with */
    idn2_free(ascii);
    if (copy == NULL) {
        *why = NULL;
        return NULL;
    }
    lower(copy);
    if (copy[0] == '\0' || strlen(copy) > 255 ||
        copy[strspn(copy, "abcdefghijklmnopqrstuvwxyz0123456789-.")] != '\0' ||
        strchr(copy, '.') == NULL || copy[0] == '.' || copy[strlen(copy) - 1] == '.') {
        free(copy);
        return NULL;
    }
    return copy;
}

/* An address or a domain, in lower case, the domain in IDNA form. */
static char *contact_of(const char *s, const char **why)
{
    const char *at = strrchr(s, '@');
    char *domain = NULL, *whole = NULL;
    size_t local;

    if (!plain_text(s) || strpbrk(s, " *") != NULL || at == s || strlen(s) > CS_MAILBOX_MAX) {
        *why = "not an address or a domain";
        return NULL;
    }
    domain = domain_of(at != NULL ? at + 1 : s, why);
    if (domain == NULL || at == NULL)
        return domain;
    local = (size_t)(at - s) + 1;
    whole = malloc(local + strlen(domain) + 1);
    if (whole == NULL) {
        *why = NULL;
    } else {
        memcpy(whole, s, local);
        memcpy(whole + local, domain, strlen(domain) + 1);
        lower(whole);
    }
    free(domain);
    return whole;
}

static char *pattern_of(const char *s, const char **why)
{
    char *copy;

    if (strchr(s, '*') == NULL)
        return contact_of(s, why);
    for (const char *c = s; *c != '\0'; c++) {
        /* part of a domain has no IDNA form to be compared in */
        if (*c <= ' ' || *c > '~' || strlen(s) > CS_MAILBOX_MAX) {
            *why = "not an address or a domain; with a *, in ASCII (xn--...)";
            return NULL;
        }
    }
    copy = copy_of(s, why);
    if (copy != NULL)
        lower(copy);
    return copy;
}

static char *folder_of(const char *s, const char **why)
{
    size_t n = strlen(s);

    if (!plain_text(s) || n > CS_PATH_MAX || s[0] == '/' || s[n - 1] == '/') {
        *why = "not a folder: a well-known name, or a path like \"Inbox/Projects\"";
        return NULL;
    }
    return copy_of(s, why);
}

static int read_list(const struct reader *r, const char *key, size_t max, element_fn element,
                     char ***ret, size_t *ret_n)
{
    const struct cs_node *node = cs_node_find(r->group, key);

    if (node == NULL)
        return 0;
    if (node->type != CS_NODE_LIST)
        return refuse(r, node, key, "must be a list of texts in brackets");
    if (node->n > max)
        return cs_conf_fail(r->err, r->path, node->line, key, "more than %zu entries", max);
    char **list = calloc(node->n + 1, sizeof(*list));
    if (list == NULL)
        return no_memory(r);
    *ret = list;
    for (size_t i = 0; i < node->n; i++) {
        const struct cs_node *e = &node->children[i];
        const char *why = "must be a list of texts in brackets";
        list[i] = e->type == CS_NODE_STR ? element(e->s, &why) : NULL;
        if (list[i] == NULL)
            return why == NULL ? no_memory(r) : refuse(r, e, key, why);
        *ret_n = i + 1;
    }
    return 0;
}

/* --- mailboxes --------------------------------------------------------------------------------- */

struct strings {
    char **list;
    size_t n, cap;
};

static int add_string(const struct reader *r, struct strings *to, char *s)
{
    if (to->n == to->cap) {
        size_t more = to->cap < 64 ? 64 : to->cap * 2;
        char **list = realloc(to->list, more * sizeof(*list));
        if (list == NULL) {
            free(s);
            return no_memory(r);
        }
        to->list = list;
        to->cap = more;
    }
    to->list[to->n++] = s;
    return 0;
}

/* One entry a line, # for comments, added to what is there. */
static int read_lines(const struct reader *r, const char *key, const char *file, size_t max,
                      const char *what, element_fn element, char ***list, size_t *n_list)
{
    struct strings to = {*list, *n_list, *n_list};
    unsigned line = 0;
    struct cs_buf text;
    int result;

    cs_buf_init(&text, 0);
    result = cs_read_file(file, CS_CONF_FILE_MAX, &text);
    if (result < 0) {
        (void)cs_conf_fail(r->err, r->path, r->group->line, key, "%s: %s", file, strerror(-result));
        goto out;
    }
    if (strlen(text.data) != text.len) {
        result = cs_conf_fail(r->err, file, 0, NULL, "a NUL byte");
        goto out;
    }
    for (char *at = text.data, *next; *at != '\0'; at = next) {
        size_t n = strcspn(at, "\n");
        const char *why = "";
        next = at + n + (at[n] == '\n');
        at[n] = '\0';
        line++;
        at += strspn(at, " \t\r");
        /* a comment begins the line or follows a space: guests' ids have #EXT# */
        for (n = strcspn(at, "#"); at[n] != '\0' && n > 0 && at[n - 1] != ' ' && at[n - 1] != '\t';)
            n += 1 + strcspn(at + n + 1, "#");
        at[n] = '\0';
        for (n = strlen(at); n > 0 && strchr(" \t\r", at[n - 1]) != NULL; n--)
            at[n - 1] = '\0';
        if (*at == '\0')
            continue;
        char *entry = element(at, &why);
        if (entry == NULL)
            result = why == NULL ? no_memory(r) : cs_conf_fail(r->err, file, line, NULL, "%s", why);
        else if (to.n >= max)
            result = cs_conf_fail(r->err, file, line, NULL, "more than %zu %s", max, what);
        if (result < 0) {
            free(entry);
            goto out;
        }
        result = add_string(r, &to, entry);
        if (result < 0)
            goto out;
    }
out:
    *list = to.list;
    *n_list = to.n;
    cs_buf_clear(&text);
    return result;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_unique(char **list, size_t *n)
{
    size_t kept = 0;

    if (*n == 0)
        return;
    qsort(list, *n, sizeof(*list), by_text);
    for (size_t i = 1; i < *n; i++) {
        if (strcmp(list[i], list[kept]) == 0)
            free(list[i]);
        else
            list[++kept] = list[i];
    }
    *n = kept + 1;
}

static int read_mailboxes(struct reader *r)
{
    struct cs_tenant *t = r->t;
    int result =
        read_list(r, "mailboxes", CS_MAILBOXES_MAX, mailbox_of, &t->mailboxes, &t->n_mailboxes);

    if (result == 0)
        result = read_path(r, r->group, "mailboxes_file", &t->mailboxes_file);
    if (result == 0 && t->mailboxes_file != NULL)
        result = read_lines(r, "mailboxes_file", t->mailboxes_file, CS_MAILBOXES_MAX, "mailboxes",
                            mailbox_of, &t->mailboxes, &t->n_mailboxes);
    if (result < 0)
        return result;
    sort_unique(t->mailboxes, &t->n_mailboxes);
    /* an emptied file must not silently stop a customer: the reload is refused, the old set stays */
    if (t->n_mailboxes == 0)
        return refuse(r, NULL, "mailboxes", "required: a tenant without mailboxes");
    return 0;
}

/* --- credentials ------------------------------------------------------------------------------- */

static int check_names(const struct reader *r, const struct cs_node *group,
                       const char *const *names)
{
    for (size_t i = 0; i < group->n; i++) {
        const char *name = group->children[i].name;
        size_t k = 0;
        while (names[k] != NULL && strcmp(names[k], name) != 0)
            k++;
        if (names[k] != NULL)
            continue;
        if (strcmp(name, "secret") == 0 || strcmp(name, "client_secret") == 0)
            return refuse(
                r, &group->children[i], name,
                "secrets do not stand in the configuration: use secret_file or secret_env");
        return refuse(r, &group->children[i], name, "unknown key");
    }
    return 0;
}

static int read_credential(const struct reader *r, const struct cs_node *group,
                           struct cs_credential *c)
{
    static const char *const names[] = {"secret_file", "secret_env", "certificate_file", "key_file",
                                        NULL};
    int result;

    if (group->type != CS_NODE_GROUP)
        return refuse(r, group, "credentials",
                      "must be a list of groups: ( { secret_file = \"...\"; } )");
    if ((result = check_names(r, group, names)) < 0 ||
        (result = read_path(r, group, "secret_file", &c->secret_file)) < 0 ||
        (result = read_text(r, group, "secret_env", 128, &c->secret_env)) < 0 ||
        (result = read_path(r, group, "certificate_file", &c->certificate_file)) < 0 ||
        (result = read_path(r, group, "key_file", &c->key_file)) < 0)
        return result;
    bool certificate = c->certificate_file != NULL || c->key_file != NULL;
    if ((c->secret_file != NULL) + (c->secret_env != NULL) + certificate != 1)
        return refuse(r, group, "credentials",
                      "one of secret_file, secret_env, or certificate_file with key_file");
    if (certificate && (c->certificate_file == NULL || c->key_file == NULL))
        return refuse(r, group, "credentials", "certificate_file and key_file go together");
    if (c->secret_env != NULL &&
        c->secret_env[strspn(c->secret_env,
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] !=
            '\0')
        return refuse(r, group, "secret_env",
                      "not the name of a variable (the secret itself does not stand here)");
    return 0;
}

static int read_credentials(struct reader *r)
{
    const struct cs_node *node = cs_node_find(r->group, "credentials");

    if (node == NULL || (node->type == CS_NODE_LIST && node->n == 0))
        return refuse(r, node, "credentials", "required: a tenant without credentials");
    if (node->type != CS_NODE_LIST)
        return refuse(r, node, "credentials",
                      "must be a list of groups: ( { secret_file = \"...\"; } )");
    if (node->n > CS_CREDENTIALS_MAX)
        return cs_conf_fail(r->err, r->path, node->line, "credentials", "more than %d entries",
                            CS_CREDENTIALS_MAX);
    r->t->credentials = calloc(node->n, sizeof(*r->t->credentials));
    if (r->t->credentials == NULL)
        return no_memory(r);
    r->t->n_credentials = node->n;
    for (size_t i = 0; i < node->n; i++) {
        int result = read_credential(r, &node->children[i], &r->t->credentials[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

/* --- what mail is held back --------------------------------------------------------------------- */

/* Absent: *ret stays as it is. */
static int read_skip(const struct reader *r, const char *key, bool *ret)
{
    static const char *const names[] = {"keep", "skip", NULL};
    int choice = *ret;
    int result = read_choice(r, key, names, "keep, skip", &choice);

    *ret = choice != 0;
    return result;
}

static int read_mail_rules(const struct reader *r, struct cs_mail_rules *rules)
{
    int result;

    if ((result = read_skip(r, "internal_mail", &rules->skip_internal)) < 0 ||
        (result = read_skip(r, "automated_mail", &rules->skip_automated)) < 0 ||
        (result = read_skip(r, "private_mail", &rules->skip_private)) < 0 ||
        (result = read_skip(r, "unknown_mail", &rules->skip_unknown)) < 0)
        return result;
    return read_list(r, "never_log", CS_PATTERNS_MAX, pattern_of, &rules->never_log,
                     &rules->n_never_log);
}

static int read_mailbox_rules(const struct reader *r)
{
    static const char *const names[] = {
        "mailbox", "internal_mail", "automated_mail", "private_mail", "unknown_mail", "never_log",
        NULL};
    static const char form[] =
        "must be a list of groups: ( { mailbox = \"...\"; internal_mail = \"skip\"; } )";
    const struct cs_node *node = cs_node_find(r->group, "mailbox_rules");
    struct cs_tenant *t = r->t;

    if (node == NULL)
        return 0;
    if (node->type != CS_NODE_LIST)
        return refuse(r, node, "mailbox_rules", form);
    if (node->n > CS_PATTERNS_MAX)
        return cs_conf_fail(r->err, r->path, node->line, "mailbox_rules", "more than %d entries",
                            CS_PATTERNS_MAX);
    t->mailbox_rules = calloc(node->n + 1, sizeof(*t->mailbox_rules));
    if (t->mailbox_rules == NULL)
        return no_memory(r);
    for (size_t i = 0; i < node->n; i++) {
        struct cs_mailbox_rules *rules = &t->mailbox_rules[i];
        struct reader one = {r->path, &node->children[i], t, r->err};
        const struct cs_node *name;
        const char *why = "required: one of the tenant's mailboxes";
        int result;

        if (one.group->type != CS_NODE_GROUP)
            return refuse(r, one.group, "mailbox_rules", form);
        if ((result = check_names(&one, one.group, names)) < 0)
            return result;
        name = cs_node_find(one.group, "mailbox");
        t->n_mailbox_rules = i + 1;
        if (name != NULL && name->type == CS_NODE_STR)
            rules->mailbox = mailbox_of(name->s, &why);
        if (rules->mailbox == NULL)
            return why == NULL ? no_memory(r) : refuse(&one, name, "mailbox", why);
        if (!cs_tenant_has_mailbox(t, rules->mailbox)) /* a slip would hold nothing back */
            return refuse(&one, name, "mailbox", "not one of the tenant's mailboxes");
        for (size_t k = 0; k < i; k++)
            if (strcmp(t->mailbox_rules[k].mailbox, rules->mailbox) == 0)
                return refuse(&one, name, "mailbox", "comes twice");
        rules->mail = t->mail;
        rules->mail.never_log = NULL;
        rules->mail.n_never_log = 0;
        if ((result = read_mail_rules(&one, &rules->mail)) < 0)
            return result;
    }
    return 0;
}

static bool skips_unknown(const struct cs_tenant *t)
{
    bool any = t->mail.skip_unknown;

    for (size_t i = 0; i < t->n_mailbox_rules; i++)
        any = any || t->mailbox_rules[i].mail.skip_unknown;
    return any;
}

/* After mailboxes and own_domains. */
static int read_filters(struct reader *r)
{
    struct cs_tenant *t = r->t;
    int result;

    if ((result = read_mail_rules(r, &t->mail)) < 0 || (result = read_mailbox_rules(r)) < 0 ||
        (result = read_list(r, "automated_senders", CS_PATTERNS_MAX, pattern_of,
                            &t->automated_senders, &t->n_automated_senders)) < 0 ||
        (result = read_list(r, "contacts", CS_CONTACTS_MAX, contact_of, &t->contacts,
                            &t->n_contacts)) < 0 ||
        (result = read_path(r, r->group, "contacts_file", &t->contacts_file)) < 0)
        return result;
    if (t->contacts_file != NULL &&
        (result = read_lines(r, "contacts_file", t->contacts_file, CS_CONTACTS_MAX, "contacts",
                             contact_of, &t->contacts, &t->n_contacts)) < 0)
        return result;
    sort_unique(t->contacts, &t->n_contacts);
    if (skips_unknown(t) && t->n_contacts == 0)
        return refuse(r, cs_node_find(r->group, "unknown_mail"), "unknown_mail",
                      "without contacts and contacts_file nothing would be published");
    return 0;
}

/* --- a tenant ---------------------------------------------------------------------------------- */

static bool is_guid(const char *s)
{
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (s[i] == '\0' || (dash ? s[i] != '-' : strchr("0123456789abcdefABCDEF", s[i]) == NULL))
            return false;
    }
    return s[36] == '\0';
}

static bool is_domain(const char *s)
{
    size_t n = strlen(s);

    return n <= 255 && strchr(s, '.') != NULL && s[0] != '.' && s[n - 1] != '.' &&
           strstr(s, "..") == NULL &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")] == '\0';
}

static int read_identity(struct reader *r)
{
    struct cs_tenant *t = r->t;
    int result;

    if ((result = read_text(r, r->group, "name", 255, &t->name)) < 0 ||
        (result = read_text(r, r->group, "tenant_id", 255, &t->tenant_id)) < 0 ||
        (result = read_text(r, r->group, "client_id", 255, &t->client_id)) < 0)
        return result;
    if (t->name == NULL || !cs_tenant_name_ok(t->name))
        return refuse(r, cs_node_find(r->group, "name"), "name",
                      "required: 1 to 40 lower-case letters, digits and dashes");
    if (t->tenant_id == NULL || (!is_guid(t->tenant_id) && !is_domain(t->tenant_id)))
        return refuse(r, cs_node_find(r->group, "tenant_id"), "tenant_id",
                      "required: the directory's id (a GUID) or one of its domains");
    if (t->client_id == NULL || !is_guid(t->client_id))
        return refuse(r, cs_node_find(r->group, "client_id"), "client_id",
                      "required: the application's id (a GUID)");
    return 0;
}

static int read_excludes(struct reader *r)
{
    struct cs_tenant *t = r->t;
    size_t n = 0;

    if (cs_node_find(r->group, "exclude_folders") != NULL)
        return read_list(r, "exclude_folders", CS_EXCLUDES_MAX, folder_of, &t->exclude_folders,
                         &t->n_exclude_folders);
    while (cs_default_excludes[n] != NULL)
        n++;
    t->exclude_folders = calloc(n > 0 ? n : 1, sizeof(*t->exclude_folders));
    if (t->exclude_folders == NULL)
        return no_memory(r);
    for (; t->n_exclude_folders < n; t->n_exclude_folders++) {
        t->exclude_folders[t->n_exclude_folders] =
            strdup(cs_default_excludes[t->n_exclude_folders]);
        if (t->exclude_folders[t->n_exclude_folders] == NULL)
            return no_memory(r);
    }
    return 0;
}

static int read_tenant(const char *path, const struct cs_node *group, struct cs_tenant **ret,
                       struct cs_conf_error *err)
{
    static const char *const names[] = {"name",
                                        "tenant_id",
                                        "client_id",
                                        "credentials",
                                        "mailboxes",
                                        "mailboxes_file",
                                        "own_domains",
                                        "backfill_days",
                                        "calendar_past_days",
                                        "calendar_future_days",
                                        "private_events",
                                        "body",
                                        "exclude_folders",
                                        "send",
                                        "attachment_hosts",
                                        "internal_mail",
                                        "automated_mail",
                                        "private_mail",
                                        "unknown_mail",
                                        "never_log",
                                        "automated_senders",
                                        "contacts",
                                        "contacts_file",
                                        "mailbox_rules",
                                        NULL};
    static const char *const private_names[] = {"busy_only", "skip", "full", NULL};
    static const char *const body_names[] = {"html", "text", "none", NULL};
    struct reader r = {path, group, NULL, err};
    int private_rule = CS_PRIVATE_BUSY_ONLY, result;

    if (group->type != CS_NODE_GROUP)
        return refuse(&r, NULL, "tenants", "must be a list of groups in braces");
    r.t = calloc(1, sizeof(*r.t));
    if (r.t == NULL)
        return no_memory(&r);
    r.t->backfill_days = 365;
    r.t->calendar_past_days = 90;
    r.t->calendar_future_days = 365;
    if ((result = check_names(&r, group, names)) < 0 || (result = read_identity(&r)) < 0 ||
        (result = read_credentials(&r)) < 0 || (result = read_mailboxes(&r)) < 0 ||
        (result = read_list(&r, "own_domains", CS_DOMAINS_MAX, domain_of, &r.t->own_domains,
                            &r.t->n_own_domains)) < 0 ||
        (result = read_number(&r, "backfill_days", 36500, "all", -1, &r.t->backfill_days)) < 0 ||
        (result = read_number(&r, "calendar_past_days", 1000, NULL, 0, &r.t->calendar_past_days)) <
            0 ||
        (result = read_number(&r, "calendar_future_days", 1000, NULL, 0,
                              &r.t->calendar_future_days)) < 0 ||
        (result = read_choice(&r, "private_events", private_names, "busy_only, skip, full",
                              &private_rule)) < 0 ||
        (result = read_choice(&r, "body", body_names, "html, text, none", &r.t->body)) < 0 ||
        (result = read_switch(&r, "send", &r.t->send)) < 0 ||
        (result = read_list(&r, "attachment_hosts", CS_DOMAINS_MAX, host_of, &r.t->attachment_hosts,
                            &r.t->n_attachment_hosts)) < 0 ||
        (result = read_excludes(&r)) < 0 || (result = read_filters(&r)) < 0)
        goto out;
    r.t->private_events = (enum cs_private_rule)private_rule;
    if (r.t->calendar_past_days + r.t->calendar_future_days > CS_CALENDAR_DAYS_MAX) {
        result = cs_conf_fail(err, path, group->line, "calendar_future_days",
                              "past and future together: at most %d days", CS_CALENDAR_DAYS_MAX);
        goto out;
    }
    *ret = r.t;
    r.t = NULL;
out:
    cs_tenant_free(r.t);
    return result;
}

/* --- the set ----------------------------------------------------------------------------------- */

static int add_tenant(struct cs_tenant_set *set, const char *path, const struct cs_node *group,
                      struct cs_conf_error *err)
{
    struct cs_tenant *t = NULL;
    int r = read_tenant(path, group, &t, err);

    if (r < 0)
        return r;
    assert(t != NULL); /* else read_tenant() has said so */
    size_t at = 0;
    while (at < set->n && strcmp(set->tenants[at]->name, t->name) < 0)
        at++;
    if (at < set->n && strcmp(set->tenants[at]->name, t->name) == 0) {
        r = cs_conf_fail(err, path, group->line, "name", "tenant %s comes twice", t->name);
    } else if (set->n == CS_TENANTS_MAX) {
        r = cs_conf_fail(err, path, group->line, NULL, "more than %d tenants", CS_TENANTS_MAX);
    } else if ((set->n & (set->n - 1)) == 0) { /* the array is full at every power of two */
        size_t cap = set->n == 0 ? 1 : set->n * 2;
        struct cs_tenant **list = realloc(set->tenants, cap * sizeof(*list));
        if (list == NULL) {
            (void)cs_conf_fail(err, path, 0, NULL, "out of memory");
            r = -ENOMEM;
        } else {
            set->tenants = list;
        }
    }
    if (r < 0) {
        cs_tenant_free(t);
        return r;
    }
    memmove(&set->tenants[at + 1], &set->tenants[at], (set->n - at) * sizeof(set->tenants[0]));
    set->tenants[at] = t;
    set->n++;
    return 0;
}

static int add_list(struct cs_tenant_set *set, const char *path, const struct cs_node *list,
                    struct cs_conf_error *err)
{
    if (list->type != CS_NODE_LIST)
        return cs_conf_fail(err, path, list->line, "tenants",
                            "must be a list: tenants = ( { ... }, { ... } )");
    for (size_t i = 0; i < list->n; i++) {
        int r = add_tenant(set, path, &list->children[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_file(struct cs_tenant_set *set, const char *path, struct cs_conf_error *err)
{
    struct cs_node *root = NULL;
    int r = cs_conf_file_read(path, &root, err);

    if (r < 0)
        return r;
    const struct cs_node *list = cs_node_find(root, "tenants");
    if (list == NULL)
        r = add_tenant(set, path, root, err);
    else if (root->n != 1)
        r = cs_conf_fail(err, path, list->line, "tenants",
                         "one tenant's settings, or a tenants list: not both");
    else
        r = add_list(set, path, list, err);
    cs_node_free(root);
    return r;
}

/* The names of the *.cfg files, sorted. A folder that is not there has none. */
static int list_folder(const char *folder, char ***ret, size_t *ret_n, struct cs_conf_error *err)
{
    DIR *dir = opendir(folder);
    struct dirent *e;
    size_t cap = 0;
    int r = 0;

    if (dir == NULL && errno == ENOENT)
        return 0;
    if (dir == NULL) {
        r = -errno;
        (void)cs_conf_fail(err, folder, 0, NULL, "%s", strerror(-r));
        return r;
    }
    for (errno = 0; (e = readdir(dir)) != NULL; errno = 0) {
        size_t n = strlen(e->d_name);
        if (e->d_name[0] == '.' || n <= 4 || strcmp(e->d_name + n - 4, ".cfg") != 0)
            continue;
        if (*ret_n == FILES_MAX) {
            r = cs_conf_fail(err, folder, 0, NULL, "more than %d files", FILES_MAX);
            goto out;
        }
        if (*ret_n == cap) {
            size_t more = cap == 0 ? 16 : cap * 2;
            char **list = realloc(*ret, more * sizeof(*list));
            if (list == NULL)
                goto no_memory;
            *ret = list;
            cap = more;
        }
        (*ret)[*ret_n] = strdup(e->d_name);
        if ((*ret)[*ret_n] == NULL)
            goto no_memory;
        (*ret_n)++;
    }
    if (errno != 0) {
        r = -errno;
        (void)cs_conf_fail(err, folder, 0, NULL, "%s", strerror(-r));
    } else if (*ret_n > 0) {
        qsort(*ret, *ret_n, sizeof(**ret), by_text);
    }
    goto out;
no_memory:
    (void)cs_conf_fail(err, folder, 0, NULL, "out of memory");
    r = -ENOMEM;
out:
    (void)closedir(dir); /* only read from */
    return r;
}

static int add_folder(struct cs_tenant_set *set, const char *main_path, struct cs_conf_error *err)
{
    const char *slash = strrchr(main_path, '/');
    char folder[PATH_MAX], path[PATH_MAX];
    char **names = NULL;
    size_t n = 0;
    int r, len;

    len = snprintf(folder, sizeof(folder), "%.*stenants.d",
                   slash != NULL ? (int)(slash - main_path) + 1 : 0, main_path);
    if (len < 0 || (size_t)len >= sizeof(folder))
        return cs_conf_fail(err, main_path, 0, NULL, "the file's name is too long");
    r = list_folder(folder, &names, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        len = snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        if (len < 0 || (size_t)len >= sizeof(path))
            r = cs_conf_fail(err, folder, 0, NULL, "a file's name is too long");
        else
            r = add_file(set, path, err);
    }
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return r;
}

int cs_conf_tenants(const char *path, const struct cs_node *root, struct cs_tenant_set **ret,
                    struct cs_conf_error *err)
{
    const struct cs_node *list = cs_node_find(root, "tenants");
    struct cs_tenant_set *set = calloc(1, sizeof(*set));
    int r = 0;

    if (set == NULL) {
        (void)cs_conf_fail(err, path, 0, NULL, "out of memory");
        return -ENOMEM;
    }
    set->refs = 1;
    if (list != NULL)
        r = add_list(set, path, list, err);
    if (r == 0)
        r = add_folder(set, path, err);
    if (r < 0) {
        cs_tenants_unref(set);
        return r;
    }
    *ret = set;
    return 0;
}

int cs_tenants_load(const char *path, struct cs_tenant_set **ret, struct cs_conf_error *err)
{
    struct cs_tenant_set *set = calloc(1, sizeof(*set));
    int r;

    if (set == NULL) {
        (void)cs_conf_fail(err, path, 0, NULL, "out of memory");
        return -ENOMEM;
    }
    set->refs = 1;
    r = add_file(set, path, err);
    if (r < 0) {
        cs_tenants_unref(set);
        return r;
    }
    *ret = set;
    return 0;
}

void cs_conf_sample_tenant(struct cs_buf *out)
{
    cs_buf_adds(
        out,
        "# One customer. File names are relative to this file.\n\n"
        "# Part of every key: never change it. 1 to 40 lower-case letters, digits, dashes.\n"
        "name = \"acme\";\n\n"
        "# Directory (tenant) id, or one of its domains; application (client) id.\n"
        "tenant_id = \"11111111-1111-1111-1111-111111111111\";\n"
        "client_id = \"22222222-2222-2222-2222-222222222222\";\n\n"
        "# Tried in order, so that a secret can be changed without a restart. Each is one of:\n"
        "#   { secret_file = \"...\"; }  { secret_env = \"NAME\"; }\n"
        "#   { certificate_file = \"...\"; key_file = \"...\"; }\n"
        "credentials = ( { secret_file = \"acme.secret\"; } );\n\n"
        "# Addresses or object ids; mailboxes_file names a file with one a line.\n"
        "mailboxes = [ \"ann@contoso.example\", \"bob@contoso.example\" ];\n"
        "# mailboxes_file = \"acme.mailboxes\";\n\n"
        "# Mail between these domains is internal.\n"
        "own_domains = [ \"contoso.example\" ];\n\n"
        "# How far back mail is fetched: days, or \"all\".\n"
        "backfill_days = 365;\n\n"
        "# The calendar's window around today, in days: 0 to 1000 each, 1825 together.\n"
        "calendar_past_days = 90;\n"
        "calendar_future_days = 365;\n\n"
        "# Private events: \"busy_only\", \"skip\" or \"full\".\n"
        "private_events = \"busy_only\";\n\n"
        "# Bodies: \"html\", \"text\" or \"none\".\n"
        "body = \"html\";\n\n"
        "# Mail that is held back: \"skip\", else \"keep\". Internal: nobody but own people in it. "
        "Automated:\n"
        "# machines and mailing lists, by header lines and senders. Private: marked private or "
        "confidential.\n"
        "# Unknown: nobody in it is a contact.\n"
        "internal_mail = \"keep\";\n"
        "automated_mail = \"keep\";\n"
        "private_mail = \"keep\";\n"
        "unknown_mail = \"keep\";\n"
        "# No mail with any of these people: addresses, domains, * for any characters.\n"
        "# never_log = [ \"lawyer.example\", \"*.lawyer.example\", \"works-council@*\" ];\n"
        "# Machines, beside noreply@* and the like.\n"
        "# automated_senders = [ \"*@alerts.example\" ];\n"
        "# Contacts: addresses and domains; contacts_file names a file with one a line.\n"
        "# contacts = [ \"fabrikam.example\" ];\n"
        "# contacts_file = \"acme.contacts\";\n"
        "# For single mailboxes, in place of the above (never_log: in addition).\n"
        "# mailbox_rules = ( { mailbox = \"ann@contoso.example\"; private_mail = \"skip\"; } );\n\n"
        "# Folders left out, with all below them: well-known names, or paths like "
        "\"Inbox/Projects\"; * in a path\n# stands for any characters.\n"
        "exclude_folders = [ ");
    for (size_t i = 0; cs_default_excludes[i] != NULL; i++)
        cs_buf_addf(out, "%s\"%s\"", i > 0 ? (i % 4 == 0 ? ",\n    " : ", ") : "",
                    cs_default_excludes[i]);
    cs_buf_adds(out, " ];\n");
}
