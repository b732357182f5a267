#!/usr/bin/python3
"""The main job on a real Kafka: backfill with a live mutator, then equality with the simulator's truth."""

import os
import sys

from crmtest import ROOT, Kafka, check, check_equal, fold, main
from bed import Bed, print_requests

# names that hash to all six partitions, so that both workers have some
SPREAD = [arg for name in ("hugo", "ivan", "lena", "gina", "julia", "otto") for arg in ("--mailbox", f"{name}@contoso.example")]
MESSAGES = int(os.environ.get("CRMSYNC_E2E_MESSAGES", "1500"))


def test_backfill_with_changes_equals_the_truth(t):
    """Two workers, 12 nested folders, arrivals, flags, moves, deletions and event edits while it runs."""
    bed = Bed(t, Kafka.shared(t), mailboxes=6, messages=MESSAGES // 6, events=30, seed=11, graph_args=SPREAD)
    bed.mutate(rate=20)
    # the partitions are shared out before there is work: a hand-over would be a second incarnation
    workers = [bed.site.worker("worker-1"), bed.site.worker("worker-2")]
    for worker in workers:
        worker.wait_ready()
    producer = bed.site.producer().wait_ready()
    bed.wait_some(MESSAGES // 2, 120, [producer, *workers])
    bed.still()
    seconds = bed.wait_equal(120, [producer, *workers])
    records = bed.check_history()
    counters = bed.check_graph()
    print(f"equal {seconds:.1f} s after the last change; {len(records)} records")
    print_requests(counters, len(records))
    bed.check_logs(producer, *workers)
    for worker in workers:
        check(any(k.startswith("crmsync_records_total") and v > 0 for k, v in worker.metrics().items()),
              f"{worker.name} published nothing: mailboxes are not shared")
    check_equal([d.stop() for d in (producer, *workers)], [0, 0, 0], "exit codes after SIGTERM")


def test_no_change_is_no_record(t):
    """A mailbox that sleeps is polled, and publishes nothing."""
    bed = Bed(t, Kafka.shared(t), mailboxes=1, messages=60, events=6, seed=12)
    producer, worker = bed.site.producer(), bed.site.worker()
    producer.wait_ready(), worker.wait_ready()
    bed.wait_equal(90, [producer, worker])
    bed.wait_quiet(30)
    before = len(bed.records())
    jobs = len(bed.kafka.read(t.prefix + "jobs.v1"))
    bed.wait_jobs(jobs + 10, 60)
    check_equal(len(bed.records()), before, "records while nothing changed")
    state = fold(bed.records())
    check(len(state) > 60, f"only {len(state)} keys")
    # the tail that consumers may copy prints each record once, and no content where none is wanted
    argv = [sys.executable, "-B", ROOT / "docker/consumers/tail/tail.py", "--bootstrap-servers", bed.kafka.bootstrap, "--prefix", t.prefix,
            "--from-beginning", "--until-end"]
    for args, shown in (([], True), (["--no-content"], False)):
        tail = t.run([*argv, *args])
        check_equal((tail.returncode, len(tail.stdout.splitlines())), (0, before), f"lines of the tail {tail.stderr}")
        check_equal(any(r.json.get("subject", "")[:20] in tail.stdout for r in state.values() if r.json.get("subject")), shown, "subjects shown")


if __name__ == "__main__":
    main(test_backfill_with_changes_equals_the_truth, test_no_change_is_no_record)
