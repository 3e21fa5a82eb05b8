"""A container as a process: what is run, as whom, where, with what mounted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotfish.config.kubernetes import Container
from pilotfish.model.wellknown import CLUSTER_DOMAIN, SERVICE_DOMAIN, namespace_domain
from pilotfish.node import environment, folder, volumes
from pilotfish.node.environment import Missing
from pilotfish.node.identity import PodIdentity
from pilotfish.node.security import Security
from pilotfish.node.security import build as build_security
from pilotfish.node.services import DNS_ADDRESS
from pilotfish.node.store import Store
from pilotfish.node.volumes import Mount


@dataclass(frozen=True, slots=True)
class Launch:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    security: Security
    mounts: tuple[Mount, ...]


def build(
    pod: PodIdentity,
    container: Container,
    store: Store,
    cluster_ips: Mapping[str, str],
    base: Mapping[str, str],
    argv: tuple[str, ...] | None = None,
) -> Launch | tuple[Missing, ...]:
    """How `container` (or `argv` in its place, for a hook or a probe) is run, or what keeps it from that."""
    values, lacks = environment.build(pod, container, store, cluster_ips, base)
    mounts, unmounted = volumes.build_mounts(pod, container)
    security = build_security(pod.spec, container)
    if lacks or unmounted or isinstance(security, Missing):
        return (*lacks, *unmounted, *((security,) if isinstance(security, Missing) else ()))
    command = tuple(environment.expand(word, values) for word in (*container.command, *container.args))
    etc = tuple(Mount(f"{pod.directory}/etc/{name}", f"/etc/{name}", True) for name in ("resolv.conf", "hosts"))
    cwd = container.working_dir or folder.find_working_directory(pod, container)
    return Launch(command if argv is None else argv, values, cwd, security, (*etc, *mounts))


def render_resolv_conf(namespace: str) -> str:
    """As kubelet writes it for `dnsPolicy: ClusterFirst`."""
    search = f"{namespace_domain(namespace)} {SERVICE_DOMAIN} {CLUSTER_DOMAIN}"
    return f"search {search}\nnameserver {DNS_ADDRESS}\noptions ndots:5\n"


def render_hosts(pod: PodIdentity) -> str:
    hostname = pod.spec.hostname or pod.name
    if pod.spec.subdomain:
        hostname = f"{hostname}.{pod.spec.subdomain}.{namespace_domain(pod.namespace)}\t{hostname}"
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    return "\n".join([*lines, *(f"{address}\t{hostname}" for address in pod.addresses)]) + "\n"
