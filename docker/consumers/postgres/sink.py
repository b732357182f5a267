#!/usr/bin/env python3
"""records.v1 into PostgreSQL, exactly once. Made to be copied: this file, schema.sql, confluent-kafka and psycopg 3.

Each batch is one database transaction with the rows and the offsets behind them; the offsets in the database are where
reading goes on, so neither a crash of this program nor one of the database loses or repeats anything. Start as many as you
like with the same --group: each gets some partitions.

The database is named by libpq's environment (PGHOST, PGDATABASE, PGUSER, PGPASSFILE, PGSERVICE, ...).
"""

import argparse
import json
import logging
import os
import pathlib
import signal
import sys
import time

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

BATCH = 500
GONE = ("deleted", "left_scope")

UPSERT = """
INSERT INTO crmsync_item AS i (key, kind, change, present, tenant, mailbox, item_id, dedup_key, occurred_at, subject, folder,
                               record, "partition", "offset")
VALUES (%(key)s, %(kind)s, %(change)s, %(present)s, %(tenant)s, %(mailbox)s, %(item_id)s, %(dedup_key)s, %(occurred_at)s,
        %(subject)s, %(folder)s, %(record)s, %(partition)s, %(offset)s)
ON CONFLICT (key) DO UPDATE SET kind = EXCLUDED.kind, change = EXCLUDED.change, present = EXCLUDED.present,
    dedup_key = EXCLUDED.dedup_key, occurred_at = EXCLUDED.occurred_at, subject = EXCLUDED.subject,
    folder = EXCLUDED.folder, record = EXCLUDED.record, "partition" = EXCLUDED."partition", "offset" = EXCLUDED."offset"
WHERE i."offset" < EXCLUDED."offset"
"""
MOVE_ON = """
INSERT INTO crmsync_offset AS o (topic, "partition", next_offset) VALUES (%s, %s, %s)
ON CONFLICT (topic, "partition") DO UPDATE SET next_offset = EXCLUDED.next_offset
WHERE o.next_offset < EXCLUDED.next_offset
"""

log = logging.getLogger("sink")


def clean(value):
    """PostgreSQL has no NUL in text; everything else of JSON it takes."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [clean(v) for v in value]
    if isinstance(value, dict):
        return {clean(k): clean(v) for k, v in value.items()}
    return value


def row_of(message):
    """The row that a record stands for."""
    record = clean(json.loads(message.value()))
    start, folder = record.get("start") or {}, record.get("folder") or {}
    return {
        "key": message.key().decode(), "kind": record["kind"],
        "change": record["change"], "present": record["change"] not in GONE,
        "tenant": record["tenant"], "mailbox": record["mailbox"], "item_id": record["item_id"],
        "dedup_key": record.get("dedup_key"), "occurred_at": record.get("received_at") or start.get("utc"),
        "subject": record.get("subject"), "folder": folder.get("path"), "record": json.dumps(record, ensure_ascii=False),
        "partition": message.partition(), "offset": message.offset(),
        "people": record.get("participants") or [],
    }


def write(db, topic, messages):
    """One transaction: all of it, or nothing."""
    last = {}
    with db.transaction(), db.cursor() as cursor:
        for message in messages:
            last[message.partition()] = message.offset()
            if message.value() is None:  # a tombstone: the key is erased
                cursor.execute('DELETE FROM crmsync_item WHERE key = %s AND "offset" < %s',
                               (message.key().decode(), message.offset()))
                continue
            row = row_of(message)
            cursor.execute(UPSERT, row)
            if cursor.rowcount == 0:
                continue  # older than what is there
            cursor.execute("DELETE FROM crmsync_person WHERE key = %s", (row["key"],))
            if row["present"] and row["people"]:
                cursor.executemany("INSERT INTO crmsync_person (key, address, roles) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                                   [(row["key"], p["address"], p["roles"]) for p in row["people"]])
        cursor.executemany(MOVE_ON, [(topic, partition, offset + 1) for partition, offset in last.items()])


class Sink:
    def __init__(self, args):
        self.topic = args.prefix + "records.v1"
        self.stopping = False
        self.db = None
        self.rows = 0
        extra = dict(line.split("=", 1) for line in pathlib.Path(args.kafka_config).read_text().splitlines()
                     if line.strip() and not line.startswith("#")) if args.kafka_config else {}
        self.consumer = Consumer({
            "bootstrap.servers": args.bootstrap_servers, "group.id": args.group, "isolation.level": "read_committed",
            "auto.offset.reset": "earliest", "enable.auto.commit": False, **extra})

    def connect(self):
        """The database, however long it takes. None when told to stop."""
        pause = 0.1
        while not self.stopping:
            try:
                self.db = psycopg.connect(autocommit=True)
                self.db.execute((pathlib.Path(__file__).parent / "schema.sql").read_text())
                return self.db
            except psycopg.OperationalError as e:
                log.warning("the database is not there, again in %.1f s: %s", pause, type(e).__name__)
                self.db = None
            end = time.monotonic() + pause
            while not self.stopping and time.monotonic() < end:
                self.consumer.poll(0.1)  # stays a member; what comes is read again from the database's offsets
            pause = min(pause * 2, 5)
        return None

    def starts(self, partitions):
        """Where the database says that reading goes on."""
        known = dict(self.db.execute('SELECT "partition", next_offset FROM crmsync_offset WHERE topic = %s', (self.topic,)).fetchall())
        return [TopicPartition(self.topic, p.partition, known.get(p.partition, -2)) for p in partitions]  # -2: the beginning

    def go_back(self):
        """To where the database stands, as soon as it is there."""
        while self.connect() is not None:
            try:
                for start in self.starts(self.consumer.assignment()):
                    self.consumer.seek(start)
                return
            except psycopg.OperationalError:
                continue

    def on_assign(self, consumer, partitions):
        log.info("%d partitions assigned", len(partitions))
        try:
            consumer.assign(self.starts(partitions) if self.db is not None else partitions)
        except psycopg.OperationalError:
            self.db = None
            consumer.assign(partitions)  # read again from the right place as soon as the database is there

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        self.connect()
        self.consumer.subscribe([self.topic], on_assign=self.on_assign)
        while not self.stopping:
            messages = self.consumer.consume(BATCH, timeout=0.5)
            for message in messages:
                if message.error() is not None and message.error().code() not in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN):
                    raise KafkaException(message.error())
            messages = [m for m in messages if m.error() is None]
            try:
                if self.db is None:
                    raise psycopg.OperationalError
                if messages:
                    write(self.db, self.topic, messages)
                    self.rows += len(messages)
            except psycopg.OperationalError:
                self.go_back()  # whether it was written or not, the offsets there tell
                continue
            if messages:
                self.consumer.commit(offsets=[TopicPartition(self.topic, m.partition(), m.offset() + 1) for m in messages],
                                     asynchronous=True)  # for those who watch the lag; nothing is read from there
        self.consumer.close()
        if self.db is not None:
            self.db.close()
        log.info("stopped after %d records", self.rows)

    def on_signal(self, _number, _frame):
        self.stopping = True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap-servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS"), help="host:port,... (KAFKA_BOOTSTRAP_SERVERS)")
    parser.add_argument("--prefix", default=os.environ.get("CRMSYNC_TOPIC_PREFIX", "crmsync."), help="of the topics (%(default)s)")
    parser.add_argument("--group", default="crmsync-postgres", help="consumer group (%(default)s)")
    parser.add_argument("--kafka-config", help="a file of librdkafka properties, one a line: name=value")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if not args.bootstrap_servers:
        parser.error("--bootstrap-servers or KAFKA_BOOTSTRAP_SERVERS is needed")
    Sink(args).run()


if __name__ == "__main__":
    main()
