#!/usr/bin/python3
"""A job can not make a worker show its token elsewhere, and no answer of Graph can either."""

import json
import socket
import threading
import time
import uuid

from confluent_kafka import Producer

from crmtest import Kafka, check, check_equal, main, partition_of, quiet, wait_for
from bed import PARTITIONS, TENANT, Bed


class Trap:
    """A listener that wants to hear nothing; it counts what it hears."""

    def __init__(self, t):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(16)
        self.sock.settimeout(0.2)
        self.port = self.sock.getsockname()[1]
        self.heard = 0
        self.stop = False
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        t.undo(self.close)

    def _listen(self):
        while not self.stop:
            try:
                conn, _ = self.sock.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.heard += 1
            conn.close()

    def close(self):
        self.stop = True
        self.thread.join(5)
        self.sock.close()


def job_id():
    value = uuid.uuid4().hex
    return f"{value[:8]}-{value[8:12]}-7{value[13:16]}-8{value[17:20]}-{value[20:]}"


def job(mailbox, kind="mail.delta", **more):
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    return {"job_id": job_id(), "type": kind, "tenant": TENANT, "mailbox": mailbox, "lane": "live", "attempt": 1,
            "reason": "test", "created_at": now, **more}


def delta(mailbox, cursor, folder="AAMkfolder="):
    return job(mailbox, parts=[{"stream": f"mail:{folder}", "generation": 1, "mode": "live",
                                "folder": {"id": folder, "path": "Inbox"}, "cursor": cursor}],
               folders=[{"id": folder, "path": "Inbox"}])


def send(bed, messages):
    """messages: (key, value bytes, partition or None for the right one)"""
    producer = Producer(quiet(bed.kafka.bootstrap, {"acks": "all"}))
    failed = []
    for key, value, partition in messages:
        where = partition_of(key, PARTITIONS) if partition is None else partition
        producer.produce(bed.t.prefix + "jobs.v1", value, key, partition=where,
                         on_delivery=lambda error, _: failed.append(error) if error else None)
    check_equal(producer.flush(30), 0, "messages not delivered")
    check(not failed, f"not delivered: {failed}")


def dead_letters(bed, count):
    wait_for(lambda: len(bed.kafka.read(bed.t.prefix + "dlq.v1")) >= count, 60, f"{count} dead letters")
    return [r.json for r in bed.kafka.read(bed.t.prefix + "dlq.v1")]


def test_a_cursor_that_names_another_place_is_dead_lettered(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=2, messages=20, events=2)
    trap = Trap(t)
    me, other = bed.mailboxes[:2]
    quoted = me.replace("@", "%40")
    evil = [
        f"http://127.0.0.1:{trap.port}/v1.0/users/{quoted}/mailFolders/x/messages/delta?$deltatoken=1",
        f"//127.0.0.1:{trap.port}/v1.0/users/{quoted}/mailFolders/x/messages/delta?$deltatoken=1",
        f"@127.0.0.1:{trap.port}/v1.0/users/{quoted}/mailFolders/x/messages/delta?$deltatoken=1",
        f"/v1.0/users/{other.replace('@', '%40')}/mailFolders/x/messages/delta?$deltatoken=1",
        f"/v1.0/users/{quoted}/../{other.replace('@', '%40')}/mailFolders/x/messages/delta?$deltatoken=1",
        f"/v1.0/users/{quoted}%2f..%2f{other.replace('@', '%40')}/mailFolders/x/messages/delta?$deltatoken=1",
        f"/v1.0/users/{quoted}/mailFolders/x/messages/delta?$deltatoken=1#\r\nHost: 127.0.0.1:{trap.port}",
        "/v1.0/me/messages/delta?$deltatoken=1",
        "/beta/users/" + quoted + "/messages/delta",
        "not a path",
    ]
    before = bed.graph.get("/counters")
    worker = bed.site.worker().wait_ready()
    send(bed, [(f"{TENANT}/{me}", json.dumps(delta(me, cursor)).encode(), None) for cursor in evil])
    dead = dead_letters(bed, len(evil))
    check_equal(sorted({d["reason"] for d in dead}), ["cursor_refused"], "reasons")
    check_equal(trap.heard, 0, "connections that the trap heard")
    feedback = [r.json for r in bed.kafka.read(t.prefix + "feedback.v1")]
    check_equal([f["outcome"] for f in feedback], ["reject"] * len(evil), "outcomes")
    after = bed.graph.get("/counters")
    check_equal(sum(b["requests"] for b in after["mailboxes"].values()),
                sum(b["requests"] for b in before["mailboxes"].values()), "requests that Graph saw")
    text = "".join(r.value or "" for r in bed.kafka.read(t.prefix + "dlq.v1"))
    check("deltatoken" not in text, "a dead letter has content")
    check_equal(worker.stop(), 0, "exit code")


def test_bad_messages_are_dead_lettered_and_the_partition_goes_on(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=1, messages=20, events=2)
    me = bed.mailboxes[0]
    key = f"{TENANT}/{me}"
    good = job(me, "folders")
    right = partition_of(key, PARTITIONS)
    missing = {k: v for k, v in job(me, "folders").items() if k != "type"}
    bad = [
        (key, b"{", None), (key, b"", None), (key, b"[1]", None), (key, b"{'a': 1}", None), (key, b'{"job_id": NaN}', None),
        (key, json.dumps(missing).encode(), None),
        (key, json.dumps(job(me, "mail.everything")).encode(), None),
        (key, b'{"a":' * 5000 + b"1" + b"}" * 5000, None),
        (key, json.dumps(job("someone.else@contoso.example", "folders")).encode(), None),
        (key, json.dumps(job(me, "folders")).encode(), (right + 1) % PARTITIONS),
    ]
    worker = bed.site.worker().wait_ready()
    send(bed, bad + [(key, json.dumps(good).encode(), None)])
    dead = dead_letters(bed, len(bad))
    check_equal(len(dead), len(bad), "dead letters")
    check_equal(sum(d["reason"] == "wrong_partition" for d in dead), 1, "dead letters for the partition")
    check(all(d["topic"].endswith("jobs.v1") and d["offset"] >= 0 for d in dead), "a dead letter names no original")
    wait_for(lambda: any(f["job_id"] == good["job_id"] and f["outcome"] == "done"
                         for f in (r.json for r in bed.kafka.read(t.prefix + "feedback.v1"))), 60, "the good job is done")
    check_equal(worker.stop(), 0, "exit code")


def test_a_redirect_is_not_followed(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=1, messages=20, events=2)
    trap = Trap(t)
    me = bed.mailboxes[0]
    bed.graph.post("/faults", [{"match": {"path_contains": "mailFolders"}, "times": -1,
                                "action": {"status": 302, "redirect": f"http://127.0.0.1:{trap.port}/steal"}}])
    worker = bed.site.worker().wait_ready()
    wanted = job(me, "folders")
    send(bed, [(f"{TENANT}/{me}", json.dumps(wanted).encode(), None)])
    wait_for(lambda: bed.kafka.read(t.prefix + "feedback.v1"), 60, "feedback")
    feedback = bed.kafka.read(t.prefix + "feedback.v1")[0].json
    check(feedback["outcome"] in ("reject", "retry"), f"outcome {feedback['outcome']}")
    check_equal(trap.heard, 0, "connections that the trap heard")
    check_equal(worker.stop(), 0, "exit code")


if __name__ == "__main__":
    main(test_a_cursor_that_names_another_place_is_dead_lettered,
         test_bad_messages_are_dead_lettered_and_the_partition_goes_on, test_a_redirect_is_not_followed)
