#!/usr/bin/python3
"""ctest_union.py: one closing line that counts every test of every build, and no failure lost."""

import re
import sys

from crmtest import ROOT, check, check_equal, main

MAIN = r"""
add_test([=[up]=] /bin/true)
set_tests_properties([=[up]=] PROPERTIES FIXTURES_SETUP kafka LABELS integration)
add_test([=[plain]=] /bin/sh -c [==[test "$A" = 'x;y z' && test "$CRMSYNC_TEST_KAFKA_ENV" = /main/env.json]==])
set_tests_properties([=[plain]=] PROPERTIES LABELS unit FIXTURES_REQUIRED kafka ENVIRONMENT
  [==[A=x\;y z;CRMSYNC_TEST_KAFKA_ENV=/main/env.json]==])
add_test([=[down]=] /bin/true)
set_tests_properties([=[down]=] PROPERTIES FIXTURES_CLEANUP kafka LABELS integration)
"""
OTHER = r"""
add_test([=[plain]=] /bin/sh -c [==[test "$CRMSYNC_TEST_KAFKA_ENV" = /main/env.json && echo "[[ ]=] \$"]==])
set_tests_properties([=[plain]=] PROPERTIES LABELS fault FIXTURES_REQUIRED [==[kafka;own]==] ENVIRONMENT
  [==[CRMSYNC_TEST_KAFKA_ENV=/other/env.json]==] PASS_REGULAR_EXPRESSION [==[\[\[ \]=\]]==])
add_test([=[own_up]=] /bin/true)
set_tests_properties([=[own_up]=] PROPERTIES LABELS unit FIXTURES_SETUP own)
add_test([=[later]=] /bin/true)
set_tests_properties([=[later]=] PROPERTIES LABELS unit DEPENDS plain)
add_test([=[up]=] /bin/false)
set_tests_properties([=[up]=] PROPERTIES FIXTURES_SETUP kafka LABELS integration)
add_test([=[not_chosen]=] /bin/false)
set_tests_properties([=[not_chosen]=] PROPERTIES LABELS integration)
"""


def union(t, other=OTHER):
    for name, text in (("main", MAIN), ("other", other)):
        (t.dir / name).mkdir()
        (t.dir / name / "CTestTestfile.cmake").write_text(text)
    made = t.run(["/usr/bin/python3", "-B", ROOT / "tests/support/ctest_union.py", t.dir / "all",
                  t.dir / "main", f"asan={t.dir / 'other'}:unit|fault"])
    check_equal((made.returncode, made.stderr), (0, ""), "ctest_union")
    return t.run(["ctest", "--test-dir", t.dir / "all", "--output-on-failure"])


def all_are_counted(t):
    run = union(t)
    check_equal(run.returncode, 0, f"exit code of\n{run.stdout}")
    check("100% tests passed, 0 tests failed out of 6" in run.stdout, run.stdout)
    order = re.findall(r"Test +#\d+: (\S+)", run.stdout)
    check_equal(sorted(order), ["asan.later", "asan.own_up", "asan.plain", "down", "plain", "up"],
                "tests")
    for before, after in (("up", "plain"), ("up", "asan.plain"), ("asan.own_up", "asan.plain"),
                          ("asan.plain", "asan.later"), ("asan.plain", "down"), ("plain", "down")):
        check(order.index(before) < order.index(after), f"{before} ran after {after}")
    check(re.search(r"^asan +=.*\(3 tests\)", run.stdout, re.M), f"label asan in\n{run.stdout}")


def a_failure_counts(t):
    run = union(t, OTHER.replace("add_test([=[later]=] /bin/true)", "add_test([=[later]=] /bin/false)"))
    check(run.returncode != 0, "the run passed")
    check("1 tests failed out of 6" in run.stdout and "asan.later (Failed)" in run.stdout, run.stdout)


def what_is_not_built_is_said(t):
    (t.dir / "main").mkdir()
    (t.dir / "main" / "CTestTestfile.cmake").write_text("add_test([=[gone]=] /nonexistent/gone)\n")
    run = t.run(["/usr/bin/python3", "-B", ROOT / "tests/support/ctest_union.py", t.dir / "all",
                 t.dir / "main"])
    check(run.returncode != 0 and "gone" in run.stderr, f"{run.returncode} {run.stderr}")


if __name__ == "__main__":
    sys.exit(main(all_are_counted, a_failure_counts, what_is_not_built_is_said))
