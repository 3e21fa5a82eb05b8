"""Tests side by side: which worker has which, and when.

    controller ─files, the longest first─▶ worker, worker, ...      each a pytest of its own (pytest-xdist)

A file is one worker's, so that the mesh or Envoy that its tests share is made once. Half of the suite's time is
waiting, so that there are more workers than processors. What a test makes on the machine has its worker's process id in
its name.
"""

from __future__ import annotations

import os
from typing import Any

from xdist.scheduler import LoadFileScheduling

_LONGEST = ("chaos", "e2e", "runtime", "envoy", "fuzz")
"""The folders whose files take seconds; those of all others fill the gaps at the end."""


def workers() -> int:
    return (os.cpu_count() or 1) + 2


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    def _assign_work_unit(self, node: Any) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_turn), last=False)
        super()._assign_work_unit(node)


def _turn(file: str) -> int:
    folder = file.removeprefix("tests/").partition("/")[0]
    return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)


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
