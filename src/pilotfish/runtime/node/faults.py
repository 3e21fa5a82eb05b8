"""What nobody foresaw: a fault of pilotfish's own stays with the step and the object that led to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pilotfish.model import ObjectRef, Problem, Source

_log = logging.getLogger(__name__)


class Faults:
    """Each stands as a Problem until the same step succeeds for the same object."""

    def __init__(self) -> None:
        self.count = 0
        """How many there were since the start."""
        self._standing: dict[tuple[str, ObjectRef | None], Problem] = {}
        self._words: dict[tuple[str, ObjectRef | None], str] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._standing.values())

    @contextmanager
    def isolate(self, step: str, ref: ObjectRef | None = None, source: Source | None = None) -> Iterator[None]:
        """What is raised inside ends here. `step`: what is not done then, as in "its pods are not made"."""
        try:
            yield
        except Exception as error:
            self.note(step, error, ref, source)
        else:
            self.clear(step, ref)

    def note(self, step: str, error: BaseException, ref: ObjectRef | None = None, source: Source | None = None) -> None:
        """Logged once for as long as it is the same."""
        self.count += 1
        key, words = (step, ref), repr(error)
        if self._words.get(key) == words:
            return
        mark = f"fault {self.count}"
        _log.error("%s: %s %s", mark, ref or "", step, exc_info=error)
        self._words[key] = words
        said = words.encode(errors="backslashreplace").decode()[:200]
        message = f"{step}, by a fault in pilotfish: {said}; all else goes on (node.log: {mark})"
        self._standing[key] = Problem(ref, "", "InternalError", message, source=source)

    def clear(self, step: str, ref: ObjectRef | None = None) -> None:
        self._standing.pop((step, ref), None)
        self._words.pop((step, ref), None)

    def forget(self, ref: ObjectRef) -> None:
        """The object is gone, and its faults with it."""
        for step in [step for step, of in self._standing if of == ref]:
            self.clear(step, ref)
