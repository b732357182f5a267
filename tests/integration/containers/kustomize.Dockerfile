# Debian's kustomize, for test_kubernetes.py.
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends kustomize && rm -rf /var/lib/apt/lists/*
