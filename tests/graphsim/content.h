/* content.h - what mail and invitations say. PURE.
 *
 * Text is made from seeds and never stored: the same arguments give the same bytes. HTML looks like what
 * Outlook and other programs send (inline styles, tables, Office markup, signatures, quoted replies behind a
 * divider); sizes are lognormal. Languages and scripts vary from thread to thread. Text and preview are
 * those of the HTML. Always valid UTF-8, line ends CRLF, no control characters.
 */
#ifndef CS_GRAPHSIM_CONTENT_H
#define CS_GRAPHSIM_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define SIM_SUBJECT_MAX    512 /* bytes with NUL */
#define SIM_CONTENT_QUOTES 12
#define SIM_BODY_MAX       (1U << 20)

/* One letter of a chain, as the text needs it. */
struct sim_author {
    uint64_t seed; /* of its text */
    const char *name;
    const char *address;
    int64_t sent_ms; /* for the quoted head; simulated UTC */
};

struct sim_content {
    uint64_t thread;   /* seed of the conversation: language and subject */
    size_t mean_bytes; /* of the HTML, quotes included */
    struct sim_author self;
    const char *to;      /* display name for the greeting and the quoted heads; may be "" */
    const char *company; /* for the signature; may be "" */
    const struct sim_author
        *quote; /* the letters before, newest first; at most SIM_CONTENT_QUOTES count */
    size_t n_quotes;
};

/** "AW: Angebot 4711": thread's subject with a prefix for depth > 0. May be empty for depth 0. */
void sim_content_subject(uint64_t thread, uint64_t seed, unsigned depth, char out[SIM_SUBJECT_MAX]);
/** Appends the body as HTML or text. unique: without what is quoted. */
void sim_content_body(const struct sim_content *c, bool html, bool unique, struct cs_buf *out);
/** Appends the first 255 characters of the text. */
void sim_content_preview(const struct sim_content *c, struct cs_buf *out);
/** An attachment's file name and media type; inline ones are pictures. */
void sim_content_file(uint64_t seed, bool is_inline, char name[96], const char **content_type,
                      size_t *bytes);
/** One of about eight category names as Outlook's users have them. */
const char *sim_content_category(unsigned n);
/** Subject of a meeting; lang as the text of the same thread. */
void sim_content_meeting(uint64_t thread, char out[SIM_SUBJECT_MAX]);

#endif
