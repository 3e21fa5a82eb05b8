"""The table of kinds, and the refs that its rows make."""

from __future__ import annotations

import pytest

from pilotfish.model import Kind
from pilotfish.model.kinds import KINDS, NAMESPACE, POD, SUPPORTED, UNSUPPORTED, kind_named, kind_written

ISTIO_GATEWAY = kind_named("Gateway", "networking.istio.io")
GATEWAY = kind_named("Gateway", "gateway.networking.k8s.io")


def test_each_kind_stands_once() -> None:
    for names in ([(k.name, k.group) for k in KINDS], [(k.plural, k.group) for k in KINDS]):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.qualified)
def test_each_kind_is_found_as_it_is_written(kind: Kind) -> None:
    assert kind.api_versions
    assert {kind_written(kind.name, version) for version in kind.api_versions} == {kind}
    assert kind.plural == kind.plural.lower() != ""


def test_something_is_said_of_each_kind_that_has_no_effect() -> None:
    assert [kind for kind in SUPPORTED if kind.without_effect] == []
    assert [kind for kind in UNSUPPORTED if not kind.without_effect or kind.discovery] == []


def test_two_apis_have_a_gateway() -> None:
    one, other = ISTIO_GATEWAY.ref("vm", "in"), GATEWAY.ref("vm", "in")
    assert one != other
    assert one == ISTIO_GATEWAY.ref("vm", "in")
    assert sorted([one, other, POD.ref("vm", "z")]) == [other, one, POD.ref("vm", "z")]
    assert str(one) == str(other) == "Gateway vm/in"


def test_a_kind_without_namespaces_has_none_in_its_refs() -> None:
    assert NAMESPACE.ref("vm", "shop") == NAMESPACE.ref("", "shop")
    assert str(NAMESPACE.ref("vm", "shop")) == "Namespace shop"


@pytest.mark.parametrize(
    ("name", "version", "kind"),
    [
        ("Deployment", "extensions/v1beta1", "deployment.apps"),
        ("Deployment", "v1", "deployment.apps"),
        ("Deployment", "", "deployment.apps"),
        ("Service", "core/v1", "service"),
        ("VirtualService", "networking.istio.io/v9", "virtualservice.networking.istio.io"),
        ("Service", "serving.knative.dev/v1", "service.serving.knative.dev"),
        ("Gizmo", "", "gizmo"),
    ],
)
def test_a_slip_in_the_version_means_the_same_kind_and_another_api_another(name: str, version: str, kind: str) -> None:
    assert kind_written(name, version).qualified == kind


def test_a_kind_that_nobody_knows_is_itself_each_time() -> None:
    gizmo = kind_named("Gizmo", "example.com")
    assert gizmo is kind_named("Gizmo", "example.com")
    assert gizmo.ref("vm", "x") == kind_named("Gizmo", "example.com").ref("vm", "x")
    assert gizmo not in KINDS
