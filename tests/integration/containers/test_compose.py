#!/usr/bin/python3
"""The services of docker/compose.yaml, with four workers: all healthy, mailboxes synced, orderly ends."""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from composed import Composed  # noqa: E402
from crmtest import check, check_equal, main, wait_for  # noqa: E402
from engine import Engine  # noqa: E402
from test_image import check_confined  # noqa: E402


def test_compose_services(t):
    engine = Engine()
    t.undo(engine.close)
    composed = Composed(engine, {"worker": 4})
    seconds = composed.up()
    producer = composed.running["producer"][0]
    daemons = composed.all("producer", "worker")
    check_equal(len(daemons), 5, "producer and workers")
    for daemon in daemons:
        daemon.wait_healthy()
        check_confined(daemon)

    def live():
        run = producer.exec("crmsync-producer", "status", "--json", ok=False)
        rows = [json.loads(line) for line in run.stdout.splitlines()]
        return rows if len(rows) == 3 and all(row["phase"] == "live" for row in rows) else None

    wait_for(live, 180, "the three mailboxes are synced", every_s=1)
    print(producer.exec("crmsync-producer", "status").stdout, flush=True)
    consumer = composed.running["consumer"][0]

    def read():
        """Every mailbox's records, each place on the topic once."""
        rows = [line.split(" ", 2) for line in consumer.logs().splitlines() if re.match(r"\d+ \d+ contoso/", line)]
        check_equal(len({(row[0], row[1]) for row in rows}), len(rows), "records, and places on the topic")
        return len(rows) if {row[2].split("/")[1] for row in rows} >= {row["mailbox"] for row in live() or []} else 0

    count = wait_for(lambda: live() and read(), 60, "the consumer has records of each mailbox", every_s=1)
    print(f"records that the consumer has printed: {count}", flush=True)
    print(f"all services up after {seconds:.0f} s", flush=True)
    for daemon in daemons:
        check_equal(daemon.state().get("RestartCount", 0), 0, f"restarts of {daemon.name}")
    for name in ("consumer", "worker", "producer", "graphsim"):
        for code, container in zip(composed.stop(name), composed.running[name]):
            check_equal(code, 0, f"exit code of {container.name}:\n{container.logs()[-2000:]}")
    # a JVM that ends on SIGTERM in good order
    check_equal(composed.stop("kafka"), [143], "exit code of Kafka")


if __name__ == "__main__":
    main(test_compose_services)
