"""How much is tried: `make fuzz` tries more."""

from __future__ import annotations

import os
from typing import Final

TIMES: Final = "PILOTFISH_FUZZ_TIMES"
"""The environment variable that says how many times as much."""


def examples(usual: int) -> int:
    return usual * int(os.environ.get(TIMES, "1"))
