"""Which files of a directory changed, from the kernel itself, without a thread: inotify(7).

Directories are watched, not files: an editor that saves by renaming makes a new file under the old name.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _DELETE, _IGNORED = 0x8, 0x40, 0x80, 0x200, 0x8000
_MASK = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE
_HEADER = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """Calls `on_change` with the path of each file that was written, renamed or deleted in the directories."""

    def __init__(self, on_change: Callable[[Path], None]) -> None:
        self._on_change = on_change
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "no more inotify instances: raise fs.inotify.max_user_instances")
        self._directories: dict[int, Path] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def add(self, directory: Path) -> None:
        """OSError if it can't be watched."""
        watch = _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _MASK)
        if watch < 0:
            raise OSError(ctypes.get_errno(), f"{directory} can't be watched: {os.strerror(ctypes.get_errno())}")
        self._directories[watch] = directory

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        data = os.read(self._descriptor, 65536)
        offset = 0
        changed: dict[Path, None] = {}
        while offset < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, offset)
            name = data[offset + _HEADER.size : offset + _HEADER.size + length].rstrip(b"\0")
            offset += _HEADER.size + length
            if name and not mask & _IGNORED and watch in self._directories:
                changed[self._directories[watch] / os.fsdecode(name)] = None
        for path in changed:
            self._on_change(path)
