"""Where discovery's configuration comes from: files and directories of manifests, and the meshConfig's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pilotfish.config import load_mesh_config
from pilotfish.config.mesh import MeshConfig
from pilotfish.model import Problem
from pilotfish.runtime.discovery.desired import Desired, merge
from pilotfish.runtime.discovery.files import Files, Stamp, stamp_of
from pilotfish.runtime.linux.inotify import Inotify


class Source:
    def __init__(self, paths: tuple[Path, ...], mesh_config: Path | None) -> None:
        self.desired = Desired()
        self.mesh_config = MeshConfig()
        """Of the file, if there is one; else the one among the manifests; else the default."""
        self.problems: tuple[Problem, ...] = ()
        self._files = Files(paths)
        self._mesh_config_path = mesh_config
        self._mesh_config_text: str | None = None
        self._from_file: MeshConfig | None = None
        self._mesh_config_problems: tuple[Problem, ...] = ()
        self._inotify: Inotify | None = None
        self._stamps: dict[Path, Stamp | None] = {}

    def watch(self, on_change: Callable[[], None]) -> None:
        """Be told when `read` may give something else. Call it before the first `read`."""

        def look(_: frozenset[Path]) -> None:
            self._watch_directories()
            seen, self._stamps = self._stamps, self._look()
            if seen != self._stamps:
                on_change()

        self._inotify = Inotify(look)
        self._watch_directories()
        self._stamps = self._look()

    def read(self) -> None:
        """Bring everything up to date."""
        if self._files.scan():
            self.desired = merge(self._files.loaded, self.desired)
        self._read_mesh_config()
        self.problems = (*self._mesh_config_problems, *self.desired.problems)
        self.mesh_config = self._from_file or self.desired.mesh_config or MeshConfig()

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()

    def _look(self) -> dict[Path, Stamp | None]:
        """An editor's temporary files make events, too, and must not count as a storm."""
        config = self._mesh_config_path
        return self._files.stamps() | ({config: stamp_of(config)} if config else {})

    def _watch_directories(self) -> None:
        if self._inotify is not None:
            also = {self._mesh_config_path.absolute().parent} if self._mesh_config_path else set()
            self._inotify.watch(self._files.directories() | also)

    def _read_mesh_config(self) -> None:
        """A broken one leaves the last good one in force; one that is gone leaves the default."""
        if self._mesh_config_path is None:
            return
        try:
            text = self._mesh_config_path.read_text(errors="replace")
        except OSError:
            self._from_file, self._mesh_config_text, self._mesh_config_problems = None, None, ()
            return
        if text != self._mesh_config_text:
            self._mesh_config_text = text
            config, self._mesh_config_problems = load_mesh_config(text, str(self._mesh_config_path))
            self._from_file = config or self._from_file
