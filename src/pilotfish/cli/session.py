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


class UnknownMesh(Failure):
    """No mesh of the name that was given runs, nor left anything."""


def open_session(name: str | None, namespace: str | None = None) -> Session:
    """The mesh called `name`, or the only one that runs. Raises Failure where there is none, or more than one."""
    mesh = _choose(find_meshes(root()), name)
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


def _choose(known: tuple[MeshView, ...], name: str | None) -> MeshView:
    if name is None:
        # An option given before the command's name (`pilotfish --name MESH get pods`) is in the context.
        context = click.get_current_context(silent=True)
        name = context.obj if context and isinstance(context.obj, str) else None
    alive = tuple(mesh for mesh in known if is_alive(mesh))
    if name is not None:
        return _named(known, alive, name)
    if len(alive) > 1:
        raise Failure(f"{len(alive)} meshes are running ({_names(alive)}); say which one with --name")
    if not alive and known:
        raise Failure(f"no mesh is running; 'pilotfish down' removes what is left of dead ones ({_names(known)})")
    if not alive:
        raise Failure(f"no mesh is running; {_HOW_TO_START}")
    return alive[0]


def _named(known: tuple[MeshView, ...], alive: tuple[MeshView, ...], name: str) -> MeshView:
    for mesh in known:
        if mesh.name == name and mesh in alive:
            return mesh
        if mesh.name == name:
            remedy = f"'pilotfish down --name {name}' removes what it left"
            raise Failure(f'mesh "{name}" is dead, its process {mesh.pid} has ended; {remedy}')
    instead = f"running: {_names(alive)}" if alive else _HOW_TO_START
    raise UnknownMesh(f'no mesh named "{name}" is running; {instead}')


def _names(meshes: tuple[MeshView, ...]) -> str:
    return ", ".join(mesh.name for mesh in meshes)


def _owner(path: Path) -> str:
    try:
        return pwd.getpwuid(path.stat().st_uid).pw_name
    except KeyError:
        return "another user"


_HOW_TO_START = "start one with 'pilotfish up FILE'"
