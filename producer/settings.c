#include "producer/settings.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tenant.h"

#define AT(field) offsetof(struct cs_producer_conf, schedule.field)
#define HOUR      3600000
#define DAY       (24 * HOUR)

const struct cs_setting cs_producer_settings[] = {
    {"schedule.poll_min_ms", CS_CONF_MS, AT(poll_min_ms), "15000", 100, DAY, CS_CONF_RELOAD,
     "How often a folder or calendar is asked while it changes.", NULL},
    {"schedule.poll_max_ms", CS_CONF_MS, AT(poll_max_ms), "300000", 100, DAY, CS_CONF_RELOAD,
     "How often a folder or calendar is asked while it sleeps.", NULL},
    {"schedule.folders_interval_ms", CS_CONF_MS, AT(folders_interval_ms), "30000", 100, DAY,
     CS_CONF_RELOAD,
     "How often the folder tree is listed; its counts tell which folders to ask at once.", NULL},
    {"schedule.second_look_ms", CS_CONF_MS, AT(second_look_ms), "30000", 100, HOUR, CS_CONF_RELOAD,
     "An item that vanished is looked at a second time after this, before it counts as deleted.",
     NULL},
    {"schedule.probe_min_ms", CS_CONF_MS, AT(probe_min_ms), "900000", 100, DAY, CS_CONF_RELOAD,
     "A mailbox or tenant that was refused is probed again not before this.", NULL},
    {"schedule.probe_max_ms", CS_CONF_MS, AT(probe_max_ms), "1800000", 100, DAY, CS_CONF_RELOAD,
     "And not after this.", NULL},
    {"schedule.retry_min_ms", CS_CONF_MS, AT(retry_min_ms), "2000", 10, HOUR, CS_CONF_RELOAD,
     "First wait after a failure for which the service named no time; it doubles.", NULL},
    {"schedule.retry_max_ms", CS_CONF_MS, AT(retry_max_ms), "300000", 10, DAY, CS_CONF_RELOAD,
     "Longest wait of that kind.", NULL},
    {"schedule.jobs_per_partition", CS_CONF_INT, AT(jobs_per_partition), "8", 1, 1000,
     CS_CONF_RELOAD,
     "Jobs of a partition outstanding at most; a quarter is kept for sending and live changes.",
     NULL},
    {"schedule.delta_folders", CS_CONF_INT, AT(delta_folders), "8", 1, 8, CS_CONF_RELOAD,
     "Folders of a mailbox that one job asks.", NULL},
    {"schedule.slice_parts", CS_CONF_INT, AT(slice_parts), "3", 1, 3, CS_CONF_RELOAD,
     "Time slices of a backfill that one job lists side by side.", NULL},
    {"schedule.slice_items", CS_CONF_INT, AT(slice_items), "1000", 1, 1000000, CS_CONF_RELOAD,
     "Mails that a time slice of a backfill is meant to have, about.", NULL},
    {"schedule.status_interval_ms", CS_CONF_MS, AT(status_interval_ms), "60000", 100, DAY,
     CS_CONF_RELOAD, "How often a mailbox's status is written while its state stays the same.",
     NULL},
    {"schedule.resync_gather_ms", CS_CONF_MS, AT(resync_gather_ms), "3600000", 100, DAY,
     CS_CONF_RELOAD,
     "Folders whose first sync is to be proved wait so long at most, so that one reading of the "
     "index serves many.",
     NULL},
    {"schedule.audit_every_ms", CS_CONF_MS, AT(audit_every_ms), "604800000", 0, INT64_C(365) * DAY,
     CS_CONF_RELOAD, "How often each folder is compared with what was published of it; 0: never.",
     NULL},
    {"schedule.send_look_ms", CS_CONF_MS, AT(send_look_ms), "30000", 100, HOUR, CS_CONF_RELOAD,
     "A mail that may or may not have gone is looked at after this, before it is sent again.",
     NULL},
    {"schedule.send_quota_wait_ms", CS_CONF_MS, AT(send_quota_wait_ms), "3600000", 100, DAY,
     CS_CONF_RELOAD, "A mailbox that has reached its sending limit sends nothing for this long.",
     NULL},
    {"schedule.send_sweep_ms", CS_CONF_MS, AT(send_sweep_ms), "600000", 100, DAY, CS_CONF_RELOAD,
     "So long after a send, drafts that a crash left behind are removed.", NULL},
    {"schedule.job_lost_ms", CS_CONF_MS, AT(job_lost_ms), "691200000", 60000, INT64_C(31) * DAY,
     CS_CONF_RELOAD, "A job without an answer for longer than the topics keep it is issued anew.",
     NULL},
    {"worker", CS_CONF_OTHER, 0, "", 0, 0, 0, "The worker's.", NULL},
    {0},
};

struct cs_setting *cs_producer_table(void)
{
    return cs_conf_join(cs_producer_settings, cs_common_settings,
                        offsetof(struct cs_producer_conf, common));
}

void cs_producer_conf_clear(struct cs_producer_conf *conf)
{
    struct cs_setting *table = cs_producer_table();

    if (table == NULL)
        return; /* leaked rather than half freed: memory has run out */
    cs_conf_clear(table, conf);
    free(table);
}

static int refuse(struct cs_conf_error *err, const char *path, const char *what)
{
    struct cs_buf text; /* cut, should the two be too long together */

    cs_buf_init(&text, 0);
    cs_buf_addf(&text, "%s: %s", path, what);
    snprintf(err->text, sizeof(err->text), "%s", text.data != NULL ? text.data : what);
    cs_buf_clear(&text);
    return -EINVAL;
}

static int check(const char *path, const struct cs_producer_conf *conf, struct cs_conf_error *err)
{
    const struct cs_schedule_conf *s = &conf->schedule;
    struct cs_conf_error common;

    if (cs_common_conf_check(&conf->common, &common) < 0)
        return refuse(err, path, common.text);
    if (s->poll_min_ms > s->poll_max_ms)
        return refuse(err, path, "schedule.poll_min_ms: must not be above schedule.poll_max_ms");
    if (s->probe_min_ms > s->probe_max_ms)
        return refuse(err, path, "schedule.probe_min_ms: must not be above schedule.probe_max_ms");
    if (s->retry_min_ms > s->retry_max_ms)
        return refuse(err, path, "schedule.retry_min_ms: must not be above schedule.retry_max_ms");
    return 0;
}

int cs_producer_conf_load(const char *path, struct cs_producer_conf *ret,
                          struct cs_tenant_set **tenants, struct cs_conf_error *err)
{
    struct cs_setting *table = cs_producer_table();
    struct cs_producer_conf conf;
    struct cs_tenant_set *set = NULL;
    int r;

    err->text[0] = '\0';
    if (table == NULL) {
        snprintf(err->text, sizeof(err->text), "%s: no memory", path);
        return -ENOMEM;
    }
    memset(&conf, 0, sizeof(conf));
    r = cs_conf_load(path, table, &conf, tenants != NULL ? &set : NULL, err);
    if (r == 0)
        r = check(path, &conf, err);
    if (r < 0) {
        cs_conf_clear(table, &conf);
        cs_tenants_unref(set);
        free(table);
        return r;
    }
    free(table);
    *ret = conf;
    if (tenants != NULL)
        *tenants = set;
    return 0;
}
