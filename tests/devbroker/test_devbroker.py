#!/usr/bin/python3
"""The embedded broker does what its README says."""

import os
import signal
import sys
import time

from confluent_kafka import KafkaException, Producer

from crmtest import (DevBroker, check, check_equal, fold, main, partition_count, program, quiet,
                     wait_for)


def new_producer(broker, **more):
    return Producer(quiet(broker.bootstrap, {"socket.nagle.disable": True, "linger.ms": 0, **more}))


def transactional(broker, name):
    producer = new_producer(broker, **{"transactional.id": name, "retry.backoff.ms": 20})
    producer.init_transactions(20)
    return producer


def topics_and_records(t):
    broker = DevBroker(t, brokers=3, partitions=5, topics=["a", "b:2"])
    check_equal(partition_count(broker.bootstrap, t.prefix + "a"), 5, "partitions of a")
    check_equal(partition_count(broker.bootstrap, t.prefix + "b"), 2, "partitions of b")
    broker.command(f"topic {t.prefix}c 7")
    check_equal(partition_count(broker.bootstrap, t.prefix + "c"), 7, "partitions of c")
    producer = new_producer(broker)
    for n in range(30):
        producer.produce(t.prefix + "c", key=f"k{n % 10}", value=str(n), partition=n % 5)
    check_equal(producer.flush(20), 0, "messages left")
    records = broker.read(t.prefix + "c")
    check_equal(len(records), 30, "records")
    check_equal(fold(records)["k3"].value, "23", "last value of k3")
    marks = broker.command(f"watermarks {t.prefix}c")["partitions"]
    check_equal([(m["low"], m["high"]) for m in marks], [(0, 6)] * 5 + [(0, 0)] * 2, "watermarks")


def bad_commands_are_answered(t):
    broker = DevBroker(t, topics=["a"])
    for text in ("frobnicate", "topic", "topic x 0", "topic x 99999", "topic x/y 3", "down 2",
                 "down one", "rtt 1", "rtt 1 -5", "leader a 0 7", "coord what x 1",
                 "error NoSuchApi 1 _TRANSPORT", "error EndTxn 0 _TRANSPORT",
                 "error EndTxn 1 NO_SUCH_ERROR", "watermarks", "a b c d e f g h i j", "",
                 f"topic {t.prefix}a 3"):
        answer = broker.try_command(text)
        check(not answer["ok"] and answer["error"], f"{text!r} was accepted: {answer}")
    broker.command("topic good 1")  # and it is still there


def errors_reach_the_client(t):
    broker = DevBroker(t, topics=["a"])
    topic = t.prefix + "a"
    producer = transactional(broker, "one")
    # an error that the client retries by itself ...
    broker.command("error EndTxn 2 COORDINATOR_NOT_AVAILABLE")
    producer.begin_transaction()
    producer.produce(topic, value="1", partition=0)
    producer.commit_transaction(20)
    # ... one that asks for an abort ...
    broker.command("error AddPartitionsToTxn 1 TOPIC_AUTHORIZATION_FAILED")
    producer.begin_transaction()
    producer.produce(topic, value="2", partition=0)
    try:
        producer.commit_transaction(20)
        check(False, "a transaction without permission committed")
    except KafkaException as e:
        check(e.args[0].txn_requires_abort(), f"not abortable: {e}")
    producer.abort_transaction(20)
    # ... one that is late, one that is forgotten before it is used, and one that ends the producer
    broker.command("error EndTxn 1 0 300")
    broker.command("error EndTxn 1 PRODUCER_FENCED")
    broker.command("clear")
    begin = time.monotonic()
    producer.begin_transaction()
    producer.produce(topic, value="3", partition=0)
    producer.commit_transaction(20)
    check(time.monotonic() - begin >= 0.3, "the delay did not happen")
    broker.command("error 26 1 PRODUCER_FENCED")
    producer.begin_transaction()
    producer.produce(topic, value="4", partition=0)
    try:
        producer.commit_transaction(20)
        check(False, "a fenced producer committed")
    except KafkaException as e:
        check(e.args[0].fatal(), f"not fatal: {e}")


def brokers_go_and_come_back(t):
    broker = DevBroker(t, brokers=3, topics=["a"])
    topic = t.prefix + "a"
    producer = new_producer(broker, **{"message.timeout.ms": 60000, "retry.backoff.ms": 20})
    delivered = []

    def produce(value, partition=0):
        producer.produce(topic, value=value, partition=partition,
                         on_delivery=lambda err, msg: delivered.append((msg.value(), err)))

    produce("1")
    check_equal(producer.flush(20), 0, "messages left")
    broker.command("down all")
    produce("2")
    check_equal(producer.flush(0.5), 1, "messages left while no broker is up")
    broker.command("up all")
    check_equal(producer.flush(30), 0, "messages left after the brokers came back")
    for broker_id in (1, 2, 3):
        broker.command(f"leader {topic} 0 {broker_id}")
        produce(f"led by {broker_id}")
        check_equal(producer.flush(30), 0, "messages left after a leader moved")
    check_equal([e for _, e in delivered], [None] * 5, "delivery errors")
    broker.command("coord transaction two 2")
    transactional(broker, "two")


def a_loss_is_said(t):
    broker = DevBroker(t, topics=["a:2"])
    fill(broker, t.prefix + "a")
    event = broker.next_event(20)
    check_equal((event["event"], event["topic"], event["partition"]),
                ("log_start_moved", t.prefix + "a", 1), "event")
    low = broker.command(f"watermarks {t.prefix}a")["partitions"][1]["low"]
    check(0 < event["low"] <= low, f"the event says {event['low']}, the log starts at {low}")
    check_equal(broker.proc.stop(), 0, "exit code")


def a_loss_can_be_fatal(t):
    broker = DevBroker(t, topics=["a:2"], args=["--fail-on-loss"])
    fill(broker, t.prefix + "a")
    check_equal(broker.proc.wait(20), 70, "exit code")


def fill(broker, topic):
    """More than the 5 MiB that partition 1 can hold, while the other stays empty."""
    producer = new_producer(broker, **{"batch.num.messages": 10})
    for _ in range(12):
        for _ in range(10):
            producer.produce(topic, value=os.urandom(60000), partition=1)
        # the broker may be gone by now, if it was told to end at a loss
        wait_for(lambda: producer.flush(0.2) == 0 or not broker.proc.running(), 20, "delivered")


def every_end_is_orderly(t):
    check_equal(DevBroker(t).proc.stop(10), 0, "exit code after SIGTERM")
    broker = DevBroker(t)
    broker.proc.signal(signal.SIGINT)
    check_equal(broker.proc.wait(10), 0, "exit code after SIGINT")
    broker = DevBroker(t)
    broker.proc.popen.stdin.close()
    check_equal(broker.proc.wait(10), 0, "exit code after end of input")
    broker = DevBroker(t)
    broker.command("quit")
    check_equal(broker.proc.wait(10), 0, "exit code after quit")
    broker = DevBroker(t)
    broker.command("down all")
    wait_for(lambda: broker.proc.running(), 5, "it runs without brokers")
    check_equal(broker.proc.stop(10), 0, "exit code with every broker down")
    for args in (["--brokers", "0"], ["--partitions", "x"], ["--topic", "a/b"], ["--topic", "a:0"],
                 ["--nonsense"], ["stray"], ["--fail-on-loss", "--watch-ms", "0"]):
        run = t.run([program("devbroker"), *args], 10)
        check_equal((run.returncode, run.stdout), (64, ""), f"exit code and output for {args}")
        check(run.stderr, f"nothing said about {args}")


if __name__ == "__main__":
    sys.exit(main(topics_and_records, bad_commands_are_answered, errors_reach_the_client,
                  brokers_go_and_come_back, a_loss_is_said, a_loss_can_be_fatal,
                  every_end_is_orderly))
