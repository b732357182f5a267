#!/usr/bin/python3
"""The helper library itself: a helper that lets things pass would hide every fault it should show."""

import json
import shutil
import signal
import sys

from confluent_kafka import Producer

from crmtest import (DevBroker, Failure, Kafka, Record, Schemas, check, check_equal, check_partitions,
                     fold, libconfig, main, murmur2, partition_of, quiet, run_test, wait_for)


ENDS_BADLY = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(66))
print("up", flush=True)
signal.pause()
"""


def fails(function, *args, **kw):
    """The sentence of the Failure that the call must raise."""
    try:
        function(*args, **kw)
    except Failure as e:
        return str(e)
    raise Failure(f"{function.__name__} let it pass")


def record(key, value, partition=0, offset=0):
    return Record("t", partition, offset, 0, key, value, {})


def folding(t):
    records = [record("a", "2", 0, 5), record("a", "1", 0, 4), record("b", "1", 1, 0),
               record("c", "1", 0, 1), record("c", None, 0, 2)]
    check_equal({k: r.value for k, r in fold(records).items()}, {"a": "2", "b": "1"}, "fold")
    check("partitions" in fails(fold, [record("a", "1", 0), record("a", "1", 1)]), "two partitions")


def partitions(t):
    # values of Kafka's own test of its murmur2
    for text, want in (("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536),
                       ("a-little-bit-longer-string", -1486304829),
                       ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971)):
        check_equal(murmur2(text.encode()), want & 0xFFFFFFFF, f"murmur2 of {text}")
    key = "acme/ann@contoso.example/email/AAMkAD=="
    p = partition_of(key, 24)
    check_equal(p, partition_of("acme/ann@contoso.example", 24), "partition of a mailbox's records")
    check_partitions([record(key, "{}", p)], 24)
    fails(check_partitions, [record(key, "{}", (p + 1) % 24)], 24)


def configuration(t):
    text = libconfig({"kafka.delivery": "exactly_once", "kafka.properties.ssl.ca.location": "/x",
                      "n": 1, "big": 2**40, "on": True, "quote": 'a"b\\c\n', "list": ["a", "b"],
                      "kafka.properties.ssl": "yes", "groups": [{"a": 1}]})
    for piece in ('delivery = "exactly_once";', "big = 1099511627776L;", "on = true;",
                  r'quote = "a\"b\\c\n";', '( "a", "b" )', 'ssl_ = "yes";', 'location = "/x";'):
        check(piece in text, f"{piece} is not in\n{text}")


def schemas(t):
    common = t.dir / "common"
    common.mkdir()
    base = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    (common / "part.schema.json").write_text(json.dumps(
        {**base, "$id": "https://x.example/common/part.schema.json",
         "$defs": {"n": {"type": "integer", "minimum": 3}}}))
    (t.dir / "record").mkdir()
    (t.dir / "record" / "email.v1.schema.json").write_text(json.dumps(
        {**base, "$id": "https://x.example/record/email.v1.schema.json", "type": "object",
         "additionalProperties": False, "required": ["kind", "n"],
         "properties": {"kind": {"const": "email"},
                        "n": {"$ref": "../common/part.schema.json#/$defs/n"}}}))
    s = Schemas(t.dir)
    s.validate_record(record("a", '{"kind": "email", "n": 3}'), "records.v1")
    s.validate_record(record("a", None), "records.v1")
    for bad in ('{"kind": "email", "n": 2}', '{"kind": "email"}', '{"kind": "email", "n": 3, "x": 1}',
                '{"kind": "other"}', "[]", "nonsense"):
        fails(s.validate_record, record("a", bad), "records.v1")


def schemas_of_the_project(t):
    names = Schemas().names()
    check("job.v1" in names, f"job.v1 is not among {names}")
    fails(Schemas().validate, {}, "job.v1")


def processes(t):
    p = t.start(["/bin/bash", "-c", "echo one; read -r x; echo got $x; exec sleep 1000"], "p",
                stdin=True, lines=True)
    check_equal(p.line(5), "one", "first line")
    p.send("two\n")
    check_equal(p.line(5), "got two", "second line")
    check("no third" in fails(p.line, 0.05, "third"), "a line that does not come")
    check_equal(p.stop(), -signal.SIGTERM, "its end")
    fails(wait_for, lambda: False, 0.05, "never")


def a_failing_test_fails(t):
    """Run inside: a test that raises, one whose process dies, one whose process ends badly."""
    kept = []

    def raises(inner):
        kept.append(inner.dir)
        check(False, "on purpose")

    def dies(inner):
        kept.append(inner.dir)
        p = inner.start(["/bin/false"], "dies")
        wait_for(lambda: not p.running(), 5, "it ended")

    def ends_badly(inner):
        kept.append(inner.dir)
        p = inner.start(["/usr/bin/python3", "-c", ENDS_BADLY], "ends-badly", lines=True)
        p.line(5)

    def passes(inner):
        check_equal(inner.start(["/bin/true"], "true").wait(5), 0, "true")

    for function in (raises, dies, ends_badly):
        check(not run_test(function), f"{function.__name__} passed")
    check(run_test(passes), "a good test failed")
    for folder in kept:
        check(folder.is_dir(), f"{folder} of a failed test is gone")
        shutil.rmtree(folder)


def reading(t):
    """read_topic sees committed records only, all of them, and waits for an open transaction."""
    kafka = Kafka.shared(t)
    kafka.create_topics(["r"], partitions=2)
    topic = t.prefix + "r"
    check_equal(kafka.read(topic), [], "an empty topic")
    producer = Producer(quiet(kafka.bootstrap, {"transactional.id": t.prefix + "x",
                                                "transaction.timeout.ms": 60000}))
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, key="a", value="1", partition=0, headers={"ce_id": "x"})
    producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce(topic, key="b", value="2", partition=1)
    check_equal(producer.flush(30), 0, "messages left")
    found = kafka.read(topic, until="stable")
    check_equal([(r.key, r.json, r.headers) for r in found], [("a", 1, {"ce_id": "x"})], "stable part")
    check("open transaction" in fails(kafka.read, topic, deadline_s=1), "an open transaction")
    producer.commit_transaction(30)
    seen = []
    check(kafka.read(topic, each=seen.append) is None, "with each nothing is returned")
    check_equal(sorted(r.key for r in seen), ["a", "b"], "after the commit")


def embedded(t):
    broker = DevBroker(t, topics=["a"])
    check_equal(broker.read(t.prefix + "a"), [], "an empty topic")
    fails(broker.command, "boom")
    check(not broker.try_command("boom")["ok"], "boom was accepted")


if __name__ == "__main__":
    sys.exit(main(folding, partitions, configuration, schemas, schemas_of_the_project, processes,
                  a_failing_test_fails, reading, embedded))
