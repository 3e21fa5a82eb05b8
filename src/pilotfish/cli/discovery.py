"""`pilotfish discovery`: the control plane alone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.model.wellknown import MONITORING_PORT, ROOT_NAMESPACE, SECURE_XDS_PORT, WEBHOOK_PORT, XDS_PORT

if TYPE_CHECKING:
    from pilotfish.runtime.discovery.address import Address


@click.command(name="discovery", short_help="Run the control plane alone.")
@click.option(
    "--config",
    "paths",
    multiple=True,
    metavar="DIR_OR_FILE",
    type=click.Path(allow_dash=True),
    help="Manifests, watched. A directory's .yaml, .yml and .json files count. Repeatable.",
)
@click.option("--cluster", is_flag=True, help="The objects of a Kubernetes cluster, watched, instead of manifests.")
@click.option(
    "--kubeconfig",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="How to reach the cluster. Default: $KUBECONFIG, ~/.kube/config, or the account of the pod that this runs in.",
)
@click.option("--context", default="", metavar="NAME", help="Of the kubeconfig. Default: its current one.")
@click.option("--revision", default="", metavar="NAME", help="Of this installation. Its meshConfig is istio-NAME.")
@click.option(
    "--root-namespace",
    default=ROOT_NAMESPACE,
    show_default=True,
    metavar="NAME",
    help="Where the ConfigMap with the meshConfig is.",
)
@click.option("-R", "--recursive", is_flag=True, help="Directories with all that is below them.")
@click.option("--mesh-config", metavar="FILE", type=click.Path(), help="The meshConfig, watched.")
@click.option(
    "--xds-address",
    default=f"127.0.0.1:{XDS_PORT}",
    show_default=True,
    metavar="HOST:PORT",
    help="Where proxies connect.",
)
@click.option(
    "--monitoring-address",
    default=f"127.0.0.1:{MONITORING_PORT}",
    show_default=True,
    metavar="HOST:PORT",
    help="/ready, /metrics, /debug and /api.",
)
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where to keep what Envoy refused, and the last good forms, over a restart. Without it they are forgotten.",
)
@click.option(
    "--allow-plaintext", is_flag=True, help="Serve others than this machine's own processes without encryption."
)
@click.option(
    "--secure-address",
    metavar="HOST:PORT",
    help=f"Where proxies connect over TLS, and get certificates. Istio's port is {SECURE_XDS_PORT}.",
)
@click.option(
    "--webhook-address",
    metavar="HOST:PORT",
    help=f"Where API servers ask about pods and objects, over TLS. Istio's port is {WEBHOOK_PORT}.",
)
@click.option(
    "--ca",
    "authority",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Your certificate authority: ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem, watched. Default: the "
    "Secret cacerts of the root namespace, or a root made by the first start.",
)
@click.option(
    "--token-key",
    "token_keys",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The public key of who makes service-account tokens, PEM. Repeatable.",
)
@click.option(
    "--only-pods",
    is_flag=True,
    help="Serve the pods among the manifests alone, each from its own address (status.podIPs).",
)
@click.option(
    "--key-refresh",
    default="20m",
    show_default=True,
    metavar="DURATION",
    help="How often keys of token issuers (jwksUri) are fetched.",
)
@click.option(
    "--connection-age",
    metavar="DURATION",
    help="End a proxy's connection when it is so old, a tenth more or less, so that proxies spread over replicas; 0s "
    "for never. Default: 30m with --cluster, else never.",
)
@click.option(
    "--operator",
    "operators",
    multiple=True,
    metavar="ADDRESS",
    help="With --only-pods: who, beside loopback, may read everything on the monitoring port. Repeatable.",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="How much to say on standard error.",
)
def command(
    paths: tuple[str, ...],
    cluster: bool,
    kubeconfig: Path | None,
    context: str,
    revision: str,
    root_namespace: str,
    recursive: bool,
    mesh_config: str | None,
    xds_address: str,
    monitoring_address: str,
    state: Path | None,
    allow_plaintext: bool,
    secure_address: str | None,
    webhook_address: str | None,
    authority: Path | None,
    token_keys: tuple[Path, ...],
    only_pods: bool,
    key_refresh: str,
    connection_age: str | None,
    operators: tuple[str, ...],
    log_level: str,
) -> None:
    """Serve Envoy's configuration over xDS, from manifests, or from the objects of a Kubernetes cluster.

    The xDS port opens once all is read. A change of a file, or of an object, reaches the proxies within milliseconds;
    an object that is broken, or that Envoy refuses, keeps its last good form, and /api/problems says why. While the
    cluster's API server is away, what is known stays in force.
    """
    from pilotfish.runtime.cluster.access import find_access
    from pilotfish.runtime.discovery.serve import ClusterOptions, Options, serve
    from pilotfish.runtime.errors import MachineError

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    if cluster is bool(paths):
        raise click.UsageError("give either --config or --cluster")
    if cluster and (mesh_config is not None or recursive):
        raise click.UsageError("--mesh-config and -R are of manifests: a cluster's meshConfig is a ConfigMap")
    if not cluster and (kubeconfig is not None or context or revision):
        raise click.UsageError("--kubeconfig, --context and --revision need --cluster")
    try:
        of_cluster = ClusterOptions(find_access(kubeconfig, context), revision, root_namespace) if cluster else None
    except MachineError as error:
        raise Failure(str(error)) from error
    options = Options(
        paths=paths,
        cluster=of_cluster,
        xds=_address("--xds-address", xds_address),
        monitoring=_address("--monitoring-address", monitoring_address),
        mesh_config=mesh_config,
        recursive=recursive,
        allow_plaintext=allow_plaintext,
        secure=_address("--secure-address", secure_address) if secure_address is not None else None,
        webhook=_address("--webhook-address", webhook_address) if webhook_address is not None else None,
        authority=authority,
        token_keys=token_keys,
        only_pods=only_pods,
        operators=operators,
        state=state,
        key_refresh=parse_duration(key_refresh),
        connection_age=parse_duration(connection_age or ("30m" if cluster else "0s")),
    )
    try:
        asyncio.run(serve(options))
    except MachineError as error:
        raise Failure(str(error)) from error


def _address(flag: str, text: str) -> Address:
    from pilotfish.runtime.discovery.address import Address

    try:
        return Address.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=flag) from error
