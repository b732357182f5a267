/* job_mail_items.c - items by id: second looks and left-overs. */
#include "worker/job_priv.h"

const struct cs_job_step cs_job_mail_items_steps[] = {
    {"read", cs_mail_read_step},
    {"attachments", cs_mail_attachments_step},
    {"publish", cs_mail_publish_step},
    {NULL, NULL},
};
