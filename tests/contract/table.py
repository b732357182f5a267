#!/usr/bin/python3
"""The table "behaviour of Microsoft Graph -> tests that show it", from rows.txt and the tags in the tests.

A tag is "contract: ID ID ..." in a comment or a string of a test source. It belongs to the test in whose body it stands,
else to the next test. With no arguments: checks, prints the table; exit code 1 where a row
has no test or a tag names no row. --output FILE writes it as Markdown.
"""

import argparse
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
NEEDS = ("both", "client", "unused")
ID = r"[a-z0-9_]+(?:\.[a-z0-9_]+)+"
TAG = re.compile(rf"contract:((?:\s+{ID}(?![A-Za-z0-9_.]))+)")
TEST = re.compile(r"^(?:static void (test_\w+)\(|def (test_\w+)\(|    def (test_\w+)\()")


def read_rows(text):
    """[(id, needs, text)] in order; ValueError names the line."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("|", 2)]
        if len(cells) != 3 or not re.fullmatch(ID, cells[0]) or cells[1] not in NEEDS or not cells[2]:
            raise ValueError(f"rows.txt:{number}: 'id | {' or '.join(NEEDS)} | text' is needed")
        if any(cells[0] == row[0] for row in rows):
            raise ValueError(f"rows.txt:{number}: {cells[0]} stands there twice")
        rows.append(tuple(cells))
    return rows


def read_tags(text):
    """[(line, id, test or None)]: a tag inside a test is that test's, any other the next one's."""
    tags, waiting, current = [], [], None
    for number, line in enumerate(text.splitlines(), 1):
        test = TEST.match(line)
        if test:
            current = next(name for name in test.groups() if name)
            tags += [(n, i, current) for n, i in waiting]
            waiting = []
        elif line[:1] not in ("", " ", "\t", "#", "/", "{"):
            current = None  # out of the test's body: a table, say, for the next one
        for found in TAG.finditer(line):
            for i in found.group(1).split():
                if line[0] in " \t" and current:
                    tags.append((number, i, current))
                else:
                    waiting.append((number, i))
    return tags + [(n, i, None) for n, i in waiting]


def sources(root):
    """Test sources: of the simulator, its selftests; of the rest whatever is named test_*."""
    yield from sorted(p for p in root.rglob("*") if p.suffix in (".py", ".c") and p.is_file() and
                      (p.name.startswith("test_") or p.name.startswith("selftest")) and p != HERE / "test_table.py")


def is_run(text, test):
    """Registered: named a second time, or found by a runner that takes all."""
    return len(re.findall(rf"\b{test}\b", text)) > 1 or "globals()" in text or "unittest" in text


def collect(rows, root):
    """({id: {"simulator": [...], "client": [...]}}, [what is wrong])"""
    shown = {row[0]: {"simulator": [], "client": []} for row in rows}
    wrong = []
    for path in sources(root):
        name = path.relative_to(root).as_posix()
        side = "simulator" if name.startswith("graphsim/") else "client"
        text = path.read_text(encoding="utf-8")
        for line, i, test in read_tags(text):
            if test and not is_run(text, test):
                wrong.append(f"tests/{name}: {test} is never run")
            if i not in shown:
                wrong.append(f"tests/{name}:{line}: {i} is no row of rows.txt")
            elif test is None:
                wrong.append(f"tests/{name}:{line}: {i} belongs to no test")
            elif f"{name}: {test}" not in shown[i][side]:
                shown[i][side].append(f"{name}: {test}")
    for i, needs, text in rows:
        if needs in ("both", "client") and not shown[i]["client"]:
            wrong.append(f"{i}: no test shows what we make of it ({text})")
        if needs == "both" and not shown[i]["simulator"]:
            wrong.append(f"{i}: no selftest shows that the simulator does it ({text})")
    return shown, wrong


def markdown(rows, shown):
    lines = ["| row | behaviour | simulator | what we make of it |", "|---|---|---|---|"]
    for i, needs, text in rows:
        cells = ["<br>".join(f"`{test}`" for test in shown[i][side]) for side in ("simulator", "client")]
        if needs == "unused":
            cells = ["unused", "unused"]
        elif needs == "client" and not cells[0]:
            cells[0] = "by fault rule"
        lines.append(f"| {i} | {text} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def run(argv=None):
    args = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    args.add_argument("--output", type=pathlib.Path, help="write the table there")
    args = args.parse_args(argv)
    try:
        rows = read_rows((HERE / "rows.txt").read_text(encoding="utf-8"))
    except ValueError as e:
        print(e, file=sys.stderr)
        return 1
    shown, wrong = collect(rows, TESTS)
    table = markdown(rows, shown)
    if args.output:
        args.output.write_text(table, encoding="utf-8")
    else:
        print(table, end="")
    for line in wrong:
        print(line, file=sys.stderr)
    tested = sum(1 for row in rows if row[1] != "unused")
    print(f"{len(rows)} rows, {tested} with tests, {len(rows) - tested} unused, {len(wrong)} wrong", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(run())
