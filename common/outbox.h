/* outbox.h - what a CRM asks to be sent. PURE.
 *
 * Topic outbox.v1, key tenant/mailbox (the mailbox that sends), schema schemas/outbox.v1.schema.json. Whoever may
 * write to that topic may send as every mailbox of every tenant that has sending switched on: its ACL is the right.
 *
 * A request is read twice: by the producer, who wants its id only, and by the worker who carries it out. What is of
 * the wrong shape is no request (dead letter); what has the right shape and cannot be sent is refused with a reason
 * that its writer reads in records.v1.
 */
#ifndef CS_COMMON_OUTBOX_H
#define CS_COMMON_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/json.h"

#define CS_REQUEST_ID_LEN   64      /* [A-Za-z0-9._-] */
#define CS_OUTBOX_MAX       1500000 /* bytes of a request */
#define CS_RECIPIENTS_MAX   500     /* Exchange Online, per message, all roles together */
#define CS_OUTBOX_FILES_MAX 50
#define CS_OUTBOX_FILE_MAX \
    157286400 /* bytes: Microsoft Graph, attach large files to Outlook messages */
#define CS_OUTBOX_URL_MAX 4096
#define CS_OUTBOX_DAYS    7 /* a request is forgotten after it; its id may then be used again */

struct cs_outbox_person {
    char *address;
    char *name; /* NULL: none */
};

struct cs_outbox_people {
    struct cs_outbox_person *at;
    size_t n;
};

struct cs_outbox_file {
    char *name;
    char *content_type; /* NULL: not said */
    char *content_id;   /* NULL: none */
    bool is_inline;
    char *content; /* base64; or NULL, and */
    char *url;     /* where the worker fetches it, with ranges (RFC 9110 14) */
    int64_t size;  /* of what is at url, bytes */
};

enum cs_answers { CS_ANSWERS_NOTHING, CS_ANSWERS_REPLY, CS_ANSWERS_REPLY_ALL, CS_ANSWERS_FORWARD };

struct cs_outbox {
    char request_id[CS_REQUEST_ID_LEN + 1];
    struct cs_outbox_people to, cc, bcc, reply_to;
    char *subject; /* NULL: none given; a reply then has the original's */
    char *body;    /* NULL: none */
    bool body_is_html;
    struct cs_outbox_file *files;
    size_t n_files;
    enum cs_answers answers;
    char *answered_id;        /* Graph id of the mail that is answered or forwarded */
    int64_t not_after_utc_ms; /* CS_NEVER: none */
};

bool cs_request_id_ok(const char *s);
/**
 * Reads a request from its JSON value.
 * @param[out] reason  static text: what is wrong
 * @return 0; -EINVAL (not of the shape of a request); -ENOMEM
 */
int cs_outbox_parse(cs_json_val v, struct cs_outbox *ret, const char **reason);
void cs_outbox_clear(struct cs_outbox *o);
/**
 * Why a request can never be sent: "no_recipient", "too_many_recipients", "bad_address", "bad_attachment", "expired";
 * NULL: it can. Graph is not asked for any of these.
 */
const char *cs_outbox_refusal(const struct cs_outbox *o, int64_t utc_ms);
/**
 * The message as Graph takes it (POST /messages, or "message" of createReply and its kin), with a single-value
 * extended property as its mark.
 */
void cs_outbox_message(const struct cs_outbox *o, const char *mark_id, const char *mark_value,
                       struct cs_buf *out);

#endif
