"""What a proxy should have, in the form of Envoy's own /config_dump.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pilotfish.envoy.printing import to_json
from pilotfish.envoy.types import SERVED, DumpSection
from pilotfish.envoy.values import Resource, ResourceSet


def config_dump(resources: ResourceSet) -> dict[str, Any]:
    """JSON of a `envoy.admin.v3.ConfigDump`."""
    sections = ((row.dump, resources.resources(row.url)) for row in SERVED)
    return {"configs": [_section(dump, found) for dump, found in sections if dump is not None]}


def entries(dump: DumpSection, resources: Iterable[Resource]) -> list[dict[str, Any]]:
    """The entries of a type's section."""
    return [_entry(dump, resource) for resource in resources]


def _section(dump: DumpSection, resources: Iterable[Resource]) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.admin.v3.{dump.message}", dump.field: entries(dump, resources)}


def _entry(dump: DumpSection, resource: Resource) -> dict[str, Any]:
    shown = {"version_info": resource.version, dump.resource: to_json(resource)}
    return {"name": resource.name, dump.state: shown} if dump.state else shown
