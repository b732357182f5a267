/* mail_gen.c - the mail that a mailbox holds when the service begins, and what may come in later. */
#include "mail.h"

#include <stdio.h>

#define DAY_MS INT64_C(86400000)

static const char *const folder_names[] = {"Customers", "Projects",  "Fabrikam",   "Northwind",
                                           "Litware",   "2024",      "2025",       "Invoices",
                                           "Offers",    "Support",   "Newsletter", "Travel",
                                           "To do",     "Reference", "Proseware",  "Legal"};

static void make_folders(struct sim_mailbox *mb, unsigned n)
{
    struct sim_rng rng = {sim_hash(mb->seed, 20)};

    for (unsigned i = 0; i < n; i++) {
        uint32_t parent = SIM_F_INBOX;
        char name[64];
        uint64_t pick = sim_rng_below(&rng, 10);

        /* half at the top, a third below another one of the user's, so that the tree has depth */
        if (pick < 4)
            parent = SIM_F_ROOT;
        else if (pick < 8 && mb->mail->n_folder > SIM_F_USER)
            parent = SIM_F_USER + (uint32_t)sim_rng_below(&rng, mb->mail->n_folder - SIM_F_USER);
        if (i < 16)
            snprintf(name, sizeof(name), "%s", folder_names[i]);
        else
            snprintf(name, sizeof(name), "%s %u", folder_names[i % 16], i / 16 + 1);
        sim_folder_add(mb, parent, name, false);
    }
}

static uint32_t pick_folder(const struct sim_mailbox *mb, struct sim_rng *rng, bool outgoing)
{
    uint64_t users = mb->mail->n_folder - SIM_F_USER;
    uint64_t roll = sim_rng_below(rng, 100);

    if (outgoing)
        return roll < 96 ? SIM_F_SENT : roll < 98 ? SIM_F_DRAFTS : SIM_F_DELETED;
    if (roll < 45 || (users == 0 && roll < 80))
        return SIM_F_INBOX;
    if (roll < 80)
        return SIM_F_USER +
               (uint32_t)(sim_rng_below(rng, users) * sim_rng_below(rng, users) / users);
    if (roll < 88)
        return SIM_F_DELETED;
    return roll < 95 ? SIM_F_ARCHIVE : roll < 98 ? SIM_F_JUNK : SIM_F_CONVERSATIONS;
}

/* The parts that do not depend on where the message lies. */
static struct sim_msg blank(struct sim_mailbox *mb, struct sim_rng *rng, int64_t when_ms)
{
    struct sim_mail *mail = mb->mail;
    struct sim_msg m = {.seed = sim_rng_next(rng), .parent = SIM_NONE};
    uint64_t roll = sim_rng_below(rng, 100);

    m.sent_ms = when_ms / 1000 * 1000;
    m.received_ms = m.sent_ms + 1000 * (int64_t)sim_rng_below(rng, 5);
    m.created_ms = m.modified_ms = m.received_ms;
    m.importance = roll < 4 ? 2 : roll < 5 ? 0 : 1;
    m.flagged = sim_rng_below(rng, 100) < 4 ? 1 : sim_rng_below(rng, 100) < 2 ? 2 : 0;
    m.other = sim_rng_below(rng, 10) < 3;
    m.category = sim_rng_below(rng, 100) < 8 ? (uint8_t)(1 + sim_rng_below(rng, 4)) : 0;
    roll = sim_rng_below(rng, 100);
    m.n_inline = roll < 12 ? (uint8_t)(1 + sim_rng_below(rng, 2)) : 0;
    m.n_attachments = (uint8_t)(m.n_inline + (roll % 5 == 0 ? 1 + sim_rng_below(rng, 3) : 0));
    roll = sim_rng_below(rng, 1000);
    m.kind = roll < 30   ? SIM_MEETING_REQUEST
             : roll < 45 ? SIM_MEETING_RESPONSE
             : roll < 50 ? SIM_MEETING_CANCELLED
                         : SIM_MAIL;
    /* an answer to something recent, or something new */
    if (mail->n_msg > 0 && sim_rng_below(rng, 100) < 55) {
        size_t back = 1 + (size_t)sim_rng_below(rng, mail->n_msg < 60 ? mail->n_msg : 60);
        uint32_t parent = (uint32_t)(mail->n_msg - back);
        const struct sim_msg *p = &mail->msg[parent];

        if (p->depth < 12 && p->received_ms < m.sent_ms) {
            m.parent = parent;
            m.thread = p->thread;
            m.depth = (uint8_t)(p->depth + 1);
            m.outgoing = !p->outgoing;
            m.kind = SIM_MAIL;
            return m;
        }
    }
    m.thread = mail->n_threads++;
    m.outgoing = m.kind == SIM_MAIL && sim_rng_below(rng, 100) < 25;
    return m;
}

struct sim_msg sim_mail_invent(struct sim_mailbox *mb, struct sim_rng *rng, int64_t now_ms)
{
    struct sim_msg m = blank(mb, rng, now_ms - 5000);

    m.folder = m.outgoing ? SIM_F_SENT : SIM_F_INBOX;
    m.is_read = m.outgoing;
    return m;
}

void sim_mail_generate(struct sim_mailbox *mb, unsigned n_messages, unsigned n_folders)
{
    struct sim_rng rng = {sim_hash(mb->seed, 21)};
    /* counted back from midnight: the same seed gives the same mailbox all day, and shifted by days for ever */
    int64_t now = sim_now_ms(mb->sim) / DAY_MS * DAY_MS,
            span = (int64_t)mb->sim->years * 365 * DAY_MS;

    make_folders(mb, n_folders);
    for (unsigned i = 0; i < n_messages; i++) {
        /* evenly over the years, working hours more than nights */
        int64_t when =
            now - span +
            (int64_t)((double)span * ((double)i + sim_rng_unit(&rng)) / (double)n_messages);
        struct sim_msg m;

        if (when % DAY_MS < DAY_MS / 4 && sim_rng_below(&rng, 4) > 0)
            when += DAY_MS / 3;
        if (when > now - 10000)
            when = now - 10000;
        m = blank(mb, &rng, when);
        m.folder = pick_folder(mb, &rng, m.outgoing);
        m.is_draft = m.folder == SIM_F_DRAFTS;
        m.is_read =
            m.outgoing || now - m.received_ms > 14 * DAY_MS || sim_rng_below(&rng, 100) < 70;
        m.moves = m.folder != SIM_F_INBOX && m.folder != SIM_F_SENT;
        sim_mail_put(mb, &m);
    }
    sim_mail_sort(mb);
}
