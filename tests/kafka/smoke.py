#!/usr/bin/python3
"""The real brokers do what everything else relies on, through each of the ways in."""

import os
import signal
import subprocess
import sys
import threading
import uuid

from confluent_kafka import KafkaException, Producer

from crmtest import (ROOT, Failure, Kafka, check, check_equal, fold, kafka_bed, main, quiet,
                     read_topic, wait_for, wait_pid_gone)

COUNT = 50


def transact(producer, topic, values, commit=True):
    """One transaction with a record for each value."""
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, key=str(value), value=str(value), partition=int(value) % 3)
    if commit:
        producer.commit_transaction(30)
    else:
        # on the log before the abort, or it would be dropped in the client
        check_equal(producer.flush(30), 0, "messages left")
        producer.abort_transaction(30)


def new_producer(bootstrap, more=None, txn_id=None):
    producer = Producer(quiet(bootstrap, {
        "transactional.id": txn_id or f"smoke-{uuid.uuid4().hex}", "transaction.timeout.ms": 20000,
        "socket.nagle.disable": True, "retry.backoff.ms": 20, **(more or {})}))
    producer.init_transactions(30)
    return producer


def round_trip(kafka, bootstrap=None, more=None):
    """Committed records come out once, aborted ones do not, through the listener at `bootstrap`."""
    kafka.create_topics(["smoke"], partitions=3)
    topic = kafka.test.prefix + "smoke"
    producer = new_producer(bootstrap or kafka.bootstrap, more)
    transact(producer, topic, range(COUNT))
    transact(producer, topic, range(1000, 1000 + COUNT), commit=False)
    transact(producer, topic, range(COUNT, 2 * COUNT))
    want = sorted(str(n) for n in range(2 * COUNT))
    check_equal(sorted(r.value for r in kafka.read(topic)), want, "committed records")
    check_equal(len(kafka.read(topic, isolation="read_uncommitted")), 3 * COUNT, "all records")
    return topic


def transactions_on_4(t):
    kafka = Kafka.shared(t)
    topic = round_trip(kafka)

    # fencing: the second holder of an id makes the first one's commit fail for good
    old = new_producer(kafka.bootstrap, txn_id=t.prefix + "same")
    old.begin_transaction()
    old.produce(topic, key="zombie", value="1", partition=0)
    check_equal(old.flush(30), 0, "messages left")
    new = new_producer(kafka.bootstrap, txn_id=t.prefix + "same")
    transact(new, topic, [3000])
    try:
        old.commit_transaction(30)
        raise Failure("a fenced producer committed")
    except KafkaException as e:
        check(e.args[0].fatal(), f"fencing is not fatal but {e}")
    state = fold(kafka.read(topic))
    check("zombie" not in state, "a fenced producer's record is visible")
    check("3000" in state, "the successor's record is missing")


def secure(t, version, listener, wrong):
    kafka = Kafka.own(t, version=version, listener=listener)
    way_in = kafka.env["secure"]
    round_trip(kafka, way_in["bootstrap"], way_in["client"])
    reader = dict(way_in["client"])
    refused = {k: v for k, v in {**reader, **wrong}.items() if v is not None}
    producer = Producer(quiet(way_in["bootstrap"], {"transactional.id": "refused", **refused}))
    try:
        producer.init_transactions(3)
        raise Failure(f"{listener}: a client without the right credentials was let in")
    except KafkaException:
        pass
    # the same client with the right ones, at the same moment, is let in: so it was the credentials
    new_producer(way_in["bootstrap"], reader)


def scram_on_3_9(t):
    secure(t, "old", "scram", {"sasl.password": "not the password"})


def mutual_tls_on_4(t):
    secure(t, "main", "mtls", {"ssl.certificate.location": None, "ssl.key.location": None})


def three_brokers_lose_one(t):
    kafka = Kafka.own(t, brokers=3)
    kafka.create_topics(["smoke"], partitions=3)
    topic = t.prefix + "smoke"
    producer = new_producer(kafka.bootstrap)
    half, total = 40, 120
    errors, passed_half = [], threading.Event()

    def write():
        try:
            for n in range(total):
                transact(producer, topic, [n])
                if n == half:
                    passed_half.set()
        except KafkaException as e:
            errors.append(e)
            passed_half.set()

    thread = threading.Thread(target=write)
    thread.start()
    check(passed_half.wait(60), "no progress with three brokers")
    # the leader of a partition that is written to
    leader = kafka.admin().list_topics(topic, timeout=10).topics[topic].partitions[0].leader
    kafka.kill(leader)
    thread.join(120)
    check(not thread.is_alive(), "no progress within 120 s of losing a broker")
    check(not errors, f"a transaction failed: {errors}")
    kafka.restart(leader)
    values = [r.value for r in read_topic(kafka.bootstrap, topic)]
    check_equal(sorted(values, key=int), [str(n) for n in range(total)], "records, each once")


def owned_start(t, folder, then):
    """A shell that starts a broker with --with-parent and is its owner."""
    t.undo(lambda: kafka_bed.stop(folder))
    # with a command after it, the shell does not give its own place to kafka.py
    return subprocess.Popen(
        ["/bin/bash", "-c", '"$@" && ' + then, "bash", "/usr/bin/python3", "-B",
         str(ROOT / "tests/kafka/kafka.py"), "start", "--dir", str(folder), "--with-parent"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ends_with_its_owner(t):
    """--with-parent: a caller that is killed leaves no broker behind."""
    folder = t.dir / "owned"
    shell = owned_start(t, folder, "echo up && read -r line")
    try:
        lines = [shell.stdout.readline(), shell.stdout.readline()]
        check_equal(lines[1], "up\n", "the start's last line")
        pid = kafka_bed.read_env(folder)["nodes"][0]["pid"]
        os.kill(pid, 0)
    finally:
        shell.send_signal(signal.SIGKILL)
        shell.communicate()
    check(wait_pid_gone(pid, 40), "the broker outlived its owner")
    wait_for(lambda: kafka_bed.read_env(folder) is None, 20, "env.json is gone")


def ends_with_its_owner_while_starting(t):
    """The same when owner and start are killed before the broker has answered."""
    folder = t.dir / "owned"
    shell = owned_start(t, folder, "true")
    try:
        env = wait_for(lambda: kafka_bed.read_env(folder), 60, "the broker is spawned")
        check(not env["ready"], "the broker is ready already")
        pid = env["nodes"][0]["pid"]
        # the start is the shell's only child
        with open(f"/proc/{shell.pid}/task/{shell.pid}/children", encoding="ascii") as f:
            starter = int(f.read().split()[0])
        os.kill(starter, signal.SIGKILL)
    finally:
        shell.send_signal(signal.SIGKILL)
        shell.communicate()
    check(wait_pid_gone(pid, 40), "the broker outlived a start that was killed")


if __name__ == "__main__":
    sys.exit(main(transactions_on_4, scram_on_3_9, mutual_tls_on_4, three_brokers_lose_one,
                  ends_with_its_owner, ends_with_its_owner_while_starting))
