#!/usr/bin/python3
"""The table can fail: rows without a test, tags without a row, rows that are malformed."""

import pathlib
import tempfile
import unittest

import table


class Table(unittest.TestCase):
    rows = [("a.one", "both", "x"), ("a.two", "client", "y"), ("a.three", "unused", "z")]

    def collect(self, run=True, **files):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                path = root / name.replace("__", "/").replace("_py", ".py").replace("_c", ".c")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text + ("# globals()\n" if run else ""))
            return table.collect(self.rows, root)

    def test_a_tag_belongs_to_its_test(self):
        self.assertEqual(table.read_tags("# contract: a.one a.two\ndef test_x(t):\n    pass  # contract: b.c\n"),
                         [(1, "a.one", "test_x"), (1, "a.two", "test_x"), (3, "b.c", "test_x")])
        self.assertEqual(table.read_tags("/* contract: a.one */\nstatic void test_y(void **state)\n{\n    x(\"contract: a.2\");\n"),
                         [(1, "a.one", "test_y"), (4, "a.2", "test_y")])
        self.assertEqual(table.read_tags("def test_w(t):\n    pass\nT = (\n    (\"contract: a.one\"),\n)\ndef test_x(t):\n"),
                         [(4, "a.one", "test_x")])
        self.assertEqual(table.read_tags("def test_x(t):\n    pass\n# contract: a.one\n"), [(3, "a.one", None)])

    def test_what_is_missing_is_named(self):
        full = {"graphsim__selftest_py": "# contract: a.one\ndef test_s(t):\n", "unit__test_x_c":
                "/* contract: a.one a.two */\nstatic void test_x(void **state)\n"}
        self.assertEqual(self.collect(**full)[1], [])
        self.assertEqual(len(self.collect(unit__test_x_c=full["unit__test_x_c"])[1]), 1)
        self.assertEqual(len(self.collect(graphsim__selftest_py=full["graphsim__selftest_py"])[1]), 2)
        self.assertEqual(len(self.collect(**full, unit__test_z_py="# contract: a.four\ndef test_z(t):\n")[1]), 1)

    def test_a_test_that_is_never_run_shows_nothing(self):
        full = {"graphsim__selftest_py": "# contract: a.one\ndef test_s(t):\n", "unit__test_x_c":
                "/* contract: a.one a.two */\nstatic void test_x(void **state)\n"}
        self.assertEqual(len(self.collect(run=False, **full)[1]), 3)

    def test_rows_are_checked(self):
        for text in ("a.one | both", "a.one | maybe | x", "one | both | x", "a.one | both |", "a.one | both | x\na.one | both | y"):
            with self.assertRaises(ValueError):
                table.read_rows(text)

    def test_every_row_has_its_tests(self):
        self.assertEqual(table.run(["--output", "/dev/null"]), 0)


if __name__ == "__main__":
    unittest.main()
