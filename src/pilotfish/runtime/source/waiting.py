"""Which place in a file system is looked into just now, for whoever asks why nothing is heard of it.

A mount whose server is away (NFS, FUSE) answers nobody, for ever, and a thread that has asked it can't be called back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pilotfish.model import Problem

LATE = 2.0
"""Seconds after which it is said that a file system does not answer."""


class Waiting:
    def __init__(self) -> None:
        self._at: tuple[Path, float] | None = None

    def each(self, paths: Iterable[Path]) -> Iterator[Path]:
        """The same, with a note of which one is in hand. Used in the thread that looks."""
        try:
            for path in paths:
                self._at = path, time.monotonic()
                yield path
        finally:
            self._at = None

    def since(self) -> float | None:
        """Since when, in seconds since the epoch, a file system has not answered; None if all do."""
        seconds = self._seconds()
        return None if seconds < LATE else time.time() - seconds

    def _seconds(self) -> float:
        at = self._at
        return 0.0 if at is None else time.monotonic() - at[1]

    def problems(self) -> tuple[Problem, ...]:
        at, seconds = self._at, self._seconds()
        if at is None or seconds < LATE:
            return ()
        message = (
            f"the file system of {at[0]} has not answered for {seconds:.0f} s: until it does, no saved change is "
            "applied, and all else goes on as it was; mend that mount, or unmount it"
        )
        return (Problem(None, "", "FileSystemHangs", message),)
