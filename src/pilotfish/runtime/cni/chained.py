"""The plugin on the host: its program where the runtime looks for it, and its place in the runtime's configuration.

Every file appears whole, by renaming: a runtime reads them whenever it likes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pilotfish.cni.conflist import PLUGIN, SUFFIXES, Change, chain, choose, is_chained, unchain
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.inotify import Inotify
from pilotfish.runtime.thread import in_thread

_log = logging.getLogger(__name__)
_SETTLING: Final = 0.05
"""Seconds after a change until it is looked at: a file that is written in place is not whole at once."""
_PAUSE: Final = 1.0
"""Seconds after a change of ours until the next, so that two who each want the last word don't keep the node busy."""


@dataclass(frozen=True, slots=True)
class HostPlugin:
    program: Path
    """Of the image."""
    binaries: Path
    """The host's directory of plugins."""
    configurations: Path
    """The host's directory of network configurations."""
    entry: Mapping[str, Any]
    """The plugin, as a configuration calls it."""

    def install_program(self) -> None:
        """MachineError if the host's directory can't be written to."""
        content = self.program.read_bytes()
        target = self.binaries / PLUGIN
        with suppress(OSError):
            if target.read_bytes() == content and os.access(target, os.X_OK):
                return
        _replace(target, content, 0o755)
        _log.info("installed %s", target)

    def chain(self) -> str | None:
        """The name of the file that the plugin is in; None where the runtime has none yet. It is nowhere else."""
        files = self._read()
        name = choose(files)
        if name is None:
            return None
        if (change := chain(name, files[name], self.entry)) is not None:
            self._perform(name, change)
            _log.info("chained into %s", self.configurations / change.name)
            name = change.name
        for other, text in files.items():
            if other != name and (change := unchain(other, text)) is not None:
                self._perform(other, change)
        return name

    def remove(self) -> None:
        """Takes the plugin out of every configuration, and then its program away."""
        for name, text in self._read().items():
            if (change := unchain(name, text)) is not None:
                self._perform(name, change)
                _log.info("taken out of %s", self.configurations / name)
        with suppress(FileNotFoundError):
            (self.binaries / PLUGIN).unlink()

    def is_chained(self) -> bool:
        files = self._read()
        name = choose(files)
        return name is not None and is_chained(name, files[name])

    def _read(self) -> dict[str, str]:
        try:
            paths = [path for path in self.configurations.iterdir() if path.suffix in SUFFIXES]
        except OSError as error:
            raise MachineError(
                f"{self.configurations} can't be read: {error.strerror}", "mount the host's directory of networks there"
            ) from error
        found = {}
        for path in paths:
            with suppress(OSError, UnicodeDecodeError):  # gone again, or none that a runtime reads
                found[path.name] = path.read_text()
        return found

    def _perform(self, name: str, change: Change) -> None:
        mode = (self.configurations / name).stat().st_mode & 0o777
        _replace(self.configurations / change.name, change.text.encode(), mode)
        if change.replaces:
            (self.configurations / change.replaces).unlink()


async def keep_chained(plugin: HostPlugin, is_chained: asyncio.Event) -> None:
    """Until it is cancelled. `is_chained` is set with the first success. MachineError where the host can't be written
    to."""
    changed = asyncio.Event()
    inotify = Inotify(lambda _: changed.set())
    try:
        while True:
            inotify.watch(inotify.add([plugin.configurations]))
            changed.clear()
            was_so = await in_thread(plugin.is_chained)
            name = await in_thread(plugin.chain)
            if name is not None:
                is_chained.set()
            elif not is_chained.is_set():
                _log.info("waiting for the network configuration of the node, in %s", plugin.configurations)
            await changed.wait()
            await asyncio.sleep(_SETTLING if was_so else _PAUSE)
    finally:
        inotify.close()


def _replace(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.pilotfish")
    try:
        temporary.write_bytes(content)
        temporary.chmod(mode)
        temporary.rename(path)
    except OSError as error:
        raise MachineError(f"{path} can't be written: {error.strerror}", "mount the host's directory there") from error
