"""Routes of connections between the users' APIs and Envoy: what a TCP or TLS route comes to.

As with HTTP's (`model.route`), all is resolved, and routes stand in the order in which they were written. The words are
the Gateway API's.
Source: https://gateway-api.sigs.k8s.io/reference/spec/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pilotfish.model.ref import FieldRef
from pilotfish.model.route import WeightedBackend


@dataclass(frozen=True, slots=True)
class ConnectionMatch:
    """All must hold; one that says nothing matches every connection."""

    destinations: tuple[str, ...] = ()
    """One of these addresses and ranges, as `model.addresses.normal_range` writes them."""
    server_names: tuple[str, ...] = ()
    """One of these names, lower-case, stands in the TLS handshake; `*.example.com` is any name below."""

    @property
    def matches_everything(self) -> bool:
        return not (self.destinations or self.server_names)


EVERYTHING: Final = ConnectionMatch()


@dataclass(frozen=True, slots=True)
class ConnectionRoute:
    match: ConnectionMatch
    backends: tuple[WeightedBackend, ...]
    ref: FieldRef | None = None
    """None for the plain route of a service, which nobody wrote."""


@dataclass(frozen=True, slots=True)
class Connections:
    """Of one service's port, or of one listener."""

    routes: tuple[ConnectionRoute, ...] = ()
    """No two for the same; at the most one matches everything."""
    lost: tuple[FieldRef, ...] = ()
    """Those that somebody wrote, and that take nothing here."""
    clipped: tuple[FieldRef, ...] = ()
    """Those that take not all that they ask for."""
