#!/usr/bin/python3
"""Every error that Graph and its token endpoint give, and what a job makes of it."""

from crmtest import check, check_equal, main, wait_for
from jobbed import Jobs

MISSING = ("retry", "mailbox_missing", "mailbox")
DENIED = ("retry", "mailbox_denied", "mailbox")
HELD = ("retry", "throttled", "mailbox")
DEAD = ("resync", "cursor_dead", "stream")
TOKEN = ("retry", "token_refused", "tenant")
MISTAKE = ("reject", "bad_request", "mailbox")
STREAM_MISTAKE = ("reject", "bad_request", "stream")
BUSY = ("retry", "service_unavailable", "stream")
BOX_BUSY = ("retry", "service_unavailable", "mailbox")
LEFT = "left"  # an item's: handed back
GONE = "gone"  # an item's: owed a second look

# (row, what is asked for, the answer, (outcome, code, scope) or LEFT or GONE)
ERRORS = (
    ("contract: error.401.invalid_token", "mailbox", {"status": 401, "code": "InvalidAuthenticationToken"}, TOKEN),
    ("contract: error.401.claims_challenge", "cursor",
     {"status": 401, "body": "empty", "www_authenticate": 'Bearer error="insufficient_claims", claims="e30="'}, TOKEN),
    ("contract: error.402", "mailbox", {"status": 402}, MISTAKE),
    ("contract: error.403.access_denied", "mailbox",
     {"status": 403, "code": "ErrorAccessDenied", "message": "Access is denied. Check credentials and try again."}, DENIED),
    ("contract: error.403.access_denied", "item", {"status": 403, "code": "ErrorAccessDenied"}, DENIED),
    ("contract: error.403.odata_disabled", "cursor",
     {"status": 403, "code": "ErrorAccessDenied", "message": "Access to OData is disabled."}, DENIED),
    ("contract: error.403.extension_error", "mailbox", {"status": 403, "code": "ExtensionError"}, DENIED),
    ("contract: error.403.directory", "mailbox", {"status": 403, "code": "Authorization_RequestDenied"}, DENIED),
    ("contract: error.403.send_as", "mailbox", {"status": 403, "code": "ErrorSendAsDenied"}, DENIED),
    ("contract: error.404.not_enabled", "cursor", {"status": 404, "code": "MailboxNotEnabledForRESTAPI"}, MISSING),
    ("contract: error.404.not_enabled", "item", {"status": 404, "code": "MailboxNotEnabledForRESTAPI"}, MISSING),
    ("contract: error.404.not_supported", "mailbox", {"status": 404, "code": "MailboxNotSupportedForRESTAPI"}, MISSING),
    ("contract: error.404.invalid_user", "mailbox", {"status": 404, "code": "ErrorInvalidUser"}, MISSING),
    ("contract: error.404.resource_not_found", "item", {"status": 404, "code": "ResourceNotFound"}, MISSING),
    ("contract: error.404.request_resource_not_found", "mailbox", {"status": 404, "code": "Request_ResourceNotFound"}, MISSING),
    ("contract: error.404.nonexistent_mailbox", "cursor", {"status": 404, "code": "ErrorNonExistentMailbox"}, MISSING),
    ("contract: error.404.item_not_found", "item", {"status": 404, "code": "ErrorItemNotFound"}, GONE),
    ("contract: error.404.item_not_found", "cursor", {"status": 404, "code": "ErrorItemNotFound"}, ("retry", "folder_gone", "stream")),
    ("contract: error.404.unexplained", "item", {"status": 404, "body": "html"}, LEFT),
    ("contract: error.404.unexplained", "cursor", {"status": 404, "body": "empty"}, ("retry", "bad_answer", "stream")),
    ("contract: error.400.malformed_id", "item", {"status": 400, "code": "ErrorInvalidIdMalformed"}, LEFT),
    ("contract: error.400.parse_uri", "cursor", {"status": 400, "code": "RequestBroker--ParseUri"}, STREAM_MISTAKE),
    ("contract: error.400.bad_request", "mailbox", {"status": 400, "code": "BadRequest"}, MISTAKE),
    ("contract: error.400.invalid_url_query", "mailbox", {"status": 400, "code": "ErrorInvalidUrlQuery"}, MISTAKE),
    ("contract: error.400.invalid_property", "cursor", {"status": 400, "code": "ErrorInvalidProperty"}, STREAM_MISTAKE),
    ("contract: error.400.invalid_request", "mailbox", {"status": 400, "code": "invalidRequest"}, MISTAKE),
    ("contract: error.400.inefficient_filter", "mailbox", {"status": 400, "code": "InefficientFilter"}, MISTAKE),
    ("contract: error.400.change_tracking", "cursor",
     {"status": 400, "code": "BadRequest", "message": "Unsupported request: Change tracking is not supported."}, STREAM_MISTAKE),
    ("contract: error.400.mime_base64", "mailbox", {"status": 400, "code": "ErrorMimeContentInvalidBase64String"}, MISTAKE),
    ("contract: error.400.invalid_recipients", "mailbox", {"status": 400, "code": "ErrorInvalidRecipients"}, MISTAKE),
    ("contract: error.405", "mailbox", {"status": 405}, MISTAKE),
    ("contract: error.406", "mailbox", {"status": 406}, MISTAKE),
    ("contract: error.408", "cursor", {"status": 408, "body": "empty"}, BUSY),
    ("contract: error.409.conflict", "cursor", {"status": 409, "code": "ErrorIrresolvableConflict"}, BUSY),
    ("contract: error.410.sync_state_not_found", "cursor", {"status": 410, "code": "SyncStateNotFound"}, DEAD),
    ("contract: error.410.sync_state_invalid", "cursor", {"status": 410, "code": "SyncStateInvalid"}, DEAD),
    ("contract: error.410.resync_required", "cursor", {"status": 410, "code": "resyncRequired"}, DEAD),
    ("contract: error.410.bare", "cursor", {"status": 410, "body": "empty"}, DEAD),
    ("contract: error.410.location_elsewhere", "cursor",
     {"status": 410, "code": "resyncRequired", "redirect": "http://127.0.0.1:1/v1.0/users/x/messages/delta?$deltatoken="}, DEAD),
    ("contract: error.40x.sync_state_not_found", "cursor", {"status": 400, "code": "syncStateNotFound"}, DEAD),
    ("contract: error.40x.sync_state_not_found", "cursor", {"status": 404, "code": "SYNCSTATENOTFOUND"}, DEAD),
    ("contract: error.40x.resync_differences", "cursor", {"status": 409, "code": "resyncApplyDifferences"}, DEAD),
    ("contract: error.40x.resync_differences", "cursor", {"status": 400, "code": "resyncUploadDifferences"}, DEAD),
    ("contract: error.411", "mailbox", {"status": 411}, MISTAKE),
    ("contract: error.412.conflict", "cursor", {"status": 412, "code": "ErrorIrresolvableConflict"}, BUSY),
    ("contract: error.413.too_large", "mailbox", {"status": 413, "code": "RequestEntityTooLarge"}, MISTAKE),
    ("contract: error.413.too_large", "mailbox", {"status": 413, "code": "ErrorMessageSizeExceeded"}, MISTAKE),
    ("contract: error.413.too_large", "mailbox", {"status": 413, "code": "MaximumValueExceeded"}, MISTAKE),
    ("contract: error.415", "mailbox", {"status": 415}, MISTAKE),
    ("contract: error.416", "mailbox", {"status": 416}, MISTAKE),
    ("contract: error.422", "mailbox", {"status": 422}, MISTAKE),
    ("contract: error.423.quota", "mailbox", {"status": 423, "code": "ErrorQuotaExceeded"}, BOX_BUSY),
    ("contract: error.424", "item", {"status": 424, "body": "empty"}, LEFT),
    ("contract: error.429.application_throttled", "cursor", {"status": 429, "code": "ApplicationThrottled"}, HELD),
    ("contract: error.429.application_throttled throttle.retry_after_absent", "mailbox", {"status": 429}, HELD),
    ("contract: error.429.too_many_requests", "mailbox", {"status": 429, "code": "TooManyRequests"}, HELD),
    ("contract: error.429.activity_limit", "item", {"status": 429, "code": "activityLimitReached"}, HELD),
    ("contract: error.500.internal", "cursor", {"status": 500, "code": "ErrorInternalServerError"}, BUSY),
    ("contract: error.500.internal", "item", {"status": 500, "code": "ErrorInternalServerError"}, LEFT),
    ("contract: error.500.transient", "cursor", {"status": 500, "code": "ErrorInternalServerTransientError"}, BUSY),
    ("contract: error.500.general", "cursor", {"status": 500, "code": "generalException"}, BUSY),
    ("contract: error.500.unknown_empty", "cursor", {"status": 500, "code": "UnknownError", "message": ""}, BUSY),
    ("contract: error.501", "cursor", {"status": 501, "code": "NotImplemented"}, STREAM_MISTAKE),
    ("contract: error.502", "cursor", {"status": 502, "body": "html"}, BUSY),
    ("contract: error.503.store_unavailable", "cursor", {"status": 503, "code": "ErrorMailboxStoreUnavailable"}, BOX_BUSY),
    ("contract: error.503.unhealthy", "cursor", {"status": 503, "code": "ResourceUnhealthy"}, BOX_BUSY),
    ("contract: error.503.busy", "cursor", {"status": 503, "code": "ErrorServerBusy"}, BOX_BUSY),
    ("contract: error.503.unavailable", "cursor", {"status": 503, "code": "ServiceUnavailable"}, BUSY),
    ("contract: error.503.not_available", "cursor", {"status": 503, "code": "serviceNotAvailable"}, BUSY),
    ("contract: error.503.resolve_user", "mailbox",
     {"status": 503, "code": "UnknownError", "message": "Unable to resolve User Id"}, BOX_BUSY),
    ("contract: error.504", "mailbox", {"status": 504, "body": "html"}, ("retry", "page_too_large", "mailbox")),
    ("contract: error.504", "item", {"status": 504, "body": "html"}, LEFT),
    ("contract: error.507.quota", "cursor", {"status": 507, "code": "ErrorQuotaExceeded"}, BOX_BUSY),
    ("contract: error.509", "cursor", {"status": 509, "body": "empty"}, HELD),
    # the mailbox's quota for sending, in whatever form: that mailbox waits
    ("contract: error.send_quota", "mailbox", {"status": 403, "code": "ErrorExceededMessageLimit"}, HELD),
    ("contract: error.send_quota", "mailbox", {"status": 400, "code": "ErrorMessageSubmissionBlocked"}, HELD),
    ("contract: error.send_quota", "mailbox", {"status": 429, "code": "ErrorSubmissionQuotaExceeded"}, HELD),
    ("contract: error.send_quota", "mailbox", {"status": 403, "code": "ErrorAccountSuspend"}, HELD),
)

CREDENTIALS = (7000215, 7000222, 7000218, 700027, 700024, 50012)
TENANT = (700016, 7000112, 700011, 70001, 90002, 900023, 9001023, 90038, 70011, 28002, 1002012, 700022, 500011, 50001, 650052,
          650057, 900144, 90014, 53003, 530032, 50034)
PASSES = (50196, 90006, 90012, 90024, 90033, 50000, 90055)


def fault(feedback):
    return feedback.get("error") or next((p["error"] for p in feedback.get("parts", []) if p.get("error")), None)


def test_every_error_comes_to_one_word(t):
    bed = Jobs(t, "--messages", "20", limits={"tries": 1})
    tree = bed.tree()
    folder, scope = next(f for f in tree.values() if f.get("well_known") == "inbox"), bed.scope(tree)
    first = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "anchor")], **scope))
    cursor = first["feedback"]["parts"][0]["cursor"]
    item = next(m["id"] for m in bed.truth()["messages"] if m["parentFolderId"] == folder["id"])
    jobs = {
        "mailbox": lambda: bed.job("probe"),
        "cursor": lambda: bed.job("mail.delta", [bed.mail_part(folder, "live", cursor)], **scope),
        "item": lambda: bed.job("mail.items", items=[{"id": item, "why": "leftover", "seen": "nothing"}], **scope),
    }
    for row, asked, action, want in ERRORS:
        bed.faults({"match": {"path_contains": "/users/"}, "times": -1, "action": action})
        end = bed.run(jobs[asked]())
        fired = bed.sim.get("/faults")[0]["fired"]
        bed.sim.delete("/faults")
        feedback = end["feedback"]
        what = f"{row}: {action} when asked for {asked}"
        check(fired >= 1, f"{what}: never answered so")
        check_equal(end["records"], [], f"{what}: records")
        if want in (LEFT, GONE):
            left = [(look["id"], look["seen"]) for look in feedback.get("left", [])]
            check_equal((feedback["outcome"], left), ("done", [(item, "gone" if want == GONE else "nothing")]), what)
            continue
        error = fault(feedback)
        check_equal((feedback["outcome"], error["code"], error["scope"]), want, what)
        check_equal(error["http_status"], action["status"], f"{what}: status")
        check_equal(end["reject"], "bad_request" if want[0] == "reject" else None, f"{what}: dead letter")
        check_equal(error.get("service_code"), action.get("code", error.get("service_code")), f"{what}: Graph's code")
    check_equal([bed.run(jobs[asked]())["feedback"]["outcome"] for asked in jobs], ["done"] * 3, "and then well")


# contract: aadsts.7000215 aadsts.7000222 aadsts.7000218 aadsts.700027 aadsts.700024 aadsts.50012
# contract: aadsts.700016 aadsts.7000112 aadsts.700011 aadsts.70001 aadsts.90002 aadsts.900023 aadsts.9001023 aadsts.90038
# contract: aadsts.70011 aadsts.28002 aadsts.1002012 aadsts.700022 aadsts.500011 aadsts.50001 aadsts.650052 aadsts.650057
# contract: aadsts.900144 aadsts.90014 aadsts.53003 aadsts.530032 aadsts.50034
# contract: aadsts.50196 aadsts.90006 aadsts.90012 aadsts.90024 aadsts.90033 aadsts.50000 aadsts.90055
def test_every_refusal_of_a_token_comes_to_one_word(t):
    bed = Jobs(t, "--messages", "5", limits={"token_retry_ms": 100})
    for numbers, code in ((CREDENTIALS, "credentials_refused"), (TENANT, "tenant_refused"), (PASSES, "token_unavailable")):
        for number in numbers:
            bed.sim.delete("/faults")
            bed.faults({"match": {"path_contains": "/oauth2/v2.0/token"}, "times": -1, "action": {"aadsts": number}})

            def refused():
                feedback = bed.run(bed.job("probe"))["feedback"]
                error = feedback["error"]
                if error["service_code"] != f"AADSTS{number}":
                    return False  # the refusal before, which is believed for a moment
                check_equal((feedback["outcome"], error["code"], error["scope"]), ("retry", code, "tenant"), f"AADSTS{number}")
                return True

            wait_for(refused, 60, f"AADSTS{number}", every_s=0.02)
    check_equal(bed.counters()["requests"], 0, "requests without a token")
    bed.sim.delete("/faults")
    wait_for(lambda: bed.run(bed.job("probe"))["feedback"]["outcome"] == "done", 60, "and then well", every_s=0.02)


# contract: throttle.retry_after_seconds throttle.retry_after_date throttle.retry_after_5xx
def test_every_form_of_retry_after_is_understood(t):
    bed = Jobs(t, "--mailboxes", "3", "--messages", "5", limits={"tries": 1})
    for user, status, form in zip(bed.mailboxes, (429, 429, 503), ("40", "http-date:40", "40")):
        bed.sim.delete("/faults")
        bed.faults({"match": {"path_contains": "/users/"}, "times": 1, "action": {"status": status, "retry_after": form}})
        feedback = bed.run(bed.job("probe", user=user))["feedback"]
        check(30000 < feedback["retry_after_ms"] <= 40000, f"{status} with {form}: {feedback}")
        check_equal(bed.run(bed.job("probe", user=user))["feedback"]["outcome"], "retry", "the mailbox is held")
        check_equal(bed.counters(user)["early_requests"], 0, "requests before it had passed")


# contract: batch.outer_error error.424 batch.member_missing
def test_a_batch_that_fails_as_a_whole_is_read_one_by_one(t):
    bed = Jobs(t, "--messages", "60")
    tree = bed.tree()
    folder, scope = next(f for f in tree.values() if f.get("well_known") == "inbox"), bed.scope(tree)
    want = {m["id"] for m in bed.truth()["messages"] if m["parentFolderId"] == folder["id"]}
    for action in ({"status": 424, "body": "empty"}, {"status": 504, "body": "html"}, {"truncate": 400}):
        bed.sim.delete("/faults")
        bed.faults({"match": {"path_contains": "/$batch"}, "times": -1, "action": action})
        end = bed.run(bed.job("mail.delta", [bed.mail_part(folder, "first")], **scope))
        check_equal((end["feedback"]["outcome"], {r["value"]["item_id"] for r in end["records"]}), ("done", want), f"{action}")


if __name__ == "__main__":
    main(test_every_error_comes_to_one_word, test_every_refusal_of_a_token_comes_to_one_word,
         test_every_form_of_retry_after_is_understood, test_a_batch_that_fails_as_a_whole_is_read_one_by_one)
