"""What is wrong between objects that are each right by themselves.

What is wrong within one object, `config` has said already. These are warnings: the objects stay in use.
"""

from __future__ import annotations

from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import refs
from pilotfish.mesh.policy.policies import Reach, reach
from pilotfish.mesh.problems.authentication import authentication_problems, claim_problems
from pilotfish.mesh.problems.authorization import authorization_problems
from pilotfish.mesh.problems.connections import connection_problems
from pilotfish.mesh.problems.credentials import credential_problems
from pilotfish.mesh.problems.delegates import delegate_problems
from pilotfish.mesh.problems.endpoints import listing_problems, unserved_problems
from pilotfish.mesh.problems.gateway_bindings import gateway_binding_problems
from pilotfish.mesh.problems.gateways import gateway_problems
from pilotfish.mesh.problems.mutual_tls import client_tls_problems
from pilotfish.mesh.problems.peer_authentications import peer_authentication_problems
from pilotfish.mesh.problems.ports import http_port_problems, rule_port_problems
from pilotfish.mesh.problems.proxy_configs import proxy_config_problems
from pilotfish.mesh.problems.routing import destination_rule_problems, virtual_service_problems
from pilotfish.mesh.problems.services import service_problems
from pilotfish.mesh.problems.sidecars import sidecar_problems
from pilotfish.mesh.problems.workloads import workload_entry_problems
from pilotfish.mesh.problems.zones import zone_problems
from pilotfish.mesh.routing import subject
from pilotfish.model import Problem
from pilotfish.model.kinds import (
    AUTHORIZATION_POLICY,
    DESTINATION_RULE,
    ENDPOINT_SLICE,
    ENDPOINTS,
    GATEWAY,
    PEER_AUTHENTICATION,
    REQUEST_AUTHENTICATION,
    SERVICE,
    SERVICE_ENTRY,
    SIDECAR,
    VIRTUAL_SERVICE,
    WORKLOAD_ENTRY,
)


@query(index=True)
def problems(db: Reads) -> tuple[Problem, ...]:
    """All of them, by kind, namespace and name of the object."""
    found: list[Problem] = [*proxy_config_problems(db)]
    for ref in refs(db, DESTINATION_RULE):
        found += (*destination_rule_problems(db, ref), *rule_port_problems(db, ref), *credential_problems(db, ref))
        found += client_tls_problems(db, ref)
        if Reach.LOCALITY in reach(db):
            found += zone_problems(db, ref)
    for kind in (SERVICE, SERVICE_ENTRY):
        for ref in refs(db, kind):
            found += (*service_problems(db, ref), *unserved_problems(db, ref))
    for kind in (ENDPOINTS, ENDPOINT_SLICE):
        for ref in refs(db, kind):
            found += listing_problems(db, ref)
    for ref in refs(db, SIDECAR):
        found += sidecar_problems(db, ref)
    for ref in refs(db, WORKLOAD_ENTRY):
        found += workload_entry_problems(db, ref)
    for ref in refs(db, AUTHORIZATION_POLICY):
        found += authorization_problems(db, ref)
    for ref in refs(db, REQUEST_AUTHENTICATION):
        found += authentication_problems(db, ref)
    for ref in refs(db, GATEWAY):
        found += gateway_problems(db, ref)
    for ref in refs(db, PEER_AUTHENTICATION):
        found += peer_authentication_problems(db, ref)
    for ref in refs(db, VIRTUAL_SERVICE):
        found += (*virtual_service_problems(db, ref), *http_port_problems(db, ref), *connection_problems(db, ref))
        about = subject(db, ref)
        if about.gateways:
            found += (*gateway_binding_problems(db, ref), *claim_problems(db, ref))
        if about.delegates or not about.hosts:
            found += delegate_problems(db, ref)
    return tuple(found)
