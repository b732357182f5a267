#!/usr/bin/python3
"""Folders beside what is out there: dead cursors, folders that go and come back, and the proof of the first sync."""

from crmtest import Kafka, check, check_equal, fold, main, wait_for
from bed import TENANT, Bed

SLOW = {"schedule.poll_min_ms": 2000, "schedule.poll_max_ms": 4000}
PROMPT = {"schedule.status_interval_ms": 500}


class Story:
    """One mailbox whose first sync is over and proved."""

    def __init__(self, t, messages=300, folders=14, settings=None, **more):
        self.bed = Bed(t, Kafka.shared(t), mailboxes=1, messages=messages, folders=folders, events=2,
                       settings={**PROMPT, **(settings or {})}, **more)
        self.ann = self.bed.mailboxes[0]
        self.worker, self.producer = self.bed.site.worker(), self.bed.site.producer()
        self.daemons = (self.worker, self.producer)
        self.bed.wait_equal(120, self.daemons)
        wait_for(lambda: self.status().get("backfill_done"), 90, "the backfill is proved")

    def status(self):
        found = fold(self.bed.kafka.read(self.bed.t.prefix + "status.v1")).get(f"{TENANT}/{self.ann}")
        return found.json if found else {}

    def ops(self, *ops):
        return self.bed.graph.post(f"/mailboxes/{self.ann}/ops", list(ops))["results"]

    def truth(self):
        return self.bed.truth(self.ann)

    def folders(self):
        return {f["id"]: f for f in self.truth()["folders"]}

    def in_scope(self):
        """Messages that are to be out there, by folder."""
        out = {r.json["item_id"]: r.json for k, r in fold(self.bed.records()).items() if "/email/" in k and r.json["change"] in ("upserted", "moved")}
        return out

    def since(self, mark):
        return [r.json for r in self.bed.records()[mark:] if r.json["kind"] == "email"]

    def scans(self):
        return len(self.worker.proc.log_events("index.scanned"))

    def resyncs(self):
        return [e for e in self.worker.proc.log_events("job.finished") if e["type"] == "mail.resync"]

    def end(self):
        check_equal([d.stop() for d in self.daemons], [0, 0], "exit codes")


def test_dead_cursors_cost_exactly_the_difference(t):
    s = Story(t, settings=SLOW)
    was = s.in_scope()
    out = list(was)
    scope = {r["folder"]["id"] for r in was.values()}
    s.bed.wait_quiet(90)
    mark, scans = len(s.bed.records()), s.scans()
    # all of it in one go, between two rounds: the cursors are dead before any of it could be told
    busy = sorted(scope)
    ops = [{"op": "evict_deltas", "what": "messages"}]
    changed = set()
    for n, item in enumerate(out[:40]):
        changed.add(item)
        here = was[item]["folder"]["id"]
        ops.append([{"op": "patch", "id": item, "set": {"isRead": n % 2 == 0, "flag": "flagged"}}, {"op": "delete", "id": item},
                    {"op": "move", "id": item, "to": busy[(busy.index(here) + 1) % len(busy)]},
                    {"op": "move", "id": item, "to": "deleteditems"}][n % 4])
    ops.append({"op": "arrive", "folder": "inbox", "count": 15, "plain": True})
    arrived = s.ops(*ops)[-1]["ids"]
    changed |= set(arrived)
    s.bed.wait_equal(120, s.daemons)
    wait_for(lambda: s.status().get("resync_owed") == 0, 60, "every folder is live again")
    s.bed.wait_quiet(90)
    told = s.since(mark)
    check_equal({r["item_id"] for r in told} - changed, set(), "unchanged items that were published again")
    check_equal(set(arrived) - {r["item_id"] for r in told}, set(), "arrivals that were missed")
    deleted = {r["item_id"] for r in told if r["change"] == "deleted"}
    check_equal(deleted, {i for n, i in enumerate(out[:40]) if n % 4 == 1}, "deletions")
    check_equal({r["item_id"] for r in told if r["change"] == "left_scope"}, {i for n, i in enumerate(out[:40]) if n % 4 == 3}, "left scope")
    check_equal(s.scans() - scans, 1, "readings of the index")
    s.bed.check_history()
    print(f"{len(busy)} dead cursors, {len(changed)} items changed meanwhile: {len(told)} records, 1 reading of the index")
    s.end()


def test_more_differences_than_a_job_may_leave(t):
    """Several jobs, one after another: each item once, also those that change between them."""
    s = Story(t, messages=180, folders=3, settings={**SLOW, "worker.job_items": 20})
    s.bed.wait_quiet(90)
    out = sorted(s.in_scope())
    mark, before = len(s.bed.records()), len(s.resyncs())
    ops = [{"op": "evict_deltas", "what": "messages"}]
    ops += [{"op": "delete", "id": i} if n % 5 == 0 else {"op": "patch", "id": i, "set": {"flag": "flagged"}} for n, i in enumerate(out[:100])]
    s.ops(*ops)
    wait_for(lambda: len(s.resyncs()) > before, 60, "the first comparison has ended")
    late = out[95:115]
    s.ops(*[{"op": "patch", "id": i, "set": {"importance": "high"}} for i in late if out.index(i) % 5 or out.index(i) >= 100])
    s.bed.wait_equal(120, s.daemons)
    wait_for(lambda: s.status().get("resync_owed") == 0, 60, "every folder is live again")
    s.bed.wait_quiet(90)
    jobs = s.resyncs()[before:]
    check(len(jobs) >= 5, f"too few jobs to mean anything: {len(jobs)}")
    told = s.since(mark)
    times = {}
    for r in told:
        times[r["item_id"]] = times.get(r["item_id"], 0) + 1
    check_equal(set(times) - set(out[:115]), set(), "unchanged items that were published again")
    check_equal({i for i, n in times.items() if n > (2 if i in late else 1)}, set(), "published more often than changed")
    check_equal({r["item_id"] for r in told if r["change"] == "deleted"}, set(out[:100:5]), "deletions")
    s.bed.check_history()
    # a folder that is gone takes several too
    counts = {}
    for r in s.in_scope().values():
        counts[r["folder"]["id"]] = counts.get(r["folder"]["id"], 0) + 1
    own = [i for i, f in s.folders().items() if f["wellKnownName"] is None and counts.get(i)]
    largest = max(own, key=lambda i: counts[i])
    check(counts[largest] > 20, f"items of the largest folder: {counts[largest]}")
    s.ops({"op": "folder_delete", "folder": largest})
    s.bed.wait_equal(120, s.daemons)
    print(f"{len(times)} items differed, {len(jobs)} jobs; then a folder of {counts[largest]} went")
    s.end()


def test_folders_that_go_and_come_back(t):
    s = Story(t)
    counts = {}
    for r in s.in_scope().values():
        counts[r["folder"]["id"]] = counts.get(r["folder"]["id"], 0) + 1
    own = [i for i, f in s.folders().items() if f["wellKnownName"] is None and counts.get(i)]
    check(len(own) >= 3, f"folders of the user's own with mail in them: {len(own)}")
    gone, away = sorted(own, key=lambda i: -counts[i])[:2]
    away_items = {i for i, r in s.in_scope().items() if r["folder"]["id"] == away}
    gone_items = {i for i, r in s.in_scope().items() if r["folder"]["id"] == gone}
    s.ops({"op": "folder_delete", "folder": gone}, {"op": "folder_move", "folder": away, "parent": "deleteditems"})
    s.bed.wait_equal(120, s.daemons)
    state = fold(s.bed.records())
    for items, change in ((gone_items, "deleted"), (away_items, "left_scope")):
        check_equal({state[f"{TENANT}/{s.ann}/email/{i}"].json["change"] for i in items}, {change}, f"{len(items)} items")
    wait_for(lambda: not any(k.endswith(f"mail:{gone}") and r.value is not None for k, r in fold(s.bed.kafka.read(t.prefix + "state.v1")).items()),
             60, "the stream of the folder that is gone has ended")
    # back it comes, and in the meantime one left and one was added
    some = sorted(away_items)[0]
    s.ops({"op": "delete", "id": some}, {"op": "arrive", "folder": away, "count": 2, "plain": True},
          {"op": "folder_move", "folder": away, "parent": "msgfolderroot"})
    s.bed.wait_equal(120, s.daemons)
    back = {i for i, r in s.in_scope().items() if r["folder"]["id"] == away}
    check_equal((len(back), some in back), (len(away_items) + 1, False), "what is in it now")
    s.bed.check_history()
    s.end()


def test_audits_find_nothing_and_cost_no_record(t):
    s = Story(t, messages=150, folders=6, settings={**SLOW, "schedule.audit_every_ms": 3000})
    s.bed.wait_quiet(90)
    mark, before = len(s.bed.records()), len(s.resyncs())
    wait_for(lambda: len(s.resyncs()) >= before + 3, 90, "three audits")
    audits = [f.json for f in s.bed.kafka.read(t.prefix + "feedback.v1") if f.json["type"] == "mail.resync" and f.json["lane"] == "audit"]
    compared = [p["compared"] for f in audits for p in f["parts"]]
    check_equal({(c["missing"], c["stale"], c["extra"]) for c in compared}, {(0, 0, 0)}, "differences")
    by_stream = {}
    for f in audits:
        for p in f["parts"]:
            check_equal(p["compared"]["listed"], p["compared"]["indexed"], "listed and out there")
            by_stream.setdefault(p["stream"], set()).add(p["compared"]["digest"])
    check_equal({len(d) for d in by_stream.values()}, {1}, "digests of a folder that did not change")
    check_equal(s.since(mark), [], "records")
    s.end()


if __name__ == "__main__":
    main(test_dead_cursors_cost_exactly_the_difference, test_more_differences_than_a_job_may_leave, test_folders_that_go_and_come_back, test_audits_find_nothing_and_cost_no_record)
