#!/usr/bin/python3
"""graphsim's writes of mail: drafts, the mark, versions, attachments, sending, and faults after the deed."""

import base64
import http.client
import urllib.parse

from crmtest import check, check_equal, main, wait_for
from simclient import Sim, quote

MARK = "String {8ecc0001-6880-4ebe-992f-8888d2eeaa1d} Name crmsync"


def draft(sim, value="r1", to=("x@fabrikam.example",), **more):
    body = {"subject": "Hello", "body": {"contentType": "HTML", "content": "<p>Hi</p>"},
            "toRecipients": [{"emailAddress": {"address": a}} for a in to],
            "singleValueExtendedProperties": [{"id": MARK, "value": value}], **more}
    return sim.box("/messages", method="POST", body=body)


def search(sim, value="r1", op=None):
    condition = op or f"ep/value eq '{value}'"
    return sim.ok("/messages?$filter=" + quote(f"singleValueExtendedProperties/Any(ep: ep/id eq '{MARK}' and {condition})")
                  + "&$expand=" + quote(f"singleValueExtendedProperties($filter=id eq '{MARK}')"))["value"]


# contract: fact.13.send_is_no_delivery
def test_a_draft_is_sent_once_and_keeps_its_immutable_id(t):
    sim = Sim(t, "--messages", "5")
    made = draft(sim)
    check_equal((made.status, made.json["isDraft"], made.json["subject"]), (201, True, "Hello"), "the draft")
    check_equal(made.json["parentFolderId"], sim.folder_id("drafts"), "folder")
    item = made.json["id"]
    sent = sim.box(f"/messages/{quote(item)}/send", method="POST")
    check_equal((sent.status, sent.body), (202, b""), "send")
    copy = sim.ok(f"/messages/{quote(item)}")
    check_equal((copy["isDraft"], copy["parentFolderId"]), (False, sim.folder_id("sentitems")), "the copy")
    check_equal(copy["internetMessageId"], made.json["internetMessageId"], "Message-ID")
    check_equal(sim.box(f"/messages/{quote(item)}/send", method="POST").status, 400, "it is no draft any more")
    log = sim.truth()["sent"]
    check_equal([(s["id"], s["properties"]) for s in log], [(item, {MARK: "r1"})], "what left the house")


def test_the_mark_is_found_and_may_lag(t):
    sim = Sim(t, "--messages", "5")
    first, _ = draft(sim, "r1").json["id"], draft(sim, "r2")
    found = search(sim)
    check_equal([f["id"] for f in found], [first], "by value")
    check_equal(found[0]["singleValueExtendedProperties"], [{"id": MARK, "value": "r1"}], "expanded")
    check_equal(len(search(sim, op="startswith(ep/value, 'r')")), 2, "by prefix")
    check("singleValueExtendedProperties" not in sim.ok(f"/messages/{quote(first)}"), "only when expanded")
    sim.post("/variants", {"search_lag_ms": 600000})
    check_equal(search(sim), [], "the search lags behind")


def test_a_stale_version_is_refused(t):
    sim = Sim(t, "--messages", "5")
    made = draft(sim).json
    path, etag = f"/messages/{quote(made['id'])}", made["@odata.etag"]
    change = {"singleValueExtendedProperties": [{"id": MARK, "value": "claimed"}]}
    check_equal(sim.box(path, method="PATCH", body=change, headers={"If-Match": etag}).status, 200, "first")
    second = sim.box(path, method="PATCH", body=change, headers={"If-Match": etag})
    check_equal((second.status, second.code), (412, "ErrorIrresolvableConflict"), "second")


def test_transit(t):
    sim = Sim(t, "--messages", "5", "--transit-ms", "400")
    item = draft(sim).json["id"]
    check_equal(sim.box(f"/messages/{quote(item)}/send", method="POST").status, 202, "send")
    check_equal(sim.box(f"/messages/{quote(item)}").status, 404, "on its way")
    wait_for(lambda: sim.box(f"/messages/{quote(item)}").status == 200, 20, "it arrives")
    check_equal(sim.ok(f"/messages/{quote(item)}")["isDraft"], False, "sent")


def test_a_failure_after_the_deed(t):
    sim = Sim(t, "--messages", "5")
    item = draft(sim).json["id"]
    sim.faults({"match": {"path_contains": "/send", "method": "POST"}, "action": {"status": 504, "served": True}})
    check_equal(sim.box(f"/messages/{quote(item)}/send", method="POST").status, 504, "the answer")
    check_equal(len(sim.truth()["sent"]), 1, "and yet it left")
    sim.faults({"match": {"path_contains": "/messages", "method": "POST"}, "action": {"status": 504}})
    check_equal(draft(sim, "r9").status, 504, "before the deed")
    check_equal(search(sim, "r9"), [], "nothing was made")


# contract: error.403.send_as error.send_quota error.400.invalid_recipients
def test_refusals(t):
    sim = Sim(t, "--messages", "5")
    for name, status, code, more in (
            ("nobody", 400, "ErrorInvalidRecipients", {"to": ()}),
            ("no address", 400, "ErrorInvalidRecipients", {"to": ("nonsense",)}),
            ("too many", 400, "ErrorInvalidRecipients", {"to": tuple(f"p{i}@x.example" for i in range(501))}),
            ("another sender", 403, "ErrorSendAsDenied", {"from": {"emailAddress": {"address": "boss@contoso.example"}}})):
        item = draft(sim, **more).json["id"]
        answer = sim.box(f"/messages/{quote(item)}/send", method="POST")
        check_equal((answer.status, answer.code), (status, code), name)
    bad = draft(sim, internetMessageHeaders=[{"name": "In-Reply-To", "value": "<a@b>"}])
    check_equal(bad.status, 400, "only headers of one's own")
    check_equal(sim.truth()["sent"], [], "nothing left")


def test_replies(t):
    sim = Sim(t, "--messages", "5")
    original = sim.truth()["messages"][-1]
    made = sim.box(f"/messages/{quote(original['id'])}/createReply", method="POST",
                   body={"message": {"body": {"contentType": "text", "content": "Yes"},
                                     "singleValueExtendedProperties": [{"id": MARK, "value": "r1"}]}})
    check_equal((made.status, made.json["subject"]), (201, f"RE: {original['subject']}"), "reply")
    check_equal(made.json["toRecipients"][0]["emailAddress"]["address"], original["from"], "to the sender")
    both = sim.box(f"/messages/{quote(original['id'])}/createReply", method="POST",
                   body={"comment": "x", "message": {"body": {"contentType": "text", "content": "Yes"}}})
    check_equal(both.status, 400, "comment and body")
    forward = sim.box(f"/messages/{quote(original['id'])}/createForward", method="POST",
                      body={"message": {"toRecipients": [{"emailAddress": {"address": "z@x.example"}}]}})
    check_equal((forward.status, forward.json["subject"]), (201, f"FW: {original['subject']}"), "forward")


# contract: fact.21.upload_session
def test_attachments_by_post_and_by_session(t):
    sim = Sim(t, "--messages", "5")
    small, large = b"abc" * 100, bytes(range(256)) * 20000  # 5 MB
    made = draft(sim, attachments=[{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentType": "text/plain",
                                    "contentBytes": base64.b64encode(small).decode()}]).json
    path = f"/messages/{quote(made['id'])}"
    session = sim.box(path + "/attachments/createUploadSession", method="POST",
                      body={"AttachmentItem": {"attachmentType": "file", "name": "b.bin", "size": len(large)}})
    check_equal(session.status, 201, "session")
    url = urllib.parse.urlsplit(session.json["uploadUrl"])
    at, ends = 0, []
    while at < len(large):
        piece = large[at:at + 2_000_000]
        c = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
        c.request("PUT", url.path, piece, {"Content-Type": "application/octet-stream",
                                           "Content-Range": f"bytes {at}-{at + len(piece) - 1}/{len(large)}"})
        answer = c.getresponse()
        ends.append(answer.status)
        answer.read()
        c.close()
        at += len(piece)
    check_equal(ends, [200, 200, 201], "ranges")
    listed = sim.ok(path + "/attachments?$select=id,name,size")["value"]
    check_equal([(a["name"]) for a in listed], ["a.txt", "b.bin"], "names")
    value = sim.box(f"{path}/attachments/{quote(listed[1]['id'])}/$value")
    check_equal(value.body, large, "contents")
    refused = sim.raw("PUT", url.path, b"x", {**sim.auth(), "Content-Range": "bytes 0-0/1"})
    check_equal(refused.status, 401, "a bearer token has no business there")


def test_delete_and_send_mail(t):
    sim = Sim(t, "--messages", "5")
    item = draft(sim).json["id"]
    check_equal(sim.box(f"/messages/{quote(item)}", method="DELETE").status, 204, "delete")
    check_equal(sim.ok(f"/messages/{quote(item)}")["parentFolderId"], sim.folder_id("deleteditems"), "to Deleted Items")
    sent = sim.box("/sendMail", method="POST", body={"message": {
        "subject": "at once", "toRecipients": [{"emailAddress": {"address": "x@fabrikam.example"}}]}})
    check_equal((sent.status, len(sim.truth()["sent"])), (202, 1), "sendMail")


if __name__ == "__main__":
    main(*(f for n, f in list(globals().items()) if n.startswith("test_")))
