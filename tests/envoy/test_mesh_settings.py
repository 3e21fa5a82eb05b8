"""What the meshConfig says of connections to services, as servers and the kernel see it; DestinationRules prevail."""

from __future__ import annotations

import json
import subprocess

from tests.envoy.conftest import LiveEnvoy, Start
from tests.envoy.wire import start_wire

MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    tcpKeepalive: {time: 77s, probes: 3}
    h2UpgradePolicy: UPGRADE
    defaultHttpRetryPolicy: {attempts: 1, retryOn: 5xx}
---
"""
SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}.example.com]
  addresses: [10.96.1.{index}]
  resolution: STATIC
  ports: [{{number: 80, name: a, protocol: {protocol}, targetPort: 8080}}]
  endpoints: [{{address: 10.245.1.2}}]
---
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec: {{host: {name}.example.com, trafficPolicy: {{connectionPool: {pool}}}}}
---
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: kept, namespace: vm}
spec: {hosts: [kept.example.com], http: [{RETRIES route: [{destination: {host: kept.example.com}}]}]}
---
"""
POOLS = {
    "plain": "",
    "declined": "{http: {h2UpgradePolicy: DO_NOT_UPGRADE}}",
    "kept": "{tcp: {tcpKeepalive: {time: 177s}}, http: {h2UpgradePolicy: DO_NOT_UPGRADE}}",
    "tcp": "",
}


def test_the_mesh_speaks_where_no_rule_does(start: Start) -> None:
    text = MESH
    for index, (name, pool) in enumerate(POOLS.items(), 1):
        text += SERVICE.format(name=name, index=index, protocol="TCP" if name == "tcp" else "HTTP")
        text += RULE.format(name=name, pool=pool) if pool else ""
    live = start(text)
    start_wire(live, "10.245.1.2", 8080, "wire")
    spoken = {name: _protocol(live, index, name) for index, name in enumerate(POOLS, 1)}
    assert spoken == {"plain": "2", "declined": "1", "kept": "1", "tcp": "1"}
    command = ["ip", "netns", "exec", live.netns, "ss", "-Htno", "state", "established", "dport", "=", ":8080"]
    sockets = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert sockets.count("timer:(keepalive,1min") == 2, sockets
    assert sockets.count("timer:(keepalive,2min") == 1, sockets


def test_routes_that_say_nothing_of_retries_do_as_the_mesh_says(start: Start) -> None:
    text = MESH + ROUTE.replace("RETRIES", "")
    for index, name in enumerate(("declined", "kept"), 2):
        text += SERVICE.format(name=name, index=index, protocol="HTTP") + RULE.format(name=name, pool=POOLS[name])
    live = start(text)
    start_wire(live, "10.245.1.2", 8080, "wire")
    failed = []
    for index, name in ((2, "declined"), (3, "kept")):
        assert "503" in live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com", "/fail/0")
        failed.append(live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com", "/count")[-1])
    assert failed == ["2", "4"], "each once more"


def _protocol(live: LiveEnvoy, index: int, name: str) -> str:
    body = live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com").partition("\n\n")[2]
    return str(json.loads(body[body.index("{") : body.rindex("}") + 1])["protocol"])
