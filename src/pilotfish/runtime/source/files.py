"""Files and folders of manifests, standard input, and the meshConfig's file; each file again when it is saved."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.config.manifest import Loaded
from pilotfish.model import Problem
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.source import Batch
from pilotfish.runtime.source.building import Builder, find_builder
from pilotfish.runtime.source.origin import Origin
from pilotfish.runtime.source.parsing import Parser
from pilotfish.runtime.source.reading import Content, Text, Unreadable, find_kind, read_all, read_file
from pilotfish.runtime.source.waiting import Waiting
from pilotfish.runtime.source.watching import Watch
from pilotfish.runtime.thread import in_thread

STDIN = "-"


@dataclass(slots=True)
class _File:
    name: str
    parser: Parser
    origin: Origin = field(default_factory=Origin)


class Files:
    """An `ObjectSource`. Origins are named as the user wrote them: `mesh.yaml`, `folder/mesh.yaml`, `-`."""

    def __init__(
        self,
        paths: Iterable[str | Path],
        mesh_config: str | Path | None = None,
        *,
        namespace: str = "default",
        recursive: bool = False,
        stdin: str | None = None,
    ) -> None:
        """`mesh_config` need not exist; `namespace`: of objects that name none; `stdin`: the text of `-`, which is read
        here if it is None."""
        self._mesh_config = None if mesh_config is None else str(mesh_config)
        named = (*map(str, paths), *([] if self._mesh_config is None else [self._mesh_config]))
        self._given = {Path(name).absolute(): name for name in named if name != STDIN}
        self._namespace = namespace
        self._built: dict[Path, Builder] = {}
        """Of what was given, the folders whose manifests a tool makes."""
        self._made_of: dict[Path, Path] = {}
        """The folders that something is built of, each with what that is."""
        self._reads_stdin = STDIN in named
        self._stdin = stdin
        self._files: dict[Path, _File] = {}
        self._loop = asyncio.get_running_loop()
        self._waiting = Waiting()
        self._watch = Watch(self._given, recursive, self._waiting)
        self._is_first = True

    async def next(self) -> Batch:
        if self._is_first:
            self._is_first = False
            now = self._loop.time()
            await self._check()
            return Batch({**await self._read_stdin(), **await self._look()}, now)
        while True:
            looks = [at for file in self._files.values() if (at := file.origin.look_at) is not None]
            since = await self._watch.wait(min(looks, default=None))
            if news := await self._look():
                return Batch(news, since)

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{self._given[path].rstrip('/')}/{builder.file}: what '{' '.join(builder.command)}' makes of it is used"
            for path, builder in self._built.items()
            if builder.command is not None
        )

    def problems(self) -> tuple[Problem, ...]:
        return self._waiting.problems()

    def away_since(self) -> float | None:
        return self._waiting.since()

    def close(self) -> None:
        self._watch.close()

    async def _look(self) -> Mapping[str, Loaded | None]:
        """What has changed."""
        news: dict[str, Loaded | None] = {}
        for path, content in (await self._read_changed()).items():
            file = self._files.get(path) or self._know(path)
            if file.origin.see(content, self._loop.time()):
                news[file.name] = None if content is None else await file.parser.parse(content)
            if file.origin.is_gone:
                del self._files[path]
            await asyncio.sleep(0)
        return news

    async def _read_changed(self) -> Mapping[Path, Content]:
        now = self._loop.time()
        due = [path for path, file in self._files.items() if (at := file.origin.look_at) is not None and at <= now]
        touched = await self._watch.take(due)
        found = self._watch.found
        paths = sorted(touched) if touched is not None else dict.fromkeys((*found.files, *self._files))
        sources = [self._source(path) for path in paths]
        if touched is None:
            sources += self._built
        contents = await in_thread(
            lambda: {path: self._read(path) for path in self._waiting.each(dict.fromkeys(sources))}
        )
        if touched is None:
            contents |= {folder: _unlisted(error) for folder, error in found.unlisted.items()}
        return contents

    def _source(self, path: Path) -> Path:
        """What a file is told as: itself, or the folder that is built of it."""
        return next((self._made_of[each] for each in (path, *path.parents) if each in self._made_of), path)

    def _read(self, path: Path) -> Content:
        builder = self._built.get(path)
        return builder.build() if builder is not None else read_file(path)

    def _know(self, path: Path) -> _File:
        name = self._name(path)
        self._files[path] = _File(name, Parser(name, self._namespace, is_mesh_config=name == self._mesh_config))
        return self._files[path]

    def _name(self, path: Path) -> str:
        """As the user would write it."""
        if path in self._given:
            return self._given[path]
        inside = (each for each in self._given if path.is_relative_to(each))
        folder = max(inside, key=lambda each: len(each.parts))  # of a folder and one in it, that one
        return f"{self._given[folder].rstrip('/')}/{path.relative_to(folder)}"

    async def _read_stdin(self) -> Mapping[str, Loaded | None]:
        if not self._reads_stdin:
            return {}
        text = (
            await in_thread(lambda: read_all(0))
            if self._stdin is None
            else Text.of(self._stdin.encode(errors="replace"))
        )
        return {STDIN: await Parser(STDIN, self._namespace).parse(text)}

    async def _check(self) -> None:
        """What was named and is nothing to read is refused. Raises MachineError."""
        kinds = await in_thread(lambda: {path: find_kind(path) for path in self._waiting.each(self._given)})
        for path, kind in kinds.items():
            name = self._given[path]
            if kind == 0 and name != self._mesh_config:
                raise MachineError(f"{name} does not exist", "give a manifest file, a folder of them, or -")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise MachineError(f"{name} is neither a file nor a folder", "pipe its text into `-`")
        folders = [path for path, kind in kinds.items() if kind == stat.S_IFDIR]
        await in_thread(lambda: self._find_built(self._waiting.each(folders)))
        self._watch.add(self._made_of)

    def _find_built(self, folders: Iterable[Path]) -> None:
        for path in folders:
            builder = find_builder(path)
            if builder is not None:
                self._built[path] = builder
                self._made_of.update(dict.fromkeys((path, *builder.folders()), path))


def _unlisted(error: OSError) -> Unreadable:
    what = f"the folder can't be read ({error.strerror}), so that its objects stay as they were"
    return Unreadable("Unreadable", f"{what}; mend its permissions")
