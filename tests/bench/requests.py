#!/usr/bin/python3
"""What a mailbox costs in requests: for 1,000 backfilled mails, for an hour of quiet, and for each live change.

    requests.py [--messages 4000] [--changes 120] [--idle-s 20]

Members of a batch count as requests, as Graph's limits do. The ideal of a backfill: each mail listed once with its body
(worker.slice_page a page), its envelope walked once by its folder's delta (worker.delta_page a page), each list of
attachments once. The ideal of a live change: one delta page that tells it and one read of the mail.
"""

import argparse
import math
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "integration" / "e2e"), str(TESTS / "support")]

from crmtest import Kafka, fold, run_test, wait_for  # noqa: E402
from bed import Bed  # noqa: E402

SLICE_PAGE, DELTA_PAGE = 50, 200  # the settings' defaults
LIVE = {"schedule.poll_min_ms": 2000, "schedule.poll_max_ms": 8000, "schedule.folders_interval_ms": 4000,
        "schedule.second_look_ms": 4000}


class Meter:
    """Requests since it was read last."""

    def __init__(self, bed):
        self.bed = bed
        self.last = self.counters()

    def counters(self):
        box = self.bed.graph.get("/counters")["mailboxes"][self.bed.mailboxes[0]]
        return {"all": box["requests"], **box["by_endpoint"]}

    def read(self):
        now = self.counters()
        spent = {name: n - self.last[name] for name, n in now.items()}
        self.last = now
        return spent


def show(spent):
    return ", ".join(f"{name} {n}" for name, n in sorted(spent.items()) if n and name != "all")


def story(options):
    def requests(t):
        bed = Bed(t, Kafka.own(t), mailboxes=1, messages=options.messages, events=0, folders=8, mean_body=1000, seed=4,
                  partitions=2, settings=LIVE, calendar_past_days=1, calendar_future_days=1)
        meter = Meter(bed)
        daemons = [bed.site.producer(), bed.site.worker()]
        for daemon in daemons:
            daemon.wait_ready()

        def live():
            state = fold(bed.kafka.read(t.prefix + "state.v1"))
            phases = [r.json.get("phase") for k, r in state.items() if k.count("/") == 2 and k.endswith("/folders")]
            return phases == ["live"]

        wait_for(live, 300, "the backfill is over", every_s=0.5)
        bed.wait_equal(120, daemons)
        spent = meter.read()
        truth = bed.truth(bed.mailboxes[0])["messages"]
        lists = spent["attachments"]
        ideal = math.ceil(len(truth) / SLICE_PAGE) + math.ceil(len(truth) / DELTA_PAGE) + lists
        print(f"backfill of {len(truth)} mails: {1000 * spent['all'] / len(truth):.1f} requests for 1,000, ideal "
              f"{1000 * ideal / len(truth):.1f}; without lists of attachments {1000 * (spent['all'] - lists) / len(truth):.1f}, ideal "
              f"{1000 * (ideal - lists) / len(truth):.1f} ({show(spent)})")

        wait_for(lambda: not [k for k in fold(bed.kafka.read(t.prefix + "state.v1")) if "/items" in k and
                              (fold(bed.kafka.read(t.prefix + "state.v1"))[k].json or {}).get("items")], 120, "no look is owed",
                 every_s=1)
        time.sleep(2 * LIVE["schedule.poll_max_ms"] / 1000)  # the folders fall asleep
        meter.read()
        time.sleep(options.idle_s)
        quiet = meter.read()
        per_s = quiet["all"] / options.idle_s
        print(f"quiet: {3600 * per_s:.0f} requests an hour with polls of {LIVE['schedule.poll_max_ms']} ms ({show(quiet)})")

        began = time.monotonic()
        for n in range(options.changes):
            bed.graph.post(f"/mailboxes/{bed.mailboxes[0]}/ops",
                           [{"op": "arrive", "folder": "inbox", "subject": f"change {n}", "plain": True, "body": "x"}])
            time.sleep(1 / options.rate)
        bed.wait_equal(120, daemons)
        spent, took = meter.read(), time.monotonic() - began
        extra = spent["all"] - per_s * took
        print(f"live: {options.changes} arrivals at {options.rate:g} a second: {spent['all'] / options.changes:.2f} requests each, "
              f"{max(extra, 0) / options.changes:.2f} above quiet; ideal 1 read each and a delta page for those between two polls: "
              f"{1 + took / (LIVE['schedule.poll_min_ms'] / 1000) / options.changes:.2f} ({show(spent)})")

    return requests


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--changes", type=int, default=120)
    parser.add_argument("--rate", type=float, default=4, help="changes a second")
    parser.add_argument("--idle-s", type=float, default=20)
    return 0 if run_test(story(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
