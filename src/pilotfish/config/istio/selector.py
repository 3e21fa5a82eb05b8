"""Whom an object of Istio's is for.

Source: https://istio.io/latest/docs/reference/config/type/workload-selector/
"""

from __future__ import annotations

from pilotfish.config.kubernetes import Struct


class WorkloadSelector(Struct):
    match_labels: dict[str, str] = {}


class PolicyTargetReference(Struct):
    kind: str = ""
    """Gateway or GatewayClass of gateway.networking.k8s.io, Service, or ServiceEntry of networking.istio.io."""
    name: str = ""
    group: str = ""
    namespace: str = ""
    """Only "": the object's own."""
