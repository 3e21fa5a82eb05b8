"""`pilotfish install`, and what `pilotfish upgrade` shares with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilotfish.cli.cluster import (
    choose_values,
    cluster_options,
    open_api,
    refuse_missing,
    tell,
    values_options,
    waiting_options,
)
from pilotfish.cli.failure import Failure

if TYPE_CHECKING:
    from pilotfish.install.inventory import Conflict
    from pilotfish.install.names import Object
    from pilotfish.install.values import Values
    from pilotfish.runtime.cluster.api import Api


@click.command("install")
@values_options
@cluster_options
@waiting_options
def command(
    files: tuple[str, ...],
    settings: tuple[str, ...],
    revision: str,
    kubeconfig: Path | None,
    context: str,
    dry_run: bool,
    timeout: float,
    no_wait: bool,
) -> None:
    """Install the control plane in a cluster, or bring what is installed to these values.

    Objects are applied one after the other, the webhooks last; then it waits until all of it is ready. Nothing is done
    where an object of one of the names is somebody else's, or a permission is missing: they are named.

    A second control plane beside the first needs a name: `--revision NAME`.
    """
    values = choose_values(files, settings, revision)
    asyncio.run(_install(open_api(kubeconfig, context), values, dry_run, None if no_wait else timeout))


async def _install(api: Api, values: Values, dry_run: bool, timeout: float | None) -> None:
    async with api:
        await bring(api, values, dry_run=dry_run, timeout=timeout)
    if not dry_run and timeout is not None:
        click.echo(_what_next(values))


async def bring(api: Api, values: Values, *, dry_run: bool, timeout: float | None) -> tuple[Object, ...]:
    """The cluster to the values; the objects that were applied. `timeout`: seconds to wait; None: not at all."""
    from pilotfish.install.objects import build_stages
    from pilotfish.install.permissions import to_install
    from pilotfish.runtime.cluster.installation import apply, survey
    from pilotfish.runtime.cluster.permissions import find_missing
    from pilotfish.runtime.cluster.readiness import until_ready

    stages = build_stages(values)
    wanted = tuple(each for stage in stages for each in stage)
    refuse_missing(await find_missing(api, to_install(wanted)), "installing")
    surveyed = await survey(api, wanted)
    _refuse_conflicts(surveyed.conflicts)
    for stage in stages:
        async for step in apply(api, stage, surveyed, dry_run=dry_run):
            tell(step, dry_run=dry_run)
        if not dry_run and timeout is not None:
            async for lacking in until_ready(api, stage, timeout):
                click.echo(f"waiting: {lacking}")
    return wanted


def _refuse_conflicts(conflicts: Sequence[Conflict]) -> None:
    if not conflicts:
        return
    for conflict in conflicts:
        click.echo(f"error: {conflict}, and is not taken over [Conflict]", err=True)
    if all(conflict.is_ours for conflict in conflicts):
        raise Failure("Helm installed it, so nothing was done; upgrade it with `helm upgrade`")
    raise Failure(
        "objects of these names are not pilotfish's, so nothing was done; install beside them with --revision NAME, or "
        "remove them first"
    )


def _what_next(values: Values) -> str:
    from pilotfish.install.names import Names

    label = f"istio.io/rev={Names(values.revision).label}" if values.revision else "istio-injection=enabled"
    lines = [
        "",
        f"The control plane is ready. For sidecars in a namespace's new pods: kubectl label namespace NAME {label}",
        "Pods that run already get theirs when they are replaced: kubectl rollout restart deployment -n NAME",
    ]
    if values.revision:
        tag = f"pilotfish tag set default --revision {values.revision}"
        lines.append(f"What `istio-injection=enabled` and objects of no revision mean, is said by: {tag}")
    return "\n".join([*lines, "To see that all is well: pilotfish check --post"])
