#!/usr/bin/python3
"""The long runs, by hand: 20,000 mails under kills, with one of three brokers killed, 1,000 mails sent under kills, late answers,
databases behind the sink that are killed, processes that come and go.

    soak.py [kills] [broker] [send] [order] [order_untold] [consumers] [scale] [--seed N] [--messages N]      all if none is named
"""

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "e2e"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "consumers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from crmtest import Kafka, run_test  # noqa: E402
import crash  # noqa: E402
import consumers  # noqa: E402
import order  # noqa: E402
import scale  # noqa: E402
import sending  # noqa: E402


def main():
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=["kills", "broker", "send", "order", "order_untold", "consumers", "scale", []], default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--messages", type=int, default=20000, help="mails in all")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1_000_000)
    per_mailbox = max(options.messages // 5, 1)

    def kills(t):
        crash.run(t, Kafka.own(t), seed, mailboxes=5, messages=per_mailbox, events=100, worker_kills=20, producer_kills=5,
                  rate=20, deadline_s=900)

    def broker(t):
        kafka = Kafka.own(t, brokers=3)
        state = {"down": None}

        def between(n, bed):
            if state["down"] is not None:
                kafka.restart(state["down"])
                state["down"] = None
            elif n % 2 == 0:
                state["down"] = n // 2 % 3 + 1
                kafka.kill(state["down"])

        crash.run(t, kafka, seed, mailboxes=5, messages=per_mailbox, events=100, worker_kills=6, producer_kills=2, rate=20,
                  deadline_s=900, between=between)
        if state["down"] is not None:
            kafka.restart(state["down"])

    def send(t):
        sending.run(t, Kafka.own(t), seed, mailboxes=10, requests=1000, worker_kills=50, producer_kills=10, deadline_s=900)

    def late(t, collapse=0):
        order.run(t, Kafka.own(t), seed, mailboxes=3, messages=400, rate=20, phases=((collapse, 90),), deadline_s=900, workers=2)

    def late_untold(t):
        late(t, collapse=100)

    def databases(t):
        consumers.run(t, Kafka.own(t), seconds=60)

    def scaled(t):
        scale.run(t, Kafka.own(t), seed, mailboxes=6, messages=per_mailbox // 10, events=30, rate=10, deadline_s=300)

    stories = {"kills": kills, "broker": broker, "send": send, "order": late, "order_untold": late_untold, "consumers": databases, "scale": scaled}
    results = [run_test(stories[name]) for name in options.what or list(stories)]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
