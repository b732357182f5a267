/* listen.h - an address to listen on, as configured. PURE. */
#ifndef CS_COMMON_LISTEN_H
#define CS_COMMON_LISTEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

union cs_listen_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/**
 * "127.0.0.1:8080", "localhost:8080", "[::1]:0".
 * @param[out] len       of the address in it
 * @param[out] loopback  does it lead to this machine only?
 * @return 0, -EINVAL (not understood)
 */
int cs_listen_parse(const char *s, union cs_listen_address *ret, socklen_t *len, bool *loopback);

#endif
