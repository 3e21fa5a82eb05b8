"""Pods that their machine's one proxy serves: from manifests, the ways of requests are those that they have with
sidecars, and so is whose each step is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from pilotfish.config.kubernetes import Pod, Service
from pilotfish.config.proxying import NODE, OF_MESH
from pilotfish.envoy.naming import usual_name
from pilotfish.explain.ask import Ask, parse
from pilotfish.explain.report import build_report
from pilotfish.explain.scene import Scene
from pilotfish.explain.trace import Outcome, Trace
from pilotfish.explain.walk import explain
from pilotfish.offline.difference import compare
from pilotfish.offline.owners import find_owners, locate_in
from pilotfish.offline.reading import read
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import World, build

EXAMPLES = Path(__file__).parents[2] / "examples"
STORIES = sorted(path.name for path in (EXAMPLES / "stories").iterdir() if path.is_dir())
FOLDERS = ("bookshop", "calculator", "payroll", "shop", *(f"stories/{name}" for name in STORIES))
SERVED = ("ask-0.vm", "db-0.vm", "web-0.vm")
TWO_SCOPES = """
apiVersion: v1
kind: Namespace
metadata: {name: vm, annotations: {pilotfish.io/proxy: node}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec: {clusterIP: 10.96.0.9, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: vm}
spec: {selector: {app: db}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow, namespace: vm}
spec:
  workloadSelector: {labels: {app: db}}
  egress: [{hosts: [./db.vm.svc.cluster.local]}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: vm, labels: {app: web}}
spec: {containers: [{name: web, command: [web]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ask-0, namespace: vm, labels: {app: ask}}
spec: {containers: [{name: ask, command: [ask]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: vm, labels: {app: db}}
spec: {containers: [{name: db, command: [db]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: own-0, namespace: vm, labels: {app: own}, annotations: {pilotfish.io/proxy: sidecar}}
spec: {containers: [{name: own, command: [own]}]}
"""


def both(folder: str) -> tuple[World, World]:
    """The manifests with sidecars, and with one proxy for all pods."""
    desired = read([(str(path), path.read_text()) for path in sorted((EXAMPLES / folder).glob("*.yaml"))], "default")
    of_proxies = desired.mesh_config.default_config
    asked = structs.replace(of_proxies, proxy_metadata={**of_proxies.proxy_metadata, OF_MESH: NODE})
    shared = replace(desired, mesh_config=structs.replace(desired.mesh_config, default_config=asked))
    return build(desired), build(shared)


def asks(world: World) -> Iterator[Ask]:
    for ref, manifest in sorted(world.mesh.desired.manifests.items()):
        if isinstance(manifest.resource, Service):
            for port in manifest.resource.spec.ports:
                place = f"{ref.name}.{ref.namespace}:{port.port}"
                yield parse(f"http://{place}/add", headers=("end-user: jason",))
                yield parse(f"http://{place}/", http2=True)
                yield parse(f"https://{place}/")
                yield parse(place)
                yield parse(place, server_first=True)
        if isinstance(manifest.resource, Pod):
            for number in (80, 8000, 8888, 15001, 15006):
                yield parse(f"http://{manifest.resource.status.pod_ip}:{number}/")
    yield parse("http://nobody.example.com/", resolve={("nobody.example.com", 80): "192.0.2.1"})
    yield parse("192.0.2.1:443", tls=True, sni="nobody.example.com")


def told(world: World, scene: Scene, pod: str, ask: Ask) -> tuple[Counter[object], set[str]]:
    """How it ends, and whose its steps are."""
    trace = explain(scene, scene.stations[pod], ask)
    owners = find_owners(world, trace, locate_in(world))
    return Counter(map(end, trace.outcomes)), set(map(str, owners.values()))


def walk(world: World, pod: str, url: str) -> Trace:
    scene = build_scene(world)
    return explain(scene, scene.stations[pod], parse(url))


def end(outcome: Outcome) -> object:
    cluster = usual_name(outcome.cluster)
    who = (cluster, outcome.endpoint, outcome.pod, outcome.cause, round(outcome.probability, 6))
    return outcome.kind, outcome.status, outcome.flag, outcome.failure, *who


@pytest.mark.parametrize("folder", FOLDERS)
def test_requests_end_as_with_sidecars(folder: str) -> None:
    own, shared = both(folder)
    assert set(shared.machines) == {name for name, each in shared.sidecars.items() if each.capture is not None}
    scenes = build_scene(own), build_scene(shared)
    for pod in list(shared.machines)[:3]:
        for ask in asks(shared):
            assert told(shared, scenes[1], pod, ask) == told(own, scenes[0], pod, ask), (pod, ask)


def test_who_sees_less_is_led_to_chains_of_its_own() -> None:
    world = build(read([("mesh.yaml", TWO_SCOPES)], "vm"))
    assert {name: proxy.name for name, proxy in world.machines.items()} == dict.fromkeys(SERVED, "local")
    ends = {pod: walk(world, pod, "http://10.96.0.9/").outcomes[0] for pod in ("ask-0.vm", "db-0.vm")}
    assert (ends["ask-0.vm"].kind, ends["ask-0.vm"].pod) == ("delivered", "web-0.vm")
    assert (ends["db-0.vm"].kind, ends["db-0.vm"].status, ends["db-0.vm"].machine) == ("response", 502, "local")


def test_the_machine_is_named_at_the_steps_of_its_proxy_and_nowhere_else() -> None:
    world = build(read([("mesh.yaml", TWO_SCOPES)], "vm"))
    trace = walk(world, "web-0.vm", "http://db/")
    of_proxy = {step.stage for step in trace.steps if step.machine == "local"}
    assert {"listener", "filter_chain", "route", "cluster"} <= of_proxy
    assert not of_proxy & {"dns", "netfilter", "app"}
    report = build_report("web-0.vm", parse("http://db/"), trace, {})
    assert [leg.machine for leg in report.walk() if leg.stops] == ["local", "local"]
    refused = walk(world, "own-0.vm", "http://db/")
    assert {step.machine for step in refused.steps if step.pod == "own-0.vm"} == {""}


def test_a_difference_is_that_of_the_machines_proxy() -> None:
    before = build(read([("mesh.yaml", TWO_SCOPES)], "vm"))
    more = TWO_SCOPES.replace("selector: {app: web}, ports: [", "selector: {app: web}, ports: [{name: tcp, port: 90}, ")
    found = compare(before, build(read([("mesh.yaml", more)], "vm"))).proxies
    changed = {name: {(each.type, each.name) for each in changes} for names, changes in found for name in names}
    assert set(changed) == {"local.istio-system", "own-0.vm"}
    assert ("listener", "virtualInbound~web-0.vm") in changed["local.istio-system"]
    assert not any(name.endswith("~db-0.vm") for _, name in changed["local.istio-system"])
