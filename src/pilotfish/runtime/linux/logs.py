"""A container's or an Envoy's output, in a file that does not grow without end.

`NAME.log` holds the current run, `NAME.log.1` the previous one. A run that writes more than 10 MB (the kubelet's
containerLogMaxSize) loses its oldest lines: what was written before the last cut is in `NAME.log.0`.
"""

from __future__ import annotations

import asyncio
import io
import os
from contextlib import suppress
from pathlib import Path

LIMIT = 10 * 1024 * 1024
_PIECE = 65536


class ContainerLog:
    """Takes what one run writes into a pipe to the file, until the pipe's last writer is gone."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(f"{path}.1")
        self._file = _open(path)
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
        self._write(chunk)
        return True

    def _write(self, chunk: bytes) -> None:
        if self._file.tell() + len(chunk) > self._limit:
            cut = chunk.rfind(b"\n") + 1
            self._file.write(chunk[:cut])
            self._file.close()
            with suppress(FileNotFoundError):
                self.path.replace(f"{self.path}.0")
            self._file = _open(self.path)
            chunk = chunk[cut:]
        self._file.write(chunk)

    def _end(self) -> None:
        self._loop.remove_reader(self._reader)
        os.close(self._reader)
        self._reader = -1
        if self.writer >= 0:
            self.started()
        self._file.close()


def _open(path: Path) -> io.FileIO:
    """For root alone: an app may log what is nobody else's business."""
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")
