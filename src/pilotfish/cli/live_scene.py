"""A running mesh as requests meet it: the rules that its kernel holds, and what its Envoys say of themselves.

Each pod is asked when a way comes to it, and only for what the way needs.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Set
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pilotfish.cli.envoy_admin import CERTIFICATES, LISTENERS, Asked, cluster_of, entry_of
from pilotfish.cli.session import Session
from pilotfish.explain.held import SECTIONS, Held, Json
from pilotfish.explain.scene import Scene, Station
from pilotfish.model import Source
from pilotfish.node.listening import parse_proc_net
from pilotfish.runtime.control.client import Client, Refused
from pilotfish.runtime.control.views import CertificateView, MeshView, PodView, StatusView
from pilotfish.runtime.linux.netns import NetNs

if TYPE_CHECKING:
    from pilotfish.explain.owner import FindOwners, Owners
    from pilotfish.explain.trace import Trace


def read_scene(session: Session, status: StatusView, envoys: Asked | None = None) -> tuple[Scene, FindOwners]:
    """`envoys`: what was asked of them already."""
    client, asked = session.client, envoys or Asked()
    known = {(each.namespace, each.pod): each.certificate for each in status.proxies}
    stations = {
        f"{pod.name}.{pod.namespace}": _station(client, asked, pod, known.get((pod.namespace, pod.name)))
        for pod in status.pods
    }
    closed = partial(_is_closed, session.mesh)
    scene = Scene(
        stations, lambda: tuple(client.frontends()), _resolve, is_closed=closed, closed=_describe_closed(session.mesh)
    )
    return scene, partial(find_owners, client)


def find_owners(client: Client, trace: Trace) -> Owners:
    """As the mesh knows them; while discovery is away, as far as the proxies say themselves."""
    from pilotfish.explain.owner import Owner, find_written
    from pilotfish.explain.wire import encode

    try:
        found = client.owners(encode(trace))
    except Refused as error:
        click.echo(f"only what the proxies say themselves is known of whose the steps are: {error}", err=True)
        return find_written(trace)
    return {each.step: Owner.of(each.ref, each.field, Source.parse(each.source)) for each in found}


def _describe_subset(client: Client, config: str, name: str) -> str:
    from pilotfish.explain.owner import find_ref
    from pilotfish.offline.owners.fields import subset_labels

    ref = find_ref(config)
    found = client.objects(ref.kind, ref.namespace, ref.name) if ref is not None else []
    return subset_labels(found[0], name) if found else ""


def _is_closed(mesh: MeshView, address: str) -> bool:
    """It is neither the node's nor the machine's: without a way out, pods reach nothing else."""
    from pilotfish.runtime.net.subnets import Subnets

    v4, v6 = (ip_network(each) for each in mesh.pod_subnets)
    subnets = Subnets(IPv4Network(v4), IPv6Network(v6), IPv4Network(mesh.service_subnet))
    asked = ip_address(address)
    if mesh.egress and not any(asked in network for network in (subnets.v4, subnets.v6, subnets.services)):
        return False
    return address not in {subnets.dns, str(subnets.machine), *map(str, (*subnets.node, *subnets.host))}


def _describe_closed(mesh: MeshView) -> str:
    if mesh.egress:
        return "it is an address of the mesh, and nobody's"
    return "it is no pod's, and pods reach nothing outside of the mesh unless it is started with `up --egress`"


def _resolve(name: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(f"{name}.", None, socket.AF_INET, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _station(client: Client, envoys: Asked, pod: PodView, certificate: CertificateView | None) -> Station:
    return Station(
        name=f"{pod.name}.{pod.namespace}",
        namespace=pod.namespace,
        addresses=pod.addresses,
        captured=pod.captured and not pod.gateway,
        _rules=partial(client.rules, pod.namespace, pod.name),
        _held=partial(_held, client, envoys, pod),
        _names=partial(client.names, pod.namespace, pod.name),
        _listening=partial(_listening, pod),
        is_gateway=pod.gateway,
        _identity=partial(_identity, envoys, pod, certificate),
    )


def _identity(envoys: Asked, pod: PodView, certificate: CertificateView | None) -> str:
    """By the certificate that its agent gives it; the Envoy is asked of one that it has from elsewhere."""
    if certificate is not None:
        return certificate.subject
    return find_identity(envoys.read(pod, CERTIFICATES)) if pod.captured else ""


def find_identity(held: Mapping[str, Any]) -> str:
    """Who a proxy is to others, by the certificates that it says it has (`/certs`), of which it tells once for each
    cluster; "" if it is nobody."""
    chains = (each for pair in held.get("certificates", ()) for each in pair.get("cert_chain", ()))
    names = (name.get("uri", "") for each in chains for name in each.get("subject_alt_names", ()))
    return next((name for name in names if name.startswith("spiffe://")), "")


def _held(client: Client, envoys: Asked, pod: PodView) -> Held | None:
    if not pod.captured:
        return None
    return Held.of_asked(
        lambda: envoys.read(pod, LISTENERS),
        partial(_find, envoys, pod),
        lambda cluster: envoys.read(pod, cluster_of(cluster)),
        partial(_describe_subset, client),
    )


def _find(envoys: Asked, pod: PodView, type_url: str, name: str) -> Json:
    found: Json = {}
    for section, _ in SECTIONS[type_url]:
        found = envoys.read(pod, entry_of(section, name))
        if found.get("configs"):
            break
    return found


def _listening(pod: PodView) -> Set[tuple[str, int]] | None:
    """Of the pod's network namespace, whose every process shows the same."""
    for pid in NetNs(Path(pod.netns)).pids():
        try:
            texts = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        except OSError:
            continue
        return {(str(address), port) for text in texts for address, port in parse_proc_net(text)}
    return None
