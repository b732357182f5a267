#!/usr/bin/python3
"""Workers and producers killed at random moments on a real Kafka: nothing lost, nothing twice."""

import os
import random

from crmtest import Kafka, main
import crash

SEED = int(os.environ.get("CRMSYNC_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)


def test_killed_workers_and_producers_lose_and_repeat_nothing(t):
    crash.run(t, Kafka.shared(t), SEED, mailboxes=3, messages=300, events=24, worker_kills=8, producer_kills=3, rate=8,
              deadline_s=180)


if __name__ == "__main__":
    main(test_killed_workers_and_producers_lose_and_repeat_nothing)
