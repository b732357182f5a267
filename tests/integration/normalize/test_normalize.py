#!/usr/bin/python3
"""crmsync-worker normalize: Graph's JSON in, records out that conform to the schemas, and nothing but records."""

import copy
import json
import random
import subprocess

from crmtest import ROOT, Schemas, check, check_equal, main, program

DATA = ROOT / "tests/data/graph"
MAILBOX = "ann@contoso.example"
TENANT = """
name = "acme";
tenant_id = "11111111-1111-1111-1111-111111111111";
client_id = "22222222-2222-2222-2222-222222222222";
credentials = ( {{ secret_file = "{secret}"; }} );
mailboxes = [ "ann@contoso.example" ];
own_domains = [ "contoso.example" ];
{more}
"""
SCHEMAS = Schemas()


def run(*args, data=b"", timeout=60):
    return subprocess.run([program("crmsync-worker"), "normalize", *map(str, args)], input=data,
                          capture_output=True, timeout=timeout, check=False)


def records(result):
    """The lines, each a record that conforms to the schema of its kind."""
    check_equal(result.returncode, 0, f"exit code: {result.stderr.decode()}")
    found = []
    for line in result.stdout.decode("utf-8").splitlines():
        record = json.loads(line, parse_constant=lambda c: check(False, f"{c} is no JSON"))
        SCHEMAS.validate(record, f"record/{record['kind']}.v1", record["item_id"])
        found.append(record)
    return found


def sample(name, *args):
    return records(run(*args, data=(DATA / name).read_bytes()))


def tenant_file(t, more=""):
    secret = t.dir / "secret"
    secret.write_text("x")
    path = t.dir / "tenant.cfg"
    path.write_text(TENANT.format(secret=secret, more=more))
    return path


def test_every_sample_gives_valid_records(t):
    wanted = {"message.json": 1, "messages_page.json": 2, "messages_delta.json": 1,
              "message_hostile.json": 1, "event.json": 1, "calendar_delta.json": 4,
              "events_special.json": 5}
    for name, n in wanted.items():
        found = sample(name, "--mailbox", MAILBOX)
        check_equal(len(found), n, name)
        for record in found:
            check_equal(record["key"], f"none/{MAILBOX}/{record['kind']}/{record['item_id']}", "key")
            check_equal((record["job_id"], record["lane"]), (None, None), "outside a job")
            SCHEMAS.validate({"v": 1, "key": record["key"], "kind": record["kind"], "folder": None,
                              "change_key": record["version"]["change_key"], "received_at": None}, "index.v1")


def test_tenant_rules_apply(t):
    message = sample("message.json", "--tenant-config", tenant_file(t), "--mailbox", MAILBOX.upper())[0]
    check_equal((message["tenant"], message["mailbox"]), ("acme", MAILBOX), "names")
    check_equal(message["direction"], "inbound", "direction")
    inside = {p["address"] for p in message["participants"] if p["internal"]}
    check(MAILBOX in inside and "sales@fabrikam.example" not in inside, f"internal: {inside}")
    without = sample("message.json", "--tenant-config", tenant_file(t, 'body = "none";'), "--mailbox", MAILBOX)[0]
    check_equal(without["body"], None, "body switched off")


def test_private_events(t):
    args = ("--mailbox", MAILBOX, "--tenant-config")
    busy = run(*args, tenant_file(t), data=(DATA / "events_special.json").read_bytes())
    check_equal(len(records(busy)), 5, "busy_only by default")
    check(b"canary" not in (busy.stdout + busy.stderr).lower(), "a private event's content came out")
    skip = run(*args, tenant_file(t, 'private_events = "skip";'), data=(DATA / "events_special.json").read_bytes())
    check_equal(len(records(skip)), 4, "skipped")
    check(b"1 held back" in skip.stderr and b"canary" not in skip.stderr.lower(), skip.stderr.decode())
    full = sample("events_special.json", *args, tenant_file(t, 'private_events = "full";'))
    check("CANARY subject" in [r["subject"] for r in full], "full shows it")


def test_mail_that_the_rules_hold_back(t):
    data = (DATA / "message.json").read_bytes()
    for rule in ('never_log = [ "*@fabrikam.example" ];', 'never_log = [ "bob.miller@fabrikam.example" ];',
                 'unknown_mail = "skip"; contacts = [ "nobody.example" ];'):
        result = run("--mailbox", MAILBOX, "--tenant-config", tenant_file(t, rule), data=data)
        check_equal(records(result), [], rule)
        check(b"1 held back" in result.stderr and b"fabrikam" not in result.stderr.lower(), result.stderr.decode())
    kept = 'internal_mail = "skip"; unknown_mail = "skip"; contacts = [ "fabrikam.example" ];'
    check_equal(len(sample("message.json", "--mailbox", MAILBOX, "--tenant-config", tenant_file(t, kept))), 1, kept)


def test_occurrences_are_joined_with_their_master(t):
    result = run("--mailbox", MAILBOX, data=(DATA / "calendar_delta.json").read_bytes())
    found = records(result)
    series = [r for r in found if r["kind"] == "series"]
    events = [r for r in found if r["kind"] == "event"]
    check_equal((len(series), len(events)), (1, 3), "kinds")
    check_equal(series[0]["recurrence"]["rrule"], "FREQ=WEEKLY;WKST=SU;BYDAY=MO;UNTIL=20260413T070000Z", "rule")
    check_equal(sorted(series[0]["occurrences"]), sorted(e["key"] for e in events), "occurrences")
    check_equal([e["item_id"] for e in series[0]["exceptions"]],
                [e["item_id"] for e in events if e["type"] == "exception"], "exceptions")
    for event in events:
        check(event["subject"].startswith("Weekly stand-up"), event["subject"])
        check_equal(event["organizer"]["address"], MAILBOX, "organizer")
    for text in (b"1 removed", b"1 occurrences whose master"):
        check(text in result.stderr, f"{text} not in {result.stderr.decode()}")


def test_what_is_skipped_is_counted(t):
    result = run(data=(DATA / "messages_delta.json").read_bytes())
    check_equal(len(records(result)), 1, "records")
    check(b"1 removed" in result.stderr and b"1 partial" in result.stderr, result.stderr.decode())


def test_broken_input_exits_65_and_says_where(t):
    broken = (DATA / "broken_cut_off.json").read_bytes()
    cases = {b"": 0, broken: len(broken), b'{"id":"a",}': 10, b"<html>": 0, b'{"id":"\xff"}': 7,
             b'{"id":NaN}': 6, b"[" * 5000: None, b"[]": 0, b'{"value":5}': 9}
    for data, offset in cases.items():
        result = run(data=data)
        name = data[:30]
        check_equal(result.returncode, 65, f"exit code for {name}")
        check_equal(result.stdout, b"", f"output for {name}")
        if offset is not None:
            check(f"byte {offset}:".encode() in result.stderr, f"{name}: {result.stderr.decode()}")
    error = run(data=(DATA / "error_nested.json").read_bytes())
    check_equal(error.returncode, 65, "an error of Graph's")
    check(b"ErrorItemNotFound" in error.stderr and b"secret words" not in error.stderr, error.stderr.decode())
    check_equal(run(data=b'{"colour":"red"}').returncode, 65, "an object that is no item")


def test_usage_errors_exit_64(t):
    for args in (["--colour"], ["file.json"], ["--mailbox"], ["--mailbox", "a/b"], ["--mailbox", ""]):
        result = run(*args, data=b"{}")
        check_equal((result.returncode, result.stdout), (64, b""), f"{args}")
    check_equal(run("--help").returncode, 0, "--help")
    bad = t.dir / "bad.cfg"
    bad.write_text('name = "acme";\ncolour = "red";\n')
    result = run("--tenant-config", bad, data=b"{}")
    check_equal(result.returncode, 78, "a bad tenant file")
    check(b"bad.cfg" in result.stderr, result.stderr.decode())


def test_input_has_a_bound(t):
    result = run(data=b" " * ((64 << 20) + 1))
    check_equal(result.returncode, 65, "more than the bound")
    check(b"64 MiB" in result.stderr, result.stderr.decode())


def test_no_reader_is_an_output_error(t):
    with open("/dev/full", "wb") as full:
        result = subprocess.run([program("crmsync-worker"), "normalize"], input=(DATA / "message.json").read_bytes(),
                                stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    check_equal(result.returncode, 74, result.stderr.decode())


def test_a_large_message_is_cut_and_says_so(t):
    message = json.loads((DATA / "message.json").read_text(encoding="utf-8"))
    message["body"]["content"] = "<p>" + "Grüße 😀 " * 400000 + "</p>"
    found = records(run(data=json.dumps(message).encode()))[0]
    body = found["body"]
    check(body["truncated"] and len(json.dumps(found, ensure_ascii=False).encode()) <= 1900000, "cut to fit")
    check_equal(body["original_bytes"], len(message["body"]["content"].encode()), "original size")
    check(message["body"]["content"].startswith(body["content"]) and len(body["content"]) > 500000, "a prefix")


ODD = [None, True, False, 0, -1, 2**63, 1e300, 1.5, "", " ", "x", "true", "é\u202e😀", "\u0000", "\ud800", "a\ud83d", "\r\n", "/o=x/cn=y",
       "@", "a@b", "0001-01-01T00:00:00Z", "2026-02-30T25:61:61Z", "9999-12-31T23:59:59.999999999999Z", "2026-03-29T02:30:00+14:00", "UTC",
       "tzone://Microsoft/Custom", "x" * 5000, [], {}, [None, 1, "a", {}, []], {"emailAddress": []}, {"dateTime": 5}]


def places(value, path=()):
    """Paths to everything inside a value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        yield (*path, key)
        yield from places(inner, (*path, key))


def spoil(item, rng):
    """A copy in which one to four values are others than they should be, or missing."""
    item = copy.deepcopy(item)
    for _ in range(rng.randint(1, 4)):
        path = rng.choice([p for p in places(item) if p[-1] != "@removed"] or [()])
        if not path:
            break
        where = item
        for key in path[:-1]:
            where = where[key]
        if rng.random() < 0.2 and isinstance(where, dict):
            del where[path[-1]]
        else:
            where[path[-1]] = copy.deepcopy(rng.choice(ODD))
    return item


def test_odd_values_never_break_a_record(t):
    """Whatever Graph puts into a field: each line still conforms, and the process does not fall."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    items = []
    for path in sorted(DATA.glob("*.json")):
        if path.name.split(".")[0] in ("broken_cut_off", "batch", "error_nested"):
            continue
        page = json.loads(path.read_text(encoding="utf-8"))
        items += page.get("value", [page])
    page = {"value": [spoil(item, rng) for item in items for _ in range(60)]}
    result = run("--mailbox", MAILBOX, "--tenant-config", tenant_file(t), data=json.dumps(page).encode())
    found = records(result)
    check(len(found) > len(page["value"]) // 3, f"{len(found)} records of {len(page['value'])} items")
    for record in found:
        json.dumps(record, ensure_ascii=False).encode()  # no lone surrogate is left
        check("\x00" not in json.dumps(record, ensure_ascii=False), "a NUL is left")


if __name__ == "__main__":
    main(test_every_sample_gives_valid_records, test_tenant_rules_apply, test_private_events, test_mail_that_the_rules_hold_back,
         test_occurrences_are_joined_with_their_master, test_what_is_skipped_is_counted,
         test_broken_input_exits_65_and_says_where, test_usage_errors_exit_64, test_input_has_a_bound,
         test_no_reader_is_an_output_error, test_a_large_message_is_cut_and_says_so,
         test_odd_values_never_break_a_record)
