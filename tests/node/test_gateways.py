"""Which gateways the mesh runs itself."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import Deployment, Service
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import DEPLOYMENT, SERVICE, SERVICE_ACCOUNT
from pilotfish.node.gateways import find_problems, with_gateways

Manifests = Mapping[ObjectRef, Manifest]
INGRESS = DEPLOYMENT.ref("istio-system", "istio-ingressgateway")


def gateway(name: str, selector: str, *ports: int, namespace: str = "default") -> str:
    servers = ", ".join(f'{{port: {{number: {p}, name: p{p}, protocol: HTTP}}, hosts: ["*"]}}' for p in ports or (80,))
    return f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {selector}, servers: [{servers}]}}
"""


def deployment(name: str, labels: str, namespace: str = "default", image: str = "auto") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {labels}}}
  template:
    metadata: {{labels: {labels}, annotations: {{inject.istio.io/templates: gateway}}}}
    spec: {{containers: [{{name: istio-proxy, image: {image}}}]}}
"""


def read(*documents: str) -> Manifests:
    loaded = load("\n---\n".join(documents), "mesh.yaml")
    assert not loaded.problems
    return {manifest.ref: manifest for manifest in loaded.manifests}


def completed(manifests: Manifests) -> Manifests:
    return with_gateways(manifests, MeshConfig())


def made(manifests: Manifests) -> set[str]:
    """`NAMESPACE/NAME` of the Deployments that are added."""
    added = completed(manifests).keys() - manifests.keys()
    return {f"{ref.namespace}/{ref.name}" for ref in added if ref.kind is DEPLOYMENT}


def ports(manifests: Manifests, ref: ObjectRef) -> list[int]:
    service = manifests[ref].resource
    assert isinstance(service, Service)
    return [port.port for port in service.spec.ports]


@pytest.mark.parametrize(
    ("documents", "names"),
    [
        ([], set()),
        ([gateway("shop", "{istio: ingressgateway}")], {"istio-system/istio-ingressgateway"}),
        ([gateway("shop", "{app: istio-ingressgateway}")], {"istio-system/istio-ingressgateway"}),
        ([gateway("shop", "{}")], {"istio-system/istio-ingressgateway"}),
        ([gateway("out", "{istio: egressgateway}")], {"istio-system/istio-egressgateway"}),
        ([gateway("shop", "{app: edge}", namespace="vm")], {"vm/shop"}),
        ([gateway("a", "{app: edge}"), gateway("b", "{app: edge, tier: one}")], {"default/b"}),
        ([gateway("7.shop", "{app: edge}")], {"default/gateway-7-shop"}),
        ([gateway("shop", "{app: edge}"), deployment("edge", "{app: edge}", "other")], set()),
        ([gateway("shop", "{}"), deployment("edge", "{app: edge}")], set()),
        ([gateway("shop", "{}"), deployment("edge", "{app: edge}").replace("Deployment", "DaemonSet")], set()),
        ([gateway("shop", "{istio: ingressgateway}"), gateway("out", "{istio: egressgateway}")],
         {"istio-system/istio-ingressgateway", "istio-system/istio-egressgateway"}),
    ],
)  # fmt: skip
def test_a_gateway_is_made_where_no_pod_is_selected(documents: list[str], names: set[str]) -> None:
    assert made(read(*documents)) == names


def test_it_has_a_service_with_the_ports_of_all_gateways_that_select_it() -> None:
    given = read(
        gateway("shop", "{istio: ingressgateway}", 443, 80),
        gateway("other", "{app: istio-ingressgateway}", 80, 9000, namespace="vm"),
        gateway("out", "{istio: egressgateway}", 81),
    )
    complete = completed(given)
    assert ports(complete, SERVICE.ref("istio-system", "istio-ingressgateway")) == [80, 443, 9000]
    assert SERVICE_ACCOUNT.ref("istio-system", "istio-ingressgateway") in complete
    assert complete[INGRESS].source == given[next(iter(given))].source, "who asks where it comes from finds the Gateway"


def test_what_is_made_follows_the_gateways_and_goes_with_the_last_one() -> None:
    one, two = gateway("one", "{istio: ingressgateway}", 80), gateway("two", "{istio: ingressgateway}", 81)
    before = completed(read(one))
    assert completed(before) is before
    both = completed({**before, **read(two)})
    assert both[INGRESS] is before[INGRESS], "its pods stay"
    assert ports(both, SERVICE.ref("istio-system", "istio-ingressgateway")) == [80, 81]
    assert completed({ref: each for ref, each in both.items() if ref not in read(one, two)}) == {}


def test_an_object_of_the_users_takes_the_place_of_one_that_is_made() -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}
"""
    given = {**completed(read(gateway("shop", "{istio: ingressgateway}", 8080))), **read(service)}
    complete = completed(given)
    assert ports(complete, SERVICE.ref("istio-system", "istio-ingressgateway")) == [80]
    assert isinstance(complete[INGRESS].resource, Deployment)


def test_a_gateway_that_selects_an_app_is_told_that_nobody_listens() -> None:
    app = (
        deployment("web", "{app: web}")
        .replace("inject.istio.io/templates: gateway", "")
        .replace("image: auto", "command: [run]")
        .replace("istio-proxy", "web")
    )
    (problem,) = find_problems(read(gateway("shop", "{app: web}"), app))
    assert (problem.reason, problem.field) == ("NoGateway", "spec.selector")
    assert "Deployment default/web" in problem.message
    assert not find_problems(read(gateway("shop", "{app: web}"), deployment("web", "{app: web}")))
    assert not find_problems(read(gateway("shop", "{istio: ingressgateway}"), app))


def test_a_pod_of_a_gateway_that_the_mesh_made_is_no_reason_to_make_none() -> None:
    """As a running mesh lists both."""
    before = completed(read(gateway("edge", "{istio: ingressgateway}")))
    owner = "{apiVersion: apps/v1, kind: ReplicaSet, name: istio-ingressgateway-29xkrmh, uid: x}"
    pod = f"""
apiVersion: v1
kind: Pod
metadata:
  name: istio-ingressgateway-29xkrmh-abcde
  namespace: istio-system
  labels: {{istio: ingressgateway, app: istio-ingressgateway}}
  annotations: {{inject.istio.io/templates: gateway}}
  ownerReferences: [{owner}]
spec: {{containers: [{{name: istio-proxy, image: auto}}]}}
"""
    assert completed({**before, **read(pod)}).keys() > before.keys() >= {INGRESS}
    without = pod.replace(f"ownerReferences: [{owner}]", "generateName: x")
    assert INGRESS not in completed({**before, **read(without)})
