"""What the commands that need no mesh have in common: manifests in, the world that they make out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pilotfish.cli.options import manifests_argument
from pilotfish.cli.sources import read_sources

if TYPE_CHECKING:
    from pilotfish.config.desired import DesiredState
    from pilotfish.offline.texts import Texts

F = TypeVar("F", bound=Callable[..., Any])


def manifest_arguments(required: bool = True) -> Callable[[F], F]:
    """`FILE...`, `-f`, `-R`, `-n`, `--mesh-config`: as `files`, `recursive`, `namespace`, `mesh_config`."""
    parts: tuple[Callable[[F], F], ...] = (
        manifests_argument("files", required),
        click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them."),
        click.option("-n", "--namespace", default="default", show_default=True, help="Of objects that name none."),
        click.option(
            "--mesh-config",
            type=click.Path(dir_okay=False),
            help="A file with Istio's meshConfig. It wins over one among the manifests.",
        ),
    )

    def decorate(function: F) -> F:
        for part in reversed(parts):
            function = part(function)
        return function

    return decorate


@dataclass(frozen=True, slots=True)
class Manifests:
    desired: DesiredState
    texts: Texts


def read_manifests(files: tuple[str, ...], recursive: bool, namespace: str, mesh_config: str | None) -> Manifests:
    """Raises Failure for what can't be read."""
    from pilotfish.offline.reading import read
    from pilotfish.offline.texts import Texts

    texts = tuple((text.file, text.content) for text in read_sources(files, recursive))
    given = (mesh_config, read_text(mesh_config)) if mesh_config else None
    return Manifests(read(texts, namespace, given), Texts(dict((*texts, given) if given else texts)))


def read_text(path: str) -> str:
    """One file, or `-`. Raises Failure."""
    return "".join(text.content for text in read_sources((path,)))
