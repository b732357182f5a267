#include "common/conf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf_file.h"
#include "common/conf_tenant.h"
#include "common/secret.h"
#include "common/utf8.h"

#define KEY_MAX       256
#define MAP_VALUE_MAX 65536

/* Where a value came from, for messages. */
struct origin {
    const char *path; /* a file, or a variable of the environment */
    unsigned line;    /* 0: not a file's */
    const char *key;  /* NULL: path says it all */
    struct cs_conf_error *err;
};

static int refuse(const struct origin *o, const char *why)
{
    return cs_conf_fail(o->err, o->path, o->line, o->key, "%s", why);
}

static int no_memory(const struct origin *o)
{
    (void)refuse(o, "out of memory");
    return -ENOMEM;
}

/* --- one value --------------------------------------------------------------------------------- */

static void *place(const struct cs_setting *s, void *settings)
{
    return (char *)settings + s->offset;
}

static const void *const_place(const struct cs_setting *s, const void *settings)
{
    return (const char *)settings + s->offset;
}

static bool text_ok(const char *s)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n;) {
        size_t k = cs_utf8_len(s + i, n - i);
        if (k == 0 || (unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return false;
        i += k;
    }
    return true;
}

static int set_number(const struct cs_setting *s, void *settings, int64_t v, const struct origin *o)
{
    if (v < s->min || v > s->max)
        return cs_conf_fail(o->err, o->path, o->line, o->key,
                            "must be from %" PRId64 " to %" PRId64, s->min, s->max);
    *(int64_t *)place(s, settings) = v;
    return 0;
}

static int set_text(const struct cs_setting *s, void *settings, const char *v,
                    const struct origin *o)
{
    char **at = place(s, settings);
    size_t n = strlen(v);

    if (n == 0 && (s->def == NULL || s->def[0] != '\0'))
        return refuse(o, "must not be empty");
    if (n > 0 && ((int64_t)n < s->min || (int64_t)n > s->max))
        return cs_conf_fail(o->err, o->path, o->line, o->key,
                            "must have from %" PRId64 " to %" PRId64 " bytes", s->min, s->max);
    if (!text_ok(v))
        return refuse(o, "has a control character or bad UTF-8");
    char *copy = strdup(v);
    if (copy == NULL)
        return no_memory(o);
    free(*at);
    *at = copy;
    return 0;
}

static int set_choice(const struct cs_setting *s, void *settings, const char *v,
                      const struct origin *o)
{
    char list[256] = "";
    size_t len = 0;

    for (int i = 0; s->choices[i] != NULL; i++) {
        if (strcmp(v, s->choices[i]) == 0) {
            *(int *)place(s, settings) = i;
            return 0;
        }
        int n = snprintf(list + len, sizeof(list) - len, "%s%s", i > 0 ? ", " : "", s->choices[i]);
        if (n > 0 && (size_t)n < sizeof(list) - len)
            len += (size_t)n;
    }
    return cs_conf_fail(o->err, o->path, o->line, o->key, "must be one of %s", list);
}

const char *cs_conf_map_get(const struct cs_conf_map *map, const char *key)
{
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->keys[i], key) == 0)
            return map->values[i];
    return NULL;
}

static int map_put(struct cs_conf_map *map, const char *key, const char *value, bool replace,
                   const struct origin *o)
{
    size_t i = 0;

    if (key[0] == '\0' || strlen(key) >= KEY_MAX || !text_ok(key) || strpbrk(key, " =\t") != NULL)
        return refuse(o, "not a property's name");
    if (strlen(value) > MAP_VALUE_MAX)
        return refuse(o, "value is too long");
    while (i < map->n && strcmp(map->keys[i], key) != 0)
        i++;
    if (i < map->n && !replace)
        return cs_conf_fail(o->err, o->path, o->line, o->key, "%s comes twice", key);
    char *v = strdup(value);
    if (v == NULL)
        return no_memory(o);
    if (i < map->n) {
        cs_wipe(map->values[i], strlen(map->values[i]));
        free(map->values[i]);
        map->values[i] = v;
        return 0;
    }
    if (map->n == CS_CONF_MAP_MAX) {
        free(v);
        return refuse(o, "too many properties");
    }
    if (map->keys == NULL) {
        map->keys = calloc(CS_CONF_MAP_MAX, sizeof(*map->keys));
        map->values = calloc(CS_CONF_MAP_MAX, sizeof(*map->values));
    }
    char *k = strdup(key);
    if (map->keys == NULL || map->values == NULL || k == NULL) {
        free(k);
        free(v);
        return no_memory(o);
    }
    map->keys[map->n] = k;
    map->values[map->n++] = v;
    return 0;
}

static int64_t parse_int(const char *s, bool *ok)
{
    char *end;

    errno = 0;
    long long v = strtoll(s, &end, 10);
    *ok = errno == 0 && end != s && *end == '\0' && !isspace((unsigned char)s[0]);
    return v;
}

/* From the environment, from a default. */
static int set_from_text(const struct cs_setting *s, void *settings, const char *v,
                         const struct origin *o)
{
    bool ok = true;
    int64_t i;

    switch (s->type) {
    case CS_CONF_INT:
    case CS_CONF_MS:
    case CS_CONF_BYTES:
        i = parse_int(v, &ok);
        return ok ? set_number(s, settings, i, o) : refuse(o, "must be a whole number");
    case CS_CONF_BOOL:
        if (strcmp(v, "true") != 0 && strcmp(v, "false") != 0)
            return refuse(o, "must be true or false");
        *(bool *)place(s, settings) = v[0] == 't';
        return 0;
    case CS_CONF_ENUM: return set_choice(s, settings, v, o);
    case CS_CONF_MAP:
        assert(v[0] == '\0'); /* the default of a map is an empty one */
        return 0;
    default: return set_text(s, settings, v, o);
    }
}

/* --- from the file ----------------------------------------------------------------------------- */

/* Groups below a map's key: every value is a text, its name the way to it. */
static int map_from_group(struct cs_conf_map *map, const struct cs_node *group, const char *prefix,
                          struct origin *o)
{
    for (size_t i = 0; i < group->n; i++) {
        const struct cs_node *node = &group->children[i];
        char name[KEY_MAX], number[32];
        size_t n = strlen(node->name);
        const char *value = node->s;

        if (n > 1 && node->name[n - 1] == '_')
            n--;
        int len = snprintf(name, sizeof(name), "%s%s%.*s", prefix, prefix[0] != '\0' ? "." : "",
                           (int)n, node->name);
        o->line = node->line;
        if (len < 0 || (size_t)len >= sizeof(name))
            return refuse(o, "a property's name is too long");
        int r;
        switch (node->type) {
        case CS_NODE_GROUP:
            r = map_from_group(map, node, name, o);
            if (r < 0)
                return r;
            continue;
        case CS_NODE_BOOL: value = node->i != 0 ? "true" : "false"; break;
        case CS_NODE_INT:
            (void)snprintf(number, sizeof(number), "%" PRId64, node->i);
            value = number;
            break;
        case CS_NODE_STR: break;
        default:
            return cs_conf_fail(o->err, o->path, o->line, o->key,
                                "%s: must be a text, a whole number, true or false", name);
        }
        r = map_put(map, name, value, false, o);
        if (r < 0)
            return r;
    }
    return 0;
}

static int map_from_node(struct cs_conf_map *map, const struct cs_node *node, struct origin *o)
{
    if (node->type == CS_NODE_GROUP)
        return map_from_group(map, node, "", o);
    if (node->type != CS_NODE_LIST)
        return refuse(o, "must be a list of \"name=value\" texts, or a group");
    for (size_t i = 0; i < node->n; i++) {
        const struct cs_node *e = &node->children[i];
        const char *eq = e->type == CS_NODE_STR ? strchr(e->s, '=') : NULL;
        char name[KEY_MAX];

        if (e->line > 0)
            o->line = e->line;
        if (eq == NULL || (size_t)(eq - e->s) >= sizeof(name))
            return refuse(o, "must be a list of \"name=value\" texts, or a group");
        memcpy(name, e->s, (size_t)(eq - e->s));
        name[eq - e->s] = '\0';
        int r = map_put(map, name, eq + 1, false, o);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_from_node(const struct cs_setting *s, void *settings, const struct cs_node *node,
                         struct origin *o)
{
    switch (s->type) {
    case CS_CONF_INT:
    case CS_CONF_MS:
    case CS_CONF_BYTES:
        return node->type == CS_NODE_INT ? set_number(s, settings, node->i, o)
                                         : refuse(o, "must be a whole number");
    case CS_CONF_BOOL:
        if (node->type != CS_NODE_BOOL)
            return refuse(o, "must be true or false");
        *(bool *)place(s, settings) = node->i != 0;
        return 0;
    case CS_CONF_MAP: return map_from_node(place(s, settings), node, o);
    default:
        if (node->type != CS_NODE_STR)
            return refuse(o, "must be a text in quotes");
        return s->type == CS_CONF_ENUM ? set_choice(s, settings, node->s, o)
                                       : set_text(s, settings, node->s, o);
    }
}

/* Walks the file's groups; every leaf must be a key of the table. */
static int walk(const struct cs_setting *table, void *settings, bool *given,
                const struct cs_node *group, const char *prefix, const char *path,
                struct cs_conf_error *err)
{
    for (size_t i = 0; i < group->n; i++) {
        const struct cs_node *node = &group->children[i];
        char key[KEY_MAX];
        size_t k;
        bool is_group = false;
        int r;

        if (prefix[0] == '\0' && strcmp(node->name, "tenants") == 0)
            continue; /* read by conf_tenant.c */
        int n =
            snprintf(key, sizeof(key), "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", node->name);
        if (n < 0 || (size_t)n >= sizeof(key))
            return cs_conf_fail(err, path, node->line, NULL, "a name is too long");
        for (k = 0; table[k].key != NULL; k++) {
            if (strcmp(table[k].key, key) == 0)
                break;
            is_group =
                is_group || (strncmp(table[k].key, key, (size_t)n) == 0 && table[k].key[n] == '.');
        }
        if (table[k].key != NULL && table[k].type == CS_CONF_OTHER) {
            r = 0;
        } else if (table[k].key != NULL) {
            struct origin o = {path, node->line, key, err};
            r = set_from_node(&table[k], settings, node, &o);
            given[k] = true;
        } else if (!is_group) {
            r = cs_conf_fail(err, path, node->line, key, "unknown key");
        } else if (node->type != CS_NODE_GROUP) {
            r = cs_conf_fail(err, path, node->line, key, "must be a group in braces");
        } else {
            r = walk(table, settings, given, node, key, path, err);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- from the environment ---------------------------------------------------------------------- */

static void variable_name(const char *key, const char *tail, char out[KEY_MAX + 32])
{
    size_t n = (size_t)snprintf(out, KEY_MAX + 32, "CRMSYNC_%s%s", key, tail);

    assert(n < KEY_MAX + 32); /* keys are ours */
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '.' ? '_' : (char)toupper((unsigned char)out[i]);
}

/* The value that a file named by a variable holds. */
static int read_value_file(const char *variable, const char *path, struct cs_secret **ret,
                           struct cs_conf_error *err)
{
    int r = cs_secret_from_file(path, ret);

    if (r == -EINVAL)
        return cs_conf_fail(err, variable, 0, NULL, "the file is empty or has a NUL in it");
    if (r < 0)
        (void)cs_conf_fail(err, variable, 0, NULL, "the file: %s", strerror(-r));
    return r;
}

static bool is_key(const struct cs_setting *table, const char *key, const char *tail)
{
    size_t n = strlen(key);

    for (; table->key != NULL; table++)
        if (strncmp(table->key, key, n) == 0 && strcmp(table->key + n, tail) == 0)
            return true;
    return false;
}

static int set_from_environment(const struct cs_setting *table, const struct cs_setting *s,
                                void *settings, bool *given, struct cs_conf_error *err)
{
    char variable[KEY_MAX + 32];
    struct origin o = {variable, 0, NULL, err};
    struct cs_secret *secret = NULL;
    int r = 0;

    variable_name(s->key, "", variable);
    const char *v = getenv(variable);
    if (v != NULL) {
        r = set_from_text(s, settings, v, &o);
        *given = true;
    }
    if (r < 0 || is_key(table, s->key, "_file")) /* then the variable is that key's own */
        return r;
    variable_name(s->key, "_file", variable);
    v = getenv(variable);
    if (v == NULL)
        return 0;
    r = read_value_file(variable, v, &secret, err);
    if (r < 0)
        return r;
    r = set_from_text(s, settings, cs_secret_reveal(secret), &o);
    *given = true;
    cs_secret_free(secret);
    return r;
}

/* SSL_CA_LOCATION to ssl.ca.location; a double underscore is one that stays. */
static bool property_name(const char *p, size_t n, char out[KEY_MAX])
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        if (len + 1 >= KEY_MAX)
            return false;
        if (p[i] == '_' && i + 1 < n && p[i + 1] == '_') {
            out[len++] = '_';
            i++;
        } else {
            out[len++] = p[i] == '_' ? '.' : (char)tolower((unsigned char)p[i]);
        }
    }
    out[len] = '\0';
    return len > 0;
}

static int map_from_environment(const struct cs_setting *s, void *settings,
                                struct cs_conf_error *err)
{
    struct cs_conf_map *map = place(s, settings);
    char prefix[KEY_MAX + 32], variable[KEY_MAX + 32], name[KEY_MAX];

    variable_name(s->key, "_", prefix);
    size_t n = strlen(prefix);
    /* plain values first, so that the files' win whatever the order of the environment */
    for (int files = 0; files < 2; files++) {
        for (char **e = environ; e != NULL && *e != NULL; e++) {
            const char *eq = strchr(*e, '=');
            if (eq == NULL || strncmp(*e, prefix, n) != 0)
                continue;
            size_t len = (size_t)(eq - *e);
            bool is_file = len > n + 5 && strncmp(eq - 5, "_FILE", 5) == 0;
            if (is_file != (files == 1))
                continue;
            if (len >= sizeof(variable))
                return cs_conf_fail(err, prefix, 0, NULL, "a variable's name is too long");
            memcpy(variable, *e, len);
            variable[len] = '\0';
            struct origin o = {variable, 0, NULL, err};
            if (!property_name(*e + n, len - n - (is_file ? 5 : 0), name))
                return refuse(&o, "not a property's name");
            struct cs_secret *secret = NULL;
            int r = is_file ? read_value_file(variable, eq + 1, &secret, err) : 0;
            if (r == 0)
                r = map_put(map, name, is_file ? cs_secret_reveal(secret) : eq + 1, true, &o);
            cs_secret_free(secret);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* --- load -------------------------------------------------------------------------------------- */

int cs_conf_load(const char *path, const struct cs_setting *table, void *settings,
                 struct cs_tenant_set **tenants, struct cs_conf_error *err)
{
    struct cs_node *root = NULL;
    bool *given = NULL;
    size_t n = 0;
    int r;

    err->text[0] = '\0';
    while (table[n].key != NULL)
        n++;
    given = calloc(n + 1, sizeof(*given));
    if (given == NULL) {
        (void)cs_conf_fail(err, path, 0, NULL, "out of memory");
        return -ENOMEM;
    }
    r = cs_conf_file_read(path, &root, err);
    if (r < 0)
        goto out;
    r = walk(table, settings, given, root, "", path, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct cs_setting *s = &table[i];
        struct origin o = {path, 0, s->key, err};
        if (s->type == CS_CONF_OTHER)
            continue;
        if (s->type == CS_CONF_MAP) {
            r = map_from_environment(s, settings, err);
            continue;
        }
        r = set_from_environment(table, s, settings, &given[i], err);
        if (r < 0 || given[i])
            continue;
        if ((s->flags & CS_CONF_REQUIRED) != 0)
            r = refuse(&o, "required, but not given");
        else
            r = set_from_text(s, settings, s->def, &o);
    }
    if (r == 0 && tenants != NULL)
        r = cs_conf_tenants(path, root, tenants, err);
out:
    if (r < 0)
        cs_conf_clear(table, settings);
    cs_node_free(root);
    free(given);
    return r;
}

void cs_conf_clear(const struct cs_setting *table, void *settings)
{
    for (; table->key != NULL; table++) {
        if (table->type == CS_CONF_STR) {
            char **s = place(table, settings);
            if (*s != NULL && (table->flags & CS_CONF_SECRET) != 0)
                cs_wipe(*s, strlen(*s));
            free(*s);
            *s = NULL;
        } else if (table->type == CS_CONF_MAP) {
            struct cs_conf_map *map = place(table, settings);
            for (size_t i = 0; i < map->n; i++) {
                cs_wipe(map->values[i], strlen(map->values[i]));
                free(map->keys[i]);
                free(map->values[i]);
            }
            free(map->keys);
            free(map->values);
            *map = (struct cs_conf_map){0};
        }
    }
}

/* --- print ------------------------------------------------------------------------------------- */

bool cs_conf_map_is_secret(const char *key)
{
    static const char *const marks[] = {"password", "secret", "jaas",
                                        ".pem",     "token",  "oauthbearer.config"};

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        if (strcasestr(key, marks[i]) != NULL)
            return true;
    return false;
}

static void add_text_part(struct cs_buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            cs_buf_addf(out, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            cs_buf_addf(out, "\\x%02x", c);
        else
            cs_buf_addc(out, *s);
    }
}

static void add_text(struct cs_buf *out, const char *s)
{
    cs_buf_addc(out, '"');
    add_text_part(out, s);
    cs_buf_addc(out, '"');
}

static void add_number(struct cs_buf *out, int64_t v)
{
    cs_buf_addf(out, "%" PRId64 "%s", v, v < INT32_MIN || v > INT32_MAX ? "L" : "");
}

static void indent(struct cs_buf *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        cs_buf_adds(out, "    ");
}

/* settings NULL: the default as it stands in the table */
static void add_value(const struct cs_setting *s, const void *settings, unsigned depth,
                      struct cs_buf *out)
{
    const struct cs_conf_map *map;

    if (settings == NULL) {
        if (s->type == CS_CONF_STR || s->type == CS_CONF_ENUM)
            add_text(out, s->def);
        else if (s->type == CS_CONF_MAP)
            cs_buf_adds(out, "[ ]");
        else if (s->type == CS_CONF_BOOL)
            cs_buf_adds(out, s->def);
        else
            add_number(out, strtoll(s->def, NULL, 10));
        return;
    }
    const void *at = const_place(s, settings);
    switch (s->type) {
    case CS_CONF_BOOL: cs_buf_adds(out, *(const bool *)at ? "true" : "false"); break;
    case CS_CONF_ENUM: add_text(out, s->choices[*(const int *)at]); break;
    case CS_CONF_STR:
        add_text(out, (s->flags & CS_CONF_SECRET) != 0 ? "***" : *(char *const *)at);
        break;
    case CS_CONF_MAP:
        map = at;
        cs_buf_adds(out, "[");
        for (size_t i = 0; i < map->n; i++) {
            cs_buf_adds(out, i > 0 ? ",\n" : "\n");
            indent(out, depth + 1);
            cs_buf_addc(out, '"');
            add_text_part(out, map->keys[i]);
            cs_buf_addc(out, '=');
            add_text_part(out, cs_conf_map_is_secret(map->keys[i]) ? "***" : map->values[i]);
            cs_buf_addc(out, '"');
        }
        cs_buf_adds(out, " ]");
        break;
    default: add_number(out, *(const int64_t *)at); break;
    }
}

static void add_help(const struct cs_setting *s, unsigned depth, struct cs_buf *out)
{
    indent(out, depth);
    cs_buf_addf(out, "# %s\n", s->help);
    indent(out, depth);
    cs_buf_adds(out, "# ");
    switch (s->type) {
    case CS_CONF_INT: cs_buf_addf(out, "From %" PRId64 " to %" PRId64, s->min, s->max); break;
    case CS_CONF_MS:
        cs_buf_addf(out, "Milliseconds, from %" PRId64 " to %" PRId64, s->min, s->max);
        break;
    case CS_CONF_BYTES:
        cs_buf_addf(out, "Bytes, from %" PRId64 " to %" PRId64, s->min, s->max);
        break;
    case CS_CONF_BOOL: cs_buf_adds(out, "true or false"); break;
    case CS_CONF_ENUM:
        cs_buf_adds(out, "One of");
        for (int i = 0; s->choices[i] != NULL; i++)
            cs_buf_addf(out, "%s \"%s\"", i > 0 ? "," : "", s->choices[i]);
        break;
    case CS_CONF_MAP: cs_buf_adds(out, "A list of \"name=value\" texts"); break;
    default: cs_buf_adds(out, "A text"); break;
    }
    cs_buf_adds(out, (s->flags & CS_CONF_REQUIRED) != 0 ? "; required" : "");
    cs_buf_adds(out, (s->flags & CS_CONF_RELOAD) != 0 ? "; a reload (SIGHUP) is enough.\n"
                                                      : "; a change needs a restart.\n");
}

/* Prints the keys that begin with prefix, as groups: libconfig takes a group's name only once, so the
 * keys of a group are gathered wherever the table has them. */
static void print_group(const struct cs_setting *table, const void *settings, const char *prefix,
                        unsigned depth, bool sample, struct cs_buf *out)
{
    size_t n = strlen(prefix);

    for (size_t i = 0; table[i].key != NULL; i++) {
        const struct cs_setting *s = &table[i];
        if (s->type == CS_CONF_OTHER || strncmp(s->key, prefix, n) != 0)
            continue;
        size_t len = strcspn(s->key + n, ".");
        bool is_leaf = s->key[n + len] == '\0';
        bool seen = false;
        for (size_t k = 0; k < i && !seen && !is_leaf; k++)
            seen =
                table[k].type != CS_CONF_OTHER && strncmp(table[k].key, s->key, n + len + 1) == 0;
        if (seen)
            continue;
        if (!is_leaf) {
            char group[KEY_MAX];
            (void)snprintf(group, sizeof(group), "%.*s", (int)(n + len + 1),
                           s->key); /* keys are ours: they fit */
            indent(out, depth);
            cs_buf_addf(out, "%.*s: {\n", (int)len, s->key + n);
            print_group(table, settings, group, depth + 1, sample, out);
            indent(out, depth);
            cs_buf_adds(out, "};\n");
            if (sample)
                cs_buf_addc(out, '\n');
            continue;
        }
        if (sample)
            add_help(s, depth, out);
        indent(out, depth);
        if (settings == NULL && s->def == NULL) {
            cs_buf_addf(out, "# %s = ...;\n", s->key + n);
        } else {
            cs_buf_addf(out, "%s = ", s->key + n);
            add_value(s, settings, depth, out);
            cs_buf_adds(out, ";\n");
        }
        if (sample)
            cs_buf_addc(out, '\n');
    }
}

void cs_conf_print(const struct cs_setting *table, const void *settings, struct cs_buf *out)
{
    print_group(table, settings, "", 0, false, out);
}

void cs_conf_sample(const struct cs_setting *table, struct cs_buf *out)
{
    cs_buf_adds(
        out, "# All settings with their defaults. A setting may also come from the environment:\n"
             "# CRMSYNC_ and the key in upper case (CRMSYNC_KAFKA_DELIVERY), or the same with "
             "_FILE behind\n"
             "# it and the name of a file that holds the value. Numbers over 2147483647 end with "
             "L.\n\n");
    print_group(table, NULL, "", 0, true, out);
}

struct cs_setting *cs_conf_join(const struct cs_setting *own, const struct cs_setting *other,
                                size_t base)
{
    size_t n = 0, m = 0;

    while (own[n].key != NULL)
        n++;
    while (other[m].key != NULL)
        m++;
    struct cs_setting *table = calloc(n + m + 1, sizeof(*table));
    if (table == NULL)
        return NULL;
    memcpy(table, own, n * sizeof(*own));
    for (size_t i = 0; i < m; i++) {
        table[n + i] = other[i];
        table[n + i].offset += base;
    }
    return table;
}
