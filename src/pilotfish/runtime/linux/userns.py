"""The user namespace that owns network namespaces: a right in it is a right in these, and nowhere else.

    NetNs.create_with_owner ─▶ `userns_maker` ─unshare─▶ user namespace ─unshare─▶ network namespace ─bind─▶ its name
    NetNs.create(owner) ─▶ nsenter ──────────────▶ user namespace ─unshare─▶ one more

It has no name and no process: it lives as long as a network namespace that it owns, and is found by one. All users and
groups are in it what they are outside.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.packages import remedy

_OWN: Final = Path("/proc/self/ns/user")
_NS_GET_USERNS: Final = 0xB701
"""ioctl_ns(2): a descriptor of the user namespace that owns the namespace."""
_LIMIT: Final = Path("/proc/sys/user/max_user_namespaces")
_SOURCE: Final = str(Path(__file__).parents[3])
_MAKE: Final = (
    "import sys; sys.path[:0] = sys.argv[1:2]; "
    "from pilotfish.runtime.linux.userns_maker import main; main(sys.argv[2:])"
)
_IN_NEW_NETNS: Final = ("unshare", "-n", "cat")
"""Says what it hears, once it is there."""


class NoUserNs(MachineError):
    """The kernel makes none, or no network namespace in it."""


@dataclass(frozen=True, slots=True)
class UserNs:
    owned: Path
    """The file of a network namespace that it owns."""

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of it, for a process that is to enter it. MachineError if what it owns is gone."""
        try:
            descriptor = _open_owner(self.owned)
        except OSError as error:
            what = f"the user namespace that owns network namespace {self.owned} can't be opened"
            raise MachineError(f"{what}: {error.strerror}", "`ip netns list` shows those that exist") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def find_owner(netns: Path) -> UserNs | None:
    """None: this process's own, or one that it may not know. OSError if there is no such network namespace."""
    try:
        descriptor = _open_owner(netns)
    except PermissionError:
        return None
    try:
        own = os.path.samestat(os.fstat(descriptor), _OWN.stat())
    finally:
        os.close(descriptor)
    return None if own else UserNs(netns)


def enter(descriptor: int) -> tuple[str, ...]:
    """Before a program and its arguments: it runs in the user namespace, with all rights there if it is root's."""
    return ("nsenter", f"-U/proc/self/fd/{descriptor}")


@contextmanager
def netns_of(owner: UserNs) -> Iterator[str]:
    """The file of a new network namespace, which is gone after it unless it was bound. OSError, NoUserNs."""
    with owner.opened() as descriptor, _Maker((*enter(descriptor), *_IN_NEW_NETNS), (descriptor,)) as maker:
        maker.ask(b"\n")
        yield f"/proc/{maker.pid}/ns/net"


@contextmanager
def netns_of_new_owner() -> Iterator[str]:
    """As `netns_of`, in a user namespace that is made for it.

    Who made a user namespace has, by his user, all rights in it from where he made it (user_namespaces(7)). So that no
    container's root has them, it is made by the last user that there is, whom no pod may name.
    """
    ids = {kind: _read_ids(kind) for kind in ("uid", "gid")}
    last = max(first + count - 1 for first, count in ids["uid"])
    with _Maker((sys.executable, "-I", "-S", "-c", _MAKE, _SOURCE, str(last), *_IN_NEW_NETNS)) as maker:
        maker.ask(b"")
        for kind, ranges in ids.items():
            lines = "".join(f"{first} {first} {count}\n" for first, count in ranges)
            Path(f"/proc/{maker.pid}/{kind}_map").write_text(lines)
        maker.ask(b"\n\n")
        yield f"/proc/{maker.pid}/ns/net"


class _Maker:
    """A process that is in the new namespace once it answers, and is ended when that has been bound."""

    def __init__(self, argv: Sequence[str], descriptors: Sequence[int] = ()) -> None:
        self._errors = os.fdopen(os.memfd_create("errors"), "w+b")
        self._channel, other = socket.socketpair()
        with other:
            try:
                self._process = subprocess.Popen(
                    argv,
                    stdin=other.fileno(),
                    stdout=other.fileno(),
                    stderr=self._errors,
                    pass_fds=descriptors,
                    cwd="/",
                    start_new_session=True,
                )
            except FileNotFoundError:
                self._close()
                raise MachineError(f"the program {argv[0]} is missing", remedy(argv[0])) from None
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._close()

    def ask(self, word: bytes) -> None:
        """Returns when it answers. NoUserNs if it ends in the place of that."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._channel.sendall(word)
            if self._channel.recv(1):
                return
        self._process.wait()
        self._errors.seek(0)
        said = " ".join(self._errors.read().decode(errors="replace").split())
        off = _LIMIT.exists() and _LIMIT.read_text().strip() == "0"
        how = (
            f"allow them: sysctl -w user.{_LIMIT.name}=10000" if off else "does this kernel have them (CONFIG_USER_NS)?"
        )
        raise NoUserNs(f"no network namespace can be made in a user namespace: {said}", how)

    def _close(self) -> None:
        self._channel.close()
        self._errors.close()


def _read_ids(kind: str) -> tuple[tuple[int, int], ...]:
    """(first, how many) of the users or groups that there are here."""
    lines = Path(f"/proc/self/{kind}_map").read_text().splitlines()
    return tuple((int(first), int(count)) for first, _, count in map(str.split, lines))


def _open_owner(netns: Path) -> int:
    descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(descriptor, _NS_GET_USERNS)
    finally:
        os.close(descriptor)
