"""Files that other processes read at any time: each is replaced in one step, so that nobody reads half of one."""

from __future__ import annotations

from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.touch(mode=mode)
    beside.write_bytes(content)
    beside.replace(path)
