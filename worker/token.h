/* token.h - app-only tokens: one per tenant in memory, fetched once for all who wait, renewed early.
 *
 * Client credentials grant (Entra: v2-oauth2-client-creds-grant-flow). Credentials are a list: when one is refused the
 * next is tried, so a rotation needs no restart; files are read at each use. A valid token is kept while its renewal
 * fails. While it fails a tenant is asked at most once a minute, later where Retry-After says so: with all its credentials
 * in a row the first time, one after the other then; at once when a credential's file has changed. Owned by the loop thread.
 */
#ifndef CS_WORKER_TOKEN_H
#define CS_WORKER_TOKEN_H

#include <stdint.h>

#include "common/log.h"
#include "common/tenant.h"
#include "common/verdict.h"
#include "worker/http.h"

struct cs_tokens;

/**
 * All borrowed for the life of the object.
 *
 * @param[in] fail_wait_ms  a tenant that fails is not asked again before, unless Retry-After says otherwise; 60,000 in
 *                          production: one request a minute
 * @return 0, -ENOMEM
 */
int cs_tokens_new(struct cs_http *http, const char *login_url, const char *graph_base_url,
                  int64_t fail_wait_ms, struct cs_log *log, struct cs_metrics *metrics,
                  struct cs_tokens **ret);
void cs_tokens_free(struct cs_tokens *t);

/**
 * A token for the tenant.
 *
 * @param[in]  set      the tenant's; held while a request runs
 * @param[out] ret      borrowed until the next step of the loop
 * @param[out] verdict  why not, with how long to wait; written only on -EACCES
 * @return 0; -EAGAIN (on its way: ask again later in the loop); -EACCES (cannot be had now)
 */
int cs_tokens_get(struct cs_tokens *t, struct cs_tenant_set *set, const struct cs_tenant *tenant,
                  int64_t now_ms, const struct cs_secret **ret, struct cs_verdict *verdict);
/** The service refused this token (401): fetch another, unless that has been done since it was handed out. */
void cs_tokens_refused(struct cs_tokens *t, const char *tenant, int64_t sent_mono_ms);

#endif
