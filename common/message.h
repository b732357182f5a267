/* message.h - helpers for reading our own messages field by field; for job.c, feedback.c, state.c.
 *
 * A struct cs_msg carries the first failure: once error is set every further getter does nothing, so
 * a parser reads all its fields in a row and looks once at the end. Strings returned are malloc'd and
 * the message struct's own.
 */
#ifndef CS_COMMON_MESSAGE_H
#define CS_COMMON_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/json.h"

struct cs_msg {
    cs_json_val obj;
    int error;         /* 0, -EINVAL, -ENOMEM */
    const char *where; /* static text: the field that failed; never content of the message */
};

void cs_msg_fail(struct cs_msg *m, int error, const char *where);
/** Takes over the failure of a part's reader, if it has one. */
void cs_msg_join(struct cs_msg *m, const struct cs_msg *part);

/** Absent and not required: NULL. */
char *cs_msg_str(struct cs_msg *m, const char *name, size_t max, bool required, const char *where);
/** Required, 1 to size - 1 bytes. */
void cs_msg_str_into(struct cs_msg *m, const char *name, char *out, size_t size, const char *where);
int64_t cs_msg_i64(struct cs_msg *m, const char *name, int64_t min, int64_t max, bool required,
                   int64_t def, const char *where);
bool cs_msg_bool(struct cs_msg *m, const char *name, bool required, bool def, const char *where);
int64_t cs_msg_time(struct cs_msg *m, const char *name, bool required, int64_t def,
                    const char *where);
/** Required; index of the name in the list (0 on failure). */
int cs_msg_enum(struct cs_msg *m, const char *name, const char *const *names, size_t n,
                const char *where);
/** Absent: NULL and *count 0. Longer than max: a failure. */
cs_json_val cs_msg_array(struct cs_msg *m, const char *name, size_t max, size_t *count,
                         const char *where);
/** A string of 16 hex digits. */
uint64_t cs_msg_hash(struct cs_msg *m, cs_json_val v, const char *where);
/** The same as an optional member; absent: 0. */
uint64_t cs_msg_khash(struct cs_msg *m, const char *name, const char *where);
/** Zeroed array of count elements; NULL if count is 0 or the message has failed. */
void *cs_msg_alloc(struct cs_msg *m, size_t count, size_t size);

/** strdup that passes NULL through. @return 0, -ENOMEM */
int cs_msg_dup(const char *s, char **ret);
/** Index of s in names, -1 if absent. */
int cs_msg_name_index(const char *const *names, size_t n, const char *s);

#endif
