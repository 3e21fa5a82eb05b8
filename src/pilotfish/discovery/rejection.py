"""What Envoy refused: by one proxy's word, and as what stands against an object."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pilotfish.model import ObjectRef


@dataclass(frozen=True, slots=True)
class Nack:
    """One proxy's refusal of one resource."""

    proxy: str
    """The proxy's node id."""
    type_url: str
    name: str
    version: str
    owners: tuple[ObjectRef, ...]
    message: str
    """Envoy's words."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """What Envoy refused, and who did."""

    type_url: str
    name: str
    message: str
    """Envoy's words."""
    proxies: frozenset[str]
    """Node ids."""
    owners: frozenset[ObjectRef] = frozenset()
    """All that went into the resource: what was refused may be taken once one of them is another."""

    @classmethod
    def of(cls, nack: Nack) -> Rejection:
        return cls(nack.type_url, nack.name, nack.message, frozenset((nack.proxy,)), frozenset(nack.owners))

    def also_by(self, nack: Nack) -> Rejection:
        return replace(self, proxies=self.proxies | {nack.proxy}, owners=self.owners.union(nack.owners))
