"""Processes with deadlines, and the frame of an integration test.

    def test_something(t):                    # t: Test
        broker = DevBroker(t)
        ...
    main(test_something, test_other)          # runs those named in argv, or all

A test fails by raising; Failure carries a sentence. Whatever the end, every process that the test
started is stopped by its pid. On success each must have ended with exit code 0 after SIGTERM, so a
sanitizer's report at exit is a failure too; on failure the ends of their logs are printed and the
test's folder stays (named in the output).
"""

import contextlib
import json
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Failure(AssertionError):
    """What the test found wrong, in one sentence."""


def check(condition, sentence):
    if not condition:
        raise Failure(sentence)


def check_equal(have, want, what):
    if have != want:
        raise Failure(f"{what}: have {have!r}, want {want!r}")


def wait_for(predicate, deadline_s, what, every_s=0.05):
    """Return the first true value of predicate(); Failure after deadline_s.

    The predicate is asked again and again because what it looks at cannot call us. An exception of
    the predicate is the test's failure: it must answer something false while it does not know.
    """
    until = time.monotonic() + deadline_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > until:
            raise Failure(f"not within {deadline_s} s: {what}")
        time.sleep(every_s)


def bin_dir():
    """The programs under test: CRMSYNC_BIN, else the dev build."""
    return Path(os.environ.get("CRMSYNC_BIN") or ROOT / "build" / "dev" / "bin").resolve()


def program(name):
    path = bin_dir() / name
    if not path.is_file():
        raise Failure(f"{path} is not built")
    return str(path)


def http(method, url, body=None, headers=None, timeout_s=10):
    """One request; (status, bytes). Any status is an answer, no connection is OSError."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    # no proxy from the environment: everything is on loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read()


class Proc:
    """A program that runs until it is told to stop.

    Start it from the main thread: it dies with the thread that started it (so nothing survives a
    test that is killed). It is in a session of its own, so Ctrl-C reaches the test alone. `lines` reads standard output line by line; else output goes to log_path
    together with standard error.
    """

    def __init__(self, argv, name, folder, env=None, stdin=False, lines=False):
        self.name = name
        self.log_path = Path(folder) / f"{name}.log"
        self.argv = [str(a) for a in argv]
        full_env = dict(os.environ)
        full_env.update({k: str(v) for k, v in (env or {}).items()})
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.argv], env=full_env,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE if lines else log, stderr=log, start_new_session=True)
        self.pid = self.popen.pid
        self.expected_dead = False
        self._lines = queue.Queue()
        if lines:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.popen.stdout:
            self._lines.put(line.decode("utf-8", "replace").rstrip("\n"))
        self._lines.put(None)

    def line(self, deadline_s=10, what="a line"):
        """The next line of standard output."""
        try:
            text = self._lines.get(timeout=deadline_s)
        except queue.Empty:
            raise Failure(f"{self.name}: no {what} within {deadline_s} s") from None
        if text is None:
            self._lines.put(None)
            code = self.popen.wait(10)
            raise Failure(f"{self.name}: ended with {code} before {what}\n{self.log_tail()}")
        return text

    def send(self, text):
        self.popen.stdin.write(text.encode())
        self.popen.stdin.flush()

    def running(self):
        return self.popen.poll() is None

    def signal(self, sig):
        # Popen knows whether it has reaped the process, so this never hits a reused pid
        self.popen.send_signal(sig)

    def wait(self, deadline_s):
        """Exit code (negative: by that signal); Failure if it runs on."""
        try:
            code = self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {deadline_s} s") from None
        self.expected_dead = True
        return code

    def stop(self, deadline_s=20):
        """SIGTERM and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline_s)

    def kill(self):
        """kill -9, gone when this returns."""
        self.popen.kill()
        return self.wait(10)

    def cleanup(self, orderly):
        """Ends it whatever state it is in. Returns what was wrong with its end, or None."""
        wrong = None
        if self.popen.poll() is None and orderly:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                code = self.popen.wait(20)
                if code != 0:
                    wrong = f"{self.name} ended with {code} after SIGTERM"
            except subprocess.TimeoutExpired:
                wrong = f"{self.name} did not end within 20 s of SIGTERM"
        elif not self.expected_dead and self.popen.poll() not in (None, 0):
            wrong = f"{self.name} had ended by itself with {self.popen.returncode}"
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(10)
        if self.popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # what was not yet written has no reader
                self.popen.stdin.close()
        return wrong

    def log_text(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_tail(self, count=3000):
        return self.log_text()[-count:]

    def log_events(self, event=None):
        """The JSON lines of the log, as dicts; only those named `event` if given."""
        found = []
        for line in self.log_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                try:
                    entry = json.loads(line)
                except ValueError:
                    raise Failure(f"{self.name}: a log line is no JSON: {line[:200]}") from None
                if event is None or entry.get("event") == event:
                    found.append(entry)
        return found


class Test:
    """What one test owns: a folder, a topic prefix, processes, things to undo."""

    def __init__(self, name):
        self.name = name
        self.dir = Path(tempfile.mkdtemp(prefix=f"crmtest-{name[:40]}-"))
        os.chmod(self.dir, 0o700)
        # unlike any other test's on the shared broker, also of an earlier run
        self.prefix = f"t{os.getpid()}-{os.urandom(4).hex()}."
        self.procs = []
        self._undo = []

    def start(self, argv, name, **kw):
        proc = Proc(argv, name, self.dir, **kw)
        self.procs.append(proc)
        return proc

    def run(self, argv, deadline_s=60, input_text=None, env=None):
        """Run a program to its end: subprocess.CompletedProcess with text output."""
        full_env = dict(os.environ)
        full_env.update({k: str(v) for k, v in (env or {}).items()})
        kw = {"input": input_text} if input_text is not None else {"stdin": subprocess.DEVNULL}
        try:
            return subprocess.run([str(a) for a in argv], text=True, timeout=deadline_s,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=full_env,
                                  check=False, **kw)
        except subprocess.TimeoutExpired:
            raise Failure(f"{argv[0]} did not end within {deadline_s} s") from None

    def undo(self, function):
        """To be called at the end, last first; its exceptions fail a test that had succeeded."""
        self._undo.append(function)

    def close(self, failed):
        """End everything. Returns what went wrong in doing so, as sentences."""
        wrong = []
        for proc in reversed(self.procs):
            problem = proc.cleanup(orderly=not failed)
            if problem:
                wrong.append(problem)
        for function in reversed(self._undo):
            try:
                function()
            except Exception as e:  # pylint: disable=broad-except
                wrong.append(f"{type(e).__name__}: {e}")
        if failed or wrong:
            for proc in self.procs:
                print(f"--- end of {proc.log_path}:\n{proc.log_tail()}", file=sys.stderr)
            print(f"--- kept: {self.dir}", file=sys.stderr, flush=True)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        return wrong


def run_test(function):
    """Run one; True if it succeeded."""
    name = function.__name__
    begin = time.monotonic()
    t = Test(name)
    failed = True
    try:
        function(t)
        failed = False
    except Failure as e:
        print(f"FAILED {name}: {e}", file=sys.stderr, flush=True)
        frame = traceback.extract_tb(e.__traceback__)
        for f in frame:
            if f.name != "run_test":
                print(f"  at {f.filename}:{f.lineno} {f.name}", file=sys.stderr)
    except Exception:  # pylint: disable=broad-except
        print(f"FAILED {name}:", file=sys.stderr)
        traceback.print_exc()
    finally:
        wrong = t.close(failed)
    for sentence in wrong:
        print(f"FAILED {name}: {sentence}", file=sys.stderr)
    if not failed and not wrong:
        print(f"ok {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    return not failed and not wrong


def on_sigterm(signum, frame):
    raise SystemExit(128 + signum)  # so that every finally runs


def main(*functions):
    """Run the functions named on the command line, or all; exit 1 if one failed."""
    signal.signal(signal.SIGTERM, on_sigterm)
    wanted = sys.argv[1:]
    by_name = {f.__name__: f for f in functions}
    for name in wanted:
        if name not in by_name:
            print(f"no test {name}; there are: {' '.join(by_name)}", file=sys.stderr)
            sys.exit(64)
    results = [run_test(by_name[n]) for n in wanted or by_name]
    sys.exit(0 if all(results) and results else 1)


def wait_pid_gone(pid, deadline_s):
    """True when a process that is not our child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(deadline_s * 1000))
    finally:
        os.close(fd)
