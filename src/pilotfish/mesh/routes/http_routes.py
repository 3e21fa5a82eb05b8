"""Which routes a host has for its clients, whichever API they were written in, or if they were not written at all."""

from __future__ import annotations

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.exports import audience_of, is_seen
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.policy.policies import treated
from pilotfish.mesh.registry.services import service
from pilotfish.mesh.routes.delegates import all_rules
from pilotfish.mesh.routes.destinations import resolve_destination
from pilotfish.mesh.routes.retries import DEFAULT_RETRIES
from pilotfish.mesh.routes.virtual_service import lower_http
from pilotfish.mesh.routing import delegate_ref
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef
from pilotfish.model.route import Backend, Forward, HTTPMatch, HTTPRoute, WeightedBackend


@query
def http_routes(
    db: Reads, ref: ObjectRef | None, client: Scope, source: Scope, host: str, port: int
) -> tuple[HTTPRoute, ...]:
    """In the order in which they are tried. None for a host that is neither a service nor routed on this port.

    `ref` is the VirtualService that routes it, as `routing.router` says; `client` is the widest scope to which the same
    DestinationRules apply, and `source` what `routing.source` says of it.
    """
    found = resource(db, ref, istio.VirtualService) if ref is not None else None
    if ref is not None and found is not None:
        writer = ref.namespace

        def resolve(destination: istio.Destination) -> Backend:
            return resolve_destination(db, client, writer, destination, port)

        def find(delegate: istio.Delegate) -> tuple[ObjectRef, istio.VirtualServiceSpec] | None:
            return find_delegate(db, ref, delegate)

        routes = tuple(lower_http(all_rules(ref, found.spec, find), port, source, resolve))
        if routes:
            return routes
    return (_plain(treated(db, client, Backend(host, port))),) if service(db, host) is not None else ()


def _plain(backend: Backend) -> HTTPRoute:
    """For a service that no VirtualService routes, or none on this port."""
    return HTTPRoute("default", HTTPMatch(), Forward((WeightedBackend(backend),), retries=DEFAULT_RETRIES))


def find_delegate(
    db: Reads, ref: ObjectRef, delegate: istio.Delegate
) -> tuple[ObjectRef, istio.VirtualServiceSpec] | None:
    """None where there is none that is exported to the VirtualService's namespace, or where it has hosts of its own."""
    meant = delegate_ref(ref, delegate)
    found = resource(db, meant, istio.VirtualService)
    if found is None or found.spec.hosts:
        return None
    seen = is_seen(audience_of(found.spec.export_to, meant.namespace), ref.namespace)
    return (meant, found.spec) if seen else None
