"""`pilotfish authz`: which policies hold where."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import Failure
from pilotfish.cli.manifests import read_manifests
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import FILE, mesh_option
from pilotfish.cli.render.table import table
from pilotfish.cli.target import find_proxy

if TYPE_CHECKING:
    from pilotfish.model import Proxy
    from pilotfish.offline.policies import Holding
    from pilotfish.offline.world import World


@click.group("authz")
def command() -> None:
    """Show which policies hold for a workload."""


@command.command("check")
@click.argument("pod", metavar="POD", shell_complete=complete.pods)
@click.option("-f", "--file", "files", metavar="FILE|DIR|-", multiple=True, type=FILE, help="Manifests: no mesh.")
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("-n", "--namespace", default=None, help="Of POD, and of objects that name none.")
@click.option("--mesh-config", type=click.Path(dir_okay=False), help="A file with Istio's meshConfig.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@mesh_option
def check_command(
    pod: str,
    files: tuple[str, ...],
    recursive: bool,
    namespace: str | None,
    mesh_config: str | None,
    output: str,
    mesh: Meant,
) -> None:
    """List the AuthorizationPolicies and RequestAuthentications that hold for a pod, in the order of their effect.

    POD is NAME, NAME.NAMESPACE or deploy/NAME[.NAMESPACE]. A provider (CUSTOM) is asked first; then tokens are looked
    at (JWT); then come AUDIT, DENY and ALLOW. Where no ALLOW policy holds, what none denies passes.
    """
    from pilotfish.offline.policies import find_holdings

    world, proxy = (
        _offline(pod, files, recursive, namespace or "default", mesh_config) if files else _live(pod, mesh, namespace)
    )
    found = find_holdings(world, proxy)
    if output == "json":
        click.echo(json.dumps([_document(each) for each in found], indent=2))
    elif found:
        click.echo(_render(found), nl=False)
    else:
        click.echo(f"no policy holds for {proxy}: all that comes passes")


def _offline(
    target: str, files: tuple[str, ...], recursive: bool, namespace: str, mesh_config: str | None
) -> tuple[World, Proxy]:
    from pilotfish.offline.world import build

    world = build(read_manifests(files, recursive, namespace, mesh_config).desired)
    return world, find_proxy(world, target, namespace)


def _live(target: str, mesh: Meant, namespace: str | None) -> tuple[World, Proxy]:
    from pilotfish.cli.live_world import read_world
    from pilotfish.cli.session import open_reader

    reader = open_reader(mesh, namespace)
    pod = reader.find_pod(target)
    name = f"{pod.name}.{pod.namespace}"
    world = read_world(reader.mesh)
    if name not in world.proxies:
        raise Failure(f"{name} has no sidecar: no policy holds there")
    return world, world.proxies[name]


def _render(found: tuple[Holding, ...]) -> str:
    header = ("ACTION", "POLICY", "RULES", "NOTE", "SOURCE")
    rows = (
        (each.action, f"{each.ref.name}.{each.ref.namespace}", str(each.rules), each.note, str(each.source or ""))
        for each in found
    )
    return table(header, rows).text()


def _document(each: Holding) -> dict[str, object]:
    return {
        "action": each.action,
        "kind": str(each.ref.kind),
        "namespace": each.ref.namespace,
        "name": each.ref.name,
        "rules": each.rules,
        "note": each.note,
        "source": str(each.source or ""),
    }
