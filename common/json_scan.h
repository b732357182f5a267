/* json_scan.h - where does a string end, and what in it needs a look? PURE; for json_slice.c and json_write.c.
 *
 * Bodies are most of what passes through both. HTML in JSON has an escape every 15 to 25 bytes, so stopping at
 * each (a branch that no processor foresees) costs more than the bytes themselves. With SSE2, which every
 * x86-64 has, a block of 64 bytes becomes four bit masks, and escaped quotes are sorted out by arithmetic (the
 * method of simdjson: Langdale and Lemire, Parsing Gigabytes of JSON per Second). Elsewhere, and with
 * CS_SCAN_PORTABLE, eight bytes at a time.
 */
#ifndef CS_COMMON_JSON_SCAN_H
#define CS_COMMON_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(CS_SCAN_PORTABLE)
#define CS_SCAN_BLOCKS 1
#include <emmintrin.h>
#else
#define CS_SCAN_BLOCKS 0
#endif

#define CS_SCAN_ONES  UINT64_C(0x0101010101010101)
#define CS_SCAN_HIGHS UINT64_C(0x8080808080808080)

/* Non-zero if a byte of w is c. (A borrow may mark bytes above a true hit, never without one.) */
static inline uint64_t cs_scan_has(uint64_t w, unsigned char c)
{
    uint64_t x = w ^ (CS_SCAN_ONES * c);
    return (x - CS_SCAN_ONES) & ~x & CS_SCAN_HIGHS;
}

/* Printable ASCII but quote and backslash; DEL too, which JSON does not mind. */
static inline bool cs_scan_is_plain(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

#if CS_SCAN_BLOCKS
/* Bit i: byte i is not plain. */
static inline unsigned cs_scan_odd16(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* as signed bytes, what is below the space is controls and everything from 0x80 on */
    __m128i odd = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(' ')),
                               _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                            _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
    return (unsigned)_mm_movemask_epi8(odd);
}

struct cs_scan_block { /* bit i: byte i is one */
    uint64_t quote;
    uint64_t backslash;
    uint64_t low;  /* below 0x20, or above 0x7f: see high */
    uint64_t high; /* above 0x7f */
};

static inline struct cs_scan_block cs_scan_block(const char *p)
{
    struct cs_scan_block b = {0};
    for (int i = 0; i < 4; i++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
        int s = 16 * i;
        b.quote |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')))
                   << s;
        b.backslash |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')))
                       << s;
        b.low |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(v, _mm_set1_epi8(' '))) << s;
        b.high |= (uint64_t)(unsigned)_mm_movemask_epi8(v) << s;
    }
    return b;
}

/* Bytes that a backslash before them takes away. *carry: the block before ended with an open backslash. */
static inline uint64_t cs_scan_escaped(uint64_t backslash, uint64_t *carry)
{
    const uint64_t odd_bits = UINT64_C(0xAAAAAAAAAAAAAAAA);
    uint64_t escaped;

    if (backslash == 0) {
        escaped = *carry;
        *carry = 0;
        return escaped;
    }
    /* in a row of backslashes every second one escapes; the subtraction runs through a row to its end */
    uint64_t starts = backslash & ~*carry;
    uint64_t maybe = starts << 1;
    uint64_t codes = ((maybe | odd_bits) - starts) ^ odd_bits;
    escaped = codes ^ (backslash | *carry);
    *carry = (codes & backslash) >> 63;
    return escaped;
}
#endif

/** First byte at or after p that is not plain, or end. */
static inline const char *cs_scan_plain(const char *p, const char *end)
{
#if CS_SCAN_BLOCKS
    while (end - p >= 16) {
        unsigned odd = cs_scan_odd16(p);
        if (odd != 0)
            return p + __builtin_ctz(odd);
        p += 16;
    }
#else
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        uint64_t control = (w - CS_SCAN_ONES * 0x20) & ~w & CS_SCAN_HIGHS;
        if ((control | cs_scan_has(w, '"') | cs_scan_has(w, '\\') | (w & CS_SCAN_HIGHS)) != 0)
            break;
        p += 8;
    }
#endif
    while (p < end && cs_scan_is_plain(*p))
        p++;
    return p;
}

/** First quote or backslash at or after p, or end: enough for text that has been checked. */
static inline const char *cs_scan_quote(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        if ((cs_scan_has(w, '"') | cs_scan_has(w, '\\')) != 0)
            break;
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

#endif
