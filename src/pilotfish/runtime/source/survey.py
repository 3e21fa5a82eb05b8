"""Which files there are, and where something can change that makes them others. Blocks: it looks into file systems."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_MOST_LINKS = 40
"""On the way to one file, as in the kernel. Source: path_resolution(7)"""


@dataclass(frozen=True, slots=True)
class Survey:
    files: Mapping[Path, None]
    """In order. Those that were given are among them whether they exist or not."""
    links: frozenset[Path]
    """Of the files, those that are symbolic links."""
    folders: frozenset[Path]
    """Where a new manifest is one more file."""
    places: frozenset[Path]
    """Links and folders on the way to a file, and what links lead to: if one of them changes, any file may."""
    unlisted: Mapping[Path, OSError]
    """Folders that can't be looked into."""

    @property
    def directories(self) -> frozenset[Path]:
        """Where to watch for all of that."""
        return self.folders.union(place.parent for place in self.places)


def survey(given: Iterable[Path], recursive: bool = False) -> Survey:
    """`given`: files and folders, by absolute paths. One that is no folder counts as a file."""
    files: dict[Path, None] = {}
    folders: set[Path] = set()
    places: set[Path] = set()
    unlisted: dict[Path, OSError] = {}
    for path in given:
        places |= find_places(path)
        if not is_folder(path):
            files[path] = None
            continue
        ahead = [path]
        while ahead:
            folders.add(folder := ahead.pop())
            try:
                found, below = list_folder(folder)
            except OSError as error:
                unlisted[folder] = error
                continue
            files |= dict.fromkeys(found)
            ahead += reversed(below) if recursive else ()
    links = frozenset(file for file in files if is_link(file))
    for link in links:
        places |= find_places(link)
    return Survey(files, links, frozenset(folders), frozenset(places | folders), unlisted)


def is_manifest(path: Path) -> bool:
    """Not an editor's own file, such as `.mesh.yaml.swp` or `.#mesh.yaml`."""
    return path.suffix in SUFFIXES and not path.name.startswith(".")


def is_folder(path: Path) -> bool:
    """False, too, where that can't be known."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:
        return False


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Its manifests and, but for hidden ones and links, as kubectl has it, the folders in it; both by name.

    Raises OSError for one that can't be looked into.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    files = [Path(e.path) for e in entries if is_manifest(Path(e.name)) and not _leads_to_folder(e)]
    below = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    return files, below


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def find_places(path: Path) -> frozenset[Path]:
    """Each folder and each symbolic link on the way to what an absolute path leads to, and that itself."""
    found = {path}
    here, links = Path("/"), 0
    ahead = [*reversed(path.parts)]
    while ahead and links <= _MOST_LINKS:
        part = ahead.pop()
        here, before = (here.parent if part == ".." else here / part), here
        found.add(here)
        try:
            target = here.readlink()
        except OSError:  # no link, or nothing there
            continue
        links += 1
        ahead += reversed(target.parts)
        here = before
    return frozenset(found)
