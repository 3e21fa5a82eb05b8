"""What a change of Services costs, and which flows it makes stale. What the kernel makes of the text: tests/runtime."""

from dataclasses import replace
from typing import Any

from pilotfish.model.frontend import Frontend, Frontends
from pilotfish.servicenet import Flow, render_all, render_changes, stale_flows


def frontend(number: int, endpoints: int = 10, **fields: Any) -> Frontend:
    addresses = tuple((f"10.244.{number // 250}.{place + 2}", 8080) for place in range(endpoints))
    made = Frontend("default", f"svc-{number}", "TCP", 80, (f"10.96.1.{number + 1}",), addresses)
    return replace(made, **fields)


def named(*frontends: Frontend) -> Frontends:
    return {each.name: each for each in frontends}


def test_nothing_is_said_to_the_kernel_where_nothing_changed() -> None:
    before = named(*(frontend(n) for n in range(3)))
    assert render_changes(before, named(*(frontend(n) for n in range(3)))) == ""


def test_what_is_said_of_one_changed_endpoint_does_not_grow_with_the_other_services() -> None:
    few, many = (
        render_changes(
            named(*(frontend(n) for n in range(size))),
            named(frontend(0, 9), *(frontend(n) for n in range(1, size))),
        )
        for size in (2, 200)
    )
    assert few == many
    assert "svc-1" not in few


def test_all_of_it_names_every_service() -> None:
    text = render_all(named(*(frontend(n) for n in range(20))), "10.244.255.254", "10.244.255.253")
    assert all(f"10.96.1.{n + 1} . tcp . 80" in text for n in range(20))


def dns(*endpoints: str) -> Frontend:
    found = tuple((address, 5300) for address in endpoints)
    return Frontend("default", "dns", "UDP", 53, ("10.96.0.7", "203.0.113.9"), found)


def test_flows_of_an_endpoint_that_went_are_stale_at_every_address() -> None:
    gone = {Flow(address, 53, ("10.244.0.2", 5300)) for address in ("10.96.0.7", "203.0.113.9")}
    assert stale_flows(named(dns("10.244.0.2", "10.244.0.3")), named(dns("10.244.0.3", "10.244.0.4"))) == gone
    assert stale_flows(named(dns("10.244.0.2")), {}) == gone


def test_flows_to_an_address_that_the_service_lost_are_stale() -> None:
    before = dns("10.244.0.2")
    after = replace(before, addresses=("10.96.0.7",))
    assert stale_flows(named(before), named(after)) == {Flow("203.0.113.9", 53, ("10.244.0.2", 5300))}


def test_connections_are_never_stale() -> None:
    assert stale_flows(named(frontend(0, 3)), named(frontend(0, 2))) == frozenset()
