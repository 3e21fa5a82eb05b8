"""What an app is told of its clients' certificates, in `x-forwarded-client-cert`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pilotfish.envoy.mutual_tls import MESH_HTTP
from pilotfish.model import Proxy
from tests.certificates import issue
from tests.envoy.authority import Authority, spiffe
from tests.envoy.conftest import EDGE, PEER4, POD4, WEBAPP, LiveEnvoy, Start
from tests.envoy.tls_calls import call_tls

APP = """
apiVersion: v1
kind: Service
metadata: {name: webapp, namespace: vm}
spec: {clusterIP: 10.96.0.7, selector: {app: webapp}, ports: [{name: http, port: 8080}]}
---
"""
GATEWAY = f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: vm}}
spec:
  selector: {{istio: edge}}
  servers: [{{port: {{number: 8080, name: a, protocol: HTTPS}}, hosts: ["*"], tls: {{mode: ISTIO_MUTUAL}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: far, namespace: vm}}
spec:
  hosts: [far.example.com]
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}]
  endpoints: [{{address: {PEER4}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: far, namespace: vm}}
spec: {{hosts: ["*"], gateways: [edge], http: [{{route: [{{destination: {{host: far.example.com}}}}]}}]}}
---
"""
CLAIMED, OWN, SUBJECT, DNS = "uri=claimed", f"uri={spiffe('caller')}", "subject=", "dns=caller.example.com"
CERTIFICATE, CHAIN = "cert=", "chain="
PARTS = (CLAIMED, OWN, SUBJECT, DNS, CERTIFICATE, CHAIN)
USUAL = {OWN, SUBJECT, DNS}


def _told_by(usual: set[str], default: set[str]) -> dict[str, set[str]]:
    """By what the mesh says."""
    return {
        "": default,
        "SANITIZE": set(),
        "SANITIZE_SET": usual,
        "APPEND_FORWARD": usual | {CLAIMED},
        "FORWARD_ONLY": {CLAIMED},
        "ALWAYS_FORWARD_ONLY": {CLAIMED},
    }


BY_SIDECARS = _told_by(USUAL, USUAL | {CLAIMED})
BY_GATEWAYS = _told_by(USUAL | {CERTIFICATE}, USUAL | {CERTIFICATE})
DETAILS = {
    "subject: false": USUAL - {SUBJECT},
    "dns: false": USUAL - {DNS},
    "uri: false": USUAL - {OWN},
    "cert: true": USUAL | {CERTIFICATE},
    "chain: true": USUAL | {CHAIN},
}


@pytest.fixture
def authority() -> Iterator[Authority]:
    with TemporaryDirectory() as name:
        authority = Authority(Path(name))
        authority.write("caller", issue("caller", authority.root, spiffe("caller"), "caller.example.com"))
        yield authority


def _mesh(config: Mapping[str, object]) -> str:
    metadata = {"name": "istio", "namespace": "istio-system"}
    data = {"mesh": json.dumps({"defaultConfig": config})}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}) + "\n---\n"


def _told(live: LiveEnvoy, authority: Authority) -> set[str]:
    sent = "GET / HTTP/1.1\r\nHost: a\r\nx-show: 1\r\nx-forwarded-client-cert: URI=claimed\r\nConnection: close\r\n\r\n"
    folder = authority.folder
    seen = call_tls(live.peer, POD4, 8080, sent, trusted=folder / "ca.pem", shown=folder / "caller", alpn=MESH_HTTP)
    assert "app GET" in seen.answer
    lines = [line for line in seen.answer.lower().splitlines() if line.startswith("x-forwarded-client-cert: ")]
    return {part for part in PARTS if part in "".join(lines)}


def _of_sidecars(stated: str) -> dict[str, object]:
    return {"proxyHeaders": {"forwardedClientCert": stated}} if stated else {}


def test_what_a_sidecar_tells(start: Start, authority: Authority) -> None:
    proxy = replace(WEBAPP, certified=True)
    live = start(APP, proxy=proxy, secrets=authority.secrets)
    live.start_app(live.netns, POD4, 8080, "app")
    assert _each(live, proxy, authority, APP, {s: _of_sidecars(s) for s in BY_SIDECARS}) == BY_SIDECARS
    details = {each: {"proxyHeaders": {"forwardedClientCert": "SANITIZE_SET", **_details(each)}} for each in DETAILS}
    assert _each(live, proxy, authority, APP, details) == DETAILS


def _details(stated: str) -> dict[str, object]:
    name, _, value = stated.partition(": ")
    return {"setCurrentClientCertDetails": {name: value == "true"}}


def test_what_a_gateway_tells(start: Start, authority: Authority) -> None:
    proxy = replace(EDGE, certified=True)
    live = start(GATEWAY, proxy=proxy, secrets=authority.secrets)
    live.start_app(live.peer, PEER4, 8080, "app")
    stated = {s: {"gatewayTopology": {"forwardClientCertDetails": s}} if s else {} for s in BY_GATEWAYS}
    assert _each(live, proxy, authority, GATEWAY, stated) == BY_GATEWAYS


def _each(
    live: LiveEnvoy, proxy: Proxy, authority: Authority, objects: str, configs: Mapping[str, Mapping[str, object]]
) -> dict[str, set[str]]:
    found = {}
    for name, config in configs.items():
        live.update(objects + _mesh(config), proxy)
        found[name] = _told(live, authority)
    return found
