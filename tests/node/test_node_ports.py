"""Which of the host's ports lead to Services, and which of the machine's own services pods call."""

from __future__ import annotations

from pilotfish.config import load
from pilotfish.config.manifest import Manifest
from pilotfish.model import ObjectRef
from pilotfish.node.machine_ports import find_machine_ports
from pilotfish.node.node_ports import NodePort, find_node_ports


def read(text: str) -> dict[ObjectRef, Manifest]:
    loaded = load(text, "mesh.yaml")
    assert not [problem for problem in loaded.problems if problem.severity == "error"]
    return {manifest.ref: manifest for manifest in loaded.manifests}


def service(name: str, kind: str, *ports: str) -> str:
    spec = f"{{type: {kind}, selector: {{app: {name}}}, ports: [{', '.join(ports)}]}}"
    return f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def find(*documents: str) -> tuple[NodePort, ...]:
    return find_node_ports(read("".join(documents)))


def test_only_services_that_ask_for_ports_of_the_host_have_them() -> None:
    found = find(
        service("inside", "ClusterIP", "{port: 80}"),
        service("np", "NodePort", "{name: a, port: 80}", "{name: b, port: 53, protocol: UDP, nodePort: 30053}"),
        service("lb", "LoadBalancer", "{name: a, port: 443}", "{name: b, port: 7, protocol: SCTP}"),
    )
    assert [(e.service.name, e.port.port, e.protocol) for e in found] == [
        ("np", 53, "UDP"),
        ("lb", 443, "TCP"),
        ("np", 80, "TCP"),
    ], "who asks for a number comes first"


def test_the_port_that_is_asked_for_is_tried_first() -> None:
    asked, balancer, chosen = find(
        service("a", "NodePort", "{port: 80, nodePort: 30080}"),
        service("b", "LoadBalancer", "{port: 80}"),
        service("c", "NodePort", "{port: 80}"),
    )
    assert asked.numbers[0] == 30080
    assert balancer.numbers[:2] == (8080, 18080)
    assert 30000 <= chosen.numbers[0] <= 32767
    assert asked.numbers[-1] == balancer.numbers[-1] == chosen.numbers[-1] == 0, "any, in the end"
    (again,) = find(service("c", "NodePort", "{port: 80}"))
    assert again.numbers == chosen.numbers, "the same each time"


def test_another_port_than_was_asked_for_is_a_problem() -> None:
    manifests = read(
        service("a", "NodePort", "{port: 80}", "{name: x, port: 81, nodePort: 30081}").replace(
            "{port: 80}", "{name: y, port: 80}"
        )
    )
    asked, free = find_node_ports(manifests)
    manifest = manifests[asked.service]
    assert asked.find_problem(30081, manifest) is None
    assert free.find_problem(31000, manifest) is None
    moved, none = asked.find_problem(8081, manifest), asked.find_problem(None, manifest)
    assert moved is not None
    assert none is not None
    assert (moved.field, moved.reason, moved.severity) == ("spec.ports[1].nodePort", "NodePortTaken", "warning")
    assert "it is published on 127.0.0.1:8081" in moved.message
    assert "it is not published" in none.message


ENTRY = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  ports: [{number: 5432, name: tcp-db, protocol: TCP}, {number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  resolution: DNS
"""
MACHINE = "{address: host.pilotfish.internal"


def test_a_service_entry_asks_for_ports_of_the_machine() -> None:
    assert find_machine_ports(read(ENTRY + f"  endpoints: [{MACHINE}}}]")) == {(5432, "TCP"), (8080, "TCP")}
    assert find_machine_ports(read(ENTRY + f"  endpoints: [{MACHINE}, ports: {{http: 8081}}}}]")) == {
        (5432, "TCP"),
        (8081, "TCP"),
    }
    assert find_machine_ports(read(ENTRY + "  endpoints: [{address: db.internal}]")) == frozenset()
    assert find_machine_ports(read(ENTRY)) == frozenset()


def test_so_does_a_workload_entry_that_one_selects() -> None:
    entry = ENTRY + "  workloadSelector: {labels: {app: db}}\n"
    workload = (
        "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: db, namespace: NS}\n"
        f"spec: {MACHINE}, labels: {{app: APP}}, ports: {{tcp-db: 5433}}}}\n"
    )
    mine = workload.replace("NS", "default").replace("APP", "db")
    assert find_machine_ports(read(entry + mine)) == {(5433, "TCP"), (8080, "TCP")}
    assert not find_machine_ports(read(entry + mine.replace("namespace: default", "namespace: other")))
    assert not find_machine_ports(read(entry + workload.replace("NS", "default").replace("APP", "web")))
    assert not find_machine_ports(read(ENTRY + mine)), "nobody selects it"
