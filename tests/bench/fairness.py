#!/usr/bin/python3
"""One tenant of fifty is always refused: what do the others get? Requests granted to them per second, calm and storm in turns.

    fairness.py [--tenants 50] [--seconds 15] [--turns 3] [--retry-after 1|none|30] [--latency-ms 200]

Every tenant has one mailbox and a backfill that outlasts the measurement; the queues are kept short, so that whoever waits
in one is in somebody's way. In the storm each request of the first tenant is answered 429. Exit code 1 where the others'
median rate of a storm differs from the calm one by more than 5 %.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "integration" / "e2e"), str(TESTS / "support")]

from crmtest import Kafka, check, run_test, tenant, wait_for  # noqa: E402
from bed import CLIENT_ID, SECRET, TENANT_ID, Bed  # noqa: E402

BOUND = 0.05


def granted(bed, mailboxes):
    boxes = bed.graph.get("/counters")["mailboxes"]
    return sum(boxes[m]["by_status"]["2xx"] for m in mailboxes)


def cpu_s(daemons):
    """Seconds of processor time so far."""
    total = 0.0
    for daemon in daemons:
        fields = Path(f"/proc/{daemon.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def measure(bed, others, seconds, processes):
    first, before, began = granted(bed, others), cpu_s(processes), time.monotonic()
    time.sleep(seconds)  # the measurement itself
    took = time.monotonic() - began
    return (granted(bed, others) - first) / took, (cpu_s(processes) - before) / took / (os.cpu_count() or 1)


def story(options):
    def fairness(t):
        bed = Bed(t, Kafka.own(t), mailboxes=options.tenants, messages=options.messages, events=0, folders=3, mean_body=200,
                  seed=options.seed, partitions=2, graph_args=("--latency-ms", str(options.latency_ms)),
                  settings={"schedule.poll_min_ms": 600000, "schedule.poll_max_ms": 600000,
                            "schedule.folders_interval_ms": 600000, "worker.slice_page": 5})
        bed.site.tenants = [
            tenant(f"tenant-{n}", [mailbox], secrets=(SECRET,), tenant_id=TENANT_ID, client_id=CLIENT_ID,
                   own_domains=["contoso.example"], backfill_days="all", calendar_past_days=1, calendar_future_days=1)
            for n, mailbox in enumerate(bed.mailboxes)]
        bed.site.write()
        storm, others = bed.mailboxes[0], bed.mailboxes[1:]
        daemons = [bed.site.producer(), bed.site.worker()]
        for daemon in daemons:
            daemon.wait_ready()
        boxes = lambda: bed.graph.get("/counters")["mailboxes"].values()  # noqa: E731
        wait_for(lambda: sum(1 for b in boxes() if b["by_endpoint"]["messages"] > 3) >= options.tenants // 2, 120,
                 "half of the backfills are under way")
        rates, cpu = {"calm": [], "storm": []}, []
        processes = [d.proc.popen for d in daemons]
        for _ in range(options.turns):
            for name in ("calm", "storm"):
                bed.graph.delete("/faults")
                if name == "storm":
                    action = {"status": 429, "code": "ApplicationThrottled"}
                    if options.retry_after != "none":
                        action["retry_after"] = options.retry_after
                    bed.graph.post("/faults", [{"match": {"mailbox": storm}, "times": -1, "action": action}])
                time.sleep(2)  # what was under way ends
                rate, used = measure(bed, others, options.seconds, processes)
                rates[name].append(rate)
                cpu.append(used)
                print(f"{name:6} {rate:8.1f} requests/s granted to the others, {100 * used:.0f} % of the processors")
        calm, stormy = (statistics.median(rates[name]) for name in ("calm", "storm"))
        refused = bed.graph.get("/counters")["mailboxes"][storm]
        print(f"median: calm {calm:.1f}, storm {stormy:.1f}, {100 * (stormy / calm - 1):+.1f} %; "
              f"the first tenant: {refused['by_status']['4xx']} refused, {refused['early_requests']} too early; "
              f"producer and worker took {100 * statistics.median(cpu):.0f} % of the processors")
        check(abs(stormy / calm - 1) <= BOUND, f"more than {100 * BOUND:.0f} % from calm")
        check(statistics.median(cpu) < 0.5, "the processors are the bound, not the queues")

    return fairness


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--messages", type=int, default=1500, help="of each mailbox")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--retry-after", default="1", help="seconds, or none")
    parser.add_argument("--latency-ms", type=int, default=200)
    parser.add_argument("--seed", type=int, default=8)
    return 0 if run_test(story(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
