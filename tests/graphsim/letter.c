/* letter.c - text and people of a message. */
#include "letter.h"

#include <stdio.h>
#include <string.h>

static const char *const words[] = {
    "offer", "meeting", "contract", "delivery", "project", "budget", "schedule", "customer", "invoice", "update",
    "please", "review", "attached", "draft", "tomorrow", "agreed", "price", "order", "team", "question",
    "M\xc3\xbcnchen", "\xd0\xbf\xd1\x80\xd0\xbe\xd0\xb5\xd0\xba\xd1\x82", "\xe4\xbc\x9a\xe8\xad\xb0", "caf\xc3\xa9", "next", "week", "phone", "number", "details", "regards",
};
static const char *const first_names[] = {"Ann", "Bob", "Carla", "Dmitri", "Eva", "Farid", "Grace", "Hiro"};
static const char *const last_names[] = {"Miller", "Novak", "Rossi", "Ivanov", "Tanaka", "Schmidt", "Haddad", "Jensen"};
static const char *const outside[] = {"fabrikam.example", "northwind.example", "litware.example", "proseware.example"};

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

static struct sim_party person(const struct sim_mailbox *mb, uint64_t h, struct sim_letter *l)
{
    const char *first = first_names[h % 8], *last = last_names[(h >> 8) % 8];
    const char *domain = (h >> 16) % 2 ? mb->sim->domain : outside[(h >> 20) % 4];
    char name[64], address[128];
    struct sim_party p;

    snprintf(name, sizeof(name), "%s %s", first, last);
    snprintf(address, sizeof(address), "%s.%s@%s", first, last, domain);
    p.name = pool(l, name);
    p.address = pool(l, address);
    return p;
}

static void script_people(const struct sim_person_ref *p, size_t n, struct sim_party *out, size_t max, size_t *n_out)
{
    *n_out = n < max ? n : max;
    for (size_t i = 0; i < *n_out; i++)
        out[i] = (struct sim_party){p[i].name != NULL ? p[i].name : "", p[i].address != NULL ? p[i].address : ""};
}

void sim_letter_head(const struct sim_mailbox *mb, uint32_t msg, struct sim_letter *l)
{
    const struct sim_msg *m = &mb->mail->msg[msg];
    const struct sim_over *o = m->over;
    uint64_t thread = sim_hash(mb->seed, 0x1000 + m->thread);
    struct sim_party owner = {mb->name, mb->address};
    struct sim_party other;

    l->pool_used = 0;
    l->has_from = true;
    other = person(mb, thread, l);
    l->from = m->outgoing ? owner : other;
    l->to[0] = m->outgoing ? other : owner;
    l->n_to = 1;
    l->n_cc = 0;
    for (uint64_t i = 0; i < (thread >> 40) % 4; i++)
        l->cc[l->n_cc++] = person(mb, sim_hash(thread, i), l);
    snprintf(l->subject, sizeof(l->subject), "%s%s %s %s", m->depth > 0 ? "Re: " : "", words[thread % 30],
             words[(thread >> 8) % 30], words[(thread >> 16) % 30]);
    if (o != NULL) {
        if (o->subject != NULL)
            snprintf(l->subject, sizeof(l->subject), "%s", o->subject);
        if (o->from_address != NULL)
            l->from = (struct sim_party){o->from_name != NULL ? o->from_name : o->from_address, o->from_address};
        if (o->to_set)
            script_people(o->to, o->n_to, l->to, SIM_LETTER_TO, &l->n_to);
        if (o->cc_set)
            script_people(o->cc, o->n_cc, l->cc, SIM_LETTER_CC, &l->n_cc);
    }
    l->sender = l->from;
}

static void sentences(const struct sim_mailbox *mb, const struct sim_msg *m, bool html, struct cs_buf *out)
{
    struct sim_rng rng = {m->seed};
    size_t want = mb->mail->mean_body / 2 + sim_rng_below(&rng, mb->mail->mean_body);
    size_t start = out->len;

    while (out->len - start < want) {
        cs_buf_adds(out, html ? "<p style=\"margin:0\">" : "");
        for (uint64_t i = 6 + sim_rng_below(&rng, 20); i > 0; i--) {
            cs_buf_adds(out, words[sim_rng_below(&rng, 30)]);
            cs_buf_addc(out, ' ');
        }
        cs_buf_adds(out, html ? "</p>\r\n" : "\r\n");
    }
}

static void strip(const char *html, struct cs_buf *out)
{
    bool tag = false;

    for (; *html != '\0'; html++) {
        if (*html == '<')
            tag = true;
        else if (*html == '>')
            tag = false;
        else if (!tag)
            cs_buf_addc(out, *html);
    }
}

void sim_letter_body(const struct sim_mailbox *mb, uint32_t msg, bool html, bool unique, struct cs_buf *out)
{
    const struct sim_msg *m = &mb->mail->msg[msg];

    (void)unique;
    if (m->over != NULL && m->over->html != NULL) {
        if (html)
            cs_buf_adds(out, m->over->html);
        else
            strip(m->over->html, out);
        return;
    }
    if (html)
        cs_buf_adds(out, "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body>\r\n");
    sentences(mb, m, html, out);
    if (html)
        cs_buf_adds(out, "</body></html>");
}

void sim_letter_preview(const struct sim_mailbox *mb, uint32_t msg, struct cs_buf *out)
{
    struct cs_buf text;
    size_t chars = 0, i;

    cs_buf_init(&text, 0);
    sim_letter_body(mb, msg, false, false, &text);
    for (i = 0; i < text.len; i++) {
        if (((unsigned char)text.data[i] & 0xc0) != 0x80 && chars++ == 255)
            break;
    }
    cs_buf_add(out, text.data != NULL ? text.data : "", i);
    cs_buf_clear(&text);
}

void sim_letter_message_id(const struct sim_mailbox *mb, uint32_t msg, struct cs_buf *out)
{
    const struct sim_msg *m = &mb->mail->msg[msg];
    uint64_t h = sim_hash(m->seed, 99);

    if (m->over != NULL && m->over->message_id != NULL) {
        cs_buf_adds(out, m->over->message_id);
        return;
    }
    cs_buf_addf(out, "<%016llX%08llx@%s>", (unsigned long long)h, (unsigned long long)(sim_hash(h, 1) & 0xffffffff),
                m->outgoing ? mb->sim->domain : outside[h % 4]);
}
