"""The gateways that a mesh on one machine runs itself: what manifests select, and a cluster's installation brings.

    objects ─with_gateways─▶ objects, with a Deployment, Service and ServiceAccount for each gateway that lacks pods

They bear a label, MADE, and are otherwise as a user would write them for a cluster. An object of the user's own with
such a name takes its place.

Source: https://istio.io/latest/docs/setup/additional-setup/gateway/, and the names and labels of Istio's charts
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from pilotfish.config import istio
from pilotfish.config.injection import TEMPLATES, asks_for_gateway
from pilotfish.config.kubernetes import Deployment, Metadata, Pod, PodSpec, Service
from pilotfish.config.loading import load
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.workloads import template_of
from pilotfish.mesh.ingresses import with_ingresses
from pilotfish.model import ObjectRef, Problem, Protocol, Severity
from pilotfish.model.kinds import GATEWAY
from pilotfish.model.wellknown import MANAGED_BY, PILOTFISH, PROXY_CONTAINER, ROOT_NAMESPACE

MADE: Final = (MANAGED_BY, PILOTFISH)
"""The label of what is made here."""
_ISTIOS: Final = tuple(
    (f"istio-{way}", (("app", f"istio-{way}"), ("istio", way))) for way in ("ingressgateway", "egressgateway")
)
"""(name, labels) of the gateways that Istio's installation has."""
_LONGEST_NAME: Final = 63
"""Of a Service (RFC 1035)."""


_Asking = tuple[Manifest, istio.Gateway]


@dataclass(frozen=True, slots=True)
class Made:
    """A gateway of the mesh's own."""

    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...]
    asked_by: Manifest
    """The first Gateway that selects it."""

    @property
    def is_istios(self) -> bool:
        return (self.name, self.labels) in _ISTIOS

    def serves(self, selector: Mapping[str, str]) -> bool:
        return selector.items() <= dict(self.labels).items()


def with_gateways(manifests: Mapping[ObjectRef, Manifest], config: MeshConfig) -> Mapping[ObjectRef, Manifest]:
    """The objects, with such as the mesh is to run itself and without those that nobody needs any more. What stays as
    it is is the same object as before; if all of it does, the mapping is."""
    theirs = {ref: manifest for ref, manifest in manifests.items() if not is_made(manifest)}
    asking = tuple(gateways(with_ingresses(theirs, config)))
    needed = _needed(asking, theirs, {(ref.namespace, ref.name) for ref in manifests.keys() - theirs.keys()})
    built = {each.ref: each for made in needed for each in _build(made, asking) if each.ref not in theirs}
    kept = {ref: _keep(manifests.get(ref), manifest) for ref, manifest in built.items()}
    if len(theirs) + len(kept) == len(manifests) and all(manifests.get(ref) is each for ref, each in kept.items()):
        return manifests
    return theirs | kept


def is_made(manifest: Manifest) -> bool:
    name, value = MADE
    return bool(manifest.resource.metadata.labels.get(name) == value)


def templates(manifests: Mapping[ObjectRef, Manifest]) -> Iterator[tuple[ObjectRef, Metadata, PodSpec]]:
    """The pods that the objects ask for, as they are written."""
    for ref, manifest in sorted(manifests.items()):
        resource = manifest.resource
        if isinstance(resource, Pod):
            yield ref, resource.metadata, resource.spec
        elif (template := template_of(resource)) is not None:
            yield ref, template.metadata, template.spec


def gateways(manifests: Mapping[ObjectRef, Manifest]) -> Iterator[_Asking]:
    """Those that listen somewhere, in order."""
    for ref in sorted(ref for ref in manifests if ref.kind is GATEWAY):
        resource = manifests[ref].resource
        if isinstance(resource, istio.Gateway) and any(server.port.number for server in resource.spec.servers):
            yield manifests[ref], resource


def find_problems(manifests: Mapping[ObjectRef, Manifest]) -> tuple[Problem, ...]:
    """Gateways that select pods, of which none is a gateway: nobody listens, and the mesh runs none in their place."""
    asking = tuple(gateways(manifests))
    pods = tuple(templates(manifests)) if asking else ()
    found = []
    for manifest, gateway in asking:
        selector = gateway.spec.selector.items()
        chosen = [(ref, pod, spec) for ref, pod, spec in pods if selector and selector <= pod.labels.items()]
        if chosen and not any(asks_for_gateway(pod, spec) for _, pod, spec in chosen):
            found.append(_describe_apps(manifest, chosen[0][0]))
    return tuple(found)


def _describe_apps(gateway: Manifest, selected: ObjectRef) -> Problem:
    message = (
        f"it selects {selected}, whose pods are no gateways, so nobody listens on its ports; select istio: "
        f"ingressgateway, or write into the pods' annotations {TEMPLATES}: gateway"
    )
    source = gateway.at("spec.selector")
    return Problem(gateway.ref, "spec.selector", "NoGateway", message, Severity.WARNING, source)


def _needed(
    found: Sequence[_Asking], manifests: Mapping[ObjectRef, Manifest], before: Set[tuple[str, str]]
) -> tuple[Made, ...]:
    """What the Gateways select that no pod is, but for the pods of what the mesh made before, by (namespace, name)."""
    asking = [(manifest, gateway.spec.selector) for manifest, gateway in found]
    theirs = (
        (each for each in templates(manifests) if not _controllers(each[0].namespace, each[1]) & before)
        if asking
        else ()
    )
    pods = [(pod.labels, asks_for_gateway(pod, spec)) for _, pod, spec in theirs]
    needed: list[Made] = []
    # A gateway with more labels serves those that ask for some of them.
    for manifest, selector in sorted(asking, key=lambda each: -len(each[1])):
        served = any(selector.items() <= labels.items() and (selector or gateway) for labels, gateway in pods)
        made = _make(manifest, selector)
        if not served and not any(each.serves(selector) and each.is_istios == made.is_istios for each in needed):
            needed.append(made)
    return tuple(needed)


def _controllers(namespace: str, pod: Metadata) -> Set[tuple[str, str]]:
    """The Deployments of a pod's ReplicaSets."""
    return {(namespace, owner.name.rpartition("-")[0]) for owner in pod.owner_references}


def _make(manifest: Manifest, selector: Mapping[str, str]) -> Made:
    for name, labels in _ISTIOS:
        if selector.items() <= dict(labels).items():
            return Made(ROOT_NAMESPACE, name, labels, manifest)
    name = re.sub(r"^(?![a-z])", "gateway-", manifest.ref.name.replace(".", "-"))[:_LONGEST_NAME].rstrip("-")
    return Made(manifest.ref.namespace, name, tuple(sorted(selector.items())), manifest)


def _build(made: Made, asking: Iterable[_Asking]) -> Iterator[Manifest]:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(_documents(made, _ports(made, asking)))})
    for manifest in load(text, "-").manifests:
        yield replace(manifest, source=made.asked_by.source, lines=b"")


def _ports(made: Made, asking: Iterable[_Asking]) -> dict[int, Protocol]:
    """Those of the servers of the Gateways that it serves."""
    served = (gateway for _, gateway in asking if made.serves(gateway.spec.selector))
    ports = (server.port for gateway in served for server in gateway.spec.servers if server.port.number)
    found: dict[int, Protocol] = {}
    for port in ports:
        found.setdefault(port.number, Protocol.parse(port.protocol) or Protocol.TCP)
    return dict(sorted(found.items()))


def _documents(made: Made, ports: Mapping[int, Protocol]) -> Iterator[dict[str, object]]:
    selector = dict(made.labels)
    metadata = {"name": made.name, "namespace": made.namespace, "labels": {**selector, MADE[0]: MADE[1]}}
    template = {
        "metadata": {"labels": selector, "annotations": {TEMPLATES: "gateway"}},
        "spec": {"serviceAccountName": made.name, "containers": [{"name": PROXY_CONTAINER, "image": "auto"}]},
    }
    listed = [{"name": f"{protocol.lower()}-{number}", "port": number} for number, protocol in ports.items()]
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    exposed = {"type": "ClusterIP" if selector.get("istio") == "egressgateway" else "LoadBalancer"}
    service = {**exposed, "selector": selector, "ports": listed}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}
    spec = {"selector": {"matchLabels": selector}, "template": template}
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _keep(old: Manifest | None, new: Manifest) -> Manifest:
    """As it is, unless what it is for has changed: somebody may have scaled or restarted it since."""
    if old is None or not is_made(old):
        return new
    match old.resource, new.resource:
        case Deployment() as was, Deployment() as will if was.spec.selector != will.spec.selector:
            return new
        case Service(spec=was), Service(spec=will) if (was.selector, was.ports) != (will.selector, will.ports):
            # The address that the mesh gave it, where the objects are those of a mesh.
            spec = msgspec.structs.replace(will, cluster_ip=was.cluster_ip)
            return replace(new, resource=msgspec.structs.replace(new.resource, spec=spec))
    return old
