"""records.v1 as it grows: read in the background, asked by the demo."""

import threading
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

from crmkafka import _record
from crmtest import Failure, partition_count, quiet, wait_for


class Feed:
    def __init__(self, broker, prefix, isolation):
        self.topic = prefix + "records.v1"
        count = wait_for(lambda: partition_count(broker.bootstrap, self.topic), 30, f"{self.topic} exists")
        self.consumer = Consumer(quiet(broker.bootstrap, {
            "group.id": "demo", "enable.auto.commit": False, "isolation.level": isolation, "fetch.wait.max.ms": 50,
            "auto.offset.reset": "earliest"}))
        self.consumer.assign([TopicPartition(self.topic, p, 0) for p in range(count)])
        self.lock = threading.Condition()
        self.all = []
        self.latest = {}
        self.marked = 0
        self.shown = 0
        self.error = None
        self.stop = False
        self.broker = broker
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        next_offset = {}
        while not self.stop:
            message = self.consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                if message.error().code() != KafkaError._PARTITION_EOF:
                    self.error = str(message.error())
                continue
            partition, offset = message.partition(), message.offset()
            # markers of transactions leave gaps; the embedded broker has none, so a gap there is a loss
            if not self.broker.transactional and offset != next_offset.get(partition, 0):
                self.error = f"the embedded broker dropped records of partition {partition} before they were read"
            next_offset[partition] = offset + 1
            record = _record(message)
            with self.lock:
                self.all.append(record)
                self.latest[record.key] = record
                self.lock.notify_all()

    def close(self):
        self.stop = True
        self.thread.join(10)
        self.consumer.close()

    def check(self):
        if self.error:
            raise Failure(self.error)

    def records(self):
        with self.lock:
            return list(self.all)

    def matching(self, mailbox, wanted):
        """How many of the wanted {key: change key} are there in that version."""
        with self.lock:
            count = 0
            for key, change_key in wanted.items():
                record = self.latest.get(key)
                if record is None or record.value is None:
                    continue
                value = record.json
                if value["change"] in ("upserted", "moved") and (change_key is None
                                                               or value["version"]["change_key"] == change_key):
                    count += 1
            return count

    def wait_change(self, seconds):
        with self.lock:
            self.lock.wait(seconds)

    def mark(self):
        with self.lock:
            self.marked = len(self.all)
            self.shown = len(self.all)

    def new_records(self):
        with self.lock:
            fresh = self.all[self.shown:]
            self.shown = len(self.all)
            return fresh

    def wait_record(self, expected, deadline_s):
        """The first record since mark() for which expected(record) holds, or None."""
        deadline = time.monotonic() + deadline_s
        seen = self.marked
        while True:
            self.check()
            with self.lock:
                for record in self.all[seen:]:
                    if expected(record):
                        return record
                seen = len(self.all)
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.lock.wait(min(left, 0.5))
