"""Scaling under load: processes come and go in order, one sleeps past its session, everything is restarted one by one."""

import signal
import time

from crmtest import check, check_equal, wait_for
from bed import Bed
from crash import SESSION


def rebalances(daemon):
    return len(daemon.proc.log_events("partitions.revoked"))


class Fleet:
    def __init__(self, bed):
        self.bed = bed
        self.names = 0
        self.workers, self.producers = {}, {}

    def start(self, kind, name=None):
        self.names += 1
        name = name or f"{kind}{self.names}"
        site = self.bed.site
        daemon = (site.worker if kind == "worker" else site.producer)(f"{name}-{self.names}", env={"CRMSYNC_INSTANCE_ID": name})
        (self.workers if kind == "worker" else self.producers)[name] = daemon
        return daemon

    def stop(self, kind, name):
        check_equal((self.workers if kind == "worker" else self.producers).pop(name).stop(), 0, f"exit code of {name}")

    def all(self):
        return [*self.workers.values(), *self.producers.values()]

    def wait_ready(self):
        for daemon in self.all():
            daemon.wait_ready(90)


def run(t, kafka, seed, mailboxes, messages, events, rate, deadline_s):
    bed = Bed(t, kafka, mailboxes=mailboxes, messages=messages, events=events, seed=seed % 1000 + 1, settings=SESSION)
    fleet = Fleet(bed)
    fleet.start("worker", "w0")
    fleet.start("producer", "p0")
    fleet.wait_ready()
    bed.mutate(rate=rate)
    bed.wait_some(messages // 2, 120, fleet.all())
    steps = []

    def step(what):
        fleet.wait_ready()
        before = len(bed.records())
        wait_for(lambda: len(bed.records()) > before, 90, f"records go on after: {what}")
        check(all(d.proc.running() for d in fleet.all()), f"a daemon ended: {what}")
        steps.append(what)

    for n in (1, 2, 3):
        fleet.start("worker", f"w{n}")
    step("1 to 4 workers")
    for n in (1, 2):
        fleet.start("producer", f"p{n}")
    step("1 to 3 producers")
    # back within its session time, a static member costs no rebalance
    before = {n: rebalances(w) for n, w in fleet.workers.items()}
    fleet.workers["w1"].kill()
    fleet.start("worker", "w1").wait_ready(60)
    check_equal({n: rebalances(w) for n, w in fleet.workers.items() if n != "w1"}, {n: c for n, c in before.items() if n != "w1"},
                "rebalances of the others")
    step("a restart within the session")
    # asleep past its session: another does what it held; awake again, it goes on or ends, and nothing is twice
    sleeper = fleet.workers["w2"]
    sleeper.signal(signal.SIGSTOP)
    before = {n: rebalances(w) for n, w in fleet.workers.items()}
    wait_for(lambda: any(rebalances(w) > before[n] for n, w in fleet.workers.items() if n != "w2"), 60, "its partitions go to others")
    sleeper.signal(signal.SIGCONT)
    wait_for(lambda: not sleeper.proc.running() or sleeper.get("/readyz")[0] == 200, 60, "it has understood")
    if not sleeper.proc.running():
        check_equal(sleeper.proc.wait(1), 78, "exit code of the one that was fenced")
        fleet.start("worker", "w2")
    step("a sleep past the session")
    for name in list(fleet.workers):
        fleet.stop("worker", name)
        fleet.start("worker", name).wait_ready(60)
    for name in list(fleet.producers):
        fleet.stop("producer", name)
        fleet.start("producer", name).wait_ready(60)
    step("a rolling restart of everything")
    for name in ("w3", "w1"):
        fleet.stop("worker", name)
    step("4 to 2 workers")
    for name in ("p2", "p0"):
        fleet.stop("producer", name)
    step("3 to 1 producers")
    # more workers than partitions: the others wait, and say so
    for n in range(10, 17):
        fleet.start("worker", f"w{n}")
    wait_for(lambda: sum(w.metrics().get("crmsync_partitions_assigned", 0) for w in fleet.workers.values()
                         if w.get("/metrics")[0] == 200) == 6 and len([w for w in fleet.workers.values() if w.get("/livez")[0] == 200]) == 9,
             120, "six partitions among nine workers")
    idle = [w for w in fleet.workers.values() if w.metrics()["crmsync_partitions_assigned"] == 0]
    check(len(idle) >= 3, f"idle workers: {len(idle)}")
    for w in idle:
        check(w.proc.log_events("worker.idle"), f"{w.name} says that it has nothing to do")
    step("more workers than partitions")
    bed.still()
    started = time.monotonic()
    bed.wait_equal(deadline_s, fleet.all())
    records = bed.check_history()
    print(f"seed {seed}: {'; '.join(steps)}: {len(records)} records, 0 lost, 0 phantom, 0 invented deletions, none twice in a job; "
          f"equal {time.monotonic() - started:.1f} s after the last change")
    check_equal({d.stop() for d in fleet.all()}, {0}, "exit codes")
