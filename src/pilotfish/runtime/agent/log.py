"""Envoy's output, kept in a file that does not grow without end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

_LIMIT = 10 * 1024 * 1024
"""Bytes, as the kubelet's containerLogMaxSize. What is older is beside it, with `.1` behind its name."""


async def copy_output(reader: asyncio.StreamReader, path: Path | None, limit: int = _LIMIT) -> None:
    """Appends all that comes to the file (None: to standard output), until the writer is gone.

    The file is cut between lines, and reopened for each piece of output: nothing is kept open for a silent Envoy.
    """
    while chunk := await reader.read(65536):
        if path is None:
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        else:
            _append(path, chunk, limit)


def _append(path: Path, chunk: bytes, limit: int) -> None:
    with path.open("ab") as file:
        if file.tell() + len(chunk) <= limit:
            file.write(chunk)
            return
        cut = chunk.rfind(b"\n") + 1
        file.write(chunk[:cut])
    path.replace(f"{path}.1")
    with path.open("ab") as file:
        file.write(chunk[cut:])
        os.fchmod(file.fileno(), 0o644)
