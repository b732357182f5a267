/* email.h - a Graph message as a record of kind email. PURE.
 *
 * The message has passed cs_js_check() (graph_page.h does it). Fields that Graph did not give are
 * null or absent, never invented.
 */
#ifndef CS_WORKER_EMAIL_H
#define CS_WORKER_EMAIL_H

#include "worker/record.h"

/* What a worker must know of a message or of its entry in a delta, before or without a record. */
struct cs_envelope {
    char id[CS_ID_MAX + 1];
    char change_key
        [CS_CHANGE_KEY_MAX]; /* "" if absent; else changeKey, or the @odata.etag's content */
    char parent_folder_id[CS_ID_MAX + 1]; /* "" if absent */
    int64_t received_utc_ms;              /* CS_NEVER if absent or Graph's "never" */
    bool has_attachments;                 /* Graph's word: inline ones do not count */
    bool
        wants_attachments; /* their list is worth a request: has_attachments, or the body shows a cid: */
    bool is_removed;       /* has @removed: only id is set then */
    bool is_partial;       /* lacks what a record needs: read it again by id */
    bool has_body;
    bool is_draft;
    bool is_event_message; /* an invitation, its answer or its cancellation */
};

/**
 * @param[out] ret  written only on success
 * @return 0, -EINVAL: not an object, no id, or an id that is empty, too long or holds control characters
 */
int cs_envelope_read(struct cs_js item, struct cs_envelope *ret);

/**
 * @param folder       where it is; NULL: only its parentFolderId is known
 * @param change       CS_UPSERTED or CS_MOVED
 * @param moved_from   CS_MOVED: the folder it came from, NULL if not known; else NULL
 * @param attachments  array of attachment resources, as listed; {NULL,0}: not listed (the message's
 *                     own "attachments" member is used if it has one)
 * @param[out] ret     overwritten (not cleared first); zeroed on failure
 * @return 0, -EINVAL (no usable id, or no object), -ENOMEM, -EMSGSIZE (see cs_record_build())
 */
int cs_email_record(const struct cs_record_ctx *ctx, struct cs_js message,
                    const struct cs_folder_ref *folder, enum cs_change change,
                    const struct cs_folder_ref *moved_from, struct cs_js attachments,
                    struct cs_record *ret);

#endif
