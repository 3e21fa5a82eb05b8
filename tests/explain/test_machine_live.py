"""One real Envoy for the pods of a machine: what explain says of its dump, for each pod, is what it does."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from pilotfish.capture import ALL, CaptureSpec, RuleSet, rules
from pilotfish.explain.ask import Ask, parse
from pilotfish.explain.held import Held
from pilotfish.explain.scene import Family, Scene, Station
from pilotfish.explain.trace import End, Outcome, Stage
from pilotfish.explain.walk import explain
from pilotfish.model.names import NameTable
from tests.envoy.calls import call
from tests.envoy.machine import Machine

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"), pytest.mark.timeout(90)]

MESH = """
apiVersion: v1
kind: Service
metadata: {name: called, namespace: vm}
spec: {clusterIP: 10.96.0.10, selector: {app: called}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: hidden, namespace: vm, annotations: {networking.istio.io/exportTo: "."}}
spec: {clusterIP: 10.96.0.11, selector: {app: called}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: bytes, namespace: vm}
spec: {clusterIP: 10.96.0.12, selector: {app: called}, ports: [{name: tcp, port: 81, targetPort: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: called, namespace: shop}
spec: {clusterIP: 10.96.0.20, selector: {app: nobody}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: but-two, namespace: vm}
spec:
  selector: {matchLabels: {app: called}}
  action: DENY
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/two]}}]
    to: [{operation: {paths: [/guarded], ports: ["8080"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: called, namespace: vm}
spec:
  hosts: [called.vm.svc.cluster.local]
  http:
  - match: [{uri: {prefix: /gone}}]
    directResponse: {status: 410}
  - route: [{destination: {host: called.vm.svc.cluster.local}}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow, namespace: shop}
spec:
  workloadSelector: {labels: {app: narrow}}
  egress: [{hosts: ["./*"]}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
"""
PODS: Final = {"one-0.vm": 2, "two-0.shop": 3, "called-0.vm": 4, "narrow-0.shop": 5}
_EVERYTHING = CaptureSpec(inbound_ports_include=ALL, outbound_ip_ranges_include=ALL, enable_ipv6=True)


@dataclass(frozen=True, slots=True)
class Asked:
    address: str
    port: int = 80
    host: str = ""
    path: str = "/"

    @property
    def ask(self) -> Ask:
        return parse(f"http://{self.address}:{self.port}{self.path}", headers=(f"Host: {self.host}",))

    @property
    def sent(self) -> str:
        return f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n"


ASKED: Final = (
    *(Asked("10.96.0.10", host=host) for host in ("called", "called.vm", "called.shop")),
    *(Asked("10.96.0.20", host=host) for host in ("called", "called.vm")),
    Asked("10.96.0.11", host="hidden"),
    Asked("10.96.0.11", host="hidden.vm"),
    Asked("10.96.0.10", host="called.vm", path="/gone"),
    Asked("10.96.0.10", host="called.vm", path="/guarded"),
    Asked("10.96.0.12", 81, "bytes"),
)
NARROW: Final = (*ASKED, Asked("10.96.0.99", 80, "nobody"), Asked("10.96.0.99", 8089, "nobody"))
"""Of who is let go nowhere else: others wait there for nobody, as the kernel says only now and then that nobody is."""


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with Machine.running(tmp_path, MESH) as made:
        for pod, number in PODS.items():
            await made.add_pod(pod, number, {"app": pod.partition("-")[0]})
        await made.app("called-0.vm", 8080, "called")
        await made.app("called-0.vm", 9090, "called")
        yield made


def build_scene(machine: Machine) -> Scene:
    """Of what its Envoy says."""
    held = Held.of_dump(
        json.loads(machine.get("/config_dump?include_eds")), json.loads(machine.get("/clusters?format=json"))
    )
    return Scene({pod: _station(machine, pod, held) for pod in PODS}, describe_closed="nobody has {}".format)


def _station(machine: Machine, pod: str, held: Held) -> Station:
    name, _, namespace = pod.partition(".")

    def ruled(family: Family) -> RuleSet:
        return rules(_EVERYTHING, family)

    return Station(
        pod,
        namespace,
        (machine.address(PODS[pod]),),
        captured=True,
        _rules=ruled,
        _held=lambda: held,
        _names=lambda: NameTable("none"),
        _listening=lambda: {("0.0.0.0", 8080), ("0.0.0.0", 9090)} if name == "called-0" else set(),
        machine="machine-0",
        netns=str(machine.netns(pod).path),
        _identity=lambda: f"spiffe://cluster.local/ns/{namespace}/sa/{name.removesuffix('-0')}",
    )


def told(outcome: Outcome) -> str:
    """As the client sees it."""
    if outcome.kind is End.DELIVERED and outcome.pod:
        return f"200 {outcome.pod}"
    return str(outcome.status) if outcome.status is not None else "nothing"


async def seen(machine: Machine, pod: str, asked: Asked) -> str:
    try:
        answer, _ = await asyncio.to_thread(
            call, machine.netns(pod).name, asked.address, asked.port, [(0.0, asked.sent)]
        )
    except OSError:
        return "nothing"
    status = re.match(r"HTTP/1.1 (\d+)", answer)
    return "200 called-0.vm" if "called GET" in answer else status[1] if status is not None else "nothing"


async def test_each_pod_gets_what_is_foretold(machine: Machine) -> None:
    scene = build_scene(machine)
    kinds: dict[str, set[str]] = {}
    for pod in PODS:
        for asked in NARROW if pod == "narrow-0.shop" else ASKED:
            trace = explain(scene, scene.stations[pod], asked.ask)
            assert all(outcome.kind is not End.UNKNOWN for outcome in trace.outcomes), (pod, asked, trace.outcomes)
            (foretold,) = {told(outcome) for outcome in trace.outcomes}
            assert await seen(machine, pod, asked) == foretold, (pod, asked, trace)
            kinds.setdefault(pod, set()).add(foretold)
    assert kinds["one-0.vm"] >= {"200 called-0.vm", "410"}
    assert "403" in kinds["two-0.shop"]
    assert "403" not in kinds["one-0.vm"]
    assert "502" in kinds["narrow-0.shop"]


async def test_what_it_opens_is_opened_in_the_pod_with_its_certificate(machine: Machine) -> None:
    scene = build_scene(machine)
    for pod in ("one-0.vm", "two-0.shop"):
        trace = explain(scene, scene.stations[pod], Asked("10.96.0.10", host="called.vm").ask)
        netns = str(machine.netns(pod).path)
        (endpoint, inbound), (shown, expected) = trace.at(Stage.ENDPOINT), trace.at(Stage.TLS)
        assert endpoint.evidence["opened_in"] == shown.evidence["certificate"] == netns
        assert (
            inbound.evidence["opened_in"] == expected.evidence["certificate"] == str(machine.netns("called-0.vm").path)
        )
        assert {step.machine for step in trace.steps if step.stage in (Stage.LISTENER, Stage.ENDPOINT)} == {"machine-0"}
