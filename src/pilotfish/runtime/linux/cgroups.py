"""Limits of memory and processors that the kernel holds, in control groups of version 1 or 2.

    /sys/fs/cgroup/[CONTROLLER/]NAME/CHILD      one NAME for all that belongs together, removed as a whole

Version 1 has a hierarchy for each controller, version 2 one for all; a machine may have both, and a controller is in
one of them.
Source: cgroups(7), and the kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.rst
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PERIOD = 100_000
"""Microseconds of cpu.max and cpu.cfs_period_us; the quota is at least a hundredth of it, the kernel's least."""
_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where each controller is; None where it is nowhere."""

    memory: Path | None
    cpu: Path | None
    unified: Path | None
    """The root of version 2, if there is one."""

    @classmethod
    def find(cls, mounts: str | None = None) -> Hierarchies:
        """`mounts`: a process's mountinfo; this one's."""
        places: dict[str, Path] = {}
        unified: Path | None = None
        for line in (_MOUNTS.read_text() if mounts is None else mounts).splitlines():
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(" ", 2)
            path = Path(before.split(" ")[4])
            if kind == "cgroup":
                places.update({name: path for name in ("memory", "cpu") if name in options.split(",")})
            elif kind == "cgroup2" and unified is None:
                unified = path
        with suppress(OSError):
            controllers = (unified / "cgroup.controllers").read_text().split() if unified else []
            places = {**{name: unified for name in controllers if unified}, **places}
        return cls(places.get("memory"), places.get("cpu"), unified)

    def make(self, parent: str, child: str, memory: int | None, cpu: float | None) -> ControlGroup:
        """One with these limits, in bytes and processors. OSError if the kernel, or whoever began us, forbids it."""
        made: list[Path] = []
        for limit, root, name in ((memory, self.memory, "memory"), (cpu, self.cpu, "cpu")):
            if limit is None:
                continue
            if root is None:
                raise FileNotFoundError(f"no hierarchy of control groups has the controller {name}")
            if root == self.unified:
                _delegate(root, root / parent, name)
            group = root / parent / child
            group.mkdir(parents=True, exist_ok=True)
            made.append(group)
        if memory is not None and self.memory is not None:
            _limit_memory(self.memory / parent / child, memory, self.memory == self.unified)
        if cpu is not None and self.cpu is not None:
            _limit_cpu(self.cpu / parent / child, cpu, self.cpu == self.unified)
        return ControlGroup(tuple(dict.fromkeys(made)))

    def remove(self, parent: str) -> bool:
        """What is empty of it; False if nothing is there."""
        found = [top for top in self._tops(parent) if top.is_dir()]
        for top in found:
            for group in (*(each for each in top.iterdir() if each.is_dir()), top):
                with suppress(OSError):
                    group.rmdir()
        return bool(found)

    def _tops(self, parent: str) -> Iterator[Path]:
        return (root / parent for root in dict.fromkeys((self.memory, self.cpu)) if root is not None)


@dataclass(frozen=True, slots=True)
class ControlGroup:
    directories: tuple[Path, ...]
    """One for each hierarchy that it is in."""

    def count_kills(self) -> int:
        """How often the kernel has killed in it for want of memory."""
        for directory in self.directories:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    for line in (directory / name).read_text().splitlines():
                        key, _, value = line.partition(" ")
                        if key == "oom_kill":
                            return int(value)
        return 0

    def end(self) -> None:
        """Kills who is left in it, and removes it; what the kernel keeps for now is for `Hierarchies.remove`."""
        for directory in self.directories:
            with suppress(OSError):
                for pid in (directory / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with suppress(OSError):
                directory.rmdir()


def _delegate(root: Path, parent: Path, controller: str) -> None:
    """Version 2 has a controller only where the group above hands it down."""
    parent.mkdir(exist_ok=True)
    for above in (root, parent):
        control = above / "cgroup.subtree_control"
        if controller not in control.read_text().split():
            control.write_text(f"+{controller}")


def _limit_memory(group: Path, limit: int, unified: bool) -> None:
    """And none of it in the swap, as kubelet has it."""
    if unified:
        (group / "memory.max").write_text(str(limit))
        _try(group / "memory.swap.max", "0")
        _try(group / "memory.oom.group", "1")
        return
    (group / "memory.limit_in_bytes").write_text(str(limit))
    _try(group / "memory.memsw.limit_in_bytes", str(limit))


def _limit_cpu(group: Path, limit: float, unified: bool) -> None:
    quota = max(_PERIOD // 100, round(limit * _PERIOD))
    if unified:
        (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        return
    (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
    (group / "cpu.cfs_quota_us").write_text(str(quota))


def _try(file: Path, text: str) -> None:
    """Where the kernel was built with it."""
    if file.exists():
        file.write_text(text)


_OWN_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of the group that a container sees as the root: version 2, version 1."""
_UNLIMITED: Final = 2**60
"""Version 1 has no word for it, but the largest number of pages."""


def own_memory_limit(files: Sequence[Path] = _OWN_LIMITS) -> int | None:
    """Bytes that this container may have before it is killed; None for no limit."""
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() and int(text) < _UNLIMITED else None
    return None
