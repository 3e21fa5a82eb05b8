"""Which mesh a user means: one of this machine, or one in a cluster. Pure but for what click holds of a command line.

--name MESH                             of this machine
--context NAME, --kubeconfig FILE,      in a cluster; --revision says which control plane of several there
--revision REVISION
nothing                                 the mesh that runs on this machine, else the kubeconfig's current context
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])
WORDS = "pilotfish.words"
"""In a context's `meta`: the command's name and what follows it, as they were typed."""
CONTEXT = "PILOTFISH_CONTEXT"
"""The environment's variable that names a kubeconfig's context."""
PLACES = ("mesh", "context", "kubeconfig", "control_plane")
"""The parameters of a command that say where its mesh is."""


@dataclass(frozen=True, slots=True)
class Meant:
    name: str | None = None
    """Of a mesh on this machine."""
    context: str = ""
    kubeconfig: Path | None = None
    revision: str = ""
    """"default" for the control plane that has none."""

    @property
    def is_cluster(self) -> bool:
        return bool(self.context or self.kubeconfig or self.revision)

    @property
    def is_said(self) -> bool:
        """The user named one."""
        return self.is_cluster or self.name is not None

    @classmethod
    def of(cls, ctx: click.Context | None) -> Meant:
        """What stands on the command line: before the command's name, after it, or both, where the last word holds.
        Raises click.UsageError where it names a mesh of this machine and a cluster at once."""
        found: dict[str, str] = {}
        for each in _outwards(ctx):
            found = {key: text for key in PLACES if (text := each.params.get(key))} | found
        kubeconfig = Path(found["kubeconfig"]).expanduser() if "kubeconfig" in found else None
        meant = cls(found.get("mesh"), found.get("context", ""), kubeconfig, found.get("control_plane", ""))
        if meant.name is not None and meant.is_cluster:
            raise click.UsageError("--name is a mesh on this machine, and --context one in a cluster; give one of them")
        return meant


def place_options(function: F, hidden: bool = False) -> F:
    """Of a command, what says where its mesh is. `hidden`: it is one of this machine alone, to which
    a cluster may be named for what it is there to be told."""
    name = click.option(
        "--name",
        "mesh",
        metavar="MESH",
        help="The mesh meant. Default: the only one running.",
        shell_complete=_complete_name,
    )
    context = click.option(
        "--context",
        metavar="NAME",
        hidden=hidden,
        help="In the cluster of this kubeconfig context.",
        shell_complete=_complete_context,
    )
    kubeconfig = click.option(
        "--kubeconfig",
        type=click.Path(),
        metavar="FILE",
        hidden=hidden,
        help="Another than $KUBECONFIG or ~/.kube/config.",
    )
    placed = name(context(kubeconfig(function)))
    if hidden:
        return placed
    revision = click.option(
        "--revision", "control_plane", metavar="REVISION", help="Of a cluster's control planes this one."
    )
    return revision(placed)


def _complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from pilotfish.cli import complete  # here: the list of commands needs none of it

    return complete.meshes(ctx, param, incomplete)


def _complete_context(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from pilotfish.cli import complete

    return complete.contexts(ctx, param, incomplete)


def _outwards(ctx: click.Context | None) -> Iterator[click.Context]:
    while ctx is not None:
        yield ctx
        ctx = ctx.parent
