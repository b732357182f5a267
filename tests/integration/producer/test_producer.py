#!/usr/bin/python3
"""The producer against a worker that only pretends: the order of jobs, restarts, two of them, what is seen."""

import json
import signal
import time
from pathlib import Path

from confluent_kafka import Producer

from crmtest import DevBroker, Kafka, Schemas, Site, check, check_equal, fold, main, partition_of, quiet, tenant, wait_for
from fakeworker import TREE, FakeWorker, NoGraph

FAST = {"schedule.poll_min_ms": 300, "schedule.poll_max_ms": 1200, "schedule.folders_interval_ms": 500,
        "schedule.second_look_ms": 800, "schedule.probe_min_ms": 400, "schedule.probe_max_ms": 800,
        "schedule.retry_min_ms": 100, "schedule.retry_max_ms": 1000, "schedule.status_interval_ms": 500,
        "schedule.resync_gather_ms": 86400000}
IN_SCOPE = {"f-inbox", "f-sent", "f-proj"}


def site_of(t, kafka, mailboxes=("ann@contoso.example",), settings=None, partitions=6, **rules):
    rules = {"own_domains": ["contoso.example"], "backfill_days": 730, **rules}
    site = Site(t, kafka, NoGraph, [tenant("acme", list(mailboxes), **rules)], {**FAST, **(settings or {})})
    made = site.command("crmsync-producer", "topics", "--apply", "--partitions", str(partitions), "--replication", "1")
    check_equal(made.returncode, 0, "topics --apply: " + made.stdout + made.stderr)
    kafka.delete_later([t.prefix + name + ".v1" for name in ("jobs", "feedback", "commands", "outbox", "state", "status",
                                                            "records", "index", "contacts", "dlq")])
    return site


def status(t, kafka, mailbox, name="acme"):
    found = fold(kafka.read(t.prefix + "status.v1")).get(f"{name}/{mailbox}")
    return found.json if found else {}


def state_of(t, kafka, mailbox, name="acme"):
    """{stream: value} of a mailbox on the state topic."""
    prefix = f"{name}/{mailbox}/"
    return {key[len(prefix):]: r.json for key, r in fold(kafka.read(t.prefix + "state.v1")).items()
            if key.startswith(prefix) and r.value is not None}


def is_live(worker, mailbox):
    return any(p["mode"] == "live" for j in worker.of(mailbox, "mail.delta") for p in j["parts"])


def check_topics(t, kafka):
    schemas = Schemas()
    for topic in ("jobs.v1", "state.v1", "status.v1"):
        schemas.validate_all(kafka.read(t.prefix + topic), topic)
    jobs = [r.json["job_id"] for r in kafka.read(t.prefix + "jobs.v1")]
    check_equal(len(set(jobs)), len(jobs), "job ids that differ")


def test_first_sync_goes_step_by_step(t):
    """Folders, preview, anchors, then slices newest first with live deltas in turns; then live."""
    kafka = Kafka.shared(t)
    site = site_of(t, kafka, settings={"schedule.slice_items": 5})
    worker = FakeWorker(t, kafka)
    producer = site.producer().wait_ready()
    ann = "ann@contoso.example"
    wait_for(lambda: worker.check() or status(t, kafka, ann).get("phase") == "live", 30, "the mailbox is live")
    wait_for(lambda: worker.check() or len(worker.of(ann, "mail.delta")) > 8, 30, "live polls go on")
    jobs = [j for i, j in enumerate(worker.of(ann)) if j["type"].startswith("mail.") or i == 0]
    kinds = [(j["type"], j["parts"][0]["mode"] if "parts" in j else None) for j in jobs]
    check_equal(kinds[:2], [("folders", None), ("mail.slice", "preview")], "first jobs")
    check_equal(kinds[2], ("mail.delta", "anchor"), "third job")
    check_equal({p["folder"]["id"] for p in jobs[2]["parts"]}, IN_SCOPE, "folders anchored")
    paths = {f["id"]: f["path"] for f in jobs[2]["folders"]}
    check_equal(paths["f-proj"], "Inbox/Pro%2Fjects", "path of a nested folder")
    check_equal(len(jobs[2]["folders_out"]), 2, "excluded folders: the bin and what is in it")
    check(all("cursor" not in p for p in jobs[2]["parts"]), "an anchor begins without a cursor")
    check(jobs[0]["lane"] == "backfill" and "depth" in jobs[2], "lane and depth of the first sync")
    sliced = [j for j in jobs if j["type"] == "mail.slice"][1:]
    check({f["id"] for f in sliced[0]["folders"]} == IN_SCOPE, "slices know the folders that have a token")
    order = []
    for job in sliced:
        order += [p["slice_id"] for p in job["parts"] if p["slice_id"] not in order]
    check(len(order) > 3, f"several slices: {order}")
    check_equal(order, sorted(order, key=int), "slices newest first")
    windows = {p["slice_id"]: p["window"] for j in sliced for p in j["parts"]}
    check(windows["0"]["to"] is None, "the newest slice is open at its upper end")
    for a, b in zip(order, order[1:]):
        check_equal(windows[a]["from"], windows[b]["to"], "slices follow each other without a gap")
    check_equal(windows[order[-1]]["from"], jobs[2]["depth"], "the oldest slice ends at the depth")
    check(all(p["mode"] == "live" and p["cursor"] for j in jobs[3:] if j["type"] == "mail.delta" for p in j["parts"]),
          "after the anchors every delta is live, with a cursor")
    wait_for(lambda: status(t, kafka, ann).get("state") == "on_time", 30, "on_time")
    # the proofs of a partition are due together, at a time that the clock gives: it may have come already
    said = [r.json for r in kafka.read(t.prefix + "status.v1") if r.json.get("slices_done")]
    check(said and said[0]["resync_owed"] == 3 and not said[0]["backfill_done"], f"the proof of the backfill is owed, and said: {said[:1]}")
    shown = site.command("crmsync-producer", "status")
    check_equal(shown.returncode, 0, "status")
    check("acme/ann@contoso.example" in shown.stdout and "on_time" in shown.stdout, shown.stdout)
    lines = site.command("crmsync-producer", "status", "--json", ann).stdout.splitlines()
    check_equal(json.loads(lines[0])["mailbox"], ann, "status --json")
    check_equal(site.command("crmsync-producer", "status", "nobody@x").returncode, 1, "status of a mailbox not there")
    metrics = producer.metrics()
    check(metrics['crmsync_jobs_issued_total{type="mail.slice"}'] > 1 and "crmsync_jobs_overdue{lane=\"live\"}" in metrics,
          "metrics")
    wait_for(lambda: producer.get("/status.json")[0] == 200, 10, "/status.json is there")
    check_equal(json.loads(producer.get("/status.json")[1])["mailboxes"], 1, "mailboxes in /status.json")
    check_equal(producer.stop(), 0, "exit code after SIGTERM")
    check_topics(t, kafka)
    streams = state_of(t, kafka, ann)
    check({"folders", "folders/1", "slices", "cal:default", "mail:f-inbox", "mail:f-sent", "mail:f-proj"} <= set(streams),
          f"streams: {sorted(streams)}")
    worker.check()


def test_kills_leave_no_gap_and_no_double(t):
    """kill -9 again and again during the first sync: no job twice, never two out, and it gets live."""
    kafka = Kafka.shared(t)
    boxes = [f"user{i}@contoso.example" for i in range(12)]
    site = site_of(t, kafka, boxes, settings={"schedule.slice_items": 5})
    worker = FakeWorker(t, kafka, delay_s=0.02)
    for i in range(6):
        # static members: the partitions of the one that was killed are at hand at once
        producer = site.producer(f"producer{i}", env={"CRMSYNC_INSTANCE_ID": "one"})
        before = worker.count()
        wait_for(lambda: worker.check() or worker.count() >= before + 12, 60, "jobs come after a restart")
        producer.kill()
    site.producer("producer-last", env={"CRMSYNC_INSTANCE_ID": "one"}).wait_ready()
    wait_for(lambda: worker.check() or all(is_live(worker, b) for b in boxes), 60, "every mailbox is live")
    wait_for(lambda: worker.check() or all(status(t, kafka, b).get("phase") == "live" for b in boxes), 60, "status says so")
    check_topics(t, kafka)


def test_commits_of_unknown_result(t):
    """Commits given up half way, most of which happened: the state is read again, and no job is out twice or lost."""
    kafka = Kafka.shared(t)
    boxes = [f"user{i}@contoso.example" for i in range(6)]
    site = site_of(t, kafka, boxes, settings={"schedule.slice_items": 5})
    worker = FakeWorker(t, kafka)
    producer = site.producer(env={"CRMSYNC_TEST_CRASH_AT": "commit_cut:12"})
    wait_for(lambda: worker.check() or all(is_live(worker, b) for b in boxes), 170, "every mailbox is live")
    unknown = producer.metrics()['crmsync_producer_commits_total{result="unknown"}']
    check(unknown >= 10, f"only {unknown} commits had an unknown result")
    check_equal(producer.stop(), 0, "exit code")
    check_topics(t, kafka)


def test_sleep_inside_a_transaction_is_no_fencing(t):
    """Suspended for longer than its transaction may last: the coordinator fences it, nobody has its id, it goes on."""
    kafka = Kafka.shared(t)
    boxes = [f"user{i}@contoso.example" for i in range(6)]
    site = site_of(t, kafka, boxes, settings={"schedule.slice_items": 5, "kafka.properties": [
        "session.timeout.ms=30000", "heartbeat.interval.ms=300", "transaction.timeout.ms=2000", "socket.timeout.ms=2000"]})
    worker = FakeWorker(t, kafka)
    for env in ({}, {"CRMSYNC_INSTANCE_ID": "one"}):
        producer = site.producer(f"producer{len(env)}", env={**env, "CRMSYNC_TEST_STOP_AT": "after_offsets:4"})
        stat = Path(f"/proc/{producer.proc.pid}/stat")
        wait_for(lambda: stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "T", 60, "it sleeps")
        time.sleep(4)  # past the transaction's time and the coordinator's round
        producer.signal(signal.SIGCONT)
        before = worker.count()
        wait_for(lambda: worker.check() or worker.count() > before + 30, 60, "it goes on")
        errors = {e["error"] for e in producer.proc.log_events("commit.unknown")}
        check("_FENCED" in errors, f"the coordinator did not fence it, but: {errors}")
        check_equal(producer.stop(), 0, "exit code")
    check_topics(t, kafka)


def test_kills_at_every_step_of_a_commit(t):
    """The process ends before, within and after the transaction; the next one goes on from what is durable."""
    kafka = Kafka.shared(t)
    boxes = [f"user{i}@contoso.example" for i in range(6)]
    site = site_of(t, kafka, boxes, settings={"schedule.slice_items": 5})
    worker = FakeWorker(t, kafka)
    for i in range(3):
        for point in ("before_begin", "mid_produce", "after_offsets", "after_commit"):
            producer = site.producer(f"{point}{i}", env={"CRMSYNC_INSTANCE_ID": "one",
                                                         "CRMSYNC_TEST_CRASH_AT": f"{point}:{2 + 3 * i}"})
            check_equal(producer.proc.wait(60), 137, f"end at {point}")
            worker.check()
    site.producer("last", env={"CRMSYNC_INSTANCE_ID": "one"}).wait_ready()
    wait_for(lambda: worker.check() or all(is_live(worker, b) for b in boxes), 60, "every mailbox is live")
    check_topics(t, kafka)


def test_without_transactions_no_job_is_lost(t):
    """at_least_once on the embedded broker: killed between state and jobs, the job of the state is published again."""
    broker = DevBroker(t, partitions=4)
    boxes = [f"user{i}@contoso.example" for i in range(4)]
    site = Site(t, broker, NoGraph, [tenant("acme", boxes, backfill_days=730)],
                {**FAST, "kafka.properties.session.timeout.ms": "6000"})
    worker = FakeWorker(t, broker)
    for point, n in (("after_state", 1), ("before_offsets", 2), ("after_state", 4)):
        producer = site.producer(f"{point}{n}", env={"CRMSYNC_TEST_CRASH_AT": f"{point}:{n}"})
        check_equal(producer.proc.wait(60), 137, f"end at {point}")
        worker.check()
    producer = site.producer("last").wait_ready()
    wait_for(lambda: worker.check() or all(is_live(worker, b) for b in boxes), 90, "every mailbox is live")
    check_equal(producer.stop(), 0, "exit code")
    schemas = Schemas()
    for topic in ("jobs.v1", "state.v1", "status.v1"):
        schemas.validate_all(broker.read(t.prefix + topic), topic)


def test_two_share_and_one_takes_over(t):
    """Two producers share the partitions; when one is killed the other serves its mailboxes."""
    kafka = Kafka.shared(t)
    boxes = [f"user{i}@contoso.example" for i in range(16)]
    site = site_of(t, kafka, boxes, settings={"kafka.properties.session.timeout.ms": "6000"})
    worker = FakeWorker(t, kafka)
    a, b = site.producer("a").wait_ready(), site.producer("b").wait_ready()

    def shared():
        worker.check()
        owned = [p.metrics()["crmsync_partitions_restored"] for p in (a, b)]
        return owned == [3, 3]

    wait_for(shared, 30, "three partitions each")
    wait_for(lambda: worker.check() or all(is_live(worker, m) for m in boxes), 60, "every mailbox is live")
    a.kill()
    wait_for(lambda: b.metrics()["crmsync_partitions_restored"] == 6, 30, "the other one has all six")
    marks = {m: len(worker.of(m)) for m in boxes}
    wait_for(lambda: worker.check() or all(len(worker.of(m)) > marks[m] + 2 for m in boxes), 60, "all mailboxes go on")
    check_topics(t, kafka)


def test_a_denied_mailbox_is_parked_and_probed(t):
    """403: needs_admin, a probe now and then, nothing else; when it is allowed again it goes on. The other one minds nothing."""
    kafka = Kafka.shared(t)
    ann, bob = "ann@contoso.example", "bob@contoso.example"
    site = site_of(t, kafka, [ann, bob])
    worker = FakeWorker(t, kafka)
    site.producer().wait_ready()
    wait_for(lambda: worker.check() or (is_live(worker, ann) and is_live(worker, bob)), 30, "both are live")
    plain = dict(worker.answers)
    for kind, answer in plain.items():
        worker.answers[kind] = lambda job, answer=answer: (worker.refused(job, "mailbox_denied") if job["mailbox"] == ann
                                                           and job["type"] != "calendar.delta" else answer(job))
    wait_for(lambda: worker.check() or status(t, kafka, ann).get("state") == "needs_admin", 20, "ann needs an admin")
    found = status(t, kafka, ann)
    check(found["code"] == "mailbox_denied" and found["cause"] == "mailbox" and not found["heals_itself"] and found["advice"],
          f"{found}")
    mark = len(worker.of(ann))
    wait_for(lambda: worker.check() or len(worker.of(ann)) >= mark + 3, 20, "probes")
    check({j["type"] for j in worker.of(ann)[mark:]} == {"probe"}, "only probes while parked")
    check(status(t, kafka, bob)["state"] in ("on_time", "backfill"), "bob is well")
    worker.answers.update(plain)
    wait_for(lambda: worker.check() or status(t, kafka, ann).get("state") == "on_time", 20, "ann is on time again")
    check_topics(t, kafka)


def test_a_refused_secret_stops_one_tenant(t):
    """credentials_refused: one mailbox probes, the tenant's others wait, the other tenant goes on."""
    kafka = Kafka.shared(t)
    acme = [f"user{i}@contoso.example" for i in range(5)]
    site = site_of(t, kafka, acme)
    site.tenants.append(tenant("globex", ["eve@globex.example"]))
    site.write()
    worker = FakeWorker(t, kafka)
    plain = dict(worker.answers)
    for kind, answer in plain.items():
        worker.answers[kind] = lambda job, answer=answer: (worker.refused(job, "credentials_refused", "tenant")
                                                           if job["tenant"] == "acme" else answer(job))
    producer = site.producer().wait_ready()
    wait_for(lambda: worker.check() or is_live(worker, "eve@globex.example"), 30, "the other tenant is live")
    wait_for(lambda: worker.check() or all(status(t, kafka, m).get("state") == "needs_admin" for m in acme), 20,
             "all mailboxes of the tenant need an admin")
    mark = worker.count()
    wait_for(lambda: worker.check() or sum(j["tenant"] == "acme" for j in worker.jobs[mark:]) >= 3, 20, "probes")
    probing = {j["mailbox"] for j in worker.jobs[mark:] if j["tenant"] == "acme"}
    check(len(probing) == 1, f"one mailbox probes for all: {probing}")
    producer.kill()
    site.producer("again").wait_ready()
    mark = worker.count()
    wait_for(lambda: worker.check() or sum(j["tenant"] == "acme" for j in worker.jobs[mark:]) >= 3, 20, "probes after a restart")
    worker.answers.update(plain)
    wait_for(lambda: worker.check() or all(is_live(worker, m) for m in acme), 30, "the tenant works again")
    check_topics(t, kafka)


def test_what_cannot_be_used_is_dead_lettered(t):
    """Broken feedback, feedback on the wrong partition, commands and outbox messages: a reason, and it goes on."""
    kafka = Kafka.shared(t)
    ann = "ann@contoso.example"
    site = site_of(t, kafka, [ann])
    worker = FakeWorker(t, kafka)
    producer = site.producer().wait_ready()
    wait_for(lambda: worker.check() or is_live(worker, ann), 30, "ann is live")
    key = f"acme/{ann}"
    at = partition_of(key, 6)
    out = Producer(quiet(kafka.bootstrap))
    good = json.dumps(worker.base({**worker.of(ann)[-1]}))
    out.produce(t.prefix + "feedback.v1", "{", key, partition=at)
    out.produce(t.prefix + "feedback.v1", '{"job_id": 7}', key, partition=at)
    out.produce(t.prefix + "feedback.v1", good, key, partition=(at + 1) % 6)
    out.produce(t.prefix + "commands.v1", "{}", key, partition=at)
    out.produce(t.prefix + "outbox.v1", "{}", key, partition=at)
    out.flush(10)
    wait_for(lambda: worker.check() or len(kafka.read(t.prefix + "dlq.v1")) >= 5, 20, "five dead letters")
    dead = kafka.read(t.prefix + "dlq.v1")
    check_equal(len(dead), 5, "dead letters")
    Schemas().validate_all(dead, "dlq.v1")
    reasons = sorted(r.json["reason"] for r in dead)
    check("wrong_partition" in reasons and "command_invalid" in reasons and "request_invalid" in reasons, f"{reasons}")
    mark = len(worker.of(ann))
    wait_for(lambda: worker.check() or len(worker.of(ann)) > mark + 2, 20, "ann goes on")
    producer.kill()
    site.producer("again").wait_ready()
    mark = len(worker.of(ann))
    wait_for(lambda: worker.check() or len(worker.of(ann)) > mark + 2, 20, "ann goes on after a restart")
    check_equal(len(kafka.read(t.prefix + "dlq.v1")), 5, "dead letters after a restart")


def test_dead_cursors_and_gone_folders_are_compared(t):
    """A dead cursor, and a folder that is gone: a job that compares them with the index; then one is live, the other over."""
    kafka = Kafka.shared(t)
    ann = "ann@contoso.example"
    site = site_of(t, kafka, [ann])
    worker = FakeWorker(t, kafka)
    site.producer().wait_ready()
    wait_for(lambda: worker.check() or status(t, kafka, ann).get("phase") == "live", 30, "ann is live")
    plain, died = worker.answers["mail.delta"], []

    def dying(job):
        feedback = plain(job)
        for part in feedback["parts"]:
            if part["stream"] == "mail:f-proj" and not died:
                died.append(part["generation"])
                part.update(outcome="resync", error={"code": "cursor_dead", "scope": "stream", "http_status": 410})
                part.pop("cursor")
        if any(p["outcome"] != "done" for p in feedback["parts"]):
            feedback["outcome"] = "resync"
        return feedback

    def compared():
        return [p for j in worker.of(ann, "mail.resync") for p in j["parts"]]

    worker.answers["mail.delta"] = dying
    wait_for(lambda: worker.check() or any(p["mode"] == "resync" and p["folder"]["id"] == "f-proj" for p in compared()), 30, "the comparison")
    check(all("cursor" not in p for p in compared()), "it begins without a cursor")
    wait_for(lambda: worker.check() or state_of(t, kafka, ann)["mail:f-proj"]["phase"] == "live", 20, "it is live again")
    worker.trees[ann] = [f for f in TREE if f["id"] != "f-sent"]
    wait_for(lambda: worker.check() or any(p["mode"] == "gone" and p["folder"]["id"] == "f-sent" for p in compared()), 30, "the folder that is gone")
    wait_for(lambda: worker.check() or "mail:f-sent" not in state_of(t, kafka, ann), 20, "its stream is over")
    check_topics(t, kafka)



def test_second_looks_wait_for_rounds_and_listing(t):
    """A left-over look is asked again after the time, a round of every live folder and a listing; the answer settles it."""
    kafka = Kafka.shared(t)
    ann = "ann@contoso.example"
    site = site_of(t, kafka, [ann])
    worker = FakeWorker(t, kafka)
    site.producer().wait_ready()
    wait_for(lambda: worker.check() or status(t, kafka, ann).get("phase") == "live", 30, "ann is live")
    plain = worker.answers["mail.delta"]
    told = []

    def removal(job):
        feedback = plain(job)
        if not told and job["parts"][0]["mode"] == "live":
            told.append(job)
            feedback["left"] = [{"id": "m-1", "why": "look", "seen": "gone", "from_folder": "f-inbox"}]
        return feedback

    worker.answers["mail.delta"] = removal
    wait_for(lambda: worker.check() or worker.of(ann, "mail.items"), 20, "the second look")
    jobs = worker.of(ann)
    first = jobs.index(told[0])
    look = jobs.index(worker.of(ann, "mail.items")[0])
    check_equal(jobs[look]["items"], [{"id": "m-1", "why": "look", "seen": "gone", "from_folder": "f-inbox"}], "items")
    between = jobs[first + 1:look]
    polled = {p["folder"]["id"] for j in between if j["type"] == "mail.delta" for p in j["parts"]}
    check_equal(polled, IN_SCOPE, "folders with a round between the looks")
    check(any(j["type"] == "folders" for j in between), "a listing between the looks")
    wait_for(lambda: worker.check() or "items" not in state_of(t, kafka, ann), 20, "nothing is owed any more")
    check_equal(len(worker.of(ann, "mail.items")), 1, "looks")
    check_topics(t, kafka)


def test_reload_brings_mailboxes_and_takes_them(t):
    """SIGHUP: a new mailbox starts, one that is gone from the list stops; a broken file changes nothing."""
    kafka = Kafka.shared(t)
    ann, bob = "ann@contoso.example", "bob@contoso.example"
    site = site_of(t, kafka, [ann])
    worker = FakeWorker(t, kafka)
    producer = site.producer().wait_ready()
    wait_for(lambda: worker.check() or is_live(worker, ann), 30, "ann is live")
    site.tenants = [tenant("acme", [bob])]
    site.write()
    producer.signal(signal.SIGHUP)
    wait_for(lambda: worker.check() or is_live(worker, bob), 30, "bob is live")
    wait_for(lambda: status(t, kafka, ann).get("state") == "paused", 20, "ann is paused")
    mark = len(worker.of(ann))
    site.config.write_text(site.config.read_text() + "\nnonsense = 1;\n")
    producer.signal(signal.SIGHUP)
    wait_for(lambda: producer.metrics()["crmsync_config_reload_errors_total"] == 1, 20, "the broken file is refused")
    seen = len(worker.of(bob))
    wait_for(lambda: worker.check() or len(worker.of(bob)) > seen + 3, 20, "bob goes on")
    check(len(worker.of(ann)) == mark, "ann stays quiet")
    # back again: it goes on with its cursors
    site.tenants = [tenant("acme", [ann, bob])]
    site.write()
    producer.signal(signal.SIGHUP)
    wait_for(lambda: worker.check() or len(worker.of(ann)) > mark + 2, 20, "ann goes on")
    check(all(p["mode"] == "live" for j in worker.of(ann, "mail.delta")[1:] for p in j["parts"]), "with its cursors")
    check_topics(t, kafka)


def test_refusals_name_what_is_wrong(t):
    """Exit codes and words: configuration, missing topics, verbs."""
    kafka = Kafka.shared(t)
    site = Site(t, kafka, NoGraph, [tenant("acme", ["ann@contoso.example"])], FAST)
    checked = site.command("crmsync-producer", "check-config")
    check(checked.returncode == 0 and "1 tenant, 1 mailbox" in checked.stdout, f"{checked}")
    listed = site.command("crmsync-producer", "topics")
    check(listed.returncode == 1 and f"missing  {t.prefix}state.v1" in listed.stdout and "ACLs" in listed.stdout, f"{listed}")
    check(f"Write, Describe         topics {t.prefix}commands.v1" in listed.stdout, listed.stdout)
    refused = site.command("crmsync-producer", "run")
    check(refused.returncode == 78 and "jobs.v1 is not there" in refused.stderr, f"{refused}")
    kafka.create_topics(["feedback.v1"], partitions=4)
    kafka.create_topics(["jobs.v1", "commands.v1", "outbox.v1", "state.v1", "status.v1", "records.v1", "index.v1",
                         "contacts.v1", "dlq.v1"], partitions=3)
    refused = site.command("crmsync-producer", "run")
    check(refused.returncode == 78 and "has 3 partitions, feedback.v1 has 4" in refused.stderr, f"{refused}")
    good = site.config.read_text()
    site.config.write_text(good + "\nschedule2 = { x = 1; };\n")
    refused = site.command("crmsync-producer", "check-config")
    check(refused.returncode == 78 and "schedule2" in refused.stderr and "crmsync.cfg:" in refused.stderr, f"{refused}")
    site.config.write_text(good.replace("poll_min_ms = 300", "poll_min_ms = 300000"))
    refused = site.command("crmsync-producer", "check-config")
    check(refused.returncode == 78 and "poll_min_ms" in refused.stderr, f"{refused}")
    site.config.write_text(good)
    printed = site.command("crmsync-producer", "run", "--print-config")
    check(printed.returncode == 0 and "poll_min_ms" in printed.stdout, f"{printed}")
    check_equal(site.command("crmsync-producer", "nonsense").returncode, 64, "unknown verb")


if __name__ == "__main__":
    main(test_first_sync_goes_step_by_step, test_kills_leave_no_gap_and_no_double, test_commits_of_unknown_result,
         test_sleep_inside_a_transaction_is_no_fencing,
         test_kills_at_every_step_of_a_commit, test_without_transactions_no_job_is_lost, test_two_share_and_one_takes_over,
         test_a_denied_mailbox_is_parked_and_probed, test_a_refused_secret_stops_one_tenant,
         test_what_cannot_be_used_is_dead_lettered, test_dead_cursors_and_gone_folders_are_compared,
         test_second_looks_wait_for_rounds_and_listing, test_reload_brings_mailboxes_and_takes_them,
         test_refusals_name_what_is_wrong)
