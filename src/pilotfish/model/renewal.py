"""When a certificate is renewed: in the middle of its life, each agent a little earlier or later than the others.

Source: https://istio.io/latest/docs/reference/commands/pilot-agent/ (SECRET_TTL, SECRET_GRACE_PERIOD_RATIO, ..._JITTER)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.model.values import Duration

DEFAULT_TTL: Final = 24 * 3600.0
LONGEST_TTL: Final = 90 * 24 * 3600.0
"""Seconds, as Istio's MAX_WORKLOAD_CERT_TTL."""
_FIRST: Final = 0.2
_LAST: Final = 10.0


@dataclass(frozen=True, slots=True)
class RenewalPolicy:
    ttl: float = DEFAULT_TTL
    """Seconds."""
    grace: float = 0.5
    """The part of its life that a certificate has left when it is renewed."""
    jitter: float = 0.05
    """By how much of its life that is more or less, at the most."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> RenewalPolicy:
        """By Istio's names. ValueError names a variable that can't be used."""
        ttl = _seconds(environment.get("SECRET_TTL", ""), cls().ttl)
        grace = _ratio(environment, "SECRET_GRACE_PERIOD_RATIO", cls().grace)
        return cls(ttl, grace, _ratio(environment, "SECRET_GRACE_PERIOD_RATIO_JITTER", cls().jitter))

    def renew_at(self, since: float, until: float, chance: float) -> float:
        """Of a certificate that came at `since` and ends at `until`. `chance`: 0 to 1, of each agent another."""
        left = self.grace + self.jitter * (2 * chance - 1)
        return until - (until - since) * min(max(left, 0.0), 1.0)


def retry_delay(failures: int, chance: float) -> float:
    """Seconds until the next try after so many failures in a row: ever more, to 10, and never all agents at once."""
    return min(_LAST, _FIRST * 2.0 ** min(failures - 1, 10)) * (0.5 + chance / 2)


def _seconds(text: str, default: float) -> float:
    if not text:
        return default
    try:
        found = Duration.parse(text).seconds
    except ValueError as error:
        raise ValueError(f"SECRET_TTL {text!r} is no duration such as 24h") from error
    if not 1 <= found <= LONGEST_TTL:
        raise ValueError(f"SECRET_TTL {text!r} is not between 1s and {LONGEST_TTL / 3600:g}h")
    return found


def _ratio(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    try:
        found = float(text or default)
    except ValueError:
        found = -1
    if not 0 <= found <= 1:
        raise ValueError(f"{name} {text!r} is not between 0 and 1")
    return found
