/* calendar.h - a mailbox's calendars: what they hold, how Graph shows them, how they change.
 *
 * All functions run with the mailbox's lock held. Events are kept as versions, one per change, so that a
 * delta round can compare what a client has with what is; the text is made from seeds (content.h).
 */
#ifndef CS_GRAPHSIM_CALENDAR_H
#define CS_GRAPHSIM_CALENDAR_H

#include "sim.h"

/**
 * Three calendars in two groups, and n_events events (single ones and series) around the simulator's now,
 * from sim->years back to about a year ahead. The same seed and the same minute of now give the same.
 */
void sim_calendar_init(struct sim_mailbox *mb, uint64_t seed, unsigned n_events);
void sim_calendar_clear(struct sim_mailbox *mb);

/** One random change; its static name ("create", "occurrence_move", ...), or NULL if there was nothing to change. */
const char *sim_calendar_mutate(struct sim_mailbox *mb, struct sim_rng *rng);

/**
 * seg[2] is calendar, calendars, calendarGroups, calendarView or events; answers 404 ResourceNotFound for
 * what it does not know. Called with ans->status 200 and an empty body.
 *
 *   GET calendar | calendars[/{id}] | calendarGroups | calendarGroups/{id}/calendars
 *   GET [calendar/ | calendars/{id}/]events, events/{id}, events/{id}/instances, events/{id}/attachments
 *   GET [calendar/ | calendars/{id}/]calendarView[/delta]
 *
 * Lists take $select, $top, $skip, $orderby (start/dateTime, lastModifiedDateTime, subject) and a $filter of
 * comparisons joined by "and" over start/dateTime, end/dateTime, type, iCalUId, subject, isCancelled.
 */
void sim_calendar_handle(struct sim_request *req, struct sim_answer *ans);

/**
 * Writes members into an open object:
 *   "calendars": [{id, name, isDefaultCalendar}],
 *   "events_window": {"start", "end"}: occurrences are listed inside it (years back + 1, 2 years ahead),
 *   "events": every single event and master: {id, restId, changeKey, calendarId, type, startUtc, endUtc,
 *       bodySha256, event: as Graph shows it in UTC with immutable ids, and of a master
 *       occurrences: [{id, type, changeKey, originalStartUtc, startUtc, endUtc, and of an exception event}]}
 * and with history "gone_events" (last state; goneDateTime) and "event_history" [{version, at, op, id, day}].
 */
void sim_calendar_truth(struct sim_mailbox *mb, bool history, struct sim_jw *w);

/**
 * One scripted change. op is a cs_json_val, an object:
 *   {"op":"event_create","event":{...},"calendar":"id or name"}
 *   {"op":"event_patch","id":...,"event":{...}}   of an occurrence's id: makes or changes an exception
 *   {"op":"event_delete","id":...}                of an occurrence's id: cancels that occurrence
 *   {"op":"event_cancel_occurrence","id":master,"date":"2026-03-02"}
 *   {"op":"event_move_occurrence","id":master,"date":"2026-03-02","start":{...},"end":{...}}
 *   {"op":"event_cancel","id":...}                the organizer cancels; this copy stays
 *   {"op":"event_respond","id":...,"response":"accepted"}
 *   {"op":"event_move_calendar","id":...,"calendar":"id or name"}   changes the id that is not immutable
 *   {"op":"event_touch","id":...}                 a new version with the same content
 *   {"op":"event_evict"}                          all calendarView delta tokens so far are dead
 * Ids may be of either form. "event" has members as Graph's event has them: subject, body, start, end,
 * isAllDay, recurrence, attendees, organizer, location, sensitivity, showAs, importance, categories,
 * isOnlineMeeting, isCancelled, isOrganizer, responseStatus, hasAttachments, iCalUId. Changing a master's
 * times or recurrence drops its exceptions, as Exchange does.
 *
 * Writes members of the result (id, restId, changeKey) or "error" into an open object.
 * @return false: unknown op, nothing written
 */
bool sim_calendar_op(struct sim_mailbox *mb, const void *op, struct sim_jw *w);

#endif
