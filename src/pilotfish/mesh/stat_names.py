"""Under which names proxies count what goes to a service, where the mesh says it.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-outbound_cluster_stat_name
"""

from __future__ import annotations

from pilotfish.model.service import Service, ServicePort


def stat_name(pattern: str, found: Service, port: ServicePort, subset: str = "", target: int = 0) -> str:
    """`target`: of a proxy's own app."""
    whole = f"{found.ref.name}.{found.namespace}" if found.is_kubernetes else found.host
    return _fill(pattern, whole, found.short_name, found.host, port.number, port.name, subset, target)


def stat_name_of(pattern: str, host: str, port: int) -> str:
    """Of a port that a Sidecar has."""
    return _fill(pattern, host, host, host, port, "", "", port)


def _fill(pattern: str, whole: str, name: str, host: str, port: int, port_name: str, subset: str, target: int) -> str:
    words = {
        "%SERVICE%": whole,
        "%SERVICE_NAME%": name,
        "%SERVICE_FQDN%": host,
        "%SERVICE_PORT%": str(port),
        "%SERVICE_PORT_NAME%": port_name,
        "%TARGET_PORT%": str(target),
        "%SUBSET_NAME%": subset,
    }
    for word, text in words.items():
        pattern = pattern.replace(word, text)
    return pattern
