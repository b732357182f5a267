/* settings.h - what the producer can be told in its configuration. */
#ifndef CS_PRODUCER_SETTINGS_H
#define CS_PRODUCER_SETTINGS_H

#include <stdint.h>

#include "common/conf.h"

/* schedule.*: when things are due. Milliseconds unless named otherwise. */
struct cs_schedule_conf {
    int64_t poll_min_ms; /* a folder or calendar that changes is asked this often */
    int64_t poll_max_ms; /* and one that sleeps this often */
    int64_t
        folders_interval_ms; /* the folder tree, whose counts tell which folders to ask at once */
    int64_t second_look_ms;  /* an item that vanished is looked at again after this */
    int64_t probe_min_ms;    /* a parked mailbox is probed between this */
    int64_t probe_max_ms;    /* and this */
    int64_t retry_min_ms;    /* first wait after a failure that names no time */
    int64_t retry_max_ms;
    int64_t jobs_per_partition; /* outstanding at most */
    int64_t delta_folders;      /* folders in one mail.delta job */
    int64_t slice_parts;        /* slices side by side in one mail.slice job */
    int64_t slice_items;        /* mails that a slice is meant to have, about */
    int64_t status_interval_ms; /* status.v1 at most this often while the state is the same */
    int64_t resync_gather_ms;   /* folders owed a comparison wait for each other: so long at most */
    int64_t audit_every_ms;     /* each folder is compared with the index this often; 0: never */
    int64_t send_look_ms;       /* a send of unknown end is looked at after this */
    int64_t send_quota_wait_ms; /* a mailbox that has sent too much sends nothing for this long */
    int64_t send_sweep_ms;      /* drafts left behind are looked for this long after a send */
    int64_t job_lost_ms;        /* a job older than the topics' retention is issued anew */
};

struct cs_producer_conf {
    struct cs_common_conf common;
    struct cs_schedule_conf schedule;
};

extern const struct cs_setting cs_producer_settings[]; /* schedule.*; ends with a NULL key */
/** The whole table: common and schedule, malloc'd. NULL: no memory. */
struct cs_setting *cs_producer_table(void);
/**
 * Reads the configuration and checks what goes over one key's range.
 *
 * @param[out] ret, tenants  to be cleared with cs_producer_conf_clear(), cs_tenants_unref() on success
 * @return as cs_conf_load()
 */
int cs_producer_conf_load(const char *path, struct cs_producer_conf *ret,
                          struct cs_tenant_set **tenants, struct cs_conf_error *err);
void cs_producer_conf_clear(struct cs_producer_conf *conf);

#endif
