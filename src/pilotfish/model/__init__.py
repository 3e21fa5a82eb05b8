"""Frozen values that everyone shares. They know nothing of YAML, Envoy or Linux."""

from pilotfish.model.problem import Problem, Severity
from pilotfish.model.protocol import Protocol
from pilotfish.model.proxy import Proxy
from pilotfish.model.ref import ObjectRef, Source
from pilotfish.model.values import Duration

__all__ = ["Duration", "ObjectRef", "Problem", "Protocol", "Proxy", "Severity", "Source"]
