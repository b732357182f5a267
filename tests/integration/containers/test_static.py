#!/usr/bin/python3
"""docker/ fits the programs: what it names exists, what it promises is written there. Starts nothing but the programs'
own look at a configuration; the images and the manifests themselves are tried by `./run image-test`."""

import http.server
import re
import shutil
import threading

import yaml

from crmtest import ROOT, check, check_equal, kafka_bed, main, program

DOCKER = ROOT / "docker"
BASE = DOCKER / "kubernetes/base"
OVERLAY = DOCKER / "kubernetes/overlays/production"
VERSION = re.search(r"project\(crmsync VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())


def manifests():
    """Every object of the base."""
    found = []
    for name in yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]:
        found += list(yaml.safe_load_all((BASE / name).read_text()))
    return found


def one(kind, name):
    found = [m for m in manifests() if m["kind"] == kind and m["metadata"]["name"] == name]
    check_equal(len(found), 1, f"{kind} {name}")
    return found[0]


def pod_specs():
    return [(m, m["spec"]["template"]["spec"]) for m in manifests() if m["kind"] in ("StatefulSet", "Job")]


def settings(t):
    """{key: value} of both programs, as --print-config gives them."""
    config = t.dir / "print.cfg"
    config.write_text('kafka = { bootstrap_servers = "127.0.0.1:9"; };\n')
    found = {}
    for name in ("crmsync-producer", "crmsync-worker"):
        run = t.run([program(name), "run", "-c", config, "--print-config"])
        check_equal(run.returncode, 0, f"{name} --print-config: {run.stderr}")
        group = ""
        for line in run.stdout.splitlines():
            if line.endswith("{"):
                group = line.split(":")[0] + "."
            elif line.startswith("}"):
                group = ""
            else:
                key, _, value = line.strip().partition(" = ")
                found[group + key] = value.rstrip(";")
    return found


def check_environment(names, known, where):
    """Are these variables of the environment settings?"""
    variables = {"CRMSYNC_" + key.upper().replace(".", "_") for key in known}
    for name in names:
        plain = name.removesuffix("_FILE")
        check(plain in variables or plain.startswith("CRMSYNC_KAFKA_PROPERTIES_"), f"{where}: {name} is no setting")


def test_compose_is_hardened_and_complete(t):
    known = settings(t)
    services = COMPOSE["services"]
    for name in ("kafka", "topics", "graphsim", "producer", "worker", "consumer"):
        check(name in services, f"compose.yaml has no {name}")
    check("container_name" not in services["worker"] and "ports" not in services["worker"], "worker cannot be scaled")
    drain_s = int(known["worker.drain_ms"]) / 1000
    for name, service in services.items():
        check(service.get("read_only") is True, f"{name}: the root can be written to")
        check_equal(service.get("cap_drop"), ["ALL"], f"{name}: cap_drop")
        check("no-new-privileges:true" in service.get("security_opt", []), f"{name}: no-new-privileges")
        check_equal(service["image"].partition(":")[2], VERSION, f"{name}: the image's tag")
        for other in service.get("depends_on", {}):
            check(other in services, f"{name} depends on {other}")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            check((DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], f"{name}: {source}")
        for secret in service.get("secrets", []):
            check((DOCKER / COMPOSE["secrets"][secret]["file"]).is_file(), f"{name}: {secret} has no file")
        check_environment(service.get("environment", {}), known, f"compose.yaml: {name}")
    for name in ("producer", "worker"):
        check(float(services[name]["stop_grace_period"].removesuffix("s")) >= drain_s + 15, f"{name} is not given time to drain")


def test_configurations_are_accepted(t):
    for where in (DOCKER / "compose", BASE, OVERLAY):
        folder = t.dir / where.name
        shutil.copytree(where, folder)
        config = folder / "crmsync.cfg"
        config.write_text(config.read_text().replace("/certs/graphsim.crt", "/etc/ssl/certs/ca-certificates.crt"))
        for name in ("crmsync-producer", "crmsync-worker"):
            run = t.run([program(name), "check-config", "-c", config])
            check_equal(run.returncode, 0, f"{name}, {where}: {run.stdout}{run.stderr}")
        check(re.search(r"[1-9]\d* tenant", run.stdout), f"{where}: no tenant: {run.stdout}")
    # what each tenant's file names as its secret is where the pods and services have theirs
    for path in [*BASE.glob("tenants.d/*"), *OVERLAY.glob("tenants.d/*")]:
        check('"/run/secrets/crmsync/' in path.read_text(), f"{path}: a secret outside the mounted Secret")
    secrets = COMPOSE["services"]["worker"]["secrets"]
    check(all(f'"/run/secrets/{s}"' in (DOCKER / "compose/tenants.d/contoso.cfg").read_text() for s in secrets), str(secrets))


def test_pods_are_confined(t):
    known = settings(t)
    check_equal(len(pod_specs()), 3, "pods")
    for manifest, pod in pod_specs():
        name = manifest["metadata"]["name"]
        context = pod["securityContext"]
        check(context["runAsNonRoot"] is True and context["runAsUser"] == 65532, f"{name}: the user")
        check_equal(context["seccompProfile"], {"type": "RuntimeDefault"}, f"{name}: seccomp")
        check(pod["automountServiceAccountToken"] is False, f"{name}: a token of the cluster's")
        volumes = {v["name"] for v in pod["volumes"]}
        for container in pod["containers"]:
            own = container["securityContext"]
            check(own["readOnlyRootFilesystem"] is True and own["allowPrivilegeEscalation"] is False, f"{name}: {own}")
            check_equal(own["capabilities"], {"drop": ["ALL"]}, f"{name}: capabilities")
            check_equal(container["image"], f"crmsync:{VERSION}", f"{name}: the image")
            check("memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"], f"{name}: resources")
            check(all(m["name"] in volumes and m["readOnly"] for m in container["volumeMounts"]), f"{name}: mounts")
            check_environment([e["name"] for e in container["env"]], known, name)


def test_workers_and_producers_are_stable_and_probed(t):
    drain_s = int(settings(t)["worker.drain_ms"]) / 1000
    admin = (ROOT / "common/admin.c").read_text()
    for program_name in ("crmsync-producer", "crmsync-worker"):
        spec = one("StatefulSet", program_name)["spec"]
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        check_equal(container["command"], [f"/usr/bin/{program_name}", "run"], "the command")
        check(pod["terminationGracePeriodSeconds"] >= drain_s + 15, f"{program_name} is not given time to drain")
        env = {e["name"]: e for e in container["env"]}
        check_equal(env["CRMSYNC_INSTANCE_ID"]["valueFrom"], {"fieldRef": {"fieldPath": "metadata.name"}}, "the instance id")
        port = int(env["CRMSYNC_ADMIN_LISTEN"]["value"].rsplit(":", 1)[1])
        check_equal(container["ports"], [{"name": "admin", "containerPort": port}], "the port")
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            check_equal(container[probe]["httpGet"], {"path": path, "port": "admin"}, f"{program_name}: {probe}")
            check(f'"{path}"' in admin, f"the admin port has no {path}")
        labels = spec["template"]["metadata"]["labels"]
        service = one("Service", program_name)
        check_equal(spec["serviceName"], program_name, "the service that names the pods")
        check_equal(service["spec"]["ports"][0]["port"], port, "the port of the service")
        check_equal(service["metadata"]["annotations"]["prometheus.io/port"], str(port), "the port that is scraped")
        for selector in (spec["selector"]["matchLabels"], service["spec"]["selector"],
                         one("PodDisruptionBudget", program_name)["spec"]["selector"]["matchLabels"]):
            check(selector.items() <= labels.items(), f"{program_name}: {selector} selects no {labels}")


def test_workers_scale_on_what_is_overdue_up_to_the_partitions(t):
    scaled = one("ScaledObject", "crmsync-worker")["spec"]
    check_equal(scaled["scaleTargetRef"], {"kind": "StatefulSet", "name": "crmsync-worker"}, "what is scaled")
    check("replicas" not in one("StatefulSet", "crmsync-worker")["spec"], "replicas would undo the scaling at each apply")
    command = one("Job", "crmsync-topics")["spec"]["template"]["spec"]["containers"][0]["command"]
    check_equal(int(command[command.index("--partitions") + 1]), scaled["maxReplicaCount"], "partitions and most workers")
    query = scaled["triggers"][0]["metadata"]["query"]
    metrics = set(re.findall(r'"(crmsync_\w+)"', (ROOT / "producer/view.c").read_text()))
    check(set(re.findall(r"crmsync_\w+", query)) <= metrics, f"the producer has no metric of {query}")


def test_network_policies_leave_what_is_needed(t):
    policy = one("NetworkPolicy", "crmsync")["spec"]
    names = policy["podSelector"]["matchExpressions"][0]["values"]
    check_equal(sorted(names), sorted(m["metadata"]["name"] for m, _ in pod_specs()), "pods under the policy")
    check_equal(policy["policyTypes"], ["Ingress", "Egress"], "directions")
    graph = one("NetworkPolicy", "crmsync-worker-graph")["spec"]
    check_equal(graph["podSelector"]["matchLabels"], {"app.kubernetes.io/name": "crmsync-worker"}, "who reaches Graph")
    check_equal(graph["egress"][0]["ports"], [{"protocol": "TCP", "port": 443}], "by https only")
    check("169.254.0.0/16" in graph["egress"][0]["to"][0]["ipBlock"]["except"], "the metadata service of a cloud can be reached")


def test_files_of_the_kustomizations_exist(t):
    for folder in (BASE, OVERLAY):
        text = yaml.safe_load((folder / "kustomization.yaml").read_text())
        files = [f for g in text["configMapGenerator"] for f in g["files"]] + text["resources"]
        for name in files + [p["path"] for p in text.get("patches", []) if "path" in p]:
            check((folder / name).exists(), f"{folder.name}: {name} is missing")
    image = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text())["images"][0]
    check_equal((image["name"], image["newTag"]), ("crmsync", VERSION), "the image of the overlay")


class Admin(http.server.BaseHTTPRequestHandler):
    """An admin port that lives and is not ready."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802
        self.send_response({"/livez": 200, "/readyz": 503}.get(self.path, 404))
        self.end_headers()
        self.wfile.write(b"no partitions yet\n")

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass


def test_health_asks_the_port_of_the_configuration(t):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Admin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    t.undo(server.server_close)
    t.undo(server.shutdown)
    here = f"127.0.0.1:{server.server_port}"
    config = t.dir / "crmsync.cfg"
    config.write_text('kafka = { bootstrap_servers = "127.0.0.1:9"; };\n')
    for name in ("crmsync-producer", "crmsync-worker"):
        for listen, args, code, words in ((here, [], 0, ""), (here.replace("127.0.0.1", "0.0.0.0"), [], 0, ""),
                                          (here, ["--ready"], 69, "/readyz: 503 no partitions yet"),
                                          ("127.0.0.1:1", [], 69, "no answer"), ("127.0.0.1:0", [], 78, "admin.listen"),
                                          (here, ["more"], 64, "usage")):
            run = t.run([program(name), "health", "-c", config, *args], env={"CRMSYNC_ADMIN_LISTEN": listen})
            check(run.returncode == code and words in run.stderr, f"{name} health {args} at {listen}: {run}")


def test_dockerfile(t):
    text = (DOCKER / "Dockerfile").read_text()
    image = text[text.index("FROM scratch AS crmsync"):text.index("AS check")]
    for line in ("USER 65532:65532", "STOPSIGNAL SIGTERM", 'CMD ["/usr/bin/crmsync-worker", "health"]', f"ARG VERSION={VERSION}"):
        check(line in image, f"the image has no {line}")
    check("latest" not in text and re.search(r"^ARG BASE=\S+:13-slim$", text, re.M), "the base")
    check(text.rstrip().endswith("FROM crmsync"), "the default is another image")
    check(f"ARG KAFKA_VERSION={kafka_bed.MAIN}" in text, "Kafka is another than the tests use")
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().split("\n")
    taken = [line[1:] for line in ignored if line.startswith("!")]
    check("*" in ignored and taken, "the context is everything")
    for name in taken:
        check(any(ROOT.glob(name)) and name not in (".git", "build"), f"the context has {name}")


if __name__ == "__main__":
    main(*[value for name, value in list(globals().items()) if name.startswith("test_")])
