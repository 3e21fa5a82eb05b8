"""Envoy's config dump: its parts, and the names in it that mean something to Istio's users.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Json = Mapping[str, object]
"""One JSON object."""

_PARTS = {
    "listeners": ("ListenersConfigDump", (("dynamic_listeners", ("active_state", "listener")),
                                          ("static_listeners", ("listener",)))),
    "routes": ("RoutesConfigDump", (("dynamic_route_configs", ("route_config",)),
                                    ("static_route_configs", ("route_config",)))),
    "clusters": ("ClustersConfigDump", (("dynamic_active_clusters", ("cluster",)),
                                        ("static_clusters", ("cluster",)))),
}  # fmt: skip
"""Where a dump keeps the resources of each type: those that arrived over xDS, then those of the bootstrap."""


@dataclass(frozen=True, slots=True)
class ClusterName:
    """`outbound|8888|v1|calculator.vm.svc.cluster.local`, taken apart."""

    direction: str
    port: str
    subset: str
    fqdn: str

    @classmethod
    def parse(cls, name: str) -> ClusterName | None:
        """None for a cluster that is no service's, such as BlackHoleCluster."""
        parts = name.split("|")
        return cls(*parts) if len(parts) == 4 else None


def resources(dump: Json, part: str) -> tuple[Json, ...]:
    """All `listeners`, `routes` or `clusters` that are in force, in the dump's order."""
    kind, places = _PARTS[part]
    found = []
    for config in section(dump, kind):
        for key, path in places:
            found += [at(entry, *path) for entry in items(config, key)]
    return tuple(each for each in found if isinstance(each, Mapping))


def section(dump: Json, kind: str) -> Iterator[Json]:
    """The configs of the dump whose type is `kind`."""
    for config in items(dump, "configs"):
        if str(config.get("@type", "")).endswith(f".{kind}"):
            yield config


def at(value: object, *path: str) -> object:
    """What is at `path`, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def items(value: object, *path: str) -> tuple[Json, ...]:
    """The objects in the list at `path`; () where there is none."""
    found = at(value, *path)
    return tuple(each for each in found if isinstance(each, Mapping)) if isinstance(found, (list, tuple)) else ()


def strings(value: object, *path: str) -> tuple[str, ...]:
    found = at(value, *path)
    return tuple(str(each) for each in found) if isinstance(found, (list, tuple)) else ()


def text(value: object, *path: str) -> str:
    found = at(value, *path)
    return "" if found is None else str(found)


def socket_address(value: object) -> tuple[str, int]:
    """Of an Envoy Address: host and port; a pipe's path and 0."""
    address = at(value, "socket_address")
    if address is None:
        return text(value, "pipe", "path"), 0
    port = at(address, "port_value")
    return text(address, "address"), port if isinstance(port, int) else 0


def describe_owner(resource: Json) -> str:
    """`calculator.vm`: the Istio object that a resource's metadata names, as in
    /apis/networking.istio.io/v1/namespaces/vm/virtual-service/calculator; "" where it names none."""
    words = text(resource, "metadata", "filter_metadata", "istio", "config").split("/")
    return f"{words[-1]}.{words[-3]}" if len(words) > 4 and words[-4] == "namespaces" else ""
