#include "producer/commander.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/kafka_admin.h"
#include "common/kafka_out.h"
#include "common/tenant.h"
#include "common/key.h"

struct cs_commander {
    struct cs_producer_conf conf;
    struct cs_tenant_set *tenants;
    struct cs_kafka_admin *admin;
    struct cs_kafka_read *reader;
    struct cs_kafka_out *out; /* made for the first command */
    const volatile int *interrupted;
    int32_t n_partitions;
    int64_t *at; /* of the state, by partition */
};

static int find_topics(struct cs_commander *c)
{
    int32_t counts[CS_TOPIC_COUNT_] = {0};
    int brokers;

    if (cs_kafka_admin_partitions(c->admin, CS_COMMANDER_MS, counts, &brokers) < 0) {
        fprintf(stderr, "no broker answers at %s\n", c->conf.common.kafka_bootstrap);
        return EX_UNAVAILABLE;
    }
    c->n_partitions = counts[CS_TOPIC_COMMANDS];
    if (c->n_partitions == 0 || counts[CS_TOPIC_STATE] != c->n_partitions) {
        fprintf(stderr, "%s%s is not there: crmsync-producer topics --apply\n",
                c->conf.common.kafka_prefix, cs_topic_name(CS_TOPIC_COMMANDS));
        return EX_CONFIG;
    }
    c->at = calloc((size_t)c->n_partitions, sizeof(*c->at));
    return c->at != NULL ? 0 : EX_OSERR;
}

int cs_commander_open(const char *config, const volatile int *interrupted,
                      struct cs_commander **ret)
{
    struct cs_commander *c = calloc(1, sizeof(*c));
    struct cs_conf_error err = {""};
    int r;

    if (c == NULL)
        return EX_OSERR;
    c->interrupted = interrupted;
    if (cs_producer_conf_load(config, &c->conf, &c->tenants, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        free(c);
        return EX_CONFIG;
    }
    r = cs_kafka_admin_new(&c->conf.common, NULL, &c->admin, &err);
    if (r == 0)
        r = cs_kafka_read_new(&c->conf.common, NULL, &c->reader, &err);
    if (r < 0)
        fprintf(stderr, "%s\n", err.text);
    r = r < 0 ? EX_CONFIG : find_topics(c);
    if (r != 0) {
        cs_commander_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void cs_commander_close(struct cs_commander *c)
{
    if (c == NULL)
        return;
    cs_kafka_out_free(c->out);
    cs_kafka_read_free(c->reader);
    cs_kafka_admin_free(c->admin);
    cs_tenants_unref(c->tenants);
    cs_producer_conf_clear(&c->conf);
    free(c->at);
    free(c);
}

const struct cs_producer_conf *cs_commander_conf(const struct cs_commander *c)
{
    return &c->conf;
}

const struct cs_tenant_set *cs_commander_tenants(const struct cs_commander *c)
{
    return c->tenants;
}

struct cs_kafka_read *cs_commander_reader(struct cs_commander *c)
{
    return c->reader;
}

int32_t cs_commander_partitions(const struct cs_commander *c)
{
    return c->n_partitions;
}

int cs_commander_write(struct cs_commander *c, const char *tenant, const char *mailbox,
                       const struct cs_command *command)
{
    static const struct cs_kafka_header headers[] = {{"content-type", "application/json"}};
    struct cs_conf_error err;
    enum cs_kafka_result r;
    char key[CS_KEY_MAX], *value;
    struct cs_buf text;
    size_t len;

    if (c->out == NULL && cs_kafka_out_new(&c->conf.common, NULL, NULL, &c->out, &err) < 0)
        return -EIO;
    if (cs_key_mailbox(key, sizeof(key), tenant, mailbox) < 0)
        return -EIO;
    cs_buf_init(&text, 0);
    cs_command_print(command, &text);
    value = cs_buf_steal(&text, &len);
    if (value == NULL)
        return -ENOMEM;
    do
        r = cs_kafka_out_produce(c->out, CS_TOPIC_COMMANDS,
                                 cs_key_partition(tenant, mailbox, c->n_partitions), key,
                                 strlen(key), value, len, headers, 1);
    while (r == CS_KAFKA_AGAIN && !*c->interrupted);
    if (r != CS_KAFKA_OK)
        free(value);
    return r == CS_KAFKA_OK ? 0 : -EIO;
}

int cs_commander_flush(struct cs_commander *c)
{
    return c->out == NULL || cs_kafka_out_flush(c->out, CS_COMMANDER_MS) == CS_KAFKA_OK ? 0 : -EIO;
}

int cs_commander_mark(struct cs_commander *c)
{
    int64_t first;
    int r = 0;

    for (int32_t p = 0; p < c->n_partitions && r == 0; p++)
        r = cs_kafka_read_ends(c->reader, CS_TOPIC_STATE, p, CS_COMMANDER_MS, &first, &c->at[p]);
    return r;
}

void cs_commander_rewind(struct cs_commander *c)
{
    memset(c->at, 0, (size_t)c->n_partitions * sizeof(*c->at));
}

int cs_commander_follow(struct cs_commander *c, cs_kafka_read_fn fn, void *user)
{
    int r = 0;

    for (int32_t p = 0; p < c->n_partitions && r == 0 && !*c->interrupted; p++)
        r = cs_kafka_read_on(c->reader, CS_TOPIC_STATE, p, &c->at[p], CS_COMMANDER_MS, fn, user);
    return r;
}

int cs_commander_each(const struct cs_commander *c, const char *tenant, const char *mailbox,
                      int (*fn)(void *user, const char *tenant, const char *mailbox), void *user)
{
    size_t n = 0;
    int r = 0;

    for (size_t i = 0; i < c->tenants->n && r == 0; i++) {
        const struct cs_tenant *t = c->tenants->tenants[i];

        if (tenant != NULL && strcmp(tenant, t->name) != 0)
            continue;
        for (size_t k = 0; k < t->n_mailboxes && r == 0; k++) {
            if (mailbox != NULL && strcasecmp(mailbox, t->mailboxes[k]) != 0)
                continue;
            n++;
            r = fn(user, t->name, t->mailboxes[k]);
        }
    }
    if (n == 0)
        fprintf(stderr, "the configuration has no mailbox%s%s%s%s\n", mailbox != NULL ? " " : "",
                mailbox != NULL ? mailbox : "", tenant != NULL ? " of the tenant " : "",
                tenant != NULL ? tenant : "");
    return n == 0 ? EX_DATAERR : r;
}
