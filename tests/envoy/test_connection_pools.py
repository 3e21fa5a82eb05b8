"""Connection pools in the places that are no client's DestinationRule: of a proxy towards its own app, and the mesh's.

Those of DestinationRules are in `test_traffic_policies`.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.envoy.calls import Steps, call, connect, pieces
from tests.envoy.conftest import PEER4, POD4, LiveEnvoy, Start
from tests.envoy.wire import Wire, start_wire
from tests.waiting import wait_until

APP: Final = """
apiVersion: v1
kind: Service
metadata: {{name: webapp, namespace: vm}}
spec: {{selector: {{app: webapp}}, clusterIP: 10.96.9.9, ports: [{{port: 8080, appProtocol: {protocol}}}]}}
---
"""
FAR: Final = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: far, namespace: vm}}
spec:
  hosts: [far.example.com]
  addresses: [10.96.9.8]
  resolution: STATIC
  ports: [{{number: 8080, name: far, protocol: {protocol}}}]
  endpoints: [{{address: 10.245.1.2}}]
---
"""
MESH: Final = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "{config}"}}
---
"""
POLICY: Final = """
apiVersion: networking.istio.io/v1
kind: {kind}
metadata: {{name: webapp, namespace: vm}}
spec: {spec}
---
"""
PLACES: Final = {
    "rule": ("DestinationRule", "{{host: webapp, trafficPolicy: {{connectionPool: {pool}}}}}"),
    "sidecar": ("Sidecar", "{{inboundConnectionPool: {pool}}}"),
    "ingress": (
        "Sidecar",
        "{{ingress: [{{port: {{number: 8080, protocol: {protocol}}}, defaultEndpoint: '0.0.0.0:8080',"
        " connectionPool: {pool}}}]}}",
    ),
}
HOST: Final = "far.example.com"


@dataclass(frozen=True)
class App:
    """A server, and those who call it through the proxy."""

    live: LiveEnvoy
    wire: Wire
    caller: str
    called: str
    cluster: str

    def ask(self, path: str = "/") -> str:
        return self.live.request(self.caller, self.called, 8080, HOST, path)

    def lasts(self, sent: Steps) -> float:
        """Seconds until the other side closes a connection over which this is sent."""
        return call(self.caller, self.called, 8080, sent)[1]

    def connected(self) -> socket.socket:
        return connect(self.caller, self.called, 8080)

    def is_under_way(self) -> bool:
        """A request, at the server."""
        return f"{self.cluster}::{self.wire.address}:8080::rq_active::1" in self.live.get("/clusters")

    def told(self) -> Any:
        return _told(self.ask())

    def connections(self) -> int:
        """From its proxy."""
        command = ["ip", "netns", "exec", self.live.netns, "ss", "-Htn", "state", "established"]
        command += ["dst", f"{self.wire.address}:8080"]
        return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Nothing comes to the app."""
        self._drop("-A")
        try:
            yield
        finally:
            self._drop("-D")

    def _drop(self, does: str) -> None:
        rule = ("INPUT", "-p", "tcp", "--dport", "8080", "-j", "DROP")
        subprocess.run(["ip", "netns", "exec", self.wire.netns, "iptables", "-w", does, *rule], check=True)


def _told(answer: str) -> Any:
    return json.loads(answer[answer.index("{") : answer.rindex("}") + 1])


def _once(app: App) -> None:
    assert _is_renewed(app)


def _is_renewed(app: App) -> bool:
    """Each request comes over a connection of its own."""
    return len({app.told()["port"] for _ in range(3)}) == 3


def _is_closed(app: App) -> None:
    before = app.wire.closed(HOST)
    app.told()
    wait_until("it is closed", lambda: app.wire.closed(HOST) > before)


def _one_at_once(app: App) -> None:
    early, late = app.wire.at_once(HOST, 2, lambda: app.ask("/hold/200"), early=1)
    assert "503" in early
    assert "200 OK" in late


def _one_waits(app: App) -> None:
    early, *others = app.wire.at_once(HOST, 3, lambda: app.ask("/hold/200"), early=1)
    assert "503" in early
    assert ["200 OK" in each for each in others] == [True, True], others


def _one_retry(app: App) -> None:
    before = app.wire.failed(HOST)
    app.wire.at_once(HOST, 6, lambda: app.ask("/hold/503"), early=5, at_first=True)
    assert app.wire.failed(HOST) - before == 7, "six tries, and one retry"


def _soon_given_up(app: App) -> None:
    with app.unreachable():
        assert "reset reason: connection timeout" in app.ask(), "before the mesh's 10 s"


def _dead_is_noticed(app: App) -> None:
    app.told()
    assert app.connections() == 1
    with app.unreachable():
        wait_until("it is closed", lambda: app.connections() == 0)


def _one_stream_a_connection(app: App) -> None:
    with app.connected() as stream:
        stream.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n".encode())
        wait_until("it is under way", app.is_under_way)
        other = app.told()
        stream.sendall(b"x")
        own = _told(b"".join(pieces(stream, stops=True)).decode())
    assert [own["protocol"], other["protocol"]] == ["2", "2"]
    assert own["port"] != other["port"]


def _is_pinged(app: App) -> None:
    wait_until("there is a ping", lambda: app.told().get("pings", 0) > 0)


def _http2(app: App) -> None:
    assert app.told()["protocol"] == "2"


def _protocol_of_client(app: App) -> None:
    assert app.told()["protocol"] == "1"


def _one_connection(app: App) -> None:
    with app.connected() as stream:
        stream.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert stream.recv(4096).startswith(b"HTTP/1.1 200")
        assert "200" not in app.ask()
    wait_until("another is taken", lambda: "200 OK" in app.ask())


def _does_not_idle(app: App) -> None:
    assert 0.2 < app.lasts([(0, "GET / HTTP/1.1\r\n\r\n")]) < 4


def _does_not_last(app: App) -> None:
    assert 0.2 < app.lasts([(0.1, "GET / HTTP/1.1\r\n\r\n")] * 30) < 4


POOLS: Final[dict[str, tuple[str, str, Callable[[App], None]]]] = {
    "http: {maxRequestsPerConnection: 1}": ("HTTP", "", _once),
    "http: {idleTimeout: 0.2s}": ("HTTP", "", _is_closed),
    "tcp: {idleTimeout: 0.2s}": ("HTTP", "", _is_closed),
    "tcp: {maxConnectionDuration: 0.2s}": ("HTTP", "", _is_closed),
    "http: {http2MaxRequests: 1}": ("HTTP", "", _one_at_once),
    "tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}": ("HTTP", "", _one_waits),
    "http: {maxRetries: 1}": ("HTTP", "", _one_retry),
    "tcp: {connectTimeout: 0.1s}": ("HTTP", "", _soon_given_up),
    "tcp: {tcpKeepalive: {probes: 1, time: 1s, interval: 1s}}": ("HTTP", "", _dead_is_noticed),
    "http: {h2UpgradePolicy: UPGRADE}": ("HTTP", "mesh", _http2),
    "http: {maxConcurrentStreams: 1}": ("HTTP2", "", _one_stream_a_connection),
    "http: {http2KeepAlive: {interval: 0.2s, timeout: 60s}}": ("HTTP2", "", _is_pinged),
    "http: {useClientProtocol: true}": ("HTTP2", "", _protocol_of_client),
    "tcp: {maxConnections: 1}": ("TCP", "", _one_connection),
    "tcp: {idleTimeout: 0.3s}": ("TCP", "sidecar ingress mesh", _does_not_idle),
    "tcp: {maxConnectionDuration: 0.3s}": ("TCP", "sidecar ingress mesh", _does_not_last),
}
"""What a port speaks, the places that have it if not all have, and what is seen."""


@pytest.mark.parametrize("place", PLACES)
def test_what_a_pool_does_towards_the_app(start: Start, place: str) -> None:
    kind, spec = PLACES[place]

    def mesh(pool: str, protocol: str) -> str:
        policy = POLICY.format(kind=kind, spec=spec.format(pool=f"{{{pool}}}", protocol=protocol))
        retries = MESH.format(config="defaultInboundHttpRetryPolicy: {attempts: 1, retryOn: 5xx}")
        return APP.format(protocol=protocol.lower()) + policy + retries

    _check(_own(start(mesh("tcp: {maxConnections: 9}", "HTTP"))), place, mesh)


def test_what_the_pool_of_the_mesh_does(start: Start) -> None:
    def mesh(pool: str, protocol: str) -> str:
        retries = "defaultHttpRetryPolicy: {attempts: 1, retryOn: 5xx}"
        config = f"{{{retries}, defaultTrafficPolicy: {{connectionPool: {{{pool}}}}}}}"
        return FAR.format(protocol=protocol) + MESH.format(config=config)

    live = start(mesh("tcp: {maxConnections: 9}", "HTTP"))
    wire = start_wire(live, PEER4, 8080, HOST)
    _check(App(live, wire, live.netns, "10.96.9.8", "outbound|8080||far.example.com"), "mesh", mesh)


def test_what_the_mesh_says_of_connections(start: Start) -> None:
    """Beside its pool."""
    live = start(FAR.format(protocol="HTTP"))
    wire = start_wire(live, PEER4, 8080, HOST)
    app = App(live, wire, live.netns, "10.96.9.8", "outbound|8080||far.example.com")
    for config, check in {
        "connectTimeout: 0.1s": _soon_given_up,
        "tcpKeepalive: {probes: 1, time: 1s, interval: 1s}": _dead_is_noticed,
        "h2UpgradePolicy: UPGRADE": _http2,
    }.items():
        live.update(FAR.format(protocol="HTTP") + MESH.format(config=config))
        check(app)


def _own(live: LiveEnvoy) -> App:
    return App(live, start_wire(live, POD4, 8080, HOST, netns=live.netns), live.peer, POD4, "inbound|8080||")


def _check(app: App, place: str, mesh: Callable[[str, str], str]) -> None:
    for pool, (protocol, places, check) in POOLS.items():
        if not places or place in places.split():
            app.live.update(mesh(pool, protocol))
            check(app)


ONCE: Final = "connectionPool: {http: {maxRequestsPerConnection: 1}}"
OFTEN: Final = "connectionPool: {tcp: {maxConnections: 9}}"
RULE: Final = POLICY.format(kind="DestinationRule", spec=f"{{host: webapp, trafficPolicy: {{{ONCE}}}}}")
SUBSET: Final = f"{{host: webapp, subsets: [{{name: all, trafficPolicy: {{{ONCE}}}}}]}}"
IN_SIDECAR: Final = "inboundC" + OFTEN[1:]
LISTENER: Final = "port: {number: 8080, protocol: HTTP}, defaultEndpoint: '0.0.0.0:8080'"
CONTESTED: Final = {
    "a rule's": (RULE, True),
    "a Sidecar's before a rule's": (RULE + POLICY.format(kind="Sidecar", spec=f"{{{IN_SIDECAR}}}"), False),
    "where the Sidecar has ports": (
        POLICY.format(kind="Sidecar", spec=f"{{inboundC{ONCE[1:]}, ingress: [{{{LISTENER}}}]}}"),
        True,
    ),
    "a port's before its Sidecar's": (
        POLICY.format(kind="Sidecar", spec=f"{{inboundC{ONCE[1:]}, ingress: [{{{LISTENER}, {OFTEN}}}]}}"),
        False,
    ),
    "a rule's for the port": (
        POLICY.format(
            kind="DestinationRule",
            spec=f"{{host: webapp, trafficPolicy: {{portLevelSettings: [{{port: {{number: 8080}}, {ONCE}}}]}}}}",
        ),
        True,
    ),
    "a port's before its rule's": (
        RULE.replace(ONCE, f"{ONCE}, portLevelSettings: [{{port: {{number: 8080}}, {OFTEN}}}]"),
        False,
    ),
    "a subset is its clients'": (POLICY.format(kind="DestinationRule", spec=SUBSET), False),
    "so is what the mesh says": (MESH.format(config=f"defaultTrafficPolicy: {{{ONCE}}}"), False),
}


def test_which_pool_holds_towards_the_app(start: Start) -> None:
    live = start(APP.format(protocol="http"))
    app = _own(live)
    found = {}
    for whose, (documents, _) in CONTESTED.items():
        live.update(APP.format(protocol="http") + documents)
        found[whose] = _is_renewed(app)
    assert found == {whose: expected for whose, (_, expected) in CONTESTED.items()}


def test_an_app_need_not_know_http2(start: Start) -> None:
    live = start(APP.format(protocol="http") + RULE.replace("maxRequestsPerConnection: 1", "h2UpgradePolicy: UPGRADE"))
    app = _own(live)
    assert app.told()["protocol"] == "1"
