/* mail.h - the mail of a mailbox: folders, messages, and what was changed when.
 *
 * A message's text is not stored: it is generated again from its seed whenever it is asked for
 * (letter.h), unless it was scripted (struct sim_over). All functions want the mailbox's lock.
 * Indices of folders and messages never change and are never used twice.
 */
#ifndef CS_GRAPHSIM_MAIL_H
#define CS_GRAPHSIM_MAIL_H

#include "sim.h"

#define SIM_NONE UINT32_MAX

/* ---- properties -------------------------------------------------------------------------------- */

/* In the order in which Graph writes them. */
enum sim_prop {
    SIM_P_CREATED,
    SIM_P_MODIFIED,
    SIM_P_CHANGE_KEY,
    SIM_P_CATEGORIES,
    SIM_P_RECEIVED,
    SIM_P_SENT,
    SIM_P_HAS_ATTACHMENTS,
    SIM_P_MESSAGE_ID,
    SIM_P_SUBJECT,
    SIM_P_PREVIEW,
    SIM_P_IMPORTANCE,
    SIM_P_PARENT,
    SIM_P_CONVERSATION_ID,
    SIM_P_CONVERSATION_INDEX,
    SIM_P_DELIVERY_RECEIPT,
    SIM_P_READ_RECEIPT,
    SIM_P_IS_READ,
    SIM_P_IS_DRAFT,
    SIM_P_WEB_LINK,
    SIM_P_INFERENCE,
    SIM_P_BODY,
    SIM_P_SENDER,
    SIM_P_FROM,
    SIM_P_TO,
    SIM_P_CC,
    SIM_P_BCC,
    SIM_P_REPLY_TO,
    SIM_P_FLAG,
    SIM_P_MEETING,     /* what the derived types add; in a $select with the type's name before it */
    SIM_P_HEADERS,     /* with $select only, of one message only */
    SIM_P_UNIQUE_BODY, /* with $select only */
    SIM_PROPS
};

#define SIM_BIT(p)    (UINT64_C(1) << (p))
#define SIM_P_DEFAULT (SIM_BIT(SIM_P_HEADERS) - 1)
#define SIM_P_ALL     (SIM_BIT(SIM_PROPS) - 1)

/* ---- messages ---------------------------------------------------------------------------------- */

enum sim_msg_kind { SIM_MAIL, SIM_MEETING_REQUEST, SIM_MEETING_RESPONSE, SIM_MEETING_CANCELLED };

struct sim_person_ref {
    char *name;
    char *address;
};

/* An attachment that a client has put there. */
struct sim_file {
    char *name, *type, *content_id;
    char *bytes;
    size_t size;
    bool is_inline;
};

/* What a script or a client said instead of the generator; a NULL member means "as generated". */
struct sim_over {
    char *subject;
    char *html;
    char *message_id;
    char *in_reply_to;
    char *from_name, *from_address;
    struct sim_person_ref *to, *cc;
    size_t n_to, n_cc;
    char **categories;
    size_t n_categories;
    struct sim_person_ref *headers; /* name and value, added to internetMessageHeaders */
    size_t n_headers;
    struct sim_person_ref *bcc, *reply_to;
    size_t n_bcc, n_reply_to;
    struct sim_person_ref *props; /* extended properties: id and value */
    size_t n_props;
    struct sim_file *files;
    size_t n_files;
    bool to_set, cc_set, html_is_text;
};

struct sim_msg {
    uint64_t seed;
    uint64_t version; /* seq of the last change */
    int64_t received_ms, sent_ms, created_ms, modified_ms;
    int64_t gone_ms; /* 0 while it exists */
    struct sim_over *over;
    uint32_t folder; /* also the last one of a message that is gone */
    uint32_t moves;
    uint32_t thread;                         /* conversation */
    uint32_t parent;                         /* message it answers, or SIM_NONE */
    uint8_t kind;                            /* enum sim_msg_kind */
    uint8_t importance;                      /* 0 low, 1 normal, 2 high */
    uint8_t flagged;                         /* 0 notFlagged, 1 flagged, 2 complete */
    uint8_t n_attachments;                   /* inline ones included */
    uint8_t n_inline;                        /* the first ones of these */
    uint8_t depth;                           /* in its thread */
    bool is_read, is_draft, outgoing, other; /* other: inferenceClassification */
    bool in_transit;                         /* sent, and nowhere to be found for a moment */
    uint8_t category;                        /* 0 none, else index of a generated one */
};

/* ---- folders ----------------------------------------------------------------------------------- */

enum sim_change { SIM_ADDED, SIM_CHANGED, SIM_REMOVED };

/* An entry of a folder's log, from which delta rounds are read. */
struct sim_entry {
    int64_t visible_ms; /* replication: not told before */
    uint64_t mask;      /* SIM_CHANGED: the properties */
    uint32_t msg;
    uint8_t kind; /* enum sim_change */
};

struct sim_folder {
    char *name;
    const char *well_known; /* static, or NULL */
    uint32_t parent;        /* SIM_NONE: outside the folder tree */
    bool hidden, search, gone;
    uint32_t *members; /* messages, by received time and index, ascending */
    size_t n_members, cap_members;
    uint32_t unread;
    struct sim_entry *log;
    size_t n_log, cap_log;
    struct sim_gen gen;
    uint64_t version;
    int64_t gone_ms;
};

struct sim_folder_entry {
    int64_t visible_ms;
    uint32_t folder;
    uint8_t kind;
};

/* One version of one message. */
struct sim_version {
    uint64_t version;
    int64_t at_ms;
    uint32_t msg;
    uint32_t folder;
    uint8_t what; /* enum sim_change; SIM_REMOVED: gone for good */
    bool is_read;
};

/* A mail that was accepted for delivery. */
struct sim_sent {
    int64_t at_ms;
    uint32_t msg;
};

struct sim_transit {
    int64_t until_ms;
    uint32_t msg;
};

struct sim_upload {
    uint32_t msg;
    uint64_t secret;
    size_t size;
    struct cs_buf bytes;
    char *name, *type, *content_id;
    bool is_inline, done;
};

struct sim_mail {
    struct sim_msg *msg;
    size_t n_msg, cap_msg;
    uint32_t *all; /* existing messages, ordered like a folder's members */
    size_t n_all, cap_all;
    struct sim_folder *folder;
    size_t n_folder, cap_folder;
    struct sim_folder_entry *folder_log;
    size_t n_folder_log, cap_folder_log;
    struct sim_gen folder_gen;
    struct sim_version *history;
    size_t n_history, cap_history;
    struct sim_sent *sent;
    size_t n_sent, cap_sent;
    struct sim_transit *transit;
    size_t n_transit, cap_transit;
    struct sim_upload *upload;
    size_t n_upload, cap_upload;
    uint32_t n_threads;
    unsigned mean_body;
};

enum { /* the first folders of every mailbox */
       SIM_F_ROOT,
       SIM_F_INBOX,
       SIM_F_DRAFTS,
       SIM_F_SENT,
       SIM_F_DELETED,
       SIM_F_ARCHIVE,
       SIM_F_JUNK,
       SIM_F_OUTBOX,
       SIM_F_CONVERSATIONS,
       SIM_F_SYNC_ISSUES,
       SIM_F_CONFLICTS,
       SIM_F_LOCAL_FAILURES,
       SIM_F_SERVER_FAILURES,
       SIM_F_RECOVERABLE,
       SIM_F_SEARCH,
       SIM_F_SEARCH_UNREAD, /* a mailSearchFolder */
       SIM_F_USER           /* the first one of the user's own */
};

/* ---- store (mail.c) ------------------------------------------------------------------------------ */

/** An empty mailbox with the well-known folders. */
void sim_mail_init(struct sim_mailbox *mb, unsigned mean_body);
void sim_mail_clear(struct sim_mailbox *mb);

/** Adds a copy of a message, its folder set; version, log and history are written. Takes m->over. */
uint32_t sim_mail_add(struct sim_mailbox *mb, const struct sim_msg *m);
/** The same without log and history: what was there before the service began. */
uint32_t sim_mail_put(struct sim_mailbox *mb, const struct sim_msg *m);
/** After many sim_mail_put() calls, once. */
void sim_mail_sort(struct sim_mailbox *mb);
void sim_mail_move(struct sim_mailbox *mb, uint32_t msg, uint32_t folder);
void sim_mail_remove(struct sim_mailbox *mb, uint32_t msg);
/** Says that these properties were changed: new version, log. */
void sim_mail_touch(struct sim_mailbox *mb, uint32_t msg, uint64_t mask);
void sim_mail_set_read(struct sim_mailbox *mb, uint32_t msg, bool is_read);
struct sim_over *sim_mail_over(struct sim_msg *m); /* created if there is none */
void sim_people_free(struct sim_person_ref *p, size_t n);

/** @return index; name is copied */
uint32_t sim_folder_add(struct sim_mailbox *mb, uint32_t parent, const char *name, bool hidden);
void sim_folder_rename(struct sim_mailbox *mb, uint32_t folder, const char *name);
/** @return 0, -EINVAL: into itself or a folder below it */
int sim_folder_move(struct sim_mailbox *mb, uint32_t folder, uint32_t parent);
/** With everything in it and below it. */
void sim_folder_remove(struct sim_mailbox *mb, uint32_t folder);
/** Folder of an id or well-known name (any case); @return index, -ENOENT, -EINVAL (malformed). */
int64_t sim_folder_find(struct sim_mailbox *mb, const char *id);
/** Existing message of an id in either form. @return index; -ENOENT: gone, moved (mutable form), or of
 * another mailbox; -EINVAL: malformed. */
int64_t sim_msg_find(struct sim_mailbox *mb, const char *id);
/** Position of the first member that is not before (received_ms, msg). */
size_t sim_members_from(const struct sim_mail *mail, const uint32_t *members, size_t n,
                        int64_t received_ms, uint32_t msg);

/* ---- generator (mail_gen.c) ------------------------------------------------------------------------ */

void sim_mail_generate(struct sim_mailbox *mb, unsigned n_messages, unsigned n_folders);
/** A new message as it could come in now; nothing is added yet. */
struct sim_msg sim_mail_invent(struct sim_mailbox *mb, struct sim_rng *rng, int64_t now_ms);

/* ---- JSON (mail_json.c) ---------------------------------------------------------------------------- */

/** Bits of a $select; NULL: the default. Unknown names are ignored but counted in *unknown (may be NULL). */
uint64_t sim_select_parse(const char *select, unsigned *unknown);
/** One message as an element or value. delta: with @odata.type. */
void sim_msg_write(const struct sim_request *req, uint32_t msg, uint64_t select, bool delta,
                   struct sim_jw *w);
void sim_msg_id(const struct sim_mailbox *mb, uint32_t msg, bool immutable, char out[SIM_ID_MAX]);
void sim_folder_id(const struct sim_mailbox *mb, uint32_t folder, char out[SIM_ID_MAX]);
void sim_folder_write(const struct sim_request *req, uint32_t folder, bool delta, struct sim_jw *w);
uint32_t sim_folder_children(const struct sim_mailbox *mb, uint32_t folder, bool hidden);
void sim_attachment_write(const struct sim_request *req, uint32_t msg, unsigned index,
                          const char *select, struct sim_jw *w);
/** '#microsoft.graph.…' kind of an attachment: 'f'ile, 'i'tem, 'r'eference. */
char sim_attachment_kind(const struct sim_mailbox *mb, uint32_t msg, unsigned index);
void sim_attachment_bytes(const struct sim_mailbox *mb, uint32_t msg, unsigned index,
                          struct cs_buf *out);

/* ---- requests ---------------------------------------------------------------------------------------- */

/** seg[2] is mailFolders or messages. (mail_http.c) */
void sim_mail_handle(struct sim_request *req, struct sim_answer *ans);
/** Everything but GET, and sendMail. (mail_write.c) */
void sim_mail_write(struct sim_request *req, struct sim_answer *ans);
/** What was under way has arrived: before anybody looks. */
void sim_mail_settle(struct sim_mailbox *mb);
/** PUT and DELETE of an upload session; takes the mailbox's lock. range: Content-Range, or NULL */
void sim_mail_upload(struct sim *sim, const char *method, const char *path, bool authorized,
                     const char *range, const char *body, size_t n, struct sim_answer *ans);
/** GET .../messages, folder SIM_NONE: of the mailbox. (mail_list.c) */
void sim_mail_list(struct sim_request *req, struct sim_answer *ans, uint32_t folder);
/** GET .../messages/delta and mailFolders/delta. (mail_delta.c) */
void sim_mail_delta(struct sim_request *req, struct sim_answer *ans, uint32_t folder);
void sim_folder_delta(struct sim_request *req, struct sim_answer *ans);

#endif
