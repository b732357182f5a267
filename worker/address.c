#include "worker/address.h"

#include <errno.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/tenant.h"
#include "worker/text.h"

const char *cs_address_problem_name(enum cs_address_problem p)
{
    static const char *const names[] = {NULL,    "empty",  "x500",   "no_at",
                                        "group", "syntax", "domain", "too_long"};

    return names[p];
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Copies what fits, on a UTF-8 boundary. False: it did not fit whole. */
static bool keep(const char *s, size_t n, char out[CS_ADDRESS_MAX])
{
    size_t m = n < CS_ADDRESS_MAX ? n : CS_ADDRESS_MAX - 1;

    if (m < n) {
        while (m > 0 && ((unsigned char)s[m] & 0xc0) == 0x80)
            m--;
    }
    memcpy(out, s, m);
    out[m] = '\0';
    return m == n;
}

static bool host_name_ok(const char *s)
{
    size_t label = 0, n = strlen(s);

    if (n == 0 || n > 253)
        return false;
    for (size_t i = 0; i <= n; i++) {
        // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): it loses track of strlen()
        char c = s[i];

        if (c == '.' || c == '\0') {
            if (label == 0 || label > 63 || s[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        /* '_' is no host name, but mail reaches such domains */
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
              (c == '-' && label > 0)))
            return false;
        label++;
    }
    return true;
}

/* Lower case, A-labels; out has room for any host name. False: no valid domain. */
static bool normalize_domain(const char *domain, char *out, size_t size)
{
    size_t n = strlen(domain);
    bool ascii = true;
    uint8_t *alabels = NULL;
    bool ok;

    if (domain[0] == '[') { /* address literal: RFC 5321, 4.1.3 */
        if (n < 4 || n >= size || domain[n - 1] != ']')
            return false;
        for (size_t i = 0; i <= n; i++) {
            if (strchr("[]", domain[i]) != NULL && domain[i] != '\0' && i != 0 && i != n - 1)
                return false;
            out[i] = lower(domain[i]);
        }
        return true;
    }
    for (size_t i = 0; i < n; i++)
        ascii = ascii && (unsigned char)domain[i] < 0x80;
    if (ascii) {
        if (n >= size)
            return false;
        for (size_t i = 0; i <= n; i++)
            out[i] = lower(domain[i]);
        if (n > 1 && out[n - 1] == '.')
            out[n - 1] = '\0'; /* the root's dot */
        return host_name_ok(out);
    }
    if (idn2_lookup_u8((const uint8_t *)domain, &alabels, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) !=
        IDN2_OK)
        return false;
    ok = strlen((const char *)alabels) < size;
    if (ok) {
        memcpy(out, alabels, strlen((const char *)alabels) + 1);
        ok = host_name_ok(out);
    }
    idn2_free(alabels);
    return ok;
}

static enum cs_address_problem classify(const char *s, size_t n)
{
    bool quoted = s[0] == '"';
    size_t ats = 0;

    if ((n > 3 && strncasecmp(s, "/o=", 3) == 0) || (n > 8 && strncasecmp(s, "IMCEAEX-", 8) == 0))
        return CS_ADDRESS_X500;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 0x20 || c == 0x7f)
            return CS_ADDRESS_SYNTAX;
        ats += c == '@';
    }
    if (!quoted && (memchr(s, ';', n) != NULL || (memchr(s, ',', n) != NULL && ats > 1) ||
                    (s[n - 1] == ':' && ats == 0)))
        return CS_ADDRESS_GROUP;
    if (ats == 0 || s[0] == '@' || s[n - 1] == '@')
        return CS_ADDRESS_NO_AT;
    if (!quoted) {
        if (ats > 1)
            return CS_ADDRESS_SYNTAX;
        for (size_t i = 0; i < n; i++) {
            if (strchr(" \t<>()\",:\\", s[i]) != NULL &&
                !(s[i] == ':' && memchr(s, '[', n) != NULL))
                return CS_ADDRESS_SYNTAX;
        }
    }
    return CS_ADDRESS_OK;
}

static void set_untagged(struct cs_address *a, size_t local)
{
    const char *plus = memchr(a->text, '+', local);

    if (plus == NULL || plus == a->text || a->text[0] == '"')
        return;
    memcpy(a->untagged, a->text, (size_t)(plus - a->text));
    memcpy(a->untagged + (plus - a->text), a->text + local, strlen(a->text + local) + 1);
}

void cs_address_normalize(const char *s, size_t n, struct cs_address *ret)
{
    char domain[CS_ADDRESS_MAX];
    const char *at;
    size_t local;

    ret->untagged[0] = '\0';
    while (n > 0 && is_blank(*s)) {
        s++;
        n--;
    }
    while (n > 0 && is_blank(s[n - 1]))
        n--;
    if (n > 2 && s[0] == '<' && s[n - 1] == '>') { /* a route's brackets are no part of it */
        s++;
        n -= 2;
    }
    if (n > 7 && strncasecmp(s, "mailto:", 7) == 0) {
        s += 7;
        n -= 7;
    }
    if (!keep(s, n, ret->text))
        ret->problem = CS_ADDRESS_TOO_LONG;
    else
        ret->problem = n == 0 ? CS_ADDRESS_EMPTY : classify(s, n);
    if (ret->problem == CS_ADDRESS_OK) {
        at = strrchr(ret->text, '@');
        local = (size_t)(at - ret->text);
        if (!normalize_domain(at + 1, domain, sizeof(domain)))
            ret->problem = CS_ADDRESS_DOMAIN;
        else if (local + 1 + strlen(domain) >= sizeof(ret->text))
            ret->problem = CS_ADDRESS_TOO_LONG;
        else {
            memcpy(ret->text + local + 1, domain, strlen(domain) + 1);
            set_untagged(ret, local);
        }
    }
    for (size_t i = 0;; i++) {
        ret->fold[i] = lower(ret->text[i]);
        if (ret->text[i] == '\0')
            break;
    }
}

bool cs_address_is_inside(const struct cs_address *a, const struct cs_tenant *tenant,
                          const char *mailbox)
{
    if (a->problem == CS_ADDRESS_X500)
        return true;
    if (a->problem != CS_ADDRESS_OK)
        return false;
    return strcmp(a->fold, mailbox) == 0 || cs_tenant_owns_address(tenant, a->fold);
}

int cs_address_read(struct cs_js email_address, struct cs_address *ret, struct cs_js *name)
{
    struct cs_js address = cs_js_get(email_address, "address");
    struct cs_buf buf;
    int r;

    *name = cs_js_get(email_address, "name");
    if (cs_js_type(*name) != CS_JS_STRING || name->n == 2)
        *name = (struct cs_js){0};
    cs_buf_init(&buf, 65536);
    r = cs_js_str(address, &buf);
    if (r == -ENOMEM)
        return r;
    if (r == -EMSGSIZE || buf.len > 0)
        r = 1;
    else
        r = name->p != NULL;
    cs_address_normalize(buf.data == NULL ? "" : buf.data, buf.len, ret);
    cs_buf_clear(&buf);
    return r;
}

void cs_address_write(struct cs_jw *jw, const struct cs_address *a, struct cs_js name,
                      size_t text_max, bool *cut)
{
    cs_jw_kstr(jw, "address", a->problem == CS_ADDRESS_EMPTY ? NULL : a->text);
    cs_text_kwrite(jw, "name", name, text_max, cut);
    if (a->untagged[0] != '\0')
        cs_jw_kstr(jw, "untagged", a->untagged);
    if (a->problem != CS_ADDRESS_OK)
        cs_jw_kstr(jw, "problem", cs_address_problem_name(a->problem));
}
