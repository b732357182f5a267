/* letter.c - text and people of a message: content.h and people.h, and what a script said instead. */
#include "letter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "people.h"

#define CC_MAX 5

static const char *pool(struct sim_letter *l, const char *text)
{
    size_t n = strlen(text) + 1;
    char *at = l->text_pool + l->pool_used;

    if (l->pool_used + n > sizeof(l->text_pool))
        return "";
    memcpy(at, text, n);
    l->pool_used += n;
    return at;
}

static uint64_t thread_seed(const struct sim_mailbox *mb, uint32_t thread)
{
    return sim_hash(mb->seed, 0x1000 + (uint64_t)thread);
}

/* The owner's correspondent in a thread: a person, or now and then another mailbox of the service. */
static void correspondent(const struct sim_mailbox *mb, uint64_t thread, struct sim_person *p,
                          uint32_t *number)
{
    const struct sim *sim = mb->sim;

    *number = sim_person_pick(sim_hash(thread, 1));
    if (sim->n_mailboxes > 1 && thread % 8 == 0) {
        const struct sim_mailbox *other =
            &sim->mailboxes[(mb->index + 1 + (thread >> 8) % (sim->n_mailboxes - 1)) %
                            sim->n_mailboxes];

        *number = UINT32_MAX;
        snprintf(p->name, sizeof(p->name), "%s", other->name);
        snprintf(p->address, sizeof(p->address), "%s", other->address);
        return;
    }
    sim_person_get(sim->seed, sim->domain, *number, p);
}

static struct sim_party add_person(struct sim_letter *l, const struct sim_person *p)
{
    struct sim_party party;

    party.name = pool(l, p->name);
    party.address = pool(l, p->address);
    return party;
}

static void script_people(const struct sim_person_ref *p, size_t n, struct sim_party *out,
                          size_t max, size_t *n_out)
{
    *n_out = n < max ? n : max;
    for (size_t i = 0; i < *n_out; i++)
        out[i] = (struct sim_party){p[i].name != NULL ? p[i].name : "",
                                    p[i].address != NULL ? p[i].address : ""};
}

/* Senders of the own organisation sometimes come as directory names instead of addresses. */
static const char *directory_name(struct sim_letter *l, uint64_t h)
{
    char text[200];

    snprintf(text, sizeof(text),
             "/O=EXCHANGELABS/OU=EXCHANGE ADMINISTRATIVE GROUP "
             "(FYDIBOHF23SPDLT)/CN=RECIPIENTS/CN=%016llX",
             (unsigned long long)h);
    return pool(l, text);
}

static void subject_of(const struct sim_msg *m, uint64_t thread, char out[SIM_SUBJECT_MAX])
{
    static const char *const answers[] = {"Accepted: ", "Tentative: ", "Declined: "};
    char text[SIM_SUBJECT_MAX];

    if (m->kind == SIM_MAIL) {
        sim_content_subject(thread, m->seed, m->depth, out);
        return;
    }
    sim_content_meeting(thread, text);
    snprintf(out, SIM_SUBJECT_MAX, "%s%.480s",
             m->kind == SIM_MEETING_RESPONSE    ? answers[m->seed % 3]
             : m->kind == SIM_MEETING_CANCELLED ? "Canceled: "
                                                : "",
             text);
}

void sim_letter_head(const struct sim_mailbox *mb, uint32_t msg, struct sim_letter *l)
{
    const struct sim_msg *m = &mb->mail->msg[msg];
    const struct sim_over *o = m->over;
    uint64_t thread = thread_seed(mb, m->thread);
    struct sim_party owner = {mb->name, mb->address}, other;
    struct sim_person person;
    uint32_t number;

    l->pool_used = 0;
    l->has_from = !(m->is_draft && m->seed % 4 == 0);
    correspondent(mb, thread, &person, &number);
    other = add_person(l, &person);
    l->from = m->outgoing || m->is_draft ? owner : other;
    l->to[0] = m->outgoing || m->is_draft ? other : owner;
    l->n_to = 1;
    l->n_cc = 0;
    /* the rest of the round is the same for a whole thread */
    for (uint64_t i = 0; i < (thread >> 40) % 3; i++) {
        sim_person_get(mb->sim->seed, mb->sim->domain, sim_person_pick(sim_hash(thread, 10 + i)),
                       &person);
        l->to[l->n_to++] = add_person(l, &person);
    }
    for (uint64_t i = 0; i < (thread >> 44) % 16 % (CC_MAX + 1) && (thread >> 52) % 3 == 0; i++) {
        sim_person_get(mb->sim->seed, mb->sim->domain, sim_person_pick(sim_hash(thread, 20 + i)),
                       &person);
        l->cc[l->n_cc++] = add_person(l, &person);
    }
    if (m->is_draft && m->seed % 4 == 1)
        l->n_to = l->n_cc = 0;
    subject_of(m, thread, l->subject);
    l->sender = l->from;
    if (!m->outgoing && number < SIM_PEOPLE_COLLEAGUES && m->seed % 64 == 0)
        l->from.address = l->sender.address = directory_name(l, sim_hash(thread, 3));
    if (o == NULL)
        return;
    if (o->subject != NULL)
        snprintf(l->subject, sizeof(l->subject), "%s", o->subject);
    if (o->from_address != NULL) {
        l->from = (struct sim_party){o->from_name != NULL ? o->from_name : o->from_address,
                                     o->from_address};
        l->sender = l->from;
        l->has_from = true;
    }
    if (o->to_set)
        script_people(o->to, o->n_to, l->to, SIM_LETTER_TO, &l->n_to);
    if (o->cc_set)
        script_people(o->cc, o->n_cc, l->cc, SIM_LETTER_CC, &l->n_cc);
}

/* ---- bodies ------------------------------------------------------------------------------------------ */

/* What content.h wants to know of a message. */
struct story {
    struct sim_content content;
    struct sim_author quote[SIM_CONTENT_QUOTES];
    struct sim_person other;
};

static struct sim_author author_of(const struct sim_mailbox *mb, const struct sim_msg *m,
                                   const struct sim_person *other)
{
    bool own = m->outgoing || m->is_draft;

    return (struct sim_author){m->seed, own ? mb->name : other->name,
                               own ? mb->address : other->address, m->sent_ms};
}

static void tell(const struct sim_mailbox *mb, uint32_t msg, struct story *s)
{
    const struct sim_mail *mail = mb->mail;
    const struct sim_msg *m = &mail->msg[msg];
    uint32_t number;

    memset(&s->content, 0, sizeof(s->content));
    s->content.thread = thread_seed(mb, m->thread);
    correspondent(mb, s->content.thread, &s->other, &number);
    s->content.mean_bytes = mail->mean_body;
    s->content.self = author_of(mb, m, &s->other);
    s->content.to = m->outgoing || m->is_draft ? s->other.name : mb->name;
    s->content.company = !m->outgoing && number >= SIM_PEOPLE_OUTSIDE && number != UINT32_MAX
                             ? sim_person_company(mb->sim->seed, number)
                             : "";
    s->content.quote = s->quote;
    for (uint32_t p = m->parent; p != SIM_NONE && s->content.n_quotes < SIM_CONTENT_QUOTES;
         p = mail->msg[p].parent)
        s->quote[s->content.n_quotes++] = author_of(mb, &mail->msg[p], &s->other);
}

/* Text of scripted HTML; tags away, the few entities that scripts use back. */
static void strip(const char *html, struct cs_buf *out)
{
    static const struct {
        const char *name;
        char c;
    } entities[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&nbsp;", ' '}, {"&quot;", '"'}};
    bool tag = false;

    for (; *html != '\0'; html++) {
        size_t i = 0, n = sizeof(entities) / sizeof(*entities);

        if (*html == '<') {
            tag = true;
        } else if (*html == '>' && tag) {
            tag = false;
        } else if (!tag) {
            while (i < n && strncmp(html, entities[i].name, strlen(entities[i].name)) != 0)
                i++;
            cs_buf_addc(out, i < n ? entities[i].c : *html);
            if (i < n)
                html += strlen(entities[i].name) - 1;
        }
    }
}

void sim_letter_body(const struct sim_mailbox *mb, uint32_t msg, bool html, bool unique,
                     struct cs_buf *out)
{
    const struct sim_over *o = mb->mail->msg[msg].over;
    struct story s;

    if (o != NULL && o->html != NULL) {
        if (html || o->html_is_text)
            cs_buf_adds(out, o->html);
        else
            strip(o->html, out);
        return;
    }
    tell(mb, msg, &s);
    sim_content_body(&s.content, html, unique, out);
}

void sim_letter_preview(const struct sim_mailbox *mb, uint32_t msg, struct cs_buf *out)
{
    const struct sim_over *o = mb->mail->msg[msg].over;
    struct cs_buf text;
    struct story s;
    size_t chars = 0, i;

    if (o == NULL || o->html == NULL) {
        tell(mb, msg, &s);
        sim_content_preview(&s.content, out);
        return;
    }
    cs_buf_init(&text, 0);
    sim_letter_body(mb, msg, false, false, &text);
    for (i = 0; i < text.len; i++) {
        if (((unsigned char)text.data[i] & 0xc0) != 0x80 && chars++ == 255)
            break;
    }
    if (text.len > 0)
        cs_buf_add(out, text.data, i);
    cs_buf_clear(&text);
}

void sim_letter_message_id(const struct sim_mailbox *mb, uint32_t msg, struct cs_buf *out)
{
    const struct sim_msg *m = &mb->mail->msg[msg];
    uint64_t h = sim_hash(m->seed, 99);
    struct sim_person other;
    uint32_t number;
    const char *at;

    if (m->over != NULL && m->over->message_id != NULL) {
        cs_buf_adds(out, m->over->message_id);
        return;
    }
    correspondent(mb, thread_seed(mb, m->thread), &other, &number);
    at = m->outgoing || m->is_draft ? NULL : strrchr(other.address, '@');
    /* Exchange's own form and others' */
    if (h % 3 == 0 || at == NULL)
        cs_buf_addf(out, "<AM0PR%02uMB%016llX@AM0PR%02uMB%04u.eurprd.prod.outlook.example>",
                    (unsigned)(h >> 8) % 100, (unsigned long long)h, (unsigned)(h >> 8) % 100,
                    (unsigned)(h >> 16) % 10000);
    else
        cs_buf_addf(out, "<%016llx.%u%s%s>", (unsigned long long)h, (unsigned)(h >> 20) % 100000,
                    h % 7 == 0 ? "+x/y=" : "", at);
}
