"""How much is tried: `make fuzz` tries more."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

TIMES: Final = "PILOTFISH_FUZZ_TIMES"
"""The environment variable that says how many times as much."""


def fuzzed(usual: int) -> settings:
    """So many examples. None is made smaller: of such objects that takes minutes."""
    return settings(
        max_examples=usual * int(os.environ.get(TIMES, "1")),
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
