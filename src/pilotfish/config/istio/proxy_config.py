"""ProxyConfig: how proxies run, by namespace or by workload.

Source: https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from pilotfish.config.istio.selector import WorkloadSelector
from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import kinds


class ProxyConfigSpec(Struct):
    selector: WorkloadSelector | None = None
    concurrency: int | None = None
    environment_variables: dict[str, str] = {}
    """As `proxyMetadata` of a meshConfig."""


class ProxyConfig(Resource):
    kind = kinds.PROXY_CONFIG
    spec: ProxyConfigSpec = ProxyConfigSpec()
