#include "worker/people.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker/address.h"
#include "worker/text.h"

struct cs_person {
    char *text;     /* address as records carry it; NULL: there is none */
    char *untagged; /* NULL: no tag */
    char *fold;     /* for comparing; NULL with text */
    enum cs_address_problem problem;
    struct cs_js name;
    enum cs_role role;
    unsigned roles; /* of the person, in the person's first entry; 0 in later ones */
    bool inside;
};

static const char *const role_names[] = {"from", "sender", "reply_to", "to", "cc", "bcc"};

void cs_people_init(struct cs_people *people)
{
    memset(people, 0, sizeof(*people));
}

void cs_people_clear(struct cs_people *people)
{
    for (size_t i = 0; i < people->n; i++) {
        free(people->list[i].text);
        free(people->list[i].untagged);
        free(people->list[i].fold);
    }
    free(people->list);
    free(people->table);
    memset(people, 0, sizeof(*people));
}

static size_t hash(const char *s)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */

    for (; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

/* The slot of this address: the index + 1 of its first entry, or 0 if it is new. */
static uint32_t *find_slot(uint32_t *table, size_t size, const struct cs_person *list,
                           const char *fold)
{
    size_t i = hash(fold) & (size - 1);

    while (table[i] != 0 && strcmp(list[table[i] - 1].fold, fold) != 0)
        i = (i + 1) & (size - 1);
    return &table[i];
}

static int grow(struct cs_people *people)
{
    size_t cap = people->cap == 0 ? 16 : people->cap * 2;
    struct cs_person *list = realloc(people->list, cap * sizeof(*list));
    uint32_t *table;

    if (list == NULL)
        return -ENOMEM;
    people->list = list;
    table = calloc(cap * 2, sizeof(*table)); /* at most half full */
    if (table == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < people->n; i++) {
        if (list[i].roles != 0)
            *find_slot(table, cap * 2, list, list[i].fold) = (uint32_t)i + 1;
    }
    free(people->table);
    people->table = table;
    people->table_size = cap * 2;
    people->cap = cap;
    return 0;
}

static int add_one(struct cs_people *people, struct cs_js recipient, enum cs_role role,
                   const struct cs_record_ctx *ctx)
{
    struct cs_address a;
    struct cs_js name;
    struct cs_person *p;
    uint32_t *slot;
    int r;

    r = cs_address_read(cs_js_get(recipient, "emailAddress"), &a, &name);
    if (r <= 0)
        return r;
    if (people->n >= CS_PEOPLE_MAX) {
        people->cut = true;
        return 0;
    }
    if (people->n == people->cap) {
        r = grow(people);
        if (r < 0)
            return r;
    }
    p = &people->list[people->n];
    memset(p, 0, sizeof(*p));
    p->name = name;
    p->role = role;
    p->problem = a.problem;
    p->inside = cs_address_is_inside(&a, ctx->tenant, ctx->mailbox);
    people->n++; /* from here cs_people_clear() frees it */
    if (a.problem == CS_ADDRESS_EMPTY)
        return 0;
    p->text = strdup(a.text);
    p->fold = strdup(a.fold);
    if (a.untagged[0] != '\0')
        p->untagged = strdup(a.untagged);
    if (p->text == NULL || p->fold == NULL || (a.untagged[0] != '\0' && p->untagged == NULL))
        return -ENOMEM;
    slot = find_slot(people->table, people->table_size, people->list, p->fold);
    if (*slot == 0)
        *slot = (uint32_t)people->n;
    people->list[*slot - 1].roles |= 1u << role;
    if (people->list[*slot - 1].name.p == NULL)
        people->list[*slot - 1].name = name;
    return 0;
}

int cs_people_add(struct cs_people *people, struct cs_js recipients, enum cs_role role,
                  const struct cs_record_ctx *ctx)
{
    struct cs_js_iter it = {0};
    struct cs_js one;
    int r = 0;

    if (cs_js_type(recipients) == CS_JS_OBJECT)
        return add_one(people, recipients, role, ctx);
    while (r == 0 && cs_js_next_element(recipients, &it, &one))
        r = add_one(people, one, role, ctx);
    return r;
}

static void write_person(struct cs_jw *jw, const struct cs_fit *fit, const struct cs_person *p)
{
    cs_jw_kstr(jw, "address", p->text);
    cs_text_kwrite(jw, "name", p->name, fit->text_max, fit->cut);
    if (p->untagged != NULL)
        cs_jw_kstr(jw, "untagged", p->untagged);
    if (p->problem != CS_ADDRESS_OK)
        cs_jw_kstr(jw, "problem", cs_address_problem_name(p->problem));
}

void cs_people_write_list(struct cs_jw *jw, const char *key, const struct cs_fit *fit,
                          const struct cs_people *people, enum cs_role role)
{
    size_t written = 0;

    cs_jw_key(jw, key);
    cs_jw_array(jw);
    for (size_t i = 0; i < people->n; i++) {
        if (people->list[i].role != role)
            continue;
        if (written++ >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        cs_jw_object(jw);
        write_person(jw, fit, &people->list[i]);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}

void cs_people_write_one(struct cs_jw *jw, const char *key, const struct cs_fit *fit,
                         const struct cs_people *people, enum cs_role role)
{
    cs_jw_key(jw, key);
    for (size_t i = 0; i < people->n; i++) {
        if (people->list[i].role == role) {
            cs_jw_object(jw);
            write_person(jw, fit, &people->list[i]);
            cs_jw_object_end(jw);
            return;
        }
    }
    cs_jw_null(jw);
}

void cs_people_write_participants(struct cs_jw *jw, const char *key, const struct cs_fit *fit,
                                  const struct cs_people *people)
{
    size_t written = 0;

    if (people->cut)
        *fit->cut = true;
    cs_jw_key(jw, key);
    cs_jw_array(jw);
    for (size_t i = 0; i < people->n; i++) {
        const struct cs_person *p = &people->list[i];

        if (p->roles == 0)
            continue;
        if (written++ >= fit->list_max) {
            *fit->cut = true;
            break;
        }
        cs_jw_object(jw);
        write_person(jw, fit, p);
        cs_jw_key(jw, "roles");
        cs_jw_array(jw);
        for (unsigned role = 0; role < CS_ROLE_COUNT_; role++) {
            if ((p->roles & 1u << role) != 0)
                cs_jw_str(jw, role_names[role]);
        }
        cs_jw_array_end(jw);
        cs_jw_kbool(jw, "internal", p->inside);
        cs_jw_object_end(jw);
    }
    cs_jw_array_end(jw);
}

struct cs_people_counts cs_people_count(const struct cs_people *people)
{
    struct cs_people_counts counts = {0};
    bool have_from = false;

    for (size_t i = 0; i < people->n; i++) {
        const struct cs_person *p = &people->list[i];

        if (p->role == CS_ROLE_TO || p->role == CS_ROLE_CC || p->role == CS_ROLE_BCC) {
            counts.recipients++;
            counts.recipients_inside += p->inside;
        } else if (p->role == CS_ROLE_FROM || (p->role == CS_ROLE_SENDER && !have_from)) {
            if (p->text == NULL)
                continue;
            have_from = have_from || p->role == CS_ROLE_FROM;
            counts.has_author = true;
            counts.author_inside = p->inside;
        }
    }
    return counts;
}
