"""Debian's buildah and podman without a daemon, a registry or systemd: images and containers for the tests here.

Everything lies in one folder of the user's cache: the base image that debootstrap makes, the layers of earlier
builds, the containers. One run at a time uses it; what an interrupted run left behind goes first. Root only.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from crmproc import ROOT, Failure, wait_for

BASE = "localhost/debian:13"
BASE_DAYS = 7  # then it is made anew, so that the packages in it stay current
UID = 65532
LABEL = "crmsync-image-test"
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]


class Engine:
    def __init__(self):
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.folder = Path(cache) / "crmsync" / "containers"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run_id = f"crmsync-{os.getpid()}"
        self.build_log = self.folder / "build.log"
        conf = self.folder / "storage.conf"
        conf.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/store"\nrunroot = "{self.folder}/run"\n',
                        encoding="utf-8")
        self.env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(conf), "TMPDIR": str(self.folder)}
        self.lock = open(self.folder / "lock", "w", encoding="ascii")  # pylint: disable=consider-using-with
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another run uses {self.folder}") from None
        self.clean()

    def _run(self, argv, deadline_s, ok=True):
        try:
            run = subprocess.run([str(a) for a in argv], env=self.env, text=True, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=deadline_s, check=False)
        except subprocess.TimeoutExpired:
            raise Failure(f"{argv[0]} {argv[1]} did not end within {deadline_s} s") from None
        if ok and run.returncode != 0:
            raise Failure(f"{' '.join(str(a) for a in argv[:12])}: {run.returncode}\n{(run.stdout + run.stderr)[-3000:]}")
        return run

    def podman(self, *args, deadline_s=120, ok=True):
        return self._run(["podman", "--cgroup-manager=cgroupfs", "--runtime", "runc", *args], deadline_s, ok)

    def clean(self):
        """Removes the containers and volumes of this and of interrupted runs; images stay."""
        names = self.podman("ps", "-aq", "--filter", f"label={LABEL}").stdout.split()
        if names:
            self.podman("rm", "-f", "--depend", "--time", "1", *names)
        volumes = self.podman("volume", "ls", "-q", "--filter", f"label={LABEL}").stdout.split()
        if volumes:
            self.podman("volume", "rm", "-f", *volumes)

    def close(self):
        self.clean()
        # layers of earlier builds make the next one quick, for as long as the base is current
        self.podman("image", "prune", "-f", "--filter", "until=168h", deadline_s=600)
        self.lock.close()

    # --- images ---------------------------------------------------------------------------------

    def base(self):
        """A minimal Debian 13 as BASE, by debootstrap from Debian's own archive."""
        found = self.podman("image", "inspect", "--format", "{{.Created.Unix}}", BASE, ok=False)
        if found.returncode == 0 and time.time() - int(found.stdout) < BASE_DAYS * 86400:
            return
        with tempfile.TemporaryDirectory(prefix="base.", dir=self.folder) as work:
            root = Path(work) / "root"
            self._run(["debootstrap", "--variant=minbase", "trixie", root], 1200)
            shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
            for lists in (root / "var/lib/apt/lists").iterdir():
                if lists.is_file():
                    lists.unlink()
            with tarfile.open(Path(work) / "root.tar", "w") as tar:
                tar.add(root, ".", filter=lambda m: None if m.name.startswith("./dev/") else m)
            self.podman("import", Path(work) / "root.tar", BASE, deadline_s=300)

    def build(self, target, tag, dockerfile=ROOT / "docker/Dockerfile", context=ROOT, args=()):
        """Builds one target of a Dockerfile; unchanged layers are taken from earlier builds."""
        ignore = Path(f"{dockerfile}.dockerignore")
        argv = ["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers", *LIMITS,
                "--build-arg", f"BASE={BASE}", "-f", dockerfile, "-t", tag, *args]
        if target:
            argv += ["--target", target]
        if ignore.exists():
            argv += ["--ignorefile", ignore]
        begin = time.monotonic()
        with open(self.build_log, "w", encoding="utf-8") as log:
            run = subprocess.run([str(a) for a in [*argv, context]], env=self.env, stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log, timeout=3000, check=False)
        if run.returncode != 0:
            raise Failure(f"{tag} does not build:\n" + self.build_log.read_text(errors="replace")[-6000:])
        return time.monotonic() - begin

    def image(self, tag):
        return json.loads(self.podman("image", "inspect", tag).stdout)[0]

    @contextlib.contextmanager
    def files(self, tag):
        """The image's root file system as a folder, to look at."""
        path = self.podman("image", "mount", tag).stdout.strip()
        try:
            yield Path(path)
        finally:
            self.podman("image", "unmount", tag)

    # --- containers -----------------------------------------------------------------------------

    def start(self, name, image, argv=(), options=()):
        container = Container(self, f"{self.run_id}-{name}")
        # systemd, which podman would ask for timers, may not be there: we ask for health ourselves
        self.podman("run", "-d", "--name", container.name, "--label", LABEL, "--health-interval", "disable",
                    *LIMITS, *options, image, *argv)
        return container

    def once(self, image, argv, options=(), ok=True, deadline_s=120):
        """A container that runs to its end."""
        return self.podman("run", "--rm", "--label", LABEL, "--health-interval", "disable", *LIMITS, *options, image,
                           *argv, ok=ok, deadline_s=deadline_s)


class Container:
    def __init__(self, engine, name):
        self.engine = engine
        self.name = name

    def state(self):
        return json.loads(self.engine.podman("inspect", self.name).stdout)[0]["State"]

    def pid(self):
        pid = self.state()["Pid"]
        if not pid:
            raise Failure(f"{self.name} does not run:\n{self.logs()[-3000:]}")
        return pid

    def running(self):
        return self.state()["Status"] == "running"

    def logs(self):
        run = self.engine.podman("logs", self.name)
        return run.stdout + run.stderr

    def exec(self, *argv, ok=True):
        return self.engine.podman("exec", self.name, *argv, ok=ok)

    def healthy(self):
        """Asks what the image's or the run's own health check asks."""
        return self.engine.podman("healthcheck", "run", self.name, ok=False).returncode == 0

    def wait_healthy(self, deadline_s=120):
        def ask():
            if not self.running():
                raise Failure(f"{self.name} has ended:\n{self.logs()[-3000:]}")
            return self.healthy()

        wait_for(ask, deadline_s, f"{self.name} is healthy", every_s=0.5)
        return self

    def wait_end(self, deadline_s=120):
        """Its exit code when it has ended by itself."""
        return int(self.engine.podman("wait", self.name, deadline_s=deadline_s).stdout)

    def stop(self, grace_s=60):
        """The stop signal of its image, and the exit code. 137: it was killed after the grace."""
        self.engine.podman("stop", "--time", grace_s, self.name, deadline_s=grace_s + 60)
        return self.state()["ExitCode"]

    def process(self):
        """What the kernel says of its first process: {"Uid": ..., "CapEff": ...}."""
        lines = Path(f"/proc/{self.pid()}/status").read_text(encoding="utf-8").splitlines()
        return {key: value.split() for key, value in (line.split(":", 1) for line in lines)}

    def root_options(self):
        """Mount options of its root."""
        for line in Path(f"/proc/{self.pid()}/mountinfo").read_text(encoding="utf-8").splitlines():
            fields = line.split()
            if fields[4] == "/":
                return fields[5].split(",")
        raise Failure(f"{self.name} has no root")
