"""`pilotfish validate`."""

from __future__ import annotations

import sys

import click

from pilotfish.cli.manifests import manifest_arguments, read_manifests
from pilotfish.cli.options import output_option
from pilotfish.cli.render.findings import FORMATS, render_lines


@click.command("validate")
@manifest_arguments()
@output_option("json", "yaml", "sarif", "github")
def command(
    files: tuple[str, ...], recursive: bool, namespace: str, mesh_config: str | None, output: str | None
) -> None:
    """Check each object by itself: its fields, their values, what they mean together. No mesh, no root.

    One line for each Problem, with file, line and column. The exit code is 1 if an object can't be used; warnings and
    notes alone leave it 0. `pilotfish analyze` looks across objects.
    """
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
