/* request.h - from a method, a URL and headers to a struct sim_request, and answers' common parts. */
#ifndef CS_GRAPHSIM_REQUEST_H
#define CS_GRAPHSIM_REQUEST_H

#include "sim.h"

/**
 * Splits path and query. The strings live in req until sim_request_clear().
 *
 * @param[in] url   path behind /v1.0, with its query: "/users/x/messages?$top=1"; percent-encoded
 * @return 0; -EINVAL: bad percent-encoding, or more segments or parameters than there is room for
 */
int sim_request_init(struct sim_request *req, struct sim *sim, const char *method, const char *url);
void sim_request_clear(struct sim_request *req);
/** Reads one Prefer header; unknown preferences are ignored, as Graph does. */
void sim_request_prefer(struct sim_request *req, const char *value);

void sim_answer_init(struct sim_answer *ans);
void sim_answer_clear(struct sim_answer *ans);
const char *sim_answer_find(const struct sim_answer *ans,
                            const char *name); /* NULL: no such header */

/** Percent-decodes n bytes into malloc'd text; NULL: malformed. plus: '+' is a space (forms). */
char *sim_url_decode(const char *p, size_t n, bool plus);
/** Appends text as part of a URL inside quotes or a query value. */
void sim_url_encode(struct cs_buf *b, const char *text);

#endif
