"""What frontends put into the table's maps and sets: `{key: value}` by the map's or set's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from pilotfish.model.frontend import Frontend
from pilotfish.servicenet.chains import chain_name
from pilotfish.servicenet.table import ADDRESSES, ENDPOINTS, HAIRPINS, SERVICES, TABLE

Elements = dict[str, str]
"""Key → what follows it, comment included; nothing in a set."""


def build_services(frontends: Iterable[Frontend]) -> Elements:
    """Each with its Service's name as comment, for whoever reads the table."""
    return {
        key: f' comment "{frontend.namespace}/{frontend.service}" : goto {chain_name(frontend)}'
        for frontend in frontends
        if frontend.endpoints
        for key in _keys(frontend)
    }


def build_endpoints(frontends: Iterable[Frontend]) -> Elements:
    return {
        f"{key} . {number}": f" : {address} . {port}"
        for frontend in frontends
        if not frontend.affinity
        for key in _keys(frontend)
        for number, (address, port) in enumerate(frontend.endpoints)
    }


def build_addresses(frontends: Iterable[Frontend]) -> Elements:
    return {address: "" for frontend in frontends for address in frontend.addresses}


def build_hairpins(frontends: Iterable[Frontend]) -> Elements:
    return {f"{address} . {address}": "" for frontend in frontends for address, _ in frontend.endpoints}


BUILDERS: Mapping[str, Callable[[Iterable[Frontend]], Elements]] = MappingProxyType(
    {SERVICES: build_services, ENDPOINTS: build_endpoints, ADDRESSES: build_addresses, HAIRPINS: build_hairpins}
)

SHARED = frozenset({ADDRESSES, HAIRPINS})
"""Where several frontends may have put the same element."""


def render_deletion(name: str, keys: Iterable[str]) -> Iterator[str]:
    if listed := ", ".join(keys):
        yield f"delete element {TABLE} {name} {{ {listed} }}"


def render_addition(name: str, elements: Elements) -> Iterator[str]:
    if listed := ", ".join(f"{key}{value}" for key, value in elements.items()):
        yield f"add element {TABLE} {name} {{ {listed} }}"


def _keys(frontend: Frontend) -> Iterator[str]:
    return (f"{address} . {frontend.transport.lower()} . {frontend.port}" for address in frontend.addresses)
