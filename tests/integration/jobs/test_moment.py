#!/usr/bin/python3
"""mail.slice where one second holds more mail than a page, or than a job: an import, a migration."""

import datetime
import threading

from crmtest import check, check_equal, main
from jobbed import Jobs, now, rfc3339

# nothing here was changed after the folders had been anchored, so nothing owes a look
ANCHORED = rfc3339(now() + datetime.timedelta(hours=1))
WHEN = rfc3339((now() - datetime.timedelta(days=5)).replace(microsecond=0))


def fill(bed, count):
    """Mails of one second beside those that are there."""
    for n in range(0, count, 5000):
        bed.ops({"op": "arrive", "folder": "inbox", "count": min(5000, count - n), "subject": "x", "body": "y", "plain": True,
                 "receivedDateTime": WHEN})


def walk(bed, most_jobs, each=None):
    """The slice to its end: ids in the order in which they were published."""
    scope = bed.scope(bed.tree())
    part = {"stream": "slices", "generation": 1, "mode": "slice", "slice_id": "0", "window": {"from": None, "to": None}}
    published = []
    for _ in range(most_jobs):
        before = part.get("cursor")
        end = bed.run(bed.job("mail.slice", [part], anchored_at=ANCHORED, **scope))
        published += [r["value"]["item_id"] for r in end["records"]]
        got = end["feedback"]["parts"][0]
        if got["outcome"] == "done":
            return published, scope
        check_equal(got["outcome"], "more", f"outcome of {got}")
        check(got["cursor"] != before, f"a job left the cursor {before} that it came with")
        part["cursor"] = got["cursor"]
        if each:
            each()
    check(False, f"no end after {most_jobs} jobs")


def inside(bed, scope):
    folders = {f["id"] for f in scope["folders"]}
    return {m["id"] for m in bed.truth()["messages"] if m["parentFolderId"] in folders}


def hold(t, count, most_jobs, **limits):
    bed = Jobs(t, "--messages", "60", limits=limits, name=f"jobrun{count}")
    fill(bed, count)
    published, scope = walk(bed, most_jobs)
    want = inside(bed, scope)
    check_equal(want - set(published), set(), f"lost of {count}")
    check_equal(set(published) - want, set(), f"invented beside {count}")
    check(len(published) <= 1.5 * len(want) + 200, f"{len(published)} records for {len(want)} items")


def test_a_second_just_larger_than_a_page(t):
    for count in (49, 50, 51, 199, 200, 201, 399, 400, 401):
        hold(t, count, 12)


def test_a_second_larger_than_a_job(t):
    hold(t, 1500, 12, items=500)
    hold(t, 2100, 12, items=100, pages=2, slice_page=250)
    hold(t, 700, 250, items=20, pages=1, slice_page=2)


# contract: pages.skip_shifts
def test_a_second_that_loses_items_while_it_is_read(t):
    bed = Jobs(t, "--messages", "20", "--latency-ms", "30", limits={"items": 100})
    fill(bed, 900)
    victims = [m["id"] for m in bed.truth()["messages"] if m["receivedDateTime"].startswith(WHEN[:19])][:300]
    stop = threading.Event()

    def delete():
        for victim in victims:
            if stop.wait(0.003):
                return
            bed.ops({"op": "delete", "id": victim})

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        published, scope = walk(bed, 12)
    finally:
        stop.set()
        thread.join(30)
    check_equal(inside(bed, scope) - set(published), set(), "lost")


def test_a_second_larger_than_anything_is_refused(t):
    bed = Jobs(t, "--messages", "20", limits={"slice_page": 250})
    fill(bed, 10200)
    part = {"stream": "slices", "generation": 1, "mode": "slice", "slice_id": "0", "window": {"from": None, "to": None},
            "cursor": WHEN}
    end = bed.run(bed.job("mail.slice", [part], anchored_at=ANCHORED, **bed.scope(bed.tree())), deadline_s=120)
    got = end["feedback"]
    check_equal((got["outcome"], got["error"]["code"], end["records"]), ("retry", "page_too_large", []), "the end")
    check("cursor" not in got["parts"][0], "a cursor of half a second")


def test_more_looks_than_a_feedback_holds_are_owed_in_turns(t):
    """Everything in the second was changed since the anchors, so each of its mails is owed a look; others stand beside it."""
    bed = Jobs(t, "--messages", "60", limits={"slice_page": 250})
    fill(bed, 2300)
    scope = bed.scope(bed.tree())
    anchored = rfc3339(now() - datetime.timedelta(days=1))
    middle = rfc3339(now() - datetime.timedelta(days=20))
    parts = [{"stream": "slices", "generation": 1, "mode": "slice", "slice_id": str(n), "window": window}
             for n, window in enumerate(({"from": middle, "to": None}, {"from": None, "to": middle}))]
    told, owed = [], set()
    for jobs in range(1, 20):
        end = bed.run(bed.job("mail.slice", parts, anchored_at=anchored, **scope), deadline_s=120)
        told += [r["value"]["item_id"] for r in end["records"]]
        owed |= {look["id"] for look in end["feedback"].get("left", [])}
        for part, got in zip(list(parts), end["feedback"]["parts"]):
            check(got["outcome"] in ("done", "more"), f"{got}")
            if got["outcome"] == "done":
                parts.remove(part)
            elif got.get("cursor"):
                part["cursor"] = got["cursor"]
        if not parts:
            break
    check(not parts, "no end after 19 jobs")
    check(jobs <= 8, f"{jobs} jobs")
    want = inside(bed, scope)
    moment = {m["id"] for m in bed.truth()["messages"] if m["receivedDateTime"].startswith(WHEN[:19])}
    check_equal((want - set(told), set(told) - want), (set(), set()), "lost, invented")
    check_equal(moment - owed, set(), "without a look")
    check(len(told) <= len(want) + 260, f"{len(told)} records for {len(want)} items")


if __name__ == "__main__":
    main(test_a_second_just_larger_than_a_page, test_a_second_larger_than_a_job,
         test_a_second_that_loses_items_while_it_is_read, test_a_second_larger_than_anything_is_refused,
         test_more_looks_than_a_feedback_holds_are_owed_in_turns)
