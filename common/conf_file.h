/* conf_file.h - a configuration file as a tree of ours; for conf.c and conf_tenant.c.
 *
 * libconfig does the reading (the only file that includes it is conf_file.c). Before it sees the text,
 * cs_conf_scan() refuses what it would take and change silently: integers that do not fit (1.5 wraps
 * 99999999999 to 1215752191 and says nothing), NULs, \x00, @include, comments without an end.
 */
#ifndef CS_COMMON_CONF_FILE_H
#define CS_COMMON_CONF_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"

#define CS_CONF_FILE_MAX (64 * 1024 * 1024) /* bytes: room for the longest list of mailboxes */
#define CS_CONF_DEPTH    16

enum cs_node_type {
    CS_NODE_GROUP, /* { name = value; ... } */
    CS_NODE_LIST,  /* ( ... ) or [ ... ] */
    CS_NODE_INT,
    CS_NODE_FLOAT, /* no setting is one: kept to be refused by name */
    CS_NODE_BOOL,
    CS_NODE_STR,
};

struct cs_node {
    char *name; /* NULL: the root, or an element of a list */
    enum cs_node_type type;
    unsigned line;
    int64_t i; /* INT, BOOL */
    char *s;   /* STR */
    struct cs_node *children;
    size_t n;
};

/** @return 0 (free *ret with cs_node_free()), -EINVAL, -errno of open or read, -ENOMEM; err says why */
int cs_conf_file_read(const char *path, struct cs_node **ret, struct cs_conf_error *err);
/** The same from memory; path is for messages. */
int cs_conf_file_parse(const char *path, const char *text, size_t n, struct cs_node **ret,
                       struct cs_conf_error *err);
void cs_node_free(struct cs_node *node); /* NULL accepted */
const struct cs_node *cs_node_find(const struct cs_node *group, const char *name);

/** PURE. Refuses what is written above. @return 0, -EINVAL (line and reason, and key where known) */
struct cs_conf_scan_error {
    unsigned line;
    char key[128]; /* "" if not known */
    const char *reason;
};
int cs_conf_scan(const char *text, size_t n, struct cs_conf_scan_error *err);

/** Writes "path:line: key: reason" (line 0 and key NULL are left out). Returns -EINVAL. */
int cs_conf_fail(struct cs_conf_error *err, const char *path, unsigned line, const char *key,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/** Reads a whole file. @return 0, -errno, -EFBIG (over max), -ENOMEM, -EMSGSIZE (the buffer's limit) */
struct cs_buf;
int cs_read_file(const char *path, size_t max, struct cs_buf *out);

#endif
