#!/usr/bin/python3
"""A real Apache Kafka for tests and for hand use: 1 or 3 brokers on loopback, KRaft, no container.

    kafka.py fetch   [--version V]                  resolve the jars into the cache, print the path
    kafka.py start   --dir D [--brokers 1|3] [--version V] [--listener scram|plain|mtls ...]
                     [--with-parent]                start, wait until it answers, write D/env.json
    kafka.py status  --dir D                        print what runs; exit 0 if all nodes run, else 3
    kafka.py kill    --dir D --node N               kill -9 one broker
    kafka.py restart --dir D --node N               start it again on its old ports and data
    kafka.py stop    --dir D                        stop all of them and remove their data

D/env.json; "ready" becomes true when every broker answers:

    {"bootstrap": "127.0.0.1:p[,...]", "version": "4.3.1", "brokers": 1, "cluster_id": "...",
     "dir": "D", "nodes": [{"id": 1, "pid": 123, "pid_start": 456, "port": p, "controller_port": q,
                            "secure_port": r or null, "log": "D/node1/server.log"}], "ready": true,
     "secure": null or {"listener": "scram", "bootstrap": "127.0.0.1:r", "client": {librdkafka properties}}}

Everything listens on 127.0.0.1. A second `start` on the same directory stops what runs there first.
Exit: 0 done, 1 failed (the reason and the end of the broker's log on stderr), 2 usage, 3 status only.
"""

import argparse
import base64
import contextlib
import fcntl
import json
import os
import random
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

# The one place that names versions. MAIN is used by everything, OLD by a smoke test.
MAIN = "4.3.1"
OLD = "3.9.2"
ALIASES = {"main": MAIN, "old": OLD}

HERE = Path(__file__).resolve().parent
START_DEADLINE_S = 120
STOP_DEADLINE_S = 30
JVM = ["-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
       "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true",
       "-Dorg.slf4j.simpleLogger.showDateTime=true",
       "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]


class KafkaError(Exception):
    """The bed could not do what was asked; the text says what to look at."""


# --- jars ---------------------------------------------------------------------------------------


def cache_dir(version):
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "crmsync" / f"kafka-{version}"


def fetch(version, out=sys.stderr):
    """Return the folder with the jars of `version`; resolve them first if need be.

    Two callers at once are serialised by a lock; a copy that was cut off is never seen, since the
    folder gets its name only when it is complete.
    """
    target = cache_dir(version)
    if target.is_dir():
        return target
    if shutil.which("mvn") is None or shutil.which("java") is None:
        raise KafkaError("mvn or java is missing: ./run test installs both")
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.parent / f"{target.name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        print(f"kafka: resolving Apache Kafka {version} with Maven into {target}", file=out, flush=True)
        work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
        try:
            cmd = ["mvn", "-B", "-q", "-f", str(HERE / "pom.xml"), f"-Dkafka.version={version}",
                   "dependency:copy-dependencies", "-DincludeScope=runtime",
                   f"-DoutputDirectory={work / 'libs'}"]
            last = ""
            for _ in range(3):  # a registry may fail once; what was fetched is kept between tries
                run = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
                last = run.stdout
                if run.returncode == 0 and list((work / "libs").glob("kafka_2.13-*.jar")):
                    break
            else:
                raise KafkaError(f"Maven could not resolve Kafka {version}:\n{last[-4000:]}")
            os.chmod(work / "libs", 0o755)
            (work / "libs").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


# --- processes and ports ------------------------------------------------------------------------


def pid_start(pid):
    """Start time of a process in clock ticks, or None: with the pid it names one process for ever."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def alive(node):
    return node.get("pid") is not None and pid_start(node["pid"]) == node.get("pid_start")


def end(node, sig, deadline_s):
    """Send `sig` to a node and wait; kill -9 when the deadline passes."""
    if not alive(node):
        return
    try:
        fd = os.pidfd_open(node["pid"])
    except ProcessLookupError:
        return
    try:
        if not alive(node):  # ended and its pid reused between the two looks
            return
        for s, wait_s in ((sig, deadline_s), (signal.SIGKILL, 10)):
            try:
                signal.pidfd_send_signal(fd, s)
            except ProcessLookupError:
                return
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if poll.poll(wait_s * 1000):
                return
        raise KafkaError(f"process {node['pid']} does not end")
    finally:
        os.close(fd)


def free_ports(count):
    """Ports that nobody listens on, outside the range the kernel gives to outgoing connections.

    A restarted broker must find its port free again, so a client's source port must not take it.
    """
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            low = int(f.read().split()[0])
    except (OSError, ValueError):
        low = 32768
    rng = random.SystemRandom()
    found = []
    for _ in range(10000):
        port = rng.randrange(10000, low) if low > 12000 else 0
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            port = s.getsockname()[1]
        if port not in found:
            found.append(port)
        if len(found) == count:
            return found
    raise KafkaError("no free ports on 127.0.0.1")


# --- certificates -------------------------------------------------------------------------------


def openssl(*args, cwd):
    run = subprocess.run(["openssl", *args], cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    if run.returncode != 0:
        raise KafkaError(f"openssl {args[0]} failed: {run.stdout}")


def make_certificates(folder):
    """A CA made on the spot, and one certificate each for the brokers and for a client."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=crmsync test CA", cwd=folder)
    for name, usage, san in (("server", "serverAuth", "IP:127.0.0.1,DNS:localhost"),
                             ("client", "clientAuth", "DNS:crmsync-client")):
        (folder / f"{name}.ext").write_text(
            f"subjectAltName={san}\nextendedKeyUsage={usage}\n", encoding="ascii")
        openssl("req", *ec, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN=crmsync-{name}", cwd=folder)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt",
                cwd=folder)
    # the broker's PEM key store is one file: the key (PKCS#8), then the chain
    (folder / "server.pem").write_text(
        (folder / "server.key").read_text() + (folder / "server.crt").read_text(), encoding="ascii")


def secure_properties(kind, folder, user, password):
    """Broker properties of the SECURE listener, and what a librdkafka client needs to use it."""
    broker = {
        "ssl.keystore.type": "PEM", "ssl.keystore.location": folder / "server.pem",
        "ssl.truststore.type": "PEM", "ssl.truststore.location": folder / "ca.pem",
        "ssl.client.auth": "required" if kind == "mtls" else "none",
    }
    client = {"ssl.ca.location": str(folder / "ca.pem")}
    if kind == "mtls":
        client.update({"security.protocol": "SSL",
                       "ssl.certificate.location": str(folder / "client.crt"),
                       "ssl.key.location": str(folder / "client.key")})
        return "SSL", broker, client
    jaas = "org.apache.kafka.common.security"
    if kind == "scram":
        broker["sasl.enabled.mechanisms"] = "SCRAM-SHA-512"
        broker["listener.name.secure.scram-sha-512.sasl.jaas.config"] = \
            f"{jaas}.scram.ScramLoginModule required;"
        mechanism = "SCRAM-SHA-512"
    else:
        broker["sasl.enabled.mechanisms"] = "PLAIN"
        broker["listener.name.secure.plain.sasl.jaas.config"] = \
            f'{jaas}.plain.PlainLoginModule required user_{user}="{password}";'
        mechanism = "PLAIN"
    client.update({"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism,
                   "sasl.username": user, "sasl.password": password})
    return "SASL_SSL", broker, client


# --- one cluster --------------------------------------------------------------------------------


def node_properties(node, nodes, folder, secure):
    """Everything that makes a broker small and quick; one line of properties per key."""
    count = len(nodes)
    replicas, in_sync = (3, 2) if count >= 3 else (1, 1)
    voters = ",".join(f"{n['id']}@127.0.0.1:{n['controller_port']}" for n in nodes)
    listeners = [f"PLAINTEXT://127.0.0.1:{node['port']}"]
    if secure:
        listeners.append(f"SECURE://127.0.0.1:{node['secure_port']}")
    protocol = secure["protocol"] if secure else "PLAINTEXT"
    props = {
        "process.roles": "broker,controller",
        "node.id": node["id"],
        "controller.quorum.voters": voters,
        "listeners": ",".join(listeners + [f"CONTROLLER://127.0.0.1:{node['controller_port']}"]),
        "advertised.listeners": ",".join(listeners),
        "listener.security.protocol.map":
            f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:{protocol}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": folder / "data",
        "num.network.threads": 2,
        "num.io.threads": 2,
        "background.threads": 2,
        "num.replica.fetchers": 1,
        "num.recovery.threads.per.data.dir": 1,
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 4,
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # an orphan's transaction ends within a second of its timeout, not within ten
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # 128 MiB of heap and a look every 15 s by default: compaction is tested, so it must run
        "log.cleaner.dedupe.buffer.size": 8388608,
        "log.cleaner.threads": 1,
        "log.cleaner.backoff.ms": 1000,
        "log.segment.bytes": 1048576,
        # two index files a segment are laid out at this size
        "log.index.size.max.bytes": 65536,
        "log.retention.check.interval.ms": 10000,
        "log.segment.delete.delay.ms": 1000,
    }
    if count >= 3:
        # a killed broker is noticed after this; the default of 9 s makes the worst commit 15 s
        props["broker.session.timeout.ms"] = 3000
        props["broker.heartbeat.interval.ms"] = 500
    if secure:
        props.update(secure["broker"])
    return props


def spawn(node, jars):
    """Start a formatted node; it outlives this program."""
    folder = Path(node["log"]).parent
    with open(node["log"], "ab") as log:
        proc = subprocess.Popen(
            ["java", *JVM, "-cp", f"{jars}/*", "kafka.Kafka", str(folder / "server.properties")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    node["pid"] = proc.pid
    node["pid_start"] = pid_start(proc.pid)
    return proc


def log_tail(node, count=4000):
    try:
        return Path(node["log"]).read_text(errors="replace")[-count:]
    except OSError as e:
        return str(e)


def brokers_seen(bootstrap):
    """Ask for metadata: how many brokers the cluster itself names. 0 while nobody answers."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0,
                         "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 250,
                         "error_cb": lambda e: None})
    try:
        return len(admin.list_topics(timeout=2).brokers)
    except KafkaException:  # not up yet; the caller has the deadline and sees the process
        return 0


def wait_ready(env, procs=()):
    """Return when every node is named by a metadata answer of every node; raise at the deadline."""
    until = time.monotonic() + START_DEADLINE_S
    for node in env["nodes"]:
        while brokers_seen(f"127.0.0.1:{node['port']}") < len(env["nodes"]):
            for p in procs:
                p.poll()  # reaps, so that alive() tells the truth
            dead = [n for n in env["nodes"] if not alive(n)]
            if dead:
                raise KafkaError(f"broker {dead[0]['id']} ended while starting:\n{log_tail(dead[0])}")
            if time.monotonic() > until:
                raise KafkaError(f"broker {node['id']} did not answer within {START_DEADLINE_S} s:\n"
                                 + log_tail(node))


def write_env(env):
    path = Path(env["dir"]) / "env.json"
    tmp = path.with_suffix(".tmp")
    tmp.write_text(json.dumps(env, indent=1) + "\n", encoding="utf-8")
    os.chmod(tmp, 0o600)
    tmp.rename(path)


def read_env(folder):
    try:
        return json.loads((Path(folder) / "env.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def locked(folder):
    """One command at a time on one directory."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def format_nodes(nodes, jars, cluster_id, secure):
    args = ["format", "-t", cluster_id, "-g"]
    if secure and secure["listener"] == "scram":
        # the tool takes it no other way; a password of this run, worth nothing elsewhere
        args += ["--add-scram", f"SCRAM-SHA-512=[name={secure['user']},password={secure['password']}]"]
    procs = []
    for node in nodes:
        folder = Path(node["log"]).parent
        procs.append(subprocess.Popen(
            ["java", *JVM, "-cp", f"{jars}/*", "kafka.tools.StorageTool", *args,
             "-c", str(folder / "server.properties")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=folder))
    failed = None
    for p in procs:
        out, _ = p.communicate(timeout=60)
        if p.returncode != 0:
            failed = out
    if failed is not None:
        raise KafkaError(f"kafka.tools.StorageTool format failed:\n{failed[-4000:]}")


def start_once(folder, count, version, listener, jars, token):
    user, password = "crmsync", secrets.token_hex(12)
    secure = None
    if listener:
        make_certificates(folder / "tls")
        protocol, broker, client = secure_properties(listener, folder / "tls", user, password)
        secure = {"listener": listener, "protocol": protocol, "broker": broker, "client": client,
                  "user": user, "password": password}
    ports = free_ports(3 * count)
    nodes = []
    for i in range(count):
        home = folder / f"node{i + 1}"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        nodes.append({"id": i + 1, "pid": None, "pid_start": None, "port": ports[3 * i],
                      "controller_port": ports[3 * i + 1],
                      "secure_port": ports[3 * i + 2] if secure else None,
                      "log": str(home / "server.log")})
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if cluster_id.startswith("-"):  # the formatter would take it for an option
        cluster_id = "A" + cluster_id[1:]
    for node in nodes:
        home = Path(node["log"]).parent
        with open(home / "server.properties", "w", encoding="ascii",
                  opener=lambda p, f: os.open(p, f, 0o600)) as f:
            for key, value in node_properties(node, nodes, home, secure).items():
                f.write(f"{key}={value}\n")
    format_nodes(nodes, jars, cluster_id, secure)
    env = {"bootstrap": ",".join(f"127.0.0.1:{n['port']}" for n in nodes), "version": version,
           "brokers": count, "cluster_id": cluster_id, "dir": str(folder), "jars": str(jars),
           "nodes": nodes, "secure": None, "ready": False, "token": token}
    if secure:
        env["secure"] = {
            "listener": listener,
            "bootstrap": ",".join(f"127.0.0.1:{n['secure_port']}" for n in nodes),
            "client": secure["client"]}
    procs = []
    try:
        for node in nodes:
            procs.append(spawn(node, jars))
            write_env(env)  # should we be killed while we wait, `stop` and the owner's end find them
        wait_ready(env, procs)
    except BaseException:  # also on Ctrl-C: nothing may stay behind
        for node in nodes:
            end(node, signal.SIGKILL, 10)
        (folder / "env.json").unlink(missing_ok=True)
        raise
    env["ready"] = True
    write_env(env)
    return env


def start(folder, brokers=1, version=MAIN, listener=None, quiet=True, token=None):
    """Start a cluster and return its env (the content of env.json). Raises KafkaError."""
    folder = Path(folder).resolve()
    version = ALIASES.get(version, version)
    jars = fetch(version)
    stop(folder)
    with locked(folder):
        for attempt in range(3):
            try:
                env = start_once(folder, brokers, version, listener, jars, token)
                break
            except KafkaError as e:
                # somebody took a port between our look and the broker's bind
                if "Address already in use" not in str(e) or attempt == 2:
                    raise
    if not quiet:
        print(f"kafka: Apache Kafka {version}, {brokers} broker(s) at {env['bootstrap']}", flush=True)
    return env


def stop(folder):
    """Stop every node and remove the data. Nothing to stop is no error."""
    folder = Path(folder).resolve()
    if not folder.is_dir():
        return
    with locked(folder):
        env = read_env(folder)
        if env is None:
            return
        # combined nodes wait for a quorum to leave orderly, which the last ones never get
        for node in env["nodes"]:
            end(node, signal.SIGTERM if len(env["nodes"]) == 1 else signal.SIGKILL, STOP_DEADLINE_S)
        (folder / "env.json").unlink()
        for node in env["nodes"]:
            shutil.rmtree(Path(node["log"]).parent / "data", ignore_errors=True)
        shutil.rmtree(folder / "tls", ignore_errors=True)


def find_node(folder, node_id):
    env = read_env(folder)
    if env is None:
        raise KafkaError(f"no broker was started in {folder}")
    for node in env["nodes"]:
        if node["id"] == node_id:
            return env, node
    raise KafkaError(f"no node {node_id}: there are 1 to {len(env['nodes'])}")


def kill(folder, node_id):
    """kill -9 one node, and wait until it is gone."""
    with locked(Path(folder)):
        env, node = find_node(folder, node_id)
        end(node, signal.SIGKILL, 10)
        node["pid"] = node["pid_start"] = None
        write_env(env)


def restart(folder, node_id):
    """Start a killed node on its old ports and data, and wait until the cluster names it again."""
    with locked(Path(folder)):
        env, node = find_node(folder, node_id)
        end(node, signal.SIGKILL, 10)
        proc = spawn(node, env["jars"])
        write_env(env)
        up = dict(env, nodes=[n for n in env["nodes"] if alive(n)])
        wait_ready(up, [proc])
        return env


def watch(owner_fd, folder, token):
    """Forks a process that stops the cluster started with `token` when the owner has ended."""
    if os.fork() != 0:
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    poll = select.poll()
    poll.register(owner_fd, select.POLLIN)
    poll.poll()
    env = read_env(folder)
    if env is not None and env["token"] == token:
        stop(folder)
    os._exit(0)


def on_sigterm(signum, frame):
    raise SystemExit(128 + signum)  # so that what was started is ended


def main(argv):
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = ap.add_subparsers(dest="verb", required=True)
    p = sub.add_parser("fetch")
    p.add_argument("--version", default="main", help=f"main ({MAIN}), old ({OLD}) or a number")
    p = sub.add_parser("start")
    p.add_argument("--dir", type=Path, required=True)
    p.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    p.add_argument("--version", default="main", help=f"main ({MAIN}), old ({OLD}) or a number")
    p.add_argument("--listener", choices=("scram", "plain", "mtls"),
                   help="a TLS listener beside the plain one")
    p.add_argument("--with-parent", action="store_true",
                   help="stop when the process that called this ends")
    for verb in ("stop", "status", "kill", "restart"):
        p = sub.add_parser(verb)
        p.add_argument("--dir", type=Path, required=True)
        if verb in ("kill", "restart"):
            p.add_argument("--node", type=int, required=True)
    args = ap.parse_args(argv)
    try:
        if args.verb == "fetch":
            print(fetch(ALIASES.get(args.version, args.version)))
        elif args.verb == "start":
            token = secrets.token_hex(8)
            if args.with_parent:  # before anything is started, so that a start cut off is covered
                watch(os.pidfd_open(os.getppid()), args.dir.resolve(), token)
            signal.signal(signal.SIGTERM, on_sigterm)
            start(args.dir, args.brokers, args.version, args.listener, quiet=False, token=token)
        elif args.verb == "stop":
            stop(args.dir)
        elif args.verb == "kill":
            kill(args.dir.resolve(), args.node)
        elif args.verb == "restart":
            restart(args.dir.resolve(), args.node)
        else:
            env = read_env(args.dir)
            if env is None:
                print("kafka: not running")
                return 3
            up = [n for n in env["nodes"] if alive(n)]
            print(f"kafka: Apache Kafka {env['version']} at {env['bootstrap']}, "
                  f"{len(up)} of {len(env['nodes'])} broker(s) running")
            for n in env["nodes"]:
                print(f"  node {n['id']}: port {n['port']}, pid {n['pid'] if alive(n) else '-'}, "
                      f"log {n['log']}")
            return 0 if len(up) == len(env["nodes"]) else 3
    except (KafkaError, subprocess.TimeoutExpired, OSError) as e:
        print(f"kafka: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
