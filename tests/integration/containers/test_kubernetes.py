#!/usr/bin/python3
"""What kustomize makes of docker/kubernetes, held against the schemas of Kubernetes.

kustomize is Debian's, in a container; the schemas are those of the Python package kubernetes-validate. A ScaledObject
is KEDA's own kind, of which Kubernetes has no schema: its fields are named here.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import yaml  # noqa: E402

from crmtest import ROOT, Failure, check, check_equal, main  # noqa: E402
from engine import Engine  # noqa: E402

KUSTOMIZE = "localhost/crmsync-kustomize:13"
VALIDATE = "kubernetes-validate==1.37.0"
VERSIONS = ("1.30", "1.37")  # of Kubernetes: the oldest and the newest that the manifests are for
HERE = Path(__file__).resolve().parent
SCALED_OBJECT = {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod", "fallback",
                 "advanced", "triggers"}


def schemas(folder):
    """The folder with kubernetes-validate and what it needs; fetched once."""
    target = folder / VALIDATE.replace("==", "-")
    if not target.is_dir():
        work = target.with_suffix(".tmp")
        run = subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "-q", "--upgrade", "--target", work, VALIDATE],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=600, check=False)
        if run.returncode != 0:
            raise Failure(f"{VALIDATE} could not be installed:\n{run.stdout[-3000:]}")
        work.rename(target)
    return target


def validate(packages, path, version):
    return subprocess.run(["/usr/bin/python3", "-B", "-m", "kubernetes_validate", "--strict", "-k", version, path],
                          env={**os.environ, "PYTHONPATH": str(packages)}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)


def check_scaled(document):
    check_equal(document["apiVersion"], "keda.sh/v1alpha1", "the version of the ScaledObject")
    check(set(document["spec"]) <= SCALED_OBJECT, f"fields that KEDA does not know: {set(document['spec']) - SCALED_OBJECT}")
    metadata = document["spec"]["triggers"][0]["metadata"]
    check_equal(set(metadata), {"serverAddress", "query", "threshold"}, "what the Prometheus trigger is told")
    check(all(isinstance(value, str) for value in metadata.values()), f"no texts: {metadata}")


def test_manifests(t):
    engine = Engine()
    t.undo(engine.close)
    engine.base()
    engine.build(None, KUSTOMIZE, dockerfile=HERE / "kustomize.Dockerfile", context=HERE)
    packages = schemas(engine.folder)
    for name, least in (("base", 12), ("overlays/production", 13)):
        run = engine.once(KUSTOMIZE, ["kustomize", "build", f"/kubernetes/{name}"],
                          ["--network", "none", "-v", f"{ROOT}/docker/kubernetes:/kubernetes:ro"])
        documents = list(yaml.safe_load_all(run.stdout))
        check(len(documents) >= least, f"{name}: {len(documents)} objects")
        if name != "base":
            images = {c["image"] for d in documents if d["kind"] in ("StatefulSet", "Job")
                      for c in d["spec"]["template"]["spec"]["containers"]}
            check_equal(images, {"registry.example/crm/crmsync:0.1.0"}, "images of the overlay")
            check(all(d["metadata"].get("namespace") == "crmsync" for d in documents if d["kind"] != "Namespace"), "namespaces")
        for document in documents:
            if document["kind"] == "ScaledObject":
                check_scaled(document)
        path = t.dir / "objects.yaml"
        path.write_text(yaml.safe_dump_all(d for d in documents if d["kind"] != "ScaledObject"))
        for version in VERSIONS:
            found = validate(packages, path, version)
            check_equal(found.returncode, 0, f"{name} for Kubernetes {version}: {found.stdout[-3000:]}")
        print(f"{name}: {len(documents)} objects, valid for Kubernetes {' and '.join(VERSIONS)}", flush=True)
    # and the judge does judge
    broken = next(d for d in documents if d["kind"] == "StatefulSet")
    broken["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["prot"] = "admin"
    path.write_text(yaml.safe_dump(broken))
    check(validate(packages, path, VERSIONS[0]).returncode != 0, "a broken manifest is found valid")


if __name__ == "__main__":
    main(test_manifests)
