"""`-f`: the texts of the files, folders and standard input that a command was given."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pilotfish.cli.failure import Failure
from pilotfish.runtime.source.building import find_builder
from pilotfish.runtime.source.reading import Text, Unreadable, read_all, read_file

_DESCRIPTORS = Path("/dev/fd")
_ENDINGS = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class ManifestText:
    file: str
    """Absolute, so that it means the same to the mesh's process; "-" for standard input."""
    content: str


def read_sources(names: Iterable[str], recursive: bool = False) -> Iterator[ManifestText]:
    """Folders give their YAML and JSON files by name, or what a kustomization or a chart in them comes to. Raises
    Failure for what can't be read."""
    for name in names:
        if name == "-":
            yield ManifestText("-", sys.stdin.read())
            continue
        if name.startswith(("http://", "https://")):
            from pilotfish.cli.download import download  # here: only who names a URL pays for it

            yield ManifestText(name, download(name))
            continue
        path = Path(name)
        if not path.exists():
            raise Failure(f"the path {name!r} does not exist, so nothing of it can be used; check -f")
        builder = find_builder(path)
        if builder is not None:
            yield ManifestText(str(path.absolute()), _decoded(path, builder.build()))
            continue
        for file in _files(path, recursive):
            yield ManifestText(str(file.absolute()), _read(file))


def list_files(names: Iterable[str]) -> Iterator[str]:
    """Files and the like as they are, and of folders all manifests at any depth."""
    for name in names:
        path = Path(name)
        yield from (map(str, _files(path, True)) if name != "-" and path.is_dir() else (name,))


def _files(path: Path, recursive: bool) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.glob("**/*" if recursive else "*") if file.suffix in _ENDINGS)
    if not found:
        raise Failure(f"folder {path} holds no .yaml, .yml or .json file; -R looks into folders below it")
    return found


def _read(file: Path) -> str:
    return _decoded(file, _read_pipe(file) if file.is_relative_to(_DESCRIPTORS) else read_file(file))


def _decoded(file: Path, content: Text | Unreadable | None) -> str:
    if content is None:
        raise Failure(f"{file} is no file; give a manifest file, a folder of them, or -")
    if isinstance(content, Unreadable):
        raise Failure(f"{file}: {content.message}")
    try:
        return content.data.decode()
    except UnicodeDecodeError as error:
        raise Failure(f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error


def _read_pipe(file: Path) -> Text | Unreadable:
    """What the shell makes of `<(command)`: somebody writes, and the user waits for both."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(f"{file} can't be read: {error.strerror}") from error
    try:
        return read_all(descriptor)
    finally:
        os.close(descriptor)
