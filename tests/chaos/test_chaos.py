"""A short run, in the suite: `make chaos` has the long one."""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos.plan import steps
from tests.chaos.runner import run
from tests.chaos.table import TABLE

SECONDS = 30.0
"""About one round of the table. Each run of the suite has a seed of its own, which a failure shows."""


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces take root")
@pytest.mark.timeout(180)
def test_chaos_breaks_nothing() -> None:
    seed = random.SystemRandom().randrange(10**6)
    report = run(steps(seed, TABLE), SECONDS, f"make chaos SEED={seed}")
    assert report.broken == [], "\n".join(report.broken)
    assert report.actions.total() >= 5
