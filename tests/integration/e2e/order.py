"""Answers that come seconds late while items change, move and vanish: nothing goes back in time, nothing stays that is gone."""

import time

from crmtest import check
from bed import Bed, print_requests
import oracle

# of each kind of request some are held up, for longer than several others take
DELAYS = (("messages/delta", 0.15, 3000), ("messages/delta", 0.2, 700), ("/messages?", 0.2, 2000), ("/messages/", 0.05, 2500),
          ("/$batch", 0.2, 1500), ("mailFolders", 0.1, 1500))
WEIGHTS = {"arrive": 4, "read": 4, "flag": 3, "move": 6, "trash": 2, "there_and_back": 4, "delete": 3}


def delays(bed, share=1.0):
    bed.graph.delete("/faults")
    bed.graph.post("/faults", [{"match": {"path_contains": path}, "times": -1, "probability": chance * share,
                                "action": {"delay_ms": ms}} for path, chance, ms in DELAYS])


def run(t, kafka, seed, mailboxes, messages, rate, phases, deadline_s, workers=1, folders=8):
    """phases: [(collapse in percent, seconds)]: 100: an item that entered and left a folder between two rounds is not told."""
    bed = Bed(t, kafka, mailboxes=mailboxes, messages=messages, events=0, folders=folders, seed=seed % 1000 + 1, mean_body=500,
              graph_args=("--replica-ms", "800", "--partial", "40", "--repeat", "10", "--latency-ms", "20"),
              settings={"schedule.resync_gather_ms": 1000}, calendar_past_days=1, calendar_future_days=1)
    delays(bed)
    started = [bed.site.worker(f"worker-{n}").wait_ready() for n in range(workers)]
    started.append(bed.site.producer().wait_ready())
    for collapse, seconds in phases:
        bed.graph.post("/variants", {"collapse": collapse})
        bed.mutate(rate, WEIGHTS)
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # the mutator's time; nothing is awaited
            check(all(d.proc.running() for d in started), "a daemon ended")
            time.sleep(0.2)
    bed.wait_some(messages * mailboxes // 3, 180, started)
    bed.still()
    bed.graph.delete("/faults")
    seconds = bed.wait_equal(deadline_s, started)
    records = bed.check_history()
    truths = bed.truths(history=True)
    wrong = oracle.backwards(records, truths, "acme")
    check(not wrong, "\n  ".join(wrong[:12]))
    check(oracle.backwards(records[::-1], truths, "acme"), "the judge sees nothing in a topic read backwards")
    changes = sum(len(truth["history"]) for truth in truths)
    print(f"seed {seed}: {changes} changes, {len(records)} records, none older than the one before it; "
          f"equal {seconds:.1f} s after the last change")
    print_requests(bed.graph.get("/counters"), len(records))
    check(all(d.stop() == 0 for d in started), "a daemon did not exit 0 after SIGTERM")
