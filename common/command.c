#include "common/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json_write.h"
#include "common/key.h"
#include "common/message.h"
#include "common/outbox.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const type_names[CS_COMMAND_COUNT_] = {
    [CS_COMMAND_PAUSE] = "pause",
    [CS_COMMAND_RESUME] = "resume",
    [CS_COMMAND_SYNC_NOW] = "sync_now",
    [CS_COMMAND_RESYNC] = "resync",
    [CS_COMMAND_REBUILD] = "rebuild",
    [CS_COMMAND_REPLAY] = "replay",
    [CS_COMMAND_REPLAY_STOP] = "replay_stop",
    [CS_COMMAND_REPLAY_RESUME] = "replay_resume",
};

const char *cs_command_type_name(enum cs_command_type t)
{
    return type_names[t];
}

void cs_command_clear(struct cs_command *c)
{
    for (size_t i = 0; i < c->n_items; i++)
        free(c->items[i]);
    free(c->items);
    free(c->slices);
    memset(c, 0, sizeof(*c));
}

static void replay_parse(struct cs_msg *m, struct cs_command *ret)
{
    size_t n = 0;
    cs_json_val arr;

    ret->seq = cs_msg_i64(m, "seq", 1, 1000000, true, 0, "seq");
    ret->total = cs_msg_i64(m, "total", 1, INT32_MAX, false, 0, "total");
    arr = cs_msg_array(m, "slices", CS_COMMAND_SLICES_MAX, &n, "slices");
    ret->slices = cs_msg_alloc(m, n, sizeof(*ret->slices));
    for (size_t i = 0; arr != NULL && i < n && m->error == 0; i++, ret->n_slices++) {
        struct cs_msg s = {.obj = cs_json_at(arr, i)};

        ret->slices[i].from_ms = cs_msg_time(&s, "from", false, CS_NEVER, "slices[].from");
        ret->slices[i].to_ms = cs_msg_time(&s, "to", false, CS_NEVER, "slices[].to");
        cs_msg_join(m, &s);
    }
    arr = cs_msg_array(m, "items", CS_COMMAND_ITEMS_MAX, &n, "items");
    ret->items = cs_msg_alloc(m, n, sizeof(*ret->items));
    for (size_t i = 0; arr != NULL && i < n && m->error == 0; i++, ret->n_items++) {
        const char *id = NULL;

        if (cs_json_val_str(cs_json_at(arr, i), CS_ID_MAX, &id) < 0 || *id == '\0')
            cs_msg_fail(m, -EINVAL, "items[]");
        else if ((ret->items[i] = strdup(id)) == NULL)
            cs_msg_fail(m, -ENOMEM, "memory");
    }
    ret->calendar = cs_msg_bool(m, "calendar", false, false, "calendar");
}

int cs_command_parse(const char *p, size_t n, struct cs_command *ret, const char **reason)
{
    struct cs_command c = {0};
    struct cs_json *doc = NULL;
    struct cs_msg m = {0};
    int r = cs_json_parse(p, n, &doc, reason);

    if (r < 0)
        return r;
    m.obj = cs_json_root(doc);
    if (!cs_json_is_object(m.obj))
        cs_msg_fail(&m, -EINVAL, "not an object");
    cs_msg_str_into(&m, "command_id", c.id, sizeof(c.id), "command_id");
    if (m.error == 0 && !cs_request_id_ok(c.id))
        cs_msg_fail(&m, -EINVAL, "command_id");
    c.type = (enum cs_command_type)cs_msg_enum(&m, "type", type_names, COUNT(type_names), "type");
    if (c.type >= CS_COMMAND_REPLAY) {
        cs_msg_str_into(&m, "replay_id", c.replay_id, sizeof(c.replay_id), "replay_id");
        if (m.error == 0 && !cs_request_id_ok(c.replay_id))
            cs_msg_fail(&m, -EINVAL, "replay_id");
    }
    if (c.type == CS_COMMAND_REPLAY)
        replay_parse(&m, &c);
    cs_json_free(doc);
    if (m.error < 0) {
        *reason = m.where;
        cs_command_clear(&c);
        return m.error;
    }
    *ret = c;
    return 0;
}

static void end_print(struct cs_jw *jw, const char *key, int64_t ms)
{
    if (ms != CS_NEVER)
        cs_jw_ktime(jw, key, ms);
}

void cs_command_print(const struct cs_command *c, struct cs_buf *out)
{
    struct cs_jw jw;

    cs_jw_init(&jw, out);
    cs_jw_object(&jw);
    cs_jw_kstr(&jw, "command_id", c->id);
    cs_jw_kstr(&jw, "type", type_names[c->type]);
    if (c->replay_id[0] != '\0')
        cs_jw_kstr(&jw, "replay_id", c->replay_id);
    if (c->type == CS_COMMAND_REPLAY)
        cs_jw_ki64(&jw, "seq", c->seq);
    if (c->total > 0)
        cs_jw_ki64(&jw, "total", c->total);
    if (c->n_slices > 0) {
        cs_jw_key(&jw, "slices");
        cs_jw_array(&jw);
        for (size_t i = 0; i < c->n_slices; i++) {
            cs_jw_object(&jw);
            end_print(&jw, "from", c->slices[i].from_ms);
            end_print(&jw, "to", c->slices[i].to_ms);
            cs_jw_object_end(&jw);
        }
        cs_jw_array_end(&jw);
    }
    if (c->n_items > 0) {
        cs_jw_key(&jw, "items");
        cs_jw_array(&jw);
        for (size_t i = 0; i < c->n_items; i++)
            cs_jw_str(&jw, c->items[i]);
        cs_jw_array_end(&jw);
    }
    if (c->calendar)
        cs_jw_kbool(&jw, "calendar", true);
    cs_jw_object_end(&jw);
}
