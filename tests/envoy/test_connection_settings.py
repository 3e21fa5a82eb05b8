"""How proxies bear with those who call them, as callers and servers see it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pilotfish.model.wellknown import HEALTH_PORT
from pilotfish.runtime.linux.netns import NetNs
from tests.envoy.calls import call, connect
from tests.envoy.conftest import EDGE, PEER4, POD4, LiveEnvoy, Start
from tests.waiting import wait_until

SERVICE = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: vm}}
spec:
  hosts: [shop.example.com]
  addresses: [10.96.0.7]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}, {{number: 90, name: tcp, protocol: TCP}}]
  endpoints: [{{address: {PEER4}}}]
---
"""
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: vm}
spec:
  selector: {istio: edge}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: vm}
spec: {hosts: ["*"], gateways: [edge], http: [{route: [{destination: {host: shop.example.com, port: {number: 80}}}]}]}
---
"""
ADDRESS, PREFACE = "10.96.0.7", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""HTTP/2, with settings that say nothing."""


def mesh(settings: dict[str, object]) -> str:
    data = {"mesh": json.dumps({"defaultConfig": {"connectionSettings": settings}})}
    metadata = {"name": "istio", "namespace": "istio-system"}
    return (
        json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}) + "\n---\n" + SERVICE
    )


def ask(live: LiveEnvoy, path: str = "/", header: str = "x-none: 1", gateway: bool = False) -> str:
    text = f"GET {path} HTTP/1.1\r\nHost: shop.example.com\r\nx-show: 1\r\n{header}\r\nConnection: close\r\n\r\n"
    return live.call(live.peer, POD4, 8080, text) if gateway else live.call(live.netns, ADDRESS, 80, text)


@pytest.mark.parametrize(
    ("settings", "underscored", "escaped", "doubled"),
    [
        ({}, "x_a: 1", "/a%2fb", "/a//b"),
        (
            {
                "httpHeadersWithUnderscoresAction": "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
                "httpPathWithEscapedSlashesAction": "UNESCAPE_AND_FORWARD",
                "httpMergeSlashes": True,
            },
            "dropped",
            "/a/b",
            "/a/b",
        ),
        (
            {
                "profile": "EDGE",  # of gateways alone
                "httpHeadersWithUnderscoresAction": "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
                "httpPathWithEscapedSlashesAction": "REJECT_REQUEST",
            },
            "400",
            "400",
            "/a//b",
        ),
    ],
    ids=["nothing", "mended", "rejected"],
)
def test_what_becomes_of_odd_requests(
    start: Start, settings: dict[str, object], underscored: str, escaped: str, doubled: str
) -> None:
    live = start(mesh(settings))
    live.start_app(live.peer, PEER4, 8080, "app")
    seen = [_met(ask(live, header="x_a: 1"), "x_a: 1"), *(_met(ask(live, path)) for path in ("/a%2fb", "/a//b"))]
    assert seen == [underscored, escaped, doubled]


def _met(answer: str, header: str = "") -> str:
    """What the app saw of it; or the status."""
    status = answer.split(" ", 2)[1]
    if status != "200":
        return status
    if header:
        return header if header in answer else "dropped"
    return answer.partition("app GET ")[2].partition(" ")[0]


def test_at_the_edge_what_is_not_said_is_as_envoy_advises(start: Start) -> None:
    live = start(mesh({"profile": "EDGE", "httpMaxConcurrentStreams": 7}) + GATEWAY, proxy=EDGE)
    live.start_app(live.peer, PEER4, 8080, "app")
    assert _met(ask(live, header="x_a: 1", gateway=True)) == "400"
    assert "location: /a/b" in ask(live, "/a%2fb", gateway=True)
    assert _met(ask(live, "/a//b", gateway=True)) == "/a/b"
    assert _told(live, live.peer, POD4, 8080) == (7, 65536, 2**20 - 65535)


def test_what_a_client_is_told_of_http2(start: Start) -> None:
    windows = {"http2InitialStreamWindowSize": 70000, "http2InitialConnectionWindowSize": 100000}
    live = start(mesh({"httpMaxConcurrentStreams": 5, **windows}))
    assert _told(live, live.netns, ADDRESS, 80) == (5, 70000, 100000 - 65535)


def _told(live: LiveEnvoy, netns: str, address: str, port: int) -> tuple[int, int, int]:
    """SETTINGS_MAX_CONCURRENT_STREAMS, SETTINGS_INITIAL_WINDOW_SIZE, and by how much the connection's is widened."""
    told: dict[int, int] = {}
    with connect(netns, address, port) as stream:
        stream.sendall(PREFACE)
        for kind, number, body in _frames(stream):
            if kind == 4 and body:
                told |= {
                    int.from_bytes(body[i : i + 2]): int.from_bytes(body[i + 2 : i + 6]) for i in range(0, len(body), 6)
                }
            if kind == 8 and not number:
                told[0] = int.from_bytes(body)
            if told.keys() >= {0, 3, 4}:
                break
    return told[3], told[4], told[0]


def _frames(stream: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """(type, stream, payload) of each, to the end of the connection."""
    with stream.makefile("rb") as file:
        while head := file.read(9):
            yield head[3], int.from_bytes(head[5:9]), file.read(int.from_bytes(head[:3]))


HEAD = "Host: shop.example.com\r\n"


@pytest.mark.parametrize(
    ("field", "steps", "answer"),
    [
        ("httpIdleTimeout", [(0, f"GET / HTTP/1.1\r\n{HEAD}\r\n")], "200 OK"),
        (
            "httpStreamIdleTimeout",
            [(0, f"GET /after/9 HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n")],
            "504 Gateway Timeout",
        ),
        ("httpRequestTimeout", [(0, f"POST / HTTP/1.1\r\n{HEAD}Content-Length: 9\r\n\r\nx")], "408 Request Timeout"),
        ("httpRequestHeadersTimeout", [(0, f"GET / HTTP/1.1\r\n{HEAD}")], "408 Request Timeout"),
        ("httpMaxConnectionDuration", [(0, f"GET / HTTP/1.1\r\n{HEAD}\r\n")], "200 OK"),
        (
            "httpMaxStreamDuration",
            [(0, f"GET /after/9 HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n")],
            "504 Gateway Timeout",
        ),
    ],
)
def test_what_takes_too_long_ends(start: Start, field: str, steps: list[tuple[float, str]], answer: str) -> None:
    live = start(mesh({field: "1s", "httpDrainTimeout": "0s"}))
    live.start_app(live.peer, PEER4, 8080, "app")
    seen, seconds = call(live.netns, ADDRESS, 80, steps)
    assert answer in seen
    assert "timed out" not in seen
    # Envoy leaves a connection open for a second more (`delayed_close_timeout`).
    assert 0.9 < seconds < 3.5


def test_how_long_a_drained_connection_is_left(start: Start) -> None:
    live = start(mesh({"httpIdleTimeout": "500ms", "httpDrainTimeout": "1s"}))
    with connect(live.netns, ADDRESS, 80) as stream:
        stream.sendall(PREFACE)
        begun, last = time.monotonic(), []
        with suppress(ConnectionError):
            last = [kind for kind, _, _ in _frames(stream)]
        seconds = time.monotonic() - begun
    assert 7 in last, "GOAWAY"
    assert 1.4 < seconds < 4, "five seconds is Envoy's own"


MUCH, LIMIT = 32 * 2**20, 128 * 2**20
PATIENCE = 30
"""Seconds for what is under way on a machine that others use."""
_KERNEL = "4096 65536 131072"
"""Bytes that it takes of a connection, at the most the last."""


@pytest.mark.parametrize("field", ["clusterPerConnectionBufferLimitBytes", "listenerPerConnectionBufferLimitBytes"])
def test_how_much_waits_for_a_slow_peer(start: Start, field: str) -> None:
    live = start(mesh({field: LIMIT}))
    for netns in (live.netns, live.peer):
        NetNs.named(netns).sysctl({"ipv4/tcp_rmem": _KERNEL, "ipv4/tcp_wmem": _KERNEL})
    to_server = field.startswith("cluster")
    with _listening(live) as server, connect(live.netns, ADDRESS, 90) as client:
        client.sendall(b"x")  # nothing is known of the protocol before
        server.settimeout(PATIENCE)
        peer, _ = server.accept()
        with peer:
            # Neither reads. Envoy's own limit is one MiB.
            assert _taken(live, client if to_server else peer) >= MUCH
            assert _taken(live, peer if to_server else client) < MUCH / 2


def test_how_many_connections_a_proxy_takes(start: Start) -> None:
    live = start(mesh({"globalDownstreamConnectionLimit": 2}))
    live.start_app(live.peer, PEER4, 8080, "app")
    request = f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode()
    with connect(live.netns, ADDRESS, 80) as one, connect(live.netns, ADDRESS, 80) as two:
        for stream in (one, two):
            stream.sendall(request)
            assert stream.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert "200 OK" not in ask(live)
        # Who asks whether it is ready is answered all the same; there is no agent here to say that it is.
        assert "503 Service Unavailable" in live.request(live.netns, POD4, HEALTH_PORT, "x", "/healthz/ready")
    wait_until("there is room again", lambda: "200 OK" in ask(live))


@contextmanager
def _listening(live: LiveEnvoy) -> Iterator[socket.socket]:
    with NetNs.named(live.peer).socket(socket.AF_INET) as server:
        server.bind((PEER4, 90))
        server.listen()
        yield server


def _taken(live: LiveEnvoy, stream: socket.socket) -> int:
    """How many of 32 MiB are taken before Envoy takes no more: it sleeps, and what has come for it waits. While others
    have the processor it does not sleep, and is waited for."""
    stream.settimeout(1)
    sent, until = 0, time.monotonic() + PATIENCE
    while sent < MUCH:
        try:
            sent += stream.send(bytes(2**16))
            until = time.monotonic() + PATIENCE
        except TimeoutError:
            if _sleeps(live.processes[0].pid):
                break
            assert time.monotonic() < until, f"{sent} bytes were taken, and Envoy neither sleeps nor takes more"
    return sent


def _sleeps(pid: int) -> bool:
    """All threads of a process wait for something to happen (proc_pid_stat(5))."""
    stats = (each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/stat"))
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)
