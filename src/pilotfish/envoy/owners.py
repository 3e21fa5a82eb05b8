"""Whose a resource is: the user's objects that the queries behind it read."""

from __future__ import annotations

from typing import Final

from pilotfish.derive import Graph
from pilotfish.envoy.values import Resource
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import ENDPOINT_SLICE, ENDPOINTS, POD

PASSING: Final = frozenset({POD, ENDPOINTS, ENDPOINT_SLICE})
"""Left out: they come and go with every endpoint."""


def owners(graph: Graph, resource: Resource) -> tuple[ObjectRef, ...]:
    """Sorted; as the graph is now, though the resource may be of an earlier revision."""
    if resource.origin is None:
        return ()
    query, args = resource.origin
    read = {key for _, key in graph.provenance(query, *args) if isinstance(key, ObjectRef)}
    return tuple(sorted(ref for ref in read if ref.kind not in PASSING))
