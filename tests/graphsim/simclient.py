"""A plain client of graphsim for its own tests: headers, gzip, tokens, delta rounds."""

import base64
import gzip
import http.client
import json
import ssl
import urllib.parse

from crmtest import GraphSim, check, check_equal

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
IMMUTABLE = 'IdType="ImmutableId"'
# nothing by chance: a test switches on what it is about
CALM = ("--empty-page", "0", "--short-page", "0", "--repeat", "0", "--partial", "0", "--collapse", "0", "--same-link", "0")


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name):
        return self.headers.get(name)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["error"]["code"]


def quote(text):
    return urllib.parse.quote(text, safe="")


class Sim(GraphSim):
    """graphsim with a token in hand."""

    def __init__(self, t, *args, calm=True, secret="secret", name="graphsim"):
        super().__init__(t, *(CALM if calm else ()), *args, name=name)
        self.secret = secret
        self.context = None
        if self.base_url.startswith("https"):
            self.context = ssl.create_default_context()
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE
        self.user = self.ready["mailboxes"][0]
        self.token = None

    def connect(self, timeout_s=20):
        parts = urllib.parse.urlsplit(self.base_url)
        if self.context:
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=self.context)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def raw(self, method, url, body=None, headers=None, timeout_s=20):
        """One request on a new connection; url is absolute or a path."""
        path = url[len(self.base_url):] if url.startswith(self.base_url) else url
        connection = self.connect(timeout_s)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
            if answer.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            return Answer(answer.status, answer.headers, data)
        finally:
            connection.close()

    def token_request(self, tenant=TENANT, headers=None, **form):
        fields = {"client_id": CLIENT, "client_secret": self.secret, "scope": self.base_url + "/.default",
                  "grant_type": "client_credentials", **form}
        body = urllib.parse.urlencode({k: v for k, v in fields.items() if v is not None})
        return self.raw("POST", f"/{tenant}/oauth2/v2.0/token", body,
                        {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})})

    def auth(self):
        if self.token is None:
            answer = self.token_request()
            check_equal(answer.status, 200, "token request")
            self.token = answer.json["access_token"]
        return {"Authorization": "Bearer " + self.token}

    def call(self, path, prefer=IMMUTABLE, method="GET", body=None, headers=None, timeout_s=20):
        """A Graph call: path behind /v1.0, or a whole link."""
        url = path if path.startswith("http") else "/v1.0" + path
        more = {"Prefer": prefer} if prefer else {}
        data = json.dumps(body) if body is not None else None
        if data:
            more["Content-Type"] = "application/json"
        return self.raw(method, url, data, {**self.auth(), **more, **(headers or {})}, timeout_s)

    def box(self, path="", user=None, **kw):
        return self.call(f"/users/{quote(user or self.user)}{path}", **kw)

    def ok(self, path, **kw):
        answer = self.box(path, **kw)
        check_equal(answer.status, 200, f"GET {path}: {answer.body[:300]}")
        return answer.json

    def round(self, link, page=50, prefer=IMMUTABLE, on_page=None, limit=2000):
        """A delta round from a path or link: (items in order, deltaLink, pages)."""
        items, pages = [], 0
        while True:
            answer = self.call(link if link.startswith("http") else f"/users/{quote(self.user)}{link}",
                               prefer=f"{prefer}, odata.maxpagesize={page}" if prefer else f"odata.maxpagesize={page}")
            check_equal(answer.status, 200, f"delta page: {answer.body[:300]}")
            pages += 1
            value = answer.json
            check(("@odata.nextLink" in value) != ("@odata.deltaLink" in value), "exactly one link")
            items += value["value"]
            if on_page:
                on_page(value)
            if "@odata.deltaLink" in value:
                return items, value["@odata.deltaLink"], pages
            link = value["@odata.nextLink"]
            check(pages < limit, "a round that does not end")

    def batch(self, requests):
        return self.call("/$batch", method="POST", body={"requests": requests})

    # --- control -------------------------------------------------------------------------------

    def ops(self, *ops, user=None):
        return self.post(f"/mailboxes/{user or self.user}/ops", list(ops))["results"]

    def truth(self, user=None, history=False):
        return self.get(f"/mailboxes/{user or self.user}/truth" + ("?history=1" if history else ""))

    def counter(self, name, user=None):
        return self.get("/counters")["mailboxes"][user or self.user][name]

    def faults(self, *rules):
        return self.post("/faults", list(rules))

    def folder_id(self, well_known):
        return next(f["id"] for f in self.truth()["folders"] if f["wellKnownName"] == well_known)


def fold(items, state=None):
    """What a reader knows after a round: {id: merged item}."""
    state = {} if state is None else state
    for item in items:
        if "@removed" in item:
            state.pop(item["id"], None)
        else:
            state[item["id"]] = {**state.get(item["id"], {}), **item}
    return state


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
