#include "common/dlq.h"

#include "common/json_write.h"

void cs_dlq_print(const struct cs_dlq *d, struct cs_buf *out)
{
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "topic", cs_topic_name(d->topic));
    cs_jw_ki64(&jw, "partition", d->partition);
    cs_jw_ki64(&jw, "offset", d->offset);
    cs_jw_kstr(&jw, "reason", d->reason);
    cs_jw_kstr_opt(&jw, "detail", d->detail);
    cs_jw_kstr_opt(&jw, "job_id", d->job_id);
    cs_jw_ktime(&jw, "written_at", d->written_utc_ms);
    cs_jw_object_end(&jw);
}
