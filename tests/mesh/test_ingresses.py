"""Ingress: which are served, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pilotfish.config import istio, load
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.discovery.mesh import Mesh
from pilotfish.mesh.ingresses import with_ingresses
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import INGRESS
from pilotfish.offline.reading import read
from pilotfish.offline.world import build

Manifests = Mapping[ObjectRef, Manifest]
CLASSES = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: edge}
spec: {controller: istio.io/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{name: web, port: 8080}]}
"""


def ingress(
    name: str = "shop",
    paths: str = "{path: /, pathType: Prefix, backend: {service: {name: shop, port: {name: web}}}}",
    annotations: str = "",
    class_: str = "",
    host: str = "shop.io",
) -> str:
    named = f"ingressClassName: {class_}" if class_ else ""
    return f"""
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec:
  {named}
  rules: [{{host: {host}, http: {{paths: [{paths}]}}}}]
"""


def manifests(*documents: str) -> Manifests:
    loaded = load("\n---\n".join((CLASSES, *documents)), "mesh.yaml")
    assert not loaded.problems
    return {manifest.ref: manifest for manifest in loaded.manifests}


def virtual_services(given: Manifests) -> list[istio.VirtualServiceSpec]:
    made = with_ingresses(given, MeshConfig())
    return [m.resource.spec for m in made.values() if isinstance(m.resource, istio.VirtualService)]


@pytest.mark.parametrize(
    ("annotations", "class_", "modes"),
    [
        ("kubernetes.io/ingress.class: istio", "", {"UNSPECIFIED", "STRICT", "DEFAULT"}),
        ("kubernetes.io/ingress.class: nginx", "", set()),
        ("kubernetes.io/ingress.class: nginx", "edge", set()),
        ("", "istio", {"UNSPECIFIED", "STRICT", "DEFAULT"}),
        ("", "edge", {"UNSPECIFIED", "STRICT", "DEFAULT"}),
        ("", "nginx", set()),
        ("", "unknown", set()),
        ("", "", {"DEFAULT"}),
    ],
)
def test_which_ingresses_are_served(annotations: str, class_: str, modes: set[str]) -> None:
    given = manifests(ingress(annotations=annotations, class_=class_))
    served = {
        mode
        for mode in ("UNSPECIFIED", "STRICT", "DEFAULT", "OFF")
        if with_ingresses(given, MeshConfig(ingress_controller_mode=mode)) is not given
    }
    assert served == modes


def test_one_that_is_not_served_is_warned_of() -> None:
    world = build(read([("mesh.yaml", "\n---\n".join((CLASSES, ingress(class_="nginx"))))], "default"))
    (problem,) = [p for p in world.problems if p.reason == "NotServed"]
    assert problem.ref == INGRESS.ref("default", "shop")
    assert "ingressClassName: istio" in problem.message


def path(text: str, type_: str) -> str:
    return f"{{path: {text}, pathType: {type_}, backend: {{service: {{name: shop, port: {{number: 8080}}}}}}}}"


@pytest.mark.parametrize(
    ("written", "type_", "uris"),
    [
        ("/a", "Exact", [("/a", None)]),
        ("/", "Prefix", [(None, "/")]),
        ("/a", "Prefix", [("/a", None), (None, "/a/")]),
        ("/a/", "Prefix", [("/a", None), (None, "/a/")]),
        ("/a", "ImplementationSpecific", [("/a", None)]),
        ("/a/*", "ImplementationSpecific", [(None, "/a")]),
        ("/a.*", "ImplementationSpecific", [(None, "/a")]),
        ("/*", "ImplementationSpecific", []),
    ],
)
def test_paths(written: str, type_: str, uris: list[tuple[str | None, str | None]]) -> None:
    (spec,) = virtual_services(manifests(ingress(class_="istio", paths=path(written, type_))))
    (route,) = spec.http
    assert [(m.uri.exact, m.uri.prefix) for m in route.match if m.uri is not None] == uris


def test_the_longest_path_is_tried_first_and_the_exact_one_of_two() -> None:
    paths = ", ".join(path(*each) for each in (("/", "Prefix"), ("/a/b", "Prefix"), ("/a", "Prefix"), ("/a", "Exact")))
    (spec,) = virtual_services(manifests(ingress(class_="istio", paths=paths)))
    tried = [(len(route.match), route.match[0].uri and route.match[0].uri.exact) for route in spec.http]
    assert tried == [(2, "/a/b"), (1, "/a"), (2, "/a"), (1, None)]


def test_a_port_by_name_is_the_services() -> None:
    (spec,) = virtual_services(manifests(ingress(class_="istio")))
    destination = spec.http[0].route[0].destination
    assert (destination.host, destination.port and destination.port.number) == ("shop.default.svc.cluster.local", 8080)


def test_ingresses_of_one_host_are_one_virtual_service() -> None:
    more = path("/b", "Exact")
    found = virtual_services(manifests(ingress(class_="istio"), ingress("other", more, class_="istio")))
    assert [(spec.hosts, len(spec.http)) for spec in found] == [(("shop.io",), 2)]


def test_what_is_wrong_with_its_backend_is_said_of_the_ingress() -> None:
    lost = path("/", "Prefix").replace("shop", "lost")
    world = build(read([("mesh.yaml", "\n---\n".join((CLASSES, ingress(class_="istio", paths=lost))))], "default"))
    assert [(p.ref and p.ref.kind, p.reason) for p in world.problems if p.ref and p.ref.kind is INGRESS] == [
        (INGRESS, "UnknownHost")
    ]


def test_a_saved_ingress_changes_what_it_comes_to_and_nothing_else() -> None:
    mesh = Mesh()
    desired = read([("mesh.yaml", "\n---\n".join((CLASSES, ingress(class_="istio"))))], "default")
    mesh.apply(desired)
    assert mesh.apply(desired) == (set(), False)
