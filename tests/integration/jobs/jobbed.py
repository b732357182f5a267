"""The job engine (jobrun) against graphsim, and jobs for it."""

import datetime
import hashlib
import json
import secrets
import time
import urllib.parse
import urllib.request
import uuid

from crmtest import GraphSim, Schemas, check, check_equal, libconfig, program

NAME = "acme"
CALM = ("--empty-page", "0", "--short-page", "0", "--repeat", "0", "--partial", "0", "--collapse", "0",
        "--same-link", "0")
# folders that are out of scope by default
EXCLUDED = {"deleteditems", "junkemail", "drafts", "outbox", "conflicts", "localfailures", "serverfailures", "syncissues",
            "recoverableitemsdeletions"}


def rfc3339(when):
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def uuid7():
    bits = (int(time.time() * 1000) << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


def id_hash(folder):
    return hashlib.sha256(folder.encode()).hexdigest()[:16]


class Jobs:
    """graphsim with one or more mailboxes, and an engine that runs jobs of them."""

    def __init__(self, t, *sim_args, calm=True, limits=None, settings=None, name="jobrun", configured=None, **tenant_settings):
        self.t = t
        self.sim = GraphSim(t, *(CALM if calm else ()), *sim_args)
        self.mailboxes = self.sim.ready["mailboxes"]
        self.user = self.mailboxes[0]
        folder = t.dir / name
        folder.mkdir(exist_ok=True)
        (folder / "tenants.d").mkdir(exist_ok=True)
        self.secret = folder / "secret"
        self.secret.write_text("secret\n")
        conf = {"kafka.bootstrap_servers": "127.0.0.1:1", "graph.base_url": self.sim.base_url,
                "graph.login_url": self.sim.login_url, "log.format": "json", "log.level": "debug",
                **{"limits." + k: v for k, v in (limits or {}).items()}, **(settings or {})}
        (folder / "crmsync.cfg").write_text(libconfig(conf))
        of_tenant = {"name": NAME, "tenant_id": self.sim.ready["tenant"], "client_id": self.sim.ready["client_id"],
                     "credentials": [{"secret_file": str(self.secret)}], "mailboxes": configured or list(self.mailboxes),
                     "own_domains": ["contoso.example"], **tenant_settings}
        (folder / "tenants.d" / "acme.cfg").write_text(libconfig(of_tenant))
        self.proc = t.start([program("jobrun"), "-c", str(folder / "crmsync.cfg")], name, stdin=True, lines=True)
        self.schemas = Schemas()

    # --- jobs ------------------------------------------------------------------------------------

    def job(self, kind, parts=(), user=None, **more):
        return {"job_id": uuid7(), "type": kind, "tenant": NAME, "mailbox": user or self.user, "lane": "live",
                "attempt": 1, "reason": "test", "created_at": rfc3339(now()), **({"parts": list(parts)} if parts else {}),
                **more}

    def send(self, job):
        self.proc.send(json.dumps(job) + "\n")

    def answer(self, deadline_s=60):
        return json.loads(self.proc.line(deadline_s, "the end of a job"))

    def run(self, job, deadline_s=60):
        """The job's end: {"feedback", "reject", "records"}; everything in it is valid by the schemas."""
        self.send(job)
        end = self.answer(deadline_s)
        check("invalid" not in end, f"the job is invalid: {end}")
        check_equal(end["feedback"]["job_id"], job["job_id"], "whose feedback")
        self.validate(end)
        return end

    def validate(self, end):
        self.schemas.validate(end["feedback"], "feedback.v1")
        for record in end["records"]:
            value = record["value"]
            name = value["kind"] if value["change"] in ("upserted", "moved") else "removed"
            self.schemas.validate(value, f"record/{name}.v1")
            if record["index"] is not None:
                self.schemas.validate(record["index"], "index.v1")
        for noted in end["noted"]:
            self.schemas.validate(noted["index"], "index.v1")

    # --- folders ---------------------------------------------------------------------------------

    def tree(self, user=None, tries=1):
        """The folder tree by a job: {id: folder} with paths and scope."""
        end = self.run(self.job("folders", user=user))
        while end["feedback"]["outcome"] == "retry" and tries > 1:
            tries -= 1
            end = self.run(self.job("folders", user=user))
        check_equal(end["feedback"]["outcome"], "done", f"folders: {end['feedback']}")
        found = {f["id"]: dict(f) for f in end["feedback"]["folders"]}

        def fill(folder):
            if "path" in folder:
                return folder
            parent = found.get(folder.get("parent_id"))
            above = fill(parent) if parent else None
            folder["path"] = (above["path"] + "/" if above else "") + folder["name"].replace("/", "%2F")
            folder["in"] = (not folder.get("hidden") and not folder.get("search_folder") and
                            folder.get("well_known") not in EXCLUDED and (above is None or above["in"]))
            return folder

        for folder in found.values():
            fill(folder)
        return found

    @staticmethod
    def scope(tree, only=None):
        """The folder map as a job carries it."""
        inside = [f for f in tree.values() if f["in"] and (only is None or f["id"] in only)]
        return {"folders": [{"id": f["id"], "path": f["path"],
                             **({"well_known": f["well_known"]} if f.get("well_known") else {})} for f in inside],
                "folders_out": [id_hash(f["id"]) for f in tree.values() if not f["in"]]}

    @staticmethod
    def mail_part(folder, mode, cursor=None, generation=1):
        return {"stream": "mail:" + folder["id"], "generation": generation, "mode": mode,
                "folder": {"id": folder["id"], "path": folder["path"],
                           **({"well_known": folder["well_known"]} if folder.get("well_known") else {})},
                **({"cursor": cursor} if cursor else {})}

    # --- Graph, asked by the test itself -------------------------------------------------------------

    def token(self):
        form = urllib.parse.urlencode({"client_id": self.sim.ready["client_id"], "client_secret": "secret",
                                       "grant_type": "client_credentials", "scope": self.sim.base_url + "/.default"}).encode()
        url = f"{self.sim.login_url}/{self.sim.ready['tenant']}/oauth2/v2.0/token"
        with urllib.request.urlopen(url, form, timeout=20) as answer:
            return json.load(answer)["access_token"]

    def graph(self, path, token, raw=False, user=None):
        request = urllib.request.Request(f"{self.sim.base_url}/v1.0/users/{user or self.user}{path}",
                                         headers={"Authorization": "Bearer " + token, "Prefer": 'IdType="ImmutableId"'})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read() if raw else json.load(answer)

    # --- control ---------------------------------------------------------------------------------

    def ops(self, *ops, user=None):
        return self.sim.post(f"/mailboxes/{user or self.user}/ops", list(ops))["results"]

    def truth(self, user=None, history=False):
        truth = self.sim.get(f"/mailboxes/{user or self.user}/truth" + ("?history=1" if history else ""))
        return {"mailbox": user or self.user, **truth}

    def counters(self, user=None):
        return self.sim.get("/counters")["mailboxes"][user or self.user]

    def faults(self, *rules):
        return self.sim.post("/faults", list(rules))

    def folder_id(self, well_known):
        return next(f["id"] for f in self.truth()["folders"] if f["wellKnownName"] == well_known)


def by_key(records):
    return {r["key"]: r["value"] for r in records}
