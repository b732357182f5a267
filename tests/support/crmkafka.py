"""Brokers and topics for integration tests: the shared real Kafka, one of one's own, the embedded one.

Reading is always from the start of a topic to its end at the moment of the call, by explicit
assignment: no group, nothing left behind on the broker.
"""

import importlib.util
import json
import os
import time
import uuid
from dataclasses import dataclass

from confluent_kafka import (OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition)
from confluent_kafka.admin import AdminClient, NewTopic

from crmproc import ROOT, Failure, program, wait_for

_spec = importlib.util.spec_from_file_location("kafka_bed", ROOT / "tests" / "kafka" / "kafka.py")
kafka_bed = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kafka_bed)
free_ports = kafka_bed.free_ports

COMPACT = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
DELETE = {"cleanup.policy": "delete"}
# Every topic of the system, without the prefix, and how a test's broker keeps it.
TOPICS = {
    "jobs.v1": DELETE, "feedback.v1": DELETE, "commands.v1": DELETE, "outbox.v1": DELETE,
    "state.v1": COMPACT, "status.v1": COMPACT, "records.v1": DELETE, "index.v1": COMPACT,
    "contacts.v1": COMPACT, "dlq.v1": DELETE,
}
MESSAGE_MAX = 2 * 1024 * 1024
# What a partition answers while its leadership is being settled: asked again until the deadline.
NOT_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
           KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.REQUEST_TIMED_OUT, KafkaError._TIMED_OUT,
           KafkaError._TRANSPORT)


def quiet(bootstrap, more=None):
    """librdkafka properties of a client that talks only through exceptions."""
    conf = {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda e: None,
            "reconnect.backoff.max.ms": 500}
    conf.update(more or {})
    return conf


@dataclass(frozen=True)
class Record:
    """One message as it lies on a topic. key and value are text or None; headers a dict of text."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    value: str
    headers: dict

    @property
    def json(self):
        return None if self.value is None else json.loads(self.value)


def _record(msg):
    key, value = msg.key(), msg.value()
    headers = {k: (v or b"").decode("utf-8", "replace") for k, v in msg.headers() or ()}
    return Record(msg.topic(), msg.partition(), msg.offset(), msg.timestamp()[1],
                  None if key is None else key.decode("utf-8"),
                  None if value is None else value.decode("utf-8"), headers)


def partition_count(bootstrap, topic, timeout_s=10):
    admin = AdminClient(quiet(bootstrap))

    def count():
        found = admin.list_topics(topic, timeout=timeout_s).topics[topic]
        if found.error is not None and found.error.code() not in NOT_YET:
            raise Failure(f"topic {topic}: {found.error}")
        return len(found.partitions)

    return wait_for(count, timeout_s, f"topic {topic} exists")


def end_offsets(bootstrap, topic, isolation="read_uncommitted", timeout_s=30):
    """{partition: offset after the last}; read_committed: not past the oldest open transaction."""
    consumer = Consumer(quiet(bootstrap, {"group.id": "crmtest", "isolation.level": isolation}))

    def end(partition):
        try:
            # (low, high); None when it timed out
            marks = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=5)
        except KafkaException as e:
            if e.args[0].code() in NOT_YET:
                return None
            raise
        return None if marks is None else (marks[1],)

    try:
        return {p: wait_for(lambda p=p: end(p), timeout_s, f"{topic} {p} has a leader that answers")[0]
                for p in range(partition_count(bootstrap, topic, timeout_s))}
    finally:
        consumer.close()


def read_topic(bootstrap, topic, isolation="read_committed", until="end", deadline_s=60, each=None):
    """All records of a topic, sorted by partition and offset.

    until="end" reads to the high watermark at the time of the call and so waits for transactions
    that are open then (to commit, to abort, or for the broker to end them); "stable" stops before
    the oldest open one. `each`, if given, is called with every record and nothing is returned.
    """
    limit = end_offsets(bootstrap, topic,
                        "read_uncommitted" if until == "end" else isolation)
    left = {p for p, end in limit.items() if end > 0}
    records = []
    if not left:
        return records
    consumer = Consumer(quiet(bootstrap, {
        "group.id": f"crmtest-{uuid.uuid4().hex}", "enable.auto.commit": False,
        "enable.auto.offset.store": False, "isolation.level": isolation,
        "enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20,
        "fetch.error.backoff.ms": 20, "queued.max.messages.kbytes": 32768}))
    stop = time.monotonic() + deadline_s
    try:
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in sorted(left)])
        while left:
            if time.monotonic() > stop:
                raise Failure(f"{topic}: partitions {sorted(left)} not read to their end within "
                              f"{deadline_s} s (an open transaction?)")
            for msg in consumer.consume(num_messages=2000, timeout=0.2):
                error = msg.error()
                if error is None:
                    if msg.offset() < limit[msg.partition()]:
                        if each is not None:
                            each(_record(msg))
                        else:
                            records.append(_record(msg))
                    continue
                if error.code() != KafkaError._PARTITION_EOF:
                    raise Failure(f"{topic}: {error}")
                # markers and aborted records count: only the position tells that all was seen
                if msg.offset() >= limit[msg.partition()]:
                    left.discard(msg.partition())
    finally:
        consumer.close()
    records.sort(key=lambda r: (r.partition, r.offset))
    return None if each is not None else records


def fold(records):
    """The last record of each key in offset order, without the tombstoned; Failure if a key is on
    two partitions, since then no order holds between them."""
    last = {}
    for r in sorted(records, key=lambda r: (r.partition, r.offset)):
        before = last.get(r.key)
        if before is not None and before.partition != r.partition:
            raise Failure(f"key {r.key} is on partitions {before.partition} and {r.partition}")
        last[r.key] = r
    return {k: r for k, r in last.items() if r.value is not None}


def murmur2(data):
    """Kafka's murmur2 of bytes, as an unsigned 32-bit number."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little")
        k = (k * m) & mask
        k ^= k >> 24
        k = (k * m) & mask
        h = ((h * m) & mask) ^ k
    rest = data[whole:]
    if rest:
        h ^= int.from_bytes(rest, "little")
        h = (h * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)


def partition_of(key, partitions):
    """Where every message of the mailbox that `key` begins with belongs."""
    mailbox = "/".join(key.split("/", 2)[:2])
    return (murmur2(mailbox.encode()) & 0x7FFFFFFF) % partitions


def check_partitions(records, partitions):
    for r in records:
        if r.partition != partition_of(r.key, partitions):
            raise Failure(f"{r.topic} {r.partition}:{r.offset}: key {r.key} belongs on partition "
                          f"{partition_of(r.key, partitions)}")


class Broker:
    """What tests do alike on any broker."""

    bootstrap = None
    transactional = True

    def read(self, topic, **kw):
        return read_topic(self.bootstrap, topic, **kw)

    def end_offsets(self, topic, isolation="read_uncommitted"):
        return end_offsets(self.bootstrap, topic, isolation)


class Kafka(Broker):
    """A real Kafka.

    Kafka.shared(t): the one that ctest's fixture started (CRMSYNC_TEST_KAFKA_ENV), or that the caller
    names (CRMSYNC_TEST_KAFKA=host:port); without either one of its own. Topics under t.prefix only.
    Kafka.own(t, brokers=3): this test's own, to be killed at will.
    """

    def __init__(self, test, env, folder=None):
        self.test = test
        self.env = env
        self.dir = folder
        self.bootstrap = env["bootstrap"]
        self.brokers = env["brokers"]
        self._topics = []
        self._admin = None

    @classmethod
    def shared(cls, test):
        address = os.environ.get("CRMSYNC_TEST_KAFKA")
        if address:
            return cls(test, {"bootstrap": address, "brokers": 1})
        path = os.environ.get("CRMSYNC_TEST_KAFKA_ENV")
        if path:
            with open(path, encoding="utf-8") as f:
                env = json.load(f)
            if not env["ready"]:
                raise Failure(f"the broker of {path} never got ready")
            return cls(test, env)
        return cls.own(test)

    @classmethod
    def own(cls, test, brokers=1, version="main", listener=None):
        folder = test.dir / f"kafka{len(test.procs)}"
        argv = ["/usr/bin/python3", "-B", ROOT / "tests" / "kafka" / "kafka.py", "start", "--dir",
                folder, "--brokers", brokers, "--version", version, "--with-parent"]
        if listener:
            argv += ["--listener", listener]
        run = test.run(argv, deadline_s=240)
        if run.returncode != 0:
            raise Failure(f"no broker: {run.stderr[-4000:]}")
        test.undo(lambda: kafka_bed.stop(folder))
        return cls(test, kafka_bed.read_env(folder), folder)

    def admin(self):
        if self._admin is None:
            self._admin = AdminClient(quiet(self.bootstrap))
        return self._admin

    def create_topics(self, names=None, partitions=6, settings=None):
        """Make t.prefix + each name (all of TOPICS by default). settings: {name: {setting: value}}."""
        new = []
        for name in names or TOPICS:
            config = {"max.message.bytes": str(MESSAGE_MAX), **TOPICS.get(name, {}),
                      **(settings or {}).get(name, {})}
            new.append(NewTopic(self.test.prefix + name, num_partitions=partitions,
                                replication_factor=min(3, self.brokers), config=config))
        for topic, future in self.admin().create_topics(new, operation_timeout=30).items():
            try:
                future.result(60)
            except KafkaException as e:
                raise Failure(f"cannot create {topic}: {e}") from None
        for topic in new:  # a new topic is usable once each partition's leader knows that it is
            end_offsets(self.bootstrap, topic.topic)
        self.delete_later([t.topic for t in new])

    def delete_later(self, topics):
        """The shared broker lives on: what a test made goes when the test ends."""
        if not self._topics and self.dir is None:
            self.test.undo(self._delete)
        self._topics += topics

    def _delete(self):
        for future in self.admin().delete_topics(self._topics, operation_timeout=30).values():
            future.result(60)

    def kill(self, node):
        kafka_bed.kill(self.dir, node)

    def restart(self, node):
        kafka_bed.restart(self.dir, node)


class DevBroker(Broker):
    """The embedded broker, this test's own. Its answers and its events come on one stream."""

    transactional = False

    def __init__(self, test, brokers=1, partitions=6, topics=None, args=()):
        argv = [program("devbroker"), "--brokers", brokers, "--partitions", partitions,
                "--topic-prefix", test.prefix]
        for name in TOPICS if topics is None else topics:
            argv += ["--topic", name]
        self.test = test
        self.proc = test.start([*argv, *args], f"devbroker{len(test.procs)}", stdin=True, lines=True)
        self.bootstrap = json.loads(self.proc.line(what="ready line"))["bootstrap"]
        self.events = []

    def command(self, text, deadline_s=10):
        """The answer as a dict; Failure if the command was refused."""
        answer = self.try_command(text, deadline_s)
        if not answer["ok"]:
            raise Failure(f"devbroker: {text}: {answer['error']}")
        return answer

    def try_command(self, text, deadline_s=10):
        self.proc.send(text + "\n")
        while True:
            answer = json.loads(self.proc.line(deadline_s, f"answer to {text.split()[:1]}"))
            if "event" not in answer:
                return answer
            self.events.append(answer)

    def next_event(self, deadline_s=10):
        if self.events:
            return self.events.pop(0)
        answer = json.loads(self.proc.line(deadline_s, "event"))
        if "event" not in answer:
            raise Failure(f"devbroker: an answer without a command: {answer}")
        return answer
