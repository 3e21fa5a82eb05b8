"""Where requests and connections go: destinations, by weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pilotfish.config import istio
from pilotfish.model.route import Backend, WeightedBackend

Resolve = Callable[[istio.Destination], Backend]
"""What a destination means to the clients whose routes are made."""


def weigh(
    routes: Sequence[istio.HTTPRouteDestination | istio.RouteDestination], resolve: Resolve
) -> tuple[WeightedBackend, ...]:
    """A lone destination takes everything, whatever its weight."""
    alone = len(routes) == 1
    return tuple(WeightedBackend(resolve(r.destination), 1 if alone else r.weight) for r in routes)
