"""Discovery says whose the steps of a way are, of a mesh that it serves."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from pilotfish.explain.ask import parse
from pilotfish.explain.trace import Trace
from pilotfish.explain.walk import explain
from pilotfish.explain.wire import decode, encode
from pilotfish.model import FieldRef
from pilotfish.offline.owners import find_fields
from pilotfish.offline.reading import read
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import World, build
from pilotfish.runtime.discovery.owners import Served, find
from tests.manifests import save
from tests.runtime.discovery_client import discovery

MESH = """\
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: vm, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "90"}}
spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: vm, labels: {app: web}}
spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: tcp, port: 90}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: vm}
spec: {host: web, subsets: [{name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: vm}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /old}}]
    route: [{destination: {host: web, subset: v2}}]
  - route: [{destination: {host: web}}]
"""


def way(world: World, to: str) -> Trace:
    scene = build_scene(world)
    return explain(scene, scene.stations["client.vm"], parse(to))


@pytest.mark.parametrize("to", ["http://web/old", "http://web/", "http://web.other/", "web:90", "10.1.2.3:90"])
def test_it_tells_the_same_as_manifests_do(to: str) -> None:
    world = build(read([("mesh.yaml", MESH)]))
    trace = way(world, to)
    told = find(Served(world.mesh, world.proxies), encode(trace))
    assert {each.step: FieldRef(each.ref, each.field) for each in told} == find_fields(world, trace)
    assert told or to == "http://web.other/"


def test_a_way_arrives_as_it_was_sent() -> None:
    trace = way(build(read([("mesh.yaml", MESH)])), "http://web/old")
    assert encode(decode(encode(trace))) == encode(trace)
    assert decode(encode(trace)).outcomes == trace.outcomes


async def test_what_is_no_way_is_refused(tmp_path: Path) -> None:
    """A way whose steps lead in a circle would be followed for ever, and discovery serves others meanwhile."""
    save(file := tmp_path / "mesh.yaml", MESH)
    good = encode(way(build(read([("mesh.yaml", MESH)])), "http://web/"))
    circle = json.loads(good)
    circle["steps"][0]["parent"] = len(circle["steps"]) - 1
    async with discovery(file) as made, aiohttp.ClientSession() as http:
        for body, status, said in (
            (good, 200, "["),
            (json.dumps(circle).encode(), 400, "steps[0] has the id 0 and the parent"),
            (b"{}", 400, "missing required field `steps`"),
            (b"\xff", 400, "give the way of a request"),
        ):
            async with http.post(f"http://{made.monitoring}/api/owners", data=body) as response:
                assert response.status == status
                assert said in await response.text()
