"""Resources as people and other programs read them: JSON in Envoy's form. Sensitive ones keep what they hold."""

from __future__ import annotations

from typing import Any

from pilotfish.envoy.types import xds_type
from pilotfish.envoy.values import Resource
from pilotfish.model.private import REDACTED


def to_json(resource: Resource) -> dict[str, Any]:
    """The resource's message as Envoy prints it, its own type first."""
    from google.protobuf import json_format

    kind = xds_type(resource.type_url)
    if kind.sensitive:
        return {"@type": resource.type_url, "name": resource.name, "content": REDACTED}
    message = kind.message().FromString(resource.body)
    shown: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return {"@type": resource.type_url, **shown}


def addresses(load_assignment: Resource) -> list[str]:
    """`10.0.0.1:8000` for each endpoint of a ClusterLoadAssignment."""
    message: Any = xds_type(load_assignment.type_url).message().FromString(load_assignment.body)
    found = (e.endpoint.address.socket_address for group in message.endpoints for e in group.lb_endpoints)
    return [f"{address.address}:{address.port_value}" for address in found]
