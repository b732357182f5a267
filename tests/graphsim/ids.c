/* ids.c - opaque ids, change keys and tokens that need no table.
 *
 * An id is a sealed number: the text names kind, number and a check word, scrambled with the service's
 * key. Nothing here is cryptography; it only has to look opaque and to refuse what is not ours.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char b64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(const unsigned char *p, size_t n, char *out)
{
    size_t len = 0;
    uint32_t acc = 0;
    unsigned bits = 0;

    for (size_t i = 0; i < n; i++) {
        acc = (acc << 8) | p[i];
        bits += 8;
        while (bits >= 6) {
            bits -= 6;
            out[len++] = b64url[(acc >> bits) & 63];
        }
    }
    if (bits > 0)
        out[len++] = b64url[(acc << (6 - bits)) & 63];
    out[len] = '\0';
    return len;
}

static int value_of(char c)
{
    const char *at = c != '\0' ? strchr(b64url, c) : NULL;

    return at != NULL ? (int)(at - b64url) : -1;
}

/* @return bytes, or -EINVAL */
static int decode(const char *text, size_t len, unsigned char *out, size_t max)
{
    size_t n = 0;
    uint32_t acc = 0;
    unsigned bits = 0;

    for (size_t i = 0; i < len; i++) {
        int v = value_of(text[i]);

        if (v < 0)
            return -EINVAL;
        acc = (acc << 6) | (uint32_t)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (n == max)
                return -EINVAL;
            out[n++] = (unsigned char)(acc >> bits);
        }
    }
    return (int)n;
}

static void put64(unsigned char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> (56 - 8 * i));
}

static uint64_t get64(const unsigned char *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = (v << 8) | p[i];
    return v;
}

/* Four Feistel rounds over two words. */
static void scramble(uint64_t key, uint64_t *a, uint64_t *b)
{
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t t = *a ^ sim_hash(key + i, *b);

        *a = *b;
        *b = t;
    }
}

static void unscramble(uint64_t key, uint64_t *a, uint64_t *b)
{
    for (uint64_t i = 4; i-- > 0;) {
        uint64_t t = *b ^ sim_hash(key + i, *a);

        *b = *a;
        *a = t;
    }
}

#define PREFIX_LEN  12 /* "AAMkAGI1AAAB" */
#define STORE_BYTES 60 /* the store's part, the same for all ids of a mailbox and kind */
#define TAIL        "AAA="

static void store_part(const struct sim_mailbox *mb, enum sim_id_kind kind, bool immutable,
                       unsigned char out[STORE_BYTES])
{
    for (size_t i = 0; i < STORE_BYTES; i += 4) {
        uint64_t h = sim_hash(mb->seed + i, ((uint64_t)kind << 1) | immutable);

        for (size_t k = 0; k < 4; k++)
            out[i + k] = (unsigned char)(h >> (8 * k));
    }
}

static const char *prefix_of(enum sim_id_kind kind, bool immutable)
{
    if (immutable)
        return "AAkALgAAAAAA";
    return kind == SIM_ID_FOLDER || kind == SIM_ID_CALENDAR ? "AQMkADAwATM0" : "AAMkADIwMWJk";
}

/* The pair of a number differs only in the case of the letter before the tail. */
void sim_id_format(const struct sim_mailbox *mb, struct sim_id id, char out[SIM_ID_MAX])
{
    unsigned char raw[STORE_BYTES + 16];
    bool fixed = id.kind == SIM_ID_FOLDER || id.kind == SIM_ID_CALENDAR;
    bool immutable = id.immutable && !fixed;
    uint64_t sub = immutable && id.kind == SIM_ID_MESSAGE ? 0 : id.sub;
    uint64_t a = (id.num >> 1) << 8 | (uint64_t)id.kind << 1 | immutable;
    uint64_t check = sim_hash(sim_hash(a, sub), mb->seed) & 0xffffff;
    uint64_t b = sub << 24 | check;
    uint64_t key = mb->sim->key;
    size_t len;
    char letter;

    store_part(mb, id.kind, immutable, raw);
    letter = (char)('A' + sim_hash(a, b) % 26);
    scramble(key, &a, &b);
    put64(raw + STORE_BYTES, a);
    put64(raw + STORE_BYTES + 8, b);
    memcpy(out, prefix_of(id.kind, immutable), PREFIX_LEN);
    len = PREFIX_LEN + encode(raw, sizeof(raw), out + PREFIX_LEN);
    out[len++] = (char)(id.num & 1 ? letter + 32 : letter);
    memcpy(out + len, TAIL, sizeof(TAIL));
}

static bool parse_for(const struct sim_mailbox *mb, const unsigned char *raw, char letter,
                      struct sim_id *ret)
{
    uint64_t a = get64(raw + STORE_BYTES), b = get64(raw + STORE_BYTES + 8);
    char upper;
    unsigned char store[STORE_BYTES];

    unscramble(mb->sim->key, &a, &b);
    if ((sim_hash(sim_hash(a, b >> 24), mb->seed) & 0xffffff) != (b & 0xffffff))
        return false;
    upper = (char)('A' + sim_hash(a, b) % 26);
    if (letter != upper && letter != upper + 32)
        return false;
    ret->immutable = (a & 1) != 0;
    ret->kind = (enum sim_id_kind)((a >> 1) & 127);
    ret->num = (a >> 8) << 1 | (letter != upper);
    ret->sub = b >> 24;
    store_part(mb, ret->kind, ret->immutable, store);
    return memcmp(store, raw, STORE_BYTES) == 0;
}

int sim_id_parse(const struct sim_mailbox *mb, const char *text, struct sim_id *ret)
{
    unsigned char raw[STORE_BYTES + 16];
    size_t len = strlen(text), tail = strlen(TAIL);
    size_t body = (sizeof(raw) * 8 + 5) / 6;
    struct sim_id id;

    if (len != PREFIX_LEN + body + 1 + tail || strcmp(text + len - tail, TAIL) != 0 ||
        decode(text + PREFIX_LEN, body, raw, sizeof(raw)) != (int)sizeof(raw))
        return -EINVAL;
    if (parse_for(mb, raw, text[len - tail - 1], &id)) {
        if (memcmp(text, prefix_of(id.kind, id.immutable), PREFIX_LEN) != 0)
            return -EINVAL;
        *ret = id;
        return 0;
    }
    for (size_t i = 0; i < mb->sim->n_mailboxes; i++)
        if (parse_for(&mb->sim->mailboxes[i], raw, text[len - tail - 1], &id))
            return -ENOENT;
    return -EINVAL;
}

void sim_change_key(const struct sim_mailbox *mb, char kind, uint64_t seq,
                    char out[SIM_CHANGE_KEY_MAX])
{
    unsigned char raw[22] = {0};

    /* as Exchange's: type, length, the database's guid, a counter */
    raw[0] = kind == 'D' ? 0x0f : 0x09;
    raw[3] = 0x16;
    put64(raw + 4, sim_hash(mb->seed, 1));
    put64(raw + 12, seq);
    memset(raw + 20, 0, 2);
    (void)encode(raw, sizeof(raw), out); /* its length is always the same */
    for (char *p = out; *p != '\0'; p++) /* standard alphabet here, '+' and '/' included */
        *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
}

void sim_guid(uint64_t a, uint64_t b, char out[37])
{
    uint64_t h = sim_hash(a, b), l = sim_hash(b + 1, h);

    snprintf(out, 37, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(h >> 32),
             (unsigned)(h >> 16) & 0xffff, (unsigned)h & 0xfff,
             ((unsigned)(l >> 48) & 0x3fff) | 0x8000, (unsigned long long)(l & 0xffffffffffffU));
}

/* ---- tokens ---------------------------------------------------------------------------------- */

#define TOKEN_MAX  3000
#define TOKEN_HEAD 18 /* salt, check word, length */

static void keystream(uint64_t key, uint64_t salt, unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] ^= (unsigned char)(sim_hash(key ^ salt, i >> 3) >> (8 * (i & 7)));
}

static uint64_t check_word(uint64_t key, uint64_t salt, const unsigned char *p, size_t n)
{
    uint64_t h = sim_hash(key + 77, salt);

    for (size_t i = 0; i < n; i++)
        h = sim_hash(h, p[i]);
    return h;
}

void sim_token_seal(const struct sim *sim, const void *plain, size_t n, struct cs_buf *out)
{
    unsigned char raw[TOKEN_HEAD + TOKEN_MAX + 256];
    uint64_t salt = check_word(sim->key + 1, 0, plain, n);
    size_t pad = salt % 200; /* real tokens vary in length */
    size_t total = TOKEN_HEAD + n + pad;
    char text[(sizeof(raw) * 8 + 5) / 6 + 1];

    if (n > TOKEN_MAX)
        n = TOKEN_MAX;
    put64(raw, salt);
    put64(raw + 8, check_word(sim->key, salt, plain, n));
    raw[16] = (unsigned char)(n >> 8);
    raw[17] = (unsigned char)n;
    memcpy(raw + TOKEN_HEAD, plain, n);
    memset(raw + TOKEN_HEAD + n, 0, pad);
    keystream(sim->key, salt, raw + 8, total - 8);
    cs_buf_add(out, text, encode(raw, total, text));
}

int sim_token_open(const struct sim *sim, const char *text, void *plain, size_t max)
{
    unsigned char raw[TOKEN_HEAD + TOKEN_MAX + 256];
    int got = decode(text, strlen(text), raw, sizeof(raw));
    uint64_t salt;
    size_t n;

    if (got < TOKEN_HEAD)
        return -EINVAL;
    salt = get64(raw);
    keystream(sim->key, salt, raw + 8, (size_t)got - 8);
    n = (size_t)raw[16] << 8 | raw[17];
    if (n > max || n + TOKEN_HEAD + salt % 200 != (size_t)got ||
        get64(raw + 8) != check_word(sim->key, salt, raw + TOKEN_HEAD, n))
        return -EINVAL;
    memcpy(plain, raw + TOKEN_HEAD, n);
    return (int)n;
}
