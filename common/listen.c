#include "common/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int cs_listen_parse(const char *s, union cs_listen_address *ret, socklen_t *len, bool *loopback)
{
    const char *colon = strrchr(s, ':');
    char host[64];
    unsigned long port = 0;
    size_t n;

    if (colon == NULL || colon[1] == '\0' || strlen(colon + 1) > 5 ||
        colon[1 + strspn(colon + 1, "0123456789")] != '\0')
        return -EINVAL;
    port = strtoul(colon + 1, NULL, 10);
    n = (size_t)(colon - s);
    if (port > 65535 || n == 0 || n >= sizeof(host))
        return -EINVAL;
    memcpy(host, s, n);
    host[n] = '\0';
    memset(ret, 0, sizeof(*ret));
    if (host[0] == '[') {
        if (host[n - 1] != ']')
            return -EINVAL;
        host[n - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &ret->v6.sin6_addr) != 1)
            return -EINVAL;
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons((uint16_t)port);
        *len = sizeof(ret->v6);
        *loopback = IN6_IS_ADDR_LOOPBACK(&ret->v6.sin6_addr);
        return 0;
    }
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                  &ret->v4.sin_addr) != 1)
        return -EINVAL;
    ret->v4.sin_family = AF_INET;
    ret->v4.sin_port = htons((uint16_t)port);
    *len = sizeof(ret->v4);
    *loopback = ntohl(ret->v4.sin_addr.s_addr) >> 24 == 127;
    return 0;
}
