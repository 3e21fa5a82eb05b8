"""`pilotfish diff`."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from pilotfish.cli.changes import show_problems
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure, expected
from pilotfish.cli.live_world import foresee
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import FILE, filename_options, mesh_option, namespace_option, output_option
from pilotfish.cli.render.difference import build_document, render_difference
from pilotfish.cli.session import open_reader
from pilotfish.cli.sources import read_sources
from pilotfish.runtime.control.views import ProblemView

if TYPE_CHECKING:
    from pilotfish.cli.diff_ways import ChangedWay
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.offline.difference import Difference
    from pilotfish.offline.world import World

_ERROR = 2


class _Unknown(Failure):
    """What would change can't be told."""

    exit_code = _ERROR


@click.command("diff")
@filename_options()
@click.option(
    "--ways",
    "cases",
    multiple=True,
    metavar="FILE",
    type=FILE,
    help="Name the requests of this file, as `test` reads it, that would go another way.",
)
@click.option(
    "--ways-since",
    "since",
    type=parse_duration,
    metavar="DURATION",
    help="Name those of the proxies' access logs, so far back, that would go another way.",
)
@output_option("text", "json", default="text")
@namespace_option
@mesh_option
def command(
    files: tuple[str, ...],
    recursive: bool,
    cases: tuple[str, ...],
    since: float | None,
    output: str,
    namespace: str | None,
    mesh: Meant,
) -> None:
    """Show what applying manifests to the running mesh would change, before it is done.

    First the objects, as a unified diff; then which resources of which proxies; then, where they are asked for, which
    requests would end otherwise, with the old answer and the new one. Problems that there would be go to standard
    error. The exit code is 0 if nothing changes, 1 if something does, more if it can't be told.
    """
    from pilotfish.offline.difference import compare

    try:
        reader = open_reader(mesh, namespace)
        before, after = foresee(reader.mesh, reader.namespace, tuple(read_sources(files, recursive)))
        difference = compare(before, after)
        ways = _find_ways(reader.mesh, before, after, cases, since)
    except Exception as error:
        failure = error if isinstance(error, Failure) else expected(error)
        if failure is None:
            raise
        raise _Unknown(failure.format_message()) from error
    _print(difference, ways, output)
    if not show_problems(map(ProblemView.of, difference.problems)):
        sys.exit(_ERROR)
    sys.exit(1 if difference.objects or difference.proxies or ways else 0)


def _find_ways(
    mesh: Mesh, before: World, after: World, cases: tuple[str, ...], since: float | None
) -> tuple[ChangedWay, ...]:
    if not cases and since is None:
        return ()
    from pilotfish.cli.diff_ways import find_changed, read_cases, read_logs

    asked = [each for file in cases for each in read_cases(file)]
    if since is not None:
        asked += read_logs(mesh, time.time() - since)
    return tuple(find_changed(before, after, asked))


def _print(difference: Difference, ways: tuple[ChangedWay, ...], output: str) -> None:
    if output == "json":
        document: dict[str, Any] = build_document(difference, ways)
        click.echo(json.dumps(document, indent=2, default=str))
    else:
        click.echo(render_difference(difference, ways), nl=False)
