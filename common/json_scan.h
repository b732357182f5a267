/* json_scan.h - where does a run of plain string characters end? PURE; for json_slice.c and json_write.c.
 *
 * Bodies are most of what passes through both, so the scanners look at eight bytes at a time.
 */
#ifndef CS_COMMON_JSON_SCAN_H
#define CS_COMMON_JSON_SCAN_H

#include <stdint.h>
#include <string.h>

#define CS_SCAN_ONES  UINT64_C(0x0101010101010101)
#define CS_SCAN_HIGHS UINT64_C(0x8080808080808080)

static inline uint64_t cs_scan_load(const char *p)
{
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

/* Non-zero if a byte of w is c. (A borrow may mark bytes above a true hit, never without one.) */
static inline uint64_t cs_scan_has(uint64_t w, unsigned char c)
{
    uint64_t x = w ^ (CS_SCAN_ONES * c);
    return (x - CS_SCAN_ONES) & ~x & CS_SCAN_HIGHS;
}

/* Printable ASCII but quote and backslash; DEL too, which JSON does not mind. */
static inline int cs_scan_is_plain(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

/** First byte at or after p that is not plain, or end. */
static inline const char *cs_scan_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w = cs_scan_load(p);
        uint64_t control = (w - CS_SCAN_ONES * 0x20) & ~w & CS_SCAN_HIGHS;
        if ((control | cs_scan_has(w, '"') | cs_scan_has(w, '\\') | (w & CS_SCAN_HIGHS)) != 0)
            break;
        p += 8;
    }
    while (p < end && cs_scan_is_plain(*p))
        p++;
    return p;
}

/** First quote or backslash at or after p, or end: enough for text that has been checked. */
static inline const char *cs_scan_quote(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w = cs_scan_load(p);
        if ((cs_scan_has(w, '"') | cs_scan_has(w, '\\')) != 0)
            break;
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

#endif
