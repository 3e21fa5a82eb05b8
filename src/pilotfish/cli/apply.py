"""`pilotfish apply`."""

from __future__ import annotations

import click

from pilotfish.cli.changes import print_changes
from pilotfish.cli.failure import Failure
from pilotfish.cli.options import FILE, mesh_option, namespace_option
from pilotfish.cli.session import open_session
from pilotfish.cli.sources import read_sources


@click.command("apply")
@click.option(
    "-f", "--filename", "files", multiple=True, required=True, type=FILE, metavar="FILE|DIR|-", help="Manifests."
)
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@namespace_option
@mesh_option
def command(files: tuple[str, ...], recursive: bool, namespace: str | None, mesh: str | None) -> None:
    """Create or configure the objects of manifests. The change is live at once.

    One bad object leaves the others working: its Problems are printed, and the exit code is 1.
    """
    session = open_session(mesh, namespace)
    texts = tuple(read_sources(files, recursive))
    views = [session.client.apply(text.content, text.file, session.namespace) for text in texts]
    if not any(view.changes or view.problems for view in views):
        raise Failure("no objects passed to apply")
    print_changes(views)
