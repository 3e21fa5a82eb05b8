"""How much of what a sidecar's Envoy took from others came by mutual TLS.

Of connections: Envoy counts no requests by it. Those that no filter chain takes are in no total. Source:
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/stats
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.model.wellknown import INBOUND_PORT

INBOUND: Final = f"_{INBOUND_PORT}"
"""How the names of inbound listeners end in Envoy's stats."""
_FAILED: Final = ("connection_error", "fail_verify_no_cert", "fail_verify_error")


TAKEN_FILTER: Final = (
    rf"^listener\.[^;]*{INBOUND}\."
    r"(downstream_cx_total|ssl\.(handshake|no_certificate|connection_error|fail_verify_(no_cert|error)))$"
)
"""Of the stats that `count_taken` looks at."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Since Envoy was started."""

    connections: int = 0
    """But those whose handshake failed."""
    mutual: int = 0
    """Those whose client showed a certificate."""


def count_taken(stats: Mapping[str, int], listener: str = INBOUND) -> Taken:
    """By the listeners that end so."""

    def count(*what: str) -> int:
        suffixes = tuple(f"{listener}.{each}" for each in what)
        return sum(value for name, value in stats.items() if name.endswith(suffixes))

    mutual = count("ssl.handshake") - count("ssl.no_certificate")
    return Taken(max(mutual, count("downstream_cx_total") - count(*(f"ssl.{each}" for each in _FAILED))), mutual)
