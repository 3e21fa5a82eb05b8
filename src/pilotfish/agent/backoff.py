"""When to start Envoy again.

The first restart is immediate, because traffic of the whole pod waits for it. One that keeps ending is given ever more
time, up to ten seconds, so that a broken machine is not kept busy by it.
"""

from __future__ import annotations

from typing import Final

STABLE_AFTER: Final = 60.0
"""Seconds. A run that lasted so long wipes out the failures before it."""
_FIRST: Final = 0.2
_MOST: Final = 10.0


def restart_delay(failures: int) -> float:
    """Seconds to wait after the run that makes `failures` in a row: 0, 0.2, 0.4, 0.8, ... 10."""
    return 0.0 if failures <= 1 else min(_MOST, _FIRST * 2.0 ** min(failures - 2, 10))


def count_failure(failures: int, lasted: float) -> int:
    """The failures in a row, now that a run of `lasted` seconds ended."""
    return 1 if lasted >= STABLE_AFTER else failures + 1
