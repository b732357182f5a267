#!/usr/bin/python3
"""What a job makes of refusals, throttling and broken answers; and where the bearer token never goes."""

import socket
import threading
import time

from crmtest import check, check_equal, main
from jobbed import Jobs, rfc3339, now

SLICE = {"stream": "slices", "generation": 1, "mode": "slice", "slice_id": "0", "window": {"from": None, "to": None}}


class Trap:
    """A listener that must never be connected to."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                self.socket.accept()
            except OSError:
                return
            self.connections += 1


def inbox(bed):
    tree = bed.tree()
    return next(f for f in tree.values() if f.get("well_known") == "inbox"), bed.scope(tree)


def fault(end):
    f = end["feedback"]
    return f.get("error") or next((p["error"] for p in f.get("parts", []) if p.get("error")), None)


# --- the gate -------------------------------------------------------------------------------------------


# contract: link.elsewhere
def test_cursors_that_lead_elsewhere_are_dead_letters(t):
    bed = Jobs(t, "--mailboxes", "2", "--messages", "10")
    folder, scope = inbox(bed)
    trap = Trap()
    other = bed.mailboxes[1]
    before = bed.sim.get("/counters")
    for cursor in (f"http://127.0.0.1:{trap.port}/v1.0/users/{bed.user}/mailFolders/inbox/messages/delta?$deltatoken=x",
                   f"//127.0.0.1:{trap.port}/v1.0/users/{bed.user}/messages", f"@127.0.0.1:{trap.port}/v1.0/users/{bed.user}/messages",
                   f":{trap.port}/v1.0/users/{bed.user}/messages",
                   f"{bed.sim.base_url}/v1.0/users/{bed.user}/messages",
                   f"/v1.0/users/{other}/mailFolders/inbox/messages/delta", f"/v1.0/users('{other}')/messages",
                   f"/v1.0/users/{bed.user}/../{other}/messages", f"/v1.0/users/{bed.user}/%2e%2e/{other}/messages",
                   f"/v1.0/users/{bed.user}/x%2f..%2f..%2f{other}", "/v1.0/me/messages", f"/beta/users/{bed.user}/messages",
                   f"/v1.0/users/{bed.user}/messages#x", f"/v1.0/users/{bed.user}/messages\r\nHost: x"):
        end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "live", cursor)], **scope))
        check_equal((end["feedback"]["outcome"], end["reject"], end["records"]), ("reject", "cursor_refused", []), cursor)
        end = bed.run(bed.job("calendar.delta", [{"stream": "cal:default", "generation": 1, "mode": "live", "cursor": cursor,
                                                  "window": {"from": rfc3339(now()), "to": "2028-01-01T00:00:00.000Z"}}]))
        check_equal((end["feedback"]["outcome"], end["reject"]), ("reject", "cursor_refused"), cursor)
    end = bed.run(bed.job("mail.slice", [{**SLICE, "cursor": "/v1.0/users/x"}], **scope))
    check_equal((end["feedback"]["outcome"], end["reject"]), ("reject", "cursor_refused"), "a slice's cursor is a time")
    check_equal(trap.connections, 0, "connections to the trap")
    after = bed.sim.get("/counters")
    check_equal([after["mailboxes"][u]["requests"] for u in bed.mailboxes], [before["mailboxes"][u]["requests"] for u in bed.mailboxes],
                "requests to Graph")


# contract: link.elsewhere error.410.location_elsewhere
def test_a_redirect_is_not_followed(t):
    bed = Jobs(t, "--messages", "10", limits={"tries": 1})
    folder, scope = inbox(bed)
    trap = Trap()
    for status in (301, 302, 307, 308):
        bed.faults({"match": {"path_contains": "messages/delta"}, "times": 1,
                    "action": {"status": status, "redirect": f"http://127.0.0.1:{trap.port}/"}})
        end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "anchor")], **scope))
        check_equal((end["feedback"]["outcome"], fault(end)["code"]), ("retry", "bad_answer"), f"status {status}")
    check_equal(trap.connections, 0, "connections to the trap")


def test_a_mailbox_that_is_not_configured_is_not_read(t):
    bed = Jobs(t, "--mailboxes", "2", "--messages", "10", configured=["ann@contoso.example"])
    other = next(u for u in bed.mailboxes if u != "ann@contoso.example")
    end = bed.run(bed.job("folders", user=other))
    check_equal((end["feedback"]["outcome"], fault(end)["code"]), ("retry", "tenant_unknown"), "outcome")
    check_equal(bed.counters(other)["requests"], 0, "requests")


# --- throttling -----------------------------------------------------------------------------------------


def throttle(seconds, times, path="messages/delta"):
    return {"match": {"path_contains": path}, "times": times,
            "action": {"status": 429, "code": "ApplicationThrottled", "retry_after": str(seconds)}}


# contract: throttle.short_wait throttle.requests_count
def test_a_short_retry_after_is_waited_out(t):
    bed = Jobs(t, "--messages", "60")
    folder, scope = inbox(bed)
    bed.faults(throttle(1, 1))
    began = time.monotonic()
    end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "first")], **scope))
    check_equal((end["feedback"]["outcome"], bed.counters()["early_requests"]), ("done", 0), "outcome")
    check(time.monotonic() - began >= 1, "it did not wait")
    check(end["feedback"]["counts"]["wait_ms"] >= 1000, "and did not say so")


# contract: throttle.long_wait throttle.requests_count
def test_a_long_retry_after_ends_the_job_with_what_is_done(t):
    bed = Jobs(t, "--messages", "150", limits={"delta_page": 10})
    folder, scope = inbox(bed)
    bed.faults({**throttle(30, -1, "$skiptoken"), "after": 1})
    end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "anchor")], **scope))
    part = end["feedback"]["parts"][0]
    check_equal((part["outcome"], part["error"]["code"], "cursor" in part), ("more", "throttled", True), "pages before it stay")
    check(29000 < part["retry_after_ms"] <= 30000, f"{part}")
    end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "anchor", part["cursor"])], **scope))
    check_equal((end["feedback"]["outcome"], fault(end)["code"]), ("retry", "throttled"), "the mailbox is held")
    check_equal(bed.counters()["early_requests"], 0, "requests before a Retry-After had passed")


# contract: throttle.per_mailbox
def test_one_mailbox_held_leaves_the_other_alone(t):
    bed = Jobs(t, "--mailboxes", "2", "--messages", "20")
    bed.tree(bed.mailboxes[1])
    bed.faults({**throttle(30, 1, "/mailFolders"), "match": {"path_contains": "/mailFolders", "mailbox": bed.mailboxes[0]}})
    end = bed.run(bed.job("folders", user=bed.mailboxes[0]))
    check_equal((end["feedback"]["outcome"], fault(end)["code"]), ("retry", "throttled"), "the one")
    check_equal(bed.run(bed.job("folders", user=bed.mailboxes[1]))["feedback"]["outcome"], "done", "the other")


# contract: fact.14.four_at_a_time batch.limit
def test_four_at_a_time_and_no_more(t):
    bed = Jobs(t, "--messages", "300", "--folders", "10", "--latency-ms", "10", limits={"slice_page": 10, "delta_page": 20})
    tree = bed.tree()
    scope = bed.scope(tree)
    inside = [f for f in tree.values() if f["in"]][:8]
    end = bed.run(bed.job("mail.delta", [bed.mail_part(f, "first") for f in inside], **scope))
    check_equal(end["feedback"]["outcome"], "done", "outcome")
    counters = bed.counters()
    check_equal((counters["throttled"], counters["early_requests"]), (0, 0), "refused, too early")
    check(2 <= counters["peak_concurrency"] <= 4, f"{counters['peak_concurrency']} at a time")


# contract: throttle.window throttle.requests_count
def test_too_many_requests_in_the_window(t):
    bed = Jobs(t, "--messages", "20", "--limit-requests", "40", "--limit-window-ms", "60000")
    ends = [bed.run(bed.job("probe"))["feedback"]["outcome"] for _ in range(45)]
    check_equal((ends.index("retry"), set(ends[20:])), (20, {"retry"}), "after forty requests the mailbox is held")
    counters = bed.counters()
    check(1 <= counters["throttled"] <= 4, f"{counters['throttled']} refused, more than were under way")
    check_equal(counters["early_requests"], 0, "requests before a Retry-After had passed")


# contract: batch.member_throttled fact.15.batch_members
def test_a_member_of_a_batch_is_throttled_alone(t):
    bed = Jobs(t, "--messages", "60")
    folder, scope = inbox(bed)
    bed.faults({"match": {"path_regex": r"/messages/[^/]+\?"}, "times": 3, "after": 2,
                "action": {"status": 429, "code": "ApplicationThrottled", "retry_after": "1"}})
    want = {m["id"] for m in bed.truth()["messages"] if m["parentFolderId"] == folder["id"]}
    end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "first")], **scope))
    check_equal({r["value"]["item_id"] for r in end["records"]} | {look["id"] for look in end["feedback"].get("left", [])}, want, "items")
    check_equal(len(end["records"]), len(want), "all in the end")
    check_equal(bed.counters()["early_requests"], 0, "requests before a Retry-After had passed")


# contract: throttle.long_wait_in_reads batch.outer_error
def test_a_long_retry_after_amid_the_reads_keeps_what_was_read(t):
    bed = Jobs(t, "--mailboxes", "3", "--messages", "400")
    for user, rule in zip(bed.mailboxes, (
            {"match": {"path_regex": r"/messages/[^/]+\?", "mailbox": bed.mailboxes[0]}, "after": 25},
            {"match": {"path_contains": "/$batch"}, "after": 2},
            {"match": {"path_contains": "/attachments", "mailbox": bed.mailboxes[2]}, "after": 1})):
        bed.sim.delete("/faults")
        tree = bed.tree(user)
        folder = next(f for f in tree.values() if f.get("well_known") == "inbox")
        bed.faults({**rule, "times": -1, "action": {"status": 429, "code": "ApplicationThrottled", "retry_after": "30"}})
        truth = [m for m in bed.truth(user)["messages"] if m["parentFolderId"] == folder["id"]]
        job = bed.job("mail.delta", [bed.mail_part(folder, "first")], user=user, **bed.scope(tree))
        end = bed.run(job)
        part = end["feedback"]["parts"][0]
        check_equal((part["outcome"], part["error"]["code"], "cursor" in part), ("done", "throttled", True), f"{rule}")
        check(20000 < part["retry_after_ms"] <= 30000, f"wait of {part['retry_after_ms']}")
        told = [r["value"]["item_id"] for r in end["records"]]
        left = [look["id"] for look in end["feedback"]["left"]]
        check(told and left, f"{len(told)} records, {len(left)} left with {rule}")
        check_equal(sorted(told + left), sorted(m["id"] for m in truth), "each is told or handed back")
        # and the items themselves: nothing was read, so that they come again as they were
        items = [{**look, "why": "look", "seen": "gone"} for look in end["feedback"]["left"]]
        end = bed.run(bed.job("mail.items", user=user, items=items, **bed.scope(tree)))
        check_equal((end["feedback"]["outcome"], fault(end)["code"], end["feedback"].get("left", [])), ("retry", "throttled", []), "held")
    check_equal([bed.counters(user)["early_requests"] for user in bed.mailboxes], [0, 0, 0], "requests before a Retry-After had passed")


# --- tokens ---------------------------------------------------------------------------------------------


# contract: error.401.invalid_token
def test_a_refused_token_is_renewed_once(t):
    bed = Jobs(t, "--messages", "20")
    bed.tree()
    bed.sim.post("/tokens/revoke")
    bed.tree()
    bed.faults({"match": {"path_contains": "/users/"}, "times": -1, "action": {"status": 401, "code": "InvalidAuthenticationToken"}})
    end = bed.run(bed.job("folders"))
    check_equal((end["feedback"]["outcome"], fault(end)["code"], fault(end)["scope"]), ("retry", "token_refused", "tenant"), "then believed")


def test_a_wrong_secret_parks_the_tenant_and_a_new_one_is_tried_at_once(t):
    bed = Jobs(t, "--messages", "20", "--secret", "other")
    for _ in range(5):
        end = bed.run(bed.job("folders"))
        check_equal((end["feedback"]["outcome"], fault(end)["code"], fault(end)["scope"]), ("retry", "credentials_refused", "tenant"),
                    "outcome")
        check(0 < end["feedback"]["retry_after_ms"] <= 60000, f"{end['feedback']}")
    check_equal(bed.counters()["requests"], 0, "requests without a token")
    bed.secret.write_text("other\n")
    check_equal(bed.run(bed.job("folders"))["feedback"]["outcome"], "done", "the new secret")
    check("other" not in bed.proc.log_text() and "Bearer" not in bed.proc.log_text(), "a secret is in the log")


# --- answers --------------------------------------------------------------------------------------------


def test_every_answer_has_its_word(t):
    bed = Jobs(t, "--messages", "20", limits={"tries": 1})
    folder, scope = inbox(bed)
    for action, outcome, code in (
            ({"status": 403, "code": "ErrorAccessDenied"}, "retry", "mailbox_denied"),
            ({"status": 404, "code": "MailboxNotEnabledForRESTAPI"}, "retry", "mailbox_missing"),
            ({"status": 404, "code": "ErrorItemNotFound"}, "retry", "folder_gone"),
            ({"status": 404, "body": "html"}, "retry", "bad_answer"),
            ({"status": 410, "code": "SyncStateNotFound"}, "resync", "cursor_dead"),
            ({"status": 400, "code": "BadRequest"}, "reject", "bad_request"),
            ({"status": 500, "code": "UnknownError"}, "retry", "service_unavailable"),
            ({"status": 503, "body": "empty"}, "retry", "service_unavailable"),
            ({"reset_mid_body": 50}, "retry", "network"), ({"drop": True}, "retry", "network"),
            ({"truncate": 60}, "retry", "bad_answer"), ({"gzip_corrupt": True}, "retry", "bad_answer")):
        bed.sim.delete("/faults")
        bed.faults({"match": {"path_contains": "messages/delta"}, "times": -1, "action": action})
        end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "first")], **scope))
        check_equal((end["feedback"]["outcome"], fault(end)["code"], end["records"]), (outcome, code, []), str(action))
        check_equal(end["reject"], "bad_request" if outcome == "reject" else None, str(action))
    bed.sim.delete("/faults")
    check_equal(bed.run(bed.job("mail.delta", [bed.mail_part(folder, "first")], **scope))["feedback"]["outcome"], "done", "and then well")


# contract: mailbox.no_user mailbox.store_down
# contract: mailbox.denied mailbox.no_licence mailbox.fresh_licence fact.17.denied_flips
def test_a_probe_says_whether_a_mailbox_can_be_read(t):
    bed = Jobs(t, "--messages", "5")
    for state, want in (("ok", None), ("denied", "mailbox_denied"), ("not_enabled", "mailbox_missing"), ("ok", None),
                        ("invalid_user", "mailbox_missing"), ("not_found", "mailbox_missing"),
                        ("unavailable", "service_unavailable"), ("ok", None)):
        bed.sim.post(f"/mailboxes/{bed.user}/state", {"state": state})
        end = bed.run(bed.job("probe"))
        check_equal((end["feedback"]["outcome"], (fault(end) or {}).get("code")), ("retry" if want else "done", want), state)


def test_lines_that_are_no_jobs(t):
    bed = Jobs(t, "--messages", "5")
    for line in ("{", "[]", '{"job_id": 1}', "{}"):
        bed.proc.send(line + "\n")
        check("invalid" in bed.answer(), line)
    bed.tree()


if __name__ == "__main__":
    main(test_cursors_that_lead_elsewhere_are_dead_letters, test_a_redirect_is_not_followed,
         test_a_mailbox_that_is_not_configured_is_not_read, test_a_short_retry_after_is_waited_out,
         test_a_long_retry_after_ends_the_job_with_what_is_done, test_one_mailbox_held_leaves_the_other_alone,
         test_four_at_a_time_and_no_more, test_too_many_requests_in_the_window, test_a_member_of_a_batch_is_throttled_alone,
         test_a_long_retry_after_amid_the_reads_keeps_what_was_read, test_a_refused_token_is_renewed_once,
         test_a_wrong_secret_parks_the_tenant_and_a_new_one_is_tried_at_once, test_every_answer_has_its_word,
         test_a_probe_says_whether_a_mailbox_can_be_read, test_lines_that_are_no_jobs)
