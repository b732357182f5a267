/* conf.h - settings: one table per daemon feeds parsing, checks, --print-config and the sample.
 *
 * Files are libconfig; the dots of a key are groups: kafka: { delivery = "exactly_once"; }. Order of
 * strength: the default, the file, the environment (CRMSYNC_ + the key in upper case, dots to
 * underscores: CRMSYNC_KAFKA_BOOTSTRAP_SERVERS), and the environment's *_FILE form, which names a file
 * that holds the value (one line end at its end is cut off; at most CS_SECRET_MAX bytes). Unknown keys,
 * wrong types, values out of range, integers that do not fit 32 bits without the L suffix (libconfig
 * would wrap them silently), duplicates and @include are refused with file, line and key. Unknown
 * variables of the environment are not: both daemons may be given the same ones.
 */
#ifndef CS_COMMON_CONF_H
#define CS_COMMON_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum cs_conf_type {
    CS_CONF_INT,   /* int64_t at offset */
    CS_CONF_MS,    /* int64_t milliseconds */
    CS_CONF_BYTES, /* int64_t bytes */
    CS_CONF_BOOL,  /* bool */
    CS_CONF_STR,   /* char *, ours; no control characters; "" allowed only if def is "" */
    CS_CONF_ENUM,  /* int: index into choices */
    CS_CONF_MAP,   /* struct cs_conf_map: free keys with dots (kafka.properties); def is "" */
    CS_CONF_OTHER, /* a key or a whole group ("schedule") of the other program: both read one file. Accepted
                      unseen, not printed; the program that it belongs to checks it */
};

#define CS_CONF_REQUIRED 1u /* no default: must be given */
#define CS_CONF_RELOAD   2u /* takes effect at SIGHUP; others need a restart */
#define CS_CONF_SECRET   4u /* --print-config shows "***" */

struct cs_setting {
    const char *key; /* "kafka.bootstrap_servers" */
    enum cs_conf_type type;
    size_t offset; /* into the daemon's settings struct */
    const char
        *def; /* as the environment would give it (no quotes). With CS_CONF_REQUIRED: what the
                        sample shows, or NULL */
    int64_t min, max; /* numbers; for CS_CONF_STR: length */
    unsigned flags;
    const char *help;           /* one sentence, for the sample */
    const char *const *choices; /* CS_CONF_ENUM, ends with NULL */
};

/*
 * A map has three ways in:
 *   properties = [ "ssl.ca.location=/etc/ca.pem", "security.protocol=ssl" ];     (an array or a list)
 *   properties: { ssl: { ca: { location = "/etc/ca.pem"; }; }; };                (groups for the dots)
 *   CRMSYNC_KAFKA_PROPERTIES_SSL_CA_LOCATION, or ..._FILE with a file's name     (lower-cased, _ to .,
 *                                                                                 __ to _)
 * In the group form a key that is both a value and a prefix of others is written with a trailing `_`.
 * The environment adds to the file's map and replaces its values. A key that comes twice is refused.
 */
#define CS_CONF_MAP_MAX 256

struct cs_conf_map {
    size_t n;
    char **keys;   /* dotted, without the prefix: "ssl.ca.location" */
    char **values; /* text */
};
const char *cs_conf_map_get(const struct cs_conf_map *map, const char *key); /* NULL if absent */
/** Do values of this key stay out of print: passwords, secrets, keys in PEM, tokens, JAAS? */
bool cs_conf_map_is_secret(const char *key);

struct cs_tenant_set; /* tenant.h */

struct cs_conf_error {
    char text
        [512]; /* "crmsync.cfg:12: kafka.delivery: must be one of ..."; never a secret's value */
};

/**
 * Reads the file, and the tenants (tenant.h): its own `tenants = ( {...} )` list and, sorted by name,
 * every *.cfg in the folder `tenants.d` beside it (each one tenant with its settings at top level, or
 * a `tenants` list). Names of files in a tenant are relative to the file that says them.
 *
 * @param[in]  table     ends with a NULL key
 * @param[out] settings  the daemon's struct, zeroed by the caller; filled on success, and on failure
 *                       safe to pass to cs_conf_clear()
 * @param[out] tenants   may be NULL where the program needs none
 * @return 0; -EINVAL (err says file, line, key); -errno of opening a file (err names it); -ENOMEM
 */
int cs_conf_load(const char *path, const struct cs_setting *table, void *settings,
                 struct cs_tenant_set **tenants, struct cs_conf_error *err);
void cs_conf_clear(const struct cs_setting *table, void *settings);
/** All settings with the values in force, in file syntax, so that it loads again; secrets as "***". */
void cs_conf_print(const struct cs_setting *table, const void *settings, struct cs_buf *out);
/** The documented sample: every key with help, default and range. It loads, and means the defaults. */
void cs_conf_sample(const struct cs_setting *table, struct cs_buf *out);
/** One file in the form of tenants.d, on its own. @return as cs_conf_load(); *ret has one reference */
int cs_tenants_load(const char *path, struct cs_tenant_set **ret, struct cs_conf_error *err);
/** The documented sample of a file in tenants.d. It loads once its secret file is there. */
void cs_conf_sample_tenant(struct cs_buf *out);

/* The settings that both daemons have, as initialisers of a table; s is the struct's type, which
 * embeds struct cs_common_conf as `common`. */
struct cs_common_conf {
    char *kafka_bootstrap;
    char *kafka_prefix; /* "crmsync." */
    int kafka_delivery; /* enum cs_delivery */
    struct cs_conf_map kafka_properties;
    char *graph_base_url; /* service root without the version */
    char *graph_login_url;
    char *graph_ca_file; /* "": the system's */
    char *admin_listen;  /* "127.0.0.1:0", "" for none */
    char *instance_id;   /* "": dynamic member */
    int log_level;
    int log_format;
};
enum cs_delivery { CS_EXACTLY_ONCE = 0, CS_AT_LEAST_ONCE };
extern const char *const cs_delivery_names[];
extern const struct cs_setting cs_common_settings[]; /* offsets into struct cs_common_conf */
/** Joins two tables into one malloc'd table (free() it); the second's offsets are shifted by base. NULL: no
 * memory. */
struct cs_setting *cs_conf_join(const struct cs_setting *own, const struct cs_setting *other,
                                size_t base);
/** Checks that go over one key's range: URLs (https, or http on loopback only; no user, path or query),
 * characters of the topic prefix and the instance id. @return 0, -EINVAL (err says what, without a file) */
int cs_common_conf_check(const struct cs_common_conf *c, struct cs_conf_error *err);
/** Is this http(s) URL's host localhost, 127.x.x.x or [::1]? False with a user part, and for anything unclear. */
bool cs_url_is_loopback(const char *url);

#endif
