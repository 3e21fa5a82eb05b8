"""How much is tried: `make fuzz` tries more."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

TIMES: Final = "PILOTFISH_FUZZ_TIMES"
"""The environment variable that says how many times as much."""


def fuzzed(usual: int) -> settings:
    """So many examples, the same ones each time: what one run finds is to be seen in the next. `make fuzz` draws anew.
    None is made smaller: of such objects that takes minutes."""
    times = os.environ.get(TIMES)
    return settings(
        max_examples=usual * int(times or "1"),
        derandomize=times is None,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
