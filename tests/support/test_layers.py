#!/usr/bin/python3
"""Who may include what: producer and worker meet in common only, and each library has its owners.

Run by ctest as layers.tree; no arguments. Exit 1 with every line that breaks a rule.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)

# our folder -> folders whose headers it may include
FOLDERS = {"common": {"common"}, "producer": {"common", "producer"}, "worker": {"common", "worker"}}

# a library's headers -> the files that may include them; libraries not named here are free
OWNERS = {
    r"librdkafka/": r"common/kafka(\w*\.c|_priv\.h)",
    r"json-c/": r"common/json\w*\.c",
    r"libconfig": r"common/conf\w*\.c",
    r"microhttpd": r"common/admin\.c",
    r"curl/": r"worker/http\w*\.c",
}


def breaches(name, text):
    """What this file includes and must not, as sentences."""
    folder = name.split("/", 1)[0]
    for header in INCLUDE.findall(text):
        first = header.split("/", 1)[0]
        if "/" in header and first in ("common", "producer", "worker", "tests"):
            if first not in FOLDERS[folder]:
                yield f"{name}: includes {header}"
        for library, owners in OWNERS.items():
            if header.startswith(library) and not re.fullmatch(owners, name):
                yield f"{name}: includes {header}, which only {owners} may"


def self_test():
    """The rules do fire."""
    for name, text, count in (
            ("worker/x.c", '#include "producer/y.h"\n', 1), ("worker/x.c", '#include "common/y.h"\n', 0),
            ("common/x.c", '#include "worker/y.h"\n', 1), ("worker/x.c", "#include <curl/curl.h>\n", 1),
            ("worker/http.c", "#include <curl/curl.h>\n", 0), ("common/job.h", "#include <json-c/json.h>\n", 1),
            ("common/kafka_in.c", "#include <librdkafka/rdkafka.h>\n", 0),
            ("producer/x.c", '# include "tests/support/z.h"\n', 1)):
        if len(list(breaches(name, text))) != count:
            sys.exit(f"layers: the check itself is wrong about {name}: {text}")


def main():
    self_test()
    files = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.[ch]"))]
    found = [b for p in files
             for b in breaches(str(p.relative_to(ROOT)), p.read_text(encoding="utf-8"))]
    print("\n".join(found) if found else f"layers: {len(files)} files keep the rules")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
