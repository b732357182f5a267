/* The settings that both daemons have. */
#include "common/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/conf_file.h"
#include "common/log.h"

const char *const cs_delivery_names[] = {"exactly_once", "at_least_once", NULL};

#define AT(field) offsetof(struct cs_common_conf, field)

const struct cs_setting cs_common_settings[] = {
    {"kafka.bootstrap_servers", CS_CONF_STR, AT(kafka_bootstrap), "localhost:9092", 1, 4096,
     CS_CONF_REQUIRED, "Brokers to begin with: host:port, separated by commas.", NULL},
    {"kafka.topic_prefix", CS_CONF_STR, AT(kafka_prefix), "crmsync.", 1, 200, 0,
     "What the names of all topics and groups begin with; another prefix is another installation.",
     NULL},
    {"kafka.delivery", CS_CONF_ENUM, AT(kafka_delivery), "exactly_once", 0, 0, 0,
     "at_least_once is for brokers without transactions: readers may see a record twice.",
     cs_delivery_names},
    {"kafka.properties", CS_CONF_MAP, AT(kafka_properties), "", 0, 0, 0,
     "More properties for librdkafka, such as security.protocol=ssl.", NULL},
    {"graph.base_url", CS_CONF_STR, AT(graph_base_url), "https://graph.microsoft.com", 1, 512, 0,
     "Root of Microsoft Graph, without a version; national clouds have their own.", NULL},
    {"graph.login_url", CS_CONF_STR, AT(graph_login_url), "https://login.microsoftonline.com", 1,
     512, 0, "Root of the token endpoint; national clouds have their own.", NULL},
    {"graph.ca_file", CS_CONF_STR, AT(graph_ca_file), "", 1, 4096, 0,
     "PEM file of the authorities trusted for Graph; empty: the system's.", NULL},
    {"admin.listen", CS_CONF_STR, AT(admin_listen), "127.0.0.1:0", 1, 128, 0,
     "Address and port of /livez, /readyz and /metrics; port 0: any free one; empty: none.", NULL},
    {"instance_id", CS_CONF_STR, AT(instance_id), "", 1, 100, 0,
     "A name of this process that no other has and that stays over restarts; empty: none.", NULL},
    {"log.level", CS_CONF_ENUM, AT(log_level), "info", 0, 0, CS_CONF_RELOAD,
     "What is logged: this and everything graver.", cs_log_level_names},
    {"log.format", CS_CONF_ENUM, AT(log_format), "auto", 0, 0, 0,
     "auto: text on a terminal, else JSON.", cs_log_format_names},
    {0},
};

/* Takes an http(s) URL apart. host has no brackets. False: not of the form scheme://host[:port][rest]. */
static bool split_url(const char *url, bool *https, char host[256], const char **rest)
{
    *https = strncmp(url, "https://", 8) == 0;
    if (!*https && strncmp(url, "http://", 7) != 0)
        return false;
    const char *p = url + (*https ? 8 : 7);
    const char *end = p + strcspn(p, "/?#");
    if (memchr(p, '@', (size_t)(end - p)) != NULL || memchr(p, '\\', (size_t)(end - p)) != NULL)
        return false;
    const char *h = p, *h_end;
    if (*p == '[') {
        h = p + 1;
        h_end = memchr(h, ']', (size_t)(end - h));
        if (h_end == NULL)
            return false;
        p = h_end + 1;
    } else {
        p += strcspn(p, ":/?#");
        h_end = p;
    }
    if (p < end) {
        size_t digits = *p == ':' ? strspn(p + 1, "0123456789") : 0;
        if (digits == 0 || digits > 5 || p + 1 + digits != end)
            return false;
    }
    if (h_end == h || (size_t)(h_end - h) > 255)
        return false;
    memcpy(host, h, (size_t)(h_end - h));
    host[h_end - h] = '\0';
    *rest = end;
    return host[strspn(host,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:%_")] ==
           '\0';
}

static bool host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && memcmp(&v6, &in6addr_loopback, sizeof(v6)) == 0;
}

bool cs_url_is_loopback(const char *url)
{
    bool https;
    char host[256];
    const char *rest;

    return split_url(url, &https, host, &rest) && host_is_loopback(host);
}

static int check_url(const char *key, const char *url, struct cs_conf_error *err)
{
    bool https;
    char host[256];
    const char *rest;

    if (!split_url(url, &https, host, &rest))
        return cs_conf_fail(err, key, 0, NULL, "must be https://host or https://host:port");
    if (*rest != '\0')
        return cs_conf_fail(err, key, 0, NULL, "must end behind the host: no path, no slash");
    if (!https && !host_is_loopback(host))
        return cs_conf_fail(err, key, 0, NULL, "http is allowed on this machine only; use https");
    return 0;
}

int cs_common_conf_check(const struct cs_common_conf *c, struct cs_conf_error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    int r = check_url("graph.base_url", c->graph_base_url, err);

    if (r == 0)
        r = check_url("graph.login_url", c->graph_login_url, err);
    if (r == 0 && c->kafka_prefix[strspn(c->kafka_prefix, plain)] != '\0')
        r = cs_conf_fail(err, "kafka.topic_prefix", 0, NULL,
                         "letters, digits, dot, dash and underscore only");
    if (r == 0 && c->instance_id[strspn(c->instance_id, plain)] != '\0')
        r = cs_conf_fail(err, "instance_id", 0, NULL,
                         "letters, digits, dot, dash and underscore only");
    return r;
}
