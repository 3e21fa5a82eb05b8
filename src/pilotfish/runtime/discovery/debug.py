"""What /debug/* tells, in Istio's shapes where it has them. Pure reads; secrets are in none of them.

Source: https://istio.io/latest/docs/ops/diagnostic-tools/controlz/ and istio/pilot/pkg/xds/debug.go
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pilotfish.ads import Sync
from pilotfish.config.manifest import Manifest
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ORDER, ROUTE
from pilotfish.envoy.values import Resource
from pilotfish.mesh.services import services
from pilotfish.runtime.control.views import SyncView
from pilotfish.runtime.discovery.connection import Connection
from pilotfish.runtime.discovery.hub import Hub
from pilotfish.runtime.discovery.problems import Refusal, refusals

_WORDS = {CLUSTER: "cluster", LISTENER: "listener", ENDPOINT: "endpoint", ROUTE: "route"}


def syncs(hub: Hub) -> tuple[SyncView, ...]:
    """Where every connected proxy stands. A refusal stands as long as its cause does, though all else is in step."""
    standing = tuple(refusals(hub))
    return tuple(_sync(connection, standing) for connection in hub.connections.values())


def _sync(connection: Connection, standing: tuple[Refusal, ...]) -> SyncView:
    mine = [refusal for refusal in standing if connection.proxy.id in refusal.proxies]
    refused = {refusal.type_url for refusal in mine}
    states = {t: Sync.REFUSED if t in refused else connection.stream.sync(t) for t in ORDER}
    errors = [str(refusal.problem) for refusal in mine] or [
        watch.error for watch in connection.stream.watches.values() if watch.refused
    ]
    return SyncView(
        proxy=str(connection.proxy),
        cds=states[CLUSTER].value,
        lds=states[LISTENER].value,
        eds=states[ENDPOINT].value,
        rds=states[ROUTE].value,
        error="; ".join(errors),
    )


def syncz(hub: Hub) -> list[dict[str, Any]]:
    """Nonces of what was sent and acknowledged, for each proxy."""
    rows = []
    for connection in hub.connections.values():
        row: dict[str, Any] = {"cluster_id": "Kubernetes", "proxy": str(connection.proxy), "proxy_type": "sidecar"}
        for type_url, word in _WORDS.items():
            watch = connection.stream.watches.get(type_url)
            row[f"{word}_sent"] = watch.last_nonce if watch else ""
            row[f"{word}_acked"] = watch.accepted_nonce if watch else ""
            row[f"{word}_status"] = connection.stream.sync(type_url).value
        rows.append(row)
    return rows


def adsz(hub: Hub) -> dict[str, Any]:
    return {"totalClients": len(hub.connections), "clients": [_client(c) for c in hub.connections.values()]}


def _client(connection: Connection) -> dict[str, Any]:
    watches = connection.stream.watches.values()
    return {
        "connectionId": connection.id,
        "nodeId": connection.proxy.id,
        "connectedAt": _rfc3339(connection.connected_at),
        "address": connection.peer,
        "version": connection.version,
        "protocol": "delta" if connection.delta else "state of the world",
        "labels": dict(connection.proxy.labels),
        "watches": {
            w.type_url: (["*"] if w.wildcard else []) + sorted(w.names) for w in watches if w.wildcard or w.names
        },
    }


def _rfc3339(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def registryz(hub: Hub) -> list[dict[str, Any]]:
    return [
        {
            "hostname": service.host,
            "defaultAddress": service.addresses[0] if service.addresses else "0.0.0.0",
            "ports": [{"name": p.name, "port": p.number, "protocol": p.protocol.value} for p in service.ports],
            "resolution": service.resolution.value,
            "Attributes": {
                "ServiceRegistry": "Kubernetes" if service.is_kubernetes else "External",
                "Name": service.short_name,
                "Namespace": service.namespace,
                "LabelSelectors": dict(service.selector),
            },
            "meshExternal": service.external,
        }
        for service in hub.mesh.graph.get(services)
    ]


def configz(hub: Hub) -> list[dict[str, Any]]:
    """Istio's kinds, as they were written, with what came of them."""
    guilty = hub.quarantine.guilty
    found = sorted((m for m in hub.mesh.manifests.values() if m.ref.kind.is_istio), key=lambda m: m.ref)
    return [_config(manifest, manifest.ref in guilty) for manifest in found]


def _config(manifest: Manifest, refused: bool) -> dict[str, Any]:
    shown = dict(manifest.document)
    shown["source"] = str(manifest.source) if manifest.source else ""
    shown["inForce"] = not refused
    return shown


def endpointz(hub: Hub) -> list[dict[str, Any]]:
    """Every endpoint of every cluster that any connected proxy sees."""
    from envoy.config.endpoint.v3 import endpoint_pb2

    rows = []
    for resource in served(hub.connections.values(), ENDPOINT):
        proto = endpoint_pb2.ClusterLoadAssignment.FromString(resource.body)
        addresses = [
            f"{e.endpoint.address.socket_address.address}:{e.endpoint.address.socket_address.port_value}"
            for locality in proto.endpoints
            for e in locality.lb_endpoints
        ]
        rows.append({"cluster": resource.name, "endpoints": addresses})
    return rows


def served(connections: Iterable[Connection], type_url: str) -> list[Resource]:
    """Resources of one type, by name; each once, however many proxies share it."""
    found: dict[tuple[str, str], Resource] = {}
    for connection in connections:
        if connection.stream.resources is not None:
            for resource in connection.stream.resources.resources(type_url):
                found[resource.name, resource.version] = resource
    return [found[key] for key in sorted(found)]
