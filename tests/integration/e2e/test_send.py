#!/usr/bin/python3
"""The CRM sends: every request has exactly one result, nothing goes twice, and what cannot be sent is said."""

import os
import random

from crmtest import Kafka, check, check_equal, fold, main, wait_for
import sending
from bed import TENANT, Bed
from sending import QUICK, Outbox, check_once, results, wait_results

SEED = int(os.environ.get("CRMSYNC_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)


def test_nothing_goes_twice_while_everything_dies(t):
    sending.run(t, Kafka.shared(t), SEED, mailboxes=3, requests=36, worker_kills=4, producer_kills=2, deadline_s=180)


def test_results_of_every_kind(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=2, messages=20, events=2, settings=QUICK, send=True)
    worker, producer = bed.site.worker(), bed.site.producer()
    producer.wait_ready(90)
    bed.wait_some(10, 90, (worker, producer))
    outbox = Outbox(bed)
    ann = bed.mailboxes[0]
    wait_for(lambda: f"{TENANT}/{ann}" in fold(bed.kafka.read(t.prefix + "status.v1")), 60, "the mailbox is known")
    original = next(r.json for r in bed.records() if r.json["kind"] == "email" and r.json["mailbox"] == ann and r.json.get("from"))
    outbox.ask(ann, "plain")
    outbox.ask(ann, "reply", to=[], answers={"how": "reply", "graph_id": original["graph_id"]})
    outbox.ask(ann, "nobody", to=[])
    outbox.ask(ann, "late", not_after="2020-01-01T00:00:00.000Z")
    outbox.ask(ann, "large", attachments=[{"name": "big", "content": "QUFB" * 400_000}])
    # what is no request, or has nobody to be answered to, is dead-lettered and holds nothing up
    outbox.write(ann, b"{not json")
    outbox.write(ann, {"request_id": "a/b"})
    outbox.write("nobody@contoso.example", {"request_id": "x"})
    outbox.write(ann, {"request_id": "y"}, partition=(sending.partition_of(f"{TENANT}/{ann}", sending.PARTITIONS) + 1) % sending.PARTITIONS)
    outbox.ask(ann, "last")
    outbox.flush()
    wait_results(bed, outbox, 120, (worker, producer))
    _, got = check_once(bed, outbox)
    check_equal({k[1]: (r["result"], r["reason"]) for k, (r,) in got.items()},
                {"plain": ("sent", None), "reply": ("sent", None), "last": ("sent", None), "nobody": ("refused", "no_recipient"),
                 "late": ("refused", "expired"), "large": ("refused", "too_large")}, "results")
    dead = [d.json["reason"] for d in bed.kafka.read(t.prefix + "dlq.v1")]
    check_equal(sorted(dead), ["mailbox_unknown", "request_invalid", "request_invalid", "wrong_partition"], "dead letters")
    # the copy in Sent Items comes by the sync, and the CRM joins the two by the graph id
    sent_id = got[ann, "plain"][0]["graph_id"]
    wait_for(lambda: any(r.json["kind"] == "email" and r.json["graph_id"] == sent_id for r in bed.records()), 60, "the copy")
    mail = [r.json for r in bed.records() if r.json["kind"] == "email" and r.json["graph_id"] == sent_id][-1]
    check_equal((mail["direction"], mail["message_id"]), ("outbound", got[ann, "plain"][0]["message_id"]), "the email record")
    check_equal([d.stop() for d in (worker, producer)], [0, 0], "exit codes")


def test_a_quota_parks_sending_and_not_the_sync(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=1, messages=20, events=2, settings={**QUICK, "schedule.send_quota_wait_ms": 600000}, send=True)
    worker, producer = bed.site.worker(), bed.site.producer()
    producer.wait_ready(90)
    bed.wait_equal(120, (worker, producer))
    outbox = Outbox(bed)
    bed.graph.post("/faults", [{"match": {"path_regex": "/send$", "method": "POST"}, "times": -1,
                                "action": {"status": 403, "code": "ErrorExceededMessageLimit"}}])
    outbox.ask(bed.mailboxes[0], "over")
    outbox.flush()
    wait_for(lambda: any(r.json.get("parked_until") for k, r in fold(bed.kafka.read(t.prefix + "state.v1")).items()
                         if k.endswith("/sends")), 60, "sending is parked")
    bed.graph.post(f"/mailboxes/{bed.mailboxes[0]}/ops", [{"op": "arrive", "folder": "inbox", "subject": "arrived meanwhile"}])
    bed.wait_equal(60, (worker, producer))
    check(not results(bed), "no result yet: it waits")
    check_equal([d.stop() for d in (worker, producer)], [0, 0], "exit codes")


if __name__ == "__main__":
    main(test_nothing_goes_twice_while_everything_dies, test_results_of_every_kind, test_a_quota_parks_sending_and_not_the_sync)
