"""Services without a selector: whose endpoints nobody lists, or for ports that they do not have."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio, kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import service_host
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.endpoints import is_kept, service_of_slice, slices_of
from pilotfish.mesh.registry.services import declared, service
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.kinds import ENDPOINT_SLICE, ENDPOINTS, SERVICE_ENTRY
from pilotfish.model.service import Resolution, Service

_ANSWER = "requests are answered 503"


@query
def unserved_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    """Of a Service or a ServiceEntry."""
    found = declared(db, ref)[:1]
    return tuple(p for each in found if not each.selector for p in _unserved(db, ref, each))


@query
def listing_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    """Of an Endpoints or an EndpointSlice."""
    name = ref.name if ref.kind is ENDPOINTS else service_of_slice(db, ref)
    if not name or (ref.kind is ENDPOINT_SLICE and is_kept(db, ref)):
        return ()  # it is said of the object by itself, or is nobody's to change
    found = service(db, service_host(name, ref.namespace))
    field = "metadata.name" if ref.kind is ENDPOINTS else "metadata.labels"
    if found is None:
        text = f"there is no Service {name}, so it has no effect; add one without a selector, or remove it"
    elif found.selector:
        text = f"the Service {name} has a selector, and its pods are its endpoints, so this has no effect; remove one"
    else:
        return ()
    return (warning(db, ref, field, "Ignored", text, Severity.INFO),)


def _unserved(db: Reads, ref: ObjectRef, found: Service) -> Iterator[Problem]:
    if ref.kind is SERVICE_ENTRY:
        entry = resource(db, ref, istio.ServiceEntry)
        if entry is not None and not entry.spec.endpoints and found.resolution is Resolution.EDS:
            text = f"resolution STATIC has no endpoints: {_ANSWER}; list them, select them, or write resolution DNS"
            yield warning(db, ref, "spec.endpoints", "NoEndpoints", text)
        return
    source, listed = resource(db, ref, kubernetes.Service), _listed(db, ref)
    if source is None:
        return
    if listed is None and source.spec.ports and source.spec.type != "ExternalName":
        text = f"it has no selector, and no Endpoints or EndpointSlice is of it: {_ANSWER}; add one of them"
        yield warning(db, ref, "spec.selector", "NoEndpoints", text, Severity.INFO)
    for index, port in enumerate(source.spec.ports if listed else ()):
        if (port.name, port.protocol) not in (listed or ()):
            names = ", ".join(repr(name) for name, _ in sorted(listed or ()))
            text = (
                f"its Endpoints or EndpointSlices have no {port.protocol} port of the name {port.name!r}, but {names}: "
                f"port {port.port} has no endpoints; give both the same name"
            )
            yield warning(db, ref, f"spec.ports[{index}].name", "UnknownTargetPort", text)


def _listed(db: Reads, ref: ObjectRef) -> frozenset[tuple[str, str]] | None:
    """(name, protocol) of the ports for which endpoints are listed; None where nobody lists any."""
    slices = [resource(db, each, kubernetes.EndpointSlice) for each in slices_of(db, ref.namespace, ref.name)]
    source = resource(db, ENDPOINTS.ref(ref.namespace, ref.name), kubernetes.Endpoints)
    if not slices and source is None:
        return None
    of_slices = (port for each in slices if each is not None for port in each.ports)
    of_subsets = (port for subset in (source.subsets if source is not None else ()) for port in subset.ports)
    return frozenset((port.name, port.protocol) for port in (of_slices if slices else of_subsets))
