"""Timeouts as a client sees them: how long real requests through a real Envoy may take, and what ends them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.envoy.calls import call_all
from tests.envoy.conftest import Start

MESH = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: app, namespace: vm}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.245.1.2}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: vm}
spec:
  hosts: [app.example.com]
  http:
  - match: [{uri: {prefix: /limited}}]
    timeout: 0.6s
    route: [{destination: {host: app.example.com}}]
  - match: [{uri: {prefix: /retried}}]
    timeout: 0.6s
    retries: {attempts: 5, perTryTimeout: 0.25s, retryOn: 5xx}
    route: [{destination: {host: app.example.com}}]
  - match: [{uri: {prefix: /tried}}]
    retries: {attempts: 1, perTryTimeout: 0.3s, retryOn: 5xx}
    route: [{destination: {host: app.example.com}}]
  - route: [{destination: {host: app.example.com}}]
"""


@dataclass(frozen=True)
class Call:
    what: str
    path: str
    expected: str
    """Stands in what comes back."""
    seconds: float
    """When the answer is complete, or the connection is closed."""
    headers: tuple[str, ...] = ("Connection: close",)
    method: str = "GET"
    later: tuple[tuple[float, str], ...] = ()
    """What is sent after so many seconds more."""

    @property
    def steps(self) -> list[tuple[float, str]]:
        lines = (f"{self.method} {self.path} HTTP/1.1", "Host: app.example.com", *self.headers, "", "")
        return [(0, "\r\n".join(lines)), *self.later]


CLOSE = "Connection: close"
GRPC = (CLOSE, "Content-Type: application/grpc")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
ENDED, DEADLINE_EXCEEDED, ANSWERED, ECHO = "504 Gateway Timeout", "grpc-status: 4\r", "200 OK", "still here"
UNAVAILABLE = "grpc-status: 14\r"
"""What a 504 is to a gRPC client."""
SLOWLY = ((0.5, "x"), (0.5, "y"))
TWO = "Content-Length: 2"

CALLS = (
    Call("a slow answer", "/limited/after/3", ENDED, 0.6),
    Call("a slow answer to a POST", "/limited/after/3", ENDED, 0.6, (CLOSE, TWO), "POST", ((0, "xy"),)),
    Call("a slow body", "/limited/during/3", ANSWERED, 0.6),
    Call("a fast answer", "/limited/after/0", ANSWERED, 0),
    Call("a slow question", "/limited", ANSWERED, 1, (CLOSE, TWO), "POST", SLOWLY),
    Call("more tries than there is time for", "/retried/after/3", ENDED, 0.6),
    Call("a limit for each of two tries", "/tried/after/3", ENDED, 0.6),
    Call(
        "gRPC, the client's deadline earlier", "/limited/after/3", DEADLINE_EXCEEDED, 0.2, (*GRPC, "grpc-timeout: 200m")
    ),
    Call("gRPC, the client's deadline later", "/limited/after/3", DEADLINE_EXCEEDED, 0.6, (*GRPC, "grpc-timeout: 10S")),
    Call("gRPC, no deadline", "/limited/after/3", UNAVAILABLE, 0.6, GRPC),
    Call("gRPC, a deadline that is none", "/limited/after/3", DEADLINE_EXCEEDED, 0.6, (*GRPC, "grpc-timeout: soon")),
    Call("gRPC, a stream that goes on", "/limited", ANSWERED, 1, (*GRPC, TWO), "POST", SLOWLY),
    Call("no gRPC, whatever it asks", "/limited/after/3", ENDED, 0.6, (CLOSE, "grpc-timeout: 200m")),
    Call("an upgrade", "/limited", ECHO, 1, UPGRADE, later=((1, ECHO),)),
    Call("a slow answer without limit", "/after/1", ANSWERED, 1),
    Call("a slow body without limit", "/during/1", ANSWERED, 1),
    Call(
        "gRPC without limit, the client's deadline", "/after/3", DEADLINE_EXCEEDED, 0.2, (*GRPC, "grpc-timeout: 200m")
    ),
    Call("gRPC without limit, no deadline", "/after/1", ANSWERED, 1, GRPC),
    Call("an upgrade without limit", "/", ECHO, 1, UPGRADE, later=((1, ECHO),)),
)


def test_what_a_client_sees_of_timeouts(start: Start) -> None:
    live = start(MESH)
    live.start_app(live.peer, "10.245.1.2", 80, "app")
    outcomes = zip(CALLS, call_all(live.netns, "10.96.0.7", 80, [call.steps for call in CALLS]), strict=True)
    assert [(call, *outcome) for call, outcome in outcomes if not _as_expected(call, *outcome)] == []


def _as_expected(call: Call, answer: str, seconds: float) -> bool:
    return call.expected in answer and call.seconds - 0.02 <= seconds < call.seconds + 0.35
