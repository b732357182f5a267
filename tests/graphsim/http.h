/* http.h - the only file that speaks libmicrohttpd: two servers, one thread per connection. */
#ifndef CS_GRAPHSIM_HTTP_H
#define CS_GRAPHSIM_HTTP_H

#include "sim.h"

struct sim_http;

/**
 * Starts both servers.
 * @param[out] port, control_port  what they listen on
 * @return NULL when one cannot start (said on standard error)
 */
struct sim_http *sim_http_start(struct sim *sim, unsigned *port, unsigned *control_port);
/** Ends all connections; a request under way is finished first. NULL is accepted. */
void sim_http_stop(struct sim_http *h);

#endif
