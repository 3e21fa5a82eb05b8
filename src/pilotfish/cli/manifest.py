"""`pilotfish manifest`."""

from __future__ import annotations

from pathlib import Path

import click

from pilotfish.cli.cluster import choose_values, values_options


@click.command("manifest")
@values_options
@click.option(
    "--helm",
    "chart",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a Helm chart of the same into this folder, in the place of printing objects.",
)
def command(files: tuple[str, ...], settings: tuple[str, ...], revision: str, chart: Path | None) -> None:
    """Print the objects of an installation in a cluster, in the order in which they are applied.

    `pilotfish install` applies the same, and waits until they are ready.
    """
    from pilotfish.cli.render.documents import render_document
    from pilotfish.install.objects import build_objects

    values = choose_values(files, settings, revision)
    click.echo("---\n".join(render_document(each, "yaml") for each in build_objects(values)), nl=False)
