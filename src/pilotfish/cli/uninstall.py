"""`pilotfish uninstall`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilotfish.cli.cluster import cluster_options, open_api, refuse_missing, revision_option, tell
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure

if TYPE_CHECKING:
    from pilotfish.runtime.cluster.removal import Definition


@click.command("uninstall")
@revision_option
@cluster_options
@click.option("--purge", is_flag=True, help="Also the definitions of Istio's kinds, with every object of them.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before objects of Istio's kinds are lost.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option(
    "--timeout",
    default="2m",
    show_default=True,
    metavar="TIME",
    callback=lambda _, __, value: parse_duration(value),
    help="How long to wait until its pods have ended.",
)
def command(
    revision: str, kubeconfig: Path | None, context: str, purge: bool, yes: bool, dry_run: bool, timeout: float
) -> None:
    """Remove the control plane: all of it, or that of one revision.

    Webhooks go first, so that nobody is asked who is gone. With the last revision goes all that revisions share: the
    node's plugin, what signed certificates, the ConfigMap with its root in each namespace, and the mesh's own namespace
    where nothing of others is in it. Sidecars that run keep running with what they know; replace their pods.

    Istio's kinds, and the objects of them, stay, unless `--purge` is given.
    """
    asyncio.run(_uninstall(kubeconfig, context, revision, purge, yes, dry_run, timeout))


async def _uninstall(
    kubeconfig: Path | None, context: str, revision: str, purge: bool, yes: bool, dry_run: bool, timeout: float
) -> None:
    from pilotfish.install.inventory import ref_of
    from pilotfish.install.permissions import to_uninstall
    from pilotfish.install.removal import plan
    from pilotfish.runtime.cluster.installation import Change, Step, find_ours
    from pilotfish.runtime.cluster.permissions import find_missing
    from pilotfish.runtime.cluster.removal import find_definitions, find_namespace, take_away

    async with open_api(kubeconfig, context) as api:
        refuse_missing(await find_missing(api, to_uninstall(purge)), "uninstalling")
        ours = await find_ours(api)
        found = plan(ours, revision)
        if found.refusal:
            raise Failure(found.refusal)
        definitions = await find_definitions(api) if purge and found.is_last else ()
        _confirm(definitions, yes or dry_run)
        namespace = await find_namespace(api) if found.is_last else None
        if dry_run:
            for each in (
                *found.goes,
                *(d.definition for d in definitions),
                *((namespace.object,) if namespace else ()),
            ):
                tell(Step(ref_of(each), Change.DELETED), dry_run=True)
            return
        async for step in take_away(api, found.goes, definitions, namespace, timeout):
            tell(step)
        if namespace is not None and namespace.held:
            click.echo(f"namespace {namespace.name} stays: it holds {namespace.held}")


def _confirm(definitions: Sequence[Definition], is_sure: bool) -> None:
    lost = {str(each.kind): each.objects for each in definitions if each.objects}
    if not lost or is_sure:
        return
    named = ", ".join(f"{count} {kind}" for kind, count in lost.items())
    if not sys.stdin.isatty():
        raise Failure(f"with the definitions, {named} would be lost, so nothing was done; give --yes if that is meant")
    click.confirm(f"With the definitions, {named} are lost. Go on?", abort=True)
