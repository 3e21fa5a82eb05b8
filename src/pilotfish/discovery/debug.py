"""What /debug/* tells people, in Istio's shapes. Pure reads; secrets are in none of them.

Source: https://istio.io/latest/docs/ops/diagnostic-tools/controlz/ and istio/pilot/pkg/xds/debug.go
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pilotfish.config.manifest import Manifest
from pilotfish.discovery.dump import entries
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.session import ProxySession
from pilotfish.envoy.printing import addresses
from pilotfish.envoy.types import ENDPOINT, SERVED, xds_type
from pilotfish.envoy.values import Resource
from pilotfish.mesh.registry.services import services
from pilotfish.model.names import NameTable


def syncz(plane: ControlPlane) -> list[dict[str, Any]]:
    """Nonces of what was sent and acknowledged, for each proxy."""
    rows = []
    for session in plane.roster.sessions.values():
        row: dict[str, Any] = {"cluster_id": "Kubernetes", "proxy": str(session.proxy)}
        row["proxy_type"] = str(session.proxy.type)
        for kind in SERVED:
            watch = session.stream.watches.get(kind.url)
            row[f"{kind.noun}_sent"] = watch.last_nonce if watch else ""
            row[f"{kind.noun}_acked"] = watch.accepted_nonce if watch else ""
            row[f"{kind.noun}_status"] = session.stream.sync(kind.url).value
        rows.append(row)
    return rows


def adsz(plane: ControlPlane) -> dict[str, Any]:
    return {"totalClients": len(plane.roster.sessions), "clients": [_client(s) for s in plane.roster.sessions.values()]}


def _client(session: ProxySession) -> dict[str, Any]:
    watches = session.stream.watches.values()
    return {
        "connectionId": session.id,
        "nodeId": session.proxy.id,
        "connectedAt": _rfc3339(session.connected_at),
        "address": session.caller.peer,
        "version": session.envoy,
        "protocol": "delta" if session.delta else "state of the world",
        "labels": dict(session.proxy.labels),
        "watches": {
            w.type_url: (["*"] if w.wildcard else []) + sorted(w.names) for w in watches if w.wildcard or w.names
        },
    }


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def registryz(plane: ControlPlane) -> list[dict[str, Any]]:
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
        for service in plane.mesh.graph.get(services)
    ]


def configz(plane: ControlPlane) -> list[dict[str, Any]]:
    """Istio's kinds, as they were written, with what came of them."""
    rejected = plane.quarantine.rejected
    manifests = plane.mesh.desired.manifests.values()
    found = sorted((m for m in manifests if m.ref.kind.is_istio), key=lambda m: m.ref)
    return [_config(manifest, manifest.ref in rejected) for manifest in found]


def _config(manifest: Manifest, is_rejected: bool) -> dict[str, Any]:
    shown = dict(manifest.document)
    shown["source"] = str(manifest.source) if manifest.source else ""
    shown["inForce"] = not is_rejected
    return shown


def edsz(sessions: Iterable[ProxySession]) -> list[dict[str, Any]]:
    """The load assignments of these proxies, as in an EndpointsConfigDump."""
    section = xds_type(ENDPOINT).dump
    return entries(section, _served(sessions, ENDPOINT)) if section else []


def endpointz(plane: ControlPlane) -> list[dict[str, Any]]:
    """Every endpoint of every cluster that any connected proxy sees."""
    found = _served(plane.roster.sessions.values(), ENDPOINT)
    return [{"cluster": resource.name, "endpoints": addresses(resource)} for resource in found]


def ndsz(table: NameTable) -> dict[str, Any]:
    """As Istio's name discovery sends it."""
    names = {name: {"ips": list(found)} for name, found in table.records.items()}
    return {"resource": {"@type": "type.googleapis.com/istio.networking.nds.v1.NameTable", "table": names}}


def _served(sessions: Iterable[ProxySession], type_url: str) -> list[Resource]:
    """Resources of one type, by name; each once, however many proxies share it."""
    found: dict[tuple[str, str], Resource] = {}
    for session in sessions:
        if session.stream.resources is not None:
            for resource in session.stream.resources.resources(type_url):
                found[resource.name, resource.version] = resource
    return [found[key] for key in sorted(found)]
