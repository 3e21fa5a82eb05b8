"""Istio's own requests, each sent to a real Envoy: who is let in, with which status, and what the server is told."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pilotfish.config import load
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.mesh import inputs
from pilotfish.mesh.security.keys import apply_keys, wanted_keys
from pilotfish.model import Proxy
from pilotfish.model.authentication import Keys
from pilotfish.model.proxy import ProxyType
from tests.certificates import issue
from tests.envoy.authority import Authority
from tests.envoy.conftest import PEER4, POD4, LiveEnvoy, Start
from tests.envoy.ext_authz import start_ext_authz
from tests.envoy.tls_calls import call_tls

DATA: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "security"
JWKS_URI: Final = "http://keys.example.com/jwks"
PORTS: Final = {"http": 18080, "http2": 18085, "grpc": 17070, "tcp": 19090}
ADDRESSES: Final = {"ns-a/a": "10.245.1.21", "ns-b/a": "10.245.1.22", "ns-b/b": "10.245.1.23", "gateway": PEER4}
"""Of those who call."""
GATEWAY: Final = {"app": "istio-ingressgateway", "istio": "ingressgateway"}
GATEWAY_PORT: Final = 8080
BEHIND: Final = ("not-host",)
"""Scenarios whose policies are at the workload behind the gateway: it is sent what a gateway sends on."""


def _read() -> tuple[Mapping[str, Any], tuple[Mapping[str, Any], ...]]:
    """The scenarios by name, and the rows."""
    if not DATA.exists():
        return {}, ()
    table = yaml.safe_load((DATA / "live" / "requests.yaml").read_text())
    return {each["name"]: each for each in table["scenarios"]}, tuple(table["rows"])


SCENARIOS, ROWS = _read()


@dataclass(frozen=True)
class Stage:
    """What a row needs."""

    scenario: str
    at_gateway: bool
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Stage:
        labels = row.get("workload_labels", {}).get("ns-a/b", {})
        at_gateway = row["request"]["from"] == "gateway" and row["scenario"] not in BEHIND
        return cls(row["scenario"], at_gateway, tuple(labels.items()))

    def __str__(self) -> str:
        return "-".join((self.scenario, *(["gateway"] if self.at_gateway else []), *(k for k, _ in self.labels)))


STAGES: Final = {stage: [row for row in ROWS if Stage.of(row) == stage] for stage in map(Stage.of, ROWS)}


def _filled(text: str) -> str:
    """With tokens, addresses and the place of the keys."""

    def fill(found: re.Match[str]) -> str:
        kind, _, name = found[1].partition(":")
        if kind == "IP":
            return POD4 if name == "ns-a/b" else ADDRESSES[name]
        token = (DATA / "tokens" / f"{name}.jwt").read_text().strip() if name else JWKS_URI
        return f"Bearer {token}" if kind == "BEARER" else token

    return re.sub(r"@((?:IP|TOKEN|BEARER|JWKS_URI)[^@]*)@", fill, text)


def _object(kind: str, name: str, namespace: str, labels: Mapping[str, str] = {}, **rest: object) -> str:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    return json.dumps({"apiVersion": "v1", "kind": kind, "metadata": metadata, **rest}) + "\n---\n"


def _pod(name: str, namespace: str, address: str, labels: Mapping[str, str]) -> str:
    spec = {"containers": [{"name": "app", "command": ["x"]}]}
    return _object("Pod", name, namespace, labels, spec=spec, status={"podIP": address})


def _service(name: str, namespace: str, labels: Mapping[str, str], ports: Mapping[str, tuple[int, int]]) -> str:
    listed = [{"name": each, "port": port, "targetPort": target} for each, (port, target) in ports.items()]
    return _object("Service", name, namespace, spec={"selector": dict(labels), "ports": listed})


def make_mesh(stage: Stage) -> tuple[Graph, Proxy]:
    service_ports = {"http": (80, 18080), "http-85": (85, 18085), "grpc": (7070, 17070), "tcp": (9090, 19090)}
    text = _service("b", "ns-a", {"app": "b"}, service_ports)
    text += _pod("b-0", "ns-a", PEER4 if stage.at_gateway else POD4, {"app": "b", **dict(stage.labels)})
    text += _service("istio-ingressgateway", "istio-system", GATEWAY, {"http2": (80, GATEWAY_PORT)})
    text += _service("ext-authz", "servers", {"app": "ext-authz"}, {"http": (8000, 8000), "grpc": (9000, 9000)})
    text += _pod("ext-authz-0", "servers", PEER4, {"app": "ext-authz"})
    scenario = SCENARIOS[stage.scenario]
    text += "\n---\n".join(_filled((DATA / "live" / path).read_text()) for path in scenario["policies"])
    graph, loaded = Graph(), load(text, "in.yaml")
    assert not [problem for problem in loaded.problems if problem.severity == "error"], loaded.problems
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    fixtures = yaml.safe_load((DATA / "live" / "fixtures.yaml").read_text())["ext_authz"]["mesh_config"]
    config, _ = load_mesh_config(yaml.safe_dump({**fixtures, **scenario.get("mesh_config", {})}), "mesh.yaml")
    assert config is not None
    inputs.apply_mesh_config(graph, config)
    keys = (DATA / "tokens" / "test-jwks.json").read_text()
    for source in graph.get(wanted_keys):
        apply_keys(graph, source, Keys(keys) if source.url == JWKS_URI else Keys(fault="404"))
    if stage.at_gateway:
        return graph, Proxy.of_pod("edge-0", "istio-system", (POD4,), labels=GATEWAY, type=ProxyType.ROUTER)
    return graph, replace(Proxy.of_pod("b-0", "ns-a", (POD4,), labels={"app": "b"}), certified=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    for caller in (each for each in ADDRESSES if "/" in each):
        namespace, _, account = caller.partition("/")
        uri = f"spiffe://cluster.local/ns/{namespace}/sa/{account}"
        made.write(caller.replace("/", "-"), issue(account, made.root, uri))
    return made


@dataclass(frozen=True)
class Caller:
    live: LiveEnvoy
    authority: Authority

    def _send(self, request: Mapping[str, Any], sent: str, *, port: int, is_tcp: bool) -> str:
        source = request["from"]
        if source == "gateway" or request.get("tls") == "plaintext":
            return self.live.call(self.live.peer, POD4, port, sent)
        return call_tls(
            self.live.peer,
            POD4,
            port,
            sent,
            server_name="outbound_.80_._.b.ns-a.svc.cluster.local",
            trusted=self.authority.folder / "ca.pem",
            shown=self.authority.folder / source.replace("/", "-"),
            alpn=("istio",) if is_tcp else ("istio-http/1.1",),
            source=ADDRESSES[source],
        ).answer

    def find_fault(self, row: Mapping[str, Any]) -> str:
        request, expected = row["request"], row["expect"]
        is_tcp = request["scheme"] == "tcp"
        port = GATEWAY_PORT if Stage.of(row).at_gateway else PORTS[request.get("port", "http")]
        answer = self._send(request, text_of(request), port=port, is_tcp=is_tcp)
        head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
        if is_tcp:
            return "" if expected["allowed"] == head.startswith("HTTP/1.1 200") else answer
        if "grpc_status" in expected:
            return "" if f"\ngrpc-status: {expected['grpc_status']}" in head else answer
        if not head.startswith(f"HTTP/1.1 {expected['status']} "):
            return answer
        told = {**_compare(body, expected.get("upstream_headers", {}))}
        told |= _compare(head, expected.get("response_headers", {}))
        return json.dumps(told) + answer if told else ""


def text_of(request: Mapping[str, Any]) -> str:
    """The request in HTTP/1.1, as it is written and nothing else."""
    headers = {"Host": request.get("host", "b.ns-a.svc.cluster.local"), "Connection": "close", "x-show": "1"}
    headers |= {name: _filled(value) for name, value in request.get("headers", {}).items()}
    if request.get("token", "none") != "none":
        headers["Authorization"] = _filled(f"@BEARER:{request['token']}@")
    if "source_ip" in request:
        headers["X-Forwarded-For"] = request["source_ip"]
    if request.get("scheme") == "grpc":
        headers["Content-Type"] = "application/grpc"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.get('method', 'GET')} {_filled(request.get('path', '/'))} HTTP/1.1\r\n{lines}\r\n"


@pytest.mark.skipif(not ROWS, reason="Istio's requests are not here")
@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_requests_are_answered_as_by_istio(stage: Stage, start: Start, authority: Authority) -> None:
    graph, proxy = make_mesh(stage)
    live = start.serving(resource_set(graph, proxy), proxy, secrets=authority.secrets)
    for address in ADDRESSES.values():
        subprocess.run(["ip", "-n", live.peer, "addr", "add", f"{address}/24", "dev", "eth0"], capture_output=True)
    for port in PORTS.values():
        live.start_app(*((live.peer, PEER4) if stage.at_gateway else (live.netns, POD4)), port, "app")
    if "custom" in stage.scenario:
        start_ext_authz(live, PEER4)
    caller = Caller(live, authority)
    # Who is refused waits for a second, until Envoy closes.
    with ThreadPoolExecutor(8) as pool:
        faults = dict(zip((r["id"] for r in STAGES[stage]), pool.map(caller.find_fault, STAGES[stage]), strict=True))
    assert {row: fault for row, fault in faults.items() if fault} == {}


def _compare(text: str, expected: Mapping[str, Any]) -> Mapping[str, object]:
    """The headers that are not as they should be."""
    lines = (line.partition(": ") for line in text.splitlines())
    found = {name.lower(): value for name, _, value in lines}
    return {name: found.get(name) for name, wanted in expected.items() if not _fits(found.get(name), wanted)}


def _fits(value: str | None, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        said = value or ""
        return all(part in said for part in wanted["contains"]) and not any(p in said for p in wanted["not_contains"])
    return value == (_filled(wanted) if isinstance(wanted, str) else wanted)
