"""A running mesh as requests meet it: the rules that its pods have, and what its Envoys say of themselves.

Each pod is asked when a way comes to it, and only for what the way needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING

import click

from pilotfish.cli.envoy_admin import CERTIFICATES, LISTENERS, Asked, cluster_of, entry_of, read_certificate
from pilotfish.explain.held import SECTIONS, Held, Json
from pilotfish.explain.scene import Scene, Station
from pilotfish.model import Source
from pilotfish.runtime.control.client import Refused
from pilotfish.runtime.control.views import CertificateView, PodsView, PodView

if TYPE_CHECKING:
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.explain.owner import FindOwners, Owners
    from pilotfish.explain.trace import Trace


def read_scene(mesh: Mesh, view: PodsView, envoys: Asked | None = None) -> tuple[Scene, FindOwners]:
    """`view`: all of its pods. `envoys`: what was asked of them already."""
    asked = envoys or Asked(mesh)
    known = {(each.namespace, each.pod): each.certificate for each in view.proxies}
    by_machine = {pod.machine: cache(partial(_held, mesh, asked, pod)) for pod in view.pods if pod.machine}
    stations = {
        f"{pod.name}.{pod.namespace}": _station(mesh, asked, pod, known.get((pod.namespace, pod.name)), by_machine)
        for pod in view.pods
    }
    scene = Scene(stations, mesh.frontends, mesh.resolve, describe_closed=mesh.describe_closed)
    return scene, partial(find_owners, mesh)


def find_owners(mesh: Mesh, trace: Trace) -> Owners:
    """As the mesh knows them; while discovery is away, as far as the proxies say themselves."""
    from pilotfish.explain.owner import Owner, find_written
    from pilotfish.explain.wire import encode

    try:
        found = mesh.owners(encode(trace))
    except Refused as error:
        click.echo(f"only what the proxies say themselves is known of whose the steps are: {error}", err=True)
        return find_written(trace)
    return {each.step: Owner.of(each.ref, each.field, Source.parse(each.source)) for each in found}


def _describe_subset(mesh: Mesh, config: str, name: str) -> str:
    from pilotfish.explain.owner import find_ref
    from pilotfish.offline.owners.fields import subset_labels

    ref = find_ref(config)
    found = mesh.objects(ref.kind, ref.namespace, ref.name) if ref is not None else []
    return subset_labels(found[0], name) if found else ""


def _station(
    mesh: Mesh,
    envoys: Asked,
    pod: PodView,
    certificate: CertificateView | None,
    by_machine: Mapping[str, Callable[[], Held | None]],
) -> Station:
    """`by_machine`: what the machines' proxies hold."""
    return Station(
        name=f"{pod.name}.{pod.namespace}",
        namespace=pod.namespace,
        addresses=pod.addresses,
        captured=pod.captured and not pod.gateway,
        _rules=partial(mesh.rules, pod),
        _held=by_machine[pod.machine] if pod.machine else partial(_held, mesh, envoys, pod),
        _names=partial(mesh.names, pod),
        _listening=partial(mesh.listening, pod),
        is_gateway=pod.gateway,
        machine=pod.machine,
        netns=pod.netns if pod.machine else "",
        _identity=partial(_identity, envoys, pod, certificate),
    )


def _identity(envoys: Asked, pod: PodView, certificate: CertificateView | None) -> str:
    """By the certificate that its agent gives it; an Envoy of its own is asked of one that it has from elsewhere."""
    if certificate is not None:
        return certificate.subject
    has_own = pod.captured and not pod.machine
    shown = read_certificate(envoys.read(pod, CERTIFICATES)) if has_own else None
    return shown.subject if shown is not None else ""


def _held(mesh: Mesh, envoys: Asked, pod: PodView) -> Held | None:
    if not pod.captured:
        return None
    return Held.of_asked(
        lambda: envoys.read(pod, LISTENERS),
        partial(_find, envoys, pod),
        lambda cluster: envoys.read(pod, cluster_of(cluster)),
        partial(_describe_subset, mesh),
    )


def _find(envoys: Asked, pod: PodView, type_url: str, name: str) -> Json:
    found: Json = {}
    for section, _ in SECTIONS[type_url]:
        found = envoys.read(pod, entry_of(section, name))
        if found.get("configs"):
            break
    return found
