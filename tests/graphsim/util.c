/* util.c - memory, clock, and the random numbers of the simulator. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static _Noreturn void no_memory(void)
{
    fputs("graphsim: out of memory\n", stderr);
    abort();
}

void *sim_alloc(size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size);

    if (p == NULL)
        no_memory();
    return p;
}

void *sim_grow(void *p, size_t n, size_t size)
{
    void *q = reallocarray(p, n > 0 ? n : 1, size);

    if (q == NULL)
        no_memory();
    return q;
}

char *sim_strdup(const char *s)
{
    char *p = strdup(s);

    if (p == NULL)
        no_memory();
    return p;
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint64_t sim_hash(uint64_t a, uint64_t b)
{
    return mix(mix(a + 0x9e3779b97f4a7c15U) ^ (b * 0xd6e8feb86659fd93U + 0x632be59bd9b4e019U));
}

uint64_t sim_hash_str(uint64_t seed, const char *s)
{
    uint64_t h = seed ^ 0xcbf29ce484222325U;

    for (; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3U;
    return mix(h);
}

uint64_t sim_rng_next(struct sim_rng *r)
{
    r->s += 0x9e3779b97f4a7c15U;
    return mix(r->s);
}

uint64_t sim_rng_below(struct sim_rng *r, uint64_t n)
{
    return n > 0 ? sim_rng_next(r) % n : 0;
}

double sim_rng_unit(struct sim_rng *r)
{
    return (double)(sim_rng_next(r) >> 11) / 9007199254740992.0;
}

bool sim_rng_chance(struct sim_rng *r, double p)
{
    return sim_rng_unit(r) < p;
}

int64_t sim_now_ms(const struct sim *sim)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + sim->clock_offset_ms;
}

uint64_t sim_next_seq(struct sim_mailbox *mb)
{
    return ++mb->seq;
}

struct sim_mailbox *sim_find_mailbox(struct sim *sim, const char *user)
{
    for (size_t i = 0; i < sim->n_mailboxes; i++) {
        struct sim_mailbox *mb = &sim->mailboxes[i];

        if (strcasecmp(mb->address, user) == 0 || strcasecmp(mb->id, user) == 0)
            return mb;
    }
    return NULL;
}
