/* ops.h - scripted changes of a mailbox, and the random ones of the live mutator. */
#ifndef CS_GRAPHSIM_OPS_H
#define CS_GRAPHSIM_OPS_H

#include "sim.h"

/**
 * Carries out one operation of POST /mailboxes/{u}/ops: a JSON object with "op". The mailbox is locked by
 * the caller. Writes members into the open object: id, changeKey and so on, or "error".
 */
void sim_op(struct sim_mailbox *mb, const void *json_object, struct sim_jw *w);

/* ---- mutator.c --------------------------------------------------------------------------------------- */

void sim_mutator_start(struct sim *sim); /* the thread; idle at rate 0 */
void sim_mutator_stop(struct sim *sim);
/** Control: {"rate":R,"weights":{...},"until_count":N,"mailboxes":[...]}. @return NULL or a static text */
const char *sim_mutator_set(struct sim *sim, const void *json_object);
void sim_mutator_write(struct sim *sim, struct sim_jw *w); /* an object: rate, done, by kind */

#endif
