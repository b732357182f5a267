/* cal.h - inside of the calendar: the store and what its parts offer each other. */
#ifndef CS_GRAPHSIM_CAL_H
#define CS_GRAPHSIM_CAL_H

#include "calendar.h"
#include "recur.h"

#define CAL_NEVER_MS    INT64_MIN /* 0001-01-01T00:00:00Z, a normal value here */
#define CAL_NO_DAY      INT32_MIN
#define CAL_ATTENDEES   500
#define CAL_VERSIONS    32   /* of one event that are kept */
#define CAL_EXCEPTIONS  1000 /* of one series; also cancelled occurrences */
#define CAL_WINDOW_DAYS 1825

enum cal_response {
    CAL_NONE,
    CAL_ORGANIZER,
    CAL_TENTATIVE,
    CAL_ACCEPTED,
    CAL_DECLINED,
    CAL_NOT_RESPONDED
};
enum cal_attendee_type { CAL_REQUIRED, CAL_OPTIONAL, CAL_RESOURCE };
enum cal_sensitivity { CAL_NORMAL, CAL_PERSONAL, CAL_PRIVATE, CAL_CONFIDENTIAL };
enum cal_show { CAL_FREE, CAL_SHOW_TENTATIVE, CAL_BUSY, CAL_OOF, CAL_ELSEWHERE, CAL_UNKNOWN };

struct cal_person {
    char *name, *address; /* ours */
};

struct cal_attendee {
    struct cal_person who;
    enum cal_attendee_type type;
    enum cal_response response;
    int64_t response_ms; /* CAL_NEVER_MS: never */
    int64_t proposed_s;  /* proposed new start, UTC; 0: none */
};

/* What single events, masters and exceptions have alike. Strings are ours. */
struct cal_fields {
    char *subject;
    char *html; /* NULL: generated from body_seed */
    bool html_is_text;
    uint64_t body_seed;
    char *location;         /* "" for none */
    char *location_address; /* of a room; NULL: none */
    char **category;
    size_t n_categories;
    uint8_t importance; /* 0 low, 1 normal, 2 high */
    enum cal_sensitivity sensitivity;
    enum cal_show show;
    bool is_cancelled, is_organizer, is_reminder, has_attachments, hide_attendees;
    bool is_online;
    uint8_t
        online_kind; /* 0 Teams with join URL only, 1 Teams with dial-in, 2 Skype with onlineMeetingUrl */
    enum cal_response response; /* of the calendar's owner */
    int64_t response_ms;
    struct cal_person organizer;
    struct cal_attendee *attendee;
    size_t n_attendees;
};

/* One changed occurrence. Times are wall clock of the series' zone. */
struct cal_exception {
    int32_t day; /* of the pattern: its name in the series */
    int64_t start_s, end_s;
    uint64_t seq;
    int64_t modified_ms;
    struct cal_fields f;
};

struct cal_version {
    uint64_t seq;
    int64_t at_ms;
    size_t log_at; /* entries of the log when it existed; 0: from the beginning */
    bool gone;
    uint32_t calendar;
    uint32_t moves; /* between calendars; part of the id that is not immutable */
    int zone, end_zone;
    bool custom_zone; /* shown as tzone://Microsoft/Custom */
    bool all_day;
    int64_t start_s,
        end_s; /* wall clock of zone and end_zone; of a series: the first occurrence's */
    struct cal_fields f;
    bool is_series;
    struct sim_recur recur;
    int32_t *cancelled; /* days, ascending */
    size_t n_cancelled;
    struct cal_exception *ex; /* by day, ascending */
    size_t n_ex;
};

struct cal_event {
    uint64_t seed; /* of join links, ids of the meeting */
    int64_t created_ms;
    char *ical; /* NULL: generated */
    bool has_transaction;
    struct cal_version *ver; /* ascending; the last one counts now */
    size_t n_ver, cap_ver;
};

struct cal_calendar {
    const char *name; /* static */
    const char *color;
    uint32_t group;
};

#define CAL_CALENDARS 3 /* 0 is the default one */
#define CAL_GROUPS    2

/* One entry a change, in order: what delta rounds and the history read. */
struct cal_entry {
    uint64_t seq;
    int64_t at_ms, visible_ms;
    uint32_t event;
    int32_t day;    /* of an occurrence; CAL_NO_DAY */
    const char *op; /* static */
};

struct sim_calendar {
    uint64_t seed;
    int home_zone;
    struct cal_calendar calendar[CAL_CALENDARS];
    struct cal_event *event;
    size_t n_events, cap_events;
    struct cal_entry *log;
    size_t n_log, cap_log;
    size_t log_floor; /* tokens below it are dead */
};

/* ---- cal_store.c ------------------------------------------------------------------------------- */

void cal_fields_clear(struct cal_fields *f);
void cal_fields_copy(struct cal_fields *to, const struct cal_fields *from);
void cal_set(char **where, const char *text); /* replaces; NULL: none */
void cal_add_attendee(struct cal_fields *f, const char *name, const char *address,
                      enum cal_attendee_type type, enum cal_response response, int64_t response_ms);
void cal_add_category(struct cal_fields *f, const char *name);

/** A new event with one version that only has its defaults; not in the log yet. Ours until cal_commit(). */
struct cal_version *cal_draft_new(struct sim_mailbox *mb, uint64_t seed, uint32_t *event);
/**
 * A copy of the event's last version, to be changed and given to cal_commit(). Pointers to versions die.
 * @return NULL: gone
 */
struct cal_version *cal_draft(struct sim_mailbox *mb, uint32_t event);
/** Drops the draft, and the event with it if it is a new one. */
void cal_abandon(struct sim_mailbox *mb, uint32_t event);
/** Makes the draft the event's state: seq, time, log. day: the occurrence that changed, or CAL_NO_DAY. */
void cal_commit(struct sim_mailbox *mb, uint32_t event, int32_t day, const char *op);
/** As cal_commit(), without an entry in the log: what exists from the beginning. */
void cal_commit_initial(struct sim_mailbox *mb, uint32_t event, int64_t at_ms);

const struct cal_version *cal_now(const struct sim_calendar *c, uint32_t event);
/** The version when the log had that many entries; NULL: it did not exist. */
const struct cal_version *cal_at(const struct sim_calendar *c, uint32_t event, size_t log_at);

struct cal_exception *cal_find_exception(const struct cal_version *v, int32_t day); /* NULL: none */
bool cal_is_cancelled_day(const struct cal_version *v, int32_t day);
/** The exception of a day that the pattern has and that is not cancelled, made if there is none; NULL: no such day, or too many. */
struct cal_exception *cal_need_exception(struct cal_version *v, int32_t day, uint64_t seq,
                                         int64_t now_ms);
bool cal_cancel_day(struct cal_version *v, int32_t day); /* false: no such day, or too many */
void cal_drop_exceptions(struct cal_version *v);

/* Something that takes place: a single event, an occurrence or an exception. */
struct cal_instance {
    uint32_t event;
    const struct cal_version *v;
    const struct cal_exception *ex; /* NULL: as the series */
    int32_t day;                    /* CAL_NO_DAY: single event */
    int64_t start_s, end_s;         /* UTC */
    int64_t original_s;             /* UTC; occurrences and exceptions */
};

struct cal_instances {
    struct cal_instance *at;
    size_t n, cap;
};

void cal_instances_clear(struct cal_instances *list);
/** Adds what overlaps [from_s, to_s) of one version; nothing if it is gone. In order of the original days. */
void cal_collect(uint32_t event, const struct cal_version *v, int64_t from_s, int64_t to_s,
                 struct cal_instances *out);
bool cal_overlaps(uint32_t event, const struct cal_version *v, int64_t from_s, int64_t to_s);
/** Overlap, with both ends open; what has no length counts by its start. */
bool cal_is_inside(const struct cal_instance *i, int64_t from_s, int64_t to_s);
/** The instance of a day whatever its time; false: no such day, or cancelled. */
bool cal_instance_of(uint32_t event, const struct cal_version *v, int32_t day,
                     struct cal_instance *ret);

/* ---- cal_gen.c --------------------------------------------------------------------------------- */

void cal_generate(struct sim_mailbox *mb, unsigned n);

/* ---- cal_json.c -------------------------------------------------------------------------------- */

/* Properties, in the order in which they are written. */
enum cal_prop {
    CAL_P_CREATED,
    CAL_P_MODIFIED,
    CAL_P_CHANGE_KEY,
    CAL_P_CATEGORIES,
    CAL_P_TRANSACTION,
    CAL_P_START_ZONE,
    CAL_P_END_ZONE,
    CAL_P_ICAL,
    CAL_P_REMINDER,
    CAL_P_REMINDER_ON,
    CAL_P_ATTACHMENTS,
    CAL_P_SUBJECT,
    CAL_P_PREVIEW,
    CAL_P_IMPORTANCE,
    CAL_P_SENSITIVITY,
    CAL_P_ALL_DAY,
    CAL_P_CANCELLED,
    CAL_P_IS_ORGANIZER,
    CAL_P_RESPONSE_REQUESTED,
    CAL_P_MASTER,
    CAL_P_SHOW_AS,
    CAL_P_TYPE,
    CAL_P_WEB_LINK,
    CAL_P_MEETING_URL,
    CAL_P_IS_ONLINE,
    CAL_P_PROVIDER,
    CAL_P_PROPOSALS,
    CAL_P_DRAFT,
    CAL_P_HIDE,
    CAL_P_ORIGINAL_START,
    CAL_P_RESPONSE,
    CAL_P_BODY,
    CAL_P_START,
    CAL_P_END,
    CAL_P_LOCATION,
    CAL_P_LOCATIONS,
    CAL_P_RECURRENCE,
    CAL_P_ATTENDEES,
    CAL_P_ORGANIZER,
    CAL_P_MEETING,
    CAL_P_CANCELLED_OCCURRENCES,
    CAL_P_N
};

#define CAL_BIT(p) (UINT64_C(1) << (p))
/* All but what comes only when it is selected. */
#define CAL_ALL (((UINT64_C(1) << CAL_P_N) - 1) & ~CAL_BIT(CAL_P_CANCELLED_OCCURRENCES))

/* How to write: for whom. */
struct cal_view {
    const struct sim_mailbox *mb;
    bool immutable, text_body;
    int zone;              /* of start and end */
    const char *zone_name; /* as asked for */
    uint64_t select;
    bool type_first; /* "@odata.type", as in delta */
    bool expand_exceptions;
};

/** $select to bits; NULL: all. *unknown: a name that no event has. */
uint64_t cal_select(const char *text, bool *unknown);
void cal_format_id(const struct sim_mailbox *mb, uint32_t event, const struct cal_version *v,
                   int32_t day, bool immutable, char out[SIM_ID_MAX]);
/** An event's id, of either form. @return 0; -EINVAL: malformed; -ENOENT: no such item any more, or of another mailbox */
int cal_parse_id(const struct sim_mailbox *mb, const char *text, uint32_t *event, int32_t *day);
uint32_t cal_find_calendar(const struct sim_mailbox *mb,
                           const char *id_or_name); /* UINT32_MAX: none */
void cal_calendar_id(const struct sim_mailbox *mb, uint32_t calendar, char out[SIM_ID_MAX]);
/** A master, or a single event. */
void cal_write_event(const struct cal_view *view, uint32_t event, const struct cal_version *v,
                     struct sim_jw *w);
/** An occurrence, an exception, or a single event. */
void cal_write_instance(const struct cal_view *view, const struct cal_instance *i,
                        struct sim_jw *w);
/** What calendarView/delta tells of an occurrence. */
void cal_write_stub(const struct cal_view *view, const struct cal_instance *i, struct sim_jw *w);
void cal_write_body(const struct sim_mailbox *mb, const struct cal_fields *f, bool html,
                    struct cs_buf *out);
const char *cal_type_name(const struct cal_version *v, const struct cal_exception *ex, int32_t day);
extern const char *const cal_response_names[6];
extern const char *const cal_sensitivity_names[4];
extern const char *const cal_show_names[6];
extern const char *const cal_importance_names[3];
extern const char *const cal_attendee_names[3];

/* ---- cal_list.c, cal_delta.c ------------------------------------------------------------------- */

/** Reads the zone preference; false: unknown zone, answered. */
bool cal_view_init(struct cal_view *view, struct sim_request *req, struct sim_answer *ans);
/** Reads startDateTime and endDateTime; false: absent, wrong or too far apart, answered. */
bool cal_window(const struct sim_request *req, struct sim_answer *ans, int64_t *from_s,
                int64_t *to_s);
/** path: behind the base, for links. */
void cal_delta(struct sim_request *req, struct sim_answer *ans, uint32_t calendar,
               const char *path);
void cal_list_events(struct sim_request *req, struct sim_answer *ans, uint32_t calendar,
                     const char *path);
void cal_list_view(struct sim_request *req, struct sim_answer *ans, uint32_t calendar,
                   const char *path);
void cal_list_instances(struct sim_request *req, struct sim_answer *ans, uint32_t event,
                        const char *path);

#endif
