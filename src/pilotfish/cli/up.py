"""`pilotfish up`."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import click

from pilotfish.cli import complete
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.options import manifests_argument
from pilotfish.cli.render.status import render_headline, render_trials
from pilotfish.cli.session import on_this_machine, require_root, root
from pilotfish.config.proxying import NODE, SIDECAR
from pilotfish.node.publish import Publish
from pilotfish.runtime.control.client import Client
from pilotfish.runtime.net.subnets import parse_pod_cidr, parse_service_cidr
from pilotfish.runtime.node.options import ProgressLine, UpOptions

_SETTLING = 2.0
"""Seconds that proxies get for what changed just after all was ready, before `up` judges as `status` does."""


@click.command("up")
@manifests_argument("sources", required=False)
@click.option(
    "--name",
    "mesh",
    metavar="MESH",
    help="The mesh's name. Default: the folder's or file's.",
    shell_complete=complete.meshes,
)
@click.option("-d", "--detach", is_flag=True, help="Return when all is ready; the mesh goes on in the background.")
@click.option(
    "-p",
    "--publish",
    multiple=True,
    metavar="[ADDR:]PORT:SVC[.NS]:PORT",
    help="A Service on a port of this machine; on loopback unless an address is given.",
)
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of objects that name none.")
@click.option(
    "--mesh-config",
    type=click.Path(exists=True, dir_okay=False),
    help="A file with Istio's meshConfig. It wins over one among the manifests.",
)
@click.option(
    "--ca",
    "authority",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Your certificate authority: ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem, watched. Default: the "
    "Secret cacerts of the root namespace, or a root made for the mesh.",
)
@click.option(
    "--allow-plaintext",
    is_flag=True,
    help="Serve xDS without TLS on the mesh's network, too, for proxies that have no certificate.",
)
@click.option(
    "--egress",
    is_flag=True,
    help="Pods reach what this machine does: by a table of rules on the host, and forwarding, until `down`.",
)
@click.option(
    "--proxy",
    type=click.Choice((NODE, SIDECAR)),
    help="Whose Envoy takes the traffic of pods that don't say it: their machine's (node), or one of their own. "
    "Default: what the meshConfig says, else sidecar.",
)
@click.option(
    "--pod-cidr",
    metavar="CIDR[,CIDR6]",
    help="The pods' network, /16 to /28, and an IPv6 one. Default: the first 10.N.0.0/16 that is free.",
)
@click.option("--service-cidr", metavar="CIDR", default="10.96.0.0/16", show_default=True, help="The cluster IPs.")
@click.option(
    "--timeout",
    type=parse_duration,
    default="2m",
    show_default=True,
    metavar="DURATION",
    help="How long --detach waits until all is ready.",
)
@click.pass_context
def command(
    ctx: click.Context,
    sources: tuple[str, ...],
    mesh: str | None,
    detach: bool,
    publish: tuple[str, ...],
    recursive: bool,
    namespace: str,
    mesh_config: str | None,
    authority: Path | None,
    allow_plaintext: bool,
    egress: bool,
    proxy: str | None,
    pod_cidr: str | None,
    service_cidr: str,
    timeout: float,
) -> None:
    """Start a mesh from Kubernetes and Istio manifests, and show it until Ctrl-C takes it down.

    Saving a manifest file that was given applies it at once. Without any, or with an empty folder, the mesh is empty,
    for `pilotfish apply` to fill.
    """
    meant = on_this_machine(ctx)
    require_root("a mesh is made of network namespaces, links and netfilter rules")
    for source in sources:
        if source.startswith(("http://", "https://")):
            raise Failure(f"{source} can't be followed as files are; give its text: curl -sL {source} | pilotfish up -")
        if source != "-" and not (source and Path(source).exists()):
            raise Failure(f"the path {source!r} does not exist, so there is nothing to start; check the arguments")
    try:
        options = UpOptions(
            name=meant.name or (default_name(sources[0], Path.cwd()) if sources else "default"),
            sources=sources,
            state_root=root(),
            publish=tuple(Publish.parse(text, namespace) for text in publish),
            mesh_config=mesh_config,
            namespace=namespace,
            recursive=recursive,
            authority=authority,
            allow_plaintext=allow_plaintext,
            egress=egress,
            proxy=proxy or "",
            pod_cidr=parse_pod_cidr(pod_cidr) if pod_cidr else None,
            service_cidr=parse_service_cidr(service_cidr),
            ready_timeout=timeout,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(_detach(options) if detach else _foreground(options))


def default_name(source: str, here: Path) -> str:
    """`examples/calculator` → calculator, `mesh.yaml` → mesh, `-` → default; with what a name can't hold replaced."""
    if source == "-":
        return "default"
    path = here / source
    stem = path.resolve().name if path.is_dir() else path.stem
    return re.sub(r"[^a-z0-9]+", "-", stem.lower())[:32].strip("-") or "default"


def _foreground(options: UpOptions) -> int:
    from pilotfish.runtime.node import run

    if not sys.stdout.isatty():
        return run(options, print_progress)
    from pilotfish.cli.live import LiveView

    with LiveView(Client(options.directory), options.name) as view:
        return run(options, view.on_progress)


def _detach(options: UpOptions) -> int:
    from pilotfish.runtime.node import detach

    code = detach(options, print_progress)
    if code == 0:
        client = Client(options.directory)
        client.synced(_SETTLING)
        view = client.status()
        code = 0 if view.ready else 1
        click.echo(render_headline(view, time.time()))
        for each in view.published:
            click.echo(f"  {each.address} leads to {each.target}")
            for line in render_trials(each):
                click.echo(f"    {line}")
        click.echo(f"  'pilotfish status{_which(options)}' shows it, 'pilotfish down{_which(options)}' takes it down")
    return code


def _which(options: UpOptions) -> str:
    """The option that the commands need where other meshes run, too."""
    from pilotfish.runtime.control.client import find_meshes, is_alive

    others = [mesh for mesh in find_meshes(options.state_root) if is_alive(mesh) and mesh.name != options.name]
    return f" --name {options.name}" if others else ""


def print_progress(line: ProgressLine) -> None:
    """A line of progress; what is wrong goes to standard error. Where nobody reads on, that ends no mesh."""
    word = f"{line.severity}: "
    if line.severity == "info" or word in line.text:  # a Problem says its severity itself
        word = ""
    try:
        click.echo(f"[{line.elapsed:6.2f}s] {word}{line.text}", err=line.severity != "info")
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2 if line.severity != "info" else 1)
        os.close(null)
