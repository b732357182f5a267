#!/usr/bin/python3
"""Write one CTest folder that runs the tests of several builds, so that one line counts them all.

    ctest_union.py OUT_DIR MAIN_BUILD [PREFIX=BUILD:LABEL_REGEX ...]

Tests of MAIN_BUILD keep their names. Of each further build those with a label that LABEL_REGEX
matches are added as PREFIX.NAME with the further label PREFIX. Fixtures and dependencies among them get the prefix
too, so the builds do not meet; what they need and were not selected with (the broker) is MAIN_BUILD's,
and so is its env.json. Then: ctest --test-dir OUT_DIR.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

RENAMED = ("FIXTURES_SETUP", "FIXTURES_CLEANUP", "FIXTURES_REQUIRED", "DEPENDS")
BROKER_ENV = "CRMSYNC_TEST_KAFKA_ENV="


def quote(text):
    """A CMake bracket argument: nothing inside is special."""
    level = 0
    while f"]{'=' * level}]" in text or text.endswith("]" + "=" * level):
        level += 1
    # a newline right after the opening bracket would be dropped
    return f"[{'=' * level}[{text}]{'=' * level}]"


def tests_of(build, labels=None):
    """The tests as ctest tells them. Chosen by label here: ctest -L brings the fixtures along."""
    cmd = ["ctest", "--test-dir", str(build), "--show-only=json-v1"]
    run = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    tests = json.loads(run.stdout)["tests"]
    return [t for t in tests if labels is None or any(
        re.fullmatch(labels, label) for prop in t.get("properties", ())
        if prop["name"] == "LABELS" for label in as_list(prop["value"]))]


def as_list(value):
    return value if isinstance(value, list) else [value]


def value_text(value):
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, list):
        return ";".join(value_text(v).replace(";", "\\;") for v in value)
    if isinstance(value, dict):  # REQUIRED_FILES and the like never are; regexes come as lists
        raise SystemExit(f"ctest_union: a property of unknown form: {value}")
    return str(value)


def thread_sanitizer_needs_fixed_layout():
    """gcc 12's thread sanitizer knows no address layout with more than 28 random bits."""
    try:
        return int(Path("/proc/sys/vm/mmap_rnd_bits").read_text(encoding="ascii")) > 28
    except (OSError, ValueError):
        return False


def broker_env(tests):
    """The setting of CRMSYNC_TEST_KAFKA_ENV that a build's tests have, or None."""
    for test in tests:
        for prop in test.get("properties", ()):
            if prop["name"] == "ENVIRONMENT":
                for entry in as_list(prop["value"]):
                    if entry.startswith(BROKER_ENV):
                        return entry
    return None


def lines_for(tests, prefix="", main_broker=None):
    launcher = []
    if prefix == "tsan" and thread_sanitizer_needs_fixed_layout():
        launcher = ["/usr/bin/setarch", "-R"]
    own = {v for test in tests for prop in test.get("properties", ())
           if prop["name"] == "FIXTURES_SETUP" for v in as_list(prop["value"])}
    own |= {test["name"] for test in tests}
    for test in tests:
        name = f"{prefix}.{test['name']}" if prefix else test["name"]
        if "command" not in test:
            raise SystemExit(f"ctest_union: {name} has no program: build it first")
        command = " ".join(quote(arg) for arg in launcher + test["command"])
        yield f"add_test({quote(name)} {command})"
        labels = []
        for prop in test.get("properties", ()):
            key, value = prop["name"], prop["value"]
            if prefix and key in RENAMED:
                value = [f"{prefix}.{v}" if v in own else v for v in as_list(value)]
            if prefix and key == "ENVIRONMENT" and main_broker:
                value = [main_broker if v.startswith(BROKER_ENV) else v for v in as_list(value)]
            if key == "LABELS":
                labels = as_list(value)
                continue
            yield f"set_tests_properties({quote(name)} PROPERTIES {key} {quote(value_text(value))})"
        if prefix:
            labels = [*labels, prefix]
        if labels:
            yield f"set_tests_properties({quote(name)} PROPERTIES LABELS {quote(value_text(labels))})"


def main(argv):
    if len(argv) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    out, main_build = Path(argv[0]), Path(argv[1]).resolve()
    lines = ["# Written by ctest_union.py at each run."]
    main_tests = tests_of(main_build)
    lines += lines_for(main_tests)
    for arg in argv[2:]:
        prefix, rest = arg.split("=", 1)
        build, labels = rest.split(":", 1)
        lines += lines_for(tests_of(Path(build).resolve(), labels), prefix, broker_env(main_tests))
    out.mkdir(parents=True, exist_ok=True)
    (out / "CTestTestfile.cmake").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
