"""`pilotfish cni`: what the DaemonSet runs on each node of a cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from pilotfish.model.wellknown import CNI_PORT, ROOT_NAMESPACE


@click.group(name="cni", short_help="Capture for the pods of a cluster's node.")
def command() -> None:
    """Capture for the pods of a cluster's node, in the place of their init containers."""


@command.command("install")
@click.option("--node", envvar="NODE_NAME", required=True, metavar="NAME", help="This node's name. [$NODE_NAME]")
@click.option(
    "-n",
    "--namespace",
    envvar="POD_NAMESPACE",
    default=ROOT_NAMESPACE,
    show_default=True,
    metavar="NAMESPACE",
    help="The DaemonSet's. [$POD_NAMESPACE]",
)
@click.option(
    "--bin-dir",
    "binaries",
    default="/host/opt/cni/bin",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The host's directory of plugins.",
)
@click.option(
    "--conf-dir",
    "configurations",
    default="/host/etc/cni/net.d",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The host's directory of network configurations.",
)
@click.option(
    "--program",
    default="/usr/lib/pilotfish/pilotfish-cni",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The plugin.",
)
@click.option(
    "--socket",
    default="/var/run/pilotfish-cni/cni.sock",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the plugin asks this process: the same path here and on the host.",
)
@click.option(
    "--exclude-namespaces",
    "excluded",
    envvar="EXCLUDE_NAMESPACES",
    default=f"{ROOT_NAMESPACE},kube-system",
    show_default=True,
    metavar="NAMES",
    help="With commas: no pod there is of the mesh, and they start though this process is away. [$EXCLUDE_NAMESPACES]",
)
@click.option(
    "--repair",
    envvar="REPAIR",
    type=click.Choice(("rules", "delete", "off")),
    default="rules",
    show_default=True,
    help="What becomes of pods that started without their rules: they get them, or are deleted. [$REPAIR]",
)
@click.option(
    "--ready-port",
    type=click.IntRange(1, 65535),
    default=CNI_PORT,
    show_default=True,
    help="Serves /readyz and /healthz on the node's loopback.",
)
@click.option("--untaint", "taint", default="", metavar="KEY", help="Take this taint from the node once it is ready.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Default: the pod's own account.")
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    help="How much to say on standard error.",
)
def install(excluded: str, repair: str, kubeconfig: Path | None, log_level: str, **options: Any) -> None:
    """Put the CNI plugin on this node, and answer it, until SIGTERM.

    The plugin is chained into the configuration that the node's container runtime uses, and stays there whoever writes
    that. At the end it is taken out again if the DaemonSet is gone or being deleted; otherwise pods wait for the next
    process, as after an upgrade.
    """
    import logging

    from pilotfish.runtime.cluster.access import find_access
    from pilotfish.runtime.cni.daemon import CniOptions, run
    from pilotfish.runtime.cni.repair import Way

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    names = tuple(name for name in excluded.split(",") if name)
    asyncio.run(run(find_access(kubeconfig), CniOptions(excluded=names, repair=Way(repair), **options)))
