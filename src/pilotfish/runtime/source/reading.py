"""One file's bytes, if it is one. Blocks, but for no longer than a disk takes: what else has a name is not read."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

LARGEST = 64 * 1024 * 1024
_PIECE = 1024 * 1024
DANGLING = "DanglingLink"
_DANGLING = "it is a link that leads nowhere, so that its objects stay as they were; mend it, or remove it"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class Text:
    data: bytes
    digest: bytes

    @classmethod
    def of(cls, data: bytes) -> Text:
        return cls(data, hashlib.blake2b(data, digest_size=16).digest())


@dataclass(frozen=True, slots=True)
class Unreadable:
    reason: str
    message: str


Content = Text | Unreadable | None
"""None: there is no such file, but perhaps a folder."""


def find_kind(path: Path) -> int:
    """As in `stat.S_IFMT`, of what links lead to; 0 where there is nothing."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except OSError:
        return 0


def read_file(path: Path) -> Content:
    try:
        # Before it is opened, as to open a device may do something.
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFDIR:
            return None
        if kind != stat.S_IFREG:
            return _not_a_file(kind)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            kind = stat.S_IFMT(os.fstat(descriptor).st_mode)  # it may have become another since
            return read_all(descriptor) if kind == stat.S_IFREG else _not_a_file(kind)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return Unreadable(DANGLING, _DANGLING) if path.is_symlink() else None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Unreadable(DANGLING, _DANGLING)
        message = f"it can't be read ({error.strerror}), so that its objects stay as they were; mend its permissions"
        return Unreadable("Unreadable", message)


def read_all(descriptor: int) -> Text | Unreadable:
    """Until the end of what comes."""
    pieces, size = [], 0
    while piece := os.read(descriptor, _PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            return _too_large()
    return Text.of(b"".join(pieces))


def _not_a_file(kind: int) -> Unreadable:
    what = _KINDS.get(kind, "no file")
    return Unreadable("NotAFile", f"it is {what}, so that nothing of it is used; put a file there, or move it away")


def _too_large() -> Unreadable:
    limit = f"{LARGEST // 1024 // 1024} MiB"
    message = f"it holds more than {limit}, so that its objects stay as they were; split it, or take out what is in it"
    return Unreadable("TooLarge", message)
