/* auth.h - the token endpoint and the tokens it hands out. Thread-safe. */
#ifndef CS_GRAPHSIM_AUTH_H
#define CS_GRAPHSIM_AUTH_H

#include "sim.h"

/** Reads the certificates. @return 0, -EINVAL (said on standard error) */
int sim_auth_init(struct sim *sim);
void sim_auth_clear(struct sim *sim);
/**
 * POST /{tenant}/oauth2/v2.0/token.
 * @param[in] path           with the leading '/'
 * @param[in] authorization  header, or NULL
 * @param[in] login_base     "http://127.0.0.1:1234": what an assertion's audience must begin with
 */
void sim_auth_token(struct sim *sim, const char *path, const char *authorization,
                    const char *login_base, const char *body, size_t len, struct sim_answer *ans);
/** The token endpoint's error of one AADSTS number; unknown numbers are invalid_request (400). */
void sim_auth_error(struct sim_answer *ans, unsigned aadsts);
/** Of a Graph call; on false the answer is a 401. */
bool sim_auth_check(struct sim *sim, const char *authorization, struct sim_answer *ans);
/** All tokens so far become invalid. */
void sim_auth_revoke(struct sim *sim);
/** Control: replaces the secrets by a JSON array of texts in the form of --secret. @return 0, -EINVAL */
int sim_auth_set_secrets(struct sim *sim, const void *json_array);
void sim_auth_write(struct sim *sim,
                    struct sim_jw *w); /* members: token_requests, tokens_issued, ... */

#endif
