"""`pilotfish status`."""

from __future__ import annotations

import sys
import time

import click

from pilotfish.cli.meant import Meant
from pilotfish.cli.options import mesh_option, output_option
from pilotfish.cli.places import near_all
from pilotfish.cli.render.documents import Format, render_document
from pilotfish.cli.render.status import render_status
from pilotfish.cli.session import open_reader


@click.command("status")
@mesh_option
@output_option("json", "yaml")
def command(mesh: Meant, output: Format | None) -> None:
    """Show the mesh on one screen: discovery, pods, proxies, published ports, problems.

    Exits with 1 when not everything that was asked for runs, or a proxy lacks what discovery means it to have.
    """
    view = open_reader(mesh).mesh.status()
    click.echo(render_document(view, output) if output else render_status(near_all(view), time.time()), nl=False)
    if not view.ready:
        sys.exit(1)
