/* people.h - the people of one item: each list as it came, and joined over their roles. PURE. */
#ifndef CS_WORKER_PEOPLE_H
#define CS_WORKER_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/json_slice.h"
#include "common/json_write.h"
#include "worker/record.h"

enum cs_role {
    CS_ROLE_FROM,
    CS_ROLE_SENDER,
    CS_ROLE_REPLY_TO,
    CS_ROLE_TO,
    CS_ROLE_CC,
    CS_ROLE_BCC,
    CS_ROLE_COUNT_
};

#define CS_PEOPLE_MAX 20000 /* entries of an item; more are left out and marked */

struct cs_person; /* people.c */

struct cs_people {
    struct cs_person *list; /* in the order of adding */
    size_t n, cap;
    uint32_t *table; /* open hash of the first entry of each person, index + 1 */
    size_t table_size;
    bool cut; /* some were left out */
};

void cs_people_init(struct cs_people *people);
void cs_people_clear(struct cs_people *people);
/**
 * Adds a recipient ({"emailAddress":{...}}) or an array of them; anything else, and a recipient
 * without name and address, adds nothing. Names are borrowed from the input.
 * @return 0, -ENOMEM
 */
int cs_people_add(struct cs_people *people, struct cs_js recipients, enum cs_role role,
                  const struct cs_record_ctx *ctx);

/** Array of {address, name, ...} in this role. */
void cs_people_write_list(struct cs_jw *jw, const char *key, const struct cs_fit *fit,
                          const struct cs_people *people, enum cs_role role);
/** The first in this role as an object, or null. */
void cs_people_write_one(struct cs_jw *jw, const char *key, const struct cs_fit *fit,
                         const struct cs_people *people, enum cs_role role);
/** Array of {address, name, roles, internal}, one for each person; the same address is the same
 * person whatever its case. Those without an address appear only in their lists. */
void cs_people_write_participants(struct cs_jw *jw, const char *key, const struct cs_fit *fit,
                                  const struct cs_people *people);

struct cs_people_counts {
    bool has_author; /* a from, or else a sender, with an address */
    bool author_inside;
    size_t recipients; /* to, cc, bcc */
    size_t recipients_inside;
};
struct cs_people_counts cs_people_count(const struct cs_people *people);

#endif
