"""A small producer: the jobs of one mailbox, one at a time, in random order as far as the rules allow it.

Folders are anchored before anything is listed; slices count a folder as in scope once it has a token; a look waits until
every live folder has finished a round begun after it, and the tree has been listed since.
"""

import datetime
import random
import time

from jobbed import now, rfc3339


class Record:
    """As the oracle wants it."""

    def __init__(self, key, value):
        self.key = key
        self.json = value
        self.value = value


class Driver:
    def __init__(self, bed, user, seed, look_ms=300, calendar=None):
        self.bed = bed
        self.user = user
        self.random = random.Random(seed)
        self.look_ms = look_ms
        self.records = []
        self.state = {}
        self.folders = {}      # id: {"phase", "cursor", "generation", "begun", "last"}
        self.tree = {}
        self.looks = {}        # id: (look, since)
        self.slices = []
        self.listed = 0.0
        self.anchored = None
        self.phase = "new"
        self.calendar = calendar and {"window": calendar, "cursor": None, "rows": {}, "owed": set(), "phase": "first", "rounds": []}
        self.jobs = 0
        self.resyncs = 0
        self.outcomes = {}

    # --- one job -----------------------------------------------------------------------------------

    def run(self, kind, parts=(), **more):
        end = self.bed.run(self.bed.job(kind, parts, user=self.user, **more))
        self.jobs += 1
        self.outcomes[end["feedback"]["outcome"]] = self.outcomes.get(end["feedback"]["outcome"], 0) + 1
        keys = [r["key"] for r in end["records"]]
        assert len(keys) == len(set(keys)), f"one key twice in a job: {kind}"
        for r in end["records"]:
            record = Record(r["key"], r["value"])
            self.records.append(record)
            self.state[r["key"]] = record
        f = end["feedback"]
        assert f["outcome"] != "reject", f
        for look in f.get("left", []):
            self.looks[look["id"]] = (look, time.monotonic())
        return f

    def list_tree(self):
        began = time.monotonic()
        self.tree = self.bed.tree(self.user, tries=5)
        self.listed = began
        for i, folder in self.tree.items():
            if folder["in"] and i not in self.folders:
                early = self.phase in ("new", "anchor")
                self.folders[i] = {"phase": "anchor" if early else "first", "cursor": None, "generation": 1,
                                   "begun": None, "last": None}
        for i in list(self.folders):
            if i not in self.tree or not self.tree[i]["in"]:
                self.folders.pop(i)  # what was in it stays: mail.gone is not part of this
        if self.phase == "new":
            self.phase = "anchor"
            self.anchored = rfc3339(now())

    def scope(self, with_token=False):
        only = {i for i, f in self.folders.items() if f["phase"] == "live"} if with_token else set(self.folders)
        return self.bed.scope(self.tree, only)

    def poll(self, ids):
        parts = []
        for i in ids:
            f = self.folders[i]
            if f["begun"] is None:
                f["begun"] = time.monotonic()
            parts.append(self.bed.mail_part(self.tree[i], f["phase"], f["cursor"], f["generation"]))
        feedback = self.run("mail.delta", parts, **self.scope())
        for i, part in zip(ids, feedback.get("parts", [])):
            f = self.folders[i]
            if part["outcome"] in ("done", "more") and part.get("cursor"):
                f["cursor"] = part["cursor"]
            if part["outcome"] == "done":
                f["last"], f["begun"] = f["begun"], None
                if f["phase"] != "live":
                    f["phase"], f["last"] = "live", None
            elif part["outcome"] == "resync":
                self.resyncs += 1
                f["cursor"], f["begun"] = None, None
                if f["phase"] == "live":
                    f["phase"] = "first"  # walked anew; what left it meanwhile is not compared with anything here

    def list_slices(self):
        todo = [s for s in self.slices if not s["done"]]
        todo = todo[:self.random.randint(1, 3)]
        parts = [{"stream": "slices", "generation": 1, "mode": "slice", "slice_id": s["id"],
                  "window": {"from": s["from"], "to": s["to"]}, **({"cursor": s["cursor"]} if s["cursor"] else {})} for s in todo]
        feedback = self.run("mail.slice", parts, anchored_at=self.anchored, **self.scope(True))
        for s, part in zip(todo, feedback.get("parts", [])):
            if part["outcome"] == "done":
                s["done"] = True
            elif part["outcome"] == "more":
                s["cursor"] = part.get("cursor") or s["cursor"]

    def ready_looks(self):
        settled = time.monotonic() - self.look_ms / 1000
        return [i for i, (look, since) in self.looks.items()
                if since < settled and self.listed > since and
                all(f["phase"] == "live" and f["last"] is not None and f["last"] > since for f in self.folders.values())]

    def look(self, ids):
        asked = [self.looks.pop(i)[0] for i in ids]
        feedback = self.run("mail.items", items=asked, **self.scope())
        if feedback["outcome"] == "retry":
            for look in asked:
                self.looks.setdefault(look["id"], (look, time.monotonic()))

    def poll_calendar(self):
        c = self.calendar
        owed = [c["rows"][i] for i in sorted(c["owed"])][:20]
        part = {"stream": "cal:default", "generation": 1, "mode": c["phase"],
                "window": {"from": c["window"][0], "to": c["window"][1]}, **({"cursor": c["cursor"]} if c["cursor"] else {})}
        began = time.monotonic()
        f = self.run("calendar.delta", [part], **({"rows": owed} if owed else {}))
        out = f["parts"][0]
        if out["outcome"] == "resync":
            raise AssertionError("the calendar's cursor died")
        if out["outcome"] not in ("done", "more"):
            return
        c["cursor"] = out.get("cursor") or c["cursor"]
        c["owed"] -= {row["item_id"] for row in owed}
        told = {row["item_id"]: row for row in f.get("rows", [])}
        for i in f.get("settled", []):
            if i not in told:
                c["rows"].pop(i, None)
        c["rows"].update(told)
        for i, row in c["rows"].items():
            series = row.get("series")
            if row["id"] in f.get("removed", []) or series in f.get("removed", []) or \
                    (series in f.get("series_whole", []) and i not in told):
                c["owed"].add(i)
        c["owed"] &= set(c["rows"])
        if out["outcome"] == "done":
            c["phase"] = "live"
            c["rounds"].append(began)

    # --- what next -----------------------------------------------------------------------------------

    def step(self):
        r = self.random
        if self.phase == "new":
            return self.list_tree()
        choices = []
        anchors = [i for i, f in self.folders.items() if f["phase"] == "anchor"]
        if self.phase == "anchor" and not anchors:
            self.phase = "backfill"
            cuts = [None] + sorted(rfc3339(now() - datetime.timedelta(days=d)) for d in (400, 90, 7)) + [None]
            self.slices = [{"id": str(n), "from": a, "to": b, "cursor": None, "done": False}
                           for n, (a, b) in enumerate(zip(cuts, cuts[1:]))][::-1]
        if self.phase == "backfill" and all(s["done"] for s in self.slices):
            self.phase = "live"
        pollable = anchors if self.phase == "anchor" else list(self.folders)
        some = r.sample(pollable, min(len(pollable), r.randint(1, 5)))
        choices.append(lambda: self.poll(some))
        if self.phase == "backfill":
            choices += [self.list_slices] * 2
        ready = self.ready_looks() if self.phase != "anchor" else []
        if ready:
            choices += [lambda: self.look(r.sample(ready, min(len(ready), 50)))] * 2
        if r.random() < 0.2:
            choices.append(self.list_tree)
        if self.calendar:
            choices.append(self.poll_calendar)
        r.choice(choices)()

    def settle(self, since, deadline_s=120):
        """Until everything has been seen that changed before `since`, and nothing is owed."""
        until = time.monotonic() + deadline_s

        def done():
            return (self.phase == "live" and not self.looks and self.listed > since and
                    all(f["phase"] == "live" and f["last"] is not None and f["last"] > since for f in self.folders.values()) and
                    (not self.calendar or (not self.calendar["owed"] and any(at > since for at in self.calendar["rounds"]))))

        while not done():
            if time.monotonic() > until:
                raise AssertionError(f"not settled: {self.phase}, {len(self.looks)} looks, "
                                     f"{[(f['phase'], f['last'] and f['last'] > since) for f in self.folders.values()]}")
            if self.looks and self.phase == "live":
                self.list_tree()
                self.poll(list(self.folders)[:8])
                rest = list(self.folders)[8:]
                while rest:
                    self.poll(rest[:8])
                    rest = rest[8:]
                ready = self.ready_looks()
                if ready:
                    self.look(ready[:100])
            self.step()
