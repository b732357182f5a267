#include "worker/record.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tenant.h"
#include "worker/filter.h"
#include "worker/sha.h"
#include "worker/text.h"

static const char *const kind_names[] = {"email", "event", "series", "send_result"};
static const char *const change_names[] = {"upserted", "moved", "deleted", "left_scope", "noted"};

const char *cs_kind_name(enum cs_kind k)
{
    return kind_names[k];
}

const char *cs_change_name(enum cs_change c)
{
    return change_names[c];
}

const char *cs_record_ce_type(enum cs_kind k, enum cs_change c)
{
    static const char *const types[4][4] = {
        {"crmsync.email.upserted.v1", "crmsync.email.moved.v1", "crmsync.email.deleted.v1",
         "crmsync.email.left_scope.v1"},
        {"crmsync.event.upserted.v1", "crmsync.event.moved.v1", "crmsync.event.deleted.v1",
         "crmsync.event.left_scope.v1"},
        {"crmsync.series.upserted.v1", "crmsync.series.moved.v1", "crmsync.series.deleted.v1",
         "crmsync.series.left_scope.v1"},
        {"crmsync.send_result.upserted.v1", "", "", ""}, /* said once */
    };

    return types[k][c];
}

int cs_kind_parse(const char *s, size_t n, enum cs_kind *ret)
{
    for (size_t i = 0; i < 4; i++) {
        if (strlen(kind_names[i]) == n && memcmp(kind_names[i], s, n) == 0) {
            *ret = (enum cs_kind)i;
            return 0;
        }
    }
    return -EINVAL;
}

int cs_record_key(char *out, size_t size, const char *tenant, const char *mailbox, enum cs_kind k,
                  const char *item_id)
{
    char rest[16 + CS_ITEM_ID_MAX + 1];
    int n;

    if (*item_id == '\0')
        return -EINVAL;
    n = snprintf(rest, sizeof(rest), "%s/%s", kind_names[k], item_id);
    if (n < 0 || (size_t)n >= sizeof(rest))
        return -EMSGSIZE;
    return cs_key_stream(out, size, tenant, mailbox, rest);
}

void cs_record_clear(struct cs_record *rec)
{
    free(rec->key);
    free(rec->value);
    free(rec->item_id);
    free(rec->folder_id);
    memset(rec, 0, sizeof(*rec));
}

/* key, item id and the id of the CloudEvent. */
static int start_record(const struct cs_record_ctx *ctx, const struct cs_record_head *head,
                        struct cs_record *rec)
{
    char key[CS_KEY_MAX + 1];
    struct cs_sha sha;
    int n;

    memset(rec, 0, sizeof(*rec));
    rec->kind = head->kind;
    rec->change = head->change;
    rec->received_utc_ms = CS_NEVER;
    n = cs_record_key(key, sizeof(key), ctx->tenant->name, ctx->mailbox, head->kind, head->item_id);
    if (n < 0)
        return -EINVAL;
    (void)snprintf(rec->change_key, sizeof(rec->change_key), "%s",
                   head->change_key == NULL ? "" : head->change_key);
    rec->key = strdup(key);
    rec->item_id = strdup(head->item_id);
    if (rec->key == NULL || rec->item_id == NULL)
        return -ENOMEM;
    rec->key_len = (size_t)n;
    cs_sha_init(&sha);
    cs_sha_str(&sha, key);
    cs_sha_str(&sha, change_names[head->change]);
    cs_sha_str(&sha, rec->change_key);
    cs_sha_str(&sha, ctx->job_id == NULL ? "" : ctx->job_id);
    return cs_sha_hex(&sha, rec->ce_id);
}

static void write_head(struct cs_jw *jw, const struct cs_record_ctx *ctx,
                       const struct cs_record_head *head, const struct cs_record *rec)
{
    cs_jw_kstr(jw, "key", rec->key);
    cs_jw_kstr(jw, "kind", kind_names[head->kind]);
    cs_jw_kstr(jw, "change", change_names[head->change]);
    cs_jw_kstr(jw, "tenant", ctx->tenant->name);
    cs_jw_kstr(jw, "mailbox", ctx->mailbox);
    cs_jw_kstr(jw, "item_id", head->item_id);
    cs_jw_kstr(jw, "graph_id", head->graph_id);
    cs_jw_ktime(jw, "observed_at", ctx->observed_utc_ms);
    cs_jw_kstr(jw, "job_id", ctx->job_id);
    cs_jw_kstr(jw, "lane", ctx->lane);
}

int cs_record_removed(const struct cs_record_ctx *ctx, enum cs_kind kind, enum cs_change change,
                      const char *item_id, const char *graph_id, struct cs_record *ret)
{
    const struct cs_record_head head = {.kind = kind,
                                        .change = change,
                                        .item_id = item_id,
                                        .graph_id = graph_id,
                                        .last_modified_utc_ms = CS_NEVER};
    struct cs_buf buf;
    struct cs_jw jw;
    int r;

    assert(change == CS_DELETED || change == CS_LEFT_SCOPE);
    r = start_record(ctx, &head, ret);
    if (r < 0)
        goto fail;
    cs_buf_init(&buf, 0);
    cs_jw_init(&jw, &buf);
    cs_jw_object(&jw);
    write_head(&jw, ctx, &head, ret);
    cs_jw_object_end(&jw);
    r = cs_buf_failed(&buf);
    ret->value = cs_buf_steal(&buf, &ret->value_len);
    if (ret->value == NULL)
        goto fail;
    return 0;
fail:
    cs_record_clear(ret);
    return r;
}

int cs_record_noted(const struct cs_record_ctx *ctx, enum cs_kind kind, enum cs_change change,
                    const char *item_id, const char *folder_id, const char *change_key,
                    struct cs_record *ret)
{
    const struct cs_record_head head = {
        .kind = kind, .change = CS_NOTED, .item_id = item_id, .change_key = change_key};
    int r;

    if (change == CS_LEFT_SCOPE) {
        r = cs_record_removed(ctx, kind, change, item_id, item_id, ret);
        if (r == 0)
            (void)snprintf(ret->change_key, sizeof(ret->change_key), "%s", change_key);
    } else {
        r = start_record(ctx, &head, ret);
        if (r < 0)
            cs_record_clear(ret);
    }
    return r < 0 ? r : cs_record_set_folder(ret, folder_id);
}

static void write_rules(struct cs_jw *jw, unsigned rules)
{
    cs_jw_key(jw, "rules");
    cs_jw_array(jw);
    if (rules & CS_DEEP_PRIVATE)
        cs_jw_str(jw, "private");
    if (rules & CS_DEEP_AUTOMATED)
        cs_jw_str(jw, "automated");
    cs_jw_array_end(jw);
}

static void write_index(struct cs_jw *jw, const struct cs_record *rec, bool with_version)
{
    cs_jw_object(jw);
    cs_jw_ki64(jw, "v", 1);
    cs_jw_kstr(jw, "key", rec->key);
    cs_jw_kstr(jw, "kind", kind_names[rec->kind]);
    cs_jw_kstr(jw, "folder", rec->folder_id);
    cs_jw_kstr(jw, "change_key",
               with_version && rec->change_key[0] != '\0' ? rec->change_key : NULL);
    cs_jw_ktime(jw, "received_at", rec->received_utc_ms);
    if (rec->held != NULL)
        cs_jw_kstr(jw, "held", rec->held);
    else if (rec->rules != 0)
        write_rules(jw, rec->rules);
    cs_jw_object_end(jw);
}

int cs_index_entry(const struct cs_record *rec, bool with_version, char **ret, size_t *len)
{
    struct cs_buf buf;
    struct cs_jw jw;

    if ((rec->change == CS_DELETED || rec->change == CS_LEFT_SCOPE) && rec->held == NULL) {
        *ret = NULL;
        *len = 0;
        return 0;
    }
    cs_buf_init(&buf, 0);
    cs_jw_init(&jw, &buf);
    write_index(&jw, rec, with_version);
    *ret = cs_buf_steal(&buf, len);
    return *ret == NULL ? -ENOMEM : 0;
}

/* What a record is cut to, step by step; the first is no cut for anything that Exchange lets pass. */
static const struct {
    size_t list_max, text_max;
} fits[] = {{20000, 32768}, {2000, 8192}, {500, 4096}, {100, 1024}, {20, 256}, {0, 64}};

/* Bytes around a body's content, and for closing the record. */
#define BODY_AROUND 160

int cs_record_build(const struct cs_record_ctx *ctx, const struct cs_record_head *head,
                    cs_record_members_fn *members, const void *user, struct cs_js body,
                    bool with_body, struct cs_record *ret)
{
    /* a body worth its name survives before long lists do */
    size_t body_room = with_body ? (body.n < 4096 ? body.n : 4096) + BODY_AROUND : 16;
    struct cs_buf buf;
    int r;

    assert(ctx->max_bytes >= CS_RECORD_MIN_BYTES);
    cs_buf_init(&buf, 0);
    r = start_record(ctx, head, ret);
    if (r < 0)
        goto fail;
    r = cs_buf_reserve(&buf, (body.n < ctx->max_bytes ? body.n : ctx->max_bytes) + 4096);
    if (r < 0)
        goto fail;
    r = -EMSGSIZE;
    for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++) {
        bool cut = false;
        struct cs_fit fit = {
            .list_max = fits[i].list_max, .text_max = fits[i].text_max, .cut = &cut};
        struct cs_jw jw;

        cs_buf_reset(&buf);
        cs_jw_init(&jw, &buf);
        cs_jw_object(&jw);
        write_head(&jw, ctx, head, ret);
        cs_jw_key(&jw, "version");
        cs_jw_object(&jw);
        cs_jw_kstr(&jw, "change_key",
                   head->change_key == NULL || *head->change_key == '\0' ? NULL : head->change_key);
        cs_jw_ktime(&jw, "last_modified_at", head->last_modified_utc_ms);
        cs_jw_object_end(&jw);
        cs_jw_kstr(&jw, "dedup_key", head->dedup_key);
        if (members != NULL)
            members(&jw, &fit, user);
        if (cut)
            cs_jw_kbool(&jw, "shortened", true);
        if (cs_buf_failed(&buf) != 0) {
            r = cs_buf_failed(&buf);
            goto fail;
        }
        if (buf.len + body_room > ctx->max_bytes)
            continue;
        ret->truncated = cut;
        if (with_body) {
            cs_jw_key(&jw, "body");
            if (cs_text_write_body(&jw, body, ctx->max_bytes - buf.len - BODY_AROUND))
                ret->truncated = true;
        }
        cs_jw_object_end(&jw);
        r = cs_buf_failed(&buf);
        if (r < 0)
            goto fail;
        assert(buf.len <= ctx->max_bytes);
        ret->value = cs_buf_steal(&buf, &ret->value_len);
        return 0;
    }
fail:
    cs_buf_clear(&buf);
    cs_record_clear(ret);
    return r;
}

int cs_record_set_folder(struct cs_record *rec, const char *folder_id)
{
    if (folder_id == NULL || *folder_id == '\0')
        return 0;
    rec->folder_id = strdup(folder_id);
    if (rec->folder_id != NULL)
        return 0;
    cs_record_clear(rec);
    return -ENOMEM;
}
