/* backoff.h - how long to wait after the n-th failure in a row. PURE. */
#ifndef CS_COMMON_BACKOFF_H
#define CS_COMMON_BACKOFF_H

#include <stdint.h>

/**
 * Exponential with full jitter over the upper half: for failure n (1, 2, ...) between half and all of
 * min(base * 2^(n-1), cap).
 * @param[in] random  any 64 random bits; the same bits give the same wait
 */
int64_t cs_backoff_ms(unsigned n, int64_t base_ms, int64_t cap_ms, uint64_t random);
/** A well-mixed 64-bit hash of a counter or id (splitmix64): jitter and phases that survive a restart. */
uint64_t cs_mix64(uint64_t x);

#endif
