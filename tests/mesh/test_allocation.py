"""Addresses of ServiceEntries that state none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pilotfish.config import istio
from pilotfish.config.manifest import Manifest
from pilotfish.derive import Graph
from pilotfish.mesh import allocation, inputs
from pilotfish.mesh.listeners.outbound import binding_names, conflicts
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.services import service
from pilotfish.mesh.scope import EVERYONE
from tests.mesh.meshes import NETWORKING, graph_of, manifest

TCP = [{"number": 5432, "name": "tcp", "protocol": "TCP"}]


def entry(name: str, *hosts: str, created: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    spec = {"hosts": hosts or (f"{name}.example.com",), "resolution": "DNS", "ports": TCP, **spec}
    return manifest("ServiceEntry", name, api=NETWORKING, created=created, labels=labels or {}, spec=spec)


def addresses(graph: Graph, host: str) -> tuple[str, ...]:
    found = graph.get(service, host)
    assert found is not None
    return found.addresses


def test_two_tcp_services_of_one_port_have_a_listener_each() -> None:
    graph = graph_of(entry("one"), entry("two"))
    own = {a for name in ("one", "two") for a in addresses(graph, f"{name}.example.com")}
    assert len(own) == 4
    names: tuple[str, ...] = graph.get(binding_names, EVERYONE)
    assert set(names) == {f"{address}_5432" for address in own}
    assert graph.get(conflicts, EVERYONE) == ()


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(entry("x", "api.example.com", resolution="NONE"), id="resolution NONE"),
        pytest.param(entry("x", "api.example.com", labels={allocation._OPT_OUT: "false"}), id="its author wants none"),
        pytest.param(entry("x", "192.0.2.1", resolution="STATIC"), id="an address has no need of a name"),
    ],
)
def test_some_get_none(made: Manifest) -> None:
    (host,) = made.document["spec"]["hosts"]  # type: ignore[index]
    assert addresses(graph_of(made), host) == ()


def test_what_stands_in_the_status_goes_before_all_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late it is read, and whoever has chosen the same meanwhile."""
    monkeypatch.setattr(allocation, "_choices", lambda host: iter(range(allocation.MOST)))  # all want the same one
    chosen, given = entry("a"), entry("b")
    graph = graph_of(chosen, given)
    assert addresses(graph, "a.example.com")[0] == "240.240.0.1"
    told = with_status(given, "b.example.com", "240.240.0.1")
    inputs.apply(graph, {told.ref: told})
    assert addresses(graph, "b.example.com") == ("240.240.0.1", "2001:2::f0f0:1")
    assert addresses(graph, "a.example.com")[0] == "240.240.0.2"
    again = with_status(chosen, "a.example.com", "240.240.0.1")
    inputs.apply(graph, {again.ref: again})
    assert addresses(graph, "b.example.com")[0] == "240.240.0.1", "who had it written first keeps it"
    inputs.apply(graph, {told.ref: None})
    inputs.apply(graph, {again.ref: with_status(chosen, "a.example.com", "240.240.3.7")})
    assert addresses(graph, "a.example.com")[0] == "240.240.3.7"


@pytest.mark.parametrize("address", ["10.0.0.1", "240.240.0.0", "240.240.0.255", "240.240.256.1", "240.240.x.1", ""])
def test_what_was_not_given_out_here_is_passed_over(address: str) -> None:
    assert addresses(graph_of(with_status(entry("a"), "a.example.com", address)), "a.example.com") == addresses(
        graph_of(entry("a")), "a.example.com"
    )


def with_status(made: Manifest, host: str, address: str) -> Manifest:
    status = istio.service_entry.ServiceEntryStatus(
        addresses=(istio.service_entry.ServiceEntryAddress(value=address, host=host),)
    )
    return replace(made, resource=msgspec.structs.replace(made.resource, status=status))


def test_whoever_comes_or_goes_moves_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "_choices", lambda host: iter(range(allocation.MOST)))  # all want the same one
    old, between, young = entry("b"), entry("c"), entry("a")
    graph = graph_of(old)
    inputs.apply(graph, {between.ref: between})
    held = addresses(graph, "c.example.com")
    assert held != addresses(graph, "b.example.com")
    inputs.apply(graph, {old.ref: None})
    inputs.apply(graph, {young.ref: young})
    assert addresses(graph, "c.example.com") == held
    assert addresses(graph, "a.example.com") == ("240.240.0.1", "2001:2::f0f0:1"), "what is free is given again"


def test_an_address_follows_from_the_name_and_not_from_the_others() -> None:
    alone = addresses(graph_of(entry("one")), "one.example.com")
    many = [entry(f"n{number}", created=f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z") for number in range(1500)]
    graph = graph_of(entry("one", created="2020-01-01T00:00:00Z"), *many)
    assert addresses(graph, "one.example.com") == alone
    assert len({a for m in many for a in addresses(graph, f"{m.ref.name}.example.com")}) == 3000
    again = graph_of(*reversed(many), entry("one", created="2020-01-01T00:00:00Z"))
    assert all(addresses(again, f"n{n}.example.com") == addresses(graph, f"n{n}.example.com") for n in range(1500))


def test_letter_case_and_a_dot_at_the_end_make_no_other_host() -> None:
    graph = graph_of(entry("one", "API.example.com", "api.example.com."), entry("two", "other.example.com"))
    assert len(addresses(graph, "api.example.com")) == 2
    assert [p.reason for p in graph.get(problems)] == []


def test_stating_an_address_gives_the_other_back() -> None:
    graph = graph_of(entry("one"))
    inputs.apply(graph, {entry("one").ref: entry("one", addresses=["192.0.2.1"])})
    assert addresses(graph, "one.example.com") == ("192.0.2.1",)
    inputs.apply(graph, {entry("one").ref: entry("one", "renamed.example.com")})
    assert len(addresses(graph, "renamed.example.com")) == 2


def test_every_place_can_be_reached_from_any_name() -> None:
    for host in ("one.example.com", "two.example.com", "x"):
        assert len(set(allocation._choices(host))) == allocation.MOST
