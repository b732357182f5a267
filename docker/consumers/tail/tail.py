#!/usr/bin/env python3
"""Prints records as they come, one a line. Needs confluent-kafka. Commits nothing: it may be stopped at any time."""

import argparse
import json
import os
import shutil
import signal
import sys

from confluent_kafka import Consumer, TopicPartition

COLOURS = {"upserted": "32", "moved": "36", "deleted": "31", "left_scope": "33"}


def who(record):
    people = record.get("from") or (record.get("organizer") or {}) or {}
    return people.get("address") or ""


def line(record, width, colour, content):
    change = record["change"]
    at = (record.get("observed_at") or "")[11:19]
    text = f"{at:8}  {record['mailbox']:28.28}  {record['kind']:11}  "
    text += f"\x1b[{COLOURS.get(change, '0')}m{change:10}\x1b[0m" if colour else f"{change:10}"
    if content:
        # what people wrote may hold anything: control characters must not reach the terminal
        subject = "".join(c if c.isprintable() else " " for c in record.get("subject") or "")
        room = max(10, width - 66 - 26)
        text += f"  {who(record):24.24}  {subject[:room]}"
    return text.rstrip()


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS"))
    parser.add_argument("--prefix", default=os.environ.get("CRMSYNC_TOPIC_PREFIX", "crmsync."))
    parser.add_argument("--from-beginning", action="store_true", help="else only what comes from now on")
    parser.add_argument("--until-end", action="store_true", help="stop at the end instead of waiting for more")
    parser.add_argument("--no-content", action="store_true", help="neither addresses nor subjects")
    parser.add_argument("--kafka-config", help="a file of librdkafka properties, one a line: name=value")
    args = parser.parse_args()
    if not args.bootstrap_servers:
        parser.error("--bootstrap-servers or KAFKA_BOOTSTRAP_SERVERS is needed")
    extra = {}
    if args.kafka_config:
        with open(args.kafka_config, encoding="utf-8") as f:
            extra = dict(text.strip().split("=", 1) for text in f if text.strip() and not text.startswith("#"))
    consumer = Consumer({"bootstrap.servers": args.bootstrap_servers, "group.id": "crmsync-tail", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "enable.partition.eof": True, **extra})
    topic = args.prefix + "records.v1"
    partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
    if not partitions:
        sys.exit(f"there is no topic {topic}")
    consumer.assign([TopicPartition(topic, p, -2 if args.from_beginning else -1) for p in partitions])
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
    left = set(partitions)
    try:
        while left or not args.until_end:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error() is not None:
                left.discard(message.partition())
            elif message.value() is not None:
                print(line(json.loads(message.value()), width, colour, not args.no_content), flush=True)
    except KeyboardInterrupt:
        pass
    consumer.close()


if __name__ == "__main__":
    main()
