"""`pilotfish proxy-config`: what a pod's Envoy has, out of that Envoy."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from pilotfish.cli.envoy_admin import post
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.meant_proxy import MeantProxy, find_proxy
from pilotfish.cli.options import mesh_option, namespace_option, output_option, pod_argument
from pilotfish.cli.render.bootstrap import render_bootstrap
from pilotfish.cli.render.clusters import render_clusters, select_clusters
from pilotfish.cli.render.documents import Format, render_document
from pilotfish.cli.render.dump import Json, at, resources, section
from pilotfish.cli.render.endpoints import EndpointFilter, render_endpoints, select_endpoints
from pilotfish.cli.render.listeners import render_listeners, select_listeners
from pilotfish.cli.render.routes import render_routes, select_routes
from pilotfish.cli.render.secrets import render_secrets, select_secrets
from pilotfish.cli.render.table import Table
from pilotfish.cli.session import UnknownMesh, open_reader

F = TypeVar("F", bound=Callable[..., Any])

_ALIASES = {
    "listener": "listeners", "l": "listeners", "lis": "listeners",
    "route": "routes", "r": "routes",
    "cluster": "clusters", "c": "clusters", "clu": "clusters",
    "endpoint": "endpoints", "ep": "endpoints",
    "b": "bootstrap",
    "secret": "secrets", "s": "secrets",
}  # fmt: skip


class _Group(click.Group):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, _ALIASES.get(cmd_name, cmd_name))


def _pod_options(function: F) -> F:
    """What every command here takes."""
    return pod_argument(namespace_option(output_option("short", "json", "yaml")(mesh_option(function))))


@click.group("proxy-config", cls=_Group)
@mesh_option
def command(mesh: Meant) -> None:
    """Show what a pod's Envoy has been configured with, as istioctl does. Short form: pc.

    POD is NAME, NAME.NAMESPACE or deploy/NAME[.NAMESPACE]. Of a pod that its machine's proxy serves, it is what the pod
    uses of that one's; all of it is shown by the machine's name.
    """


@command.command("bootstrap")
@_pod_options
def bootstrap(pod: str, namespace: str | None, output: str | None, mesh: Meant) -> None:
    """Show what Envoy was started with. Prints JSON unless -o says otherwise."""
    dump = _open(mesh, namespace, pod).dump
    parts = [at(config, "bootstrap") for config in section(dump, "BootstrapConfigDump")]
    document = {"bootstrap": parts[0] if parts else {}}
    if output == "short":
        click.echo(render_bootstrap(document), nl=False)
        return
    _print_document(document, output or "json")


@command.command("listeners")
@_pod_options
@click.option("--address", default="", metavar="IP", help="Only listeners on this address.")
@click.option("--port", type=int, default=0, metavar="PORT", help="Only listeners on this port.")
@click.option("--type", "kind", default="", metavar="TYPE", help="Only these: HTTP, TCP or HTTP+TCP.")
def listeners(
    pod: str, namespace: str | None, output: str | None, address: str, port: int, kind: str, mesh: Meant
) -> None:
    """Show listeners: a line for each filter chain."""
    meant = _open(mesh, namespace, pod)
    found = select_listeners(resources(meant.dump, "listeners"), address, port, kind)
    _print(found, output, partial(render_listeners, netns=meant.netns))


@command.command("routes")
@_pod_options
@click.option("--route", default="", metavar="ROUTE", help="Only the route configuration of this name.")
def routes(pod: str, namespace: str | None, output: str | None, route: str, mesh: Meant) -> None:
    """Show routes: a line for each route of each virtual host. (What istioctl calls --name here is --route.)"""
    try:
        dump = _open(mesh, namespace, pod).dump
    except UnknownMesh as error:
        raise UnknownMesh(f"{error.message}; a route is meant by --route {mesh.name}") from None
    found = select_routes(resources(dump, "routes"), route)
    _print(found, output, render_routes)


def _cluster_filters(function: F) -> F:
    fqdn = click.option("--fqdn", default="", metavar="HOST", help="Only clusters whose host contains this.")
    subset = click.option("--subset", default="", metavar="SUBSET", help="Only clusters of this subset.")
    directions = click.Choice(["inbound", "outbound"])
    direction = click.option("--direction", type=directions, default=None, help="Only clusters of this direction.")
    port = click.option("--port", type=int, default=0, metavar="PORT", help="Only those with this port.")
    return fqdn(port(subset(direction(function))))


@command.command("clusters")
@_pod_options
@_cluster_filters
def clusters(
    pod: str,
    namespace: str | None,
    output: str | None,
    fqdn: str,
    port: int,
    subset: str,
    direction: str | None,
    mesh: Meant,
) -> None:
    """Show clusters."""
    every = resources(_open(mesh, namespace, pod).dump, "clusters")
    _print(select_clusters(every, fqdn, port, subset, direction or ""), output, render_clusters)


@command.command("endpoints")
@_pod_options
@_cluster_filters
@click.option("--address", default="", metavar="IP", help="Only endpoints with this address.")
@click.option("--cluster", default="", metavar="NAME", help="Only endpoints of this cluster.")
@click.option("--status", default="", metavar="STATUS", help="Only these, such as HEALTHY or UNHEALTHY.")
def endpoints(pod: str, namespace: str | None, output: str | None, mesh: Meant, **filters: Any) -> None:
    """Show endpoints, with what Envoy thinks of their health."""
    chosen = EndpointFilter(**{name: value for name, value in filters.items() if value is not None})
    found = select_endpoints(_open(mesh, namespace, pod).clusters, chosen)
    _print(found, output, render_endpoints)


@command.command("secrets")
@_pod_options
def secrets(pod: str, namespace: str | None, output: str | None, mesh: Meant) -> None:
    """Show certificates and whom Envoy trusts. Private keys it shows to nobody."""
    found = select_secrets(_open(mesh, namespace, pod).dump)
    _print(found, output, lambda secrets: render_secrets(secrets, time.time()))


@command.command("log")
@pod_argument
@click.option("--level", default="", metavar="LEVEL | LOGGER:LEVEL,...", help="Set it, of all loggers or of some.")
@click.option("-r", "--reset", is_flag=True, help="Back to warning, as Envoy is started.")
@namespace_option
@mesh_option
def log(pod: str, level: str, reset: bool, namespace: str | None, mesh: Meant) -> None:
    """Show or set what Envoy writes to its log (`logs POD -c istio-proxy`), until it is started again.

    LEVEL is one of trace, debug, info, warning, error, critical, off.
    """
    if level and reset:
        raise click.UsageError("--level and --reset exclude each other")
    wanted = [_level(each) for each in level.split(",")] if level else []
    plain = [each for each in wanted if ":" not in each]
    if plain and len(wanted) > 1:
        raise click.UsageError(f"--level {level}: give either one level for all, or LOGGER:LEVEL each")
    meant = _open(mesh, namespace, pod)
    if meant.netns and (reset or wanted):
        whose = (
            f"{meant.title} is served by the proxy of machine {meant.pod.machine}, whose log is that of all its pods"
        )
        raise Failure(f"{whose}: 'pilotfish proxy-config log {meant.pod.machine}' sets what it writes")
    query = "?level=warning" if reset else f"?level={plain[0]}" if plain else ""
    query = query or (f"?paths={','.join(wanted)}" if wanted else "")
    click.echo(f"{meant.title}:\n{post(meant.mesh, meant.pod, f'/logging{query}')}", nl=False)


_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
_OTHER_LEVELS = {"warn": "warning", "none": "off", "critic": "critical"}
"""istioctl's."""


def _level(text: str) -> str:
    logger, colon, level = text.strip().rpartition(":")
    level = _OTHER_LEVELS.get(level, level)
    if level not in _LEVELS:
        raise click.UsageError(f"{level!r} is no level; use {', '.join(_LEVELS)}")
    return f"{logger}{colon}{level}"


@command.command("all")
@_pod_options
def everything(pod: str, namespace: str | None, output: str | None, mesh: Meant) -> None:
    """Show clusters, listeners, routes and endpoints. -o json prints Envoy's whole config dump."""
    meant = _open(mesh, namespace, pod)
    dump = meant.dump
    if output in ("json", "yaml"):
        _print_document(dump, output)
        return
    found = select_endpoints(meant.clusters, EndpointFilter())
    tables = (
        render_clusters(select_clusters(resources(dump, "clusters"))),
        render_listeners(select_listeners(resources(dump, "listeners")), meant.netns),
        render_routes(select_routes(resources(dump, "routes"))),
        render_endpoints(found),
    )
    click.echo("\n".join(each.text() for each in tables), nl=False)


def _open(mesh: Meant, namespace: str | None, pod: str) -> MeantProxy:
    reader = open_reader(mesh, namespace, needs_root="a pod's Envoy answers inside the pod's network namespace only")
    return find_proxy(reader, pod)


def _print(found: list[Json], output: str | None, render: Callable[[list[Json]], Table]) -> None:
    if output in ("json", "yaml"):
        _print_document(found, output)
    else:
        click.echo(render(found).text(), nl=False)


def _print_document(document: object, output: str) -> None:
    form: Format = "yaml" if output == "yaml" else "json"
    click.echo(render_document(document, form), nl=False)
