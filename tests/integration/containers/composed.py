"""docker/compose.yaml started service by service with podman, as compose would: the file itself is what is tried.

There is no network but loopback: all services share the namespace of one idle container, and each service, and each
of several workers, has an address of its own in 127.0.0.0/8 that its name means. So 0.0.0.0 in the environment, "all
of this container", becomes that address; nothing else is changed. A key that is not known here is a failure.
"""

import json
import re
import time

import yaml

from crmproc import ROOT, Failure, check, wait_for
from engine import BASE

PATH = ROOT / "docker/compose.yaml"
# read where they are needed; the health check by start(), since not every podman takes a list of words for one
ELSEWHERE = {"build", "image", "depends_on", "command", "healthcheck"}


def seconds(text):
    match = re.fullmatch(r"(\d+)s", text)
    check(match is not None, f"a time that is not in seconds: {text}")
    return match.group(1)


class Composed:
    def __init__(self, engine, scale):
        self.engine = engine
        self.file = yaml.safe_load(PATH.read_text(encoding="utf-8"))
        self.services = self.file["services"]
        self.scale = scale
        self.running = {}  # service: its containers, in the order of their start
        self.number = {name: i + 1 for i, name in enumerate(self.services)}
        for volume in self.file["volumes"]:
            engine.podman("volume", "create", "--label", "crmsync-image-test", self.volume(volume))
        holder = engine.start("net", BASE, ["sleep", "infinity"], ["--network", "none"])
        self.network = ["--network", f"ns:/proc/{holder.pid()}/ns/net"]
        for name in self.services:
            self.network += ["--add-host", f"{name}:{self.address(name)}"]

    def volume(self, name):
        return f"{self.engine.run_id}-{name}"

    def address(self, service, replica=1):
        return f"127.1.{self.number[service]}.{replica}"

    def options(self, name, replica):
        """One service as options of `podman run`."""
        out = list(self.network)
        for key, value in self.services[name].items():
            if key in ELSEWHERE:
                continue
            if key == "read_only":
                out += ["--read-only", "--read-only-tmpfs=false"] if value else []
            elif key == "cap_drop":
                out += [o for cap in value for o in ("--cap-drop", cap)]
            elif key == "security_opt":
                out += [o for opt in value for o in ("--security-opt", opt.removesuffix(":true"))]
            elif key == "pids_limit":
                out += ["--pids-limit", value]
            elif key == "mem_limit":
                out += ["--memory", value]
            elif key == "stop_grace_period":
                out += ["--stop-timeout", seconds(value)]
            elif key == "restart":
                out += ["--restart", value]
            elif key == "entrypoint":
                out += ["--entrypoint", json.dumps(value)]
            elif key == "tmpfs":
                out += [o for path in value for o in ("--tmpfs", path)]
            elif key == "environment":
                for variable, text in value.items():
                    out += ["-e", f"{variable}={text.replace('0.0.0.0', self.address(name, replica))}"]
            elif key == "volumes":
                for text in value:
                    source, rest = text.split(":", 1)
                    source = (PATH.parent / source).resolve() if source.startswith(".") else self.volume(source)
                    out += ["-v", f"{source}:{rest}"]
            elif key == "secrets":
                for secret in value:
                    path = (PATH.parent / self.file["secrets"][secret]["file"]).resolve()
                    out += ["-v", f"{path}:/run/secrets/{secret}:ro"]
            else:
                raise Failure(f"compose.yaml: {name}: {key} is not known to this test")
        return out

    def start(self, name):
        """The service and what it depends on, in order."""
        if name in self.running:
            return
        service = self.services[name]
        for other, how in service.get("depends_on", {}).items():
            self.start(other)
            for container in self.running[other]:
                if how["condition"] == "service_healthy":
                    test = self.services[other]["healthcheck"]["test"]
                    check(test[0] == "CMD", f"{other}: a health check that needs a shell: {test}")
                    wait_for(lambda c=container, t=test: c.exec(*t[1:], ok=False).returncode == 0, 120,
                             f"{other} is healthy", every_s=0.5)
                elif how["condition"] == "service_completed_successfully":
                    code = container.wait_end()
                    check(code == 0, f"{other} ended with {code}:\n{container.logs()[-3000:]}")
                else:
                    check(how["condition"] == "service_started", f"{name}: {how}")
        command = service.get("command", [])
        check(all(isinstance(word, str) for word in command), f"{name}: a word of the command is no text: {command}")
        self.running[name] = [
            self.engine.start(f"{name}-{replica}", f"localhost/{service['image']}", command, self.options(name, replica))
            for replica in range(1, self.scale.get(name, 1) + 1)]

    def up(self):
        begin = time.monotonic()
        for name in self.services:
            self.start(name)
        return time.monotonic() - begin

    def all(self, *names):
        return [container for name in names for container in self.running[name]]

    def stop(self, name):
        """Exit codes after the stop signal, within the grace that the file gives."""
        grace = int(seconds(self.services[name].get("stop_grace_period", "10s")))
        return [container.stop(grace) for container in self.running[name]]
