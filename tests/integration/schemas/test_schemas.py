#!/usr/bin/python3
"""The schemas are valid JSON Schema 2020-12 with closed objects, every example does what its folder says,
and the AsyncAPI document names each topic and only schemas that exist."""
import json
import pathlib
import sys
import unittest

import yaml
from jsonschema import Draft202012Validator, FormatChecker, RefResolver

ROOT = pathlib.Path(__file__).resolve().parents[3] / "schemas"
BASE = "https://schemas.crmsync.example/"
TOPICS = ["jobs", "feedback", "commands", "outbox", "state", "status", "records", "index", "contacts", "dlq"]


def load_all():
    return {p.relative_to(ROOT).as_posix(): json.loads(p.read_text()) for p in sorted(ROOT.rglob("*.schema.json"))}


SCHEMAS = load_all()
STORE = {BASE + name: schema for name, schema in SCHEMAS.items()}


def validator(name):
    schema = SCHEMAS[name]
    resolver = RefResolver(base_uri=BASE + name, referrer=schema, store=STORE)
    return Draft202012Validator(schema, resolver=resolver, format_checker=FormatChecker())


def objects(schema, where=""):
    """Every sub-schema that describes an object with named properties."""
    if isinstance(schema, dict):
        conditional = any(where.endswith(s) or f"{s}/" in where for s in ("/if", "/then", "/else", "/allOf", "/not"))
        if "properties" in schema and not conditional:
            yield where, schema
        for key, value in schema.items():
            yield from objects(value, f"{where}/{key}")
    elif isinstance(schema, list):
        for i, value in enumerate(schema):
            yield from objects(value, f"{where}/{i}")


class Schemas(unittest.TestCase):
    def test_each_schema_is_valid_and_named_by_its_path(self):
        self.assertGreater(len(SCHEMAS), 5)
        for name, schema in SCHEMAS.items():
            with self.subTest(name):
                Draft202012Validator.check_schema(schema)
                self.assertEqual(schema["$id"], BASE + name)
                self.assertEqual(schema["$schema"], "https://json-schema.org/draft/2020-12/schema")

    def test_objects_are_closed(self):
        for name, schema in SCHEMAS.items():
            for where, obj in objects(schema):
                with self.subTest(name + where):
                    self.assertTrue(obj.get("additionalProperties") is False or obj.get("unevaluatedProperties") is False
                                    or schema.get("unevaluatedProperties") is False or name.startswith("common/"))

    def test_valid_examples_pass(self):
        n = 0
        for name in SCHEMAS:
            if name.startswith("common/"):
                continue
            files = sorted((ROOT / "examples/valid" / name.removesuffix(".schema.json")).glob("*.json"))
            self.assertTrue(files, f"{name} has no valid example")
            for f in files:
                with self.subTest(f.name):
                    errors = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in validator(name).iter_errors(json.loads(f.read_text()))]
                    self.assertEqual(errors, [])
                    n += 1
        self.assertGreater(n, 10)

    def test_invalid_examples_are_refused(self):
        for name in SCHEMAS:
            if name.startswith("common/"):
                continue
            files = sorted((ROOT / "examples/invalid" / name.removesuffix(".schema.json")).glob("*.json"))
            self.assertTrue(files, f"{name} has no invalid example")
            for f in files:
                with self.subTest(f.name):
                    self.assertFalse(validator(name).is_valid(json.loads(f.read_text())))

    def test_no_example_is_an_orphan(self):
        for f in (ROOT / "examples").rglob("*.json"):
            name = f.parent.relative_to(ROOT / "examples").as_posix().split("/", 1)[1] + ".schema.json"
            self.assertTrue(name in SCHEMAS, f"{f}: no such schema")

    def test_asyncapi_names_every_topic_and_only_what_exists(self):
        doc = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
        self.assertTrue(doc["asyncapi"].startswith("3."))
        addresses = {c["address"] for c in doc["channels"].values()}
        self.assertEqual(addresses, {f"crmsync.{t}.v1" for t in TOPICS})
        refs = []

        def walk(node):
            if isinstance(node, dict):
                for key, value in node.items():
                    if key == "$ref":
                        refs.append(value)
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)

        walk(doc)
        for ref in refs:
            with self.subTest(ref):
                if ref.startswith("#/"):
                    node = doc
                    for part in ref[2:].split("/"):
                        node = node[part.replace("~1", "/")]
                else:
                    self.assertTrue(ref.removeprefix("./") in SCHEMAS, "no such schema")
        used = {r.removeprefix("./") for r in refs if not r.startswith("#")}
        self.assertEqual({n for n in SCHEMAS if not n.startswith("common/")} - used, set(), "schemas that no topic uses")


if __name__ == "__main__":
    unittest.main(argv=sys.argv, verbosity=2)
