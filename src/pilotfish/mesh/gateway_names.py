"""How Istio's objects name gateways.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService-gateways
"""

from __future__ import annotations

from typing import Final

MESH: Final = "mesh"
"""No Gateway: calls from pod to pod."""


def gateway_name(written: str, namespace: str) -> str:
    """`NAMESPACE/NAME` of what an object of `namespace` wrote, or `mesh`.

    `NAME.NAMESPACE.svc.cluster.local` is of old. Source: Istio's resolveGatewayName
    """
    if written == MESH:
        return MESH
    place, slash, name = written.partition("/")
    if slash:
        return f"{namespace if place == '.' else place}/{name}"
    name, dot, rest = written.partition(".")
    return f"{rest.partition('.')[0] if dot else namespace}/{name}"
