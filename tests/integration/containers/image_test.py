#!/usr/bin/python3
"""What `./run image-test` does: builds the images, then every story of this folder.

    image_test.py [NAME...]     those only; the images must have been built
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import test_compose  # noqa: E402
import test_image  # noqa: E402
import test_kubernetes  # noqa: E402
from crmtest import ROOT, check, kafka_bed, main  # noqa: E402
from engine import Engine  # noqa: E402

VERSION = "0.1.0"


def revision():
    run = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True, check=False)
    return run.stdout.strip() or "unknown"


def build_images(t):
    engine = Engine()
    t.undo(engine.close)
    engine.base()
    jars = kafka_bed.fetch(kafka_bed.MAIN)
    for target in ("crmsync", "kafka", "graphsim", "consumer"):
        tag = f"localhost/{'crmsync' if target == 'crmsync' else 'crmsync-' + target}:{VERSION}"
        seconds = engine.build(target, tag, args=["--build-arg", f"VERSION={VERSION}", "--build-arg", f"REVISION={revision()}",
                                                  "--build-context", f"kafka-jars={jars}"])
        print(f"{tag}: {engine.image(tag)['Size'] / 1e6:.1f} MB, built in {seconds:.0f} s", flush=True)


def a_bare_debian_13(t):
    """`./run demo` and the unit tests where nothing is installed, with the compiler and the libraries of Debian 13."""
    engine = Engine()
    t.undo(engine.close)
    engine.base()
    seconds = engine.build("check", "localhost/crmsync-check:13")
    log = engine.build_log.read_text(encoding="utf-8", errors="replace")
    for words in ("all stopped, exit code 0 each", "100% tests passed"):
        check(words in log, f"the build does not say: {words}")
    print(f"demo and unit tests on a bare Debian 13: {seconds:.0f} s", flush=True)


def stories(*modules):
    return [value for module in modules for name, value in vars(module).items() if name.startswith("test_")]


if __name__ == "__main__":
    os.environ.setdefault("CRMSYNC_BIN", str(ROOT / "build/release/bin"))
    main(build_images, *stories(test_image, test_compose, test_kubernetes), a_bare_debian_13)
