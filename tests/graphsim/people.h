/* people.h - the cast: who writes to whom and who sits in meetings. PURE.
 *
 * Everybody is a number. The same number in the same tenant is always the same person, name and address
 * included, so nobody needs to be stored. Names come in Latin, Cyrillic, Greek, Arabic, Hebrew, Chinese,
 * Japanese and Korean script, now and then with an emoji; addresses are ASCII.
 */
#ifndef CS_GRAPHSIM_PEOPLE_H
#define CS_GRAPHSIM_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_PERSON_NAME    96
#define SIM_PERSON_ADDRESS 128

struct sim_person {
    char name[SIM_PERSON_NAME];       /* UTF-8 */
    char address[SIM_PERSON_ADDRESS]; /* upper case letters occur */
};

/* Kinds of people are ranges of numbers. */
#define SIM_PEOPLE_COLLEAGUES 64 /* 0 .. 63: of the tenant's own domain */
#define SIM_PEOPLE_OUTSIDE \
    1000 /* from here on: customers, suppliers, newsletters; any number up to 2^31 */
#define SIM_PEOPLE_ROOM  200 /* 200 .. 207: meeting rooms of the tenant */
#define SIM_PEOPLE_ROOMS 8
#define SIM_PEOPLE_LIST  220 /* 220 .. 223: distribution lists of the tenant */
#define SIM_PEOPLE_LISTS 4

/**
 * @param seed    the tenant's
 * @param domain  the tenant's, "contoso.example"
 * @param n       a number of one of the ranges above; others count as outside people
 */
void sim_person_get(uint64_t seed, const char *domain, uint32_t n, struct sim_person *ret);
/** One of all people by a hash: about half of them colleagues. Never a room or list. */
uint32_t sim_person_pick(uint64_t hash);
/** The company of an outside person's domain, for signatures: "Northwind Traders". */
const char *sim_person_company(uint64_t seed, uint32_t n);

#endif
