"""Proxies by what is known of them, as discovery would see them: a node id and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import yaml

from pilotfish.model import Proxy
from pilotfish.model.proxy import CERTIFIED, NodeId, ProxyType
from pilotfish.model.service import TOPOLOGY_LABELS
from pilotfish.model.struct import Frozen
from pilotfish.model.wellknown import namespace_domain
from pilotfish.offline.planning import PODS

MACHINE: Final = "local"
"""What the machine is called, where nobody says it."""
_TYPES: Final = {"gateway": "router"}
"""How a node id calls them where people call them otherwise."""


class Description(Frozen, forbid_unknown_fields=True):
    """A proxy that no manifest has."""

    name: str = "proxy"
    """Also with `.NAMESPACE`."""
    namespace: str = "default"
    type: str = "sidecar"
    """Or `gateway`."""
    ip: str = ""
    ips: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    locality: dict[str, str] = {}
    """`region`, `zone`, `subzone`."""
    metadata: dict[str, Any] = {}
    """Of the node, with Istio's names: INTERCEPTION_MODE, ..."""
    domain: str = ""
    """Default: that of its namespace."""


def parse_description(text: str) -> Proxy:
    """A YAML or JSON text with a Description's fields. Raises ValueError for what is none, and says why."""
    try:
        found = msgspec.convert(yaml.safe_load(text), Description)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ValueError(f"it is no description of a proxy: {' '.join(str(error).split())}") from error
    addresses = tuple(dict.fromkeys(filter(None, (found.ip, *found.ips))))
    if not addresses:
        raise ValueError("it says no address of the proxy; add `ip`")
    proxy = describe_proxy(
        name=found.name.removesuffix(f".{found.namespace}"),
        namespace=found.namespace,
        addresses=addresses,
        type=found.type,
        domain=found.domain,
        labels={**_locality_labels(found.locality), **found.labels},
        metadata=found.metadata,
    )
    if proxy is None:
        raise ValueError(f"discovery serves no proxy of the type {found.type!r}; use sidecar")
    return proxy


def _locality_labels(locality: Mapping[str, str]) -> dict[str, str]:
    parts = (locality.get(name, "") for name in ("region", "zone", "subzone"))
    return {label: part for label, part in zip(TOPOLOGY_LABELS, parts, strict=True) if part}


def describe_proxy(
    *,
    name: str,
    namespace: str,
    addresses: Iterable[str],
    type: str = "sidecar",
    domain: str = "",
    labels: Mapping[str, str] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Proxy | None:
    """As discovery sees one that comes with this node id and this metadata; None for a type that it does not serve. It
    has certificates, as a mesh's proxies do, unless its metadata says otherwise."""
    listed = tuple(addresses)
    node_id = str(NodeId(listed[0], name, namespace, domain or namespace_domain(namespace)))
    known = {"NAMESPACE": namespace, "INSTANCE_IPS": ",".join(listed), "LABELS": dict(labels or {}), CERTIFIED: "true"}
    said = {**known, **(metadata or {})}
    return Proxy.parse(f"{_TYPES.get(type, type)}~{node_id.partition('~')[2]}", said)


def describe_machine(name: str, namespace: str) -> Proxy:
    """The one of a machine, by the machine's name and the mesh's root namespace."""
    address = str(PODS.network_address + 1)
    node_id = NodeId(address, name, namespace, namespace_domain(namespace), ProxyType.NODE)
    return Proxy(
        str(node_id),
        name,
        namespace,
        node_id.domain,
        (address,),
        type=ProxyType.NODE,
        certified=True,
        netns_prefix=f"/run/netns/pf-{name}.",
    )
