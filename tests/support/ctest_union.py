#!/usr/bin/python3
"""Write one CTest folder that runs the tests of several builds, so that one line counts them all.

    ctest_union.py OUT_DIR MAIN_BUILD [PREFIX=BUILD:LABEL_REGEX ...]

Tests of MAIN_BUILD keep their names. Of each further build those whose label matches LABEL_REGEX are
added as PREFIX.NAME with the further label PREFIX; fixtures and dependencies get the prefix too, so
the builds do not meet. Then: ctest --test-dir OUT_DIR.
"""

import json
import subprocess
import sys
from pathlib import Path

RENAMED = ("FIXTURES_SETUP", "FIXTURES_CLEANUP", "FIXTURES_REQUIRED", "DEPENDS")


def quote(text):
    """A CMake bracket argument: nothing inside is special."""
    level = 0
    while f"]{'=' * level}]" in text or text.endswith("]" + "=" * level):
        level += 1
    # a newline right after the opening bracket would be dropped
    return f"[{'=' * level}[{text}]{'=' * level}]"


def tests_of(build, labels=None):
    cmd = ["ctest", "--test-dir", str(build), "--show-only=json-v1"]
    if labels:
        cmd += ["-L", labels]
    run = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout)["tests"]


def value_text(value):
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, list):
        return ";".join(value_text(v) for v in value)
    if isinstance(value, dict):  # REQUIRED_FILES and the like never are; regexes come as lists
        raise SystemExit(f"ctest_union: a property of unknown form: {value}")
    return str(value)


def thread_sanitizer_needs_fixed_layout():
    """gcc 12's thread sanitizer knows no address layout with more than 28 random bits."""
    try:
        return int(Path("/proc/sys/vm/mmap_rnd_bits").read_text(encoding="ascii")) > 28
    except (OSError, ValueError):
        return False


def lines_for(tests, prefix):
    launcher = []
    if prefix == "tsan" and thread_sanitizer_needs_fixed_layout():
        launcher = ["/usr/bin/setarch", "-R"]
    for test in tests:
        name = f"{prefix}.{test['name']}" if prefix else test["name"]
        if "command" not in test:
            raise SystemExit(f"ctest_union: {name} has no program: build it first")
        command = " ".join(quote(arg) for arg in launcher + test["command"])
        yield f"add_test({quote(name)} {command})"
        labels_seen = False
        for prop in test.get("properties", ()):
            key, value = prop["name"], prop["value"]
            if prefix and key in RENAMED:
                value = [f"{prefix}.{v}" for v in (value if isinstance(value, list) else [value])]
            if prefix and key == "LABELS":
                value = [*(value if isinstance(value, list) else [value]), prefix]
                labels_seen = True
            yield f"set_tests_properties({quote(name)} PROPERTIES {key} {quote(value_text(value))})"
        if prefix and not labels_seen:
            yield f"set_tests_properties({quote(name)} PROPERTIES LABELS {prefix})"


def main(argv):
    if len(argv) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    out, main_build = Path(argv[0]), Path(argv[1]).resolve()
    lines = ["# Written by ctest_union.py at each run."]
    lines += lines_for(tests_of(main_build), "")
    for arg in argv[2:]:
        prefix, rest = arg.split("=", 1)
        build, labels = rest.split(":", 1)
        lines += lines_for(tests_of(Path(build).resolve(), labels), prefix)
    out.mkdir(parents=True, exist_ok=True)
    (out / "CTestTestfile.cmake").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
