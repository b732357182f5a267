#include "worker/cmd_normalize.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/tenant.h"
#include "worker/email.h"
#include "worker/filter.h"
#include "worker/graph_page.h"
#include "worker/series.h"
#include "worker/zone.h"

#define NAME "crmsync-worker normalize"

/* An event of the input. */
struct entry {
    struct cs_js item;
    struct cs_event_facts facts;
};

struct counts {
    size_t records, removed, partial, held, no_master, odd;
};

struct run {
    struct cs_record_ctx ctx;
    struct entry *events; /* sorted by series, the master first */
    size_t n_events, cap_events;
    struct counts counts;
};

static void usage(FILE *out)
{
    fprintf(
        out,
        "usage: " NAME " [--tenant-config FILE] [--mailbox M] < graph.json\n"
        "\n"
        "Prints the records of Graph's messages and events, one JSON object a line. The input is\n"
        "one item, a page or a delta page, %u MiB at most; occurrences are joined with their\n"
        "masters in the same input. What gives no record is counted on standard error.\n"
        "\n"
        "  --tenant-config FILE  own domains, private events and bodies as this tenant has them\n"
        "  --mailbox M           whose mailbox it is: an address or an object id\n",
        CS_NORMALIZE_MAX_BYTES >> 20);
}

static int read_input(struct cs_buf *buf)
{
    char chunk[65536];

    for (;;) {
        ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        cs_buf_add(buf, chunk, (size_t)n);
        if (cs_buf_failed(buf) < 0)
            return cs_buf_failed(buf);
    }
}

enum item_kind { ITEM_ODD, ITEM_MESSAGE, ITEM_EVENT, ITEM_REMOVED };

static enum item_kind kind_of(struct cs_js item)
{
    char type[64];
    bool typed = cs_js_str_into(cs_js_get(item, "@odata.type"), type, sizeof(type)) > 0;

    if (cs_js_has(cs_js_get(item, "@removed")))
        return ITEM_REMOVED;
    if (typed && strcasecmp(type, "#microsoft.graph.event") == 0)
        return ITEM_EVENT;
    if (typed && (strcasecmp(type, "#microsoft.graph.message") == 0 ||
                  strcasestr(type, "eventMessage") != NULL))
        return ITEM_MESSAGE;
    if (cs_js_type(cs_js_get(item, "start")) == CS_JS_OBJECT &&
        cs_js_type(cs_js_get(item, "end")) == CS_JS_OBJECT)
        return ITEM_EVENT;
    if (cs_js_get(item, "parentFolderId").p != NULL ||
        cs_js_get(item, "receivedDateTime").p != NULL || cs_js_get(item, "isRead").p != NULL)
        return ITEM_MESSAGE;
    return ITEM_ODD;
}

/* Prints and clears it. */
static int print_record(struct run *run, struct cs_record *rec)
{
    bool ok =
        fwrite(rec->value, 1, rec->value_len, stdout) == rec->value_len && putchar('\n') != EOF;

    run->counts.records += ok;
    cs_record_clear(rec);
    return ok ? 0 : -EIO;
}

/* What a record's builder said to an item that gives none. */
static int count_failure(struct run *run, int r)
{
    switch (r) {
    case -EACCES: run->counts.held++; return 0;
    case -ENODATA: run->counts.no_master++; return 0;
    case -EINVAL:
    case -EMSGSIZE: run->counts.odd++; return 0;
    default: return r;
    }
}

static int do_message(struct run *run, struct cs_js item)
{
    struct cs_decision decision;
    struct cs_envelope e;
    struct cs_record rec;
    int r;

    if (cs_envelope_read(item, &e) < 0) {
        run->counts.odd++;
        return 0;
    }
    /* an item shown without its version may still be whole; one without recipients or time is not */
    if (e.is_partial && (cs_js_get(item, "receivedDateTime").p == NULL ||
                         cs_js_get(item, "toRecipients").p == NULL)) {
        run->counts.partial++;
        return 0;
    }
    r = cs_filter_email(run->ctx.tenant, run->ctx.mailbox, item, &decision);
    if (r == 0 && decision.publish == CS_PUBLISH_HOLD)
        r = -EACCES;
    if (r < 0)
        return count_failure(run, r);
    r = cs_email_record(&run->ctx, item, NULL, CS_UPSERTED, NULL, (struct cs_js){0}, &rec);
    return r < 0 ? count_failure(run, r) : print_record(run, &rec);
}

static int keep_event(struct run *run, struct cs_js item)
{
    struct entry *e;

    if (run->n_events == run->cap_events) {
        size_t cap = run->cap_events == 0 ? 64 : run->cap_events * 2;

        e = realloc(run->events, cap * sizeof(*e));
        if (e == NULL)
            return -ENOMEM;
        run->events = e;
        run->cap_events = cap;
    }
    e = &run->events[run->n_events];
    e->item = item;
    if (cs_event_facts_read(item, run->ctx.zones, &e->facts) < 0) {
        run->counts.odd++;
        return 0;
    }
    run->n_events++;
    return 0;
}

static const char *series_of(const struct entry *e)
{
    return e->facts.type == CS_EVENT_MASTER ? e->facts.id : e->facts.series_id;
}

static int by_series(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = strcmp(series_of(x), series_of(y));

    if (c != 0)
        return c;
    if ((x->facts.type == CS_EVENT_MASTER) != (y->facts.type == CS_EVENT_MASTER))
        return x->facts.type == CS_EVENT_MASTER ? -1 : 1;
    return (x->item.p > y->item.p) - (x->item.p < y->item.p);
}

static int do_series(struct run *run, const struct entry *master, const struct entry *rest,
                     size_t n)
{
    struct cs_series_parts parts = {.n_occurrences = 0};
    struct cs_series_exception *exceptions = calloc(n + 1, sizeof(*exceptions));
    const char **occurrences = calloc(n + 1, sizeof(*occurrences));
    struct cs_record rec;
    int r = -ENOMEM;

    if (exceptions == NULL || occurrences == NULL)
        goto out;
    for (size_t i = 0; i < n; i++) {
        const struct cs_event_facts *f = &rest[i].facts;

        if (f->item_id[0] == '\0')
            continue;
        occurrences[parts.n_occurrences++] = f->item_id;
        if (f->type == CS_EVENT_EXCEPTION)
            exceptions[parts.n_exceptions++] =
                (struct cs_series_exception){.item_id = f->item_id,
                                             .original_start_utc_ms = f->original_start_utc_ms,
                                             .start_utc_ms = f->start_utc_ms,
                                             .end_utc_ms = f->end_utc_ms,
                                             .is_cancelled = f->is_cancelled};
    }
    parts.occurrences = occurrences;
    parts.exceptions = exceptions;
    r = cs_series_record(&run->ctx, NULL, master->item, &parts, CS_UPSERTED, &rec);
    r = r < 0 ? count_failure(run, r) : print_record(run, &rec);
out:
    free(exceptions);
    free(occurrences);
    return r;
}

static int do_events(struct run *run)
{
    int r = 0;

    if (run->n_events > 1)
        qsort(run->events, run->n_events, sizeof(*run->events), by_series);
    for (size_t i = 0, next; r == 0 && i < run->n_events; i = next) {
        const struct entry *first = &run->events[i];
        struct cs_js master = {0};

        for (next = i + 1; next < run->n_events && *series_of(first) != '\0' &&
                           strcmp(series_of(&run->events[next]), series_of(first)) == 0;)
            next++;
        if (first->facts.type == CS_EVENT_MASTER) {
            master = first->item;
            r = do_series(run, first, first + 1, next - i - 1);
            i++;
        }
        for (; r == 0 && i < next; i++) {
            struct cs_record rec;

            if (run->events[i].facts.type == CS_EVENT_MASTER)
                continue; /* the same master once more */
            r = cs_event_record(&run->ctx, NULL, run->events[i].item, master, CS_UPSERTED, &rec);
            r = r < 0 ? count_failure(run, r) : print_record(run, &rec);
        }
    }
    return r;
}

static int do_item(struct run *run, struct cs_js item)
{
    switch (kind_of(item)) {
    case ITEM_MESSAGE: return do_message(run, item);
    case ITEM_EVENT: return keep_event(run, item);
    case ITEM_REMOVED: run->counts.removed++; return 0;
    case ITEM_ODD: break;
    }
    run->counts.odd++;
    return 0;
}

static int do_page(struct run *run, const struct cs_page *page)
{
    struct cs_js_iter it = {0};
    struct cs_js item;
    int r = 0;

    if (!page->is_collection)
        r = do_item(run, page->root);
    while (r == 0 && cs_page_next(page, &it, &item, &run->counts.odd))
        r = do_item(run, item);
    return r < 0 ? r : do_events(run);
}

static void report(const struct counts *c)
{
    const struct {
        size_t n;
        const char *what;
    } skipped[] = {
        {c->removed, "removed (no proof of a deletion)"},
        {c->partial, "partial (a worker reads them again by id)"},
        {c->held, "held back by the tenant's rules"},
        {c->no_master, "occurrences whose master is not in the input"},
        {c->odd, "not understood"},
    };

    for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++) {
        if (skipped[i].n > 0)
            fprintf(stderr, NAME ": no record for %zu %s\n", skipped[i].n, skipped[i].what);
    }
}

/* The tenant in force: the only one of the file, or the one that has the mailbox. */
static int pick_tenant(const struct cs_tenant_set *set, const char *mailbox,
                       const struct cs_tenant **ret)
{
    if (set->n == 1) {
        *ret = set->tenants[0];
        return 0;
    }
    for (size_t i = 0; mailbox != NULL && i < set->n; i++) {
        if (cs_tenant_has_mailbox(set->tenants[i], mailbox)) {
            *ret = set->tenants[i];
            return 0;
        }
    }
    return -ENOENT;
}

static int load_tenant(const char *path, const char *mailbox, struct cs_tenant_set **set,
                       const struct cs_tenant **ret)
{
    struct cs_conf_error err;
    int r = cs_tenants_load(path, set, &err);

    if (r < 0) {
        fprintf(stderr, NAME ": %s\n", r == -ENOMEM ? "out of memory" : err.text);
        return r == -ENOMEM ? EX_OSERR : EX_CONFIG;
    }
    if (pick_tenant(*set, mailbox, ret) < 0) {
        fprintf(stderr,
                NAME ": %s: %zu tenants; which one is meant must be told by a --mailbox of it\n",
                path, (*set)->n);
        return EX_USAGE;
    }
    return 0;
}

/* Lower-cased, as configured mailboxes are. */
static int read_mailbox(char *mailbox)
{
    for (char *p = mailbox; *p != '\0'; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    }
    return cs_mailbox_name_ok(mailbox) ? 0 : -EINVAL;
}

int cs_cmd_normalize(int argc, char **argv)
{
    static const struct option options[] = {{"tenant-config", required_argument, NULL, 't'},
                                            {"mailbox", required_argument, NULL, 'm'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    char nobody[] = "none";
    struct cs_tenant no_tenant = {.name = nobody, .private_events = CS_PRIVATE_BUSY_ONLY};
    const char *tenant_config = NULL;
    char *mailbox = NULL;
    struct cs_tenant_set *set = NULL;
    struct cs_zones *zones = NULL;
    struct run run = {.ctx = {.tenant = &no_tenant, .max_bytes = CS_RECORD_DEFAULT_BYTES}};
    struct cs_js_error err;
    struct cs_page page;
    struct cs_buf input;
    int c, r, code = 0;

    cs_buf_init(&input, CS_NORMALIZE_MAX_BYTES);
    optind = 0; /* glibc: start afresh, main has used getopt before */
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 't': tenant_config = optarg; break;
        case 'm': mailbox = optarg; break;
        case 'h': usage(stdout); return 0;
        default: usage(stderr); return EX_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, NAME ": unexpected argument; the input comes on standard input\n");
        usage(stderr);
        return EX_USAGE;
    }
    if (mailbox != NULL && read_mailbox(mailbox) < 0) {
        fprintf(stderr, NAME ": --mailbox: neither an address nor an object id\n");
        return EX_USAGE;
    }
    if (tenant_config != NULL) {
        code = load_tenant(tenant_config, mailbox, &set, &run.ctx.tenant);
        if (code != 0)
            goto out;
    }
    r = cs_zones_open(NULL, &zones);
    if (r < 0) {
        fprintf(stderr, NAME ": time zones: %s (is the package tzdata installed?)\n", strerror(-r));
        code = EX_OSFILE;
        goto out;
    }
    run.ctx.zones = zones;
    run.ctx.mailbox = mailbox == NULL ? "unknown" : mailbox;
    run.ctx.observed_utc_ms = cs_clock_utc_ms();

    r = read_input(&input);
    if (r < 0) {
        if (r == -EMSGSIZE)
            fprintf(stderr, NAME ": standard input: more than %u MiB\n",
                    CS_NORMALIZE_MAX_BYTES >> 20);
        else
            fprintf(stderr, NAME ": standard input: %s\n", strerror(-r));
        code = r == -EMSGSIZE ? EX_DATAERR : r == -ENOMEM ? EX_OSERR : EX_IOERR;
        goto out;
    }
    r = cs_page_open(input.data == NULL ? "" : input.data, input.len, &page, &err);
    if (r < 0) {
        fprintf(stderr, NAME ": standard input: %s at byte %zu: %s\n",
                r == -EINVAL ? "no Graph answer" : "no JSON", err.offset, err.reason);
        code = EX_DATAERR;
        goto out;
    }
    if (page.is_error) {
        fprintf(stderr, NAME ": standard input: Graph's error %s, no items\n",
                page.error_code[0] == '\0' ? "(without a code)" : page.error_code);
        code = EX_DATAERR;
        goto out;
    }
    r = do_page(&run, &page);
    report(&run.counts);
    if (r == 0 && fflush(stdout) == EOF)
        r = -EIO;
    if (r < 0) {
        fprintf(stderr, NAME ": %s\n",
                r == -EIO ? "standard output cannot be written" : strerror(-r));
        code = r == -EIO ? EX_IOERR : EX_OSERR;
    } else if (run.counts.odd > 0 && run.counts.records == 0) {
        code = EX_DATAERR;
    }
out:
    free(run.events);
    cs_buf_clear(&input);
    cs_zones_close(zones);
    cs_tenants_unref(set);
    return code;
}
