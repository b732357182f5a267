#!/usr/bin/python3
"""The image: what is in it, and the daemons out of it on a real Kafka with a simulated Microsoft 365.

Run by `./run image-test`. Under podman with uid 65532, a read-only root and no capability.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from crmtest import GraphSim, Kafka, Site, check, check_equal, free_ports, main, tenant, wait_for  # noqa: E402
from demo import calendar_windows  # noqa: E402
from demo_feed import Feed  # noqa: E402
from demo_graph import DemoGraph  # noqa: E402
from engine import UID, Engine  # noqa: E402

IMAGE = os.environ.get("CRMSYNC_IMAGE", "localhost/crmsync:0.1.0")
HARDENED = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--network", "host"]
SIZE_MAX = 48_000_000


def engine_of(t):
    engine = Engine()
    t.undo(engine.close)
    return engine


def test_what_is_in_the_image(t):
    engine = engine_of(t)
    image = engine.image(IMAGE)
    config = image["Config"]
    check_equal(config["User"], f"{UID}:{UID}", "the image's user")
    check_equal(config["StopSignal"], "SIGTERM", "the stop signal")
    check_equal((image.get("HealthCheck") or image["Healthcheck"])["Test"],
                ["CMD", "/usr/bin/crmsync-worker", "health"], "the health check")
    for label in ("title", "description", "licenses", "version", "revision"):
        check(config["Labels"].get(f"org.opencontainers.image.{label}"), f"no label {label}")
    check(image["Size"] < SIZE_MAX, f"the image has {image['Size']} bytes")
    for name in ("crmsync-producer", "crmsync-worker"):
        run = engine.once(IMAGE, [name, "--version"], HARDENED)
        check_equal(run.stdout.strip(), f"{name} {config['Labels']['org.opencontainers.image.version']}", "the version")
    with engine.files(IMAGE) as root:
        names = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
        odd = [n for n in names if (root / n).stat().st_mode & 0o6000]
        tools = [n for n in names if n.startswith("usr/bin/")]
        scanned = os.listdir(root / "var/lib/dpkg/status.d")
        check_equal(sorted(tools), ["usr/bin/crmsync-producer", "usr/bin/crmsync-worker"], "the programs")
        check(not odd, f"setuid: {odd}")
        for package in ("libc6", "libssl3t64", "librdkafka1", "libcurl4t64", "tzdata", "ca-certificates"):
            check(package in scanned, f"scanners do not see {package} among {sorted(scanned)}")
            check(f"usr/share/doc/{package}/copyright" in names, f"no licence of {package}")
        check("usr/share/zoneinfo/Europe/Vienna" in names, "no time zones")
        check("etc/ssl/certs/ca-certificates.crt" in names, "no certificates")
    print(f"size of the image: {image['Size'] / 1e6:.1f} MB, {len(scanned)} Debian packages in it", flush=True)


def as_config_map(folder):
    """Lays the files of a folder out as Kubernetes does a ConfigMap's: links into a folder that a link names."""
    real = folder / "..2026_01_01"
    names = [path.name for path in folder.iterdir()]
    real.mkdir()
    (folder / "..data").symlink_to(real.name)
    for name in names:
        (folder / name).rename(real / name)
        (folder / name).symlink_to(f"..data/{name}")


class Bed:
    """Kafka and graphsim on this machine; the daemons in containers."""

    def __init__(self, t, engine, tenants, sim, kafka):
        self.engine = engine
        self.site = Site(t, kafka, sim, tenants,
                         {"schedule.poll_min_ms": 1000, "schedule.poll_max_ms": 3000, "schedule.second_look_ms": 3000,
                          "schedule.status_interval_ms": 1000, "schedule.probe_min_ms": 1000, "schedule.probe_max_ms": 3000})
        as_config_map(self.site.dir / "tenants.d")
        for path in (self.site.dir, *self.site.dir.rglob("*")):
            os.chown(path, UID, UID, follow_symlinks=False)
        made = self.run("crmsync-producer", "topics", "--apply", "--partitions", "6", "--replication", "1")
        check_equal(made.returncode, 0, f"topics --apply: {made.stdout}{made.stderr}")

    def options(self):
        return [*HARDENED, "-v", f"{self.site.dir}:{self.site.dir}:ro", "-v", f"{self.site.dir}:/etc/crmsync:ro"]

    def run(self, name, verb, *args):
        return self.engine.once(IMAGE, [name, verb, *args], self.options(), ok=False)

    def start(self, name, program):
        options = [*self.options(), "-e", f"CRMSYNC_ADMIN_LISTEN=127.0.0.1:{free_ports(1)[0]}",
                   "-e", f"CRMSYNC_INSTANCE_ID={name}"]
        return self.engine.start(name, IMAGE, [program, "run"], options)


def check_confined(container):
    process = container.process()
    check_equal(set(process["Uid"] + process["Gid"]), {str(UID)}, f"uid and gid of {container.name}")
    for word in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        check_equal(int(process[word][0], 16), 0, f"{word} of {container.name}")
    check_equal(process["NoNewPrivs"], ["1"], f"NoNewPrivs of {container.name}")
    check("ro" in container.root_options(), f"the root of {container.name} can be written to")


def test_daemons_out_of_the_image(t):
    engine = engine_of(t)
    kafka = Kafka.own(t)
    sim = GraphSim(t, "--mailboxes", "3", "--messages", "200", "--events", "20", "--secret", "right-secret")
    graph = DemoGraph(sim, "contoso", depth=None)
    bad = graph.mailboxes[2]
    good = graph.mailboxes[:2]
    bed = Bed(t, engine, [
        tenant("contoso", good, secrets=("right-secret",), own_domains=["contoso.example"], backfill_days="all",
               calendar_past_days=180, calendar_future_days=365),
        tenant("wrong", [bad], secrets=("wrong-secret",), own_domains=["contoso.example"]),
        # its secret file is not there at all
        tenant("absent", [bad], secrets=(), credentials=[{"secret_file": "/run/secrets/absent"}]),
    ], sim, kafka)
    feed = Feed(kafka, t.prefix, isolation="read_committed")
    t.undo(feed.close)
    daemons = [bed.start("producer-0", "crmsync-producer"), bed.start("worker-0", "crmsync-worker"),
               bed.start("worker-1", "crmsync-worker")]
    for daemon in daemons:
        daemon.wait_healthy()
        check_confined(daemon)
    check(engine.podman("exec", daemons[1].name, "sh", "-c", "true", ok=False).returncode != 0, "there is a shell")

    windows = {}

    def complete():
        feed.check()
        windows.update(calendar_windows(bed.site))
        return set(good) <= set(windows) and all(
            feed.matching(m, want) == len(want) for m, want in ((m, graph.expected(m, windows[m])) for m in good))

    wait_for(complete, 180, "every mail and event of the mailboxes is on the topic", every_s=0.5)
    print(f"records out of the containers: {sum(len(graph.expected(m, windows[m])) for m in good)}, equal to the truth",
          flush=True)

    def status():
        run = bed.run("crmsync-producer", "status")
        check_equal(run.returncode, 0, f"status: {run.stderr}")
        return run.stdout

    def parked():
        text = status()
        rows = [line for line in text.splitlines() if line.startswith(("wrong/", "absent/"))]
        return text if len(rows) == 2 and all("needs_admin" in row for row in rows) else None

    print(wait_for(parked, 120, "the tenants with a wrong and without a secret are parked", every_s=1), flush=True)
    # the right one takes its place: no restart, no signal
    secret = bed.site.dir / "wrong.secret0"
    fresh = t.dir / "fresh"
    fresh.write_text("right-secret")
    os.chown(fresh, UID, UID)
    fresh.rename(secret)
    wait_for(lambda: any(r.key.startswith("wrong/") for r in feed.records()), 180, "the healed tenant's records", every_s=0.5)
    for daemon in daemons:
        state = daemon.state()
        check(state["Status"] == "running" and state.get("RestartCount", 0) == 0, f"{daemon.name}: {state}")
        check("wrong-secret" not in daemon.logs() and "right-secret" not in daemon.logs(), "a secret is logged")
    for daemon in daemons:
        check_equal(daemon.stop(), 0, f"exit code of {daemon.name} after SIGTERM:\n{daemon.logs()[-2000:]}")
    check(not any(r.key.startswith("absent/") for r in feed.records()), "records of a parked tenant")


def test_scram_password_out_of_a_file(t):
    """On Kafka 4.x, whose SCRAM the librdkafka of Debian 12 cannot do."""
    engine = engine_of(t)
    secure = Kafka.own(t, listener="scram").env["secure"]
    client = dict(secure["client"])
    check_equal((client["security.protocol"], client["sasl.mechanism"]), ("SASL_SSL", "SCRAM-SHA-512"), "the listener")
    for name, text in (("password", client.pop("sasl.password")), ("ca", Path(client["ssl.ca.location"]).read_text()),
                       ("crmsync.cfg", f'kafka = {{ bootstrap_servers = "{secure["bootstrap"]}"; }};\n')):
        (t.dir / name).write_text(text)
        os.chmod(t.dir / name, 0o644)
    client["ssl.ca.location"] = "/run/secrets/ca"
    options = [*HARDENED, "-v", f"{t.dir}/crmsync.cfg:/etc/crmsync/crmsync.cfg:ro", "-v", f"{t.dir}/ca:/run/secrets/ca:ro",
               "-v", f"{t.dir}/password:/run/secrets/password:ro",
               "-e", "CRMSYNC_KAFKA_PROPERTIES_SASL_PASSWORD_FILE=/run/secrets/password"]
    for key, value in client.items():
        options += ["-e", f"CRMSYNC_KAFKA_PROPERTIES_{key.upper().replace('.', '_')}={value}"]
    command = ["crmsync-producer", "topics", "--apply", "--partitions", "3"]
    made = engine.once(IMAGE, command, options, ok=False)
    check(made.returncode == 0 and "created" in made.stdout, f"topics --apply by SCRAM: {made}")
    (t.dir / "password").write_text("another")
    refused = engine.once(IMAGE, command, options, ok=False)
    check_equal(refused.returncode, 69, f"with a wrong password: {refused}")


def test_wrong_configuration_says_why(t):
    engine = engine_of(t)
    run = engine.once(IMAGE, ["crmsync-worker", "run"], HARDENED, ok=False)
    check(run.returncode == 78 and "/etc/crmsync/crmsync.cfg" in run.stderr, f"without a file: {run}")
    secret = t.dir / "bootstrap"
    secret.write_text("127.0.0.1:9\n")
    config = t.dir / "crmsync.cfg"
    config.write_text("")
    for path in (secret, config):
        path.chmod(0o644)
    options = [*HARDENED, "-v", f"{config}:/etc/crmsync/crmsync.cfg:ro", "-v", f"{secret}:/run/secrets/b:ro",
               "-e", "CRMSYNC_KAFKA_BOOTSTRAP_SERVERS_FILE=/run/secrets/b"]
    run = engine.once(IMAGE, ["crmsync-worker", "run", "--print-config"], options)
    check("127.0.0.1:9" in run.stdout, f"a value out of a file: {run.stdout}")
    run = engine.once(IMAGE, ["crmsync-worker", "run"], [*options[:-1], options[-1] + "x"], ok=False)
    check(run.returncode == 78 and "BOOTSTRAP_SERVERS_FILE: " in run.stderr, f"a file that is not there: {run}")


if __name__ == "__main__":
    main(*[value for name, value in list(globals().items()) if name.startswith("test_")])
