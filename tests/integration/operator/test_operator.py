#!/usr/bin/python3
"""What an operator meets: missing topics, a broken reload, a new tenant, the same instance twice, honest metrics."""

import re
import signal
import sys
from pathlib import Path

from crmtest import GraphSim, Kafka, Site, check, check_equal, main, tenant, wait_for

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from bed import CLIENT_ID, FAST, SECRET, TENANT_ID, Bed  # noqa: E402  pylint: disable=wrong-import-position


class NoGraph:
    base_url = login_url = "http://127.0.0.1:1"


def logged(daemon, event):
    return [e for e in daemon.proc.log_events() if e.get("event") == event]


def test_missing_topics_are_named_at_once(t):
    kafka = Kafka.shared(t)
    site = Site(t, kafka, NoGraph, [tenant("acme", ["ann@contoso.example"])], {"worker.topics_wait_ms": 3000})
    asked = site.command("crmsync-producer", "status")
    check_equal(asked.returncode, 78, "status without its topic")
    check("topics --apply" in asked.stderr and asked.stdout == "", f"{asked}")
    for start in (site.producer, site.worker):
        daemon = start()
        wait_for(lambda d=daemon: logged(d, "topics.waiting"), 20, f"{daemon.name} says what it waits for")
        check(daemon.proc.running(), "it has given up already")
        check("topics --apply" in logged(daemon, "topics.waiting")[0]["for"], daemon.proc.log_text())
        check_equal(daemon.proc.wait(30), 78, f"exit of {daemon.name}")
        check_equal(len(logged(daemon, "topics.waiting")), 1, f"how often {daemon.name} says so")
        check("topics --apply" in logged(daemon, "topics.refused")[0]["reason"], daemon.proc.log_text())


def test_topics_are_made_once(t):
    site = Site(t, Kafka.shared(t), NoGraph, [tenant("acme", ["ann@contoso.example"])])
    for args, code, words, not_words in (
            ((), 1, "missing", "created"), (("--apply", "--partitions", "3"), 0, "created", "differs"),
            (("--apply",), 0, "there", "created"), (("--partitions", "4"), 64, "", "there")):
        run = site.command("crmsync-producer", "topics", *args)
        check_equal(run.returncode, code, f"topics {args}: {run}")
        check(words in run.stdout and not_words not in run.stdout, f"topics {args}: {run.stdout}")


def check_metrics(text):
    """The rules of the text format that a scraper insists on."""
    types, helped, seen = {}, set(), set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            check(name not in helped, f"HELP of {name} twice")
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            check(name not in types and kind in ("counter", "gauge", "histogram"), line)
            types[name] = kind
        else:
            match = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})? (-?[0-9.]+)', line)
            check(match is not None, f"no sample: {line}")
            check(line.rsplit(" ", 1)[0] not in seen, f"twice: {line}")
            seen.add(line.rsplit(" ", 1)[0])
            base = re.sub(r"_(bucket|sum|count)$", "", match.group(1))
            family = base if types.get(base) == "histogram" else match.group(1)
            check(family in types and family in helped and family.startswith("crmsync_"), f"no TYPE before {line}")
            check((types[family] == "counter") == family.endswith("_total"), f"name and type: {line}")


def test_reloads_and_a_second_process_with_the_same_name(t):
    bed = Bed(t, Kafka.shared(t), mailboxes=2, messages=20, folders=3, events=2, settings={"log.level": "debug"})
    site, both = bed.site, bed.mailboxes
    site.tenants[0]["mailboxes"] = both[:1]
    site.write()
    producer = site.producer("producer", {"CRMSYNC_INSTANCE_ID": "p1"}).wait_ready()
    worker = site.worker("worker", {"CRMSYNC_INSTANCE_ID": "w1"}).wait_ready()
    daemons = (producer, worker)
    bed.wait_some(20, 60, daemons)
    for daemon in daemons:
        check_metrics(daemon.get("/metrics")[1])
    check(producer.metrics()["crmsync_job_overdue_seconds_sum"] < 600, "a job of this minute was due an hour ago")

    path = site.dir / "tenants.d" / "acme.cfg"
    good = path.read_text(encoding="utf-8")
    path.write_text(good + "nonsense = 1;\n", encoding="utf-8")
    for daemon in daemons:
        daemon.signal(signal.SIGHUP)
        wait_for(lambda d=daemon: logged(d, "config.refused"), 20, f"{daemon.name} refuses the file")
        check("acme.cfg:" in logged(daemon, "config.refused")[0]["error"], daemon.proc.log_tail())
        check_equal(daemon.get("/readyz")[0], 200, f"{daemon.name} goes on")
    site.tenants.append(tenant("beta", both[1:], secrets=(SECRET,), tenant_id=TENANT_ID, client_id=CLIENT_ID))
    site.write()
    for daemon in daemons:
        daemon.signal(signal.SIGHUP)
    wait_for(lambda: any(r.key.startswith("beta/") for r in bed.records()), 60, "records of the new tenant")

    for daemon, start, name in ((producer, site.producer, "p1"), (worker, site.worker, "w1")):
        start(daemon.name + "2", {"CRMSYNC_INSTANCE_ID": name}).wait_ready()
        check_equal(daemon.proc.wait(30), 78, f"exit of the fenced {daemon.name}")
        fenced = [e for e in daemon.proc.log_events() if e["event"].endswith(".fenced")]
        check(fenced and "instance_id" in fenced[0]["reason"], daemon.proc.log_tail())
    bed.check_logs(*daemons)


def test_a_lost_broker_is_said_once_and_costs_nothing(t):
    site = Site(t, Kafka.shared(t), GraphSim(t), [tenant("acme", ["ann@contoso.example"])],
                {**FAST, "kafka.bootstrap_servers": "127.0.0.1:1"})
    for start in (site.producer, site.worker):
        daemon = start()
        wait_for(lambda d=daemon: [e for e in d.proc.log_events() if e["event"].endswith(".waiting")], 20, "it says so")
        wait_for(lambda d=daemon: d.get("/readyz")[0] == 503, 10, "not ready")
        before = cpu_ticks(daemon)
        wait_for(lambda d=daemon: age_s(d) > 8, 20, "some seconds", every_s=0.5)
        used = cpu_ticks(daemon) - before
        check(used < 100, f"{daemon.name} used {used} ticks of CPU while waiting")
        waits = [e for e in daemon.proc.log_events() if e["event"].endswith(".waiting")]
        check_equal(len(waits), 1, f"how often {daemon.name} says that it waits")
        check_equal(daemon.stop(), 0, f"exit of {daemon.name}")


def stat_of(daemon):
    return Path(f"/proc/{daemon.proc.popen.pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()


def cpu_ticks(daemon):
    stat = stat_of(daemon)
    return int(stat[11]) + int(stat[12])


def age_s(daemon):
    up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return up - int(stat_of(daemon)[19]) / 100


if __name__ == "__main__":
    main(test_missing_topics_are_named_at_once, test_topics_are_made_once,
         test_reloads_and_a_second_process_with_the_same_name, test_a_lost_broker_is_said_once_and_costs_nothing)
