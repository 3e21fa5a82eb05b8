"""Whose Envoy a pod's traffic goes through: one of its own, or that of its machine.

    pilotfish.io/proxy: node      of a pod, or of its Namespace for all of its pods
    pilotfish.io/proxy: sidecar   the same, where the mesh says node

A mesh says it in `defaultConfig.proxyMetadata.PILOTFISH_PROXY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from pilotfish.config.kubernetes import Metadata, Pod
from pilotfish.config.mesh import MeshConfig, ProxyConfig
from pilotfish.config.report import Report

PROXY: Final = "pilotfish.io/proxy"
NODE: Final = "node"
SIDECAR: Final = "sidecar"
OF_MESH: Final = "PILOTFISH_PROXY"
"""In `proxyMetadata`."""


def asked_of(pod: Mapping[str, str], namespace: Mapping[str, str], config: ProxyConfig) -> str:
    """NODE or SIDECAR: what the pod's annotations say, else its Namespace's, else the proxy configuration."""
    said = (pod.get(PROXY), namespace.get(PROXY), config.proxy_metadata.get(OF_MESH))
    return NODE if next((each for each in said if each is not None), SIDECAR) == NODE else SIDECAR


def machine_of(pod: Pod) -> str:
    """The machine whose one proxy serves it, by name; "" for a pod that has its own, and one that runs nowhere yet."""
    return pod.spec.node_name if pod.metadata.annotations.get(PROXY) == NODE else ""


def with_proxy(config: MeshConfig, asked: str) -> MeshConfig:
    """Where it is NODE or SIDECAR it goes before what the meshConfig says."""
    if not asked:
        return config
    of_proxies = config.default_config
    metadata = {**of_proxies.proxy_metadata, OF_MESH: asked}
    return structs.replace(config, default_config=structs.replace(of_proxies, proxy_metadata=metadata))


def check_proxying(metadata: Metadata, field: str, report: Report) -> None:
    """Of a pod or a Namespace; `field` is the way to the metadata."""
    _check(metadata.annotations.get(PROXY), f"{field}metadata.annotations[{PROXY}]", report)


def check_proxying_of_mesh(config: ProxyConfig, field: str, report: Report) -> None:
    _check(config.proxy_metadata.get(OF_MESH), f"{field}.proxyMetadata[{OF_MESH}]", report)


def _check(said: str | None, field: str, report: Report) -> None:
    if said not in (None, NODE, SIDECAR):
        report.invalid(
            field,
            f"{said!r} does not say whose Envoy takes a pod's traffic",
            f"write {NODE} for that of its machine, or {SIDECAR} for one of its own",
        )
