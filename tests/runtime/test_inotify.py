"""Changes of files, as the kernel tells them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pilotfish.runtime.linux.inotify import Inotify


class Seen:
    def __init__(self) -> None:
        self.batches: asyncio.Queue[frozenset[Path]] = asyncio.Queue()
        self.inotify = Inotify(self.batches.put_nowait)

    async def next(self) -> frozenset[Path]:
        async with asyncio.timeout(5):
            return await self.batches.get()


@pytest.fixture
async def seen() -> AsyncIterator[Seen]:
    seen = Seen()
    yield seen
    seen.inotify.close()


async def test_every_way_of_saving_is_named(seen: Seen, tmp_path: Path) -> None:
    seen.inotify.watch(seen.inotify.add([tmp_path, tmp_path / "absent"]))
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    assert await seen.next() == {a}
    b.write_text("2")
    assert await seen.next() == {b}
    b.rename(a)
    assert await seen.next() == {a, b}
    (tmp_path / "link").symlink_to(a)
    assert await seen.next() == {tmp_path / "link"}
    b.hardlink_to(a)
    assert await seen.next() == {b}
    a.unlink()
    assert await seen.next() == {a}
    (tmp_path / "folder").mkdir()
    assert await seen.next() == {tmp_path / "folder"}


async def test_a_file_is_named_when_its_writer_is_done(seen: Seen, tmp_path: Path) -> None:
    seen.inotify.watch(seen.inotify.add([tmp_path]))
    with (tmp_path / "slow").open("w") as writing:
        writing.write("half")
        writing.flush()
        (tmp_path / "other").write_text("")
        assert await seen.next() == {tmp_path / "other"}
    assert await seen.next() == {tmp_path / "slow"}


async def test_other_directories_from_now_on(seen: Seen, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    seen.inotify.watch(seen.inotify.add([one]))
    seen.inotify.watch(seen.inotify.add([two]))
    (one / "unseen").write_text("")
    (two / "seen").write_text("")
    assert await seen.next() == {two / "seen"}


async def test_a_directory_made_anew_can_be_watched_anew(seen: Seen, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    seen.inotify.watch(seen.inotify.add([folder]))
    folder.rmdir()
    assert await seen.next() == {folder}
    folder.mkdir()
    seen.inotify.watch(seen.inotify.add([folder]))
    (folder / "file").write_text("")
    assert await seen.next() == {folder / "file"}


async def test_a_moved_directory_is_named_and_one_of_its_name_can_be_watched(seen: Seen, tmp_path: Path) -> None:
    folder, away = tmp_path / "folder", tmp_path / "away"
    folder.mkdir()
    seen.inotify.watch(seen.inotify.add([folder]))
    folder.rename(away)
    assert folder in await seen.next()
    folder.mkdir()
    seen.inotify.watch(seen.inotify.add([folder]))
    (away / "old").write_text("")
    (folder / "new").write_text("")
    assert await seen.next() == {folder / "new"}


async def test_when_there_was_too_much_to_tell_the_directories_are_named(seen: Seen, tmp_path: Path) -> None:
    seen.inotify.watch(seen.inotify.add([tmp_path]))
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most + 1):
        (tmp_path / str(number % 2)).write_text("")
    while tmp_path not in await seen.next():
        pass


async def test_a_link_that_leads_elsewhere_can_be_watched_anew(seen: Seen, tmp_path: Path) -> None:
    one, two, link = tmp_path / "one", tmp_path / "two", tmp_path / "link"
    one.mkdir()
    two.mkdir()
    link.symlink_to(one)
    assert seen.inotify.watch(seen.inotify.add([link]))
    assert not seen.inotify.watch(seen.inotify.add([link]))
    link.unlink()
    link.symlink_to(two)
    assert seen.inotify.watch(seen.inotify.add([link]))
    (one / "unseen").write_text("")
    (two / "seen").write_text("")
    assert await seen.next() == {link / "seen"}


async def test_a_directory_of_two_names_is_named_by_both(seen: Seen, tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    seen.inotify.watch(seen.inotify.add([folder, link]))
    (folder / "a").write_text("")
    assert await seen.next() == {folder / "a", link / "a"}
    seen.inotify.watch(seen.inotify.add([folder]))
    (folder / "b").write_text("")
    assert await seen.next() == {folder / "b"}
