"""Which routes a host has for its clients, whichever API they were written in, or if they were not written at all."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.exports import is_seen
from pilotfish.mesh.inputs import mesh_config, resource
from pilotfish.mesh.policy.policies import treated
from pilotfish.mesh.registry.services import service_at
from pilotfish.mesh.routes.delegates import Rule, all_rules
from pilotfish.mesh.routes.destinations import resolve_destination
from pilotfish.mesh.routes.entrance import Entrance
from pilotfish.mesh.routes.retries import lower_retries, lower_try
from pilotfish.mesh.routes.virtual_service import lower_http
from pilotfish.mesh.routing import delegate_ref, subject
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef
from pilotfish.model.route import Backend, Forward, HTTPMatch, HTTPRoute, WeightedBackend


@query
def http_routes(
    db: Reads, ref: ObjectRef | None, client: Scope, source: Scope, host: str, home: str | None, port: int
) -> tuple[HTTPRoute, ...]:
    """In the order in which they are tried. None for a host that is neither a service nor routed on this port.

    `ref` is the VirtualService that routes it, as `routing.router` says; `client` is the widest scope to which the same
    DestinationRules apply, and `source` what `routing.source` says of it; `home` as in `visibility.home`.
    """
    found = resource(db, ref, istio.VirtualService) if ref is not None else None
    if ref is not None and found is not None:
        routes = written_routes(db, ref, found.spec, client, source, Entrance(port))
        if routes:
            return routes
    is_seen = home is not None and service_at(db, host, home) is not None
    return (_plain(treated(db, client, Backend(host, port)), _retries_of_all(db)),) if is_seen else ()


def written_routes(
    db: Reads, ref: ObjectRef, spec: istio.VirtualServiceSpec, client: Scope, source: Scope, entrance: Entrance
) -> tuple[HTTPRoute, ...]:
    """Those of one VirtualService, and of its delegates, in the order in which they are tried."""

    def resolve(destination: istio.Destination) -> Backend:
        return resolve_destination(db, client, ref.namespace, destination, entrance.port)

    def find(delegate: istio.Delegate) -> tuple[ObjectRef, istio.VirtualServiceSpec] | None:
        return find_delegate(db, ref, delegate)

    rules = (_with_retries(rule, _retries_of_all(db)) for rule in all_rules(ref, spec, find))
    return tuple(lower_http(rules, entrance, source, resolve))


@query
def _retries_of_all(db: Reads) -> istio.HTTPRetry | None:
    """The mesh's for what says nothing of retries; None where that says nothing, either."""
    return mesh_config(db).default_http_retry_policy


def _with_retries(rule: Rule, retries: istio.HTTPRetry | None) -> Rule:
    if retries is None or rule.route.retries is not None:
        return rule
    return replace(rule, route=msgspec.structs.replace(rule.route, retries=retries))


def _plain(backend: Backend, retries: istio.HTTPRetry | None) -> HTTPRoute:
    """For a service that no VirtualService routes, or none on this port."""
    to = Forward((WeightedBackend(backend),), lower_try(retries), retries=lower_retries(retries))
    return HTTPRoute("default", HTTPMatch(), to)


def find_delegate(
    db: Reads, ref: ObjectRef, delegate: istio.Delegate
) -> tuple[ObjectRef, istio.VirtualServiceSpec] | None:
    """None where there is none that is exported to the VirtualService's namespace, or where it has hosts of its own."""
    meant = delegate_ref(ref, delegate)
    found = resource(db, meant, istio.VirtualService)
    if found is None or found.spec.hosts:
        return None
    seen = is_seen(subject(db, meant).audience, ref.namespace)
    return (meant, found.spec) if seen else None
