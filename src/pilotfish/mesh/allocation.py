"""Addresses for the hosts of ServiceEntries that state none: with them names resolve, and TCP ports can be told apart.

As Istio's DNS proxy gives them: out of 240.240.0.0/16 (class E) and 2001:2::/48 (RFC 5180), which lead nowhere but
into the sidecar. Not for wildcards, which are many names, and not for resolution NONE, where the client's own address
counts.

A host's place follows from its name. Where another has that place, the younger goes on to the next, and keeps what it
got for as long as somebody wants it, whoever else comes or goes: a name that resolved otherwise would lead connections
to somebody else. After a restart the oldest choose first. In a cluster, where several discoveries must give the same,
who leads writes them into the ServiceEntry's status, and what stands there goes before all choice.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/dns-proxy/#address-auto-allocation
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from hashlib import blake2b
from typing import Final

from pilotfish.config import istio
from pilotfish.config.kubernetes import Resource
from pilotfish.derive import Graph, Input, Reads
from pilotfish.mesh.hosts import whole_name
from pilotfish.model import ObjectRef
from pilotfish.model.addresses import is_ip

WANTED: Final[Input[str, tuple[ObjectRef, ...]]] = Input("Wanted")
"""The ServiceEntries that want an address for a host, sorted. Kept by `inputs.apply`."""
_PLACES: Final[Input[str, int]] = Input("Places")
_HOLDERS: Final[Input[int, str]] = Input("Holders")
"""The reverse."""
_WRITTEN: Final[Input[str, int]] = Input("WrittenPlaces")
"""Of the places, those that stand in a status."""

_IN_A_ROW: Final = 254
MOST: Final = 256 * _IN_A_ROW
"""Places: 240.240.0.1 to 240.240.255.254, without those that end in 0 or 255."""
_OPT_OUT: Final = "networking.istio.io/enable-autoallocate-ip"
"""A label; "false" wants none. Source: https://istio.io/latest/docs/reference/config/labels/"""


def hosts_without_address(entry: Resource) -> Set[str]:
    """Those of a ServiceEntry that want one of discovery's."""
    if (
        not isinstance(entry, istio.ServiceEntry)
        or entry.spec.addresses
        or entry.spec.resolution in ("NONE", "DYNAMIC_DNS")
    ):
        return frozenset()
    if entry.metadata.labels.get(_OPT_OUT, "").lower() == "false":
        return frozenset()
    hosts = map(whole_name, entry.spec.hosts)
    return frozenset(host for host in hosts if not host.startswith("*") and not is_ip(host))


def written_places(entry: Resource) -> dict[str, int]:
    """What a ServiceEntry's status says of its hosts."""
    if not isinstance(entry, istio.ServiceEntry):
        return {}
    found = ((each.host, _place_of(each.value)) for each in entry.status.addresses)
    return {host: place for host, place in found if place is not None}


def _place_of(address: str) -> int | None:
    """None of one that is not given out here, or is IPv6: that follows from the other."""
    parts = address.split(".")
    if len(parts) != 4 or parts[:2] != ["240", "240"] or not all(part.isdecimal() for part in parts[2:]):
        return None
    row, column = int(parts[2]), int(parts[3]) - 1
    return row * _IN_A_ROW + column if row < 256 and 0 <= column < _IN_A_ROW else None


def allocated(db: Reads, host: str) -> tuple[str, ...]:
    """A host's IPv4 and IPv6 address; none for one that wants none, or came when all were given away."""
    return _addresses(db.read(_PLACES, host))


def given(graph: Graph, host: str) -> tuple[str, ...]:
    """The same, from outside any query."""
    return _addresses(graph.peek(_PLACES, host))


def _addresses(place: int | None) -> tuple[str, ...]:
    if place is None:
        return ()
    row, column = divmod(place, _IN_A_ROW)
    return (f"240.240.{row}.{column + 1}", f"2001:2::f0f0:{place + 1:x}")


def allocate(graph: Graph, hosts: Iterable[str], written: Mapping[str, int]) -> None:
    """Give places to those of the hosts that have come to be wanted, in this order, and take those of the others.
    `written`: what stands in the statuses of ServiceEntries that are new or changed."""
    gone: list[str] = []
    new: list[str] = []
    for host in hosts:
        has, wants = graph.peek(_PLACES, host) is not None, graph.peek(WANTED, host) is not None
        if has != wants:
            (new if wants else gone).append(host)
    _set(graph, ((host, place, False) for host in gone if (place := graph.peek(_PLACES, host)) is not None))
    graph.update(_WRITTEN, ((host, None) for host in gone))
    for host, place in written.items():
        new.extend(_take(graph, host, place))
    for host in new:
        if graph.peek(_PLACES, host) is not None:
            continue
        free = next((place for place in _choices(host) if graph.peek(_HOLDERS, place) is None), None)
        if free is not None:
            _set(graph, ((host, free, True),))


def _take(graph: Graph, host: str, place: int) -> Iterator[str]:
    """Give the host this place. Who had it, and only chose it, is to choose again."""
    if graph.peek(WANTED, host) is None:
        return
    had, holder = graph.peek(_PLACES, host), graph.peek(_HOLDERS, place)
    if holder not in (None, host):
        if graph.peek(_WRITTEN, holder) == place:
            return  # it stands there twice, and the first keeps it
        _set(graph, ((holder, place, False),))
        yield holder
    if had is not None and had != place:
        _set(graph, ((host, had, False),))
    _set(graph, ((host, place, True),))
    graph.update(_WRITTEN, ((host, place),))


def _set(graph: Graph, changes: Iterable[tuple[str, int, bool]]) -> None:
    found = tuple(changes)
    graph.update(_PLACES, ((host, place if has else None) for host, place, has in found))
    graph.update(_HOLDERS, ((place, host if has else None) for host, place, has in found))


def _choices(host: str) -> Iterator[int]:
    """Every place once, in an order of the host's own: steps from its hash on, of a length that shares no divisor with
    their number (256 · 2 · 127)."""
    digest = int.from_bytes(blake2b(host.encode(), digest_size=8).digest(), "big")
    step = 1 + 2 * (digest >> 32) % MOST
    if step % 127 == 0:
        step += 2
    yield from ((digest + number * step) % MOST for number in range(MOST))
