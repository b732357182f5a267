#include "worker/index_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_slice.h"
#include "common/key.h"
#include "worker/filter.h"

#define VALUE_DEPTH 8

struct entry {
    char *id; /* NULL: free */
    uint64_t hash;
    uint64_t version; /* 0: none, which differs from every one */
    uint64_t folder;
    int listed_by; /* walk; -1: not listed */
    bool gone;
    uint8_t held;  /* the deep rule that holds it back; 0: it is out there */
    uint8_t rules; /* deep rules that it has passed */
};

struct cs_index_table {
    char prefix[CS_KEY_MAX];
    size_t prefix_len;
    struct entry *slots; /* a power of two of them, at most 2/3 full */
    size_t size, used, n;
};

/* FNV-1a with a closing mix; 0 is kept for "none". */
static uint64_t hash_of(const char *s, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    return h != 0 ? h : 1;
}

static uint64_t hash_text(const char *s)
{
    return s != NULL && s[0] != '\0' ? hash_of(s, strlen(s)) : 0;
}

uint64_t cs_index_id_hash(const char *id)
{
    return hash_of(id, strlen(id));
}

uint64_t cs_index_digest(const char *id, const char *change_key)
{
    uint64_t h = hash_text(id) * UINT64_C(0x9e3779b97f4a7c15) ^ hash_text(change_key);

    h ^= h >> 29;
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ h >> 32;
}

int cs_index_table_new(const char *tenant, const char *mailbox, struct cs_index_table **ret)
{
    struct cs_index_table *t = calloc(1, sizeof(*t));
    int n;

    if (t == NULL)
        return -ENOMEM;
    n = cs_key_stream(t->prefix, sizeof(t->prefix), tenant, mailbox, "email/");
    t->size = 1024;
    t->slots = n > 0 ? calloc(t->size, sizeof(*t->slots)) : NULL;
    if (t->slots == NULL) {
        free(t);
        return -ENOMEM;
    }
    t->prefix_len = (size_t)n;
    *ret = t;
    return 0;
}

void cs_index_table_free(struct cs_index_table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->size; i++)
        free(t->slots[i].id);
    free(t->slots);
    free(t);
}

size_t cs_index_table_count(const struct cs_index_table *t)
{
    return t->n;
}

/* The slot of an id, or the free one where it belongs. */
static struct entry *slot_of(const struct cs_index_table *t, const char *id, size_t len,
                             uint64_t hash)
{
    size_t i = (size_t)hash & (t->size - 1);

    while (t->slots[i].id != NULL && (t->slots[i].hash != hash || strlen(t->slots[i].id) != len ||
                                      memcmp(t->slots[i].id, id, len) != 0))
        i = (i + 1) & (t->size - 1);
    return &t->slots[i];
}

static int grow(struct cs_index_table *t)
{
    struct entry *old = t->slots;
    size_t size = t->size;

    t->slots = calloc(size * 2, sizeof(*t->slots));
    if (t->slots == NULL) {
        t->slots = old;
        return -ENOMEM;
    }
    t->size = size * 2;
    for (size_t i = 0; i < size; i++)
        if (old[i].id != NULL)
            *slot_of(t, old[i].id, strlen(old[i].id), old[i].hash) = old[i];
    free(old);
    return 0;
}

static void text_hash(struct cs_js v, uint64_t *ret)
{
    char text[CS_ID_MAX + 1];
    int n = cs_js_str_into(v, text, sizeof(text));

    *ret = n > 0 ? hash_of(text, (size_t)n) : 0;
}

/* A name that we do not know is no rule of ours: it holds nothing back, and proves nothing. */
static uint8_t rule_bit(struct cs_js name)
{
    if (cs_js_str_is(name, cs_held_name(CS_HELD_PRIVATE)))
        return CS_DEEP_PRIVATE;
    return cs_js_str_is(name, cs_held_name(CS_HELD_AUTOMATED)) ? CS_DEEP_AUTOMATED : 0;
}

int cs_index_table_put(struct cs_index_table *t, const char *key, size_t key_len, const char *value,
                       size_t len)
{
    const char *id;
    struct entry *e;
    struct cs_js root, rules, name;
    struct cs_js_iter it = {0};
    uint64_t hash;
    size_t n;

    if (key == NULL || key_len <= t->prefix_len || memcmp(key, t->prefix, t->prefix_len) != 0)
        return 0;
    id = key + t->prefix_len;
    n = key_len - t->prefix_len;
    if (n > CS_ID_MAX || memchr(id, '\0', n) != NULL)
        return 0;
    hash = hash_of(id, n);
    e = slot_of(t, id, n, hash);
    if (e->id == NULL && value == NULL)
        return 0;
    if (e->id == NULL) {
        if (t->used >= CS_INDEX_ENTRIES_MAX)
            return -E2BIG;
        if (t->used >= t->size / 3 * 2) {
            if (grow(t) < 0)
                return -ENOMEM;
            e = slot_of(t, id, n, hash);
        }
        e->id = strndup(id, n);
        if (e->id == NULL)
            return -ENOMEM;
        e->hash = hash;
        e->gone = true;
        t->used++;
    }
    t->n -= !e->gone;
    e->gone = value == NULL;
    t->n += !e->gone;
    e->version = e->folder = 0;
    e->held = e->rules = 0;
    e->listed_by = -1;
    if (value == NULL || cs_js_check(value, len, VALUE_DEPTH, &root, NULL) < 0)
        return 0;
    text_hash(cs_js_get(root, "change_key"), &e->version);
    text_hash(cs_js_get(root, "folder"), &e->folder);
    e->held = rule_bit(cs_js_get(root, "held"));
    rules = cs_js_get(root, "rules");
    while (cs_js_next_element(rules, &it, &name))
        e->rules |= rule_bit(name);
    return 0;
}

enum cs_index_match cs_index_table_list(struct cs_index_table *t, const char *id,
                                        const char *change_key, const char *folder, int walk,
                                        unsigned rules)
{
    size_t n = strlen(id);
    struct entry *e = slot_of(t, id, n, hash_of(id, n));
    bool same;

    if (e->id == NULL || e->gone)
        return CS_INDEX_ABSENT;
    e->listed_by = walk;
    same = e->version != 0 && e->version == hash_text(change_key) && e->folder == hash_text(folder);
    if (e->held != 0)
        return same && (e->held & rules) != 0 ? CS_INDEX_HELD : CS_INDEX_ABSENT;
    if (!same)
        return CS_INDEX_OTHER;
    return (rules & ~(unsigned)e->rules) != 0 ? CS_INDEX_UNJUDGED : CS_INDEX_SAME;
}

const char *cs_index_table_next_missing(const struct cs_index_table *t, const char *folder,
                                        int walk, size_t *i)
{
    uint64_t hash = hash_text(folder);

    while (*i < t->size) {
        const struct entry *e = &t->slots[(*i)++];

        if (e->id != NULL && !e->gone && e->folder == hash && e->listed_by != walk)
            return e->id;
    }
    return NULL;
}

size_t cs_index_table_count_folder(const struct cs_index_table *t, const char *folder)
{
    uint64_t hash = hash_text(folder);
    size_t n = 0;

    for (size_t i = 0; i < t->size; i++)
        n += t->slots[i].id != NULL && !t->slots[i].gone && t->slots[i].held == 0 &&
             t->slots[i].folder == hash;
    return n;
}
