"""The judge: what a read_committed reader of records.v1 has, against what the simulated Graph holds.

Mail: in scope by folder and date, folded by key, equal to the truth in version, folder and the fields that a
CRM shows. Calendar: every event of the window and every series, likewise. Beside that, over the whole history:
no deletion of something that was not gone, and no record twice within one attempt at a job.
"""

import collections
import datetime
import re

EXCLUDED = {"deleteditems", "junkemail", "drafts", "outbox", "syncissues", "conflicts", "localfailures",
            "serverfailures", "recoverableitemsdeletions", "searchfolders"}


def utc(text):
    """RFC 3339 or Graph's local form, to a datetime in UTC; None for absent and for Graph's year 1."""
    if not text:
        return None
    text = text.replace("Z", "+00:00")
    text = re.sub(r"(\.\d{1,6})\d*", lambda m: m.group(1).ljust(7, "0"), text)
    value = datetime.datetime.fromisoformat(text)
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.timezone.utc)
    return None if value.year == 1 else value


def folders_in_scope(truth):
    """Folder ids that a tenant with the default rules gets."""
    folders = {f["id"]: f for f in truth["folders"]}

    def inside(folder):
        seen = 0
        while folder is not None and seen < 100:
            if (folder.get("wellKnownName") or "").lower() in EXCLUDED or folder.get("isHidden") or folder.get("isSearchFolder"):
                return False
            folder = folders.get(folder.get("parentFolderId"))
            seen += 1
        return True

    return {i for i, f in folders.items() if inside(f) and (f.get("wellKnownName") or "").lower() != "msgfolderroot"}


def expected_mail(truth, tenant, depth=None):
    """{key: truth's message} of what must be out there."""
    scope = folders_in_scope(truth)
    mailbox = truth["mailbox"]
    return {f"{tenant}/{mailbox}/email/{m['id']}": m for m in truth["messages"]
            if m["parentFolderId"] in scope and (depth is None or utc(m["receivedDateTime"]) >= depth)}


def compare_mail(state, truth, tenant, depth=None):
    """Sentences of what differs; empty if the folded records equal the truth."""
    wrong = []
    want = expected_mail(truth, tenant, depth)
    prefix = f"{tenant}/{truth['mailbox']}/email/"
    have = {}
    for key, record in state.items():
        if key.startswith(prefix):
            value = record.json
            if value["change"] in ("upserted", "moved"):
                have[key] = value
    for key in want.keys() - have.keys():
        what = "never published" if key not in state else f"last record is {state[key].json['change']}"
        wrong.append(f"lost: {key} ({what}; in folder {want[key]['parentFolderId']})")
    for key in have.keys() - want.keys():
        wrong.append(f"phantom: {key} (folder {have[key]['folder']['id']}, job {have[key]['job_id']})")
    for key in want.keys() & have.keys():
        message, value = want[key], have[key]
        pairs = {
            "version": (message["changeKey"], value["version"]["change_key"]),
            "folder": (message["parentFolderId"], value["folder"]["id"]),
            "subject": (message["subject"] or "", value["subject"] or ""),
            "is_read": (message["isRead"], value["is_read"]),
            "received_at": (utc(message["receivedDateTime"]), utc(value["received_at"])),
        }
        for name, (a, b) in pairs.items():
            if name == "received_at" and a and b:
                a, b = (t.replace(microsecond=t.microsecond // 1000 * 1000) for t in (a, b))
            if a != b:
                wrong.append(f"differs: {key}: {name}: truth {a!r}, record {b!r}")
    return wrong


def invented_deletes(records, truths, tenant):
    """`deleted` records of mail that was not gone when they were made."""
    wrong = []
    gone_at = {}
    alive = set()
    for truth in truths:
        for message in truth["messages"]:
            alive.add(f"{tenant}/{truth['mailbox']}/email/{message['id']}")
        for message in truth["gone"]:
            gone_at[f"{tenant}/{truth['mailbox']}/email/{message['id']}"] = utc(message["goneDateTime"])
    for record in records:
        if record.value is None or "/email/" not in record.key:
            continue
        value = record.json
        if value["change"] != "deleted":
            continue
        if record.key in alive:
            wrong.append(f"invented deletion: {record.key} still exists")
        elif record.key not in gone_at:
            wrong.append(f"invented deletion: {record.key} never existed")
        elif gone_at[record.key] > utc(value["observed_at"]) + datetime.timedelta(milliseconds=5):
            wrong.append(f"invented deletion: {record.key} was deleted later, at {gone_at[record.key]}")
    return wrong


def doubles(records):
    """(job id, key) pairs that a committed reader sees more than once."""
    seen = collections.Counter((r.json["job_id"], r.key) for r in records if r.value is not None)
    return [f"twice: {key} of job {job}" for (job, key), n in seen.items() if n > 1]


def backwards(records, truths, tenant):
    """Records of a mail that show an older state than the one before them, in offset order; and any behind its deletion."""
    at, wrong, last = {}, [], {}
    for truth in truths:
        for n, change in enumerate(truth["history"]):
            key = f"{tenant}/{truth['mailbox']}/email/{change['id']}"
            at[key, change["changeKey"]] = n
    for record in records:
        if record.value is None or "/email/" not in record.key:
            continue
        value = record.json
        if value["change"] == "deleted":
            last[record.key] = float("inf")
        elif value["change"] in ("upserted", "moved"):
            # what is not in the history is how the mailbox began
            version = at.get((record.key, value["version"]["change_key"]), -1)
            if version < last.get(record.key, -1):
                wrong.append(f"older: {record.key} went from version {last[record.key]} to {version} in job {value['job_id']}")
            last[record.key] = version
    return wrong


# --- calendar -------------------------------------------------------------------------------------------


def expected_calendar(truth, tenant, window):
    """{key: facts} of the default calendar's events and series inside the window (from, to)."""
    start, end = window
    default = {c["id"] for c in truth["calendars"] if c["isDefaultCalendar"]}
    prefix = f"{tenant}/{truth['mailbox']}"
    want = {}

    def inside(entry):
        return utc(entry["startUtc"]) < end and utc(entry["endUtc"]) > start

    for entry in truth["events"]:
        if entry["calendarId"] not in default:
            continue
        if entry["type"] == "singleInstance":
            if inside(entry):
                want[f"{prefix}/event/{entry['id']}"] = {**entry, "subject": entry["event"]["subject"]}
            continue
        occurrences = [o for o in entry["occurrences"] if inside(o)]
        if not occurrences:
            continue
        want[f"{prefix}/series/{entry['id']}"] = {**entry, "subject": entry["event"]["subject"]}
        for one in occurrences:
            original = utc(one["originalStartUtc"]).strftime("%Y%m%dT%H%M%SZ")
            subject = (one.get("event") or entry["event"])["subject"]
            want[f"{prefix}/event/{entry['id']}_{original}"] = {**one, "subject": subject, "series": entry["id"]}
    return want


def compare_calendar(state, truth, tenant, window):
    """Sentences of what differs between the folded records and the truth, for one mailbox."""
    if window is None:
        return [f"no calendar window yet for {truth['mailbox']}"]
    wrong = []
    want = expected_calendar(truth, tenant, window)
    prefixes = tuple(f"{tenant}/{truth['mailbox']}/{kind}/" for kind in ("event", "series"))
    have = {key: record.json for key, record in state.items()
            if key.startswith(prefixes) and record.json["change"] == "upserted"}
    for key in want.keys() - have.keys():
        what = "never published" if key not in state else f"last record is {state[key].json['change']}"
        wrong.append(f"lost: {key} ({what})")
    for key in have.keys() - want.keys():
        wrong.append(f"phantom: {key} (start {have[key]['start']['utc']}, job {have[key]['job_id']})")
    for key in want.keys() & have.keys():
        entry, value = want[key], have[key]
        pairs = {"subject": (entry["subject"] or "", value["subject"] or "")}
        if "/event/" in key:
            pairs["start"] = (utc(entry["startUtc"]), utc(value["start"]["utc"]))
            pairs["end"] = (utc(entry["endUtc"]), utc(value["end"]["utc"]))
        if entry["type"] in ("singleInstance", "seriesMaster"):
            pairs["version"] = (entry["changeKey"], value["version"]["change_key"])
        for name, (a, b) in pairs.items():
            if a != b:
                wrong.append(f"differs: {key}: {name}: truth {a!r}, record {b!r}")
    return wrong
