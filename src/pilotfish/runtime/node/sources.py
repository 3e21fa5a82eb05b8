"""The files and folders that `up` was given: read at the start, and again whenever one is saved."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from pilotfish.runtime.linux.inotify import Inotify
from pilotfish.runtime.node.options import CannotStart

_log = logging.getLogger(__name__)
_SUFFIXES = (".yaml", ".yml", ".json")
_SETTLE = 0.005
"""Seconds that a saved file is given: some editors write it in two steps."""
_GONE = 1.0
"""Seconds after which a missing or empty file is meant so: vim moves the old one away before it writes the new one,
others empty it, and that is to end nobody's pods."""
_LINKS = 8
"""How many symbolic links are followed, one after the other."""

OnText = Callable[[str, str], None]
"""Called with a file's name, as the user wrote it, and its text; "" for a file that is gone."""


class Sources:
    def __init__(self, sources: Iterable[str], on_text: OnText) -> None:
        """Raises CannotStart if one of them does not exist."""
        self._on_text = on_text
        self._files: dict[Path, str] = {}
        self._folders: dict[Path, str] = {}
        self._texts: dict[str, str] = {}
        self._stdin = False
        self._watcher: Inotify | None = None
        self._pending: dict[Path, asyncio.TimerHandle] = {}
        self._known: set[Path] = set()
        self._links: dict[Path, Path] = {}
        """What a symbolic link leads to → the link."""
        for source in sources:
            self._add(source)

    def read(self, stdin: str | None = None) -> None:
        """Everything there is, in order; `stdin` is the text of `-`, read here if it is None."""
        if self._stdin:
            self._take("-", sys.stdin.read() if stdin is None else stdin)
        for path in self._paths():
            self._load(path)

    def watch(self) -> None:
        """From now on `on_text` hears of each file that is saved. Reads again what changed before that."""
        self._watcher = Inotify(self._changed)
        self._watch(self._watcher)
        for path in self._paths():
            self._load(path)

    def close(self) -> None:
        for handle in self._pending.values():
            handle.cancel()
        if self._watcher is not None:
            self._watcher.close()

    def _add(self, source: str) -> None:
        path = Path(source)
        if source == "-":
            self._stdin = True
        elif path.is_dir():
            self._folders[path.absolute()] = source.rstrip("/")
            if not _manifests(path):
                raise CannotStart(f"{source} holds no manifest: no file there ends with .yaml, .yml or .json")
        elif path.is_file():
            self._files[path.absolute()] = source
        elif path.exists():
            # It would be read only once, and reading it might wait for ever.
            raise CannotStart(f"{source} is neither a file nor a folder; pipe it into `up -`")
        else:
            raise CannotStart(f"{source} does not exist; give `up` a manifest file, a folder of them, or -")

    def _paths(self) -> list[Path]:
        found = dict.fromkeys(self._files)
        for folder in self._folders:
            found |= dict.fromkeys(_manifests(folder))
        return list(found)

    def _watch(self, watcher: Inotify) -> None:
        """The folders, what holds them, as each may come anew under its name, and where links lead."""
        self._links = {_target(path): path for path in self._paths() if path.is_symlink()}
        near = (path.parent for path in (*self._files, *self._folders, *self._links))
        watcher.watch({*self._folders, *near})

    def _name(self, path: Path) -> str | None:
        """As the user would write it; None if nobody asked for this file."""
        if path in self._files:
            return self._files[path]
        folder = self._folders.get(path.parent)
        return f"{folder}/{path.name}" if folder is not None and _is_manifest(path) else None

    def _changed(self, paths: frozenset[Path]) -> None:
        for path in {named for each in paths for named in self._named_by(each)}:
            if path in self._pending:
                self._pending.pop(path).cancel()
            self._pending[path] = asyncio.get_running_loop().call_later(_SETTLE, self._settled, path)

    def _named_by(self, path: Path) -> Iterable[Path]:
        """Which of the files that were asked for a change of `path` may be one of."""
        if self._name(path) is not None:
            return (path,)
        if path in self._links:
            return (self._links[path],)
        if self._watcher is not None and any(path in (each, each.parent) for each in (*self._folders, *self._files)):
            self._watch(self._watcher)
            return self._known.union(self._paths())
        return ()

    def _settled(self, path: Path, waited: bool = False) -> None:
        del self._pending[path]
        if waited or _has_content(path):
            self._load(path)
            if self._watcher is not None and path.is_symlink():
                self._watch(self._watcher)
        else:
            self._pending[path] = asyncio.get_running_loop().call_later(_GONE, self._settled, path, True)

    def _load(self, path: Path) -> None:
        name = self._name(path)
        if name is None:
            return
        self._known.add(path)
        try:
            text = path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            if self._watcher is None:
                raise CannotStart(f"{name} can't be read: {error.strerror}") from error
            _log.error("%s can't be read, what it held stays: %s", name, error.strerror)
            return
        self._take(name, text)

    def _take(self, name: str, text: str) -> None:
        if self._texts.get(name, "") != text:
            self._texts[name] = text
            self._on_text(name, text)


def _is_manifest(path: Path) -> bool:
    """Not an editor's own file, such as `.mesh.yaml.swp` or `.#mesh.yaml`."""
    return path.suffix in _SUFFIXES and not path.name.startswith(".")


def _manifests(folder: Path) -> list[Path]:
    """In order; none of a folder that is gone."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _is_manifest(path) and path.is_file())


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _target(link: Path) -> Path:
    """What a symbolic link leads to, its folders named as the link names them: they are watched by that name."""
    for _ in range(_LINKS):
        if not link.is_symlink():
            break
        link = Path(os.path.normpath(link.parent / link.readlink()))
    return link
