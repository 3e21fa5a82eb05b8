"""Reading log files: their last lines, and what is added to them while they are rotated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 16


class LogReader:
    """One log file that another process writes. `read` gives what is new, across rotation and truncation."""

    def __init__(self, path: Path, tail: int | None = None) -> None:
        """`tail`: begin with that many last lines; None with the first line."""
        self.path = path
        self.closed = False
        self._file: BinaryIO | None = None
        self._open()
        if self._file and tail is not None:
            _seek_tail(self._file, tail)

    def read(self) -> bytes:
        """All that was written since the last call; b"" if nothing was."""
        content = self._rest()
        if self._moved():
            # Whoever rotates writes to the old file until then: what came last is read before it is let go.
            content += self._rest()
            self._release()
            self._open()
            content += self._rest()
        return content

    def close(self) -> None:
        """Nothing is read any more."""
        self.closed = True
        self._release()

    def _release(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        try:
            self._file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            self._file = None

    def _rest(self) -> bytes:
        if self._file is None:
            return b""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        return self._file.read()

    def _moved(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        if self._file is None:
            return True
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)


def _seek_tail(file: BinaryIO, lines: int) -> None:
    """To where the last `lines` lines begin, read backwards block by block."""
    position = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return
    seen = 0
    # The newline that ends the last line begins no other.
    last = position
    while position > 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        block = file.read(position - start)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            seen += start + at + 1 < last
            if seen == lines:
                file.seek(start + at + 1)
                return
        position = start
    file.seek(0)
