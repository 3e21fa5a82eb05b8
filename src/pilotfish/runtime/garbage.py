"""How often Python looks for garbage in cycles (the gc module), in a process that holds much and drops little of it."""

from __future__ import annotations

import gc

_NEW = 10_000
"""New containers after which the young are looked through; Python's own 700 is for small programs. With 1,000 services
the looks were a third of the time in which discovery became ready, and found nothing."""


def expect_little() -> None:
    """To be called when all is imported: what exists then is never looked through."""
    gc.freeze()
    gc.set_threshold(_NEW)
