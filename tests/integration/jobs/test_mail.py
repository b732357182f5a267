#!/usr/bin/python3
"""mail.delta, mail.items, mail.slice and folders, one rule at a time."""

import datetime

from crmtest import check, check_equal, main
from jobbed import CALM, NAME, Jobs, by_key, now, rfc3339

ODD = ("--partial", "100", "--repeat", "40", "--empty-page", "30", "--short-page", "30", "--same-link", "50")


def outcome(end):
    return [p["outcome"] for p in end["feedback"]["parts"]]


def changes(end):
    return sorted((r["value"]["change"], r["value"]["item_id"]) for r in end["records"])


def left(end):
    return {look["id"]: look for look in end["feedback"].get("left", [])}


class Box:
    """A mailbox whose inbox, archive and sent items have been walked to their end."""

    def __init__(self, t, *sim_args, only=("inbox", "archive", "sentitems"), **kw):
        self.bed = Jobs(t, *sim_args, **kw)
        self.tree = self.bed.tree()
        self.scope = self.bed.scope(self.tree)
        self.at = {name: next(f for f in self.tree.values() if f.get("well_known") == name)
                   for name in (*only, "deleteditems")}
        self.cursors = {}
        for name in only:
            end = self.walk(name, mode="anchor")
            check_equal((outcome(end), end["records"], end["feedback"].get("left")), (["done"], [], None), f"anchor of {name}")

    def part(self, name, mode="live"):
        return self.bed.mail_part(self.at[name], mode, self.cursors.get(name))

    def walk(self, *names, mode="live", **more):
        end = self.bed.run(self.bed.job("mail.delta", [self.part(n, mode) for n in names], **{**self.scope, **more}))
        for name, part in zip(names, end["feedback"]["parts"]):
            if part.get("cursor"):
                self.cursors[name] = part["cursor"]
        return end

    def look(self, *looks):
        return self.bed.run(self.bed.job("mail.items", items=list(looks), **self.scope))


# contract: ids.immutable fact.06.prefer_on_every_page fact.07.filter_caps_delta delta.whole_mailbox
# contract: fact.11.attachments
def test_first_walks_publish_the_folder(t):
    bed = Jobs(t, "--messages", "250", "--folders", "5", *ODD, calm=False, limits={"delta_page": 13, "pages": 3})
    tree = bed.tree()
    scope = bed.scope(tree)
    truth = bed.truth()
    for folder in (f for f in tree.values() if f["in"]):
        want = {m["id"]: m for m in truth["messages"] if m["parentFolderId"] == folder["id"]}
        have, cursor, jobs = {}, None, 0
        while True:
            end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "first", cursor)], **scope))
            have.update({r["value"]["item_id"]: r["value"] for r in end["records"]})
            cursor = end["feedback"]["parts"][0]["cursor"]
            jobs += 1
            if outcome(end) == ["done"]:
                break
            check_equal(outcome(end), ["more"], "outcome")
            check(jobs < 100, "the walk does not end")
        check_equal({i: v["version"]["change_key"] for i, v in have.items()}, {i: m["changeKey"] for i, m in want.items()},
                    f"{folder['path']}: ids and versions")
        for i, value in have.items():
            check_equal((value["folder"]["id"], value["folder"]["path"]), (folder["id"], folder["path"]), "folder")
            check_equal(value["subject"] or "", want[i]["subject"] or "", "subject")
        if len(want) > 40:
            check(jobs > 1, "three pages of 13 cannot hold that")


# contract: delta.repeated_items fact.02.removal_is_leaving
def test_live_rounds_tell_what_changed(t):
    box = Box(t, "--messages", "60")
    check_equal(changes(box.walk("inbox")), [], "nothing happened")
    new = box.bed.ops({"op": "arrive", "subject": "one", "plain": True, "attachments": 2, "inlineAttachments": 0})[0]["id"]
    old = next(m for m in box.bed.truth()["messages"] if m["parentFolderId"] == box.at["inbox"]["id"] and m["id"] != new)
    box.bed.ops({"op": "patch", "id": old["id"], "set": {"isRead": not old["isRead"]}})
    end = box.walk("inbox")
    check_equal(changes(end), sorted([("upserted", new), ("upserted", old["id"])]), "records")
    values = {r["value"]["item_id"]: r["value"] for r in end["records"]}
    check_equal(values[new]["subject"], "one", "subject")
    check_equal(len(values[new]["attachments"]), 2, "attachments")
    check(all(a["name"] and a["size"] > 0 for a in values[new]["attachments"]), f"attachments: {values[new]['attachments']}")
    check_equal(values[old["id"]]["is_read"], not old["isRead"], "is_read")
    check_equal(end["feedback"].get("left"), None, "nothing is owed")
    check_equal(changes(box.walk("inbox")), [], "told once")


# contract: fact.04.partial_items
def test_a_partial_entry_is_read_whole(t):
    box = Box(t, "--messages", "40", "--partial", "100", calm=False)
    message = next(m for m in box.bed.truth()["messages"] if m["parentFolderId"] == box.at["inbox"]["id"])
    box.bed.ops({"op": "patch", "id": message["id"], "set": {"categories": ["red"]}})
    record = box.walk("inbox")["records"][0]["value"]
    check_equal((record["subject"] or "", record["categories"]), (message["subject"] or "", ["red"]), "the whole message")


# contract: fact.03.add_before_removal ids.immutable
def test_a_move_told_by_both_folders_is_one_record(t):
    box = Box(t, "--messages", "40")
    i = box.bed.ops({"op": "arrive", "subject": "one"})[0]["id"]
    box.walk("inbox")
    box.bed.ops({"op": "move", "id": i, "to": "archive"})
    end = box.walk("inbox", "archive")
    check_equal(changes(end), [("moved", i)], "records")
    value = end["records"][0]["value"]
    check_equal((value["folder"]["id"], value["moved_from"]["id"]), (box.at["archive"]["id"], box.at["inbox"]["id"]), "from and to")
    check_equal(left(end), {}, "nothing is owed")


# contract: fact.03.add_before_removal fact.02.removal_is_leaving
def test_a_move_told_by_one_folder_is_looked_at(t):
    box = Box(t, "--messages", "40")
    i = box.bed.ops({"op": "arrive", "subject": "one"})[0]["id"]
    box.walk("inbox")
    box.bed.ops({"op": "move", "id": i, "to": "archive"})
    end = box.walk("inbox")
    check_equal(changes(end), [], "the other folder will speak")
    check_equal((left(end)[i]["seen"], left(end)[i]["folder"], left(end)[i]["from_folder"]),
                ("at", box.at["archive"]["id"], box.at["inbox"]["id"]), "the look that is owed")
    check_equal(changes(box.walk("archive")), [("upserted", i)], "the other folder speaks")
    end = box.look(left(end)[i])
    check_equal((changes(end), left(end)), ([], {}), "the second look settles it")


# contract: mailbox.by_object_id
def test_a_mailbox_by_its_object_id(t):
    sim = Jobs(t, "--messages", "20", name="other").sim
    user = sim.get("/mailboxes")[0]["id"]
    bed = Jobs(t, "--messages", "20", configured=[user])
    tree = bed.tree(user)
    folder = next(f for f in tree.values() if f.get("well_known") == "inbox")
    end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "first")], user=user, **bed.scope(tree)))
    check_equal((outcome(end), {r["value"]["mailbox"] for r in end["records"]}), (["done"], {user}), "records")


# contract: fact.02.removal_is_leaving mailbox.archive error.404.item_not_found
def test_a_deletion_needs_two_looks(t):
    box = Box(t, "--messages", "40")
    i = box.bed.ops({"op": "arrive", "subject": "one"})[0]["id"]
    box.walk("inbox")
    box.bed.ops({"op": "delete", "id": i})
    end = box.walk("inbox")
    check_equal((changes(end), left(end)[i]["seen"]), ([], "gone"), "one 404 proves nothing")
    end = box.look(left(end)[i])
    check_equal((changes(end), left(end)), ([("deleted", i)], {}), "two do")
    check_equal(end["records"][0]["index"], None, "nothing is out there")


def test_deleted_items_is_out_of_scope(t):
    box = Box(t, "--messages", "40")
    i = box.bed.ops({"op": "arrive", "subject": "one"})[0]["id"]
    box.walk("inbox")
    box.bed.ops({"op": "soft_delete", "id": i})
    end = box.walk("inbox")
    check_equal((changes(end), left(end)[i]["seen"]), ([("left_scope", i)], "excluded"), "left the scope")
    look = left(end)[i]
    end = box.look(look)
    check_equal((changes(end), left(end)), ([], {}), "the same again settles it")
    box.bed.ops({"op": "move", "id": i, "to": "inbox"})
    end = box.look(look)
    check_equal((changes(end), left(end)[i]["seen"]), ([], "at"), "back: its folder will speak")
    check_equal(changes(box.walk("inbox")), [("upserted", i)], "and does")


def test_an_unknown_folder_publishes_nothing(t):
    box = Box(t, "--messages", "40")
    new = box.bed.ops({"op": "folder_create", "parent": "inbox", "name": "Neu"})[0]["id"]
    i = box.bed.ops({"op": "arrive", "subject": "one"})[0]["id"]
    box.walk("inbox")
    box.bed.ops({"op": "move", "id": i, "to": new})
    end = box.walk("inbox")
    check_equal((changes(end), left(end)[i]["seen"]), ([], "unknown"), "its first walk will speak")
    slice_ = {"stream": "slices", "generation": 1, "mode": "slice", "slice_id": "0", "window": {"from": None, "to": None}}
    end = box.bed.run(box.bed.job("mail.slice", [slice_], anchored_at=rfc3339(now()), **box.scope))
    check(i not in {r["value"]["item_id"] for r in end["records"]}, "a slice published what is in an unknown folder")


def test_what_is_older_than_the_depth_is_ignored(t):
    box = Box(t, "--messages", "10")
    depth = rfc3339(now() - datetime.timedelta(days=30))
    old = box.bed.ops({"op": "arrive", "subject": "old", "receivedDateTime": rfc3339(now() - datetime.timedelta(days=31))})[0]["id"]
    new = box.bed.ops({"op": "arrive", "subject": "new", "receivedDateTime": rfc3339(now() - datetime.timedelta(days=29))})[0]["id"]
    end = box.walk("inbox", depth=depth)
    check_equal((changes(end), left(end)), ([("upserted", new)], {}), "records")
    box.bed.ops({"op": "soft_delete", "id": old})
    end = box.walk("inbox", depth=depth)
    check_equal((changes(end), left(end)), ([], {}), "an old one leaves")


# contract: fact.08.dead_cursor mailbox.moved
def test_a_dead_cursor_concerns_its_folder_only(t):
    for form in ("1", "2", "3"):
        box = Box(t, "--messages", "60", "--gone-form", form, name=f"jobrun{form}")
        i = box.bed.ops({"op": "arrive", "subject": "one", "folder": "archive"})[0]["id"]
        box.bed.ops({"op": "evict_deltas", "folder": "inbox"})
        end = box.walk("inbox", "archive")
        check_equal(outcome(end), ["resync", "done"], f"form {form}")
        check_equal(end["feedback"]["parts"][0]["error"]["code"], "cursor_dead", "code")
        check_equal((end["feedback"]["parts"][0].get("cursor"), changes(end)), (None, [("upserted", i)]), "the other goes on")
        check_equal(end["reject"], None, "no dead letter")


# contract: folder.gone
def test_a_folder_that_is_gone(t):
    box = Box(t, "--messages", "60", "--folders", "6")
    folder = next(f for f in box.tree.values() if f["in"] and not f.get("well_known"))
    box.at["own"] = folder
    box.walk("own", mode="anchor")
    box.bed.ops({"op": "folder_delete", "folder": folder["id"]})
    box.bed.ops({"op": "arrive", "subject": "one"})
    for cursor in (box.cursors["own"], None):
        box.cursors["own"] = cursor
        end = box.walk("own", "inbox")
        check_equal((outcome(end)[0], end["feedback"]["parts"][0]["error"]["code"]), ("retry", "folder_gone"), "the tree decides")
        check_equal(outcome(end)[1], "done", "the other folder goes on")


def test_a_read_that_fails_is_handed_back(t):
    box = Box(t, "--messages", "40", limits={"tries": 1})
    ids = [r["id"] for r in box.bed.ops(*({"op": "arrive", "subject": str(n), "plain": True} for n in range(5)))]
    folded = [i.lower() for i in ids]
    bad = next(i for i in ids if folded.count(i.lower()) == 1)  # ids come in pairs that differ in case only
    box.bed.faults({"match": {"path_contains": "/messages/" + bad}, "times": 2, "action": {"status": 500, "code": "UnknownError"}})
    end = box.walk("inbox")  # in the batch, and alone
    check_equal(changes(end), sorted(("upserted", i) for i in ids if i != bad), "the others")
    check_equal((outcome(end), left(end)[bad]["why"]), (["done"], "leftover"), "the page goes on")
    end = box.look(left(end)[bad])
    check_equal((changes(end), left(end)[bad]["seen"]), ([("upserted", bad)], "at"), "published, and looked at once more")


# contract: body.text
def test_text_bodies_where_asked_for(t):
    for rule, kind in (("html", "html"), ("text", "text"), ("none", None)):
        box = Box(t, "--messages", "10", body=rule, name="jobrun-" + rule, only=("inbox",))
        box.bed.ops({"op": "arrive", "subject": "one"})
        body = box.walk("inbox")["records"][0]["value"]["body"]
        check_equal(body and body["type"], kind, f"body {rule}: {str(body)[:100]}")


# --- filters --------------------------------------------------------------------------------------------

CANARY = "canary7f3a"
ANN = {"name": "Ann", "address": "ann.other@contoso.example"}
EVE = {"name": "Eve", "address": "eve@fabrikam.example"}
HELD = {"name": CANARY, "address": CANARY + "@held.example"}
# rules, what they hold back, the count that says so, what the index keeps of it
RULES = [
    ({"never_log": ["*@held.example"]}, {"from": HELD, "to": [ANN]}, "never_log"),
    ({"never_log": ["held.example"]}, {"from": EVE, "to": [ANN], "cc": [HELD]}, "never_log"),
    ({"internal_mail": "skip"}, {"from": ANN, "to": [{"name": CANARY, "address": CANARY + "@contoso.example"}]}, "internal"),
    ({"automated_mail": "skip"}, {"from": EVE, "headers": [{"name": "List-Id", "value": f"<{CANARY}.example>"}]}, "automated",
     "automated"),
    ({"automated_mail": "skip"}, {"from": {"name": CANARY, "address": "noreply@fabrikam.example"}}, "automated"),
    ({"unknown_mail": "skip", "contacts": ["fabrikam.example"], "private_mail": "skip"}, {"from": HELD, "to": [ANN]},
     "unknown"),
]


def test_what_the_rules_hold_back_is_nowhere(t):
    """Each rule, live and in a slice: the message that it holds back leaves a count and nothing else."""
    for n, (rules, message, reason, *noted) in enumerate(RULES):
        box = Box(t, "--messages", "30", only=("inbox",), name=f"rules{n}", **rules)
        bed = box.bed
        held, fine = (r["id"] for r in bed.ops(
            {"op": "arrive", "subject": CANARY, "body": CANARY, "attachments": 1, "plain": True, **message},
            {"op": "arrive", "subject": "fine", "body": "fine text", "plain": True, "from": EVE, "to": [ANN], "headers": []}))
        slice_ = {"stream": "slices", "generation": 1, "mode": "slice", "slice_id": "0", "window": {"from": None, "to": None}}
        for end in (box.walk("inbox"),
                    bed.run(bed.job("mail.slice", [slice_], anchored_at=rfc3339(now()), **box.scope))):
            check_equal(outcome(end), ["done"], f"{rules}")
            check(CANARY not in str(end) and held not in str(end["records"]), f"{rules}: published")
            check(end["feedback"]["counts"]["held_" + reason] > 0, f"{rules}: not counted: {end['feedback']['counts']}")
            check_equal([e["index"]["held"] for e in end["noted"] if e["key"].endswith(held)], noted, f"{rules}: noted")
            record = next(r for r in end["records"] if r["value"]["item_id"] == fine)
            check_equal(record["index"].get("rules", []), [r for r in ("private", "automated") if rules.get(r + "_mail")], f"{rules}")
            record = record["value"]
            check_equal((record["subject"], record["body"]["content"] is not None), ("fine", True), f"{rules}")
        # what is held back by its people is not even downloaded by the slice; a change of it says nothing either
        bed.ops({"op": "patch", "id": held, "set": {"isRead": True}}, {"op": "move", "id": held, "to": "archive"})
        end = box.walk("inbox")
        check(CANARY not in str(end) and held not in str(end["records"]), f"{rules}: published after a change")


# --- slices ---------------------------------------------------------------------------------------------


def slices(bed, scope, cuts, **more):
    """Every slice to its end; {key: value}, and in how many jobs."""
    parts = [{"stream": "slices", "generation": 1, "mode": "slice", "slice_id": str(n), "window": {"from": a, "to": b}}
             for n, (a, b) in enumerate(zip(cuts, cuts[1:]))]
    found, jobs = {}, 0
    while parts:
        end = bed.run(bed.job("mail.slice", parts[:3], anchored_at=rfc3339(now()), **scope, **more))
        found.update(by_key(end["records"]))
        jobs += 1
        check(jobs < 300, "the slices do not end")
        done = set()
        for part, got in zip(parts[:3], end["feedback"]["parts"]):
            check(got["outcome"] in ("done", "more"), f"{got}")
            if got["outcome"] == "done":
                done.add(got["slice_id"])
            else:
                part["cursor"] = got["cursor"]
        parts = [p for p in parts if p["slice_id"] not in done]
    return found, jobs


# contract: filter.inefficient
def test_slices_hold_the_mailbox(t):
    bed = Jobs(t, "--messages", "300", "--folders", "6", "--years", "3", calm=False, limits={"slice_page": 7, "pages": 4})
    tree = bed.tree()
    scope = bed.scope(tree)
    inside = {f["id"] for f in scope["folders"]}
    want = {f"{NAME}/{bed.user}/email/{m['id']}": m["changeKey"] for m in bed.truth()["messages"] if m["parentFolderId"] in inside}
    cuts = [None, *(rfc3339(now() - datetime.timedelta(days=d)) for d in (700, 100, 3)), None]
    found, jobs = slices(bed, scope, cuts)
    check_equal({k: v["version"]["change_key"] for k, v in found.items()}, want, "keys and versions")
    check(jobs > 3, "four pages of 7 cannot hold that")
    check_equal(bed.counters()["peak_concurrency"] <= 4, True, "requests at a time")


def test_a_second_with_more_items_than_a_page(t):
    bed = Jobs(t, "--messages", "20", limits={"slice_page": 5, "pages": 50})
    when = rfc3339(now() - datetime.timedelta(days=5))
    ids = {r["id"] for _ in range(3) for r in bed.ops(*({"op": "arrive", "subject": "x", "receivedDateTime": when} for _ in range(20)))}
    found, _ = slices(bed, bed.scope(bed.tree()), [None, None])
    check_equal(ids - {v["item_id"] for v in found.values()}, set(), "lost")


# contract: page.too_large error.504
def test_a_page_that_is_too_large_is_asked_for_in_halves(t):
    bed = Jobs(t, "--messages", "120", limits={"slice_page": 40})
    scope = bed.scope(bed.tree())
    bed.faults({"match": {"path_regex": r"top=(40|20)\b"}, "times": -1, "action": {"status": 504, "body": "html"}})
    inside = {f["id"] for f in scope["folders"]}
    want = {m["id"] for m in bed.truth()["messages"] if m["parentFolderId"] in inside}
    found, _ = slices(bed, scope, [None, None])
    check_equal({v["item_id"] for v in found.values()}, want, "items")


def test_the_preview_is_one_page_of_the_newest(t):
    bed = Jobs(t, "--messages", "200")
    scope = bed.scope(bed.tree())
    part = {"stream": "slices", "generation": 1, "mode": "preview", "window": {"from": None, "to": None}}
    end = bed.run(bed.job("mail.slice", [part], **scope))
    inside = {f["id"] for f in scope["folders"]}
    newest = sorted((m["receivedDateTime"], m["id"]) for m in bed.truth()["messages"])[-25:]
    want = {m["id"] for m in bed.truth()["messages"] if m["parentFolderId"] in inside} & {i for _, i in newest}
    check_equal(({r["value"]["item_id"] for r in end["records"]}, outcome(end)), (want, ["done"]), "the newest")


# --- folders --------------------------------------------------------------------------------------------


# contract: fact.01.folder_lists folder.delta_flat
def test_the_tree_is_the_truth(t):
    bed = Jobs(t, "--folders", "40", "--messages", "50", calm=False)
    truth = {f["id"]: f for f in bed.truth()["folders"]}
    root = next(i for i, f in truth.items() if f["wellKnownName"] == "msgfolderroot")
    tree = bed.tree()

    def in_tree(i):
        while i in truth and i != root:
            i = truth[i]["parentFolderId"]
        return i == root

    check_equal(set(tree), {i for i in truth if in_tree(i) and i != root}, "folders")
    for i, folder in tree.items():
        check_equal(folder.get("well_known") or "", truth[i]["wellKnownName"] or "", folder["name"])
        check_equal((bool(folder["hidden"]), bool(folder["search_folder"])), (truth[i]["isHidden"], truth[i]["isSearchFolder"]),
                    folder["name"])
        check_equal(folder["path"].replace("%2F", "/"), truth[i]["path"], "path")


if __name__ == "__main__":
    main(test_first_walks_publish_the_folder, test_live_rounds_tell_what_changed, test_a_partial_entry_is_read_whole,
         test_a_move_told_by_both_folders_is_one_record, test_a_move_told_by_one_folder_is_looked_at,
         test_a_deletion_needs_two_looks, test_deleted_items_is_out_of_scope, test_an_unknown_folder_publishes_nothing,
         test_what_is_older_than_the_depth_is_ignored, test_a_dead_cursor_concerns_its_folder_only,
         test_a_folder_that_is_gone, test_a_read_that_fails_is_handed_back, test_text_bodies_where_asked_for,
         test_slices_hold_the_mailbox, test_a_second_with_more_items_than_a_page,
         test_a_page_that_is_too_large_is_asked_for_in_halves, test_the_preview_is_one_page_of_the_newest,
         test_the_tree_is_the_truth, test_a_mailbox_by_its_object_id, test_what_the_rules_hold_back_is_nowhere)
