"""The simulated Microsoft 365 as the demo sees it: what is expected on the topic, and things that happen."""

import datetime
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import oracle  # noqa: E402


class DemoGraph:
    def __init__(self, sim, tenant, depth):
        self.sim = sim
        self.tenant = tenant
        self.depth = depth
        self.mailboxes = list(sim.ready["mailboxes"])

    def truth(self, mailbox):
        truth = self.sim.get(f"/mailboxes/{mailbox}/truth")
        truth["mailbox"] = mailbox
        return truth

    def expected(self, mailbox, window):
        """{key: change key or None} of what the backfill must bring."""
        truth = self.truth(mailbox)
        want = {k: m["changeKey"] for k, m in oracle.expected_mail(truth, self.tenant, self.depth).items()}
        want.update({k: None for k in oracle.expected_calendar(truth, self.tenant, window)})
        return want

    def op(self, mailbox, **what):
        return self.sim.post(f"/mailboxes/{mailbox}/ops", what)["results"][0]

    def key(self, mailbox, kind, item):
        return f"{self.tenant}/{mailbox}/{kind}/{item}"

    def scenes(self, mailboxes):
        """(title, mailbox, act): act() makes it happen and returns the test that its record passes."""
        ann, bob, carla = (list(mailboxes) * 3)[:3]
        made = {}

        def is_record(key, **wanted):
            def test(record):
                value = record.json
                return record.key == key and all(value.get(name) == want for name, want in wanted.items())
            return test

        def arrive():
            answer = self.op(ann, op="arrive", folder="inbox", subject="Your offer of this morning",
                             **{"from": {"name": "Élodie Martin", "address": "elodie.martin@fabrikam.example"}})
            made["mail"] = answer["id"]
            return is_record(self.key(ann, "email", made["mail"]), change="upserted")

        def read():
            self.op(ann, op="patch", id=made["mail"], set={"isRead": True})
            return is_record(self.key(ann, "email", made["mail"]), is_read=True)

        def move():
            self.op(ann, op="move", id=made["mail"], to="archive")
            key = self.key(ann, "email", made["mail"])
            return lambda r: r.key == key and (r.json.get("folder") or {}).get("well_known") == "archive"

        def trash():
            self.op(ann, op="move", id=made["mail"], to="deleteditems")
            return is_record(self.key(ann, "email", made["mail"]), change="left_scope")

        def delete():
            truth = self.truth(bob)
            victim = next(iter(oracle.expected_mail(truth, self.tenant, self.depth).values()))["id"]
            self.op(bob, op="delete", id=victim)
            return is_record(self.key(bob, "email", victim), change="deleted")

        def meeting():
            start = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2)).replace(
                hour=9, minute=0, second=0, microsecond=0)
            made["start"] = start
            answer = self.op(carla, op="event_create", event={
                "subject": "Kick-off with Fabrikam", "start": stamp(start), "end": stamp(start + datetime.timedelta(hours=1))})
            made["event"] = answer["id"]
            return is_record(self.key(carla, "event", made["event"]), change="upserted")

        def later():
            start = made["start"] + datetime.timedelta(hours=2)
            self.op(carla, op="event_patch", id=made["event"],
                    event={"start": stamp(start), "end": stamp(start + datetime.timedelta(hours=1))})
            key = self.key(carla, "event", made["event"])
            return lambda r: r.key == key and oracle.utc(r.json["start"]["utc"]) == start

        def gone():
            self.op(carla, op="event_delete", id=made["event"])
            return is_record(self.key(carla, "event", made["event"]), change="deleted")

        yield "a mail arrives for " + ann.split("@")[0], ann, arrive
        yield "it is read", ann, read
        yield "it is moved to the archive", ann, move
        yield "it is moved to Deleted Items", ann, trash
        yield "a mail of " + bob.split("@")[0] + " is deleted for good", bob, delete
        yield carla.split("@")[0] + " makes an appointment", carla, meeting
        yield "it is moved by two hours", carla, later
        yield "it is deleted", carla, gone


def stamp(when):
    return {"dateTime": when.strftime("%Y-%m-%dT%H:%M:%S.0000000"), "timeZone": "UTC"}
