/* conf.c - one table of settings for command line, file and help. */
#include "conf.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tz.h"

enum kind { UINT, U64, TEXT, RATE, SECRET, CERT, NAME, LATENCY };

struct setting {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *value; /* default */
    unsigned long max;
    const char *help;
};

#define AT(member) offsetof(struct sim_conf, member)

static const struct setting settings[] = {
    {"port", UINT, AT(port), "0", 65535, "Graph and token endpoint; 0: a free one"},
    {"control-port", UINT, AT(control_port), "0", 65535,
     "control, always on 127.0.0.1; 0: a free one"},
    {"listen", TEXT, AT(listen), "127.0.0.1", 0, "address of the Graph port"},
    {"tls-cert", TEXT, AT(tls_cert), NULL, 0, "PEM; with --tls-key the Graph port speaks TLS"},
    {"tls-key", TEXT, AT(tls_key), NULL, 0, "PEM"},
    {"seed", U64, AT(seed), "1", 0, "of everything generated"},
    {"mailboxes", UINT, AT(mailboxes), "1", 100000, "how many"},
    {"mailbox", NAME, 0, NULL, 0,
     "address of the next mailbox (repeatable); the others get a name of their own"},
    {"messages", UINT, AT(messages), "100", 10000000, "per mailbox"},
    {"folders", UINT, AT(folders), "6", 10000, "of the user's own, per mailbox, nested"},
    {"events", UINT, AT(events), "20", 1000000, "per mailbox"},
    {"years", UINT, AT(years), "2", 30, "how far back mail goes"},
    {"mean-body", UINT, AT(mean_body), "4096", 1000000, "bytes"},
    {"tenant", TEXT, AT(tenant), "11111111-1111-1111-1111-111111111111", 0, "GUID"},
    {"client-id", TEXT, AT(client_id), "22222222-2222-2222-2222-222222222222", 0, "GUID"},
    {"secret", SECRET, 0, NULL, 0, "VALUE[,expires=RFC3339|expired] (repeatable; default: secret)"},
    {"cert", CERT, 0, NULL, 0,
     "PEM certificate that client assertions are checked against (repeatable)"},
    {"domain", TEXT, AT(domain), "contoso.example", 0, "of the tenant's people"},
    {"now", TEXT, AT(now), NULL, 0,
     "RFC 3339: the simulated clock starts here instead of at the real time"},
    {"token-lifetime", UINT, AT(token_lifetime_s), "3599", 100000, "seconds"},
    {"rate", RATE, AT(rate), "0", 0, "live mutator, changes per second over all mailboxes"},
    {"latency-ms", LATENCY, 0, "0", 0,
     "BASE[,PER-ITEM]: simulated service time, milliseconds; PER-ITEM may be a fraction"},
    {"limit-concurrency", UINT, AT(limit_concurrency), "4", 1000,
     "requests at a time per app and mailbox"},
    {"limit-requests", UINT, AT(limit_requests), "10000", 1000000000,
     "per app, mailbox and window"},
    {"limit-window-ms", UINT, AT(limit_window_ms), "600000", 86400000, "the window"},
    {"retry-after", UINT, AT(retry_after_s), "2", 3600, "seconds that a concurrency 429 asks for"},
    {"gzip-level", UINT, AT(gzip_level), "1", 12, "0: never compress"},
    {"partial", UINT, AT(partial), "60", 100,
     "% of changed mails that a delta tells with their changed properties only"},
    {"repeat", UINT, AT(repeat), "5", 100,
     "% of further entries of an item that repeat it in the same round"},
    {"empty-page", UINT, AT(empty_page), "3", 100,
     "% of delta pages that are empty and have a nextLink"},
    {"short-page", UINT, AT(short_page), "5", 100, "% of pages with fewer items than asked for"},
    {"collapse", UINT, AT(collapse), "50", 100,
     "% of items that came and went between two rounds and are not told"},
    {"same-link", UINT, AT(same_link), "50", 100,
     "% of rounds without news that end in the very same deltaLink"},
    {"replica-ms", UINT, AT(replica_ms), "0", 600000, "most that a change comes late in a delta"},
    {"transit-ms", UINT, AT(transit_ms), "0", 600000,
     "a mail that was sent cannot be found for so long"},
    {"search-lag-ms", UINT, AT(search_lag_ms), "0", 600000,
     "an extended property cannot be searched for so long"},
    {"gone-form", UINT, AT(gone_form), "0", 3,
     "of a dead delta token: 0 in turn, 1 410, 2 410 and Location, 3 400"},
    {"quirks", UINT, AT(quirks), "1", 1, "legal but unusual JSON escapes and date fractions"},
    {"occurrence-delete-silent", UINT, AT(occurrence_delete_silent), "0", 1,
     "deleting one occurrence gives no @removed"},
};

static int bad(const char *where, const char *name, const char *value, const char *why)
{
    fprintf(stderr, "graphsim: %s: %s = '%s': %s\n", where, name, value, why);
    return -EINVAL;
}

static int parse_uint(const char *text, unsigned long max, unsigned *ret)
{
    char *end;
    unsigned long v;

    errno = 0;
    v = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || v > max)
        return -EINVAL;
    *ret = (unsigned)v;
    return 0;
}

int sim_conf_secret(struct sim_conf *conf, const char *text)
{
    const char *comma = strrchr(text, ',');
    struct sim_secret *s;
    int64_t expires = INT64_MAX, utc_s;

    if (comma != NULL && strcmp(comma, ",expired") == 0)
        expires = 0;
    else if (comma != NULL && strncmp(comma, ",expires=", 9) == 0) {
        if (sim_time_parse(comma + 9, &utc_s) < 0)
            return -EINVAL;
        expires = utc_s * 1000;
    } else {
        comma = NULL;
    }
    if (conf->n_secrets == SIM_SECRETS)
        return -EINVAL;
    s = &conf->secret[conf->n_secrets++];
    s->value = sim_strdup(text);
    if (comma != NULL)
        s->value[comma - text] = '\0';
    s->expires_ms = expires;
    return 0;
}

static int set_latency(struct sim_conf *conf, const char *text)
{
    char *end;
    double base = strtod(text, &end), item = 0;

    if (end == text)
        return -EINVAL;
    if (*end == ',') {
        const char *at = end + 1;

        item = strtod(at, &end);
        if (end == at)
            return -EINVAL;
    }
    if (*end != '\0' || !(base >= 0 && base <= 600000) || !(item >= 0 && item <= 10000))
        return -EINVAL;
    conf->latency_ms = (unsigned)base;
    conf->latency_item_us = (unsigned)(item * 1000);
    return 0;
}

static int set_list(char **list, size_t *n, size_t max, const char *value)
{
    if (*n == max)
        return -EINVAL;
    list[(*n)++] = sim_strdup(value);
    return 0;
}

static int set(struct sim_conf *conf, const struct setting *s, const char *where, const char *value)
{
    char *at = (char *)conf + s->offset;
    char *end;
    int r = 0;

    switch (s->kind) {
    case UINT: r = parse_uint(value, s->max, (unsigned *)(void *)at); break;
    case U64:
        errno = 0;
        *(uint64_t *)(void *)at = strtoull(value, &end, 10);
        r = !isdigit((unsigned char)*value) || *end != '\0' || errno != 0 ? -EINVAL : 0;
        break;
    case TEXT:
        free(*(char **)(void *)at);
        *(char **)(void *)at = sim_strdup(value);
        break;
    case RATE:
        *(double *)(void *)at = strtod(value, &end);
        r = end == value || *end != '\0' ||
                    !(*(double *)(void *)at >= 0 && *(double *)(void *)at <= 100000)
                ? -EINVAL
                : 0;
        break;
    case SECRET: r = sim_conf_secret(conf, value); break;
    case CERT: r = set_list(conf->cert, &conf->n_certs, SIM_CERTS, value); break;
    case NAME: r = set_list(conf->names, &conf->n_names, SIM_NAMES, value); break;
    case LATENCY: r = set_latency(conf, value); break;
    }
    return r < 0 ? bad(where, s->name, s->kind == SECRET ? "..." : value, "not a valid value") : 0;
}

static const struct setting *find(const char *name)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    return NULL;
}

static char *trim(char *s)
{
    size_t n;

    while (isspace((unsigned char)*s))
        s++;
    for (n = strlen(s); n > 0 && isspace((unsigned char)s[n - 1]); n--)
        s[n - 1] = '\0';
    return s;
}

static int read_file(struct sim_conf *conf, const char *path)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    int r = 0;

    if (f == NULL) {
        fprintf(stderr, "graphsim: %s: %s\n", path, strerror(errno));
        return -EINVAL;
    }
    while (r == 0 && getline(&line, &cap, f) >= 0) {
        char *name = trim(line), *eq = strchr(name, '=');
        const struct setting *s;

        if (*name == '\0' || *name == '#')
            continue;
        if (eq == NULL) {
            r = bad(path, name, "", "no '='");
            break;
        }
        *eq = '\0';
        s = find(trim(name));
        r = s != NULL ? set(conf, s, path, trim(eq + 1))
                      : bad(path, name, trim(eq + 1), "unknown setting");
    }
    free(line);
    fclose(f);
    return r;
}

static void help(void)
{
    puts("usage: graphsim [--config FILE] [--NAME VALUE]...\n"
         "Simulates Microsoft Graph v1.0 (mail, calendar) and the Entra token endpoint; prints one "
         "JSON line\n"
         "with its addresses when it is ready. README.md describes the control port.\n");
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        printf("  --%-26s %s%s%s%s\n", settings[i].name, settings[i].help,
               settings[i].value != NULL ? " [" : "",
               settings[i].value != NULL ? settings[i].value : "",
               settings[i].value != NULL ? "]" : "");
}

int sim_conf_read(struct sim_conf *conf, int argc, char **argv)
{
    int r;

    memset(conf, 0, sizeof(*conf));
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        if (settings[i].value != NULL && set(conf, &settings[i], "default", settings[i].value) < 0)
            return -EINVAL;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        const struct setting *s;

        if (strcmp(name, "--help") == 0) {
            help();
            return 1;
        }
        if (strncmp(name, "--", 2) != 0 || value == NULL)
            return bad("command line", name, value != NULL ? value : "", "expected --NAME VALUE");
        i++;
        if (strcmp(name, "--config") == 0) {
            r = read_file(conf, value);
        } else {
            s = find(name + 2);
            r = s != NULL ? set(conf, s, "command line", value)
                          : bad("command line", name, value, "unknown setting");
        }
        if (r < 0)
            return r;
    }
    if (conf->n_secrets == 0 && conf->n_certs == 0 && sim_conf_secret(conf, "secret") < 0)
        return -EINVAL;
    if ((conf->tls_cert == NULL) != (conf->tls_key == NULL))
        return bad("command line", "tls-cert", "", "needs tls-key, and the reverse");
    if (conf->limit_window_ms == 0 || conf->limit_concurrency == 0)
        return bad("command line", "limit", "0", "must not be 0");
    return 0;
}

void sim_conf_clear(struct sim_conf *conf)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        if (settings[i].kind == TEXT)
            free(*(char **)(void *)((char *)conf + settings[i].offset));
    for (size_t i = 0; i < conf->n_secrets; i++)
        free(conf->secret[i].value);
    for (size_t i = 0; i < conf->n_certs; i++)
        free(conf->cert[i]);
    for (size_t i = 0; i < conf->n_names; i++)
        free(conf->names[i]);
    memset(conf, 0, sizeof(*conf));
}
