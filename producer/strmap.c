#include "producer/strmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t hash_of(const char *key, size_t len)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)key[i]) * 16777619u;
    return h;
}

void cs_strmap_clear(struct cs_strmap *map)
{
    for (size_t i = 0; i < map->size; i++)
        free(map->slots[i].key);
    free(map->slots);
    memset(map, 0, sizeof(*map));
}

/* The slot of the key, or the free one where it would go. */
static size_t place(const struct cs_strmap *map, const char *key, size_t len, uint32_t hash)
{
    size_t i = hash & (map->size - 1);

    while (map->slots[i].key != NULL &&
           (map->slots[i].hash != hash || strncmp(map->slots[i].key, key, len) != 0 ||
            map->slots[i].key[len] != '\0'))
        i = (i + 1) & (map->size - 1);
    return i;
}

void *cs_strmap_get(const struct cs_strmap *map, const char *key, size_t len)
{
    size_t i;

    if (map->n == 0)
        return NULL;
    i = place(map, key, len, hash_of(key, len));
    return map->slots[i].key != NULL ? map->slots[i].value : NULL;
}

static int grow(struct cs_strmap *map)
{
    struct cs_strmap bigger = {.size = map->size == 0 ? 64 : map->size * 2};

    bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
    if (bigger.slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < map->size; i++) {
        const struct cs_strmap_slot *s = &map->slots[i];

        if (s->key != NULL)
            bigger.slots[place(&bigger, s->key, strlen(s->key), s->hash)] = *s;
    }
    free(map->slots);
    map->slots = bigger.slots;
    map->size = bigger.size;
    return 0;
}

int cs_strmap_put(struct cs_strmap *map, const char *key, size_t len, void *value, void **old)
{
    uint32_t hash = hash_of(key, len);
    size_t i;

    if ((map->n + 1) * 4 > map->size * 3 && grow(map) < 0)
        return -ENOMEM;
    i = place(map, key, len, hash);
    *old = NULL;
    if (map->slots[i].key != NULL) {
        *old = map->slots[i].value;
        map->slots[i].value = value;
        return 0;
    }
    map->slots[i].key = strndup(key, len);
    if (map->slots[i].key == NULL)
        return -ENOMEM;
    map->slots[i].hash = hash;
    map->slots[i].value = value;
    map->n++;
    return 0;
}

void *cs_strmap_remove(struct cs_strmap *map, const char *key, size_t len)
{
    size_t i, j, mask = map->size - 1;
    void *value;

    if (map->n == 0)
        return NULL;
    i = place(map, key, len, hash_of(key, len));
    if (map->slots[i].key == NULL)
        return NULL;
    value = map->slots[i].value;
    free(map->slots[i].key);
    map->n--;
    /* close the gap, so that no search ends before its key */
    for (j = (i + 1) & mask; map->slots[j].key != NULL; j = (j + 1) & mask) {
        size_t home = map->slots[j].hash & mask;

        if (((j - home) & mask) < ((j - i) & mask))
            continue;
        map->slots[i] = map->slots[j];
        i = j;
    }
    memset(&map->slots[i], 0, sizeof(map->slots[i]));
    return value;
}

void *cs_strmap_next(const struct cs_strmap *map, size_t *i, const char **key)
{
    for (; *i < map->size; (*i)++)
        if (map->slots[*i].key != NULL) {
            if (key != NULL)
                *key = map->slots[*i].key;
            return map->slots[(*i)++].value;
        }
    return NULL;
}
