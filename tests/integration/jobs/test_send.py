#!/usr/bin/python3
"""mail.send step by step: nothing goes twice, nothing is lost silently, and what is unknown is said to be."""

import hashlib
import http.server
import threading

from crmtest import check, check_equal, main, wait_for
from jobbed import Jobs

REQUEST = {"to": [{"address": "kim@fabrikam.example", "name": "Kim"}], "subject": "Offer", "body": {"type": "html", "content": "<p>Hi</p>"}}


class Sender:
    def __init__(self, t, *sim_args, **settings):
        self.bed = Jobs(t, "--messages", "10", *sim_args, send=True, **settings)

    def job(self, step, request_id="r1", **more):
        return self.bed.job("mail.send", [{"stream": f"send:{request_id}", "generation": 1, "mode": "none"}], lane="send",
                            send={"step": step, **({"request_id": request_id} if step != "sweep" else {}), **more})

    def run(self, step, request_id="r1", **more):
        end = self.bed.run(self.job(step, request_id, **more))
        return end["feedback"], [r["value"] for r in end["records"]]

    def draft(self, request_id="r1", **change):
        f, records = self.run("draft", request_id, request={**REQUEST, **change, "request_id": request_id})
        return f, records

    def drafted(self, request_id="r1", **change):
        f, _ = self.draft(request_id, **change)
        check_equal((f["outcome"], f["send"]["state"]), ("more", "drafted"), "draft")
        return {k: f["send"][k] for k in ("draft_id", "change_key", "message_id")}

    def sent(self):
        return self.bed.truth()["sent"]

    def drafts(self):
        folder = self.bed.folder_id("drafts")
        return {m["id"] for m in self.bed.truth()["messages"] if m["parentFolderId"] == folder}


def result(records):
    check_equal(len(records), 1, "one result")
    return records[0]["result"], records[0]["reason"]


def test_two_steps_send_once(t):
    s = Sender(t)
    draft = s.drafted(attachments=[{"name": "a.txt", "content": "SGVsbG8=", "content_type": "text/plain"}])
    check_equal(s.sent(), [], "nothing goes before the draft's id is committed")
    f, records = s.run("send", **draft)
    check_equal((f["outcome"], f["send"]["state"], result(records)), ("done", "done", ("sent", None)), "end")
    check_equal([x["id"] for x in s.sent()], [draft["draft_id"]], "sent")
    check_equal((records[0]["graph_id"], records[0]["message_id"]), (draft["draft_id"], draft["message_id"]), "how the CRM joins it")
    check_equal(records[0]["key"].split("/")[2:], ["send_result", "r1"], "key")


def test_a_step_done_again_sends_nothing_more(t):
    """A worker died between sending and its commit; or slept, and its successor has sent."""
    s = Sender(t)
    draft = s.drafted()
    s.run("send", **draft)
    f, records = s.run("send", **draft)
    check_equal((f["outcome"], f["send"]["state"], records), ("retry", "uncertain", []), "the second")
    f, records = s.run("look", **draft)
    check_equal(result(records), ("sent", None), "the look")
    check_equal(len(s.sent()), 1, "once")


def test_of_two_at_once_one_sends(t):
    s = Sender(t)
    draft = s.drafted()
    s.bed.sim.post("/variants", {"latency_ms": 150})
    for _ in range(2):
        s.bed.send(s.job("send", **draft))
    states = sorted(s.bed.answer()["feedback"]["send"]["state"] for _ in range(2))
    check_equal((states, len(s.sent())), (["done", "uncertain"], 1), "states, and how often it went")


# contract: fact.13.send_is_no_delivery
def test_no_answer_after_the_deed(t):
    for action in ({"status": 504, "served": True}, {"drop": True}, {"status": 503, "served": True}):
        s = Sender(t)
        draft = s.drafted()
        s.bed.faults({"match": {"path_contains": "/send", "method": "POST"}, "action": action})
        f, records = s.run("send", **draft)
        check_equal((f["outcome"], f["send"]["state"], records), ("retry", "uncertain", []), f"{action}")
        _, records = s.run("look", **draft)
        check_equal((result(records), len(s.sent())), (("sent", None), 1), f"{action}")


def test_no_answer_before_the_deed(t):
    s = Sender(t)
    draft = s.drafted()
    s.bed.faults({"match": {"path_contains": "/send", "method": "POST"}, "action": {"status": 504}})
    f, _ = s.run("send", **draft)
    check_equal(f["send"]["state"], "uncertain", "unknown to us")
    check_equal(s.sent(), [], "it did not go")
    f, records = s.run("look", **draft)
    check_equal((result(records), len(s.sent())), (("sent", None), 1), "still a draft: sent now")


def test_on_its_way_it_is_nowhere(t):
    s = Sender(t, "--transit-ms", "1500")
    draft = s.drafted()
    s.bed.faults({"match": {"path_contains": "/send", "method": "POST"}, "action": {"status": 504, "served": True}})
    s.run("send", **draft)
    f, _ = s.run("look", **draft)
    check_equal((f["outcome"], f["send"]["state"]), ("retry", "missing"), "nowhere yet")
    wait_for(lambda: s.run("look", **draft, looks=1)[0]["send"]["state"] == "done", 30, "it arrives")
    check_equal(len(s.sent()), 1, "once")


def test_too_late_is_said_and_the_draft_removed(t):
    s = Sender(t)
    before = s.drafts()
    draft = s.drafted()
    _, records = s.run("send", **draft, expired=True)
    check_equal((result(records), s.drafts(), s.sent()), (("refused", "expired"), before, []), "expired")
    f, records = s.run("draft", request={}, refuse="too_large")
    check_equal((f["outcome"], result(records)), ("done", ("refused", "too_large")), "refused unread")


def test_unknown_is_said(t):
    s = Sender(t)
    draft = s.drafted()
    s.bed.ops({"op": "delete", "id": draft["draft_id"]})
    f, _ = s.run("send", **draft)
    check_equal(f["send"]["state"], "missing", "the draft is gone")
    for looks in range(1, 5):
        f, records = s.run("look", **draft, looks=looks)
        check_equal((f["send"]["state"], records), ("missing", []), f"look {looks}")
    f, records = s.run("look", **draft, looks=5)
    check_equal(result(records), ("unknown", "draft_missing"), "the end")
    check("Sent Items" in records[0]["advice"], "what to do")


def test_throttled_is_certain(t):
    s = Sender(t)
    draft = s.drafted()
    for rule in ({"status": 429, "retry_after": "3600"}, {"status": 403, "code": "ErrorExceededMessageLimit"},
                 {"status": 400, "code": "ErrorSubmissionQuotaExceeded"}):
        s.bed.faults({"match": {"path_contains": "/send", "method": "POST"}, "action": rule})
        f, records = s.run("send", **draft)
        check_equal((f["outcome"], f["send"]["state"], records), ("retry", "claimed", []), f"{rule}")
        check(f["send"]["change_key"] != draft["change_key"], "the version that may be sent next")
        draft["change_key"] = f["send"]["change_key"]
        if "retry_after" in rule:
            break
    s2 = Sender(t, name="second")
    draft = s2.drafted()
    s2.bed.faults({"match": {"path_contains": "/send", "method": "POST"}, "action": {"status": 403, "code": "ErrorExceededMessageLimit"}})
    f, _ = s2.run("send", **draft)
    check_equal((f["send"]["state"], f["parts"][0]["error"]["service_code"]), ("claimed", "ErrorExceededMessageLimit"), "quota")
    draft["change_key"] = f["send"]["change_key"]
    _, records = s2.run("send", **draft)
    check_equal((result(records), len(s2.sent())), (("sent", None), 1), "later")


def test_what_can_never_be_sent_never_reaches_graph(t):
    s = Sender(t)
    before = len(s.bed.sim.get("/requests?last=10000"))
    many = [{"address": f"p{i}@fabrikam.example"} for i in range(501)]
    for reason, change in (("no_recipient", {"to": []}), ("too_many_recipients", {"to": many[:300], "bcc": many[300:]}),
                           ("bad_address", {"cc": [{"address": "nobody"}]}), ("bad_address", {"to": [{"address": "a@b\r\nBcc: x@y"}]}),
                           ("bad_attachment", {"attachments": [{"name": "x", "content": "not base64!"}]}),
                           ("expired", {"not_after": "2020-01-01T00:00:00.000Z"})):
        f, records = s.draft(**change)
        check_equal((f["outcome"], result(records)), ("done", ("refused", reason)), reason)
    check_equal(len(s.bed.sim.get("/requests?last=10000")), before, "requests to Graph")
    off = Jobs(t, "--messages", "5", name="off")
    end = off.run(off.job("mail.send", [{"stream": "send:r1", "generation": 1, "mode": "none"}], lane="send",
                          send={"step": "draft", "request_id": "r1", "request": {**REQUEST, "request_id": "r1"}}))
    check_equal(result([r["value"] for r in end["records"]]), ("refused", "sending_off"), "off unless switched on")


def test_what_exchange_refuses_is_said_and_removed(t):
    s = Sender(t)
    before = s.drafts()
    draft = s.drafted()
    s.bed.faults({"match": {"path_contains": "/send", "method": "POST"}, "action": {"status": 400, "code": "ErrorInvalidRecipients"}})
    _, records = s.run("send", **draft)
    check_equal(result(records), ("refused", "recipients_refused"), "result")
    check_equal(s.drafts(), before, "no draft stays")
    f, records = s.draft(answers={"how": "reply", "graph_id": draft["draft_id"].swapcase()})
    check(result(records)[0] == "refused", "an original that is not there")


def test_replies(t):
    s = Sender(t)
    original = next(m for m in s.bed.truth()["messages"] if m["from"] and "@" in m["from"])
    draft = s.drafted(to=[], answers={"how": "reply", "graph_id": original["id"]})
    _, records = s.run("send", **draft)
    check_equal(result(records), ("sent", None), "reply")
    check_equal(s.sent()[0]["recipients"], 1, "to the sender")


class Store:
    """A place with files, as a CRM has one."""

    def __init__(self, t, files):
        seen = self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                seen.append((self.path, dict(self.headers)))
                data = files.get(self.path)
                if isinstance(data, int):
                    self.send_response(data)
                    self.send_header("Location", "/a.bin")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                first, last = self.headers["Range"].removeprefix("bytes=").split("-")
                piece = data[int(first):int(last) + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{int(first) + len(piece) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(piece)))
                self.end_headers()
                self.wfile.write(piece)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        t.undo(self.server.shutdown)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def url(self, path):
        return f"http://{self.host}{path}"


# contract: fact.21.upload_session
def test_large_attachments_come_from_the_store_in_pieces(t):
    data = bytes(range(251)) * 35857  # 9,000,107 bytes
    store = Store(t, {"/a.bin": data, "/moved": 302, "/gone": 404, "/ill": 503})
    s = Sender(t, attachment_hosts=[store.host])
    before = s.drafts()
    draft = s.drafted(attachments=[{"name": "inside.txt", "content": "SGVsbG8="},
                                   {"name": "a.bin", "content_type": "application/zip", "url": store.url("/a.bin"), "size": len(data)}])
    _, records = s.run("send", **draft)
    check_equal(result(records), ("sent", None), "result")
    token = s.bed.token()
    listed = s.bed.graph(f"/messages/{draft['draft_id']}/attachments?$select=id,name,contentType,size", token)["value"]
    check_equal([(a["name"], a["contentType"]) for a in listed], [("inside.txt", None), ("a.bin", "application/zip")], "attachments")
    value = s.bed.graph(f"/messages/{draft['draft_id']}/attachments/{listed[1]['id']}/$value", token, raw=True)
    check_equal(hashlib.sha256(value).hexdigest(), hashlib.sha256(data).hexdigest(), "contents")
    check(len(store.seen) == 3 and all("Authorization" not in h for _, h in store.seen), "three pieces, and no token of ours")
    for reason, path, size in (("attachment_unavailable", "/gone", 5), ("attachment_unavailable", "/moved", 5), ("attachment_size", "/a.bin", 9_500_000)):
        _, records = s.draft(attachments=[{"name": "x", "url": store.url(path), "size": size}])
        check_equal(result(records), ("refused", reason), path)
    f, records = s.draft(attachments=[{"name": "x", "url": store.url("/ill"), "size": 5}])
    check_equal((f["outcome"], f["send"]["state"], records), ("retry", "nothing", []), "a store that is ill for a while")
    s.run("sweep")
    check_equal(s.drafts(), before, "no draft stays")


def test_files_are_fetched_only_where_the_operator_allows(t):
    store = Store(t, {"/a.bin": b"12345"})
    s = Sender(t, attachment_hosts=["files.crm.example"])
    before = s.drafts()
    for url in (store.url("/a.bin"), "http://files.crm.example@127.0.0.1/x", "ftp://files.crm.example/x",
                "http://files.crm.example.evil.example/x", "file:///etc/passwd", "http://files.crm.example\\@127.0.0.1/",
                "//files.crm.example/x", "http://FILES.crm.example:81/x"):
        _, records = s.draft(attachments=[{"name": "x", "url": url, "size": 5}])
        check_equal(result(records), ("refused", "attachment_host"), url)
    check_equal((store.seen, s.drafts()), ([], before), "nobody was asked, and no draft made")


def test_drafts_left_behind_are_swept(t):
    s = Sender(t)
    before = s.drafts()
    kept = s.drafted("pending")
    for n in range(3):
        s.drafted(f"dead{n}")
    s.bed.faults({"match": {"path_regex": "/messages$", "method": "POST"}, "action": {"status": 504, "served": True}})
    f, _ = s.draft("lost")
    check_equal((f["outcome"], f["send"]["state"]), ("retry", "nothing"), "made without our knowing")
    check_equal(len(s.drafts() - before), 5, "drafts")
    f, _ = s.run("sweep", keep=["pending"])
    check_equal((f["outcome"], f["send"]["state"]), ("done", "swept"), "sweep")
    check_equal(s.drafts() - before, {kept["draft_id"]}, "what is needed yet stays, and the user's own")


def test_nothing_of_a_mail_is_logged(t):
    s = Sender(t)
    draft = s.drafted(subject="CANARY-SUBJECT", body={"type": "text", "content": "CANARY-BODY"},
                      to=[{"address": "canary@fabrikam.example"}])
    s.run("send", **draft)
    log = s.bed.proc.log_text()
    check(len(log) > 100, "there is a log")
    for word in ("CANARY", "canary@"):
        check(word not in log, f"{word} in the log")


if __name__ == "__main__":
    main(*(f for n, f in list(globals().items()) if n.startswith("test_")))
