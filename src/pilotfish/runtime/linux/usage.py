"""What processes use of the machine, as /proc tells it. Source: proc_pid_stat(5), proc_pid_smaps(5)"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    netns: int
    """The inode of its network namespace."""
    cpu: float
    """Seconds, since it began."""


def list_processes() -> dict[int, Process]:
    """Of all that there are; those of others are seen by root alone."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and (process := _read(int(entry.name))):
            found[process.pid] = process
    return found


def read_memory(pids: Iterable[int]) -> int:
    """Bytes that are theirs, what is shared with others by halves; 0 for one that is gone."""
    return sum(map(_memory, pids))


def find_ancestor(pid: int, wanted: Iterable[int], processes: Mapping[int, Process]) -> int | None:
    """The nearest of `wanted` among a process and those that it comes from."""
    known, seen = set(wanted), set[int]()
    while pid in processes and pid not in seen:
        if pid in known:
            return pid
        seen.add(pid)
        pid = processes[pid].parent
    return None


def _read(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        netns = os.stat(f"/proc/{pid}/ns/net").st_ino  # noqa: PTH116
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return Process(pid, int(fields[1]), netns, (int(fields[11]) + int(fields[12])) / _TICKS)


def _memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def read_machine() -> tuple[float, float, int, int]:
    """(seconds of CPU used, seconds of CPU there were, bytes of memory used, bytes of memory)."""
    times = [int(each) / _TICKS for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = times[3] + times[4]
    memory = {
        line.split(":")[0]: int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines()
    }
    return sum(times) - idle, sum(times), memory["MemTotal"] - memory["MemAvailable"], memory["MemTotal"]
