#!/usr/bin/python3
"""What goes wrong stays where it is: a wrong secret, a denied mailbox, a throttled one, broken answers, a lost broker."""

import time

from crmtest import Kafka, check, check_equal, fold, main, tenant, wait_for
from bed import CLIENT_ID, SECRET, TENANT, TENANT_ID, Bed
import oracle


def status(bed):
    return {key: record.json for key, record in fold(bed.kafka.read(bed.t.prefix + "status.v1")).items()}


# contract: fact.16.token_without_roles
def test_a_wrong_secret_parks_its_tenant_and_no_other(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=2, messages=40, events=4, seed=31)
    first, second = bed.mailboxes
    rules = {"own_domains": ["contoso.example"], "backfill_days": "all", "calendar_past_days": 180, "calendar_future_days": 365}
    bed.site.tenants = [
        tenant(TENANT, [first], secrets=(SECRET,), tenant_id=TENANT_ID, client_id=CLIENT_ID, **rules),
        tenant("globex", [second], secrets=("wrong-secret",), tenant_id=TENANT_ID, client_id=CLIENT_ID, **rules)]
    bed.site.write()
    bed.mailboxes = [first]
    producer, worker = bed.site.producer(), bed.site.worker()
    producer.wait_ready(), worker.wait_ready()
    bed.wait_equal(90, [producer, worker])
    wait_for(lambda: status(bed).get(f"globex/{second}", {}).get("code") == "credentials_refused", 60, "globex is parked")
    parked = status(bed)[f"globex/{second}"]
    check_equal(parked["state"], "needs_admin", "state of the parked mailbox")
    check(status(bed)[f"{TENANT}/{first}"]["state"] in ("on_time", "on_track", "backfill"), "the other tenant")
    check("wrong-secret" not in worker.proc.log_text(), "the secret is in the log")
    # the right secret heals it, without a restart
    (bed.site.dir / "globex.secret0").write_text(SECRET)
    wait_for(lambda: any(k.startswith(f"globex/{second}/email/") for k in fold(bed.records())), 120, "globex heals by itself")
    check_equal((producer.stop(), worker.stop()), (0, 0), "exit codes")


# contract: mailbox.all_of_them
# contract: mailbox.denied mailbox.one_of_many fact.17.denied_flips
def test_a_denied_mailbox_is_parked_and_comes_back(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=2, messages=40, events=4, seed=32, settings={"schedule.status_interval_ms": 1000})
    denied = bed.mailboxes[1]
    bed.graph.post(f"/mailboxes/{denied}/state", {"state": "denied"})
    producer, worker = bed.site.producer(), bed.site.worker()
    producer.wait_ready(), worker.wait_ready()
    wait_for(lambda: status(bed).get(f"{TENANT}/{denied}", {}).get("code") == "mailbox_denied", 60, "the mailbox is parked")
    check(not any(k.startswith(f"{TENANT}/{denied}/") for k in fold(bed.records())), "records of a denied mailbox")
    bed.graph.post(f"/mailboxes/{denied}/state", {"state": "ok"})
    bed.wait_equal(90, [producer, worker])
    # denied again: nothing is deleted
    bed.graph.post(f"/mailboxes/{denied}/state", {"state": "denied"})
    wait_for(lambda: status(bed)[f"{TENANT}/{denied}"].get("code") == "mailbox_denied", 60, "parked again")
    removed = [r for r in bed.records() if f"/{denied}/" in r.key and r.json["change"] in ("deleted", "left_scope")]
    check_equal(removed, [], "deletions because access was lost")
    check_equal(status(bed)[f"{TENANT}/{denied}"]["cause"], "mailbox", "whose affair it is")
    # every mailbox denied is the app's affair, until one of them is not
    for mailbox in bed.mailboxes:
        bed.graph.post(f"/mailboxes/{mailbox}/state", {"state": "denied"})
    keys = [f"{TENANT}/{m}" for m in bed.mailboxes]
    wait_for(lambda: [status(bed)[k].get("cause") for k in keys] == ["tenant"] * 2, 60, "the app is said to be denied")
    bed.graph.post(f"/mailboxes/{bed.mailboxes[0]}/state", {"state": "ok"})
    wait_for(lambda: [status(bed)[k].get("cause") for k in keys] == [None, "mailbox"], 60, "one of two is denied")
    check_equal((producer.stop(), worker.stop()), (0, 0), "exit codes")


def test_throttling_and_broken_answers_delay_and_nothing_more(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=3, messages=150, events=12, seed=33)
    bed.graph.post("/faults", [
        {"match": {"path_contains": "/messages"}, "times": 10, "probability": 0.3, "action": {"status": 429, "code": "ApplicationThrottled", "retry_after": "1"}},
        {"match": {"path_contains": "/messages"}, "times": 6, "probability": 0.2, "action": {"reset_mid_body": 300}},
        {"match": {"path_contains": "/messages"}, "times": 6, "probability": 0.2, "action": {"truncate": 500}},
        {"match": {"path_contains": "mailFolders"}, "times": 4, "probability": 0.3, "action": {"status": 503, "code": "ErrorServerBusy"}},
        {"match": {"path_contains": "$batch"}, "times": 3, "probability": 0.5, "action": {"status": 504, "body": "html"}},
        {"match": {"path_contains": "calendarView"}, "times": 3, "probability": 0.5, "action": {"status": 500, "body": "empty"}},
        {"match": {"path_contains": "/token"}, "times": 1, "action": {"status": 503, "body": "empty"}},
    ])
    bed.mutate(rate=10)
    # the partitions are shared out before there is work, so that no hand-over loses a Retry-After
    workers = [bed.site.worker("worker-1"), bed.site.worker("worker-2")]
    for worker in workers:
        worker.wait_ready()
    producer = bed.site.producer().wait_ready()
    bed.wait_some(250, 180, [producer, *workers])
    bed.still()
    bed.wait_equal(240, [producer, *workers])
    bed.check_history()
    bed.check_graph()
    check_equal([d.stop() for d in (producer, *workers)], [0, 0, 0], "exit codes")


def test_dead_cursors_heal_and_invent_nothing(t):
    """Folders and calendar: mail that did not change is not published again, nothing is deleted, and changes come as before."""
    bed = Bed(t, Kafka.shared(t), mailboxes=1, messages=60, events=4, seed=34)
    mailbox = bed.mailboxes[0]
    producer, worker = bed.site.producer(), bed.site.worker()
    producer.wait_ready(), worker.wait_ready()
    bed.wait_equal(90, [producer, worker])
    wait_for(lambda: status(bed)[f"{TENANT}/{mailbox}"].get("resync_owed") == 0, 90, "the first sync is proved")
    bed.wait_quiet(60)
    mark, walked = len(bed.records()), len([e for e in worker.proc.log_events("job.finished") if e["type"] == "mail.resync"])
    bed.graph.post(f"/mailboxes/{mailbox}/ops", [{"op": "evict_deltas"}])
    wait_for(lambda: len([e for e in worker.proc.log_events("job.finished") if e["type"] == "mail.resync"]) > walked, 60, "the comparison")
    made = bed.graph.post(f"/mailboxes/{mailbox}/ops", [{"op": "arrive", "folder": "inbox", "plain": True}])["results"][0]["id"]
    bed.wait_equal(90, [producer, worker])
    told = [r.json for r in bed.records()[mark:]]
    check_equal({r["item_id"] for r in told if r["kind"] == "email"}, {made}, "mail records")
    check_equal({r["change"] for r in told if r["kind"] != "email"} - {"upserted"}, set(), "nothing of the calendar is taken back")
    check_equal((producer.stop(), worker.stop()), (0, 0), "exit codes")


def test_a_lost_broker_is_waited_for(t):
    kafka = Kafka.own(t)
    bed = Bed(t, kafka, mailboxes=2, messages=80, events=4, seed=35)
    producer, worker = bed.site.producer(), bed.site.worker()
    producer.wait_ready(), worker.wait_ready()
    bed.wait_some(40, 90, [producer, worker])
    kafka.kill(1)
    bed.mutate(rate=5)
    bed.wait_log(worker, "kafka.down", 60)
    kafka.restart(1)
    bed.still()
    bed.wait_equal(180, [producer, worker])
    bed.check_history()
    down = [e for e in worker.proc.log_events("kafka.down")]
    check(len(down) <= 3, f"said {len(down)} times that the broker is lost")
    check_equal((producer.stop(), worker.stop()), (0, 0), "exit codes")


if __name__ == "__main__":
    main(test_a_wrong_secret_parks_its_tenant_and_no_other, test_a_denied_mailbox_is_parked_and_comes_back,
         test_throttling_and_broken_answers_delay_and_nothing_more,
         test_dead_cursors_heal_and_invent_nothing, test_a_lost_broker_is_waited_for)
