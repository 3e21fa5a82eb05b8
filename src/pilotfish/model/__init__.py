"""Frozen values that everyone shares. They know nothing of YAML, Envoy or Linux.

`route`, `traffic_policy` and `settings` are the neutral form between the users' APIs and Envoy: `mesh` makes it,
`envoy` renders it.
"""

from pilotfish.model.kind import Kind
from pilotfish.model.problem import Problem, Severity
from pilotfish.model.protocol import Protocol
from pilotfish.model.proxy import Proxy
from pilotfish.model.ref import FieldRef, ObjectRef, Source
from pilotfish.model.values import Duration

__all__ = ["Duration", "FieldRef", "Kind", "ObjectRef", "Problem", "Protocol", "Proxy", "Severity", "Source"]
