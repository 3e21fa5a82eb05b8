"""When to start Envoy again.

A restart is immediate, because traffic of the whole pod waits for it: the first, and a few in a row of an Envoy that
served. One that keeps ending is given ever more time, up to ten seconds, so that a broken machine is not kept busy.
"""

from __future__ import annotations

from typing import Final

STABLE_AFTER: Final = 60.0
"""Seconds. A run that lasted so long wipes out the failures before it."""
_FREE: Final = 1
_FREE_IF_SERVED: Final = 5
_FIRST: Final = 0.2
_MOST: Final = 10.0


def restart_delay(failures: int, served: bool) -> float:
    """Seconds to wait after the run that makes `failures` in a row: 0, 0.2, 0.4, 0.8, ... 10.

    `served`: it was ready for traffic before it ended. Then the first five are 0.
    """
    free = _FREE_IF_SERVED if served else _FREE
    return 0.0 if failures <= free else min(_MOST, _FIRST * 2.0 ** min(failures - free - 1, 10))


def count_failure(failures: int, lasted: float, served: bool) -> int:
    """The failures in a row, now that a run of `lasted` seconds ended. Of one that served, a fifth of the time wipes
    them out: then the sixth end within a minute is the first that is waited after."""
    enough = STABLE_AFTER / _FREE_IF_SERVED if served else STABLE_AFTER
    return 1 if lasted >= enough else failures + 1
