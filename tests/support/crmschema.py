"""Validation of messages against schemas/ (JSON Schema 2020-12, references between files by $id)."""

import json
import warnings

import jsonschema

from crmproc import ROOT, Failure

TOPIC_SCHEMAS = {"jobs.v1": "job.v1", "feedback.v1": "feedback.v1", "state.v1": "state.v1",
                 "status.v1": "status.v1", "index.v1": "index.v1", "dlq.v1": "dlq.v1",
                 "commands.v1": "command.v1", "outbox.v1": "outbox.v1",
                 "contacts.v1": "contact.v1"}


class Schemas:
    """All schemas of the folder; name is the path without `.schema.json`, such as `record/email.v1`."""

    def __init__(self, folder=ROOT / "schemas"):
        self._by_name, store = {}, {}
        for path in sorted(folder.rglob("*.schema.json")):
            schema = json.loads(path.read_text(encoding="utf-8"))
            jsonschema.Draft202012Validator.check_schema(schema)
            name = str(path.relative_to(folder))[:-len(".schema.json")]
            if "$id" not in schema:
                raise Failure(f"{path} has no $id")
            if schema["$id"] in store:
                raise Failure(f"$id {schema['$id']} is there twice")
            self._by_name[name] = schema
            store[schema["$id"]] = schema
        self._store = store
        self._validators = {}

    def names(self):
        return sorted(self._by_name)

    def validator(self, name):
        found = self._validators.get(name)
        if found is None:
            if name not in self._by_name:
                raise Failure(f"there is no schema {name}")
            found = self._validators[name] = self._make(self._by_name[name])
        return found

    def _make(self, schema):
        cls = jsonschema.Draft202012Validator
        try:
            from referencing import Registry, Resource  # jsonschema 4.18 and later
        except ImportError:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                # everything is in the store: a reference to anything else must not be fetched
                resolver = jsonschema.RefResolver(
                    schema["$id"], schema, store=self._store,
                    handlers={"http": self._refuse, "https": self._refuse})
                return cls(schema, resolver=resolver)
        registry = Registry().with_resources(
            (uri, Resource.from_contents(s)) for uri, s in self._store.items())
        return cls(schema, registry=registry)

    @staticmethod
    def _refuse(uri):
        raise Failure(f"a schema refers to {uri}, which is not in schemas/")

    def validate(self, value, name, where=""):
        """Failure with every violation, named by where it is."""
        errors = sorted(self.validator(name).iter_errors(value), key=lambda e: list(e.absolute_path))
        if errors:
            text = "; ".join(f"/{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}"
                             for e in errors[:5])
            raise Failure(f"{where or 'message'} does not conform to {name}: {text}")

    def validate_record(self, record, topic):
        """A Record read from `topic` (its name without the prefix). Tombstones always conform."""
        if record.value is None:
            return
        where = f"{record.topic} {record.partition}:{record.offset}"
        try:
            value = json.loads(record.value)
        except ValueError:
            raise Failure(f"{where} is no JSON") from None
        if topic == "records.v1":
            if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
                raise Failure(f"{where} has no kind")
            removed = value.get("change") in ("deleted", "left_scope")
            name = "record/removed.v1" if removed else f"record/{value['kind']}.v1"
        else:
            name = TOPIC_SCHEMAS[topic]
        self.validate(value, name, where)

    def validate_all(self, records, topic):
        for record in records:
            self.validate_record(record, topic)
