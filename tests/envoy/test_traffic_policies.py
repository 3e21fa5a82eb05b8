"""Traffic policies as clients and servers see them: which endpoint, over which connection, in which protocol."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.envoy.calls import Steps, call, call_all
from tests.envoy.conftest import LiveEnvoy, Start
from tests.envoy.wire import start_wire

ENDPOINTS = {"10.245.1.2": "a", "10.245.1.3": "b", "10.245.1.4": "c", "10.245.1.5": "bad"}
GOOD = "10.245.1.2 10.245.1.3 10.245.1.4"

SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}.example.com]
  addresses: [10.96.1.{index}]
  resolution: STATIC
  ports: [{{number: 80, name: port, protocol: {protocol}, targetPort: 8080}}]
  endpoints: [{endpoints}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec: {{host: {name}.example.com, trafficPolicy: {policy}}}
---
"""
RETRIED = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}.example.com]
  http: [{{retries: {{attempts: 1, retryOn: 5xx}}, route: [{{destination: {{host: {name}.example.com}}}}]}}]
---
"""


@dataclass(frozen=True)
class Wanted:
    policy: str
    endpoints: str = "10.245.1.2"
    protocol: str = "HTTP"
    retried: bool = False


SERVICES = {
    "plain": Wanted("{loadBalancer: {simple: RANDOM}}"),
    "header": Wanted("{loadBalancer: {consistentHash: {httpHeaderName: X-User}}}", GOOD),
    "maglev": Wanted("{loadBalancer: {consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 101}}}}", GOOD),
    "query": Wanted("{loadBalancer: {consistentHash: {httpQueryParameterName: u, minimumRingSize: 64}}}", GOOD),
    "cookie": Wanted("{loadBalancer: {consistentHash: {httpCookie: {name: who, path: /p, ttl: 60s}}}}", GOOD),
    "source": Wanted("{loadBalancer: {consistentHash: {useSourceIp: true}}}", GOOD),
    "tcpsource": Wanted("{loadBalancer: {consistentHash: {useSourceIp: true}}}", GOOD, "TCP"),
    "once": Wanted("{connectionPool: {http: {maxRequestsPerConnection: 1}}}"),
    "idle": Wanted("{connectionPool: {http: {idleTimeout: 0.2s}}}"),
    "tcpidles": Wanted("{connectionPool: {tcp: {idleTimeout: 0.2s}}}"),
    "old": Wanted("{connectionPool: {tcp: {maxConnectionDuration: 0.2s}}}"),
    "few": Wanted("{connectionPool: {http: {http2MaxRequests: 1}}}"),
    "queue": Wanted("{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}"),
    "kept": Wanted("{connectionPool: {tcp: {tcpKeepalive: {probes: 2, time: 77s, interval: 10s}}}}"),
    "absent": Wanted("{connectionPool: {tcp: {connectTimeout: 0.1s}}}", "10.245.1.99"),
    "upgraded": Wanted("{connectionPool: {http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 1}}}"),
    "streams": Wanted(
        "{connectionPool: {http: {h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 0.2s, timeout: 1s}}}}"
    ),
    "client": Wanted("{connectionPool: {http: {useClientProtocol: true}}}", protocol="HTTP2"),
    "retries": Wanted("{connectionPool: {http: {maxRetries: 1}}}", "10.245.1.6", retried=True),
    "budget": Wanted("{retryBudget: {percent: 0, minRetryConcurrency: 1}}", "10.245.1.7", retried=True),
    "ejecting": Wanted(
        "{outlierDetection: {consecutiveGatewayErrors: 2, consecutive5xxErrors: 0, interval: 0.1s,"
        " baseEjectionTime: 60s, maxEjectionPercent: 100}}",
        "10.245.1.2 10.245.1.5",
    ),
    "unreached": Wanted(
        "{outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, interval: 0.1s,"
        " consecutive5xxErrors: 0, baseEjectionTime: 60s, maxEjectionPercent: 100}}",
        "10.245.1.2 10.245.1.8",
    ),
    "connect": Wanted("{tunnel: {targetHost: far.example.com, targetPort: 443}}", protocol="TCP"),
    "post": Wanted("{tunnel: {protocol: POST, targetHost: far.example.com, targetPort: 443}}", protocol="TCP"),
    "proxied": Wanted("{proxyProtocol: {}}", protocol="TCP"),
    "proxied2": Wanted("{proxyProtocol: {version: V2}}", protocol="TCP"),
    "tcpidle": Wanted("{connectionPool: {tcp: {idleTimeout: 0.3s}}}", protocol="TCP"),
    "tcpold": Wanted("{connectionPool: {tcp: {maxConnectionDuration: 0.3s}}}", protocol="TCP"),
}


class Mesh:
    """A client beside a real Envoy, and what it is answered."""

    def __init__(self, live: LiveEnvoy) -> None:
        self.live = live

    def text(self, name: str, path: str = "/", *headers: str) -> str:
        lines = (f"GET {path} HTTP/1.1", f"Host: {name}.example.com", "Connection: close", *headers, "", "")
        return str(self.live.call(self.live.netns, self.address(name), 80, "\r\n".join(lines)))

    def told(self, name: str, path: str = "/", *headers: str) -> Any:
        return _told(self.text(name, path, *headers))

    def at_once(self, name: str, count: int, path: str) -> list[str]:
        """The answers to so many equal requests."""
        sent = f"GET {path} HTTP/1.1\r\nHost: {name}.example.com\r\nConnection: close\r\n\r\n"
        calls = call_all(self.live.netns, self.address(name), 80, [[(0, sent)]] * count)
        return [answer for answer, _ in calls]

    def lasts(self, name: str, sent: Steps) -> float:
        """Seconds until the other side closes a connection over which this is sent."""
        return call(self.live.netns, self.address(name), 80, sent)[1]

    @staticmethod
    def address(name: str) -> str:
        return f"10.96.1.{1 + list(SERVICES).index(name)}"


def _told(answer: str) -> Any:
    """What the server says in JSON, in a chunk or not."""
    return json.loads(answer[answer.index("{") : answer.rindex("}") + 1])


@pytest.fixture
def mesh(start: Start) -> Mesh:
    live = start("".join(_documents()), problems={"TunnelByPost"})
    for last in range(3, 9):
        subprocess.run(["ip", "-n", live.peer, "addr", "add", f"10.245.1.{last}/24", "dev", "eth0"], check=True)
    for address, name in {**ENDPOINTS, "10.245.1.6": "r", "10.245.1.7": "r"}.items():
        start_wire(live, address, 8080, name)
    return Mesh(live)


def _documents() -> Iterator[str]:
    for index, (name, wanted) in enumerate(SERVICES.items(), 1):
        endpoints = ", ".join(f"{{address: {address}}}" for address in wanted.endpoints.split())
        yield SERVICE.format(
            name=name, index=index, protocol=wanted.protocol, endpoints=endpoints, policy=wanted.policy
        )
        if wanted.retried:
            yield RETRIED.format(name=name)


def test_what_policies_do(mesh: Mesh) -> None:
    """One Envoy for all: it takes longer to start than to ask."""
    _check_balancing(mesh)
    _check_connections(mesh)
    _check_limits(mesh)
    _check_protocols(mesh)
    _check_outliers(mesh)
    _check_tcp(mesh)


def _check_balancing(mesh: Mesh) -> None:
    for name in ("header", "maglev"):
        chosen = {user: {mesh.told(name, "/", f"x-user: {user}")["name"] for _ in range(2)} for user in range(6)}
        assert all(len(names) == 1 for names in chosen.values()), name
        assert len(set().union(*chosen.values())) > 1, name
    queried = {user: {mesh.told("query", f"/?u={user}")["name"] for _ in range(2)} for user in range(6)}
    assert all(len(names) == 1 for names in queried.values())
    assert len(set().union(*queried.values())) > 1
    given = mesh.text("cookie")
    cookie = next(line for line in given.splitlines() if line.startswith("set-cookie: ")).removeprefix("set-cookie: ")
    assert cookie.startswith("who=")
    assert "Max-Age=60" in cookie
    assert "Path=/p" in cookie
    mine = f"cookie: {cookie.partition(';')[0]}"
    assert {mesh.told("cookie", "/", mine)["name"] for _ in range(4)} == {_told(given)["name"]}
    for name in ("source", "tcpsource"):
        assert len({mesh.told(name)["name"] for _ in range(5)}) == 1, name


def _check_connections(mesh: Mesh) -> None:
    expected = {"plain": 1, "once": 2, "idle": 2, "tcpidles": 2, "old": 2}
    before = {name: mesh.told(name)["port"] for name in expected}
    time.sleep(0.5)
    assert {name: len({port, mesh.told(name)["port"]}) for name, port in before.items()} == expected
    mesh.text("kept")
    sockets = subprocess.run(
        ["ip", "netns", "exec", mesh.live.netns, "ss", "-Htno", "state", "established"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert sockets.count("timer:(keepalive,1min1") == 1, sockets


def _check_limits(mesh: Mesh) -> None:
    answers = mesh.at_once("few", 2, "/after/0.5")
    assert sorted("200 OK" in answer for answer in answers) == [False, True]
    assert any("x-envoy-overloaded" in answer for answer in answers)
    answers = mesh.at_once("queue", 3, "/after/0.5")
    assert sorted("200 OK" in answer for answer in answers) == [False, True, True]
    start = time.monotonic()
    assert "503" in mesh.text("absent")
    assert time.monotonic() - start < 2, "the kernel's own time-out is 3 s"
    for name in ("retries", "budget"):
        mesh.at_once(name, 6, "/fail/0.5")
        assert int(mesh.text(name, "/count").partition("\n\n")[2]) == 7, f"{name}: six tries, and one retry"


def _check_protocols(mesh: Mesh) -> None:
    assert mesh.told("plain")["protocol"] == "1"
    answers = [_told(a) for a in mesh.at_once("upgraded", 2, "/")]
    assert [a["protocol"] for a in answers] == ["2", "2"]
    assert len({a["port"] for a in answers}) == 2, "one stream a connection"
    answers = [_told(a) for a in mesh.at_once("streams", 2, "/")]
    assert len({a["port"] for a in answers}) == 1
    before = answers[0]["port"]
    time.sleep(0.5)
    later = mesh.told("streams")
    assert later["port"] == before
    assert later["pings"] > 0
    assert mesh.told("client")["protocol"] == "1"


def _check_outliers(mesh: Mesh) -> None:
    for name, address in (("ejecting", "10.245.1.5"), ("unreached", "10.245.1.8")):
        for _ in range(30):
            mesh.text(name)
            if _flags(mesh, name, address):
                break
        assert _flags(mesh, name, address) == {"failed_outlier_check": True}, name
        assert {mesh.told(name)["name"] for _ in range(4)} == {"a"}, name


def _flags(mesh: Mesh, name: str, address: str) -> dict[str, bool]:
    clusters = json.loads(mesh.live.get("/clusters?format=json"))["cluster_statuses"]
    hosts = next(c for c in clusters if c["name"] == f"outbound|80||{name}.example.com")["host_statuses"]
    status = next(h for h in hosts if h["address"]["socket_address"]["address"] == address)["health_status"]
    return {flag: value for flag, value in status.items() if flag.startswith("failed")}


def _check_tcp(mesh: Mesh) -> None:
    for name, seen in (
        ("connect", "tunnel by CONNECT to far.example.com:443"),
        ("post", "tunnel by POST to far.example.com:443"),
        ("proxied", "saw PROXY TCP4 10.245.1.1 10.96.1."),
        ("proxied2", "saw version 2 of 10.245.1.1"),
    ):
        assert seen in mesh.text(name), name
    asked = "GET /after/{} HTTP/1.1\r\n\r\n"
    assert 0.2 < mesh.lasts("tcpidle", [(0, asked.format(0))]) < 1.5
    assert 0.2 < mesh.lasts("tcpold", [(0.1, asked.format(0))] * 20) < 1.5
    assert mesh.lasts("tcpidle", [(0.1, asked.format(0))] * 8) > 0.8
