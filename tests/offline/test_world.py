"""The mesh that manifests would make, without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotfish.envoy.types import CLUSTER, ENDPOINT
from pilotfish.offline.proxies import parse_description
from pilotfish.offline.reading import read
from pilotfish.offline.rendering import render
from pilotfish.offline.world import World, build

CALCULATOR = Path(__file__).parents[2] / "examples" / "calculator" / "mesh.yaml"
V1 = "outbound|8888|v1|calculator.vm.svc.cluster.local"


@pytest.fixture(scope="module")
def world() -> World:
    return build(read([("mesh.yaml", CALCULATOR.read_text())]))


def test_every_pod_has_a_proxy_with_an_address_of_its_own(world: World) -> None:
    (webapp,) = world.find("webapp-0", "vm")
    (v1,) = world.find("deploy/calculator-v1.vm", "default")
    (v2,) = world.find("calculator-v2", "vm")
    assert str(webapp) == "webapp-0.vm"
    assert v1.name.startswith("calculator-v1-")
    assert len({webapp.addresses, v1.addresses, v2.addresses}) == len(world.proxies) == 3
    assert world.find("nobody", "vm") == ()
    assert world.find("pod/calculator-v1", "vm") == ()


def test_a_proxy_is_sent_the_endpoints_of_the_planned_pods(world: World) -> None:
    (webapp,) = world.find("webapp-0.vm", "default")
    (v1,) = world.find("calculator-v1", "vm")
    resources = world.mesh.resources(webapp)
    assert resources.get(CLUSTER, V1) is not None
    found = {each["cluster_name"]: each for each in render(resources, "endpoints")["endpoints"]}
    (group,) = found[V1]["endpoints"]
    (endpoint,) = group["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": v1.addresses[0], "port_value": 8888}


def test_pods_that_are_written_are_not_planned_again() -> None:
    owned = """
apiVersion: v1
kind: Pod
metadata:
  name: a-12-x
  namespace: vm
  labels: {app: a}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: a-12}]
spec: {containers: [{name: a, command: [a]}]}
status: {podIP: 10.244.0.2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: vm}
spec:
  selector: {matchLabels: {app: a}}
  template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, command: [a]}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: vm}
spec: {containers: [{name: a, command: [a]}]}
"""
    world = build(read([("a.yaml", owned)]))
    assert {name: proxy.addresses for name, proxy in world.proxies.items()} == {
        "a-12-x.vm": ("10.244.0.2",),
        "b.vm": ("10.244.0.3",),
    }


def test_a_pod_that_wants_no_sidecar_has_no_proxy() -> None:
    plain = "{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {sidecar.istio.io/inject: 'false'}},"
    world = build(read([("a.yaml", plain + " spec: {containers: [{name: a, command: [a]}]}}")]))
    assert world.proxies == {}


def test_a_given_mesh_config_wins_over_one_among_the_manifests() -> None:
    text = CALCULATOR.read_text()
    world = build(read([("a.yaml", text)], mesh_config=("m.yaml", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}")))
    (webapp,) = world.find("webapp-0", "vm")
    assert '"block_all"' in repr(render(world.mesh.resources(webapp))).replace("'", '"')
    assert [problem.reason for problem in world.problems] == ["DuplicateMeshConfig"]


def test_a_proxy_that_no_manifest_has_is_described(world: World) -> None:
    proxy = parse_description("{name: x.other, namespace: other, ip: 10.9.9.9, metadata: {INTERCEPTION_MODE: TPROXY}}")
    assert (str(proxy), proxy.addresses, proxy.transparent) == ("x.other", ("10.9.9.9",), True)
    assert V1 in {resource.name for resource in world.mesh.resources(proxy).resources(ENDPOINT)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{name: x}", "no address"),
        ("{ip: 10.0.0.1, type: ferry}", "'ferry'"),
        ("{ip: 10.0.0.1, lables: {}}", "lables"),
        ("[", "no description"),
        ("", "no description"),
    ],
)
def test_a_description_that_is_none_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_description(text)


def test_a_proxy_config_is_in_force_for_the_pods_that_it_selects() -> None:
    config = """
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: fast, namespace: vm}
spec: {selector: {matchLabels: {app: webapp}}, concurrency: 3}
"""
    world = build(read([("mesh.yaml", CALCULATOR.read_text() + config)]))
    concurrency = {name.partition("-")[0]: each.proxy_config.concurrency for name, each in world.sidecars.items()}
    assert concurrency == {"webapp": 3, "calculator": None}


KINDS = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: a, command: [a]}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec:
  selector: {matchLabels: {app: each}}
  template: {metadata: {labels: {app: each}}, spec: {containers: [{name: a, command: [a]}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  parallelism: 2
  completions: 3
  template: {spec: {restartPolicy: Never, containers: [{name: a, command: [a]}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "@hourly"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, command: [a]}]}}}}
"""


def test_pods_of_every_kind_are_planned_under_the_names_that_they_would_have() -> None:
    world = build(read([("a.yaml", KINDS)]))
    assert world.problems == ()
    assert world.find_pods("sts/db", "default") == ("db-0.default", "db-1.default")
    (db,) = world.find("db-1", "default")
    assert db.labels["statefulset.kubernetes.io/pod-name"] == "db-1"
    for word, count in (("ds/each", 1), ("job/once", 2), ("cronjob/tick", 1)):
        found = world.find(word, "default")
        assert [proxy.name.startswith(word.partition("/")[2]) for proxy in found] == [True] * count, word
    names = world.mesh.names(db)
    assert names.records["db-1.db.default.svc.cluster.local"] == db.addresses
    (tick,) = world.find_pods("cj/tick", "default")
    assert str(world.sidecars[tick].metadata["OWNER"]).endswith("/namespaces/default/cronjobs/tick")
