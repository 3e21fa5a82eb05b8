"""What the node's kernel and DNS go by is what discovery is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from pilotfish.config import load
from pilotfish.config.loading import finish
from pilotfish.config.manifest import Manifest
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.registry.frontends import frontends_of
from pilotfish.mesh.registry.names import name_table
from pilotfish.mesh.scope import EVERYONE
from pilotfish.model import ObjectRef
from pilotfish.model.frontend import Frontends
from pilotfish.model.kinds import POD, SERVICE
from pilotfish.node import facts as facts_module
from pilotfish.node import store as storing
from pilotfish.node.document import PodRecord
from pilotfish.node.facts import ServiceFacts, find_problems
from pilotfish.node.identity import PodIdentity
from pilotfish.node.listing import ListWriter
from pilotfish.node.pod import Phase
from pilotfish.node.services import allocate
from pilotfish.node.store import Store, Stored

OWN = (IPv4Network("10.244.0.0/16"), IPv4Network("10.96.0.0/16"))
OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  externalIPs: [203.0.113.9]
  sessionAffinity: ClientIP
  ports: [{name: http, port: 80, targetPort: web}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: open}
spec: {selector: {app: shop}, publishNotReadyAddresses: true, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: pods}
spec: {selector: {app: shop}, clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: impossible}
spec: {clusterIP: 192.0.2.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {ports: [{name: tcp, port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: outside}
subsets: [{addresses: [{ip: 10.244.9.9}], ports: [{name: tcp, port: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: ExternalName, externalName: shop.default.svc.cluster.local}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: elsewhere}
spec: {address: 192.0.2.5, labels: {app: shop}, ports: {http: 8081}}
---
apiVersion: v1
kind: Pod
metadata: {name: shop, labels: {app: shop}}
spec: {containers: [{name: app, command: [x], ports: [{name: web, containerPort: 8080}]}]}
"""


def pod(store: Store, number: int, ready: bool = True, phase: Phase = "Running", deleting: bool = False) -> PodRecord:
    """One like the pod of the manifest."""
    manifest = store.objects[POD.ref("default", "shop")].manifest
    identity = PodIdentity(
        ref=POD.ref("default", f"shop-{number}"),
        uid="",
        labels=dict(manifest.resource.metadata.labels),
        annotations={},
        spec=manifest.resource.spec,  # type: ignore[attr-defined]
        addresses=(f"10.244.0.{number}", f"fd70::{number}"),
        host_ip="10.244.0.1",
        node_name="",
        directory="",
        folder="",
        document=manifest.document,
    )
    return PodRecord(identity, phase, ready, deleting, 1.0)


@pytest.fixture
def store() -> Store:
    return storing.apply(Store(), load(OBJECTS, "-"), now=1.0)[0]


def told(store: Store, pods: Iterable[PodRecord]) -> Graph:
    """What discovery makes of what it reads."""
    cluster_ips, _ = allocate(store.of_kind(SERVICE), {})
    items = ListWriter().write(store, cluster_ips, pods).items.decode()
    loaded = load(f'{{"apiVersion": "v1", "kind": "List", "items": {items}}}', "-")
    graph = Graph()
    inputs.apply(graph, {manifest.ref: manifest for manifest in loaded.manifests})
    return graph


def learn(
    facts: ServiceFacts, store: Store, cluster_ips: Mapping[ObjectRef, str], pods: Iterable[PodRecord]
) -> Frontends:
    facts.update(store, cluster_ips, pods)
    worked = finish(facts.work())
    assert worked.failed == {}
    return worked.frontends


def frontends(graph: Graph) -> Frontends:
    services = (SERVICE.ref("default", name) for name in ("shop", "open", "pods", "impossible", "outside"))
    return {frontend.name: frontend for ref in services for frontend in graph.get(frontends_of, ref)}


def test_kernel_and_names_follow_what_discovery_is_told(store: Store) -> None:
    facts = ServiceFacts(OWN)
    cluster_ips, _ = allocate(store.of_kind(SERVICE), {})
    one, two = pod(store, 1), pod(store, 2, ready=False)
    for pods in (
        (one, two),
        (one, replace(two, ready=True)),
        (replace(one, deleting=True), two),
        (replace(one, phase="Succeeded"), replace(two, phase="Failed")),
        (pod(store, 3),),
        (),
    ):
        found = learn(facts, store, cluster_ips, pods)
        assert found == frontends(told(store, pods))
        assert facts.names() == told(store, pods).get(name_table, EVERYONE)
    assert "default/impossible/tcp/80" not in found
    assert found["default/outside/tcp/80"].endpoints == (("10.244.9.9", 8080),)


def test_what_is_as_it_was_is_no_work(store: Store) -> None:
    facts = ServiceFacts(OWN)
    cluster_ips, _ = allocate(store.of_kind(SERVICE), {})
    first = pod(store, 1)
    before = learn(facts, store, cluster_ips, (first,))
    assert not facts.update(store, cluster_ips, (first,))
    moved, _ = storing.apply(store, load(OBJECTS, "elsewhere"), now=2.0)
    after = learn(facts, moved, cluster_ips, (first,))
    assert all(after[name] is frontend for name, frontend in before.items())


def test_what_changes_while_it_works_is_not_lost(store: Store) -> None:
    facts = ServiceFacts(OWN)
    cluster_ips, _ = allocate(store.of_kind(SERVICE), {})
    one = pod(store, 1)
    facts.update(store, cluster_ips, (one,))
    steps = facts.work()
    next(steps)
    assert facts.update(store, cluster_ips, (replace(one, ready=False),))
    finish(steps)
    assert finish(facts.work()).frontends == frontends(told(store, (replace(one, ready=False),)))


def test_a_fault_of_one_object_is_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    facts, fill_in = ServiceFacts(OWN), facts_module._fill_in

    def fail(stored: Stored, *rest: Any) -> Manifest | None:
        if stored.ref.name == "open":
            raise ZeroDivisionError
        return fill_in(stored, *rest)

    monkeypatch.setattr(facts_module, "_fill_in", fail)
    cluster_ips, _ = allocate(store.of_kind(SERVICE), {})
    facts.update(store, cluster_ips, (pod(store, 1),))
    worked = finish(facts.work())
    assert list(worked.failed) == [SERVICE.ref("default", "open")]
    assert ("10.244.0.1", 8080) in worked.frontends["default/shop/tcp/80"].endpoints


def test_an_external_ip_of_the_meshs_own_is_said_and_not_served(store: Store) -> None:
    text = OBJECTS.replace("203.0.113.9", "10.244.0.1, 10.96.0.10, 203.0.113.9")
    store, _ = storing.apply(store, load(text, "-"), now=2.0)
    cluster_ips, _ = allocate(store.of_kind(SERVICE), {})
    facts = ServiceFacts(OWN)
    own = cluster_ips[SERVICE.ref("default", "shop")]
    assert learn(facts, store, cluster_ips, ())["default/shop/tcp/80"].addresses == (own, "203.0.113.9")
    assert [problem.field for problem in find_problems(store, OWN)] == ["spec.externalIPs[0]", "spec.externalIPs[1]"]
