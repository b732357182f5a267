#!/usr/bin/python3
"""graphsim behaves as Graph does where clients most often go wrong: folders, deltas, ids, lists, attachments."""

import json
import re

from crmtest import check, check_equal, main
from simclient import IMMUTABLE, Sim, fold, quote


def inbox(path=""):
    return "/mailFolders/inbox/messages/delta" + path


# --- folders --------------------------------------------------------------------------------------


# contract: fact.01.folder_lists
def test_folder_list_is_one_level_and_ten_per_page(t):
    sim = Sim(t, "--folders", "30")
    truth = sim.truth()
    root = sim.folder_id("msgfolderroot")
    page = sim.ok("/mailFolders")
    check_equal(len(page["value"]), 10, "folders on the first page")
    listed = []
    while True:
        listed += page["value"]
        if "@odata.nextLink" not in page:
            break
        page = sim.call(page["@odata.nextLink"]).json
    want = {f["id"] for f in truth["folders"] if f["parentFolderId"] == root and not f["isHidden"]}
    check_equal({f["id"] for f in listed}, want, "direct children of the root")
    check(len(want) < len([f for f in truth["folders"] if not f["isHidden"]]), "all folders are direct children")
    check(all("wellKnownName" not in f for f in listed), "a well-known name is returned")
    hidden = sim.ok("/mailFolders?includeHiddenFolders=true&$top=100")
    check(any(f["isHidden"] for f in hidden["value"]), "hidden folders are left out although asked for")


# contract: fact.01.folder_lists
def test_well_known_names_are_for_asking_only(t):
    sim = Sim(t, "--mailboxes", "6", "--messages", "1")
    for name in ("inbox", "Inbox", "sentitems", "DELETEDITEMS", "msgfolderroot", "recoverableitemsdeletions"):
        folder = sim.ok(f"/mailFolders/{name}")
        check_equal(sim.ok(f"/mailFolders('{name}')")["id"], folder["id"], "both forms of the path")
        check_equal(folder["id"], sim.folder_id(name.lower()), name)
    check_equal(sim.box("/mailFolders/clutter").code, "ErrorItemNotFound", "a name that this mailbox does not have")
    names = {sim.ok("/mailFolders/inbox", user=user)["displayName"] for user in sim.ready["mailboxes"]}
    check(len(names) > 1, f"display names are not localised: {names}")


def test_child_folders_one_level(t):
    sim = Sim(t, "--folders", "20", "--messages", "5")
    truth = sim.truth()
    parent = next(f for f in truth["folders"] if not f["isSearchFolder"] and f["wellKnownName"] != "msgfolderroot"
                  and any(c["parentFolderId"] == f["id"] and not c["isHidden"] for c in truth["folders"]))
    children = sim.ok(f"/mailFolders/{quote(parent['id'])}/childFolders?$top=100")["value"]
    want = {f["id"] for f in truth["folders"] if f["parentFolderId"] == parent["id"] and not f["isHidden"]}
    check_equal({f["id"] for f in children}, want, "children")
    check_equal(sim.ok(f"/mailFolders/{quote(parent['id'])}")["childFolderCount"], len(want), "childFolderCount")


# contract: folder.delta_flat
def test_folder_delta_is_flat_and_tells_changes(t):
    sim = Sim(t, "--folders", "15", "--messages", "5", "--years", "1")
    items, link, pages = sim.round("/mailFolders/delta", page=7)
    truth = {f["id"]: f for f in sim.truth()["folders"]}
    root = sim.folder_id("msgfolderroot")

    def in_tree(folder):
        while folder is not None and folder["id"] != root:
            folder = truth.get(folder["parentFolderId"])
        return folder is not None

    check_equal({f["id"] for f in items}, {i for i, f in truth.items() if in_tree(f) and i != root}, "folders told")
    check(pages > 2, "pages of seven")
    check(any(f["isHidden"] for f in items), "hidden folders are told, marked")
    check(any(f["@odata.type"] == "#microsoft.graph.mailSearchFolder" for f in items), "search folders are told, typed")
    made = sim.ops({"op": "folder_create", "parent": "inbox", "name": "Neu"})[0]["id"]
    old = next(f["id"] for f in items if not truth[f["id"]]["wellKnownName"] and not truth[f["id"]]["isSearchFolder"])
    sim.ops({"op": "folder_rename", "folder": made, "name": "Neuer"}, {"op": "folder_delete", "folder": old})
    items, link, _ = sim.round(link)
    state = fold(items)
    check_equal(state[made]["displayName"], "Neuer", "the new folder")
    check(any(f["id"] == old and "@removed" in f for f in items), "the deleted folder is told as removed")
    answer = sim.box(f"/mailFolders/{quote(old)}/messages/delta")
    check_equal((answer.status, answer.code), (404, "ErrorItemNotFound"), "delta of a folder that is gone")
    check_equal(sim.round(link)[0], [], "nothing new")


# --- message deltas ---------------------------------------------------------------------------------


def test_delta_of_every_folder_equals_the_truth(t):
    sim = Sim(t, "--messages", "500", "--folders", "10", calm=False)
    truth = sim.truth()
    seen = {}
    for folder in truth["folders"]:
        if folder["isSearchFolder"]:
            continue
        items, _, _ = sim.round(f"/mailFolders/{quote(folder['id'])}/messages/delta?$select=subject,changeKey,parentFolderId", page=20)
        for item in items:
            check_equal(item["parentFolderId"], folder["id"], "parentFolderId")
            seen[item["id"]] = item["changeKey"]
    check_equal(seen, {m["id"]: m["changeKey"] for m in truth["messages"]}, "ids and versions of all folders")


# contract: fact.02.removal_is_leaving mailbox.archive
def test_removal_means_left_this_folder(t):
    sim = Sim(t, "--messages", "50")
    _, link, _ = sim.round(inbox())
    id_ = sim.ops({"op": "arrive", "subject": "one"})[0]["id"]
    items, link, _ = sim.round(link)
    check_equal([i["id"] for i in items], [id_], "the arrival")
    _, archive, _ = sim.round("/mailFolders/archive/messages/delta")
    sim.ops({"op": "move", "id": id_, "to": "archive"})
    items, link, _ = sim.round(link)
    check_equal(items, [{"@odata.type": "#microsoft.graph.message", "id": id_, "@removed": {"reason": "deleted"}}], "the removal")
    items, _, _ = sim.round(archive)
    check_equal([(i["id"], "@removed" in i) for i in items], [(id_, False)], "the same id in the other folder")
    check_equal(sim.ok(f"/messages/{quote(id_)}")["parentFolderId"], sim.folder_id("archive"), "it still exists")
    sim.ops({"op": "delete", "id": id_})
    check_equal(sim.box(f"/messages/{quote(id_)}").code, "ErrorItemNotFound", "a deleted message")


# contract: fact.03.add_before_removal
def test_add_may_come_before_or_after_the_removal(t):
    sim = Sim(t, "--messages", "80", "--replica-ms", "400")
    _, a, _ = sim.round(inbox())
    _, b, _ = sim.round("/mailFolders/archive/messages/delta")
    orders = set()
    for _ in range(40):
        id_ = sim.ops({"op": "arrive"})[0]["id"]
        got = []
        while [x for x in got if x == "added"] == []:
            items, a, _ = sim.round(a)
            got += ["added" for i in items if i["id"] == id_]
        sim.ops({"op": "move", "id": id_, "to": "archive"})
        told = []
        while len(set(told)) < 2:
            items, a, _ = sim.round(a)
            told += ["removed" for i in items if i["id"] == id_ and "@removed" in i]
            items, b, _ = sim.round(b)
            told += ["added" for i in items if i["id"] == id_ and "@removed" not in i]
        orders.add(told[0])
        if len(orders) == 2:
            return
    check(False, f"always the same order: {orders}")


# contract: fact.04.partial_items
def test_changed_items_are_partial(t):
    sim = Sim(t, "--messages", "30", "--partial", "100")
    items, link, _ = sim.round(inbox("?$select=subject,isRead,changeKey,body"))
    known = fold(items)
    id_ = next(i for i, m in known.items() if m["isRead"])
    sim.ops({"op": "patch", "id": id_, "set": {"isRead": False}})
    items, link, _ = sim.round(link)
    check_equal(len(items), 1, "one change")
    check_equal(set(items[0]), {"@odata.type", "@odata.etag", "id", "isRead"}, "members of a partial entry")
    check_equal(fold(items, known)[id_]["isRead"], False, "the merge")
    sim.post("/variants", {"partial": 0})
    sim.ops({"op": "patch", "id": id_, "set": {"isRead": True}})
    items, _, _ = sim.round(link)
    check("subject" in items[0] and "body" in items[0], "all selected properties")


# contract: delta.repeated_items
def test_an_item_may_come_several_times(t):
    sim = Sim(t, "--messages", "30", "--repeat", "100")
    items, link, _ = sim.round(inbox())
    id_ = items[0]["id"]
    for read in (False, True, False, True, False):
        sim.ops({"op": "patch", "id": id_, "set": {"isRead": read}})
    items, _, _ = sim.round(link)
    check(len([i for i in items if i["id"] == id_]) > 1, "told once only")
    check_equal(items[-1]["isRead"], False, "the last one wins")


# contract: fact.05.same_link_empty_pages
def test_same_link_and_empty_pages(t):
    sim = Sim(t, "--messages", "200", "--same-link", "100")
    _, link, _ = sim.round(inbox())
    items, again, _ = sim.round(link)
    check_equal((items, again), ([], link), "a round without news")
    sim.post("/variants", {"same_link": 0, "empty_page": 60})
    items, other, _ = sim.round(link)
    check(items == [] and other != link, "another token")
    sizes = []
    sim.round(inbox(), page=5, on_page=lambda page: sizes.append(len(page["value"])))
    check(0 in sizes[:-1], f"no empty page among {sizes}")


# contract: delta.old_link
def test_old_delta_link_stays_good(t):
    sim = Sim(t, "--messages", "20")
    _, link, _ = sim.round(inbox())
    id_ = sim.ops({"op": "arrive"})[0]["id"]
    for _ in range(3):
        items, _, _ = sim.round(link)
        check_equal([i["id"] for i in items], [id_], "the same link again")


# contract: delta.came_and_went
def test_came_and_went_between_rounds(t):
    for collapse, want in (("100", 0), ("0", 1)):
        sim = Sim(t, "--messages", "20", name=f"graphsim{collapse}")
        sim.post("/variants", {"collapse": int(collapse)})
        _, link, _ = sim.round(inbox())
        id_ = sim.ops({"op": "arrive"})[0]["id"]
        sim.ops({"op": "move", "id": id_, "to": "archive"})
        items, _, _ = sim.round(link)
        check_equal(len(items), want, f"mentions with collapse {collapse}")
        check(all("@removed" in i for i in items), "only as removed")


# contract: delta.there_and_back
def test_there_and_back_ends_here(t):
    sim = Sim(t, "--messages", "20")
    _, link, _ = sim.round(inbox())
    id_ = sim.ops({"op": "arrive"})[0]["id"]
    _, link, _ = sim.round(link)
    sim.ops({"op": "move", "id": id_, "to": "archive"}, {"op": "move", "id": id_, "to": "inbox"})
    items, _, _ = sim.round(link)
    check_equal([i["id"] for i in items if "@removed" not in i][-1:], [id_], "the last word")
    check("@removed" not in items[-1], "removed at the end")


# contract: fact.06.prefer_on_every_page
def test_prefer_belongs_to_every_page(t):
    sim = Sim(t, "--messages", "60")
    page = sim.ok(inbox("?$select=subject"), prefer=f"{IMMUTABLE}, odata.maxpagesize=3")
    check_equal(len(page["value"]), 3, "items of the first page")
    check(all(m["id"].startswith("AAkA") for m in page["value"]), "immutable ids")
    check(all(set(m) == {"@odata.type", "@odata.etag", "id", "subject"} for m in page["value"]), "selected properties only")
    after = sim.call(page["@odata.nextLink"], prefer=None).json
    check_equal(len(after["value"]), 10, "page size forgotten")
    check(all(m["id"].startswith("AAMk") for m in after["value"]), "id type forgotten")
    check(all("subject" in m and "body" not in m for m in after["value"]), "$select is in the token")
    refused = sim.call(page["@odata.nextLink"] + "&$select=subject")
    check_equal(refused.status, 400, "query options with a token")


# contract: fact.07.filter_caps_delta
def test_filtered_delta_is_capped(t):
    sim = Sim(t, "--messages", "14000", "--folders", "0", "--mean-body", "64")
    total = sim.ok("/mailFolders/inbox")["totalItemCount"]
    check(total > 5200, f"only {total} in the inbox")
    items, link, _ = sim.round(inbox("?$select=receivedDateTime&$filter=receivedDateTime%20ge%202000-01-01T00:00:00Z"), page=1000)
    check_equal(len(items), 5000, "items of a filtered round")
    check_equal(sim.round(link)[0], [], "and nothing after it")
    some, _, _ = sim.round(inbox(f"?$select=receivedDateTime&$filter=receivedDateTime%20ge%20{items[99]['receivedDateTime']}"), page=1000)
    check(100 <= len(some) < 110, f"{len(some)} since the hundredth")
    for query in ("$filter=isRead%20eq%20true", "$orderby=subject", "$search=x", "$filter=receivedDateTime%20le%202000-01-01T00:00:00Z"):
        check_equal(sim.box(inbox("?" + query)).status, 400, query)


def test_change_types(t):
    sim = Sim(t, "--messages", "20")
    _, link, _ = sim.round(inbox("?changeType=created"))
    id_ = sim.ops({"op": "arrive"})[0]["id"]
    _, link, _ = sim.round(link)
    sim.ops({"op": "patch", "id": id_, "set": {"isRead": True}})
    check_equal(sim.round(link)[0], [], "an update, when only creations are wanted")


# contract: fact.08.dead_cursor
def test_dead_tokens_in_three_forms(t):
    sim = Sim(t, "--messages", "60")
    forms = {}
    for form, status, code in ((1, 410, "SyncStateNotFound"), (2, 410, "resyncRequired"), (3, 400, "syncStateNotFound")):
        sim.post("/variants", {"gone_form": form})
        _, link, _ = sim.round(inbox())
        _, other, _ = sim.round("/mailFolders/archive/messages/delta")
        sim.ops({"op": "evict_deltas", "folder": "inbox"})
        answer = sim.call(link)
        check_equal((answer.status, answer.code), (status, code), f"form {form}")
        forms[form] = answer.header("Location")
        check_equal(sim.call(other).status, 200, "another folder's token")
        check_equal(sim.box(inbox()).status, 200, "a new round")
    check(forms[1] is None and forms[3] is None, "Location in a form that has none")
    check(forms[2].endswith("$deltatoken="), "Location with an empty token")
    answer = sim.call(forms[2])
    check(answer.status == 200 and answer.json["value"], "an empty token is a first request")


# contract: fact.08.dead_cursor
def test_token_dies_in_the_middle_of_a_round(t):
    sim = Sim(t, "--messages", "60", "--gone-form", "1")
    page = sim.ok(inbox(), prefer="odata.maxpagesize=2")
    sim.ops({"op": "evict_deltas"})
    answer = sim.call(page["@odata.nextLink"])
    check_equal((answer.status, answer.code), (410, "SyncStateNotFound"), "a nextLink after the eviction")
    check(re.search(r"generation=\d+;\[highest=\d+\]", answer.json["error"]["message"]), "the message")
    check_equal(sim.call(page["@odata.nextLink"][:-20]).code, "SyncStateInvalid", "a token that is none")


def test_changes_during_the_first_round_are_not_lost(t):
    sim = Sim(t, "--messages", "300", "--folders", "0")
    state, link, turn = {}, inbox("?$select=isRead,changeKey"), 0
    here_id = sim.folder_id("inbox")
    while True:
        answer = sim.call(link if link.startswith("http") else f"/users/{quote(sim.user)}{link}", prefer=f"{IMMUTABLE}, odata.maxpagesize=10").json
        fold(answer["value"], state)
        if "@odata.deltaLink" in answer:
            break
        link = answer["@odata.nextLink"]
        if turn < 12:
            here = sorted(set(state) & {m["id"] for m in sim.truth()["messages"] if m["parentFolderId"] == here_id})
            sim.ops({"op": "arrive"}, {"op": "move", "id": here[turn], "to": "archive"}, {"op": "delete", "id": here[-1 - turn]},
                    {"op": "patch", "id": here[len(here) // 2], "set": {"flag": "flagged"}})
        turn += 1
    for id_ in [i for i, m in fold(sim.round(answer["@odata.deltaLink"])[0], dict(state)).items() if i not in state]:
        check(False, f"{id_} appears in the second round only")
    want = {m["id"]: m["changeKey"] for m in sim.truth()["messages"] if m["parentFolderId"] == here_id}
    check_equal(set(state), set(want), "ids")
    check_equal({i: m["changeKey"] for i, m in state.items()}, want, "versions")


def test_delta_follows_the_mutator(t):
    """Every variant on, folders come and go: a reader that merges ends with the truth."""
    sim = Sim(t, "--messages", "200", "--folders", "6", "--replica-ms", "30", calm=False)
    sim.post("/mutator", {"rate": 2000, "until_count": 1500, "weights": {
        "arrive": 30, "read": 20, "flag": 10, "move": 25, "trash": 5, "there_and_back": 5, "delete": 10, "folder": 2}})
    links, states = {}, {}
    quiet = 0
    while quiet < 3:
        idle = sim.get("/mutator")["idle"]
        news = 0
        folders = {f["id"]: f for f in sim.truth()["folders"] if not f["isSearchFolder"]}
        for gone in set(links) - set(folders):
            links.pop(gone)
            states.pop(gone)
        for id_ in folders:
            first = f"/mailFolders/{quote(id_)}/messages/delta?$select=isRead,flag,subject,changeKey"
            try:
                items, links[id_], _ = sim.round(links.get(id_, first), page=40)
            except AssertionError:
                check(id_ not in {f["id"] for f in sim.truth()["folders"]}, "a folder that exists failed")
                continue
            news += len(items)
            fold(items, states.setdefault(id_, {}))
        quiet = quiet + 1 if idle and not news else 0
    truth = sim.truth()
    for id_, state in states.items():
        want = {m["id"]: (m["isRead"], m["flagStatus"]) for m in truth["messages"] if m["parentFolderId"] == id_}
        check_equal({i: (m["isRead"], m["flag"]["flagStatus"]) for i, m in state.items()}, want, f"folder {id_}")


# contract: delta.late
def test_a_change_may_be_told_late(t):
    sim = Sim(t, "--messages", "20", "--replica-ms", "1500")
    _, link, _ = sim.round(inbox())
    empty = 0
    while empty == 0:  # how late is a matter of chance
        id_ = sim.ops({"op": "arrive"})[0]["id"]
        check_equal(sim.ok(f"/messages/{quote(id_)}")["id"], id_, "it is there")
        items, link, _ = sim.round(link)
        while id_ not in [i["id"] for i in items]:
            empty += 1
            items, link, _ = sim.round(link)


# contract: folder.gone
def test_the_delta_of_a_folder_that_is_gone(t):
    sim = Sim(t, "--messages", "20")
    folder = sim.ops({"op": "folder_create", "parent": "inbox", "name": "x"})[0]["id"]
    _, link, _ = sim.round(f"/mailFolders/{quote(folder)}/messages/delta")
    sim.ops({"op": "folder_delete", "folder": folder})
    for url in (link, f"/mailFolders/{quote(folder)}/messages/delta"):
        answer = sim.call(url) if url == link else sim.box(url)
        check_equal((answer.status, answer.code), (404, "ErrorItemNotFound"), url[-40:])


# contract: mailbox.moved
def test_a_mailbox_that_is_moved_forgets_its_deltas(t):
    sim = Sim(t, "--messages", "20")
    _, link, _ = sim.round(inbox())
    sim.post(f"/mailboxes/{sim.user}/state", {"state": "unavailable"})
    check_equal(sim.call(link).status, 503, "while it is moved")
    sim.post(f"/mailboxes/{sim.user}/state", {"state": "ok"})
    sim.ops({"op": "evict_deltas"})
    check(sim.call(link).status in (400, 410), "its deltas afterwards")
    check(sim.round(inbox())[0], "a new round")


# contract: delta.whole_mailbox
def test_no_delta_of_the_whole_mailbox(t):
    sim = Sim(t)
    answer = sim.box("/messages/delta")
    check_equal((answer.status, answer.code), (400, "BadRequest"), "/messages/delta")
    check("Change tracking is not supported" in answer.json["error"]["message"], "the message")


# --- ids ----------------------------------------------------------------------------------------------


# contract: ids.immutable
def test_ids_move_unless_immutable(t):
    sim = Sim(t, "--messages", "10")
    item = sim.ops({"op": "arrive"})[0]
    check_equal(sim.ok(f"/messages/{quote(item['restId'])}", prefer=None)["id"], item["restId"], "the mutable id")
    sim.ops({"op": "move", "id": item["id"], "to": "archive"})
    check_equal(sim.box(f"/messages/{quote(item['restId'])}").code, "ErrorItemNotFound", "the old id after a move")
    moved = sim.ok(f"/messages/{quote(item['id'])}", prefer=None)
    check(moved["id"] not in (item["restId"], item["id"]), "a new mutable id")
    check_equal(sim.ok(f"/messages/{quote(item['id'])}")["id"], item["id"], "the immutable id stays")


# contract: fact.22.case_of_ids
def test_ids_differ_in_case_only(t):
    sim = Sim(t, "--messages", "200")
    ids = [m["id"] for m in sim.truth()["messages"]]
    check_equal(len(set(ids)), len(ids), "ids are unique")
    check(len({i.lower() for i in ids}) < len(ids), "no two ids that differ in case only")
    pairs = {}
    for i in ids:
        pairs.setdefault(i.lower(), []).append(i)
    one, two = next(p for p in pairs.values() if len(p) == 2)
    select = "?$select=receivedDateTime,internetMessageId"
    check(sim.ok(f"/messages/{quote(one)}{select}")["internetMessageId"] != sim.ok(f"/messages/{quote(two)}{select}")["internetMessageId"],
          "both are the same message")


# contract: error.400.malformed_id error.404.item_not_found
def test_ids_of_others_and_malformed_ids(t):
    sim = Sim(t, "--mailboxes", "2", "--messages", "5")
    other = sim.truth(user=sim.ready["mailboxes"][1])["messages"][0]["id"]
    check_equal(sim.box(f"/messages/{quote(other)}").code, "ErrorItemNotFound", "an id of another mailbox")
    answer = sim.box("/messages/nonsense")
    check_equal((answer.status, answer.code), (400, "ErrorInvalidIdMalformed"), "no id at all")


# contract: mailbox.by_object_id
def test_mailbox_by_address_in_any_case_and_by_object_id(t):
    sim = Sim(t, "--messages", "5")
    id_ = sim.get("/mailboxes")[0]["id"]
    for user in (sim.user.upper(), id_, id_.upper()):
        check_equal(sim.ok("/mailFolders/inbox", user=user)["id"], sim.folder_id("inbox"), user)
    check_equal(sim.box("/messages", user="nobody@contoso.example").code, "ErrorInvalidUser", "no such user")


# --- lists --------------------------------------------------------------------------------------------


def test_list_filter_order_and_paging(t):
    sim = Sim(t, "--messages", "300")
    truth = sorted(sim.truth()["messages"], key=lambda m: m["receivedDateTime"])
    page = sim.ok("/messages")
    check_equal(len(page["value"]), 10, "default page")
    check("$skip=10" in page["@odata.nextLink"] or "%24skip=10" in page["@odata.nextLink"], "paging by $skip")
    times = [m["receivedDateTime"] for m in page["value"]]
    check_equal(times, sorted(times, reverse=True), "newest first")
    a, b = truth[100]["receivedDateTime"], truth[180]["receivedDateTime"]
    query = f"?$select=id,receivedDateTime&$top=25&$orderby=receivedDateTime&$filter=receivedDateTime%20ge%20{a}%20and%20receivedDateTime%20lt%20{b}"
    found, link = [], query
    answer = sim.ok("/messages" + query)
    while True:
        found += [m["id"] for m in answer["value"]]
        if "@odata.nextLink" not in answer:
            break
        answer = sim.call(answer["@odata.nextLink"]).json
    want = [m["id"] for m in truth if a <= m["receivedDateTime"] < b]
    check_equal(sorted(found), sorted(want), "a slice")
    one = truth[42]
    answer = sim.ok(f"/messages?$select=id&$filter=internetMessageId%20eq%20'{quote(one['internetMessageId'])}'")
    check_equal([m["id"] for m in answer["value"]], [one["id"]], "by internetMessageId")
    check_equal(sim.box("/messages?$top=1001").status, 400, "$top beyond 1,000")
    check_equal(sim.box("/messages?$filter=nonsense%20eq%201").status, 400, "a filter that is none")


# contract: pages.skip_shifts
def test_deletions_shift_pages(t):
    sim = Sim(t, "--messages", "60")
    page = sim.ok("/messages?$top=20&$select=id")
    sim.ops(*({"op": "delete", "id": m["id"]} for m in page["value"][:5]))
    rest = sim.call(page["@odata.nextLink"]).json["value"]
    missed = {m["id"] for m in sim.truth()["messages"]} - {m["id"] for m in page["value"]} - {m["id"] for m in rest}
    check_equal(len(rest), 20, "items of the second page")
    check_equal(len(missed), 60 - 40 - 0, "five were skipped, five more seen")
    third = sim.ok("/messages?$top=1000&$skip=40&$select=id")["value"]
    check_equal(len(missed - {m["id"] for m in third}), 5, "never listed by paging")


# contract: filter.inefficient
def test_inefficient_filter(t):
    sim = Sim(t)
    since = "receivedDateTime%20ge%202020-01-01T00:00:00Z"
    for query, status in ((f"$filter={since}&$orderby=receivedDateTime%20desc", 200),
                          (f"$filter={since}%20and%20isRead%20eq%20true&$orderby=receivedDateTime", 200),
                          (f"$filter=isRead%20eq%20true%20and%20{since}&$orderby=receivedDateTime", 400),
                          (f"$filter=isRead%20eq%20true&$orderby=receivedDateTime", 400),
                          ("$orderby=sentDateTime", 200)):
        answer = sim.box("/messages?" + query)
        check_equal(answer.status, status, query)
        if status == 400:
            check_equal(answer.code, "InefficientFilter", query)


def test_headers_and_unique_body_only_when_selected(t):
    sim = Sim(t, "--messages", "100")
    id_ = next(m["id"] for m in sim.truth()["messages"] if m["inReplyTo"])
    plain = sim.ok(f"/messages/{quote(id_)}")
    check("internetMessageHeaders" not in plain and "uniqueBody" not in plain, "in a plain GET")
    one = sim.ok(f"/messages/{quote(id_)}?$select=internetMessageHeaders,uniqueBody")
    names = {h["name"].lower() for h in one["internetMessageHeaders"]}
    check({"message-id", "in-reply-to", "references"} <= names, f"headers of an answer: {names}")
    check("content" in one["uniqueBody"] and "subject" not in one, "selected properties only")
    listed = sim.ok("/messages?$select=internetMessageHeaders&$top=3")["value"]
    check(all("internetMessageHeaders" not in m for m in listed), "never in lists")


# contract: body.text
def test_body_as_text(t):
    sim = Sim(t, "--messages", "10")
    id_ = sim.truth()["messages"][0]["id"]
    html = sim.ok(f"/messages/{quote(id_)}?$select=body")["body"]
    answer = sim.box(f"/messages/{quote(id_)}?$select=body", prefer='outlook.body-content-type="text"')
    text = answer.json["body"]
    check_equal((html["contentType"], text["contentType"]), ("html", "text"), "contentType")
    check("<" in html["content"] and "<p" not in text["content"], "content")
    check("outlook.body-content-type" in answer.header("Preference-Applied"), "Preference-Applied")


# --- attachments, meetings, JSON ------------------------------------------------------------------------


# contract: fact.11.attachments
def test_attachments(t):
    sim = Sim(t, "--messages", "900")
    truth = sim.truth()["messages"]
    inline = next(m for m in truth if m["attachments"] and m["attachments"] == m["inlineAttachments"])
    check_equal(sim.ok(f"/messages/{quote(inline['id'])}")["hasAttachments"], False, "hasAttachments with inline ones only")
    listed = sim.ok(f"/messages/{quote(inline['id'])}/attachments")["value"]
    check(listed and all(a["isInline"] and a["contentBytes"] for a in listed), "inline attachments, with their bytes")
    kinds = {}
    for m in truth:
        if m["attachments"] > m["inlineAttachments"]:
            for a in sim.ok(f"/messages/{quote(m['id'])}/attachments?$select=id,name,contentType,size,isInline")["value"]:
                check("contentBytes" not in a, "bytes that were not selected")
                kinds.setdefault(a["@odata.type"].split(".")[-1], (m["id"], a))
    check_equal(set(kinds), {"fileAttachment", "itemAttachment", "referenceAttachment"}, "kinds")
    for kind, status in (("fileAttachment", 200), ("itemAttachment", 200), ("referenceAttachment", 405)):
        m, a = kinds[kind]
        answer = sim.box(f"/messages/{quote(m)}/attachments/{quote(a['id'])}/$value")
        check_equal(answer.status, status, kind)
        if kind == "fileAttachment":
            check(a["size"] > len(answer.body) > 0, "size is of the encoded form")


# contract: fact.12.tenatively mail.meeting
def test_meeting_mail(t):
    sim = Sim(t, "--messages", "3000", "--mean-body", "64")
    types, answers = set(), set()
    page = sim.ok("/messages?$top=1000&$select=subject,microsoft.graph.eventMessage/meetingMessageType")
    while True:
        types |= {m.get("@odata.type") for m in page["value"]}
        answers |= {m.get("meetingMessageType") for m in page["value"]}
        if "@odata.nextLink" not in page:
            break
        page = sim.call(page["@odata.nextLink"]).json
    check({"#microsoft.graph.eventMessage", "#microsoft.graph.eventMessageRequest", "#microsoft.graph.eventMessageResponse"} <= types, f"{types}")
    check("meetingTenativelyAccepted" in answers and "meetingTentativelyAccepted" not in answers, f"{answers}")


# contract: json.odd
def test_odd_but_legal_json(t):
    sim = Sim(t, "--messages", "400")
    text = sim.box("/messages?$top=400").body.decode()
    json.loads(text)
    check("\\/" in text, "no escaped slash")
    check(re.search(r"\\u[0-9a-f]{4}", text), "no \\u escape")
    digits = {len(m) for m in re.findall(r"DateTime\":\"[0-9T:-]+\.?(\d*)Z", text)}
    check(len(digits) > 2 and max(digits) == 7, f"fraction digits: {digits}")
    sim.post("/variants", {"quirks": 0})
    check("\\/" not in sim.box("/messages?$top=400").body.decode(), "quirks that cannot be switched off")


def test_mime(t):
    sim = Sim(t, "--messages", "5")
    answer = sim.box(f"/messages/{quote(sim.truth()['messages'][0]['id'])}/$value")
    check_equal(answer.header("Content-Type"), "text/plain", "type")
    check(answer.body.startswith(b"From: "), "a header first")


def test_same_seed_same_mailbox(t):
    def picture(sim):
        truth = sim.truth()
        return [[m[k] for k in ("id", "subject", "from", "isRead", "bodySha256", "parentFolderId")] for m in truth["messages"]]

    one, two = (picture(Sim(t, "--seed", "7", "--now", "2026-03-01T12:00:00Z", "--messages", "100", name=f"g{n}")) for n in (1, 2))
    check_equal(one, two, "two runs of a seed")
    other = picture(Sim(t, "--seed", "8", "--now", "2026-03-01T12:00:00Z", "--messages", "100", name="g3"))
    check(one != other, "another seed")


if __name__ == "__main__":
    main(*(f for n, f in list(globals().items()) if n.startswith("test_")))
