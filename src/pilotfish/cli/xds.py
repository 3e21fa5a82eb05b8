"""`pilotfish xds`: what proxies are sent, with no mesh and no root."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import show_problems
from pilotfish.cli.failure import Failure
from pilotfish.cli.manifests import manifest_arguments, read_manifests, read_text
from pilotfish.cli.options import FILE
from pilotfish.cli.render.documents import Format, render_document
from pilotfish.cli.session import require_root
from pilotfish.cli.target import find_proxy
from pilotfish.runtime.control.views import ProblemView

if TYPE_CHECKING:
    from pilotfish.model import Proxy
    from pilotfish.offline.world import World

TYPES = ("listeners", "routes", "clusters", "endpoints", "secrets", "all")


@click.group("xds")
def command() -> None:
    """Show what proxies would be sent, out of manifests: no mesh, no root."""


@command.command("render")
@manifest_arguments()
@click.option(
    "--proxy",
    "name",
    metavar="NAME[.NAMESPACE]",
    help="The proxy of a pod, or of a Deployment's first; or a machine's, for all its pods.",
    shell_complete=complete.manifest_proxies,
)
@click.option(
    "--proxy-file",
    type=FILE,
    metavar="FILE|-",
    help="A description of a proxy instead: type, ip, name, namespace, labels, metadata.",
)
@click.option("--type", "kind", type=click.Choice(TYPES), default="all", show_default=True, help="Only these.")
@click.option(
    "--check", is_flag=True, help="Load it into a real Envoy, and say what that refuses, by object. This needs root."
)
@click.option(
    "-o", "--output", type=click.Choice(["json", "yaml"]), default="yaml", show_default=True, help="Output format."
)
def render_command(
    files: tuple[str, ...],
    recursive: bool,
    namespace: str,
    mesh_config: str | None,
    name: str | None,
    proxy_file: str | None,
    kind: str,
    check: bool,
    output: Format,
) -> None:
    """Print what one proxy would be sent, in Envoy's own form; of a pod that its machine's serves, what the pod uses.

    Pods without an address are given one, and Services a cluster IP, as a mesh would. Objects that can't be used are
    named on standard error, and are not in what is printed. With --check nothing is printed but what a real Envoy
    says; the exit code is 1 if it refuses something, or an object can't be used.
    """
    from pilotfish.offline.rendering import render
    from pilotfish.offline.world import build

    world = build(read_manifests(files, recursive, namespace, mesh_config).desired)
    proxy = _proxy(world, name, proxy_file, namespace)
    fine = show_problems(ProblemView.of(each) for each in world.desired.problems if each.severity == "error")
    if check:
        sys.exit(0 if _check(world, proxy) and fine else 1)
    machine = world.machines.get(str(proxy)) if name is not None else None
    netns = machine.netns_of(proxy.name, proxy.namespace) if machine is not None else ""
    resources = world.mesh.resources(machine or proxy)
    click.echo(render_document(render(resources, kind, netns), output), nl=False)


def _check(world: World, proxy: Proxy) -> bool:
    """False if Envoy refuses something."""
    import asyncio

    from pilotfish.model.proxy import ProxyType
    from pilotfish.runtime.discovery.trial import try_out

    require_root("a network namespace is made for the Envoy that it is loaded into")
    if proxy.type is ProxyType.NODE:
        raise Failure(f"{proxy} listens inside of its pods, which there are not; check what the pods would have")
    verdict = asyncio.run(try_out(world.mesh.desired, proxy))
    for line in verdict.warnings:
        click.echo(f"envoy: {line}", err=True)
    fine = show_problems(map(ProblemView.of, verdict.problems))
    if fine:
        click.echo(f"Envoy takes all that {proxy} is sent")
    return fine


def _proxy(world: World, name: str | None, proxy_file: str | None, namespace: str) -> Proxy:
    from pilotfish.offline.proxies import parse_description

    if (name is None) is (proxy_file is None):
        raise click.UsageError("give either --proxy or --proxy-file")
    if proxy_file is not None:
        try:
            return parse_description(read_text(proxy_file))
        except ValueError as error:
            raise Failure(f"{proxy_file}: {error}") from error
    return find_proxy(world, name or "", namespace)
