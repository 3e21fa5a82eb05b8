"""Limits in control groups: of version 1 or 2, as the machine has them, and what both are told."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from pilotfish.node.limits import Limits
from pilotfish.runtime.linux.cgroups import Hierarchies, own_memory_limit
from pilotfish.runtime.linux.process import ProcessSpec, start
from pilotfish.runtime.node.limiter import Limiter

MESH = f"cgroups-{os.getpid()}"


def mountinfo(*mounts: tuple[Path, str, str]) -> str:
    return "".join(
        f"30 1 0:26 / {path} rw,relatime shared:9 - {kind} {kind} {options}\n" for path, kind, options in mounts
    )


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """As files, what version 2 has."""
    for group in (tmp_path, tmp_path / f"pf-{MESH}", tmp_path / f"pf-{MESH}" / "c"):
        group.mkdir(exist_ok=True)
        (group / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (group / "cgroup.subtree_control").write_text("cpu\n" if group == tmp_path else "cpu memory\n")
    (tmp_path / f"pf-{MESH}" / "c" / "memory.swap.max").touch()
    (tmp_path / f"pf-{MESH}" / "c" / "memory.oom.group").touch()
    return tmp_path


def test_version_2_is_told_to_hand_down_and_to_hold(unified: Path) -> None:
    found = Hierarchies.find(mountinfo((Path("/"), "ext4", "rw"), (unified, "cgroup2", "rw,nsdelegate")))
    assert (found.memory, found.cpu) == (unified, unified)
    found.make(f"pf-{MESH}", "c", 64 << 20, None)
    assert (unified / "cgroup.subtree_control").read_text() == "+memory"
    (unified / "cgroup.subtree_control").write_text("cpu memory\n")
    group = found.make(f"pf-{MESH}", "c", 64 << 20, 0.25)
    assert group.directories == (unified / f"pf-{MESH}" / "c",)
    assert {path.name: path.read_text() for path in group.directories[0].glob("[mc][ep][mu]*.[mso]*")} == {
        "memory.max": str(64 << 20), "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "25000 100000",
    }  # fmt: skip
    assert (unified / "cgroup.subtree_control").read_text() == "cpu memory\n"
    (group.directories[0] / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert group.count_kills() == 2


def test_a_machine_with_both_has_each_controller_in_one(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text("hugetlb\n")
    mounts = [(tmp_path / name, "cgroup", f"rw,{name}") for name in ("memory", "cpu,cpuacct")]
    found = Hierarchies.find(mountinfo(*mounts, (tmp_path / "unified", "cgroup2", "rw")))
    assert (found.memory, found.cpu) == (tmp_path / "memory", tmp_path / "cpu,cpuacct")
    (tmp_path / "memory" / "p" / "c").mkdir(parents=True)
    (tmp_path / "memory" / "p" / "c" / "memory.memsw.limit_in_bytes").touch()
    found.make("p", "c", 1 << 20, 2)
    read = {p.name: p.read_text() for top in ("memory", "cpu,cpuacct") for p in (tmp_path / top / "p" / "c").iterdir()}
    assert read == {
        "memory.limit_in_bytes": "1048576", "memory.memsw.limit_in_bytes": "1048576",
        "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "200000",
    }  # fmt: skip


def test_where_none_can_be_made_it_is_said_once() -> None:
    limiter = Limiter("nowhere", Hierarchies(None, None, None))
    for name in ("one", "two"):
        assert limiter.make(name, Limits(memory=1 << 20)) is None
    assert limiter.problem is not None
    assert "limits of memory and cpu do not hold here" in limiter.problem.message
    assert limiter.problem.severity == "info"
    limiter.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root")
async def test_the_kernel_holds_a_limit_of_memory_and_all_goes() -> None:
    limiter = Limiter(MESH)
    group = limiter.make("c", Limits(memory=32 << 20, cpu=1))
    if group is None:
        pytest.skip(f"control groups can't be made: {limiter.problem}")
    try:
        tops = [directory.parent for directory in group.directories]
        spec = ProcessSpec(
            (sys.executable, "-c", "bytearray(200 << 20)"), {}, cgroups=tuple(map(str, group.directories))
        )
        process = await start(spec)
        assert await process.wait() == -9
        assert group.count_kills() == 1
        stays = await start(ProcessSpec(("sleep", "1000"), {"PATH": os.defpath}, cgroups=spec.cgroups))
        group.end()
        async with asyncio.timeout(5):
            assert await stays.wait() == -9
    finally:
        limiter.close()
    assert not any(top.exists() for top in tops)


@pytest.mark.parametrize(
    ("text", "limit"), [("268435456\n", 268435456), ("max\n", None), ("9223372036854771712\n", None)]
)
def test_what_a_container_may_have(tmp_path: Path, text: str, limit: int | None) -> None:
    file = tmp_path / "memory.max"
    file.write_text(text)
    assert own_memory_limit((tmp_path / "missing", file)) == limit
    assert own_memory_limit((tmp_path / "missing",)) is None
