#!/usr/bin/python3
"""TLS to Graph and to the token endpoint: only a certificate that is for the host and from a trusted authority will do."""

import subprocess
import sys
from pathlib import Path

from crmtest import Failure, GraphSim, Kafka, check, check_equal, main, wait_for

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from bed import CLIENT_ID, SECRET, TENANT_ID, Bed  # noqa: E402  pylint: disable=wrong-import-position


def openssl(folder, *args):
    run = subprocess.run(["openssl", *args], cwd=folder, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=30, check=False)
    if run.returncode != 0:
        raise Failure(f"openssl {args[0]} failed: {run.stdout}")


def authority(t, name):
    openssl(t.dir, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")
    return t.dir / f"{name}.pem"


def certificate(t, ca, name, alternative):
    """The arguments with which graphsim shows it."""
    (t.dir / f"{name}.ext").write_text(f"subjectAltName={alternative}\n", encoding="utf-8")
    openssl(t.dir, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl(t.dir, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca.stem}.pem", "-CAkey", f"{ca.stem}.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext")
    return "--tls-cert", str(t.dir / f"{name}.pem"), "--tls-key", str(t.dir / f"{name}.key")


def bed_with(t, graph_args, settings):
    return Bed(t, Kafka.shared(t), mailboxes=1, messages=20, events=2, folders=3, graph_args=graph_args, settings=settings)


def expect_refused(bed, asked):
    """The status says why and what to do, the simulator `asked` has seen no request, so no secret either."""
    producer, worker = bed.site.producer(), bed.site.worker()
    wait_for(lambda: any(r.json.get("code") == "tls" for r in bed.kafka.read(bed.t.prefix + "status.v1")), 60,
             "the status names TLS")
    status = [r.json for r in bed.kafka.read(bed.t.prefix + "status.v1") if r.json.get("code") == "tls"][-1]
    check(status.get("advice"), f"no advice in {status}")
    check_equal(asked.get("/requests?last=10"), [], "requests that came through")
    check_equal(asked.get("/counters")["token_requests"], 0, "token requests")
    check(not bed.kafka.read(bed.t.prefix + "records.v1"), "records over a refused connection")
    check(producer.proc.running() and worker.proc.running(), "a daemon has ended")
    check(SECRET not in producer.proc.log_text() + worker.proc.log_text(), "the secret is in a log")


def test_a_trusted_certificate_is_taken(t):
    ca = authority(t, "good")
    bed = bed_with(t, certificate(t, ca, "server", "IP:127.0.0.1"), {"graph.ca_file": str(ca)})
    check(bed.graph.base_url.startswith("https://"), bed.graph.base_url)
    daemons = bed.site.producer(), bed.site.worker()
    bed.wait_equal(90, daemons)


def test_an_unknown_authority_is_refused(t):
    bed = bed_with(t, certificate(t, authority(t, "good"), "server", "IP:127.0.0.1"), {})
    expect_refused(bed, bed.graph)


def test_another_authority_is_refused(t):
    other = authority(t, "other")
    bed = bed_with(t, certificate(t, authority(t, "good"), "server", "IP:127.0.0.1"), {"graph.ca_file": str(other)})
    expect_refused(bed, bed.graph)


def test_a_certificate_for_another_host_is_refused(t):
    ca = authority(t, "good")
    bed = bed_with(t, certificate(t, ca, "server", "IP:127.0.0.2,DNS:graph.microsoft.com"), {"graph.ca_file": str(ca)})
    expect_refused(bed, bed.graph)


def test_the_token_endpoint_is_verified_too(t):
    """Graph itself would answer here; the secret does not go to an endpoint that nobody vouches for."""
    login = GraphSim(t, "--tenant", TENANT_ID, "--client-id", CLIENT_ID, "--secret", SECRET,
                     *certificate(t, authority(t, "good"), "login", "IP:127.0.0.1"), name="login")
    bed = bed_with(t, (), {"graph.login_url": login.login_url})
    expect_refused(bed, login)


def test_authorities_that_cannot_be_read_are_refused_at_start(t):
    bed = bed_with(t, (), {"graph.ca_file": str(t.dir / "none.pem")})
    for verb in ("check-config", "run"):
        refused = bed.site.command("crmsync-worker", verb)
        check_equal(refused.returncode, 78, f"{verb}: {refused}")
        check("crmsync.cfg: graph.ca_file: No such file" in refused.stderr + refused.stdout, f"{refused}")


if __name__ == "__main__":
    main(test_a_trusted_certificate_is_taken, test_an_unknown_authority_is_refused, test_another_authority_is_refused,
         test_a_certificate_for_another_host_is_refused, test_the_token_endpoint_is_verified_too,
         test_authorities_that_cannot_be_read_are_refused_at_start)
