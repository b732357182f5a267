#include "common/conf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libconfig.h>

#include "common/buf.h"

int cs_conf_fail(struct cs_conf_error *err, const char *path, unsigned line, const char *key,
                 const char *fmt, ...)
{
    size_t len = 0;
    va_list ap;
    int n;

    if (line > 0)
        n = snprintf(err->text, sizeof(err->text), "%s:%u: ", path, line);
    else
        n = snprintf(err->text, sizeof(err->text), "%s: ", path);
    if (n > 0)
        len = (size_t)n < sizeof(err->text) ? (size_t)n : sizeof(err->text) - 1;
    if (key != NULL && key[0] != '\0') {
        n = snprintf(err->text + len, sizeof(err->text) - len, "%s: ", key);
        if (n > 0)
            len += (size_t)n < sizeof(err->text) - len ? (size_t)n : sizeof(err->text) - len - 1;
    }
    va_start(ap, fmt);
    (void)vsnprintf(err->text + len, sizeof(err->text) - len, fmt, ap); /* cut if it must be */
    va_end(ap);
    return -EINVAL;
}

int cs_read_file(const char *path, size_t max, struct cs_buf *out)
{
    int r = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    for (;;) {
        r = cs_buf_reserve(out, 16384);
        if (r < 0)
            break;
        ssize_t n = read(fd, out->data + out->len, 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = -errno;
        if (n <= 0)
            break;
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        if (out->len > max) {
            r = -EFBIG;
            break;
        }
    }
    (void)close(fd); /* only read from */
    return r;
}

static void clear_node(struct cs_node *node)
{
    for (size_t i = 0; i < node->n; i++)
        clear_node(&node->children[i]);
    free(node->children);
    free(node->name);
    free(node->s);
}

void cs_node_free(struct cs_node *node)
{
    if (node == NULL)
        return;
    clear_node(node);
    free(node);
}

const struct cs_node *cs_node_find(const struct cs_node *group, const char *name)
{
    for (size_t i = 0; group->type == CS_NODE_GROUP && i < group->n; i++)
        if (strcmp(group->children[i].name, name) == 0)
            return &group->children[i];
    return NULL;
}

/* Copies a setting and all below it; the depth is bounded by cs_conf_scan(). What has been copied on
 * failure is in ret, to be freed by the caller. */
static int copy(const config_setting_t *from, struct cs_node *ret)
{
    int n;

    ret->line = config_setting_source_line(from);
    if (config_setting_name(from) != NULL) {
        ret->name = strdup(config_setting_name(from));
        if (ret->name == NULL)
            return -ENOMEM;
    }
    switch (config_setting_type(from)) {
    case CONFIG_TYPE_INT:
        ret->type = CS_NODE_INT;
        ret->i = config_setting_get_int(from);
        return 0;
    case CONFIG_TYPE_INT64:
        ret->type = CS_NODE_INT;
        ret->i = config_setting_get_int64(from);
        return 0;
    case CONFIG_TYPE_FLOAT: ret->type = CS_NODE_FLOAT; return 0;
    case CONFIG_TYPE_BOOL:
        ret->type = CS_NODE_BOOL;
        ret->i = config_setting_get_bool(from);
        return 0;
    case CONFIG_TYPE_STRING:
        ret->type = CS_NODE_STR;
        ret->s = strdup(config_setting_get_string(from));
        return ret->s != NULL ? 0 : -ENOMEM;
    default: ret->type = config_setting_is_group(from) ? CS_NODE_GROUP : CS_NODE_LIST; break;
    }
    n = config_setting_length(from);
    if (n <= 0)
        return 0;
    ret->children = calloc((size_t)n, sizeof(*ret->children));
    if (ret->children == NULL)
        return -ENOMEM;
    for (int i = 0; i < n; i++) {
        ret->n = (size_t)i + 1;
        int r = copy(config_setting_get_elem(from, (unsigned)i), &ret->children[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

int cs_conf_file_parse(const char *path, const char *text, size_t n, struct cs_node **ret,
                       struct cs_conf_error *err)
{
    struct cs_conf_scan_error scan;
    struct cs_node *root = NULL;
    config_t config;
    char *own = NULL;
    int r;

    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* an editor's byte order mark */
        text += 3;
        n -= 3;
    }
    if (cs_conf_scan(text, n, &scan) < 0)
        return cs_conf_fail(err, path, scan.line, scan.key, "%s", scan.reason);

    config_init(&config);
    own = strndup(text, n);
    root = calloc(1, sizeof(*root));
    if (own == NULL || root == NULL) {
        r = -ENOMEM;
        goto out;
    }
    if (config_read_string(&config, own) != CONFIG_TRUE) {
        const char *why = config_error_text(&config);
        r = cs_conf_fail(err, path, (unsigned)config_error_line(&config), NULL, "%s",
                         why != NULL ? why : "not understood");
        goto out;
    }
    r = copy(config_root_setting(&config), root);
    if (r < 0)
        goto out;
    root->line = 0;
    *ret = root;
    root = NULL;
out:
    if (r == -ENOMEM)
        (void)cs_conf_fail(err, path, 0, NULL, "out of memory");
    config_destroy(&config);
    free(own);
    cs_node_free(root);
    return r;
}

int cs_conf_file_read(const char *path, struct cs_node **ret, struct cs_conf_error *err)
{
    struct cs_buf text;
    int r;

    cs_buf_init(&text, 0);
    r = cs_read_file(path, CS_CONF_FILE_MAX, &text);
    if (r < 0)
        (void)cs_conf_fail(err, path, 0, NULL, "%s", strerror(-r));
    else
        r = cs_conf_file_parse(path, text.data, text.len, ret, err);
    cs_buf_clear(&text);
    return r;
}
