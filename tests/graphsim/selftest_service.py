#!/usr/bin/python3
"""graphsim around the mailboxes: tokens, throttling, batches, faults, TLS, control."""

import email.utils
import gzip
import hashlib
import http.client
import json
import socket
import subprocess
import threading
import time
import urllib.parse
import uuid

from crmtest import check, check_equal, main, wait_for
from simclient import CLIENT, IMMUTABLE, TENANT, Sim, b64url, quote

FOLDERS = "/mailFolders"


# --- token endpoint -----------------------------------------------------------------------------------


# contract: fact.16.token_without_roles
def test_token(t):
    sim = Sim(t)
    answer = sim.token_request()
    value = answer.json
    check_equal((answer.status, value["token_type"], value["expires_in"], value["ext_expires_in"]), (200, "Bearer", 3599, 3599), "token")
    check("roles" not in value and value["access_token"].count(".") == 0, "the token is opaque and names no roles")
    basic = sim.token_request(client_id=None, client_secret=None, headers={
        "Authorization": "Basic " + __import__("base64").b64encode(f"{CLIENT}:secret".encode()).decode()})
    check_equal(basic.status, 200, "HTTP Basic")
    check_equal(sim.token_request(tenant="contoso.example").status, 200, "the tenant by its domain")


def test_token_refusals(t):
    sim = Sim(t)
    for number, status, error, change in (
            (7000215, 401, "invalid_client", {"client_secret": "wrong"}),
            (7000218, 401, "invalid_client", {"client_secret": None}),
            (700016, 400, "unauthorized_client", {"client_id": str(uuid.uuid4())}),
            (90002, 400, "invalid_request", {"tenant": str(uuid.uuid4())}),
            (900023, 400, "invalid_request", {"tenant": "nonsense"}),
            (9001023, 400, "invalid_request", {"tenant": "common"}),
            (1002012, 400, "invalid_scope", {"scope": "https://graph.microsoft.com/Mail.Read"}),
            (700022, 400, "invalid_scope", {"scope": "a/.default b/.default"}),
            (900144, 400, "invalid_request", {"grant_type": None})):
        answer = sim.token_request(**change)
        value = answer.json
        check_equal((answer.status, value["error"], value["error_codes"]), (status, error, [number]), f"{change}")
        check(value["error_description"].startswith(f"AADSTS{number}: "), "error_description")


# contract: aadsts.7000215 aadsts.7000222 aadsts.7000218 aadsts.700027 aadsts.700024 aadsts.50012
# contract: aadsts.700016 aadsts.7000112 aadsts.700011 aadsts.70001 aadsts.90002 aadsts.900023
# contract: aadsts.9001023 aadsts.90038 aadsts.70011 aadsts.28002 aadsts.1002012 aadsts.700022
# contract: aadsts.500011 aadsts.50001 aadsts.650052 aadsts.650057 aadsts.900144 aadsts.90014 aadsts.53003
# contract: aadsts.530032 aadsts.50034 aadsts.50196 aadsts.90006 aadsts.90012 aadsts.90024 aadsts.90033
# contract: aadsts.50000 aadsts.90055
def test_every_aadsts_row_by_fault(t):
    sim = Sim(t)
    for number, status in ((7000215, 401), (7000222, 401), (7000218, 401), (700027, 401), (700024, 401), (50012, 401),
                           (700016, 400), (7000112, 400), (700011, 400), (70001, 400), (90002, 400), (900023, 400),
                           (9001023, 400), (90038, 400), (70011, 400), (28002, 400), (1002012, 400), (700022, 400),
                           (500011, 400), (50001, 400), (650052, 400), (650057, 400), (900144, 400), (90014, 400),
                           (53003, 400), (530032, 400), (50034, 400), (50196, 400), (90006, 503), (90012, 504),
                           (90024, 503), (90033, 503), (90055, 429), (50000, 500)):
        sim.faults({"match": {"path_contains": "/oauth2/v2.0/token"}, "action": {"aadsts": number}})
        answer = sim.token_request()
        check_equal((answer.status, answer.json["error_codes"]), (status, [number]), str(number))
    check_equal(answer.header("Retry-After"), None, "Retry-After of a 500")
    check_equal(sim.token_request().status, 200, "when the rules are used up")


# contract: token.rotation
def test_secrets_rotate(t):
    sim = Sim(t, "--secret", "old,expires=2001-01-01T00:00:00Z", "--secret", "~new+/=,comma", "--secret", "gone,expired")
    check_equal(sim.token_request(client_secret="old").json["error_codes"], [7000222], "an expired secret")
    check_equal(sim.token_request(client_secret="gone").json["error_codes"], [7000222], "an expired secret")
    check_equal(sim.token_request(client_secret="~new+/=,comma").status, 200, "the current one")
    sim.post("/secrets", ["third"])
    check_equal(sim.token_request(client_secret="~new+/=,comma").json["error_codes"], [7000215], "a removed secret")
    check_equal(sim.token_request(client_secret="third").status, 200, "the new one")


def make_cert(t, name):
    key, cert = t.dir / f"{name}.key", t.dir / f"{name}.pem"
    made = t.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                  "-subj", "/CN=127.0.0.1"])
    check_equal(made.returncode, 0, made.stderr)
    return key, cert


def assertion(key, cert, audience, alg="PS256", thumb=None, **change):
    der = subprocess.run(["openssl", "x509", "-in", cert, "-outform", "der"], check=True, capture_output=True).stdout
    now = int(time.time())
    header = {"alg": alg, "typ": "JWT"}
    header.update(thumb if thumb is not None else {"x5t#S256": b64url(hashlib.sha256(der).digest())} if alg == "PS256"
                  else {"x5t": b64url(hashlib.sha1(der).digest())})
    claims = {"aud": audience, "iss": CLIENT, "sub": CLIENT, "jti": str(uuid.uuid4()), "nbf": now, "iat": now, "exp": now + 600, **change}
    text = b64url(json.dumps(header).encode()) + "." + b64url(json.dumps(claims).encode())
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"] if alg == "PS256" else []
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key, *options], input=text.encode(), check=True,
                               capture_output=True).stdout
    return text + "." + b64url(signature)


# contract: token.assertion
def test_client_assertion(t):
    key, cert = make_cert(t, "app")
    other_key, other_cert = make_cert(t, "other")
    sim = Sim(t, "--cert", cert)
    audience = f"{sim.login_url}/{TENANT}/oauth2/v2.0/token"

    def ask(jwt):
        return sim.token_request(client_secret=None, client_assertion=jwt,
                                 client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer")

    for alg in ("PS256", "RS256"):
        check_equal(ask(assertion(key, cert, audience, alg)).status, 200, alg)
    for number, jwt in ((700027, assertion(other_key, other_cert, audience)), (700027, assertion(other_key, cert, audience)),
                        (700024, assertion(key, cert, audience, exp=int(time.time()) - 3600)),
                        (700024, assertion(key, cert, audience, nbf=int(time.time()) + 3600)),
                        (50012, assertion(key, cert, audience + "x")), (50012, assertion(key, cert, audience, sub=str(uuid.uuid4()))),
                        (50012, "no.jwt")):
        answer = ask(jwt)
        check_equal((answer.status, answer.json["error_codes"]), (401, [number]), "a bad assertion")


# contract: token.life
def test_tokens_are_checked(t):
    sim = Sim(t, "--token-lifetime", "1")
    for header in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer EwBnonsense"}, {"Authorization": "Basic eA=="}):
        answer = sim.raw("GET", f"/v1.0/users/{sim.user}/messages", headers=header)
        check_equal((answer.status, answer.code), (401, "InvalidAuthenticationToken"), str(header))
        check(answer.header("WWW-Authenticate").startswith("Bearer"), "WWW-Authenticate")
    check_equal(sim.box(FOLDERS).status, 200, "a fresh token")
    wait_for(lambda: sim.box(FOLDERS).status == 401, 5, "the token expires")
    sim.post("/variants", {"token_lifetime": 3599})
    sim.token = None
    check_equal(sim.box(FOLDERS).status, 200, "a new token")
    sim.post("/tokens/revoke")
    check_equal(sim.box(FOLDERS).status, 401, "a revoked token")
    check(sim.get("/counters")["unauthorized"] >= 6, "counted")


# --- throttling ---------------------------------------------------------------------------------------


def together(n, function):
    answers = [None] * n
    threads = [threading.Thread(target=lambda i=i: answers.__setitem__(i, function(i))) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


# contract: fact.14.four_at_a_time
def test_four_at_a_time_per_mailbox(t):
    sim = Sim(t, "--mailboxes", "2", "--latency-ms", "300", "--retry-after", "1")
    sim.auth()
    answers = together(4, lambda i: sim.box(FOLDERS))
    check_equal([a.status for a in answers], [200] * 4, "four")
    answers = together(9, lambda i: sim.box(FOLDERS))
    refused = [a for a in answers if a.status == 429]
    check_equal(len(refused), 5, "five of nine are refused")
    check_equal((refused[0].code, refused[0].header("Retry-After")), ("ApplicationThrottled", "1"), "the 429")
    check("MailboxConcurrency" in refused[0].json["error"]["message"], "the limit's name")
    both = together(8, lambda i: sim.box(FOLDERS, user=sim.ready["mailboxes"][i % 2]))
    check_equal([a.status for a in both], [200] * 8, "four each of two mailboxes")
    check_equal(sim.counter("peak_concurrency"), 5, "peak, a refused one included")
    check_equal((sim.counter("throttled"), sim.counter("active")), (5, 0), "throttled, active")


# contract: throttle.requests_count
def test_early_requests_are_counted(t):
    sim = Sim(t)
    sim.faults({"match": {"mailbox": sim.user}, "action": {"status": 429, "retry_after": "1"}})
    started = time.monotonic()
    check_equal(sim.box(FOLDERS).status, 429, "the fault")
    wait_for(lambda: time.monotonic() - started > 0.3, 2, "past the grace")
    check_equal(sim.box(FOLDERS).status, 200, "the rule is used up")
    check_equal(sim.counter("early_requests"), 1, "an early request")
    wait_for(lambda: time.monotonic() - started > 1.1, 3, "Retry-After has passed")
    sim.box(FOLDERS)
    check_equal(sim.counter("early_requests"), 1, "a later one")
    sim.post("/counters/reset")
    check_equal((sim.counter("early_requests"), sim.counter("requests")), (0, 0), "after the reset")


# contract: throttle.window
def test_requests_per_window(t):
    sim = Sim(t, "--limit-requests", "20", "--limit-window-ms", "3000")
    statuses = [sim.box(FOLDERS).status for _ in range(25)]
    check_equal(statuses, [200] * 20 + [429] * 5, "twenty in the window")
    wait = int(sim.box(FOLDERS).header("Retry-After"))
    check(1 <= wait <= 4, f"Retry-After {wait}")
    wait_for(lambda: sim.box(FOLDERS).status == 200, 8, "the window moves on", every_s=0.5)


def test_a_client_that_leaves_gives_its_slot_back(t):
    sim = Sim(t, "--latency-ms", "20000")
    auth = sim.auth()
    gone = []
    for _ in range(4):
        connection = sim.connect()
        connection.request("GET", f"/v1.0/users/{sim.user}/mailFolders", headers=auth)
        gone.append(connection)
    wait_for(lambda: sim.counter("active") == 4, 5, "four wait")
    for connection in gone:
        connection.close()
    wait_for(lambda: sim.counter("active") == 0, 5, "their slots are free")
    sim.post("/variants", {"latency_ms": 0})
    check_equal(sim.box(FOLDERS).status, 200, "the next request")
    check_equal({r["status"] for r in sim.get("/requests?last=5")[:-1] if "mailFolders" in r["path"]}, {0}, "in the log")


def test_latency_grows_with_items(t):
    sim = Sim(t, "--latency-ms", "20,4", "--messages", "100")
    sim.auth()
    started = time.monotonic()
    sim.ok("/messages?$top=50&$select=subject")
    took = time.monotonic() - started
    check(0.21 < took < 2, f"{took:.3f} s for 20 ms and 50 times 4 ms")


# --- batches ------------------------------------------------------------------------------------------


def requests_for(sim, n, path="/mailFolders/inbox", **more):
    return [{"id": str(i), "method": "GET", "url": f"/users/{sim.user}{path}", **more} for i in range(n)]


# contract: fact.15.batch_members batch.any_order
def test_batch(t):
    sim = Sim(t, "--messages", "60")
    ids = [m["id"] for m in sim.truth()["messages"]][:20]
    orders = set()
    for _ in range(3):
        answer = sim.batch([{"id": f"r{i}", "method": "GET", "url": f"/users/{sim.user}/messages/{quote(id_)}?$select=subject",
                             "headers": {"Prefer": IMMUTABLE}} for i, id_ in enumerate(ids)])
        check_equal(answer.status, 200, "the batch")
        responses = answer.json["responses"]
        orders.add(tuple(r["id"] for r in responses))
        for r in responses:
            check_equal((r["status"], r["body"]["id"]), (200, ids[int(r["id"][1:])]), "a member")
    check(len(orders) > 1, "answers always come in the same order")
    mixed = sim.batch([*requests_for(sim, 1), {"id": "x", "method": "GET", "url": f"/users/{sim.user}/messages/nonsense"},
                       {"id": "y", "method": "GET", "url": "/users/nobody@contoso.example/messages"}]).json["responses"]
    check_equal({r["id"]: r["status"] for r in mixed}, {"0": 200, "x": 400, "y": 404}, "statuses of members")
    # Prefer of the outer request is not the members'
    outer = sim.batch([{"id": "1", "method": "GET", "url": f"/users/{sim.user}/messages?$top=1"}]).json["responses"][0]
    check(outer["body"]["value"][0]["id"].startswith("AAMk"), "an outer Prefer reached a member")


# contract: batch.limit
def test_bad_batches(t):
    sim = Sim(t)
    for requests in ([], requests_for(sim, 21), requests_for(sim, 1) * 2, [{"id": "1", "method": "GET"}],
                     [{"id": "1", "method": "POST", "url": "/$batch"}], [{"id": "1", "method": "GET", "url": "https://x/y"}]):
        check_equal(sim.batch(requests).status, 400, str(requests)[:80])


# contract: fact.14.four_at_a_time batch.member_throttled
def test_batch_does_not_escape_the_limit(t):
    sim = Sim(t, "--latency-ms", "300")
    sim.auth()
    answer = sim.batch(requests_for(sim, 8))
    check_equal({r["status"] for r in answer.json["responses"]}, {200}, "a batch alone")
    check_equal(sim.counter("peak_concurrency"), 4, "four of a batch at a time")
    both = together(2, lambda i: sim.batch(requests_for(sim, 8)) if i == 0 else sim.batch(requests_for(sim, 4)))
    check_equal([b.status for b in both], [200, 200], "outer statuses")
    inner = [r for b in both for r in b.json["responses"]]
    refused = [r for r in inner if r["status"] == 429]
    check(refused and all(r["headers"]["Retry-After"] for r in refused), "members that are refused, each with Retry-After")
    check(len(refused) < len(inner), "all are refused")


# contract: batch.depends
def test_batch_dependencies(t):
    sim = Sim(t)
    requests = requests_for(sim, 3)
    requests[1] = {"id": "1", "method": "GET", "url": f"/users/{sim.user}/messages/nonsense", "dependsOn": ["0"]}
    requests[2]["dependsOn"] = ["1"]
    got = {r["id"]: r["status"] for r in sim.batch(requests).json["responses"]}
    check_equal(got, {"0": 200, "1": 400, "2": 424}, "statuses")
    requests[0]["dependsOn"] = ["2"]
    check_equal({r["status"] for r in sim.batch(requests).json["responses"]}, {424}, "a circle")


# contract: batch.outer_error
def test_faults_of_members(t):
    sim = Sim(t)
    sim.faults({"match": {"path_contains": "archive"}, "times": 2, "action": {"status": 503, "retry_after": 1, "body": "empty"}})
    answer = sim.batch([*requests_for(sim, 2), {"id": "a", "method": "GET", "url": f"/users/{sim.user}/mailFolders/archive"}])
    got = {r["id"]: r for r in answer.json["responses"]}
    check_equal((got["0"]["status"], got["a"]["status"], got["a"].get("body")), (200, 503, None), "one member fails")
    sim.faults({"match": {"path_contains": "$batch"}, "action": {"status": 429, "retry_after": "1"}})
    check_equal(sim.batch(requests_for(sim, 1)).status, 429, "the whole batch fails")


# --- mailbox states, faults -----------------------------------------------------------------------------


# contract: mailbox.no_user mailbox.no_licence mailbox.fresh_licence mailbox.denied mailbox.store_down
# contract: error.403.access_denied error.403.directory error.404.not_enabled error.404.invalid_user
# contract: error.404.resource_not_found error.503.store_unavailable fact.17.denied_flips
# contract: error.403.odata_disabled
def test_mailbox_states(t):
    sim = Sim(t, "--mailboxes", "2")
    for state, status, code in (("denied", 403, "ErrorAccessDenied"), ("not_enabled", 404, "MailboxNotEnabledForRESTAPI"),
                                ("invalid_user", 404, "ErrorInvalidUser"), ("not_found", 404, "ResourceNotFound"),
                                ("unavailable", 503, "ErrorMailboxStoreUnavailable")):
        sim.post(f"/mailboxes/{sim.user}/state", {"state": state})
        answer = sim.box(FOLDERS)
        check_equal((answer.status, answer.code), (status, code), state)
        check_equal(sim.box(FOLDERS, user=sim.ready["mailboxes"][1]).status, 200, "the neighbour")
    sim.post(f"/mailboxes/{sim.user}/state", {"state": "denied"})
    said = set()
    wait_for(lambda: said.add(sim.box(FOLDERS).json["error"]["message"]) or len(said) == 2, 20, "both forms of a denial", every_s=0)
    check("Access to OData is disabled." in said, "a policy's words")
    sim.post(f"/mailboxes/{sim.user}/state", {"state": "ok"})
    check_equal(sim.box(FOLDERS).status, 200, "when the permission has arrived")
    check_equal(sim.call("/groups/x/members").code, "Authorization_RequestDenied", "groups need their own permission")


def test_fault_rules(t):
    sim = Sim(t)
    sim.faults({"match": {"path_regex": "/mailFolders(/|$)", "method": "GET", "mailbox": sim.user}, "times": 2, "after": 1,
                "action": {"status": 500, "code": "ErrorInternalServerError", "message": "x"}})
    check_equal([sim.box(FOLDERS).status for _ in range(5)], [200, 500, 500, 200, 200], "after 1, twice")
    check_equal(sim.get("/faults")[0]["fired"], 2, "fired")
    sim.delete("/faults")
    sim.faults({"match": {}, "times": -1, "probability": 0.5, "action": {"status": 503}})
    got = {sim.box(FOLDERS).status for _ in range(60)}
    check_equal(got, {200, 503}, "half of the time")
    sim.delete("/faults")
    check_equal(sim.box(FOLDERS).status, 200, "when all rules are gone")


# contract: fact.25.error_bodies
def test_error_bodies(t):
    sim = Sim(t)
    sim.auth()
    sim.faults({"match": {}, "action": {"status": 502, "body": "html"}}, {"match": {}, "action": {"status": 504, "body": "empty"}})
    first, second = sim.box(FOLDERS), sim.box(FOLDERS)
    check(first.status == 502 and first.body.startswith(b"<html") and first.header("Content-Type") == "text/html", "html")
    check_equal((second.status, second.body), (504, b""), "empty")
    inner = set()
    wait_for(lambda: inner.add(tuple(sorted(sim.box("/messages/x").json["error"]))) or len(inner) >= 3, 20,
             "innerError, innererror and none at all", every_s=0)


# contract: throttle.retry_after_seconds throttle.retry_after_date throttle.retry_after_absent
# contract: throttle.retry_after_5xx
def test_retry_after_forms(t):
    sim = Sim(t)
    sim.auth()
    sim.faults({"match": {}, "action": {"status": 429, "retry_after": "http-date:30"}}, {"match": {}, "action": {"status": 503, "retry_after": 7}},
               {"match": {}, "action": {"status": 429, "retry_after": None}})
    when = email.utils.parsedate_to_datetime(sim.box(FOLDERS).header("Retry-After")).timestamp()
    check(25 < when - time.time() < 35, "a date 30 s ahead")
    check_equal(sim.box(FOLDERS).header("Retry-After"), "7", "seconds")
    check_equal(sim.box(FOLDERS).header("Retry-After"), None, "none")


# contract: error.broken_transfer
def test_broken_transfers(t):
    sim = Sim(t, "--messages", "50")
    path = "/messages?$top=50"
    whole = len(sim.box(path).body)
    sim.faults({"match": {}, "action": {"reset_mid_body": 5000}})
    try:
        sim.box(path)
        check(False, "a reset that did not happen")
    except (ConnectionResetError, http.client.IncompleteRead):
        pass
    sim.faults({"match": {}, "action": {"truncate": 5000}})
    answer = sim.box(path)
    check_equal((answer.status, len(answer.body)), (200, 5000), "a complete answer with half a text")
    check(whole > 5000, "it was longer")
    sim.faults({"match": {}, "action": {"gzip_corrupt": True}})
    connection = sim.connect()
    connection.request("GET", f"/v1.0/users/{sim.user}{path}", headers={**sim.auth(), "Accept-Encoding": "gzip"})
    raw = connection.getresponse()
    data = raw.read()
    connection.close()
    check_equal(raw.headers["Content-Encoding"], "gzip", "encoding")
    try:
        gzip.decompress(data)
        check(False, "a corrupt gzip that is none")
    except (OSError, EOFError, ValueError, __import__("zlib").error):
        pass
    sim.faults({"match": {}, "action": {"drop": True}})
    try:
        sim.box(path)
        check(False, "a dropped connection that answered")
    except (http.client.RemoteDisconnected, ConnectionResetError):
        pass
    sim.faults({"match": {}, "action": {"redirect": "https://attacker.example/"}})
    answer = sim.box(path)
    check_equal((answer.status, answer.header("Location")), (307, "https://attacker.example/"), "redirect")
    sim.faults({"match": {}, "action": {"delay_ms": 400}})
    started = time.monotonic()
    check_equal(sim.box(path).status, 200, "slow, but served")
    check(time.monotonic() - started > 0.35, "not slow")


def test_gzip(t):
    sim = Sim(t, "--messages", "50")
    plain = sim.box("/messages?$top=50")
    packed = sim.box("/messages?$top=50", headers={"Accept-Encoding": "gzip"})
    check_equal((plain.header("Content-Encoding"), packed.header("Content-Encoding")), (None, "gzip"), "only when asked for")
    check_equal(plain.json, packed.json, "content")
    check(int(packed.header("Content-Length")) * 2 < len(plain.body), "it is smaller")


def test_headers_of_answers(t):
    sim = Sim(t)
    mine = str(uuid.uuid4())
    answer = sim.box(FOLDERS, headers={"client-request-id": mine})
    check_equal(answer.header("client-request-id"), mine, "echo")
    uuid.UUID(answer.header("request-id"))
    check("ServerInfo" in json.loads(answer.header("x-ms-ags-diagnostic")), "x-ms-ags-diagnostic")
    check(answer.header("Content-Type").startswith("application/json") and answer.header("Date"), "type and date")
    check_equal(sim.get("/requests?last=1")[0]["client_request_id"], mine, "in the log")


def test_long_links(t):
    sim = Sim(t, "--messages", "20")
    answer = sim.box("/messages?$select=id&$filter=" + "%20and%20".join(["receivedDateTime%20ge%202000-01-01T00:00:00Z"] * 12)
                     + "&x=" + "y" * 17000)
    check_equal(answer.status, 200, "a URL of 17 kB")


def test_tls(t):
    key, cert = make_cert(t, "tls")
    sim = Sim(t, "--tls-cert", cert, "--tls-key", key, "--messages", "30")
    check(sim.base_url.startswith("https://"), "scheme")
    page = sim.ok("/messages?$top=5")
    check(page["@odata.nextLink"].startswith(sim.base_url), "links keep the scheme")
    check_equal(len(sim.call(page["@odata.nextLink"]).json["value"]), 5, "next page")
    parts = urllib.parse.urlsplit(sim.base_url)
    with socket.create_connection((parts.hostname, parts.port), 5) as plain:
        plain.settimeout(5)
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b"x"
        try:
            data = plain.recv(100)
        except ConnectionResetError:
            data = b""
        check(not data.startswith(b"HTTP"), "plain HTTP is answered")


# --- control --------------------------------------------------------------------------------------------


def test_truth_and_history(t):
    sim = Sim(t, "--messages", "20")
    before = sim.truth()
    item = sim.ops({"op": "arrive", "subject": "Grüße", "from": {"name": "Zoë", "address": "zoe@fabrikam.example"}, "to": [{"address": "ann@contoso.example"}],
                    "body": "<p>a &amp; b</p>", "receivedDateTime": "2026-01-02T03:04:05Z", "internetMessageId": "<x@y>"})[0]
    sim.ops({"op": "patch", "id": item["id"], "set": {"isRead": True}}, {"op": "move", "id": item["id"], "to": "archive"})
    now = sim.truth(history=True)
    mine = next(m for m in now["messages"] if m["id"] == item["id"])
    check_equal((mine["subject"], mine["from"], mine["to"], mine["receivedDateTime"], mine["internetMessageId"], mine["isRead"]),
                ("Grüße", "zoe@fabrikam.example", ["ann@contoso.example"], "2026-01-02T03:04:05Z", "<x@y>", True), "the item")
    check_equal(mine["bodySha256"], hashlib.sha256(b"<p>a &amp; b</p>").hexdigest(), "its body")
    check(now["version"] > before["version"] and mine["changeKey"] != item["changeKey"], "versions")
    sim.ops({"op": "delete", "id": item["id"]})
    now = sim.truth(history=True)
    check(item["id"] in {g["id"] for g in now["gone"]} and item["id"] not in {m["id"] for m in now["messages"]}, "gone")
    steps = [(h["what"], h["isRead"]) for h in now["history"] if h["id"] == item["id"]]
    check_equal(steps, [("added", False), ("changed", True), ("changed", True), ("removed", True)], "history")
    versions = [h["version"] for h in now["history"]]
    check_equal(versions, sorted(versions), "history in order")


def test_bad_control_requests(t):
    sim = Sim(t)

    def status(method, path, body=None):
        parts = urllib.parse.urlsplit(sim.control_url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        connection.request(method, path, body)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    for method, path, body, want in (
            ("GET", "/nonsense", None, 404), ("POST", "/faults", "{", 400), ("POST", "/faults", "[{}]", 400),
            ("POST", "/faults", '[{"action":{"status":500},"match":{"path_regex":"("}}]', 400), ("POST", "/mutator", "{}", 400),
            ("POST", "/mutator", '{"rate":1,"weights":{"x":1}}', 400), ("GET", "/mailboxes/nobody/truth", None, 404),
            ("POST", f"/mailboxes/{sim.user}/ops", '[{"op":"fly"}]', 400), ("POST", f"/mailboxes/{sim.user}/state", '{"state":"x"}', 400),
            ("POST", "/variants", '{"partial":101}', 400), ("POST", "/secrets", "[]", 400)):
        check_equal(status(method, path, body), want, f"{method} {path} {body}")


def test_mutator_stops_where_it_is_told(t):
    sim = Sim(t, "--messages", "100", "--mailboxes", "2")
    first = sim.truth()["version"]
    sim.post("/mutator", {"rate": 5000, "until_count": 300, "mailboxes": [sim.user]})
    wait_for(lambda: sim.get("/mutator")["idle"], 20, "300 changes")
    check_equal(sim.get("/mutator")["done"], 300, "changes")
    check(sim.truth()["version"] > first + 200, "the mailbox changed")
    check_equal(sim.truth(user=sim.ready["mailboxes"][1], history=True)["history"], [], "the other did not")
    sim.post("/mutator", {"rate": 1000})
    wait_for(lambda: sim.get("/mutator")["done"] > 350, 20, "it goes on")
    sim.post("/mutator", {"rate": 0})
    version = sim.truth()["version"], sim.get("/mutator")["done"]
    sim.ok(FOLDERS)
    check_equal((sim.truth()["version"], sim.get("/mutator")["done"]), version, "still")


def test_configuration_file_and_bad_arguments(t):
    conf = t.dir / "sim.conf"
    conf.write_text("# a test\nmailboxes = 3\nmessages = 4\nmailbox = Zoe@Fabrikam.Example\n")
    sim = Sim(t, "--config", conf)
    check_equal(sim.ready["mailboxes"], ["zoe@fabrikam.example", "ann@contoso.example", "bob@contoso.example"], "mailboxes")
    check_equal(len(sim.truth()["messages"]), 4, "messages")
    from crmtest import program
    for args in (["--nonsense", "1"], ["--messages", "many"], ["--messages"], ["--tls-cert", "x"], ["--config", "/nonexistent"]):
        done = t.run([program("graphsim"), *args], deadline_s=10)
        check_equal(done.returncode, 64, f"{args}: {done.stderr}")
        check(done.stderr.startswith("graphsim: "), "it says why")


def test_sigterm_ends_it_at_once(t):
    sim = Sim(t, "--latency-ms", "30000")
    connection = sim.connect()
    connection.request("GET", f"/v1.0/users/{sim.user}/mailFolders", headers=sim.auth())
    wait_for(lambda: sim.counter("active") == 1, 5, "a request waits")
    started = time.monotonic()
    check_equal(sim.proc.stop(5), 0, "exit code")
    check(time.monotonic() - started < 2, "slow to end")
    connection.close()


def test_many_connections(t):
    sim = Sim(t, "--mailboxes", "20", "--latency-ms", "200")
    sim.auth()
    started = time.monotonic()
    answers = together(64, lambda i: sim.box(FOLDERS, user=sim.ready["mailboxes"][i % 20]))
    check_equal({a.status for a in answers}, {200}, "64 at a time over 20 mailboxes")
    check(time.monotonic() - started < 5, "they wait for each other")


if __name__ == "__main__":
    main(*(f for n, f in list(globals().items()) if n.startswith("test_")))
