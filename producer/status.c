#include "producer/status.h"

#include "common/json_write.h"

/* What a person can do about it. Codes that heal by themselves say what is being waited for. */
static const char *const advice[CS_CODE_COUNT_] = {
    [CS_CODE_THROTTLED] = "Nothing to do: the service asked to wait.",
    [CS_CODE_SERVICE_UNAVAILABLE] = "Nothing to do: the service has a fault; it is tried again.",
    [CS_CODE_NETWORK] =
        "If it lasts, check that the workers can reach the service (DNS, proxy, firewall).",
    [CS_CODE_TLS] =
        "Check the certificate authorities of the workers (graph.ca_file) and their clock.",
    [CS_CODE_BAD_ANSWER] =
        "If it lasts, report it with the request id: the service's answer was not understood.",
    [CS_CODE_BAD_REQUEST] = "Report it with the request id: the service refuses a request of ours.",
    [CS_CODE_TOKEN_REFUSED] =
        "Check that the app registration still has its permissions and admin consent.",
    [CS_CODE_MAILBOX_DENIED] =
        ("Add the mailbox to the mail-enabled security group of the app, or remove it "
         "from the configuration. A change can take hours to count."),
    [CS_CODE_MAILBOX_MISSING] =
        ("Check the spelling, and that the mailbox exists and has a licence; else "
         "remove it from the configuration."),
    [CS_CODE_CURSOR_REFUSED] = "Report it: a stored cursor does not belong to its mailbox.",
    [CS_CODE_CREDENTIALS_REFUSED] =
        "Put a valid client secret or certificate in the tenant's credentials.",
    [CS_CODE_TENANT_REFUSED] =
        "Check tenant_id and client_id, and that the app is not disabled or blocked.",
    [CS_CODE_TOKEN_UNAVAILABLE] =
        "Nothing to do: the token service has a fault; it is tried again.",
    [CS_CODE_TENANT_UNKNOWN] =
        "Give the workers the same configuration as the producer and reload them.",
    [CS_CODE_JOB_INVALID] = "Check that producer and workers are of versions that go together.",
    [CS_CODE_WRONG_PARTITION] =
        "Check that nothing else writes to the jobs topic, and the partition counts.",
    [CS_CODE_INTERNAL] = "Report it with the log around this time.",
};
static const char *const no_answer =
    "Check that workers run and have the same configuration: no job was answered for a while.";
static const char *const paused = "Paused by an operator: crmsync-producer resume.";
static const char *const not_configured =
    "The mailbox is not in the configuration any more; its records stay.";
static const char *const app_denied =
    "Every mailbox of this customer is denied: check the permissions and admin consent of the app, "
    "and "
    "that the group it is restricted to is the right one. A change can take hours to count.";
static const char *const unreadable =
    "The state of this mailbox on the state topic cannot be read; see the log for the entry.";

static const char *cause_of(enum cs_scope scope)
{
    switch (scope) {
    case CS_SCOPE_TENANT: return "tenant";
    case CS_SCOPE_SERVICE: return "service";
    case CS_SCOPE_ITEM:
    case CS_SCOPE_STREAM:
    case CS_SCOPE_MAILBOX: break;
    }
    return "mailbox";
}

/* Codes that stay until somebody does something, though nothing is parked for them. */
static bool is_ours(enum cs_code code)
{
    return code == CS_CODE_BAD_REQUEST || code == CS_CODE_CURSOR_REFUSED ||
           code == CS_CODE_JOB_INVALID || code == CS_CODE_WRONG_PARTITION ||
           code == CS_CODE_INTERNAL;
}

/* Has nothing been answered for longer than the slowest schedule would explain? */
static bool is_late(const struct cs_mailbox *m, const struct cs_schedule_conf *c, int64_t now_ms)
{
    int64_t since = m->last_success_ms != CS_TIME_NONE ? m->last_success_ms : m->first_seen_ms;

    return since != CS_TIME_NONE && now_ms - since > 3 * c->poll_max_ms;
}

void cs_status_of(const struct cs_mailbox *m, const struct cs_schedule_conf *c,
                  enum cs_code tenant_code, int64_t now_ms, struct cs_status *ret)
{
    enum cs_code parked = m->parked != CS_CODE_NONE ? m->parked : tenant_code;
    bool late = is_late(m, c, now_ms);

    *ret = (struct cs_status){.state = CS_STATE_ON_TIME, .heals_itself = true};
    if (m->broken) {
        *ret = (struct cs_status){CS_STATE_ERROR, CS_CODE_INTERNAL, "mailbox", false, unreadable};
        return;
    }
    if (m->conf == NULL) {
        *ret = (struct cs_status){CS_STATE_PAUSED, CS_CODE_NONE, NULL, true, not_configured};
        return;
    }
    if (m->paused) {
        *ret = (struct cs_status){CS_STATE_PAUSED, CS_CODE_NONE, NULL, false, paused};
        return;
    }
    if (parked != CS_CODE_NONE) {
        ret->state = CS_STATE_NEEDS_ADMIN;
        ret->code = parked;
        ret->cause = parked == CS_CODE_CREDENTIALS_REFUSED || parked == CS_CODE_TENANT_REFUSED
                         ? "tenant"
                         : "mailbox";
        ret->heals_itself = false;
        ret->advice = advice[parked];
        if (parked == CS_CODE_MAILBOX_DENIED && tenant_code == CS_CODE_MAILBOX_DENIED) {
            ret->cause = "tenant";
            ret->advice = app_denied;
        }
        return;
    }
    ret->state = m->phase == CS_BOX_BACKFILL ? CS_STATE_BACKFILL
                 : m->phase == CS_BOX_LIVE   ? CS_STATE_ON_TIME
                                             : CS_STATE_NEW;
    if (m->failures > 0 && m->fault.code != CS_CODE_NONE) {
        ret->code = m->fault.code;
        ret->cause = cause_of(m->fault.scope);
        ret->advice = advice[m->fault.code];
        if (is_ours(m->fault.code)) {
            ret->state = CS_STATE_ERROR;
            ret->heals_itself = false;
        } else if (late) {
            ret->state = CS_STATE_DELAYED;
        } else if (ret->state == CS_STATE_ON_TIME) {
            ret->state = CS_STATE_ON_TRACK; /* it failed, and is within its schedule all the same */
        }
        return;
    }
    if (late) {
        ret->state = CS_STATE_DELAYED;
        ret->cause = "service";
        ret->advice = no_answer;
        return;
    }
    if (m->cal.code != CS_CODE_NONE && m->cal.failures > 0) {
        /* mail is well, the calendar waits */
        ret->code = m->cal.code;
        ret->cause = "mailbox";
        ret->advice = m->cal.code == CS_CODE_MAILBOX_DENIED
                          ? "Grant the app Calendars.Read, or let the calendar be: mail goes on."
                          : advice[m->cal.code];
        if (ret->state == CS_STATE_ON_TIME)
            ret->state = CS_STATE_ON_TRACK;
    }
}

static void ktime(struct cs_jw *jw, const char *key, int64_t ms)
{
    if (ms != CS_TIME_NONE && ms != CS_NEVER)
        cs_jw_ktime(jw, key, ms);
}

void cs_status_print(const struct cs_mailbox *m, const struct cs_status *st, int64_t now_ms,
                     struct cs_buf *out)
{
    size_t owed = cs_mailbox_count_resync_owed(m);
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "tenant", m->tenant);
    cs_jw_kstr(&jw, "mailbox", m->name);
    cs_jw_kstr(&jw, "state", cs_box_state_names[st->state]);
    ktime(&jw, "since", m->state_since_ms);
    cs_jw_kstr(&jw, "phase", cs_box_phase_names[m->phase]);
    cs_jw_ki64(&jw, "backfill_percent", cs_mailbox_backfill_percent(m));
    /* not before the resync that proves it */
    cs_jw_kbool(&jw, "backfill_done", m->phase == CS_BOX_LIVE && owed == 0);
    ktime(&jw, "slices_done", m->slices_done_ms);
    cs_jw_ki64(&jw, "resync_owed", (int64_t)owed);
    cs_jw_kstr_opt(&jw, "cause", st->cause);
    if (st->code != CS_CODE_NONE)
        cs_jw_kstr(&jw, "code", cs_code_name(st->code));
    cs_jw_kbool(&jw, "heals_itself", st->heals_itself);
    cs_jw_kstr_opt(&jw, "advice", st->advice);
    ktime(&jw, "last_success", m->last_success_ms);
    ktime(&jw, "last_change", m->last_change_ms);
    ktime(&jw, "next_run", m->inflight == NULL && m->conf != NULL ? m->next_run_ms : CS_NEVER);
    cs_jw_kbool(&jw, "job_out", m->inflight != NULL);
    cs_jw_ki64(&jw, "attempts", m->failures);
    cs_jw_ki64(&jw, "looks_owed", (int64_t)cs_mailbox_count_looks(m));
    cs_jw_key(&jw, "counters");
    cs_jw_object(&jw);
    cs_jw_ki64(&jw, "jobs", m->counters.jobs);
    cs_jw_ki64(&jw, "items", m->counters.items);
    cs_jw_ki64(&jw, "upserts", m->counters.upserts);
    cs_jw_ki64(&jw, "moves", m->counters.moves);
    cs_jw_ki64(&jw, "deletes", m->counters.deletes);
    cs_jw_ki64(&jw, "left_scope", m->counters.left_scope);
    cs_jw_object_end(&jw);
    cs_jw_ktime(&jw, "written_at", now_ms);
    cs_jw_object_end(&jw);
}
