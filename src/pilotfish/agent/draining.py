"""When so little inbound work is under way (`intake.Intake.count_active`) that Envoy may stop.

Every connection counts, an idle one, too. Peers in the mesh close theirs once they know that the pod leaves. A client
from outside knows nothing: it learns it from the `connection: close` of its next answer, and that request must find
the app still there.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/operations/draining
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pilotfish.config.mesh import ProxyConfig
from pilotfish.config.values import parse_boolean
from pilotfish.model import Duration

UNTIL_IDLE: Final = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS"
LEAST_DRAIN: Final = "MINIMUM_DRAIN_DURATION"
QUIET: Final = 0.1
"""Seconds without inbound work that count as drained: a peer that learns late that we leave may still send some."""


@dataclass(frozen=True, slots=True)
class Draining:
    """One drain under way. Times are those of the machine's clock."""

    since: float
    until: float
    """It ends here, whatever is still under way."""
    earliest: float = 0.0
    """It does not end before: others may not know yet that this one leaves."""
    active: int | None = None
    quiet_since: float | None = None
    over: bool = False

    def observe(self, active: int | None, now: float) -> Draining:
        """After Envoy told `active`, or the time went by."""
        quiet_since = (now if self.quiet_since is None else self.quiet_since) if active == 0 else None
        quiet = quiet_since is not None and now - quiet_since >= QUIET and now >= self.earliest
        over = self.over or quiet or now >= self.until
        return replace(self, active=active, quiet_since=quiet_since, over=over)

    def hurry(self, until: float) -> Draining:
        """Asked to end sooner; never later."""
        return replace(self, until=min(self.until, until))


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """For how long a proxy that is told to end goes on, in seconds.

    Source: https://istio.io/latest/docs/reference/commands/pilot-agent/ (EXIT_ON_ZERO_ACTIVE_CONNECTIONS,
    MINIMUM_DRAIN_DURATION)
    """

    least: float
    most: float
    """inf: whoever told it will kill it."""

    @classmethod
    def of(cls, config: ProxyConfig, environment: Mapping[str, str], in_cluster: bool) -> DrainPolicy:
        """`environment` has what `proxyMetadata` may say, too. Raises ValueError for what is no boolean or duration.

        In a cluster a proxy that ends learns it before those that call it, and waits as long as Istio's does, though
        nobody calls it at the moment. On one machine all know at once.
        """
        stated = {**environment, **config.proxy_metadata}
        until_idle = stated.get(UNTIL_IDLE, "")
        exits = parse_boolean(until_idle) if until_idle else False
        if exits is None:
            raise ValueError(f"{UNTIL_IDLE}: {until_idle!r} is neither true nor false")
        if exits:
            return cls(_seconds(LEAST_DRAIN, stated.get(LEAST_DRAIN) or "5s"), math.inf)
        most = config.termination_drain_duration.seconds
        return cls(most if in_cluster else 0.0, most)


def _seconds(name: str, text: str) -> float:
    try:
        return Duration.parse(text).seconds
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
