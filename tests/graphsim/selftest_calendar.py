#!/usr/bin/python3
"""graphsim's calendar behaves as Graph's where clients most often go wrong."""

import datetime
import json

from crmtest import check, check_equal, main, wait_for
from simclient import IMMUTABLE, Sim, fold, quote

DAY = datetime.timedelta(days=1)
STUB = {"@odata.type", "@odata.etag", "id", "seriesMasterId", "type", "start", "end"}


def window(back=60, ahead=120):
    now = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    a, b = (t.strftime("%Y-%m-%dT%H:%M:%SZ") for t in (now - back * DAY, now + ahead * DAY))
    return f"startDateTime={a}&endDateTime={b}"


def delta(more=""):
    return f"/calendarView/delta?{window()}{more}"


def local(days, hour=10):
    at = datetime.datetime.now(datetime.timezone.utc) + days * DAY
    return {"dateTime": at.strftime(f"%Y-%m-%dT{hour:02}:00:00"), "timeZone": "UTC"}


def every(sim, path):
    found, answer = [], sim.ok(path)
    while True:
        found += answer["value"]
        if "@odata.nextLink" not in answer:
            return found
        answer = sim.call(answer["@odata.nextLink"]).json


# contract: fact.09.calendar_stubs
def test_view_delta_has_masters_and_stubs(t):
    sim = Sim(t, "--events", "60")
    items, _, _ = sim.round(delta(), page=20)
    types = {i["type"] for i in items}
    check({"singleInstance", "seriesMaster", "occurrence"} <= types, f"types {types}")
    masters = {i["id"] for i in items if i["type"] == "seriesMaster"}
    for item in items:
        if item["type"] == "occurrence":
            check_equal(set(item), STUB, "members of an occurrence")
            check(item["seriesMasterId"] in masters, "an occurrence without its master")
        else:
            check("subject" in item and "organizer" in item, "a whole event")
    view = every(sim, f"/calendarView?{window()}&$top=50")
    check(all(e["type"] != "seriesMaster" and "subject" in e for e in view), "plain calendarView: no masters, no stubs")
    check_equal({e["id"] for e in view}, {i["id"] for i in items if i["type"] != "seriesMaster"}, "what both show")


# contract: fact.09.calendar_stubs
def test_no_query_options_on_view_delta(t):
    sim = Sim(t, "--events", "5")
    for option in ("$select=subject", "$filter=isCancelled%20eq%20true", "$orderby=subject", "$expand=instances", "$search=x"):
        answer = sim.box(delta("&" + option))
        check_equal(answer.status, 400, option)


# contract: fact.09.calendar_stubs calendar.removed_outside
def test_removed_speaks_of_events_outside_the_window(t):
    sim = Sim(t, "--events", "5")
    items, link, _ = sim.round(delta())
    known = {i["id"] for i in items}
    far = sim.ops({"op": "event_create", "event": {"subject": "far", "start": local(300), "end": local(300, 11)}})[0]["id"]
    items, link, _ = sim.round(link)
    check_equal([(i["id"], i["@removed"]) for i in items], [(far, {"reason": "deleted"})], "an event that was never in the window")
    check(far not in known, "it was known")
    near = sim.ops({"op": "event_create", "event": {"subject": "near", "start": local(3), "end": local(3, 11)}})[0]["id"]
    items, link, _ = sim.round(link)
    check_equal([(i["id"], i.get("subject")) for i in items], [(near, "near")], "an event in the window")
    sim.ops({"op": "event_patch", "id": near, "event": {"start": local(300), "end": local(300, 11)}})
    items, link, _ = sim.round(link)
    check_equal([(i["id"], "@removed" in i) for i in items], [(near, True)], "moved out")
    sim.ops({"op": "event_delete", "id": near})
    sim.round(link)
    check_equal(sim.box(f"/events/{quote(near)}").code, "ErrorItemNotFound", "deleted")


# contract: calendar.series_whole calendar.exception
def test_a_changed_series_is_sent_whole(t):
    sim = Sim(t, "--events", "0")
    made = sim.ops({"op": "event_create", "event": {
        "subject": "weekly", "start": local(1), "end": local(1, 11),
        "recurrence": {"pattern": {"type": "daily", "interval": 2},
                       "range": {"type": "numbered", "startDate": local(1)["dateTime"][:10], "numberOfOccurrences": 8}}}})[0]["id"]
    items, link, _ = sim.round(delta())
    mine = [i for i in items if i["id"] == made or i.get("seriesMasterId") == made]
    check_equal(sorted(i["type"] for i in mine), ["occurrence"] * 8 + ["seriesMaster"], "the series")
    sim.ops({"op": "event_cancel_occurrence", "id": made, "date": local(5)["dateTime"][:10]})
    items, link, _ = sim.round(link)
    left = [i for i in items if i.get("type") in ("occurrence", "exception")]
    check_equal(len(left), 7, "occurrences of the next round")
    sim.ops({"op": "event_move_occurrence", "id": made, "date": local(7)["dateTime"][:10], "start": local(7, 15), "end": local(7, 16)})
    items, link, _ = sim.round(link)
    moved = [i for i in items if i.get("type") == "exception"]
    check_equal(len(moved), 1, "exceptions")
    check(moved[0]["start"]["dateTime"].startswith(local(7, 15)["dateTime"]) and "subject" in moved[0], "the exception is a whole event")
    instances = every(sim, f"/events/{quote(made)}/instances?{window()}")
    check_equal(len(instances), 7, "instances")


# contract: fact.10.year_one fact.23.join_url
def test_dates_of_the_year_one_and_teams(t):
    sim = Sim(t, "--events", "300")
    events = every(sim, "/events?$top=100")
    text = json.dumps(events)
    check('"0001-01-01T00:00:00Z"' in text, "no response time of the year 1")
    check(any((e.get("recurrence") or {}).get("range", {}).get("endDate") == "0001-01-01" for e in events), "no series without an end")
    teams = [e for e in events if e.get("onlineMeetingProvider") == "teamsForBusiness"]
    check(teams and all(e["onlineMeetingUrl"] is None and e["onlineMeeting"]["joinUrl"] for e in teams), "Teams meetings")
    check(all(e["type"] in ("singleInstance", "seriesMaster") for e in events), "/events does not expand")


# contract: calendar.zones
def test_time_zone_of_answers(t):
    sim = Sim(t, "--events", "0")
    id_ = sim.ops({"op": "event_create", "event": {"subject": "x", "start": {"dateTime": "2026-07-01T10:00:00", "timeZone": "UTC"},
                                                   "end": {"dateTime": "2026-07-01T11:00:00", "timeZone": "UTC"}}})[0]["id"]
    for zone, hour in (("UTC", "10"), ("W. Europe Standard Time", "12"), ("Europe/Berlin", "12"), ("Pacific Standard Time", "03")):
        start = sim.ok(f"/events/{quote(id_)}", prefer=f'{IMMUTABLE}, outlook.timezone="{zone}"')["start"]
        check_equal(start["dateTime"][:13], f"2026-07-01T{hour}", zone)


# contract: calendar.dead_cursor
def test_dead_calendar_tokens(t):
    sim = Sim(t, "--events", "10", "--gone-form", "1")
    _, link, _ = sim.round(delta())
    sim.ops({"op": "event_evict"})
    answer = sim.call(link)
    check_equal((answer.status, answer.code), (410, "SyncStateNotFound"), "after the eviction")
    check_equal(sim.box(delta()).status, 200, "a new round")


def test_view_delta_follows_the_mutator(t):
    """A reader that replaces a series' occurrences whenever its master is told ends with the view."""
    sim = Sim(t, "--events", "40", calm=False)
    items, link, _ = sim.round(delta(), page=10)
    state = fold(items)
    sim.post("/mutator", {"rate": 500, "until_count": 300, "weights": {"event": 1}})
    quiet = 0
    while quiet < 2:
        idle = sim.get("/mutator")["idle"]
        items, link, _ = sim.round(link, page=10)
        for master in {i["id"] for i in items if i.get("type") == "seriesMaster"}:
            state = {k: v for k, v in state.items() if v.get("seriesMasterId") != master}
        for gone in {i["id"] for i in items if "@removed" in i}:
            state = {k: v for k, v in state.items() if v.get("seriesMasterId") != gone}
        fold(items, state)
        quiet = quiet + 1 if idle and not items else 0
    view = {e["id"]: (e["start"]["dateTime"][:19], e["end"]["dateTime"][:19]) for e in every(sim, f"/calendarView?{window()}&$top=100")}
    have = {i: (e["start"]["dateTime"][:19], e["end"]["dateTime"][:19]) for i, e in state.items() if e["type"] != "seriesMaster"}
    check_equal(sorted(set(have) ^ set(view))[:4], [], "ids in one of the two only")
    check_equal({i: v for i, v in have.items() if view[i] != v}, {}, "times")


# contract: calendar.others
def test_calendars(t):
    sim = Sim(t, "--events", "10")
    default = sim.ok("/calendar")
    check_equal(default["isDefaultCalendar"], True, "the default calendar")
    check(default["id"] in {c["id"] for c in every(sim, "/calendars")}, "in the list")
    truth = sim.truth()
    check(len(truth["events"]) == 10 and truth["calendars"], "the truth")
    wait_for(lambda: sim.box("/calendar/calendarView/delta?" + window()).status == 200, 1, "the default calendar by its long path")


if __name__ == "__main__":
    main(*(f for n, f in list(globals().items()) if n.startswith("test_")))
