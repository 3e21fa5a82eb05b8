"""Reading log files: their last lines, those of the last minutes, and what is added to them while they are rotated."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pilotfish.runtime.linux.stamps import STAMP, times_path

_BLOCK = 1 << 16


class LogReader:
    """One log file that another process writes. `read` gives what is new, across rotation and truncation."""

    def __init__(
        self, path: Path, tail: int | None = None, since: float | None = None, timestamps: bool = False
    ) -> None:
        """`tail`: begin with that many last lines; None with the first line. `since`: with nothing older, in seconds
        since the epoch. `timestamps`: each line behind the moment when it was written."""
        self.path = path
        self.closed = False
        self._timestamps = timestamps
        self._in_line = False
        """What was read last ended in the middle of a line."""
        self._file: BinaryIO | None = None
        self._times: _Times | None = None
        self._open()
        if self._file and since is not None and self._times:
            _seek_line(self._file, self._times.offset(since))
        if self._file and tail is not None:
            begin = self._file.tell()
            _seek_tail(self._file, tail)
            self._file.seek(max(begin, self._file.tell()))

    @property
    def is_empty(self) -> bool:
        """Nothing was written at all."""
        return self._file is None or os.fstat(self._file.fileno()).st_size == 0

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
        if self._times:
            self._times.close()
            self._times = None

    def _open(self) -> None:
        try:
            self._file = self.path.open("rb", buffering=0)
            self._times = _Times(times_path(self.path))
        except FileNotFoundError:
            self._file = None

    def _rest(self) -> bytes:
        if self._file is None:
            return b""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        begin = self._file.tell()
        content = self._file.read()
        return self._stamped(begin, content) if self._timestamps else content

    def _stamped(self, begin: int, content: bytes) -> bytes:
        """Each line that begins in `content`, which stands at `begin`, behind its time."""
        lines = []
        for line in content.splitlines(keepends=True):
            if not self._in_line and self._times is not None:
                lines.append(self._times.at(begin))
            lines.append(line)
            begin += len(line)
            self._in_line = not line.endswith(b"\n")
        return b"".join(lines)

    def _moved(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        if self._file is None:
            return True
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)


class _Times:
    """When what stands where in a log was written."""

    def __init__(self, path: Path) -> None:
        self._offsets: list[int] = []
        self._seconds: list[float] = []
        self._rest = b""
        try:
            self._file: BinaryIO | None = path.open("rb", buffering=0)
        except FileNotFoundError:
            self._file = None
        self._read()

    def at(self, offset: int) -> bytes:
        """`2026-11-26T07:17:30.123456Z `, or nothing where it is not known."""
        if not self._offsets or offset > self._offsets[-1]:
            self._read()
        index = bisect_right(self._offsets, offset) - 1
        if index < 0:
            return b""
        moment = datetime.fromtimestamp(self._seconds[index], UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z ".encode()

    def offset(self, since: float) -> int:
        """Of the first that is not older, by the microseconds that are told; -1 if there is none."""
        index = bisect_left(self._seconds, since - 1e-6)
        if not self._offsets:
            return 0
        return self._offsets[index] if index < len(self._offsets) else -1

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _read(self) -> None:
        """What was added."""
        if self._file is None:
            return
        content = self._rest + self._file.read()
        whole = len(content) - len(content) % STAMP.size
        for offset, seconds in STAMP.iter_unpack(content[:whole]):
            self._offsets.append(offset)
            self._seconds.append(seconds)
        self._rest = content[whole:]


def _seek_line(file: BinaryIO, offset: int) -> None:
    """To the first line that begins at `offset` or after it; to the end if that is -1."""
    if offset <= 0:
        file.seek(0, os.SEEK_END if offset < 0 else os.SEEK_SET)
        return
    file.seek(offset - 1)
    while block := file.read(_BLOCK):
        if (cut := block.find(b"\n")) >= 0:
            file.seek(cut + 1 - len(block), os.SEEK_CUR)
            return


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
