"""Workloads that are no pods: they are endpoints while their proxies are connected, and their agents call them well."""

from __future__ import annotations

import pytest

from pilotfish.ads import Node
from pilotfish.discovery import debug
from pilotfish.discovery.admission import Caller, Door
from pilotfish.discovery.findings import findings
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.registration import GRACE
from pilotfish.discovery.session import ProxySession
from pilotfish.envoy.types import LISTENER
from pilotfish.model import Proxy
from pilotfish.model.identity import Identity
from pilotfish.model.kinds import WORKLOAD_ENTRY
from tests.discovery.test_credentials import desired

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: vm}
spec: {clusterIP: 10.96.0.7, selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: reviews, namespace: vm}
spec:
  metadata: {labels: {app: reviews}}
  template: {ports: {http: 9080}, serviceAccount: reviews, weight: 3}
"""
PROBE = "  probe: {tcpSocket: {port: 9080}}\n"
AT = "10.0.0.5"
UNPROVEN = Caller(f"ipv4:{AT}:1")


def plane(text: str, door: Door | None = None) -> ControlPlane:
    made = ControlPlane(door=door)
    made.change(desired(text), 0.0)
    return made


def join(plane: ControlPlane, group: str = "reviews", now: float = 0.0, caller: Caller = UNPROVEN) -> ProxySession:
    metadata = {"AUTO_REGISTER_GROUP": group, "LABELS": {"version": "v2"}}
    proxy = Proxy.parse(f"sidecar~{AT}~machine.vm~vm.svc.cluster.local", metadata)
    assert proxy is not None
    session = plane.join(Node(proxy.id), proxy, delta=True, caller=caller, at=0.0, now=now)
    plane.enrol(session, now)
    push(plane)
    return session


def push(plane: ControlPlane) -> None:
    while plane.roster.is_behind:
        plane.push(0.0)


def serving(plane: ControlPlane) -> list[str]:
    """Whoever stands behind the Service, as another proxy sees it."""
    push(plane)
    found: list[str]
    client = Proxy.of_pod("client-0", "vm", ("10.0.0.9",))
    other = plane.join(Node(client.id), client, delta=True, caller=Caller("ipv4:10.0.0.9:1"), at=0.0, now=0.0)
    (found,) = (
        each["endpoints"] for each in debug.endpointz(plane) if each["cluster"].startswith("outbound|80||reviews")
    )
    plane.leave(other, 0.0)
    return found


@pytest.mark.parametrize(
    ("caller", "why"),
    [
        (UNPROVEN, "it has not proven who it is; let it connect over TLS, with a token"),
        (
            Caller(f"ipv4:{AT}:1", secure=True, identity=Identity("cluster.local", "vm", "ratings")),
            "it has shown itself as ratings, and spec.template.serviceAccount is reviews; give it a token of that",
        ),
        (Caller(f"ipv4:{AT}:1", secure=True, identity=Identity("cluster.local", "vm", "reviews")), ""),
    ],
)
def test_in_a_cluster_a_proxy_proves_that_it_is_one_of_its_group(caller: Caller, why: str) -> None:
    mesh = plane(SERVICE + GROUP, Door(in_cluster=True))
    session = join(mesh, caller=caller)
    assert serving(mesh) == [], "the API server has no entry"
    said = [each.problem.message for each in findings(mesh) if each.problem.reason == "NotRegistered"]
    assert said == ([f"the proxy machine.vm is not registered by it: {why}"] if why else [])
    mesh.leave(session, 10.0)
    mesh.look(10.0 + GRACE)
    assert not [each for each in findings(mesh) if each.problem.reason == "NotRegistered"]


def test_in_a_cluster_any_replica_is_told_how_a_workload_is() -> None:
    """Its agent may come to another than its proxy is connected to."""
    entry = f"""---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: reviews-{AT}
  namespace: vm
  annotations: {{istio.io/autoRegistrationGroup: reviews, proxy.istio.io/health-checks-enabled: "true"}}
spec: {{address: {AT}, labels: {{app: reviews}}}}
"""
    mesh = plane(SERVICE + GROUP + PROBE + entry, Door(in_cluster=True))
    known = f"sidecar~{AT}~machine.vm~vm.svc.cluster.local"
    assert mesh.report_health(known, "10.0.0.66", True, 1.0) is None, "somebody else"
    assert not mesh.is_at(known, "10.0.0.66")
    assert mesh.report_health(known.replace(AT, "10.0.0.6"), "10.0.0.6", True, 1.0) is None, "it is not registered"
    assert mesh.report_health(known, AT, True, 1.0) is not None
    assert mesh.told == {WORKLOAD_ENTRY.ref("vm", f"reviews-{AT}"): True}
    assert mesh.is_at(known, AT), "so it may ask for what is about itself"


def test_a_proxy_is_registered_while_it_is_connected_and_a_little_longer() -> None:
    mesh = plane(SERVICE + GROUP)
    session = join(mesh)
    assert serving(mesh) == [f"{AT}:9080"]
    assert session.stream.resources is not None
    (inbound,) = (r for r in session.stream.resources.resources(LISTENER) if r.name == "virtualInbound")
    assert b"9080" in inbound.body, "its own proxy knows what it serves"
    (entry,) = (each for each in debug.configz(mesh) if each["kind"] == "WorkloadEntry")
    assert entry["metadata"]["labels"] == {"app": "reviews", "version": "v2"}
    assert (entry["spec"]["weight"], entry["spec"]["serviceAccount"]) == (3, "reviews")
    mesh.leave(session, 1.0)
    mesh.look(1.0 + GRACE / 2)
    assert serving(mesh) == [f"{AT}:9080"], "it may come back"
    mesh.look(1.0 + GRACE)
    assert serving(mesh) == []
    join(mesh, now=20.0)
    mesh.look(40.0)
    assert serving(mesh) == [f"{AT}:9080"], "it is back"


def test_one_that_comes_back_in_time_stays() -> None:
    mesh = plane(SERVICE + GROUP)
    first = join(mesh)
    mesh.leave(first, 1.0)
    join(mesh, now=2.0)
    mesh.look(30.0)
    assert serving(mesh) == [f"{AT}:9080"]


def test_of_a_group_with_a_probe_only_those_serve_whose_agents_call_them_healthy() -> None:
    mesh = plane(SERVICE + GROUP + PROBE)
    session = join(mesh)
    assert serving(mesh) == [], "nobody has said so yet"
    assert mesh.report_health(session.proxy.id, "10.0.0.66", True, 1.0) is None, "somebody else"
    assert mesh.report_health("nobody", AT, True, 1.0) is None
    assert serving(mesh) == []
    assert mesh.report_health(session.proxy.id, AT, True, 1.0) is not None
    assert serving(mesh) == [f"{AT}:9080"]
    mesh.report_health(session.proxy.id, AT, False, 2.0)
    assert serving(mesh) == []


def test_a_group_that_is_not_there_is_said_and_registers_once_it_is() -> None:
    mesh = plane(SERVICE)
    join(mesh)
    assert [f.problem.reason for f in findings(mesh)].count("UnknownWorkloadGroup") == 1
    assert serving(mesh) == []
    mesh.change(desired(SERVICE + GROUP), 1.0)
    push(mesh)
    assert "UnknownWorkloadGroup" not in [f.problem.reason for f in findings(mesh)]
    assert serving(mesh) == [f"{AT}:9080"]


def test_what_the_user_wrote_of_the_same_name_stays() -> None:
    own = f"""---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: reviews-{AT}, namespace: vm}}
spec: {{address: 10.0.0.7, labels: {{app: reviews}}, ports: {{http: 7000}}}}
"""
    mesh = plane(SERVICE + GROUP + own)
    join(mesh)
    assert serving(mesh) == ["10.0.0.7:7000"]
