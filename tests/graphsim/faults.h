/* faults.h - rules that make answers fail, and the log of requests. Thread-safe. */
#ifndef CS_GRAPHSIM_FAULTS_H
#define CS_GRAPHSIM_FAULTS_H

#include "sim.h"

enum sim_retry_after { SIM_RETRY_NONE, SIM_RETRY_SECONDS, SIM_RETRY_DATE };
enum sim_fault_body { SIM_BODY_JSON, SIM_BODY_EMPTY, SIM_BODY_HTML };

/* What a rule does. A copy: valid without the rule. */
struct sim_action {
    int status;      /* 0: the request is served as usual, and mangled by what follows */
    unsigned aadsts; /* of the token endpoint; 0: none */
    char code[80], message[240];
    enum sim_retry_after retry;
    int64_t retry_s;
    enum sim_fault_body body;
    int64_t reset_at;    /* bytes of the body, then the connection is reset; -1: never */
    int64_t truncate_at; /* the body ends here, in a complete answer; -1: never */
    int64_t delay_ms;
    bool gzip_corrupt, drop;
    bool served;        /* the request is carried out, and then answered with status all the same */
    char redirect[512]; /* "": none */
    char www_authenticate[240];
};

void sim_faults_init(struct sim *sim);
void sim_faults_clear(struct sim *sim);
/**
 * The first rule that fires for this request, used up by one.
 * @param[in] url      path and query as they came; rules are tried against it as it is and decoded
 * @param[in] mailbox  NULL: none in the path
 */
bool sim_faults_match(struct sim *sim, const char *method, const char *url,
                      const struct sim_mailbox *mailbox, struct sim_action *ret);
/** Makes the answer of an action with a status, an AADSTS number or a redirect. */
void sim_action_answer(const struct sim_action *a, struct sim_mailbox *mb, struct sim_answer *ans);

/** Control: adds the rules of a JSON array. @return how many, or -EINVAL with a static text in *why */
int sim_faults_add(struct sim *sim, const void *json_array, const char **why);
void sim_faults_drop_all(struct sim *sim);
void sim_faults_write(struct sim *sim,
                      struct sim_jw *w); /* an array: what is left, how often each fired */

#endif
