"""A file system that does not answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.syscalls import MNT_DETACH, mount, umount
from pilotfish.runtime.source import waiting
from pilotfish.runtime.source.files import Files

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="needs root and FUSE")


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A mount that nobody serves, until the descriptor is closed."""
    folder = tmp_path / "away"
    folder.mkdir()
    descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    mount("away", str(folder), "fuse", 0, f"fd={descriptor},rootmode=40000,user_id=0,group_id=0")
    yield folder, descriptor
    umount(str(folder), MNT_DETACH)


async def test_it_is_named_and_holds_up_nothing_else(
    hanging: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LATE", 0.2)
    away, descriptor = hanging
    here = tmp_path / "here.yaml"
    here.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
    files = Files([here, away])
    first = asyncio.ensure_future(files.next())
    try:
        async with asyncio.timeout(5):
            while not files.problems():
                await asyncio.sleep(0.01)
        (problem,) = files.problems()
        assert str(away) in problem.message
        assert not first.done()
    finally:
        os.close(descriptor)
    async with asyncio.timeout(5):
        with pytest.raises(MachineError):  # the mount has failed: nothing is there
            await first
    assert files.problems() == ()
    files.close()
