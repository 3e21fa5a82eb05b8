"""An agent's specification, from `pilotfish agent`'s options and the environment that an injector writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from pilotfish.cli.failure import Failure
from pilotfish.model.addresses import host_port
from pilotfish.model.wellknown import DISCOVERY_NAME, MONITORING_PORT, PROXY_GID, PROXY_UID, XDS_PORT

if TYPE_CHECKING:
    from pilotfish.agent.metrics import ScrapeTarget
    from pilotfish.config.istio import WorkloadGroup
    from pilotfish.config.mesh import ProxyConfig
    from pilotfish.model import Problem
    from pilotfish.runtime.agent import AgentSpec, AuthoritySpec


def build_spec(
    name: str,
    namespace: str,
    addresses: tuple[str, ...],
    labels: tuple[str, ...],
    gateway: bool,
    podinfo: Path,
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
    component_log_level: str,
) -> AgentSpec:
    """Raises Failure, UsageError and ValueError, which say what is wrong where."""
    from pilotfish.agent.draining import DrainPolicy
    from pilotfish.agent.identity import envoy_share, in_cluster, metadata_from_environment, worker_limit
    from pilotfish.agent.probes import parse_probers
    from pilotfish.agent.workload_health import WorkloadProbe
    from pilotfish.model import Proxy
    from pilotfish.model.proxy import ProxyType
    from pilotfish.runtime.agent import AgentSpec
    from pilotfish.runtime.agent.external import MACHINE
    from pilotfish.runtime.linux.cgroups import own_memory_limit

    config = _load_proxy_config(mesh_config, proxy_config)
    renewal = {name: text for name, text in os.environ.items() if name.startswith("SECRET_")}
    config = replace(config, proxy_metadata={**renewal, **config.proxy_metadata})
    if config.concurrency is None:
        config = replace(config, concurrency=worker_limit(os.environ))
    discovery = _check_place(discovery_address or config.discovery_address)
    monitoring = (
        f"{discovery.rpartition(':')[0]}:{MONITORING_PORT}" if monitoring_address is None else monitoring_address
    )
    given = metadata_from_environment(os.environ)
    own_labels = {**_read_podinfo(podinfo / "labels"), **_parse_labels(labels)}
    if annotations := _read_podinfo(podinfo / "annotations"):
        given = {"ANNOTATIONS": annotations, **given}
    probe = None
    if workload_group is not None:
        group = _load_group(workload_group, namespace)
        namespace, template = group.metadata.namespace, group.spec.template
        own_labels = {**template.labels, **group.spec.metadata.labels, **own_labels}
        given = {"AUTO_REGISTER_GROUP": group.metadata.name, "SERVICE_ACCOUNT": template.service_account, **given}
        probe = WorkloadProbe.of(group.spec.probe) if group.spec.probe is not None else None
    return AgentSpec(
        proxy=Proxy.of_pod(
            name,
            namespace,
            _check_addresses(addresses),
            domain,
            own_labels,
            ProxyType.ROUTER if gateway else ProxyType.SIDECAR,
        ),
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
        draining=DrainPolicy.of(config, os.environ, in_cluster(os.environ)),
        memory_limit=envoy_share(own_memory_limit()) if in_cluster(os.environ) else None,
        transparent=given.get("INTERCEPTION_MODE") == "TPROXY",
        workload_probe=probe,
        log_level=log_level,
        component_log_level=component_log_level,
    )


def _find_authority(address: str, discovery: str, token: Path, roots: Path) -> AuthoritySpec | None:
    """None for a workload that is to have no certificate of the mesh's: it has no token."""
    from pilotfish.runtime.agent import AuthoritySpec

    plaintext = discovery.endswith(f":{XDS_PORT}")
    if not address and (plaintext or not token.exists()):
        return None
    # The token is another after a while: whoever puts it there replaces the file.
    return AuthoritySpec(
        _check_place(address) if address else discovery, roots, lambda: token.read_text().strip(), DISCOVERY_NAME
    )


def _choose_user() -> int | None:
    from pilotfish.runtime.linux.process import may_change_user

    if may_change_user():
        return PROXY_UID
    # Root without that right is a container's, where Envoy is told apart by its group.
    if os.geteuid() != PROXY_UID and os.getegid() != PROXY_GID:
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


def _check_place(text: str) -> str:
    """HOST:PORT, where HOST may be a name that nobody knows yet: it is asked for when it is needed."""
    from pilotfish.config.checks.names import is_dns_subdomain
    from pilotfish.model.addresses import is_ip

    if not text:
        raise click.UsageError(
            "no discovery: give --discovery-address HOST:PORT, or discoveryAddress in --proxy-config"
        )
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or not (is_ip(host) or is_dns_subdomain(host)):
        raise click.UsageError(
            f"--discovery-address {text!r} is not HOST:PORT, such as 10.244.0.1:15010 or istiod.istio-system.svc:15012"
        )
    return host_port(host, int(port))


def _read_podinfo(path: Path) -> dict[str, str]:
    """Nothing where there is no such file: this is no pod of a cluster."""
    from pilotfish.agent.podinfo import parse_podinfo

    try:
        return parse_podinfo(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise Failure(f"{path}, the pod's own {path.name}, can't be read: {error}") from error


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
