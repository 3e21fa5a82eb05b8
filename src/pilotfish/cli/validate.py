"""`pilotfish validate`."""

from __future__ import annotations

import sys

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.manifests import manifest_arguments, read_manifests
from pilotfish.cli.options import output_option
from pilotfish.cli.render.findings import FORMATS, render_lines


@click.command("validate")
@manifest_arguments()
@click.option(
    "--summary",
    is_flag=True,
    help="Count: what is used, used with a warning, refused, and why, the most frequent first. Each file counts by "
    "itself, and folders with all that is below them.",
)
@output_option("json", "yaml", "sarif", "github")
def command(
    files: tuple[str, ...],
    recursive: bool,
    namespace: str,
    mesh_config: str | None,
    summary: bool,
    output: str | None,
) -> None:
    """Check each object by itself: its fields, their values, what they mean together. No mesh, no root.

    One line for each Problem, with file, line and column. The exit code is 1 if an object can't be used; warnings and
    notes alone leave it 0. `pilotfish analyze` looks across objects.
    """
    if summary:
        _summarise(files, namespace, output)
        return
    from pilotfish.offline.findings import find
    from pilotfish.offline.world import build

    manifests = read_manifests(files, recursive, namespace, mesh_config)
    world = build(manifests.desired)
    findings = find((*world.desired.problems, *world.pod_problems), manifests.texts)
    click.echo(FORMATS[output](findings) if output else render_lines(findings), nl=False)
    failed = any(finding.problem.severity == "error" for finding in findings)
    if not output and not failed:
        count = len(world.desired.manifests)
        click.echo(f"{count} object{'s are' if count != 1 else ' is'} valid")
    sys.exit(1 if failed else 0)


def _summarise(files: tuple[str, ...], namespace: str, output: str | None) -> None:
    from pilotfish.cli.render.census import as_document, render_census
    from pilotfish.cli.render.documents import Format, render_document
    from pilotfish.cli.sources import list_files, read_sources
    from pilotfish.model import Problem, Source
    from pilotfish.offline.census import Census

    if output not in (None, "json", "yaml"):
        raise click.UsageError(f"--summary is printed as text, json or yaml, not as {output}")
    census = Census()
    for file in list_files(files):
        try:
            for text in read_sources((file,)):
                census.add(text.file, text.content, namespace)
        except Failure as error:
            census.refuse(Problem(None, "", "Unreadable", error.message, source=Source(file, 1)))
    form: Format = "yaml" if output == "yaml" else "json"
    click.echo(render_document(as_document(census), form) if output else render_census(census), nl=False)
    sys.exit(1 if census.refused else 0)
