/* main.c - builds the mailboxes, starts the servers, waits for the signal to end. */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "auth.h"
#include "conf.h"
#include "faults.h"
#include "http.h"
#include "limits.h"
#include "mail.h"
#include "ops.h"
#include "reqlog.h"
#include "tz.h"
#ifdef SIM_HAS_CALENDAR
#include "calendar.h"
#endif

static const char *const first_names[] = {"ann",   "bob",  "carla", "dmitri", "eva",   "farid",
                                          "grace", "hiro", "ines",  "jonas",  "katja", "liam",
                                          "mei",   "nora", "omar",  "paula"};

static void name_mailbox(struct sim_mailbox *mb, const struct sim_conf *conf)
{
    char text[256];
    size_t n_first = sizeof(first_names) / sizeof(*first_names);
    size_t made_up = mb->index - (mb->index < conf->n_names ? mb->index : conf->n_names);

    if (mb->index < conf->n_names)
        snprintf(text, sizeof(text), "%s", conf->names[mb->index]);
    else if (made_up < n_first)
        snprintf(text, sizeof(text), "%s@%s", first_names[made_up], conf->domain);
    else
        snprintf(text, sizeof(text), "%s%zu@%s", first_names[made_up % n_first],
                 made_up / n_first + 1, conf->domain);
    for (char *p = text; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    mb->address = sim_strdup(text);
    text[strcspn(text, "@")] = '\0';
    text[0] = (char)toupper((unsigned char)text[0]);
    mb->name = sim_strdup(text);
}

static void make_mailboxes(struct sim *sim, const struct sim_conf *conf)
{
    size_t n = conf->mailboxes > conf->n_names ? conf->mailboxes : conf->n_names;

    sim->mailboxes = sim_alloc(n, sizeof(*sim->mailboxes));
    sim->n_mailboxes = n;
    for (size_t i = 0; i < n; i++) {
        struct sim_mailbox *mb = &sim->mailboxes[i];

        mb->sim = sim;
        mb->index = (unsigned)i;
        mb->seed = sim_hash(sim->seed, i + 1);
        mb->calendar_gen = (struct sim_gen){60, 60};
        sim_guid(mb->seed, 0x1d, mb->id);
        name_mailbox(mb, conf);
        pthread_mutex_init(&mb->lock, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        struct sim_mailbox *mb = &sim->mailboxes[i];

        sim_mail_init(mb, conf->mean_body);
        sim_mail_generate(mb, conf->messages, conf->folders);
#ifdef SIM_HAS_CALENDAR
        sim_calendar_init(mb, sim_hash(mb->seed, 0xca1), conf->events);
#endif
    }
}

static void clear_mailboxes(struct sim *sim)
{
    for (size_t i = 0; i < sim->n_mailboxes; i++) {
        struct sim_mailbox *mb = &sim->mailboxes[i];

#ifdef SIM_HAS_CALENDAR
        sim_calendar_clear(mb);
#endif
        sim_mail_clear(mb);
        pthread_mutex_destroy(&mb->lock);
        free(mb->address);
        free(mb->name);
    }
    free(sim->mailboxes);
}

static void print_ready(const struct sim *sim, unsigned port, unsigned control_port)
{
    const struct sim_conf *conf = sim->conf;
    char graph[64], control[64];
    struct cs_buf b;
    struct sim_jw w;

    snprintf(graph, sizeof(graph), "%s://127.0.0.1:%u", conf->tls_cert != NULL ? "https" : "http",
             port);
    snprintf(control, sizeof(control), "http://127.0.0.1:%u", control_port);
    cs_buf_init(&b, 0);
    sim_jw_init(&w, &b, 0);
    sim_jw_open(&w, '{');
    sim_jw_kstr(&w, "graph", graph);
    sim_jw_kstr(&w, "login", graph);
    sim_jw_kstr(&w, "control", control);
    sim_jw_kstr(&w, "base_url", graph);
    sim_jw_kstr(&w, "login_url", graph);
    sim_jw_kstr(&w, "control_url", control);
    sim_jw_kstr(&w, "tenant", conf->tenant);
    sim_jw_kstr(&w, "client_id", conf->client_id);
    sim_jw_key(&w, "mailboxes");
    sim_jw_open(&w, '[');
    for (size_t i = 0; i < sim->n_mailboxes; i++)
        sim_jw_str(&w, sim->mailboxes[i].address);
    sim_jw_close(&w, ']');
    sim_jw_close(&w, '}');
    puts(b.data);
    fflush(stdout);
    cs_buf_clear(&b);
}

static void set_variants(struct sim *sim, const struct sim_conf *conf)
{
    sim->v.partial = conf->partial;
    sim->v.repeat = conf->repeat;
    sim->v.empty_page = conf->empty_page < 100 ? conf->empty_page : 99;
    sim->v.short_page = conf->short_page;
    sim->v.collapse = conf->collapse;
    sim->v.same_link = conf->same_link;
    sim->v.transit_ms = conf->transit_ms;
    sim->v.search_lag_ms = conf->search_lag_ms;
    sim->v.replica_ms = conf->replica_ms;
    sim->v.gone_form = conf->gone_form;
    sim->v.quirks = conf->quirks;
    sim->v.occurrence_delete_silent = conf->occurrence_delete_silent != 0;
}

int main(int argc, char **argv)
{
    struct sim sim;
    struct sim_conf conf;
    struct sim_http *http;
    unsigned port, control_port;
    sigset_t signals;
    int64_t now_s;
    int code = 0, r, got;

    memset(&sim, 0, sizeof(sim));
    r = sim_conf_read(&conf, argc, argv);
    if (r != 0) {
        sim_conf_clear(&conf);
        return r < 0 ? EX_USAGE : 0;
    }
    /* before any thread starts: all of them inherit the mask, and sigwait() below is the only receiver */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    sim.conf = &conf;
    sim.seed = conf.seed;
    sim.key = sim_hash(conf.seed, 0x6b6579);
    sim.domain = conf.domain;
    sim.years = (int)conf.years;
    set_variants(&sim, &conf);
    if (conf.now != NULL) {
        if (sim_time_parse(conf.now, &now_s) < 0) {
            fprintf(stderr, "graphsim: now: not a time: %s\n", conf.now);
            sim_conf_clear(&conf);
            return EX_USAGE;
        }
        sim.clock_offset_ms = now_s * 1000 - sim_now_ms(&sim);
    }
    sim_faults_init(&sim);
    sim_log_init(&sim);
    if (sim_auth_init(&sim) < 0) {
        code = EX_CONFIG;
        goto out;
    }
    make_mailboxes(&sim, &conf);
    sim_limits_init(&sim);
    sim_mutator_start(&sim);
    http = sim_http_start(&sim, &port, &control_port);
    if (http == NULL) {
        code = EX_OSERR;
    } else {
        print_ready(&sim, port, control_port);
        (void)sigwait(&signals, &got); /* cannot fail with a valid set */
        /* requests that only simulate being slow would hold the end up: the process goes as a whole */
        _exit(0);
    }
    sim_mutator_stop(&sim);
out:
    sim_limits_clear(&sim);
    clear_mailboxes(&sim);
    sim_auth_clear(&sim);
    sim_log_clear(&sim);
    sim_faults_clear(&sim);
    sim_conf_clear(&conf);
    return code;
}
