"""Versions that Kubernetes no longer has mean what they became."""

from __future__ import annotations

import pytest

from pilotfish import config
from pilotfish.config.manifest import Manifest

WORKLOAD = """
apiVersion: {version}
kind: Deployment
metadata: {{name: web}}
spec:
  {more}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, command: [run]}}]}}
"""
SELECTOR = "selector: {matchLabels: {app: web}}"
OLD_INGRESS = """
apiVersion: {version}
kind: Ingress
metadata: {{name: web}}
spec:
  backend: {{serviceName: rest, servicePort: http}}
  rules: [{{host: a.b, http: {{paths: [{{path: /x, backend: {{serviceName: web, servicePort: 80}}}}]}}}}]
"""
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  defaultBackend: {service: {name: rest, port: {name: http}}}
  rules:
  - host: a.b
    http:
      paths:
      - {path: /x, pathType: ImplementationSpecific, backend: {service: {name: web, port: {number: 80}}}}
"""


def read(text: str) -> Manifest:
    loaded = config.load(text, "mesh.yaml")
    errors = [problem for problem in loaded.problems if problem.severity == "error"]
    assert not errors
    (manifest,) = loaded.manifests
    return manifest


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("extensions/v1beta1", "rollbackTo: {revision: 1}"),
        ("apps/v1beta1", "replicas: 1"),
        ("apps/v1beta2", SELECTOR),
    ],
)
def test_a_deployment(version: str, more: str) -> None:
    old, new = (
        read(WORKLOAD.format(version=version, more=more)),
        read(WORKLOAD.format(version="apps/v1", more=SELECTOR)),
    )
    assert old.resource == new.resource
    assert old.document["apiVersion"] == "apps/v1"


@pytest.mark.parametrize("version", ["extensions/v1beta1", "networking.k8s.io/v1beta1"])
def test_an_ingress(version: str) -> None:
    assert read(OLD_INGRESS.format(version=version)).resource == read(INGRESS).resource


def test_a_mistake_in_it_is_said_of_its_line() -> None:
    text = WORKLOAD.format(version="extensions/v1beta1", more="replica: 2")
    (problem,) = config.load(text, "mesh.yaml").problems
    assert (problem.field, str(problem.source)) == ("spec.replica", "mesh.yaml:6")
