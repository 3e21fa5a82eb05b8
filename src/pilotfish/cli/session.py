"""Which mesh a command means, and asking it."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import click

from pilotfish.cli.failure import Failure
from pilotfish.runtime.control.client import Client, find_meshes, is_alive, state_root
from pilotfish.runtime.control.views import MeshView


@dataclass(frozen=True, slots=True)
class Session:
    """One running mesh, and the namespace that a command works in."""

    mesh: MeshView
    client: Client
    namespace: str


def open_session(name: str | None, namespace: str | None = None) -> Session:
    """The mesh called `name`, or the only one that runs. Raises Failure where there is none, or more than one."""
    mesh = _choose(_alive(root()), name)
    return Session(mesh, Client(mesh.directory), namespace or mesh.default_namespace)


def root() -> Path:
    """Where the meshes' directories are. Raises Failure where the caller may not look into it."""
    path = state_root(os.environ)
    if path.exists() and not os.access(path, os.R_OK | os.X_OK):
        raise needs_root(f"{path} belongs to {_owner(path)}")
    return path


def needs_root(why: str) -> Failure:
    return Failure(f"this needs root, because {why}: run it with sudo")


def require_root(what: str) -> None:
    """Raises Failure unless the caller is root; `what` says what only root may do."""
    if os.geteuid() != 0:
        raise needs_root(what)


def _alive(path: Path) -> tuple[MeshView, ...]:
    return tuple(mesh for mesh in find_meshes(path) if is_alive(mesh))


def _choose(meshes: tuple[MeshView, ...], name: str | None) -> MeshView:
    if name is None:
        # An option given before the command's name (`pilotfish --name MESH get pods`) is in the context.
        context = click.get_current_context(silent=True)
        name = context.obj if context and isinstance(context.obj, str) else None
    names = ", ".join(mesh.name for mesh in meshes)
    if name is not None:
        for mesh in meshes:
            if mesh.name == name:
                return mesh
        raise Failure(f'no mesh named "{name}" is running; ' + (f"running: {names}" if names else _HOW_TO_START))
    if not meshes:
        raise Failure(f"no mesh is running; {_HOW_TO_START}")
    if len(meshes) > 1:
        raise Failure(f"{len(meshes)} meshes are running ({names}); say which one with --name")
    return meshes[0]


def _owner(path: Path) -> str:
    try:
        return pwd.getpwuid(path.stat().st_uid).pw_name
    except KeyError:
        return "another user"


_HOW_TO_START = "start one with 'pilotfish up FILE'"
