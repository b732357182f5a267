/* control.h - the control port: truth, counters, faults, scripts. README.md describes it. */
#ifndef CS_GRAPHSIM_CONTROL_H
#define CS_GRAPHSIM_CONTROL_H

#include "request.h"

/** req->seg etc. hold the whole path; ans->status 200 and an empty body on entry. */
void sim_control_handle(struct sim_request *req, struct sim_answer *ans);
void sim_truth_write(struct sim_mailbox *mb, bool history,
                     struct sim_jw *w); /* truth.c; takes the lock */

#endif
