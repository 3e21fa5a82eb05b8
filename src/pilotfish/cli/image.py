"""`pilotfish image`: the images of this machine, which are podman's."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from pilotfish.cli.options import output_option
from pilotfish.cli.render.documents import Format, render_document
from pilotfish.cli.render.images import render_images
from pilotfish.cli.session import require_root

_UNNAMED = ", which has no name that a manifest could say; give it one with 'podman tag'"
_STORE = "the images that pods run are root's"


@click.group("image")
def command() -> None:
    """Load images into this machine, and list those that there are.

    They are podman's: what `podman build`, `pull` or `load` make is here, too.
    """


@command.command("load")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def load(files: tuple[str, ...]) -> None:
    """Load the images of archives, made by `docker save` or `podman save`, or in OCI's form.

    A pod that waits for one starts within some seconds.
    """
    from pilotfish.runtime.images import podman

    require_root(_STORE)
    for file in files:
        for name in asyncio.run(podman.load(Path(file))):
            unnamed = name.startswith("sha256:")
            click.echo(f"loaded {name}{_UNNAMED if unnamed else ''}")


@command.command("ls")
@output_option("json", "yaml")
def ls(output: Format | None) -> None:
    """List the images that have a name."""
    from pilotfish.runtime.images import podman

    require_root(_STORE)
    found = asyncio.run(podman.every())
    if output:
        documents: list[dict[str, Any]] = [
            {"names": list(image.names), "id": image.id, "size": image.size} for image in found
        ]
        click.echo(render_document(documents, output), nl=False)
        return
    click.echo(render_images(found, time.time()).text(), nl=False)
