"""A worker without Graph: reads jobs, answers each with feedback in one transaction, and watches the producer.

It checks what holds for every job whatever the story: it validates, it lies on its mailbox's partition, and no
mailbox has two jobs out at a time. How a job is answered can be replaced per type: worker.answers["mail.delta"] = fn.
"""

import collections
import datetime
import json
import threading
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

from crmtest import Failure, Schemas, partition_count, partition_of, quiet


def now():
    t = datetime.datetime.now(datetime.timezone.utc)
    return t.strftime("%Y-%m-%dT%H:%M:%S.") + f"{t.microsecond // 1000:03d}Z"


def folder(fid, name, parent=None, well_known=None, total=10, hidden=False):
    found = {"id": fid, "name": name, "hidden": hidden, "search_folder": False, "total": total, "unread": 0}
    if parent:
        found["parent_id"] = parent
    if well_known:
        found["well_known"] = well_known
    return found


TREE = [folder("f-inbox", "Inbox", well_known="inbox"), folder("f-sent", "Sent", well_known="sentitems"),
        folder("f-proj", "Pro/jects", parent="f-inbox"), folder("f-trash", "Trash", well_known="deleteditems"),
        folder("f-old", "Old", parent="f-trash")]


class FakeWorker:
    """Runs in a thread from construction; stop() ends it and raises what went wrong in it."""

    def __init__(self, t, broker, delay_s=0.0):
        self.prefix = t.prefix
        self.bootstrap = broker.bootstrap
        self.transactional = broker.transactional
        self.partitions = partition_count(broker.bootstrap, t.prefix + "jobs.v1")
        self.schemas = Schemas()
        self.delay_s = delay_s
        self.jobs = []                                  # every job in the order read
        self.held = collections.OrderedDict()           # job_id -> job, not answered while hold is set
        self.hold = False
        self.trees = collections.defaultdict(lambda: list(TREE))
        self.slice_pages = collections.Counter()
        self.answers = {"folders": self.folders, "mail.slice": self.slices, "mail.resync": self.resync, "mail.delta": self.delta,
                        "mail.items": self.plain, "calendar.delta": self.calendar, "probe": self.plain}
        self.error = None
        self.answered = 0
        self.unacked = {}                               # mailbox -> job id
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        t.undo(self.stop)

    # --- answers ------------------------------------------------------------------------------------

    def base(self, job, outcome="done", **more):
        at = now()
        return {"job_id": job["job_id"], "type": job["type"], "tenant": job["tenant"], "mailbox": job["mailbox"],
                "lane": job["lane"], "attempt": job["attempt"], "outcome": outcome, "counts": {}, "started_at": at,
                "finished_at": at, **more}

    def part(self, part, outcome="done", **more):
        found = {"stream": part["stream"], "generation": part["generation"], "outcome": outcome, "changes": 0}
        if "slice_id" in part:
            found["slice_id"] = part["slice_id"]
        return {**found, **more}

    def plain(self, job):
        return self.base(job)

    def folders(self, job):
        return self.base(job, folders=self.trees[job["mailbox"]])

    def slices(self, job):
        parts = []
        for part in job["parts"]:
            if part["mode"] == "preview":
                parts.append(self.part(part))
                continue
            name = (job["mailbox"], part["slice_id"])
            self.slice_pages[name] += 1
            if self.slice_pages[name] == 1:
                cursor = part["window"]["from"] or "2020-01-01T00:00:00Z"
                parts.append(self.part(part, "more", cursor=cursor))
            else:
                parts.append(self.part(part))
        return self.base(job, "more" if any(p["outcome"] == "more" for p in parts) else "done", parts=parts)

    def cursor(self, job, part):
        return f"/v1.0/users/{job['mailbox']}/mailFolders/{part['stream'][5:]}/messages/delta?$deltatoken={uuid.uuid4().hex}"

    def resync(self, job):
        zeros = {"listed": 0, "indexed": 0, "missing": 0, "stale": 0, "extra": 0, "digest": "0" * 16}
        return self.base(job, parts=[self.part(p, compared=zeros, **({"cursor": self.cursor(job, p)} if p["mode"] == "resync" else {}))
                                     for p in job["parts"]])

    def delta(self, job):
        return self.base(job, parts=[self.part(p, cursor=self.cursor(job, p)) for p in job["parts"]])

    def calendar(self, job):
        part = job["parts"][0]
        cursor = f"/v1.0/users/{job['mailbox']}/calendarView/delta?$deltatoken={uuid.uuid4().hex}"
        return self.base(job, parts=[self.part(part, cursor=cursor)])

    def refused(self, job, code, scope="mailbox", **more):
        error = {"code": code, "scope": scope, "http_status": 403}
        parts = [self.part(p, "retry", error=error) for p in job.get("parts", [])]
        return self.base(job, "retry", error=error, **({"parts": parts} if parts else {}), **more)

    # --- what tests ask -----------------------------------------------------------------------------

    def of(self, mailbox, kind=None):
        with self._lock:
            return [j for j in self.jobs if j["mailbox"] == mailbox and kind in (None, j["type"])]

    def count(self):
        with self._lock:
            return len(self.jobs)

    def release(self):
        self.hold = False

    def check(self):
        if self.error:
            raise Failure(f"fake worker: {self.error}")

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        self.check()

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self):
        try:
            self._serve()
        except Exception as e:  # noqa: BLE001 - told by check()
            self.error = f"{type(e).__name__}: {e}"

    def _serve(self):
        consumer = Consumer(quiet(self.bootstrap, {
            "group.id": f"fake-{uuid.uuid4().hex}", "enable.auto.commit": False, "isolation.level": "read_committed",
            "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20}))
        conf = {"socket.nagle.disable": True, "linger.ms": 0, "retry.backoff.ms": 20}
        if self.transactional:
            conf["transactional.id"] = f"fake-{uuid.uuid4().hex}"
        producer = Producer(quiet(self.bootstrap, conf))
        if self.transactional:
            producer.init_transactions(30)
        consumer.assign([TopicPartition(self.prefix + "jobs.v1", p, 0) for p in range(self.partitions)])
        try:
            while not self._stop.is_set():
                batch = [m for m in consumer.consume(50, timeout=0.02)]
                for msg in batch:
                    if msg.error():
                        raise Failure(str(msg.error()))
                    self._take(msg)
                if not self.hold and self.held:
                    self._answer(producer)
        finally:
            consumer.close()

    def _take(self, msg):
        job = json.loads(msg.value())
        self.schemas.validate(job, "job.v1", f"job at {msg.partition()}:{msg.offset()}")
        key = msg.key().decode()
        if key != f"{job['tenant']}/{job['mailbox']}" or partition_of(key, self.partitions) != msg.partition():
            raise Failure(f"job of {key} on partition {msg.partition()}")
        headers = {k: v.decode() for k, v in msg.headers() or []}
        if headers.get("ce_id") != job["job_id"] or headers.get("content-type") != "application/json":
            raise Failure(f"headers of job {job['job_id']}: {headers}")
        out = self.unacked.get(key)
        if out is not None and self.transactional:
            raise Failure(f"{key}: job {job['job_id']} ({job['type']}) while {out} is out")
        self.unacked[key] = job["job_id"]
        with self._lock:
            self.jobs.append(job)
        self.held[job["job_id"]] = job

    def _answer(self, producer):
        if self.delay_s:
            time.sleep(self.delay_s)  # the time that work takes; nothing is waited for
        if self.transactional:
            producer.begin_transaction()
        for job_id, job in list(self.held.items()):
            feedback = self.answers[job["type"]](job)
            if feedback is None:
                continue  # this one stays out
            self.schemas.validate(feedback, "feedback.v1", "the fake's own feedback")
            key = f"{job['tenant']}/{job['mailbox']}"
            producer.produce(self.prefix + "feedback.v1", json.dumps(feedback), key,
                             partition=partition_of(key, self.partitions))
            del self.held[job_id]
            self.unacked.pop(key, None)
            self.answered += 1
        if self.transactional:
            producer.commit_transaction(30)
        else:
            producer.flush(30)


class NoGraph:
    """Names for a configuration whose Graph is never asked."""

    base_url = "http://127.0.0.1:9"
    login_url = "http://127.0.0.1:9"
