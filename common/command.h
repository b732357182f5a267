/* command.h - what an operator wants of a mailbox. PURE.
 *
 * Topic commands.v1, key tenant/mailbox, schema schemas/command.v1.schema.json. Written by crmsync-producer's own command
 * line, or by anything that an operator gives WRITE on the topic; read by the producer that owns the mailbox, who notes the
 * id of the last one in its state and so acknowledges it.
 */
#ifndef CS_COMMON_COMMAND_H
#define CS_COMMON_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/json.h"

#define CS_COMMAND_ID_LEN     64 /* [A-Za-z0-9._-] */
#define CS_COMMAND_SLICES_MAX 64
#define CS_COMMAND_ITEMS_MAX  1000

enum cs_command_type {
    CS_COMMAND_PAUSE,    /* "pause": nothing is synchronized until */
    CS_COMMAND_RESUME,   /* "resume" */
    CS_COMMAND_SYNC_NOW, /* "sync_now": everything is asked at once */
    CS_COMMAND_RESYNC, /* "resync": every folder is compared with what is out there, the calendar is walked anew */
    CS_COMMAND_REBUILD,       /* "rebuild": the first sync again; everything is published */
    CS_COMMAND_REPLAY,        /* "replay": some scopes are read and published again */
    CS_COMMAND_REPLAY_STOP,   /* "replay_stop": they wait */
    CS_COMMAND_REPLAY_RESUME, /* "replay_resume": they go on */
    CS_COMMAND_COUNT_
};

struct cs_command_slice {
    int64_t from_ms; /* [from, to) of receivedDateTime; CS_NEVER: open at that end */
    int64_t to_ms;
};

struct cs_command {
    char id[CS_COMMAND_ID_LEN + 1];
    enum cs_command_type type;
    char replay_id[CS_COMMAND_ID_LEN + 1]; /* replay*: which; "" elsewhere */
    int64_t seq;   /* replay: this message's number, from 1; a large one is split */
    int64_t total; /* replay: messages of it for all mailboxes together; 0: not said */
    struct cs_command_slice *slices; /* mail of the whole mailbox by time */
    size_t n_slices;
    char **items; /* Graph ids of mail */
    size_t n_items;
    bool calendar; /* the events of the window */
};

const char *cs_command_type_name(enum cs_command_type t);
/**
 * @param[out] reason  static text: what is wrong
 * @return 0; -EBADMSG (not JSON); -EINVAL (not of the shape of a command); -ENOMEM
 */
int cs_command_parse(const char *p, size_t n, struct cs_command *ret, const char **reason);
void cs_command_print(const struct cs_command *c, struct cs_buf *out);
void cs_command_clear(struct cs_command *c);

#endif
