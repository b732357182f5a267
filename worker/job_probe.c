/* job_probe.c - can this mailbox be read at all, and may it be? One small request each for mail and calendar. */
#include "worker/job_priv.h"

static void on_probe(struct cs_job_run *run, struct cs_call *call, struct cs_reply *reply)
{
    (void)call;
    if (!reply->ok)
        cs_run_fail(run, &reply->verdict);
}

static enum cs_step ask(struct cs_job_run *run)
{
    (void)cs_run_call(run, cs_run_path(run, "/mailFolders/inbox?$select=id"), CS_ASKED_MAILBOX,
                      on_probe, 0);
    (void)cs_run_call(run, cs_run_path(run, "/calendar?$select=id"), CS_ASKED_MAILBOX, on_probe, 1);
    return CS_STEP_NEXT;
}

const struct cs_job_step cs_job_probe_steps[] = {
    {"ask", ask},
    {NULL, NULL},
};
