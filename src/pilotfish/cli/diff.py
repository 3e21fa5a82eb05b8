"""`pilotfish diff`."""

from __future__ import annotations

import sys

import click

from pilotfish.cli.changes import show_problems
from pilotfish.cli.failure import Failure, expected
from pilotfish.cli.live_world import foresee
from pilotfish.cli.options import filename_options, mesh_option, namespace_option
from pilotfish.cli.render.difference import render_difference
from pilotfish.cli.session import open_session
from pilotfish.cli.sources import read_sources
from pilotfish.runtime.control.views import ProblemView

_ERROR = 2


class _Unknown(Failure):
    """What would change can't be told."""

    exit_code = _ERROR


@click.command("diff")
@filename_options
@namespace_option
@mesh_option
def command(files: tuple[str, ...], recursive: bool, namespace: str | None, mesh: str | None) -> None:
    """Show what applying manifests to the running mesh would change, before it is done.

    First the objects, as a unified diff; then which resources of which proxies. Problems that there would be go to
    standard error. The exit code is 0 if nothing changes, 1 if something does, more if it can't be told.
    """
    try:
        session = open_session(mesh, namespace)
        difference = foresee(session, tuple(read_sources(files, recursive)))
    except Exception as error:
        failure = error if isinstance(error, Failure) else expected(error)
        if failure is None:
            raise
        raise _Unknown(failure.format_message()) from error
    click.echo(render_difference(difference), nl=False)
    if not show_problems(map(ProblemView.of, difference.problems)):
        sys.exit(_ERROR)
    sys.exit(1 if difference.objects or difference.proxies else 0)
