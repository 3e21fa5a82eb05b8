"""The chains that choose an endpoint for a new connection, and what must be there for them.

Without affinity a frontend has no chain of its own: `pick-3` chooses for all that have three endpoints, by a random
number, under which the map `endpoints` has the endpoint. The number travels in the packet's mark, as nft wants a field
of the packet there; it goes no further than the node's namespace. With affinity each endpoint has a chain, and a set of
the clients that are its own, which the kernel keeps and forgets by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pilotfish.model.frontend import Frontend
from pilotfish.servicenet.table import ENDPOINTS, KEY, TABLE


@dataclass(frozen=True, slots=True)
class Named:
    """A chain with its rules, or a set."""

    kind: str
    name: str
    definition: str = ""
    rules: tuple[str, ...] = ()

    def add(self) -> str:
        return f"add {self.kind} {TABLE} {self.name}{self.definition}"

    def delete(self) -> str:
        return f"delete {self.kind} {TABLE} {self.name}"

    def flush(self) -> str:
        return f"flush {self.kind} {TABLE} {self.name}"

    def fill(self) -> tuple[str, ...]:
        return tuple(f"add rule {TABLE} {self.name} {rule}" for rule in self.rules)


def chain_name(frontend: Frontend) -> str:
    """Of the chain that chooses for a frontend that has endpoints."""
    return f"service/{frontend.name}" if frontend.affinity else f"pick-{len(frontend.endpoints)}"


def build_shared(frontends: Iterable[Frontend]) -> tuple[Named, ...]:
    """The chains that all these share."""
    return tuple(_build_pick(size) for size in sorted({len(f.endpoints) for f in frontends if not f.affinity} - {0}))


def build_own(frontend: Frontend) -> tuple[Named, ...]:
    """What a frontend with affinity has of its own; each is used only by those behind it."""
    if not frontend.affinity or not frontend.endpoints:
        return ()
    timeout = f" {{ type ipv4_addr ; flags dynamic,timeout ; timeout {frontend.affinity}s ; }}"
    protocol = frontend.transport.lower()
    sets, chains, finds, chooses = [], [], [], []
    for number, (address, port) in enumerate(frontend.endpoints):
        clients, chain = (f"{kind}/{frontend.name}/{address}/{port}" for kind in ("clients", "endpoint"))
        remember, translate = f"update @{clients} {{ ip saddr }}", f"meta l4proto {protocol} dnat to {address}:{port}"
        sets.append(Named("set", clients, timeout))
        chains.append(Named("chain", chain, rules=(remember, translate)))
        finds.append(f"ip saddr @{clients} goto {chain}")
        chooses.append(f"{number} : goto {chain}")
    choose = f"numgen random mod {len(chooses)} vmap {{ {', '.join(chooses)} }}"
    return (*sets, *chains, Named("chain", chain_name(frontend), rules=(*finds, choose)))


def _build_pick(size: int) -> Named:
    choose = f"meta mark set numgen random mod {size}"
    translate = f"meta l4proto {{ tcp, udp }} dnat ip addr . port to {KEY} . meta mark map @{ENDPOINTS}"
    return Named("chain", f"pick-{size}", rules=(choose, translate))
