"""What injection has to know beside the pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from pilotfish.config import istio
from pilotfish.config.injection import DEFAULT_REVISION
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.values import parse_boolean
from pilotfish.inject.annotations import PREFIX
from pilotfish.inject.own_annotations import COMPONENT_LOG_LEVEL, LOG_LEVEL
from pilotfish.inject.values import InjectionValues
from pilotfish.model.wellknown import STATUS_PORT

Document = dict[str, Any]
NATIVE_SIDECAR: Final = "sidecar.istio.io/nativeSidecar"


@dataclass(frozen=True, slots=True)
class Installation:
    mesh: MeshConfig = field(default_factory=MeshConfig)
    values: InjectionValues = field(default_factory=InjectionValues)
    proxy_configs: tuple[istio.ProxyConfig, ...] = ()
    """All of the mesh, the oldest first."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables of every proxy: the metadata that the webhook's path carries."""

    @property
    def revision(self) -> str:
        return self.values.revision or DEFAULT_REVISION

    def is_native(self, annotations: Mapping[str, str]) -> bool:
        """Whether a pod's proxy is an init container that stays, which starts before the app and ends after it."""
        stated = parse_boolean(annotations.get(NATIVE_SIDECAR))
        return self.values.proxy.native if stated is None else stated

    def holds_app(self, held: bool) -> bool:
        """`held`: what the pod's ProxyConfig says."""
        return held or self.values.proxy.hold_application_until_proxy_starts

    @property
    def effective_mesh(self) -> MeshConfig:
        """With what the values say in the place of its defaults."""
        config, values = self.mesh.default_config, self.values
        stated: dict[str, object] = {}
        if not config.discovery_address:
            stated["discovery_address"] = values.discovery_address(self.mesh.root_namespace)
        if config.status_port == STATUS_PORT:
            stated["status_port"] = values.proxy.status_port
        return msgspec.structs.replace(self.mesh, default_config=msgspec.structs.replace(config, **stated))

    @property
    def defaults(self) -> Mapping[str, str]:
        """Annotations that every pod has which does not say otherwise."""
        proxy = self.values.proxy
        said = {
            "includeOutboundIPRanges": (proxy.include_outbound_ip_ranges, "*"),
            "excludeOutboundIPRanges": (proxy.exclude_outbound_ip_ranges, ""),
            "includeInboundPorts": (proxy.include_inbound_ports, "*"),
            "excludeInboundPorts": (proxy.exclude_inbound_ports, ""),
            "includeOutboundPorts": (proxy.include_outbound_ports, ""),
            "excludeOutboundPorts": (proxy.exclude_outbound_ports, ""),
        }
        logged = {LOG_LEVEL: proxy.log_level, COMPONENT_LOG_LEVEL: proxy.component_log_level}
        return {**logged, **{f"{PREFIX}{name}": value for name, (value, usual) in said.items() if value != usual}}

    def with_environment(self, environment: Mapping[str, str]) -> Installation:
        return replace(self, environment=tuple(sorted(environment.items()))) if environment else self
