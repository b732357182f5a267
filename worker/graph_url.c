#include "worker/graph_url.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/job.h"

#define PREFIX "/v1.0/users"

void cs_url_escape(struct cs_buf *out, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '.' || c == '_' || c == '~') {
            cs_buf_addc(out, *s);
        } else {
            cs_buf_addc(out, '%');
            cs_buf_addc(out, hex[c >> 4]);
            cs_buf_addc(out, hex[c & 15]);
        }
    }
}

void cs_graph_user_path(struct cs_buf *out, const char *mailbox)
{
    cs_buf_adds(out, PREFIX "/");
    cs_url_escape(out, mailbox);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Nothing that a server, a proxy or libcurl could read as another place. */
static bool is_plain(const char *path)
{
    const char *query = strchr(path, '?');

    if (path[0] != '/' || path[1] == '/')
        return false;
    for (const char *p = path; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == '\\' || *p == '#')
            return false;
    for (const char *p = path; *p != '\0' && p != query; p++) {
        if (p[0] == '/' && (p[1] == '/' || p[1] == '.'))
            return false; /* empty and dot segments */
        if (p[0] == '%') {
            int hi = hex_value(p[1]), lo = hi >= 0 ? hex_value(p[2]) : -1;
            int c = hi >= 0 && lo >= 0 ? hi * 16 + lo : -1;

            /* a percent sign would be decoded twice by somebody; a dot may begin a dot segment */
            if (c < 0x20 || c == '/' || c == '\\' || c == '%' || c == '.' || c == 0x7f)
                return false;
        }
    }
    return true;
}

/* The user segment of "/v1.0/users/x/..." or "/v1.0/users('x')/...": where it begins and ends, and what follows. */
static bool split_user(const char *path, const char **user, size_t *len, const char **rest)
{
    const char *p = path + strlen(PREFIX), *end;

    if (strncasecmp(path, PREFIX, strlen(PREFIX)) != 0)
        return false;
    if (*p == '/') {
        *user = p + 1;
        end = strchr(p + 1, '/');
        if (end == NULL)
            return false;
        *len = (size_t)(end - *user);
        *rest = end;
        return *len > 0;
    }
    if (strncmp(p, "('", 2) != 0)
        return false;
    *user = p + 2;
    end = strstr(p + 2, "')/");
    if (end == NULL)
        return false;
    *len = (size_t)(end - *user);
    *rest = end + 2;
    return *len > 0;
}

static bool same_user(const char *user, size_t len, const char *mailbox)
{
    char text[CS_MAILBOX_MAX + 1];
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = user[i];

        if (c == '%' && i + 2 < len) { /* is_plain() has seen both digits */
            c = (char)(hex_value(user[i + 1]) * 16 + hex_value(user[i + 2]));
            i += 2;
        }
        if (n == CS_MAILBOX_MAX)
            return false;
        text[n++] = c;
    }
    text[n] = '\0';
    return strcasecmp(text, mailbox) == 0;
}

bool cs_cursor_is_ours(const char *cursor, const char *mailbox)
{
    const char *user, *rest;
    size_t len;

    return strlen(cursor) <= CS_CURSOR_MAX && is_plain(cursor) &&
           split_user(cursor, &user, &len, &rest) && same_user(user, len, mailbox);
}

int cs_cursor_of_link(const char *link, const char *base_url, const char *mailbox,
                      struct cs_buf *ret)
{
    size_t n = strlen(base_url), len, before = ret->len;
    const char *user, *rest, *path;

    while (n > 0 && base_url[n - 1] == '/')
        n--;
    if (strncasecmp(link, base_url, n) != 0 || link[n] != '/')
        return -EPERM;
    path = link + n;
    if (!is_plain(path) || !split_user(path, &user, &len, &rest))
        return -EPERM;
    cs_graph_user_path(ret, mailbox);
    cs_buf_adds(ret, rest);
    if (ret->len - before > CS_CURSOR_MAX) {
        cs_buf_truncate(ret, before);
        return -EMSGSIZE;
    }
    return 0;
}

int cs_url_authority(const char *url, bool allow_http, char *out, size_t size)
{
    const char *p = url, *end;
    size_t n;

    if (strncasecmp(p, "https://", 8) == 0)
        p += 8;
    else if (allow_http && strncasecmp(p, "http://", 7) == 0)
        p += 7;
    else
        return -EPERM;
    for (const char *c = url; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '\\' || *c == '#')
            return -EPERM;
    end = p + strcspn(p, "/?");
    n = (size_t)(end - p);
    if (n == 0 || n >= size ||
        strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") != n)
        return -EPERM;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]);
    out[n] = '\0';
    return 0;
}

bool cs_upload_url_is_ours(const char *url, const char *base_url)
{
    static const char *const hosts[] = {"outlook.office.com", "outlook.office365.com",
                                        "outlook.office365.us", "outlook-dod.office365.us",
                                        "partner.outlook.cn"};
    bool http = strncmp(base_url, "http://", 7) == 0; /* then it is on loopback */
    char host[300], own[300];

    if (cs_url_authority(url, http, host, sizeof(host)) < 0)
        return false;
    if (cs_url_authority(base_url, true, own, sizeof(own)) == 0 && strcmp(host, own) == 0)
        return true;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        if (strcmp(host, hosts[i]) == 0)
            return strncasecmp(url, "https://", 8) == 0;
    return false;
}
