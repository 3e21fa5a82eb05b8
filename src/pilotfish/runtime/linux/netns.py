"""A network namespace: made, entered, deleted."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import loopback, syscalls
from pilotfish.runtime.linux.userns import UserNs, find_owner, netns_of, netns_of_new_owner

DIRECTORY = Path("/run/netns")
"""Where iproute2 keeps named namespaces, so that `ip netns` knows ours, too."""
_OWN = "/proc/thread-self/ns/net"


@dataclass(frozen=True, slots=True)
class NetNs:
    """A network namespace by the path of its file: `/run/netns/NAME` or `/proc/PID/ns/net`."""

    path: Path

    @classmethod
    def named(cls, name: str) -> NetNs:
        """The namespace that `ip netns` calls `name`, whether it exists or not."""
        return cls(DIRECTORY / name)

    @classmethod
    def current(cls) -> NetNs:
        """The namespace that this process's main thread is in."""
        return cls(Path(f"/proc/{os.getpid()}/ns/net"))

    @classmethod
    def create(cls, name: str, owner: UserNs | None = None) -> NetNs:
        """A new namespace, bound to its name as iproute2 does it; its loopback works. MachineError if it exists.

        `owner`: whose it is, so that who has a right there has it here. None: it is the machine's.
        """
        return cls._bind(name, _unshared() if owner is None else netns_of(owner))

    @classmethod
    def create_with_owner(cls, name: str) -> NetNs:
        """As `create`, with an owner that is made for it."""
        return cls._bind(name, netns_of_new_owner())

    @classmethod
    def _bind(cls, name: str, made: AbstractContextManager[str]) -> NetNs:
        namespace = cls.named(name)
        try:
            _share_directory()
            namespace.path.touch(mode=0o444, exist_ok=False)
        except FileExistsError:
            raise MachineError(
                f"network namespace {name} already exists", f"remove it: ip netns delete {name}"
            ) from None
        except PermissionError:
            raise MachineError(f"network namespace {name} can't be made without root", "use sudo") from None
        try:
            with made as file:
                syscalls.mount(file, str(namespace.path), None, syscalls.MS_BIND)
            with namespace.entered():
                loopback.bring_up()
        except BaseException as error:
            namespace.delete()
            if not isinstance(error, OSError):
                raise
            remedy = "use root" if error.errno == errno.EPERM else "see the kernel's log"
            raise MachineError(f"network namespace {name} can't be made: {error.strerror}", remedy) from error
        return namespace

    def owner(self) -> UserNs | None:
        """None: it is the machine's, or of whom this process may not know."""
        try:
            return find_owner(self.path)
        except OSError as error:
            raise self._missing(error) from error

    @property
    def name(self) -> str:
        return self.path.name

    def exists(self) -> bool:
        """True for a live namespace; False also for a name's file that no namespace is bound to any more."""
        try:
            return self._stat().st_dev == Path(_OWN).stat().st_dev
        except MachineError:
            return False

    def delete(self) -> None:
        """Lets go of the name. The kernel ends the namespace once no process and no socket is left in it."""
        with suppress(FileNotFoundError):
            try:
                syscalls.umount(str(self.path), syscalls.MNT_DETACH)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOENT):
                    raise MachineError(f"{self.path} can't be unmounted: {error.strerror}", "use root") from error
            self.path.unlink()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in the namespace, and back again after it. Nothing may be awaited inside.

        Where it is there already, it needs no right to enter one (CAP_SYS_ADMIN, which a pod's init container lacks).
        """
        with self.opened() as target:
            if os.path.samestat(os.fstat(target), Path(_OWN).stat()):
                yield
                return
            with self._visited(target):
                yield

    @contextmanager
    def _visited(self, target: int) -> Iterator[None]:
        with _returning():
            try:
                syscalls.setns(target, syscalls.CLONE_NEWNET)
            except OSError as error:
                remedy = "use root" if error.errno == errno.EPERM else "is it a network namespace?"
                raise MachineError(f"{self.path} can't be entered: {error.strerror}", remedy) from error
            yield

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of the namespace, for a process that is to enter it itself."""
        target = self._open()
        try:
            yield target
        finally:
            os.close(target)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket that stays in this namespace whoever uses it."""
        with self.entered():
            return socket.socket(family, kind)

    def pids(self) -> tuple[int, ...]:
        """Every process whose network namespace this is, oldest first."""
        wanted = self._stat()
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal():
                # A process may end, or be a stranger's, while we look.
                with suppress(OSError):
                    status = Path(entry.path, "ns/net").stat()
                    if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
                        found.append(int(entry.name))
        return tuple(sorted(found))

    def sysctl(self, values: dict[str, str]) -> None:
        """Sets `net.*` settings of this namespace, {"ipv4/ip_forward": "1"}; skips those that the kernel lacks."""
        with self.entered():
            for name, value in values.items():
                with suppress(FileNotFoundError):
                    Path("/proc/sys/net", name).write_text(value)

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._missing(error) from error

    def _stat(self) -> os.stat_result:
        try:
            return self.path.stat()
        except OSError as error:
            raise self._missing(error) from error

    def _missing(self, error: OSError) -> MachineError:
        remedy = "use root" if error.errno in (errno.EACCES, errno.EPERM) else "`ip netns list` shows those that exist"
        return MachineError(f"network namespace {self.path} can't be opened: {error.strerror}", remedy)


def list_names(prefix: str) -> tuple[str, ...]:
    """The names in /run/netns that start with `prefix`, in order."""
    try:
        return tuple(sorted(path.name for path in DIRECTORY.iterdir() if path.name.startswith(prefix)))
    except FileNotFoundError:
        return ()


@contextmanager
def _unshared() -> Iterator[str]:
    """The file of a new namespace, in which the calling thread is for as long."""
    with _returning():
        syscalls.unshare(syscalls.CLONE_NEWNET)
        yield _OWN


@contextmanager
def _returning() -> Iterator[None]:
    """Whatever namespace the thread goes to inside, it comes back."""
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
        finally:
            os.close(home)


def _share_directory() -> None:
    """Makes /run/netns a shared mount, so that deleting a name reaches those who copied the mounts (ip-netns(8))."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        syscalls.mount(None, str(DIRECTORY), None, syscalls.MS_SHARED | syscalls.MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        syscalls.mount(str(DIRECTORY), str(DIRECTORY), None, syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.mount(None, str(DIRECTORY), None, syscalls.MS_SHARED | syscalls.MS_REC)
