#!/usr/bin/python3
"""A whole installation on this machine, to look at: broker, simulated Microsoft 365, one producer, two workers.

    demo.py [--once] [--kafka]

Shows the backfill as bars, then the newest records, then lets changes happen and shows each arriving with
its delay. Ends on Ctrl-C, or by itself with --once. Everything that it starts is stopped when it ends.
Exit: 0 all arrived, 1 something did not (the reason is said).
"""

import argparse
import os
import shutil
import signal
import sys
import time
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
os.environ.setdefault("CRMSYNC_BIN", str(Path(__file__).resolve().parents[3] / "build/release/bin"))

from crmtest import DevBroker, Failure, GraphSim, Kafka, Site, Test, fold, tenant, wait_for  # noqa: E402
from demo_feed import Feed  # noqa: E402
from demo_graph import DemoGraph, oracle  # noqa: E402

TENANT = "contoso"
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
PARTITIONS = 6
BACKFILL_DEADLINE_S = 180
CHANGE_DEADLINE_S = 60


def paint(code, text):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def heading(text):
    print("\n" + paint("1", text), flush=True)


def width():
    return min(shutil.get_terminal_size((100, 24)).columns, 140)


def bars(feed, graph, mailboxes, site):
    """One bar per mailbox until all of the truth is on the topic."""
    windows = {}

    def known():
        site.check()
        windows.update(calendar_windows(site))
        return set(mailboxes) <= set(windows)

    started = time.monotonic()
    wait_for(known, 60, "the calendars' windows")
    wanted = {m: graph.expected(m, windows[m]) for m in mailboxes}
    drawn = 0
    room = max(10, width() - 62)
    while True:
        rows = []
        done = True
        for mailbox in mailboxes:
            have = feed.matching(mailbox, wanted[mailbox])
            total = len(wanted[mailbox])
            done = done and have == total
            full = room * have // max(total, 1)
            rows.append(f"  {mailbox:<28.28} {'█' * full}{'·' * (room - full)} {have:>5} of {total} records")
        if sys.stdout.isatty():
            if drawn:
                sys.stdout.write(f"\x1b[{drawn}A")
            for row in rows:
                sys.stdout.write("\x1b[2K" + row + "\n")
            sys.stdout.flush()
            drawn = len(rows)
        if done:
            if not sys.stdout.isatty():
                print("\n".join(rows))
            return time.monotonic() - started
        feed.check()
        site.check()
        if time.monotonic() - started > BACKFILL_DEADLINE_S:
            if not sys.stdout.isatty():
                print("\n".join(rows))
            raise Failure(f"the backfill was not complete after {BACKFILL_DEADLINE_S} s")
        feed.wait_change(0.3)


def calendar_windows(site):
    """{mailbox: (from, to)}, out of the producer's state: what window it has asked for."""
    found = {}
    for key, record in fold(site.broker.read(site.test.prefix + "state.v1")).items():
        _, mailbox, stream = key.split("/", 2)
        window = record.json.get("window") if stream == "cal:default" else None
        if window:
            found[mailbox] = (oracle.utc(window["from"]), oracle.utc(window["to"]))
    return found


def people(record):
    value = record.json
    who = value.get("from") or value.get("organizer") or {}
    return who.get("name") or who.get("address") or ""


def fit(text, cells):
    """Cut and padded to so many cells of the terminal: wide characters take two, combining ones none."""
    out, used = [], 0
    for ch in text:
        size = 0 if unicodedata.combining(ch) else 2 if unicodedata.east_asian_width(ch) in "WF" else 1
        if used + size > cells:
            break
        out.append(ch if ch.isprintable() else " ")
        used += size
    return "".join(out) + " " * (cells - used)


def table(records):
    """The newest mails and the next events, one a line."""
    def line(*cells):
        sizes = [16, 5, 6, 20, max(24, width() - 77), 18]
        print("  " + "  ".join(fit(cell, size) for cell, size in zip(cells, sizes)))

    line("received/start", "kind", "box", "from/organizer", "subject", "folder/location")
    for record in records:
        value = record.json
        if value["kind"] == "email":
            when = value.get("received_at") or ""
            where = (value.get("folder") or {}).get("path") or ""
        else:
            when = (value.get("start") or {}).get("utc") or ""
            where = next((place.get("name") or "" for place in value.get("locations") or [] if place), "")
        line(when.replace("T", " "), value["kind"], value["mailbox"].split("@")[0], people(record),
             " ".join((value.get("subject") or "(none)").split()), where)


def newest(state, count):
    emails = [r for r in state.values() if r.json["kind"] == "email" and r.json["change"] in ("upserted", "moved")]
    emails.sort(key=lambda r: r.json.get("received_at") or "", reverse=True)
    events = [r for r in state.values() if r.json["kind"] == "event" and r.json["change"] == "upserted"]
    now = time.strftime("%Y-%m-%dT%H:%M", time.gmtime())
    events = sorted((r for r in events if ((r.json.get("start") or {}).get("utc") or "") >= now),
                    key=lambda r: r.json["start"]["utc"])
    return emails[:count] + events[:count // 3]


def changes(feed, graph, mailboxes):
    """Things that happen in a mailbox, one after the other, each with the record that says so."""
    slow = []
    for title, mailbox, act in graph.scenes(mailboxes):
        feed.mark()
        expected = act()
        at = time.monotonic()
        record = feed.wait_record(expected, CHANGE_DEADLINE_S)
        if record is None:
            slow.append(title)
            print(f"  {paint('31', '✗')} {title:<46.46} not seen within {CHANGE_DEADLINE_S} s")
            continue
        value = record.json
        print(f"  {paint('32', '✓')} {title:<46.46} {time.monotonic() - at:5.1f} s   {value['kind']} {value['change']}"
              f"  partition {record.partition} offset {record.offset}", flush=True)
    if slow:
        raise Failure("changes that did not arrive: " + ", ".join(slow))


def run(test, options):
    heading("Starting")
    if options.kafka:
        broker = Kafka.own(test)
        print(f"  Apache Kafka          {broker.bootstrap}")
    else:
        broker = DevBroker(test, partitions=PARTITIONS, args=("--fail-on-loss",))
        print(f"  embedded broker       {broker.bootstrap}   (in memory, no transactions: at_least_once)")
    sim = GraphSim(test, "--seed", "20", "--mailboxes", "3", "--messages", "200", "--folders", "12", "--events", "27",
                   "--years", "2", "--domain", "contoso.example", "--tenant", "11111111-1111-1111-1111-111111111111",
                   "--client-id", "22222222-2222-2222-2222-222222222222", "--secret", "demo-secret")
    graph = DemoGraph(sim, TENANT, depth=None)
    mailboxes = graph.mailboxes
    print(f"  simulated Microsoft 365  {sim.base_url}   mailboxes: {', '.join(mailboxes)}")
    site = Site(test, broker, sim,
                [tenant(TENANT, mailboxes, secrets=("demo-secret",), own_domains=["contoso.example"],
                        backfill_days="all", calendar_past_days=180, calendar_future_days=365)],
                {"schedule.poll_min_ms": 1000, "schedule.poll_max_ms": 3000, "schedule.second_look_ms": 3000,
                 "kafka.properties": ["compression.codec=zstd"]})
    if options.kafka:
        result = site.command("crmsync-producer", "topics", "--apply", "--partitions", str(PARTITIONS), "--replication", "1")
        if result.returncode != 0:
            raise Failure("topics --apply: " + result.stderr[-1000:])
    feed = Feed(broker, test.prefix, isolation="read_committed")
    test.undo(feed.close)
    producer = site.producer()
    workers = [site.worker("worker-1"), site.worker("worker-2")]
    daemons = [producer, *workers]
    site.check = lambda: [d.proc.running() or fail_daemon(d) for d in daemons]
    for daemon in daemons:
        daemon.wait_ready()
        print(f"  {daemon.name:<22} {daemon.admin_url}   /livez /readyz /metrics")

    heading("Backfill: what is in the mailboxes, arriving as records")
    seconds = bars(feed, graph, mailboxes, site)
    print(f"  complete after {seconds:.1f} s")

    heading("The newest records")
    table(newest(fold(feed.records()), 12))

    heading("Changes, and how long each took from Graph to the topic")
    changes(feed, graph, mailboxes)

    heading("Status")
    result = site.command("crmsync-producer", "status")
    print("  " + (result.stdout or result.stderr).rstrip().replace("\n", "\n  "))

    heading("To look further")
    prefix = test.prefix
    print(f"""  topics     kcat -b {broker.bootstrap.split(',')[0]} -t {prefix}records.v1 -C -e -f '%k %h\\n'
             others: {prefix}jobs.v1 feedback.v1 state.v1 status.v1 index.v1 dlq.v1
  status     build/release/bin/crmsync-producer status -c {site.config}
  metrics    {producer.admin_url}/metrics   {workers[0].admin_url}/metrics
  the truth  {sim.control_url}/mailboxes/{mailboxes[0]}/truth   (what the simulator holds)
  requests   {sim.control_url}/counters   (what the workers asked of it)""")
    if options.once:
        feed.check()
        codes = {d.name: d.stop() for d in daemons}
        if any(codes.values()):
            raise Failure(f"exit codes after SIGTERM: {codes}")
        print("\n  all stopped, exit code 0 each")
        return
    heading("Mail goes on arriving; Ctrl-C ends the demo")
    sim.post("/mutator", {"rate": 0.5})
    follow(feed, site)


def fail_daemon(daemon):
    raise Failure(f"{daemon.name} ended with {daemon.proc.popen.returncode}\n" + daemon.proc.log_tail())


def follow(feed, site):
    feed.mark()
    while True:
        for record in feed.new_records():
            value = record.json
            print(f"  {time.strftime('%H:%M:%S')}  {value['kind']:<7} {value['change']:<10} {value['mailbox'].split('@')[0]:<10} "
                  f"{' '.join((value.get('subject') or '').split())[:60]}", flush=True)
        feed.check()
        site.check()
        feed.wait_change(0.5)


def main():
    parser = argparse.ArgumentParser(prog="./run demo", description="A whole installation, to look at.")
    parser.add_argument("--once", action="store_true", help="end by itself")
    parser.add_argument("--kafka", action="store_true", help="a real Apache Kafka instead of the embedded broker")
    options = parser.parse_args()

    def end(signum, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    test = Test("demo")
    test.prefix = "crmsync."
    code = 1
    try:
        run(test, options)
        code = 0
    except KeyboardInterrupt:
        print("\n  stopping")
        code = 0
    except Failure as e:
        print(f"\ndemo: {e}", file=sys.stderr)
    finally:
        problems = test.close(failed=code != 0)
        for problem in problems or []:
            print(f"demo: {problem}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
