#include "producer/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/key.h"
#include "producer/stream.h"

int cs_table_part_new(int32_t partition, struct cs_table_part **ret)
{
    struct cs_table_part *part = calloc(1, sizeof(*part));

    if (part == NULL)
        return -ENOMEM;
    part->partition = partition;
    *ret = part;
    return 0;
}

void cs_table_part_free(struct cs_table_part *part)
{
    size_t i = 0;
    struct cs_mailbox *m;

    if (part == NULL)
        return;
    while ((m = cs_strmap_next(&part->mailboxes, &i, NULL)) != NULL)
        cs_mailbox_free(m);
    cs_strmap_clear(&part->mailboxes);
    free(part);
}

struct cs_mailbox *cs_table_part_find(const struct cs_table_part *part, const char *tenant,
                                      const char *mailbox)
{
    char key[CS_KEY_MAX];
    int n = cs_key_mailbox(key, sizeof(key), tenant, mailbox);

    return n > 0 ? cs_strmap_get(&part->mailboxes, key, (size_t)n) : NULL;
}

int cs_table_part_add(struct cs_table_part *part, const char *tenant, const char *mailbox,
                      struct cs_mailbox **ret)
{
    char key[CS_KEY_MAX];
    int n = cs_key_mailbox(key, sizeof(key), tenant, mailbox);
    struct cs_mailbox *m;
    void *old;

    if (n < 0)
        return n;
    if (cs_mailbox_new(tenant, mailbox, part->partition, &m) < 0)
        return -ENOMEM;
    if (cs_strmap_put(&part->mailboxes, key, (size_t)n, m, &old) < 0) {
        cs_mailbox_free(m);
        return -ENOMEM;
    }
    cs_mailbox_free(old); /* NULL, unless the caller did not look first */
    *ret = m;
    return 0;
}

/* --- restore ----------------------------------------------------------------------------------- */

/* The newest value of each key; parsed once everything is in, since older ones may be read before. */
struct value {
    size_t len;
    char data[]; /* len 0: deleted */
};
struct cs_restore {
    int32_t partition;
    struct cs_strmap values;
};

int cs_restore_new(int32_t partition, struct cs_restore **ret)
{
    struct cs_restore *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return -ENOMEM;
    r->partition = partition;
    *ret = r;
    return 0;
}

void cs_restore_free(struct cs_restore *r)
{
    size_t i = 0;
    void *v;

    if (r == NULL)
        return;
    while ((v = cs_strmap_next(&r->values, &i, NULL)) != NULL)
        free(v);
    cs_strmap_clear(&r->values);
    free(r);
}

int cs_restore_entry(struct cs_restore *r, const char *key, size_t key_len, const char *value,
                     size_t len)
{
    struct value *v;
    void *old;

    if (value == NULL) {
        free(cs_strmap_remove(&r->values, key, key_len));
        return 0;
    }
    v = malloc(sizeof(*v) + len + 1);
    if (v == NULL)
        return -ENOMEM;
    v->len = len;
    memcpy(v->data, value, len);
    v->data[len] = '\0';
    if (cs_strmap_put(&r->values, key, key_len, v, &old) < 0) {
        free(v);
        return -ENOMEM;
    }
    free(old);
    return 0;
}

static int load_value(struct cs_table_part *part, const char *key, const struct value *v,
                      cs_restore_bad_fn bad, void *user)
{
    char tenant[CS_TENANT_MAX + 1], mailbox[CS_MAILBOX_MAX + 1];
    const char *stream, *reason = "key";
    struct cs_mailbox *m;
    size_t len;
    int r;

    if (cs_key_split(key, strlen(key), tenant, mailbox, &stream, &len) < 0 || len == 0) {
        bad(user, key, "key"); /* nobody's: nothing is written to such a key */
        return 0;
    }
    m = cs_table_part_find(part, tenant, mailbox);
    if (m == NULL && cs_table_part_add(part, tenant, mailbox, &m) < 0)
        return -ENOMEM;
    r = cs_stream_load(m, stream, len, v->data, v->len, &reason);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        bad(user, key, reason);
        m->broken = true;
    }
    return 0;
}

int cs_restore_finish(struct cs_restore *r, cs_restore_bad_fn bad, void *user,
                      struct cs_table_part **ret)
{
    struct cs_table_part *part = NULL;
    const char *key, *reason = NULL;
    struct cs_mailbox *m;
    struct value *v;
    size_t i = 0;
    int x = cs_table_part_new(r->partition, &part);

    while (x == 0 && (v = cs_strmap_next(&r->values, &i, &key)) != NULL)
        x = load_value(part, key, v, bad, user);
    for (i = 0; x == 0 && (m = cs_strmap_next(&part->mailboxes, &i, &key)) != NULL;) {
        int loaded = cs_stream_loaded(m, &reason);

        if (loaded == -ENOMEM) {
            x = loaded;
            break;
        }
        if (loaded < 0 && !m->broken) {
            bad(user, key, reason);
            m->broken = true;
        }
        part->broken += m->broken;
    }
    if (x < 0) {
        cs_table_part_free(part);
        return x;
    }
    *ret = part;
    return 0;
}

static int on_message(void *user, const struct cs_kafka_msg *msg)
{
    return cs_restore_entry(user, msg->key != NULL ? msg->key : "", msg->key_len, msg->value,
                            msg->value_len);
}

static void log_bad(void *user, const char *key, const char *reason)
{
    cs_log_error(user, "state.unreadable", CS_STR("key", key), CS_STR("reason", reason));
}

int cs_table_restore(struct cs_kafka_read *reader, int32_t partition, int timeout_ms,
                     struct cs_log *log, struct cs_table_part **ret)
{
    struct cs_restore *restore = NULL;
    int r = cs_restore_new(partition, &restore);

    if (r == 0)
        r = cs_kafka_read_to_end(reader, CS_TOPIC_STATE, partition, -1, timeout_ms, on_message,
                                 restore);
    if (r == 0)
        r = cs_restore_finish(restore, log_bad, log, ret);
    cs_restore_free(restore);
    return r;
}
