"""Tests side by side: which worker has which, and when.

    controller ─files─▶ worker, worker, ...      each a pytest of its own (pytest-xdist)

A file is one worker's, so that the mesh or Envoy that its tests share is made once. Half of the suite's time is
waiting, so that there are more workers than processors. What a test makes on the machine has its worker's process id in
its name. Those that judge how soon something comes have the machine for themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

ALONE = (
    "tests/chaos/test_chaos.py",
    "tests/e2e/test_killed_envoys.py",
    "tests/envoy/test_timeouts.py",
    "tests/envoy/test_warmup.py",
)
"""One worker runs these first, one after the other; the others wait."""
_LONGEST = ("e2e", "runtime", "envoy", "fuzz")
"""The folders whose files take seconds; those of all others fill the gaps at the end."""
_REPOSITORY = Path(__file__).parents[1]
_LAST = "cluster"
"""What these need may have to be compiled first, beside all others."""


def workers() -> int:
    return (os.cpu_count() or 1) + 2


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return ALONE[0] if file in ALONE else file

    def _assign_work_unit(self, node: Any) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_turn), last=False)
        super()._assign_work_unit(node)


def _turn(file: str) -> tuple[int, int]:
    """Of one folder the largest first, which as a rule take longest: at the end nobody waits for one of these."""
    return _rank(file), -(_REPOSITORY / file).stat().st_size


def _rank(file: str) -> int:
    if file in ALONE:
        return -1
    folder = file.removeprefix("tests/").partition("/")[0]
    if folder == _LAST:
        return len(_LONGEST) + 1
    return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)


class Room:
    """Where tests run: many at once, or one of `ALONE`, which keeps it until a test comes that is none.

    Nobody gets past who waits at the door, so that those who want it alone get it. The locks of a worker that dies
    are free.
    """

    def __init__(self, folder: Path) -> None:
        self._door, self._room = (
            os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC) for name in ("door", "room")
        )
        self._is_held = False

    @contextmanager
    def entered(self, item: pytest.Item, following: pytest.Item | None) -> Iterator[None]:
        if not self._is_held:
            flock(self._door, LOCK_EX)
            flock(self._room, LOCK_EX if _is_alone(item) else LOCK_SH)
            flock(self._door, LOCK_UN)
        try:
            yield
        finally:
            self._is_held = _is_alone(item) and following is not None and _is_alone(following)
            if not self._is_held:
                flock(self._room, LOCK_UN)


def _is_alone(item: pytest.Item) -> bool:
    return item.nodeid.partition("::")[0] in ALONE


def encodable(report: Any) -> Any:
    """A report as it can be sent: what tests of broken text have printed may be no Unicode."""
    match report:
        case str():
            return report.encode(errors="backslashreplace").decode()
        case dict():
            return {key: encodable(value) for key, value in report.items()}
        case list() | tuple():
            return type(report)(map(encodable, report))
        case _:
            return report
