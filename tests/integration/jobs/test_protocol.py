#!/usr/bin/python3
"""Jobs in random order while the mailbox changes: in the end the records are the truth, nothing deleted that was not gone."""

import datetime
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from crmtest import check, check_equal, main
from driver import Driver
from jobbed import NAME, Jobs, now, rfc3339
import oracle


def play(t, seed, *sim_args, changes, limits=None, faults=(), calendar=True, weights=None, look_ms=300):
    bed = Jobs(t, "--seed", str(seed), *sim_args, calm=False, limits=limits, private_events="full")
    user = bed.user
    window = [rfc3339(now().replace(hour=0, minute=0, second=0, microsecond=0) + datetime.timedelta(days=d)) for d in (-90, 366)]
    driver = Driver(bed, user, seed, look_ms, window if calendar else None)
    bed.sim.post("/mutator", {"rate": 60, "until_count": changes, **({"weights": weights} if weights else {})})
    if faults:
        bed.faults(*faults)
    until = time.monotonic() + 90
    while not bed.sim.get("/mutator")["idle"] or driver.phase != "live":
        check(time.monotonic() < until, f"the first sync does not end: {driver.phase}, {driver.outcomes}")
        driver.step()
    bed.sim.post("/mutator", {"rate": 0})
    bed.sim.delete("/faults")
    driver.settle(time.monotonic())
    truth = bed.truth(history=True)
    wrong = oracle.compare_mail(driver.state, truth, NAME) + oracle.invented_deletes(driver.records, [truth], NAME)
    wrong += oracle.doubles(driver.records)
    if calendar:
        wrong += oracle.compare_calendar(driver.state, truth, NAME, [oracle.utc(w) for w in window])
    if wrong:
        (t.dir / "truth.json").write_text(json.dumps(truth))
        (t.dir / "records.json").write_text(json.dumps([r.json for r in driver.records]))
    check(not wrong, f"seed {seed}, {driver.jobs} jobs, {len(driver.records)} records: {len(wrong)} differences: " + "; ".join(wrong[:5]))
    counters = bed.counters()
    check(counters["peak_concurrency"] <= 4, f"{counters['peak_concurrency']} requests of a mailbox at once")
    check_equal(counters["early_requests"], 0, "requests before a Retry-After had passed")
    print(f"  seed {seed}: {driver.jobs} jobs {driver.outcomes}, {len(driver.records)} records, {driver.resyncs} resyncs")
    return driver


NO_EVICT = {"arrive": 30, "read": 20, "flag": 10, "move": 15, "trash": 8, "there_and_back": 6, "delete": 6, "folder": 0,
            "event": 10, "evict": 0}


# contract: delta.there_and_back delta.came_and_went fact.22.case_of_ids delta.repeated_items
def test_everything_changes(t):
    for seed in (1, 2):
        play(t, seed, "--messages", "300", "--folders", "8", "--events", "30", changes=250, weights=NO_EVICT,
             limits={"pages": 2, "delta_page": 20, "slice_page": 15})


# contract: delta.late delta.old_link
def test_changes_are_told_late(t):
    play(t, 4, "--messages", "150", "--folders", "6", "--events", "10", "--replica-ms", "300", changes=200, weights=NO_EVICT,
         look_ms=1000)


def test_the_service_fails_now_and_then(t):
    def some(probability, **action):
        return {"match": {"path_contains": "/users/"}, "times": -1, "probability": probability, "action": action}

    play(t, 5, "--messages", "200", "--folders", "8", "--events", "20", changes=200, weights=NO_EVICT,
         limits={"pages": 2, "delta_page": 20, "slice_page": 15}, faults=[
             some(0.03, status=429, code="ApplicationThrottled", retry_after="1"),
             some(0.02, status=503, code="ServiceUnavailable", body="html"), some(0.02, status=504, body="empty"),
             some(0.02, status=401, code="InvalidAuthenticationToken"), some(0.02, reset_mid_body=100),
             some(0.01, truncate=100), some(0.01, gzip_corrupt=True)])


if __name__ == "__main__":
    main(test_everything_changes, test_changes_are_told_late, test_the_service_fails_now_and_then)
