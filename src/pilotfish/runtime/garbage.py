"""How often Python looks for garbage in cycles (the gc module): seldom, where much is held and little of it dropped."""

from __future__ import annotations

import atexit
import gc

_NEW = 10_000
"""New containers after which the young are looked through; Python's own 700 is for small programs. With 1,000 services
the looks were a quarter of the time in which discovery became ready, and found nothing. After some twenty times as many
all is looked through: what is left of a large text that was read waits for that."""


def put_off() -> None:
    """To be called before the rest is imported, which makes a hundred thousand containers: a command that answers and
    ends is never looked through, nor at its end, where Python would (30 of 330 ms of `explain`)."""
    gc.set_threshold(30 * _NEW, 10, 2)
    atexit.register(gc.freeze)


def look_seldom() -> None:
    """To be called by what runs for long, when all is imported: what exists then is never looked through."""
    gc.freeze()
    gc.set_threshold(_NEW, 10, 2)
