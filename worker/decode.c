#include "worker/decode.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"

static int refuse(struct cs_refusal *why, const char *reason, const char *detail)
{
    why->reason = reason;
    why->detail = detail;
    return -EINVAL;
}

static void reject(struct cs_refusal *why, enum cs_code code, int64_t utc_ms)
{
    struct cs_feedback *f = &why->feedback;

    f->outcome = CS_REJECT;
    f->retry_after_ms = -1;
    f->fault.code = code;
    f->fault.scope = CS_SCOPE_MAILBOX;
    f->started_utc_ms = utc_ms;
    f->finished_utc_ms = utc_ms;
    why->has_feedback = true;
}

static bool is_job_id(const char *s)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    size_t i = 0;

    for (; form[i] != '\0'; i++)
        if (form[i] == '-' ? s[i] != '-' : s[i] == '\0' || strchr("0123456789abcdef", s[i]) == NULL)
            return false;
    return s[i] == '\0' && s[14] == '7' && strchr("89ab", s[19]) != NULL; /* UUIDv7 (RFC 9562) */
}

/* Of a message that is no job: whose was it? Only if it names the mailbox that its key names too.
 * @return 0, -ENOENT, -ENOMEM */
static int read_identity(const struct cs_kafka_msg *msg, const char *tenant, const char *mailbox,
                         struct cs_feedback *f)
{
    struct cs_json *doc = NULL;
    const char *reason, *s = NULL;
    cs_json_val root;
    int r = cs_json_parse(msg->value, msg->value_len, &doc, &reason);

    if (r < 0)
        return r == -ENOMEM ? r : -ENOENT;
    root = cs_json_root(doc);
    r = -ENOENT;
    if (cs_json_str(root, "job_id", CS_UUID_TEXT - 1, &s) < 0 || !is_job_id(s))
        goto out;
    memcpy(f->job_id, s, CS_UUID_TEXT);
    if (cs_json_str(root, "tenant", CS_TENANT_MAX, &s) < 0 || strcmp(s, tenant) != 0 ||
        cs_json_str(root, "mailbox", CS_MAILBOX_MAX, &s) < 0 || strcmp(s, mailbox) != 0)
        goto out;
    memcpy(f->tenant, tenant, strlen(tenant) + 1);
    memcpy(f->mailbox, mailbox, strlen(mailbox) + 1);
    if (cs_json_str(root, "type", 32, &s) == 0 && cs_job_type_parse(s, &f->type) == 0 &&
        cs_json_str(root, "lane", 32, &s) == 0 && cs_lane_parse(s, &f->lane) == 0 &&
        cs_json_i64(root, "attempt", 1, INT32_MAX, &f->attempt) == 0)
        r = 0;
out:
    cs_json_free(doc);
    return r;
}

static void take_identity(const struct cs_job *job, struct cs_feedback *f)
{
    memcpy(f->job_id, job->job_id, sizeof(f->job_id));
    memcpy(f->tenant, job->tenant, sizeof(f->tenant));
    memcpy(f->mailbox, job->mailbox, sizeof(f->mailbox));
    f->type = job->type;
    f->lane = job->lane;
    f->attempt = job->attempt;
}

int cs_decode_job(const struct cs_kafka_msg *msg, int32_t n_partitions, int64_t utc_ms,
                  struct cs_job *job, struct cs_refusal *why)
{
    char tenant[CS_TENANT_MAX + 1], mailbox[CS_MAILBOX_MAX + 1];
    const char *rest = NULL, *detail = NULL;
    size_t rest_len = 0;
    int r;

    memset(why, 0, sizeof(*why));
    if (msg->key == NULL ||
        cs_key_split(msg->key, msg->key_len, tenant, mailbox, &rest, &rest_len) < 0 || rest_len > 0)
        return refuse(why, CS_DLQ_WRONG_KEY, "key: not tenant/mailbox");
    if (cs_key_partition(tenant, mailbox, n_partitions) != msg->partition)
        return refuse(why, CS_DLQ_WRONG_PARTITION, NULL);
    if (msg->value == NULL)
        return refuse(why, CS_DLQ_JOB_INVALID, "empty message");
    r = cs_job_parse(msg->value, msg->value_len, job, &detail);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        r = read_identity(msg, tenant, mailbox, &why->feedback);
        if (r == -ENOMEM)
            return r;
        if (r == 0)
            reject(why, CS_CODE_JOB_INVALID, utc_ms);
        return refuse(why, CS_DLQ_JOB_INVALID, detail);
    }
    if (strcmp(job->tenant, tenant) != 0 || strcmp(job->mailbox, mailbox) != 0) {
        cs_job_clear(job);
        return refuse(why, CS_DLQ_WRONG_KEY, "key: names another mailbox than the job");
    }
    if (job->not_after_utc_ms != CS_NEVER && utc_ms - CS_DECODE_SKEW_MS > job->not_after_utc_ms) {
        take_identity(job, &why->feedback);
        reject(why, CS_CODE_EXPIRED, utc_ms);
        cs_job_clear(job);
        return -ETIME;
    }
    return 0;
}
