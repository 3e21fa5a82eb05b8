"""Envoy's output in a file that does not grow without end."""

import asyncio
from pathlib import Path

from pilotfish.runtime.agent.log import copy_output


def reader_of(*chunks: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    return reader


async def test_appends(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"one\n", b"two"):
        await copy_output(reader_of(text), path)
    assert path.read_bytes() == b"one\ntwo"


async def test_is_cut_between_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"12345678\n", b"90\nab", b"cd\n"):
        await copy_output(reader_of(text), path, limit=10)
    assert Path(f"{path}.1").read_bytes() == b"12345678\n90\n"
    assert path.read_bytes() == b"abcd\n"
