"""A container's own view of the files: its volumes, on paths that need not exist on the machine.

Runs in the launcher, in a mount namespace of its own, and creates nothing on the machine: where a mount point is
missing, the deepest directory that exists is covered by a tmpfs that holds a bind of each of its entries, and the
missing ones are made in there.
"""

# Importing pathlib or contextlib would cost every container some milliseconds.
# ruff: noqa: PTH102, PTH103, PTH110, PTH112, PTH115, PTH116, PTH120, PTH123, PTH208, PTH211, SIM105

from __future__ import annotations

import errno
import os
import stat

from pilotfish.runtime.linux import syscalls
from pilotfish.runtime.linux.syscalls import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_KEPT_FLAGS = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC
"""statvfs and mount(2) have the same bits for these; a remount would otherwise take them away."""


def mount_all(
    mounts: Sequence[tuple[str, str, bool, str]], hidden: Sequence[str] = (), read_only_root: bool = False
) -> None:
    """Binds each (source, target, read only, root) into a new mount namespace. OSError names the path that failed.

    Mounts of the machine still propagate in (slave), so that what is unmounted there is not held busy here. `hidden`
    directories are empty, but for what is mounted there.
    """
    separate()
    view = View()
    view.bind(mounts, open_sources(mounts, hidden))
    view.finish()
    if read_only_root:
        writable = [os.path.realpath(target) for _, target, read_only, _ in mounts if not read_only]
        make_root_read_only([*writable, "/dev", "/proc"])


def separate() -> None:
    """Into a new mount namespace, where mounts of the machine still come in, and from which none go out."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_SLAVE | MS_REC)


def open_sources(mounts: Sequence[tuple[str, str, bool, str]], hidden: Sequence[str]) -> list[int]:
    """All before the first is bound, as that may hide another; in the new namespace, as the old one's can't be bound.

    What lies in a hidden directory by its name is shown all the same; a link does not lead there.
    """
    own = [any(source.startswith(f"{directory}/") for directory in hidden) for source, *_ in mounts]
    opened = {i: _open(mounts[i]) for i in range(len(mounts)) if own[i]}
    hide(hidden)
    return [opened[i] if own[i] else _open(mounts[i]) for i in range(len(mounts))]


def _open(mount: tuple[str, str, bool, str]) -> int:
    source, target, _, root = mount
    try:
        descriptor = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        if not root:
            raise
        _make_inside(root, source)
        descriptor = os.open(source, os.O_PATH | os.O_CLOEXEC)
    if root:
        real, found = os.path.realpath(root), os.readlink(f"/proc/self/fd/{descriptor}")
        if found != real and not found.startswith(f"{real.rstrip('/')}/"):
            raise OSError(errno.EXDEV, "", target)
    return descriptor


def _make_inside(root: str, path: str) -> None:
    """The directories of a subPath that is not there, with the volume's mode, as kubelet makes them. No link is
    followed: whoever writes to the volume may have made it."""
    below = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mode = stat.S_IMODE(os.fstat(below).st_mode)
    umask = os.umask(0)
    for name in filter(None, path.removeprefix(root).split("/")):
        try:
            os.mkdir(name, mode, dir_fd=below)
        except FileExistsError:
            pass
        try:
            following = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=below)
        except OSError as error:
            raise OSError(error.errno, "", path) from None
        os.close(below)
        below = following
    os.close(below)
    os.umask(umask)


def hide(directories: Sequence[str]) -> None:
    """They are empty, for this mount namespace."""
    for directory in dict.fromkeys(os.path.realpath(directory) for directory in directories):
        if os.path.isdir(directory):
            syscalls.mount("tmpfs", directory, "tmpfs", MS_RDONLY, "size=0,mode=755")


def mount_proc(*, read_only: bool) -> None:
    """/proc of this process's PID namespace."""
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    guard_proc(read_only=read_only)


def guard_proc(*, read_only: bool) -> None:
    """With `read_only`, nobody changes the machine's settings by /proc, or reads its memory, as container runtimes have
    it (readonlyPaths and maskedPaths of the OCI specification).
    """
    if not read_only:
        return
    for name in _SETTINGS:
        path = f"/proc/{name}"
        if os.path.exists(path):
            syscalls.mount(path, path, None, MS_BIND | MS_REC)
            remount(path, MS_RDONLY)
    mask(_MASKED)


def mask(paths: Sequence[str]) -> None:
    """They are empty, where they are at all."""
    for path in paths:
        if os.path.isdir(path):
            syscalls.mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0")
        elif os.path.exists(path):
            syscalls.mount("/dev/null", path, None, MS_BIND)


_SETTINGS = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
    "/proc/timer_list", "/proc/timer_stats",
)  # fmt: skip


def make_root_read_only(but: Sequence[str]) -> None:
    """Each mount but those at or below the given paths. A mount that another one covers can't be reached, and stays."""
    with open("/proc/self/mountinfo") as lines:
        points = dict.fromkeys(_unescape(line.split(" ", 5)[4]) for line in lines)
    for point in points:
        if not any(point == path or point.startswith(f"{path}/") for path in but):
            try:
                remount(point, MS_RDONLY)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                    raise


def _unescape(path: str) -> str:
    """Space, tab, newline and backslash are octal in mountinfo (proc_pid_mountinfo(5))."""
    for text, octal in ((" ", "040"), ("\t", "011"), ("\n", "012"), ("\\", "134")):
        path = path.replace(f"\\{octal}", text)
    return path


def remount(target: str, flags: int) -> None:
    """With these beside those that it has."""
    kept = os.statvfs(target).f_flag & _KEPT_FLAGS
    syscalls.mount(None, target, None, MS_REMOUNT | MS_BIND | flags | kept)


class View:
    """The files as the container sees them, while they are being put together. `own`: devices (st_dev) that are its own
    already."""

    def __init__(self, *own: int) -> None:
        self.volumes: list[str] = []
        """Where something is missing in these it is made there, as container runtimes do."""
        self._devices = set(own)
        """Where something may be made: each tmpfs of ours, too."""
        self._old_root = False
        """The machine's root lies over ours, as the sources are still in it."""

    def bind(self, mounts: Sequence[tuple[str, str, bool, str]], sources: Sequence[int], flags: int = 0) -> None:
        """Shows each source, a descriptor, at its mount's target, with `flags` of its own."""
        for index in sorted(range(len(mounts)), key=lambda index: mounts[index][1].rstrip("/").count("/")):
            target = os.path.realpath(mounts[index][1])
            self.make(target, directory=stat.S_ISDIR(os.fstat(sources[index]).st_mode))
            syscalls.mount(f"/proc/self/fd/{sources[index]}", target, None, MS_BIND | MS_REC)
            self.volumes.append(target)
        # Last, as a mount point inside another volume had to be made there.
        for _, target, read_only, _ in mounts:
            if read_only or flags:
                remount(os.path.realpath(target), flags | (MS_RDONLY if read_only else 0))

    def make(self, target: str, directory: bool) -> None:
        """Makes an empty mount point at `target`, unless something is there."""
        if os.path.lexists(target):
            return
        ancestor = os.path.dirname(target)
        while not os.path.lexists(ancestor):
            ancestor = os.path.dirname(ancestor)
        if not self._is_own(ancestor):
            self._cover(ancestor)
        os.makedirs(target if directory else os.path.dirname(target), mode=0o755, exist_ok=True)
        if not directory:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))

    def finish(self) -> None:
        if self._old_root:
            drop_old_root()

    def _cover(self, directory: str) -> None:
        if directory == "/":
            _cover_root()
            self._old_root = True
        else:
            below = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            names = os.listdir(below)
            _mount_tmpfs(directory, os.fstat(below))
            for name in names:
                _bind_entry(below, name, f"{directory}/{name}")
            os.close(below)
        self._devices.add(os.stat(directory).st_dev)

    def _is_own(self, directory: str) -> bool:
        """Creating something in it does not reach the machine."""
        volumes = (volume for volume in self.volumes if directory == volume or directory.startswith(f"{volume}/"))
        return os.stat(directory).st_dev in self._devices or any(volumes)


def drop_old_root() -> None:
    """After `pivot_root`: the machine's root no longer lies over ours."""
    os.chdir("/")
    syscalls.umount(".", syscalls.MNT_DETACH)


def _cover_root() -> None:
    """A new root with each entry of the old one. It is put together on /tmp, which exists everywhere."""
    root, staging = "/", "/tmp"
    below = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    hidden = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    names = os.listdir(below)
    _mount_tmpfs(staging, os.fstat(below))
    for name in names:
        if f"/{name}" != staging:
            _bind_entry(below, name, f"{staging}/{name}")
    os.mkdir(f"{staging}{staging}")
    os.fchdir(hidden)
    # "." is the covered directory itself; its path would lead to the tmpfs. What covers it is copied, too, and removed.
    syscalls.mount(".", f"{staging}{staging}", None, MS_BIND | MS_REC)
    syscalls.umount(f"{staging}{staging}", syscalls.MNT_DETACH)
    os.close(below)
    os.close(hidden)
    os.chdir(staging)
    syscalls.pivot_root()


def _mount_tmpfs(target: str, like: os.stat_result) -> None:
    mode = stat.S_IMODE(like.st_mode)
    syscalls.mount("tmpfs", target, "tmpfs", 0, f"mode={mode:o},uid={like.st_uid},gid={like.st_gid}")


def _bind_entry(below: int, name: str, target: str) -> None:
    """Makes `target` show what `name` is in the covered directory `below`."""
    status = os.stat(name, dir_fd=below, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=below), target)
        return
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    os.fchdir(below)
    syscalls.mount(f"./{name}", target, None, MS_BIND | MS_REC)
