"""The Linux system calls that Python 3.11's `os` lacks: namespaces, mounts, capabilities.

Each raises OSError with the errno and the path. The launcher imports this file before a container's program runs, so
it stays small and imports ctypes alone.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2

_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.prctl.restype = ctypes.c_int


def _check(result: int, path: str | None = None) -> None:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), path)


def setns(fd: int, kind: int) -> None:
    """Moves the calling thread into the namespace that `fd` is of (setns(2))."""
    _check(_libc.setns(fd, kind))


def unshare(flags: int) -> None:
    """Gives the calling thread namespaces of its own (unshare(2))."""
    _check(_libc.unshare(flags))


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2); a relative path counts from the working directory."""
    encoded = (part if part is None else os.fsencode(part) for part in (source, target, kind))
    _check(_libc.mount(*encoded, flags, None if data is None else os.fsencode(data)), target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def pivot_root() -> None:
    """Makes the working directory, a mount point, the root. The old one lies over it: `umount(".")` lets go of it.

    Both arguments may be the same directory (pivot_root(2), NOTES).
    """
    _check(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "/")


_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "s390x": 217, "ppc64le": 203}
"""glibc has no wrapper for it; numbers from each architecture's unistd.h."""


def sethostname(name: str) -> None:
    encoded = os.fsencode(name)
    _check(_libc.sethostname(encoded, len(encoded)))


def prctl(option: int, argument: int = 0, second: int = 0) -> None:
    """prctl(2)."""
    _check(_libc.prctl(option, argument, second, 0, 0))


def permitted() -> int:
    """The thread's permitted capabilities (bit n: capability n)."""
    header, data = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, data))
    return int(data[1]) | int(data[4]) << 32


def capset(capabilities: int, inheritable: int) -> None:
    """Makes `capabilities` the thread's permitted and effective ones (capset(2)). Bit n: capability n."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    halves = [
        part for shift in (0, 32) for part in (capabilities >> shift, capabilities >> shift, inheritable >> shift)
    ]
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(*(half & 0xFFFFFFFF for half in halves))))


_SYS_OPENAT2 = 437
_RESOLVE_IN_ROOT = 0x10


def open_in_root(root: int, path: str) -> int:
    """A descriptor for reading, of a path as whoever has the directory `root` for its `/` sees it, links included
    (openat2(2))."""
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, 0, _RESOLVE_IN_ROOT)
    found = _libc.syscall(_SYS_OPENAT2, root, os.fsencode(path), how, ctypes.sizeof(how))
    _check(found, path)
    return int(found)
