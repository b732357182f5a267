/* letter.h - what a stored message says: its text and people, generated from its seed or scripted.
 *
 * The same message always says the same; only the store's members (folder, flags, versions) change.
 */
#ifndef CS_GRAPHSIM_LETTER_H
#define CS_GRAPHSIM_LETTER_H

#include "mail.h"

#define SIM_LETTER_TO 12
#define SIM_LETTER_CC 12

struct sim_party {
    const char *name, *address; /* borrowed from the letter or the script; address may be empty */
};

struct sim_letter {
    struct sim_party from, sender;
    struct sim_party to[SIM_LETTER_TO], cc[SIM_LETTER_CC];
    size_t n_to, n_cc;
    bool has_from; /* false on some drafts */
    char subject[512];
    char text_pool[4096]; /* names and addresses */
    size_t pool_used;
};

/** People and subject. Scripts with more than SIM_LETTER_TO recipients: the rest is cut. */
void sim_letter_head(const struct sim_mailbox *mb, uint32_t msg, struct sim_letter *ret);
/** Appends the body. html false: as plain text. unique: without what is quoted. */
void sim_letter_body(const struct sim_mailbox *mb, uint32_t msg, bool html, bool unique,
                     struct cs_buf *out);
/** Appends the first 255 characters of the text. */
void sim_letter_preview(const struct sim_mailbox *mb, uint32_t msg, struct cs_buf *out);
/** Appends "<...>". */
void sim_letter_message_id(const struct sim_mailbox *mb, uint32_t msg, struct cs_buf *out);

#endif
