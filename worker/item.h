/* item.h - what messages and events have in common: ids, versions, categories, attachments. PURE. */
#ifndef CS_WORKER_ITEM_H
#define CS_WORKER_ITEM_H

#include "worker/record.h"

/**
 * The item's id. Ids are opaque and case-sensitive; control characters and blanks are in none.
 * @return 0; -EINVAL: not an object, no id, an empty one, one that is too long or has such characters
 */
int cs_item_id(struct cs_js item, char out[CS_ID_MAX + 1]);
/** The same of a value that is an id, such as parentFolderId; out is "" on failure. */
int cs_item_id_value(struct cs_js value, char out[CS_ID_MAX + 1]);
/** changeKey, or the content of @odata.etag (W/"..."); "" if there is neither. */
void cs_item_change_key(struct cs_js item, char out[CS_CHANGE_KEY_MAX]);
/** An array of strings; [] if it is none. */
void cs_item_write_texts(struct cs_jw *jw, const char *key, const struct cs_fit *fit,
                         struct cs_js array);
/** "attachments": array of {id, name, content_type, kind, size, is_inline, content_id}; null if they
 * were not listed. */
void cs_item_write_attachments(struct cs_jw *jw, const struct cs_fit *fit, struct cs_js array);

#endif
