"""Output in a file that does not grow without end."""

import asyncio
import os
from pathlib import Path

from pilotfish.runtime.linux.logs import ContainerLog


async def write(path: Path, *chunks: bytes, limit: int = 100) -> None:
    """One run that writes these chunks, each of which is read before the next."""
    log = ContainerLog(path, limit)
    writer = os.dup(log.writer)
    log.started()
    written = b""
    for chunk in chunks:
        os.write(writer, chunk)
        written += chunk
        async with asyncio.timeout(5):
            while b"".join(part.read_bytes() for part in (Path(f"{path}.0"), path) if part.exists()) != written:
                await asyncio.sleep(0.001)
    os.close(writer)
    log.close()


async def test_each_run_has_its_file_and_the_last_one_is_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "app.log"
    for run in (b"first\n", b"second\n", b"third\n"):
        await write(path, run)
    assert path.read_bytes() == b"third\n"
    assert Path(f"{path}.1").read_bytes() == b"second\n"


async def test_a_long_run_is_cut_between_lines(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    await write(path, b"12345678\n", b"90\nab", b"cd\n", limit=10)
    assert Path(f"{path}.0").read_bytes() == b"12345678\n90\n"
    assert path.read_bytes() == b"abcd\n"


async def test_what_was_written_before_the_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    log = ContainerLog(path)
    os.write(log.writer, b"last words")
    log.started()
    log.close()
    assert path.read_bytes() == b"last words"
