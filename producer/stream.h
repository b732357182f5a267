/* stream.h - the streams of a mailbox as entries of state.v1, both ways. PURE.
 *
 * Key tenant/mailbox/stream, schema schemas/state.v1.schema.json. Streams: `folders` (the mailbox
 * itself with its job in flight), `folders/<n>` (the folder map), `mail:<folder id>`, `slices`,
 * `items` and `items/<n>` (looks), `cal:default`, `cal:default/table` and `cal:default/table/<n>`.
 * The entry `folders` changes with every job, so what is large or seldom changes is kept apart.
 */
#ifndef CS_PRODUCER_STREAM_H
#define CS_PRODUCER_STREAM_H

#include "common/buf.h"
#include "producer/mailbox.h"

#define CS_STREAM_NAME_MAX (CS_STREAM_MAX + 16)

/**
 * One entry of the state topic.
 *
 * @param[in] value  JSON, or NULL to delete the entry; borrowed for the call
 * @return 0 or a negative errno, which ends the flush and is passed on
 */
typedef int (*cs_stream_fn)(void *user, const char *stream, const char *value, size_t len);

/**
 * Writes every entry that is marked as changed. The marks are cleared as the entries are handed over;
 * after a failure the mailbox must be restored from the topic.
 * @return 0, -ENOMEM, what fn returned
 */
int cs_stream_flush(struct cs_mailbox *m, cs_stream_fn fn, void *user);
/** Is anything marked? */
bool cs_stream_is_dirty(const struct cs_mailbox *m);
/**
 * Takes in one entry. Each stream at most once, in any order; then cs_stream_loaded().
 *
 * @param[in]  stream  len bytes
 * @param[out] reason  static text, written on -EINVAL and -EBADMSG
 * @return 0, -EBADMSG (not JSON), -EINVAL (missing or ill-typed field, unknown stream), -ENOMEM
 */
int cs_stream_load(struct cs_mailbox *m, const char *stream, size_t len, const char *value,
                   size_t n, const char **reason);
/** All entries are in. @return 0, -EINVAL (entries are missing that the others need) */
int cs_stream_loaded(struct cs_mailbox *m, const char **reason);

#endif
