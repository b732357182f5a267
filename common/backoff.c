#include "common/backoff.h"

int64_t cs_backoff_ms(unsigned n, int64_t base_ms, int64_t cap_ms, uint64_t random)
{
    if (base_ms < 1)
        base_ms = 1;
    if (cap_ms < base_ms)
        cap_ms = base_ms;
    int64_t top = base_ms;
    for (unsigned i = 1; i < n && top < cap_ms; i++)
        top = top > cap_ms / 2 ? cap_ms : top * 2;
    int64_t half = top / 2;
    return half + (int64_t)(random % (uint64_t)(top - half + 1));
}

uint64_t cs_mix64(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
