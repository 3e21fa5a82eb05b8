"""An image's files as a container's `/`, in a mount namespace of its own, with what programs expect there beside them.

Runs in the launcher. The layers are never written to: an overlay puts what the container changes into a directory of
its own. Nothing of it is mounted on the machine, so that all is gone with the container's last process.

Source: https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md (default file systems and devices)
"""

# Importing pathlib would cost every container some milliseconds.
# ruff: noqa: PTH102, PTH103, PTH110, PTH116, PTH211

from __future__ import annotations

import errno
import os
import stat

from pilotfish.runtime.linux import mounts, syscalls
from pilotfish.runtime.linux.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_STAGING = "/tmp"
"""Where the new root is put together. It exists on every machine, and what is in it is not seen there."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_SHARED_MEMORY = "mode=1777,size=65536k"
_TTY_GROUP = 5


def mount_image(
    layers: Sequence[str],
    writable: str,
    volumes: Sequence[str],
    mounted: Sequence[tuple[str, str, bool, str]],
    hidden: Sequence[str],
    folder: str,
    groups: Sequence[str],
    *,
    read_only: bool,
    privileged: bool,
) -> None:
    """Makes the layers, the uppermost first, the root; then binds each (source, target, read only, root of the source).

    `writable` has the empty directories `upper` and `work`; `folder` is made where it lacks. OSError names the path
    that failed. `groups`: directories of its control groups, which it sees. Unless the container is `privileged`, no
    device file that it makes can be opened.
    """
    mounts.separate()
    lower = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in layers]
    upper = os.open(writable, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    devices = [(name, os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC)) for name in _DEVICES]
    all_devices = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened = [(_group_point(group), os.open(group, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) for group in groups]
    sources = mounts.open_sources(mounted, hidden)
    os.chdir(_mount_overlay(lower, upper, 0 if privileged else MS_NODEV))
    syscalls.pivot_root()  # the machine's root lies over ours until the end, as the sources are still in it
    _mount_file_systems(all_devices if privileged else None, devices)
    _mount_groups(opened)
    view = mounts.View(os.stat("/").st_dev)
    view.bind(mounted, sources, 0 if privileged else MS_NODEV)
    for volume in volumes:
        _keep_writable(volume, view)
    if not os.path.lexists(folder):
        os.makedirs(folder, mode=0o755)  # as container runtimes do
    mounts.drop_old_root()
    mounts.guard_proc(read_only=not privileged)
    if read_only:
        writables = [target for _, target, only_read, _ in mounted if not only_read]
        mounts.make_root_read_only([*map(os.path.realpath, [*writables, *volumes]), "/dev", "/proc"])


def _mount_overlay(lower: Sequence[int], upper: int, flags: int) -> str:
    """Where it is. By descriptors, as the names of many layers together are longer than mount(2) takes them."""
    layers = ":".join(f"/proc/self/fd/{layer}" for layer in lower)
    # `volatile`: nobody waits for the disk, as nothing of it is to outlive the container.
    options = "lowerdir={},upperdir={}/upper,workdir={}/work,volatile"
    own = f"/proc/self/fd/{upper}"
    try:
        syscalls.mount("overlay", _STAGING, "overlay", flags, options.format(layers, own, own))
        return _STAGING
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # The directory is itself in an overlay, or on a file system that can't be written through one: in memory, then.
    syscalls.mount("tmpfs", _STAGING, "tmpfs", 0, "mode=755")
    for name in ("upper", "work", "root"):
        os.mkdir(f"{_STAGING}/{name}")
    root = f"{_STAGING}/root"
    syscalls.mount("overlay", root, "overlay", flags, options.format(layers, _STAGING, _STAGING))
    return root


def _mount_file_systems(all_devices: int | None, devices: Sequence[tuple[str, int]]) -> None:
    """/proc first: descriptors are named by it."""
    for name in ("proc", "dev", "sys"):
        os.makedirs(f"/{name}", mode=0o755, exist_ok=True)
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    protect = MS_RDONLY if all_devices is None else 0
    syscalls.mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | protect)
    if all_devices is not None:
        syscalls.mount(f"/proc/self/fd/{all_devices}", "/dev", None, MS_BIND | MS_REC)
        return
    mounts.mask(("/sys/firmware", "/sys/devices/virtual/powercap"))
    syscalls.mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k")
    for name, descriptor in devices:
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        syscalls.mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", None, MS_BIND)
    for name, target in _LINKS:
        os.symlink(target, f"/dev/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"/dev/{name}")
    pts = f"newinstance,ptmxmode=0666,mode=0620,gid={_TTY_GROUP}"
    syscalls.mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, pts)
    syscalls.mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, _SHARED_MEMORY)


_GROUPS = "/sys/fs/cgroup"


def _group_point(group: str) -> str:
    """Where programs look for it: version 2 has one hierarchy, version 1 one for each controller."""
    return _GROUPS if os.path.exists(f"{group}/cgroup.controllers") else f"{_GROUPS}/{group.split('/')[-3]}"


def _mount_groups(groups: Sequence[tuple[str, int]]) -> None:
    if any(point != _GROUPS for point, _ in groups):
        syscalls.mount("tmpfs", _GROUPS, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=64k")
    for point, descriptor in groups:
        os.makedirs(point, mode=0o755, exist_ok=True)
        syscalls.mount(f"/proc/self/fd/{descriptor}", point, None, MS_BIND)
        mounts.remount(point, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _keep_writable(volume: str, view: mounts.View) -> None:
    """A mount of its own, which the root's being read-only does not reach. What the pod mounts there counts before."""
    target = os.path.realpath(volume)
    if any(target == mount or target.startswith(f"{mount}/") for mount in view.volumes):
        return
    os.makedirs(target, mode=0o755, exist_ok=True)
    if stat.S_ISDIR(os.stat(target).st_mode):
        syscalls.mount(target, target, None, MS_BIND)
