/* conf.h - the command line and the configuration file. */
#ifndef CS_GRAPHSIM_CONF_H
#define CS_GRAPHSIM_CONF_H

#include "sim.h"

#define SIM_SECRETS 8
#define SIM_CERTS   8
#define SIM_NAMES   64

struct sim_secret {
    char *value;
    int64_t expires_ms; /* INT64_MAX: never */
};

struct sim_conf {
    char *listen; /* address of the Graph port; the control port is always on 127.0.0.1 */
    unsigned port, control_port;
    char *tls_cert, *tls_key;
    uint64_t seed;
    unsigned mailboxes, messages, folders, events, years, mean_body;
    char *names[SIM_NAMES]; /* --mailbox, in order; the rest is made up */
    size_t n_names;
    char *tenant, *client_id, *domain, *now;
    struct sim_secret secret[SIM_SECRETS];
    size_t n_secrets;
    char *cert[SIM_CERTS];
    size_t n_certs;
    unsigned token_lifetime_s;
    double rate; /* of the live mutator, changes per second */
    unsigned latency_ms, latency_item_us;
    unsigned limit_concurrency, limit_requests, limit_window_ms, retry_after_s;
    unsigned gzip_level;
    unsigned partial, repeat, empty_page, short_page, collapse, same_link, replica_ms, gone_form,
        transit_ms, search_lag_ms, quirks, occurrence_delete_silent;
};

/**
 * Reads arguments; --config FILE holds the same names, one "name = value" a line, and '#' comments.
 * Problems are written to standard error.
 *
 * @return 0; 1: --help was answered; -EINVAL
 */
int sim_conf_read(struct sim_conf *conf, int argc, char **argv);
/** Adds one secret in the form of --secret. @return 0, -EINVAL */
int sim_conf_secret(struct sim_conf *conf, const char *text);
void sim_conf_clear(struct sim_conf *conf);

#endif
