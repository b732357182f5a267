#include "worker/poison.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 0xffff /* more says nothing more */

static const struct cs_poison none = {.until = -1, .claimed = -1};

/* A hexadecimal number and the comma behind it, or the end. */
static bool take(const char **s, bool last, uint64_t max, uint64_t *ret)
{
    char *end = NULL;

    if (**s == '-' || **s == '+' || **s == ' ')
        return false;
    *ret = strtoull(*s, &end, 16);
    if (end == *s || *ret > max || *end != (last ? '\0' : ','))
        return false;
    *s = end + (last ? 0 : 1);
    return true;
}

void cs_poison_parse(const char *metadata, struct cs_poison *ret)
{
    const char *s = metadata != NULL ? strchr(metadata, '!') : NULL;
    uint64_t open, deaths, until, claimed, claims;

    *ret = none;
    if (s == NULL)
        return;
    s++;
    if (!take(&s, false, 1, &open) || !take(&s, false, COUNT_MAX, &deaths) ||
        !take(&s, false, INT64_MAX, &until) || !take(&s, false, INT64_MAX, &claimed) ||
        !take(&s, true, COUNT_MAX, &claims) || (claims > 0) != (claimed > 0))
        return;
    ret->open = open == 1;
    ret->deaths = (unsigned)deaths;
    ret->until = (int64_t)until - 1;
    ret->claimed = (int64_t)claimed - 1;
    ret->claims = (unsigned)claims;
}

void cs_poison_print(const struct cs_poison *p, struct cs_buf *out)
{
    if (!p->open && p->deaths == 0 && p->until < 0 && p->claimed < 0)
        return;
    cs_buf_addf(out, "!%x,%x,%" PRIx64 ",%" PRIx64 ",%x", (unsigned)p->open, p->deaths,
                (uint64_t)(p->until + 1), (uint64_t)(p->claimed + 1), p->claims);
}

static void forget_claim(struct cs_poison *p)
{
    p->claimed = -1;
    p->claims = 0;
    p->ours = false;
}

bool cs_poison_assigned(struct cs_poison *p, int64_t committed, int64_t end)
{
    bool known;

    if (p->open && p->deaths < COUNT_MAX)
        p->deaths++;
    p->open = false;
    p->ours = false;
    if (p->until <= committed)
        p->until = -1;
    if (p->claimed < committed)
        forget_claim(p);
    known = p->until >= 0;
    if (p->deaths < CS_POISON_DEATHS || end <= committed)
        return false;
    p->until = end < committed + CS_POISON_WINDOW ? end : committed + CS_POISON_WINDOW;
    return !known;
}

void cs_poison_committed(struct cs_poison *p, int64_t before, int64_t committed,
                         bool claimed_is_done)
{
    if (committed > before)
        p->deaths = 0;
    if (p->until <= committed)
        p->until = -1;
    if (claimed_is_done || p->claimed < committed)
        forget_claim(p);
}

void cs_poison_open(struct cs_poison *p)
{
    p->open = true;
}

void cs_poison_claim(struct cs_poison *p, int64_t offset)
{
    p->open = true;
    if (p->claimed != offset)
        forget_claim(p);
    p->claimed = offset;
    if (!p->ours && p->claims < COUNT_MAX)
        p->claims++;
    p->ours = true;
}

void cs_poison_close(struct cs_poison *p)
{
    p->open = false;
    if (p->ours && --p->claims == 0)
        p->claimed = -1;
    p->ours = false;
}

bool cs_poison_is_suspect(const struct cs_poison *p, int64_t offset)
{
    return offset < p->until;
}

bool cs_poison_is_guilty(const struct cs_poison *p, int64_t offset)
{
    return !p->ours && p->claimed == offset && p->claims >= CS_POISON_CLAIMS;
}
