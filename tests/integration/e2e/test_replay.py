#!/usr/bin/python3
"""What operators order: replays of a range of jobs, pause and resume, sync now, everything again."""

import json
import signal
import time

from confluent_kafka import Producer

from crmtest import Kafka, check, check_equal, fold, main, partition_of, program, quiet, wait_for
from bed import PARTITIONS, TENANT, Bed
from test_resync import Story

HOUR = {"schedule.poll_min_ms": 3600000, "schedule.poll_max_ms": 3600000, "schedule.folders_interval_ms": 3600000}


def ended(code, result):
    check_equal(result.returncode, code, f"exit code\n{result.stdout}{result.stderr}")
    return result


def cursors(t, s):
    state = fold(s.bed.kafka.read(t.prefix + "state.v1"))
    return {k: (r.json.get("cursor"), r.json["generation"]) for k, r in state.items()
            if r.value is not None and ("/mail:" in k or k.endswith("cal:default"))}


def order(s, verb, *args, code=0):
    return ended(code, s.bed.site.command("crmsync-producer", verb, *args))


def only_when_told(t, s):
    """No poll is due any more: what happens now was ordered."""
    s.bed.site.settings.update(HOUR)
    s.bed.site.write()
    s.producer.signal(signal.SIGHUP)
    wait_for(lambda: s.producer.proc.log_events("config.reloaded"), 30, "the schedule is read again")

    def slow():
        state = [r.json for r in fold(s.bed.kafka.read(t.prefix + "state.v1")).values() if r.value is not None]
        return (all(e["interval_ms"] >= 3600000 for e in state if e["kind"] in ("mail", "calendar"))
                and all(e["listing_interval_ms"] >= 3600000 and "in_flight" not in e for e in state if e["kind"] == "mailbox"))

    wait_for(slow, 90, "every poll is an hour away", every_s=0.5)


def test_replays_publish_their_range_again(t):
    s = Story(t, messages=150, folders=6)
    s.bed.wait_quiet(90)
    jobs_before = len(s.bed.kafka.read(t.prefix + "jobs.v1"))
    since_s = int(time.time()) + 1
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_s))
    wait_for(lambda: time.time() >= since_s, 5, "the next second")
    mark = len(s.bed.records())
    out = sorted(s.in_scope())
    s.ops(*[{"op": "patch", "id": i, "set": {"flag": "flagged"}} for i in out[:20]],
          {"op": "arrive", "folder": "inbox", "count": 5, "plain": True})
    s.bed.wait_equal(90, s.daemons)
    s.bed.wait_quiet(90)
    live = {r.json["graph_id"] for r in s.bed.records()[mark:] if r.json["kind"] == "email"}
    check(len(live) >= 25, f"changes told: {len(live)}")
    only_when_told(t, s)
    s.ops({"op": "evict_deltas"})
    before = cursors(t, s)

    # what it would do is exactly what it does
    told = json.loads(order(s, "replay", "--from", since, "--kind", "email", "--dry-run", "--json").stdout)
    check_equal((told["items"], told["slices"], told["calendars"], told["mailboxes"]), (len(live), 0, 0, 1), "the dry run")
    jobs = [j.json for j in s.bed.kafka.read(t.prefix + "jobs.v1") if j.timestamp_ms >= since_s * 1000]
    check_equal(told["jobs"], len([j for j in jobs if j["type"] in ("mail.delta", "mail.items", "mail.resync") and j["lane"] != "replay" and
                                   (j["type"] == "mail.items" or any(p["mode"] not in ("anchor", "audit") for p in j["parts"]))]), "jobs of the dry run")
    mark = len(s.bed.records())
    done = json.loads(order(s, "replay", "--from", since, "--kind", "email", "--json").stdout)
    check(done["done"] and done["records"] >= len(live), f"{done}")
    again = [r.json for r in s.bed.records()[mark:]]
    check_equal({r["lane"] for r in again}, {"replay"}, "lanes")
    check_equal({r["graph_id"] for r in again}, live, "mails that are there again")
    check_equal(cursors(t, s), before, "live cursors")

    # all there ever was: slices and the calendar
    mark = len(s.bed.records())
    done = json.loads(order(s, "replay", "--from", "2020-01-01T00:00:00Z", "--json").stdout)
    again = [r.json for r in s.bed.records()[mark:]]
    check_equal({r["graph_id"] for r in again if r["kind"] == "email" and r["change"] != "deleted"} >= set(s.in_scope()), True, "all mail again")
    check({r["kind"] for r in again} >= {"email", "event"}, "events too")
    s.bed.wait_equal(60, s.daemons)

    # an unknown range, and one that is told twice
    ended(65, s.bed.site.command("crmsync-producer", "replay", "--from", "2100-01-01T00:00:00Z"))
    ended(64, s.bed.site.command("crmsync-producer", "replay", "--from", "yesterday"))
    ended(65, s.bed.site.command("crmsync-producer", "replay", "--from", "0:0", "--to", "0:0"))

    # Ctrl-C stops it, a producer that dies loses nothing of it, and the same command goes on
    s.bed.graph.post("/variants", {"latency_ms": 400})
    argv = [program("crmsync-producer"), "replay", "-c", s.bed.site.config, "--from", "2020-01-01T00:00:00Z", "--mailbox", s.ann]

    def replayed():
        return sum(j.json["lane"] == "replay" for j in s.bed.kafka.read(t.prefix + "jobs.v1"))

    jobs = replayed()
    slow = t.start(argv, "replay")
    wait_for(lambda: replayed() > jobs and "%" in slow.log_text(), 60, "its first job")
    slow.signal(signal.SIGINT)
    check_equal(slow.wait(30), 75, "exit code of a stopped replay")
    check("the same command goes on" in slow.log_text(), slow.log_text())
    s.producer.kill()
    s.producer = s.bed.site.producer("producer2").wait_ready()
    s.daemons = (s.worker, s.producer)
    s.bed.graph.post("/variants", {"latency_ms": 0})
    last = ended(0, s.bed.site.command("crmsync-producer", "replay", "--from", "2020-01-01T00:00:00Z", "--mailbox", s.ann))
    check("goes on where it was" in last.stderr or "done" in last.stdout, last.stdout + last.stderr)
    s.bed.wait_equal(60, s.daemons)

    # one that was cut off while it was written: what there is of it is stopped, and all of it begins anew
    args = ("replay", "--from", since, "--mailbox", s.ann, "--kind", "email", "--json")
    first = json.loads(order(s, *args).stdout)
    name, number = first["replay_id"].rsplit("-", 1)
    key = f"{TENANT}/{s.ann}"
    out = Producer(quiet(s.bed.kafka.bootstrap))
    out.produce(t.prefix + "commands.v1", json.dumps({"command_id": "cut-off", "type": "replay", "replay_id": f"{name}-{int(number) + 1}",
                                                      "seq": 1, "total": 3, "items": ["gone-1"]}), key, partition=partition_of(key, PARTITIONS))
    check_equal(out.flush(10), 0, "not delivered")
    wait_for(lambda: any(f"replay:{name}-{int(number) + 1}/1" in k for k in fold(s.bed.kafka.read(t.prefix + "state.v1"))), 30, "it is taken")
    again = order(s, *args)
    check("was cut off" in again.stderr, again.stderr)
    check(json.loads(again.stdout)["records"] >= first["records"], again.stdout)
    s.bed.wait_equal(60, s.daemons)
    s.bed.check_history()
    print(f"{jobs_before} jobs before, {len(live)} mails of a range, then everything: {done['records']} records in {done['jobs']} jobs")
    s.end()


def test_orders_are_taken(t):
    s = Story(t, messages=60, folders=4)
    s.bed.wait_quiet(90)
    ended(65, s.bed.site.command("crmsync-producer", "pause", "--mailbox", "nobody@contoso.example"))
    ended(64, s.bed.site.command("crmsync-producer", "pause"))
    order(s, "pause", "--mailbox", s.ann)
    wait_for(lambda: s.status()["state"] == "paused", 30, "paused")
    n = len(s.bed.kafka.read(t.prefix + "jobs.v1"))
    s.ops({"op": "arrive", "folder": "inbox", "count": 2, "plain": True})
    # a paused mailbox is due at no time, so that nothing has to be waited for: it takes another command, and gives no job
    answer = json.loads(order(s, "sync-now", "--all", "--json").stdout)
    check_equal((answer["mailboxes"], answer["acknowledged"]), (1, 1), "acknowledged")
    check(len(s.bed.kafka.read(t.prefix + "jobs.v1")) - n <= 1, "jobs of a paused mailbox")
    order(s, "resume", "--tenant", TENANT)
    s.bed.wait_equal(60, s.daemons)
    only_when_told(t, s)
    s.ops({"op": "arrive", "folder": "inbox", "count": 2, "plain": True})
    order(s, "sync-now", "--mailbox", s.ann)
    s.bed.wait_equal(60, s.daemons)
    # a comparison finds nothing; everything again is everything
    mark, before = len(s.bed.records()), len(s.resyncs())
    order(s, "resync", "--all")
    wait_for(lambda: len(s.resyncs()) > before and s.status().get("resync_owed") == 0, 60, "compared")
    check_equal(s.since(mark), [], "records of a comparison")
    mark = len(s.bed.records())
    order(s, "resync", "--all", "--rebuild")
    wait_for(lambda: {r["item_id"] for r in s.since(mark)} >= set(s.in_scope()), 90, "all is published again")
    s.bed.wait_equal(60, s.daemons)
    s.bed.check_history()
    s.end()


if __name__ == "__main__":
    main(test_replays_publish_their_range_again, test_orders_are_taken)
