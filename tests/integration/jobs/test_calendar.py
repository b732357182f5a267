#!/usr/bin/python3
"""calendar.delta: events, series, what vanished, what only left the window."""

import datetime
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from crmtest import check, check_equal, main
from jobbed import NAME, Jobs, now, rfc3339
import oracle

TODAY = now().replace(hour=0, minute=0, second=0, microsecond=0)


def day(n):
    return TODAY + datetime.timedelta(days=n)


def graph_time(when):
    return {"dateTime": when.strftime("%Y-%m-%dT%H:%M:%S"), "timeZone": "UTC"}


def event(subject, at, hours=1, **more):
    return {"op": "event_create", "event": {"subject": subject, "start": graph_time(at),
                                            "end": graph_time(at + datetime.timedelta(hours=hours)), **more}}


def daily(at, count, interval=1):
    return {"pattern": {"type": "daily", "interval": interval},
            "range": {"type": "numbered", "startDate": at.strftime("%Y-%m-%d"), "numberOfOccurrences": count,
                      "recurrenceTimeZone": "UTC"}}


class Calendar:
    """The producer's side of one calendar: cursor, table, rows that are owed a look."""

    def __init__(self, bed, window=(-30, 120)):
        self.bed = bed
        self.window = [rfc3339(day(n)) for n in window]
        self.cursor = None
        self.mode = "first"
        self.rows = {}
        self.owed = set()
        self.state = {}

    def job(self, rows=None):
        owed = [self.rows[i] for i in sorted(self.owed)] if rows is None else rows
        part = {"stream": "cal:default", "generation": 1, "mode": self.mode,
                "window": {"from": self.window[0], "to": self.window[1]}, **({"cursor": self.cursor} if self.cursor else {})}
        return self.bed.job("calendar.delta", [part], **({"rows": owed} if owed else {}))

    def round(self):
        """One job; [(change, kind, item id)]."""
        job = self.job()
        end = self.bed.run(job)
        f = end["feedback"]
        part = f["parts"][0]
        check(part["outcome"] in ("done", "more"), f"{part}")
        self.cursor = part.get("cursor", self.cursor)
        self.owed -= {row["item_id"] for row in job.get("rows", [])}
        told = {row["item_id"]: row for row in f.get("rows", [])}
        for i in f.get("settled", []):
            if i not in told:
                self.rows.pop(i, None)
        self.rows.update(told)
        removed, whole = f.get("removed", []), f.get("series_whole", [])
        for i, row in self.rows.items():
            if row["id"] in removed or row.get("series") in removed or (row.get("series") in whole and i not in told):
                self.owed.add(i)
        self.last = f
        for record in end["records"]:
            self.state[record["key"]] = record["value"]
        if part["outcome"] == "more":
            return self.changes(end) + self.round()
        self.mode = "live"
        return self.changes(end)

    def settled(self):
        """A round, and looks until none is owed."""
        found = self.round()
        for _ in range(5):
            if not self.owed:
                return sorted(found)
            found += self.round()
        raise AssertionError(f"still owed: {self.owed}")

    @staticmethod
    def changes(end):
        return [(r["value"]["change"], r["value"]["kind"], r["value"]["item_id"]) for r in end["records"]]

    def compare(self):
        class Record:
            def __init__(self, value):
                self.json = value

        wrong = oracle.compare_calendar({k: Record(v) for k, v in self.state.items()}, self.bed.truth(), NAME,
                                        [oracle.utc(w) for w in self.window])
        check(not wrong, f"{len(wrong)} differences: " + "; ".join(wrong[:4]))


def bed_with(t, *args, **kw):
    return Jobs(t, "--messages", "0", *args, **{"private_events": "full", **kw})


def occurrence(master, at):
    return f"{master}_{at.strftime('%Y%m%dT%H%M%SZ')}"


# contract: fact.09.calendar_stubs calendar.window_frozen
def test_the_first_walk_is_the_window(t):
    for odd in ((), ("--empty-page", "30", "--short-page", "30", "--repeat", "30")):
        bed = bed_with(t, "--events", "60", *odd, name="jobrun" + str(len(odd)), limits={"pages": 3})
        calendar = Calendar(bed)
        calendar.round()
        calendar.compare()
        check_equal({f"{NAME}/{bed.user}/{'series' if r['type'] == 'master' else 'event'}/{i}" for i, r in calendar.rows.items()},
                    set(calendar.state), "the table is what is out there")
        check_equal(calendar.round(), [], "nothing happened since")


def test_an_event_is_born_changed_and_deleted(t):
    bed = bed_with(t, "--events", "0")
    calendar = Calendar(bed)
    calendar.round()
    i = bed.ops(event("one", day(3)))[0]["id"]
    check_equal(calendar.round(), [("upserted", "event", i)], "born")
    bed.ops({"op": "event_patch", "id": i, "event": {"subject": "two"}})
    check_equal(calendar.round(), [("upserted", "event", i)], "changed")
    check_equal(calendar.state[f"{NAME}/{bed.user}/event/{i}"]["subject"], "two", "subject")
    bed.ops({"op": "event_delete", "id": i})
    check_equal(calendar.settled(), [("deleted", "event", i)], "deleted")
    check_equal(calendar.rows, {}, "the table")


# contract: calendar.removed_outside
def test_what_leaves_the_window_is_no_deletion(t):
    bed = bed_with(t, "--events", "0")
    calendar = Calendar(bed)
    calendar.round()
    stays, goes, far = (r["id"] for r in bed.ops(event("stays", day(3)), event("goes", day(4)), event("far", day(400))))
    calendar.round()
    bed.ops({"op": "event_patch", "id": goes, "event": {"start": graph_time(day(300)), "end": graph_time(day(301))}},
            {"op": "event_patch", "id": far, "event": {"subject": "still far"}})
    check_equal(calendar.settled(), [("left_scope", "event", goes)], "moved out of the window")
    check_equal(set(calendar.rows), {stays}, "the table")
    bed.ops({"op": "event_patch", "id": goes, "event": {"start": graph_time(day(5)), "end": graph_time(day(6))}})
    check_equal(calendar.settled(), [("upserted", "event", goes)], "and back")


def test_what_the_window_has_left_behind_is_settled_silently(t):
    bed = bed_with(t, "--events", "0")
    i = bed.ops(event("one", day(3)))[0]["id"]
    calendar = Calendar(bed)
    calendar.round()
    calendar.window = [rfc3339(day(10)), rfc3339(day(120))]
    calendar.cursor, calendar.mode = None, "first"
    calendar.owed = set(calendar.rows)
    check_equal((calendar.round(), calendar.rows), ([], {}), "no news")
    check_equal(calendar.last["settled"], [i], "settled")


# contract: calendar.series_whole calendar.occurrence_deleted
def test_a_series_and_its_occurrences(t):
    bed = bed_with(t, "--events", "0")
    calendar = Calendar(bed)
    calendar.round()
    at = day(2) + datetime.timedelta(hours=9)
    master = bed.ops(event("daily", at, recurrence=daily(at, 5)))[0]["id"]
    days = [occurrence(master, at + datetime.timedelta(days=n)) for n in range(5)]
    check_equal(sorted(calendar.round()), sorted([("upserted", "series", master)] + [("upserted", "event", d) for d in days]), "born")
    series = calendar.state[f"{NAME}/{bed.user}/series/{master}"]
    check_equal((series["occurrences"], series["recurrence"]["rrule"]),
                ([f"{NAME}/{bed.user}/event/{d}" for d in days], "FREQ=DAILY;COUNT=5"), "the series")
    check_equal({calendar.state[f"{NAME}/{bed.user}/event/{d}"]["subject"] for d in days}, {"daily"}, "joined with the master")

    # one is moved: an exception, by the key of its original start
    moved = at + datetime.timedelta(days=1)
    bed.ops({"op": "event_move_occurrence", "id": master, "date": moved.strftime("%Y-%m-%d"),
             "start": graph_time(moved + datetime.timedelta(hours=5)), "end": graph_time(moved + datetime.timedelta(hours=6))})
    calendar.settled()
    value = calendar.state[f"{NAME}/{bed.user}/event/{days[1]}"]
    check_equal((value["type"], value["start"]["utc"], value["original_start"]),
                ("exception", rfc3339(moved + datetime.timedelta(hours=5)), rfc3339(moved)), "the exception")
    check_equal([e["item_id"] for e in calendar.state[f"{NAME}/{bed.user}/series/{master}"]["exceptions"]], [days[1]], "named by the series")

    # one is cancelled
    bed.ops({"op": "event_cancel_occurrence", "id": master, "date": (at + datetime.timedelta(days=3)).strftime("%Y-%m-%d")})
    found = calendar.settled()
    check(("deleted", "event", days[3]) in found, f"the cancelled one: {found}")
    check_equal([c[0] for c in found if c[1:] != ("event", days[3])].count("deleted"), 0, "other deletions")
    check_equal([c["date"] for c in calendar.state[f"{NAME}/{bed.user}/series/{master}"]["cancelled_dates"]],
                [(at + datetime.timedelta(days=3)).strftime("%Y-%m-%d")], "cancelled dates")

    # the pattern changes: what vanished gets its own record, once
    bed.ops({"op": "event_patch", "id": master, "event": {"recurrence": daily(at, 3, interval=7)}})
    found = calendar.settled()
    check_equal(sorted(c[2] for c in found if c[0] == "deleted"), sorted([days[1], days[2], days[4]]), "vanished")
    calendar.compare()

    # and all of it goes
    bed.ops({"op": "event_delete", "id": master})
    found = calendar.settled()
    check_equal({c[0] for c in found}, {"deleted"}, "gone")
    check_equal(sorted(c[2] for c in found), sorted([master] + [occurrence(master, at + datetime.timedelta(days=7 * n)) for n in range(3)]),
                "the series and its occurrences")
    check_equal((calendar.rows, calendar.owed), ({}, set()), "the table")


# contract: calendar.exception
def test_an_exception_alone_is_joined_with_its_master(t):
    """A job whose page has occurrences only reads their master once."""
    bed = bed_with(t, "--events", "0")
    at = day(2) + datetime.timedelta(hours=9)
    master = bed.ops(event("daily", at, recurrence=daily(at, 4)))[0]["id"]
    calendar = Calendar(bed)
    calendar.round()
    rows = sorted((r for r in calendar.rows.values() if r["type"] != "master"), key=lambda r: r["item_id"])
    before = bed.counters()["requests"]
    end = bed.run(calendar.job(rows))  # nothing happened, and all are there: told again, from the master
    check_equal(sorted(Calendar.changes(end)), [("upserted", "event", r["item_id"]) for r in rows], "told again")
    check_equal({r["value"]["version"]["change_key"] for r in end["records"]},
                {calendar.state[f"{NAME}/{bed.user}/event/{rows[0]['item_id']}"]["version"]["change_key"]}, "the same version")
    check(bed.counters()["requests"] - before <= 1 + 4 + 1 + 4, "requests: the delta, the rows, the master once, the views")


# contract: calendar.others
def test_another_calendar_is_another_scope(t):
    bed = bed_with(t, "--events", "0")
    other = next(c for c in bed.truth()["calendars"] if not c["isDefaultCalendar"])
    at = day(2)
    one, master = (r["id"] for r in bed.ops(event("one", day(3)), event("daily", at, recurrence=daily(at, 3))))
    calendar = Calendar(bed)
    calendar.round()
    bed.ops({"op": "event_move_calendar", "id": one, "calendar": other["id"]},
            {"op": "event_move_calendar", "id": master, "calendar": other["id"]})
    found = calendar.settled()
    check_equal({c[0] for c in found}, {"left_scope"}, "no deletion")
    check_equal(sorted(c[2] for c in found), sorted([one, master] + [occurrence(master, at + datetime.timedelta(days=n)) for n in range(3)]),
                "what left")
    check_equal(calendar.rows, {}, "the table")


# contract: calendar.private
def test_private_events(t):
    for rule in ("busy_only", "skip", "full"):
        bed = bed_with(t, "--events", "0", private_events=rule, name="jobrun-" + rule)
        calendar = Calendar(bed)
        secret = bed.ops(event("secret", day(1), sensitivity="private"))[0]["id"]
        found = calendar.round()
        if rule == "skip":
            check_equal(found, [], "held back, and nothing said of it")
        else:
            value = calendar.state[f"{NAME}/{bed.user}/event/{secret}"]
            check_equal((value["detail"], value["subject"]), (rule, None if rule == "busy_only" else "secret"), "detail")
        public = bed.ops(event("public", day(1)))[0]["id"]
        calendar.round()
        bed.ops({"op": "event_patch", "id": public, "event": {"sensitivity": "private"}})
        check_equal(calendar.round(), [("left_scope" if rule == "skip" else "upserted", "event", public)], f"became private: {rule}")


# contract: calendar.dead_cursor calendar.denied
def test_a_dead_cursor_and_a_denied_calendar(t):
    bed = bed_with(t, "--events", "5", limits={"tries": 1})
    calendar = Calendar(bed)
    calendar.round()
    bed.ops(event("one", day(1)), {"op": "event_evict"})
    end = bed.run(calendar.job())
    part = end["feedback"]["parts"][0]
    check_equal((part["outcome"], part["error"]["code"], end["records"]), ("resync", "cursor_dead", []), "parked, nothing invented")
    calendar.cursor = None
    bed.faults({"match": {"path_contains": "calendarView"}, "times": 1, "action": {"status": 403, "code": "ErrorAccessDenied"}})
    end = bed.run(calendar.job())
    check_equal((end["feedback"]["outcome"], end["feedback"]["error"]["code"]), ("retry", "mailbox_denied"), "denied")


def test_a_read_that_fails_takes_nothing_half(t):
    bed = bed_with(t, "--events", "0", limits={"tries": 1})
    calendar = Calendar(bed)
    calendar.round()
    at = day(2)
    master = bed.ops(event("daily", at, recurrence=daily(at, 3)))[0]["id"]
    bed.faults({"match": {"path_contains": "/events/"}, "times": 1, "action": {"status": 500, "code": "UnknownError"}})
    end = bed.run(calendar.job())
    check_equal((end["feedback"]["outcome"], end["records"], end["feedback"].get("rows")), ("retry", [], None), "the whole job comes again")
    check_equal(len(calendar.round()), 4, "and then is whole")
    check(master in calendar.rows, "the table")


if __name__ == "__main__":
    main(test_the_first_walk_is_the_window, test_an_event_is_born_changed_and_deleted, test_what_leaves_the_window_is_no_deletion,
         test_what_the_window_has_left_behind_is_settled_silently, test_a_series_and_its_occurrences,
         test_an_exception_alone_is_joined_with_its_master, test_another_calendar_is_another_scope, test_private_events,
         test_a_dead_cursor_and_a_denied_calendar, test_a_read_that_fails_takes_nothing_half)
