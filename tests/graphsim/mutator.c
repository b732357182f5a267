/* mutator.c - mailboxes that live: changes by chance, at a rate. */
#include "ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/json.h"
#include "conf.h"
#include "mail.h"
#ifdef SIM_HAS_CALENDAR
#include "calendar.h"
#endif

enum kind {
    M_ARRIVE,
    M_READ,
    M_FLAG,
    M_MOVE,
    M_TRASH,
    M_THERE_AND_BACK,
    M_DELETE,
    M_FOLDER,
    M_EVENT,
    M_EVICT,
    M_KINDS
};

static const char *const kind_names[M_KINDS] = {"arrive", "read",           "flag",   "move",
                                                "trash",  "there_and_back", "delete", "folder",
                                                "event",  "evict"};
/* evict 0: a test says when it wants its tokens to die */
static const unsigned default_weights[M_KINDS] = {30, 25, 5, 15, 5, 3, 5, 1, 10, 0};

struct sim_mutator {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct sim *sim;
    struct sim_rng rng;
    bool ends, busy;
    double rate;
    int64_t left; /* -1: no end */
    unsigned weight[M_KINDS];
    bool *chosen; /* per mailbox */
    uint64_t done, by_kind[M_KINDS];
    struct timespec due;
};

static uint32_t pick_msg(struct sim_mailbox *mb, struct sim_rng *rng)
{
    const struct sim_mail *mail = mb->mail;

    if (mail->n_all == 0)
        return SIM_NONE;
    /* half of what happens, happens to new mail */
    if (sim_rng_below(rng, 2) == 0) {
        size_t span = mail->n_all < 30 ? mail->n_all : 30;

        return mail->all[mail->n_all - 1 - (size_t)sim_rng_below(rng, span)];
    }
    return mail->all[sim_rng_below(rng, mail->n_all)];
}

static uint32_t pick_folder(struct sim_mailbox *mb, struct sim_rng *rng, uint32_t not_this)
{
    for (int tries = 0; tries < 50; tries++) {
        uint32_t f = (uint32_t)sim_rng_below(rng, mb->mail->n_folder);
        const struct sim_folder *folder = &mb->mail->folder[f];

        if (f != SIM_F_ROOT && f != not_this && !folder->gone && !folder->search &&
            !folder->hidden && f != SIM_F_DRAFTS && f != SIM_F_OUTBOX && folder->parent != SIM_NONE)
            return f;
    }
    return not_this == SIM_F_INBOX ? SIM_F_ARCHIVE : SIM_F_INBOX;
}

static bool change_folder(struct sim_mailbox *mb, struct sim_rng *rng)
{
    struct sim_mail *mail = mb->mail;
    uint64_t roll = sim_rng_below(rng, 10);
    uint32_t f = SIM_NONE;
    char name[64];

    for (int tries = 0; tries < 20 && f == SIM_NONE && mail->n_folder > SIM_F_USER; tries++) {
        uint32_t g = SIM_F_USER + (uint32_t)sim_rng_below(rng, mail->n_folder - SIM_F_USER);

        if (!mail->folder[g].gone)
            f = g;
    }
    snprintf(name, sizeof(name), "Folder %u", (unsigned)sim_rng_below(rng, 100000));
    if (f == SIM_NONE || roll < 4)
        sim_folder_add(mb, f != SIM_NONE && roll < 2 ? f : SIM_F_ROOT, name, false);
    else if (roll < 7)
        sim_folder_rename(mb, f, name);
    else if (roll < 9)
        return sim_folder_move(mb, f, pick_folder(mb, rng, f)) == 0;
    else
        sim_folder_remove(mb, f);
    return true;
}

static bool change_event(struct sim_mailbox *mb, struct sim_rng *rng)
{
#ifdef SIM_HAS_CALENDAR
    return sim_calendar_mutate(mb, rng) != NULL;
#else
    (void)mb;
    (void)rng;
    return false;
#endif
}

/* @return false: there was nothing to do it with */
static bool change(struct sim_mailbox *mb, enum kind kind, struct sim_rng *rng)
{
    uint32_t msg = pick_msg(mb, rng), home;
    struct sim_msg m;

    if (kind != M_ARRIVE && kind != M_FOLDER && kind != M_EVENT && kind != M_EVICT &&
        msg == SIM_NONE)
        return false;
    switch (kind) {
    case M_ARRIVE:
        m = sim_mail_invent(mb, rng, sim_now_ms(mb->sim));
        sim_mail_add(mb, &m);
        return true;
    case M_READ: sim_mail_set_read(mb, msg, !mb->mail->msg[msg].is_read); return true;
    case M_FLAG:
        mb->mail->msg[msg].flagged = (uint8_t)((mb->mail->msg[msg].flagged + 1) % 3);
        sim_mail_touch(mb, msg, SIM_BIT(SIM_P_FLAG));
        return true;
    case M_MOVE:
        sim_mail_move(mb, msg, pick_folder(mb, rng, mb->mail->msg[msg].folder));
        return true;
    case M_TRASH:
        if (mb->mail->msg[msg].folder == SIM_F_DELETED)
            return false;
        sim_mail_move(mb, msg, SIM_F_DELETED);
        return true;
    case M_THERE_AND_BACK:
        home = mb->mail->msg[msg].folder;
        sim_mail_move(mb, msg, pick_folder(mb, rng, home));
        sim_mail_move(mb, msg, home);
        return true;
    case M_DELETE: sim_mail_remove(mb, msg); return true;
    case M_FOLDER: return change_folder(mb, rng);
    case M_EVENT: return change_event(mb, rng);
    default:
        sim_delta_evict(&mb->mail->folder[sim_rng_below(rng, mb->mail->n_folder)].gen);
        return true;
    }
}

static enum kind pick_kind(const struct sim_mutator *mu, struct sim_rng *rng)
{
    uint64_t sum = 0, roll;

    for (int k = 0; k < M_KINDS; k++)
        sum += mu->weight[k];
    roll = sim_rng_below(rng, sum);
    for (int k = 0; k < M_KINDS; k++) {
        if (roll < mu->weight[k])
            return (enum kind)k;
        roll -= mu->weight[k];
    }
    return M_ARRIVE;
}

static void add_s(struct timespec *t, double s)
{
    int64_t ns = t->tv_nsec + (int64_t)(s * 1e9);

    t->tv_sec += ns / 1000000000;
    t->tv_nsec = ns % 1000000000;
}

/* One change; the lock is held, and let go of while the mailbox changes. */
static void step(struct sim_mutator *mu)
{
    struct sim *sim = mu->sim;
    size_t at = (size_t)sim_rng_below(&mu->rng, sim->n_mailboxes);
    enum kind kind = pick_kind(mu, &mu->rng);
    struct sim_mailbox *mb;
    bool ok;

    while (mu->chosen != NULL && !mu->chosen[at])
        at = (at + 1) % sim->n_mailboxes;
    mb = &sim->mailboxes[at];
    mu->busy = true;
    pthread_mutex_unlock(&mu->lock);
    pthread_mutex_lock(&mb->lock);
    ok = change(mb, kind, &mu->rng);
    pthread_mutex_unlock(&mb->lock);
    pthread_mutex_lock(&mu->lock);
    mu->busy = false;
    if (ok) {
        mu->done++;
        mu->by_kind[kind]++;
        if (mu->left > 0)
            mu->left--;
    }
    pthread_cond_broadcast(&mu->wake);
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static void *run(void *user)
{
    struct sim_mutator *mu = user;
    struct timespec now;

    pthread_mutex_lock(&mu->lock);
    while (!mu->ends) {
        if (!(mu->rate > 0) || mu->left == 0) {
            pthread_cond_wait(&mu->wake, &mu->lock);
            continue;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (is_later(&mu->due, &now)) {
            (void)pthread_cond_timedwait(&mu->wake, &mu->lock,
                                         &mu->due); /* woken or due: the loop looks */
            continue;
        }
        step(mu);
        add_s(&mu->due, 1 / mu->rate);
    }
    pthread_mutex_unlock(&mu->lock);
    return NULL;
}

void sim_mutator_start(struct sim *sim)
{
    struct sim_mutator *mu = sim_alloc(1, sizeof(*mu));
    pthread_condattr_t attr;

    sim->mutator = mu;
    mu->sim = sim;
    mu->rng.s = sim_hash(sim->seed, 0x77);
    mu->left = -1;
    mu->rate = sim->conf->rate;
    memcpy(mu->weight, default_weights, sizeof(mu->weight));
    pthread_mutex_init(&mu->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&mu->wake, &attr);
    pthread_condattr_destroy(&attr);
    clock_gettime(CLOCK_MONOTONIC, &mu->due);
    if (pthread_create(&mu->thread, NULL, run, mu) != 0) {
        fputs("graphsim: no thread\n", stderr);
        abort();
    }
}

void sim_mutator_stop(struct sim *sim)
{
    struct sim_mutator *mu = sim->mutator;

    if (mu == NULL)
        return;
    pthread_mutex_lock(&mu->lock);
    mu->ends = true;
    pthread_cond_broadcast(&mu->wake);
    pthread_mutex_unlock(&mu->lock);
    pthread_join(mu->thread, NULL);
    pthread_cond_destroy(&mu->wake);
    pthread_mutex_destroy(&mu->lock);
    free(mu->chosen);
    free(mu);
    sim->mutator = NULL;
}

static double number(cs_json_val obj, const char *name, double other)
{
    struct cs_buf b;
    double v = other;

    if (cs_json_get(obj, name) == NULL)
        return other;
    cs_buf_init(&b, 0);
    if (cs_json_print(cs_json_get(obj, name), &b) == 0)
        v = strtod(b.data, NULL);
    cs_buf_clear(&b);
    return v;
}

static const char *read_weights(cs_json_val v, unsigned weight[M_KINDS])
{
    size_t i = 0;
    const char *name;
    cs_json_val value;
    uint64_t sum = 0;

    memset(weight, 0, sizeof(unsigned) * M_KINDS);
    while (cs_json_next(v, &i, &name, &value)) {
        int k = 0;
        int64_t n;

        while (k < M_KINDS && strcmp(kind_names[k], name) != 0)
            k++;
        if (k == M_KINDS)
            return "unknown kind in weights";
        if (cs_json_i64(v, name, 0, 1000000, &n) < 0)
            return "a weight is an integer";
        weight[k] = (unsigned)n;
        sum += weight[k];
    }
    return sum > 0 ? NULL : "all weights are 0";
}

/* Which mailboxes it works on; NULL: all. */
static const char *read_chosen(struct sim *sim, cs_json_val list, bool **ret)
{
    size_t n = cs_json_len(list);

    *ret = NULL;
    if (n == 0)
        return NULL;
    *ret = sim_alloc(sim->n_mailboxes, sizeof(**ret));
    for (size_t i = 0; i < n; i++) {
        const char *name;
        struct sim_mailbox *mb = cs_json_val_str(cs_json_at(list, i), 200, &name) == 0
                                     ? sim_find_mailbox(sim, name)
                                     : NULL;

        if (mb == NULL) {
            free(*ret);
            *ret = NULL;
            return "no such mailbox";
        }
        (*ret)[mb->index] = true;
    }
    return NULL;
}

const char *sim_mutator_set(struct sim *sim, const void *json_object)
{
    struct sim_mutator *mu = sim->mutator;
    cs_json_val v = json_object;
    unsigned weight[M_KINDS];
    bool *chosen = NULL;
    const char *why = NULL;
    int64_t left = -1;
    double rate = number(v, "rate", -1);

    memcpy(weight, default_weights, sizeof(weight));
    if (!(rate >= 0 && rate <= 100000))
        return "rate is changes per second, 0 to 100000";
    if (cs_json_get(v, "weights") != NULL)
        why = read_weights(cs_json_get(v, "weights"), weight);
    if (why == NULL)
        why = read_chosen(sim, cs_json_get(v, "mailboxes"), &chosen);
    if (why != NULL)
        return why;
    (void)cs_json_i64(v, "until_count", 0, INT64_MAX, &left); /* absent: no end */
    pthread_mutex_lock(&mu->lock);
    mu->rate = rate;
    mu->left = left;
    memcpy(mu->weight, weight, sizeof(weight));
    free(mu->chosen);
    mu->chosen = chosen;
    clock_gettime(CLOCK_MONOTONIC, &mu->due);
    pthread_cond_broadcast(&mu->wake);
    while (mu->busy) /* when this returns at rate 0, nothing changes any more */
        pthread_cond_wait(&mu->wake, &mu->lock);
    pthread_mutex_unlock(&mu->lock);
    return NULL;
}

void sim_mutator_write(struct sim *sim, struct sim_jw *w)
{
    struct sim_mutator *mu = sim->mutator;

    pthread_mutex_lock(&mu->lock);
    sim_jw_open(w, '{');
    cs_buf_addf(w->b, "\"rate\":%g", mu->rate);
    w->comma = true;
    sim_jw_kint(w, "done", (int64_t)mu->done);
    sim_jw_kint(w, "left", mu->left);
    sim_jw_kbool(w, "idle", !(mu->rate > 0) || mu->left == 0);
    sim_jw_key(w, "by_kind");
    sim_jw_open(w, '{');
    for (int k = 0; k < M_KINDS; k++)
        sim_jw_kint(w, kind_names[k], (int64_t)mu->by_kind[k]);
    sim_jw_close(w, '}');
    sim_jw_close(w, '}');
    pthread_mutex_unlock(&mu->lock);
}
