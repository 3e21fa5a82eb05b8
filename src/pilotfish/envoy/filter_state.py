"""Keys of what Envoy notes down of a connection.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/advanced/well_known_filter_state
"""

from __future__ import annotations

from typing import Final

NETNS: Final = "envoy.network.network_namespace"
"""The network namespace that a connection was accepted in, where its listener is in another than Envoy."""
BIND_NETNS: Final = "envoy.network.upstream_bind_override.network_namespace"
"""Where the connection is opened that is made of it."""
CERTIFICATE: Final = "envoy.tls.certificate_mappers.on_demand_secret"
"""The secret with which that one is made."""
PROTOCOLS: Final = "envoy.network.application_protocols"
"""The ALPN of that one."""
