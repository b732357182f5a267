"""kill -9 at random moments while the main job runs; the same for the soak and for the short form in CI."""

import random
import time

from crmtest import check
from bed import Bed, print_requests

SESSION = {"kafka.properties": ["session.timeout.ms=3000", "heartbeat.interval.ms=500"]}


class Fleet:
    """Daemons that are killed and started again. Every second worker has an instance id: a static member,
    back within its session time; the others leave their partitions to the next."""

    def __init__(self, bed, workers, producers, rng):
        self.bed = bed
        self.rng = rng
        self.started = 0
        self.workers = [self.worker(i) for i in range(workers)]
        self.producers = [self.producer(i) for i in range(producers)]

    def worker(self, slot):
        self.started += 1
        env = {"CRMSYNC_INSTANCE_ID": f"w{slot}"} if slot % 2 else {}
        return self.bed.site.worker(f"worker-{slot}-{self.started}", env=env)

    def producer(self, slot):
        self.started += 1
        return self.bed.site.producer(f"producer-{slot}-{self.started}")

    def all(self):
        return self.workers + self.producers

    def wait_ready(self):
        for daemon in self.all():
            daemon.wait_ready(90)

    def kill_worker(self):
        slot = self.rng.randrange(len(self.workers))
        self.workers[slot].kill()
        self.workers[slot] = self.worker(slot)

    def kill_producer(self):
        slot = self.rng.randrange(len(self.producers))
        self.producers[slot].kill()
        self.producers[slot] = self.producer(slot)


def run(t, kafka, seed, mailboxes, messages, events, worker_kills, producer_kills, rate, deadline_s, settings=None,
        between=None, workers=2, producers=2):
    """The main job under kills; returns the figures to print. between(n) is called before each kill."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    bed = Bed(t, kafka, mailboxes=mailboxes, messages=messages, events=events, seed=seed % 1000 + 1,
              settings={**SESSION, **(settings or {})})
    fleet = Fleet(bed, workers, producers, rng)
    fleet.wait_ready()
    bed.mutate(rate=rate)
    plan = ["w"] * worker_kills + ["p"] * producer_kills
    rng.shuffle(plan)
    for n, what in enumerate(plan):
        pause = rng.uniform(0.3, 4.0)
        end = time.monotonic() + pause
        # the moment is what the test draws; nothing is awaited here
        while time.monotonic() < end:
            time.sleep(0.05)
        if between is not None:
            between(n, bed)
        fleet.kill_worker() if what == "w" else fleet.kill_producer()
    bed.still()
    seconds = bed.wait_equal(deadline_s, fleet.all())
    records = bed.check_history()
    counters = bed.graph.get("/counters")
    throttled = sum(box["throttled"] for box in counters["mailboxes"].values())
    print(f"{worker_kills} workers and {producer_kills} producers killed; equal {seconds:.1f} s after the last change; "
          f"{len(records)} records, 0 lost, 0 phantom, 0 invented deletions, none twice in a job; {throttled} answers 429")
    print_requests(counters, len(records))
    check(all(d.stop() == 0 for d in fleet.all()), "a daemon did not exit 0 after SIGTERM")
    return bed
