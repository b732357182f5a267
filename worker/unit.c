#include "worker/unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cs_unit *cs_unit_new(int32_t partition, int64_t offset)
{
    struct cs_unit *u = calloc(1, sizeof(*u));

    if (u != NULL) {
        u->partition = partition;
        u->offset = offset;
    }
    return u;
}

struct cs_unit *cs_unit_new_mark(int32_t partition, int64_t offset, enum cs_mark mark)
{
    struct cs_unit *u = cs_unit_new(partition, offset);

    if (u != NULL)
        u->mark = mark;
    return u;
}

void cs_unit_clear(struct cs_unit *u)
{
    for (int s = 0; s < CS_STAGE_COUNT_; s++) {
        for (size_t i = 0; i < u->n[s]; i++) {
            free(u->messages[s][i].key);
            free(u->messages[s][i].value);
        }
        free(u->messages[s]);
        u->messages[s] = NULL;
        u->n[s] = 0;
    }
    u->bytes = 0;
}

void cs_unit_free(struct cs_unit *u)
{
    if (u == NULL)
        return;
    cs_unit_clear(u);
    free(u);
}

/* Room for more messages at the end of a stage; they are zeroed and not counted yet. */
static struct cs_outbound *grow(struct cs_unit *u, enum cs_stage stage, size_t more)
{
    size_t n = u->n[stage] + more;
    struct cs_outbound *list = realloc(u->messages[stage], (n > 0 ? n : 1) * sizeof(*list));

    if (list == NULL)
        return NULL;
    memset(list + u->n[stage], 0, more * sizeof(*list));
    u->messages[stage] = list;
    return list + u->n[stage];
}

static char *copy(const char *p, size_t n)
{
    char *s = malloc(n + 1);

    if (s != NULL) {
        memcpy(s, p, n);
        s[n] = '\0';
    }
    return s;
}

static void count(struct cs_unit *u, enum cs_stage stage)
{
    const struct cs_outbound *m = &u->messages[stage][u->n[stage]++];

    u->bytes += m->key_len + m->value_len;
}

/* The message behind the last counted one of the stage; counted when it is whole. */
static int add_index(struct cs_unit *u, enum cs_stage stage, const struct cs_record *rec,
                     bool with_version)
{
    struct cs_outbound *m = &u->messages[stage][u->n[stage]];
    int r;

    m->topic = CS_TOPIC_INDEX;
    m->ce_type = "crmsync.index.v1";
    memcpy(m->ce_id, rec->ce_id, sizeof(m->ce_id));
    m->key = copy(rec->key, rec->key_len);
    if (m->key == NULL)
        return -ENOMEM;
    m->key_len = rec->key_len;
    r = cs_index_entry(rec, with_version, &m->value, &m->value_len);
    if (r < 0) {
        free(m->key);
        m->key = NULL;
        return r;
    }
    count(u, stage);
    return 0;
}

static bool is_upsert(const struct cs_record *rec)
{
    return rec->change == CS_UPSERTED || rec->change == CS_MOVED;
}

int cs_unit_add_records(struct cs_unit *u, struct cs_record *records, size_t n, bool claim)
{
    if (n == 0)
        return 0;
    if (grow(u, CS_STAGE_RECORDS, n) == NULL || grow(u, CS_STAGE_INDEX, n) == NULL ||
        (claim && grow(u, CS_STAGE_CLAIM, n) == NULL))
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct cs_record *rec = &records[i];
        struct cs_outbound *m = &u->messages[CS_STAGE_RECORDS][u->n[CS_STAGE_RECORDS]];
        int r = 0;

        /* a result is no item that could be there or not */
        bool indexed = rec->kind != CS_KIND_SEND_RESULT;

        if (claim && indexed && is_upsert(rec))
            r = add_index(u, CS_STAGE_CLAIM, rec, false);
        if (r == 0 && indexed)
            r = add_index(u, CS_STAGE_INDEX, rec, true);
        if (r < 0)
            return r;
        if (rec->change == CS_NOTED)
            continue;
        m->topic = CS_TOPIC_RECORDS;
        m->ce_type = cs_record_ce_type(rec->kind, rec->change);
        memcpy(m->ce_id, rec->ce_id, sizeof(m->ce_id));
        m->key = rec->key;
        m->key_len = rec->key_len;
        m->value = rec->value;
        m->value_len = rec->value_len;
        rec->key = NULL;
        rec->value = NULL;
        count(u, CS_STAGE_RECORDS);
    }
    return 0;
}

int cs_unit_add_feedback(struct cs_unit *u, const struct cs_feedback *f)
{
    struct cs_outbound *m = grow(u, CS_STAGE_FEEDBACK, 1);
    char key[CS_KEY_MAX];
    int n = cs_key_mailbox(key, sizeof(key), f->tenant, f->mailbox);
    struct cs_buf text;
    int r;

    if (m == NULL)
        return -ENOMEM;
    if (n < 0)
        return n;
    cs_buf_init(&text, CS_KAFKA_RECORD_MAX);
    cs_feedback_print(f, &text);
    r = cs_buf_failed(&text);
    if (r < 0) {
        cs_buf_clear(&text);
        return r;
    }
    m->topic = CS_TOPIC_FEEDBACK;
    m->ce_type = "crmsync.feedback.v1";
    snprintf(m->ce_id, sizeof(m->ce_id), "%s-%" PRId64, f->job_id, f->attempt);
    m->key = copy(key, (size_t)n);
    m->value = cs_buf_steal(&text, &m->value_len);
    if (m->key == NULL || m->value == NULL) {
        free(m->key);
        free(m->value);
        return -ENOMEM;
    }
    m->key_len = (size_t)n;
    memcpy(u->trace, f->job_id, sizeof(u->trace));
    count(u, CS_STAGE_FEEDBACK);
    return 0;
}

int cs_unit_add_dead_letter(struct cs_unit *u, const struct cs_dlq *d, const char *key,
                            size_t key_len)
{
    struct cs_outbound *m = grow(u, CS_STAGE_FEEDBACK, 1);
    struct cs_buf text;

    if (m == NULL)
        return -ENOMEM;
    cs_buf_init(&text, 0);
    cs_dlq_print(d, &text);
    m->topic = CS_TOPIC_DLQ;
    m->ce_type = "crmsync.dlq.v1";
    snprintf(m->ce_id, sizeof(m->ce_id), "%s/%" PRId32 "/%" PRId64, cs_topic_name(d->topic),
             d->partition, d->offset);
    m->key = key != NULL ? copy(key, key_len) : NULL;
    m->key_len = key_len;
    m->value = cs_buf_steal(&text, &m->value_len);
    if (m->value == NULL || (key != NULL && m->key == NULL)) {
        free(m->key);
        free(m->value);
        return -ENOMEM;
    }
    count(u, CS_STAGE_FEEDBACK);
    return 0;
}
