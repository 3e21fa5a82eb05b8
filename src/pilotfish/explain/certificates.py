"""Which secret's certificate a proxy shows.

A machine's proxy has one for each of its pods, and asks for that which the filter state names when it is first wanted.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/transport_sockets/tls/cert_selectors/on_demand_secret/v3/config.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pilotfish.envoy.filter_state import CERTIFICATE
from pilotfish.envoy.naming import WORKLOAD_CERTIFICATE
from pilotfish.explain.extensions import fields_of, type_of
from pilotfish.explain.filter_state import FilterState, shared

_TLS: Final = "envoy.extensions.transport_sockets.tls."
_ON_DEMAND: Final = f"{_TLS}cert_selectors.on_demand_secret.v3.Config"
_BY_STATE: Final = f"{_TLS}cert_mappers.filter_state_override.v3.Config"
_FIXED: Final = f"{_TLS}cert_mappers.static_name.v3.StaticName"


def shown_secret(common: Any, state: FilterState) -> str | None:
    """Of a CommonTlsContext; "" for none, None where it is not known. `state`: of the connection that this one is made
    for."""
    for each in common.tls_certificate_sds_secret_configs:
        return str(each.name)
    selector = common.custom_tls_certificate_selector.typed_config
    if not selector.type_url:
        return ""
    if type_of(selector) != _ON_DEMAND:
        return None
    mapper: Mapping[str, Any] = fields_of(selector).get("certificate_mapper", {}).get("typed_config", {})
    match str(mapper.get("@type", "")).rpartition("/")[2]:
        case kind if kind == _BY_STATE:
            said = shared(state, CERTIFICATE)
            return said.text if said is not None else str(mapper.get("default_value", ""))
        case kind if kind == _FIXED:
            return str(mapper.get("name", ""))
    return None


def is_of_mesh(secret: str) -> bool:
    """Whether a secret is a workload's own: a sidecar's has a name, a machine's proxy calls each by the file of its
    pod's network namespace."""
    return secret == WORKLOAD_CERTIFICATE or secret.startswith("/")


def told(secret: str | None) -> str:
    """A secret's name where it tells whose it is: a sidecar has one of its own alone."""
    return secret if secret and secret != WORKLOAD_CERTIFICATE else ""
