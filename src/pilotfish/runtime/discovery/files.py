"""Files and directories of manifests, read again when they change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.config import ListReader, load
from pilotfish.config.manifest import Loaded
from pilotfish.model import Problem

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
Stamp = tuple[int, int, int]
"""Inode, time of the last change in ns, size."""


@dataclass(slots=True)
class _File:
    stamp: Stamp | None = None
    loaded: Loaded = field(default_factory=Loaded)
    reader: ListReader | None = None


class Files:
    """What the given paths hold. A file in a directory counts if it ends in .yaml, .yml or .json and is not hidden."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        self._files: dict[Path, _File] = {}

    def stamps(self) -> dict[Path, Stamp | None]:
        """Differs from what it was before if `scan` may find something."""
        return {file: stamp_of(file) for path in self._paths for file in _files_in(path)}

    def scan(self) -> bool:
        """Read what is new or has changed, forget what is gone. True if there was anything of that."""
        found = dict.fromkeys(file for path in self._paths for file in _files_in(path))
        gone = self._files.keys() - found.keys()
        for path in gone:
            del self._files[path]
        self._files = {path: self._files.get(path) or _File() for path in found}
        read = [_read_if_changed(path, file) for path, file in self._files.items()]
        return any(read) or bool(gone)

    @property
    def loaded(self) -> dict[Path, Loaded]:
        """By file, in the order in which the paths were given and of names."""
        return {path: file.loaded for path, file in self._files.items()}

    def directories(self) -> set[Path]:
        """Where a change can mean a change of this."""
        return {directory for path in self._paths for directory in _directories_of(path)}


def _read_if_changed(path: Path, file: _File) -> bool:
    stamp = stamp_of(path)
    if stamp is None or stamp == file.stamp:
        return False
    try:
        data = path.read_bytes()
    except OSError as error:
        message = (
            f"the file can't be read ({error.strerror}), so that its objects stay as they were; mend its permissions"
        )
        file.loaded = Loaded(problems=(Problem(None, str(path), "Unreadable", message),), incomplete=True)
        return True
    file.stamp = stamp
    if path.suffix == ".json":
        file.reader = file.reader or ListReader(str(path))
        file.loaded = file.reader.read(data)
    else:
        file.loaded = load(data.decode(errors="replace"), str(path))
    return True


def stamp_of(path: Path) -> Stamp | None:
    """None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _files_in(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        if path.exists():
            yield path
        return
    for directory, names, files in os.walk(path, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix in SUFFIXES:
                yield Path(directory, name)


def _directories_of(path: Path) -> Iterator[Path]:
    yield path.absolute().parent
    if path.is_dir():
        for directory, names, _ in os.walk(path, followlinks=True):
            names[:] = [name for name in names if not name.startswith(".")]
            yield Path(directory)
