"""Frozen values that everyone shares. They know nothing of YAML, Envoy or Linux.

    the user's objects ─ref─▶ ObjectRef, Source ─problem─▶ Problem          whom a mistake is told about
    Service, ServiceEntry, pods ─service, protocol─▶ Service, Endpoint      what the mesh makes of them
    VirtualService ─route─▶ HTTPRoute                                       and of what is said about them
                   ─connection_route─▶ ConnectionRoute
    DestinationRule ─traffic_policy─▶ TrafficPolicy
    AuthorizationPolicy ─authorization─▶ Policy                             who may ask what
    RequestAuthentication ─authentication─▶ TokenRule                       whose tokens are believed
    meshConfig ─settings─▶ MeshSettings                                     what holds for every proxy
    node id, metadata ─proxy─▶ Proxy                                        who asks

`route`, `connection_route`, `traffic_policy` and `settings` are the neutral form between the users' APIs and Envoy:
`mesh` makes it, `envoy` renders it. `values` are small and stand in many others; `wellknown` has the ports, users and
names that people know; `struct` is the base of what is read or written as JSON.
"""

from pilotfish.model.kind import Kind
from pilotfish.model.problem import Problem, Severity
from pilotfish.model.protocol import Protocol
from pilotfish.model.proxy import Proxy
from pilotfish.model.ref import FieldRef, ObjectRef, Source
from pilotfish.model.values import Duration

__all__ = ["Duration", "FieldRef", "Kind", "ObjectRef", "Problem", "Protocol", "Proxy", "Severity", "Source"]
