/* sim.h - what all parts of the simulated service share: mailboxes, clock, ids, requests, answers.
 *
 * Threads: one per connection (libmicrohttpd). A request handler runs with the mailbox's lock held, so
 * everything inside a struct sim_mailbox, calendar included, needs no further locking. A handler never
 * waits: simulated latency is slept before it, without the lock. The rest of struct sim is constant once
 * the service runs, but for what its own file guards (limits.c, faults.c, log.c).
 *
 * Out of memory ends the program (sim_alloc and friends): a test tool has nothing better to do.
 */
#ifndef CS_GRAPHSIM_SIM_H
#define CS_GRAPHSIM_SIM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

struct sim;
struct sim_mail;     /* mail.h */
struct sim_calendar; /* calendar.h */

/* ---- memory ---------------------------------------------------------------------------------- */

void *sim_alloc(size_t n, size_t size); /* zeroed; ends the program when there is none */
void *sim_grow(void *p, size_t n, size_t size);
char *sim_strdup(const char *s);
/** Room for one more element: doubles *cap when n == *cap. */
#define SIM_PUSH(array, n, cap)                                   \
    do {                                                          \
        if ((n) == (cap)) {                                       \
            (cap) = (cap) ? (cap)*2 : 16;                         \
            (array) = sim_grow((array), (cap), sizeof(*(array))); \
        }                                                         \
    } while (0)

/* ---- PRNG: splitmix64, the same on every machine ------------------------------------------------ */

struct sim_rng {
    uint64_t s;
};

uint64_t sim_hash(uint64_t a, uint64_t b); /* stateless: the same for the same pair */
uint64_t sim_hash_str(uint64_t seed, const char *s);
uint64_t sim_rng_next(struct sim_rng *r);
uint64_t sim_rng_below(struct sim_rng *r, uint64_t n); /* 0 .. n-1; n 0 gives 0 */
double sim_rng_unit(struct sim_rng *r);                /* [0, 1) */
bool sim_rng_chance(struct sim_rng *r, double p);

/* ---- service and mailboxes --------------------------------------------------------------------- */

/* A delta generation. A token carries `current` of the time it was made; below `lowest` it is dead. */
struct sim_gen {
    uint32_t current;
    uint32_t lowest;
};

enum sim_state {
    SIM_OK,
    SIM_DENIED,       /* 403 ErrorAccessDenied */
    SIM_NOT_ENABLED,  /* 404 MailboxNotEnabledForRESTAPI */
    SIM_INVALID_USER, /* 404 ErrorInvalidUser */
    SIM_NOT_FOUND,    /* 404 ResourceNotFound */
    SIM_UNAVAILABLE,  /* 503 ErrorMailboxStoreUnavailable */
    SIM_STATES
};

struct sim_mailbox {
    struct sim *sim;
    unsigned index; /* in sim->mailboxes */
    uint64_t seed;  /* of everything generated in this mailbox */
    char *address;  /* lower case */
    char *name;     /* display name */
    char id[37];    /* object id, lower case */
    pthread_mutex_t lock;

    uint64_t seq; /* every version of every item of the mailbox; sim_next_seq() */
    struct sim_mail *mail;
    struct sim_calendar *calendar;
    struct sim_gen calendar_gen; /* of calendarView/delta tokens */

    enum sim_state state;
    struct sim_limit *limit; /* limits.c */
};

struct sim {
    uint64_t seed;
    int64_t clock_offset_ms; /* simulated time minus CLOCK_REALTIME */
    struct sim_mailbox *mailboxes;
    size_t n_mailboxes;
    const char *domain; /* of the tenant's people: "contoso.example" */
    int years;          /* how far back generated content goes */

    /* variants where the service's behaviour is not certain, in percent unless said otherwise */
    struct {
        unsigned partial;    /* changed items that come with their changed properties only */
        unsigned repeat;     /* items that come more than once in a round */
        unsigned empty_page; /* delta pages that are empty and have a nextLink */
        unsigned short_page; /* pages that hold fewer items than asked for */
        unsigned collapse;   /* items that came and went between two rounds and are not mentioned */
        unsigned same_link;  /* rounds without changes that give the very same deltaLink */
        int64_t replica_ms;  /* most that a change may be late in a delta */
        unsigned transit_ms; /* what was sent cannot be found for so long */
        unsigned search_lag_ms; /* an extended property cannot be searched for so long */
        unsigned
            gone_form; /* of an evicted token: 0 in turn, 1 410 SyncStateNotFound, 2 410 with Location, 3 400 */
        unsigned quirks; /* strings with legal but unusual escapes, dates with odd fractions */
        bool occurrence_delete_silent; /* deleting one occurrence gives no @removed */
    } v;

    struct sim_conf *conf;       /* main.c */
    struct sim_auth *auth;       /* auth.c */
    struct sim_faults *faults;   /* faults.c */
    struct sim_log *log;         /* reqlog.c */
    struct sim_mutator *mutator; /* mutator.c */
    uint64_t key;                /* of ids and tokens */
};

int64_t sim_now_ms(const struct sim *sim); /* UTC, simulated */
uint64_t sim_next_seq(struct sim_mailbox *mb);
/** By address (any case) or object id (any case). NULL: none. */
struct sim_mailbox *sim_find_mailbox(struct sim *sim, const char *user);

/* ---- ids ---------------------------------------------------------------------------------------
 * Opaque, about 150 characters, resolvable without a table. They come in pairs that differ in the case of
 * one letter only, so that whoever folds case mixes up two items.
 */
enum sim_id_kind {
    SIM_ID_FOLDER = 1, /* constant, one form */
    SIM_ID_MESSAGE,    /* sub: how often it moved; only in the mutable form */
    SIM_ID_EVENT,      /* sub: 0, or day + 1 of an occurrence (days since 1970) */
    SIM_ID_ATTACHMENT, /* sub: index in the item */
    SIM_ID_CALENDAR,   /* constant, one form */
};

#define SIM_ID_MAX 192

struct sim_id {
    enum sim_id_kind kind;
    bool immutable;
    uint64_t num; /* below 2^40 */
    uint64_t sub; /* below 2^40 */
};

/** Writes the id; sub of an immutable message id is ignored. */
void sim_id_format(const struct sim_mailbox *mb, struct sim_id id, char out[SIM_ID_MAX]);
/** @return 0, -EINVAL (not an id: "Id is malformed"), -ENOENT (an id of another mailbox) */
int sim_id_parse(const struct sim_mailbox *mb, const char *text, struct sim_id *ret);
/** The changeKey of a version (a seq); etag is W/"<changeKey>". kind: 'C' messages, 'D' events. */
#define SIM_CHANGE_KEY_MAX 48
void sim_change_key(const struct sim_mailbox *mb, char kind, uint64_t seq,
                    char out[SIM_CHANGE_KEY_MAX]);
void sim_guid(uint64_t a, uint64_t b, char out[37]);

/* ---- sealed tokens of $skiptoken and $deltatoken ------------------------------------------------- */

/** Seals n bytes (at most 3,000) as URL-safe text, appended. The bytes need not be secret, the text is opaque. */
void sim_token_seal(const struct sim *sim, const void *plain, size_t n, struct cs_buf *out);
/** @return bytes written to plain (at most max), or -EINVAL (not a token of this service) */
int sim_token_open(const struct sim *sim, const char *text, void *plain, size_t max);

/* ---- JSON out ------------------------------------------------------------------------------------
 * A writer that sets commas, nothing more. quirk != 0 makes strings escape '/' and non-ASCII now and then.
 */
struct sim_jw {
    struct cs_buf *b;
    bool comma; /* the next member or element needs one */
    unsigned quirk;
};

void sim_jw_init(struct sim_jw *w, struct cs_buf *b, unsigned quirk);
void sim_jw_open(struct sim_jw *w, char bracket);  /* '{' or '[' as a value or element */
void sim_jw_close(struct sim_jw *w, char bracket); /* '}' or ']' */
void sim_jw_key(struct sim_jw *w, const char *key);
void sim_jw_str(struct sim_jw *w, const char *s); /* NULL: null */
void sim_jw_strn(struct sim_jw *w, const char *s, size_t n);
void sim_jw_int(struct sim_jw *w, int64_t v);
void sim_jw_bool(struct sim_jw *w, bool v);
void sim_jw_null(struct sim_jw *w);
void sim_jw_raw(struct sim_jw *w, const char *json); /* a complete value */
void sim_jw_kstr(struct sim_jw *w, const char *key, const char *s);
void sim_jw_kint(struct sim_jw *w, const char *key, int64_t v);
void sim_jw_kbool(struct sim_jw *w, const char *key, bool v);
void sim_jw_knull(struct sim_jw *w, const char *key);
/** DateTimeOffset "2026-01-02T03:04:05Z"; with milliseconds as 3 or 7 digits if they are not 0 (or, with
 * quirks, 0 to 7 digits). */
void sim_jw_time(struct sim_jw *w, int64_t utc_ms);
void sim_jw_ktime(struct sim_jw *w, const char *key, int64_t utc_ms);

/* ---- requests and answers ------------------------------------------------------------------------ */

#define SIM_SEGS   12
#define SIM_PARAMS 24

struct sim_param {
    char *name;  /* decoded, as sent */
    char *value; /* decoded */
};

/* One call of Graph, on its own or out of a batch. Everything is borrowed for the call. */
struct sim_request {
    struct sim *sim;
    struct sim_mailbox
        *mb; /* locked by the caller of a handler; NULL where there is none in the path */
    const char *method;
    /* Path after /v1.0, percent-decoded, split: {"users","ann@..","mailFolders","inbox"}; the forms
     * users('x') and mailFolders('x') are split alike. */
    char *seg[SIM_SEGS];
    size_t n_seg;
    struct sim_param param[SIM_PARAMS];
    size_t n_params;
    const char *query; /* as it came, without '?'; "" if none */
    const char *body;
    size_t body_len;
    const char *base; /* "http://127.0.0.1:1234/v1.0", for links */

    /* of the Prefer headers */
    bool immutable_ids;
    bool text_body;
    unsigned max_page;    /* 0: not given */
    const char *timezone; /* NULL: not given */

    const char *if_match; /* NULL: not given */

    struct sim_rng rng; /* differs from request to request */
};

#define SIM_HEADERS 8

struct sim_answer {
    int status;
    struct cs_buf body;
    const char *content_type; /* NULL: Graph's JSON */
    struct {
        const char *name; /* static */
        char *value;      /* ours */
    } header[SIM_HEADERS];
    size_t n_headers;
    size_t items; /* how many items the body holds: the per-item part of the latency */
};

/** Value of a query parameter, case-insensitive; NULL if absent. Give the name with its '$'. */
const char *sim_param(const struct sim_request *req, const char *name);
void sim_answer_header(struct sim_answer *ans, const char *name, const char *value); /* copied */
/** Drops the body so far and writes Graph's error object. */
void sim_answer_error(struct sim_answer *ans, int status, const char *code, const char *message);
/** Preference-Applied: adds one. */
void sim_answer_applied(struct sim_answer *ans, const char *preference);

/**
 * Is a delta token of generation `token` still good? If not the answer is made: one of the three forms in
 * which the service says so. initial: path and query behind req->base for Location, e.g.
 * "/users/x/calendarView/delta".
 */
bool sim_delta_alive(const struct sim_request *req, struct sim_answer *ans,
                     const struct sim_gen *gen, uint32_t token, const char *initial);
/** Evicts all tokens handed out so far. */
void sim_delta_evict(struct sim_gen *gen);

/* ---- what calendar.h provides ---------------------------------------------------------------------
 * void sim_calendar_init(struct sim_mailbox *mb, uint64_t seed, unsigned n_events);
 * void sim_calendar_clear(struct sim_mailbox *mb);
 * const char *sim_calendar_mutate(struct sim_mailbox *mb, struct sim_rng *rng);  one random change; its name
 * void sim_calendar_handle(struct sim_request *req, struct sim_answer *ans);  seg[2] is calendar, calendars,
 *      calendarGroups, calendarView or events; answers 404 ResourceNotFound for what it does not know;
 *      called with ans->status 200 and an empty body
 * void sim_calendar_truth(struct sim_mailbox *mb, bool history, struct sim_jw *w);  writes members into an open
 *      object: "events": [...], with history "event_history": [...] and "gone_events": [...]
 * bool sim_calendar_op(struct sim_mailbox *mb, const void *op, struct sim_jw *w);  op: cs_json_val, an object
 *      whose "op" begins with "event_"; writes members of the result (or "error") into an open object; false:
 *      unknown op
 */

#endif
