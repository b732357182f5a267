#include "common/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void cs_msg_fail(struct cs_msg *m, int error, const char *where)
{
    if (m->error == 0) {
        m->error = error;
        m->where = where;
    }
}

void cs_msg_join(struct cs_msg *m, const struct cs_msg *part)
{
    if (part->error < 0)
        cs_msg_fail(m, part->error, part->where);
}

char *cs_msg_str(struct cs_msg *m, const char *name, size_t max, bool required, const char *where)
{
    const char *s = NULL;
    char *copy;
    int r;

    if (m->error < 0)
        return NULL;
    r = cs_json_str(m->obj, name, max, &s);
    if (r == -ENOENT && !required)
        return NULL;
    if (r < 0) {
        cs_msg_fail(m, -EINVAL, where);
        return NULL;
    }
    copy = strdup(s);
    if (copy == NULL)
        cs_msg_fail(m, -ENOMEM, where);
    return copy;
}

void cs_msg_str_into(struct cs_msg *m, const char *name, char *out, size_t size, const char *where)
{
    const char *s = NULL;

    out[0] = '\0';
    if (m->error < 0)
        return;
    if (cs_json_str(m->obj, name, size - 1, &s) < 0 || s[0] == '\0') {
        cs_msg_fail(m, -EINVAL, where);
        return;
    }
    memcpy(out, s, strlen(s) + 1);
}

int64_t cs_msg_i64(struct cs_msg *m, const char *name, int64_t min, int64_t max, bool required,
                   int64_t def, const char *where)
{
    int64_t v = def;
    int r;

    if (m->error < 0)
        return def;
    r = cs_json_i64(m->obj, name, min, max, &v);
    if (r < 0 && (r != -ENOENT || required))
        cs_msg_fail(m, -EINVAL, where);
    return r < 0 ? def : v;
}

bool cs_msg_bool(struct cs_msg *m, const char *name, bool required, bool def, const char *where)
{
    bool v = def;
    int r;

    if (m->error < 0)
        return def;
    r = cs_json_bool(m->obj, name, &v);
    if (r < 0 && (r != -ENOENT || required))
        cs_msg_fail(m, -EINVAL, where);
    return r < 0 ? def : v;
}

int64_t cs_msg_time(struct cs_msg *m, const char *name, bool required, int64_t def,
                    const char *where)
{
    int64_t v = def;
    int r;

    if (m->error < 0)
        return def;
    r = cs_json_time(m->obj, name, &v);
    if (r < 0 && (r != -ENOENT || required))
        cs_msg_fail(m, -EINVAL, where);
    return r < 0 ? def : v;
}

int cs_msg_enum(struct cs_msg *m, const char *name, const char *const *names, size_t n,
                const char *where)
{
    const char *s = NULL;
    int i;

    if (m->error < 0)
        return 0;
    if (cs_json_str(m->obj, name, 64, &s) < 0 || (i = cs_msg_name_index(names, n, s)) < 0) {
        cs_msg_fail(m, -EINVAL, where);
        return 0;
    }
    return i;
}

cs_json_val cs_msg_array(struct cs_msg *m, const char *name, size_t max, size_t *count,
                         const char *where)
{
    cs_json_val arr;

    *count = 0;
    if (m->error < 0)
        return NULL;
    arr = cs_json_get(m->obj, name);
    if (arr == NULL)
        return NULL;
    if (!cs_json_is_array(arr) || cs_json_len(arr) > max) {
        cs_msg_fail(m, -EINVAL, where);
        return NULL;
    }
    *count = cs_json_len(arr);
    return *count > 0 ? arr : NULL;
}

uint64_t cs_msg_hash(struct cs_msg *m, cs_json_val v, const char *where)
{
    const char *s = NULL;
    char *end = NULL;
    uint64_t h;

    if (m->error < 0)
        return 0;
    if (cs_json_val_str(v, 16, &s) < 0 || strlen(s) != 16 || strspn(s, "0123456789abcdef") != 16) {
        cs_msg_fail(m, -EINVAL, where);
        return 0;
    }
    h = strtoull(s, &end, 16);
    return h;
}

uint64_t cs_msg_khash(struct cs_msg *m, const char *name, const char *where)
{
    cs_json_val v = m->error == 0 ? cs_json_get(m->obj, name) : NULL;

    return v != NULL ? cs_msg_hash(m, v, where) : 0;
}

void *cs_msg_alloc(struct cs_msg *m, size_t count, size_t size)
{
    void *p;

    if (m->error < 0 || count == 0)
        return NULL;
    p = calloc(count, size);
    if (p == NULL)
        cs_msg_fail(m, -ENOMEM, "memory");
    return p;
}

int cs_msg_dup(const char *s, char **ret)
{
    *ret = NULL;
    if (s == NULL)
        return 0;
    *ret = strdup(s);
    return *ret != NULL ? 0 : -ENOMEM;
}

int cs_msg_name_index(const char *const *names, size_t n, const char *s)
{
    for (size_t i = 0; i < n; i++)
        if (names[i] != NULL && strcmp(names[i], s) == 0)
            return (int)i;
    return -1;
}
