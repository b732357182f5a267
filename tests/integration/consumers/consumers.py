"""The consumers to copy, with the real parts: two groups, and a PostgreSQL that is killed, end with the simulator's truth; so does
one that begins afterwards, with a compacted topic. Run by `./run soak consumers`."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import psycopg

import oracle
from bed import TENANT, Bed
from crmtest import ROOT, Failure, check_equal, fold, wait_for

SINK = ROOT / "docker/consumers/postgres/sink.py"
COMPACTED = {"records.v1": {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01",
                            "max.compaction.lag.ms": "2000", "delete.retention.ms": "604800000"}}


class Postgres:
    """A cluster of its own in a directory of its own, on a socket there. It refuses to run as root, so another runs it."""

    def __init__(self, t):
        self.bin = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="crmtest-pg-", dir="/tmp"))
        self.as_user = []
        t.undo(self.end)
        if os.geteuid() == 0:
            shutil.chown(self.dir, "postgres", "postgres")
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        made = self.run("initdb", "-D", self.dir / "data", "-U", "crm", "-A", "trust", "-E", "UTF8", "--locale=C")
        check_equal(made[0], 0, f"initdb: {made[1]}")
        self.start()

    def run(self, name, *args):
        # its output goes to a file: a server that is started would keep a pipe open
        with open(self.dir / "said", "w+b") as said:
            done = subprocess.run([*self.as_user, self.bin / name, *map(str, args)], cwd=self.dir, stdin=subprocess.DEVNULL,
                                  stdout=said, stderr=said, timeout=60, check=False)
            said.seek(0)
            return done.returncode, said.read().decode("utf-8", "replace")

    def start(self):
        """After a kill what is left of its processes has to go first."""
        args = ("-D", self.dir / "data", "-l", self.dir / "log", "-w", "-o", f"-c listen_addresses='' -k {self.dir}", "start")
        wait_for(lambda: self.run("pg_ctl", *args)[0] == 0, 60, "PostgreSQL starts")

    def kill(self):
        """As by a lost machine: the postmaster and all that it runs."""
        os.kill(int((self.dir / "data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def env(self, database):
        return {"PGHOST": str(self.dir), "PGUSER": "crm", "PGDATABASE": database}

    def query(self, database, sql):
        with psycopg.connect(host=str(self.dir), user="crm", dbname=database, autocommit=True) as db:
            found = db.execute(sql)
            return found.fetchall() if found.description else []

    def end(self):
        if (self.dir / "data/postmaster.pid").exists():
            subprocess.run([*self.as_user, self.bin / "pg_ctl", "-D", str(self.dir / "data"), "-m", "immediate", "stop"],
                           cwd=self.dir, stdout=subprocess.DEVNULL, timeout=60, check=False)
        shutil.rmtree(self.dir)


class Row:
    """What compare_* of the oracle want of a record."""

    def __init__(self, value):
        self.json = value
        self.value = json.dumps(value)


def database_state(pg, database):
    try:
        return {key: Row(record) for key, record in pg.query(database, "SELECT key, record FROM crmsync_item")}
    except psycopg.errors.UndefinedTable:
        return {}  # its sink has only just begun


def wrong(bed, state):
    windows, found = bed.window(), []
    for truth in bed.truths():
        found += oracle.compare_mail(state, truth, TENANT)
        found += oracle.compare_calendar(state, truth, TENANT, windows.get(truth["mailbox"]))
    return found[:8]


def wait_right(bed, pg, database, deadline_s):
    last = [None]

    def right():
        last[0] = wrong(bed, database_state(pg, database))
        return not last[0]

    try:
        wait_for(right, deadline_s, f"{database} equals the truth", every_s=1)
    except Failure as e:
        raise Failure(f"{e}: {last[0]}") from None


def check_rows(bed, pg, database):
    """Row by row the fold of the topic, with people."""
    state = fold(bed.records())
    rows = {k: (c, p, o) for k, c, p, o in pg.query(database, 'SELECT key, change, present, "offset" FROM crmsync_item')}
    check_equal(set(rows), set(state), f"{database}: keys")
    for key, (change, present, offset) in rows.items():
        check_equal((change, present, offset), (state[key].json["change"], change not in ("deleted", "left_scope"), state[key].offset), key)
    people = dict(pg.query(database, "SELECT key, count(*) FROM crmsync_person GROUP BY key"))
    check_equal(people, {k: len(r.json["participants"]) for k, r in state.items() if r.json.get("participants") and rows[k][1]}, "people")


def run(t, kafka, seconds):
    pg = Postgres(t)
    for name in ("crm", "warehouse", "late"):
        pg.query("postgres", f"CREATE DATABASE {name}")
    bed = Bed(t, kafka, mailboxes=2, messages=300, folders=10, events=20, topic_settings=COMPACTED)

    def sink(database, n=0):
        return t.start([sys.executable, "-B", SINK, "--bootstrap-servers", bed.kafka.bootstrap, "--prefix", t.prefix, "--group",
                        f"{t.prefix}{database}"], f"sink-{database}{n}", env=pg.env(database))

    daemons = (bed.site.worker(), bed.site.producer())
    sinks = {name: sink(name) for name in ("crm", "warehouse")}
    bed.wait_some(150, 60, daemons)
    bed.mutate(10)
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        n += 1
        time.sleep(2)  # the moment is what is drawn; nothing is awaited here
        if n % 2:
            pg.kill()
            pg.start()
        else:
            sinks["crm"].kill()
            sinks["crm"] = sink("crm", n)
    bed.still()
    bed.wait_equal(120, daemons)
    bed.wait_quiet(60)
    for name in sinks:
        wait_right(bed, pg, name, 90)
        check_rows(bed, pg, name)
    # one that begins now finds the last of each key only
    written = sum(high for _, high in ends(bed))
    wait_for(lambda: len(bed.records()) < 1.5 * len(fold(bed.records())), 120, "the topic is compacted", every_s=2)
    left = len(bed.records())
    sinks["late"] = sink("late")
    wait_right(bed, pg, "late", 90)
    check_rows(bed, pg, "late")
    check_equal([s.stop() for s in sinks.values()], [0, 0, 0], "exit codes of the sinks")
    check_equal([d.stop() for d in daemons], [0, 0], "exit codes")
    print(f"{n} kills of the database or a sink; offsets up to {written} in all, {left} records after compaction; three databases equal the truth")


def ends(bed):
    from confluent_kafka import Consumer, TopicPartition
    consumer = Consumer({"bootstrap.servers": bed.kafka.bootstrap, "group.id": "ends"})
    try:
        return [consumer.get_watermark_offsets(TopicPartition(bed.t.prefix + "records.v1", p), timeout=15) for p in range(6)]
    finally:
        consumer.close()
