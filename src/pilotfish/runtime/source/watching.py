"""Which files are to be read: all at first, then those that the kernel names, as soon as their writers are done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pilotfish.runtime.linux.inotify import Inotify
from pilotfish.runtime.source.debounce import Debounce
from pilotfish.runtime.source.survey import is_folder, is_link, is_manifest, survey
from pilotfish.runtime.source.waiting import Waiting
from pilotfish.runtime.thread import in_thread

_MOST_SURVEYS = 5
"""In a row, where folders change faster than they can be watched."""


class Watch:
    def __init__(self, given: Iterable[Path], recursive: bool, waiting: Waiting) -> None:
        self.found = survey(())
        """What there was when it was last looked for."""
        self._given = tuple(given)
        self._recursive = recursive
        self._waiting = waiting
        self._touched: set[Path] = set()
        self._is_outdated = True
        """What there is must be looked for."""
        self._debounce = Debounce()
        self._inotify = Inotify(self._on_event)

    def add(self, paths: Iterable[Path]) -> None:
        """Watch these, too."""
        self._given = tuple(dict.fromkeys((*self._given, *paths)))
        self._is_outdated = True

    async def wait(self, until: float | None) -> float:
        """Until a burst of changes is over; tells when it began. At `until` if nothing changes until then."""
        return await self._debounce.wait(until)

    async def take(self, due: Iterable[Path]) -> frozenset[Path] | None:
        """The files that may hold something else than when they were last read, with those that are `due`; None if
        that is true of all, `found` being what there is now."""
        touched, self._touched = self._touched.union(due), set()
        if not self._is_outdated and not await in_thread(lambda: self._is_turned(touched)):
            return frozenset(touched)
        self._is_outdated = False
        for _ in range(_MOST_SURVEYS):
            self.found = await in_thread(lambda: survey(self._waiting.each(self._given), self._recursive))
            numbers = await in_thread(lambda: self._inotify.add(self._waiting.each(self.found.directories)))
            if not self._inotify.watch(numbers):
                break
        return None

    def close(self) -> None:
        self._inotify.close()

    def _is_turned(self, touched: Iterable[Path]) -> bool:
        """A folder, or a link to elsewhere, has come in the place of a file."""
        paths = self._waiting.each(touched)
        return any(is_folder(path) or (path not in self.found.links and is_link(path)) for path in paths)

    def _on_event(self, paths: frozenset[Path]) -> None:
        """Others' files, and an editor's temporary ones, must not count as a storm."""
        concerned = [path for path in paths if self._concerns(path)]
        if concerned:
            self._debounce.poke()

    def _concerns(self, path: Path) -> bool:
        found = self.found
        if path in found.files and path not in found.links:
            self._touched.add(path)
        elif path in found.places or path in found.directories:
            self._is_outdated = True
        elif path.parent in found.folders and not path.name.startswith(".") and (is_manifest(path) or self._recursive):
            self._touched.add(path)
        else:
            return False
        return True
