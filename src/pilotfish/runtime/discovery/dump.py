"""What a proxy should have, in the form of Envoy's own /config_dump.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import Resource, ResourceSet


def config_dump(resources: ResourceSet) -> dict[str, Any]:
    """JSON of a `envoy.admin.v3.ConfigDump`."""
    return {
        "configs": [
            _section("ClustersConfigDump", dynamic_active_clusters=_entries(resources.resources(CLUSTER), "cluster")),
            _section("EndpointsConfigDump", dynamic_endpoint_configs=load_assignments(resources.resources(ENDPOINT))),
            _section("ListenersConfigDump", dynamic_listeners=_listeners(resources.resources(LISTENER))),
            _section("RoutesConfigDump", dynamic_route_configs=_entries(resources.resources(ROUTE), "route_config")),
        ]
    }


def load_assignments(resources: Iterable[Resource]) -> list[dict[str, Any]]:
    """The entries of an EndpointsConfigDump."""
    return _entries(resources, "endpoint_config")


def _section(name: str, **content: object) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.admin.v3.{name}", **content}


def _entries(resources: Iterable[Resource], field: str) -> list[dict[str, Any]]:
    return [{"version_info": resource.version, field: to_json(resource)} for resource in resources]


def _listeners(resources: Iterable[Resource]) -> list[dict[str, Any]]:
    return [{"name": r.name, "active_state": {"version_info": r.version, "listener": to_json(r)}} for r in resources]


def to_json(resource: Resource) -> dict[str, Any]:
    """The resource's message as Envoy prints it, its own type first."""
    from google.protobuf import json_format, message_factory
    from google.protobuf.descriptor_pool import Default

    # The modules that made the body are loaded, so that the default pool knows its types and those of its Anys.
    descriptor = Default().FindMessageTypeByName(resource.type_url.rpartition("/")[2])
    message = message_factory.GetMessageClass(descriptor).FromString(resource.body)
    shown: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return {"@type": resource.type_url, **shown}
