/* record.h - what every record of records.v1 has in common, and what stands beside it. PURE.
 *
 * A record is built in one piece of memory that is handed to Kafka as it is. The kinds have a file
 * each (email.h, event.h, series.h) and share the envelope written here; schemas in schemas/record/.
 * Nothing here reads a clock: the time at which the item was seen comes with the context.
 */
#ifndef CS_WORKER_RECORD_H
#define CS_WORKER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/json_slice.h"
#include "common/json_write.h"
#include "common/key.h"

struct cs_tenant; /* common/tenant.h */
struct cs_zones;  /* worker/zone.h */

#define CS_CHANGE_KEY_MAX 128 /* Graph's are some 40 bytes */
/* An item id: a Graph id, or one with "_20260329T233000Z" behind it. */
#define CS_ITEM_ID_MAX (CS_ID_MAX + 20)
/* Smallest max_bytes that any record can be cut to. */
#define CS_RECORD_MIN_BYTES 16384
/* What fits a topic's max.message.bytes of 2 MiB with key and headers. */
#define CS_RECORD_DEFAULT_BYTES 1900000

enum cs_kind { CS_KIND_EMAIL, CS_KIND_EVENT, CS_KIND_SERIES, CS_KIND_SEND_RESULT };
enum cs_change {
    CS_UPSERTED,
    CS_MOVED,
    CS_DELETED,
    CS_LEFT_SCOPE,
    CS_NOTED, /* no record, only an index entry: cs_record_noted() */
};

/* On whose behalf records are made. Everything is borrowed for the call. */
struct cs_record_ctx {
    const struct cs_tenant *tenant;
    const char *mailbox;     /* as in keys: lower-case */
    const char *job_id;      /* NULL outside a job: null in the record */
    const char *lane;        /* "live", "backfill", ...; NULL outside a job */
    int64_t observed_utc_ms; /* when the request that showed the item was sent */
    size_t
        max_bytes; /* of a value; at least CS_RECORD_MIN_BYTES. A larger one is cut and says so */
    const struct cs_zones *zones; /* zone data; needed by event.h and series.h only */
};

/* A folder as records name it. For events it is the calendar, with id only. */
struct cs_folder_ref {
    const char *id;
    const char *path;       /* NULL: not at hand */
    const char *well_known; /* NULL: none or not known */
};

/* A finished record. It owns its bytes; key and value may be taken by setting them to NULL. */
struct cs_record {
    enum cs_kind kind;
    enum cs_change change;
    char *key; /* tenant/mailbox/kind/item_id */
    size_t key_len;
    char *value; /* JSON */
    size_t value_len;
    char *item_id;   /* last part of the key */
    char *folder_id; /* where the item is; NULL: deleted, left scope or not known */
    char ce_id
        [65]; /* SHA-256 hex of key, change, version and job id: a repeated attempt has the same */
    char change_key[CS_CHANGE_KEY_MAX]; /* version published; "" if there is none */
    int64_t received_utc_ms;            /* email: for its depth; CS_NEVER elsewhere */
    bool truncated;                     /* something was cut to fit max_bytes */
    const char *held; /* static: why the filters hold this version back; NULL: they do not */
    unsigned rules;   /* CS_DEEP_... (filter.h) that it has passed */
};

/** Frees what it holds and zeroes it. A zeroed record is fine. */
void cs_record_clear(struct cs_record *rec);

const char *cs_kind_name(enum cs_kind k);     /* "email", "event", "series", "send_result" */
const char *cs_change_name(enum cs_change c); /* "upserted", ..., "noted" */
/** CloudEvents type, static: "crmsync.email.upserted.v1". */
const char *cs_record_ce_type(enum cs_kind k, enum cs_change c);
/** @return 0, -EINVAL (none of these) */
int cs_kind_parse(const char *s, size_t n, enum cs_kind *ret);

/**
 * Key of a record.
 * @return length; -EMSGSIZE (does not fit: CS_KEY_MAX always does for a valid id), -EINVAL (an empty id)
 */
int cs_record_key(char *out, size_t size, const char *tenant, const char *mailbox, enum cs_kind k,
                  const char *item_id);

/**
 * A deletion or a departure: ids only.
 *
 * @param change    CS_DELETED or CS_LEFT_SCOPE
 * @param graph_id  NULL: not known (an occurrence that vanished from its series)
 * @param[out] ret  overwritten (not cleared first); zeroed on failure
 * @return 0, -ENOMEM, -EINVAL (item_id empty or too long)
 */
int cs_record_removed(const struct cs_record_ctx *ctx, enum cs_kind kind, enum cs_change change,
                      const char *item_id, const char *graph_id, struct cs_record *ret);

/**
 * What is judged but not published: no value, an index entry only. Of a message whose version is out there already and has
 * passed another rule, or that is held back (ret->held is the caller's to set).
 *
 * @param change  CS_NOTED; or CS_LEFT_SCOPE to say as well that it is not out there any more
 * @return as cs_record_removed()
 */
int cs_record_noted(const struct cs_record_ctx *ctx, enum cs_kind kind, enum cs_change change,
                    const char *item_id, const char *folder_id, const char *change_key,
                    struct cs_record *ret);

/**
 * The value of index.v1 that goes with a record, under the same key:
 * {"v":1,"key":...,"kind":...,"folder":...,"change_key":...,"received_at":...}, with "held" and "rules" where they say more
 * than that the item is out there.
 * For a deletion or departure the value is null (a tombstone): *ret NULL, *len 0; unless the record says why it is held.
 *
 * @param with_version  false: change_key is null, which differs from every version (what is written
 *                      first where there are no transactions)
 * @param[out] ret      malloc'd
 * @return 0, -ENOMEM
 */
int cs_index_entry(const struct cs_record *rec, bool with_version, char **ret, size_t *len);

/* ---- for the kinds' files -------------------------------------------------------------------- */

/* How much a record may hold; made smaller step by step until the record fits. */
struct cs_fit {
    size_t list_max; /* elements of a list */
    size_t text_max; /* raw bytes of a short text */
    size_t body_max; /* raw bytes left for the body */
    bool *cut;       /* set when a list or a text was cut */
};
struct cs_record_head {
    enum cs_kind kind;
    enum cs_change change;
    const char *item_id;
    const char *graph_id;         /* NULL writes null */
    const char *change_key;       /* "" writes null */
    int64_t last_modified_utc_ms; /* CS_NEVER writes null */
    const char *dedup_key;        /* NULL writes null */
};
/** Writes everything but the body into an object that is open and stays open. */
typedef void cs_record_members_fn(struct cs_jw *jw, const struct cs_fit *fit, const void *user);
/**
 * Builds a record: envelope, members, and last the body (so that its room is known), retrying with
 * shorter lists and texts until it fits ctx->max_bytes.
 *
 * @param members   NULL: none
 * @param body      itemBody of Graph, {NULL,0}: no body member at all
 * @return 0, -ENOMEM, -EMSGSIZE (does not fit even without lists and body), -EINVAL (bad id)
 */
int cs_record_build(const struct cs_record_ctx *ctx, const struct cs_record_head *head,
                    cs_record_members_fn *members, const void *user, struct cs_js body,
                    bool with_body, struct cs_record *ret);

/** Notes where the item is; on failure the record is cleared. NULL or "": not known. @return 0, -ENOMEM */
int cs_record_set_folder(struct cs_record *rec, const char *folder_id);

#endif
