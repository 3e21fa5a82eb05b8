"""How a container is run: what, as whom, on which files, with what mounted, and within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotfish.config.kubernetes import Container
from pilotfish.model.wellknown import CLUSTER_DOMAIN, SERVICE_DOMAIN, namespace_domain
from pilotfish.node import environment, folder, limits, volumes
from pilotfish.node.environment import Missing
from pilotfish.node.identity import PodIdentity
from pilotfish.node.images import Image
from pilotfish.node.limits import Limits
from pilotfish.node.security import Security
from pilotfish.node.security import build as build_security
from pilotfish.node.store import Store
from pilotfish.node.volumes import Mount


@dataclass(frozen=True, slots=True)
class Launch:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    security: Security
    mounts: tuple[Mount, ...]
    image: Image | None
    """None: on the machine's files."""
    limits: Limits


def build(
    pod: PodIdentity,
    container: Container,
    store: Store,
    cluster_ips: Mapping[str, str],
    base: Mapping[str, str],
    image: Image | None = None,
    argv: tuple[str, ...] | None = None,
) -> Launch | tuple[Missing, ...]:
    """How `container` (or `argv` in its place, for a hook or a probe) is run, or what keeps it from that.

    `base`: the environment of containers without an image.
    """
    values, lacks = environment.build(pod, container, store, cluster_ips, image.environment if image else base)
    mounts, unmounted = volumes.build_mounts(pod, container)
    security = build_security(pod.spec, container, image)
    if lacks or unmounted or isinstance(security, Missing):
        return (*lacks, *unmounted, *((security,) if isinstance(security, Missing) else ()))
    if argv is None:
        written = image.argv(container) if image else (*container.command, *container.args)
        argv = tuple(environment.expand(word, values) for word in written)
    if not argv:
        none = "no command is specified, and its image has none" if image else "a process needs a command"
        return (Missing("command", none, "write command: [PROGRAM, ...]"),)
    names = ("resolv.conf", "hosts", *(("hostname",) if image else ()))
    etc = tuple(Mount(f"{pod.directory}/etc/{name}", f"/etc/{name}", True) for name in names)
    cwd = container.working_dir or (
        image.working_dir or "/" if image else folder.find_working_directory(pod, container)
    )
    return Launch(argv, values, cwd, security, (*etc, *mounts), image, limits.build(container))


def render_resolv_conf(namespace: str, nameserver: str) -> str:
    """As kubelet writes it for `dnsPolicy: ClusterFirst`."""
    search = f"{namespace_domain(namespace)} {SERVICE_DOMAIN} {CLUSTER_DOMAIN}"
    return f"search {search}\nnameserver {nameserver}\noptions ndots:5\n"


def render_hostname(pod: PodIdentity) -> str:
    return f"{pod.spec.hostname or pod.name}\n"


def render_hosts(pod: PodIdentity) -> str:
    hostname = pod.spec.hostname or pod.name
    if pod.spec.subdomain:
        hostname = f"{hostname}.{pod.spec.subdomain}.{namespace_domain(pod.namespace)}\t{hostname}"
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    return "\n".join([*lines, *(f"{address}\t{hostname}" for address in pod.addresses)]) + "\n"
