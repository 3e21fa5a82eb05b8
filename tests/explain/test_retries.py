"""Which endpoint gets a request after another one refused it."""

from __future__ import annotations

import pytest

from pilotfish.explain.ask import parse
from pilotfish.explain.held import Held
from pilotfish.explain.retries import Draws
from pilotfish.explain.scene import Scene, Station
from pilotfish.explain.trace import End, Outcome, Stage, Trace
from pilotfish.explain.walk import explain
from pilotfish.offline.reading import read
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import build

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: vm, labels: {labels}, annotations: {annotations}}}
spec: {{containers: [{{name: a, command: [a]}}]}}
---
"""
BARE = "{sidecar.istio.io/inject: 'false'}"
READING = "{pilotfish.io/inbound: http}"
MESH = (
    "".join(POD.format(name=f"web-{n}", labels="{app: web}", annotations=BARE) for n in (1, 2, 3))
    + "".join(POD.format(name=f"side-{n}", labels="{app: side}", annotations=READING) for n in (1, 2))
    + "".join(POD.format(name=f"unread-{n}", labels="{app: unread}", annotations="{}") for n in (1, 2))
    + POD.format(name="client", labels="{app: client}", annotations="{}")
    + """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: tcp, port: 90}]}
---
apiVersion: v1
kind: Service
metadata: {name: side, namespace: vm}
spec: {selector: {app: side}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: unread, namespace: vm}
spec: {selector: {app: unread}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: vm}
spec:
  hosts: [web, side, unread]
  http:
  - match: [{uri: {prefix: /once}}]
    retries: {attempts: 0}
    route: [{destination: {host: web}}]
  - match: [{uri: {prefix: /same}}]
    retries: {attempts: 1, retryOn: connect-failure, retryIgnorePreviousHosts: false}
    route: [{destination: {host: web}}]
  - match: [{uri: {prefix: /5xx}}]
    retries: {attempts: 1, retryOn: 5xx}
    route: [{destination: {host: side}}]
  - match: [{uri: {prefix: /side}}]
    route: [{destination: {host: side}}]
  - match: [{uri: {prefix: /unread/503}}]
    retries: {attempts: 1, retryOn: "503"}
    route: [{destination: {host: unread}}]
  - match: [{uri: {prefix: /unread}}]
    route: [{destination: {host: unread}}]
  - route: [{destination: {host: web}}]
"""
)


def way(to: str, *dead: str) -> Trace:
    """With apps that do not listen."""
    built = build_scene(build(read([("mesh.yaml", MESH)])))
    stations = {name: _listening(each, name not in dead) for name, each in built.stations.items()}
    scene = Scene(stations, lambda: built.frontends)
    trace = explain(scene, scene.stations["client.vm"], parse(to))
    assert sum(each.probability for each in trace.outcomes) == pytest.approx(1)
    return trace


def _listening(station: Station, listens: bool) -> Station:
    held = station.held

    def holds() -> Held | None:
        return held

    return Station(
        station.name,
        station.namespace,
        station.addresses,
        station.captured,
        lambda family: station._rules(family),
        holds,
        lambda: station.names,
        lambda: frozenset({("0.0.0.0", 80), ("0.0.0.0", 90)} if listens else ()),
    )


def ends(trace: Trace) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in trace.outcomes:
        found[_told(each)] = found.get(_told(each), 0.0) + each.probability
    return {told: round(part, 5) for told, part in found.items()}


def _told(outcome: Outcome) -> str:
    if outcome.kind is End.DELIVERED:
        return outcome.pod
    return f"{outcome.kind} {outcome.status} {outcome.flag} {outcome.pod}"


def test_another_endpoint_gets_what_one_refused() -> None:
    """Two more tries, for each of which six endpoints may be drawn until it is one that was not tried."""
    found = ends(way("http://web/", "web-1.vm"))
    assert found["web-2.vm"] == found["web-3.vm"] == pytest.approx(0.5, abs=1e-5)
    assert sum(found.values()) == pytest.approx(1, abs=1e-4)


def test_what_all_refuse_is_told_at_once_and_the_limit_is_named() -> None:
    trace = way("http://web/", "web-1.vm", "web-2.vm", "web-3.vm")
    assert ends(trace) == {"response 503 URX,UF client.vm": 1.0}
    assert len(trace.at(Stage.ENDPOINT)) == 3


def test_a_route_that_does_not_retry_fails_by_the_endpoints_share() -> None:
    found = ends(way("http://web/once", "web-1.vm"))
    assert found == {"response 503 UF client.vm": 0.33333, "web-2.vm": 0.33333, "web-3.vm": 0.33333}


def test_the_same_endpoint_may_be_drawn_where_the_policy_does_not_mind() -> None:
    found = ends(way("http://web/same", "web-1.vm"))
    assert found["response 503 URX,UF client.vm"] == pytest.approx(1 / 9, abs=1e-5)
    assert found["web-2.vm"] == pytest.approx(4 / 9, abs=1e-5)


def test_the_answer_of_the_servers_proxy_is_retried_where_the_policy_says_so() -> None:
    """The connection itself does not fail: the server's proxy takes it."""
    assert ends(way("http://side/side", "side-1.vm")) == {"response 503 URX,UF side-1.vm": 0.5, "side-2.vm": 0.5}
    found = ends(way("http://side/5xx", "side-1.vm"))
    assert found["side-2.vm"] == pytest.approx(1 - 0.5 * 0.5**6, abs=1e-5)


def test_where_the_servers_proxy_passes_connections_on_one_that_is_refused_ends() -> None:
    """Who retries 503 has it retried as well: the server's proxy would have answered so."""
    assert ends(way("http://unread/unread", "unread-1.vm")) == {"response 503 UC client.vm": 0.5, "unread-2.vm": 0.5}
    found = ends(way("http://unread/unread/503", "unread-1.vm"))
    assert found["unread-2.vm"] == pytest.approx(1 - 0.5 * 0.5**6, abs=1e-5)


def test_a_connection_that_is_no_http_is_not_tried_again() -> None:
    found = ends(way("web:90", "web-1.vm"))
    assert found == {"reset None UF,URX client.vm": 0.33333, "web-2.vm": 0.33333, "web-3.vm": 0.33333}


def test_the_next_try_says_which_it_is() -> None:
    tries = [step.evidence.get("try") for step in way("http://web/", "web-1.vm").at(Stage.ENDPOINT)]
    assert tries[:3] == [None] * 3
    assert set(tries[3:6]) == {"2 of 3"}


@pytest.mark.parametrize("draws", [1, 2, 6])
def test_unequal_endpoints_are_drawn_by_their_shares(draws: int) -> None:
    """Against all ways written out."""
    shares, dead = [0.5, 0.3, 0.2], {0, 1}
    model = Draws(shares, [1.0, 1.0, 0.0], draws)
    states = {frozenset[int](): 1.0}
    for _ in range(4):
        expected, after = [0.0] * 3, dict[frozenset[int], float]()
        for tried, mass in states.items():
            again = sum(shares[i] for i in tried)
            for i, share in enumerate(shares):
                rest = 1.0 if again == 0 else sum(again**k for k in range(draws))
                part = mass * (share * again ** (draws - 1) if i in tried else share * rest)
                expected[i] += part
                if i in dead:
                    after[tried | {i}] = after.get(tried | {i}, 0.0) + part
        assert model.next() == pytest.approx(expected)
        states = after


@pytest.mark.parametrize(("timeout", "expected"), [("", "response 503 UF client.vm"), ("3s", "unknown None  ")])
def test_what_fails_slowly_may_be_ended_by_the_routes_timeout_before(timeout: str, expected: str) -> None:
    entry = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: vm}
spec:
  hosts: [far.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.1}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: far, namespace: vm}
spec:
  hosts: [far.example.com]
  http: [{route: [{destination: {host: far.example.com}}], retries: {attempts: 0}, timeout: TIMEOUT}]
"""
    text = entry.replace(", timeout: TIMEOUT", f", timeout: {timeout}" if timeout else "")
    built = build_scene(build(read([("mesh.yaml", MESH + text)])))
    scene = Scene(built.stations, lambda: built.frontends, describe_closed=lambda _: "it is nobody's")
    assert ends(explain(scene, scene.stations["client.vm"], parse("http://far.example.com/"))) == {expected: 1.0}
