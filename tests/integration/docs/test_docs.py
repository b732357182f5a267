#!/usr/bin/python3
"""What the README shows is what there is: examples equal the files that tests run, commands exist, links lead somewhere."""

import re
import shutil
import sys

from crmtest import ROOT, check, check_equal, main, partition_of, program

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_examples_equal_their_files(t):
    for name, least in (("README.md", 3), ("docker/consumers/README.md", 3)):
        page = (ROOT / name).read_text(encoding="utf-8")
        found = re.findall(r"<!-- example: (\S+) -->\n```\w*\n(.*?)```", page, re.S)
        check(len(found) >= least, f"{name}: only {len(found)} examples are tied to a file")
        for path, text in found:
            check_equal(text, (ROOT / path).read_text(encoding="utf-8"), f"{name}: {path}")


def test_the_partitioner_shown_is_right(t):
    page = (ROOT / "docker/consumers/README.md").read_text(encoding="utf-8")
    scope = {}
    exec(re.search(r"```python\n(.*?)```", page, re.S).group(1), scope)  # the page's own words
    check_equal(scope["partition"]("acme", "ann@contoso.example", 2**31), 81113201, "the vector")
    for n in range(200):
        mailbox = "m" * (n % 9) + str(n) + "@contoso.example"
        check_equal(scope["partition"]("t-1", mailbox, 24), partition_of(f"t-1/{mailbox}", 24), mailbox)


def test_the_configuration_shown_is_accepted(t):
    shutil.copytree(ROOT / "tests/data/config", t.dir / "config")
    secret = t.dir / "secret"
    secret.write_text("x")
    tenant = t.dir / "config/tenants.d/acme.cfg"
    tenant.write_text(tenant.read_text().replace("/run/secrets/acme-client-secret", str(secret)))
    for name in ("crmsync-producer", "crmsync-worker"):
        result = t.run([program(name), "check-config", "-c", t.dir / "config/crmsync.cfg"])
        check_equal(result.returncode, 0, f"{name} check-config: {result.stdout}{result.stderr}")
        printed = t.run([program(name), "run", "-c", t.dir / "config/crmsync.cfg", "--print-config"])
        check_equal(printed.returncode, 0, f"{name} --print-config: {printed.stderr}")
        check("poll_min_ms" in printed.stdout or name == "crmsync-worker", f"{name} does not print its settings")


def test_wrong_configuration_is_refused_with_file_line_and_key(t):
    shutil.copytree(ROOT / "tests/data/config", t.dir / "config")
    main_file = t.dir / "config/crmsync.cfg"
    good = main_file.read_text()
    wrong = {
        'delivery = "exactly_once"': ('delivery = "exactly_twice"', "kafka.delivery"),
        "poll_min_ms = 15000;": ("poll_min_ms = 99999999999;", "poll_min_ms"),
        "poll_max_ms = 300000;": ("poll_maximum_ms = 300000;", "poll_maximum_ms"),
        'base_url = "https://graph.microsoft.com"': ('base_url = "http://graph.microsoft.com"', "graph.base_url"),
    }
    for old, (new, key) in wrong.items():
        check(old in good, f"the sample has no {old}")
        main_file.write_text(good.replace(old, new))
        result = t.run([program("crmsync-producer"), "check-config", "-c", main_file])
        check_equal(result.returncode, 78, f"exit code for {new}: {result.stderr}")
        check("crmsync.cfg" in result.stderr and key in result.stderr, f"{new}: {result.stderr}")
        started = t.run([program("crmsync-producer"), "run", "-c", main_file])
        check_equal(started.returncode, 78, f"exit code of run for {new}")


def test_files_named_in_the_readme_exist(t):
    for path in re.findall(r"`((?:\w+/)+[\w.]+|[A-Z]+\.md|LICENSE)`", README):
        check((ROOT / path).exists() or path.startswith("build/"), f"the README names {path}")


def test_exit_codes_of_the_command_line(t):
    for name in ("crmsync-producer", "crmsync-worker"):
        check_equal(t.run([program(name), "--help"]).returncode, 0, f"{name} --help")
        check_equal(t.run([program(name), "--version"]).returncode, 0, f"{name} --version")
        check_equal(t.run([program(name), "frobnicate"]).returncode, 64, f"{name} with an unknown verb")
        check_equal(t.run([program(name)]).returncode, 64, f"{name} alone")
        check_equal(t.run([program(name), "run", "-c", t.dir / "nowhere.cfg"]).returncode, 78, f"{name} without a file")
    for verb in ("run", "check-config", "health", "topics", "status", "pause", "resume", "sync-now", "resync", "replay"):
        shown = t.run([program("crmsync-producer"), verb, "--help"])
        check_equal((shown.returncode, shown.stdout.startswith(f"usage: crmsync-producer {verb}")), (0, True), f"{verb} --help")


if __name__ == "__main__":
    main(*[value for name, value in list(globals().items()) if name.startswith("test_")])
