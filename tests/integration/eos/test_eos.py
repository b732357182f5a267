#!/usr/bin/python3
"""Exactly once, counted: a worker without Graph (eosworker) is killed at every step, its commits are cut off, its
partitions move; then a read_committed reader counts. Each job must have its records, its index entries and one
feedback, once."""

import json
import os
import random
import select
import signal
import socket
import time
import uuid
from collections import Counter

from confluent_kafka import Producer

from crmtest import (DevBroker, Kafka, check, check_equal, libconfig, main, partition_of, program, quiet, tenant,
                     wait_for)

SEED = int(os.environ.get("CRMSYNC_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
PARTITIONS = 6
RECORDS = 3
SESSION_MS = 3000
POINTS = ["before_begin", "after_begin", "mid_produce", "after_offsets", "in_commit", "after_commit"]


def job_id():
    h = uuid.uuid4().hex
    return f"{h[:8]}-{h[8:12]}-7{h[13:16]}-8{h[17:20]}-{h[20:]}"


class Bed:
    """Topics, a configuration, jobs on the topic, eosworkers."""

    def __init__(self, t, broker, settings=None, topic_settings=None):
        self.t = t
        self.broker = broker
        self.rng = random.Random(SEED)
        self.jobs = {}
        self.mailboxes = set()
        self.started = 0
        if broker.transactional:
            broker.create_topics(partitions=PARTITIONS, settings=topic_settings)
        print(f"seed {SEED}")
        (t.dir / "secret").write_text("secret")
        (t.dir / "crmsync.cfg").write_text(libconfig({
            "kafka.bootstrap_servers": broker.bootstrap,
            "kafka.topic_prefix": t.prefix,
            "kafka.delivery": "exactly_once" if broker.transactional else "at_least_once",
            "kafka.properties": [f"session.timeout.ms={SESSION_MS}", "heartbeat.interval.ms=300"],
            "graph.base_url": "http://127.0.0.1:1", "graph.login_url": "http://127.0.0.1:1",
            "worker.max_jobs": 8, **(settings or {})}))
        (t.dir / "tenants.d").mkdir()
        one = tenant("acme", ["a@contoso.example"])
        one.pop("secrets")
        (t.dir / "tenants.d" / "acme.cfg").write_text(
            libconfig({**one, "credentials": [{"secret_file": str(t.dir / "secret")}]}))

    def feed(self, count, reason="test", mailboxes=200):
        """Jobs, in transactions of their own, so that markers lie between the offsets."""
        conf = quiet(self.broker.bootstrap, {"transactional.id": f"{self.t.prefix}feed"} if self.broker.transactional else {})
        producer = Producer(conf)
        if self.broker.transactional:
            producer.init_transactions(30)
        left = count
        while left > 0:
            if self.broker.transactional:
                producer.begin_transaction()
            for _ in range(min(left, self.rng.randrange(1, 40))):
                mailbox = f"m{self.rng.randrange(mailboxes)}@contoso.example"
                one = {"job_id": job_id(), "type": "folders", "tenant": "acme", "mailbox": mailbox, "lane": "live",
                       "attempt": 1, "reason": reason, "created_at": "2026-11-25T08:00:00.000Z"}
                key = f"acme/{mailbox}"
                self.mailboxes.add(mailbox)
                producer.produce(self.t.prefix + "jobs.v1", json.dumps(one), key, partition=partition_of(key, PARTITIONS))
                self.jobs[one["job_id"]] = reason
                left -= 1
            if self.broker.transactional:
                producer.commit_transaction(30)
        check_equal(producer.flush(30), 0, "jobs not delivered")

    def worker(self, instance=None, crash_at=None, delay_ms=40, big=0):
        self.started += 1
        env = {"CRMSYNC_LOG_FORMAT": "json"}
        if instance:
            env["CRMSYNC_INSTANCE_ID"] = instance
        if crash_at:
            env["CRMSYNC_TEST_CRASH_AT"] = crash_at
        return self.t.start([program("eosworker"), self.t.dir / "crmsync.cfg", RECORDS, delay_ms, big],
                            f"eosworker{self.started}", env=env)

    def topic(self, name):
        return self.broker.read(self.t.prefix + name)

    def wait_done(self, deadline_s, workers):
        def done():
            for w in workers:
                check(w.running(), f"{w.name} ended by itself: {w.popen.returncode}\n{w.log_tail()}")
            return len({r.json["job_id"] for r in self.topic("feedback.v1")}) >= len(self.jobs)

        wait_for(done, deadline_s, "every job has its feedback", every_s=0.3)

    def check_once(self, refused=()):
        """The count: nothing lost, nothing twice."""
        want = [j for j in self.jobs if j not in refused]
        records = Counter((r.json["job_id"], r.json["i"]) for r in self.topic("records.v1"))
        check_equal({k: n for k, n in records.items() if n > 1}, {}, "records that came twice")
        check_equal(len(records), RECORDS * len(want), "records")
        check_equal({j for j, _ in records}, set(want), "jobs with records")
        feedback = Counter(r.json["job_id"] for r in self.topic("feedback.v1"))
        check_equal({k: n for k, n in feedback.items() if n > 1}, {}, "feedback that came twice")
        check_equal(set(feedback), set(self.jobs), "jobs with feedback")
        index = Counter(r.key for r in self.topic("index.v1"))
        check_equal((len(index), max(index.values())), (RECORDS * len(want), 1), "index entries")
        check_equal({r.json["job_id"] for r in self.topic("dlq.v1")}, set(refused), "dead letters")


def test_killed_at_every_step_does_each_job_once(t):
    """One static member, ended by itself at each step of its transactions, again and again."""
    bed = Bed(t, Kafka.shared(t))
    bed.feed(1500)
    crashes = Counter()
    at = 0
    end = time.monotonic() + 60
    for n in range(90):
        if time.monotonic() > end:
            break
        point = POINTS[n % len(POINTS)]
        # ended at the first commit time and again, whatever is the first job would look like poison
        at = bed.rng.randrange(1 if at != 1 else 2, 5)
        # a transaction has four stages, and each is followed by this point
        w = bed.worker("one", f"{point}:{at if point != 'mid_produce' else 4 * at - bed.rng.randrange(4)}")
        check_equal(w.wait(40), 137, f"exit code at {point}")
        crashes[point] += 1
    check(min(crashes[p] for p in POINTS) >= 5, f"too few crashes to mean anything: {crashes}")
    bed.feed(200)
    last = bed.worker("one")
    bed.wait_done(60, [last])
    check_equal(last.stop(), 0, "exit code")
    bed.check_once()
    print(f"{sum(crashes.values())} ends at {dict(crashes)}; {len(bed.jobs)} jobs, none lost, none twice")


def test_commits_of_unknown_result_are_looked_up(t):
    """Two of three commits are given up after 0 to 9 ms. What became of them is read from the offsets."""
    bed = Bed(t, Kafka.shared(t), settings={"worker.max_jobs": 4})
    bed.feed(1400)
    workers = [bed.worker(crash_at="commit_cut:9", delay_ms=10) for _ in range(3)]
    bed.wait_done(240, workers)
    check_equal([w.stop() for w in workers], [0, 0, 0], "exit codes")
    bed.check_once()
    found = Counter(e["committed"] for w in workers for e in w.log_events("checkpoint.commit_found"))
    check(found[True] + found[False] >= 200 and found[True] >= 20, f"too few unknown results to mean anything: {found}")
    print(f"{sum(found.values())} commits of unknown result: {found[True]} had happened, {found[False]} had not; "
          f"{len(bed.jobs)} jobs, none lost, none twice")


def test_partitions_that_move_lose_and_repeat_nothing(t):
    """Members join, leave, are killed, and sleep past their session, while jobs run that take longer than that."""
    bed = Bed(t, Kafka.shared(t), settings={"worker.max_jobs": 16})
    bed.feed(1500)
    workers = [bed.worker(delay_ms=600) for _ in range(3)]
    what_was_done = Counter()
    for _ in range(14):
        what = bed.rng.choice(["kill", "kill", "stop", "sleep", "join"])
        i = bed.rng.randrange(len(workers))
        # the moment is what the test draws; nothing is awaited here
        time.sleep(bed.rng.uniform(0.2, 2.5))
        what_was_done[what] += 1
        if what == "kill":
            workers[i].kill()
            workers[i] = bed.worker(delay_ms=600)
        elif what == "stop":
            check_equal(workers[i].stop(), 0, "exit code after SIGTERM")
            workers[i] = bed.worker(delay_ms=600)
        elif what == "sleep":
            workers[i].signal(signal.SIGSTOP)
            time.sleep(SESSION_MS / 1000 + bed.rng.uniform(0.5, 2))  # long enough for another to take over
            workers[i].signal(signal.SIGCONT)
        elif len(workers) < 5:
            workers.append(bed.worker(delay_ms=600))
    bed.feed(200)
    bed.wait_done(120, workers)
    check_equal([w.stop() for w in workers], [0] * len(workers), "exit codes")
    bed.check_once()
    kept = sum(e["inflight"] for w in t.procs for e in w.log_events("partitions.assigned"))
    print(f"{dict(what_was_done)}; {len(bed.jobs)} jobs, none lost, none twice; {kept} in flight when partitions came")


def test_a_poison_job_is_found_and_no_other_is_blamed(t):
    """It kills whoever runs it. The good ones around it all finish, and workers killed for other reasons blame nobody."""
    bed = Bed(t, Kafka.shared(t))
    bed.feed(100)
    bed.feed(1, reason="poison")
    bed.feed(100)
    poison = next(j for j, reason in bed.jobs.items() if reason == "poison")
    workers = [bed.worker(delay_ms=60) for _ in range(2)]
    deaths = kills = 0

    def done():
        nonlocal deaths, kills
        for i, w in enumerate(workers):
            if w.running():
                continue
            check_equal(w.wait(5), -signal.SIGKILL, "what the poison does")
            deaths += 1
            workers[i] = bed.worker(delay_ms=60)
        if kills < 5 and len(bed.topic("feedback.v1")) > 30 * kills:
            kills += 1
            workers[kills % 2].kill()
            workers[kills % 2] = bed.worker(delay_ms=60)
        return len({r.json["job_id"] for r in bed.topic("feedback.v1")}) >= len(bed.jobs)

    wait_for(done, 150, "every job has its feedback", every_s=0.3)
    check_equal([w.stop() for w in workers], [0, 0], "exit codes")
    bed.check_once({poison})
    check_equal([(d.json["reason"], d.json["job_id"]) for d in bed.topic("dlq.v1")], [("poison", poison)], "dead letters")
    rejected = {r.json["job_id"] for r in bed.topic("feedback.v1") if r.json["outcome"] == "reject"}
    check_equal(rejected, {poison}, "rejected jobs")
    print(f"dead after {deaths} deaths of workers, among {kills} that were killed from outside")


def test_a_stop_amid_a_rebalance_ends(t):
    """What is kept over a rebalance waits for its redelivery; after SIGTERM nothing is pulled, so it must not be waited for."""
    bed = Bed(t, Kafka.shared(t), settings={"worker.max_jobs": 16})
    bed.feed(600)
    staying = bed.worker(delay_ms=1500)
    kept = 0
    for _ in range(3):
        leaving = bed.worker(delay_ms=1500)
        wait_for(lambda: leaving.log_events("partitions.assigned"), 40, "the second one has partitions")
        seen = len(leaving.log_events("partitions.revoked"))
        joining = bed.worker(delay_ms=1500)
        wait_for(lambda: len(leaving.log_events("partitions.revoked")) > seen, 40, "the partitions are taken back")
        check_equal(leaving.stop(), 0, "exit code after SIGTERM amid the rebalance")
        kept += leaving.log_events("partitions.revoked")[-1]["inflight"]
        check_equal(joining.stop(), 0, "exit code of the third")
    check(kept > 0, "jobs were under way when the partitions were taken back")
    bed.wait_done(90, [staying])
    check_equal(staying.stop(), 0, "exit code")
    bed.check_once()


def test_sleep_inside_a_transaction_is_no_fencing(t):
    """A static member that slept longer than its transaction may last goes on; nobody had its id."""
    bed = Bed(t, Kafka.shared(t), settings={"kafka.properties": [
        "session.timeout.ms=30000", "heartbeat.interval.ms=300", "transaction.timeout.ms=2000", "socket.timeout.ms=2000"]})
    bed.feed(400)
    w = bed.worker("sleeper", delay_ms=5)
    for _ in range(4):
        time.sleep(bed.rng.uniform(0.05, 0.6))
        w.signal(signal.SIGSTOP)
        time.sleep(5)  # past the transaction's time and the coordinator's round
        w.signal(signal.SIGCONT)
        bed.feed(150)
    bed.wait_done(90, [w])
    check_equal(w.stop(), 0, "exit code")
    bed.check_once()


def test_one_instance_id_twice_ends_one_of_them(t):
    """No loop of two that fence each other: one exits 78 and says why, the other goes on."""
    bed = Bed(t, Kafka.shared(t))
    bed.feed(600)
    first = bed.worker("same", delay_ms=200)
    wait_for(lambda: bed.topic("feedback.v1"), 30, "the first one works")
    second = bed.worker("same", delay_ms=200)
    check_equal(first.wait(30), 78, "exit code of the first")
    bed.wait_done(60, [second])
    check_equal(second.stop(), 0, "exit code of the second")
    bed.check_once()


def test_output_that_no_broker_takes_is_refused_alone(t):
    """Too large for the client and too large for the topic: reject and dead letter, the neighbours unharmed."""
    for limit, size in ((2 * 1024 * 1024, 3_000_000), (150_000, 400_000)):
        bed = Bed(t, Kafka.shared(t), settings={"worker.max_jobs": 32},
                  topic_settings={"records.v1": {"max.message.bytes": str(limit)}})
        bed.feed(60)
        bed.feed(2, reason="big")
        bed.feed(60)
        w = bed.worker(delay_ms=50, big=size)
        bed.wait_done(90, [w])
        check_equal(w.stop(), 0, "exit code")
        refused = {j for j, reason in bed.jobs.items() if reason == "big"}
        bed.check_once(refused)
        outcomes = {r.json["job_id"]: r.json["outcome"] for r in bed.topic("feedback.v1")}
        check_equal({j for j, o in outcomes.items() if o == "reject"}, refused, "rejected jobs")
        dead = [r.json for r in bed.topic("dlq.v1")]
        check_equal([(d["reason"], d["job_id"] in refused) for d in dead], [("output_too_large", True)] * 2, "dead letters")
        t.prefix += "b."
        for path in sorted((t.dir / "tenants.d").iterdir()):
            path.unlink()
        (t.dir / "tenants.d").rmdir()


def test_without_transactions_nothing_is_lost(t):
    """at_least_once on the embedded broker: a kill repeats a little, an upsert in offset order is right."""
    bed = Bed(t, DevBroker(t, partitions=PARTITIONS), settings={
        "kafka.properties": ["session.timeout.ms=6000", "heartbeat.interval.ms=300", "fetch.wait.max.ms=10"]})
    bed.feed(300)
    w = bed.worker(delay_ms=20)
    wait_for(lambda: len(bed.topic("feedback.v1")) >= 60, 60, "the first jobs are done")
    w.kill()
    w = bed.worker(delay_ms=20)
    bed.wait_done(90, [w])
    check_equal(w.stop(), 0, "exit code")
    records = Counter((r.json["job_id"], r.json["i"]) for r in bed.topic("records.v1"))
    check_equal(len(records), RECORDS * len(bed.jobs), "records")
    twice = sum(n > 1 for n in records.values())
    check(twice <= RECORDS * 8 * 2, f"{twice} records twice after one kill: more than was in flight")
    first, last = {}, {}
    for r in bed.topic("index.v1"):
        first.setdefault(r.key, r.json["change_key"])
        last[r.key] = r.json["change_key"]
    check(set(first.values()) == {None} and None not in last.values(), "an index entry without a version comes first only")
    print(f"{len(bed.jobs)} jobs, none lost, {twice} records twice after a kill")


def test_stop_without_a_broker_is_in_time_and_loses_nothing(t):
    """SIGTERM with finished work that cannot be committed: exit within 20 s; the next worker does it again, once."""
    kafka = Kafka.own(t)
    mute = socket.create_server(("127.0.0.1", 0))  # takes connections and says nothing, so the job ends when it is let go
    t.undo(mute.close)
    url = f"http://127.0.0.1:{mute.getsockname()[1]}"
    bed = Bed(t, kafka, settings={"graph.base_url": url, "graph.login_url": url, "worker.request_timeout_ms": 1000,
                                  "worker.drain_ms": 3000, "kafka.properties": ["session.timeout.ms=12000"]})
    bed.feed(1)
    argv = [program("crmsync-worker"), "run", "-c", t.dir / "crmsync.cfg"]
    (t.dir / "tenants.d" / "acme.cfg").write_text((t.dir / "tenants.d" / "acme.cfg").read_text().replace(
        "a@contoso.example", next(iter(bed.mailboxes))))
    worker = t.start(argv, "worker", env={"CRMSYNC_LOG_FORMAT": "json"})
    check(select.select([mute], [], [], 30)[0], "the job never asked for a token")
    kafka.kill(1)
    worker.signal(signal.SIGTERM)
    started = time.monotonic()
    check_equal(worker.wait(20), 0, "exit code")
    print(f"ended after {time.monotonic() - started:.1f} s without a broker")
    dropped = worker.log_events("worker.dropped")
    check_equal([e["uncommitted"] for e in dropped], [1], "jobs that the log says were dropped")
    kafka.restart(1)
    check_equal(bed.topic("feedback.v1"), [], "feedback of the first worker")
    mute.close()  # from now on the token endpoint refuses: the job ends as a retry, at once
    worker = t.start(argv, "worker2", env={"CRMSYNC_LOG_FORMAT": "json"})
    bed.wait_done(60, [worker])
    check_equal(len(bed.topic("feedback.v1")), 1, "feedback")
    check_equal(worker.stop(), 0, "exit code")


if __name__ == "__main__":
    main(test_killed_at_every_step_does_each_job_once, test_commits_of_unknown_result_are_looked_up,
         test_partitions_that_move_lose_and_repeat_nothing, test_a_poison_job_is_found_and_no_other_is_blamed,
         test_a_stop_amid_a_rebalance_ends,
         test_sleep_inside_a_transaction_is_no_fencing, test_one_instance_id_twice_ends_one_of_them, test_output_that_no_broker_takes_is_refused_alone,
         test_without_transactions_nothing_is_lost, test_stop_without_a_broker_is_in_time_and_loses_nothing)
