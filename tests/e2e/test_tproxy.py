"""TPROXY through a real Envoy: the app sees its client's address, in both families, and the rest works as ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.model.addresses import host_port
from tests.e2e.apps import PEERS, TALK
from tests.e2e.harness import MakeMesh, Mesh, run

MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ports:
  - {name: http, port: 80, targetPort: 8000}
  - {name: tcp-echo, port: 7000}
---
apiVersion: v1
kind: Pod
metadata:
  name: server
  labels: {app: server}
  annotations: {sidecar.istio.io/interceptionMode: TPROXY}
spec:
  containers:
  - name: web
    command: [python3, app.py, "::"]
    readinessProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  containers: [{name: sleep, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: other, labels: {app: other}, annotations: {sidecar.istio.io/interceptionMode: TPROXY}}
spec:
  containers: [{name: sleep, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: bare}, annotations: {sidecar.istio.io/inject: "false"}}
spec:
  containers: [{name: sleep, command: [sleep, infinity]}]
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-tproxy", {"mesh.yaml": MANIFESTS, "app.py": PEERS}) as mesh:
        yield mesh


@pytest.mark.parametrize("client", ["client", "other", "bare"])
@pytest.mark.parametrize("family", [4, 6])
def test_the_app_sees_its_clients_address(mesh: Mesh, client: str, family: int) -> None:
    """Whoever the client is: captured by REDIRECT, by TPROXY, or not at all. By address, HTTP and TCP."""
    server, source = mesh.address("server", family), mesh.address(client, family)
    assert mesh.curl(client, f"http://{host_port(server, 8000)}/").stdout == source
    assert mesh.exec(client, "python3", "-c", TALK, server).stdout.split() == ["hello", source, "ping"]


def test_by_the_name_of_the_service(mesh: Mesh) -> None:
    for client in ("client", "other"):
        assert mesh.curl(client, "http://server/").stdout == mesh.address(client)
        assert mesh.exec(client, "python3", "-c", TALK, "server").stdout.split()[:2] == ["hello", mesh.address(client)]


def test_the_proxy_of_the_server_was_on_the_way(mesh: Mesh) -> None:
    headers = mesh.curl("bare", f"http://{mesh.address('server')}:8000/", "-o", "/dev/null", "-D", "-").stdout
    assert "server: istio-envoy" in headers.lower()
    assert "x-envoy-decorator-operation" in headers.lower() or "x-envoy-upstream-service-time" in headers.lower()


def test_two_clients_never_share_a_connection(mesh: Mesh) -> None:
    """A pooled connection has one source: it must not carry another client's request."""
    expected = {client: mesh.address(client) for client in ("client", "other", "bare")}
    for _ in range(3):
        for client, source in expected.items():
            assert mesh.curl(client, f"http://{mesh.address('server')}:8000/").stdout == source


def test_a_call_to_the_own_service_and_to_loopback(mesh: Mesh) -> None:
    assert mesh.status_code("server", "http://server.default/") == "200"
    assert mesh.curl("server", "http://127.0.0.1:8000/").stdout == "127.0.0.1"
    assert mesh.status_code("server", f"http://{mesh.address('server')}:8000/") == "200"


def test_envoy_has_one_capability_and_no_more(mesh: Mesh) -> None:
    (proxy,) = (p for p in mesh.status["proxies"] if p["pod"].startswith("server"))
    lines = Path(f"/proc/{proxy['pid']}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert fields["Uid"].split()[0] == "1338"
    assert fields["Gid"].split()[0] == "1337"
    assert int(fields["CapEff"], 16) == 1 << 12, "CAP_NET_ADMIN"


def test_marked_packets_are_routed_in_the_pod(mesh: Mesh) -> None:
    netns = mesh.pods("server")[0]["netns"].rpartition("/")[2]
    for family in ("-4", "-6"):
        rules = json.loads(run("ip", "-n", netns, "-j", family, "rule").stdout)
        assert any(rule.get("fwmark") == "0x539" and rule.get("table") == "133" for rule in rules)
