"""What a stream asks its driver to do, or tells it, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.ads.wire import Payload
    from pilotfish.envoy.values import Resource


@dataclass(frozen=True, slots=True)
class Send:
    """Write this response."""

    payload: Payload


@dataclass(frozen=True, slots=True)
class Accepted:
    """The proxy acknowledged a response."""

    type_url: str
    resources: tuple[Resource, ...]
    took: float
    """Seconds since the response was handed out."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The proxy refused a response. The resources that it refused stay as they were, in the proxy, before it."""

    type_url: str
    message: str
    """Envoy's words."""
    resources: tuple[Resource, ...]
    """What it refused, at the version that it refused. Empty where Envoy does not say which of several it was: the
    stream then sends them one by one, and the next refusal says."""


Effect = Send | Accepted | Refused
