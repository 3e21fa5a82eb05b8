"""Traffic policies as clients and servers see them: which endpoint, over which connection, in which protocol.

Each is written at every level of a DestinationRule that has it (`levels`).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.envoy.calls import Steps, call, connect, pieces
from tests.envoy.conftest import LiveEnvoy, Start
from tests.envoy.levels import LEVELS, NOT_OF_PORTS, PORT, SUBSET_PORT, service, subset_of
from tests.envoy.wire import Wire, start_wire
from tests.waiting import wait_until

ENDPOINTS = {"10.245.1.2": "a", "10.245.1.3": "b", "10.245.1.4": "c", "10.245.1.5": "bad"}
ONE, GOOD = "10.245.1.2", "10.245.1.2 10.245.1.3 10.245.1.4"


@dataclass(frozen=True)
class Wanted:
    policy: str
    endpoints: str = ONE
    protocol: str = "HTTP"
    retried: bool = False

    def has(self, level: str) -> bool:
        return level not in (PORT, SUBSET_PORT) or not self.policy.startswith(NOT_OF_PORTS)


def _hash(by: str) -> str:
    return f"loadBalancer: {{consistentHash: {{{by}}}}}"


def _tcp(pool: str) -> str:
    return f"connectionPool: {{tcp: {{{pool}}}}}"


def _http(pool: str) -> str:
    return f"connectionPool: {{http: {{{pool}}}}}"


EJECTED = "interval: 0.1s, baseEjectionTime: 60s, maxEjectionPercent: 100"
SERVICES = {
    "plain": Wanted("loadBalancer: {simple: RANDOM}"),
    "passed": Wanted("loadBalancer: {simple: PASSTHROUGH}", "10.245.1.99"),
    "header": Wanted(_hash("httpHeaderName: X-User"), GOOD),
    "ring": Wanted(_hash("httpHeaderName: x-user, ringHash: {minimumRingSize: 2048}"), GOOD),
    "maglev": Wanted(_hash("httpHeaderName: x-user, maglev: {tableSize: 101}"), GOOD),
    "query": Wanted(_hash("httpQueryParameterName: u, minimumRingSize: 64"), GOOD),
    "cookie": Wanted(
        _hash("httpCookie: {name: who, path: /p, ttl: 60s, attributes: [{name: SameSite, value: Strict}]}"), GOOD
    ),
    "source": Wanted(_hash("useSourceIp: true"), GOOD),
    "tcpsource": Wanted(_hash("useSourceIp: true"), GOOD, "TCP"),
    "once": Wanted(_http("maxRequestsPerConnection: 1")),
    "idle": Wanted(_http("idleTimeout: 0.2s")),
    "tcpidles": Wanted(_tcp("idleTimeout: 0.2s")),
    "old": Wanted(_tcp("maxConnectionDuration: 0.2s")),
    "few": Wanted(_http("http2MaxRequests: 1")),
    "queue": Wanted("connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}"),
    "kept": Wanted(_tcp("tcpKeepalive: {probes: 1, time: 1s, interval: 1s}"), "10.245.1.6"),
    "absent": Wanted(_tcp("connectTimeout: 0.1s"), "10.245.1.99"),
    "upgraded": Wanted(_http("h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 1")),
    "streams": Wanted(_http("h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 0.2s, timeout: 60s}")),
    "deaf": Wanted(_http("h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 0.2s, timeout: 0.1s}"), "10.245.1.7"),
    "client": Wanted(_http("useClientProtocol: true"), protocol="HTTP2"),
    "retries": Wanted(_http("maxRetries: 1"), retried=True),
    "budget": Wanted("retryBudget: {percent: 0, minRetryConcurrency: 1}", retried=True),
    "ejecting": Wanted(
        f"outlierDetection: {{consecutiveGatewayErrors: 2, consecutive5xxErrors: 0, {EJECTED}}}",
        "10.245.1.2 10.245.1.5",
    ),
    "unreached": Wanted(
        "outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2,"
        f" consecutive5xxErrors: 0, {EJECTED}}}",
        "10.245.1.2 10.245.1.8",
    ),
    "back": Wanted(
        "outlierDetection: {consecutive5xxErrors: 1, interval: 0.1s, baseEjectionTime: 0.3s, maxEjectionPercent: 100}",
        "10.245.1.2 10.245.1.5",
    ),
    "capped": Wanted(
        "outlierDetection: {consecutive5xxErrors: 1, interval: 0.1s, baseEjectionTime: 60s, maxEjectionPercent: 34}",
        "10.245.1.2 10.245.1.5 10.245.1.8",
    ),
    "panic": Wanted(
        f"outlierDetection: {{consecutive5xxErrors: 1, minHealthPercent: 60, {EJECTED}}}", "10.245.1.2 10.245.1.5"
    ),
    "codes": Wanted(
        f"outlierDetection: {{consecutive5xxErrors: 1, outlierDetectionHttpErrorCodes: [418], {EJECTED}}}",
        "10.245.1.2 10.245.1.3",
    ),
    "connect": Wanted("tunnel: {targetHost: far.example.com, targetPort: 443}", protocol="TCP"),
    "post": Wanted("tunnel: {protocol: POST, targetHost: far.example.com, targetPort: 443}", protocol="TCP"),
    "proxied": Wanted("proxyProtocol: {}", protocol="TCP"),
    "proxied2": Wanted("proxyProtocol: {version: V2}", protocol="TCP"),
    "tcpidle": Wanted(_tcp("idleTimeout: 0.6s"), protocol="TCP"),
    "tcpold": Wanted(_tcp("maxConnectionDuration: 0.3s"), protocol="TCP"),
}


@dataclass(frozen=True)
class Mesh:
    """A client beside a real Envoy, and what it is answered by services whose policies stand at one level."""

    level: str
    live: LiveEnvoy
    wire: Wire
    """The server of most."""

    def text(self, name: str, path: str = "/", *headers: str) -> str:
        lines = (f"GET {path} HTTP/1.1", f"Host: {self.host(name)}", "Connection: close", *headers, "", "")
        return self.live.call(self.live.netns, self.address(name), 80, "\r\n".join(lines))

    def told(self, name: str, path: str = "/", *headers: str) -> Any:
        return _told(self.text(name, path, *headers))

    def lasts(self, name: str, sent: Steps) -> float:
        """Seconds until the other side closes a connection over which this is sent."""
        return call(self.live.netns, self.address(name), 80, sent)[1]

    def host(self, name: str) -> str:
        return _host(self.level, name)

    def address(self, name: str) -> str:
        return _address(self.level, name)


def _host(level: str, name: str) -> str:
    return f"{name}-{level}.example.com"


def _address(level: str, name: str) -> str:
    return f"10.96.{1 + LEVELS.index(level)}.{1 + list(SERVICES).index(name)}"


def _documents(level: str) -> Iterator[str]:
    for name, wanted in SERVICES.items():
        if wanted.has(level):
            yield service(
                level,
                f"{name}-{level}",
                _address(level, name),
                wanted.policy,
                [f"address: {address}" for address in wanted.endpoints.split()],
                protocol=wanted.protocol,
                retries="attempts: 1, retryOn: 5xx" if wanted.retried else "attempts: 0",
            )


def _told(answer: str) -> Any:
    """What the server says in JSON, in a chunk or not."""
    return json.loads(answer[answer.index("{") : answer.rindex("}") + 1])


@pytest.fixture
def meshes(start: Start) -> list[Mesh]:
    """One Envoy for all: it takes longer to start than to ask."""
    live = start("".join(each for level in LEVELS for each in _documents(level)), problems={"TunnelByPost"})
    addresses = [f"10.245.1.{last}/24" for last in range(3, 9)] + [f"{_address(each, 'passed')}/32" for each in LEVELS]
    for address in addresses:
        subprocess.run(["ip", "-n", live.peer, "addr", "add", address, "dev", "eth0"], check=True)
    wire, *_ = [start_wire(live, address, 8080, name) for address, name in ENDPOINTS.items()]
    start_wire(live, "0.0.0.0", 80, "passed")
    start_wire(live, "10.245.1.7", 8080, "deaf")
    return [Mesh(level, live, wire) for level in LEVELS]


def test_what_policies_do_at_every_level(meshes: list[Mesh]) -> None:
    with ThreadPoolExecutor(len(meshes)) as pool:
        for _ in pool.map(_check, meshes):
            pass
    _check_dead_servers(meshes)


def _check(mesh: Mesh) -> None:
    _check_balancing(mesh)
    _check_connections(mesh)
    _check_limits(mesh)
    _check_protocols(mesh)
    _check_outliers(mesh)
    _check_tcp(mesh)


def _check_balancing(mesh: Mesh) -> None:
    for name in ("header", "ring", "maglev"):
        chosen = {user: {mesh.told(name, "/", f"x-user: {user}")["name"] for _ in range(2)} for user in range(6)}
        assert all(len(names) == 1 for names in chosen.values()), name
        assert len(set().union(*chosen.values())) > 1, name
    queried = {user: {mesh.told("query", f"/?u={user}")["name"] for _ in range(2)} for user in range(6)}
    assert all(len(names) == 1 for names in queried.values())
    assert len(set().union(*queried.values())) > 1
    given = mesh.text("cookie")
    cookie = next(line for line in given.splitlines() if line.startswith("set-cookie: ")).removeprefix("set-cookie: ")
    assert cookie.startswith("who=")
    assert [part for part in ("Max-Age=60", "Path=/p", "SameSite=Strict") if part not in cookie] == []
    mine = f"cookie: {cookie.partition(';')[0]}"
    assert {mesh.told("cookie", "/", mine)["name"] for _ in range(4)} == {_told(given)["name"]}
    for name in ("source", "tcpsource"):
        assert len({mesh.told(name)["name"] for _ in range(5)}) == 1, name
    assert mesh.told("passed")["name"] == "passed", "the address that was called, not the endpoint's"


def _check_connections(mesh: Mesh) -> None:
    kept = mesh.told("plain")["port"]
    assert len({mesh.told("once")["port"] for _ in range(3)}) == 3
    for name in ("idle", "tcpidles", "old"):
        mesh.told(name)
        wait_until(f"{name} is closed", lambda name=name: mesh.wire.closed(mesh.host(name)) == 1)  # type: ignore[misc]
    assert mesh.told("plain")["port"] == kept


def _check_limits(mesh: Mesh) -> None:
    wire = mesh.wire
    early, late = wire.at_once(mesh.host("few"), 2, lambda: mesh.text("few", "/hold/200"), early=1)
    assert "503" in early
    assert "x-envoy-overloaded" in early
    assert "200 OK" in late
    early, *others = wire.at_once(mesh.host("queue"), 3, lambda: mesh.text("queue", "/hold/200"), early=1)
    assert "503" in early
    assert ["200 OK" in each for each in others] == [True, True], others
    assert "reset reason: connection timeout" in mesh.text("absent"), "before the kernel gives up"
    for name in ("retries", "budget"):
        if SERVICES[name].has(mesh.level):
            host = mesh.host(name)
            wire.at_once(host, 6, lambda name=name: mesh.text(name, "/hold/503"), early=5, at_first=True)  # type: ignore[misc]
            assert wire.failed(host) == 7, f"{name}: six tries, and one retry"


def _check_protocols(mesh: Mesh) -> None:
    assert mesh.told("plain")["protocol"] == "1"
    one, other = _two_streams(mesh, "upgraded")
    assert [one["protocol"], other["protocol"]] == ["2", "2"]
    assert one["port"] != other["port"], "one stream a connection"
    one, other = _two_streams(mesh, "streams")
    assert one["port"] == other["port"]
    wait_until("there is a ping", lambda: mesh.told("streams").get("pings", 0) > 0)
    assert mesh.told("streams")["port"] == one["port"]
    port = mesh.told("deaf")["port"]
    wait_until("who answers no ping is left", lambda: not _connections(mesh.live, f"sport = :{port}"), within=30)
    assert mesh.told("client")["protocol"] == "1"


def _two_streams(mesh: Mesh, name: str) -> tuple[Any, Any]:
    """The answers to a request, and to another that was made while the first was under way."""
    with connect(mesh.live.netns, mesh.address(name), 80) as stream:
        head = f"POST / HTTP/1.1\r\nHost: {mesh.host(name)}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n"
        stream.sendall(head.encode())
        cluster = f"outbound|80|{subset_of(mesh.level)}|{mesh.host(name)}"
        wait_until("it is under way", lambda: f"{cluster}::10.245.1.2:8080::rq_active::1" in mesh.live.get("/clusters"))
        other = mesh.told(name)
        stream.sendall(b"x")
        return _told(b"".join(pieces(stream, stops=True)).decode()), other


def _check_outliers(mesh: Mesh) -> None:
    def after_a_request(name: str, path: str = "/") -> set[str]:
        mesh.text(name, path)
        return _ejected(mesh, name)

    for name, address in (("ejecting", "10.245.1.5"), ("unreached", "10.245.1.8")):
        wait_until(f"{name} ejects", lambda name=name: after_a_request(name))  # type: ignore[misc]
        assert _ejected(mesh, name) == {address}
        assert {mesh.told(name)["name"] for _ in range(4)} == {"a"}, name
    wait_until("it is ejected", lambda: after_a_request("back"))
    wait_until("it is back", lambda: not _ejected(mesh, "back"))
    wait_until("one is ejected", lambda: after_a_request("capped"))
    assert max(len(after_a_request("capped")) for _ in range(10)) == 1, "two of three are more than 34 %"
    wait_until("it is ejected", lambda: after_a_request("panic"))
    wait_until("it is asked", lambda: mesh.told("panic")["name"] == "bad")
    assert not set().union(*(after_a_request("codes", "/status/503") for _ in range(4)))
    wait_until("one is ejected", lambda: after_a_request("codes", "/status/418"))


def _ejected(mesh: Mesh, name: str) -> set[str]:
    """The endpoints' addresses."""
    clusters = json.loads(mesh.live.get("/clusters?format=json"))["cluster_statuses"]
    cluster = f"outbound|80|{subset_of(mesh.level)}|{mesh.host(name)}"
    hosts = next(c for c in clusters if c["name"] == cluster)["host_statuses"]
    out = (host for host in hosts if host["health_status"].get("failed_outlier_check"))
    return {host["address"]["socket_address"]["address"] for host in out}


def _check_tcp(mesh: Mesh) -> None:
    for name, seen in (
        ("connect", "tunnel by CONNECT to far.example.com:443"),
        ("post", "tunnel by POST to far.example.com:443"),
        ("proxied", "saw PROXY TCP4 10.245.1.1 10.96."),
        ("proxied2", "saw version 2 of 10.245.1.1"),
    ):
        if SERVICES[name].has(mesh.level):
            assert seen in mesh.text(name), name
    asked = "GET / HTTP/1.1\r\n\r\n"
    assert 0.5 < mesh.lasts("tcpidle", [(0, asked)]) < 4
    assert 0.2 < mesh.lasts("tcpold", [(0.1, asked)] * 30) < 4
    assert mesh.lasts("tcpidle", [(0.1, asked)] * 8) > 0.8


def _check_dead_servers(meshes: list[Mesh]) -> None:
    """The kernel notices of connections that idle; its own patience is of two hours."""
    live = meshes[0].live

    start_wire(live, "10.245.1.6", 8080, "kept")
    for mesh in meshes:
        mesh.told("kept")
    assert _connections(live, "dst 10.245.1.6") == len(meshes)
    subprocess.run(["ip", "-n", live.peer, "addr", "del", "10.245.1.6/24", "dev", "eth0"], check=True)
    wait_until("they are closed", lambda: not _connections(live, "dst 10.245.1.6"))


def _connections(live: LiveEnvoy, wanted: str) -> int:
    """Of those in the pod, by a filter of `ss`."""
    command = ["ip", "netns", "exec", live.netns, "ss", "-Htn", "state", "established", *wanted.split()]
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
