"""The file of what outlives a restart of discovery: `last-good.json` in the directory that `--state` names."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import stat
from pathlib import Path

from pilotfish.discovery.memory import LARGEST, BrokenMemoryError, Remembered, decode, encode
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.files import replace_file

_log = logging.getLogger(__name__)


class StateFile:
    """Written elsewhere than in the loop, one time after the other, the latest alone where several are due."""

    def __init__(self, directory: Path | None) -> None:
        """`directory` None: nothing is kept."""
        self._path = directory / "last-good.json" if directory else None
        self._version = importlib.metadata.version("pilotfish")
        self._latest: tuple[Remembered, ...] | None = None
        self._task: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Make the directory. Raises MachineError."""
        if self._path is not None:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise MachineError(
                    f"--state {self._path.parent} can't be made: {error.strerror}", "give a directory to write to"
                ) from error

    def read(self) -> tuple[Remembered, ...]:
        """What was kept. A file that can't be read, or is broken, says so in the log and is as good as none."""
        if self._path is None:
            return ()
        try:
            status = self._path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise BrokenMemoryError(f"it is no file of {LARGEST} bytes at the most")
            return decode(self._path.read_bytes(), self._version)
        except FileNotFoundError:
            return ()
        except (OSError, BrokenMemoryError) as error:
            _log.warning("%s is ignored, so that what Envoy refused before is offered again: %s", self._path, error)
            return ()

    def keep(self, remembered: tuple[Remembered, ...]) -> None:
        """Write this in the place of what was written before."""
        if self._path is None:
            return
        self._latest = remembered
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_all(self._path))

    async def close(self) -> None:
        """Returns when all is written."""
        if self._task is not None:
            await self._task

    async def _write_all(self, path: Path) -> None:
        try:
            while self._latest is not None:
                latest, self._latest = self._latest, None
                await asyncio.to_thread(self._write, path, latest)
        finally:
            self._task = None

    def _write(self, path: Path, remembered: tuple[Remembered, ...]) -> None:
        content, too_much = encode(remembered, self._version)
        if too_much:
            _log.warning("%s has no room for %s: they are offered again after a restart", path, _listed(too_much))
        try:
            replace_file(path, content, 0o600)
        except OSError as error:
            _log.warning("%s can't be written, so that a restart forgets what Envoy refused: %s", path, error)


def _listed(refs: tuple[object, ...]) -> str:
    return ", ".join(map(str, refs[:10])) + (f" and {len(refs) - 10} more" if len(refs) > 10 else "")
