/* script_server.h - an HTTP server on loopback that says exactly what a test wrote down.
 *
 * Each request that arrives takes the next step of the script, on whatever connection; or the first route that fits it. One thread; the test looks
 * at what was asked through the functions below, which lock.
 */
#ifndef CS_TESTS_SCRIPT_SERVER_H
#define CS_TESTS_SCRIPT_SERVER_H

#include <stddef.h>

enum script_then {
    SCRIPT_KEEP,  /* keep-alive */
    SCRIPT_CLOSE, /* orderly close */
    SCRIPT_RESET, /* RST */
    SCRIPT_HANG,  /* nothing more, until the client goes or the server is stopped */
};

struct script_step {
    const char *bytes; /* sent as they are; borrowed */
    size_t len;        /* 0: strlen(bytes) */
    enum script_then then;
};

/* An answer by what is asked, any number of times: the first whose match is in the request (head and body) is sent. */
struct script_route {
    const char *match; /* "" ends the list and matches everything */
    const char *bytes;
};

struct script_server;

/** steps are borrowed. A request beyond the last step is counted and its connection closed. NULL: no socket. */
struct script_server *script_server_start(const struct script_step *steps, size_t n);
/** routes is borrowed, and may be filled in until the first request. */
struct script_server *script_server_start_routes(const struct script_route *routes);
void script_server_stop(struct script_server *s);
int script_server_port(const struct script_server *s);
unsigned script_server_connections(struct script_server *s);
unsigned script_server_requests(struct script_server *s);
/** Connections that the client has closed. */
unsigned script_server_hung_up(struct script_server *s);
/** The i-th request, whole, as text; malloc'd. NULL: not that many. */
char *script_server_request(struct script_server *s, unsigned i);

#endif
