"""Which objects it is that something can't be computed with: a fault of pilotfish's that stays with what led to it.

    nothing of what changed is in use ─works─▶ half of it comes back ─fails─▶ a half of that half …

Each object that is left out costs some computations for each doubling of what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pilotfish.model import ObjectRef


class Objects(Protocol):
    def exclude(self, ref: ObjectRef) -> None:
        """Use the object's last good form, or nothing, in its stead."""

    def readmit(self, ref: ObjectRef) -> None:
        """Use the object as it was written."""


def isolate(
    objects: Objects, candidates: Sequence[ObjectRef], attempt: Callable[[], Exception | None]
) -> dict[ObjectRef, Exception]:
    """Those without which `attempt` gives no error; they stay excluded. None where it fails without all of them."""
    for ref in candidates:
        objects.exclude(ref)
    if attempt() is not None:
        for ref in candidates:
            objects.readmit(ref)
        return {}
    return _bring_back(objects, candidates, attempt)


def _bring_back(
    objects: Objects, refs: Sequence[ObjectRef], attempt: Callable[[], Exception | None]
) -> dict[ObjectRef, Exception]:
    for ref in refs:
        objects.readmit(ref)
    error = attempt()
    if error is None:
        return {}
    for ref in refs:
        objects.exclude(ref)
    if len(refs) == 1:
        return {refs[0]: error}
    half = len(refs) // 2
    return _bring_back(objects, refs[:half], attempt) | _bring_back(objects, refs[half:], attempt)
