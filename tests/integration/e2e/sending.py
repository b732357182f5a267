"""Outbox requests through the whole path while everything is killed; the same for CI and for the soak."""

import base64
import json
import random
import time
from collections import Counter

from confluent_kafka import Producer

from crmtest import Schemas, check, check_equal, fold, partition_of, wait_for
from bed import PARTITIONS, TENANT, Bed
from crash import SESSION, Fleet

QUICK = {"schedule.send_look_ms": 1500, "schedule.send_quota_wait_ms": 1500, "schedule.send_sweep_ms": 1500,
         "schedule.retry_min_ms": 100, "schedule.retry_max_ms": 1500}
MARK = "String {5d8a2b1e-93c4-4f0e-8a57-2e6f1c0b7d34} Name crmsync-request"


class Outbox:
    """A CRM that writes requests."""

    def __init__(self, bed):
        self.bed = bed
        self.producer = Producer({"bootstrap.servers": bed.kafka.bootstrap, "linger.ms": 5, "message.max.bytes": 2_000_000, "compression.type": "lz4"})
        self.topic = bed.t.prefix + "outbox.v1"
        self.schemas = Schemas()
        self.asked = {}  # (mailbox, request id): request

    def write(self, mailbox, value, key=None, partition=None):
        key = key or f"{TENANT}/{mailbox}"
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.producer.produce(self.topic, raw, key.encode(), partition_of(key, PARTITIONS) if partition is None else partition)

    def ask(self, mailbox, request_id, **more):
        request = {"request_id": request_id, "to": [{"address": "kim@fabrikam.example", "name": "Kim"}],
                   "subject": f"CANARY-{request_id}", "body": {"type": "html", "content": "<p>CANARY-BODY</p>"}, **more}
        self.schemas.validate(request, "outbox.v1")
        self.asked[mailbox.lower(), request_id] = request
        self.write(mailbox, request)

    def flush(self):
        check_equal(self.producer.flush(60), 0, "messages not written")


def results(bed):
    """{(mailbox, request id): [records]}"""
    found = {}
    for r in bed.records():
        if r.json.get("kind") == "send_result":
            found.setdefault((r.json["mailbox"], r.json["request_id"]), []).append(r.json)
    return found


def wait_results(bed, outbox, deadline_s, daemons):
    def all_there():
        for daemon in daemons:
            check(daemon.proc.running(), f"{daemon.name} ended: {daemon.proc.log_tail()}")
        return set(results(bed)) >= set(outbox.asked)

    wait_for(all_there, deadline_s, "every request has a result", every_s=0.5)


def check_once(bed, outbox):
    """Exactly one result for each request; what was sent is what the results say; nothing went twice."""
    got = results(bed)
    check_equal({k: len(v) for k, v in got.items() if len(v) != 1}, {}, "results of a request")
    check_equal(set(got), set(outbox.asked), "requests with a result")
    schemas = Schemas()
    left = Counter()
    for mailbox in bed.mailboxes:
        for mail in bed.truth(mailbox)["sent"]:
            tenant, request_id = mail["properties"][MARK].split("/")
            check_equal(tenant, TENANT, "the mark's tenant")
            left[mailbox.lower(), request_id] += 1
    check_equal({k: n for k, n in left.items() if n != 1}, {}, "mails that went twice")
    for key, (record,) in got.items():
        schemas.validate(record, "record/send_result.v1")
        if record["result"] == "sent":
            check(left[key] == 1, f"{key}: said to be sent, and was not")
        elif record["result"] == "refused":
            check(left[key] == 0, f"{key}: said to be refused, and went")
    return Counter(r["result"] for (r,) in got.values()), got


def faults(share):
    """Of writes: carried out and no answer, or not carried out, or turned away."""
    write = {"path_regex": "(/messages|/send|createReply)$", "method": "POST"}
    each = share / 5
    return [{"match": write, "times": -1, "probability": each, "action": action} for action in (
        {"status": 504, "served": True}, {"status": 504}, {"drop": True}, {"status": 429, "retry_after": "1"},
        {"status": 403, "code": "ErrorExceededMessageLimit"})] + [
        {"match": {"path_regex": "/messages/[^/]+$", "method": "PATCH"}, "times": -1, "probability": each,
         "action": {"status": 504, "served": True}}]


def run(t, kafka, seed, mailboxes, requests, worker_kills, producer_kills, deadline_s, share=0.1):
    rng = random.Random(seed)
    print(f"seed {seed}")
    bed = Bed(t, kafka, mailboxes=mailboxes, messages=30, events=2, folders=6, seed=seed % 1000 + 1,
              graph_args=("--transit-ms", "700", "--search-lag-ms", "300"), settings={**SESSION, **QUICK}, send=True)
    fleet = Fleet(bed, 2, 2, rng)
    fleet.wait_ready()
    outbox = Outbox(bed)
    bed.graph.post("/faults", faults(share))
    plan = ["w"] * worker_kills + ["p"] * producer_kills
    rng.shuffle(plan)
    per_step = requests // (len(plan) + 1) + 1
    n = 0
    for what in plan + [None]:
        for _ in range(min(per_step, requests - n)):
            mailbox = bed.mailboxes[n % mailboxes]
            more = {"attachments": [{"name": "a.txt", "content": base64.b64encode(rng.randbytes(500)).decode()}]} if n % 7 == 0 else {}
            outbox.ask(mailbox, f"r{n}", **more)
            if n % 5 == 0:
                outbox.ask(mailbox, f"r{n}", **more)  # the CRM was not sure that it had written it
            n += 1
        outbox.flush()
        end = time.monotonic() + rng.uniform(0.5, 3.5)
        # the moment is what the test draws; nothing is awaited here
        while time.monotonic() < end:
            time.sleep(0.05)
        if what:
            fleet.kill_worker() if what == "w" else fleet.kill_producer()
    wait_results(bed, outbox, deadline_s, fleet.all())
    bed.graph.delete("/faults")
    counts, _ = check_once(bed, outbox)
    check_equal(counts["refused"], 0, "refused")

    def swept():
        left = 0
        for truth in bed.truths():
            drafts = next(f["id"] for f in truth["folders"] if f["wellKnownName"] == "drafts")  # not Deleted Items
            left += sum(m["subject"].startswith("CANARY") and m["parentFolderId"] == drafts for m in truth["messages"])
        return left == 0

    wait_for(swept, 60, "no draft of ours is left", every_s=0.5)
    check_once(bed, outbox)
    for daemon in fleet.all():
        check("CANARY" not in daemon.proc.log_text(), f"{daemon.name}: content in the log")
    print(f"{n} requests, {worker_kills} workers and {producer_kills} producers killed, {share:.0%} faults: "
          f"{dict(counts)}, none twice, none lost, no draft left")
    check(all(d.stop() == 0 for d in fleet.all()), "a daemon did not exit 0 after SIGTERM")
    return bed
