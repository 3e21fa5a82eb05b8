"""Which meshConfig holds: that of `--mesh-config`, else one that was applied, else the first that a source has."""

from __future__ import annotations

from collections.abc import Callable

from pilotfish.config.manifest import Loaded
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.model import Problem

APPLIED = ""
"""Stands for the name of a file."""


class MeshConfigs:
    def __init__(self, file: str | None, on_change: Callable[[], None]) -> None:
        """`file`: the one that `--mesh-config` names."""
        self.current = MeshConfig()
        self.problems: tuple[Problem, ...] = ()
        self._file = file
        self._on_change = on_change
        self._found: dict[str, MeshConfig] = {}

    def read(self, text: str) -> None:
        """The text of the file that `--mesh-config` names. One with errors changes nothing."""
        if self._file is None:
            raise ValueError("no file was named")
        config, self.problems = load_mesh_config(text, self._file)
        if config is not None:
            self._found[self._file] = config
            self._choose()

    def take(self, name: str, loaded: Loaded) -> None:
        """What a source, or an applied text, holds. A source whose text has errors keeps what it had."""
        if loaded.mesh_config is not None:
            self._found[name] = loaded.mesh_config
        elif name != APPLIED and not loaded.problems:
            self._found.pop(name, None)
        self._choose()

    def _choose(self) -> None:
        order = (*([self._file] if self._file is not None else []), APPLIED, *self._found)
        chosen = next((self._found[name] for name in order if name in self._found), MeshConfig())
        if chosen != self.current:
            self.current = chosen
            self._on_change()
