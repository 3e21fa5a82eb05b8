"""`pilotfish agent`: one sidecar's agent and Envoy, in the network namespace that it is started in.

Root is not needed: every port is above 1023. As root, Envoy runs as uid 1337. As uid 1337, as Istio's own agent does,
both run as that. As any other user both run as that user; then captured traffic would loop, since the capture rules let
only uid 1337 pass, so that is for a namespace without capture.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from pilotfish.cli.failure import Failure
from pilotfish.model.addresses import host_port
from pilotfish.model.wellknown import (
    AUTHORITY_ROOTS,
    DISCOVERY_NAME,
    MONITORING_PORT,
    PROXY_UID,
    TOKEN_FILE,
    XDS_PORT,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotfish.agent.metrics import ScrapeTarget
    from pilotfish.config.istio import WorkloadGroup
    from pilotfish.config.mesh import ProxyConfig
    from pilotfish.model import Problem
    from pilotfish.runtime.agent import Agent, AgentSpec, AuthoritySpec

_MORE = 5.0
"""Seconds for Envoy to end, beyond those for its drain."""


@click.command(name="agent", short_help="Run one sidecar's agent alone.")
@click.option("--pod", "name", envvar="POD_NAME", metavar="NAME", required=True, help="The pod's name. [$POD_NAME]")
@click.option(
    "-n",
    "--namespace",
    envvar="POD_NAMESPACE",
    default="default",
    show_default=True,
    metavar="NAMESPACE",
    help="The pod's namespace. [$POD_NAMESPACE]",
)
@click.option(
    "--ip",
    "addresses",
    multiple=True,
    envvar="INSTANCE_IP",
    required=True,
    metavar="ADDRESS",
    help="The pod's address; give it once for each. [$INSTANCE_IP]",
)
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the pod.")
@click.option("--domain", default="", metavar="DOMAIN", help="DNS domain. Default: NAMESPACE.svc.cluster.local.")
@click.option(
    "--discovery-address",
    default="",
    metavar="HOST:PORT",
    help="Where Envoy's configuration comes from. Default: the proxy configuration's discoveryAddress.",
)
@click.option(
    "--monitoring-address",
    default=None,
    metavar="HOST:PORT",
    help='Where names come from; "" serves none. Default: port 15014 of discovery.',
)
@click.option(
    "--ca-address",
    envvar="CA_ADDR",
    default="",
    metavar="HOST:PORT",
    help="Who signs the certificate. Default: discovery, if it is not port 15010 and there is a token. [$CA_ADDR]",
)
@click.option(
    "--token",
    default=TOKEN_FILE,
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The pod's service-account token, read for each certificate.",
)
@click.option(
    "--root-cert",
    "authority_roots",
    default=AUTHORITY_ROOTS,
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Whom to trust that it is the authority.",
)
@click.option(
    "--directory",
    default="/etc/istio/proxy",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Gets envoy-rev0.json and its successors.",
)
@click.option("--mesh-config", type=click.Path(path_type=Path), metavar="FILE", help="The meshConfig, YAML.")
@click.option(
    "--proxy-config",
    envvar="PROXY_CONFIG",
    default="",
    metavar="YAML",
    help="Laid over the meshConfig's defaultConfig. [$PROXY_CONFIG]",
)
@click.option(
    "--workload-group",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Register this machine by the WorkloadGroup in it: its namespace, labels and probe.",
)
@click.option(
    "--log", type=click.Path(path_type=Path), metavar="FILE", help="Envoy's output. Default: standard output."
)
@click.option("--log-level", default="warning", show_default=True, metavar="LEVEL", help="Envoy's.")
def command(**arguments: Any) -> None:
    """Run one sidecar's agent and Envoy, in the current network namespace.

    It serves 15020 (readiness, metrics, probes) and 15053 (DNS), and keeps Envoy running. SIGTERM or SIGINT drains
    inbound traffic, for terminationDrainDuration at most, and ends both; a second one ends them at once. Node metadata
    comes from ISTIO_META_* and ISTIO_METAJSON_*, rewritten probes from ISTIO_KUBE_APP_PROBERS. On a machine that is no
    pod, --workload-group registers it as a WorkloadEntry for as long as it is connected, and takes it out of service
    while the group's probe fails.
    """
    from pilotfish.runtime.errors import MachineError
    from pilotfish.runtime.garbage import look_seldom

    try:
        spec = _build_spec(**arguments)
        look_seldom()
        asyncio.run(_run(spec))
    except (MachineError, ValueError) as error:
        raise Failure(str(error)) from error


async def _run(spec: AgentSpec) -> None:
    from pilotfish.runtime.agent import Agent, AgentHost, machine_resolvers

    async with AgentHost(machine_resolvers(), PROXY_UID) as host:
        agent = Agent(spec, host, _tell())
        loop = asyncio.get_running_loop()
        ending: list[asyncio.Task[None]] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: ending.append(loop.create_task(_end(agent, bool(ending)))))
        try:
            await agent.start()
            await agent.wait_stopped()
        finally:
            await agent.stop(loop.time())
            await asyncio.gather(*ending)


async def _end(agent: Agent, at_once: bool) -> None:
    now = asyncio.get_running_loop().time()
    if at_once:
        await agent.stop(now)
    else:
        await agent.terminate(now + agent.spec.proxy_config.termination_drain_duration.seconds + _MORE)


def _tell() -> Callable[[Agent], None]:
    """Says on standard error what changed, once each."""
    last: tuple[str, ...] = ()

    def on_change(agent: Agent) -> None:
        nonlocal last
        status = agent.status
        text = "ready" if status.ready else f"{status.reason or 'not ready'}: {status.message}"
        said = (text, *(f"a certificate can't be used: {each.why}" for each in status.unusable_files))
        for line in (line for line in said if line not in last):
            click.echo(f"{agent.spec.proxy}: {line}", err=True)
        last = said

    return on_change


def _build_spec(
    name: str,
    namespace: str,
    addresses: tuple[str, ...],
    labels: tuple[str, ...],
    domain: str,
    discovery_address: str,
    monitoring_address: str | None,
    ca_address: str,
    token: Path,
    authority_roots: Path,
    directory: Path,
    mesh_config: Path | None,
    proxy_config: str,
    workload_group: Path | None,
    log: Path | None,
    log_level: str,
) -> AgentSpec:
    from pilotfish.agent.identity import metadata_from_environment
    from pilotfish.agent.probes import parse_probers
    from pilotfish.agent.workload_health import WorkloadProbe
    from pilotfish.model import Proxy
    from pilotfish.runtime.agent import AgentSpec
    from pilotfish.runtime.agent.external import MACHINE

    config = _load_proxy_config(mesh_config, proxy_config)
    renewal = {name: text for name, text in os.environ.items() if name.startswith("SECRET_")}
    config = replace(config, proxy_metadata={**renewal, **config.proxy_metadata})
    discovery = _resolve(discovery_address or config.discovery_address)
    monitoring = (
        f"{discovery.rpartition(':')[0]}:{MONITORING_PORT}" if monitoring_address is None else monitoring_address
    )
    given = metadata_from_environment(os.environ)
    own_labels = _parse_labels(labels)
    probe = None
    if workload_group is not None:
        group = _load_group(workload_group, namespace)
        namespace, template = group.metadata.namespace, group.spec.template
        own_labels = {**template.labels, **group.spec.metadata.labels, **own_labels}
        given = {"AUTO_REGISTER_GROUP": group.metadata.name, "SERVICE_ACCOUNT": template.service_account, **given}
        probe = WorkloadProbe.of(group.spec.probe) if group.spec.probe is not None else None
    return AgentSpec(
        proxy=Proxy.of_pod(name, namespace, _check_addresses(addresses), domain, own_labels),
        netns=None,
        # Envoy is started in another directory than this process.
        directory=directory.absolute(),
        discovery=discovery,
        monitoring=monitoring,
        authority=_find_authority(ca_address, discovery, token, authority_roots),
        identities=MACHINE,
        log=log,
        proxy_config=config,
        metadata=given,
        probes=parse_probers(os.environ.get("ISTIO_KUBE_APP_PROBERS", "{}")),
        prometheus=_scrape_target(os.environ.get("ISTIO_PROMETHEUS_ANNOTATIONS", "")),
        user=_choose_user(),
        workload_probe=probe,
        log_level=log_level,
    )


def _find_authority(address: str, discovery: str, token: Path, roots: Path) -> AuthoritySpec | None:
    """None for a workload that is to have no certificate of the mesh's: it has no token."""
    from pilotfish.runtime.agent import AuthoritySpec

    plaintext = discovery.endswith(f":{XDS_PORT}")
    if not address and (plaintext or not token.exists()):
        return None
    # The token is another after a while: whoever puts it there replaces the file.
    return AuthoritySpec(
        _resolve(address) if address else discovery, roots, lambda: token.read_text().strip(), DISCOVERY_NAME
    )


def _choose_user() -> int | None:
    if os.geteuid() == 0:
        return PROXY_UID
    if os.geteuid() != PROXY_UID:
        what = f"Envoy runs as uid {os.geteuid()}; capture rules let only uid {PROXY_UID} pass"
        click.echo(f"warning: {what}. Use no capture here, or start the agent as root or {PROXY_UID}.", err=True)
    return None


def _load_proxy_config(mesh_config: Path | None, overlay: str) -> ProxyConfig:
    from pilotfish.config.mesh import MeshConfig
    from pilotfish.config.meshconfig import load_mesh_config, proxy_config
    from pilotfish.model import Source
    from pilotfish.model.kinds import kind_named

    mesh: MeshConfig | None = MeshConfig()
    if mesh_config is not None:
        try:
            text = mesh_config.read_text()
        except OSError as error:
            raise Failure(f"{mesh_config} can't be read: {error.strerror}") from error
        mesh, problems = load_mesh_config(text, str(mesh_config))
        _report(problems)
    config = mesh.default_config if mesh else MeshConfig().default_config
    if overlay:
        option = kind_named("ProxyConfig", "networking.istio.io").ref("", "--proxy-config")
        config, problems = proxy_config(overlay, config, option, Source("-", 1))
        _report(problems)
    return config


def _load_group(path: Path, namespace: str) -> WorkloadGroup:
    from pilotfish.config import load
    from pilotfish.config.istio import WorkloadGroup

    try:
        loaded = load(path.read_text(), str(path), namespace)
    except OSError as error:
        raise Failure(f"{path} can't be read: {error.strerror}") from error
    _report(loaded.problems)
    groups = [m.resource for m in loaded.manifests if isinstance(m.resource, WorkloadGroup)]
    if len(groups) != 1:
        raise Failure(f"{path} holds {len(groups)} WorkloadGroups; give a file with the one of this machine")
    found = groups[0]
    if found.metadata.namespace:
        return found
    return replace(found, metadata=replace(found.metadata, namespace=namespace))


def _report(problems: tuple[Problem, ...]) -> None:
    """Warnings are said; with an error nothing is started."""
    from pilotfish.model import Severity

    for problem in problems:
        click.echo(str(problem), err=True)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise Failure("the configuration has errors; nothing was started")


def _resolve(discovery: str) -> str:
    """Envoy is given an address: it has nobody to resolve a name with before it knows discovery."""
    import socket

    host, _, port = discovery.rpartition(":")
    if not discovery:
        raise click.UsageError(
            "no discovery: give --discovery-address HOST:PORT, or discoveryAddress in --proxy-config"
        )
    if not host or not port.isdecimal():
        raise click.UsageError(f"--discovery-address {discovery!r} is not HOST:PORT, such as 10.244.0.1:15010")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failure(f"discovery's name {host} can't be resolved ({error.strerror}); give its address") from error
    address = min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0]
    return host_port(str(address), int(port))


def _check_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    import ipaddress

    found = tuple(part for address in addresses for part in address.split(","))
    for address in found:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise click.UsageError(f"--ip {address!r} is no IP address") from None
    return found


def _parse_labels(labels: tuple[str, ...]) -> dict[str, str]:
    for label in labels:
        if "=" not in label:
            raise click.UsageError(f"--label {label!r} is not KEY=VALUE")
    return {key: value for key, _, value in (label.partition("=") for label in labels)}


def _scrape_target(text: str) -> ScrapeTarget | None:
    """Istio's injector gives {"scrape": "true", "path": ..., "port": ...}."""
    import json

    from pilotfish.agent.metrics import ScrapeTarget

    try:
        found = json.loads(text or "{}")
        return ScrapeTarget.from_annotations({f"prometheus.io/{key}": str(value) for key, value in found.items()})
    except (ValueError, AttributeError) as error:
        raise ValueError(f"ISTIO_PROMETHEUS_ANNOTATIONS is not usable: {error}") from error
