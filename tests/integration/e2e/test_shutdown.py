#!/usr/bin/python3
"""SIGTERM under load: exit 0 within 20 s, and nothing that was finished is done again."""

import time

from crmtest import Kafka, check, check_equal, main
from bed import Bed


def test_sigterm_under_load_redoes_nothing_finished(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=3, messages=500, events=20, graph_args=("--latency-ms", "40"), seed=21)
    producer, worker = bed.site.producer(), bed.site.worker()
    producer.wait_ready(), worker.wait_ready()
    bed.wait_some(200, 90, [producer, worker])
    started = time.monotonic()
    check_equal(worker.stop(20), 0, "exit code")
    print(f"ended after {time.monotonic() - started:.1f} s under load")
    before = bed.records()
    second = bed.site.worker("worker-after").wait_ready()
    bed.wait_equal(120, [producer, second])
    bed.check_history()
    done = {r.json["job_id"] for r in before}
    again = [r for r in bed.records()[0:] if r.json["job_id"] in done]
    check_equal(len(again), len(before), "records of jobs that were committed before the SIGTERM")
    check_equal((producer.stop(), second.stop()), (0, 0), "exit codes")


def test_a_second_sigterm_ends_at_once_and_says_what_is_lost(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=1, messages=200, events=4, seed=22)
    bed.graph.post("/faults", [{"match": {"path_contains": "/messages"}, "times": -1, "action": {"delay_ms": 15000}}])
    producer, worker = bed.site.producer(), bed.site.worker()
    producer.wait_ready(), worker.wait_ready()
    bed.wait_jobs(2, 60)
    bed.wait_inflight(worker, 30)
    worker.signal(15)
    bed.wait_log(worker, "drain", 10)
    started = time.monotonic()
    worker.signal(15)
    code = worker.proc.wait(10)
    check(time.monotonic() - started < 5, "the second SIGTERM was slow")
    check(code != 0, "exit code 0 although jobs were dropped")
    check(any("dropped" in str(e) for e in worker.proc.log_events()), "the log does not say what was dropped")
    check_equal(producer.stop(), 0, "exit code of the producer")


if __name__ == "__main__":
    main(test_sigterm_under_load_redoes_nothing_finished, test_a_second_sigterm_ends_at_once_and_says_what_is_lost)
