/* address.h - e-mail addresses as records carry them. PURE.
 *
 * A good address is trimmed, its domain lower-cased and in IDNA form (A-labels, UTS 46 by libidn2);
 * the part before the @ is kept as it is. What is no address is kept as given and says what is wrong.
 */
#ifndef CS_WORKER_ADDRESS_H
#define CS_WORKER_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/json_slice.h"
#include "common/json_write.h"

#define CS_ADDRESS_MAX \
    512 /* bytes with the NUL; SMTP allows 254, Exchange's X.500 forms are longer */

enum cs_address_problem {
    CS_ADDRESS_OK = 0,
    CS_ADDRESS_EMPTY,    /* "empty" */
    CS_ADDRESS_X500,     /* "x500": /O=.../CN=..., also inside IMCEAEX-... */
    CS_ADDRESS_NO_AT,    /* "no_at": no @, or nothing before or behind it */
    CS_ADDRESS_GROUP,    /* "group": RFC 5322 group syntax, or several addresses in one */
    CS_ADDRESS_SYNTAX,   /* "syntax": spaces, brackets or control characters */
    CS_ADDRESS_DOMAIN,   /* "domain": no valid host name */
    CS_ADDRESS_TOO_LONG, /* "too_long": cut to what fits */
};

struct cs_address {
    char text[CS_ADDRESS_MAX];     /* normalized, or as given */
    char untagged[CS_ADDRESS_MAX]; /* ann@x for ann+news@x; "" if there is no tag */
    char fold[CS_ADDRESS_MAX];     /* text in ASCII lower case: for comparing people */
    enum cs_address_problem problem;
};

/** n bytes of UTF-8, need not be NUL-terminated. NUL bytes inside count as CS_ADDRESS_SYNTAX. */
void cs_address_normalize(const char *s, size_t n, struct cs_address *ret);
const char *cs_address_problem_name(enum cs_address_problem p); /* NULL for CS_ADDRESS_OK */

struct cs_tenant; /* common/tenant.h */

/**
 * One of the tenant's people: the mailbox itself, or an address in one of its own domains. A broken
 * address is inside only in its X.500 form, which Exchange uses for senders of its own.
 */
bool cs_address_is_inside(const struct cs_address *a, const struct cs_tenant *tenant,
                          const char *mailbox);
/**
 * Of an emailAddress object ({"name","address"}).
 * @param[out] ret   normalized; CS_ADDRESS_EMPTY if it has no address
 * @param[out] name  string or {NULL,0}
 * @return 1; 0: there is neither an address nor a name; -ENOMEM
 */
int cs_address_read(struct cs_js email_address, struct cs_address *ret, struct cs_js *name);
/** Members of an object that is open: address, name, and untagged and problem where they apply. */
void cs_address_write(struct cs_jw *jw, const struct cs_address *a, struct cs_js name,
                      size_t text_max, bool *cut);

#endif
