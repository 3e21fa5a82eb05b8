"""What discovery keeps for one pod: all that its streams named, together."""

from __future__ import annotations

import pytest

from pilotfish.ads import DeltaRequest, ExcessiveRequestError, Node
from pilotfish.discovery.admission import Caller, Door
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.session import ProxySession
from pilotfish.envoy.types import ENDPOINT
from pilotfish.model import Proxy
from tests.discovery.sidecars import desired

POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {0}, namespace: vm}}
spec: {{containers: [{{name: app, command: [sleep]}}]}}
status: {{phase: Running, podIP: {1}, podIPs: [{{ip: {1}}}]}}
"""
PODS = {"web-0": "10.0.0.1", "other-0": "10.0.0.2"}


def make_plane(*, only_pods: bool) -> ControlPlane:
    plane = ControlPlane(door=Door(only_pods=only_pods))
    plane.change(desired("".join(POD.format(*pod) for pod in PODS.items())), 0.0)
    return plane


def join(plane: ControlPlane, pod: str) -> ProxySession:
    proxy = Proxy.of_pod(pod, "vm", (PODS[pod],))
    return plane.join(Node(proxy.id), proxy, delta=True, caller=Caller(f"ipv4:{PODS[pod]}:1"), at=0.0, now=0.0)


def ask(plane: ControlPlane, session: ProxySession) -> None:
    """For many resources that are not there, to be told so, and to say that it is well."""
    names = tuple(f"{session.id}-{number}" for number in range(50_000))
    plane.receive(session, DeltaRequest(ENDPOINT, subscribe=names), 0.0)
    plane.receive(session, DeltaRequest(ENDPOINT, nonce=session.stream.watches[ENDPOINT].last_nonce), 0.0)


def test_streams_of_a_pod_are_bounded_together_and_those_of_others_not_by_them() -> None:
    plane = make_plane(only_pods=True)
    first, second, third = (join(plane, "web-0") for _ in range(3))
    ask(plane, first)
    with pytest.raises(ExcessiveRequestError, match=r"150000 names .* all streams from 10\.0\.0\.1, .* 131072"):
        ask(plane, second)
    plane.leave(second, 0.0)
    ask(plane, join(plane, "other-0"))
    plane.leave(first, 0.0)
    ask(plane, third)


def test_where_pods_are_not_known_each_stream_is_bounded_by_itself() -> None:
    plane = make_plane(only_pods=False)
    for _ in range(4):
        ask(plane, join(plane, "web-0"))
