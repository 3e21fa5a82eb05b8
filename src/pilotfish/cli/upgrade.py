"""`pilotfish upgrade`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from pilotfish.cli.cluster import (
    choose_values,
    cluster_options,
    open_api,
    tell,
    values_options,
    waiting_options,
)
from pilotfish.cli.failure import Failure
from pilotfish.cli.install import bring


@click.command("upgrade")
@values_options
@cluster_options
@click.option("--reset-values", is_flag=True, help="Forget the values of before, but for those given now.")
@waiting_options
def command(
    files: tuple[str, ...],
    settings: tuple[str, ...],
    revision: str,
    kubeconfig: Path | None,
    context: str,
    reset_values: bool,
    dry_run: bool,
    timeout: float,
    no_wait: bool,
) -> None:
    """Bring an installed control plane to this release, in place.

    The values that it was installed with hold on; `--set` and `-f` go before them. What it no longer consists of is
    removed. Sidecars are of the release before until their pods are replaced.

    By canary: `install --revision NEW`, label namespaces or move a tag (`pilotfish tag set`), and then
    `uninstall --revision OLD`.
    """
    wait = None if no_wait else timeout
    asyncio.run(_upgrade(kubeconfig, context, files, settings, revision, reset_values, dry_run, wait))


async def _upgrade(
    kubeconfig: Path | None,
    context: str,
    files: tuple[str, ...],
    settings: tuple[str, ...],
    revision: str,
    reset: bool,
    dry_run: bool,
    timeout: float | None,
) -> None:
    from pilotfish.install.inventory import find_superfluous, ref_of, values_of
    from pilotfish.install.names import Names
    from pilotfish.runtime.cluster.installation import Change, Step, find_ours, find_plane, remove

    async with open_api(kubeconfig, context) as api:
        plane = await find_plane(api, Names(revision))
        if plane is None:
            named = f"revision {revision}" if revision else "a revision without a name"
            raise Failure(f"no control plane of {named} is installed; use `pilotfish install`")
        values = choose_values(files, settings, revision, "" if reset else values_of(plane))
        wanted = await bring(api, values, dry_run=dry_run, timeout=timeout)
        superfluous = find_superfluous(await find_ours(api), wanted, Names(values.revision).label)
        if dry_run:
            for each in superfluous:
                tell(Step(ref_of(each), Change.DELETED), dry_run=True)
            return
        async for step in remove(api, superfluous):
            tell(step)
