"""Texts → DesiredState, as a mesh reads its sources."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.config.desired import DesiredState, update
from pilotfish.config.listing import ListReader
from pilotfish.config.loading import load
from pilotfish.config.manifest import Loaded, WrittenMeshConfig
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.model import Source

_MESH_CONFIG = "mesh-config"
"""The origin of a meshConfig that was given by itself: no file of manifests is called so, as theirs are absolute."""


def read(
    texts: Iterable[tuple[str, str]], namespace: str = "default", mesh_config: tuple[str, str] | None = None
) -> DesiredState:
    """`texts`: (file, content). `namespace`: of objects that name none. `mesh_config` wins over one among the texts."""
    news: dict[str, Loaded | None] = {file: load(content, file, namespace) for file, content in texts}
    if mesh_config is None:
        return update(DesiredState(), news)
    return update(DesiredState(preferred=(_MESH_CONFIG,)), {_MESH_CONFIG: _load_mesh_config(*mesh_config), **news})


def read_list(objects: bytes, mesh_config: tuple[str, str]) -> DesiredState:
    """What a mesh says that it holds: a List in JSON, each object with the place where it was written."""
    loaded = ListReader("-").read(objects)
    return update(DesiredState(preferred=(_MESH_CONFIG,)), {_MESH_CONFIG: _load_mesh_config(*mesh_config), "-": loaded})


def _load_mesh_config(file: str, content: str) -> Loaded:
    config, problems = load_mesh_config(content, file)
    written = None if config is None else WrittenMeshConfig(config, source=Source(file, 1))
    return Loaded(mesh_config=written, problems=problems, incomplete=config is None)
