"""Whose objects name a file that a proxy can't be given."""

from __future__ import annotations

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import PodSpec
from pilotfish.model.credential import UnusableFiles
from pilotfish.model.kinds import DEPLOYMENT, POD
from pilotfish.node.identity import PodIdentity
from pilotfish.node.unusable_files import describe_unusable

MESH = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: ["*"],
      tls: {mode: MUTUAL, serverCertificate: /tls/a, privateKey: /tls/key, caCertificates: /tls/ca}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: other, namespace: shop}
spec:
  selector: {istio: other}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: ["*"],
      tls: {mode: SIMPLE, serverCertificate: /tls/a, privateKey: /tls/key}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: rule, namespace: shop}
spec:
  host: outside.example.com
  subsets:
  - {name: v1, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /tls/ca}}}
"""
EDGE = PodIdentity(
    ref=POD.ref("shop", "edge-0"),
    uid="",
    labels={"istio": "edge"},
    annotations={},
    spec=PodSpec(containers=()),
    addresses=(),
    host_ip="",
    node_name="",
    directory="",
    folder="",
    owner=DEPLOYMENT.ref("shop", "edge"),
)


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        (
            UnusableFiles(("/tls/a", "/tls/key"), "/tls/key can't be read: No such file or directory"),
            {("edge", "spec.servers[1].tls.privateKey"): "handshake"},
        ),
        (
            UnusableFiles(("/tls/ca",), "/tls/ca holds no certificate in PEM", had=True),
            {
                ("edge", "spec.servers[1].tls.caCertificates"): "stays in use",
                ("rule", "spec.subsets[0].trafficPolicy.tls.caCertificates"): "stays in use",
            },
        ),
        (UnusableFiles(("/tls/gone",), "/tls/gone can't be read"), {}),
    ],
)
def test_the_objects_that_name_the_files_of_this_proxy_are_told(
    lacking: UnusableFiles, told: dict[tuple[str, str], str]
) -> None:
    manifests = {manifest.ref: manifest for manifest in load(MESH, "in.yaml").manifests}
    found = describe_unusable(EDGE, (lacking,), manifests)
    assert {(problem.ref.name, problem.field) for problem in found if problem.ref} == set(told)
    for problem in found:
        assert problem.ref is not None
        assert lacking.why in problem.message
        assert told[problem.ref.name, problem.field] in problem.message
