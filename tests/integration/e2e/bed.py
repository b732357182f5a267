"""What the end-to-end tests have in common: a site on real Kafka, a wait for equality, the closing checks."""

import json
import random
import time

from crmtest import Failure, GraphSim, Kafka, Schemas, Site, check, fold, tenant, wait_for
import oracle

TENANT = "acme"
TENANT_ID = "11111111-1111-1111-1111-111111111111"
CLIENT_ID = "22222222-2222-2222-2222-222222222222"
SECRET = "e2e-secret-that-no-log-may-show"
PARTITIONS = 6

FAST = {
    "schedule.poll_min_ms": 500,
    "schedule.poll_max_ms": 2000,
    "schedule.second_look_ms": 2000,
    "schedule.folders_interval_ms": 1000,
    "schedule.resync_gather_ms": 2000,
    "schedule.probe_min_ms": 1000,
    "schedule.probe_max_ms": 2000,
    "worker.token_retry_ms": 1000,
}


class Bed:
    """graphsim, topics, configuration; daemons are started by the test."""

    def __init__(self, t, kafka, mailboxes=2, messages=200, folders=12, events=20, mean_body=4096, seed=1, years=2,
                 graph_args=(), settings=None, partitions=PARTITIONS, topic_settings=None, **tenant_settings):
        self.t = t
        self.kafka = kafka
        kafka.create_topics(partitions=partitions, settings=topic_settings)
        self.graph = GraphSim(
            t, "--seed", str(seed), "--mailboxes", str(mailboxes), "--messages", str(messages), "--folders", str(folders),
            "--events", str(events), "--mean-body", str(mean_body), "--years", str(years), "--domain", "contoso.example",
            "--tenant", TENANT_ID, "--client-id", CLIENT_ID, "--secret", SECRET,
            *graph_args, deadline_s=60)
        self.mailboxes = list(self.graph.ready["mailboxes"])
        rules = {"own_domains": ["contoso.example"], "backfill_days": "all", "calendar_past_days": 180,
                 "calendar_future_days": 365, "private_events": "full"}
        rules.update(tenant_settings)
        self.site = Site(t, kafka, self.graph, [tenant(TENANT, self.mailboxes, secrets=(SECRET,), tenant_id=TENANT_ID,
                                                      client_id=CLIENT_ID, **rules)], {**FAST, **(settings or {})})

    def records(self):
        return self.kafka.read(self.t.prefix + "records.v1")

    def truths(self, history=False):
        return [self.truth(m, history) for m in self.mailboxes]

    def truth(self, mailbox, history=False):
        truth = self.graph.get(f"/mailboxes/{mailbox}/truth" + ("?history=1" if history else ""))
        truth["mailbox"] = mailbox.lower()
        return truth

    def mutate(self, rate, weights=None):
        self.graph.post("/mutator", {"rate": rate, **({"weights": weights} if weights else {})})

    def still(self):
        self.graph.post("/mutator", {"rate": 0})

    def differences(self, limit=12):
        """What the folded topic and the truth disagree on, mail and calendar."""
        records = self.records()
        state = fold(records)
        windows = self.window()
        wrong = []
        for truth in self.truths():
            wrong += oracle.compare_mail(state, truth, TENANT)
            wrong += oracle.compare_calendar(state, truth, TENANT, windows.get(truth["mailbox"]))
        return wrong[:limit] + ([f"... {len(wrong)} in all"] if len(wrong) > limit else [])

    def window(self):
        """{mailbox: (from, to)} as the producer's state says, so that both sides mean the same window."""
        found = {}
        for key, record in fold(self.kafka.read(self.t.prefix + "state.v1")).items():
            tenant_name, mailbox, stream = key.split("/", 2)
            if stream == "cal:default":
                window = record.json.get("window")
                if window:
                    found[mailbox] = (oracle.utc(window["from"]), oracle.utc(window["to"]))
        return found

    def wait_equal(self, deadline_s, daemons=()):
        """Until the topic equals the truth; every daemon must live on."""
        started = time.monotonic()
        last = ["nothing compared yet"]

        def equal():
            for daemon in daemons:
                if not daemon.proc.running():
                    raise Failure(f"{daemon.name} ended with {daemon.proc.popen.returncode}\n" + daemon.proc.log_tail())
            last[0] = self.differences()
            return not last[0]

        try:
            wait_for(equal, deadline_s, "the topic equals the truth", every_s=1.0)
        except Failure as e:
            raise Failure(f"{e}: " + "\n  ".join(last[0])) from None
        return time.monotonic() - started

    def wait_some(self, count, deadline_s, daemons=()):
        """Until the topic has so many records: the backfill is under way."""
        def some():
            for daemon in daemons:
                if not daemon.proc.running():
                    raise Failure(f"{daemon.name} ended with {daemon.proc.popen.returncode}\n" + daemon.proc.log_tail())
            return len(self.records()) >= count

        wait_for(some, deadline_s, f"{count} records", every_s=0.5)

    def wait_quiet(self, deadline_s):
        """Until no look is owed: two reads of the topic with five jobs between them are equal."""
        def quiet():
            before = len(self.records())
            self.wait_jobs(len(self.kafka.read(self.t.prefix + "jobs.v1")) + 5, deadline_s)
            return len(self.records()) == before

        wait_for(quiet, deadline_s, "no more records", every_s=0.1)

    def wait_jobs(self, count, deadline_s):
        wait_for(lambda: len(self.kafka.read(self.t.prefix + "jobs.v1")) >= count, deadline_s, f"{count} jobs", every_s=0.3)

    def wait_log(self, daemon, word, deadline_s):
        """Until a log event's name holds the word."""
        wait_for(lambda: [e for e in daemon.proc.log_events() if word in e.get("event", "")], deadline_s,
                 f"{daemon.name} logs {word}")

    def wait_inflight(self, worker, deadline_s):
        wait_for(lambda: any("inflight" in k and v > 0 for k, v in worker.metrics().items()), deadline_s, "a job in flight")

    def check_history(self, exactly_once=True):
        """Once, no invented deletions, all valid by schema, on the right partitions, nothing dead-lettered."""
        records = self.records()
        wrong = oracle.invented_deletes(records, self.truths(history=True), TENANT)
        if exactly_once:
            wrong += oracle.doubles(records)
        check(not wrong, "\n  ".join(wrong[:12]))
        schemas = Schemas()
        for topic in ("records", "index", "jobs", "feedback", "state", "status", "dlq"):
            schemas.validate_all(self.kafka.read(f"{self.t.prefix}{topic}.v1"), f"{topic}.v1")
        dead = self.kafka.read(self.t.prefix + "dlq.v1")
        check(not dead, f"{len(dead)} dead letters, first: {dead[0].value if dead else ''}")
        return records

    def check_graph(self, per_mailbox=4, incarnations=1, late=0):
        """The service's limits were kept: concurrency per worker incarnation, Retry-After."""
        counters = self.graph.get("/counters")
        for name, box in counters["mailboxes"].items():
            check(box["peak_concurrency"] <= per_mailbox * incarnations,
                  f"{name}: {box['peak_concurrency']} requests at a time")
            check(box["early_requests"] <= late, f"{name}: {box['early_requests']} requests before a Retry-After had passed")
        return counters

    def check_logs(self, *daemons):
        """No secret, no subject, no correspondent in a log."""
        subjects = {m["subject"] for truth in self.truths() for m in truth["messages"] if len(m["subject"] or "") > 12}
        people = {m["from"] for truth in self.truths() for m in truth["messages"] if m.get("from")} - set(self.mailboxes)
        for daemon in daemons:
            text = daemon.proc.log_text()
            check(SECRET not in text, f"{daemon.name}: the secret is in the log")
            for needle in random.Random(1).sample(sorted(subjects), min(200, len(subjects))):
                check(needle not in text, f"{daemon.name}: a subject is in the log")
            for needle in sorted(people)[:200]:
                check(needle not in text, f"{daemon.name}: a correspondent's address is in the log")


def print_requests(counters, items):
    total = sum(box["requests"] for box in counters["mailboxes"].values())
    print(f"requests per 1,000 items: {1000 * total / max(items, 1):.1f} ({total} requests, {items} items)")


def dump(path, value):
    path.write_text(json.dumps(value, indent=1, default=str))
