"""How much of what a sidecar's Envoy took from others came by mutual TLS.

Of connections: Envoy counts no requests by it. Those that no filter chain takes are in no total. Source:
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/stats
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.model.wellknown import INBOUND_PORT

_LISTENER: Final = rf"^listener\.[^;]*_{INBOUND_PORT}\."
_CONNECTIONS: Final = f"_{INBOUND_PORT}.downstream_cx_total"
_HANDSHAKES: Final = f"_{INBOUND_PORT}.ssl.handshake"
_NAMELESS: Final = f"_{INBOUND_PORT}.ssl.no_certificate"
_FAILED: Final = tuple(
    f"_{INBOUND_PORT}.ssl.{each}" for each in ("connection_error", "fail_verify_no_cert", "fail_verify_error")
)
TAKEN_FILTER: Final = (
    rf"{_LISTENER}(downstream_cx_total|ssl\.(handshake|no_certificate|connection_error|fail_verify_(no_cert|error)))$"
)
"""Of the stats that `count_taken` looks at."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Since Envoy was started."""

    connections: int = 0
    """But those whose handshake failed."""
    mutual: int = 0
    """Those whose client showed a certificate."""


def count_taken(stats: Mapping[str, int]) -> Taken:
    def count(*suffixes: str) -> int:
        return sum(value for name, value in stats.items() if name.endswith(suffixes))

    mutual = count(_HANDSHAKES) - count(_NAMELESS)
    return Taken(max(mutual, count(_CONNECTIONS) - count(*_FAILED)), mutual)
