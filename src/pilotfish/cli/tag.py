"""`pilotfish tag`: names for revisions, which namespaces carry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilotfish.cli.cluster import cluster_options, open_api, tell
from pilotfish.cli.failure import Failure

if TYPE_CHECKING:
    from pilotfish.install.names import Object
    from pilotfish.install.values import Values
    from pilotfish.runtime.cluster.api import Api


@click.group("tag")
def command() -> None:
    """Names for revisions, so that namespaces need not be labelled anew when a revision is replaced.

    Namespaces are labelled `istio.io/rev=TAG`; the tag is moved to another revision, and their pods restarted. The tag
    `default` is what `istio-injection=enabled` means.
    """


@command.command("set")
@click.argument("tag")
@click.option("--revision", required=True, metavar="REVISION", help="Which revision it is to mean.")
@click.option("--overwrite", is_flag=True, help="Though it means another one now.")
@cluster_options
def set_(tag: str, revision: str, overwrite: bool, kubeconfig: Path | None, context: str) -> None:
    """Have TAG mean a revision."""
    asyncio.run(_set(tag, revision, overwrite, kubeconfig, context))


async def _set(tag: str, revision: str, overwrite: bool, kubeconfig: Path | None, context: str) -> None:
    from pilotfish.install.inventory import revisions_of, tags_of
    from pilotfish.install.tags import build_tag, is_tag
    from pilotfish.runtime.cluster.installation import apply, find_ours, survey

    if not is_tag(tag):
        raise click.UsageError(f"{tag!r} is no tag; use lower-case letters, digits and dashes, 40 at most")
    async with open_api(kubeconfig, context) as api:
        values, bundle = await _revision(api, "" if revision == "default" else revision)
        ours = await find_ours(api)
        if tag == "default" and "default" in revisions_of(ours):
            raise Failure(
                "the control plane without a revision is what `default` means; label namespaces istio.io/rev="
                f"{revision}, and uninstall it with `pilotfish uninstall --revision default` first"
            )
        now = tags_of(ours).get(tag)
        if now is not None and now != revision and not overwrite:
            raise Failure(f"tag {tag} means revision {now}; give --overwrite to have it mean {revision}")
        wanted = build_tag(tag, values, bundle)
        surveyed = await survey(api, wanted)
        if surveyed.conflicts:
            raise Failure(f"{surveyed.conflicts[0]}, and is not taken over")
        async for step in apply(api, wanted, surveyed):
            tell(step)
    label = "istio-injection=enabled" if tag == "default" else f"istio.io/rev={tag}"
    click.echo(f"New pods of namespaces labelled {label} get sidecars of revision {revision}")


async def _revision(api: Api, revision: str) -> tuple[Values, str]:
    """What it was installed with, and whom the API server trusts that it is it."""
    from pilotfish.cli.cluster import choose_values
    from pilotfish.install.inventory import REMOVED, bundle_of, values_of
    from pilotfish.install.names import Names
    from pilotfish.runtime.cluster.installation import find_plane, read

    names = Names(revision)
    plane = await find_plane(api, names)
    webhooks = await read(api, REMOVED[0].ref("", names.own))
    if plane is None or webhooks is None:
        raise Failure(f"no control plane of revision {names.label} is installed; see `pilotfish tag list`")
    return choose_values((), (), revision, values_of(plane)), bundle_of(webhooks)


@command.command("list")
@cluster_options
def list_(kubeconfig: Path | None, context: str) -> None:
    """Print revisions, their tags, and the namespaces that name either."""
    asyncio.run(_list(kubeconfig, context))


async def _list(kubeconfig: Path | None, context: str) -> None:
    from pilotfish.cli.render.table import NONE, table
    from pilotfish.install.inventory import revisions_of, tags_of
    from pilotfish.install.tags import namespaces_by_name
    from pilotfish.model.kinds import NAMESPACE
    from pilotfish.runtime.cluster.installation import find_ours, listed

    async with open_api(kubeconfig, context) as api:
        ours = await find_ours(api)
        namespaces = namespaces_by_name(await listed(api, NAMESPACE))
    named = [("", revision) for revision in revisions_of(ours)] + sorted(tags_of(ours).items())
    rows = [(tag or NONE, revision, ", ".join(namespaces.get(tag or revision, ())) or NONE) for tag, revision in named]
    click.echo(table(("TAG", "REVISION", "NAMESPACES"), rows).text(), nl=False)


@command.command("remove")
@click.argument("tag")
@click.option("-y", "--yes", is_flag=True, help="Though namespaces name it, whose pods then get no sidecars.")
@cluster_options
def remove(tag: str, yes: bool, kubeconfig: Path | None, context: str) -> None:
    """Remove TAG. The revision stays."""
    asyncio.run(_remove(tag, yes, kubeconfig, context))


async def _remove(tag: str, yes: bool, kubeconfig: Path | None, context: str) -> None:
    from pilotfish.install.inventory import labels_of
    from pilotfish.install.names import TAG
    from pilotfish.install.tags import namespaces_by_name
    from pilotfish.model.kinds import NAMESPACE
    from pilotfish.runtime.cluster import installation

    async with open_api(kubeconfig, context) as api:
        goes: list[Object] = [each for each in await installation.find_ours(api) if labels_of(each).get(TAG) == tag]
        if not goes:
            raise Failure(f"there is no tag {tag}; see `pilotfish tag list`")
        using = namespaces_by_name(await installation.listed(api, NAMESPACE)).get(tag, ())
        if using and not yes:
            raise Failure(f"namespaces {', '.join(using)} name tag {tag}, and would get no sidecars; give --yes if so")
        async for step in installation.remove(api, goes):
            tell(step)
