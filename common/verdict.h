/* verdict.h - what an attempt at a job came to. PURE.
 *
 * One vocabulary for code, metrics, logs and topics. A call returns 0 or a negative errno; an attempt
 * at a job, or at one part of it, ends in an outcome. Every error of Graph, of the token endpoint and
 * of the network becomes a verdict in exactly one function here, which has a table test.
 */
#ifndef CS_COMMON_VERDICT_H
#define CS_COMMON_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cs_outcome {
    CS_DONE = 0, /* record it and move on */
    CS_MORE,     /* the part that fits is done; the cursor says where to go on */
    CS_RETRY,    /* the same again, not before retry_after_ms */
    CS_RESYNC,   /* the cursor is dead: enumerate again */
    CS_REJECT,   /* can never succeed as it is: dead-letter it */
    CS_FATAL,    /* this process must stop; another takes over. Never on a topic */
};

/* Stable error codes of ours. Their text form is what topics, logs and metrics carry. */
enum cs_code {
    CS_CODE_NONE = 0,
    CS_CODE_THROTTLED,           /* "throttled": 429, 509 */
    CS_CODE_SERVICE_UNAVAILABLE, /* "service_unavailable": 5xx, 408 */
    CS_CODE_NETWORK,             /* "network": no connection, reset, cut off, timeout */
    CS_CODE_TLS,                 /* "tls": certificate or handshake refused */
    CS_CODE_BAD_ANSWER,          /* "bad_answer": not the JSON that the call promises */
    CS_CODE_BAD_REQUEST,         /* "bad_request": 400 and other 4xx: our mistake */
    CS_CODE_TOKEN_REFUSED,       /* "token_refused": 401 even with a fresh token */
    CS_CODE_MAILBOX_DENIED,      /* "mailbox_denied": 403 */
    CS_CODE_MAILBOX_MISSING,     /* "mailbox_missing": 404 of the mailbox's kind */
    CS_CODE_FOLDER_GONE,         /* "folder_gone": 404 of a folder or calendar */
    CS_CODE_ITEM_GONE,           /* "item_gone": 404 of an item */
    CS_CODE_CURSOR_DEAD,         /* "cursor_dead": 410 and its spellings */
    CS_CODE_CURSOR_REFUSED,      /* "cursor_refused": names another host, mailbox or scheme */
    CS_CODE_PAGE_TOO_LARGE,      /* "page_too_large": 504 or a byte bound; ask for fewer */
    CS_CODE_CREDENTIALS_REFUSED, /* "credentials_refused": secret or certificate wrong or expired */
    CS_CODE_TENANT_REFUSED,    /* "tenant_refused": app not there, disabled, blocked, wrong cloud */
    CS_CODE_TOKEN_UNAVAILABLE, /* "token_unavailable": token endpoint busy or broken */
    CS_CODE_TENANT_UNKNOWN,    /* "tenant_unknown": not in this process's configuration */
    CS_CODE_JOB_INVALID,       /* "job_invalid": message of the wrong shape */
    CS_CODE_WRONG_PARTITION,   /* "wrong_partition" */
    CS_CODE_EXPIRED,           /* "expired": past its not_after */
    CS_CODE_INTERNAL,          /* "internal": no memory, or a bug that was caught */
    CS_CODE_COUNT_
};

/* Whom it concerns: decides what is parked. */
enum cs_scope {
    CS_SCOPE_ITEM,
    CS_SCOPE_STREAM,
    CS_SCOPE_MAILBOX,
    CS_SCOPE_TENANT,
    CS_SCOPE_SERVICE
};

#define CS_GRAPH_CODE_MAX 64
#define CS_REQUEST_ID_MAX 64

struct cs_verdict {
    enum cs_outcome outcome;
    enum cs_code code;
    enum cs_scope scope;
    int64_t retry_after_ms; /* as the service asked; -1: it did not */
    int http_status;        /* 0: no answer */
    bool fresh_token;       /* 401: renew the token and try once more before believing it */
    char service_code
        [CS_GRAPH_CODE_MAX]; /* Graph's or Entra's own, "" if none; [A-Za-z0-9_.-] only */
    char request_id[CS_REQUEST_ID_MAX]; /* Graph's request-id, "" if none */
};

/* What was asked for: the same status means different things. */
enum cs_asked {
    CS_ASKED_MAILBOX, /* the folder tree, a list over the mailbox, calendars */
    CS_ASKED_FOLDER,  /* a folder's or calendar's listing without a cursor */
    CS_ASKED_CURSOR,  /* a delta or next link */
    CS_ASKED_ITEM,    /* one item by id */
    CS_ASKED_BATCH,   /* the $batch itself */
};

/* How the transport failed, as http.c reports it. */
enum cs_net {
    CS_NET_OK = 0,
    CS_NET_CONNECT, /* refused, no route, name not found */
    CS_NET_TLS,
    CS_NET_RESET, /* reset or cut off */
    CS_NET_TIMEOUT,
    CS_NET_TOO_LARGE, /* more bytes than the bound */
    CS_NET_ENCODING,  /* gzip broken */
    CS_NET_CANCELLED,
};

/**
 * Graph's answer to a verdict.
 *
 * "Gone" is believed only with Graph's own code for it (ErrorItemNotFound and its like): then CS_REJECT
 * with CS_CODE_FOLDER_GONE or CS_CODE_ITEM_GONE, since the same request can never succeed; what follows
 * (the stream ends, a second look) is the caller's decision by the code. A 404 of unknown origin, a
 * gateway's say, is a retry, so that no deletion is ever made of it. A 2xx is CS_DONE.
 *
 * scope follows what was asked (item, stream, mailbox; a batch counts as its mailbox), except where the
 * code itself says that it is the mailbox's affair.
 *
 * @param[in] code        most detailed error code of the body ("" or NULL: none), compared without case
 * @param[in] retry_after Retry-After as sent (seconds or HTTP date, RFC 9110 10.2.3), NULL: none
 * @param[in] utc_ms      now, for the date form
 */
void cs_verdict_of_graph(int http_status, const char *code, const char *retry_after,
                         enum cs_asked asked, int64_t utc_ms, struct cs_verdict *ret);
/** A request that got no whole answer. Cancelled by us: CS_RETRY without a code; CS_NET_OK: CS_DONE. */
void cs_verdict_of_net(enum cs_net net, struct cs_verdict *ret);
/**
 * The token endpoint's refusal: OAuth error name ("" or NULL: none) and the AADSTS numbers. Always
 * CS_RETRY at the tenant's scope: the code says whether a person must act.
 */
void cs_verdict_of_token(int http_status, const char *error, const int64_t *aadsts, size_t n,
                         const char *retry_after, int64_t utc_ms, struct cs_verdict *ret);
/** Retry-After to milliseconds from now: -1 if absent or unreadable; never above 24 h, never below 0. */
int64_t cs_retry_after_ms(const char *value, int64_t utc_ms);

const char *
cs_outcome_name(enum cs_outcome o); /* "done", "more", "retry", "resync", "reject", "fatal" */
int cs_outcome_parse(const char *s, enum cs_outcome *ret); /* 0, -EINVAL; never yields CS_FATAL */
const char *cs_code_name(enum cs_code c);
int cs_code_parse(const char *s,
                  enum cs_code *ret);       /* unknown names: CS_CODE_INTERNAL and -EINVAL */
const char *cs_scope_name(enum cs_scope s); /* "item", "stream", "mailbox", "tenant", "service" */
int cs_scope_parse(const char *s, enum cs_scope *ret); /* 0, -EINVAL */

#endif
