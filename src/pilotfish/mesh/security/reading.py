"""Whether a sidecar reads the requests that come to its app, or passes on connections in which they were read already.

A client's proxy of the mesh has read each request when it comes: routed it, given it an id, taken out what its app may
not say. For the server's proxy to read it once more costs as much again, and is done where somebody asks for what takes
reading: `reason_to_read` names the first who does.

Both sides go by it. The server's proxy takes such connections as they are while it has no reason to read; a client's
asks for that while no endpoint of the service has one (`needs_no_reading`), and by mutual TLS alone, which proves that
it is a proxy of the mesh. So, as soon as a reason comes up, clients open other connections, end what they have under
way on the old ones, and nothing is cut off. It does not matter which of the two learns it first.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Final

from pilotfish.config.mesh import ProxyHeaders
from pilotfish.config.reading import asked_by_mesh
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import Labels, mesh_config
from pilotfish.mesh.listeners.inbound import InboundPort, inbound_pool, inbound_protocol, stated_ingress
from pilotfish.mesh.policy.ingress import pool_of_rules
from pilotfish.mesh.policy.peer_authentication import peer_modes
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.mesh.registry.services import service_at
from pilotfish.mesh.security.guards import Guard, policy
from pilotfish.mesh.security.selection import covering, in_namespace, of_root
from pilotfish.mesh.settings import settings
from pilotfish.model import Protocol
from pilotfish.model.authorization import Action
from pilotfish.model.kinds import AUTHORIZATION_POLICY, POD, REQUEST_AUTHENTICATION, WORKLOAD_ENTRY
from pilotfish.model.mutual_tls import MutualTLS
from pilotfish.model.proxy import ProxyType
from pilotfish.model.service import Endpoint
from pilotfish.model.settings import ConnectionSettings

_READ_ALREADY: Final = (Protocol.HTTP, Protocol.HTTP_PROXY, Protocol.GRPC)
"""What is spoken to these is known: HTTP/1.1, or gRPC. Ports of HTTP/2, and such as declare nothing, may have either;
of gRPC alone, what has been under way to an app that is gone may be tried again (UNAVAILABLE)."""


@query(index=True)
def reason_to_read(db: Reads, port: InboundPort, mode: MutualTLS, guard: Guard, asked: str) -> str:
    """Why the server's proxy reads the requests to a port of HTTP or gRPC, as people are told; "" if it need not.
    `asked`: by the pod, as `Inbound` has it."""
    protocol = inbound_protocol(db, port)
    if protocol not in _READ_ALREADY:
        return f"its protocol is {protocol}"
    if mode is MutualTLS.DISABLE:
        return "it takes no mutual TLS"
    if inbound_pool(db, port) is not None:
        return "it has a connectionPool"
    return asked or _asked_by_mesh(db) or _asked_by_policies(db, guard)


@query(index=True)
def needs_no_reading(db: Reads, host: str, home: str, port: int) -> bool:
    """Whether clients may ask that requests to a service's port be passed on unread."""
    found = service_at(db, host, home)
    served = found.port(port) if found is not None else None
    if found is None or served is None or served.protocol not in _READ_ALREADY or _asked_by_mesh(db):
        return False
    if pool_of_rules(db, found.namespace, found.host, port) is not None:
        return False
    listed = [each for each in endpoints(db, host, home, port) if each.mutual]
    alike = {(_namespace(each), each.labels, each.reads) for each in listed}
    return bool(listed) and all(_passes_on(db, *each) for each in alike)


def _namespace(endpoint: Endpoint) -> str:
    """Of the workload that it is; "" where nobody knows which policies hold for it."""
    ref = endpoint.ref
    return ref.namespace if ref is not None and ref.kind in (POD, WORKLOAD_ENTRY) else ""


@query
def _passes_on(db: Reads, namespace: str, labels: Labels, asked: str) -> bool:
    """Of workloads of a namespace that have these labels."""
    if not namespace or asked or stated_ingress(db, namespace, labels).pool is not None:
        return False
    modes = peer_modes(db, namespace, labels)
    if MutualTLS.DISABLE in (modes.default, *(mode for _, mode in modes.ports)):
        return False
    policies, authentications = (
        tuple(
            covering(of_root(db, kind, namespace), in_namespace(db, kind, namespace), dict(labels), ProxyType.SIDECAR)
        )
        for kind in (AUTHORIZATION_POLICY, REQUEST_AUTHENTICATION)
    )
    return not _asked_by_policies(db, Guard(policies, authentications))


@query
def _asked_by_mesh(db: Reads) -> str:
    config, mesh = mesh_config(db), settings(db)
    stated = config.default_config
    if field := asked_by_mesh(stated):
        return f"meshConfig.defaultConfig.{field}"
    if mesh.access_log is not None:
        return "meshConfig.accessLogFile"
    if config.default_inbound_http_retry_policy is not None:
        return "meshConfig.defaultInboundHttpRetryPolicy"
    if _tells_of_callers(stated.proxy_headers):
        return "meshConfig.defaultConfig.proxyHeaders"
    if replace(mesh.at_sidecars, listener_buffer=None, cluster_buffer=None) != ConnectionSettings():
        return "meshConfig.defaultConfig.connectionSettings"
    return ""


def _tells_of_callers(headers: ProxyHeaders) -> bool:
    """The app is to be told by which certificate it is called. Where nobody says so, who reads requests tells it."""
    details = headers.set_current_client_cert_details != ProxyHeaders().set_current_client_cert_details
    return details or headers.forwarded_client_cert not in ("UNDEFINED", "SANITIZE")


def _asked_by_policies(db: Reads, guard: Guard) -> str:
    """Whom one refuses is to be answered 403, and not to be left with a closed connection. AUDIT does nothing."""
    held = (ref for ref in guard.policies if policy(db, ref).action is not Action.AUDIT)
    ref = next(chain(guard.authentications, held), None)
    return f"{ref.kind.name} {ref.namespace}/{ref.name}" if ref is not None else ""
