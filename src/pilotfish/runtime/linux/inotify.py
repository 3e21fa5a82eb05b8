"""Know at once when a directory's entries change, from the kernel itself and without a thread. Source: inotify(7).

Directories are watched, not files: an editor that saves by renaming makes a new file under the old name. Used directly,
because a saved file is to reach the proxies within milliseconds, and a watching thread with its own debouncing costs
more than all the rest of the way.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import stat
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

_CLOSE_WRITE, _MOVED, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x8, 0x40 | 0x80, 0x100, 0x200, 0x400, 0x800
_ENTRIES = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Calls back with what was written, renamed, linked, made or deleted in the watched directories, batch by batch.

    A file that is being written is named when its writer closes it, not before. A directory that is gone itself, or was
    moved, is named as such and no longer watched; all of them are named when the kernel had to drop events.
    """

    def __init__(self, on_change: Callable[[frozenset[Path]], None]) -> None:
        self._on_change = on_change
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "no more inotify instances: raise fs.inotify.max_user_instances")
        self._watched: dict[Path, int] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def add(self, directories: Iterable[Path]) -> dict[Path, int]:
        """The kernel's number of each that exists. It may block, so it may be called in another thread; `watch` is to
        follow, and until then nothing is heard of those that are new."""
        # A directory that is watched already keeps its number; one that came anew under its name has another.
        numbers = {d: _libc.inotify_add_watch(self._descriptor, os.fsencode(d), _ENTRIES) for d in directories}
        return {directory: number for directory, number in numbers.items() if number >= 0}

    def watch(self, numbers: dict[Path, int]) -> bool:
        """Watch these, and no others. True if one was not watched before."""
        before, self._watched = self._watched, numbers
        for number in set(before.values()) - set(self._watched.values()):
            _libc.inotify_rm_watch(self._descriptor, number)
        return any(before.get(directory) != number for directory, number in self._watched.items())

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        data = os.read(self._descriptor, _BUFFER)
        names: dict[int, list[Path]] = {}  # one that links lead to is watched under several
        for directory, number in self._watched.items():
            names.setdefault(number, []).append(directory)
        changed: set[Path] = set()
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            name = data[offset + _EVENT.size : offset + _EVENT.size + length].rstrip(b"\0")
            offset += _EVENT.size + length
            if mask & _OVERFLOW:
                changed |= self._watched.keys()
            directories = names.get(watch, [])
            if mask & (_IGNORED | _MOVE_SELF):
                # The directory itself is gone; one of the same name would need a new watch.
                for directory in directories:
                    self._watched.pop(directory, None)
            if mask & _MOVE_SELF:
                _libc.inotify_rm_watch(self._descriptor, watch)
            paths = (directory / os.fsdecode(name) for directory in directories)
            # A file system from which an event came is there, so that this look does not take long.
            changed.update(path for path in paths if not (mask & _CREATE and _is_being_written(path)))
        if changed:
            self._on_change(frozenset(changed))


def _is_being_written(created: Path) -> bool:
    """A new regular file is closed by its writer later; a link to an existing one is not."""
    try:
        status = created.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
