"""A container's or an Envoy's output, in a file that does not grow without end.

`NAME.log` holds the current run, `NAME.log.1` the previous one. A run that writes more than 10 MB (the kubelet's
containerLogMaxSize) loses its oldest lines: what was written before the last cut is in `NAME.log.0`.

`NAME.times` says when what stands where in `NAME.log` was written: pairs of an offset and seconds since the epoch, in
order, for every piece that came a millisecond or more after the one before. It is moved and cut with its log.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pilotfish.runtime.linux.stamps import STAMP, times_path

LIMIT = 10 * 1024 * 1024
_PIECE = 65536
_FINEST = 0.001
_MOST_TIMES = 16 * 1024 * 1024


class LogFile:
    """What one run writes."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        path.parent.mkdir(parents=True, exist_ok=True)
        _move(path, "1")
        self._file, self._times, self._stamped = _open(path), _open(times_path(path)), 0.0

    def write(self, chunk: bytes) -> None:
        self._stamp()
        if self._file.tell() + len(chunk) > self._limit or self._times.tell() > _MOST_TIMES:
            cut = chunk.rfind(b"\n") + 1
            self._file.write(chunk[:cut])
            self.close()
            _move(self.path, "0")
            self._file, self._times, self._stamped = _open(self.path), _open(times_path(self.path)), 0.0
            self._stamp()
            chunk = chunk[cut:]
        self._file.write(chunk)

    def close(self) -> None:
        self._file.close()
        self._times.close()

    def _stamp(self) -> None:
        """Before what it is said of: whoever reads finds a time for all that is there."""
        now = time.time()
        if not 0 <= now - self._stamped < _FINEST:
            self._times.write(STAMP.pack(self._file.tell(), now))
            self._stamped = now


class Sorter(Protocol):
    """Takes of an output what is for somebody else's log."""

    def take(self, chunk: bytes) -> bytes:
        """Returns what is not."""
        ...

    def end(self) -> bytes:
        """Nothing follows: what was kept until its line would be complete."""
        ...


class ContainerLog:
    """Takes what one run writes into a pipe to the file, until the pipe's last writer is gone."""

    def __init__(self, path: Path, limit: int = LIMIT, sorter: Sorter | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        self._file = LogFile(path, limit)
        self._sorter = sorter
        self._loop.add_reader(self._reader, self._copy)

    def started(self) -> None:
        """The process has the pipe; ours is closed, so that its end is seen."""
        os.close(self.writer)
        self.writer = -1

    def note(self, text: str) -> None:
        """A line of our own, such as why the program could not be run."""
        self._file.write(f"{text}\n".encode())

    def close(self) -> None:
        """After the process ended: what is still in the pipe is taken, others who hold it are not waited for."""
        while self._copy():
            pass
        if self._reader >= 0:
            self._end()

    def _copy(self) -> bool:
        """True if something was read."""
        if self._reader < 0:
            return False
        try:
            chunk = os.read(self._reader, _PIECE)
        except BlockingIOError:
            return False
        if not chunk:
            self._end()
            return False
        if self._sorter is not None:
            chunk = self._sorter.take(chunk)
        if chunk:
            self._file.write(chunk)
        return True

    def _end(self) -> None:
        self._loop.remove_reader(self._reader)
        os.close(self._reader)
        self._reader = -1
        if self.writer >= 0:
            self.started()
        if self._sorter is not None and (rest := self._sorter.end()):
            self._file.write(rest)
        self._file.close()


def _move(log: Path, number: str) -> None:
    for path in (log, times_path(log)):
        with suppress(FileNotFoundError):
            path.replace(f"{path}.{number}")


def _open(path: Path) -> io.FileIO:
    """For root alone: an app may log what is nobody else's business."""
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")
