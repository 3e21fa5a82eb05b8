"""When a line was written, as `logs --timestamps` and `--since` tell it."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from pilotfish.cli.follow import LogReader
from pilotfish.runtime.linux.logs import ContainerLog


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr("time.time", lambda: self.now)


async def write(log: ContainerLog, text: bytes) -> None:
    os.write(log.writer, text)
    await asyncio.sleep(0)
    while log._copy():
        pass


def times(content: bytes) -> list[tuple[str, str]]:
    """The seconds and the text of each line."""
    pattern = r"1970-01-12T13:(\d\d:\d\d)\.\d{6}Z (.*)"
    return [(found[1], found[2]) for line in content.decode().splitlines() if (found := re.fullmatch(pattern, line))]


def read(path: Path, **options: Any) -> bytes:
    reader = LogReader(path, **options)
    try:
        return reader.read()
    finally:
        reader.close()


async def test_each_line_has_the_time_when_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path = Clock(monkeypatch), tmp_path / "app.log"
    log = ContainerLog(path)
    reader = LogReader(path, timestamps=True)
    await write(log, b"one\ntw")
    assert times(reader.read() + b"\n") == [("46:40", "one"), ("46:40", "tw")]
    clock.now += 5
    await write(log, b"o\nthree\n")
    assert reader.read().startswith(b"o\n1970-01-12T13:46:45")
    reader.close()
    log.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert times(read(path, timestamps=True)) == [("46:40", "one"), ("46:40", "two"), ("46:45", "three")]


async def test_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path = Clock(monkeypatch), tmp_path / "app.log"
    log = ContainerLog(path)
    for text in (b"one\n", b"two\nhal", b"f\nthree\n"):
        await write(log, text)
        clock.now += 10
    log.close()
    began = 1_000_000.0

    def since(seconds: float, tail: int | None = None) -> bytes:
        return read(path, tail=tail, since=began + seconds)

    assert since(-1) == since(0) == b"one\ntwo\nhalf\nthree\n"
    assert since(1) == b"two\nhalf\nthree\n"
    assert since(11) == b"three\n"  # the half line was begun before
    assert since(21) == b""
    assert since(1, tail=1) == since(11, tail=5) == b"three\n"


async def test_times_move_with_their_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path = Clock(monkeypatch), tmp_path / "app.log"
    first = ContainerLog(path)
    await write(first, b"before\n")
    first.close()
    clock.now += 5
    second = ContainerLog(path, limit=10)
    await write(second, b"12345678\n")
    await write(second, b"cut\n")
    clock.now += 5
    await write(second, b"after\n")
    second.close()
    assert times(read(Path(f"{path}.1"), timestamps=True)) == [("46:40", "before")]
    assert times(read(Path(f"{path}.0"), timestamps=True)) == [("46:45", "12345678"), ("46:45", "cut")]
    assert times(read(path, timestamps=True)) == [("46:50", "after")]


def test_a_log_without_times_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("old\n")
    assert read(path, timestamps=True) == b"old\n"
    assert read(path, since=5.0) == b"old\n"
