"""Who a user of an image is: its own /etc/passwd and /etc/group, read where they are `/`.

Runs in the launcher. By hand, as the C library asks the machine's name services, or loads them from the image.

Source: passwd(5), group(5), and what container runtimes make of an image's `User`
(https://github.com/opencontainers/image-spec/blob/main/config.md).
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 1 << 20
"""Bytes of a file that are read."""


def find_account(user: str, gid: int | None) -> tuple[int, int, list[int], str]:
    """(uid, gid, further groups, home directory) of `USER[:GROUP]`, each a name or a number; "" is root.

    `gid` is counted before what `user` or the files say. OSError for a name that the files do not have.
    """
    name, _, group = user.partition(":")
    name = name or "0"
    entry = next((e for e in _entries("/etc/passwd", 6) if name in ((e[2],) if name.isdecimal() else (e[0],))), None)
    if entry is None and not name.isdecimal():
        raise OSError(errno.ENOENT, "", name)
    uid = int(entry[2]) if entry else int(name)
    known = [e for e in _entries("/etc/group", 3) if e[2].isdecimal()]
    own = int(entry[3]) if entry and entry[3].isdecimal() else 0
    if group:
        own = _find_group(group, known)
    # Membership goes by name; who names a group has that one alone.
    further = [int(e[2]) for e in known if entry and len(e) > 3 and entry[0] in e[3].split(",")] if not group else []
    return uid, own if gid is None else gid, further, entry[5] if entry and entry[5] else "/"


def _find_group(group: str, known: list[list[str]]) -> int:
    if group.isdecimal():
        return int(group)
    found = next((int(e[2]) for e in known if e[0] == group), None)
    if found is None:
        raise OSError(errno.ENOENT, "", group)
    return found


def _entries(path: str, fields: int) -> Iterator[list[str]]:
    for line in _read(path).decode(errors="replace").splitlines():
        entry = line.split(":")
        if len(entry) >= fields and (fields == 3 or entry[2].isdecimal()):
            yield entry


def _read(path: str) -> bytes:
    """What an image has there may be anything, and hold up nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
