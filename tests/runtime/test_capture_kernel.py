"""The evaluator against the kernel: random capture rules, real connections, and where each arrives.

`make test` tries at least 300 pairs of rules and connection, half of them in each sort of pod. More by choice, each
example being some 8 pairs:
`PILOTFISH_KERNEL_EXAMPLES=5000 make test PYTEST=tests/runtime/test_capture_kernel.py`.
"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pilotfish.capture import (
    ALL,
    Accepted,
    CaptureSpec,
    Connection,
    Direction,
    Dropped,
    Evaluation,
    Evaluator,
    Mode,
    Redirected,
    State,
    Tproxied,
    native_rules,
    rules,
)
from pilotfish.capture.spec import Family
from pilotfish.runtime import capture
from pilotfish.runtime.capture import PacketFilter
from tests.capture.pods import POD as POD_SPEC
from tests.runtime.capture_world import EXTERNAL, OUTSIDE, POD, POD_AT_VM, PORTS, VM, Arrival, Place, Sending, World
from tests.runtime.capture_world import world as made_world

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"), pytest.mark.timeout(0)]
EXAMPLES = int(os.environ.get("PILOTFISH_KERNEL_EXAMPLES", "80"))
CONNECTIONS = 8
USERS = (0, 1000, 1000, 1337, 1338)
MARKS = (0, 0, 0, 1337, 1338)
OWN = {
    4: ("127.0.0.1", "127.0.0.6", "127.0.0.53", POD[4], POD_AT_VM[4]),
    6: ("::1", "::6", POD[6], POD_AT_VM[6]),
}
PASSTHROUGH = {4: "127.0.0.6", 6: "::6"}
RANGES = (
    *("203.0.113.0/24", "203.0.113.7/32", "198.51.100.0/24", "198.18.0.0/15", "127.0.0.53/32", "0.0.0.0/0"),
    *("2001:db8:113::/64", "2001:db8:51::/48", "2001:db8:1::2/128", "::6/128", "::/0"),
)


@pytest.fixture(scope="module", params=[False, True], ids=["the machine's", "owned"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Of both sorts of pods: the kernel has an owner's idea of users."""
    with made_world(owned=request.param) as made:
        yield made


def some(*values: Any, at_most: int = 3) -> SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=at_most, unique=True).map(tuple)


def mostly(value: Any, otherwise: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Else most rules would capture next to nothing."""
    return st.just(value) | st.just(value) | otherwise


ranges = some(*map(ip_network, RANGES))
ports = some(*PORTS)
specs = st.builds(
    CaptureSpec,
    mode=st.sampled_from(Mode),
    proxy_uids=mostly((1337,), some(*USERS, at_most=2)),
    proxy_gids=mostly((1337,), some(*USERS, at_most=2)),
    inbound_ports_include=mostly(ALL, ports),
    inbound_ports_exclude=ports,
    outbound_ip_ranges_include=mostly(ALL, ranges),
    outbound_ip_ranges_exclude=mostly((), ranges),
    outbound_ports_include=ports,
    outbound_ports_exclude=mostly((), ports),
    exclude_interfaces=mostly((), st.just(("eth1",))),
    reroute_virtual_interfaces=mostly((), st.just(("eth1",))),
    redirect_dns=mostly(True, st.just(False)),
    capture_all_dns=st.booleans(),
    dns_servers_v4=some(*map(IPv4Address, ("203.0.113.7", "127.0.0.53"))),
    dns_servers_v6=some(*map(IPv6Address, ("2001:db8:113::7", "::6"))),
    drop_invalid=st.booleans(),
    owner_groups_include=mostly(ALL, some("1000", "1338")),
    owner_groups_exclude=some("1000", "1338"),
    host_ipv4_loopback_cidr=st.sampled_from([IPv4Network("127.0.0.1/32"), IPv4Network("127.0.0.0/8")]),
    enable_ipv6=mostly(True, st.just(False)),
)


@st.composite
def sendings(draw: st.DrawFn) -> Sending:
    """From the application, the proxy, the pod's neighbours; to all sorts of addresses."""
    family: Family = draw(st.sampled_from((4, 6)))
    protocol: Literal["tcp", "udp"] = draw(st.sampled_from(("tcp", "tcp", "udp")))
    place: Place = draw(st.sampled_from(("pod", "pod", "pod", "outside", "vm")))
    port = draw(mostly(53, st.sampled_from(PORTS)) if protocol == "udp" else st.sampled_from(PORTS))
    if place == "outside":
        return Sending(place, protocol, draw(st.sampled_from((POD[family], POD_AT_VM[family]))), port)
    if place == "vm":
        target = draw(st.sampled_from((POD_AT_VM[family], POD[family], *EXTERNAL[family])))
        return Sending(place, protocol, target, port)
    own = draw(st.sampled_from((False, False, True)))
    away = (*EXTERNAL[family], OUTSIDE[family], VM[family])
    return Sending(
        place,
        protocol,
        draw(st.sampled_from(OWN[family] if own else away)),
        port,
        draw(st.sampled_from(("", "", PASSTHROUGH[family], OUTSIDE[family]))) if own else "",
        draw(st.sampled_from(USERS)),
        draw(st.sampled_from(USERS)),
        draw(st.sampled_from(MARKS)),
    )


EACH_SORT = [
    *(Sending("pod", "tcp", EXTERNAL[family][0], 80) for family in (4, 6)),
    *(Sending("pod", "tcp", POD[family], 80, uid=1337, gid=1337) for family in (4, 6)),
    *(Sending("pod", "tcp", POD[family], 80, PASSTHROUGH[family], 1337, 1337) for family in (4, 6)),
    *(Sending("pod", "udp", EXTERNAL[family][0], 53) for family in (4, 6)),
    *(Sending("pod", "udp", EXTERNAL[family][0], 53, uid=1337, gid=1337) for family in (4, 6)),
    *(Sending("pod", "tcp", PASSTHROUGH[family], 80, uid=1337, gid=1337) for family in (4, 6)),
    *(Sending("outside", "tcp", POD[family], 80) for family in (4, 6)),
    *(Sending("vm", "tcp", POD_AT_VM[family], 80) for family in (4, 6)),
]


@settings(max_examples=EXAMPLES // 2, suppress_health_check=list(HealthCheck))
@example(PacketFilter.IPTABLES_NFT, POD_SPEC, EACH_SORT)
@example(PacketFilter.NFT, replace(POD_SPEC, mode=Mode.TPROXY), EACH_SORT)
@example(
    PacketFilter.IPTABLES_LEGACY, replace(POD_SPEC, mode=Mode.TPROXY, reroute_virtual_interfaces=("eth1",)), EACH_SORT
)
@given(st.sampled_from(PacketFilter), specs, st.lists(sendings(), min_size=CONNECTIONS, max_size=CONNECTIONS))
def test_connections_arrive_where_the_evaluator_says(
    world: World, backend: PacketFilter, spec: CaptureSpec, connections: list[Sending]
) -> None:
    asyncio.run(capture.apply(world.pod, spec, backend=backend))
    evaluators = _evaluators(backend, spec)
    for sending in (_possible(spec, sending) for sending in connections):
        source_port = world.next_source_port()
        connection = _connection(spec, sending, source_port)
        evaluator = evaluators[sending.family]
        expected = None if _answer_is_lost(spec, evaluator, connection) else _expected(sending, evaluator, connection)
        arrival = world.send(sending, source_port, 2 if expected else 0.1)
        if arrival and expected:
            arrival = replace(arrival, marks=arrival.marks[: len(expected.marks)])
        assert arrival == expected, f"{connection}: {evaluator.evaluate(connection).verdict}"


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("drop_invalid", [True, False])
def test_what_belongs_to_no_connection_is_dropped_if_asked_for(
    world: World, family: Family, drop_invalid: bool, mode: Mode
) -> None:
    spec = CaptureSpec(mode=mode, drop_invalid=drop_invalid, enable_ipv6=True)
    asyncio.run(capture.apply(world.pod, spec))
    connection = Connection(Direction.IN, "tcp", ip_address(POD[family]), 80, state=State.INVALID)
    verdict = Evaluator(rules(spec, family)).evaluate(connection).verdict
    assert verdict == (Dropped() if drop_invalid else Accepted())
    assert world.send_bogus(family, 80, 0.1 if drop_invalid else 2) is not drop_invalid


def _evaluators(backend: PacketFilter, spec: CaptureSpec) -> dict[Family, Evaluator]:
    if backend is PacketFilter.NFT:
        both = Evaluator(native_rules(spec))
        return {4: both, 6: both}
    return {4: Evaluator(rules(spec, 4)), 6: Evaluator(rules(spec, 6))}


def _possible(spec: CaptureSpec, sending: Sending) -> Sending:
    """The kernel has no source for what is marked into another table than its address, so it is given one.

    Only marked the proxy may speak for another, its client, as the answers find back by the mark alone.
    """
    marked = _is_routed_by_mark(spec, sending)
    if marked and not sending.source and sending.destination not in OWN[sending.family]:
        return replace(sending, source=POD[sending.family])
    to_pod = sending.destination in (POD[sending.family], POD_AT_VM[sending.family])
    for_client = sending.source == OUTSIDE[sending.family]
    return replace(sending, source="") if for_client and not (marked and to_pod) else sending


def _connection(spec: CaptureSpec, sending: Sending, source_port: int) -> Connection:
    """What the kernel's routing makes of it; the evaluator takes that as given."""
    destination = ip_address(sending.destination)
    if sending.place != "pod":
        return Connection(
            Direction.IN,
            sending.protocol,
            destination,
            sending.port,
            ip_address((OUTSIDE if sending.place == "outside" else VM)[sending.family]),
            source_port,
            interface="eth0" if sending.place == "outside" else "eth1",
            local=sending.destination in OWN[sending.family],
        )
    return Connection(
        Direction.OUT,
        sending.protocol,
        destination,
        sending.port,
        ip_address(sending.source) if sending.source else None,
        source_port,
        _route(spec, sending),
        sending.uid,
        sending.gid,
        sending.mark,
    )


def _route(spec: CaptureSpec, sending: Sending) -> str:
    """By the routes of the world, and TPROXY's: what carries its mark stays here."""
    if sending.destination in OWN[sending.family] or _is_routed_by_mark(spec, sending):
        return "lo"
    return "eth1" if sending.destination == VM[sending.family] else "eth0"


def _is_routed_by_mark(spec: CaptureSpec, sending: Sending) -> bool:
    return sending.place == "pod" and _has_mark_route(spec, sending.family) and sending.mark == spec.tproxy_mark


def _has_mark_route(spec: CaptureSpec, family: Family) -> bool:
    return spec.mode is Mode.TPROXY and (family == 4 or spec.enable_ipv6)


def _expected(sending: Sending, evaluator: Evaluator, connection: Connection) -> Arrival | None:
    evaluation = evaluator.evaluate(connection)
    verdict = evaluation.verdict
    original = (sending.destination, sending.port) if sending.protocol == "tcp" else None
    match verdict:
        case Accepted():
            place = _place(sending, connection)
            return Arrival(place, sending.port, original, _marks(evaluator, evaluation) if place == "pod" else ())
        case Redirected(port) | Tproxied(port):
            return Arrival("pod", port, original, _marks(evaluator, evaluation))
        case Dropped():
            return None
    raise AssertionError(f"{connection}: {verdict}")


def _answer_is_lost(spec: CaptureSpec, evaluator: Evaluator, connection: Connection) -> bool:
    """Two traps of Istio's rules, in which a connection arrives but never comes about.

    TPROXY in a pod that is a virtual machine's router, for TCP that is not captured: the answer is marked for TPROXY's
    route, so it stays in the pod. And a proxy that speaks for its client to its own pod is redirected to itself: the
    answer is loopback's, which IPv4 does not route to a client outside.
    """
    if connection.protocol == "udp":
        return False
    verdict = evaluator.evaluate(connection).verdict
    if connection.source == ip_address(OUTSIDE[connection.family]) and connection.direction is Direction.OUT:
        return isinstance(verdict, Redirected) and connection.family == 4
    if connection.is_local or connection.direction is Direction.OUT:
        return False
    if not isinstance(verdict, Accepted) or connection.source is None:
        return False
    answer = Connection(
        Direction.IN,
        "tcp",
        connection.source,
        connection.source_port or 0,
        connection.destination,
        connection.destination_port,
        local=False,
        state=State.ESTABLISHED,
    )
    return _has_mark_route(spec, connection.family) and evaluator.evaluate(answer).mark == spec.tproxy_mark


def _place(sending: Sending, connection: Connection) -> Place:
    if connection.is_local:
        return "pod"
    return "vm" if sending.destination == VM[sending.family] else "outside"


def _marks(evaluator: Evaluator, evaluation: Evaluation) -> tuple[int, ...]:
    """Of the first packet; for TCP of the handshake's last, too, unless nat remembers what rules no longer say."""
    connection = evaluation.connection
    remembered = connection.direction is Direction.OUT and isinstance(evaluation.verdict, Redirected)
    if connection.protocol == "udp" or remembered:
        return (evaluation.mark,)
    later = replace(connection, state=State.ESTABLISHED, connection_mark=evaluation.connection_mark)
    return evaluation.mark, evaluator.evaluate(later).mark
