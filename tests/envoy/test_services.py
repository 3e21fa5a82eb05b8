"""Services as a client sees them: what their ports declare, which of their pods answer, and by which names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.envoy.conftest import PEER4, POD4, LiveEnvoy, Start
from tests.envoy.wire import start_wire

SHOP = """
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: vm}}
spec:
  clusterIP: {address}
  selector: {{app: shop}}
  publishNotReadyAddresses: {not_ready}
  ports: [{{name: {name}, port: 8080, appProtocol: "{declared}"}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: shop-0, namespace: vm, labels: {{app: shop}}}}
spec: {{hostname: shop-0, subdomain: shop, containers: [{{name: app, command: [x]}}]}}
status: {{podIP: {pod}, phase: Running, conditions: [{{type: Ready, status: "{ready}"}}]}}
"""


def shop(
    address: str = "10.96.0.7", name: str = "any", declared: str = "", ready: bool = True, not_ready: bool = False
) -> str:
    said = {"address": address, "name": name, "declared": declared, "ready": ready, "not_ready": str(not_ready).lower()}
    return SHOP.format(pod=PEER4, **said)


def asked(live: LiveEnvoy, *headers: str, host: str = "shop", address: str = "10.96.0.7") -> str:
    lines = ("GET / HTTP/1.1", f"Host: {host}", *(headers or ("Connection: close",)), "", "")
    return live.call(live.netns, address, 8080, "\r\n".join(lines))


@pytest.mark.parametrize(
    ("declared", "version"),
    [
        ("kubernetes.io/h2c", "2"),
        ("http2", "2"),
        ("grpc", "2"),
        ("grpc-web", "1"),
        ("kubernetes.io/ws", "1"),
        ("http", "1"),
        ("example.com/own", "1"),
    ],
)
def test_the_version_of_http_in_which_the_server_is_asked(start: Start, declared: str, version: str) -> None:
    live = start(shop(declared=declared))
    start_wire(live, PEER4, 8080, "shop")
    answer = asked(live)
    assert f'"protocol": "{version}"' in answer


@pytest.mark.parametrize(
    "declared", ["tcp", "mongo", "mysql", "redis", "tls", "https", "kubernetes.io/wss", "example.com/own"]
)
def test_what_is_no_http_is_passed_on_as_it_comes(start: Start, declared: str) -> None:
    """Bytes that no HTTP parser would take."""
    live = start(shop(declared=declared))
    start_echo(live, live.peer, PEER4)
    assert live.call(live.netns, "10.96.0.7", 8080, "\x01 no request\n") == "heard \x01 no request\n"


SHARED = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: vm, creationTimestamp: "{created}"}}
spec: {{clusterIP: {address}, selector: {{app: webapp}}, ports: [{{name: {name}, port: 8080}}]}}
---
"""


@pytest.mark.parametrize(("first", "expected"), [("tcp", "heard \x01 no request\n"), ("http", "400 Bad Request")])
def test_the_oldest_service_says_what_a_port_of_its_pods_speaks(start: Start, first: str, expected: str) -> None:
    ages = {"tcp": "2026-01-02T00:00:00Z", "http": "2026-01-02T00:00:00Z", first: "2026-01-01T00:00:00Z"}
    made = (SHARED.format(name=n, created=ages[n], address=f"10.96.0.{i}") for i, n in enumerate(("http", "tcp"), 1))
    live = start("".join(made))
    start_echo(live, live.netns, POD4)
    assert expected in live.call(live.peer, POD4, 8080, "\x01 no request\n")


def start_echo(live: LiveEnvoy, netns: str, address: str) -> None:
    command = ["ip", "netns", "exec", netns, sys.executable, "-ISc", _ECHO, address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


_ECHO = """
import socket, sys
with socket.create_server((sys.argv[1], 8080)) as server:
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"heard " + connection.recv(4096))
"""


OTHER_NAMES = """
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: vm}
spec: {type: ExternalName, externalName: shop.vm.svc.cluster.local}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: vm}
spec: {hosts: [shop], http: [{headers: {response: {add: {x-routed: shop}}}, route: [{destination: {host: shop}}]}]}
"""


def test_what_is_sent_to_another_name_is_routed_as_the_hosts_own(start: Start) -> None:
    """The pod's DNS has led the client to the host's address."""
    live = start(shop(name="http") + OTHER_NAMES)
    live.start_app(live.peer, PEER4, 8080, "shop")
    for host in ("alias", "alias.vm", "alias.vm.svc.cluster.local:8080", "SHOP.vm.svc.cluster.local."):
        answer = asked(live, host=host)
        assert "shop GET /" in answer
        assert "x-routed: shop" in answer


@pytest.mark.parametrize(("not_ready", "expected"), [(True, "shop GET /"), (False, "503 Service Unavailable")])
def test_a_pod_that_is_not_ready_answers_where_the_service_asks_for_it(
    start: Start, not_ready: bool, expected: str
) -> None:
    live = start(shop(name="http", ready=False, not_ready=not_ready))
    live.start_app(live.peer, PEER4, 8080, "shop")
    assert expected in asked(live)


@pytest.mark.parametrize("name", ["http", "any", "tcp"])
def test_a_pod_of_a_headless_service_is_called_by_its_own_name(start: Start, name: str) -> None:
    """As a StatefulSet's pods call one another. The pod's DNS has led the client to its address."""
    live = start(shop("None", name))
    live.start_app(live.peer, PEER4, 8080, "shop")
    for host in ("shop-0.shop", "shop-0.shop.vm", "shop-0.shop.vm.svc.cluster.local", "shop"):
        assert "shop GET /" in asked(live, host=host, address=PEER4)
