/* strmap.h - from a string to a pointer. PURE.
 *
 * Open addressing; keys are copied. Nothing is added or removed during an iteration.
 */
#ifndef CS_PRODUCER_STRMAP_H
#define CS_PRODUCER_STRMAP_H

#include <stddef.h>
#include <stdint.h>

struct cs_strmap_slot {
    char *key; /* NULL: free */
    uint32_t hash;
    void *value;
};
struct cs_strmap {
    struct cs_strmap_slot *slots; /* a power of two of them, at most 3/4 full; NULL while empty */
    size_t n;
    size_t size;
};

/** A zeroed struct is an empty map. Values are the caller's. */
void cs_strmap_clear(struct cs_strmap *map);
/** NULL: absent. */
void *cs_strmap_get(const struct cs_strmap *map, const char *key, size_t len);
/** Adds or replaces; *old gets the value replaced, or NULL. value must not be NULL. @return 0, -ENOMEM */
int cs_strmap_put(struct cs_strmap *map, const char *key, size_t len, void *value, void **old);
/** The value taken out; NULL: absent. */
void *cs_strmap_remove(struct cs_strmap *map, const char *key, size_t len);
/** *i starts at 0; NULL at the end. key may be NULL. */
void *cs_strmap_next(const struct cs_strmap *map, size_t *i, const char **key);

#endif
