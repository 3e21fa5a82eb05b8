"""How long a proxy is waited for that does not answer what it was sent.

It delays the order of its own responses alone (`ads.stream`). Who waits for all proxies (a pod that ends, a search for
what is refused, what is known to work) waits for it for SLOW at the most; it is behind, and is said to be, for as long
as it is. Who has taken nothing for LOST is cut off. Large responses take an Envoy their time.
"""

from __future__ import annotations

from typing import Final

from pilotfish.ads import Stream
from pilotfish.ads.watch import Outstanding
from pilotfish.envoy.types import CLUSTER

SLOW: Final = 2.0
LOST: Final = 15.0
_WARMING: Final = 75.0
"""Envoy withholds its answer to clusters while it warms others, whose names may not be found for long."""
_SLOW_PER_BYTE: Final = 1e-6
_LOST_PER_BYTE: Final = 10e-6
LOOK: Final = 0.5
"""Seconds between looks, while there is anybody to wait for."""


def is_slow(stream: Stream, now: float) -> bool:
    return any(now - each.since >= SLOW + each.size * _SLOW_PER_BYTE for each in stream.outstanding())


def is_lost(stream: Stream, now: float) -> bool:
    return any(now - each.since >= _until_lost(each) for each in stream.outstanding())


def _until_lost(each: Outstanding) -> float:
    has_answered = each.type_url == CLUSTER and each.answered_before
    return (_WARMING if has_answered else LOST) + each.size * _LOST_PER_BYTE
