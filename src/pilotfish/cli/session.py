"""Which mesh a command means, and asking it.

Commands that look ask a `Mesh`, wherever it runs (`open_reader`); those that change something, or need a machine, ask
the mesh on this one (`open_session`), and are kubectl's in a cluster.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import CONTEXT, WORDS, Meant
from pilotfish.cli.target import parse_pod, pick_pod
from pilotfish.runtime.control.client import Client, find_meshes, is_alive, state_root
from pilotfish.runtime.control.views import MeshView, PodView

if TYPE_CHECKING:
    from pilotfish.cli.mesh.protocol import Mesh

NEEDS_ROOT: Final = "the rules and the proxies of pods are inside of their network namespaces"


@dataclass(frozen=True, slots=True)
class Session:
    """One mesh that runs on this machine, and the namespace that a command works in."""

    mesh: MeshView
    client: Client
    namespace: str


@dataclass(frozen=True, slots=True)
class Reader:
    """One mesh, wherever it runs, and the namespace that a command works in."""

    mesh: Mesh
    namespace: str

    def find_pod(self, target: str) -> PodView:
        """Raises Failure where it names none."""
        meant = parse_pod(target, self.namespace)
        return pick_pod(self.mesh.pods_of(meant), meant, self.namespace, self.mesh.tool)


@dataclass(frozen=True, slots=True)
class _InCluster:
    """A mesh that is reached by a kubeconfig."""

    meant: Meant
    why: str = ""
    """What is to be said of it, where nobody named it."""


class UnknownMesh(Failure):
    """No mesh of the name that was given runs, nor left anything."""


def open_session(meant: Meant, namespace: str | None = None) -> Session:
    """The mesh that is meant, on this machine. Raises Failure where there is none, more than one, or it is in a
    cluster, where the command is kubectl's."""
    found = _choose(meant)
    if isinstance(found, _InCluster):
        raise _foreign(found)
    return Session(found, Client(found.directory), namespace or found.default_namespace)


def open_reader(meant: Meant, namespace: str | None = None, needs_root: str = "") -> Reader:
    """The mesh that is meant, wherever it runs. Raises Failure where there is none, or more than one. `needs_root`: why
    only root may ask one on this machine what the command asks; "" where anybody may."""
    found = _choose(meant)
    if isinstance(found, _InCluster):
        from pilotfish.cli.mesh.cluster import open_cluster

        cluster = open_cluster(found.meant.kubeconfig, found.meant.context, found.meant.revision, namespace or "")
        if found.why:
            click.echo(f"{found.why}: this is {cluster.title}", err=True)
        return Reader(cluster, cluster.namespace)
    if needs_root:
        require_root(needs_root)
    from pilotfish.cli.mesh.machine import Machine

    return Reader(Machine(found), namespace or found.default_namespace)


def on_this_machine(ctx: click.Context) -> Meant:
    """For what makes a mesh, or takes one down: nothing but the command line says where. Raises Failure where it says a
    cluster."""
    meant = Meant.of(ctx)
    if meant.is_cluster:
        raise _foreign(_InCluster(meant))
    return meant


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


def _choose(meant: Meant) -> MeshView | _InCluster:
    if meant.name is None and not meant.is_cluster and (context := os.environ.get(CONTEXT)):
        meant = Meant(context=context)
    if meant.is_cluster:
        return _InCluster(meant)
    known = find_meshes(root())
    alive = tuple(mesh for mesh in known if is_alive(mesh))
    if meant.name is not None:
        return _named(known, alive, meant.name)
    if len(alive) == 1:
        return alive[0]
    if alive:
        raise Failure(f"{len(alive)} meshes are running ({_names(alive)}); say which one with --name")
    if known:
        cluster = "; --context asks a cluster" if _has_kubeconfig() else ""
        remedy = f"'pilotfish down' removes what is left of dead ones ({_names(known)})"
        raise Failure(f"no mesh is running; {remedy}{cluster}")
    if _has_kubeconfig():
        return _InCluster(meant, "no mesh runs on this machine")
    raise Failure(f"no mesh is running; {_HOW_TO_START}")


def _has_kubeconfig() -> bool:
    """There is one, or this is a pod. Whether it can be used, who uses it says."""
    said = os.environ.get("KUBECONFIG")
    files = said.split(os.pathsep) if said else [str(Path("~/.kube/config").expanduser())]
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(file and Path(file).exists() for file in files)


def _foreign(found: _InCluster) -> Failure:
    from pilotfish.cli.foreign import in_a_cluster, why_not_in_a_cluster

    context = click.get_current_context(silent=True)
    words = context.meta.get(WORDS, ()) if context is not None else ()
    meant = found.meant
    places = (("--kubeconfig", str(meant.kubeconfig or "")), ("--context", meant.context))
    whose = f"in the cluster{f' of context {meant.context}' if meant.context else ''} this is"
    lead = f"{found.why}, and {whose}" if found.why else whose
    if reason := why_not_in_a_cluster(words):
        return Failure(f"{lead} not to be done from outside: {reason}")
    return Failure(f"{lead} '{in_a_cluster(words, places)}'")


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
