"""Where what is routed comes in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pilotfish.mesh.gateway_names import MESH


@dataclass(frozen=True, slots=True)
class Entrance:
    port: int
    """Which clients call."""
    gateway: str = MESH
    """`NAMESPACE/NAME`; `mesh`: the sidecar of whoever calls."""
    scheme: str = "http"

    def is_open_to(self, port: int, gateways: Iterable[str]) -> bool:
        """Whether what a match says of port and gateways, by their whole names, holds here."""
        named = tuple(gateways)
        return port in (0, self.port) and (not named or self.gateway in named)
