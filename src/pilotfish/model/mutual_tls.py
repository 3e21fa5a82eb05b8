"""What a workload takes from its clients: mutual TLS, plaintext or both."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MutualTLS(StrEnum):
    DISABLE = "DISABLE"
    """The proxy ends no TLS; what comes is the app's."""
    PERMISSIVE = "PERMISSIVE"
    """Both are taken."""
    STRICT = "STRICT"
    """Who shows no certificate of the mesh is closed out."""


@dataclass(frozen=True, slots=True)
class PeerModes:
    """A workload's, port by port."""

    default: MutualTLS = MutualTLS.PERMISSIVE
    ports: tuple[tuple[int, MutualTLS], ...] = ()
    """Of the app's ports that have one of their own, by number."""

    def of(self, port: int) -> MutualTLS:
        return next((mode for number, mode in self.ports if number == port), self.default)
