"""The ports of gateways, and how to try them."""

from __future__ import annotations

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import Service
from pilotfish.config.mesh import MeshConfig
from pilotfish.model.kinds import SERVICE
from pilotfish.node.entrances import Entrance, Trial, find_entrances, host_ports, leads_to
from pilotfish.node.gateways import with_gateways
from pilotfish.node.publish import Publish

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*.example.com", ./shop.io]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: x}}
  - {port: {number: 444, name: tls, protocol: TLS}, hosts: ["*"], tls: {mode: PASSTHROUGH}}
  - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ["*"]}
"""
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [{hosts}]
  gateways: [default/shop]
  {routes}
"""
HTTP = "http: [{{match: [{match}], route: [{{destination: {{host: web}}}}]}}]"


def entrances(*documents: str) -> dict[int, Entrance]:
    loaded = load("\n---\n".join(documents), "mesh.yaml")
    assert not [p for p in loaded.problems if p.severity == "error"]
    found = find_entrances(with_gateways({m.ref: m for m in loaded.manifests}, MeshConfig()), MeshConfig())
    return {each.port: each for each in found}


def test_a_port_that_its_pod_alone_reaches_is_not_published() -> None:
    bound = GATEWAY.replace("{port: {number: 80,", "{bind: 127.0.0.1, port: {number: 80,")
    bound = bound.replace("{port: {number: 444,", "{bind: 10.244.0.9, port: {number: 444,")
    bound = bound.replace("{port: {number: 9000,", "{bind: '::', port: {number: 9000,")
    assert list(entrances(bound)) == [443, 444]


def routes(hosts: str, match: str = "") -> str:
    return ROUTES.format(name="shop", hosts=hosts, routes=HTTP.format(match=match))


def test_a_gateway_has_an_entrance_for_each_port_of_its_servers() -> None:
    found = entrances(GATEWAY)
    assert list(found) == [80, 443, 444, 9000]
    assert found[80].target == "istio-ingressgateway.istio-system:80"
    assert not any(each.trials for each in found.values()), "nothing is routed"


@pytest.mark.parametrize(
    ("hosts", "match", "lines"),
    [
        ("a.example.com", "", ["curl -H 'Host: a.example.com' http://127.0.0.1:8080/"]),
        ('"*.example.com"', "", ["curl -H 'Host: www.example.com' http://127.0.0.1:8080/"]),
        ("shop.io", "{uri: {exact: /a}}", ["curl -H 'Host: shop.io' http://127.0.0.1:8080/a"]),
        ("shop.io", "{uri: {prefix: /a}}, {headers: {x: {exact: y}}}", ["curl -H 'Host: shop.io' http://127.0.0.1:8080/"]),
        ("other.io", "", []),
    ],
)  # fmt: skip
def test_what_is_routed_there_can_be_tried(hosts: str, match: str, lines: list[str]) -> None:
    found = entrances(GATEWAY, routes(hosts, match))
    assert [trial.render("127.0.0.1", 8080) for trial in found[80].trials] == lines


def test_tls_is_tried_by_name() -> None:
    passed = "tls: [{match: [{sniHosts: [b.io]}], route: [{destination: {host: web}}]}]"
    found = entrances(GATEWAY, routes("a.io"), ROUTES.format(name="tls", hosts="b.io", routes=passed))
    assert found[443].trials == (Trial("a.io", "/", True),)
    assert found[444].trials == (Trial("b.io", "/", True),)
    assert found[443].trials[0].render("127.0.0.1", 8443) == "curl -k --resolve a.io:8443:127.0.0.1 https://a.io:8443/"
    assert Trial("*", "/", True).render("::1", 8443) == "curl -k https://[::1]:8443/"


def test_a_service_in_front_says_where_the_pods_listen() -> None:
    front = """
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}
"""
    found = entrances(GATEWAY, front)
    assert (found[80].listener_port, found[443].listener_port) == (8080, 443)
    (service,) = load(front, "mesh.yaml").manifests
    assert isinstance(service.resource, Service)
    asked = Publish.parse("9:istio-ingressgateway.istio-system:http2")
    assert service.ref == SERVICE.ref(asked.namespace, asked.name)
    assert leads_to(asked, service.resource, found[80])
    assert not leads_to(asked, service.resource, found[443])
    assert not leads_to(asked, None, found[80])


def test_the_best_port_of_the_host() -> None:
    assert host_ports(80)[:2] == (8080, 18080)
    assert host_ports(443)[0] == 8443
    assert host_ports(9000)[0] == 9000
    assert host_ports(80)[-1] == 0, "any, in the end"
