"""Know at once when a directory's entries change. Source: inotify(7).

Used directly, because a saved file is to reach the proxies within milliseconds and a watching thread with its own
debouncing costs more than all the rest of the way.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK
_CLOSE_WRITE, _MOVED, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x8, 0x40 | 0x80, 0x100, 0x200, 0x400, 0x800
_ENTRIES = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
_EVENT = struct.Struct("iIII")
_IGNORED = 0x8000
_BUFFER = 1 << 16


class Inotify:
    """Calls back for every batch of changes in the watched directories."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._check(self._libc.inotify_init1(_CLOEXEC_NONBLOCK))
        self._watched: dict[Path, int] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def watch(self, directories: Iterable[Path]) -> None:
        """Watch these, and no others. One that does not exist is left out."""
        wanted = set(directories)
        for gone in self._watched.keys() - wanted:
            self._libc.inotify_rm_watch(self._fd, self._watched.pop(gone))
        for directory in wanted - self._watched.keys():
            descriptor = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), _ENTRIES)
            if descriptor >= 0:
                self._watched[directory] = descriptor

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> None:
        data = os.read(self._fd, _BUFFER)
        offset = 0
        while offset < len(data):
            descriptor, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            if mask & _IGNORED:
                # The directory itself is gone; one of the same name would need a new watch.
                self._watched = {d: w for d, w in self._watched.items() if w != descriptor}
        self._on_change()

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
