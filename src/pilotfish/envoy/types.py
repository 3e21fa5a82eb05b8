"""The type URLs of the four xDS services.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol#resource-types
"""

from __future__ import annotations

from typing import Final

_PREFIX: Final = "type.googleapis.com/envoy.config."

CLUSTER: Final = f"{_PREFIX}cluster.v3.Cluster"
ENDPOINT: Final = f"{_PREFIX}endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = f"{_PREFIX}listener.v3.Listener"
ROUTE: Final = f"{_PREFIX}route.v3.RouteConfiguration"

ORDER: Final = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
"""The order in which a change is sent: make before break."""
