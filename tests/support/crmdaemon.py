"""The programs under test and the simulated Graph, started and asked by integration tests."""

import json
import os
import re

from crmkafka import free_ports
from crmproc import Failure, http, program, wait_for


# --- configuration files ------------------------------------------------------------------------


def _scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}L" if not -2**31 <= value < 2**31 else str(value)
    if isinstance(value, str):
        out = []
        for ch in value:
            if ch in '"\\':
                out.append("\\" + ch)
            elif ch == "\n":
                out.append("\\n")
            elif ord(ch) < 32:
                out.append(f"\\x{ord(ch):02x}")
            else:
                out.append(ch)
        return '"' + "".join(out) + '"'
    raise TypeError(f"no libconfig form for {value!r}")


def _write(value, indent):
    pad = "  " * indent
    if isinstance(value, dict):
        inner = "".join(f"{pad}  {k} = {_write(v, indent + 1)};\n" for k, v in value.items())
        return "{\n" + inner + pad + "}"
    if isinstance(value, (list, tuple)):
        return "( " + ", ".join(_write(v, indent + 1) for v in value) + " )"
    return _scalar(value)


def nest(flat):
    """{"kafka.delivery": x} -> {"kafka": {"delivery": x}}; a key that is a value and a prefix too
    gets a trailing underscore, as the programs read it."""
    tree = {}
    prefixes = {key[:i] for key in flat for i, ch in enumerate(key) if ch == "."}
    for key, value in flat.items():
        parts = key.split(".")
        if key in prefixes:
            parts[-1] += "_"
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        node[parts[-1]] = value
    return tree


def libconfig(settings):
    """Text of a libconfig file: dotted keys, dicts as groups, lists as lists."""
    return "".join(f"{k} = {_write(v, 0)};\n" for k, v in nest(settings).items())


# --- the simulated Graph ------------------------------------------------------------------------


class GraphSim:
    """graphsim as a process. `ready` is the JSON line it prints; base_url and login_url are for the
    daemons' configuration, get/post go to its control port."""

    def __init__(self, test, *args, name="graphsim", deadline_s=30):
        self.proc = test.start([program("graphsim"), *args], name, lines=True)
        self.ready = json.loads(self.proc.line(deadline_s, "ready line"))

    @property
    def base_url(self):
        return self.ready["base_url"]

    @property
    def login_url(self):
        return self.ready["login_url"]

    @property
    def control_url(self):
        return self.ready["control_url"]

    def _call(self, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        status, answer = http(method, self.control_url + path, data,
                              {"Content-Type": "application/json"} if data else None, timeout_s=60)
        if status >= 300:
            raise Failure(f"graphsim: {method} {path}: {status} {answer[:500]!r}")
        return json.loads(answer) if answer.strip() else None

    def get(self, path):
        return self._call("GET", path, None)

    def post(self, path, body=None):
        return self._call("POST", path, {} if body is None else body)

    def delete(self, path):
        return self._call("DELETE", path, None)


# --- producer and workers -----------------------------------------------------------------------


class Daemon:
    """crmsync-producer or crmsync-worker, `run -c FILE`."""

    def __init__(self, site, program_name, name, env):
        port = free_ports(1)[0]
        self.admin_url = f"http://127.0.0.1:{port}"
        self.name = name
        self.proc = site.test.start(
            [program(program_name), "run", "-c", site.config], name,
            env={"CRMSYNC_ADMIN_LISTEN": f"127.0.0.1:{port}", "CRMSYNC_LOG_FORMAT": "json", **env})

    def get(self, path):
        """(status, text), or (0, why) while nobody answers."""
        try:
            status, body = http("GET", self.admin_url + path, timeout_s=5)
        except OSError as e:
            return 0, str(e)
        return status, body.decode("utf-8", "replace")

    def wait_ready(self, deadline_s=60):
        def ready():
            if not self.proc.running():
                raise Failure(f"{self.name} ended with {self.proc.popen.returncode}\n"
                              + self.proc.log_tail())
            return self.get("/readyz")[0] == 200

        wait_for(ready, deadline_s, f"{self.name} is ready: {self.get('/readyz')[1][:300]}")
        return self

    def metrics(self):
        """{"name{labels}": value} of /metrics."""
        status, text = self.get("/metrics")
        if status != 200:
            raise Failure(f"{self.name}: /metrics answered {status}")
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                match = re.fullmatch(r"([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)", line)
                if match is None:
                    raise Failure(f"{self.name}: no Prometheus line: {line}")
                found[match.group(1)] = float(match.group(2))
        return found

    def stop(self, deadline_s=20):
        return self.proc.stop(deadline_s)

    def kill(self):
        return self.proc.kill()

    def signal(self, sig):
        self.proc.signal(sig)


class Site:
    """One installation: a configuration, and any number of daemons on it.

        site = Site(t, broker, graph, tenants=[tenant("acme", ["ann@contoso.example"])],
                    settings={"schedule.poll_min_ms": 500})
        site.producer().wait_ready(); site.worker("w1").wait_ready()
    """

    def __init__(self, test, broker, graph, tenants, settings=None):
        self.test = test
        self.broker = broker
        self.dir = test.dir / "site"
        (self.dir / "tenants.d").mkdir(parents=True, exist_ok=True)
        self.config = self.dir / "crmsync.cfg"
        self.settings = {
            "kafka.bootstrap_servers": broker.bootstrap,
            "kafka.topic_prefix": test.prefix,
            "kafka.delivery": "exactly_once" if broker.transactional else "at_least_once",
            "graph.base_url": graph.base_url,
            "graph.login_url": graph.login_url,
        }
        self.settings.update(settings or {})
        self.tenants = tenants
        self.write()

    def write(self):
        """Write the files as settings and tenants are now (for a reload: change them first)."""
        self.config.write_text(libconfig(self.settings), encoding="utf-8")
        for one in self.tenants:
            one = dict(one)
            secrets = one.pop("secrets", [])
            credentials = list(one.pop("credentials", []))
            for i, secret in enumerate(secrets):
                path = self.dir / f"{one['name']}.secret{i}"
                with open(path, "w", encoding="utf-8",
                          opener=lambda p, f: os.open(p, f, 0o600)) as f:
                    f.write(secret)
                credentials.append({"secret_file": str(path)})
            one["credentials"] = credentials
            path = self.dir / "tenants.d" / f"{one['name']}.cfg"
            path.write_text(libconfig(one), encoding="utf-8")

    def producer(self, name="producer", env=None):
        return Daemon(self, "crmsync-producer", name, env or {})

    def worker(self, name="worker", env=None):
        return Daemon(self, "crmsync-worker", name, env or {})

    def command(self, program_name, *args, deadline_s=60, env=None, input_text=None):
        """Run a command of the command line to its end: `crmsync-producer topics -c FILE --apply`."""
        return self.test.run([program(program_name), args[0], "-c", self.config, *args[1:]],
                             deadline_s, input_text=input_text, env=env)


def tenant(name, mailboxes, secrets=("secret",), tenant_id=None, client_id=None, **more):
    """A tenant for Site. `secrets` become files; other settings by keyword (backfill_days=30)."""
    return {"name": name,
            "tenant_id": tenant_id or "11111111-1111-1111-1111-111111111111",
            "client_id": client_id or "22222222-2222-2222-2222-222222222222",
            "mailboxes": list(mailboxes), "secrets": list(secrets), **more}
