"""ClusterLoadAssignments: the ready endpoints of a port and subset, by locality."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import Locality as LocalityMessage
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint as EndpointMessage
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.derive import Reads, query
from pilotfish.envoy.message import pipe, serialise, socket_address
from pilotfish.envoy.naming import LOCAL_CLUSTER, outbound_cluster
from pilotfish.envoy.types import ENDPOINT
from pilotfish.envoy.values import Resource
from pilotfish.mesh.listeners.inbound import TEMPLATE_LABEL, Fellows
from pilotfish.mesh.policy.locality import Group, arrange, balancing_of
from pilotfish.mesh.policy.peer_authentication import speaks_mutual
from pilotfish.mesh.policy.policies import policy
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.mesh.registry.services import service_at
from pilotfish.mesh.scope import NOWHERE, Place
from pilotfish.model import ObjectRef
from pilotfish.model.egress import is_socket
from pilotfish.model.service import MUTUAL, Endpoint, Resolution, Service, ServicePort
from pilotfish.model.traffic_policy import DestinationPolicy, LoadBalancer


@query
def service_load_assignments(
    db: Reads, host: str, home: str, ports: tuple[int, ...], rules: tuple[ObjectRef, ...], client: Place
) -> tuple[Resource, ...]:
    """All load assignments of a service, or of some of its ports, for clients of a place to whom these
    DestinationRules apply.

    None if Envoy finds the endpoints itself.
    """
    found = service_at(db, host, home)
    if found is None or found.resolution is not Resolution.EDS:
        return ()
    applied = policy(db, rules)
    return tuple(
        load_assignment(db, host, home, port.number, subset, rules if subset or is_placed else (), at)
        for port in ports_of(found, ports)
        for subset in ("", *(subset.name for subset in applied.subsets))
        if (treatment := applied.of(subset, port.number)).load_balancer is not LoadBalancer.PASSTHROUGH
        for is_placed in (treatment.locality is not None or found.prefers is not None,)
        for at in (client if is_placed else NOWHERE,)
    )


def ports_of(found: Service, numbers: tuple[int, ...]) -> tuple[ServicePort, ...]:
    """Those with these numbers; all if none is named."""
    return tuple(port for port in found.ports if port.number in numbers) if numbers else found.ports


@query
def local_assignment(db: Reads, fellows: Fellows) -> Resource:
    """The proxies of a workload, each once, as endpoints of `local_cluster`. Nothing is ever sent to them: Envoy counts
    them by locality. Source: Istio's ServicesForLocalCluster and filterIstioEndpointForLocalCluster"""
    listed = ((host, home, service_at(db, host, home)) for host, home in sorted(fellows.served))
    found = (
        endpoint
        for host, home, service in listed
        for port in (service.ports if service is not None else ())
        for endpoint in endpoints(db, host, home, port.number)
        if endpoint.ready and dict(endpoint.labels).get(TEMPLATE_LABEL, "") == fellows.template
    )
    each = {endpoint.address: endpoint for endpoint in found}
    groups = (_build_group(db, group) for group in arrange(each.values(), None, NOWHERE))
    message = ClusterLoadAssignment(cluster_name=LOCAL_CLUSTER, endpoints=groups)
    return Resource.make(ENDPOINT, LOCAL_CLUSTER, serialise(message), origin=db.origin)


@query
def load_assignment(
    db: Reads, host: str, home: str, port: int, subset: str, rules: tuple[ObjectRef, ...], client: Place
) -> Resource:
    """The endpoints of `outbound|PORT|SUBSET|HOST`. `rules` are those that define the subset, or say what is near;
    none for the whole."""
    name, applied = outbound_cluster(port, subset, host), policy(db, rules)
    message = build_load_assignment(db, name, host, home, port, subset, applied, client)
    return Resource.make(ENDPOINT, name, serialise(message), origin=db.origin, vacant=not message.endpoints)


def build_load_assignment(
    db: Reads,
    name: str,
    host: str,
    home: str,
    port: int,
    subset: str,
    applied: DestinationPolicy,
    client: Place,
) -> ClusterLoadAssignment:
    selector = applied.labels(subset)
    ready = (e for e in endpoints(db, host, home, port) if e.ready and e.has_labels(selector))
    found, treatment = service_at(db, host, home), applied.of(subset, port)
    balancing = balancing_of(treatment, found) if found is not None else treatment.locality
    groups = arrange(ready, balancing, client)
    return ClusterLoadAssignment(cluster_name=name, endpoints=(_build_group(db, group) for group in groups))


def _build_group(db: Reads, group: Group) -> LocalityLbEndpoints:
    locality = group.locality
    return LocalityLbEndpoints(
        locality=LocalityMessage(region=locality.region, zone=locality.zone, sub_zone=locality.sub_zone),
        lb_endpoints=[_build_endpoint(e, speaks_mutual(db, e)) for e in group.members],
        load_balancing_weight=UInt32Value(value=group.weight),
        priority=group.priority,
    )


def _build_endpoint(endpoint: Endpoint, is_mutual: bool) -> LbEndpoint:
    path = endpoint.address if is_socket(endpoint.address) else ""
    address = pipe(path) if path else socket_address(endpoint.address, endpoint.port)
    built = LbEndpoint(
        endpoint=EndpointMessage(address=address),
        load_balancing_weight=UInt32Value(value=endpoint.weight),
    )
    if is_mutual:
        # By this a cluster chooses how to speak with it (`mutual_tls`).
        built.metadata.filter_metadata["envoy.transport_socket_match"].update({"tlsMode": MUTUAL})
    return built
