"""`pilotfish test --on-envoy`: the cases of a file hold, or not, in a mesh of real Envoys as they do without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.runtime.linux.netns import list_names
from tests.e2e.harness import CALCULATOR, PILOTFISH, run

POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: vm}}
spec:
  selector: {{matchLabels: {{app: {app}, version: {version}}}}}
  template:
    metadata: {{labels: {{app: {app}, version: {version}}}, annotations: {annotations}}}
    spec: {{containers: [{{name: app, image: example.com/not-there, command: [/nowhere/app]}}]}}
---
"""
BARE = "{sidecar.istio.io/inject: 'false'}"
MESH = (
    POD.format(name="web-v1", app="web", version="v1", annotations="{}")
    + POD.format(name="web-v2", app="web", version="v2", annotations="{}")
    + POD.format(name="client", app="client", version="v1", annotations="{}")
    + POD.format(name="bare", app="bare", version="v1", annotations=BARE)
    + """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 90}, {name: http2, port: 84, targetPort: 8084}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: vm}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: vm}
spec:
  hosts: [web, shop.example.com]
  gateways: [mesh, edge]
  http:
  - match: [{headers: {user: {exact: jason}}}]
    route: [{destination: {host: web, subset: v2, port: {number: 80}}}]
  - match: [{uri: {prefix: /v3}}]
    route: [{destination: {host: web, subset: v3, port: {number: 80}}}]
  - match: [{uri: {prefix: /half}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 50}}}
    route: [{destination: {host: web, subset: v1, port: {number: 80}}}]
  - match: [{uri: {prefix: /split}}]
    route:
    - {destination: {host: web, subset: v1, port: {number: 80}}, weight: 90}
    - {destination: {host: web, subset: v2, port: {number: 80}}, weight: 10}
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: vm}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
"""
)
CASES = """
manifests: [mesh.yaml]
namespace: vm
cases:
- {name: a header, from: deploy/client, to: "http://web/", headers: {user: jason},
   expect: {pod: web-v2-*, cluster: "outbound|80|v2|web.vm.svc.cluster.local"}}
- {name: no endpoint, from: deploy/client, to: "http://web/v3",
   expect: {status: 503, flag: UH, pod: client-*}}
- {name: no route, from: deploy/client, to: "http://web/none",
   expect: {kind: response, status: 404, flag: NR}}
- {name: a fault, from: deploy/client, to: "http://web/half",
   expect: [{status: 418, flag: FI, probability: 0.5}, {pod: web-v1-*}]}
- {name: weights, from: deploy/client, to: "http://web/split",
   expect: [{pod: web-v1-*, probability: 0.9}, {pod: web-v2-*}]}
- {name: a redirect, from: deploy/client, to: "http://web/old",
   expect: {kind: response, status: 301}}
- {name: tcp, from: deploy/client, to: "web:90",
   expect: {kind: delivered, pod: web-*, cluster: "outbound|90||*"}}
- {name: http2, from: deploy/client, to: "http://web:84/split", http2: true,
   expect: [{pod: web-v1-*}, {pod: web-v2-*}]}
- {name: a wrong port, from: deploy/client, to: "tcp://web:9999",
   expect: {kind: reset, flag: UF, cluster: PassthroughCluster}}
- {name: no name, from: deploy/client, to: "http://nobody.vm.svc.cluster.local/",
   expect: {kind: refused}}
- {name: without a sidecar, from: deploy/bare, to: "http://web/v3",
   expect: {kind: delivered, pod: web-*}}
- {name: from outside, from: outside, to: "http://shop.example.com/", headers: {user: jason},
   expect: {pod: web-v2-*, cluster: "outbound|80|v2|*"}}
- {name: nobody at the gateway, from: outside, to: "http://other.example.com/",
   expect: {status: 404, flag: NR, pod: istio-ingressgateway-*}}
"""
WRONG = """
manifests: [mesh.yaml]
namespace: vm
cases:
- {name: not all of it, from: deploy/client, to: "http://web/split",
   expect: {pod: web-v1-*}}
- {name: what never is, from: deploy/client, to: "http://web/v3",
   expect: [{status: 503}, {kind: delivered}]}
- {name: nobody, from: nobody, to: "http://web/",
   expect: {}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "mesh.yaml").write_text(MESH)
    (tmp_path / "ways.yaml").write_text(CASES)
    (tmp_path / "wrong.yaml").write_text(WRONG)
    yield tmp_path
    # Of a command that was given up.
    for left in (tmp_path / "state").glob("*/mesh.json"):
        run(PILOTFISH, "down", "--name", left.parent.name, check=False, env=environment(tmp_path))


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PILOTFISH_STATE": str(folder / "state"), "NO_COLOR": "1"}


def call(folder: Path, *arguments: str | Path) -> str:
    return run(PILOTFISH, "test", *arguments, check=False, env=environment(folder), cwd=folder, timeout=100).stdout


def test_what_holds_without_envoy_holds_on_envoy(folder: Path) -> None:
    before = list_names("pf-test-")
    assert call(folder, "ways.yaml") == "13 passed, 0 failed\n"
    assert call(folder, "ways.yaml", "--on-envoy") == "13 passed, 0 failed\n"
    assert set(list_names("pf-test-")) <= set(before)
    assert not list((folder / "state").glob("test-*"))


def test_what_does_not_hold_is_said_alike(folder: Path) -> None:
    without, on_envoy = call(folder, "wrong.yaml"), call(folder, "wrong.yaml", "--on-envoy")
    for said in (without, on_envoy):
        assert "it also ends so: kind=delivered pod=web-v2-" in said
        assert "it never ends so: kind=delivered" in said
        assert 'there is no pod "nobody"' in said
        assert said.endswith("0 passed, 3 failed\n")


def test_the_example_holds(folder: Path) -> None:
    assert call(folder, CALCULATOR / "ways" / "calculator.yaml", "--on-envoy") == "2 passed, 0 failed\n"
