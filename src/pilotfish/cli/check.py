"""`pilotfish check`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilotfish.cli.cluster import choose_values, cluster_options, open_api, values_options
from pilotfish.cli.failure import Failure
from pilotfish.cli.options import output_option

if TYPE_CHECKING:
    from pilotfish.install.values import Values
    from pilotfish.model import Problem
    from pilotfish.runtime.cluster.api import Api


@click.command("check")
@click.option("--pre", "before", is_flag=True, help="Whether the mesh can be installed.")
@click.option("--post", "after", is_flag=True, help="Whether what is installed does what it is for.")
@values_options
@cluster_options
@output_option("json", "yaml", "sarif", "github")
def command(
    before: bool,
    after: bool,
    files: tuple[str, ...],
    settings: tuple[str, ...],
    revision: str,
    kubeconfig: Path | None,
    context: str,
    output: str | None,
) -> None:
    """Look at a cluster: whether the mesh can be installed there, or is well.

    Without --pre or --post: the second where it is installed, else the first. The exit code is 1 if there is an error.
    """
    if before and after:
        raise click.UsageError("--pre is before an installation, and --post after it; give one of them")
    problems = asyncio.run(_check(before, after, files, settings, revision, kubeconfig, context))
    _show(problems, output)


async def _check(
    before: bool,
    after: bool,
    files: tuple[str, ...],
    settings: tuple[str, ...],
    revision: str,
    kubeconfig: Path | None,
    context: str,
) -> tuple[Problem, ...]:
    from pilotfish.install.inventory import values_of
    from pilotfish.install.names import Names
    from pilotfish.runtime.cluster.installation import find_plane

    async with open_api(kubeconfig, context) as api:
        plane = None if before else await find_plane(api, Names(revision))
        if plane is None and after:
            raise Failure("no control plane is installed; see `pilotfish check --pre`")
        values = choose_values(files, settings, revision, values_of(plane) if plane is not None else "")
        return await (_before(api, values) if plane is None else _after(api, values))


async def _before(api: Api, values: Values) -> tuple[Problem, ...]:
    from pilotfish.install.objects import build_objects
    from pilotfish.install.permissions import to_install
    from pilotfish.install.preflight import find_problems, of_permission
    from pilotfish.runtime.cluster.checking import read_cluster
    from pilotfish.runtime.cluster.installation import survey
    from pilotfish.runtime.cluster.permissions import find_missing

    wanted = build_objects(values)
    missing = await find_missing(api, to_install(wanted))
    conflicts = (await survey(api, wanted)).conflicts if not any(each.verb == "get" for each in missing) else ()
    found = find_problems(await read_cluster(api), values, conflicts)
    return (*found, *map(of_permission, missing))


async def _after(api: Api, values: Values) -> tuple[Problem, ...]:
    from pilotfish.install.examination import find_problems
    from pilotfish.install.names import Names
    from pilotfish.install.objects import build_objects
    from pilotfish.runtime.cluster.checking import read_installed

    return find_problems(await read_installed(api, Names(values.revision), build_objects(values)))


def _show(problems: tuple[Problem, ...], output: str | None) -> None:
    from pilotfish.cli.render.findings import FORMATS, render_lines
    from pilotfish.offline.findings import find

    findings = find(problems)
    click.echo(FORMATS[output](findings) if output else render_lines(findings), nl=False)
    failed = any(problem.severity == "error" for problem in problems)
    if not output and not any(problem.severity in ("error", "warning") for problem in problems):
        click.echo("no problem was found")
    sys.exit(1 if failed else 0)
