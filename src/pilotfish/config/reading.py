"""What a pod's annotations ask of its sidecar that only a proxy can do which reads requests.

    pilotfish.io/inbound: http                   read them, whatever else is asked
    sidecar.istio.io/stats..., proxyStatsMatcher count what Envoy counts of requests

A mesh says the same in `defaultConfig.proxyMetadata.PILOTFISH_INBOUND` and `defaultConfig.proxyStatsMatcher`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.config.injection import COUNTED
from pilotfish.config.kubernetes import Metadata
from pilotfish.config.mesh import ProxyConfig, ProxyStatsMatcher
from pilotfish.config.report import Report

INBOUND: Final = "pilotfish.io/inbound"
HTTP: Final = "http"
OF_MESH: Final = "PILOTFISH_INBOUND"
"""In `proxyMetadata`."""
_PROXY_CONFIG: Final = "proxy.istio.io/config"
_MATCHER: Final = "proxyStatsMatcher"


def asked_by_pod(annotations: Mapping[str, str]) -> str:
    """Which annotation asks for it; "" for none."""
    if INBOUND in annotations:
        return INBOUND
    counted = next((name for name in COUNTED if annotations.get(name)), "")
    return counted or (_PROXY_CONFIG if _MATCHER in annotations.get(_PROXY_CONFIG, "") else "")


def asked_by_mesh(config: ProxyConfig) -> str:
    """Which field of `defaultConfig` asks for it; "" for none."""
    if OF_MESH in config.proxy_metadata:
        return f"proxyMetadata.{OF_MESH}"
    return _MATCHER if config.proxy_stats_matcher != ProxyStatsMatcher() else ""


def check_asked(metadata: Metadata, field: str, report: Report) -> None:
    """Of a pod; `field` is the way to the metadata."""
    _check(metadata.annotations.get(INBOUND), f"{field}metadata.annotations[{INBOUND}]", report)


def check_asked_by_mesh(config: ProxyConfig, field: str, report: Report) -> None:
    _check(config.proxy_metadata.get(OF_MESH), f"{field}.proxyMetadata[{OF_MESH}]", report)


def _check(said: str | None, field: str, report: Report) -> None:
    if said not in (None, HTTP):
        what = f"{said!r} is nothing that inbound ports can be asked for"
        report.invalid(field, what, f"write {HTTP}, or remove it: the mesh knows itself what need not be read")
